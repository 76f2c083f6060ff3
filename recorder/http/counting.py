"""Figures for people: how calls ended and what callers answered, as a page with bars and over the API (CE-07).

Must not count: the catalogue does. The invariant: calls are counted on the lines that somebody may search, and no
others.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Self, TypeVar

from fastapi import APIRouter, Depends, Query, Request, Response

from recorder.catalogue import ANSWERS, Catalogue, Counted, Span
from recorder.http.api import PREFIX, PROBLEMS, View
from recorder.http.door import ASKED_WITHIN, Door
from recorder.http.hearing import aware, day_of, lines_of
from recorder.http.pages import READ, Pages
from recorder.http.problems import MEANINGS, Code, NotDone
from recorder.http.rules import Who, signed_in
from recorder.model import ConsentState, Outcome
from recorder.rights import Right
from recorder.signing_in import Asker

V = TypeVar("V", bound=View)
LONGEST: Final = timedelta(days=31)
"""Of a span: what is counted is read, call by call."""
USUAL: Final = timedelta(days=7)
ASKED: Final = tuple(answer for answer in ANSWERS if answer is not ConsentState.WITHDRAWN)
"""What an asking ends with, once: who withdraws has agreed before."""


class OutcomeFigure(View):
    """`outcome` is null for calls in progress."""

    line: str
    outcome: Outcome | None
    calls: int


class AnswerFigure(View):
    """How often a version of a prompt was answered so. `prompt` is null where nothing had been said yet."""

    line: str
    language: str | None
    prompt: str | None
    version: str | None
    answer: ConsentState
    count: int


class HourFigure(View):
    """The same by the hour of the day in which the call began, 0 to 23 by the recorder's own clock."""

    line: str
    hour: int
    answer: ConsentState
    count: int


class FiguresView(View):
    """Of the calls that began from `since` on, before `until`."""

    since: datetime
    until: datetime
    outcomes: list[OutcomeFigure]
    answers: list[AnswerFigure]
    hours: list[HourFigure]

    @classmethod
    def of(cls, span: Span, found: Counted) -> Self:
        hours: Counter[tuple[str, int, ConsentState]] = Counter()
        for one in found.hours:
            hours[one.line, one.began.astimezone().hour, one.answer] += one.count
        outcomes = [_view(OutcomeFigure, row) for row in found.outcomes]
        answers = [_view(AnswerFigure, row) for row in found.answers]
        return cls(
            since=span.since,
            until=span.until,
            outcomes=sorted(outcomes, key=lambda row: (row.line, -row.calls, row.outcome or "")),
            answers=sorted(answers, key=lambda row: (_asked_with(row), ANSWERS.index(row.answer))),
            hours=[
                HourFigure(line=line, hour=hour, answer=answer, count=count)
                for (line, hour, answer), count in sorted(hours.items())
            ],
        )


def _view(kind: type[V], row: Any) -> V:
    return kind(**{name: getattr(row, name) for name in kind.model_fields})


def _asked_with(row: AnswerFigure) -> tuple[str, str, str, str]:
    return row.line, row.language or "", row.prompt or "", row.version or ""


def span_of(asker: Asker, line: str | None, since: datetime | None, until: datetime | None, now: datetime) -> Span:
    """What is to be counted for them; NotDone where they may search no line, or it is no span of at most LONGEST."""
    lines = lines_of(asker, Right.SEARCH)
    if lines is not None and not lines:
        raise NotDone(Code.NO_RIGHT)
    if line is not None:
        lines = frozenset({line}) if lines is None or line in lines else frozenset()
    try:
        end = _utc(until) or now
        begin = _utc(since) or end - USUAL
    except OverflowError:  # at the beginning or the end of the calendar
        raise NotDone(Code.INVALID) from None
    if not timedelta() < end - begin <= LONGEST:
        raise NotDone(Code.INVALID)
    return Span(lines=lines, since=begin, until=end)


def _utc(at: datetime | None) -> datetime | None:
    known = aware(at)
    return None if known is None else known.astimezone(UTC)


class InTurn:
    """Has figures counted one after the other: what else is read of the catalogue, a right to override among it, finds
    a thread that is free."""

    def __init__(self, count: Callable[[Span], Awaitable[Counted]]) -> None:
        self._count = count
        self._turn = asyncio.Lock()

    async def __call__(self, span: Span) -> Counted:
        async with self._turn:
            return await self._count(span)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of the page: what it is of, its counts, and the share that its bar shows, 0 to 1."""

    of: tuple[str, ...]
    counts: Mapping[ConsentState, int]
    asked: int
    share: float


def answer_rows(figures: FiguresView) -> list[Row]:
    """By line, language and prompt version; the bar is the share who agreed."""
    rows = _gathered((_asked_with(row), row.answer, row.count) for row in figures.answers)
    return [
        Row(of=of, counts=counts, asked=asked, share=counts[ConsentState.GIVEN] / asked if asked else 0)
        for of, counts, asked in rows
    ]


def hour_rows(figures: FiguresView) -> list[Row]:
    """By the hour, of all lines that are shown; the longest bar is the hour in which most were asked."""
    rows = _gathered(((f"{row.hour:02}",), row.answer, row.count) for row in figures.hours)
    most = max((asked for _, _, asked in rows), default=0)
    return [Row(of=of, counts=counts, asked=asked, share=asked / most if most else 0) for of, counts, asked in rows]


def _gathered(
    counts: Iterable[tuple[tuple[str, ...], ConsentState, int]],
) -> list[tuple[tuple[str, ...], Counter[ConsentState], int]]:
    together: dict[tuple[str, ...], Counter[ConsentState]] = {}
    for of, answer, count in counts:
        together.setdefault(of, Counter())[answer] += count
    return [(of, those, sum(those[answer] for answer in ASKED)) for of, those in sorted(together.items())]


def counting_routes(
    door: Door, pages: Pages, catalogue: Catalogue, lines: tuple[str, ...], now: Callable[[], datetime]
) -> APIRouter:
    """`lines` are those of the settings, in their order."""
    routes = APIRouter()
    here, somebody = Depends(signed_in(door, Who.IN_PERSON)), Depends(signed_in(door))

    counted = InTurn(lambda span: catalogue.counted(span, ASKED_WITHIN))

    async def figures_of(span: Span) -> FiguresView:
        return FiguresView.of(span, await counted(span))

    @routes.api_route("/figures", methods=READ, include_in_schema=False)
    async def figures_page(
        request: Request, line: str = "", since: str = "", until: str = "", asker: Asker = here
    ) -> Response:
        given = {"line": line, "since": since, "until": until}
        mine = lines_of(asker, Right.SEARCH)
        figures, status = None, 200
        try:
            figures = await figures_of(span_of(asker, line or None, day_of(since), day_of(until), now()))
        except NotDone as error:
            if error.code is not Code.INVALID:
                return pages.refused(request, asker, error.code)
            status = int(MEANINGS[error.code][0])
        said: dict[str, Any] = {"given": given, "figures": figures, "answers": ANSWERS, "longest": LONGEST.days}
        if figures is not None:
            said |= {"totals": _totals(figures), "by_prompt": answer_rows(figures), "by_hour": hour_rows(figures)}
        offered = [known for known in lines if mine is None or known in mine]
        return pages.page("figures.html", request, status, asker=asker, here="figures", lines=offered, **said)

    @routes.get(f"{PREFIX}/figures", summary="Calls by outcome, and what was answered", responses=PROBLEMS)
    async def figures(
        line: Annotated[str | None, Query(max_length=64, description="Only this line's.")] = None,
        since: Annotated[datetime | None, Query(description="Without it, seven days before `until`.")] = None,
        until: Annotated[datetime | None, Query(description="Exclusive; without it, now. At most 31 days.")] = None,
        asker: Asker = somebody,
    ) -> FiguresView:
        return await figures_of(span_of(asker, line, since, until, now()))

    return routes


def _totals(figures: FiguresView) -> Counter[str]:
    totals: Counter[str] = Counter()
    for row in figures.outcomes:
        totals[row.line] += row.calls
    return totals
