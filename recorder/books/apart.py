"""The books balanced in a program of its own, beside the daemon.

Reading them takes the processor for as long as there are calls, and a thread that does so holds Python's interpreter
lock against the thread that writes and against every caller (decision 0038). Must not judge: `verify` does. The
invariants: the program changes nothing, steps back behind everything else, and has nothing secret in its arguments; it
ends with whoever asked, or soon after.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from recorder import logs
from recorder.books.asterisk import Ledgers
from recorder.books.mismatch import Code, Mismatch
from recorder.books.walk import Books, verify
from recorder.catalogue import CatalogueAway, CatalogueError, open_catalogue
from recorder.chain import Head
from recorder.model import RecorderError
from recorder.priority import STEP_FAR_BACK, end_with_parent, keep_pace, step_back
from recorder.storage import Spool, Storage

PROGRAM: Final = "from recorder.books.apart import main; main()"
FIRST_NAMED: Final = 3
BALANCED_WITHIN: Final = timedelta(minutes=30)
"""Longer than the books of the busiest hours take on a machine that has no time for them."""
ENDED_WITHIN: Final = 5.0  # seconds


class NotBalanced(RecorderError):
    """The books could not be read to their end; the sentence says why."""

    code = "books_not_balanced"


@dataclass(frozen=True, slots=True, kw_only=True)
class Whose:
    """Which books: `catalogue` is their address."""

    node: str
    catalogue: str = field(repr=False)
    storage: Path
    spool: Path
    ledgers: Ledgers = field(default_factory=Ledgers)


HEADS: Final = ("head", "listening_head")


@dataclass(frozen=True, slots=True, kw_only=True)
class Balanced:
    """What does not fit, counted, and the first by their ids; never the words: a caller's own may stand in them."""

    found: Counter[Code] = field(default_factory=Counter)
    first: tuple[str, ...] = ()
    personal_calls: int | None = None
    head: Head | None = None
    listening_head: Head | None = None

    @classmethod
    def of(cls, books: Books) -> Balanced:
        return cls(
            found=Counter(item.code for item in books.mismatches),
            first=tuple(_named(item) for item in books.mismatches[:FIRST_NAMED]),
            personal_calls=books.personal_calls,
            head=books.head,
            listening_head=books.listening_head,
        )


def _named(item: Mismatch) -> str:
    return f"{item.code} {item.call or item.recording or (item.path.name if item.path else '')}".strip()


async def balance_apart(whose: Whose, since: datetime, now: datetime, within: timedelta = BALANCED_WITHIN) -> Balanced:
    """Balance the books of the calls started since `since`, the settled files' contents left alone.

    CatalogueAway where the catalogue does not answer, NotBalanced where anything else keeps them from being read.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-c",
            PROGRAM,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        raise NotBalanced(f"the program that reads them could not be started: {error.strerror or error}") from error
    try:
        async with asyncio.timeout(within.total_seconds()), asyncio.TaskGroup() as group:
            pace = group.create_task(keep_pace(process))
            out, err = await process.communicate(json.dumps(_question(whose, since, now)).encode())
            pace.cancel()
    except TimeoutError:
        raise NotBalanced(f"they were not read within {within.total_seconds() / 60:g} minutes") from None
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            with suppress(TimeoutError):  # what waits for a disk that does not answer is not waited for
                await asyncio.wait_for(process.wait(), ENDED_WITHIN)
    if process.returncode != 0:
        last = err.decode("utf-8", "replace").strip().splitlines()[-1:] or ["it says nothing"]
        raise NotBalanced(f"the program that reads them ended with {process.returncode}: {last[0]}")
    try:
        return _answer(json.loads(out))
    except (ValueError, KeyError, TypeError) as error:
        raise NotBalanced(f"the program that reads them said what cannot be understood: {error!r}") from error


# --------------------------------------------------------------------------- what goes there and comes back


def _question(whose: Whose, since: datetime, now: datetime) -> dict[str, Any]:
    ledgers = whose.ledgers
    return {
        "node": whose.node,
        "catalogue": whose.catalogue,
        "storage": str(whose.storage),
        "spool": str(whose.spool),
        "queue_log": str(ledgers.queue_log) if ledgers.queue_log else None,
        "cdr": str(ledgers.cdr) if ledgers.cdr else None,
        "queues": sorted(ledgers.queues),
        "since": since.isoformat(),
        "now": now.isoformat(),
    }


def _answer(told: dict[str, Any]) -> Balanced:
    if told["away"] is not None:
        raise CatalogueAway(told["away"])
    if told["trouble"] is not None:
        raise NotBalanced(told["trouble"])
    return Balanced(
        found=Counter({Code(code): count for code, count in told["found"].items()}),
        first=tuple(told["first"]),
        personal_calls=told["personal_calls"],
        **{name: Head(**told[name]) if told[name] else None for name in HEADS},
    )


# --------------------------------------------------------------------------- the program


async def _balance(asked: dict[str, Any]) -> Balanced:
    queue_log, cdr = (Path(asked[name]) if asked[name] else None for name in ("queue_log", "cdr"))
    catalogue = await open_catalogue(asked["catalogue"])
    try:
        books = await verify(
            catalogue,
            Storage(Path(asked["storage"]), Spool(Path(asked["spool"]))),
            node=asked["node"],
            now=datetime.fromisoformat(asked["now"]),
            ledgers=Ledgers(queue_log=queue_log, cdr=cdr, queues=frozenset(asked["queues"])),
            since=datetime.fromisoformat(asked["since"]),
            read_digests=False,
        )
    finally:
        await catalogue.close()
    return Balanced.of(books)


def main() -> None:
    """The question as JSON on stdin, the answer as JSON on stdout."""
    signal.alarm(int(BALANCED_WITHIN.total_seconds()) + 60)  # where nobody is left to end it
    logs.configure()  # on stderr: stdout is the answer's
    end_with_parent()
    step_back(STEP_FAR_BACK)
    told: dict[str, Any] = {"away": None, "trouble": None}
    try:
        balanced = asyncio.run(_balance(json.loads(sys.stdin.read())))
    except CatalogueError as error:
        told["away"] = str(error)
    except RecorderError as error:
        told["trouble"] = str(error)
    else:
        told |= {
            "found": balanced.found,
            "first": balanced.first,
            "personal_calls": balanced.personal_calls,
            **{name: asdict(head) if (head := getattr(balanced, name)) is not None else None for name in HEADS},
        }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
