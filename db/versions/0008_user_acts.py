"""People and the roles that they hold, as what was done to them. Append-only.

The way back leaves the table where it is, as 0006 does: who might do what, and when, is told nowhere else. It waits for
the calls in progress whose override names a person, which an older recorder could not read: it would take none of them
up, and what captures them would go on unseen.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

COUNTER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    if "user_acts" in sa.inspect(op.get_bind()).get_table_names():
        return
    op.create_table(
        "user_acts",
        sa.Column("seq", COUNTER, autoincrement=True, nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.String(length=255), nullable=False),
        sa.Column("of_user", sa.String(length=64), nullable=False),
        sa.Column("action", sa.String(length=32), nullable=False),
        sa.Column("node", sa.String(length=64), nullable=True),
        sa.Column("interface", sa.String(length=255), nullable=True),
        sa.Column("role", sa.String(length=32), nullable=True),
        sa.Column("line", sa.String(length=64), nullable=True),
        sa.CheckConstraint(
            "action IN ('added', 'seated', 'granted', 'revoked', 'disabled', 'enabled')",
            name=op.f("ck_user_acts_action"),
        ),
        sa.CheckConstraint(
            "(action IN ('granted', 'revoked')) = (role IS NOT NULL AND line IS NOT NULL)",
            name=op.f("ck_user_acts_role_and_line"),
        ),
        sa.CheckConstraint("(action = 'seated') = (node IS NOT NULL)", name=op.f("ck_user_acts_node_where_seated")),
        sa.CheckConstraint("interface IS NULL OR node IS NOT NULL", name=op.f("ck_user_acts_interface_of_a_node")),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_user_acts")),
        sa.UniqueConstraint("id", name=op.f("uq_user_acts_id")),
    )
    op.create_index(op.f("ix_user_acts_of_user"), "user_acts", ["of_user"])
    op.create_index(op.f("ix_user_acts_node_interface"), "user_acts", ["node", "interface"])
    if op.get_bind().dialect.name == "sqlite":
        close_on_sqlite()
    else:
        op.execute(
            "CREATE TRIGGER user_acts_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON user_acts"
            " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )


def close_on_sqlite() -> None:
    """Refuse UPDATE, DELETE, and INSERT OR REPLACE, which deletes without a DELETE trigger."""
    refusal = "BEGIN SELECT RAISE(ABORT, 'user_acts is append-only'); END"
    op.execute(f"CREATE TRIGGER user_acts_no_update BEFORE UPDATE ON user_acts {refusal}")
    op.execute(f"CREATE TRIGGER user_acts_no_delete BEFORE DELETE ON user_acts {refusal}")
    op.execute(
        "CREATE TRIGGER user_acts_no_replace BEFORE INSERT ON user_acts WHEN EXISTS"
        f" (SELECT 1 FROM user_acts WHERE id = NEW.id OR seq = NEW.seq) {refusal}"
    )


UNKNOWN = frozenset({"telephone", "user", "denied"})
"""Fields of an override that a recorder of revision 0007 does not know."""
OPEN = sa.text(
    "SELECT e.call, e.fields FROM call_events e JOIN calls c ON c.id = e.call"
    " WHERE c.outcome IS NULL AND e.name = 'OverridePressed' ORDER BY e.call, e.seq"
).columns(call=sa.Uuid(), fields=sa.JSON())


def downgrade() -> None:
    """Nothing but to look: see above. `base` alone takes the table away (0001)."""
    found = op.get_bind().execute(OPEN)
    calls = list(dict.fromkeys(str(row.call) for row in found if UNKNOWN & set(row.fields)))
    if calls:
        raise RuntimeError(
            "an older recorder would not take up again what is in progress and had an override, since it cannot read"
            f" whose that was: {', '.join(calls)}. Start this recorder again, wait until `recorder calls` shows an"
            " outcome for each, stop it, and go back then"
        )
