"""The searches of the calls page that people have named for themselves, without a number.

The way back leaves the table where it is: an older recorder shows none of it, and the way up finds it again.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    if "saved_searches" in sa.inspect(op.get_bind()).get_table_names():
        return
    op.create_table(
        "saved_searches",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("of_user", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=60), nullable=False),
        sa.Column("sought", JSON, nullable=False),
        sa.CheckConstraint("length(name) > 0", name=op.f("ck_saved_searches_named")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_saved_searches")),
        sa.UniqueConstraint("of_user", "name", name=op.f("uq_saved_searches_of_user_name")),
    )


def downgrade() -> None:
    """Nothing: see above. `base` alone takes the table away (0001)."""
