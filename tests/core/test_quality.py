"""What the analysis says of sounds whose figures are known beforehand."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recorder.quality import (
    CLIP_LEVEL,
    FLOOR_DBFS,
    Analyser,
    FileState,
    Finding,
    Measures,
    Samples,
    assess,
)

RATE = 8000


def tone(seconds: float, *, level: float = 8000, hertz: float = 440, rate: int = RATE) -> Samples:
    at = np.arange(round(seconds * rate)) / rate
    return np.round(level * np.sin(2 * np.pi * hertz * at)).astype(np.int16)


def quiet(seconds: float, *, rate: int = RATE) -> Samples:
    return np.zeros(round(seconds * rate), np.int16)


def line_noise(seconds: float, *, level: float = 40) -> Samples:
    return np.random.default_rng(7).normal(0, level, round(seconds * RATE)).astype(np.int16)


def measured(caller: Samples, agent: Samples, *, rate: int = RATE) -> Measures:
    analyser = Analyser(rate)
    analyser.feed(np.column_stack((caller, agent)))
    return analyser.finish()


def findings(caller: Samples, agent: Samples) -> tuple[Finding, ...]:
    measures = measured(caller, agent)
    return assess(measures, bridged_seconds=measures.seconds)


# --------------------------------------------------------------------------- measures


def test_a_full_scale_sine_is_three_decibels_below_full_scale() -> None:
    measures = measured(tone(1, level=32767), quiet(1))
    assert measures.caller.rms_dbfs == pytest.approx(-3.01, abs=0.01)
    assert measures.caller.peak == 32767


def test_digital_silence_has_the_floor_for_a_level_and_no_peak() -> None:
    measures = measured(quiet(1), tone(1))
    assert (measures.caller.rms_dbfs, measures.caller.peak) == (FLOOR_DBFS, 0)
    assert (measures.caller.silence_share, measures.caller.longest_silence_seconds) == (1.0, 1.0)


def test_the_lowest_sample_of_all_is_a_peak_of_32768() -> None:
    assert measured(np.full(RATE, -32768, np.int16), quiet(1)).caller.peak == 32768


def test_caller_is_the_left_and_agent_the_right() -> None:
    measures = measured(tone(1, level=16000), tone(1, level=1000))
    assert measures.caller.rms_dbfs - measures.agent.rms_dbfs == pytest.approx(24.1, abs=0.1)


def test_the_silence_map_has_a_bit_for_each_twenty_milliseconds() -> None:
    caller = np.concatenate((tone(0.1), quiet(0.06), tone(0.04)))
    silence = np.unpackbits(np.frombuffer(measured(caller, quiet(0.2)).caller.silence, np.uint8), count=10)
    assert silence.tolist() == [0, 0, 0, 0, 0, 1, 1, 1, 0, 0]


def test_the_longest_silence_is_found_across_blocks() -> None:
    analyser = Analyser(RATE)
    for part in (tone(0.5), quiet(0.7), quiet(0.8), tone(0.5), quiet(0.3)):
        analyser.feed(np.column_stack((part, part)))
    assert analyser.finish().caller.longest_silence_seconds == pytest.approx(1.5)


def test_dead_air_is_when_neither_is_heard() -> None:
    caller = np.concatenate((tone(1), quiet(2), tone(1)))
    agent = np.concatenate((quiet(2), quiet(1), tone(1)))
    measures = measured(caller, agent)
    assert measures.longest_dead_air_seconds == pytest.approx(2.0)
    assert measures.dead_air_share == pytest.approx(0.5)
    assert measures.agent.longest_silence_seconds == pytest.approx(3.0)


def test_an_offset_does_not_hide_a_pause() -> None:
    measures = measured(np.full(RATE, 3000, np.int16), quiet(1))
    assert measures.caller.silence_share == 1.0
    assert measures.caller.dc_share == pytest.approx(3000 / 32768)


def test_the_waveform_has_ten_points_a_second_with_lowest_and_highest() -> None:
    caller = np.concatenate((tone(0.1, level=12800, hertz=400), quiet(0.1), np.full(320, -256, np.int16)))
    points = np.frombuffer(measured(caller, caller).caller.waveform, np.int8).reshape(-1, 2)
    assert points.tolist() == [[-50, 50], [0, 0], [-1, -1]]


def test_nothing_fed_is_measured_as_nothing() -> None:
    measures = Analyser(RATE).finish()
    assert (measures.seconds, measures.caller.peak, measures.caller.silence, measures.dead_air_share) == (0, 0, b"", 0)


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000])
def test_every_rate_asterisk_writes_is_measured_alike(rate: int) -> None:
    caller = np.concatenate((tone(1, rate=rate), quiet(1, rate=rate)))
    measures = measured(caller, caller, rate=rate)
    assert measures.seconds == 2
    assert measures.caller.longest_silence_seconds == pytest.approx(1.0)
    assert len(measures.caller.waveform) == 2 * 20


@pytest.mark.parametrize("rate", [0, -8000, 11025])
def test_a_rate_without_whole_frames_is_refused(rate: int) -> None:
    with pytest.raises(ValueError, match="not a multiple of 50"):
        Analyser(rate)


@pytest.mark.parametrize("block", [np.zeros((2, 800), np.int16), np.zeros(800, np.int16), np.zeros((800, 2))])
def test_a_block_of_another_shape_or_type_is_refused(block: Samples) -> None:
    with pytest.raises(ValueError, match="expected"):
        Analyser(RATE).feed(block)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    length=st.integers(1, 5000),
    cuts=st.lists(st.integers(0, 5000), max_size=8),
)
def test_the_measures_do_not_depend_on_the_cuts_between_blocks(seed: int, length: int, cuts: list[int]) -> None:
    samples = np.random.default_rng(seed).integers(-32768, 32768, (length, 2)).astype(np.int16)
    samples[length // 3 : length // 2] = 0
    whole, cut = Analyser(RATE), Analyser(RATE)
    whole.feed(samples)
    edges = sorted({0, length, *(min(at, length) for at in cuts)})
    for start, end in pairwise(edges):
        cut.feed(samples[start:end])
    assert_alike(cut.finish(), whole.finish())


def assert_alike(one: Measures, other: Measures) -> None:
    for a, b in ((one.caller, other.caller), (one.agent, other.agent)):
        assert (a.peak, a.clipped_share, a.silence, a.waveform) == (b.peak, b.clipped_share, b.silence, b.waveform)
        assert a.rms_dbfs == pytest.approx(b.rms_dbfs)
    assert (one.samples, one.dead_air_share) == (other.samples, other.dead_air_share)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), length=st.integers(1, 3000), level=st.integers(1, 32767))
def test_the_figures_agree_with_the_textbook_in_double_precision(seed: int, length: int, level: int) -> None:
    samples = np.random.default_rng(seed).integers(-level, level + 1, length).astype(np.int16)
    caller = measured(samples, samples).caller
    exact = samples.astype(np.float64)
    rms = math.sqrt(np.mean(exact**2))
    assert caller.rms_dbfs == pytest.approx(20 * math.log10(rms / 32768) if rms else FLOOR_DBFS, abs=0.001)
    assert caller.dc_share == pytest.approx(exact.mean() / 32768, abs=1e-6)
    assert caller.peak == int(np.abs(exact).max())
    assert caller.clipped_share == pytest.approx(np.mean(np.abs(exact) >= CLIP_LEVEL))


# --------------------------------------------------------------------------- findings


def test_two_people_talking_give_no_finding() -> None:
    assert findings(tone(3), tone(3, hertz=800)) == ()


def test_line_noise_on_both_legs_is_silent() -> None:
    assert findings(line_noise(3), line_noise(3)) == (Finding.SILENT,)


@pytest.mark.parametrize("steps", [[0], [8], [-8, 0, 8], [-8, 8]])
def test_a_leg_of_nothing_but_a_codecs_idle_steps_is_one_legged(steps: list[int]) -> None:
    dead = np.random.default_rng(3).choice(np.array(steps, np.int16), 3 * RATE)
    assert findings(tone(3), dead) == (Finding.ONE_LEGGED,)
    assert findings(dead, tone(3)) == (Finding.ONE_LEGGED,)


def test_a_listener_with_line_noise_is_not_one_legged() -> None:
    assert findings(tone(3), line_noise(3)) == ()


def test_a_click_does_not_make_a_dead_leg_alive() -> None:
    dead = quiet(3)
    dead[1000:1040] = 12000
    assert findings(tone(3), dead) == (Finding.ONE_LEGGED,)


def test_silence_on_both_legs_is_silent_and_not_one_legged() -> None:
    assert findings(quiet(3), quiet(3)) == (Finding.SILENT,)


def test_a_long_pause_of_exact_zeros_is_no_finding() -> None:
    talk = np.concatenate((tone(1), quiet(60), tone(1)))
    assert findings(talk, talk) == ()


@pytest.mark.parametrize("ceiling", [32124, 32256, 32767])
def test_clipping_is_found_at_the_ceiling_of_each_codec(ceiling: int) -> None:
    loud = np.clip(tone(3, level=32767).astype(np.int32) * 3, -ceiling, ceiling).astype(np.int16)
    assert findings(loud, tone(3)) == (Finding.CLIPPED,)


def test_a_few_samples_at_the_ceiling_are_not_clipping() -> None:
    loud = tone(3)
    loud[::8000] = 32767
    assert findings(loud, tone(3)) == ()


def test_an_offset_of_two_percent_is_found_on_either_leg() -> None:
    leaning = (tone(3) + 655).astype(np.int16)
    assert findings(leaning, tone(3)) == (Finding.DC_OFFSET,)
    assert findings(tone(3), leaning) == (Finding.DC_OFFSET,)


@pytest.mark.parametrize(
    ("bridged", "expected"),
    [
        (2.0, ()),
        (2.49, ()),
        (2.51, (Finding.SHORTER_THAN_BRIDGE,)),
        (1.51, ()),
        (1.49, (Finding.LONGER_THAN_BRIDGE,)),
    ],
)
def test_audio_is_compared_with_the_bridged_time_within_the_tolerance(
    bridged: float, expected: tuple[Finding, ...]
) -> None:
    assert assess(measured(tone(2), tone(2)), bridged_seconds=bridged, tolerance_seconds=0.5) == expected


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        (FileState(header_repaired=True), (Finding.HEADER_REPAIRED,)),
        (FileState(tail_lost=True), (Finding.TAIL_LOST,)),
        (FileState(legs_unequal_seconds=0.09), ()),
        (FileState(legs_unequal_seconds=0.11), (Finding.LEGS_UNEQUAL,)),
    ],
)
def test_what_was_found_about_the_file_is_told(file: FileState, expected: tuple[Finding, ...]) -> None:
    assert assess(measured(tone(2), tone(2)), bridged_seconds=2, file=file) == expected


def test_findings_come_in_one_order_and_once() -> None:
    loud = np.full(2 * RATE, 32767, np.int16)
    found = assess(measured(loud, loud), bridged_seconds=9, file=FileState(header_repaired=True))
    assert found == (
        Finding.SILENT,
        Finding.CLIPPED,
        Finding.DC_OFFSET,
        Finding.SHORTER_THAN_BRIDGE,
        Finding.HEADER_REPAIRED,
    )
