"""Finding calls for people: the newest first, page by page, on the lines that somebody may search.

Owns that SQL; must not decide which lines those are. The invariant: a page goes on exactly behind the last row of the
one before, whatever was written meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Select, and_, exists, or_, select

from recorder.catalogue.dialects import NotLookedUp, holds, seconds_between
from recorder.catalogue.rows import CallRow, ConsentRow, RecordingRow
from recorder.catalogue.tables import NOTICED, calls, consent_events, legs, numbers, recordings
from recorder.model import (
    CallId,
    ConsentState,
    Direction,
    LostReason,
    Outcome,
    OverrideReason,
    PartyKind,
    RecordingStatus,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sought:
    """What is looked for; `lines` None is every line, `until` is exclusive, `before` the last row of the last page.

    `reason` is why it was lost, `override` why it was captured without consent; `agent` is an interface; `numbers` are
    keyed digests of which one is the call's; `shortest` and `longest` are seconds, which a call in progress has not.
    """

    lines: frozenset[str] | None
    outcome: Outcome | None = None
    direction: Direction | None = None
    consent: ConsentState | None = None
    reason: LostReason | None = None
    override: OverrideReason | None = None
    agent: str | None = None
    numbers: frozenset[str] | None = None
    shortest: float | None = None
    longest: float | None = None
    finding: str | None = None
    settled: bool | None = None
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
    matching = (*_itself(sought), *_lasting(connection.dialect.name, sought), *_of_parts(sought))
    noticed = _noticed(connection.dialect.name, sought)
    wanted = select(calls).where(*matching, *noticed).order_by(calls.c.started_at.desc(), calls.c.id).limit(limit)
    return tuple(CallRow(**row._asdict()) for row in connection.execute(wanted))


def _itself(sought: Sought) -> Iterator[ColumnElement[bool]]:
    """What the call's own row says."""
    named = {"outcome": sought.outcome, "direction": sought.direction, "consent": sought.consent}
    yield from (calls.c[name] == word for name, word in (named | {"reason": sought.reason}).items() if word is not None)
    if sought.lines is not None:
        yield calls.c.line.in_(sorted(sought.lines))
    if sought.outcome is Outcome.LOST:
        yield calls.c.reason.is_not(None)  # as it is of every such call: this is what their index is of
    if sought.since is not None:
        yield calls.c.started_at >= sought.since
    if sought.until is not None:
        yield calls.c.started_at < sought.until
    if sought.before is not None:
        at, call = sought.before
        yield calls.c.started_at <= at
        yield or_(calls.c.started_at < at, and_(calls.c.started_at == at, calls.c.id > call))


def _lasting(dialect: str, sought: Sought) -> Iterator[ColumnElement[bool]]:
    lasted = seconds_between(dialect, calls.c.started_at, calls.c.ended_at)
    if sought.shortest is not None:
        yield lasted >= sought.shortest
    if sought.longest is not None:
        yield lasted <= sought.longest


def _of_parts(sought: Sought) -> Iterator[ColumnElement[bool]]:
    """What its legs, its number, its consent and its recordings say.

    What few calls have is read from its own index, and those calls by their keys: as a list of ids. What most of them
    have is asked of each call, newest first, until the page is full.
    """
    if sought.agent is not None:
        yield _among(select(legs.c.call).where(legs.c.interface == sought.agent, legs.c.kind == PartyKind.AGENT))
    if sought.numbers is not None:
        yield _among(select(numbers.c.call).where(numbers.c.digest.in_(sorted(sought.numbers))))
    if sought.override is not None:
        yield _among(select(consent_events.c.call).where(consent_events.c.reason == sought.override))
    if sought.settled is not None:
        status = NotLookedUp(recordings.c.status)
        is_settled = exists().where(recordings.c.call == calls.c.id, status == RecordingStatus.SETTLED)
        yield is_settled if sought.settled else ~is_settled


def _noticed(dialect: str, sought: Sought) -> Iterator[ColumnElement[bool]]:
    if sought.finding is not None:
        found = holds(dialect, recordings.c.findings, sought.finding)
        yield _among(select(recordings.c.call).where(NOTICED, found))


def _among(ids: Select[Any]) -> ColumnElement[bool]:
    return calls.c.id.in_(ids)


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
