"""How the benches read Asterisk's events and samples: no figure comes out small because something was overlooked."""

from __future__ import annotations

import numpy as np
import pytest

from bench.consent import waits
from bench.keys import Waits, by_asterisks_word
from bench.leaving import silent_after
from bench.raw import first_silence
from bench.saturation import Step, carried, in_vain, is_saturated, late
from tests.pbx.admin import Event

LEG, AGENT, CALL = "bench-1.2", "agent.1", "bench-1.1"


def event(name: str, at: float, leg: str = LEG, **headers: str) -> Event:
    given = {"Event": name, "Timestamp": f"{at:.6f}", "Uniqueid": leg, "Linkedid": CALL, **headers}
    return Event([f"{key}: {value}" for key, value in given.items()], at)


def pressed(digits: str, at: float, leg: str) -> list[Event]:
    """A digit each 200 ms, the last one ending at `at`."""
    ends = [at - 0.2 * (len(digits) - 1 - place) for place in range(len(digits))]
    return [
        event(name, when, leg, Digit=digit, Direction="Received")
        for digit, end in zip(digits, ends, strict=True)
        for name, when in (("DTMFBegin", end - 0.1), ("DTMFEnd", end))
    ]


def entered(at: float, bridge: str = "talk") -> Event:
    return event("BridgeEnter", at, BridgeUniqueid=bridge)


def left(at: float, bridge: str = "talk") -> Event:
    return event("BridgeLeave", at, BridgeUniqueid=bridge)


def test_a_pause_counts_from_the_end_of_its_last_digit_to_the_mute_of_the_callers_leg() -> None:
    found = Waits()
    events = [
        *pressed("*81", 10.0, AGENT),
        event("MixMonitorMute", 10.04, State="1"),
        *pressed("*82", 13.0, AGENT),
        event("MixMonitorMute", 13.01, State="0"),
    ]
    by_asterisks_word(events, found)

    assert found.paused == [pytest.approx(40)]
    assert found.resumed == [pytest.approx(10)]


def test_a_mute_that_is_no_answer_to_the_key_is_not_taken_for_one() -> None:
    found = Waits()
    by_asterisks_word([*pressed("*81", 10.0, AGENT), event("MixMonitorMute", 10.001, State="0")], found)
    by_asterisks_word([*pressed("*81", 10.0, AGENT), event("MixMonitorStop", 10.001)], found)

    assert found.paused == []


def test_who_pressed_the_key_that_withdraws_is_told_apart() -> None:
    found = Waits()
    by_asterisks_word([*pressed("*9", 10.0, LEG), event("MixMonitorStop", 10.2)], found)
    by_asterisks_word([*pressed("*9", 20.0, AGENT), event("MixMonitorStop", 20.3)], found)

    assert found.withdrawn == {"caller": [pytest.approx(200)], "agent": [pytest.approx(300)]}


def test_the_consent_key_is_the_last_one_before_the_capture() -> None:
    heard = [*pressed("1", 5.0, LEG), *pressed("1", 6.0, LEG), event("MixMonitorStart", 6.02)]

    assert waits(heard) == [pytest.approx(20)]


def test_leaving_counts_from_the_talks_bridge_to_the_first_word_of_silence_after_it() -> None:
    assert silent_after([entered(1), left(5), event("MixMonitorStop", 5.2)], LEG) == pytest.approx(200)
    assert silent_after([entered(1), left(5), entered(5.1, "other"), left(6, "other")], LEG) is None
    assert silent_after([entered(1), left(5, "other"), left(6), event("MixMonitorStop", 6.1)], LEG) == pytest.approx(
        100
    )


def test_a_capture_that_was_silent_before_the_leaving_and_still_is_took_no_time() -> None:
    mute, speak = event("MixMonitorMute", 3, State="1"), event("MixMonitorMute", 4, State="0")

    assert silent_after([entered(1), mute, left(5)], LEG) == 0
    assert silent_after([entered(1), mute, speak, left(5), event("MixMonitorStop", 5.5)], LEG) == pytest.approx(500)


def test_another_legs_silence_is_not_this_ones() -> None:
    assert silent_after([entered(1), left(5), event("MixMonitorStop", 5.1, "bench-2.2")], LEG) is None


def test_silence_begins_at_the_first_zero_of_a_run_that_is_long_enough() -> None:
    samples = np.ones(1000, dtype=np.int16)
    samples[100:120] = 0  # a sine passes through zero too
    samples[300:700] = 0

    assert first_silence(samples, 0, 200) == 300
    assert first_silence(samples, 350, 200) == 350
    assert first_silence(samples, 0, 401) is None


def test_a_player_is_late_by_what_its_second_took_longer() -> None:
    def mark(at: float, leg: str) -> Event:
        return event("UserEvent", at, leg, UserEvent="BenchClock")

    marks = [mark(1.0, "a"), mark(1.5, "b"), mark(2.03, "a"), mark(2.5, "b")]

    assert late(marks) == [pytest.approx(30), pytest.approx(0)]
    assert late([]) == [float("inf")]  # nothing heard is not in time


def test_one_late_step_is_chance_and_two_are_the_end() -> None:
    def step(late: float, idle: float = 0.5) -> Step:
        return Step(calls=1, talks=1, asterisk=1, daemon=0.1, idle=idle, late=late)

    assert not is_saturated([step(50)])
    assert not is_saturated([step(50), step(5)])
    assert is_saturated([step(5), step(50), step(21)])
    assert is_saturated([step(5, idle=0.01)])


def test_what_asterisk_carries_is_the_last_number_at_which_it_kept_time() -> None:
    def step(talks: int, late: float, idle: float = 0.2) -> Step:
        return Step(calls=talks + 16, talks=talks, asterisk=1, daemon=0.1, idle=idle, late=late)

    assert carried([step(100, 1), step(120, 50), step(140, 3), step(160, 50), step(180, 60)]).talks == 140
    assert carried([step(100, 1), step(120, 2, idle=0.01)]).talks == 100
    assert carried([step(100, 50), step(120, 50)]).talks == 100


def test_who_agreed_and_was_not_captured_is_counted_and_who_agreed_last_has_time() -> None:
    early, late_one = pressed("1", 1.0, "a"), pressed("1", 2.0, "b")
    asked = [*early, event("MixMonitorStart", 1.05, "a"), *late_one]
    assert in_vain(asked, asked) == 1
    assert in_vain([*asked, event("MixMonitorStart", 2.5, "b")], asked) == 0
    assert in_vain(asked, early) == 0
