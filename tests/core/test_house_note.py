"""What the daemon says of a look at the house that somebody else makes."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from recorder.house_note import GRACE, LOOKED_WITHIN, HouseNote, NoteUnreadable, read, sentences, write
from tests.facts import NOON

LATER = NOON + timedelta(hours=1)


def test_what_nobody_has_looked_at_is_never_said_to_be_well() -> None:
    before = HouseNote(at=NOON - timedelta(seconds=1))
    for note in (None, before):
        (said,) = sentences(note, started_at=NOON, now=LATER)
        assert "was not looked at since the start" in said


def test_the_first_look_has_a_minute() -> None:
    assert sentences(None, started_at=NOON, now=NOON + GRACE / 2) == ()
    assert sentences(None, started_at=NOON, now=NOON + GRACE) != ()


def test_a_look_in_time_that_found_nothing_says_nothing() -> None:
    assert sentences(HouseNote(at=LATER), started_at=NOON, now=LATER + LOOKED_WITHIN) == ()


def test_an_old_look_says_how_old_it_is_and_what_it_found() -> None:
    note = HouseNote(at=LATER, found=("WRONG: the queue support records. Mend: take it out",))
    found, old = sentences(note, started_at=NOON, now=LATER + LOOKED_WITHIN + timedelta(seconds=1))
    assert found == note.found[0]
    assert "last looked at at 13:00:00 UTC" in old


def test_a_note_comes_back_as_it_was_and_all_may_read_it(tmp_path: Path) -> None:
    note = HouseNote(at=NOON, found=("ein Rätsel",))
    for _ in range(2):  # also over the one before
        write(tmp_path / "note.json", note)
    assert read(tmp_path / "note.json") == note
    assert (tmp_path / "note.json").stat().st_mode & 0o777 == 0o644
    assert [path.name for path in tmp_path.iterdir()] == ["note.json"]


def test_a_note_is_written_through_no_link(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("kept", encoding="utf-8")
    (tmp_path / ".note.json.new").symlink_to(tmp_path / "precious")
    write(tmp_path / "note.json", HouseNote(at=NOON))
    assert (tmp_path / "precious").read_text(encoding="utf-8") == "kept"


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"at": "noon", "found": []}', json.dumps({"at": "2026-11-22T12:00:00", "found": []})]
)
def test_what_is_no_note_is_not_believed(tmp_path: Path, text: str) -> None:
    (tmp_path / "note.json").write_text(text, encoding="utf-8")
    with pytest.raises(NoteUnreadable):
        read(tmp_path / "note.json")


def test_a_note_that_is_not_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(NoteUnreadable):
        read(tmp_path / "note.json")
