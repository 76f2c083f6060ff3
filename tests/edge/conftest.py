"""What the edge tests share: a catalogue's address on each engine, made by the real migrations."""

from __future__ import annotations

import asyncio
import gc
import shutil
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest

from recorder import catalogue
from recorder.catalogue import Catalogue
from recorder.catalogue.engine import Rooms
from recorder.daemon import reception
from tests import postgres
from tests.edge.centre import NUMBER_KEY, UNHURRIED, Centre, ask_unhurried
from tests.fakes.pbx import FakePbx

ENDS_WITHIN = 5.0
"""Seconds that a thread or socket may take to end by itself after its test."""
LIMITS_OF_WORK = {
    name: getattr(reception, name)
    for name in ("ADMITTED_WITHIN", "CONCLUDED_WITHIN", "RIGHT_READ_WITHIN", "HANDED_OVER_WITHIN")
}
ASK = Rooms.ask


def _sockets() -> set[str]:
    """Every socket that this process holds, by its inode."""
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # the listing's own, gone by now
            target = str(entry.readlink())
            if target.startswith("socket:"):
                found.add(f"{entry.name} {target}")
    return found


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    """No test leaves a thread or a socket behind. It is set up first and so ends last, after the test's own loop."""
    threads, sockets = set(threading.enumerate()), _sockets()
    yield
    deadline = time.monotonic() + ENDS_WITHIN
    while True:
        left = [thread.name for thread in threading.enumerate() if thread not in threads and thread.is_alive()]
        open_still = _sockets() - sockets
        if not left and not open_still:
            return
        if time.monotonic() > deadline:
            pytest.fail(f"left behind: threads {left}, sockets {sorted(open_still)}")
        gc.collect()
        time.sleep(0.02)


@pytest.fixture
async def no_task_left() -> AsyncIterator[None]:
    """For modules whose parts start tasks: none of them outlives its test."""
    before = asyncio.all_tasks()
    yield
    deadline = asyncio.get_running_loop().time() + ENDS_WITHIN
    while left := {task for task in asyncio.all_tasks() if not task.done()} - before - {asyncio.current_task()}:
        if asyncio.get_running_loop().time() > deadline:
            pytest.fail(f"tasks left behind: {sorted(task.get_name() for task in left)}")
        await asyncio.sleep(0.01)


@pytest.fixture(autouse=True)
def _a_machine_may_stand_still() -> Iterator[None]:
    """The catalogue's limits and, behind them, the reception's."""
    with pytest.MonkeyPatch.context() as patch:  # the test's own ends before `_nothing_left` looks
        for limit in LIMITS_OF_WORK:
            patch.setattr(reception, limit, 2 * UNHURRIED)
        patch.setattr(Rooms, "ask", ask_unhurried)
        yield


@pytest.fixture
def limits_of_work(monkeypatch: pytest.MonkeyPatch, _a_machine_may_stand_still: None) -> None:
    """For a test whose subject they are."""
    for limit, seconds in LIMITS_OF_WORK.items():
        monkeypatch.setattr(reception, limit, seconds)
    monkeypatch.setattr(Rooms, "ask", ASK)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.Server]:
    with postgres.running() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_template(postgres_server: postgres.Server) -> str:
    """A migrated database, copied for each test."""
    name = postgres_server.create()
    catalogue.upgrade(postgres_server.url(name))
    return name


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated file, copied for each test. WAL is written back when its last connection closes."""
    file = tmp_path_factory.mktemp("sqlite") / "catalogue.db"
    catalogue.upgrade(f"sqlite:///{file}")
    return file


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def engine_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def catalogue_url(engine_name: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a fresh, migrated catalogue, on each engine in turn."""
    if engine_name == "sqlite":
        file = tmp_path / "catalogue.db"
        shutil.copyfile(request.getfixturevalue("sqlite_template"), file)
        yield f"sqlite:///{file}"
        return
    server: postgres.Server = request.getfixturevalue("postgres_server")
    name = server.create(request.getfixturevalue("postgres_template"))
    yield server.url(name)
    server.drop(name)


@pytest.fixture
def empty_url(engine_name: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a database with nothing in it (SQLite: of a file that is not there)."""
    if engine_name == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
        return
    server: postgres.Server = request.getfixturevalue("postgres_server")
    name = server.create()
    yield server.url(name)
    server.drop(name)


@pytest.fixture
async def store(catalogue_url: str) -> AsyncIterator[Catalogue]:
    """An open catalogue."""
    opened = await catalogue.open_catalogue(catalogue_url)
    yield opened
    await opened.close()


@pytest.fixture
async def sqlite_centre(sqlite_template: Path, tmp_path: Path) -> AsyncIterator[Centre]:
    """A daemon that runs, on SQLite alone: for tests of what does not depend on the engine."""
    file = shutil.copyfile(sqlite_template, tmp_path / "catalogue.db")
    async with AsyncExitStack() as closing:
        made = Centre(await closing.enter_async_context(FakePbx()), tmp_path, f"sqlite:///{file}")
        closing.push_async_callback(made.kill)
        await made.start()
        yield made


@pytest.fixture
async def numbered_centre(sqlite_template: Path, tmp_path: Path) -> AsyncIterator[Centre]:
    """The same, with the key of numbers."""
    file = shutil.copyfile(sqlite_template, tmp_path / "catalogue.db")
    key_file = tmp_path / "number.key"
    key_file.write_bytes(NUMBER_KEY.secret)
    key_file.chmod(0o600)
    numbers = {"key_file": key_file, "region": NUMBER_KEY.region}
    async with AsyncExitStack() as closing:
        pbx = await closing.enter_async_context(FakePbx())
        made = Centre(pbx, tmp_path, f"sqlite:///{file}", numbers=numbers)
        closing.push_async_callback(made.kill)
        await made.start()
        yield made
