"""Capture comes first: how work that can wait steps back behind it.

Owns the figures. Must not decide what can wait: who starts a thread or a program for such work says so here.
"""

from __future__ import annotations

import atexit
import os
import signal
import threading
import time
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
WORKS_FOR: Final = 0.01  # seconds at a time


def step_back(by: int = STEP_BACK) -> None:
    """Let the calling thread yield to everything else of ours and of the PBX's; for good, as Linux has it."""
    thread = threading.get_native_id()
    try:
        os.setpriority(os.PRIO_PROCESS, thread, min(19, os.getpriority(os.PRIO_PROCESS, thread) + by))
    except OSError as error:  # a stricter sandbox than our own unit; the work is done all the same
        log.warning("priority_not_lowered", why=str(error))


def rest_between() -> None:
    """Let this program, which is one of its own, take at most its third of one processor, for good.

    By a signal after each stretch of work: what works need not know. Only in the main thread.
    """
    signal.signal(signal.SIGPROF, lambda *_: time.sleep(RESTS * WORKS_FOR))
    signal.setitimer(signal.ITIMER_PROF, WORKS_FOR, WORKS_FOR)
    atexit.register(signal.setitimer, signal.ITIMER_PROF, 0)  # once Python has let go of it the signal would kill
