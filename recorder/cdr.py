"""The only one that reads Asterisk's call detail records, as cdr_csv writes them: which calls passed a line of ours.

Must not write anything, and must not decide what a row means for the books. The invariant: a row that makes no sense is
passed over and counted, and no name or number of a caller is kept.
Source of the format: Asterisk, cdr/cdr_csv.c build_csv_record, measured on 16 and 22 (docs/decisions). The columns
wanted: `uniqueid` (cdr.conf: loguniqueid) and `linkedid` (newcdrcolumns). Times are the PBX's own, in its zone unless
usegmtime: so a row's time comes from its uniqueid, which begins with the second in which Asterisk made the channel.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Final

from recorder.model import Linkedid, Uniqueid
from recorder.rotated import Line, Place, Rotated

LAST_BYTES: Final = 8192  # a row is shorter by far
REACHED_AT: Final = 6
STARTED_AT: Final = 9
UNIQUEID_AT: Final = 16
COLUMNS_WITHOUT_UNIQUEID: Final = 16
COLUMNS_WITH_LINKEDID: Final = (20, 21)  # loguserfield adds one
MADE_AT = re.compile(r"(?:^|-)(\d{9,11})\.\d+$")
OUR_DIALOGUE = re.compile(r"agi://[^/,]+/inbound,([A-Za-z0-9_-]+)")
OUR_FALLBACK = re.compile(r"recorder-fallback-([A-Za-z0-9_-]+)")
OUR_CALLEE = re.compile(r"recorder-callee\^([A-Za-z0-9_-]+)\)")
OUTBOUND_LEG: Final = "recorder-outbound-leg"
OWN_CONTEXTS: Final = frozenset({"recorder-key-leg", "recorder-doctor"})


class SignKind(StrEnum):
    """By what a row shows that its call is one of a line."""

    QUEUE = "queue"  # its last application was Queue()
    DIALOGUE = "dialogue"  # it hung up while our dialogue asked, or the dialplan's own
    DIALLED = "dialled"  # an agent's Dial() with our U()
    ASKED = "asked"  # the leg on which the called party was asked: its linkedid is the call's
    OWN = "own"  # a leg of ours that is no call: a key's, or doctor's


@dataclass(frozen=True, slots=True, kw_only=True)
class Sign:
    """`name` is the queue's or the line's, where the row tells it."""

    kind: SignKind
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CdrRow:
    """One row. `linkedid` is None where cdr.conf leaves the column out. `made_at` is when the channel was made.

    `reached`: another channel was dialled for it (`dstchannel`), whoever answered.
    """

    uniqueid: Uniqueid
    linkedid: Linkedid | None
    made_at: datetime
    lasted: timedelta
    talked: timedelta
    reached: bool
    sign: Sign | None
    offset: int = field(default=0, compare=False)
    inode: int = field(default=0, compare=False)

    @property
    def ended_at(self) -> datetime:
        """Not later than the row's own end: of a channel's second row the first one's length is missing."""
        return self.made_at + self.lasted


class Cdr:
    """The file at `path`, usually cdr-csv/Master.csv."""

    def __init__(self, path: Path) -> None:
        self._log = Rotated(path)
        self.senseless = 0  # rows passed over
        self.without_uniqueid = 0  # of which for want of that column

    def end(self) -> Place | None:
        """Where the file ends now; None while there is none."""
        return self._log.end()

    def read(self, since: Place) -> tuple[list[CdrRow], Place]:
        """The rows after `since`, and where they end, over a rotation as Rotated.read. OSError passes."""
        lines, place = self._log.read(since)
        return [row for line in lines if (row := self._told(line)) is not None], place

    def every(self, since: datetime | None = None) -> Iterator[CdrRow]:
        """All that is still there, rotated files too, oldest first; as Rotated.every."""
        for text in self._log.every(since):
            row = self._told(Line(text=text, offset=0, inode=0))
            if row is not None:
                yield row

    def _told(self, line: Line) -> CdrRow | None:
        columns = _columns(line.text)
        row = _row(columns, line)
        self.senseless += row is None
        self.without_uniqueid += row is None and len(columns) == COLUMNS_WITHOUT_UNIQUEID
        return row


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Which of the columns that the recorder needs the file's last row has."""

    uniqueid: bool
    linkedid: bool


def columns_of(path: Path) -> Columns | None:
    """What cdr_csv writes now, by its last row; None where there is none yet. OSError passes."""
    with path.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - LAST_BYTES))
        lines = file.read().splitlines()
    columns = _columns(lines[-1]) if lines else []
    if len(columns) < COLUMNS_WITHOUT_UNIQUEID:
        return None
    return Columns(uniqueid=len(columns) > UNIQUEID_AT, linkedid=len(columns) in COLUMNS_WITH_LINKEDID)


def _columns(text: bytes) -> list[str]:
    try:
        return next(csv.reader([text.decode("utf-8", "replace")]), [])
    except csv.Error:  # a carriage return, a field without end
        return []


def _row(columns: list[str], line: Line) -> CdrRow | None:
    if len(columns) <= UNIQUEID_AT or not columns[UNIQUEID_AT]:
        return None
    try:
        made_at = _made_at(columns)
        lasted, talked = (timedelta(seconds=int(columns[place])) for place in (12, 13))
    except (ValueError, OverflowError):
        return None
    linkedid = columns[-2] if len(columns) in COLUMNS_WITH_LINKEDID else ""
    return CdrRow(
        uniqueid=Uniqueid(columns[UNIQUEID_AT]),
        linkedid=Linkedid(linkedid) if linkedid else None,
        made_at=made_at,
        lasted=lasted,
        talked=talked,
        reached=bool(columns[REACHED_AT]),
        sign=sign_of(context=columns[3], application=columns[7], data=columns[8]),
        offset=line.offset,
        inode=line.inode,
    )


def _made_at(columns: list[str]) -> datetime:
    """From the uniqueid; one that somebody chose (ARI, Originate) tells no time, and `start` is taken as UTC."""
    if (made := MADE_AT.search(columns[UNIQUEID_AT])) is not None:
        return datetime.fromtimestamp(int(made[1]), UTC)
    return datetime.fromisoformat(columns[STARTED_AT]).replace(tzinfo=UTC)


def sign_of(*, context: str, application: str, data: str) -> Sign | None:
    """What `dcontext`, `lastapp` and `lastdata` (of which Asterisk keeps 79 bytes) show of a line; None for nothing."""
    if context in OWN_CONTEXTS:
        return Sign(kind=SignKind.OWN)
    if context == OUTBOUND_LEG:
        return Sign(kind=SignKind.ASKED)
    if (asking := OUR_FALLBACK.fullmatch(context)) is not None:
        return Sign(kind=SignKind.DIALOGUE, name=asking[1])
    if application == "Queue":
        return Sign(kind=SignKind.QUEUE, name=data.partition(",")[0])
    if application == "AGI" and (asked := OUR_DIALOGUE.match(data)) is not None:
        return Sign(kind=SignKind.DIALOGUE, name=asked[1])
    if application == "Dial" and (dialled := OUR_CALLEE.search(data)) is not None:
        return Sign(kind=SignKind.DIALLED, name=dialled[1])
    return None
