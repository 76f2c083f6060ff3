"""A telephone behind a Local member that stays in the path (/n), beside a fake PBX: its keys, and who comes there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from recorder.ami import AmiDown
from recorder.daemon import reception
from recorder.rights import ANYBODY, EVERY_LINE, UserAction
from tests.edge.centre import Centre, Talk, until
from tests.facts import user_act
from tests.fakes.pbx import Action, FakeChannel, FakePbx, event, response, snapshot

pytestmark = pytest.mark.usefixtures("no_task_left")


@pytest.fixture
def engine_name() -> str:
    return "sqlite"


@pytest.fixture
async def centre(catalogue_url: str, tmp_path: Path) -> AsyncIterator[Centre]:
    async with AsyncExitStack() as closing:
        pbx = await closing.enter_async_context(FakePbx())
        made = Centre(pbx, tmp_path, catalogue_url)
        closing.push_async_callback(made.kill)
        await made.start()
        yield made


@dataclass(slots=True, kw_only=True)
class Desk:
    """A talk with a telephone behind the two halves of a Local channel; `beyond` is what its override keys act on."""

    centre: Centre
    talk: Talk
    beyond: Talk
    pressed: list[Action] = field(default_factory=list)

    @property
    def states(self) -> list[str]:
        return [str(capture.state) for capture in self.centre.runner.state.captures]

    async def until_fetched(self) -> None:
        await until(lambda: self.pressed, "the key for the caller's channel")
        (key,) = self.pressed
        assert (key["Channel"], key["Digit"]) == (self.talk.caller.name, "C")


async def talks(centre: Centre, *, keys: str = "1") -> Desk:
    talk = await centre.asks(keys=keys)
    linkedid = talk.caller.linkedid
    two, phone = (
        FakeChannel(name=name, uniqueid=f"1795298008.{number}", linkedid=linkedid)
        for number, name in enumerate(("Local/101@agents-00000001;2", "PJSIP/alice-000000b1"), 2)
    )
    centre.pbx.channels.remove(talk.agent)
    talk.agent = FakeChannel(name="Local/101@agents-00000001;1", uniqueid="1795298008.1", linkedid=linkedid)
    centre.pbx.channels += [talk.agent, two, phone]
    halves = [
        *snapshot(talk.agent.name, talk.agent.uniqueid, linkedid, "LocalOne"),
        *snapshot(two.name, two.uniqueid, linkedid, "LocalTwo"),
    ]
    centre.pbx.say(event("LocalBridge", *halves))
    centre.say("AgentCalled", talk.caller, dest=talk.agent)
    centre.say("DialBegin", two, dest=phone)
    centre.enters(phone, "desk", 1)
    centre.enters(two, "desk", 2)
    centre.connects(talk, interface="Local/101@agents/n")
    await centre.until_talking()
    desk = Desk(centre=centre, talk=talk, beyond=Talk(caller=two, agent=phone, bridge="desk"))

    def presses(action: Action) -> bytes:
        desk.pressed.append(action)
        return response(action, "Success")

    centre.pbx.answers["PlayDTMF"] = presses
    return desk


async def test_its_override_key_counts_on_the_callers_own_channel(centre: Centre) -> None:
    desk = await talks(centre, keys="2")
    await centre.presses(desk.beyond)
    await desk.until_fetched()
    assert centre.mixes == []
    await centre.presses(desk.talk, "joined", who=desk.talk.caller)
    await until(lambda: desk.states == ["running"], "the override")
    assert [mix.channel for mix in centre.mixes] == [desk.talk.caller]
    centre.hangs_up(desk.talk)
    assert await centre.outcome() == ("recorded", None)
    assert [row.action for row in (await centre.whole()).audit] == ["override"]


@pytest.mark.parametrize(
    ("seat", "user"), [("Local/101@agents", "alice"), ("PJSIP/alice", "alice"), ("PJSIP/bob", None)]
)
async def test_its_override_key_is_whose_member_or_telephone_it_is(centre: Centre, seat: str, user: str | None) -> None:
    people = [user_act(), user_act(UserAction.SEATED, at=seat), user_act(UserAction.GRANTED, line="support")]
    desk = await talks(centre, keys="2")
    await centre.catalogue.write_user_acts([user_act(UserAction.REVOKED, ANYBODY, line=EVERY_LINE), *people])
    await centre.presses(desk.beyond)
    await desk.until_fetched()
    await centre.presses(desk.talk, "joined", who=desk.talk.caller)
    await until(lambda: desk.states == (["running"] if user else []), "the override")
    (row,) = (await centre.whole()).audit
    assert (row.action, row.details.get("user")) == ("override" if user else "override refused", user)


async def test_what_is_brought_serves_one_key(centre: Centre) -> None:
    desk = await talks(centre, keys="2")
    await centre.presses(desk.beyond)
    await centre.presses(desk.talk, "joined", who=desk.talk.caller)
    await until(lambda: desk.states == ["running"], "the override")
    with capture_logs() as said:
        await centre.presses(desk.talk, "joined", who=desk.talk.caller)
    assert "key_not_expected" in [line["event"] for line in said]
    assert len(centre.mixes) == 1


async def test_what_is_brought_too_late_serves_no_key(centre: Centre, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key is for what is being said when it is pressed."""
    desk = await talks(centre, keys="2")
    await centre.presses(desk.beyond)
    await desk.until_fetched()
    monkeypatch.setattr(reception, "CONCLUDED_WITHIN", timedelta())
    with capture_logs() as said:
        await centre.presses(desk.talk, "joined", who=desk.talk.caller)
    assert [line["event"] for line in said if line["log_level"] == "warning"] == ["key_not_expected"]
    assert (desk.states, centre.mixes) == ([], [])


async def test_a_key_of_somebody_who_is_not_there_any_more_fetches_nothing(centre: Centre) -> None:
    desk = await talks(centre, keys="2")
    centre.leaves(desk.beyond.agent, 1)
    await until(lambda: desk.beyond.agent.uniqueid not in centre.runner.state.bridges, "the departure")
    with capture_logs() as said:
        await centre.presses(desk.beyond)
    assert "key_not_of_the_agent" in [line["event"] for line in said]
    assert desk.pressed == []


async def test_a_channel_that_cannot_be_brought_is_said(centre: Centre, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = await talks(centre, keys="2")

    async def down(*_: object) -> None:
        raise AmiDown("away")

    monkeypatch.setattr(centre.assembly.daemon.parts.capture, "summon", down)
    with capture_logs() as said:
        await centre.presses(desk.beyond)
    assert "key_not_answered" in [line["event"] for line in said]


async def test_whoever_takes_its_place_ends_the_capture(centre: Centre) -> None:
    desk = await talks(centre)
    assert desk.states == ["running"]
    centre.leaves(desk.beyond.caller, 1)
    await until(lambda: not centre.mixes[0].open, "the end of the capture")


async def test_its_pause_key_is_the_agents(centre: Centre) -> None:
    desk = await talks(centre)
    centre.marks(desk.beyond, "pause")
    await until(lambda: centre.mixes[0].muted, "the pause")
