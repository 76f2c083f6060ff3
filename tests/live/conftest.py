"""One test PBX a release, started by the first test that needs it and removed at the end of the run.

A test that takes the fixture `house` runs on Asterisk 22; marked `asterisk16`, on 16 as well. `--asterisk 22` or 16
leaves only one of them. A failed test shows the end of Asterisk's log.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path

import pytest

from tests.pbx.admin import until
from tests.pbx.calls import Calls
from tests.pbx.server import HOST, PbxServer, free_port, remove_leftovers

_servers: dict[str, PbxServer] = {}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "release" not in metafunc.fixturenames:
        return
    only = metafunc.config.getoption("asterisk")
    theatre = getattr(metafunc.module, "THEATRE", None)
    if theatre is not None and "story" in metafunc.fixturenames:  # each story says whether it is also played on 16
        pairs = [(release, story) for release in ("22", "16") for story in theatre.cast_on(release)]
        metafunc.parametrize(
            ("release", "story"),
            [
                pytest.param(release, story, marks=[pytest.mark.asterisk16] if story.on_16 else [])
                for release, story in pairs
                if only in (None, release)
            ],
            ids=[f"{release}-{story.name}" for release, story in pairs if only in (None, release)],
        )
        return
    releases = ["22", "16"] if metafunc.definition.get_closest_marker("asterisk16") else ["22"]
    metafunc.parametrize("release", [release for release in releases if only in (None, release)])


HERE = Path(__file__).parent
LONGEST = ("test_doctor", "test_fallback", "test_transfers", "test_heard", "test_rivals", "test_keys", "test_upgrades")
"""Files that take minutes: begun first, so that no worker is left alone with one at the end."""
ALONE = ("test_doctor",)
"""Files whose tests share nothing, and wait long."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """For --dist loadgroup: what shares a cast that was played once, a file on a release, stays with one worker."""

    def begun(item: pytest.Item) -> int:
        return LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST)

    for item in items:
        if item.path.parent == HERE and item.path.stem not in ALONE:
            release = getattr(getattr(item, "callspec", None), "params", {}).get("release")
            item.add_marker(pytest.mark.xdist_group(f"{item.path.stem}-{release}"))
    items.sort(key=begun)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        for release, server in _servers.items():
            report.sections.append((f"Asterisk {release}", server.log_tail()))
    return report


@pytest.fixture(scope="session")
def servers() -> Iterator[dict[str, PbxServer]]:
    """The running servers by release; a server outlives the event loop of the test that started it."""
    asyncio.run(remove_leftovers())
    yield _servers
    for server in _servers.values():
        asyncio.run(server.stop())
    _servers.clear()


@pytest.fixture
async def house(release: str, servers: dict[str, PbxServer]) -> PbxServer:
    """The shared PBX of a release. Its `agi` address is nobody's until a test listens there."""
    if release not in servers:
        server = PbxServer(release=release, agi=f"{HOST}:{free_port()}")
        servers[release] = server
        await server.start()
    return servers[release]


@pytest.fixture
async def calls(house: PbxServer) -> AsyncIterator[Calls]:
    async with Calls(house) as placing:
        yield placing
    async with await house.admin() as admin:

        async def quiet() -> bool:
            return not await admin.channels()

        await until(quiet)
