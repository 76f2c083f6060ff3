"""A step of the machine, finished and under construction: commands, facts, and the triggers still to turn.

Owns what a step may say. Must not read an event or turn a table: reading.py, its rooms and turning.py do.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from recorder.call.consulted import Consulted
from recorder.call.events import (
    CallAdmitted,
    CallEvent,
    LineConsulted,
    OverridePressed,
)
from recorder.call.state import (
    CallState,
    Capture,
    KeyAnswer,
    OwedAnswer,
    capture_in_hand,
    is_bridged,
    prepared,
)
from recorder.call.tables import (
    CaptureState,
    Trigger,
)
from recorder.model import (
    Channel,
    ConsentEventId,
    ConsentRecorded,
    ConsentState,
    Fact,
    LegSeen,
    LostReason,
    OverrideReason,
    PartyKind,
    RecordingAuthorised,
    RecordingId,
    Uniqueid,
)
from recorder.policy import OBJECTIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """Start the MixMonitor of this recording on this channel, bridged-only."""

    recording: RecordingId
    channel: Channel
    beep: int | None = None  # seconds between two beeps, None for silence


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
class Seek:
    """The channel of this recording is gone and had met nobody: stop the MixMonitor on whoever has taken its place."""

    recording: RecordingId
    channel: Channel
    mixmonitor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Summon:
    """Press the key on the caller's channel by which our dialplan comes to us with it."""

    channel: Channel


@dataclass(frozen=True, slots=True, kw_only=True)
class Settle:
    """The staged files are closed: make the recording."""

    recording: RecordingId


@dataclass(frozen=True, slots=True, kw_only=True)
class Erase:
    """Remove every file of this recording: it may not be kept."""

    recording: RecordingId


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledge:
    """Tell the presser of a key what has become of it. A STOPPED or ERASED to the caller is said in words."""

    presser: Channel
    answer: KeyAnswer
    asked: UUID | None = None  # by a page or a program, which waits in the presser's place


Command = Arm | Quiet | Stop | Seek | Summon | Settle | Erase | Acknowledge


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one event did. `expected` is False where the event did not fit the state: counted, never raised."""

    state: CallState
    facts: tuple[Fact, ...] = ()
    commands: tuple[Command, ...] = ()
    expected: bool = True


@dataclass(slots=True)
class Draft:
    """A step under construction; lives inside one advance()."""

    state: CallState
    event: CallEvent
    facts: list[Fact]
    commands: list[Command]
    triggers: list[tuple[Trigger, RecordingId | None]]
    expected: bool = True
    lost: LostReason | None = None  # why the capture that this event is about is lost

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


def see(draft: Draft, channel: Channel, kind: PartyKind, interface: str | None = None) -> None:
    draft.facts.append(
        LegSeen(call=draft.state.call, channel=channel, kind=kind, at=draft.event.at, interface=interface)
    )


def record_consent(
    draft: Draft,
    event_id: ConsentEventId,
    after: ConsentState,
    channel: Uniqueid,
    *,
    event: Any,
    prompt: Any = None,
    reason: OverrideReason | None = None,
    actor: str | None = None,
    under: CallState | CallAdmitted | None = None,
    policy: str | None = None,
) -> None:
    """`under` whose line, mode and policy, where they are not the call's own; `policy` where only the settings are."""
    rules = under or draft.state
    draft.facts.append(
        ConsentRecorded(
            id=event_id,
            call=draft.state.call,
            at=event.at,
            before=draft.state.consent,
            after=after,
            channel=channel,
            policy=policy or rules.policy,
            node=draft.state.node,
            line=rules.line,
            mode=rules.mode,
            prompt=prompt,
            played_ms=getattr(event, "played_ms", None),
            key=getattr(event, "key", None),
            language=getattr(event, "language", None) or (prompt.language if prompt else None),
            actor=actor,
            reason=reason,
            basis=getattr(event, "basis", None),
        )
    )
    draft.know(consent=after, objected=draft.state.objected or after in OBJECTIONS)


def authorise(
    draft: Draft,
    recording: RecordingId,
    consent: ConsentEventId,
    channel: Channel,
    hindrance: LostReason | None,
    audit: OverridePressed | None = None,
    *,
    begun: bool = False,
) -> None:
    """`begun`: the dialplan has started the MixMonitor by itself."""
    if hindrance is None and capture_in_hand(draft.state) is not None:
        hindrance = LostReason.CAPTURE_FAILED  # the one before is still closing: never two at once
    if hindrance is not None:
        lose(draft, hindrance)
        return
    _intend(draft, CaptureState.ARMING, recording, consent, channel, draft.state, audit)
    if not begun:
        draft.commands.append(Arm(recording=recording, channel=channel, beep=draft.state.beep))


def _intend(
    draft: Draft,
    begins: CaptureState,
    recording: RecordingId,
    consent: ConsentEventId,
    channel: Channel,
    rules: CallState | CallAdmitted,
    audit: OverridePressed | None = None,
) -> None:
    draft.facts.append(
        RecordingAuthorised(
            id=recording,
            call=draft.state.call,
            line=rules.line,
            mode=rules.mode,
            at=draft.event.at,
            authorised_by=consent,
            state=draft.state.consent,
            channel=channel,
            sealed=audit is not None,
            audit=audit.audit if audit else None,
        )
    )
    capture = Capture(
        id=recording,
        state=begins,
        channel=channel,
        authority=draft.state.consent,
        to_tell=audit.telling if audit else None,
    )
    draft.know(captures=(*draft.state.captures, capture))


def owe(draft: Draft, presser: Channel, answer: KeyAnswer, asked: UUID | None = None) -> None:
    """The presser is told once it is so (turning.py); whoever presses again waits for the later key alone."""
    key = OwedAnswer(presser=presser, answer=answer, asked=asked)
    others = (known for known in draft.state.owed if (known.presser.uniqueid, known.asked) != (presser.uniqueid, asked))
    draft.know(owed=(*others, key))


def take_rules(draft: Draft, line: CallAdmitted) -> None:
    """From now on the call is that line's."""
    draft.know(
        line=line.line,
        mode=line.mode,
        policy=line.policy,
        listed=line.listed,
        preroll=timedelta(seconds=line.preroll_seconds),
        withdrawal_erases=line.withdrawal_erases,
        beep=line.beep_seconds,
        purposes=line.purposes,
    )


def lose(draft: Draft, reason: LostReason) -> None:
    if draft.state.lost is None:
        draft.know(lost=reason)


def end_capture(draft: Draft) -> None:
    """What is being captured, if anything, stops, and what is prepared will not be."""
    hand = capture_in_hand(draft.state)
    if hand is not None:
        draft.raise_trigger(Trigger.PARTED, hand.id)
    forsake(draft)


def answer_is_nobodys(draft: Draft) -> None:
    """Somebody else speaks through the caller's channel: no yes of theirs was said there. An objection stands."""
    end_capture(draft)
    draft.know(behind={}, agreed_to=frozenset(), supplanted=True)
    if draft.state.consent not in OBJECTIONS:
        draft.know(consent=ConsentState.PROHIBITED)


def prepare(draft: Draft, event: LineConsulted, leg: Channel) -> None:
    """Have a capture run on the leg of a consultation, by that line's rules and by what the caller has said already."""
    there, said, caller = event.admitted, draft.state.consent, draft.state.caller
    assert caller is not None
    record_consent(draft, event.consent, said, caller.uniqueid, event=event, under=there)
    _intend(draft, CaptureState.PREPARING, event.recording, event.consent, leg, there)
    draft.know(consulted=Consulted(leg=leg.uniqueid, admitted=there))
    draft.commands.append(Arm(recording=event.recording, channel=leg, beep=there.beep_seconds))


def forsake(draft: Draft) -> None:
    """What is prepared on the leg of a consultation, if anything, stops, and nothing of it is kept."""
    beside = prepared(draft.state)
    if beside is not None:
        draft.raise_trigger(Trigger.FORSAKEN, beside.id)


def prove_until(draft: Draft, moment: datetime, *, blind: bool = False, recording: RecordingId | None = None) -> None:
    """What was captured is permitted up to this moment: of one capture, or of each whose end is not known yet."""
    for capture in draft.state.captures:
        is_meant = recording in (None, capture.id)
        if is_meant and capture.bridged_at is not None and capture.bridged_until is None:
            draft.know_capture(capture.id, bridged_until=max(moment, capture.bridged_at), unproved=blind)


def end_with_the_caller(draft: Draft, *, outlives: bool) -> None:
    """The call is over; where its capture `outlives` the caller, on a consultation's leg, once it is stopped."""
    if outlives:  # beside whoever took the caller's place
        prove_until(draft, draft.event.at, blind=True)
        end_capture(draft)
        return
    draft.raise_trigger(Trigger.GONE)


def doubt_what_still_stops(draft: Draft) -> None:
    """What is not confirmed as stopped is written wherever its own channel stands in a bridge, with whomever."""
    for capture in draft.state.captures:
        if capture.state is CaptureState.STOPPING and not capture.unproved and is_bridged(draft.state, capture):
            draft.know_capture(capture.id, unproved=True)


def send_stop(draft: Draft, before: Capture) -> None:
    draft.commands.append(Stop(recording=before.id, channel=before.channel, mixmonitor=before.mixmonitor))


def silence(draft: Draft, before: Capture, *, quiet: bool) -> None:
    draft.commands.append(Quiet(recording=before.id, channel=before.channel, mixmonitor=before.mixmonitor, quiet=quiet))
