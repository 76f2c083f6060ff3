"""Capture comes first: how work that can wait steps back behind it.

Owns the figures. Must not decide what can wait: who starts a thread or a program for such work says so here.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import threading
from contextlib import suppress
from typing import Final

import structlog

log = structlog.get_logger(__name__)

STEP_BACK: Final = 5
"""How much nicer than the rest of us. A third of the processor beside a busy equal, and no more: a thread that is put
further back keeps Python's interpreter lock while it waits for its turn, and with it every call (decision 0018).
The kernel derives the priority on disk from it, where nobody has set one."""

STEP_FAR_BACK: Final = 10
"""For a program of its own, whose lock nobody waits for: a tenth of the processor beside a busy other, in which the
catalogue still answers it in time."""

RESTS: Final = 2
"""How long work that can wait rests, for as long as it worked: a third of one processor, also where nobody else of its
control group wants the rest. The kernel weighs groups by what the unit says (CPUWeight), and not by who is in them."""
WORKS_FOR: Final = 0.03  # seconds at a time
PACE_BEGINS: Final = 3.0
"""Seconds after which a program counts as one that works for long; most of them have ended by then."""
RESTS_AT_MOST: Final = 0.1  # seconds, of a thread's work, which may have waited for a disk
PR_SET_PDEATHSIG: Final = 1  # sys/prctl.h


def step_back(by: int = STEP_BACK) -> None:
    """Let the calling thread yield to everything else of ours and of the PBX's; for good, as Linux has it."""
    thread = threading.get_native_id()
    try:
        os.setpriority(os.PRIO_PROCESS, thread, min(19, os.getpriority(os.PRIO_PROCESS, thread) + by))
    except OSError as error:  # a stricter sandbox than our own unit; the work is done all the same
        log.warning("priority_not_lowered", why=str(error))


async def keep_pace(program: asyncio.subprocess.Process, begins: float = PACE_BEGINS) -> None:
    """Let a program of its own work in its third of the time, until it has ended; cancelled, it goes on.

    From outside: the threads in which it works need not know. Only from `begins` seconds on.
    """
    await asyncio.sleep(begins)
    while program.returncode is None:
        await asyncio.sleep(WORKS_FOR)
        try:
            _signal(program, signal.SIGSTOP)
            await asyncio.sleep(RESTS * WORKS_FOR)
        finally:
            _signal(program, signal.SIGCONT)


def _signal(program: asyncio.subprocess.Process, sign: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        program.send_signal(sign)


def end_with_parent() -> None:
    """Have the kernel end this program with whoever began it, also where it stands still just then."""
    with suppress(OSError, AttributeError):  # another system; the program's own limit ends it
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL))
