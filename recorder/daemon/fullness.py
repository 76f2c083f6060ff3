"""How full are our file systems? The look behind `degraded` and the alarm `disk`.

Must not keep a call from being captured: only `min_free_mb` does (readiness.py). The invariant: a folder that cannot be
asked is not in `disks`, and is a hindrance elsewhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from recorder.storage import Disk, DiskLevel, FreeSpace, Marks, Spool, Storage, StorageError, disks


class FullnessWatch:
    """Remembers what was last seen of each file system."""

    def __init__(self, folders: Sequence[tuple[Marks, Spool | Storage]]) -> None:
        self._folders = folders
        self.disks: tuple[Disk, ...] = ()
        self.free: dict[str, FreeSpace] = {}

    async def look(self) -> bool:
        """Ask every file system once."""
        found = await asyncio.to_thread(self._ask)
        self.disks = disks(found)
        self.free = {marks.name: free for marks, free in found}
        return False

    def _ask(self) -> list[tuple[Marks, FreeSpace]]:
        found = []
        for marks, folder in self._folders:
            try:
                found.append((marks, folder.free()))
            except StorageError:
                continue
        return found

    @property
    def warnings(self) -> list[str]:
        """What `/status` says of the disks, the fullest first."""
        full = sorted((disk for disk in self.disks if disk.level > DiskLevel.ROOM), key=lambda disk: -disk.used)
        return [disk.words for disk in full]
