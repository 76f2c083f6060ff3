"""What a party over a Local channel really hears: Asterisk writes it down at the party's own telephone.

The telephone is the other half of the Local channel, which no recording of ours touches. `hears` finds a prompt in what
was heard by correlation with the very file that should have been played.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from tests.pbx.calls import Calls

Sound = NDArray[np.float64]
CLEARLY, HARDLY = 0.8, 0.5


async def listen_in(calls: Calls, phone: str, name: str) -> Path:
    """From now on everything that arrives at the telephone `phone` is written to the file that this returns."""
    path = calls.pbx.base / "sounds" / f"heard-{name}.wav"
    await calls.admin.action("MixMonitor", {"Channel": phone, "File": "", "Options": f"r({path})"})
    return path


def read(path: Path) -> Sound:
    samples: Sound
    samples, rate = soundfile.read(path, dtype="float64", always_2d=True)
    assert rate == 8000
    return samples[:, 0]


def likeness(heard: Sound, said: Sound) -> float:
    """The best normalised correlation of `said` with a stretch of `heard`: 1 where all of it is there, else near 0."""
    if len(heard) < len(said):
        return 0.0
    size = 1 << (len(heard) + len(said)).bit_length()
    product = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(said, size)), size)
    product = product[: len(heard) - len(said) + 1]
    sums = np.concatenate(([0.0], np.cumsum(heard**2)))
    energy = sums[len(said) :] - sums[: len(sums) - len(said)]
    loud = energy > 0.05 * float(np.sum(said**2))
    if not loud.any():
        return 0.0
    return float(np.max(product[loud] / np.sqrt(energy[loud] * np.sum(said**2))))


def hears(path: Path, prompt: Path) -> float:
    """How like the prompt what was heard is: above CLEARLY it was played, whole; below HARDLY it was not."""
    return likeness(read(path), read(prompt))
