"""Recorders that are not ours beside the daemon and a fake PBX: whose start, whose stop, and what is done when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from recorder.alarms import AlarmKind, Standing
from recorder.call import CaptureState
from tests.edge.centre import Centre, Talk, until
from tests.fakes.pbx import Action, FakeChannel, FakePbx, event, response, snapshot

pytestmark = pytest.mark.usefixtures("no_task_left")


@asynccontextmanager
async def opened(url: str, folder: Path, **sections: Mapping[str, Any]) -> AsyncIterator[Centre]:
    async with AsyncExitStack() as closing:
        pbx = await closing.enter_async_context(FakePbx())
        made = Centre(pbx, folder, url, **sections)
        closing.push_async_callback(made.kill)
        await made.start()
        yield made


@pytest.fixture
def engine_name() -> str:
    return "sqlite"


@pytest.fixture
async def centre(catalogue_url: str, tmp_path: Path) -> AsyncIterator[Centre]:
    async with opened(catalogue_url, tmp_path) as made:
        yield made


@pytest.fixture
async def reporting(catalogue_url: str, tmp_path: Path) -> AsyncIterator[Centre]:
    async with opened(catalogue_url, tmp_path, capture={"rivals": "report"}) as made:
        yield made


async def running(centre: Centre) -> Talk:
    """A consented call whose capture runs."""
    talk = await centre.asks()
    centre.connects(talk)
    await centre.until_capture("running")
    return talk


async def acts(centre: Centre, wanted: int = 1) -> list[str]:
    """What became of each rival, in order, by the audit."""
    async with asyncio.timeout(15):
        while True:
            said = [act.action for act in (await centre.whole()).audit]
            if len(said) >= wanted:
                return said
            await asyncio.sleep(0.01)


def joins(centre: Centre, talk: Talk) -> None:
    """Somebody who was not asked joins the talk: our capture ends."""
    stranger = FakeChannel(name="PJSIP/trunk-000000ff", uniqueid="1795298000.99", linkedid="1795298000.99")
    centre.enters(stranger, talk.bridge, 3)


def stops(centre: Centre) -> list[Action]:
    return [action for action in centre.pbx.actions if action["Action"] == "StopMixMonitor"]


async def test_a_rival_is_stopped_and_ours_goes_on(centre: Centre) -> None:
    talk = await running(centre)
    ours = centre.mixes[0]
    rival = centre.rival(talk.caller)
    assert await acts(centre) == ["rival stopped"]
    assert (ours.open, rival.open) == (True, False)
    centre.hangs_up(talk)
    assert await centre.outcome() == ("recorded", None)
    assert await acts(centre) == ["rival stopped"]


async def test_a_rival_that_ends_by_itself_at_once_is_not_stopped_again(centre: Centre) -> None:
    """The stop could only have hit ours."""
    talk = await running(centre)
    rival = centre.rival(talk.caller, told=False)
    rival.open = False
    centre.pbx.say(event("MixMonitorStart", *talk.caller.headers()) + event("MixMonitorStop", *talk.caller.headers()))
    assert await acts(centre) == ["rival over"]
    assert centre.mixes[0].open
    assert stops(centre) == []


async def test_a_rival_without_a_mixed_file_is_left_while_ours_runs_and_stopped_after_it(centre: Centre) -> None:
    talk = await running(centre)
    rival = centre.rival(talk.caller, file="")
    assert await acts(centre) == ["rival runs on"]
    assert centre.mixes[0].open
    joins(centre, talk)
    await until(lambda: not rival.open, "the rival to be stopped")
    assert await acts(centre, 2) == ["rival runs on", "rival stopped"]
    assert not centre.mixes[0].open


async def test_a_rival_that_is_only_reported_is_stopped_when_silence_begins(reporting: Centre) -> None:
    talk = await running(reporting)
    rival = reporting.rival(talk.caller)
    assert await acts(reporting) == ["rival left"]
    parts = reporting.assembly.daemon.parts
    reporting.say("Hold", talk.agent)
    await reporting.until_capture("quiet")
    reporting.runner.ask(parts.rivals.silence)
    assert await acts(reporting, 2) == ["rival left", "rival stopped"]
    assert (reporting.mixes[0].open, rival.open) == (True, False)


async def test_a_rival_that_starts_in_silence_is_stopped_although_the_policy_is_to_report(reporting: Centre) -> None:
    talk = await running(reporting)
    reporting.say("Hold", talk.agent)
    await reporting.until_capture("quiet")
    rival = reporting.rival(talk.caller)
    assert await acts(reporting) == ["rival stopped"]
    assert (reporting.mixes[0].open, rival.open) == (True, False)


async def test_in_silence_what_looks_like_ours_is_muted_with_it_and_only_ours_speaks_again(centre: Centre) -> None:
    talk = await running(centre)
    ours = centre.mixes[0]
    centre.say("Hold", talk.agent)
    await centre.until_capture("quiet")
    rival = centre.rival(talk.caller, file="")
    assert await acts(centre) == ["rival muted"]
    centre.say("Unhold", talk.agent)
    await until(lambda: not ours.muted, "ours to speak again")
    assert (ours.open, rival.open, rival.muted) == (True, True, True)


async def test_what_ran_before_the_call_entered_its_line_is_stopped_before_ours_is_armed(centre: Centre) -> None:
    talk = centre.new_talk()
    rival = centre.rival(talk.caller)
    await until(lambda: centre.assembly.daemon.parts.ami.counters.events >= 1, "the event to be read")
    await centre.asks(talk=talk)
    assert await acts(centre) == ["rival stopped"]
    assert [mix.open for mix in centre.mixes] == [False, True]
    assert rival is centre.mixes[0]


async def test_a_stop_that_is_not_confirmed_is_tried_again(centre: Centre) -> None:
    talk = await running(centre)
    usual = centre.pbx.answers["StopMixMonitor"]
    centre.pbx.answers["StopMixMonitor"] = lambda _: None
    parts = centre.assembly.daemon.parts
    rival = centre.rival(talk.caller)
    await until(lambda: stops(centre), "the stop to be sent")
    centre.pbx.answers["StopMixMonitor"] = usual
    assert await acts(centre, 2) == ["rival runs on", "rival stopped"]
    assert (centre.mixes[0].open, rival.open) == (True, False)
    assert parts.rivals.at_large == 0


async def test_ours_that_somebody_stops_is_told_and_settled(centre: Centre) -> None:
    talk = await running(centre)
    centre.ends(centre.mixes[0])
    assert await acts(centre) == ["rival ended ours"]
    centre.hangs_up(talk)
    assert await centre.outcome() == ("recorded", None)


async def test_our_own_stop_is_nobodys_rival(centre: Centre) -> None:
    talk = await running(centre)
    joins(centre, talk)
    await until(lambda: not centre.mixes[0].open, "ours to be stopped")
    centre.hangs_up(talk)
    assert await centre.outcome() == ("recorded", None)
    assert (await centre.whole()).audit == ()


async def test_the_capture_of_a_second_line_is_as_safe_as_that_of_the_first(centre: Centre) -> None:
    talk = await running(centre)
    await centre.asks(talk=talk, line="sales")
    centre.connects(talk, queue="sales")
    await until(lambda: len(centre.mixes) == 2, "the second capture")
    await centre.until_capture("running")
    rival = centre.rival(talk.caller)
    assert await acts(centre) == ["rival stopped"]
    assert [mix.open for mix in centre.mixes] == [False, True, False]
    assert not rival.open


async def test_on_16_what_looks_like_ours_in_silence_ends_with_it(centre: Centre) -> None:
    """There a mute reaches the oldest alone, which is ours."""
    centre.pbx.answers["CoreSettings"] = lambda action: response(
        action, "Success", None, ("AsteriskVersion", "16.28.0")
    )
    await centre.kill()
    await centre.start()
    talk = await running(centre)
    centre.say("Hold", talk.agent)
    await centre.until_capture("quiet")
    rival = centre.rival(talk.caller, file="")
    assert await acts(centre) == ["rival stopped"]
    assert (centre.mixes[0].open, rival.open) == (False, False)


async def test_after_a_restart_the_first_mixmonitor_on_the_captured_channel_is_not_taken_for_ours(
    centre: Centre,
) -> None:
    talk = await running(centre)
    await until(lambda: not centre.runner.owes, "the talk to be written")
    await centre.kill()
    await centre.start()
    await until(lambda: centre.runners and centre.runner.state.captures[0].state is CaptureState.RUNNING)
    rival = centre.rival(talk.caller)
    assert await acts(centre) == ["rival stopped"]
    assert (centre.mixes[0].open, rival.open) == (True, False)


@pytest.mark.parametrize(("options", "fate"), [("qr(name)", "rival stopped"), ("qw", "rival left")])
async def test_a_spy_is_judged_by_its_arguments(centre: Centre, options: str, fate: str) -> None:
    talk = await running(centre)
    spy = FakeChannel(name="PJSIP/supervisor-00000009", uniqueid="1795298000.90", linkedid="1795298000.90")
    spy.application, spy.data = "ChanSpy", f"{talk.caller.name},{options}"
    centre.pbx.channels.append(spy)
    hung_up: list[str] = []

    def hang_up(action: Action) -> bytes:
        hung_up.append(action["Channel"])
        return response(action, "Success")

    centre.pbx.answers["Hangup"] = hang_up
    spied = snapshot(talk.caller.name, talk.caller.uniqueid, talk.caller.linkedid, "Spyee")
    centre.pbx.say(event("ChanSpyStart", *snapshot(spy.name, spy.uniqueid, spy.linkedid, "Spyer"), *spied))
    assert await acts(centre) == [fate]
    assert hung_up == ([spy.name] if fate == "rival stopped" else [])


def somebody(centre: Centre) -> FakeChannel:
    """A channel on the PBX that no call in the books has."""
    made = FakeChannel(name="PJSIP/trunk-0000000f", uniqueid="1795298000.80", linkedid="1795298000.80")
    centre.pbx.channels.append(made)
    return made


def can_hang_up(centre: Centre) -> list[str]:
    """From now on this PBX hangs up what it is told to; whom so far."""
    hung_up: list[str] = []

    def hang_up(action: Action) -> bytes:
        hung_up.append(action["Channel"])
        gone = [channel for channel in centre.pbx.channels if channel.name == action["Channel"]]
        for channel in gone:
            centre.pbx.channels.remove(channel)
        return response(action, "Success") if gone else response(action, "Error", "No such channel")

    centre.pbx.answers["Hangup"] = hang_up
    return hung_up


def snoops(centre: Centre, heard: FakeChannel, *, told: bool = True) -> FakeChannel:
    """An ARI application hears a channel; `told`: by an event. Its arguments look like a recording ChanSpy's."""
    number = len(centre.pbx.channels)
    snoop = FakeChannel(name=f"Snoop/{heard.uniqueid}-{number:08x}", uniqueid=f"1795298000.7{number}", linkedid="")
    snoop.linkedid, snoop.application, snoop.data = snoop.uniqueid, "Stasis", "house"
    centre.pbx.channels.append(snoop)
    if told:
        says_of(centre, "ChanSpyStart", snoop, heard)
    return snoop


def says_of(centre: Centre, name: str, spy: FakeChannel, heard: FakeChannel, *, linkedid: str = "") -> None:
    spied = snapshot(heard.name, heard.uniqueid, linkedid or heard.linkedid, "Spyee")
    centre.pbx.say(event(name, *snapshot(spy.name, spy.uniqueid, spy.linkedid, "Spyer"), *spied))


@pytest.mark.parametrize("leg", ["caller", "agent"])
async def test_a_snoop_is_hung_up_on_either_leg_and_ours_goes_on(centre: Centre, leg: str) -> None:
    hung_up = can_hang_up(centre)
    talk = await running(centre)
    snoop = snoops(centre, getattr(talk, leg))
    assert await acts(centre) == ["rival stopped"]
    assert (hung_up, centre.mixes[0].open) == ([snoop.name], True)
    (act,) = (await centre.whole()).audit
    assert act.details == {"kind": "snoop", "leg": leg}


async def test_a_snoop_on_who_refused_is_hung_up(centre: Centre) -> None:
    hung_up = can_hang_up(centre)
    talk = await centre.asks(keys="2")
    centre.connects(talk)
    snoop = snoops(centre, talk.caller)
    assert await acts(centre) == ["rival stopped"]
    assert hung_up == [snoop.name]


async def test_a_snoop_on_a_call_that_is_not_ours_is_not_touched(centre: Centre) -> None:
    hung_up = can_hang_up(centre)
    other = somebody(centre)
    snoops(centre, other)
    talk = await running(centre)
    snoops(centre, other)
    ours = snoops(centre, talk.caller)
    assert await acts(centre) == ["rival stopped"]
    assert hung_up == [ours.name]


async def test_a_snoop_that_stands_before_the_call_enters_its_line_is_hung_up_before_ours_is_armed(
    centre: Centre,
) -> None:
    hung_up = can_hang_up(centre)
    talk = centre.new_talk()
    snoop, gone = snoops(centre, talk.caller), snoops(centre, talk.caller)
    says_of(centre, "ChanSpyStop", gone, talk.caller)
    await until(lambda: centre.assembly.daemon.parts.ami.counters.events >= 3, "the events to be read")
    await centre.asks(talk=talk)
    assert await acts(centre) == ["rival stopped"]
    assert hung_up == [snoop.name]


async def test_a_snoop_that_comes_with_who_joins_the_talk_is_hung_up_once(centre: Centre) -> None:
    hung_up = can_hang_up(centre)
    other = somebody(centre)
    snoop = snoops(centre, other)
    talk = await running(centre)
    centre.enters(other, talk.bridge, 3)
    assert await acts(centre) == ["rival stopped"]
    centre.leaves(other, 2)
    centre.enters(other, talk.bridge, 3)
    centre.hangs_up(talk)
    await centre.outcome()
    assert (await acts(centre), hung_up) == (["rival stopped"], [snoop.name])


async def test_a_snoop_that_is_only_reported_is_over_when_it_ends_and_until_then_told(reporting: Centre) -> None:
    hung_up = can_hang_up(reporting)
    talk = await running(reporting)
    snoop = snoops(reporting, talk.caller)
    assert await acts(reporting) == ["rival left"]
    rivals = reporting.assembly.daemon.parts.rivals
    assert "(snoop) hears, and may capture, call" in rivals.reasons(reporting.runner.now())[0]
    says_of(reporting, "ChanSpyStop", snoop, talk.caller, linkedid="1795298000.1")  # other calls have met meanwhile
    await until(lambda: rivals.at_large == 0, "its end")
    assert hung_up == []


async def test_a_snoop_that_is_only_reported_is_hung_up_when_silence_begins(reporting: Centre) -> None:
    hung_up = can_hang_up(reporting)
    talk = await running(reporting)
    snoop = snoops(reporting, talk.caller)
    assert await acts(reporting) == ["rival left"]
    reporting.say("Hold", talk.agent)
    await reporting.until_capture("quiet")
    reporting.runner.ask(reporting.assembly.daemon.parts.rivals.silence)
    assert await acts(reporting, 2) == ["rival left", "rival stopped"]
    assert (hung_up, reporting.mixes[0].open) == ([snoop.name], True)


async def test_a_snoop_that_began_while_nobody_looked_is_found_by_its_channels_name(centre: Centre) -> None:
    talk = await running(centre)
    await until(lambda: not centre.runner.owes, "the talk to be written")
    await centre.kill()
    hung_up = can_hang_up(centre)
    snoops(centre, somebody(centre), told=False)
    snoop = snoops(centre, talk.caller, told=False)
    await centre.start()
    assert await acts(centre) == ["rival stopped"]
    assert (hung_up, centre.mixes[0].open) == ([snoop.name], True)


async def test_a_snoop_that_stood_before_its_caller_came_is_met_when_nobody_saw_it_begin(centre: Centre) -> None:
    await centre.kill()
    hung_up = can_hang_up(centre)
    talk = centre.new_talk()
    snoop = snoops(centre, talk.caller, told=False)
    await centre.start()
    await centre.asks(talk=talk)
    assert await acts(centre) == ["rival stopped"]
    assert hung_up == [snoop.name]


async def test_the_beep_of_asterisk_is_no_rival(centre: Centre) -> None:
    talk = await running(centre)
    name = "Local/hook@__func_periodic_hook_context__-0000000e;2"
    spied = snapshot(talk.caller.name, talk.caller.uniqueid, talk.caller.linkedid, "Spyee")
    centre.pbx.say(event("ChanSpyStart", *snapshot(name, "1795298000.91", "1795298000.91", "Spyer"), *spied))
    centre.hangs_up(talk)
    assert await centre.outcome() == ("recorded", None)
    assert (await centre.whole()).audit == ()


async def test_a_conference_that_recorded_itself_before_our_caller_came_is_told(centre: Centre) -> None:
    talk = await running(centre)
    bridge = [("BridgeUniqueid", "conference-1"), ("BridgeType", "base"), ("BridgeNumChannels", 2)]
    centre.pbx.say(event("ConfbridgeRecord", ("Conference", "77"), *bridge))
    centre.leaves(talk.caller, 1)
    centre.enters(talk.caller, "conference-1", 3, "base")
    assert await acts(centre) == ["rival runs on"]
    centre.pbx.say(event("ConfbridgeStopRecord", ("Conference", "77"), *bridge))
    await until(lambda: centre.assembly.daemon.parts.rivals.at_large == 0, "its end")


async def test_nothing_is_remembered_of_channels_that_are_gone(centre: Centre) -> None:
    for _ in range(3):
        talk = await running(centre)
        says_of(centre, "ChanSpyStart", somebody(centre), talk.caller)
        says_of(centre, "ChanSpyStop", snoops(centre, talk.agent), talk.agent)
        centre.leaves(talk.agent, 1)
        centre.leaves(talk.caller, 0)
        await until(lambda: not centre.mixes[-1].open)
        centre.hangs_up(talk)
        await until(lambda: not centre.runners)
    rivals = centre.assembly.daemon.parts.rivals
    assert (dict(rivals._others), rivals._files, rivals._spying) == ({}, {}, {})


async def test_the_alarm_of_a_rival_is_not_over_while_it_captures(reporting: Centre) -> None:
    talk = await running(reporting)
    reporting.rival(talk.caller)
    parts = reporting.assembly.daemon.parts
    now = parts.alarms.alarms.now
    await until(lambda: now[AlarmKind.RIVAL].standing is Standing.RAISED)
    assert parts.rivals.at_large == 1
    clock = parts.alarms._now
    parts.alarms._now = lambda: clock() + timedelta(hours=5)
    await parts.alarms.look()
    assert now[AlarmKind.RIVAL].standing is Standing.RAISED
    reporting.hangs_up(talk)
    await until(lambda: not parts.rivals.at_large)
    parts.alarms._now = lambda: clock() + timedelta(hours=10)
    await parts.alarms.look()
    assert now[AlarmKind.RIVAL].standing is Standing.QUIET


async def test_monitor_of_the_older_releases_is_stopped(centre: Centre) -> None:
    talk = await running(centre)
    centre.pbx.answers["StopMonitor"] = lambda action: response(action, "Success")
    centre.say("MonitorStart", talk.caller)
    assert await acts(centre) == ["rival stopped"]
    assert centre.mixes[0].open
