"""The sweeps on a real catalogue and real disks, with a clock that a test moves: what fails stops nobody else."""

from __future__ import annotations

import asyncio
import threading
import wave
from collections.abc import AsyncIterator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any, cast
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recorder import rotated, sweeps
from recorder.ami import Ami, AmiAddress, AmiDown
from recorder.call import CallEvent, RecordingEmptied, RecordingMade
from recorder.capture import CaptureDesk
from recorder.catalogue import Catalogue, CatalogueAway
from recorder.marks import QUEUE_LOG, taken_in_at
from recorder.model import (
    CallEnded,
    CallId,
    ConsentMode,
    ConsentState,
    Fact,
    LegSeen,
    Linkedid,
    LostReason,
    Outcome,
    PartyKind,
    RecordingAuthorised,
    RecordingId,
    RecordingSettled,
    RecordingStatus,
    Uniqueid,
)
from recorder.policy import LineRules
from recorder.queue_log import Entry, QueueLog, Telling, Told, Unseen, told_by, unseen_by
from recorder.rotated import Place
from recorder.storage import LegFile, Spool, Storage
from recorder.sweeps import POSTPONE, Sweeps
from tests import books, facts
from tests.edge.centre import away
from tests.facts import NODE
from tests.small_disk import small_disk


class Worker:
    """The sweeps, what they work on, and a ledger that writes what they tell. `callers` are those in progress."""

    def __init__(self, store: Catalogue, spool: Path, recordings: Path, log: Path | None = None) -> None:
        self.callers: frozenset[Uniqueid] = frozenset()
        self.store = store
        self.spool = Spool(spool)
        self.storage = Storage(recordings, self.spool)
        self.now = facts.later(100)
        self.told: list[CallEvent] = []
        self.refuses: set[CallId] = set()  # calls whose machine breaks
        self.pools = [ThreadPoolExecutor(1), ThreadPoolExecutor(1)]
        nobody = Ami(AmiAddress(host="127.0.0.1", port=1, username="", secret=""), lambda _: None)
        self.capture = CaptureDesk(
            nobody,
            self.storage,
            self.spool,
            spool_at_pbx=PurePosixPath("/spool"),
            min_free=(0, 0),
            disk=self.pools[0],
            audio=self.pools[1],
            clock=lambda: self.now,
        )
        self.sweeps = Sweeps(
            node=NODE,
            catalogue=store,
            capture=self.capture,
            spool=self.spool,
            ledger=self._ledger,
            queue_log=QueueLog(log) if log else None,
            lines={"support": LineRules(name="support", mode=ConsentMode.OPT_IN, queues=("support",))},
            callers=lambda: self.callers,
            has_leg=lambda leg: leg in self.callers,
            now=self._clock,
        )

    def _clock(self) -> datetime:
        return self.now

    async def _ledger(self, call: CallId, event: CallEvent) -> bool:
        self.told.append(event)
        if call in self.refuses:
            raise ZeroDivisionError("a bug")
        if isinstance(event, RecordingMade):
            made = RecordingSettled(
                id=event.recording,
                call=call,
                at=event.at,
                samples=event.samples,
                rate=event.rate,
                sha256=event.sha256,
                size=event.size,
                findings=event.findings,
            )
            await self.store.write_facts([made])
        return True

    async def stopped(self, seconds: float = 1.0, *, stopped_at: float = 60) -> RecordingAuthorised:
        """A recording in the catalogue whose staged files wait to be settled."""
        call = facts.new_call()
        consent = facts.answered(call)
        recording = facts.authorised(consent)
        told: list[Fact] = [facts.opened(call), facts.leg(call), consent, recording]
        told.append(facts.changed(recording, RecordingStatus.AUTHORISED, RecordingStatus.ARMED))
        end = facts.changed(recording, RecordingStatus.ARMED, RecordingStatus.STOPPED, stopped_at)
        told.append(replace(end, bridged_at=facts.later(10), bridged_seconds=seconds))
        await self.store.write_step(call, told, None, "over", ConsentState.GIVEN)
        for leg in LegFile:
            with wave.open(str(self.spool.path(recording.id, leg)), "wb") as sound:
                sound.setparams((1, 2, 8000, 0, "NONE", ""))
                sound.writeframes(b"\x10\x01" * round(8000 * seconds))
        return recording

    async def remembered(self) -> tuple[Entry, ...]:
        """The lines of the queue log that are kept since the mark, the new ones too."""
        assert self.sweeps._reading is not None
        return (await self.sweeps._reading.read()).entries

    async def settle(self) -> None:
        while await self.sweeps.settle_due():
            pass

    async def status(self, recording: RecordingAuthorised) -> RecordingStatus:
        return (await self.store.recordings_named([recording.id]))[recording.id].status

    def close(self) -> None:
        for pool in self.pools:
            pool.shutdown()


@pytest.fixture
def cramped_disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", "1m") as place:
        yield place


@pytest.fixture
async def worker(store: Catalogue, tmp_path: Path) -> AsyncIterator[Worker]:
    for name in ("spool", "recordings"):
        (tmp_path / name).mkdir(mode=0o700)
    made = Worker(store, tmp_path / "spool", tmp_path / "recordings")
    yield made
    made.close()


@pytest.fixture
async def cramped(store: Catalogue, tmp_path: Path, cramped_disk: Path) -> AsyncIterator[Worker]:
    (tmp_path / "spool").mkdir(mode=0o700)
    made = Worker(store, tmp_path / "spool", cramped_disk)
    yield made
    made.close()


async def test_every_recording_that_waits_is_settled_the_longest_first(worker: Worker) -> None:
    waiting = [await worker.stopped(stopped_at=90 - number) for number in range(6)]
    await worker.settle()
    settled = [event.recording for event in worker.told if isinstance(event, RecordingMade)]
    assert settled == [recording.id for recording in reversed(waiting)]
    assert list(worker.spool.here.iterdir()) == []


@pytest.mark.fault
async def test_a_recording_that_a_full_disk_refuses_is_postponed_and_settled_when_there_is_room(
    cramped: Worker, cramped_disk: Path
) -> None:
    large = await cramped.stopped(30, stopped_at=50)
    small = await cramped.stopped(2, stopped_at=60)
    other = cramped_disk / "other"
    other.write_bytes(bytes(2**19))
    await cramped.settle()
    assert await cramped.status(large) is RecordingStatus.STOPPED
    assert await cramped.status(small) is RecordingStatus.SETTLED
    assert cramped.sweeps.failures == {"settle": 1}
    other.unlink()
    await cramped.settle()
    assert await cramped.status(large) is RecordingStatus.STOPPED  # its time has not come
    cramped.now += POSTPONE + timedelta(seconds=1)
    await cramped.settle()
    assert await cramped.status(large) is RecordingStatus.SETTLED
    assert not any(path.name.startswith(str(large.id)) for path in cramped.spool.here.iterdir())


async def test_a_recording_that_meets_a_bug_is_postponed_and_the_others_go_on(worker: Worker) -> None:
    first, second = await worker.stopped(stopped_at=50), await worker.stopped(stopped_at=60)
    worker.refuses.add(first.call)
    await worker.settle()
    assert await worker.status(first) is RecordingStatus.STOPPED
    assert await worker.status(second) is RecordingStatus.SETTLED
    assert worker.sweeps.failures == {"settle": 1}
    worker.refuses.clear()
    worker.now += POSTPONE + timedelta(seconds=1)
    await worker.settle()
    assert await worker.status(first) is RecordingStatus.SETTLED


async def test_a_catalogue_that_is_away_ends_the_pass_and_postpones_nobody(worker: Worker, catalogue_url: str) -> None:
    recording = await worker.stopped()
    with away(catalogue_url), pytest.raises(CatalogueAway):
        await worker.settle()
    assert worker.sweeps.failures == {}
    await worker.settle()
    assert await worker.status(recording) is RecordingStatus.SETTLED


async def test_a_stop_is_not_confirmed_where_the_pbx_cannot_be_asked_what_runs(worker: Worker) -> None:
    """The id stands on the channel: a PBX that is away cannot tell it, and that is no proof that nothing runs."""
    recording = await worker.stopped()
    assert not await worker.capture.stop(recording.id, recording.channel, None)
    assert not await worker.capture.stop(recording.id, recording.channel, "0x1")
    with pytest.raises(AmiDown):
        await worker.capture.running(recording.channel, None, quiet=False)


async def test_a_recording_is_analysed_once(worker: Worker) -> None:
    recording = await worker.stopped()
    await worker.settle()
    while await worker.sweeps.analyse_due():
        pass
    row = (await worker.store.recordings_named([recording.id]))[recording.id]
    assert row.analysed_at == worker.now
    assert row.measures["seconds"] == 1.0
    worker.now += timedelta(seconds=5)
    assert not await worker.sweeps.analyse_due()


async def test_only_the_leftovers_of_settled_recordings_are_removed(worker: Worker) -> None:
    settled, waiting = await worker.stopped(stopped_at=50), await worker.stopped(stopped_at=60)
    worker.refuses.add(waiting.call)
    await worker.settle()
    for leg in LegFile:
        worker.spool.path(settled.id, leg).write_bytes(b"RIFF")
    (worker.spool.here / "0f0f0f0f-0000-4000-8000-000000000001-caller.wav").write_bytes(b"RIFF")  # of no row
    (worker.spool.here / "notes.txt").write_text("somebody else's")
    await worker.sweeps.remove_settled_leftovers()
    left = {path.name for path in worker.spool.here.iterdir()}
    assert left == {
        "0f0f0f0f-0000-4000-8000-000000000001-caller.wav",
        "notes.txt",
        *(worker.spool.path(waiting.id, leg).name for leg in LegFile),
    }


async def test_of_a_failed_recording_only_headers_are_removed_and_not_at_once(worker: Worker) -> None:
    soundless, spoken = await worker.stopped(0), await worker.stopped(0.1)
    for recording in (soundless, spoken):
        failed = facts.changed(recording, RecordingStatus.STOPPED, RecordingStatus.FAILED, 100)
        await worker.store.write_facts([replace(failed, reason=LostReason.CAPTURE_FAILED)])
    await worker.sweeps.remove_settled_leftovers()
    assert {left.recording for left in worker.spool.leftovers()} == {soundless.id, spoken.id}
    worker.now += POSTPONE
    await worker.sweeps.remove_settled_leftovers()
    assert {left.recording for left in worker.spool.leftovers()} == {spoken.id}


async def test_a_leftover_that_cannot_be_removed_is_postponed_counted_and_stops_no_other(worker: Worker) -> None:
    first, second = await worker.stopped(), await worker.stopped(stopped_at=61)
    await worker.settle()
    stuck, other = (worker.spool.path(each.id, LegFile.CALLER) for each in (first, second))
    stuck.mkdir()  # unlink() refuses
    other.write_bytes(b"RIFF")
    assert await worker.sweeps.remove_settled_leftovers() is False
    assert [left.path for left in worker.spool.leftovers()] == [stuck]
    await worker.sweeps.remove_settled_leftovers()
    assert worker.sweeps.failures == {"leftovers": 1}  # not tried again at once
    stuck.rmdir()
    stuck.write_bytes(b"RIFF")
    worker.now += POSTPONE
    await worker.sweeps.remove_settled_leftovers()
    assert list(worker.spool.leftovers()) == []


async def test_a_spool_that_cannot_be_listed_is_counted_and_stops_nothing(worker: Worker) -> None:
    worker.spool.here.rmdir()
    assert not await worker.sweeps.remove_settled_leftovers()
    assert worker.sweeps.failures == {"leftovers": 1}


async def test_a_capture_that_no_bridge_came_to_is_emptied(worker: Worker) -> None:
    recording = await worker.stopped()
    row = (await worker.store.recordings_named([recording.id]))[recording.id]
    await worker.sweeps._settle(replace(row, bridged_at=None, bridged_seconds=None))
    assert [type(event) for event in worker.told] == [RecordingEmptied]
    assert list(worker.spool.here.iterdir()) == []


# --------------------------------------------------------------------------- the queue log


class Asked:
    """A catalogue that remembers which channels it was asked for."""

    def __init__(self, store: Catalogue) -> None:
        self._store = store
        self.channels: list[list[Uniqueid]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def known_uniqueids(self, node: str, uniqueids: Iterable[Uniqueid]) -> frozenset[Uniqueid]:
        self.channels.append(sorted(uniqueids))
        return await self._store.known_uniqueids(node, self.channels[-1])


async def test_channels_that_were_found_in_the_books_are_not_asked_for_again_while_a_call_lasts(
    store: Catalogue, tmp_path: Path
) -> None:
    """The log is read again from the oldest call in progress; what was found in the books once is there."""
    for name in ("spool", "recordings"):
        (tmp_path / name).mkdir(mode=0o700)
    log = tmp_path / "queue_log"
    log.touch()
    asked = Asked(store)
    worker = Worker(cast("Catalogue", asked), tmp_path / "spool", tmp_path / "recordings", log)
    known, lasting, passed = books.refused(), Uniqueid("9.1"), Uniqueid("9.2")
    await known.write(store)
    await worker.sweeps.read_queue_log()

    async def read(*told: tuple[Uniqueid, str]) -> list[list[Uniqueid]]:
        """What was asked for once these lines had come to the log."""
        stamp = f"{worker.now.timestamp():.0f}"
        with log.open("a", encoding="utf-8") as file:
            file.writelines(f"{stamp}|{caller}|support|NONE|{words}\n" for caller, words in told)
        asked.channels.clear()
        await worker.sweeps.read_queue_log()
        return asked.channels

    leg = facts.caller(known.call).uniqueid
    worker.callers = frozenset({lasting})
    assert await read((lasting, "ENTERQUEUE||"), (leg, "ENTERQUEUE||"), (leg, "ABANDON|1|1|5")) == [[leg]]
    assert await read() == [[]]
    assert await read((passed, "ENTERQUEUE||"), (passed, "ABANDON|1|1|5")) == [[passed]]
    assert {call.linkedid for call in await store.list_calls(10)} == {facts.caller(known.call).linkedid, passed}
    assert await read() == [[passed]]  # written since then: found now, and not asked for any more
    worker.callers = frozenset()
    assert await read((lasting, "ABANDON|1|1|5")) == [[lasting]]
    await read()
    assert await worker.remembered() == ()  # the mark has passed everything, and so nothing is remembered
    worker.close()


async def test_what_became_of_telling_a_caller_is_read_again_while_their_call_lasts(
    store: Catalogue, tmp_path: Path
) -> None:
    """The daemon that asks for it after a time in which it could not see may ask later than the sweep has read it."""
    for name in ("spool", "recordings"):
        (tmp_path / name).mkdir(mode=0o700)
    log, recording = tmp_path / "queue_log", RecordingId(uuid4())
    log.touch()
    worker = Worker(store, tmp_path / "spool", tmp_path / "recordings", log)
    worker.callers = frozenset({Uniqueid("9.1")})
    await worker.sweeps.read_queue_log()
    stamp = f"{worker.now.timestamp():.0f}"
    log.write_text(f"{stamp}|9.1|NONE|NONE|RECORDERTOLD|{recording}|SUCCESS|2300\n{stamp}|9.2|q|NONE|ENTERQUEUE||\n")
    await worker.sweeps.read_queue_log()
    (noted,) = (await worker.sweeps.unseen()).tellings
    assert (noted.caller, noted.telling) == ("9.1", Telling(recording=recording, status="SUCCESS", played_ms=2300))
    worker.callers = frozenset()
    await worker.sweeps.read_queue_log()
    assert (await worker.sweeps.unseen()).tellings == ()
    worker.close()


# --------------------------------------------------------------------------- a log that a long call holds back

PARKED = Uniqueid("1.1")


class Log:
    """A queue log that is written to, all lines of the worker's now."""

    def __init__(self, worker: Worker, path: Path) -> None:
        self.worker = worker
        self.path = path
        path.touch()

    def write(self, *lines: tuple[str, str]) -> None:
        stamp = f"{self.worker.now.timestamp():.0f}"
        with self.path.open("a", encoding="utf-8") as file:
            file.writelines(f"{stamp}|{caller}|support|NONE|{words}\n" for caller, words in lines)

    def pass_by(self, caller: str) -> None:
        self.write((caller, "ENTERQUEUE||"), (caller, "CONNECT|1|8.8|1"), (caller, "COMPLETECALLER|1|5|1"))

    def rotate(self) -> None:
        """The oldest get the highest number, as logrotate gives it."""
        older = sorted(self.path.parent.glob(f"{self.path.name}.*"), key=lambda path: path.suffix, reverse=True)
        for path in (*older, self.path):
            path.rename(path.with_name(f"{self.path.name}.{int(path.suffix[1:] or 0) + 1}"))
        self.path.touch()


@pytest.fixture
async def held(store: Catalogue, tmp_path: Path) -> AsyncIterator[Log]:
    """A log whose mark is held at its first line by a call that is parked."""
    for name in ("spool", "recordings"):
        (tmp_path / name).mkdir(mode=0o700)
    worker = Worker(store, tmp_path / "spool", tmp_path / "recordings", tmp_path / "queue_log")
    log = Log(worker, tmp_path / "queue_log")
    worker.callers = frozenset({PARKED})
    await worker.sweeps.read_queue_log()
    log.write(("NONE", "QUEUESTART"), (PARKED, "ENTERQUEUE||"), (PARKED, "CONNECT|1|1.2|1"))
    yield log
    worker.close()


def again(worker: Worker, path: Path, node: str = NODE) -> Sweeps:
    """The sweeps of a daemon that starts anew."""
    return Sweeps(
        node=node,
        catalogue=worker.store,
        capture=worker.capture,
        spool=worker.spool,
        ledger=worker._ledger,
        queue_log=QueueLog(path),
        lines={"support": LineRules(name="support", mode=ConsentMode.OPT_IN, queues=("support",))},
        callers=lambda: worker.callers,
        has_leg=lambda leg: leg in worker.callers,
        now=worker._clock,
    )


async def outcomes(store: Catalogue, node: str = NODE) -> dict[str, Outcome | None]:
    return {str(call.linkedid): call.outcome for call in await store.list_calls(1000, node=node)}


@pytest.mark.parametrize("first", ["a reading before", "a daemon that starts"])
async def test_however_long_the_log_behind_a_held_mark_its_tail_is_reached(
    held: Log, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    monkeypatch.setattr(rotated, "READ_AT_ONCE", 1000)
    worker = held.worker
    sweeps = worker.sweeps
    for number in range(40):  # some 5 kB
        held.pass_by(f"3.{number}")
    if first == "a daemon that starts":
        sweeps = again(worker, held.path)
    else:
        await sweeps.read_queue_log()
    held.pass_by("4.4")
    held.write((PARKED, "COMPLETECALLER|1|5|1"))
    proof = (await sweeps.unseen()).passages[PARKED]
    assert (proof.agent, proof.talked_until) == ("1.2", worker.now.replace(microsecond=0))
    await sweeps.read_queue_log()
    booked = await outcomes(worker.store)
    assert booked["4.4"] is Outcome.LOST
    assert len(booked) == 41
    assert await taken_in_at(worker.store, NODE, QUEUE_LOG) == worker.now
    mark = await worker.store.bookmark(NODE, QUEUE_LOG)
    assert mark is not None
    assert mark["offset"] == held.path.read_text().index("\n") + 1, "the parked call's first line holds it"


async def test_what_the_log_says_is_made_out_in_a_thread_and_not_where_callers_wait(
    held: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: dict[str, int] = {}
    read = QueueLog.read

    def reads(log: QueueLog, since: Place) -> tuple[list[Entry], Place]:
        threads["read"] = threading.get_ident()
        return read(log, since)

    def tells(entries: tuple[Entry, ...], queues: frozenset[str]) -> Told:
        threads["told"] = threading.get_ident()
        return told_by(entries, queues)

    def proves(entries: tuple[Entry, ...], queues: frozenset[str]) -> Unseen:
        threads["unseen"] = threading.get_ident()
        return unseen_by(entries, queues)

    monkeypatch.setattr(QueueLog, "read", reads)
    monkeypatch.setattr(sweeps, "told_by", tells)
    monkeypatch.setattr(sweeps, "unseen_by", proves)
    await held.worker.sweeps.read_queue_log()
    await held.worker.sweeps.unseen()
    assert threads.keys() == {"read", "told", "unseen"}
    assert threading.get_ident() not in threads.values()


async def test_a_line_is_read_once_and_remembered_only_while_its_call_may_need_it(
    held: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = held.worker
    read, lines = QueueLog.read, list[Entry]()

    def counted(log: QueueLog, since: Place) -> tuple[list[Entry], Place]:
        entries, end = read(log, since)
        lines.extend(entries)
        return entries, end

    monkeypatch.setattr(QueueLog, "read", counted)
    monkeypatch.setattr(rotated, "READ_AT_ONCE", 1000)
    for number in range(40):
        held.pass_by(f"3.{number}")
    held.write(("NONE", "ADDMEMBER"), ("3.1", "RECORDERKEY|pause|3.1"))
    with held.path.open("a") as file:
        file.write(f"{'x' * 2500}\n")
    await asyncio.gather(worker.sweeps.unseen(), worker.sweeps.read_queue_log(), worker.sweeps.unseen())
    await worker.sweeps.read_queue_log()  # the books know them now
    assert [entry.uniqueid for entry in await worker.remembered()] == [PARKED, PARKED]
    assert len(lines) == 3 + 3 * 40 + 2
    log = worker.sweeps._reading
    assert log is not None
    assert log._log.senseless == 3, "an overlong line is counted by blocks, once"


async def test_what_a_reading_adds_while_the_sweep_judges_is_there_for_the_next_one(
    held: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = held.worker
    known = worker.store.known_uniqueids

    async def meanwhile(node: str, uniqueids: Iterable[Uniqueid]) -> frozenset[Uniqueid]:
        monkeypatch.undo()
        held.pass_by("3.3")
        await worker.sweeps.unseen()
        return await known(node, uniqueids)

    held.pass_by("2.2")
    monkeypatch.setattr(worker.store, "known_uniqueids", meanwhile)
    await worker.sweeps.read_queue_log()
    assert await outcomes(worker.store) == {"2.2": Outcome.LOST}
    await worker.sweeps.read_queue_log()
    assert await outcomes(worker.store) == {"2.2": Outcome.LOST, "3.3": Outcome.LOST}


async def test_the_log_was_read_to_its_end_though_lines_came_meanwhile_but_not_where_one_is_half_written(
    held: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, read, more = held.worker, QueueLog.read, [20]

    def growing(log: QueueLog, since: Place) -> tuple[list[Entry], Place]:
        entries, end = read(log, since)
        if more[0]:
            more[0] -= 1
            held.pass_by(f"3.{more[0]}")
        return entries, end

    monkeypatch.setattr(QueueLog, "read", growing)
    began, worker.now = worker.now, worker.now + timedelta(seconds=60)
    await worker.sweeps.read_queue_log()
    assert await taken_in_at(worker.store, NODE, QUEUE_LOG) == worker.now != began
    assert more[0] == 19, "what comes meanwhile is for the next time"
    more[0] = 0
    with held.path.open("a") as file:
        file.write("1772452800|7.7|supp")
    read_at, worker.now = worker.now, worker.now + timedelta(seconds=60)
    await worker.sweeps.read_queue_log()
    assert await taken_in_at(worker.store, NODE, QUEUE_LOG) == read_at


async def test_a_call_that_ends_while_the_log_is_read_is_in_the_books_and_not_told_again(
    held: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, read = held.worker, QueueLog.read
    monkeypatch.setattr(rotated, "READ_AT_ONCE", 1000)
    known = books.refused()
    await known.write(worker.store)
    leg = facts.caller(known.call).uniqueid
    worker.callers |= {leg}
    held.pass_by(leg)
    for number in range(40):
        held.pass_by(f"3.{number}")

    def ends(log: QueueLog, since: Place) -> tuple[list[Entry], Place]:
        if since.offset > 4000:
            worker.callers -= {leg}
        return read(log, since)

    monkeypatch.setattr(QueueLog, "read", ends)
    await worker.sweeps.read_queue_log()
    assert len(await outcomes(worker.store)) == 41  # and no second one of the call that the books had


async def test_a_call_that_comes_into_the_book_while_the_log_is_read_is_not_given_away(
    held: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, read = held.worker, QueueLog.read

    def begins(log: QueueLog, since: Place) -> tuple[list[Entry], Place]:
        worker.callers |= {Uniqueid("2.2")}
        return read(log, since)

    monkeypatch.setattr(QueueLog, "read", begins)
    held.pass_by("2.2")
    await worker.sweeps.read_queue_log()
    assert await outcomes(worker.store) == {}


@pytest.mark.parametrize("at_once", [200, 10_000])
async def test_a_key_that_stands_in_the_name_of_a_call_that_is_over_stays_for_the_call_of_who_pressed_it(
    held: Log, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(rotated, "READ_AT_ONCE", at_once)
    worker, known = held.worker, books.refused()
    await known.write(worker.store)
    held.write((facts.caller(known.call).uniqueid, f"RECORDERKEY|pause|{PARKED}"))
    held.pass_by("2.2")
    await worker.sweeps.read_queue_log()
    (key,) = (await worker.sweeps.unseen()).keys
    assert key.presser == PARKED


async def test_a_long_log_need_not_be_held_whole_to_be_read(held: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = held.worker
    for number in range(40):
        held.pass_by(f"3.{number}")
    await worker.sweeps.read_queue_log()
    monkeypatch.setattr(rotated, "READ_AT_ONCE", 1000)
    starting = again(worker, held.path)
    assert (await starting.unseen()).passages[PARKED].agent == "1.2"
    assert starting._reading is not None
    assert len(starting._reading._entries) < 20, "the rest is in the books"


async def test_a_log_that_is_emptied_in_its_place_while_a_call_holds_it_goes_on_from_its_beginning(held: Log) -> None:
    worker = held.worker
    held.write((PARKED, "COMPLETECALLER|1|5|1"), ("2.2", "ENTERQUEUE||"))
    worker.callers = frozenset({Uniqueid("2.2")})
    await worker.sweeps.read_queue_log()
    assert (await worker.store.bookmark(NODE, QUEUE_LOG) or {})["offset"] != 0
    held.path.write_bytes(b"")
    held.write(("3.3", "ENTERQUEUE||"))
    await worker.sweeps.read_queue_log()
    assert (await worker.store.bookmark(NODE, QUEUE_LOG) or {})["offset"] == 0, "3.3 waits: a restart reads of them"
    held.write(("3.3", "ABANDON|1|1|5"))
    await again(worker, held.path).read_queue_log()
    assert await outcomes(worker.store) == {PARKED: Outcome.LOST, "3.3": Outcome.ABANDONED}


@pytest.mark.parametrize("at_once", [200, 10_000])
async def test_the_lines_of_a_call_that_comes_into_the_book_while_the_books_are_asked_stay(
    held: Log, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    """In blocks, and in one; its leg is in the books as another call's."""
    monkeypatch.setattr(rotated, "READ_AT_ONCE", at_once)
    worker, known, call = held.worker, held.worker.store.known_uniqueids, books.refused()
    await call.write(worker.store)
    leg = facts.caller(call.call).uniqueid
    held.pass_by(leg)
    held.pass_by("2.2")

    async def meanwhile(node: str, uniqueids: Iterable[Uniqueid]) -> frozenset[Uniqueid]:
        found = await known(node, uniqueids)
        worker.callers |= found
        return found

    monkeypatch.setattr(worker.store, "known_uniqueids", meanwhile)
    await worker.sweeps.read_queue_log()
    assert (await worker.sweeps.unseen()).passages[leg].talked_until is not None


async def test_a_call_that_outlasts_two_rotations_keeps_its_proof_and_the_mark(held: Log) -> None:
    worker = held.worker
    await worker.sweeps.read_queue_log()
    first = await worker.store.bookmark(NODE, QUEUE_LOG)
    for number in range(2):
        held.rotate()
        held.write((f"1.{5 + number}", "ENTERQUEUE||"))
        worker.callers |= {Uniqueid(f"1.{5 + number}")}
        held.pass_by(f"2.{number}")
        await worker.sweeps.read_queue_log()
    held.write((PARKED, "COMPLETECALLER|1|5|1"))
    assert (await worker.sweeps.unseen()).passages[PARKED].talked_until is not None
    kept = await worker.store.bookmark(NODE, QUEUE_LOG)
    assert first is not None
    assert kept is not None
    assert (kept["inode"], kept["offset"]) == (first["inode"], first["offset"])
    assert await outcomes(worker.store) == {"2.0": Outcome.LOST, "2.1": Outcome.LOST}


# ---- remembering and reading everything again are the same

LEGS = ("seen.1", "seen.2", "passed.1", "passed.2", "passed.3")
TIDINGS = (
    "support|NONE|ENTERQUEUE||",
    "support|NONE|ENTERQUEUE||",
    "canteen|NONE|ENTERQUEUE||",
    "support|NONE|CONNECT|1|8.8|1",
    "support|NONE|COMPLETECALLER|1|5|1",
    "support|NONE|ABANDON|1|1|5",
    "support|NONE|BLINDTRANSFER|600|house",
    "support|NONE|RINGNOANSWER|5000",
    "support|NONE|RECORDERKEY|pause|seen.2",
    "support|NONE|RECORDERTOLD|0b9f2b44-6d7c-4c53-9a55-3f1f6e2a9d01|SUCCESS|2130",
    "support|NONE|RECORDERTALK|began|8.8",
    "support|NONE|RECORDERTALK|ended|8.8",
    "support|NONE|RECORDERASKED|1|support|opt_in|1772452800000|f|1.1",
    "x",
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("line"), st.sampled_from(LEGS), st.sampled_from(TIDINGS)),
        st.tuples(st.just("line"), st.sampled_from(LEGS), st.sampled_from(TIDINGS)),
        st.tuples(st.just("over"), st.sampled_from(LEGS), st.just("")),
        st.tuples(st.just("pass"), st.just(""), st.just("")),
    ),
    max_size=40,
)


async def book(store: Catalogue, node: str, leg: Uniqueid) -> None:
    """The daemon's own word of a call, unless the log's was taken."""
    if await store.known_uniqueids(node, [leg]):
        return
    call = facts.new_call()
    channel = replace(facts.caller(call), uniqueid=leg, linkedid=Linkedid(leg))
    await store.write_step(
        call,
        [
            replace(facts.opened(call, node=node), linkedid=channel.linkedid),
            LegSeen(call=call, channel=channel, kind=PartyKind.CALLER, at=facts.NOON),
            CallEnded(call=call, ended_at=facts.NOON, outcome=Outcome.DECLINED, reason=None),
        ],
        None,
        "closed",
        ConsentState.NONE,
    )


def needed(unseen: Unseen, callers: frozenset[Uniqueid], known: frozenset[Uniqueid]) -> Unseen:
    """What of it a call in progress may ask for, or a call that is to be taken in."""
    return Unseen(
        passages={leg: passage for leg, passage in unseen.passages.items() if leg in callers},
        keys=tuple(key for key in unseen.keys if {key.presser, key.caller} & callers),
        tellings=tuple(told for told in unseen.tellings if told.caller in callers),
        asked={leg: lines for leg, lines in unseen.asked.items() if leg in callers or leg not in known},
    )


@given(STEPS, st.integers(0, 40), st.sampled_from([100, 300, 10_000]))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_however_a_log_is_read_in_passes_the_books_and_the_proofs_are_those_of_reading_it_all_again(
    store: Catalogue, tmp_path: Path, steps: list[tuple[str, str, str]], rotation: int, at_once: int
) -> None:
    """One daemon that reads on, in small blocks, beside one that starts anew at each pass and reads in one."""
    here = tmp_path / uuid4().hex
    for name in ("spool", "recordings"):
        (here / name).mkdir(mode=0o700, parents=True)
    worker = Worker(store, here / "spool", here / "recordings")
    log, (lasting, anew) = Log(worker, here / "queue_log"), (uuid4().hex, uuid4().hex)
    worker.callers = frozenset(Uniqueid(leg) for leg in LEGS if leg.startswith("seen"))
    reading = again(worker, log.path, lasting)
    try:
        for sweep in (reading, again(worker, log.path, anew)):
            await sweep.read_queue_log()
        for number, (what, leg, words) in enumerate((*steps, ("pass", "", ""))):
            if number == rotation:
                log.rotate()
            if what == "line":
                with log.path.open("a") as file:
                    file.write(f"{worker.now.timestamp():.0f}|{leg}|{words}\n")
            elif what == "over":
                worker.callers -= {leg}
                for node in (lasting, anew):
                    await book(store, node, Uniqueid(leg))
            else:
                known = await store.known_uniqueids(anew, [Uniqueid(each) for each in LEGS])
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr(rotated, "READ_AT_ONCE", at_once)
                    found = await reading.read_unseen()
                    await reading.read_queue_log()
                fresh = again(worker, log.path, anew)
                expected = await fresh.read_unseen()
                await fresh.read_queue_log()
                assert needed(found, worker.callers, known) == needed(expected, worker.callers, known)
                assert reading.pending == fresh.pending
                assert await store.bookmark(lasting, QUEUE_LOG) == await store.bookmark(anew, QUEUE_LOG)
                assert await outcomes(store, lasting) == await outcomes(store, anew)
    finally:
        worker.close()
