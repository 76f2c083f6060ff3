"""The only one that builds the daemon: every part in order, handed to one another, closed in reverse.

Must not hold a rule of its own. The invariant: what can be known to be wrong is said before a socket is opened.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, contextmanager
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path, PurePosixPath
from platform import python_version

import sdnotify
import structlog

from recorder import __version__
from recorder.adoption import Orphanage
from recorder.alarms import AlarmKind, Alarms, Rule, rules
from recorder.ami import Ami, AmiAddress
from recorder.books import Code, Ledgers, Whose, balance_apart
from recorder.call import CaptureState, capture_in_hand
from recorder.capture import CaptureDesk
from recorder.catalogue import CatalogueError, Counts, open_catalogue
from recorder.cdr import Cdr
from recorder.clock import Clock
from recorder.consent_ivr import ConsentIvr
from recorder.couriers import routes_of
from recorder.daemon import (
    AlarmWatch,
    AwayDesk,
    Bookkeeper,
    CallBook,
    CallRunner,
    Daemon,
    FallbackWatch,
    FrontDesk,
    FullnessWatch,
    GrowthWatch,
    HouseWatch,
    LineWatch,
    LiveDesk,
    Lookout,
    Members,
    NumberWatch,
    OverrideWatch,
    Parts,
    PauseWatch,
    PolicyWatch,
    Readiness,
    RivalWatch,
)
from recorder.fallback_file import written
from recorder.figures import alarm_figures, backlog_figures, disk_figures, sweep_figures
from recorder.http import (
    Answers,
    Door,
    Exports,
    HttpServer,
    Once,
    Pages,
    People,
    Watching,
    api_routes,
    browsing_routes,
    comment_page_routes,
    comment_routes,
    contest_page_routes,
    contest_routes,
    counting_routes,
    finding_routes,
    hearing_routes,
    house_routes,
    log_routes,
    make_app,
    own_page_routes,
    own_routes,
    page_routes,
    people_page_routes,
    people_routes,
    saved_routes,
    searching_routes,
    system_routes,
)
from recorder.listening import Listening
from recorder.local_journal import Journal, file_of, folder_of
from recorder.model import ConsentMode, LostReason, RecordingStatus, RivalKind, Uniqueid
from recorder.priority import step_back
from recorder.prompts import PromptSet, PromptsUnreadable, load
from recorder.proving import Proofs
from recorder.queue_log import QueueLog
from recorder.releases import Standing
from recorder.settings import Alarming, CaptureFolder, Settings, SettingsMistaken, StorageAt, host_and_port
from recorder.status import (
    BacklogView,
    CallView,
    Figure,
    FolderView,
    LineView,
    LostView,
    PbxView,
    RivalsView,
    Seen,
    Status,
    SweepView,
    SystemView,
    alarm_views,
    registry,
    state_of,
)
from recorder.storage import FreeSpace, KeptPrompts, Marks, Problem, ProblemKind, Spool, Storage, StorageError
from recorder.sweeps import Sweeps
from recorder.unseen import UnseenCalls

log = structlog.get_logger(__name__)

MEGABYTE = 1024 * 1024
SPOOL, STORAGE = "spool", "storage"
COUNTED_EVERY = timedelta(seconds=5)
LOST_WITHIN = timedelta(hours=24)
UNSTAMPED = (
    "Asterisk does not say when its events happened: a recording ends as late as we read that it should;"
    " manager.conf [general]: timestampevents = yes, then `module reload manager`"
)
FATAL = frozenset(
    {ProblemKind.MISSING, ProblemKind.NOT_A_FOLDER, ProblemKind.NOT_WRITABLE, ProblemKind.OPEN_TO_STRANGERS}
)
"""Folder problems that are mistakes of the settings; short of space is not, and only makes the daemon unready."""


async def serve(settings: Settings) -> None:
    """Run the daemon until SIGTERM or SIGINT. SettingsMistaken, CatalogueError or OSError where it cannot start."""
    assembly = Assembly(settings)
    async with AsyncExitStack() as closing:
        await assembly.build(closing)
        await assembly.run()


class Assembly:
    """The parts of one daemon, and the answers that HTTP gives about them."""

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        self.settings = settings
        self.now = clock or Clock()
        self._counts: tuple[datetime, Counts] | None = None
        self._contests_open: int | None = None
        self._started_at = self.now()
        self._stop = asyncio.Event()

    async def build(self, closing: AsyncExitStack) -> None:
        """Build every part; nothing of the outside is touched but the catalogue, the folders and our own ports."""
        settings = self.settings
        mistakes: list[str] = []
        with _collected(mistakes):
            self.prompts = _require_prompts(settings)
            _require_said(settings, self.prompts)
        self.spool = Spool(settings.capture.here)
        self.storage = Storage(settings.storage.path, self.spool)
        self.min_free = (settings.capture.min_free_mb * MEGABYTE, settings.storage.min_free_mb * MEGABYTE)
        with _collected(mistakes):
            _require_folders([*self.spool.problems(self.min_free[0]), *self.storage.problems(self.min_free[1])])
        with _collected(mistakes):
            self.peers = _addresses(settings.ami.host)
        if mistakes:
            raise SettingsMistaken(tuple(mistakes))
        _keep_prompts(self.prompts, settings.prompts.here, KeptPrompts(self.storage))
        self.catalogue = await open_catalogue(settings.catalogue.url)
        closing.push_async_callback(self.catalogue.close)
        self.people = self.catalogue.for_people()
        self._notify = _notifier(closing)
        self.daemon = Daemon(watchdog=lambda: self._notify("WATCHDOG=1"))
        self.daemon.parts = self._parts(closing)
        self.now.told = self.daemon.clock_set
        with _listening("http.bind", settings.http.bind):
            self.http = self._http(closing)
        with _listening("agi.bind", settings.agi.bind):
            await self.daemon.parts.ivr.open()
        closing.push_async_callback(self.daemon.parts.ivr.close)

    def _parts(self, closing: AsyncExitStack) -> Parts:
        settings, daemon = self.settings, self.daemon
        disk = ThreadPoolExecutor(2, thread_name_prefix="disk")
        audio = ThreadPoolExecutor(1, thread_name_prefix="audio", initializer=step_back)
        for pool in (disk, audio):
            closing.callback(pool.shutdown, wait=False, cancel_futures=True)
        address = AmiAddress(
            host=settings.ami.host,
            port=settings.ami.port,
            username=settings.ami.username,
            secret=settings.ami.password(),
            tls=settings.ami.tls,
        )
        ami = Ami(
            address,
            daemon.deliver,
            connected=daemon.connected,
            disconnected=daemon.disconnected,
            clock=self.now,
        )
        capture = CaptureDesk(
            ami,
            self.storage,
            self.spool,
            spool_at_pbx=PurePosixPath(settings.capture.spool),
            min_free=self.min_free,
            disk=disk,
            audio=audio,
            clock=self.now,
        )
        rivals = RivalWatch(
            ami,
            settings.capture.rivals,
            settings.capture.listeners,
            alarm=lambda kind: daemon.parts.alarms.happened(AlarmKind.RIVAL, kind),
        )
        folder = folder_of(settings.journal.path, settings.catalogue.url, settings.storage.path)
        local = Journal(file_of(folder, settings.node.name), self.now)
        closing.push_async_callback(local.close)
        lists = settings.do_not_record.lists()
        book = CallBook(
            node=settings.node.name,
            catalogue=self.catalogue,
            local=local,
            capture=capture,
            rivals=rivals,
            bells=daemon,
            now=self.now,
            catalogue_failed=daemon.catalogue_failed,
            lists=lists,
        )
        readiness = Readiness()
        lines = LineWatch(self.catalogue, settings.said(), readiness, self.now)
        pauses = PauseWatch(
            book,
            lines,
            self.now,
            capture.remind,
            alarm=lambda: daemon.parts.alarms.happened(AlarmKind.PAUSE, "paused"),
        )
        members = Members(ami)
        numbers = NumberWatch(self.catalogue)
        front = FrontDesk(
            book,
            readiness,
            lines,
            lambda: self.prompts.prompts,
            self.now,
            daemon.look_again,
            capture,
            members.is_member,
            Lookout(ami).behind,
            self.catalogue.who_sat_at,
            numbers.note,
        )
        sweeps = Sweeps(
            node=settings.node.name,
            catalogue=self.catalogue,
            capture=capture,
            spool=self.spool,
            ledger=daemon.ledger,
            queue_log=QueueLog(settings.pbx.queue_log) if settings.pbx.queue_log else None,
            lines=lines,
            callers=lambda: _callers(book),
            has_leg=book.has_leg,
            now=self.now,
        )
        unseen = UnseenCalls(
            node=settings.node.name,
            catalogue=self.catalogue,
            cdr=Cdr(settings.pbx.cdr) if settings.pbx.cdr else None,
            lines=lines,
            knows=lambda uniqueid: _knows(book, uniqueid) or uniqueid in sweeps.pending,
            now=self.now,
        )
        queues = frozenset(queue for rules in lines.values() for queue in rules.queues)
        whose = Whose(
            node=settings.node.name,
            catalogue=settings.catalogue.url,
            storage=settings.storage.path,
            spool=settings.capture.here,
            ledgers=Ledgers(queue_log=settings.pbx.queue_log, cdr=settings.pbx.cdr, queues=queues),
        )
        bookkeeper = Bookkeeper(partial(balance_apart, whose), self.now)
        fullness = FullnessWatch(
            [(_marks(SPOOL, settings.capture), self.spool), (_marks(STORAGE, settings.storage), self.storage)]
        )
        listening = Listening(
            self.people,
            self.storage,
            settings.listening.rules(),
            self.now,
            node=settings.node.name,
            alarm_above=settings.listening.alarm_above,
            alarm=lambda why: daemon.parts.alarms.happened(AlarmKind.LISTENING, why),
        )
        closing.push_async_callback(listening.close)
        host, port = host_and_port(settings.agi.bind)
        ivr = ConsentIvr(
            front,
            host=host,
            port=port,
            peers=self.peers,
            dialogues=settings.agi.dialogues,
            lists=lists,
            number_key=settings.numbers.key(),
        )
        return Parts(
            node=settings.node.name,
            ami=ami,
            catalogue=self.catalogue,
            local=local,
            capture=capture,
            book=book,
            front=front,
            away=AwayDesk(
                book,
                ami,
                capture,
                self.catalogue,
                lines,
                Orphanage(self.catalogue, self.storage, node=settings.node.name, now=self.now),
                self.spool,
                daemon.spawn,
            ),
            house=HouseWatch(settings.pbx.rivals_note, self.now),
            fallback=FallbackWatch(ami, lambda version: written(settings, version, lines.kept)),
            ivr=ivr,
            sweeps=sweeps,
            unseen=unseen,
            bookkeeper=bookkeeper,
            overrides=OverrideWatch(self.catalogue, node=settings.node.name, now=self.now),
            readiness=readiness,
            growth=GrowthWatch(book, capture),
            listening=listening,
            live=LiveDesk(book, self.now, lambda: daemon.parts.pauses.long, front),
            numbers=numbers,
            lines=lines,
            policies=PolicyWatch(
                self.catalogue,
                lambda: lines.policies,
                node=settings.node.name,
                version=__version__,
                now=self.now,
            ),
            pauses=pauses,
            rivals=rivals,
            fullness=fullness,
            alarms=AlarmWatch(
                Alarms(settings.node.name, _alarm_rules(settings.alarm)),
                node=settings.node.name,
                catalogue=self.catalogue,
                routes=routes_of(settings.alarm),
                kinds=frozenset(settings.alarm.kinds),
                lost=lambda: _lost(book, sweeps, unseen),
                hindrances=lambda: readiness.reasons,
                disks=lambda: fullness.disks,
                at_large=lambda: rivals.at_large,
                paused_long=lambda: len(pauses.long),
                now=self.now,
            ),
            now=self.now,
        )

    def _http(self, closing: AsyncExitStack) -> HttpServer:
        answers = Answers(
            status=self.status,
            hindrances=lambda: self.daemon.parts.readiness.reasons,
            count=self._count,
            figures=registry(self.figures),
            token=self.settings.http.token(),
        )
        door, live = Door(self.people, self.now), self.daemon.parts.live
        closing.callback(door.close)
        watching = Watching(live, self.people, self._stop)
        listening, catalogue, pages = self.daemon.parts.listening, self.people, Pages()
        key, exports = self.settings.numbers.key(), Exports()
        proofs = Proofs(catalogue, KeptPrompts(self.storage))
        house = People(
            door=door, catalogue=catalogue, node=self.settings.node.name, lines=tuple(self.settings.line), now=self.now
        )
        app = make_app(
            answers,
            api_routes(door, live, watching),
            finding_routes(door, catalogue, proofs, key, exports),
            hearing_routes(door, listening),
            log_routes(door, listening, catalogue, exports),
            page_routes(door, live, watching, pages),
            searching_routes(door, catalogue, pages, tuple(self.settings.line), key, exports),
            browsing_routes(door, listening, catalogue, proofs, pages),
            own_routes(door, catalogue, self.now),
            own_page_routes(door, catalogue, pages, self.now),
            contest_routes(door, catalogue, self.now),
            contest_page_routes(door, catalogue, pages, self.now),
            comment_routes(door, catalogue, self.now),
            comment_page_routes(door, listening, catalogue, pages, self.now),
            saved_routes(door, catalogue),
            system_routes(door, pages, self.system),
            house_routes(door, pages, self.settings),
            people_routes(door, house),
            people_page_routes(door, pages, house),
            counting_routes(door, pages, catalogue, tuple(self.settings.line), self.now),
            once=partial(Once, door=door, catalogue=catalogue, now=self.now),
        )
        return HttpServer(app, *host_and_port(self.settings.http.bind))

    async def run(self) -> None:
        """Run everything until a signal."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        async with asyncio.TaskGroup() as group:
            http = group.create_task(self.http.run(), name="http")
            http.add_done_callback(lambda _: self._stop.set())
            await self.daemon.run(self._stop, self._ready)
            self._notify("STOPPING=1")
            self.http.stop()

    def _ready(self) -> None:
        # What the start has made stays: looking through it again takes the collector 50 ms, in which callers wait.
        gc.collect()
        gc.freeze()
        self._notify("READY=1")
        log.info("serving", http=self.http.port, agi=self.daemon.parts.ivr.port, node=self.settings.node.name)

    # ---- what HTTP is told

    async def status(self) -> Status:
        """The whole report; the counts in it are at most COUNTED_EVERY old."""
        parts = self.daemon.parts
        warnings: list[str] = []
        counts = await self._counted(warnings)
        warnings += self.prompts.problems
        warnings += parts.fullness.warnings
        warnings += [f"the capture of recording {recording} has stopped growing" for recording in parts.growth.stalled]
        warnings += parts.rivals.reasons(self.now())
        warnings += parts.lines.warnings
        warnings += parts.pauses.warnings
        warnings += parts.fallback.warnings
        warnings += parts.house.warnings
        warnings += parts.bookkeeper.warnings
        warnings += parts.overrides.warnings
        warnings += parts.local.warnings
        if parts.ami.counters.stamped is False:
            warnings.append(UNSTAMPED)
        state, reasons = state_of(Seen(hindrances=parts.readiness.reasons, warnings=warnings))
        pbx = parts.ami.state
        return Status(
            state=state,
            reasons=reasons,
            pbx=PbxView(
                connected=pbx.connected,
                version=pbx.facts.core.version if pbx.facts and pbx.facts.core else None,
                since=pbx.since,
                last_event_at=parts.ami.counters.last_event_at,
            ),
            calls=[_call_view(runner) for runner in parts.book],
            spool=_folder_view(parts.fullness.free.get(SPOOL)),
            storage=_folder_view(parts.fullness.free.get(STORAGE)),
            backlog=BacklogView(
                settle=counts.recordings.get(RecordingStatus.STOPPED, 0) if counts else 0,
                analyse=counts.to_analyse if counts else 0,
            ),
            lost=LostView(
                last_24h=sum(counts.lost.values()) if counts else 0,
                by_reason={str(reason): number for reason, number in counts.lost.items()} if counts else {},
            ),
            sweeps={sweep.name: SweepView(last_ok_at=sweep.last_ok_at) for sweep in self.daemon.sweeps.values()},
            versions={"recorder": __version__, "python": python_version()},
        )

    async def system(self) -> SystemView:
        """The same for people, with the lines, the alarms that stand, and what else records here."""
        parts = self.daemon.parts
        found = await self.status()
        in_progress = Counter(call.line for call in found.calls)
        return SystemView(
            **dict(found),
            node=self.settings.node.name,
            lines=[_line_view(parts.lines.standing(line), parts.readiness, in_progress[line]) for line in parts.lines],
            alarms=alarm_views(parts.alarms.alarms.now),
            rivals=RivalsView(
                at_large=parts.rivals.at_large,
                met={kind: parts.rivals.counters.met.get(kind, 0) for kind in RivalKind},
            ),
        )

    async def _count(self) -> None:
        """Count anew for the metrics, where it is time; `/status` is where it is said that this fails."""
        await self._counted([])

    async def _counted(self, warnings: list[str]) -> Counts | None:
        moment = self.now()
        if self._counts is None or moment - self._counts[0] > COUNTED_EVERY:
            try:
                counts = await self.catalogue.counts(moment - LOST_WITHIN, self.settings.node.name)
                self._contests_open = await self.catalogue.contests_open(node=self.settings.node.name)
            except CatalogueError as error:
                self._counts, self._contests_open = None, None  # what nobody can count any more is not what it was
                warnings.append(f"the catalogue cannot be read: {error}")
                return None
            self._counts = (moment, counts)
        return self._counts[1]

    def figures(self) -> Mapping[str, Figure]:
        """Every metric by name; docs/operating.md lists them."""
        parts, counters, ami = self.daemon.parts, self.daemon.parts.book.counters, self.daemon.parts.ami.counters
        phases = Counter(str(runner.state.phase) for runner in parts.book)
        return {
            "recorder_ready": Figure(
                about="1 where a call can be captured now", values={"": float(not parts.readiness.reasons)}
            ),
            "recorder_pbx_connected": Figure(
                about="1 while the AMI connection stands", values={"": float(parts.ami.state.connected)}
            ),
            "recorder_calls_in_progress": Figure(about="Open calls by phase", values=phases, label="phase"),
            "recorder_captures_in_progress": Figure(
                about="Captures that Asterisk may be writing", values={"": float(_captures(parts.book))}
            ),
            "recorder_captures_stalled": Figure(
                about="Running captures whose files grow no more", values={"": float(len(parts.growth.stalled))}
            ),
            "recorder_dialogues_in_progress": Figure(
                about="FastAGI visitors being served", values={"": float(parts.ivr.in_progress)}
            ),
            "recorder_calls_opened": Figure(
                about="Calls that entered a line", values={"": counters.opened}, counts=True
            ),
            "recorder_calls_closed": Figure(
                about="Calls by outcome", values=counters.closed, label="outcome", counts=True
            ),
            "recorder_calls_lost": Figure(
                about="Lost calls by reason",
                values=_lost(parts.book, parts.sweeps, parts.unseen),
                label="reason",
                counts=True,
            ),
            "recorder_captures_started": Figure(
                about="MixMonitors started", values={"": counters.captures_started}, counts=True
            ),
            "recorder_rivals_met": Figure(
                about="Recorders on our calls that we did not authorise, by kind",
                values={kind: parts.rivals.counters.met.get(kind, 0) for kind in RivalKind},
                label="kind",
                counts=True,
            ),
            "recorder_rivals_dealt_with": Figure(
                about="What became of them, by fate", values=parts.rivals.counters.fates, label="fate", counts=True
            ),
            "recorder_rivals_at_large": Figure(
                about="Recorders that capture or hear a call of ours now", values={"": float(parts.rivals.at_large)}
            ),
            "recorder_pauses_long": Figure(
                about="Calls that are paused for longer than their line allows",
                values={"": float(len(parts.pauses.long))},
            ),
            "recorder_events_unexpected": Figure(
                about="Events that did not fit the state of their call", values={"": counters.unexpected}, counts=True
            ),
            "recorder_events_overflowed": Figure(
                about="Events dropped because their call's queue was full",
                values={"": counters.overflowed},
                counts=True,
            ),
            "recorder_writes_postponed": Figure(
                about="Writes that had to wait for the catalogue", values={"": counters.postponed}, counts=True
            ),
            "recorder_writes_refused": Figure(
                about="Writes that a rule of the catalogue forbade", values={"": counters.refused}, counts=True
            ),
            "recorder_journal_usable": Figure(
                about="1 while the local journal can be written", values={"": float(parts.local.trouble is None)}
            ),
            "recorder_journal_records": Figure(
                about="Records in the local journal that the catalogue does not have yet",
                values={"": float(parts.local.live)},
            ),
            "recorder_ami_events": Figure(about="AMI events read", values={"": ami.events}, counts=True),
            "recorder_ami_malformed": Figure(
                about="AMI frames that made no sense", values={"": ami.malformed}, counts=True
            ),
            "recorder_ami_reconnects": Figure(about="AMI reconnections", values={"": ami.reconnects}, counts=True),
            "recorder_agi_peers_refused": Figure(
                about="Connections to the AGI port from elsewhere", values={"": parts.ivr.refused_peers}, counts=True
            ),
            "recorder_overrides_standing_out": Figure(
                about="Agents who override much more than their line's others, by line and reason in the last 7 days",
                values={"": float(parts.overrides.standing_out)},
            ),
            "recorder_contests_open": Figure(
                about="What agents have contested about this node's calls, and nobody has answered",
                values={} if self._contests_open is None else {"": float(self._contests_open)},
            ),
            "recorder_books_mismatches": Figure(
                about="What did not fit when the books were last balanced, by code",
                values={code: float(parts.bookkeeper.found[code]) for code in Code},
                label="code",
            ),
            "recorder_books_personal_calls": Figure(
                about="Calls that passed no line in the time that the books were last balanced for",
                values={"": float(parts.bookkeeper.personal_calls or 0)},
            ),
            "recorder_sweep_failures": Figure(
                about="Passes of a sweep that failed",
                values={sweep.name: sweep.failures for sweep in self.daemon.sweeps.values()},
                label="sweep",
                counts=True,
            ),
            **self._figures_of_what_waits(),
        }

    def _figures_of_what_waits(self) -> Mapping[str, Figure]:
        parts, moment = self.daemon.parts, self.now()
        return {
            **disk_figures(parts.fullness.free, parts.fullness.disks),
            **backlog_figures(self._counts[1] if self._counts else None, moment),
            **sweep_figures({s.name: s.last_ok_at for s in self.daemon.sweeps.values()}, self._started_at, moment),
            **alarm_figures(parts.alarms.alarms.now, parts.alarms.couriers),
        }


@contextmanager
def _collected(mistakes: list[str]) -> Iterator[None]:
    """Go on after a mistake: all of them are said at once."""
    try:
        yield
    except SettingsMistaken as error:
        mistakes += error.mistakes


def _require_prompts(settings: Settings) -> PromptSet:
    try:
        return load(settings.prompts.here, settings.prompts.path)
    except PromptsUnreadable as error:
        raise SettingsMistaken((f"prompts: {error}",)) from error


def _require_said(settings: Settings, prompts: PromptSet) -> None:
    """A line whose callers would not hear all that they must is a mistake, and nobody is asked on it."""
    wanting = tuple(
        f"{what}: say it, and declare it in {settings.prompts.here / 'prompts.toml'}"
        for rules in settings.rules().values()
        for what in prompts.unsaid(rules)
    )
    if wanting:
        raise SettingsMistaken(wanting)


def _keep_prompts(prompts: PromptSet, here: Path, kept: KeptPrompts) -> None:
    """What callers are going to hear is proof (CE-05). What cannot be kept now is said, and asked with all the same."""
    for prompt in prompts.prompts.values():
        try:
            kept.keep(here / prompt.language / f"{prompt.id}.wav", prompt.sha256)
        except StorageError as error:
            log.error("prompt_not_kept", prompt=f"{prompt.language}/{prompt.id}", why=str(error))


def _require_folders(problems: list[Problem]) -> None:
    mistakes = tuple(f"{problem.path}: {problem.what}. {problem.mend}" for problem in problems if problem.kind in FATAL)
    if mistakes:
        raise SettingsMistaken(mistakes)


def _notifier(closing: AsyncExitStack) -> Callable[[str], None]:
    """Tell systemd, where it listens; SystemdNotifier leaves its socket open either way."""
    if "NOTIFY_SOCKET" not in os.environ:
        return lambda _: None
    notifier = sdnotify.SystemdNotifier()
    if notifier.socket is not None:
        closing.callback(notifier.socket.close)
    notify: Callable[[str], None] = notifier.notify
    return notify


@contextmanager
def _listening(setting: str, address: str) -> Iterator[None]:
    """Say which of our addresses it is that cannot be had."""
    try:
        yield
    except OSError as error:
        raise OSError(f"{setting}: {address} cannot be listened on: {os.strerror(error.errno or 0)}") from error


def _addresses(host: str) -> frozenset[str]:
    """Every address that the PBX may call our AGI port from."""
    try:
        found = {str(info[4][0]) for info in socket.getaddrinfo(host, None)}
    except OSError as error:
        raise SettingsMistaken((f"ami.host: {host} has no address: {error}",)) from error
    return frozenset(found)


def _knows(book: CallBook, uniqueid: Uniqueid) -> bool:
    """Whether the channel is one that a call in the book began with, or an agent's of it."""
    return uniqueid in _callers(book) or any(uniqueid in runner.state.agents for runner in book)


def _callers(book: CallBook) -> frozenset[Uniqueid]:
    return frozenset(runner.state.caller.uniqueid for runner in book if runner.state.caller is not None)


def _marks(name: str, folder: CaptureFolder | StorageAt) -> Marks:
    return Marks(name=name, warn=folder.warn_percent / 100, alarm=folder.alarm_percent / 100)


def _alarm_rules(told: Alarming) -> Mapping[AlarmKind, Rule]:
    return rules(
        unready=timedelta(seconds=told.unready_seconds),
        digest=timedelta(minutes=told.digest_minutes),
        over=timedelta(minutes=told.over_minutes),
    )


def _lost(book: CallBook, sweeps: Sweeps, unseen: UnseenCalls) -> Mapping[str, int]:
    """Calls lost since the start, seen or found in Asterisk's ledgers; a reason that begins at 0 is seen to rise."""
    counted = (book.counters.lost, sweeps.lost, unseen.lost)
    return {reason: sum(each.get(reason, 0) for each in counted) for reason in LostReason}


def _captures(book: CallBook) -> int:
    return sum(capture_in_hand(runner.state) is not None for runner in book)


def _call_view(runner: CallRunner) -> CallView:
    state = runner.state
    capture = capture_in_hand(state)
    words = str(state.phase) if capture is None else f"{state.phase}, {_said(capture.state)}"
    return CallView(call=state.call, line=state.line, state=words, since=state.started_at)


def _said(state: CaptureState) -> str:
    return "capturing" if state is CaptureState.RUNNING else str(state)


def _line_view(standing: Standing, readiness: Readiness, calls: int) -> LineView:
    mode = standing.rules.mode
    return LineView(
        line=standing.rules.name,
        asks=mode,
        ground=standing.ground,
        until=None if standing.release is None else standing.release.until,
        ready=mode is not ConsentMode.NEVER and not readiness.reasons,
        calls=calls,
    )


def _folder_view(free: FreeSpace | None) -> FolderView:
    if free is None:
        return FolderView(free_bytes=None, free_share=None, used_share=None)
    return FolderView(free_bytes=free.bytes, free_share=round(free.share, 4), used_share=round(free.used, 4))
