"""Every question to the catalogue, each on a connection that shows it one moment of the database.

Owns the SELECTs; must not write. The invariant: every answer is bounded by a limit or by what was asked about, and
comes as the frozen values of rows.py.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import (
    BindParameter,
    Column,
    ColumnElement,
    CompoundSelect,
    Connection,
    Row,
    Select,
    Table,
    bindparam,
    case,
    exists,
    func,
    select,
    true,
)

from recorder.catalogue.dialects import NotLookedUp
from recorder.catalogue.rows import (
    AuditRow,
    BookedCall,
    CallRow,
    Chained,
    ChainRow,
    ConsentRow,
    Counts,
    FileAct,
    JournalRow,
    LegRow,
    PolicyRow,
    PromptRow,
    RecordingRow,
    Unchained,
    WholeCall,
    booked,
)
from recorder.catalogue.tables import (
    audit,
    bookmarks,
    call_events,
    calls,
    chain,
    consent_events,
    file_acts,
    legs,
    numbers,
    policies,
    prompts,
    recordings,
    sweeps,
)
from recorder.chain import Head
from recorder.model import (
    CallId,
    ConsentEventId,
    ConsentState,
    Linkedid,
    LostReason,
    Outcome,
    OverrideReason,
    PartyKind,
    RecordingId,
    RecordingStatus,
    Uniqueid,
)

R = TypeVar("R")
AT_ONCE = 500  # names in one IN list; both engines take many more


def open_calls(connection: Connection, node: str) -> tuple[WholeCall, ...]:
    """Return the node's calls without an outcome, oldest first."""
    mine = select(calls).where(calls.c.node == node, calls.c.outcome.is_(None))
    return _whole(connection, connection.execute(mine.order_by(calls.c.started_at, calls.c.id)).all())


def one_call(connection: Connection, call: CallId) -> WholeCall | None:
    found = _whole(connection, connection.execute(select(calls).where(calls.c.id == call)).all())
    return found[0] if found else None


def calls_of_linkedid(connection: Connection, node: str, linkedid: Linkedid) -> tuple[CallRow, ...]:
    """Return the node's calls that carry this linkedid, themselves or by a leg; oldest first."""
    mine = select(calls).where(_of_node(node), calls.c.id.in_(_linked(linkedid)))
    return _all(connection, CallRow, mine.order_by(calls.c.started_at))


def calls_after(
    connection: Connection, after: CallId | None, limit: int, node: str | None, since: datetime | None = None
) -> tuple[WholeCall, ...]:
    """Return up to `limit` whole calls in the order of their ids, from the one after `after`, started since `since`."""
    batch = select(calls).where(_of_node(node)).order_by(calls.c.id).limit(limit)
    batch = _between(batch, calls.c.started_at, since, None)
    if after is not None:
        batch = batch.where(calls.c.id > after)
    return _whole(connection, connection.execute(batch).all())


def recordings_due(
    connection: Connection,
    node: str,
    status: RecordingStatus,
    limit: int,
    analysed: bool | None,
    excluding: Collection[RecordingId],
) -> tuple[RecordingRow, ...]:
    """Return the node's recordings of this status, longest unchanged first."""
    due = _due(analysed)
    if excluding:
        due = due.where(recordings.c.id.not_in(list(excluding)))
    return _all(connection, RecordingRow, due.limit(limit), {"of_node": node, "of_status": status})


@cache
def _due(analysed: bool | None) -> Select[Any]:
    """The sweeps ask this several times for each call: the statement is built once."""
    due = select(recordings).join(calls, calls.c.id == recordings.c.call)
    due = due.where(_of_node(bindparam("of_node")), recordings.c.status == bindparam("of_status"))
    if analysed is not None:
        due = due.where(recordings.c.analysed_at.is_not(None) if analysed else recordings.c.analysed_at.is_(None))
    return due.order_by(recordings.c.changed_at, recordings.c.id)


def recordings_named(connection: Connection, ids: Iterable[RecordingId]) -> dict[RecordingId, RecordingRow]:
    """Return those of `ids` that the catalogue knows."""
    found = [
        row
        for part in _parts(list(ids))
        for row in _all(connection, RecordingRow, select(recordings).where(recordings.c.id.in_(part)))
    ]
    return {row.id: row for row in found}


def list_calls(
    connection: Connection,
    limit: int,
    node: str | None,
    line: str | None,
    outcome: Outcome | None,
    since: datetime | None,
    until: datetime | None,
    digests: Collection[str] | None = None,
) -> tuple[CallRow, ...]:
    """Return the newest calls that match; `until` is exclusive, `digests` of numbers: one is the call's."""
    wanted = select(calls).where(_of_node(node), *_matches(calls, line=line, outcome=outcome))
    if digests is not None:
        wanted = wanted.where(calls.c.id.in_(select(numbers.c.call).where(numbers.c.digest.in_(list(digests)))))
    wanted = _between(wanted, calls.c.started_at, since, until)
    return _all(connection, CallRow, wanted.order_by(calls.c.started_at.desc(), calls.c.id).limit(limit))


def list_recordings(
    connection: Connection,
    limit: int,
    node: str | None,
    line: str | None,
    status: RecordingStatus | None,
    since: datetime | None,
    until: datetime | None,
) -> tuple[RecordingRow, ...]:
    wanted = select(recordings).where(*_matches(recordings, line=line, status=status))
    if node is not None:
        wanted = wanted.join(calls, calls.c.id == recordings.c.call).where(_of_node(node))
    wanted = _between(wanted, recordings.c.authorised_at, since, until)
    newest = (recordings.c.authorised_at.desc(), recordings.c.id)
    return _all(connection, RecordingRow, wanted.order_by(*newest).limit(limit))


def list_consents(
    connection: Connection,
    limit: int,
    call: CallId | None,
    line: str | None,
    after: ConsentState | None,
    since: datetime | None,
    until: datetime | None,
) -> tuple[ConsentRow, ...]:
    wanted = select(consent_events).where(*_matches(consent_events, call=call, after=after))
    if line is not None:
        wanted = wanted.join(calls, calls.c.id == consent_events.c.call).where(calls.c.line == line)
    wanted = _between(wanted, consent_events.c.at, since, until)
    newest = (consent_events.c.at.desc(), consent_events.c.seq.desc())
    return _all(connection, ConsentRow, wanted.order_by(*newest).limit(limit))


def overrides(
    connection: Connection, since: datetime, node: str | None, line: str | None
) -> tuple[dict[tuple[str, str, OverrideReason], int], dict[tuple[str, str], int]]:
    """Of the calls started since then: overrides by line, agent and reason, and calls taken by line and agent."""
    here = (calls.c.started_at >= since, _of_node(node), *_matches(calls, line=line))
    pressed = select(calls.c.line, consent_events.c.actor, consent_events.c.reason, func.count())
    pressed = pressed.join(consent_events, consent_events.c.call == calls.c.id)
    pressed = pressed.where(*here, consent_events.c.after == ConsentState.OVERRIDDEN)
    pressed = pressed.group_by(calls.c.line, consent_events.c.actor, consent_events.c.reason)
    overridden = {(line, actor, reason): count for line, actor, reason, count in connection.execute(pressed)}
    agent = func.coalesce(legs.c.interface, legs.c.channel)
    took = select(calls.c.line, agent, legs.c.interface.is_(None), func.count(legs.c.call.distinct()))
    took = took.join(legs, legs.c.call == calls.c.id).where(*here, legs.c.kind == PartyKind.AGENT)
    taken: Counter[tuple[str, str]] = Counter()
    for line_of, name, is_channel, count in connection.execute(
        took.group_by(calls.c.line, agent, legs.c.interface.is_(None))
    ):
        taken[line_of, name.rpartition("-")[0] or name if is_channel else name] += count
    return overridden, dict(taken)


def counts(connection: Connection, node: str | None, since: datetime) -> Counts:
    """Count the calls lost since `since` by reason, and the recordings by status; every word is there, be it 0."""
    here = _matches(calls, node=node)
    lost = select(calls.c.reason, func.count()).where(*here, calls.c.outcome == Outcome.LOST, calls.c.ended_at >= since)
    opened = select(func.count()).select_from(calls).where(*here, calls.c.outcome.is_(None))
    # Beside their calls each recording's call is read; alone, an index is enough.
    joined = node is not None and not _is_the_only_node(connection, node)

    def of_recordings(*columns: ColumnElement[Any]) -> Select[Any]:
        wanted = select(*columns).select_from(recordings)
        return wanted.join(calls, calls.c.id == recordings.c.call).where(_of_node(node)) if joined else wanted

    waits = (recordings.c.status == RecordingStatus.SETTLED) & recordings.c.analysed_at.is_(None)
    oldest = of_recordings(func.min(recordings.c.changed_at)).where(recordings.c.status == RecordingStatus.STOPPED)
    by_reason = _tally(connection, lost.group_by(calls.c.reason))
    by_status = _tally(connection, of_recordings(recordings.c.status, func.count()).group_by(recordings.c.status))
    return Counts(
        open_calls=connection.execute(opened).scalar_one(),
        lost={reason: by_reason.get(reason, 0) for reason in LostReason},
        recordings={status: by_status.get(status, 0) for status in RecordingStatus},
        to_analyse=connection.execute(of_recordings(func.count()).where(waits)).scalar_one(),
        oldest_to_settle=connection.execute(oldest).scalar_one(),
    )


def _is_the_only_node(connection: Connection, node: str) -> bool:
    first, last = select(func.min(calls.c.node)).scalar_subquery(), select(func.max(calls.c.node)).scalar_subquery()
    return connection.execute(select(first, last)).one() in ((node, node), (None, None))


def known_uniqueids(connection: Connection, node: str, uniqueids: Iterable[Uniqueid]) -> frozenset[Uniqueid]:
    """Return those of `uniqueids` that are legs of the node's calls."""
    here = select(legs.c.uniqueid).join(calls, calls.c.id == legs.c.call).where(_of_node(node))
    found = (
        connection.execute(here.where(legs.c.uniqueid.in_(part))).scalars().all() for part in _parts(list(uniqueids))
    )
    return frozenset(Uniqueid(name) for part in found for name in part)


def calls_of_uniqueids(
    connection: Connection, node: str, uniqueids: Iterable[Uniqueid]
) -> dict[Uniqueid, tuple[BookedCall, ...]]:
    """Return the node's calls that each of `uniqueids` is a leg of; one that is in none is not there."""
    wanted = tuple(dict.fromkeys(uniqueids))
    found = [
        call
        for part in _parts(wanted)
        for call in _booked(connection, node, select(legs.c.call).where(legs.c.uniqueid.in_(part)))
    ]
    by_name: dict[Uniqueid, dict[CallId, BookedCall]] = defaultdict(dict)
    for call in found:
        for uniqueid in call.uniqueids:
            by_name[uniqueid][call.id] = call
    return {name: tuple(by_name[name].values()) for name in wanted if name in by_name}


def calls_of_linkedids(
    connection: Connection, node: str, linkedids: Iterable[Linkedid]
) -> dict[Linkedid, tuple[BookedCall, ...]]:
    """Return the node's calls that carry these linkedids, themselves or by a leg."""
    found: dict[Linkedid, tuple[BookedCall, ...]] = {}
    for linkedid in dict.fromkeys(linkedids):
        if these := _booked(connection, node, _linked(linkedid)):
            found[linkedid] = these
    return found


def _linked(linkedid: Linkedid) -> CompoundSelect[Any]:
    by_leg = select(legs.c.call).where(legs.c.linkedid == linkedid)
    return by_leg.union(select(calls.c.id).where(calls.c.linkedid == linkedid))


def _booked(connection: Connection, node: str, ids: Select[Any] | CompoundSelect[Any]) -> tuple[BookedCall, ...]:
    rows = _all(connection, CallRow, select(calls).where(_of_node(node), calls.c.id.in_(ids)))
    of_call = _of_calls(connection, LegRow, legs, [row.id for row in rows], legs.c.seen_at, legs.c.uniqueid)
    return tuple(booked(row, of_call[row.id]) for row in rows)


def first_call_at(connection: Connection, node: str) -> datetime | None:
    """Return when the node's first call started; None where it has none."""
    first: datetime | None = connection.execute(select(func.min(calls.c.started_at)).where(_of_node(node))).scalar_one()
    return first


def file_acts_of(connection: Connection, files: Iterable[UUID]) -> tuple[FileAct, ...]:
    """Return what was done with these files, oldest first."""
    columns = [column for column in file_acts.c if column.name != "seq"]
    return tuple(
        act
        for part in _parts(list(files))
        for act in _all(
            connection, FileAct, select(*columns).where(file_acts.c.of_file.in_(part)).order_by(file_acts.c.seq)
        )
    )


def policies_of(connection: Connection, line: str | None = None) -> tuple[PolicyRow, ...]:
    """Return every line's settings as they were, or one line's; as they first came into force."""
    rows = select(policies).where(*_matches(policies, line=line))
    return _all(connection, PolicyRow, rows.order_by(policies.c.first_at, policies.c.line, policies.c.digest))


def policies_named(connection: Connection, digests: Iterable[str]) -> tuple[PolicyRow, ...]:
    """Return those of these settings that were kept, as they first came into force."""
    return tuple(
        row
        for part in _parts(list(digests))
        for row in _all(
            connection,
            PolicyRow,
            select(policies).where(policies.c.digest.in_(part)).order_by(policies.c.first_at, policies.c.node),
        )
    )


# --------------------------------------------------------------------------- the chain


def _links() -> Select[Any]:
    """Links with the digests of those that each must name, in their order."""
    before, further = chain.alias("before"), chain.alias("further")
    further_seq = chain.c.seq - (chain.c.seq.op("&")(-chain.c.seq))
    rest = chain.outerjoin(before, (before.c.node == chain.c.node) & (before.c.seq == chain.c.seq - 1))
    rest = rest.outerjoin(further, (further.c.node == chain.c.node) & (further.c.seq == further_seq))
    digests = (before.c.digest.label("previous"), further.c.digest.label("further"))
    return select(chain, *digests).select_from(rest).order_by(chain.c.node, chain.c.seq)


def chain_after(connection: Connection, node: str, after: int, limit: int) -> tuple[Chained, ...]:
    """Return the next `limit` links of the node behind link `after`, each with what the catalogue says of its act."""
    wanted = _links().where(chain.c.node == node, chain.c.seq > after).limit(limit)
    links = _all(connection, ChainRow, wanted)
    events = {
        row.id: row
        for part in _parts([link.consent for link in links if link.consent is not None])
        for row in _all(connection, ConsentRow, select(consent_events).where(consent_events.c.id.in_(part)))
    }
    ended = {
        row.id: row
        for part in _parts([link.call for link in links if link.consent is None])
        for row in _all(connection, CallRow, select(calls).where(calls.c.id.in_(part)))
    }
    said = _prompts_of(connection, events.values())
    return tuple(_chained(link, events, said, ended) for link in links)


def _chained(
    link: ChainRow,
    events: Mapping[ConsentEventId, ConsentRow],
    said: Mapping[int, PromptRow],
    ended: Mapping[CallId, CallRow],
) -> Chained:
    if link.consent is None:
        return Chained(link=link, call=ended.get(link.call))
    event = events.get(link.consent)
    prompt = said.get(event.prompt) if event is not None and event.prompt is not None else None
    return Chained(link=link, event=event, prompt=prompt)


def links_before(connection: Connection, node: str, since: datetime) -> int:
    """Return how many links the node's chain had at `since`: the number of the last of them."""
    first = select(func.min(chain.c.seq)).where(chain.c.node == node, chain.c.at >= since)
    found = connection.execute(first).scalar_one()
    if found is not None:
        return int(found) - 1
    return int(connection.execute(select(func.max(chain.c.seq)).where(chain.c.node == node)).scalar_one() or 0)


def links_named(connection: Connection, node: str, seqs: Iterable[int]) -> dict[int, ChainRow]:
    """Return those of the node's links; one that is not there is missing."""
    return {
        row.seq: row
        for part in _parts(list(seqs))
        for row in _all(connection, ChainRow, _links().where(chain.c.node == node, chain.c.seq.in_(part)))
    }


def links_of_call(connection: Connection, call: CallId) -> tuple[ChainRow, ...]:
    return _all(connection, ChainRow, _links().where(chain.c.call == call))


def heads(connection: Connection, node: str | None = None) -> tuple[Head, ...]:
    """Return the newest link of each node's chain, or of one node's; a node without a link has none."""
    newest = select(chain.c.node, func.max(chain.c.seq).label("seq")).where(*_matches(chain, node=node))
    last = newest.group_by(chain.c.node).subquery()
    rows = select(chain.c.node, chain.c.seq, chain.c.digest).join(
        last, (last.c.node == chain.c.node) & (last.c.seq == chain.c.seq)
    )
    return _all(connection, Head, rows.order_by(chain.c.node))


def unchained(connection: Connection, node: str, since: datetime | None, limit: int) -> tuple[Unchained, ...]:
    """Return the node's consent events that no link commits to, and its ended calls that had one and no end chained."""
    has_link = exists().where(chain.c.consent == consent_events.c.id)
    events = select(consent_events.c.call, consent_events.c.id.label("consent"))
    events = events.join(calls, calls.c.id == consent_events.c.call).where(calls.c.node == node, ~has_link)
    events = _between(events, calls.c.started_at, since, None).order_by(consent_events.c.seq)
    asked = exists().where(consent_events.c.call == calls.c.id)
    is_end = case((chain.c.consent.is_(None), 1), else_=0) == 1  # or SQLite looks every end up, for each call
    has_end = exists().where(chain.c.call == calls.c.id, is_end)
    ends = select(calls.c.id.label("call")).where(calls.c.node == node, calls.c.outcome.is_not(None), asked, ~has_end)
    ends = _between(ends, calls.c.started_at, since, None).order_by(calls.c.id)
    found = [Unchained(call=row.call, consent=row.consent) for row in connection.execute(events.limit(limit))]
    found += [Unchained(call=row.call, consent=None) for row in connection.execute(ends.limit(limit))]
    return tuple(found)


def bookmark(connection: Connection, node: str, name: str) -> dict[str, str | int] | None:
    mine = select(bookmarks.c.value).where(bookmarks.c.node == node, bookmarks.c.name == name)
    return connection.execute(mine).scalar_one_or_none()


def sweep_marks(connection: Connection, node: str) -> dict[str, datetime]:
    """Return when each of the node's sweeps last came to its end."""
    mine = select(sweeps.c.name, sweeps.c.last_ok_at).where(sweeps.c.node == node)
    return {row.name: row.last_ok_at for row in connection.execute(mine)}


def _tally(connection: Connection, query: Select[Any]) -> dict[Any, int]:
    return {row[0]: row[1] for row in connection.execute(query)}


def _matches(table: Table, **wanted: object) -> list[ColumnElement[bool]]:
    """Return the conditions for those that are asked for: None asks for nothing."""
    return [table.c[name] == value for name, value in wanted.items() if value is not None]


def _of_node(node: str | BindParameter[str] | None) -> ColumnElement[bool]:
    """Return the condition on the call's node, beside another one: every call may be that node's."""
    return true() if node is None else NotLookedUp(calls.c.node) == node


def _between(query: Select[Any], at: Column[Any], since: datetime | None, until: datetime | None) -> Select[Any]:
    if since is not None:
        query = query.where(at >= since)
    if until is not None:
        query = query.where(at < until)
    return query


def _all(
    connection: Connection, kind: type[R], query: Select[Any], given: Mapping[str, object] | None = None
) -> tuple[R, ...]:
    return tuple(kind(**row._asdict()) for row in connection.execute(query, given))


def _parts(names: Sequence[Any]) -> Iterable[Sequence[Any]]:
    return (names[start : start + AT_ONCE] for start in range(0, len(names), AT_ONCE))


def _whole(connection: Connection, found: Sequence[Row[Any]]) -> tuple[WholeCall, ...]:
    """Complete calls with everything of theirs, in one query a table for up to AT_ONCE calls."""
    return tuple(call for part in _parts(found) for call in _whole_part(connection, part))


def _whole_part(connection: Connection, found: Sequence[Row[Any]]) -> tuple[WholeCall, ...]:
    rows = [CallRow(**row._asdict()) for row in found]
    ids = [row.id for row in rows]
    leg = _of_calls(connection, LegRow, legs, ids, legs.c.seen_at, legs.c.uniqueid)
    consent = _of_calls(connection, ConsentRow, consent_events, ids, consent_events.c.seq)
    recording = _of_calls(connection, RecordingRow, recordings, ids, recordings.c.authorised_at, recordings.c.id)
    act = _of_calls(connection, AuditRow, audit, ids, audit.c.seq)
    journal = _journals(connection, ids)
    said = _prompts_of(connection, [row for part in consent.values() for row in part])
    return tuple(
        WholeCall(
            call=row,
            legs=leg[row.id],
            consents=consent[row.id],
            prompts=tuple(said[number] for number in _numbers(consent[row.id])),
            recordings=recording[row.id],
            journal=journal[row.id],
            audit=act[row.id],
        )
        for row in rows
    )


def _of_calls(
    connection: Connection, kind: type[R], table: Table, ids: Sequence[CallId], *order: Column[Any]
) -> Mapping[CallId, tuple[R, ...]]:
    by_call: dict[CallId, tuple[R, ...]] = defaultdict(tuple)
    found: dict[UUID, list[R]] = defaultdict(list)
    for row in connection.execute(select(table).where(table.c.call.in_(ids)).order_by(*order)):
        found[row.call].append(kind(**row._asdict()))
    by_call.update({CallId(call): tuple(rows) for call, rows in found.items()})
    return by_call


def _journals(connection: Connection, ids: Sequence[CallId]) -> Mapping[CallId, tuple[JournalRow, ...]]:
    found: dict[CallId, list[JournalRow]] = {call: [] for call in ids}
    steps = select(call_events).where(call_events.c.call.in_(ids)).order_by(call_events.c.call, call_events.c.seq)
    for row in connection.execute(steps):
        said = row._asdict()
        found[said.pop("call")].append(JournalRow(**said))
    return {call: tuple(rows) for call, rows in found.items()}


def _numbers(consents: Iterable[ConsentRow]) -> list[int]:
    return list(dict.fromkeys(row.prompt for row in consents if row.prompt is not None))


def _prompts_of(connection: Connection, consents: Iterable[ConsentRow]) -> dict[int, PromptRow]:
    wanted = select(prompts).where(prompts.c.number.in_(_numbers(consents)))
    return {row.number: row for row in _all(connection, PromptRow, wanted)}
