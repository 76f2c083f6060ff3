"""The dialplan asks while the daemon is dead or frozen, on a real Asterisk; what it permitted is recorded later."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path, PurePosixPath

import pytest

from recorder.fallback_file import put_together
from recorder.prompts import load
from recorder.settings import settings_from
from tests.live.stage import Stage, stage
from tests.pbx import tones
from tests.pbx.party import Say
from tests.stories import AGENT, agrees, both_from_the_bridge_on

pytestmark = [pytest.mark.live, pytest.mark.fault]

LINES: Mapping[str, Mapping[str, object]] = {
    "support": {
        "consent": "opt_in",
        "languages": ["en", "fr"],
        "answer_seconds": 2,
        "retries": 1,
        "fallback": "dialplan",
    },
}


@asynccontextmanager
async def away(release: str, lines: Mapping[str, Mapping[str, object]] = LINES) -> AsyncIterator[Stage]:
    """A stage whose PBX has what `recorder init` writes for these lines, and no daemon any more."""
    async with stage(release, lines=lines) as on:
        await write_fallback(on, release)
        await on.recorder.stop()
        yield on


async def write_fallback(on: Stage, release: str) -> None:
    settings = settings_from(on.recorder.config.read_text(), {}, source="recorder.toml")
    lines = [rules for rules in settings.rules().values() if rules.asked_without_us]
    prompts = load(settings.prompts.here, settings.prompts.path)
    made = put_together(lines, prompts, spool=PurePosixPath(settings.capture.spool), version=release)
    assert made.problems == ()
    etc = on.pbx.base / "etc"
    (etc / "extensions_recorder_fallback.conf").write_text(made.text)
    with (etc / "extensions.conf").open("a") as house:
        house.write("\n#include extensions_recorder_fallback.conf\n")
    await on.calls.admin.command("dialplan reload")


async def the_recording(on: Stage, outcome: str = "recorded") -> Path:
    """The one call's one settled file, after its outcome."""
    (row,) = await on.closed(1)
    assert (row.outcome, row.reason) == (outcome, None), on.recorder.log_tail()
    (path,) = await on.settled_paths(row)
    await on.recorder.until(lambda: not on.staged(), "the spool to be empty")
    return path


async def test_a_yes_to_the_dialplan_is_recorded_once_the_daemon_is_back(release: str) -> None:
    async with away(release) as on:
        call = await on.calls.incoming("support", agrees(then=5), (Say(AGENT),))
        await call.until_ended()
        on.recorder.launch()
        path = await the_recording(on)
        assert both_from_the_bridge_on(path) == []
        assert tones.read(path).seconds > 4.5
