"""Who stands behind a caller that is a Local channel, and whether they are still the ones who were asked.

Pure. The invariant: who agreed is who is captured. The caller's own channel says nothing of it: one half of a Local
channel stays the same whoever speaks into the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from recorder.model import BridgeEntered, BridgeId, Uniqueid

if TYPE_CHECKING:
    from recorder.call.events import CallResynchronised
    from recorder.call.state import CallState

Behind = Mapping[Uniqueid, BridgeId | None]
"""Where each leg behind the caller stands."""


def is_somebody_else(state: CallState, event: BridgeEntered) -> bool:
    """Whether somebody may speak through the caller's channel now who did not when the call came to its line.

    That is: anybody new in a bridge behind it, and anybody from behind it in a bridge that was not there.
    """
    known = event.channel.uniqueid in state.behind
    there = event.bridge in state.behind.values()
    return known is not there


def moved(behind: Behind, event: BridgeEntered) -> Behind:
    """Where they stand once one of them has gone to others of them: a Local channel between them was optimised away."""
    leg = event.channel.uniqueid
    return behind if behind.get(leg, event.bridge) == event.bridge else {**behind, leg: event.bridge}


def without(behind: Behind, gone: Uniqueid) -> Behind:
    """Those who are left; the last one stays noted, gone or not: else nobody who comes were anybody else."""
    return {leg: bridge for leg, bridge in behind.items() if leg != gone} or behind


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
