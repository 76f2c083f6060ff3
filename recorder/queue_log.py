"""The only one that reads Asterisk's queue log: what passed through the queues while nobody of ours looked.

Must not write anything, and must not decide what a passage means for the books. The invariant: a line is read whole or
not yet; a line that makes no sense is passed over and counted.
Source of the format: Asterisk, main/logger.c ast_queue_log and apps/app_queue.c
(`epoch|uniqueid|queue|agent|event|data...`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from recorder.model import Uniqueid

READ_AT_ONCE = 8 * 1024 * 1024
"""Bytes in one read; a longer log is read in several."""

LEFT_UNSERVED = frozenset({"ABANDON", "EXITWITHTIMEOUT", "EXITWITHKEY", "EXITEMPTY"})
TALK_ENDED = frozenset({"COMPLETEAGENT", "COMPLETECALLER"})
TALK_MOVED = frozenset({"TRANSFER", "BLINDTRANSFER", "ATTENDEDTRANSFER"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """How far a log was read: `inode` tells a rotated file from its successor."""

    inode: int
    offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line. `at` has a second's precision; `offset` is where the line begins."""

    at: datetime
    uniqueid: Uniqueid
    queue: str
    agent: str
    event: str
    data: tuple[str, ...]
    offset: int
    inode: int = field(default=0, compare=False)  # of the file it stands in


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A caller's way through one queue, as far as the log tells it."""

    uniqueid: Uniqueid
    queue: str
    entered_at: datetime
    offset: int
    inode: int = field(default=0, compare=False)
    connected_at: datetime | None = None
    interface: str | None = None
    agent: Uniqueid | None = None
    talked_until: datetime | None = None  # talk with the agent ended here, by hang-up of either
    ended_at: datetime | None = None

    @property
    def is_over(self) -> bool:
        return self.ended_at is not None


class QueueLog:
    """The log file at `path`, read forwards."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.senseless = 0  # lines passed over

    def end(self) -> Place | None:
        """Where the log ends now; None while there is no log."""
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return None
        return Place(inode=status.st_ino, offset=status.st_size)

    def read(self, since: Place) -> tuple[list[Entry], Place]:
        """Whole lines after `since`, and where they end. OSError passes.

        A log that was rotated meanwhile is first read to its end under the name that it has now, where it lies beside
        its successor and is not compressed; the successor is read from its beginning.
        """
        rotated = self._rotated(since)
        if rotated is None:
            return self._read(self._path, since)
        entries, reached = self._read(rotated, since)
        while (more := self._read(rotated, reached))[1].offset > reached.offset:
            entries, reached = entries + more[0], more[1]
        successor, end = self._read(self._path, reached)
        return entries + successor, end

    def _rotated(self, since: Place) -> Path | None:
        """The file that `since` is a place in, where it is no longer the log."""
        try:
            if not since.inode or self._path.stat().st_ino == since.inode:
                return None
        except FileNotFoundError:
            pass  # between the rotation and the next line
        siblings = self._path.parent.glob(f"{self._path.name}*")
        return next((file for file in siblings if file.stat().st_ino == since.inode), None)

    def _read(self, path: Path, since: Place) -> tuple[list[Entry], Place]:
        try:
            with path.open("rb") as log:
                now = os.fstat(log.fileno())  # of what we hold open: the path may have been rotated meanwhile
                start = since.offset if since.inode == now.st_ino and since.offset <= now.st_size else 0
                log.seek(start)
                block = log.read(READ_AT_ONCE)
        except FileNotFoundError:
            return [], since
        whole = block[: block.rfind(b"\n") + 1]
        if not whole and len(block) == READ_AT_ONCE:
            self.senseless += 1  # no line of Asterisk's is so long
            return [], Place(inode=now.st_ino, offset=start + len(block))
        entries = []
        offset = start
        for line in whole.split(b"\n")[:-1]:  # not splitlines: a carriage return in a caller's name ends no line
            entry = _entry(line, offset, now.st_ino)
            offset += len(line) + 1
            if entry is not None:
                entries.append(entry)
            else:
                self.senseless += 1
        return entries, Place(inode=now.st_ino, offset=offset)


def _entry(line: bytes, offset: int, inode: int) -> Entry | None:
    parts = line.decode("utf-8", "replace").split("|")
    if len(parts) < 5:
        return None
    try:
        at = datetime.fromtimestamp(float(parts[0]), UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return Entry(
        at=at,
        uniqueid=Uniqueid(parts[1]),
        queue=parts[2],
        agent=parts[3],
        event=parts[4],
        data=tuple(parts[5:]),
        offset=offset,
        inode=inode,
    )


def passages(entries: Iterable[Entry], known: Mapping[Uniqueid, Passage] | None = None) -> dict[Uniqueid, Passage]:
    """The passages that these lines tell of, over those `known` from earlier lines; the last of a caller counts."""
    told = dict(known or {})
    for entry in entries:
        if entry.event == "ENTERQUEUE":
            told[entry.uniqueid] = Passage(
                uniqueid=entry.uniqueid,
                queue=entry.queue,
                entered_at=entry.at,
                offset=entry.offset,
                inode=entry.inode,
            )
        elif (passage := told.get(entry.uniqueid)) is not None:
            told[entry.uniqueid] = _moved(passage, entry)
    return told


def _moved(passage: Passage, entry: Entry) -> Passage:
    if entry.event == "CONNECT":
        agent = Uniqueid(entry.data[1]) if len(entry.data) > 1 else None
        return replace(passage, connected_at=entry.at, interface=entry.agent, agent=agent)
    if entry.event in TALK_ENDED:
        return replace(passage, talked_until=entry.at, ended_at=entry.at)
    if entry.event in TALK_MOVED or entry.event in LEFT_UNSERVED:
        return replace(passage, ended_at=entry.at)
    return passage
