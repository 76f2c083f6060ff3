"""The local journal beside a real Asterisk: the catalogue is away, the daemon is killed, and nothing else knows."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.live.stage import Stage, stage
from tests.pbx import tones
from tests.pbx.calls import Call
from tests.pbx.party import HangUp, Press, Say, Script, Until, UntilBridged, UntilPrompt, Wait
from tests.stories import AGENT, CALLER, HEARD, LEFT

pytestmark = [pytest.mark.live, pytest.mark.fault]

AGREES: Script = (Say(CALLER), UntilPrompt(), Wait(HEARD), Press("1"), UntilBridged())


@asynccontextmanager
async def locked(on: Stage) -> AsyncIterator[None]:
    """Nobody else can write the catalogue meanwhile."""
    database = on.recorder.catalogue.removeprefix("sqlite:///")
    holds = f"c=sqlite3.connect({database!r}, isolation_level=None); c.execute('BEGIN IMMEDIATE')"
    holder = await asyncio.create_subprocess_exec(
        "python3",
        "-c",
        f"import sqlite3,sys; {holds}; print('held', flush=True); sys.stdin.readline()",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert holder.stdin is not None
    assert await holder.stdout.readline() == b"held\n"
    try:
        yield
    finally:
        holder.stdin.close()
        await holder.wait()


@pytest.mark.parametrize(
    ("key", "confirmed", "outcome"),
    [("*81", "MixMonitorMute", "recorded"), ("*9", "MixMonitorStop", "declined")],
    ids=["paused", "withdrawn"],
)
async def test_what_was_pressed_before_a_sigkill_holds_although_only_the_journal_had_it(
    release: str, monkeypatch: pytest.MonkeyPatch, key: str, confirmed: str, outcome: str
) -> None:
    monkeypatch.setenv("RECORDER_PBX__QUEUE_LOG", "")  # which would tell of the key
    async with stage(release) as on:
        presses: Script = (Say(AGENT), UntilBridged(), Until("Go", 120), Press(key), Wait(90))
        call = await on.calls.incoming("support", (*AGREES, Until("End", 150), Wait(1), HangUp()), presses)
        await call.placed.until_bridged()
        await on.recorder.until(lambda: "talking, capturing" in states(on), "the capture", timeout=60)
        async with locked(on):
            await tell(on, call, "Go")
            await on.calls.admin.until(confirmed, since=call.placed.since, timeout=60)
            on.recorder.send(signal.SIGKILL)
        on.recorder.launch()
        await on.recorder.until(lambda: on.recorder.get("/readyz")[0] == 200, "the next daemon", timeout=120)
        await tell(on, call, "End")
        await call.until_ended(timeout=120)
        (row,) = await on.closed(1, timeout=60)
        assert row.outcome == outcome
        paths = await on.settled_paths(row)
        if outcome == "declined":
            assert (paths, on.staged(), list(on.recorder.recordings.rglob("*.wav"))) == ([], [], [])
            return
        (recording,) = await on.recorder.settled()
        (silence,) = recording.silences
        assert silence.cause == "pause"
        sound = tones.read(paths[0])
        assert not sound.samples[round(silence.from_seconds * sound.rate) :].any()
        assert tones.seconds_of(tones.stretches(paths[0], LEFT, CALLER)) > silence.from_seconds - 0.5


def states(on: Stage) -> list[str]:
    _, status = on.recorder.get("/status")
    return [call["state"] for call in status["calls"]] if status else []


async def tell(on: Stage, call: Call, name: str) -> None:
    """What a party's script waits for: an event of its call by this name."""
    await on.calls.admin.action("UserEvent", {"UserEvent": name, "Linkedid": call.linkedid})
