"""The sweep that balances the books: what it found stands until it no longer finds it, and is said once."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from recorder.books import Code, Ledgers, NotBalanced, Whose, apart, balance_apart
from recorder.catalogue import Catalogue, CatalogueError
from recorder.daemon.bookkeeper import LOOKS_BACK, Bookkeeper
from recorder.storage import Storage
from tests import books
from tests.facts import NODE, later, new_call, opened


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return books.folders(tmp_path)


@pytest.fixture
def whose(catalogue_url: str, storage: Storage) -> Whose:
    return Whose(node=NODE, catalogue=catalogue_url, storage=storage.root, spool=storage.spool.here)


def bookkeeper(whose: Whose, seconds: float = 600) -> Bookkeeper:
    return Bookkeeper(partial(balance_apart, whose), lambda: later(seconds))


async def test_books_that_balance_are_no_warning(store: Catalogue, storage: Storage, whose: Whose) -> None:
    await books.agreed(storage).write(store)
    keeper = bookkeeper(whose)
    with capture_logs() as said:
        assert await keeper.look() is False
    (head,) = await store.heads(NODE)
    assert (keeper.warnings, keeper.found) == ([], {})
    assert said == [{"event": "chain_head", "log_level": "info", "head": str(head)}]


async def test_a_ledger_that_asterisk_has_yet_to_make_is_missed_once_a_call_has_ended(
    store: Catalogue, storage: Storage, whose: Whose, tmp_path: Path
) -> None:
    """Its first line is the end of the first call; until then a fresh installation has nothing to complain of."""
    keeper = bookkeeper(replace(whose, ledgers=Ledgers(cdr=tmp_path / "Master.csv")))
    await store.write_facts([opened(new_call())])
    await keeper.look()
    assert Code.LEDGER_UNREADABLE not in keeper.found
    await books.agreed(storage).write(store)
    await keeper.look()
    assert keeper.found[Code.LEDGER_UNREADABLE] == 1


async def test_what_does_not_fit_is_said_once_and_stands_until_it_is_mended(
    store: Catalogue, storage: Storage, whose: Whose
) -> None:
    story = books.agreed(storage)
    await story.write(store)
    place = storage.path(story.recording, story.authorised_at)
    place.rename(storage.root / "elsewhere")
    keeper = bookkeeper(whose)
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


async def test_the_head_of_the_chain_is_said_when_it_is_another_one(store: Catalogue, whose: Whose) -> None:
    keeper = bookkeeper(whose)
    heads = []
    for _ in range(2):
        await books.refused().write(store)
        with capture_logs() as said:
            await keeper.look()
            await keeper.look()
        heads += [line["head"] for line in said if line["event"] == "chain_head"]
    assert heads[1] == str((await store.heads(NODE))[0])
    assert len(set(heads)) == len(heads) == 2


async def test_it_reads_no_audio_and_looks_back_some_hours_only(
    store: Catalogue, storage: Storage, whose: Whose
) -> None:
    story = books.agreed(storage)
    await story.write(store)
    place = storage.path(story.recording, story.authorised_at)
    whole = place.read_bytes()
    place.write_bytes(bytes(len(whole)))
    keeper = bookkeeper(whose)
    await keeper.look()
    assert keeper.warnings == []
    place.unlink()
    later_on = bookkeeper(whose, LOOKS_BACK.total_seconds() + 60)
    await later_on.look()
    assert later_on.warnings == []


@pytest.mark.usefixtures("store")
async def test_a_store_that_cannot_be_read_is_a_warning_of_its_own(storage: Storage, whose: Whose) -> None:
    keeper = bookkeeper(whose)
    shutil.rmtree(storage.root)
    with capture_logs() as said:
        await keeper.look()
    assert [line["event"] for line in said] == ["books_not_balanced"]
    (sentence,) = keeper.warnings
    assert sentence.startswith("the books could not be balanced: ")


async def test_the_program_that_reads_them_steps_back_and_ends_with_whoever_asked(
    store: Catalogue, storage: Storage, whose: Whose
) -> None:
    await books.agreed(storage).write(store)
    asking = asyncio.create_task(balance_apart(whose, later(0), later(600)))
    mine = os.getpriority(os.PRIO_PROCESS, 0)
    async with asyncio.timeout(20):
        while not (programs := children()) or os.getpriority(os.PRIO_PROCESS, programs[0]) == mine:
            await asyncio.sleep(0.01)
            assert not asking.done()
    (program,) = programs
    assert os.getpriority(os.PRIO_PROCESS, program) == min(19, mine + 10)
    assert whose.catalogue not in command_of(program)
    asking.cancel()
    await asyncio.wait([asking])
    assert children() == []


def children() -> list[int]:
    """The programs of ours that read books, by their process."""
    every = [int(pid) for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()]
    return [pid for pid in every if apart.PROGRAM in command_of(pid)]


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except FileNotFoundError:  # it has ended
        return ""


@pytest.mark.usefixtures("store")
async def test_whoever_does_not_come_to_an_end_is_ended(whose: Whose) -> None:
    with pytest.raises(NotBalanced, match="they were not read within"):
        await balance_apart(whose, later(0), later(600), timedelta(seconds=0.05))
    assert children() == []


async def test_a_program_that_fails_says_its_last_line(whose: Whose, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "PROGRAM", "raise SystemExit('no room for it')")
    with pytest.raises(NotBalanced, match="ended with 1: no room for it"):
        await balance_apart(whose, later(0), later(600))


@pytest.mark.parametrize(
    "said", ["", "priority_not_lowered", '{"away": null, "trouble": null, "found": {"no_such": 1}}']
)
async def test_an_answer_that_cannot_be_understood_is_a_warning(
    said: str, whose: Whose, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apart, "PROGRAM", f"print({said!r})")
    keeper = bookkeeper(whose)
    assert await keeper.look() is False
    (sentence,) = keeper.warnings
    assert "said what cannot be understood" in sentence


@pytest.mark.usefixtures("store")
async def test_what_the_program_logs_is_no_part_of_its_answer(whose: Whose, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = "import os; os.setpriority = lambda *_: (_ for _ in ()).throw(PermissionError()); "
    monkeypatch.setattr(apart, "PROGRAM", refused + apart.PROGRAM)
    assert (await balance_apart(whose, later(0), later(600))).found == {}


async def test_a_program_that_cannot_be_started_is_no_end_of_the_sweep(
    whose: Whose, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    keeper = bookkeeper(whose)
    assert await keeper.look() is False
    (sentence,) = keeper.warnings
    assert "could not be started: No such file or directory" in sentence


async def test_a_catalogue_that_is_away_passes_as_such(whose: Whose, tmp_path: Path) -> None:
    keeper = bookkeeper(replace(whose, catalogue=f"sqlite:///{tmp_path}/none.db"))
    with pytest.raises(CatalogueError):
        await keeper.look()
    assert keeper.warnings != []
