"""Keeps a copy of everything that ever lay in the spool, whoever takes it away.

What the recorder overwrites or takes away the daemon under test copies itself, just before (tests/as_written.py). For
the rest each file is held open from soon after it appears, which nobody notices, and copied when its name is gone. Owns
the folder of the copies. Must not touch the spool.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path

LOOK_EVERY = 0.1


class Keeper:
    """`run` until cancelled, then `finish`."""

    def __init__(self, spool: Path, copies: Path) -> None:
        self.copies = copies
        self._spool = spool
        self._held: dict[tuple[str, int], int] = {}  # name and inode: descriptor
        copies.mkdir(parents=True, exist_ok=True)

    async def run(self) -> None:
        while True:
            await asyncio.to_thread(self.look)
            await asyncio.sleep(LOOK_EVERY)

    def look(self) -> None:
        with contextlib.suppress(OSError), os.scandir(self._spool) as entries:
            for entry in entries:
                if entry.name.endswith(".wav"):
                    self._hold(entry)
        for key, descriptor in list(self._held.items()):
            if os.fstat(descriptor).st_nlink == 0:
                self._copy(key, descriptor)

    def finish(self) -> None:
        """Copy what still has its name, too."""
        self.look()
        for key, descriptor in list(self._held.items()):
            self._copy(key, descriptor)

    def _hold(self, entry: os.DirEntry[str]) -> None:
        with contextlib.suppress(OSError):
            key = (entry.name, entry.inode())
            if key not in self._held:
                self._held[key] = os.open(entry.path, os.O_RDONLY)

    def _copy(self, key: tuple[str, int], descriptor: int) -> None:
        name, inode = key
        copy = self.copies / f"{name.removesuffix('.wav')}.{inode}.wav"
        if not copy.exists():
            copy.write_bytes(os.pread(descriptor, os.fstat(descriptor).st_size, 0))
        os.close(descriptor)
        del self._held[key]
