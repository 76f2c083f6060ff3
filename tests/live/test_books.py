"""Books that balance, on a real Asterisk: every kind of call is accounted for, and what was done to them is named."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.live.stage import stage
from tests.live.test_calls import HANGS_UP_IN_PROMPT, NOBODY_ANSWERS_OUTSIDE
from tests.pbx.party import HangUp, Press, Say, UntilBridged, UntilPrompt, Wait
from tests.recorder_process import REPOSITORY
from tests.stories import AGENT, CALLER, HEARD, OUTGOING, PERSONAL, Placed, Story, agrees, play, refuses

pytestmark = [pytest.mark.live]

SUPPORT = {"consent": "opt_in", "languages": ["en"], "answer_seconds": 2, "retries": 1}
LINES = {"support": {**SUPPORT, "queues": ["support", *(f"own{number}" for number in range(1, 61))]}}
"""Every queue is the line's: what Asterisk's queue log has of them must be in our books."""


def line_call(name: str, outcome: str, caller: Any, agent: Any) -> Story:
    return Story(
        name=name,
        outcome=outcome,
        place=lambda calls: calls.incoming("support", caller, agent, agent_name=name.replace(" ", ""), own_queue=True),
    )


AGREED = line_call("agreed", "recorded", agrees(then=3), (Say(AGENT),))
REFUSED = line_call("refused", "declined", refuses(then=3), (Say(AGENT),))
GIVES_UP = line_call(
    "gives up", "abandoned", (Say(CALLER), UntilPrompt(), Wait(HEARD), Press("1"), Wait(3), HangUp()), None
)
PERSONAL_TOO = Story(
    name="personal, another",
    outcome=None,
    place=lambda calls: calls.personal(
        (Say(CALLER), UntilBridged(), Wait(3), HangUp()), (Say(AGENT),), extension="2002"
    ),
)
CAST = (AGREED, REFUSED, GIVES_UP, HANGS_UP_IN_PROMPT, PERSONAL, PERSONAL_TOO, OUTGOING, NOBODY_ANSWERS_OUTSIDE)
OURS = sum(story.outcome is not None for story in CAST)


@dataclass(frozen=True)
class Day:
    """What a day's calls left: the books as `verify` found them beside the PBX, and a copy of everything."""

    wrong: list[str]
    meanwhile: dict[str, Any]  # verify in the middle of the calls
    live: dict[str, Any]
    sweeps: dict[str, Any]
    metrics: str
    copy: Path


@pytest.fixture(scope="module", params=["22", pytest.param("16", marks=pytest.mark.asterisk16)])
def day(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    if request.config.getoption("asterisk") not in (None, request.param):
        pytest.skip("another release was asked for")
    home = tmp_path_factory.mktemp("books")
    yield asyncio.run(_lived(request.param, home))
    shutil.rmtree(home)


async def _lived(release: str, home: Path) -> Day:
    async with stage(release, lines=LINES) as on:
        await on.recorder.until(lambda: _begun(on.recorder.home), "the books to begin", timeout=60)
        long = await on.calls.incoming("support", agrees(then=600), (Say(AGENT),), agent_name="long", own_queue=True)
        await (await long.until_rung()).until_bridged()
        placed = [Placed(story) for story in CAST]
        playing = asyncio.gather(*(play(one, on.calls) for one in placed))
        meanwhile = await asyncio.to_thread(on.recorder.json, "verify")
        await on.calls.hang_up(long)
        await playing
        await on.closed(OURS + 1, timeout=60)
        await on.recorder.until(lambda: not on.staged(), "the spool to be empty", timeout=60)
        ended = max(row.ended_at for row in await on.recorder.calls() if row.ended_at is not None)
        # What the daemon has taken in by now must be in its books: nothing here waits for the clock.
        await on.recorder.until(
            lambda: (
                (_mark(on.recorder.home, "queue_log") or {}).get("at", "") > ended.isoformat()
                and (_mark(on.recorder.home, "cdr") or {}).get("at", "") > ended.isoformat()
            ),
            "the ledgers to be taken in",
            timeout=150,
        )
        live = await asyncio.to_thread(on.recorder.json, "verify")
        status, metrics = on.recorder.get("/status")[1], on.recorder.get("/metrics")[1]
        copy = home / "copy"
        copy.mkdir()
        _copied(on.recorder.home, copy)
        for ledger in (on.pbx.queue_log, on.pbx.cdr):
            shutil.copy(ledger, copy)
        return Day(
            wrong=[one.error for one in placed if one.error],
            meanwhile=meanwhile,
            live=live,
            sweeps=status["sweeps"],
            metrics=str(metrics),
            copy=copy,
        )


def _mark(home: Path, name: str) -> dict[str, Any] | None:
    with sqlite3.connect(home / "catalogue.db") as database:
        row = database.execute("SELECT value FROM bookmarks WHERE name = ?", (name,)).fetchone()
    database.close()
    return json.loads(row[0]) if row else None


def _begun(home: Path) -> bool:
    """Whether the books have begun, a whole second ago: Asterisk's ledgers name no part of one."""
    mark = _mark(home, "books")
    return mark is not None and datetime.fromisoformat(mark[""]).timestamp() + 1 < time.time()


def _copied(home: Path, copy: Path) -> None:
    """As docs/operating.md says: SQLite by its own means, then the recordings."""
    source, target = sqlite3.connect(home / "catalogue.db"), sqlite3.connect(copy / "catalogue.db")
    source.backup(target)
    source.close()
    target.close()
    shutil.copytree(home / "recordings", copy / "recordings")
    shutil.copy(home / "recorder.toml", copy)
    tomllib.loads((copy / "recorder.toml").read_text())


def verified(copy: Path) -> tuple[int, dict[str, Any]]:
    """`recorder verify --copy` with nothing else at hand: no settings, no PBX, no daemon."""
    done = subprocess.run(
        [sys.executable, "-m", "recorder", "--config", "/nonexistent.toml", "verify", "--copy", str(copy), "--json"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, json.loads(done.stdout)


def test_the_books_of_every_kind_of_call_balance_and_no_personal_call_has_a_file(day: Day) -> None:
    assert day.wrong == []
    assert day.live["mismatches"] == []
    counts = day.live["counts"]
    assert counts["outcomes"] == {"excluded": 0, "abandoned": 3, "recorded": 3, "declined": 1, "lost": 0}
    assert (counts["personal_calls"], counts["files_of_personal"]) == (2, 0)
    assert counts["queue_log"]["passages"] == 4
    assert counts["files"] == 3


def test_calls_in_progress_are_open_and_not_wrong(day: Day) -> None:
    assert day.meanwhile["mismatches"] == []
    assert day.meanwhile["counts"]["open_calls"] > 0


def test_the_sweep_that_balances_them_is_in_the_status_and_in_the_metrics(day: Day) -> None:
    assert day.sweeps["books"]["last_ok_at"] is not None
    assert 'recorder_books_mismatches{code="personal_audio"} 0.0' in day.metrics


def test_a_copy_balances_without_the_pbx(day: Day) -> None:
    code, found = verified(day.copy)
    assert (code, found["mismatches"]) == (0, [])
    assert found["counts"]["outcomes"] == day.live["counts"]["outcomes"]
    assert found["counts"]["personal_calls"] == 2


def _one_wav(copy: Path) -> Path:
    return next((copy / "recordings").rglob("*.wav"))


def _another_digest(copy: Path) -> None:
    with sqlite3.connect(copy / "catalogue.db") as database:
        database.execute("UPDATE recordings SET sha256 = ? WHERE status = 'settled'", ("0" * 64,))
    database.close()


def _unheard_of_call(copy: Path) -> None:
    """A caller whom nobody of ours saw, in the middle of the day."""
    log = (copy / "queue_log").read_text().splitlines()
    at = next(line.split("|")[0] for line in log if "|ENTERQUEUE|" in line)
    lines = [f"{at}|{at}.77777|own60|NONE|ENTERQUEUE||1|1", f"{at}|{at}.77777|own60|NONE|ABANDON|1|1|0"]
    (copy / "queue_log").write_text("\n".join([*log, *lines]) + "\n")


def _personal_audio(copy: Path) -> None:
    """What a MixMonitor of the house's on a personal call would leave in our spool."""
    rows = [line for line in (copy / "Master.csv").read_text().splitlines() if '"personal"' in line]
    name = rows[0].split(",")[-2].strip('"')
    (copy / "spool").mkdir()
    shutil.copy(_one_wav(copy), copy / "spool" / f"personal-{name}.wav")


def _call_taken_out(copy: Path) -> None:
    """Somebody with a shell removes a recorded call from the catalogue, and its file."""
    _one_wav(copy).unlink()
    with sqlite3.connect(copy / "catalogue.db") as database:
        triggers = database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for (name,) in triggers:
            database.execute(f"DROP TRIGGER {name}")
        gone = database.execute("SELECT id FROM calls WHERE outcome = 'declined'").fetchone()
        for table in ("recordings", "audit", "consent_events", "legs", "call_events"):
            database.execute(f"DELETE FROM {table} WHERE call = ?", gone)
        database.execute("DELETE FROM calls WHERE id = ?", gone)
    database.close()


@pytest.mark.parametrize(
    ("doctor", "expected"),
    [
        pytest.param(lambda copy: _one_wav(copy).unlink(), {"file_missing"}, id="a file removed"),
        pytest.param(
            lambda copy: shutil.copy(
                _one_wav(copy), _one_wav(copy).with_name("5e0fd3a6-1f4b-4d0c-9d0a-5f3f4f1f2c11.wav")
            ),
            {"file_without_row"},
            id="a file added",
        ),
        pytest.param(_another_digest, {"file_digest_differs"}, id="a digest changed through SQL"),
        pytest.param(_unheard_of_call, {"call_unknown"}, id="a call that we never saw"),
        pytest.param(
            _call_taken_out,
            {"call_unknown", "file_missing", "chained_act_removed"},
            id="a call taken out of the catalogue",
        ),
        pytest.param(_personal_audio, {"personal_audio"}, id="a file of a personal call"),
    ],
)
def test_what_was_done_to_a_copy_is_named(
    day: Day, tmp_path: Path, doctor: Callable[[Path], object], expected: set[str]
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(day.copy, copy)
    doctor(copy)
    code, found = verified(copy)
    assert (code, {item["code"] for item in found["mismatches"]}) == (1, expected)
    assert all(item["what"] and item["mend"] for item in found["mismatches"])
