"""A line that an agent consults beside the caller: what is prepared there, and when it becomes the caller's (CN-13)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from recorder.call import (
    Acknowledge,
    Arm,
    CallEvent,
    CallState,
    CaptureState,
    Erase,
    Phase,
    Quiet,
    Settle,
    SilenceFailed,
    Standing,
    Stop,
    advance,
    begin,
    capture_in_hand,
    event_from_fields,
    fields_from_event,
    outcome,
    prepared,
    standing,
    standing_with,
)
from recorder.call.tables import BESIDE
from recorder.model import (
    AgentRung,
    ConsentMode,
    ConsentRecorded,
    ConsentState,
    DialBegan,
    HoldBegan,
    HoldEnded,
    KeyAct,
    LocalBridged,
    LostReason,
    MixMonitorStopped,
    Outcome,
    RecordingAuthorised,
    RecordingChanged,
    SilenceCause,
    Unrecorded,
)
from recorder.policy import stricter
from tests.core import call_law
from tests.core.call_cast import (
    AGENT,
    BEHIND,
    BEYOND,
    CALLER,
    CONSULTATION,
    ELSEWHERE,
    FAR,
    NEAR,
    OUTSIDER,
    SECOND,
    TALK,
    admitted,
    answered,
    armed,
    capture_lost,
    channel,
    closed,
    connected,
    consultation_passed,
    consulted,
    emptied,
    entered,
    events_of_a_capture,
    events_of_a_consultation,
    halves,
    handed_over,
    hung_up,
    key,
    left,
    made,
    muted,
    on_the_list,
    relayed,
    resynchronised,
    rung,
    second_answers,
    second_rung,
    sight_lost,
    unmade,
)
from tests.facts import NOON

TALKING: tuple[CallEvent, ...] = (
    admitted(),
    answered(),
    armed(),
    rung(),
    connected(),
    entered(AGENT, 1),
    entered(CALLER, 2),
)
AWAY: tuple[CallEvent, ...] = (
    left(AGENT, 1),
    halves(),
    entered(AGENT, 1, CONSULTATION),
    entered(NEAR, 2, CONSULTATION),
)
"""The agent consults: the caller stays behind, alone with the music."""
LEAVES: tuple[CallEvent, ...] = (left(AGENT, 1, CONSULTATION), left(NEAR, 0, CONSULTATION), entered(NEAR, 2))
PREPARED: tuple[CallEvent, ...] = (*TALKING, *AWAY, consulted(), armed(2), muted(on=FAR))
ANSWERED: tuple[CallEvent, ...] = (
    *PREPARED,
    second_rung(),
    second_answers(),
    entered(SECOND, 1, BEYOND),
    entered(FAR, 2, BEYOND),
)
JOINED: tuple[CallEvent, ...] = (*ANSWERED, *LEAVES, handed_over())
OVER_THERE: tuple[CallEvent, ...] = (*JOINED, closed())
"""The first line's capture has ended: the second line's talk is being captured."""


def after(*events: CallEvent) -> CallState:
    first, *others = events
    state = begin(first).state  # type: ignore[arg-type]
    for event in others:
        step = advance(state, event)
        call_law.check(state, event, step)
        state = step.state
    return state


def states(state: CallState) -> list[CaptureState]:
    return [capture.state for capture in state.captures]


def later(event: CallEvent, seconds: float) -> CallEvent:
    return replace(event, at=NOON + timedelta(seconds=seconds))


# --------------------------------------------------------------------------- what is prepared, and for whom


def test_a_yes_that_covers_the_other_line_has_a_capture_prepared_there_and_muted_at_once() -> None:
    state = after(*TALKING, *AWAY)
    asked = advance(state, consulted())
    (consent,) = [fact for fact in asked.facts if isinstance(fact, ConsentRecorded)]
    (authority,) = [fact for fact in asked.facts if isinstance(fact, RecordingAuthorised)]
    assert (consent.line, consent.policy, consent.after) == ("sales", "sales-digest", ConsentState.GIVEN)
    assert (authority.line, authority.authorised_by, authority.channel) == ("sales", consent.id, FAR)
    assert asked.commands == (Arm(recording=authority.id, channel=FAR),)
    assert (asked.state.line, asked.state.policy) == ("support", "digest")
    runs = advance(asked.state, armed(2))
    assert runs.commands == (Quiet(recording=authority.id, channel=FAR, mixmonitor="0x1", quiet=True),)
    assert states(runs.state) == [CaptureState.QUIET, CaptureState.PREPARED]


NEWCOMER = entered(OUTSIDER, 3, BEHIND)
NARROW, WIDE = frozenset({"training"}), frozenset({"training", "discipline"})
UNPREPARED: dict[str, tuple[CallEvent, ...]] = {
    "the caller refused": (admitted(), answered(ConsentState.REFUSED), *TALKING[3:], *AWAY, consulted()),
    "nobody answered": (admitted(), answered(ConsentState.UNANSWERED), *TALKING[3:], *AWAY, consulted()),
    "only told": (
        admitted(ConsentMode.NOTICE),
        answered(ConsentState.NOTICED),
        *TALKING[3:],
        *AWAY,
        consulted(stricter(ConsentMode.NOTICE, ConsentMode.NOT_REQUIRED)),
    ),
    "handed over already": (*TALKING, *AWAY, *LEAVES, handed_over(), consulted()),
    "three in one bridge already": (*TALKING, *AWAY, entered(AGENT, 2), entered(NEAR, 3), consulted()),
    "a line that is never recorded": (*TALKING, *AWAY, consulted(ConsentMode.NEVER)),
    "for more than was agreed to": (
        admitted(purposes=NARROW),
        *TALKING[1:],
        *AWAY,
        consulted(purposes=WIDE),
    ),
    "withdrawn since": (*TALKING, key(KeyAct.STOP, CALLER), *AWAY, consulted()),
    "personal": (*TALKING, key(KeyAct.PERSONAL), *AWAY, consulted()),
    "on a list": (*TALKING, *AWAY, consulted(unrecorded=Unrecorded.NUMBER)),
    "the disk is full": (*TALKING, *AWAY, consulted(hindrance=LostReason.CAPTURE_FAILED)),
    "before anybody was connected": (*TALKING[:4], consulted()),
    "somebody else speaks through the caller's channel": (relayed(), *TALKING[1:], *AWAY, NEWCOMER, consulted()),
    "the caller is gone": (*TALKING, *AWAY, hung_up(), consulted()),
}


@pytest.mark.parametrize("told", UNPREPARED.values(), ids=UNPREPARED)
def test_nothing_is_prepared_without_a_yes_that_covers_the_line(told: tuple[CallEvent, ...]) -> None:
    before = after(*told[:-1])
    step = advance(before, told[-1])
    assert (step.state, step.facts, step.commands) == (before, (), ())


def test_one_consultation_is_prepared_at_a_time() -> None:
    state = after(*PREPARED)
    assert advance(state, consulted(recording=3)).state == state
    ended = after(*PREPARED, hung_up(FAR))
    assert states(after(*PREPARED, hung_up(FAR), consulted(recording=3)))[-1] is CaptureState.PREPARING
    assert states(ended)[-1] is CaptureState.STOPPED


def test_what_cannot_be_prepared_is_no_loss_before_anybody_was_handed_over() -> None:
    step = advance(after(*TALKING, *AWAY, consulted()), capture_lost(2))
    assert states(step.state) == [CaptureState.QUIET, CaptureState.FAILED]
    assert step.state.lost is None
    (change,) = [fact for fact in step.facts if isinstance(fact, RecordingChanged)]
    assert change.reason is LostReason.CAPTURE_FAILED  # the row says why it has no files
    handed = after(*PREPARED, *LEAVES, handed_over())
    assert advance(handed, capture_lost(2)).state.lost is LostReason.CAPTURE_FAILED


BESIDE_ENDS: dict[str, tuple[CallEvent, ...]] = {
    "it cannot be started": (consulted(), capture_lost(2)),
    "nobody answers": (consulted(), armed(2), muted(on=FAR), hung_up(FAR)),
    "the agent comes back": (*ANSWERED[len(TALKING) + len(AWAY) :], left(FAR, 1, BEYOND), closed(2)),
}


@pytest.mark.parametrize("beside", BESIDE_ENDS.values(), ids=BESIDE_ENDS)
def test_the_end_of_what_was_prepared_ends_nothing_of_the_callers_own_capture(beside: tuple[CallEvent, ...]) -> None:
    back = (*TALKING, *AWAY, *beside, later(hung_up(NEAR), 9), later(entered(AGENT, 2), 9))
    state = after(*back)
    assert states(state)[0] is CaptureState.RUNNING
    assert state.captures[0].bridged_until is None
    end = advance(advance(state, later(left(CALLER, 1), 60)).state, later(closed(), 60.02))
    change = next(fact for fact in end.facts if isinstance(fact, RecordingChanged))
    assert (change.bridged_seconds, change.keep_seconds) == (60, None)


# --------------------------------------------------------------------------- the caller is handed over


def test_the_caller_who_is_handed_over_is_captured_once_the_first_capture_has_ended() -> None:
    state = after(*JOINED)
    assert states(state) == [CaptureState.STOPPING, CaptureState.PREPARED]
    assert (state.phase, standing(state), state.line) == (Phase.TALKING, Standing.TOGETHER, "sales")
    step = advance(state, closed())
    assert states(step.state) == [CaptureState.STOPPED, CaptureState.RUNNING]
    spoken = [command for command in step.commands if isinstance(command, Quiet)]
    assert [(command.recording, command.quiet) for command in spoken] == [(consulted().recording, False)]


def test_the_settled_file_is_silent_up_to_the_moment_from_which_the_caller_is_captured() -> None:
    """Also where Asterisk had not muted it: what lies before is a silence of the ledger's."""
    early = tuple(later(event, 10) for event in ANSWERED[len(PREPARED) :])
    joins = (*(later(event, 70) for event in LEAVES), later(handed_over(), 70.002), later(closed(), 70.01))
    ends = (later(left(FAR, 1, BEYOND), 100), later(closed(2), 100.02))
    state = begin(admitted()).state
    for event in (*PREPARED[1:], *early, *joins, *ends):
        step = advance(state, event)
        state = step.state
    change = next(fact for fact in step.facts if isinstance(fact, RecordingChanged))
    assert change.bridged_at == NOON + timedelta(seconds=10)
    assert change.bridged_seconds == 90
    (silence,) = change.silences
    assert (silence.cause, silence.from_seconds) == (SilenceCause.HOLD, 0)
    assert silence.to_seconds == pytest.approx(60.01)


def test_the_hold_ends_no_earlier_than_the_caller_was_handed_over() -> None:
    """A stop counts from Asterisk's answer, which we read after what happened behind it."""
    bridged = (later(event, 10) for event in ANSWERED[len(PREPARED) :])
    joins = (*(later(event, 70) for event in LEAVES), later(handed_over(), 70.5), later(closed(), 70.01))
    (silence,) = after(*PREPARED, *bridged, *joins).captures[-1].silences
    assert silence.ended_at == NOON + timedelta(seconds=70.5)


def test_the_first_capture_ends_with_the_transfer_whoever_is_heard_of_first() -> None:
    told = (*ANSWERED, *LEAVES[:-1], handed_over())
    assert states(after(*told)) == [CaptureState.STOPPING, CaptureState.PREPARED]
    assert states(after(*told, LEAVES[-1])) == [CaptureState.STOPPING, CaptureState.PREPARED]
    assert states(after(*told, LEAVES[-1], closed())) == [CaptureState.STOPPED, CaptureState.RUNNING]


def test_a_recording_that_cannot_be_made_of_the_first_talk_ends_nothing_of_the_second() -> None:
    capture = after(*OVER_THERE, unmade()).captures[-1]
    assert (capture.state, capture.bridged_until) == (CaptureState.RUNNING, None)


@pytest.mark.parametrize(
    "missing", [muted(on=FAR), entered(SECOND, 1, BEYOND)], ids=["the mute is not confirmed", "no agent is there"]
)
def test_until_all_of_it_is_so_it_stays_prepared(missing: CallEvent) -> None:
    told = [event for event in OVER_THERE if event != missing]
    if missing == entered(SECOND, 1, BEYOND):
        told = [entered(FAR, 1, BEYOND) if event == entered(FAR, 2, BEYOND) else event for event in told]
    state = after(*told)
    assert states(state) == [CaptureState.STOPPED, CaptureState.PREPARED]


def test_who_waits_in_the_queue_is_captured_from_the_bridge_on() -> None:
    """The agent left before anybody answered: there was no consultation, and there is nothing to silence."""
    waits = (*PREPARED, *LEAVES, handed_over(), closed())
    assert states(after(*waits)) == [CaptureState.STOPPED, CaptureState.PREPARED]
    talk = after(*waits, second_rung(), second_answers(), entered(SECOND, 1, BEYOND), entered(FAR, 2, BEYOND))
    assert states(talk)[-1] is CaptureState.RUNNING
    assert talk.captures[-1].silences == ()
    assert SECOND.uniqueid in talk.agents


def test_the_phone_behind_the_second_lines_agent_is_that_agent() -> None:
    desk, half, phone = (channel(f"Local/bob@phones;{n}", f"2.{n}") for n in (1, 2, 3))
    answers = replace(second_answers(), agent=desk)
    way = (
        DialBegan(at=NOON, channel=FAR, dialled=desk),
        LocalBridged(at=NOON, one=desk, two=half),
        DialBegan(at=NOON, channel=half, dialled=phone),
        replace(second_rung(), agent=desk),
        answers,
        entered(phone, 1, BEYOND),
        entered(FAR, 2, BEYOND),
    )
    state = after(*PREPARED, *way, *LEAVES, handed_over(), closed())
    assert states(state)[-1] is CaptureState.RUNNING


def test_whoever_takes_the_place_of_that_phone_behind_a_local_channel_is_no_agent() -> None:
    """As Queue() says it: the Local channel first, then whom it rings."""
    desk, half, phone = (channel(f"Local/bob@phones;{n}", f"2.{n}") for n in (1, 2, 3))
    way = (
        LocalBridged(at=NOON, one=desk, two=half),
        replace(second_rung(), agent=desk),
        DialBegan(at=NOON, channel=FAR, dialled=desk),
        DialBegan(at=NOON, channel=half, dialled=phone),
        replace(second_answers(), agent=desk),
        entered(desk, 1, BEYOND),
        entered(FAR, 2, BEYOND),
        entered(phone, 1, ELSEWHERE),
        entered(half, 2, ELSEWHERE),
    )
    talk = (*PREPARED, *way, *LEAVES, handed_over(), closed())
    assert states(after(*talk))[-1] is CaptureState.RUNNING
    assert states(after(*talk, HoldBegan(at=NOON, channel=phone)))[-1] is CaptureState.QUIET
    assert states(after(*talk, left(half, 1, ELSEWHERE)))[-1] is CaptureState.STOPPING


def test_whom_the_second_lines_agent_dials_is_no_agent() -> None:
    rings, dials = (DialBegan(at=NOON, channel=one, dialled=two) for one, two in ((FAR, SECOND), (SECOND, OUTSIDER)))
    talk = (*PREPARED, rings, *OVER_THERE[len(PREPARED) :], dials)
    assert states(after(*talk))[-1] is CaptureState.RUNNING
    assert states(after(*talk, entered(OUTSIDER, 3, BEYOND)))[-1] is CaptureState.STOPPING


def test_the_halves_of_a_local_channel_are_forgotten_with_it() -> None:
    assert after(*ANSWERED).halves
    assert not after(*ANSWERED, hung_up(NEAR)).halves
    assert not after(*ANSWERED, hung_up(FAR)).halves


def test_the_agents_beside_the_caller_are_those_of_the_line_on_which_they_speak() -> None:
    state = after(*OVER_THERE)
    assert standing_with(state, SECOND.uniqueid)
    assert not standing_with(state, NEAR.uniqueid)
    assert not standing_with(after(*ANSWERED), SECOND.uniqueid)


BLIND: tuple[CallEvent, ...] = (*TALKING, resynchronised((CALLER, TALK), (AGENT, TALK)), *PREPARED[len(TALKING) :])
THREE: tuple[CallEvent, ...] = (*ANSWERED, entered(AGENT, 2), entered(NEAR, 3), handed_over(joined=False))
FORSAKEN: dict[str, tuple[CallEvent, ...]] = {
    "three in one bridge": THREE,
    "Asterisk does not say that they are joined": (*ANSWERED, *LEAVES, handed_over(joined=False)),
    "three, of whom one leaves": (*THREE, left(AGENT, 2)),
    "by somebody else": (*ANSWERED, *LEAVES, handed_over(OUTSIDER)),
    "the agent is still there": (*ANSWERED, entered(NEAR, 2), entered(AGENT, 3), handed_over()),
    "withdrawn by the caller": (*ANSWERED, key(KeyAct.STOP, CALLER), *LEAVES, handed_over()),
    "personal": (*ANSWERED, key(KeyAct.PERSONAL), *LEAVES, handed_over()),
    "the second agent is on a list": (*ANSWERED[:-3], on_the_list(SECOND), *ANSWERED[-3:], *LEAVES, handed_over()),
    "in a second bridge": (*ANSWERED, left(FAR, 1, BEYOND), entered(FAR, 2, CONSULTATION), *LEAVES, handed_over()),
    "it has left its bridge": (*ANSWERED, left(FAR, 1, BEYOND)),
    "unmuted by somebody": (*ANSWERED, muted(False, on=FAR), *LEAVES, handed_over()),
    "Asterisk does not mute": (*ANSWERED, SilenceFailed(at=NOON, recording=consulted().recording)),
    "stopped by somebody": (*ANSWERED, MixMonitorStopped(at=NOON, channel=FAR)),
    "we slept": (*ANSWERED, sight_lost(), *LEAVES, handed_over()),
    "nobody looked": (
        *ANSWERED,
        resynchronised((CALLER, TALK), (AGENT, CONSULTATION), (NEAR, CONSULTATION), (FAR, BEYOND), (SECOND, BEYOND)),
        *LEAVES,
        handed_over(),
    ),
    "nobody saw the transfer": (
        *ANSWERED,
        resynchronised((CALLER, TALK), (NEAR, TALK), (FAR, BEYOND), (SECOND, BEYOND)),
        handed_over(),
    ),
    "the caller is gone": (*ANSWERED, hung_up()),
    "somebody else speaks through the caller's channel": (relayed(), *ANSWERED[1:], NEWCOMER, *LEAVES, handed_over()),
    "the caller is on another line": (*ANSWERED, admitted()),
    "no such halves": (*(event for event in ANSWERED if event != halves()), *LEAVES, handed_over()),
    "picked up by who was not rung, after a time that nobody saw": (
        *BLIND,
        *(event for event in ANSWERED[len(PREPARED) :] if event != second_rung()),
        *LEAVES,
        handed_over(),
    ),
    "picked up by whom the first line's queue had rung": (
        *PREPARED,
        rung(SECOND),
        *(event for event in ANSWERED[len(PREPARED) :] if event != second_rung()),
        *LEAVES,
        handed_over(),
    ),
    "somebody else there": (*ANSWERED, entered(OUTSIDER, 3, BEYOND), *LEAVES, handed_over()),
}


@pytest.mark.parametrize("told", FORSAKEN.values(), ids=FORSAKEN)
def test_what_is_prepared_is_stopped_and_nothing_of_it_kept(told: tuple[CallEvent, ...]) -> None:
    state = after(*told)
    assert states(state)[-1] is CaptureState.FORSAKEN
    step = advance(state, closed(2))
    assert [type(command) for command in step.commands] in ([Settle], [Erase])
    assert step.state.captures[-1].bridged_at is None  # settling finds nothing to keep, and removes the files
    still = after(*told, closed(2), closed(), handed_over())
    assert capture_in_hand(still) is None or capture_in_hand(still) == still.captures[0]


def test_the_agent_who_comes_back_goes_on_being_captured_and_the_prepared_files_are_emptied() -> None:
    back = (*ANSWERED, hung_up(NEAR), hung_up(FAR), left(AGENT, 0, CONSULTATION), entered(AGENT, 2))
    state = after(*back)
    assert states(state) == [CaptureState.RUNNING, CaptureState.STOPPED]
    final = after(*back, emptied(2), left(CALLER, 1), closed(), hung_up(), made())
    assert [capture.state for capture in final.captures] == [CaptureState.SETTLED, CaptureState.EMPTY]
    assert outcome(final) == (Outcome.RECORDED, None)


def test_a_paused_call_stays_paused_and_is_resumed_by_the_second_agent() -> None:
    paused = (*TALKING, key(KeyAct.PAUSE), muted(), *ANSWERED[len(TALKING) :], *LEAVES, handed_over(), closed())
    state = after(*paused)
    assert states(state)[-1] is CaptureState.PAUSED
    assert states(after(*paused, muted(on=FAR), key(KeyAct.RESUME, SECOND)))[-1] is CaptureState.RUNNING


def test_a_hold_by_either_is_silence() -> None:
    for who in (SECOND, CALLER):
        held = (*OVER_THERE, HoldBegan(at=NOON, channel=who))
        assert states(after(*held))[-1] is CaptureState.QUIET
        assert states(after(*held, HoldEnded(at=NOON, channel=who)))[-1] is CaptureState.RUNNING


def test_somebody_else_in_the_place_of_a_caller_behind_a_local_channel_ends_it() -> None:
    state = after(relayed(), *OVER_THERE[1:])
    assert states(state)[-1] is CaptureState.RUNNING
    assert states(advance(state, NEWCOMER).state)[-1] is CaptureState.STOPPING


ENDS: dict[str, CallEvent] = {
    "a third in the caller's bridge": entered(OUTSIDER, 3),
    "a third beyond": entered(OUTSIDER, 3, BEYOND),
    "the second agent leaves": left(FAR, 1, BEYOND),
    "the caller leaves": left(CALLER, 1),
    "the first agent is back": entered(AGENT, 3),
    "the caller stops it": key(KeyAct.STOP, FAR),
    "the agent stops it": key(KeyAct.STOP, SECOND),
}


@pytest.mark.parametrize("event", ENDS.values(), ids=ENDS)
def test_the_talk_of_who_was_handed_over_ends_as_any_does(event: CallEvent) -> None:
    step = advance(after(*OVER_THERE), event)
    assert states(step.state)[-1] is CaptureState.STOPPING
    assert Stop in [type(command) for command in step.commands]


def test_a_key_at_the_consultations_leg_is_nobodys_before_the_caller_is_there() -> None:
    step = advance(after(*ANSWERED), key(KeyAct.STOP, FAR))
    assert step.state.consent is ConsentState.GIVEN
    assert not step.expected


def test_a_listed_agent_who_is_consulted_waits_until_what_is_prepared_has_ended_and_for_nothing_else() -> None:
    rings = (*PREPARED, second_rung())
    listed = advance(after(*rings), on_the_list(SECOND, waits=True))
    assert [(type(command), command.recording) for command in listed.commands if isinstance(command, Stop)] == [
        (Stop, consulted().recording)
    ]
    assert states(listed.state) == [CaptureState.QUIET, CaptureState.FORSAKEN]
    told = advance(listed.state, closed(2))
    assert [type(command) for command in told.commands] == [Settle, Acknowledge]
    back = (on_the_list(SECOND, waits=True), closed(2), hung_up(NEAR), hung_up(FAR), entered(AGENT, 2))
    assert states(after(*rings, *back)) == [CaptureState.RUNNING, CaptureState.STOPPED]


PASSED: tuple[CallEvent, ...] = (*TALKING, *AWAY, consultation_passed())
"""A consultation for which nothing is prepared."""


def test_a_listed_agent_who_is_consulted_where_nothing_is_prepared_is_let_in_at_once_and_ends_nothing() -> None:
    step = advance(after(*PASSED, second_rung()), on_the_list(SECOND, waits=True))
    assert [type(command) for command in step.commands] == [Acknowledge]
    assert states(step.state) == [CaptureState.QUIET]
    assert states(after(*PASSED, second_rung(), on_the_list(SECOND, waits=True), hung_up(NEAR), entered(AGENT, 2))) == [
        CaptureState.RUNNING
    ]


def test_of_a_listed_agent_who_was_consulted_and_comes_to_the_caller_nothing_is_captured() -> None:
    """Nobody unmutes the hold before the stop: the half through which they speak is a stranger's."""
    meets = (*PASSED, second_rung(), on_the_list(SECOND, waits=True), entered(SECOND, 1, BEYOND), *LEAVES)
    assert states(after(*meets)) == [CaptureState.STOPPING]


WITH_LISTED: tuple[CallEvent, ...] = (
    second_rung(),
    on_the_list(SECOND, waits=True),
    entered(SECOND, 1, BEYOND),
    entered(FAR, 2, BEYOND),
    left(AGENT, 1, CONSULTATION),
    entered(AGENT, 2),
)
"""The agent has consulted one, and is with the caller again."""


@pytest.mark.parametrize("before", [PASSED, PREPARED], ids=["nothing is prepared", "prepared"])
def test_while_a_listed_agent_is_consulted_the_caller_is_not_unmuted_since_three_may_stand_together_next(
    before: tuple[CallEvent, ...],
) -> None:
    state = after(*before, *WITH_LISTED)
    assert states(state)[0] is CaptureState.QUIET
    assert states(after(*before, *WITH_LISTED, entered(NEAR, 3)))[0] is CaptureState.STOPPING
    without_halves = advance(advance(state, hung_up(NEAR)).state, hung_up(FAR)).state
    assert states(without_halves)[0] is CaptureState.QUIET, "Asterisk may have taken the Local channel out of the way"
    alone = advance(without_halves, left(SECOND, 0, BEYOND))
    assert [command.quiet for command in alone.commands if isinstance(command, Quiet)] == [False]
    assert states(alone.state)[0] is CaptureState.RUNNING


def test_a_listed_agent_who_waits_while_the_others_come_together_is_let_in_once_nothing_captures_the_caller() -> None:
    waiting = after(*PREPARED, second_rung(), on_the_list(SECOND, waits=True))
    together = advance(advance(waiting, left(NEAR, 1, CONSULTATION)).state, entered(NEAR, 3))
    assert states(together.state) == [CaptureState.STOPPING, CaptureState.FORSAKEN]
    unprepared = advance(together.state, closed(2))
    assert Acknowledge not in [type(command) for command in unprepared.commands]
    told = advance(unprepared.state, closed())
    assert Acknowledge in [type(command) for command in told.commands]


UNSURE: dict[str, tuple[CallEvent, ...]] = {
    "three stand together": (*PASSED, left(NEAR, 1, CONSULTATION), entered(NEAR, 3), second_rung()),
    "nobody knows where the consultation stands": (*PASSED, left(NEAR, 1, CONSULTATION), second_rung()),
    "nobody knows the other half": (*TALKING, left(AGENT, 1), consultation_passed(), second_rung()),
    "nobody saw that it was rung": PASSED,
    "no mark of Asterisk's": (*TALKING, *AWAY, consultation_passed(consults=None), second_rung()),
    "a ring that was forwarded": (
        *TALKING[:-3],
        LocalBridged(at=NOON, one=AGENT, two=FAR),
        *TALKING[-3:],
        consultation_passed(),
        second_rung(),
    ),
    "before anybody was connected": (*TALKING[:-3], consultation_passed(), *TALKING[-3:], second_rung()),
    "rung by the caller's own queue as well": (*PASSED, rung(SECOND), second_rung()),
    "an agent of the caller's, after a time that nobody saw": (
        *TALKING,
        resynchronised((CALLER, TALK), (AGENT, TALK)),
        *AWAY,
        consultation_passed(),
        replace(second_rung(), agent=AGENT),
    ),
    "a line that nobody consults": (*TALKING, *AWAY, second_rung()),
    "the caller was handed over and is waiting for them": (*PREPARED, *LEAVES, handed_over(), second_rung()),
    "the caller was handed over and speaks there": (*OVER_THERE, replace(second_rung(), agent=OUTSIDER)),
}


@pytest.mark.parametrize("told", UNSURE.values(), ids=UNSURE)
def test_a_listed_agent_who_may_come_to_the_caller_waits_until_nothing_captures_anybody(
    told: tuple[CallEvent, ...],
) -> None:
    who = told[-1].agent if isinstance(told[-1], AgentRung) else SECOND
    step = advance(after(*told), on_the_list(who, waits=True))
    call_law.check(after(*told), on_the_list(who, waits=True), step)
    ending = {CaptureState.STOPPING, CaptureState.FORSAKEN, CaptureState.STOPPED}
    assert set(states(step.state)) <= ending
    assert not [command for command in step.commands if isinstance(command, Acknowledge)]


def test_a_capture_after_the_transfer_is_kept_only_as_far_as_it_was_seen() -> None:
    """The queue log tells of the caller's talk on the first line, and of nobody's on the second."""
    proved = resynchronised(capture_lives=False, proved=True)
    capture = after(*OVER_THERE, proved).captures[-1]
    assert (capture.state, capture.unproved) == (CaptureState.STOPPED, True)


def test_a_talk_that_stands_as_it_stood_goes_on_after_a_time_that_nobody_saw() -> None:
    where = ((CALLER, TALK), (NEAR, TALK), (FAR, BEYOND), (SECOND, BEYOND))
    assert states(after(*OVER_THERE, resynchronised(*where)))[-1] is CaptureState.RUNNING
    assert states(after(*OVER_THERE, resynchronised(*where, strangers=1)))[-1] is CaptureState.STOPPING
    moved = ((CALLER, TALK), (NEAR, TALK), (FAR, CONSULTATION), (SECOND, CONSULTATION))
    assert states(after(*OVER_THERE, resynchronised(*moved)))[-1] is CaptureState.STOPPING


def test_a_caller_who_is_gone_ends_what_captures_them_through_another_channel() -> None:
    """Whoever took the caller's place may speak there until Asterisk has confirmed the stop."""
    gone = advance(after(*OVER_THERE), later(hung_up(), 30))
    assert states(gone.state)[-1] is CaptureState.STOPPING
    assert Stop in [type(command) for command in gone.commands]
    over = advance(gone.state, later(closed(2), 30.02))
    call_law.check(gone.state, closed(2), over)
    assert (over.state.phase, states(over.state)[-1]) == (Phase.OVER, CaptureState.STOPPED)
    change = next(fact for fact in over.facts if isinstance(fact, RecordingChanged))
    assert (change.bridged_seconds, change.keep_seconds) == (30, 30)
    assert over.state.ended_at == NOON + timedelta(seconds=30)


def test_an_agent_of_the_line_that_the_caller_has_left_is_none_of_the_one_where_they_speak() -> None:
    """The queue log may tell of that one late."""
    state = after(*OVER_THERE, rung(OUTSIDER), connected(OUTSIDER))
    assert OUTSIDER.uniqueid not in state.agents
    assert state.interface == "PJSIP/bob"


SUPPLANTED: dict[str, tuple[CallEvent, ...]] = {
    "the caller leaves": (left(CALLER, 1),),
    "the caller hangs up": (left(CALLER, 1), hung_up()),
    "an INVITE with Replaces": (left(CALLER, 1), hung_up(), entered(OUTSIDER, 2)),
    "with Replaces, seen in another order": (left(CALLER, 1), entered(OUTSIDER, 2), hung_up()),
}


@pytest.mark.parametrize("told", SUPPLANTED.values(), ids=SUPPLANTED)
def test_whoever_takes_the_callers_place_before_the_stop_is_confirmed_is_not_kept(told: tuple[CallEvent, ...]) -> None:
    """The far half stands with the second agent still: what is said into the near one is written there."""
    state = after(*OVER_THERE, *(later(event, 30) for event in told))
    step = advance(state, later(closed(2), 30.3))
    call_law.check(state, closed(2), step)
    change = next(fact for fact in step.facts if isinstance(fact, RecordingChanged))
    assert (change.bridged_seconds, change.keep_seconds) == (30, 30)


def test_what_stops_where_it_stands_in_no_bridge_is_kept_to_its_end() -> None:
    assert not after(*OVER_THERE, left(FAR, 1, BEYOND), closed(2)).captures[-1].unproved


def test_a_caller_who_went_while_nobody_looked_has_the_capture_stopped_where_it_runs_on() -> None:
    found = resynchronised((NEAR, TALK), (FAR, BEYOND), (SECOND, BEYOND))
    step = advance(after(*OVER_THERE), found)
    assert [type(command) for command in step.commands] == [Stop]
    assert (states(step.state)[-1], step.state.phase) == (CaptureState.STOPPING, Phase.APART)
    assert step.state.captures[-1].unproved
    again = advance(step.state, found)
    assert [type(command) for command in again.commands] == [Stop]
    over = after(*OVER_THERE, found, found, closed(2))
    assert (states(over)[-1], over.phase) == (CaptureState.STOPPED, Phase.OVER)


def test_a_consultation_survives_the_journal() -> None:
    for event in (consulted(), handed_over()):
        assert event_from_fields(*fields_from_event(event)) == event


# --------------------------------------------------------------------------- every event, in every state


def alphabet(state: CallState) -> Iterator[CallEvent]:
    yield from events_of_a_consultation(state)
    for capture in state.captures[-2:]:
        yield from events_of_a_capture(capture.id.int)
    yield from (key(KeyAct.STOP, CALLER), key(KeyAct.PERSONAL), key(KeyAct.PAUSE))
    yield from (left(AGENT, 1), entered(AGENT, 2), left(AGENT, 1, CONSULTATION), hung_up(AGENT))
    yield from (entered(OUTSIDER, 3), left(CALLER, 1), hung_up(), sight_lost(), resynchronised(capture_lives=False))
    yield admitted()


def essence(state: CallState) -> tuple[object, ...]:
    beside, line, hand = prepared(state), state.consulted, capture_in_hand(state)
    legs = (CALLER, AGENT, NEAR, FAR, SECOND)
    return (
        state.phase,
        state.consent,
        state.paused is not None,
        state.personal,
        hand and (hand.state, hand.channel == FAR),
        beside and (beside.state, beside.silent),
        line and (line.bridge, bool(line.agents)),
        bool(state.halves),
        state.relay is not None,
        standing(state),
        tuple(state.bridges.get(leg.uniqueid) for leg in legs),
        bool(state.listed_legs),
        bool(state.consultations),
        tuple(key.answer for key in state.owed),
    )


def explored(start: CallState, most: int) -> Iterable[CallState]:
    found, waiting = {essence(start)}, deque([start])
    while waiting and len(found) < most:
        state = waiting.popleft()
        for event in alphabet(state):
            step = advance(state, event)
            call_law.check(state, event, step)
            if (known := essence(step.state)) not in found:
                found.add(known)
                waiting.append(step.state)
        yield state


def test_no_event_beside_the_caller_breaks_a_law_or_keeps_the_call_from_ending() -> None:
    """From each moment of a consultation that is played to its end, every event, as far as 400 states each."""
    unmuted = tuple(event for event in ANSWERED if event != muted(on=FAR))
    reached: set[CaptureState] = set()
    for moment in (PREPARED, (*unmuted, *LEAVES, handed_over()), ANSWERED, JOINED, OVER_THERE):
        for state in explored(after(*moment), 400):
            reached |= set(states(state))
            final = state
            for event in (hung_up(AGENT), hung_up(CALLER), hung_up(FAR)):
                final = advance(final, event).state
            assert not [capture for capture in final.captures if capture.state in BESIDE]
            for capture in final.captures:
                number = capture.id.int
                final = advance(final, made(number) if capture.bridged_at else emptied(number)).state
                if final.captures[number - 1].state is CaptureState.ERASING:
                    final = advance(final, events_of_erasing(number)).state
            assert final.phase is Phase.CLOSED
    assert {CaptureState.PREPARED, CaptureState.FORSAKEN, CaptureState.RUNNING, CaptureState.PAUSED} <= reached


def events_of_erasing(number: int) -> CallEvent:
    return next(event for event in events_of_a_capture(number) if type(event).__name__ == "RecordingErased")
