"""The task group that lives as long as the daemon: AMI, dialogue, one task a call, the sweeps and their bell.

Must not build its parts (`__main__` does) and must not decide anything. The invariants: a part that dies takes the
daemon down, and systemd starts it again; stopping ends no capture, which the next daemon takes over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final

import structlog
from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_MAX_INSTANCES, EVENT_JOB_MISSED, JobExecutionEvent
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from recorder.ami import Ami, AmiError, PbxFacts
from recorder.call import NEVER, Acknowledge, CallEvent, CallState, ClockSet, Phase, SightLost, shifted
from recorder.capture import CaptureDesk
from recorder.catalogue import Catalogue, CatalogueAway, CatalogueError
from recorder.consent_ivr import ConsentIvr
from recorder.daemon.alarm_watch import AlarmWatch
from recorder.daemon.away import AwayDesk
from recorder.daemon.bookkeeper import Bookkeeper
from recorder.daemon.calls import CallBook
from recorder.daemon.fallback_watch import FallbackWatch
from recorder.daemon.fullness import FullnessWatch
from recorder.daemon.growth import GrowthWatch
from recorder.daemon.house_watch import HouseWatch
from recorder.daemon.keeping import SEEN, record_of_sight
from recorder.daemon.line_watch import LineWatch
from recorder.daemon.live_desk import LiveDesk
from recorder.daemon.number_watch import NumberWatch
from recorder.daemon.override_watch import OverrideWatch
from recorder.daemon.pauses import PauseWatch
from recorder.daemon.policy_watch import PolicyWatch
from recorder.daemon.readiness import Readiness
from recorder.daemon.reception import FrontDesk
from recorder.daemon.resync import conclude, resynchronise
from recorder.daemon.rivals import RivalWatch
from recorder.daemon.runner import CallRunner
from recorder.daemon.taking_up import take_up
from recorder.fallback import ANSWER_EVENT
from recorder.listening import Listening
from recorder.local_journal import Journal
from recorder.model import CallId, PbxEvent, TransferAttended, UserEventRaised
from recorder.queue_log import Unseen
from recorder.sweeps import Sweeps
from recorder.unseen import UnseenCalls

log = structlog.get_logger(__name__)

OUTBOUND_EVENT: Final = "RecorderOutbound"
KEY_EVENT: Final = "RecorderKey"
LISTED_EVENT: Final = "RecorderListed"
TOLD_EVENT: Final = "RecorderTold"
UNRECORDED_VARIABLE: Final = "RECORDER_UNRECORDED"
AWAKE_EVERY: Final = timedelta(milliseconds=500)
ASLEEP_AFTER: Final = timedelta(seconds=2)
BALANCED_EVERY: Final = timedelta(minutes=10)
LOOK_EVERY: Final = timedelta(seconds=2)
SIGHT_EVERY: Final = timedelta(seconds=0.5)
"""By so much a killed daemon knows less of a talk that was transferred before the next one looked."""
READ_TOGETHER: Final = timedelta(milliseconds=500)
"""So long whoever hangs up unseen waits for others, that they share one reading of the queue log."""
READINGS_AT_MOST: Final = 60
SWEEP_MARK_EVERY: Final = timedelta(seconds=30)
DRAIN_WITHIN: Final = timedelta(seconds=5)
COMPARED_WITHIN: Final = timedelta(seconds=5)
"""How long a call waits to be compared with what stands, before it reads what it was told of a time that nobody saw."""
RETRY_AFTER: Final = timedelta(seconds=1)


@dataclass(slots=True, kw_only=True)
class Parts:
    """What `__main__` has built. The book, the desk and the sweeps are made to call back into the daemon."""

    node: str
    ami: Ami
    catalogue: Catalogue
    local: Journal
    capture: CaptureDesk
    book: CallBook
    front: FrontDesk
    away: AwayDesk
    fallback: FallbackWatch
    house: HouseWatch
    ivr: ConsentIvr
    sweeps: Sweeps
    unseen: UnseenCalls
    bookkeeper: Bookkeeper
    overrides: OverrideWatch
    readiness: Readiness
    growth: GrowthWatch
    lines: LineWatch
    live: LiveDesk
    listening: Listening
    pauses: PauseWatch
    numbers: NumberWatch
    policies: PolicyWatch
    rivals: RivalWatch
    fullness: FullnessWatch
    alarms: AlarmWatch
    now: Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class _Awake:
    """When the loop last turned, by its own clock and by ours."""

    ticks: float
    at: datetime


class Sweep:
    """A sweep, its bell, and how its last passes ended."""

    def __init__(self, name: str, step: Callable[[], Awaitable[bool]], every: timedelta) -> None:
        self.name = name
        self.step = step
        self.every = every
        self.bell = asyncio.Event()
        self.runs = False
        self.last_ok_at: datetime | None = None
        self.marked_at: datetime | None = None
        self.failures = 0


class Daemon:
    """Runs until told to stop. Implements the bells that a call may ring."""

    def __init__(self, *, watchdog: Callable[[], None]) -> None:
        self.parts: Parts
        self._watchdog = watchdog
        self._group: asyncio.TaskGroup | None = None
        self._resynchronise = asyncio.Event()
        self._compared = asyncio.Event()
        self._compared.set()
        self._blind_from: datetime | None = None
        self._is_out, self._sees_since = True, NEVER
        self._reading: asyncio.Task[Unseen | None] | None = None  # of the queue log, about to begin
        self._doubtful: set[CallId] = set()
        self._awake = _Awake(float("inf"), NEVER)
        self.sweeps: dict[str, Sweep] = {}

    # ---- what the parts ask of the daemon

    def settle_now(self) -> None:
        """A capture is closed: settle without waiting for the bell."""
        self.sweeps["settle"].bell.set()

    def spawn(self, work: Coroutine[object, object, None], name: str) -> None:
        """Run `work` as long as the daemon lives; not at all once it has ended."""
        if self._group is None:
            work.close()
            return
        self._group.create_task(work, name=name)

    async def answer_key(self, state: CallState, command: Acknowledge) -> None:
        if command.asked is not None:
            self.parts.live.answered(command.asked, command.answer)
        else:
            await self.parts.front.answer_key(state, command.presser, command.answer)

    def deliver(self, event: PbxEvent) -> None:
        """AMI's callback: route, and nothing else but to notice that we slept."""
        self._notice_sleep()
        self._see_again()
        if isinstance(event, UserEventRaised):
            if event.name == OUTBOUND_EVENT:
                self.parts.front.dialling(event)
            elif event.name == KEY_EVENT:
                self.parts.front.pressed(event)
            elif event.name == ANSWER_EVENT:
                slept = self._blind_from is not None and not self._is_out
                if not self.parts.away.answered(event, slept=slept):
                    self._resynchronise.set()
            elif event.name == LISTED_EVENT:
                self.parts.front.listed(event)
            elif event.name == TOLD_EVENT:
                self.parts.front.told(event)
            return
        if isinstance(event, TransferAttended):
            self.parts.front.joined(event)
        self.parts.rivals.hear(event, self.parts.book)
        self.parts.book.deliver(event)

    def _notice_sleep(self) -> None:
        if asyncio.get_running_loop().time() - self._awake.ticks > ASLEEP_AFTER.total_seconds():
            self._lose_sight()

    def _lose_sight(self) -> None:
        """We stood still (a frozen process, a stalled machine): when the events at hand happened, nobody knows."""
        now = self.parts.now()
        since = self._awake.at
        self._sees_since = now
        log.warning("slept", seconds=round((now - since).total_seconds(), 1), calls=len(self.parts.book))
        self._awake = _Awake(asyncio.get_running_loop().time(), now)
        self._blind_from = min(since, self._blind_from or since)
        self._read_later(since)
        self._resynchronise.set()

    def _read_later(self, slept_from: datetime | None) -> None:
        """What calls are told now is older than they know, or newer than what they missed: they are compared first."""
        if self._compared.is_set():
            self._compared = asyncio.Event()
        for runner in self.parts.book:
            runner.held = True
            runner.ask(partial(self._until_compared, self._compared, slept_from, self.parts.now()))

    async def _until_compared(
        self, compared: asyncio.Event, slept_from: datetime | None, now: datetime, runner: CallRunner
    ) -> None:
        """A call's turn that waits; where the call is over, what ends it comes ahead of all that it was told meanwhile.

        Where nobody could compare it, nothing is proved from the time on that nobody saw.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(COMPARED_WITHIN.total_seconds()):
                await compared.wait()
        runner.held = False
        unseen_from = slept_from or runner.in_turn(self._blind_from)
        if unseen_from is not None and not runner.has_ahead:
            await runner.note(SightLost(at=now, blind_from=min(unseen_from, now)))

    def clock_set(self, at: datetime, by: timedelta) -> None:
        """Our clock was set in this moment, and nobody has a time of it yet: whoever keeps moments is told."""
        parts = self.parts
        log.warning("clock_set", seconds=round(by.total_seconds(), 3), calls=len(parts.book))
        self._blind_from, self._sees_since = shifted(self._blind_from, by), shifted(self._sees_since, by)
        self._awake = shifted(self._awake, by)
        for sweep in self.sweeps.values():
            sweep.last_ok_at, sweep.marked_at = shifted(sweep.last_ok_at, by), shifted(sweep.marked_at, by)
        parts.ami.clock_set(by)
        parts.pauses.clock_set(by)
        parts.listening.clock_set(by)
        parts.sweeps.clock_set(by)
        parts.book.clock_set(ClockSet(at=at, by=by))

    async def _stay_awake(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._notice_sleep()  # this turn may come before that of what lies in the socket
            self._awake = _Awake(loop.time(), self.parts.now())
            await asyncio.sleep(AWAKE_EVERY.total_seconds())

    def connected(self, facts: PbxFacts) -> None:
        if facts.restarted:
            log.warning("asterisk_restarted")
        self._see_again()
        self._resynchronise.set()

    def _see_again(self) -> None:
        """After an outage, at the first event: Asterisk sends some before the connection's facts are known."""
        if self._is_out:
            self._is_out = False
            self._sees_since = self.parts.now()
            if self._blind_from is not None:
                self._read_later(None)

    def disconnected(self, reason: str) -> None:
        self._is_out, self._sees_since = True, NEVER
        self.parts.readiness.pbx(f"Asterisk is not connected: {reason}")
        if self._blind_from is None:
            # A connection that fell silent was lost when it last answered, not when we noticed.
            self._blind_from = self.parts.ami.heard_at if "unanswered" in reason else self.parts.now()

    def catalogue_failed(self, error: CatalogueAway) -> None:
        self.parts.readiness.catalogue(f"the catalogue cannot be written: {error}")

    def look_again(self, call: CallId) -> None:
        """Compare one call with what stands, in a moment: its hang-up may have passed before we knew of it."""
        if not self._doubtful:
            self.spawn(self._compare_doubtful(), "compare calls")
        self._doubtful.add(call)

    async def _compare_doubtful(self) -> None:
        """All of them in one listing: where nothing goes right they are many, and each listing is long."""
        while self._doubtful:
            calls = set(self._doubtful)
            await asyncio.sleep(LOOK_EVERY.total_seconds())  # by then an ordinary hang-up has been told
            await self._compare([runner for runner in self.parts.book if runner.state.call in calls])
            self._doubtful -= calls

    async def _compare(self, runners: Iterable[CallRunner]) -> None:
        parts = self.parts
        open_ones = [runner for runner in runners if runner.state.phase in (Phase.ASKING, Phase.WAITING)]
        if not open_ones:
            return
        try:
            unseen = await self._unseen()
            await resynchronise(
                open_ones, parts.ami, parts.capture, unseen, None, parts.now, read_again=self._unseen_again
            )
        except (AmiError, CatalogueError, OSError) as error:
            log.warning("calls_not_compared", calls=len(open_ones), why=str(error))  # the next resynchronisation does

    def unseen_since(self) -> datetime | None:
        """Up to when every event was seen, while calls are not compared with what stands; None where they are."""
        return self._blind_from

    def sees_since(self) -> datetime:
        """Since when events come again: a call that began later misses nothing."""
        return self._sees_since

    async def conclude(self, runner: CallRunner) -> None:
        """Wait a moment, in which a hang-up follows what comes before it; then read the queue log for it.

        One that cannot be read is tried again as long as nobody has compared: the caller is gone and waits for nothing.
        """
        for _ in range(READINGS_AT_MOST):
            await asyncio.sleep(READ_TOGETHER.total_seconds())
            blind_from, hung_up_at = self._blind_from, runner.hung_up_at
            if blind_from is None or hung_up_at is None or self._group is None:
                return
            if self._reading is None:
                self._reading = self._group.create_task(self._read_for_all(), name="conclude")
            unseen = await asyncio.shield(self._reading)
            if unseen is not None:
                await conclude(runner, self.parts.capture, unseen, blind_from, hung_up_at, self.parts.now())
                return

    async def _read_for_all(self) -> Unseen | None:
        """One reading of the queue log for all who hang up at once; None where it cannot be read."""
        await asyncio.sleep(READ_TOGETHER.total_seconds())
        self._reading = None
        try:
            return await self.parts.sweeps.read_unseen()
        except (CatalogueError, OSError) as error:
            log.error("queue_log_not_read", why=str(error))
            return None

    async def _unseen(self) -> Unseen:
        """What the queue log tells, calls that the dialplan asked by itself taken in."""
        unseen = await self.parts.sweeps.unseen()
        if await self.parts.away.take_in(unseen):  # what came to them since that reading nobody has told them
            unseen = await self._unseen_again(unseen)
        return unseen

    async def _unseen_again(self, unseen: Unseen) -> Unseen:
        """What the queue log tells by now; as before where it cannot be read any more."""
        try:
            return await self.parts.sweeps.read_unseen()
        except OSError as error:
            log.error("queue_log_not_read", why=str(error))
            return unseen

    async def ledger(self, call: CallId, event: CallEvent) -> bool:
        """Give a call's machine an event about one of its recordings; False where it is not in the catalogue yet."""
        runner = self.parts.book.find(call)
        if runner is None:
            return False
        await runner.apply(event)
        return not runner.behind

    # ---- life

    async def run(self, stop: asyncio.Event, ready: Callable[[], None]) -> None:
        """Open everything, say so by `ready`, run until `stop`, close in reverse."""
        try:
            await self._live(stop, ready)
        finally:
            self._group = None

    async def _live(self, stop: asyncio.Event, ready: Callable[[], None]) -> None:
        parts = self.parts
        self._make_sweeps()
        self._blind_from = await self._last_seen()
        async with asyncio.TaskGroup() as group:
            self._group = group
            await parts.alarms.begin()
            seen_at = await take_up(parts.book, parts.catalogue, parts.local, parts.node, parts.now)
            if seen_at is not None:
                self._blind_from = max(seen_at, self._blind_from or seen_at)
            awake = group.create_task(self._stay_awake(), name="awake")
            await asyncio.sleep(0)
            await parts.lines.begin()
            await parts.policies.begin()
            await parts.ivr.serve()
            tasks = [group.create_task(parts.ami.run(), name="ami")]
            tasks.append(group.create_task(self._keep_synchronised(), name="resynchronise"))
            tasks += [group.create_task(self._sweep(sweep), name=sweep.name) for sweep in self.sweeps.values()]
            tasks += [
                group.create_task(courier.run(), name=f"courier {courier.route.name}")
                for courier in parts.alarms.couriers
            ]
            scheduler = self._scheduler()
            scheduler.start()
            try:
                ready()
                await stop.wait()
                log.info("stopping", calls=len(parts.book))
            finally:  # where a part has died, too: or its bell rings on in a loop that ends
                scheduler.shutdown(wait=False)
            await parts.ivr.close()
            await self._drain()
            for task in (awake, *tasks, *_spawned()):
                task.cancel()

    async def _last_seen(self) -> datetime | None:
        """Up to when an earlier daemon saw every event; None on a first start."""
        kept = await self.parts.catalogue.bookmark(self.parts.node, "ready")
        return datetime.fromisoformat(str(kept["at"])) if kept else None

    async def _drain(self) -> None:
        """Give the writes that are owed a last chance."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + DRAIN_WITHIN.total_seconds()
        while any(runner.owes or runner.waiting for runner in self.parts.book) and loop.time() < deadline:
            await asyncio.sleep(0.05)

    async def _keep_synchronised(self) -> None:
        parts = self.parts
        while True:
            await self._resynchronise.wait()
            self._resynchronise.clear()
            try:
                unseen = await self._unseen()
                blind_from = self._blind_from or parts.now()
                await resynchronise(
                    parts.book,
                    parts.ami,
                    parts.capture,
                    unseen,
                    blind_from,
                    parts.now,
                    read_again=self._unseen_again,
                )
                if not self._resynchronise.is_set():  # nothing went unseen meanwhile
                    self._blind_from = None
                self._compared.set()
                await parts.rivals.after_blindness(parts.book)
                await self._name_unrecorded()
            except (AmiError, CatalogueError, OSError) as error:
                log.warning("resynchronise_failed", why=str(error))
                self._compared.set()
                if parts.ami.state.connected:
                    await asyncio.sleep(RETRY_AFTER.total_seconds())
                    self._resynchronise.set()
                continue
            parts.readiness.pbx(None)
            log.info("synchronised", calls=len(parts.book))
            self.sweeps["reconcile"].bell.set()
            self.sweeps["fallback"].bell.set()

    async def _name_unrecorded(self) -> None:
        """Tell the dialplan which agents must not be recorded: it asks them before they are joined, also without us."""
        lists, ami = self.parts.book.lists, self.parts.ami
        for agent in lists.agents:
            await ami.set_global(f"{UNRECORDED_VARIABLE}_{lists.version}_{agent}", "yes")
        await ami.set_global(UNRECORDED_VARIABLE, lists.version)

    # ---- sweeps

    def _make_sweeps(self) -> None:
        made = self.parts.sweeps
        for sweep in (
            Sweep("look", self._look, LOOK_EVERY),
            Sweep("sight", self._sight, SIGHT_EVERY),
            Sweep("settle", made.settle_due, timedelta(seconds=5)),
            Sweep("analyse", made.analyse_due, timedelta(seconds=10)),
            Sweep("reconcile", self._reconcile, timedelta(seconds=60)),
            Sweep("books", self.parts.bookkeeper.look, BALANCED_EVERY),
            Sweep("overrides", self.parts.overrides.look, timedelta(hours=1)),
            Sweep("growth", self.parts.growth.look, timedelta(seconds=5)),
            Sweep("pauses", self.parts.pauses.look, timedelta(seconds=5)),
            Sweep("listening", self.parts.listening.look, LOOK_EVERY),
            Sweep("numbers", self.parts.numbers.look, timedelta(seconds=5)),
            Sweep("policies", self._policies, timedelta(seconds=5)),
            Sweep("rivals", self._rivals, LOOK_EVERY),
            Sweep("fallback", self.parts.fallback.look, timedelta(seconds=60)),
            Sweep("house", self.parts.house.look, timedelta(seconds=10)),
            Sweep("fullness", self.parts.fullness.look, timedelta(seconds=5)),
            Sweep("alarms", self.parts.alarms.look, LOOK_EVERY),
        ):
            self.sweeps[sweep.name] = sweep
            if sweep.name != "books":  # rung once reconcile has taken in what passed while nobody looked
                sweep.bell.set()

    async def _reconcile(self) -> bool:
        """Each step by itself: what one of them meets keeps no call from the outcome that another gives it."""
        self.parts.lines.require_read()
        made = self.parts.sweeps
        steps = (made.remove_settled_leftovers, self._read_queue_log, self.parts.unseen.look)
        more, met = False, list[Exception]()
        for step in steps:
            try:
                more = await step() or more
            except Exception as error:  # the first is raised when all have had their turn
                met.append(error)
        for other in met[1:]:
            self.sweeps["reconcile"].failures += 1
            log.error("sweep_failed", sweep="reconcile", why=str(other))
        if met:
            raise met[0]
        return more

    async def _read_queue_log(self) -> bool:
        more = await self.parts.sweeps.read_queue_log()
        await self.parts.sweeps.begin_books()  # not before the log was looked at
        return more

    async def _policies(self) -> bool:
        """What is in force on each line; a release counts, and one that was ended no more, from here on."""
        await self.parts.lines.look()
        return await self.parts.policies.look()

    async def _rivals(self) -> bool:
        return self.parts.rivals.look(self.parts.book)

    async def _look(self) -> bool:
        """See whether a call could be captured now, and tell systemd that we live."""
        parts = self.parts
        self._watchdog()
        problems = await asyncio.to_thread(parts.capture.problems)
        parts.readiness.disk([f"{problem.path}: {problem.what}" for problem in problems])
        await parts.local.look()
        seen_at = self._blind_from or parts.now()
        try:
            await parts.catalogue.ping(parts.node, seen_at)
        except CatalogueError as error:
            parts.readiness.catalogue(f"the catalogue cannot be written: {error}")
            parts.local.put(SEEN, record_of_sight(seen_at), lasting=True)
        else:
            parts.readiness.catalogue(None)
            parts.local.forget([SEEN])
        return False

    async def _sight(self) -> bool:
        """Note until when all was seen; what cannot be written is told by `look`."""
        if len(self.parts.book) and self._blind_from is None:
            with suppress(CatalogueError):
                await self.parts.catalogue.ping(self.parts.node, self.parts.now())
        return False

    async def _sweep(self, sweep: Sweep) -> None:
        """The guard of one sweep: whatever a pass meets, the next one comes."""
        while True:
            await sweep.bell.wait()
            sweep.bell.clear()
            sweep.runs = True
            try:
                while await sweep.step():
                    pass
                await self._mark(sweep)
            except CatalogueError as error:
                sweep.failures += 1
                log.warning("sweep_failed", sweep=sweep.name, why=str(error))
            except Exception:
                sweep.failures += 1
                log.exception("sweep_broke", sweep=sweep.name)
                await asyncio.sleep(RETRY_AFTER.total_seconds())
            finally:
                sweep.runs = False

    async def _mark(self, sweep: Sweep) -> None:
        now = self.parts.now()
        sweep.last_ok_at = now
        if sweep.name == "settle":
            self.sweeps["analyse"].bell.set()
        books = self.sweeps["books"]
        if sweep.name == "reconcile" and books.last_ok_at is None and not books.runs:
            books.bell.set()
        if sweep.marked_at is None or now - sweep.marked_at >= SWEEP_MARK_EVERY:
            sweep.marked_at = now
            await self.parts.catalogue.write_sweep(self.parts.node, sweep.name, now)

    def _scheduler(self) -> AsyncIOScheduler:
        """The bell and no more: what is due stands in the database."""
        scheduler = AsyncIOScheduler(
            timezone="UTC", job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
        )
        scheduler.add_listener(_bell_failed, EVENT_JOB_ERROR | EVENT_JOB_MISSED | EVENT_JOB_MAX_INSTANCES)
        for sweep in self.sweeps.values():
            scheduler.add_job(_ring, "interval", (sweep,), seconds=sweep.every.total_seconds(), id=sweep.name)
        return scheduler


async def _ring(sweep: Sweep) -> None:
    """A coroutine, so that it runs in the loop and not in a thread."""
    sweep.bell.set()


def _bell_failed(event: JobExecutionEvent) -> None:
    log.error("bell_failed", job=event.job_id, why=str(getattr(event, "exception", "")))


def _spawned() -> list[asyncio.Task[None]]:
    """The tasks that calls have spawned."""
    return [
        task
        for task in asyncio.all_tasks()
        if task.get_name().startswith(
            ("call ", "prove ", "stop ", "seek ", "compare ", "confirm ", "answer ", "tell ", "summon ", "conclude")
        )
    ]
