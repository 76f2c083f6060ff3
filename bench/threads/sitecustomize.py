"""Gives the kernel the names of Python's threads, so that /proc counts the CPU time of each under its name.

Python itself does so from 3.14 on. Found by the interpreter through PYTHONPATH; the program under measurement is as it
is shipped.
"""

from __future__ import annotations

import threading
from pathlib import Path

_run = threading.Thread.run


def _named(self: threading.Thread) -> None:
    # The kernel keeps 15 bytes. A name that cannot be set only makes a column of the report less telling.
    Path(f"/proc/self/task/{threading.get_native_id()}/comm").write_text(self.name[:15])
    _run(self)


threading.Thread.run = _named  # type: ignore[method-assign]
