"""How far a ledger of Asterisk's was taken into the books, and since when books are kept: bookmarks of the catalogue.

Owns the bookmarks' shape; reads no ledger. The invariant: what a mark says was taken in up to its time was read to the
ledger's end at that time.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Final

from recorder.catalogue import Catalogue
from recorder.rotated import Place

QUEUE_LOG: Final = "queue_log"
CDR: Final = "cdr"
BEGINNINGS: Final = "books"
"""Since when this node's books are kept (""), and since when each queue is a line's (by its name)."""


class ReadingMark:
    """The bookmark of one ledger."""

    def __init__(self, catalogue: Catalogue, node: str, name: str) -> None:
        self._catalogue = catalogue
        self._node = node
        self._name = name

    async def place(self, end: Place | None) -> Place:
        """How far the ledger was taken in; at the very first its `end` now, which is None while there is none.

        Calls from before we were installed are not ours to account for; a log that is yet to be made is, all of it.
        """
        kept = await self._catalogue.bookmark(self._node, self._name)
        if kept is not None:
            return Place(inode=int(kept["inode"]), offset=int(kept["offset"]))
        first = end or Place(inode=0, offset=0)
        await self.keep(first, None)
        return first

    async def keep(self, place: Place, at: datetime | None) -> None:
        """Go on from `place` next time. `at`: when the ledger was read to its end, None where it was not."""
        value: dict[str, str | int] = {"inode": place.inode, "offset": place.offset}
        if at is not None:
            value["at"] = at.isoformat()
        elif (kept := await self._catalogue.bookmark(self._node, self._name)) is not None and "at" in kept:
            value["at"] = kept["at"]
        await self._catalogue.write_bookmark(self._node, self._name, value)


async def taken_in_at(catalogue: Catalogue, node: str, name: str) -> datetime | None:
    """Up to when the ledger was taken in; None where it never was."""
    kept = await catalogue.bookmark(node, name)
    return _time(kept, "at")


async def begin_books(catalogue: Catalogue, node: str, queues: Collection[str], now: datetime) -> None:
    """Note what is new: the books themselves, a queue that a line names now. One that no line names is forgotten."""
    kept = await catalogue.bookmark(node, BEGINNINGS)
    begin = _time(kept, "") or await catalogue.first_call_at(node) or now
    # Where books were kept before they had a beginning, the queues were ours all along.
    since = {queue: _time(kept, f"queue {queue}") or (begin if kept is None else now) for queue in sorted(queues)}
    value: dict[str, str | int] = {"": begin.isoformat()}
    value |= {f"queue {queue}": at.isoformat() for queue, at in since.items()}
    if value != kept:
        await catalogue.write_bookmark(node, BEGINNINGS, value)


async def beginnings(
    catalogue: Catalogue, node: str, queues: Collection[str], now: datetime
) -> tuple[datetime, dict[str, datetime]]:
    """Since when books are kept, and since when each of `queues` is a line's; one that was never noted is left out."""
    kept = await catalogue.bookmark(node, BEGINNINGS)
    begin = _time(kept, "") or await catalogue.first_call_at(node) or now
    since = {queue: _time(kept, f"queue {queue}") if kept else begin for queue in queues}
    return begin, {queue: at for queue, at in since.items() if at is not None}


def _time(kept: Mapping[str, str | int] | None, name: str) -> datetime | None:
    return datetime.fromisoformat(str(kept[name])) if kept and name in kept else None
