"""Who stands behind a caller that is a Local channel, and whether they are still the ones who were asked.

Pure. The invariant: who agreed is who is captured. The caller's own channel says nothing of it: one half of a Local
channel stays the same whoever speaks into the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from recorder.model import BridgeEntered

if TYPE_CHECKING:
    from recorder.call.events import CallResynchronised
    from recorder.call.state import CallState


def is_somebody_else(state: CallState, event: BridgeEntered) -> bool:
    """Whether somebody may speak through the caller's channel now who did not when the call came to its line.

    That is: anybody new in a bridge behind it, and anybody from behind it in a bridge that was not there.
    """
    known = event.channel.uniqueid in state.behind
    there = event.bridge in state.behind.values()
    return known is not there


def may_be_somebody_else(state: CallState, event: CallResynchronised) -> bool:
    """The same after a time that nobody saw: only who stands as they stood, in company as large, is the same."""
    for leg, bridge in state.behind.items():
        if event.living.get(leg) != bridge:
            return True
    bridges = [bridge for bridge in state.behind.values() if bridge is not None]
    return any(event.sizes.get(bridge, 0) != bridges.count(bridge) for bridge in bridges)


def has_company(state: CallState) -> bool:
    """Whether people stand behind the caller's channel, who can change without a word in the queue log."""
    return any(bridge is not None for bridge in state.behind.values())
