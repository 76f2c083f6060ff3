"""An override by a page or a program, in place of the key of one's own telephone (OV-01 to OV-03, CN-15).

Beside a fake PBX: the daemon has the caller's own channel brought by its key C, and the dialplan begins the capture.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from structlog.testing import capture_logs

from recorder.ami import AmiDown
from recorder.daemon import reception
from recorder.rights import ANYBODY, EVERY_LINE, Denied, Right, Role, UserAction
from tests.edge import test_behind_agents as behind_agents
from tests.edge.centre import LINES, Centre, Talk, forbid, until
from tests.edge.test_live_calls import outgoing
from tests.edge.visitors import enters, opens, program, signed_in, token_of
from tests.facts import override_for, user_act
from tests.fakes.agi import OK
from tests.fakes.pbx import Action, FakePbx, response

pytestmark = pytest.mark.usefixtures("no_task_left")

ALICE, BOB = "PJSIP/alice", "PJSIP/bob"
SCRIPT = {"X-Recorder-Script": "1"}
NOBODY_MAY = user_act(UserAction.REVOKED, ANYBODY, line=EVERY_LINE)


@pytest.fixture
async def centre(catalogue_url: str, tmp_path: Path) -> AsyncIterator[Centre]:
    async with AsyncExitStack() as closing:
        made = Centre(await closing.enter_async_context(FakePbx()), tmp_path, catalogue_url)
        closing.push_async_callback(made.kill)
        await made.start()
        await made.catalogue.write_user_acts([NOBODY_MAY])
        yield made


@dataclass(slots=True, kw_only=True)
class Desk:
    """A talk of alice's whose caller refused, and what the daemon presses on its channels."""

    centre: Centre
    talk: Talk
    pressed: list[Action] = field(default_factory=list)

    @property
    def call(self) -> str:
        return str(self.centre.runner.state.call)

    @property
    def way(self) -> str:
        return f"/live/{self.call}/override/emergency"

    async def brings(self, times: int = 1) -> None:
        """The dialplan comes with the caller's channel, as the key C on it has it come."""
        await until(lambda: len(self.pressed) == times, "the key for the caller's channel")
        assert [(key["Channel"], key["Digit"]) for key in self.pressed] == [(self.talk.caller.name, "C")] * times
        await self.centre.presses(self.talk, "joined", who=self.talk.caller)


async def at_desk(centre: Centre, talk: Talk | None = None, *, keys: str = "2") -> Desk:
    if talk is None:
        talk = await centre.asks(keys=keys)
        centre.connects(talk)
        await centre.until_talking()
    desk = Desk(centre=centre, talk=talk)

    def presses(action: Action) -> bytes:
        desk.pressed.append(action)
        return response(action, "Success")

    centre.pbx.answers["PlayDTMF"] = presses
    return desk


async def sends(client: httpx2.AsyncClient, desk: Desk, *, stamp: str | None = None) -> asyncio.Task[httpx2.Response]:
    """Confirm it on the page; by a program where there is no stamp."""
    if stamp is None:
        return asyncio.create_task(client.post(f"/api/v1{desk.way}"))
    return asyncio.create_task(client.post(desk.way, data={"stamp": stamp}))


async def details_of(centre: Centre) -> list[tuple[str, dict[str, Any]]]:
    """The audit, once what was answered is written: only a capture waits for that."""
    await until(lambda: all(not runner.owes for runner in centre.runners), "the writes")
    return [(row.action, dict(row.details)) for row in (await centre.whole()).audit]


# --------------------------------------------------------------------------- as the key does


async def test_a_page_captures_by_override_as_the_key_does_and_the_audit_says_who_asked_there(centre: Centre) -> None:
    seen: list[object] = []

    def looks() -> bytes:
        seen.extend(centre.rows("SELECT action, actor FROM audit"))
        return OK

    centre.at_mixmonitor = looks
    await enters(centre, "alice", Role.OVERRIDER, at=ALICE)
    desk = await at_desk(centre)
    async with signed_in(centre, "alice") as client:
        assert "Record without consent: emergency" in (await opens(client, "/live")).text
        page = await opens(client, desk.way)
        for words in ("the law on emergency", "refused", "is not told by the recorder"):
            assert words in page.text
        asked = await sends(client, desk, stamp=page.stamp)
        await desk.brings()
        answer = await asked
        assert (answer.status_code, answer.headers["location"]) == (303, "/live?said=answer.captured")
        assert "that you decided so is kept" in (await opens(client, answer.headers["location"])).text
    assert [mix.channel for mix in centre.mixes] == [desk.talk.caller]
    centre.hangs_up(desk.talk)
    assert await centre.outcome() == ("recorded", None)
    assert (await centre.recording()).sealed
    assert seen == [("override", ALICE)]  # the row was there before anything was captured
    ((action, said),) = await details_of(centre)
    assert (action, said["user"], said["by"], said["way"]) == ("override", "alice", "alice", "page")
    assert (said["reason"], said["basis"], said["telephone"]) == ("emergency", "the law on emergency", ALICE)
    assert [event.after for event in (await centre.whole()).consents][-2:] == ["refused", "overridden"]


async def test_a_program_in_an_agents_name_overrides_at_their_own_telephone_and_is_named(centre: Centre) -> None:
    await enters(centre, "alice", Role.OVERRIDER, at=ALICE)
    _, secret = await token_of(centre, "alice")
    desk = await at_desk(centre)
    async with program(centre, secret) as client:
        (seen,) = (await client.get("/api/v1/live")).json()
        assert (seen["yours"], seen["reasons"]) == (True, ["emergency", "legal", "business"])
        asked = await sends(client, desk)
        await desk.brings()
        answer = await asked
    assert (answer.status_code, answer.json()["reason"], answer.json()["heard"]) == (200, "emergency", "captured")
    ((action, said),) = await details_of(centre)
    assert (action, said["user"], said["by"], said["way"]) == (
        "override",
        "alice",
        "alice by token payment page",
        "program",
    )


async def test_where_whoever_is_at_a_telephone_may_they_may_on_the_page_too(centre: Centre) -> None:
    await centre.catalogue.write_user_acts([user_act(UserAction.GRANTED, ANYBODY, line="support")])
    await enters(centre, "alice", at=ALICE)
    desk = await at_desk(centre)
    async with signed_in(centre, "alice") as client:
        asked = await sends(client, desk, stamp=(await opens(client, desk.way)).stamp)
        await desk.brings()
        assert (await asked).headers["location"] == "/live?said=answer.captured"


async def test_behind_a_local_member_it_is_the_callers_own_channel_that_is_captured(centre: Centre) -> None:
    await enters(centre, "alice", Role.OVERRIDER, at=ALICE)
    behind = await behind_agents.talks(centre, keys="2")
    desk = await at_desk(centre, behind.talk)
    async with signed_in(centre, "alice") as client:
        asked = await sends(client, desk, stamp=(await opens(client, desk.way)).stamp)
        await desk.brings()
        assert (await asked).headers["location"] == "/live?said=answer.captured"
    assert [mix.channel for mix in centre.mixes] == [desk.talk.caller]


async def test_what_is_captured_once_is_not_offered_again(centre: Centre) -> None:
    await enters(centre, "alice", Role.OVERRIDER, at=ALICE)
    desk = await at_desk(centre, keys="1")
    await centre.until_capture("running")
    async with signed_in(centre, "alice") as client:
        page = await opens(client, "/live")
        assert "Record without consent" not in page.text
        assert (await opens(client, desk.way)).status == 409
        done = await client.post(desk.way, data={"stamp": page.stamp}, headers=SCRIPT)
    assert (done.status_code, desk.pressed) == (409, [])
    ((action, said),) = await details_of(centre)
    assert (action, said["hindrance"], said["by"]) == ("override refused", "not_now", "alice")
    assert [mix.open for mix in centre.mixes] == [True]


# --------------------------------------------------------------------------- refused, and kept


async def test_who_has_no_right_is_offered_nothing_and_that_they_tried_is_audited(centre: Centre) -> None:
    await enters(centre, "alice", Role.AGENT, at=ALICE)
    desk = await at_desk(centre)
    async with signed_in(centre, "alice") as client:
        page = await opens(client, "/live")
        assert "Record without consent" not in page.text
        assert (await opens(client, desk.way)).status == 403
        with capture_logs() as said:
            tried = await client.post(desk.way, data={"stamp": page.stamp}, headers=SCRIPT)
    assert (tried.status_code, desk.pressed, centre.mixes) == (403, [], [])
    assert [line["why"] for line in said if line["event"] == "override_denied"] == [Denied.NOT_GRANTED]
    ((action, details),) = await details_of(centre)
    assert (action, details["hindrance"], details["denied"]) == ("override refused", "without_right", "not_granted")
    assert (details["user"], details["by"], details["way"]) == ("alice", "alice", "page")
    centre.hangs_up(desk.talk)
    assert await centre.outcome() == ("declined", None)


async def test_a_token_for_something_else_overrides_nothing_and_that_it_tried_is_audited(centre: Centre) -> None:
    await enters(centre, "alice", Role.OVERRIDER, Role.AGENT, at=ALICE)
    _, secret = await token_of(centre, "alice", rights=frozenset({Right.CONTROL_OWN}))
    desk = await at_desk(centre)
    async with program(centre, secret) as client:
        (seen,) = (await client.get("/api/v1/live")).json()
        assert seen["reasons"] == []
        answer = await client.post(f"/api/v1{desk.way}")
    assert (answer.status_code, answer.json()["code"], desk.pressed) == (403, "not_permitted", [])
    ((action, details),) = await details_of(centre)
    assert (action, details["denied"], details["way"]) == ("override refused", "not_granted", "program")


async def test_nobody_overrides_a_call_at_which_they_do_not_sit(centre: Centre) -> None:
    await enters(centre, "bob", Role.OVERRIDER, at=BOB)
    await enters(centre, "sam", Role.OVERRIDER, Role.SUPERVISOR)
    desk = await at_desk(centre)
    for name, status in (("bob", 404), ("sam", 403)):
        async with signed_in(centre, name) as client:
            page = await opens(client, "/live")
            assert "Record without consent" not in page.text
            stamp = (await opens(client, "/password")).stamp
            tried = await client.post(desk.way, data={"stamp": stamp}, headers=SCRIPT)
        assert tried.status_code == status, tried.text
    assert (desk.pressed, centre.mixes, await details_of(centre)) == ([], [], [])


async def test_a_right_that_is_taken_back_while_the_channel_is_brought_counts_no_more(centre: Centre) -> None:
    await enters(centre, "alice", Role.OVERRIDER, at=ALICE)
    desk = await at_desk(centre)
    async with signed_in(centre, "alice") as client:
        asked = await sends(client, desk, stamp=(await opens(client, desk.way)).stamp)
        await until(lambda: desk.pressed, "the key")
        await centre.catalogue.write_user_acts([user_act(UserAction.REVOKED, line="support")])
        await desk.brings()
        assert (await asked).headers["location"] == "/live?said=problem.refused"
    ((action, details),) = await details_of(centre)
    assert (action, details["hindrance"], centre.mixes) == ("override refused", "without_right", [])


async def test_a_channel_that_nobody_brings_captures_nothing_then_nor_later(
    centre: Centre, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with a dialplan that is older, and has no key C: whoever asked is told, and it is kept."""
    await enters(centre, "alice", Role.OVERRIDER, at=ALICE)
    _, secret = await token_of(centre, "alice")
    desk = await at_desk(centre)
    monkeypatch.setattr(reception, "CONCLUDED_WITHIN", timedelta(milliseconds=200))
    async with program(centre, secret) as client:
        with capture_logs() as said:
            answer = await client.post(f"/api/v1{desk.way}")
            await desk.brings()
    assert (answer.status_code, answer.json()["code"]) == (409, "refused")
    assert {"override_not_brought", "key_not_expected"} <= {line["event"] for line in said}
    ((action, details),) = await details_of(centre)
    assert (action, details["hindrance"], centre.mixes) == ("override refused", "not_brought", [])


async def test_a_pbx_that_cannot_be_asked_for_the_channel_is_a_refusal_at_once(
    centre: Centre, monkeypatch: pytest.MonkeyPatch
) -> None:
    await enters(centre, "alice", Role.OVERRIDER, at=ALICE)
    _, secret = await token_of(centre, "alice")
    desk = await at_desk(centre)

    async def down(*_: object) -> None:
        raise AmiDown("away")

    monkeypatch.setattr(centre.assembly.daemon.parts.capture, "summon", down)
    async with program(centre, secret) as client:
        answer = await client.post(f"/api/v1{desk.way}")
    assert (answer.status_code, answer.json()["code"]) == (409, "refused")
    assert [said["hindrance"] for _, said in await details_of(centre)] == ["not_brought"]


async def test_two_at_once_capture_once(centre: Centre) -> None:
    await enters(centre, "alice", Role.OVERRIDER, at=ALICE)
    _, secret = await token_of(centre, "alice")
    desk = await at_desk(centre)
    async with program(centre, secret) as client:
        first = await sends(client, desk)
        await until(lambda: desk.pressed, "the key")
        second = await client.post(f"/api/v1{desk.way}")
        await desk.brings()
        assert ((await first).status_code, second.status_code) == (200, 409)
    assert len(centre.mixes) == 1
    assert sorted(action for action, _ in await details_of(centre)) == ["override", "override refused"]


async def test_an_override_whose_audit_row_is_refused_captures_nothing_by_page_either(centre: Centre) -> None:
    await enters(centre, "alice", Role.OVERRIDER, at=ALICE)
    _, secret = await token_of(centre, "alice")
    desk = await at_desk(centre)
    forbid(centre.url, "audit", "NEW.action = 'override'")
    async with program(centre, secret) as client:
        asked = await sends(client, desk)
        await desk.brings()
        assert (await asked).status_code in (409, 504)
    assert (centre.mixes, centre.staged()) == ([], [])


# --------------------------------------------------------------------------- who is to be told of it


async def with_telling(centre: Centre) -> Desk:
    await centre.stop()
    line = {**LINES["support"], "override": override_for("emergency", tells_caller=True)}
    centre.change("line", support=line)
    await centre.start()
    await enters(centre, "alice", Role.OVERRIDER, at=ALICE)
    return await at_desk(centre)


async def test_a_caller_who_is_to_be_told_is_told_by_the_same_dialplan(centre: Centre) -> None:
    desk = await with_telling(centre)
    _, secret = await token_of(centre, "alice")
    async with program(centre, secret) as client:
        asked = await sends(client, desk)
        await desk.brings()
        assert (await asked).json()["tells_caller"] is True
    await until(lambda: centre.runner.state.captures[0].to_tell is None, "the word of the telling")
    centre.hangs_up(desk.talk)
    assert await centre.outcome() == ("recorded", None)
    assert [action for action, _ in await details_of(centre)] == ["override", "override told"]


async def test_a_dialplan_that_cannot_tell_refuses_the_page_too(centre: Centre) -> None:
    desk = await with_telling(centre)
    centre.dialplan_says = ()
    async with signed_in(centre, "alice") as client:
        page = await opens(client, desk.way)
        assert "is told, as soon as it is recorded" in page.text
        asked = await sends(client, desk, stamp=page.stamp)
        await desk.brings()
        assert (await asked).headers["location"] == "/live?said=problem.refused"
    ((action, details),) = await details_of(centre)
    assert (action, details["hindrance"], centre.mixes) == ("override refused", "prompt_failed", [])


async def test_an_outgoing_call_is_overridden_on_the_callees_channel(centre: Centre) -> None:
    await enters(centre, "alice", Role.OVERRIDER, at=ALICE)
    _, secret = await token_of(centre, "alice")
    talk = await outgoing(centre, keys="2")
    desk = await at_desk(centre, talk)
    async with program(centre, secret) as client:
        asked = await sends(client, desk)
        await desk.brings()
        assert (await asked).status_code == 200
    assert [mix.channel for mix in centre.mixes] == [talk.caller]
