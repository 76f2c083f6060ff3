"""One run of one fault: a PBX, the daemon as systemd would keep it, the load, and everything that is known afterwards.

Owns the order: load up, let it break, wait for the mend, let the load go on, drain, gather. Judges nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import importlib
import importlib.util
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from recorder.catalogue import WholeCall
from recorder.model import RecordingStatus
from recorder.prompts import load
from recorder.settings import settings_from
from tests import as_written, postgres
from tests.fakes.wire import Wire
from tests.faults import sounds
from tests.faults.account import Account
from tests.faults.judge import Booked, Cost, Facts, Kept, Sound, Span, Verdict, is_to_be_booked, judge
from tests.faults.keeper import Keeper
from tests.faults.kinds import LONGER, lines, members
from tests.faults.load import Load
from tests.pbx.server import HOST, Mount, PbxServer
from tests.recorder_process import Recorder

PARTIES = Path(__file__).with_name("parties.conf")
SHIM = Path(__file__).with_name("shim")
COPIES = "copies"
RESTARTS_AFTER = 1.0
"""Seconds, as in deploy/recorder.service."""
READY_WITHIN = 120.0
BOOKED_WITHIN = 100.0
"""The reconcile sweep, which takes in what nobody saw, comes each minute."""
FINISHED = frozenset({RecordingStatus.SETTLED, RecordingStatus.EMPTY, RecordingStatus.FAILED, RecordingStatus.ERASED})
UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

NOTICED_WITHIN = 1.0
"""Seconds: the queue log, and whoever asks /readyz, are no finer."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrangement:
    """What stands between the parts so that it can break."""

    ami_wire: bool = False
    agi_wire: bool = False
    postgres: bool = False
    spool_mb: int = 0  # a small file system of its own
    spool_min_mb: int = 1
    storage_mb: int = 0
    clock: bool = False  # of its own, for the daemon
    fallback: bool = False  # the dialplan asks while the daemon is away
    shim: bool = False  # tests/faults/shim
    changes: Mapping[str, Mapping[str, object]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that breaks. `breaks` makes it, lets it last, and ends it."""

    name: str
    what: str
    breaks: Callable[[Scene], Awaitable[None]]
    cost: Cost = field(default_factory=Cost)
    arranged: Arrangement = field(default_factory=Arrangement)
    in_ci: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How much of everything: a whole run, and the shorter one of CI."""

    at_once: int = 24
    before: float = 8.0  # seconds of load before the fault
    lasts: float = 10.0  # the fault, where it has a length of its own choice
    after: float = 8.0  # and of load once all is well again
    longer: float = LONGER  # seconds by which a call may be longer than its kind's least
    seed: int = 1


CI = Pace(at_once=20, before=5.0, lasts=6.0, after=4.0, longer=6.0)


@dataclass(slots=True, kw_only=True)
class Scene:
    """What stands while a fault runs, and what its maker notes."""

    pbx: PbxServer
    recorder: Recorder
    account: Account
    load: Load
    pace: Pace
    home: Path
    say: Say
    arranged: Arrangement
    ami: Wire | None = None
    agi: Wire | None = None
    server: postgres.Server | None = None
    spool: Path = Path()
    supervised: bool = True
    deaths: int = 0
    lives: int = 0
    unmet: list[str] = field(default_factory=list)  # what was to happen and did not
    blind: list[Span] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    prefix: tuple[str, ...] = ()

    def launch(self) -> None:
        self.lives += 1
        self.recorder.launch(*self.prefix, environment=self.environment)

    async def supervise(self) -> None:
        """Start the daemon again when it has ended, a second later, as its unit says."""
        while True:
            await asyncio.sleep(0.05)
            if self.supervised and self.recorder.exit_code is not None:
                self.deaths += 1
                await asyncio.sleep(RESTARTS_AFTER)
                self.launch()

    async def watch(self) -> None:
        """Note when the daemon could not see what Asterisk did: it was gone, stood still, or had no connection."""
        since: float | None = None
        while True:
            asked = time.time()
            status, body = await asyncio.to_thread(self.recorder.get, "/readyz")
            reasons = body.get("reasons", []) if isinstance(body, dict) else []
            sees = status != 0 and not any("Asterisk" in str(reason) for reason in reasons)
            if not sees and since is None:
                since = asked
            elif sees and since is not None:
                self.blind.append(Span(since - NOTICED_WITHIN, time.time() + NOTICED_WITHIN))
                since = None
            await asyncio.sleep(0.2)

    async def ready(self, *, timeout: float = READY_WITHIN) -> None:
        await self.recorder.until(
            lambda: self.recorder.get("/readyz")[0] == 200, "the daemon to be ready", timeout=timeout
        )

    async def unready(self, *, timeout: float = 30) -> None:
        await self.recorder.until(
            lambda: self.recorder.get("/readyz")[0] != 200, "the daemon to say that it is not", timeout=timeout
        )

    def kill(self) -> None:
        """SIGKILL of the daemon; who supervises starts it again."""
        if self.recorder.exit_code is None:
            self.recorder.send(signal.SIGKILL)

    async def kill_asterisk(self) -> None:
        at = time.time()
        await self.pbx.kill()
        self.account.cut(at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """A run that is over."""

    fault: Fault
    verdict: Verdict
    seconds: float
    log: str


async def play(fault: Fault, pace: Pace, say: Say = lambda _: None, *, release: str = "22") -> Played:
    """Run one fault to its verdict. An exception is a run that came to no end: the harness or the product hung."""
    began = time.monotonic()
    async with _stage(fault, pace, say, release) as scene:
        facts = await _run(scene, fault)
        verdict = judge(facts, fault.cost)
        log = scene.recorder.log_tail(4000) if verdict.wrong else ""
        if verdict.wrong:
            _keep(scene, fault, verdict, facts)
    return Played(fault=fault, verdict=verdict, seconds=time.monotonic() - began, log=log)


def _keep(scene: Scene, fault: Fault, verdict: Verdict, facts: Facts) -> None:
    """What went wrong is to be looked at: logs, books and the account stay in .cache/faults/NAME."""
    kept = Path(".cache/faults") / fault.name
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir(parents=True)
    (kept / "wrong.txt").write_text("\n".join(verdict.wrong))
    (kept / "calls.txt").write_text("\n".join(map(repr, facts.calls)))
    (kept / "facts.txt").write_text(f"{facts.blind}\n{facts.fault}\n{facts.ready_after}")
    for path in (scene.recorder.log, scene.pbx.queue_log, scene.home / "recorder" / "catalogue.db"):
        if path.exists():
            shutil.copy(path, kept)


# ---------------------------------------------------------------- the order of a run


async def _run(scene: Scene, fault: Fault) -> Facts:
    scene.say("the load comes up")
    keeper = Keeper(scene.spool, scene.home / COPIES)
    tasks = [asyncio.create_task(work) for work in (scene.load.run(), keeper.run(), scene.supervise(), scene.watch())]
    watching = asyncio.create_task(_least(scene))
    try:
        await scene.load.until_whole()
        await asyncio.sleep(scene.pace.before)
        began = time.time()
        scene.say("it breaks")
        await fault.breaks(scene)
        scene.say("it is mended")
        ready_after = await _ready_after(scene)
        whole = Span(began, time.time())
        scene.say(f"ready again after {ready_after:.1f} s" if ready_after is not None else "not ready again")
        await scene.load.until_whole()
        await asyncio.sleep(scene.pace.after)
        watching.cancel()
        scene.load.stop()
        scene.say("draining")
        await scene.load.drained()
        await _settled(scene)
        scene.supervised = False
    finally:
        for task in (*tasks, watching):
            task.cancel()
        await asyncio.gather(*tasks, watching, return_exceptions=True)
        await scene.load.close()
        await asyncio.to_thread(keeper.finish)
    scene.say("judging")
    return await _facts(scene, whole, ready_after)


async def _least(scene: Scene) -> None:
    """The fewest calls at once, once the load was whole, away from Asterisk's own absence."""
    while True:
        if scene.load.placing and scene.load.whole:
            now = len(scene.account.open)
            scene.load.least = now if scene.load.least is None else min(now, scene.load.least)
        await asyncio.sleep(0.2)


async def _ready_after(scene: Scene) -> float | None:
    began = time.monotonic()
    try:
        await scene.ready()
    except TimeoutError:
        return None
    return time.monotonic() - began


async def _settled(scene: Scene) -> None:
    """Until every call that is to be booked has its outcome and nothing is staged or owed; or it takes too long."""
    wanted = [call for call in scene.account.told() if is_to_be_booked(call)]
    deadline = time.monotonic() + BOOKED_WITHIN
    while time.monotonic() < deadline:
        with contextlib.suppress(Exception):  # a catalogue that is still away
            whole = await _whole_calls(scene.recorder)
            booked = {leg.uniqueid for call in whole for leg in call.legs}
            over = all(call.call.outcome for call in whole)
            done = all(row.status in FINISHED for call in whole for row in call.recordings)
            if over and done and all({call.leg, call.also} & booked for call in wanted):
                return
        await asyncio.sleep(0.5)
    scene.say("not everything is booked and settled")


async def _whole_calls(recorder: Recorder) -> list[WholeCall]:
    found: list[WholeCall] = []
    while True:
        after = found[-1].call.id if found else None
        more = await recorder._ask(lambda books, after=after: books.calls_after(after, 500))  # type: ignore[misc]
        if not more:
            return found
        found += more


# ---------------------------------------------------------------- what is known afterwards


async def _facts(scene: Scene, fault: Span, ready_after: float | None) -> Facts:
    verified = await asyncio.to_thread(scene.recorder.command, "verify", check=False)
    whole = await _whole_calls(scene.recorder)
    files = await asyncio.to_thread(_files, scene)
    staged = await asyncio.to_thread(_staged, scene.home / COPIES)
    claimed = {str(row.id) for call in whole for row in call.recordings}
    return Facts(
        calls=scene.account.told(),
        booked=tuple(_booked(call, files, staged) for call in whole),
        unclaimed={name: sound for name, sound in [*files.items(), *staged.items()] if name not in claimed},
        blind=tuple(scene.blind),
        fault=fault,
        ready_after=ready_after,
        verify=(
            verified.returncode,
            (verified.stdout + verified.stderr).strip()[-1500:] if verified.returncode else "",
        ),
        at_once=scene.load.least or 0,
        unmet=tuple(scene.unmet),
    )


def _booked(call: WholeCall, files: Mapping[str, Sound], staged: Mapping[str, Sound]) -> Booked:
    kept = tuple(
        Kept(
            status=str(row.status),
            findings=row.findings,
            settled=files.get(str(row.id)),
            staged=staged.get(str(row.id)),
        )
        for row in call.recordings
    )
    legs = frozenset(str(leg.uniqueid) for leg in call.legs)
    return Booked(legs=legs, outcome=call.call.outcome, reason=call.call.reason, kept=kept)


def _files(scene: Scene) -> dict[str, Sound]:
    """Whatever lies in the store, quarantine and all, by the recording's id where the name holds one.

    The kept prompts are nobody's talk: each is known by its bytes, wherever it lies.
    """
    settings = settings_from(scene.recorder.config.read_text(), {}, source="recorder.toml")
    prompts = {prompt.sha256 for prompt in load(settings.prompts.here, settings.prompts.path).prompts.values()}
    every = [path for path in scene.recorder.recordings.rglob("*") if path.is_file()]
    paths = [path for path in every if hashlib.sha256(path.read_bytes()).hexdigest() not in prompts]
    return {_named(path): sounds.settled(path) for path in paths if path.stat().st_size > sounds.HEADER}


def _named(path: Path) -> str:
    found = UUID.search(path.name)
    return found[0] if found else str(path)


def _staged(copies: Path) -> dict[str, Sound]:
    """Whatever ever lay in the spool and held audio, both directions of a recording together."""
    sides: dict[str, dict[str, Path]] = {}
    for path in copies.glob("*.wav"):
        if path.stat().st_size > sounds.HEADER:
            side = "caller" if "-caller." in path.name else "agent"
            sides.setdefault(_named(path), {})[side] = path
    return {name: sounds.staged(found.get("caller"), found.get("agent")) for name, found in sides.items()}


# ---------------------------------------------------------------- the stage


@asynccontextmanager
async def _stage(fault: Fault, pace: Pace, say: Say, release: str) -> AsyncIterator[Scene]:
    arranged = fault.arranged
    async with contextlib.AsyncExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="recorder-fault-")))
        server = stack.enter_context(postgres.running()) if arranged.postgres else None
        catalogue = None
        if server is not None:
            database = server.create()
            catalogue = server.url(database)
        recorder = Recorder(
            home / "recorder", lines=lines(fallback="dialplan" if arranged.fallback else "skip"), catalogue=catalogue
        )
        agi = None
        if arranged.agi_wire:
            agi = await stack.enter_async_context(Wire(HOST, recorder.agi_port))
        mounts: tuple[Mount, ...] = ()
        changes: dict[str, dict[str, object]] = {name: dict(keys) for name, keys in arranged.changes.items()}
        spool = None
        if arranged.spool_mb:
            spool = home / "spool"
            stack.enter_context(small_file_system(spool, arranged.spool_mb))
            mounts = (Mount(here=spool, inside="/srv/captures"),)
            changes["capture"] = {
                "spool": "/srv/captures",
                "spool_here": str(spool),
                "min_free_mb": arranged.spool_min_mb,
            }
        if arranged.storage_mb:
            recorder.home.mkdir(parents=True)
            stack.enter_context(small_file_system(recorder.recordings, arranged.storage_mb))
            changes["storage"] = {"min_free_mb": 1}
        pbx = PbxServer(
            release=release,
            agi=f"{HOST}:{agi.port}" if agi else recorder.agi,
            mounts=mounts,
            additions={"extensions.conf": PARTIES.read_text(), "queues.conf": members()},
        )
        await stack.enter_async_context(pbx)
        ami = await stack.enter_async_context(Wire(HOST, pbx.ports.ami)) if arranged.ami_wire else None
        if ami is not None:
            changes["ami"] = {"port": ami.port}
        await stack.enter_async_context(recorder)
        account = await stack.enter_async_context(Account(pbx))
        load = Load(pbx, account, at_once=pace.at_once, seed=pace.seed, longer=pace.longer)
        scene = Scene(
            pbx=pbx,
            recorder=recorder,
            account=account,
            load=load,
            pace=pace,
            home=home,
            say=say,
            arranged=arranged,
            ami=ami,
            agi=agi,
            server=server,
            spool=spool or pbx.captures,
        )
        recorder.configure(pbx, **changes)
        if arranged.fallback:
            await asyncio.to_thread(write_fallback, recorder, pbx)
            async with await pbx.admin() as admin:
                await admin.command("dialplan reload")
        await asyncio.to_thread(load.furnish)
        await asyncio.to_thread(recorder.make_catalogue)
        (home / COPIES).mkdir()
        scene.environment |= as_written.told(SHIM, home / COPIES)
        if arranged.shim:
            scene.environment |= {"FAULT_DISK": str(home / "disk")}
        if arranged.clock:
            scene.environment |= own_clock(home)
        scene.launch()
        await scene.ready(timeout=60)
        yield scene


def may_fall_back() -> bool:
    """Whether this version's dialplan can ask by itself."""
    return importlib.util.find_spec("recorder.fallback_file") is not None


def write_fallback(recorder: Recorder, pbx: PbxServer) -> None:
    """What `recorder init` writes for the lines whose callers the dialplan asks while the daemon is away."""
    fallback_file: Any = importlib.import_module("recorder.fallback_file")
    settings: Any = settings_from(recorder.config.read_text(), {}, source="recorder.toml")
    asking = [rules for rules in settings.rules().values() if rules.asked_without_us and rules.name != "closed"]
    prompts = load(settings.prompts.here, settings.prompts.path)
    spool = PurePosixPath(settings.capture.spool)
    made = fallback_file.put_together(asking, prompts, spool=spool, version=pbx.release)
    etc = pbx.base / "etc"
    (etc / "extensions_recorder_fallback.conf").write_text(made.text)
    with (etc / "extensions.conf").open("a") as house:
        house.write("\n#include extensions_recorder_fallback.conf\n")


def own_clock(home: Path) -> dict[str, str]:
    """A wall clock that the file `clock` leads: seconds to add, read anew each tenth of a second."""
    (home / "clock").write_text("0\n")
    library = home / "clock.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(SHIM / "clock.c")], check=True)
    return {"LD_PRELOAD": str(library), "FAULT_CLOCK": str(home / "clock")}


@contextmanager
def small_file_system(folder: Path, megabytes: int) -> Iterator[None]:
    """The folder as a file system of its own."""
    folder.mkdir(mode=0o700, exist_ok=True)
    options = f"size={megabytes}m,mode=0700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
