"""The daemon's wall clock: what time it is, and the word that somebody has set it.

Must not correct anything: whoever keeps moments is told by how much they lie elsewhere now. The invariant: nobody reads
a time of the clock as it was set before they were told.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

SET_FROM: Final = timedelta(milliseconds=250)
"""By less than this between two readings a clock is slewed, and not set."""
READ_WITHIN: Final = 0.01
"""Seconds; two clocks that were read further apart than this are not compared: we stood still between them."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def ticks() -> float:
    """Seconds of a clock that nobody sets. It goes on while the machine is suspended, where the system has such one."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Clock:
    """Called, it says what time it is. `told` hears at what time, and by how much, it was found to have been set."""

    def __init__(
        self,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
        ticks: Callable[[], float] = ticks,
    ) -> None:
        self._wall = wall
        self._ticks = ticks
        self._apart: timedelta | None = None  # the wall clock from the one that nobody sets
        self.told: Callable[[datetime, timedelta], None] = _nobody

    def __call__(self) -> datetime:
        before = self._ticks()
        now = self._wall()
        if self._ticks() - before > READ_WITHIN or not _is_in_loop():
            return now  # the next reading compares
        apart, was = now - _EPOCH - timedelta(seconds=before), self._apart
        self._apart = apart
        if was is not None and abs(apart - was) >= SET_FROM:
            self.told(now, apart - was)
        return now


def _nobody(_at: datetime, _by: timedelta) -> None:
    return


def _is_in_loop() -> bool:
    """A thread has nobody to tell."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
