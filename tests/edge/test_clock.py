"""The daemon's wall clock tells whoever keeps moments that it was set, and nobody of anything else."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from recorder.clock import SET_FROM, Clock
from tests.facts import NOON


class Clocks:
    """Two clocks that a test leads. `between` is how long we stand still between reading one and the other."""

    def __init__(self) -> None:
        self.wall, self.ticks, self.between = NOON, 100.0, 0.0
        self.told: list[tuple[datetime, timedelta]] = []
        self.clock = Clock(self._read, lambda: self.ticks)
        self.clock.told = lambda at, by: self.told.append((at, by))
        self.clock()

    def pass_on(self, seconds: float, *, set_by: timedelta = timedelta()) -> None:
        self.ticks += seconds
        self.wall += timedelta(seconds=seconds) + set_by

    def _read(self) -> datetime:
        self.ticks += self.between
        self.wall += timedelta(seconds=self.between)
        return self.wall


async def test_a_clock_that_is_set_is_told_by_how_much_before_anybody_has_a_time_of_it() -> None:
    clocks = Clocks()
    clocks.pass_on(30, set_by=timedelta(hours=-1))
    now = clocks.clock()
    assert clocks.told == [(now, timedelta(hours=-1))]
    clocks.pass_on(1)
    clocks.clock()
    assert len(clocks.told) == 1


async def test_a_clock_that_is_slewed_is_not_set_however_far_it_goes() -> None:
    clocks = Clocks()
    for _ in range(100):
        clocks.pass_on(0.5, set_by=SET_FROM * 0.9)
        clocks.clock()
    assert clocks.told == []


async def test_a_process_that_stood_still_between_two_readings_finds_no_clock_set() -> None:
    clocks = Clocks()
    clocks.pass_on(30)
    clocks.between = 30.0
    clocks.clock()
    clocks.between = 0.0
    clocks.clock()
    assert clocks.told == []


async def test_a_thread_tells_nobody_and_the_loop_does_at_its_next_reading() -> None:
    clocks = Clocks()
    clocks.pass_on(1, set_by=timedelta(hours=1))
    await asyncio.to_thread(clocks.clock)
    assert clocks.told == []
    clocks.clock()
    assert [by for _, by in clocks.told] == [timedelta(hours=1)]


async def test_it_says_what_time_it_is() -> None:
    assert abs(Clock()() - datetime.now(UTC)) < timedelta(seconds=1)
