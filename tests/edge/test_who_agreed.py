"""Who agreed is who is captured: what the daemon sees behind a caller that is a Local channel, beside a fake PBX."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import uuid4

import pytest

from recorder.model import Channel, Linkedid, RecordingId, Uniqueid
from tests.edge.centre import Centre, Talk, until
from tests.fakes.pbx import FakeChannel, FakePbx, response

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


def leg(centre: Centre, name: str, number: int, *, bridge: str = "", application: str = "Dial") -> FakeChannel:
    linkedid = "1795298000.10"
    made = FakeChannel(
        name=name, uniqueid=f"1795298001.{number}", linkedid=linkedid, bridge=bridge, application=application
    )
    centre.pbx.channels.append(made)
    return made


def relayed(centre: Centre) -> tuple[Talk, FakeChannel, FakeChannel]:
    """A caller that is half of a Local channel, the other half, and who speaks into it."""
    talk = centre.new_talk()
    talk.caller.name = "Local/6100@house-00000001;2"
    half = leg(centre, "Local/6100@house-00000001;1", 1, bridge="behind", application="AppDial")
    return talk, half, leg(centre, "PJSIP/desk-00000001", 2, bridge="behind")


async def test_a_caller_behind_a_local_channel_is_asked_and_captured_like_everybody(centre: Centre) -> None:
    talk, _, _ = relayed(centre)
    await centre.asks(talk=talk)
    centre.connects(talk)
    await centre.until_capture("running")
    centre.hangs_up(talk)
    assert await centre.outcome() == ("recorded", None)


async def test_the_capture_ends_when_somebody_new_comes_to_who_speaks(centre: Centre) -> None:
    talk, _, _ = relayed(centre)
    await centre.asks(talk=talk)
    centre.connects(talk)
    await centre.until_capture("running")
    stranger = FakeChannel(name="PJSIP/trunk-00000009", uniqueid="1795298009.1", linkedid="1795298009.1")
    centre.enters(stranger, "behind", 3)
    await centre.until_capture("stopped")
    assert not centre.mixes[0].open


async def test_one_that_waits_for_its_bridge_is_waited_for(centre: Centre) -> None:
    talk, half, speaker = relayed(centre)
    half.bridge = speaker.bridge = ""
    looked: list[str] = []

    def joins(action: Mapping[str, str]) -> bytes:
        looked.append("half")
        if len(looked) == 3:
            half.bridge = speaker.bridge = "behind"
        return centre.pbx.usually("Status")(action)

    centre.pbx.answers["Status"] = joins
    await centre.asks(talk=talk)
    assert set(centre.runner.state.behind.values()) == {"behind"}


@pytest.mark.parametrize("application", ["AppDial", "AppDial2", "AppQueue", "Dial"])
async def test_who_dialled_the_local_channel_is_its_company_though_joined_after_our_look(
    centre: Centre, application: str
) -> None:
    """A Dial, an Originate or another queue answers its Local channel first, joins that, and then itself."""
    talk, half, speaker = relayed(centre)
    half.application, half.bridge, speaker.bridge = application, "", ""
    looked: list[str] = []

    def joins(action: Mapping[str, str]) -> bytes:
        looked.append("half")
        if len(looked) == 3:
            centre.enters(half, "behind", 1)
        return centre.pbx.usually("Status")(action)

    def follows(action: Mapping[str, str]) -> bytes:
        looked.append("bridge")
        if looked.count("bridge") == 3:
            centre.enters(speaker, "behind", 2)
        return centre.pbx.usually("BridgeInfo")(action)

    centre.pbx.answers |= {"Status": joins, "BridgeInfo": follows}
    await centre.asks(talk=talk)
    centre.connects(talk)
    await centre.until_capture("running")
    assert set(centre.runner.state.behind) == {half.uniqueid, speaker.uniqueid}


@pytest.mark.parametrize("line", ["the first", "the second"])
async def test_who_comes_behind_while_we_still_ask_asterisk_is_seen(centre: Centre, line: str) -> None:
    talk, _, _ = relayed(centre)
    if line == "the second":
        await centre.asks(talk=talk)
    stranger = FakeChannel(name="PJSIP/trunk-00000009", uniqueid="1795298009.1", linkedid="1795298009.1")

    def comes(action: Mapping[str, str]) -> bytes:
        del centre.pbx.answers["BridgeInfo"]
        told = centre.pbx.usually("BridgeInfo")(action)
        centre.enters(stranger, "behind", 3)
        return told

    centre.pbx.answers["BridgeInfo"] = comes
    await centre.asks(talk=talk)
    centre.connects(talk)
    await centre.until_talking()
    assert not any(mix.open for mix in centre.mixes)
    assert centre.runner.state.consent == "prohibited"


async def test_where_no_other_half_is_found_nobody_is_asked(centre: Centre) -> None:
    talk, half, _ = relayed(centre)
    centre.pbx.channels.remove(half)
    await centre.asks(talk=talk)
    assert talk.visit is not None
    assert talk.visit.received("STREAM FILE") == []


@pytest.mark.parametrize("deep", [False, True], ids=["the half itself", "one more Local channel"])
async def test_the_leg_of_a_consultation_is_asked_nothing_and_captured_never(centre: Centre, deep: bool) -> None:
    talk, half, speaker = relayed(centre)
    if deep:
        speaker.name = "Local/5100@house-00000002;2"
        half = leg(centre, "Local/5100@house-00000002;1", 3, bridge="consultation")
        leg(centre, "PJSIP/desk-00000002", 4, bridge="consultation")
    half.variables["TRANSFERERNAME"] = "PJSIP/desk-00000001"
    await centre.asks(talk=talk)
    assert talk.visit is not None
    assert talk.visit.received("STREAM FILE") == []
    centre.connects(talk)
    await centre.until_talking()
    centre.hangs_up(talk)
    assert await centre.outcome() == ("excluded", None)
    assert centre.mixes == []


async def test_the_dialplans_word_that_a_leg_consults_is_enough(centre: Centre) -> None:
    talk = centre.new_talk()
    async with centre.visit(talk, consults=True) as visit:
        await visit.until_over()
    assert visit.received("STREAM FILE") == []
    assert talk.caller.variables["RECORDER_RESULT"] == "prohibited"
    centre.hangs_up(talk)
    assert await centre.outcome() == ("excluded", None)


async def test_where_nobody_can_tell_who_stands_behind_nobody_is_asked(centre: Centre) -> None:
    talk, _, _ = relayed(centre)
    centre.pbx.answers["BridgeInfo"] = lambda _: None
    await centre.asks(talk=talk)
    assert talk.visit is not None
    assert talk.visit.received("STREAM FILE") == []
    centre.connects(talk)
    await centre.until_talking()
    centre.hangs_up(talk)
    assert await centre.outcome() == ("lost", "pbx_away")


def relaying(centre: Centre) -> tuple[Talk, FakeChannel]:
    """An outgoing call that the house dials through a Local channel, and who is called behind it."""
    talk = centre.new_outgoing()
    talk.caller.name = "Local/2001@house-00000001;1"
    leg(centre, "Local/2001@house-00000001;2", 1, bridge="behind")
    return talk, leg(centre, "PJSIP/desk-00000001", 2, bridge="behind")


@pytest.mark.parametrize("heard", [True, False], ids=["its event was heard", "the visit came first"])
async def test_the_capture_of_an_outgoing_call_ends_when_somebody_new_comes_to_who_was_called(
    centre: Centre, heard: bool
) -> None:
    talk, called = relaying(centre)
    if heard:
        centre.dials_out(talk)
        await until(lambda: len(centre.runners) == 1, "the call")
    await centre.answers_call(talk)
    centre.bridges(talk)
    await centre.until_capture("running")
    stranger = FakeChannel(name="PJSIP/trunk-00000009", uniqueid="1795298009.1", linkedid="1795298009.1")
    centre.leaves(called, 1)
    centre.enters(stranger, "behind", 2)
    await centre.until_capture("stopped")
    assert not centre.mixes[0].open


async def test_where_nobody_can_tell_who_was_called_behind_a_local_channel_nobody_is_asked(centre: Centre) -> None:
    talk, _ = relaying(centre)
    centre.dials_out(talk)
    centre.pbx.answers["BridgeInfo"] = lambda _: None
    await centre.answers_call(talk)
    assert talk.visit is not None
    assert talk.visit.received("STREAM FILE") == []
    assert centre.mixes == []


async def test_a_mixmonitor_that_goes_on_under_anothers_name_is_stopped(centre: Centre) -> None:
    """As after an attended transfer into a queue: the caller's channel is gone, what was armed on it is not."""
    talk = await centre.asks()
    await centre.until_capture("armed")
    taken = FakeChannel(name="PJSIP/trunk-00000009", uniqueid="1795298009.1", linkedid="1795298009.1")
    taken.variables = {"RECORDER_ID": centre.mixes[0].id, "RECORDER_CALLER_ID": talk.caller.uniqueid}
    innocent = FakeChannel(name="PJSIP/trunk-00000008", uniqueid="1795298008.1", linkedid="1795298008.1")
    innocent.variables = {"RECORDER_ID": centre.mixes[0].id, "RECORDER_CALLER_ID": innocent.uniqueid}
    centre.mixes[0].channel = taken
    centre.pbx.channels.remove(talk.caller)
    centre.pbx.channels += [innocent, taken]
    centre.say("Hangup", talk.caller, ("Cause", 16))
    await until(lambda: not centre.mixes[0].open, "the MixMonitor to be stopped")
    assert [action["Channel"] for action in centre.pbx.received("StopMixMonitor")] == [taken.name]
    assert await centre.outcome() == ("abandoned", None)


async def test_many_who_hang_up_at_once_are_sought_in_two_lists_and_not_each_in_its_own(centre: Centre) -> None:
    talk = await centre.asks()
    await centre.until_capture("armed")
    taken = FakeChannel(name="PJSIP/trunk-00000009", uniqueid="1795298009.1", linkedid="1795298009.1")
    taken.variables = {"RECORDER_ID": centre.mixes[0].id, "RECORDER_CALLER_ID": talk.caller.uniqueid}
    centre.mixes[0].channel = taken
    centre.pbx.channels.append(taken)
    desk = centre.assembly.daemon.parts.capture
    before = len(centre.pbx.received("Status"))
    others = [Channel(name=f"PJSIP/x-{n}", uniqueid=Uniqueid(f"9.{n}"), linkedid=Linkedid("9")) for n in range(20)]
    last = Channel(
        name=talk.caller.name, uniqueid=Uniqueid(talk.caller.uniqueid), linkedid=Linkedid(talk.caller.linkedid)
    )
    async with asyncio.TaskGroup() as group:
        for gone in (*others, last):
            group.create_task(desk.seek(RecordingId(uuid4()), gone, None))
    assert len(centre.pbx.received("Status")) - before == 2
    assert not centre.mixes[0].open


async def test_who_has_hung_up_for_good_leaves_nothing_to_stop(centre: Centre) -> None:
    talk = await centre.asks()
    await centre.until_capture("armed")
    centre.pbx.answers["Status"] = lambda action: response(action, "Error", "Permission denied")
    centre.hangs_up(talk)
    assert await centre.outcome() == ("abandoned", None)
    assert centre.pbx.received("StopMixMonitor") == []
