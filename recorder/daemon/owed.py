"""What one call owes the catalogue: its steps, in their order, until they are written there.

The only place that writes a call's steps, into the local journal at once and into the catalogue as soon as it takes
them. Must not carry out what a step asks for: runner.py does. The invariants: no step is written before an earlier one
of its call; a step that is refused takes no other down with it; nothing is forgotten before the catalogue has it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice
from typing import Final

import structlog

from recorder.call import CallEvent, Erase, Phase, Settle, Step, fields_from_event
from recorder.catalogue import Catalogue, CatalogueAway, CatalogueRefused, JournalRow
from recorder.daemon.keeping import record_of_step
from recorder.local_journal import Journal

log = structlog.get_logger(__name__)

TRY_AGAIN_AFTER: Final = timedelta(seconds=1)
WRITE_WITHIN: Final = timedelta(seconds=1)
LINGER: Final = timedelta(milliseconds=100)
"""How long a step that asks for nothing may wait to be written in one transaction with those that follow it."""
TOGETHER: Final = 20
"""Steps in one transaction: what was owed for long must still be written within its time limit."""
NOTED_WITHIN: Final = timedelta(milliseconds=50)
"""The local journal takes some tenths of a millisecond; a disk that hangs must not delay a pause."""

OwedStep = tuple[Step, JournalRow]


@dataclass(slots=True)
class CallCounters:
    """Counted over all calls since the start."""

    opened: int = 0
    unexpected: int = 0  # events that did not fit the state of their call
    overflowed: int = 0  # events that found their call's queue full
    refused: int = 0  # writes that a rule of the catalogue forbade
    postponed: int = 0  # writes that had to wait for the catalogue
    captures_started: int = 0
    closed: dict[str, int] = field(default_factory=dict)  # by outcome
    lost: dict[str, int] = field(default_factory=dict)  # by reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledgers:
    """Where a call's steps are written, and who is told how that goes."""

    catalogue: Catalogue
    local: Journal
    counters: CallCounters
    catalogue_failed: Callable[[CatalogueAway], None]
    settle_now: Callable[[], None]


class Owed:
    """`seq` is the last step that is in the catalogue; `steps` come from the local journal of an earlier daemon."""

    def __init__(self, ledgers: Ledgers, *, seq: int = 0, steps: Sequence[OwedStep] = ()) -> None:
        self._ledgers = ledgers
        self._seq = steps[-1][1].seq if steps else seq
        self._steps: deque[OwedStep] = deque()
        self._paying = asyncio.Lock()
        self.behind = False  # the catalogue would not take what is owed
        self._has_newest = False  # the catalogue took the step that was tried last
        self._refused: set[int] = set()
        self.pay_at = 0.0  # by the loop's clock, while something is owed
        for step, row in steps:
            self._put(step, row)

    def __bool__(self) -> bool:
        return bool(self._steps)

    def add(self, step: Step, event: CallEvent, old: Phase) -> int:
        """Put the step down as to be written, soon and in its order; its number."""
        self._seq += 1
        name, flat = fields_from_event(event)
        row = JournalRow(seq=self._seq, at=event.at, name=name, old_phase=old, new_phase=step.state.phase, fields=flat)
        if not self._steps:
            self.pay_at = asyncio.get_running_loop().time() + LINGER.total_seconds()
        self._put(step, row)
        return self._seq

    def has_written(self, seq: int) -> bool:
        """Whether the catalogue has this step: it is owed no more, and was not refused."""
        return seq not in self._refused and (not self._steps or seq < self._steps[0][1].seq)

    def _put(self, step: Step, row: JournalRow) -> None:
        self._steps.append((step, row))
        call = step.state.call
        self._ledgers.local.put((call, row.seq), record_of_step(call, row), lasting=self.behind)

    async def noted(self) -> None:
        """Wait until what is owed would survive us, where the local disk is not too slow for it."""
        await self._ledgers.local.written(NOTED_WITHIN)

    async def pay(self) -> bool:
        """Write what is owed, oldest first; True where the catalogue has the newest step."""
        async with self._paying:
            return await self._pay()

    async def _pay(self) -> bool:
        if self.behind and asyncio.get_running_loop().time() < self.pay_at:
            return False  # a catalogue that is away is not asked for each event anew
        together = TOGETHER
        while self._steps:
            steps = tuple(islice(self._steps, together))
            try:
                await self._write(steps)
            except CatalogueAway as error:
                self._postpone(error)
                return False
            except CatalogueRefused as error:
                self._has_newest, together = (
                    False,
                    1,
                )  # one by one, so that no other step goes down with the one that is refused
                if len(steps) > 1:
                    continue
                self._give_up(steps[0], error)
            else:
                self._has_newest = True
                self._ring(steps)
            self._forget(steps)
        self.behind = False
        return self._has_newest

    async def _write(self, steps: Sequence[OwedStep]) -> None:
        after = steps[-1][0].state
        told = [(step.facts, row) for step, row in steps]
        await self._ledgers.catalogue.write_steps(after.call, told, after.phase, after.consent, WRITE_WITHIN)

    def _postpone(self, error: CatalogueAway) -> None:
        self._ledgers.counters.postponed += 1
        self._ledgers.catalogue_failed(error)
        self._ledgers.local.make_last()
        self.behind = True
        self.pay_at = asyncio.get_running_loop().time() + TRY_AGAIN_AFTER.total_seconds()

    def _give_up(self, refused: OwedStep, error: CatalogueRefused) -> None:
        """A rule forbids it: writing it again can only be forbidden again. It is counted and shown by verify."""
        step, row = refused
        self._refused.add(row.seq)
        self._ledgers.counters.refused += 1
        log.error("step_refused", call=str(step.state.call), event_name=row.name, why=str(error))

    def _forget(self, steps: Iterable[OwedStep]) -> None:
        self._ledgers.local.forget([(step.state.call, row.seq) for step, row in steps])
        for _ in steps:
            self._steps.popleft()

    def _ring(self, steps: Sequence[OwedStep]) -> None:
        """Settling and erasing need the catalogue's word and no haste: the sweep finds its work there."""
        if any(isinstance(command, Settle | Erase) for step, _ in steps for command in step.commands):
            self._ledgers.settle_now()
