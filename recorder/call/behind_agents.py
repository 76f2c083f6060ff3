"""Which legs stand behind an agent's: the only one that learns who was dialled through it, and with whom it was joined.

Of a Local channel that the queue rang, `;1` stands with the caller and the agent's telephone with `;2`. Must not say
whether whoever stands there is the agent: state.py does. The invariant: once the talk has begun, whom a `;2` dials or
meets that has stood with somebody is no agent by it.
"""

from __future__ import annotations

from dataclasses import replace

from recorder.call.draft import Draft
from recorder.call.state import BOTH, CallState, rings_beyond, with_leg
from recorder.call.tables import Phase
from recorder.model import BridgeEntered, BridgeId, DialBegan, LocalBridged, LocalOptimised, Uniqueid


def dial_began(draft: Draft, event: DialBegan) -> None:
    # Only while nobody is connected: whom an agent dials later is a consultation, not the agent; but for who is rung
    # there by the line that is consulted.
    if event.channel is None:
        return
    if not _may_ring(draft.state, event.channel.uniqueid):
        return
    draft.state = with_leg(draft.state, event.dialled.uniqueid, event.channel.uniqueid)
    know_as_rung(draft, event.dialled.uniqueid)
    if draft.state.caller is None and event.channel.uniqueid in draft.state.agents:
        draft.know(dialled=(*draft.state.dialled, event.dialled))


def _may_ring(state: CallState, leg: Uniqueid) -> bool:
    """Whether whom this leg dials now may be an agent: also where a member's dialplan answers before it dials."""
    is_first = leg in state.twins.values() and leg not in state.answered
    return state.phase in (Phase.ASKING, Phase.WAITING) or is_first or rings_beyond(state, leg)


def local_bridged(draft: Draft, event: LocalBridged) -> None:
    state, one, two = draft.state, event.one.uniqueid, event.two.uniqueid
    if state.phase in (Phase.ASKING, Phase.WAITING) or rings_beyond(state, one):
        draft.state = with_leg(state, two, one)
        draft.know(twins={**state.twins, one: two})
    else:
        draft.know(halves={**state.halves, two: one})


def know_as_rung(draft: Draft, one: Uniqueid) -> None:
    """A Local channel was heard of before who rang through it: Queue() says so in this order."""
    two = next((far for far, near in draft.state.halves.items() if near == one), None)
    if two is not None:
        halves = {far: near for far, near in draft.state.halves.items() if far != two}
        draft.state = with_leg(replace(draft.state, halves=halves), two, one)
        draft.know(twins={**draft.state.twins, one: two})


def local_optimised(draft: Draft, event: LocalOptimised) -> None:
    """Asterisk is about to take it out of the path: whoever stood behind it stands in front of it next."""
    one, state = event.one.uniqueid, draft.state
    where = {state.bridges.get(one), state.bridges.get(event.two.uniqueid)} - {None}
    # Of two Local channels in a row the outer one's half may be who moves: it is not sent on by that.
    answered = {two for two in state.answered if state.bridges.get(two) not in where}
    twins = {near: far for near, far in state.twins.items() if near != one}
    draft.know(twins=twins, answered=frozenset(answered))


def meet_behind(draft: Draft, event: BridgeEntered) -> None:
    """Whom a member's dialplan joins with its half before the queue has it is that member.

    AgentRequest() brings the agent's own channel, and dials nobody.
    """
    state = draft.state
    there = [leg for leg, where in state.bridges.items() if where == event.bridge]
    if state.phase in (Phase.ASKING, Phase.WAITING) and len(there) == BOTH == event.channels:
        for two, other in (there, reversed(there)):
            if two in state.twins.values() and two not in state.answered and other not in state.twins:
                draft.state = with_leg(draft.state, other, two)
    note_answered(draft, {event.bridge})


def note_answered(draft: Draft, bridges: set[BridgeId]) -> None:
    """Remember with which halves somebody stands."""
    state = draft.state
    met = {
        two for two in state.twins.values() if (where := state.bridges.get(two)) in bridges and _is_met(state, where)
    }
    draft.know(answered=state.answered | met)


def _is_met(state: CallState, where: BridgeId | None) -> bool:
    return sum(bridge == where for bridge in state.bridges.values()) > 1


def held_behind(was: CallState) -> frozenset[Uniqueid]:
    """Who holds behind a Local channel: of one that waits there Asterisk does not tell when it no longer does."""
    behind = {where for two in was.twins.values() if (where := was.bridges.get(two)) is not None}
    return frozenset(leg for leg in was.held if was.bridges.get(leg) in behind)


def has_telephones_behind(state: CallState) -> bool:
    """Whether a Local member has dialled anybody, or stands with anybody: who that is now the caller's bridge hides."""
    beyond = set(state.twins.values())
    return bool(beyond & (state.answered | set(state.parents.values())))
