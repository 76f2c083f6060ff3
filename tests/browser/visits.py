"""Chromium as the tests and the screenshots have it: where it is, how it is started, and what may be wrong on a page.

Must not know a page of ours by name.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import (
    Browser,
    ConsoleMessage,
    Locator,
    Page,
    Request,
    Response,
    ViewportSize,
    async_playwright,
    expect,
)

from recorder.http.door import COOKIE
from recorder.http.pages import LANGUAGE_COOKIE
from tests.browser.scene import Scene

VARIABLE: Final = "RECORDER_BROWSER"
NO_BROWSER: Final = (
    f"there is no Chromium: Debian has the package chromium; elsewhere name one in {VARIABLE}, such as"
    f" {VARIABLE}=/usr/bin/google-chrome (a snap cannot read the profile that it is given)"
)
SWITCHES: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--autoplay-policy=no-user-gesture-required",
)
DESK: Final[ViewportSize] = {"width": 1280, "height": 900}
TELEPHONE: Final[ViewportSize] = {"width": 390, "height": 844}
GRAVE: Final = ("serious", "critical")
TABS_MOST: Final = 150
PATIENCE: Final = 20_000
"""Milliseconds for what has no limit of its own: on a full machine a password alone takes seconds."""
expect.set_options(timeout=PATIENCE)
CODE_WORDS = """() => {
  const copy = document.body.cloneNode(true);
  copy.querySelectorAll("code, script, [lang], time, option:not([selected])").forEach((one) => one.remove());
  return copy.textContent;
}"""


def browser_program() -> str | None:
    """What RECORDER_BROWSER names, or Debian's Chromium; None where there is neither."""
    named = os.environ.get(VARIABLE)
    if named:
        if shutil.which(named) is None:
            raise FileNotFoundError(f"{VARIABLE} names {named}, which is no program")
        return named
    found = shutil.which("chromium")
    return None if found is None or "snap" in Path(found).resolve().parts else found


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """One that has just been started, with an empty profile."""
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(executable_path=browser_program(), args=list(SWITCHES))
        yield started
        await started.close()


@asynccontextmanager
async def visit(
    started: Browser, scene: Scene, name: str | None = None, language: str = "en", **said: Any
) -> AsyncIterator[Page]:
    """A page of somebody's own browser, who is signed in where they have a name. It has nothing of anybody before."""
    context = await started.new_context(
        base_url=scene.at, viewport=said.pop("viewport", DESK), locale=f"{language}-CA", reduced_motion="reduce", **said
    )
    kept = {LANGUAGE_COOKIE: language}
    if name is not None:
        kept[COOKIE] = await scene.signed_in(name)
    await context.add_cookies([{"name": key, "value": value, "url": scene.at} for key, value in kept.items()])
    page = await context.new_page()
    page.set_default_timeout(PATIENCE)
    try:
        yield page
    finally:
        await context.close()


class Complaints:
    """What went wrong on a page by its own word: of its console, of its scripts, and of what it asked for."""

    def __init__(self, page: Page) -> None:
        self.said: list[str] = []
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.said.append(f"script: {error}"))
        page.on("requestfailed", self._failed)
        page.on("response", self._answered)

    def _console(self, line: ConsoleMessage) -> None:
        if line.type in ("error", "warning"):
            self.said.append(f"console: {line.text}")

    def _failed(self, request: Request) -> None:
        """Whoever leaves a page breaks off what it was still reading."""
        if request.failure != "net::ERR_ABORTED":
            self.said.append(f"request: {request.method} {request.url} {request.failure}")

    def _answered(self, response: Response) -> None:
        if response.status >= 400:
            self.said.append(f"answer: {response.status} {response.url}")

    def forgive(self, *patterns: str) -> None:
        """What had to be said. One that was not is a mistake of the test's."""
        for pattern in patterns:
            assert any(re.search(pattern, line) for line in self.said), (pattern, self.said)
        self.said = [line for line in self.said if not any(re.search(pattern, line) for pattern in patterns)]


async def mistakes_on(page: Page, language: str) -> list[str]:
    """Whatever keeps people from using the page as it stands, at the width that it has."""
    found: list[str] = []
    wide, seen = await page.evaluate("() => [document.documentElement.scrollWidth, innerWidth]")
    if wide > seen:
        found.append(f"{wide} wide on a screen of {seen}: {await _too_wide(page)}")
    if (spoken := await page.locator("html").get_attribute("lang")) != language:
        found.append(f"lang is {spoken}")
    if (headings := await page.locator("h1").count()) != 1:
        found.append(f"{headings} h1")
    found += [f"a code in place of words: {code}" for code in await codes_on(page)]
    return found + await axe_on(page)


async def _too_wide(page: Page) -> str:
    told: str = await page.evaluate(
        "() => [...document.querySelectorAll('body *')].filter((one) => one.getBoundingClientRect().right > innerWidth)"
        ".slice(-1).map((one) => one.outerHTML.slice(0, 200)).join()"
    )
    return told


async def codes_on(page: Page) -> list[str]:
    """Words of the program's own, as no language writes them."""
    return re.findall(r"[a-z]+_[a-z_]+", await page.evaluate(CODE_WORDS))


async def axe_on(page: Page) -> list[str]:
    """What axe calls serious or critical, each with the first place."""
    result = await Axe().run(page)
    grave = [one for one in result.response["violations"] if one["impact"] in GRAVE]
    return [f"axe {one['impact']}: {one['id']}: {_first_of(one['nodes'])}" for one in grave]


def _first_of(nodes: list[dict[str, Any]]) -> str:
    return f"{nodes[0]['html'][:200]} ({nodes[0].get('failureSummary', '')})"


async def reach(page: Page, wanted: Locator) -> None:
    """Go there by the Tab key alone."""
    for _ in range(TABS_MOST):
        if await wanted.evaluate("(one) => one === document.activeElement"):
            return
        await page.keyboard.press("Tab")
    raise AssertionError(f"no Tab leads to {wanted}")


async def press(page: Page, wanted: Locator, key: str = "Enter") -> None:
    await reach(page, wanted)
    await page.keyboard.press(key)


async def write(page: Page, wanted: Locator, text: str) -> None:
    await reach(page, wanted)
    await page.keyboard.type(text)
