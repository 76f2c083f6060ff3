"""Has the keyed digest of each call's number written, off the caller's way.

Must not see a number. What is noted and not yet written is in memory alone: a daemon that dies loses the digests of the
last seconds, and with them nothing but that these calls are not found by number.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from recorder.catalogue import Catalogue, CatalogueError
from recorder.model import CallId

AT_ONCE: Final = 200
WAITING_MOST: Final = 20_000
"""Digests that wait for a catalogue that is away: some hours of a large centre. The oldest make way."""


class NumberWatch:
    """`note` takes a digest, `look` writes what has gathered."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._waiting: deque[tuple[CallId, str]] = deque(maxlen=WAITING_MOST)

    def note(self, call: CallId, digest: str) -> None:
        self._waiting.append((call, digest))

    async def look(self) -> bool:
        """Write some; whether there is more. CatalogueError passes, and what was not written waits."""
        some = [self._waiting.popleft() for _ in range(min(AT_ONCE, len(self._waiting)))]
        if not some:
            return False
        try:
            await self._catalogue.write_numbers(some)
        except CatalogueError:
            self._waiting.extendleft(reversed(some))
            raise
        return bool(self._waiting)
