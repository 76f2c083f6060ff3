"""What people do with files that no recording claims: quarantined, erased, put back. Append-only."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

COUNTER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    op.create_table(
        "file_acts",
        sa.Column("seq", COUNTER, autoincrement=True, nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("of_file", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("node", sa.String(length=64), nullable=False),
        sa.Column("actor", sa.String(length=255), nullable=False),
        sa.Column("action", sa.String(length=32), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("recording", sa.Uuid(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "action IN ('quarantining', 'quarantined', 'erasing', 'erased', 'restoring', 'restored')",
            name=op.f("ck_file_acts_action"),
        ),
        sa.CheckConstraint("length(reason) > 0", name=op.f("ck_file_acts_said_why")),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_file_acts")),
        sa.UniqueConstraint("id", name=op.f("uq_file_acts_id")),
    )
    op.create_index(op.f("ix_file_acts_of_file"), "file_acts", ["of_file"])
    if op.get_bind().dialect.name == "sqlite":
        close_on_sqlite()
    else:
        op.execute(
            "CREATE TRIGGER file_acts_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON file_acts"
            " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )


def close_on_sqlite() -> None:
    """Refuse UPDATE, DELETE, and INSERT OR REPLACE, which deletes without a DELETE trigger."""
    refusal = "BEGIN SELECT RAISE(ABORT, 'file_acts is append-only'); END"
    op.execute(f"CREATE TRIGGER file_acts_no_update BEFORE UPDATE ON file_acts {refusal}")
    op.execute(f"CREATE TRIGGER file_acts_no_delete BEFORE DELETE ON file_acts {refusal}")
    op.execute(
        "CREATE TRIGGER file_acts_no_replace BEFORE INSERT ON file_acts"
        f" WHEN EXISTS (SELECT 1 FROM file_acts WHERE id = NEW.id) {refusal}"
    )


def downgrade() -> None:
    op.drop_table("file_acts")
