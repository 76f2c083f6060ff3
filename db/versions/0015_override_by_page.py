"""The journal tells of overrides that a page or a program asked for, and by whom.

Nothing in the schema changes. The way back waits for the calls in progress whose journal a recorder of revision 0014
could not read: it would take none of them up, and what captures them would go on unseen.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

UNKNOWN = frozenset({"by", "way", "unbrought"})
"""Fields of an override that a recorder of revision 0014 does not know."""
OPEN = sa.text(
    "SELECT e.call, e.fields FROM call_events e JOIN calls c ON c.id = e.call"
    " WHERE c.outcome IS NULL AND e.name = 'OverridePressed' ORDER BY e.call, e.seq"
).columns(call=sa.Uuid(), fields=sa.JSON())


def upgrade() -> None:
    """Nothing: what is new stands in the journal's own text."""


def downgrade() -> None:
    """Nothing but to look: see above."""
    found = op.get_bind().execute(OPEN)
    calls = list(dict.fromkeys(str(row.call) for row in found if UNKNOWN & set(row.fields)))
    if calls:
        raise RuntimeError(
            "an older recorder would not take up again what is in progress and had an override by a page, since it"
            f" cannot read who asked for it: {', '.join(calls)}. Start this recorder again, wait until"
            " `recorder calls` shows an outcome for each, stop it, and go back then"
        )
