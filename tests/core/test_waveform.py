"""What a player marks: what the ledger tells of, what is heard beside it, and how loud it is where."""

from __future__ import annotations

from itertools import groupby, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recorder.model import SilenceCause, Silenced
from recorder.quality import Analyser, Flags, Samples, waveform_of
from recorder.waveform import (
    BREATH_MS,
    SILENCE_LEAST_MS,
    STRETCHES_MOST,
    TALK_OVER_LEAST_MS,
    Region,
    RegionKind,
    Stretch,
    Waveform,
    regions,
)
from tests.core.test_quality import RATE, measured, quiet, tone

PAUSE, HOLD, NOT_KEPT, SILENCE, TALK_OVER = RegionKind
FRAME_MS = 20


def heard(*silences: Stretch, talk_overs: tuple[Stretch, ...] = ()) -> Waveform:
    return Waveform(window_ms=100, caller=b"\1", agent=b"\1", silences=silences, talk_overs=talk_overs)


def silenced(begin: float, end: float, cause: SilenceCause = SilenceCause.PAUSE) -> Silenced:
    return Silenced(cause=cause, from_seconds=begin, to_seconds=end)


def marked(found: tuple[Region, ...]) -> list[tuple[RegionKind, int, int]]:
    return [(region.kind, region.from_ms, region.to_ms) for region in found]


# --------------------------------------------------------------------------- what has a name


def test_pauses_holds_and_what_is_not_kept_are_named_where_the_books_have_them() -> None:
    ledger = (silenced(10, 20.5), silenced(30, 33, SilenceCause.HOLD))
    assert marked(regions(None, ledger, 50.0, 60_000)) == [
        (PAUSE, 10_000, 20_500),
        (HOLD, 30_000, 33_000),
        (NOT_KEPT, 50_000, 60_000),
    ]


def test_a_silence_that_never_ended_ends_with_the_recording_and_one_behind_it_is_none() -> None:
    ledger = (silenced(-1, 2), silenced(50, float("inf")), silenced(70, 80))
    assert marked(regions(None, ledger, None, 60_000)) == [(PAUSE, 0, 2000), (PAUSE, 50_000, 60_000)]


def test_a_frame_that_is_not_kept_at_the_end_is_not_worth_a_word() -> None:
    assert regions(None, (), 59.98, 60_000) == ()


def test_the_silence_of_a_pause_is_named_once_and_what_goes_on_around_it_by_itself() -> None:
    found = regions(heard((9_900, 20_000), (40_000, 50_000)), (silenced(10, 20), silenced(43, 47)), None, 60_000)
    assert marked(found) == [
        (PAUSE, 10_000, 20_000),
        (SILENCE, 40_000, 43_000),
        (PAUSE, 43_000, 47_000),
        (SILENCE, 47_000, 50_000),
    ]


SECONDS = st.floats(-5, 90, allow_nan=False)
STRETCHES = st.lists(st.tuples(st.integers(0, 80_000), st.integers(1, 9000)), max_size=6).map(
    lambda pairs: tuple((began, began + long) for began, long in pairs)
)
LEDGER = st.lists(st.tuples(SECONDS, SECONDS, st.sampled_from(SilenceCause)), max_size=5).map(
    lambda many: tuple(silenced(min(one, two), max(one, two), cause) for one, two, cause in many)
)


@settings(max_examples=300, deadline=None)
@given(
    silences=STRETCHES,
    talk_overs=STRETCHES,
    ledger=LEDGER,
    keep=st.none() | st.floats(0, 90),
    duration=st.integers(0, 80_000),
)
def test_whatever_was_heard_and_told_the_marks_lie_inside_in_order_and_the_ledger_is_not_contradicted(
    silences: tuple[Stretch, ...],
    talk_overs: tuple[Stretch, ...],
    ledger: tuple[Silenced, ...],
    keep: float | None,
    duration: int,
) -> None:
    found = regions(heard(*silences, talk_overs=talk_overs), ledger, keep, duration)
    assert all(0 <= region.from_ms < region.to_ms <= duration for region in found)
    assert all(one.from_ms <= other.from_ms for one, other in pairwise(found))
    told = [region for region in found if region.kind in (PAUSE, HOLD, NOT_KEPT)]
    for region in found:
        if region.kind in (SILENCE, TALK_OVER):
            least = SILENCE_LEAST_MS if region.kind is SILENCE else TALK_OVER_LEAST_MS
            assert region.to_ms - region.from_ms >= least
            assert all(region.to_ms <= other.from_ms or region.from_ms >= other.to_ms for other in told)


# --------------------------------------------------------------------------- from the sound


def spoken(text: str) -> Samples:
    """Half a second for each letter: a letter is speech, a dot is none."""
    return np.concatenate([quiet(0.5) if letter == "." else tone(0.5) for letter in text])


def test_silence_is_where_neither_speaks_for_two_seconds_and_talk_over_where_both_do() -> None:
    found = waveform_of(measured(spoken("aa...aaa....a.."), spoken("..bb..bb....b..")))
    assert (found.silences, found.talk_overs) == (((4000, 6000),), ((3000, 4000), (6000, 6500)))


def test_a_word_of_assent_is_no_talk_over_and_a_breath_between_two_words_ends_none() -> None:
    caller, assent, breath = tone(3), quiet(3), tone(3)
    assent[8000:11000] = tone(0.375)
    breath[12000:13200] = 0  # 150 ms
    assert waveform_of(measured(caller, assent)).talk_overs == ()
    assert waveform_of(measured(caller, breath)).talk_overs == ((0, 3000),)


def naive(flags: list[bool], least_ms: int) -> tuple[Stretch, ...]:
    """Run by run, as a person would count."""
    found, at = [], 0
    for value, run in groupby(flags):
        long = len(list(run))
        if value and long * FRAME_MS >= least_ms:
            found.append((at * FRAME_MS, (at + long) * FRAME_MS))
        at += long
    return tuple(found)


def going_on(speaking: list[bool]) -> list[bool]:
    """The breaths filled in, one by one."""
    filled: list[bool] = []
    runs = [(value, len(list(run))) for value, run in groupby(speaking)]
    for place, (value, long) in enumerate(runs):
        is_breath = 0 < place < len(runs) - 1 and long * FRAME_MS < BREATH_MS
        filled += [value or is_breath] * long
    return filled


@st.composite
def talk(draw: st.DrawFn) -> list[bool]:
    """Where somebody speaks, in frames."""
    runs = draw(st.lists(st.integers(1, 150), min_size=1, max_size=8))
    first = draw(st.booleans())
    return [(place % 2 == 0) is first for place, long in enumerate(runs) for _ in range(long)]


def sound(speaking: list[bool]) -> Samples:
    frames: Flags = np.array(speaking, np.bool_)
    return (tone(len(frames) * 0.02) * np.repeat(frames, RATE // 50)).astype(np.int16)


@settings(max_examples=80, deadline=None)
@given(caller=talk(), agent=talk(), odd=st.integers(0, 159))
def test_the_stretches_are_those_that_a_person_would_count(caller: list[bool], agent: list[bool], odd: int) -> None:
    long = min(len(caller), len(agent))
    caller, agent = caller[:long], agent[:long]
    both = np.column_stack((sound(caller), sound(agent)))
    analyser = Analyser(RATE)
    analyser.feed(both)
    analyser.feed(np.zeros((odd, 2), np.int16))
    found = waveform_of(analyser.finish())
    rest = [False] * bool(odd)
    quiet_frames = [not (one or other) for one, other in zip(caller + rest, agent + rest, strict=True)]
    assert found.silences == naive(quiet_frames, SILENCE_LEAST_MS)
    pairs = zip(going_on(caller + rest), going_on(agent + rest), strict=True)
    assert found.talk_overs == naive([one and other for one, other in pairs], TALK_OVER_LEAST_MS)


def test_of_many_stretches_the_longest_are_kept_in_their_order() -> None:
    speech = np.concatenate([np.concatenate((tone(0.5), quiet(2))) for _ in range(STRETCHES_MOST + 1)])
    speech = np.concatenate((quiet(2), speech, quiet(5)))
    kept = waveform_of(measured(speech, quiet(len(speech) / RATE))).silences
    assert len(kept) == STRETCHES_MOST
    assert kept == tuple(sorted(kept))
    assert kept[-1][1] - kept[-1][0] == 7000


# --------------------------------------------------------------------------- how loud


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), length=st.integers(1, 20_000), most=st.integers(1, 30))
def test_a_peak_is_the_loudest_of_its_window_and_there_are_no_more_than_asked_for(
    seed: int, length: int, most: int
) -> None:
    made = np.random.default_rng(seed)
    samples = (made.integers(-32768, 32768, (length, 2)) * made.random((length, 2)) ** 8).astype(np.int16)
    samples[length // 3 : length // 2] = 0
    analyser = Analyser(RATE)
    analyser.feed(samples)
    found = waveform_of(analyser.finish(), most)
    wide = found.window_ms * RATE // 1000
    for leg, peaks in enumerate((found.caller, found.agent)):
        windows = [samples[at : at + wide, leg].astype(int) for at in range(0, length, wide)]
        loudest = [max(-(int(window.min()) >> 8), int(window.max()) >> 8) for window in windows]
        assert list(peaks) == loudest
        assert len(peaks) <= most


def test_two_hours_are_a_thousand_peaks_and_a_minute_is_as_fine_as_it_was_measured() -> None:
    analyser = Analyser(RATE)
    minute = np.column_stack((tone(60), quiet(60)))
    for _ in range(120):
        analyser.feed(minute)
    long, short = waveform_of(analyser.finish()), waveform_of(measured(tone(60), quiet(60)))
    assert (len(long.caller), long.window_ms, len(short.caller), short.window_ms) == (1000, 7200, 600, 100)
    assert set(long.agent) == {0}


@pytest.mark.parametrize(("sample", "peak"), [(0, 0), (-1, 1), (255, 0), (256, 1), (-32768, 128), (32767, 127)])
def test_exact_silence_is_drawn_as_nothing_and_what_swings_below_zero_is_not(sample: int, peak: int) -> None:
    found = waveform_of(measured(np.full(RATE, sample, np.int16), quiet(1)))
    assert (set(found.caller), set(found.agent)) == ({peak}, {0})


def test_of_nothing_nothing_is_drawn() -> None:
    assert waveform_of(Analyser(RATE).finish()) == Waveform(window_ms=100, caller=b"", agent=b"")
