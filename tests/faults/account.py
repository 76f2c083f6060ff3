"""What truly happened to each call, by Asterisk's own events and stamps; the recorder is not asked.

Owns one AMI session of the tests' account, which comes back when Asterisk does. Decides nothing. Every time is
Asterisk's, in seconds since the epoch.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field

from tests.faults.judge import Span, Told
from tests.faults.kinds import Kind
from tests.pbx.admin import Admin, AdminError, Event
from tests.pbx.server import PbxServer

LOOK_EVERY = 0.05
Connected = Callable[["Watched", Event], Coroutine[object, object, None]]


@dataclass(slots=True, kw_only=True)
class Watched:
    """One call under way. `leg` is the channel in the dialplan; `captured` the one that a capture would be on."""

    number: int
    kind: Kind
    leg: str
    phone: str
    placed_at: float
    captured: str = ""
    phone_channel: str = ""
    entered: bool = False
    queued_at: float | None = None
    armed_at: float | None = None
    left_at: float | None = None
    ended_at: float | None = None
    cut: bool = False
    talks: list[Span] = field(default_factory=list)
    music: list[Span] = field(default_factory=list)
    acts: dict[str, float] = field(default_factory=dict)
    bridge: str = ""
    began: float | None = None
    waits: float | None = None

    def told(self) -> Told:
        return Told(
            number=self.number,
            kind=self.kind,
            leg=self.captured or self.leg,
            also=self.leg,
            placed_at=self.placed_at,
            entered=self.entered,
            queued_at=self.queued_at,
            armed_at=self.armed_at,
            talks=tuple(self.talks),
            music=tuple(self.music),
            acts=dict(self.acts),
            left_at=self.left_at,
            ended_at=self.ended_at,
            cut=self.cut,
        )


class Account:
    """`async with Account(pbx) as account:`; `expect` says of a call before it is placed."""

    def __init__(self, pbx: PbxServer) -> None:
        self.calls: dict[int, Watched] = {}
        self.connected: Connected | None = None  # called when an agent has answered
        self.came_back = True  # Asterisk, after it had ended our session
        self._pbx = pbx
        self._legs: dict[str, Watched] = {}
        self._bridges: dict[str, Watched] = {}
        self._admin: Admin | None = None
        self._task: asyncio.Task[None] | None = None
        self._acting: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Account:
        self._admin = await self._pbx.admin()
        self._task = asyncio.create_task(self._listen(), name="account")
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        for task in (self._task, *self._acting):
            task.cancel()
        await asyncio.gather(self._task, *self._acting, return_exceptions=True)
        if self._admin is not None:
            await self._admin.close()

    def expect(self, call: Watched) -> None:
        self.calls[call.number] = call
        self._legs[call.leg] = self._legs[call.phone] = call

    def forget(self, call: Watched) -> None:
        """It could not be placed."""
        self.calls.pop(call.number, None)

    @property
    def open(self) -> list[Watched]:
        return [call for call in self.calls.values() if call.ended_at is None]

    def told(self) -> tuple[Told, ...]:
        return tuple(call.told() for call in self.calls.values())

    def cut(self, at: float) -> None:
        """Asterisk died: whatever was under way ended then."""
        for call in self.open:
            self._part(call, at)
            self._quiet(call, at)
            call.ended_at, call.cut = at, True

    async def _listen(self) -> None:
        while True:
            admin = self._admin
            if admin is None or admin.closed:
                await self._come_back()
                continue
            events, admin.events = admin.events, []
            for event in events:
                self._take(event)
            await asyncio.sleep(LOOK_EVERY)

    async def _come_back(self) -> None:
        if self._admin is not None:
            await self._admin.close()
            self._admin = None
        with contextlib.suppress(OSError, AdminError, TimeoutError):
            self._admin = await self._pbx.admin()
            self.came_back = True
            return
        await asyncio.sleep(0.1)

    def _take(self, event: Event) -> None:
        at = float(event.get("Timestamp") or time.time())
        if event.name == "LoadDid":
            self.calls[int(event["Call"])].acts.setdefault(event["Act"], at)
            return
        if event.name in ("BridgeEnter", "BridgeLeave"):
            self._moved(event, at)
            return
        call = self._legs.get(event.get("Uniqueid", "")) or self._legs.get(event.get("TransfereeUniqueid", ""))
        if call is not None:
            self._about(call, event, at)

    def _about(self, call: Watched, event: Event, at: float) -> None:
        mine = event.get("Uniqueid") == (call.captured or call.leg)
        match event.name:
            case "Newchannel" if event["Uniqueid"] == call.phone:
                call.phone_channel = event["Channel"]
            case "Newexten" if event["Context"] in ("recorder-inbound", "recorder-outbound"):
                call.entered = True
            case "DialBegin" if call.kind is Kind.OUTGOING and not call.captured and event["Uniqueid"] == call.leg:
                call.captured = event["DestUniqueid"]
                self._legs[call.captured] = call
            case "QueueCallerJoin":
                call.queued_at = call.queued_at or at
            case "AgentConnect" if self.connected is not None:
                task = asyncio.create_task(_coroutine(self.connected(call, event)))
                self._acting.add(task)
                task.add_done_callback(self._acting.discard)
            case "MixMonitorStart" if mine:
                call.armed_at = call.armed_at or at
            case "MusicOnHoldStart" if mine and call.talks:
                call.waits = at
            case "MusicOnHoldStop" if mine:
                self._quiet(call, at)
            case "BlindTransfer":
                call.left_at = at
            case "Hangup" if event["Uniqueid"] == call.leg:
                self._part(call, at)
                self._quiet(call, at)
                call.ended_at = at

    def _moved(self, event: Event, at: float) -> None:
        call = self._legs.get(event["Uniqueid"])
        bridge, company = event["BridgeUniqueid"], int(event.get("BridgeNumChannels", "0"))
        itself = call is not None and event["Uniqueid"] == (call.captured or call.leg)
        if call is not None and itself and event.name == "BridgeEnter":
            call.bridge = bridge
            self._bridges[bridge] = call
        met = self._bridges.get(bridge)
        if met is None or met.bridge != bridge:
            return
        if event.name == "BridgeEnter" and company >= 2 and met.began is None:
            met.began = at
        elif event.name == "BridgeLeave" and (itself or company < 2):
            self._part(met, at)
            if itself:
                met.bridge = ""

    def _part(self, call: Watched, at: float) -> None:
        if call.began is not None:
            call.talks.append(Span(call.began, at))
            call.began = None

    def _quiet(self, call: Watched, at: float) -> None:
        if call.waits is not None:
            call.music.append(Span(call.waits, at))
            call.waits = None


async def _coroutine(work: Coroutine[object, object, None]) -> None:
    with contextlib.suppress(AdminError, OSError, TimeoutError):  # the call is over, or Asterisk is
        await work
