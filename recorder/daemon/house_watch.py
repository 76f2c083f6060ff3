"""Does the house record by itself? Tells what `recorder doctor --rivals` found, which may ask what we may not.

Must not ask Asterisk: the daemon's account reads no configuration. The invariant: a look that is missing is told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import structlog

from recorder.house_note import HouseNote, NoteUnreadable, read, sentences

log = structlog.get_logger(__name__)


class HouseWatch:
    """`warnings` are sentences for /status; none where no note is asked for."""

    def __init__(self, note: Path | None, now: Callable[[], datetime]) -> None:
        self._note = note
        self._now = now
        self._started_at = now()
        self.warnings: tuple[str, ...] = ()

    async def look(self) -> bool:
        """Read the note again."""
        if self._note is None:
            return False
        found = tuple(
            sentences(await asyncio.to_thread(self._read, self._note), started_at=self._started_at, now=self._now())
        )
        for warning in found:
            if warning not in self.warnings:
                log.warning("house_records", why=warning)
        self.warnings = found
        return False

    def _read(self, path: Path) -> HouseNote | None:
        try:
            return read(path)
        except NoteUnreadable as error:
            log.debug("house_note_unreadable", why=str(error))
            return None
