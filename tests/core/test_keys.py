"""The keys of a talk, one decision at a time: who may press what, what it asks for, and what is kept."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from recorder.call import (
    Acknowledge,
    CallState,
    Capture,
    CaptureState,
    Erase,
    KeyAnswer,
    Phase,
    Quiet,
    Settle,
    SilenceFailed,
    Step,
    Stop,
    advance,
    begin,
    outcome,
)
from recorder.call.events import CallEvent
from recorder.model import (
    AuditEntry,
    Channel,
    ConsentMode,
    ConsentRecorded,
    ConsentState,
    HoldBegan,
    HoldEnded,
    KeyAct,
    Outcome,
    OverrideReason,
    RecordingChanged,
    RecordingStatus,
    SilenceCause,
)
from recorder.silences import SILENCE_TAIL, spans_to_keep
from tests.core.call_cast import (
    AGENT,
    CALLER,
    ELSEWHERE,
    OUTSIDER,
    TALK,
    admitted,
    answered,
    armed,
    capture_lost,
    closed,
    connected,
    entered,
    erased,
    hung_up,
    key,
    left,
    made,
    muted,
    pressed,
    resynchronised,
    sight_lost,
)
from tests.facts import NOON, later

AGREED: tuple[CallEvent, ...] = (
    admitted(),
    answered(),
    armed(),
    connected(),
    entered(AGENT, 1),
    entered(CALLER, 2),
)
REFUSED: tuple[CallEvent, ...] = (
    admitted(),
    answered(ConsentState.REFUSED),
    connected(),
    entered(AGENT, 1),
    entered(CALLER, 2),
)
OVERRIDDEN: tuple[CallEvent, ...] = (*REFUSED, pressed(), armed())


def played(*events: CallEvent) -> list[Step]:
    first, *others = events
    steps = [begin(first)]  # type: ignore[arg-type]
    for event in others:
        steps.append(advance(steps[-1].state, event))
    return steps


NEVER: tuple[CallEvent, ...] = (
    admitted(ConsentMode.NEVER),
    answered(ConsentState.PROHIBITED),
    connected(),
    entered(AGENT, 1),
    entered(CALLER, 2),
)
STOOD_STILL = replace(sight_lost(later(10)), at=later(40))


def told(step: Step) -> list[KeyAnswer]:
    return [command.answer for command in step.commands if isinstance(command, Acknowledge)]


def at(event: CallEvent, seconds: float) -> CallEvent:
    return replace(event, at=NOON + timedelta(seconds=seconds))


def after(*events: CallEvent) -> CallState:
    return played(*events)[-1].state


# --------------------------------------------------------------------------- pause and resume


def test_a_pause_asks_for_silence_and_is_answered_by_asterisks_own_word_alone() -> None:
    asked, confirmed = played(*AGREED, key(KeyAct.PAUSE), muted())[-2:]
    assert [(command.quiet, type(command)) for command in asked.commands if isinstance(command, Quiet)] == [
        (True, Quiet)
    ]
    assert told(asked) == []
    assert told(confirmed) == [KeyAnswer.PAUSED]
    assert confirmed.state.captures[0].state is CaptureState.PAUSED


def test_a_resume_is_answered_once_speech_is_written_again() -> None:
    asked, confirmed = played(*AGREED, key(KeyAct.PAUSE), muted(), key(KeyAct.RESUME), muted(False))[-2:]
    assert [command.quiet for command in asked.commands if isinstance(command, Quiet)] == [False]
    assert (told(asked), told(confirmed)) == ([], [KeyAnswer.RESUMED])


def test_a_pause_pressed_twice_acts_once_and_is_answered_twice() -> None:
    steps = played(*AGREED, key(KeyAct.PAUSE), muted(), key(KeyAct.PAUSE))
    assert [type(command) for command in steps[-1].commands] == [Acknowledge]


def test_a_pause_without_any_capture_is_so_at_once_and_holds_for_a_later_override() -> None:
    steps = played(*REFUSED, key(KeyAct.PAUSE), pressed(), armed())
    assert told(steps[-3]) == [KeyAnswer.PAUSED]
    assert steps[-1].state.captures[0].state is CaptureState.PAUSED
    assert [command.quiet for command in steps[-1].commands if isinstance(command, Quiet)] == [True]


def test_a_pause_outlasts_a_hold() -> None:
    held = (HoldBegan(at=NOON, channel=AGENT), HoldEnded(at=NOON, channel=AGENT))
    assert after(*AGREED, key(KeyAct.PAUSE), muted(), *held).captures[0].state is CaptureState.PAUSED


def test_a_pause_outlasts_the_way_to_another_line() -> None:
    state = after(*AGREED, key(KeyAct.PAUSE), muted(), admitted(), closed(), answered(recording=2), armed(2))
    assert state.captures[-1].state is CaptureState.PAUSED


def test_the_time_line_begins_at_the_bridge_also_where_it_begins_in_silence() -> None:
    paused = (*REFUSED, key(KeyAct.PAUSE), at(pressed(), 1), at(armed(), 2))
    (capture,) = after(*paused).captures
    assert capture.bridged_at == NOON + timedelta(seconds=2)


def test_a_pause_that_is_not_confirmed_stops_the_capture_and_says_so() -> None:
    recording = answered().recording
    failed = SilenceFailed(at=NOON, recording=recording)
    steps = played(*AGREED, key(KeyAct.PAUSE), failed, closed())
    assert [type(command) for command in steps[-2].commands] == [Stop]
    assert told(steps[-1]) == [KeyAnswer.STOPPED]


@pytest.mark.parametrize("act", [KeyAct.PAUSE, KeyAct.RESUME, KeyAct.PERSONAL])
def test_the_caller_has_no_key_but_their_own(act: KeyAct) -> None:
    step = played(*AGREED, key(act, CALLER))[-1]
    assert (step.expected, told(step)) == (False, [KeyAnswer.REFUSED])
    assert step.state.captures[0].state is CaptureState.RUNNING


@pytest.mark.parametrize("act", list(KeyAct))
def test_a_stranger_may_press_what_they_like(act: KeyAct) -> None:
    step = played(*AGREED, key(act, OUTSIDER))[-1]
    assert (step.expected, told(step)) == (False, [KeyAnswer.REFUSED])
    assert step.state.captures[0].state is CaptureState.RUNNING


def test_a_key_read_from_the_queue_log_is_obeyed_and_answered_to_nobody() -> None:
    step = played(*AGREED, replace(key(KeyAct.STOP), heard=False), closed())[-1]
    assert told(step) == []
    assert step.state.consent is ConsentState.WITHDRAWN


# --------------------------------------------------------------------------- the ledger


def test_every_silence_stands_in_the_ledger_with_its_cause_its_actor_and_its_pre_roll() -> None:
    first = replace(admitted(), preroll_seconds=2.0)
    steps = played(
        first,
        *AGREED[1:],
        at(key(KeyAct.PAUSE), 10),
        at(muted(), 10.1),
        at(key(KeyAct.RESUME), 25),
        at(muted(False), 25.1),
        at(hung_up(CALLER), 60),
    )
    (stopped,) = [
        fact
        for step in steps
        for fact in step.facts
        if isinstance(fact, RecordingChanged) and fact.status is RecordingStatus.STOPPED
    ]
    (silence,) = stopped.silences
    assert (silence.cause, silence.actor) == (SilenceCause.PAUSE, "PJSIP/alice")
    assert (silence.from_seconds, silence.to_seconds) == (8, 25)
    assert stopped.bridged_seconds == 60


def test_a_silence_that_lasts_to_the_end_ends_with_the_capture() -> None:
    steps = played(*AGREED, at(key(KeyAct.PAUSE), 10), at(muted(), 10), at(hung_up(CALLER), 30))
    changes = [fact for fact in steps[-1].facts if isinstance(fact, RecordingChanged)]
    assert [(silence.from_seconds, silence.to_seconds) for silence in changes[0].silences] == [(10, 30)]


def seen_again(*keys: CallEvent) -> Capture:
    """The capture after we stood still from 10 to 40 s and found everything as it had been; the keys were noted."""
    (capture,) = after(*AGREED, STOOD_STILL, *keys, at(resynchronised((CALLER, TALK), (AGENT, TALK)), 40)).captures
    assert not capture.unproved
    return capture


def test_a_pause_and_its_end_within_a_blind_time_are_silence() -> None:
    (silence,) = seen_again(at(key(KeyAct.PAUSE), 15), at(key(KeyAct.RESUME), 25.2)).silences
    assert (silence.cause, silence.began_at, silence.ended_at) == (SilenceCause.PAUSE, later(15), later(25.2))


def test_a_pause_that_is_heard_late_is_silent_from_when_the_queue_log_says() -> None:
    (silence,) = seen_again(at(key(KeyAct.PAUSE), 40), at(key(KeyAct.PAUSE), 15)).silences
    assert silence.began_at == later(15)


def found_again(*held: Channel) -> CallEvent:
    legs = frozenset(leg.uniqueid for leg in held)
    return at(replace(resynchronised((CALLER, TALK), (AGENT, TALK), held=legs), blind_from=later(10)), 40)


def test_a_hold_that_began_unseen_is_silence_from_when_nobody_looked() -> None:
    step = played(*AGREED, found_again(AGENT))[-1]
    (capture,) = step.state.captures
    assert (capture.state, capture.unproved) == (CaptureState.QUIET, False)
    assert [(silence.cause, silence.began_at) for silence in capture.silences] == [(SilenceCause.HOLD, later(10))]
    assert [command.quiet for command in step.commands if isinstance(command, Quiet)] == [True]


def test_a_hold_that_ended_unseen_is_over_when_somebody_looks() -> None:
    step = played(*AGREED, at(HoldBegan(at=NOON, channel=AGENT), 5), muted(), found_again())[-1]
    (capture,) = step.state.captures
    assert (capture.state, capture.unproved) == (CaptureState.RUNNING, False)
    (silence,) = capture.silences
    assert (silence.began_at, silence.ended_at) == (later(5), later(40))
    assert [command.quiet for command in step.commands if isinstance(command, Quiet)] == [False]


ASIDE = (at(left(AGENT, 1), 5), at(muted(), 5.1))
"""The agent has gone to ask somebody."""


def test_an_agent_who_came_back_unseen_is_heard_again_from_the_look_on() -> None:
    step = played(*AGREED, *ASIDE, found_again())[-1]
    (capture,) = step.state.captures
    assert (capture.state, capture.unproved) == (CaptureState.RUNNING, False)
    (silence,) = capture.silences
    assert (silence.cause, silence.began_at, silence.ended_at) == (SilenceCause.HOLD, later(5), later(40))
    assert [command.quiet for command in step.commands if isinstance(command, Quiet)] == [False]


@pytest.mark.parametrize("before", [(), (at(HoldBegan(at=NOON, channel=AGENT), 5),)], ids=["talking", "on hold"])
def test_an_agent_who_went_aside_unseen_is_waited_for_in_silence(before: tuple[CallEvent, ...]) -> None:
    apart = resynchronised((CALLER, TALK), (AGENT, ELSEWHERE))
    found = at(replace(apart, blind_from=later(10)), 40)
    steps = played(*AGREED, *before, found, at(left(AGENT, 0, ELSEWHERE), 50), at(entered(AGENT, 2), 50))
    (capture,) = steps[-3].state.captures
    assert (capture.state, capture.unproved) == (CaptureState.QUIET, False)
    assert capture.silences[-1].began_at == (later(5) if before else later(10))
    assert steps[-1].state.captures[0].state is CaptureState.RUNNING


def test_a_caller_who_is_found_alone_in_another_bridge_is_captured_no_more() -> None:
    for found in (((CALLER, ELSEWHERE),), ((CALLER, ELSEWHERE), (AGENT, ELSEWHERE))):
        (capture,) = after(*AGREED, *ASIDE, at(resynchronised(*found), 40)).captures
        assert capture.state is CaptureState.STOPPING


def silenced(*events: CallEvent) -> list[tuple[float, float]]:
    """From and to, of each silence that the catalogue is told of once the capture has stopped."""
    facts = [fact for step in played(*events) for fact in step.facts if isinstance(fact, RecordingChanged)]
    (stopped,) = [fact for fact in facts if fact.status is RecordingStatus.STOPPED]
    return [(silence.from_seconds, silence.to_seconds) for silence in stopped.silences]


def test_a_silence_that_asterisk_never_confirmed_leaves_nothing_of_its_end_to_asterisk() -> None:
    pressed_twice = (at(key(KeyAct.PAUSE), 8), at(key(KeyAct.RESUME), 8.25))
    assert silenced(*AGREED, *pressed_twice, at(hung_up(), 30)) == [(8, 8.25 + SILENCE_TAIL)]
    assert silenced(*AGREED, at(key(KeyAct.PAUSE), 8), at(hung_up(), 8.25)) == [(8, 8.25 + SILENCE_TAIL)]


def test_the_preroll_of_a_pause_that_was_not_confirmed_is_silent_up_to_its_end() -> None:
    talk = (replace(admitted(), preroll_seconds=3.0), *AGREED[1:], at(key(KeyAct.PAUSE), 8))
    failed = SilenceFailed(at=later(8), recording=answered().recording)
    facts = played(*talk, failed, at(closed(), 8.4))[-1].facts
    (stopped,) = [fact for fact in facts if isinstance(fact, RecordingChanged)]
    assert spans_to_keep(stopped.silences, stopped.keep_seconds) == ((0.0, 4.9),)


@pytest.mark.parametrize("held", [False, True])
def test_somebody_elses_unmute_in_a_silence_is_put_right_or_ends_the_capture(held: bool) -> None:
    silence = HoldBegan(at=NOON, channel=AGENT) if held else key(KeyAct.PAUSE)
    step = played(*AGREED, silence, muted(), muted(False))[-1]
    (again,) = [command for command in step.commands if isinstance(command, Quiet)]
    assert again.quiet
    assert not step.state.captures[0].silent  # and is found out where it stays so


# --------------------------------------------------------------------------- stop


@pytest.mark.parametrize("presser", [CALLER, AGENT])
def test_a_withdrawal_stops_erases_and_is_told_once_nobody_writes(presser: Channel) -> None:
    steps = played(*AGREED, key(KeyAct.STOP, presser), closed())
    assert [type(command) for command in steps[-2].commands] == [Stop]
    assert {type(command) for command in steps[-1].commands} == {Erase, Acknowledge}
    assert told(steps[-1]) == [KeyAnswer.ERASED]
    (consent,) = [fact for fact in steps[-2].facts if isinstance(fact, ConsentRecorded)]
    assert (consent.before, consent.after) == (ConsentState.GIVEN, ConsentState.WITHDRAWN)
    assert consent.actor == (None if presser is CALLER else "PJSIP/alice")


def test_what_was_settled_before_is_erased_too() -> None:
    second = (admitted(), closed(), answered(recording=2), armed(2), connected(), entered(AGENT, 1), entered(CALLER, 2))
    state = after(*AGREED, *second, made(1), key(KeyAct.STOP), closed(2))
    assert [capture.state for capture in state.captures] == [CaptureState.ERASING, CaptureState.ERASING]
    state = after(*AGREED, *second, made(1), key(KeyAct.STOP), closed(2), erased(1), erased(2), hung_up(CALLER))
    assert (state.phase, outcome(state)) == (Phase.CLOSED, (Outcome.DECLINED, None))


def test_a_settle_under_way_does_not_bring_back_what_is_being_erased() -> None:
    state = after(*AGREED, key(KeyAct.STOP), closed(), made(), hung_up(CALLER))
    assert state.captures[0].state is CaptureState.ERASING
    assert state.phase is Phase.OVER


def test_a_line_that_keeps_what_there_was_settles_it() -> None:
    first = replace(admitted(), withdrawal_erases=False)
    steps = played(first, *AGREED[1:], key(KeyAct.STOP), closed(), made(), hung_up(CALLER))
    assert told(steps[-3]) == [KeyAnswer.STOPPED]
    assert any(isinstance(command, Settle) for command in steps[-3].commands)
    assert outcome(steps[-1].state) == (Outcome.RECORDED, None)


def test_after_a_withdrawal_another_line_asks_nothing_and_captures_nothing() -> None:
    state = after(*AGREED, key(KeyAct.STOP), closed(), admitted(ConsentMode.NOTICE))
    assert state.consent is ConsentState.REFUSED
    step = advance(state, answered(ConsentState.NOTICED, recording=2))
    assert step.commands == ()


def test_an_override_is_still_possible_after_a_withdrawal_and_keeps_it() -> None:
    state = after(*AGREED, key(KeyAct.STOP), closed(), pressed(recording=2))
    assert state.captures[-1].authority is ConsentState.OVERRIDDEN
    assert state.objected


def test_who_never_agreed_refuses_by_the_same_key() -> None:
    (consent,) = [
        fact
        for fact in played(admitted(), answered(ConsentState.UNANSWERED), *REFUSED[2:], key(KeyAct.STOP))[-1].facts
        if isinstance(fact, ConsentRecorded)
    ]
    assert (consent.before, consent.after) == (ConsentState.UNANSWERED, ConsentState.REFUSED)


def test_a_callers_withdrawal_does_not_end_an_override_and_is_kept() -> None:
    step = played(*OVERRIDDEN, key(KeyAct.STOP, CALLER))[-1]
    assert told(step) == [KeyAnswer.REFUSED]
    assert step.state.captures[0].state is CaptureState.RUNNING
    assert [fact.action for fact in step.facts if isinstance(fact, AuditEntry)] == ["objection"]


def test_who_objects_on_a_line_that_is_never_recorded_is_not_captured_on_the_next() -> None:
    objected, again = played(*NEVER, key(KeyAct.STOP, CALLER), key(KeyAct.STOP, CALLER))[-2:]
    (kept,) = [fact for fact in objected.facts if isinstance(fact, AuditEntry)]
    assert (kept.action, kept.actor, kept.details) == ("objection", "caller", {"prior_state": "prohibited"})
    assert (again.facts, told(again)) == ((), [KeyAnswer.STOPPED])
    assert advance(again.state, admitted(ConsentMode.NOTICE)).state.consent is ConsentState.REFUSED
    other_line = (admitted(ConsentMode.NOTICE), answered(ConsentState.NOTICED, 2))
    assert after(*NEVER, key(KeyAct.STOP, CALLER), *other_line).captures == ()


def test_the_agent_can_end_an_override_and_what_it_captured_is_kept() -> None:
    state = after(*OVERRIDDEN, key(KeyAct.STOP), closed(), made())
    assert state.captures[0].state is CaptureState.SETTLED


# --------------------------------------------------------------------------- personal


def test_a_personal_call_is_erased_excluded_and_leaves_its_stub() -> None:
    steps = played(*AGREED, at(key(KeyAct.PERSONAL), 12.5), closed(), erased(), hung_up(CALLER))
    (audit,) = [fact for step in steps for fact in step.facts if isinstance(fact, AuditEntry)]
    assert (audit.action, audit.actor) == ("personal", "PJSIP/alice")
    assert audit.details == {"prior_state": "given", "seconds": "12.5"}
    assert outcome(steps[-1].state) == (Outcome.EXCLUDED, None)
    assert told(steps[-3]) == [KeyAnswer.PERSONAL]


@pytest.mark.parametrize("reason", list(OverrideReason))
def test_nothing_captures_a_personal_call(reason: OverrideReason) -> None:
    state = after(*AGREED, key(KeyAct.PERSONAL), closed(), erased(), pressed(reason, recording=2), admitted())
    assert len(state.captures) == 1
    assert advance(state, answered(recording=3)).commands == ()


def test_an_agents_choice_ranks_below_an_override() -> None:
    step = played(*OVERRIDDEN, key(KeyAct.PERSONAL))[-1]
    assert (step.expected, told(step)) == (False, [KeyAnswer.REFUSED])
    assert step.state.captures[0].state is CaptureState.RUNNING


# --------------------------------------------------------------------------- override


def test_an_override_is_answered_once_asterisk_captures() -> None:
    asked, confirmed = played(*OVERRIDDEN)[-2:]
    assert (told(asked), told(confirmed)) == ([], [KeyAnswer.CAPTURED])


def test_an_override_that_captures_nothing_is_answered_by_silence() -> None:
    assert told(played(*REFUSED, pressed(), capture_lost())[-1]) == []
