"""Releases of lines that are kept unrecorded, as what was done to them. Append-only.

The way back leaves the table where it is, as 0008 does: who let a line be recorded, on what and until when is told
nowhere else. An older recorder knows of neither: it asks as its settings say, on a line that is kept unrecorded too.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

COUNTER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    if "release_acts" in sa.inspect(op.get_bind()).get_table_names():
        return
    op.create_table(
        "release_acts",
        sa.Column("seq", COUNTER, autoincrement=True, nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.String(length=64), nullable=False),
        sa.Column("of_release", sa.Uuid(), nullable=False),
        sa.Column("line", sa.String(length=64), nullable=False),
        sa.Column("asker", sa.String(length=64), nullable=False),
        sa.Column("action", sa.String(length=32), nullable=False),
        sa.Column("reference", sa.String(length=200), nullable=True),
        sa.Column("until", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("action IN ('asked', 'approved', 'refused', 'ended')", name=op.f("ck_release_acts_action")),
        sa.CheckConstraint("(action = 'asked') = (of_release = id)", name=op.f("ck_release_acts_asked_first")),
        sa.CheckConstraint(
            "(action = 'asked') = (reference IS NOT NULL AND until IS NOT NULL)",
            name=op.f("ck_release_acts_terms_where_asked"),
        ),
        sa.CheckConstraint("until IS NULL OR until > at", name=op.f("ck_release_acts_ends_later")),
        sa.CheckConstraint("action <> 'approved' OR actor <> asker", name=op.f("ck_release_acts_second_person")),
        sa.ForeignKeyConstraint(
            ["of_release", "asker", "line"],
            ["release_acts.id", "release_acts.actor", "release_acts.line"],
            name=op.f("fk_release_acts_of_release_asker_line"),
        ),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_release_acts")),
        sa.UniqueConstraint("id", name=op.f("uq_release_acts_id")),
        sa.UniqueConstraint("id", "actor", "line", name=op.f("uq_release_acts_id_actor_line")),
        sa.UniqueConstraint("of_release", "action", name=op.f("uq_release_acts_of_release_action")),
    )
    op.create_index(op.f("ix_release_acts_line"), "release_acts", ["line"])
    if op.get_bind().dialect.name == "sqlite":
        close_on_sqlite()
    else:
        op.execute(
            "CREATE TRIGGER release_acts_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON release_acts"
            " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )


def close_on_sqlite() -> None:
    """Refuse UPDATE, DELETE, and INSERT OR REPLACE, which deletes without a DELETE trigger."""
    refusal = "BEGIN SELECT RAISE(ABORT, 'release_acts is append-only'); END"
    op.execute(f"CREATE TRIGGER release_acts_no_update BEFORE UPDATE ON release_acts {refusal}")
    op.execute(f"CREATE TRIGGER release_acts_no_delete BEFORE DELETE ON release_acts {refusal}")
    op.execute(
        "CREATE TRIGGER release_acts_no_replace BEFORE INSERT ON release_acts WHEN EXISTS"
        " (SELECT 1 FROM release_acts WHERE id = NEW.id OR seq = NEW.seq"
        f" OR (of_release = NEW.of_release AND action = NEW.action)) {refusal}"
    )


def downgrade() -> None:
    """Nothing: see above. `base` alone takes the table away (0001)."""
