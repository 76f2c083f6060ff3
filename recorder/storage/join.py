"""Two mono WAVs in, one stereo WAV out: the caller left, the agent right.

Owns the join itself: block by block, in memory that does not grow with the recording. Must not choose names or put
anything in its final place. Invariant: sample n of the result is sample n of each direction, or exact zero where that
direction has ended or the time lies outside the spans to keep.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from recorder.storage.errors import RecordingTooLong, StagedFileDamaged, StagedFilesEmpty
from recorder.storage.folders import give
from recorder.storage.header import SAMPLE_BYTES, Layout, WavFile, build_header, opened, read_layout

Span = tuple[float, float]
"""A part of a recording, from and to, in seconds from its first sample."""

BLOCK_SAMPLES = 80_000
"""Ten seconds at 8 kHz: long enough that the cost is the samples' and not the calls', and 320 kB of stereo."""

_Wav = npt.NDArray[np.int16]
_LITTLE_ENDIAN = np.dtype("<i2")


@dataclass(slots=True, kw_only=True)
class Leg:
    """One direction, open and read from its first sample on."""

    path: Path
    layout: Layout
    _file: WavFile
    _left: int

    @classmethod
    def opened(cls, path: Path, stack: ExitStack) -> Leg:
        """Open a staged file until `stack` closes; its layout is what is on disk at this moment."""
        file = stack.enter_context(opened(path))
        layout = read_layout(file, path)
        if layout.channels != 1:
            raise StagedFileDamaged(path, f"{layout.channels} channels where one direction was expected")
        file.seek(layout.data_at)
        return cls(path=path, layout=layout, _file=file, _left=layout.samples)

    def read_into(self, column: _Wav) -> None:
        """Fill `column` with the next samples, and with zeros from this direction's end on."""
        count = min(len(column), self._left)
        raw = self._file.read(count * SAMPLE_BYTES)
        if len(raw) < count * SAMPLE_BYTES:
            raise StagedFileDamaged(self.path, "it became shorter while it was read")
        self._left -= count
        column[:count] = np.frombuffer(raw, _LITTLE_ENDIAN)
        column[count:] = 0


def check_pair(caller: Leg, agent: Leg) -> None:
    """Raise where the two directions cannot become one recording."""
    if caller.layout.rate != agent.layout.rate:
        rates = f"{agent.layout.rate} Hz where the other direction has {caller.layout.rate} Hz"
        raise StagedFileDamaged(agent.path, rates)
    if not caller.layout.samples and not agent.layout.samples:
        raise StagedFilesEmpty(caller.path, "neither direction holds a sample")


@dataclass(frozen=True, slots=True, kw_only=True)
class Edges:
    """What becomes silence at the ends, in seconds: the agent's direction until `opening`, both in the last `ending`.

    The end is reckoned from the last sample: a file runs behind the clock by every frame that the network lost.
    """

    opening: float = 0.0
    ending: float = 0.0

    def __post_init__(self) -> None:
        if not all(math.isfinite(seconds) and seconds >= 0 for seconds in (self.opening, self.ending)):
            raise ValueError(f"{self}: no such time")


WHOLE = Edges()


def write_joined(
    path: Path, caller: Leg, agent: Leg, spans: Sequence[Span] | None, edges: Edges = WHOLE, *, root: Path
) -> str:
    """Write the joined WAV to the empty file `path` of the store at `root`, sync it, and return its SHA-256."""
    sha256 = hashlib.sha256()
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    with os.fdopen(descriptor, "wb") as file:
        give(descriptor, root)
        for part in _parts(path, caller, agent, spans, edges):
            sha256.update(part)
            file.write(part)
        file.flush()
        os.fsync(file.fileno())
    return sha256.hexdigest()


def _parts(path: Path, caller: Leg, agent: Leg, spans: Sequence[Span] | None, edges: Edges) -> Iterator[memoryview]:
    """Yield the header, which needs no second visit as the length is known, and the audio block by block."""
    rate, samples = caller.layout.rate, max(caller.layout.samples, agent.layout.samples)
    try:
        header = build_header(rate=rate, channels=2, samples=samples)
    except ValueError as error:
        raise RecordingTooLong(path, str(error)) from error
    yield memoryview(header)
    kept = None if spans is None else [_kept_samples(span, rate) for span in spans]
    opened, end = math.ceil(edges.opening * rate), max(0, samples - math.ceil(edges.ending * rate))
    block = np.empty((BLOCK_SAMPLES, 2), _LITTLE_ENDIAN)
    for at in range(0, samples, BLOCK_SAMPLES):
        part = block[: samples - at]
        caller.read_into(part[:, 0])
        agent.read_into(part[:, 1])
        if kept is not None:
            _silence_outside(part, at, kept)
        part[: max(0, opened - at), 1] = 0
        part[max(0, end - at) :] = 0
        yield part.data.cast("B")


def _kept_samples(span: Span, rate: int) -> tuple[int, int]:
    """Return first and last + 1 of the samples that lie wholly inside; ValueError for a span that is none."""
    start, end = span
    if not (math.isfinite(start) and math.isfinite(end) and start <= end):
        raise ValueError(f"span {span}: two finite times in order expected")
    return max(0, math.ceil(start * rate)), max(0, math.floor(end * rate))


def _silence_outside(part: _Wav, at: int, kept: Sequence[tuple[int, int]]) -> None:
    keep = np.zeros(len(part), np.bool_)
    for first, end in kept:
        keep[max(0, first - at) : max(0, end - at)] = True
    part[~keep] = 0
