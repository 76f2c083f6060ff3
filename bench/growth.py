"""Whether something grows: pure, so that what a soak says can be tested.

The invariant: no single sample decides, high or low.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, pairwise
from statistics import median

WINDOWS = 10


def medians(values: Sequence[float], windows: int = WINDOWS) -> list[float]:
    """The median of each of so many successive windows of nearly the same length."""
    if len(values) < windows:
        raise ValueError(f"{len(values)} samples are too few for {windows} windows")
    edges = [round(number * len(values) / windows) for number in range(windows + 1)]
    return [median(values[start:end]) for start, end in pairwise(edges)]


def growth(values: Sequence[float], windows: int = WINDOWS) -> float:
    """By how much of its beginning a series grew until its end; 0.05 is five per cent. Below 0 it shrank.

    A straight line through the medians of the windows, its slope the median of all slopes between two of them (Theil
    and Sen): nearly a third of the windows may be anything. A series that is 0 throughout did not grow.
    """
    level = medians(values, windows)
    slope = median((level[j] - level[i]) / (j - i) for i, j in combinations(range(windows), 2))
    # A median stands for the middle of its window: the line begins half a window earlier.
    first = median(value - slope * (number + 0.5) for number, value in enumerate(level))
    if first <= 0:
        return 0.0 if slope <= 0 else float("inf")
    return slope * windows / first
