"""The daemon comes back to calls whom the dialplan asked: what its notes in the queue log come to."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from recorder.daemon import Parts
from recorder.fallback import asked_words
from recorder.fallback_file import written
from recorder.model import ConsentMode, PromptKind
from recorder.prompts import load
from tests.core.test_cdr import written as written_row
from tests.edge.centre import PROMPTS, Centre, Mix, Talk, until
from tests.fakes.agi import environment
from tests.fakes.pbx import FakePbx

LINES = {
    "support": {"consent": "opt_in", "fallback": "dialplan"},
    "announced": {"consent": "notice", "fallback": "dialplan", "queues": []},
    "private": {"consent": "never"},
}


@pytest.fixture
async def centre(catalogue_url: str, tmp_path: Path) -> AsyncIterator[Centre]:
    """The daemon has run before and is gone; the queue log is Asterisk's to write."""
    async with FakePbx() as pbx:
        made = Centre(pbx, tmp_path, catalogue_url, line=LINES)
        made.queue_log.write_text("1|NONE|NONE|NONE|QUEUESTART|\n")
        await made.start()
        await made.stop()
        yield made
        await made.stop()


class Asterisk:
    """What Asterisk does for one caller while nobody of ours is there."""

    def __init__(self, centre: Centre, began: int) -> None:
        self.centre = centre
        self.at = began
        self.talk: Talk = centre.new_talk()
        self.mix: Mix | None = None

    def writes(self, event: str, *data: object, agent: str = "NONE", queue: str = "support") -> None:
        words = "|".join(map(str, data))
        with self.centre.queue_log.open("a") as file:
            file.write(f"{self.at}|{self.talk.caller.uniqueid}|{queue}|{agent}|{event}|{words}\n")

    def note(self, answer: str = "given", line: str = "support", mode: str = "opt_in", *, told: bool = False) -> str:
        """Ask, write the answer down and start the capture where the mode permits it; returns the note.

        `told`: a daemon that is there hears of the answer, before the capture starts.
        """
        kinds = {ConsentMode.OPT_IN: PromptKind.QUESTION, ConsentMode.NOTICE: PromptKind.NOTICE}
        prompt = load(PROMPTS, PROMPTS).prompts[kinds[ConsentMode(mode)], "en"]
        recording = uuid4()
        times = f"9000|{(self.at - 9) * 1000}|{self.at * 1000}"
        words = f"1|{line}|{mode}|{answer}|{asked_words(prompt)}|{times}|0123456789abcdef|{recording}"
        note = f"{words}|{self.talk.caller.linkedid}|"
        self.writes("RECORDERANSWER", note, queue=line)
        if told:
            self.centre.say("UserEvent", self.talk.caller, ("UserEvent", "RecorderAnswer"), ("Note", note))
        if answer in ("given", "noticed"):
            spool = self.centre.spool
            files = f"r({spool}/{recording}-caller.wav)t({spool}/{recording}-agent.wav)i(RECORDER_ID)"
            self.centre._start_mixmonitor(self.talk.caller, f",b{files}")
            self.mix = self.centre.mixes[-1]
        return note

    def connects(self) -> None:
        self.writes("ENTERQUEUE", "", "15550100", 1)
        self.at += 2
        self.writes("CONNECT", 2, self.talk.agent.uniqueid, 1, agent="PJSIP/alice")
        self.talk.caller.bridge = self.talk.agent.bridge = self.talk.bridge

    def presses(self, act: str, *, after: int, caller: bool = False, leg: str = "") -> None:
        self.at += after
        who = leg or (self.talk.caller if caller else self.talk.agent).uniqueid
        self.writes("RECORDERKEY", act, who)

    def ends(self, event: str = "COMPLETECALLER", *, after: int = 5) -> None:
        self.at += after
        self.writes(event, 2, after, 1, agent="PJSIP/alice")

    def hangs_up(self, seconds: float = 5) -> None:
        for channel in (self.talk.caller, self.talk.agent):
            self.centre.pbx.channels.remove(channel)
        if self.mix is not None:
            self.mix.seconds = seconds
            self.mix.end()


@pytest.fixture
def asterisk(centre: Centre) -> Asterisk:
    return Asterisk(centre, int(time.time()) - 60)


async def test_a_yes_to_the_dialplan_is_a_recording_once_we_are_back(centre: Centre, asterisk: Asterisk) -> None:
    asterisk.note()
    asterisk.connects()
    asterisk.ends()
    asterisk.hangs_up()
    await centre.start()
    assert await centre.outcome() == ("recorded", None)
    await until(lambda: not centre.staged(), "the spool to be empty")
    whole = await centre.whole()
    assert [str(row.after) for row in whole.consents] == ["asked", "given"]
    assert {row.policy for row in whole.consents} == {"0123456789abcdef"}
    recording = await centre.recording()
    assert recording.authorised_by == whole.consents[1].id
    assert len(centre.settled()) == 1


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("refused", ("declined", None)),
        ("unanswered", ("declined", None)),
        ("prompt_failed", ("lost", "prompt_failed")),
    ],
)
async def test_any_other_answer_is_the_outcome(
    centre: Centre, asterisk: Asterisk, answer: str, expected: tuple[str, str | None]
) -> None:
    asterisk.note(answer)
    asterisk.connects()
    asterisk.ends()
    asterisk.hangs_up()
    await centre.start()
    assert await centre.outcome() == expected
    assert centre.settled() == []


async def test_a_caller_who_hung_up_in_the_question_has_an_outcome(centre: Centre, asterisk: Asterisk) -> None:
    caller = asterisk.talk.caller
    words = ("1", "support", "opt_in", asterisk.at * 1000, "0123456789abcdef", caller.linkedid)
    asterisk.writes("RECORDERASKED", *words)
    asterisk.hangs_up()
    await centre.start()
    assert await centre.outcome() == ("abandoned", None)
    (call,) = await centre.until_closed()
    assert (call.line, call.linkedid) == ("support", caller.linkedid)


async def test_a_caller_who_agreed_and_met_nobody_leaves_no_file(centre: Centre, asterisk: Asterisk) -> None:
    asterisk.note()
    asterisk.writes("ENTERQUEUE", "", "15550100", 1)
    asterisk.writes("ABANDON", 1, 1, 3)
    asterisk.hangs_up(seconds=0)
    await centre.start()
    assert await centre.outcome() == ("abandoned", None)
    await until(lambda: not centre.staged(), "the spool to be empty")
    assert centre.settled() == []


async def test_a_talk_that_lasts_is_taken_over(centre: Centre, asterisk: Asterisk) -> None:
    asterisk.at = int(time.time()) - 4
    asterisk.note()
    asterisk.connects()
    await centre.start()
    await centre.until_capture("running")
    centre.marks(asterisk.talk, "pause")
    await until(lambda: asterisk.mix is not None and asterisk.mix.muted, "the pause")
    asterisk.mix.seconds = 60  # type: ignore[union-attr]
    centre.hangs_up(asterisk.talk)
    assert await centre.outcome() == ("recorded", None)


async def test_a_taken_over_talk_that_we_lose_sight_of_again_is_not_taken_in_twice(
    centre: Centre, asterisk: Asterisk
) -> None:
    asterisk.at = int(time.time()) - 4  # what has written nothing for longer counts as lost
    asterisk.note()
    asterisk.connects()
    await centre.start()
    await centre.until_capture("running")
    await centre.kill()
    await centre.start()
    await centre.until_capture("running")
    again = centre.pbx.logins + 1
    centre.pbx.cut()
    await centre.pbx.until_logins(again)
    await centre.until_ready()
    asterisk.mix.seconds = 60  # type: ignore[union-attr]
    centre.hangs_up(asterisk.talk)
    assert await centre.outcome() == ("recorded", None)
    assert [str(row.after) for row in (await centre.whole()).consents] == ["asked", "given"]


async def test_a_withdrawal_that_nobody_heard_erases(centre: Centre, asterisk: Asterisk) -> None:
    asterisk.note()
    asterisk.connects()
    asterisk.presses("stop", after=3, caller=True)
    asterisk.ends()
    asterisk.hangs_up()
    await centre.start()
    assert await centre.outcome() == ("declined", None)
    await until(lambda: not centre.staged(), "the spool to be empty")
    assert centre.settled() == []


async def test_a_personal_call_is_erased_also_by_a_phone_behind_a_local_member(
    centre: Centre, asterisk: Asterisk
) -> None:
    asterisk.note()
    asterisk.connects()
    asterisk.presses("personal", after=3, leg="1795298000.777")
    asterisk.ends()
    asterisk.hangs_up()
    await centre.start()
    assert await centre.outcome() == ("excluded", None)
    await until(lambda: not centre.staged(), "the spool to be empty")


async def test_a_pause_is_silence_a_second_longer_at_each_end(centre: Centre, asterisk: Asterisk) -> None:
    asterisk.note()
    asterisk.connects()
    asterisk.presses("pause", after=4)
    asterisk.presses("resume", after=3)
    asterisk.ends(after=6)
    asterisk.hangs_up(seconds=13)
    await centre.start()
    assert await centre.outcome() == ("recorded", None)
    (silence,) = (await centre.recording()).silences
    assert silence.from_seconds == pytest.approx(3)
    assert 8.2 <= silence.to_seconds < 9  # the key's whole second, and what Asterisk's own mute takes


@pytest.mark.parametrize("event", ["BLINDTRANSFER", "ATTENDEDTRANSFER"])
async def test_of_a_talk_that_was_transferred_the_agents_part_is_kept(
    centre: Centre, asterisk: Asterisk, event: str
) -> None:
    asterisk.note()
    asterisk.connects()
    asterisk.ends(event, after=8)
    asterisk.hangs_up(seconds=20)
    await centre.start()
    assert await centre.outcome() == ("recorded", None)
    assert (await centre.recording()).keep_seconds == pytest.approx(7)


async def test_two_lines_are_two_answers_and_two_recordings(centre: Centre, asterisk: Asterisk) -> None:
    asterisk.note()
    asterisk.connects()
    asterisk.ends("COMPLETEAGENT")
    asterisk.mix.end()  # type: ignore[union-attr]
    asterisk.at += 2
    asterisk.note("noticed", "announced", "notice")
    asterisk.connects()
    asterisk.ends()
    asterisk.hangs_up()
    await centre.start()
    assert await centre.outcome() == ("recorded", None)
    rows = await centre.catalogue.list_recordings(10)
    assert sorted((row.line, str(row.status)) for row in rows) == [("announced", "settled"), ("support", "settled")]


async def test_a_notice_after_a_question_without_an_answer_permits_nothing(centre: Centre, asterisk: Asterisk) -> None:
    """CN-09: of two lines the stricter applies, also where the dialplan asked on both. A notice is no such dialogue."""
    asterisk.note("unanswered")
    asterisk.connects()
    asterisk.ends("COMPLETEAGENT")
    asterisk.at += 2
    asterisk.note("noticed", "announced", "notice")
    asterisk.connects()
    asterisk.ends()
    asterisk.hangs_up()
    await centre.start()
    assert await centre.outcome() == ("lost", "dialogue_failed")
    await until(lambda: not centre.staged(), "the files to be erased")
    assert centre.settled() == []


@pytest.mark.parametrize("line", ["private", "gone"])
async def test_a_line_that_is_never_recorded_now_was_asked_for_nothing(
    centre: Centre, asterisk: Asterisk, line: str
) -> None:
    asterisk.note(line=line)
    asterisk.connects()
    asterisk.ends()
    asterisk.hangs_up()
    await centre.start()
    assert await centre.outcome() == ("excluded", None)
    await until(lambda: not centre.staged(), "the files to be erased")
    acts = centre.rows("SELECT actor, action FROM file_acts ORDER BY at")
    assert [act for _, act in acts] == ["erasing", "erased"] * 2
    assert {actor for actor, _ in acts} == {"recorder"}


async def test_no_other_ledger_writes_a_call_away_before_it_is_taken_in(centre: Centre, asterisk: Asterisk) -> None:
    cdr = centre.queue_log.with_name("Master.csv")
    cdr.touch()
    centre.change("pbx", queue_log=centre.queue_log, cdr=cdr)
    await centre.start()
    await until(lambda: centre.assembly.daemon.sweeps["reconcile"].last_ok_at, "the CDR to be known")
    await centre.stop()
    asterisk.note()
    asterisk.connects()
    asterisk.ends()
    asterisk.hangs_up()
    caller = asterisk.talk.caller
    cdr.write_bytes(written_row(uniqueid=caller.uniqueid, linkedid=caller.linkedid))
    await centre.pbx.stop()  # the ledgers are there before Asterisk answers
    await centre.start(ready=False)
    await until(lambda: centre.assembly.daemon.sweeps["reconcile"].last_ok_at, "the ledgers to be read")
    await centre.pbx.start_again()
    assert await centre.outcome() == ("recorded", None)


async def test_files_without_a_note_are_never_settled(centre: Centre, asterisk: Asterisk) -> None:
    asterisk.note()
    lines = centre.queue_log.read_text().splitlines(keepends=True)
    centre.queue_log.write_text("".join(line for line in lines if "RECORDERANSWER" not in line))
    asterisk.connects()
    asterisk.ends()
    asterisk.hangs_up()
    await centre.start()
    assert await centre.outcome() == ("lost", "recorder_away")
    assert len(centre.staged()) == 2
    assert centre.settled() == []


async def test_a_note_that_makes_no_sense_is_none(centre: Centre, asterisk: Asterisk) -> None:
    asterisk.note("overridden")
    asterisk.connects()
    asterisk.ends()
    asterisk.hangs_up()
    await centre.start()
    assert await centre.outcome() == ("lost", "recorder_away")


async def test_an_answer_that_is_told_at_once_is_taken_at_once(centre: Centre, asterisk: Asterisk) -> None:
    """The daemon is there again by the time of the answer: the event comes before the capture begins."""
    await centre.start()
    caller = asterisk.talk.caller
    asterisk.note("refused")  # for its words
    words = centre.queue_log.read_text().rsplit("RECORDERANSWER|", 1)[1].strip().replace("|refused|", "|given|")
    centre.say("UserEvent", caller, ("UserEvent", "RecorderAnswer"), ("Note", words))
    recording = words.split("|")[15]
    files = f"r({centre.spool}/{recording}-caller.wav)t({centre.spool}/{recording}-agent.wav)i(RECORDER_ID)"
    centre._start_mixmonitor(caller, f",b{files}")
    await centre.until_capture("armed")
    centre.connects(asterisk.talk)
    await centre.until_capture("running")
    centre.hangs_up(asterisk.talk)
    assert await centre.outcome() == ("recorded", None)
    assert centre.mixes[-1].file == ""


def asked_in_our_sleep(centre: Centre, talk: Talk | None = None) -> Asterisk:
    """The event of the answer lies in the socket then, with the capture's start behind it: nobody knows since when."""
    asterisk = Asterisk(centre, int(time.time()))
    asterisk.talk = talk or asterisk.talk
    parties = (asterisk.talk.caller, asterisk.talk.agent)
    centre.pbx.channels.extend(one for one in parties if one not in centre.pbx.channels)
    asterisk.note(told=True)
    return asterisk


def sleeps() -> None:
    time.sleep(4)


@pytest.mark.parametrize("visits", [False, True], ids=["nobody visits", "a visit waited in vain"])
async def test_what_the_dialplan_did_while_we_slept_is_taken_in_at_the_times_of_its_notes(
    centre: Centre, visits: bool
) -> None:
    await centre.start()
    asterisk = asked_in_our_sleep(centre)
    talk = asterisk.talk
    if visits:  # until the dialplan's leash ended it
        arguments = ("support", talk.caller.linkedid, "", "no", "stops")
        with socket.create_connection(("127.0.0.1", centre.agi_port)) as door:
            door.sendall(environment(channel=talk.caller.name, uniqueid=talk.caller.uniqueid, arguments=arguments))
    asterisk.connects()
    centre.connects(talk)
    sleeps()
    await until(lambda: len(centre.assembly.daemon.parts.book) == 1, "the call to be taken in", seconds=20)
    await centre.until_capture("running")
    await asyncio.sleep(1)
    (capture,) = centre.runner.state.captures
    assert capture.bridged_at is not None
    assert capture.bridged_at.timestamp() < asterisk.at + 1.5, "not when we woke up"
    assert asterisk.mix is not None
    assert asterisk.mix.open, "our own, and no rival"
    centre.hangs_up(talk)
    assert await centre.outcome() == ("recorded", None)


async def test_what_the_dialplan_began_in_our_sleep_on_a_call_that_is_open_is_no_rival(centre: Centre) -> None:
    await centre.start()
    talk = await centre.asks(keys="")  # unanswered, and asked again
    await until(lambda: not centre.runner.owes, "the first answer to be written")
    asterisk = asked_in_our_sleep(centre, talk)
    asterisk.connects()
    centre.connects(talk)
    with capture_logs() as logs:
        sleeps()
        await centre.until_capture("running")
        await asyncio.sleep(1)
    assert "rival_met" not in [entry["event"] for entry in logs]
    assert asterisk.mix is not None
    assert asterisk.mix.open
    centre.hangs_up(talk)
    assert await centre.outcome() == ("recorded", None)


@pytest.mark.parametrize("said", [True, False], ids=["the dialplan says so", "the list says so"])
@pytest.mark.parametrize("slept", [True, False], ids=["slept", "dead"])
async def test_a_talk_with_an_agent_who_must_not_be_recorded_is_not_taken_in(
    centre: Centre, slept: bool, said: bool
) -> None:
    if not said:
        centre.change("do_not_record", agents=["PJSIP/alice"])
    if slept:
        await centre.start()
        asterisk = asked_in_our_sleep(centre)
    else:
        asterisk = Asterisk(centre, int(time.time()))
        asterisk.note()
    talk = asterisk.talk
    if said:
        asterisk.writes("RECORDERLISTED", talk.agent.uniqueid)
    asterisk.connects()
    if slept:
        centre.connects(talk)
        sleeps()
    else:
        await centre.start()
    await until(lambda: len(centre.assembly.daemon.parts.book) == 1, "the call to be taken in", seconds=20)
    await until(lambda: asterisk.mix is not None and not asterisk.mix.open, "the end of the capture")
    centre.hangs_up(talk)
    assert await centre.outcome() == ("excluded", None)
    assert centre.settled() == []


@pytest.mark.parametrize("late", [0, 3], ids=["AMI at once", "AMI later than the sweep"])
async def test_a_note_about_a_call_that_is_open_is_kept_until_it_is_taken_in(centre: Centre, late: float) -> None:
    """Killed in the dialogue; the dialplan asks itself; the sweep reads the log before anybody compares."""
    await centre.start()
    talk = centre.new_talk()
    visit = centre.visit(talk, keys="")
    visit.answers["STREAM FILE"] = lambda _: None
    await visit.start()
    await until(lambda: centre.runners and not centre.runner.owes, "the call to be written")
    await centre.kill()
    await visit.close()
    asterisk = Asterisk(centre, int(time.time()))
    asterisk.talk = talk
    asterisk.note(answer="given")
    asterisk.connects()

    def slow(parts: Parts) -> None:
        connects = parts.ami.run

        async def run() -> None:
            await asyncio.sleep(late)
            await connects()

        parts.ami.run = run  # type: ignore[method-assign]

    centre.before_it_runs = slow
    await centre.start(ready=False)
    await centre.until_capture("running")
    asterisk.ends()
    centre.hangs_up(talk)
    assert await centre.outcome() == ("recorded", None)


async def test_what_asterisk_would_ask_is_compared_and_told(centre: Centre) -> None:
    await centre.start()
    watch = centre.assembly.daemon.parts.fallback
    await until(lambda: watch.warnings, "the look")
    assert [" is not asked " in warning for warning in watch.warnings] == [True, True]
    made = written(centre.assembly.settings, "22.10.1")
    for context, _ in made.digests().values():
        centre.pbx.functions |= {
            f"DIALPLAN_EXISTS({context},s,1)": "1",
            f"DIALPLAN_EXISTS({context},digest-0123456789abcdef,1)": "1",
        }
    await watch.look()
    assert ["older settings" in warning for warning in watch.warnings] == [True, True]
    status = await centre.assembly.status()
    assert any("line support is asked by older settings" in reason for reason in status.reasons)
    for context, digest in made.digests().values():
        centre.pbx.functions[f"DIALPLAN_EXISTS({context},{digest},1)"] = "1"
    await watch.look()
    assert watch.warnings == ()
