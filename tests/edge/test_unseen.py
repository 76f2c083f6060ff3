"""Calls that only the CDR tells of get their outcome, once; and since when books are kept, queue by queue."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from recorder.catalogue import Catalogue
from recorder.cdr import Cdr
from recorder.marks import CDR, begin_books, beginnings, taken_in_at
from recorder.model import ConsentMode, ConsentState, Direction, LegSeen, LostReason, Outcome, PartyKind, Uniqueid
from recorder.policy import LineRules
from recorder.unseen import UnseenCalls
from tests import facts
from tests.core.test_cdr import written
from tests.facts import NODE, NOON, later

MADE = int(NOON.timestamp())
LINES = {
    "support": LineRules(name="support", mode=ConsentMode.OPT_IN, queues=("support",)),
    "closed": LineRules(name="closed"),
}


def dialled(number: int, line: str = "support", *, talked: bool = True) -> bytes:
    row = written(
        uniqueid=f"{MADE}.{number}",
        linkedid=f"{MADE}.{number}",
        context="outgoing",
        application="Dial",
        data=f"PJSIP/1,60,gU(recorder-callee^{line})",
    )
    return row if talked else row.replace(b'"65","60"', b'"65","0"')


def left_in_the_prompt(number: int) -> bytes:
    data = "agi://127.0.0.1:4573/inbound,support,1"
    return written(uniqueid=f"{MADE}.{number}", linkedid=f"{MADE}.{number}", application="AGI", data=data)


class Unseen:
    """The sweep, the file it reads, and the channels that calls in progress have."""

    def __init__(self, store: Catalogue, path: Path) -> None:
        self.store = store
        self.path = path
        self.in_progress: set[Uniqueid] = set()
        self.sweep = UnseenCalls(
            node=NODE,
            catalogue=store,
            cdr=Cdr(path),
            lines=LINES,
            knows=lambda uniqueid: uniqueid in self.in_progress,
            now=lambda: later(100),
        )

    def write(self, *rows: bytes) -> None:
        with self.path.open("ab") as file:
            file.write(b"".join(rows))

    async def outcomes(self) -> list[tuple[Direction, Outcome | None, LostReason | None]]:
        return [(row.direction, row.outcome, row.reason) for row in await self.store.list_calls(100, node=NODE)]


@pytest.fixture
async def unseen(store: Catalogue, tmp_path: Path) -> Unseen:
    """The daemon has run before, and seen an empty file."""
    made = Unseen(store, tmp_path / "Master.csv")
    made.path.touch()
    assert await made.sweep.look() is False
    return made


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (dialled(1), (Direction.OUTGOING, Outcome.LOST, LostReason.RECORDER_AWAY)),
        (dialled(1, talked=False), (Direction.OUTGOING, Outcome.ABANDONED, None)),
        (dialled(1, "closed"), (Direction.OUTGOING, Outcome.EXCLUDED, None)),
        (dialled(1, "unheard-of"), (Direction.OUTGOING, Outcome.EXCLUDED, None)),
        (written(reached=""), (Direction.INCOMING, Outcome.ABANDONED, None)),
        (written(), (Direction.INCOMING, Outcome.LOST, LostReason.RECORDER_AWAY)),
        (left_in_the_prompt(1), (Direction.INCOMING, Outcome.ABANDONED, None)),
    ],
)
async def test_a_call_that_nobody_saw_gets_its_outcome(
    unseen: Unseen, row: bytes, expected: tuple[Direction, Outcome, LostReason | None]
) -> None:
    unseen.write(row)
    await unseen.sweep.look()
    assert await unseen.outcomes() == [expected]


@pytest.mark.parametrize("answered_first", [True, False])
async def test_two_rows_of_one_channel_are_one_call_that_was_lost_if_either_was_answered(
    unseen: Unseen, answered_first: bool
) -> None:
    tries = [dialled(1), dialled(1, talked=False), dialled(2, talked=False)]
    unseen.write(*(tries if answered_first else reversed(tries)))
    await unseen.sweep.look()
    assert sorted(str(outcome) for _, outcome, _ in await unseen.outcomes()) == ["abandoned", "lost"]
    assert unseen.sweep.lost == {LostReason.RECORDER_AWAY: 1}


async def test_rows_that_show_no_line_of_ours_are_left_alone(unseen: Unseen) -> None:
    unseen.write(written(context="personal", application="Dial", data="PJSIP/2001,60"), written(data="canteen,t"))
    await unseen.sweep.look()
    assert await unseen.outcomes() == []


async def test_what_was_there_before_us_is_not_ours(store: Catalogue, tmp_path: Path) -> None:
    made = Unseen(store, tmp_path / "Master.csv")
    made.write(dialled(1))
    await made.sweep.look()
    made.write(dialled(2))
    await made.sweep.look()
    assert len(await made.outcomes()) == 1


async def test_a_call_in_progress_is_not_written_away(unseen: Unseen) -> None:
    unseen.in_progress.add(Uniqueid(f"{MADE}.1"))
    unseen.write(dialled(1))
    await unseen.sweep.look()
    assert await unseen.outcomes() == []


async def test_a_call_that_we_know_by_a_leg_or_by_its_linkedid_is_not_told_again(unseen: Unseen) -> None:
    for number in (1, 2):
        call = facts.new_call()
        channel = facts.caller(call)
        leg = LegSeen(
            call=call,
            channel=type(channel)(name="x", uniqueid=Uniqueid(f"{MADE}.{number}0"), linkedid=channel.linkedid),
            kind=PartyKind.AGENT,
            at=NOON,
        )
        await unseen.store.write_step(call, [facts.opened(call), leg], None, "talking", ConsentState.NONE)
        first = (
            dialled(int(f"{number}0"))
            if number == 1
            else dialled(9).replace(f'"","{MADE}.9","3"'.encode(), f'"","{channel.linkedid}","3"'.encode())
        )
        unseen.write(first)
    await unseen.sweep.look()
    assert {outcome for _, outcome, _ in await unseen.outcomes()} == {None}


async def test_killed_before_its_mark_it_writes_the_same_call_once(unseen: Unseen) -> None:
    before = await unseen.store.bookmark(NODE, CDR)
    assert before is not None
    unseen.write(dialled(1))
    await unseen.sweep.look()
    await unseen.store.write_bookmark(NODE, CDR, before)
    await unseen.sweep.look()
    assert len(await unseen.outcomes()) == 1


async def test_the_mark_says_up_to_when_the_file_was_taken_in(unseen: Unseen) -> None:
    assert await taken_in_at(unseen.store, NODE, CDR) == later(100)


async def test_a_file_that_cannot_be_read_is_said_and_stops_nothing(store: Catalogue, tmp_path: Path) -> None:
    made = Unseen(store, tmp_path)  # a folder
    with capture_logs() as said:
        assert await made.sweep.look() is False
    assert [line["event"] for line in said] == ["cdr_not_read"]


# --------------------------------------------------------------------------- since when


async def test_a_queue_is_ours_from_when_a_line_first_names_it(store: Catalogue) -> None:
    await begin_books(store, NODE, {"support"}, NOON)
    await begin_books(store, NODE, {"support", "sales"}, later(60))
    begin, queues = await beginnings(store, NODE, {"support", "sales", "nobody's"}, later(90))
    assert (begin, queues) == (NOON, {"support": NOON, "sales": later(60)})


async def test_a_queue_that_was_dropped_begins_anew(store: Catalogue) -> None:
    for second, queues in enumerate(({"support", "sales"}, {"support"}, {"support", "sales"})):
        await begin_books(store, NODE, queues, later(second))
    assert (await beginnings(store, NODE, {"sales"}, NOON))[1] == {"sales": later(2)}


async def test_books_from_before_they_had_a_beginning_begin_with_their_first_call(store: Catalogue) -> None:
    call = facts.new_call()
    await store.write_step(call, [facts.opened(call)], None, "asking", ConsentState.NONE)
    day = datetime(2026, 4, 1, tzinfo=UTC)
    assert await beginnings(store, NODE, {"support"}, day) == (NOON, {"support": NOON})
    await begin_books(store, NODE, {"support"}, day)
    assert await beginnings(store, NODE, {"support"}, day + timedelta(days=1)) == (NOON, {"support": NOON})
