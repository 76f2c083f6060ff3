"""The walk through one node's books: every file in store and spool, Asterisk's ledgers, every call in the catalogue.

Reads in bounded batches and changes nothing; works beside a running daemon and without one. The invariant: a file or a
ledger's line is read before its row is asked for, and a row before its file, so that work under way is no mismatch.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from recorder.books.asterisk import Ledgers, ids_in, read_ledgers, scope_of
from recorder.books.balance import balance
from recorder.books.batches import batches
from recorder.books.files import (
    Seen,
    judge_erasure,
    judge_found,
    judge_quarantined,
    judge_settled,
    judge_silences,
    judge_staged,
    remarks_of,
)
from recorder.books.join import Told
from recorder.books.links import judge_head, judge_links, judge_policy, judge_unchained
from recorder.books.listened import judge_logged, judge_noted
from recorder.books.mismatch import Code, Mismatch, Remark
from recorder.catalogue import LISTENING_LOG, Catalogue, FileAct, RecordingRow, WholeCall, booked
from recorder.chain import Head
from recorder.model import CallId, Outcome, RecordingId, RecordingStatus
from recorder.silences import UNTOLD_LONGEST, spans_silenced
from recorder.storage import Found, FoundKind, Leftover, SettledFileMissing, Spool, Storage, StorageError, Zeros

CALLS_AT_ONCE: Final = 200
LINKS_AT_ONCE: Final = 1000
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
    links: int = 0
    head: Head | None = None  # of the node's chain
    listening_rows: int = 0
    listening_head: Head | None = None
    heads_noted: int = 0
    heads_compared: int = 0  # those of this node
    settled_bytes: int = 0
    files: int = 0
    staged_files: int = 0
    quarantined_files: int = 0
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    recordings: Counter[RecordingStatus] = field(default_factory=Counter)
    files_of: Counter[Outcome] = field(default_factory=Counter)  # of the outcomes that keep none
    since: datetime | None = None  # of the calls that were read; None: all
    read_digests: bool = True
    told: Told | None = None  # what Asterisk's ledgers say
    mismatches: list[Mismatch] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)  # of files whose contents were read

    @property
    def ok(self) -> bool:
        return not self.mismatches

    @property
    def personal_calls(self) -> int | None:
        """Calls that passed no line, by the CDR; None where it was not read or does not tell."""
        personal = self.told.personal if self.told else None
        return None if personal is None else len(personal)

    @property
    def files_of_personal(self) -> int:
        return sum(item.code is Code.PERSONAL_AUDIO for item in self.mismatches)


async def verify(
    catalogue: Catalogue,
    storage: Storage,
    *,
    node: str,
    now: datetime,
    ledgers: Ledgers | None = None,
    since: datetime | None = None,
    read_digests: bool = True,
    heads: Iterable[Head] = (),
    progress: Progress = lambda *_: None,
) -> Books:
    """Read all the books of `node`, or those of the calls started since `since`.

    `heads` were noted elsewhere: the node's chain must have them. `read_digests` False leaves the settled files'
    contents alone: they must be there in their length. CatalogueError or StorageError where the books cannot be read to
    the end.
    """
    books = Books(node=node, since=since, read_digests=read_digests)
    await _walk_store(books, catalogue, storage, progress)  # first: a store that is not mounted is no missing file
    await _walk_spool(books, catalogue, storage.spool, now)
    await _read_ledgers(books, catalogue, ledgers or Ledgers(), now, progress)
    await _walk_chain(books, catalogue, progress)
    await _walk_listening(books, catalogue, progress)
    await _walk_calls(books, catalogue, storage, now, progress)  # last: of it alone a person is told how much there is
    await _compare_heads(books, catalogue, heads)
    _name_personal(books)
    order = {code: place for place, code in enumerate(Code)}
    books.mismatches.sort(key=lambda item: (order[item.code], str(item.call), str(item.path)))
    return books


async def stray_files(catalogue: Catalogue, storage: Storage, *, node: str, now: datetime) -> list[Mismatch]:
    """The files in store and spool that no recording claims, or not there. Errors as in `verify`."""
    books = Books(node=node)
    await _walk_store(books, catalogue, storage, lambda *_: None)
    await _walk_spool(books, catalogue, storage.spool, now)
    return books.mismatches


# --------------------------------------------------------------------------- Asterisk's own ledgers


async def _read_ledgers(
    books: Books, catalogue: Catalogue, ledgers: Ledgers, now: datetime, progress: Progress
) -> None:
    progress("Asterisk's ledgers", 0, None)
    scope = await scope_of(catalogue, books.node, ledgers.queues, books.since, now)
    strange = ids_in(item.path for item in books.mismatches if item.code is Code.FILE_NOT_OURS and item.path)
    books.told = Told(scope=scope, strange=strange)
    books.mismatches += await read_ledgers(catalogue, books.node, ledgers, books.told)


def _name_personal(books: Books) -> None:
    """A file that bears a personal call's id is that, and no longer merely not ours."""
    named = list(books.told.files_of_personal()) if books.told else []
    paths = {item.path for item in named}
    kept = [item for item in books.mismatches if item.code is not Code.FILE_NOT_OURS or item.path not in paths]
    books.mismatches = [*named, *kept]


# --------------------------------------------------------------------------- the catalogue, call by call


async def _walk_calls(books: Books, catalogue: Catalogue, storage: Storage, now: datetime, progress: Progress) -> None:
    total = (await catalogue.counts(now, books.node)).recordings[RecordingStatus.SETTLED]
    read = 0
    after: CallId | None = None
    progress("settled recordings", 0, total)
    while batch := await catalogue.calls_after(after, CALLS_AT_ONCE, books.node, since=books.since):
        after = batch[-1].call.id
        books.mismatches += await asyncio.to_thread(_judged, books, batch)
        for whole in batch:
            for row in whole.recordings:
                books.mismatches += await asyncio.to_thread(_look_at, books, whole, row, storage)
                books.mismatches += judge_erasure(row, now)
                read += row.status is RecordingStatus.SETTLED
                progress("settled recordings", read, total)


def _judged(books: Books, batch: Iterable[WholeCall]) -> list[Mismatch]:
    """On a thread of its own: replaying two hundred journals would keep callers waiting."""
    found: list[Mismatch] = []
    for whole in batch:
        _count(books, whole)
        found += balance(whole)
        found += _against_asterisk(books, whole)
    return found


def _against_asterisk(books: Books, whole: WholeCall) -> list[Mismatch]:
    if books.told is None:
        return []
    has_audio = any(row.status is RecordingStatus.SETTLED for row in whole.recordings)
    return list(books.told.booked(booked(whole.call, whole.legs), has_audio=has_audio))


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
        seen = _seen(row, storage, read_digest=books.read_digests)
        books.settled_bytes += seen.size or 0
        found += judge_settled(row, seen)
        found += judge_silences(row, seen)
        books.remarks += remarks_of(row, seen)
    ended = whole.call.outcome
    if ended in NEVER_KEPT:
        for path in _files_of(row, storage):
            books.files_of[ended] += 1
            what = f"the call was {ended} and there is audio of it"
            found.append(
                Mismatch(code=Code.FILE_AGAINST_OUTCOME, what=what, call=row.call, recording=row.id, path=path)
            )
    return found


def _seen(row: RecordingRow, storage: Storage, *, read_digest: bool) -> Seen:
    path = storage.path(row.id, row.authorised_at)
    try:
        size = path.stat().st_size
        digest, zeros = _contents(row, storage) if read_digest and size == row.size else (None, Zeros())
    except (FileNotFoundError, SettledFileMissing):
        return Seen(path=path)
    except StorageError as error:
        return Seen(path=path, trouble=error.what)
    except OSError as error:
        return Seen(path=path, trouble=error.strerror or str(error))
    return Seen(path=path, size=size, sha256=digest, zeros=zeros)


def _contents(row: RecordingRow, storage: Storage) -> tuple[str, Zeros]:
    silent = spans_silenced(row.silences, row.keep_seconds)
    return storage.read_through(row.id, row.authorised_at, silent=silent, shortest=UNTOLD_LONGEST)


def _files_of(row: RecordingRow, storage: Storage) -> list[Path]:
    paths = (storage.path(row.id, row.authorised_at), *storage.spool.paths(row.id))
    return [path for path in paths if path.exists()]


# --------------------------------------------------------------------------- the chain, link by link


async def _walk_chain(books: Books, catalogue: Catalogue, progress: Progress) -> None:
    at = await catalogue.links_before(books.node, books.since) if books.since else 0
    while batch := await catalogue.chain_after(books.node, at, LINKS_AT_ONCE):
        books.mismatches += await asyncio.to_thread(judge_links, batch, at)
        books.links += len(batch)
        at = batch[-1].link.seq
        progress("links of the chain", books.links, None)
    books.head = next(iter(await catalogue.heads(books.node)), None)
    books.mismatches += map(judge_unchained, await catalogue.unchained(books.node, LINKS_AT_ONCE, since=books.since))
    kept = (row for row in await catalogue.policies() if row.node == books.node)
    books.mismatches += [item for row in kept if (item := judge_policy(row)) is not None]


async def _walk_listening(books: Books, catalogue: Catalogue, progress: Progress) -> None:
    at = await catalogue.logged_before(books.node, books.since) if books.since else 0
    while batch := await catalogue.logged_after(books.node, at, LINKS_AT_ONCE):
        books.mismatches += await asyncio.to_thread(judge_logged, batch, at)
        books.listening_rows += len(batch)
        at = batch[-1].seq
        progress("rows of the listening log", books.listening_rows, None)
    books.listening_head = next(iter(await catalogue.listening_heads(books.node)), None)


async def _compare_heads(books: Books, catalogue: Catalogue, heads: Iterable[Head]) -> None:
    every = tuple(heads)
    noted = [head for head in every if head.node == books.node]
    of_log = [head for head in every if head.node == f"{books.node}{LISTENING_LOG}"]
    books.heads_noted, books.heads_compared = len(every), len(noted) + len(of_log)
    for head in of_log:
        item = judge_noted(head, await catalogue.listening_digest(books.node, head.seq))
        books.mismatches += [item] if item is not None else []
    found = await catalogue.links_named(books.node, {head.seq for head in noted})
    books.mismatches += [item for head in noted if (item := judge_head(head, found.get(head.seq))) is not None]


# --------------------------------------------------------------------------- the disks, file by file


async def _walk_store(books: Books, catalogue: Catalogue, storage: Storage, progress: Progress) -> None:
    """The daemon may rename a file between its listing and the look at it: then the walk is taken again."""
    for walk in range(1, WALKS + 1):
        try:
            files, mismatches = await _walk_store_once(catalogue, storage, books.since, progress)
        except StorageError as error:
            if walk == WALKS or error.path == storage.root or error.path.exists():
                raise
            continue
        books.files += files.total() - files[FoundKind.QUARANTINED]
        books.quarantined_files += files[FoundKind.QUARANTINED]
        books.mismatches += mismatches
        return


async def _walk_store_once(
    catalogue: Catalogue, storage: Storage, since: datetime | None, progress: Progress
) -> tuple[Counter[FoundKind], list[Mismatch]]:
    files: Counter[FoundKind] = Counter()
    mismatches: list[Mismatch] = []
    async for batch in batches(storage.walk(since.date() if since else None)):
        rows = await catalogue.recordings_named({found.recording for found in batch if found.recording})
        acts = await catalogue.file_acts_of({found.of_file for found in batch if found.of_file})
        for found in batch:
            row = rows.get(found.recording) if found.recording else None
            mismatch = _found(found, row, [act for act in acts if act.of_file == found.of_file], storage)
            if mismatch is not None and found.path.exists():  # the daemon's probes come and go
                mismatches.append(mismatch)
        files.update(found.kind for found in batch)
        progress("files in the store", files.total(), None)
    return files, mismatches


def _found(found: Found, row: RecordingRow | None, acts: list[FileAct], storage: Storage) -> Mismatch | None:
    if found.kind is FoundKind.QUARANTINED:
        return judge_quarantined(found, acts)
    return judge_found(found, row, storage.path(row.id, row.authorised_at) if row else None)


async def _walk_spool(books: Books, catalogue: Catalogue, spool: Spool, now: datetime) -> None:
    async for batch in batches(spool.leftovers()):
        rows = await catalogue.recordings_named({left.recording for left in batch if left.recording})
        books.staged_files += len(batch)
        books.mismatches += [item for left in batch if (item := _staged(left, rows, now)) is not None]


def _staged(left: Leftover, rows: dict[RecordingId, RecordingRow], now: datetime) -> Mismatch | None:
    mismatch = judge_staged(left, rows.get(left.recording) if left.recording else None, now)
    return mismatch if left.path.exists() else None  # removed since it was listed
