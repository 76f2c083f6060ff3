"""What people say at moments of recordings that they have heard, and what they withdraw. Append-only.

The way back leaves the table where it is, as 0014 does: what was said, and by whom, is told nowhere else. An older
recorder shows none of it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

COUNTER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    if "comments" in sa.inspect(op.get_bind()).get_table_names():
        return
    op.create_table(
        "comments",
        sa.Column("seq", COUNTER, autoincrement=True, nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.String(length=64), nullable=False),
        sa.Column("token", sa.String(length=64), nullable=True),
        sa.Column("of_comment", sa.Uuid(), nullable=False),
        sa.Column("action", sa.String(length=32), nullable=False),
        sa.Column("recording", sa.Uuid(), nullable=False),
        sa.Column("call", sa.Uuid(), nullable=False),
        sa.Column("line", sa.String(length=64), nullable=False),
        sa.Column("moment_ms", sa.BigInteger(), nullable=True),
        sa.Column("said", sa.Text(), nullable=True),
        *checks(),
        sa.ForeignKeyConstraint(
            ["of_comment", "actor", "recording"],
            ["comments.id", "comments.actor", "comments.recording"],
            name=op.f("fk_comments_of_comment_actor_recording"),
        ),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_comments")),
        sa.UniqueConstraint("id", name=op.f("uq_comments_id")),
        sa.UniqueConstraint("id", "actor", "recording", name=op.f("uq_comments_id_actor_recording")),
        sa.UniqueConstraint("of_comment", "action", name=op.f("uq_comments_of_comment_action")),
    )
    op.create_index(op.f("ix_comments_recording_actor"), "comments", ["recording", "actor"])
    if op.get_bind().dialect.name == "sqlite":
        close_on_sqlite()
    else:
        op.execute(
            "CREATE TRIGGER comments_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON comments"
            " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )


def checks() -> list[sa.CheckConstraint]:
    """What a row that makes sense is like."""
    rules = {
        "action": "action IN ('written', 'withdrawn')",
        "written_first": "(action = 'written') = (of_comment = id)",
        "moment_where_written": "(action = 'written') = (moment_ms IS NOT NULL)",
        "said_where_written": "(action = 'written') = (said IS NOT NULL)",
        "moment_from_the_beginning": "moment_ms IS NULL OR moment_ms >= 0",
        "said": "said IS NULL OR length(said) > 0",
    }
    return [sa.CheckConstraint(rule, name=op.f(f"ck_comments_{name}")) for name, rule in rules.items()]


def close_on_sqlite() -> None:
    """Refuse UPDATE, DELETE, and INSERT OR REPLACE, which deletes without a DELETE trigger."""
    refusal = "BEGIN SELECT RAISE(ABORT, 'comments is append-only'); END"
    op.execute(f"CREATE TRIGGER comments_no_update BEFORE UPDATE ON comments {refusal}")
    op.execute(f"CREATE TRIGGER comments_no_delete BEFORE DELETE ON comments {refusal}")
    op.execute(
        "CREATE TRIGGER comments_no_replace BEFORE INSERT ON comments WHEN EXISTS"
        " (SELECT 1 FROM comments WHERE id = NEW.id OR seq = NEW.seq"
        f" OR (of_comment = NEW.of_comment AND action = NEW.action)) {refusal}"
    )


def downgrade() -> None:
    """Nothing: see above. `base` alone takes the table away (0001)."""
