"""At the start: what an earlier daemon left. Open calls are replayed, and what the local journal kept is paid first.

Must not look at the PBX: resync.py does, afterwards. The invariants: a step that the catalogue has is not written
again; the journal's file is not written over before all of it is taken up; where part of it cannot be read, what was
captured behind its last whole word is not kept, and no capture of that time goes on.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

import structlog

from recorder.call import (
    CallAdmitted,
    CallEvent,
    CallState,
    ConsentAnswered,
    DialogueBroke,
    KeyPressed,
    SightLost,
    SilenceFailed,
    advance,
    begin,
    capture_in_hand,
    event_from_fields,
    prepared,
    replay,
)
from recorder.catalogue import Catalogue, JournalRow, WholeCall
from recorder.daemon.calls import CallBook
from recorder.daemon.keeping import SEEN, Kept, kept, record_of_sight
from recorder.daemon.owed import OwedStep
from recorder.daemon.resync import legs_of
from recorder.daemon.runner import CallRunner
from recorder.local_journal import Journal
from recorder.model import CallId, KeyAct, Linkedid, RecordingId

log = structlog.get_logger(__name__)

PAID_WITHIN: Final = timedelta(seconds=10)
OUT_OF_TURN: Final = timedelta(seconds=5)
"""By so much may a step's own time lie before the time of an earlier record: it waited for its turn in its call."""
ENDING: Final = frozenset({KeyAct.STOP, KeyAct.PERSONAL})


@dataclass(frozen=True, slots=True)
class _TakenUp:
    """A call, the time of the last that is known of it, and whether nothing is missing before what the journal has."""

    runner: CallRunner
    known_at: datetime
    whole: bool


async def take_up(
    book: CallBook, catalogue: Catalogue, local: Journal, node: str, now: Callable[[], datetime]
) -> datetime | None:
    """Take up every call that the catalogue holds open or is owed. Until when the journal shows that all was seen."""
    left = kept(await local.begin())
    calls = await _taken_up(book, catalogue, left, node)
    for call in calls:
        call.runner.known_at = call.known_at
        if left.damaged:
            await _doubt(call.runner, max(call.known_at, (left.known_at or call.known_at) - OUT_OF_TURN), now())
            _end(call.runner, left.later.get(call.runner.state.call, ()))
        elif not call.whole:
            await _doubt(call.runner, call.known_at, now())
    await _until_paid(book)
    if left.seen_at is not None:
        local.put(SEEN, record_of_sight(left.seen_at))
    await local.adopt()
    if calls:
        log.info("calls_taken_up", calls=len(calls))
    return left.seen_at


async def _taken_up(book: CallBook, catalogue: Catalogue, left: Kept, node: str) -> list[_TakenUp]:
    whole_calls = {whole.call.id: whole for whole in await catalogue.open_calls(node)}
    found = [_restored(book, whole, left.steps.get(call, ())) for call, whole in whole_calls.items()]
    for call, rows in left.steps.items():
        if call not in whole_calls and await catalogue.one_call(call) is None:
            found.append(_begun(book, call, rows))
    return [call for call in found if call is not None]


def _restored(book: CallBook, whole: WholeCall, rows: Sequence[JournalRow]) -> _TakenUp | None:
    """A call that the catalogue holds open, with the steps that it has not of it."""
    state = replayed(whole.journal)
    if state is None:
        log.error("journal_not_replayed", call=str(whole.call.id))
        return None
    last = whole.journal[-1]
    steps, is_whole = owed_steps(state, rows, last.seq)
    state = steps[-1][0].state if steps else state
    legs = {leg.uniqueid for leg in whole.legs} | legs_of(state)
    runner = book.restore(state, last.seq, whole.call.linkedid, legs, steps)
    runner.noted.update(_noted((*whole.journal, *(row for _, row in steps))))
    return _TakenUp(runner, steps[-1][1].at if steps else last.at, is_whole)


def _begun(book: CallBook, call: CallId, rows: Sequence[JournalRow]) -> _TakenUp | None:
    """A call of which the catalogue has nothing yet."""
    steps, is_whole = owed_steps(None, rows, 0)
    if not steps:
        log.error("journal_not_replayed", call=str(call))
        return None
    state = steps[-1][0].state
    assert state.caller is not None or state.agents
    linkedid = Linkedid(json.loads(rows[0].fields["linkedid"]))
    runner = book.restore(state, 0, linkedid, legs_of(state), steps)
    runner.noted.update(_noted(row for _, row in steps))
    return _TakenUp(runner, steps[-1][1].at, is_whole)


def owed_steps(state: CallState | None, rows: Sequence[JournalRow], seq: int) -> tuple[list[OwedStep], bool]:
    """The steps behind `seq`, taken again from the state after it; False where one is missing, and ends them."""
    steps: list[OwedStep] = []
    for row in rows:
        if row.seq <= seq + len(steps):
            continue  # the catalogue has it, or has refused it and has one behind it
        event = _event(row)
        if event is None or row.seq != seq + len(steps) + 1:
            return steps, False
        if state is not None:
            step = advance(state, event)
        elif isinstance(event, CallAdmitted):
            step = begin(event)
        else:
            return steps, False
        state = step.state
        steps.append((step, row))
    return steps, True


def replayed(journal: Sequence[JournalRow]) -> CallState | None:
    """The state that a journal leads to; None where it is empty or holds an event that this version does not know."""
    state: CallState | None = None
    try:
        for step in replay(event_from_fields(row.name, row.fields) for row in journal):
            state = step.state
    except (KeyError, ValueError, TypeError):
        return None
    return state


def _noted(journal: Iterable[JournalRow]) -> Iterator[RecordingId]:
    """The dialogues of the dialplan's own that a call's journal has taken in."""
    for row in journal:
        event = _event(row)
        if isinstance(event, ConsentAnswered | DialogueBroke) and event.noted is not None:
            yield event.noted


def _event(row: JournalRow) -> CallEvent | None:
    try:
        return event_from_fields(row.name, row.fields)
    except (KeyError, ValueError, TypeError):
        return None


async def _doubt(runner: CallRunner, known_at: datetime, now: datetime) -> None:
    """What this call did behind `known_at` cannot be known: a capture of it ends, and is kept only until then."""
    hand = capture_in_hand(runner.state)
    if hand is None and prepared(runner.state) is None:
        return
    log.error("call_in_doubt", call=str(runner.state.call), recording=str(hand.id) if hand else None)
    await runner.apply(SightLost(at=now, blind_from=min(known_at, now)))
    if hand is not None:
        await runner.apply(SilenceFailed(at=now, recording=hand.id))


def _end(runner: CallRunner, rows: Iterable[JournalRow]) -> None:
    """Keys behind the damage that end a recording are obeyed: what they take away, no doubt may give back."""
    for row in rows:
        event = _event(row)
        if isinstance(event, KeyPressed) and event.act in ENDING:
            runner.press(replace(event, heard=False))


async def _until_paid(book: CallBook) -> None:
    """What settles and what compares comes after; a catalogue that is away again is not waited for."""
    deadline = asyncio.get_running_loop().time() + PAID_WITHIN.total_seconds()
    while asyncio.get_running_loop().time() < deadline:
        if not any(runner.owes and not runner.behind for runner in book):
            return
        await asyncio.sleep(0.01)
