"""Finding calls for people: the newest first, page by page, on the lines that somebody may search.

Owns that SQL; must not decide which lines those are. The invariant: a page goes on exactly behind the last row of the
one before, whatever was written meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, and_, or_, select

from recorder.catalogue.rows import CallRow, ConsentRow, RecordingRow
from recorder.catalogue.tables import calls, consent_events, legs, recordings
from recorder.model import CallId, Direction, Outcome, PartyKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Sought:
    """What is looked for; `lines` None is every line, `until` is exclusive, `before` the last row of the last page."""

    lines: frozenset[str] | None
    outcome: Outcome | None = None
    direction: Direction | None = None
    since: datetime | None = None
    until: datetime | None = None
    before: tuple[datetime, UUID] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundCall:
    """A call as it is shown: with whom it was, how often it was asked, and what was recorded of it."""

    call: CallRow
    agents: tuple[str, ...]
    consents: tuple[ConsentRow, ...]
    recordings: tuple[RecordingRow, ...]


def search(connection: Connection, sought: Sought, limit: int) -> tuple[CallRow, ...]:
    """Return the newest calls that match."""
    wanted = select(calls).order_by(calls.c.started_at.desc(), calls.c.id).limit(limit)
    if sought.lines is not None:
        wanted = wanted.where(calls.c.line.in_(sorted(sought.lines)))
    if sought.outcome is not None:
        wanted = wanted.where(calls.c.outcome == sought.outcome)
    if sought.direction is not None:
        wanted = wanted.where(calls.c.direction == sought.direction)
    if sought.since is not None:
        wanted = wanted.where(calls.c.started_at >= sought.since)
    if sought.until is not None:
        wanted = wanted.where(calls.c.started_at < sought.until)
    if sought.before is not None:
        at, call = sought.before
        behind = or_(calls.c.started_at < at, and_(calls.c.started_at == at, calls.c.id > call))
        wanted = wanted.where(calls.c.started_at <= at, behind)
    return tuple(CallRow(**row._asdict()) for row in connection.execute(wanted))


def found(connection: Connection, call: CallId) -> FoundCall | None:
    """Return one call as it is shown; None where there is none."""
    row = connection.execute(select(calls).where(calls.c.id == call)).one_or_none()
    if row is None:
        return None
    agents = select(legs.c.interface).where(legs.c.call == call, legs.c.kind == PartyKind.AGENT)
    events = select(consent_events).where(consent_events.c.call == call).order_by(consent_events.c.seq)
    kept = select(recordings).where(recordings.c.call == call).order_by(recordings.c.authorised_at)
    return FoundCall(
        call=CallRow(**row._asdict()),
        agents=tuple(sorted({leg.interface for leg in connection.execute(agents) if leg.interface})),
        consents=tuple(ConsentRow(**event._asdict()) for event in connection.execute(events)),
        recordings=tuple(RecordingRow(**one._asdict()) for one in connection.execute(kept)),
    )
