"""When an event happened: two clocks, a wire that is late, and somebody who sets one of them."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.ami.stamps import LATEST, Stamps, stamp_from_frame, stamp_from_pong
from tests.edge.ami_cast import CALLER, NOW, shown
from tests.fakes.pbx import event

STAMPED = event("Hangup", ("Timestamp", "1795323799.511518"), *shown(CALLER))
MOMENT = datetime.fromisoformat("2026-11-22T05:03:19.511518+00:00")


def ms(milliseconds: float) -> timedelta:
    return timedelta(milliseconds=milliseconds)


QUICK = ms(0.2)


class Clocks:
    """What really happens: the PBX's clock is `ahead` of ours, and one may be set at any time."""

    def __init__(self, ahead: timedelta = timedelta()) -> None:
        self.stamps = Stamps()
        self.ahead = ahead

    def ping(self, at: datetime, there: timedelta = QUICK, back: timedelta = QUICK) -> None:
        self.stamps.pong(at, at + there + self.ahead, at + there + back)

    def event(self, at: datetime, late: timedelta) -> datetime:
        """One that happens at `at` by our clock and is read so much later."""
        return self.stamps.time_of(at + self.ahead, at + late)


AHEADS = pytest.mark.parametrize("ahead", [timedelta(), ms(-700), timedelta(hours=5), timedelta(days=-4000)], ids=str)


def test_a_stamp_is_read_to_the_microsecond() -> None:
    assert stamp_from_frame(STAMPED) == stamp_from_pong("1795323799.511518") == MOMENT


@pytest.mark.parametrize(
    "frame",
    [
        event("Hangup", *shown(CALLER)),
        event("UserEvent", *shown(CALLER), ("UserEvent", "RecorderKey"), ("Timestamp", "1.000000")),
        event("Hangup", ("Timestamp", "soon"), *shown(CALLER)),
        event("Hangup", ("Timestamp", "99999999999999.000000"), *shown(CALLER)),
        event("Hangup", ("Timestamp", "1795323799"), *shown(CALLER)),
    ],
    ids=["none", "of a user's making", "no number", "too far", "no fraction"],
)
def test_what_is_no_stamp_of_asterisks_own_is_none(frame: bytes) -> None:
    assert stamp_from_frame(frame) is None
    assert stamp_from_pong("soon") is None


def test_an_event_without_a_stamp_happened_when_it_arrived() -> None:
    clocks = Clocks()
    clocks.ping(NOW)
    assert clocks.stamps.time_of(None, NOW) == NOW


@AHEADS
def test_a_late_event_is_placed_where_it_happened_whatever_the_clocks_say(ahead: timedelta) -> None:
    clocks = Clocks(ahead)
    clocks.ping(NOW)
    for second, late in enumerate((0, 280, 20, 900, 0)):
        at = NOW + timedelta(seconds=second)
        assert timedelta() <= clocks.event(at, ms(late)) - at <= ms(2)


def test_before_the_first_answered_ping_arrival_counts() -> None:
    clocks = Clocks(timedelta(hours=5))
    assert clocks.event(NOW, ms(100)) == NOW + ms(100)


def test_a_slow_ping_is_made_good_by_a_quick_one() -> None:
    clocks = Clocks(ms(40))
    clocks.ping(NOW, back=ms(300))
    assert clocks.event(NOW + ms(500), ms(280)) >= NOW + ms(500)
    clocks.ping(NOW + ms(1000))
    at = NOW + ms(1500)
    assert clocks.event(at, ms(280)) - at <= ms(2)


def test_an_event_that_was_slept_through_happened_when_it_arrived() -> None:
    clocks = Clocks()
    clocks.ping(NOW)
    assert clocks.event(NOW, LATEST + ms(5)) == NOW + LATEST + ms(5)


def test_events_keep_their_order() -> None:
    clocks = Clocks()
    clocks.ping(NOW)
    told = [clocks.event(NOW + ms(at), ms(late)) for at, late in ((0, 2100), (1, 2099), (2, 2098), (3, 2097))]
    assert told == sorted(told)


@pytest.mark.parametrize("step", [ms(-40_000), ms(-700), ms(-50), ms(50), ms(700), ms(40_000)], ids=str)
@pytest.mark.parametrize("late", [ms(1), ms(280)], ids=str)
def test_a_clock_that_is_set_moves_nothing_beyond_what_passed_since_asterisk_last_spoke(
    step: timedelta, late: timedelta
) -> None:
    """Set back by less than the time since its last word, the PBX's clock betrays itself at the next ping alone."""
    clocks = Clocks()
    clocks.ping(NOW)
    before = clocks.event(NOW + ms(10), ms(1))
    clocks.ahead += step
    at = NOW + ms(510)
    told = clocks.event(at, late)
    assert before <= told <= at + late
    assert told >= at - max(min(-step, ms(760)), timedelta())
    clocks.ping(NOW + ms(1000))
    at = NOW + ms(1500)
    assert timedelta() <= clocks.event(at, late) - at <= late
    clocks.ping(NOW + ms(2000))
    at = NOW + ms(2500)
    assert timedelta() <= clocks.event(at, late) - at <= ms(3)


@pytest.mark.parametrize("step", [ms(-40_000), ms(-300), ms(300), ms(40_000)], ids=str)
def test_our_own_clock_may_be_set_too(step: timedelta) -> None:
    clocks = Clocks()
    clocks.ping(NOW)
    clocks.event(NOW, ms(1))
    clocks.ahead -= step  # ours goes on by `step`: it is the distance that counts
    start = NOW + step + ms(1000)
    clocks.ping(start)
    at = start + ms(100)
    told = clocks.event(at, ms(280))
    assert told <= at + ms(280)
    assert told >= min(at, NOW + ms(1))


def test_two_clocks_may_drift_apart_for_a_day() -> None:
    clocks = Clocks()
    for second in range(0, 86_400, 7):
        clocks.ahead = timedelta(seconds=second) * 200e-6  # 200 ppm
        clocks.ping(NOW + timedelta(seconds=second))
    at = NOW + timedelta(seconds=86_400)
    assert timedelta() <= clocks.event(at, ms(280)) - at <= ms(5)
    assert clocks.stamps.set_clocks == 0


@given(
    ahead=st.integers(-(10**6), 10**6),
    told=st.lists(st.tuples(st.booleans(), st.integers(0, 1500), st.integers(0, 1500), st.integers(0, 400))),
)
def test_no_event_is_later_than_its_arrival_or_earlier_than_it_was_or_than_the_one_before(
    ahead: int, told: list[tuple[bool, int, int, int]]
) -> None:
    clocks, at, last = Clocks(ms(ahead)), NOW, NOW
    read = NOW
    for is_ping, passed, late, there in told:
        at += ms(passed)
        if is_ping:
            clocks.ping(at, ms(there), ms(late))
            at += ms(there)  # nothing that was stamped before is read after it
            continue
        read = max(read, at + ms(late))  # a wire keeps its order
        said = clocks.stamps.time_of(at + ms(ahead), read)
        assert max(at, last) <= said <= read
        last = said
    assert clocks.stamps.set_clocks == 0
