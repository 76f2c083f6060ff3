"""What a recording sounds like, in numbers: samples in, measures and findings out.

Owns the analysis of audio and its thresholds. Must not open anything: blocks are handed in, and what is known about the
file they came from is handed in as `FileState`. Invariant: the measures do not depend on how the samples were cut into
blocks, and `assess` is a pure function of its arguments.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from recorder.waveform import (
    BREATH_MS,
    PEAKS_MOST,
    SILENCE_LEAST_MS,
    TALK_OVER_LEAST_MS,
    Stretch,
    Waveform,
    longest,
)

Samples = npt.NDArray[np.int16]
Flags = npt.NDArray[np.bool_]

FULL_SCALE = 32768.0
FLOOR_DBFS = -100.0
"""What digital silence is reported as, instead of minus infinity: below the -90.3 dBFS of a single 16-bit step."""

FRAME_SECONDS = 0.02
"""Telephony's packet time, and the grain of the silence map."""
FRAME_MS = 20
FRAMES_A_PEAK = 5
"""Waveform points are 100 ms apart: ten a second fill a screen from a minute of talk and stay 72 kB an hour."""

SILENT_DBFS = -50.0
"""A frame below this is a pause: G.711 speech lies around -20 to -30 dBFS, line and comfort noise below -55."""
DEAD_DBFS = -66.0
"""A frame below this came from no microphone: G.711 codecs idle at steps of at most 8, which is -72 dBFS."""
CLIP_LEVEL = 32124
"""The largest sample mu-law can carry (A-law: 32256); a G.711 leg never reaches 32767 however hard it clips."""

SPOKEN_SECONDS = 0.2
"""A leg with less than this above a threshold is taken not to pass it: a click or a tone's edge is shorter."""
CLIPPED_SHARE = 0.001
"""Eight clipped samples a second at 8 kHz: about where a listener begins to hear it."""
DC_SHARE = 0.01
"""A mean beyond 1 % of full scale is a fault of hardware; codecs and speech average to well under 0.1 %."""
LEGS_UNEQUAL_SECONDS = 0.1
"""Asterisk writes both directions frame by frame and lets them drift 100 ms at most (audiohook.h, sync tolerance)."""
BRIDGE_TOLERANCE_SECONDS = 0.5
"""Asterisk flushes at most 500 ms of queued audio where storage stalls (audiohook.c); less is not worth a finding."""


class Finding(StrEnum):
    """What a listener or a reviewer should be told about a recording. A closed list."""

    SILENT = "silent"  # nobody is heard
    ONE_LEGGED = "one_legged"  # one leg is dead while the other speaks
    CLIPPED = "clipped"
    DC_OFFSET = "dc_offset"
    SHORTER_THAN_BRIDGE = "shorter_than_bridge"
    LONGER_THAN_BRIDGE = "longer_than_bridge"
    HEADER_REPAIRED = "header_repaired"  # Asterisk did not close the file: up to 2.05 s of the end was never written
    TAIL_LOST = "tail_lost"  # the header promised more than the file held, or it ended inside a sample
    LEGS_UNEQUAL = "legs_unequal"  # one direction was padded to the other's length


@dataclass(frozen=True, slots=True, kw_only=True)
class FileState:
    """What was found about the staged files when they were joined."""

    header_repaired: bool = False
    tail_lost: bool = False
    legs_unequal_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LegMeasures:
    """One leg's figures. Levels are dBFS re 32768 (a full-scale sine is -3), shares are 0 to 1 of all samples.

    `silence` holds one bit for each 20 ms frame (1 = silent, first frame in the highest bit, as numpy.packbits);
    `waveform` holds two int8 for each 100 ms (lowest and highest sample / 256).
    """

    rms_dbfs: float
    peak: int  # 0 to 32768
    clipped_share: float
    dc_share: float  # signed mean / 32768
    sounding_seconds: float  # above DEAD_DBFS
    speaking_seconds: float  # above SILENT_DBFS
    silence_share: float
    longest_silence_seconds: float
    silence: bytes
    waveform: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """A whole recording's figures; `dead_air` is silence on both legs at once."""

    rate: int
    samples: int  # a leg
    caller: LegMeasures
    agent: LegMeasures
    dead_air_share: float
    longest_dead_air_seconds: float

    @property
    def seconds(self) -> float:
        return self.samples / self.rate


class Analyser:
    """Measures a stereo recording block by block, in memory that grows by half a kilobyte for each second of audio.

    `rate` is samples a second and must be a multiple of 50, as all of Asterisk's signed-linear rates are.
    Raises ValueError for any other rate.
    """

    def __init__(self, rate: int) -> None:
        if rate <= 0 or rate % 50:
            raise ValueError(f"rate {rate}: not a multiple of 50, so 20 ms is not a whole number of samples")
        self._rate = rate
        self._legs = (_Leg(rate // 50), _Leg(rate // 50))
        self._carry: Samples = np.empty((2, 0), np.int16)
        self._samples = 0

    def feed(self, block: Samples) -> None:
        """Take the next samples, shape (n, 2): caller left, agent right. Any n, best around ten seconds."""
        if block.ndim != 2 or block.shape[1] != 2 or block.dtype != np.int16:
            raise ValueError(f"block of {block.dtype} {block.shape}: int16 (n, 2) expected")
        self._samples += len(block)
        # Planar first: reducing over an inner axis of two costs numpy more than twenty times as much.
        planar = np.ascontiguousarray(block.T)
        if self._carry.shape[1]:
            planar = np.concatenate((self._carry, planar), axis=1)
        whole = planar.shape[1] - planar.shape[1] % (self._rate // 50 * FRAMES_A_PEAK)
        self._carry = planar[:, whole:].copy()
        self._add(planar[:, :whole])

    def finish(self) -> Measures:
        """Return the measures of all that was fed; call it once, at the end.

        An unfinished last frame is measured as if silence followed, which changes no figure but its own level.
        """
        if self._carry.shape[1]:
            padding = -self._carry.shape[1] % (self._rate // 50)
            self._add(np.pad(self._carry, ((0, 0), (0, padding))))
        silences = [leg.silences() for leg in self._legs]
        dead_air = silences[0] & silences[1]
        caller, agent = (leg.measures(self._samples, silent) for leg, silent in zip(self._legs, silences, strict=True))
        return Measures(
            rate=self._rate,
            samples=self._samples,
            caller=caller,
            agent=agent,
            dead_air_share=_share(dead_air),
            longest_dead_air_seconds=_longest_run(dead_air) * FRAME_SECONDS,
        )

    def _add(self, planar: Samples) -> None:
        if planar.shape[1]:
            for leg, samples in zip(self._legs, planar, strict=True):
                leg.add(samples)


class _Leg:
    """Running sums of one leg. `frame` is samples in 20 ms."""

    def __init__(self, frame: int) -> None:
        self._frame = frame
        self._energy = 0.0
        self._sum = 0.0
        self._clipped = 0
        self._lowest = 0
        self._highest = 0
        self._powers: list[npt.NDArray[np.float32]] = []
        self._waveform: list[npt.NDArray[np.int8]] = []

    def add(self, samples: Samples) -> None:
        """Take whole 20 ms frames, and whole 100 ms except at the very end."""
        starts = np.arange(0, len(samples), self._frame)
        lows = np.minimum.reduceat(samples, starts)
        highs = np.maximum.reduceat(samples, starts)
        lowest, highest = int(lows.min()), int(highs.max())
        self._lowest, self._highest = min(self._lowest, lowest), max(self._highest, highest)
        if lowest <= -CLIP_LEVEL or highest >= CLIP_LEVEL:
            self._clipped += int(np.count_nonzero((samples <= -CLIP_LEVEL) | (samples >= CLIP_LEVEL)))
        self._waveform.append(_waveform(lows, highs))
        self._add_powers(samples.reshape(-1, self._frame).astype(np.float32))

    def _add_powers(self, frames: npt.NDArray[np.float32]) -> None:
        energies = np.einsum("ij,ij->i", frames, frames)
        sums = np.einsum("ij->i", frames)
        self._energy += float(energies.sum(dtype=np.float64))
        self._sum += float(sums.sum(dtype=np.float64))
        # Each frame's own mean is taken out, so that a leg with an offset still has pauses.
        self._powers.append(energies / self._frame - np.square(sums / self._frame))

    def silences(self) -> Flags:
        return self._frames_below(SILENT_DBFS)

    def measures(self, samples: int, silent: Flags) -> LegMeasures:
        count = max(samples, 1)
        return LegMeasures(
            rms_dbfs=_dbfs(math.sqrt(self._energy / count)),
            peak=max(self._highest, -self._lowest),
            clipped_share=self._clipped / count,
            dc_share=self._sum / count / FULL_SCALE,
            sounding_seconds=int(np.count_nonzero(~self._frames_below(DEAD_DBFS))) * FRAME_SECONDS,
            speaking_seconds=int(np.count_nonzero(~silent)) * FRAME_SECONDS,
            silence_share=_share(silent),
            longest_silence_seconds=_longest_run(silent) * FRAME_SECONDS,
            silence=np.packbits(silent).tobytes(),
            waveform=b"".join(points.tobytes() for points in self._waveform),
        )

    def _frames_below(self, dbfs: float) -> Flags:
        if not self._powers:
            return np.empty(0, np.bool_)
        limit = (FULL_SCALE * 10 ** (dbfs / 20)) ** 2
        return np.concatenate(self._powers) < limit


def assess(
    measures: Measures,
    *,
    bridged_seconds: float,
    file: FileState | None = None,
    tolerance_seconds: float = BRIDGE_TOLERANCE_SECONDS,
) -> tuple[Finding, ...]:
    """Return what is to be said of a recording, in the order of `Finding`.

    `bridged_seconds` is all the time its legs were in a permitted bridge, pauses and holds included.
    """
    found = _heard(measures) | file_findings(file or FileState())
    for leg in (measures.caller, measures.agent):
        if leg.clipped_share > CLIPPED_SHARE:
            found.add(Finding.CLIPPED)
        if abs(leg.dc_share) > DC_SHARE:
            found.add(Finding.DC_OFFSET)
    if measures.seconds < bridged_seconds - tolerance_seconds:
        found.add(Finding.SHORTER_THAN_BRIDGE)
    if measures.seconds > bridged_seconds + tolerance_seconds:
        found.add(Finding.LONGER_THAN_BRIDGE)
    return tuple(finding for finding in Finding if finding in found)


def _heard(measures: Measures) -> set[Finding]:
    caller, agent = measures.caller, measures.agent
    if max(caller.speaking_seconds, agent.speaking_seconds) < SPOKEN_SECONDS:
        return {Finding.SILENT}
    # Quiet is not dead: a listening party's line noise is sound, and only its absence speaks of a lost direction.
    if min(caller.sounding_seconds, agent.sounding_seconds) < SPOKEN_SECONDS:
        return {Finding.ONE_LEGGED}
    return set()


def file_findings(file: FileState) -> set[Finding]:
    said = {
        Finding.HEADER_REPAIRED: file.header_repaired,
        Finding.TAIL_LOST: file.tail_lost,
        Finding.LEGS_UNEQUAL: file.legs_unequal_seconds > LEGS_UNEQUAL_SECONDS,
    }
    return {finding for finding, is_so in said.items() if is_so}


def waveform_of(measures: Measures, peaks_most: int = PEAKS_MOST) -> Waveform:
    """What a player shows of a recording: no more peaks than that for each leg, however long it lasted.

    Silences and talk-overs are found in the silence maps, to a frame, and not in the peaks, which may be seconds wide.
    """
    frames = -(-measures.samples // (measures.rate // 50))
    caller, agent = (_flags(leg.silence, frames) for leg in (measures.caller, measures.agent))
    points = max(1, -(-len(measures.caller.waveform) // (2 * peaks_most)))
    return Waveform(
        window_ms=points * FRAMES_A_PEAK * FRAME_MS,
        caller=_peaks(measures.caller.waveform, points),
        agent=_peaks(measures.agent.waveform, points),
        silences=_stretches(caller & agent, SILENCE_LEAST_MS),
        talk_overs=_stretches(_speaks_on(caller) & _speaks_on(agent), TALK_OVER_LEAST_MS),
    )


def _peaks(waveform: bytes, points: int) -> bytes:
    """The loudest of each so many points: a byte each, 0 to 128."""
    extremes = np.frombuffer(waveform, np.int8).reshape(-1, 2).astype(np.int16)
    loudest = np.maximum(extremes[:, 1], -extremes[:, 0])
    return np.maximum.reduceat(loudest, np.arange(0, len(loudest), points)).astype(np.uint8).tobytes()


def _speaks_on(silent: Flags) -> Flags:
    """Where a leg speaks, its breaths between two words included."""
    speaking = ~silent
    for begin, end in _runs(silent):
        if begin > 0 and end < len(silent) and (end - begin) * FRAME_MS < BREATH_MS:
            speaking[begin:end] = True
    return speaking


def _stretches(flags: Flags, least_ms: int) -> tuple[Stretch, ...]:
    runs = _runs(flags) * FRAME_MS
    return longest([(int(begin), int(end)) for begin, end in runs if end - begin >= least_ms])


def _flags(packed: bytes, frames: int) -> Flags:
    return np.unpackbits(np.frombuffer(packed, np.uint8), count=frames).astype(np.bool_)


def _waveform(lows: Samples, highs: Samples) -> npt.NDArray[np.int8]:
    """Return the lowest and highest sample of each 100 ms, interleaved, from those of each 20 ms."""
    starts = np.arange(0, len(lows), FRAMES_A_PEAK)
    points = np.empty((len(starts), 2), np.int8)
    points[:, 0] = np.minimum.reduceat(lows, starts) >> 8
    points[:, 1] = np.maximum.reduceat(highs, starts) >> 8
    return points


def _dbfs(rms: float) -> float:
    return max(FLOOR_DBFS, 20 * math.log10(rms / FULL_SCALE)) if rms > 0 else FLOOR_DBFS


def _share(flags: Flags) -> float:
    return float(flags.mean()) if len(flags) else 0.0


def _longest_run(flags: Flags) -> int:
    """Return the length of the longest run of True."""
    runs = _runs(flags)
    return int((runs[:, 1] - runs[:, 0]).max(initial=0))


def _runs(flags: Flags) -> npt.NDArray[np.intp]:
    """Return where each run of True begins and ends, a row each."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False])).astype(np.int8)))
    return edges.reshape(-1, 2)
