"""The join of Asterisk's ledgers with ours: a consistent world balances, and each single thing that is not is named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from recorder.books import Code, Mismatch
from recorder.books.join import GIVEN_UP_AFTER, WRITTEN_WITHIN, Scope, Told, join
from recorder.books.names import Names
from recorder.catalogue import BookedCall
from recorder.cdr import CdrRow, Sign, SignKind
from recorder.model import CallId, Direction, Linkedid, Outcome, Uniqueid
from recorder.queue_log import Passage
from tests.facts import NOON, later

patient = hypothesis_settings(deadline=None)  # the machine may be busy
BEGIN = NOON - timedelta(hours=1)
AFTERWARDS = NOON + timedelta(days=1)
SCOPE = Scope(since=BEGIN, begins={"support": BEGIN}, reconciled_at=AFTERWARDS, now=AFTERWARDS)
KINDS = ("recorded", "declined", "abandoned", "hung up in the prompt", "outgoing", "personal", "elsewhere")


@dataclass(frozen=True)
class World:
    """Everything that three ledgers say; what lies on the disks is tests/core/test_books_files.py's."""

    passages: tuple[Passage, ...] = ()
    rows: tuple[CdrRow, ...] = ()
    calls: tuple[BookedCall, ...] = ()
    strange: tuple[Path, ...] = ()

    def __add__(self, other: World) -> World:
        return World(self.passages + other.passages, self.rows + other.rows, self.calls + other.calls)


def uniqueid(at: datetime, number: int) -> Uniqueid:
    return Uniqueid(f"pbx1-{int(at.timestamp())}.{number}")


def row(name: Uniqueid, linkedid: Uniqueid, at: datetime, sign: Sign | None, *, reached: bool = False) -> CdrRow:
    lasted = timedelta(seconds=60)
    return CdrRow(
        uniqueid=name,
        linkedid=Linkedid(linkedid),
        made_at=at,
        lasted=lasted,
        talked=lasted / 2,
        reached=reached,
        sign=sign,
    )


def passage(name: Uniqueid, at: datetime, *, queue: str = "support", connected: bool = True) -> Passage:
    ended = at + timedelta(seconds=60)
    return Passage(
        uniqueid=name,
        queue=queue,
        entered_at=at,
        offset=0,
        connected_at=at + timedelta(seconds=10) if connected else None,
        talked_until=ended if connected else None,
        ended_at=ended,
    )


def call(
    number: int, own: Uniqueid, other: Uniqueid, at: datetime, outcome: Outcome, direction: Direction
) -> BookedCall:
    return BookedCall(
        id=CallId(UUID(int=number)),
        direction=direction,
        started_at=at,
        ended_at=at + timedelta(seconds=60),
        outcome=outcome,
        own=frozenset({own}),
        uniqueids=frozenset({own, other}),
        linkedids=frozenset({Linkedid(own)}),
    )


def lived(number: int, kind: str, at: datetime) -> World:
    """One call of this kind as every ledger tells it."""
    own, other = uniqueid(at, 2 * number), uniqueid(at, 2 * number + 1)
    queue = Sign(kind=SignKind.QUEUE, name="support")
    legs = (row(other, own, at, None),)

    def incoming(outcome: Outcome) -> tuple[BookedCall, ...]:
        return (call(number, own, other, at, outcome, Direction.INCOMING),)

    match kind:
        case "recorded" | "declined":
            return World((passage(own, at),), (row(own, own, at, queue, reached=True), *legs), incoming(Outcome(kind)))
        case "abandoned":
            waited = passage(own, at, connected=False)
            return World((waited,), (row(own, own, at, queue),), incoming(Outcome.ABANDONED))
        case "hung up in the prompt":
            asked = Sign(kind=SignKind.DIALOGUE, name="support")
            return World((), (row(own, own, at, asked),), incoming(Outcome.ABANDONED))
        case "outgoing":
            signs = Sign(kind=SignKind.DIALLED, name="support"), Sign(kind=SignKind.ASKED)
            rows = row(own, own, at, signs[0]), row(uniqueid(at, 10**6 + number), own, at, signs[1]), *legs
            booked = call(number, own, other, at, Outcome.RECORDED, Direction.OUTGOING)
            return World((), rows, (booked,))
        case "personal":
            return World((), (row(own, own, at, None), *legs), ())
        case _:
            there = Sign(kind=SignKind.QUEUE, name="canteen")
            return World((passage(own, at, queue="canteen"),), (row(own, own, at, there), *legs), ())


def between(kinds: list[str]) -> World:
    """These calls, and one long before and one long after them, so that the ledgers reach over all of them."""
    hour = timedelta(hours=1)
    times = [BEGIN - hour, *(later(number) for number in range(len(kinds))), NOON + hour]
    # The two ends are of a queue that is nobody's: they say how far the ledgers reach and nothing else.
    worlds = [
        lived(number, kind, at)
        for number, (kind, at) in enumerate(zip(["elsewhere", *kinds, "elsewhere"], times, strict=True), start=1)
    ]
    return sum(worlds[1:], worlds[0])


def joined(world: World, scope: Scope = SCOPE) -> tuple[list[Mismatch], Told]:
    strange = {path.stem.rpartition("-")[2]: path for path in world.strange}
    return join(scope, world.passages, world.rows, world.calls, strange)


def codes(world: World, scope: Scope = SCOPE) -> list[Code]:
    return [item.code for item in joined(world, scope)[0]]


kinds_of_calls = st.lists(st.sampled_from(KINDS), max_size=12)


@patient
@given(kinds_of_calls)
def test_a_consistent_world_balances_and_its_personal_calls_are_counted(kinds: list[str]) -> None:
    found, told = joined(between(kinds))
    assert found == []
    assert told.personal is not None
    assert len(told.personal) == kinds.count("personal")
    assert told.unlisted["canteen"] == 1 + kinds.count("elsewhere")  # the first of the two ends was before the books


@patient
@given(kinds_of_calls, st.randoms())
def test_the_order_within_a_ledger_changes_nothing(kinds: list[str], chance: Random) -> None:
    world = between(kinds)
    passages, rows, calls = list(world.passages), list(world.rows), list(world.calls)
    chance.shuffle(passages)
    chance.shuffle(rows)
    chance.shuffle(calls)
    assert codes(World(tuple(passages), tuple(rows), tuple(calls))) == []


# --------------------------------------------------------------------------- what is not so


def first(kind: str) -> World:
    """One call of the kind among others, the second of the world."""
    return between(["recorded", kind, "personal", "abandoned"])


def changed(world: World, **changes: Any) -> World:
    """The second call of ours with these fields."""
    calls = list(world.calls)
    calls[1] = replace(calls[1], **changes)
    return replace(world, calls=tuple(calls))


def without_call(world: World) -> World:
    return replace(world, calls=world.calls[:1] + world.calls[2:])


def own(world: World) -> Uniqueid:
    (name,) = world.calls[1].own
    return name


def without_passage(world: World) -> World:
    return replace(world, passages=tuple(each for each in world.passages if each.uniqueid != own(world)))


def without_rows(world: World) -> World:
    gone = {str(name) for name in world.calls[1].linkedids}
    return replace(world, rows=tuple(each for each in world.rows if each.linkedid not in gone))


def unconnected(world: World) -> World:
    passages = (
        replace(each, connected_at=None, talked_until=None) if each.uniqueid == own(world) else each
        for each in world.passages
    )
    return replace(world, passages=tuple(passages))


def doubled(world: World) -> World:
    return replace(world, calls=(*world.calls, replace(world.calls[1], id=CallId(UUID(int=99)))))


def personal_caller(world: World) -> Uniqueid:
    return next(each.uniqueid for each in world.rows if each.sign is None and str(each.uniqueid) == each.linkedid)


MUTATIONS: list[tuple[str, str, Callable[[World], World], list[Code]]] = [
    ("our call is gone", "recorded", without_call, [Code.CALL_UNKNOWN]),
    ("our call is gone", "declined", without_call, [Code.CALL_UNKNOWN]),
    ("our call is gone", "abandoned", without_call, [Code.CALL_UNKNOWN]),
    ("our call is gone", "hung up in the prompt", without_call, [Code.CALL_UNKNOWN]),
    ("our call is gone", "outgoing", without_call, [Code.CALL_UNKNOWN]),
    ("it is there twice", "recorded", doubled, [Code.CALL_DOUBLED]),
    ("it is there twice", "outgoing", doubled, [Code.CALL_DOUBLED]),
    ("the queue log's lines are gone", "recorded", without_passage, [Code.LEDGERS_DISAGREE]),
    ("the CDR's rows are gone", "recorded", without_rows, [Code.LEDGERS_DISAGREE]),
    ("the CDR's rows are gone", "outgoing", without_rows, [Code.CALL_UNKNOWN_TO_ASTERISK]),
    ("the CDR's rows are gone", "hung up in the prompt", without_rows, [Code.CALL_UNKNOWN_TO_ASTERISK]),
    (
        "both are gone",
        "recorded",
        lambda it: without_rows(without_passage(it)),
        [Code.CALL_UNKNOWN_TO_ASTERISK],
    ),
    ("nobody connected", "recorded", unconnected, [Code.OUTCOME_AGAINST_ASTERISK]),
    (
        "it is said to be abandoned",
        "recorded",
        lambda it: changed(it, outcome=Outcome.ABANDONED),
        [Code.OUTCOME_AGAINST_ASTERISK],
    ),
]


@pytest.mark.parametrize(("what", "kind", "change", "expected"), MUTATIONS)
def test_what_does_not_fit_is_named(
    what: str, kind: str, change: Callable[[World], World], expected: list[Code]
) -> None:
    assert codes(change(first(kind))) == expected, what


@patient
@given(st.lists(st.sampled_from(("recorded", "declined", "abandoned", "outgoing")), min_size=1, max_size=8), st.data())
def test_any_call_that_is_dropped_from_our_books_is_named_once_by_its_id(kinds: list[str], data: st.DataObject) -> None:
    world = between(kinds)
    gone = data.draw(st.sampled_from(world.calls))
    found, _ = joined(replace(world, calls=tuple(each for each in world.calls if each is not gone)))
    (item,) = found
    assert item.code is Code.CALL_UNKNOWN
    assert any(name in item.what for name in gone.own)


@patient
@given(st.lists(st.sampled_from(("recorded", "declined")), min_size=1, max_size=8), st.data())
def test_any_row_that_is_dropped_from_either_ledger_of_asterisks_is_missed(
    kinds: list[str], data: st.DataObject
) -> None:
    world = between(kinds)
    gone = data.draw(st.sampled_from(sorted(name for each in world.calls for name in each.own)))
    from_queue_log = data.draw(st.booleans())
    passages = tuple(each for each in world.passages if each.uniqueid != gone or not from_queue_log)
    rows = tuple(each for each in world.rows if each.linkedid != str(gone) or from_queue_log)
    assert codes(replace(world, passages=passages, rows=rows)) == [Code.LEDGERS_DISAGREE]


def test_a_file_that_bears_a_personal_calls_id_is_the_worst_there_is() -> None:
    world = first("recorded")
    path = Path("/spool", f"in-{personal_caller(world)}.wav")
    (item,), _ = joined(replace(world, strange=(path,)))
    assert (item.code, item.path) == (Code.PERSONAL_AUDIO, path)
    assert next(iter(Code)) is Code.PERSONAL_AUDIO


def test_a_file_that_bears_the_id_of_a_call_of_ours_is_no_personal_one() -> None:
    world = first("recorded")
    assert codes(replace(world, strange=(Path("/spool", f"{own(world)}.wav"),))) == []


def left_open(world: World) -> World:
    return changed(world, outcome=None, ended_at=None)


def code_later(world: World, hours: float) -> list[Code]:
    return codes(left_open(world), replace(SCOPE, now=NOON + timedelta(hours=hours)))


def test_an_ended_call_that_our_books_keep_open_does_not_fit() -> None:
    for kind in ("recorded", "abandoned", "hung up in the prompt"):
        assert codes(left_open(first(kind))) == [Code.CALL_LEFT_OPEN]
    assert codes(left_open(without_rows(first("recorded")))) == []  # its caller may be in a menu behind the queue
    passages = tuple(replace(each, caller_gone=True) for each in first("recorded").passages)
    assert codes(left_open(without_rows(replace(first("recorded"), passages=passages)))) == [Code.CALL_LEFT_OPEN]


def test_whom_an_agent_called_may_talk_on_without_the_agent() -> None:
    assert code_later(first("outgoing"), hours=1) == []
    assert code_later(first("outgoing"), hours=13) == [Code.CALL_LEFT_OPEN]


def test_a_recording_of_a_call_that_passed_no_line_is_personal_audio() -> None:
    world = first("recorded")
    personal = personal_caller(world)
    ours = replace(world.calls[0], id=CallId(UUID(int=77)), linkedids=frozenset({Linkedid(personal)}))
    forged = replace(ours, started_at=later(2), own=frozenset({personal}), uniqueids=frozenset({personal}))
    _, told = joined(world)
    assert [item.code for item in told.booked(forged, has_audio=True)] == [Code.PERSONAL_AUDIO]
    assert list(told.booked(world.calls[0], has_audio=True)) == []


# --------------------------------------------------------------------------- what is no mismatch


def test_a_call_that_just_ended_is_given_the_time_to_be_written() -> None:
    world = without_call(first("recorded"))
    ended = later(1 + 60)
    just_now = replace(SCOPE, reconciled_at=BEGIN, now=ended + WRITTEN_WITHIN)
    assert codes(world, just_now) == []
    assert codes(world, replace(just_now, now=ended + WRITTEN_WITHIN + timedelta(seconds=1))) == [Code.CALL_UNKNOWN]


def in_the_queue(world: World) -> World:
    """As the queue log told of the call while it waited: how it went on stands in our books alone."""
    waits = (
        replace(each, ended_at=None) if each.uniqueid == own(world) else each for each in unconnected(world).passages
    )
    return replace(world, passages=tuple(waits))


def test_a_caller_who_waited_when_the_queue_log_was_read_may_have_talked_since() -> None:
    world = in_the_queue(first("recorded"))
    at = world.calls[0].started_at
    soon = replace(SCOPE, now=at + timedelta(minutes=2))
    assert codes(world, soon) == []
    earlier = passage(own(world), at - timedelta(minutes=1), queue="sales", connected=False)
    assert codes(replace(world, passages=(earlier, *world.passages)), soon) == []  # and came from another queue
    late = replace(SCOPE, now=at + GIVEN_UP_AFTER + timedelta(minutes=1))
    assert codes(world, late) == [Code.OUTCOME_AGAINST_ASTERISK]


def test_what_the_daemon_has_taken_in_already_needs_no_more_time() -> None:
    ended = later(1 + 60)
    reconciled = replace(SCOPE, reconciled_at=ended + timedelta(seconds=6), now=ended + timedelta(seconds=10))
    assert codes(without_call(first("recorded")), reconciled) == [Code.CALL_UNKNOWN]


def test_a_passage_that_is_not_over_is_open_and_not_wrong() -> None:
    world = without_call(without_rows(first("recorded")))
    still = tuple(replace(each, ended_at=None) for each in world.passages)
    assert codes(replace(world, passages=still), replace(SCOPE, reconciled_at=NOON, now=later(600))) == []


@pytest.mark.parametrize("kind", ["recorded", "abandoned"])
def test_calls_from_before_a_queue_was_ours_are_not_ours_to_account_for(kind: str) -> None:
    assert codes(without_call(first(kind)), replace(SCOPE, begins={"support": later(30)})) == []


@pytest.mark.parametrize("kind", ["recorded", "outgoing", "hung up in the prompt"])
def test_calls_from_before_the_books_began_are_not_ours_to_account_for(kind: str) -> None:
    assert codes(without_call(first(kind)), replace(SCOPE, since=later(30))) == []


@pytest.mark.parametrize("kind", ["recorded", "outgoing", "hung up in the prompt"])
def test_what_asterisk_had_not_written_when_it_was_killed_is_no_mismatch(kind: str) -> None:
    world = without_rows(first(kind))
    told = joined(world)[1]
    told.restarts.append(later(40))
    assert [item for call in world.calls for item in told.booked(call)] == []


def test_what_the_ledgers_do_not_reach_is_not_judged_by_them() -> None:
    world = first("outgoing")
    only = replace(world, rows=world.rows[:1], passages=world.passages[:1])
    assert Code.CALL_UNKNOWN_TO_ASTERISK not in codes(only)


def test_who_was_not_let_into_a_queue_is_missed_in_no_queue_log() -> None:
    assert codes(without_passage(first("abandoned"))) == []


def test_a_leg_of_a_call_of_ours_in_progress_is_no_personal_call() -> None:
    world = changed(first("recorded"), outcome=None, ended_at=None)
    (caller,) = world.calls[1].own
    rang = [each for each in world.rows if each.linkedid == str(caller) and each.uniqueid != caller]
    without_its_own = tuple(each for each in world.rows if each.linkedid != str(caller))
    found, told = joined(replace(without_passage(world), rows=(*without_its_own, *rang)))
    assert found == []
    assert told.personal is not None
    assert len(told.personal) == 1  # the one that is


def test_one_channel_may_dial_twice_one_after_the_other() -> None:
    world = first("outgoing")
    again = replace(world.calls[1], id=CallId(UUID(int=99)), started_at=later(61), ended_at=later(90))
    assert codes(replace(world, calls=(*world.calls, again))) == []


def test_without_the_column_linkedid_personal_calls_are_not_counted() -> None:
    world = first("recorded")
    rows = tuple(replace(each, linkedid=None) for each in world.rows)
    found, told = joined(replace(world, rows=rows))
    assert (found, told.personal) == ([], None)


# --------------------------------------------------------------------------- names


@patient
@given(st.sets(st.text(max_size=20)), st.sets(st.text(max_size=20)))
def test_names_are_a_set(some: set[str], others: set[str]) -> None:
    names = Names(some)
    assert len(names) == len(some)
    assert all(name in names for name in some)
    assert not names.any_of(others - some)
    assert len(names - Names(others)) == len(some - others)
    names.update(others)
    assert len(names) == len(some | others)
