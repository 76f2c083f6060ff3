"""What the local journal's records say: a step of a call, or until when we saw everything.

Pure: the translation between our rows and the bytes that recorder.local_journal keeps. The invariants: a step says what
its row in the catalogue says and nothing more; what cannot be read back raises nothing, and counts as damage.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from recorder.catalogue import JournalRow
from recorder.local_journal import Reading
from recorder.model import CallId

SEEN: Final = "seen"
"""The key of the one record that says until when we saw everything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What an earlier daemon left in the local journal.

    `steps` are in their order. `seen_at` is until when it saw everything, as far as it could not tell the catalogue.
    `damaged`: behind what is here there was more, which nobody can read; all of it was later than `known_at`.
    """

    steps: Mapping[CallId, Sequence[JournalRow]] = field(default_factory=dict)
    later: Mapping[CallId, Sequence[JournalRow]] = field(default_factory=dict)  # behind the damage
    seen_at: datetime | None = None
    damaged: bool = False
    known_at: datetime | None = None


def record_of_step(call: CallId, row: JournalRow) -> bytes:
    said = {
        "call": str(call),
        "seq": row.seq,
        "at": row.at.isoformat(),
        "name": row.name,
        "from": str(row.old_phase),
        "to": str(row.new_phase),
        "fields": row.fields,
    }
    return json.dumps(said, ensure_ascii=True, separators=(",", ":")).encode()


def record_of_sight(at: datetime) -> bytes:
    return json.dumps({SEEN: at.isoformat()}).encode()


def kept(reading: Reading) -> Kept:
    """What was read, as far as this version understands it: behind a record that it does not, all is damage."""
    steps, seen_at, known_at, whole = _understood(reading.records)
    later, *_ = _understood(reading.later, past_damage=True)
    return Kept(
        steps=steps,
        later=later,
        seen_at=seen_at,
        damaged=reading.damaged or not whole,
        known_at=known_at,
    )


Understood = tuple[Mapping[CallId, Sequence[JournalRow]], datetime | None, datetime | None, bool]


def _understood(records: Iterable[bytes], *, past_damage: bool = False) -> Understood:
    """Steps by call, the last sight, the last time that is told, and whether every record was understood."""
    steps: dict[CallId, list[JournalRow]] = defaultdict(list)
    seen_at: datetime | None = None
    known_at: datetime | None = None
    whole = True
    for record in records:
        said = _said(record)
        if said is None:
            whole = False
            if past_damage:
                continue
            break
        if isinstance(said, datetime):
            seen_at = at = said
        else:
            call, row = said
            steps[call].append(row)
            at = row.at
        known_at = at if known_at is None else max(known_at, at)
    return dict(steps), seen_at, known_at, whole


def _said(record: bytes) -> tuple[CallId, JournalRow] | datetime | None:
    try:
        told = json.loads(record)
        if SEEN in told:
            return datetime.fromisoformat(told[SEEN])
        row = JournalRow(
            seq=int(told["seq"]),
            at=datetime.fromisoformat(told["at"]),
            name=str(told["name"]),
            old_phase=str(told["from"]),
            new_phase=str(told["to"]),
            fields={str(name): str(text) for name, text in told["fields"].items()},
        )
        return CallId(UUID(told["call"])), row
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
