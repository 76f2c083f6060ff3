"""What a page and a program do to a talk on a real Asterisk is what the agent's key does (PR-01, CN-15)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

import httpx2
import pytest

from recorder.catalogue import open_catalogue
from recorder.rights import Role
from tests.edge.visitors import SECRET, Page, enters_in, token_in
from tests.facts import override_for
from tests.live.stage import stage
from tests.live.test_keys import AGREES, CARD, MUTED, REPEATED, paused_once
from tests.pbx import tones
from tests.pbx.party import HangUp, Press, Say, Script, UntilBridged, Wait
from tests.stories import AGENT, AGENT_BEFORE, CALLER, HEARD, LEFT, RIGHT

pytestmark = [pytest.mark.live, pytest.mark.asterisk16]

LINES: Mapping[str, Mapping[str, object]] = {
    "support": {"consent": "opt_in", "answer_seconds": 2, "retries": 1},
}
SAYS_A_CARD: Script = (MUTED, Wait(0.5), Say(CARD), Wait(1.5), Say(CALLER), Wait(8), HangUp())
REPEATS_IT: Script = (Say(AGENT), UntilBridged(), MUTED, Say(REPEATED), Wait(3), Say(AGENT))
AT_ONCE = 1.0
"""Seconds in which an agent sees that it is so (CN-15)."""


async def test_a_program_pauses_and_resumes_and_an_agents_page_ends_it(release: str) -> None:
    async with stage(release, lines=LINES) as on:
        at = f"http://127.0.0.1:{on.recorder.http_port}"
        paying = await on.calls.incoming("support", (*AGREES, Wait(2), *SAYS_A_CARD), REPEATS_IT, own_queue=True)
        await paying.placed.until_bridged()
        telephone = (await paying.until_rung()).channel.rpartition("-")[0]
        books = await open_catalogue(on.recorder.catalogue)
        try:
            await enters_in(books, "payments", Role.PAYMENT)
            _, secret = await token_in(books, "payments")
        finally:
            await books.close()
        async with httpx2.AsyncClient(base_url=at, headers={"Authorization": f"Bearer {secret}"}) as program:
            (call,) = await captured(program, telephone)
            paused, took = await pressed(program, call, "pause")
            assert (paused["answer"], took < AT_ONCE) == ("paused", True), (paused, took)
            await asyncio.sleep(4.5)
            resumed, took = await pressed(program, call, "resume")
            assert (resumed["answer"], took < AT_ONCE) == ("resumed", True), (resumed, took)
        await paying.until_ended()
        (row,) = await on.closed(1)
        (path,) = await on.settled_paths(row)
        assert paused_once(longest=8, shortest=3.5)(path) == []

        ended = await on.calls.incoming("support", (*AGREES, Wait(8), HangUp()), (Say(AGENT),), own_queue=True)
        await ended.placed.until_bridged()
        telephone = (await ended.until_rung()).channel.rpartition("-")[0]
        books = await open_catalogue(on.recorder.catalogue)
        try:
            await enters_in(books, "alice", Role.AGENT, at=telephone)
        finally:
            await books.close()
        async with httpx2.AsyncClient(base_url=at) as browser:
            entered = await browser.post("/sign-in", data={"name": "alice", "password": SECRET})
            assert entered.status_code == 303
            (call,) = await captured(browser, telephone)
            page = Page(200, (await browser.get("/live")).text)
            assert "your call" in page.text
            asked = time.monotonic()
            by_script = {"X-Recorder-Script": "1"}
            answer = await browser.post(f"/live/{call}/stop", data={"stamp": page.stamp}, headers=by_script)
            assert time.monotonic() - asked < AT_ONCE
            assert "is being erased" in answer.text
        await ended.until_ended()
        rows = await on.closed(2)
        (last,) = (one for one in rows if one.id != row.id)
        assert last.outcome == "declined"
        assert await on.settled_paths(last) == []


async def test_an_agents_page_captures_by_override_from_the_press_on(release: str) -> None:
    """The daemon's key C brings the caller's own channel: nothing that was said before the press is in the file."""
    lines = {"support": {**LINES["support"], "override": override_for("emergency")}}
    refuses: Script = (Say(CALLER), Wait(HEARD + 0.5), Press("2"), Wait(10), HangUp())
    agent: Script = (Say(AGENT_BEFORE), Wait(2), Say(AGENT))
    async with stage(release, lines=lines) as on:
        books = await open_catalogue(on.recorder.catalogue)
        try:
            await enters_in(books, "alice", Role.OVERRIDER, at="PJSIP/agent")
        finally:
            await books.close()
        call = await on.calls.incoming("support", refuses, agent, sip=True)
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{on.recorder.http_port}", timeout=20) as browser:
            entered = await browser.post("/sign-in", data={"name": "alice", "password": SECRET})
            assert entered.status_code == 303
            shown = await overridable(browser)
            await asyncio.sleep(2.5)  # the agent's tone is another one now
            page = Page(200, (await browser.get(f"/live/{shown}/override/emergency")).text)
            asked = time.monotonic()
            done = await browser.post(f"/live/{shown}/override/emergency", data={"stamp": page.stamp})
            assert done.headers["location"] == "/live?said=answer.captured", on.recorder.log_tail(20)
            assert time.monotonic() - asked < AT_ONCE
        await call.until_ended()
        (row,) = await on.closed(1)
        assert row.outcome == "recorded"
        (entry,) = (await on.recorder.whole(row)).audit
        assert (entry.action, entry.details["by"], entry.details["way"]) == ("override", "alice", "page")
        (path,) = await on.settled_paths(row)
        assert tones.stretches(path, RIGHT, AGENT_BEFORE) == []
        heard = [tones.seconds_of(tones.stretches(path, leg, hz)) for leg, hz in ((LEFT, CALLER), (RIGHT, AGENT))]
        assert min(heard) > tones.read(path).seconds - 0.3, heard


async def overridable(client: httpx2.AsyncClient) -> str:
    """The one call that could be captured by override now."""
    async with asyncio.timeout(20):
        while True:
            calls = (await client.get("/api/v1/live")).json()
            if calls and calls[0]["reasons"] == ["emergency"]:
                return str(calls[0]["call"])
            await asyncio.sleep(0.1)


async def captured(client: httpx2.AsyncClient, telephone: str) -> list[str]:
    """The calls in which this telephone stands, once they are captured."""
    async with asyncio.timeout(10):
        while True:
            calls = (await client.get("/api/v1/live", params={"telephone": telephone})).json()
            if calls and all(call["heard"] == "captured" for call in calls):
                return [call["call"] for call in calls]
            await asyncio.sleep(0.1)


async def pressed(client: httpx2.AsyncClient, call: str, act: str) -> tuple[dict[str, str], float]:
    asked = time.monotonic()
    answer = await client.post(f"/api/v1/live/{call}/{act}")
    took = time.monotonic() - asked
    assert answer.status_code == 200, answer.text
    body: dict[str, str] = answer.json()
    return body, took
