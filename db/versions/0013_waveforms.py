"""What analysis drew of each settled recording, for who listens.

The way back leaves the table where it is, since none of it could be drawn again without reading every file. An older
recorder erases a recording and not what was drawn of it, so the way up empties that.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

AT = sa.DateTime(timezone=True)
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
EMPTY = (
    "UPDATE waveforms SET caller = {nothing}, agent = {nothing}, silences = '[]', talk_overs = '[]'"
    " WHERE recording IN (SELECT id FROM recordings WHERE status <> 'settled')"
)


def upgrade() -> None:
    if "waveforms" in sa.inspect(op.get_bind()).get_table_names():
        op.execute(EMPTY.format(nothing="X''" if op.get_bind().dialect.name == "sqlite" else "''::bytea"))
        return
    op.create_table(
        "waveforms",
        sa.Column("recording", sa.Uuid(), nullable=False),
        sa.Column("made_at", AT, nullable=False),
        sa.Column("window_ms", sa.Integer(), nullable=False),
        sa.Column("caller", sa.LargeBinary(), nullable=False),
        sa.Column("agent", sa.LargeBinary(), nullable=False),
        sa.Column("silences", JSON, nullable=False),
        sa.Column("talk_overs", JSON, nullable=False),
        sa.CheckConstraint("window_ms > 0", name=op.f("ck_waveforms_window")),
        sa.CheckConstraint("length(caller) <= 1000 AND length(agent) <= 1000", name=op.f("ck_waveforms_small")),
        sa.ForeignKeyConstraint(["recording"], ["recordings.id"], name=op.f("fk_waveforms_recording")),
        sa.PrimaryKeyConstraint("recording", name=op.f("pk_waveforms")),
    )


def downgrade() -> None:
    """Nothing: see above. `base` alone takes the table away (0001)."""
