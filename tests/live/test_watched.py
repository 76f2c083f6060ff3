"""Nothing of anybody before their yes, nothing at all of who refuses, and no digit that is none of our business."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest

from recorder.catalogue import CallRow
from tests.live.stage import Stage, stage
from tests.live.watching import Watch
from tests.pbx import tones
from tests.pbx.party import HangUp, Press, Say, Script, Until, UntilBridged, UntilPrompt, Wait
from tests.stories import AGENT, CALLER, HEARD, LEFT, RIGHT, agrees, refuses, stays_silent

pytestmark = [pytest.mark.live, pytest.mark.asterisk16]

LINES: Mapping[str, Mapping[str, object]] = {"support": {"consent": "opt_in", "answer_seconds": 2, "retries": 1}}
AUDIO = (".wav", ".gsm", ".sln", ".pcm", ".ulaw", ".alaw", ".raw", ".WAV", ".wav49", ".part", ".tmp")
OURS = ("catalogue.db", "catalogue.db-wal", "catalogue.db-shm", "catalogue.db-journal", "journal-pbx1", "recorder.log")
CARD = "4556737586899855"
DTMF = {697: 0.02, 770: 0.04, 852: 0.02, 941: 0.02, 1209: 0.02, 1336: 0.02, 1477: 0.02}
"""Hz, and seconds of a window: 20 ms in which the agent's 800 Hz begins or ends look like 770 Hz, 40 ms do not."""


def folders(on: Stage) -> list[Path]:
    """Everywhere that a sample could lie: the spool, the store, our state, and Asterisk's own spool and sounds."""
    (on.pbx.base / "spool" / "monitor").mkdir(exist_ok=True)
    return [on.pbx.captures, on.recorder.home, on.pbx.base / "spool"]


def strange(watch: Watch, before: float = float("inf")) -> set[str]:
    """What was touched and is neither the books, nor the log, nor the empty file by which a folder is tried."""
    names = {one.path.name for one in watch.touched if one.at < before} - set(OURS)
    return {name for name in names if not name.startswith(".recorder-probe-")}


async def watched(release: str, caller: Script) -> tuple[Watch, CallRow, float | None]:
    """One call, everything that was touched meanwhile, and when the grant was written down."""
    async with stage(release, lines=LINES) as on:
        with Watch(folders(on)) as watch:
            call = await on.calls.incoming("support", caller, (Say(AGENT),))
            await call.until_ended(timeout=120)
            (row,) = await on.closed(1, timeout=60)
            await on.recorder.until(lambda: not on.staged(), "the spool to be empty", timeout=60)
        given = [event for event in (await on.recorder.whole(row)).consents if event.after == "given"]
        return watch, row, given[0].at.timestamp() if given else None


async def test_no_file_of_audio_comes_to_exist_anywhere_before_the_grant(release: str) -> None:
    watch, row, given = await watched(release, agrees())
    assert row.outcome == "recorded"
    assert given is not None
    made = watch.made(*AUDIO)
    assert made, "the watch saw the staged files"
    assert [one.path.name for one in made if one.at < given] == []
    assert strange(watch, before=given) == set(), "nothing but the books and the log is touched before the grant"


@pytest.mark.parametrize("caller", [refuses(), stays_silent()], ids=["refuses", "is silent"])
async def test_of_who_does_not_agree_no_file_ever_exists_anywhere(release: str, caller: Script) -> None:
    watch, row, given = await watched(release, caller)
    assert (row.outcome, given) == ("declined", None)
    assert strange(watch) == set()


async def test_consent_is_not_reused_by_the_same_callers_next_call(release: str) -> None:
    """CN-14: a number is not a person."""
    async with stage(release, lines=LINES) as on:
        for _ in range(2):
            call = await on.calls.incoming("support", agrees(then=3), (Say(AGENT),), number="4165550100")
            await call.until_ended(timeout=120)
        rows = await on.closed(2, timeout=60)
        asked = [[str(event.after) for event in (await on.recorder.whole(row)).consents] for row in rows]
        assert asked == [["asked", "given"], ["asked", "given"]]


async def test_sixteen_digits_at_the_prompt_and_while_paused_are_kept_nowhere(release: str) -> None:
    """PR-09."""
    muted = Until("MixMonitorMute")
    at_the_prompt: Script = (Say(0), UntilPrompt(), Wait(0.3), Press(CARD), UntilBridged(), Wait(2), HangUp())
    agreed: Script = (Say(CALLER), UntilPrompt(), Wait(HEARD), Press("1"), UntilBridged())
    in_the_pause: Script = (*agreed, muted, Wait(0.5), Say(0), Press(CARD), Say(CALLER), Wait(12), HangUp())
    pauses: Script = (Say(AGENT), UntilBridged(), Wait(2), Press("*81"), muted, Wait(10), Press("*82"))
    async with stage(release, lines=LINES) as on:
        for caller, agent in ((at_the_prompt, (Say(AGENT),)), (in_the_pause, pauses)):
            call = await on.calls.incoming("support", caller, agent)
            await call.until_ended(timeout=120)
        row, first = await on.closed(2, timeout=60)
        assert (first.outcome, row.outcome) == ("declined", "recorded"), on.recorder.log_tail(60)
        keys = {event.key for each in (row, first) for event in (await on.recorder.whole(each)).consents}
        assert keys <= {None, "1"}
        for path in [*on.recorder.home.iterdir(), on.pbx.cdr, on.pbx.queue_log]:
            if path.is_file():
                content = path.read_bytes()
                assert CARD.encode() not in content, path.name
                assert " ".join(CARD).encode() not in content, path.name
        assert digits_in_rows(on.recorder.home / "catalogue.db") == set()
        (settled,) = await on.settled_paths(row)
        sought = itertools.product(DTMF.items(), (LEFT, RIGHT))
        heard = [hz for (hz, window), side in sought if tones.stretches(settled, side, hz, window=window)]
        assert heard == []


def digits_in_rows(database: Path) -> set[str]:
    """Every single digit that stands by itself as a value in any row, apart from the accepted key."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as books:
        rows = books.execute("SELECT name, fields FROM call_events").fetchall()
    told = (str(fields) for _, fields in rows)
    return {f'"key":"{digit}"' for text in told for digit in set(CARD) - {"1"} if f'\\"{digit}\\"' in text}
