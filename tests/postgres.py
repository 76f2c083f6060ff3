"""A private PostgreSQL server for the tests, from Debian's packages: started once, removed at the end.

Owns its folder, its port and its processes. Nothing of the machine's own PostgreSQL is touched.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

PACKAGES = Path("/usr/lib/postgresql")
ACCOUNT = "postgres"
# Speed before durability: this server's data lives as long as the tests.
SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "100",
    "shared_buffers": "32MB",
    "autovacuum": "off",
}


@dataclass(slots=True, kw_only=True)
class Server:
    """A running server. `urls` point at its TCP port on loopback, which is where a real catalogue is."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]
    programs: Path
    command: tuple[str, ...]
    _made: int = field(default=0)

    def url(self, database: str, user: str = ACCOUNT) -> str:
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def create(self, template: str | None = None, encoding: str | None = None) -> str:
        """Make a database, from a template or in an encoding where one is named, and return its name."""
        self._made += 1
        name = f"test_{self._made}"
        source = "template0" if encoding else template
        choices = (f" TEMPLATE {source}" if source else "") + (f" ENCODING '{encoding}'" if encoding else "")
        self._say(f"CREATE DATABASE {name}{choices}")
        return name

    def drop(self, database: str) -> None:
        self._say(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")

    def _say(self, statement: str) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement.encode())

    def freeze(self) -> None:
        """Stop every process of the server, as a machine that hangs would."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def halt(self) -> None:
        """End the server, and every connection to it; `again` brings it back with the same data and port."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(timeout=20)

    def again(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, cwd=self.folder)
        _await_ready(self.programs / "pg_isready", self.port, self.process, self.folder)

    def _signal(self, number: signal.Signals) -> None:
        for process in (self.process.pid, *children(self.process.pid)):
            with suppress(ProcessLookupError):  # a backend may end while we count
                os.kill(process, number)


def children(parent: int) -> list[int]:
    """Return the processes that `parent` started (proc_pid_stat(5): the fourth field is the parent)."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == parent:
            found.append(int(entry.parent.name))
    return found


def programs() -> Path | None:
    """Return the folder of the newest installed server's programs."""
    found = [folder / "bin" for folder in PACKAGES.glob("[0-9]*") if (folder / "bin" / "initdb").exists()]
    return max(found, key=lambda folder: int(folder.parent.name), default=None)


def _as_account(folder: Path) -> list[str]:
    """Return what to begin a command with: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return []
    account = pwd.getpwnam(ACCOUNT)
    os.chown(folder, account.pw_uid, account.pw_gid)
    return ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups", "--"]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running() -> Iterator[Server]:
    """Start a server in a folder of its own, and remove both at the end."""
    found = programs()
    if found is None:
        raise FileNotFoundError(f"no PostgreSQL server under {PACKAGES}: apt-get install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="recorder-postgres-"))
    try:
        prefix = _as_account(folder)
        data = folder / "data"
        choices = ["-U", ACCOUNT, "-A", "trust", "-E", "UTF8", "--locale=C", "-N"]
        subprocess.run(
            [*prefix, str(found / "initdb"), "-D", str(data), *choices], check=True, capture_output=True, cwd=folder
        )
        port = _free_port()
        given = SETTINGS | {"port": str(port), "unix_socket_directories": str(folder), "listen_addresses": "127.0.0.1"}
        settings = [part for name, value in given.items() for part in ("-c", f"{name}={value}")]
        command = (*prefix, str(found / "postgres"), "-D", str(data), *settings)
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
        server = Server(folder=folder, port=port, process=process, programs=found, command=command)
        try:
            _await_ready(found / "pg_isready", port, process, folder)
            yield server
        finally:
            server.process.send_signal(signal.SIGQUIT)
            server.process.wait(timeout=20)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _await_ready(pg_isready: Path, port: int, process: subprocess.Popen[bytes], folder: Path) -> None:
    """Ask until the server answers; a server that ended says why in its log."""
    while subprocess.run([pg_isready, "-q", "-h", "127.0.0.1", "-p", str(port)], check=False).returncode != 0:
        if process.poll() is not None:
            raise RuntimeError((folder / "log").read_text())
