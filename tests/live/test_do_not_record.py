"""Who is on a do-not-record list is in no recording (SC-07): agents, numbers dialled, far numbers; and no key helps."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from recorder.catalogue import CallRow
from tests.facts import override_for
from tests.live.stage import Performance, Stage, perform, stage
from tests.live.ways import AGENT_SPEAKS, CALLER_SPEAKS, SECOND, TALKED, THIRD, keys
from tests.pbx import tones
from tests.pbx.calls import Call, Calls, short_number
from tests.pbx.party import HangUp, Say, Script, UntilBridged, Wait
from tests.stories import (
    AGENT,
    LEFT,
    RIGHT,
    Placed,
    Story,
    agreed_over_sip,
    agrees,
    overrides,
    play,
    refuses,
)

pytestmark = [pytest.mark.live, pytest.mark.asterisk16]

LINES: Mapping[str, Mapping[str, object]] = {
    "support": {
        "consent": "opt_in",
        "override": override_for("emergency", "legal", "business"),
        "answer_seconds": 2,
        "retries": 1,
    },
    "sales": {"consent": "opt_in"},
    "lawful": {"consent": "not_required", "legal_basis": "MiFID II art. 16(7)", "queues": []},
}
LISTS: Mapping[str, object] = {
    "region": "CA",
    "agents": ["Local/union@phones/n", "PJSIP/agent", "Local/94165550177@from-agents"],
    "dialled": ["1 800 555-0177"],
    "numbers": ["+1 (416) 555-0100"],
}
LISTED: Script = (Say(SECOND),)
WAITS_FOR_NOTHING: Script = (Say(1200), UntilBridged(), Wait(4), HangUp())
"""Who is not asked is bridged at once; a prompt would come first, and the story would say so."""


def call(caller: Script, agent: Script, named: str, /, **also: object) -> Callable[[Calls], object]:
    return lambda calls: calls.incoming(
        "support",
        caller,
        agent,
        agent_name=named,
        own_queue=True,
        **also,  # type: ignore[arg-type]
    )


async def _two_ring(calls: Calls, *, listed_answers: bool) -> Call:
    """Both are rung; one answers and the other never does."""
    queue = calls.own_queue()
    names = {True: "union", False: f"desk{queue}"}
    await calls.sit(f"own{int(queue)}", f"Local/{names[not listed_answers]}@phones/n")
    placed = await calls.at_line(
        "lawful", CALLER_SPEAKS, LISTED if listed_answers else AGENT_SPEAKS, queue=queue, member=names[listed_answers]
    )
    await placed.until_rung()
    await placed.placed.until_bridged()
    await asyncio.sleep(TALKED + 2)
    await calls.hang_up(placed)
    return placed


async def listed_sends_on_to_another_line(calls: Calls) -> Call:
    """The agent who must not be recorded transfers the caller to a line whose agent may be."""
    first, second = calls.own_queue(), calls.own_queue()
    await calls.sit(f"own{int(second)}", f"Local/desk{second}@phones/n")
    placed = await calls.at_line(
        "lawful",
        CALLER_SPEAKS,
        LISTED,
        queue=first,
        member="union",
        variables={"TRANSFER_CONTEXT": "from-agents"},
    )
    await placed.until_rung()
    await placed.placed.until_bridged()
    await asyncio.sleep(TALKED)
    other = calls.joins(placed, AGENT_SPEAKS, rings=f"desk{second}")
    await keys(calls, placed, "#", short_number("lawful", second))
    await other
    await placed.placed.until_bridged()
    await asyncio.sleep(TALKED + 2)
    await calls.hang_up(placed)
    return placed


def nothing_of_the_listed(path: Path) -> list[str]:
    found = [(side, hz) for side in (LEFT, RIGHT) for hz in (SECOND, THIRD) if tones.stretches(path, side, hz)]
    heard = tones.seconds_of(tones.stretches(path, RIGHT, AGENT))
    return [f"{hz} Hz on channel {side}" for side, hz in found] + ([] if heard > 1 else [f"{heard:.1f} s of the agent"])


ALONE = Story(
    name="a listed agent takes an agreed call",
    outcome="excluded",
    place=call(agrees(), LISTED, "union"),
)
BY_SIP = Story(
    name="a listed agent takes an agreed call (SIP)",
    outcome="excluded",
    place=lambda calls: calls.incoming("sales", agreed_over_sip(), LISTED, sip=True),
)
UNLISTED_ANSWERS = Story(
    name="a listed agent rings and another answers",
    outcome="recorded",
    place=lambda calls: _two_ring(calls, listed_answers=False),
    proof=nothing_of_the_listed,
)
LISTED_ANSWERS = Story(
    name="another rings and the listed agent answers",
    outcome="excluded",
    place=lambda calls: _two_ring(calls, listed_answers=True),
)
FAR_NUMBER = Story(
    name="a far number on the list",
    outcome="excluded",
    place=call(WAITS_FOR_NOTHING, AGENT_SPEAKS, "far", number="4165550100"),
)
DIALLED = Story(
    name="a dialled number on the list",
    outcome="excluded",
    place=call(WAITS_FOR_NOTHING, AGENT_SPEAKS, "dialled", variables={"RECORDER_DIALLED": "+18005550177"}),
)
OVERRIDE_OF_THE_LISTED = Story(
    name="a listed agent tries to override",
    outcome="excluded",
    place=call(refuses(then=6), overrides("*71"), "union2"),
)
OVERRIDE_OF_A_NUMBER = Story(
    name="an override is tried on a listed number",
    outcome="excluded",
    place=call((*WAITS_FOR_NOTHING[:2], Wait(7), HangUp()), overrides("*71"), "tried", number="+14165550100"),
)
OUTGOING_BY_THE_LISTED = Story(
    name="a listed agent calls out",
    outcome="excluded",
    place=lambda calls: calls.outgoing(LISTED, WAITS_FOR_NOTHING, number="4165550177"),
)
OUTGOING_TO_A_NUMBER = Story(
    name="outgoing to a listed number",
    outcome="excluded",
    place=lambda calls: calls.outgoing((Say(AGENT),), WAITS_FOR_NOTHING, number="4165550100"),
)
SENT_ON = Story(
    name="a listed agent sends the caller on to another line",
    outcome="recorded",
    place=listed_sends_on_to_another_line,
    proof=nothing_of_the_listed,
)
CAST = (
    ALONE,
    BY_SIP,
    UNLISTED_ANSWERS,
    LISTED_ANSWERS,
    FAR_NUMBER,
    DIALLED,
    OVERRIDE_OF_THE_LISTED,
    OVERRIDE_OF_A_NUMBER,
    OUTGOING_BY_THE_LISTED,
    OUTGOING_TO_A_NUMBER,
    SENT_ON,
)
NEVER_ASKED = (FAR_NUMBER, DIALLED, OVERRIDE_OF_A_NUMBER, OUTGOING_BY_THE_LISTED, OUTGOING_TO_A_NUMBER)
_performances: dict[str, Performance] = {}


@pytest.fixture
def performance(release: str) -> Performance:
    if release not in _performances:
        lists = {**LISTS, "agents": [*LISTS["agents"], "Local/union2@phones"]}  # type: ignore[misc]
        _performances[release] = perform(release, CAST, lines=LINES, at_once=4, changes={"do_not_record": lists})
    return _performances[release]


@pytest.mark.parametrize("story", CAST, ids=lambda story: story.name)
def test_who_must_not_be_recorded_is_in_no_recording(performance: Performance, story: Story) -> None:
    assert performance[story].wrong == [], performance.said(story)


def test_who_is_on_a_list_is_asked_nothing_and_nothing_is_armed(performance: Performance) -> None:
    for story in NEVER_ASKED:
        assert performance[story].states == ["prohibited"], story.name
        assert performance[story].recordings == ()


def test_an_override_that_a_list_forbids_is_refused_and_audited(performance: Performance) -> None:
    for story, on_list in ((OVERRIDE_OF_THE_LISTED, "agent"), (OVERRIDE_OF_A_NUMBER, "number")):
        whole = performance[story].whole
        assert whole is not None
        assert [(row.action, row.details["do_not_record"]) for row in whole.audit] == [("override refused", on_list)]


def test_no_number_of_a_list_is_kept_anywhere(performance: Performance) -> None:
    assert "4165550100" not in performance.log
    for story in (FAR_NUMBER, OVERRIDE_OF_A_NUMBER):
        assert "4165550100" not in repr(performance[story].whole)


# --------------------------------------------------------------------------- the daemon is slow, or dead


async def _listed_answers_while(on: Stage, harm: signal.Signals) -> tuple[CallRow | None, dict[str, int]]:
    """The daemon arms, is harmed while the caller waits, and a listed agent takes the call; what is then staged."""
    placed = Placed(
        Story(
            name="waits",
            outcome="excluded",
            place=lambda calls: calls.incoming("support", agrees(then=5), LISTED, agent_name="union", rings_for=4),
        )
    )
    playing = asyncio.create_task(play(placed, on.calls))
    await on.recorder.until(lambda: len(on.staged()) == 2, "the capture to be armed", timeout=40)
    on.recorder.send(harm)
    await playing
    assert placed.error is None
    return await on.row_of(placed), {path.name: path.stat().st_size for path in on.pbx.captures.iterdir()}


@pytest.mark.parametrize("harm", [signal.SIGSTOP, signal.SIGKILL], ids=["frozen", "dead"])
async def test_not_a_sample_of_a_listed_agent_is_written_while_the_daemon_is_frozen_or_dead(
    release: str, harm: signal.Signals
) -> None:
    async with stage(release, lines=LINES, changes={"do_not_record": LISTS}) as on:
        _, staged = await _listed_answers_while(on, harm)
        assert set(staged.values()) == {44}, staged  # two headers
        if harm is signal.SIGSTOP:
            on.recorder.send(signal.SIGCONT)
        else:
            await on.recorder.start()
        (row,) = await on.closed(1, timeout=60)
        assert row.outcome == "excluded", on.recorder.command("calls", "show", str(row.id), "--why").stdout
        await on.recorder.until(lambda: not on.staged(), "the spool to be empty", timeout=60)
