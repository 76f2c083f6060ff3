"""The walk through one node's books: every call in the catalogue, every settled file, every file in store and spool.

Reads in bounded batches and changes nothing; works beside a running daemon and without one. The invariant: a file is
listed before its row is asked for, and a row is read before its file, so that work under way is no mismatch.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar

from recorder.books.balance import balance
from recorder.books.files import Seen, judge_found, judge_settled, judge_staged
from recorder.books.mismatch import Code, Mismatch
from recorder.catalogue import Catalogue, RecordingRow, WholeCall
from recorder.model import CallId, Outcome, RecordingId, RecordingStatus
from recorder.storage import Leftover, SettledFileMissing, Spool, Storage, StorageError

T = TypeVar("T")
CALLS_AT_ONCE: Final = 200
FILES_AT_ONCE: Final = 500
WALKS: Final = 3
NEVER_KEPT: Final = (Outcome.EXCLUDED, Outcome.DECLINED)

Progress = Callable[[str, int, int | None], None]
"""Called with what is being read, how much of it is done, and how much there is (None: not known)."""


@dataclass(slots=True, kw_only=True)
class Books:
    """What was read, and what does not fit."""

    node: str
    calls: int = 0
    open_calls: int = 0
    consent_events: int = 0
    settled_bytes: int = 0
    files: int = 0
    staged_files: int = 0
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    recordings: Counter[RecordingStatus] = field(default_factory=Counter)
    files_of: Counter[Outcome] = field(default_factory=Counter)  # of the outcomes that keep none
    mismatches: list[Mismatch] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.mismatches


async def verify(
    catalogue: Catalogue, storage: Storage, *, node: str, now: datetime, progress: Progress = lambda *_: None
) -> Books:
    """Read all the books of `node`. CatalogueError or StorageError where they cannot be read to the end."""
    books = Books(node=node)
    await _walk_store(books, catalogue, storage, progress)  # first: a store that is not mounted is no missing file
    await _walk_spool(books, catalogue, storage.spool, now)
    await _walk_calls(books, catalogue, storage, now, progress)
    books.mismatches.sort(key=lambda item: (list(Code).index(item.code), str(item.call), str(item.path)))
    return books


# --------------------------------------------------------------------------- the catalogue, call by call


async def _walk_calls(books: Books, catalogue: Catalogue, storage: Storage, now: datetime, progress: Progress) -> None:
    total = (await catalogue.counts(now, books.node)).recordings[RecordingStatus.SETTLED]
    read = 0
    after: CallId | None = None
    progress("settled recordings", 0, total)
    while batch := await catalogue.calls_after(after, CALLS_AT_ONCE, books.node):
        after = batch[-1].call.id
        for whole in batch:
            _count(books, whole)
            books.mismatches += balance(whole)
            for row in whole.recordings:
                books.mismatches += await asyncio.to_thread(_look_at, books, whole, row, storage)
                read += row.status is RecordingStatus.SETTLED
                progress("settled recordings", read, total)


def _count(books: Books, whole: WholeCall) -> None:
    books.calls += 1
    books.consent_events += len(whole.consents)
    books.recordings.update(row.status for row in whole.recordings)
    if whole.call.outcome is None:
        books.open_calls += 1
    else:
        books.outcomes[whole.call.outcome] += 1


def _look_at(books: Books, whole: WholeCall, row: RecordingRow, storage: Storage) -> list[Mismatch]:
    found: list[Mismatch] = []
    if row.status is RecordingStatus.SETTLED:
        seen = _seen(row, storage)
        books.settled_bytes += seen.size or 0
        found += judge_settled(row, seen)
    ended = whole.call.outcome
    if ended in NEVER_KEPT:
        for path in _files_of(row, storage):
            books.files_of[ended] += 1
            what = f"the call was {ended} and there is audio of it"
            found.append(
                Mismatch(code=Code.FILE_AGAINST_OUTCOME, what=what, call=row.call, recording=row.id, path=path)
            )
    return found


def _seen(row: RecordingRow, storage: Storage) -> Seen:
    path = storage.path(row.id, row.authorised_at)
    try:
        size = path.stat().st_size
        digest = storage.digest(row.id, row.authorised_at) if size == row.size else None
    except (FileNotFoundError, SettledFileMissing):
        return Seen(path=path)
    except StorageError as error:
        return Seen(path=path, trouble=error.what)
    except OSError as error:
        return Seen(path=path, trouble=error.strerror or str(error))
    return Seen(path=path, size=size, sha256=digest)


def _files_of(row: RecordingRow, storage: Storage) -> list[Path]:
    paths = (storage.path(row.id, row.authorised_at), *storage.spool.paths(row.id))
    return [path for path in paths if path.exists()]


# --------------------------------------------------------------------------- the disks, file by file


async def _walk_store(books: Books, catalogue: Catalogue, storage: Storage, progress: Progress) -> None:
    """The daemon may rename a file between its listing and the look at it: then the walk is taken again."""
    for walk in range(1, WALKS + 1):
        try:
            files, mismatches = await _walk_store_once(catalogue, storage, progress)
        except StorageError as error:
            if walk == WALKS or error.path == storage.root or error.path.exists():
                raise
            continue
        books.files += files
        books.mismatches += mismatches
        return


async def _walk_store_once(catalogue: Catalogue, storage: Storage, progress: Progress) -> tuple[int, list[Mismatch]]:
    files = 0
    mismatches: list[Mismatch] = []
    async for batch in _batches(storage.walk()):
        rows = await catalogue.recordings_named({found.recording for found in batch if found.recording})
        for found in batch:
            row = rows.get(found.recording) if found.recording else None
            place = storage.path(row.id, row.authorised_at) if row else None
            mismatch = judge_found(found, row, place)
            if mismatch is not None and found.path.exists():  # the daemon's probes come and go
                mismatches.append(mismatch)
        files += len(batch)
        progress("files in the store", files, None)
    return files, mismatches


async def _walk_spool(books: Books, catalogue: Catalogue, spool: Spool, now: datetime) -> None:
    async for batch in _batches(spool.leftovers()):
        rows = await catalogue.recordings_named({left.recording for left in batch if left.recording})
        books.staged_files += len(batch)
        books.mismatches += [item for left in batch if (item := _staged(left, rows, now)) is not None]


def _staged(left: Leftover, rows: dict[RecordingId, RecordingRow], now: datetime) -> Mismatch | None:
    mismatch = judge_staged(left, rows.get(left.recording) if left.recording else None, now)
    return mismatch if left.path.exists() else None  # removed since it was listed


async def _batches(items: Iterable[T]) -> AsyncIterator[list[T]]:
    """The items of a blocking iterator, FILES_AT_ONCE at a time, without blocking the loop."""
    source = iter(items)
    while batch := await asyncio.to_thread(lambda: list(islice(source, FILES_AT_ONCE))):
        yield batch
