"""Files against rows: what a settled recording's file, a file in the store or a staged file says of the books.

Pure: told what was seen on disk. A recording is not a mismatch for being settled at this moment.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from recorder.books.mismatch import Code, Mismatch, Remark, RemarkCode
from recorder.catalogue import FileAct, FileAction, RecordingRow
from recorder.model import RecordingStatus
from recorder.silences import SILENCE_LEAD, spans_silenced, untold
from recorder.storage import Found, FoundKind, Leftover, Zeros
from recorder.storage.header import HEADER_BYTES

FRAME_BYTES: Final = 4  # a settled WAV: one 16-bit sample for the caller, one for the agent
REMOVED_WITHIN: Final = timedelta(minutes=3)
"""After the catalogue has the result the staged files go at once, after a crash within the reconcile sweep's minute."""


NOTHING_SAID: Final = Zeros()


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A settled recording's file as it lies there. Without size it is missing; `trouble` says why it was not read.

    `sha256` is None where the digest was not asked for, and then `zeros` say nothing.
    """

    path: Path
    size: int | None = None
    sha256: str | None = None
    zeros: Zeros = NOTHING_SAID
    trouble: str | None = None


def judge_settled(row: RecordingRow, seen: Seen) -> Iterator[Mismatch]:
    """The settled recording's own file; at most one mismatch of each kind, the plainest first."""
    if seen.trouble is not None:
        yield _of_row(Code.FILE_UNREADABLE, row, seen.path, seen.trouble)
        return
    if seen.size is None:
        yield _of_row(Code.FILE_MISSING, row, seen.path, "the recording is settled and its file is not there")
        return
    if seen.size != row.size:
        what = f"the file has {seen.size} bytes, the catalogue says {row.size}"
        yield _of_row(Code.FILE_SIZE_DIFFERS, row, seen.path, what)
    elif seen.sha256 is not None and seen.sha256 != row.sha256:
        what = f"the file has SHA-256 {seen.sha256}, the catalogue says {row.sha256}"
        yield _of_row(Code.FILE_DIGEST_DIFFERS, row, seen.path, what)
    samples = (seen.size - HEADER_BYTES) // FRAME_BYTES
    if seen.size == row.size and samples != row.samples:
        what = f"the file has {samples} samples a channel, the catalogue says {row.samples}"
        yield _of_row(Code.FILE_SAMPLES_DIFFER, row, seen.path, what)


def judge_erasure(row: RecordingRow, now: datetime) -> Iterator[Mismatch]:
    """What may not be kept is gone soon, whether or not its call has ended."""
    if row.status is RecordingStatus.ERASING and row.changed_at < now - REMOVED_WITHIN:
        what = f"it may not be kept since {row.changed_at}, and is not erased"
        yield Mismatch(code=Code.ERASURE_OVERDUE, what=what, call=row.call, recording=row.id)


def judge_silences(row: RecordingRow, seen: Seen) -> Iterator[Mismatch]:
    """Where the ledger says silence and the file does not."""
    for begin, end in seen.zeros.broken:
        what = f"there is sound from {begin:.2f} to {end:.2f} s, where {_silenced_by(row, begin)}"
        yield _of_row(Code.SILENCE_BROKEN, row, seen.path, what)


def _silenced_by(row: RecordingRow, at: float) -> str:
    covering = (silence for silence in row.silences if silence.from_seconds - SILENCE_LEAD <= at < silence.to_seconds)
    silence = next(covering, None)
    if silence is None:
        return f"only the first {row.keep_seconds or 0:.2f} s may be heard"
    return f"a {silence.cause} lasted from {silence.from_seconds:.2f} to {silence.to_seconds:.2f} s"


def remarks_of(row: RecordingRow, seen: Seen) -> Iterator[Remark]:
    """Where the file is exactly silent in both directions for long, and the ledger does not say so."""
    for begin, end in untold(seen.zeros.runs, spans_silenced(row.silences, row.keep_seconds)):
        what = f"exact silence in both directions from {begin:.1f} to {end:.1f} s, and no pause or hold of that time"
        yield Remark(code=RemarkCode.SILENCE_UNTOLD, what=what, call=row.call, recording=row.id, path=seen.path)


def judge_found(found: Found, row: RecordingRow | None, place: Path | None) -> Mismatch | None:
    """A file in the store, its recording's row, and where that recording's file belongs."""
    if found.kind is FoundKind.QUARANTINED:
        return None  # judge_quarantined
    if found.kind is FoundKind.STRANGE:
        return Mismatch(code=Code.FILE_NOT_OURS, what="no recording's file is named so", path=found.path)
    if row is None:
        what = "the catalogue has no such recording"
        return Mismatch(code=Code.FILE_WITHOUT_ROW, what=what, recording=found.recording, path=found.path)
    if found.kind is FoundKind.STAGING:
        is_left = row.status is not RecordingStatus.STOPPED
        return _of_row(Code.STAGING_LEFT, row, found.path, f"the recording is {row.status}") if is_left else None
    if found.path != place:
        return _of_row(Code.FILE_MISPLACED, row, found.path, f"its place is {place}")
    if row.status in (RecordingStatus.SETTLED, RecordingStatus.STOPPED, RecordingStatus.ERASING):
        return None
    return _of_row(Code.FILE_OF_UNSETTLED, row, found.path, f"the recording is {row.status}")


def judge_quarantined(found: Found, acts: Collection[FileAct]) -> Mismatch | None:
    """A file in quarantine, and what was done with the file of its name: nobody puts one there in silence."""
    if any(act.action is FileAction.QUARANTINING for act in acts):
        return None
    return Mismatch(code=Code.FILE_NOT_OURS, what="it lies in quarantine, and no act put it there", path=found.path)


def judge_staged(left: Leftover, row: RecordingRow | None, now: datetime) -> Mismatch | None:
    """A file in the spool and its recording's row."""
    if left.recording is None:
        return Mismatch(code=Code.FILE_NOT_OURS, what="no staged file is named so", path=left.path)
    if row is None:
        what = "the catalogue has no such recording"
        return Mismatch(code=Code.STAGED_WITHOUT_ROW, what=what, recording=left.recording, path=left.path)
    if row.changed_at > now - REMOVED_WITHIN:
        return None
    if row.status is RecordingStatus.FAILED:
        return _of_row(Code.STAGED_OF_FAILED, row, left.path, f"the capture failed ({row.reason})")
    if row.status in (RecordingStatus.SETTLED, RecordingStatus.EMPTY, RecordingStatus.ERASED):
        return _of_row(Code.STAGED_NOT_REMOVED, row, left.path, f"the recording is {row.status} since {row.changed_at}")
    return None


def _of_row(code: Code, row: RecordingRow, path: Path, what: str) -> Mismatch:
    return Mismatch(code=code, what=what, call=row.call, recording=row.id, path=path)
