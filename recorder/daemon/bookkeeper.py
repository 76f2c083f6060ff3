"""Balances the books of the last hours while the daemon runs, and says so when they do not.

Must not mend anything, and reads no audio: a file must be there in its length, `recorder verify` reads the digests too.
The invariant: a mismatch that was found stands in /status and in the metrics until a pass no longer finds it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import structlog

from recorder.books import Books, Code, Ledgers, Mismatch, verify
from recorder.catalogue import Catalogue
from recorder.chain import Head
from recorder.storage import Storage, StorageError

log = structlog.get_logger(__name__)

LOOKS_BACK: Final = timedelta(hours=4)
FIRST_NAMED: Final = 3


class Bookkeeper:
    """The step, and what its last pass found."""

    def __init__(
        self, *, node: str, catalogue: Catalogue, storage: Storage, ledgers: Ledgers, now: Callable[[], datetime]
    ) -> None:
        self._node = node
        self._catalogue = catalogue
        self._storage = storage
        self._ledgers = ledgers
        self._now = now
        self._said: Counter[Code] = Counter()
        self._head: Head | None = None
        self.found: Counter[Code] = Counter()
        self.personal_calls: int | None = None
        self._unread: str | None = None

    @property
    def warnings(self) -> list[str]:
        """Sentences for /status."""
        found = []
        if self.found:
            named = ", ".join(f"{count} {code}" for code, count in self.found.items())
            found.append(f"the books do not balance ({named}): run `recorder verify`")
        if self._unread is not None:
            found.append(f"the books could not be balanced: {self._unread}")
        return found

    async def look(self) -> bool:
        """Balance the books of LOOKS_BACK once. CatalogueError passes."""
        now = self._now()
        try:
            books = await verify(
                self._catalogue,
                self._storage,
                node=self._node,
                now=now,
                ledgers=self._ledgers,
                since=now - LOOKS_BACK,
                read_digests=False,
            )
        except StorageError as error:
            self._unread = str(error)
            log.error("books_not_balanced", why=str(error))
            return False
        self._unread = None
        self._take(books)
        return False

    def _take(self, books: Books) -> None:
        self.found = Counter(item.code for item in books.mismatches)
        self.personal_calls = books.personal_calls
        if self.found and self.found != self._said:  # once for each state: an alarm each ten minutes is none
            first = [_words(item) for item in books.mismatches[:FIRST_NAMED]]
            log.error(
                "books_do_not_balance", found={str(code): count for code, count in self.found.items()}, first=first
            )
        elif self._said and not self.found:
            log.info("books_balance_again")
        self._said = self.found
        if books.head is not None and books.head != self._head:  # a log that is sent elsewhere keeps it there
            log.info("chain_head", head=str(books.head))
            self._head = books.head


def _words(item: Mismatch) -> str:
    """The code and the ids; never the words, which may hold what Asterisk was told by a caller."""
    named = item.call or item.recording or (item.path.name if item.path else "")
    return f"{item.code} {named}".strip()
