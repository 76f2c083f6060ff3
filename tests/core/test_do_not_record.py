"""Who is on a do-not-record list, however it is written, and what the machine makes of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from recorder.call import (
    Acknowledge,
    CallAdmitted,
    CallEvent,
    CallState,
    CaptureState,
    KeyAnswer,
    Settle,
    Step,
    Stop,
    advance,
    begin,
    outcome,
)
from recorder.do_not_record import DoNotRecord, checked_interface, interface_of, written_number
from recorder.model import AuditEntry, ConsentState, KeyAct, Outcome, Unrecorded
from recorder.settings import SettingsMistaken, settings_from
from tests.core.call_cast import (
    AGENT,
    CALLER,
    TALK,
    admitted,
    answered,
    armed,
    channel,
    closed,
    connected,
    dialling,
    emptied,
    entered,
    hung_up,
    key,
    left,
    made,
    on_the_list,
    pressed,
    resynchronised,
    rung,
)

ARMED: tuple[CallEvent, ...] = (admitted(), answered(), armed(), rung())
OTHER = channel("PJSIP/bob-00000005", "1.5")


def played(*events: CallEvent) -> list[Step]:
    first, *others = events
    assert isinstance(first, CallAdmitted)
    steps = [begin(first)]
    for event in others:
        steps.append(advance(steps[-1].state, event))
    return steps


def after(*events: CallEvent) -> CallState:
    return played(*events)[-1].state


def after_all(state: CallState, *events: CallEvent) -> CallState:
    for event in events:
        state = advance(state, event).state
    return state


# --------------------------------------------------------------------------- agents


@pytest.mark.parametrize(
    ("party", "interface"),
    [
        ("PJSIP/agent7-0000002a", "PJSIP/agent7"),
        ("PJSIP/agent7", "PJSIP/agent7"),
        ("PJSIP/agent7/sip:desk@10.0.0.7:5060", "PJSIP/agent7"),
        ("PJSIP/front-desk-0000002a", "PJSIP/front-desk"),
        ("Local/7@agents-0000002a;1", "Local/7@agents"),
        ("Local/7@agents/n", "Local/7@agents"),
        ("SIP/7-0000002a", "SIP/7"),
    ],
)
def test_a_channel_and_a_member_are_the_same_agent(party: str, interface: str) -> None:
    assert interface_of(party) == interface
    assert DoNotRecord(agents=frozenset({interface})).names_agent(party)


def test_another_agent_is_not_on_the_list_by_a_likeness() -> None:
    lists = DoNotRecord(agents=frozenset({"PJSIP/agent7"}))
    assert not any(map(lists.names_agent, ("PJSIP/agent77-0000002a", "PJSIP/agent-0000002a", "SIP/agent7", "")))


@pytest.mark.parametrize("written", ["agent7", "DAHDI/g1", "PJSIP/", "PJSIP/agent7-0000002a", "Local/7@agents;1", ""])
def test_what_no_channel_could_be_recognised_by_is_a_mistake(written: str) -> None:
    with pytest.raises(ValueError, match="as the queue names its member"):
        checked_interface(written)


# --------------------------------------------------------------------------- numbers


@pytest.mark.parametrize("written", ["+1 416 555 0123", "(416) 555-0123", "416.555.0123", "14165550123"])
@pytest.mark.parametrize("heard", ["4165550123", "14165550123", "+14165550123", "0014165550123", "94165550123"])
def test_a_number_is_the_same_however_it_is_written_and_dialled(written: str, heard: str) -> None:
    lists = DoNotRecord(numbers=(written_number(written, "CA"),), region="CA")
    assert lists.names_number(heard)
    assert not lists.names_dialled(heard)


@pytest.mark.parametrize("heard", ["4165550124", "165550123", "", "anonymous", "unknown", "+441615550123"])
def test_another_number_is_another_number(heard: str) -> None:
    lists = DoNotRecord(numbers=(written_number("+14165550123", None),), region="CA")
    assert not lists.names_number(heard)


def test_an_extension_is_only_itself() -> None:
    lists = DoNotRecord(dialled=(written_number("5501", "CA"),), region="CA")
    assert lists.names_dialled("5501")
    assert not lists.names_dialled("4165505501")


def test_every_mistaken_entry_is_told_at_once() -> None:
    text = """
        [ami]
        username = "recorder"
        secret = "x"
        [do_not_record]
        agents = ["agent7"]
        dialled = ["reception"]
        numbers = ["416 555 0123"]
    """
    with pytest.raises(SettingsMistaken) as mistaken:
        settings_from(text, {}, source="here")
    said = "\n".join(mistaken.value.mistakes)
    assert len(mistaken.value.mistakes) == 3
    for words in ("as the queue names its member", "no telephone number", "name the country as `region`"):
        assert words in said


# --------------------------------------------------------------------------- the call


@pytest.mark.parametrize("named", [Unrecorded.DIALLED, Unrecorded.NUMBER])
def test_a_call_on_a_list_is_excluded_whatever_is_answered_or_pressed(named: Unrecorded) -> None:
    steps = played(
        admitted(unrecorded=named),
        answered(ConsentState.GIVEN),
        answered(ConsentState.PROHIBITED),
        connected(),
        entered(AGENT, 1),
        entered(CALLER, 2),
        pressed(),
        hung_up(),
    )
    assert outcome(steps[-1].state) == (Outcome.EXCLUDED, None)
    assert steps[-1].state.captures == ()


def test_the_list_goes_along_to_the_next_line() -> None:
    state = after(admitted(unrecorded=Unrecorded.NUMBER), admitted(), answered())
    assert (state.unrecorded, state.captures) == (Unrecorded.NUMBER, ())


def test_what_is_armed_ends_before_the_listed_agent_is_joined_and_the_agent_is_told_when_it_has() -> None:
    listed, stopped = played(*ARMED, on_the_list(waits=True), closed())[-2:]
    assert [type(command) for command in listed.commands] == [Stop]
    assert [command.answer for command in stopped.commands if isinstance(command, Acknowledge)] == [KeyAnswer.EXCLUDED]
    ended = after(
        *ARMED,
        on_the_list(waits=True),
        closed(),
        connected(),
        entered(AGENT, 1),
        entered(CALLER, 2),
        emptied(),
        hung_up(),
    )
    assert outcome(ended) == (Outcome.EXCLUDED, None)


def test_an_agent_whom_nothing_captures_is_let_in_at_once() -> None:
    step = played(admitted(), answered(ConsentState.REFUSED), on_the_list(waits=True))[-1]
    assert [type(command) for command in step.commands] == [Acknowledge]


def test_without_the_dialplans_word_the_capture_ends_with_the_connection_and_nothing_of_it_is_kept() -> None:
    step = played(*ARMED, on_the_list(), connected())[-1]
    assert [type(command) for command in step.commands] == [Stop]
    joined = played(*ARMED, on_the_list(), connected(), entered(AGENT, 1), entered(CALLER, 2), closed())[-1]
    (capture,) = joined.state.captures
    assert (capture.state, capture.bridged_at) == (CaptureState.STOPPED, None)
    assert [type(command) for command in joined.commands] == [Settle]


def test_of_several_who_ring_only_the_one_who_answers_counts() -> None:
    events = (*ARMED, on_the_list(OTHER), connected(), entered(AGENT, 1), entered(CALLER, 2))
    assert after(*events).captures[0].state is CaptureState.RUNNING


def test_no_reason_of_any_listed_agent_overrides_and_that_it_was_tried_is_kept() -> None:
    step = played(
        admitted(),
        answered(ConsentState.REFUSED),
        on_the_list(),
        connected(),
        entered(AGENT, 1),
        entered(CALLER, 2),
        pressed(),
    )[-1]
    (audit,) = step.facts
    assert isinstance(audit, AuditEntry)
    assert (audit.action, audit.details["do_not_record"], audit.recording) == ("override refused", "agent", None)
    assert step.state.captures == ()


def test_a_listed_agent_may_still_take_a_withdrawal() -> None:
    state = after(*ARMED, on_the_list(), connected(), entered(AGENT, 1), entered(CALLER, 2), key(KeyAct.STOP))
    assert state.consent is ConsentState.WITHDRAWN


def test_sent_on_by_a_listed_agent_the_call_is_decided_anew() -> None:
    state = after(
        *ARMED,
        on_the_list(waits=True),
        closed(),
        connected(),
        entered(AGENT, 1),
        entered(CALLER, 2),
        left(AGENT, 1),
        left(CALLER, 0),
        emptied(),
        admitted(),
        answered(recording=2),
        armed(2),
        rung(OTHER),
        connected(OTHER),
        entered(OTHER, 1),
        entered(CALLER, 2),
    )
    assert state.captures[-1].state is CaptureState.RUNNING
    closing = after_all(state, hung_up(), made(2))
    assert outcome(closing) == (Outcome.RECORDED, None)


def test_who_dials_out_and_is_on_the_list_is_not_recorded() -> None:
    state = after(replace(dialling(), unrecorded=Unrecorded.AGENT), answered())
    assert (state.consent, state.captures) == (ConsentState.PROHIBITED, ())


def test_a_talk_with_a_listed_agent_that_nobody_saw_begin_is_in_no_recording() -> None:
    step = played(*ARMED, on_the_list(), connected(), resynchronised((CALLER, TALK), (AGENT, TALK)))[-1]
    assert step.state.captures[0].state is CaptureState.STOPPING
