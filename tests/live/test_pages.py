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
from tests.live.stage import stage
from tests.live.test_keys import AGREES, CARD, MUTED, REPEATED, paused_once
from tests.pbx.party import HangUp, Say, Script, UntilBridged, Wait
from tests.stories import AGENT, CALLER

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
