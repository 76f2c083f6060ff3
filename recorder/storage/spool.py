"""The spool: where Asterisk writes the two directions of a capture.

Owns the staged names and what is done to staged files: look, list, scrub, remove. Must not write audio but silence.
Invariant: only names derived from a recording's id are ever opened or removed; whatever else lies here is reported and
left alone.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from uuid import UUID

from recorder.model import RecordingId
from recorder.silences import NEVER_SO_LONG, Span
from recorder.storage.errors import StagedFileDamaged, StagedFileMissing, StorageError, translated
from recorder.storage.folders import FreeSpace, Problem, folder_problems, free_space
from recorder.storage.header import HEADER_BYTES, SAMPLE_BYTES, WavFile, opened, read_layout

ZEROS = bytes(1 << 16)


class LegFile(StrEnum):
    """Which direction a staged file holds, as its name ends."""

    CALLER = "caller"
    AGENT = "agent"


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedFile:
    """One direction on disk. `is_closed`: the header agrees with the size, so Asterisk has finished with it."""

    path: Path
    size: int
    is_closed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged:
    """Both directions of a capture, each None where its file does not exist."""

    caller: StagedFile | None
    agent: StagedFile | None

    @property
    def is_whole(self) -> bool:
        """Whether both files exist with at least a header: Asterisk has opened them."""
        return all(file is not None and file.size >= HEADER_BYTES for file in (self.caller, self.agent))

    @property
    def is_closed(self) -> bool:
        """Whether both files exist and Asterisk has closed both."""
        return all(file is not None and file.is_closed for file in (self.caller, self.agent))

    @property
    def sizes(self) -> tuple[int, int]:
        """Bytes of the caller's and the agent's file, 0 where there is none."""
        return (self.caller.size if self.caller else 0, self.agent.size if self.agent else 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """A file found in the spool. `recording` and `leg` are None where the name is not one of ours."""

    path: Path
    recording: RecordingId | None
    leg: LegFile | None


UUID_PATTERN = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_STAGED_NAME = re.compile(rf"({UUID_PATTERN})-({'|'.join(LegFile)})\.wav")


class Spool:
    """The spool folder as this machine sees it."""

    def __init__(self, here: Path) -> None:
        self.here = here

    def path(self, recording: RecordingId, leg: LegFile) -> Path:
        """Return the staged file's path; derived from the id alone."""
        return self.here / f"{UUID(str(recording))}-{leg}.wav"

    def paths(self, recording: RecordingId) -> tuple[Path, Path]:
        """Return the caller's and the agent's staged path."""
        return self.path(recording, LegFile.CALLER), self.path(recording, LegFile.AGENT)

    def staged(self, recording: RecordingId) -> Staged | None:
        """Return what Asterisk has written so far, None where neither file exists. Cheap: two headers are read.

        A file too short for a header, or with a damaged one, is simply not closed: `Storage.settle` says why.
        """
        caller, agent = (_staged_file(path) for path in self.paths(recording))
        return Staged(caller=caller, agent=agent) if caller or agent else None

    def has_only_headers(self, recording: RecordingId) -> bool:
        """Return whether both staged files exist and hold no audio: nobody was bridged.

        Ask only when the capture has ended: while armed the files look just like this, and Asterisk would go on writing
        into a file that has no name any more.
        """
        files = [_staged_file(path) for path in self.paths(recording)]
        return all(file is not None and file.size == HEADER_BYTES for file in files)

    def overwrite(self, recording: RecordingId, silenced: Sequence[Span]) -> None:
        """Overwrite what the settled file is silent of, in seconds, where it lies; missing files are fine.

        Before `discard`: an unlinked file's blocks stay on the disk until they are needed. StorageError where a file of
        Asterisk's is not ours to write, after what could be overwritten.
        """
        met: StorageError | None = None
        for path in self.paths(recording) if silenced else ():
            try:
                with translated(path, "overwriting what is silenced"):
                    _scrub(path, silenced)
            except StorageError as error:
                met = error
        if met is not None:
            raise met

    def discard(self, recording: RecordingId) -> int:
        """Remove both staged files and return how many there were; missing ones are fine.

        Only once the catalogue has the recording as settled, empty, or to be erased, or failed without a sound.
        """
        with translated(self.here, f"discarding {recording}"):
            removed = [_unlinked(path) for path in self.paths(recording)]
        return sum(removed)

    def leftovers(self) -> Iterator[Leftover]:
        """Yield every file of the spool, ours and strangers', for reconciling against the catalogue."""
        with translated(self.here, "listing"):
            paths = sorted(self.here.iterdir())
        for path in paths:
            match = _STAGED_NAME.fullmatch(path.name)
            recording = RecordingId(UUID(match[1])) if match else None
            yield Leftover(path=path, recording=recording, leg=LegFile(match[2]) if match else None)

    def problems(self, min_free: int) -> list[Problem]:
        """Return what keeps this spool from taking a capture; `min_free` in bytes."""
        return folder_problems(self.here, min_free)

    def free(self) -> FreeSpace:
        """Return the space left."""
        return free_space(self.here)


def _staged_file(path: Path) -> StagedFile | None:
    with translated(path, "looking at the staged file"):
        try:
            with opened(path) as file:
                layout = read_layout(file, path)
                return StagedFile(path=path, size=layout.size, is_closed=layout.repair is None)
        except StagedFileMissing:
            return None
        except StagedFileDamaged:
            return StagedFile(path=path, size=path.lstat().st_size, is_closed=False)


def _scrub(path: Path, spans: Sequence[Span]) -> None:
    """Overwrite the spans with zeros where they lie, and wait for the disk. Of a file without a header, everything."""
    with suppress(StagedFileMissing), opened(path, "r+b") as file:
        size = os.fstat(file.fileno()).st_size
        try:
            layout = read_layout(file, path)
        except StagedFileDamaged:
            _zero(file, 0, size)
        else:
            sample = SAMPLE_BYTES * layout.channels
            for begin, end in spans:
                first = min(math.floor(begin * layout.rate), layout.samples)
                last = min(math.ceil(min(end, NEVER_SO_LONG) * layout.rate), layout.samples)
                _zero(file, layout.data_at + sample * first, layout.data_at + sample * last)
        os.fdatasync(file.fileno())


def _zero(file: WavFile, begin: int, end: int) -> None:
    for at in range(begin, end, len(ZEROS)):
        os.pwrite(file.fileno(), ZEROS[: end - at], at)


def _unlinked(path: Path) -> bool:
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True
