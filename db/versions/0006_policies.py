"""The settings of each line as they were: the text of which the digest in every consent event was taken. Append-only.

The way back leaves the table where it is: an older recorder does not look at it, and what it tells of the consent
events that were written meanwhile is nowhere else.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if "policies" in sa.inspect(op.get_bind()).get_table_names():
        return
    op.create_table(
        "policies",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("node", sa.String(length=64), nullable=False),
        sa.Column("line", sa.String(length=64), nullable=False),
        sa.Column("settings", sa.Text(), nullable=False),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("first_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("length(settings) > 0", name=op.f("ck_policies_said")),
        sa.PrimaryKeyConstraint("digest", "node", name=op.f("pk_policies")),
    )
    op.create_index(op.f("ix_policies_line_first_at"), "policies", ["line", "first_at"])
    if op.get_bind().dialect.name == "sqlite":
        close_on_sqlite()
    else:
        op.execute(
            "CREATE TRIGGER policies_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON policies"
            " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )


def close_on_sqlite() -> None:
    """Refuse UPDATE, DELETE, and INSERT OR REPLACE, which deletes without a DELETE trigger."""
    refusal = "BEGIN SELECT RAISE(ABORT, 'policies is append-only'); END"
    op.execute(f"CREATE TRIGGER policies_no_update BEFORE UPDATE ON policies {refusal}")
    op.execute(f"CREATE TRIGGER policies_no_delete BEFORE DELETE ON policies {refusal}")
    op.execute(
        "CREATE TRIGGER policies_no_replace BEFORE INSERT ON policies WHEN EXISTS"
        f" (SELECT 1 FROM policies WHERE digest = NEW.digest AND node = NEW.node) {refusal}"
    )


def downgrade() -> None:
    """Nothing: see above. `base` alone takes it away (0001)."""
