"""How full the file systems are on which recordings are written and kept.

Owns the levels; must not look at a disk: it is given what `free_space` found. The invariant: folders that share a file
system are one disk, judged by the stricter of their marks, so that nobody is told of one disk twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from recorder.storage.folders import FreeSpace


class DiskLevel(IntEnum):
    """How much it matters. Neither keeps a call from being captured: only `min_free_mb` does."""

    ROOM = 0
    WARN = 1  # make room in the next days
    ALARM = 2  # make room now


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """Of one folder: what it is called, and from which used shares (0 to 1) on it is worth a word."""

    name: str
    warn: float
    alarm: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """A file system by the folders of ours on it. `used` is the share of its room, or of its file names if greater."""

    names: tuple[str, ...]
    used: float
    level: DiskLevel
    mark: float  # the one that was passed; where none was, the next

    @property
    def words(self) -> str:
        """`the disk of spool and storage is 83% used, and 80% is the mark`."""
        return f"the disk of {' and '.join(self.names)} is {self.used:.0%} used, and {self.mark:.0%} is the mark"


def disks(found: Iterable[tuple[Marks, FreeSpace]]) -> tuple[Disk, ...]:
    """Judge every file system once, in the order of their first folders."""
    by_file_system: dict[int, list[tuple[Marks, FreeSpace]]] = {}
    for marks, free in found:
        by_file_system.setdefault(free.file_system, []).append((marks, free))
    return tuple(_disk(folders) for folders in by_file_system.values())


def _disk(folders: Sequence[tuple[Marks, FreeSpace]]) -> Disk:
    used = max(free.used for _, free in folders)
    warn, alarm = min(marks.warn for marks, _ in folders), min(marks.alarm for marks, _ in folders)
    level = DiskLevel.ALARM if used >= alarm else DiskLevel.WARN if used >= warn else DiskLevel.ROOM
    mark = alarm if level is DiskLevel.ALARM else warn
    return Disk(names=tuple(marks.name for marks, _ in folders), used=used, level=level, mark=mark)
