"""What the machine remembers of a call, and the one question it asks of it: who stands with the caller now?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from recorder.call.consulted import Consulted, Reached, Relay
from recorder.call.events import Beyond, CallAdmitted
from recorder.call.tables import BESIDE, UNCLOSED, CaptureState, Phase
from recorder.model import (
    BridgeId,
    CallId,
    Channel,
    ConsentMode,
    ConsentState,
    Direction,
    LostReason,
    OverrideReason,
    Prompt,
    RecordingId,
    SilenceCause,
    Uniqueid,
    Unrecorded,
)
from recorder.policy import carried

BASIC_BRIDGE = "basic"
"""The kind of bridge in which Queue and Dial join two parties; parking, holding and conference bridges are others."""
BOTH = 2
"""How many stand in the bridge of a talk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """A stretch of a capture that is silence though the talk went on. `actor` paused it."""

    cause: SilenceCause
    began_at: datetime
    ended_at: datetime | None = None
    actor: str | None = None
    written: bool = True  # at its end Asterisk wrote silence, by its own word


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """One capture of the call. Its permitted bridge time includes holds and pauses, which are written as silence."""

    id: RecordingId
    state: CaptureState
    channel: Channel
    authority: ConsentState
    mixmonitor: str | None = None
    bridged_at: datetime | None = None  # the first permitted bridge
    bridged_until: datetime | None = None  # set when the permitted bridge has ended
    unproved: bool = False  # we could not see what came after bridged_until: it may not be kept
    silences: tuple[Silence, ...] = ()  # in their order; only the last may be open
    silent: bool = False  # Asterisk's own event said last that silence is written
    disowned: bool = False  # what was captured may not be kept
    to_tell: Prompt | None = None  # what the caller has yet to hear of it: until they have, it may not be kept


class KeyAnswer(StrEnum):
    """What a presser is told once it is so. The same words stand in the dialplan."""

    PAUSED = "paused"
    RESUMED = "resumed"
    STOPPED = "stopped"
    ERASED = "erased"  # stopped, and what was captured is not kept
    PERSONAL = "personal"
    REFUSED = "refused"
    CAPTURED = "captured"  # by an override
    EXCLUDED = "excluded"  # to an agent who must not be recorded: nothing is


@dataclass(frozen=True, slots=True, kw_only=True)
class OwedAnswer:
    """`asked` names the asking by a page or a program; None: the presser's own dialplan waits."""

    presser: Channel
    answer: KeyAnswer
    asked: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """Who asked for silence, and when."""

    at: datetime
    actor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallState:
    """Everything that the machine knows. Mappings are replaced, never changed."""

    call: CallId
    node: str
    line: str
    mode: ConsentMode
    direction: Direction
    policy: str
    started_at: datetime
    listed: frozenset[OverrideReason] = frozenset()
    preroll: timedelta = timedelta()  # silenced before a pause
    withdrawal_erases: bool = True
    beep: int | None = None  # seconds between two
    purposes: frozenset[str] = frozenset()  # of the line
    agreed_to: frozenset[str] = frozenset()  # the purposes of the line on which the caller said yes
    phase: Phase = Phase.ASKING
    consent: ConsentState = ConsentState.NONE
    objected: bool = False  # refused or withdrew at some time: an override does not unsay it
    language: str | None = None  # in which the caller was asked
    caller: Channel | None = None
    dialled: tuple[Channel, ...] = ()  # whom the agent of an outgoing call rang
    rung: frozenset[Uniqueid] | None = frozenset()  # legs that the queue rang; None once we could not see for a while
    agents: frozenset[Uniqueid] = frozenset()  # legs that are the queue's member, or the agent who dials
    parents: Mapping[Uniqueid, Uniqueid] = field(default_factory=dict)  # a leg -> the leg that made it
    twins: Mapping[Uniqueid, Uniqueid] = field(default_factory=dict)  # ;1 -> ;2 of Local channels that the queue rang
    answered: frozenset[Uniqueid] = frozenset()  # of these ;2 with whom somebody has stood
    bridges: Mapping[Uniqueid, BridgeId] = field(default_factory=dict)  # where each leg stands
    kinds: Mapping[BridgeId, str] = field(default_factory=dict)
    sizes: Mapping[BridgeId, int] = field(default_factory=dict)  # how many Asterisk counts in each
    held: frozenset[Uniqueid] = frozenset()  # legs that put the other on hold
    interface: str | None = None  # the queue member who took the call
    paused: Pause | None = None  # until the key that resumes, through holds, transfers and other lines
    personal: bool = False  # an agent said so: no call of ours any more
    unrecorded: Unrecorded | None = None  # the do-not-record list that names the call itself
    listed_legs: frozenset[Uniqueid] = frozenset()  # agents who must not be recorded
    excluded: bool = False  # one of them took the call
    behind: Mapping[Uniqueid, BridgeId | None] = field(default_factory=dict)  # a Local caller: who speaks through it
    supplanted: bool = False  # somebody else came to speak there who was not asked
    owed: tuple[OwedAnswer, ...] = ()  # keys whose pressers wait for Asterisk's word
    talked: bool = False
    halves: Mapping[Uniqueid, Uniqueid] = field(default_factory=dict)  # ;2 -> ;1 of Local channels made in the talk
    consultations: Mapping[Uniqueid, frozenset[Uniqueid]] = field(default_factory=dict)  # a leg -> whom its queue rang
    consulted: Consulted | None = None  # the last line that an agent consulted and a capture was prepared for
    relay: Relay | None = None  # the Local channel through which the caller speaks since they were handed over
    reached: Reached | None = None  # the line on which they were joined with its agent, by telephone
    captures: tuple[Capture, ...] = ()  # in the order of their authority; at most one is being written
    lost: LostReason | None = None  # the first reason why something permitted was not captured
    ended_at: datetime | None = None

    @property
    def recorded(self) -> bool:
        """Whether a recording of this call is settled, and kept."""
        return any(capture.state is CaptureState.SETTLED for capture in self.captures)


def worth_on(state: CallState, mode: ConsentMode, purposes: frozenset[str]) -> ConsentState | None:
    """What the call's answer so far is worth where `mode` applies, for these purposes; None means: ask."""
    if state.personal or state.unrecorded is not None:
        return ConsentState.PROHIBITED
    answer = ConsentState.REFUSED if state.objected else state.consent
    return carried(answer, mode, covers=purposes <= state.agreed_to)


def agrees_to(state: CallState, line: CallAdmitted) -> bool:
    """Whether the caller may be captured on `line` unasked.

    Nobody can ask in the middle of a talk: only a yes that covers the line permits there. Once somebody else speaks
    through the caller's channel there is none (`answer_is_nobodys`).
    """
    given = state.consent is ConsentState.GIVEN
    return given and worth_on(state, line.mode, line.purposes) is ConsentState.GIVEN


def applying_mode(state: CallState) -> ConsentMode | None:
    """The line's mode; None for a call that is personal, which is no ACD call to `policy`."""
    return None if state.personal else state.mode


def capture_in_hand(state: CallState) -> Capture | None:
    """The capture that Asterisk may still be writing, if any."""
    return next((capture for capture in state.captures if capture.state in UNCLOSED), None)


def is_captured_beyond(state: CallState) -> bool:
    """Whether what may still be written of the caller is on another channel than theirs: it does not end with that."""
    hand = capture_in_hand(state)
    return hand is not None and state.caller is not None and hand.channel.uniqueid != state.caller.uniqueid


def prepared(state: CallState) -> Capture | None:
    """The capture on the leg of a consultation that Asterisk may still run, if any."""
    return next((capture for capture in state.captures if capture.state in BESIDE), None)


def running_on(state: CallState, leg: Uniqueid) -> Capture | None:
    """The capture on this channel that Asterisk may still run, if any: the caller's own, or what is prepared there."""
    may_run = (capture for capture in state.captures if capture.state in UNCLOSED | BESIDE)
    return next((capture for capture in may_run if capture.channel.uniqueid == leg), None)


def is_bridged(state: CallState, capture: Capture) -> bool:
    """Whether its own channel stands in a bridge: only there does Asterisk write, whoever is in it."""
    return capture.channel.uniqueid in state.bridges


class Standing(StrEnum):
    """Who stands with the caller."""

    NOWHERE = "nowhere"  # in no bridge
    FOREIGN = "foreign"  # in a bridge of another kind, or with somebody we cannot place
    ALONE = "alone"
    HELD = "held"
    TOGETHER = "together"  # with agents only


def standing(state: CallState) -> Standing:
    """Who stands with the caller. Anything that does not add up is FOREIGN."""
    caller = state.caller
    bridge = state.bridges.get(caller.uniqueid) if caller else None
    if caller is None or bridge is None:
        return Standing.NOWHERE
    if state.relay is None:
        return _standing_in(state, caller.uniqueid, bridge)
    others = _others(state, caller.uniqueid, bridge)
    if any(leg != state.relay.near for leg in others) or _is_strange(state, bridge, others):
        return Standing.FOREIGN
    if not others:
        return Standing.ALONE
    beyond = state.bridges.get(state.relay.far)
    if beyond is None:
        return Standing.NOWHERE  # waits in the queue, with nobody
    through = _standing_in(state, state.relay.far, beyond)
    return Standing.HELD if through is Standing.TOGETHER and caller.uniqueid in state.held else through


def _standing_in(state: CallState, leg: Uniqueid, bridge: BridgeId) -> Standing:
    others = _others(state, leg, bridge)
    known = all(is_agent(state, other) and not is_listed(state, other) for other in others)
    if not known or _is_strange(state, bridge, others):
        return Standing.FOREIGN
    if not others:
        return Standing.ALONE
    through = {_behind_agent(state, other) for other in others}
    if Standing.FOREIGN in through:
        return Standing.FOREIGN
    waits = bool(state.held.intersection((leg, *others))) or Standing.HELD in through or _consults_listed(state)
    return Standing.HELD if waits else Standing.TOGETHER


def _behind_agent(state: CallState, half: Uniqueid, passed: frozenset[Uniqueid] = frozenset()) -> Standing:
    """Who speaks through this leg of an agent's: where a telephone stands behind a Local channel, it and nobody else.

    The half in the caller's bridge stays there whoever takes that telephone's place.
    """
    two = state.twins.get(half)
    where = state.bridges.get(two) if two is not None else None
    if two is None or (where is None and two not in state.answered):
        return Standing.TOGETHER  # a telephone, or a dialplan that has joined it with nobody yet
    if where is None or half in passed:
        return Standing.FOREIGN  # sent on, or left; or a ring of Local channels
    there = _others(state, two, where)
    rung_there = all(two in _ancestry(state, leg) and not is_listed(state, leg) for leg in there)
    through = {_behind_agent(state, leg, passed | {half}) for leg in there}
    if not rung_there or _is_strange(state, where, there) or Standing.FOREIGN in through:
        return Standing.FOREIGN
    if not there:
        return Standing.HELD if two in state.answered else Standing.TOGETHER
    return Standing.HELD if state.held.intersection((two, *there)) or Standing.HELD in through else Standing.TOGETHER


def _consults_listed(state: CallState) -> bool:
    """Whether a listed agent is consulted now: whoever consults may have all three in one bridge in a moment.

    Asterisk may take the Local channel between them out of the way: the agent stands in a bridge all the same.
    """
    return any(
        rung & state.listed_legs and any(leg in state.bridges for leg in (far, *(rung & state.listed_legs)))
        for far, rung in _beside(state).items()
    )


def _beside(state: CallState) -> dict[Uniqueid, frozenset[Uniqueid]]:
    """The legs of consultations, and whom their queues rang, but for the one by which the caller was handed over."""
    legs = dict(state.consultations)
    if state.consulted is not None:
        legs[state.consulted.leg] = legs.get(state.consulted.leg, frozenset()) | state.consulted.rung
    return {far: rung for far, rung in legs.items() if state.relay is None or far != state.relay.far}


def _others(state: CallState, leg: Uniqueid, bridge: BridgeId) -> list[Uniqueid]:
    return [other for other, where in state.bridges.items() if where == bridge and other != leg]


def _is_strange(state: CallState, bridge: BridgeId, others: list[Uniqueid]) -> bool:
    """Whether more stand there than the leg and these, or it is no bridge of two."""
    is_basic = state.kinds.get(bridge, BASIC_BRIDGE) == BASIC_BRIDGE
    return not is_basic or state.sizes.get(bridge, 0) > len(others) + 1


def is_caller(state: CallState, channel: Channel) -> bool:
    """Whether the channel is the caller's own: no half through which they speak."""
    return state.caller is not None and state.caller.uniqueid == channel.uniqueid


def is_agent(state: CallState, leg: Uniqueid) -> bool:
    """Whether the leg is the agent's, itself or made by it (a Local member's phone)."""
    return any(at in state.agents for at in _ancestry(state, leg))


def is_listed(state: CallState, leg: Uniqueid) -> bool:
    """Whether the leg is that of an agent who must not be recorded, itself or made by it."""
    return any(at in state.listed_legs for at in _ancestry(state, leg))


def _ancestry(state: CallState, leg: Uniqueid) -> Iterator[Uniqueid]:
    """The leg, the one that made it, and so on."""
    seen: set[Uniqueid] = set()
    at: Uniqueid | None = leg
    while at is not None and at not in seen:
        yield at
        seen.add(at)
        at = state.parents.get(at)


def unrecorded(state: CallState) -> Unrecorded | None:
    """The do-not-record list that forbids capture now: of the call itself, or of who stands with the caller."""
    if state.unrecorded is not None:
        return state.unrecorded
    bridge = talk_bridge(state)
    beside = [leg for leg, where in state.bridges.items() if bridge is not None and where == bridge]
    return Unrecorded.AGENT if any(is_listed(state, leg) for leg in _and_behind(state, beside)) else None


def _and_behind(state: CallState, legs: Iterable[Uniqueid]) -> set[Uniqueid]:
    """These legs, and those that stand behind the ones that are Local halves."""
    found: set[Uniqueid] = set()
    waiting = list(legs)
    while waiting:
        leg = waiting.pop()
        two = state.twins.get(leg)
        where = state.bridges.get(two) if two is not None else None
        if leg not in found and two is not None and where is not None:
            waiting += _others(state, two, where)
        found.add(leg)
    return found


def beyond_of(state: CallState, agent: Uniqueid) -> Beyond:
    """What is known of those who stand behind this leg of an agent's, for another call to know it too."""
    legs = _and_behind(state, [agent])
    halves = {two for one, two in state.twins.items() if one in legs}
    known = legs | halves
    bridges = {leg: state.bridges[leg] for leg in known - {agent} if leg in state.bridges}
    return Beyond(
        bridges=bridges,
        sizes={where: state.sizes[where] for where in bridges.values() if where in state.sizes},
        parents={leg: parent for leg, parent in state.parents.items() if leg in known},
        twins={one: two for one, two in state.twins.items() if one in legs},
        answered=state.answered & halves,
        listed=frozenset(leg for leg in known if is_listed(state, leg)),
        held=state.held & known,
    )


def talk_bridge(state: CallState) -> BridgeId | None:
    """Where the agent stands with the caller, or with the half through which the caller speaks."""
    if state.relay is not None:
        return state.bridges.get(state.relay.far)
    return state.bridges.get(state.caller.uniqueid) if state.caller else None


def rings_beyond(state: CallState, leg: Uniqueid) -> bool:
    """Whether the leg is one through which the line that is consulted rings its agents, none of whom is there yet."""
    consulted = state.consulted
    return consulted is not None and not consulted.agents and consulted.leg in _ancestry(state, leg)


def is_rung_beside(state: CallState, leg: Uniqueid) -> bool:
    """Whether the leg is rung for a consultation, and for nobody else that we know of: it comes to no caller.

    The consultation must be seen to stand apart: with the caller in it, three in one bridge, its agent would hear them.
    """
    through = [far for far, rung in _beside(state).items() if leg in rung]
    at_home = state.rung or frozenset()
    is_apart = bool(through) and all(_is_apart(state, far) for far in through)
    return is_apart and leg not in at_home and not is_agent(state, leg)


def _is_apart(state: CallState, far: Uniqueid) -> bool:
    """Whether the other half of this leg stands in a bridge, and the caller in none that is the same."""
    near = state.halves.get(far)
    where = state.bridges.get(near) if near is not None else None
    at_caller = state.bridges.get(state.caller.uniqueid) if state.caller else None
    return where is not None and where not in (talk_bridge(state), at_caller)


def standing_with(state: CallState, leg: Uniqueid) -> bool:
    """Whether the leg is the agent's and stands with the caller now, or with the half through which they speak."""
    bridge = talk_bridge(state)
    beside = [other for other, where in state.bridges.items() if bridge is not None and where == bridge]
    return leg in _and_behind(state, beside) and is_agent(state, leg)


def with_leg(state: CallState, child: Uniqueid, parent: Uniqueid) -> CallState:
    """The state in which `parent` made `child`; a leg's first parent stays."""
    if child in state.parents or child == parent:
        return state
    return replace(state, parents={**state.parents, child: parent})


def without_leg(state: CallState, leg: Uniqueid) -> CallState:
    """The state after the leg left every bridge and hold."""
    return replace(
        state,
        bridges={other: bridge for other, bridge in state.bridges.items() if other != leg},
        held=state.held - {leg},
    )
