"""What Asterisk itself wrote: the staged files of every capture, kept under a second name.

Owns a folder of hard links beside the spool. The recorder takes its own names away when it has settled, and what a
settled file holds was cut to what may be kept; here stands every sample that ever reached the disk.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.centre import MANY, Centre
from tests.pbx import tones

LOOK_EVERY = 0.05
Samples = npt.NDArray[np.int16]


class Raw:
    """The links, by recording and direction."""

    def __init__(self, spool: Path, folder: Path) -> None:
        self._spool, self._folder = spool, folder
        folder.mkdir()
        self._kept: set[str] = set()

    def keep(self) -> None:
        """Link what is new. A staged file lives for seconds; it is looked for twenty times in each."""
        for name in {entry.name for entry in os.scandir(self._spool)} - self._kept:
            with suppress(FileNotFoundError):  # settled this moment
                os.link(self._spool / name, self._folder / name)
                self._kept.add(name)

    def leg(self, recording: Any, leg: str) -> Samples:
        """One direction's samples; FileNotFoundError where it was never seen."""
        return tones.read(self.path(recording, leg)).samples[:, 0]

    def path(self, recording: Any, leg: str) -> Path:
        return self._folder / f"{recording}-{leg}.wav"


@asynccontextmanager
async def raw_files(on: Centre) -> AsyncIterator[Raw]:
    """Keep every staged file while this lasts."""
    raw = Raw(on.pbx.captures, on.pbx.base / "raw")

    async def look() -> None:
        while True:
            raw.keep()
            await asyncio.sleep(LOOK_EVERY)

    looking = asyncio.create_task(look())
    try:
        yield raw
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)


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
