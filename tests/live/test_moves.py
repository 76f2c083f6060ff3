"""Where a recorded caller goes next: nobody who was not asked is in a settled recording."""

from __future__ import annotations

import asyncio

import pytest

from tests.live.stage import stage
from tests.pbx import tones
from tests.pbx.party import HangUp, Press, Say, Script, UntilBridged, UntilPrompt, Wait
from tests.stories import AGENT, CALLER, HEARD, LEFT, RIGHT, agrees, refuses

pytestmark = [pytest.mark.live, pytest.mark.asterisk16]

VOICE_MAIL, VOICE_MAIL_TONE = "2999", 2600


async def test_a_blind_transfer_out_of_the_line_ends_the_recording_with_the_agent(release: str) -> None:
    async with stage(release) as on:
        call = await on.calls.incoming("support", agrees(then=8), (Say(AGENT),))
        agent = await call.until_rung()
        await agent.until_bridged()
        await on.recorder.until(
            lambda: "capturing" in str(on.recorder.get("/status")[1]["calls"]), "the capture to run"
        )
        await asyncio.sleep(2)  # what is said before the transfer
        (channel,) = [
            name
            for name in await on.calls.admin.channels()
            if name.startswith("Local/agent1@phones") and name.endswith(";1")
        ]
        await on.calls.admin.action(
            "BlindTransfer", {"Channel": channel, "Exten": VOICE_MAIL, "Context": "from-agents"}
        )
        await call.until_ended()
        (row,) = await on.closed(1)
        assert row.outcome == "recorded"
        (path,) = await on.settled_paths(row)
        assert tones.seconds_of(tones.stretches(path, RIGHT, AGENT)) > 1.5
        for side in (LEFT, RIGHT):
            assert tones.stretches(path, side, VOICE_MAIL_TONE) == []
        assert tones.read(path).seconds < 7


async def test_an_answer_given_on_one_line_goes_along_to_the_next(release: str) -> None:
    async with stage(release) as on:
        caller: Script = (
            Say(CALLER),
            UntilPrompt(),
            Wait(HEARD),
            Press("1"),
            UntilBridged(),
            Wait(3),
            HangUp(),
        )
        call = await on.calls.incoming("support", caller, None, variables={"HOUSE_WAIT": "2", "HOUSE_NEXT": "sales"})
        await on.calls.sit("sales", "Local/second@phones/n")
        on.calls.answer(call, (Say(AGENT),), rings="second")
        placed, _ = await call.until_ended()
        assert placed.was_bridged
        (row,) = await on.closed(1)
        assert row.outcome == "recorded"
        recordings = sorted(await on.recorder.settled(), key=lambda one: one.authorised_at)
        assert [(one.line, one.status) for one in recordings] == [("support", "empty"), ("sales", "settled")]
        whole = await on.recorder.whole(row)
        assert [str(event.after) for event in whole.consents] == ["asked", "given", "given"]


async def test_who_refuses_keeps_place_and_priority_before_who_agrees_later(release: str) -> None:
    async with stage(release) as on:
        refuser = await on.calls.incoming("support", refuses(then=2), None, number="15550101")
        join = await on.calls.admin.until(
            "QueueCallerJoin", since=refuser.placed.since, timeout=20, Linkedid=refuser.linkedid
        )
        agreer = await on.calls.incoming("support", agrees(then=2), None, number="15550102")
        after = await on.calls.admin.until(
            "QueueCallerJoin", since=agreer.placed.since, timeout=20, Linkedid=agreer.linkedid
        )
        assert (join["Queue"], join["Position"]) == ("support", "1")
        assert (after["Queue"], after["Position"]) == ("support", "2")
        priorities = {await on.calls.admin.variable("QUEUE_PRIO", event["Channel"]) for event in (join, after)}
        assert len(priorities) == 1
        for call in (refuser, agreer):
            on.calls.answer(call, (Say(AGENT),), rings="only")
        await on.calls.sit("support", "Local/only@phones/n")
        (first, _), (second, _) = await refuser.until_ended(), await agreer.until_ended()
        assert first.bridged[0][0] < second.bridged[0][0]
        rows = {str(row.linkedid): row.outcome for row in await on.closed(2)}
        assert (rows[refuser.linkedid], rows[agreer.linkedid]) == ("declined", "recorded")
