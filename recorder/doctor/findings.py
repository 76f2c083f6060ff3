"""What an examination comes to: findings, a line each, and the words in which a person reads them.

Pure. The invariant: a finding that is not fine says how to mend it.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Mark(StrEnum):
    FINE = "ok"
    NOTE = "note"  # worth knowing, and nothing is wrong
    WRONG = "WRONG"
    UNCHECKED = "not checked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """`about` names the part, `what` is so, `mend` is what a person can do ("" where there is nothing to do)."""

    mark: Mark
    about: str
    what: str
    mend: str = ""


def fine(about: str, what: str) -> Finding:
    return Finding(mark=Mark.FINE, about=about, what=what)


def note(about: str, what: str, mend: str = "") -> Finding:
    return Finding(mark=Mark.NOTE, about=about, what=what, mend=mend)


def wrong(about: str, what: str, mend: str) -> Finding:
    return Finding(mark=Mark.WRONG, about=about, what=what, mend=mend)


def unchecked(about: str, what: str, mend: str) -> Finding:
    return Finding(mark=Mark.UNCHECKED, about=about, what=what, mend=mend)


def is_well(findings: Sequence[Finding]) -> bool:
    """Whether everything was checked and nothing is wrong."""
    return all(finding.mark in (Mark.FINE, Mark.NOTE) for finding in findings)


COLOURS = {Mark.FINE: "32", Mark.NOTE: "36", Mark.WRONG: "1;31", Mark.UNCHECKED: "1;33"}
MARK_WIDTH = max(len(mark) for mark in Mark)
NARROWEST = 60


def lines(findings: Sequence[Finding], *, width: int | None, colour: bool) -> list[str]:
    """A line a finding. `width` in columns wraps them under themselves, for a terminal; None does not."""
    about_width = max((len(finding.about) for finding in findings), default=0)
    return [line for finding in findings for line in _laid_out(finding, about_width, width, colour)]


def _laid_out(finding: Finding, about_width: int, width: int | None, colour: bool) -> list[str]:
    head = f"{finding.mark:<{MARK_WIDTH}}  {finding.about:<{about_width}}  "
    lead = "; " if finding.mark is Mark.NOTE else ". Mend: "
    text = finding.what + (f"{lead}{finding.mend}" if finding.mend else "")
    body = [text] if width is None else textwrap.wrap(text, max(width, NARROWEST) - len(head), break_on_hyphens=False)
    shown = [head + body[0], *(" " * len(head) + line for line in body[1:])]
    if colour:
        shown[0] = f"\x1b[{COLOURS[finding.mark]}m{shown[0][:MARK_WIDTH]}\x1b[0m{shown[0][MARK_WIDTH:]}"
    return shown


def summary(findings: Sequence[Finding]) -> str:
    """The last line: what it comes to, and where to begin."""
    counts = {mark: sum(finding.mark is mark for finding in findings) for mark in Mark}
    total = f"{counts[Mark.FINE]} ok, {counts[Mark.WRONG]} wrong, {counts[Mark.UNCHECKED]} not checked"
    if is_well(findings):
        return f"{total}. All is well."
    if not counts[Mark.WRONG]:
        return f"{total}. Nothing was found wrong, but not everything could be looked at."
    return f"{total}. Begin with the first line marked {Mark.WRONG}: others may follow from it."
