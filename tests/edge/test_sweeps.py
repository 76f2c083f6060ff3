"""The sweeps on a real catalogue and real disks, with a clock that a test moves: what fails stops nobody else."""

from __future__ import annotations

import wave
from collections.abc import AsyncIterator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any, cast
from uuid import uuid4

import pytest

from recorder.ami import Ami, AmiAddress, AmiDown
from recorder.call import CallEvent, RecordingEmptied, RecordingMade
from recorder.capture import CaptureDesk
from recorder.catalogue import Catalogue, CatalogueAway
from recorder.model import (
    CallId,
    ConsentMode,
    ConsentState,
    Fact,
    RecordingAuthorised,
    RecordingId,
    RecordingSettled,
    RecordingStatus,
    Uniqueid,
)
from recorder.policy import LineRules
from recorder.queue_log import QueueLog, Telling
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
    assert worker.sweeps._booked == frozenset()  # nothing is read twice any more, and so nothing is remembered
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
