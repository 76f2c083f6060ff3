"""A caller whom an agent has joined with another line's agent by telephone (SIP REFER): when that talk is captured."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace

import pytest

from recorder.call import (
    Arm,
    Beyond,
    CallEvent,
    CallState,
    CaptureState,
    Phase,
    Standing,
    Stop,
    Summon,
    advance,
    begin,
    capture_in_hand,
    event_from_fields,
    fields_from_event,
    standing,
    standing_with,
)
from recorder.model import (
    BridgeId,
    BridgeLeft,
    ConsentMode,
    ConsentRecorded,
    ConsentState,
    Direction,
    HoldBegan,
    HoldEnded,
    KeyAct,
    LostReason,
    RecordingAuthorised,
    Uniqueid,
    Unrecorded,
)
from tests.core import call_law
from tests.core.call_cast import (
    AGENT,
    BEHIND,
    BEYOND,
    CALLER,
    ELSEWHERE,
    FAR,
    LINK_FAR,
    LINK_NEAR,
    OUTSIDER,
    SECOND,
    TALK,
    admitted,
    answered,
    armed,
    channel,
    closed,
    connected,
    consulted,
    entered,
    events_of_a_capture,
    events_of_a_joining,
    halves,
    hung_up,
    key,
    left,
    line_reached,
    muted,
    offered,
    on_the_list,
    pressed,
    relayed,
    resynchronised,
    rung,
    sight_lost,
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
HOLDS: tuple[CallEvent, ...] = (*TALKING, HoldBegan(at=NOON, channel=AGENT))
LINK: tuple[CallEvent, ...] = (left(AGENT, 1), entered(LINK_NEAR, 2), hung_up(AGENT))
LINKED: tuple[CallEvent, ...] = (*HOLDS, entered(LINK_FAR, 2, BEYOND), *LINK)
"""Asterisk has put a Local channel in the places of the agent's two legs: the caller hears the other line's agent."""
REACHED: tuple[CallEvent, ...] = (*LINKED, line_reached())
FREE: tuple[CallEvent, ...] = (*REACHED, closed())
CAPTURED: tuple[CallEvent, ...] = (*FREE, offered(), armed(2))
THERE = ((CALLER, TALK), (LINK_NEAR, TALK), (LINK_FAR, BEYOND), (SECOND, BEYOND))


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


@pytest.mark.parametrize("there", [LINKED, (*HOLDS, *LINK)], ids=["heard", "not heard of the far half"])
def test_the_first_capture_ends_then_the_channel_is_asked_for_and_then_the_second_begins(
    there: tuple[CallEvent, ...],
) -> None:
    before = after(*there)
    assert states(before) == [CaptureState.STOPPING]
    step = advance(before, line_reached())
    call_law.check(before, line_reached(), step)
    assert step.commands == ()
    assert (step.state.line, step.state.policy) == ("sales", "sales-digest")
    assert standing(step.state) is Standing.TOGETHER
    free = advance(step.state, closed())
    assert [command for command in free.commands if isinstance(command, Summon)] == [Summon(channel=CALLER)]
    begun = advance(free.state, offered())
    (consent,) = [fact for fact in begun.facts if isinstance(fact, ConsentRecorded)]
    (authority,) = [fact for fact in begun.facts if isinstance(fact, RecordingAuthorised)]
    assert (consent.line, consent.policy, consent.after) == ("sales", "sales-digest", ConsentState.GIVEN)
    assert (authority.line, authority.authorised_by, authority.channel) == ("sales", consent.id, CALLER)
    assert begun.commands == (Arm(recording=authority.id, channel=CALLER),)
    assert states(advance(begun.state, armed(2)).state) == [CaptureState.STOPPED, CaptureState.RUNNING]


def test_the_key_is_pressed_once_and_serves_once() -> None:
    state = after(*CAPTURED)
    again = advance(state, HoldBegan(at=NOON, channel=SECOND))
    assert not [command for command in again.commands if isinstance(command, Summon)]
    stopped = after(*CAPTURED, key(KeyAct.STOP, CALLER))
    for pressed_again in (offered(3), line_reached()):
        step = advance(stopped, pressed_again)
        assert not [command for command in step.commands if isinstance(command, Arm | Summon)]


NEWCOMER = entered(OUTSIDER, 3, BEHIND)
NARROW, WIDE = frozenset({"training"}), frozenset({"training", "discipline"})
NOT_CAPTURED: dict[str, tuple[CallEvent, ...]] = {
    "the caller refused": (admitted(), answered(ConsentState.REFUSED), *LINKED[3:], line_reached()),
    "nobody answered": (admitted(), answered(ConsentState.UNANSWERED), *LINKED[3:], line_reached()),
    "only told": (
        admitted(ConsentMode.NOTICE),
        answered(ConsentState.NOTICED),
        *LINKED[2:],
        line_reached(ConsentMode.NOTICE),
    ),
    "withdrawn": (*TALKING, key(KeyAct.STOP, CALLER), *LINK, line_reached()),
    "personal": (*TALKING, key(KeyAct.PERSONAL), *LINK, line_reached()),
    "a line that is never recorded": (*LINKED, line_reached(ConsentMode.NEVER)),
    "for more than was agreed to": (admitted(purposes=NARROW), *LINKED[1:], line_reached(purposes=WIDE)),
    "on a list": (*LINKED, line_reached(unrecorded=Unrecorded.NUMBER)),
    "an agent who must not be recorded": (*LINKED, on_the_list(SECOND), line_reached()),
    "by somebody else": (*LINKED, line_reached(by=OUTSIDER)),
    "of somebody else": (*LINKED, line_reached(caller=OUTSIDER)),
    "the agent is elsewhere": (*LINKED, line_reached(bridge=ELSEWHERE)),
    "all in one bridge": (*HOLDS, *LINK, line_reached(bridge=TALK)),
    "a third one is with the agent": (*LINKED, entered(OUTSIDER, 3, BEYOND), line_reached()),
    "somebody of whom we never heard is with the agent": (*LINKED, entered(LINK_FAR, 3, BEYOND), line_reached()),
    "the agent has left again": (*LINKED, left(SECOND, 1, BEYOND), line_reached()),
    "somebody else is with the agent": (*HOLDS, entered(OUTSIDER, 2, BEYOND), *LINK, line_reached()),
    "a third one is with the caller": (*LINKED, entered(OUTSIDER, 3), line_reached()),
    "the near half has left again": (*LINKED, left(LINK_NEAR, 1), line_reached()),
    "the caller has left again": (*LINKED, left(CALLER, 1), line_reached()),
    "the caller is gone": (*LINKED, hung_up(), line_reached()),
    "somebody else speaks through the caller's channel": (relayed(), *LINKED[1:], NEWCOMER, line_reached()),
}


@pytest.mark.parametrize("told", NOT_CAPTURED.values(), ids=NOT_CAPTURED)
def test_nothing_is_asked_for_without_a_yes_that_covers_the_line_and_those_two_alone(
    told: tuple[CallEvent, ...],
) -> None:
    state = after(*told)
    assert state.reached is None
    assert state.line == "support"
    for event in (closed(), offered()):
        step = advance(state, event)
        assert not [command for command in step.commands if isinstance(command, Arm | Summon)]
        state = step.state


def test_an_outgoing_call_is_not_carried_to_a_line() -> None:
    state = replace(after(*LINKED), direction=Direction.OUTGOING)
    assert advance(state, line_reached()).state == state


LATER: dict[str, tuple[CallEvent, ...]] = {
    "withdrawn": (*REACHED, key(KeyAct.STOP, CALLER), closed()),
    "personal": (*REACHED, key(KeyAct.PERSONAL, SECOND), closed()),
    "on a list": (*REACHED, on_the_list(SECOND), closed()),
    "a third one has come": (*REACHED, entered(OUTSIDER, 3, BEYOND), closed()),
    "unseen": (*REACHED, sight_lost(), resynchronised(*THERE), closed()),
    "somebody else speaks through the caller's channel": (relayed(), *REACHED[1:], NEWCOMER, closed()),
    "over": (*REACHED, hung_up(), closed()),
}


@pytest.mark.parametrize("told", LATER.values(), ids=LATER)
def test_what_comes_before_the_first_capture_has_ended_counts(told: tuple[CallEvent, ...]) -> None:
    state = after(*told[:-1])
    step = advance(state, told[-1])
    call_law.check(state, told[-1], step)
    assert not [command for command in step.commands if isinstance(command, Summon)]


@pytest.mark.parametrize("told", LATER.values(), ids=LATER)
def test_what_comes_between_the_key_and_the_channel_counts(told: tuple[CallEvent, ...]) -> None:
    state = after(told[0], *FREE[1:], *told[len(REACHED) : -1])
    step = advance(state, offered())
    call_law.check(state, offered(), step)
    assert not [command for command in step.commands if isinstance(command, Arm)]


SENT_ON: tuple[CallEvent, ...] = (
    admitted(),
    closed(),
    answered(recording=3, hindrance=LostReason.CATALOGUE_AWAY),
    rung(OUTSIDER),
    connected(OUTSIDER),
    entered(OUTSIDER, 1, ELSEWHERE),
    entered(CALLER, 2, ELSEWHERE),
)
"""To a third line, by its dialogue. There nothing can be captured, and they talk all the same."""


@pytest.mark.parametrize("reached", [REACHED, FREE], ids=["not asked for yet", "asked for"])
def test_a_caller_who_is_sent_on_to_a_third_line_is_not_captured_by_the_second_lines_rules(
    reached: tuple[CallEvent, ...],
) -> None:
    state = after(*reached)
    for event in (*SENT_ON, offered(4)):
        step = advance(state, event)
        call_law.check(state, event, step)
        assert not [command for command in step.commands if isinstance(command, Arm | Summon)]
        state = step.state
    assert (state.phase, state.consent) == (Phase.TALKING, ConsentState.GIVEN)


def test_the_channel_is_asked_for_only_once_what_was_prepared_for_a_line_consulted_by_key_has_ended_too() -> None:
    by_key = (halves(), consulted(), armed(2), muted(on=FAR))
    joined = after(*TALKING, *by_key, *LINK, line_reached())
    first = advance(joined, closed())
    assert states(first.state) == [CaptureState.STOPPED, CaptureState.FORSAKEN]
    assert not [command for command in first.commands if isinstance(command, Summon)]
    free = advance(first.state, closed(2))
    assert [command for command in free.commands if isinstance(command, Summon)] == [Summon(channel=CALLER)]


def test_what_cannot_be_captured_is_lost_by_its_reason() -> None:
    state = after(*FREE, offered(hindrance=LostReason.CATALOGUE_AWAY))
    assert state.lost is LostReason.CATALOGUE_AWAY
    assert capture_in_hand(state) is None


def test_a_call_that_is_paused_is_captured_there_in_silence() -> None:
    state = after(*TALKING, key(KeyAct.PAUSE), *LINK, line_reached(), closed(), offered(), armed(2))
    assert states(state)[-1] is CaptureState.PAUSED


def test_a_pause_that_its_agent_asked_for_in_the_consultation_holds_on() -> None:
    state = after(*LINKED, line_reached(paused=True), closed(), offered(), armed(2))
    assert states(state)[-1] is CaptureState.PAUSED
    assert states(advance(state, key(KeyAct.RESUME, SECOND)).state)[-1] is CaptureState.RUNNING
    first = after(*TALKING, key(KeyAct.PAUSE), *LINK, line_reached(paused=True))
    assert first.paused is not None
    assert first.paused.actor == "PJSIP/alice"


DESK, TWO, PHONE = BridgeId("desk"), Uniqueid("1.30"), Uniqueid("1.31")
BEHIND_SECOND = Beyond(
    bridges={TWO: DESK, PHONE: DESK},
    sizes={DESK: 2},
    parents={TWO: SECOND.uniqueid, PHONE: TWO},
    twins={SECOND.uniqueid: TWO},
    answered=frozenset({TWO}),
)
"""The other line's agent is a Local member, with a telephone behind it."""


@pytest.mark.parametrize(
    ("then", "now"),
    [
        ((), CaptureState.RUNNING),
        ((HoldBegan(at=NOON, channel=channel("PJSIP/x-1", PHONE)),), CaptureState.QUIET),
        (
            (BridgeLeft(at=NOON, channel=channel("Local/x-1;2", TWO), bridge=DESK, channels=1),),
            CaptureState.STOPPING,
        ),
    ],
    ids=["talks", "the telephone holds", "sent on behind it"],
)
def test_who_stands_behind_the_other_lines_agent_comes_along(then: tuple[CallEvent, ...], now: CaptureState) -> None:
    reached = line_reached(beyond=BEHIND_SECOND)
    assert states(after(*LINKED, reached, closed(), offered(), armed(2), *then))[-1] is now


@pytest.mark.parametrize(
    "beyond",
    [
        replace(BEHIND_SECOND, listed=frozenset({PHONE})),
        replace(BEHIND_SECOND, held=frozenset({PHONE})),
        replace(BEHIND_SECOND, sizes={DESK: 3}),
        replace(BEHIND_SECOND, bridges={PHONE: DESK}),
    ],
    ids=["must not be recorded", "holds", "a third is there", "sent on already"],
)
def test_what_stands_behind_the_other_lines_agent_may_forbid_it(beyond: Beyond) -> None:
    state = after(*LINKED, line_reached(beyond=beyond))
    assert not [command for command in advance(state, closed()).commands if isinstance(command, Summon)]


def test_what_was_heard_of_it_since_is_newer_than_what_came_along() -> None:
    gone = BridgeLeft(at=NOON, channel=channel("PJSIP/x-1", PHONE), bridge=DESK, channels=1)
    assert after(*LINKED, gone, line_reached(beyond=BEHIND_SECOND)).reached is None


def test_a_hold_while_the_channel_is_brought_asks_for_it_again() -> None:
    hold = (HoldBegan(at=NOON, channel=SECOND), offered(), HoldEnded(at=NOON, channel=SECOND))
    held = after(*FREE, *hold[:2])
    assert states(held) == [CaptureState.STOPPED]
    back = advance(held, hold[2])
    assert [command for command in back.commands if isinstance(command, Summon)] == [Summon(channel=CALLER)]
    assert states(after(*FREE, *hold, offered()))[-1] is CaptureState.ARMING


def test_the_second_agents_keys_are_the_ones_that_count_there() -> None:
    state = after(*CAPTURED)
    assert standing_with(state, SECOND.uniqueid)
    assert not standing_with(state, AGENT.uniqueid)
    assert states(after(*CAPTURED, key(KeyAct.PAUSE, SECOND)))[-1] is CaptureState.PAUSED
    assert states(after(*CAPTURED, key(KeyAct.PAUSE, AGENT)))[-1] is CaptureState.RUNNING


def test_a_hold_by_the_second_agent_is_silence() -> None:
    state = after(*CAPTURED, HoldBegan(at=NOON, channel=SECOND))
    assert states(state)[-1] is CaptureState.QUIET
    assert states(advance(state, HoldEnded(at=NOON, channel=SECOND)).state)[-1] is CaptureState.RUNNING


@pytest.mark.parametrize(
    "event",
    [left(SECOND, 1, BEYOND), entered(OUTSIDER, 3, BEYOND), entered(OUTSIDER, 3), left(LINK_NEAR, 1)],
    ids=["the agent leaves", "a third comes to the agent", "a third comes to the caller", "the link is gone"],
)
def test_whoever_comes_or_goes_there_is_seen(event: CallEvent) -> None:
    assert states(after(*CAPTURED, event))[-1] in (CaptureState.STOPPING, CaptureState.QUIET)


def test_a_third_line_is_not_followed() -> None:
    """Two Local channels would stand between the caller and its agent."""
    third = channel("PJSIP/carol-00000015", "1.15")
    state = after(*CAPTURED, left(SECOND, 1, BEYOND), entered(OUTSIDER, 2, BEYOND), closed(2))
    step = advance(state, line_reached(agent=third, by=SECOND, bridge=ELSEWHERE))
    assert step.state == state


def test_after_a_time_that_nobody_saw_the_capture_ends_where_sight_did() -> None:
    """A pause that its agent pressed meanwhile stands in the queue log under the second line's call."""
    state = after(*CAPTURED)
    step = advance(state, resynchronised(*THERE))
    assert [type(command) for command in step.commands] == [Stop]
    assert step.state.captures[-1].unproved
    assert step.state.captures[-1].bridged_until == NOON
    assert step.state.reached is None
    gone = advance(state, resynchronised(capture_lives=False, proved=True))
    assert gone.state.captures[-1].unproved


def test_no_override_begins_anything_beyond_the_link() -> None:
    state = after(*FREE)
    assert advance(state, pressed(recording=2)).state.captures == state.captures


@pytest.mark.parametrize("event", [line_reached(), offered()])
def test_both_survive_the_journal(event: CallEvent) -> None:
    assert event_from_fields(*fields_from_event(event)) == event


# --------------------------------------------------------------------------- whatever comes


def alphabet(state: CallState) -> Iterator[CallEvent]:
    yield from events_of_a_joining(state)
    for capture in state.captures[-2:]:
        yield from events_of_a_capture(capture.id.int)
    yield from (key(KeyAct.STOP, CALLER), key(KeyAct.PERSONAL, SECOND), key(KeyAct.PAUSE, SECOND))
    yield from (left(AGENT, 1), entered(AGENT, 2), hung_up(AGENT), sight_lost(), admitted())


def essence(state: CallState) -> tuple[object, ...]:
    reached, hand = state.reached, capture_in_hand(state)
    return (
        state.phase,
        state.consent,
        state.paused is not None,
        state.personal,
        hand and hand.state,
        reached and (reached.summoned, reached.offered),
        standing(state),
        state.agents,
        tuple(state.bridges.get(leg.uniqueid) for leg in (CALLER, AGENT, LINK_NEAR, LINK_FAR, SECOND)),
        bool(state.held),
        bool(state.listed_legs),
    )


def test_no_event_of_a_joining_breaks_a_law_or_keeps_the_call_from_ending() -> None:
    """From each moment of one, every event, as far as 600 states each."""
    seen: set[CaptureState] = set()
    for moment in (HOLDS, LINKED, REACHED, FREE, CAPTURED):
        start = after(*moment)
        found, waiting = {essence(start)}, deque([start])
        while waiting and len(found) < 600:
            state = waiting.popleft()
            seen |= set(states(state))
            for event in alphabet(state):
                step = advance(state, event)
                call_law.check(state, event, step)
                if essence(step.state) not in found:
                    found.add(essence(step.state))
                    waiting.append(step.state)
            final = advance(advance(state, hung_up(AGENT)).state, hung_up(CALLER)).state
            assert final.phase in (Phase.OVER, Phase.CLOSED)
            assert capture_in_hand(final) is None
    assert {CaptureState.RUNNING, CaptureState.PAUSED, CaptureState.STOPPING} <= seen
