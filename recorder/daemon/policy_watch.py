"""Has the lines' settings written down at each start, so that what a consent event's digest stands for is known.

Must not keep anybody waiting: a catalogue that is away takes them later. Settings are read at the start alone, so those
of the start are the ones in force.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from recorder.catalogue import CALLER_WAITS, READER_WAITS, Catalogue, CatalogueError, CatalogueRefused
from recorder.policy import LinePolicy

log = structlog.get_logger(__name__)


class PolicyWatch:
    """`begin` writes them before anybody is asked, `look` what `begin` could not."""

    def __init__(
        self,
        catalogue: Catalogue,
        lines: tuple[LinePolicy, ...],
        *,
        node: str,
        version: str,
        now: Callable[[], datetime],
    ) -> None:
        self._catalogue = catalogue
        self._owed = list(lines)
        self._node = node
        self._version = version
        self._since = now()

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
        for line in tuple(self._owed):
            try:
                await self._catalogue.write_policies(self._node, self._since, self._version, [line], within)
            except CatalogueRefused as error:  # trying again mends it no more; `verify` names it too
                log.error("policy_refused", line=line.line, policy=line.digest, why=str(error))
            self._owed.remove(line)
