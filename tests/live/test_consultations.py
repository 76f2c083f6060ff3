"""Somebody agrees on a line, and then somebody else stands there: who agreed is who is captured, and nobody else.

An agent in a personal call asks a line's agent something and joins the two; a phone that is no member's does it by
SIP; a house lets a line be reached through one more Local channel. Nobody of the personal call is in any recording.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.live.test_fallback import away
from tests.live.ways import CONSULTING, LATER, LINES, SECOND, TALKED, Theatre, keys, nobody_else, talked
from tests.pbx import tones
from tests.pbx.calls import Call, Calls, short_number
from tests.pbx.dialog import Dialog
from tests.pbx.party import Party, Press, Say, Script, UntilPrompt, Wait
from tests.pbx.server import free_port
from tests.pbx.sip import SipParty
from tests.stories import AGENT, CALLER, HEARD, LEFT, RIGHT, Story

pytestmark = [pytest.mark.live]

AGREES: Script = (UntilPrompt(), Wait(HEARD), Press("1"))
MAY_TRANSFER = {"HOUSE_DIAL": "t", "TRANSFER_CONTEXT": "from-agents"}


async def _personal(calls: Calls, extension: str) -> Call:
    """Somebody rang an agent's own extension, and they talk: a call that is nobody's business."""
    call = await calls.personal((Say(LATER),), (Say(AGENT),), extension=extension, variables=MAY_TRANSFER)
    await call.until_rung()
    await call.placed.until_bridged()
    await asyncio.sleep(TALKED)
    return call


async def _asks_a_line(calls: Calls, call: Call, *, behind: bool = False) -> asyncio.Task[Party]:
    """The agent consults the line support by key, and agrees where it is asked; who answers there speaks SECOND."""
    agent = await call.until_rung()
    assert isinstance(agent, Party)
    queue = calls.own_queue()
    await calls.sit(f"own{int(queue)}", f"Local/desk{queue}@phones/n")
    other = calls.joins(call, (Say(SECOND),), rings=f"desk{queue}")
    await keys(calls, call, "*2", short_number("support", queue, behind=behind))
    await calls.admin.until("BridgeLeave", since=call.sent_on, Uniqueid=agent.leg)
    await agent.say(CONSULTING)
    return other


async def _agrees_if_asked(agent: Party) -> None:
    try:
        await agent.until_prompt(timeout=4)
    except TimeoutError:
        return
    await agent.run((Wait(HEARD), Press("1")))


async def _joins_them(calls: Calls, call: Call) -> Call:
    agent = await call.until_rung()
    assert isinstance(agent, Party)
    await agent.hang_up()
    await calls.admin.until("AttendedTransfer", since=call.placed.since, TransfereeUniqueid=call.placed.leg)
    await asyncio.sleep(TALKED + 1)
    await calls.hang_up(call)
    return call


async def _consults_and_joins(calls: Calls, extension: str, *, behind: bool = False) -> Call:
    call = await _personal(calls, extension)
    other = await _asks_a_line(calls, call, behind=behind)
    agent = await call.until_rung()
    assert isinstance(agent, Party)
    await _agrees_if_asked(agent)
    party = await asyncio.wait_for(other, 60)
    await party.until_bridged()
    await asyncio.sleep(TALKED)
    return await _joins_them(calls, call)


async def by_key_from_a_personal_call(calls: Calls) -> Call:
    return await _consults_and_joins(calls, "2001")


async def by_key_through_one_more_local_channel(calls: Calls) -> Call:
    return await _consults_and_joins(calls, "2002", behind=True)


async def by_key_and_gone_before_anybody_answered(calls: Calls) -> Call:
    """The agent agrees and leaves while the line still rings: the personal caller waits in the queue alone."""
    call = await _personal(calls, "2004")
    agent = await call.until_rung()
    assert isinstance(agent, Party)
    queue = calls.own_queue()
    await keys(calls, call, "*2", short_number("support", queue))
    await calls.admin.until("BridgeLeave", since=call.sent_on, Uniqueid=agent.leg)
    await _agrees_if_asked(agent)
    await asyncio.sleep(1)
    await agent.hang_up()
    await asyncio.sleep(1)
    calls.joins(call, (Say(SECOND),), rings=f"desk{queue}")
    await calls.sit(f"own{int(queue)}", f"Local/desk{queue}@phones/n")
    await calls.admin.until("AgentConnect", since=call.sent_on, timeout=30, Queue=f"own{int(queue)}")
    await asyncio.sleep(TALKED + 1)
    await calls.hang_up(call)
    return call


async def _office_phone(calls: Calls) -> tuple[Call, SipParty]:
    """A phone of the house that is no queue's member is in a personal call: that call, and the phone's leg there."""
    port = free_port()
    phone = await calls.phone_listens((Say(AGENT),), port=port)
    call = await calls.dial(f"7{port:05}", (Say(LATER),), inside=False, sip=True)
    party = await calls.rung(phone)
    await party.until_bridged()
    await asyncio.sleep(1)
    return call, party


AGREES_BY_THE_CLOCK: Script = (Say(CONSULTING), Wait(HEARD + 0.5), Press("1"))


async def _joins_by_sip(calls: Calls, *, answered: bool, behind: bool = False) -> Call:
    """It calls the line on its second leg, agrees, and joins the two, before or after the line's agent has answered."""
    personal, leg = await _office_phone(calls)
    first = await Dialog.of(calls.pbx, calls.admin, leg.channel)
    await first.hold()
    queue = calls.own_queue()
    if answered:
        await calls.sit(f"own{int(queue)}", f"Local/desk{queue}@phones/n")
    beside = await calls.dial(short_number("support", queue, behind=behind), AGREES_BY_THE_CLOCK, sip=True)
    if answered:
        other = calls.joins(beside, (Say(SECOND),), rings=f"desk{queue}")
        await (await asyncio.wait_for(other, 60)).until_bridged()
        await asyncio.sleep(TALKED)
    else:
        await calls.admin.until("QueueCallerJoin", since=beside.placed.since, timeout=30, Queue=f"own{int(queue)}")
        await asyncio.sleep(0.5)
    await first.refer("desk", into=await Dialog.of(calls.pbx, calls.admin, beside.placed.channel))
    await calls.admin.until("AttendedTransfer", since=beside.placed.since, OrigTransfererUniqueid=leg.leg)
    if not answered:
        calls.joins(personal, (Say(SECOND),), rings=f"desk{queue}")
        await calls.sit(f"own{int(queue)}", f"Local/desk{queue}@phones/n")
        await calls.admin.until("AgentConnect", since=beside.placed.since, timeout=30, Queue=f"own{int(queue)}")
    await asyncio.sleep(TALKED + 1)
    await calls.admin.action("Hangup", {"Channel": f"/^Local/desk{queue}@phones-.*/"})
    return beside


async def by_sip_from_a_phone_that_is_no_members(calls: Calls) -> Call:
    return await _joins_by_sip(calls, answered=True)


async def by_sip_while_the_line_still_rings(calls: Calls) -> Call:
    return await _joins_by_sip(calls, answered=False)


async def by_sip_through_one_more_local_channel(calls: Calls) -> Call:
    return await _joins_by_sip(calls, answered=True, behind=True)


async def a_caller_through_one_more_local_channel(calls: Calls) -> Call:
    """No transfer at all: the outside caller is asked through a Local channel, and captured like everybody."""
    queue = calls.own_queue()
    await calls.sit(f"own{int(queue)}", f"Local/desk{queue}@phones/n")
    call = await calls.dial(short_number("support", queue, behind=True), (Say(CALLER), *AGREES), inside=False)
    other = calls.joins(call, (Say(AGENT),), rings=f"desk{queue}")
    await (await asyncio.wait_for(other, 60)).until_bridged()
    await asyncio.sleep(TALKED)
    await calls.hang_up(call)
    return call


def only_who_agreed(path: Path) -> list[str]:
    """The phone that agreed and the line's agent, and never the one whom it joined with them."""
    who = ((LEFT, CONSULTING), (RIGHT, SECOND))
    heard = {hz: tones.seconds_of(tones.stretches(path, side, hz)) for side, hz in who}
    wrong = [f"{seconds:.2f} s of {hz} Hz" for hz, seconds in heard.items() if seconds < TALKED / 2]
    return wrong + nobody_else(path, (LATER, AGENT))


CAST = (
    Story(name="by key from a personal call", outcome="excluded", place=by_key_from_a_personal_call, on_16=True),
    Story(name="by key, through one more Local", outcome="excluded", place=by_key_through_one_more_local_channel),
    Story(name="by key, and gone at once", outcome="excluded", place=by_key_and_gone_before_anybody_answered),
    Story(
        name="by SIP from a phone that is no member's",
        outcome="recorded",
        place=by_sip_from_a_phone_that_is_no_members,
        proof=only_who_agreed,
    ),
    Story(name="by SIP while the line still rings", outcome="abandoned", place=by_sip_while_the_line_still_rings),
    Story(
        name="by SIP through one more Local",
        outcome="recorded",
        place=by_sip_through_one_more_local_channel,
        proof=only_who_agreed,
    ),
    Story(
        name="a caller through one more Local",
        outcome="recorded",
        place=a_caller_through_one_more_local_channel,
        proof=talked,
        on_16=True,
    ),
)
THEATRE = Theatre.of(CAST, LINES)


def test_who_agreed_is_who_is_captured(release: str, story: Story) -> None:
    performance = THEATRE.on(release)
    assert performance[story].wrong == [], performance.said(story)


@pytest.mark.asterisk16
def test_the_books_balance_when_all_of_it_is_over(release: str) -> None:
    code, printed = THEATRE.on(release).verify
    assert code == 0, printed


@pytest.mark.parametrize("behind", [False, True], ids=["by key", "through one more Local"])
async def test_while_the_recorder_is_away_nobody_is_asked_who_may_leave(release: str, behind: bool) -> None:
    async with away(release) as on:
        await on.recorder.stop()
        call = await _personal(on.calls, "2001")
        other = await _asks_a_line(on.calls, call, behind=behind)
        agent = await call.until_rung()
        assert isinstance(agent, Party)
        with pytest.raises(TimeoutError):
            await agent.until_prompt(timeout=3)
        await (await asyncio.wait_for(other, 60)).until_bridged()
        await _joins_them(on.calls, call)
        assert on.staged() == []
