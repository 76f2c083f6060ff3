"""Calls as our Asterisk told them: each as it was, told twice, and cut off after every event."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from recorder.call import CallAdmitted, CallEvent, CallState, CaptureState, Phase, advance, fields_from_event
from recorder.catalogue import JournalRow
from recorder.model import Channel, ChannelHungUp, Outcome
from tests import scenarios
from tests.core import call_law
from tests.core.call_cast import emptied, made
from tests.scenarios import Scenario, ends, play

ALL = scenarios.scenarios()
each_scenario = pytest.mark.parametrize("scenario", ALL, ids=lambda scenario: scenario.name)


def settled(state: CallState) -> CallState:
    """The state after every closed capture was made a recording, or found to hold nothing."""
    for capture in state.captures:
        found = made if capture.bridged_at else emptied
        state = advance(state, found(capture.id.int)).state
    return state


def hung_up_at_once(state: CallState, events: tuple[CallEvent, ...]) -> CallState:
    """The state after everybody of the scenario hung up, and the settling."""
    named = (getattr(event, field.name) for event in events for field in fields(event))
    for channel in {value for value in named if isinstance(value, Channel)}:
        state = advance(state, ChannelHungUp(at=events[-1].at, channel=channel)).state
    return settled(state)


def test_the_first_set_of_scenarios_is_there() -> None:
    assert {scenario.name for scenario in ALL} >= {
        "abandoned-in-queue",
        "agent-hangs-up",
        "agreed",
        "held",
        "hung-up-in-the-prompt",
        "local-member-optimised",
        "outgoing",
        "override",
        "refused",
        "transferred-away",
        "unanswered",
    }


@each_scenario
def test_a_scenario_ends_as_expected_and_keeps_every_law(scenario: Scenario) -> None:
    steps = play(scenario.events)
    for before, event, step in zip(steps, scenario.events[1:], steps[1:], strict=False):
        call_law.check(before.state, event, step)
    assert ends(steps) == scenario.expected


@each_scenario
def test_a_scenario_told_twice_ends_the_same(scenario: Scenario) -> None:
    told_twice = [event for event in scenario.events for _ in range(1 if isinstance(event, CallAdmitted) else 2)]
    once, twice = ends(play(scenario.events)), ends(play(told_twice))
    assert twice | {"unexpected": ""} == once | {"unexpected": ""}


@each_scenario
def test_a_scenario_cut_off_anywhere_has_one_outcome_and_captures_no_more_than_the_whole(scenario: Scenario) -> None:
    whole = play(scenario.events)
    for length, step in enumerate(whole, 1):
        final = hung_up_at_once(step.state, scenario.events)
        assert final.phase is Phase.CLOSED, f"after {length} events"
        call_law.check_outcome(final)
        assert len(final.captures) <= len(whole[-1].state.captures)
        recorded = any(capture.state is CaptureState.SETTLED for capture in final.captures)
        assert recorded == any(capture.bridged_at is not None for capture in step.state.captures)


@each_scenario
def test_a_scenario_cut_again_from_its_journal_is_the_same(scenario: Scenario, tmp_path: Path) -> None:
    journal = [
        JournalRow(seq=seq, at=event.at, name=name, old_phase="", new_phase="", fields=flat)
        for seq, event in enumerate(scenario.events, 1)
        for name, flat in [fields_from_event(event)]
    ]
    file = tmp_path / f"{scenario.name}.txt"
    file.write_text(scenarios.table(journal), encoding="utf-8")
    again = scenarios.read(file)
    assert again.expected == scenario.expected
    assert [type(event) for event in again.events] == [type(event) for event in scenario.events]


def test_nothing_of_the_place_where_it_was_cut_remains_in_a_scenario() -> None:
    for file in scenarios.FOLDER.glob("*.txt"):
        text = file.read_text(encoding="utf-8")
        assert not scenarios.A_UUID.search(text), file.name
        assert not scenarios.A_TIME.search(text), file.name
        assert "recorder-pbx-" not in text, file.name


@pytest.mark.parametrize(
    "line", ["0.0 | CallPaused | a | 1 | 1", "0.0 | ChannelHungUp", "soon | HoldBegan | a | 1 | 1", "expect phase"]
)
def test_a_line_that_makes_no_sense_is_named(line: str, tmp_path: Path) -> None:
    file = tmp_path / "wrong.txt"
    file.write_text(f"# wrong\n{line}\n")
    with pytest.raises(ValueError, match=r"wrong\.txt:2"):
        scenarios.read(file)


def test_every_outcome_but_the_lost_and_the_excluded_is_among_the_scenarios() -> None:
    outcomes = {scenario.expected["outcome"].split()[0] for scenario in ALL}
    assert outcomes >= {Outcome.RECORDED, Outcome.DECLINED, Outcome.ABANDONED}
