"""Breakpoints and errors of the disk for the daemon under test, and copies of what Asterisk wrote; the product knows
nothing of them.

Found by the interpreter through PYTHONPATH. FAULT_STEP names a step of "intention, act, result", as in faults.py: the
process kills itself the first time it comes there, FAULT_AFTER seconds after its start. FAULT_DISK names a file; while
that holds "fsync" or "rename", so many of these of the store's fail as on a disk that is going.
"""

from __future__ import annotations

import errno
import functools
import inspect
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.as_written import keep_what_asterisk_wrote

BORN = time.monotonic()


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _watched(work: Callable[..., Any], moment: str, after: float, fits: Callable[..., bool]) -> Callable[..., Any]:
    """`work`, which ends the process before or after it has been done."""

    def here(when: str, *given: Any) -> None:
        if when == moment and time.monotonic() - BORN > after and fits(*given):
            _die()

    if inspect.iscoroutinefunction(work):

        @functools.wraps(work)
        async def waits(*given: Any, **named: Any) -> Any:
            here("before", *given)
            found = await work(*given, **named)
            here("after", *given)
            return found

        return waits

    @functools.wraps(work)
    def does(*given: Any, **named: Any) -> Any:
        here("before", *given)
        found = work(*given, **named)
        here("after", *given)
        return found

    return does


def break_at(step: str, after: float) -> None:
    """`step` is "before" or "after", what is done, and of a write the name of the event that it writes."""
    from recorder.capture import CaptureDesk
    from recorder.catalogue import Catalogue
    from recorder.storage import Spool, Storage

    moment, what, *names = step.split()
    owner, method = {
        "write": (Catalogue, "write_steps"),
        "bookmark": (Catalogue, "write_bookmark"),
        "arm": (CaptureDesk, "arm"),
        "stop": (CaptureDesk, "stop"),
        "quiet": (CaptureDesk, "quiet"),
        "settle": (Storage, "settle"),
        "put": (Storage, "_put"),
        "erase": (Storage, "erase"),
        "discard": (Spool, "discard"),
    }[what]

    def fits(*given: Any) -> bool:
        return not names or any(row.name in names for _, row in given[2])

    setattr(owner, method, _watched(getattr(owner, method), moment, after, fits))


def spoil(told: Path) -> None:
    """Let the store's own fsync or rename fail while the file says so."""

    def fails(name: str, path: str) -> None:
        if told.exists() and told.read_text().strip() == name:
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)

    fsync, rename = os.fsync, Path.rename

    def broken_fsync(descriptor: int) -> None:
        fails("fsync", f"descriptor {descriptor}")
        fsync(descriptor)

    def broken_rename(self: Path, target: Path) -> Path:
        fails("rename", str(self))
        return rename(self, target)

    os.fsync = broken_fsync  # type: ignore[assignment]
    Path.rename = broken_rename  # type: ignore[method-assign,assignment]


keep_what_asterisk_wrote()
if os.environ.get("FAULT_STEP"):
    break_at(os.environ["FAULT_STEP"], float(os.environ.get("FAULT_AFTER", "2")))
if os.environ.get("FAULT_DISK"):
    spoil(Path(os.environ["FAULT_DISK"]))
