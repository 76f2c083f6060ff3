"""What a look at the house came to, left by `recorder doctor --rivals` for the daemon, which may not look itself.

The only one that writes, reads and words that note. The invariant: a note that is not there, is of before the daemon's
start or is too old says that nobody looked, never that all is well.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

LOOKED_WITHIN: Final = timedelta(minutes=15)
"""Three times as long as deploy/recorder-rivals.timer waits between two looks."""
GRACE: Final = timedelta(minutes=1)
"""After the daemon's start, in which the first look is made."""
MEND: Final = "`systemctl enable --now recorder-rivals.timer recorder-rivals.path`"


class NoteUnreadable(Exception):
    """The note is not there, or is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HouseNote:
    """`found` are sentences, each with its mend; empty where all was looked at and nothing records by itself."""

    at: datetime
    found: tuple[str, ...] = ()


def write(path: Path, note: HouseNote) -> None:
    """Put the note in its place whole, readable for everybody: it holds no number and no secret. OSError passes."""
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), 0o644)
        json.dump({"at": note.at.isoformat(), "found": note.found}, file, ensure_ascii=False)
    beside.replace(path)


def read(path: Path) -> HouseNote:
    """The note. NoteUnreadable with a sentence where there is none that could be believed."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        at, found = datetime.fromisoformat(told["at"]), tuple(str(each) for each in told["found"])
        if at.tzinfo is None:
            raise ValueError("a time without a zone")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NoteUnreadable(f"{path}: {type(error).__name__}") from error
    return HouseNote(at=at, found=found)


def sentences(note: HouseNote | None, *, started_at: datetime, now: datetime) -> Sequence[str]:
    """What /status says of it. `note` is None where none could be read."""
    if note is None or note.at < started_at:
        if now - started_at < GRACE:
            return ()
        return (f"whether the house records by itself was not looked at since the start: {MEND}",)
    old = (f"whether the house records by itself was last looked at at {note.at:%H:%M:%S} UTC: {MEND}",)
    return (*note.found, *(old if now - note.at > LOOKED_WITHIN else ()))
