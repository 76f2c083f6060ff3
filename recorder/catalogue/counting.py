"""Calls and answers counted for people: how calls ended, and what callers said, by line, prompt version and hour.

Owns that SQL; must not decide whose lines those are, nor how long a span may be. The invariants: nothing outside the
span is read, which an index finds; no count is of a person.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, func, select

from recorder.catalogue.tables import calls, consent_events, prompts
from recorder.model import ConsentState, Outcome

ANSWERS: Final = (
    ConsentState.GIVEN,
    ConsentState.REFUSED,
    ConsentState.UNANSWERED,
    ConsentState.NOTICED,
    ConsentState.WITHDRAWN,
)
"""What somebody said, or did not say, when they were asked; and that they took it back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """What is counted: calls that began from `since` on, before `until`; `lines` None is every line."""

    lines: frozenset[str] | None
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeCount:
    line: str
    outcome: Outcome | None  # None: in progress
    calls: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerCount:
    """`prompt` and `version` are None where nothing had been said to them."""

    line: str
    language: str | None
    prompt: str | None
    version: str | None
    answer: ConsentState
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HourCount:
    """Of the calls that began in the hour from `began` on."""

    line: str
    began: datetime
    answer: ConsentState
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    outcomes: tuple[OutcomeCount, ...]
    answers: tuple[AnswerCount, ...]
    hours: tuple[HourCount, ...]


def counted(connection: Connection, span: Span) -> Counted:
    """Count the calls of the span, each by its line."""
    here = _within(span)
    of_calls = select(calls.c.line, calls.c.outcome, func.count()).where(*here)
    outcomes = connection.execute(of_calls.group_by(calls.c.line, calls.c.outcome))
    hours = connection.execute(_answers(span, _hour(connection)))
    by_prompt = (consent_events.c.language, prompts.c.id, prompts.c.version)
    return Counted(
        outcomes=tuple(OutcomeCount(line=line, outcome=outcome, calls=count) for line, outcome, count in outcomes),
        answers=tuple(
            AnswerCount(line=line, answer=answer, language=language, prompt=prompt, version=version, count=count)
            for line, answer, language, prompt, version, count in connection.execute(_answers(span, *by_prompt))
        ),
        hours=tuple(
            HourCount(line=line, answer=answer, began=_moment(hour), count=count) for line, answer, hour, count in hours
        ),
    )


def _within(span: Span) -> list[ColumnElement[bool]]:
    here = [calls.c.started_at >= span.since, calls.c.started_at < span.until]
    return here if span.lines is None else [*here, calls.c.line.in_(sorted(span.lines))]


def _answers(span: Span, *by: ColumnElement[Any]) -> Select[Any]:
    """How many of each answer, by line and these."""
    keys = (calls.c.line, consent_events.c.after, *by)
    joined = calls.join(consent_events, consent_events.c.call == calls.c.id).outerjoin(
        prompts, prompts.c.number == consent_events.c.prompt
    )
    is_said_now = consent_events.c.before != consent_events.c.after  # else it was carried there from another line
    here = (*_within(span), consent_events.c.after.in_(ANSWERS), is_said_now)
    return select(*keys, func.count()).select_from(joined).where(*here).group_by(*keys)


def _hour(connection: Connection) -> ColumnElement[Any]:
    """`2026-03-02 12`, in UTC."""
    if connection.dialect.name == "postgresql":
        return func.to_char(func.timezone("UTC", calls.c.started_at), "YYYY-MM-DD HH24")
    return func.substr(calls.c.started_at, 1, 13)  # as SQLite keeps a time, in UTC


def _moment(hour: str) -> datetime:
    return datetime.strptime(hour, "%Y-%m-%d %H").replace(tzinfo=UTC)
