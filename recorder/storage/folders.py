"""Whether a folder can take recordings now.

Owns the readiness of the spool and of the store. Must not change either: the one file it makes it removes. Invariant: a
folder without a problem was written to just now.
"""

from __future__ import annotations

import os
import secrets
import stat
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from recorder.storage.errors import StorageError, StorageFull, translated

PROBE_BYTES = 4096
"""One page: an empty file can be made on a full file system, a page of data cannot."""
PROBE_PREFIX = ".recorder-probe-"


class ProblemKind(StrEnum):
    """Why a folder cannot take recordings."""

    MISSING = "missing"
    NOT_A_FOLDER = "not_a_folder"
    NOT_WRITABLE = "not_writable"
    OPEN_TO_STRANGERS = "open_to_strangers"
    SHORT_OF_SPACE = "short_of_space"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What is wrong with the folder at `path`, and what a person can do."""

    kind: ProblemKind
    path: Path
    what: str
    mend: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FreeSpace:
    """What an ordinary user may still write: bytes, and the share (0 to 1) of what such users may have at all.

    `used` is the share that is taken, of the room or of the file system's file names, whichever is greater: without
    either nothing more can be written. `file_system` tells file systems apart.
    """

    bytes: int
    share: float
    used: float
    file_system: int


def give(descriptor: int, root: Path) -> None:
    """Where root works here, by a command: make the owner of `root` that of what is open, before it holds anything.

    What a command made as root the recorder itself could neither read nor remove. OSError passes.
    """
    if os.geteuid() == 0:
        owner = root.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def make_folder(folder: Path, root: Path) -> None:
    """Make a folder (0700) in the store at `root`, as the owner's own; one that is there is left alone."""
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        give(descriptor, root)
    finally:
        os.close(descriptor)


def free_space(path: Path) -> FreeSpace:
    """Return the space left on the file system of `path`; StorageUnavailable where it cannot be asked."""
    with translated(path, "asking for free space"):
        facts, file_system = os.statvfs(path), path.stat().st_dev
    share = _share(facts.f_blocks, facts.f_bfree, facts.f_bavail)
    # Some file systems have no fixed number of file names, and say 0.
    names = _share(facts.f_files, facts.f_ffree, facts.f_favail) if facts.f_files else 1.0
    used = 1.0 - min(share, names)
    return FreeSpace(bytes=facts.f_bavail * facts.f_frsize, share=share, used=used, file_system=file_system)


def file_system_kind(path: Path) -> str | None:
    """Return what kind of file system `path` lies on, as mount(8) names it; None where this machine does not tell."""
    try:
        mounts, place = Path("/proc/self/mountinfo").read_text("utf-8", "replace"), path.resolve()
    except OSError:
        return None
    kind, depth = None, -1
    for line in mounts.splitlines():
        before, _, behind = line.partition(" - ")
        point = Path(before.split()[4].encode().decode("unicode_escape"))  # a space stands there as \\040
        if place.is_relative_to(point) and len(point.parts) >= depth:
            kind, depth = behind.split()[0], len(point.parts)  # of two on one point, the later covers the earlier
    return kind


def _share(total: int, free: int, for_users: int) -> float:
    """What is kept back for root counts neither as free nor as existing, as df has it."""
    usable = total - free + for_users
    return for_users / usable if usable else 0.0


def folder_problems(path: Path, min_free: int) -> list[Problem]:
    """Return all that keeps `path` from taking recordings; `min_free` in bytes. Never raises for what it looks for."""
    try:
        facts = path.stat()
    except OSError as error:
        mend = f"Create it: install -d -m 0700 {path}"
        return [_problem(ProblemKind.MISSING, path, f"cannot be reached: {error.strerror}", mend)]
    if not stat.S_ISDIR(facts.st_mode):
        return [_problem(ProblemKind.NOT_A_FOLDER, path, "is not a folder", "Name a folder in the configuration.")]
    found = [_strangers(path, facts.st_mode), _space(path, min_free), _write(path)]
    kinds: dict[ProblemKind, Problem] = {}
    for problem in found:
        if problem is not None:
            kinds.setdefault(problem.kind, problem)
    return list(kinds.values())


def _strangers(path: Path, mode: int) -> Problem | None:
    if not mode & stat.S_IRWXO:
        return None
    what = f"is open to every user of this machine (mode {stat.S_IMODE(mode):04o})"
    return _problem(ProblemKind.OPEN_TO_STRANGERS, path, what, f"Close it: chmod o-rwx {path}")


def _space(path: Path, min_free: int) -> Problem | None:
    try:
        free = free_space(path).bytes
    except StorageError as error:
        return _problem(ProblemKind.NOT_WRITABLE, path, error.what, error.mend)
    if free >= min_free:
        return None
    what = f"has {free / 1e6:.0f} MB free, less than the {min_free / 1e6:.0f} MB asked for"
    return _problem(ProblemKind.SHORT_OF_SPACE, path, what, StorageFull.mend)


def _write(path: Path) -> Problem | None:
    """Really make, fill and remove a file: modes, mounts, quotas and security modules all have their say."""
    probe = path / f"{PROBE_PREFIX}{secrets.token_hex(8)}"
    try:
        with translated(path, "a file cannot be written"):
            try:
                with probe.open("xb") as file:
                    file.write(bytes(PROBE_BYTES))
            finally:
                probe.unlink(missing_ok=True)
    except StorageFull as error:
        return _problem(ProblemKind.SHORT_OF_SPACE, path, error.what, error.mend)
    except StorageError as error:
        return _problem(ProblemKind.NOT_WRITABLE, path, error.what, error.mend)
    return None


def _problem(kind: ProblemKind, path: Path, what: str, mend: str) -> Problem:
    return Problem(kind=kind, path=path, what=what, mend=mend)
