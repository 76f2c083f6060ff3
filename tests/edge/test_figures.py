"""Calls and answers counted, by line, hour and prompt version: of the lines that somebody may search (CE-07)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

import pytest

from recorder.catalogue import AnswerCount, Catalogue, Counted, HourCount, OutcomeCount, Span
from recorder.http.counting import LONGEST, FiguresView, InTurn, answer_rows, hour_rows
from recorder.model import CallEnded, ConsentRecorded, ConsentState, Outcome
from recorder.rights import EVERY_LINE, Role
from tests import facts
from tests.edge.centre import Centre, until
from tests.edge.test_listening import recorded
from tests.edge.visitors import enters, opens, program, signed_in, token_of
from tests.facts import NOON, QUESTION, later

pytestmark = pytest.mark.usefixtures("no_task_left")
HOUR = timedelta(hours=1)
GIVEN, REFUSED, UNANSWERED = ConsentState.GIVEN, ConsentState.REFUSED, ConsentState.UNANSWERED
NEWER = replace(QUESTION, version="2", sha256="c" * 64)


@pytest.fixture
def centre(sqlite_centre: Centre) -> Centre:
    return sqlite_centre


async def called(
    store: Catalogue,
    *answers: ConsentRecorded | ConsentState,
    line: str = "support",
    after: timedelta = timedelta(),
    outcome: Outcome | None = Outcome.DECLINED,
) -> None:
    """A call that began so long after NOON, what was answered in it, and how it ended."""
    call = facts.new_call()
    opened = replace(facts.opened(call, line=line), started_at=NOON + after)
    said = [facts.answered(call, one) if isinstance(one, ConsentState) else replace(one, call=call) for one in answers]
    ended = [CallEnded(call=call, ended_at=NOON + after + HOUR, outcome=outcome)] if outcome else []
    await store.write_facts([opened, facts.leg(call), *said, *ended])


def by(newer: ConsentState) -> ConsentRecorded:
    return replace(facts.answered(facts.new_call(), newer), prompt=NEWER)


def span(*lines: str, since: float = 0, until: float = 4) -> Span:
    """Hours from NOON on; without a line, every one."""
    return Span(lines=frozenset(lines) or None, since=NOON + since * HOUR, until=NOON + until * HOUR)


async def test_calls_are_counted_by_line_and_outcome_and_answers_by_prompt_version_and_hour(store: Catalogue) -> None:
    await called(store, GIVEN, outcome=None)
    await called(store, ConsentState.ASKED, REFUSED)
    await called(store, by(REFUSED), after=HOUR)
    await called(store, UNANSWERED, after=1.5 * HOUR)
    await called(store, outcome=Outcome.ABANDONED)
    await called(store, ConsentState.ASKED, GIVEN, line="sales", outcome=Outcome.RECORDED)
    carried = replace(facts.answered(facts.new_call(), GIVEN, before=GIVEN, prompt=None), key=None)
    await called(store, GIVEN, carried, line="board")  # to a second line
    assert [row.count for row in (await store.counted(span("board"))).answers] == [1]
    assert [row.count for row in (await store.counted(span("board"))).hours] == [1]
    found = await store.counted(span("support"))
    assert set(found.outcomes) == {
        OutcomeCount(line="support", outcome=None, calls=1),
        OutcomeCount(line="support", outcome=Outcome.DECLINED, calls=3),
        OutcomeCount(line="support", outcome=Outcome.ABANDONED, calls=1),
    }
    old = {"line": "support", "language": "en", "prompt": QUESTION.id, "version": QUESTION.version}
    assert set(found.answers) == {
        AnswerCount(**old, answer=GIVEN, count=1),
        AnswerCount(**old, answer=REFUSED, count=1),
        AnswerCount(**old, answer=UNANSWERED, count=1),
        AnswerCount(**(old | {"version": "2"}), answer=REFUSED, count=1),
    }
    assert set(found.hours) == {
        HourCount(line="support", began=NOON, answer=GIVEN, count=1),
        HourCount(line="support", began=NOON, answer=REFUSED, count=1),
        HourCount(line="support", began=NOON + HOUR, answer=REFUSED, count=1),
        HourCount(line="support", began=NOON + HOUR, answer=UNANSWERED, count=1),
    }
    assert {row.line for row in (await store.counted(span())).answers} == {"support", "sales", "board"}


async def test_a_span_has_its_beginning_and_not_its_end_and_no_line_is_no_call(store: Catalogue) -> None:
    await called(store, GIVEN)
    await called(store, GIVEN, after=HOUR)
    assert [row.calls for row in (await store.counted(span(since=0, until=1))).outcomes] == [1]
    assert [row.began for row in (await store.counted(span(since=1))).hours] == [NOON + HOUR]
    none = Counted(outcomes=(), answers=(), hours=())
    assert await store.counted(span(since=1.01)) == none
    assert await store.counted(replace(span(), lines=frozenset())) == none


def view(rows: Iterable[tuple[str, int, ConsentState, int]]) -> FiguresView:
    """Of these answers by line, hour after NOON, answer and count; all to one prompt."""
    told = list(rows)
    counted = Counted(
        outcomes=(),
        answers=tuple(
            AnswerCount(line=line, language="en", prompt="ask", version="1", answer=answer, count=count)
            for line, _, answer, count in told
        ),
        hours=tuple(
            HourCount(line=line, began=NOON + hour * HOUR, answer=answer, count=count)
            for line, hour, answer, count in told
        ),
    )
    return FiguresView.of(span(), counted)


def test_the_share_who_agreed_is_of_those_who_were_asked_and_who_withdraws_was_asked_once() -> None:
    figures = view([("support", 0, GIVEN, 3), ("support", 0, REFUSED, 1), ("support", 0, ConsentState.WITHDRAWN, 1)])
    (row,) = answer_rows(figures)
    assert (row.of, row.asked, row.share, row.counts[ConsentState.WITHDRAWN]) == (
        ("support", "en", "ask", "1"),
        4,
        0.75,
        1,
    )


def test_hours_of_several_days_and_lines_are_one_hour_of_the_day_and_the_busiest_has_the_longest_bar() -> None:
    figures = view(
        [("support", 0, GIVEN, 1), ("support", 24, GIVEN, 2), ("sales", 0, REFUSED, 1), ("sales", 3, GIVEN, 1)]
    )
    assert sum(one.count for one in figures.hours if one.line == "support") == 3
    assert len([one for one in figures.hours if one.line == "support"]) == 1
    early, late = sorted(hour_rows(figures), key=lambda row: -row.asked)
    noon = NOON.astimezone().hour
    assert (early.of, early.asked, early.share) == ((f"{noon:02}",), 4, 1)
    assert (late.asked, late.share) == (1, 0.25)


async def test_figures_are_counted_one_after_the_other() -> None:
    begun: list[Span] = []
    first_may_end = asyncio.Event()

    async def count(asked: Span) -> Counted:
        begun.append(asked)
        await first_may_end.wait()
        return Counted(outcomes=(), answers=(), hours=())

    counted = InTurn(count)
    asking = [asyncio.create_task(counted(span(line))) for line in ("support", "sales")]
    await until(lambda: begun)
    done, _ = await asyncio.wait(asking, timeout=0.05)
    assert (begun, done) == ([span("support")], set())
    first_may_end.set()
    await asyncio.gather(*asking)
    assert begun == [span("support"), span("sales")]


async def test_who_may_search_a_line_sees_its_figures_with_bars_beside_readable_numbers(centre: Centre) -> None:
    await recorded(centre)
    await enters(centre, "sam", Role.SUPERVISOR)
    async with signed_in(centre, "sam") as client:
        page = await opens(client, "/figures")
        assert (page.status, 'href="/figures"' in page.text) == (200, True)
        for words in ("recorded", "100%", "agreed", "What was answered"):
            assert words in page.text
        assert re.findall(r'<rect width="([^"]+)"', page.text) == ["100.0"] * 3
        assert " style=" not in page.text
        client.headers["Accept-Language"] = "fr"
        assert "Part des accords" in (await opens(client, "/figures")).text
    async with program(centre, (await token_of(centre, "sam"))[1]) as client:
        told = (await client.get("/api/v1/figures")).json()
    assert told["outcomes"] == [{"line": "support", "outcome": "recorded", "calls": 1}]
    (answer,) = told["answers"]
    assert (answer["answer"], answer["count"], answer["language"]) == ("given", 1, "en")
    assert answer["version"]
    assert [one["count"] for one in told["hours"]] == [1]


async def test_figures_of_other_lines_are_not_there(centre: Centre) -> None:
    await recorded(centre)
    await enters(centre, "olga", Role.SUPERVISOR, line="sales")
    await enters(centre, "alba", Role.AUDITOR, line=EVERY_LINE)
    async with program(centre, (await token_of(centre, "olga"))[1]) as client:
        for asked in ({}, {"line": "support"}):
            told = (await client.get("/api/v1/figures", params=asked)).json()
            assert (told["outcomes"], told["answers"], told["hours"]) == ([], [], [])
    async with signed_in(centre, "olga") as client:
        page = await opens(client, "/figures?line=support")
        assert (page.status, "recorded" in page.text.split("<main")[1], "No call began" in page.text) == (
            200,
            False,
            True,
        )
    async with signed_in(centre, "alba") as client:
        page = await opens(client, "/figures")
        assert (page.status, 'href="/figures"' in page.text) == (403, False)
    async with program(centre, (await token_of(centre, "alba"))[1]) as client:
        assert (await client.get("/api/v1/figures")).json()["code"] == "no_right"


@pytest.mark.parametrize(
    "asked",
    [
        {"since": "2026-03-02", "until": "2026-03-02"},
        {"since": "2026-03-03", "until": "2026-03-02"},
        {"since": "2026-03-02", "until": "2026-04-03"},
        {"since": "yesterday"},
        {"until": "0001-01-02"},
    ],
)
async def test_a_span_that_is_none_or_too_long_is_said_and_nothing_is_counted(
    centre: Centre, asked: dict[str, str]
) -> None:
    await enters(centre, "sam", Role.SUPERVISOR)
    async with signed_in(centre, "sam") as client:
        answer = await client.get("/figures", params=asked)
        assert (answer.status_code, f"at most {LONGEST.days} days" in answer.text) == (422, True)
        assert "<table" not in answer.text
    async with program(centre, (await token_of(centre, "sam"))[1]) as client:
        assert (await client.get("/api/v1/figures", params=asked)).json()["code"] == "not_understood"


async def test_the_longest_span_is_counted(centre: Centre) -> None:
    await enters(centre, "sam", Role.SUPERVISOR)
    until = later(0) + LONGEST
    async with program(centre, (await token_of(centre, "sam"))[1]) as client:
        asked = {"since": later(0).isoformat(), "until": until.isoformat()}
        assert (await client.get("/api/v1/figures", params=asked)).status_code == 200
