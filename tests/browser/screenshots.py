"""`./dev screenshots`: the pictures of docs/pages.md anew, of the scene that the browser tests look at.

Its times are those of the scene, so that a picture changes where its page does; what depends on the machine (free room,
versions, the seconds of a call in progress) is all that differs otherwise.
"""

from __future__ import annotations

import asyncio
import base64
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

import structlog
from playwright.async_api import Browser, Page, expect

from tests.browser.scene import Scene, scene_at
from tests.browser.visits import NO_BROWSER, browser_program, chromium, visit

FOLDER: Final = Path(__file__).parents[2] / "docs" / "pages"
WIDE: Final = 1280
TALLEST: Final = 1250
"""What is further down on a page is not shown."""
QUALITY: Final = 70


async def as_it_is(_page: Page, _scene: Scene) -> None: ...


async def listening(page: Page, scene: Scene) -> None:
    """Its recording is open, and stands somewhere in the middle."""
    form = page.locator(f"form[action='/recordings/{scene.recordings['heard']}/listen']")
    await form.locator("textarea[name=explanation]").fill("coaching of the week")
    await form.locator("button").click()
    await expect(page.locator("#waveform path.caller")).to_be_attached()
    for _ in range(3):
        await page.locator("#waveform").press("ArrowRight")
    await expect(page.locator("#clock")).to_contain_text("0:15")


async def told(page: Page, _scene: Scene) -> None:
    await expect(page.locator("#link")).not_to_be_empty()


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """A page as somebody sees it; `path` has a name of a call of the scene in its place."""

    path: str
    who: str | None
    language: str = "en"
    first: Callable[[Page, Scene], Awaitable[None]] = as_it_is


# The calls in progress first: no sound is written to their files, and the daemon finds that out within seconds.
SHOTS: Final[dict[str, Shot]] = {
    "live": Shot(path="/live", who="alice", first=told),
    "live.fr": Shot(path="/live", who="alice", language="fr", first=told),
    "sign_in": Shot(path="/sign-in", who=None),
    "own": Shot(path="/own", who="alice"),
    "own_call": Shot(path="/own/{heard}", who="alice"),
    "own_call.fr": Shot(path="/own/{heard}", who="alice", language="fr"),
    "contests": Shot(path="/contests", who="paul"),
    "calls": Shot(path="/calls", who="sam"),
    "call": Shot(path="/calls/{overridden}", who="paul"),
    "player": Shot(path="/calls/{heard}", who="carla", first=listening),
    "player.fr": Shot(path="/calls/{heard}", who="carla", language="fr", first=listening),
    "listening": Shot(path="/listening", who="sam"),
    "figures": Shot(path="/figures", who="sam"),
    "system": Shot(path="/system", who="ada"),
    "users": Shot(path="/users", who="ada"),
}


async def take(started: Browser, scene: Scene, shot: Shot) -> bytes:
    """WebP, which Chromium makes itself: a tenth of a PNG's size."""
    async with visit(started, scene, shot.who, shot.language) as page:
        await page.goto(shot.path.format(**scene.calls))
        await shot.first(page, scene)
        tall = await page.evaluate("document.body.scrollHeight")
        clip = {"x": 0, "y": 0, "width": WIDE, "height": min(tall, TALLEST), "scale": 1}
        session = await page.context.new_cdp_session(page)
        said = {"format": "webp", "quality": QUALITY, "captureBeyondViewport": True, "clip": clip}
        picture = await session.send("Page.captureScreenshot", said)
        return base64.b64decode(picture["data"])


async def make(folder: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="recorder-pages-") as home:
        async with scene_at(Path(home)) as scene, chromium() as started:
            for name, shot in SHOTS.items():
                picture = await take(started, scene, shot)
                (folder / f"{name}.webp").write_bytes(picture)
                print(f"{name}.webp  {len(picture) / 1000:.0f} kB")


def drop(_logger: object, _method: str, _event: object) -> NoReturn:
    """What the daemon logs is not what somebody who takes pictures wants to read."""
    raise structlog.DropEvent


def main() -> int:
    if browser_program() is None:
        print(NO_BROWSER, file=sys.stderr)
        return 1
    os.environ["TZ"] = "UTC"
    time.tzset()
    structlog.configure(processors=[drop])
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    asyncio.run(make(folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
