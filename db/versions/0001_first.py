"""The first schema.

Written out rather than made from recorder.catalogue.tables, which moves on while this revision must not.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

AT = sa.DateTime(timezone=True)
WORD = sa.String(32)
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
COUNTER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

# Append-only tables, and what names one of their rows.
APPEND_ONLY = {
    "prompts": ("number",),
    "consent_events": ("id",),
    "audit": ("id",),
    "call_events": ("call", "seq"),
}
CONSENT = (
    "'none', 'asked', 'given', 'refused', 'unanswered', "
    "'noticed', 'withdrawn', 'overridden', 'not_required', 'prohibited'"
)
LOST = (
    "'recorder_away', 'pbx_away', 'catalogue_away', 'spool_unready', 'busy', "
    "'prompt_failed', 'dialogue_failed', 'capture_failed', 'settle_failed'"
)


WAYS_IN = ("passwords", "sessions", "tokens", "sign_ins", "release_acts", "listens", "waveforms", "contests")
OF_PEOPLE = ("comments", "saved_searches")


def upgrade() -> None:
    make_calls()
    make_consents()
    make_recordings()
    make_marks()
    if op.get_bind().dialect.name == "sqlite":
        close_on_sqlite()
    else:
        close_on_postgres()


def make_calls() -> None:
    op.create_table(
        "calls",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("node", sa.String(length=64), nullable=False),
        sa.Column("line", sa.String(length=64), nullable=False),
        sa.Column("direction", WORD, nullable=False),
        sa.Column("mode", WORD, nullable=False),
        sa.Column("linkedid", sa.String(length=255), nullable=False),
        sa.Column("phase", sa.String(length=32), nullable=False),
        sa.Column("consent", WORD, nullable=False),
        sa.Column("started_at", AT, nullable=False),
        sa.Column("ended_at", AT, nullable=True),
        sa.Column("outcome", WORD, nullable=True),
        sa.Column("reason", WORD, nullable=True),
        sa.CheckConstraint(
            "(reason IS NOT NULL) = (outcome IS NOT NULL AND outcome = 'lost')", name=op.f("ck_calls_reason_where_lost")
        ),
        sa.CheckConstraint(f"consent IN ({CONSENT})", name=op.f("ck_calls_consent")),
        sa.CheckConstraint("direction IN ('incoming', 'outgoing')", name=op.f("ck_calls_direction")),
        sa.CheckConstraint(
            "mode IN ('opt_in', 'opt_out', 'notice', 'not_required', 'never')", name=op.f("ck_calls_mode")
        ),
        sa.CheckConstraint(
            "outcome IN ('excluded', 'abandoned', 'recorded', 'declined', 'lost')", name=op.f("ck_calls_outcome")
        ),
        sa.CheckConstraint(f"reason IN ({LOST})", name=op.f("ck_calls_reason")),
        sa.CheckConstraint("(ended_at IS NULL) = (outcome IS NULL)", name=op.f("ck_calls_outcome_at_end")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_calls")),
    )
    op.create_index(op.f("ix_calls_node_outcome_ended_at"), "calls", ["node", "outcome", "ended_at"])
    op.create_index(op.f("ix_calls_started_at"), "calls", ["started_at"])
    op.create_table(
        "legs",
        sa.Column("call", sa.Uuid(), nullable=False),
        sa.Column("uniqueid", sa.String(length=255), nullable=False),
        sa.Column("linkedid", sa.String(length=255), nullable=False),
        sa.Column("channel", sa.String(length=255), nullable=False),
        sa.Column("kind", WORD, nullable=False),
        sa.Column("interface", sa.String(length=255), nullable=True),
        sa.Column("seen_at", AT, nullable=False),
        sa.CheckConstraint("kind IN ('caller', 'agent', 'other')", name=op.f("ck_legs_kind")),
        sa.ForeignKeyConstraint(["call"], ["calls.id"], name=op.f("fk_legs_call")),
        sa.PrimaryKeyConstraint("call", "uniqueid", name=op.f("pk_legs")),
    )
    op.create_index(op.f("ix_legs_uniqueid"), "legs", ["uniqueid"])
    op.create_table(
        "call_events",
        sa.Column("call", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("at", AT, nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("old_phase", sa.String(length=32), nullable=False),
        sa.Column("new_phase", sa.String(length=32), nullable=False),
        sa.Column("fields", JSON, nullable=False),
        sa.ForeignKeyConstraint(["call"], ["calls.id"], name=op.f("fk_call_events_call")),
        sa.PrimaryKeyConstraint("call", "seq", name=op.f("pk_call_events")),
    )


def make_consents() -> None:
    op.create_table(
        "prompts",
        sa.Column("number", COUNTER, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("kind", WORD, nullable=False),
        sa.Column("language", sa.String(length=16), nullable=False),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("min_played_ms", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.CheckConstraint("kind IN ('language', 'question', 'objection', 'notice')", name=op.f("ck_prompts_kind")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_prompts")),
        sa.UniqueConstraint("sha256", "id", "language", "version", "min_played_ms", name="uq_prompts_version"),
    )
    op.create_table(
        "consent_events",
        sa.Column("seq", COUNTER, autoincrement=True, nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("call", sa.Uuid(), nullable=False),
        sa.Column("at", AT, nullable=False),
        sa.Column("before", WORD, nullable=False),
        sa.Column("after", WORD, nullable=False),
        sa.Column("channel", sa.String(length=255), nullable=False),
        sa.Column("policy", sa.String(length=64), nullable=False),
        sa.Column("prompt", COUNTER, nullable=True),
        sa.Column("played_ms", sa.Integer(), nullable=True),
        sa.Column("key", sa.String(length=1), nullable=True),
        sa.Column("language", sa.String(length=16), nullable=True),
        sa.Column("actor", sa.String(length=255), nullable=True),
        sa.Column("reason", WORD, nullable=True),
        sa.Column("basis", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "(after = 'overridden') = (reason IS NOT NULL)", name=op.f("ck_consent_events_reason_where_overridden")
        ),
        sa.CheckConstraint(
            "after <> 'not_required' OR basis IS NOT NULL", name=op.f("ck_consent_events_basis_where_not_required")
        ),
        sa.CheckConstraint("length(key) = 1", name=op.f("ck_consent_events_one_key")),
        sa.CheckConstraint(
            "after <> 'overridden' OR actor IS NOT NULL", name=op.f("ck_consent_events_actor_where_overridden")
        ),
        sa.CheckConstraint(f"after IN ({CONSENT})", name=op.f("ck_consent_events_after")),
        sa.CheckConstraint(f"before IN ({CONSENT})", name=op.f("ck_consent_events_before")),
        sa.CheckConstraint("reason IN ('emergency', 'legal', 'business')", name=op.f("ck_consent_events_reason")),
        sa.ForeignKeyConstraint(["call"], ["calls.id"], name=op.f("fk_consent_events_call")),
        sa.ForeignKeyConstraint(["prompt"], ["prompts.number"], name=op.f("fk_consent_events_prompt")),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_consent_events")),
        sa.UniqueConstraint("id", "after", "call", name=op.f("uq_consent_events_id_after_call")),
        sa.UniqueConstraint("id", name=op.f("uq_consent_events_id")),
    )
    op.create_index(op.f("ix_consent_events_call"), "consent_events", ["call"])
    op.create_table(
        "audit",
        sa.Column("seq", COUNTER, autoincrement=True, nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("at", AT, nullable=False),
        sa.Column("actor", sa.String(length=255), nullable=False),
        sa.Column("action", sa.String(length=32), nullable=False),
        sa.Column("call", sa.Uuid(), nullable=False),
        sa.Column("recording", sa.Uuid(), nullable=True),
        sa.Column("details", JSON, nullable=False),
        sa.ForeignKeyConstraint(["call"], ["calls.id"], name=op.f("fk_audit_call")),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_audit")),
        sa.UniqueConstraint("id", "recording", name=op.f("uq_audit_id_recording")),
        sa.UniqueConstraint("id", name=op.f("uq_audit_id")),
    )
    op.create_index(op.f("ix_audit_call"), "audit", ["call"])


def make_recordings() -> None:
    op.create_table(
        "recordings",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("call", sa.Uuid(), nullable=False),
        sa.Column("line", sa.String(length=64), nullable=False),
        sa.Column("mode", WORD, nullable=False),
        sa.Column("status", WORD, nullable=False),
        sa.Column("authorised_by", sa.Uuid(), nullable=False),
        sa.Column("authorising_state", WORD, nullable=False),
        sa.Column("channel", sa.String(length=255), nullable=False),
        sa.Column("uniqueid", sa.String(length=255), nullable=False),
        sa.Column("sealed", sa.Boolean(), nullable=False),
        sa.Column("audit", sa.Uuid(), nullable=True),
        sa.Column("authorised_at", AT, nullable=False),
        sa.Column("armed_at", AT, nullable=True),
        sa.Column("bridged_at", AT, nullable=True),
        sa.Column("stopped_at", AT, nullable=True),
        sa.Column("settled_at", AT, nullable=True),
        sa.Column("changed_at", AT, nullable=False),
        sa.Column("analysed_at", AT, nullable=True),
        sa.Column("bridged_seconds", sa.Double(), nullable=True),
        sa.Column("keep_seconds", sa.Double(), nullable=True),
        sa.Column("mixmonitor", sa.String(length=64), nullable=True),
        sa.Column("samples", sa.BigInteger(), nullable=True),
        sa.Column("rate", sa.Integer(), nullable=True),
        sa.Column("sha256", sa.String(length=64), nullable=True),
        sa.Column("size", sa.BigInteger(), nullable=True),
        sa.Column("findings", JSON, nullable=False),
        sa.Column("measures", JSON, nullable=False),
        sa.Column("reason", WORD, nullable=True),
        sa.CheckConstraint(
            "authorising_state <> 'overridden' OR (audit IS NOT NULL AND sealed)",
            name=op.f("ck_recordings_override_audited"),
        ),
        sa.CheckConstraint(
            "authorising_state <> 'unanswered' OR mode = 'opt_out'", name=op.f("ck_recordings_unanswered_where_opt_out")
        ),
        sa.CheckConstraint(
            "authorising_state IN ('given', 'noticed', 'not_required', 'overridden', 'unanswered')",
            name=op.f("ck_recordings_authorising_state"),
        ),
        sa.CheckConstraint(f"reason IN ({LOST})", name=op.f("ck_recordings_reason")),
        sa.CheckConstraint("status <> 'failed' OR reason IS NOT NULL", name=op.f("ck_recordings_reason_where_failed")),
        sa.CheckConstraint(
            "status <> 'settled' OR (settled_at IS NOT NULL AND samples IS NOT NULL AND rate IS NOT NULL"
            " AND sha256 IS NOT NULL AND size IS NOT NULL)",
            name=op.f("ck_recordings_settled_whole"),
        ),
        sa.CheckConstraint(
            "status IN ('authorised', 'armed', 'stopped', 'settled', 'empty', 'failed')",
            name=op.f("ck_recordings_status"),
        ),
        sa.CheckConstraint(
            "analysed_at IS NULL OR settled_at IS NOT NULL", name=op.f("ck_recordings_analysed_after_settled")
        ),
        sa.ForeignKeyConstraint(["audit", "id"], ["audit.id", "audit.recording"], name=op.f("fk_recordings_audit_id")),
        sa.ForeignKeyConstraint(
            ["authorised_by", "authorising_state", "call"],
            ["consent_events.id", "consent_events.after", "consent_events.call"],
            name=op.f("fk_recordings_authorised_by_authorising_state_call"),
        ),
        sa.ForeignKeyConstraint(["call"], ["calls.id"], name=op.f("fk_recordings_call")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recordings")),
    )
    op.create_index(op.f("ix_recordings_call"), "recordings", ["call"])
    op.create_index(op.f("ix_recordings_status_analysed_at"), "recordings", ["status", "analysed_at"])


def make_marks() -> None:
    op.create_table(
        "bookmarks",
        sa.Column("node", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("value", JSON, nullable=False),
        sa.PrimaryKeyConstraint("node", "name", name=op.f("pk_bookmarks")),
    )
    op.create_table(
        "sweeps",
        sa.Column("node", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("last_ok_at", AT, nullable=False),
        sa.PrimaryKeyConstraint("node", "name", name=op.f("pk_sweeps")),
    )


def close_on_sqlite() -> None:
    """Refuse UPDATE and DELETE. The third trigger is for INSERT OR REPLACE, which deletes without a DELETE trigger."""
    for table, names in APPEND_ONLY.items():
        same = " AND ".join(f"{name} = NEW.{name}" for name in names)
        refusal = f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        op.execute(f"CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table} {refusal}")
        op.execute(f"CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table} {refusal}")
        op.execute(
            f"CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table}"
            f" WHEN EXISTS (SELECT 1 FROM {table} WHERE {same}) {refusal}"
        )


def close_on_postgres() -> None:
    op.execute(
        """
        CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation';
        END $$
        """
    )
    for table in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER {table}_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )


def downgrade() -> None:
    for left in ("chain", "numbers", "policies", "user_acts", *WAYS_IN, *OF_PEOPLE):  # by 0004, 0006, 0008 to 0018
        op.execute(f"DROP TABLE IF EXISTS {left}")
    for table in (
        "sweeps",
        "bookmarks",
        "recordings",
        "audit",
        "consent_events",
        "prompts",
        "call_events",
        "legs",
        "calls",
    ):
        op.drop_table(table)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION refuse_change()")
