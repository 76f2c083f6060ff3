"""What each event teaches: a table of readers, one an event. A reader changes what is known and raises triggers.

What is a matter of its own has a room: keys, overridden, joined, behind_agents, sight. Must not turn a table. An event
that means nothing here leaves the state alone and is marked unexpected.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from recorder.call import consulted as consultation
from recorder.call.behind import is_somebody_else, moved, without
from recorder.call.behind_agents import dial_began, know_as_rung, local_bridged, local_optimised, meet_behind
from recorder.call.consulted import Consulted, Relay
from recorder.call.draft import (
    Draft,
    Seek,
    answer_is_nobodys,
    authorise,
    end_capture,
    end_with_the_caller,
    forsake,
    lose,
    owe,
    prepare,
    record_consent,
    see,
    silence,
    take_rules,
)
from recorder.call.events import (
    AgentListed,
    CallAdmitted,
    CallerTold,
    CallResynchronised,
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
from recorder.call.joined import channel_offered, line_reached
from recorder.call.keys import key_pressed
from recorder.call.moments import shifted
from recorder.call.overridden import caller_told, override_pressed
from recorder.call.sight import resynchronised, sight_lost
from recorder.call.state import (
    CallState,
    KeyAnswer,
    Standing,
    agrees_to,
    applying_mode,
    capture_in_hand,
    is_agent,
    is_caller,
    is_listed,
    is_rung_beside,
    prepared,
    standing,
    unrecorded,
    without_leg,
    worth_on,
)
from recorder.call.tables import (
    BESIDE,
    FINISHED,
    UNCLOSED,
    CaptureState,
    Phase,
    Trigger,
)
from recorder.model import (
    AgentConnected,
    AgentRung,
    AuditEntry,
    BridgeEntered,
    BridgeLeft,
    Channel,
    ChannelHungUp,
    ChannelRenamed,
    ConsentMode,
    ConsentState,
    DialBegan,
    Direction,
    HoldBegan,
    HoldEnded,
    LocalBridged,
    LocalOptimised,
    MixMonitorMuted,
    MixMonitorStopped,
    PartyKind,
    TransferAttended,
    Uniqueid,
    Unrecorded,
)
from recorder.policy import OBJECTIONS, Circumstances, decide

SILENCED: Final = frozenset({CaptureState.QUIET, CaptureState.PAUSED})
"""In these silence is written, and nobody may have it otherwise."""

UNMET: Final = frozenset({CaptureState.ARMING, CaptureState.ARMED})
"""In these nobody has been captured yet."""

WITH_NOBODY_ELSE: Final = frozenset({Standing.TOGETHER, Standing.HELD, Standing.ALONE})
"""The caller is in the bridge of a talk, and there are at most agents."""

OBJECTIONS_THAT_STAND: Final = OBJECTIONS | {ConsentState.PROHIBITED}
"""Carried to another line, these are not asked about again: no other answer can be one."""


def take_parties(draft: Draft, event: CallAdmitted) -> None:
    if event.caller is not None:
        draft.know(caller=event.caller, behind=event.behind or {})
        see(draft, event.caller, PartyKind.CALLER)
    if event.agent is not None:
        draft.know(agents=draft.state.agents | {event.agent.uniqueid})
        see(draft, event.agent, PartyKind.AGENT)


def _admitted_again(draft: Draft, event: CallAdmitted) -> None:
    """The other party of an outgoing call becomes known, or the call passes a second line."""
    caller = draft.state.caller
    if caller is None or event.caller is None:
        if caller is None and draft.state.phase is Phase.ASKING:
            _take_line(draft, event)  # dialled again, perhaps for another line: the last one asks
        take_parties(draft, event)
        return
    if event.caller.uniqueid != caller.uniqueid or event.direction is Direction.OUTGOING:
        draft.expected = False
        return
    draft.state = without_leg(draft.state, caller.uniqueid)  # it runs our dialplan: its BridgeLeft may come later
    draft.raise_trigger(Trigger.ASKED_AGAIN)
    forsake(draft)
    draft.know(unrecorded=draft.state.unrecorded or event.unrecorded)
    worth = worth_on(draft.state, event.mode, event.purposes)
    # Answered already (worth is not None) or to be asked: either way the dialogue's end follows as an event.
    take_rules(draft, event)
    draft.know(
        agents=frozenset(),
        consent=worth if worth is not None else ConsentState.NONE,
        relay=None,
        reached=None,
        behind=event.behind or {},
        supplanted=False,
    )


def _consultation_passed(draft: Draft, event: ConsultationPassed) -> None:
    """The queue log will tell of this leg as of a caller's: it belongs here, and is no call of its own.

    Only of one that was made beside a talk, and by nobody of whom we know, is it sure that no caller waits behind it.
    """
    state, leg = draft.state, event.channel.uniqueid
    if is_caller(state, event.channel):
        return
    see(draft, event.channel, PartyKind.OTHER)
    if event.consults and state.phase in (Phase.TALKING, Phase.APART) and leg not in state.parents:
        draft.know(consultations={**state.consultations, leg: state.consultations.get(leg, frozenset())})


def _take_line(draft: Draft, event: CallAdmitted) -> None:
    listed = draft.state.unrecorded or event.unrecorded
    take_rules(draft, event)
    draft.know(
        unrecorded=listed,
        consent=ConsentState.PROHIBITED if draft.state.personal else unasked(event.mode, listed),
    )


def _line_consulted(draft: Draft, event: LineConsulted) -> None:
    """Prepare a capture on the consultation's leg, where the caller's own yes is worth as much on that line."""
    leg = event.admitted.caller
    if leg is not None and event.hindrance is None and _may_prepare(draft.state, event.admitted):
        prepare(draft, event, leg)


def _may_prepare(state: CallState, line: CallAdmitted) -> bool:
    """Of a chain of lines the first one alone; and only while who was asked is who speaks.

    Beside somebody we cannot place the caller has been handed over already: Asterisk will not say so again.
    """
    talks = state.phase in (Phase.TALKING, Phase.APART) and standing(state) in WITH_NOBODY_ELSE
    talks = talks and state.direction is Direction.INCOMING
    is_first = state.relay is None and prepared(state) is None
    listed = line.unrecorded is not None or unrecorded(state) is not None
    return talks and is_first and not listed and agrees_to(state, line)


def _transfer_attended(draft: Draft, event: TransferAttended) -> None:
    """The caller has taken the place of the agent who consulted, or nobody has."""
    state, consulted = draft.state, draft.state.consulted
    beside = prepared(state)
    if consulted is None or beside is None or beside.state is CaptureState.FORSAKEN:
        return
    if not is_caller(state, event.channel):
        return
    near = state.halves.get(consulted.leg)
    permitted = agrees_to(state, consulted.admitted) and is_agent(state, event.transferer.uniqueid)
    if near is None or not event.joined or not permitted:
        forsake(draft)
        return
    hand = capture_in_hand(state)
    if hand is not None:
        draft.raise_trigger(Trigger.PARTED, hand.id)  # what is said from now on is the other line's
    take_rules(draft, consulted.admitted)
    draft.know(
        relay=Relay(near=near, far=consulted.leg, since=event.at),
        agents=frozenset(agent.uniqueid for agent in consulted.agents),
        interface=consulted.interface,
    )
    for agent in consulted.agents:
        see(draft, agent, PartyKind.AGENT, consulted.interface)


def unasked(mode: ConsentMode, listed: Unrecorded | None) -> ConsentState:
    """What consent stands at before anybody was asked."""
    is_never = mode is ConsentMode.NEVER or listed is not None
    return ConsentState.PROHIBITED if is_never else ConsentState.NONE


def _prompt_played(draft: Draft, event: PromptPlayed) -> None:
    if draft.state.phase is not Phase.ASKING or draft.state.consent not in (ConsentState.NONE, ConsentState.ASKED):
        draft.expected = False  # an answer that stands is never unsaid by a prompt
        return
    record_consent(draft, event.consent, ConsentState.ASKED, event.channel.uniqueid, prompt=event.prompt, event=event)


def _answered(draft: Draft, event: ConsentAnswered) -> None:
    stands = draft.state.consent in OBJECTIONS_THAT_STAND and event.answer is not draft.state.consent
    if stands and event.answer in OBJECTIONS:
        stands = not _is_prohibited_as_nobodys(draft.state)
    if draft.state.phase is not Phase.ASKING or stands or not is_caller(draft.state, event.channel):
        draft.expected = False
        return
    if event.answer is ConsentState.GIVEN and draft.state.consent is not ConsentState.GIVEN:  # else it was carried
        draft.know(agreed_to=draft.state.purposes)
    record_consent(draft, event.consent, event.answer, event.channel.uniqueid, prompt=event.prompt, event=event)
    draft.know(language=event.language or draft.state.language)
    draft.raise_trigger(Trigger.CONCLUDED)
    state = draft.state
    now = Circumstances(
        mode=applying_mode(state), consent=event.answer, listed=state.listed, unrecorded=unrecorded(state)
    )
    if decide(now).permitted:
        begun = event.noted is not None
        authorise(draft, event.recording, event.consent, event.channel, event.hindrance, begun=begun)


def _is_prohibited_as_nobodys(state: CallState) -> bool:
    """Whether consent is prohibited for this alone, that somebody else came: a refusal counts, whoever says it."""
    return state.supplanted and state.consent is ConsentState.PROHIBITED and applying_mode(state) is not None


def _dialogue_broke(draft: Draft, event: DialogueBroke) -> None:
    if draft.state.phase is not Phase.ASKING:
        draft.expected = False
        return
    draft.raise_trigger(Trigger.CONCLUDED)
    lose(draft, event.reason)


def _silence_confirmed(draft: Draft, event: MixMonitorMuted) -> None:
    """Asterisk's own word; it names no MixMonitor, and we keep one on a channel."""
    for capture in draft.state.captures:
        if capture.channel.uniqueid == event.channel.uniqueid and capture.state in UNCLOSED | BESIDE:
            draft.know_capture(capture.id, silent=event.muted)
            if not event.muted and capture.state in BESIDE:
                forsake(draft)  # somebody else's doing
            if not event.muted and capture.state in SILENCED:
                silence(draft, capture, quiet=True)  # somebody else's doing: put right, or the capture stops


def _silence_failed(draft: Draft, event: SilenceFailed) -> None:
    """What cannot be silenced is stopped, and the presser is told so."""
    beside = prepared(draft.state)
    is_beside = beside is not None and beside.id == event.recording
    _for_open_capture(Trigger.FORSAKEN if is_beside else Trigger.PARTED)(draft, event)
    now_stopped = (KeyAnswer.PAUSED, KeyAnswer.RESUMED)
    owed = draft.state.owed
    draft.know(owed=tuple(replace(key, answer=KeyAnswer.STOPPED) if key.answer in now_stopped else key for key in owed))


def _consulted_through(state: CallState, channel: Channel) -> Consulted | None:
    """The line that is consulted, where this is the leg that waits in its queue."""
    consulted = state.consulted
    return consulted if consulted is not None and consulted.leg == channel.uniqueid else None


def _agent_rung(draft: Draft, event: AgentRung) -> None:
    state, leg, agent = draft.state, event.channel.uniqueid, event.agent.uniqueid
    consulted = _consulted_through(state, event.channel)
    if consulted is not None:
        draft.know(consulted=consultation.rang(consulted, event))
        know_as_rung(draft, agent)
    if leg in state.consultations:
        draft.know(consultations={**state.consultations, leg: state.consultations[leg] | {agent}})
    elif consulted is None and state.rung is not None:
        draft.know(rung=state.rung | {agent})


def _agent_connected(draft: Draft, event: AgentConnected) -> None:
    """The queue's member is there, unless the leg is none that it rang: picked up elsewhere, or the phone forwarded."""
    consulted = _consulted_through(draft.state, event.channel)
    is_home = is_caller(draft.state, event.channel) and draft.state.relay is None  # else that line's talk is over
    if consulted is None and not is_home:
        draft.expected = False
        return
    if not _was_rung(draft.state, consulted, event.agent):
        see(draft, event.agent, PartyKind.OTHER)
        return
    if consulted is not None and draft.state.relay is None:
        _consulted_answered(draft, consulted, event)
        return
    draft.know(agents=draft.state.agents | {event.agent.uniqueid}, interface=event.interface)
    see(draft, event.agent, PartyKind.AGENT, event.interface)
    if is_listed(draft.state, event.agent.uniqueid):
        draft.know(excluded=True)
        end_capture(draft)


def _was_rung(state: CallState, consulted: Consulted | None, agent: Channel) -> bool:
    """Whether the queue rang this leg. Of the caller's own queue we may have missed it; a consultation we saw whole."""
    if consulted is not None:
        return agent.uniqueid in consulted.rung
    return not state.rung or agent.uniqueid in state.rung


def _consulted_answered(draft: Draft, consulted: Consulted, event: AgentConnected) -> None:
    """The agent of the line that is consulted: nobody's agent here before the caller is handed over."""
    draft.know(consulted=consultation.answered(consulted, event))
    if is_listed(draft.state, event.agent.uniqueid):
        forsake(draft)


def _agent_listed(draft: Draft, event: AgentListed) -> None:
    """An agent who must not be recorded: what is armed ends before they are joined, where they wait for it.

    Who is rung for a consultation comes to the agent who consults: nothing that captures the caller hears them.
    """
    draft.know(listed_legs=draft.state.listed_legs | {event.agent.uniqueid})
    if not event.waits:
        return
    if is_rung_beside(draft.state, event.agent.uniqueid):
        forsake(draft)
    else:
        end_capture(draft)
    owe(draft, event.agent, KeyAnswer.EXCLUDED)


def _bridge_entered(draft: Draft, event: BridgeEntered) -> None:
    state = draft.state
    consulted = _consulted_through(state, event.channel)
    if consulted is not None and state.bridges.get(consulted.leg) != event.bridge:
        _consultation_bridged(draft, consulted, event)
    draft.know(
        bridges={**state.bridges, event.channel.uniqueid: event.bridge},
        kinds={**state.kinds, event.bridge: event.bridge_type},
        sizes={**state.sizes, event.bridge: event.channels},
    )
    meet_behind(draft, event)
    if draft.state.caller is None:
        _recognise_callee(draft)
    if draft.state.behind and is_somebody_else(draft.state, event):
        answer_is_nobodys(draft)
    else:
        draft.know(behind=moved(draft.state.behind, event))


def _consultation_bridged(draft: Draft, consulted: Consulted, event: BridgeEntered) -> None:
    """The prepared files begin here. In a second bridge they would go on, and nobody could say where in them."""
    if consulted.bridge is None:
        draft.know(consulted=consultation.bridged(consulted, event))
    else:
        forsake(draft)


def _recognise_callee(draft: Draft) -> None:
    """Who was rung and stands in the agent's bridge is the callee, also where our dialogue never reached them."""
    state = draft.state
    agents = {state.bridges.get(agent) for agent in state.agents} - {None}
    callee = next((leg for leg in state.dialled if state.bridges.get(leg.uniqueid) in agents), None)
    if callee is not None:
        draft.know(caller=callee)
        see(draft, callee, PartyKind.CALLER)


def _bridge_left(draft: Draft, event: BridgeLeft) -> None:
    if draft.state.bridges.get(event.channel.uniqueid) == event.bridge:
        if _consulted_through(draft.state, event.channel) is not None:
            forsake(draft)
        draft.state = without_leg(draft.state, event.channel.uniqueid)
    draft.know(sizes={**draft.state.sizes, event.bridge: event.channels})


def _hold_began(draft: Draft, event: HoldBegan) -> None:
    draft.know(held=draft.state.held | {event.channel.uniqueid})


def _hold_ended(draft: Draft, event: HoldEnded) -> None:
    draft.know(held=draft.state.held - {event.channel.uniqueid})


def _renamed(draft: Draft, event: ChannelRenamed) -> None:
    state = draft.state
    if state.caller is not None and state.caller.uniqueid == event.channel.uniqueid:
        draft.know(caller=event.channel)
    for capture in state.captures:
        if capture.channel.uniqueid == event.channel.uniqueid:
            draft.know_capture(capture.id, channel=event.channel)


def _hung_up(draft: Draft, event: ChannelHungUp) -> None:
    gone = event.channel.uniqueid
    draft.state = without_leg(draft.state, gone)
    halves = {two: one for two, one in draft.state.halves.items() if gone not in (one, two)}
    draft.know(behind=without(draft.state.behind, gone), halves=halves)
    state = draft.state
    for capture in state.captures:
        if capture.channel.uniqueid == gone and capture.state in UNMET | BESIDE and capture.bridged_at is None:
            # An INVITE with Replaces, or a transfer into a queue: the MixMonitor stays with who takes the place.
            draft.commands.append(Seek(recording=capture.id, channel=capture.channel, mixmonitor=capture.mixmonitor))
    _close_captures_on(draft, gone)  # Asterisk closes the files with the channel, and says nothing
    whole = state.caller.uniqueid if state.caller else None
    dialler = state.direction is Direction.OUTGOING and not state.talked and gone in state.agents
    if gone == whole or dialler:  # before the talk, Dial takes the called party down with who dials
        draft.know(ended_at=event.at)
        hand = capture_in_hand(draft.state)
        end_with_the_caller(draft, outlives=hand is not None and hand.channel.uniqueid != gone and gone == whole)


def _mixmonitor_stopped(draft: Draft, event: MixMonitorStopped) -> None:
    """Asterisk does not say whose it was: where we sent no stop, ours may run on until we have."""
    for capture in draft.state.captures:
        if capture.channel.uniqueid == event.channel.uniqueid:
            asked = capture.state in (CaptureState.STOPPING, CaptureState.FORSAKEN)
            unasked_for = Trigger.FORSAKEN if capture.state in BESIDE else Trigger.PARTED
            draft.raise_trigger(Trigger.CLOSED if asked else unasked_for, capture.id)


def _close_captures_on(draft: Draft, channel: Uniqueid) -> None:
    for capture in draft.state.captures:
        if capture.channel.uniqueid == channel:
            draft.raise_trigger(Trigger.CLOSED, capture.id)


def _for_open_capture(trigger: Trigger) -> Callable[[Draft, Any], None]:
    """A reader that raises `trigger` when the event is about the current capture."""

    def reader(draft: Draft, event: Any) -> None:
        known = [capture for capture in draft.state.captures if capture.id == event.recording]
        if not known or known[0].state in FINISHED:
            draft.expected = bool(known) and trigger is Trigger.CLOSED  # a failed capture is stopped too
            return
        draft.raise_trigger(trigger, event.recording)
        if isinstance(event, CaptureArmed):
            draft.know_capture(event.recording, mixmonitor=event.mixmonitor)
        if isinstance(event, CaptureLost | RecordingUnmade):
            draft.lost = event.reason
            if known[0].state not in BESIDE or draft.state.relay is not None:  # else nobody has missed anything yet
                lose(draft, event.reason)

    return reader


def _rival_met(draft: Draft, event: RivalMet) -> None:
    """Nothing of ours changes by it; that it was there, and what was done, is kept."""
    leg = event.channel.uniqueid
    role = "caller" if is_caller(draft.state, event.channel) else "agent" if is_agent(draft.state, leg) else "other"
    details = {"kind": event.kind, "leg": role, "file": event.file, "paused": "yes" if event.paused else ""}
    draft.facts.append(
        AuditEntry(
            id=event.audit,
            at=event.at,
            actor="recorder",
            action=f"rival {event.fate}",
            call=draft.state.call,
            recording=None,
            details={name: str(said) for name, said in details.items() if said},
        )
    )


def _clock_set(draft: Draft, event: ClockSet) -> None:
    """Everything that is remembered was so long ago as before; what is in the catalogue stays as it was written."""
    draft.state = shifted(draft.state, event.by)


READERS: Final[dict[type, Callable[[Draft, Any], None]]] = {
    CallAdmitted: _admitted_again,
    ConsultationPassed: _consultation_passed,
    LineConsulted: _line_consulted,
    TransferAttended: _transfer_attended,
    LineReached: line_reached,
    ChannelOffered: channel_offered,
    PromptPlayed: _prompt_played,
    ConsentAnswered: _answered,
    DialogueBroke: _dialogue_broke,
    OverridePressed: override_pressed,
    CallerTold: caller_told,
    AgentListed: _agent_listed,
    DialBegan: dial_began,
    LocalBridged: local_bridged,
    LocalOptimised: local_optimised,
    AgentRung: _agent_rung,
    AgentConnected: _agent_connected,
    BridgeEntered: _bridge_entered,
    BridgeLeft: _bridge_left,
    HoldBegan: _hold_began,
    HoldEnded: _hold_ended,
    ChannelRenamed: _renamed,
    ChannelHungUp: _hung_up,
    MixMonitorStopped: _mixmonitor_stopped,
    CaptureArmed: _for_open_capture(Trigger.CONFIRMED),
    CaptureClosed: _for_open_capture(Trigger.CLOSED),
    CaptureLost: _for_open_capture(Trigger.LOST),
    SilenceFailed: _silence_failed,
    KeyPressed: key_pressed,
    MixMonitorMuted: _silence_confirmed,
    RecordingErased: _for_open_capture(Trigger.ERASED),
    RecordingMade: _for_open_capture(Trigger.MADE),
    RecordingEmptied: _for_open_capture(Trigger.EMPTIED),
    RecordingUnmade: _for_open_capture(Trigger.LOST),
    RivalMet: _rival_met,
    SightLost: sight_lost,
    ClockSet: _clock_set,
    CallResynchronised: resynchronised,
}
READ_EVENTS: Final = frozenset(READERS)
"""The events that the machine reads; others need not reach it."""
