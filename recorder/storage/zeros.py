"""Where a stereo recording is exactly zero in both directions, and where it is not although it should be.

Pure, over samples as they are read, block by block. Must not open a file or judge what it finds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recorder.storage.join import Span

Frames = npt.NDArray[np.int32]
"""One number a frame: both directions' 16 bits beside each other, 0 only where both are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Zeros:
    """In seconds from the first sample. `runs` are exact zeros of both directions, at least as long as was asked for.

    `broken` are the stretches that should have been silent and hold something, from its first to its last sample.
    """

    runs: tuple[Span, ...] = ()
    broken: tuple[Span, ...] = ()


class ZeroFinder:
    """Feed it every frame in order, then `finish`. `silent` are the stretches in which every frame should be zero."""

    def __init__(self, rate: int, silent: Sequence[Span], shortest: float) -> None:
        self._rate = rate
        self._shortest = round(shortest * rate)
        self._silent = [(math.ceil(max(0.0, begin) * rate), _frame(end, rate)) for begin, end in silent]
        self._broken: dict[int, tuple[int, int]] = {}
        self._runs: list[tuple[int, int]] = []
        self._at = 0
        self._since = 0  # where the zeros began that reach to here; `_at` where there are none

    def feed(self, frames: Frames) -> None:
        self._look_inside(frames)
        sounding = np.flatnonzero(frames)
        if len(sounding):
            first, last = self._at + int(sounding[0]), self._at + int(sounding[-1])
            self._add(self._since, first)
            gaps = np.flatnonzero(np.diff(sounding) > self._shortest)
            for gap in gaps:
                self._add(self._at + int(sounding[gap]) + 1, self._at + int(sounding[gap + 1]))
            self._since = last + 1
        self._at += len(frames)

    def finish(self) -> Zeros:
        self._add(self._since, self._at)
        return Zeros(runs=self._spans(self._runs), broken=self._spans(sorted(self._broken.values())))

    def _look_inside(self, frames: Frames) -> None:
        for number, (begin, end) in enumerate(self._silent):
            inside = frames[max(0, begin - self._at) : max(0, end - self._at)]
            sounding = np.flatnonzero(inside)
            if len(sounding):
                base = self._at + max(0, begin - self._at)
                first, last = base + int(sounding[0]), base + int(sounding[-1]) + 1
                self._broken[number] = (self._broken.get(number, (first, last))[0], last)

    def _add(self, begin: int, end: int) -> None:
        if end - begin >= max(self._shortest, 1):
            self._runs.append((begin, end))

    def _spans(self, found: Sequence[tuple[int, int]]) -> tuple[Span, ...]:
        return tuple((begin / self._rate, end / self._rate) for begin, end in found)


def _frame(seconds: float, rate: int) -> int:
    return 1 << 62 if math.isinf(seconds) else math.floor(max(0.0, seconds) * rate)
