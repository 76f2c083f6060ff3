"""What was answered to an asking that may come again: kept for a day, by the digests of its key and of its body.

Owns the SQL of kept_answers; must not know what was asked. The invariant: of two askings with one key, at once or one
after the other, one is begun.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import Connection, select
from sqlalchemy.dialects import postgresql, sqlite

from recorder.catalogue.tables import kept_answers

KEPT_FOR: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """One request. `digest` is of who asks, for what, and their key; `body` of that key and what they sent."""

    id: UUID
    digest: str
    body: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptAnswer:
    """What became of an asking. `status` is None while it is not known; `answer` where none is kept."""

    body: str
    status: int | None
    answer: str | None


def begin(connection: Connection, asking: Asking) -> KeptAnswer | None:
    """Begin it: None. What was begun with the same key before it, within a day: how that stands."""
    connection.execute(kept_answers.delete().where(kept_answers.c.at < asking.at - KEPT_FOR))
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    row = {"digest": asking.digest, "id": asking.id, "body": asking.body, "at": asking.at}
    adding = insert(kept_answers).values(row).on_conflict_do_nothing().returning(kept_answers.c.digest)
    if connection.execute(adding).first() is not None:
        return None
    found = connection.execute(select(kept_answers).where(kept_answers.c.digest == asking.digest)).one()
    if found.id == asking.id:  # it is this one's own, written by a try of which nobody heard
        return None
    return KeptAnswer(body=found.body, status=found.status, answer=found.answer)


def finish(connection: Connection, digest: str, status: int, answer: str | None) -> None:
    """Keep what it was answered."""
    unfinished = kept_answers.update().where(kept_answers.c.digest == digest, kept_answers.c.status.is_(None))
    connection.execute(unfinished.values(status=status, answer=answer))


def forget(connection: Connection, digest: str) -> None:
    """Nothing was done: whoever asks again may begin anew."""
    connection.execute(kept_answers.delete().where(kept_answers.c.digest == digest, kept_answers.c.status.is_(None)))
