"""Files that no recording claims: what may become of each, on a real catalogue and real disks, and what is written."""

from __future__ import annotations

import os
import shutil
import wave
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import sqlalchemy

from recorder.adoption import Found, NotAdopted, Orphanage, Word
from recorder.books import Code, verify
from recorder.books.adoption import ERASABLE, QUARANTINABLE, Fate
from recorder.call import CallAdmitted, KeyPressed, RecordingUnmade
from recorder.capture import FRAME, OPENING
from recorder.catalogue import Catalogue, FileAction
from recorder.model import ConsentEventId, ConsentState, KeyAct, LostReason, Outcome, RecordingId, RecordingStatus
from recorder.storage import LegFile, Settled, Storage, StorageError, Strays
from tests import books, facts
from tests.books import SECONDS, Story
from tests.edge.test_books import LONG_AFTER, NOBODYS, change
from tests.facts import NODE, later

WORD = Word(actor="ada", reason="the disk was full")


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return books.folders(tmp_path)


@pytest.fixture
def orphanage(store: Catalogue, storage: Storage) -> Orphanage:
    return Orphanage(store, storage, node=NODE, now=lambda: LONG_AFTER)


def unmade(answer: ConsentState = ConsentState.GIVEN) -> Story:
    """Captured, and not settled: the disk was full."""
    story = Story().admitted().answered(answer).armed().talking().hung_up()
    reason = LostReason.SETTLE_FAILED
    story.events.append(RecordingUnmade(at=later(13), recording=story.recording, reason=reason))
    return story


def staged(storage: Storage, recording: RecordingId) -> tuple[Path, Path]:
    paths = storage.spool.paths(recording)
    for path in paths:
        books.write_wav(path)
    return paths


async def only(orphanage: Orphanage) -> Found:
    (one,) = await orphanage.found()
    return one


async def codes(store: Catalogue, storage: Storage) -> list[Code]:
    return [item.code for item in (await verify(store, storage, node=NODE, now=LONG_AFTER)).mismatches]


# --------------------------------------------------------------------------- what was authorised


async def test_a_capture_that_could_not_be_settled_is_settled_on_a_persons_word(
    store: Catalogue, storage: Storage, orphanage: Orphanage
) -> None:
    story = unmade()
    await story.write(store)
    staged(storage, story.recording)
    orphan = await only(orphanage)
    assert orphan.verdict.fate is Fate.SETTLE
    await orphanage.adopt(orphan, WORD)

    whole = await store.one_call(story.call)
    assert whole is not None
    (row,) = whole.recordings
    assert (row.status, row.samples) == (RecordingStatus.SETTLED, SECONDS * 8000)
    assert row.sha256 == storage.digest(row.id, row.authorised_at)
    assert whole.call.outcome is Outcome.LOST  # how the call ended is not written anew
    (act,) = whole.audit
    assert (act.actor, act.action, act.recording) == ("ada", "adopt", row.id)
    assert act.details["reason"] == "the disk was full"
    assert list(storage.spool.leftovers()) == []
    assert await codes(store, storage) == []
    assert await orphanage.found() == []


async def test_what_lies_beyond_the_permitted_bridge_is_silence_in_what_is_adopted(
    store: Catalogue, storage: Storage, orphanage: Orphanage, catalogue_url: str
) -> None:
    story = unmade()
    await story.write(store)
    change(catalogue_url, "UPDATE recordings SET bridged_seconds = 1.0")
    staged(storage, story.recording)
    await orphanage.adopt(await only(orphanage), WORD)
    (row,) = (await store.recordings_named([story.recording])).values()
    sound = storage.path(row.id, row.authorised_at).read_bytes()[44:]
    opening, proved = round(OPENING * 8000), round((1.0 - FRAME) * 8000)
    assert set(sound[2 : 4 * opening : 4] + sound[3 : 4 * opening : 4]) == {0}  # of the agent's direction
    assert sound[4 * opening : 4 * proved].count(b"\0") == 0
    assert sound[4 * 8000 :].strip(b"\0") == b""


async def test_what_was_paused_is_silence_in_what_is_adopted(
    store: Catalogue, storage: Storage, orphanage: Orphanage
) -> None:
    story = unmade()
    first = story.events[0]
    assert isinstance(first, CallAdmitted)
    story.events[0] = replace(first, preroll_seconds=1.0)
    consent, presser = ConsentEventId(uuid4()), facts.agent(story.call)
    pause = KeyPressed(at=later(11.5), act=KeyAct.PAUSE, presser=presser, consent=consent, audit=uuid4())
    story.events.insert(-2, pause)  # bridged at 10, hung up at 12
    await story.write(store)
    staged(storage, story.recording)
    await orphanage.adopt(await only(orphanage), WORD)
    (row,) = (await store.recordings_named([story.recording])).values()
    sound = storage.path(row.id, row.authorised_at).read_bytes()[44:]
    assert sound[4 * 4000 :].strip(b"\0") == b""  # from 0.5 s, where the pre-roll begins
    assert sound[4 * 800 : 4 * 3000].count(b"\0") == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act for another user")
@pytest.mark.parametrize("what", ["settled", "put back", "put away"])
async def test_what_root_makes_in_the_store_is_the_recorders_own(
    store: Catalogue, storage: Storage, orphanage: Orphanage, what: str
) -> None:
    recorders = 4573  # the command is root's
    for folder in (storage.root, storage.spool.here):
        os.chown(folder, recorders, recorders)
    if what == "settled":
        story = unmade()
        await story.write(store)
        staged(storage, story.recording)
        await orphanage.adopt(await only(orphanage), WORD)
    elif what == "put back":
        story = books.agreed(storage)
        await story.write(store)
        place = storage.path(story.recording, story.authorised_at)
        elsewhere = storage.root / "2001" / "01" / "01" / place.name
        elsewhere.parent.mkdir(parents=True)
        place.rename(elsewhere)
        shutil.rmtree(storage.root / place.relative_to(storage.root).parts[0])
        await orphanage.adopt(await only(orphanage), WORD)
    else:
        staged(storage, RecordingId(UUID(NOBODYS)))
        await orphanage.quarantine(await only(orphanage), WORD)
    files = [path for path in storage.root.rglob("*") if path.is_file()]
    assert files
    made = {each for path in files for each in (path, *path.parents) if each.is_relative_to(storage.root)}
    assert {(path.stat().st_uid, path.stat().st_gid) for path in made} == {(recorders, recorders)}
    assert all(path.stat().st_mode & 0o077 == 0 for path in made)


class Killed(Exception):
    """The program ends here."""


class Unsettling(Storage):
    """A store at which the program is killed before it settles."""

    def settle(self, *_: object, **__: object) -> Settled:
        raise Killed


def killed_at(look: int) -> Callable[[], datetime]:
    """A clock at whose so-manieth look the program is killed."""
    looks = iter(range(1, 100))

    def now() -> datetime:
        if next(looks) == look:
            raise Killed
        return LONG_AFTER

    return now


@pytest.mark.parametrize("cut", ["after the intention", "after the file"])
async def test_an_adoption_that_was_cut_is_said_again_and_done_once(
    store: Catalogue, storage: Storage, orphanage: Orphanage, cut: str
) -> None:
    story = unmade()
    await story.write(store)
    staged(storage, story.recording)
    if cut == "after the intention":
        dying = Orphanage(store, Unsettling(storage.root, storage.spool), node=NODE, now=lambda: LONG_AFTER)
    else:
        dying = Orphanage(store, storage, node=NODE, now=killed_at(3))  # the list, the intention, the result
    with pytest.raises(Killed):
        await dying.adopt(await only(dying), WORD)
    assert storage.path(story.recording, story.authorised_at).exists() == (cut == "after the file")
    await orphanage.adopt(await only(orphanage), WORD)
    whole = await store.one_call(story.call)
    assert whole is not None
    assert len(whole.audit) == 1
    assert await codes(store, storage) == []


async def test_a_settled_file_found_elsewhere_is_put_back(
    store: Catalogue, storage: Storage, orphanage: Orphanage
) -> None:
    story = books.agreed(storage)
    await story.write(store)
    place = storage.path(story.recording, story.authorised_at)
    elsewhere = storage.root / "2025/01/01" / place.name
    elsewhere.parent.mkdir(parents=True)
    place.rename(elsewhere)
    orphan = await only(orphanage)
    assert orphan.verdict.fate is Fate.RESTORE
    await orphanage.adopt(orphan, WORD)
    assert place.exists()
    assert await codes(store, storage) == []


async def test_what_was_paused_is_silent_in_what_is_adopted(
    store: Catalogue, storage: Storage, orphanage: Orphanage, catalogue_url: str
) -> None:
    story = unmade()
    await story.write(store)
    staged(storage, story.recording)
    pause = '[{"cause": "pause", "from_seconds": 0.5, "to_seconds": 0.9, "actor": "PJSIP/alice"}]'
    change(catalogue_url, f"UPDATE recordings SET silences = '{pause}'")
    await orphanage.adopt(await only(orphanage), WORD)
    with wave.open(str(storage.path(story.recording, story.authorised_at))) as sound:
        frames = sound.readframes(sound.getnframes())
    assert not any(frames[4 * 3200 : 4 * 5600])
    assert any(frames[4 * 3100 : 4 * 3200])
    assert await codes(store, storage) == []


async def test_a_second_copy_is_no_recording_and_may_go(
    store: Catalogue, storage: Storage, orphanage: Orphanage
) -> None:
    story = books.agreed(storage)
    await story.write(store)
    place = storage.path(story.recording, story.authorised_at)
    copy = storage.root / "2025/01/01" / place.name
    copy.parent.mkdir(parents=True)
    shutil.copy(place, copy)
    orphan = await only(orphanage)
    assert orphan.verdict.fate is Fate.COPY
    with pytest.raises(NotAdopted):
        await orphanage.adopt(orphan, WORD)
    await orphanage.erase(orphan, WORD)
    assert (copy.exists(), place.exists()) == (False, True)


async def test_one_direction_alone_becomes_no_recording_and_is_not_erased(
    store: Catalogue, storage: Storage, orphanage: Orphanage
) -> None:
    story = unmade()
    await story.write(store)
    staged(storage, story.recording)[0].unlink()
    orphan = await only(orphanage)
    assert orphan.verdict.fate is Fate.BROKEN
    for deed in (orphanage.adopt, orphanage.erase):
        with pytest.raises(NotAdopted):
            await deed(orphan, WORD)
    assert storage.spool.path(story.recording, LegFile.AGENT).exists()


@pytest.mark.parametrize("fate", [Fate.SETTLE, Fate.WAIT, Fate.RESTORE])
def test_what_is_authorised_and_whole_is_neither_put_away_nor_erased(fate: Fate) -> None:
    assert fate not in QUARANTINABLE | ERASABLE


# --------------------------------------------------------------------------- what nothing authorises


async def test_a_file_whose_recording_nobody_knows_never_becomes_one(
    store: Catalogue, storage: Storage, orphanage: Orphanage
) -> None:
    staged(storage, RecordingId(UUID(NOBODYS)))
    orphan = await only(orphanage)
    assert orphan.verdict.fate is Fate.UNAUTHORISED
    with pytest.raises(NotAdopted, match="nothing authorises it"):
        await orphanage.adopt(orphan, WORD)
    assert await store.calls_after(None, 1) == ()


async def test_what_nothing_authorises_is_put_into_quarantine_with_two_rows(
    store: Catalogue, storage: Storage, orphanage: Orphanage
) -> None:
    strange = storage.spool.here / "in-1772452900.7.wav"
    books.write_wav(strange)
    before = Strays(storage).fingerprint(strange)
    (place,) = await orphanage.quarantine(await only(orphanage), WORD)
    assert not strange.exists()
    assert (Strays(storage).fingerprint(place), place.stat().st_mode & 0o777) == (before, 0o600)
    acts = await store.file_acts_of([UUID(place.name)])
    assert [act.action for act in acts] == [FileAction.QUARANTINING, FileAction.QUARANTINED]
    assert {(act.actor, act.reason, act.path, act.sha256) for act in acts} == {
        ("ada", "the disk was full", str(strange), before[1])
    }
    found = await verify(store, storage, node=NODE, now=LONG_AFTER)
    assert (found.ok, found.files, found.quarantined_files) == (True, 0, 1)
    assert await orphanage.found() == []


async def test_nobody_puts_a_file_into_quarantine_in_silence(store: Catalogue, storage: Storage) -> None:
    (storage.root / "quarantine").mkdir()
    (storage.root / "quarantine" / str(uuid4())).write_bytes(b"RIFF")
    assert await codes(store, storage) == [Code.FILE_NOT_OURS]


async def test_an_erasure_is_written_before_and_after(
    storage: Storage, orphanage: Orphanage, catalogue_url: str
) -> None:
    paths = staged(storage, RecordingId(UUID(NOBODYS)))
    await orphanage.erase(await only(orphanage), WORD)
    assert not any(path.exists() for path in paths)
    engine = sqlalchemy.create_engine(catalogue_url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        rows = connection.execute(sqlalchemy.text("SELECT action, path FROM file_acts ORDER BY seq")).all()
        assert rows == [(action, str(path)) for path in sorted(paths) for action in ("erasing", "erased")]
    engine.dispose()


async def test_where_the_act_cannot_be_written_nothing_is_erased(
    store: Catalogue, storage: Storage, orphanage: Orphanage
) -> None:
    paths = staged(storage, RecordingId(UUID(NOBODYS)))
    orphan = await only(orphanage)
    await store.close()
    with pytest.raises(RuntimeError):
        await orphanage.erase(orphan, WORD)
    assert all(path.exists() for path in paths)


@pytest.mark.parametrize(
    ("what", "statement"),
    [
        ("it was withdrawn", "UPDATE calls SET consent = 'withdrawn'"),
        ("it is excluded", "UPDATE calls SET outcome = 'excluded', reason = NULL"),
        ("it was declined", "UPDATE calls SET outcome = 'declined', reason = NULL"),
        ("nobody permitted was bridged", "UPDATE recordings SET bridged_at = NULL"),
        ("the answer is another", "UPDATE consent_events SET after = 'refused' WHERE after = 'given'"),
        ("the journal does not know it", "DELETE FROM call_events WHERE name = 'ConsentAnswered'"),
    ],
)
async def test_consent_comes_first(
    store: Catalogue, storage: Storage, orphanage: Orphanage, catalogue_url: str, what: str, statement: str
) -> None:
    story = unmade()
    await story.write(store)
    staged(storage, story.recording)
    change(catalogue_url, statement)
    orphan = await only(orphanage)
    assert orphan.verdict.fate is Fate.UNAUTHORISED, what
    with pytest.raises(NotAdopted):
        await orphanage.adopt(orphan, WORD)
    assert list(storage.walk()) == []


async def test_what_a_running_recorder_will_do_is_left_to_it(
    store: Catalogue, storage: Storage, orphanage: Orphanage
) -> None:
    story = books.agreed(storage)
    await story.write(store)
    staged(storage, story.recording)
    orphan = await only(orphanage)
    assert orphan.verdict.fate is Fate.WAIT
    for deed in (orphanage.adopt, orphanage.quarantine, orphanage.erase):
        with pytest.raises(NotAdopted):
            await deed(orphan, WORD)


# --------------------------------------------------------------------------- where it may act


def test_only_plain_files_of_store_and_spool_are_touched(storage: Storage, tmp_path: Path) -> None:
    outside = tmp_path / "outside.wav"
    outside.touch()
    link = storage.spool.here / "link.wav"
    link.symlink_to(outside)
    strays = Strays(storage)
    for path in (outside, link, storage.spool.here / ".." / "outside.wav", storage.spool.here, storage.root / "none"):
        with pytest.raises(StorageError):
            strays.erase(path)
        with pytest.raises(StorageError):
            strays.quarantine(path, uuid4())
    assert outside.exists()


def test_a_file_is_carried_over_a_file_systems_border(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    path = storage.spool.here / "strange.wav"
    books.write_wav(path)
    before = path.read_bytes()
    rename = Path.rename

    def across(self: Path, target: Path) -> Path:
        if self == path:
            raise OSError(18, "Invalid cross-device link")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", across)
    place = Strays(storage).quarantine(path, uuid4())
    assert (place.read_bytes(), path.exists()) == (before, False)
    assert [found.path for found in storage.walk()] == [place]


def test_a_taken_place_is_not_written_over(storage: Storage) -> None:
    recording = RecordingId(uuid4())
    place = storage.path(recording, later(0))
    place.parent.mkdir(parents=True)
    place.write_bytes(b"one")
    path = storage.spool.here / "strange.wav"
    path.write_bytes(b"other")
    with pytest.raises(StorageError):
        Strays(storage).restore(path, recording, later(0))
    assert (place.read_bytes(), path.exists()) == (b"one", True)
