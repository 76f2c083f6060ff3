"""Balances the books of the last hours while the daemon runs, and says so when they do not.

Must not mend anything, and reads no audio: a file must be there in its length, `recorder verify` reads the digests too.
The invariant: a mismatch that was found stands in /status and in the metrics until a pass no longer finds it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final

import structlog

from recorder.books import Balanced, Code, NotBalanced
from recorder.catalogue import CatalogueError
from recorder.chain import Head

log = structlog.get_logger(__name__)

LOOKS_BACK: Final = timedelta(hours=4)

Balance = Callable[[datetime, datetime], Awaitable[Balanced]]
"""The books of the calls started since the first moment, as they are at the second."""


class Bookkeeper:
    """The step, and what its last pass found."""

    def __init__(self, balance: Balance, now: Callable[[], datetime]) -> None:
        self._balance = balance
        self._now = now
        self._said: Counter[Code] = Counter()
        self._head: Head | None = None
        self._listening_head: Head | None = None
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
            books = await self._balance(now - LOOKS_BACK, now)
        except NotBalanced as error:
            self._unread = str(error)
            log.error("books_not_balanced", why=str(error))
            return False
        except CatalogueError as error:
            self._unread = str(error)
            raise
        self._unread = None
        self._take(books)
        return False

    def _take(self, books: Balanced) -> None:
        self.found = books.found
        self.personal_calls = books.personal_calls
        if self.found and self.found != self._said:  # once for each state: an alarm each ten minutes is none
            found = {str(code): count for code, count in self.found.items()}
            log.error("books_do_not_balance", found=found, first=list(books.first))
        elif self._said and not self.found:
            log.info("books_balance_again")
        self._said = self.found
        if books.head is not None and books.head != self._head:  # a log that is sent elsewhere keeps it there
            log.info("chain_head", head=str(books.head))
            self._head = books.head
        if books.listening_head is not None and books.listening_head != self._listening_head:
            log.info("listening_head", head=str(books.listening_head))
            self._listening_head = books.listening_head
