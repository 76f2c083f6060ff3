"""Every consent event is chained in the transaction that writes it; what is done to one past the recorder is named."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import Connection, inspect, text

from recorder import catalogue
from recorder.books import Code, Mismatch, verify
from recorder.catalogue import Catalogue, CatalogueRefused, chaining, open_catalogue
from recorder.catalogue.engine import connect_engine, url_of
from recorder.chain import Head
from recorder.model import CallEnded, CallId, ConsentRecorded, ConsentState, Outcome
from recorder.policy import LinePolicy
from recorder.storage import Storage
from tests import books, facts
from tests.books import PATIENT
from tests.facts import NODE, NOON, later

CHAIN_CODES = frozenset(
    {
        Code.HEAD_UNKNOWN,
        Code.CHAIN_BROKEN,
        Code.CHAIN_GAP,
        Code.CHAINED_ACT_CHANGED,
        Code.CHAINED_ACT_REMOVED,
        Code.ACT_UNCHAINED,
        Code.POLICY_CHANGED,
    }
)
GUARDED = ("chain", "consent_events", "prompts", "call_events", "calls", "policies")


@contextmanager
def owner(url: str) -> Iterator[Connection]:
    """Somebody who owns the database: no trigger and no foreign key stops them."""
    engine = connect_engine(url_of(url), writes=True, migrates=True)
    try:
        with engine.begin() as connection:
            if url.startswith("sqlite"):
                triggers = connection.execute(
                    text("SELECT name, tbl_name, sql FROM sqlite_master WHERE type = 'trigger'")
                ).all()
                for name, _, _ in triggers:
                    connection.execute(text(f"DROP TRIGGER {name}"))
                yield connection
                left = inspect(connection).get_table_names()
                for _, table, statement in triggers:
                    if table in left:
                        connection.execute(text(statement))
                return
            for table in GUARDED:
                connection.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER ALL"))
            yield connection
            for table in {*GUARDED} & {*inspect(connection).get_table_names()}:
                connection.execute(text(f"ALTER TABLE {table} ENABLE TRIGGER ALL"))
    finally:
        engine.dispose()


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return books.folders(tmp_path)


async def asked(store: Catalogue, node: str = NODE) -> CallId:
    """A call that was asked, agreed and has ended."""
    call = facts.new_call()
    events = [
        facts.answered(call, ConsentState.ASKED, ConsentState.NONE, node=node),
        facts.answered(call, ConsentState.GIVEN, ConsentState.ASKED, node=node),
    ]
    ended = CallEnded(call=call, ended_at=later(90), outcome=Outcome.ABANDONED)
    await store.write_facts([facts.opened(call, node=node), *events, ended], PATIENT)
    return call


async def found(store: Catalogue, storage: Storage, *heads: Head) -> list[Mismatch]:
    return (await verify(store, storage, node=NODE, now=later(600), heads=heads)).mismatches


async def chained(store: Catalogue, node: str = NODE) -> list[tuple[int, str]]:
    """Each link's number, and what it commits to."""
    rows = await store.chain_after(node, 0, 10_000)
    return [(row.link.seq, json.loads(row.link.body or "{}").get("after", "end")) for row in rows]


# --------------------------------------------------------------------------- written with the act


async def test_each_consent_event_and_the_calls_end_is_a_link_without_a_gap(store: Catalogue) -> None:
    for _ in range(3):
        await asked(store)
    assert await chained(store) == list(enumerate(["asked", "given", "end"] * 3, start=1))
    (head,) = await store.heads()
    assert (head.node, head.seq) == (NODE, 9)


async def test_a_link_says_what_the_row_says_and_the_line_and_when_it_was_written_besides(store: Catalogue) -> None:
    await books.Story().admitted().answered().write(store)
    rows = await store.chain_after(NODE, 0, 10)
    body = json.loads(rows[1].link.body or "")
    assert (body["line"], body["mode"], body["node"], body["number"]) == ("support", "opt_in", NODE, 2)
    assert (body["key"], body["after"], body["prompt"]["text"]) == ("1", "given", facts.QUESTION.text)
    assert body["at"] == "2026-03-02T12:00:05.000000+00:00"
    assert rows[1].link.at > NOON


async def test_a_call_that_nobody_was_asked_in_is_not_in_the_chain(store: Catalogue) -> None:
    call = facts.new_call()
    await store.write_facts(
        [facts.opened(call), CallEnded(call=call, ended_at=later(9), outcome=Outcome.ABANDONED)], PATIENT
    )
    assert (await chained(store), await store.heads()) == ([], ())


async def test_what_is_said_again_adds_no_link(store: Catalogue) -> None:
    call = facts.new_call()
    event = facts.answered(call)
    ended = CallEnded(call=call, ended_at=later(90), outcome=Outcome.ABANDONED)
    for _ in range(3):  # as a local journal does that is replayed
        await store.write_facts([facts.opened(call), event, ended], PATIENT)
    assert await chained(store) == [(1, "given"), (2, "end")]


async def test_a_step_that_is_refused_leaves_no_link_and_no_gap(store: Catalogue) -> None:
    await asked(store)
    call = facts.new_call()
    wrong = facts.authorised(facts.answered(facts.new_call()))
    with pytest.raises(CatalogueRefused):
        await store.write_facts([facts.opened(call), facts.answered(call), wrong], PATIENT)
    await asked(store)
    assert [seq for seq, _ in await chained(store)] == [1, 2, 3, 4, 5, 6]


async def test_each_node_has_a_chain_of_its_own(store: Catalogue) -> None:
    await asked(store)
    await asked(store, "pbx2")
    await asked(store)
    assert [(head.node, head.seq) for head in await store.heads()] == [(NODE, 6), ("pbx2", 3)]


async def test_two_who_write_one_chain_at_once_leave_no_gap_and_no_fork(catalogue_url: str, storage: Storage) -> None:
    """An old daemon that still writes what it owes, and the new one."""
    stores = [await open_catalogue(catalogue_url) for _ in range(4)]

    async def write(store: Catalogue) -> None:
        for _ in range(15):
            await asked(store)

    try:
        await asyncio.gather(*map(write, stores))
        assert [seq for seq, _ in await chained(stores[0])] == list(range(1, 4 * 15 * 3 + 1))
        assert {item.code for item in await found(stores[0], storage)}.isdisjoint(CHAIN_CODES)
    finally:
        for store in stores:
            await store.close()


@pytest.mark.postgres
@pytest.mark.parametrize("engine_name", ["postgres"])
async def test_a_daemon_that_is_frozen_while_it_chains_holds_up_no_other_node(catalogue_url: str) -> None:
    stores = [await open_catalogue(catalogue_url) for _ in range(2)]
    waits, goes_on = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def hang(connection: Connection) -> None:
        chaining._place(connection, NODE, uuid4())
        loop.call_soon_threadsafe(waits.set)
        asyncio.run_coroutine_threadsafe(goes_on.wait(), loop).result(30)

    frozen = asyncio.create_task(stores[0].write(hang, PATIENT))
    try:
        await waits.wait()
        await asked(stores[1], "pbx2")
    finally:
        goes_on.set()
        await frozen
        for store in stores:
            await store.close()


# --------------------------------------------------------------------------- what is done past the recorder


LAST = "seq = (SELECT MAX(seq) FROM consent_events)"
"""The caller's refusal, which is link 9."""


@pytest.mark.parametrize(
    ("statements", "codes", "words"),
    [
        (
            [f"UPDATE consent_events SET key = '2' WHERE {LAST}"],
            {Code.CHAINED_ACT_CHANGED},
            "says otherwise than link 9 of the chain: key",
        ),
        (
            [f"UPDATE consent_events SET at = (SELECT MIN(started_at) FROM calls), played_ms = 9 WHERE {LAST}"],
            {Code.CHAINED_ACT_CHANGED},
            "of the chain: at, played_ms",
        ),
        (["UPDATE prompts SET text = 'Hello.'"], {Code.CHAINED_ACT_CHANGED}, "of the chain: prompt"),
        (
            ["UPDATE calls SET ended_at = started_at WHERE outcome = 'declined'"],
            {Code.CHAINED_ACT_CHANGED},
            "the end of the call says otherwise than link 10 of the chain: at",
        ),
        (
            [f"DELETE FROM consent_events WHERE {LAST}", "DELETE FROM call_events WHERE name = 'ConsentAnswered'"],
            {Code.CHAINED_ACT_REMOVED},
            "is in link 9 of the chain and no longer in the catalogue",
        ),
        (["DELETE FROM chain WHERE seq = 4"], {Code.CHAIN_GAP, Code.ACT_UNCHAINED}, "link 4 is missing from the chain"),
        (["DELETE FROM chain WHERE seq IN (4, 5)"], {Code.CHAIN_GAP, Code.ACT_UNCHAINED}, "links 4 to 5 are missing"),
        (["DELETE FROM chain WHERE seq = 10"], {Code.ACT_UNCHAINED}, "the end of the call is in the catalogue and not"),
        (["DELETE FROM chain WHERE seq = 1"], {Code.CHAIN_GAP, Code.ACT_UNCHAINED}, "link 1 is missing"),
        (
            ['UPDATE chain SET body = replace(body, \'"key":"1"\', \'"key":"2"\') WHERE seq = 9'],
            {Code.CHAIN_BROKEN},
            "link 9 of the chain holds something else than it committed to",
        ),
        (
            ["UPDATE chain SET digest = commitment WHERE seq = 5"],
            {Code.CHAIN_BROKEN},
            "link 5 of the chain does not follow",
        ),
        (
            ["UPDATE chain SET commitment = digest WHERE seq = 5"],
            {Code.CHAIN_BROKEN},
            "link 5 of the chain holds something",
        ),
        (
            ["UPDATE chain SET at = (SELECT MIN(started_at) FROM calls) WHERE seq = 5"],
            {Code.CHAIN_BROKEN},
            "link 5 of the chain does not follow from those before it",
        ),
        (
            ["UPDATE chain SET consent = NULL WHERE seq = 9"],
            {Code.CHAIN_BROKEN, Code.ACT_UNCHAINED},
            "link 9 of the chain names another act than it committed to",
        ),
        (["UPDATE chain SET seq = 100 WHERE seq = 10"], {Code.CHAIN_GAP}, "links 10 to 99 are missing"),
        (
            [
                "INSERT INTO consent_events (id, call, at, before, after, channel, policy)"
                " SELECT (SELECT id FROM recordings ORDER BY id LIMIT 1), call, at, 'refused', 'given', channel, policy"
                f" FROM consent_events WHERE {LAST}"
            ],
            {Code.ACT_UNCHAINED},
            "is in the catalogue and not in the chain",
        ),
        (
            ["UPDATE policies SET settings = replace(settings, 'opt_in', 'notice')"],
            {Code.POLICY_CHANGED},
            "the settings of line support that are kept as policy",
        ),
        (["UPDATE policies SET line = 'sales'"], {Code.POLICY_CHANGED}, "the settings of line sales"),
    ],
)
async def test_what_was_done_to_the_catalogue_by_sql_is_named(
    store: Catalogue, storage: Storage, catalogue_url: str, statements: list[str], codes: set[Code], words: str
) -> None:
    for story in (books.agreed(storage), books.by_override(storage), books.refused()):
        await story.write(store)
    await store.write_policies(NODE, NOON, "1.0", [LinePolicy(line="support", settings='{"consent":"opt_in"}')])
    assert await found(store, storage) == []
    with owner(catalogue_url) as connection:
        for statement in statements:
            assert connection.execute(text(statement)).rowcount > 0

    mismatches = await found(store, storage)
    assert {item.code for item in mismatches} & CHAIN_CODES == codes
    assert any(words in item.what for item in mismatches), [item.what for item in mismatches]


async def test_a_chain_that_was_written_anew_fits_itself_and_not_the_head_that_lies_elsewhere(
    store: Catalogue, storage: Storage, catalogue_url: str
) -> None:
    for story in (books.agreed(storage), books.refused()):
        await story.write(store)
    (noted,) = await store.heads(NODE)
    with owner(catalogue_url) as connection:
        connection.execute(text("UPDATE consent_events SET policy = 'another' WHERE after = 'refused'"))
        connection.execute(text("DELETE FROM chain"))
        connection.execute(text("DROP TABLE kept_answers"))  # which the way back takes away
        connection.execute(text("UPDATE alembic_version SET version_num = '0003'"))
    catalogue.upgrade(catalogue_url)  # whoever has our own program can chain anything

    assert await found(store, storage) == []
    (item,) = await found(store, storage, noted)
    assert (item.code, f"{noted} was noted elsewhere" in item.what) == (Code.HEAD_UNKNOWN, True)


async def test_a_chain_that_was_cut_with_all_that_belongs_to_it_is_found_by_its_head(
    store: Catalogue, storage: Storage, catalogue_url: str
) -> None:
    await books.agreed(storage).write(store)
    story = books.refused()
    await story.write(store)
    (noted,) = await store.heads(NODE)
    assert await found(store, storage, noted) == []
    with owner(catalogue_url) as connection:
        name = story.call.hex if catalogue_url.startswith("sqlite") else str(story.call)
        for table in ("chain", "consent_events", "call_events", "legs"):
            connection.execute(text(f"DELETE FROM {table} WHERE call = '{name}'"))
        connection.execute(text(f"DELETE FROM calls WHERE id = '{name}'"))

    assert await found(store, storage) == []
    (item,) = await found(store, storage, noted)
    assert (item.code, "there is no such link" in item.what) == (Code.HEAD_UNKNOWN, True)


async def test_erasing_an_act_with_its_salt_leaves_the_chain_whole(
    store: Catalogue, storage: Storage, catalogue_url: str
) -> None:
    for _ in range(2):
        await books.refused().write(store)
    with owner(catalogue_url) as connection:
        connection.execute(text("UPDATE chain SET body = NULL, salt = NULL WHERE seq = 2"))
        connection.execute(text("DELETE FROM consent_events WHERE seq = 2"))
    mismatches = await found(store, storage)
    assert {item.code for item in mismatches} == {Code.CHAINED_ACT_REMOVED, Code.CONSENT_EVENT_MISSING}
    (erased,) = [item for item in mismatches if item.code is Code.CHAINED_ACT_REMOVED]
    assert erased.what == "what link 2 commits to was erased; the chain is whole without it"


async def test_a_part_of_the_chain_is_read_for_a_part_of_the_time(
    store: Catalogue, storage: Storage, catalogue_url: str
) -> None:
    for _ in range(5):
        await books.refused().write(store)
    rows = await store.chain_after(NODE, 0, 100)
    since = rows[10].link.at
    part = await verify(store, storage, node=NODE, now=later(600), since=since)
    assert (part.links, part.mismatches) == (len(rows) - 10, [])
    with owner(catalogue_url) as connection:
        connection.execute(text("UPDATE consent_events SET policy = 'x' WHERE seq = 1"))
    assert (await verify(store, storage, node=NODE, now=later(600), since=since)).mismatches == []
    assert [item.code for item in await found(store, storage)] == [Code.CHAINED_ACT_CHANGED]


# --------------------------------------------------------------------------- upgrade, and the way back


async def test_the_way_back_keeps_the_chain_and_the_next_upgrade_goes_on_behind_it(
    catalogue_url: str, storage: Storage
) -> None:
    store = await open_catalogue(catalogue_url)
    call, event = facts.new_call(), facts.answered(facts.new_call())
    for story in (books.agreed(storage), books.refused()):
        await story.write(store)
    await store.write_facts([facts.opened(call)], PATIENT)
    (noted,) = await store.heads(NODE)
    await store.close()
    assert catalogue.downgrade(catalogue_url, "0003") == "0003"
    written_by_an_older_one(catalogue_url, replace(event, call=call))
    assert catalogue.upgrade(catalogue_url) == catalogue.newest()
    store = await open_catalogue(catalogue_url)
    try:
        await asked(store)
        rows = await store.chain_after(NODE, noted.seq, 10)
        assert [json.loads(row.link.body or "")["line"] for row in rows[:2]] == [None, "support"]
        assert (rows[0].link.consent, rows[0].link.seq) == (event.id, noted.seq + 1)
        codes = {item.code for item in await found(store, storage, noted)}
        assert codes.isdisjoint(CHAIN_CODES)
    finally:
        await store.close()


def written_by_an_older_one(url: str, event: ConsentRecorded) -> None:
    """A consent event of a call that still goes on, as a program of revision 0003 writes it: no link."""
    as_kept = (lambda key: key.hex) if url.startswith("sqlite") else str
    given = {"id": as_kept(event.id), "call": as_kept(event.call)}
    with owner(url) as connection:
        columns = "at, before, after, channel, policy, prompt, played_ms, key, language"
        connection.execute(
            text(
                f"INSERT INTO consent_events (id, call, {columns}) SELECT :id, :call, {columns} FROM consent_events"
                " WHERE after = 'given'"
            ),
            given,
        )


async def test_what_was_changed_while_an_older_recorder_ran_is_named(catalogue_url: str, storage: Storage) -> None:
    store = await open_catalogue(catalogue_url)
    await books.refused().write(store)
    await store.close()
    catalogue.downgrade(catalogue_url, "0003")
    with owner(catalogue_url) as connection:
        connection.execute(text("UPDATE consent_events SET policy = 'x' WHERE after = 'refused'"))
    catalogue.upgrade(catalogue_url)
    store = await open_catalogue(catalogue_url)
    try:
        assert [item.code for item in await found(store, storage)] == [Code.CHAINED_ACT_CHANGED]
    finally:
        await store.close()


async def test_a_catalogue_from_before_the_chain_is_chained_in_the_order_of_writing(
    catalogue_url: str, storage: Storage
) -> None:
    store = await open_catalogue(catalogue_url)
    for story in (books.agreed(storage), books.by_override(storage), books.refused(), books.excluded()):
        await story.write(store)
    before = await chained(store)
    await store.close()
    with owner(catalogue_url) as connection:
        connection.execute(text("DROP TABLE chain"))
        connection.execute(text("DROP TABLE kept_answers"))  # which the way back takes away
        connection.execute(text("UPDATE alembic_version SET version_num = '0003'"))
    catalogue.upgrade(catalogue_url)
    store = await open_catalogue(catalogue_url)
    try:
        after = await chained(store)
        assert sorted(what for _, what in after) == sorted(what for _, what in before)
        assert [what for _, what in after if what != "end"] == [what for _, what in before if what != "end"]
        assert await found(store, storage) == []
    finally:
        await store.close()
