"""Who answers a line's call, and how; and the calls that are no line's: of those nothing is kept anywhere."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.live.ways import (
    AGENT_SPEAKS,
    CALLER_SPEAKS,
    TALKED,
    THIRD,
    Theatre,
    ends_with_the_line,
    only_the_talk,
    speaks_on,
    talk,
)
from tests.pbx.calls import Call, Calls, line_number
from tests.pbx.dialog import Dialog
from tests.pbx.party import HangUp, Say, Script, Wait
from tests.pbx.server import free_port
from tests.stories import Story

pytestmark = [pytest.mark.live]


async def _ends(calls: Calls, call: Call) -> Call:
    """After a while of talk the caller hangs up."""
    await call.placed.until_bridged()
    await asyncio.sleep(TALKED)
    await calls.hang_up(call)
    return call


# ---------------------------------------------------------------- who answers


async def a_member_of_two_queues(calls: Calls) -> Call:
    first, second = calls.own_queue(), calls.own_queue()
    await calls.sit(f"own{int(first)}", f"Local/desk{second}@phones/n")
    return await _ends(calls, await talk(calls, queue=second))


async def all_are_rung_and_one_answers(calls: Calls) -> Call:
    queue = calls.own_queue()
    for other in ("a", "b"):
        await calls.sit(f"own{int(queue)}", f"Local/other{other}{queue}@phones/n")
    return await _ends(calls, await talk(calls, queue=queue))


async def all_phones_are_rung_and_one_answers(calls: Calls) -> Call:
    queue = calls.own_queue()
    port = await calls.sit_at_phone(f"own{int(queue)}")
    await calls.phone_listens((Say(THIRD),), port=port, rings_for=60)
    return await _ends(calls, await talk(calls, queue=queue, sip=True))


async def one_does_not_answer_and_another_does(calls: Calls) -> Call:
    call = await calls.dial("18005550100", CALLER_SPEAKS, inside=False, HOUSE_QUEUE="brief", HOUSE_NAMED="lawful")
    await calls.sit("brief", "Local/sleeper@phones/n")
    await calls.admin.until("AgentRingNoAnswer", since=call.placed.since, timeout=30, Uniqueid=call.placed.leg)
    other = calls.joins(call, AGENT_SPEAKS, rings="waker")
    await calls.sit("brief", "Local/waker@phones/n")
    await other
    return await _ends(calls, call)


def behind_a_local_member(suffix: str) -> Callable[[Calls], object]:
    """The member is a Local channel that dials a SIP phone; without /n Asterisk takes it out of the path."""

    async def place(calls: Calls) -> Call:
        call, _ = await at_a_phone_behind(calls, suffix)
        return await _ends(calls, call)

    return place


async def at_a_phone_behind(
    calls: Calls,
    suffix: str,
    *,
    line: str = "lawful",
    caller: Script = CALLER_SPEAKS,
    agent_does: Script = AGENT_SPEAKS,
) -> tuple[Call, str]:
    """A caller, by SIP, and the channel of the SIP telephone behind the Local member with whom they talk."""
    queue, port = calls.own_queue(), free_port()
    await calls.sit(f"own{int(queue)}", f"Local/7{port:05}@personal{suffix}")
    phone = await calls.phone_listens(agent_does, port=port)
    call = await calls.dial(line_number(line, queue), caller, inside=False, sip=True)
    agent = await calls.rung(phone)
    await call.placed.until_bridged()
    return call, agent.channel


async def an_optimised_member_transfers(calls: Calls) -> Call:
    call, agent = await at_a_phone_behind(calls, "")
    await asyncio.sleep(TALKED)
    port = free_port()
    phone = await calls.phone_listens((Say(THIRD),), port=port)
    await (await Dialog.of(calls.pbx, calls.admin, agent)).refer(f"7{port:05}")
    return await speaks_on(calls, call, calls.rung(phone))


async def a_members_phone_forwards(calls: Calls) -> Call:
    queue = calls.own_queue()
    port = await calls.sit_at_phone(f"own{int(queue)}")
    await calls.phone_listens((), port=port, forwards_to="2006")
    call = await calls.dial(line_number("lawful", queue), CALLER_SPEAKS, inside=False)
    await calls.joins(call, (Say(THIRD),), rings="2006")
    return await _ends(calls, call)


async def a_members_call_is_picked_up(calls: Calls) -> Call:
    queue = calls.own_queue()
    await calls.sit(f"own{int(queue)}", f"Local/absent{queue}@phones/n")
    call = await calls.dial(line_number("lawful", queue), CALLER_SPEAKS, inside=False)
    ringing = await calls.admin.until("AgentCalled", since=call.placed.since, timeout=20, Uniqueid=call.placed.leg)
    other = await calls.dial("takes", (Say(THIRD),), HOUSE_OTHER=ringing["DestChannel"])
    await _ends(calls, call)
    await calls.hang_up(other)
    return call


async def nobody_answers_and_the_voicemail_does(calls: Calls) -> Call:
    queue = calls.own_queue()
    call = await calls.dial(line_number("lawful", queue), CALLER_SPEAKS, inside=False, HOUSE_WAIT="2", HOUSE_MAIL="yes")
    await calls.admin.until(
        "HouseReached", since=call.placed.since, timeout=20, Where="mailbox", Uniqueid=call.placed.leg
    )
    await asyncio.sleep(TALKED)
    await calls.hang_up(call)
    return call


# ---------------------------------------------------------------- no line's calls


async def extension_to_extension(calls: Calls) -> Call:
    call = await calls.dial("2005", CALLER_SPEAKS)
    await calls.joins(call, AGENT_SPEAKS, rings="2005")
    return await _ends(calls, call)


async def from_outside_to_a_phone(calls: Calls) -> Call:
    port = free_port()
    phone = await calls.phone_listens(AGENT_SPEAKS, port=port)
    call = await calls.dial(f"7{port:05}", CALLER_SPEAKS, inside=False, sip=True)
    await calls.rung(phone)
    return await _ends(calls, call)


async def outside_by_the_personal_prefix(calls: Calls) -> Call:
    call = await calls.dial("8friend", CALLER_SPEAKS)
    await calls.joins(call, AGENT_SPEAKS, rings="friend")
    return await _ends(calls, call)


STAYS_A_WHILE: Script = (*CALLER_SPEAKS, Wait(TALKED), HangUp())


async def to_the_voicemail(calls: Calls) -> Call:
    return await calls.dial("2998", STAYS_A_WHILE, inside=False)


async def a_feature_code(calls: Calls) -> Call:
    return await calls.dial("*43", STAYS_A_WHILE)


# ---------------------------------------------------------------- the cast


def recorded(name: str, place: Callable[[Calls], object], *, on_16: bool = False) -> Story:
    return Story(name=name, outcome="recorded", place=place, proof=only_the_talk, also=ends_with_the_line, on_16=on_16)


def nothing_more(_call: Call, _settled: list[Path]) -> list[str]:
    return []


def nobody_of_the_line(name: str, place: Callable[[Calls], object], *, on_16: bool = False) -> Story:
    """The caller speaks with somebody, and none of the line's members: no file."""
    return Story(name=name, outcome="abandoned", place=place, on_16=on_16)


ANSWERED = (
    recorded("a member of two queues", a_member_of_two_queues),
    recorded("all are rung and one answers", all_are_rung_and_one_answers),
    recorded("all phones are rung and one answers", all_phones_are_rung_and_one_answers),
    recorded("one does not answer and another does", one_does_not_answer_and_another_does),
    # Asterisk's events of taking the Local channel out look like a departure: the tones alone judge this one.
    replace(recorded("a phone behind a Local member", behind_a_local_member(""), on_16=True), also=nothing_more),
    recorded("a phone behind a Local member with /n", behind_a_local_member("/n")),
    recorded("an optimised member transfers", an_optimised_member_transfers, on_16=True),
    nobody_of_the_line("a member's phone forwards", a_members_phone_forwards, on_16=True),
    nobody_of_the_line("a member's call is picked up", a_members_call_is_picked_up),
    nobody_of_the_line("nobody answers and the voicemail does", nobody_answers_and_the_voicemail_does, on_16=True),
)
NOBODYS = (
    Story(name="extension to extension", outcome=None, place=extension_to_extension, on_16=True),
    Story(name="from outside to a phone", outcome=None, place=from_outside_to_a_phone),
    Story(name="outside by the personal prefix", outcome=None, place=outside_by_the_personal_prefix),
    Story(name="to the voicemail", outcome=None, place=to_the_voicemail),
    Story(name="a feature code", outcome=None, place=a_feature_code),
)
CAST = (*ANSWERED, *NOBODYS)
THEATRE = Theatre.of(CAST)


def test_a_call_is_the_lines_or_nobodys_by_outcome_files_and_tones(release: str, story: Story) -> None:
    performance = THEATRE.on(release)
    assert performance[story].wrong == [], performance.said(story)


@pytest.mark.asterisk16
def test_of_calls_that_are_no_lines_nothing_is_kept_anywhere(release: str) -> None:
    performance = THEATRE.on(release)
    answered = [story for story in THEATRE.cast_on(release) if story.outcome is not None]
    assert performance.calls == len(answered), performance.log
    assert performance.settled_files == sum(story.proof is not None for story in answered)
    assert performance.staged == []
    assert performance.verify[0] == 0, performance.verify[1]
