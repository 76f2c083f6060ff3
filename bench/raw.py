"""What Asterisk itself wrote: the staged files of every capture, as they were before the recorder overwrote any of it.

Reads a folder beside the spool, which the daemon under measurement fills (tests/as_written.py): the recorder
overwrites in the staged files what it will not keep, and takes them away once it has settled. A second name of the same
file would show its zeros as Asterisk's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.centre import MANY, Centre
from tests.pbx import tones

Samples = npt.NDArray[np.int16]


class Raw:
    """The copies, by recording and direction, of a centre that keeps them."""

    def __init__(self, on: Centre) -> None:
        self._folder = on.raw

    def leg(self, recording: Any, leg: str) -> Samples:
        """One direction's samples."""
        return tones.read(self.path(recording, leg)).samples[:, 0]

    def path(self, recording: Any, leg: str) -> Path:
        (found,) = self._folder.glob(f"{recording}-{leg}.*.wav")
        return found


async def recordings_by_leg(on: Centre) -> dict[str, list[Any]]:
    """The ids of the recordings of each caller's leg, oldest first."""
    found: dict[str, list[Any]] = {}
    for row in reversed(await on.recorder.settled(MANY)):
        found.setdefault(row.uniqueid, []).append(row.id)
    return found


def first_silence(samples: Samples, start: int, least: int) -> int | None:
    """The first of at least `least` exact zeros in a row from `start` on; None where there are none."""
    quiet = np.concatenate(([False], samples[max(0, start) :] == 0, [False])).astype(np.int8)
    edges = np.flatnonzero(np.diff(quiet)).reshape(-1, 2)
    long = edges[edges[:, 1] - edges[:, 0] >= least]
    return int(long[0, 0]) + max(0, start) if len(long) else None
