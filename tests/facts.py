"""Facts of one call, for tests: a caller, an agent, and what was agreed. Every value can be named by the test."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from recorder.catalogue import FileAct, FileAction, JournalRow
from recorder.comments import CommentAct, CommentAction
from recorder.contests import ContestAct, ContestAction
from recorder.model import (
    AuditEntry,
    CallId,
    CallOpened,
    Channel,
    ConsentEventId,
    ConsentMode,
    ConsentRecorded,
    ConsentState,
    Direction,
    LegSeen,
    Linkedid,
    OverrideReason,
    PartyKind,
    Prompt,
    PromptKind,
    RecordingAuthorised,
    RecordingChanged,
    RecordingId,
    RecordingSettled,
    RecordingStatus,
    Uniqueid,
)
from recorder.releases import ReleaseAct, ReleaseAction
from recorder.rights import Role, UserAct, UserAction

NODE = "pbx1"
NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
QUESTION = Prompt(
    id="question",
    kind=PromptKind.QUESTION,
    language="en",
    version="1",
    sha256="a" * 64,
    seconds=6.5,
    min_played_ms=3000,
    path="/usr/share/asterisk/sounds/recorder/en/question",
    text="This call may be recorded for training. Press 1 to agree, 2 to refuse.",
)

OVERRIDDEN = Prompt(
    id="overridden",
    kind=PromptKind.OVERRIDDEN,
    language="en",
    version="1",
    sha256="c" * 64,
    seconds=2.3,
    min_played_ms=0,
    path="/usr/share/asterisk/sounds/recorder/en/overridden",
    text="From now on, this call is recorded.",
)


def override_for(*reasons: str, **terms: object) -> dict[str, dict[str, object]]:
    """A line's `override` with these reasons; `terms` are said of each, beside its legal basis and rule."""
    return {reason: {"legal_basis": f"the law on {reason}", "retention": "overridden"} | terms for reason in reasons}


def later(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def new_call() -> CallId:
    return CallId(uuid4())


def caller(call: CallId) -> Channel:
    uniqueid = f"pbx1-{call.int % 10**9}.1"
    return Channel(name="PJSIP/trunk-00000001", uniqueid=Uniqueid(uniqueid), linkedid=Linkedid(uniqueid))


def agent(call: CallId) -> Channel:
    linkedid = caller(call).linkedid
    return Channel(name="PJSIP/alice-00000002", uniqueid=Uniqueid(f"{linkedid}2"), linkedid=linkedid)


def opened(call: CallId, mode: ConsentMode = ConsentMode.OPT_IN, node: str = NODE, line: str = "support") -> CallOpened:
    return CallOpened(
        call=call,
        node=node,
        line=line,
        direction=Direction.INCOMING,
        mode=mode,
        linkedid=caller(call).linkedid,
        started_at=NOON,
    )


def leg(call: CallId) -> LegSeen:
    return LegSeen(call=call, channel=caller(call), kind=PartyKind.CALLER, at=NOON)


def answered(
    call: CallId,
    after: ConsentState = ConsentState.GIVEN,
    before: ConsentState = ConsentState.ASKED,
    prompt: Prompt | None = QUESTION,
    node: str = NODE,
) -> ConsentRecorded:
    event = ConsentRecorded(
        id=ConsentEventId(uuid4()),
        call=call,
        at=later(5),
        before=before,
        after=after,
        channel=caller(call).uniqueid,
        policy="f" * 64,
        node=node,
        line="support",
        mode=ConsentMode.OPT_IN,
        prompt=prompt,
        played_ms=4000,
        key="1",
        language="en",
    )
    if after is ConsentState.NOT_REQUIRED:
        return replace(event, basis="a contract's own clause", prompt=None, played_ms=None, key=None)
    if after is ConsentState.OVERRIDDEN:
        return replace(event, actor="PJSIP/alice", reason=OverrideReason.EMERGENCY, prompt=None, key=None)
    return event


def authorised(
    event: ConsentRecorded,
    sealed: bool = False,
    audit: UUID | None = None,
    mode: ConsentMode = ConsentMode.OPT_IN,
) -> RecordingAuthorised:
    return RecordingAuthorised(
        id=RecordingId(uuid4()),
        call=event.call,
        line="support",
        mode=mode,
        at=later(5),
        authorised_by=event.id,
        state=event.after,
        channel=caller(event.call),
        sealed=sealed,
        audit=audit,
    )


def override_audit(recording: RecordingAuthorised) -> AuditEntry:
    return AuditEntry(
        id=uuid4(),
        at=later(5),
        actor="PJSIP/alice",
        action="override",
        call=recording.call,
        recording=recording.id,
        details={"reason": "emergency"},
    )


def changed(
    recording: RecordingAuthorised, expected: RecordingStatus, status: RecordingStatus, seconds: float = 6
) -> RecordingChanged:
    return RecordingChanged(
        id=recording.id, call=recording.call, at=later(seconds), expected=frozenset({expected}), status=status
    )


def settled(recording: RecordingAuthorised) -> RecordingSettled:
    return RecordingSettled(
        id=recording.id,
        call=recording.call,
        at=later(60),
        samples=400_000,
        rate=8000,
        sha256="b" * 64,
        size=1_600_044,
        findings=("header_repaired",),
    )


def step(seq: int, name: str = "CallerJoinedQueue", **fields: str) -> JournalRow:
    return JournalRow(seq=seq, at=later(seq), name=name, old_phase="waiting", new_phase="waiting", fields=fields)


def file_act() -> FileAct:
    """Somebody is about to erase a file."""
    return FileAct(
        id=uuid4(),
        of_file=uuid4(),
        at=NOON,
        node=NODE,
        actor="ada",
        action=FileAction.ERASING,
        path="/var/spool/recorder/strange.wav",
        size=44,
        sha256="b" * 64,
        recording=None,
        reason="nobody agreed",
    )


def user_act(
    action: UserAction = UserAction.ADDED,
    user: str = "alice",
    *,
    at: str | None = None,
    line: str | None = None,
    role: Role = Role.OVERRIDER,
) -> UserAct:
    """Done to somebody; `at` is a telephone of NODE, and `role` is what is granted on `line`."""
    return UserAct(
        id=uuid4(),
        at=NOON,
        actor="root",
        user=user,
        action=action,
        node=NODE if action is UserAction.SEATED else None,
        interface=at,
        role=role if line is not None else None,
        line=line,
    )


CONTEST = UUID(int=10)
CONTESTED_CALL = CallId(UUID(int=11))


def contest_act(
    action: ContestAction = ContestAction.CONTESTED,
    *,
    by: str | None = None,
    key: UUID = CONTEST,
    call: CallId = CONTESTED_CALL,
    at: datetime = NOON,
    listen: UUID | None = None,
) -> ContestAct:
    """Said of a call of alice's on line support, or of lena's listening to it; bob answers."""
    is_first = action is ContestAction.CONTESTED
    return ContestAct(
        id=key if is_first else uuid4(),
        at=at,
        actor=by or ("alice" if is_first else "bob"),
        token=None,
        contest=key,
        action=action,
        node=NODE,
        call=call,
        line="support",
        agent="alice",
        listen=listen,
        listener=None if listen is None else "lena",
        said="it was personal" if is_first else "it was: it is taken out",
    )


COMMENT = UUID(int=13)
COMMENTED = RecordingId(UUID(int=14))


def comment_act(
    action: CommentAction = CommentAction.WRITTEN,
    *,
    by: str = "lena",
    key: UUID = COMMENT,
    recording: RecordingId = COMMENTED,
    at: datetime = NOON,
    moment_ms: int = 5000,
    said: str = "the greeting is missing",
) -> CommentAct:
    """Said of a recording on line support, or withdrawn."""
    is_first = action is CommentAction.WRITTEN
    return CommentAct(
        id=key if is_first else uuid4(),
        at=at,
        actor=by,
        token=None,
        comment=key,
        action=action,
        recording=recording,
        call=CONTESTED_CALL,
        line="support",
        moment_ms=moment_ms if is_first else None,
        said=said if is_first else None,
    )


RELEASE = UUID(int=9)
UNTIL = NOON + timedelta(days=30)


def release_act(
    action: ReleaseAction = ReleaseAction.ASKED,
    *,
    by: str | None = None,
    key: UUID = RELEASE,
    line: str = "support",
    at: datetime = NOON,
    until: datetime = UNTIL,
    reference: str = "Act 12, s. 3",
) -> ReleaseAct:
    """Done to a release of line support: alice asks, bob decides."""
    is_asked = action is ReleaseAction.ASKED
    return ReleaseAct(
        id=key if is_asked else uuid4(),
        at=at,
        actor=by or ("alice" if is_asked else "bob"),
        release=key,
        line=line,
        asker=by or "alice" if is_asked else "alice",
        action=action,
        reference=reference if is_asked else None,
        until=until if is_asked else None,
    )
