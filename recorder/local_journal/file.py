"""The journal's file: one for each node, 0600, written behind its end, and replaced whole when it is made smaller.

Owns the file's name and every byte of it. Blocks: callers bring the thread. The invariants: one process has it; what
cannot be read is set aside under a name of its own and never written over.
"""

from __future__ import annotations

import errno
import fcntl
import os
from datetime import datetime
from pathlib import Path
from urllib.parse import unquote

from recorder.local_journal.codec import Reading, read
from recorder.model import RecorderError

DAMAGED = "damaged"
TOGETHER_BYTES = 1 << 16
"""Written at once when the file is made anew."""


class JournalUnusable(RecorderError):
    """The file cannot be read or written; `str` says which and why."""

    code = "journal_unusable"


def folder_of(path: Path | None, catalogue: str, storage: Path) -> Path:
    """Where the journal lies: `path` where the settings name one, else beside SQLite's file, else above the store."""
    if path is not None:
        return path
    if catalogue.startswith("sqlite:"):
        file = Path(unquote(catalogue.partition(":///")[2].partition("?")[0]))
        return file.parent
    return storage.parent


def file_of(folder: Path, node: str) -> Path:
    """The file's name. Stands in docs/operating.md."""
    return folder / f"journal-{node}"


class JournalFile:
    """The file at `path`. Every method raises JournalUnusable where the disk refuses."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd: int | None = None

    def open(self) -> Reading:
        """Take the file, make it where there is none, and read all of it. The folder is never made."""
        try:
            self._take()
            assert self._fd is not None
            with os.fdopen(os.dup(self._fd), "rb") as file:
                file.seek(0)
                return read(file.read())
        except OSError as error:
            self.close()
            raise _unusable(self.path, error) from error

    def _take(self) -> None:
        made = not self.path.exists()
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._fd = os.open(self.path, flags, 0o600)
        fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)  # goes with the process, however it ends
        if made:
            _sync_folder(self.path.parent)

    @property
    def is_open(self) -> bool:
        return self._fd is not None

    def append(self, data: bytes) -> None:
        """Write behind the end: it survives this process from here on, the machine from `sync` on."""
        try:
            _write(self._descriptor(), data)
        except OSError as error:
            raise _unusable(self.path, error) from error

    def sync(self) -> None:
        try:
            os.fdatasync(self._descriptor())
        except OSError as error:
            raise _unusable(self.path, error) from error

    def replace(self, data: bytes) -> None:
        """Let the file hold `data` and nothing else: synced, and all of it or what was there."""
        beside = self.path.with_name(f".{self.path.name}.new")
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = -1
        try:
            fd = os.open(beside, flags, 0o600)
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for at in range(0, len(data), TOGETHER_BYTES):
                _write(fd, data[at : at + TOGETHER_BYTES])
            os.fsync(fd)
            beside.rename(self.path)
            _sync_folder(self.path.parent)
        except OSError as error:
            if fd != -1:
                os.close(fd)
            raise _unusable(self.path, error) from error
        self.close()
        self._fd = fd

    def set_aside(self, at: datetime) -> Path:
        """Keep what is there under a name of its own, where the next `replace` does not reach it; which name."""
        aside = self.path.with_name(f"{self.path.name}.{DAMAGED}-{at:%Y%m%dT%H%M%S.%f}")
        try:
            os.link(self.path, aside)
            _sync_folder(self.path.parent)
        except OSError as error:
            raise _unusable(self.path, error) from error
        return aside

    def aside(self) -> tuple[Path, ...]:
        """What was set aside and still lies there."""
        try:
            return tuple(sorted(self.path.parent.glob(f"{self.path.name}.{DAMAGED}-*")))
        except OSError:
            return ()

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _descriptor(self) -> int:
        if self._fd is None:
            raise OSError(errno.EBADF, "it is not open")
        return self._fd


def _write(fd: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(fd, left) :]


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unusable(path: Path, error: OSError) -> JournalUnusable:
    if error.errno in (errno.EWOULDBLOCK, errno.EAGAIN):
        return JournalUnusable(f"{path} is another process's: does a second recorder run with the same node.name?")
    return JournalUnusable(f"{path}: {error.strerror or error}")
