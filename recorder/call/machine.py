"""advance(state, event) -> Step. Reads the event, lets the tables move, and says what follows.

The order inside a step: the event changes what is known (`_learn`), what is known raises triggers (`_triggers`), the
tables turn triggers into new states (`_move`), and the new states have consequences (facts and commands). An event
that means nothing here leaves the state alone; it can never start a capture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from recorder.call.events import (
    CallAdmitted,
    CallEvent,
    CallResynchronised,
    CaptureArmed,
    CaptureClosed,
    CaptureLost,
    ConsentAnswered,
    DialogueBroke,
    OverridePressed,
    PromptPlayed,
    RecordingEmptied,
    RecordingMade,
    RecordingUnmade,
)
from recorder.call.outcome import outcome
from recorder.call.state import (
    CallState,
    Capture,
    Standing,
    capture_in_hand,
    standing,
    with_leg,
    without_leg,
    worth_on,
)
from recorder.call.tables import (
    CAPTURE_TRANSITIONS,
    FINISHED,
    PHASE_TRANSITIONS,
    UNCLOSED,
    CaptureState,
    Phase,
    Trigger,
)
from recorder.model import (
    AgentConnected,
    AuditEntry,
    BridgeEntered,
    BridgeLeft,
    CallEnded,
    CallOpened,
    Channel,
    ChannelHungUp,
    ChannelRenamed,
    ConsentEventId,
    ConsentMode,
    ConsentRecorded,
    ConsentState,
    DialBegan,
    Direction,
    Fact,
    HoldBegan,
    HoldEnded,
    LegSeen,
    Linkedid,
    LocalBridged,
    LostReason,
    MixMonitorStopped,
    OverrideReason,
    PartyKind,
    RecordingAuthorised,
    RecordingChanged,
    RecordingId,
    RecordingSettled,
    RecordingStatus,
    Uniqueid,
)
from recorder.policy import OBJECTIONS, Circumstances, decide, may_override


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """Start the MixMonitor of this recording on this channel, bridged-only."""

    recording: RecordingId
    channel: Channel


@dataclass(frozen=True, slots=True, kw_only=True)
class Quiet:
    """Write exact silence from now on, or no longer."""

    recording: RecordingId
    channel: Channel
    mixmonitor: str | None
    quiet: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """Stop the MixMonitor of this recording."""

    recording: RecordingId
    channel: Channel
    mixmonitor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settle:
    """The staged files are closed: make the recording."""

    recording: RecordingId


Command = Arm | Quiet | Stop | Settle


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one event did. `expected` is False where the event did not fit the state: counted, never raised."""

    state: CallState
    facts: tuple[Fact, ...] = ()
    commands: tuple[Command, ...] = ()
    expected: bool = True


@dataclass(slots=True)
class _Draft:
    """A step under construction; lives inside one advance()."""

    state: CallState
    event: CallEvent
    facts: list[Fact]
    commands: list[Command]
    triggers: list[tuple[Trigger, RecordingId | None]]
    expected: bool = True

    def know(self, **changes: Any) -> None:
        self.state = replace(self.state, **changes)

    def know_capture(self, recording: RecordingId, **changes: Any) -> None:
        self.know(
            captures=tuple(
                replace(capture, **changes) if capture.id == recording else capture for capture in self.state.captures
            )
        )

    def raise_trigger(self, trigger: Trigger, recording: RecordingId | None = None) -> None:
        """For one capture, or for the call and all that is being captured."""
        self.triggers.append((trigger, recording))


def begin(event: CallAdmitted) -> Step:
    """The first step of a call."""
    state = CallState(
        call=event.call,
        node=event.node,
        line=event.line,
        mode=event.mode,
        direction=event.direction,
        policy=event.policy,
        started_at=event.at,
        listed=event.listed,
        consent=ConsentState.PROHIBITED if event.mode is ConsentMode.NEVER else ConsentState.NONE,
    )
    draft = _Draft(state, event, [], [], [])
    draft.facts.append(
        CallOpened(
            call=event.call,
            node=event.node,
            line=event.line,
            direction=event.direction,
            mode=event.mode,
            linkedid=Linkedid(event.linkedid),
            started_at=event.at,
        )
    )
    _take_parties(draft, event)
    return _finished(draft)


def advance(state: CallState, event: CallEvent) -> Step:
    """What `event` makes of `state`. Pure; never raises for an event out of place."""
    draft = _Draft(state, event, [], [], [])
    reader = _READERS.get(type(event))
    if reader is None or state.phase is Phase.CLOSED:
        return Step(state=state)  # not ours to read, or the last words of legs that outlive the call
    before = standing(state)
    reader(draft, event)
    after = standing(draft.state)
    waits = before is Standing.NOWHERE and after is Standing.ALONE  # first into the bridge: the agent follows
    if after is not before and not waits and draft.state.phase is not Phase.OVER:
        draft.raise_trigger(_TRIGGER_BY_STANDING[after])
    return _finished(draft)


OBJECTIONS_THAT_STAND: Final = OBJECTIONS | {ConsentState.PROHIBITED}
"""Carried to another line, these are not asked about again: no other answer can be one."""


def _is_caller(state: CallState, channel: Channel) -> bool:
    return state.caller is not None and state.caller.uniqueid == channel.uniqueid


_TRIGGER_BY_STANDING: Final[dict[Standing, Trigger]] = {
    Standing.NOWHERE: Trigger.PARTED,
    Standing.FOREIGN: Trigger.PARTED,
    Standing.ALONE: Trigger.HELD,
    Standing.HELD: Trigger.HELD,
    Standing.TOGETHER: Trigger.TOGETHER,
}


# --------------------------------------------------------------------------- what each event teaches


def _take_parties(draft: _Draft, event: CallAdmitted) -> None:
    if event.caller is not None:
        draft.know(caller=event.caller)
        _see(draft, event.caller, PartyKind.CALLER)
    if event.agent is not None:
        draft.know(agents=draft.state.agents | {event.agent.uniqueid})
        _see(draft, event.agent, PartyKind.AGENT)


def _admitted_again(draft: _Draft, event: CallAdmitted) -> None:
    """The other party of an outgoing call becomes known, or the call passes a second line."""
    caller = draft.state.caller
    if caller is None or event.caller is None:
        _take_parties(draft, event)
        return
    if event.caller.uniqueid != caller.uniqueid or event.direction is Direction.OUTGOING:
        draft.expected = False
        return
    draft.state = without_leg(draft.state, caller.uniqueid)  # it runs our dialplan: its BridgeLeft may come later
    draft.raise_trigger(Trigger.ASKED_AGAIN)
    worth = worth_on(draft.state, event.mode)
    # Answered already (worth is not None) or to be asked: either way the dialogue's end follows as an event.
    draft.know(
        line=event.line,
        mode=event.mode,
        policy=event.policy,
        listed=event.listed,
        agents=frozenset(),
        consent=worth if worth is not None else ConsentState.NONE,
        override=None,
    )


def _prompt_played(draft: _Draft, event: PromptPlayed) -> None:
    if draft.state.phase is not Phase.ASKING or draft.state.consent not in (ConsentState.NONE, ConsentState.ASKED):
        draft.expected = False  # an answer that stands is never unsaid by a prompt
        return
    _consent(draft, event.consent, ConsentState.ASKED, event.channel.uniqueid, prompt=event.prompt, event=event)


def _answered(draft: _Draft, event: ConsentAnswered) -> None:
    stands = draft.state.consent in OBJECTIONS_THAT_STAND and event.answer is not draft.state.consent
    if draft.state.phase is not Phase.ASKING or stands or not _is_caller(draft.state, event.channel):
        draft.expected = False
        return
    _consent(draft, event.consent, event.answer, event.channel.uniqueid, prompt=event.prompt, event=event)
    draft.raise_trigger(Trigger.CONCLUDED)
    now = Circumstances(mode=draft.state.mode, consent=event.answer, listed=draft.state.listed)
    if decide(now).permitted:
        _authorise(draft, event.recording, event.consent, event.channel, event.hindrance)


def _dialogue_broke(draft: _Draft, event: DialogueBroke) -> None:
    if draft.state.phase is not Phase.ASKING:
        draft.expected = False
        return
    draft.raise_trigger(Trigger.CONCLUDED)
    _lose(draft, event.reason)


def _override(draft: _Draft, event: OverridePressed) -> None:
    """Permit by reason, once per call: a second press while a capture is open changes nothing."""
    state = draft.state
    may = may_override(state.mode, event.reason, state.listed) and _is_caller(state, event.far)
    if state.phase is not Phase.TALKING or capture_in_hand(state) is not None or not may:
        draft.expected = False
        return
    audit = event.audit if event.hindrance is None else None
    draft.facts.append(
        AuditEntry(
            id=event.audit,
            at=event.at,
            actor=event.agent,
            action="override" if audit else "override refused",
            call=state.call,
            recording=event.recording if audit else None,
            details={"reason": event.reason, "prior_state": state.consent, "hindrance": event.hindrance or ""},
        )
    )
    if event.hindrance is not None:
        _lose(draft, event.hindrance)
        return
    _consent(draft, event.consent, ConsentState.OVERRIDDEN, event.far.uniqueid, event=event, reason=event.reason)
    draft.know(override=event.reason)
    _authorise(draft, event.recording, event.consent, event.far, None, audit=event)


def _dial_began(draft: _Draft, event: DialBegan) -> None:
    # Only while nobody is connected: whom an agent dials later is a consultation, not the agent.
    if event.channel is None or draft.state.phase not in (Phase.ASKING, Phase.WAITING):
        return
    draft.state = with_leg(draft.state, event.dialled.uniqueid, event.channel.uniqueid)
    if draft.state.caller is None and event.channel.uniqueid in draft.state.agents:
        draft.know(dialled=(*draft.state.dialled, event.dialled))


def _local_bridged(draft: _Draft, event: LocalBridged) -> None:
    if draft.state.phase in (Phase.ASKING, Phase.WAITING):
        draft.state = with_leg(draft.state, event.two.uniqueid, event.one.uniqueid)


def _agent_connected(draft: _Draft, event: AgentConnected) -> None:
    caller = draft.state.caller
    if caller is None or event.channel.uniqueid != caller.uniqueid:
        draft.expected = False
        return
    draft.know(agents=draft.state.agents | {event.agent.uniqueid}, interface=event.interface)
    _see(draft, event.agent, PartyKind.AGENT, event.interface)


def _bridge_entered(draft: _Draft, event: BridgeEntered) -> None:
    state = draft.state
    draft.know(
        bridges={**state.bridges, event.channel.uniqueid: event.bridge},
        kinds={**state.kinds, event.bridge: event.bridge_type},
        sizes={**state.sizes, event.bridge: event.channels},
    )
    if draft.state.caller is None:
        _recognise_callee(draft)


def _recognise_callee(draft: _Draft) -> None:
    """Who was rung and stands in the agent's bridge is the callee, also where our dialogue never reached them."""
    state = draft.state
    agents = {state.bridges.get(agent) for agent in state.agents} - {None}
    callee = next((leg for leg in state.dialled if state.bridges.get(leg.uniqueid) in agents), None)
    if callee is not None:
        draft.know(caller=callee)
        _see(draft, callee, PartyKind.CALLER)


def _bridge_left(draft: _Draft, event: BridgeLeft) -> None:
    if draft.state.bridges.get(event.channel.uniqueid) == event.bridge:
        draft.state = without_leg(draft.state, event.channel.uniqueid)
    draft.know(sizes={**draft.state.sizes, event.bridge: event.channels})


def _hold_began(draft: _Draft, event: HoldBegan) -> None:
    draft.know(held=draft.state.held | {event.channel.uniqueid})


def _hold_ended(draft: _Draft, event: HoldEnded) -> None:
    draft.know(held=draft.state.held - {event.channel.uniqueid})


def _renamed(draft: _Draft, event: ChannelRenamed) -> None:
    state = draft.state
    if state.caller is not None and state.caller.uniqueid == event.channel.uniqueid:
        draft.know(caller=event.channel)
    for capture in state.captures:
        if capture.channel.uniqueid == event.channel.uniqueid:
            draft.know_capture(capture.id, channel=event.channel)


def _hung_up(draft: _Draft, event: ChannelHungUp) -> None:
    gone = event.channel.uniqueid
    draft.state = without_leg(draft.state, gone)
    state = draft.state
    _close_captures_on(draft, gone)  # Asterisk closes the files with the channel, and says nothing
    whole = state.caller.uniqueid if state.caller else None
    dialler = state.direction is Direction.OUTGOING and not state.talked and gone in state.agents
    if gone == whole or dialler:  # before the talk, Dial takes the called party down with who dials
        draft.know(ended_at=event.at)
        draft.raise_trigger(Trigger.GONE)


def _mixmonitor_stopped(draft: _Draft, event: MixMonitorStopped) -> None:
    """Asterisk does not say whose it was: where we sent no stop, ours may run on until we have."""
    for capture in draft.state.captures:
        if capture.channel.uniqueid == event.channel.uniqueid:
            asked = capture.state is CaptureState.STOPPING
            draft.raise_trigger(Trigger.CLOSED if asked else Trigger.PARTED, capture.id)


def _close_captures_on(draft: _Draft, channel: Uniqueid) -> None:
    for capture in draft.state.captures:
        if capture.channel.uniqueid == channel:
            draft.raise_trigger(Trigger.CLOSED, capture.id)


def _for_open_capture(trigger: Trigger) -> Callable[[_Draft, Any], None]:
    """A reader that raises `trigger` when the event is about the current capture."""

    def reader(draft: _Draft, event: Any) -> None:
        known = [capture for capture in draft.state.captures if capture.id == event.recording]
        if not known or known[0].state in FINISHED:
            draft.expected = bool(known) and trigger is Trigger.CLOSED  # a failed capture is stopped too
            return
        draft.raise_trigger(trigger, event.recording)
        if isinstance(event, CaptureArmed):
            draft.know_capture(event.recording, mixmonitor=event.mixmonitor)
        if isinstance(event, CaptureLost | RecordingUnmade):
            _lose(draft, event.reason)

    return reader


def _resynchronised(draft: _Draft, event: CallResynchronised) -> None:
    """Believe what stands now; what nobody can prove of the time between ends the capture at its last proof."""
    was = draft.state
    anchor = was.caller.uniqueid if was.caller else next(iter(was.agents), None)
    draft.know(
        bridges={leg: bridge for leg, bridge in event.living.items() if bridge is not None},
        sizes=event.sizes,
    )
    if anchor not in event.living:
        _believe_queue_log(draft, event)
        _prove_until(draft, event.blind_from, blind=True)
        draft.know(ended_at=event.talk_proved_until or event.blind_from)
        draft.raise_trigger(Trigger.CLOSED)
        draft.raise_trigger(Trigger.GONE)
    elif not _talk_went_on(was, draft.state):
        _prove_until(draft, event.blind_from, blind=True)
        draft.raise_trigger(Trigger.PARTED if event.capture_lives else Trigger.CLOSED)
    elif not event.capture_lives:
        _prove_until(draft, event.blind_from, blind=True)
        draft.raise_trigger(Trigger.CLOSED)
    if standing(draft.state) is Standing.TOGETHER:
        draft.raise_trigger(Trigger.TOGETHER)  # perhaps in another bridge than before: the talk is a talk again
    hand = capture_in_hand(was)
    if hand is not None and hand.state is CaptureState.STOPPING and event.capture_lives:
        _stopping(draft, hand)  # the stop that we sent may have been lost with the connection


def _believe_queue_log(draft: _Draft, event: CallResynchronised) -> None:
    """A talk that the queue log saw from its beginning to a hang-up was with the agent alone, all of it."""
    if event.talk_proved_until is None:
        return
    draft.know(talked=True)
    for capture in draft.state.captures:
        if capture.state in (CaptureState.ARMED, CaptureState.RUNNING, CaptureState.QUIET):
            began = capture.bridged_at or event.talk_began_at or event.talk_proved_until
            draft.know_capture(
                capture.id, bridged_at=began, bridged_until=max(began, capture.bridged_until or event.talk_proved_until)
            )


def _talk_went_on(was: CallState, now: CallState) -> bool:
    """Whether they stand as they stood before we looked away, or have met since, as AgentConnected says."""
    caller = was.caller.uniqueid if was.caller else None
    if caller is None or was.bridges.get(caller) is None:
        return standing(now) in (Standing.NOWHERE, Standing.TOGETHER)
    return standing(now) is standing(was) and was.bridges.get(caller) == now.bridges.get(caller)


def _prove_until(draft: _Draft, moment: datetime, *, blind: bool = False) -> None:
    for capture in draft.state.captures:
        if capture.bridged_at is not None and capture.bridged_until is None:
            draft.know_capture(capture.id, bridged_until=max(moment, capture.bridged_at), unproved=blind)


_READERS: Final[dict[type, Callable[[_Draft, Any], None]]] = {
    CallAdmitted: _admitted_again,
    PromptPlayed: _prompt_played,
    ConsentAnswered: _answered,
    DialogueBroke: _dialogue_broke,
    OverridePressed: _override,
    DialBegan: _dial_began,
    LocalBridged: _local_bridged,
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
    RecordingMade: _for_open_capture(Trigger.MADE),
    RecordingEmptied: _for_open_capture(Trigger.EMPTIED),
    RecordingUnmade: _for_open_capture(Trigger.LOST),
    CallResynchronised: _resynchronised,
}
READ_EVENTS: Final = frozenset(_READERS)
"""The events that the machine reads; others need not reach it."""


# --------------------------------------------------------------------------- consequences


def _see(draft: _Draft, channel: Channel, kind: PartyKind, interface: str | None = None) -> None:
    draft.facts.append(
        LegSeen(call=draft.state.call, channel=channel, kind=kind, at=draft.event.at, interface=interface)
    )


def _consent(
    draft: _Draft,
    event_id: ConsentEventId,
    after: ConsentState,
    channel: Uniqueid,
    *,
    event: Any,
    prompt: Any = None,
    reason: OverrideReason | None = None,
) -> None:
    draft.facts.append(
        ConsentRecorded(
            id=event_id,
            call=draft.state.call,
            at=event.at,
            before=draft.state.consent,
            after=after,
            channel=channel,
            policy=draft.state.policy,
            prompt=prompt,
            played_ms=getattr(event, "played_ms", None),
            key=getattr(event, "key", None),
            language=getattr(event, "language", None) or (prompt.language if prompt else None),
            actor=getattr(event, "agent", None),
            reason=reason,
            basis=getattr(event, "basis", None),
        )
    )
    draft.know(consent=after, objected=draft.state.objected or after in OBJECTIONS)


def _authorise(
    draft: _Draft,
    recording: RecordingId,
    consent: ConsentEventId,
    channel: Channel,
    hindrance: LostReason | None,
    audit: OverridePressed | None = None,
) -> None:
    if hindrance is None and capture_in_hand(draft.state) is not None:
        hindrance = LostReason.CAPTURE_FAILED  # the one before is still closing: never two at once
    if hindrance is not None:
        _lose(draft, hindrance)
        return
    draft.facts.append(
        RecordingAuthorised(
            id=recording,
            call=draft.state.call,
            line=draft.state.line,
            mode=draft.state.mode,
            at=draft.event.at,
            authorised_by=consent,
            state=draft.state.consent,
            channel=channel,
            sealed=audit is not None,
            audit=audit.audit if audit else None,
        )
    )
    capture = Capture(id=recording, state=CaptureState.ARMING, channel=channel)
    draft.know(captures=(*draft.state.captures, capture))
    draft.commands.append(Arm(recording=recording, channel=channel))


def _lose(draft: _Draft, reason: LostReason) -> None:
    if draft.state.lost is None:
        draft.know(lost=reason)


def _finished(draft: _Draft) -> Step:
    for trigger, recording in draft.triggers:
        _move(draft, trigger, recording)
    if draft.state.phase is Phase.OVER and all(capture.state in FINISHED for capture in draft.state.captures):
        _move(draft, Trigger.BALANCED)
    return Step(state=draft.state, facts=tuple(draft.facts), commands=tuple(draft.commands), expected=draft.expected)


def _move(draft: _Draft, trigger: Trigger, recording: RecordingId | None = None) -> None:
    """Let the tables turn: the call's own unless the trigger is about one capture, and every capture it is about."""
    if recording is None:
        _move_call(draft, PHASE_TRANSITIONS[draft.state.phase, trigger])
    for capture in draft.state.captures:
        after = CAPTURE_TRANSITIONS[capture.state, trigger]
        if recording in (None, capture.id) and after is not capture.state:
            _move_capture(draft, capture, after)


def _move_call(draft: _Draft, after: Phase) -> None:
    if after is draft.state.phase:
        return
    draft.know(phase=after, talked=draft.state.talked or after is Phase.TALKING)
    if after is Phase.CLOSED:
        _close(draft)


def _move_capture(draft: _Draft, before: Capture, after: CaptureState) -> None:
    draft.know_capture(before.id, state=after)
    if after is CaptureState.RUNNING and before.bridged_at is None:
        draft.know_capture(before.id, bridged_at=draft.event.at)
    if after in (CaptureState.STOPPING, CaptureState.STOPPED, CaptureState.FAILED):
        _prove_until(draft, draft.event.at)
    _CONSEQUENCES[after](draft, before)
    now = standing(draft.state)
    if after is CaptureState.ARMED and now in (Standing.TOGETHER, Standing.FOREIGN, Standing.HELD):
        _move(draft, _TRIGGER_BY_STANDING[now], before.id)  # armed in mid-talk, by a key


def _armed(draft: _Draft, before: Capture) -> None:
    _change(draft, before, {RecordingStatus.AUTHORISED}, RecordingStatus.ARMED)


def _running(draft: _Draft, before: Capture) -> None:
    if before.state is CaptureState.QUIET:
        _quiet(draft, before, quiet=False)


def _quiet(draft: _Draft, before: Capture, *, quiet: bool = True) -> None:
    draft.commands.append(Quiet(recording=before.id, channel=before.channel, mixmonitor=before.mixmonitor, quiet=quiet))


def _stopping(draft: _Draft, before: Capture) -> None:
    draft.commands.append(Stop(recording=before.id, channel=before.channel, mixmonitor=before.mixmonitor))


def _stopped(draft: _Draft, before: Capture) -> None:
    _change(draft, before, {RecordingStatus.AUTHORISED, RecordingStatus.ARMED}, RecordingStatus.STOPPED)
    draft.commands.append(Settle(recording=before.id))


def _settled(draft: _Draft, before: Capture) -> None:
    event = draft.event
    assert isinstance(event, RecordingMade)
    draft.know(recorded=True)
    draft.facts.append(
        RecordingSettled(
            id=before.id,
            call=draft.state.call,
            at=event.at,
            samples=event.samples,
            rate=event.rate,
            sha256=event.sha256,
            size=event.size,
            findings=event.findings,
        )
    )


def _empty(draft: _Draft, before: Capture) -> None:
    _change(draft, before, {RecordingStatus.STOPPED}, RecordingStatus.EMPTY)


def _failed(draft: _Draft, before: Capture) -> None:
    expected = {RecordingStatus.AUTHORISED, RecordingStatus.ARMED, RecordingStatus.STOPPED}
    _change(draft, before, expected, RecordingStatus.FAILED, draft.state.lost)
    if before.state in UNCLOSED:
        _stopping(draft, before)


def _nothing(_draft: _Draft, _before: Capture) -> None:
    return


_CONSEQUENCES: Final[dict[CaptureState, Callable[[_Draft, Capture], None]]] = {
    CaptureState.ARMING: _nothing,
    CaptureState.ARMED: _armed,
    CaptureState.RUNNING: _running,
    CaptureState.QUIET: _quiet,
    CaptureState.STOPPING: _stopping,
    CaptureState.STOPPED: _stopped,
    CaptureState.SETTLED: _settled,
    CaptureState.EMPTY: _empty,
    CaptureState.FAILED: _failed,
}


def _change(
    draft: _Draft,
    before: Capture,
    expected: set[RecordingStatus],
    status: RecordingStatus,
    reason: LostReason | None = None,
) -> None:
    capture = next(capture for capture in draft.state.captures if capture.id == before.id)
    seconds = None
    if capture.bridged_at is not None and capture.bridged_until is not None:
        seconds = (capture.bridged_until - capture.bridged_at).total_seconds()
    draft.facts.append(
        RecordingChanged(
            id=capture.id,
            call=draft.state.call,
            at=draft.event.at,
            expected=frozenset(expected),
            status=status,
            mixmonitor=capture.mixmonitor,
            bridged_at=capture.bridged_at,
            bridged_seconds=seconds,
            keep_seconds=seconds if capture.unproved else None,
            reason=reason,
        )
    )


def _close(draft: _Draft) -> None:
    verdict, reason = outcome(draft.state)
    draft.facts.append(
        CallEnded(
            call=draft.state.call,
            ended_at=draft.state.ended_at or draft.event.at,
            outcome=verdict,
            reason=reason,
        )
    )
