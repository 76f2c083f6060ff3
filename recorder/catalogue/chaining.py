"""The next link of a node's chain, written in the transaction of the act that it commits to.

Owns how links are counted: one after the other in each node, without a gap, whoever writes. Must not change or remove
one, and never chains the same act twice: its callers come here only where the act's own row is new.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, bindparam, func, select
from sqlalchemy.sql import and_

from recorder.catalogue.tables import chain
from recorder.chain import NOTHING, SALT_BYTES, Body, Link, canonical, commitment, consent_body, end_body, moment
from recorder.model import ConsentRecorded

TURN_LOCK: Final = 7_283_106
"""Any number, the same in every program: beside the node's name it is what two writers of one chain take turns by."""

# PostgreSQL only: SQLite has one writer. A statement of its own, for the next must see what the other has committed.
_TAKE_TURN: Final = select(func.pg_advisory_xact_lock(TURN_LOCK, func.hashtext(bindparam("of_node"))))

_next = select((func.coalesce(func.max(chain.c.seq), 0) + 1).label("seq")).where(chain.c.node == bindparam("of_node"))
_next_link = _next.subquery("next_link")
_before, _further = chain.alias("before"), chain.alias("further")
_further_seq = _next_link.c.seq - (_next_link.c.seq.op("&")(-_next_link.c.seq))
_PLACE: Final = select(
    _next_link.c.seq,
    _before.c.digest.label("previous"),
    _further.c.digest.label("further"),
    select(func.count(chain.c.consent))
    .where(chain.c.call == bindparam("of_call"))
    .correlate(None)
    .scalar_subquery()
    .label("consents"),
).select_from(
    _next_link.outerjoin(
        _before, and_(_before.c.node == bindparam("of_node"), _before.c.seq == _next_link.c.seq - 1)
    ).outerjoin(_further, and_(_further.c.node == bindparam("of_node"), _further.c.seq == _further_seq))
)
_NODE_OF: Final = select(chain.c.node).where(chain.c.call == bindparam("of_call")).limit(1)
_ADD: Final = chain.insert()


def chain_consent(connection: Connection, fact: ConsentRecorded, values: Mapping[str, Any]) -> None:
    """Chain a consent event that was just written; `values` are its columns as they were."""
    place = _place(connection, fact.node, fact.call)
    prompt = None if fact.prompt is None else asdict(fact.prompt)
    body = consent_body(values, prompt, node=fact.node, line=fact.line, mode=fact.mode, number=place.consents + 1)
    _add(connection, place, fact.node, body, call=fact.call, consent=fact.id)


def chain_end(connection: Connection, values: Mapping[str, Any]) -> None:
    """Chain that a call ended, and how many consent events it had; not for a call that had none."""
    call = values["call"]
    node = connection.execute(_NODE_OF, {"of_call": call}).scalar()
    if node is not None:
        place = _place(connection, node, call)
        _add(connection, place, node, end_body(values, node=node, consents=place.consents), call=call, consent=None)


def _place(connection: Connection, node: str, call: UUID) -> Any:
    if connection.dialect.name == "postgresql":
        connection.execute(_TAKE_TURN, {"of_node": node})
    return connection.execute(_PLACE, {"of_node": node, "of_call": call}).one()


def _add(connection: Connection, place: Any, node: str, body: Body, *, call: UUID, consent: UUID | None) -> None:
    now, salt, text = datetime.now(UTC), secrets.token_hex(SALT_BYTES), canonical(body)
    link = Link(
        node=node,
        seq=place.seq,
        at=moment(now),
        commitment=commitment(salt, text),
        previous=place.previous or NOTHING,
        further=place.further or NOTHING,
    )
    row = {"node": node, "seq": link.seq, "at": now, "call": call, "consent": consent, "salt": salt, "body": text}
    connection.execute(_ADD, row | {"commitment": link.commitment, "digest": link.digest})
