"""What the browser tier shares: a Chromium and a centre for each worker, and a loud word where there is no Chromium.

The centre is shared by tests that look; a test that changes what others would see has people of its own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from recorder.catalogue.engine import Rooms
from recorder.daemon import reception
from tests.browser.scene import Scene, scene_at
from tests.browser.visits import NO_BROWSER, browser_program, chromium
from tests.edge.centre import UNHURRIED, ask_unhurried

HERE = Path(__file__).parent
LIMITS_OF_WORK = ("ADMITTED_WITHIN", "CONCLUDED_WITHIN", "RIGHT_READ_WITHIN", "HANDED_OVER_WITHIN")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    try:
        program = browser_program()
    except FileNotFoundError as error:
        raise pytest.UsageError(str(error)) from error
    if program is None:
        for item in items:
            if HERE in item.path.parents and "started" in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.skip(reason=NO_BROWSER))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    with suppress(FileNotFoundError):  # that was said
        if browser_program() is not None:
            return
        terminalreporter.section("NOT TRIED: the pages in a browser", red=True, bold=True)
        terminalreporter.write_line(NO_BROWSER)


@pytest.fixture(scope="session", autouse=True)
def _a_machine_may_stand_still() -> Iterator[None]:
    """As in tests/edge: beside a browser a catalogue may take longer than a caller may wait."""
    with pytest.MonkeyPatch.context() as patch:
        for limit in LIMITS_OF_WORK:
            patch.setattr(reception, limit, 2 * UNHURRIED)
        patch.setattr(Rooms, "ask", ask_unhurried)
        yield


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    async with scene_at(tmp_path_factory.mktemp("scene")) as made:
        yield made


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def started() -> AsyncIterator[Browser]:
    async with chromium() as browser:
        yield browser
