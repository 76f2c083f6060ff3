"""Which tones a file holds for how long. Reads the bytes by itself: no header need be right."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.faults.judge import Sound
from tests.faults.kinds import ALL
from tests.pbx import tones

HEADER = 44
WINDOW = 0.02
LEVEL = 50
"""Of 32767: a tone far below speech still counts."""


def staged(caller: Path | None, agent: Path | None) -> Sound:
    """The two directions as Asterisk wrote them."""
    sides = [_mono(path) for path in (caller, agent)]
    found = {(side, hz): length for side, samples in enumerate(sides) for hz, length in _tones(samples).items()}
    return Sound(seconds=max(len(samples) for samples in sides) / tones.RATE, tones=found)


def settled(path: Path) -> Sound:
    """A stereo WAV that the recorder made."""
    sound = tones.read(path)
    found = {
        (side, hz): length
        for side in range(sound.channels)
        for hz, length in _tones(np.ascontiguousarray(sound.samples[:, side])).items()
    }
    return Sound(seconds=sound.seconds, tones=found)


def _mono(path: Path | None) -> tones.Samples:
    content = path.read_bytes()[HEADER:] if path is not None else b""
    return np.frombuffer(content[: len(content) // 2 * 2], dtype="<i2").astype(np.int16)


def _tones(samples: tones.Samples) -> dict[int, float]:
    found = {hz: tones.seconds_with(samples, tones.RATE, hz, window=WINDOW, level=LEVEL) for hz in ALL}
    return {hz: length for hz, length in found.items() if length > 0}
