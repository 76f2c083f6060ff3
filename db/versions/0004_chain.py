"""The chain of consent events, and the keyed digests of numbers.

What was written before is chained here, in its order, and has not changed since. The way back leaves both tables where
they are: an older recorder does not look at them, heads that somebody noted elsewhere stay right, and the next upgrade
goes on behind the last link with what was written meanwhile.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

AT = sa.DateTime(timezone=True)
AT_ONCE = 1000
COLUMNS = ("node", "seq", "at", "call", "consent", "salt", "body", "commitment", "digest")
SAID = ("before", "after", "channel", "policy", "played_ms", "key", "language", "actor", "reason", "basis")
SHOWN = ("id", "kind", "language", "version", "sha256", "min_played_ms", "text")

# Consent events and ends of calls that are not chained, in the order in which they were written.
CONSENTS = """
    SELECT c.node, e.id, e.call, e.at, e.before, e.after, e.channel, e.policy, e.played_ms, e.key, e.language, e.actor,
           e.reason, e.basis, p.number AS has_prompt, p.id AS prompt_id, p.kind AS prompt_kind,
           p.language AS prompt_language, p.version AS prompt_version, p.sha256 AS prompt_sha256,
           p.min_played_ms AS prompt_min_played_ms, p.text AS prompt_text
    FROM consent_events e JOIN calls c ON c.id = e.call LEFT JOIN prompts p ON p.number = e.prompt
    WHERE NOT EXISTS (SELECT 1 FROM chain l WHERE l.consent = e.id) ORDER BY e.seq
"""
ENDS = """
    SELECT c.node, c.id AS call, c.ended_at, c.outcome, c.reason, COUNT(e.id) AS consents
    FROM calls c JOIN consent_events e ON e.call = c.id
    WHERE c.outcome IS NOT NULL AND NOT EXISTS (SELECT 1 FROM chain l WHERE l.call = c.id AND l.consent IS NULL)
    GROUP BY c.node, c.id, c.ended_at, c.outcome, c.reason ORDER BY c.ended_at, c.id
"""
COUNTED = "SELECT call, COUNT(consent) AS consents FROM chain GROUP BY call"
LAST = "SELECT node, seq, digest FROM chain ORDER BY node, seq"


def upgrade() -> None:
    there = sa.inspect(op.get_bind()).get_table_names()
    if "chain" not in there:
        make_chain()
    if "numbers" not in there:
        make_numbers()
    chain_what_there_is(op.get_bind())


def make_numbers() -> None:
    op.create_table(
        "numbers",
        sa.Column("call", sa.Uuid(), nullable=False),
        sa.Column("digest", sa.String(length=80), nullable=False),
        sa.PrimaryKeyConstraint("call", "digest", name=op.f("pk_numbers")),
    )
    op.create_index(op.f("ix_numbers_digest"), "numbers", ["digest"])


def make_chain() -> None:
    op.create_table(
        "chain",
        sa.Column("node", sa.String(length=64), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("at", AT, nullable=False),
        sa.Column("call", sa.Uuid(), nullable=False),
        sa.Column("consent", sa.Uuid(), nullable=True),
        sa.Column("salt", sa.String(length=64), nullable=True),
        sa.Column("body", sa.Text(), nullable=True),
        sa.Column("commitment", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.CheckConstraint("(salt IS NULL) = (body IS NULL)", name=op.f("ck_chain_salt_with_body")),
        sa.CheckConstraint("seq > 0", name=op.f("ck_chain_seq_from_one")),
        sa.PrimaryKeyConstraint("node", "seq", name=op.f("pk_chain")),
        sa.UniqueConstraint("consent", name=op.f("uq_chain_consent")),
    )
    op.create_index(op.f("ix_chain_call"), "chain", ["call"])
    op.create_index(op.f("ix_chain_node_at"), "chain", ["node", "at"])
    if op.get_bind().dialect.name == "sqlite":
        close_on_sqlite()
    else:
        op.execute(
            "CREATE TRIGGER chain_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON chain"
            " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )


def close_on_sqlite() -> None:
    """Refuse UPDATE, DELETE, and INSERT OR REPLACE, which deletes without a DELETE trigger."""
    refusal = "BEGIN SELECT RAISE(ABORT, 'chain is append-only'); END"
    op.execute(f"CREATE TRIGGER chain_no_update BEFORE UPDATE ON chain {refusal}")
    op.execute(f"CREATE TRIGGER chain_no_delete BEFORE DELETE ON chain {refusal}")
    op.execute(
        "CREATE TRIGGER chain_no_replace BEFORE INSERT ON chain WHEN EXISTS (SELECT 1 FROM chain"
        f" WHERE (node = NEW.node AND seq = NEW.seq) OR consent = NEW.consent) {refusal}"
    )


def downgrade() -> None:
    """Nothing: see above. `base` alone takes it away (0001)."""


# --------------------------------------------------------------------------- the links, written out as they are now


def chain_what_there_is(bind: sa.Connection) -> None:
    digests: dict[tuple[str, int], str] = {}
    newest: dict[str, int] = {}
    for node, seq, digest in bind.execute(sa.text(LAST)):
        newest[node] = seq
        remember(digests, node, seq, digest)
    table = sa.table("chain", *(sa.column(name, TYPES.get(name, sa.String())) for name in COLUMNS))
    now = datetime.now(UTC)
    rows: list[dict[str, Any]] = []
    for node, call, consent, body in what_there_is(bind):
        seq = newest[node] = newest.get(node, 0) + 1
        row = linked(digests, node, seq, now, body)
        rows.append(row | {"call": call, "consent": consent})
        remember(digests, node, seq, row["digest"])
        if len(rows) == AT_ONCE:
            bind.execute(table.insert(), rows)
            rows.clear()
    if rows:
        bind.execute(table.insert(), rows)


TYPES: dict[str, Any] = {"seq": sa.BigInteger(), "at": AT, "call": sa.Uuid(), "consent": sa.Uuid()}


def what_there_is(bind: sa.Connection) -> Iterator[tuple[str, UUID, UUID | None, dict[str, Any]]]:
    """Node, call, consent event and body of each act that is not chained; an event's line is not known any more."""
    counted: dict[UUID, int] = {
        row.call: row.consents for row in bind.execute(sa.text(COUNTED).columns(call=sa.Uuid(), consents=sa.Integer()))
    }
    for row in read(bind, sa.text(CONSENTS).columns(id=sa.Uuid(), call=sa.Uuid(), at=AT)):
        number = counted[row["call"]] = counted.get(row["call"], 0) + 1
        body = {"kind": "consent", "node": row["node"], "line": None, "mode": None, "number": number}
        body |= {"id": str(row["id"]), "call": str(row["call"]), "at": moment(row["at"])}
        body |= {name: row[name] for name in SAID}
        has_prompt = row["has_prompt"] is not None
        body["prompt"] = {name: row[f"prompt_{name}"] for name in SHOWN} if has_prompt else None
        yield row["node"], row["call"], row["id"], body
    for row in read(bind, sa.text(ENDS).columns(call=sa.Uuid(), ended_at=AT)):
        body = {"kind": "end", "node": row["node"], "call": str(row["call"]), "at": moment(row["ended_at"])}
        body |= {name: row[name] for name in ("outcome", "reason", "consents")}
        yield row["node"], row["call"], None, body


def read(bind: sa.Connection, query: Any) -> Iterator[dict[str, Any]]:
    """Some at a time: what is chained meanwhile was read already, and each row is met once."""
    for row in bind.execute(query.execution_options(yield_per=AT_ONCE)):
        yield row._asdict()


def linked(digests: dict[tuple[str, int], str], node: str, seq: int, now: datetime, body: dict[str, Any]) -> Any:
    salt, text = secrets.token_hex(32), canonical(body)
    link = {
        "node": node,
        "seq": seq,
        "at": moment(now),
        "commitment": hashlib.sha256(bytes.fromhex(salt) + text.encode()).hexdigest(),
        "previous": digests.get((node, seq - 1), "0" * 64),
        "further": digests.get((node, without_lowest_bit(seq)), "0" * 64),
    }
    digest = hashlib.sha256(canonical(link).encode()).hexdigest()
    row = {"node": node, "seq": seq, "at": now, "salt": salt, "body": text}
    return row | {"commitment": link["commitment"], "digest": digest}


def remember(digests: dict[tuple[str, int], str], node: str, seq: int, digest: str) -> None:
    """Keep those that later links will name, and no others: a few dozen of a chain of any length."""
    needed = {seq}
    while seq := without_lowest_bit(seq):
        needed.add(seq)
    newest = max(needed)
    for known in [key for key in digests if key[0] == node and key[1] not in needed]:
        del digests[known]
    digests[node, newest] = digest


def without_lowest_bit(seq: int) -> int:
    return seq - (seq & -seq)


def canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def moment(at: datetime) -> str:
    """SQLite keeps no zone: what it gives back is the UTC that was put in."""
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC).isoformat(timespec="microseconds")
