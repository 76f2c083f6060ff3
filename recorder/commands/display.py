"""How rows look: JSON for programs, tables for people, both from the same values.

Owns widths, times and colours. The invariant: what came from outside is printed as text, never as a terminal's
control codes, and no value is cut off.
"""

from __future__ import annotations

import json
import os
import sys
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from rich.console import Console
from rich.text import Text

from recorder.model import Outcome, RecordingStatus

PIPED_WIDTH: Final = 240
"""For a pipe nothing is wrapped: grep and awk read lines."""
WIDE: Final = 118
"""From here on a table has its further columns, and ids are whole."""
SHORT_ID: Final = 8
SHORT_POLICY: Final = 16
NARROWEST: Final = 40

COLOURS: Final[dict[str, str]] = {
    Outcome.RECORDED: "green",
    Outcome.DECLINED: "yellow",
    Outcome.LOST: "bold red",
    RecordingStatus.SETTLED: "green",
    RecordingStatus.FAILED: "bold red",
    "ok": "bold green",
    "degraded": "bold yellow",
    "unready": "bold red",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """`wide` ones are left out on a narrow terminal, `page` ones on every terminal: only a pipe has room for them."""

    name: str
    wide: bool = False
    page: bool = False
    right: bool = False


def screen(*, error: bool = False) -> Console:
    """The terminal, or a wide page where the output is piped."""
    stream = sys.stderr if error else sys.stdout
    fits = stream.isatty() or "COLUMNS" in os.environ
    return Console(
        stderr=error, width=None if fits else PIPED_WIDTH, highlight=False, markup=False, emoji=False, soft_wrap=False
    )


def is_wide(console: Console) -> bool:
    return console.width >= WIDE


def has_page(console: Console) -> bool:
    """Whether a line may be as long as it likes."""
    return console.width >= PIPED_WIDTH


def print_json(value: object) -> None:
    print(json.dumps(plain(value), indent=2, ensure_ascii=False))


def plain(value: Any) -> Any:
    """A value as JSON has it: times in ISO 8601 with their zone, ids as text, rows by their columns."""
    match value:
        case datetime():
            return value.isoformat()
        case UUID() | Path():
            return str(value)
        case dict():
            return {str(key): plain(inner) for key, inner in value.items()}
        case list() | tuple() | set() | frozenset():
            return [plain(inner) for inner in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {entry.name: plain(getattr(value, entry.name)) for entry in fields(value)}
    return value


def text(value: object, *, style: str = "") -> Text:
    """`value` as it is, its unprintable characters as question marks."""
    words = "" if value is None else str(value)
    shown = "".join(letter if letter.isprintable() else "?" for letter in words)
    return Text(shown, style=style or COLOURS.get(words.split(":")[0], ""))


def aligned(console: Console, columns: Sequence[Column], rows: Sequence[Sequence[object]]) -> list[Text]:
    """The heading and a line a row, aligned; a cell of each column in every row, those without room included."""
    shown = [index for index, column in enumerate(columns) if _has_room(console, column)]
    heading = [Text(columns[index].name, style="bold") for index in shown]
    cells = [heading, *([text(row[index]) for index in shown] for row in rows)]
    widths = [max(line[place].cell_len for line in cells) for place in range(len(shown))]
    lines = []
    for line in cells:
        parts = [
            _padded(cell, width, right=columns[index].right)
            for cell, width, index in zip(line, widths, shown, strict=True)
        ]
        joined = Text("  ").join(parts)
        joined.rstrip()
        lines.append(joined)
    return lines


def print_table(console: Console, columns: Sequence[Column], rows: Iterable[Sequence[object]]) -> None:
    for line in aligned(console, columns, list(rows)):
        console.print(line, soft_wrap=True)


def _padded(cell: Text, width: int, *, right: bool) -> Text:
    space = Text(" " * (width - cell.cell_len))
    return space + cell if right else cell + space


def _has_room(console: Console, column: Column) -> bool:
    if column.page:
        return has_page(console)
    return is_wide(console) or not column.wide


def print_line(console: Console, words: str, *, style: str = "", hang: int = 4) -> None:
    """One line, or as many as it takes, the further ones set in by `hang`; a path or a digest is never broken."""
    indent = " " * (len(words) - len(words.lstrip()) + hang)
    width = max(console.width, NARROWEST)
    for part in textwrap.wrap(words, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False):
        console.print(text(part, style=style or " "), soft_wrap=True)


def short(key: UUID, console: Console) -> str:
    """An id, whole where there is room; its beginning is enough for every command that takes one."""
    return str(key) if is_wide(console) else str(key)[:SHORT_ID]


def short_policy(digest: str) -> str:
    """The digest of a line's settings, for the eye: its beginning, which `recorder policies show` takes too."""
    return digest[:SHORT_POLICY]


def at(when: datetime | None, console: Console | None = None) -> str:
    """To the second, UTC; on a narrow terminal without the year."""
    if when is None:
        return ""
    return f"{when:%m-%d %H:%M:%S}" if console is not None and not is_wide(console) else f"{when:%Y-%m-%d %H:%M:%S}"


def clock(when: datetime) -> str:
    """The time of day to the millisecond, UTC."""
    return f"{when:%H:%M:%S}.{when.microsecond // 1000:03}"


def lasting(seconds: float | None) -> str:
    """`0:42`, `1:03:07`."""
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def amount(count: float) -> str:
    """Bytes in a unit that is read at a glance."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def number(count: int, one: str, many: str | None = None) -> str:
    return f"{count} {one if count == 1 else many or one + 's'}"
