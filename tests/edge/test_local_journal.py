"""The local journal on a real disk: what another process finds, what a full disk costs, what is set aside."""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from recorder.local_journal import Journal, file_of, folder_of, framed, journal
from tests.edge.centre import until
from tests.small_disk import small_disk

pytestmark = pytest.mark.usefixtures("no_task_left")
SOON = timedelta(seconds=5)


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal-pbx1"


@pytest.fixture
async def made(path: Path) -> AsyncIterator[Journal]:
    one = await begun(path)
    yield one
    await one.close()


async def begun(path: Path) -> Journal:
    one = Journal(path, now)
    await one.begin()
    await one.adopt()
    return one


async def records(path: Path) -> tuple[bytes, ...]:
    """What the next process reads."""
    other = Journal(path, now)
    try:
        return (await other.begin()).records
    finally:
        await other.close()


def holding(path: Path, data: bytes) -> bytes:
    path.write_bytes(data)
    return data


def facts(path: Path) -> os.stat_result:
    return path.stat()


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass


async def test_what_was_put_is_there_for_the_next_process_in_its_order(made: Journal, path: Path) -> None:
    for number in range(50):
        made.put(number, b"%d" % number)
    assert await made.written(SOON)
    await made.close()
    assert await records(path) == tuple(b"%d" % number for number in range(50))


async def test_nobody_but_its_owner_may_read_it(made: Journal, path: Path) -> None:
    made.put(1, b"one")
    assert await made.written(SOON)
    assert stat.S_IMODE(facts(path).st_mode) == 0o600


async def test_a_file_that_grows_is_made_anew_with_what_is_live(
    made: Journal, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "SMALLER_FROM", 1000)
    made.put("live", b"live")
    for number in range(200):
        made.put(number, b"x" * 40)
        made.forget([number])
        assert await made.written(SOON)
    assert facts(path).st_size < 3000
    await made.close()
    assert b"live" in await records(path)


async def test_a_second_process_with_the_same_node_has_no_journal_and_harms_none(made: Journal, path: Path) -> None:
    made.put(1, b"one")
    assert await made.written(SOON)
    other = Journal(path, now)
    assert (await other.begin()).records == ()
    assert other.trouble is not None
    assert "does a second recorder run" in other.trouble
    await other.adopt()
    other.put(2, b"two")
    assert not await other.written(SOON)
    await other.close()
    await made.close()
    assert await records(path) == (b"one",)


async def test_a_torn_end_is_cut_and_what_comes_later_is_read(path: Path) -> None:
    holding(path, framed(b"one") + framed(b"two")[:-1])
    one = Journal(path, now)
    reading = await one.begin()
    assert (reading.records, reading.torn, reading.damaged) == ((b"one",), True, False)
    one.put(1, b"one")
    await one.adopt()
    one.put(3, b"three")
    assert await one.written(SOON)
    await one.close()
    assert await records(path) == (b"one", b"three")
    assert one.aside == ()


async def test_a_damaged_file_is_set_aside_whole_told_and_told_no_more_once_it_is_taken_away(path: Path) -> None:
    damaged = holding(path, framed(b"one") + b"?" + framed(b"three"))
    one = await begun(path)
    (aside,) = one.aside
    assert aside.read_bytes() == damaged
    assert [str(aside) in warning for warning in one.warnings] == [True]
    await one.close()
    again = await begun(path)
    assert again.aside == (aside,)
    aside.unlink()
    await again.look()
    assert again.warnings == []
    await again.close()


async def test_a_folder_that_is_not_there_is_told_never_made_and_used_once_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "TRY_AGAIN_AFTER", timedelta(milliseconds=50))
    folder = tmp_path / "away"
    one = Journal(folder / "journal-pbx1", now)
    await one.begin()
    await one.adopt()
    one.put(1, b"one")
    assert not await one.written(SOON)
    assert one.trouble is not None
    assert not folder.exists()
    folder.mkdir()
    left = framed(b"of an earlier daemon")
    (folder / "journal-pbx1").write_bytes(left)  # the mount that was missing at the start
    await until(lambda: one.trouble is None, "the folder to be found")
    assert [path.read_bytes() for path in one.aside] == [left]
    await one.close()
    assert await records(folder / "journal-pbx1") == (b"one",)


async def test_a_full_disk_is_told_and_everything_live_is_written_once_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "TRY_AGAIN_AFTER", timedelta(milliseconds=50))
    folder = tmp_path / "small"
    folder.mkdir()
    with small_disk(folder, "64k") as disk:
        stuffing = disk / "stuffing"
        one = await begun(folder / "journal-pbx1")
        one.put("before", b"before")
        assert await one.written(SOON)
        fill(stuffing)
        for number in range(20):
            one.put(number, b"%d" % number * 1000)
        assert not await one.written(SOON)
        assert one.trouble is not None
        assert "No space left" in one.trouble
        assert "in memory alone" in one.warnings[0]
        one.forget(range(15))
        stuffing.unlink()
        await until(lambda: one.trouble is None, "the room to be noticed")
        one.put("after", b"after")
        assert await one.written(SOON)
        await one.close()
        kept = await records(folder / "journal-pbx1")
        assert [record[:2] for record in kept] == [b"be", b"15", b"16", b"17", b"18", b"19", b"af"]


async def test_a_put_whose_key_was_put_before_takes_its_place(made: Journal) -> None:
    made.put("seen", b"old")
    made.put(1, b"one")
    made.put("seen", b"new", lasting=True)
    assert await made.written(SOON)
    assert made.live == 2


def test_the_journal_lies_beside_sqlites_file_else_above_the_store_else_where_the_settings_say() -> None:
    store = Path("/srv/recordings")
    assert folder_of(None, "sqlite:////var/lib/recorder/a%20b.db", store) == Path("/var/lib/recorder")
    assert folder_of(None, "postgresql://recorder@db/recorder", store) == Path("/srv")
    assert folder_of(Path("/elsewhere"), "sqlite:////var/lib/recorder/catalogue.db", store) == Path("/elsewhere")
    assert file_of(Path("/srv"), "pbx1") == Path("/srv/journal-pbx1")
