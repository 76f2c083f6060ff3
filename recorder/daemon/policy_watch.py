"""Has what is in force on the lines written down, so that what a consent event's digest stands for is known.

Must not keep anybody waiting: a catalogue that is away takes it later, with the time at which it was first seen to be
in force. Settings are read at the start alone; what else may change it is recorder.daemon.line_watch's.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from recorder.catalogue import CALLER_WAITS, READER_WAITS, Catalogue, CatalogueError, CatalogueRefused
from recorder.policy import LinePolicy

log = structlog.get_logger(__name__)


class PolicyWatch:
    """`begin` writes them before anybody is asked, `look` what `begin` could not and what has come since."""

    def __init__(
        self,
        catalogue: Catalogue,
        applying: Callable[[], tuple[LinePolicy, ...]],
        *,
        node: str,
        version: str,
        now: Callable[[], datetime],
    ) -> None:
        self._catalogue = catalogue
        self._applying = applying
        self._seen: set[LinePolicy] = set()
        self._owed: list[tuple[LinePolicy, datetime]] = []
        self._node = node
        self._version = version
        self._now = now

    async def begin(self) -> None:
        """Write them now, where the catalogue takes them; what it does not take is said and stays owed."""
        try:
            await self._write(CALLER_WAITS)
        except CatalogueError as error:
            log.warning("policies_owed", lines=len(self._owed), why=str(error))

    async def look(self) -> bool:
        """Write what is owed. CatalogueError passes, and it stays owed."""
        await self._write(READER_WAITS)
        return False

    async def _write(self, within: timedelta) -> None:
        """Each line by itself: one that was changed past the recorder keeps no other from being kept."""
        news = [line for line in self._applying() if line not in self._seen]
        self._seen.update(news)
        self._owed += [(line, self._now()) for line in news]
        for owed in tuple(self._owed):
            line, since = owed
            try:
                await self._catalogue.write_policies(self._node, since, self._version, [line], within)
            except CatalogueRefused as error:  # trying again mends it no more; `verify` names it too
                log.error("policy_refused", line=line.line, policy=line.digest, why=str(error))
            self._owed.remove(owed)
