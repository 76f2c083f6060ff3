"""Every alert rule of deploy/prometheus, by making its fault happen and playing what /metrics showed through the rules.

A scrape of a daemon that is well fires nothing; the scrape after the fault, kept up for half an hour, fires exactly the
rules named here. Ages go on as a clock would: nobody waits ten minutes.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import pytest

from recorder.model import Channel, ChannelRenamed
from recorder.rights import Role
from tests import promtool
from tests.edge.centre import LINES, Centre, Talk, forbid, until
from tests.edge.test_listening import opens, recorded
from tests.edge.test_overrides import took
from tests.edge.visitors import enters, program, token_of
from tests.fakes.pbx import FakePbx
from tests.small_disk import small_disk

pytestmark = [
    pytest.mark.usefixtures("no_task_left"),
    pytest.mark.skipif(promtool.find() is None, reason="promtool is not here and cannot be fetched"),
]

ROOT = Path(__file__).parents[2]
RULES = promtool.RULES.read_text("utf-8")
RISEN = 8
"""Minutes after which a rule fires that looks at what a counter rose by within the last fifteen."""
NAMES = re.findall(r"(?m)^ +- alert: (\w+)$", RULES)


@pytest.fixture
def engine_name() -> str:
    return "sqlite"


@pytest.fixture
async def unstarted(catalogue_url: str, tmp_path: Path) -> AsyncIterator[Centre]:
    async with AsyncExitStack() as closing:
        pbx = await closing.enter_async_context(FakePbx())
        made = Centre(pbx, tmp_path, catalogue_url)
        closing.push_async_callback(made.kill)
        yield made


@pytest.fixture
async def centre(unstarted: Centre) -> Centre:
    await unstarted.start()
    return unstarted


async def scrape(centre: Centre) -> dict[str, float]:
    async with httpx2.AsyncClient() as client:
        answer = await client.get(f"http://127.0.0.1:{centre.assembly.http.port}/metrics")
    assert answer.status_code == 200
    return promtool.figures_of(answer.text)


async def value(centre: Centre, name: str, label: str = "") -> float | None:
    found = [of for key, of in (await scrape(centre)).items() if key.startswith(f"{name}{{") and label in key]
    return sum(found) if found else None


async def until_value(centre: Centre, name: str, least: float, label: str = "", *, seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while (await value(centre, name, label) or 0) < least:
            await asyncio.sleep(0.05)


async def well(centre: Centre) -> dict[str, float]:
    """A scrape in which every sweep has come to its end once."""
    await until(lambda: all(sweep.last_ok_at for sweep in centre.assembly.daemon.sweeps.values()), "the sweeps")
    return await scrape(centre)


# --------------------------------------------------------------------------- the file


def test_prometheus_finds_no_mistake_in_the_rules() -> None:
    code, said = promtool.run("check", "rules", str(promtool.RULES))
    assert code == 0, said


async def test_the_rules_ask_for_no_figure_that_there_is_not(centre: Centre) -> None:
    told = {name.partition("{")[0] for name in await well(centre)}
    asked = set(re.findall(r"\brecorder_\w+", " ".join(re.findall(r"(?m)^ +expr: (.+)$", RULES))))
    only_with_a_route = {"recorder_notices_waiting"}
    assert asked - told <= only_with_a_route


def test_every_rule_says_how_grave_it_is_and_what_to_do_and_stands_in_the_documents() -> None:
    page = (ROOT / "docs" / "operating.md").read_text("utf-8").split("\n## Alert rules\n", 1)[1].split("\n## ")[0]
    assert re.findall(r"(?m)^\| `(Recorder\w+)` \|", page) == NAMES
    blocks = RULES.split("- alert: ")[1:]
    assert [block.split()[0] for block in blocks if not re.search(r"severity: (critical|warning|info)\}", block)] == []
    assert [block.split()[0] for block in blocks if "summary: " not in block or "mend: " not in block] == []
    assert re.findall(r"(?m)^\| `Recorder\w+` \| (\w+) \|", page) == re.findall(r"severity: (\w+)\}", RULES)


# --------------------------------------------------------------------------- the faults


async def test_a_daemon_that_is_gone(centre: Centre) -> None:
    before = await well(centre)
    await centre.kill()
    promtool.play(before, {}, ["RecorderAway"])


async def test_asterisk_that_is_gone(centre: Centre) -> None:
    before = await well(centre)
    await centre.pbx.stop()
    await until(lambda: centre.reasons)
    promtool.play(before, await scrape(centre), ["RecorderNotReady", "RecorderPbxAway"])


async def test_a_lost_call(centre: Centre) -> None:
    before = await well(centre)
    centre.writes_files = False
    talk = await centre.asks()
    centre.connects(talk)
    await centre.until_talking()
    centre.hangs_up(talk)
    assert (await centre.outcome())[0] == "lost"
    await until_value(centre, "recorder_calls_lost_total", 1)  # counted once it is written
    promtool.play(before, await scrape(centre), ["RecorderCallsLost"], at=RISEN)


@pytest.mark.slow
async def test_a_capture_that_grows_no_more(centre: Centre) -> None:
    before = await well(centre)
    talk = await centre.asks()
    centre.connects(talk)
    await centre.until_talking()
    with centre.mixes[0].caller.open("ab") as file:
        file.write(bytes(32768))
    await until_value(centre, "recorder_captures_stalled", 1)
    promtool.play(before, await scrape(centre), ["RecorderCaptureStalled"])


def fill(place: Path, megabytes: float) -> None:
    """Until so much of the disk is used, with what the recorder itself has put there."""
    (place / "stuffing").write_bytes(bytes(round(megabytes * 1024 * 1024) - shutil.disk_usage(place).used))


@pytest.mark.parametrize("folder", ["spool", "recordings"])
@pytest.mark.parametrize(("megabytes", "fire"), [(31, []), (33, ["RecorderDiskFills"]), (37, ["RecorderDiskUrgent"])])
async def test_a_disk_that_fills_up(unstarted: Centre, folder: str, megabytes: float, fire: list[str]) -> None:
    place: Path = getattr(unstarted, folder)
    with small_disk(place, "40m"):
        await unstarted.start()
        before = await well(unstarted)
        fill(place, megabytes)
        ring(unstarted, "fullness")
        await until_value(unstarted, "recorder_disk_used_ratio", (megabytes - 1) / 40, folder.removesuffix("ings")[:5])
        promtool.play(before, await scrape(unstarted), fire)
        assert unstarted.reasons == ()
        await unstarted.kill()


async def test_a_full_spool(unstarted: Centre) -> None:
    with small_disk(unstarted.spool, "40m"):
        await unstarted.start()
        before = await well(unstarted)
        fill(unstarted.spool, 39.5)
        await until(lambda: unstarted.reasons)
        ring(unstarted, "fullness")
        await until_value(unstarted, "recorder_disk_level", 2)
        promtool.play(before, await scrape(unstarted), ["RecorderNotReady", "RecorderDiskUrgent"])
        await unstarted.kill()


async def test_a_capture_that_cannot_be_settled(unstarted: Centre) -> None:
    with small_disk(unstarted.recordings, "40m"):
        await unstarted.start()
        before = await well(unstarted)
        talk = await unstarted.asks()
        unstarted.connects(talk)
        await unstarted.until_talking()
        fill(unstarted.recordings, 39.99)
        unstarted.hangs_up(talk)
        await until_value(unstarted, "recorder_recordings_waiting", 1, "settle")
        await until(lambda: unstarted.reasons)
        ring(unstarted, "fullness")
        await until_value(unstarted, "recorder_disk_level", 2)
        await until_value(unstarted, "recorder_recordings_waiting_oldest_seconds", 1)  # it ages
        fire = ["RecorderNotReady", "RecorderDiskUrgent", "RecorderSettlingLate"]
        after = await scrape(unstarted)
        promtool.play(before, after, fire, grow=["recorder_recordings_waiting_oldest_seconds"])
        await unstarted.kill()


async def test_a_catalogue_that_cannot_be_read(centre: Centre) -> None:
    before = await well(centre)
    file = Path(centre.url.removeprefix("sqlite:///"))
    for kept in (file, *file.parent.glob(f"{file.name}-*")):
        kept.rename(kept.with_name(f"away-{kept.name}"))
    await until(lambda: centre.reasons, seconds=20)
    async with asyncio.timeout(20):
        while await value(centre, "recorder_recordings_waiting") is not None:
            await asyncio.sleep(0.1)
    after = {name: of for name, of in (await scrape(centre)).items() if not name.startswith("recorder_sweep_")}
    promtool.play(before, after, ["RecorderNotReady", "RecorderCatalogueUnread"])


async def test_a_sweep_that_hangs(centre: Centre) -> None:
    """The queue log on a mount that does not answer; here a pipe that nobody writes."""
    before = await well(centre)
    centre.queue_log.unlink(missing_ok=True)
    os.mkfifo(centre.queue_log)
    try:
        ring(centre, "reconcile")
        await until_value(centre, "recorder_sweep_age_seconds", 2, "reconcile")
        label = 'recorder_sweep_age_seconds{job="recorder", instance="pbx1:8089", sweep="reconcile"}'
        promtool.play(before, await scrape(centre), ["RecorderSweepStale"], grow=[label])
    finally:
        os.close(os.open(centre.queue_log, os.O_RDWR | os.O_NONBLOCK))


async def test_a_sweep_that_fails(centre: Centre) -> None:
    before = await well(centre)
    centre.queue_log.unlink(missing_ok=True)
    centre.queue_log.mkdir()
    ring(centre, "reconcile")
    await until_value(centre, "recorder_sweep_failures_total", 1)
    promtool.play(before, await scrape(centre), ["RecorderSweepFails"], at=RISEN)


def ring(centre: Centre, sweep: str) -> None:
    centre.assembly.daemon.sweeps[sweep].bell.set()


async def test_a_write_that_a_rule_forbids(centre: Centre) -> None:
    before = await well(centre)
    talk = await centre.asks(keys="2")
    await until(lambda: not centre.runner.owes)
    forbid(centre.url, "call_events", "NEW.name = 'HoldBegan'")
    centre.say("Hold", talk.agent)
    await until(lambda: centre.counters.refused)
    promtool.play(before, await scrape(centre), ["RecorderWritesRefused"], at=RISEN)


async def test_events_that_overflow(centre: Centre) -> None:
    before = await well(centre)
    await centre.asks(keys="2")
    caller = centre.runner.state.caller
    assert isinstance(caller, Channel)
    while not centre.counters.overflowed:  # in one go: its consumer has no turn between them
        centre.runner.put(ChannelRenamed(at=datetime.now(UTC), channel=caller))
    promtool.play(before, await scrape(centre), ["RecorderEventsOverflowed"], at=RISEN)


async def test_a_stranger_at_the_agi_port(centre: Centre) -> None:
    before = await well(centre)
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.9", 0))
        stranger.connect(("127.0.0.1", centre.assembly.daemon.parts.ivr.port))
        await until_value(centre, "recorder_agi_peers_refused_total", 1)
    promtool.play(before, await scrape(centre), ["RecorderStrangerAtAgi"], at=RISEN)


async def test_a_rival_that_is_stopped(centre: Centre) -> None:
    before = await well(centre)
    talk = await captured(centre)
    centre.rival(talk.caller)
    await until_value(centre, "recorder_rivals_met_total", 1)
    await until_value(centre, "recorder_rivals_dealt_with_total", 1, "stopped")
    promtool.play(before, await scrape(centre), ["RecorderRivalMet"], at=RISEN)


async def test_a_rival_that_cannot_be_stopped(centre: Centre) -> None:
    before = await well(centre)
    talk = await captured(centre)
    centre.rival(talk.caller, file="")
    await until_value(centre, "recorder_rivals_at_large", 1)
    promtool.play(before, await scrape(centre), ["RecorderRivalAtLarge", "RecorderRivalMet"], at=RISEN)


@pytest.mark.slow
async def test_a_pause_that_is_forgotten(unstarted: Centre) -> None:
    unstarted.change("line", support={**LINES["support"], "pause_longest_seconds": 10})
    await unstarted.start()
    before = await well(unstarted)
    talk = await captured(unstarted)
    unstarted.marks(talk, "pause")
    await until_value(unstarted, "recorder_pauses_long", 1)
    promtool.play(before, await scrape(unstarted), ["RecorderPauseLong"])


async def test_somebody_who_listens_to_a_call_of_their_own(centre: Centre) -> None:
    before = await well(centre)
    recording = await recorded(centre)
    await enters(centre, "alice", Role.SUPERVISOR, at="PJSIP/alice")
    async with program(centre, (await token_of(centre, "alice"))[1]) as client:
        assert (await opens(client, recording)).status_code == 201
    await until_value(centre, "recorder_alarms_raised", 1, 'kind="listening"')
    promtool.play(before, await scrape(centre), ["RecorderListeningConspicuous"])


async def captured(centre: Centre) -> Talk:
    talk = await centre.asks()
    centre.connects(talk)
    await centre.until_capture("running")
    return talk


async def test_a_settled_recording_that_is_taken_away(centre: Centre) -> None:
    before = await well(centre)
    talk = await captured(centre)
    centre.hangs_up(talk)
    assert await centre.outcome() == ("recorded", None)
    for path in centre.recordings.rglob("*.wav"):
        path.unlink()
    ring(centre, "books")
    await until_value(centre, "recorder_books_mismatches", 1)
    promtool.play(before, await scrape(centre), ["RecorderBooksOutOfBalance"])


async def test_somebody_who_overrides_much_more_than_the_others(centre: Centre) -> None:
    before = await well(centre)
    at = centre.assembly.now() - timedelta(hours=1)
    await took(centre.catalogue, "PJSIP/alice", 10, overriding=5, at=at)
    await took(centre.catalogue, "PJSIP/bob", 40, at=at)
    ring(centre, "overrides")
    await until_value(centre, "recorder_overrides_standing_out", 1)
    promtool.play(before, await scrape(centre), ["RecorderOverridesStandOut"])


async def test_alarms_that_do_not_get_out(catalogue_url: str, tmp_path: Path) -> None:
    nowhere = {"webhook": "http://127.0.0.1:9/", "secret": "s", "unready_seconds": 0}
    async with FakePbx() as pbx:
        centre = Centre(pbx, tmp_path, catalogue_url, alarm=nowhere)
        try:
            await centre.start()
            await until_value(centre, "recorder_sweep_age_seconds", 0)
            before = {name: 0.0 if "notices_waiting" in name else of for name, of in (await well(centre)).items()}
            await pbx.stop()
            await until_value(centre, "recorder_notices_waiting", 1)
            fire = ["RecorderNotReady", "RecorderPbxAway", "RecorderNoticesWait"]
            promtool.play(before, await scrape(centre), fire)
        finally:
            await centre.kill()


async def test_a_day_without_a_call_and_a_day_with_one(centre: Centre) -> None:
    (name,) = (name for name in await well(centre) if name.startswith("recorder_calls_opened_total"))
    ready = name.replace("recorder_calls_opened_total", "recorder_ready")
    for values, fires in (("5+0x36", True), ("5+1x36", False), ("_x20 0+0x16", False)):
        series = [{"series": name, "values": values}, {"series": ready, "values": "1+0x36"}]
        asked = {
            "expr": 'count(ALERTS{alertname="RecorderNoCallForLong",alertstate="firing"})',
            "eval_time": "36h",
            "exp_samples": [{"labels": "{}", "value": 1}] if fires else [],
        }
        promtool.assert_tested({"interval": "1h", "input_series": series, "promql_expr_test": [asked]})


def test_every_rule_has_its_fault() -> None:
    faults = Path(__file__).read_text("utf-8")
    assert [name for name in NAMES if not re.search(rf"\b{name}\b", faults)] == []
