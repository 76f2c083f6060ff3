"""The vocabulary: ids, states, and the frozen facts that every other module speaks in.

Owns the words (docs/vocabulary.md lists them) and nothing else: no I/O, no decisions, only the standard library.
Every datetime here is UTC-aware; `utc` refuses any other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import NewType
from uuid import UUID

CallId = NewType("CallId", UUID)
RecordingId = NewType("RecordingId", UUID)
ConsentEventId = NewType("ConsentEventId", UUID)
Uniqueid = NewType("Uniqueid", str)
Linkedid = NewType("Linkedid", str)
BridgeId = NewType("BridgeId", str)


class RecorderError(Exception):
    """Root of our own errors; `code` is stable and is what other programs may rely on."""

    code = "recorder_error"


def utc(at: datetime) -> datetime:
    """Return `at` in UTC; a naive datetime is a bug and raises ValueError."""
    if at.tzinfo is None:
        raise ValueError(f"naive datetime {at!r}: every time in this program is UTC-aware")
    return at.astimezone(UTC)


class Direction(StrEnum):
    """Who placed the call. The caller is the outside party either way."""

    INCOMING = "incoming"
    OUTGOING = "outgoing"


class ConsentMode(StrEnum):
    """How a line asks (CN-02). A line that says nothing is NEVER."""

    OPT_IN = "opt_in"
    OPT_OUT = "opt_out"
    NOTICE = "notice"
    NOT_REQUIRED = "not_required"
    NEVER = "never"


class ConsentState(StrEnum):
    """What a party's agreement stands at."""

    NONE = "none"
    ASKED = "asked"
    GIVEN = "given"
    REFUSED = "refused"
    UNANSWERED = "unanswered"
    NOTICED = "noticed"
    WITHDRAWN = "withdrawn"
    OVERRIDDEN = "overridden"
    NOT_REQUIRED = "not_required"
    PROHIBITED = "prohibited"


class OverrideReason(StrEnum):
    """Why an agent captures without consent (OV-02): a closed list, one key each."""

    EMERGENCY = "emergency"
    LEGAL = "legal"
    BUSINESS = "business"


class Outcome(StrEnum):
    """How a call ended; every ACD call has exactly one."""

    EXCLUDED = "excluded"
    ABANDONED = "abandoned"
    RECORDED = "recorded"
    DECLINED = "declined"
    LOST = "lost"


class LostReason(StrEnum):
    """Why a call that might have been recorded was not. A closed list: each one wakes somebody."""

    RECORDER_AWAY = "recorder_away"  # the whole dialogue, or the call, passed while no daemon ran
    PBX_AWAY = "pbx_away"  # no AMI connection: we could not have seen what was captured
    CATALOGUE_AWAY = "catalogue_away"  # the intention could not be written within its second
    SPOOL_UNREADY = "spool_unready"  # the spool was unwritable, open to strangers or short of space
    BUSY = "busy"  # more dialogues at once than we serve
    PROMPT_FAILED = "prompt_failed"  # a prompt was missing or could not be played (CN-16)
    DIALOGUE_FAILED = "dialogue_failed"  # the dialogue was cut by its leash or broke
    CAPTURE_FAILED = "capture_failed"  # Asterisk took the command and wrote no file, or stopped writing
    SETTLE_FAILED = "settle_failed"  # what was captured could not be turned into a recording


class RecordingStatus(StrEnum):
    """Where a recording stands in the catalogue."""

    AUTHORISED = "authorised"  # the intention is written; Asterisk has not confirmed
    ARMED = "armed"  # MixMonitor runs, bridged-only
    STOPPED = "stopped"  # closed by Asterisk; staged files wait to be settled
    SETTLED = "settled"  # one verified stereo WAV in its place
    EMPTY = "empty"  # no permitted bridge came: the header-only staged files are removed
    FAILED = "failed"  # there should be audio and there is none
    ERASING = "erasing"  # what was captured may not be kept: its files are still to be removed
    ERASED = "erased"  # removed, by a withdrawal or because the call was personal; the row says that it was


class KeyAct(StrEnum):
    """What a key in the talk asks for that needs no new permission. The same words stand in the dialplan."""

    PAUSE = "pause"
    RESUME = "resume"
    STOP = "stop"  # the caller withdraws, by their own key or by the agent's
    PERSONAL = "personal"


class SilenceCause(StrEnum):
    """Why a stretch of a recording is silent though the talk went on."""

    PAUSE = "pause"
    HOLD = "hold"


class Unrecorded(StrEnum):
    """Which do-not-record list names a call (SC-07)."""

    AGENT = "agent"
    DIALLED = "dialled"
    NUMBER = "number"


class RivalKind(StrEnum):
    """What captures or hears a call of ours without our authority."""

    MIXMONITOR = "mixmonitor"
    MONITOR = "monitor"  # the old Monitor()
    SPY = "spy"  # ChanSpy() or ExtenSpy() that writes a file
    LISTENER = "listener"  # the same, and only a person hears it: listening in, whispering
    SNOOP = "snoop"  # an ARI application hears the channel, and may write it
    CONFERENCE = "conference"  # a ConfBridge that records itself


class RivalPolicy(StrEnum):
    """What the house wants done about a rival."""

    STOP = "stop"
    REPORT = "report"
    PERMIT = "permit"  # of listeners only: not even reported


class RivalFate(StrEnum):
    """What became of a rival."""

    STOPPED = "stopped"
    MUTED = "muted"  # it runs on and gets silence
    LEFT = "left"  # the policy is to report
    RUNS_ON = "runs on"  # it cannot be stopped, or Asterisk did not confirm it
    OVER = "over"  # it had ended before it could be stopped
    ENDED_OURS = "ended ours"  # not a capture: somebody stopped ours


class PartyKind(StrEnum):
    """A leg's part in a call."""

    CALLER = "caller"
    AGENT = "agent"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """Asterisk's object as an event shows it. `name` may change (Rename); `uniqueid` is what we hold on to."""

    name: str
    uniqueid: Uniqueid
    linkedid: Linkedid


# --------------------------------------------------------------------------- what the PBX tells (AMI)


@dataclass(frozen=True, slots=True, kw_only=True)
class PbxEvent:
    """Something Asterisk said. `at`, UTC, is when: by Asterisk's stamp brought to our clock, else when we read it."""

    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerJoinedQueue(PbxEvent):
    channel: Channel
    queue: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerLeftQueue(PbxEvent):
    channel: Channel
    queue: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerAbandonedQueue(PbxEvent):
    channel: Channel
    queue: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentRung(PbxEvent):
    """The queue rings a member; `agent` is the leg that it made for that."""

    channel: Channel
    agent: Channel


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentConnected(PbxEvent):
    """The queue joined a member to the caller; `agent` is the member's leg at this moment."""

    channel: Channel
    agent: Channel
    queue: str
    interface: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DialBegan(PbxEvent):
    """`channel` is None where Asterisk dials by itself (Originate)."""

    channel: Channel | None
    dialled: Channel


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalBridged(PbxEvent):
    """The two halves of a Local channel, ;1 and ;2."""

    one: Channel
    two: Channel


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalOptimised(PbxEvent):
    """Asterisk begins to take this Local channel out of the path between those who stand at its halves."""

    one: Channel
    two: Channel


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A Local channel in the places of both legs of who transferred: `one` where the first stood, `two` the second."""

    second: Channel
    one: Channel
    two: Channel


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferAttended(PbxEvent):
    """An attended transfer is over. `channel` was transferred by `transferer`; `joined` with whom that had consulted.

    Not `joined`: it failed, made a conference of three, or joined the two in a way that no featuremap's key does. A
    `link` is what a telephone's second line makes of two queues (SIP REFER).
    """

    channel: Channel
    transferer: Channel
    joined: bool
    link: Link | None = None  # where two queues' bridges stay as they are, by what Asterisk has linked them


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeEntered(PbxEvent):
    """`bridge_type` is basic for queues and Dial; `channels` counts everybody in the bridge after this entry."""

    channel: Channel
    bridge: BridgeId
    bridge_type: str
    channels: int
    swapped: Uniqueid | None = None  # whose place it took (Local optimisation, transfers)


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeLeft(PbxEvent):
    channel: Channel
    bridge: BridgeId
    channels: int  # how many stay


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldBegan(PbxEvent):
    channel: Channel


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldEnded(PbxEvent):
    channel: Channel


@dataclass(frozen=True, slots=True, kw_only=True)
class MixMonitorStarted(PbxEvent):
    """Asterisk names neither file nor id here (ASTERISK facts: manager_channels.c), and a file need not exist."""

    channel: Channel


@dataclass(frozen=True, slots=True, kw_only=True)
class MixMonitorStopped(PbxEvent):
    channel: Channel


@dataclass(frozen=True, slots=True, kw_only=True)
class MixMonitorMuted(PbxEvent):
    channel: Channel
    direction: str
    muted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorStarted(PbxEvent):
    """The old Monitor() of Asterisk 16 to 20, which writes a file of its own."""

    channel: Channel


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorStopped(PbxEvent):
    channel: Channel


@dataclass(frozen=True, slots=True, kw_only=True)
class SpyBegan(PbxEvent):
    """ChanSpy(), ExtenSpy() or a snoop of ARI's: `spy` hears `channel`. Whether it writes too is not said."""

    channel: Channel
    spy: Channel


@dataclass(frozen=True, slots=True, kw_only=True)
class SpyEnded(PbxEvent):
    channel: Channel
    spy: Channel


@dataclass(frozen=True, slots=True, kw_only=True)
class ConferenceRecorded(PbxEvent):
    """A ConfBridge records itself. The channel that does it is inside Asterisk and shown nowhere."""

    bridge: BridgeId


@dataclass(frozen=True, slots=True, kw_only=True)
class ConferenceUnrecorded(PbxEvent):
    """Its recording was stopped, or the conference is over."""

    bridge: BridgeId


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelRenamed(PbxEvent):
    channel: Channel  # under its new name


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelHungUp(PbxEvent):
    channel: Channel


@dataclass(frozen=True, slots=True, kw_only=True)
class UserEventRaised(PbxEvent):
    """A UserEvent of our own dialplan: `name` begins with Recorder; `fields` are its body."""

    channel: Channel
    name: str
    fields: dict[str, str] = field(default_factory=dict)


# --------------------------------------------------------------------------- prompts


class PromptKind(StrEnum):
    """What a prompt is for."""

    LANGUAGE = "language"  # the menu; its key is never an answer
    QUESTION = "question"  # opt_in: press to agree, press to refuse
    OBJECTION = "objection"  # opt_out: announced, press to refuse
    NOTICE = "notice"  # announced, no key
    STOPPED = "stopped"  # in the talk, to a caller who withdrew: nothing more is recorded
    ERASED = "erased"  # the same, and what was recorded is erased (WD-04)
    RECORDED = "recorded"  # to the agent, before the bridge: this call is captured
    UNRECORDED = "unrecorded"  # the same: it is not
    OVERRIDDEN = "overridden"  # in the talk, to a caller whom an override captures: it is captured from now on


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """One recorded sentence in one language, and the proof of what it said."""

    id: str  # "question" or a house's own name
    kind: PromptKind
    language: str  # "en"
    version: str
    sha256: str  # of the WAV's bytes
    seconds: float
    min_played_ms: int  # cut before this, an answer does not count (CN-16)
    path: str  # as Asterisk sees it, absolute, without extension
    text: str
    choose: str | None = None  # the key that chooses this language, in a language menu


# --------------------------------------------------------------------------- facts the catalogue keeps


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOpened:
    """An ACD call of ours exists. `started_at` is its first sign of life at this node."""

    call: CallId
    node: str
    line: str
    direction: Direction
    mode: ConsentMode
    linkedid: Linkedid
    started_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LegSeen:
    """A channel took part in the call, as whom. `interface` is the queue member's, where a queue named one."""

    call: CallId
    channel: Channel
    kind: PartyKind
    at: datetime
    interface: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentRecorded:
    """One step of a party's consent (CE-01): an append-only row. `played_ms` is how much of the prompt was heard."""

    id: ConsentEventId
    call: CallId
    at: datetime
    before: ConsentState
    after: ConsentState
    channel: Uniqueid
    policy: str  # digest of the line's settings in force
    node: str
    line: str  # that the call is on, which may be its second
    mode: ConsentMode  # that applies there
    prompt: Prompt | None = None
    played_ms: int | None = None
    key: str | None = None  # only an accepted key is ever kept (PR-09)
    language: str | None = None
    actor: str | None = None  # who decided, where it was not the caller
    reason: OverrideReason | None = None
    basis: str | None = None  # the legal basis of not_required


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """An act of consequence by a person. Append-only; `id` is minted by who asks."""

    id: UUID
    at: datetime
    actor: str
    action: str  # "override"
    call: CallId
    recording: RecordingId | None
    details: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingAuthorised:
    """The intention to capture, written before anything is touched. `audit` is required of an override (OV-03)."""

    id: RecordingId
    call: CallId
    line: str  # the line that authorised it, which may be a call's second
    mode: ConsentMode
    at: datetime
    authorised_by: ConsentEventId
    state: ConsentState  # of the authorising event; the schema refuses one that does not permit
    channel: Channel
    sealed: bool = False
    audit: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Silenced:
    """A stretch of a recording that is silence (PR-08), in seconds from its first permitted bridge on."""

    cause: SilenceCause
    from_seconds: float
    to_seconds: float
    actor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingChanged:
    """A recording moved on. The catalogue applies it only from a status in `expected` (compare-and-set)."""

    id: RecordingId
    call: CallId
    at: datetime
    expected: frozenset[RecordingStatus]
    status: RecordingStatus
    mixmonitor: str | None = None
    bridged_at: datetime | None = None  # first permitted bridge
    bridged_seconds: float | None = None  # all permitted bridge time, pauses and holds included
    keep_seconds: float | None = None  # set where what lies behind is not proved to be permitted
    silences: tuple[Silenced, ...] = ()  # all of them, once it is stopped
    reason: LostReason | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingSettled:
    """The settled WAV: `samples` a channel, digest of the whole file, what the header repair did."""

    id: RecordingId
    call: CallId
    at: datetime
    samples: int
    rate: int
    sha256: str
    size: int
    findings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CallEnded:
    """The one outcome. `reason` exactly where the outcome is lost."""

    call: CallId
    ended_at: datetime
    outcome: Outcome
    reason: LostReason | None = None


Fact = (
    CallOpened
    | LegSeen
    | ConsentRecorded
    | AuditEntry
    | RecordingAuthorised
    | RecordingChanged
    | RecordingSettled
    | CallEnded
)
