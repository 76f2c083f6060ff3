"""The catalogue lets nobody wait beyond their limit, and what missed its time is not written behind their back."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import Connection, text

from recorder.catalogue import Catalogue, CatalogueAway, CatalogueRefused, SavedSearch, open_catalogue, writing
from recorder.catalogue.engine import Rooms, Ticket, url_of
from recorder.model import CallId, ConsentState
from tests import facts, postgres
from tests.facts import NODE, NOON
from tests.small_disk import small_disk

pytestmark = pytest.mark.usefixtures("limits_of_work")
SHORT = timedelta(seconds=0.3)
LONG = timedelta(seconds=10)
ONLY_SQLITE = pytest.mark.parametrize("engine_name", ["sqlite"])


@contextmanager
def ends_within(seconds: float) -> Iterator[None]:
    started = time.monotonic()
    yield
    assert time.monotonic() - started < seconds


async def say(store: Catalogue, statement: str) -> None:
    def work(connection: Connection) -> None:
        connection.execute(text(statement))

    await store.write(work, LONG)


def opening(call: CallId) -> Callable[[Connection], bool]:
    """A step as the catalogue writes it, to be run by a test inside the writing thread."""
    told = (facts.opened(call), facts.leg(call))
    return lambda connection: writing.write_step(connection, call, told, facts.step(1), "waiting", ConsentState.NONE)


async def write_opening(store: Catalogue, call: CallId, within: timedelta = LONG) -> bool:
    return await store.write(opening(call), within)


# --------------------------------------------------------------------------- a limit on everything


async def test_work_whose_time_is_up_before_its_commit_is_rolled_back(store: Catalogue) -> None:
    call, release = facts.new_call(), threading.Event()

    def slow(connection: Connection) -> None:
        opening(call)(connection)
        release.wait(20)

    with ends_within(1), pytest.raises(CatalogueAway) as caught:
        await store.write(slow, SHORT)
    release.set()

    assert caught.value.may_land is False
    await store.ping(NODE, NOON, LONG)  # behind it in the same thread
    assert await store.one_call(call) is None


async def test_work_that_waits_behind_another_until_its_time_is_up_is_never_begun(store: Catalogue) -> None:
    call, begun, release = facts.new_call(), threading.Event(), threading.Event()

    def slow(_connection: Connection) -> None:
        begun.set()
        release.wait(20)

    first = asyncio.create_task(store.write(slow, LONG))
    await asyncio.to_thread(begun.wait, 5)
    with pytest.raises(CatalogueAway) as caught:
        await write_opening(store, call, SHORT)
    release.set()
    await first

    assert caught.value.may_land is False
    await store.ping(NODE, NOON, LONG)
    assert await store.one_call(call) is None


ENDLESS = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 50000000) SELECT count(*) FROM n",
    "postgres": "SELECT pg_sleep(4)",
}


async def test_where_more_is_asked_than_can_be_done_what_is_begun_is_not_in_vain(store: Catalogue) -> None:
    """Half as much again as can be written, for two seconds: served in turn, each would begin when its time is over."""
    begun, landed = 0, 0

    def write(connection: Connection) -> None:
        nonlocal begun
        begun += 1
        opening(facts.new_call())(connection)
        time.sleep(0.03)

    async def ask() -> None:
        nonlocal landed
        with suppress(CatalogueAway):
            await store.write(write, SHORT)
            landed += 1

    asked = []
    for _ in range(100):
        asked.append(asyncio.create_task(ask()))
        await asyncio.sleep(0.02)
    await asyncio.gather(*asked)
    assert landed < len(asked)  # else nobody waited
    assert landed > 0.7 * begun


async def test_what_hangs_in_the_database_is_cut_off_and_the_next_in_turn_goes_on(
    store: Catalogue, engine_name: str
) -> None:
    with ends_within(1), pytest.raises(CatalogueAway) as caught:
        await store.write(lambda connection: connection.execute(text(ENDLESS[engine_name])).scalar(), SHORT)
    with ends_within(1.5):
        await store.ping(NODE, NOON)

    assert caught.value.may_land is False


async def test_readers_go_on_while_a_writer_is_stuck(store: Catalogue) -> None:
    begun, release = threading.Event(), threading.Event()

    def slow(connection: Connection) -> None:
        opening(facts.new_call())(connection)
        begun.set()
        release.wait(20)

    writer = asyncio.create_task(store.write(slow, LONG))
    await asyncio.to_thread(begun.wait, 5)
    assert await store.list_calls(9) == ()
    release.set()
    await writer


async def test_a_reader_cannot_write(store: Catalogue) -> None:
    with pytest.raises(CatalogueAway):
        await store.read(opening(facts.new_call()))


async def test_a_cancelled_task_does_not_take_its_write_back(store: Catalogue) -> None:
    call, begun, release = facts.new_call(), threading.Event(), threading.Event()

    def slow(connection: Connection) -> None:
        begun.set()
        release.wait(20)
        opening(call)(connection)

    writer = asyncio.create_task(store.write(slow, LONG))
    await asyncio.to_thread(begun.wait, 5)
    writer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writer
    release.set()

    await store.ping(NODE, NOON, LONG)
    assert await store.one_call(call) is not None


async def test_more_requests_than_the_bound_are_away_at_once(catalogue_url: str) -> None:
    store = Catalogue(Rooms(url_of(catalogue_url), waiting_most=2))
    release = threading.Event()
    held = [asyncio.create_task(store.write(lambda _connection: release.wait(20), LONG)) for _ in range(2)]
    await asyncio.sleep(0)

    assert store.waiting == 2
    with ends_within(0.5), pytest.raises(CatalogueAway, match="waiting"):
        await store.ping(NODE, NOON)
    release.set()
    await asyncio.gather(*held)
    await store.close()


async def test_closing_finishes_what_was_asked_for_and_leaves_no_thread(catalogue_url: str) -> None:
    store = await open_catalogue(catalogue_url)
    call = facts.new_call()
    writer = asyncio.create_task(write_opening(store, call))
    await asyncio.sleep(0)
    await store.close()

    assert await writer
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("catalogue")]


def test_exactly_one_of_giving_up_and_committing_comes_first() -> None:
    gave_up, committed = Ticket(SHORT), Ticket(SHORT)
    committed.before_commit()

    assert gave_up.give_up() is False
    with pytest.raises(CatalogueAway):
        gave_up.before_commit()
    assert committed.give_up() is True


# --------------------------------------------------------------------------- SQLite in trouble


@ONLY_SQLITE
async def test_a_file_locked_by_another_is_away_in_time_and_back_when_it_is_free(
    store: Catalogue, catalogue_url: str
) -> None:
    call = facts.new_call()
    with closing(sqlite3.connect(file_of(catalogue_url), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with ends_within(1.5), pytest.raises(CatalogueAway, match="locked") as caught:
            await write_opening(store, call, timedelta(seconds=1))
        assert await store.list_calls(9) == ()
        other.execute("ROLLBACK")

    assert caught.value.may_land is False
    assert await write_opening(store, call)


@ONLY_SQLITE
async def test_a_write_has_the_file_to_itself_from_its_beginning(store: Catalogue, catalogue_url: str) -> None:
    def work(connection: Connection) -> None:
        connection.execute(text("SELECT count(*) FROM calls"))  # only looked, and yet:
        with (
            closing(sqlite3.connect(file_of(catalogue_url), isolation_level=None, timeout=0)) as other,
            pytest.raises(sqlite3.OperationalError, match="locked"),
        ):
            other.execute("BEGIN IMMEDIATE")

    await store.write(work, LONG)


@ONLY_SQLITE
async def test_a_file_that_was_removed_takes_no_more_writes(store: Catalogue, catalogue_url: str) -> None:
    await store.ping(NODE, NOON)
    file_of(catalogue_url).unlink()

    with pytest.raises(CatalogueAway):
        await store.ping(NODE, NOON)


@ONLY_SQLITE
async def test_a_file_that_was_replaced_takes_no_more_writes(store: Catalogue, catalogue_url: str) -> None:
    file = file_of(catalogue_url)
    await store.ping(NODE, NOON)
    shutil.copy(file, file.with_suffix(".copy"))
    file.with_suffix(".copy").replace(file)

    with pytest.raises(CatalogueAway, match="replaced"):
        await store.ping(NODE, NOON)


@ONLY_SQLITE
async def test_a_damaged_file_is_away_and_is_left_as_it_is(catalogue_url: str) -> None:
    file = file_of(catalogue_url)
    file.write_bytes(b"not a database" * 1000)

    with pytest.raises(CatalogueAway):
        await open_catalogue(catalogue_url)
    assert file.read_bytes() == b"not a database" * 1000


@ONLY_SQLITE
async def test_what_is_committed_survives_power_loss_by_settings(store: Catalogue) -> None:
    def settings(connection: Connection) -> list[object]:
        names = ("journal_mode", "synchronous", "foreign_keys")
        return [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names]

    assert await store.write(settings) == ["wal", 2, 1]


@pytest.fixture
def cramped_disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", "2m") as place:
        yield place


@pytest.fixture
async def store_on_small_disk(cramped_disk: Path, sqlite_template: Path) -> AsyncIterator[Catalogue]:
    shutil.copyfile(sqlite_template, cramped_disk / "catalogue.db")
    # A file open for writing would keep the filesystem from turning read-only: nothing is open before a request.
    opened = Catalogue(Rooms(url_of(f"sqlite:///{cramped_disk / 'catalogue.db'}")))
    yield opened
    await opened.close()


def remount(place: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", place], check=True)


def fill(ballast: Path) -> None:
    """Write to `ballast` until the filesystem has no space left."""
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(b"x" * 4096):
            pass


@pytest.mark.fault
async def test_a_filesystem_that_turned_read_only_is_away_and_back(
    store_on_small_disk: Catalogue, cramped_disk: Path
) -> None:
    call = facts.new_call()
    remount(cramped_disk, "ro")
    with ends_within(1.5), pytest.raises(CatalogueAway) as caught:
        await write_opening(store_on_small_disk, call, timedelta(seconds=1))
    remount(cramped_disk, "rw")

    assert caught.value.may_land is False
    assert await write_opening(store_on_small_disk, call)


@pytest.mark.fault
async def test_a_full_disk_is_away_and_back_when_there_is_space(
    store_on_small_disk: Catalogue, cramped_disk: Path
) -> None:
    call, ballast = facts.new_call(), cramped_disk / "ballast"
    await store_on_small_disk.ping(NODE, NOON)
    fill(ballast)

    with pytest.raises(CatalogueAway):
        await write_opening(store_on_small_disk, call)
    ballast.unlink()

    assert await write_opening(store_on_small_disk, call)


def file_of(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))


# --------------------------------------------------------------------------- killed in the middle

KILLED = """
import asyncio, os, signal, sys
from recorder.catalogue import open_catalogue
from sqlalchemy import text

async def main():
    store = await open_catalogue(sys.argv[1])
    def work(connection):
        connection.execute(text("INSERT INTO sweeps (node, name, last_ok_at) VALUES ('pbx1', 'half', '2026-03-02')"))
        os.kill(os.getpid(), signal.SIGKILL)
    await store.ping("pbx1", __import__("datetime").datetime.now(__import__("datetime").UTC))
    await store.write(work)

asyncio.run(main())
"""


@pytest.mark.fault
async def test_a_process_killed_inside_a_transaction_leaves_what_it_committed_and_no_half(catalogue_url: str) -> None:
    killed = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", KILLED, catalogue_url], check=False, capture_output=True
    )
    store = await open_catalogue(catalogue_url)

    assert killed.returncode == -9, killed.stderr
    assert await store.bookmark(NODE, "ready") is not None
    assert await store.sweep_marks(NODE) == {}
    await store.ping(NODE, NOON)
    await store.close()


# --------------------------------------------------------------------------- PostgreSQL in trouble


@pytest.fixture
def frozen(postgres_server: postgres.Server) -> Iterator[Callable[[], None]]:
    """Freezes the server when called; it thaws at the end of the test at the latest."""
    yield postgres_server.freeze
    postgres_server.thaw()


@pytest.mark.postgres
@pytest.mark.fault
@pytest.mark.parametrize("engine_name", ["postgres"])
@pytest.mark.parametrize("connected", [True, False], ids=["connected", "not yet connected"])
async def test_a_frozen_server_is_away_within_the_limit_and_back_when_it_thaws(
    store: Catalogue, postgres_server: postgres.Server, frozen: Callable[[], None], connected: bool
) -> None:
    call = facts.new_call()
    if connected:
        await store.ping(NODE, NOON, LONG)
        await store.list_calls(9)
    frozen()

    for _ in range(2):
        with ends_within(1.3), pytest.raises(CatalogueAway) as caught:
            await write_opening(store, call, timedelta(seconds=1))
        assert caught.value.may_land is False
    with ends_within(1.3), pytest.raises(CatalogueAway):
        await store.list_calls(9, within=timedelta(seconds=1))
    postgres_server.thaw()

    assert await write_opening(store, call) is True
    assert [row.id for row in await store.list_calls(9)] == [call]


@pytest.mark.postgres
@pytest.mark.fault
@pytest.mark.parametrize("engine_name", ["postgres"])
async def test_a_frozen_server_is_away_when_the_catalogue_is_opened(
    catalogue_url: str, postgres_server: postgres.Server, frozen: Callable[[], None]
) -> None:
    frozen()
    with ends_within(1.5), pytest.raises(CatalogueAway):
        await open_catalogue(catalogue_url, timedelta(seconds=1))
    postgres_server.thaw()


@pytest.mark.postgres
@pytest.mark.fault
@pytest.mark.parametrize("engine_name", ["postgres"])
async def test_a_connection_that_died_meanwhile_is_replaced_unnoticed(store: Catalogue, catalogue_url: str) -> None:
    await store.ping(NODE, NOON)
    await store.list_calls(9)
    end_others(catalogue_url)

    await store.ping(NODE, NOON)
    assert await store.list_calls(9) == ()


def end_others(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


SLOW_COMMIT = """
CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(1); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER linger AFTER INSERT ON call_events DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION linger();
"""


@pytest.mark.postgres
@pytest.mark.fault
@pytest.mark.parametrize("engine_name", ["postgres"])
async def test_a_write_cut_off_in_its_commit_may_land_and_saying_it_again_settles_the_matter(store: Catalogue) -> None:
    call = facts.new_call()
    await say(store, SLOW_COMMIT)

    with ends_within(1), pytest.raises(CatalogueAway) as caught:
        await write_opening(store, call, SHORT)
    again = await write_opening(store, call)

    assert caught.value.may_land is True
    assert again is False, "it had landed"
    whole = await store.one_call(call)
    assert whole is not None
    assert len(whole.journal) == 1


@pytest.mark.postgres
@pytest.mark.parametrize("engine_name", ["postgres"])
async def test_the_daemons_own_account_can_add_to_what_is_append_only_and_no_more(
    catalogue_url: str,
) -> None:
    grant(catalogue_url, "recorder_app")
    store = await open_catalogue(catalogue_url.replace("postgres@", "recorder_app@"))
    call = facts.new_call()
    event = facts.answered(call)

    await store.write_step(
        call, [facts.opened(call), facts.leg(call), event, facts.authorised(event)], facts.step(1), "armed", event.after
    )
    await store.ping(NODE, NOON)
    for statement in (
        "UPDATE audit SET actor = 'x'",
        "DELETE FROM consent_events",
        "TRUNCATE call_events",
        "DELETE FROM recordings",
        "ALTER TABLE audit DISABLE TRIGGER ALL",
        "DROP TABLE audit",
    ):
        with pytest.raises((CatalogueAway, CatalogueRefused), match=r"permission denied|must be owner"):
            await say(store, statement)
    await store.close()


@pytest.mark.postgres
@pytest.mark.parametrize("engine_name", ["postgres"])
async def test_the_daemons_own_account_removes_saved_searches_and_no_comment(catalogue_url: str) -> None:
    grant(catalogue_url, "recorder_app")
    store = await open_catalogue(catalogue_url.replace("postgres@", "recorder_app@"))
    await store.write_comment(facts.comment_act())
    await store.save_search(search := SavedSearch(id=uuid4(), user="lena", name="kept", sought={}))
    assert await store.remove_search("lena", search.id)
    with pytest.raises((CatalogueAway, CatalogueRefused), match="permission denied"):
        await say(store, "DELETE FROM comments")
    await store.close()


def grant(url: str, account: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        exists = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (account,)).fetchone()
        if not exists:
            connection.execute(f"CREATE ROLE {account} LOGIN".encode())
    script = Path(__file__).parents[2] / "db" / "grants.sql"
    psql = (postgres.programs() or Path()) / "psql"
    subprocess.run([psql, "-q", "-v", f"app={account}", "-f", script, url], check=True, capture_output=True)
