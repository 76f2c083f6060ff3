"""A line that an agent of the call consults, and what is prepared there for a caller who may be handed over.

Pure. The invariant: what two agents say to each other is in no recording. What is prepared writes silence until
Asterisk has said that the caller took the agent's place, the line's own agent and nobody else is there, and nothing
else of the call is being written any more.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from recorder.call.events import CallAdmitted
from recorder.model import AgentConnected, AgentRung, BridgeEntered, BridgeId, Channel, Uniqueid


@dataclass(frozen=True, slots=True, kw_only=True)
class Relay:
    """The two halves of the Local channel through which the caller speaks: `near` in their own bridge, `far` beyond.

    By key it is the consultation's, on whose far half the capture stands; by telephone the one that Asterisk links two
    queues by, and the capture stands on the caller's own channel.
    """

    near: Uniqueid
    far: Uniqueid
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Consulted:
    """The line as it was consulted, and who has answered there. `bridged_at` is where the prepared files begin."""

    leg: Uniqueid
    admitted: CallAdmitted
    rung: frozenset[Uniqueid] = frozenset()  # only who was seen to be rung for this leg can be that line's agent
    agents: tuple[Channel, ...] = ()
    interface: str | None = None
    bridge: BridgeId | None = None
    bridged_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """The line with whose agent the caller was joined by the other agent's telephone (SIP REFER).

    Nothing is prepared there: the caller's own channel comes to us by a key that we press for them, once.
    """

    line: CallAdmitted
    summoned: bool = False
    offered: bool = False


def bridged(consulted: Consulted, event: BridgeEntered) -> Consulted:
    """The line's agent and the one who consults begin to talk."""
    return replace(consulted, bridge=event.bridge, bridged_at=event.at)


def rang(consulted: Consulted, event: AgentRung) -> Consulted:
    """The queue that the leg waits in rings a member."""
    return replace(consulted, rung=consulted.rung | {event.agent.uniqueid})


def answered(consulted: Consulted, event: AgentConnected) -> Consulted:
    """One whom that queue rang has answered."""
    return replace(consulted, agents=(*consulted.agents, event.agent), interface=event.interface)
