"""A time that nobody saw: the only one that says what may be believed of it.

By what stands afterwards, and by what the queue log has. Must not turn a table. The invariant: what nobody can prove of
that time is not kept, and a capture goes on only where they stand as they stood, or one of them has gone aside or come
back.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from recorder.call.behind import has_company, may_be_somebody_else
from recorder.call.behind_agents import has_telephones_behind, held_behind, note_answered
from recorder.call.draft import (
    Draft,
    answer_is_nobodys,
    end_capture,
    end_with_the_caller,
    forsake,
    lose,
    prove_until,
    send_stop,
)
from recorder.call.events import CallResynchronised, SightLost
from recorder.call.state import CallState, Standing, capture_in_hand, prepared, standing, talk_bridge
from recorder.call.tables import UNCLOSED, CaptureState, Trigger
from recorder.model import Direction, LostReason, SilenceCause

CLOCKS_DIFFER_BY: Final = timedelta(seconds=2)
"""The queue log counts whole seconds: a line may look older or younger than it is."""


def sight_lost(draft: Draft, event: SightLost) -> None:
    forsake(draft)
    prove_until(draft, event.blind_from, blind=True)


def resynchronised(draft: Draft, event: CallResynchronised) -> None:
    """Believe what stands now; what nobody can prove of the time between ends the capture at its last proof."""
    was = draft.state
    _doubt_what_is_prepared(draft)
    anchor = was.caller.uniqueid if was.caller else next(iter(was.agents), None)
    draft.know(
        bridges={leg: bridge for leg, bridge in event.living.items() if bridge is not None},
        sizes=event.sizes,
        held=was.held if event.held is None else event.held | held_behind(was),
        rung=None,
    )
    draft.know(twins={**event.twins, **was.twins} if event.twins else was.twins)
    note_answered(draft, set(draft.state.bridges.values()))
    if anchor not in event.living:
        _believe_queue_log(draft, event)
        _account_for_unseen_talk(draft, event)
        prove_until(draft, event.blind_from, blind=True)
        ended_at = was.ended_at or event.hung_up_at or event.talk_proved_until or event.blind_from
        draft.know(ended_at=max(ended_at, was.started_at))
        hand = capture_in_hand(draft.state)
        stands = hand is not None and hand.channel.uniqueid in event.living
        end_with_the_caller(draft, outlives=stands and event.capture_lives)
    elif was.behind and may_be_somebody_else(was, event):
        prove_until(draft, event.blind_from, blind=True)
        answer_is_nobodys(draft)
    elif was.reached is not None:  # its agent's keys of that time stand in the log under another call
        prove_until(draft, event.blind_from, blind=True)
        end_capture(draft)
    elif not _talk_went_on(was, draft.state):
        prove_until(draft, event.blind_from, blind=True)
        if event.capture_lives:
            draft.raise_trigger(Trigger.PARTED)
        else:
            _close_in_hand(draft)
    elif not event.capture_lives:
        prove_until(draft, event.blind_from, blind=True)
        _close_in_hand(draft)
    else:
        _see_again(draft)
    draft.know(reached=None)
    if standing(draft.state) is Standing.TOGETHER:
        _begin_unseen(draft, event)
        draft.raise_trigger(Trigger.TOGETHER)  # perhaps in another bridge than before: the talk is a talk again
    hand = capture_in_hand(was)
    if hand is not None and hand.state is CaptureState.STOPPING and event.capture_lives:
        send_stop(draft, hand)  # the stop that we sent may have been lost with the connection


def _doubt_what_is_prepared(draft: Draft) -> None:
    """Who came to a consultation while nobody looked cannot be said: nothing of it becomes the caller's talk."""
    beside = prepared(draft.state)
    if beside is None:
        return
    if beside.state is CaptureState.FORSAKEN:
        send_stop(draft, beside)  # the one that we sent may have been lost with the connection
    forsake(draft)


def _talk_went_on(was: CallState, now: CallState) -> bool:
    """Whether they stand as they stood before we looked away, or have met since, as AgentConnected says.

    An agent who has gone aside, or has come back, is a hold that began or ended: of it there is silence.
    """
    caller = was.caller.uniqueid if was.caller else None
    if caller is None or was.bridges.get(caller) is None:
        return standing(now) in (Standing.NOWHERE, Standing.TOGETHER)
    stood, stands = standing(was), standing(now)
    went_on = stood is stands or {stood, stands} <= {Standing.HELD, Standing.ALONE, Standing.TOGETHER}
    return went_on and was.bridges.get(caller) == now.bridges.get(caller) and talk_bridge(was) == talk_bridge(now)


def _see_again(draft: Draft) -> None:
    """They stand as they stood, and every event has been read: nothing went unseen after all."""
    for capture in draft.state.captures:
        if capture.unproved and capture.state in UNCLOSED - {CaptureState.STOPPING}:
            draft.know_capture(capture.id, bridged_until=None, unproved=False)


def _close_in_hand(draft: Draft) -> None:
    hand = capture_in_hand(draft.state)
    if hand is not None:
        draft.raise_trigger(Trigger.CLOSED, hand.id)


def _begin_unseen(draft: Draft, event: CallResynchronised) -> None:
    """They met while nobody saw it: Asterisk has written since then, and what was paused since lies that far in."""
    for capture in draft.state.captures:
        if event.talk_began_at is not None and capture.bridged_at is None and capture.state in UNCLOSED:
            draft.know_capture(capture.id, bridged_at=event.talk_began_at)


def _believe_queue_log(draft: Draft, event: CallResynchronised) -> None:
    """A talk that the queue log saw from its beginning to a hang-up was with the agent alone, all of it."""
    if event.talk_proved_until is None:
        return
    draft.know(talked=True)
    state = draft.state
    if has_company(state) or state.relay is not None or has_telephones_behind(state):
        return  # with whom the agent spoke, or who took the place of their telephone, the log cannot tell
    first = min((capture.bridged_at for capture in draft.state.captures if capture.bridged_at), default=None)
    if first is not None and (event.talk_began_at is None or event.talk_began_at > first + CLOCKS_DIFFER_BY):
        return  # the log speaks of a later talk, perhaps with somebody else: it proves nothing of this one
    for capture in draft.state.captures:
        if capture.state in UNCLOSED - {CaptureState.STOPPING}:
            # The log drops what is less than a second: the talk ended within the one that it names.
            until = event.talk_proved_until + timedelta(seconds=1)
            began = capture.bridged_at or event.talk_began_at or event.talk_proved_until
            until = until if capture.unproved else capture.bridged_until or until
            # After a pause of that time nobody saw them together, and silence went on: they were.
            silences = tuple(
                silence
                for silence in capture.silences
                if silence.cause is SilenceCause.PAUSE
                or silence.ended_at is not None
                or silence.began_at <= event.blind_from
                or draft.state.held
            )
            draft.know_capture(
                capture.id, bridged_at=began, bridged_until=max(began, until), unproved=False, silences=silences
            )


def _account_for_unseen_talk(draft: Draft, event: CallResynchronised) -> None:
    """A talk of which we saw nothing is no abandoned call: either the log says so, or the callee had answered."""
    state = draft.state
    answered = state.direction is Direction.OUTGOING and state.caller is not None
    if not state.talked and (event.talk_began_at is not None or answered):
        draft.know(talked=True)
        lose(draft, LostReason.RECORDER_AWAY)
