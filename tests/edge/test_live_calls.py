"""Calls in progress over HTTP: who sees which, and what a page or a program does to one (PR-01, CN-15, AC-03)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from uuid import uuid4

import httpx2
import pytest

from recorder.http import watching
from recorder.model import KeyAct
from recorder.rights import Right, Role, UserAction
from tests.edge import test_behind_agents as behind_agents
from tests.edge.centre import Centre, Talk, look, until
from tests.edge.visitors import browser, enters, opens, program, signed_in, token_of
from tests.facts import user_act

pytestmark = pytest.mark.usefixtures("no_task_left")
SCRIPT = {"X-Recorder-Script": "1"}
ALICE, BOB = "PJSIP/alice", "PJSIP/bob"


@pytest.fixture
def centre(sqlite_centre: Centre) -> Centre:
    return sqlite_centre


async def talks(centre: Centre, keys: str = "1") -> Talk:
    talk = await centre.asks(keys=keys)
    centre.connects(talk)
    await centre.until_talking()
    if keys == "1":
        await centre.until_capture("running")
    return talk


def presses(client: httpx2.AsyncClient, centre: Centre, act: str) -> asyncio.Future[httpx2.Response]:
    call = centre.runner.state.call
    return asyncio.ensure_future(client.post(f"/api/v1/live/{call}/{act}"))


# --------------------------------------------------------------------------- a program that sees to payments


async def test_a_program_pauses_and_resumes_and_is_answered_by_what_asterisk_confirmed(centre: Centre) -> None:
    await enters(centre, "payments", Role.PAYMENT)
    _, secret = await token_of(centre, "payments")
    talk = await talks(centre)
    async with program(centre, secret) as client:
        (seen,) = (await client.get("/api/v1/live", params={"telephone": ALICE})).json()
        assert (seen["heard"], seen["acts"], seen["yours"]) == ("captured", ["pause", "resume"], False)
        paused = await client.post(f"/api/v1/live/{seen['call']}/pause")
        assert (paused.status_code, paused.json()["answer"]) == (200, "paused")
        assert [mix.muted for mix in centre.mixes] == [True]
        (seen,) = (await client.get("/api/v1/live")).json()
        assert (seen["heard"], seen["paused_at"] is not None) == ("paused", True)
        resumed = await client.post(f"/api/v1/live/{seen['call']}/resume")
        assert (resumed.status_code, resumed.json()["answer"]) == (200, "resumed")
        assert [mix.muted for mix in centre.mixes] == [False]
    centre.hangs_up(talk)
    assert await centre.outcome() == ("recorded", None)
    spans = (await centre.recording()).silences
    assert [span.actor for span in spans if span.cause == "pause"] == ["payments by token payment page"]


async def test_a_pause_that_asterisk_does_not_confirm_is_answered_by_the_captures_end(centre: Centre) -> None:
    await enters(centre, "payments", Role.PAYMENT)
    _, secret = await token_of(centre, "payments")
    await talks(centre)
    centre.tells_of_mutes = False
    async with program(centre, secret) as client:
        answer = await presses(client, centre, "pause")
    assert (answer.status_code, answer.json()["answer"]) == (200, "stopped")
    assert not any(mix.open for mix in centre.mixes)


async def test_speech_that_is_not_confirmed_is_a_problem_and_no_success(centre: Centre) -> None:
    await enters(centre, "payments", Role.PAYMENT)
    _, secret = await token_of(centre, "payments")
    await talks(centre)
    async with program(centre, secret) as client:
        assert (await presses(client, centre, "pause")).status_code == 200
        centre.tells_of_mutes = False
        answer = await presses(client, centre, "resume")
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code, answer.json()["code"]) == (409, "capture_stopped")


@pytest.mark.parametrize("act", ["stop", "personal"])
async def test_a_program_cannot_do_what_is_the_agents_own(centre: Centre, act: str) -> None:
    await enters(centre, "payments", Role.PAYMENT)
    _, secret = await token_of(centre, "payments")
    await talks(centre)
    async with program(centre, secret) as client:
        answer = await presses(client, centre, act)
    assert (answer.status_code, answer.json()["code"]) == (403, "not_permitted")
    assert [mix.open for mix in centre.mixes] == [True]


@pytest.mark.parametrize(
    ("rights", "lines"),
    [
        (frozenset({Right.WATCH}), None),
        (None, frozenset({"sales"})),
        (frozenset({Right.CONTROL}), frozenset({"sales"})),
    ],
)
async def test_a_token_permits_no_more_than_it_was_made_for(
    centre: Centre, rights: frozenset[Right] | None, lines: frozenset[str] | None
) -> None:
    await enters(centre, "payments", Role.PAYMENT, Role.SUPERVISOR)
    _, secret = await token_of(centre, "payments", rights=rights, lines=lines)
    await talks(centre)
    async with program(centre, secret) as client:
        answer = await presses(client, centre, "pause")
    assert answer.status_code in (403, 404)
    assert [mix.muted for mix in centre.mixes] == [False]


async def test_a_call_without_an_agent_cannot_be_paused_and_one_that_is_over_is_not_there(centre: Centre) -> None:
    await enters(centre, "payments", Role.PAYMENT)
    _, secret = await token_of(centre, "payments")
    talk = await centre.asks()
    async with program(centre, secret) as client:
        waiting = await presses(client, centre, "pause")
        assert (waiting.status_code, waiting.json()["code"]) == (409, "no_agent_in_the_call")
        call = centre.runner.state.call
        centre.hangs_up(talk)
        await centre.until_closed()
        over = await client.post(f"/api/v1/live/{call}/pause")
        assert (over.status_code, over.json()["code"]) == (404, "call_is_over")
        assert (await client.get(f"/api/v1/live/{call}")).status_code == 404


# --------------------------------------------------------------------------- an agent at a page


@pytest.mark.parametrize(
    ("act", "answer", "outcome"),
    [
        ("pause", "Paused: from now on the recording is silent.", ("recorded", None)),
        ("stop", "Stopped, and what was recorded is being erased.", ("declined", None)),
        ("personal", "Personal: nothing is recorded, and what was is being erased.", ("excluded", None)),
    ],
)
async def test_an_agents_button_does_what_the_key_does(
    centre: Centre, act: str, answer: str, outcome: tuple[str, None]
) -> None:
    await enters(centre, "alice", Role.AGENT, at=ALICE)
    talk = await talks(centre)
    async with signed_in(centre, "alice") as client:
        page = await opens(client, "/live")
        assert "your call" in page.text
        done = await client.post(f"/live/{centre.runner.state.call}/{act}", data={"stamp": page.stamp}, headers=SCRIPT)
        assert (done.status_code, answer in done.text) == (200, True)
    centre.hangs_up(talk)
    assert await centre.outcome() == outcome


async def test_every_agent_can_stop_their_own_call_without_a_right_and_nothing_else(centre: Centre) -> None:
    await enters(centre, "alice", at=ALICE)
    await talks(centre)
    async with signed_in(centre, "alice") as client:
        page = await opens(client, "/live")
        call = centre.runner.state.call
        tried = await client.post(f"/live/{call}/pause", data={"stamp": page.stamp}, headers=SCRIPT)
        assert tried.status_code == 403
        done = await client.post(f"/live/{call}/stop", data={"stamp": page.stamp}, headers=SCRIPT)
        assert done.status_code == 200
    await until(lambda: not any(mix.open for mix in centre.mixes), "the end of the capture")
    (event,) = look(centre.url, "SELECT actor FROM consent_events WHERE after = 'withdrawn'")
    assert event == ("alice",)


async def test_another_agents_call_is_not_there(centre: Centre) -> None:
    await enters(centre, "bob", Role.AGENT, at=BOB)
    await talks(centre)
    async with signed_in(centre, "bob") as client:
        page = await opens(client, "/live")
        assert "No call that you may see is in progress." in page.text
        call = centre.runner.state.call
        for act in KeyAct:
            tried = await client.post(f"/live/{call}/{act}", data={"stamp": page.stamp}, headers=SCRIPT)
            assert (tried.status_code, tried.text.startswith("That call is over")) == (404, True)
    assert [(mix.muted, mix.open) for mix in centre.mixes] == [(False, True)]


async def test_who_is_disabled_sits_nowhere(centre: Centre) -> None:
    await enters(centre, "alice", Role.AGENT, at=ALICE)
    await talks(centre)
    async with signed_in(centre, "alice") as client:
        assert "your call" in (await opens(client, "/live")).text
        await centre.catalogue.write_user_acts([user_act(UserAction.DISABLED)])
        assert (await client.get("/live")).headers["location"] == "/sign-in"


async def test_a_supervisor_sees_the_lines_calls_and_can_change_none(centre: Centre) -> None:
    await enters(centre, "sam", Role.SUPERVISOR)
    await enters(centre, "olga", Role.SUPERVISOR, line="sales")
    await talks(centre)
    async with signed_in(centre, "sam") as client:
        page = await opens(client, "/live")
        assert ALICE in page.text
        assert "<button id" not in page.text
        tried = await client.post(f"/live/{centre.runner.state.call}/pause", data={"stamp": page.stamp}, headers=SCRIPT)
        assert tried.status_code == 403
    async with signed_in(centre, "olga") as client:
        assert ALICE not in (await opens(client, "/live")).text


async def test_a_pause_that_lasts_too_long_stands_on_the_supervisors_page(centre: Centre) -> None:
    await enters(centre, "sam", Role.SUPERVISOR)
    talk = await talks(centre)
    centre.marks(talk, "pause")
    await centre.until_capture("paused")
    async with signed_in(centre, "sam") as client:
        assert "was it forgotten?" not in (await opens(client, "/live")).text
        runner = centre.runner
        centre.assembly.daemon.parts.pauses.long = {runner.state.call: runner.now()}
        assert "Paused for long: was it forgotten?" in (await opens(client, "/live")).text


async def test_without_its_script_a_page_says_the_same_and_a_reload_sends_nothing_again(centre: Centre) -> None:
    await enters(centre, "alice", Role.AGENT, at=ALICE)
    await talks(centre)
    async with signed_in(centre, "alice") as client:
        page = await opens(client, "/live")
        call = centre.runner.state.call
        done = await client.post(f"/live/{call}/pause", data={"stamp": page.stamp})
        assert (done.status_code, done.headers["location"]) == (303, "/live?said=answer.paused")
        assert "from now on the recording is silent" in (await opens(client, done.headers["location"])).text
        centre.tells_of_mutes = False
        failed = await client.post(f"/live/{call}/resume", data={"stamp": page.stamp})
        assert failed.headers["location"] == "/live?said=problem.capture_stopped"
        assert '<p id="said" class="wrong"' in (await opens(client, failed.headers["location"])).text
        assert "<script>" not in (await opens(client, "/live?said=<script>alert(1)</script>")).text


async def test_nothing_is_called_paused_before_asterisk_says_so(centre: Centre) -> None:
    await enters(centre, "sam", Role.SUPERVISOR)
    _, secret = await token_of(centre, "sam")
    talk = await talks(centre)
    centre.tells_of_mutes = False
    async with program(centre, secret) as client:
        centre.marks(talk, "pause")
        await until(lambda: any(mix.muted for mix in centre.mixes), "the mute")
        (call,) = (await client.get("/api/v1/live")).json()
        assert call["heard"] == "pausing"
        centre.mutes(centre.mixes[0].channel, muted=True)
        await centre.until_capture("paused")
        await until(lambda: centre.runner.state.captures[0].silent, "Asterisk's word")
        (call,) = (await client.get("/api/v1/live")).json()
        assert call["heard"] == "paused"


async def test_resuming_where_nothing_is_captured_says_that_nothing_is(centre: Centre) -> None:
    await enters(centre, "alice", Role.AGENT, at=ALICE)
    await talks(centre, keys="2")
    async with signed_in(centre, "alice") as client:
        page = await opens(client, "/live")
        call = centre.runner.state.call
        said = [
            (await client.post(f"/live/{call}/{act}", data={"stamp": page.stamp}, headers=SCRIPT)).text
            for act in ("pause", "resume")
        ]
        assert said[1].startswith("Resumed: no pause keeps it silent.")
        told = (await client.post(f"/api/v1/live/{call}/resume", headers={"X-Recorder-Stamp": page.stamp})).json()
        assert (told["answer"], told["heard"]) == ("resumed", "not_captured")


# --------------------------------------------------------------------------- whose leg is whose


async def outgoing(centre: Centre, keys: str = "1") -> Talk:
    talk = centre.new_outgoing()
    centre.dials_out(talk)
    await until(lambda: centre.runners, "the call")
    centre.say("DialBegin", talk.agent, dest=talk.caller)
    await centre.answers_call(talk, keys=keys)
    centre.bridges(talk)
    await centre.until_talking()
    return talk


@pytest.mark.parametrize("restarted", [False, True])
async def test_on_an_outgoing_call_only_the_agents_own_telephone_is_shown_and_silenced(
    centre: Centre, restarted: bool
) -> None:
    await enters(centre, "payments", Role.PAYMENT)
    _, secret = await token_of(centre, "payments")
    talk = await outgoing(centre)
    if restarted:
        await centre.kill()
        await centre.start()
        await centre.until_talking()
    async with program(centre, secret) as client:
        (call,) = (await client.get("/api/v1/live")).json()
        assert call["telephones"] == [ALICE]
        answer = await presses(client, centre, "pause")
        assert (answer.status_code, answer.json()["answer"]) == (200, "paused")
    centre.hangs_up(talk)


async def test_behind_a_local_member_the_call_is_whose_the_telephone_is(centre: Centre) -> None:
    """The member is somebody's too, who is not in the talk."""
    await enters(centre, "alice", Role.AGENT, at=ALICE)
    await enters(centre, "bob", Role.AGENT, at="Local/101@agents")
    await behind_agents.talks(centre)
    async with signed_in(centre, "bob") as client:
        assert "No call that you may see" in (await opens(client, "/live")).text
    async with signed_in(centre, "alice") as client:
        assert "your call" in (await opens(client, "/live")).text


# --------------------------------------------------------------------------- as it changes


async def test_a_page_hears_of_each_change_and_of_the_end_of_its_session(
    centre: Centre, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "RECHECKED_EVERY", 0.3)
    await enters(centre, "alice", Role.AGENT, at=ALICE)
    talk = await talks(centre)
    async with signed_in(centre, "alice") as client, client.stream("GET", "/live/changes") as stream:
        lines = stream.aiter_lines()
        assert "recorded now" in await told(lines, "calls")
        centre.marks(talk, "pause")
        assert "silent: paused" in await told(lines, "calls")
        await centre.catalogue.write_user_acts([user_act(UserAction.DISABLED)])
        await told(lines, "over")


async def told(lines: AsyncIterator[str], name: str) -> str:
    """The data of the next event of this name."""
    async with asyncio.timeout(10):
        heard = ""
        data: list[str] = []
        async for line in lines:
            field, _, value = line.partition(": ")
            if field == "event":
                heard, data = value, []
            elif field == "data":
                data.append(value)
            elif not line and heard == name:
                return "\n".join(data)
    raise AssertionError(f"the stream ended before {name}")


async def test_a_program_hears_of_changes_too_and_too_many_are_told_so(
    centre: Centre, monkeypatch: pytest.MonkeyPatch
) -> None:
    await enters(centre, "payments", Role.PAYMENT)
    _, secret = await token_of(centre, "payments")
    await talks(centre)
    async with program(centre, secret) as client:
        async with client.stream("GET", "/api/v1/live/changes") as stream:
            (call,) = json.loads(await told(stream.aiter_lines(), "calls"))
            assert call["line"] == "support"
        monkeypatch.setattr(watching, "WATCHERS_MOST_EACH", 0)
        refused = await client.get("/api/v1/live/changes")
        assert (refused.status_code, refused.json()["code"]) == (429, "too_many")


# --------------------------------------------------------------------------- who is nobody


@pytest.mark.parametrize("path", ["/api/v1/me", "/api/v1/live", "/api/v1/live/changes", "/api/v1/openapi.json"])
async def test_whoever_shows_nothing_or_something_wrong_is_told_how_to_sign_in(centre: Centre, path: str) -> None:
    for shown in ("", "Bearer rec_nothing", "Bearer", "Bearer x", "Basic YTpi"):
        async with browser(centre, **({"Authorization": shown} if shown else {})) as client:
            answer = await client.get(path)
        assert (answer.status_code, answer.json()["code"]) == (401, "not_signed_in")
        assert answer.headers["www-authenticate"] == "Bearer"


async def test_a_call_that_nobody_knows_and_a_word_that_is_no_act_are_problems(centre: Centre) -> None:
    await enters(centre, "payments", Role.PAYMENT)
    _, secret = await token_of(centre, "payments")
    async with program(centre, secret) as client:
        unknown = await client.post(f"/api/v1/live/{uuid4()}/pause")
        assert (unknown.status_code, unknown.json()["code"]) == (404, "call_is_over")
        unread = await client.post(f"/api/v1/live/{uuid4()}/shout")
        assert (unread.status_code, unread.json()["code"]) == (422, "not_understood")
