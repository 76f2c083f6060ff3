"""The listening log: one way in which a row is added, and none in which one is changed or removed.

Owns the SQL of listens; must not decide: recorder.listens does. The invariants: each row stands on those before it by
their digests, in each node without a gap; a row that is in already adds nothing.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, distinct, func, or_, select

from recorder.catalogue.dialects import holds
from recorder.catalogue.rows import RecordingRow
from recorder.catalogue.tables import calls, consent_events, legs, listens, policies, recordings
from recorder.catalogue.writing import clean_text
from recorder.chain import NOTHING, SALT_BYTES, Head, Link, canonical, commitment, further_back, moment
from recorder.listens import Audible, ListenAct, ListenKind, body_of
from recorder.model import CallId, PartyKind, RecordingId, RecordingStatus
from recorder.policy import LinePolicy

TURN_LOCK: Final = 7_283_107
"""As chaining.TURN_LOCK, for this log: whoever listens keeps no consent waiting."""
LOG: Final = ".listens"
"""Behind a node's name, in the links of its listening log: none of them can be taken for one of the other chain's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSought:
    """What is looked for in the log; `lines` None is every line, `until` is exclusive.

    `agent` is an interface in the call that was heard; `before` is the last row of the page before.
    """

    listener: str | None = None
    lines: frozenset[str] | None = None
    recording: RecordingId | None = None
    call: CallId | None = None
    listen: UUID | None = None
    agent: str | None = None
    purpose: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    before: tuple[datetime, UUID] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Logged:
    """A row with its link; `previous` and `further` are the digests that stand in those rows now."""

    act: ListenAct
    seq: int
    chained_at: str
    salt: str
    commitment: str
    digest: str
    previous: str | None
    further: str | None

    @property
    def link(self) -> Link:
        """The link as it ought to be."""
        return Link(
            node=self.act.node + LOG,
            seq=self.seq,
            at=self.chained_at,
            commitment=self.commitment,
            previous=self.previous or NOTHING,
            further=self.further or NOTHING,
        )


def add(connection: Connection, acts: Iterable[ListenAct]) -> None:
    """Add these rows in their order."""
    for act in acts:
        if connection.dialect.name == "postgresql":  # SQLite has one writer at a time anyway
            connection.execute(select(func.pg_advisory_xact_lock(TURN_LOCK, func.hashtext(act.node))))
        if connection.execute(select(listens.c.seq).where(listens.c.id == act.id)).first() is None:
            _add(connection, act)


def _add(connection: Connection, act: ListenAct) -> None:
    act = _cleaned(act)
    newest = connection.execute(select(func.max(listens.c.seq)).where(listens.c.node == act.node)).scalar() or 0
    seq, salt, now = newest + 1, secrets.token_hex(SALT_BYTES), moment(datetime.now(UTC))
    link = Link(
        node=act.node + LOG,
        seq=seq,
        at=now,
        commitment=commitment(salt, canonical(body_of(act))),
        previous=_digest(connection, act.node, newest),
        further=_digest(connection, act.node, further_back(seq)),
    )
    values = asdict(act) | {"seq": seq, "salt": salt, "chained_at": now}
    connection.execute(listens.insert(), values | {"commitment": link.commitment, "digest": link.digest})


def _cleaned(act: ListenAct) -> ListenAct:
    """As a database takes text; it is what is chained, too."""
    said = {name: clean_text(value) for name in ("explanation",) if (value := getattr(act, name)) is not None}
    return ListenAct(**asdict(act) | said)


def _digest(connection: Connection, node: str, seq: int) -> str:
    wanted = select(listens.c.digest).where(listens.c.node == node, listens.c.seq == seq)
    return connection.execute(wanted).scalar() or NOTHING


def acts(connection: Connection, sought: LogSought, limit: int) -> tuple[ListenAct, ...]:
    """Return the newest rows that match, the newest first."""
    matching = (*_itself(sought), *_of_agent(connection.dialect.name, sought.agent), *_between(sought))
    wanted = select(listens).where(*matching).order_by(listens.c.at.desc(), listens.c.id.desc()).limit(limit)
    return tuple(_act(row) for row in _readable(connection, wanted))


def recordings_opened(connection: Connection, listener: str, after: datetime, until: datetime) -> int:
    """Return how many recordings somebody has opened later than `after`, and not later than `until`."""
    opened = and_(listens.c.listener == listener, listens.c.kind == ListenKind.OPENED)
    wanted = select(func.count(distinct(listens.c.recording))).where(opened)
    return int(connection.execute(wanted.where(listens.c.at > after, listens.c.at <= until)).scalar_one())


def _itself(sought: LogSought) -> Iterator[ColumnElement[bool]]:
    for name in ("listener", "recording", "call", "listen", "purpose"):
        if (value := getattr(sought, name)) is not None:
            yield listens.c[name] == value
    if sought.lines is not None:
        yield listens.c.line.in_(sorted(sought.lines))


def _of_agent(dialect: str, agent: str | None) -> Iterator[ColumnElement[bool]]:
    """By what the row says: it outlives the call."""
    if agent is not None:
        yield holds(dialect, listens.c.agents, agent)


def _between(sought: LogSought) -> Iterator[ColumnElement[bool]]:
    if sought.since is not None:
        yield listens.c.at >= sought.since
    if sought.until is not None:
        yield listens.c.at < sought.until
    if sought.before is not None:
        at, row = sought.before
        yield listens.c.at <= at
        yield or_(listens.c.at < at, and_(listens.c.at == at, listens.c.id < row))


def logged_after(connection: Connection, node: str, after: int, limit: int) -> tuple[Logged, ...]:
    """Return the node's next rows behind row `after`, with their links; an empty answer ends the walk."""
    before, further = listens.alias("before"), listens.alias("further")
    further_seq = listens.c.seq - (listens.c.seq.op("&")(-listens.c.seq))
    rest = listens.outerjoin(before, and_(before.c.node == listens.c.node, before.c.seq == listens.c.seq - 1))
    rest = rest.outerjoin(further, and_(further.c.node == listens.c.node, further.c.seq == further_seq))
    digests = (before.c.digest.label("previous"), further.c.digest.label("further"))
    wanted = select(listens, *digests).select_from(rest).where(listens.c.node == node, listens.c.seq > after)
    return tuple(
        Logged(
            act=_act(row),
            seq=row.seq,
            chained_at=row.chained_at,
            salt=row.salt,
            commitment=row.commitment,
            digest=row.digest,
            previous=row.previous,
            further=row.further,
        )
        for row in _readable(connection, wanted.order_by(listens.c.seq).limit(limit))
    )


def logged_before(connection: Connection, node: str, since: datetime) -> int:
    """Return how many rows the node's log had at `since`: the number of the last of them."""
    first = select(func.min(listens.c.seq)).where(listens.c.node == node, listens.c.at >= since)
    found = connection.execute(first).scalar()
    if found is not None:
        return int(found) - 1
    return int(connection.execute(select(func.max(listens.c.seq)).where(listens.c.node == node)).scalar() or 0)


def heads(connection: Connection, node: str | None = None) -> tuple[Head, ...]:
    """Return the newest row of each node's log, or of one node's, as a head that can be noted elsewhere."""
    newest = select(listens.c.node, func.max(listens.c.seq).label("seq")).group_by(listens.c.node)
    last = (newest if node is None else newest.where(listens.c.node == node)).subquery()
    rows = select(listens.c.node, listens.c.seq, listens.c.digest).join(
        last, and_(last.c.node == listens.c.node, last.c.seq == listens.c.seq)
    )
    found = connection.execute(rows.order_by(listens.c.node))
    return tuple(Head(node=row.node + LOG, seq=row.seq, digest=row.digest) for row in found)


def digest_at(connection: Connection, node: str, seq: int) -> str | None:
    """Return the digest of one row; None where there is none."""
    found = connection.execute(select(listens.c.digest).where(listens.c.node == node, listens.c.seq == seq))
    return found.scalar()


def _readable(connection: Connection, wanted: Select[Any]) -> list[Row[Any]]:
    """The rows, but those that hold what was never written here: to whoever counts them they are not there."""
    try:
        return list(connection.execute(wanted))
    except ValueError:
        places = list(connection.execute(wanted.with_only_columns(listens.c.node, listens.c.seq)))
    found: list[Row[Any]] = []
    for place in places:
        with suppress(ValueError):
            found += connection.execute(wanted.where(listens.c.node == place.node, listens.c.seq == place.seq))
    return found


def _act(row: Row[Any]) -> ListenAct:
    found = row._mapping
    return ListenAct(**{field.name: found[field.name] for field in fields(ListenAct)})


def audible(connection: Connection, recording: RecordingId) -> tuple[Audible, RecordingRow] | None:
    """Return what is known of a recording that somebody would hear, with its row; None where there is none.

    It was announced for the purposes of the settings that its authorising event names; where those are not kept, or are
    not what they were, for none.
    """
    row = connection.execute(select(recordings).where(recordings.c.id == recording)).one_or_none()
    if row is None:
        return None
    found = RecordingRow(**row._asdict())
    policy = connection.execute(
        select(consent_events.c.policy).where(consent_events.c.id == row.authorised_by)
    ).scalar()
    node = connection.execute(select(calls.c.node).where(calls.c.id == row.call)).scalar_one()
    known = Audible(
        recording=found.id,
        call=found.call,
        node=node,
        line=found.line,
        settled=found.status is RecordingStatus.SETTLED,
        sealed=found.sealed,
        purposes=purposes_of(connection, policy or ""),
        agents=_agents(connection, found.call),
        policy=policy or "",
    )
    return known, found


def purposes_of(connection: Connection, digest: str) -> frozenset[str]:
    """Return what a caller was told that it is for, by the settings of that digest; none where they are not kept."""
    rows = connection.execute(select(policies.c.line, policies.c.settings).where(policies.c.digest == digest))
    kept = (LinePolicy(line=row.line, settings=row.settings) for row in rows)
    return next((policy.purposes for policy in kept if policy.gives(digest)), frozenset())


def _agents(connection: Connection, call: CallId) -> tuple[str, ...]:
    agents = select(legs.c.interface).where(legs.c.call == call, legs.c.kind == PartyKind.AGENT)
    return tuple(sorted({row.interface for row in connection.execute(agents) if row.interface}))
