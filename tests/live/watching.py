"""Every file that is made or written in some folders while calls run, as the kernel tells it (inotify)."""

from __future__ import annotations

import ctypes
import os
import struct
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Self

CREATED, MODIFIED, MOVED_TO, IS_FOLDER = 0x100, 0x2, 0x80, 0x40000000
HEAD = struct.Struct("iIII")
LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Touched:
    at: float  # time.time()
    path: Path
    made: bool  # else written to


@dataclass(slots=True)
class Watch:
    """`with Watch(folders) as watch:`; `touched` is what happened below them, in order."""

    folders: Iterable[Path]
    touched: list[Touched] = field(default_factory=list)
    _handle: int = -1
    _paths: dict[int, Path] = field(default_factory=dict)
    _over: Event = field(default_factory=Event)
    _thread: Thread | None = None

    def __enter__(self) -> Self:
        self._handle = LIBC.inotify_init1(os.O_NONBLOCK)
        for folder in self.folders:
            self._add(folder)
        self._thread = Thread(target=self._run, name="watch")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        assert self._thread is not None
        self._thread.join()
        os.close(self._handle)

    def made(self, *endings: str) -> list[Touched]:
        """Files that were made, of these endings."""
        return [one for one in self.touched if one.made and one.path.name.endswith(endings)]

    def _add(self, folder: Path) -> None:
        for path in [folder, *(inner for inner in folder.rglob("*") if inner.is_dir())]:
            number = LIBC.inotify_add_watch(self._handle, os.fsencode(path), CREATED | MODIFIED | MOVED_TO)
            if number < 0:
                raise OSError(ctypes.get_errno(), f"{path} cannot be watched")
            self._paths[number] = path

    def _run(self) -> None:
        while not self._over.wait(0.01):
            self._read()
        self._read()

    def _read(self) -> None:
        try:
            told = os.read(self._handle, 65536)
        except BlockingIOError:
            return
        now, at = time.time(), 0
        while at < len(told):
            number, mask, _, length = HEAD.unpack_from(told, at)
            name = os.fsdecode(told[at + HEAD.size : at + HEAD.size + length].rstrip(b"\0"))
            at += HEAD.size + length
            path = self._paths[number] / name
            if mask & IS_FOLDER:
                self._add(path)
            else:
                self.touched.append(Touched(now, path, bool(mask & (CREATED | MOVED_TO))))
