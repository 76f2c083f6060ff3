"""docs/states.md shows the tables that the machine runs on."""

from __future__ import annotations

import re

import pytest

from docs import make_states
from recorder.call import CAPTURE_TRANSITIONS, PHASE_TRANSITIONS, CaptureState, Phase


def test_the_page_is_up_to_date() -> None:
    assert make_states.PAGE.read_text(encoding="utf-8") == make_states.page(), "run ./dev states"


def test_every_transition_is_drawn_once() -> None:
    drawn = re.findall(r"(?m)^    (\w+) --> (\w+): (.+)$", make_states.page())
    arrows = {(before, after, trigger) for before, after, triggers in drawn for trigger in triggers.split(", ")}
    tables = (*PHASE_TRANSITIONS.items(), *CAPTURE_TRANSITIONS.items())
    assert arrows == {(str(before), str(after), str(trigger)) for (before, trigger), after in tables if before != after}


@pytest.mark.parametrize("state", [*Phase, *CaptureState])
def test_every_state_is_drawn(state: str) -> None:
    assert re.search(rf"(?m)^    (\S+ --> )?{state}\b", make_states.page())
