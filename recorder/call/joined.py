"""A caller whom an agent joins with another line's agent by telephone: the only one that has that line's rules apply.

Must not ask for the caller's channel: turning.py does, once nothing of the first line's is being written. The
invariant: only the caller's own yes that covers the line permits there; and it counts only while Asterisk has said that
the caller stands with one half of its Local channel, that agent with the other, and nobody else with either.
"""

from __future__ import annotations

from dataclasses import replace

from recorder.call.consulted import Reached, Relay
from recorder.call.draft import Draft, authorise, end_capture, record_consent, see, take_rules
from recorder.call.events import CallAdmitted, ChannelOffered, LineReached
from recorder.call.state import (
    BOTH,
    CallState,
    Pause,
    Standing,
    agrees_to,
    capture_in_hand,
    is_agent,
    is_caller,
    is_listed,
    standing,
    unrecorded,
)
from recorder.call.tables import Phase
from recorder.model import ConsentState, Direction, PartyKind


def line_reached(draft: Draft, event: LineReached) -> None:
    """The caller speaks with another line's agent: that line's rules apply, and its talk may be captured."""
    state, line, agent = draft.state, event.admitted, event.agent
    may = _may_reach(state, line) and is_agent(state, event.by.uniqueid) and not is_listed(state, agent.uniqueid)
    if not may or not _are_linked(state, event):
        return
    end_capture(draft)
    take_rules(draft, line)
    beyond = event.beyond
    draft.know(
        relay=Relay(near=event.near, far=event.far, since=event.at),
        reached=Reached(line=line),
        agents=frozenset({agent.uniqueid}),
        bridges={**state.bridges, **beyond.bridges, agent.uniqueid: event.bridge, event.far: event.bridge},
        sizes={**beyond.sizes, **state.sizes, event.bridge: BOTH},
        parents={**beyond.parents, **state.parents},
        twins={**state.twins, **beyond.twins},
        answered=state.answered | beyond.answered,
        listed_legs=state.listed_legs | beyond.listed,
        held=state.held | beyond.held,
        interface=event.interface,
    )
    if event.paused_at is not None and event.paused_by is not None and state.paused is None:
        draft.know(paused=Pause(at=event.paused_at, actor=event.paused_by))
    see(draft, agent, PartyKind.AGENT, event.interface)


def _may_reach(state: CallState, line: CallAdmitted) -> bool:
    """As for a line that is consulted by key: only while who was asked is who speaks, and on their own channel."""
    is_theirs = line.caller is not None and is_caller(state, line.caller)
    talks = state.phase in (Phase.TALKING, Phase.APART) and state.direction is Direction.INCOMING
    is_first = state.relay is None
    listed = line.unrecorded is not None or state.unrecorded is not None
    return is_theirs and talks and is_first and not listed and agrees_to(state, line)


def _are_linked(state: CallState, event: LineReached) -> bool:
    """Whether Asterisk has said that the caller stands with the near half and the agent with the far, two and two."""
    assert state.caller is not None
    caller, agent = state.caller.uniqueid, event.agent.uniqueid
    here, there = state.bridges.get(caller), event.bridge
    if here is None or here != state.bridges.get(event.near) or state.sizes.get(here) != BOTH:
        return False
    # What this call has not heard of the other bridge, the second line's has; what it has heard is newer.
    is_there = state.bridges.get(event.far, there) == there and state.sizes.get(there, BOTH) == BOTH
    is_there = is_there and all(state.sizes.get(bridge, size) == size for bridge, size in event.beyond.sizes.items())
    with_caller, with_agent = ({leg for leg, at in state.bridges.items() if at == where} for where in (here, there))
    return is_there and here != there and with_caller == {caller, event.near} and with_agent <= {agent, event.far}


def channel_offered(draft: Draft, event: ChannelOffered) -> None:
    """The caller's own yes, which covers the line on which they were joined with its agent."""
    state, reached = draft.state, draft.state.reached
    if reached is None or state.caller is None or not reached.summoned or reached.offered:
        draft.expected = False
        return
    is_free = capture_in_hand(state) is None and unrecorded(state) is None and state.phase is Phase.TALKING
    if not (is_free and standing(state) is Standing.TOGETHER and agrees_to(state, reached.line)):
        # On hold just now, perhaps: it is asked for again once it may.
        draft.know(reached=replace(reached, summoned=False))
        draft.expected = False
        return
    draft.know(reached=replace(reached, offered=True))
    record_consent(draft, event.consent, ConsentState.GIVEN, state.caller.uniqueid, event=event)
    authorise(draft, event.recording, event.consent, state.caller, event.hindrance)
