"""Which parts of a recording are silenced, and which are kept: the one rule for who settles a file and who checks it.

Pure. The invariant: what is silenced and what is kept are each other's complement.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from recorder.model import SilenceCause, Silenced

Span = tuple[float, float]
"""From and to, in seconds from the recording's first sample."""

SILENCE_LEAD: Final = 0.1
SILENCE_TAIL: Final = 0.2
"""Seconds by which a silence is begun early, and that at its end are left to Asterisk's own."""
MUSIC_TAIL: Final = 0.08
"""Seconds of a hold's music that may follow the word that it is over: 20 to 40 ms of it were heard, 80 on two full
processors. A hold costs no more of the talk around it than the fault judge calls an edge: with 150 ms it did."""
NEVER_SO_LONG: Final = 1e6
"""Seconds: eleven days, more than a WAV can hold."""
UNTOLD_LONGEST: Final = 2.0
"""Seconds of exact silence in both directions that need no word in the ledger (PR-08)."""
AROUND: Final = 0.5
"""Seconds by which Asterisk's own silence may reach beyond what the ledger says."""


def spans_to_keep(silences: Sequence[Silenced], keep_seconds: float | None) -> tuple[Span, ...] | None:
    """What of a recording is not silenced; None where all of it is kept.

    Asterisk mutes from a few milliseconds after the hold or the key on, and the file begins a frame or two after the
    bridge: a silence is begun early by SILENCE_LEAD, and its end is left to Asterisk, which unmutes late. Not so where
    it ends with what is kept: that may be because Asterisk never silenced it; nor after a hold, whose music is slow to
    end.
    """
    if not silences and keep_seconds is None:
        return None
    end = NEVER_SO_LONG if keep_seconds is None else keep_seconds
    kept, at = [], 0.0
    for silence in sorted(silences, key=lambda silence: silence.from_seconds):
        began = max(silence.from_seconds - SILENCE_LEAD, at)
        if began > at:
            kept.append((at, min(began, end)))
        at = max(at, _heard_again(silence), began)
        if at >= end or began < end <= silence.to_seconds:
            return tuple(span for span in kept if span[1] > span[0])
    return (*kept, (at, end))


def _heard_again(silence: Silenced) -> float:
    if silence.cause is SilenceCause.HOLD:
        return silence.to_seconds + MUSIC_TAIL
    return silence.to_seconds - SILENCE_TAIL


def spans_silenced(silences: Sequence[Silenced], keep_seconds: float | None) -> tuple[Span, ...]:
    """What of a recording must be exactly zero; the last may have no end."""
    found, at = [], 0.0
    for begin, end in spans_to_keep(silences, keep_seconds) or ((0.0, NEVER_SO_LONG),):
        if begin > at:
            found.append((at, begin))
        at = end
    return (*found, (at, math.inf)) if at < NEVER_SO_LONG else tuple(found)


def untold(zeros: Sequence[Span], silenced: Sequence[Span]) -> tuple[Span, ...]:
    """What of exact silence no ledger tells of, as far as it is longer than UNTOLD_LONGEST."""
    left = list(zeros)
    for begin, end in silenced:
        left = [part for span in left for part in _without(span, (begin - AROUND, end + SILENCE_TAIL + AROUND))]
    return tuple((begin, end) for begin, end in left if end - begin > UNTOLD_LONGEST)


def _without(span: Span, other: Span) -> list[Span]:
    before, after = (span[0], min(span[1], other[0])), (max(span[0], other[1]), span[1])
    return [part for part in (before, after) if part[1] > part[0]]
