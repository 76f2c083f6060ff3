"""The chain that every consent event is written into: how a link is made, how two of them hang together, what is shown.

Pure, standard library only; knows no table and no file. The invariants: a link's digest stands for everything that was
chained before it, and says nothing of what it commits to unless that body and its salt are shown.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from recorder.model import utc

NOTHING: Final = "0" * 64
"""What stands before the first link, where a digest would."""
SALT_BYTES: Final = 32
_HEAD: Final = re.compile(r"([A-Za-z0-9_.-]{1,48}):([1-9]\d{0,17}):([0-9a-f]{64})")

Body = dict[str, Any]
"""What a link commits to: strings, whole numbers, null and objects of these."""


def canonical(value: object) -> str:
    """The one way in which a body or a link is written down before it is digested (RFC 8785, for what bodies hold)."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def commitment(salt: str, body: str) -> str:
    """SHA-256 over the salt's bytes and the canonical body: without the salt nobody can try which body it was."""
    return sha256(bytes.fromhex(salt) + body.encode())


def is_committed(salt: str, body: str, committed: str) -> bool:
    """Whether this salt and this body are what a link committed to; a salt that is written in another way is not."""
    return re.fullmatch(r"[0-9a-f]{64}", salt) is not None and commitment(salt, body) == committed


def moment(at: datetime) -> str:
    """A time as bodies and links have it: UTC, to the microsecond."""
    return utc(at).isoformat(timespec="microseconds")


def further_back(seq: int) -> int:
    """The other link that this one names, besides the one before it: its number without its lowest binary one.

    So any link is reached from any later one in few steps, however long the chain (Buldas et al., 1998).
    """
    return seq - (seq & -seq)


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """`previous` and `further` are the digests of the links before it and further back; NOTHING before the first."""

    node: str
    seq: int  # from 1, without a gap, in each node
    at: str  # when it was chained
    commitment: str
    previous: str
    further: str

    @property
    def digest(self) -> str:
        return sha256(canonical(asdict(self)).encode())

    def follows(self, older: Link) -> bool:
        """Whether it names this older link as one that it stands on."""
        if older.node != self.node:
            return False
        if older.seq == self.seq - 1:
            return older.digest == self.previous
        return older.seq == further_back(self.seq) and older.digest == self.further


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The newest link of a node's chain at some moment. Noted elsewhere, it shows later that nothing was rewritten."""

    node: str
    seq: int
    digest: str

    def __str__(self) -> str:
        return f"{self.node}:{self.seq}:{self.digest}"


def head_from(text: str) -> Head | None:
    """`pbx1:17:DIGEST` as a head is written; None for anything else."""
    found = _HEAD.fullmatch(text)
    return Head(node=found[1], seq=int(found[2]), digest=found[3]) if found else None


def heads_noted(text: str) -> tuple[Head, ...]:
    """The heads in a text, one a line, whatever stands behind it; ValueError names a line without one."""
    heads = []
    for number, line in enumerate(text.splitlines(), start=1):
        if words := line.split():
            head = head_from(words[0])
            if head is None:
                raise ValueError(f"line {number} does not begin with NODE:LINK:DIGEST")
            heads.append(head)
    return tuple(heads)


def way_back(newest: int, oldest: int) -> Iterator[int]:
    """The links to show after `newest`, so that everybody sees it stand on `oldest`; that one is the last."""
    at = newest
    while at > oldest:
        jump = further_back(at)
        at = jump if jump >= oldest else at - 1
        yield at


def consent_body(
    said: Mapping[str, Any], prompt: Mapping[str, Any] | None, *, node: str, line: str, mode: str, number: int
) -> Body:
    """What is chained of a consent event. `said` has its columns, `number` is its place among those of its call."""
    return {
        "kind": "consent",
        "node": node,
        "line": line,
        "mode": mode,
        "number": number,
        **consent_said(said, prompt),
    }


def consent_said(said: Mapping[str, Any], prompt: Mapping[str, Any] | None) -> Body:
    """That part of a body which the event's own row and its prompt's say."""
    names = ("before", "after", "channel", "policy", "played_ms", "key", "language", "actor", "reason", "basis")
    shown = ("id", "kind", "language", "version", "sha256", "min_played_ms", "text")
    return {
        "id": str(said["id"]),
        "call": str(said["call"]),
        "at": moment(said["at"]),
        **{name: _plain(said[name]) for name in names},
        "prompt": None if prompt is None else {name: _plain(prompt[name]) for name in shown},
    }


def end_body(said: Mapping[str, Any], *, node: str, consents: int) -> Body:
    """What is chained when a call ends: how, and how many consent events it had. `said` has the call's columns."""
    return {"kind": "end", "node": node, "consents": consents, **end_said(said)}


def end_said(said: Mapping[str, Any]) -> Body:
    """That part of a body which the call's own row says."""
    return {
        "call": str(said["call"]),
        "at": moment(said["ended_at"]),
        "outcome": _plain(said["outcome"]),
        "reason": _plain(said["reason"]),
    }


def _plain(value: Any) -> str | int | None:
    """A word of a closed list as the text that it is."""
    return str(value) if isinstance(value, str) else value


def differing(chained: Mapping[str, Any], said: Mapping[str, Any]) -> list[str]:
    """The names of what `said` says otherwise than was chained."""
    return sorted(name for name, value in said.items() if chained.get(name, NOTHING) != value)
