"""The store: one verified stereo WAV for each recording, in its place.

Owns the settled names, the steps that put a file there, and reading back. Must not remove a settled file or judge what
may be kept. Invariant: under a settled name there is a whole, synced file or none; running `settle` again after a crash
at any step ends in the same bytes and the same account of them.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from pathlib import Path
from typing import Final, NoReturn
from uuid import UUID

import numpy as np
import soundfile

from recorder.model import RecordingId, utc
from recorder.quality import Analyser, FileState, Measures
from recorder.storage.errors import (
    SettledFileDamaged,
    SettledFileDiffers,
    SettledFileMissing,
    StagedFileDamaged,
    StagedFileMissing,
    StorageUnavailable,
    translated,
)
from recorder.storage.folders import FreeSpace, Problem, folder_problems, free_space, make_folder
from recorder.storage.header import HeaderRepair, Layout, opened, read_layout
from recorder.storage.join import BLOCK_SAMPLES, WHOLE, Edges, Leg, Span, check_pair, write_joined
from recorder.storage.spool import UUID_PATTERN, Spool
from recorder.storage.zeros import ZeroFinder, Zeros

_SETTLED_NAME = re.compile(rf"\d{{4}}/\d{{2}}/\d{{2}}/({UUID_PATTERN})\.wav")
ATTEMPTS: Final = 8
"""Names that attempts to settle one recording take in turn."""
_STAGING_FILE = re.compile(rf"\.({UUID_PATTERN})\.([0-9a-f]{{8}})\.staging")
_STAGING_NAME = re.compile(rf"\d{{4}}/\d{{2}}/\d{{2}}/{_STAGING_FILE.pattern}")
QUARANTINE = "quarantine"
PROMPTS = "prompts"
_QUARANTINED_NAME = re.compile(rf"{QUARANTINE}/({UUID_PATTERN})")
FRAME_BYTES = 4
_DATED = re.compile(r"\d{4}(/\d{2}(/\d{2})?)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """The settled file, and how its parts were found. `samples` is a channel's; `sha256` is of the whole file."""

    path: Path
    samples: int
    rate: int
    size: int
    sha256: str
    repairs: tuple[HeaderRepair, ...] = ()
    legs_unequal_seconds: float = 0.0

    @property
    def file_state(self) -> FileState:
        """What `quality.assess` is to know about the file."""
        return FileState(
            header_repaired=bool(self.repairs),
            tail_lost=any(repair.lost_bytes for repair in self.repairs),
            legs_unequal_seconds=self.legs_unequal_seconds,
        )


class FoundKind(StrEnum):
    """What a file in the store is, by its name."""

    SETTLED = "settled"
    QUARANTINED = "quarantined"  # a person put it there; its name is its act's
    STAGING = "staging"  # left by a settle that was cut; the next one of that recording removes it
    STRANGE = "strange"  # not ours


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A file in the store. `recording` is None where the name is not one of ours; `of_file` names a quarantined one."""

    kind: FoundKind
    path: Path
    size: int
    recording: RecordingId | None
    of_file: UUID | None = None


class Storage:
    """The folder of settled recordings, fed from one spool. The root itself is never created: it may be a mount."""

    def __init__(self, root: Path, spool: Spool) -> None:
        self.root = root
        self.spool = spool
        self._older: dict[Path, dict[str, list[Path]]] = {}  # attempts of older versions, by folder and recording

    def path(self, recording: RecordingId, started_at: datetime) -> Path:
        """Return root/YYYY/MM/DD/<recording>.wav, the day in UTC; derived from the catalogue's row alone."""
        return self.root / f"{utc(started_at):%Y/%m/%d}" / f"{UUID(str(recording))}.wav"

    def settle(
        self,
        recording: RecordingId,
        started_at: datetime,
        *,
        spans: Sequence[Span] | None = None,
        edges: Edges = WHOLE,
        replace: bool = False,
    ) -> Settled:
        """Join the staged directions into the settled WAV: caller left, agent right, the shorter padded with zeros.

        The staged files are read by what is on disk, whatever their headers say, and stay untouched: discard them when
        the catalogue has the result. What lies outside `spans` or beyond `edges` becomes exact silence; None keeps all.
        A settled file already there is compared: the same bytes are accepted, others raise SettledFileDiffers unless
        `replace`. With a staged file gone, which only `Spool.discard` does, an intact settled file is recognised where
        `spans` is None and no ending silenced: no other can be made, and whether it keeps to them could not be shown.

        Raises StagedFileMissing, StagedFileDamaged, StagedFilesEmpty, RecordingTooLong, or what the disk refuses;
        ValueError for a span that is none.
        """
        target = self.path(recording, started_at)
        with ExitStack() as stack:
            stack.enter_context(translated(target, "settling"))
            if spans is None and not edges.ending and target.exists() and not self._has_both_staged(recording):
                return _recognised(target)
            caller, agent = (Leg.opened(path, stack) for path in self.spool.paths(recording))
            check_pair(caller, agent)
            digest = self._put(target, caller, agent, spans, edges, replace=replace)
            size = target.stat().st_size
        lengths = (caller.layout.samples, agent.layout.samples)
        return Settled(
            path=target,
            samples=max(lengths),
            rate=caller.layout.rate,
            size=size,
            sha256=digest,
            repairs=tuple(leg.layout.repair for leg in (caller, agent) if leg.layout.repair),
            legs_unequal_seconds=(max(lengths) - min(lengths)) / caller.layout.rate,
        )

    def erase(self, recording: RecordingId, started_at: datetime) -> int:
        """Remove every file of the recording here and in the spool; how many there were. What is gone stays gone.

        The folder is synced before this returns: what the catalogue then calls erased is so after a power cut too.
        """
        target = self.path(recording, started_at)
        for folder in (self.root, self.spool.here):
            if not folder.is_dir():  # away, and with it what it holds: that is not erased
                raise StorageUnavailable(folder, "the folder is not there")
        removed = self.spool.discard(recording)
        with translated(target, "erasing"):
            if not target.parent.is_dir():
                return removed
            for path in (target, *target.parent.glob(f".{target.stem}.*.staging")):
                removed += path.exists()
                path.unlink(missing_ok=True)
            sync_folder(target.parent)
        return removed

    def digest(self, recording: RecordingId, started_at: datetime) -> str:
        """Return the settled file's SHA-256 in hex; SettledFileMissing where there is none."""
        path = self.path(recording, started_at)
        with translated(path, "reading"):
            return _digest(path)

    def read_through(
        self, recording: RecordingId, started_at: datetime, *, silent: Sequence[Span], shortest: float
    ) -> tuple[str, Zeros]:
        """Return the settled file's SHA-256 in hex, and where it is silent and should be; the file is read once.

        `silent` and `shortest` as ZeroFinder has them. A file that is no closed stereo WAV has a digest and no zeros.
        """
        path = self.path(recording, started_at)
        with translated(path, "reading"):
            try:
                layout = _settled_layout(path)
            except SettledFileDamaged:
                return _digest(path), Zeros()
            return _read_through(path, layout, ZeroFinder(layout.rate, silent, shortest))

    def measure(self, recording: RecordingId, started_at: datetime) -> Measures:
        """Return the full analysis of a settled file, read block by block.

        Raises SettledFileMissing, or SettledFileDamaged where it is not the closed stereo WAV that `settle` writes.
        """
        path = self.path(recording, started_at)
        with translated(path, "analysing"):
            # libsndfile reports no frames and no error where the data size is 0, so the header is judged first.
            analyser = Analyser(_settled_layout(path).rate)
            block = np.empty((BLOCK_SAMPLES, 2), np.int16)
            try:
                with soundfile.SoundFile(path) as audio:
                    for part in audio.blocks(dtype="int16", out=block):
                        analyser.feed(part)
            except soundfile.LibsndfileError as error:
                raise SettledFileDamaged(path, str(error)) from error
        return analyser.finish()

    def walk(self, since: date | None = None) -> Iterator[Found]:
        """Yield every file under the root, ours and strangers', in no order; links are not followed.

        Kept prompts are no recordings and are passed over.

        With `since` the folders of earlier days are passed over.
        """
        for folder, below, names in os.walk(self.root, onerror=_raise):
            if Path(folder) == self.root and PROMPTS in below:
                below.remove(PROMPTS)
            if since is not None:
                below[:] = [name for name in below if not _is_earlier(Path(folder, name), self.root, since)]
            for name in names:
                yield self._found(Path(folder, name))

    def problems(self, min_free: int) -> list[Problem]:
        """Return what keeps the store from taking a recording; `min_free` in bytes."""
        return folder_problems(self.root, min_free)

    def free(self) -> FreeSpace:
        """Return the space left."""
        return free_space(self.root)

    def _put(
        self, target: Path, caller: Leg, agent: Leg, spans: Sequence[Span] | None, edges: Edges, *, replace: bool
    ) -> str:
        """Write beside the target, then rename; return the digest. Nothing of a cut attempt is ever under `target`."""
        if not target.parent.is_dir():
            self._older[target.parent] = {}  # whoever writes there from now on is of this version
            make_folders(self.root, target.parent)
        self._remove_older(target)
        staging = _attempt(target)
        try:
            digest = write_joined(staging, caller, agent, spans, edges, root=self.root)
            if replace or not _is_there(target, digest):
                staging.rename(target)
        finally:
            staging.unlink(missing_ok=True)
        sync_folder(target.parent)
        return digest

    def _remove_older(self, target: Path) -> None:
        """Remove what cut attempts of older versions left of this recording: under any name, which listing alone finds.

        So each folder that was there before us is listed, once: for all the recordings that will be settled there.
        """
        folder = target.parent
        if folder not in self._older:
            self._older[folder] = _older_attempts(folder)
        for path in self._older[folder].pop(target.stem, ()):
            path.unlink(missing_ok=True)

    def _has_both_staged(self, recording: RecordingId) -> bool:
        staged = self.spool.staged(recording)
        return staged is not None and staged.caller is not None and staged.agent is not None

    def _found(self, path: Path) -> Found:
        with translated(path, "looking at it"):
            size = path.lstat().st_size
        name = path.relative_to(self.root).as_posix()
        for kind, pattern in ((FoundKind.SETTLED, _SETTLED_NAME), (FoundKind.STAGING, _STAGING_NAME)):
            if match := pattern.fullmatch(name):
                return Found(kind=kind, path=path, size=size, recording=RecordingId(UUID(match[1])))
        if match := _QUARANTINED_NAME.fullmatch(name):
            of_file = UUID(match[1])
            return Found(kind=FoundKind.QUARANTINED, path=path, size=size, recording=None, of_file=of_file)
        return Found(kind=FoundKind.STRANGE, path=path, size=size, recording=None)


def _older_attempts(folder: Path) -> dict[str, list[Path]]:
    """The staging files in a day's folder that `_attempt` would not look for, by their recordings."""
    found: dict[str, list[Path]] = {}
    with os.scandir(folder) as entries:  # a path each would take thrice as long
        for entry in entries:
            match = _STAGING_FILE.fullmatch(entry.name)
            if match is not None and int(match[2], 16) >= ATTEMPTS:
                found.setdefault(match[1], []).append(folder / entry.name)
    return found


def _attempt(target: Path) -> Path:
    """Make the empty file of a new attempt, in place of those that cut ones left.

    Its name is another than theirs: of two attempts at once, which the daemon's one audio thread does not make, the
    earlier one fails. It is one of a few, which are looked for by name: a folder may hold a day's hundred thousand
    recordings, and is listed for none of them (what older versions left, `_remove_older` finds).
    """
    names = [target.with_name(f".{target.stem}.{number:08x}.staging") for number in range(ATTEMPTS)]
    while True:
        there = [number for number, path in enumerate(names) if os.path.lexists(path)]
        for number in there:
            names[number].unlink(missing_ok=True)
        path = names[(max(there, default=-1) + 1) % ATTEMPTS]
        try:
            path.touch(0o600, exist_ok=False)
        except FileExistsError:
            continue  # another attempt took it a moment ago
        return path


def _is_earlier(folder: Path, root: Path, since: date) -> bool:
    """Whether this is a year's, month's or day's folder of ours from before `since`."""
    name = folder.relative_to(root).as_posix()
    return _DATED.fullmatch(name) is not None and name < f"{since:%Y/%m/%d}"[: len(name)]


def _is_there(target: Path, digest: str) -> bool:
    """Return whether `target` exists with these bytes; SettledFileDiffers where it has others."""
    if not target.exists():
        return False
    if (present := _digest(target)) != digest:
        raise SettledFileDiffers(target, f"it has SHA-256 {present}, the staged files now give {digest}")
    return True


def _recognised(target: Path) -> Settled:
    layout = _settled_layout(target)
    return Settled(path=target, samples=layout.samples, rate=layout.rate, size=layout.size, sha256=_digest(target))


def _settled_layout(path: Path) -> Layout:
    try:
        with opened(path) as file:
            layout = read_layout(file, path)
    except StagedFileMissing as error:
        raise SettledFileMissing(path, error.what) from error
    except StagedFileDamaged as error:
        raise SettledFileDamaged(path, error.what) from error
    if layout.repair is not None or layout.channels != 2:
        raise SettledFileDamaged(path, f"not a closed stereo WAV: {layout.samples} samples, {layout.channels} channels")
    return layout


def _digest(path: Path) -> str:
    try:
        with opened(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except StagedFileMissing as error:
        raise SettledFileMissing(path, error.what) from error
    except StagedFileDamaged as error:
        raise SettledFileDamaged(path, error.what) from error


def _read_through(path: Path, layout: Layout, finder: ZeroFinder) -> tuple[str, Zeros]:
    sha256 = hashlib.sha256()
    with opened(path) as file:
        sha256.update(file.read(layout.data_at))
        left = layout.data_bytes
        while block := file.read(min(left, FRAME_BYTES * BLOCK_SAMPLES)):
            sha256.update(block)
            left -= len(block)
            finder.feed(np.frombuffer(block[: len(block) // FRAME_BYTES * FRAME_BYTES], np.int32))
        while block := file.read(FRAME_BYTES * BLOCK_SAMPLES):  # chunks behind the audio
            sha256.update(block)
    return sha256.hexdigest(), finder.finish()


def make_folders(root: Path, folder: Path) -> None:
    """Make the day's folders (0700) below `root` and sync each one's entry in its parent."""
    missing = [folder, *folder.parents]
    for each in reversed(missing[: missing.index(root)]):
        make_folder(each, root)
        sync_folder(each.parent)


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _raise(error: OSError) -> NoReturn:
    path = Path(error.filename)
    with translated(path, "listing"):
        raise error
