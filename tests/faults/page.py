"""The table of faults: as it is printed, and as docs/reliability.md keeps it between its marks.

Pure but for reading and writing that page. Nobody writes the table by hand.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.faults.judge import Row

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"
BEGINS, ENDS = "<!-- ./dev faults: begins -->", "<!-- ./dev faults: ends -->"
HEADS = (
    "fault",
    "calls",
    "at once",
    "met it",
    "captured",
    "talk owed, s",
    "kept, s",
    "not shown, s",
    "unseen holds, s",
    "cut tails",
    "before consent, samples",
    "beyond, samples settled",
    "beyond in the spool, ms",
    "outcomes",
    "lost",
    "without",
    "ready after, s",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What became of one fault. `wrong` empty: it held."""

    what: str
    row: Row
    wrong: Sequence[str] = ()


def cells(line: Line) -> tuple[str, ...]:
    row = line.row
    blind = f" ({row.staged_blind:.0f} unseen)" if row.staged_blind else ""
    return (
        ("" if not line.wrong else "**failed:** ") + line.what,
        str(row.calls),
        str(row.at_once),
        str(row.met),
        str(row.captured),
        f"{row.owed:.0f}",
        f"{row.kept:.0f}",
        f"{row.unshown:.0f}",
        f"{row.music:.0f}",
        str(row.tails),
        str(row.before),
        str(row.beyond),
        f"{row.staged:.0f}{blind}",
        counted(row.outcomes),
        counted(row.lost) or "-",
        str(row.without),
        "never" if row.ready_after is None else f"{row.ready_after:.1f}",
    )


def counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {number}" for name, number in sorted(counts.items()))


def table(lines: Sequence[Line]) -> str:
    """In Markdown, the columns under each other."""
    rows = [HEADS, *(cells(line) for line in lines)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADS))]
    shown = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    return "\n".join([shown[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *shown[1:]])


def read(text: str) -> dict[str, str]:
    """The rows that the page holds, by the fault's own words."""
    inside = text.partition(BEGINS)[2].partition(ENDS)[0]
    rows = [line for line in inside.splitlines() if line.startswith("|")][2:]
    return {re.sub(r"^\*\*failed:\*\* ", "", row.strip("|").split("|")[0].strip()): row for row in rows}


def replaced(text: str, block: str) -> str:
    """The page with the block between its marks; ValueError where it has none."""
    before, begins, rest = text.partition(BEGINS)
    _, ends, after = rest.partition(ENDS)
    if not begins or not ends:
        raise ValueError(f"{BEGINS} and {ENDS} are not both there")
    return f"{before}{BEGINS}\n\n{block}\n\n{ENDS}{after}"
