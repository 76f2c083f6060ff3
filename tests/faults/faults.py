"""The faults: how each is made, how it ends, and what it may cost.

The table at the end is what `./dev faults` plays. A maker returns when the fault is over; nothing of it mends the
daemon by hand.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import psycopg

from recorder.model import LostReason
from tests.faults.judge import TAIL, Cost, Span
from tests.faults.scene import Arrangement, Fault, Scene, may_fall_back
from tests.pbx.admin import AdminError
from tests.pbx.server import HOST

Maker = Callable[[Scene], Awaitable[None]]

AWAY = frozenset({LostReason.RECORDER_AWAY, LostReason.DIALOGUE_FAILED})
"""The daemon is not there, or answers nobody: who comes passes unasked, and a dialogue that it was in breaks off."""
UNSEEING = frozenset({LostReason.PBX_AWAY})
"""Nothing new may be captured before the connection to Asterisk stands again and all has been compared."""
BOOKLESS = frozenset({LostReason.CATALOGUE_AWAY})
FULL = frozenset({LostReason.SPOOL_UNREADY})

DAEMON = Cost(lost=AWAY | UNSEEING)
STEPS = Cost(lost=DAEMON.lost | {LostReason.CAPTURE_FAILED})
"""A daemon that dies between the intention and the act has authorised what Asterisk never began."""
ASTERISK = Cost(lost=AWAY | UNSEEING | {LostReason.CAPTURE_FAILED}, tail=TAIL)
"""A talk shorter than Asterisk's first 32 KiB leaves nothing: capture_failed."""


# ---------------------------------------------------------------- the daemon


async def killed(scene: Scene) -> None:
    scene.kill()
    await died(scene, 1)


async def killed_at_random(scene: Scene) -> None:
    random = Random(scene.pace.seed)
    for number in range(1, 7):
        await asyncio.sleep(random.uniform(0.5, 6.0))
        scene.kill()
        await died(scene, number)


def killed_at(*steps: str) -> Maker:
    """At each of these steps of "intention, act, result", one life after the other."""

    async def maker(scene: Scene) -> None:
        scene.kill()
        for step in steps:
            scene.environment["FAULT_STEP"] = step
            await launched(scene)
            scene.environment.pop("FAULT_STEP")  # for the life after the one that has just begun
            scene.say(f"until {step}")
            deaths, deadline = scene.deaths, time.monotonic() + STEP_WITHIN
            while scene.deaths == deaths and time.monotonic() < deadline:
                await asyncio.sleep(0.05)
            if scene.deaths == deaths:
                scene.unmet.append(f"the daemon never came to the step: {step}")
                scene.kill()
        await launched(scene)

    return maker


async def launched(scene: Scene) -> None:
    """Until the life after the last death has begun."""
    lives = scene.lives
    async with asyncio.timeout(30):
        while scene.lives == lives:
            await asyncio.sleep(0.05)


STEP_WITHIN = 90.0
"""Seconds: the sweep that moves a bookmark comes each minute."""
ASKING = (
    "before write CallAdmitted",
    "after write CallAdmitted",
    "before write PromptPlayed",
    "before write ConsentAnswered",
    "after write ConsentAnswered",
    "before arm",
    "after arm",
    "before write CaptureArmed",
    "after write CaptureArmed",
)
TALKING = (
    "before write BridgeEntered",
    "before write KeyPressed",
    "after write KeyPressed",
    "before quiet",
    "after quiet",
    "before write OverridePressed",
    "after write OverridePressed",
    "before stop",
    "after stop",
    "before write MixMonitorStopped",
)
ENDING = (
    "before write ChannelHungUp",
    "after write ChannelHungUp",
    "before settle",
    "before put",
    "after put",
    "after settle",
    "before write RecordingMade",
    "after write RecordingMade",
    "before discard",
    "after discard",
    "before erase",
    "after erase",
    "before write RecordingErased",
    "after write RecordingErased",
    "before bookmark",
    "after bookmark",
)


async def died(scene: Scene, times: int) -> None:
    async with asyncio.timeout(30):
        while scene.deaths < times:
            await asyncio.sleep(0.05)


async def frozen(scene: Scene) -> None:
    """SIGSTOP, and SIGCONT half a minute later."""
    scene.recorder.send(signal.SIGSTOP)
    await asyncio.sleep(30)
    scene.recorder.send(signal.SIGCONT)


# ---------------------------------------------------------------- Asterisk


async def asterisk_killed(scene: Scene) -> None:
    await without_asterisk(scene)


async def both_killed(scene: Scene) -> None:
    scene.kill()
    await without_asterisk(scene)
    await died(scene, 1)


async def without_asterisk(scene: Scene) -> None:
    scene.load.placing = False
    await scene.kill_asterisk()
    await asyncio.sleep(2)
    await scene.pbx.restart()
    await until_full(scene)


async def until_full(scene: Scene) -> None:
    """The fewest calls at once are counted again when the load stands again."""
    scene.load.resume()


async def reloaded(scene: Scene) -> None:
    for _ in range(2):
        await say_to_asterisk(scene, "core reload")
        await asyncio.sleep(scene.pace.lasts / 2)


async def restarted_gracefully(scene: Scene) -> None:
    """Asterisk takes no new call, waits for the last one, and starts anew."""
    scene.load.placing = False
    await say_to_asterisk(scene, "core restart gracefully")
    await scene.load.drained()
    async with asyncio.timeout(60):
        while not scene.account.came_back:
            await asyncio.sleep(0.2)
    await until_full(scene)


async def say_to_asterisk(scene: Scene, command: str) -> None:
    # It may end the session instead of answering, or wait for the last call before it answers.
    with contextlib.suppress(AdminError, TimeoutError):
        async with await scene.pbx.admin() as admin:
            scene.account.came_back = False
            await admin.command(command)


# ---------------------------------------------------------------- the wires


async def ami_cut(scene: Scene) -> None:
    assert scene.ami is not None
    scene.ami.cut()
    await asyncio.sleep(scene.pace.lasts)
    scene.ami.mend()


async def ami_frozen(scene: Scene) -> None:
    assert scene.ami is not None
    began = time.time()  # the daemon finds out some seconds later, and knows then that it was so from here on
    scene.ami.freeze()
    await asyncio.sleep(scene.pace.lasts)
    scene.blind.append(Span(began, time.time() + 1))
    scene.ami.thaw()


async def ami_cut_and_frozen(scene: Scene) -> None:
    await ami_cut(scene)
    await scene.ready()
    await ami_frozen(scene)


async def ami_slow(scene: Scene) -> None:
    """A quarter of a second on each way."""
    assert scene.ami is not None
    scene.ami.delay = 0.25
    await asyncio.sleep(scene.pace.lasts)
    scene.ami.delay = 0.0


async def ami_garbage(scene: Scene) -> None:
    assert scene.ami is not None
    random = Random(scene.pace.seed)
    for what in (
        random.randbytes(4096),
        b"Event: BridgeEnter\r\nUniqueid\r\n: \r\nBridgeNumChannels: many\r\n\r\n",
        b"\r\n\r\n\r\n\r\nResponse: Success\r\nActionID: nobody\r\n\r\n",
        b"Event: MixMonitorStop\r\nChannel: \xff\xfe\r\nUniqueid: 0\r\n\r\n",
        b"A" * 300_000,
        b"\r\n\r\n" + random.randbytes(512) + b"\r\n\r\n",
    ):
        scene.ami.soil(what)
        await asyncio.sleep(scene.pace.lasts / 6)


async def ami_half(scene: Scene) -> None:
    assert scene.ami is not None
    for _ in range(3):
        scene.ami.halve()
        await asyncio.sleep(scene.pace.lasts / 3)


async def agi_refused(scene: Scene) -> None:
    assert scene.agi is not None
    scene.agi.cut()
    await asyncio.sleep(scene.pace.lasts)
    scene.agi.mend()


async def agi_hung(scene: Scene) -> None:
    assert scene.agi is not None
    scene.agi.freeze()
    await asyncio.sleep(scene.pace.lasts)
    scene.agi.thaw()


async def agi_flood(scene: Scene) -> None:
    """1,500 connections within the fault: silent ones, garbage, and questions that break off."""
    words = (b"", b"\r\n\x00\xffgarbage", b"agi_network: yes\nagi_request: agi://here/inbound\n", b"\n\n")
    open_ones: list[socket.socket] = []
    began = time.monotonic()
    for number in range(1500):
        with contextlib.suppress(OSError):
            one = socket.create_connection((HOST, scene.recorder.agi_port), timeout=0.5)
            one.sendall(words[number % len(words)])
            if number % 3:
                open_ones.append(one)
            else:
                one.close()
        while (time.monotonic() - began) / scene.pace.lasts < number / 1500:
            await asyncio.sleep(0.01)
        if number % 20 == 0:
            await asyncio.sleep(0)
    for one in open_ones:
        one.close()


# ---------------------------------------------------------------- the catalogue


@contextmanager
def locked(database: Path) -> Iterator[None]:
    text = (
        f"import sqlite3,sys; c=sqlite3.connect({str(database)!r}, isolation_level=None, timeout=30);"
        "c.execute('BEGIN EXCLUSIVE'); print('held', flush=True); sys.stdin.readline()"
    )
    with subprocess.Popen([sys.executable, "-c", text], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        try:
            yield
        finally:
            holder.stdin.close()


def sqlite_of(scene: Scene) -> Path:
    return Path(scene.recorder.catalogue.removeprefix("sqlite:///"))


async def sqlite_locked(scene: Scene) -> None:
    with locked(sqlite_of(scene)):
        await scene.unready()
        await asyncio.sleep(scene.pace.lasts)


async def sqlite_readonly(scene: Scene) -> None:
    """Immutable by chattr, which the superuser's own daemon cannot write past."""
    with immutable(sqlite_of(scene)):
        await scene.unready()
        await asyncio.sleep(scene.pace.lasts)


@contextmanager
def immutable(database: Path) -> Iterator[None]:
    # Not its -shm, which is mapped: a write there would be a SIGBUS, and no error of a disk.
    files = [str(path) for path in (database, database.with_name(f"{database.name}-wal")) if path.exists()]
    subprocess.run(["chattr", "+i", *files], check=True)
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", *files], check=True)


async def postgres_stopped(scene: Scene) -> None:
    assert scene.server is not None
    await asyncio.to_thread(scene.server.halt)
    await scene.unready()
    await asyncio.sleep(scene.pace.lasts)
    await asyncio.to_thread(scene.server.again)


async def postgres_restarted(scene: Scene) -> None:
    assert scene.server is not None
    for _ in range(3):
        await asyncio.to_thread(scene.server.halt)
        await asyncio.to_thread(scene.server.again)
        await asyncio.sleep(scene.pace.lasts / 3)


async def postgres_frozen(scene: Scene) -> None:
    assert scene.server is not None
    scene.server.freeze()
    await scene.unready()
    await asyncio.sleep(scene.pace.lasts)
    scene.server.thaw()


async def postgres_slow(scene: Scene) -> None:
    """Its processes run for a tenth of a second in each half one."""
    assert scene.server is not None
    ends = time.monotonic() + scene.pace.lasts
    while time.monotonic() < ends:
        scene.server.freeze()
        await asyncio.sleep(0.4)
        scene.server.thaw()
        await asyncio.sleep(0.1)


async def postgres_crowded(scene: Scene) -> None:
    """Every connection is taken by somebody else, and the daemon's are cut off."""
    assert scene.server is not None
    await asyncio.to_thread(crowd, scene.server.url("postgres"), scene.pace.lasts)


def crowd(url: str, lasts: float) -> None:
    ends = time.monotonic() + lasts
    taken: list[psycopg.Connection] = []
    try:
        with psycopg.connect(url, autocommit=True) as first:
            while time.monotonic() < ends:
                with contextlib.suppress(psycopg.OperationalError):
                    while True:
                        taken.append(psycopg.connect(url, autocommit=True))
                ours = "application_name = 'recorder'"
                first.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {ours}".encode())
                time.sleep(0.02)
    finally:
        for one in taken:
            one.close()


# ---------------------------------------------------------------- disks


def fill(folder: Path, leave: int) -> Path:
    """Write until so many bytes are left."""
    filler = folder / "filler.bin"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            free = os.statvfs(folder)
            over = free.f_bavail * free.f_frsize - leave
            if over < 4096:
                break
            file.write(bytes(min(over // 4096 * 4096, 1 << 20)))
    return filler


async def spool_full(scene: Scene) -> None:
    """Somebody else fills the disk past what the recorder keeps for the captures in progress."""
    filler = await asyncio.to_thread(fill, scene.spool, SPOOL_LEFT_MB << 20)
    await scene.unready()
    await asyncio.sleep(scene.pace.lasts)
    filler.unlink()


SPOOL_MB, SPOOL_LEFT_MB = 96, 40


async def storage_full(scene: Scene) -> None:
    filler = await asyncio.to_thread(fill, scene.recorder.recordings, 0)
    await scene.unready()
    await asyncio.sleep(scene.pace.lasts)
    filler.unlink()


async def storage_readonly(scene: Scene) -> None:
    for _ in range(50):  # while a file is being written there the kernel refuses
        if remounted(scene.recorder.recordings, "ro"):
            break
        await asyncio.sleep(0.1)
    else:
        scene.unmet.append("the store could not be made read-only")
    await scene.unready()
    await asyncio.sleep(scene.pace.lasts)
    remounted(scene.recorder.recordings, "rw")


def remounted(folder: Path, how: str) -> bool:
    return subprocess.run(["mount", "-o", f"remount,{how}", folder], check=False, capture_output=True).returncode == 0


def disk_fails(what: str) -> Maker:
    async def maker(scene: Scene) -> None:
        told = scene.home / "disk"
        told.write_text(what)
        await asyncio.sleep(scene.pace.lasts)
        told.unlink()

    return maker


# ---------------------------------------------------------------- the clock


def clock_steps(seconds: int) -> Maker:
    async def maker(scene: Scene) -> None:
        clock = scene.home / "clock"
        for offset in (seconds, 0):
            made = clock.with_suffix(".new")
            made.write_text(f"{offset:+d}\n")
            made.replace(clock)
            await asyncio.sleep(scene.pace.lasts)

    return maker


FALLBACK = Arrangement(fallback=True)


async def away_for_a_while(scene: Scene) -> None:
    """Dead, and started again only after the fault's length."""
    scene.supervised = False
    scene.kill()
    await asyncio.sleep(scene.pace.lasts)
    scene.supervised = True


ALWAYS = (
    Fault(name="daemon-killed", what="the daemon, SIGKILL", breaks=killed, cost=DAEMON, in_ci=True),
    Fault(
        name="daemon-killed-asking",
        what=f"the daemon, SIGKILL at {len(ASKING)} steps of asking and arming",
        breaks=killed_at(*ASKING),
        cost=STEPS,
        arranged=Arrangement(shim=True),
    ),
    Fault(
        name="daemon-killed-talking",
        what=f"the daemon, SIGKILL at {len(TALKING)} steps of keys, silence and stops",
        breaks=killed_at(*TALKING),
        cost=STEPS,
        arranged=Arrangement(shim=True),
    ),
    Fault(
        name="daemon-killed-ending",
        what=f"the daemon, SIGKILL at {len(ENDING)} steps of settling and erasing",
        breaks=killed_at(*ENDING),
        cost=STEPS,
        arranged=Arrangement(shim=True),
    ),
    Fault(name="daemon-killed-at-random", what="the daemon, SIGKILL six times", breaks=killed_at_random, cost=DAEMON),
    Fault(name="daemon-frozen", what="the daemon, SIGSTOP for 30 s", breaks=frozen, cost=DAEMON),
    Fault(name="asterisk-killed", what="Asterisk, SIGKILL", breaks=asterisk_killed, cost=ASTERISK, in_ci=True),
    Fault(name="both-killed", what="both, SIGKILL", breaks=both_killed, cost=ASTERISK),
    Fault(name="asterisk-reloaded", what="Asterisk, core reload in mid-call", breaks=reloaded),
    Fault(
        name="asterisk-restarted",
        what="Asterisk, graceful restart",
        breaks=restarted_gracefully,
        cost=Cost(lost=UNSEEING | AWAY),
    ),
    Fault(
        name="ami-cut-and-frozen",
        what="AMI cut, then frozen",
        breaks=ami_cut_and_frozen,
        cost=DAEMON,
        arranged=Arrangement(ami_wire=True),
        in_ci=True,
    ),
    Fault(name="ami-cut", what="AMI cut", breaks=ami_cut, cost=DAEMON, arranged=Arrangement(ami_wire=True)),
    Fault(name="ami-frozen", what="AMI frozen", breaks=ami_frozen, cost=DAEMON, arranged=Arrangement(ami_wire=True)),
    Fault(
        name="ami-slow",
        what="AMI slow, 0.25 s a block",
        breaks=ami_slow,
        cost=DAEMON,
        arranged=Arrangement(ami_wire=True),
    ),
    Fault(
        name="ami-garbage",
        what="AMI answers with garbage",
        breaks=ami_garbage,
        cost=DAEMON,
        arranged=Arrangement(ami_wire=True),
    ),
    Fault(
        name="ami-half-a-frame",
        what="AMI, half a frame and then cut, three times",
        breaks=ami_half,
        cost=DAEMON,
        arranged=Arrangement(ami_wire=True),
    ),
    Fault(
        name="agi-refused", what="FastAGI refused", breaks=agi_refused, cost=DAEMON, arranged=Arrangement(agi_wire=True)
    ),
    Fault(name="agi-hung", what="FastAGI hung", breaks=agi_hung, cost=DAEMON, arranged=Arrangement(agi_wire=True)),
    Fault(
        name="agi-flood",
        what="FastAGI, 1,500 strange connections",
        breaks=agi_flood,
        cost=Cost(lost=AWAY | {LostReason.BUSY}),
    ),
    Fault(
        name="postgres-stopped",
        what="PostgreSQL stopped",
        breaks=postgres_stopped,
        cost=Cost(lost=BOOKLESS),
        arranged=Arrangement(postgres=True),
    ),
    Fault(
        name="postgres-restarted",
        what="PostgreSQL restarted three times",
        breaks=postgres_restarted,
        cost=Cost(lost=BOOKLESS),
        arranged=Arrangement(postgres=True),
    ),
    Fault(
        name="postgres-frozen",
        what="PostgreSQL frozen",
        breaks=postgres_frozen,
        cost=Cost(lost=BOOKLESS),
        arranged=Arrangement(postgres=True),
    ),
    Fault(
        name="postgres-slow",
        what="PostgreSQL slow, stopped for four fifths of the time",
        breaks=postgres_slow,
        cost=Cost(lost=BOOKLESS),
        arranged=Arrangement(postgres=True),
    ),
    Fault(
        name="postgres-crowded",
        what="PostgreSQL out of connections",
        breaks=postgres_crowded,
        cost=Cost(lost=BOOKLESS),
        arranged=Arrangement(postgres=True),
    ),
    Fault(name="sqlite-locked", what="SQLite locked", breaks=sqlite_locked, cost=Cost(lost=BOOKLESS), in_ci=True),
    Fault(name="sqlite-readonly", what="SQLite read-only", breaks=sqlite_readonly, cost=Cost(lost=BOOKLESS)),
    Fault(
        name="spool-full",
        what="spool full",
        breaks=spool_full,
        cost=Cost(lost=FULL),
        arranged=Arrangement(spool_mb=SPOOL_MB, spool_min_mb=SPOOL_LEFT_MB + 8),
        in_ci=True,
    ),
    Fault(
        name="storage-full",
        what="storage full",
        breaks=storage_full,
        cost=Cost(lost=FULL),
        arranged=Arrangement(storage_mb=64),
    ),
    Fault(
        name="storage-readonly",
        what="storage read-only",
        breaks=storage_readonly,
        cost=Cost(lost=FULL),
        arranged=Arrangement(storage_mb=64),
    ),
    Fault(
        name="fsync-fails",
        what="I/O error at fsync",
        breaks=disk_fails("fsync"),
        cost=Cost(lost=FULL),
        arranged=Arrangement(shim=True),
    ),
    Fault(
        name="rename-fails",
        what="I/O error at rename",
        breaks=disk_fails("rename"),
        cost=Cost(lost=FULL),
        arranged=Arrangement(shim=True),
    ),
    Fault(
        name="clock-back",
        what="the clock, an hour back and forward again",
        breaks=clock_steps(-3600),
        arranged=Arrangement(clock=True),
    ),
    Fault(
        name="clock-forward",
        what="the clock, an hour forward and back again",
        breaks=clock_steps(3600),
        arranged=Arrangement(clock=True),
    ),
)
WITH_FALLBACK = (
    Fault(
        name="fallback-daemon-away",
        what="the daemon dead for a while, the dialplan asks",
        breaks=away_for_a_while,
        cost=STEPS,
        arranged=FALLBACK,
    ),
    Fault(
        name="fallback-daemon-killed-at-random",
        what="the daemon, SIGKILL six times, the dialplan asks",
        breaks=killed_at_random,
        cost=STEPS,
        arranged=FALLBACK,
    ),
    Fault(
        name="fallback-daemon-frozen",
        what="the daemon, SIGSTOP for 30 s, the dialplan asks",
        breaks=frozen,
        cost=STEPS,
        arranged=FALLBACK,
    ),
    Fault(
        name="fallback-both-killed",
        what="both, SIGKILL, the dialplan asks",
        breaks=both_killed,
        cost=ASTERISK,
        arranged=FALLBACK,
    ),
    Fault(
        name="fallback-agi-refused",
        what="FastAGI refused, the dialplan asks",
        breaks=agi_refused,
        cost=STEPS,
        arranged=Arrangement(fallback=True, agi_wire=True),
    ),
    Fault(
        name="fallback-sqlite-locked",
        what="SQLite locked, the dialplan may ask",
        breaks=sqlite_locked,
        cost=Cost(lost=BOOKLESS),
        arranged=FALLBACK,
    ),
)
FAULTS = ALWAYS + (WITH_FALLBACK if may_fall_back() else ())
BY_NAME = {fault.name: fault for fault in FAULTS}
