"""A call is found by its linkedid without reading every leg: a CDR of which we know no channel asks for it."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("calls", "legs"):
        op.create_index(op.f(f"ix_{table}_linkedid"), table, ["linkedid"], if_not_exists=True)


def downgrade() -> None:
    for table in ("calls", "legs"):
        op.drop_index(op.f(f"ix_{table}_linkedid"), table_name=table, if_exists=True)
