"""The machine that decides what happens to a call: its tables, every event in every reachable state, random calls."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import permutations
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from recorder.call import (
    CAPTURE_TRANSITIONS,
    PHASE_TRANSITIONS,
    Arm,
    CallAdmitted,
    CallEvent,
    CallState,
    Capture,
    CaptureState,
    ClockSet,
    Erase,
    Phase,
    PromptPlayed,
    Standing,
    Step,
    Stop,
    Trigger,
    advance,
    begin,
    capture_in_hand,
    event_from_fields,
    fields_from_event,
    outcome,
    shifted,
    standing,
)
from recorder.call.events import OwnEvent
from recorder.call.journal import EVENT_TYPES
from recorder.call.reading import READ_EVENTS
from recorder.call.state import BASIC_BRIDGE
from recorder.call.tables import BESIDE, FINISHED, UNCLOSED
from recorder.model import (
    AuditEntry,
    BridgeEntered,
    CallEnded,
    ConsentMode,
    ConsentRecorded,
    ConsentState,
    DialBegan,
    Direction,
    HoldBegan,
    HoldEnded,
    KeyAct,
    LostReason,
    MixMonitorStopped,
    Outcome,
    OverrideReason,
    RecordingChanged,
    RecordingId,
    RecordingStatus,
    SilenceCause,
)
from recorder.policy import stricter
from recorder.rights import Denied
from recorder.silences import SILENCE_TAIL
from tests.core import call_law
from tests.core.call_cast import (
    AGENT,
    CALLER,
    ELSEWHERE,
    FAR,
    OUTSIDER,
    PARKING,
    TALK,
    admitted,
    answered,
    armed,
    caller_told,
    capture_lost,
    clock_set,
    closed,
    connected,
    dialling,
    emptied,
    entered,
    erased,
    events_of_a_consultation,
    events_of_a_joining,
    every_event,
    hung_up,
    key,
    left,
    made,
    muted,
    pressed,
    prompted,
    relayed,
    resynchronised,
    rung,
    sight_lost,
    unmade,
)
from tests.facts import NOON, OVERRIDDEN

FIRST = {f"{mode} incoming": admitted(mode) for mode in ConsentMode} | {
    "opt_in outgoing": dialling(),
    "opt_in relayed": relayed(),
}
each_first = pytest.mark.parametrize("first", FIRST.values(), ids=FIRST)


def replayed(events: Sequence[CallEvent]) -> list[Step]:
    """The steps of a call; the first event is its admission. Every law is checked on the way."""
    first, *others = events
    assert isinstance(first, CallAdmitted)
    steps = [begin(first)]
    for event in others:
        before = steps[-1].state
        step = advance(before, event)
        call_law.check(before, event, step)
        steps.append(step)
    return steps


def after(*events: CallEvent) -> CallState:
    return replayed(events)[-1].state


def ended(state: CallState) -> CallState:
    """The call after everybody hung up and every capture was settled or found empty."""
    return after_all(state, (hung_up(AGENT), hung_up(CALLER), hung_up(OUTSIDER), hung_up(FAR)))


def after_all(state: CallState, ends: Iterable[CallEvent]) -> CallState:
    for event in ends:
        state = advance(state, event).state
    for capture in state.captures:
        recording = capture.id.int
        state = advance(state, made(recording) if capture.bridged_at else emptied(recording)).state
        state = advance(state, erased(recording)).state
    return state


# --------------------------------------------------------------------------- the tables


def test_both_tables_answer_every_trigger_in_every_state() -> None:
    assert set(PHASE_TRANSITIONS) == {(phase, trigger) for phase in Phase for trigger in Trigger}
    assert set(CAPTURE_TRANSITIONS) == {(capture, trigger) for capture in CaptureState for trigger in Trigger}


@pytest.mark.parametrize(
    ("table", "first"),
    [
        (PHASE_TRANSITIONS, {Phase.ASKING}),
        (CAPTURE_TRANSITIONS, {CaptureState.ARMING, CaptureState.PREPARING}),
    ],
)
def test_every_state_of_a_table_can_be_reached_and_every_finished_one_is_final(
    table: dict[tuple[object, Trigger], object], first: set[object]
) -> None:
    reached = set(first)
    while grown := {now for (before, _), now in table.items() if before in reached} - reached:
        reached |= grown
    assert reached == {state for state, _ in table}
    final = {state for state in reached if all(table[state, trigger] is state for trigger in Trigger)}
    still = {CaptureState.SETTLED, CaptureState.FAILED}  # these a withdrawal can still reach
    assert final == (FINISHED - still if CaptureState.ARMING in first else {Phase.CLOSED})


def test_no_capture_leads_back_to_one_that_asterisk_may_write() -> None:
    written = UNCLOSED - {CaptureState.STOPPING}
    back = {pair for pair, now in CAPTURE_TRANSITIONS.items() if now in written and pair[0] not in written}
    assert back == {(CaptureState.PREPARED, Trigger.JOINED)}


def test_what_is_prepared_beside_the_caller_is_only_joined_stopped_or_lost() -> None:
    ways = {(was, now) for (was, _), now in CAPTURE_TRANSITIONS.items() if was in BESIDE and now not in BESIDE}
    gone = {(state, end) for state in BESIDE for end in (CaptureState.STOPPED, CaptureState.FAILED)}
    assert ways == gone | {(CaptureState.PREPARED, CaptureState.QUIET)}
    assert not [pair for pair, now in CAPTURE_TRANSITIONS.items() if now in BESIDE and pair[0] not in BESIDE]


# --------------------------------------------------------------------------- every event in every reachable state


def essence(state: CallState) -> tuple[object, ...]:
    """What the next step depends on; two states with the same essence are explored once."""
    bridge = state.bridges.get(state.caller.uniqueid) if state.caller else None
    known = sum(where == bridge for where in state.bridges.values())
    hand = capture_in_hand(state)
    return (
        state.phase,
        state.mode,
        state.consent,
        state.caller is None,
        bool(state.agents),
        bridge and state.kinds.get(bridge, BASIC_BRIDGE),
        bridge is not None and state.bridges.get(AGENT.uniqueid) == bridge,
        bridge is not None and state.sizes.get(bridge, 0) > known,
        bool(state.held),
        hand and (hand.state, hand.authority is ConsentState.OVERRIDDEN, hand.to_tell is not None),
        state.paused is not None and hand is not None and not state.personal,
        state.personal,
        state.phase is Phase.OVER and any(capture.state is CaptureState.ERASING for capture in state.captures),
        state.phase in (Phase.ASKING, Phase.OVER)
        and any(capture.state is CaptureState.STOPPED for capture in state.captures),
        state.direction is Direction.OUTGOING and state.talked,
    )


def explored(first: CallAdmitted) -> list[CallState]:
    """One state of every essence that any order of events leads to, the laws checked at every step."""
    start = begin(first).state
    found = {essence(start): start}
    waiting = deque([start])
    while waiting:
        state = waiting.popleft()
        for event in every_event(state):
            step = advance(state, event)
            if step.state == state and not step.facts and not step.commands:
                continue
            call_law.check(state, event, step)
            if (key := essence(step.state)) not in found:
                found[key] = step.state
                waiting.append(step.state)
    return list(found.values())


@each_first
def test_no_event_in_any_reachable_state_breaks_a_law_or_keeps_the_call_from_ending(first: CallAdmitted) -> None:
    states = explored(first)
    assert {state.phase for state in states} == set(Phase)
    for state in states:
        for ends in permutations((hung_up(AGENT), hung_up(CALLER))):
            assert after_all(state, ends).phase is Phase.CLOSED
            assert after_all(after_all(state, ends), ends) == after_all(state, ends)


def test_the_events_that_are_tried_are_all_that_the_machine_reads() -> None:
    state = after(admitted(), answered())
    assert {type(event) for event in every_event(state)} >= READ_EVENTS
    assert {kind for kind in EVENT_TYPES.values() if issubclass(kind, OwnEvent)} <= READ_EVENTS


# --------------------------------------------------------------------------- random calls

TALKED: tuple[CallEvent, ...] = (
    admitted(),
    prompted(),
    answered(),
    armed(),
    connected(),
    entered(AGENT, 1),
    entered(CALLER, 2),
)
"""An agreed call up to the talk."""


@st.composite
def calls(draw: st.DrawFn) -> list[CallEvent]:
    """A call of any events, the fitting ones more often than chance would have them."""
    events: list[CallEvent] = [draw(st.sampled_from(list(FIRST.values())))]
    first = events[0]
    assert isinstance(first, CallAdmitted)
    if first.mode is ConsentMode.OPT_IN and draw(st.booleans()):
        events = list(TALKED[: draw(st.integers(1, len(TALKED)))])
    state = after(*events)
    for _ in range(draw(st.integers(0, 25))):
        beside = list(events_of_a_consultation(state)) if state.talked else []
        beside += events_of_a_joining(state) if state.talked else []
        event = draw(st.sampled_from([*every_event(state), *beside]))
        at = event.at + timedelta(seconds=len(events))
        events.append(replace(event, at=at))
        state = advance(state, events[-1]).state
    return events


@given(calls())
@hypothesis_settings(max_examples=150, deadline=None)
def test_a_random_call_keeps_every_law_and_has_one_end(events: list[CallEvent]) -> None:
    steps = replayed([*events, hung_up(AGENT), hung_up(CALLER)])
    last = steps[-1].state
    steps += [advance(last, end) for end in [resynchronised(capture_lives=False)]]
    assert sum(isinstance(fact, CallEnded) for step in steps for fact in step.facts) <= 1
    final = ended(last)
    assert final.phase is Phase.CLOSED
    call_law.check_outcome(final)


@given(calls())
@hypothesis_settings(max_examples=60, deadline=None)
def test_a_call_replayed_from_its_journal_stands_where_it_stood(events: list[CallEvent]) -> None:
    read = [event_from_fields(*fields_from_event(event)) for event in events]
    assert read == events
    assert replayed(read)[-1] == replayed(events)[-1]


@given(calls())
@hypothesis_settings(max_examples=60, deadline=None)
def test_a_call_cut_off_anywhere_still_has_an_outcome(events: list[CallEvent]) -> None:
    for step in replayed(events):
        final = ended(step.state)
        assert final.phase is Phase.CLOSED
        assert outcome(final)[0] in Outcome


@given(calls(), st.data())
@hypothesis_settings(max_examples=200, deadline=None)
def test_a_clock_that_is_set_in_mid_call_changes_no_duration_and_nothing_else(
    events: list[CallEvent], data: st.DataObject
) -> None:
    """Set as often as they like: every step is what it would have been, by the clock of its time."""
    hours = st.floats(-48, 48).map(lambda hours: timedelta(hours=hours))
    steps = replayed([*events, hung_up(AGENT), hung_up(CALLER)])
    ends = next((place for place, step in enumerate(steps) if step.state.phase is Phase.CLOSED), len(steps) - 1)
    sets = data.draw(st.dictionaries(st.integers(1, max(1, ends)), hours, max_size=4))
    set_by, heard, expected = timedelta(), list[CallEvent](), list[Step]()
    for place, event in enumerate([*events, hung_up(AGENT), hung_up(CALLER)][: ends + 1]):
        if place in sets:
            set_by += sets[place]
            heard.append(clock_set(sets[place]))
            expected.append(Step(state=shifted(steps[place - 1].state, set_by)))
        heard.append(shifted(event, set_by))
        expected.append(shifted(steps[place], set_by))
    assert replayed(heard) == expected


def test_a_talk_over_a_step_back_of_an_hour_lasts_as_long_as_it_did_with_its_pause_in_the_right_place() -> None:
    def later(event: CallEvent, seconds: float) -> CallEvent:
        return replace(event, at=event.at + timedelta(seconds=seconds))

    back = timedelta(hours=-1)
    after_it = (
        *(later(event, 20) for event in (key(KeyAct.RESUME), muted(False))),
        *(later(event, 60) for event in (left(CALLER, 1), hung_up(CALLER))),
    )
    steps = replayed(
        [
            *TALKED,
            *(later(event, 10) for event in (key(KeyAct.PAUSE), muted())),
            clock_set(back),
            *(shifted(event, back) for event in after_it),
        ]
    )
    (stopped,) = [
        fact
        for step in steps
        for fact in step.facts
        if isinstance(fact, RecordingChanged) and fact.status is RecordingStatus.STOPPED
    ]
    assert (stopped.bridged_seconds, stopped.keep_seconds) == (60.0, None)
    assert [(row.from_seconds, row.to_seconds) for row in stopped.silences] == [(10.0, 20.0)]


def repeatable(event: CallEvent) -> bool:
    """Asterisk may tell the same twice; an admission, the end of a MixMonitor and a clock that is set mean something.

    The first stop that we did not send makes us send ours, and the second one is its answer.
    """
    return not isinstance(event, CallAdmitted | MixMonitorStopped | ClockSet)


def told(state: CallState) -> list[Capture]:
    """Whether Asterisk wrote silence last does not matter where it has written nothing."""
    return [
        replace(capture, silent=False) if capture.state is CaptureState.EMPTY else capture for capture in state.captures
    ]


@given(calls())
@hypothesis_settings(max_examples=100, deadline=None)
def test_an_event_that_comes_twice_changes_nothing_that_matters(events: list[CallEvent]) -> None:
    doubled = [copy for event in events for copy in [event] * (2 if repeatable(event) else 1)]
    once, twice = ended(replayed(events)[-1].state), ended(replayed(doubled)[-1].state)
    assert (twice.phase, twice.consent, told(twice)) == (once.phase, once.consent, told(once))
    assert outcome(twice) == outcome(once)


# --------------------------------------------------------------------------- single cases, each once wrong or nearly


def test_an_agreed_call_is_captured_from_the_bridge_on() -> None:
    steps = replayed(TALKED)
    assert [command for step in steps for command in step.commands] == [
        Arm(recording=answered().recording, channel=CALLER)
    ]
    (capture,) = steps[-1].state.captures
    assert (capture.state, capture.bridged_at) == (CaptureState.RUNNING, NOON)


def test_a_prompt_told_late_does_not_unsay_a_refusal() -> None:
    state = after(admitted(), prompted(), answered(ConsentState.REFUSED), prompted())
    assert state.consent is ConsentState.REFUSED


def test_a_line_that_is_never_recorded_stays_excluded_whatever_is_played_or_answered() -> None:
    state = after(admitted(ConsentMode.NEVER), prompted(), answered(), hung_up())
    assert outcome(state) == (Outcome.EXCLUDED, None)


def test_a_refusal_stands_on_the_next_line_against_a_later_yes() -> None:
    state = after(admitted(), answered(ConsentState.REFUSED), admitted(ConsentMode.NOTICE), answered())
    assert state.consent is ConsentState.REFUSED
    assert state.captures == ()


def test_a_yes_is_carried_to_the_next_line_and_the_first_capture_ends() -> None:
    steps = replayed([*TALKED, left(CALLER, 1), admitted(), closed(), answered(recording=2)])
    assert [capture.state for capture in steps[-1].state.captures] == [CaptureState.STOPPED, CaptureState.ARMING]


@pytest.mark.parametrize(
    ("origin", "said", "destination", "mode", "stands_at"),
    [
        (ConsentMode.OPT_IN, ConsentState.GIVEN, ConsentMode.NEVER, ConsentMode.NEVER, ConsentState.PROHIBITED),
        (ConsentMode.OPT_IN, ConsentState.REFUSED, ConsentMode.NOTICE, ConsentMode.OPT_IN, ConsentState.REFUSED),
        (ConsentMode.OPT_IN, ConsentState.UNANSWERED, ConsentMode.NOTICE, ConsentMode.OPT_IN, ConsentState.NONE),
        (ConsentMode.OPT_IN, ConsentState.GIVEN, ConsentMode.NOTICE, ConsentMode.OPT_IN, ConsentState.GIVEN),
        (ConsentMode.NOTICE, ConsentState.NOTICED, ConsentMode.OPT_IN, ConsentMode.OPT_IN, ConsentState.NONE),
        (ConsentMode.OPT_OUT, ConsentState.UNANSWERED, ConsentMode.NOTICE, ConsentMode.OPT_OUT, ConsentState.NONE),
        (ConsentMode.NEVER, ConsentState.PROHIBITED, ConsentMode.NOTICE, ConsentMode.OPT_IN, ConsentState.NONE),
    ],
)
def test_the_stricter_of_two_lines_applies_to_what_was_said_on_the_first(
    origin: ConsentMode, said: ConsentState, destination: ConsentMode, mode: ConsentMode, stands_at: ConsentState
) -> None:
    state = after(admitted(origin), answered(said), admitted(stricter(origin, destination)))
    assert (state.mode, state.consent) == (mode, stands_at)


def test_what_is_only_announced_on_the_next_line_does_not_permit_after_an_unanswered_question() -> None:
    applies = stricter(ConsentMode.OPT_IN, ConsentMode.NOTICE)
    unanswered = (admitted(), answered(ConsentState.UNANSWERED), admitted(applies))
    assert after(*unanswered, answered(ConsentState.NOTICED, 2)).captures == ()
    assert after(*unanswered, answered(ConsentState.GIVEN, 2)).captures != ()


def test_a_yes_is_worth_what_it_was_given_for_however_many_lines_it_passes() -> None:
    narrow, wide = frozenset({"training"}), frozenset({"training", "discipline"})
    agreed = [admitted(purposes=narrow), answered()]
    assert after(*agreed, admitted(purposes=narrow)).consent is ConsentState.GIVEN
    assert after(*agreed, admitted(purposes=wide)).consent is ConsentState.NONE
    passed = [*agreed, closed(), admitted(), answered(recording=2), closed(2)]  # a line of no purpose asks nothing new
    assert after(*passed, admitted(purposes=narrow)).consent is ConsentState.GIVEN
    assert after(*passed, admitted(purposes=wide)).consent is ConsentState.NONE


def test_whoever_the_caller_met_before_a_stop_was_confirmed_is_not_kept() -> None:
    parted = [*TALKED, left(CALLER, 1)]
    (capture,) = after(*parted, closed()).captures
    assert not capture.unproved
    (capture,) = after(*parted, entered(CALLER, 1, PARKING), left(CALLER, 0, PARKING), closed()).captures
    assert capture.unproved


def test_a_late_event_ends_a_capture_when_it_happened_and_not_when_it_is_read() -> None:
    """Between the stop that the machine sent and its own time nothing else has moved: the edge is Asterisk's."""
    met = replace(entered(OUTSIDER, 3), at=NOON + timedelta(seconds=7))
    over = replace(closed(), at=NOON + timedelta(seconds=7, milliseconds=280))
    steps = replayed([*TALKED, met, over])
    (stopped,) = [fact for fact in steps[-1].facts if isinstance(fact, RecordingChanged)]
    assert (stopped.bridged_seconds, stopped.keep_seconds) == (7.0, 7.0)
    assert stopped.at == over.at


def test_a_bridge_left_late_does_not_stop_the_next_lines_capture() -> None:
    state = after(*TALKED, admitted(), closed(), answered(recording=2), armed(2), left(CALLER, 1))
    assert state.captures[-1].state is CaptureState.ARMED


def test_the_answer_of_another_channel_arms_nothing() -> None:
    step = replayed([admitted(), answered(by=OUTSIDER)])[-1]
    assert (step.expected, step.commands) == (False, ())


@pytest.mark.parametrize(
    ("listed", "reason"), [(frozenset(), OverrideReason.EMERGENCY), ({OverrideReason.LEGAL}, OverrideReason.BUSINESS)]
)
def test_a_reason_that_the_line_does_not_list_overrides_nothing_even_after_a_yes(
    listed: frozenset[OverrideReason], reason: OverrideReason
) -> None:
    talk: list[CallEvent] = [admitted(listed=frozenset(listed)), answered(hindrance=LostReason.BUSY), *TALKED[4:]]
    step = replayed([*talk, pressed(reason)])[-1]
    assert (step.expected, step.facts, step.commands) == (False, (), ())


def test_an_override_captures_the_caller_and_nobody_else() -> None:
    talk: list[CallEvent] = [admitted(), answered(ConsentState.REFUSED), *TALKED[4:]]
    assert not replayed([*talk, pressed(far=AGENT)])[-1].commands
    assert replayed([*talk, pressed()])[-1].commands == (Arm(recording=pressed().recording, channel=CALLER),)


def test_a_second_press_of_the_key_does_nothing() -> None:
    talk: list[CallEvent] = [admitted(), answered(ConsentState.REFUSED), *TALKED[4:], pressed()]
    assert replayed([*talk, pressed(recording=2)])[-1] == Step(state=after(*talk), expected=False)


TELLING: tuple[CallEvent, ...] = (
    admitted(),
    answered(ConsentState.REFUSED),
    connected(),
    entered(AGENT, 1),
    entered(CALLER, 2),
    pressed(recording=2, telling=OVERRIDDEN),
    armed(2),
)
"""A refuser's call up to an override of which the caller is to be told."""


def audited(steps: Iterable[Step]) -> list[tuple[str, str | None]]:
    """What the audit says, with Asterisk's word for the playing."""
    facts = (fact for step in steps for fact in step.facts if isinstance(fact, AuditEntry))
    return [(fact.action, fact.details.get("status")) for fact in facts]


def test_a_capture_of_which_the_caller_was_told_is_kept_and_that_is_a_fact() -> None:
    steps = replayed([*TELLING, caller_told(2), hung_up(), closed(2), made(2)])
    assert audited(steps) == [("override", None), ("override told", "SUCCESS")]
    assert outcome(steps[-1].state) == (Outcome.RECORDED, None)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        (caller_told(2, status="FAILED"), "FAILED"),
        (caller_told(2, status=None, played_ms=None), "no word"),
        (caller_told(2, played_ms=None), "SUCCESS"),
        (caller_told(2, played_ms=2000), "SUCCESS"),
    ],
    ids=["not played", "no word", "no length", "cut"],
)
def test_a_capture_of_which_the_caller_was_not_told_stops_and_is_erased(word: CallEvent, said: str) -> None:
    steps = replayed([*TELLING, word, closed(2)])
    assert [type(command) for command in steps[-2].commands] == [Stop]
    assert [type(command) for command in steps[-1].commands] == [Erase]
    assert audited(steps) == [("override", None), ("override not told", said)]
    assert outcome(ended(steps[-1].state)) == (Outcome.LOST, LostReason.PROMPT_FAILED)


@pytest.mark.parametrize("ends", [(hung_up(),), (left(CALLER, 1), closed(2)), (capture_lost(2),)], ids=len)
def test_a_capture_that_ends_before_its_caller_was_told_is_erased_though_told_of_later(
    ends: tuple[CallEvent, ...],
) -> None:
    steps = replayed([*TELLING, *ends])
    assert Erase(recording=RecordingId(UUID(int=2))) in [command for step in steps for command in step.commands]
    late = replayed([*TELLING, *ends, caller_told(2)])[-1].state
    assert [capture.state for capture in late.captures] == [CaptureState.ERASING]


def test_an_override_of_which_an_older_journal_says_nothing_of_telling_is_kept_as_it_was() -> None:
    steps = replayed([*TELLING[:-2], pressed(recording=2), armed(2), hung_up(), closed(2), made(2)])
    assert outcome(steps[-1].state) == (Outcome.RECORDED, None)


def test_an_override_that_rests_on_nothing_any_more_captures_nothing_and_that_it_was_tried_is_kept() -> None:
    steps = replayed([*TELLING[:-2], pressed(recording=2, unfounded=True)])
    (refused,) = steps[-1].facts
    assert isinstance(refused, AuditEntry)
    assert (refused.action, refused.recording, refused.actor) == ("override refused", None, "PJSIP/alice")
    assert refused.details == {"reason": "emergency", "prior_state": "refused", "hindrance": "without_basis"}
    assert (steps[-1].state, steps[-1].commands) == (steps[-2].state, ())


@pytest.mark.parametrize("user", ["alice", None])
def test_an_override_of_somebody_without_the_right_captures_nothing_and_that_it_was_tried_is_kept(
    user: str | None,
) -> None:
    steps = replayed([*TELLING[:-2], replace(pressed(recording=2), user=user, denied=Denied.NOT_GRANTED)])
    (refused,) = steps[-1].facts
    assert isinstance(refused, AuditEntry)
    assert (refused.action, refused.recording, refused.actor) == ("override refused", None, "PJSIP/alice")
    assert refused.details == {
        "reason": "emergency",
        "prior_state": "refused",
        "hindrance": "without_right",
        "denied": "not_granted",
    } | ({"user": user} if user else {})
    assert (steps[-1].state, steps[-1].commands) == (steps[-2].state, ())


def test_an_override_names_the_person_whose_it_is() -> None:
    steps = replayed([*TELLING[:-2], replace(pressed(recording=2), user="alice")])
    (entry,) = (fact for fact in steps[-1].facts if isinstance(fact, AuditEntry))
    assert (entry.action, entry.actor, entry.details["user"]) == ("override", "PJSIP/alice", "alice")


def test_an_override_rests_on_the_settings_of_the_key_and_the_answer_on_those_of_its_question() -> None:
    steps = replayed([*TELLING[:-2], replace(pressed(recording=2), basis="s. 1", policy="later")])
    facts = [fact for step in steps for fact in step.facts]
    assert [fact.policy for fact in facts if isinstance(fact, ConsentRecorded)] == ["digest", "later"]
    assert [fact.details["policy"] for fact in facts if isinstance(fact, AuditEntry)] == ["later"]


def test_a_capture_confirmed_beside_a_stranger_is_stopped_at_once() -> None:
    step = replayed([admitted(), entered(CALLER, 1, PARKING), answered(), armed()])[-1]
    assert [type(command) for command in step.commands] == [Stop]


def test_somebody_unknown_in_the_bridge_stops_the_capture_for_good() -> None:
    steps = replayed([*TALKED, entered(OUTSIDER, 3), left(OUTSIDER, 2)])
    assert [type(command) for command in steps[-2].commands] == [Stop]
    assert steps[-1].state.phase is Phase.TALKING
    assert steps[-1].state.captures[0].state is CaptureState.STOPPING


BRIDGED = (entered(OUTSIDER, 1), entered(CALLER, 2))


def test_whoever_picks_up_a_members_call_or_has_it_forwarded_is_not_captured() -> None:
    steps = replayed([*TALKED[:4], rung(), connected(OUTSIDER), *BRIDGED])
    assert standing(steps[-1].state) is Standing.FOREIGN
    assert [type(command) for command in steps[-1].commands] == [Stop]
    assert steps[-1].state.captures[0].bridged_at is None


def test_after_a_time_that_we_did_not_see_the_queues_word_counts_for_who_answered() -> None:
    steps = replayed([*TALKED[:4], rung(), resynchronised((CALLER, None)), rung(), connected(OUTSIDER), *BRIDGED])
    assert standing(steps[-1].state) is Standing.TOGETHER
    assert steps[-1].state.captures[0].state is CaptureState.RUNNING


@pytest.mark.parametrize(
    "event", [entered(AGENT, 3), resynchronised((CALLER, TALK), (AGENT, TALK), strangers=1)], ids=["told", "found"]
)
def test_one_more_in_the_bridge_than_is_known_stops_the_capture(event: CallEvent) -> None:
    step = replayed([*TALKED, event])[-1]
    assert standing(step.state) is Standing.FOREIGN
    assert [type(command) for command in step.commands] == [Stop]


def test_a_hold_is_silence_and_its_end_is_speech() -> None:
    steps = replayed([*TALKED, HoldBegan(at=NOON, channel=AGENT), HoldEnded(at=NOON, channel=AGENT)])
    assert [step.state.captures[0].state for step in steps[-2:]] == [CaptureState.QUIET, CaptureState.RUNNING]


def test_a_mixmonitor_stop_that_we_did_not_send_is_followed_by_our_own() -> None:
    """It may have been somebody else's MixMonitor on the same channel: Asterisk does not say whose."""
    stopped = MixMonitorStopped(at=NOON, channel=CALLER)
    steps = replayed([*TALKED, stopped, stopped])
    assert [type(command) for command in steps[-2].commands] == [Stop]
    assert steps[-1].state.captures[0].state is CaptureState.STOPPED


def test_an_outgoing_call_whose_callee_was_gone_before_it_was_admitted_ends_with_its_agent() -> None:
    answered_late = admitted(direction=Direction.OUTGOING)
    state = after(dialling(), hung_up(CALLER), answered_late, hung_up(AGENT))
    assert (state.phase, outcome(state)[0]) == (Phase.CLOSED, Outcome.ABANDONED)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_an_outgoing_call_knows_both_parties_in_whichever_order_they_are_told(order: tuple[int, int]) -> None:
    parties = (dialling(), admitted(direction=Direction.OUTGOING))
    talk = after(*(parties[place] for place in order), answered(), armed(), entered(AGENT, 1), entered(CALLER, 2))
    assert (standing(talk), talk.captures[0].state) == (Standing.TOGETHER, CaptureState.RUNNING)


def test_an_outgoing_call_that_is_told_twice_of_its_callee_keeps_its_agent() -> None:
    callee = admitted(direction=Direction.OUTGOING)
    assert after(dialling(), callee, callee).agents == {AGENT.uniqueid}


def test_a_talk_found_in_another_bridge_is_a_talk_without_its_capture() -> None:
    state = after(*TALKED, resynchronised((CALLER, ELSEWHERE), (AGENT, ELSEWHERE)))
    assert (state.phase, state.captures[0].state) == (Phase.TALKING, CaptureState.STOPPING)


def test_what_the_queue_log_proves_of_a_talk_that_nobody_saw_is_kept() -> None:
    state = after(*TALKED[:4], resynchronised(capture_lives=False, proved=True))
    (capture,) = state.captures
    within_the_second = NOON + timedelta(seconds=1)  # that the log names
    assert (state.talked, capture.bridged_until, capture.unproved) == (True, within_the_second, False)


def test_a_talk_that_nobody_saw_goes_on_after_a_pause_that_nobody_saw() -> None:
    acts = ((KeyAct.PAUSE, 4), (KeyAct.RESUME, 9))
    pause, resume = (replace(key(act), at=NOON + timedelta(seconds=at), heard=False) for act, at in acts)
    proof = replace(resynchronised(capture_lives=False, proved=True), talk_proved_until=NOON + timedelta(seconds=20))
    change = kept((*TALKED[:5], pause, resume, later(proof, 30)))
    silenced = 9 + SILENCE_TAIL  # Asterisk silenced nothing of it: nothing at its end is left to Asterisk
    assert [(silence.cause, silence.to_seconds) for silence in change.silences] == [(SilenceCause.PAUSE, silenced)]


def test_a_pause_of_a_talk_whose_beginning_nobody_saw_lies_where_it_was() -> None:
    acts = ((KeyAct.PAUSE, 4), (KeyAct.RESUME, 9))
    pause, resume = (replace(key(act), at=NOON + timedelta(seconds=at), heard=False) for act, at in acts)
    seen = replace(resynchronised((CALLER, TALK), (AGENT, TALK)), at=NOON + timedelta(seconds=20), talk_began_at=NOON)
    ended = (later(left(CALLER, 1), 30), later(closed(), 30.01))
    change = kept((*TALKED[:5], pause, resume, seen, *ended))
    assert (SilenceCause.PAUSE, 4, 9 + SILENCE_TAIL) in [
        (one.cause, one.from_seconds, one.to_seconds) for one in change.silences
    ]
    assert change.bridged_seconds == 30


def test_what_nothing_proves_ends_at_the_last_sight_of_it() -> None:
    (capture,) = after(*TALKED, resynchronised(capture_lives=False)).captures
    assert (capture.state, capture.bridged_until, capture.unproved) == (CaptureState.STOPPED, NOON, True)


def test_a_capture_that_failed_leaves_the_call_lost_with_its_reason() -> None:
    state = ended(after(*TALKED, capture_lost()))
    assert outcome(state) == (Outcome.LOST, LostReason.CAPTURE_FAILED)


def test_the_confirmation_of_a_failed_captures_stop_is_no_surprise() -> None:
    assert replayed([*TALKED, capture_lost(), closed()])[-1].expected


def test_an_event_of_no_concern_changes_nothing() -> None:
    state = after(*TALKED)
    assert (
        advance(state, BridgeEntered(at=NOON, channel=OUTSIDER, bridge=PARKING, bridge_type="x", channels=1)).facts
        == ()
    )
    assert standing(state) is Standing.TOGETHER


@pytest.mark.parametrize("name", EVENT_TYPES)
def test_every_kind_of_event_can_be_journalled(name: str) -> None:
    assert EVENT_TYPES[name].__name__ == name


def test_a_dialling_that_nobody_began_survives_the_journal() -> None:
    event = DialBegan(at=NOON, channel=None, dialled=AGENT)
    assert event_from_fields(*fields_from_event(event)) == event


def test_by_how_much_a_clock_was_set_survives_the_journal_to_the_microsecond() -> None:
    event = clock_set(timedelta(hours=-30, microseconds=1))
    assert event_from_fields(*fields_from_event(event)) == event


def test_an_event_of_another_version_is_refused_by_its_name() -> None:
    with pytest.raises(KeyError):
        event_from_fields("CallPaused", {})


def test_the_prompt_that_was_played_is_in_the_consent_event() -> None:
    event = prompted()
    assert isinstance(event, PromptPlayed)
    (fact,) = advance(begin(admitted()).state, event).facts
    assert (fact.prompt, fact.played_ms) == (event.prompt, event.played_ms)  # type: ignore[union-attr]


# --------------------------------------------------------------------------- what nobody saw


def later(event: CallEvent, seconds: float) -> CallEvent:
    return replace(event, at=NOON + timedelta(seconds=seconds))


def kept(events: Iterable[CallEvent]) -> RecordingChanged:
    """What the last step says of the capture."""
    facts = [fact for step in replayed(tuple(events)) for fact in step.facts]
    return next(fact for fact in reversed(facts) if isinstance(fact, RecordingChanged))


def test_a_departure_that_we_slept_through_ends_what_may_be_kept_before_the_sleep() -> None:
    slept = sight_lost(NOON + timedelta(seconds=10))
    change = kept((*TALKED, later(slept, 60), later(left(CALLER, 1), 60), later(closed(), 60.01)))
    assert (change.status, change.keep_seconds) == (RecordingStatus.STOPPED, 10)


@pytest.mark.parametrize("ends", [closed(), hung_up()], ids=["confirmed", "hung up before"])
def test_what_is_written_beside_a_stranger_until_the_stop_is_confirmed_is_not_kept(ends: CallEvent) -> None:
    change = kept((*TALKED, later(entered(OUTSIDER, 3), 10), later(ends, 10.01)))
    assert (change.bridged_seconds, change.keep_seconds) == (10, 10)


def test_what_is_written_in_the_next_bridge_until_the_stop_is_confirmed_is_not_kept() -> None:
    moves = (later(left(CALLER, 1), 10), later(entered(CALLER, 2, PARKING), 10.02), later(closed(), 10.03))
    assert kept((*TALKED, *moves)).keep_seconds == 10


def test_a_talk_that_ends_by_hanging_up_is_kept_to_its_last_sample() -> None:
    assert kept((*TALKED, later(left(CALLER, 1), 10), later(closed(), 10.01))).keep_seconds is None


def test_a_talk_that_went_on_while_we_slept_is_kept_whole() -> None:
    slept = later(sight_lost(NOON + timedelta(seconds=10)), 60)
    found = later(resynchronised((CALLER, TALK), (AGENT, TALK)), 61)
    change = kept((*TALKED, slept, found, later(left(CALLER, 1), 70), later(closed(), 70)))
    assert (change.bridged_seconds, change.keep_seconds) == (70, None)


def test_the_queue_logs_word_for_a_later_talk_proves_nothing_of_this_one() -> None:
    found = replace(
        resynchronised(capture_lives=False),
        at=NOON + timedelta(seconds=100),
        blind_from=NOON + timedelta(seconds=10),
        talk_began_at=NOON + timedelta(seconds=40),
        talk_proved_until=NOON + timedelta(seconds=90),
    )
    assert kept((*TALKED, found)).keep_seconds == 10


def test_a_talk_that_only_the_queue_log_saw_begin_is_lost_and_not_abandoned() -> None:
    found = replace(resynchronised(capture_lives=False), talk_began_at=NOON)
    assert outcome(ended(after(admitted(), answered(), armed(), found))) == (Outcome.LOST, LostReason.RECORDER_AWAY)
    refused = after(admitted(), answered(ConsentState.REFUSED), found)
    assert outcome(ended(refused)) == (Outcome.DECLINED, None)


def _hangs_up_soon(seconds: float, *before: CallEvent, last: CallEvent) -> tuple[Outcome, LostReason | None]:
    """A caller who has agreed is gone so soon after the bridge; what the recording came to is `last`."""
    return outcome(_hung_up_soon(seconds, *before, last=last))


def _hung_up_soon(seconds: float, *before: CallEvent, last: CallEvent) -> CallState:
    soon = timedelta(seconds=seconds)
    gone = (replace(left(CALLER, 1), at=NOON + soon), replace(hung_up(), at=NOON + soon), closed(), last)
    return replayed([*TALKED, *before, *gone])[-1].state


def test_a_talk_with_no_room_for_a_word_that_left_no_audio_is_no_lost_call() -> None:
    assert _hangs_up_soon(0.06, last=emptied()) == (Outcome.ABANDONED, None)
    assert _hangs_up_soon(0.06, last=made()) == (Outcome.RECORDED, None)


def test_a_talk_without_audio_is_lost_where_there_was_room_for_a_word_or_anything_had_failed() -> None:
    assert _hangs_up_soon(0.5, last=emptied()) == (Outcome.LOST, LostReason.CAPTURE_FAILED)
    assert _hangs_up_soon(0.06, last=unmade())[0] is Outcome.LOST
    unseen = replace(sight_lost(NOON), at=NOON)
    assert _hangs_up_soon(0.06, unseen, last=emptied())[0] is not Outcome.ABANDONED
    refused = (admitted(), answered(ConsentState.REFUSED), connected(), entered(AGENT, 1), entered(CALLER, 2))
    late = NOON + timedelta(seconds=600)
    over = (replace(event, at=late) for event in (pressed(), armed(), left(CALLER, 1), hung_up(), closed(), emptied()))
    assert outcome(replayed([*refused, *over])[-1].state)[0] is Outcome.LOST
    again = (left(AGENT, 1), replace(hung_up(), at=late), closed(), emptied())
    assert outcome(replayed([*TALKED, *again])[-1].state)[0] is Outcome.LOST
    away = replace(_hung_up_soon(0.06, last=emptied()), lost=LostReason.PBX_AWAY)
    assert outcome(away) == (Outcome.LOST, LostReason.PBX_AWAY)


def test_an_agent_who_dials_again_for_another_line_is_judged_by_that_line() -> None:
    first = replace(dialling(ConsentMode.OPT_OUT), line="sales")
    second = replace(dialling(ConsentMode.OPT_IN), line="claims")
    callee = admitted(ConsentMode.OPT_IN, Direction.OUTGOING)
    steps = replayed((first, second, replace(callee, line="claims"), answered(ConsentState.UNANSWERED)))
    assert [command for step in steps for command in step.commands] == []
    assert (steps[-1].state.line, steps[-1].state.mode) == ("claims", ConsentMode.OPT_IN)
