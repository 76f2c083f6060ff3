"""From leaving the line's talk to silence: transfers, a redirection, a pickup into another bridge, parking.

    python -m bench leaving [--calls 1000] [--talks 30]

Callers agree, talk, and are then sent to somebody who does not belong to the line, in five ways in turn. By Asterisk's
own word: from the Timestamp of the caller's BridgeLeave (of AttendedTransfer, where the agent hands over) to that of
MixMonitorStop or MixMonitorMute; 0 where it had stopped already. And by what Asterisk wrote: how long the stranger, the
voice mail or the music is heard in the staged file, before anything of it is cut away.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from bench.centre import Centre, centre, leg_of
from bench.machine import Figure, machine, tabled
from bench.raw import Raw, recordings_by_leg
from tests.pbx import tones
from tests.pbx.admin import Admin, AdminError, Event

EVENTS = "BridgeEnter|BridgeLeave|MixMonitorStop|MixMonitorMute|AttendedTransfer|BlindTransfer|ParkedCall"
TALK_SECONDS = 900.0
TALKED, STAYS = 1.0, 1.2
"""Seconds of talk before the caller leaves, and with whoever comes after."""
SILENT_WITHIN_MS = 300.0
STRANGE = (1400, 2000, 2600)  # Hz: a stranger, music on hold, the voice mail
AT_ONCE = 25

Way = Callable[[Admin, str, str], Awaitable[object]]
"""By the caller's and the agent's channel."""


async def blind(admin: Admin, _caller: str, agent: str) -> None:
    """The agent sends the caller to the voice mail."""
    await admin.action("BlindTransfer", {"Channel": agent, "Exten": "2999", "Context": "recorder-transfer"})


async def redirected(admin: Admin, caller: str, _agent: str) -> None:
    """The switchboard sends the caller to a stranger, past every dialplan of ours."""
    await admin.action("Redirect", {"Channel": caller, "Context": "from-agents", "Exten": "2150", "Priority": "1"})


async def picked_up(admin: Admin, caller: str, _agent: str) -> None:
    """A stranger is put into one bridge with the caller."""
    stranger = f"stranger-{caller.rpartition('-')[2].partition(';')[0]}"
    await admin.action(
        "Originate",
        {
            "Channel": "Local/s@bench-stranger/n",
            "Application": "Wait",
            "Data": "60",
            "ChannelId": f"{stranger}.1",
            "OtherChannelId": f"{stranger}.2",
        },
    )
    await admin.action("Bridge", {"Channel1": caller, "Channel2": f"{stranger}.1", "Tone": "no"})


async def parked(admin: Admin, caller: str, _agent: str) -> None:
    """The caller is parked, and hears music."""
    await admin.action("Park", {"Channel": caller, "Timeout": "60000"})


async def handed_over(admin: Admin, _caller: str, _agent: str) -> None:
    """The agent has consulted a stranger and leaves the caller there: parties.conf does it."""


WAYS: Mapping[str, Way] = {
    "blind transfer": blind,
    "redirection": redirected,
    "pickup into another bridge": picked_up,
    "parking": parked,
    "attended transfer": handed_over,
}


@dataclass(slots=True)
class Left:
    """Milliseconds, by way."""

    to_silence: dict[str, list[float]] = field(default_factory=lambda: {way: [] for way in WAYS})
    heard: dict[str, list[float]] = field(default_factory=lambda: {way: [] for way in WAYS})
    failed: list[str] = field(default_factory=list)


async def measure(calls: int, talks: int) -> Left:
    left = Left()
    ways: dict[str, str] = {}
    async with centre(raw=True) as on, await on.pbx.admin() as ears:
        raw = Raw(on)
        await ears.action("Filter", {"Operation": "Add", "Filter": f"Event: ({EVENTS})"})
        await on.every(0.2, talks, TALK_SECONDS)
        since = ears.mark()
        room = asyncio.Semaphore(AT_ONCE)
        async with asyncio.TaskGroup() as group:
            for way in itertools.islice(itertools.cycle(WAYS), calls):
                await room.acquire()
                group.create_task(_one(on, ears, way, ways, left)).add_done_callback(lambda _: room.release())
                await asyncio.sleep(0.12)
        await asyncio.sleep(STAYS)
        print(f"  {await on.channels()} channels at the end; {len(left.failed)} calls did not come to be measured")
        await on.admin.action("Hangup", {"Channel": "/.*/"})
        await on.until_quiet(timeout=120)
        recordings = await recordings_by_leg(on)
        for leg, way in ways.items():
            took = silent_after(ears.events[since:], leg)
            if took is not None:
                left.to_silence[way].append(took)
                found = [tones.stretches(raw.path(recordings[leg][0], "agent"), 0, hz, level=50) for hz in STRANGE]
                left.heard[way].append(1000 * sum(map(tones.seconds_of, found)))
        await on.accounted()
        await asyncio.to_thread(on.verified)
    return left


async def _one(on: Centre, ears: Admin, way: str, ways: dict[str, str], left: Left) -> None:
    """A call, its talk, its leaving, and its end."""
    mark = ears.mark()
    consults = WAYS[way] is handed_over
    agent_does = "hands-over" if consults else "talks"
    leg = await on.call(120, does={"__BENCH_AGENT": agent_does, "__TRANSFER_CONTEXT": "from-agents"})
    try:
        entered = await ears.until("BridgeEnter", since=mark, timeout=30, Uniqueid=leg)
        bridge = entered["BridgeUniqueid"]
        both = await ears.until(
            lambda event: event.is_("BridgeEnter", BridgeUniqueid=bridge, BridgeNumChannels="2"), since=mark, timeout=10
        )
        agent = next(
            event["Channel"]
            for event in reversed(ears.events[mark:])
            if event.is_("BridgeEnter", BridgeUniqueid=bridge) and event["Uniqueid"] != leg
        )
        ways[leg] = way
        await asyncio.sleep(TALKED)
        assert both
        await WAYS[way](on.admin, entered["Channel"], agent)
        if consults:
            await ears.until(lambda event: is_handed_over(event, leg), since=mark, timeout=30)
        await asyncio.sleep(STAYS)
        await on.admin.action("Hangup", {"Channel": entered["Channel"]})
    except (TimeoutError, AdminError) as error:
        ways.pop(leg, None)
        left.failed.append(f"{way}: {error}"[:200])


def is_handed_over(event: Event, leg: str) -> bool:
    return event.name == "AttendedTransfer" and leg_of(event.get("OrigTransfererLinkedid", "")) == leg


def silent_after(events: list[Event], leg: str) -> float | None:
    """Milliseconds from the caller's leaving to Asterisk's word that nothing, or silence, is written; None: no word."""
    left: float | None = None
    silent = False
    talks: str | None = None
    for event in events:
        stamp = float(event.get("Timestamp", "0"))
        mine = event.get("Uniqueid") == leg
        if event.name == "BridgeEnter" and mine and talks is None:
            talks = event["BridgeUniqueid"]
        elif left is None and (
            (event.name == "BridgeLeave" and mine and event["BridgeUniqueid"] == talks) or is_handed_over(event, leg)
        ):
            if silent:
                return 0.0
            left = stamp
        elif mine and (event.name == "MixMonitorStop" or event.is_("MixMonitorMute", State="1")):
            silent = True
            if left is not None:
                return 1000 * (stamp - left)
        elif mine and event.is_("MixMonitorMute", State="0"):
            silent = False
    return None


def report(left: Left, calls: int) -> bool:
    every = [took for found in left.to_silence.values() for took in found]
    heard = [took for found in left.heard.values() for took in found]
    good = tabled(
        "from leaving to Asterisk's word, ms",
        [
            *(Figure(what=way, values=found) for way, found in left.to_silence.items()),
            Figure(what="all", values=every, most=SILENT_WITHIN_MS),
        ],
    )
    good &= tabled(
        "of whom the caller met, in the staged file, ms",
        [
            *(Figure(what=way, values=found) for way, found in left.heard.items()),
            Figure(what="all", values=heard, most=SILENT_WITHIN_MS),
        ],
    )
    for what in left.failed[:5]:
        print(f"  {what}")
    if len(every) < calls:
        print(f"{calls - len(every)} calls of {calls} were not measured")
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=1000, help="that leave (1000)")
    parser.add_argument("--talks", type=int, default=30, help="recorded talks in progress meanwhile (30)")
    asked = parser.parse_args()
    print(f"{asked.talks} talks in progress; {machine()}")
    return 0 if report(asyncio.run(measure(asked.calls, asked.talks)), asked.calls) else 1


if __name__ == "__main__":
    sys.exit(main())
