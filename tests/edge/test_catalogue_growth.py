"""What the daemon reads by itself costs no more in a catalogue that is sixteen times as long.

Counted in steps of SQLite's own machine, the same on every computer. Of the two engines SQLite is the one that
knows nothing of how values are spread, and so chooses wrongly where a query leaves it a choice.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, bindparam, insert, select

from recorder.catalogue import counting, finding, reading, releases, tables
from recorder.catalogue.engine import connect_engine, url_of
from recorder.model import (
    CallId,
    ConsentMode,
    ConsentState,
    Direction,
    Linkedid,
    LostReason,
    Outcome,
    OverrideReason,
    PartyKind,
    RecordingId,
    RecordingStatus,
    Uniqueid,
)

FEW, MANY = 200, 3200
NODE, OTHER = "pbx1", "pbx2"
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
AT_THE_END = 20  # calls that a sweep asks for
GROWS_MOST = 1.5
"""Times the steps. What is found by a key in a tree sixteen times as large takes one level more."""


def uuid(number: int, of: int) -> UUID:
    return UUID(int=(of << 64) + number)


def call_id(number: int) -> CallId:
    return CallId(uuid(number, 1))


def made(folder: Path, template: Path, many: int, nodes: tuple[str, ...]) -> Connection:
    file = folder / f"{many}-{len(nodes)}.db"
    shutil.copy(template, file)
    connection = connect_engine(url_of(f"sqlite:///{file}"), writes=True).connect()
    rows: dict[Any, list[dict[str, object]]] = {
        table: [] for table in (tables.calls, tables.legs, tables.consent_events, tables.recordings, tables.chain)
    }
    for number in range(many):
        for table, row in of_one_call(number, nodes[number % len(nodes)]):
            rows[table].append(row)
    for table, those in rows.items():
        connection.execute(insert(table), those)
    connection.commit()
    return connection


def of_one_call(number: int, node: str) -> Iterator[tuple[Any, dict[str, object]]]:
    """A call that agreed and whose recording is settled and analysed, as nearly every one is."""
    call, at = call_id(number), NOON + timedelta(minutes=number)
    consent, linkedid = uuid(number, 2), f"{number}.1"
    yield (
        tables.calls,
        {
            "id": call,
            "node": node,
            "line": "support",
            "direction": Direction.INCOMING,
            "mode": ConsentMode.OPT_IN,
            "linkedid": linkedid,
            "phase": "closed",
            "consent": ConsentState.GIVEN,
            "started_at": at,
            "ended_at": at,
            "outcome": Outcome.RECORDED,
        },
    )
    for leg, kind in enumerate((PartyKind.CALLER, PartyKind.AGENT, PartyKind.AGENT)):
        named = {"call": call, "uniqueid": f"{number}.{leg}", "linkedid": linkedid, "channel": "PJSIP/x"}
        yield tables.legs, named | {"kind": kind, "seen_at": at}
    said = {"id": consent, "call": call, "at": at, "before": ConsentState.NONE, "after": ConsentState.GIVEN}
    yield tables.consent_events, said | {"channel": "ivr", "policy": "1"}
    for link, of_consent in enumerate((consent, None)):  # the second is the call's end
        named = {"node": node, "seq": 2 * number + link + 1, "at": at, "call": call, "consent": of_consent}
        yield tables.chain, named | {"salt": "0", "body": "{}", "commitment": "0" * 64, "digest": "0" * 64}
    yield (
        tables.recordings,
        {
            "id": uuid(number, 3),
            "call": call,
            "line": "support",
            "mode": ConsentMode.OPT_IN,
            "status": RecordingStatus.SETTLED,
            "authorised_by": consent,
            "authorising_state": ConsentState.GIVEN,
            "channel": "PJSIP/x",
            "uniqueid": f"{number}.0",
            "sealed": False,
            "authorised_at": at,
            "settled_at": at,
            "changed_at": at,
            "analysed_at": at,
            "samples": 1,
            "rate": 8000,
            "sha256": "0" * 64,
            "size": 1,
            "findings": (),
            "measures": {},
            "silences": (),
        },
    )


@dataclass(slots=True)
class Catalogues:
    """Two of them, alike but for their length."""

    few: Connection
    many: Connection
    template: Path = field(repr=False)

    def steps(self, read: Callable[[Connection, range], object]) -> tuple[int, int]:
        """What it takes in each; `read` is given the numbers of the newest calls."""
        found = [
            steps_of(connection, partial(read, connection, range(number - AT_THE_END, number)))
            for connection, number in ((self.few, FEW), (self.many, MANY))
        ]
        return found[0], found[1]


def steps_of(connection: Connection, work: Callable[[], object]) -> int:
    work()  # once before: the statements are compiled, and the pages read
    count = 0

    def counted() -> int:
        nonlocal count
        count += 1
        return 0

    raw = connection.connection.driver_connection
    assert raw is not None
    raw.set_progress_handler(counted, 1)
    try:
        work()
    finally:
        raw.set_progress_handler(None, 1)
    return count


ONE, TWO = pytest.param((NODE,), id="one node"), pytest.param((NODE, OTHER), id="two nodes")
FEW_OF_ONE = pytest.param((NODE, *[OTHER] * 15), id="of two nodes the smaller")
MOST_OF_ONE = pytest.param((*[NODE] * 15, OTHER), id="of two nodes the larger")


@pytest.fixture(scope="module", params=[ONE, TWO, FEW_OF_ONE, MOST_OF_ONE])
def catalogues(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path
) -> Iterator[Catalogues]:
    folder = tmp_path_factory.mktemp("growth")
    few, many = (made(folder, sqlite_template, number, request.param) for number in (FEW, MANY))
    yield Catalogues(few, many, sqlite_template)
    for connection in (few, many):
        connection.close()
        connection.engine.dispose()


def _due(status: RecordingStatus, analysed: bool | None) -> Callable[[Connection, range], object]:
    return lambda at, _: reading.recordings_due(at, NODE, status, 50, analysed, ())


def _found(connection: Connection, **sought: Any) -> object:
    return finding.search(connection, finding.Sought(lines=frozenset({"support"}), **sought), 10)


READ = {
    "calls without an outcome": lambda at, _: reading.open_calls(at, NODE),
    "one call whole": lambda at, newest: reading.one_call(at, call_id(newest[0])),
    "which channels are known": lambda at, newest: reading.known_uniqueids(
        at, NODE, [Uniqueid(f"{number}.1") for number in newest]
    ),
    "the calls of channels": lambda at, newest: reading.calls_of_uniqueids(
        at, NODE, [Uniqueid(f"{number}.1") for number in newest]
    ),
    "the calls of linkedids": lambda at, newest: reading.calls_of_linkedids(
        at, NODE, [Linkedid(f"{number}.1") for number in newest]
    ),
    "the calls of one linkedid": lambda at, newest: reading.calls_of_linkedid(at, NODE, Linkedid(f"{newest[0]}.1")),
    "calls of nobody's linkedid": lambda at, _: reading.calls_of_linkedids(at, NODE, [Linkedid("none.1")]),
    "what is to be settled": _due(RecordingStatus.STOPPED, None),
    "what is to be analysed": _due(RecordingStatus.SETTLED, False),
    "recordings by their ids": lambda at, newest: reading.recordings_named(
        at, [RecordingId(uuid(number, 3)) for number in newest]
    ),
    "the newest call": lambda at, _: reading.list_calls(at, 1, NODE, None, None, None, None),
    "the first call": lambda at, _: reading.first_call_at(at, NODE),
    "some calls after one": lambda at, newest: reading.calls_after(at, call_id(newest[0]), 10, NODE),
    "some links after one": lambda at, newest: reading.chain_after(at, NODE, 2 * newest[0], 10),
    "the links before a time": lambda at, newest: reading.links_before(at, NODE, NOON + timedelta(minutes=newest[0])),
    "the links of a call": lambda at, newest: reading.links_of_call(at, call_id(newest[0])),
    "the lines that are kept unrecorded": lambda at, _: releases.kept_unrecorded(at, ["support"]),
    "the figures of a span": lambda at, newest: counting.counted(
        at,
        counting.Span(
            lines=frozenset({"support"}),
            since=NOON + timedelta(minutes=newest[0]),
            until=NOON + timedelta(minutes=newest[-1]),
        ),
    ),
    "what was done to releases": lambda at, _: releases.acts(at, ["support"]),
    "the newest calls of a line": lambda at, _: _found(at),
    "calls with a recording to hear": lambda at, _: _found(at, settled=True),
    "calls of nobody's telephone": lambda at, _: _found(at, agent="PJSIP/nobody"),
    "calls of nobody's number": lambda at, _: _found(at, numbers=frozenset({"none"})),
    "calls of a rare consent": lambda at, _: _found(at, consent=ConsentState.WITHDRAWN),
    "lost calls": lambda at, _: _found(at, outcome=Outcome.LOST),
    "calls of a rare reason": lambda at, _: _found(at, reason=LostReason.BUSY),
    "overridden calls": lambda at, _: _found(at, override=OverrideReason.LEGAL),
    "calls of a rare finding": lambda at, _: _found(at, finding="clipped"),
}


@pytest.mark.parametrize(
    ("url", "said"),
    [("sqlite:///x", "WHERE +calls.node = "), ("postgresql://x/x", "WHERE calls.node = ")],
    ids=["sqlite", "postgresql"],
)
def test_the_node_of_a_call_is_kept_from_an_index_where_the_engine_does_not_know_how_wide_that_is(
    url: str, said: str
) -> None:
    """PostgreSQL does, of a column: of an expression it has no statistics."""
    dialect = url_of(url).get_dialect()()
    for node in (reading._of_node(NODE), reading._of_node(bindparam("of_node"))):
        assert said in str(select(tables.calls).where(node).compile(dialect=dialect))


@pytest.mark.parametrize("name", READ)
def test_what_the_daemon_reads_does_not_grow_with_the_catalogue(catalogues: Catalogues, name: str) -> None:
    few, many = catalogues.steps(READ[name])
    assert few > 0
    assert many <= GROWS_MOST * few, f"{few} steps of {FEW} calls, {many} of {MANY}"


def test_what_is_not_chained_is_found_in_one_look_at_each_call(catalogues: Catalogues) -> None:
    """`verify` asks it of all calls: some steps for each, however many there are."""
    few, many = catalogues.steps(lambda at, _: reading.unchained(at, NODE, None, 500))
    assert (many - few) / (MANY - FEW) < 100, (few, many)


@pytest.mark.parametrize("catalogues", [ONE], indirect=True)
def test_the_counts_look_at_no_call_of_a_recording(catalogues: Catalogues) -> None:
    """Where nobody else writes they are counted in an index: a few steps for each."""
    few, many = catalogues.steps(lambda at, _: reading.counts(at, NODE, NOON))
    assert (many - few) / (MANY - FEW) < 8, (few, many)


@pytest.mark.parametrize("catalogues", [ONE], indirect=True)
def test_calls_without_a_recording_are_found_in_one_look_at_each(catalogues: Catalogues) -> None:
    """Nearly every call has one: whoever asks for the others reads all there are, once."""
    few, many = catalogues.steps(lambda at, _: _found(at, settled=False))
    assert (many - few) / (MANY - FEW) < 100, (few, many)
