"""A telephone behind a Local channel that the queue rang: the talk is with it, whatever the caller's bridge says."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace

import pytest

from recorder.call import (
    CallEvent,
    CallState,
    CaptureState,
    Standing,
    advance,
    begin,
    capture_in_hand,
    standing,
    standing_with,
    unrecorded,
)
from recorder.model import (
    BridgeId,
    Channel,
    DialBegan,
    HoldBegan,
    HoldEnded,
    KeyAct,
    LocalBridged,
    LocalOptimised,
    Unrecorded,
)
from tests.core import call_law
from tests.core.call_cast import (
    CALLER,
    ELSEWHERE,
    OUTSIDER,
    admitted,
    answered,
    armed,
    channel,
    closed,
    company,
    connected,
    entered,
    hung_up,
    key,
    left,
    on_the_list,
    resynchronised,
    rung,
    sight_lost,
)
from tests.facts import NOON

ONE = channel("Local/101@agents-00000001;1", "1.20")
TWO = channel("Local/101@agents-00000001;2", "1.21")
PHONE = channel("PJSIP/alice-00000022", "1.22")
INNER_ONE = channel("Local/201@phones-00000003;1", "1.23")
INNER_TWO = channel("Local/201@phones-00000003;2", "1.24")
DESK = BridgeId("consultation")  # of the basic kind
INNER = BridgeId("beyond")
RUNG: tuple[CallEvent, ...] = (
    admitted(),
    answered(),
    armed(),
    LocalBridged(at=NOON, one=ONE, two=TWO),
    rung(ONE),
    DialBegan(at=NOON, channel=TWO, dialled=PHONE),
)
TALKING: tuple[CallEvent, ...] = (
    *RUNG,
    connected(ONE),
    entered(CALLER, 1),
    entered(ONE, 2),
    entered(PHONE, 1, DESK),
    entered(TWO, 2, DESK),
)


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


@pytest.mark.parametrize(
    "order",
    [
        (entered(CALLER, 1), entered(ONE, 2), entered(PHONE, 1, DESK), entered(TWO, 2, DESK)),
        (entered(CALLER, 1), entered(ONE, 2), entered(TWO, 1, DESK), entered(PHONE, 2, DESK)),
        (entered(TWO, 1, DESK), entered(CALLER, 1), entered(PHONE, 2, DESK), entered(ONE, 2)),
    ],
    ids=["the caller first", "the half before its telephone", "together"],
)
def test_however_they_come_together_nothing_is_muted_or_stopped(order: tuple[CallEvent, ...]) -> None:
    state = after(*RUNG, connected(ONE))
    for event in order:
        step = advance(state, event)
        assert step.commands == ()
        state = step.state
    assert states(state) == [CaptureState.RUNNING]


def test_a_dialplan_that_joins_the_half_with_nobody_is_the_agent() -> None:
    assert states(after(*TALKING[:-2])) == [CaptureState.RUNNING]


def test_whom_a_dialplan_dials_that_has_answered_by_itself_is_the_agent() -> None:
    answers = (*RUNG[:-1], connected(ONE), entered(CALLER, 1), entered(ONE, 2))
    dials = (DialBegan(at=NOON, channel=TWO, dialled=PHONE), entered(PHONE, 1, DESK), entered(TWO, 2, DESK))
    assert states(after(*answers, *dials)) == [CaptureState.RUNNING]
    assert states(after(*answers, *dials[1:])) == [CaptureState.STOPPING]


SENT_ON: dict[str, tuple[CallEvent, ...]] = {
    "blindly": (left(TWO, 1, DESK),),
    "to whom it consulted": (left(TWO, 1, DESK), entered(TWO, 2, ELSEWHERE)),
    "somebody in the telephone's place": (left(PHONE, 1, DESK), entered(OUTSIDER, 2, DESK)),
    "a third beside the telephone": (entered(OUTSIDER, 3, DESK),),
    "somebody of whom we never heard": (entered(PHONE, 3, DESK),),
    "a telephone that it dialled since": (
        DialBegan(at=NOON, channel=TWO, dialled=OUTSIDER),
        left(PHONE, 1, DESK),
        entered(OUTSIDER, 2, DESK),
    ),
    "into a conference": (left(TWO, 1, DESK), entered(TWO, 1, BridgeId("parking"))),
}


@pytest.mark.parametrize("events", SENT_ON.values(), ids=SENT_ON)
def test_whoever_takes_the_telephones_place_ends_the_capture(events: tuple[CallEvent, ...]) -> None:
    state = after(*TALKING, *events)
    assert standing(state) is Standing.FOREIGN
    assert states(state) == [CaptureState.STOPPING]
    assert states(after(*TALKING, *events, closed(), entered(PHONE, 2, DESK), entered(TWO, 2, DESK))) == [
        CaptureState.STOPPED
    ]


def test_a_telephone_that_goes_aside_and_comes_back_is_a_hold() -> None:
    """As the featuremap's key does it: the other half stays, and hears music."""
    aside = after(*TALKING, left(PHONE, 1, DESK))
    assert states(aside) == [CaptureState.QUIET]
    assert states(advance(aside, entered(PHONE, 2, DESK)).state) == [CaptureState.RUNNING]


@pytest.mark.parametrize("who", [PHONE, TWO])
def test_a_hold_by_the_telephone_is_silence(who: Channel) -> None:
    held = after(*TALKING, HoldBegan(at=NOON, channel=who))
    assert states(held) == [CaptureState.QUIET]
    assert states(advance(held, HoldEnded(at=NOON, channel=who)).state) == [CaptureState.RUNNING]


def test_a_local_channel_that_asterisk_takes_out_of_the_path_changes_nothing() -> None:
    state = after(*TALKING)
    for event in (
        LocalOptimised(at=NOON, one=ONE, two=TWO),
        left(PHONE, 1, DESK),
        entered(PHONE, 2),
        left(ONE, 2),
        left(TWO, 0, DESK),
        hung_up(ONE),
        hung_up(TWO),
    ):
        step = advance(state, event)
        call_law.check(state, event, step)
        assert step.commands == ()
        state = step.state
    assert states(state) == [CaptureState.RUNNING]
    assert standing_with(state, PHONE.uniqueid)


def test_a_telephone_two_local_channels_away_is_the_agent_and_nobody_in_its_place_is() -> None:
    chain = (
        *RUNG[:-1],
        DialBegan(at=NOON, channel=TWO, dialled=INNER_ONE),
        LocalBridged(at=NOON, one=INNER_ONE, two=INNER_TWO),
        DialBegan(at=NOON, channel=INNER_TWO, dialled=PHONE),
        connected(ONE),
        entered(CALLER, 1),
        entered(ONE, 2),
        entered(INNER_ONE, 1, DESK),
        entered(TWO, 2, DESK),
        entered(PHONE, 1, INNER),
        entered(INNER_TWO, 2, INNER),
    )
    assert states(after(*chain)) == [CaptureState.RUNNING]
    assert standing_with(after(*chain), PHONE.uniqueid)
    assert states(after(*chain, HoldBegan(at=NOON, channel=PHONE))) == [CaptureState.QUIET]
    assert states(after(*chain, left(INNER_TWO, 1, INNER))) == [CaptureState.STOPPING]
    assert states(after(*chain, left(PHONE, 1, INNER), entered(OUTSIDER, 2, INNER))) == [CaptureState.STOPPING]


def test_a_ring_of_local_channels_is_nobody() -> None:
    assert states(after(*TALKING, entered(TWO, 3))) == [CaptureState.STOPPING]


def test_the_keys_of_a_telephone_behind_it_count() -> None:
    state = after(*TALKING)
    assert standing_with(state, PHONE.uniqueid)
    assert states(after(*TALKING, key(KeyAct.PAUSE, PHONE))) == [CaptureState.PAUSED]
    assert not standing_with(after(*TALKING, left(PHONE, 1, DESK)), PHONE.uniqueid)


def test_an_agent_who_must_not_be_recorded_is_not_there_either() -> None:
    state = after(
        *RUNG, connected(ONE), entered(CALLER, 1), entered(ONE, 2), on_the_list(PHONE), entered(PHONE, 1, DESK)
    )
    state = after_all(state, entered(TWO, 2, DESK))
    assert unrecorded(state) is Unrecorded.AGENT
    assert states(state) == [CaptureState.STOPPING]


def after_all(state: CallState, *events: CallEvent) -> CallState:
    for event in events:
        step = advance(state, event)
        call_law.check(state, event, step)
        state = step.state
    return state


THERE = ((CALLER, BridgeId("talk")), (ONE, BridgeId("talk")), (TWO, DESK), (PHONE, DESK))


def test_after_a_time_that_nobody_saw_only_the_same_telephone_is_the_agent() -> None:
    blind = after(*TALKING, sight_lost())
    assert states(after_all(blind, resynchronised(*THERE))) == [CaptureState.RUNNING]
    elsewhere = (*THERE[:2], (TWO, ELSEWHERE), (OUTSIDER, ELSEWHERE))
    assert states(after_all(blind, resynchronised(*elsewhere))) == [CaptureState.STOPPING]
    assert states(after_all(blind, resynchronised(*THERE[:2], (TWO, None)))) == [CaptureState.STOPPING]


def test_what_nobody_saw_of_it_the_queue_log_does_not_prove() -> None:
    """It tells when the talk ended, and nothing of who stood behind the half meanwhile."""
    gone = resynchronised(capture_lives=False, proved=True)
    assert after(*TALKING, gone).captures[-1].unproved
    assert after(*TALKING[:-2], gone).captures[-1].unproved  # it has dialled somebody: who stood there nobody saw
    by_itself = (*RUNG[:-1], connected(ONE), entered(CALLER, 1), entered(ONE, 2))
    assert not after(*by_itself, gone).captures[-1].unproved
    optimised = (LocalOptimised(at=NOON, one=ONE, two=TWO), left(PHONE, 1, DESK), entered(PHONE, 2), left(ONE, 2))
    assert not after(*TALKING, *optimised, gone).captures[-1].unproved


def test_a_hold_behind_it_outlasts_a_time_that_nobody_saw() -> None:
    """Of a Local channel that waits Asterisk does not tell whether it still does."""
    held = after(*TALKING, HoldBegan(at=NOON, channel=PHONE))
    back = after_all(held, resynchronised(*THERE, held=frozenset()))
    assert states(back) == [CaptureState.QUIET]
    assert states(after_all(back, HoldEnded(at=NOON, channel=PHONE))) == [CaptureState.RUNNING]


def test_a_telephone_that_answered_unseen_is_known_to_have_stood_there() -> None:
    unseen = after(*RUNG, connected(ONE), entered(CALLER, 1), entered(ONE, 2), sight_lost(), resynchronised(*THERE))
    assert states(unseen) == [CaptureState.RUNNING]
    assert states(after_all(unseen, left(TWO, 1, DESK))) == [CaptureState.STOPPING]


def test_halves_of_which_nobody_heard_are_known_by_their_names() -> None:
    """A telephone behind them was dialled by nobody that we know: nothing is captured."""
    unheard = after(*RUNG[:3], rung(ONE), connected(ONE), entered(CALLER, 1), entered(ONE, 2), sight_lost())
    told = replace(resynchronised(*THERE), twins={ONE.uniqueid: TWO.uniqueid})
    assert states(after_all(unheard, told)) == [CaptureState.STOPPING]
    alone = replace(resynchronised(*THERE[:2], (TWO, None)), twins={ONE.uniqueid: TWO.uniqueid})
    assert states(after_all(unheard, alone)) == [CaptureState.RUNNING]


def test_of_two_local_channels_the_outer_ones_half_may_move_when_the_inner_is_taken_out() -> None:
    chain = (
        *RUNG[:-1],
        DialBegan(at=NOON, channel=TWO, dialled=INNER_ONE),
        LocalBridged(at=NOON, one=INNER_ONE, two=INNER_TWO),
        DialBegan(at=NOON, channel=INNER_TWO, dialled=PHONE),
        connected(ONE),
        entered(CALLER, 1),
        entered(ONE, 2),
        entered(INNER_ONE, 1, DESK),
        entered(TWO, 2, DESK),
        entered(PHONE, 1, INNER),
        entered(INNER_TWO, 2, INNER),
    )
    state = after(*chain)
    moves = (
        LocalOptimised(at=NOON, one=INNER_ONE, two=INNER_TWO),
        left(TWO, 1, DESK),
        left(INNER_TWO, 1, INNER),
        entered(TWO, 2, INNER),
        left(INNER_ONE, 0, DESK),
        hung_up(INNER_ONE),
        hung_up(INNER_TWO),
    )
    for event in moves:
        step = advance(state, event)
        call_law.check(state, event, step)
        assert step.commands == ()
        state = step.state
    assert states(after_all(state, left(TWO, 1, INNER))) == [CaptureState.STOPPING]


def test_an_agent_whose_own_channel_a_members_dialplan_brings_is_the_agent() -> None:
    """AgentRequest() dials nobody: who stands with the half before the queue has it is the member."""
    brought = (*RUNG[:-1], entered(TWO, 1, DESK), entered(PHONE, 2, DESK))
    state = after(*brought, connected(ONE), entered(CALLER, 1), entered(ONE, 2))
    assert states(state) == [CaptureState.RUNNING]
    assert states(after_all(state, entered(OUTSIDER, 3, DESK))) == [CaptureState.STOPPING]
    late = (*RUNG[:-1], connected(ONE), entered(CALLER, 1), entered(ONE, 2), entered(TWO, 1, DESK))
    assert states(after(*late, entered(PHONE, 2, DESK))) == [CaptureState.STOPPING]


def alphabet(state: CallState) -> Iterator[CallEvent]:
    for who, bridge in ((PHONE, DESK), (TWO, DESK), (OUTSIDER, DESK), (TWO, ELSEWHERE), (ONE, BridgeId("talk"))):
        yield entered(who, company(state, bridge, who) + 1, bridge)
        yield left(who, company(state, bridge, who), bridge)
    yield from (HoldBegan(at=NOON, channel=PHONE), HoldEnded(at=NOON, channel=PHONE))
    yield from (LocalOptimised(at=NOON, one=ONE, two=TWO), hung_up(PHONE), hung_up(TWO), hung_up(ONE), closed())
    yield from (key(KeyAct.PAUSE, PHONE), key(KeyAct.RESUME, PHONE), on_the_list(PHONE), sight_lost())
    yield from (resynchronised(*THERE), entered(PHONE, 2), entered(CALLER, 2), left(CALLER, 1))


def test_no_event_behind_an_agent_breaks_a_law_or_keeps_the_call_from_ending() -> None:
    start = after(*TALKING)
    found, waiting = {essence(start)}, deque([start])
    while waiting and len(found) < 1500:
        state = waiting.popleft()
        for event in alphabet(state):
            step = advance(state, event)
            call_law.check(state, event, step)
            if essence(step.state) not in found:
                found.add(essence(step.state))
                waiting.append(step.state)
        assert capture_in_hand(advance(state, hung_up(CALLER)).state) is None


def essence(state: CallState) -> tuple[object, ...]:
    hand = capture_in_hand(state)
    return (
        state.phase,
        hand and hand.state,
        standing(state),
        state.paused is not None,
        tuple(state.bridges.get(leg.uniqueid) for leg in (CALLER, ONE, TWO, PHONE, OUTSIDER)),
        bool(state.twins),
        bool(state.held),
        bool(state.listed_legs),
        bool(state.answered),
    )
