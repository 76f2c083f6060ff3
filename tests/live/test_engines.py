"""The daemon on the database engine of real centres."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import postgres
from tests.live.stage import stage
from tests.recorder_process import Recorder
from tests.stories import AGREED, OVERRIDDEN, Placed, judge, play

pytestmark = [pytest.mark.live, pytest.mark.postgres]


async def test_the_same_calls_end_the_same_with_a_catalogue_in_postgresql(release: str, tmp_path: Path) -> None:
    with postgres.running() as server:
        recorder = Recorder(tmp_path / "recorder", catalogue=server.url(server.create()))
        async with stage(release, recorder=recorder) as on:
            for story in (AGREED, OVERRIDDEN):
                placed = Placed(story)
                await play(placed, on.calls)
                await on.closed(1 if story is AGREED else 2)
                row = await on.row_of(placed)
                assert row is not None
                (recording,) = [one for one in await recorder.settled() if one.call == row.id]
                paths = [recorder.path_of(recording)]
                assert judge(story, str(row.outcome), paths, sealed=recording.sealed) == []
            assert recorder.command("verify", check=False).returncode == 0
