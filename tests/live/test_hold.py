"""A recorded caller on hold: exact silence in both directions for as long as it lasts, and the time line stays.

The phones are SIPp; a hold is a re-INVITE that only sends. Asterisk plays 2000 Hz to whoever waits.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.live.stage import stage
from tests.live.ways import AGENT_SPEAKS, LINES, TALKED, Theatre, music, nobody_else, stamp, talk
from tests.pbx import tones
from tests.pbx.calls import Call, Calls
from tests.pbx.dialog import Dialog
from tests.pbx.party import Leg, Press, Say, Script, Wait
from tests.stories import CALLER, HEARD, LEFT, Story

pytestmark = [pytest.mark.live]

HELD = 2.0  # seconds of each hold
NEAR = 0.8  # seconds by which SIPp on a busy machine runs ahead or behind; a hold that was left out would be 2 s


async def _holds(calls: Calls, who: Leg, times: int) -> None:
    line = await Dialog.of(calls.pbx, calls.admin, who.channel)
    for _ in range(times):
        await line.hold()
        await asyncio.sleep(HELD)
        await line.unhold()
        await asyncio.sleep(TALKED)


async def by_the_agent(calls: Calls) -> Call:
    call = await talk(calls, sip=True)
    await _holds(calls, await call.until_rung(), 1)
    await calls.hang_up(call)
    return call


async def three_times(calls: Calls) -> Call:
    call = await talk(calls, sip=True)
    await _holds(calls, await call.until_rung(), 3)
    await calls.hang_up(call)
    return call


async def by_the_caller(calls: Calls) -> Call:
    call = await talk(calls, sip=True)
    await _holds(calls, call.placed, 2)
    await calls.hang_up(call)
    return call


async def hung_up_on_hold(calls: Calls) -> Call:
    call = await talk(calls, sip=True)
    agent = await call.until_rung()
    await (await Dialog.of(calls.pbx, calls.admin, agent.channel)).hold()
    await asyncio.sleep(HELD)
    await calls.hang_up(call)
    return call


async def by_the_agent_of_an_outgoing_call(calls: Calls) -> Call:
    agrees: Script = (Say(CALLER), Wait(HEARD + 0.5), Press("1"))
    call = await calls.outgoing(AGENT_SPEAKS, agrees, sip=True, number="5550177")
    await (await call.until_rung()).until_bridged()
    await asyncio.sleep(TALKED)
    await _holds(calls, call.placed, 1)
    await calls.hang_up(call)
    return call


# ---------------------------------------------------------------- judges


def held_for(call: Call) -> tuple[float, list[tuple[float, float]]]:
    """Seconds in the bridge, and from when to when of them somebody held, by Asterisk's stamps."""
    events = call.placed.admin.events[call.placed.since :]
    ids = call.linkedids(call.placed.admin)
    mine = [event for event in events if event.get("Linkedid") in ids]
    bridge = [event for event in mine if event.name in ("BridgeEnter", "BridgeLeave")]
    began = stamp(next(event for event in bridge if event.get("BridgeNumChannels") == "2"))
    ended = stamp(next(event for event in bridge if event.name == "BridgeLeave"))
    edges = [stamp(event) - began for event in mine if event.name in ("Hold", "Unhold")]
    edges += [ended - began] * (len(edges) % 2)
    return ended - began, list(zip(edges[::2], edges[1::2], strict=True))


def silent_while_held(call: Call, settled: list[Path]) -> list[str]:
    """Every hold is exact zeros in both directions, nothing else is, and the file is as long as the bridge."""
    (path,) = settled
    whole, holds = held_for(call)
    wrong = music(call, settled) + ([] if holds else ["there was no hold"])
    if abs(tones.read(path).seconds - whole) > NEAR:
        wrong.append(f"{tones.read(path).seconds:.2f} s of file for {whole:.2f} s of bridge")
    for side in (0, 1):
        quiet = [one for one in tones.silence(path, side, level=0) if one[1] - one[0] > HELD / 2]
        fits = len(quiet) == len(holds) and all(
            abs(was[0] - is_[0]) < NEAR and abs(was[1] - is_[1]) < NEAR for was, is_ in zip(holds, quiet, strict=True)
        )
        if not fits:
            wrong.append(f"held {holds}, silent on channel {side} {quiet}")
    return wrong


def only_the_parties(path: Path) -> list[str]:
    heard = tones.seconds_of(tones.stretches(path, LEFT, CALLER))
    return nobody_else(path) + ([] if heard > TALKED - 0.4 else [f"{heard:.2f} s of the caller"])


def held(name: str, place: Callable[[Calls], object], *, on_16: bool = False) -> Story:
    return Story(
        name=name, outcome="recorded", place=place, proof=only_the_parties, also=silent_while_held, on_16=on_16
    )


CAST = (
    held("held by the agent", by_the_agent, on_16=True),
    held("held three times", three_times),
    held("held by the caller, twice", by_the_caller, on_16=True),
    held("hung up on hold", hung_up_on_hold),
    held("held by the agent of an outgoing call", by_the_agent_of_an_outgoing_call),
)
THEATRE = Theatre.of(CAST)


def test_a_hold_is_exact_silence_and_keeps_the_time_line(release: str, story: Story) -> None:
    performance = THEATRE.on(release)
    assert performance[story].wrong == [], performance.said(story)


@pytest.mark.asterisk16
async def test_a_hold_that_ended_while_the_daemon_was_dead_is_over_when_it_is_back(release: str) -> None:
    async with stage(release, lines=LINES) as on:
        call = await talk(on.calls, sip=True)
        line = await Dialog.of(on.pbx, on.calls.admin, (await call.until_rung()).channel)
        await line.hold()
        await asyncio.sleep(HELD)
        on.recorder.send(signal.SIGKILL)
        await line.unhold()
        await on.recorder.start()
        await on.recorder.until(lambda: on.recorder.get("/readyz")[0] == 200, "all to be seen", timeout=60)
        await asyncio.sleep(2 * TALKED)
        await on.calls.hang_up(call)
        (row,) = await on.closed(1)
        assert row.outcome == "recorded", on.recorder.log_tail()
        (path,) = await on.settled_paths(row)
        assert nobody_else(path) == []
        spoken = [part for part in tones.stretches(path, LEFT, CALLER) if part[0] > TALKED]
        assert tones.seconds_of(spoken) > TALKED, on.recorder.log_tail()
