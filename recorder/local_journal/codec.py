"""Records as bytes and back: a length and two checksums before each, so that no half or changed one is taken for whole.

Pure. The invariants: what `read` returns are the records as they were framed, in their order, up to the first that is
not; an end that a cut write leaves (`torn`) is told apart from bytes that were changed (`damaged`).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

MAGIC: Final = b"\xabRJ1"
_HEAD: Final = struct.Struct(">4sII")  # magic, length, the record's checksum; the checksum of these three follows
_SUM: Final = struct.Struct(">I")
HEADER_BYTES: Final = _HEAD.size + _SUM.size
LONGEST: Final = 1 << 20
"""Bytes of one record. A step of a call has some hundred."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a journal holds. `good_bytes` is where the last whole record ends.

    `torn`: behind it lies the beginning of one more, as a write that was cut leaves it. `damaged`: what lies there is
    no such beginning; how many records it was, nobody knows. `later` are whole records found behind the damage.
    """

    records: tuple[bytes, ...] = ()
    good_bytes: int = 0
    torn: bool = False
    damaged: bool = False
    later: tuple[bytes, ...] = ()


def framed(record: bytes) -> bytes:
    """`record` with what is needed to read it back; ValueError where it is longer than any may be."""
    if len(record) > LONGEST:
        raise ValueError(f"a record of {len(record)} bytes: {LONGEST} at most")
    head = _HEAD.pack(MAGIC, len(record), zlib.crc32(record))
    return head + _SUM.pack(zlib.crc32(head)) + record


def read(data: bytes) -> Reading:
    """Everything that `data` holds."""
    records, at = _whole_ones(data, 0)
    rest = data[at:]
    if not rest:
        return Reading(records=tuple(records), good_bytes=at)
    if _is_torn(rest):
        return Reading(records=tuple(records), good_bytes=at, torn=True)
    return Reading(records=tuple(records), good_bytes=at, damaged=True, later=tuple(_found_behind(data, at)))


def _whole_ones(data: bytes, at: int) -> tuple[list[bytes], int]:
    records = []
    while (end := _end_of(data, at)) is not None:
        records.append(data[at + HEADER_BYTES : end])
        at = end
    return records, at


def _end_of(data: bytes, at: int) -> int | None:
    """Where the record that begins at `at` ends; None where no whole one does."""
    length = _length(data[at : at + HEADER_BYTES])
    if length is None:
        return None
    end = at + HEADER_BYTES + length
    _, _, checksum = _HEAD.unpack_from(data, at)
    return end if end <= len(data) and zlib.crc32(data[at + HEADER_BYTES : end]) == checksum else None


def _length(header: bytes) -> int | None:
    """The length that a header tells; None where it is none of ours, or not whole."""
    if len(header) < HEADER_BYTES:
        return None
    head, (checksum,) = header[: _HEAD.size], _SUM.unpack_from(header, _HEAD.size)
    magic, length, _ = _HEAD.unpack(head)
    return length if magic == MAGIC and checksum == zlib.crc32(head) and length <= LONGEST else None


def _is_torn(rest: bytes) -> bool:
    """Whether `rest` is the beginning of one record, or the zeros that a file system leaves for what it never wrote."""
    if not rest.strip(b"\x00"):
        return True
    if len(rest) < HEADER_BYTES:
        return rest[: len(MAGIC)] == MAGIC[: len(rest)]
    length = _length(rest[:HEADER_BYTES])
    return length is not None and len(rest) < HEADER_BYTES + length


def _found_behind(data: bytes, at: int) -> Sequence[bytes]:
    """Whole records behind the damage at `at`."""
    found: list[bytes] = []
    at = data.find(MAGIC, at + 1)
    while at != -1:
        records, end = _whole_ones(data, at)
        found += records
        at = data.find(MAGIC, max(end, at + 1))
    return found
