"""Keeps what Asterisk wrote: each staged file is copied before the recorder overwrites any of it, or takes it away.

For a daemon that is measured or broken: it is started with what `told` returns, and its sitecustomize calls
`keep_what_asterisk_wrote`. Owns the folder of the copies, NAME.INODE.wav each; must not change what the recorder does.
A second name or an open descriptor of the same file would show the recorder's zeros as Asterisk's.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

REPOSITORY: Final = Path(__file__).parent.parent
FOLDER: Final = "TESTS_AS_WRITTEN"


def told(shim: Path, folder: Path | None) -> dict[str, str]:
    """The environment of a daemon whose staged files are copied into `folder`, if any; `shim` has its sitecustomize."""
    path = {"PYTHONPATH": os.pathsep.join([str(shim), str(REPOSITORY)])}
    return path if folder is None else path | {FOLDER: str(folder)}


def copied(path: Path, folder: Path) -> None:
    """A copy that is there whole or not at all; a file that is gone, or was copied already, is fine."""
    with suppress(FileNotFoundError), path.open("rb") as file:
        copy = folder / f"{path.stem}.{os.fstat(file.fileno()).st_ino}.wav"
        if not copy.exists():
            part = copy.with_suffix(f".{os.getpid()}")
            with part.open("wb") as to:
                shutil.copyfileobj(file, to)
            part.replace(copy)


def keep_what_asterisk_wrote() -> None:
    """In the daemon's own process, before it begins; does nothing where it was not told of a folder."""
    if FOLDER not in os.environ:
        return
    from recorder.storage import Spool

    for name in ("overwrite", "discard"):
        setattr(Spool, name, _copying_first(getattr(Spool, name), Path(os.environ[FOLDER])))


def _copying_first(method: Callable[..., Any], folder: Path) -> Callable[..., Any]:
    def copies(spool: Any, recording: Any, *rest: Any) -> Any:
        for path in spool.paths(recording):
            copied(path, folder)
        return method(spool, recording, *rest)

    return copies
