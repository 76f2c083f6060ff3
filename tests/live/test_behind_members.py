"""A telephone behind a queue's Local member with /n: whoever takes its place there is in no recording.

The Local channel stays between caller and telephone, so that the caller's own bridge tells nothing of a transfer or a
hold. The telephone's bridge does.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from tests.facts import override_for
from tests.live.test_members import at_a_phone_behind
from tests.live.ways import (
    CONSULTING,
    JITTER,
    LINES,
    TALKED,
    THIRD,
    Theatre,
    music,
    only_the_talk,
    speaks_on,
    stamp,
)
from tests.pbx import tones
from tests.pbx.calls import Call, Calls
from tests.pbx.dialog import Dialog
from tests.pbx.party import Press, Say, Wait
from tests.pbx.server import free_port
from tests.pbx.sip import AGENT as AGENT_HOST
from tests.stories import AGENT, CALLER, HEARD, LEFT, RIGHT, Story

pytestmark = [pytest.mark.live]


async def sent_on_blindly(calls: Calls) -> Call:
    call, agent = await at_a_phone_behind(calls, "/n")
    await asyncio.sleep(TALKED)
    port = free_port()
    phone = await calls.phone_listens((Say(THIRD),), port=port)
    await (await Dialog.of(calls.pbx, calls.admin, agent)).refer(f"7{port:05}")
    return await speaks_on(calls, call, calls.rung(phone))


async def joined_with_whom_it_consulted(calls: Calls) -> Call:
    call, agent = await at_a_phone_behind(calls, "/n")
    await asyncio.sleep(TALKED)
    port = free_port()
    line = await Dialog.of(calls.pbx, calls.admin, agent)
    await line.hold()
    listening = await calls.phone_listens((Say(THIRD),), port=port, host=AGENT_HOST)
    beside = await calls.dial(f"7{port:05}", (Say(CONSULTING),), sip=True)
    await (await calls.rung(listening)).until_bridged()
    await asyncio.sleep(TALKED)
    since = calls.admin.mark()
    await line.refer("desk", into=await Dialog.of(calls.pbx, calls.admin, beside.placed.channel))
    await calls.admin.until("AttendedTransfer", since=since, OrigTransfererChannel=agent)
    await asyncio.sleep(TALKED)
    await calls.hang_up(call)
    return call


async def held_and_taken_back(calls: Calls) -> Call:
    call, agent = await at_a_phone_behind(calls, "/n")
    await asyncio.sleep(TALKED)
    line = await Dialog.of(calls.pbx, calls.admin, agent)
    await line.hold()
    await asyncio.sleep(TALKED)
    await line.unhold()
    await asyncio.sleep(TALKED)
    await calls.hang_up(call)
    return call


async def overridden_by_its_key(calls: Calls) -> Call:
    """The caller refuses. The telephone's key acts on the Local channel's other half, which is not the caller's."""
    refuses = (Say(CALLER), Wait(HEARD + 0.5), Press("2"))
    presses = (Say(AGENT), Wait(TALKED), Press("*71"))
    call, _ = await at_a_phone_behind(calls, "/n", line="support", caller=refuses, agent_does=presses)
    await calls.admin.until("MixMonitorStart", since=call.placed.since, timeout=30, Uniqueid=call.placed.leg)
    await asyncio.sleep(TALKED)
    await calls.hang_up(call)
    return call


# ---------------------------------------------------------------- judges


def ends_with_the_telephone(call: Call, settled: list[Path]) -> list[str]:
    """No sound of after the telephone has left the other half's bridge, or that half has."""
    ids = call.linkedids(call.placed.admin)
    events = [event for event in call.placed.admin.events[call.placed.since :] if event.get("Linkedid") in ids]
    entered = [event for event in events if event.name == "BridgeEnter"]
    began = next(stamp(one) for one in entered if one["Uniqueid"] == call.placed.leg)
    where = next(one["BridgeUniqueid"] for one in entered if one["Channel"].startswith("PJSIP/agent-"))
    ended = next(stamp(one) for one in events if one.name == "BridgeLeave" and one["BridgeUniqueid"] == where)
    loud = np.flatnonzero(np.abs(tones.read(settled[0]).samples).max(axis=1, initial=0) > 0)
    over = (int(loud[-1]) + 1) / tones.RATE - (ended - began)
    print(f"captured beyond the telephone's own talk: {1000 * over:.0f} ms")
    return music(call, settled) + ([f"{over:.2f} s of sound after it"] if over > JITTER else [])


def silent_while_held(call: Call, settled: list[Path]) -> list[str]:
    """Exact zeros in both directions as long as the hold was, and speech before and after."""
    path = settled[0]
    wrong = []
    for side in (LEFT, RIGHT):
        longest = max((end - start for start, end in tones.silence(path, side, level=0)), default=0.0)
        print(f"channel {side} is silent for {longest:.2f} s")
        wrong += [] if TALKED - 0.2 <= longest <= TALKED + 0.6 else [f"channel {side}: {longest:.2f} s of silence"]
    return wrong + music(call, settled)


def story(name: str, place: object, also: object) -> Story:
    return Story(name=name, outcome="recorded", place=place, proof=only_the_talk, also=also, on_16=True)  # type: ignore[arg-type]


CAST = (
    story("sent on blindly", sent_on_blindly, ends_with_the_telephone),
    story("joined with whom it consulted", joined_with_whom_it_consulted, ends_with_the_telephone),
    story("held and taken back", held_and_taken_back, silent_while_held),
    Story(
        name="overridden by its key",
        outcome="recorded",
        place=overridden_by_its_key,
        proof=only_the_talk,
        sealed=True,
        on_16=True,
    ),
)
THEATRE = Theatre.of(CAST, {**LINES, "support": {**LINES["support"], "override": override_for("emergency")}})


@pytest.mark.asterisk16
def test_whoever_takes_the_place_of_a_telephone_behind_a_local_member_is_not_captured(
    release: str, story: Story
) -> None:
    performance = THEATRE.on(release)
    assert performance[story].wrong == [], performance.said(story)


@pytest.mark.asterisk16
def test_the_books_balance_when_all_of_it_is_over(release: str) -> None:
    code, printed = THEATRE.on(release).verify
    assert code == 0, printed
