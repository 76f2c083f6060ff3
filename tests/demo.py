"""`./dev demo`: a PBX in a container, the daemon beside it, real calls, and what became of each.

With --once it stops by itself and exits 1 unless every call ended as it should, the audio proved by the tones.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import re
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx2
from rich.console import Console
from rich.live import Live
from rich.table import Table

from recorder.catalogue import CallRow
from tests.pbx.calls import Calls
from tests.pbx.server import PbxServer
from tests.recorder_process import REPOSITORY, Recorder
from tests.stories import DEMONSTRATION, Placed, judge, play

SUPERVISOR = "supervisor"
console = Console(width=None if sys.stdout.isatty() else 110)

ABOUT = {
    None: "[dim]dialling[/dim]",
    "asking": "being asked",
    "waiting": "waiting for the agent",
    "talking": "talking",
    "apart": "on hold or parting",
    "over": "over, settling",
    "closed": "closed",
}


class Board:
    """The live table: what the recorder says of each call, looked up by the call's linkedid."""

    def __init__(self, placed: list[Placed]) -> None:
        self.placed = placed
        self.rows: Mapping[str, CallRow] = {}
        self.states: Mapping[str, str] = {}
        self.since = time.monotonic()
        self.told: dict[str, tuple[str, str, str]] = {}  # what was printed last of each call

    def take(self, calls: tuple[CallRow, ...], status: Mapping[str, Any] | None) -> None:
        self.rows = {row.linkedid: row for row in calls}
        self.states = {row["call"]: row["state"] for row in (status or {}).get("calls", [])}

    def row_of(self, placed: Placed) -> CallRow | None:
        return self.rows.get(placed.call.linkedid) if placed.call else None

    def __rich__(self) -> Table:
        table = Table(title=f"calls, {time.monotonic() - self.since:.0f} s", title_justify="left", expand=False)
        for heading in ("call", "consent", "state", "outcome"):
            table.add_column(heading, no_wrap=heading != "state")
        for placed in self.placed:
            table.add_row(placed.story.name, *self.words(placed))
        return table

    def words(self, placed: Placed) -> tuple[str, str, str]:
        row = self.row_of(placed)
        if placed.error:
            return "", f"[red]{placed.error[:60]}[/red]", ""
        if row is None and placed.story.outcome is None and placed.call is not None:
            return "[dim]not asked[/dim]", "ended" if placed.ended else "in progress", "[green]not an ACD call[/green]"
        if row is None:
            return "", ABOUT[None], ""
        state = self.states.get(str(row.id), "")
        phase, _, capture = state.partition(", ")
        words = ABOUT.get(phase or row.phase, phase)
        if capture:
            words += f" [bold red]● {capture}[/bold red]" if capture == "capturing" else f" ({capture})"
        outcome = str(row.outcome or "")
        if outcome:
            outcome = f"[{'green' if outcome == placed.story.outcome else 'red'}]{outcome}[/]"
        consent = "" if phase == "asking" and row.consent == "none" else str(row.consent)
        return consent, words, outcome


async def watch(board: Board, recorder: Recorder, done: asyncio.Event) -> None:
    """Refresh the board until everything is over, at a terminal as a table in place, else a line a change."""
    live = Live(board, console=console, refresh_per_second=4) if console.is_terminal else contextlib.nullcontext()
    with live:
        while not done.is_set():
            calls = await recorder.calls()
            _, status = await asyncio.to_thread(recorder.get, "/status")
            board.take(calls, status)
            if not console.is_terminal:
                _tell(board)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(done.wait(), 0.3)


def _tell(board: Board) -> None:
    for placed in board.placed:
        words = board.words(placed)
        if board.told.get(placed.story.name) != words:
            board.told[placed.story.name] = words
            console.print(f"{time.monotonic() - board.since:5.1f} s  {placed.story.name:36}", *words, sep="  ")


async def place_all(board: Board, pbx: PbxServer, recorder: Recorder) -> None:
    """Every call at once, and wait until the recorder has closed its books on them."""
    async with Calls(pbx) as calls:
        await asyncio.gather(*(play(placed, calls) for placed in board.placed))
    expected = sum(placed.story.outcome is not None for placed in board.placed)
    with contextlib.suppress(TimeoutError):
        await recorder.until_closed(expected, timeout=20)


async def judge_all(board: Board, recorder: Recorder, pbx: PbxServer) -> list[str]:
    """What went wrong, a line each."""
    recordings = await recorder.settled()
    wrong = []
    for placed in board.placed:
        row = board.row_of(placed)
        mine = [one for one in recordings if row and one.call == row.id and one.status == "settled"]
        paths = [recorder.path_of(one) for one in mine]
        found = judge(placed.story, row.outcome if row else None, paths, sealed=any(one.sealed for one in mine))
        wrong += [f"{placed.story.name}: {sentence}" for sentence in ([placed.error] if placed.error else []) + found]
    wrong += [f"left in the spool: {path.name}" for path in sorted(pbx.captures.glob("*"))]
    return wrong


async def demonstrate(home: Path, *, once: bool, release: str) -> int:
    recorder = Recorder(home / "recorder")
    pbx = PbxServer(release=release, agi=recorder.agi, progress=_progress())
    console.print("[bold]1[/bold] a PBX in a container (built at the first time, about a minute)")
    async with pbx, recorder:
        console.print(f"[bold]2[/bold] the daemon beside it, catalogue in SQLite, status at {_url(recorder)}/status")
        recorder.configure(pbx)
        await recorder.start()
        console.print(f"[bold]3[/bold] {len(DEMONSTRATION)} calls, each party speaking its own tone")
        board = Board([Placed(story) for story in DEMONSTRATION])
        done = asyncio.Event()
        watching = asyncio.create_task(watch(board, recorder, done))
        await place_all(board, pbx, recorder)
        board.take(await recorder.calls(), None)
        done.set()
        await watching
        if not console.is_terminal:
            _tell(board)
        wrong = await report(board, recorder, pbx)
        password = await asyncio.to_thread(enter_supervisor, recorder)
        if once:
            wrong += await look_in(recorder, password)
        else:
            await serve_until_told(recorder, home, password)
    return 1 if wrong else 0


async def report(board: Board, recorder: Recorder, pbx: PbxServer) -> list[str]:
    """The catalogue, the files and the books, as the commands print them; then the proof."""
    for words in (("calls",), ("recordings",), ("verify",)):
        console.print(f"\n[bold]recorder {' '.join(words)}[/bold]")
        sys.stdout.flush()
        code = recorder.show(*words)
        if code != 0:
            board.placed[0].error = board.placed[0].error or f"recorder {words[0]}: exit {code}"
    wrong = await judge_all(board, recorder, pbx)
    console.print()
    for sentence in wrong:
        console.print(f"[red]wrong:[/red] {sentence}")
    if not wrong:
        console.print(
            f"[green]{len(board.placed)} calls ended as they should:[/green] the tones are there from the bridge on,"
            " each on its own channel; nothing from before consent, nothing from before the override key, and no file"
            " at all of who refused, stayed silent, or called in person."
        )
    return wrong


def enter_supervisor(recorder: Recorder) -> str:
    """Enter somebody who may find and hear the calls, as an administrator does; the password for their first time."""
    recorder.command("user", "add", SUPERVISOR)
    recorder.command("user", "grant", SUPERVISOR, "supervisor", "--every-line")
    return recorder.command("user", "password", SUPERVISOR).stdout.strip()


async def look_in(recorder: Recorder, password: str) -> list[str]:
    """Sign in and open the page of calls as the supervisor would; what is wrong with what is seen, a line each."""
    async with httpx2.AsyncClient(base_url=_url(recorder), follow_redirects=True) as browser:
        page = await browser.post("/sign-in", data={"name": SUPERVISOR, "password": password})
        stamp = re.search(r'name="stamp" value="([0-9a-f]{64})"', page.text)
        if not page.url.path.endswith("/password") or stamp is None:
            return ["the supervisor signed in, and was not asked to change the password"]
        own = secrets.token_urlsafe(12)
        given = {"stamp": stamp[1], "old": password, "new": own, "again": own}
        await browser.post("/password", data=given)
        page = await browser.get("/calls")
    shown = len(re.findall(r'href="/calls/[0-9a-f-]{36}"', page.text))
    expected = len(await recorder.calls())
    console.print(f"[bold]a supervisor signed in[/bold] and found {shown} calls at {_url(recorder)}/calls")
    return [] if shown == expected else [f"a supervisor sees {shown} calls of {expected}"]


async def serve_until_told(recorder: Recorder, home: Path, password: str) -> None:
    """Keep PBX and daemon up until Ctrl-C."""
    command = f"{Path(sys.executable)} -m recorder --config {recorder.config}"
    console.print(f"\n[bold]4[/bold] open [bold]{_url(recorder)}/calls[/bold] and sign in", highlight=False)
    console.print(f"    name      {SUPERVISOR}\n    password  {password}", highlight=False, markup=False)
    console.print(
        "    You are asked to change it first, then find these calls, hear them and say why.", highlight=False
    )
    console.print(f"\nstill serving: {_url(recorder)}/status (also /readyz, /metrics); recordings under {home}")
    console.print(f"look around:   {command} calls show ID --why", highlight=False, soft_wrap=True)
    console.print("Ctrl-C ends it and removes everything.")
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()


def _url(recorder: Recorder) -> str:
    return f"http://127.0.0.1:{recorder.http_port}"


def _progress() -> Callable[[str], None]:
    return lambda line: console.print(f"    [dim]{line}[/dim]", highlight=False, markup=True)


def main() -> int:
    words = argparse.ArgumentParser(prog="./dev demo", description=__doc__)
    words.add_argument("--once", action="store_true", help="stop by itself; exit 1 unless all ended as it should")
    words.add_argument("--asterisk", default="22", choices=["16", "22"], help="the release of Asterisk")
    given = words.parse_args()
    os.chdir(REPOSITORY)
    with tempfile.TemporaryDirectory(prefix="recorder-demo-") as home:
        try:
            return asyncio.run(demonstrate(Path(home), once=given.once, release=given.asterisk))
        except KeyboardInterrupt:
            return 130


if __name__ == "__main__":
    sys.exit(main())
