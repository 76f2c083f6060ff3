"""The listening log: who heard which part of what, when, why and from where. Append-only, each row on those before it.

The way back leaves the table where it is: it is proof, and an older recorder lets nobody hear anything.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

AT = sa.DateTime(timezone=True)
TEXTS = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
UNHEARD = (
    "'not_permitted', 'sealed', 'not_settled', 'another_purpose', 'unexplained', 'explanation_too_long', 'sensitive'"
)


def upgrade() -> None:
    if "listens" in sa.inspect(op.get_bind()).get_table_names():
        return
    op.create_table(
        "listens",
        sa.Column("node", sa.String(length=64), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("listen", sa.Uuid(), nullable=False),
        sa.Column("at", AT, nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("listener", sa.String(length=64), nullable=False),
        sa.Column("recording", sa.Uuid(), nullable=True),
        sa.Column("call", sa.Uuid(), nullable=True),
        sa.Column("line", sa.String(length=64), nullable=True),
        sa.Column("roles", TEXTS, nullable=False),
        sa.Column("token", sa.String(length=64), nullable=True),
        sa.Column("agents", TEXTS, nullable=False),
        sa.Column("medium", sa.String(length=32), nullable=True),
        sa.Column("purpose", sa.String(length=64), nullable=True),
        sa.Column("explanation", sa.Text(), nullable=True),
        sa.Column("address", sa.String(length=64), nullable=True),
        sa.Column("policy", sa.String(length=64), nullable=True),
        sa.Column("why", sa.String(length=32), nullable=True),
        sa.Column("began_ms", sa.BigInteger(), nullable=True),
        sa.Column("ended_ms", sa.BigInteger(), nullable=True),
        sa.Column("chained_at", sa.String(length=40), nullable=False),
        sa.Column("salt", sa.String(length=64), nullable=False),
        sa.Column("commitment", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.CheckConstraint(
            "kind IN ('opened', 'refused', 'sent', 'played', 'closed', 'log_viewed')", name=op.f("ck_listens_kind")
        ),
        sa.CheckConstraint(
            "(kind <> 'log_viewed') = (recording IS NOT NULL AND call IS NOT NULL AND line IS NOT NULL)",
            name=op.f("ck_listens_of_what"),
        ),
        sa.CheckConstraint("medium IN ('stream', 'download')", name=op.f("ck_listens_medium")),
        sa.CheckConstraint(f"why IN ({UNHEARD})", name=op.f("ck_listens_why")),
        sa.CheckConstraint("(kind = 'refused') = (why IS NOT NULL)", name=op.f("ck_listens_why_where_refused")),
        sa.CheckConstraint(
            "(kind IN ('sent', 'played')) = (began_ms IS NOT NULL)", name=op.f("ck_listens_span_where_heard")
        ),
        sa.CheckConstraint("(began_ms IS NULL) = (ended_ms IS NULL)", name=op.f("ck_listens_span_whole")),
        sa.CheckConstraint(
            "kind <> 'opened' OR (medium IS NOT NULL AND purpose IS NOT NULL)", name=op.f("ck_listens_opened_for")
        ),
        sa.CheckConstraint("seq > 0", name=op.f("ck_listens_seq_from_one")),
        sa.PrimaryKeyConstraint("node", "seq", name=op.f("pk_listens")),
        sa.UniqueConstraint("id", name=op.f("uq_listens_id")),
    )
    for name, columns in INDICES.items():
        op.create_index(op.f(name), "listens", columns)
    if op.get_bind().dialect.name == "sqlite":
        close_on_sqlite()
    else:
        op.execute(
            "CREATE TRIGGER listens_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON listens"
            " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )


INDICES = {
    "ix_listens_listen": ["listen"],
    "ix_listens_recording": ["recording"],
    "ix_listens_call": ["call"],
    "ix_listens_listener_at": ["listener", "at"],
    "ix_listens_at": ["at"],
}


def close_on_sqlite() -> None:
    """Refuse UPDATE, DELETE, and INSERT OR REPLACE, which deletes without a DELETE trigger."""
    refusal = "BEGIN SELECT RAISE(ABORT, 'listens is append-only'); END"
    op.execute(f"CREATE TRIGGER listens_no_update BEFORE UPDATE ON listens {refusal}")
    op.execute(f"CREATE TRIGGER listens_no_delete BEFORE DELETE ON listens {refusal}")
    op.execute(
        "CREATE TRIGGER listens_no_replace BEFORE INSERT ON listens WHEN EXISTS"
        " (SELECT 1 FROM listens WHERE id = NEW.id OR (node = NEW.node AND seq = NEW.seq))"
        f" {refusal}"
    )


def downgrade() -> None:
    """Nothing: see above. `base` alone takes the table away (0001)."""
