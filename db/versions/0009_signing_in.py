"""How people show who they are: passwords, sessions, tokens, and what happened to them, which is append-only.

The way back leaves the tables where they are: who came in, and when, is told nowhere else, and an older recorder reads
none of them. It waits for the calls in progress that a page or a program has paused, stopped or taken out: an older
recorder could not read by whom, would take none of them up, and what captures them would go on unseen.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
COUNTER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    if "sign_ins" in sa.inspect(op.get_bind()).get_table_names():
        return
    op.create_table(
        "passwords",
        sa.Column("of_user", sa.String(length=64), nullable=False),
        sa.Column("kept", sa.String(length=255), nullable=False),
        sa.Column("set_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("must_change", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("of_user", name=op.f("pk_passwords")),
    )
    op.create_table(
        "sessions",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("of_user", sa.String(length=64), nullable=False),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_sessions")),
    )
    op.create_table(
        "tokens",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("of_user", sa.String(length=64), nullable=False),
        sa.Column("label", sa.String(length=64), nullable=False),
        sa.Column("rights", JSON, nullable=True),
        sa.Column("lines", JSON, nullable=True),
        sa.Column("issued_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("issued_by", sa.String(length=255), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("withdrawn_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tokens")),
        sa.UniqueConstraint("digest", name=op.f("uq_tokens_digest")),
    )
    op.create_index(op.f("ix_tokens_of_user"), "tokens", ["of_user"])
    op.create_table(
        "sign_ins",
        sa.Column("seq", COUNTER, autoincrement=True, nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("of_user", sa.String(length=64), nullable=True),
        sa.Column("action", sa.String(length=32), nullable=False),
        sa.Column("actor", sa.String(length=255), nullable=True),
        sa.Column("address", sa.String(length=64), nullable=True),
        sa.Column("token", sa.Uuid(), nullable=True),
        sa.CheckConstraint(
            "action IN ('password_set', 'password_changed', 'signed_in', 'refused', 'signed_out', 'token_issued',"
            " 'token_withdrawn')",
            name=op.f("ck_sign_ins_action"),
        ),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_sign_ins")),
        sa.UniqueConstraint("id", name=op.f("uq_sign_ins_id")),
    )
    op.create_index(op.f("ix_sign_ins_of_user_at"), "sign_ins", ["of_user", "at"])
    if op.get_bind().dialect.name == "sqlite":
        close_on_sqlite()
    else:
        op.execute(
            "CREATE TRIGGER sign_ins_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON sign_ins"
            " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )


def close_on_sqlite() -> None:
    """Refuse UPDATE, DELETE, and INSERT OR REPLACE, which deletes without a DELETE trigger."""
    refusal = "BEGIN SELECT RAISE(ABORT, 'sign_ins is append-only'); END"
    op.execute(f"CREATE TRIGGER sign_ins_no_update BEFORE UPDATE ON sign_ins {refusal}")
    op.execute(f"CREATE TRIGGER sign_ins_no_delete BEFORE DELETE ON sign_ins {refusal}")
    op.execute(
        "CREATE TRIGGER sign_ins_no_replace BEFORE INSERT ON sign_ins WHEN EXISTS"
        f" (SELECT 1 FROM sign_ins WHERE id = NEW.id OR seq = NEW.seq) {refusal}"
    )


OPEN = sa.text(
    "SELECT e.call, e.fields FROM call_events e JOIN calls c ON c.id = e.call"
    " WHERE c.outcome IS NULL AND e.name = 'KeyPressed' ORDER BY e.call, e.seq"
).columns(call=sa.Uuid(), fields=sa.JSON())


def downgrade() -> None:
    """Nothing but to look: see above. `base` alone takes the tables away (0001)."""
    found = op.get_bind().execute(OPEN)
    calls = list(dict.fromkeys(str(row.call) for row in found if "by" in row.fields))
    if calls:
        raise RuntimeError(
            "an older recorder would not take up again what is in progress and was paused, stopped or taken out on a"
            f" page, since it cannot read by whom: {', '.join(calls)}. Start this recorder again, wait until"
            " `recorder calls` shows an outcome for each, stop it, and go back then"
        )
