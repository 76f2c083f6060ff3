"""5,000 event logs of real calls, damaged: told twice, out of order, with holes, cut off. No damage breaks a law."""

from __future__ import annotations

from random import Random

import pytest

from recorder.call import CallEvent, Phase
from recorder.call.events import OwnEvent
from tests import scenarios
from tests.core import call_law
from tests.core.test_scenarios import hung_up_at_once
from tests.scenarios import Scenario, play

LOGS = 5000
BATCHES = 50
ALL = scenarios.scenarios()


def damaged(scenario: Scenario, random: Random) -> list[CallEvent]:
    """The call's admission, and the rest as a bad connection might tell it."""
    first, *events = scenario.events
    if random.random() < 0.6:  # told twice, at once or later
        for _ in range(random.randint(1, len(events))):
            event = random.choice(events)
            if not isinstance(event, OwnEvent):  # those are no log's: we make them, once
                events.insert(random.randint(events.index(event), len(events)), event)
    if random.random() < 0.6:  # out of order, near by or anywhere
        reach = random.choice((1, 3, 8, len(events)))
        places = [place + random.uniform(0, reach) for place in range(len(events))]
        events = [event for _, event in sorted(zip(places, events, strict=True), key=lambda pair: pair[0])]
    if random.random() < 0.3:  # with holes
        events = [event for event in events if random.random() > 0.15]
    if random.random() < 0.5:  # cut off
        events = events[: random.randint(0, len(events))]
    return [first, *events]


@pytest.mark.parametrize("batch", range(BATCHES))
def test_a_damaged_log_breaks_no_law_and_leaves_one_outcome(batch: int) -> None:
    for number in range(batch, LOGS, BATCHES):
        random = Random(number)
        scenario = ALL[number % len(ALL)]
        events = damaged(scenario, random)
        told = f"log {number}, of {scenario.name}: {[type(event).__name__ for event in events]}"
        steps = play(events)
        try:
            for before, event, step in zip(steps, events[1:], steps[1:], strict=False):
                call_law.check(before.state, event, step)
            final = hung_up_at_once(steps[-1].state, scenario.events)
            assert final.phase is Phase.CLOSED
            call_law.check_outcome(final)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{told}") from None


def test_the_logs_are_damaged_in_every_way() -> None:
    longer = shorter = moved = 0
    for number in range(LOGS):
        scenario = ALL[number % len(ALL)]
        events = damaged(scenario, Random(number))
        longer += len(events) > len(scenario.events)
        shorter += len(events) < len(scenario.events)
        moved += [event.at for event in events] != sorted(event.at for event in events)
    assert min(longer, shorter, moved) > LOGS / 5
