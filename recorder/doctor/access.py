"""What the daemon's own user may do, found out for root, whom nothing stops: by owner, group and mode alone.

Access lists and security modules are not looked at: where they decide, run doctor as that user. Pure but for
`facts_of` and `owner_of`.
"""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from recorder.doctor.findings import Finding, fine, note, wrong

ENTER, READ, WRITE = os.X_OK, os.R_OK, os.W_OK


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A user of this machine."""

    name: str
    uid: int
    groups: frozenset[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    uid: int
    gid: int
    mode: int


def may(person: Person, facts: Facts, wanted: int) -> bool:
    """Whether the mode grants `wanted` (ENTER, READ, WRITE, or several) to `person`."""
    if person.uid == 0:
        return True
    shift = 6 if facts.uid == person.uid else 3 if facts.gid in person.groups else 0
    return (stat.S_IMODE(facts.mode) >> shift) & wanted == wanted


def judge_access(person: Person, wanted: Iterable[tuple[Path, int]], facts: dict[Path, Facts]) -> list[Finding]:
    """Each path with what the daemon does there; `facts` of it and of the folders above, nothing of what is missing."""
    if person.uid == 0:
        mend = "give it a user of its own (deploy/README.md) and the storage folder to that user"
        return [note("daemon's user", "the storage folder belongs to root: the daemon would run as root", mend)]
    found = []
    for path, rights in wanted:
        closed = [folder for folder in path.parents if folder in facts and not may(person, facts[folder], ENTER)]
        if closed:
            mend = f"let {person.name} enter it"
            found.append(
                wrong("daemon's user", f"{person.name} cannot reach {path}: {closed[-1]} is closed to it", mend)
            )
        elif path in facts and not may(person, facts[path], rights):
            word = "write to" if rights & WRITE else "read"
            mend = "see who owns it, and deploy/recorder.tmpfiles for who should"
            found.append(wrong("daemon's user", f"{person.name} may not {word} {path}", mend))
    return found or [fine("daemon's user", f"{person.name}, who owns the storage folder, may do what it must")]


def facts_of(paths: Iterable[Path]) -> dict[Path, Facts]:
    """Of each path and the folders above it, as far as they exist."""
    facts = {}
    for path in paths:
        for place in (path, *path.parents):
            try:
                found = place.stat()
            except OSError:
                continue
            facts[place] = Facts(uid=found.st_uid, gid=found.st_gid, mode=found.st_mode)
    return facts


def owner_of(path: Path) -> Person | None:
    """Who owns `path`, with every group; None where there is no such path or user."""
    try:
        entry = pwd.getpwuid(path.stat().st_uid)
    except (OSError, KeyError):
        return None
    groups = frozenset(os.getgrouplist(entry.pw_name, entry.pw_gid))
    return Person(name=entry.pw_name, uid=entry.pw_uid, groups=groups)
