"""A recorded caller is taken elsewhere from outside the talk: redirected, parked, picked up, forwarded, conferred with.

Third parties speak 1400 Hz, the caller out of the line 1750 Hz, music is 2000 Hz: none of them is in a recording.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tests.live.ways import (
    LATER,
    TALKED,
    THIRD,
    Theatre,
    hangs_up_if_there,
    is_closed_with_the_line,
    only_the_talk,
    speaks_on,
    talk,
)
from tests.pbx.calls import Call, Calls
from tests.pbx.party import Party, Say
from tests.pbx.server import free_port
from tests.stories import Story

pytestmark = [pytest.mark.live]

PERSONAL = "2004"


async def _redirected(calls: Calls, call: Call, exten: str) -> None:
    await calls.admin.action(
        "Redirect", {"Channel": call.placed.channel, "Context": "from-agents", "Exten": exten, "Priority": "1"}
    )


async def redirected(calls: Calls) -> Call:
    call = await talk(calls)
    other = calls.joins(call, (Say(THIRD),), rings=PERSONAL)
    await _redirected(calls, call, PERSONAL)
    return await speaks_on(calls, call, other)


async def redirected_over_sip(calls: Calls) -> Call:
    call = await talk(calls, sip=True)
    port = free_port()
    phone = await calls.phone_listens((Say(THIRD),), port=port)
    await _redirected(calls, call, f"7{port:05}")
    return await speaks_on(calls, call, calls.rung(phone))


async def _parked(calls: Calls, call: Call) -> str:
    """The agent parks the caller, who waits alone; where to fetch the caller."""
    agent = await call.until_rung()
    await calls.admin.action(
        "Park", {"Channel": call.placed.channel, "TimeoutChannel": agent.channel, "AnnounceChannel": agent.channel}
    )
    parked = await calls.admin.until("ParkedCall", since=call.placed.since, ParkeeUniqueid=call.placed.leg)
    if isinstance(call.placed, Party):
        await call.placed.say(LATER)
    await asyncio.sleep(TALKED)
    return parked["ParkingSpace"]


async def parked_and_fetched_by_another(calls: Calls) -> Call:
    call = await talk(calls)
    space = await _parked(calls, call)
    other = await calls.dial(space, (Say(THIRD),))
    await other.placed.until_bridged()
    await asyncio.sleep(TALKED)
    await calls.hang_up(call)
    return call


async def parked_and_hung_up(calls: Calls) -> Call:
    call = await talk(calls, sip=True)
    await _parked(calls, call)
    await calls.hang_up(call)
    return call


async def left_by_the_agent(calls: Calls) -> Call:
    """The agent hangs up, and the caller goes on in the house's dialplan, to the voice mail."""
    call = await talk(calls, variables={"HOUSE_QUEUE_OPTIONS": "c", "HOUSE_MAIL": "yes"})
    assert isinstance(call.placed, Party)
    await hangs_up_if_there(await call.until_rung())
    await calls.admin.until("HouseReached", since=call.placed.since, Uniqueid=call.placed.leg, Where="mailbox")
    await call.placed.say(LATER)
    await asyncio.sleep(TALKED)
    await calls.hang_up(call)
    return call


async def conferred(calls: Calls) -> Call:
    """The caller and somebody else in a conference."""
    call = await talk(calls)
    other = await calls.dial("confers", (Say(THIRD),))
    await calls.admin.until("BridgeEnter", since=other.placed.since, timeout=30, Uniqueid=other.placed.leg)
    await _redirected(calls, call, "confers")
    await calls.admin.until("BridgeEnter", since=other.placed.since, timeout=30, Uniqueid=call.placed.leg)
    assert isinstance(call.placed, Party)
    await call.placed.say(LATER)
    await asyncio.sleep(TALKED)
    await calls.hang_up(call)
    await calls.hang_up(other)
    return call


async def _third_in_the_bridge(calls: Calls, call: Call) -> Call:
    """Somebody joins the very bridge in which caller and agent talk; the caller hangs up."""
    other = await calls.dial("joins", (Say(THIRD),), HOUSE_OTHER=call.placed.channel)
    await calls.admin.until("BridgeEnter", since=other.placed.since, timeout=20, Uniqueid=other.placed.leg)
    if isinstance(call.placed, Party):
        await call.placed.say(LATER)
    await asyncio.sleep(TALKED)
    await calls.hang_up(call)
    await calls.hang_up(other)
    await hangs_up_if_there(await call.until_rung())
    return call


async def joined_by_a_third(calls: Calls) -> Call:
    return await _third_in_the_bridge(calls, await talk(calls))


async def joined_by_a_third_over_sip(calls: Calls) -> Call:
    return await _third_in_the_bridge(calls, await talk(calls, sip=True))


async def transferred_and_picked_up(calls: Calls) -> Call:
    """Sent to a personal extension, and somebody else takes the call from there while it rings."""
    call = await talk(calls)
    agent = await call.until_rung()
    since = calls.admin.mark()
    await calls.admin.action("BlindTransfer", {"Channel": agent.channel, "Exten": PERSONAL, "Context": "from-agents"})
    ringing = await calls.admin.until(
        lambda event: event.is_("DialBegin", Uniqueid=call.placed.leg), since=since, timeout=20
    )
    other = await calls.dial("takes", (Say(THIRD),), HOUSE_OTHER=ringing["DestChannel"])
    await calls.admin.until("BridgeEnter", since=since, timeout=20, Uniqueid=call.placed.leg)
    assert isinstance(call.placed, Party)
    await call.placed.say(LATER)
    await asyncio.sleep(TALKED)
    await calls.hang_up(call)
    await calls.hang_up(other)
    return call


def left(name: str, place: Callable[[Calls], object], *, on_16: bool = False) -> Story:
    return Story(
        name=name, outcome="recorded", place=place, proof=only_the_talk, also=is_closed_with_the_line, on_16=on_16
    )


CAST = (
    left("redirected to a personal extension", redirected, on_16=True),
    left("redirected over SIP", redirected_over_sip),
    left("parked and fetched by another", parked_and_fetched_by_another, on_16=True),
    left("parked and hung up", parked_and_hung_up),
    left("left by the agent, and sent to the voice mail", left_by_the_agent, on_16=True),
    left("in a conference", conferred),
    left("joined by a third in the bridge", joined_by_a_third, on_16=True),
    left("joined by a third over SIP", joined_by_a_third_over_sip),
    left("transferred and picked up by another", transferred_and_picked_up),
)
THEATRE = Theatre.of(CAST)


def test_whoever_comes_to_the_caller_is_in_no_recording(release: str, story: Story) -> None:
    performance = THEATRE.on(release)
    assert performance[story].wrong == [], performance.said(story)
