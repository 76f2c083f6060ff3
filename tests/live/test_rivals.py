"""Recorders that nobody authorised, on a real Asterisk: seen, stopped where the policy says so, written down, and
never at the price of a capture of ours."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping
from pathlib import Path

import pytest

from recorder.catalogue import CallRow, WholeCall
from tests.live.stage import Stage, stage
from tests.pbx import tones
from tests.pbx.admin import Event, until
from tests.pbx.calls import Call
from tests.pbx.party import HangUp, Press, Say, Script, UntilBridged, Wait
from tests.stories import AGENT, CALLER, agrees, both_from_the_bridge_on, refuses

pytestmark = pytest.mark.live

HOUSE: Mapping[str, str] = {
    "extensions.conf": """
[house-before]
exten => mixmonitor,1,MixMonitor(@BASE@/spool/rival-15550100.wav)
 same => n,Return()

[rivals]
exten => conference,1,ConfBridge(77,recorded)
exten => listens,1,Answer()
 same => n,ChanSpy(${SPIED},q)
exten => records,1,Answer()
 same => n,ChanSpy(${SPIED},qr(rival))
exten => waits,1,Answer()
 same => n,Wait(300)
exten => voicemail,1,Answer()
 same => n,MixMonitor(@BASE@/spool/house.wav)
 same => n,Record(@BASE@/spool/said.wav,30,60,k)
""",
    "confbridge.conf": """
[general]
[recorded]
type = bridge
record_conference = yes
record_file = @BASE@/spool/conference.wav
[default_user]
type = user
""",
    "features.conf": """
[featuremap](+)
automixmon = *3
""",
    "modules.conf": """
load = app_confbridge.so
load = app_record.so
load = res_monitor.so
""",
}


def callers_channel(on: Stage, call: Call) -> str:
    """The caller's channel, which ours is on."""
    return on.calls.admin.seen("BridgeEnter", Uniqueid=call.placed.leg)[-1]["Channel"]


TALKS: Script = (Say(AGENT),)


async def talking(on: Stage, caller: Script, agent: Script = TALKS, **variables: str) -> Call:
    """A call on the line support, once caller and agent talk."""
    call = await on.calls.incoming("support", caller, agent, variables=variables)
    await call.placed.until_bridged()
    return call


async def rival_of(on: Stage, call: Call, file: str = "rival.wav") -> Path:
    """Somebody starts a MixMonitor on the caller's channel from Asterisk's command line."""
    path = on.pbx.base / "spool" / file
    await on.calls.admin.command(f"mixmonitor start {callers_channel(on, call)} {path}")
    return path


async def stopped(on: Stage, call: Call, *, since: int = 0) -> Event:
    return await on.calls.admin.until("MixMonitorStop", since=since, Uniqueid=call.placed.leg, timeout=30)


async def acts(on: Stage, *, wanted: int = 1) -> list[tuple[str, dict[str, str]]]:
    """What the audit says, once it says so much."""
    found: list[tuple[str, dict[str, str]]] = []

    async def there() -> bool:
        found.clear()
        for row in await on.recorder.calls():
            found.extend((act.action, dict(act.details)) for act in (await on.recorder.whole(row)).audit)
        return len(found) >= wanted

    await until(there, timeout=30, every=0.1)
    return found


async def ended(on: Stage, call: Call, outcome: str = "recorded") -> tuple[CallRow, WholeCall]:
    await call.until_ended()
    (row,) = await on.closed(1, timeout=60)
    assert row.outcome == outcome, on.recorder.log_tail()
    return row, await on.recorder.whole(row)


async def unharmed(on: Stage, row: CallRow) -> Path:
    """The recording of the call is whole by its tones, and the books balance."""
    (path,) = await on.settled_paths(row)
    assert both_from_the_bridge_on(path) == []
    await on.recorder.until(lambda: not on.staged(), "the spool to be empty")
    verified = on.recorder.command("verify", check=False)
    assert verified.returncode == 0, verified.stdout
    return path


def reasons(on: Stage) -> str:
    return " | ".join(on.recorder.get("/status")[1]["reasons"])


def metric(on: Stage, line: str) -> bool:
    return line in str(on.recorder.get("/metrics")[1]).splitlines()


@pytest.mark.asterisk16
async def test_a_mixmonitor_from_the_command_line_is_stopped_and_ours_loses_nothing(release: str) -> None:
    async with stage(release, additions=HOUSE) as on:
        call = await talking(on, agrees(then=9))
        await asyncio.sleep(1)
        rival = await rival_of(on, call, "rival-15550100.wav")
        await stopped(on, call)
        (act,) = await acts(on)
        assert act == (
            "rival stopped",
            {"kind": "mixmonitor", "leg": "caller", "file": str(on.pbx.base / "spool" / "rival-#.wav")},
        )
        assert "within the hour" in reasons(on)
        assert on.recorder.get("/status")[1]["state"] == "degraded"
        assert metric(on, 'recorder_rivals_met_total{kind="mixmonitor"} 1.0')
        assert metric(on, 'recorder_rivals_dealt_with_total{fate="stopped"} 1.0')
        assert metric(on, "recorder_rivals_at_large 0.0")
        row, whole = await ended(on, call)
        assert tones.read(await unharmed(on, row)).seconds > 8.5
        assert tones.read(rival).seconds < 5
        assert "15550100" not in on.recorder.log.read_text()
        assert [step.name for step in whole.journal].count("RivalMet") == 1


@pytest.mark.asterisk16
async def test_a_mixmonitor_of_the_dialplan_after_ours_is_stopped_before_the_bridge(release: str) -> None:
    async with stage(release, additions=HOUSE) as on:
        call = await talking(on, agrees(then=4), HOUSE_BEFORE_QUEUE="mixmonitor")
        row, _ = await ended(on, call)
        assert [action for action, _ in await acts(on)] == ["rival stopped"]
        assert tones.read(await unharmed(on, row)).seconds > 3.5
        rival = on.pbx.base / "spool" / "rival-15550100.wav"
        assert tones.stretches(rival, 0, AGENT) == []


async def test_a_queue_that_records_by_itself_is_stopped_on_a_call_that_was_refused(release: str) -> None:
    house = {**HOUSE, "queues.conf": "\n[support](+)\nmonitor-format = wav\n"}
    async with stage(release, additions=house) as on:
        call = await talking(on, refuses(then=4))
        await stopped(on, call)
        await ended(on, call, "declined")
        assert [(action, said["kind"]) for action, said in await acts(on)] == [("rival stopped", "mixmonitor")]
        (rival,) = (on.pbx.base / "spool" / "monitor").glob("*.wav")
        assert tones.read(rival).seconds < 2


async def test_two_mixmonitors_at_once_are_both_stopped_and_ours_loses_nothing(release: str) -> None:
    async with stage(release, additions=HOUSE) as on:
        call = await talking(on, agrees(then=6))
        await asyncio.gather(rival_of(on, call, "one.wav"), rival_of(on, call, "two.wav"))
        assert [action for action, _ in await acts(on, wanted=2)] == ["rival stopped"] * 2
        row, _ = await ended(on, call)
        assert tones.read(await unharmed(on, row)).seconds > 5.5


@pytest.mark.asterisk16
async def test_where_the_policy_is_to_report_both_run_and_the_rivals_end_is_not_ours(release: str) -> None:
    async with stage(release, additions=HOUSE, changes={"capture": {"rivals": "report"}}) as on:
        call = await talking(on, agrees(then=8))
        rival = await rival_of(on, call)
        assert [action for action, _ in await acts(on)] == ["rival left"]
        assert "(mixmonitor) captures call" in reasons(on)
        assert metric(on, "recorder_rivals_at_large 1.0")
        await asyncio.sleep(3)
        await on.calls.admin.action("StopMixMonitor", {"Channel": callers_channel(on, call)})
        await on.recorder.until(lambda: metric(on, "recorder_rivals_at_large 0.0"), "the rival's end to be heard")
        row, _ = await ended(on, call)
        assert tones.read(await unharmed(on, row)).seconds > 7.5
        assert tones.read(rival).seconds > 2.5


async def test_who_listens_in_is_reported_and_who_records_it_too_is_hung_up(release: str) -> None:
    async with stage(release, additions=HOUSE) as on:
        call = await talking(on, agrees(then=10))

        async def spies(how: str) -> None:
            asked = {"Channel": "Local/waits@rivals/n", "Context": "rivals", "Exten": how, "Priority": "1"}
            spied = {"_SPIED": callers_channel(on, call)}
            await on.calls.admin.action("Originate", {**asked, "Async": "true"}, variables=spied)

        await spies("records")
        await acts(on)
        await on.calls.admin.until("ChanSpyStop", timeout=30)
        await spies("listens")
        found = await acts(on, wanted=2)
        assert [(action, said["kind"]) for action, said in found] == [
            ("rival stopped", "spy"),
            ("rival left", "listener"),
        ]
        assert "(listener) captures" not in reasons(on)
        assert "(listener)" in reasons(on)
        row, _ = await ended(on, call)
        assert tones.read(await unharmed(on, row)).seconds > 9


@pytest.mark.asterisk16
async def test_a_listener_is_hung_up_where_the_policy_says_so(release: str) -> None:
    async with stage(release, additions=HOUSE, changes={"capture": {"listeners": "stop"}}) as on:
        call = await talking(on, agrees(then=6))
        asked = {"Channel": "Local/waits@rivals/n", "Context": "rivals", "Exten": "listens", "Priority": "1"}
        spied = {"_SPIED": callers_channel(on, call)}
        await on.calls.admin.action("Originate", {**asked, "Async": "true"}, variables=spied)
        assert [(action, said["kind"]) for action, said in await acts(on)] == [("rival stopped", "listener")]
        row, _ = await ended(on, call)
        await unharmed(on, row)


async def test_a_conference_that_records_itself_cannot_be_stopped_and_is_told(release: str) -> None:
    async with stage(release, additions=HOUSE) as on:
        call = await talking(on, agrees(then=30))
        await asyncio.sleep(1)
        moved = {"Channel": callers_channel(on, call), "Context": "rivals", "Exten": "conference", "Priority": "1"}
        await on.calls.admin.action("Redirect", moved)
        assert [(action, said["kind"]) for action, said in await acts(on)] == [("rival runs on", "conference")]
        await on.recorder.until(lambda: "(conference)" in reasons(on), "the status to say so")
        await on.calls.hang_up(call)
        await ended(on, call)
        await on.recorder.until(lambda: metric(on, "recorder_rivals_at_large 0.0"), "the call to be forgotten")


@pytest.mark.asterisk16
async def test_a_one_touch_recording_of_a_caller_who_refused_is_stopped(release: str) -> None:
    agent: Script = (Say(AGENT), UntilBridged(), Wait(1), Press("*3"))
    async with stage(release, additions=HOUSE) as on:
        call = await talking(on, refuses(then=6), agent, HOUSE_QUEUE_OPTIONS="x")
        await stopped(on, call)
        await ended(on, call, "declined")
        assert [action for action, _ in await acts(on)] == ["rival stopped"]
        (rival,) = (on.pbx.base / "spool" / "monitor").glob("auto-*.wav")
        assert tones.read(rival).seconds < 2


@pytest.mark.asterisk16
async def test_a_one_touch_key_that_ends_ours_is_told_and_what_there_is_is_settled(release: str) -> None:
    agent: Script = (Say(AGENT), UntilBridged(), Wait(3), Press("*3"))
    async with stage(release, additions=HOUSE) as on:
        call = await talking(on, agrees(then=7), agent, HOUSE_QUEUE_OPTIONS="x")
        row, _ = await ended(on, call)
        assert [action for action, _ in await acts(on)] == ["rival ended ours"]
        (path,) = await on.settled_paths(row)
        assert 2.5 < tones.read(path).seconds < 6
        assert "capture_ended_by_another" in on.recorder.log.read_text()
        assert on.recorder.command("verify", check=False).returncode == 0


async def test_a_rival_that_began_while_the_daemon_was_dead_is_stopped_where_nothing_of_ours_runs(
    release: str,
) -> None:
    async with stage(release, additions=HOUSE) as on:
        call = await talking(on, refuses(then=25))
        on.recorder.send(signal.SIGKILL)
        rival = await rival_of(on, call)
        on.recorder.launch()
        await stopped(on, call)
        assert [action for action, _ in await acts(on)] == ["rival stopped"]
        await on.calls.hang_up(call)
        await ended(on, call, "declined")
        assert rival.exists()


async def test_a_rival_that_began_while_the_daemon_was_dead_is_only_told_where_ours_runs(release: str) -> None:
    async with stage(release, additions=HOUSE) as on:
        call = await talking(on, agrees(then=14))
        await asyncio.sleep(1)
        on.recorder.send(signal.SIGKILL)
        await rival_of(on, call)
        on.recorder.launch()
        assert [action for action, _ in await acts(on)] == ["rival runs on"]
        row, _ = await ended(on, call)
        assert tones.read(await unharmed(on, row)).seconds > 13


async def test_what_records_a_personal_call_is_not_our_affair(release: str) -> None:
    async with stage(release, additions=HOUSE) as on:
        caller: Script = (Say(CALLER), UntilBridged(), Wait(8), HangUp())
        call = await on.calls.personal(caller, (Say(AGENT),))
        await call.placed.until_bridged()
        rival = await rival_of(on, call)
        moved = {"Channel": callers_channel(on, call), "Context": "rivals", "Exten": "voicemail", "Priority": "1"}
        await asyncio.sleep(1)
        await on.calls.admin.action("Redirect", moved)
        await on.calls.admin.until("Newexten", Application="Record", timeout=20)
        await asyncio.sleep(2)
        await on.calls.hang_up(call)
        await call.until_ended()
        assert await on.recorder.calls() == ()
        assert not metric(on, 'recorder_rivals_met_total{kind="mixmonitor"} 1.0')
        assert tones.read(rival).seconds > 2
