"""What our own side tells the machine; what Asterisk tells it is in recorder.model.

Every id an event needs for its consequences is minted by whoever makes the event, so that a replay gives the same ids.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Self
from uuid import UUID

from recorder.model import (
    BridgeId,
    CallId,
    Channel,
    ConsentEventId,
    ConsentMode,
    ConsentState,
    Direction,
    KeyAct,
    LostReason,
    OverrideReason,
    PbxEvent,
    Prompt,
    RecordingId,
    RivalFate,
    RivalKind,
    Uniqueid,
    Unrecorded,
)
from recorder.policy import LineRules
from recorder.rights import Denied


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnEvent:
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CallAdmitted(OwnEvent):
    """A call entered an ACD line: the first event of every call, and again where it passes another line.

    `caller` is None on an outgoing call until the callee answers; `agent` is the channel that dials there.
    `mode` is the one that applies: the stricter of the line's own and of the line before (policy.stricter).
    """

    call: CallId
    node: str
    line: str
    mode: ConsentMode
    direction: Direction
    linkedid: str
    policy: str
    listed: frozenset[OverrideReason] = frozenset()
    preroll_seconds: float = 0.0  # of what was said before a pause that are silenced with it (PR-06)
    withdrawal_erases: bool = True  # what was captured by consent, once it is withdrawn (WD-02)
    beep_seconds: int | None = None  # between two beeps that both parties hear while it is captured (CN-12)
    purposes: frozenset[str] = frozenset()  # for which the line records
    caller: Channel | None = None
    agent: Channel | None = None
    unrecorded: Unrecorded | None = None  # the do-not-record list that names the call (SC-07)
    behind: dict[Uniqueid, BridgeId | None] | None = None  # where each leg stands behind a caller that is a Local half

    @classmethod
    def under(
        cls,
        rules: LineRules,
        *,
        at: datetime,
        call: CallId,
        node: str,
        direction: Direction,
        policy: str = "",
        caller: Channel | None = None,
        agent: Channel | None = None,
        unrecorded: Unrecorded | None = None,
        behind: dict[Uniqueid, BridgeId | None] | None = None,
    ) -> Self:
        """As the rules of the line say; `policy` where other ones applied than those of now. One party at least."""
        first = caller or agent
        assert first is not None
        return cls(
            at=at,
            call=call,
            node=node,
            line=rules.name,
            mode=rules.mode,
            direction=direction,
            linkedid=first.linkedid,
            policy=policy or rules.digest,
            listed=rules.listed,
            preroll_seconds=rules.preroll.total_seconds(),
            withdrawal_erases=rules.withdrawal_erases,
            beep_seconds=rules.beep,
            purposes=frozenset(rules.purposes),
            caller=caller,
            agent=agent,
            unrecorded=unrecorded,
            behind=behind,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentListed(OwnEvent):
    """A leg is that of an agent who must not be recorded; where it `waits`, it takes the call once nothing captures."""

    agent: Channel
    waits: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsultationPassed(OwnEvent):
    """A leg of the call that is not its caller came to a line: a consultation, or a ring that was forwarded there.

    `consults` is Asterisk's own mark of the former; an older journal has none.
    """

    channel: Channel
    consults: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LineConsulted(OwnEvent):
    """An agent of the call consults a line, on whose queue the caller may come to speak (CN-13).

    `admitted` is what the line says, with the consultation's leg in the caller's place. `consent` and `recording` are
    the ids to use where what the caller has said permits a capture there; `hindrance` as in ConsentAnswered.
    """

    admitted: CallAdmitted
    consent: ConsentEventId
    recording: RecordingId
    hindrance: LostReason | None = None
    basis: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Beyond:
    """What another call knows of its agent's legs, where a telephone stands behind a Local channel; as in CallState."""

    bridges: dict[Uniqueid, BridgeId] = field(default_factory=dict)
    sizes: dict[BridgeId, int] = field(default_factory=dict)
    parents: dict[Uniqueid, Uniqueid] = field(default_factory=dict)
    twins: dict[Uniqueid, Uniqueid] = field(default_factory=dict)
    answered: frozenset[Uniqueid] = frozenset()
    listed: frozenset[Uniqueid] = frozenset()
    held: frozenset[Uniqueid] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class LineReached(OwnEvent):
    """An agent of the call has joined its caller by telephone with the agent of another line (SIP REFER, CN-13).

    `admitted` is what that line says, with the caller's own channel; `bridge` is where its agent stands, with the half
    `far` of the Local channel whose other half has taken the place of `by`, the agent who joined them.
    """

    admitted: CallAdmitted
    agent: Channel
    interface: str | None
    bridge: BridgeId
    by: Channel
    near: Uniqueid
    far: Uniqueid
    beyond: Beyond
    paused_at: datetime | None = None  # by that line's agent, in the consultation
    paused_by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelOffered(OwnEvent):
    """The dialplan lends the caller's channel, for which the key was pressed: capture may begin on that line.

    `consent` and `recording` are the ids to use; `hindrance` as in ConsentAnswered.
    """

    consent: ConsentEventId
    recording: RecordingId
    hindrance: LostReason | None = None
    basis: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptPlayed(OwnEvent):
    """A prompt that asks or announces was played, `played_ms` of it."""

    consent: ConsentEventId
    channel: Channel
    prompt: Prompt
    played_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentAnswered(OwnEvent):
    """The dialogue ended with an answer. `recording` is the id to use if policy permits capture.

    `hindrance` is what the world has against capturing now (spool, PBX, catalogue), None where nothing. `noted` is the
    id of a dialogue that the dialplan held without us: where it permitted a capture, that runs already.
    """

    consent: ConsentEventId
    channel: Channel
    answer: ConsentState
    recording: RecordingId
    hindrance: LostReason | None = None
    prompt: Prompt | None = None
    played_ms: int | None = None
    key: str | None = None
    language: str | None = None
    basis: str | None = None
    noted: RecordingId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DialogueBroke(OwnEvent):
    """The dialogue ended without an answer that can count. `noted` as in ConsentAnswered."""

    reason: LostReason
    noted: RecordingId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OverridePressed(OwnEvent):
    """An agent pressed an override key. `far` is the channel to capture, `agent` the one whose key it was.

    `basis`, `retention` and `tells_caller` are the reason's terms (policy.OverrideTerms); `telling` is what the caller
    is to hear once it is captured, and what became of that the dialplan says (CallerTold). `policy` is the digest of
    the settings that have these terms; where they list the reason no more, it is `unfounded`. `telephone` is the one
    whose key it was, `user` the person there, and `denied` why they may not. `by` is who asked for it in place of a
    key, and `way` where: on a page, or by a program; `unbrought` says that the caller's channel was not brought for it,
    so that nothing can begin there. An older journal has none of them.
    """

    reason: OverrideReason
    far: Channel
    agent: str
    consent: ConsentEventId
    audit: UUID
    recording: RecordingId
    hindrance: LostReason | None = None
    presser: Channel | None = None  # who waits to hear that it is captured
    basis: str | None = None
    retention: str | None = None
    tells_caller: bool | None = None
    telling: Prompt | None = None
    policy: str | None = None
    unfounded: bool | None = None
    telephone: str | None = None
    user: str | None = None
    denied: Denied | None = None
    by: str | None = None
    way: str | None = None
    unbrought: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerTold(OwnEvent):
    """What became of telling the caller that this recording is made without their consent.

    `status` is Asterisk's word for the playing (PLAYBACKSTATUS), None where none came in time; `played_ms` is how long
    it took by Asterisk's clock, None where that makes no sense.
    """

    recording: RecordingId
    audit: UUID
    status: str | None = None
    played_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPressed(OwnEvent):
    """A party pressed a key that pauses, resumes or ends the capture. `at` may lie in a time when no daemon ran.

    `heard` is False where the presser waits for no answer any more: the key is read from the queue log. `by` is who
    asked for it on a page or by a program, in place of `presser`, an agent's leg whose key it is then.
    """

    act: KeyAct
    presser: Channel
    consent: ConsentEventId
    audit: UUID
    heard: bool = True
    by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureArmed(OwnEvent):
    """Asterisk confirmed that the MixMonitor of this recording runs."""

    recording: RecordingId
    mixmonitor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureLost(OwnEvent):
    """The capture could not be started, or its files do not exist or do not grow."""

    recording: RecordingId
    reason: LostReason


@dataclass(frozen=True, slots=True, kw_only=True)
class SilenceFailed(OwnEvent):
    """Asterisk did not confirm that silence is written, or speech again; `at` is when it should have been."""

    recording: RecordingId


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureClosed(OwnEvent):
    """Nobody writes the staged files any more."""

    recording: RecordingId


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingMade(OwnEvent):
    """The staged files became a settled WAV."""

    recording: RecordingId
    samples: int
    rate: int
    sha256: str
    size: int
    findings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingEmptied(OwnEvent):
    """There was nothing permitted to keep; the staged files are removed."""

    recording: RecordingId


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingErased(OwnEvent):
    """Nothing of what was captured is left on any disk of ours."""

    recording: RecordingId


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingUnmade(OwnEvent):
    """What was staged cannot be turned into a recording."""

    recording: RecordingId
    reason: LostReason


@dataclass(frozen=True, slots=True, kw_only=True)
class SightLost(OwnEvent):
    """We slept: what comes next happened at some time after `blind_from`, and nobody can say when."""

    blind_from: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockSet(OwnEvent):
    """Our clock was set: what comes next is dated later by `by` than it would have been, `at` too; or earlier."""

    by: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class CallResynchronised(OwnEvent):
    """What we found after we could not see for a while.

    `blind_from` is the last moment up to which every event was seen. `bridges` holds each living leg's bridge, None
    outside any. `talk_began_at` and `talk_proved_until` are what Asterisk's queue log proves of a talk with one agent
    that ended by either's hang-up. `held` are the legs that hold the other one now; None where Asterisk does not tell.
    `hung_up_at` is when the caller hung up, where that was heard. `twins` are the two halves of each Local channel
    through which an agent stands there, ;1 -> ;2, also of those of which nobody heard.
    """

    blind_from: datetime
    living: dict[Uniqueid, BridgeId | None] = field(default_factory=dict)
    sizes: dict[BridgeId, int] = field(default_factory=dict)
    capture_lives: bool = False
    talk_began_at: datetime | None = None
    talk_proved_until: datetime | None = None
    held: frozenset[Uniqueid] | None = None
    hung_up_at: datetime | None = None
    twins: dict[Uniqueid, Uniqueid] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RivalMet(OwnEvent):
    """A recorder that we did not authorise was met on a channel of the call, or something else became of it.

    `file` is where it writes, as Asterisk says, without numbers; "" where it does not say.
    """

    audit: UUID
    kind: RivalKind
    fate: RivalFate
    channel: Channel
    file: str = ""
    paused: bool = False


CallEvent = PbxEvent | OwnEvent
