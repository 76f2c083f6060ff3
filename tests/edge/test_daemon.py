"""The daemon with its real parts beside a fake PBX: what is written when, and what a crash, a cut or a lock leaves."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import shutil
import threading
import time
import wave
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from recorder.alarms import AlarmKind, Standing
from recorder.books.balance import balance
from recorder.call import CaptureState, Phase
from recorder.daemon import runner
from recorder.daemon.runner import QUEUE_LONGEST, UNHOOKED_FOR
from recorder.model import Channel, ChannelRenamed, ConsentState, KeyAct, Linkedid, LostReason, PbxEvent, Uniqueid
from recorder.queue_log import Entry, QueueLog
from recorder.rotated import Place
from recorder.storage import Spool, Storage
from tests.core.call_cast import key
from tests.core.test_cdr import written
from tests.edge.centre import LINES, PROMPTS, Centre, Talk, away, forbid, until
from tests.facts import override_for
from tests.fakes.agi import OK
from tests.fakes.pbx import Action, FakeChannel, FakePbx, listing, response

pytestmark = pytest.mark.usefixtures("no_task_left")
BOTH = pytest.mark.parametrize("engine_name", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])

DIALLED = written(context="outgoing", application="Dial", data="PJSIP/1,60,gU(recorder-callee^support)")


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


def seconds_of(path: Path) -> float:
    with wave.open(str(path)) as sound:
        return float(sound.getnframes() / sound.getframerate())


def heard_until(path: Path) -> float:
    """Seconds up to which a settled recording holds any sound."""
    with wave.open(str(path)) as sound:
        frames = sound.readframes(sound.getnframes())
    return len(frames.rstrip(b"\x00")) / 4 / 8000


# --------------------------------------------------------------------------- a whole call


@BOTH
async def test_a_consented_call_becomes_one_settled_recording(centre: Centre) -> None:
    talk = await centre.asks()
    centre.connects(talk)
    await centre.until_talking()
    centre.hangs_up(talk)
    assert await centre.outcome() == ("recorded", None)
    (path,) = centre.settled()
    assert seconds_of(path) == 1.0
    await until(lambda: not centre.staged(), "the spool to be empty")
    assert talk.caller.variables["RECORDER_RESULT"] == "given"


async def test_what_a_recording_is_silent_of_is_overwritten_in_the_spool_too(centre: Centre) -> None:
    talk = await centre.asks()
    centre.connects(talk)
    await centre.until_capture("running")
    with centre.mixes[0].caller.open("rb") as staged:
        await asyncio.sleep(0.3)
        centre.say("Hold", talk.agent)
        await until(lambda: centre.mixes[0].muted)
        centre.hangs_up(talk)
        assert await centre.outcome() == ("recorded", None)
        await until(lambda: not centre.staged(), "the spool to be empty")
        left_there = staged.read()[44:]
    (path,) = centre.settled()
    with wave.open(str(path)) as sound:
        frames = sound.readframes(sound.getnframes())
    kept = b"".join(frames[at : at + 2] for at in range(0, len(frames), 4))
    assert left_there == kept
    assert 0 < kept.count(0) < len(kept)


@pytest.mark.parametrize(("keys", "result"), [("2", "refused"), ("  ", "unanswered")])
async def test_a_caller_who_does_not_agree_is_captured_in_no_way(centre: Centre, keys: str, result: str) -> None:
    talk = await centre.asks(keys=keys)
    centre.connects(talk)
    await centre.until_talking()
    centre.hangs_up(talk)
    assert await centre.outcome() == ("declined", None)
    assert (centre.mixes, centre.staged(), centre.settled()) == ([], [], [])
    assert talk.caller.variables["RECORDER_RESULT"] == result


async def test_the_events_of_a_call_are_taken_in_their_order(centre: Centre) -> None:
    talks = [await centre.asks() for _ in range(5)]
    for _ in range(20):
        for talk in talks:
            centre.say("Hold", talk.agent)
            centre.say("Unhold", talk.agent)
    for talk in talks:
        centre.connects(talk)
        centre.hangs_up(talk)
    await centre.until_closed(5)
    for row in await centre.catalogue.list_calls(10):
        whole = await centre.catalogue.one_call(row.id)
        assert whole is not None
        holds = [step.name for step in whole.journal if step.name.startswith("Hold")]
        assert holds == ["HoldBegan", "HoldEnded"] * 20
        assert [step.seq for step in whole.journal] == list(range(1, len(whole.journal) + 1))


@BOTH
async def test_the_intention_is_in_the_catalogue_before_asterisk_hears_of_it(centre: Centre) -> None:
    seen: list[object] = []

    def looks() -> bytes:
        seen.extend(centre.rows("SELECT status, authorising_state FROM recordings"))
        return OK

    centre.at_mixmonitor = looks
    await centre.asks()
    assert seen == [("authorised", "given")]


async def test_what_a_personal_channel_does_creates_nothing(centre: Centre) -> None:
    personal = centre.new_talk()
    centre.connects(personal)
    centre.say("Hold", personal.agent)
    centre.say("MixMonitorStart", personal.caller)
    centre.hangs_up(personal)
    marked = await centre.asks(keys="2")
    centre.hangs_up(marked)
    (only,) = await centre.until_closed()
    assert only.linkedid == marked.caller.linkedid
    assert centre.counters.opened == 1


async def test_an_event_that_finds_its_calls_queue_full_is_counted(centre: Centre) -> None:
    talk = await centre.asks(keys="2")
    for _ in range(QUEUE_LONGEST + 10):  # in one go: its consumer has no turn between them
        centre.runner.put(_rename(centre.runner.state.caller))
    assert centre.counters.overflowed == 10
    with pytest.raises(TimeoutError, match="queue is full"):
        async with asyncio.timeout(5):
            await centre.runner.apply(_rename(centre.runner.state.caller))  # at once: its consumer had no turn yet
    await until(lambda: centre.runner.waiting == 0)
    centre.hangs_up(talk)
    assert await centre.outcome() == ("abandoned", None)


def _rename(channel: object) -> PbxEvent:

    assert isinstance(channel, Channel)
    return ChannelRenamed(at=datetime.now(UTC), channel=channel)


async def test_a_caller_who_is_lost_to_the_dialogue_and_gone_before_ami_told_is_abandoned(centre: Centre) -> None:
    talk = centre.new_talk()
    async with centre.visit(talk) as visit:
        visit.answers["STREAM FILE"] = lambda _: None
        await visit.until_command("STREAM FILE")
        centre.pbx.channels.remove(talk.caller)  # and its Hangup passed before the daemon knew the call
    assert await centre.outcome() == ("abandoned", None)


async def test_a_caller_who_could_not_be_asked_and_was_gone_before_ami_told_is_abandoned(
    centre: Centre, tmp_path: Path
) -> None:
    shutil.move(centre.spool, tmp_path / "elsewhere")
    centre.spool.write_text("no folder any more")
    await until(lambda: centre.reasons, "the daemon to notice")
    talk = centre.new_talk()
    centre.pbx.channels.remove(talk.caller)  # and its Hangup passed before the visit opened the call
    await centre.asks(talk=talk)
    assert centre.runner.state.lost is LostReason.SPOOL_UNREADY
    assert await centre.outcome() == ("abandoned", None)


# --------------------------------------------------------------------------- MixMonitor says one thing and does another


async def test_a_mixmonitor_that_succeeds_without_files_is_a_lost_call_and_is_stopped(centre: Centre) -> None:
    centre.writes_files = False
    talk = await centre.asks()
    centre.connects(talk)
    await centre.pbx.until_received("StopMixMonitor")
    centre.hangs_up(talk)
    assert await centre.outcome() == ("lost", "capture_failed")
    assert [mix.open for mix in centre.mixes] == [False]


async def test_a_mixmonitor_that_is_refused_is_a_lost_call(centre: Centre) -> None:
    centre.at_mixmonitor = lambda: b"200 result=-2\n"
    talk = await centre.asks()
    assert talk.caller.variables["RECORDER_RESULT"] == "capture_failed"
    centre.connects(talk)
    await centre.until_talking()
    centre.hangs_up(talk)
    assert await centre.outcome() == ("lost", "capture_failed")


async def test_a_stop_that_is_not_confirmed_is_sent_again_until_it_is(centre: Centre) -> None:
    talk = await centre.asks()
    centre.connects(talk)
    await centre.until_capture("running")
    confirms = centre.pbx.answers["StopMixMonitor"]
    centre.pbx.answers["StopMixMonitor"] = lambda _: None
    centre.enters(FakeChannel(name="PJSIP/boss-1", uniqueid="9.9", linkedid="9.9"), talk.bridge, 3)
    await centre.pbx.until_received("StopMixMonitor")
    centre.pbx.cut()
    centre.pbx.answers["StopMixMonitor"] = confirms
    await until(lambda: not centre.mixes[0].open, "the stop to be sent again")
    await centre.until_capture("settled")


@pytest.mark.slow
async def test_a_stop_that_was_not_answered_is_sent_again_although_the_connection_stands(centre: Centre) -> None:
    talk = await centre.asks()
    centre.connects(talk)
    await centre.until_capture("running")
    confirms = centre.pbx.answers["StopMixMonitor"]
    centre.pbx.answers["StopMixMonitor"] = lambda _: None
    centre.enters(FakeChannel(name="PJSIP/boss-1", uniqueid="9.9", linkedid="9.9"), talk.bridge, 3)
    await centre.pbx.until_received("StopMixMonitor")
    centre.pbx.answers["StopMixMonitor"] = confirms
    await until(lambda: not centre.mixes[0].open, "the stop to be sent again")
    assert centre.pbx.logins == 1


async def test_what_was_written_beyond_a_stop_that_came_late_is_erased(centre: Centre) -> None:
    talk = await centre.asks()
    centre.connects(talk)
    await centre.until_capture("running")
    centre.mixes[0].seconds = 30.0
    centre.pbx.answers.pop("StopMixMonitor")
    centre.pbx.answers["StopMixMonitor"] = lambda _: None
    centre.enters(FakeChannel(name="PJSIP/boss-1", uniqueid="9.9", linkedid="9.9"), talk.bridge, 3)
    await until(lambda: centre.runner.state.captures[0].state is CaptureState.STOPPING)
    stopped_at = centre.runner.state.captures[0].bridged_until
    await until(lambda: stopped_at is not None and (datetime.now(UTC) - stopped_at).total_seconds() > 1.1, seconds=3)
    centre.hangs_up(talk)
    assert await centre.outcome() == ("recorded", None)
    (path,) = centre.settled()
    row = await centre.recording()
    assert row.keep_seconds is not None
    assert heard_until(path) == pytest.approx(row.keep_seconds, abs=0.05)
    assert row.keep_seconds < 5


async def test_a_stop_sent_to_a_pbx_that_hangs_is_sent_again_when_it_is_back(centre: Centre) -> None:
    talk = centre.new_talk()
    visit = centre.visit(talk)
    visit.answers["GET VARIABLE"] = lambda _: b"200 result=0\n"
    async with visit:
        await visit.until_over()
    await until(lambda: centre.mixes)
    centre.pbx.freeze()
    centre.connects(talk)
    centre.enters(FakeChannel(name="PJSIP/boss-1", uniqueid="9.9", linkedid="9.9"), talk.bridge, 3)
    await centre.until_capture("stopping")
    centre.pbx.cut()
    centre.pbx.thaw()
    await until(lambda: not centre.mixes[0].open, "the stop to be sent again", seconds=15)


async def test_a_hold_that_is_not_confirmed_as_silence_ends_the_capture(centre: Centre) -> None:
    talk = await centre.asks()
    centre.connects(talk)
    await centre.until_capture("running")
    centre.pbx.answers["MixMonitorMute"] = lambda action: response(action, "Error", "Cannot set mute flag")
    centre.say("Hold", talk.agent)
    await until(lambda: not centre.mixes[0].open, "the capture to be stopped")
    centre.hangs_up(talk)
    assert await centre.outcome() == ("recorded", None)


async def test_a_hold_is_silence_and_ends_with_it(centre: Centre) -> None:
    talk = await centre.asks()
    centre.connects(talk)
    await centre.until_capture("running")
    centre.say("Hold", talk.agent)
    await until(lambda: centre.mixes[0].muted)
    centre.say("Unhold", talk.agent)
    await until(lambda: not centre.mixes[0].muted)
    assert centre.mixes[0].open


# --------------------------------------------------------------------------- our clock is set


@pytest.mark.parametrize("hours", [-1, 1])
async def test_a_talk_in_which_our_clock_was_set_is_kept_whole_with_its_pause_where_it_was(
    centre: Centre, hours: int
) -> None:
    talk = await centre.asks()
    began = time.monotonic()
    centre.connects(talk)
    await centre.until_capture("running")
    centre.mixes[0].seconds = 2.0
    await asyncio.sleep(0.3)
    paused = time.monotonic() - began
    centre.marks(talk, "pause")
    await until(lambda: centre.mixes[0].muted)
    await asyncio.sleep(0.2)
    with capture_logs() as said:
        centre.clock_set_by = timedelta(hours=hours)
        await centre.assembly.daemon.parts.growth.look()  # nothing is written yet, and it is not an hour old
        await centre.assembly.daemon.parts.pauses.look()
        await asyncio.sleep(0.2)
        resumed = time.monotonic() - began
        centre.marks(talk, "resume")
        await until(lambda: not centre.mixes[0].muted)
        await centre.assembly.daemon.parts.growth.look()
        await asyncio.sleep(0.3)
    whole = time.monotonic() - began
    centre.hangs_up(talk)
    assert await centre.outcome() == ("recorded", None)
    row = await centre.recording()
    assert row.keep_seconds is None
    assert row.bridged_seconds == pytest.approx(whole, abs=0.2)
    (pause,) = row.silences
    assert (pause.from_seconds, pause.to_seconds) == pytest.approx((paused, resumed), abs=0.2)
    assert [line["seconds"] for line in said if "seconds" in line] == [pytest.approx(3600 * hours, abs=0.1)]
    assert not [line for line in said if line["event"] in ("pause_long", "slept")]
    assert balance(await centre.whole()) == []
    assert sum(step.name == "ClockSet" for step in (await centre.whole()).journal) == 1


async def test_a_capture_that_has_written_nothing_yet_is_not_lost_because_our_clock_was_set_forward(
    centre: Centre,
) -> None:
    talk = await centre.asks()
    centre.connects(talk)
    await centre.until_capture("running")
    centre.clock_set_by = timedelta(hours=1)
    for _ in range(2):  # before the call has read of it, and after
        await centre.assembly.daemon.parts.growth.look()
        await until(lambda: centre.runner.waiting == 0)
    centre.hangs_up(talk)
    assert await centre.outcome() == ("recorded", None)


async def test_what_goes_ahead_of_a_clock_that_was_set_is_read_by_the_clock_before(centre: Centre) -> None:
    talk = await centre.asks()
    centre.connects(talk)
    await centre.until_capture("running")
    call, goes_on = centre.runner, asyncio.Event()

    async def wait(_: object) -> None:
        await goes_on.wait()

    call.ask(wait)
    await until(lambda: call.waiting == 0)
    by_the_old = call.now()
    centre.clock_set_by = timedelta(hours=-1)
    assert abs(call.now() - by_the_old) < timedelta(seconds=5)
    agent = Channel(
        name=talk.agent.name, uniqueid=Uniqueid(talk.agent.uniqueid), linkedid=Linkedid(talk.agent.linkedid)
    )
    call.press(replace(key(KeyAct.PAUSE), at=centre.assembly.now(), presser=agent), ahead=True)
    goes_on.set()
    await until(lambda: call.waiting == 0)
    paused = call.state.paused
    assert paused is not None
    assert abs(paused.at - centre.assembly.now()) < timedelta(seconds=5)
    centre.hangs_up(talk)
    assert await centre.outcome() == ("recorded", None)


async def test_a_capture_that_is_not_stopped_in_time_after_our_clock_was_set_is_kept_to_where_it_was_permitted(
    centre: Centre,
) -> None:
    talk = await centre.asks()
    began = time.monotonic()
    centre.connects(talk)
    await centre.until_capture("running")
    await asyncio.sleep(0.3)
    centre.pbx.answers["MixMonitorMute"] = lambda action: response(action, "Success")  # and its word does not come
    until_here = time.monotonic() - began
    centre.marks(talk, "pause")
    await centre.until_capture("paused")
    centre.clock_set_by = timedelta(hours=-1)
    await until(lambda: not centre.mixes[0].open, "the pause that was not confirmed to end the capture")
    centre.hangs_up(talk)
    assert await centre.outcome() == ("recorded", None)
    row = await centre.recording()
    assert row.bridged_seconds == pytest.approx(until_here, abs=0.2)


# --------------------------------------------------------------------------- the catalogue is away, or refuses


@BOTH
async def test_a_catalogue_that_is_away_before_the_call_means_that_nobody_is_asked(centre: Centre) -> None:
    with away(centre.url):
        await until(lambda: any("catalogue" in reason for reason in centre.reasons), "the daemon to notice")
        talk = await centre.asks()
        assert talk.visit is not None
        assert talk.visit.received("STREAM FILE") == []
        centre.connects(talk)
        await centre.until_talking()
        centre.hangs_up(talk)
    assert await centre.outcome() == ("lost", "catalogue_away")
    assert centre.mixes == []


@BOTH
async def test_a_catalogue_that_goes_away_at_the_answer_means_no_capture(centre: Centre) -> None:
    talk = centre.new_talk()
    visit = centre.visit(talk)
    visit.answers["STREAM FILE"] = lambda _: None
    async with visit:
        await visit.until_command("STREAM FILE")
        with away(centre.url):
            visit.say(b"200 result=49 endpos=80000\n")
            await visit.until_over()
            assert talk.caller.variables["RECORDER_RESULT"] == "catalogue_away"
        centre.connects(talk)
        await centre.until_talking()
        centre.hangs_up(talk)
    assert await centre.outcome() == ("lost", "catalogue_away")
    assert centre.mixes == []


@BOTH
async def test_a_capture_goes_on_while_the_catalogue_is_away_and_the_writes_come_later_in_order(
    centre: Centre,
) -> None:
    talk = await centre.asks()
    centre.connects(talk)
    await centre.until_capture("running")
    with away(centre.url):
        centre.say("Hold", talk.agent)
        centre.say("Unhold", talk.agent)
        await until(lambda: centre.runner.behind, "the writes to be owed")
        assert centre.mixes[0].open
        centre.hangs_up(talk)
        await until(lambda: centre.runner.state.phase is Phase.OVER)
    assert await centre.outcome() == ("recorded", None)
    whole = await centre.whole()
    assert [step.seq for step in whole.journal] == list(range(1, len(whole.journal) + 1))
    assert len(centre.settled()) == 1


@BOTH
async def test_a_capture_that_leaves_scope_is_stopped_while_a_write_hangs(centre: Centre) -> None:
    talk = await talking(centre)
    with away(centre.url):
        centre.say("Hold", talk.agent)
        await until(lambda: centre.mixes[0].muted)
        centre.say("Unhold", talk.agent)
        await until(lambda: not centre.mixes[0].muted)
        await until(centre.runner._owed._paying.locked)  # what is owed is tried again, once a second for a second
        centre.leaves(talk.caller, 1)
        await until(lambda: not centre.mixes[0].open, "the stop", seconds=0.3)


@BOTH
async def test_a_burst_of_events_is_carried_out_at_once_although_the_catalogue_is_away(centre: Centre) -> None:
    talk = await centre.asks()
    centre.connects(talk)
    await centre.until_capture("running")
    with away(centre.url):
        for _ in range(30):
            centre.say("Hold", talk.agent)
            centre.say("Unhold", talk.agent)
        centre.enters(FakeChannel(name="PJSIP/boss-1", uniqueid="9.9", linkedid="9.9"), talk.bridge, 3)
        await until(lambda: not centre.mixes[0].open, "the stop", seconds=4)
    centre.hangs_up(talk)
    assert await centre.outcome() == ("recorded", None)


@BOTH
async def test_an_override_whose_audit_row_is_refused_captures_nothing(centre: Centre) -> None:
    talk = await centre.asks(keys="2")
    centre.connects(talk)
    await centre.until_talking()
    forbid(centre.url, "audit", "NEW.action = 'override'")
    await centre.presses(talk)
    assert (centre.mixes, centre.staged()) == ([], [])
    centre.hangs_up(talk)
    await until(lambda: centre.counters.refused)
    assert centre.rows("SELECT count(*) FROM recordings") == [(0,)]
    assert centre.settled() == []


@BOTH
async def test_an_override_is_audited_before_it_captures_and_sealed(centre: Centre) -> None:
    seen: list[object] = []

    def looks() -> bytes:
        seen.extend(centre.rows("SELECT action, actor FROM audit"))
        return OK

    centre.at_mixmonitor = looks
    talk = await centre.asks(keys="2")
    centre.connects(talk)
    await centre.until_talking()
    await centre.presses(talk)
    await centre.until_capture("running")
    centre.hangs_up(talk)
    assert await centre.outcome() == ("recorded", None)
    assert seen == [("override", "PJSIP/alice")]
    assert (await centre.recording()).sealed


@BOTH
async def test_an_override_says_on_what_it_rests_in_its_event_and_in_its_audit_row(centre: Centre) -> None:
    """The settings are those of the key: the caller was asked under others."""
    talk = await centre.asks(keys="2")
    centre.connects(talk)
    await centre.until_talking()
    await centre.stop()
    centre.change("line", support={**LINES["support"], "override": override_for("emergency", retention="dispute")})
    await centre.start()
    await centre.until_talking()
    before, now = (row.digest for row in await centre.catalogue.policies("support"))
    await centre.presses(talk)
    await centre.until_capture("running")
    centre.hangs_up(talk)
    assert await centre.outcome() == ("recorded", None)
    whole = await centre.whole()
    assert [event.basis for event in whole.consents if event.reason is not None] == ["the law on emergency"]
    assert [entry.details for entry in whole.audit] == [
        {
            "reason": "emergency",
            "prior_state": "refused",
            "hindrance": "",
            "basis": "the law on emergency",
            "retention": "dispute",
            "tells_caller": "no",
            "policy": now,
            "telephone": "PJSIP/alice",
        }
    ]
    assert [(event.after, event.policy) for event in whole.consents] == [
        ("asked", before),
        ("refused", before),
        ("overridden", now),
    ]
    assert "RECORDER_TELL" not in talk.caller.variables


TELLS = {**LINES["support"], "languages": ["en", "fr"], "override": override_for("emergency", tells_caller=True)}


async def test_the_dialplan_is_left_what_a_caller_is_to_hear_before_it_is_left_what_to_start(centre: Centre) -> None:
    await centre.stop()
    centre.change("line", support=TELLS)
    await centre.start()
    talk = await centre.asks(keys="2")
    centre.connects(talk)
    await centre.until_talking()
    told: list[str] = []

    def looks() -> bytes:
        told.append(talk.caller.variables.get("RECORDER_TELL", ""))
        return OK

    centre.at_mixmonitor = looks
    await centre.presses(talk)
    await centre.until_capture("running")
    centre.hangs_up(talk)
    assert await centre.outcome() == ("recorded", None)
    assert told == [str(PROMPTS / "en" / "overridden")]
    assert centre.said == told
    whole = await centre.whole()
    pressed, said = whole.audit
    assert pressed.details["tells_caller"] == "yes"
    assert (said.action, said.recording, said.actor) == ("override told", pressed.recording, "recorder")
    prompt = prompts_of(PROMPTS)["overridden", "en"]
    assert said.details == {
        "prompt": "overridden",
        "language": "en",
        "version": "1",
        "sha256": prompt,
        "status": "SUCCESS",
        "played_ms": "2500",
    }
    assert [step.name for step in whole.journal].count("CallerTold") == 1


def prompts_of(folder: Path) -> dict[tuple[str, str], str]:
    """The SHA-256 of each file, by name and language."""
    return {
        (path.stem, path.parent.name): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*/*.wav")
    }


async def telling(centre: Centre, keys: str = "2") -> Talk:
    """A caller who refused talks on a line of which an override tells the caller."""
    await centre.stop()
    centre.change("line", support=TELLS)
    await centre.start()
    talk = await centre.asks(keys=keys)
    centre.connects(talk)
    await centre.until_talking()
    return talk


async def nothing_is_kept(centre: Centre) -> None:
    """The call is lost because its caller was not told, and no file of it is left."""
    assert await centre.outcome() == ("lost", "prompt_failed")
    assert (await centre.recording()).status == "erased"
    assert (centre.settled(), centre.staged()) == ([], [])


@pytest.mark.parametrize(
    ("playback", "played_ms"),
    [("FAILED", 3), ("FAILED", 2500), ("", 2500), ("SUCCESS", 1500), ("SUCCESS", "-40"), ("SUCCESS", "")],
    ids=["cannot be played", "cut at its end", "no word", "a shorter file", "a clock set back", "no length"],
)
async def test_what_was_captured_of_a_caller_who_was_not_told_is_stopped_and_erased(
    centre: Centre, playback: str, played_ms: int | str
) -> None:
    talk = await telling(centre)
    centre.playback, centre.played_ms = playback, played_ms
    await centre.presses(talk)
    await until(lambda: centre.mixes and not centre.mixes[0].open, "the stop")
    await until(lambda: not centre.staged(), "the erasing")
    assert centre.runner.state.phase is Phase.TALKING
    centre.hangs_up(talk)
    await nothing_is_kept(centre)
    assert [entry.action for entry in (await centre.whole()).audit] == ["override", "override not told"]


async def untold(centre: Centre) -> Talk:
    """An override that captures already, and of telling the caller nobody has said anything yet."""
    talk = await telling(centre)
    centre.playback = None
    await centre.presses(talk)
    await centre.until_capture("running")
    return talk


async def test_a_caller_who_hangs_up_before_they_were_told_leaves_no_recording(centre: Centre) -> None:
    talk = await untold(centre)
    centre.hangs_up(talk)
    await nothing_is_kept(centre)


async def test_a_capture_of_which_nobody_says_whether_the_caller_was_told_ends(
    centre: Centre, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "TOLD_WITHIN", timedelta(milliseconds=100))
    monkeypatch.setattr(runner, "READ_WITHIN", timedelta(milliseconds=100))
    talk = await untold(centre)
    await until(lambda: not centre.mixes[0].open, "the stop")
    centre.hangs_up(talk)
    await nothing_is_kept(centre)
    assert [entry.details.get("status") for entry in (await centre.whole()).audit] == [None, "no word"]


async def test_a_caller_who_was_told_while_no_daemon_ran_is_recorded_on_the_queue_logs_word(centre: Centre) -> None:
    talk = await untold(centre)
    await until(lambda: not centre.runner.owes, "the writes")
    await centre.kill()
    note = f"{talk.caller.variables['RECORDER_TELL_OF']}|SUCCESS|2500"
    now = datetime.now(UTC).timestamp()
    with centre.queue_log.open("a") as log:
        log.write(f"{now:.0f}|{talk.caller.uniqueid}|NONE|NONE|RECORDERTOLD|{note}\n")
    await centre.start()
    await until(lambda: centre.runner.state.captures[0].to_tell is None, "the queue log's word")
    assert centre.mixes[0].open
    centre.hangs_up(talk)
    assert await centre.outcome() == ("recorded", None)
    assert [entry.action for entry in (await centre.whole()).audit] == ["override", "override told"]


async def test_a_caller_who_was_told_unseen_is_recorded_although_the_word_comes_late(
    centre: Centre, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "TOLD_WITHIN", timedelta(milliseconds=100))
    monkeypatch.setattr(runner, "READ_WITHIN", timedelta(milliseconds=100))
    usual, asked = centre.pbx.usually("Status"), 0

    def late(action: Action) -> bytes | None:
        nonlocal asked
        asked += 1
        return None if asked == 1 else usual(action)

    talk = await untold(centre)
    centre.pbx.answers["Status"] = late
    centre.pbx.cut()
    centre.queue_log.write_text(_log(talk, f"RECORDERTOLD|{talk.caller.variables['RECORDER_TELL_OF']}|SUCCESS|2500"))
    await until(lambda: asked > 1 and centre.runner.state.captures[0].to_tell is None, "the queue log's word")
    assert centre.mixes[0].open
    centre.hangs_up(talk)
    assert await centre.outcome() == ("recorded", None)


@pytest.mark.parametrize("word", ["SUCCESS", "FAILED"])
async def test_a_talk_that_ended_while_no_daemon_ran_is_kept_only_where_the_queue_log_says_that_the_caller_was_told(
    centre: Centre, word: str
) -> None:
    talk = await telling(centre)
    centre.queue_log.write_text(_log(talk, "ENTERQUEUE||", "CONNECT|1|{agent}|1"))
    centre.playback = None
    await centre.presses(talk)
    await centre.until_capture("running")
    await until(lambda: not centre.runner.owes, "the writes")
    await centre.kill()
    told = f"RECORDERTOLD|{talk.caller.variables['RECORDER_TELL_OF']}|{word}|2500"
    with centre.queue_log.open("a") as log:
        log.write(_log(talk, told, "COMPLETECALLER|1|5|1"))
    centre.hangs_up(talk)
    await centre.start()
    if word == "SUCCESS":
        assert await centre.outcome() == ("recorded", None)
        assert len(centre.settled()) == 1
    else:
        await nothing_is_kept(centre)
    said = {"SUCCESS": "override told", "FAILED": "override not told"}[word]
    assert [entry.action for entry in (await centre.whole()).audit] == ["override", said]


async def test_what_became_of_telling_is_still_awaited_by_the_next_daemon(
    centre: Centre, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk = await untold(centre)
    await until(lambda: not centre.runner.owes, "the writes")
    await centre.kill()
    monkeypatch.setattr(runner, "TOLD_WITHIN", timedelta(milliseconds=100))
    monkeypatch.setattr(runner, "READ_WITHIN", timedelta(milliseconds=100))
    await centre.start()
    await until(lambda: not centre.mixes[0].open, "the stop")
    centre.hangs_up(talk)
    await nothing_is_kept(centre)


async def test_a_dialplan_that_does_not_know_how_to_tell_captures_nobody_who_is_to_be_told(centre: Centre) -> None:
    talk = await telling(centre)
    centre.dialplan_says = ()
    with capture_logs() as said:
        await centre.presses(talk)
    centre.hangs_up(talk)
    assert await centre.outcome() == ("declined", None)
    assert (centre.mixes, centre.staged(), centre.said) == ([], [], [])
    assert "RECORDER_TELL" not in talk.caller.variables
    (row,) = (await centre.whole()).audit
    assert (row.action, row.details["hindrance"]) == ("override refused", "prompt_failed")
    (line,) = [line for line in said if line["event"] == "caller_not_told"]
    assert "extensions_recorder.conf" in line["why"]


async def test_a_dialplan_that_does_not_know_how_to_tell_captures_where_nobody_is_to_be_told(centre: Centre) -> None:
    talk = await centre.asks(keys="2")
    centre.connects(talk)
    await centre.until_talking()
    centre.dialplan_says = ()
    await centre.presses(talk)
    await centre.until_capture("running")
    centre.hangs_up(talk)
    assert await centre.outcome() == ("recorded", None)


async def test_a_caller_who_cannot_be_told_of_an_override_is_not_captured(centre: Centre) -> None:
    talk = await telling(centre)
    centre.pbx.answers["Setvar"] = lambda action: response(action, "Error", "No such channel")
    await centre.presses(talk)
    centre.hangs_up(talk)
    assert await centre.outcome() == ("declined", None)
    assert centre.mixes == []
    assert centre.rows("SELECT action FROM audit") == [("override refused",)]


@pytest.mark.usefixtures("limits_of_work")
async def test_a_pbx_that_does_not_answer_costs_a_key_less_than_its_leash(centre: Centre) -> None:
    talk = await telling(centre)
    centre.pbx.answers["Setvar"] = lambda _: None
    began = time.monotonic()
    await centre.presses(talk)
    assert time.monotonic() - began < 1.5
    centre.hangs_up(talk)
    assert await centre.outcome() == ("declined", None)
    assert centre.mixes == []
    (row,) = (await centre.whole()).audit
    assert (row.action, row.details["hindrance"]) == ("override refused", "pbx_away")


async def meanwhile(centre: Centre, talk: Talk, happens: Callable[[], None], known: Callable[[], object]) -> None:
    """The agent presses, and while the PBX takes what the caller is to hear something happens, and is known here."""
    usual = centre.pbx.usually("Setvar")

    def slow(action: Action) -> None:
        async def answer() -> None:
            happens()
            await until(known, "the daemon to know")
            for writer in centre.pbx._writers:
                writer.write(usual(action))

        pending.append(asyncio.create_task(answer()))
        del centre.pbx.answers["Setvar"]

    pending: list[asyncio.Task[None]] = []
    centre.pbx.answers["Setvar"] = slow
    await centre.presses(talk)
    await asyncio.gather(*pending)
    assert len(pending) == 1


async def test_a_key_whose_presser_left_before_the_caller_could_be_told_captures_nothing(centre: Centre) -> None:
    talk = await telling(centre)
    boss = FakeChannel(name="PJSIP/boss-1", uniqueid="9.9", linkedid=talk.caller.linkedid)

    def changes_places() -> None:
        centre.leaves(talk.agent, 1)
        centre.enters(boss, talk.bridge, 2)

    with capture_logs() as said:
        await meanwhile(centre, talk, changes_places, lambda: talk.agent.uniqueid not in centre.runner.state.bridges)
    centre.hangs_up(talk)
    assert await centre.outcome() == ("declined", None)
    assert (centre.mixes, centre.rows("SELECT action FROM audit")) == ([], [])
    assert "key_not_of_the_agent" in [line["event"] for line in said]


async def test_what_stands_against_a_capture_since_the_key_was_pressed_hinders_it(centre: Centre) -> None:
    talk = await telling(centre)
    readiness = centre.assembly.daemon.parts.readiness
    await meanwhile(centre, talk, lambda: readiness.disk(["full"]), lambda: readiness.hindrance)
    centre.hangs_up(talk)
    assert await centre.outcome() == ("declined", None)
    assert centre.mixes == []
    (row,) = (await centre.whole()).audit
    assert (row.action, row.details["hindrance"]) == ("override refused", "spool_unready")


async def test_a_reason_that_the_settings_list_no_more_captures_nothing_in_a_call_of_before(centre: Centre) -> None:
    talk = await centre.asks(keys="2")
    centre.connects(talk)
    await centre.until_talking()
    await centre.stop()
    centre.change("line", support={**LINES["support"], "override": {}})
    await centre.start()
    await centre.until_talking()
    await centre.presses(talk)
    centre.hangs_up(talk)
    assert await centre.outcome() == ("declined", None)
    assert centre.mixes == []
    (row,) = (await centre.whole()).audit
    _, now = await centre.catalogue.policies("support")
    assert (row.action, row.actor, row.recording) == ("override refused", "PJSIP/alice", None)
    assert row.details == {
        "reason": "emergency",
        "prior_state": "refused",
        "hindrance": "without_basis",
        "policy": now.digest,
        "telephone": "PJSIP/alice",
    }


async def test_a_key_that_the_caller_presses_does_nothing(centre: Centre) -> None:
    talk = await centre.asks(keys="2")
    centre.connects(talk)
    await centre.until_talking()
    await centre.presses(talk, who=talk.caller)
    centre.hangs_up(talk)
    assert await centre.outcome() == ("declined", None)
    assert centre.mixes == []


async def test_a_refused_write_takes_no_later_one_down_with_it(centre: Centre) -> None:
    talk = await centre.asks(keys="2")
    await until(lambda: not centre.runner.owes)
    forbid(centre.url, "call_events", "NEW.name = 'HoldBegan'")
    centre.say("Hold", talk.agent)
    centre.say("Unhold", talk.agent)
    centre.hangs_up(talk)
    assert await centre.outcome() == ("abandoned", None)
    assert centre.counters.refused == 1


async def test_a_journal_with_a_gap_is_written_on_behind_its_end_after_a_restart(centre: Centre) -> None:
    talk = await centre.asks(keys="2")
    forbid(centre.url, "call_events", "NEW.name = 'HoldBegan'")
    centre.say("Hold", talk.agent)
    centre.say("Unhold", talk.agent)
    await until(lambda: centre.counters.refused and not centre.runner.owes)
    await centre.kill()
    await centre.start()
    centre.hangs_up(talk)
    assert await centre.outcome() == ("abandoned", None)
    assert centre.counters.refused == 0


# --------------------------------------------------------------------------- SIGKILL at each point


@BOTH
async def test_killed_between_the_intention_and_the_mixmonitor_leaves_no_capture(centre: Centre) -> None:
    def dies() -> None:
        centre.die()

    centre.at_mixmonitor = dies
    talk = await centre.asks()
    await centre.kill()
    assert centre.rows("SELECT status FROM recordings") == [("authorised",)]
    await centre.start()
    centre.connects(talk)
    await centre.until_talking()
    centre.hangs_up(talk)
    assert await centre.outcome() == ("lost", "capture_failed")
    assert (await centre.recording()).status == "empty"
    assert (centre.mixes, centre.staged(), centre.settled()) == ([], [], [])


async def test_killed_before_the_mixmonitor_a_talk_that_passed_meanwhile_was_never_captured(centre: Centre) -> None:
    centre.at_mixmonitor = lambda: centre.die()
    talk = await centre.asks()
    await centre.kill()
    lines = _log(talk, "ENTERQUEUE||", "CONNECT|1|{agent}|1", "COMPLETECALLER|1|5|1").splitlines(keepends=True)
    now = int(datetime.now(UTC).timestamp())
    centre.queue_log.write_text("".join(lines[:2]) + lines[2].replace(str(now), str(now + 5), 1))
    centre.hangs_up(talk)
    await centre.start()
    assert await centre.outcome() == ("lost", "capture_failed")
    assert (centre.mixes, centre.settled()) == ([], [])


@BOTH
@pytest.mark.parametrize("meanwhile", ["nothing", "the talk", "the whole talk"])
async def test_killed_between_the_mixmonitor_and_its_reply_loses_nothing(centre: Centre, meanwhile: str) -> None:
    talk = centre.new_talk()
    visit = centre.visit(talk)

    def runs_and_dies(line: str) -> None:
        centre._exec_mixmonitor(talk.caller, line)
        centre.die()

    visit.answers["EXEC MixMonitor"] = runs_and_dies
    async with visit:
        await visit.until_over()
    await centre.kill()
    if meanwhile != "nothing":
        centre.queue_log.write_text(_log(talk, "ENTERQUEUE||", "CONNECT|1|{agent}|1"))
        centre.bridges(talk)
    if meanwhile == "the whole talk":
        centre.hangs_up(talk)
        with centre.queue_log.open("a") as log:
            log.write(_log(talk, "COMPLETECALLER|1|5|1"))
    await centre.start()
    if meanwhile == "nothing":
        centre.connects(talk)
    if meanwhile != "the whole talk":
        await centre.until_capture("running")
        centre.hangs_up(talk)
    assert await centre.outcome() == ("recorded", None)
    assert len(centre.settled()) == 1
    await until(lambda: not centre.staged())


async def test_a_talk_that_ends_while_the_channels_are_listed_is_kept_to_its_end_on_a_second_reading(
    centre: Centre,
) -> None:
    """Asterisk writes the hang-up into the queue log a moment after the channel has gone."""
    talk = await talking(centre)
    centre.queue_log.write_text(_log(talk, "ENTERQUEUE||", "CONNECT|1|{agent}|1"))
    await centre.kill()
    await asyncio.sleep(2.5)  # longer than what is kept behind a last sight
    usual = centre.pbx.usually("Status")

    def over(action: Action) -> bytes:
        if talk.caller in centre.pbx.channels:
            centre.hangs_up(talk)
            asyncio.get_running_loop().call_later(0.15, writes)
        return usual(action)

    def writes() -> None:
        with centre.queue_log.open("a") as log:
            log.write(_log(talk, "COMPLETECALLER|1|5|1"))

    centre.pbx.answers["Status"] = over
    await centre.start()
    assert await centre.outcome() == ("recorded", None)
    row = await centre.recording()
    assert row.keep_seconds is None or row.keep_seconds > 2.5


def _log(talk: Talk, *events: str, queue: str = "support") -> str:
    """Lines of Asterisk's queue log at this moment."""
    now = int(datetime.now(UTC).timestamp())
    lines = ""
    for words in events:
        name, _, data = words.partition("|")
        agent = "NONE" if name in ("ENTERQUEUE", "ABANDON") else "PJSIP/alice"
        lines += f"{now}|{talk.caller.uniqueid}|{queue}|{agent}|{name}|{data.format(agent=talk.agent.uniqueid)}\n"
    return lines


def _noted(talk: Talk, at: int, act: str) -> str:
    """A key's line in the queue log."""
    return f"{at}|{talk.caller.uniqueid}|support|NONE|RECORDERKEY|{act}|{talk.agent.uniqueid}\n"


async def talking(centre: Centre) -> Talk:
    """A talk that is captured and written down."""
    talk = await centre.asks()
    centre.connects(talk)
    await centre.until_capture("running")
    await until(lambda: not centre.runner.owes)
    return talk


async def _reconciled(centre: Centre) -> None:
    reconcile = centre.assembly.daemon.sweeps["reconcile"]
    reconcile.last_ok_at = None
    reconcile.bell.set()
    await until(lambda: reconcile.last_ok_at, "the log to be read")


@BOTH
async def test_killed_in_mid_talk_takes_the_capture_over(centre: Centre) -> None:
    talk = await centre.asks()
    centre.connects(talk)
    await centre.until_capture("running")
    await until(lambda: not centre.runner.owes)
    await centre.kill()
    await centre.start()
    assert centre.mixes[0].open
    await centre.until_talking()
    centre.hangs_up(talk)
    assert await centre.outcome() == ("recorded", None)
    assert (len(centre.mixes), len(centre.settled())) == (1, 1)


@pytest.mark.parametrize("said", [0.25, -30.0, None], ids=["the leg tells", "of another time", "the leg says nothing"])
async def test_a_talk_that_began_unseen_began_when_the_agents_leg_says_where_the_queue_log_agrees(
    centre: Centre, said: float | None
) -> None:
    talk = await centre.asks()
    await centre.kill()
    centre.queue_log.write_text(_log(talk, "ENTERQUEUE||", "CONNECT|1|{agent}|1"))
    second = int(centre.queue_log.read_text().split("|", 1)[0])
    centre.bridges(talk)
    if said is not None:
        talk.agent.variables["RECORDER_JOINED"] = f"{second + said:.3f}"
    await centre.start()
    await centre.until_capture("running")
    began = centre.runner.state.captures[0].bridged_at
    assert began is not None
    assert began.timestamp() == pytest.approx(second + (said if said == 0.25 else 0), abs=0.001, rel=0)


async def test_killed_before_an_agents_coming_was_written_takes_the_capture_over_on_the_queue_logs_word(
    centre: Centre,
) -> None:
    talk = await centre.asks()
    centre.queue_log.write_text(_log(talk, "ENTERQUEUE||", "CONNECT|1|{agent}|1"))
    centre.connects(talk)
    await centre.until_capture("running")
    await centre.kill()
    assert centre.rows("SELECT bridged_at FROM recordings") == [(None,)]
    await centre.start()
    assert centre.mixes[0].open
    await centre.until_talking()
    centre.hangs_up(talk)
    assert await centre.outcome() == ("recorded", None)


async def test_a_talk_is_proved_as_far_as_its_own_last_written_event_shows(centre: Centre) -> None:
    """A daemon that was killed soon after its start has noted no sight of its own yet."""
    talk = await talking(centre)
    await asyncio.sleep(2)
    centre.say("Hold", talk.agent)
    await until(lambda: centre.runner.state.held, "the hold")
    centre.say("Unhold", talk.agent)
    await until(lambda: not centre.runner.state.held, "its end")
    await until(lambda: not centre.runner.owes)
    parts = centre.assembly.daemon.parts
    await parts.catalogue.ping(parts.node, datetime.now(UTC) - timedelta(seconds=60))
    await centre.kill()
    await asyncio.sleep(1)
    talk.caller.bridge = talk.agent.bridge = ""
    await centre.start()
    await until(lambda: centre.runner.state.captures[0].state in (CaptureState.STOPPED, CaptureState.SETTLED))
    centre.hangs_up(talk)
    assert await centre.outcome() == ("recorded", None)
    kept = (await centre.recording()).keep_seconds
    assert kept is not None
    assert 1.9 < kept < 2.9


async def test_an_override_key_works_after_a_restart_in_mid_talk(centre: Centre) -> None:
    talk = await centre.asks(keys="2")
    centre.connects(talk)
    await centre.until_talking()
    await until(lambda: not centre.runner.owes)
    await centre.kill()
    await centre.start()
    await centre.presses(talk)
    await centre.until_capture("running")


async def test_killed_while_on_hold_the_capture_stays_silent(centre: Centre) -> None:
    talk = await centre.asks()
    centre.connects(talk)
    await centre.until_capture("running")
    centre.say("Hold", talk.agent)
    talk.caller.variables["CHANNEL(onhold)"] = "1"
    await until(lambda: centre.mixes[0].muted)
    await centre.kill()
    centre.mixes[0].muted = False  # whatever happened to it
    await centre.start()
    await until(lambda: centre.mixes[0].muted)


@BOTH
async def test_killed_between_the_stop_and_its_confirmation_settles_once(centre: Centre) -> None:
    talk = await centre.asks()
    centre.connects(talk)
    await centre.until_capture("running")
    stops = centre.pbx.answers["StopMixMonitor"]

    def stops_and_dies(action: object) -> None:
        stops(action)  # type: ignore[arg-type]
        centre.die()

    centre.pbx.answers["StopMixMonitor"] = stops_and_dies
    centre.enters(FakeChannel(name="PJSIP/boss-1", uniqueid="9.9", linkedid="9.9"), talk.bridge, 3)
    await until(lambda: not centre.mixes[0].open)
    await centre.kill()
    await centre.start()
    centre.hangs_up(talk)
    assert await centre.outcome() == ("recorded", None)
    assert len(centre.settled()) == 1


@BOTH
async def test_killed_between_the_settled_file_and_its_row_settles_it_once(centre: Centre, tmp_path: Path) -> None:
    talk = await centre.asks()
    centre.connects(talk)
    await centre.until_capture("running")
    shutil.move(centre.recordings, tmp_path / "elsewhere")  # a storage that is away: the settle sweep postpones
    centre.hangs_up(talk)
    await until(lambda: centre.rows("SELECT status FROM recordings") == [("stopped",)])
    row = await centre.recording()
    await centre.kill()
    shutil.move(tmp_path / "elsewhere", centre.recordings)
    Storage(centre.recordings, Spool(centre.spool)).settle(row.id, row.authorised_at)
    await centre.start()
    assert await centre.outcome() == ("recorded", None)
    (path,) = centre.settled()
    assert seconds_of(path) == 1.0
    await until(lambda: not centre.staged())


@BOTH
async def test_killed_between_the_row_and_the_removal_of_the_staged_files_removes_them(centre: Centre) -> None:
    talk = await centre.asks()
    centre.connects(talk)
    await centre.until_capture("running")
    centre.hangs_up(talk)
    await centre.until_closed()
    before = await centre.recording()
    await centre.kill()
    centre.mixes[0].begin()
    stranger = centre.spool / "notes.txt"
    stranger.write_text("somebody else's")
    await centre.start()
    await until(lambda: not centre.staged(), "the leftovers to be removed")
    assert stranger.exists()
    assert replace(await centre.recording(), analysed_at=None, measures={}, findings=()) == replace(
        before, analysed_at=None, measures={}, findings=()
    )


@BOTH
async def test_killed_in_an_unfinished_dialogue_leaves_a_call_with_an_outcome(centre: Centre) -> None:
    talk = centre.new_talk()
    async with centre.visit(talk) as visit:
        visit.answers["STREAM FILE"] = lambda _: None
        await visit.until_command("STREAM FILE")
        await until(lambda: not centre.runner.owes)
        await centre.kill()
    await centre.start()
    centre.connects(talk)
    await centre.until_talking()
    centre.hangs_up(talk)
    assert await centre.outcome() == ("lost", "dialogue_failed")


async def test_a_connection_cut_while_a_capture_is_armed_does_not_give_it_up(centre: Centre) -> None:
    """The PBX is asked in the event's own turn: what was armed after the question was put is not taken for dead."""

    def cut_meanwhile() -> bytes:
        centre.pbx.cut()
        return OK

    centre.at_mixmonitor = cut_meanwhile
    talk = await centre.asks()
    await centre.pbx.until_logins(2)
    await centre.until_ready()
    centre.connects(talk)
    await centre.until_capture("running")
    centre.hangs_up(talk)
    assert await centre.outcome() == ("recorded", None)


async def test_what_a_call_heard_since_is_not_undone_by_an_older_snapshot(centre: Centre) -> None:
    talk = await centre.asks()
    told: list[bytes] = []

    def older(action: Action) -> bytes:
        said = listing_of_now(action)
        if not told:
            centre.connects(talk)  # its events arrive before the answer, which knows nothing of them
        told.append(said)
        return said

    listing_of_now = centre.pbx.usually("Status")
    centre.pbx.answers["Status"] = older
    centre.pbx.cut()
    await centre.pbx.until_logins(2)
    await centre.until_ready()
    await until(lambda: centre.runner.waiting == 0)
    assert [capture.state for capture in centre.runner.state.captures] == [CaptureState.RUNNING]
    assert centre.pbx.received("StopMixMonitor") == []
    assert len(told) >= 2  # and who looks for rivals asks too


@pytest.mark.parametrize(
    ("asked", "expected"),
    [("before, and agreed", ("recorded", None)), ("while nobody saw", ("lost", "pbx_away"))],
)
async def test_a_talk_that_nobody_saw_is_no_abandoned_call_where_the_pbx_does_not_answer_us_afterwards(
    centre: Centre, asked: str, expected: tuple[str, str | None]
) -> None:
    """It is connected while AMI is cut; the new connection tells of its hang-up, and not how the channels stand."""
    talk = await centre.asks() if asked == "before, and agreed" else centre.new_talk()
    centre.pbx.answers["Status"] = lambda _: None
    centre.pbx.cut()
    centre.connects(talk)
    if asked == "while nobody saw":
        await until(lambda: centre.reasons)
        await centre.asks(talk=talk)
    log = _log(talk, "ENTERQUEUE||", "CONNECT|1|{agent}|1", "COMPLETECALLER|1|1|1")
    centre.queue_log.write_text(log)
    await centre.pbx.until_logins(2)
    centre.hangs_up(talk)
    assert await centre.outcome() == expected


async def _uncompared(centre: Centre) -> None:
    """AMI is back, and Asterisk does not say how the channels stand."""
    centre.pbx.answers["Status"] = lambda _: None
    logins = centre.pbx.logins
    centre.pbx.cut()
    await centre.pbx.until_logins(logins + 1)


async def test_a_talk_that_was_seen_to_begin_is_kept_to_its_end_although_the_pbx_does_not_answer_us_afterwards(
    centre: Centre,
) -> None:
    talk = await talking(centre)
    await _uncompared(centre)
    await until(lambda: centre.runner.state.captures[0].unproved, "sight to be lost", seconds=20)
    log = _log(talk, "ENTERQUEUE||", "CONNECT|1|{agent}|1", "COMPLETECALLER|1|9|1")
    centre.queue_log.write_text(log.replace(log[:10], str(int(log[:10]) - 9), 2))
    centre.leaves(talk.caller, 1)
    centre.hangs_up(talk)
    assert await centre.outcome() == ("recorded", None)
    row = await centre.recording()
    assert row.keep_seconds is None or row.keep_seconds > 5  # to the hang-up, and not to the cut


async def test_a_talk_that_nothing_proves_is_kept_to_where_our_sight_ended(centre: Centre) -> None:
    talk = await talking(centre)
    await _uncompared(centre)
    await until(lambda: centre.runner.state.captures[0].unproved, "sight to be lost", seconds=20)
    centre.leaves(talk.caller, 1)
    centre.hangs_up(talk)
    assert await centre.outcome() == ("recorded", None)
    keep = (await centre.recording()).keep_seconds
    assert keep is not None
    assert keep < 4


async def test_what_began_after_we_saw_again_is_judged_by_what_was_seen(centre: Centre) -> None:
    await _uncompared(centre)
    talk = centre.new_outgoing()
    centre.dials_out(talk)
    centre.say("DialBegin", talk.agent, dest=talk.caller)
    await centre.answers_call(talk)
    centre.hangs_up(talk)
    assert await centre.outcome() == ("abandoned", None)
    call = await centre.call()
    assert call.ended_at is not None
    assert call.ended_at >= call.started_at


async def test_who_hangs_up_while_the_queue_log_cannot_be_read_waits_for_it_and_the_daemon_lives_on(
    centre: Centre, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk = await centre.asks()
    centre.pbx.answers["Status"] = lambda _: None
    centre.pbx.cut()
    centre.connects(talk)
    centre.queue_log.write_text(_log(talk, "ENTERQUEUE||", "CONNECT|1|{agent}|1", "COMPLETECALLER|1|1|1"))
    read = QueueLog.read
    refused: list[Place] = []

    def refuses(log: QueueLog, since: Place) -> tuple[list[Entry], Place]:
        if centre.runner.hung_up_at is not None and len(refused) < 2:
            refused.append(since)
            raise PermissionError(13, "Permission denied")
        return read(log, since)

    monkeypatch.setattr(QueueLog, "read", refuses)
    await centre.pbx.until_logins(2)
    centre.hangs_up(talk)
    assert await centre.outcome() == ("recorded", None)
    assert len(refused) == 2


async def test_a_caller_who_gave_up_unseen_is_abandoned_although_the_pbx_does_not_answer_us(centre: Centre) -> None:
    talk = await centre.asks()
    centre.pbx.answers["Status"] = lambda _: None
    centre.pbx.cut()
    await centre.pbx.until_logins(2)
    centre.queue_log.write_text(_log(talk, "ENTERQUEUE||", "ABANDON|1|1|9"))
    centre.hangs_up(talk)
    assert await centre.outcome() == ("abandoned", None)
    assert (centre.settled(), centre.staged()) == ([], [])


# --------------------------------------------------------------------------- keys that pause and end


def told(centre: Centre, talk: Talk) -> list[str]:
    """What the dialplan that waits on the agent's channel was told."""
    said = [action for action in centre.pbx.received("Setvar") if action.get("Channel") == talk.agent.name]
    return [action["Value"] for action in said if action["Variable"] == "RECORDER_DONE"]


async def test_a_pause_is_answered_after_asterisks_own_word_and_a_resume_too(centre: Centre) -> None:
    talk = await centre.asks()
    centre.connects(talk)
    await centre.until_capture("running")
    centre.marks(talk, "pause")
    await until(lambda: told(centre, talk) == ["paused"])
    assert centre.mixes[0].muted
    centre.marks(talk, "resume")
    await until(lambda: told(centre, talk) == ["paused", "resumed"])
    centre.hangs_up(talk)
    assert await centre.outcome() == ("recorded", None)
    assert [silence.cause for silence in (await centre.recording()).silences] == ["pause"]


async def test_a_pause_of_which_asterisk_says_nothing_ends_the_capture(centre: Centre) -> None:
    talk = await centre.asks()
    centre.connects(talk)
    await centre.until_capture("running")
    centre.tells_of_mutes = False
    centre.marks(talk, "pause")
    await until(lambda: centre.pbx.received("StopMixMonitor"))
    await until(lambda: told(centre, talk) == ["stopped"])


async def test_a_withdrawal_leaves_no_file_anywhere_and_is_said_once_nobody_writes(centre: Centre) -> None:
    talk = await centre.asks()
    centre.connects(talk)
    await centre.until_capture("running")
    centre.marks(talk, "stop")
    await until(lambda: told(centre, talk) == ["erased"])
    centre.hangs_up(talk)
    assert await centre.outcome() == ("declined", None)
    assert (centre.settled(), centre.staged()) == ([], [])
    assert (await centre.recording()).erased_at is not None


async def test_what_cannot_be_erased_now_is_erased_later_and_the_call_waits_for_it(
    centre: Centre, tmp_path: Path
) -> None:
    talk = await centre.asks()
    centre.connects(talk)
    await centre.until_capture("running")
    shutil.move(centre.spool, tmp_path / "elsewhere")
    centre.marks(talk, "personal")
    await until(lambda: centre.rows("SELECT status FROM recordings") == [("erasing",)])
    centre.hangs_up(talk)
    await until(lambda: centre.runner.state.phase is Phase.OVER)
    await centre.kill()
    shutil.rmtree(centre.spool, ignore_errors=True)
    shutil.move(tmp_path / "elsewhere", centre.spool)
    await centre.start()
    assert await centre.outcome() == ("excluded", None)
    assert (centre.settled(), centre.staged()) == ([], [])


KEY = "RECORDERKEY|{act}|{{agent}}"


async def test_a_pause_pressed_while_no_daemon_ran_is_obeyed_by_the_next(centre: Centre) -> None:
    talk = await centre.asks()
    centre.connects(talk)
    await centre.until_capture("running")
    await until(lambda: not centre.runner.owes)
    centre.queue_log.write_text(_log(talk, "ENTERQUEUE||", "CONNECT|1|{agent}|1"))
    await centre.kill()
    with centre.queue_log.open("a") as log:
        log.write(_log(talk, KEY.format(act="pause")))
    await centre.start()
    await centre.until_capture("paused")  # which is the intention; the PBX is asked after it
    await until(lambda: centre.runner.state.captures[0].silent, "Asterisk's word")
    assert centre.pbx.received("MixMonitorMute")[-1]["State"] == "1"
    assert centre.mixes[0].open


async def test_a_withdrawal_pressed_while_no_daemon_ran_erases_what_the_call_left(centre: Centre) -> None:
    talk = await centre.asks()
    centre.connects(talk)
    await centre.until_capture("running")
    await until(lambda: not centre.runner.owes)
    centre.queue_log.write_text(_log(talk, "ENTERQUEUE||", "CONNECT|1|{agent}|1"))
    await centre.kill()
    with centre.queue_log.open("a") as log:
        log.write(_log(talk, KEY.format(act="stop"), "COMPLETECALLER|1|5|1"))
    centre.hangs_up(talk)
    await centre.start()
    assert await centre.outcome() == ("declined", None)
    assert (centre.settled(), centre.staged()) == ([], [])


async def test_a_pause_and_its_end_while_no_daemon_ran_are_silence_and_the_rest_is_kept(centre: Centre) -> None:
    talk = await centre.asks()
    centre.connects(talk)
    await centre.until_capture("running")
    await until(lambda: not centre.runner.owes)
    centre.queue_log.write_text(_log(talk, "ENTERQUEUE||", "CONNECT|1|{agent}|1"))
    await centre.kill()
    with centre.queue_log.open("a") as log:
        log.write(_log(talk, KEY.format(act="pause"), KEY.format(act="resume"), "COMPLETECALLER|1|5|1"))
    centre.hangs_up(talk)
    await centre.start()
    assert await centre.outcome() == ("recorded", None)
    assert [silence.cause for silence in (await centre.recording()).silences] == ["pause"]


async def test_a_sleep_is_noticed_although_nothing_came_meanwhile(centre: Centre) -> None:
    await talking(centre)
    with capture_logs() as logs:
        time.sleep(4)  # noqa: ASYNC251  the process stands still
        await asyncio.sleep(0)
        await until(
            lambda: [entry for entry in logs if entry["event"] == "slept"], "the sleep to be noticed", seconds=2
        )


async def test_a_pause_and_its_end_while_we_stood_still_are_silence(centre: Centre) -> None:
    talk = await talking(centre)
    began = int(time.time()) + 1
    log = _log(talk, "ENTERQUEUE||", "CONNECT|1|{agent}|1")
    centre.queue_log.write_text(log + _noted(talk, began + 1, "pause") + _noted(talk, began + 2, "resume"))
    centre.marks(talk, "pause")
    centre.marks(talk, "resume")
    time.sleep(6)  # noqa: ASYNC251  the process stands still
    await until(lambda: not centre.runner.waiting and centre.runner.state.rung is None)
    centre.hangs_up(talk)
    assert await centre.outcome() == ("recorded", None)
    assert [silence.cause for silence in (await centre.recording()).silences] == ["pause"]


async def silent(centre: Centre) -> None:
    """The capture is told to be silent, and Asterisk has said that it is: cut before that, it ends."""
    await centre.until_capture("quiet")
    await until(lambda: centre.runner.state.captures[0].silent, "Asterisk's word")


@pytest.mark.parametrize("heard", [True, False])
async def test_a_hold_that_ended_while_ami_was_cut_silences_nothing_of_what_follows(
    centre: Centre, heard: bool
) -> None:
    talk = await talking(centre)
    if heard:
        centre.say("Hold", talk.agent)
        await silent(centre)
    else:  # it began before, unseen
        talk.caller.variables["CHANNEL(onhold)"] = "1"
        centre.pbx.cut()
        await until(lambda: centre.reasons)
        await centre.until_ready()
        await silent(centre)
        del talk.caller.variables["CHANNEL(onhold)"]
    centre.pbx.cut()
    await until(lambda: centre.reasons)
    await centre.until_ready()  # the Unhold fell between
    await centre.until_capture("running")
    await until(lambda: not centre.mixes[0].muted, "speech")
    centre.hangs_up(talk)
    assert await centre.outcome() == ("recorded", None)
    assert [silence.cause for silence in (await centre.recording()).silences] == ["hold"]


async def test_a_hold_that_asterisk_does_not_tell_of_stays_what_it_was(centre: Centre) -> None:
    talk = await talking(centre)
    centre.say("Hold", talk.agent)
    await silent(centre)
    talk.agent.variables["CHANNEL(onhold)"] = "(null)"
    centre.pbx.cut()
    await until(lambda: centre.reasons)
    await centre.until_ready()
    assert centre.runner.state.captures[0].state is CaptureState.QUIET


async def test_a_key_of_an_outgoing_call_pressed_while_ami_is_away_is_obeyed(centre: Centre) -> None:
    talk = centre.new_outgoing()
    centre.dials_out(talk)
    centre.say("DialBegin", talk.agent, dest=talk.caller)
    await until(lambda: centre.runners)
    await centre.answers_call(talk)
    await centre.until_capture("armed")
    centre.bridges(talk)
    await centre.until_capture("running")
    centre.queue_log.write_text("")
    await _reconciled(centre)
    await centre.pbx.stop()
    await until(lambda: centre.reasons)
    with centre.queue_log.open("a") as log:
        log.write(_log(talk, KEY.format(act="pause")).replace(talk.caller.uniqueid, talk.agent.uniqueid))
    await _reconciled(centre)  # comes each minute, and at once at a start
    await centre.pbx.start_again()
    await centre.until_ready()
    await centre.until_capture("paused")


async def _outgoing_talk(centre: Centre) -> Talk:
    """An outgoing call whose callee has agreed and talks, as the dialplan notes it."""
    talk = centre.new_outgoing()
    centre.dials_out(talk)
    centre.say("DialBegin", talk.agent, dest=talk.caller)
    await until(lambda: centre.runners)
    centre.queue_log.write_text("")
    await _reconciled(centre)
    await centre.answers_call(talk)
    await centre.until_capture("armed")
    _tell(centre, talk, "began|{agent}")
    centre.bridges(talk)
    await centre.until_capture("running")
    await until(lambda: not centre.runner.owes)
    return talk


def _tell(centre: Centre, talk: Talk, *words: str, later: int = 0) -> int:
    """Lines of recorder-talk and recorder-ended in the log's second, so many from now; which one that is."""
    now = int(time.time()) + later
    with centre.queue_log.open("a") as log:
        for said in words:
            data = said.format(agent=talk.agent.uniqueid, callee=talk.caller.uniqueid)
            log.write(f"{now}|{talk.caller.uniqueid}|support|NONE|RECORDERTALK|{data}\n")
    return now


BOTH_ENDED = ("ended|{callee}", "ended|{agent}")


@pytest.mark.parametrize(
    ("told", "proved"),  # seconds after the one that the log names
    [
        pytest.param(BOTH_ENDED, 1, id="both hung up"),
        pytest.param(("ended|{agent}", "moved|{callee}", "elsewhere|{callee}"), 0, id="sent elsewhere"),
        pytest.param(("ended|{agent}", "elsewhere|{callee}"), None, id="somewhere"),
        pytest.param((), None, id="nobody told"),
    ],
)
async def test_an_outgoing_talk_that_ended_unseen_is_kept_as_far_as_the_queue_log_proves_it(
    centre: Centre, told: tuple[str, ...], proved: int | None
) -> None:
    talk = await _outgoing_talk(centre)
    await _reconciled(centre)  # comes each minute: the bookmark waits for the talk
    await centre.kill()
    killed_at = datetime.now(UTC)
    ended = _tell(centre, talk, *told, later=4)
    centre.hangs_up(talk)
    await centre.start()
    assert await centre.outcome() == ("recorded", None)
    ((bridged_at, seconds),) = centre.rows("SELECT bridged_at, bridged_seconds FROM recordings")
    until_at = datetime.fromisoformat(str(bridged_at)).replace(tzinfo=UTC) + timedelta(seconds=float(str(seconds)))
    if proved is None:
        assert until_at <= killed_at
    else:
        assert until_at.timestamp() == ended + proved


async def test_an_outgoing_talk_that_ends_while_ami_is_away_is_whole(centre: Centre) -> None:
    talk = await _outgoing_talk(centre)
    await centre.pbx.stop()
    await until(lambda: centre.reasons)
    _tell(centre, talk, *BOTH_ENDED)
    centre.hangs_up(talk)
    await centre.pbx.start_again()
    await centre.until_ready()
    assert await centre.outcome() == ("recorded", None)
    assert centre.rows("SELECT keep_seconds FROM recordings") == [(None,)]


async def test_an_outgoing_talk_in_which_the_daemon_died_and_came_back_is_whole(centre: Centre) -> None:
    talk = await _outgoing_talk(centre)
    await centre.kill()
    await centre.start()
    await centre.until_talking()
    _tell(centre, talk, *BOTH_ENDED)
    centre.hangs_up(talk)
    assert await centre.outcome() == ("recorded", None)
    assert centre.rows("SELECT keep_seconds FROM recordings") == [(None,)]


@pytest.mark.parametrize("rung_before", [True, False])
async def test_a_member_whom_the_queue_rang_while_nobody_looked_is_the_agent(centre: Centre, rung_before: bool) -> None:
    talk = await centre.asks()
    bob = centre.new_talk().agent
    bob.linkedid = talk.caller.linkedid
    if rung_before:  # alice, who does not answer
        centre.say("AgentCalled", talk.caller, ("Queue", "support"), ("Interface", "PJSIP/alice"), dest=talk.agent)
        await until(lambda: centre.runner.state.rung)
    await until(lambda: not centre.runner.owes)
    centre.queue_log.write_text(_log(talk, "ENTERQUEUE||"))
    await centre.kill()
    talk.agent = bob
    with centre.queue_log.open("a") as log:
        log.write(_log(talk, "CONNECT|1|{agent}|1"))
    centre.bridges(talk)
    await centre.start()
    await centre.until_capture("running")
    assert centre.mixes[0].open


# --------------------------------------------------------------------------- the queue log


@pytest.mark.parametrize("who", ["the sweep", "a resynchronisation"])
async def test_a_queue_log_that_is_slow_to_read_delays_no_call(
    centre: Centre, monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    begun, may_end, ended = (threading.Event() for _ in range(3))
    read = QueueLog.read

    def slow(queue_log: QueueLog, since: Place) -> tuple[list[Entry], Place]:
        begun.set()
        may_end.wait(5)
        ended.set()
        return read(queue_log, since)

    monkeypatch.setattr(QueueLog, "read", slow)
    sweeps = centre.assembly.daemon.parts.sweeps
    reading = asyncio.ensure_future(sweeps.read_queue_log() if who == "the sweep" else sweeps.unseen())
    await until(begun.is_set, "the log to be read")
    talk = await centre.asks()
    centre.connects(talk)
    await centre.until_capture("running")
    assert not ended.is_set()
    may_end.set()
    await reading


async def test_whatever_keeps_one_step_of_reconciling_back_keeps_no_call_from_its_outcome(
    unstarted: Centre, tmp_path: Path
) -> None:
    centre, cdr = unstarted, tmp_path / "Master.csv"
    cdr.touch()
    centre.queue_log.write_text("")
    centre.change("pbx", cdr=cdr)
    await centre.start()
    await _reconciled(centre)
    centre.queue_log.unlink()
    centre.queue_log.mkdir()  # opened for reading, it says so
    cdr.write_bytes(DIALLED)
    centre.assembly.daemon.sweeps["reconcile"].bell.set()
    assert await centre.outcome() == ("lost", "recorder_away")
    await until(lambda: centre.assembly.daemon.sweeps["reconcile"].failures)


async def test_a_lost_call_that_only_the_cdr_tells_of_wakes_somebody(unstarted: Centre, tmp_path: Path) -> None:
    centre, cdr = unstarted, tmp_path / "Master.csv"
    centre.change("pbx", cdr=cdr)
    await centre.start()
    await until(lambda: centre.rows("SELECT name FROM bookmarks WHERE name = 'cdr'"), "the bookmark")
    await centre.stop()
    cdr.write_bytes(DIALLED)
    await centre.start()
    assert await centre.outcome() == ("lost", "recorder_away")
    centre.assembly.daemon.sweeps["alarms"].bell.set()
    alarms = centre.assembly.daemon.parts.alarms.alarms
    await until(lambda: alarms.now[AlarmKind.LOST].standing is Standing.RAISED, "the alarm")
    assert sum(centre.assembly.figures()["recorder_calls_lost"].values.values()) == 1


@pytest.mark.parametrize("after", ["canteen", "support"])
async def test_a_talk_on_our_queue_is_accounted_for_whatever_queue_comes_next(unstarted: Centre, after: str) -> None:
    centre = unstarted
    centre.queue_log.write_text("")
    await centre.start()
    await until(lambda: centre.rows("SELECT name FROM bookmarks WHERE name = 'queue_log'"))
    await centre.stop()
    talk = centre.new_talk()
    log = _log(talk, "ENTERQUEUE||", "CONNECT|5|{agent}|4", f"BLINDTRANSFER|{after}|house|5|55|1")
    centre.queue_log.write_text(log + _log(talk, "ENTERQUEUE||", "ABANDON|1|1|9", queue=after))
    await centre.start()
    assert await centre.outcome() == ("lost", "recorder_away")


@BOTH
async def test_calls_that_passed_while_nobody_looked_get_their_outcome_once(unstarted: Centre) -> None:
    centre = unstarted
    centre.queue_log.write_text("")
    await centre.start()
    await until(lambda: centre.rows("SELECT name FROM bookmarks WHERE name = 'queue_log'"))
    await centre.stop()
    served, gave_up, private, foreign, waiting = (centre.new_talk() for _ in range(5))
    centre.queue_log.write_text(
        _log(served, "ENTERQUEUE||", "CONNECT|1|{agent}|1", "COMPLETECALLER|1|5|1")
        + "no line of Asterisk's\n"
        + _log(gave_up, "ENTERQUEUE||", "ABANDON|1|1|9")
        + _log(private, "ENTERQUEUE||", "CONNECT|1|{agent}|1", "COMPLETECALLER|1|5|1", queue="private")
        + _log(foreign, "ENTERQUEUE||", "ABANDON|1|1|9", queue="somebody else's")
        + _log(waiting, "ENTERQUEUE||")
    )
    await centre.start()
    rows = {row.linkedid: (str(row.outcome), row.reason) for row in await centre.until_closed(3)}
    assert rows == {
        served.caller.uniqueid: ("lost", "recorder_away"),
        gave_up.caller.uniqueid: ("abandoned", None),
        private.caller.uniqueid: ("excluded", None),
    }
    with centre.queue_log.open("a") as log:
        log.write(_log(waiting, "ABANDON|1|1|9"))
    centre.assembly.daemon.sweeps["reconcile"].bell.set()
    await centre.until_closed(4)
    await centre.stop()
    await centre.start()
    assert len(await centre.until_closed(4)) == 4


async def test_a_pbx_that_does_not_say_when_things_happened_is_in_the_status_with_its_mend(centre: Centre) -> None:
    assert (await centre.assembly.status()).state == "ok"
    channel = FakeChannel(name="PJSIP/stranger-1", uniqueid="1795298000.1", linkedid="1795298000.1")
    centre.say("Hold", channel)
    await until(lambda: centre.assembly.daemon.parts.ami.counters.stamped is False)
    status = await centre.assembly.status()
    assert (status.state, len(status.reasons)) == ("degraded", 1)
    assert "timestampevents = yes" in status.reasons[0]
    centre.say("Hold", channel, at=datetime.now(UTC))
    await until(lambda: centre.assembly.daemon.parts.ami.counters.stamped)
    assert (await centre.assembly.status()).state == "ok"


async def test_books_that_do_not_balance_are_in_the_status_and_in_the_metrics_until_they_do(
    unstarted: Centre,
) -> None:
    centre = unstarted
    centre.queue_log.touch()
    await centre.start()
    sweep = centre.assembly.daemon.sweeps["books"]
    await until(lambda: sweep.last_ok_at is not None, "the books to be balanced after the first reconciliation")
    assert (await centre.assembly.status()).state == "ok"
    strange = centre.recordings / "copy of a call.wav"
    strange.write_bytes(b"RIFF")
    sweep.bell.set()
    bookkeeper = centre.assembly.daemon.parts.bookkeeper
    await until(lambda: bookkeeper.found, "the file to be found")
    status = await centre.assembly.status()
    assert status.state == "degraded"
    assert status.reasons == ["the books do not balance (1 file_not_ours): run `recorder verify`"]
    assert status.sweeps["books"].last_ok_at is not None
    figure = centre.assembly.figures()["recorder_books_mismatches"]
    assert (figure.values["file_not_ours"], sum(figure.values.values())) == (1, 1)
    strange.unlink()
    sweep.bell.set()
    await until(lambda: not bookkeeper.found, "the books to balance again")
    assert (await centre.assembly.status()).state == "ok"


@BOTH
async def test_an_outgoing_call_that_only_the_cdr_saw_gets_its_outcome_once(unstarted: Centre, tmp_path: Path) -> None:
    centre = unstarted
    cdr = tmp_path / "Master.csv"
    centre.change("pbx", cdr=cdr)
    await centre.start()
    await until(lambda: centre.rows("SELECT name FROM bookmarks WHERE name = 'cdr'"), "the bookmark")
    await centre.stop()
    data = "PJSIP/1,60,gU(recorder-callee^support)"
    cdr.write_bytes(written(context="outgoing", application="Dial", data=data))
    await centre.start()
    (row,) = await centre.until_closed(1)
    assert (row.direction, row.outcome, row.reason) == ("outgoing", "lost", "recorder_away")
    await centre.stop()
    await centre.start()
    assert len(await centre.until_closed(1)) == 1


async def test_a_caller_of_another_call_who_joins_the_talk_ends_its_capture(centre: Centre) -> None:
    agreed = await centre.asks()
    centre.connects(agreed)
    await centre.until_capture("running")
    refused = await centre.asks(keys="2")
    centre.enters(refused.caller, agreed.bridge, 3)
    await until(
        lambda: not any(one.state == "running" for row in centre.runners for one in row.state.captures),
        "the capture to end",
    )
    centre.hangs_up(refused)
    centre.hangs_up(agreed)
    rows = {row.linkedid: row.outcome for row in await centre.until_closed(2)}
    assert rows[Linkedid(agreed.caller.uniqueid)] == "recorded"


async def test_a_queue_log_that_was_rotated_is_read_from_its_beginning(unstarted: Centre) -> None:
    centre = unstarted
    centre.queue_log.write_text(_log(centre.new_talk(), "ENTERQUEUE||", "ABANDON|1|1|9") * 50)
    await centre.start()
    await until(lambda: centre.rows("SELECT name FROM bookmarks WHERE name = 'queue_log'"))
    await centre.stop()
    centre.queue_log.rename(centre.queue_log.with_suffix(".1"))
    centre.queue_log.write_text(_log(centre.new_talk(), "ENTERQUEUE||", "ABANDON|1|1|9"))
    await centre.start()
    assert await centre.outcome() == ("abandoned", None)


async def test_what_a_rotated_queue_log_still_held_is_accounted_for(unstarted: Centre) -> None:
    centre = unstarted
    centre.queue_log.write_text(_log(centre.new_talk(), "ENTERQUEUE||", "ABANDON|1|1|9"))
    await centre.start()
    await until(lambda: centre.rows("SELECT name FROM bookmarks WHERE name = 'queue_log'"))
    await centre.stop()
    with centre.queue_log.open("a") as old:
        old.write(_log(centre.new_talk(), "ENTERQUEUE||", "ABANDON|1|1|9"))
    centre.queue_log.rename(centre.queue_log.with_name(f"{centre.queue_log.name}.1"))
    centre.queue_log.write_text(_log(centre.new_talk(), "ENTERQUEUE||", "ABANDON|1|1|9"))
    await centre.start()
    assert len(await centre.until_closed(2)) == 2


async def test_a_queue_log_that_asterisk_makes_while_we_are_away_is_accounted_for_from_its_first_line(
    unstarted: Centre,
) -> None:
    centre = unstarted
    await centre.start()
    await until(lambda: centre.rows("SELECT name FROM bookmarks WHERE name = 'queue_log'"), "the bookmark")
    await centre.stop()
    centre.queue_log.write_text(_log(centre.new_talk(), "ENTERQUEUE||", "ABANDON|1|1|9"))
    await centre.start()
    assert await centre.outcome() == ("abandoned", None)


async def test_a_call_that_we_know_is_not_told_again_by_the_queue_log(centre: Centre) -> None:
    talk = await centre.asks()
    centre.connects(talk)
    await centre.until_capture("running")
    centre.hangs_up(talk)
    assert await centre.outcome() == ("recorded", None)
    await centre.stop()
    centre.queue_log.write_text(_log(talk, "ENTERQUEUE||", "CONNECT|1|{agent}|1", "COMPLETECALLER|1|5|1"))
    await centre.start()
    await until(lambda: centre.assembly.daemon.sweeps["reconcile"].last_ok_at, "the log to be read")
    assert len(await centre.catalogue.list_calls(10)) == 1


async def test_a_talk_that_ended_while_we_were_dead_is_kept_whole_although_its_beginning_was_reconciled_before(
    centre: Centre,
) -> None:
    talk = await centre.asks()
    centre.queue_log.write_text(_log(talk, "ENTERQUEUE||", "CONNECT|1|{agent}|1"))
    centre.connects(talk)
    await centre.until_capture("running")
    reconcile = centre.assembly.daemon.sweeps["reconcile"]
    reconcile.last_ok_at = None
    reconcile.bell.set()
    await until(lambda: reconcile.last_ok_at, "the log to be read")
    await centre.kill()
    with centre.queue_log.open("a") as log:
        log.write(_log(talk, "COMPLETECALLER|1|5|1"))
    centre.hangs_up(talk)
    await centre.start()
    assert await centre.outcome() == ("recorded", None)
    assert (await centre.recording()).keep_seconds is None


async def test_a_queue_log_that_cannot_be_read_keeps_nobody_from_being_captured(unstarted: Centre) -> None:
    unstarted.queue_log.mkdir()  # opened for reading, it says so
    await unstarted.start()
    talk = await unstarted.asks()
    unstarted.connects(talk)
    await unstarted.until_capture("running")


# --------------------------------------------------------------------------- outgoing, and a second line


@pytest.mark.parametrize("order", ["the event first", "the visit first"])
async def test_an_outgoing_call_is_one_call_whichever_of_its_two_tidings_comes_first(
    centre: Centre, order: str
) -> None:
    talk = centre.new_outgoing()
    if order == "the event first":
        centre.dials_out(talk)
        centre.say("DialBegin", talk.agent, dest=talk.caller)
        await until(lambda: centre.runners)
    await centre.answers_call(talk)
    if order == "the visit first":
        centre.dials_out(talk)
        centre.say("DialBegin", talk.agent, dest=talk.caller)
    await centre.until_capture("armed")
    centre.bridges(talk)
    await centre.until_capture("running")
    centre.hangs_up(talk)
    assert await centre.outcome() == ("recorded", None)
    assert (await centre.call()).direction == "outgoing"
    assert len(centre.settled()) == 1


async def test_an_outgoing_call_that_was_dialled_while_nobody_listened_is_captured(centre: Centre) -> None:
    talk = centre.new_outgoing()
    await centre.answers_call(talk)  # its event, and its Dial, were before the connection
    await centre.until_capture("armed")
    centre.bridges(talk)
    await centre.until_capture("running")
    centre.hangs_up(talk)
    assert await centre.outcome() == ("recorded", None)
    assert {leg.kind for leg in (await centre.whole()).legs} == {"caller", "agent"}


async def test_an_outgoing_call_that_nobody_answers_is_abandoned(centre: Centre) -> None:
    talk = centre.new_outgoing()
    centre.dials_out(talk)
    centre.say("DialBegin", talk.agent, dest=talk.caller)
    centre.hangs_up(talk)
    assert await centre.outcome() == ("abandoned", None)


async def test_whom_a_caller_is_transferred_to_on_an_outgoing_route_is_not_asked_and_not_captured(
    centre: Centre,
) -> None:
    talk = await centre.asks()
    centre.connects(talk)
    await centre.until_capture("running")
    centre.leaves(talk.agent, 1)
    outside = centre.new_talk()
    outside.caller.linkedid = talk.caller.linkedid
    await centre.answers_call(outside)
    assert outside.visit is not None
    assert outside.visit.received("STREAM FILE") == []
    assert len(centre.mixes) == 1
    centre.hangs_up(talk)
    assert await centre.outcome() == ("recorded", None)


async def test_a_consultation_that_comes_to_a_line_is_passed_on_at_once_and_changes_nothing(centre: Centre) -> None:
    talk = await centre.asks()
    centre.connects(talk)
    await centre.until_capture("running")
    consults = centre.new_talk()
    consults.caller.linkedid = talk.caller.linkedid
    await asyncio.wait_for(centre.asks(line="sales", talk=consults), 1.5)  # no wait for the caller's capture to end
    assert centre.pbx.received("StopMixMonitor") == []
    assert consults.visit is not None
    assert consults.visit.received("STREAM FILE") == []
    centre.hangs_up(talk)
    assert await centre.outcome() == ("recorded", None)
    assert (await centre.call()).line == "support"
    legs = {leg.uniqueid: leg.kind for leg in (await centre.whole()).legs}
    assert (
        legs[Uniqueid(consults.caller.uniqueid)] == "other"
    )  # what the queue log tells of it is known, and no lost call


def _members(*interfaces: tuple[str, str]) -> Callable[[Action], bytes]:
    """QueueStatus of a house with these members: interface and state interface."""
    items: list[tuple[str, list[tuple[str, object]]]] = [
        ("QueueMember", [("Queue", "support"), ("Name", "Ada"), ("Location", where), ("StateInterface", state)])
        for where, state in interfaces
    ]
    return lambda action: listing(action, items, "QueueStatusComplete")


@pytest.mark.parametrize(
    "member",
    [("PJSIP/trunk", "PJSIP/trunk"), ("Local/2001@agents/n", "PJSIP/trunk")],
    ids=["the phone", "behind Local"],
)
async def test_an_agent_who_dials_a_line_is_no_caller(unstarted: Centre, member: tuple[str, str]) -> None:
    unstarted.pbx.answers["QueueStatus"] = _members(member)
    await unstarted.start()
    talk = await unstarted.asks()
    assert talk.visit is not None
    assert talk.visit.received("STREAM FILE") == []
    unstarted.connects(talk)
    unstarted.hangs_up(talk)
    assert await unstarted.outcome() == ("excluded", None)
    assert unstarted.mixes == []


@pytest.mark.parametrize("answers", [True, False], ids=["refused", "silent"])
async def test_whoever_cannot_be_shown_to_be_an_agent_is_a_caller(unstarted: Centre, answers: bool) -> None:
    refusal = functools.partial(response, kind="Error", message="Permission denied")
    unstarted.pbx.answers["QueueStatus"] = lambda action: refusal(action) if answers else None
    await unstarted.start()
    talk = await unstarted.asks()
    assert talk.caller.variables["RECORDER_RESULT"] == "given"
    unstarted.hangs_up(talk)
    assert await unstarted.outcome() == ("abandoned", None)


async def test_a_caller_of_two_lines_is_asked_by_the_stricter(centre: Centre) -> None:
    await centre.stop()
    centre.change("line", announced={"consent": "notice"})
    await centre.start()
    talk = await centre.asks(keys="  ")  # on the first line the caller gives no answer
    await centre.asks(line="announced", keys="2", talk=talk)
    centre.connects(talk, queue="announced")
    await centre.until_talking()
    centre.hangs_up(talk)
    assert await centre.outcome() == ("declined", None)
    assert centre.mixes == []
    asked = [row.prompt for row in (await centre.whole()).consents if row.after == "asked"]
    assert len(set(asked)) == 1  # the question, both times


async def test_a_line_with_further_purposes_asks_again(centre: Centre) -> None:
    await centre.stop()
    asked = {"consent": "opt_in", "answer_seconds": 1}
    centre.change("line", support={**asked, "purposes": ["training"]}, wider=asked)
    await centre.start()
    talk = await centre.asks()
    await centre.asks(line="wider", keys="2", talk=talk)
    assert talk.visit is not None
    assert talk.visit.received("STREAM FILE") != []
    assert talk.caller.variables["RECORDER_RESULT"] == "refused"


async def test_events_that_are_read_late_end_a_recording_where_asterisk_says(centre: Centre) -> None:
    """The bridge, and a stranger in it 0.15 s later, are both told late; the file runs on to the stop."""
    talk = await centre.asks()
    began = datetime.now(UTC) - timedelta(milliseconds=200)
    centre.say("AgentConnect", talk.caller, ("Queue", "support"), ("Interface", "PJSIP/alice"), dest=talk.agent)
    for count, channel in enumerate((talk.caller, talk.agent), 1):
        centre.enters(channel, talk.bridge, count, at=began)
    await centre.until_capture("running")
    stranger = FakeChannel(name="PJSIP/trunk-000000ff", uniqueid="1795298000.99", linkedid="1795298000.99")
    centre.enters(stranger, talk.bridge, 3, at=began + timedelta(milliseconds=150))
    await centre.pbx.until_received("StopMixMonitor")
    centre.hangs_up(talk)
    assert await centre.outcome() == ("recorded", None)
    row = await centre.recording()
    assert row.bridged_seconds == pytest.approx(0.15, abs=0.01)
    assert row.keep_seconds == row.bridged_seconds


async def test_a_caller_who_agreed_is_not_asked_again_on_a_second_line(centre: Centre) -> None:
    talk = await centre.asks()
    centre.connects(talk)
    await centre.until_capture("running")
    centre.leaves(talk.caller, 1)
    await centre.asks(line="sales", talk=talk)
    assert talk.visit is not None
    assert talk.visit.received("STREAM FILE") == []
    centre.connects(talk, queue="sales")
    await until(lambda: len(centre.mixes) == 2 and centre.runner.state.captures[-1].state is CaptureState.RUNNING)
    centre.hangs_up(talk)
    assert await centre.outcome() == ("recorded", None)
    assert len(centre.settled()) == 2


async def test_a_second_capture_is_armed_only_once_the_channel_was_without_one(centre: Centre) -> None:
    talk = await centre.asks()
    centre.connects(talk)
    await centre.until_capture("running")
    centre.leaves(talk.caller, 1)
    await centre.asks(line="sales", talk=talk)
    centre.hangs_up(talk)
    await centre.outcome()
    first, second = sorted(await centre.catalogue.list_recordings(10), key=lambda row: row.authorised_at)
    assert first.stopped_at is not None
    assert second.armed_at is not None
    assert second.armed_at - first.stopped_at >= UNHOOKED_FOR


async def test_a_caller_who_refused_is_not_asked_again_on_a_second_line(centre: Centre) -> None:
    talk = await centre.asks(keys="2")
    await centre.asks(line="sales", talk=talk)
    centre.connects(talk, queue="sales")
    await centre.until_talking()
    centre.hangs_up(talk)
    assert await centre.outcome() == ("declined", None)
    assert centre.mixes == []


@pytest.mark.usefixtures("limits_of_work")
async def test_a_second_line_whose_first_capture_does_not_close_goes_on_without_one(centre: Centre) -> None:
    talk = await centre.asks()
    centre.connects(talk)
    await centre.until_capture("running")
    stops, centre.pbx.answers["StopMixMonitor"] = centre.pbx.answers["StopMixMonitor"], lambda _: None
    centre.leaves(talk.caller, 1)
    await centre.asks(line="sales", talk=talk)
    assert talk.caller.variables["RECORDER_RESULT"] == "lost"
    assert len(centre.mixes) == 1
    centre.pbx.answers["StopMixMonitor"] = stops


# --------------------------------------------------------------------------- readiness


async def test_a_daemon_is_ready_only_when_it_has_seen_everything(unstarted: Centre) -> None:
    unstarted.pbx.freeze()
    await unstarted.start(ready=False)
    assert "not connected to Asterisk yet" in unstarted.reasons
    talk = await unstarted.asks()
    assert talk.caller.variables["RECORDER_RESULT"] == "lost"
    unstarted.pbx.thaw()
    unstarted.pbx.cut()
    await unstarted.until_ready()
    assert unstarted.runner.state.lost is LostReason.PBX_AWAY


async def test_a_connection_that_is_gone_means_that_nobody_is_asked_until_it_is_back(centre: Centre) -> None:
    centre.pbx.freeze()
    centre.pbx.cut()
    await until(lambda: centre.reasons)
    assert "Asterisk is not connected" in centre.reasons[0]
    talk = await centre.asks()
    assert talk.caller.variables["RECORDER_RESULT"] == "lost"
    assert talk.visit is not None
    assert talk.visit.received("STREAM FILE") == []
    centre.pbx.thaw()
    centre.pbx.cut()
    await until(lambda: not centre.reasons, "the connection to be back", seconds=20)
    assert centre.runner.state.lost is LostReason.PBX_AWAY


async def test_a_spool_that_is_gone_is_said_and_costs_nothing_but_the_captures(centre: Centre, tmp_path: Path) -> None:
    talk = await centre.asks()
    centre.connects(talk)
    await centre.until_capture("running")
    shutil.move(centre.spool, tmp_path / "elsewhere")
    centre.spool.write_text("no folder any more")  # every look at a staged file fails
    await until(lambda: centre.reasons)
    assert str(centre.spool) in centre.reasons[0]
    other = await centre.asks()
    assert other.caller.variables["RECORDER_RESULT"] == "lost"
    centre.spool.unlink()
    shutil.move(tmp_path / "elsewhere", centre.spool)
    await centre.until_ready()
    centre.hangs_up(talk)
    centre.hangs_up(other)
    outcomes = {row.linkedid: row.outcome for row in await centre.until_closed(2)}
    assert outcomes == {talk.caller.linkedid: "recorded", other.caller.linkedid: "abandoned"}


async def test_a_spool_that_breaks_in_the_moment_of_arming_does_not_end_the_daemon(
    centre: Centre, tmp_path: Path
) -> None:
    def breaks() -> bytes:
        shutil.move(centre.spool, tmp_path / "elsewhere")
        centre.spool.write_text("no folder any more")
        return OK

    centre.writes_files = False
    centre.at_mixmonitor = breaks
    talk = await centre.asks()
    await centre.until_capture("failed")
    centre.hangs_up(talk)
    assert await centre.outcome() == ("abandoned", None)


async def test_a_daemon_that_is_stopped_ends_no_capture(centre: Centre) -> None:
    talk = await centre.asks()
    centre.connects(talk)
    await centre.until_capture("running")
    await centre.stop()
    assert centre.mixes[0].open
    assert centre.pbx.received("StopMixMonitor") == []
    assert centre.rows("SELECT outcome FROM calls") == [(None,)]


async def test_a_daemon_that_is_stopped_in_a_dialogue_lets_the_caller_go_on(centre: Centre) -> None:
    talk = centre.new_talk()
    async with centre.visit(talk) as visit:
        visit.answers["STREAM FILE"] = lambda _: None
        await visit.until_command("STREAM FILE")
        await centre.stop()
        await visit.until_over()
    await centre.start()
    centre.hangs_up(talk)
    assert await centre.outcome() == ("abandoned", None)
    assert (await centre.call()).consent is ConsentState.NONE
