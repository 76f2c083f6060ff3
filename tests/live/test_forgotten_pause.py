"""A pause that lasts longer than its line allows, on a real Asterisk: the agent hears of it, and nobody else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.live.stage import Stage, stage
from tests.pbx import tones
from tests.pbx.party import HangUp, Press, Say, Script, Until, UntilBridged, UntilPrompt, Wait
from tests.stories import HEARD

pytestmark = [pytest.mark.live, pytest.mark.asterisk16]

FALLING = (1000, 600)
LINES: Mapping[str, Mapping[str, object]] = {
    "support": {"consent": "opt_in", "answer_seconds": 2, "retries": 1, "pause_longest_seconds": 10},
}
# A permitted listener, whose own channel is no call of ours, writes down what passes over the channel named to it.
EARS = """
[ear]
exten => _[ac].,1,Answer()
 same => n,MixMonitor(@BASE@/spool/heard-by-${EXTEN}.wav)
 same => n,ChanSpy(${GLOBAL(EAR_${EXTEN})},qE)
 same => n,StopMixMonitor()
"""
AGREES: Script = (UntilPrompt(), Wait(HEARD), Press("1"), UntilBridged())
MUTED = Until("MixMonitorMute")


async def hears(on: Stage, who: str, channel: str) -> Path:
    await on.calls.admin.command(f"dialplan set global EAR_{who} {channel}")
    await on.calls.admin.command(f"channel originate Local/{who}@ear/n application Wait 60")
    return on.pbx.base / "spool" / f"heard-by-{who}.wav"


def falling(path: Path, after: float) -> list[float]:
    """When, in seconds from `after` on, a high tone is followed by a low one within a quarter of a second."""
    high, low = (tones.stretches(path, 0, hz, level=200) for hz in FALLING)
    return [end for _, end in high if end > after and any(0 <= start - end < 0.25 for start, _ in low)]


async def test_the_agent_hears_that_a_pause_is_long_the_caller_does_not_and_it_stays_silent(release: str) -> None:
    changes = {"capture": {"listeners": "permit"}}
    async with stage(release, lines=LINES, changes=changes, additions={"extensions.conf": EARS}) as on:
        call = await on.calls.incoming(
            "support",
            (*AGREES, Wait(4), Say(440), Wait(30), HangUp()),
            (UntilBridged(), Wait(3), Press("*81"), MUTED, Wait(60)),
        )
        await call.placed.until_bridged()
        agent = await call.until_rung()
        ears = [await hears(on, "agent", agent.channel), await hears(on, "caller", call.placed.channel)]
        await on.calls.admin.until("MixMonitorMute", since=call.placed.since, timeout=60, State="1")
        reminded = await on.calls.admin.until(
            lambda event: event.name == "Newexten" and event.get("Context") == "recorder-remind",
            since=call.placed.since,
            timeout=60,
        )
        assert reminded["Channel"] == agent.channel
        await call.until_ended()
        (row,) = await on.closed(1)
        assert row.outcome == "recorded"
        by_agent, by_caller = (falling(path, 8.0) for path in ears)
        assert len(by_agent) == 3, on.recorder.log_tail()
        assert by_caller == []
        (path,) = await on.settled_paths(row)
        sound = tones.read(path)
        assert not sound.samples[round(4 * sound.rate) :].any()  # never resumed by itself
        assert "pause_long" in on.recorder.log_tail(100)
