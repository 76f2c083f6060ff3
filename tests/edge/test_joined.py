"""An agent joins the caller with another line's agent by telephone (SIP REFER, CN-13), beside a fake PBX."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from recorder.daemon import CallRunner
from recorder.daemon import runner as runners
from tests.edge.centre import Centre, Talk, until
from tests.fakes.pbx import Action, FakeChannel, FakePbx, event, listing, response, snapshot

pytestmark = pytest.mark.usefixtures("no_task_left")

LINES = {"sales": {"consent": "opt_in", "answer_seconds": 1, "retries": 0, "announce": True}}


@pytest.fixture
def engine_name() -> str:
    return "sqlite"


@pytest.fixture
async def centre(catalogue_url: str, tmp_path: Path) -> AsyncIterator[Centre]:
    """A house whose agents' telephones are members themselves."""
    async with AsyncExitStack() as closing:
        pbx = await closing.enter_async_context(FakePbx())
        members: list[tuple[str, list[tuple[str, object]]]] = [
            ("QueueMember", [("Queue", "support"), ("Name", name), ("Location", f"PJSIP/{name}")]) for name in AGENTS
        ]
        pbx.answers["QueueStatus"] = lambda action: listing(action, members, "QueueStatusComplete")
        made = Centre(pbx, tmp_path, catalogue_url, line=LINES)
        closing.push_async_callback(made.kill)
        await made.start()
        yield made


AGENTS = ("alice", "bob")


@dataclass(slots=True, kw_only=True)
class House:
    """A talk whose agent has rung another line on their telephone's second, and speaks with its agent."""

    centre: Centre
    talk: Talk
    beside: Talk
    pressed: list[Action]
    two: FakeChannel | None = None

    @property
    def call(self) -> CallRunner:
        """The caller's."""
        found = [one for one in self.centre.runners if one.state.caller.uniqueid == self.talk.caller.uniqueid]  # type: ignore[union-attr]
        return found[0]

    @property
    def states(self) -> list[str]:
        return [str(capture.state) for capture in self.call.state.captures]

    def links(self, *, second_first: bool = False) -> None:
        """Asterisk puts a Local channel in the places of the agent's two legs, and hangs both up."""
        centre, talk, beside = self.centre, self.talk, self.beside
        linkedid = talk.caller.linkedid
        near, far = (
            FakeChannel(name=f"Local/_attended@transfer-00000001;{n}", uniqueid=f"1795298009.{n}", linkedid=linkedid)
            for n in ((2, 1) if second_first else (1, 2))
        )
        far.linkedid = beside.caller.linkedid if second_first else linkedid
        centre.pbx.channels += [near, far]
        for old, new, bridge in ((beside.caller, far, beside.bridge), (talk.agent, near, talk.bridge)):
            centre.leaves(old, 1)
            centre.enters(new, bridge, 2)
        first, second = (beside.caller, talk.agent) if second_first else (talk.agent, beside.caller)
        transferee = beside.agent if second_first else talk.caller
        one, two = (far, near) if second_first else (near, far)
        named = [
            *snapshot(first.name, first.uniqueid, first.linkedid, "OrigTransferer"),
            *snapshot(second.name, second.uniqueid, second.linkedid, "SecondTransferer"),
            *snapshot(transferee.name, transferee.uniqueid, transferee.linkedid, "Transferee"),
            *snapshot(one.name, one.uniqueid, one.linkedid, "LocalOne"),
            *snapshot(two.name, two.uniqueid, two.linkedid, "LocalTwo"),
        ]
        centre.pbx.say(event("AttendedTransfer", ("Result", "Success"), ("DestType", "Link"), *named))
        for gone in (talk.agent, beside.caller):
            centre.pbx.channels.remove(gone)
            centre.say("Hangup", gone, ("Cause", 16))

    async def brings(self) -> None:
        """The key on the caller's channel, all the way through recorder-key."""
        await self.centre.presses(self.talk, "joined", who=self.talk.caller)

    async def until_summoned(self) -> None:
        await until(lambda: self.pressed, "the key")
        (key,) = self.pressed
        assert (key["Channel"], key["Digit"], key["Receive"]) == (self.talk.caller.name, "C", "true")


async def consults(centre: Centre, *, keys: str = "1", line: str = "sales", behind: bool = False) -> House:
    """`behind`: the other line's agent is a Local member, with a telephone behind it."""
    pressed: list[Action] = []

    def presses(action: Action) -> bytes:
        pressed.append(action)
        return response(action, "Success")

    centre.pbx.answers["PlayDTMF"] = presses
    talk = await centre.asks(keys=keys)
    centre.connects(talk)
    await centre.until_talking()
    beside = Talk(
        caller=FakeChannel(name="PJSIP/alice-000000a1", uniqueid="1795298007.1", linkedid="1795298007.1"),
        agent=FakeChannel(name="PJSIP/bob-000000a2", uniqueid="1795298007.2", linkedid="1795298007.1"),
        bridge="beside",
    )
    beside.agent.variables["RECORDER_LINE"] = line  # by recorder-agent
    centre.pbx.channels += [beside.caller, beside.agent]
    await centre.asks(line=line, talk=beside)
    two = await stands_behind(centre, beside) if behind else None
    centre.say("AgentCalled", beside.caller, dest=beside.agent)
    centre.connects(beside, queue=line)
    await until(lambda: is_there(centre, beside), "the consultation")
    return House(centre=centre, talk=talk, beside=beside, pressed=pressed, two=two)


async def stands_behind(centre: Centre, beside: Talk) -> FakeChannel:
    """The agent's leg becomes the half of a Local channel, whose other one this returns, with the telephone beyond."""
    linkedid, phone = beside.caller.linkedid, beside.agent
    one, two = (
        FakeChannel(name=f"Local/102@agents-00000002;{n}", uniqueid=f"1795298007.1{n}", linkedid=linkedid)
        for n in (1, 2)
    )
    one.variables = dict(phone.variables)
    centre.pbx.channels += [one, two]
    beside.agent = one
    halves = [
        *snapshot(one.name, one.uniqueid, linkedid, "LocalOne"),
        *snapshot(two.name, two.uniqueid, linkedid, "LocalTwo"),
    ]
    centre.pbx.say(event("LocalBridge", *halves))
    centre.say("DialBegin", two, dest=phone)
    centre.enters(phone, "desk", 1)
    centre.enters(two, "desk", 2)
    return two


def is_there(centre: Centre, talk: Talk) -> bool:
    """Whether the line's agent stands where the second leg does, for the daemon."""
    return any(one.state.bridges.get(talk.agent.uniqueid) == talk.bridge for one in centre.runners)  # type: ignore[call-overload]


@pytest.mark.parametrize("second_first", [False, True], ids=["from the first leg", "from the second"])
async def test_the_talk_after_it_is_captured_on_the_callers_own_channel(centre: Centre, second_first: bool) -> None:
    house = await consults(centre)
    assert len(centre.mixes) == 1
    house.links(second_first=second_first)
    await house.until_summoned()
    await house.brings()
    await until(lambda: house.states == ["settled", "running"], "the talk to be captured")
    assert centre.mixes[1].channel is house.talk.caller
    for channel in (house.talk.caller, house.beside.agent):
        centre.leaves(channel, 1)
    centre.hangs_up(house.talk)
    centre.hangs_up(house.beside)
    rows = await centre.until_closed(2)
    assert sorted(str(row.outcome) for row in rows) == ["excluded", "recorded"]
    mine = await centre.catalogue.one_call(next(row.id for row in rows if str(row.outcome) == "recorded"))
    assert mine is not None
    assert [(row.line, str(row.status)) for row in mine.recordings] == [("support", "settled"), ("sales", "settled")]
    assert [str(row.after) for row in mine.consents][-2:] == ["given", "given"]


async def test_its_agent_is_told_that_it_is_recorded_before_the_consultation(centre: Centre) -> None:
    house = await consults(centre)
    assert house.beside.caller.variables["RECORDER_ANNOUNCE"].endswith("/recorded")


@pytest.mark.parametrize("keys", ["2", " "], ids=["refused", "unanswered"])
async def test_after_any_answer_but_a_yes_its_agent_is_told_that_it_is_not_and_nothing_is_asked_for(
    centre: Centre, keys: str
) -> None:
    house = await consults(centre, keys=keys)
    assert house.beside.caller.variables["RECORDER_ANNOUNCE"].endswith("/unrecorded")
    house.links()
    await until(lambda: house.call.state.phase == "apart", "the link")
    await house.brings()
    assert (house.pressed, centre.mixes) == ([], [])


async def test_to_a_line_that_is_never_recorded_nothing_is_asked_for(centre: Centre) -> None:
    house = await consults(centre, line="private")
    house.links()
    await until(lambda: house.states == ["settled"], "the first talk's end")
    await house.brings()
    assert (house.pressed, len(centre.mixes)) == ([], 1)


async def test_a_line_that_its_call_has_passed_on_from_counts_no_more(centre: Centre) -> None:
    """Its own dialplan sends a caller whom nobody serves on to another line, here to one that is never recorded."""
    house = await consults(centre)
    await centre.asks(line="private", talk=house.beside)
    centre.say("AgentCalled", house.beside.caller, dest=house.beside.agent)
    centre.connects(house.beside, queue="private")
    await until(lambda: is_there(centre, house.beside), "the consultation")
    house.links()
    await until(lambda: house.states == ["settled"], "the first talk's end")
    await house.brings()
    assert (house.pressed, len(centre.mixes)) == ([], 1)


async def test_an_agent_of_a_queue_that_is_no_lines_is_not_captured(centre: Centre) -> None:
    house = await consults(centre)
    house.beside.agent.variables["RECORDER_LINE"] = ""
    house.links()
    await until(lambda: house.states == ["settled"], "the first talk's end")
    await house.brings()
    assert (house.pressed, len(centre.mixes)) == ([], 1)


@pytest.mark.parametrize("act", ["personal", "stop"])
async def test_what_its_agent_said_in_the_consultation_holds(centre: Centre, act: str) -> None:
    house = await consults(centre)
    centre.marks(house.beside, act)
    house.links()
    await until(lambda: house.states == ["settled"], "the first talk's end")
    await house.brings()
    assert (house.pressed, len(centre.mixes)) == ([], 1)


async def test_a_pause_that_its_agent_asked_for_in_the_consultation_is_one_of_the_talk(centre: Centre) -> None:
    house = await consults(centre)
    centre.marks(house.beside, "pause")
    house.links()
    await house.until_summoned()
    await house.brings()
    await until(lambda: house.states == ["settled", "paused"], "the pause")
    assert centre.mixes[1].muted
    assert house.call.names[house.beside.agent.name] == house.beside.agent.uniqueid  # who is reminded of it


@pytest.mark.parametrize("listed", [False, True], ids=["talks", "must not be recorded"])
async def test_a_telephone_behind_its_local_member_comes_along(centre: Centre, listed: bool) -> None:
    if listed:
        await centre.stop()
        centre.change("do_not_record", agents=["PJSIP/bob"])
        await centre.start()
    house = await consults(centre, behind=True)
    house.links()
    if listed:
        await until(lambda: house.states == ["settled"], "the first talk's end")
        await house.brings()
        assert (house.pressed, len(centre.mixes)) == ([], 1)
        return
    await house.until_summoned()
    await house.brings()
    await until(lambda: house.states == ["settled", "running"], "the talk to be captured")
    assert house.two is not None
    centre.leaves(house.two, 1)  # its telephone sends them on
    await until(lambda: not centre.mixes[1].open, "the end of the capture")


@pytest.mark.parametrize("behind", [False, True], ids=["to its agent", "behind its local member"])
async def test_a_stranger_who_comes_there_ends_the_capture(centre: Centre, behind: bool) -> None:
    """Of who belongs to no call of ours the bridge alone says whom it concerns."""
    house = await consults(centre, behind=behind)
    house.links()
    await house.until_summoned()
    await house.brings()
    await until(lambda: house.states == ["settled", "running"], "the talk to be captured")
    stranger = FakeChannel(name="PJSIP/carol-000000a3", uniqueid="1795298008.1", linkedid="1795298008.1")
    centre.enters(stranger, "desk" if behind else house.beside.bridge, 3)
    await until(lambda: not centre.mixes[1].open, "the end of the capture")


async def test_who_leaves_before_the_second_lines_call_has_told_who_is_there_is_not(centre: Centre) -> None:
    """It tells in its own turn, after all that it heard before; of what comes meanwhile the caller's call hears."""
    house = await consults(centre)
    talk, turn = house.call, asyncio.Event()
    beside = next(runner for runner in centre.runners if runner is not talk)

    async def wait(_: CallRunner) -> None:
        await turn.wait()

    beside.ask(wait)
    house.links()
    centre.leaves(house.beside.agent, 1)
    stranger = FakeChannel(name="PJSIP/carol-000000a3", uniqueid="1795298008.1", linkedid="1795298008.1")
    centre.enters(stranger, house.beside.bridge, 2)
    await until(lambda: house.states == ["settled"], "the first talk's end")
    turn.set()
    await until(lambda: centre.runners == [talk], "the end of the second line's call")
    await house.brings()
    assert (house.pressed, len(centre.mixes)) == ([], 1)


async def test_of_the_two_lines_the_stricter_applies_to_the_talk_after_it(centre: Centre) -> None:
    await centre.stop()
    centre.change("line", sales={**LINES["sales"], "consent": "notice"})
    await centre.start()
    house = await consults(centre)
    house.links()
    await house.until_summoned()
    await house.brings()
    await until(lambda: house.states == ["settled", "running"], "the talk to be captured")
    assert (house.call.state.line, house.call.state.mode) == ("sales", "opt_in")
    rows = {str(row.mode) for row in await centre.catalogue.list_recordings(10)}
    assert rows == {"opt_in"}


async def test_the_channel_is_asked_for_only_after_a_moment_without_a_capture_in_the_bridge(
    centre: Centre, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runners, "UNHOOKED_FOR", timedelta(seconds=1))
    house = await consults(centre)
    house.links()
    await until(lambda: house.states == ["settled"], "the first talk's end")
    assert house.pressed == []
    await house.until_summoned()


async def test_a_key_that_nobody_asked_for_captures_nothing(centre: Centre) -> None:
    house = await consults(centre)
    with capture_logs() as said:
        await house.brings()
    assert [line["event"] for line in said if line["log_level"] == "warning"] == ["key_not_expected"]
    assert house.states == ["running"]


async def test_the_key_counts_on_the_callers_own_channel_alone(centre: Centre) -> None:
    house = await consults(centre)
    house.links()
    await house.until_summoned()
    near = next(channel for channel in centre.pbx.channels if channel.name.endswith(";1"))
    await centre.presses(Talk(caller=near, agent=house.beside.agent, bridge=""), "joined")
    assert len(centre.mixes) == 1


async def test_a_pbx_that_does_not_bring_the_channel_is_named(centre: Centre, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runners, "SUMMONED_WITHIN", runners.SUMMONED_WITHIN / 50)
    house = await consults(centre)
    with capture_logs() as said:
        house.links()
        await until(lambda: [line for line in said if line["event"] == "joined_talk_not_captured"], "the word of it")
    (line,) = [line for line in said if line["event"] == "joined_talk_not_captured"]
    assert "features_recorder.conf" in line["why"]


@pytest.mark.parametrize("meanwhile", ["captured", "held", "gone"])
async def test_a_pbx_that_need_not_bring_the_channel_any_more_is_not_named(
    centre: Centre, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    """Where the caller is on hold by then it is asked for again."""
    monkeypatch.setattr(runners, "SUMMONED_WITHIN", timedelta())
    house = await consults(centre)
    call = house.call
    centre.pbx.answers["PlayDTMF"] = house.pressed.append  # it answers once we say so
    with capture_logs() as said:
        house.links()
        await house.until_summoned()
        if meanwhile == "captured":
            await house.brings()
            await until(lambda: house.states == ["settled", "running"], "the talk to be captured")
        elif meanwhile == "held":
            centre.say("Hold", house.beside.agent)
            await until(lambda: call.state.held, "the hold")
            await house.brings()
        else:
            centre.hangs_up(house.talk)
            await until(lambda: call.hung_up_at, "the hang-up")
        centre.pbx.say(response(house.pressed[0], "Success"))
        await until(lambda: not _is_being_summoned(), "the end of the look")
    assert "joined_talk_not_captured" not in [line["event"] for line in said]


def _is_being_summoned() -> bool:
    return any(task.get_name().startswith("summon ") for task in asyncio.all_tasks())


async def test_a_daemon_that_stops_waits_for_no_channel_that_is_being_brought(
    centre: Centre, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runners, "SUMMONED_WITHIN", timedelta(hours=1))
    house = await consults(centre)
    house.links()
    await house.until_summoned()
    async with asyncio.timeout(10) as limit:
        await centre.stop()
    assert not limit.expired()


async def test_a_key_of_the_second_agents_pauses_it_and_one_who_leaves_ends_it(centre: Centre) -> None:
    house = await consults(centre)
    house.links()
    await house.until_summoned()
    await house.brings()
    await until(lambda: house.states == ["settled", "running"], "the talk to be captured")
    centre.marks(house.beside, "pause")
    await until(lambda: centre.mixes[1].muted, "the pause")
    centre.marks(house.beside, "resume")
    await until(lambda: not centre.mixes[1].muted, "speech")
    centre.leaves(house.beside.agent, 1)
    stranger = FakeChannel(name="PJSIP/carol-000000a3", uniqueid="1795298008.1", linkedid="1795298008.1")
    centre.enters(stranger, house.beside.bridge, 2)
    await until(lambda: not centre.mixes[1].open, "the end of the capture")


async def test_an_agent_who_must_not_be_recorded_is_not(centre: Centre) -> None:
    await centre.stop()
    centre.change("do_not_record", agents=["PJSIP/bob"])
    await centre.start()
    house = await consults(centre)
    house.links()
    await until(lambda: house.states == ["settled"], "the first talk's end")
    await house.brings()
    assert (house.pressed, len(centre.mixes)) == ([], 1)


async def test_what_a_daemon_that_was_not_there_for_the_consultation_does_not_know_it_does_not_capture(
    centre: Centre,
) -> None:
    house = await consults(centre)
    await centre.kill()
    await centre.start()
    await until(lambda: len(centre.runners) == 2, "both calls")
    house.links()
    await until(lambda: not centre.mixes[0].open, "the first talk's end")
    await house.brings()
    assert house.pressed == []
