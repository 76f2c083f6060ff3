"""Capture comes first: how work that can wait steps back behind it.

Owns the one figure. Must not decide what can wait: who starts a thread or a program for such work says so here.
"""

from __future__ import annotations

import os
import threading
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


def step_back(by: int = STEP_BACK) -> None:
    """Let the calling thread yield to everything else of ours and of the PBX's; for good, as Linux has it."""
    thread = threading.get_native_id()
    try:
        os.setpriority(os.PRIO_PROCESS, thread, min(19, os.getpriority(os.PRIO_PROCESS, thread) + by))
    except OSError as error:  # a stricter sandbox than our own unit; the work is done all the same
        log.warning("priority_not_lowered", why=str(error))
