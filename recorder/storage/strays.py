"""Files in store and spool that no recording claims: told apart, moved to quarantine, put back, or erased.

Owns the folder `quarantine` of the store. Acts only where it is told to, by a person's word that the catalogue holds.
Invariant: only plain files inside store and spool are touched, and an old name goes only when the new one is safe.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
from datetime import datetime
from pathlib import Path
from uuid import UUID

from recorder.model import RecordingId
from recorder.storage.errors import SettledFileDiffers, StorageRefused, translated
from recorder.storage.folders import give, make_folder
from recorder.storage.settled import QUARANTINE, Storage, make_folders, sync_folder


class Strays:
    """What may be done with such a file."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def fingerprint(self, path: Path) -> tuple[int, str]:
        """Return the file's size and SHA-256; StorageError where it is no plain file of the store or the spool."""
        self._require_inside(path)
        with translated(path, "reading"), path.open("rb") as file:
            return os.fstat(file.fileno()).st_size, hashlib.file_digest(file, "sha256").hexdigest()

    def quarantine(self, path: Path, of_file: UUID) -> Path:
        """Move the file into the closed folder, under that name; returns where it is."""
        self._require_inside(path)
        place = self._storage.root / QUARANTINE / str(of_file)
        with translated(path, "moving it to quarantine"):
            make_folder(place.parent, self._storage.root)
            _move(path, place, self._storage.root)
        return place

    def restore(self, path: Path, recording: RecordingId, started_at: datetime) -> Path:
        """Move a settled recording's own file to its place; SettledFileDiffers where one lies there."""
        self._require_inside(path)
        place = self._storage.path(recording, started_at)
        if place.exists():
            raise SettledFileDiffers(place, "its place is taken")
        with translated(path, "moving it to its place"):
            make_folders(self._storage.root, place.parent)
            _move(path, place, self._storage.root)
        return place

    def erase(self, path: Path) -> None:
        """Unlink the file, and see it gone; only once the catalogue has the intention."""
        self._require_inside(path)
        with translated(path, "erasing"):
            path.unlink()
            sync_folder(path.parent)

    def _require_inside(self, path: Path) -> None:
        folders = (self._storage.root, self._storage.spool.here)
        if not any(path.is_relative_to(folder) for folder in folders) or ".." in path.parts:
            raise StorageRefused(path, "is neither in the store nor in the spool")
        if path.is_symlink() or not path.is_file():
            raise StorageRefused(path, "is not there, or is no plain file")


def _move(path: Path, place: Path, root: Path) -> None:
    """Rename, or copy where the two lie on different file systems."""
    try:
        path.rename(place)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _carry(path, place, root)
        path.unlink()
    _close_to_others(place, root)
    sync_folder(place.parent)
    sync_folder(path.parent)


def _close_to_others(place: Path, root: Path) -> None:
    descriptor = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        give(descriptor, root)
        os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)


def _carry(path: Path, place: Path, root: Path) -> None:
    staging = place.with_name(f".{place.name}.{secrets.token_hex(4)}.moving")
    try:
        with path.open("rb") as source, staging.open("xb") as target:
            give(target.fileno(), root)
            os.fchmod(target.fileno(), 0o600)
            shutil.copyfileobj(source, target, 1024 * 1024)
            target.flush()
            os.fsync(target.fileno())
        staging.rename(place)
    finally:
        staging.unlink(missing_ok=True)
