"""Exact zeros of both directions, found block by block as they are found in one piece."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.storage.zeros import ZeroFinder, Zeros

RATE = 10


def found(frames: list[int], *, blocks: list[int], silent: list[tuple[float, float]], shortest: float) -> Zeros:
    finder, whole = ZeroFinder(RATE, silent, shortest), np.array(frames, np.int32)
    at = 0
    for length in [*blocks, len(frames)]:
        finder.feed(whole[at : at + length])
        at += length
    return finder.finish()


def slowly(frames: list[int], shortest: float) -> list[tuple[float, float]]:
    """The same, one frame after the other."""
    runs, since = [], None
    for at, frame in enumerate([*frames, 1]):
        if frame == 0 and since is None:
            since = at
        elif frame and since is not None:
            if at - since >= max(1, round(shortest * RATE)):
                runs.append((since / RATE, at / RATE))
            since = None
    return runs


FRAMES = st.lists(st.sampled_from([0, 0, 0, 1, -5, 1 << 16]), max_size=80)
BLOCKS = st.lists(st.integers(0, 25), max_size=6)


@given(frames=FRAMES, blocks=BLOCKS, shortest=st.sampled_from([0.0, 0.2, 0.5, 2.0]))
def test_runs_are_found_whatever_the_blocks(frames: list[int], blocks: list[int], shortest: float) -> None:
    assert list(found(frames, blocks=blocks, silent=[], shortest=shortest).runs) == slowly(frames, shortest)


@given(frames=FRAMES, blocks=BLOCKS, begin=st.integers(0, 90), length=st.integers(0, 90))
def test_sound_where_silence_should_be_is_found_from_its_first_to_its_last_frame(
    frames: list[int], blocks: list[int], begin: int, length: int
) -> None:
    inside = [at for at, frame in enumerate(frames) if frame and begin <= at < begin + length]
    expected = ((inside[0] / RATE, (inside[-1] + 1) / RATE),) if inside else ()
    silent = [(begin / RATE, (begin + length) / RATE)]
    assert found(frames, blocks=blocks, silent=silent, shortest=1).broken == expected


def test_a_silence_without_an_end_reaches_to_the_files() -> None:
    assert found([1, 0, 0, 3, 0], blocks=[2], silent=[(0.1, float("inf"))], shortest=9).broken == ((0.3, 0.4),)


@pytest.mark.parametrize("frames", [[], [0] * 30])
def test_nothing_and_silence_alone(frames: list[int]) -> None:
    assert found(frames, blocks=[7], silent=[], shortest=1).runs == (((0.0, 3.0),) if frames else ())
