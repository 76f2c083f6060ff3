"""What of a recording is kept beside its holds and pauses, and what a MixMonitor is told."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import PurePosixPath
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.capture import FRAME, OPENING, Staging, edges_of, mixmonitor_arguments
from recorder.model import RecordingId, SilenceCause, Silenced
from recorder.silences import NEVER_SO_LONG, SILENCE_LEAD, SILENCE_TAIL, spans_silenced, spans_to_keep, untold
from tests.facts import NOON

RECORDING = RecordingId(UUID(int=7))


def pause(began: float, ended: float) -> Silenced:
    return Silenced(cause=SilenceCause.PAUSE, from_seconds=began, to_seconds=ended)


def rounded(spans: tuple[tuple[float, float], ...] | None) -> list[tuple[float, float]]:
    return [(round(start, 6), round(end, 6)) for start, end in spans or ()]


def test_all_is_kept_where_nothing_was_silent() -> None:
    assert spans_to_keep((), None) is None


def test_what_is_not_proved_is_not_kept() -> None:
    assert spans_to_keep((), 12.5) == ((0.0, 12.5),)


def test_a_pause_is_cut_out_a_little_early_and_its_end_is_left_to_asterisk() -> None:
    assert rounded(spans_to_keep((pause(10, 20),), None)) == [(0, 9.9), (19.8, NEVER_SO_LONG)]


def test_a_pause_from_the_first_moment_on_leaves_nothing_before_it() -> None:
    assert rounded(spans_to_keep((pause(0, 20),), None)) == [(19.8, NEVER_SO_LONG)]


def test_a_pause_beyond_what_is_proved_ends_with_it() -> None:
    assert rounded(spans_to_keep((pause(10, 20),), 15)) == [(0, 9.9)]


def test_a_pause_that_ends_with_what_is_kept_leaves_nothing_to_asterisk() -> None:
    assert rounded(spans_to_keep((pause(5, 8),), 7.98)) == [(0, 4.9)]
    assert rounded(spans_to_keep((pause(5, 8),), 8)) == [(0, 4.9)]


def test_a_pause_after_what_is_proved_changes_nothing() -> None:
    assert rounded(spans_to_keep((pause(10, 20),), 5)) == [(0, 5)]


def test_the_last_of_a_holds_music_is_cut_out_with_it() -> None:
    hold = replace(pause(5, 8), cause=SilenceCause.HOLD)
    assert rounded(spans_to_keep((hold,), None)) == [(0, 4.9), (8.08, NEVER_SO_LONG)]


def ended(keep: float | None, stopped: float | None) -> Staging:
    """A capture proved for `keep` seconds, whose stop was confirmed after `stopped`."""
    return Staging(
        recording=RECORDING,
        authorised_at=NOON,
        bridged_at=NOON,
        bridged_seconds=keep,
        keep_seconds=keep,
        stopped_at=None if stopped is None else NOON + timedelta(seconds=stopped),
    )


@pytest.mark.parametrize(
    ("keep", "stopped", "ending"),
    [(None, 10.2, 0.0), (10.0, 10.25, 0.25 + FRAME), (10.0, 11.5, 0.0), (10.0, 9.9, 0.0), (10.0, None, 0.0)],
    ids=["alone to the end", "somebody came", "nobody knows when", "a clock was set", "never confirmed"],
)
def test_what_was_written_beside_somebody_is_reckoned_from_the_end_of_the_file(
    keep: float | None, stopped: float | None, ending: float
) -> None:
    edges = edges_of(ended(keep, stopped))
    assert edges.ending == pytest.approx(ending)
    assert edges.opening == OPENING


moments = st.floats(0, 1000)


@given(st.lists(st.tuples(moments, moments).map(sorted), max_size=6), st.none() | moments)
def test_no_moment_of_a_silence_is_kept_but_what_asterisk_silences_itself(
    silent: list[list[float]], keep: float | None
) -> None:
    silences = tuple(pause(began, ended) for began, ended in silent)
    kept = spans_to_keep(silences, keep)
    if kept is None:
        assert not silences
        return
    assert all(start <= end for start, end in kept)
    assert all(before[1] <= after[0] for before, after in pairwise(kept))
    assert keep is None or all(end <= keep for _, end in kept)
    for silence in silences:
        began, ended = max(silence.from_seconds - SILENCE_LEAD, 0.0), silence.to_seconds - SILENCE_TAIL
        assert all(min(end, ended) - max(start, began) <= 1e-9 for start, end in kept)


@pytest.mark.parametrize(
    ("needs_sync", "beep", "options"),
    [(False, None, "b"), (True, None, "bS"), (False, 15, "bB(15)"), (True, 15, "bB(15)S")],
)
def test_a_beep_is_one_more_option_and_never_a_second_comma(needs_sync: bool, beep: int | None, options: str) -> None:
    told = mixmonitor_arguments(RECORDING, PurePosixPath("/spool"), needs_sync=needs_sync, beep=beep)
    assert told.startswith(f",{options}r(/spool/")
    assert told.count(",") == 1


# --------------------------------------------------------------------------- what must be zero, and what nobody told of


def test_nothing_must_be_silent_where_all_is_kept() -> None:
    assert spans_silenced((), None) == ()


def test_what_is_silenced_is_what_is_not_kept() -> None:
    assert rounded(spans_silenced((pause(10, 20), pause(30, 40)), 50)) == [(9.9, 19.8), (29.9, 39.8), (50, math.inf)]
    assert rounded(spans_silenced((pause(0, 5),), None)) == [(0, 4.8)]
    assert rounded(spans_silenced((pause(1, 9),), 5)) == [(0.9, math.inf)]


@pytest.mark.parametrize(
    ("zeros", "silences", "found"),
    [
        ([(3, 8)], [], [(3, 8)]),
        ([(3, 5)], [], []),  # two seconds are nobody's business
        ([(10, 20)], [pause(10, 20)], []),
        ([(9.5, 20.5)], [pause(10, 20)], []),  # Asterisk's own begins a little late and ends a little late
        ([(10, 30)], [pause(10, 20)], [(20.5, 30)]),
        ([(5, 25)], [pause(10, 12), pause(14, 20)], [(5, 9.4), (20.5, 25)]),
    ],
)
def test_exact_silence_that_no_ledger_tells_of_is_found(
    zeros: list[tuple[float, float]], silences: list[Silenced], found: list[tuple[float, float]]
) -> None:
    assert rounded(untold(zeros, spans_silenced(silences, None))) == found
