"""Every page that the program has, in Chromium: wide and narrow, in both languages, with nothing that shuts people out.

The pages are the program's own routes: a new one is opened here by itself, or fails until it is said what it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import pytest
from playwright.async_api import Browser, Page

from recorder.http.api import PREFIX
from recorder.http.app import MONITORS
from recorder.http.door import COOKIE
from recorder.http.words import LANGUAGES
from tests.browser.scene import PEOPLE, Scene
from tests.browser.screenshots import FOLDER, SHOTS
from tests.browser.visits import DESK, TELEPHONE, Complaints, axe_on, codes_on, mistakes_on, visit
from tests.edge.test_http import routes_of, whole_app
from tests.edge.visitors import browser

pytestmark = pytest.mark.asyncio(loop_scope="session")

OTHERS: Final = {
    "/",  # leads to /live
    "/language/{language}",  # leads back
    "/static/{name}",
    "/live/changes",  # a stream
    "/calls/export",  # files
    "/calls/{call}/proof",
    "/searches/{search}",  # leads to the calls page
}
"""What answers a GET with something else than a page."""
OF_ANYONE: Final = {"/sign-in"}
OF_A_TALK: Final = "/live/{call}/override/{reason}"
"""A page of a call in progress, which is found from there."""


def pages() -> Iterator[str]:
    for route in routes_of(whole_app().routes):
        is_for_people = not route.path.startswith(PREFIX) and route.path not in MONITORS
        if "GET" in (route.methods or ()) and is_for_people and route.path not in {*OTHERS, OF_A_TALK}:
            yield route.path


PAGES: Final = sorted(pages())


def address(scene: Scene, path: str) -> str:
    """With something in each of its places."""
    unknown = set(re.findall(r"{(\w+)}", path)) - set(scene.places)
    assert not unknown, f"{path}: say in tests/browser/scene.py (Scene.places) what stands for {unknown}"
    return path.format(**scene.places)


async def opened(page: Page, path: str, seen: Complaints) -> None:
    """It is a page, and all of it is there."""
    answer = await page.goto(path, wait_until="load")
    assert answer is not None
    assert answer.headers["content-type"].startswith("text/html"), f"{path} is no page: name it in OTHERS"
    assert seen.said == []


async def who_may(scene: Scene, path: str) -> str | None:
    """The first who is shown it; nobody needs to be anybody for what is for anyone."""
    if path in OF_ANYONE:
        return None
    for name in PEOPLE:
        async with browser(scene.centre, Cookie=f"{COOKIE}={await scene.signed_in(name)}") as client:
            if (await client.get(path)).status_code == 200:
                return name
    raise AssertionError(f"nobody of the scene may open {path}")


async def test_there_are_pages_and_each_other_thing_is_a_route() -> None:
    assert len(PAGES) >= 13
    assert {route.path for route in routes_of(whole_app().routes)} >= OTHERS


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("path", PAGES)
async def test_a_page_is_whole_at_a_desk_and_on_a_telephone_and_shuts_nobody_out(
    scene: Scene, started: Browser, path: str, language: str
) -> None:
    where = address(scene, path)
    name = await who_may(scene, where)
    async with visit(started, scene, name, language) as page:
        seen = Complaints(page)
        for screen in (DESK, TELEPHONE):
            await page.set_viewport_size(screen)
            await opened(page, where, seen)
            assert await mistakes_on(page, language) == [], f"{path} at {screen['width']}"
        assert seen.said == []


@pytest.mark.parametrize("language", LANGUAGES)
async def test_the_page_that_asks_once_more_before_an_override_is_whole_too(
    scene: Scene, started: Browser, language: str
) -> None:
    talk = await scene.talks_on(keys="2")
    async with visit(started, scene, "alice", language) as page:
        seen = Complaints(page)
        await opened(page, "/live", seen)
        where = await page.locator('form[action*="/override/"]').first.get_attribute("action")
        assert where is not None
        for screen in (DESK, TELEPHONE):
            await page.set_viewport_size(screen)
            await opened(page, where, seen)
            assert await mistakes_on(page, language) == [], f"{where} at {screen['width']}"
        assert seen.said == []
    scene.hangs_up(talk)


@pytest.mark.parametrize("language", LANGUAGES)
async def test_what_cannot_be_had_is_said_on_a_page_that_shuts_nobody_out(
    scene: Scene, started: Browser, language: str
) -> None:
    async with visit(started, scene, "alice", language, viewport=TELEPHONE) as page:
        seen = Complaints(page)
        for path in ("/nowhere", "/calls", f"/own/{scene.calls['private']}"):
            await page.goto(path)
            assert await mistakes_on(page, language) == [], path
        seen.forgive("404", "403")
        assert seen.said == []


async def test_the_pictures_of_the_documents_are_those_that_the_command_makes() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == set(SHOTS)


# --------------------------------------------------------------------------- what finds it out finds it out

FINE: Final = '<html lang="en"><title>page</title><main><h1>Calls</h1> <button>Listen</button></main>'


@pytest.mark.parametrize(
    ("body", "mistake"),
    [
        (FINE, ""),
        (FINE.replace("Listen", '<i style="display:block;width:3000px">Listen</i>'), "wide on a screen of"),
        (FINE.replace('"en"', '"fr"'), "lang is fr"),
        (FINE.replace("<button>", "<h1>Two</h1><button>"), "2 h1"),
        (FINE.replace("Listen", "not_permitted"), "a code in place of words: not_permitted"),
        (FINE.replace("Listen", ""), "axe critical: button-name"),
        (
            FINE.replace("<button>", '<p style="color:#aaa;background:#fff">pale</p><button>'),
            "axe serious: color-contrast",
        ),
    ],
)
async def test_a_mistake_on_a_page_is_found(scene: Scene, started: Browser, body: str, mistake: str) -> None:
    async with visit(started, scene) as page:
        await page.set_content(body)
        found = await mistakes_on(page, "en")
    assert (found == []) if not mistake else any(mistake in one for one in found), found


async def test_what_a_page_may_not_do_is_heard_of(scene: Scene, started: Browser) -> None:
    """By the policy that each answer bears, and by what is not there."""
    async with visit(started, scene) as page:
        seen = Complaints(page)
        await page.goto("/sign-in")
        await page.evaluate(
            """async () => {
              for (const [name, of] of [["script", { src: "/static/none.js" }], ["style", { textContent: "p {}" }]]) {
                const made = Object.assign(document.createElement(name), of);
                const over = new Promise((done) => { made.onload = made.onerror = done; });
                document.head.append(made);
                await over;
              }
            }"""
        )
        seen.forgive("answer: 404 .*/static/none.js", "Content Security Policy")
        assert await codes_on(page) == []
        assert await axe_on(page) == []
