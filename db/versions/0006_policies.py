"""The settings of each line as they were: the text of which the digest in every consent event was taken. Append-only.

The way back leaves the table where it is: an older recorder does not look at it, and what it tells of the consent
events that were written meanwhile is nowhere else. It waits for the calls in progress whose journal such a recorder
could not read: it would take none of them up, and what captures them would go on unseen. Of calls that are over it
finds fault with the journal (`verify`), and does nothing else with them.
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


READ_BEFORE = frozenset(("at", "reason", "far", "agent", "consent", "audit", "recording", "hindrance", "presser"))
"""What a recorder of revision 0005 knows of an override."""
OPEN = """
    SELECT e.call, e.fields FROM call_events e JOIN calls c ON c.id = e.call
    WHERE c.outcome IS NULL AND e.name = 'OverridePressed' ORDER BY e.call, e.seq
"""


def downgrade() -> None:
    """Nothing but to look: see above. `base` alone takes the table away (0001)."""
    found = op.get_bind().execute(sa.text(OPEN).columns(call=sa.Uuid(), fields=sa.JSON()))
    calls = list(dict.fromkeys(str(row.call) for row in found if set(row.fields) - READ_BEFORE))
    if calls:
        raise RuntimeError(
            "an older recorder would not take up again what is in progress and had an override, since it cannot read on"
            f" what that rests: {', '.join(calls)}. Start this recorder again, wait until `recorder calls` shows an"
            " outcome for each, stop it, and go back then"
        )
