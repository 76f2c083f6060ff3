"""The calls in which somebody's telephone took part, with what it takes to tell whose they were, and who heard them.

Owns that SQL; must not decide whose a call was: recorder.own_calls does. The invariant: what was done to everybody who
ever had one of a call's telephones comes with the call, so that nothing is decided of half of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, and_, distinct, exists, false, func, or_, select

from recorder.catalogue import finding, listening, users
from recorder.catalogue.rows import CallRow, RecordingRow
from recorder.catalogue.tables import calls, legs, listens
from recorder.listens import ListenAct, ListenKind
from recorder.model import CallId, PartyKind
from recorder.own_calls import AgentLeg, agent_leg, seats_of
from recorder.rights import Seat, UserAct

ROWS_MOST: Final = 100_000
"""Of the listening log, for one call: its newest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnSought:
    """Whose calls, on which lines (None: every one) and of what time; `before` is the last row of the last page."""

    user: str
    lines: frozenset[str] | None
    since: datetime
    until: datetime | None = None
    before: tuple[datetime, UUID] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A call that may be theirs; `heard` is how often one of its recordings was opened."""

    call: CallRow
    legs: tuple[AgentLeg, ...]
    heard: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """A page of them. `acts` are what was done to all who ever had one of their telephones."""

    calls: tuple[Candidate, ...]
    acts: tuple[UserAct, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Whose:
    """A call, and what it takes to tell whose it was."""

    call: CallRow
    legs: tuple[AgentLeg, ...]
    acts: tuple[UserAct, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldRecording:
    """A recording, and what its caller was told that it is for."""

    row: RecordingRow
    purposes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldCall:
    """One call with all that its agent may be told, once it is known to be theirs."""

    call: CallRow
    legs: tuple[AgentLeg, ...]
    acts: tuple[UserAct, ...]
    recordings: tuple[ToldRecording, ...]
    listens: tuple[ListenAct, ...]


def candidates(connection: Connection, sought: OwnSought, limit: int) -> Candidates:
    """Return the newest calls with an agent's leg at a telephone that was ever theirs."""
    seats = users.seats_ever(connection, sought.user)
    if not seats:
        return Candidates(calls=(), acts=())
    wanted = select(calls).order_by(calls.c.started_at.desc(), calls.c.id).limit(limit)
    wanted = wanted.where(calls.c.started_at >= sought.since, _took_part(seats))
    if sought.lines is not None:
        wanted = wanted.where(calls.c.line.in_(sorted(sought.lines)))
    if sought.until is not None:
        wanted = wanted.where(calls.c.started_at < sought.until)
    if sought.before is not None:
        at, call = sought.before
        behind = or_(calls.c.started_at < at, and_(calls.c.started_at == at, calls.c.id > call))
        wanted = wanted.where(calls.c.started_at <= at, behind)
    rows = [CallRow(**row._asdict()) for row in connection.execute(wanted)]
    legs_of, heard = _legs(connection, rows), _heard(connection, [row.id for row in rows])
    found = (Candidate(call=row, legs=legs_of[row.id], heard=heard.get(row.id, 0)) for row in rows)
    return Candidates(calls=tuple(found), acts=_acts(connection, (leg for row in rows for leg in legs_of[row.id])))


def told(connection: Connection, call: CallId) -> ToldCall | None:
    """Return one call with all that its agent may be told; None where there is none."""
    found = finding.found(connection, call)
    if found is None:
        return None
    agents = _legs(connection, [found.call])[call]
    policies = {event.id: event.policy for event in found.consents}
    return ToldCall(
        call=found.call,
        legs=agents,
        acts=_acts(connection, agents),
        recordings=tuple(
            ToldRecording(
                row=row,
                purposes=tuple(sorted(listening.purposes_of(connection, policies.get(row.authorised_by, "")))),
            )
            for row in found.recordings
        ),
        listens=listening.acts(connection, listening.LogSought(call=call), ROWS_MOST),
    )


def whose(connection: Connection, call: CallId) -> Whose | None:
    """Return what it takes to tell whose a call was; None where there is none."""
    row = connection.execute(select(calls).where(calls.c.id == call)).one_or_none()
    if row is None:
        return None
    found = CallRow(**row._asdict())
    agents = _legs(connection, [found])[call]
    return Whose(call=found, legs=agents, acts=_acts(connection, agents))


def _took_part(seats: Collection[Seat]) -> ColumnElement[bool]:
    """Whether an agent's leg of the call names one of these; more than are theirs, since names may begin alike."""
    at_one = or_(false(), *(_names(seat) for seat in seats))
    return exists().where(legs.c.call == calls.c.id, legs.c.kind == PartyKind.AGENT, at_one)


def _names(seat: Seat) -> ColumnElement[bool]:
    by_channel = legs.c.channel.startswith(f"{seat.interface}-", autoescape=True)
    by_member = or_(
        legs.c.interface == seat.interface, legs.c.interface.startswith(f"{seat.interface}/", autoescape=True)
    )
    return and_(calls.c.node == seat.node, or_(by_channel, by_member))


def _legs(connection: Connection, rows: Collection[CallRow]) -> Mapping[CallId, tuple[AgentLeg, ...]]:
    nodes = {row.id: row.node for row in rows}
    wanted = select(legs).where(legs.c.call.in_(list(nodes)), legs.c.kind == PartyKind.AGENT)
    found: dict[CallId, tuple[AgentLeg, ...]] = dict.fromkeys(nodes, ())
    for leg in connection.execute(wanted.order_by(legs.c.seen_at, legs.c.uniqueid)):
        found[leg.call] += (agent_leg(nodes[leg.call], leg.channel, leg.interface, leg.seen_at),)
    return found


def _acts(connection: Connection, agents: Iterable[AgentLeg]) -> tuple[UserAct, ...]:
    return users.acts_on_who_sat_at(connection, seats_of(agents))


def _heard(connection: Connection, of: Collection[CallId]) -> dict[CallId, int]:
    opened = listens.c.kind == ListenKind.OPENED
    wanted = select(listens.c.call, func.count(distinct(listens.c.listen)).label("times"))
    found = connection.execute(wanted.where(listens.c.call.in_(of), opened).group_by(listens.c.call))
    return {CallId(row.call): row.times for row in found}
