"""The dialplan asks while the daemon is dead or frozen, on a real Asterisk; what it permitted is recorded later."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pytest

from recorder.fallback_file import put_together
from recorder.prompts import load
from recorder.settings import settings_from
from tests.live.stage import Ended, Stage, ended, stage
from tests.pbx import tones
from tests.pbx.calls import Calls
from tests.pbx.party import HangUp, Party, Press, Say, Script, UntilBridged, UntilPrompt, Wait
from tests.stories import (
    AGENT,
    CALLER,
    CALLER_BEFORE,
    HEARD,
    LEFT,
    RIGHT,
    Placed,
    Story,
    agrees,
    both_from_the_bridge_on,
    play,
    refuses,
    stays_silent,
)

pytestmark = [pytest.mark.live, pytest.mark.fault]

BRIEF: Mapping[str, object] = {"answer_seconds": 2, "retries": 1, "fallback": "dialplan", "queues": []}
LINES: Mapping[str, Mapping[str, object]] = {
    "support": {**BRIEF, "consent": "opt_in", "languages": ["en", "fr"], "queues": ["support"]},
    "sales": {**BRIEF, "consent": "opt_out"},
    "announced": {**BRIEF, "consent": "notice"},
    "lawful": {**BRIEF, "consent": "not_required", "legal_basis": "MiFID II art. 16(7), |; x"},
    "closed": {**BRIEF, "consent": "never"},
    "skipping": {"consent": "opt_in", "queues": []},
}
CARD = 1000  # Hz: what is said while it is paused
AGENT_SPEAKS: Script = (Say(AGENT),)
TALK: Script = (UntilBridged(), Wait(4), HangUp())


@asynccontextmanager
async def away(release: str, lines: Mapping[str, Mapping[str, object]] = LINES) -> AsyncIterator[Stage]:
    """A stage whose PBX has what `recorder init` writes for these lines; the daemon runs."""
    async with stage(release, lines=lines) as on:
        settings = settings_from(on.recorder.config.read_text(), {}, source="recorder.toml")
        asking = [rules for rules in settings.rules().values() if rules.asked_without_us and rules.name != "closed"]
        prompts = load(settings.prompts.here, settings.prompts.path)
        made = put_together(asking, prompts, spool=PurePosixPath(settings.capture.spool), version=release)
        assert made.problems == ()
        etc = on.pbx.base / "etc"
        (etc / "extensions_recorder_fallback.conf").write_text(made.text)
        with (etc / "extensions.conf").open("a") as house:
            house.write("\n#include extensions_recorder_fallback.conf\n")
        await on.calls.admin.command("dialplan reload")
        yield on


# ---------------------------------------------------------------- a whole cast, with no daemon there


def at(line: str, caller: Script, named: str, agent: Script = AGENT_SPEAKS, **more: str) -> Callable[[Calls], object]:
    variables = {"HOUSE_NAMED": line, **more}
    return lambda calls: calls.incoming("support", caller, agent, agent_name=named, own_queue=True, variables=variables)


def lasts_about(seconds: float) -> Callable[[Path], list[str]]:
    """Both are there from the bridge on, for as long as they talked."""

    def proof(path: Path) -> list[str]:
        heard = tones.read(path).seconds
        short = [] if heard > seconds - 0.5 else [f"lasts {heard:.2f} s, not {seconds} s"]
        return both_from_the_bridge_on(path) + short

    return proof


def nothing_of_the_card(path: Path) -> list[str]:
    """The pause hides all that was said in it, and the talk before and after is there."""
    card = tones.seconds_of(tones.stretches(path, LEFT, CARD, level=50))
    heard = tones.stretches(path, LEFT, CALLER)
    wrong = [f"{card:.2f} s of the card"] if card else []
    if not heard or heard[0][0] > 0.2 or heard[-1][1] < tones.read(path).seconds - 0.4:
        wrong.append(f"the talk is not there from beginning to end: {heard}")
    return wrong


PRESSES_LATE: Script = (Say(CALLER_BEFORE), UntilPrompt(), Wait(HEARD), Say(CALLER), Wait(0.2), Press("1"))
AGREES = Story(name="agrees", outcome="recorded", place=at("support", agrees(), "a1"), proof=lasts_about(4), on_16=True)
IN_FRENCH = Story(
    name="agrees in French",
    outcome="recorded",
    place=at("support", agrees(), "a2", HOUSE_LANGUAGE="fr"),
    proof=lasts_about(4),
)
REFUSES = Story(name="refuses", outcome="declined", place=at("support", refuses(), "a3"), on_16=True)
SILENT = Story(name="says nothing", outcome="declined", place=at("support", stays_silent(), "a4"))
WRONG_KEY = Story(
    name="presses what means nothing",
    outcome="declined",
    place=at(
        "support",
        (Say(CALLER), UntilPrompt(), Wait(HEARD), Press("7"), UntilPrompt(), Wait(HEARD), Press("#"), *TALK),
        "a5",
    ),
)
TOO_EARLY = Story(
    name="presses before enough was heard",
    outcome="declined",
    place=at(
        "support",
        (Say(CALLER), UntilPrompt(), Wait(0.3), Press("1"), UntilPrompt(), Wait(0.3), Press("1"), *TALK),
        "a6",
    ),
)
GONE_IN_PROMPT = Story(
    name="hangs up in the prompt",
    outcome="abandoned",
    place=at("support", (Say(CALLER), UntilPrompt(), Wait(2), HangUp()), "a7"),
)
GONE_AFTER_PROMPT = Story(
    name="hangs up while an answer is waited for",
    outcome="abandoned",
    place=at("support", (Say(CALLER), UntilPrompt(), Wait(12), HangUp()), "a8"),
)
GONE_IN_QUEUE = Story(
    name="agrees and hangs up in the queue",
    outcome="abandoned",
    place=lambda calls: calls.incoming(
        "support", (*PRESSES_LATE, Wait(2), HangUp()), None, own_queue=True, variables={"HOUSE_NAMED": "support"}
    ),
)
WITHDRAWS = Story(
    name="agrees and withdraws in the talk",
    outcome="declined",
    place=at("support", (*PRESSES_LATE, UntilBridged(), Wait(3), Press("*9"), Wait(4), HangUp()), "b1"),
    on_16=True,
)
PAUSES = Story(
    name="the agent pauses for a card number",
    outcome="recorded",
    place=at(
        "support",
        (*PRESSES_LATE, UntilBridged(), Wait(5.5), Say(CARD), Wait(1.5), Say(CALLER), Wait(8), HangUp()),
        "b2",
        (Say(AGENT), UntilBridged(), Wait(3), Press("*81"), Wait(6), Press("*82")),
    ),
    proof=nothing_of_the_card,
)
PERSONAL = Story(
    name="the agent calls it personal",
    outcome="excluded",
    place=at("support", agrees(then=7), "b3", (Say(AGENT), UntilBridged(), Wait(2), Press("*0"))),
)
SILENCE_PERMITS = Story(
    name="says nothing where silence permits",
    outcome="recorded",
    place=at("sales", (Say(CALLER), *TALK), "c1"),
    proof=lasts_about(4),
)
OBJECTS = Story(
    name="objects where silence permits",
    outcome="declined",
    place=at("sales", (Say(CALLER), UntilPrompt(), Wait(0.5), Press("2"), *TALK), "c2"),
)
IS_TOLD = Story(
    name="is told", outcome="recorded", place=at("announced", (Say(CALLER), *TALK), "c3"), proof=lasts_about(4)
)
BY_LAW = Story(name="by law", outcome="recorded", place=at("lawful", (Say(CALLER), *TALK), "c4"), proof=lasts_about(4))
# Of these the queue log alone tells, by the uniqueid: that nothing is written is what is asked here.
NEVER = Story(name="never", outcome=None, place=at("closed", (Say(CALLER), *TALK), "c5"))
SKIPS = Story(name="fallback = skip", outcome=None, place=at("skipping", (Say(CALLER), *TALK), "c6"))
CAST = (
    AGREES,
    IN_FRENCH,
    REFUSES,
    SILENT,
    WRONG_KEY,
    TOO_EARLY,
    GONE_IN_PROMPT,
    GONE_AFTER_PROMPT,
    GONE_IN_QUEUE,
    WITHDRAWS,
    PAUSES,
    PERSONAL,
    SILENCE_PERMITS,
    OBJECTS,
    IS_TOLD,
    BY_LAW,
    NEVER,
    SKIPS,
)
CAPTURED = {story.name for story in CAST if story.proof} | {GONE_IN_QUEUE.name, WITHDRAWS.name, PERSONAL.name}
"""Whom the dialplan may start a capture for."""


@dataclass(frozen=True, kw_only=True)
class Absence:
    """What a cast came to that called while there was no daemon."""

    by_name: dict[str, Ended]
    staged_then: int  # captures in the spool before the daemon was back
    staged_now: list[str]
    log: str
    verify: str


class Theatre:
    """The cast, played once a release by the first test that asks."""

    def cast_on(self, release: str) -> list[Story]:
        return [story for story in CAST if release == "22" or story.on_16]


THEATRE = Theatre()
_absences: dict[str, Absence] = {}


@pytest.fixture
def absence(release: str) -> Absence:
    if release not in _absences:
        _absences[release] = asyncio.run(_play(release, THEATRE.cast_on(release)))
    return _absences[release]


async def _play(release: str, cast: list[Story]) -> Absence:
    queues = [f"own{number}" for number in range(1, 61)]
    lines = {**LINES, "support": {**LINES["support"], "queues": ["support", *queues]}}
    async with away(release, lines) as on:
        await on.recorder.stop()
        placed = [Placed(story) for story in cast]
        room = asyncio.Semaphore(5)

        async def in_turn(one: Placed) -> None:
            async with room:
                await play(one, on.calls)

        await asyncio.gather(*(in_turn(one) for one in placed))
        staged = on.staged()
        on.recorder.launch()
        try:
            await on.closed(len(cast), timeout=60)
            await on.recorder.until(lambda: not on.staged(), "the spool to be empty", timeout=60)
        except TimeoutError:
            pass  # each story is judged by itself, and the log stands with it
        recordings = await on.recorder.settled()
        by_name = {one.story.name: await ended(on, one, recordings) for one in placed}
        verified = on.recorder.command("verify", check=False)
        return Absence(
            by_name=by_name,
            staged_then=len(staged),
            staged_now=on.staged(),
            log=on.recorder.log_tail(200),
            verify=verified.stdout + verified.stderr if verified.returncode else "",
        )


def test_a_caller_of_an_absent_daemon_gets_what_the_line_says(absence: Absence, story: Story) -> None:
    assert absence.by_name[story.name].wrong == [], absence.log


@pytest.mark.asterisk16
def test_only_what_the_answer_permits_is_ever_written(absence: Absence, release: str) -> None:
    captured = CAPTURED & {story.name for story in THEATRE.cast_on(release)}
    assert absence.staged_then == 2 * len(captured)
    assert absence.staged_now == []


@pytest.mark.asterisk16
def test_the_books_balance_after_an_absence(absence: Absence) -> None:
    assert absence.verify == ""


def test_the_books_tell_what_was_asked_by_the_dialplan(absence: Absence) -> None:
    whole = absence.by_name[AGREES.name].whole
    assert whole is not None
    asked, given = whole.consents
    assert [(str(row.before), str(row.after)) for row in (asked, given)] == [("none", "asked"), ("asked", "given")]
    assert asked.prompt is not None
    assert asked.prompt == given.prompt
    assert asked.language == "en"
    assert given.key is None
    assert given.played_ms is not None
    assert given.played_ms >= 2250
    french = absence.by_name[IN_FRENCH.name].whole
    assert french is not None
    assert [row.language for row in french.consents] == ["fr", "fr"]


# ---------------------------------------------------------------- the daemon comes and goes


async def the_recording(on: Stage, outcome: str = "recorded") -> Path:
    """The one call's one settled file, after its outcome."""
    (row,) = await on.closed(1, timeout=60)
    assert (row.outcome, row.reason) == (outcome, None), on.recorder.log_tail()
    (path,) = await on.settled_paths(row)
    await on.recorder.until(lambda: not on.staged(), "the spool to be empty")
    return path


@pytest.mark.asterisk16
async def test_a_daemon_that_is_back_in_mid_talk_takes_the_capture_over(release: str) -> None:
    async with away(release) as on:
        await on.recorder.stop()
        call = await on.calls.incoming("support", agrees(then=20), (Say(AGENT),))
        await call.placed.until_bridged()
        await asyncio.sleep(2)
        on.recorder.launch()
        await on.recorder.until(lambda: on.recorder.get("/readyz")[0] == 200, "the daemon to be ready", timeout=60)
        assert "talking, capturing" in str(on.recorder.get("/status")[1]["calls"]), on.recorder.log_tail()
        await call.until_ended()
        path = await the_recording(on)
        assert both_from_the_bridge_on(path) == []
        assert tones.read(path).seconds > 19


@pytest.mark.asterisk16
async def test_a_frozen_daemon_costs_three_seconds_and_then_the_dialplan_asks(release: str) -> None:
    async with away(release) as on:
        on.recorder.send(signal.SIGSTOP)
        call = await on.calls.incoming("support", agrees(then=5), (Say(AGENT),))
        assert isinstance(call.placed, Party)
        prompt = await call.placed.until_prompt(timeout=30)
        assert prompt.name == "Newexten"
        placed, _ = await call.until_ended()
        on.recorder.send(signal.SIGCONT)
        path = await the_recording(on)
        assert both_from_the_bridge_on(path) == []
        assert tones.read(path).seconds > 4.5
        assert placed.answered_at is not None


async def test_a_daemon_that_thaws_while_the_dialplan_asks_takes_the_answer_as_it_comes(release: str) -> None:
    async with away(release) as on:
        on.recorder.send(signal.SIGSTOP)
        call = await on.calls.incoming("support", agrees(then=6), (Say(AGENT),))
        await asyncio.sleep(4.5)
        on.recorder.send(signal.SIGCONT)
        await call.until_ended()
        path = await the_recording(on)
        assert both_from_the_bridge_on(path) == []
        assert tones.read(path).seconds > 5.5


async def test_a_prompt_that_is_gone_permits_nothing(release: str) -> None:
    lines = {"support": {**LINES["support"], "languages": ["en"]}}
    async with away(release, lines) as on:
        await on.recorder.stop()
        file = on.pbx.base / "etc" / "extensions_recorder_fallback.conf"
        file.write_text(file.read_text().replace(f"{on.pbx.prompts}/en/question", "/nowhere/question"))
        await on.calls.admin.command("dialplan reload")
        call = await on.calls.incoming("support", (Say(CALLER), *TALK), (Say(AGENT),))
        placed, _ = await call.until_ended()
        assert placed.was_bridged
        assert on.staged() == []
        on.recorder.launch()
        (row,) = await on.closed(1, timeout=60)
        assert (row.outcome, row.reason) == ("lost", "prompt_failed")


async def test_a_blind_transfer_while_we_are_away_keeps_the_agents_talk_and_nobody_elses(release: str) -> None:
    async with away(release) as on:
        await on.recorder.stop()
        call = await on.calls.incoming("support", agrees(then=14), (Say(AGENT),))
        await call.placed.until_bridged()
        await asyncio.sleep(5)
        agents = [name for name in await on.calls.admin.channels() if name.startswith("Local/agent1@phones")]
        (leg,) = [name for name in agents if name.endswith(";1")]
        await on.calls.admin.action("BlindTransfer", {"Channel": leg, "Exten": "2999", "Context": "from-agents"})
        await call.until_ended()
        on.recorder.launch()
        path = await the_recording(on)
        assert tones.seconds_of(tones.stretches(path, RIGHT, AGENT)) > 2
        for side in (LEFT, RIGHT):
            assert tones.stretches(path, side, 2600) == []


async def test_an_init_that_is_out_of_date_is_told_by_doctor(release: str) -> None:
    async with away(release) as on:
        fine = on.recorder.command("doctor", check=False).stdout
        assert "asked by the dialplan while the recorder is away" in fine
        text = on.recorder.config.read_text().replace("answer_seconds = 2", "answer_seconds = 3")
        on.recorder.config.write_text(text)
        stale = on.recorder.command("doctor", check=False).stdout
        assert "older settings or prompts" in stale
