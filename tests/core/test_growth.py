"""What a soak calls growth: a trend over the whole run, and nothing that a few samples do."""

from __future__ import annotations

import math
import random

import pytest

from bench.growth import growth, medians


def test_what_stays_does_not_grow() -> None:
    assert growth([100.0] * 50) == 0.0
    assert growth([0.0] * 50) == 0.0


@pytest.mark.parametrize("share", [0.02, 0.05, 0.5, -0.1])
def test_a_steady_climb_is_told_as_the_share_of_its_beginning(share: float) -> None:
    line = [100.0 * (1 + share * number / 999) for number in range(1000)]

    assert growth(line) == pytest.approx(share, rel=0.01)


def test_noise_and_a_few_peaks_are_no_growth() -> None:
    chance = random.Random(1)
    noisy = [100 + chance.gauss(0, 2) for _ in range(500)]
    for place in range(0, 500, 25):
        noisy[place] = 400

    assert abs(growth(noisy)) < 0.01


def test_one_window_that_is_wholly_out_does_not_decide_at_the_end_or_in_the_middle() -> None:
    for start in (0, 200, 450):
        values = [100.0] * 500
        values[start : start + 50] = [150.0] * 50
        assert growth(values) == 0.0


def test_a_leak_shows_through_the_noise_of_the_load() -> None:
    chance = random.Random(2)
    leaking = [100 + number * 0.02 + chance.choice([0, 0, 3]) for number in range(500)]

    assert growth(leaking) == pytest.approx(0.10, abs=0.02)


def test_steps_that_stay_are_growth_from_the_second_on() -> None:
    assert growth([100.0] * 250 + [106.0] * 250) > 0.05


def test_what_begins_at_nothing_and_climbs_grows_without_bound() -> None:
    assert growth([float(number) - 20 for number in range(100)]) == math.inf


def test_too_few_samples_are_no_answer() -> None:
    with pytest.raises(ValueError, match="3 samples are too few"):
        medians([1.0, 2.0, 3.0])
