"""One ordered queue per call: the only place where the machine's steps are written down and carried out.

Must not decide anything: `recorder.call` does. The invariants: a call's events are taken one after another; a step is
written and then its commands are carried out; a capture is armed only after its intention is in the catalogue; what
cannot be written now is kept in order and written later, and meanwhile nothing new is captured.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

import structlog

from recorder.call import (
    READ_EVENTS,
    Arm,
    CallAdmitted,
    CallEvent,
    CallState,
    CaptureArmed,
    CaptureClosed,
    CaptureLost,
    CaptureState,
    Command,
    ConsentAnswered,
    OverridePressed,
    Phase,
    Quiet,
    Settle,
    Step,
    Stop,
    advance,
    begin,
    capture_in_hand,
    fields_from_event,
    outcome,
)
from recorder.capture import CaptureDesk, CaptureRefused, OpenChannel
from recorder.catalogue import Catalogue, CatalogueAway, CatalogueRefused, JournalRow
from recorder.model import (
    AgentConnected,
    BridgeEntered,
    BridgeId,
    CallId,
    Channel,
    DialBegan,
    Linkedid,
    LocalBridged,
    LostReason,
    MixMonitorStarted,
    PbxEvent,
    RecordingId,
    Uniqueid,
)

log = structlog.get_logger(__name__)

Key = TypeVar("Key")

QUEUE_LONGEST = 2000
"""Events that may wait for one call. A call makes some sixty in its life: more means that its writer is stuck."""
TRY_AGAIN_AFTER = timedelta(seconds=1)
WRITE_WITHIN = timedelta(seconds=1)


class Bells(Protocol):
    """What a call may ask of the rest of the daemon."""

    def settle_now(self) -> None: ...

    def changed(self, state: CallState) -> None: ...

    def spawn(self, work: Coroutine[object, object, None], name: str) -> None: ...


@dataclass(slots=True)
class CallCounters:
    """Counted over all calls since the start."""

    opened: int = 0
    unexpected: int = 0  # events that did not fit the state of their call
    overflowed: int = 0  # events that found their call's queue full
    refused: int = 0  # writes that a rule of the catalogue forbade
    postponed: int = 0  # writes that had to wait for the catalogue
    captures_started: int = 0
    closed: dict[str, int] = field(default_factory=dict)  # by outcome
    lost: dict[str, int] = field(default_factory=dict)  # by reason


@dataclass(frozen=True, slots=True)
class _Item:
    event: CallEvent
    lent: OpenChannel | None = None
    done: asyncio.Future[CallState] | None = None


class CallRunner:
    """One call: its state, its queue, and the writes that are still owed."""

    def __init__(self, book: CallBook, first: Step, *, event: CallEvent | None, seq: int = 0) -> None:
        self._book = book
        self.state = first.state
        self._seq = seq
        self._items: asyncio.Queue[_Item] = asyncio.Queue(QUEUE_LONGEST)
        self._owed: deque[tuple[Step, JournalRow]] = deque()
        self._lent: OpenChannel | None = None
        self._first = (first, event) if event is not None else None
        self.names: dict[str, Uniqueid] = {}

    @property
    def owes(self) -> bool:
        """Whether something of this call is not in the catalogue yet."""
        return bool(self._owed)

    @property
    def waiting(self) -> int:
        return self._items.qsize()

    def put(self, event: CallEvent) -> None:
        """Queue an event; never blocks."""
        try:
            self._items.put_nowait(_Item(event))
        except asyncio.QueueFull:
            self._book.counters.overflowed += 1
            log.error("call_queue_full", call=str(self.state.call))

    async def apply(self, event: CallEvent, lent: OpenChannel | None = None) -> CallState:
        """Queue an event and wait until its step is carried out; returns the state after it."""
        done: asyncio.Future[CallState] = asyncio.get_running_loop().create_future()
        self._items.put_nowait(_Item(event, lent, done))
        return await done

    async def run(self) -> None:
        """Take events until the call is closed and everything of it is written."""
        if self._first is not None:
            step, event = self._first
            await self._write(step, event, Phase.ASKING)
        while not (self.state.phase is Phase.CLOSED and not self._owed and self._items.empty()):
            try:
                async with asyncio.timeout(TRY_AGAIN_AFTER.total_seconds() if self._owed else None):
                    item = await self._items.get()
            except TimeoutError:
                await self._pay()
                continue
            await self._serve(item)

    async def _serve(self, item: _Item) -> None:
        self._lent = item.lent
        try:
            if isinstance(item.event, MixMonitorStarted):
                await self._confirm(item.event)
            else:
                await self._take(item.event)
        finally:
            self._lent = None
            if item.done is not None and not item.done.done():
                item.done.set_result(self.state)

    async def _take(self, event: CallEvent) -> None:
        if self._owed and isinstance(event, ConsentAnswered | OverridePressed) and event.hindrance is None:
            event = replace(event, hindrance=LostReason.CATALOGUE_AWAY)
        before = self.state
        step = advance(before, event)
        if not step.expected:
            self._book.counters.unexpected += 1
            log.info("event_out_of_place", call=str(before.call), event_name=type(event).__name__, phase=before.phase)
        if step.state == before and not step.facts and not step.commands:
            return
        self.state = step.state
        written = await self._write(step, event, before.phase)
        for command in step.commands:
            await self._carry_out(command, written=written)
        self._book.bells.changed(self.state)

    async def _write(self, step: Step, event: CallEvent, old: Phase) -> bool:
        """Write the step, or owe it; True where the catalogue has it."""
        self._seq += 1
        name, flat = fields_from_event(event)
        row = JournalRow(seq=self._seq, at=event.at, name=name, old_phase=old, new_phase=step.state.phase, fields=flat)
        self._owed.append((step, row))
        return await self._pay()

    async def _pay(self) -> bool:
        while self._owed:
            step, row = self._owed[0]
            try:
                await self._book.catalogue.write_step(
                    step.state.call, step.facts, row, step.state.phase, step.state.consent, WRITE_WITHIN
                )
            except CatalogueAway as error:
                self._book.counters.postponed += 1
                self._book.catalogue_failed(error)
                return False
            except CatalogueRefused as error:
                # A rule forbids it: writing it again can only be forbidden again. It is counted and shown by verify.
                self._book.counters.refused += 1
                log.error("step_refused", call=str(step.state.call), event_name=row.name, why=str(error))
                self._owed.popleft()
                return False
            self._owed.popleft()
        return True

    async def _carry_out(self, command: Command, *, written: bool) -> None:
        match command:
            case Arm():
                await self._arm(command, written=written)
            case Quiet():
                await self._quiet(command)
            case Stop():
                await self._stop(command.recording, command.channel, command.mixmonitor)
            case Settle():
                self._book.bells.settle_now()

    async def _arm(self, command: Arm, *, written: bool) -> None:
        reason = LostReason.CAPTURE_FAILED if written else LostReason.CATALOGUE_AWAY
        lent = self._lent if written else None
        if lent is None:
            await self._take(CaptureLost(at=self._book.now(), recording=command.recording, reason=reason))
            return
        try:
            mixmonitor = await self._book.capture.arm(command.recording, lent)
        except CaptureRefused as error:
            log.warning("capture_refused", call=str(self.state.call), why=str(error))
            await self._take(CaptureLost(at=self._book.now(), recording=command.recording, reason=reason))
            return
        self._book.counters.captures_started += 1
        if mixmonitor is not None:
            await self._take(CaptureArmed(at=self._book.now(), recording=command.recording, mixmonitor=mixmonitor))
        self._book.bells.spawn(self._prove(command.recording), f"prove {command.recording}")

    async def _prove(self, recording: RecordingId) -> None:
        """Asterisk's Success and its start event prove nothing: the files do."""
        if not await self._book.capture.opened(recording):
            self.put(CaptureLost(at=self._book.now(), recording=recording, reason=LostReason.CAPTURE_FAILED))

    async def _confirm(self, event: MixMonitorStarted) -> None:
        """The MixMonitor that a dialplan of ours started for us; its id stands on the channel."""
        capture = capture_in_hand(self.state)
        if capture is None or capture.state is not CaptureState.ARMING:
            return
        if capture.channel.uniqueid != event.channel.uniqueid:
            return
        mixmonitor = await self._book.capture.mixmonitor_id(event.channel)
        await self._take(CaptureArmed(at=event.at, recording=capture.id, mixmonitor=mixmonitor))

    async def _quiet(self, command: Quiet) -> None:
        if not await self._book.capture.quiet(command.channel, command.mixmonitor, quiet=command.quiet):
            # Silence that is not confirmed is not silence: the capture stops.
            await self._stop(command.recording, command.channel, command.mixmonitor)

    async def _stop(self, recording: RecordingId, channel: Channel, mixmonitor: str | None) -> None:
        if await self._book.capture.stop(recording, channel, mixmonitor):
            await self._take(CaptureClosed(at=self._book.now(), recording=recording))


class CallBook:
    """Every call in progress, found by what Asterisk names."""

    def __init__(
        self,
        *,
        node: str,
        catalogue: Catalogue,
        capture: CaptureDesk,
        bells: Bells,
        now: Callable[[], datetime],
        catalogue_failed: Callable[[CatalogueAway], None],
    ) -> None:
        self.node = node
        self.catalogue = catalogue
        self.capture = capture
        self.bells = bells
        self.now = now
        self.catalogue_failed = catalogue_failed
        self.counters = CallCounters()
        self._calls: dict[CallId, CallRunner] = {}
        self._by_uniqueid: dict[Uniqueid, CallRunner] = {}
        self._by_linkedid: dict[Linkedid, CallRunner] = {}
        self._by_bridge: dict[BridgeId, CallRunner] = {}

    def __iter__(self) -> Iterator[CallRunner]:
        return iter(tuple(self._calls.values()))

    def __len__(self) -> int:
        return len(self._calls)

    def find(self, call: CallId) -> CallRunner | None:
        return self._calls.get(call)

    def of_channel(self, channel: Channel) -> CallRunner | None:
        """The open call that the channel belongs to."""
        runner = self._by_uniqueid.get(channel.uniqueid) or self._by_linkedid.get(channel.linkedid)
        return runner if runner is not None and runner.state.phase not in (Phase.OVER, Phase.CLOSED) else None

    def open(self, event: CallAdmitted) -> CallRunner:
        """Begin a call."""
        self.counters.opened += 1
        runner = CallRunner(self, begin(event), event=event)
        channels = [channel for channel in (event.caller, event.agent) if channel is not None]
        for channel in channels:  # an agent's channel may have carried a call before, which is still being settled
            self._by_uniqueid[channel.uniqueid] = self._by_linkedid[channel.linkedid] = runner
        self._enter(runner, channels)
        self.bells.changed(runner.state)
        return runner

    def restore(self, state: CallState, seq: int, linkedid: Linkedid, legs: Iterable[Uniqueid]) -> CallRunner:
        """Take up a call that the catalogue holds open."""
        runner = CallRunner(self, Step(state=state), event=None, seq=seq)
        self._enter(runner, [])
        self._by_linkedid[linkedid] = runner
        for leg in legs:
            self._by_uniqueid[leg] = runner
        for bridge in state.bridges.values():
            self._by_bridge[bridge] = runner
        return runner

    def deliver(self, event: PbxEvent) -> None:
        """Route an event of Asterisk's to its call; one of a call that entered no line of ours is not our affair."""
        channels = _channels(event)
        runner = next((found for channel in channels if (found := self._owner(channel)) is not None), None)
        if runner is None and isinstance(event, BridgeEntered):
            runner = self._by_bridge.get(event.bridge)  # a stranger who joins one of our calls
        if runner is None:
            return
        self._know(runner, channels)
        if isinstance(event, BridgeEntered):
            self._by_bridge[event.bridge] = runner
        if type(event) in READ_EVENTS or isinstance(event, MixMonitorStarted):
            runner.put(event)

    def _owner(self, channel: Channel) -> CallRunner | None:
        return self._by_uniqueid.get(channel.uniqueid) or self._by_linkedid.get(channel.linkedid)

    def _enter(self, runner: CallRunner, channels: list[Channel]) -> None:
        self._calls[runner.state.call] = runner
        self._know(runner, channels)
        self.bells.spawn(self._live(runner), f"call {runner.state.call}")

    def _know(self, runner: CallRunner, channels: list[Channel]) -> None:
        for channel in channels:
            if channel.name:
                runner.names[channel.name] = channel.uniqueid
            self._by_uniqueid.setdefault(channel.uniqueid, runner)
            if channel.linkedid:
                self._by_linkedid.setdefault(channel.linkedid, runner)

    async def _live(self, runner: CallRunner) -> None:
        await runner.run()
        self._forget(runner)

    def _forget(self, runner: CallRunner) -> None:
        self._calls.pop(runner.state.call, None)
        _drop(self._by_uniqueid, runner)
        _drop(self._by_linkedid, runner)
        _drop(self._by_bridge, runner)
        verdict, reason = outcome(runner.state)
        self.counters.closed[verdict] = self.counters.closed.get(verdict, 0) + 1
        if reason is not None:
            self.counters.lost[reason] = self.counters.lost.get(reason, 0) + 1
        self.bells.changed(runner.state)


def _drop(index: dict[Key, CallRunner], runner: CallRunner) -> None:
    for key in [key for key, owner in index.items() if owner is runner]:
        del index[key]


def _channels(event: PbxEvent) -> list[Channel]:
    """The channels an event names, the one it is about first."""
    match event:
        case AgentConnected():
            return [event.channel, event.agent]
        case DialBegan():
            return [event.dialled] if event.channel is None else [event.channel, event.dialled]
        case LocalBridged():
            return [event.one, event.two]
    channel = getattr(event, "channel", None)
    return [channel] if isinstance(channel, Channel) else []
