"""The join of Asterisk's own ledgers with our books: queue log and CDR on one side, the catalogue on the other.

Pure: told rows, asks nothing. The queue log comes first, then the CDR, then our calls; within each any order will do.
Joined are ids, never times; a time only says whether a ledger reaches so far, and whether a thing had time to be
written. The invariant: what is still under way, or was before the books began, is no mismatch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Final

from recorder.books.mismatch import Code, Mismatch
from recorder.books.names import Names
from recorder.catalogue import BookedCall
from recorder.cdr import CdrRow, SignKind
from recorder.model import Direction, Outcome, Uniqueid
from recorder.queue_log import Passage

WRITTEN_WITHIN: Final = timedelta(minutes=5)
"""After a call's end Asterisk has written its row, and the reconcile sweep, which comes each minute, ours."""
GIVEN_UP_AFTER: Final = timedelta(hours=12)
"""A passage that the queue log never ends was cut by Asterisk's own end."""
TWO_SECONDS: Final = timedelta(seconds=2)
"""The ledgers count whole seconds: a difference of two of them was more than one."""
LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)
NEVER: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What of Asterisk's calls is ours to account for. `begins` is since when each queue is a line's."""

    since: datetime
    begins: Mapping[str, datetime]
    reconciled_at: datetime  # up to when the daemon has taken the ledgers in
    now: datetime

    def is_due(self, ended_at: datetime) -> bool:
        """Whether a call that ended then has to be in our books by now, with the daemon or without it."""
        return ended_at < max(self.reconciled_at - TWO_SECONDS, self.now - WRITTEN_WITHIN)

    def is_ours(self, queue: str, entered_at: datetime) -> bool:
        begin = self.begins.get(queue)
        return begin is not None and entered_at >= max(begin, self.since)


@dataclass(slots=True, kw_only=True)
class Reach:
    """From when to when a ledger tells; empty where it was not read."""

    first: datetime = NEVER
    last: datetime = LONG_AGO

    def widen(self, at: datetime) -> None:
        self.first, self.last = min(self.first, at), max(self.last, at)

    def covers(self, begin: datetime, end: datetime) -> bool:
        return self.first <= begin and end + WRITTEN_WITHIN <= self.last


@dataclass(slots=True, kw_only=True)
class Told:
    """What the ledgers have told so far, small enough for a million calls, and what is to be said of it."""

    scope: Scope
    strange: Mapping[str, Path] = field(default_factory=dict)  # ids in the names of files that are not ours
    queue_log: Reach | None = None
    cdr: Reach | None = None
    restarts: list[datetime] = field(default_factory=list)
    has_linkedids: bool = False
    rows: int = 0
    passages: int = 0
    unlisted: Counter[str] = field(default_factory=Counter)  # queue rows of queues that no line names
    _passed: Names = field(default_factory=Names)  # callers in queues of ours
    _queued: Names = field(default_factory=Names)  # callers in any queue
    _connected: Names = field(default_factory=Names)
    _waiting: Names = field(default_factory=Names)  # in a queue when its log was read: how it ended stands there by now
    _talked: Names = field(default_factory=Names)
    _rows: Names = field(default_factory=Names)  # uniqueids in the CDR
    _lines: Names = field(default_factory=Names)  # uniqueids and linkedids that passed a line
    _shown: Names = field(default_factory=Names)  # of these what Asterisk itself shows, in any queue
    _gone: Names = field(default_factory=Names)  # channels that hung up so long ago that their call has ended
    _long_gone: Names = field(default_factory=Names)
    _others: Names = field(default_factory=Names)  # linkedids of rows that show no line
    _named: set[str] = field(default_factory=set)
    _marked: dict[Path, set[str]] = field(default_factory=dict)

    # ------------------------------------------------------------------ the queue log

    def passage(self, passage: Passage, booked: Collection[BookedCall]) -> Iterator[Mismatch]:
        """One passage, and the calls of ours that its caller is in."""
        self.passages += 1
        ours = self.scope.is_ours(passage.queue, passage.entered_at)
        self._queued.add(passage.uniqueid)
        self._shown.add(passage.uniqueid)
        if passage.connected_at is not None:
            self._connected.add(passage.uniqueid)
        elif passage.ended_at is None and passage.entered_at + GIVEN_UP_AFTER > self.scope.now:
            self._waiting.add(passage.uniqueid)
        if ours:
            self._passed.add(passage.uniqueid)
            if _has_talked(passage):
                self._talked.add(passage.uniqueid)
        if passage.caller_gone and passage.ended_at is not None:
            self._hung_up(passage.uniqueid, passage.ended_at)
        ended = passage.ended_at or passage.entered_at + GIVEN_UP_AFTER
        if ours and not booked and self.scope.is_due(ended):
            what = f"the queue log tells of {passage.uniqueid} in the queue {passage.queue} at {passage.entered_at}"
            yield from self._unknown(passage.uniqueid, what)
        yield from self._doubled(passage.uniqueid, booked)

    # ------------------------------------------------------------------ the CDR

    def row(self, row: CdrRow, booked: Collection[BookedCall]) -> Iterator[Mismatch]:
        """One row, and the calls of ours that its channel is in."""
        self.rows += 1
        self._rows.add(row.uniqueid)
        self._hung_up(row.uniqueid, row.ended_at)
        self.has_linkedids = self.has_linkedids or row.linkedid is not None
        kind = row.sign.kind if row.sign else None
        if kind is SignKind.OWN:
            return
        names = (row.uniqueid, *((row.linkedid,) if row.linkedid else ()))
        if row.sign is not None:
            self._shown.update(names)
        if booked:
            self._lines.update(names)
        self._mark(row)
        if row.made_at < self.scope.since:
            return
        if row.sign is None and row.linkedid is not None:
            self._others.add(row.linkedid)
        if kind is SignKind.QUEUE and row.sign is not None and row.sign.name not in self.scope.begins and not booked:
            self.unlisted[row.sign.name] += 1
        if self._shows_line(row) and kind is not SignKind.ASKED and not booked and self.scope.is_due(row.ended_at):
            yield from self._unknown(row.uniqueid, f"the CDR tells of {row.uniqueid} ({_words(row)}) at {row.made_at}")
        yield from self._doubled(row.uniqueid, booked)
        yield from self._not_in_queue_log(row)

    def _shows_line(self, row: CdrRow) -> bool:
        if row.sign is None or row.sign.kind is SignKind.OWN:
            return False
        return row.sign.kind is not SignKind.QUEUE or self.scope.is_ours(row.sign.name, row.made_at)

    def _not_in_queue_log(self, row: CdrRow) -> Iterator[Mismatch]:
        """Only where a member was rung: a queue that is full or empty lets nobody in, and its log says nothing."""
        if not row.reached or self.queue_log is None or row.sign is None or row.sign.kind is not SignKind.QUEUE:
            return
        reaches = self.queue_log.covers(row.made_at, row.ended_at)
        if reaches and not self._is_excused(row.made_at, row.ended_at) and row.uniqueid not in self._queued:
            what = f"the CDR has {row.uniqueid} in the queue {row.sign.name}, and the queue log does not"
            yield Mismatch(code=Code.LEDGERS_DISAGREE, what=what)

    def _mark(self, row: CdrRow) -> None:
        """Remember which files bear an id of this row's call: whose it was is known at the end."""
        for name in {row.uniqueid, *([row.linkedid] if row.linkedid else [])}:
            path = self.strange.get(name) or self.strange.get(name.rpartition("-")[2])
            if path is not None:
                self._marked.setdefault(path, set()).add(row.linkedid or row.uniqueid)

    # ------------------------------------------------------------------ our calls

    def booked(self, call: BookedCall, *, has_audio: bool = False) -> Iterator[Mismatch]:
        """One call of our books, after the ledgers were read; `has_audio`: there is a settled recording of it."""
        self._lines.update(call.linkedids)
        if not call.own or call.started_at < self.scope.since:
            return
        if call.outcome is None or call.ended_at is None:
            yield from self._left_open(call)
            return
        if self._is_excused(call.started_at, call.ended_at):
            return
        in_rows, queued = self._rows.any_of(call.uniqueids), self._queued.any_of(call.uniqueids)
        if self.queue_log is not None:
            yield from self._outcome(call)
        if self.cdr is not None and not in_rows and self.cdr.covers(call.started_at, call.ended_at):
            if queued:
                what = "the queue log has the call's caller, and the CDR does not"
                yield Mismatch(code=Code.LEDGERS_DISAGREE, what=what, call=call.id)
            elif self.queue_log is not None:
                what = f"the call is {call.outcome} here, and neither queue log nor CDR has a channel of it"
                yield Mismatch(code=Code.CALL_UNKNOWN_TO_ASTERISK, what=what, call=call.id)
        elif has_audio and self._passed_no_line(call):
            what = "the CDR has the call, neither there nor in the queue log did it pass a line, and it is recorded"
            yield Mismatch(code=Code.PERSONAL_AUDIO, what=what, call=call.id)

    def _left_open(self, call: BookedCall) -> Iterator[Mismatch]:
        """Whom an agent called may talk on without the agent, with a third: there only time tells."""
        gone = self._gone if call.direction is Direction.INCOMING else self._long_gone
        if all(leg in gone for leg in call.own):
            what = "the call has no outcome here, and its channel has hung up, as Asterisk's ledgers have it"
            yield Mismatch(code=Code.CALL_LEFT_OPEN, what=what, call=call.id)

    def _hung_up(self, leg: Uniqueid, at: datetime) -> None:
        if at < self.scope.now - WRITTEN_WITHIN:
            self._gone.add(leg)
        if at < self.scope.now - GIVEN_UP_AFTER:
            self._long_gone.add(leg)

    def _outcome(self, call: BookedCall) -> Iterator[Mismatch]:
        if call.outcome is Outcome.ABANDONED and self._talked.any_of(call.own):
            what = "the call is abandoned here, and the queue log has its caller talking with an agent"
            yield Mismatch(code=Code.OUTCOME_AGAINST_ASTERISK, what=what, call=call.id)
        passed = self._passed.any_of(call.own) and not any(
            it.any_of(call.own) for it in (self._connected, self._waiting)
        )
        if call.outcome is Outcome.RECORDED and call.direction is Direction.INCOMING and passed:
            what = "the call is recorded here, and the queue log has no agent connected to its caller"
            yield Mismatch(code=Code.OUTCOME_AGAINST_ASTERISK, what=what, call=call.id)

    def _passed_no_line(self, call: BookedCall) -> bool:
        """Whether Asterisk has the whole call, and of no line. Only what both ledgers cover can be said so."""
        if call.ended_at is None or self.queue_log is None or self.cdr is None or not self.has_linkedids:
            return False
        covered = all(ledger.covers(call.started_at, call.ended_at) for ledger in (self.queue_log, self.cdr))
        return covered and not self._shown.any_of((*call.uniqueids, *call.linkedids))

    # ------------------------------------------------------------------ at the end

    @property
    def personal(self) -> Names | None:
        """The linkedids of calls that passed no line; None where the CDR does not tell."""
        return self._others - self._lines - self._shown if self.cdr is not None and self.has_linkedids else None

    def files_of_personal(self) -> Iterator[Mismatch]:
        """Files that bear the id of a personal call."""
        personal = self.personal
        for path, names in self._marked.items():
            if personal is not None and personal.any_of(names):
                what = "the file bears the id of a personal call, which passed no line"
                yield Mismatch(code=Code.PERSONAL_AUDIO, what=what, path=path)

    # ------------------------------------------------------------------ together

    def _unknown(self, uniqueid: Uniqueid, what: str) -> Iterator[Mismatch]:
        if uniqueid not in self._named:
            self._named.add(uniqueid)
            yield Mismatch(code=Code.CALL_UNKNOWN, what=f"{what}, and no call of ours has it")

    def _doubled(self, uniqueid: Uniqueid, booked: Collection[BookedCall]) -> Iterator[Mismatch]:
        mine = [call for call in booked if uniqueid in call.own]
        if uniqueid in self._named or not _overlap(mine):
            return
        self._named.add(uniqueid)
        for call in mine[1:]:
            what = f"the channel {uniqueid} is in call {mine[0].id} ({mine[0].outcome}) at the same time"
            yield Mismatch(code=Code.CALL_DOUBLED, what=what, call=call.id)

    def _is_excused(self, begin: datetime, end: datetime) -> bool:
        """Whether Asterisk itself ended in between: what it had not written of its calls by then it never writes."""
        return any(begin - WRITTEN_WITHIN <= restart <= end + WRITTEN_WITHIN for restart in self.restarts)


def _has_talked(passage: Passage) -> bool:
    until, begin = passage.talked_until, passage.connected_at
    return until is not None and begin is not None and until - begin >= TWO_SECONDS


def _overlap(calls: Iterable[BookedCall]) -> bool:
    """Whether two of them were at the same time. One after the other is right: a channel may dial twice."""
    times = sorted((call.started_at, call.ended_at or NEVER) for call in calls)
    return any(later[0] < earlier[1] for earlier, later in pairwise(times))


def _words(row: CdrRow) -> str:
    return f"{row.sign.kind} {row.sign.name}".strip() if row.sign else "no line"


def join(
    scope: Scope,
    passages: Iterable[Passage],
    rows: Iterable[CdrRow],
    calls: Collection[BookedCall],
    strange: Mapping[str, Path] | None = None,
) -> tuple[list[Mismatch], Told]:
    """The whole join of rows at hand, as `walk` takes it batch by batch."""
    passages, rows = list(passages), list(rows)
    queue_log, cdr = Reach(), Reach()
    for passage in passages:
        queue_log.widen(passage.entered_at)
        queue_log.widen(passage.ended_at or passage.entered_at)
    for row in rows:
        cdr.widen(row.ended_at)
    told = Told(scope=scope, strange=strange or {}, queue_log=queue_log, cdr=cdr)
    of = {name: [call for call in calls if name in call.uniqueids] for call in calls for name in call.uniqueids}
    found = [item for each in passages for item in told.passage(each, of.get(each.uniqueid, ()))]
    found += [item for each in rows for item in told.row(each, of.get(each.uniqueid, ()))]
    found += [item for call in calls for item in told.booked(call)]
    return [*found, *told.files_of_personal()], told
