"""The only one that reads a log that Asterisk appends to and somebody else rotates: what is new, or all there still is.

Knows nothing of what the lines say, and writes nothing. The invariant: a line is given whole or not yet, and what a
rotated file still held comes before its successor.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Final, TypeVar, cast

T = TypeVar("T")
READ_AT_ONCE = 256 * 1024
"""Bytes in one read; a longer log is read in several. To split them is one step, in which no other thread runs."""
LINES_IN_TURN: Final = 100
LISTED_AGAIN: Final = 3
BEGINNING: Final = 1024
"""Bytes: longer than what two lines of a second have in common."""
ROTATED_NAME: Final = re.compile(r"\.[0-9]+|-[0-9]{8,}")
"""What logrotate (with `dateext` or without) and Asterisk put behind the log's name, uncompressed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """How far a log was read: `inode` tells a rotated file from its successor."""

    inode: int
    offset: int

    def reaches(self, end: Place | None) -> bool:
        """Whether all was read that stood ahead of `end`, in the same file."""
        return end is not None and self.inode == end.inode and self.offset >= end.offset


def in_turns(items: Iterable[T]) -> Iterator[T]:
    """The items, for a thread beside one that callers wait for, which gets its turn every hundred of them.

    A thread of its own spares the loop the disk, but not the work: Python runs one of them at a time. Unasked it lets
    go of the interpreter every 5 ms, and the loop takes it anew several times for one key. Offered every half a
    millisecond it is there when the loop wants it.
    """
    for number, item in enumerate(items):
        if number % LINES_IN_TURN == 0:
            time.sleep(0)
        yield item


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line without its end, where it begins, and in which file."""

    text: bytes
    offset: int
    inode: int


class Rotated:
    """The log at `path`, and the names beside it that begin with its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.overlong = 0  # blocks without a line's end, passed over

    def end(self) -> Place | None:
        """Where the log ends now; None while there is no log."""
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return None
        return Place(inode=status.st_ino, offset=status.st_size)

    def read(self, since: Place) -> tuple[list[Line], Place]:
        """Whole lines after `since`, a block at most of each file, and where they end. OSError passes.

        A log that was rotated meanwhile is first read to its end under the name that it has now, where it lies beside
        its successor and is not compressed; the successor, which may be rotated too, is read from its beginning.
        """
        rotated = self._rotated(since)
        if rotated is None:
            lines, reached, _ = self._read(self.path, since)
            return lines, reached
        successor = self._after(rotated)
        is_left = successor != self.path or self._is_begun()
        lines, reached, is_full = self._read(rotated, since)
        if is_full or not is_left:
            return lines, reached
        further, end, _ = self._read(successor, reached)
        return lines + further, end

    def _rotated(self, since: Place) -> Path | None:
        """The file that `since` is a place in, where it is no longer the log."""
        try:
            if not since.inode or self.path.stat().st_ino == since.inode:
                return None
        except FileNotFoundError:
            pass  # between the rotation and the next line
        return next((file for file in self._siblings() if file.stat().st_ino == since.inode), None)

    def _after(self, rotated: Path) -> Path:
        """What was the log next: another rotated file where the log was rotated again, else the log.

        By its name, by when each was last written, and by its beginning, which a copy shares with what it is of. Of a
        clock that was set back between the two rotations the second is taken for the older, and passed over.
        """
        named = [file for file in self._siblings() if ROTATED_NAME.fullmatch(file.name.removeprefix(self.path.name))]
        begins = Counter(map(_beginning, [*named, self.path]))
        left_at, newest = rotated.stat().st_mtime_ns, self._written_at()
        written = sorted((file.stat().st_mtime_ns, file) for file in named if begins[_beginning(file)] == 1)
        return next((file for at, file in written if left_at < at <= newest), self.path)

    def _written_at(self) -> float:
        """When the log was last written; no time is too late where there is none yet."""
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return float("inf")
        return status.st_mtime_ns if status.st_size else float("inf")

    def _is_begun(self) -> bool:
        """Whether the successor is written to: until then, also where an empty one is there, the rotated one is."""
        try:
            return self.path.stat().st_size > 0
        except FileNotFoundError:
            return False

    def _siblings(self) -> Iterator[Path]:
        return self.path.parent.glob(f"{self.path.name}*")

    def _read(self, path: Path, since: Place) -> tuple[list[Line], Place, bool]:
        """One block: its whole lines, where they end, and whether it was full, so that another may follow."""
        try:
            with path.open("rb") as log:
                now = os.fstat(log.fileno())  # of what we hold open: the path may have been rotated meanwhile
                start = since.offset if since.inode == now.st_ino and since.offset <= now.st_size else 0
                log.seek(start)
                block = log.read(READ_AT_ONCE)
        except FileNotFoundError:
            return [], since, False
        is_full = len(block) == READ_AT_ONCE
        whole = block[: block.rfind(b"\n") + 1]
        if not whole and is_full:
            self.overlong += 1  # no line of Asterisk's is so long
            return [], Place(inode=now.st_ino, offset=start + len(block)), is_full
        lines = []
        offset = start
        texts = whole.split(b"\n")[:-1]  # not splitlines: a carriage return in a caller's name ends no line
        for text in in_turns(texts):
            lines.append(Line(text=text, offset=offset, inode=now.st_ino))
            offset += len(text) + 1
        return lines, Place(inode=now.st_ino, offset=offset), is_full

    # ------------------------------------------------------------------ all there is

    def every(self, since: datetime | None = None) -> Iterator[bytes]:
        """Every whole line, oldest file first, without the files last written before `since`. OSError passes.

        FileNotFoundError where there is neither the log nor a rotated one. Compressed files are read too.
        """
        with ExitStack() as open_files:
            for file in self._opened(open_files, since):
                for line in file:
                    if line.endswith(b"\n"):
                        yield line[:-1]

    def _opened(self, stack: ExitStack, since: datetime | None) -> list[IO[bytes]]:
        """The files, oldest first. All are opened before one is read: a rotation meanwhile takes none of them away."""
        for again in range(LISTED_AGAIN, 0, -1):
            try:
                listed = sorted((path.stat().st_mtime, path.stat().st_ino, path) for path in self._siblings())
                if not listed:
                    raise FileNotFoundError(2, os.strerror(2), str(self.path))
                wanted = [item for item in listed if since is None or item[0] >= since.timestamp()]
                opened = [(stack.enter_context(_open(path)), inode) for _, inode, path in wanted]
            except FileNotFoundError:
                if again == 1:
                    raise
                continue
            if again == 1 or all(os.fstat(file.fileno()).st_ino == inode for file, inode in opened):
                return [file for file, _ in opened]
        raise AssertionError("the last listing is taken as it is")


def _beginning(path: Path) -> bytes:
    """The first line, or as much of it as tells a log from another; empty where there is no such file."""
    try:
        with path.open("rb") as log:
            return log.read(BEGINNING).partition(b"\n")[0]
    except FileNotFoundError:
        return b""


def _open(path: Path) -> IO[bytes]:
    """The file's plain bytes; logrotate's compression is told by the ending."""
    match path.suffix:
        case ".gz":
            return cast("IO[bytes]", gzip.open(path, "rb"))
        case ".bz2":
            return bz2.open(path, "rb")
        case ".xz":
            return lzma.open(path, "rb")
    return path.open("rb")
