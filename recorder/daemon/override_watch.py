"""Looks now and then who overrides much more than the line's others, and says so without a name.

Must not judge: recorder.overrides does, and a person after it (`recorder consents overrides`). The invariant: what was
found stands in /status and in the metrics until a look no longer finds it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import structlog

from recorder.catalogue import Catalogue

log = structlog.get_logger(__name__)

LOOKS_BACK: Final = timedelta(days=7)


class OverrideWatch:
    """The step, and what its last look found."""

    def __init__(self, catalogue: Catalogue, *, node: str, now: Callable[[], datetime]) -> None:
        self._catalogue = catalogue
        self._node = node
        self._now = now
        self.standing_out = 0  # agents, once for each line and reason
        self._lines: tuple[str, ...] = ()

    @property
    def warnings(self) -> list[str]:
        """Sentences for /status."""
        return [
            f"on line {line} somebody overrides much more than the others: run `recorder consents overrides`"
            for line in self._lines
        ]

    async def look(self) -> bool:
        """Count the overrides of LOOKS_BACK once. CatalogueError passes."""
        rows = await self._catalogue.overrides(self._now() - LOOKS_BACK, node=self._node)
        found = [row for row in rows if row.stands_out]
        lines = tuple(sorted({row.line for row in found}))
        if found and lines != self._lines:
            log.warning("overrides_stand_out", lines=list(lines))
        self.standing_out, self._lines = len(found), lines
        return False
