"""The catalogue's tables, in one place: the same metadata for SQLite and PostgreSQL.

Owns columns, constraints and how a value is stored; must not open a connection. db/versions makes the same schema (a
test compares them) and adds the triggers that keep APPEND_ONLY tables so. The invariant: a recording row cannot exist
without the consent event that permits it (`recordings`' foreign keys and checks).
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from recorder.catalogue.rows import FileAction
from recorder.comments import CommentAction
from recorder.contests import ContestAction
from recorder.listens import ListenKind, Medium, Unheard
from recorder.model import (
    ConsentMode,
    ConsentState,
    Direction,
    LostReason,
    Outcome,
    OverrideReason,
    PartyKind,
    PromptKind,
    RecordingStatus,
    SilenceCause,
    Silenced,
    utc,
)
from recorder.releases import ReleaseAction
from recorder.rights import UserAction
from recorder.signing_in import SignInAction


class UtcDateTime(TypeDecorator[datetime]):
    """Takes aware datetimes only (ValueError otherwise), stores UTC, gives UTC-aware ones back."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else utc(value)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        # SQLite keeps no zone: what it gives back is the UTC that was put in.
        return utc(value if value.tzinfo else value.replace(tzinfo=UTC))


class Word(TypeDecorator[StrEnum]):
    """A StrEnum kept as its short string; `one_of` writes the CHECK that goes with it."""

    impl = String(32)
    cache_ok = True

    def __init__(self, words: type[StrEnum]) -> None:
        super().__init__()
        self.words = words

    def process_bind_param(self, value: StrEnum | str | None, dialect: Dialect) -> str | None:
        return None if value is None else self.words(value).value

    def process_result_value(self, value: str | None, dialect: Dialect) -> StrEnum | None:
        return None if value is None else self.words(value)


class Texts(TypeDecorator[tuple[str, ...]]):
    """A tuple of strings, kept as a JSON list."""

    impl = JSON
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        kind = JSONB if dialect.name == "postgresql" else JSON
        return dialect.type_descriptor(kind(none_as_null=True))

    def process_bind_param(self, value: tuple[str, ...] | None, dialect: Dialect) -> list[str] | None:
        return None if value is None else list(value)

    def process_result_value(self, value: list[str] | None, dialect: Dialect) -> tuple[str, ...] | None:
        return None if value is None else tuple(value)


class Ledger(TypeDecorator[tuple[Silenced, ...]]):
    """A recording's silences, kept as a JSON list of objects."""

    impl = JSON
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        return dialect.type_descriptor(JSONB() if dialect.name == "postgresql" else JSON())

    def process_bind_param(self, value: tuple[Silenced, ...] | None, dialect: Dialect) -> list[dict[str, Any]] | None:
        return None if value is None else [asdict(silence) for silence in value]

    def process_result_value(self, value: list[dict[str, Any]] | None, dialect: Dialect) -> tuple[Silenced, ...] | None:
        if value is None:
            return None
        return tuple(Silenced(**(silence | {"cause": SilenceCause(silence["cause"])})) for silence in value)


JSON_VALUE = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
COUNTER = BigInteger().with_variant(Integer(), "sqlite")  # SQLite counts by itself only in an INTEGER key

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)


def one_of(column: str, words: type[StrEnum] | tuple[StrEnum, ...]) -> CheckConstraint:
    """The CHECK that keeps `column` to these words; NULL passes."""
    listed = ", ".join(f"'{word.value}'" for word in words)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


AUTHORISING = (
    ConsentState.GIVEN,
    ConsentState.NOTICED,
    ConsentState.NOT_REQUIRED,
    ConsentState.OVERRIDDEN,
    ConsentState.UNANSWERED,
)

ASKING = (PromptKind.LANGUAGE, PromptKind.QUESTION, PromptKind.OBJECTION, PromptKind.NOTICE)
"""The prompts that a consent event can name; the others are said in the talk, after it."""

REASONED = text("reason IS NOT NULL")
SEATED = text("interface IS NOT NULL")
NOTICED = text("findings <> '[]'")
"""Of what few rows have, an index holds those alone."""

calls = Table(
    "calls",
    metadata,
    Column("id", Uuid, nullable=False),
    Column("node", String(64), nullable=False),
    Column("line", String(64), nullable=False),
    Column("direction", Word(Direction), nullable=False),
    Column("mode", Word(ConsentMode), nullable=False),
    Column("linkedid", String(255), nullable=False),
    Column("phase", String(32), nullable=False),
    Column("consent", Word(ConsentState), nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime),
    Column("outcome", Word(Outcome)),
    Column("reason", Word(LostReason)),
    PrimaryKeyConstraint("id"),
    one_of("direction", Direction),
    one_of("mode", ConsentMode),
    one_of("consent", ConsentState),
    one_of("outcome", Outcome),
    one_of("reason", LostReason),
    CheckConstraint("(ended_at IS NULL) = (outcome IS NULL)", name="outcome_at_end"),
    CheckConstraint("(reason IS NOT NULL) = (outcome IS NOT NULL AND outcome = 'lost')", name="reason_where_lost"),
    Index(None, "node", "outcome", "ended_at"),
    Index(None, "started_at"),
    Index(None, "linkedid"),
    Index(None, "consent", "started_at"),
    Index("ix_calls_lost", "started_at", sqlite_where=REASONED, postgresql_where=REASONED),
)

legs = Table(
    "legs",
    metadata,
    Column("call", Uuid, ForeignKey("calls.id"), nullable=False),
    Column("uniqueid", String(255), nullable=False),
    Column("linkedid", String(255), nullable=False),
    Column("channel", String(255), nullable=False),
    Column("kind", Word(PartyKind), nullable=False),
    Column("interface", String(255)),
    Column("seen_at", UtcDateTime, nullable=False),
    PrimaryKeyConstraint("call", "uniqueid"),
    one_of("kind", PartyKind),
    Index(None, "uniqueid"),
    Index(None, "linkedid"),
    Index("ix_legs_seated", "interface", "kind", "call", sqlite_where=SEATED, postgresql_where=SEATED),
)

prompts = Table(
    "prompts",
    metadata,
    Column("number", COUNTER, nullable=False, autoincrement=True),
    Column("id", String(64), nullable=False),
    Column("kind", Word(PromptKind), nullable=False),
    Column("language", String(16), nullable=False),
    Column("version", String(64), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("seconds", Double, nullable=False),
    Column("min_played_ms", Integer, nullable=False),
    Column("text", Text, nullable=False),
    PrimaryKeyConstraint("number"),
    # What must be heard of a prompt is a setting: the same WAV under another setting is another row.
    UniqueConstraint("sha256", "id", "language", "version", "min_played_ms", name="uq_prompts_version"),
    one_of("kind", ASKING),
)

consent_events = Table(
    "consent_events",
    metadata,
    Column("seq", COUNTER, nullable=False, autoincrement=True),
    Column("id", Uuid, nullable=False),
    Column("call", Uuid, ForeignKey("calls.id"), nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("before", Word(ConsentState), nullable=False),
    Column("after", Word(ConsentState), nullable=False),
    Column("channel", String(255), nullable=False),
    Column("policy", String(64), nullable=False),
    Column("prompt", COUNTER, ForeignKey("prompts.number")),
    Column("played_ms", Integer),
    Column("key", String(1)),
    Column("language", String(16)),
    Column("actor", String(255)),
    Column("reason", Word(OverrideReason)),
    Column("basis", Text),
    PrimaryKeyConstraint("seq"),
    UniqueConstraint("id"),
    UniqueConstraint("id", "after", "call"),  # what a recording's authority refers to
    one_of("before", ConsentState),
    one_of("after", ConsentState),
    one_of("reason", OverrideReason),
    CheckConstraint("(after = 'overridden') = (reason IS NOT NULL)", name="reason_where_overridden"),
    CheckConstraint("length(key) = 1", name="one_key"),
    CheckConstraint("after <> 'overridden' OR actor IS NOT NULL", name="actor_where_overridden"),
    CheckConstraint("after <> 'not_required' OR basis IS NOT NULL", name="basis_where_not_required"),
    Index(None, "call"),
    Index("ix_consent_events_overridden", "reason", "call", sqlite_where=REASONED, postgresql_where=REASONED),
)

audit = Table(
    "audit",
    metadata,
    Column("seq", COUNTER, nullable=False, autoincrement=True),
    Column("id", Uuid, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("actor", String(255), nullable=False),
    Column("action", String(32), nullable=False),
    Column("call", Uuid, ForeignKey("calls.id"), nullable=False),
    Column("recording", Uuid),  # no foreign key: the act is written before its recording, and outlives it
    Column("details", JSON_VALUE, nullable=False),
    PrimaryKeyConstraint("seq"),
    UniqueConstraint("id"),
    UniqueConstraint("id", "recording"),  # what an overridden recording's audit row refers to
    Index(None, "call"),
)

recordings = Table(
    "recordings",
    metadata,
    Column("id", Uuid, nullable=False),
    Column("call", Uuid, nullable=False),
    Column("line", String(64), nullable=False),
    Column("mode", Word(ConsentMode), nullable=False),
    Column("status", Word(RecordingStatus), nullable=False),
    Column("authorised_by", Uuid, nullable=False),
    Column("authorising_state", Word(ConsentState), nullable=False),
    Column("channel", String(255), nullable=False),
    Column("uniqueid", String(255), nullable=False),
    Column("sealed", Boolean, nullable=False),
    Column("audit", Uuid),
    Column("authorised_at", UtcDateTime, nullable=False),
    Column("armed_at", UtcDateTime),
    Column("bridged_at", UtcDateTime),
    Column("stopped_at", UtcDateTime),
    Column("settled_at", UtcDateTime),
    Column("changed_at", UtcDateTime, nullable=False),
    Column("analysed_at", UtcDateTime),
    Column("bridged_seconds", Double),
    Column("keep_seconds", Double),
    Column("mixmonitor", String(64)),
    Column("samples", BigInteger),
    Column("rate", Integer),
    Column("sha256", String(64)),
    Column("size", BigInteger),
    Column("findings", Texts, nullable=False),
    Column("measures", JSON_VALUE, nullable=False),
    Column("reason", Word(LostReason)),
    Column("erased_at", UtcDateTime),
    Column("silences", Ledger, nullable=False),
    PrimaryKeyConstraint("id"),
    ForeignKeyConstraint(["call"], ["calls.id"]),
    ForeignKeyConstraint(
        ["authorised_by", "authorising_state", "call"],
        ["consent_events.id", "consent_events.after", "consent_events.call"],
    ),
    ForeignKeyConstraint(["audit", "id"], ["audit.id", "audit.recording"]),
    one_of("authorising_state", AUTHORISING),
    one_of("status", RecordingStatus),
    one_of("reason", LostReason),
    CheckConstraint("authorising_state <> 'unanswered' OR mode = 'opt_out'", name="unanswered_where_opt_out"),
    CheckConstraint("authorising_state <> 'overridden' OR (audit IS NOT NULL AND sealed)", name="override_audited"),
    CheckConstraint(
        "status <> 'settled' OR (settled_at IS NOT NULL AND samples IS NOT NULL AND rate IS NOT NULL"
        " AND sha256 IS NOT NULL AND size IS NOT NULL)",
        name="settled_whole",
    ),
    CheckConstraint("status <> 'failed' OR reason IS NOT NULL", name="reason_where_failed"),
    CheckConstraint("status <> 'erased' OR erased_at IS NOT NULL", name="erased_when"),
    CheckConstraint("analysed_at IS NULL OR settled_at IS NOT NULL", name="analysed_after_settled"),
    Index(None, "call"),
    Index(None, "status", "analysed_at"),
    Index("ix_recordings_noticed", "call", sqlite_where=NOTICED, postgresql_where=NOTICED),
)

waveforms = Table(
    "waveforms",  # beside recordings, of which rows are read by the hundred
    metadata,
    Column("recording", Uuid, nullable=False),
    Column("made_at", UtcDateTime, nullable=False),
    Column("window_ms", Integer, nullable=False),
    Column("caller", LargeBinary, nullable=False),
    Column("agent", LargeBinary, nullable=False),
    Column("silences", JSON_VALUE, nullable=False),
    Column("talk_overs", JSON_VALUE, nullable=False),
    PrimaryKeyConstraint("recording"),
    ForeignKeyConstraint(["recording"], ["recordings.id"]),
    CheckConstraint("window_ms > 0", name="window"),
    CheckConstraint("length(caller) <= 1000 AND length(agent) <= 1000", name="small"),
)

call_events = Table(
    "call_events",
    metadata,
    Column("call", Uuid, ForeignKey("calls.id"), nullable=False),
    Column("seq", Integer, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("name", String(64), nullable=False),
    Column("old_phase", String(32), nullable=False),
    Column("new_phase", String(32), nullable=False),
    Column("fields", JSON_VALUE, nullable=False),
    PrimaryKeyConstraint("call", "seq"),
)

bookmarks = Table(
    "bookmarks",
    metadata,
    Column("node", String(64), nullable=False),
    Column("name", String(64), nullable=False),
    Column("value", JSON_VALUE, nullable=False),
    PrimaryKeyConstraint("node", "name"),
)

sweeps = Table(
    "sweeps",
    metadata,
    Column("node", String(64), nullable=False),
    Column("name", String(64), nullable=False),
    Column("last_ok_at", UtcDateTime, nullable=False),
    PrimaryKeyConstraint("node", "name"),
)

file_acts = Table(
    "file_acts",
    metadata,
    Column("seq", COUNTER, nullable=False, autoincrement=True),
    Column("id", Uuid, nullable=False),
    Column("of_file", Uuid, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("node", String(64), nullable=False),
    Column("actor", String(255), nullable=False),
    Column("action", Word(FileAction), nullable=False),
    Column("path", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("recording", Uuid),  # no foreign key: most of these files have no recording
    Column("reason", Text, nullable=False),
    PrimaryKeyConstraint("seq"),
    UniqueConstraint("id"),
    one_of("action", FileAction),
    CheckConstraint("length(reason) > 0", name="said_why"),
    Index(None, "of_file"),
)

chain = Table(
    "chain",
    metadata,
    Column("node", String(64), nullable=False),
    Column("seq", BigInteger, nullable=False),  # without a gap in each node: recorder.catalogue.chaining counts
    Column("at", UtcDateTime, nullable=False),  # when it was chained, by the writer's clock
    Column("call", Uuid, nullable=False),  # no foreign keys: the link outlives what it commits to
    Column("consent", Uuid),  # the consent event; NULL where the link is the call's end
    Column("salt", String(64)),  # these two can be erased one day, and the chain stays whole
    Column("body", Text),
    Column("commitment", String(64), nullable=False),
    Column("digest", String(64), nullable=False),
    PrimaryKeyConstraint("node", "seq"),
    UniqueConstraint("consent"),
    CheckConstraint("(salt IS NULL) = (body IS NULL)", name="salt_with_body"),
    CheckConstraint("seq > 0", name="seq_from_one"),
    Index(None, "call"),
    Index(None, "node", "at"),
)

numbers = Table(
    "numbers",
    metadata,
    Column("call", Uuid, nullable=False),  # no foreign key: the call's own row may still be on its way
    Column("digest", String(80), nullable=False),
    PrimaryKeyConstraint("call", "digest"),
    Index(None, "digest"),
)

policies = Table(
    "policies",
    metadata,
    Column("digest", String(64), nullable=False),  # what consent_events.policy names
    Column("node", String(64), nullable=False),
    Column("line", String(64), nullable=False),
    Column("settings", Text, nullable=False),  # with the line's name before it, what the digest was taken of
    Column("version", String(64), nullable=False),  # of the recorder that read them
    Column("first_at", UtcDateTime, nullable=False),  # when they were first in force on this node
    PrimaryKeyConstraint("digest", "node"),
    CheckConstraint("length(settings) > 0", name="said"),
    Index(None, "line", "first_at"),
)

user_acts = Table(
    "user_acts",
    metadata,
    Column("seq", COUNTER, nullable=False, autoincrement=True),
    Column("id", Uuid, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("actor", String(255), nullable=False),
    Column("of_user", String(64), key="user", nullable=False),  # PostgreSQL has a meaning of its own for `user`
    # A word that this program does not know says nothing to it: rows outlive a way back.
    Column("action", String(32), nullable=False),
    Column("node", String(64)),
    Column("interface", String(255)),
    Column("role", String(32)),
    Column("line", String(64)),
    PrimaryKeyConstraint("seq"),
    UniqueConstraint("id"),
    one_of("action", UserAction),
    CheckConstraint(
        "(action IN ('granted', 'revoked')) = (role IS NOT NULL AND line IS NOT NULL)", name="role_and_line"
    ),
    CheckConstraint("(action = 'seated') = (node IS NOT NULL)", name="node_where_seated"),
    CheckConstraint("interface IS NULL OR node IS NOT NULL", name="interface_of_a_node"),
    Index(None, "user"),
    Index(None, "node", "interface"),
)

release_acts = Table(
    "release_acts",
    metadata,
    Column("seq", COUNTER, nullable=False, autoincrement=True),
    Column("id", Uuid, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("actor", String(64), nullable=False),
    Column("of_release", Uuid, key="release", nullable=False),  # the id of the act that asked for it
    Column("line", String(64), nullable=False),
    Column("asker", String(64), nullable=False),
    # A word that this program does not know says nothing to it: rows outlive a way back.
    Column("action", String(32), nullable=False),
    Column("reference", String(200)),
    Column("until", UtcDateTime),
    PrimaryKeyConstraint("seq"),
    UniqueConstraint("id"),
    UniqueConstraint("id", "actor", "line"),  # for the reference below
    UniqueConstraint("release", "action"),
    # What is done to a release names who asked for it, and for which line, as the act that asked does ...
    ForeignKeyConstraint(["release", "asker", "line"], ["release_acts.id", "release_acts.actor", "release_acts.line"]),
    one_of("action", ReleaseAction),
    CheckConstraint("(action = 'asked') = (of_release = id)", name="asked_first"),
    CheckConstraint("(action = 'asked') = (reference IS NOT NULL AND until IS NOT NULL)", name="terms_where_asked"),
    CheckConstraint("until IS NULL OR until > at", name="ends_later"),
    CheckConstraint("action <> 'approved' OR actor <> asker", name="second_person"),  # ... so that this holds
    Index(None, "line"),
)

passwords = Table(
    "passwords",
    metadata,
    Column("of_user", String(64), key="user", nullable=False),
    Column("kept", String(255), nullable=False),  # by the hasher, with its salt
    Column("set_at", UtcDateTime, nullable=False),
    Column("must_change", Boolean, nullable=False),
    PrimaryKeyConstraint("user"),
)

sessions = Table(
    "sessions",
    metadata,
    Column("digest", String(64), nullable=False),  # of the browser's secret
    Column("of_user", String(64), key="user", nullable=False),
    Column("began_at", UtcDateTime, nullable=False),
    Column("seen_at", UtcDateTime, nullable=False),
    Column("address", String(64), nullable=False),
    Column("ended_at", UtcDateTime),
    PrimaryKeyConstraint("digest"),
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", Uuid, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("of_user", String(64), key="user", nullable=False),
    Column("label", String(64), nullable=False),
    Column("rights", JSON_VALUE),  # none: all that the person may
    Column("lines", JSON_VALUE),
    Column("issued_at", UtcDateTime, nullable=False),
    Column("issued_by", String(255), nullable=False),
    Column("until", UtcDateTime, nullable=False),
    Column("withdrawn_at", UtcDateTime),
    PrimaryKeyConstraint("id"),
    UniqueConstraint("digest"),
    Index(None, "user"),
)

sign_ins = Table(
    "sign_ins",
    metadata,
    Column("seq", COUNTER, nullable=False, autoincrement=True),
    Column("id", Uuid, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("of_user", String(64), key="user"),  # none: nobody is called what was typed, which is not kept
    Column("action", String(32), nullable=False),
    Column("actor", String(255)),
    Column("address", String(64)),
    Column("token", Uuid),
    PrimaryKeyConstraint("seq"),
    UniqueConstraint("id"),
    one_of("action", SignInAction),
    Index(None, "user", "at"),
)

listens = Table(
    "listens",
    metadata,
    Column("node", String(64), nullable=False),
    Column("seq", BigInteger, nullable=False),  # without a gap in each node
    Column("id", Uuid, nullable=False),
    Column("listen", Uuid, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("kind", Word(ListenKind), nullable=False),
    Column("listener", String(64), nullable=False),
    Column("recording", Uuid),  # no foreign keys: who listened outlives what they heard
    Column("call", Uuid),
    Column("line", String(64)),
    Column("roles", Texts, nullable=False),
    Column("token", String(64)),
    Column("agents", Texts, nullable=False),
    Column("medium", Word(Medium)),
    Column("purpose", String(64)),
    Column("explanation", Text),
    Column("address", String(64)),
    Column("policy", String(64)),
    Column("why", Word(Unheard)),
    Column("began_ms", BigInteger),
    Column("ended_ms", BigInteger),
    Column("chained_at", String(40), nullable=False),  # as the link has it
    Column("salt", String(64), nullable=False),
    Column("commitment", String(64), nullable=False),
    Column("digest", String(64), nullable=False),
    PrimaryKeyConstraint("node", "seq"),
    UniqueConstraint("id"),
    one_of("kind", ListenKind),
    one_of("medium", Medium),
    one_of("why", Unheard),
    CheckConstraint(
        "(kind <> 'log_viewed') = (recording IS NOT NULL AND call IS NOT NULL AND line IS NOT NULL)", name="of_what"
    ),
    CheckConstraint("(kind = 'refused') = (why IS NOT NULL)", name="why_where_refused"),
    CheckConstraint("(kind IN ('sent', 'played')) = (began_ms IS NOT NULL)", name="span_where_heard"),
    CheckConstraint("(began_ms IS NULL) = (ended_ms IS NULL)", name="span_whole"),
    CheckConstraint("kind <> 'opened' OR (medium IS NOT NULL AND purpose IS NOT NULL)", name="opened_for"),
    CheckConstraint("seq > 0", name="seq_from_one"),
    Index(None, "listen"),
    Index(None, "recording"),
    Index(None, "call"),
    Index(None, "listener", "at"),
    Index(None, "at"),
)

contests = Table(
    "contests",
    metadata,
    Column("seq", COUNTER, nullable=False, autoincrement=True),
    Column("id", Uuid, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("actor", String(64), nullable=False),
    Column("token", String(64)),
    Column("of_contest", Uuid, key="contest", nullable=False),  # the id of the act that contested
    # A word that this program does not know says nothing to it: rows outlive a way back.
    Column("action", String(32), nullable=False),
    Column("node", String(64), nullable=False),
    Column("call", Uuid, nullable=False),  # no foreign keys to what it is about: what was said outlives it
    Column("line", String(64), nullable=False),
    Column("agent", String(64), nullable=False),
    Column("listen", Uuid),
    Column("listener", String(64)),
    Column("said", Text, nullable=False),
    PrimaryKeyConstraint("seq"),
    UniqueConstraint("id"),
    UniqueConstraint("id", "actor", "call", "line"),  # for the references below
    UniqueConstraint("id", "listen", "listener"),
    UniqueConstraint("contest", "action"),
    # An answer names who contested what, as the contest does, and that one who said it ...
    ForeignKeyConstraint(
        ["contest", "agent", "call", "line"], ["contests.id", "contests.actor", "contests.call", "contests.line"]
    ),
    ForeignKeyConstraint(["contest", "listen", "listener"], ["contests.id", "contests.listen", "contests.listener"]),
    one_of("action", ContestAction),
    CheckConstraint("(action = 'contested') = (of_contest = id)", name="contested_first"),
    CheckConstraint(  # ... so that this holds
        "action <> 'answered' OR (actor <> agent AND (listener IS NULL OR actor <> listener))", name="by_somebody_else"
    ),
    CheckConstraint("(listen IS NULL) = (listener IS NULL)", name="whose_listening"),
    CheckConstraint("length(said) > 0", name="said"),
    Index(None, "at"),
    Index(None, "agent", "at"),
    Index(None, "call"),
)

kept_answers = Table(
    "kept_answers",  # of who may ask the same again; of a day, and then removed
    metadata,
    Column("digest", String(64), nullable=False),
    Column("id", Uuid, nullable=False),
    Column("body", String(64), nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("status", Integer, nullable=True),
    Column("answer", Text, nullable=True),
    PrimaryKeyConstraint("digest"),
    CheckConstraint("answer IS NULL OR status IS NOT NULL", name="answered"),
    Index(None, "at"),
)

comments = Table(
    "comments",
    metadata,
    Column("seq", COUNTER, nullable=False, autoincrement=True),
    Column("id", Uuid, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("actor", String(64), nullable=False),
    Column("token", String(64)),
    Column("of_comment", Uuid, key="comment", nullable=False),  # the id of the act that wrote it
    # A word that this program does not know says nothing to it: rows outlive a way back.
    Column("action", String(32), nullable=False),
    Column("recording", Uuid, nullable=False),  # no foreign keys to what it is about: what was said outlives it
    Column("call", Uuid, nullable=False),
    Column("line", String(64), nullable=False),
    Column("moment_ms", BigInteger),
    Column("said", Text),
    PrimaryKeyConstraint("seq"),
    UniqueConstraint("id"),
    UniqueConstraint("id", "actor", "recording"),  # for the reference below
    UniqueConstraint("comment", "action"),
    # What withdraws a comment is by its author, and of its recording.
    ForeignKeyConstraint(["comment", "actor", "recording"], ["comments.id", "comments.actor", "comments.recording"]),
    one_of("action", CommentAction),
    CheckConstraint("(action = 'written') = (of_comment = id)", name="written_first"),
    CheckConstraint("(action = 'written') = (moment_ms IS NOT NULL)", name="moment_where_written"),
    CheckConstraint("(action = 'written') = (said IS NOT NULL)", name="said_where_written"),
    CheckConstraint("moment_ms IS NULL OR moment_ms >= 0", name="moment_from_the_beginning"),
    CheckConstraint("said IS NULL OR length(said) > 0", name="said"),
    Index(None, "recording", "actor"),
)

saved_searches = Table(
    "saved_searches",
    metadata,
    Column("id", Uuid, nullable=False),
    Column("of_user", String(64), key="user", nullable=False),
    Column("name", String(60), nullable=False),
    Column("sought", JSON_VALUE, nullable=False),
    PrimaryKeyConstraint("id"),
    UniqueConstraint("user", "name"),
    CheckConstraint("length(name) > 0", name="named"),
)

APPEND_ONLY = (
    file_acts,
    prompts,
    consent_events,
    audit,
    call_events,
    chain,
    policies,
    user_acts,
    release_acts,
    sign_ins,
    listens,
    contests,
    comments,
)
