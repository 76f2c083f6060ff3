"""Which calls were whose, and what those who were recorded are told of who has heard them (TA-01).

Pure. Must not know where calls and rows are kept. The invariants: a call is theirs who alone sat at its agent's
telephone for as long as it lasted, whoever sits there now, and in doubt nobody's; of a listening they are told who,
when, for what and which parts, and neither what was typed nor from where.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from recorder.do_not_record import interface_of, member_of
from recorder.listens import ListenAct, ListenKind, Medium, Unheard, merged
from recorder.model import RecordingId
from recorder.rights import Seat, UserAct, sits_at, users

Spans = tuple[tuple[int, int], ...]
"""Parts of a recording in milliseconds, in order and apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentLeg:
    """An agent's part in a call: at which telephone, behind which Local member of the queue, and from when on."""

    telephone: Seat
    member: Seat | None
    seen_at: datetime


def agent_leg(node: str, channel: str, interface: str | None, seen_at: datetime) -> AgentLeg:
    """The leg of this channel; `interface` is the queue member's, where a queue rang it."""
    is_local = interface is not None and interface.startswith("Local/")
    return AgentLeg(
        telephone=Seat(node=node, interface=interface_of(channel)),
        member=Seat(node=node, interface=member_of(interface)) if is_local and interface is not None else None,
        seen_at=seen_at,
    )


def seats_of(legs: Iterable[AgentLeg]) -> frozenset[Seat]:
    """Every seat by which one of these legs could be somebody's."""
    return frozenset(seat for leg in legs for seat in (leg.telephone, leg.member) if seat is not None)


def is_theirs(name: str, legs: Iterable[AgentLeg], acts: Sequence[UserAct], until: datetime) -> bool:
    """Whether a call that lasted `until` then was this person's.

    `acts` are what was done, in their order, to all who ever had one of the legs' seats.
    """
    return any(_sat_throughout(name, leg, acts, until) for leg in legs)


def _sat_throughout(name: str, leg: AgentLeg, acts: Sequence[UserAct], until: datetime) -> bool:
    """Whether it was so when the leg was seen first, and after each act until the end."""
    moments = {leg.seen_at, *(act.at for act in acts if leg.seen_at < act.at <= until)}
    return all(_sat(name, leg, [act for act in acts if act.at <= moment]) for moment in moments)


def _sat(name: str, leg: AgentLeg, acts: Iterable[UserAct]) -> bool:
    return sits_at(users(acts).values(), name, leg.telephone, leg.member)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hearing:
    """One opening of a recording, or one attempt, as it is told to whoever was recorded."""

    listen: UUID
    recording: RecordingId
    at: datetime
    listener: str
    roles: tuple[str, ...]
    medium: Medium | None
    purpose: str | None
    refused: Unheard | None
    sent: Spans
    played: Spans


def hearings(acts: Iterable[ListenAct]) -> tuple[Hearing, ...]:
    """The listenings that these rows tell of, the newest first."""
    together: dict[tuple[UUID, RecordingId], list[ListenAct]] = {}
    for act in sorted(acts, key=lambda act: act.at):
        if act.recording is not None:
            together.setdefault((act.listen, act.recording), []).append(act)
    told = [_hearing(recording, rows) for (_, recording), rows in together.items()]
    return tuple(sorted(told, key=lambda hearing: (hearing.at, hearing.listen), reverse=True))


def _hearing(recording: RecordingId, rows: Sequence[ListenAct]) -> Hearing:
    """Of one opening. Where its first row is not to be read, the next says the same of who and for what."""
    first = next((row for row in rows if row.kind in (ListenKind.OPENED, ListenKind.REFUSED)), rows[0])
    return Hearing(
        listen=first.listen,
        recording=recording,
        at=first.at,
        listener=first.listener,
        roles=first.roles,
        medium=first.medium,
        purpose=first.purpose,
        refused=first.why,
        sent=_spans(rows, ListenKind.SENT),
        played=_spans(rows, ListenKind.PLAYED),
    )


def _spans(rows: Iterable[ListenAct], kind: ListenKind) -> Spans:
    return merged(
        (row.began_ms, row.ended_ms)
        for row in rows
        if row.kind is kind and row.began_ms is not None and row.ended_ms is not None
    )
