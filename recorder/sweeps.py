"""One-step jobs that find their work by its state in the database: settle, analyse, reconcile.

Must not decide what may be kept or how a call ended; must not hold a to-do list: after a crash they simply go on. A
step says whether there may be more work, so that a sweep is `while step(): pass`. The invariant: a thing that fails is
postponed, counted and looked at again; it never stops the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol
from uuid import NAMESPACE_OID, uuid5

import structlog

from recorder.call import CallEvent, RecordingUnmade
from recorder.capture import CaptureDesk, Staging
from recorder.catalogue import Catalogue, CatalogueError, RecordingRow
from recorder.marks import begin_books
from recorder.model import (
    CallEnded,
    CallId,
    CallOpened,
    Channel,
    ConsentMode,
    ConsentState,
    Direction,
    Fact,
    LegSeen,
    Linkedid,
    LostReason,
    Outcome,
    PartyKind,
    RecordingId,
    RecordingStatus,
    Uniqueid,
)
from recorder.policy import LineRules
from recorder.priority import RESTS, RESTS_AT_MOST
from recorder.quality import Measures
from recorder.queue_log import Entry, Passage, QueueLog, Unseen, told_by, unseen_by
from recorder.queue_reading import QueueReading
from recorder.storage import Spool, StorageError

log = structlog.get_logger(__name__)

AT_ONCE = 4
"""Recordings of one question to the catalogue; they are still taken one after another."""
POSTPONE = timedelta(seconds=30)
UNFINISHED_FOR = timedelta(hours=12)
"""A passage that the queue log never ends (Asterisk was killed) is given up after this."""


class Ledger(Protocol):
    """Where a call's machine takes an event about one of its recordings; False where no such call is open."""

    async def __call__(self, call: CallId, event: CallEvent) -> bool: ...


@dataclass(slots=True)
class Postponed:
    """Recordings that failed just now, each until when."""

    until: dict[RecordingId, datetime] = field(default_factory=dict)

    def now(self, at: datetime) -> frozenset[RecordingId]:
        self.until = {recording: moment for recording, moment in self.until.items() if moment > at}
        return frozenset(self.until)


class Sweeps:
    """The steps. Each returns whether there may be more work."""

    def __init__(
        self,
        *,
        node: str,
        catalogue: Catalogue,
        capture: CaptureDesk,
        spool: Spool,
        ledger: Ledger,
        queue_log: QueueLog | None,
        lines: Mapping[str, LineRules],
        callers: Callable[[], frozenset[Uniqueid]],
        has_leg: Callable[[Uniqueid], bool],
        now: Callable[[], datetime],
    ) -> None:
        self._node = node
        self._catalogue = catalogue
        self._capture = capture
        self._spool = spool
        self._ledger = ledger
        self._lines = lines
        self._reading = None
        if queue_log is not None:
            self._reading = QueueReading(
                node=node,
                catalogue=catalogue,
                log=queue_log,
                queues=self._queues(),
                callers=callers,
                has_leg=has_leg,
            )
        self._callers = callers  # of the calls in progress
        self._has_leg = has_leg  # of any call in progress
        self._now = now
        self._postponed = Postponed()
        self.failures: dict[str, int] = {}
        self.pending: frozenset[Uniqueid] = frozenset()  # whom the dialplan asked; the daemon has yet to take them in
        self.lost: dict[LostReason, int] = {}  # calls that passed while nobody looked

    async def settle_due(self) -> bool:
        """Erase what may not be kept, then settle the recordings that have waited longest; never both at once."""
        erasing = await self._one("erase", RecordingStatus.ERASING, None, self._erase)
        return await self._one("settle", RecordingStatus.STOPPED, None, self._settle) or erasing

    async def analyse_due(self) -> bool:
        """Measure the settled recordings that have waited longest."""
        return await self._one("analyse", RecordingStatus.SETTLED, False, self._analyse)

    async def _one(
        self,
        name: str,
        status: RecordingStatus,
        analysed: bool | None,
        work: Callable[[RecordingRow], Awaitable[None]],
    ) -> bool:
        due = await self._catalogue.recordings_due(
            self._node, status, AT_ONCE, analysed=analysed, excluding=self._postponed.now(self._now())
        )
        for row in due:
            try:
                await work(row)
            except StorageError as error:
                self._postpone(name, row.id)
                log.error("sweep_postponed", sweep=name, recording=str(row.id), why=str(error))
            except CatalogueError:
                raise  # it would stop every other one too
            except Exception:  # the guard of one recording: whatever it met, the others go on
                self._postpone(name, row.id)
                log.exception("sweep_postponed", sweep=name, recording=str(row.id))
        return len(due) == AT_ONCE

    def clock_set(self, by: timedelta) -> None:
        """Our clock was set: what waits to be tried again waits no longer for it."""
        self._postponed.until = {recording: at + by for recording, at in self._postponed.until.items()}

    def _postpone(self, name: str, recording: RecordingId) -> None:
        self._postponed.until[recording] = self._now() + POSTPONE
        self._failed(name)

    def _failed(self, name: str) -> None:
        self.failures[name] = self.failures.get(name, 0) + 1

    async def _settle(self, row: RecordingRow) -> None:
        event = await self._capture.settle(_staging(row))
        if not await self._ledger(row.call, event):
            # Its call owes a write, or is gone: the row says which at the next look.
            log.warning("recording_not_written_yet", recording=str(row.id))
            self._postponed.until[row.id] = self._now() + POSTPONE
            return
        if not isinstance(event, RecordingUnmade):  # what could not be settled is kept for a person to look at
            await self._capture.discard_staged(_staging(row))

    async def _erase(self, row: RecordingRow) -> None:
        if not await self._ledger(row.call, await self._capture.erase(_staging(row))):
            self._postponed.until[row.id] = self._now() + POSTPONE

    async def _analyse(self, row: RecordingRow) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        measures, waveform, findings = await self._capture.analyse(_staging(row))
        took = loop.time() - began
        found = dict.fromkeys((*row.findings, *(str(finding) for finding in findings)))
        await self._catalogue.write_analysis(row.id, self._now(), _numbers(measures), tuple(found), waveform)
        if findings:
            log.warning("recording_findings", recording=str(row.id), findings=[str(finding) for finding in findings])
        await asyncio.sleep(min(RESTS * took, RESTS_AT_MOST))

    # ---- reconcile

    async def remove_settled_leftovers(self) -> bool:
        """Remove staged files whose recording is settled or empty: the daemon died between catalogue and removal.

        And of a failed one where they hold no audio: what Asterisk began after we had given it up.
        """
        try:
            leftovers = await asyncio.to_thread(lambda: tuple(self._spool.leftovers()))
        except StorageError as error:
            self._failed("leftovers")
            log.error("spool_not_listed", why=str(error))
            return False
        ours = {left.recording for left in leftovers if left.recording is not None}
        if not ours:
            return False
        rows = await self._catalogue.recordings_named(ours - self._postponed.now(self._now()))
        done = (RecordingStatus.SETTLED, RecordingStatus.EMPTY, RecordingStatus.ERASED)
        for row in rows.values():
            if row.status in done or (row.status is RecordingStatus.FAILED and await self._is_soundless(row)):
                await self._remove(row)
        return False

    async def _is_soundless(self, row: RecordingRow) -> bool:
        """Whether Asterisk wrote no audio of a capture that failed some time ago."""
        if row.changed_at > self._now() - POSTPONE:
            return False  # its stop may not be confirmed yet
        try:
            return await asyncio.to_thread(self._spool.has_only_headers, row.id)
        except StorageError:  # damaged: a person's to look at
            return False

    async def _remove(self, row: RecordingRow) -> None:
        try:
            await self._capture.discard_staged(_staging(row))
        except StorageError as error:
            self._postpone("leftovers", row.id)
            log.error("sweep_postponed", sweep="leftovers", recording=str(row.id), why=str(error))

    async def begin_books(self) -> None:
        """Note since when books are kept here, and for which queues. After the queue log was first looked at."""
        await begin_books(self._catalogue, self._node, self._queues(), self._now())

    async def read_queue_log(self) -> bool:
        """Give every queue call that passed while nobody looked its outcome."""
        if self._reading is None:
            return False
        began, queues = self._now(), self._queues()
        lines = await self._reading.read()
        told = await asyncio.to_thread(told_by, lines.entries, queues)
        asked = await self._not_taken_in(told.asked)
        self.pending = frozenset(asked)
        # Asked after the reading, and the books after that: whose call has ended since their line was read is in them.
        callers = self._callers()
        booked = await self._catalogue.known_uniqueids(self._node, sorted(told.legs - callers - asked.keys()))
        # What is still under way is remembered: a call in progress may yet need the log's word for how it went on.
        held = [entry.place for entry in asked.values()]
        # A caller whose call is open already may have been asked by the dialplan since: nobody has taken that in.
        held += [lines[0].place for caller, lines in told.asked.items() if caller in callers]
        for passage in told.ways:
            if passage.uniqueid in booked or passage.uniqueid in asked:
                continue
            if passage.uniqueid not in callers and self._is_over(passage):
                await self._write_away(passage)
            else:
                held.append(passage.place)
        # So is a key: an outgoing call has no passage, and its key may still be unheard.
        held += [key.place for key in told.keys if self._has_leg(key.presser) or self._has_leg(key.caller)]
        # And what became of telling a caller of an override.
        held += [noted.place for noted in told.tellings if self._has_leg(noted.caller)]
        # And a talk with a callee, which is no call of a queue.
        held += [entry.place for entry in told.talks if self._has_leg(entry.uniqueid)]
        await self._reading.keep(lines, held, booked, began)
        return False

    async def unseen(self) -> Unseen:
        """What the queue log tells of since the bookmark: proofs of talks, keys and tellings that we did not see."""
        try:
            return await self.read_unseen()
        except OSError as error:  # without its proofs less is kept, and calls are captured all the same
            self._failed("queue_log")
            log.error("queue_log_not_read", why=str(error))
            return Unseen()

    async def read_unseen(self) -> Unseen:
        """As `unseen`; OSError where the log cannot be read."""
        if self._reading is None:
            return Unseen()
        lines = await self._reading.read()
        return await asyncio.to_thread(unseen_by, lines.entries, self._queues())

    async def _not_taken_in(self, asked: Mapping[Uniqueid, tuple[Entry, ...]]) -> dict[Uniqueid, Entry]:
        """The first line of each caller whom the dialplan asked by itself, until the books have the call.

        The daemon takes them in after each time in which it could not see: what these lines prove is kept for it.
        """
        recent = {caller: lines[0] for caller, lines in asked.items() if lines[0].at > self._now() - UNFINISHED_FOR}
        known = await self._catalogue.known_uniqueids(self._node, list(recent)) if recent else frozenset()
        return {caller: line for caller, line in recent.items() if caller not in known}

    def _queues(self) -> frozenset[str]:
        return frozenset(queue for rules in self._lines.values() for queue in rules.queues)

    def _is_over(self, passage: Passage) -> bool:
        return passage.is_over or passage.entered_at < self._now() - UNFINISHED_FOR

    async def _write_away(self, passage: Passage) -> None:
        """A whole call in one step. Its id follows from the caller's uniqueid, so that writing it twice is once."""
        rules = next(rules for rules in self._lines.values() if passage.queue in rules.queues)
        call = CallId(uuid5(NAMESPACE_OID, f"{self._node} {passage.uniqueid}"))
        outcome, reason = outcome_of_passage(passage, rules.mode)
        channel = Channel(name="", uniqueid=passage.uniqueid, linkedid=Linkedid(passage.uniqueid))
        facts: list[Fact] = [
            CallOpened(
                call=call,
                node=self._node,
                line=rules.name,
                direction=Direction.INCOMING,
                mode=rules.mode,
                linkedid=channel.linkedid,
                started_at=passage.entered_at,
            ),
            LegSeen(call=call, channel=channel, kind=PartyKind.CALLER, at=passage.entered_at),
            CallEnded(call=call, ended_at=passage.ended_at or self._now(), outcome=outcome, reason=reason),
        ]
        await self._catalogue.write_step(call, facts, None, "closed", ConsentState.NONE)
        if reason is not None:
            self.lost[reason] = self.lost.get(reason, 0) + 1
            log.error("call_lost", call=str(call), reason=reason)


def outcome_of_passage(passage: Passage, mode: ConsentMode) -> tuple[Outcome, LostReason | None]:
    """How a queue call ended that nobody of ours saw."""
    if mode is ConsentMode.NEVER or passage.is_listed:
        return Outcome.EXCLUDED, None
    if passage.connected_at is None:
        return Outcome.ABANDONED, None
    return Outcome.LOST, LostReason.RECORDER_AWAY


def _numbers(measures: Measures) -> dict[str, float]:
    """The figures as the catalogue keeps them: flat, rounded to what anybody reads."""
    legs = {"caller": measures.caller, "agent": measures.agent}
    figures = {
        f"{name}_{figure}": float(getattr(leg, figure))
        for name, leg in legs.items()
        for figure in ("rms_dbfs", "peak", "clipped_share", "dc_share", "speaking_seconds", "silence_share")
    }
    figures |= {
        "seconds": measures.seconds,
        "dead_air_share": measures.dead_air_share,
        "longest_dead_air_seconds": measures.longest_dead_air_seconds,
    }
    return {name: round(value, 4) for name, value in figures.items()}


def _staging(row: RecordingRow) -> Staging:
    return Staging(
        recording=row.id,
        authorised_at=row.authorised_at,
        bridged_at=row.bridged_at,
        bridged_seconds=row.bridged_seconds,
        keep_seconds=row.keep_seconds,
        armed=row.armed_at is not None,
        stopped_at=row.stopped_at,
        silences=row.silences,
    )
