"""The books: what is true balances, and each thing that is not is named."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import pytest
import sqlalchemy

from recorder import catalogue
from recorder.books import MENDS, Books, Code, balance, verify
from recorder.call import CallAdmitted, CaptureClosed, CaptureLost, ConsentAnswered, KeyPressed, Phase
from recorder.catalogue import Catalogue, WholeCall
from recorder.model import (
    CallEnded,
    CallId,
    ConsentEventId,
    ConsentMode,
    ConsentState,
    KeyAct,
    LostReason,
    Outcome,
    RecordingId,
    RecordingStatus,
)
from recorder.storage import LegFile, Storage, StorageError
from tests import books, facts
from tests.books import Story
from tests.facts import NODE, NOON, later

NOBODYS = "5e0fd3a6-1f4b-4d0c-9d0a-5f3f4f1f2c11"
LONG_AFTER = NOON + timedelta(days=1)


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return books.folders(tmp_path)


async def codes(store: Catalogue, storage: Storage, now: datetime = LONG_AFTER) -> list[Code]:
    return [item.code for item in (await verify(store, storage, node=NODE, now=now)).mismatches]


def change(url: str, statement: str, **values: Any) -> None:
    """Change the catalogue behind its back, with its own rules switched off: as somebody with a shell could."""
    engine = sqlalchemy.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(sqlalchemy.text("SET session_replication_role = replica"))
        else:
            triggers = "SELECT name FROM sqlite_master WHERE type = 'trigger'"
            for name in connection.execute(sqlalchemy.text(triggers)).scalars().all():
                connection.execute(sqlalchemy.text(f"DROP TRIGGER {name}"))
        assert connection.execute(sqlalchemy.text(statement), values).rowcount > 0
    engine.dispose()


# --------------------------------------------------------------------------- what is true


async def test_true_books_balance_and_are_counted(store: Catalogue, storage: Storage) -> None:
    stories = [
        books.agreed(storage),
        books.by_override(storage),
        books.refused(),
        books.excluded(),
        books.failed(),
        Story().admitted().hung_up(),
    ]
    for story in stories:
        await story.write(store)
    found = await verify(store, storage, node=NODE, now=LONG_AFTER)
    assert found.mismatches == []
    assert found.ok
    assert found.outcomes == {
        Outcome.RECORDED: 2,
        Outcome.DECLINED: 1,
        Outcome.EXCLUDED: 1,
        Outcome.LOST: 1,
        Outcome.ABANDONED: 1,
    }
    assert found.recordings == {RecordingStatus.SETTLED: 2, RecordingStatus.FAILED: 1}
    assert (found.calls, found.files, found.staged_files) == (6, 2, 0)
    assert found.files_of.total() == 0


@pytest.mark.parametrize("steps", range(1, 9))
async def test_a_call_in_progress_is_no_mismatch_at_any_step(store: Catalogue, storage: Storage, steps: int) -> None:
    story = Story().admitted().answered().armed().talking().hung_up()
    story.events = story.events[:steps]
    for path in storage.spool.paths(story.recording):
        books.write_wav(path)
    await story.write(store)
    expected = [] if steps >= 3 else [Code.STAGED_WITHOUT_ROW, Code.STAGED_WITHOUT_ROW]
    assert await codes(store, storage) == expected


async def test_a_recording_being_settled_is_no_mismatch(store: Catalogue, storage: Storage) -> None:
    story = books.agreed(storage)
    story.events.pop()
    await story.write(store)
    place = storage.path(story.recording, story.authorised_at)
    place.with_name(f".{story.recording}.0123abcd.staging").touch()
    assert await codes(store, storage) == []


async def test_a_call_that_only_the_queue_log_told_of_needs_no_journal(store: Catalogue, storage: Storage) -> None:
    call = facts.new_call()
    ended = CallEnded(call=call, ended_at=later(9), outcome=Outcome.LOST, reason=LostReason.RECORDER_AWAY)
    await store.write_step(call, [facts.opened(call), facts.leg(call), ended], None, "closed", ConsentState.NONE)
    assert await codes(store, storage) == []


async def test_a_recording_of_a_second_line_is_judged_by_that_lines_mode(store: Catalogue, storage: Storage) -> None:
    story = Story(mode=ConsentMode.NOTICE).admitted().answered(ConsentState.NOTICED).armed().talking()
    first, second = story.recording, RecordingId(uuid4())
    again = cast(CallAdmitted, story.events[0])
    story.events.append(replace(again, at=later(11), line="sales", mode=ConsentMode.NOT_REQUIRED))
    story.events.append(CaptureClosed(at=later(11), recording=first))
    story.events.append(
        ConsentAnswered(
            at=later(11),
            consent=ConsentEventId(uuid4()),
            channel=facts.caller(story.call),
            answer=ConsentState.NOT_REQUIRED,
            recording=second,
            basis="a contract's own clause",
        )
    )
    story.settled(storage)
    story.events.append(CaptureLost(at=later(14), recording=second, reason=LostReason.CAPTURE_FAILED))
    await story.write(store)
    (whole,) = await store.calls_after(None, 2)
    modes = {row.id: row.mode for row in whole.recordings}
    assert modes == {first: ConsentMode.NOTICE, second: ConsentMode.NOT_REQUIRED}
    assert await codes(store, storage) == []


async def test_another_nodes_calls_are_not_looked_for_on_this_disk(store: Catalogue, storage: Storage) -> None:
    story = books.agreed(storage)
    await story.write(store)
    shutil.rmtree(storage.root / "2026")
    found = await verify(store, storage, node="pbx2", now=LONG_AFTER)
    assert (found.ok, found.calls) == (True, 0)


async def test_books_of_more_calls_than_one_batch_are_read_to_the_end(store: Catalogue, storage: Storage) -> None:
    stories = [Story().admitted() for _ in range(203)]
    await asyncio.gather(*(story.write(store) for story in stories))
    said: list[tuple[str, int, int | None]] = []
    found = await verify(
        store, storage, node=NODE, now=LONG_AFTER, progress=lambda what, done, total: said.append((what, done, total))
    )
    assert (found.calls, found.open_calls) == (203, 203)
    assert ("settled recordings", 0, 0) in said


# --------------------------------------------------------------------------- what is not: the catalogue alone


@pytest.fixture(scope="module")
def calls(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, WholeCall]:
    """One call of each kind, as the catalogue gives it."""
    home = tmp_path_factory.mktemp("calls")
    storage = books.folders(home)
    stories = {
        "agreed": books.agreed(storage),
        "override": books.by_override(storage),
        "refused": books.refused(),
        "failed": books.failed(),
        "armed": Story().admitted().answered().armed(),
        "brief": Story().admitted().answered().armed().talking().gone_at_once(),
    }
    shutil.copyfile(sqlite_template, home / "catalogue.db")

    async def written() -> dict[str, WholeCall]:
        store = await catalogue.open_catalogue(f"sqlite:///{home / 'catalogue.db'}")
        for story in stories.values():
            await story.write(store)
        found = {name: await store.one_call(story.call) for name, story in stories.items()}
        await store.close()
        return {name: whole for name, whole in found.items() if whole is not None}

    return asyncio.run(written())


def call_with(whole: WholeCall, **changes: Any) -> WholeCall:
    return replace(whole, call=replace(whole.call, **changes))


def recording_with(whole: WholeCall, **changes: Any) -> WholeCall:
    return replace(whole, recordings=tuple(replace(row, **changes) for row in whole.recordings))


def consents_with(whole: WholeCall, **changes: Any) -> WholeCall:
    return replace(whole, consents=tuple(replace(row, **changes) for row in whole.consents))


MUTATIONS: list[tuple[Code, str, Callable[[WholeCall], WholeCall]]] = [
    (Code.CALL_WITHOUT_OUTCOME, "agreed", lambda it: call_with(it, outcome=None, ended_at=None)),
    (Code.CALL_ENDED_OPEN, "armed", lambda it: call_with(it, outcome=Outcome.ABANDONED, ended_at=NOON)),
    (Code.RECORDED_WITHOUT_RECORDING, "refused", lambda it: call_with(it, outcome=Outcome.RECORDED)),
    (Code.RECORDING_AGAINST_OUTCOME, "agreed", lambda it: call_with(it, outcome=Outcome.DECLINED)),
    (Code.OUTCOME_DIFFERS, "refused", lambda it: call_with(it, outcome=Outcome.ABANDONED)),
    (Code.OUTCOME_DIFFERS, "failed", lambda it: call_with(it, reason=LostReason.BUSY)),
    (Code.PHASE_DIFFERS, "armed", lambda it: call_with(it, phase=Phase.TALKING)),
    (Code.CONSENT_DIFFERS, "agreed", lambda it: call_with(it, consent=ConsentState.REFUSED)),
    (Code.JOURNAL_MISSING, "agreed", lambda it: replace(it, journal=())),
    (Code.JOURNAL_GAP, "agreed", lambda it: replace(it, journal=it.journal[:3] + it.journal[4:])),
    (Code.JOURNAL_UNREADABLE, "agreed", lambda it: replace(it, journal=it.journal[1:])),
    (
        Code.JOURNAL_UNREADABLE,
        "agreed",
        lambda it: replace(it, journal=(*it.journal, replace(it.journal[-1], seq=10, name="CallTeleported"))),
    ),
    (Code.CONSENT_EVENT_MISSING, "refused", lambda it: replace(it, consents=it.consents[:1])),
    (Code.CONSENT_EVENT_STRANGE, "refused", lambda it: consents_with(it, id=ConsentEventId(uuid4()))),
    (Code.AUTHORITY_MISSING, "agreed", lambda it: replace(it, consents=it.consents[:1])),
    (Code.AUTHORITY_MISSING, "agreed", lambda it: consents_with(it, after=ConsentState.REFUSED)),
    (Code.NOT_PERMITTED, "agreed", lambda it: recording_with(it, mode=ConsentMode.NEVER)),
    (
        Code.NOT_PERMITTED,
        "agreed",
        lambda it: consents_with(
            recording_with(it, authorising_state=ConsentState.UNANSWERED), after=ConsentState.UNANSWERED
        ),
    ),
    (Code.OVERRIDE_UNAUDITED, "override", lambda it: replace(it, audit=())),
    (
        Code.OVERRIDE_UNAUDITED,
        "override",
        lambda it: replace(it, audit=tuple(replace(act, action="override refused") for act in it.audit)),
    ),
    (Code.OVERRIDE_UNAUDITED, "override", lambda it: recording_with(it, audit=uuid4())),
    (Code.OVERRIDE_UNSEALED, "override", lambda it: recording_with(it, sealed=False)),
    (Code.OVERRIDE_WITHOUT_RECORDING, "override", lambda it: replace(it, recordings=())),
    (Code.RECORDING_MISSING, "agreed", lambda it: replace(it, recordings=())),
    (Code.RECORDING_STRANGE, "agreed", lambda it: recording_with(it, id=RecordingId(uuid4()))),
    (Code.STATUS_DIFFERS, "armed", lambda it: recording_with(it, status=RecordingStatus.STOPPED)),
    *(
        (Code.RECORDING_STUCK, "agreed", lambda it, status=status: recording_with(it, status=status))
        for status in (RecordingStatus.AUTHORISED, RecordingStatus.ARMED, RecordingStatus.STOPPED)
    ),
    (Code.FAILURE_UNACCOUNTED, "failed", lambda it: call_with(it, outcome=Outcome.DECLINED, reason=None)),
]


@pytest.mark.parametrize(
    ("code", "kind", "mutate"), MUTATIONS, ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_catalogue_that_contradicts_itself_is_caught_by_name(
    calls: dict[str, WholeCall], code: Code, kind: str, mutate: Callable[[WholeCall], WholeCall]
) -> None:
    whole = calls[kind]
    assert balance(whole) == []
    found = balance(mutate(whole))
    assert code in {item.code for item in found}
    assert {item.call for item in found} == {whole.call.id}


def test_a_failed_capture_is_accounted_for_by_an_override(calls: dict[str, WholeCall]) -> None:
    whole = calls["override"]
    lost = replace(whole.recordings[0], id=RecordingId(uuid4()), status=RecordingStatus.FAILED)
    both = replace(whole, recordings=(*whole.recordings, lost))
    assert Code.FAILURE_UNACCOUNTED not in {item.code for item in balance(both)}


def test_a_talk_too_brief_for_a_word_was_lost_to_earlier_recorders_and_is_no_mismatch(
    calls: dict[str, WholeCall],
) -> None:
    whole = calls["brief"]
    assert (whole.call.outcome, balance(whole)) == (Outcome.ABANDONED, [])
    earlier = call_with(whole, outcome=Outcome.LOST, reason=LostReason.CAPTURE_FAILED)
    assert balance(earlier) == []
    other = call_with(whole, outcome=Outcome.LOST, reason=LostReason.PBX_AWAY)
    assert Code.OUTCOME_DIFFERS in {item.code for item in balance(other)}


def test_every_code_has_a_mend() -> None:
    assert set(MENDS) == set(Code)


# --------------------------------------------------------------------------- what is not: rows and files, both engines


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("UPDATE calls SET outcome = 'declined'", Code.RECORDING_AGAINST_OUTCOME),
        ("UPDATE recordings SET sha256 = 'c'", Code.FILE_DIGEST_DIFFERS),
        ("UPDATE recordings SET samples = samples + 1", Code.FILE_SAMPLES_DIFFER),
        ("UPDATE recordings SET size = size - 1", Code.FILE_SIZE_DIFFERS),
        ("UPDATE call_events SET seq = 99 WHERE seq = 3", Code.JOURNAL_GAP),
        ("DELETE FROM call_events", Code.JOURNAL_MISSING),
        ("DELETE FROM recordings", Code.FILE_WITHOUT_ROW),
        ("DELETE FROM consent_events", Code.AUTHORITY_MISSING),
    ],
)
async def test_a_row_changed_behind_the_catalogues_back_is_caught(
    store: Catalogue, catalogue_url: str, storage: Storage, statement: str, code: Code
) -> None:
    await books.agreed(storage).write(store)
    change(catalogue_url, statement)
    assert code in await codes(store, storage)


def remove(file: Path) -> None:
    file.unlink()


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-4])


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[1000] ^= 1
    file.write_bytes(content)


def move(file: Path) -> None:
    day = file.parent.with_name("03")
    day.mkdir()
    file.rename(day / file.name)


@pytest.mark.parametrize(
    ("mutate", "expected"),
    [
        (remove, [Code.FILE_MISSING]),
        (cut, [Code.FILE_SIZE_DIFFERS]),
        (flip, [Code.FILE_DIGEST_DIFFERS]),
        (move, [Code.FILE_MISSING, Code.FILE_MISPLACED]),
    ],
)
async def test_a_settled_file_that_is_not_as_it_was_is_caught(
    store: Catalogue, storage: Storage, mutate: Callable[[Path], None], expected: list[Code]
) -> None:
    story = books.agreed(storage)
    await story.write(store)
    mutate(storage.path(story.recording, story.authorised_at))
    assert await codes(store, storage) == expected


async def test_a_settled_file_that_is_no_file_is_named_and_the_rest_is_read(store: Catalogue, storage: Storage) -> None:
    story, other = books.agreed(storage), books.agreed(storage)
    await story.write(store)
    await other.write(store)
    place = storage.path(story.recording, story.authorised_at)
    size = place.stat().st_size
    place.unlink()
    place.symlink_to(storage.path(other.recording, other.authorised_at))
    assert place.stat().st_size == size
    assert await codes(store, storage) == [Code.FILE_UNREADABLE]


@pytest.mark.parametrize(
    ("name", "code"),
    [
        (f"2026/03/02/{NOBODYS}.wav", Code.FILE_WITHOUT_ROW),
        (f"2026/03/02/.{NOBODYS}.0123abcd.staging", Code.FILE_WITHOUT_ROW),
        ("2026/03/02/call.wav", Code.FILE_NOT_OURS),
        ("notes.txt", Code.FILE_NOT_OURS),
    ],
)
async def test_a_file_in_the_store_without_a_row_is_named(
    store: Catalogue, storage: Storage, name: str, code: Code
) -> None:
    file = storage.root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    found = await verify(store, storage, node=NODE, now=LONG_AFTER)
    assert [(item.code, item.path) for item in found.mismatches] == [(code, file)]


async def test_a_settled_file_of_a_capture_that_failed_is_named(store: Catalogue, storage: Storage) -> None:
    story = books.failed()
    await story.write(store)
    file = storage.path(story.recording, story.authorised_at)
    file.parent.mkdir(parents=True)
    file.touch()
    assert await codes(store, storage) == [Code.FILE_OF_UNSETTLED]


async def test_what_a_settling_left_behind_is_named(store: Catalogue, storage: Storage) -> None:
    story = books.agreed(storage)
    await story.write(store)
    place = storage.path(story.recording, story.authorised_at)
    place.with_name(f".{story.recording}.0123abcd.staging").touch()
    assert await codes(store, storage) == [Code.STAGING_LEFT]


@pytest.mark.parametrize(
    ("tell", "code"), [(books.agreed, Code.STAGED_NOT_REMOVED), (lambda _: books.failed(), Code.STAGED_OF_FAILED)]
)
async def test_staged_files_of_no_open_recording_are_named_once_the_daemon_had_its_time(
    store: Catalogue, storage: Storage, tell: Callable[[Storage], Story], code: Code
) -> None:
    story = tell(storage)
    await story.write(store)
    books.write_wav(storage.spool.path(story.recording, LegFile.CALLER))
    assert await codes(store, storage, now=later(60)) == []
    assert await codes(store, storage) == [code]


async def test_strangers_in_the_spool_are_named(store: Catalogue, storage: Storage) -> None:
    (storage.spool.here / "core.1234").touch()
    (storage.spool.here / f"{uuid4()}-agent.wav").touch()
    assert await codes(store, storage) == [Code.FILE_NOT_OURS, Code.STAGED_WITHOUT_ROW]


async def test_audio_of_a_caller_who_declined_is_counted_against_the_negative_report(
    store: Catalogue, catalogue_url: str, storage: Storage
) -> None:
    story = books.agreed(storage)
    await story.write(store)
    change(catalogue_url, "UPDATE calls SET outcome = 'declined'")
    found = await verify(store, storage, node=NODE, now=LONG_AFTER)
    assert found.files_of == {Outcome.DECLINED: 1}
    assert Code.FILE_AGAINST_OUTCOME in {item.code for item in found.mismatches}


async def test_withdrawn_audio_that_lies_there_minutes_later_does_not_balance(
    store: Catalogue, storage: Storage
) -> None:
    story = Story().admitted().answered().armed().talking()
    presser, consent = facts.caller(story.call), ConsentEventId(uuid4())
    story.events.append(KeyPressed(at=later(11), act=KeyAct.STOP, presser=presser, consent=consent, audit=uuid4()))
    story.hung_up()  # at 12
    await story.write(store)
    for leg in LegFile:
        storage.spool.path(story.recording, leg).touch()
    assert await codes(store, storage, later(60)) == []
    assert await codes(store, storage) == [Code.ERASURE_OVERDUE]


async def test_a_store_that_is_not_mounted_is_said_once(store: Catalogue, storage: Storage) -> None:
    await books.agreed(storage).write(store)
    shutil.rmtree(storage.root)
    with pytest.raises(StorageError) as raised:
        await verify(store, storage, node=NODE, now=LONG_AFTER)
    assert raised.value.path == storage.root


def test_books_are_in_order_only_without_mismatches() -> None:
    assert Books(node=NODE).ok


async def test_a_mismatch_names_call_recording_and_path(store: Catalogue, storage: Storage) -> None:
    story = books.agreed(storage)
    await story.write(store)
    file = storage.path(story.recording, story.authorised_at)
    file.unlink()
    (item,) = (await verify(store, storage, node=NODE, now=LONG_AFTER)).mismatches
    assert (item.call, item.recording, item.path) == (CallId(story.call), story.recording, file)
    assert item.mend == MENDS[Code.FILE_MISSING]
