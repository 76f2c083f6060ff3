"""The one-step job that gives calls which the CDR alone tells of their outcome: dialled, or left in the prompt, unseen.

The queue's own calls are told by the queue log (sweeps.py), which is read before: what is left of them here never got
into the queue, or has no queue log. Must not decide what a row shows (cdr.py) and must not hold
a to-do list. The invariant: a call is written whole, once, and only when nobody of ours knows its channel.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final
from uuid import NAMESPACE_OID, uuid5

import structlog

from recorder.catalogue import Catalogue
from recorder.cdr import Cdr, CdrRow, SignKind
from recorder.marks import CDR, ReadingMark
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
    Uniqueid,
)
from recorder.policy import LineRules

log = structlog.get_logger(__name__)

DIRECTIONS: Final = {
    SignKind.QUEUE: Direction.INCOMING,
    SignKind.DIALOGUE: Direction.INCOMING,
    SignKind.DIALLED: Direction.OUTGOING,
}
"""Which way a call went whose own row shows a line so."""


class UnseenCalls:
    """The step. `knows` says whether a call in progress has the channel."""

    def __init__(
        self,
        *,
        node: str,
        catalogue: Catalogue,
        cdr: Cdr | None,
        lines: Mapping[str, LineRules],
        knows: Callable[[Uniqueid], bool],
        now: Callable[[], datetime],
    ) -> None:
        self._node = node
        self._catalogue = catalogue
        self._cdr = cdr
        self._lines = lines
        self._knows = knows
        self._now = now
        self._mark = ReadingMark(catalogue, node, CDR)
        self.lost: dict[LostReason, int] = {}

    async def look(self) -> bool:
        """Take in what the CDR has new; one that cannot be read is said so, and stops nothing else."""
        if self._cdr is None:
            return False
        try:
            return await self._take_in(self._cdr)
        except OSError as error:
            log.error("cdr_not_read", why=str(error))
            return False

    async def _take_in(self, cdr: Cdr) -> bool:
        place, began = await self._mark.place(cdr.end()), self._now()
        rows, end = await asyncio.to_thread(cdr.read, place)
        ours: dict[Uniqueid, list[CdrRow]] = {}
        for row in await self._unknown([row for row in rows if self._line(row) is not None]):
            ours.setdefault(row.uniqueid, []).append(row)
        for told in ours.values():
            await self._write_away(told)
        at_end = end == cdr.end()
        await self._mark.keep(end, began if at_end else None)
        return not at_end and end != place

    async def _unknown(self, rows: list[CdrRow]) -> list[CdrRow]:
        known = await self._catalogue.calls_of_uniqueids(self._node, [row.uniqueid for row in rows])
        left = [row for row in rows if row.uniqueid not in known and not self._knows(row.uniqueid)]
        linked = await self._catalogue.calls_of_linkedids(self._node, [row.linkedid for row in left if row.linkedid])
        return [row for row in left if row.linkedid not in linked]

    def _line(self, row: CdrRow) -> LineRules | None:
        """The line that the row shows, where it begins a call: one of our queues', or as our dialplan names it."""
        if row.sign is None or row.sign.kind not in DIRECTIONS:
            return None
        if row.sign.kind is SignKind.QUEUE:
            return next((rules for rules in self._lines.values() if row.sign.name in rules.queues), None)
        return self._lines.get(row.sign.name, LineRules(name=row.sign.name))

    async def _write_away(self, rows: list[CdrRow]) -> None:
        """A whole call in one step, by the row of its channel that shows a talk, where one does.

        Its id follows from the channel's uniqueid, so that writing it twice is once.
        """
        row = max(rows, key=shows_talk)
        rules = self._line(row)
        assert rules is not None
        assert row.sign is not None
        direction = DIRECTIONS[row.sign.kind]
        call = CallId(uuid5(NAMESPACE_OID, f"{self._node} {row.uniqueid}"))
        outcome, reason = outcome_of_row(row, rules.mode)
        ended_at = max(each.ended_at for each in rows)
        linkedid = row.linkedid or Linkedid(row.uniqueid)
        channel = Channel(name="", uniqueid=row.uniqueid, linkedid=linkedid)
        kind = PartyKind.CALLER if direction is Direction.INCOMING else PartyKind.AGENT
        facts: list[Fact] = [
            CallOpened(
                call=call,
                node=self._node,
                line=rules.name,
                direction=direction,
                mode=rules.mode,
                linkedid=linkedid,
                started_at=row.made_at,
            ),
            LegSeen(call=call, channel=channel, kind=kind, at=row.made_at),
            CallEnded(call=call, ended_at=ended_at, outcome=outcome, reason=reason),
        ]
        await self._catalogue.write_step(call, facts, None, "closed", ConsentState.NONE)
        if reason is not None:
            self.lost[reason] = self.lost.get(reason, 0) + 1
            log.error("call_lost", call=str(call), reason=reason)


def outcome_of_row(row: CdrRow, mode: ConsentMode) -> tuple[Outcome, LostReason | None]:
    """How a call ended that nobody of ours saw and that waited in no queue."""
    if mode is ConsentMode.NEVER:
        return Outcome.EXCLUDED, None
    return (Outcome.LOST, LostReason.RECORDER_AWAY) if shows_talk(row) else (Outcome.ABANDONED, None)


def shows_talk(row: CdrRow) -> bool:
    """Whether caller and agent may have talked: a dialled party answered, or somebody of the queue was rung.

    In a queue the caller's own answered time says nothing of an agent; that one was rung is all that the row has.
    """
    kind = row.sign.kind if row.sign else None
    return (kind is SignKind.DIALLED and bool(row.talked)) or (kind is SignKind.QUEUE and row.reached)
