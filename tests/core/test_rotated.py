"""A log that is rotated: everything that is still there is read, in order, compressed or not."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from recorder import rotated
from recorder.rotated import Line, Place, Rotated

DAY = 86_400


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue_log"


def put(path: Path, day: int, text: bytes) -> None:
    """A file last written on that day."""
    path.write_bytes(text)
    os.utime(path, (day * DAY, day * DAY))


def test_rotated_files_are_read_before_the_log_oldest_first(path: Path) -> None:
    put(path, 3, b"3\n")
    put(path.with_name("queue_log.1"), 2, b"2\n")
    put(path.with_name("queue_log-20260301"), 1, b"1\n")
    assert list(Rotated(path).every()) == [b"1", b"2", b"3"]


@pytest.mark.parametrize(
    ("ending", "compress"), [(".1.gz", gzip.compress), (".1.bz2", bz2.compress), (".1.xz", lzma.compress)]
)
def test_compressed_ones_are_read_too(path: Path, ending: str, compress: Callable[[bytes], bytes]) -> None:
    put(path, 2, b"b\n")
    put(path.with_name(path.name + ending), 1, compress(b"a\n"))
    assert list(Rotated(path).every()) == [b"a", b"b"]


def test_files_last_written_before_a_time_are_left_alone(path: Path) -> None:
    put(path, 9, b"new\n")
    put(path.with_name("queue_log.1"), 1, b"old\n")
    assert list(Rotated(path).every(datetime.fromtimestamp(5 * DAY, UTC))) == [b"new"]


def test_a_line_that_is_being_written_is_not_read_yet(path: Path) -> None:
    put(path, 1, b"whole\nhal")
    assert list(Rotated(path).every()) == [b"whole"]


def test_a_rotation_while_reading_takes_nothing_away(path: Path) -> None:
    put(path.with_name("queue_log.1"), 1, b"1\n")
    put(path, 2, b"2\n")
    reading = Rotated(path).every()
    assert next(reading) == b"1"
    path.rename(path.with_name("queue_log.2"))
    put(path, 3, b"3\n")
    assert list(reading) == [b"2"]


class RotatedMeanwhile(Rotated):
    """The log is rotated once between its listing and its opening."""

    def _siblings(self) -> Iterator[Path]:
        listed = list(super()._siblings())
        yield from listed
        if len(listed) == 2:
            self.path.with_name("queue_log.1").rename(self.path.with_name("queue_log.2"))
            self.path.rename(self.path.with_name("queue_log.1"))
            put(self.path, 3, b"3\n")


def test_a_rotation_between_listing_and_opening_loses_no_file(path: Path) -> None:
    put(path.with_name("queue_log.1"), 1, b"1\n")
    put(path, 2, b"2\n")
    assert list(RotatedMeanwhile(path).every()) == [b"1", b"2", b"3"]


def test_where_there_is_no_log_at_all_that_is_said(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list(Rotated(path).every())
    put(path.with_name("queue_log.1"), 1, b"1\n")
    assert list(Rotated(path).every()) == [b"1"]


class WrittenOnMeanwhile(Rotated):
    """Asterisk writes a last line where it was, and makes the successor, just when the rotated file has been read."""

    def _read(self, path: Path, since: Place) -> tuple[list[Line], Place, bool]:
        read = super()._read(path, since)
        if path != self.path and not self.path.exists():
            with path.open("ab") as file:
                file.write(b"2\n")
            self.path.write_bytes(b"3\n")
        return read


def test_a_rotated_file_is_left_only_where_its_successor_was_there_before_it_was_read(path: Path) -> None:
    path.write_bytes(b"1\n")
    log, place = WrittenOnMeanwhile(path), Place(inode=path.stat().st_ino, offset=0)
    path.rename(path.with_name("queue_log.1"))
    first, place = log.read(place)
    assert [line.text for line in (*first, *log.read(place)[0])] == [b"1", b"2", b"3"]


def everything(path: Path, since: Place) -> list[bytes]:
    """All after `since`, read as often as it takes."""
    found: list[bytes] = []
    log = Rotated(path)
    while True:
        lines, reached = log.read(since)
        found += [line.text for line in lines]
        if reached == since:
            return found
        since = reached


@pytest.mark.parametrize("names", [(".2", ".1"), (".0", ".1"), ("-20260301", "-20260302"), ("-20260301", ".1")])
def test_a_log_that_was_rotated_twice_is_read_through_the_file_between(path: Path, names: tuple[str, str]) -> None:
    first, second = (path.with_name(path.name + name) for name in names)
    put(first, 1, b"1\n2\n")
    put(second, 2, b"3\n")
    put(path, 3, b"4\n")
    assert everything(path, Place(inode=first.stat().st_ino, offset=2)) == [b"2", b"3", b"4"]


def test_the_file_between_is_read_too_before_the_log_has_a_line(path: Path) -> None:
    put(path.with_name("queue_log.2"), 1, b"1\n")
    put(path.with_name("queue_log.1"), 2, b"2\n")
    mark = Place(inode=path.with_name("queue_log.2").stat().st_ino, offset=0)
    assert everything(path, mark) == [b"1", b"2"]
    put(path, 3, b"")
    assert everything(path, mark) == [b"1", b"2"]


@pytest.mark.parametrize("name", [".bak", ".1.gz", ".old", "_copy", ".1~", ".7", "-20260302"])
def test_a_copy_beside_the_log_is_no_part_of_it(path: Path, name: str) -> None:
    put(path.with_name("queue_log.1"), 1, b"1\n")
    put(path.with_name(path.name + name), 2, b"2\n")
    put(path, 3, b"2\n")
    assert everything(path, Place(inode=path.with_name("queue_log.1").stat().st_ino, offset=0)) == [b"1", b"2"]


def test_a_middle_file_longer_than_a_block_is_read_whole(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotated, "READ_AT_ONCE", 8)
    put(path.with_name("queue_log.2"), 1, b"1\n2\n")
    put(path.with_name("queue_log.1"), 2, b"3333\n4444\n5555\n")
    put(path, 3, b"6\n")
    mark = Place(inode=path.with_name("queue_log.2").stat().st_ino, offset=0)
    assert everything(path, mark) == [b"1", b"2", b"3333", b"4444", b"5555", b"6"]


def test_an_older_log_that_was_written_by_a_clock_ahead_of_ours_is_not_read_again(path: Path) -> None:
    put(path.with_name("queue_log.2"), 9, b"old\n")
    put(path.with_name("queue_log.1"), 2, b"1\n")
    put(path, 3, b"2\n")
    assert everything(path, Place(inode=path.with_name("queue_log.1").stat().st_ino, offset=0)) == [b"1", b"2"]
