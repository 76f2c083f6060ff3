"""Reads Asterisk's own ledgers beside the catalogue and hands both to `join`: queue log first, then the CDR, then us.

Changes nothing, and holds one batch of rows at a time. The invariant: a ledger's line is read before our books are
asked for its call, so that a call which ends meanwhile is no mismatch.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from recorder.books.batches import batches
from recorder.books.join import Reach, Scope, Told
from recorder.books.mismatch import Code, Mismatch
from recorder.catalogue import BookedCall, Catalogue
from recorder.cdr import Cdr, CdrRow, SignKind
from recorder.marks import CDR, QUEUE_LOG, beginnings, taken_in_at
from recorder.model import Outcome, Uniqueid
from recorder.queue_log import Entry, Passage, QueueLog, each_passage

Booked = Mapping[Uniqueid, tuple[BookedCall, ...]]
RESTARTED: Final = "QUEUESTART"
LONGEST_CALL: Final = timedelta(hours=24)
NAMED_BY_ID = re.compile(r"\d{9,11}\.\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledgers:
    """Where Asterisk's ledgers are as we see them, None: not read; and the queues that our lines name."""

    queue_log: Path | None = None
    cdr: Path | None = None
    queues: frozenset[str] = frozenset()


async def scope_of(
    catalogue: Catalogue, node: str, queues: Iterable[str], since: datetime | None, now: datetime
) -> Scope:
    """What the books must account for: from the daemon's first start on, a queue from when it became a line's."""
    begin, begins = await beginnings(catalogue, node, frozenset(queues), now)
    taken_in = [at for name in (QUEUE_LOG, CDR) if (at := await taken_in_at(catalogue, node, name)) is not None]
    return Scope(
        since=max(begin, since or begin),
        begins=begins,
        reconciled_at=min(taken_in, default=begin),
        now=now,
    )


def ids_in(paths: Iterable[Path]) -> dict[str, Path]:
    """The ids of Asterisk's that stand in the names of files."""
    return {name: path for path in paths for name in NAMED_BY_ID.findall(path.name)}


async def read_ledgers(catalogue: Catalogue, node: str, ledgers: Ledgers, told: Told) -> list[Mismatch]:
    """Read both into `told`; what they have and our books have not."""
    found: list[Mismatch] = []
    since = told.scope.since - LONGEST_CALL
    if ledgers.queue_log is not None:
        try:
            found += [item async for item in _queue_log(catalogue, node, ledgers.queue_log, since, told)]
        except (OSError, EOFError) as error:
            told.queue_log = None
            if not await _is_yet_to_come(catalogue, node, ledgers.queue_log, error, told):
                found.append(_unreadable("the queue log", ledgers.queue_log, error))
    if ledgers.cdr is not None:
        try:
            found += [item async for item in _cdr(catalogue, node, ledgers.cdr, since, told)]
        except (OSError, EOFError) as error:
            told.cdr = None
            if not await _is_yet_to_come(catalogue, node, ledgers.cdr, error, told):
                found.append(_unreadable("the CDR", ledgers.cdr, error))
    return found


async def _is_yet_to_come(catalogue: Catalogue, node: str, path: Path, error: Exception, told: Told) -> bool:
    """Asterisk makes a ledger with its first line: that one is not there before a call has ended is as it should be."""
    if not isinstance(error, FileNotFoundError) or not path.parent.is_dir():
        return False
    for outcome in Outcome:
        if await catalogue.list_calls(1, node=node, outcome=outcome, since=told.scope.since):
            return False
    return True


def _unreadable(what: str, path: Path, error: Exception) -> Mismatch:
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return Mismatch(code=Code.LEDGER_UNREADABLE, what=f"{what} cannot be read: {said}", path=path)


async def _queue_log(
    catalogue: Catalogue, node: str, path: Path, since: datetime, told: Told
) -> AsyncIterator[Mismatch]:
    told.queue_log = reach = Reach()
    entries = _watched(QueueLog(path).every(since), reach, told.restarts)
    async for batch in batches(each_passage(entries)):
        booked = await catalogue.calls_of_uniqueids(node, [passage.uniqueid for passage in batch])
        for item in await asyncio.to_thread(_passages, told, batch, booked):
            yield item


def _watched(entries: Iterable[Entry], reach: Reach, restarts: list[datetime]) -> Iterator[Entry]:
    for entry in entries:
        reach.widen(entry.at)
        if entry.event == RESTARTED:
            restarts.append(entry.at)
        yield entry


async def _cdr(catalogue: Catalogue, node: str, path: Path, since: datetime, told: Told) -> AsyncIterator[Mismatch]:
    told.cdr = reach = Reach()
    cdr = Cdr(path)
    async for batch in batches(cdr.every(since)):
        for row in batch:
            reach.widen(row.ended_at)
        booked = await _booked(catalogue, node, batch)
        for item in await asyncio.to_thread(_rows, told, batch, booked):
            yield item
    if cdr.without_uniqueid and not told.rows:
        told.cdr = None
        what = (
            "the CDR has no column uniqueid: set loguniqueid = yes and newcdrcolumns = yes in cdr.conf, section [csv]"
        )
        yield Mismatch(code=Code.LEDGER_UNREADABLE, what=what, path=path)


def _passages(told: Told, batch: list[Passage], booked: Booked) -> list[Mismatch]:
    return [item for passage in batch for item in told.passage(passage, booked.get(passage.uniqueid, ()))]


def _rows(told: Told, batch: list[CdrRow], booked: Booked) -> list[Mismatch]:
    return [item for row in batch for item in told.row(row, booked.get(row.uniqueid, ()))]


async def _booked(catalogue: Catalogue, node: str, rows: list[CdrRow]) -> Booked:
    """The calls of these rows' channels. An agent who dialled may be known by the linkedid alone."""
    booked = await catalogue.calls_of_uniqueids(node, [row.uniqueid for row in rows])
    dialled = [row for row in rows if row.sign and row.sign.kind is SignKind.DIALLED and row.uniqueid not in booked]
    linked = await catalogue.calls_of_linkedids(node, [row.linkedid for row in dialled if row.linkedid])
    return {**booked, **{row.uniqueid: linked[row.linkedid] for row in dialled if row.linkedid in linked}}
