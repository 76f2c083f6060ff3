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
FRAME, JUMPS = 160, 3  # samples; frames that may be lost or late in all


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
    """The best normalised correlation of `said` with a stretch of `heard`: 1 where all of it is there, else near 0.

    A busy machine drops or delays a frame of what it plays, and all after it stands 20 ms beside its place: where the
    stretch is broken like that, its parts are put together again, by at most JUMPS whole frames from the best place.
    """
    if len(heard) < len(said):
        return 0.0
    size = 1 << (len(heard) + len(said)).bit_length()
    product = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(said, size)), size)
    product = product[: len(heard) - len(said) + 1]
    sums = np.concatenate(([0.0], np.cumsum(heard**2)))
    energy = sums[len(said) :] - sums[: len(sums) - len(said)]
    loud = np.flatnonzero(energy > 0.05 * float(np.sum(said**2)))
    if not len(loud):
        return 0.0
    place = int(loud[np.argmax(product[loud] / np.sqrt(energy[loud]))])
    return _mended(heard, said, place)


def _mended(heard: Sound, said: Sound, place: int) -> float:
    """Frame by frame from `place` on, each as far beside its place as the one before, or further by whole frames."""
    frames = len(said) // FRAME
    shifts = range(-JUMPS, JUMPS + 1)
    padded = np.concatenate((np.zeros(JUMPS * FRAME), heard, np.zeros(JUMPS * FRAME)))
    words = said[: frames * FRAME].reshape(frames, FRAME)
    best = {(shift, 0): (0.0, 0.0) for shift in shifts}  # (shift, frames lost or late so far): product, energy
    for number, word in enumerate(words):
        reached: dict[tuple[int, int], tuple[float, float]] = {}
        for shift in shifts:
            at = place + (number + shift + JUMPS) * FRAME
            there = padded[at : at + FRAME]
            if len(there) < FRAME:
                continue
            product, energy = float(there @ word), float(there @ there)
            for (before, lost), (so_far, loud) in best.items():
                way = shift, lost + abs(shift - before)
                if way[1] <= JUMPS:
                    reached[way] = max(reached.get(way, (-1.0, 0.0)), (so_far + product, loud + energy))
        best = reached or best
    whole = float(np.sum(words**2))
    return max((product / np.sqrt(energy * whole) for product, energy in best.values() if energy > 0), default=0.0)


def hears(path: Path, prompt: Path) -> float:
    """How like the prompt what was heard is: above CLEARLY it was played, whole; below HARDLY it was not."""
    return likeness(read(path), read(prompt))
