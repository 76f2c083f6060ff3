"""The sweep that balances the books: what it found stands until it no longer finds it, and is said once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from recorder.books import Code, Ledgers
from recorder.catalogue import Catalogue
from recorder.daemon.bookkeeper import LOOKS_BACK, Bookkeeper
from recorder.storage import Storage
from tests import books
from tests.facts import NODE, later, new_call, opened


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return books.folders(tmp_path)


def bookkeeper(store: Catalogue, storage: Storage, seconds: float = 600, ledgers: Ledgers | None = None) -> Bookkeeper:
    return Bookkeeper(
        node=NODE, catalogue=store, storage=storage, ledgers=ledgers or Ledgers(), now=lambda: later(seconds)
    )


async def test_books_that_balance_are_no_warning(store: Catalogue, storage: Storage) -> None:
    await books.agreed(storage).write(store)
    keeper = bookkeeper(store, storage)
    with capture_logs() as said:
        assert await keeper.look() is False
    (head,) = await store.heads(NODE)
    assert (keeper.warnings, keeper.found) == ([], {})
    assert said == [{"event": "chain_head", "log_level": "info", "head": str(head)}]


async def test_a_ledger_that_asterisk_has_yet_to_make_is_missed_once_a_call_has_ended(
    store: Catalogue, storage: Storage, tmp_path: Path
) -> None:
    """Its first line is the end of the first call; until then a fresh installation has nothing to complain of."""
    keeper = bookkeeper(store, storage, ledgers=Ledgers(cdr=tmp_path / "Master.csv"))
    await store.write_facts([opened(new_call())])
    await keeper.look()
    assert Code.LEDGER_UNREADABLE not in keeper.found
    await books.agreed(storage).write(store)
    await keeper.look()
    assert keeper.found[Code.LEDGER_UNREADABLE] == 1


async def test_what_does_not_fit_is_said_once_and_stands_until_it_is_mended(store: Catalogue, storage: Storage) -> None:
    story = books.agreed(storage)
    await story.write(store)
    place = storage.path(story.recording, story.authorised_at)
    place.rename(storage.root / "elsewhere")
    keeper = bookkeeper(store, storage)
    with capture_logs() as said:
        await keeper.look()
        await keeper.look()
    line, head = said
    assert head["event"] == "chain_head"
    assert (line["event"], line["log_level"]) == ("books_do_not_balance", "error")
    assert line["found"] == {"file_missing": 1, "file_not_ours": 1}
    assert line["first"] == [f"file_missing {story.call}", "file_not_ours elsewhere"]
    assert keeper.found[Code.FILE_MISSING] == 1
    assert keeper.warnings == ["the books do not balance (1 file_missing, 1 file_not_ours): run `recorder verify`"]

    (storage.root / "elsewhere").rename(place)
    with capture_logs() as said:
        await keeper.look()
    assert ([line["event"] for line in said], keeper.warnings) == (["books_balance_again"], [])


async def test_the_head_of_the_chain_is_said_when_it_is_another_one(store: Catalogue, storage: Storage) -> None:
    keeper = bookkeeper(store, storage)
    heads = []
    for _ in range(2):
        await books.refused().write(store)
        with capture_logs() as said:
            await keeper.look()
            await keeper.look()
        heads += [line["head"] for line in said if line["event"] == "chain_head"]
    assert heads[1] == str((await store.heads(NODE))[0])
    assert len(set(heads)) == len(heads) == 2


async def test_it_reads_no_audio_and_looks_back_some_hours_only(store: Catalogue, storage: Storage) -> None:
    story = books.agreed(storage)
    await story.write(store)
    place = storage.path(story.recording, story.authorised_at)
    whole = place.read_bytes()
    place.write_bytes(bytes(len(whole)))
    keeper = bookkeeper(store, storage)
    await keeper.look()
    assert keeper.warnings == []
    place.unlink()
    later_on = bookkeeper(store, storage, LOOKS_BACK.total_seconds() + 60)
    await later_on.look()
    assert later_on.warnings == []


async def test_a_store_that_cannot_be_read_is_a_warning_of_its_own(store: Catalogue, storage: Storage) -> None:
    keeper = bookkeeper(store, storage)
    shutil.rmtree(storage.root)
    with capture_logs() as said:
        await keeper.look()
    assert [line["event"] for line in said] == ["books_not_balanced"]
    (sentence,) = keeper.warnings
    assert sentence.startswith("the books could not be balanced: ")
