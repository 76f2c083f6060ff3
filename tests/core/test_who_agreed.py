"""Who agreed is who is captured: what ends a capture though the caller's own channel goes on as before."""

from __future__ import annotations

from dataclasses import replace

import pytest

from recorder.call import CallEvent, CallState, CaptureState, Seek, Stop, advance, begin, outcome
from recorder.model import BridgeId, ConsentMode, ConsentState, KeyAct, Outcome, Uniqueid
from tests.core.call_cast import (
    AGENT,
    BEHIND,
    CALLER,
    ELSEWHERE,
    HALF,
    OUTSIDER,
    SPEAKER,
    TALK,
    admitted,
    answered,
    armed,
    channel,
    closed,
    connected,
    entered,
    hung_up,
    key,
    left,
    made,
    relayed,
    resynchronised,
    rung,
)

TALKING = (answered(), armed(), rung(), connected(), entered(AGENT, 1), entered(CALLER, 2))
NEWCOMER = entered(OUTSIDER, 3, BEHIND)
NEWCOMERS = {
    "somebody new behind": NEWCOMER,
    "the half elsewhere": entered(HALF, 2, ELSEWHERE),
    "who spoke elsewhere": entered(SPEAKER, 2, ELSEWHERE),
}
each_newcomer = pytest.mark.parametrize("newcomer", NEWCOMERS.values(), ids=NEWCOMERS)


def after(*events: CallEvent) -> CallState:
    state = begin(relayed()).state
    for event in events:
        state = advance(state, event).state
    return state


@each_newcomer
def test_a_capture_ends_at_once_when_somebody_else_may_speak_through_its_channel(newcomer: CallEvent) -> None:
    step = advance(after(*TALKING), newcomer)
    assert [type(command) for command in step.commands] == [Stop]
    assert step.state.captures[0].state is CaptureState.STOPPING
    assert step.state.captures[0].bridged_until == newcomer.at


@each_newcomer
def test_an_armed_capture_ends_too_and_the_call_is_excluded(newcomer: CallEvent) -> None:
    state = after(answered(), armed(), newcomer, rung(), connected(), entered(AGENT, 1), entered(CALLER, 2))
    assert state.captures[0].state is CaptureState.STOPPING
    assert outcome(state) == (Outcome.EXCLUDED, None)


@each_newcomer
def test_who_comes_while_another_is_asked_has_agreed_to_nothing(newcomer: CallEvent) -> None:
    state = after(newcomer, answered())
    assert state.captures == ()
    assert state.consent is ConsentState.PROHIBITED


def test_who_was_there_may_come_back_there() -> None:
    state = after(*TALKING, left(SPEAKER, 1, BEHIND), entered(SPEAKER, 2, BEHIND), entered(OUTSIDER, 2, ELSEWHERE))
    assert state.captures[0].state is CaptureState.RUNNING


def test_what_was_kept_of_the_one_who_agreed_stays_a_recording() -> None:
    state = after(*TALKING, entered(OUTSIDER, 3, BEHIND), made(), hung_up())
    assert state.consent is ConsentState.PROHIBITED
    assert state.captures[0].bridged_until is not None


def test_a_refusal_outlives_who_said_it() -> None:
    state = after(answered(ConsentState.REFUSED), entered(OUTSIDER, 3, BEHIND))
    assert state.consent is ConsentState.REFUSED


def test_the_next_line_asks_whoever_stands_there_then() -> None:
    state = after(*TALKING, entered(OUTSIDER, 3, BEHIND), admitted(behind={HALF.uniqueid: BEHIND}))
    assert state.consent is ConsentState.NONE
    assert state.behind == {HALF.uniqueid: BEHIND}
    again = advance(advance(state, closed()).state, answered(recording=2)).state
    assert (again.consent, again.captures[-1].state) == (ConsentState.GIVEN, CaptureState.ARMING)


ANEW: dict[Uniqueid, BridgeId | None] = {HALF.uniqueid: BEHIND}
PROHIBITED_ANYWAY: dict[str, tuple[CallEvent, ...]] = {
    "a line that is never recorded": (admitted(ConsentMode.NEVER, behind=ANEW),),
    "such a line, and somebody else before": (NEWCOMER, admitted(ConsentMode.NEVER, behind=ANEW)),
    "personal, and somebody else now": (key(KeyAct.PERSONAL), admitted(behind=ANEW), entered(OUTSIDER, 2, BEHIND)),
}


@pytest.mark.parametrize("events", PROHIBITED_ANYWAY.values(), ids=PROHIBITED_ANYWAY)
def test_a_refusal_is_no_answer_where_consent_is_prohibited_for_more_than_that_somebody_else_came(
    events: tuple[CallEvent, ...],
) -> None:
    state = after(*TALKING, *events)
    assert state.consent is ConsentState.PROHIBITED
    step = advance(state, answered(ConsentState.REFUSED))
    assert (step.state, step.facts, step.expected) == (state, (), False)


@pytest.mark.parametrize(
    ("where", "strangers", "same"),
    [(BEHIND, 0, True), (BEHIND, 1, False), (ELSEWHERE, 0, False), (None, 0, False)],
    ids=["as before", "one more", "elsewhere", "gone"],
)
def test_after_blindness_only_the_same_company_goes_on(where: BridgeId | None, strangers: int, same: bool) -> None:
    found = resynchronised((CALLER, TALK), (AGENT, TALK), (HALF, where), (SPEAKER, where))
    if where is not None:
        found = replace(found, sizes={**found.sizes, where: 2 + strangers})
    state = advance(after(*TALKING), found).state
    assert (state.captures[0].state is CaptureState.RUNNING) is same
    assert state.captures[0].unproved is not same


def test_after_blindness_a_chain_that_was_optimised_while_we_saw_it_is_the_same_company() -> None:
    """The nearer Local channel is gone, and who spoke into it stands where its far end stood."""
    near, nearer = channel("Local/6100@house-00000002;1", "1.7"), channel("Local/6100@house-00000002;2", "1.8")
    behind: dict[Uniqueid, BridgeId | None]
    behind = {HALF.uniqueid: BEHIND, nearer.uniqueid: BEHIND, near.uniqueid: ELSEWHERE, SPEAKER.uniqueid: ELSEWHERE}
    state = begin(admitted(behind=behind)).state
    optimised = (entered(SPEAKER, 2, BEHIND), hung_up(near), hung_up(nearer))
    for event in (
        *TALKING,
        *optimised,
        resynchronised((CALLER, TALK), (AGENT, TALK), (HALF, BEHIND), (SPEAKER, BEHIND)),
    ):
        state = advance(state, event).state
    assert state.captures[0].state is CaptureState.RUNNING
    assert advance(state, entered(OUTSIDER, 3, BEHIND)).state.captures[0].state is CaptureState.STOPPING


def test_where_all_who_stood_behind_are_gone_whoever_comes_there_is_somebody_else() -> None:
    state = after(*TALKING, hung_up(SPEAKER), hung_up(HALF), entered(OUTSIDER, 1, BEHIND))
    assert state.captures[0].state is CaptureState.STOPPING


def test_a_refusal_that_follows_somebody_elses_coming_stands_on_every_line() -> None:
    state = after(entered(OUTSIDER, 3, BEHIND), answered(ConsentState.REFUSED))
    assert (state.consent, state.objected) == (ConsentState.REFUSED, True)


def test_the_queue_log_proves_nothing_of_a_talk_whose_speaker_may_have_changed() -> None:
    gone = resynchronised(capture_lives=False, proved=True)
    proved = advance(begin_direct(), gone).state.captures[0]
    unproved = advance(after(*TALKING), gone).state.captures[0]
    assert (proved.unproved, unproved.unproved) == (False, True)


def begin_direct() -> CallState:
    state = begin(admitted()).state
    for event in TALKING:
        state = advance(state, event).state
    return state


def test_the_mixmonitor_of_a_channel_that_is_gone_before_it_met_anybody_is_sought() -> None:
    state = begin(admitted()).state
    for event in (answered(), armed()):
        state = advance(state, event).state
    assert [type(command) for command in advance(state, hung_up()).commands if isinstance(command, Seek)] == [Seek]
    assert not any(isinstance(command, Seek) for command in advance(begin_direct(), hung_up()).commands)
