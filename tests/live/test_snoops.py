"""ARI applications that snoop on a call of ours, on a real Asterisk: seen, stopped where the policy says so, told."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest

from tests.live.stage import Stage, stage
from tests.live.test_rivals import acts, ended, metric, reasons, talking, unharmed
from tests.live.ways import stamp
from tests.pbx import tones
from tests.pbx.admin import Event
from tests.pbx.ari import Ari, Snoop, additions
from tests.pbx.party import Say
from tests.pbx.server import free_port
from tests.stories import AGENT, agrees

pytestmark = pytest.mark.live

STOPPED_WITHIN = 0.5
"""Seconds from Asterisk's word that a snoop hears to its word that it does no more, as docs/performance.md has it."""
BEFORE_THE_LINE = """
[from-outside](+)
exten => waits,1,Answer()
 same => n,Wait(2)
 same => n,Goto(line,support,1)
"""


@asynccontextmanager
async def house(release: str, **capture: str) -> AsyncIterator[tuple[Stage, Ari]]:
    port = free_port()
    files: Mapping[str, str] = {**additions(port), "extensions.conf": BEFORE_THE_LINE}
    async with stage(release, additions=files, changes={"capture": capture}) as on, Ari(on.pbx, port) as application:
        yield on, application


async def stopped(on: Stage, snoop: Snoop) -> Event:
    return await on.calls.admin.until("ChanSpyStop", SpyerUniqueid=snoop.id, timeout=30)


def written(application: Ari, name: str) -> float:
    """Seconds of audio that the application has."""
    path = application.recordings / f"{name}.wav"
    return tones.read(path).seconds if path.exists() and path.stat().st_size > 44 else 0.0


@pytest.mark.asterisk16
async def test_a_snoop_on_either_leg_is_stopped_and_ours_loses_nothing(release: str) -> None:
    async with house(release) as (on, application):
        call = await talking(on, agrees(then=8))
        await asyncio.sleep(1)
        agent = await call.until_rung()
        for whose, leg in (("caller", call.placed.leg), ("agent", agent.leg)):
            snoop = await application.snoop(leg)
            await application.record(snoop.id, whose)
            end = await stopped(on, snoop)
            (began,) = on.calls.admin.seen("ChanSpyStart", SpyerUniqueid=snoop.id)
            assert began["SpyeeUniqueid"] == leg
            assert stamp(end) - stamp(began) < STOPPED_WITHIN
            assert written(application, whose) < STOPPED_WITHIN
        assert await acts(on, wanted=2) == [
            ("rival stopped", {"kind": "snoop", "leg": "caller"}),
            ("rival stopped", {"kind": "snoop", "leg": "agent"}),
        ]
        assert metric(on, 'recorder_rivals_met_total{kind="snoop"} 2.0')
        assert metric(on, "recorder_rivals_at_large 0.0")
        assert "within the hour" in reasons(on)
        row, whole = await ended(on, call)
        assert tones.read(await unharmed(on, row)).seconds > 7.5
        assert [step.name for step in whole.journal].count("RivalMet") == 2


@pytest.mark.asterisk16
async def test_where_the_policy_is_to_report_a_snoop_records_on_beside_ours(release: str) -> None:
    async with house(release, rivals="report") as (on, application):
        call = await talking(on, agrees(then=8))
        snoop = await application.snoop(call.placed.leg)
        assert await application.record(snoop.id, "rival")
        assert await acts(on) == [("rival left", {"kind": "snoop", "leg": "caller"})]
        assert "(snoop) hears, and may capture, call" in reasons(on)
        assert metric(on, "recorder_rivals_at_large 1.0")
        await asyncio.sleep(3)
        await application.hang_up(snoop.id)
        await on.recorder.until(lambda: metric(on, "recorder_rivals_at_large 0.0"), "the snoop's end to be heard")
        row, _ = await ended(on, call)
        assert tones.read(await unharmed(on, row)).seconds > 7.5
        assert written(application, "rival") > 2.5


async def test_a_snoop_from_before_the_line_is_stopped_before_the_caller_is_asked(release: str) -> None:
    async with house(release) as (on, application):
        await on.calls.sit("support", "Local/agent1@phones/n")
        call = await on.calls.dial("waits", agrees(then=3), inside=False)
        snoop = await application.snoop(call.placed.leg)
        assert await application.record(snoop.id, "rival")
        on.calls.answer(call, (Say(AGENT),), rings="agent1")
        end = await stopped(on, snoop)
        joined = await on.calls.admin.until("QueueCallerJoin", Uniqueid=call.placed.leg, timeout=30)
        assert stamp(end) < stamp(joined) - 3, "it ends while the prompt is played"
        assert await acts(on) == [("rival stopped", {"kind": "snoop", "leg": "caller"})]
        row, _ = await ended(on, call)
        await unharmed(on, row)
        assert 0 < written(application, "rival") < 4
        assert tones.stretches(application.recordings / "rival.wav", 0, AGENT) == []


async def test_a_snoop_that_began_while_the_daemon_was_dead_is_stopped_beside_ours(release: str) -> None:
    async with house(release) as (on, application):
        call = await talking(on, agrees(then=14))
        await asyncio.sleep(1)
        on.recorder.send(signal.SIGKILL)
        snoop = await application.snoop(call.placed.leg)
        assert await application.record(snoop.id, "rival")
        on.recorder.launch()
        await stopped(on, snoop)
        assert await acts(on) == [("rival stopped", {"kind": "snoop", "leg": "caller"})]
        row, _ = await ended(on, call)
        assert tones.read(await unharmed(on, row)).seconds > 13
        assert 0 < written(application, "rival") < 13
