"""Silences inside a recording, and recordings that were erased.

SQLite cannot change a CHECK: there the table is made anew under the same name, and its rows go along.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

AT = sa.DateTime(timezone=True)
WORD = sa.String(32)
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
LOST = (
    "'recorder_away', 'pbx_away', 'catalogue_away', 'spool_unready', 'busy', "
    "'prompt_failed', 'dialogue_failed', 'capture_failed', 'settle_failed'"
)
BEFORE = "'authorised', 'armed', 'stopped', 'settled', 'empty', 'failed'"
AFTER = f"{BEFORE}, 'erasing', 'erased'"
ERASED_WHEN = "status <> 'erased' OR erased_at IS NOT NULL"
COLUMNS = (
    "id, call, line, mode, status, authorised_by, authorising_state, channel, uniqueid, sealed, audit, authorised_at, "
    "armed_at, bridged_at, stopped_at, settled_at, changed_at, analysed_at, bridged_seconds, keep_seconds, mixmonitor, "
    "samples, rate, sha256, size, findings, measures, reason"
)


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        remake(AFTER, *added())
        return
    for column in added():
        op.add_column("recordings", column)
    op.alter_column("recordings", "silences", server_default=None)
    op.drop_constraint("ck_recordings_status", "recordings", type_="check")
    op.create_check_constraint(op.f("ck_recordings_status"), "recordings", f"status IN ({AFTER})")
    op.create_check_constraint(op.f("ck_recordings_erased_when"), "recordings", ERASED_WHEN)


def downgrade() -> None:
    """To a program that knows no other word, what is erased was empty. What is yet to be erased must be first."""
    if op.get_bind().execute(sa.text("SELECT 1 FROM recordings WHERE status = 'erasing' LIMIT 1")).first():
        raise RuntimeError("recordings are still to be erased: let the newer recorder run until none is, then go back")
    if op.get_bind().dialect.name == "sqlite":
        op.execute("UPDATE recordings SET status = 'empty' WHERE status = 'erased'")
        remake(BEFORE)
        return
    op.drop_constraint("ck_recordings_erased_when", "recordings", type_="check")
    op.execute("UPDATE recordings SET status = 'empty' WHERE status = 'erased'")
    op.drop_constraint("ck_recordings_status", "recordings", type_="check")
    op.create_check_constraint(op.f("ck_recordings_status"), "recordings", f"status IN ({BEFORE})")
    op.drop_column("recordings", "erased_at")
    op.drop_column("recordings", "silences")


def added() -> tuple[sa.Column[object], sa.Column[object]]:
    return (
        sa.Column("erased_at", AT, nullable=True),
        sa.Column("silences", JSON, nullable=False, server_default=sa.text("'[]'")),
    )


def remake(statuses: str, *more: sa.Column[object]) -> None:
    """SQLite: the table as it shall be, the rows of the one that was, and the same name and indexes."""
    make("recordings_anew", statuses, *more)
    op.execute(f"INSERT INTO recordings_anew ({COLUMNS}) SELECT {COLUMNS} FROM recordings")
    op.drop_table("recordings")
    op.rename_table("recordings_anew", "recordings")
    op.create_index(op.f("ix_recordings_call"), "recordings", ["call"])
    op.create_index(op.f("ix_recordings_status_analysed_at"), "recordings", ["status", "analysed_at"])


def make(name: str, statuses: str, *more: sa.Column[object]) -> None:
    has_erased = [sa.CheckConstraint(ERASED_WHEN, name=op.f("ck_recordings_erased_when"))] if more else []
    op.create_table(
        name,
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
        *more,
        *has_erased,
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
            f"status IN ({statuses})",
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
