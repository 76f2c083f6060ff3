"""An agent consults another line and hands the caller over (CN-13): that talk is captured, the consultation is not.

Every party has a tone of its own; what the two agents say to each other is in no recording, at any level.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.live import ears
from tests.live.stage import stage
from tests.live.ways import (
    CONSULTING,
    LINES,
    SECOND,
    STRANGE,
    TALKED,
    Theatre,
    ends_with_the_line,
    keys,
    music,
    nobody_else,
    only_the_second_talk,
    only_the_talk,
    talk,
    talked,
)
from tests.pbx import tones
from tests.pbx.calls import Call, Calls, short_number
from tests.pbx.party import Party, Press, Say, Script, UntilPrompt, Wait
from tests.stories import AGENT, CALLER, HEARD, LEFT, RIGHT, Placed, Story

pytestmark = [pytest.mark.live]

AGREES: Script = (Say(CALLER), UntilPrompt(), Wait(HEARD), Press("1"))
PROMPTS = Path(__file__).parents[2] / "dialplan" / "prompts"
TO_LISTEN: Mapping[str, Mapping[str, object]] = {"capture": {"rivals": "report"}}
"""What listens in for the tests is a MixMonitor of its own."""
REFUSES: Script = (Say(CALLER), UntilPrompt(), Wait(HEARD), Press("2"))


async def _consults(calls: Calls, call: Call, line: str) -> Party:
    """The agent speaks CONSULTING with the line's agent, who speaks SECOND, while the caller hears music."""
    agent = await call.until_rung()
    assert isinstance(agent, Party)
    queue = calls.own_queue()
    await calls.sit(f"own{int(queue)}", f"Local/desk{queue}@phones/n")
    other = calls.joins(call, (Say(SECOND),), rings=f"desk{queue}")
    await keys(calls, call, "*2", short_number(line, queue))
    await calls.admin.until("BridgeLeave", since=agent.since, Uniqueid=agent.leg)
    await agent.say(CONSULTING)
    party = await asyncio.wait_for(other, 60)
    await party.until_bridged()
    await asyncio.sleep(TALKED)
    return party


async def _leaves(calls: Calls, call: Call) -> None:
    """The agent hangs up, and the caller is where the agent was."""
    agent = await call.until_rung()
    assert isinstance(agent, Party)
    await agent.hang_up()
    await calls.admin.until("AttendedTransfer", since=call.placed.since, TransfereeUniqueid=call.placed.leg)


async def _hands_over(calls: Calls, line: str, *, caller: Script = AGREES) -> Call:
    call = await talk(calls, line="support", caller=caller)
    await _consults(calls, call, line)
    await _leaves(calls, call)
    await asyncio.sleep(TALKED + 1)
    await calls.hang_up(call)
    return call


async def to_a_line_that_the_yes_covers(calls: Calls) -> Call:
    return await _hands_over(calls, "sales")


async def after_a_refusal(calls: Calls) -> Call:
    return await _hands_over(calls, "sales", caller=REFUSES)


async def to_a_line_that_is_never_recorded(calls: Calls) -> Call:
    return await _hands_over(calls, "closed")


async def while_the_line_still_rings(calls: Calls) -> Call:
    """The agent is gone before anybody of the other line has answered: the caller waits in its queue."""
    call = await talk(calls, line="support", caller=AGREES)
    queue = calls.own_queue()
    agent = await call.until_rung()
    assert isinstance(agent, Party)
    await keys(calls, call, "*2", short_number("sales", queue))
    await calls.admin.until("QueueCallerJoin", since=call.sent_on, timeout=30, Queue=f"own{int(queue)}")
    await agent.say(CONSULTING)
    await asyncio.sleep(1)
    await _leaves(calls, call)
    other = calls.joins(call, (Say(SECOND),), rings=f"desk{queue}")
    await calls.sit(f"own{int(queue)}", f"Local/desk{queue}@phones/n")
    await (await asyncio.wait_for(other, 60)).until_bridged()
    await asyncio.sleep(TALKED + 1)
    await calls.hang_up(call)
    return call


async def and_the_agent_comes_back(calls: Calls) -> Call:
    call = await talk(calls, line="support", caller=AGREES)
    await _consults(calls, call, "sales")
    agent = await call.until_rung()
    assert isinstance(agent, Party)
    await agent.say(AGENT)  # before the return: what is said on it is the line's talk again
    back = calls.admin.mark()
    await agent.press("*1")
    await calls.admin.until("BridgeEnter", since=back, Uniqueid=agent.leg)
    await asyncio.sleep(TALKED)
    await calls.hang_up(call)
    return call


# ---------------------------------------------------------------- judges


def _first_silence(path: Path) -> float:
    """Seconds of exact silence at the beginning, in both directions."""
    found = [tones.silence(path, side, level=0) for side in (LEFT, RIGHT)]
    return min(max((end for start, end in spans if start == 0), default=0.0) for spans in found)


def silent_until_handed_over(path: Path) -> list[str]:
    """Exact zeros as long as the consultation was, and from then on caller and second agent, and nobody else."""
    quiet = _first_silence(path)
    heard = {side: tones.stretches(path, side, hz) for side, hz in ((LEFT, CALLER), (RIGHT, SECOND))}
    print(f"silent until {quiet:.2f} s of {tones.read(path).seconds:.2f} s, heard {heard}")
    wrong = [] if quiet >= TALKED - 0.1 else [f"silent for {quiet:.2f} s only"]
    late = [f"channel {side}: {found}" for side, found in heard.items() if not found or found[0][0] > quiet + 0.5]
    return wrong + late + only_the_second_talk(path)


def only_the_line(path: Path) -> list[str]:
    """The first line's talk before and after, and nothing of what was said between."""
    parts = tones.stretches(path, RIGHT, AGENT)
    wrong = [] if len(parts) >= 2 else [f"the agent speaks at {parts}"]
    return wrong + talked(path) + nobody_else(path, STRANGE)


CAST = (
    Story(
        name="to a line that the yes covers",
        outcome="recorded",
        place=to_a_line_that_the_yes_covers,
        proof=only_the_talk,
        more=(silent_until_handed_over,),
        also=ends_with_the_line,
        on_16=True,
    ),
    Story(
        name="while the line still rings",
        outcome="recorded",
        place=while_the_line_still_rings,
        proof=only_the_talk,
        more=(only_the_second_talk,),
        also=ends_with_the_line,
    ),
    Story(name="after a refusal", outcome="declined", place=after_a_refusal),
    Story(
        name="to a line that is never recorded",
        outcome="recorded",
        place=to_a_line_that_is_never_recorded,
        proof=only_the_talk,
        also=ends_with_the_line,
    ),
    Story(
        name="and the agent comes back",
        outcome="recorded",
        place=and_the_agent_comes_back,
        proof=only_the_line,
        also=music,
        on_16=True,
    ),
)
THEATRE = Theatre.of(CAST, LINES)


def test_a_consultation_is_in_no_recording_and_the_talk_after_it_is(release: str, story: Story) -> None:
    performance = THEATRE.on(release)
    assert performance[story].wrong == [], performance.said(story)


@pytest.mark.asterisk16
def test_the_books_balance_when_all_of_it_is_over(release: str) -> None:
    code, printed = THEATRE.on(release).verify
    assert code == 0, printed


@pytest.mark.asterisk16
@pytest.mark.parametrize(
    ("feature", "leaves", "caller", "told"),
    [
        ("#", "", AGREES, "recorded"),
        ("#", "", REFUSES, "unrecorded"),
        ("*2", "while it rings", AGREES, "recorded"),
        ("*2", "after the consultation", REFUSES, "unrecorded"),
    ],
    ids=["blind, agreed", "blind, refused", "attended, agreed", "attended, refused"],
)
async def test_whoever_answers_next_hears_before_they_speak_whether_the_call_is_captured_there(
    release: str, feature: str, leaves: str, caller: Script, told: str
) -> None:
    """Who listens in beside a captured caller on hold would be stopped, as in any pause: that agent is gone by then."""
    lines = {**LINES, "sales": {**LINES["sales"], "announce": True}}
    async with stage(release, lines=lines, changes=TO_LISTEN) as on:
        call = await talk(on.calls, line="support", caller=caller)
        queue = on.calls.own_queue()
        await on.calls.sit(f"own{int(queue)}", f"Local/desk{queue}@phones/n")
        other = on.calls.joins(call, (Say(SECOND),), rings=f"desk{queue}", rings_for=5)
        await keys(on.calls, call, feature, short_number("sales", queue))
        rings = await on.calls.admin.until("LocalBridge", since=call.sent_on, timeout=60, Context="phones")
        if leaves == "while it rings":
            await _leaves(on.calls, call)
        heard = await ears.listen_in(on.calls, rings["LocalTwoChannel"], f"next-{call.placed.leg}")
        await (await asyncio.wait_for(other, 60)).until_bridged()
        if leaves == "after the consultation":
            await asyncio.sleep(TALKED)
            await _leaves(on.calls, call)
        await asyncio.sleep(TALKED + 1)
        await on.calls.hang_up(call)
        (row,) = await on.closed(1)
        assert row.outcome == ("recorded" if told == "recorded" else "declined")
        assert len(await on.settled_paths(row)) == (2 if told == "recorded" else 0)
        said = {word: ears.hears(heard, PROMPTS / "en" / f"{word}.wav") for word in ("recorded", "unrecorded")}
        print(said)
        assert said[told] > ears.CLEARLY
        assert min(said.values()) < ears.CLEARLY


async def test_a_recorder_that_dies_beside_a_consultation_leaves_it_muted_and_keeps_nothing_of_it(release: str) -> None:
    async with stage(release, lines=LINES) as on:
        call = await talk(on.calls, line="support", caller=AGREES)
        await _consults(on.calls, call, "sales")
        on.recorder.send(signal.SIGKILL)
        await _leaves(on.calls, call)
        await asyncio.sleep(TALKED)
        assert [name for name in on.staged() if name.endswith(".wav")]
        await on.recorder.start()
        await on.calls.admin.until("MixMonitorStop", since=call.placed.since, timeout=20)
        await asyncio.sleep(TALKED)
        await on.calls.hang_up(call)
        await on.closed(1)
        row = await on.row_of(Placed(story=CAST[0], call=call))
        assert row is not None
        paths = await on.settled_paths(row)
        assert [only_the_talk(path) for path in paths] == [[]]
        assert on.staged() == []
