"""Runs the real daemon as a process of its own beside a test PBX, as systemd would.

Owns its settings file, its folders and its end. `Recorder` is used by the live tests, the fault runs and the demo.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tomllib
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

from recorder.catalogue import CallRow, Catalogue, RecordingRow, WholeCall, open_catalogue
from tests.facts import override_for
from tests.pbx.server import PbxServer, free_port

T = TypeVar("T")

REPOSITORY = Path(__file__).resolve().parents[1]

LINES: Mapping[str, Mapping[str, object]] = {
    "support": {
        "numbers": ["18005550100"],
        "consent": "opt_in",
        "languages": ["en", "fr"],
        "override": override_for("emergency", "legal", "business"),
        "answer_seconds": 2,
        "retries": 1,
    },
    "sales": {"numbers": ["18005550101"], "consent": "opt_in"},
}


class Recorder:
    """The daemon beside one PBX. Everything it keeps lies under `home`."""

    def __init__(
        self,
        home: Path,
        *,
        agi_port: int | None = None,
        lines: Mapping[str, Mapping[str, object]] = LINES,
        catalogue: str | None = None,
        python: str = sys.executable,
    ) -> None:
        self.home = home
        self.agi_port = agi_port or free_port()
        self.http_port = free_port()
        self.config = home / "recorder.toml"
        self.catalogue = catalogue or f"sqlite:///{home / 'catalogue.db'}"
        self.recordings = home / "recordings"
        self.log = home / "recorder.log"
        self.settings: dict[str, dict[str, Any]] = {}
        self.code = REPOSITORY  # the folder whose package `recorder` is run
        self._lines = lines
        self._python = python
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def agi(self) -> str:
        return f"127.0.0.1:{self.agi_port}"

    def configure(self, pbx: PbxServer, **changes: Mapping[str, object]) -> None:
        """Write the settings for this PBX; `changes` are laid over them, section by section."""
        self.home.mkdir(parents=True, exist_ok=True)
        self.recordings.mkdir(mode=0o700, exist_ok=True)
        self.settings = {
            "node": {"name": "pbx1"},
            "ami": {
                "host": pbx.host,
                "port": pbx.ports.ami,
                "username": pbx.recorder_user,
                "secret": pbx.recorder_secret,
            },
            "pbx": {"cli": list(pbx.cli), "queue_log": str(pbx.queue_log), "cdr": str(pbx.cdr)},
            "agi": {"bind": self.agi},
            "prompts": {"path": pbx.prompts, "path_here": str(REPOSITORY / "dialplan" / "prompts")},
            "capture": {"spool": str(pbx.captures), "min_free_mb": 5},
            "catalogue": {"url": self.catalogue},
            "storage": {"path": str(self.recordings), "min_free_mb": 5},
            "http": {"bind": f"127.0.0.1:{self.http_port}"},
        }
        for section, keys in changes.items():
            self.settings.setdefault(section, {}).update(keys)
        text = "".join(_table(name, keys) for name, keys in self.settings.items())
        text += "".join(_table(f"line.{name}", keys) for name, keys in self._lines.items())
        tomllib.loads(text)
        self.config.write_text(text, encoding="utf-8")
        self.config.chmod(0o600)

    def command(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """`recorder --config ... WORDS`, to its end."""
        done = subprocess.run(
            [self._python, "-m", "recorder", "--config", str(self.config), *words],
            cwd=self.code,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if check and done.returncode != 0:
            raise RuntimeError(f"recorder {' '.join(words)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def make_catalogue(self) -> None:
        """Make or upgrade it; where a line lists reasons to override, whoever is at a telephone may."""
        self.command("db", "upgrade")
        if any(line.get("override") for line in self._lines.values()):
            self.command("user", "grant", "anybody", "overrider", "--every-line", check=False)  # the first time

    def show(self, *words: str) -> int:
        """Run the command where we print, so that it sees the same terminal; its exit code."""
        command = [self._python, "-m", "recorder", "--config", str(self.config), *words]
        return subprocess.run(command, cwd=self.code, timeout=120, check=False).returncode

    def json(self, *words: str) -> Any:
        """What a command prints with --json, whatever its exit code."""
        return json.loads(self.command(*words, "--json", check=False).stdout)

    async def start(self, *, ready: bool = True) -> None:
        """Upgrade the catalogue and run the daemon; with `ready`, until it can capture."""
        await asyncio.to_thread(self.make_catalogue)
        self.launch()
        if ready:
            await self.until(lambda: self.get("/readyz")[0] == 200, "the daemon to be ready", timeout=60)

    def launch(self, *prefix: str, environment: Mapping[str, str] | None = None) -> None:
        """Start the process and return at once; `prefix` is a command to start it through."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*prefix, self._python, "-m", "recorder", "--config", str(self.config), "run"],
                cwd=self.code,
                stdout=log,
                stderr=log,
                env={**os.environ, **(environment or {})},
            )

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        return None if self._process is None else self._process.poll()

    def send(self, number: signal.Signals) -> None:
        """SIGKILL, SIGSTOP, SIGCONT ... to the daemon."""
        assert self._process is not None
        self._process.send_signal(number)
        if number is signal.SIGKILL:
            self._process.wait(10)

    async def stop(self) -> int | None:
        """SIGTERM, and the exit code."""
        if self._process is None or self._process.poll() is not None:
            return self.exit_code
        self._process.send_signal(signal.SIGCONT)
        self._process.terminate()
        try:
            return await asyncio.to_thread(self._process.wait, 15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return await asyncio.to_thread(self._process.wait, 5)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    # ---- looking

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> tuple[int, Any]:
        """HTTP status and body (JSON where it is), (0, None) while nobody listens."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.http_port}{path}", headers=dict(headers or {}))
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return answer.status, _body(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, _body(error.read())
        except OSError:
            return 0, None

    async def until(self, true: Callable[[], Any], what: str, *, timeout: float = 20) -> Any:
        """Wait until `true` says so, looking ten times a second; TimeoutError with the log's tail."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while True:
            found = await asyncio.to_thread(true)
            if found:
                return found
            if loop.time() > deadline:
                raise TimeoutError(f"waited {timeout:g} s for {what}\n{self.log_tail()}")
            await asyncio.sleep(0.1)

    async def calls(self, most: int = 1000) -> tuple[CallRow, ...]:
        """The calls in the catalogue, newest first. In-process: cheap to ask often."""
        return await self._ask(lambda books: books.list_calls(most))

    async def settled(self, most: int = 1000) -> tuple[RecordingRow, ...]:
        """Every recording in the catalogue, newest first."""
        return await self._ask(lambda books: books.list_recordings(most))

    async def whole(self, call: CallRow) -> WholeCall:
        found = await self._ask(lambda books: books.one_call(call.id))
        assert found is not None
        return found

    async def _ask(self, question: Callable[[Catalogue], Awaitable[T]]) -> T:
        books = await open_catalogue(self.catalogue)
        try:
            return await question(books)
        finally:
            await books.close()

    async def until_closed(self, calls: int, *, timeout: float = 20) -> tuple[CallRow, ...]:
        """The calls, once there are so many and all of them have an outcome."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while True:
            rows = await self.calls()
            if len(rows) >= calls and all(row.outcome for row in rows):
                return rows
            if loop.time() > deadline:
                seen = [(row.line, row.phase, row.consent, row.outcome) for row in rows]
                raise TimeoutError(f"waited {timeout:g} s for {calls} closed calls, have {seen}\n{self.log_tail()}")
            await asyncio.sleep(0.2)

    def path_of(self, recording: RecordingRow) -> Path:
        """Where a settled recording lies."""
        return self.recordings.joinpath(f"{recording.authorised_at:%Y/%m/%d}", f"{recording.id}.wav")

    def log_tail(self, lines: int = 40) -> str:
        return "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-lines:]) if self.log.exists() else ""


def _body(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return content.decode("utf-8", "replace")


def _table(name: str, keys: Mapping[str, object]) -> str:
    return f"[{name}]\n" + "".join(f"{key} = {_toml(value)}\n" for key, value in keys.items())


def _toml(value: object) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_toml(inner)}" for key, inner in value.items()) + " }"
    return json.dumps(value)
