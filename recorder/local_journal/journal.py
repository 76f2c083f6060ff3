"""The journal as the daemon has it: records are handed over without waiting, and one thread writes what has gathered.

Owns what is live (put and not forgotten) and when the file is written, synced or made smaller. The invariants: records
reach the file in the order of putting; what is live is in the file or in the next write; a disk that refuses or
hangs holds up nobody, is told by `trouble`, and gets all that is live once it takes it again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import structlog

from recorder.local_journal.codec import Reading, framed
from recorder.local_journal.file import JournalFile, JournalUnusable

log = structlog.get_logger(__name__)

SMALLER_FROM: Final = 256 * 1024
"""Bytes: a file below this is left as it is, however little of it is live."""
WORTH: Final = 4
"""A file so many times as long as what is live is made anew."""
TRY_AGAIN_AFTER: Final = timedelta(seconds=5)
DONE_WITHIN: Final = timedelta(seconds=2)

Key = Hashable


@dataclass(frozen=True, slots=True)
class _Job:
    """What the thread does next: make the file anew from `data`, or add `data` to it."""

    data: bytes
    anew: bool
    lasting: bool
    upto: int


class Journal:
    """One file. Until `adopt`, puts are only remembered: what was read from the file must not be written over."""

    def __init__(self, path: Path, now: Callable[[], datetime]) -> None:
        self.trouble: str | None = None
        self.aside: tuple[Path, ...] = ()
        self._file = JournalFile(path)
        self._now = now
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._live: dict[Key, bytes] = {}
        self._pending: list[bytes] = []
        self._put = self._written = 0  # how many records were handed over, and how many of them are in the file
        self._size = 0
        self._anew = self._lasting = False
        self._keep = False  # what the file holds must be set aside; the thread's own from `adopt` on
        self._adopted = self._closed = False
        self._working: asyncio.Future[int] | None = None
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._again: asyncio.TimerHandle | None = None

    @property
    def path(self) -> Path:
        return self._file.path

    @property
    def warnings(self) -> list[str]:
        """Sentences for /status."""
        said = [f"a journal that could not be read was set aside: {path}" for path in self.aside]
        if self.trouble is not None:
            said.append(f"what is owed is in memory alone, the local journal cannot be written: {self.trouble}")
        return said

    @property
    def live(self) -> int:
        """Records that the catalogue does not have yet, by what we were told."""
        return len(self._live)

    async def begin(self) -> Reading:
        """Take the file and read it. One that cannot be had is `trouble`, and reads as nothing."""
        loop = asyncio.get_running_loop()
        try:
            reading = await loop.run_in_executor(self._thread, self._file.open)
        except JournalUnusable as error:
            self._troubled(error)
            return Reading()
        self._keep = reading.damaged
        self.aside = await loop.run_in_executor(self._thread, self._file.aside)
        return reading

    async def adopt(self) -> None:
        """All that was read is taken up: from now on the file holds what is live. A damaged one is set aside first."""
        self._adopted = self._anew = True
        self._put += 1  # the file itself, made anew
        self._kick()
        await self.written(DONE_WITHIN)

    def put(self, key: Key, record: bytes, *, lasting: bool = False) -> None:
        """Hand a record over; it lives until it is forgotten. `lasting`: it is to survive the machine as well."""
        data = framed(record)
        self._live.pop(key, None)
        self._live[key] = data
        self._pending.append(data)
        self._put += 1
        self._lasting |= lasting
        self._soon()

    def forget(self, keys: Iterable[Key]) -> None:
        """The catalogue has these."""
        for key in keys:
            self._live.pop(key, None)

    def make_last(self) -> None:
        """The catalogue cannot have what is live: let it survive the machine."""
        self._lasting = True
        self._soon()

    async def written(self, within: timedelta) -> bool:
        """Whether all that was put until now is in the file; waits for it, at most `within`."""
        if self._written >= self._put:
            return True
        if self.trouble is not None or not self._adopted:
            return False
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((self._put, done))
        upto = self._put
        await asyncio.wait({done}, timeout=within.total_seconds())
        return self._written >= upto

    async def look(self) -> None:
        """See whether somebody has taken away what was set aside."""
        if self.aside:
            self.aside = await asyncio.get_running_loop().run_in_executor(self._thread, self._file.aside)

    async def close(self) -> None:
        """Finish what is being written. What is live stays in the file: the next daemon reads it."""
        if self._closed:
            return
        self._closed, self._adopted = True, False
        if self._again is not None:
            self._again.cancel()
        ended = asyncio.get_running_loop().run_in_executor(self._thread, self._file.close)  # behind what is under way
        await asyncio.wait({ended}, timeout=DONE_WITHIN.total_seconds())
        self._thread.shutdown(wait=False)

    # ---- the thread's next work

    def _soon(self) -> None:
        """After what else happens in this turn of the loop: it is written together."""
        if self._adopted and self._working is None and self.trouble is None:
            asyncio.get_running_loop().call_soon(self._kick)

    def _kick(self) -> None:
        if self._working is not None or not self._adopted:
            return
        job = self._next()
        if job is None:
            return
        self._working = asyncio.get_running_loop().run_in_executor(self._thread, self._do, job)
        self._working.add_done_callback(lambda done: self._done(done, job))

    def _next(self) -> _Job | None:
        live = sum(map(len, self._live.values())) if self._size > SMALLER_FROM else 0
        anew = self._anew or (self._size > SMALLER_FROM and self._size > WORTH * live)
        if (self.trouble is not None and not self._anew) or not (anew or self._pending or self._lasting):
            return None  # behind what a disk refused nothing is written: it would lie behind half a record
        data = b"".join(self._live.values() if anew else self._pending)
        job = _Job(data=data, anew=anew, lasting=self._lasting, upto=self._put)
        self._pending.clear()
        self._lasting = False
        return job

    def _do(self, job: _Job) -> int:
        """In the thread; returns the file's length."""
        if job.anew:
            self._set_aside()
            self._file.replace(job.data)
            return len(job.data)
        if job.data:
            self._file.append(job.data)
        if job.lasting:
            self._file.sync()
        return self._size + len(job.data)

    def _set_aside(self) -> None:
        """Keep what may not be written over: what is damaged, and what a file holds that could not be had before."""
        if not self._file.is_open:
            reading = self._file.open()
            self._keep = bool(reading.records or reading.damaged)
        if self._keep:
            log.error("journal_set_aside", path=str(self._file.set_aside(self._now())))
            self._keep = False
            self.aside = self._file.aside()

    def _done(self, done: asyncio.Future[int], job: _Job) -> None:
        self._working = None
        if done.cancelled() or self._closed:
            return
        error = done.exception()
        if isinstance(error, JournalUnusable):
            self._troubled(error)
        elif error is not None:
            raise error
        else:
            self._settled(job, done.result())
        self._tell()
        self._kick()

    def _settled(self, job: _Job, size: int) -> None:
        self._size, self._written = size, job.upto
        if job.anew:
            self._anew = False
            if self.trouble is not None:
                log.info("journal_usable_again", path=str(self.path), records=len(self._live))
                self.trouble = None

    def _troubled(self, error: JournalUnusable) -> None:
        """From here on the file is made anew: what it holds behind its last whole record, nobody knows."""
        if self.trouble is None:
            log.error("journal_unusable", why=str(error))
        self.trouble = str(error)
        self._anew = False
        if self._again is not None:
            self._again.cancel()
        self._again = asyncio.get_running_loop().call_later(TRY_AGAIN_AFTER.total_seconds(), self._retry)

    def _retry(self) -> None:
        self._anew = True
        self._kick()

    def _tell(self) -> None:
        """Wake who waits for what is written, or, where it cannot be, everybody."""
        waiting, self._waiting = self._waiting, []
        for upto, waiter in waiting:
            if waiter.done():
                continue
            if self._written >= upto or self.trouble is not None:
                waiter.set_result(None)
            else:
                self._waiting.append((upto, waiter))
