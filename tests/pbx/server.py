"""One Asterisk in a container, from start to removal.

Owns its folders, its loopback ports, its container and the configuration made from `etc/`. Several may run side by
side. The invariant: after `stop()` nothing of it is left, neither container nor folder nor port.

The server's folder lies at the same path inside the container as outside, so a path means the same to Asterisk, to
the tests and to the daemon. `mounts` adds folders under other names.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
import shutil
import signal
import socket
import tempfile
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from tests.pbx import image, tones
from tests.pbx.admin import Admin, AdminError

ETC = Path(__file__).parent / "etc"
DIALPLAN = Path(__file__).resolve().parents[2] / "dialplan"
FOLDERS = ("etc", "lib", "log", "log/cdr-csv", "music", "run", "sounds", "spool", "captures")
LABEL = "recorder-test-pbx"
LIMITS = ("--ulimit=nofile=16384:16384", "--ulimit=nproc=4096:4096")  # podman's own defaults may exceed the machine's
HOST = "127.0.0.1"


class PbxError(Exception):
    """The test PBX did not do what was asked; the text holds the end of its log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Loopback ports of one server; `rtp` is the first of 400. `agent` and `outside` are where SIPp listens."""

    ami: int
    sip: int
    rtp: int
    agent: int
    outside: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A folder of ours under another name inside the container."""

    here: Path
    inside: str
    readonly: bool = False


@dataclass(slots=True, kw_only=True)
class PbxServer:
    """`async with PbxServer(agi="127.0.0.1:4573") as pbx:`; `agi` is where the daemon listens.

    `prompts` inside the container is the shipped dialplan/prompts, read-only. `captures` is an empty folder of mode
    0700, the same path on both sides, meant as the capture spool. `additions` are texts put behind the house's own
    configuration files, by file name.
    """

    release: str = "22"
    agi: str = "127.0.0.1:4573"
    mounts: tuple[Mount, ...] = ()
    additions: Mapping[str, str] = field(default_factory=dict)
    progress: image.Progress = lambda _: None
    name: str = field(default_factory=lambda: f"recorder-pbx-{os.getpid()}-{secrets.token_hex(3)}")
    admin_secret: str = field(default_factory=lambda: secrets.token_hex(12))
    recorder_secret: str = field(default_factory=lambda: secrets.token_hex(12))
    ports: Ports = field(default_factory=lambda: free_ports())
    base: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="recorder-pbx-")))
    prompts: str = "/opt/recorder/prompts"
    started_in: float = 0.0  # seconds from podman to FullyBooted
    _pid: int = 0

    host = HOST
    admin_user = "admin"
    recorder_user = "recorder"

    @property
    def cli(self) -> list[str]:
        """argv to which one command of Asterisk's command line is appended."""
        return ["podman", "exec", self.name, "asterisk", "-C", str(self.base / "etc/asterisk.conf"), "-rx"]

    @property
    def pid(self) -> int:
        """Asterisk's process number on this machine."""
        return self._pid

    @property
    def captures(self) -> Path:
        return self.base / "captures"

    @property
    def queue_log(self) -> Path:
        return self.base / "log" / "queue_log"

    @property
    def cdr(self) -> Path:
        return self.base / "log" / "cdr-csv" / "Master.csv"

    @property
    def log(self) -> Path:
        return self.base / "log" / "messages.log"

    # ---------------------------------------------------------------- life

    async def start(self) -> Self:
        """Make folders and configuration, start, return when Asterisk is fully booted (about half a second)."""
        name = await asyncio.to_thread(image.ensure, self.release, self.progress)
        await asyncio.to_thread(self._prepare)
        await self._boot(["run", "--detach", f"--name={self.name}", *self._options(), name, *self._asterisk()])
        return self

    async def stop(self) -> None:
        """Remove container and folder. Safe to call twice, and on a server that never came up."""
        with contextlib.suppress(PbxError):
            if self._alive():  # an orderly end may take Asterisk ten seconds
                self._signal(signal.SIGKILL)
            await _podman("rm", "--force", "--time=0", "--ignore", self.name)
        await asyncio.to_thread(shutil.rmtree, self.base, ignore_errors=True)

    async def kill(self) -> None:
        """SIGKILL, as a crash: nothing is closed or written. `restart` brings it back with the same folders."""
        self._signal(signal.SIGKILL)
        await _podman("wait", self.name)

    async def restart(self) -> None:
        """Start again with the same ports and folders; ends a running Asterisk by SIGTERM first."""
        await _podman("stop", "--time=5", "--ignore", self.name)
        await self._boot(["start", self.name])

    def freeze(self) -> None:
        """SIGSTOP: Asterisk keeps its sockets and answers nothing."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    async def __aenter__(self) -> Self:
        try:
            return await self.start()
        except BaseException:
            await self.stop()
            raise

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def admin(self) -> Admin:
        """A new AMI session of the account `admin`; the caller closes it."""
        return await Admin.connect(self.host, self.ports.ami, self.admin_user, self.admin_secret)

    def log_tail(self, lines: int = 40) -> str:
        """The end of Asterisk's own log and of what it printed."""
        texts = [path.read_text(errors="replace") for path in (self.log, self.base / "console.log") if path.exists()]
        return "\n".join("\n".join(text.splitlines()[-lines:]) for text in texts)

    def tone(self, hz: int) -> Path:
        """The sound file of a tone for Playback(), without its extension; made when first asked for."""
        path = self.base / "sounds" / f"tone-{hz}.sln"
        if not path.exists():
            made = path.with_suffix(f".{secrets.token_hex(3)}")  # Asterisk may be about to play it for another party
            tones.write_sln(made, hz)
            made.replace(path)
        return path.with_suffix("")

    # ---------------------------------------------------------------- inside

    def _prepare(self) -> None:
        for folder in FOLDERS:
            (self.base / folder).mkdir(parents=True, exist_ok=True)
        self.captures.chmod(0o700)
        for template in ETC.glob("*.conf"):
            (self.base / "etc" / template.name).write_text(filled(template.read_text(), self._words()))
        for name, text in self.additions.items():
            with (self.base / "etc" / name).open("a") as file:
                file.write(filled(text, self._words()))
        for shipped in DIALPLAN.glob("*_recorder.conf"):
            shutil.copy(shipped, self.base / "etc")
        tones.write_sln(self.base / "music" / "music.sln", 2000)
        for hz in (0, 2600):
            self.tone(hz)

    def _words(self) -> dict[str, str]:
        return {
            "NAME": self.name,
            "BASE": str(self.base),
            "AGI": self.agi,
            "AMI_PORT": str(self.ports.ami),
            "SIP_PORT": str(self.ports.sip),
            "RTP_FIRST": str(self.ports.rtp),
            "RTP_LAST": str(self.ports.rtp + RTP_SPAN - 1),
            "AGENT_PORT": str(self.ports.agent),
            "OUTSIDE_PORT": str(self.ports.outside),
            "ADMIN_SECRET": self.admin_secret,
            "RECORDER_SECRET": self.recorder_secret,
        }

    def _options(self) -> list[str]:
        prompts = DIALPLAN / "prompts"
        mounts = [Mount(here=self.base, inside=str(self.base)), *self.mounts]
        if prompts.is_dir():
            mounts.append(Mount(here=prompts, inside=self.prompts, readonly=True))
        volumes = [f"--volume={m.here}:{m.inside}:{'ro' if m.readonly else 'rw'}" for m in mounts]
        logs = ["--log-driver=k8s-file", f"--log-opt=path={self.base / 'console.log'}"]
        return [
            f"--label={LABEL}={os.getpid()}:{self.base}",
            "--network=host",
            "--pull=never",
            *LIMITS,
            *logs,
            *volumes,
        ]

    def _asterisk(self) -> list[str]:
        return ["asterisk", "-f", "-n", "-C", str(self.base / "etc/asterisk.conf")]

    async def _boot(self, command: list[str]) -> None:
        began = time.monotonic()
        await _podman(*command)
        self._pid = int(await _podman("inspect", "--format={{.State.Pid}}", self.name))
        await self._until_booted(began + 60)
        self.started_in = time.monotonic() - began

    async def _until_booted(self, end: float) -> None:
        alive_at = time.monotonic()
        while True:
            if self._alive():
                alive_at = time.monotonic()
            try:
                async with await self.admin() as admin:
                    await admin.until("FullyBooted", timeout=max(0.1, end - time.monotonic()))
                    return
            except (OSError, AdminError, TimeoutError):
                # Just begun, the process may not be an Asterisk yet.
                if time.monotonic() > end or time.monotonic() - alive_at > 1:
                    raise PbxError(f"{self.name} did not come up:\n{self.log_tail()}") from None
            await asyncio.sleep(0.02)

    def _alive(self) -> bool:
        """Is the process of that number still our Asterisk? Numbers are given out again."""
        try:
            return str(self.base).encode() in Path(f"/proc/{self._pid}/cmdline").read_bytes()
        except OSError:
            return False

    def _signal(self, number: signal.Signals) -> None:
        if not self._alive():
            raise PbxError(f"{self.name} is not running")
        os.kill(self._pid, number)


async def _podman(*arguments: str) -> str:
    runtime = ["--runtime=runc"] if shutil.which("runc") else []  # crun refuses machines with hybrid cgroups
    process = await asyncio.create_subprocess_exec(
        "podman", *runtime, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    if process.returncode != 0:
        raise PbxError(f"podman {arguments[0]} failed ({process.returncode}): {err.decode(errors='replace').strip()}")
    return out.decode().strip()


def _runs(pid: int) -> bool:
    return pid > 0 and Path(f"/proc/{pid}").exists()


async def remove_leftovers() -> None:
    """Remove the servers, with their folders, of processes that are gone (a test run that was killed)."""
    columns = '{{.Names}} {{index .Labels "' + LABEL + '"}}'
    rows = await _podman("ps", "--all", f"--filter=label={LABEL}", f"--format={columns}")
    for name, _, owner in (row.partition(" ") for row in rows.splitlines()):
        pid, _, base = owner.partition(":")
        if not _runs(int(pid)):
            await _podman("rm", "--force", "--time=0", "--ignore", name)
            await asyncio.to_thread(shutil.rmtree, base, ignore_errors=True)


def filled(template: str, words: Mapping[str, str]) -> str:
    """Replace each @WORD@; an unknown word is a KeyError."""
    return re.sub(r"@([A-Z_]+)@", lambda found: words[found[1]], template)


# ---------------------------------------------------------------- ports

RTP_SPAN = 400


def free_ports() -> Ports:
    """Ports that nobody held a moment ago; TCP and UDP alike."""
    ami, sip, agent, outside = (free_port() for _ in range(4))
    return Ports(ami=ami, sip=sip, rtp=_free_range(), agent=agent, outside=outside)


PORTS = range(61000, 65480)
"""Above those that the system gives to any connection out."""
WORKERS_AT_MOST = 8
_given: deque[int] = deque(maxlen=300)

MEDIA_PORTS = range(30000, 32760, 4)
"""Above Asterisk's RTP, and below those that the system gives out by itself."""
_media_given: deque[int] = deque(maxlen=40)


def _share(ports: range) -> range:
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % WORKERS_AT_MOST
    return ports[worker::WORKERS_AT_MOST]


def free_port() -> int:
    """One loopback port, free for TCP and for UDP.

    It is bound a while after it was given, and given up between two starts of whoever has it: each of pytest's workers
    has its own share of them, and gives none twice in a row.
    """
    while True:
        port = secrets.choice(_share(PORTS))
        if port in _given:
            continue
        if free_tcp(port) and all(free_udp(port, host) for host in (HOST, "127.0.0.2", "127.0.0.3")):
            _given.append(port)
            return port


def free_tcp(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def free_media_port(host: str) -> int:
    """A port for a phone's RTP, the first of four: audio, video, and RTCP for each. Shared out as `free_port` does."""
    while True:
        port = secrets.choice(_share(MEDIA_PORTS))
        if port not in _media_given and all(free_udp(port + of, host) for of in range(4)):
            _media_given.append(port)
            return port


def _free_range() -> int:
    """First of RTP_SPAN ports below the system's own range; probed where another server would start and end."""
    while True:
        first = 10000 + RTP_SPAN * secrets.randbelow(20000 // RTP_SPAN)
        if free_udp(first) and free_udp(first + RTP_SPAN - 2):
            return first


def free_udp(port: int, host: str = HOST) -> bool:
    with socket.socket(type=socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True
