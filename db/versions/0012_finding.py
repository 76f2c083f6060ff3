"""Calls are found by what few of them have without reading all of them: an agent, a reason, a consent, a finding.

Indexes alone: a recorder of revision 0011 finds nothing changed, and the way back takes them away.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

INDICES = (
    ("ix_calls_consent_started_at", "calls", ["consent", "started_at"], None),
    ("ix_calls_lost", "calls", ["started_at"], "reason IS NOT NULL"),
    ("ix_legs_seated", "legs", ["interface", "kind", "call"], "interface IS NOT NULL"),
    ("ix_consent_events_overridden", "consent_events", ["reason", "call"], "reason IS NOT NULL"),
    ("ix_recordings_noticed", "recordings", ["call"], "findings <> '[]'"),
)


def upgrade() -> None:
    for name, table, columns, of in INDICES:
        where = None if of is None else sa.text(of)
        op.create_index(op.f(name), table, columns, if_not_exists=True, sqlite_where=where, postgresql_where=where)


def downgrade() -> None:
    for name, table, _, _ in INDICES:
        op.drop_index(op.f(name), table_name=table, if_exists=True)
