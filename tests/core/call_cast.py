"""The cast of the machine's tests: one caller, one agent, an outsider, two bridges, and every event about them.

All of it happens at one moment, so that states which differ only in their times are one state.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from recorder.call import (
    AgentListed,
    Beyond,
    CallAdmitted,
    CallerTold,
    CallEvent,
    CallResynchronised,
    CallState,
    CaptureArmed,
    CaptureClosed,
    CaptureLost,
    ChannelOffered,
    ClockSet,
    ConsentAnswered,
    ConsultationPassed,
    DialogueBroke,
    KeyPressed,
    LineConsulted,
    LineReached,
    OverridePressed,
    PromptPlayed,
    RecordingEmptied,
    RecordingErased,
    RecordingMade,
    RecordingUnmade,
    RivalMet,
    SightLost,
    SilenceFailed,
)
from recorder.call.tables import FINISHED
from recorder.model import (
    AgentConnected,
    AgentRung,
    BridgeEntered,
    BridgeId,
    BridgeLeft,
    CallId,
    Channel,
    ChannelHungUp,
    ChannelRenamed,
    ConsentEventId,
    ConsentMode,
    ConsentState,
    DialBegan,
    Direction,
    HoldBegan,
    HoldEnded,
    KeyAct,
    Linkedid,
    LocalBridged,
    LocalOptimised,
    LostReason,
    MixMonitorMuted,
    MixMonitorStarted,
    MixMonitorStopped,
    OverrideReason,
    Prompt,
    RecordingId,
    RivalFate,
    RivalKind,
    TransferAttended,
    Uniqueid,
    Unrecorded,
)
from recorder.rights import Denied
from tests.facts import NOON, OVERRIDDEN, QUESTION


def channel(name: str, uniqueid: str) -> Channel:
    return Channel(name=name, uniqueid=Uniqueid(uniqueid), linkedid=Linkedid("1.1"))


CALLER = channel("PJSIP/trunk-00000001", "1.1")
AGENT = channel("PJSIP/alice-00000002", "1.2")
OUTSIDER = channel("PJSIP/trunk-00000003", "1.3")
TALK = BridgeId("talk")
ELSEWHERE = BridgeId("elsewhere")  # where they stand together after we could not see
PARKING = BridgeId("parking")
BEHIND = BridgeId("behind")  # where the half behind a caller that is a Local channel stands, with who speaks there
CONSULTATION = BridgeId("consultation")  # where two agents talk
BEYOND = BridgeId("beyond")  # where the other line's agent stands with the consultation's leg
KINDS = {CONSULTATION: "basic", BEYOND: "basic", TALK: "basic", PARKING: "holding", BEHIND: "basic", ELSEWHERE: "basic"}
HALF = channel("Local/6100@house-00000001;1", "1.5")
NEAR = channel("Local/6200@agents-00000009;1", "1.7")
FAR = channel("Local/6200@agents-00000009;2", "1.8")
LINK_NEAR = channel("Local/_attended@transfer-00000013;1", "1.13")
LINK_FAR = channel("Local/_attended@transfer-00000013;2", "1.14")
SECOND = channel("PJSIP/bob-00000010", "1.9")
SPEAKER = channel("PJSIP/desk-00000004", "1.6")
CALL = CallId(UUID(int=1))
EVERY_REASON = frozenset(OverrideReason)
ANSWERS = {
    ConsentMode.OPT_IN: (ConsentState.GIVEN, ConsentState.REFUSED, ConsentState.UNANSWERED),
    ConsentMode.OPT_OUT: (ConsentState.GIVEN, ConsentState.REFUSED, ConsentState.UNANSWERED),
    ConsentMode.NOTICE: (ConsentState.NOTICED,),
    ConsentMode.NOT_REQUIRED: (ConsentState.NOT_REQUIRED,),
    ConsentMode.NEVER: (ConsentState.PROHIBITED,),
}
"""How a dialogue of each mode can end."""


def admitted(
    mode: ConsentMode = ConsentMode.OPT_IN,
    direction: Direction = Direction.INCOMING,
    *,
    caller: Channel | None = CALLER,
    agent: Channel | None = None,
    unrecorded: Unrecorded | None = None,
    behind: dict[Uniqueid, BridgeId | None] | None = None,
    listed: frozenset[OverrideReason] = EVERY_REASON,
    purposes: frozenset[str] = frozenset(),
) -> CallAdmitted:
    return CallAdmitted(
        at=NOON,
        call=CALL,
        node="pbx1",
        line="support",
        mode=mode,
        direction=direction,
        linkedid="1.1",
        policy="digest",
        listed=listed,
        purposes=purposes,
        caller=caller,
        agent=agent,
        unrecorded=unrecorded,
        behind=behind,
    )


def relayed(mode: ConsentMode = ConsentMode.OPT_IN) -> CallAdmitted:
    """The caller is one half of a Local channel, and somebody speaks into the other."""
    return admitted(mode, behind={HALF.uniqueid: BEHIND, SPEAKER.uniqueid: BEHIND})


def dialling(mode: ConsentMode = ConsentMode.OPT_IN) -> CallAdmitted:
    """An agent dials out; nobody has answered."""
    return admitted(mode, Direction.OUTGOING, caller=None, agent=AGENT)


def answered(
    answer: ConsentState = ConsentState.GIVEN,
    recording: int = 1,
    *,
    by: Channel = CALLER,
    hindrance: LostReason | None = None,
) -> ConsentAnswered:
    return ConsentAnswered(
        at=NOON,
        consent=ConsentEventId(UUID(int=100 + recording)),
        channel=by,
        answer=answer,
        recording=RecordingId(UUID(int=recording)),
        hindrance=hindrance,
    )


def pressed(
    reason: OverrideReason = OverrideReason.EMERGENCY,
    recording: int = 1,
    *,
    far: Channel = CALLER,
    hindrance: LostReason | None = None,
    telling: Prompt | None = None,
    unfounded: bool | None = None,
    denied: Denied | None = None,
) -> OverridePressed:
    return OverridePressed(
        at=NOON,
        reason=reason,
        far=far,
        agent="PJSIP/alice",
        consent=ConsentEventId(UUID(int=200 + recording)),
        audit=UUID(int=300 + recording),
        recording=RecordingId(UUID(int=recording)),
        hindrance=hindrance,
        presser=AGENT,
        telling=telling,
        unfounded=unfounded,
        denied=denied,
    )


def caller_told(recording: int = 1, status: str | None = "SUCCESS", played_ms: int | None = 2300) -> CallerTold:
    return CallerTold(
        at=NOON,
        recording=RecordingId(UUID(int=recording)),
        audit=UUID(int=700 + recording),
        status=status,
        played_ms=played_ms,
    )


def consulted(
    mode: ConsentMode = ConsentMode.OPT_IN,
    recording: int = 2,
    *,
    purposes: frozenset[str] = frozenset(),
    hindrance: LostReason | None = None,
    unrecorded: Unrecorded | None = None,
    leg: Channel = FAR,
) -> LineConsulted:
    line = admitted(mode, caller=leg, purposes=purposes, unrecorded=unrecorded)
    return LineConsulted(
        at=NOON,
        admitted=replace(line, line="sales", policy="sales-digest"),
        consent=ConsentEventId(UUID(int=100 + recording)),
        recording=RecordingId(UUID(int=recording)),
        hindrance=hindrance,
    )


def line_reached(
    mode: ConsentMode = ConsentMode.OPT_IN,
    *,
    caller: Channel = CALLER,
    agent: Channel = SECOND,
    by: Channel = AGENT,
    far: Channel = LINK_FAR,
    bridge: BridgeId = BEYOND,
    beyond: Beyond | None = None,
    paused: bool = False,
    purposes: frozenset[str] = frozenset(),
    unrecorded: Unrecorded | None = None,
) -> LineReached:
    """By telephone, the agent has joined the caller with the agent of the line sales."""
    line = admitted(mode, caller=caller, purposes=purposes, unrecorded=unrecorded)
    line = replace(line, line="sales", policy="sales-digest")
    return LineReached(
        at=NOON,
        admitted=line,
        agent=agent,
        interface="PJSIP/bob",
        bridge=bridge,
        by=by,
        near=LINK_NEAR.uniqueid,
        far=far.uniqueid,
        beyond=beyond or Beyond(),
        paused_at=NOON if paused else None,
        paused_by="PJSIP/bob" if paused else None,
    )


def offered(recording: int = 2, *, hindrance: LostReason | None = None) -> ChannelOffered:
    return ChannelOffered(
        at=NOON,
        consent=ConsentEventId(UUID(int=100 + recording)),
        recording=RecordingId(UUID(int=recording)),
        hindrance=hindrance,
    )


def halves() -> LocalBridged:
    return LocalBridged(at=NOON, one=NEAR, two=FAR)


def consultation_passed(leg: Channel = FAR, *, consults: bool | None = True) -> ConsultationPassed:
    return ConsultationPassed(at=NOON, channel=leg, consults=consults)


def second_rung() -> AgentRung:
    return AgentRung(at=NOON, channel=FAR, agent=SECOND)


def second_answers() -> AgentConnected:
    return AgentConnected(at=NOON, channel=FAR, agent=SECOND, queue="sales", interface="PJSIP/bob")


def handed_over(by: Channel = AGENT, *, who: Channel = CALLER, joined: bool = True) -> TransferAttended:
    return TransferAttended(at=NOON, channel=who, transferer=by, joined=joined)


def key(act: KeyAct, presser: Channel = AGENT) -> KeyPressed:
    return KeyPressed(at=NOON, act=act, presser=presser, consent=ConsentEventId(UUID(int=98)), audit=UUID(int=97))


def muted(is_muted: bool = True, on: Channel = CALLER) -> MixMonitorMuted:
    return MixMonitorMuted(at=NOON, channel=on, direction="both", muted=is_muted)


def erased(recording: int = 1) -> RecordingErased:
    return RecordingErased(at=NOON, recording=RecordingId(UUID(int=recording)))


def prompted() -> PromptPlayed:
    return PromptPlayed(at=NOON, consent=ConsentEventId(UUID(int=99)), channel=CALLER, prompt=QUESTION, played_ms=4000)


def on_the_list(agent: Channel = AGENT, *, waits: bool = False) -> AgentListed:
    """The agent must not be recorded."""
    return AgentListed(at=NOON, agent=agent, waits=waits)


def rung(agent: Channel = AGENT) -> AgentRung:
    return AgentRung(at=NOON, channel=CALLER, agent=agent)


def connected(agent: Channel = AGENT) -> AgentConnected:
    return AgentConnected(at=NOON, channel=CALLER, agent=agent, queue="support", interface="PJSIP/alice")


def entered(who: Channel, channels: int, bridge: BridgeId = TALK) -> BridgeEntered:
    return BridgeEntered(at=NOON, channel=who, bridge=bridge, bridge_type=KINDS[bridge], channels=channels)


def left(who: Channel, channels: int, bridge: BridgeId = TALK) -> BridgeLeft:
    return BridgeLeft(at=NOON, channel=who, bridge=bridge, channels=channels)


def hung_up(who: Channel = CALLER) -> ChannelHungUp:
    return ChannelHungUp(at=NOON, channel=who)


def armed(recording: int = 1) -> CaptureArmed:
    return CaptureArmed(at=NOON, recording=RecordingId(UUID(int=recording)), mixmonitor="0x1")


def closed(recording: int = 1) -> CaptureClosed:
    return CaptureClosed(at=NOON, recording=RecordingId(UUID(int=recording)))


def capture_lost(recording: int = 1) -> CaptureLost:
    return CaptureLost(at=NOON, recording=RecordingId(UUID(int=recording)), reason=LostReason.CAPTURE_FAILED)


def made(recording: int = 1) -> RecordingMade:
    return RecordingMade(
        at=NOON, recording=RecordingId(UUID(int=recording)), samples=8000, rate=8000, sha256="b" * 64, size=32_044
    )


def emptied(recording: int = 1) -> RecordingEmptied:
    return RecordingEmptied(at=NOON, recording=RecordingId(UUID(int=recording)))


def unmade(recording: int = 1) -> RecordingUnmade:
    return RecordingUnmade(at=NOON, recording=RecordingId(UUID(int=recording)), reason=LostReason.CAPTURE_FAILED)


def sight_lost(blind_from: datetime = NOON) -> SightLost:
    return SightLost(at=NOON, blind_from=blind_from)


def clock_set(by: timedelta) -> ClockSet:
    return ClockSet(at=NOON + by, by=by)


def resynchronised(
    *living: tuple[Channel, BridgeId | None],
    capture_lives: bool = True,
    proved: bool = False,
    strangers: int = 0,
    held: frozenset[Uniqueid] | None = None,
) -> CallResynchronised:
    where = {who.uniqueid: bridge for who, bridge in living}
    together = {bridge for bridge in where.values() if bridge is not None}
    return CallResynchronised(
        at=NOON,
        blind_from=NOON,
        living=where,
        sizes={bridge: list(where.values()).count(bridge) + strangers for bridge in together},
        capture_lives=capture_lives,
        talk_began_at=NOON if proved else None,
        talk_proved_until=NOON if proved else None,
        held=held,
    )


# --------------------------------------------------------------------------- everything that can come next


def company(state: CallState, bridge: BridgeId, without: Channel) -> int:
    """How many known legs stand in the bridge, apart from one."""
    return sum(where == bridge and leg != without.uniqueid for leg, where in state.bridges.items())


def next_recording(state: CallState) -> int:
    """An id that no capture of the call has."""
    return 1 + max((capture.id.int for capture in state.captures), default=0)


def held() -> HoldBegan:
    return HoldBegan(at=NOON, channel=AGENT)


def rival(fate: RivalFate = RivalFate.STOPPED, *, channel: Channel = CALLER) -> RivalMet:
    """Somebody else's MixMonitor was met on the channel."""
    return RivalMet(
        at=NOON,
        audit=UUID(int=900),
        kind=RivalKind.MIXMONITOR,
        fate=fate,
        channel=channel,
        file="/spool/#.wav",
    )


def every_event(state: CallState) -> Iterator[CallEvent]:
    """Every kind of event, about everybody who matters, as it could come in this state: fitting or not."""
    yield from _events_of_ours(state)
    yield from _events_of_the_pbx(state)
    yield from _events_after_blindness()
    for capture in state.captures[-3:]:
        if capture.state not in FINISHED or capture is state.captures[-1]:
            yield from events_of_a_capture(capture.id.int)


def _events_of_ours(state: CallState) -> Iterator[CallEvent]:
    mint = next_recording(state)
    yield admitted(state.mode)
    if state.mode is ConsentMode.OPT_IN:
        yield admitted(ConsentMode.NEVER)  # another line
    yield admitted(state.mode, Direction.OUTGOING)
    yield admitted(caller=OUTSIDER)
    yield dialling(state.mode)
    yield prompted()
    yield from (ConsultationPassed(at=NOON, channel=who) for who in (OUTSIDER, CALLER))
    yield from (answered(answer, mint) for answer in ANSWERS[state.mode])
    yield answered(ConsentState.GIVEN, mint, by=OUTSIDER)
    yield answered(ConsentState.GIVEN, mint, hindrance=LostReason.CAPTURE_FAILED)
    yield DialogueBroke(at=NOON, reason=LostReason.CAPTURE_FAILED)
    yield sight_lost()
    yield clock_set(timedelta(hours=-1))
    yield rival()
    yield from (pressed(reason, mint) for reason in (OverrideReason.EMERGENCY, OverrideReason.BUSINESS))
    yield pressed(recording=mint, far=AGENT)
    yield pressed(recording=mint, telling=OVERRIDDEN)
    yield pressed(recording=mint, unfounded=True)
    yield pressed(recording=mint, denied=Denied.NOT_GRANTED)
    for capture in state.captures[-1:]:
        yield caller_told(capture.id.int)
        yield caller_told(capture.id.int, status="FAILED")
    yield caller_told(recording=mint)
    yield from (key(act) for act in KeyAct)
    yield key(KeyAct.STOP, CALLER)
    yield key(KeyAct.PAUSE, CALLER)
    yield key(KeyAct.STOP, OUTSIDER)
    yield pressed(recording=mint, hindrance=LostReason.CAPTURE_FAILED)


def _events_of_the_pbx(state: CallState) -> Iterator[CallEvent]:
    yield rung()
    yield on_the_list(waits=True)
    yield connected()
    yield DialBegan(at=NOON, channel=CALLER, dialled=AGENT)
    yield DialBegan(at=NOON, channel=None, dialled=OUTSIDER)
    yield LocalBridged(at=NOON, one=AGENT, two=channel("Local/alice@phones-1;2", "1.4"))
    yield LocalOptimised(at=NOON, one=AGENT, two=channel("Local/alice@phones-1;2", "1.4"))
    for who in (CALLER, AGENT):
        here = company(state, TALK, who)
        yield entered(who, here + 1)
        yield left(who, here)
        yield hung_up(who)
    yield hung_up(OUTSIDER)
    yield entered(AGENT, company(state, TALK, AGENT) + 2)  # and somebody of whom we never heard
    if state.behind:
        yield entered(SPEAKER, 2, BEHIND)
        yield entered(OUTSIDER, 3, BEHIND)
        yield entered(HALF, 2, ELSEWHERE)
    yield consulted(recording=next_recording(state), hindrance=LostReason.CAPTURE_FAILED)
    yield line_reached(by=OUTSIDER)
    yield offered(next_recording(state))
    yield handed_over()
    yield entered(CALLER, 1, PARKING)
    yield left(CALLER, 0, PARKING)
    yield held()
    yield HoldEnded(at=NOON, channel=AGENT)
    yield ChannelRenamed(at=NOON, channel=replace(CALLER, name="PJSIP/trunk-00000009"))
    yield MixMonitorStarted(at=NOON, channel=CALLER)
    yield MixMonitorStopped(at=NOON, channel=CALLER)
    yield MixMonitorStopped(at=NOON, channel=AGENT)
    yield muted()
    yield muted(False)


def events_of_a_consultation(state: CallState) -> Iterator[CallEvent]:
    """What two agents do beside the caller, fitting or not: not of `every_event`, whose states it would multiply."""
    yield halves()
    yield consulted(recording=next_recording(state))
    yield consultation_passed()
    yield second_rung()
    yield second_answers()
    yield on_the_list(SECOND)
    yield on_the_list(SECOND, waits=True)
    yield muted(on=FAR)
    yield muted(False, on=FAR)
    yield MixMonitorStopped(at=NOON, channel=FAR)
    for who, bridge in ((FAR, BEYOND), (SECOND, BEYOND), (NEAR, TALK)):
        here = company(state, bridge, who)
        yield entered(who, here + 1, bridge)
        yield left(who, here, bridge)
    yield entered(SECOND, company(state, BEYOND, SECOND) + 2, BEYOND)  # and somebody of whom we never heard
    yield entered(OUTSIDER, company(state, BEYOND, OUTSIDER) + 1, BEYOND)
    yield DialBegan(at=NOON, channel=FAR, dialled=SECOND)
    yield DialBegan(at=NOON, channel=SECOND, dialled=OUTSIDER)
    yield hung_up(FAR)
    yield key(KeyAct.STOP, FAR)
    yield hung_up(NEAR)
    yield handed_over()
    yield handed_over(OUTSIDER)
    yield handed_over(who=OUTSIDER)
    yield handed_over(joined=False)
    yield resynchronised((CALLER, TALK), (NEAR, TALK), (FAR, BEYOND), (SECOND, BEYOND))
    yield resynchronised((NEAR, TALK), (FAR, BEYOND), (SECOND, BEYOND))  # it outlives the caller


def events_of_a_joining(state: CallState) -> Iterator[CallEvent]:
    """What Asterisk tells of a caller whom an agent joins with another by telephone, fitting or not."""
    yield line_reached()
    yield line_reached(ConsentMode.NEVER)
    yield line_reached(caller=OUTSIDER)
    yield offered(next_recording(state))
    yield offered(next_recording(state), hindrance=LostReason.CAPTURE_FAILED)
    yield on_the_list(SECOND)
    for who, bridge in ((LINK_NEAR, TALK), (LINK_FAR, BEYOND), (SECOND, BEYOND)):
        here = company(state, bridge, who)
        yield entered(who, here + 1, bridge)
        yield left(who, here, bridge)
        yield hung_up(who)
    yield entered(SECOND, company(state, TALK, SECOND) + 1)
    yield entered(OUTSIDER, company(state, BEYOND, OUTSIDER) + 1, BEYOND)
    yield entered(LINK_FAR, company(state, BEYOND, LINK_FAR) + 2, BEYOND)
    yield HoldBegan(at=NOON, channel=SECOND)
    yield HoldEnded(at=NOON, channel=SECOND)
    yield resynchronised((CALLER, TALK), (LINK_NEAR, TALK), (LINK_FAR, BEYOND), (SECOND, BEYOND))
    yield pressed(recording=next_recording(state))


def _events_after_blindness() -> Iterator[CallEvent]:
    for lives in (True, False):
        yield resynchronised((CALLER, TALK), (AGENT, TALK), capture_lives=lives)
        yield resynchronised((CALLER, None), (AGENT, None), capture_lives=lives)
    for held in (frozenset[Uniqueid](), frozenset({AGENT.uniqueid})):
        yield resynchronised((CALLER, TALK), (AGENT, TALK), held=held)
    yield resynchronised((CALLER, TALK), (AGENT, TALK), strangers=1)
    yield resynchronised((CALLER, ELSEWHERE), (AGENT, ELSEWHERE))
    yield resynchronised((AGENT, None), capture_lives=False)
    yield resynchronised(capture_lives=False, proved=True)
    yield resynchronised(capture_lives=False)


def events_of_a_capture(recording: int) -> Iterator[CallEvent]:
    yield armed(recording)
    yield closed(recording)
    yield capture_lost(recording)
    yield SilenceFailed(at=NOON, recording=RecordingId(UUID(int=recording)))
    yield made(recording)
    yield emptied(recording)
    yield erased(recording)
    yield unmade(recording)
