"""SIGKILL while steps are owed: the daemon is a process of its own, its catalogue is away, and nothing but the local
journal knows what happened. What was withdrawn is erased, what was paused is silent, each step is there once.
"""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from recorder.assembly import _call_view
from recorder.catalogue import Catalogue, open_catalogue
from recorder.daemon.keeping import Kept, kept
from recorder.local_journal import framed, read
from tests.edge.centre import PROMPTS, Centre, Talk, away, until
from tests.fakes.pbx import FakeChannel, FakePbx
from tests.pbx.server import PbxServer
from tests.recorder_process import Recorder

pytestmark = [pytest.mark.usefixtures("no_task_left"), pytest.mark.fault]
STRANGER = FakeChannel(name="PJSIP/boss-1", uniqueid="9.9", linkedid="9.9")


class Owing(Centre):
    """The centre, and what its daemon's local journal holds."""

    def __init__(self, pbx: FakePbx, folder: Path, url: str) -> None:
        super().__init__(pbx, folder, url, journal={"path": folder / "journal"})
        self.journal = folder / "journal" / "journal-pbx1"
        self.journal.parent.mkdir(mode=0o700)

    async def until_told(self, words: str) -> None:
        """Until /status tells of a call in these words."""
        await until(lambda: words in self.told(), f"a call that is {words}", seconds=60)

    def told(self) -> list[str]:
        return [_call_view(runner).state for runner in self.runners]

    def kept(self) -> Kept:
        return kept(read(self.journal.read_bytes()))

    def in_journal(self) -> list[str]:
        return [row.name for rows in self.kept().steps.values() for row in rows]


class Apart(Owing):
    """The same with a daemon that is a process, and dies as one."""

    def __init__(self, pbx: FakePbx, folder: Path, url: str) -> None:
        super().__init__(pbx, folder, url)
        self.process = Recorder(folder / "recorder", catalogue=url)
        self.recordings = self.process.recordings
        server = SimpleNamespace(
            host=pbx.host,
            ports=SimpleNamespace(ami=pbx.port),
            recorder_user=pbx.username,
            recorder_secret=pbx.secret,
            cli=("false",),
            queue_log=self.queue_log,
            cdr=folder / "Master.csv",
            prompts=str(PROMPTS),
            captures=self.spool,
        )
        changes: Mapping[str, Mapping[str, object]] = {"journal": {"path": str(self.journal.parent)}}
        self.process.configure(cast(PbxServer, server), **changes)
        self.books: Catalogue

    @property
    def agi_port(self) -> int:
        return self.process.agi_port

    @property
    def catalogue(self) -> Catalogue:
        return self.books

    async def start(self, *, ready: bool = True) -> None:
        self.process.launch()
        if ready:
            is_ready = "the daemon to be ready"
            await self.process.until(lambda: self.process.get("/readyz")[0] == 200, is_ready, timeout=120)

    async def kill(self) -> None:
        if self.process.exit_code is None:
            self.process.send(signal.SIGKILL)

    def told(self) -> list[str]:
        _, status = self.process.get("/status")
        return [call["state"] for call in status["calls"]] if status else []


@pytest.fixture
async def centre(catalogue_url: str, tmp_path: Path) -> AsyncIterator[Owing]:
    async with AsyncExitStack() as closing:
        pbx = await closing.enter_async_context(FakePbx())
        made = Owing(pbx, tmp_path, catalogue_url)
        closing.push_async_callback(made.kill)
        await made.start()
        yield made


@pytest.fixture
async def apart(catalogue_url: str, tmp_path: Path) -> AsyncIterator[Apart]:
    async with AsyncExitStack() as closing:
        pbx = await closing.enter_async_context(FakePbx())
        made = Apart(pbx, tmp_path, catalogue_url)
        made.books = await open_catalogue(catalogue_url)
        closing.push_async_callback(made.books.close)
        closing.push_async_callback(made.kill)
        await made.start()
        yield made


async def captured(centre: Owing) -> Talk:
    """A talk that is being captured, all of which the catalogue has; the queue log is empty all the time."""
    talk = await centre.asks()
    centre.connects(talk)
    for path in (centre.mixes[0].caller, centre.mixes[0].agent):
        with path.open("ab") as file:
            file.write(bytes(32768))  # a bridge that brings nothing to disk for ten seconds is found out
    await centre.until_told("talking, capturing")
    await until(lambda: centre.rows("SELECT count(*) FROM call_events WHERE name = 'BridgeEntered'") == [(2,)])
    return talk


Act = Callable[[Owing, Talk], Awaitable[None]]


async def dies_in(centre: Owing, talk: Talk, act: Act) -> None:
    """The catalogue is away, something happens, the daemon is killed, and only then the catalogue is back."""
    with away(centre.url):
        await act(centre, talk)
        assert centre.rows("SELECT status FROM recordings") == [("armed",)]
        await centre.kill()
    centre.mixes[0].muted = False  # whatever Asterisk made of it
    await centre.start()


async def pauses(centre: Owing, talk: Talk) -> None:
    centre.marks(talk, "pause")
    await until(lambda: centre.mixes[0].muted, "the silence")


async def holds(centre: Owing, talk: Talk) -> None:
    centre.say("Hold", talk.agent)
    talk.caller.variables["CHANNEL(onhold)"] = "1"
    await until(lambda: centre.mixes[0].muted, "the silence")


async def pauses_and_resumes(centre: Owing, talk: Talk) -> None:
    await pauses(centre, talk)
    centre.marks(talk, "resume")
    await until(lambda: not centre.mixes[0].muted, "the silence to end")


async def withdraws(centre: Owing, talk: Talk) -> None:
    centre.marks(talk, "stop")
    await until(lambda: not centre.mixes[0].open, "the stop")


async def calls_it_personal(centre: Owing, talk: Talk) -> None:
    centre.marks(talk, "personal")
    await until(lambda: not centre.mixes[0].open, "the stop")


async def ends(centre: Owing, talk: Talk) -> None:
    centre.hangs_up(talk)
    await centre.until_told("over")


async def is_joined(centre: Owing, talk: Talk) -> None:
    centre.enters(STRANGER, talk.bridge, 3)
    await until(lambda: not centre.mixes[0].open, "the stop")


@pytest.mark.parametrize(("act", "cause"), [(pauses, "pause"), (holds, "hold")])
async def test_what_was_silent_is_silent_again_and_stands_in_the_recordings_ledger(
    centre: Owing, act: Act, cause: str
) -> None:
    talk = await captured(centre)
    await dies_in(centre, talk, act)
    await until(lambda: centre.mixes[0].muted, "the silence to be asserted")
    assert centre.mixes[0].open
    centre.hangs_up(talk)
    assert await centre.outcome() == ("recorded", None)
    assert [silence.cause for silence in (await centre.recording()).silences] == [cause]


async def test_a_pause_that_was_over_stays_over_and_stands_in_the_recordings_ledger(centre: Owing) -> None:
    talk = await captured(centre)
    await dies_in(centre, talk, pauses_and_resumes)
    await centre.until_told("talking, capturing")
    centre.hangs_up(talk)
    assert await centre.outcome() == ("recorded", None)
    assert [silence.cause for silence in (await centre.recording()).silences] == ["pause"]


@pytest.mark.parametrize(("act", "outcome"), [(withdraws, ("declined", None)), (calls_it_personal, ("excluded", None))])
async def test_what_was_taken_back_is_erased(centre: Owing, act: Act, outcome: tuple[str, str | None]) -> None:
    talk = await captured(centre)
    await dies_in(centre, talk, act)
    centre.hangs_up(talk)
    assert await centre.outcome() == outcome
    assert (centre.settled(), centre.staged()) == ([], [])
    assert centre.rows("SELECT status FROM recordings") == [("erased",)]


async def test_a_talk_that_ended_is_kept_whole_on_the_journals_word(centre: Owing) -> None:
    talk = await captured(centre)
    await dies_in(centre, talk, ends)
    assert await centre.outcome() == ("recorded", None)
    assert (await centre.recording()).keep_seconds is None
    assert len(centre.settled()) == 1


async def test_a_capture_that_a_stranger_ended_stays_ended(centre: Owing) -> None:
    talk = await captured(centre)
    await dies_in(centre, talk, is_joined)
    centre.hangs_up(talk)
    assert await centre.outcome() == ("recorded", None)
    assert len(centre.mixes) == 1


async def test_every_step_is_in_the_catalogue_once_and_in_its_order(centre: Owing) -> None:
    talk = await captured(centre)
    for _ in range(3):
        await dies_in(centre, talk, pauses_and_resumes)
        await centre.until_told("talking, capturing")
    centre.hangs_up(talk)
    assert await centre.outcome() == ("recorded", None)
    journal = (await centre.whole()).journal
    assert [step.seq for step in journal] == list(range(1, len(journal) + 1))
    assert sum(step.name == "KeyPressed" for step in journal) == 6
    assert len((await centre.recording()).silences) == 3


async def test_a_call_of_which_the_catalogue_never_heard_is_in_the_books_with_its_outcome(centre: Owing) -> None:
    with away(centre.url):
        talk = await centre.asks()
        centre.connects(talk)
        await centre.until_told("talking")
        await centre.kill()
        assert centre.rows("SELECT count(*) FROM calls") == [(0,)]
    await centre.start()
    centre.hangs_up(talk)
    assert await centre.outcome() == ("lost", "catalogue_away")
    assert centre.mixes == []


async def test_what_nothing_asked_for_and_nobody_wrote_yet_survives_a_sigkill(centre: Owing) -> None:
    talk = await centre.asks()
    centre.connects(talk)
    await until(lambda: "BridgeEntered" in centre.in_journal(), "the step to be noted")
    await centre.kill()
    centre.hangs_up(talk)
    await centre.start()
    assert await centre.outcome() == ("recorded", None)  # and no queue log tells of the talk


async def test_the_journal_is_closed_to_others_and_says_no_more_than_the_catalogue_does(centre: Owing) -> None:
    talk = await captured(centre)
    centre.hangs_up(talk)
    assert await centre.outcome() == ("recorded", None)
    assert centre.journal.stat().st_mode & 0o077 == 0
    steps = [row for rows in centre.kept().steps.values() for row in rows]
    in_books = {step.seq: step for step in (await centre.whole()).journal}
    assert steps
    assert all(in_books[row.seq] == row for row in steps)


@pytest.mark.slow
async def test_a_process_that_is_killed_leaves_a_pause_that_the_next_asserts_and_a_withdrawal_that_it_obeys(
    apart: Apart,
) -> None:
    talk = await captured(apart)
    await dies_in(apart, talk, pauses)
    await until(lambda: apart.mixes[0].muted, "the silence to be asserted")
    await dies_in(apart, talk, withdraws)
    apart.hangs_up(talk)
    assert await apart.outcome() == ("declined", None)
    assert (apart.settled(), apart.staged()) == ([], [])
    assert (await apart.recording()).status == "erased"


# --------------------------------------------------------------------------- a journal that cannot be read


def damage(centre: Owing, name: str) -> None:
    """Change a byte of the first record that tells of `name`."""
    data = bytearray(centre.journal.read_bytes())
    data[data.index(f'"name":"{name}"'.encode()) + 9] ^= 1
    centre.journal.write_bytes(data)


def aside(centre: Owing) -> list[Path]:
    return sorted(centre.journal.parent.glob("*damaged*"))


async def test_behind_damage_nothing_is_kept_no_capture_goes_on_and_it_is_told(centre: Owing) -> None:
    talk = await captured(centre)
    with away(centre.url):
        await holds(centre, talk)
        await centre.kill()
    damage(centre, "HoldBegan")
    before = centre.journal.read_bytes()
    await centre.start()
    await until(lambda: not centre.mixes[0].open, "the capture to be stopped")
    status = await centre.assembly.status()
    assert status.state == "degraded"
    assert any(str(aside(centre)[0]) in reason for reason in status.reasons)
    assert [path.read_bytes() for path in aside(centre)] == [before]
    centre.hangs_up(talk)
    assert await centre.outcome() == ("recorded", None)
    row = await centre.recording()
    assert row.keep_seconds is not None
    assert row.keep_seconds < 1  # the last that is known is that they met


async def test_a_withdrawal_behind_damage_is_obeyed(centre: Owing) -> None:
    talk = await captured(centre)
    with away(centre.url):
        await holds(centre, talk)
        await withdraws(centre, talk)
        await centre.kill()
    damage(centre, "HoldBegan")
    await centre.start()
    centre.hangs_up(talk)
    assert await centre.outcome() == ("declined", None)
    assert (centre.settled(), centre.staged()) == ([], [])


async def test_a_torn_end_is_no_damage(centre: Owing) -> None:
    talk = await captured(centre)
    with away(centre.url):
        await pauses_and_resumes(centre, talk)
        await centre.kill()
    with centre.journal.open("ab") as file:
        file.write(framed(b"cut in its middle")[:-4])
    await centre.start()
    await centre.until_told("talking, capturing")
    centre.hangs_up(talk)
    assert await centre.outcome() == ("recorded", None)
    assert aside(centre) == []
    assert [silence.cause for silence in (await centre.recording()).silences] == ["pause"]


async def test_a_journal_that_lacks_a_step_of_a_call_is_not_guessed_at(centre: Owing) -> None:
    talk = await captured(centre)
    with away(centre.url):
        await holds(centre, talk)
        centre.say("Unhold", talk.agent)
        await until(lambda: not centre.mixes[0].muted)
        await centre.kill()
    records = [record for record in read(centre.journal.read_bytes()).records if b"HoldBegan" not in record]
    centre.journal.write_bytes(b"".join(map(framed, records)))
    await centre.start()
    await until(lambda: not centre.mixes[0].open, "the capture to be stopped")
