"""One ordered queue per call: the only place where the machine's steps are taken and carried out.

Must not decide anything: `recorder.call` does. Must not write a step: owed.py does. The invariants: a call's events are
taken one after another; a capture is armed only after its intention is in the catalogue, and while something cannot be
written there, nothing new is captured; what makes less be captured, and every event that may, waits for no catalogue.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum, auto
from itertools import count
from typing import Protocol, TypeGuard, TypeVar
from uuid import uuid4

import structlog

from recorder.ami import AmiError
from recorder.call import (
    Acknowledge,
    Arm,
    CallerTold,
    CallEvent,
    CallResynchronised,
    CallState,
    Capture,
    CaptureArmed,
    CaptureClosed,
    CaptureLost,
    CaptureState,
    ChannelOffered,
    ClockSet,
    Command,
    ConsentAnswered,
    Erase,
    KeyPressed,
    LineConsulted,
    OverridePressed,
    Phase,
    Quiet,
    Seek,
    Settle,
    SightLost,
    SilenceFailed,
    Step,
    Stop,
    Summon,
    advance,
    capture_in_hand,
    is_captured_beyond,
    running_on,
    shifted,
)
from recorder.call.tables import BESIDE, UNCLOSED
from recorder.capture import CaptureDesk, CaptureRefused, OpenChannel
from recorder.daemon.owed import TRY_AGAIN_AFTER, CallCounters, Ledgers, Owed, OwedStep
from recorder.do_not_record import NOBODY, DoNotRecord
from recorder.model import (
    BridgeLeft,
    Channel,
    ChannelHungUp,
    KeyAct,
    LostReason,
    MixMonitorMuted,
    MixMonitorStarted,
    MixMonitorStopped,
    PbxEvent,
    RecordingId,
    Uniqueid,
)
from recorder.policy import LineRules
from recorder.rivals import BEGINNINGS, ENDINGS

log = structlog.get_logger(__name__)

QUEUE_LONGEST = 2000
"""Events that may wait for one call. A call makes some sixty in its life: more means that its writer is stuck."""
PAUSED_WITHIN = timedelta(milliseconds=300)
"""A pause that Asterisk has not confirmed by then is none: the capture stops (PR-04). So is what is prepared."""
HELD_WITHIN = timedelta(seconds=2)
"""The same for a hold, whose first moments are silenced when the recording is settled."""
STOP_TOLD_WITHIN = timedelta(milliseconds=300)
"""Asterisk's event of a stop follows its answer; where it does not come the answer counts."""
ARMED_BESIDE_WITHIN = timedelta(seconds=1)
"""On the leg of a consultation; until then the call's turn is taken, and the caller's own capture cannot be stopped."""
UNHOOKED_FOR = timedelta(milliseconds=100)
"""How long a channel must have been without a capture before the next one hears both parties (decision 0020)."""
TOLD_WITHIN = timedelta(seconds=12)
"""After the announcement's own length. By then Asterisk has said what became of it, or nobody will know."""
READ_WITHIN = timedelta(seconds=1)
"""And what it said has been read, also by a daemon that stood still until now."""
SAME_KEY_WITHIN = timedelta(seconds=2)
SUMMONED_WITHIN = timedelta(seconds=5)
"""A key of the daemon's is taken, and its dialplan has come, in a fraction of this."""

Moment = TypeVar("Moment", datetime, datetime | None)


MUTED = frozenset({CaptureState.QUIET, CaptureState.PAUSED, CaptureState.PREPARED})
SILENT = frozenset({CaptureState.QUIET, CaptureState.PAUSED, CaptureState.STOPPING})
"""What should have been stopped is silenced before it is asked about again."""
UNCONFIRMED = frozenset(
    {
        CaptureState.STOPPING,
        CaptureState.FORSAKEN,
        CaptureState.FAILED,
        CaptureState.ERASING,
        CaptureState.ERASED,
    }
)
"""In these a stop may have been sent of which Asterisk has said nothing."""


def _captures_less(command: Command) -> bool:
    return isinstance(command, Stop) or (isinstance(command, Quiet) and command.quiet)


def _would_begin(event: CallEvent) -> TypeGuard[ConsentAnswered | OverridePressed | LineConsulted | ChannelOffered]:
    """Whether a capture may yet begin by this event, which the dialplan has not begun already."""
    if isinstance(event, ConsentAnswered) and event.noted is not None:
        return False
    begins = ConsentAnswered | OverridePressed | LineConsulted | ChannelOffered
    return isinstance(event, begins) and event.hindrance is None


class _Owing(Enum):
    """What whoever waits for a step waits for still."""

    NOTHING = auto()
    WRITE = auto()
    CAPTURE = auto()  # which is to begin on a consultation's leg once the step is written


class Bells(Protocol):
    """What a call may ask of the rest of the daemon."""

    def settle_now(self) -> None: ...

    def spawn(self, work: Coroutine[object, object, None], name: str) -> None: ...

    async def answer_key(self, state: CallState, command: Acknowledge) -> None: ...

    def unseen_since(self) -> datetime | None:
        """Up to when every event was seen, while the calls in progress are not compared with what stands."""
        ...

    def sees_since(self) -> datetime:
        """Since when events come again."""
        ...

    async def conclude(self, runner: CallRunner) -> None:
        """Tell a call whose hang-up is at hand what the queue log has of the time that nobody saw."""
        ...


class Rivals(Protocol):
    """What a call asks about recorders that are not ours; each in the call's own turn (daemon/rivals.py)."""

    def claim(self, channel: Channel) -> None: ...

    def disown(self, channel: Channel) -> None: ...

    async def silence(self, runner: CallRunner) -> None: ...

    def adopt(self, runner: CallRunner, channels: Iterable[Channel], at: datetime) -> None: ...

    async def meet(self, runner: CallRunner, event: PbxEvent) -> None: ...

    def over(self, runner: CallRunner, event: PbxEvent) -> None: ...

    async def ended_ours(self, runner: CallRunner, channel: Channel, at: datetime) -> None: ...


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

    ledgers: Ledgers
    capture: CaptureDesk
    rivals: Rivals
    bells: Bells
    counters: CallCounters
    now: Callable[[], datetime]
    lists: DoNotRecord = NOBODY


class CallRunner:
    """One call: its state, its queue, and what it owes the catalogue; `owed` is what an earlier daemon left so."""

    def __init__(
        self,
        around: Surroundings,
        first: Step,
        *,
        event: CallEvent | None,
        seq: int = 0,
        owed: Sequence[OwedStep] = (),
    ) -> None:
        self._around = around
        self.state = first.state
        self._items: asyncio.PriorityQueue[_Item] = asyncio.PriorityQueue(QUEUE_LONGEST)
        self._numbers = count()
        self._ahead = 0
        self.held = False  # reads nothing before it has been compared with what stands
        self.hung_up_at: datetime | None = None  # the caller, of which this call has yet to read
        self._concluding: dict[type, datetime] = {}  # what has waited for the queue log, since which outage
        self._owed = Owed(around.ledgers, seq=seq, steps=owed)
        self._group: asyncio.TaskGroup
        self._paying: asyncio.Task[bool] | None = None
        self._waiting: asyncio.Timeout | None = None  # for the next event
        self._lent: OpenChannel | None = None  # with the event that is being served
        self._done: asyncio.Future[CallState] | None = None  # of who waits for it
        self._first = (first, event) if event is not None else None
        self.names: dict[str, Uniqueid] = {}
        # Whose start was heard, or need not be waited for: another on the same channel is not ours.
        self._claimed = {row.id for row in first.state.captures if row.state is not CaptureState.ARMING}
        self._awaited_starts: set[Uniqueid] = set()  # channels on which one of ours is heard to start before we know it
        self._ended: set[RecordingId] = set()  # whose stop was heard
        self._unhooked_at: datetime | None = None  # since when nothing of ours hangs on the caller's channel any more
        self.heard = 0  # events of the PBX that were put, but for mutes
        self._keys: list[tuple[KeyAct, Uniqueid, datetime]] = []
        self._unheard = False  # a key of a time when we could not see is being obeyed
        self._muted: set[RecordingId] = set()  # by Asterisk's answer to what we asked last
        self.known_at: datetime | None = None  # up to when an earlier daemon has written what it saw of this call
        self._set_by = timedelta()  # by how much our clock was set since we began, as far as this call has read of it
        self._unread_set = timedelta()  # and in what waits
        self.second_line: LineRules | None = None  # an agent of another call rings here, whose caller may be brought
        self.noted: set[RecordingId] = set()  # dialogues that the dialplan held without us, once they are taken in

    @property
    def lists(self) -> DoNotRecord:
        return self._around.lists

    @property
    def owes(self) -> bool:
        """Whether something of this call is not in the catalogue yet."""
        return bool(self._owed)

    @property
    def behind(self) -> bool:
        """Whether the catalogue would not take what is owed."""
        return self._owed.behind

    @property
    def waiting(self) -> int:
        return self._items.qsize()

    @property
    def has_ahead(self) -> bool:
        """Whether something waits that goes before all that came earlier."""
        return self._ahead > 0

    def put(self, event: CallEvent, *, ahead: bool = False) -> None:
        """Queue an event, `ahead` of all that waits; never blocks."""
        # Of who stands where a mute tells nothing, and we mute each capture to see whether it lives.
        self.heard += isinstance(event, PbxEvent) and not isinstance(event, MixMonitorMuted)
        if isinstance(event, ChannelHungUp) and self._is_caller(event.channel):
            self.hung_up_at = event.at
        self._queue(shifted(event, -self._unread_set) if ahead and self._unread_set else event, ahead=ahead)

    def clock_set(self, event: ClockSet) -> None:
        """Our clock was set: what waits is still by the old one, what comes next by the new one."""
        self.hung_up_at = shifted(self.hung_up_at, event.by)
        self.known_at = shifted(self.known_at, event.by)
        self._keys = [(act, presser, at + event.by) for act, presser, at in self._keys]
        if self._queue(event):
            self._unread_set += event.by

    def in_turn(self, moment: Moment) -> Moment:
        """A moment of now, by the clock of what this call reads: it may have yet to read that ours was set."""
        return shifted(moment, -self._unread_set)

    @property
    def started_at(self) -> datetime:
        """By the clock as it is now."""
        return self.state.started_at + self._unread_set

    def ask(self, work: Callable[[CallRunner], Awaitable[None]]) -> None:
        """Have `work` done in the call's own turn, when no step of it is under way."""
        self._queue(work)

    def press(self, event: KeyPressed, *, ahead: bool = False) -> None:
        """Queue a key. The queue log tells of it too, to the second: what was heard is not obeyed again."""
        self._keys.append((event.act, event.presser.uniqueid, event.at))
        self.put(event, ahead=ahead)

    def begun(self, recording: RecordingId) -> None:
        """The dialplan has started this capture itself, before we could hear of it."""
        self._claimed.add(recording)

    def expect_start(self, channel: Channel) -> None:
        """The dialplan starts a capture of ours on this channel, of which this call is told only later."""
        self._awaited_starts.add(channel.uniqueid)

    def expect_told(self) -> None:
        """See to it that nobody is captured on, of whom nobody says that they were told of it."""
        for capture in self.state.captures:
            if self._is_untold(capture.id):
                self._around.bells.spawn(self._unless_told(capture), f"tell {capture.id}")

    def has_heard(self, act: KeyAct, presser: Uniqueid, at: datetime) -> bool:
        return any((act, presser) == known[:2] and abs(at - known[2]) <= SAME_KEY_WITHIN for known in self._keys)

    def has_muted(self, recording: RecordingId) -> bool:
        """Whether Asterisk has answered that it writes silence, and was not asked for speech since."""
        return recording in self._muted

    async def note(self, event: CallEvent) -> None:
        """Take an event at once; only for who is in the call's own turn."""
        await self._take(event)

    def now(self) -> datetime:
        """By the clock of what this call reads."""
        return self.in_turn(self._around.now())

    async def until_unhooked(self) -> None:
        """Wait until a capture armed now would hear both parties (decision 0020): only where one ended just before."""
        if self._unhooked_at is not None:
            await asyncio.sleep((self._unhooked_at + UNHOOKED_FOR - self.now()).total_seconds())

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
            self._owed.add(step, event, Phase.ASKING)
        async with asyncio.TaskGroup() as self._group:
            while not (self.state.phase is Phase.CLOSED and not self._owed and self._items.empty()):
                item = await self._next()
                if item is not None:
                    await self._serve(item)
                elif self._is_due():
                    self._pay_soon()

    def _is_due(self) -> bool:
        return self._paying is None and bool(self._owed) and asyncio.get_running_loop().time() >= self._owed.pay_at

    def _pay_soon(self) -> None:
        """Have what is owed written, in a task of its own: a write that hangs holds up no event."""
        if self._paying is None:
            self._paying = self._group.create_task(self._owed.pay())
            self._paying.add_done_callback(self._paid)

    def _paid(self, _: object) -> None:
        self._paying = None
        if self._waiting is not None:
            self._waiting.reschedule(asyncio.get_running_loop().time())

    async def _next(self) -> _Item | None:
        """The next event; None when it is time to look whether something is to be written, or all is."""
        if self._is_due():
            return None
        try:
            async with asyncio.timeout_at(
                self._owed.pay_at if self._owed and self._paying is None else None
            ) as waiting:
                self._waiting = waiting
                item = await self._items.get()
        except TimeoutError:
            return None
        finally:
            self._waiting = None
        self._ahead -= not item.later
        return item

    async def _serve(self, item: _Item) -> None:
        self._lent = item.lent
        self._unheard = isinstance(item.event, KeyPressed) and not item.event.heard
        self._done = item.done
        owing = _Owing.NOTHING
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
            elif isinstance(item.event, (BridgeLeft, ChannelHungUp)) and self._ends_unseen(item.event):
                # How it went the queue log knows: as abandoned a talk that nobody saw would be booked, and thrown away.
                self._concluding[type(item.event)] = self.in_turn(self._around.bells.sees_since())
                if is_captured_beyond(self.state):
                    owing = await self._end_beyond(item.event)
                else:
                    self._items.put_nowait(item)  # behind what it is told; nobody else has taken its place yet
                    await self._around.bells.conclude(self)
            elif isinstance(item.event, ClockSet):
                await self._read_clock(item.event)
            elif isinstance(item.event, CallResynchronised):
                await self._take(await self._looked_again(item.event))
            elif isinstance(item.event, LineConsulted) and item.done is not None and item.done.done():
                pass  # whoever consulted has gone on without our word: nobody could run there what this asks for
            else:
                owing = await self._take(item.event)
                if item.done is not None and owing is _Owing.WRITE:
                    self._group.create_task(self._tell_when_paid(item.done, self.state))
        finally:
            self._lent = self._done = None
            if item.done is not None and not item.done.done() and owing is _Owing.NOTHING:
                item.done.set_result(self.state)

    async def _read_clock(self, event: ClockSet) -> None:
        """From here on what this call reads is by the new clock."""
        self._set_by += event.by
        self._unread_set -= event.by
        self._unhooked_at = shifted(self._unhooked_at, event.by)
        self._concluding = {kind: shifted(at, event.by) for kind, at in self._concluding.items()}
        await self._take(event)

    def _unset(self, at: datetime) -> datetime:
        """A moment of this call's turn, to be remembered beside the call until `_dated` is asked: no clock moves it."""
        return at - self._set_by

    def _dated(self, unset: datetime) -> datetime:
        return unset + self._set_by

    def _is_caller(self, channel: Channel) -> bool:
        return self.state.caller is not None and channel.uniqueid == self.state.caller.uniqueid

    def _ends_unseen(self, event: BridgeLeft | ChannelHungUp) -> bool:
        """Whether a part of this call went unseen, nobody has compared it since, and this may be its end."""
        bells, state = self._around.bells, self.state
        since = self.in_turn(bells.sees_since())
        if bells.unseen_since() is None or state.started_at >= since or self._concluding.get(type(event)) == since:
            return False
        hand = capture_in_hand(state)
        is_unproved = hand is not None and hand.unproved
        if isinstance(event, BridgeLeft):
            return is_unproved
        return self._is_caller(event.channel) and state.ended_at is None and (is_unproved or not state.talked)

    async def _end_beyond(self, event: BridgeLeft | ChannelHungUp) -> _Owing:
        """What runs on a channel that is not the caller's waits for no queue log, which knows nothing of that talk.

        It is proved no further than we saw, and stops as the event says. Keys of the unseen time the log does know: a
        caller who is gone may have withdrawn.
        """
        bells, now = self._around.bells, self.now()
        await self._take(SightLost(at=now, blind_from=min(self.in_turn(bells.unseen_since()) or now, now)))
        owing = await self._take(event)
        if isinstance(event, ChannelHungUp):
            await bells.conclude(self)
        return owing

    async def _tell_when_paid(self, done: asyncio.Future[CallState], state: CallState) -> None:
        """Whoever waits for a step waits until it is written, or cannot be now; the call's next event does not."""
        try:
            await self._owed.pay()
        finally:
            if not done.done():
                done.set_result(state)

    async def _take(self, event: CallEvent) -> _Owing:
        """Take a step. Its write is waited for only where it begins a capture, and none lives beside that."""
        if self.behind and _would_begin(event):
            event = replace(event, hindrance=LostReason.CATALOGUE_AWAY)
        before = self.state
        step = advance(before, event)
        if not step.expected:
            self._around.counters.unexpected += 1
            log.info("event_out_of_place", call=str(before.call), event_name=type(event).__name__, phase=before.phase)
        if step.state == before and not step.facts and not step.commands:
            # Who consults a line for which nothing is prepared has nothing to wait for.
            return _Owing.NOTHING if isinstance(event, LineConsulted) else _Owing.WRITE
        self.state = step.state
        if capture_in_hand(before) is not None and capture_in_hand(step.state) is None:
            self._unhooked_at = event.at
        seq = self._owed.add(step, event, before.phase)
        if any(not isinstance(command, Settle | Erase) for command in step.commands):
            await self._owed.noted()
            self._pay_soon()
        for command in filter(_captures_less, step.commands):
            await self._carry_out(command, written=False, at=event.at)
        begins = any(isinstance(command, Arm) for command in step.commands)
        is_beside = begins and isinstance(event, LineConsulted)
        written = await self._owed.pay() if begins and not is_beside else False
        for command in step.commands:
            if is_beside and isinstance(command, Arm):
                self._group.create_task(self._arm_when_paid(command, seq, self._lent, self._done))
            elif not _captures_less(command):
                await self._carry_out(command, written=written, at=event.at)
        if step.state.paused is not None and before.paused is None:
            await self._around.rivals.silence(self)  # who else records would hear what the pause is for
        if is_beside:
            return _Owing.CAPTURE
        return _Owing.NOTHING if begins else _Owing.WRITE

    async def _carry_out(self, command: Command, *, written: bool, at: datetime) -> None:
        match command:
            case Arm():
                await self._arm(command, written=written)
            case Quiet(quiet=True):
                await self._quiet(command, at)
            case Quiet():
                self._group.create_task(self._speak_when_paid(command, self._unset(at), unheard=self._unheard))
            case Seek():
                seeking = self._around.capture.seek(command.recording, command.channel, command.mixmonitor)
                self._around.bells.spawn(seeking, f"seek {command.recording}")
            case Stop():
                await self._stop(command.recording, command.channel, command.mixmonitor)
            case Acknowledge():
                # A task of its own: whoever waits for the answer may wait on a channel that takes its time.
                answer = self._around.bells.answer_key(self.state, command)
                self._around.bells.spawn(answer, f"answer {self.state.call}")
            case Summon():
                self._around.bells.spawn(self._summon(command), f"summon {self.state.call}")
            case Settle() | Erase():
                pass  # rung when the step is written

    async def _arm_when_paid(
        self, command: Arm, seq: int, lent: OpenChannel | None, done: asyncio.Future[CallState] | None
    ) -> None:
        """Arm on a consultation's leg in a later turn: the capture that lives meanwhile is stopped in its own time."""
        await self._owed.pay()
        has_room = self._queue(lambda _: self._arm_beside(command, seq, done), lent, done)
        if not has_room and done is not None and not done.done():
            done.set_result(self.state)

    async def _arm_beside(self, command: Arm, seq: int, done: asyncio.Future[CallState] | None) -> None:
        capture = self._capture(command.recording)
        if capture is None or capture.state is not CaptureState.PREPARING:
            return  # given up meanwhile: what never ran need not be stopped
        is_awaited = done is None or not done.done()  # else the visitor is gone with what was lent
        await self._arm(command, written=is_awaited and self._owed.has_written(seq))

    async def _arm(self, command: Arm, *, written: bool) -> None:
        reason = LostReason.CAPTURE_FAILED if written else LostReason.CATALOGUE_AWAY
        lent = self._lent if written else None
        if lent is None:
            await self._take(CaptureLost(at=self.now(), recording=command.recording, reason=reason))
            return
        capture = self._capture(command.recording)
        is_beside = capture is not None and capture.state in BESIDE
        try:
            async with asyncio.timeout(ARMED_BESIDE_WITHIN.total_seconds() if is_beside else None):
                mixmonitor = await self._around.capture.arm(command.recording, lent, beep=command.beep)
        except (CaptureRefused, TimeoutError) as error:
            why = str(error) or "MixMonitor has not begun in time on the leg of a consultation"
            log.warning("capture_refused", call=str(self.state.call), why=why)
            await self._take(CaptureLost(at=self.now(), recording=command.recording, reason=reason))
            return
        if mixmonitor is None and is_beside:
            # What cannot be muted at once is not left to run: the dialplan stops it too, which hears no yes of ours.
            await self._take(CaptureLost(at=self.now(), recording=command.recording, reason=reason))
            return
        self._around.counters.captures_started += 1
        self.expect_told()
        if mixmonitor is not None:
            await self._take(CaptureArmed(at=self.now(), recording=command.recording, mixmonitor=mixmonitor))
        self._around.bells.spawn(self._prove(command.recording), f"prove {command.recording}")

    async def _summon(self, command: Summon) -> None:
        """Ask once for the caller's channel; a PBX that does not bring it captures nothing of the second talk."""
        why = "its features_recorder.conf has not brought us the caller's channel"
        try:
            await self.until_unhooked()  # in the bridge: while its dialplan is with us the channel hears nobody
            await self._around.capture.summon(command.channel)
            await asyncio.sleep(SUMMONED_WITHIN.total_seconds())
        except AmiError as error:
            why = str(error)
        reached = self.state.reached
        if reached is not None and reached.summoned and not reached.offered and self.hung_up_at is None:
            log.warning("joined_talk_not_captured", call=str(self.state.call), why=why)

    def _is_untold(self, recording: RecordingId) -> bool:
        """Whether this recording goes on though its caller was to be told and is not known to have been."""
        hand = capture_in_hand(self.state)
        return hand is not None and hand.id == recording and hand.to_tell is not None

    async def _unless_told(self, capture: Capture) -> None:
        assert capture.to_tell is not None
        await asyncio.sleep(capture.to_tell.seconds + TOLD_WITHIN.total_seconds())
        while self._around.bells.unseen_since() is not None:  # the queue log is read first, and tells of it
            await asyncio.sleep(READ_WITHIN.total_seconds())
        await asyncio.sleep(READ_WITHIN.total_seconds())
        self.ask(lambda _: self._require_told(capture.id))

    async def _require_told(self, recording: RecordingId) -> None:
        if self._is_untold(recording):
            log.warning("caller_not_told", call=str(self.state.call), why="the dialplan has not said that they were")
            await self._take(CallerTold(at=self.now(), recording=recording, audit=uuid4()))

    async def _prove(self, recording: RecordingId) -> None:
        """Asterisk's Success and its start event prove nothing: the files do."""
        if not await self._around.capture.opened(recording):
            self.put(CaptureLost(at=self._around.now(), recording=recording, reason=LostReason.CAPTURE_FAILED))

    async def _confirm(self, event: MixMonitorStarted) -> None:
        """A MixMonitor started: ours, whose start is still to be heard of, or somebody else's.

        The one that a dialplan of ours starts for us leaves its id on the channel; before that, it is not ours.
        """
        if event.channel.uniqueid in self._awaited_starts:
            self._awaited_starts.discard(event.channel.uniqueid)
            self._around.rivals.claim(event.channel)
            return
        mine = next((row for row in self.state.captures if self._is_awaited(row, event.channel)), None)
        mixmonitor = mine.mixmonitor if mine else None
        if mine is not None and mine.state is CaptureState.ARMING:
            mixmonitor = await self._around.capture.mixmonitor_id(event.channel)
            if mixmonitor is None and mine.to_tell is not None:
                mixmonitor = await self._around.capture.untold_id(
                    event.channel
                )  # it may have ended as soon as it began
        if mine is None or (mine.state is CaptureState.ARMING and mixmonitor is None and mine.id not in self.noted):
            await self._around.rivals.meet(self, event)
            return
        self._claimed.add(mine.id)
        self._around.rivals.claim(event.channel)
        if mine.state is CaptureState.ARMING:
            await self._take(CaptureArmed(at=event.at, recording=mine.id, mixmonitor=mixmonitor))
            if mine.id in self.noted:
                self._around.bells.spawn(self._prove(mine.id), f"prove {mine.id}")
        elif running_on(self.state, event.channel.uniqueid) is None:
            await self._stop_unwanted(event.channel)

    def _is_awaited(self, capture: Capture, channel: Channel) -> bool:
        if capture.state is CaptureState.PREPARING:
            return False  # ours begins within one turn, and is prepared by the time that its start is heard
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

    async def _speak_when_paid(self, command: Quiet, at: datetime, *, unheard: bool) -> None:
        """Speech is written again only after the step is, or cannot be now; and the call's next event does not wait."""
        await self._owed.pay()
        self.ask(lambda _: self._speak(command, self._dated(at), unheard=unheard))

    async def _speak(self, command: Quiet, at: datetime, *, unheard: bool) -> None:
        self._unheard = unheard
        hand = capture_in_hand(self.state)
        if hand is not None and hand.id == command.recording and hand.state not in SILENT:  # nothing was asked since
            await self._quiet(command, at)

    async def _quiet(self, command: Quiet, at: datetime) -> None:
        capture = self._capture(command.recording)
        is_hold = self.state.paused is None and (capture is None or capture.state not in BESIDE)
        within = HELD_WITHIN if is_hold else PAUSED_WITHIN
        self._muted.discard(command.recording)
        if await self._around.capture.quiet(command.channel, command.mixmonitor, quiet=command.quiet, within=within):
            if command.quiet:
                self._muted.add(command.recording)
            self._around.bells.spawn(self._confirmed(command, self._unset(at), within), f"confirm {command.recording}")
        elif not self._unheard:  # else the resynchronisation that follows says whether anything lives
            # Silence that is not confirmed is not silence: the capture stops, and counts until `at`.
            await self._take(SilenceFailed(at=at, recording=command.recording))

    async def _confirmed(self, command: Quiet, at: datetime, within: timedelta) -> None:
        """Asterisk's Success is not its word: the event that says so must have come, and is read before we look."""
        await asyncio.sleep(within.total_seconds())
        self.ask(lambda _: self._require_confirmed(command, self._dated(at)))

    async def _require_confirmed(self, command: Quiet, at: datetime) -> None:
        capture = self._capture(command.recording)
        if capture is None or capture.state not in UNCLOSED | BESIDE or capture.silent == command.quiet:
            return
        if command.quiet == (capture.state in MUTED):  # and nothing was asked since
            await self._take(SilenceFailed(at=at, recording=command.recording))

    async def _stop(self, recording: RecordingId, channel: Channel, mixmonitor: str | None) -> None:
        if await self._around.capture.stop(recording, channel, mixmonitor):
            self._around.bells.spawn(self._closed(recording, self._unset(self.now())), f"stop {recording}")
        else:
            self._around.bells.spawn(self._stop_again(recording, mixmonitor), f"stop {recording}")

    async def _closed(self, recording: RecordingId, answered_at: datetime) -> None:
        """Asterisk's own event says it in its place among the others: whoever came before the stop is known by then.

        It says nothing where the channel or the MixMonitor was gone already; then its answer must do.
        """
        await asyncio.sleep(STOP_TOLD_WITHIN.total_seconds())
        if self._unclosed(recording) is not None:
            self.put(CaptureClosed(at=self._dated(answered_at) + self._unread_set, recording=recording))

    async def _stop_again(self, recording: RecordingId, mixmonitor: str | None) -> None:
        """Until Asterisk confirms, or has closed the files by itself."""
        while (capture := self._unclosed(recording)) is not None:
            if await self._around.capture.stop(recording, capture.channel, capture.mixmonitor or mixmonitor):
                self.put(CaptureClosed(at=self._around.now(), recording=recording))
                return
            await asyncio.sleep(TRY_AGAIN_AFTER.total_seconds())

    def _unclosed(self, recording: RecordingId) -> Capture | None:
        """The capture whose stop was sent and is not confirmed; a failed one until its channel is gone."""
        capture, caller = self._capture(recording), self.state.caller
        if capture is None or capture.state not in UNCONFIRMED:
            return None
        is_over = self.state.phase in (Phase.OVER, Phase.CLOSED)
        if is_over and caller is not None and capture.channel.uniqueid == caller.uniqueid:
            return None
        return capture

    def _capture(self, recording: RecordingId) -> Capture | None:
        return next((row for row in self.state.captures if row.id == recording), None)
