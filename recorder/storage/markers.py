"""A file of no account, by which two programs show each other that they see the same folder.

Owns its name and its removal. Invariant: only a name drawn here at random is ever removed.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from recorder.storage.errors import translated
from recorder.storage.folders import PROBE_PREFIX


@dataclass(frozen=True, slots=True, kw_only=True)
class Marker:
    """A name that nobody else has, in `folder`. `.wav`, because Asterisk writes one only by such an ending."""

    folder: Path
    name: str

    @property
    def path(self) -> Path:
        return self.folder / self.name

    def at(self, folder: PurePosixPath | Path) -> str:
        """Return its path in the same folder under another name."""
        return f"{folder}/{self.name}"

    def make(self) -> None:
        """Write it ourselves; StorageError where we may not."""
        with translated(self.path, "a file cannot be written"):
            self.path.touch(mode=0o600, exist_ok=False)

    def is_there(self) -> bool:
        with translated(self.folder, "looking for a file"):
            return self.path.exists()

    def is_readable(self) -> bool:
        return os.access(self.path, os.R_OK)

    def is_writable(self) -> bool:
        return os.access(self.path, os.W_OK)

    def remove(self) -> None:
        with translated(self.path, "removing a file"):
            self.path.unlink(missing_ok=True)


def new_marker(folder: Path) -> Marker:
    """Draw a name; nothing is made."""
    return Marker(folder=folder, name=f"{PROBE_PREFIX}{secrets.token_hex(8)}.wav")
