"""What may become of a file that no recording claims: the one place that decides it. Consent first.

Pure. The invariant: only what an event in the catalogue authorised, in a bridge that was permitted, and for as long as
that is proved, becomes a recording. Everything else waits for a person's explicit word, quarantine or erasure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from recorder.books.balance import balance
from recorder.books.mismatch import Code
from recorder.catalogue import RecordingRow, WholeCall
from recorder.model import ConsentState, Outcome, RecordingStatus

UNLAWFUL: Final = frozenset(
    {
        Code.AUTHORITY_MISSING,
        Code.NOT_PERMITTED,
        Code.OVERRIDE_UNAUDITED,
        Code.OVERRIDE_UNSEALED,
        Code.RECORDING_STRANGE,
        Code.JOURNAL_UNREADABLE,
        Code.JOURNAL_MISSING,
        Code.JOURNAL_GAP,
        Code.CONSENT_EVENT_STRANGE,
    }
)
"""What makes a recording's authority one that cannot be shown."""
OBJECTED: Final = frozenset({ConsentState.REFUSED, ConsentState.WITHDRAWN, ConsentState.PROHIBITED})
UNDER_WAY: Final = frozenset(
    {RecordingStatus.AUTHORISED, RecordingStatus.ARMED, RecordingStatus.STOPPED, RecordingStatus.ERASING}
)


class Fate(StrEnum):
    """What may be done."""

    SETTLE = "settle"  # authorised, permitted and whole: it becomes the recording that it is
    RESTORE = "restore"  # a settled recording's own file, out of its place
    WAIT = "wait"  # the running recorder's work
    BROKEN = "broken"  # authorised, and no recording can be made of it: kept, or put into quarantine
    COPY = "copy"  # of a recording that has its file
    UNAUTHORISED = "unauthorised"  # never a recording: quarantine or erasure, on a person's word


QUARANTINABLE: Final = frozenset({Fate.UNAUTHORISED, Fate.COPY, Fate.BROKEN})
ERASABLE: Final = frozenset({Fate.UNAUTHORISED, Fate.COPY})
"""Not what was authorised: that is evidence, and only disposal by a rule may end it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphan:
    """What was found of one recording's id (or of one strange file): which of its files, and do they say the same."""

    has_caller: bool = False
    has_agent: bool = False
    in_store: bool = False  # anywhere in the store
    is_the_settled_one: bool = False  # its bytes are the settled recording's
    place_is_empty: bool = True  # nothing lies where the recording's file belongs


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """`keep_seconds` bounds what may be heard of a file that is settled."""

    fate: Fate
    why: str
    keep_seconds: float | None = None


def judge(orphan: Orphan, row: RecordingRow | None, whole: WholeCall | None) -> Verdict:
    """Decide; the first that applies."""
    if row is None or whole is None:
        return Verdict(fate=Fate.UNAUTHORISED, why="the catalogue has no recording of this id: nothing authorises it")
    return next(_verdicts(orphan, row, whole))


def _verdicts(orphan: Orphan, row: RecordingRow, whole: WholeCall) -> Iterator[Verdict]:
    for item in balance(whole):
        if item.code in UNLAWFUL and item.recording in (row.id, None):
            yield Verdict(fate=Fate.UNAUTHORISED, why=item.what)
    if whole.call.outcome is Outcome.EXCLUDED:
        yield Verdict(fate=Fate.UNAUTHORISED, why="the call is excluded: never recorded, personal, or prohibited")
    if whole.call.consent in OBJECTED and row.authorising_state is not ConsentState.OVERRIDDEN:
        yield Verdict(fate=Fate.UNAUTHORISED, why=f"the call's consent is {whole.call.consent}")
    if whole.call.outcome is Outcome.DECLINED and row.authorising_state is not ConsentState.OVERRIDDEN:
        yield Verdict(fate=Fate.UNAUTHORISED, why="the call was declined")
    if whole.call.outcome is None:
        yield Verdict(fate=Fate.WAIT, why="its call is in progress")
    if row.status is RecordingStatus.ERASED:
        yield Verdict(fate=Fate.UNAUTHORISED, why="the recording was erased: what is left of it may not be kept")
    if row.status in UNDER_WAY:
        yield Verdict(fate=Fate.WAIT, why=f"the recording is {row.status}: the running recorder goes on with it")
    if row.status is RecordingStatus.SETTLED:
        yield _beside_a_settled_one(orphan)
    if row.status is RecordingStatus.EMPTY and not orphan.in_store:
        yield Verdict(fate=Fate.WAIT, why="the recording is empty: the running recorder removes its staged files")
    if row.status is RecordingStatus.EMPTY:
        yield Verdict(fate=Fate.UNAUTHORISED, why="nobody was bridged: there is nothing to be heard")
    yield _failed(orphan, row)


def _beside_a_settled_one(orphan: Orphan) -> Verdict:
    if orphan.is_the_settled_one and orphan.place_is_empty:
        return Verdict(fate=Fate.RESTORE, why="it is the settled recording's file, and its place is empty")
    if not orphan.in_store:
        return Verdict(fate=Fate.WAIT, why="the recording is settled: the running recorder removes its staged files")
    return Verdict(fate=Fate.COPY, why="the recording is settled, and this is not its file in its place")


def _failed(orphan: Orphan, row: RecordingRow) -> Verdict:
    """A capture that was authorised and failed: what of it can still be settled, and how much of it was permitted."""
    if row.bridged_at is None or row.bridged_seconds is None:
        return Verdict(
            fate=Fate.UNAUTHORISED, why="no permitted bridge was seen: what it holds was said to nobody known"
        )
    proved = [seconds for seconds in (row.bridged_seconds, row.keep_seconds) if seconds is not None]
    if orphan.has_caller and orphan.has_agent:
        why = f"authorised, and bridged for {min(proved):.1f} s that are proved"
        return Verdict(fate=Fate.SETTLE, why=why, keep_seconds=min(proved))
    missing = "both directions are" if not (orphan.has_caller or orphan.has_agent) else "one direction is"
    return Verdict(fate=Fate.BROKEN, why=f"authorised, but {missing} missing in the spool: no recording can be made")
