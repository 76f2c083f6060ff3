"""An agent consults another line and hands the caller over (CN-13), beside a fake PBX: what is prepared, and when."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from recorder.call import CaptureLost
from recorder.daemon import CallRunner
from recorder.daemon.runner import QUEUE_LONGEST
from recorder.model import LostReason, RecordingId
from recorder.queue_log import Entry, QueueLog
from recorder.rotated import Place
from tests.edge.centre import Centre, Talk, away, forbid, until
from tests.fakes.agi import OK, FakeAgi
from tests.fakes.pbx import FakeChannel, FakePbx, event, response, snapshot

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
class Consultation:
    """The agent of a talk beside its caller: the Local channel's halves, and the other line's agent."""

    centre: Centre
    talk: Talk
    near: FakeChannel
    far: FakeChannel
    second: FakeChannel

    async def asks(self, *, line: str = "sales") -> FakeAgi:
        """The far half passes recorder-inbound to its end."""
        visitor = Talk(caller=self.far, agent=self.second, bridge="beyond")
        async with self.centre.visit(visitor, line=line, consults=True) as visit:
            await visit.until_over()
        return visit

    def answered(self) -> None:
        self.centre.say("AgentCalled", self.far, dest=self.second)
        self.centre.connects(Talk(caller=self.far, agent=self.second, bridge="beyond"), queue="sales")

    def hands_over(self) -> None:
        """The first agent hangs up: the near half comes to the caller's bridge, and Asterisk says so."""
        caller, agent = self.talk.caller, self.talk.agent
        self.centre.leaves(agent, 1)
        self.centre.leaves(self.near, 0)
        self.centre.enters(self.near, self.talk.bridge, 2)
        headers = [
            *snapshot(agent.name, agent.uniqueid, agent.linkedid, "OrigTransferer"),
            *snapshot(caller.name, caller.uniqueid, caller.linkedid, "Transferee"),
        ]
        end = (("DestType", "Bridge"), ("DestBridgeUniqueid", self.talk.bridge))
        self.centre.pbx.say(event("AttendedTransfer", ("Result", "Success"), *headers, *end))

    def gone(self, *channels: FakeChannel) -> None:
        for channel in channels:
            if channel.bridge:
                self.centre.leaves(channel, 1)
            self.centre.pbx.channels.remove(channel)
            for mix in self.centre.mixes:
                if mix.open and mix.channel is channel:
                    mix.end()
            self.centre.say("Hangup", channel, ("Cause", 16))


async def consults(centre: Centre, *, keys: str = "1") -> Consultation:
    """A talk at `support`, whose agent has left the caller to the music and is joined with the near half."""
    talk = await centre.asks(keys=keys)
    centre.connects(talk)
    await centre.until_talking()
    made = []
    for number, half in enumerate((";1", ";2"), 1):
        channel = FakeChannel(
            name=f"Local/6200@agents-00000001{half}",
            uniqueid=f"1795298005.{number}",
            linkedid=talk.caller.linkedid,
            application="Dial",
        )
        channel.variables["TRANSFERERNAME"] = talk.agent.name
        made.append(channel)
    second = FakeChannel(name="PJSIP/bob-00000009", uniqueid="1795298005.3", linkedid=talk.caller.linkedid)
    near, far = made
    centre.pbx.channels += [near, far, second]
    centre.leaves(talk.agent, 1)
    halves = [
        *snapshot(near.name, near.uniqueid, near.linkedid, "LocalOne"),
        *snapshot(far.name, far.uniqueid, far.linkedid, "LocalTwo"),
    ]
    centre.pbx.say(event("LocalBridge", *halves))
    centre.enters(talk.agent, "consultation", 1)
    centre.enters(near, "consultation", 2)
    return Consultation(centre=centre, talk=talk, near=near, far=far, second=second)


def states(centre: Centre) -> list[str]:
    return [str(capture.state) for capture in centre.runner.state.captures]


async def test_what_is_prepared_is_muted_before_anybody_rings_and_is_unmuted_once_the_caller_is_there(
    centre: Centre,
) -> None:
    consultation = await consults(centre)
    visit = await consultation.asks()
    assert visit.variables["RECORDER_RESULT"] == "given"
    assert [mix.muted for mix in centre.mixes] == [True, True]  # the first is that of the caller on hold
    consultation.answered()
    await until(lambda: centre.runner.state.consulted.bridged_at, "the consultation")  # type: ignore[union-attr]
    assert states(centre) == ["quiet", "prepared"]
    consultation.hands_over()
    await until(lambda: states(centre) == ["settled", "running"], "the talk to be captured")
    await until(lambda: not centre.mixes[1].muted, "speech")
    assert not centre.mixes[0].open
    consultation.gone(consultation.far, consultation.near, consultation.second)
    centre.hangs_up(consultation.talk)
    assert await centre.outcome() == ("recorded", None)
    rows = (await centre.whole()).recordings
    assert [(row.line, row.status) for row in rows] == [("support", "settled"), ("sales", "settled")]


async def test_of_the_two_lines_the_stricter_applies_to_what_is_prepared(centre: Centre) -> None:
    await centre.stop()
    centre.change("line", sales={"consent": "notice"})
    await centre.start()
    consultation = await consults(centre)
    await consultation.asks()
    consultation.answered()
    await until(lambda: centre.runner.state.consulted.bridged_at, "the consultation")  # type: ignore[union-attr]
    consultation.hands_over()
    await until(lambda: states(centre) == ["settled", "running"], "the talk to be captured")
    assert (centre.runner.state.line, centre.runner.state.mode) == ("sales", "opt_in")
    assert {str(row.mode) for row in await centre.catalogue.list_recordings(10)} == {"opt_in"}


async def test_what_is_prepared_is_in_the_catalogue_before_asterisk_is_touched(centre: Centre) -> None:
    consultation = await consults(centre)
    seen: list[tuple[object, ...]] = []

    def looks() -> bytes | None:
        seen.extend(centre.rows("select line, status from recordings order by authorised_at"))
        return OK

    centre.at_mixmonitor = looks
    await consultation.asks()
    assert seen[-1] == ("sales", "authorised")


async def test_the_agent_who_comes_back_leaves_nothing_of_the_consultation(centre: Centre) -> None:
    consultation = await consults(centre)
    await consultation.asks()
    consultation.answered()
    consultation.gone(consultation.near, consultation.far)
    centre.leaves(consultation.talk.agent, 0)
    centre.enters(consultation.talk.agent, consultation.talk.bridge, 2)
    await until(lambda: states(centre) == ["running", "empty"], "the end of the consultation")
    centre.hangs_up(consultation.talk)
    assert await centre.outcome() == ("recorded", None)
    await until(lambda: centre.staged() == [], "the staged files to be gone")
    assert [row.status for row in (await centre.whole()).recordings] == ["settled", "empty"]


async def test_for_a_dialplan_that_stops_nothing_by_itself_nothing_is_prepared(centre: Centre) -> None:
    consultation = await consults(centre)
    await until(lambda: centre.mixes[0].muted, "the hold")
    centre.inbound_says = ()
    with capture_logs() as said:
        visit = await consultation.asks()
    assert visit.variables["RECORDER_RESULT"] == "lost"
    assert (states(centre), len(centre.mixes)) == (["quiet"], 1)
    assert visit.received("EXEC MixMonitor") == []
    (line,) = [line for line in said if line["event"] == "consultation_not_prepared"]
    assert "extensions_recorder.conf" in line["why"]


async def test_of_a_dialplan_that_stops_nothing_by_itself_no_word_is_said_where_nothing_would_be_prepared(
    centre: Centre,
) -> None:
    consultation = await consults(centre, keys="2")
    centre.inbound_says = ()
    with capture_logs() as said:
        await consultation.asks()
    assert "consultation_not_prepared" not in [line["event"] for line in said]


@pytest.mark.parametrize("prepared", [True, False])
async def test_a_listed_agent_who_is_consulted_ends_nothing_that_captures_the_caller(
    centre: Centre, *, prepared: bool
) -> None:
    """Behind a Local member, as recorder-answered raises it on the leg that the queue rang."""
    consultation = await consults(centre)
    await until(lambda: centre.mixes[0].muted, "the hold")
    centre.inbound_says = ("stops",) if prepared else ()
    await consultation.asks()
    centre.say("AgentCalled", consultation.far, dest=consultation.second)
    centre.say("UserEvent", consultation.second, ("UserEvent", "RecorderListed"))
    await until(lambda: consultation.second.variables.get("RECORDER_DONE") == "excluded", "the word", seconds=3)
    assert [mix.open for mix in centre.mixes] == [True, False][: len(centre.mixes)]
    consultation.gone(consultation.near, consultation.far)
    centre.leaves(consultation.talk.agent, 0)
    centre.enters(consultation.talk.agent, consultation.talk.bridge, 2)
    await until(lambda: states(centre)[0] == "running", "the talk to go on")


async def test_a_listed_agent_to_whom_the_caller_was_handed_over_is_waited_for(centre: Centre) -> None:
    consultation = await consults(centre)
    await consultation.asks()
    consultation.hands_over()
    await until(lambda: states(centre) == ["settled", "prepared"], "the end of the first capture")
    centre.say("AgentCalled", consultation.far, dest=consultation.second)
    usual = centre.pbx.answers["StopMixMonitor"]
    centre.pbx.answers["StopMixMonitor"] = lambda _: None
    centre.say("UserEvent", consultation.second, ("UserEvent", "RecorderListed"))
    await until(lambda: states(centre)[1] == "forsaken", "the stop")
    centre.marks(consultation.talk, "pause", who=consultation.near)
    await until(lambda: consultation.near.variables.get("RECORDER_DONE"), "what is answered later", seconds=20)
    assert "RECORDER_DONE" not in consultation.second.variables
    centre.pbx.answers["StopMixMonitor"] = usual
    await until(lambda: consultation.second.variables.get("RECORDER_DONE") == "excluded", "the word", seconds=20)
    assert not centre.mixes[1].open


async def test_who_refused_is_prepared_for_nowhere(centre: Centre) -> None:
    consultation = await consults(centre, keys="2")
    visit = await consultation.asks()
    assert (visit.variables["RECORDER_RESULT"], centre.mixes) == ("lost", [])
    consultation.answered()
    consultation.hands_over()
    consultation.gone(consultation.far, consultation.near, consultation.second)
    centre.hangs_up(consultation.talk)
    assert await centre.outcome() == ("declined", None)
    assert centre.staged() == []


async def test_without_a_catalogue_nothing_is_prepared(centre: Centre) -> None:
    consultation = await consults(centre)
    with away(centre.url):
        visit = await consultation.asks()
        assert visit.variables["RECORDER_RESULT"] == "lost"
    assert [mix.channel.name for mix in centre.mixes if mix.open] == [consultation.talk.caller.name]


async def test_a_catalogue_that_takes_its_time_delays_nothing_of_what_is_being_captured(centre: Centre) -> None:
    consultation = await consults(centre)
    await until(lambda: centre.mixes[0].muted, "the hold")
    visitor = Talk(caller=consultation.far, agent=consultation.second, bridge="beyond")
    with away(centre.url):
        async with centre.visit(visitor, line="sales", consults=True) as visit:
            await until(lambda: states(centre) == ["quiet", "preparing"], "the consultation")
            centre.leaves(consultation.talk.caller, 0)
            centre.enters(consultation.talk.caller, "elsewhere", 3)
            await until(lambda: not centre.mixes[0].open, "the stop", seconds=0.5)
            assert "RECORDER_RESULT" not in visit.variables  # whoever consults waits still
            await visit.until_over()
    assert visit.variables["RECORDER_RESULT"] == "lost"
    assert len(centre.mixes) == 1


async def test_who_consults_a_line_for_which_nothing_is_prepared_waits_for_no_catalogue(centre: Centre) -> None:
    consultation = await consults(centre, keys="2")
    with away(centre.url):
        centre.say("Hold", consultation.talk.agent)
        await until(lambda: centre.runner.owes, "a step that is owed")
        began = asyncio.get_running_loop().time()
        visit = await consultation.asks()
        assert asyncio.get_running_loop().time() - began < 0.4
        assert centre.runner.owes
    assert visit.variables["RECORDER_RESULT"] == "lost"


async def _turn_taken(centre: Centre) -> asyncio.Event:
    """The call serves nothing until the event is set."""
    goes_on, taken = asyncio.Event(), asyncio.Event()

    async def waits(_: CallRunner) -> None:
        taken.set()
        await goes_on.wait()

    centre.runner.ask(waits)
    await taken.wait()
    return goes_on


@pytest.mark.usefixtures("limits_of_work")
async def test_a_consultation_that_nobody_waits_for_any_more_is_not_obeyed(centre: Centre) -> None:
    consultation = await consults(centre)
    await until(lambda: centre.mixes[0].muted, "the hold")
    goes_on = await _turn_taken(centre)
    visit = await consultation.asks()
    assert visit.variables["RECORDER_RESULT"] == "lost"
    goes_on.set()
    centre.say("Hold", consultation.talk.agent)
    await until(lambda: centre.runner.state.held, "what came later")
    assert (states(centre), centre.runner.state.consulted) == (["quiet"], None)
    assert len(centre.rows("select id from recordings")) == 1


async def test_a_call_whose_queue_is_full_lets_who_consults_go_on_and_captures_nothing_there(
    centre: Centre,
) -> None:
    """It fills while the step is being written: the turn in which the capture would begin has no place any more."""
    consultation = await consults(centre)
    await until(lambda: centre.mixes[0].muted, "the hold")
    runner = centre.runner
    visitor = Talk(caller=consultation.far, agent=consultation.second, bridge="beyond")

    async def nothing(_: CallRunner) -> None: ...

    async with centre.visit(visitor, line="sales", consults=True) as visit:
        with away(centre.url):
            await until(lambda: states(centre) == ["quiet", "preparing"], "the consultation")
            goes_on = await _turn_taken(centre)
            with capture_logs():
                while runner.waiting < QUEUE_LONGEST:
                    runner.ask(nothing)
        await asyncio.wait_for(visit.until_over(), 3)  # while the call's turn is taken still
    assert visit.variables["RECORDER_RESULT"] == "lost"
    assert runner.waiting == QUEUE_LONGEST
    assert centre.counters.overflowed == 1
    goes_on.set()
    await until(lambda: runner.waiting == 0, "the queue")
    consultation.answered()
    consultation.hands_over()
    await until(lambda: states(centre)[0] == "settled", "the end of the first capture")
    assert [mix.channel.name for mix in centre.mixes] == [consultation.talk.caller.name]
    assert visit.received("EXEC MixMonitor") == []
    consultation.gone(consultation.far, consultation.near, consultation.second)
    centre.hangs_up(consultation.talk)
    assert await centre.outcome() == ("recorded", None)
    assert [row.status for row in (await centre.whole()).recordings] == ["settled", "empty"]


@pytest.mark.parametrize("begins", ["at once", "late", "never"])
async def test_a_mixmonitor_that_does_not_answer_in_time_on_the_leg_of_a_consultation_is_stopped(
    centre: Centre, begins: str
) -> None:
    """And what the first line captures is stopped meanwhile with a second's delay, and not with the channel's."""
    consultation = await consults(centre)
    await until(lambda: centre.mixes[0].muted, "the hold")
    visitor = Talk(caller=consultation.far, agent=consultation.second, bridge="beyond")
    asked: list[str] = []

    def keeps_silent(line: str) -> bytes | None:
        asked.append(line)
        if begins == "at once":
            centre._exec_mixmonitor(consultation.far, line)
        return None

    async with centre.visit(visitor, line="sales", consults=True) as visit:
        visit.answers["EXEC MixMonitor"] = keeps_silent
        await until(lambda: asked, "the MixMonitor")
        centre.leaves(consultation.talk.caller, 0)
        centre.enters(consultation.talk.caller, "elsewhere", 3)
        await until(lambda: not centre.mixes[0].open, "the stop", seconds=2)
        await visit.until_over()
    assert visit.variables.get("RECORDER_RESULT") != "given"
    if begins == "late":
        centre._exec_mixmonitor(consultation.far, asked[0])
    await until(lambda: not any(mix.open for mix in centre.mixes), "what may have begun to be stopped")
    await until(lambda: states(centre)[1] == "failed", "nothing to be left")
    assert len(centre.mixes) == (1 if begins == "never" else 2)


async def test_what_the_catalogue_refuses_is_not_prepared_though_it_takes_what_comes_after(centre: Centre) -> None:
    consultation = await consults(centre)
    await until(lambda: centre.mixes[0].muted, "the hold")
    forbid(centre.url, "recordings", "NEW.line = 'sales'")
    visitor = Talk(caller=consultation.far, agent=consultation.second, bridge="beyond")
    async with centre.visit(visitor, line="sales", consults=True) as visit:
        with away(centre.url):
            await until(lambda: "preparing" in states(centre), "the consultation")
            centre.say("Hold", consultation.talk.agent)
            await until(lambda: centre.runner.state.held, "a later step")
        await visit.until_over()
    assert visit.variables["RECORDER_RESULT"] == "lost"
    assert len(centre.mixes) == 1


async def test_what_an_earlier_visit_prepared_is_no_word_for_a_later_one(centre: Centre) -> None:
    """The leg goes on to a third line: its dialplan hears no yes, and stops what runs there."""
    consultation = await consults(centre)
    assert (await consultation.asks()).variables["RECORDER_RESULT"] == "given"
    assert (await consultation.asks(line="support")).variables["RECORDER_RESULT"] == "lost"


async def test_another_recorder_on_the_leg_is_not_taken_for_the_one_that_is_being_prepared(centre: Centre) -> None:
    consultation = await consults(centre)
    await until(lambda: centre.mixes[0].muted, "the hold")
    visitor = Talk(caller=consultation.far, agent=consultation.second, bridge="beyond")
    with away(centre.url):
        async with centre.visit(visitor, line="sales", consults=True) as visit:
            await until(lambda: "preparing" in states(centre), "the consultation")
            rival = centre.rival(consultation.far)
            await visit.until_over()
    await until(lambda: rival.muted, "the rival to be met")


async def test_a_caller_who_is_there_before_the_line_has_been_asked_is_not_said_to_be_recorded(centre: Centre) -> None:
    await centre.stop()
    centre.change("line", sales={"consent": "opt_in", "announce": True})
    await centre.start()
    consultation = await consults(centre)
    consultation.hands_over()
    await until(lambda: states(centre) == ["settled"], "the end of the first capture")
    visit = await consultation.asks()
    assert visit.variables["RECORDER_RESULT"] == "lost"
    assert Path(visit.variables["RECORDER_ANNOUNCE"]).name == "unrecorded"
    assert len(centre.mixes) == 1


async def test_a_capture_that_is_lost_is_stopped_though_the_call_is_over_before_asterisk_answers(
    centre: Centre,
) -> None:
    """Its channel is not the caller's, and does not end with theirs."""
    consultation = await consults(centre)
    await consultation.asks()
    consultation.answered()
    consultation.hands_over()
    await until(lambda: states(centre) == ["settled", "running"], "the talk to be captured")
    usual = centre.pbx.answers["StopMixMonitor"]
    centre.pbx.answers["StopMixMonitor"] = lambda _: None
    runner = centre.runner
    lost = RecordingId(runner.state.captures[1].id)
    runner.put(CaptureLost(at=runner.now(), recording=lost, reason=LostReason.CAPTURE_FAILED))
    await until(lambda: states(centre)[1] == "failed", "the loss")
    centre.hangs_up(consultation.talk)
    await centre.until_closed()
    assert centre.mixes[1].open
    centre.pbx.answers["StopMixMonitor"] = usual
    await until(lambda: not centre.mixes[1].open, "the stop", seconds=30)


async def test_a_caller_who_hangs_up_before_anybody_can_compare_has_the_capture_stopped_where_it_runs_on(
    centre: Centre,
) -> None:
    """The new connection tells of the hang-up, and not how the channels stand; the far half stands where it stood."""
    consultation = await consults(centre)
    await consultation.asks()
    consultation.answered()
    consultation.hands_over()
    await until(lambda: states(centre) == ["settled", "running"], "the talk to be captured")
    centre.pbx.answers["Status"] = lambda _: None
    centre.pbx.cut()
    consultation.talk.caller.bridge = ""  # it left while nobody heard it
    await centre.pbx.until_logins(2)
    centre.hangs_up(consultation.talk)
    await until(lambda: not centre.mixes[1].open, "the stop", seconds=20)
    await centre.until_closed()
    recordings = (await centre.whole()).recordings
    assert recordings[1].keep_seconds is not None


async def _cut_off(centre: Centre) -> Consultation:
    """A caller who was handed over; AMI was cut, is back, and does not say how the channels stand."""
    consultation = await consults(centre)
    await consultation.asks()
    consultation.answered()
    consultation.hands_over()
    await until(lambda: states(centre) == ["settled", "running"], "the talk to be captured")
    centre.pbx.answers["Status"] = lambda _: None
    centre.pbx.cut()
    await centre.pbx.until_logins(2)
    await until(lambda: centre.runner.state.captures[1].unproved, "sight to be lost", seconds=20)
    return consultation


async def test_a_caller_who_was_handed_over_and_hangs_up_unseen_is_captured_no_further_while_the_queue_log_is_read(
    centre: Centre, monkeypatch: pytest.MonkeyPatch
) -> None:
    consultation = await _cut_off(centre)
    runner = centre.runner

    def refuses(_: QueueLog, __: Place) -> tuple[list[Entry], Place]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(QueueLog, "read", refuses)
    caller = consultation.talk.caller
    centre.pbx.channels.remove(caller)
    caller.bridge = ""
    centre.say("Hangup", caller, ("Cause", 16))  # whoever took their place speaks on
    await until(lambda: not centre.mixes[1].open, "the stop", seconds=5)
    assert runner.state.ended_at is not None
    monkeypatch.undo()
    await centre.until_closed(seconds=20)
    recordings = (await centre.whole()).recordings
    assert recordings[1].keep_seconds is not None


async def test_what_runs_on_beyond_a_caller_who_hung_up_unseen_is_told_to_stop_until_it_has(centre: Centre) -> None:
    """The queue log, which is read meanwhile, has the end of the first line's talk, and nothing of this capture's."""
    consultation = await _cut_off(centre)
    caller, agent = consultation.talk.caller, consultation.talk.agent
    now = int(time.time())
    centre.queue_log.write_text(
        f"{now - 9}|{caller.uniqueid}|support|PJSIP/alice|CONNECT|1|{agent.uniqueid}|1\n"
        f"{now}|{caller.uniqueid}|support|PJSIP/alice|COMPLETECALLER|1|9|1\n"
    )
    usual = centre.pbx.answers["StopMixMonitor"]
    centre.pbx.answers["StopMixMonitor"] = lambda _: None
    asked = len(centre.pbx.received("StopMixMonitor"))
    centre.pbx.channels.remove(caller)
    caller.bridge = ""
    centre.say("Hangup", caller, ("Cause", 16))
    await until(lambda: len(centre.pbx.received("StopMixMonitor")) > asked + 1, "the stop again", seconds=30)
    assert centre.runner.state.phase != "closed"
    centre.pbx.answers["StopMixMonitor"] = usual
    await until(lambda: not centre.mixes[1].open, "the stop", seconds=30)
    await centre.until_closed(seconds=20)


async def test_what_a_caller_who_was_handed_over_withdrew_unseen_is_erased(centre: Centre) -> None:
    consultation = await _cut_off(centre)
    caller = consultation.talk.caller
    key = f"{int(time.time())}|{caller.uniqueid}|support|NONE|RECORDERKEY|stop|{caller.uniqueid}\n"
    centre.queue_log.write_text(key)
    centre.pbx.channels.remove(caller)
    caller.bridge = ""
    centre.say("Hangup", caller, ("Cause", 16))
    await centre.until_closed(seconds=20)
    assert [row.status for row in (await centre.whole()).recordings] == ["erased", "erased"]
    assert (centre.settled(), centre.staged()) == ([], [])


async def test_a_withdrawal_at_the_half_beyond_is_answered_there(centre: Centre) -> None:
    """Whoever hears the tone is the caller, two legs away."""
    consultation = await consults(centre)
    await consultation.asks()
    consultation.answered()
    consultation.hands_over()
    await until(lambda: states(centre) == ["settled", "running"], "the talk to be captured")
    centre.marks(consultation.talk, "stop", who=consultation.far)
    await until(lambda: consultation.far.variables.get("RECORDER_DONE") == "erased", "the answer", seconds=3)
    await until(lambda: states(centre) == ["erased", "erased"], "nothing to be left")


def _refuses(centre: Centre, channel: FakeChannel) -> None:
    usual = centre.pbx.answers["MixMonitorMute"]

    def mutes(action: dict[str, str]) -> bytes | None:
        if action["Channel"] == channel.name:
            return response(action, "Error", "Cannot set mute flag")
        return usual(action)

    centre.pbx.answers["MixMonitorMute"] = mutes  # type: ignore[assignment]


def _takes_it_and_does_not_say(centre: Centre, _: FakeChannel) -> None:
    centre.tells_of_mutes = False


@pytest.mark.parametrize("fails", [_refuses, _takes_it_and_does_not_say])
async def test_what_asterisk_does_not_mute_is_stopped(
    centre: Centre, fails: Callable[[Centre, FakeChannel], None]
) -> None:
    consultation = await consults(centre)
    await until(lambda: centre.mixes[0].muted, "the hold")
    fails(centre, consultation.far)
    visit = await consultation.asks()
    assert visit.variables["RECORDER_RESULT"] == ("lost" if fails is _refuses else "given")
    await until(lambda: not centre.mixes[1].open, "the stop")
    await until(lambda: states(centre)[1] == "empty", "nothing to be left")


async def test_a_daemon_that_dies_before_it_has_muted_does_not_say_that_it_has(centre: Centre) -> None:
    consultation = await consults(centre)
    await until(lambda: centre.mixes[0].muted, "the hold")
    centre.pbx.answers["MixMonitorMute"] = lambda _: None  # the PBX is asked, and the daemon does not live to hear
    visitor = Talk(caller=consultation.far, agent=consultation.second, bridge="beyond")
    async with centre.visit(visitor, line="sales", consults=True) as visit:
        await until(lambda: len(centre.mixes) == 2, "the MixMonitor")
        await centre.kill()
        await visit.until_over()
    assert visit.variables.get("RECORDER_RESULT") != "given"  # anything else, and the dialplan stops it


async def test_a_daemon_that_died_beside_a_consultation_stops_what_was_prepared_when_it_is_back(centre: Centre) -> None:
    consultation = await consults(centre)
    await consultation.asks()
    consultation.answered()
    await until(lambda: centre.runner.state.consulted.bridged_at, "the consultation")  # type: ignore[union-attr]
    await centre.kill()
    consultation.hands_over()
    assert centre.mixes[1].muted
    asked = len(centre.pbx.received("MixMonitorMute"))
    await centre.start()
    await until(lambda: not centre.mixes[1].open, "the stop")
    unmuted = [action for action in centre.pbx.received("MixMonitorMute")[asked:] if action["State"] == "0"]
    assert [action for action in unmuted if action["Channel"] == consultation.far.name] == []
    consultation.gone(consultation.far, consultation.near, consultation.second)
    centre.hangs_up(consultation.talk)
    await centre.until_closed()
    assert [row.status for row in (await centre.whole()).recordings][1] == "empty"


@pytest.mark.parametrize(("keys", "said"), [("1", "recorded"), ("2", "unrecorded")])
async def test_the_agent_of_the_other_line_is_told_as_any_of_its_agents(centre: Centre, keys: str, said: str) -> None:
    await centre.stop()
    centre.change("line", sales={"consent": "opt_in", "announce": True})
    await centre.start()
    consultation = await consults(centre, keys=keys)
    visit = await consultation.asks()
    assert Path(visit.variables["RECORDER_ANNOUNCE"]).name == said
