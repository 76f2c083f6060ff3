"""What the catalogue tells: frozen rows and the small values that questions are answered with.

Owns no decision and no SQL. A row's fields are its table's columns; every datetime is UTC-aware, `None` means not
(yet) so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from recorder.chain import NOTHING, Link, moment
from recorder.model import (
    CallId,
    ConsentEventId,
    ConsentMode,
    ConsentState,
    Direction,
    Linkedid,
    LostReason,
    Outcome,
    OverrideReason,
    PartyKind,
    PromptKind,
    RecordingId,
    RecordingStatus,
    Silenced,
    Uniqueid,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalRow:
    """One step of a call's machine, as it was taken; `seq` counts within the call. A replay gives the call's state."""

    seq: int
    at: datetime
    name: str  # the event's, in the past tense
    old_phase: str
    new_phase: str
    fields: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRow:
    id: CallId
    node: str
    line: str
    direction: Direction
    mode: ConsentMode
    linkedid: Linkedid
    phase: str
    consent: ConsentState
    started_at: datetime
    ended_at: datetime | None
    outcome: Outcome | None
    reason: LostReason | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LegRow:
    call: CallId
    uniqueid: Uniqueid
    linkedid: Linkedid
    channel: str
    kind: PartyKind
    interface: str | None
    seen_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptRow:
    """A prompt version that was played. `number` is the catalogue's own."""

    number: int
    id: str
    kind: PromptKind
    language: str
    version: str
    sha256: str
    seconds: float
    min_played_ms: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentRow:
    """One consent event; `prompt` is the number of a PromptRow, `seq` the order of writing over all calls."""

    seq: int
    id: ConsentEventId
    call: CallId
    at: datetime
    before: ConsentState
    after: ConsentState
    channel: Uniqueid
    policy: str
    prompt: int | None
    played_ms: int | None
    key: str | None
    language: str | None
    actor: str | None
    reason: OverrideReason | None
    basis: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainRow:
    """One link of a node's chain, with the digests that it must name; these are None where there is no such link.

    `consent` is None where the link is the end of the call; `salt` and `body` are None where they were erased.
    """

    node: str
    seq: int
    at: datetime
    call: CallId
    consent: ConsentEventId | None
    salt: str | None
    body: str | None
    commitment: str
    digest: str
    previous: str | None
    further: str | None

    @property
    def link(self) -> Link:
        """The link as its digest is made; what is not there counts as nothing."""
        return Link(
            node=self.node,
            seq=self.seq,
            at=moment(self.at),
            commitment=self.commitment,
            previous=self.previous or NOTHING,
            further=self.further or NOTHING,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Chained:
    """A link and what the rest of the catalogue says of its subject: a consent event with its prompt, or a call."""

    link: ChainRow
    event: ConsentRow | None = None
    prompt: PromptRow | None = None
    call: CallRow | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unchained:
    """A consent event that no link commits to; `consent` is None where it is the end of the call."""

    call: CallId
    consent: ConsentEventId | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRow:
    seq: int
    id: UUID
    at: datetime
    actor: str
    action: str
    call: CallId
    recording: RecordingId | None
    details: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingRow:
    """`samples` are a channel's, `size` is in bytes, `changed_at` is when `status` last changed."""

    id: RecordingId
    call: CallId
    line: str
    mode: ConsentMode
    status: RecordingStatus
    authorised_by: ConsentEventId
    authorising_state: ConsentState
    channel: str
    uniqueid: Uniqueid
    sealed: bool
    audit: UUID | None
    authorised_at: datetime
    armed_at: datetime | None
    bridged_at: datetime | None
    stopped_at: datetime | None
    settled_at: datetime | None
    erased_at: datetime | None
    changed_at: datetime
    analysed_at: datetime | None
    bridged_seconds: float | None
    keep_seconds: float | None
    silences: tuple[Silenced, ...]
    mixmonitor: str | None
    samples: int | None
    rate: int | None
    sha256: str | None
    size: int | None
    findings: tuple[str, ...]
    measures: dict[str, float]
    reason: LostReason | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeCall:
    """A call and everything that belongs to it; the parts in the order in which they happened."""

    call: CallRow
    legs: tuple[LegRow, ...]
    consents: tuple[ConsentRow, ...]
    prompts: tuple[PromptRow, ...]  # those that its consents name
    recordings: tuple[RecordingRow, ...]
    journal: tuple[JournalRow, ...]
    audit: tuple[AuditRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What /status says of the catalogue: calls lost since a moment by reason, recordings by status."""

    open_calls: int
    lost: Mapping[LostReason, int]
    recordings: Mapping[RecordingStatus, int]
    to_analyse: int  # settled and not yet analysed
    oldest_to_settle: datetime | None  # since when the longest waiting one waits


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRow:
    """A line's settings, `first_at` in force on that node; the recorder of that `version` read them."""

    digest: str
    node: str
    line: str
    settings: str
    version: str
    first_at: datetime


class FileAction(StrEnum):
    """What is, and then was, done with a file that no recording claims: the intention, and the result."""

    QUARANTINING = "quarantining"
    QUARANTINED = "quarantined"
    ERASING = "erasing"
    ERASED = "erased"
    RESTORING = "restoring"
    RESTORED = "restored"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileAct:
    """A person's act on a file. `of_file` is the same in its intention and its result, and names it in quarantine."""

    id: UUID
    of_file: UUID
    at: datetime
    node: str
    actor: str
    action: FileAction
    path: str  # where the file lay
    size: int
    sha256: str
    recording: RecordingId | None  # by the file's name
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BookedCall:
    """A call as Asterisk's ledgers can be compared with it: by ids. `own` are the legs that it began with.

    These are the caller's of an incoming call, the agent's of an outgoing one.
    """

    id: CallId
    direction: Direction
    started_at: datetime
    ended_at: datetime | None
    outcome: Outcome | None
    own: frozenset[Uniqueid]
    uniqueids: frozenset[Uniqueid]
    linkedids: frozenset[Linkedid]


def booked(call: CallRow, legs: Iterable[LegRow]) -> BookedCall:
    """The call with the ids of its legs."""
    legs = tuple(legs)
    begins = PartyKind.CALLER if call.direction is Direction.INCOMING else PartyKind.AGENT
    return BookedCall(
        id=call.id,
        direction=call.direction,
        started_at=call.started_at,
        ended_at=call.ended_at,
        outcome=call.outcome,
        own=frozenset(leg.uniqueid for leg in legs if leg.kind is begins),
        uniqueids=frozenset(leg.uniqueid for leg in legs),
        linkedids=frozenset((call.linkedid, *(leg.linkedid for leg in legs))),
    )
