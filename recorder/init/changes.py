"""A change to a file as a value: what stands there, what shall, how it is shown and how it is made.

The only one in `init` that writes. The invariants: a file is replaced whole or not at all, what was there before stays
beside it as .bak, and a secret is never shown.
"""

from __future__ import annotations

import difflib
import os
import secrets
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from recorder.init.texts import SECRET_SHOWN

PUBLIC = 0o644
CLOSED = 0o640
OWN = 0o600


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """`old` is None where there is no such file. `like` is the file whose owner a new one gets; `hidden` is not shown.

    `shipped`: a copy of a file of this program, of which a new one is named and not shown line by line.
    """

    path: Path
    old: bytes | None
    new: bytes
    mode: int = PUBLIC
    like: Path | None = None
    group: str | None = None
    user: str | None = None
    hidden: str | None = None
    shipped: bool = False

    @property
    def is_needed(self) -> bool:
        return self.old != self.new


def change_to(
    path: Path,
    new: str | bytes,
    *,
    mode: int = PUBLIC,
    like: Path | None = None,
    group: str | None = None,
    user: str | None = None,
    hidden: str | None = None,
    shipped: bool = False,
) -> Change:
    """The change that makes `path` read `new`; OSError where it is there and cannot be read."""
    old = path.read_bytes() if path.exists() else None
    content = new if isinstance(new, bytes) else new.encode()
    return Change(
        path=path, old=old, new=content, mode=mode, like=like, group=group, user=user, hidden=hidden, shipped=shipped
    )


def shown(change: Change) -> str:
    """A unified diff; one line for a new copy of what we ship."""
    if change.shipped and change.old is None:
        return f"+++ {change.path}  (new, as shipped: {len(change.new)} bytes)\n"
    old, new = ((content or b"").decode("utf-8", "replace") for content in (change.old, change.new))
    if change.hidden:
        old, new = (text.replace(change.hidden, SECRET_SHOWN) for text in (old, new))
    before = str(change.path) if change.old is not None else "/dev/null"
    diff = difflib.unified_diff(old.splitlines(True), new.splitlines(True), before, str(change.path))
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in diff)


def make(changes: Sequence[Change]) -> list[Path]:
    """Make them in order and return the .bak files; OSError where one cannot be made, and the later ones are not."""
    kept = []
    for change in changes:
        path = change.path.resolve()
        _make_folder(path.parent, change)
        if change.old is not None:
            kept.append(_keep(path))
        _replace(path, change)
    return kept


def _make_folder(folder: Path, change: Change) -> None:
    """Make it and those above, whatever the umask: Asterisk must reach what it plays, and only we a secret."""
    if folder.is_dir():
        return
    _make_folder(folder.parent, change)
    folder.mkdir()
    _lend(folder, change.group)
    folder.chmod(0o755 if change.mode == PUBLIC else 0o750)


def _lend(path: Path, group: str | None, user: str | None = None) -> None:
    if group is not None:
        with suppress(LookupError, PermissionError):  # no such group yet: doctor and the README say how to make it
            shutil.chown(path, group=group)
    if user is not None:
        with suppress(LookupError, PermissionError):
            shutil.chown(path, user=user)


def _keep(path: Path) -> Path:
    """Copy `path`, owner and mode included, to a .bak that was not there."""
    spare = path.with_name(f"{path.name}.bak")
    number = 0
    while spare.exists():
        number += 1
        spare = path.with_name(f"{path.name}.bak{number}")
    facts = path.stat()
    descriptor = os.open(spare, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(path.read_bytes())
    shutil.copystat(path, spare)
    _own(spare, facts.st_uid, facts.st_gid)
    return spare


def _replace(path: Path, change: Change) -> None:
    facts = path.stat() if change.old is not None else None
    pattern = facts or (change.like.stat() if change.like is not None else None)
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(change.new)
            file.flush()
            os.fsync(file.fileno())
        if pattern is not None:
            _own(fresh, pattern.st_uid, pattern.st_gid)
        _lend(fresh, change.group, change.user)
        fresh.chmod(facts.st_mode & 0o7777 if facts is not None else change.mode)
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


def _own(path: Path, user: int, group: int) -> None:
    facts = path.stat()
    if (facts.st_uid, facts.st_gid) != (user, group):
        os.chown(path, user, group)
