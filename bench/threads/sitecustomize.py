"""Gives the kernel the names of Python's threads, so that /proc counts the CPU time of each under its name.

Python itself does so from 3.14 on. At SIGUSR1 it also writes down, in the file that BENCH_TOLD names, how many tasks
there are, and of what kind, and what Asterisk wrote is copied where somebody asked for it (tests/as_written.py). Found
by the interpreter through PYTHONPATH; the program under measurement is as it is shipped.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

from tests.as_written import keep_what_asterisk_wrote

_run = threading.Thread.run


def _named(self: threading.Thread) -> None:
    # The kernel keeps 15 bytes. A name that cannot be set only makes a column of the report less telling.
    Path(f"/proc/self/task/{threading.get_native_id()}/comm").write_text(self.name[:15])
    _run(self)


threading.Thread.run = _named  # type: ignore[method-assign]


_blocks_at_first = 0


def _kind(name: str, waits: object) -> str:
    """The first word of a task's name says what it does, the rest for which call; who has none is asked what it runs.

    Of a call also where it waits: the innermost of ours that it runs.
    """
    if name.startswith("Task-"):
        return getattr(waits, "__qualname__", "?")
    kind = name.split()[0]
    if kind != "call":
        return kind
    where = "?"
    while (code := getattr(waits, "cr_code", None)) is not None:
        where = waits.__qualname__ if "/recorder/" in code.co_filename else where  # type: ignore[attr-defined]
        waits = waits.cr_await  # type: ignore[attr-defined]
    return f"{kind}, in {where}"


def _tell(_number: int, _frame: object) -> None:
    """Write down what only the process itself can count: tasks, and blocks of Python's memory, since the first telling.

    Not the collector's own list: a tuple that another thread is just making is in it, and whoever holds that list while
    the tuple grows makes the other's `tuple()` end in a SystemError (https://github.com/python/cpython/issues/39117).
    """
    global _blocks_at_first
    import asyncio
    import json
    from collections import Counter

    blocks = sys.getallocatedblocks()
    _blocks_at_first = _blocks_at_first or blocks
    kinds = Counter(_kind(task.get_name(), task.get_coro()) for task in asyncio.all_tasks())
    told = {"tasks": kinds.total(), "kinds": kinds, "blocks": blocks - _blocks_at_first}
    place = Path(os.environ["BENCH_TOLD"])
    made = place.with_suffix(".new")
    made.write_text(json.dumps(told))
    made.replace(place)


keep_what_asterisk_wrote()
if "BENCH_TOLD" in os.environ:
    signal.signal(signal.SIGUSR1, _tell)
