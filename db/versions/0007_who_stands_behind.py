"""The journal tells who stands behind a Local channel, and of a caller who is joined with a line by telephone.

Nothing in the schema changes. The way back waits for the calls in progress whose journal a recorder of revision 0006
could not read: it would take none of them up, and what captures them would go on unseen.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

UNKNOWN = frozenset({"LineReached", "ChannelOffered", "LocalOptimised", "ClockSet"})
"""Events that a recorder of revision 0006 need not know."""
FIELDS = {"TransferAttended": "link", "CallResynchronised": "twins"}
"""Fields of others that it does not."""
KINDS = frozenset({'"snoop"'})
"""Of a rival."""
OPEN = sa.text(
    "SELECT e.call, e.name, e.fields FROM call_events e JOIN calls c ON c.id = e.call"
    " WHERE c.outcome IS NULL ORDER BY e.call, e.seq"
).columns(call=sa.Uuid(), name=sa.String(), fields=sa.JSON())


def upgrade() -> None:
    """Nothing: what is new stands in the journal's own text."""


def downgrade() -> None:
    calls = list(dict.fromkeys(str(row.call) for row in op.get_bind().execute(OPEN) if is_unreadable(row)))
    if calls:
        raise RuntimeError(
            "an older recorder would not take up again what is in progress, since it cannot read who stands in it:"
            f" {', '.join(calls)}. Start this recorder again, wait until `recorder calls` shows an outcome for each,"
            " stop it, and go back then"
        )


def is_unreadable(row: sa.Row[tuple[object, str, dict[str, str]]]) -> bool:
    is_new = row.name in UNKNOWN or FIELDS.get(row.name) in row.fields
    return is_new or (row.name == "RivalMet" and row.fields.get("kind") in KINDS)
