"""One ordered queue per call: the only place where the machine's steps are written down and carried out.

Must not decide anything: `recorder.call` does. The invariants: a call's events are taken one after another; a step is
written and then its commands are carried out, one that has none may wait a moment for the next; a capture is armed
only after its intention is in the catalogue; what cannot be written now is kept in order and written later, and
meanwhile nothing new is captured.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import count, islice
from typing import Protocol

import structlog

from recorder.ami import AmiError
from recorder.call import (
    Acknowledge,
    Arm,
    CallEvent,
    CallResynchronised,
    CallState,
    Capture,
    CaptureArmed,
    CaptureClosed,
    CaptureLost,
    CaptureState,
    Command,
    ConsentAnswered,
    Erase,
    KeyAnswer,
    KeyPressed,
    OverridePressed,
    Phase,
    Quiet,
    Settle,
    SilenceFailed,
    Step,
    Stop,
    advance,
    capture_in_hand,
    fields_from_event,
)
from recorder.capture import CaptureDesk, CaptureRefused, OpenChannel
from recorder.catalogue import Catalogue, CatalogueAway, CatalogueRefused, JournalRow
from recorder.model import (
    Channel,
    KeyAct,
    LostReason,
    MixMonitorStarted,
    MixMonitorStopped,
    PbxEvent,
    RecordingId,
    Uniqueid,
)
from recorder.rivals import BEGINNINGS, ENDINGS

log = structlog.get_logger(__name__)

QUEUE_LONGEST = 2000
"""Events that may wait for one call. A call makes some sixty in its life: more means that its writer is stuck."""
PAUSED_WITHIN = timedelta(milliseconds=300)
"""A pause that Asterisk has not confirmed by then is none: the capture stops (PR-04)."""
HELD_WITHIN = timedelta(seconds=2)
"""The same for a hold, whose first moments are silenced when the recording is settled."""
SAME_KEY_WITHIN = timedelta(seconds=2)
TRY_AGAIN_AFTER = timedelta(seconds=1)
WRITE_WITHIN = timedelta(seconds=1)
LINGER = timedelta(milliseconds=100)
"""How long a step that asks for nothing may wait to be written in one transaction with those that follow it."""
TOGETHER = 20
"""Steps in one transaction: what was owed for long must still be written within its time limit."""


SILENT = frozenset({CaptureState.QUIET, CaptureState.PAUSED, CaptureState.STOPPING})
"""What should have been stopped is silenced before it is asked about again."""


def _captures_less(command: Command) -> bool:
    return isinstance(command, Stop) or (isinstance(command, Quiet) and command.quiet)


class Bells(Protocol):
    """What a call may ask of the rest of the daemon."""

    def settle_now(self) -> None: ...

    def spawn(self, work: Coroutine[object, object, None], name: str) -> None: ...

    async def answer_key(self, state: CallState, presser: Channel, answer: KeyAnswer) -> None: ...


class Rivals(Protocol):
    """What a call asks about recorders that are not ours; each in the call's own turn (daemon/rivals.py)."""

    def claim(self, channel: Channel) -> None: ...

    def disown(self, channel: Channel) -> None: ...

    async def silence(self, runner: CallRunner) -> None: ...

    def adopt(self, runner: CallRunner, channels: Iterable[Channel], at: datetime) -> None: ...

    async def meet(self, runner: CallRunner, event: PbxEvent) -> None: ...

    def over(self, runner: CallRunner, event: PbxEvent) -> None: ...

    async def ended_ours(self, runner: CallRunner, channel: Channel, at: datetime) -> None: ...


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


@dataclass(frozen=True, slots=True, order=True)
class _Item:
    """In the order in which they came, but for what is older than all that waits."""

    later: bool
    number: int
    event: CallEvent | Callable[[CallRunner], Awaitable[None]] = field(compare=False)
    lent: OpenChannel | None = field(default=None, compare=False)
    done: asyncio.Future[CallState] | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What every call's runner works with."""

    catalogue: Catalogue
    capture: CaptureDesk
    rivals: Rivals
    bells: Bells
    counters: CallCounters
    now: Callable[[], datetime]
    catalogue_failed: Callable[[CatalogueAway], None]


class CallRunner:
    """One call: its state, its queue, and the writes that are still owed."""

    def __init__(self, around: Surroundings, first: Step, *, event: CallEvent | None, seq: int = 0) -> None:
        self._around = around
        self.state = first.state
        self._seq = seq
        self._items: asyncio.PriorityQueue[_Item] = asyncio.PriorityQueue(QUEUE_LONGEST)
        self._numbers = count()
        self._ahead = 0
        self._owed: deque[tuple[Step, JournalRow]] = deque()
        self._paying = asyncio.Lock()
        self._pay_at = 0.0  # by the loop's clock, while something is owed
        self.behind = False  # the catalogue would not take what is owed
        self._lent: OpenChannel | None = None
        self._first = (first, event) if event is not None else None
        self.names: dict[str, Uniqueid] = {}
        # Whose start was heard, or need not be waited for: another on the same channel is not ours.
        self._claimed = {row.id for row in first.state.captures if row.state is not CaptureState.ARMING}
        self._ended: set[RecordingId] = set()  # whose stop was heard
        self.heard = 0  # events of the PBX that were put
        self._keys: list[tuple[KeyAct, Uniqueid, datetime]] = []
        self._unheard = False  # a key of a time when we could not see is being obeyed

    @property
    def owes(self) -> bool:
        """Whether something of this call is not in the catalogue yet."""
        return bool(self._owed)

    @property
    def waiting(self) -> int:
        return self._items.qsize()

    @property
    def has_ahead(self) -> bool:
        """Whether something waits that goes before all that came earlier."""
        return self._ahead > 0

    def put(self, event: CallEvent, *, ahead: bool = False) -> None:
        """Queue an event, `ahead` of all that waits; never blocks."""
        self.heard += isinstance(event, PbxEvent)
        self._queue(event, ahead=ahead)

    def ask(self, work: Callable[[CallRunner], Awaitable[None]]) -> None:
        """Have `work` done in the call's own turn, when no step of it is under way."""
        self._queue(work)

    def press(self, event: KeyPressed, *, ahead: bool = False) -> None:
        """Queue a key. The queue log tells of it too, to the second: what was heard is not obeyed again."""
        self._keys.append((event.act, event.presser.uniqueid, event.at))
        self.put(event, ahead=ahead)

    def has_heard(self, act: KeyAct, presser: Uniqueid, at: datetime) -> bool:
        return any((act, presser) == known[:2] and abs(at - known[2]) <= SAME_KEY_WITHIN for known in self._keys)

    async def note(self, event: CallEvent) -> None:
        """Take an event at once; only for who is in the call's own turn."""
        await self._take(event)

    def now(self) -> datetime:
        return self._around.now()

    async def apply(self, event: CallEvent, lent: OpenChannel | None = None) -> CallState:
        """Queue an event and wait until its step is carried out; returns the state after it.

        TimeoutError where the queue is full: its turn would not come.
        """
        done: asyncio.Future[CallState] = asyncio.get_running_loop().create_future()
        if not self._queue(event, lent, done):
            raise TimeoutError("the call's queue is full")
        return await done

    def _queue(
        self,
        event: CallEvent | Callable[[CallRunner], Awaitable[None]],
        lent: OpenChannel | None = None,
        done: asyncio.Future[CallState] | None = None,
        *,
        ahead: bool = False,
    ) -> bool:
        try:
            self._items.put_nowait(_Item(not ahead, next(self._numbers), event, lent, done))
        except asyncio.QueueFull:
            self._around.counters.overflowed += 1
            log.error("call_queue_full", call=str(self.state.call), event_name=type(event).__name__)
            return False
        self._ahead += ahead
        return True

    async def run(self) -> None:
        """Take events until the call is closed and everything of it is written."""
        if self._first is not None:
            step, event = self._first
            self._owe(step, event, Phase.ASKING)
        while not (self.state.phase is Phase.CLOSED and not self._owed and self._items.empty()):
            item = await self._next()
            if item is None:
                await self._pay()
            else:
                await self._serve(item)

    async def _next(self) -> _Item | None:
        """The next event; None when it is time to write what is owed."""
        if self._owed and asyncio.get_running_loop().time() >= self._pay_at:
            return None
        try:
            async with asyncio.timeout_at(self._pay_at if self._owed else None):
                item = await self._items.get()
        except TimeoutError:
            return None
        self._ahead -= not item.later
        return item

    async def _serve(self, item: _Item) -> None:
        self._lent = item.lent
        self._unheard = isinstance(item.event, KeyPressed) and not item.event.heard
        try:
            if isinstance(item.event, MixMonitorStarted):
                await self._confirm(item.event)
            elif isinstance(item.event, MixMonitorStopped):
                await self._stopped(item.event)
            elif isinstance(item.event, BEGINNINGS):
                await self._around.rivals.meet(self, item.event)
            elif isinstance(item.event, ENDINGS):
                self._around.rivals.over(self, item.event)
            elif callable(item.event):
                await item.event(self)
            elif isinstance(item.event, CallResynchronised):
                await self._take(await self._looked_again(item.event))
            else:
                await self._take(item.event, awaited=item.done is not None)
        finally:
            self._lent = None
            if item.done is not None and not item.done.done():
                item.done.set_result(self.state)

    async def _take(self, event: CallEvent, *, awaited: bool = False) -> None:
        if self.behind and isinstance(event, ConsentAnswered | OverridePressed) and event.hindrance is None:
            event = replace(event, hindrance=LostReason.CATALOGUE_AWAY)
        before = self.state
        step = advance(before, event)
        if not step.expected:
            self._around.counters.unexpected += 1
            log.info("event_out_of_place", call=str(before.call), event_name=type(event).__name__, phase=before.phase)
        if step.state == before and not step.facts and not step.commands:
            return
        self.state = step.state
        self._owe(step, event, before.phase)
        urgent = awaited or any(not isinstance(command, Settle | Erase) for command in step.commands)
        if any(map(_captures_less, step.commands)):
            written = await self._pay_meanwhile(filter(_captures_less, step.commands), event.at)
        else:
            written = await self._pay() if urgent else False
        for command in step.commands:
            if not _captures_less(command):
                await self._carry_out(command, written=written, at=event.at)
        if step.state.paused is not None and before.paused is None:
            await self._around.rivals.silence(self)  # who else records would hear what the pause is for

    async def _pay_meanwhile(self, commands: Iterable[Command], at: datetime) -> bool:
        """What makes less be captured waits for no catalogue: it is done while the step is written."""
        async with asyncio.TaskGroup() as group:
            paying = group.create_task(self._pay())
            for command in commands:
                await self._carry_out(command, written=False, at=at)
        return paying.result()

    def _owe(self, step: Step, event: CallEvent, old: Phase) -> None:
        """Put the step down as to be written, soon and in its order."""
        self._seq += 1
        name, flat = fields_from_event(event)
        row = JournalRow(seq=self._seq, at=event.at, name=name, old_phase=old, new_phase=step.state.phase, fields=flat)
        if not self._owed:
            self._pay_at = asyncio.get_running_loop().time() + LINGER.total_seconds()
        self._owed.append((step, row))

    async def _pay(self) -> bool:
        """Write what is owed, oldest first; True where the catalogue has the newest step."""
        async with self._paying:
            return await self._pay_owed()

    async def _pay_owed(self) -> bool:
        if self.behind and asyncio.get_running_loop().time() < self._pay_at:
            return False  # a catalogue that is away is not asked for each event anew
        written, together = False, TOGETHER
        while self._owed:
            steps = tuple(islice(self._owed, together))
            try:
                await self._write(steps)
            except CatalogueAway as error:
                self._around.counters.postponed += 1
                self._around.catalogue_failed(error)
                self.behind = True
                self._pay_at = asyncio.get_running_loop().time() + TRY_AGAIN_AFTER.total_seconds()
                return False
            except CatalogueRefused as error:
                written, together = False, 1  # one by one, so that no other step goes down with the one that is refused
                if len(steps) > 1:
                    continue
                # A rule forbids it: writing it again can only be forbidden again. It is counted and shown by verify.
                self._around.counters.refused += 1
                step, row = steps[0]
                log.error("step_refused", call=str(step.state.call), event_name=row.name, why=str(error))
            else:
                written = True
                self._ring(steps)
            for _ in steps:
                self._owed.popleft()
        self.behind = False
        return written

    async def _write(self, steps: Sequence[tuple[Step, JournalRow]]) -> None:
        after = steps[-1][0].state
        told = [(step.facts, row) for step, row in steps]
        await self._around.catalogue.write_steps(after.call, told, after.phase, after.consent, WRITE_WITHIN)

    def _ring(self, steps: Sequence[tuple[Step, JournalRow]]) -> None:
        """Settling and erasing need the catalogue's word and no haste: the sweep finds its work there."""
        if any(isinstance(command, Settle | Erase) for step, _ in steps for command in step.commands):
            self._around.bells.settle_now()

    async def _carry_out(self, command: Command, *, written: bool, at: datetime) -> None:
        match command:
            case Arm():
                await self._arm(command, written=written)
            case Quiet():
                await self._quiet(command, at)
            case Stop():
                await self._stop(command.recording, command.channel, command.mixmonitor)
            case Acknowledge():
                # A task of its own: whoever waits for the answer may wait on a channel that takes its time.
                answer = self._around.bells.answer_key(self.state, command.presser, command.answer)
                self._around.bells.spawn(answer, f"answer {self.state.call}")
            case Settle() | Erase():
                pass  # rung when the step is written

    async def _arm(self, command: Arm, *, written: bool) -> None:
        reason = LostReason.CAPTURE_FAILED if written else LostReason.CATALOGUE_AWAY
        lent = self._lent if written else None
        if lent is None:
            await self._take(CaptureLost(at=self._around.now(), recording=command.recording, reason=reason))
            return
        try:
            mixmonitor = await self._around.capture.arm(command.recording, lent, beep=command.beep)
        except CaptureRefused as error:
            log.warning("capture_refused", call=str(self.state.call), why=str(error))
            await self._take(CaptureLost(at=self._around.now(), recording=command.recording, reason=reason))
            return
        self._around.counters.captures_started += 1
        if mixmonitor is not None:
            await self._take(CaptureArmed(at=self._around.now(), recording=command.recording, mixmonitor=mixmonitor))
        self._around.bells.spawn(self._prove(command.recording), f"prove {command.recording}")

    async def _prove(self, recording: RecordingId) -> None:
        """Asterisk's Success and its start event prove nothing: the files do."""
        if not await self._around.capture.opened(recording):
            self.put(CaptureLost(at=self._around.now(), recording=recording, reason=LostReason.CAPTURE_FAILED))

    async def _confirm(self, event: MixMonitorStarted) -> None:
        """A MixMonitor started: ours, whose start is still to be heard of, or somebody else's.

        The one that a dialplan of ours starts for us leaves its id on the channel; before that, it is not ours.
        """
        mine = next((row for row in self.state.captures if self._is_awaited(row, event.channel)), None)
        mixmonitor = mine.mixmonitor if mine else None
        if mine is not None and mine.state is CaptureState.ARMING:
            mixmonitor = await self._around.capture.mixmonitor_id(event.channel)
        if mine is None or (mine.state is CaptureState.ARMING and mixmonitor is None):
            await self._around.rivals.meet(self, event)
            return
        self._claimed.add(mine.id)
        self._around.rivals.claim(event.channel)
        if mine.state is CaptureState.ARMING:
            await self._take(CaptureArmed(at=event.at, recording=mine.id, mixmonitor=mixmonitor))
        elif capture_in_hand(self.state) is None:
            await self._stop_unwanted(event.channel)

    def _is_awaited(self, capture: Capture, channel: Channel) -> bool:
        return capture.id not in self._claimed and capture.channel.uniqueid == channel.uniqueid

    async def _stopped(self, event: MixMonitorStopped) -> None:
        """Asterisk does not say which one stopped. Ours has closed its files before it says so; else it was another."""
        mine = next((row for row in self.state.captures if self._may_end(row, event.channel)), None)
        if mine is None or not await self._around.capture.is_closed(mine.id):
            self._around.rivals.over(self, event)
            return
        self._ended.add(mine.id)
        self._around.rivals.disown(event.channel)
        await self._take(event)
        if mine.state is CaptureState.RUNNING:
            await self._around.rivals.ended_ours(self, event.channel, event.at)

    def _may_end(self, capture: Capture, channel: Channel) -> bool:
        has_begun = capture.id in self._claimed or capture.state is not CaptureState.ARMING
        return has_begun and capture.id not in self._ended and capture.channel.uniqueid == channel.uniqueid

    async def _stop_unwanted(self, channel: Channel) -> None:
        """A dialplan of ours started what the call has given up meanwhile; only ours leaves an id in the variable."""
        ours = any(capture.channel.uniqueid == channel.uniqueid for capture in self.state.captures)
        if ours and await self._around.capture.mixmonitor_id(channel) is not None:
            last = next(capture for capture in self.state.captures if capture.channel.uniqueid == channel.uniqueid)
            log.warning("late_capture_stopped", call=str(self.state.call), recording=str(last.id))
            await self._around.capture.stop(last.id, channel, None)

    async def _looked_again(self, event: CallResynchronised) -> CallResynchronised:
        """What runs is asked anew in the event's own turn: a capture may have been armed since it was put."""
        hand = capture_in_hand(self.state)
        if hand is None or (event.capture_lives and hand.state is not CaptureState.ARMING):
            return event
        if hand.channel.uniqueid not in event.living:
            return event
        quiet = hand.state in SILENT
        try:
            mixmonitor = await self._around.capture.running(hand.channel, hand.mixmonitor, quiet=quiet)
        except AmiError:  # gone again: the next resynchronisation tells
            return replace(event, capture_lives=True)
        if mixmonitor is not None and hand.state is CaptureState.ARMING:
            self._claimed.add(hand.id)
            await self._take(CaptureArmed(at=event.at, recording=hand.id, mixmonitor=mixmonitor))
        return replace(event, capture_lives=mixmonitor is not None)

    async def _quiet(self, command: Quiet, at: datetime) -> None:
        within = HELD_WITHIN if self.state.paused is None else PAUSED_WITHIN
        if await self._around.capture.quiet(command.channel, command.mixmonitor, quiet=command.quiet, within=within):
            self._around.bells.spawn(self._confirmed(command, at, within), f"confirm {command.recording}")
        elif not self._unheard:  # else the resynchronisation that follows says whether anything lives
            # Silence that is not confirmed is not silence: the capture stops, and counts until `at`.
            await self._take(SilenceFailed(at=at, recording=command.recording))

    async def _confirmed(self, command: Quiet, at: datetime, within: timedelta) -> None:
        """Asterisk's Success is not its word: the event that says so must have come."""
        await asyncio.sleep(within.total_seconds())
        hand = capture_in_hand(self.state)
        if hand is None or hand.id != command.recording or hand.silent == command.quiet:
            return
        if command.quiet == (hand.state in (CaptureState.QUIET, CaptureState.PAUSED)):  # and nothing was asked since
            self.put(SilenceFailed(at=at, recording=command.recording))

    async def _stop(self, recording: RecordingId, channel: Channel, mixmonitor: str | None) -> None:
        if await self._around.capture.stop(recording, channel, mixmonitor):
            await self._take(CaptureClosed(at=self._around.now(), recording=recording))
        else:
            self._around.bells.spawn(self._stop_again(recording, mixmonitor), f"stop {recording}")

    async def _stop_again(self, recording: RecordingId, mixmonitor: str | None) -> None:
        """Until Asterisk confirms, or has closed the files by itself."""
        while (capture := self._unclosed(recording)) is not None:
            if await self._around.capture.stop(recording, capture.channel, capture.mixmonitor or mixmonitor):
                self.put(CaptureClosed(at=self._around.now(), recording=recording))
                return
            await asyncio.sleep(TRY_AGAIN_AFTER.total_seconds())

    def _unclosed(self, recording: RecordingId) -> Capture | None:
        """The capture whose stop was sent and is not confirmed; a failed one until the caller is gone."""
        if self.state.phase in (Phase.OVER, Phase.CLOSED):
            return None
        states = (CaptureState.STOPPING, CaptureState.FAILED, CaptureState.ERASING, CaptureState.ERASED)
        return next((row for row in self.state.captures if row.id == recording and row.state in states), None)
