"""A recorded caller is sent on: blind and attended, by the phone (SIP REFER) and by the featuremap, to wherever.

Whoever the caller comes to speak with outside the line's own talk is in no settled recording, nor is the caller then.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.live.stage import stage
from tests.live.ways import (
    CONSULTING,
    LATER,
    LINES,
    SECOND,
    TALKED,
    THIRD,
    Theatre,
    hangs_up_if_there,
    is_closed_with_the_line,
    keys,
    music,
    nobody_else,
    only_the_second_talk,
    only_the_talk,
    speaks_on,
    talk,
)
from tests.pbx import tones
from tests.pbx.calls import Call, Calls, line_number, short_number
from tests.pbx.dialog import Dialog
from tests.pbx.party import Party, Press, Say, Script, UntilPrompt, Wait
from tests.pbx.server import free_port
from tests.pbx.sip import AGENT as AGENT_HOST
from tests.pbx.sip import OUTSIDE
from tests.stories import AGENT, CALLER, HEARD, LEFT, RIGHT, Story

pytestmark = [pytest.mark.live]

PERSONAL = "2003"


async def refers(calls: Calls, call: Call, exten: str) -> None:
    """The agent's phone transfers the caller blindly, by SIP."""
    agent = await call.until_rung()
    await (await Dialog.of(calls.pbx, calls.admin, agent.channel)).refer(exten)


# ---------------------------------------------------------------- blind


async def blind_by_sip_to_a_personal_extension(calls: Calls) -> Call:
    call = await talk(calls, sip=True)
    port = free_port()
    phone = await calls.phone_listens((Say(THIRD),), port=port)
    await refers(calls, call, f"7{port:05}")
    return await speaks_on(calls, call, calls.rung(phone))


async def blind_by_sip_outside(calls: Calls) -> Call:
    call = await talk(calls, sip=True)
    port = free_port()
    phone = await calls.phone_listens((Say(THIRD),), port=port, host=OUTSIDE)
    await refers(calls, call, f"8{port:05}")
    return await speaks_on(calls, call, calls.rung(phone))


async def blind_by_key_to_a_personal_extension(calls: Calls) -> Call:
    call = await talk(calls)
    other = calls.joins(call, (Say(THIRD),), rings=PERSONAL)
    await keys(calls, call, "#", PERSONAL)
    return await speaks_on(calls, call, other)


async def blind_by_key_outside_on_a_recorded_route(calls: Calls) -> Call:
    call = await talk(calls)
    far = f"4{calls.own_queue()}"
    other = calls.joins(call, (Say(THIRD),), rings=far)
    await keys(calls, call, "#", f"9{far}")
    return await speaks_on(calls, call, other)


async def _blind_by_sip_to_a_line(calls: Calls, first: Call, line: str) -> Call:
    """To the second line's agent, over SIP; who answers speaks SECOND."""
    queue = calls.own_queue()
    port = await calls.sit_at_phone(f"own{int(queue)}")
    phone = await calls.phone_listens((Say(SECOND),), port=port)
    await refers(calls, first, line_number(line, queue))
    party = await calls.rung(phone)
    await party.until_bridged()
    await asyncio.sleep(TALKED + 1)
    await calls.hang_up(first)
    return first


async def blind_by_sip_to_a_line_where_the_law_permits(calls: Calls) -> Call:
    return await _blind_by_sip_to_a_line(calls, await talk(calls, sip=True), "lawful")


async def blind_by_sip_to_a_line_that_is_never_recorded(calls: Calls) -> Call:
    return await _blind_by_sip_to_a_line(calls, await talk(calls, sip=True), "closed")


AGREES: Script = (Say(CALLER), Wait(HEARD + 0.5), Press("1"))


async def blind_by_sip_with_the_answer_carried(calls: Calls) -> Call:
    call = await talk(calls, line="support", sip=True, caller=AGREES)
    return await _blind_by_sip_to_a_line(calls, call, "sales")


async def blind_by_key_asked_again(calls: Calls) -> Call:
    """On the first line nobody asks, on the second one the caller refuses."""
    call = await talk(calls)
    queue = calls.own_queue()
    await calls.sit(f"own{int(queue)}", f"Local/desk{queue}@phones/n")
    other = calls.joins(call, (Say(SECOND),), rings=f"desk{queue}")
    await keys(calls, call, "#", short_number("support", queue))
    assert isinstance(call.placed, Party)
    await call.placed.run((UntilPrompt(), Wait(HEARD), Press("2")))
    return await speaks_on(calls, call, other)


async def blind_by_key_with_the_answer_carried(calls: Calls) -> Call:
    caller: Script = (Say(CALLER), UntilPrompt(), Wait(HEARD), Press("1"))
    call = await talk(calls, line="support", caller=caller)
    queue = calls.own_queue()
    await calls.sit(f"own{int(queue)}", f"Local/desk{queue}@phones/n")
    other = calls.joins(call, (Say(SECOND),), rings=f"desk{queue}")
    await keys(calls, call, "#", short_number("sales", queue))
    party = await asyncio.wait_for(other, 30)
    await party.until_bridged()
    await asyncio.sleep(TALKED)
    await calls.hang_up(call)
    return call


# ---------------------------------------------------------------- between lines that ask differently (CN-09)


AGREES_WHEN_ASKED: Script = (UntilPrompt(), Wait(HEARD), Press("1"))
IS_TOLD: Script = (Say(CALLER), UntilPrompt())
REFUSES_WHEN_ASKED: Script = (UntilPrompt(), Wait(HEARD), Press("2"))


async def _by_key_on_to(calls: Calls, call: Call, line: str, *, answer: Script = ()) -> Call:
    """Sent on to another line, where the caller does `answer` before its agent speaks SECOND."""
    queue = calls.own_queue()
    await calls.sit(f"own{int(queue)}", f"Local/desk{queue}@phones/n")
    other = calls.joins(call, (Say(SECOND),), rings=f"desk{queue}")
    await keys(calls, call, "#", short_number(line, queue))
    assert isinstance(call.placed, Party)
    await call.placed.run(answer)
    party = await asyncio.wait_for(other, 60)
    await party.until_bridged()
    await asyncio.sleep(TALKED)
    await calls.hang_up(call)
    return call


async def refused_and_sent_to_a_notice_line(calls: Calls) -> Call:
    call = await talk(calls, line="support", caller=(Say(CALLER), *REFUSES_WHEN_ASKED))
    return await _by_key_on_to(calls, call, "announced")


async def unanswered_and_sent_to_a_notice_line(calls: Calls) -> Call:
    """The notice would do there by itself; the question of the line before is put again."""
    call = await talk(calls, line="sales", caller=IS_TOLD)
    return await _by_key_on_to(calls, call, "announced", answer=REFUSES_WHEN_ASKED)


async def agreed_and_sent_to_a_line_that_is_never_recorded(calls: Calls) -> Call:
    call = await talk(calls, line="support", caller=(Say(CALLER), *AGREES_WHEN_ASKED))
    return await _by_key_on_to(calls, call, "closed")


async def told_and_sent_to_a_line_that_asks(calls: Calls) -> Call:
    call = await talk(calls, line="announced", caller=IS_TOLD)
    return await _by_key_on_to(calls, call, "support", answer=AGREES_WHEN_ASKED)


async def never_recorded_and_sent_to_a_notice_line(calls: Calls) -> Call:
    call = await talk(calls, line="closed")
    return await _by_key_on_to(calls, call, "announced", answer=AGREES_WHEN_ASKED)


async def an_agent_dials_a_line(calls: Calls) -> Call:
    """From a telephone that is a member of a queue: nobody is asked, nothing is captured."""
    queue, desk = calls.own_queue(), calls.own_queue()
    await calls.sit_at_phone(f"own{int(desk)}")
    await calls.sit(f"own{int(queue)}", f"Local/desk{queue}@phones/n")
    call = await calls.dial(short_number("support", queue), (Say(CALLER),), sip=True)
    other = calls.joins(call, (Say(SECOND),), rings=f"desk{queue}")
    party = await asyncio.wait_for(other, 60)
    await party.until_bridged()
    await asyncio.sleep(TALKED)
    await calls.hang_up(call)
    return call


# ---------------------------------------------------------------- attended, by key


async def _consults(calls: Calls, call: Call, exten: str, *, rings: str, says: int = THIRD) -> Party:
    """The agent speaks with somebody while the caller hears music; who that is."""
    agent = await call.until_rung()
    assert isinstance(agent, Party)
    other = calls.joins(call, (Say(says),), rings=rings)
    await keys(calls, call, "*2", exten)
    await calls.admin.until("BridgeLeave", since=agent.since, Uniqueid=agent.leg)
    await agent.say(CONSULTING)
    party = await asyncio.wait_for(other, 30)
    await party.until_bridged()
    await asyncio.sleep(TALKED)
    return party


async def _completes(calls: Calls, call: Call) -> Call:
    """The agent hangs up, and the caller speaks with whom the agent had consulted."""
    agent = await call.until_rung()
    assert isinstance(agent, Party)
    assert isinstance(call.placed, Party)
    await agent.hang_up()
    await calls.admin.until("AttendedTransfer", since=call.placed.since, TransfereeUniqueid=call.placed.leg)
    await call.placed.say(LATER)
    await asyncio.sleep(TALKED)
    await calls.hang_up(call)
    return call


async def attended_by_key_to_a_personal_extension(calls: Calls) -> Call:
    call = await talk(calls)
    await _consults(calls, call, PERSONAL, rings=PERSONAL)
    return await _completes(calls, call)


async def attended_by_key_outside(calls: Calls) -> Call:
    call = await talk(calls)
    far = f"4{calls.own_queue()}"
    await _consults(calls, call, f"9{far}", rings=far)
    return await _completes(calls, call)


async def attended_by_key_to_another_line(calls: Calls) -> Call:
    call = await talk(calls)
    queue = calls.own_queue()
    await calls.sit(f"own{int(queue)}", f"Local/desk{queue}@phones/n")
    await _consults(calls, call, short_number("lawful", queue), rings=f"desk{queue}", says=SECOND)
    return await _completes(calls, call)


async def consulted_and_returned(calls: Calls) -> Call:
    call = await talk(calls)
    await _consults(calls, call, PERSONAL, rings=PERSONAL)
    await _comes_back(calls, call)
    await asyncio.sleep(TALKED)
    await calls.hang_up(call)
    return call


async def _comes_back(calls: Calls, call: Call) -> None:
    agent = await call.until_rung()
    assert isinstance(agent, Party)
    await agent.say(AGENT)  # before the return: what is said on it is the line's talk again
    back = calls.admin.mark()
    await agent.press("*1")
    await calls.admin.until("BridgeEnter", since=back, Uniqueid=agent.leg)


async def three_in_one_bridge(calls: Calls) -> Call:
    call = await talk(calls)
    await _consults(calls, call, PERSONAL, rings=PERSONAL)
    agent = await call.until_rung()
    assert isinstance(agent, Party)
    assert isinstance(call.placed, Party)
    joined = calls.admin.mark()
    await agent.press("*3")
    await calls.admin.until("BridgeEnter", since=joined, Uniqueid=agent.leg)
    await call.placed.say(LATER)
    await asyncio.sleep(TALKED)
    await calls.hang_up(call)
    await hangs_up_if_there(agent)
    return call


# ---------------------------------------------------------------- attended, by the phone


async def _attended_by_sip(calls: Calls, call: Call, exten: str, *, port: int, host: str) -> Call:
    """The agent's phone holds the caller, calls somebody on its second line, and joins the two."""
    agent = await call.until_rung()
    line = await Dialog.of(calls.pbx, calls.admin, agent.channel)
    await line.hold()
    listening = await calls.phone_listens((Say(THIRD),), port=port, host=host)
    beside = await calls.dial(exten, (Say(CONSULTING),), sip=True)
    await (await calls.rung(listening)).until_bridged()
    await asyncio.sleep(TALKED)
    await line.refer("desk", into=await Dialog.of(calls.pbx, calls.admin, beside.placed.channel))
    await calls.admin.until("AttendedTransfer", since=call.placed.since, OrigTransfererUniqueid=agent.leg)
    await asyncio.sleep(TALKED)
    await calls.hang_up(call)
    return call


async def attended_by_sip_to_a_personal_extension(calls: Calls) -> Call:
    call = await talk(calls, sip=True)
    port = free_port()
    return await _attended_by_sip(calls, call, f"7{port:05}", port=port, host=AGENT_HOST)


async def attended_by_sip_outside(calls: Calls) -> Call:
    call = await talk(calls, sip=True)
    port = free_port()
    return await _attended_by_sip(calls, call, f"8{port:05}", port=port, host=OUTSIDE)


async def two_callers_joined(calls: Calls) -> Call:
    """Two recorded calls of one agent, each with consent: together the callers are nobody's talk."""
    first = await talk(calls, sip=True)
    agent = await first.until_rung()
    line = await Dialog.of(calls.pbx, calls.admin, agent.channel)
    await line.hold()
    other = await talk(calls, sip=True, caller=(Say(THIRD),))
    second = await other.until_rung()
    await line.refer("desk", into=await Dialog.of(calls.pbx, calls.admin, second.channel))
    await calls.admin.until("AttendedTransfer", since=first.placed.since, OrigTransfererUniqueid=agent.leg)
    await asyncio.sleep(TALKED)
    await calls.hang_up(first)
    return first


# ---------------------------------------------------------------- the cast


def silent_between(path: Path) -> list[str]:
    """The consultation is exact silence in both directions, as long as it was, between two parts of the talk."""
    parts = tones.stretches(path, RIGHT, AGENT)
    quiet = [tones.silence(path, side, level=0) for side in (LEFT, RIGHT)]
    long = [max((end - start for start, end in found), default=0.0) for found in quiet]
    wrong = [] if len(parts) >= 2 and parts[-1][1] - parts[-1][0] > 1 else [f"the agent speaks at {parts}"]
    return wrong + [f"longest silence {seconds:.2f} s" for seconds in long if seconds < TALKED] + only_the_talk(path)


def left(name: str, place: Callable[[Calls], object], *, on_16: bool = False) -> Story:
    """A call that leaves the line for good: one recording, of the first talk alone."""
    return Story(
        name=name, outcome="recorded", place=place, proof=only_the_talk, also=is_closed_with_the_line, on_16=on_16
    )


def went_on(name: str, place: Callable[[Calls], object], *, on_16: bool = False) -> Story:
    """A call that goes on to another line, where it is captured anew."""
    story = left(name, place, on_16=on_16)
    return replace(story, more=(only_the_second_talk,))


CAST = (
    left("blind by SIP to a personal extension", blind_by_sip_to_a_personal_extension, on_16=True),
    left("blind by SIP to outside", blind_by_sip_outside),
    went_on("blind by SIP to a line with a legal basis", blind_by_sip_to_a_line_where_the_law_permits),
    went_on("blind by SIP to a line that would ask again", blind_by_sip_with_the_answer_carried, on_16=True),
    left("blind by SIP to a line that is never recorded", blind_by_sip_to_a_line_that_is_never_recorded, on_16=True),
    left("blind by key to a personal extension", blind_by_key_to_a_personal_extension, on_16=True),
    left("blind by key to outside on a recorded route", blind_by_key_outside_on_a_recorded_route),
    left("blind by key to a line that asks, and refused there", blind_by_key_asked_again),
    went_on("blind by key to a line that would ask again", blind_by_key_with_the_answer_carried),
    Story(name="refused, then a notice line", outcome="declined", place=refused_and_sent_to_a_notice_line, on_16=True),
    Story(name="unanswered, then a notice line", outcome="declined", place=unanswered_and_sent_to_a_notice_line),
    left("agreed, then a line that is never recorded", agreed_and_sent_to_a_line_that_is_never_recorded, on_16=True),
    went_on("told, then a line that asks", told_and_sent_to_a_line_that_asks),
    Story(
        name="never recorded, then a notice line, and agreed there",
        outcome="recorded",
        place=never_recorded_and_sent_to_a_notice_line,
        proof=only_the_second_talk,
    ),
    Story(name="an agent dials a line", outcome="excluded", place=an_agent_dials_a_line, on_16=True),
    left("attended by key to a personal extension", attended_by_key_to_a_personal_extension, on_16=True),
    left("attended by key to outside on a recorded route", attended_by_key_outside),
    left("attended by key to another line", attended_by_key_to_another_line),
    replace(left("attended by key, and then three in one bridge", three_in_one_bridge), proof=only_the_talk),
    Story(
        name="attended by key, and the agent comes back",
        outcome="recorded",
        place=consulted_and_returned,
        proof=silent_between,
        also=music,
        on_16=True,
    ),
    left("attended by SIP to a personal extension", attended_by_sip_to_a_personal_extension, on_16=True),
    left("attended by SIP to outside", attended_by_sip_outside),
    left("two callers of one agent joined", two_callers_joined),
)
THEATRE = Theatre.of(CAST, {**LINES, "sales": {"consent": "opt_in", "answer_seconds": 2, "retries": 0}})


def test_a_transferred_call_ends_as_it_should_by_outcome_files_and_tones(release: str, story: Story) -> None:
    performance = THEATRE.on(release)
    assert performance[story].wrong == [], performance.said(story)


@pytest.mark.asterisk16
@pytest.mark.parametrize("unseen", ["goes aside", "comes back"])
async def test_an_agent_who_goes_aside_or_comes_back_while_no_daemon_runs_is_captured_again_after_both_are_back(
    release: str, unseen: str
) -> None:
    async with stage(release, lines=LINES) as on:
        call = await talk(on.calls)
        if unseen == "goes aside":
            on.recorder.send(signal.SIGKILL)
        await _consults(on.calls, call, PERSONAL, rings=PERSONAL)
        if unseen == "comes back":
            on.recorder.send(signal.SIGKILL)
            await _comes_back(on.calls, call)
        await on.recorder.start()
        await on.recorder.until(lambda: on.recorder.get("/readyz")[0] == 200, "all to be seen", timeout=60)
        if unseen == "goes aside":
            await _comes_back(on.calls, call)
        await asyncio.sleep(2 * TALKED)
        await on.calls.hang_up(call)
        (row,) = await on.closed(1)
        assert row.outcome == "recorded", on.recorder.log_tail()
        (path,) = await on.settled_paths(row)
        assert nobody_else(path) == []
        for side, hz in ((LEFT, CALLER), (RIGHT, AGENT)):
            again = [part for part in tones.stretches(path, side, hz) if part[0] > 2 * TALKED]
            assert tones.seconds_of(again) > 1.5 * TALKED, on.recorder.log_tail()
