"""What a player shows of a recording beside its sound: how loud it is where, and which stretches have a name.

Pure. Must not measure: recorder.quality does. Must not be shown to whoever has not opened a listening: a waveform is
audio. The invariant: every region lies inside the recording, and what the ledger tells of is never said a second time
of what is heard there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from recorder.model import SilenceCause, Silenced

Stretch = tuple[int, int]
"""From and to, in milliseconds from the recording's first sample."""

PEAKS_MOST: Final = 1000
"""A leg: two hours in steps of 7.2 s, as fine as a page is wide, in a kilobyte."""
STRETCHES_MOST: Final = 300
"""Of one kind, the longest: a list that nobody reads to its end helps nobody."""
SILENCE_LEAST_MS: Final = 2000
TALK_OVER_LEAST_MS: Final = 500
"""Shorter than this is a word of assent, and no talk-over."""
BREATH_MS: Final = 200
"""A gap shorter than this lies between two words of one who goes on speaking."""
NOT_KEPT_LEAST_MS: Final = 500
"""What is not kept at an end is often a frame or two, which nobody needs to be told of."""


class RegionKind(StrEnum):
    """What a player marks, in the order of a legend."""

    PAUSE = "pause"
    HOLD = "hold"
    NOT_KEPT = "not_kept"  # behind what is proved to have been permitted
    SILENCE = "silence"  # nobody speaks
    TALK_OVER = "talk_over"  # both speak


OF_CAUSE: Final = {SilenceCause.PAUSE: RegionKind.PAUSE, SilenceCause.HOLD: RegionKind.HOLD}


@dataclass(frozen=True, slots=True, kw_only=True)
class Waveform:
    """A leg has a byte for each `window_ms` from the first sample on: its loudest sample, 0 to 128 (full scale).

    Exact silence is 0, and line noise is not. `silences` and `talk_overs` are in order, and as heard: paused and held
    stretches are silences too.
    """

    window_ms: int
    caller: bytes
    agent: bytes
    silences: tuple[Stretch, ...] = ()
    talk_overs: tuple[Stretch, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A stretch of a recording with its name."""

    kind: RegionKind
    from_ms: int
    to_ms: int


def regions(
    waveform: Waveform | None, ledger: Sequence[Silenced], keep_seconds: float | None, duration_ms: int
) -> tuple[Region, ...]:
    """What is marked in a recording, in order: what its ledger tells, and what is heard beside that."""
    told = _told(ledger, keep_seconds, duration_ms)
    heard: list[Region] = []
    if waveform is not None:
        around = [(region.from_ms, region.to_ms) for region in told]
        heard += _beside(around, waveform.silences, RegionKind.SILENCE, SILENCE_LEAST_MS, duration_ms)
        heard += _beside(around, waveform.talk_overs, RegionKind.TALK_OVER, TALK_OVER_LEAST_MS, duration_ms)
    order = tuple(RegionKind)
    return tuple(sorted([*told, *heard], key=lambda region: (region.from_ms, order.index(region.kind))))


def _told(ledger: Sequence[Silenced], keep_seconds: float | None, duration_ms: int) -> list[Region]:
    found = []
    for silence in ledger:
        began, ended = _ms(silence.from_seconds, duration_ms), _ms(silence.to_seconds, duration_ms)
        if began < ended:
            found.append(Region(kind=OF_CAUSE[silence.cause], from_ms=began, to_ms=ended))
    if keep_seconds is not None and duration_ms - _ms(keep_seconds, duration_ms) >= NOT_KEPT_LEAST_MS:
        kept = _ms(keep_seconds, duration_ms)
        found.append(Region(kind=RegionKind.NOT_KEPT, from_ms=kept, to_ms=duration_ms))
    return found


def _ms(seconds: float, duration_ms: int) -> int:
    """Inside the recording, whatever the ledger says; a silence that was never ended has no end."""
    return round(min(max(seconds, 0.0) * 1000, duration_ms))


def _beside(
    told: Sequence[Stretch], heard: Iterable[Stretch], kind: RegionKind, least_ms: int, duration_ms: int
) -> list[Region]:
    """What of these stretches lies outside the ledger's, as far as it is long enough to be named by itself."""
    left = [(began, min(ended, duration_ms)) for began, ended in heard]
    for span in told:
        left = [part for stretch in left for part in without(stretch, span)]
    return [Region(kind=kind, from_ms=began, to_ms=ended) for began, ended in left if ended - began >= least_ms]


def without(stretch: Stretch, other: Stretch) -> list[Stretch]:
    """What of a stretch lies before and behind another."""
    before, behind = (stretch[0], min(stretch[1], other[0])), (max(stretch[0], other[1]), stretch[1])
    return [part for part in (before, behind) if part[1] > part[0]]


def longest(stretches: Sequence[Stretch], most: int = STRETCHES_MOST) -> tuple[Stretch, ...]:
    """The longest of them, in their own order."""
    kept = sorted(stretches, key=lambda stretch: stretch[0] - stretch[1])[:most]
    return tuple(sorted(kept))
