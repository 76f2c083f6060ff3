"""Every version of a prompt that was ever played, as the very bytes that were heard (CE-05), named by their digest.

Owns the folder `prompts` of the store; nothing in it is ever replaced or removed. Invariant: under a digest lie the
bytes that have it, or nothing.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path

from recorder.storage.errors import SettledFileDiffers, translated
from recorder.storage.settled import PROMPTS, Storage, make_folders, sync_folder


class KeptPrompts:
    """The copies. A prompt is kept once, when a daemon begins to use it: not in a caller's way."""

    def __init__(self, storage: Storage) -> None:
        self._root = storage.root

    def path(self, sha256: str) -> Path:
        return self._root / PROMPTS / sha256

    def read(self, sha256: str) -> bytes | None:
        """The bytes that were heard; None where no version with this digest was kept."""
        place = self.path(sha256)
        with translated(place, "reading a kept prompt"):
            return place.read_bytes() if place.exists() else None

    def keep(self, source: Path, sha256: str) -> bool:
        """Copy the file unless it is there; whether it was copied. StorageError where its bytes are other ones."""
        place = self.path(sha256)
        with translated(place, "keeping a prompt"):
            if place.exists():
                return False
            content = source.read_bytes()
            if hashlib.sha256(content).hexdigest() != sha256:
                raise SettledFileDiffers(source, "it has changed since it was read")
            make_folders(self._root, place.parent)
            _write(place, content)
        return True


def _write(place: Path, content: bytes) -> None:
    staging = place.with_name(f".{place.name}.{secrets.token_hex(4)}.staging")
    try:
        with staging.open("xb") as file:
            os.fchmod(file.fileno(), 0o400)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        staging.rename(place)
    finally:
        staging.unlink(missing_ok=True)
    sync_folder(place.parent)
