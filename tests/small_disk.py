"""A file system that fills up: a tmpfs of its own, mounted over an empty folder."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def small_disk(place: Path, size: str, *, names: int = 0) -> Iterator[Path]:
    """Mounted while inside; `size` is 64k or 40m, `names` how many file names there is room for (0: as many as wanted).

    Mounting takes root: without it the tests that need it fail.
    """
    place.mkdir(exist_ok=True)
    options = f"size={size},nr_inodes={names},mode=0700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], check=True, timeout=10)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True, timeout=10)
