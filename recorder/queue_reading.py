"""Reads the queue log on from its mark to its end, and remembers the lines that somebody may need again.

Must not judge what a line means for a call, nor which is still needed. The invariant: of each call that is in progress,
or not in the books, what is remembered tells what reading everything since the mark again would; so a daemon that
starts, and does read it again, loses nothing.

The mark waits at the oldest call in progress. A caller who is parked for hours at a busy site holds back tens of
megabytes, a second of the processor for ten of them: too much for once a minute, and too long for calls that wait for
what the log proves. So each line is read once in a daemon's life.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from recorder.catalogue import Catalogue
from recorder.marks import QUEUE_LOG, ReadingMark
from recorder.model import Uniqueid
from recorder.queue_log import Entry, QueueLog, of_calls, presser
from recorder.rotated import Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """What is remembered since the mark, in order, and where the reading ended."""

    entries: tuple[Entry, ...]
    end: Place
    is_all: bool  # all that stood in the log when this reading began; not so where a line was half written


class QueueReading:
    """What was read of one queue log. Readings may be asked for side by side: the second goes on from the first."""

    def __init__(
        self,
        *,
        node: str,
        catalogue: Catalogue,
        log: QueueLog,
        queues: Collection[str],
        callers: Callable[[], frozenset[Uniqueid]],
        has_leg: Callable[[Uniqueid], bool],
    ) -> None:
        self._node = node
        self._catalogue = catalogue
        self._log = log
        self._queues = queues
        self._callers = callers  # of the calls in progress
        self._has_leg = has_leg  # of any call in progress
        self._mark = ReadingMark(catalogue, node, QUEUE_LOG)
        self._one_at_a_time = asyncio.Lock()
        self._reached: Place | None = None  # None: nothing was read yet
        self._entries: list[Entry] = []
        self._followed: set[Uniqueid] = set()  # in whose names those stand, at the least

    async def read(self) -> Lines:
        """All since the mark that may be needed. OSError and CatalogueError pass; what was read till then is kept."""
        async with self._one_at_a_time:
            since = self._reached or await self._mark.place(self._log.end())
            while True:
                entries, reached, is_all = await asyncio.to_thread(self._block, since, self._followed)
                if reached.inode == since.inode and reached.offset < since.offset:
                    self._entries = []  # the log was emptied in its place: no mark can name a line that is gone
                is_last = is_all or reached == since
                if not is_last:  # the last is judged, and forgotten, with the rest
                    entries = await self._not_past(entries)
                self._entries += entries
                self._followed.update(entry.uniqueid for entry in entries)
                self._reached = since = reached
                if is_last:
                    return Lines(entries=tuple(self._entries), end=reached, is_all=is_all)

    def _block(self, since: Place, followed: Iterable[Uniqueid]) -> tuple[list[Entry], Place, bool]:
        """The lines of calls in one block, its end, and whether that is the log's, as it was before. In a thread."""
        end = self._log.end()
        entries, reached = self._log.read(since)
        return of_calls(entries, self._queues, followed), reached, reached.reaches(end)

    async def _not_past(self, entries: list[Entry]) -> list[Entry]:
        """Without those of calls in the books that are over: a long log need not be held whole to be read."""
        legs = self._over(entry.uniqueid for entry in entries)
        booked = await self._catalogue.known_uniqueids(self._node, sorted(legs))
        past = self._over(booked)
        return [entry for entry in entries if entry.uniqueid not in past or self._has_leg(presser(entry))]

    def _over(self, legs: Iterable[Uniqueid]) -> frozenset[Uniqueid]:
        """Those of no call in progress, now."""
        return frozenset(leg for leg in legs if not self._has_leg(leg)) - self._callers()

    async def keep(self, lines: Lines, held: Collection[Place], booked: Collection[Uniqueid], at: datetime) -> None:
        """Move the mark to the first of the `held` lines; forget what lies ahead of it, and calls in the books.

        What another reading has added to `lines` meanwhile is left for the next time.
        """
        onwards, gone = await asyncio.to_thread(_forgotten, lines, frozenset(held), self._over(booked))
        await self._mark.keep(onwards, at if lines.is_all else None)
        self._entries = [entry for entry in self._entries if id(entry) not in gone]
        self._followed = {entry.uniqueid for entry in self._entries}


def _forgotten(lines: Lines, held: frozenset[Place], past: frozenset[Uniqueid]) -> tuple[Place, frozenset[int]]:
    """Where the mark goes, and which lines nobody needs any more (`id`: of an emptied log two may have one place).

    The first in the order of reading is the oldest, in however many files they stand.
    """
    places = [entry.place for entry in lines.entries]
    first = next((number for number, place in enumerate(places) if place in held), len(places))
    onwards = places[first] if first < len(places) else lines.end
    gone = (
        number < first or (entry.uniqueid in past and places[number] not in held)
        for number, entry in enumerate(lines.entries)
    )
    return onwards, frozenset(id(entry) for entry, is_gone in zip(lines.entries, gone, strict=True) if is_gone)
