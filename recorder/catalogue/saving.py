"""The searches that people have named for themselves: made, listed, and really removed.

Owns the SQL of saved_searches; must not look for a call, and knows no number. The invariants: each is one person's and
comes to nobody else; of one person's there are never more than so many, each with a name of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Final
from uuid import UUID

from sqlalchemy import Connection, delete, func, select

from recorder.catalogue.tables import saved_searches
from recorder.catalogue.writing import clean_text

SAVED_MOST: Final = 50
"""Of one person's."""
TURN_LOCK: Final = 7_283_109
"""As commenting.TURN_LOCK, with the person's own number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedSearch:
    """A search under a name. `sought` is what was looked for, as it was understood: words, numbers and moments."""

    id: UUID
    user: str
    name: str
    sought: Mapping[str, str | float | bool]


_ROWS: Final = select(*(saved_searches.c[field.name].label(field.name) for field in fields(SavedSearch)))


class Unsaved(StrEnum):
    """Why a search is not kept."""

    TOO_MANY = "too_many"
    NAMED = "named"  # they have another of this name


def add(connection: Connection, search: SavedSearch) -> Unsaved | None:
    """Keep it, or say why not; one that is in already changes nothing."""
    if connection.dialect.name == "postgresql":  # SQLite has one writer at a time anyway
        connection.execute(select(func.pg_advisory_xact_lock(TURN_LOCK, func.hashtext(search.user))))
    kept, name = of(connection, search.user), clean_text(search.name)
    if any(one.id == search.id for one in kept):
        return None
    if len(kept) >= SAVED_MOST:
        return Unsaved.TOO_MANY
    if any(one.name == name for one in kept):
        return Unsaved.NAMED
    connection.execute(saved_searches.insert(), asdict(search) | {"name": name, "sought": _cleaned(search.sought)})
    return None


def _cleaned(sought: Mapping[str, str | float | bool]) -> dict[str, str | float | bool]:
    return {name: clean_text(value) if isinstance(value, str) else value for name, value in sought.items()}


def of(connection: Connection, user: str) -> tuple[SavedSearch, ...]:
    """Return somebody's own, by name."""
    found = [SavedSearch(**row._asdict()) for row in connection.execute(_ROWS.where(saved_searches.c.user == user))]
    return tuple(sorted(found, key=lambda one: (one.name.casefold(), one.name)))


def remove(connection: Connection, user: str, search: UUID) -> bool:
    """Remove it for good; returns whether there was one of theirs."""
    theirs = delete(saved_searches).where(saved_searches.c.user == user, saved_searches.c.id == search)
    return connection.execute(theirs).rowcount > 0
