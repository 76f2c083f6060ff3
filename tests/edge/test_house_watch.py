"""The daemon tells what another's look at the house has found, and that nobody looked."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from recorder.daemon import HouseWatch
from recorder.house_note import GRACE, HouseNote, write
from tests.facts import NOON


async def test_what_was_found_is_told_until_it_is_gone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    now = NOON
    watch = HouseWatch(tmp_path / "note.json", lambda: now)
    await watch.look()
    assert watch.warnings == ()
    now = NOON + GRACE
    await watch.look()
    assert len(watch.warnings) == 1
    assert "was not looked at" in watch.warnings[0]
    write(tmp_path / "note.json", HouseNote(at=now, found=("WRONG: it records. Mend: take it out",)))
    for _ in range(2):
        await watch.look()
    assert watch.warnings == ("WRONG: it records. Mend: take it out",)
    assert capsys.readouterr().out.count("take it out") == 1  # said once, not at each look
    write(tmp_path / "note.json", HouseNote(at=now + timedelta(seconds=1)))
    await watch.look()
    assert watch.warnings == ()


async def test_where_no_note_is_asked_for_nothing_is_said() -> None:
    now = NOON
    watch = HouseWatch(None, lambda: now)
    now = NOON + timedelta(days=1)
    await watch.look()
    assert watch.warnings == ()
