"""What agents say against their calls and what was answered. Append-only.

The way back leaves the table where it is, as 0008 does: what was said, and by whom, is told nowhere else. An older
recorder shows none of it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

COUNTER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    if "contests" in sa.inspect(op.get_bind()).get_table_names():
        return
    op.create_table(
        "contests",
        sa.Column("seq", COUNTER, autoincrement=True, nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.String(length=64), nullable=False),
        sa.Column("token", sa.String(length=64), nullable=True),
        sa.Column("of_contest", sa.Uuid(), nullable=False),
        sa.Column("action", sa.String(length=32), nullable=False),
        sa.Column("node", sa.String(length=64), nullable=False),
        sa.Column("call", sa.Uuid(), nullable=False),
        sa.Column("line", sa.String(length=64), nullable=False),
        sa.Column("agent", sa.String(length=64), nullable=False),
        sa.Column("listen", sa.Uuid(), nullable=True),
        sa.Column("listener", sa.String(length=64), nullable=True),
        sa.Column("said", sa.Text(), nullable=False),
        sa.CheckConstraint("action IN ('contested', 'answered')", name=op.f("ck_contests_action")),
        sa.CheckConstraint("(action = 'contested') = (of_contest = id)", name=op.f("ck_contests_contested_first")),
        sa.CheckConstraint(
            "action <> 'answered' OR (actor <> agent AND (listener IS NULL OR actor <> listener))",
            name=op.f("ck_contests_by_somebody_else"),
        ),
        sa.CheckConstraint("(listen IS NULL) = (listener IS NULL)", name=op.f("ck_contests_whose_listening")),
        sa.CheckConstraint("length(said) > 0", name=op.f("ck_contests_said")),
        sa.ForeignKeyConstraint(
            ["of_contest", "agent", "call", "line"],
            ["contests.id", "contests.actor", "contests.call", "contests.line"],
            name=op.f("fk_contests_of_contest_agent_call_line"),
        ),
        sa.ForeignKeyConstraint(
            ["of_contest", "listen", "listener"],
            ["contests.id", "contests.listen", "contests.listener"],
            name=op.f("fk_contests_of_contest_listen_listener"),
        ),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_contests")),
        sa.UniqueConstraint("id", name=op.f("uq_contests_id")),
        sa.UniqueConstraint("id", "actor", "call", "line", name=op.f("uq_contests_id_actor_call_line")),
        sa.UniqueConstraint("id", "listen", "listener", name=op.f("uq_contests_id_listen_listener")),
        sa.UniqueConstraint("of_contest", "action", name=op.f("uq_contests_of_contest_action")),
    )
    for name, columns in INDICES.items():
        op.create_index(op.f(name), "contests", columns)
    if op.get_bind().dialect.name == "sqlite":
        close_on_sqlite()
    else:
        op.execute(
            "CREATE TRIGGER contests_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON contests"
            " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )


INDICES = {
    "ix_contests_at": ["at"],
    "ix_contests_agent_at": ["agent", "at"],
    "ix_contests_call": ["call"],
}


def close_on_sqlite() -> None:
    """Refuse UPDATE, DELETE, and INSERT OR REPLACE, which deletes without a DELETE trigger."""
    refusal = "BEGIN SELECT RAISE(ABORT, 'contests is append-only'); END"
    op.execute(f"CREATE TRIGGER contests_no_update BEFORE UPDATE ON contests {refusal}")
    op.execute(f"CREATE TRIGGER contests_no_delete BEFORE DELETE ON contests {refusal}")
    op.execute(
        "CREATE TRIGGER contests_no_replace BEFORE INSERT ON contests WHEN EXISTS"
        " (SELECT 1 FROM contests WHERE id = NEW.id OR seq = NEW.seq"
        f" OR (of_contest = NEW.of_contest AND action = NEW.action)) {refusal}"
    )


def downgrade() -> None:
    """Nothing: see above. `base` alone takes the table away (0001)."""
