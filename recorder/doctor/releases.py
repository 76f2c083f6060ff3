"""Releases of Asterisk with a known defect in what the recorder relies on: a table, and nothing but the table decides.

Sources: the issue numbers are those of github.com/asterisk/asterisk; a fix is named by the first release whose change
log has it. A row is WRONG where calls or recordings suffer whatever we do, a note where the recorder works around it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from recorder.doctor.findings import Finding, Mark, fine, note, unchecked, wrong
from recorder.pbx_cli import Release, release

ABOUT = "asterisk"
OLDEST = 16
NEWEST_KNOWN = 23
OPEN = (9999,)
"""No release has the fix yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Defect:
    """Affected: from the first of each pair on, up to but without the second."""

    issue: str
    ranges: tuple[tuple[Release, Release], ...]
    consequence: str
    mend: str
    mark: Mark = Mark.WRONG
    backend: str = ""  # how the channel storage's name must begin for it to matter, "" for any


DEFECTS = (
    Defect(
        issue="233",
        ranges=(((18, 18), (18, 20)), ((20, 3), (20, 5))),
        consequence="MixMonitorMute can deadlock Asterisk, so a pause may end every call",
        mend="update to 18.20, 20.5 or a newer branch",
    ),
    Defect(
        issue="1276, 1279, 851",
        ranges=(((20,), (20, 15)), ((21,), (21, 10)), ((22,), (22, 5))),
        consequence="recordings may be torn or too short",
        mend="update to 20.15, 21.10 or 22.5",
    ),
    Defect(
        issue="1153",
        ranges=(((22, 2), (22, 3)),),
        consequence="Asterisk may crash while a MixMonitor runs",
        mend="update to 22.5 or later",
    ),
    Defect(
        issue="1907, 1928",
        ranges=(((20, 19), (20, 20)),),
        consequence="looking channels up over AMI can deadlock Asterisk",
        mend="update past 20.19",
    ),
    Defect(
        issue="1609",
        ranges=(((20, 17), OPEN),),
        backend="cpp",
        consequence="with this channel storage a call's end may crash Asterisk while a MixMonitor runs",
        mend="take channel_storage_backend out of asterisk.conf and restart Asterisk",
    ),
    Defect(
        issue="1673",
        ranges=(((16,), (20, 18)), ((21,), (22, 8)), ((23,), (23, 2))),
        consequence="a stop that meets its own start can crash Asterisk; the recorder never sends them together",
        mend="20.18, 22.8 and 23.2 have it mended; keep other programs from stopping MixMonitors over AMI",
        mark=Mark.NOTE,
    ),
    Defect(
        issue="MixMonitorMute without an id",
        ranges=(((16,), (18, 18)), ((19,), (20, 3))),
        consequence="a pause reaches only the first MixMonitor of a channel",
        mend="run no MixMonitor of your own beside the recorder's, or update to 18.20 or 20.5",
        mark=Mark.NOTE,
    ),
)


def judge_release(text: str, backend: str = "", table: Iterable[Defect] = DEFECTS) -> list[Finding]:
    """`text` of `core show version`; `backend` is the channel storage of `core show settings`, "" where it has none."""
    number = release(text)
    if number is None:
        shown = text.split(" built by")[0].strip()[:60] or "nothing"
        mend = "compare its change log with the issues in docs/operating.md; a numbered release is checked for you"
        return [unchecked(ABOUT, f"known defects of this release: {shown!r} has no plain number", mend)]
    name = "Asterisk " + ".".join(map(str, number))
    if number[0] < OLDEST:
        return [wrong(ABOUT, f"{name} is older than any the recorder works with", f"update to {OLDEST} or later")]
    found = [_finding(name, defect) for defect in table if _affects(defect, number, backend)]
    if number[0] > NEWEST_KNOWN:
        found.append(note(ABOUT, f"{name} is newer than any this table of defects knows"))
    if any(finding.mark is Mark.WRONG for finding in found):
        return found
    return [fine(ABOUT, f"{name}, no known defect that harms recordings"), *found]


def _affects(defect: Defect, number: Release, backend: str) -> bool:
    if not backend.startswith(defect.backend):
        return False
    return any(first <= number < end for first, end in defect.ranges)


def _finding(name: str, defect: Defect) -> Finding:
    issue = f"issue {defect.issue}" if defect.issue[0].isdigit() else defect.issue
    return Finding(mark=defect.mark, about=ABOUT, what=f"{name}: {defect.consequence} ({issue})", mend=defect.mend)
