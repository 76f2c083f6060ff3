"""Recordings on a real disk: staged files as Asterisk leaves them, settled files as an independent reader sees them."""

from __future__ import annotations

import hashlib
import math
import os
import struct
import subprocess
import wave
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Barrier
from uuid import UUID, uuid4

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recorder.model import RecordingId
from recorder.quality import Finding, assess
from recorder.storage import (
    Edges,
    FoundKind,
    LegFile,
    ProblemKind,
    RecordingTooLong,
    Settled,
    SettledFileDamaged,
    SettledFileDiffers,
    SettledFileMissing,
    Spool,
    StagedFileDamaged,
    StagedFileMissing,
    StagedFilesEmpty,
    Storage,
    StorageFull,
    StorageRefused,
    StorageUnavailable,
    file_system_kind,
    is_closed,
    repair_header,
)
from recorder.storage.settled import ATTEMPTS, _attempt
from tests.small_disk import small_disk

Wav = npt.NDArray[np.int16]
AT = datetime(2026, 3, 9, 23, 30, tzinfo=UTC)
RECORDING = RecordingId(UUID("0b9f2b44-6d7c-4c53-9a55-3f1f6e2a9d01"))
on_disk = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    here = tmp_path / "spool"
    here.mkdir(mode=0o700)
    return Spool(here)


@pytest.fixture
def storage(tmp_path: Path, spool: Spool) -> Storage:
    root = tmp_path / "recordings"
    root.mkdir(mode=0o700)
    return Storage(root, spool)


@pytest.fixture
def cramped_disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", "1m") as place:
        yield place


def noise(samples: int, seed: int = 1) -> Wav:
    return np.random.default_rng(seed).integers(-32768, 32768, samples).astype(np.int16)


def put_wav(path: Path, samples: Wav, *, rate: int = 8000) -> Path:
    """Write a mono WAV with the standard library, not with the code under test."""
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(samples.astype("<i2").tobytes())
    return path


def put_staged(spool: Spool, caller: Wav, agent: Wav, recording: RecordingId = RECORDING) -> None:
    for leg, samples in ((LegFile.CALLER, caller), (LegFile.AGENT, agent)):
        put_wav(spool.path(recording, leg), samples)


def set_sizes(path: Path, *, riff: int, data: int) -> None:
    with path.open("r+b") as file:
        file.seek(4)
        file.write(struct.pack("<I", riff))
        file.seek(40)
        file.write(struct.pack("<I", data))


def read_wav(path: Path) -> Wav:
    """Read with the standard library's wave, which believes the header and nothing else; shape (n, channels)."""
    with wave.open(str(path), "rb") as file:
        raw = file.readframes(file.getnframes())
        return np.frombuffer(raw, "<i2").reshape(-1, file.getnchannels())


def snapshot(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# --------------------------------------------------------------------------- names


def test_a_settled_path_is_the_day_in_utc_and_the_id(storage: Storage) -> None:
    toronto = AT.astimezone(timezone(-timedelta(hours=4)))
    expected = storage.root / "2026/03/09" / f"{RECORDING}.wav"
    assert storage.path(RECORDING, AT) == storage.path(RECORDING, toronto) == expected


def test_a_naive_time_has_no_path(storage: Storage) -> None:
    with pytest.raises(ValueError, match="naive"):
        storage.path(RECORDING, AT.replace(tzinfo=None))


def test_nothing_but_a_uuid_becomes_part_of_a_path(storage: Storage, spool: Spool) -> None:
    hostile = RecordingId("../../etc/passwd")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="UUID"):
        storage.path(hostile, AT)
    with pytest.raises(ValueError, match="UUID"):
        spool.path(hostile, LegFile.CALLER)


# --------------------------------------------------------------------------- staged files


def test_a_capture_that_was_never_armed_has_nothing_staged(spool: Spool) -> None:
    assert spool.staged(RECORDING) is None
    assert not spool.has_only_headers(RECORDING)


def test_a_capture_under_way_is_whole_and_not_closed(spool: Spool) -> None:
    put_staged(spool, noise(16384), noise(16384))
    for path in spool.paths(RECORDING):
        set_sizes(path, riff=0, data=0)
    staged = spool.staged(RECORDING)
    assert staged is not None
    assert (staged.sizes, staged.is_whole, staged.is_closed) == ((32812, 32812), True, False)


def test_a_capture_that_asterisk_finished_is_closed(spool: Spool) -> None:
    put_staged(spool, noise(100), noise(90))
    staged = spool.staged(RECORDING)
    assert staged is not None
    assert (staged.is_whole, staged.is_closed) == (True, True)


def test_one_direction_alone_is_neither_whole_nor_closed(spool: Spool) -> None:
    put_wav(spool.path(RECORDING, LegFile.AGENT), noise(100))
    staged = spool.staged(RECORDING)
    assert staged is not None
    assert (staged.caller, staged.sizes, staged.is_whole, staged.is_closed) == (None, (0, 244), False, False)


def test_a_file_shorter_than_a_header_is_neither_whole_nor_closed(spool: Spool) -> None:
    put_staged(spool, noise(100), noise(100))
    spool.path(RECORDING, LegFile.CALLER).write_bytes(b"RIFF")
    staged = spool.staged(RECORDING)
    assert staged is not None
    assert (staged.sizes, staged.is_whole, staged.is_closed) == ((4, 244), False, False)


@pytest.mark.parametrize("closed", [True, False])
def test_headers_without_a_sample_are_told_from_audio(spool: Spool, closed: bool) -> None:
    put_staged(spool, noise(0), noise(0))
    if not closed:
        for path in spool.paths(RECORDING):
            set_sizes(path, riff=0, data=0)
    assert spool.has_only_headers(RECORDING)
    put_wav(spool.path(RECORDING, LegFile.AGENT), noise(1))
    assert not spool.has_only_headers(RECORDING)


def test_discarding_removes_both_and_nothing_else_and_may_be_said_again(spool: Spool) -> None:
    other = RecordingId(uuid4())
    put_staged(spool, noise(10), noise(10))
    put_staged(spool, noise(10), noise(10), other)
    assert [spool.discard(RECORDING), spool.discard(RECORDING)] == [2, 0]
    assert sorted(path.name for path in spool.here.iterdir()) == sorted(path.name for path in spool.paths(other))


def test_erasing_removes_every_file_of_the_recording_and_no_other_and_may_be_said_again(
    storage: Storage, spool: Spool
) -> None:
    other = RecordingId(uuid4())
    for recording in (RECORDING, other):
        put_staged(spool, noise(800), noise(800, 2), recording)
        storage.settle(recording, AT)
    cut = storage.path(RECORDING, AT).with_name(f".{RECORDING}.0badcafe.staging")
    cut.write_bytes(b"RIFF")

    assert storage.erase(RECORDING, AT) == 4
    assert storage.erase(RECORDING, AT) == 0
    assert [found.recording for found in storage.walk()] == [other]
    assert {left.recording for left in spool.leftovers()} == {other}


@pytest.mark.parametrize("folder", ["spool", "recordings"])
def test_what_lies_on_a_disk_that_is_away_is_not_called_erased(
    storage: Storage, spool: Spool, tmp_path: Path, folder: str
) -> None:
    put_staged(spool, noise(800), noise(800, 2))
    storage.settle(RECORDING, AT)
    away = {"spool": spool.here, "recordings": storage.root}[folder]
    away.rename(tmp_path / "away")
    with pytest.raises(StorageUnavailable, match="is not there"):
        storage.erase(RECORDING, AT)


def test_discarding_what_a_crash_left_of_a_discard_is_fine(spool: Spool) -> None:
    put_staged(spool, noise(10), noise(10))
    spool.path(RECORDING, LegFile.CALLER).unlink()
    assert spool.discard(RECORDING) == 1


def test_what_the_settled_file_is_silent_of_is_overwritten_before_its_blocks_are_free(spool: Spool) -> None:
    """Read through handles that were open before: what stays on a disk of an unlinked file."""
    sound = noise(3 * 8000)
    put_staged(spool, sound, sound)
    set_sizes(spool.path(RECORDING, LegFile.AGENT), riff=0, data=0)  # as one that was killed leaves it
    held = [path.open("rb") for path in spool.paths(RECORDING)]
    spool.overwrite(RECORDING, ((0.5, 1.25), (2.0, math.inf)))
    assert spool.discard(RECORDING) == 2
    expected = sound.copy()
    expected[4000:10000] = 0
    expected[16000:] = 0
    for file in held:
        with file:
            assert file.read()[44:] == expected.tobytes()


def test_of_a_staged_file_without_a_header_everything_is_overwritten(spool: Spool) -> None:
    put_staged(spool, noise(8000), noise(8000))
    damaged = spool.path(RECORDING, LegFile.CALLER)
    damaged.write_bytes(b"what was said" * 10_000)
    with damaged.open("rb") as held:
        spool.overwrite(RECORDING, ((0.0, 0.1),))
        assert held.read() == bytes(130_000)


@contextmanager
def another_user(uid: int, gid: int) -> Iterator[None]:
    """For a moment: root is refused nothing."""
    os.setegid(gid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_a_staged_file_that_is_not_ours_to_write_is_removed_all_the_same() -> None:
    """Asterisk's files with umask 0027, in a folder of the daemon's group, which may only read them."""
    with TemporaryDirectory() as folder:
        here = Path(folder)
        spool = Spool(here)
        put_staged(spool, noise(8000), noise(8000))
        for path in (*spool.paths(RECORDING), here):
            os.chown(path, 5060, 4573)
            path.chmod(0o2770 if path == here else 0o640)
        with another_user(4573, 4573):
            with pytest.raises(StorageRefused, match="ermission denied"):
                spool.overwrite(RECORDING, ((0.0, 0.5),))
            assert spool.discard(RECORDING) == 2
        assert list(here.iterdir()) == []


def test_leftovers_name_the_recording_and_strangers_are_told_and_kept(spool: Spool) -> None:
    put_staged(spool, noise(10), noise(10))
    strange = [f"{RECORDING}.wav", f"{RECORDING}-caller.wav.bak", f"{str(RECORDING).upper()}-agent.wav", "notes"]
    for name in strange:
        (spool.here / name).write_bytes(b"x")
    before = snapshot(spool.here)
    found = {each.path.name: (each.recording, each.leg) for each in spool.leftovers()}
    assert found == {
        f"{RECORDING}-caller.wav": (RECORDING, LegFile.CALLER),
        f"{RECORDING}-agent.wav": (RECORDING, LegFile.AGENT),
    } | dict.fromkeys(strange, (None, None))
    assert snapshot(spool.here) == before


def test_a_link_or_a_pipe_under_a_staged_name_is_refused_at_once(storage: Storage, spool: Spool) -> None:
    put_staged(spool, noise(10), noise(10))
    caller = spool.path(RECORDING, LegFile.CALLER)
    elsewhere = caller.rename(spool.here / "elsewhere.wav")
    caller.symlink_to(elsewhere)
    with pytest.raises(StagedFileDamaged, match="not a regular file"):
        storage.settle(RECORDING, AT)
    caller.unlink()
    os.mkfifo(caller)
    with pytest.raises(StagedFileDamaged, match="not a regular file"):
        storage.settle(RECORDING, AT)


# --------------------------------------------------------------------------- header repair


@pytest.mark.parametrize(
    ("riff", "data"),
    [(0, 0), (0xFFFFFFFF, 0xFFFFFFFF), (0x7FFFFFFF, 0x7FFFFFFF), (136, 100), (2036, 100), (36, 0), (2036, 0)],
)
def test_wrong_sizes_are_put_right_and_the_original_ones_returned(tmp_path: Path, riff: int, data: int) -> None:
    path = put_wav(tmp_path / "a.wav", noise(1000))
    right = path.read_bytes()
    set_sizes(path, riff=riff, data=data)
    assert not is_closed(path)
    repair = repair_header(path)
    assert repair is not None
    assert (repair.name, repair.original, repair.lost_bytes) == ("a.wav", struct.pack("<II", riff, data), 0)
    assert path.read_bytes() == right
    assert is_closed(path)


def test_a_right_file_is_not_written_to(tmp_path: Path) -> None:
    path = put_wav(tmp_path / "a.wav", noise(1000))
    os.utime(path, ns=(1, 1))
    assert repair_header(path) is None
    assert path.stat().st_mtime_ns == 1


def test_a_right_file_with_chunks_after_its_audio_is_right(tmp_path: Path) -> None:
    path = put_wav(tmp_path / "a.wav", noise(1000))
    with path.open("ab") as file:
        file.write(struct.pack("<4sI4s", b"LIST", 3, b"abc\0"))
    set_sizes(path, riff=2048, data=2000)
    before = path.read_bytes()
    assert is_closed(path)
    assert repair_header(path) is None
    assert path.read_bytes() == before


def test_chunks_before_the_audio_are_walked_over(tmp_path: Path) -> None:
    plain = put_wav(tmp_path / "a.wav", noise(1000)).read_bytes()
    path = tmp_path / "b.wav"
    path.write_bytes(plain[:36] + struct.pack("<4sI4s", b"note", 3, b"abc\0") + plain[36:40] + bytes(4) + plain[44:])
    assert repair_header(path) is not None
    assert (read_wav(path)[:, 0] == noise(1000)).all()


def test_silence_after_a_size_of_zero_is_audio_and_not_chunks(tmp_path: Path) -> None:
    path = put_wav(tmp_path / "a.wav", np.zeros(100, np.int16))
    set_sizes(path, riff=236, data=0)
    assert repair_header(path) is not None
    assert len(read_wav(path)) == 100


@on_disk
@given(samples=st.integers(0, 300), cut=st.integers(0, 700), unclosed=st.booleans())
def test_any_truncation_is_repaired_to_the_whole_samples_that_are_there(
    tmp_path: Path, samples: int, cut: int, unclosed: bool
) -> None:
    path = put_wav(tmp_path / "a.wav", noise(samples))
    if unclosed:
        set_sizes(path, riff=0, data=0)
    size = min(cut, path.stat().st_size)
    os.truncate(path, size)
    before = path.read_bytes()
    if size < 44:
        with pytest.raises(StagedFileDamaged):
            repair_header(path)
        assert path.read_bytes() == before
        return
    repair_header(path)
    assert is_closed(path)
    assert repair_header(path) is None
    assert (read_wav(path)[:, 0] == noise(samples)[: (size - 44) // 2]).all()
    assert path.stat().st_size == size - size % 2


@on_disk
@given(junk=st.binary(max_size=200))
def test_junk_is_refused_or_read_and_never_half_changed(tmp_path: Path, junk: bytes) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(junk)
    with pytest.raises(StagedFileDamaged, match=r"a\.wav"):
        repair_header(path)
    assert path.read_bytes() == junk


@pytest.mark.parametrize(
    ("at", "value", "said"),
    [
        (0, b"RIFX", "no RIFF/WAVE header at byte 0"),
        (12, b"fmtx", "the data chunk at byte 36 has no fmt chunk"),
        (20, b"\x31\x00", "format 49"),
        (34, b"\x08\x00", "8 bits"),
        (22, b"\x00\x00", "0 channels"),
        (24, b"\x00\x00\x00\x00", "0 Hz"),
        (36, b"dada", "no data chunk"),
    ],
)
def test_a_damaged_header_is_named_with_its_place(tmp_path: Path, at: int, value: bytes, said: str) -> None:
    path = put_wav(tmp_path / "a.wav", noise(100))
    with path.open("r+b") as file:
        file.seek(at)
        file.write(value)
    with pytest.raises(StagedFileDamaged, match=said) as refused:
        repair_header(path)
    assert (refused.value.code, refused.value.path) == ("staged_file_damaged", path)
    assert refused.value.mend in str(refused.value)


# --------------------------------------------------------------------------- settling


def test_the_settled_file_has_the_caller_left_and_the_agent_right(storage: Storage, spool: Spool) -> None:
    caller, agent = noise(170_000, 1), noise(170_000, 2)
    put_staged(spool, caller, agent)
    settled = storage.settle(RECORDING, AT)
    assert (read_wav(settled.path) == np.column_stack((caller, agent))).all()
    assert (settled.samples, settled.rate, settled.size) == (170_000, 8000, 44 + 4 * 170_000)
    assert settled.sha256 == hashlib.sha256(settled.path.read_bytes()).hexdigest()
    assert (settled.repairs, settled.legs_unequal_seconds) == ((), 0.0)


def test_the_settled_file_and_its_folders_are_closed_to_others(storage: Storage, spool: Spool) -> None:
    put_staged(spool, noise(10), noise(10))
    path = storage.settle(RECORDING, AT).path
    assert path.stat().st_mode & 0o777 == 0o600
    assert {folder.stat().st_mode & 0o777 for folder in list(path.parents)[:3]} == {0o700}


def test_settling_leaves_the_staged_files_as_they_are(storage: Storage, spool: Spool) -> None:
    put_staged(spool, noise(500), noise(400))
    set_sizes(spool.path(RECORDING, LegFile.CALLER), riff=0, data=0)
    before = snapshot(spool.here)
    storage.settle(RECORDING, AT)
    assert snapshot(spool.here) == before


@on_disk
@given(caller=st.integers(0, 400), agent=st.integers(0, 400))
def test_the_shorter_direction_is_padded_with_exact_zeros(
    storage: Storage, spool: Spool, caller: int, agent: int
) -> None:
    recording = RecordingId(uuid4())
    put_staged(spool, noise(caller, 1), noise(agent, 2), recording)
    if not caller and not agent:
        with pytest.raises(StagedFilesEmpty):
            storage.settle(recording, AT)
        return
    settled = storage.settle(recording, AT)
    left, right = read_wav(settled.path).T
    assert (left[:caller] == noise(caller, 1)).all()
    assert (right[:agent] == noise(agent, 2)).all()
    assert not left[caller:].any()
    assert not right[agent:].any()
    assert len(left) == settled.samples == max(caller, agent)
    assert settled.legs_unequal_seconds == abs(caller - agent) / 8000


def test_padding_reaches_over_whole_blocks(storage: Storage, spool: Spool) -> None:
    put_staged(spool, noise(250_000, 1), noise(70_000, 2))
    left, right = read_wav(storage.settle(RECORDING, AT).path).T
    assert (left == noise(250_000, 1)).all()
    assert (right[:70_000] == noise(70_000, 2)).all()
    assert not right[70_000:].any()


def test_what_a_killed_asterisk_left_is_settled_whole_and_told(storage: Storage, spool: Spool) -> None:
    put_staged(spool, noise(16384, 1), noise(16384, 2))
    for path in spool.paths(RECORDING):
        set_sizes(path, riff=0, data=0)
    settled = storage.settle(RECORDING, AT)
    assert (read_wav(settled.path) == np.column_stack((noise(16384, 1), noise(16384, 2)))).all()
    assert [(repair.name, repair.original) for repair in settled.repairs] == [
        (path.name, bytes(8)) for path in spool.paths(RECORDING)
    ]
    measures = storage.measure(RECORDING, AT)
    found = assess(measures, bridged_seconds=4.1, file=settled.file_state)
    assert Finding.HEADER_REPAIRED in found
    assert Finding.SHORTER_THAN_BRIDGE in found


def test_a_tail_that_the_header_promised_is_told_as_lost(storage: Storage, spool: Spool) -> None:
    put_staged(spool, noise(1000), noise(1000))
    os.truncate(spool.path(RECORDING, LegFile.AGENT), 1043)
    settled = storage.settle(RECORDING, AT)
    assert [repair.lost_bytes for repair in settled.repairs] == [2000 - 998]
    assert settled.file_state.tail_lost
    assert settled.legs_unequal_seconds == 501 / 8000


def test_directions_of_different_rates_are_refused(storage: Storage, spool: Spool) -> None:
    put_staged(spool, noise(100), noise(100))
    put_wav(spool.path(RECORDING, LegFile.AGENT), noise(100), rate=16000)
    with pytest.raises(StagedFileDamaged, match="16000 Hz where the other direction has 8000 Hz"):
        storage.settle(RECORDING, AT)


def test_wideband_is_settled_at_its_own_rate(storage: Storage, spool: Spool) -> None:
    for path in spool.paths(RECORDING):
        put_wav(path, noise(1600), rate=16000)
    assert storage.settle(RECORDING, AT).rate == 16000
    assert storage.measure(RECORDING, AT).seconds == 0.1


def test_a_missing_direction_is_an_error_and_leaves_the_other(storage: Storage, spool: Spool) -> None:
    put_wav(spool.path(RECORDING, LegFile.CALLER), noise(100))
    with pytest.raises(StagedFileMissing, match="agent"):
        storage.settle(RECORDING, AT)
    assert spool.path(RECORDING, LegFile.CALLER).exists()


def test_more_than_a_wav_can_hold_is_refused_before_a_byte_is_written(storage: Storage, spool: Spool) -> None:
    put_staged(spool, noise(10), noise(10))
    for path in spool.paths(RECORDING):
        os.truncate(path, 44 + 2**31)  # sparse
    with pytest.raises(RecordingTooLong):
        storage.settle(RECORDING, AT)
    assert [found.path for found in storage.walk()] == []


# --------------------------------------------------------------------------- spans to keep


@on_disk
@given(
    spans=st.lists(st.tuples(st.integers(-50, 400), st.integers(0, 400)).map(lambda s: (s[0], s[0] + s[1])), max_size=4)
)
def test_outside_the_spans_there_is_exact_silence_and_inside_nothing_changed(
    storage: Storage, spool: Spool, spans: list[tuple[int, int]]
) -> None:
    recording = RecordingId(uuid4())
    sounds = np.column_stack((np.full(300, 11, np.int16), np.full(300, 22, np.int16)))
    put_staged(spool, sounds[:, 0], sounds[:, 1], recording)
    settled = storage.settle(recording, AT, spans=[(start / 8000, end / 8000) for start, end in spans])
    joined = read_wav(settled.path)
    inside = {n for start, end in spans for n in range(max(0, start), min(end, 300))}
    assert {n for n in range(300) if joined[n].any()} == inside
    assert (joined[sorted(inside)] == sounds[sorted(inside)]).all()


def test_the_time_line_is_kept_across_blocks(storage: Storage, spool: Spool) -> None:
    sounds = np.full(400_000, 7, np.int16)
    put_staged(spool, sounds, sounds)
    joined = read_wav(storage.settle(RECORDING, AT, spans=[(5, 25), (40, 45)]).path)
    kept = np.flatnonzero(joined.all(axis=1))
    assert len(joined) == 400_000
    assert kept.tolist() == [*range(40_000, 200_000), *range(320_000, 360_000)]


def test_a_sample_that_is_only_partly_inside_is_erased(storage: Storage, spool: Spool) -> None:
    put_staged(spool, np.full(10, 7, np.int16), np.full(10, 7, np.int16))
    joined = read_wav(storage.settle(RECORDING, AT, spans=[(1.5 / 8000, 4.5 / 8000)]).path)
    assert np.flatnonzero(joined[:, 0]).tolist() == [2, 3]


def test_the_agents_opening_and_the_ending_of_both_become_silence(storage: Storage, spool: Spool) -> None:
    put_staged(spool, np.full(300, 7, np.int16), np.full(200, 7, np.int16))
    edges = Edges(opening=40 / 8000, ending=50 / 8000)
    left, right = read_wav(storage.settle(RECORDING, AT, edges=edges).path).T
    assert left[:250].all()
    assert not left[250:].any()
    assert not right[:40].any()
    assert right[40:200].all()


def test_edges_that_meet_leave_nothing(storage: Storage, spool: Spool) -> None:
    put_staged(spool, np.full(300, 7, np.int16), np.full(300, 7, np.int16))
    assert not read_wav(storage.settle(RECORDING, AT, edges=Edges(ending=1.0)).path).any()
    with pytest.raises(ValueError, match="no such time"):
        Edges(opening=-0.1)


def test_no_spans_at_all_keep_nothing(storage: Storage, spool: Spool) -> None:
    put_staged(spool, noise(100), noise(100))
    assert not read_wav(storage.settle(RECORDING, AT, spans=[]).path).any()


@pytest.mark.parametrize("span", [(2.0, 1.0), (float("nan"), 1.0), (0.0, float("inf"))])
def test_a_span_that_is_none_is_refused_and_nothing_written(
    storage: Storage, spool: Spool, span: tuple[float, float]
) -> None:
    put_staged(spool, noise(100), noise(100))
    with pytest.raises(ValueError, match="span"):
        storage.settle(RECORDING, AT, spans=[span])
    assert list(storage.walk()) == []


# --------------------------------------------------------------------------- crashes between the steps


def test_settling_again_gives_the_same_account_and_the_same_file(storage: Storage, spool: Spool) -> None:
    put_staged(spool, noise(1000), noise(900))
    set_sizes(spool.path(RECORDING, LegFile.CALLER), riff=0, data=0)
    first = storage.settle(RECORDING, AT)
    inode = first.path.stat().st_ino
    assert storage.settle(RECORDING, AT) == first
    assert first.path.stat().st_ino == inode


@pytest.mark.parametrize("attempt", ["00000000", "00000007"])
@pytest.mark.parametrize("written", [0, 20, 44, 1044, 4044])
def test_a_crash_while_staging_is_made_good_by_the_next_attempt(
    storage: Storage, spool: Spool, written: int, attempt: str
) -> None:
    put_staged(spool, noise(1000), noise(1000))
    whole = storage.settle(RECORDING, AT)
    content = whole.path.read_bytes()
    whole.path.unlink()
    left = whole.path.with_name(f".{RECORDING}.{attempt}.staging")
    left.write_bytes(content[:written])
    assert [(found.kind, found.recording) for found in storage.walk()] == [(FoundKind.STAGING, RECORDING)]
    assert storage.settle(RECORDING, AT) == whole
    assert [found.path for found in storage.walk()] == [whole.path]


def test_the_folder_of_a_days_recordings_is_not_listed_to_settle_one(
    storage: Storage, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def listed(*_: object) -> None:
        pytest.fail("a folder was listed")

    other = RecordingId(uuid4())
    for recording in (RECORDING, other):
        put_staged(spool, noise(10), noise(10), recording)
    with monkeypatch.context() as patched:
        patched.setattr(os, "scandir", listed)
        patched.setattr(os, "listdir", listed)
        for recording in (RECORDING, other):
            assert storage.settle(recording, AT).path.exists()


def test_what_a_cut_attempt_of_an_older_version_left_is_removed_by_the_next_one_of_that_recording_alone(
    storage: Storage, spool: Spool
) -> None:
    other = RecordingId(uuid4())
    put_staged(spool, noise(1000), noise(1000))
    whole = storage.settle(RECORDING, AT)
    left = [whole.path.with_name(f".{RECORDING}.{name}.staging") for name in ("00c0ffee", "deadbeef", "00000008")]
    others = [whole.path.with_name(f".{name}.staging") for name in (f"{other}.00c0ffee", f"{RECORDING}.c0ffee", "x")]
    for path in (*left, *others):
        path.write_bytes(b"RIFF")
    newer = Storage(storage.root, spool)
    assert newer.settle(RECORDING, AT) == whole
    assert sorted(found.path for found in newer.walk()) == sorted((whole.path, *others))
    put_staged(spool, noise(10), noise(10), other)
    settled = newer.settle(other, AT)
    assert sorted(found.path for found in newer.walk()) == sorted((whole.path, settled.path, *others[1:]))


def test_a_folder_that_was_there_before_is_listed_once_for_all_its_recordings(
    storage: Storage, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_staged(spool, noise(10), noise(10))
    storage.settle(RECORDING, AT)
    listed: list[object] = []
    scandir = os.scandir

    def scanned(folder: Path) -> object:
        listed.append(folder)
        return scandir(folder)

    recordings = (RECORDING, RecordingId(uuid4()), RecordingId(uuid4()))
    for recording in recordings:
        put_staged(spool, noise(10), noise(10), recording)
    newer = Storage(storage.root, spool)
    with monkeypatch.context() as patched:
        patched.setattr(os, "scandir", scanned)
        for recording in recordings:
            newer.settle(recording, AT)
    assert listed == [storage.path(RECORDING, AT).parent]


def test_each_attempt_takes_another_name_than_the_one_before_and_removes_what_that_left(tmp_path: Path) -> None:
    target = tmp_path / f"{RECORDING}.wav"
    names = []
    for _ in range(ATTEMPTS + 2):
        path = _attempt(target)
        names.append(path.name)
        assert [left.name for left in tmp_path.iterdir()] == [path.name]
    assert len(set(names[:ATTEMPTS])) == ATTEMPTS
    assert names[ATTEMPTS:] == names[:2]


def test_an_attempt_takes_no_name_that_leads_elsewhere(tmp_path: Path) -> None:
    target, elsewhere = tmp_path / f"{RECORDING}.wav", tmp_path / "elsewhere"
    first = _attempt(target)
    first.unlink()
    first.symlink_to(elsewhere)
    second = _attempt(target)
    assert (second.name == first.name, first.is_symlink(), elsewhere.exists()) == (False, False, False)


def test_another_recordings_staging_file_is_left_alone(storage: Storage, spool: Spool) -> None:
    put_staged(spool, noise(10), noise(10))
    other = storage.settle(RECORDING, AT).path.with_name(f".{uuid4()}.00000000.staging")
    other.write_bytes(b"x")
    storage.settle(RECORDING, AT)
    assert other.exists()


def test_two_attempts_at_once_end_in_one_right_file(storage: Storage, spool: Spool) -> None:
    put_staged(spool, noise(300_000, 1), noise(300_000, 2))
    together = Barrier(2, timeout=10)

    def attempt() -> Settled | StorageUnavailable:
        together.wait()
        try:
            return storage.settle(RECORDING, AT)
        except StorageUnavailable as error:  # the other attempt took this one's staging file away
            return error

    with ThreadPoolExecutor(2) as pool:
        ends = [each.result(timeout=30) for each in (pool.submit(attempt), pool.submit(attempt))]
    settled = [end for end in ends if isinstance(end, Settled)]
    assert settled
    assert {each.sha256 for each in settled} == {storage.digest(RECORDING, AT)}
    assert (read_wav(settled[0].path) == np.column_stack((noise(300_000, 1), noise(300_000, 2)))).all()
    assert [found.kind for found in storage.walk()] == [FoundKind.SETTLED]


@pytest.mark.parametrize("gone", [[LegFile.CALLER], [LegFile.AGENT], [LegFile.CALLER, LegFile.AGENT]])
def test_a_crash_while_discarding_still_finds_the_settled_file(
    storage: Storage, spool: Spool, gone: list[LegFile]
) -> None:
    put_staged(spool, noise(1000), noise(1000))
    first = storage.settle(RECORDING, AT)
    for leg in gone:
        spool.path(RECORDING, leg).unlink()
    assert storage.settle(RECORDING, AT) == first


def test_a_settled_file_that_cannot_be_shown_to_keep_to_the_spans_is_not_accepted(
    storage: Storage, spool: Spool
) -> None:
    put_staged(spool, noise(1000), noise(1000))
    storage.settle(RECORDING, AT)
    spool.discard(RECORDING)
    with pytest.raises(StagedFileMissing):
        storage.settle(RECORDING, AT, spans=[(0, 0.01)])


def test_a_different_settled_file_is_kept_unless_replacing_is_asked_for(storage: Storage, spool: Spool) -> None:
    put_staged(spool, noise(1000), noise(1000))
    first = storage.settle(RECORDING, AT)
    with pytest.raises(SettledFileDiffers, match=first.sha256):
        storage.settle(RECORDING, AT, spans=[(0, 0.01)])
    assert storage.digest(RECORDING, AT) == first.sha256
    assert [found.kind for found in storage.walk()] == [FoundKind.SETTLED]
    again = storage.settle(RECORDING, AT, spans=[(0, 0.01)], replace=True)
    assert storage.digest(RECORDING, AT) == again.sha256 != first.sha256


# --------------------------------------------------------------------------- reading back


def test_the_analysis_reads_the_settled_file_to_its_end(storage: Storage, spool: Spool) -> None:
    loud, soft = np.full(123_456, 0, np.int16), np.full(123_456, 0, np.int16)
    loud[-1], soft[0] = 30000, -20
    put_staged(spool, loud, soft)
    storage.settle(RECORDING, AT)
    measures = storage.measure(RECORDING, AT)
    assert (measures.samples, measures.caller.peak, measures.agent.peak) == (123_456, 30000, 20)


def test_a_missing_settled_file_is_named(storage: Storage) -> None:
    for read in (storage.digest, storage.measure):
        with pytest.raises(SettledFileMissing, match=str(RECORDING)):
            read(RECORDING, AT)


def test_a_settled_file_with_zeros_for_sizes_is_damaged_and_not_empty(storage: Storage, spool: Spool) -> None:
    put_staged(spool, noise(1000), noise(1000))
    set_sizes(storage.settle(RECORDING, AT).path, riff=0, data=0)
    with pytest.raises(SettledFileDamaged):
        storage.measure(RECORDING, AT)


def test_walking_tells_settled_staging_and_strange_files_apart(storage: Storage, spool: Spool) -> None:
    put_staged(spool, noise(10), noise(10))
    settled = storage.settle(RECORDING, AT).path
    staging = settled.with_name(f".{RECORDING}.0123abcd.staging")
    strange = [settled.with_suffix(".wav.bak"), storage.root / f"{RECORDING}.wav", storage.root / "lost+found/x"]
    for path in (staging, *strange):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"xy")
    found = {each.path: (each.kind, each.recording, each.size) for each in storage.walk()}
    assert found == {
        settled: (FoundKind.SETTLED, RECORDING, 84),
        staging: (FoundKind.STAGING, RECORDING, 2),
    } | dict.fromkeys(strange, (FoundKind.STRANGE, None, 2))


@pytest.mark.parametrize(
    ("since", "found"),
    [
        (None, {"2024/12/31", "2025/02/28", "2025/03/01", "2025/03/02", "2025/other", "."}),
        (date(2025, 3, 1), {"2025/03/01", "2025/03/02", "2025/other", "."}),
        (date(2025, 1, 1), {"2025/02/28", "2025/03/01", "2025/03/02", "2025/other", "."}),
        (date(2026, 1, 1), {"."}),
    ],
)
def test_walking_since_a_day_passes_over_the_folders_of_earlier_ones(
    storage: Storage, since: date | None, found: set[str]
) -> None:
    for folder in ("2024/12/31", "2025/02/28", "2025/03/01", "2025/03/02", "2025/other", "."):
        (storage.root / folder).mkdir(parents=True, exist_ok=True)
        (storage.root / folder / "file").touch()
    assert {each.path.parent.relative_to(storage.root).as_posix() for each in storage.walk(since)} == found


def test_walking_a_store_that_is_not_there_is_an_error_and_not_an_empty_store(tmp_path: Path, spool: Spool) -> None:
    with pytest.raises(StorageUnavailable, match="nowhere"):
        list(Storage(tmp_path / "nowhere", spool).walk())


# --------------------------------------------------------------------------- readiness and refused access


def test_a_closed_writable_folder_with_space_has_no_problem_and_keeps_no_trace(spool: Spool) -> None:
    assert spool.problems(min_free=1) == []
    assert list(spool.here.iterdir()) == []


def test_a_missing_folder_and_a_file_in_its_place_are_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    kinds = [[problem.kind for problem in Spool(tmp_path / name).problems(0)] for name in ("none", "file")]
    assert kinds == [[ProblemKind.MISSING], [ProblemKind.NOT_A_FOLDER]]


@pytest.mark.parametrize("mode", [0o701, 0o702, 0o704, 0o755, 0o777])
def test_a_folder_open_to_strangers_is_told_with_the_mend(spool: Spool, mode: int) -> None:
    spool.here.chmod(mode)
    (problem,) = spool.problems(min_free=0)
    assert problem.kind is ProblemKind.OPEN_TO_STRANGERS
    assert problem.mend == f"Close it: chmod o-rwx {spool.here}"


@pytest.mark.parametrize("mode", [0o700, 0o770, 0o2770])
def test_a_folder_for_its_owner_or_a_group_is_closed_enough(spool: Spool, mode: int) -> None:
    spool.here.chmod(mode)
    assert spool.problems(min_free=0) == []


def test_too_little_space_is_told_before_the_disk_is_full(cramped_disk: Path) -> None:
    storage = Storage(cramped_disk, Spool(cramped_disk))
    assert storage.problems(min_free=1_000_000) == []
    assert (storage.free().bytes, storage.free().share) == (2**20, 1.0)
    (cramped_disk / "other").write_bytes(bytes(2**19))
    assert [problem.kind for problem in storage.problems(min_free=1_000_000)] == [ProblemKind.SHORT_OF_SPACE]
    assert storage.free().share == 0.5


def fill(disk: Path) -> Path:
    other = disk / "other"
    other.write_bytes(bytes(os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize))
    return other


@pytest.mark.fault
def test_a_full_disk_is_told_even_where_no_space_is_asked_for(cramped_disk: Path) -> None:
    fill(cramped_disk)
    assert [problem.kind for problem in Spool(cramped_disk).problems(min_free=0)] == [ProblemKind.SHORT_OF_SPACE]
    assert [path.name for path in cramped_disk.iterdir()] == ["other"]


@pytest.mark.fault
def test_settling_onto_a_full_disk_leaves_nothing_half_done_and_succeeds_later(
    cramped_disk: Path, spool: Spool
) -> None:
    put_staged(spool, noise(200_000), noise(200_000))
    storage = Storage(cramped_disk, spool)
    other = fill(cramped_disk)
    with other.open("r+b") as file:
        file.truncate(2**19)
    before = snapshot(spool.here)
    with pytest.raises(StorageFull) as refused:
        storage.settle(RECORDING, AT)
    assert refused.value.code == "storage_full"
    assert [found.path for found in storage.walk()] == [other]
    assert snapshot(spool.here) == before
    other.unlink()
    assert storage.settle(RECORDING, AT).samples == 200_000


@pytest.mark.fault
def test_a_read_only_disk_is_told_and_refuses_with_a_mend(cramped_disk: Path, spool: Spool) -> None:
    later = RecordingId(uuid4())
    put_staged(spool, noise(10), noise(10))
    put_staged(spool, noise(10), noise(10), later)
    storage = Storage(cramped_disk, spool)
    storage.settle(RECORDING, AT)
    subprocess.run(["mount", "-o", "remount,ro", cramped_disk], check=True, timeout=10)
    assert [problem.kind for problem in storage.problems(min_free=0)] == [ProblemKind.NOT_WRITABLE]
    with pytest.raises(StorageRefused, match="read-only"):
        storage.settle(later, AT)
    assert storage.measure(RECORDING, AT).samples == 10


@pytest.mark.fault
def test_a_store_that_is_not_mounted_is_not_made_anew(tmp_path: Path, spool: Spool) -> None:
    put_staged(spool, noise(10), noise(10))
    with pytest.raises(StorageUnavailable):
        Storage(tmp_path / "not-mounted", spool).settle(RECORDING, AT)
    assert not (tmp_path / "not-mounted").exists()


# --------------------------------------------------------------------------- what kind of disk


def test_the_kind_of_a_file_system_is_the_one_mounted_nearest(cramped_disk: Path, tmp_path: Path) -> None:
    below = cramped_disk / "a" / "b"
    below.mkdir(parents=True)
    assert file_system_kind(below) == "tmpfs"
    outside = file_system_kind(tmp_path)
    assert outside is not None
    (tmp_path / "link").symlink_to(below)
    assert file_system_kind(tmp_path / "link") == "tmpfs"
    assert file_system_kind(Path("/proc/self")) == "proc"


def test_a_mount_point_with_a_space_is_found(tmp_path: Path) -> None:
    mount = tmp_path / "a disk"
    mount.mkdir()
    subprocess.run(["mount", "-t", "ramfs", "ramfs", mount], check=True, timeout=10)
    try:
        assert file_system_kind(mount) == "ramfs"
    finally:
        subprocess.run(["umount", mount], check=True, timeout=10)
