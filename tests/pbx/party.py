"""What a party of a call does, as data, and one who does it over a Local channel led by AMI.

A party has two ends: its `leg`, the channel that the house's dialplan and bridges know, and its `phone`, where its
script runs. A script is a sequence of steps; where it ends without HangUp, the party stays until the call ends.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

from tests.pbx.admin import Admin, AdminError, Event
from tests.pbx.server import PbxServer

PROMPTS = ("STREAM FILE", "CONTROL STREAM FILE", "GET OPTION", "GET DATA", "EXEC Playback", "EXEC Read")
KEY_MS = 100
KEY_GAP = 0.06


@dataclass(frozen=True, slots=True)
class Say:
    """Speak one tone from now on; 0 is silence (zeros, as a telephone sends them)."""

    hz: int


@dataclass(frozen=True, slots=True)
class Wait:
    seconds: float


@dataclass(frozen=True, slots=True)
class Press:
    """Press keys one after the other, 100 ms each; the tone goes on meanwhile."""

    keys: str


@dataclass(frozen=True, slots=True)
class UntilBridged:
    """Wait until the leg is in a bridge with somebody. Local parties only."""

    seconds: float = 60


@dataclass(frozen=True, slots=True)
class UntilPrompt:
    """Wait until the next prompt of the call's dialogue begins. Local parties only."""

    seconds: float = 30


@dataclass(frozen=True, slots=True)
class Until:
    """Wait for an event (or UserEvent) of this call by its name. Local parties only."""

    event: str
    seconds: float = 30


@dataclass(frozen=True, slots=True)
class HangUp:
    """Hang up now."""


Step = Say | Wait | Press | UntilBridged | UntilPrompt | Until | HangUp
Script = tuple[Step, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lived:
    """What a party lived through. Times are time.monotonic(), from Asterisk's events as they arrived."""

    channel: str
    uniqueid: str
    linkedid: str
    answered_at: float | None
    bridged: tuple[tuple[float, float], ...]  # each stretch in a bridge with somebody
    ended_at: float | None
    cause: str  # hangup cause text; empty while the call lasts
    hung_up: bool  # by its own script

    @property
    def was_bridged(self) -> bool:
        return bool(self.bridged)

    @property
    def bridged_seconds(self) -> float:
        return sum(end - start for start, end in self.bridged)


class Gone(Exception):
    """No error: the call ended before the party's script did."""


@dataclass(slots=True, kw_only=True)
class Leg:
    """A party as Asterisk sees it: the channel in the dialplan and in bridges, by its uniqueid."""

    admin: Admin
    leg: str
    linkedid: str
    since: int = 0  # place in admin.events where this call began
    hung_up: bool = False

    def lived(self) -> Lived:
        """What is known by now."""
        return lived(self.admin.events[self.since :], self.leg, hung_up=self.hung_up)

    @property
    def channel(self) -> str:
        """The leg's name as last seen."""
        return self.lived().channel

    @property
    def gone(self) -> bool:
        return bool(self.admin.seen("Hangup", since=self.since, Uniqueid=self.leg))

    async def until_bridged(self, *, timeout: float = 30) -> Event:
        return await self.admin.until(self._bridged, since=self.since, timeout=timeout)

    async def until_ended(self, *, timeout: float = 60) -> Lived:
        await self.admin.until("Hangup", since=self.since, timeout=timeout, Uniqueid=self.leg)
        return self.lived()

    def _bridged(self, event: Event) -> bool:
        entries = self.admin.seen("BridgeEnter", since=self.since, Uniqueid=self.leg)
        return _in_company(event, self.leg, entries[-1]["BridgeUniqueid"] if entries else "")

    async def unless_gone(self, waiting: Coroutine[Any, Any, object]) -> None:
        """Wait for something of this call, or for the leg's end, whichever comes first (raises Gone)."""
        ended = asyncio.create_task(self.admin.until("Hangup", since=self.since, timeout=3600, Uniqueid=self.leg))
        wanted = asyncio.create_task(waiting)
        try:
            await asyncio.wait({ended, wanted}, return_when=asyncio.FIRST_COMPLETED)
            if not wanted.done():
                raise Gone
            await wanted
        finally:
            for task in (ended, wanted):
                task.cancel()
            await asyncio.gather(ended, wanted, return_exceptions=True)


@dataclass(slots=True, kw_only=True)
class Party(Leg):
    """A leg over a Local channel, and the phone behind it: the other half, led by AMI. Made by calls.py."""

    pbx: PbxServer
    phone: str  # channel name
    sessions: list[Admin]  # whoever makes the party closes these at the end
    _hands: Admin | None = None
    _opening: asyncio.Lock = field(default_factory=asyncio.Lock)
    _heard: int = field(default=0)

    async def hands(self) -> Admin:
        """The party's own AMI session for what it does, with no events: Asterisk blocks a session for the length of
        each key, and for as long as a channel will not be led elsewhere. The others go on meanwhile."""
        async with self._opening:
            if self._hands is None:
                self._hands = await self.pbx.admin()
                self.sessions.append(self._hands)
                await self._hands.action("Events", {"EventMask": "off"})
        return self._hands

    async def drop(self) -> None:
        """Close the party's own session."""
        if self._hands is not None:
            await self._hands.close()

    async def run(self, script: Script) -> None:
        """Go through the steps; a call that ends meanwhile ends the script without an error."""
        with contextlib.suppress(Gone):
            for step in script:
                await self.do(step)

    async def do(self, step: Step) -> None:
        match step:
            case Say(hz):
                await self.say(hz)
            case Wait(seconds):
                await self.unless_gone(asyncio.sleep(seconds))
            case Press(keys):
                await self.press(keys)
            case UntilBridged(seconds):
                await self.unless_gone(self.until_bridged(timeout=seconds))
            case UntilPrompt(seconds):
                await self.unless_gone(self.until_prompt(timeout=seconds))
            case Until(event, seconds):
                await self.unless_gone(self._until(event, seconds))
            case HangUp():
                await self.hang_up()

    async def say(self, hz: int) -> None:
        """Answer if need be, and speak a tone (0: silence) without end."""
        await asyncio.to_thread(self.pbx.tone, hz)
        for _ in range(20):
            with contextlib.suppress(AdminError):
                await self._act("Redirect", Context="party", Exten=str(hz), Priority="1")
                return
            await asyncio.sleep(0.05)  # a channel that is still under way to its last extension is "not up"
        await self._act("Redirect", Context="party", Exten=str(hz), Priority="1")

    async def press(self, keys: str) -> None:
        for key in keys:
            await self._act("PlayDTMF", Digit=key, Duration=str(KEY_MS))
            await asyncio.sleep(KEY_GAP)

    async def hang_up(self) -> None:
        self.hung_up = True
        await self._act("Hangup", Cause="16")

    async def until_answered(self, *, timeout: float = 60) -> None:
        """Until the phone's half runs the parties' dialplan, which it does from the answer on; or Gone."""
        await self.unless_gone(
            self.admin.until("Newexten", since=self.since, timeout=timeout, Channel=self.phone, Context="party")
        )

    async def until_prompt(self, *, timeout: float = 10) -> Event:
        """The next step that plays something in this call, by AGI or by the dialplan, since the last one waited for."""
        found = await self.admin.until(self._prompt, since=max(self.since, self._heard), timeout=timeout)
        self._heard = self.admin.events.index(found) + 1
        return found

    async def _until(self, event: str, seconds: float) -> Event:
        return await self.admin.until(event, since=self.since, timeout=seconds, Linkedid=self.linkedid)

    def _prompt(self, event: Event) -> bool:
        here = event.get("Linkedid") == self.linkedid or event.get("Uniqueid") == self.leg
        if event.name == "Newexten" and event["Context"].startswith("recorder-fallback"):
            return here and event["Application"] in ("BackGround", "Playback")
        return event.name == "AGIExecStart" and here and event["Command"].startswith(PROMPTS)

    async def _act(self, action: str, **headers: str) -> None:
        try:
            await (await self.hands()).action(action, {"Channel": self.phone, **headers})
        except AdminError:
            if self.phone in await self.admin.channels():
                raise
            raise Gone from None


def _in_company(event: Event, leg: str, bridge: str) -> bool:
    """Is this the event from which on the leg has somebody in its bridge?"""
    if event.name != "BridgeEnter" or int(event.get("BridgeNumChannels", "0")) < 2:
        return False
    return event.get("Uniqueid") == leg or event.get("BridgeUniqueid") == bridge


def lived(events: list[Event], leg: str, *, hung_up: bool) -> Lived:
    """Read a leg's life out of the events of its call."""
    channel = linkedid = cause = bridge = ""
    answered_at = ended_at = began = None
    stretches: list[tuple[float, float]] = []
    for event in events:
        mine = event.get("Uniqueid") == leg
        if mine:
            channel, linkedid = event.get("Channel", channel), event.get("Linkedid", linkedid)
        if mine and answered_at is None and event.get("ChannelStateDesc") == "Up":
            answered_at = event.at
        if mine and event.name == "BridgeEnter":
            bridge = event["BridgeUniqueid"]
        if began is None and _in_company(event, leg, bridge):
            began = event.at
        if event.name in ("BridgeLeave", "Hangup") and (mine or event.get("BridgeUniqueid") == bridge != ""):
            alone = mine or int(event.get("BridgeNumChannels", "0")) < 2
            if began is not None and alone:
                stretches.append((began, event.at))
                began = None
        if mine and event.name == "Hangup":
            ended_at, cause = event.at, event.get("Cause-txt", "")
    if began is not None:
        stretches.append((began, events[-1].at))
    return Lived(
        channel=channel,
        uniqueid=leg,
        linkedid=linkedid,
        answered_at=answered_at,
        bridged=tuple(stretches),
        ended_at=ended_at,
        cause=cause,
        hung_up=hung_up,
    )
