"""What can go wrong with recordings on disk, in our words.

Owns the hierarchy and the translation of the operating system's errors. Invariant: every error names the path and the
mend, and keeps its cause.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from recorder.model import RecorderError


class StorageError(RecorderError):
    """Something about a recording on disk. `what` is wrong at `path`; `mend` is what a person can do."""

    code = "storage_error"
    mend = "Look at the file named and at the system's log."

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(f"{path}: {what}. {self.mend}")
        self.path = path
        self.what = what


class StagedFileMissing(StorageError):
    code = "staged_file_missing"
    mend = "Check that Asterisk and the daemon see the same spool; the other direction's file is kept."


class StagedFileDamaged(StorageError):
    code = "staged_file_damaged"
    mend = "The file is left as it is: its samples may be readable as raw 16-bit audio."


class StagedFilesEmpty(StorageError):
    code = "staged_files_empty"
    mend = "Nothing was captured: the staged files may be discarded as empty."


class SettledFileMissing(StorageError):
    code = "settled_file_missing"
    mend = "Restore it from a backup; its digest is in the catalogue."


class SettledFileDamaged(StorageError):
    code = "settled_file_damaged"
    mend = "Restore it from a backup; its digest is in the catalogue."


class SettledFileDiffers(StorageError):
    code = "settled_file_differs"
    mend = "Nothing was replaced: compare both with the digest in the catalogue."


class RecordingTooLong(StorageError):
    code = "recording_too_long"
    mend = "A WAV holds 4 GiB (37 hours at 8 kHz): the staged files are kept, cut them by hand."


class StorageRefused(StorageError):
    code = "storage_refused"
    mend = "Give the daemon's user the right to write here, and check that it is not mounted read-only."


class StorageFull(StorageError):
    code = "storage_full"
    mend = "Free space or inodes here, or raise the quota."


class StorageUnavailable(StorageError):
    code = "storage_unavailable"
    mend = "Check that the file system is mounted and sound."


_REFUSED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


@contextmanager
def translated(path: Path, doing: str) -> Iterator[None]:
    """Raise a StorageError in place of an OSError; `doing` says what was tried at `path`."""
    try:
        yield
    except OSError as error:
        if error.errno in _REFUSED:
            kind: type[StorageError] = StorageRefused
        elif error.errno in _FULL:
            kind = StorageFull
        else:
            kind = StorageUnavailable
        raise kind(path, f"{doing}: {error.strerror or error}") from error
