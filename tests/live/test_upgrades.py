"""An upgrade of the schema and the way back, with calls in progress on a real Asterisk, on both engines.

The newer program is this one with a migration more, in a folder of its own: two real daemons of two schema versions.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from recorder import catalogue
from tests import postgres
from tests.live.stage import Stage, stage
from tests.live.test_faults import WAITS, until_talking
from tests.pbx import tones
from tests.pbx.calls import Call
from tests.pbx.party import Say, Script
from tests.recorder_process import REPOSITORY, Recorder
from tests.stories import AGENT, CALLER, LEFT, RIGHT, agrees, both_from_the_bridge_on

pytestmark = [pytest.mark.live, pytest.mark.fault]

ENGINES = pytest.mark.parametrize("engine", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
STAYS: Script = agrees()[:-2]
"""Agrees, and speaks until the test hangs up: how long a restart takes is the machine's affair."""
MORE = """
from alembic import op
import sqlalchemy as sa

revision, down_revision, branch_labels, depends_on = "more", "{before}", None, None


def upgrade():
    op.create_table("more", sa.Column("id", sa.Integer, primary_key=True))
    with op.batch_alter_table("sweeps") as batch:
        batch.add_column(sa.Column("more", sa.Text))


def downgrade():
    with op.batch_alter_table("sweeps") as batch:
        batch.drop_column("more")
    op.drop_table("more")
"""


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program as its next version would be, with one more revision."""
    place = tmp_path_factory.mktemp("newer")
    nothing = shutil.ignore_patterns("__pycache__")
    shutil.copytree(REPOSITORY / "recorder", place / "recorder", ignore=nothing)
    shutil.copytree(REPOSITORY / "db", place / "recorder" / "migrations", ignore=nothing)
    text = MORE.format(before=catalogue.newest())
    (place / "recorder" / "migrations" / "versions" / "more.py").write_text(text)
    return place


@contextmanager
def kept_in(engine: str, home: Path) -> Iterator[Recorder]:
    """A recorder with its catalogue on this engine."""
    if engine == "sqlite":
        yield Recorder(home)
        return
    with postgres.running() as server:
        yield Recorder(home, catalogue=server.url(server.create()))


async def until_captured(recorder: Recorder, talks: int) -> None:
    """Until the daemon says of so many calls that it captures their talk."""

    def captured() -> bool:
        states = [call["state"] for call in recorder.get("/status")[1]["calls"]]
        return states.count("talking, capturing") == talks

    await recorder.until(captured, f"{talks} captured talks", timeout=90)


async def ended(on: Stage, call: Call) -> float:
    """Hang up; for how many seconds the two had talked."""
    await on.calls.hang_up(call)
    placed, _ = await call.until_ended()
    return placed.bridged_seconds


async def talk_of(on: Stage, call: Call, outcome: str = "recorded") -> Path:
    """The one settled recording of this call, which ended well."""
    row = next(row for row in await on.recorder.calls() if row.linkedid == call.linkedid)
    assert (row.outcome, row.reason) == (outcome, None), on.recorder.log_tail()
    (path,) = await on.settled_paths(row)
    return path


def whole(path: Path, seconds: float) -> list[str]:
    """Both parties from the bridge on, without a gap to the end."""
    wrong = both_from_the_bridge_on(path)
    for side, hz in ((LEFT, CALLER), (RIGHT, AGENT)):
        heard = tones.seconds_of(tones.stretches(path, side, hz))
        if heard < seconds - 0.5:
            wrong.append(f"{heard:.1f} s of {hz} Hz, {seconds:g} s were said")
    return wrong


@ENGINES
async def test_calls_in_progress_through_an_upgrade_and_the_way_back_lose_nothing(
    release: str, engine: str, newer: Path, tmp_path: Path
) -> None:
    with kept_in(engine, tmp_path / "recorder") as recorder:
        async with stage(release, recorder=recorder) as on:
            throughout = await on.calls.incoming("support", STAYS, (Say(AGENT),))
            before = await on.calls.incoming("sales", STAYS, (Say(AGENT),), agent_name="agent2")
            await until_talking(on, throughout, "given")
            await until_talking(on, before, "given")

            await recorder.stop()  # the steps of docs/operating.md
            recorder.code = newer
            assert recorder.command("db", "upgrade").stdout == "catalogue at revision more\n"
            unseen = await on.calls.incoming("support", WAITS, (Say(AGENT),), agent_name="agent3")
            await unseen.until_ended()
            recorder.launch()
            await recorder.until(
                lambda: recorder.get("/readyz")[0] == 200, "the newer recorder to be ready", timeout=90
            )
            between = await on.calls.incoming("sales", STAYS, (Say(AGENT),), agent_name="agent4")
            await until_captured(recorder, 3)  # asked over HTTP: to this process the schema is too new
            before_talked = await ended(on, before)

            await recorder.stop()
            assert recorder.command("db", "downgrade", "--to", catalogue.newest()).returncode == 0
            recorder.code = REPOSITORY
            recorder.launch()
            await recorder.until(
                lambda: recorder.get("/readyz")[0] == 200, "the older recorder to be ready", timeout=90
            )
            talked = [(before, before_talked)]
            talked += [(call, await ended(on, call)) for call in (between, throughout)]
            rows = await on.closed(4, timeout=60)

            assert sorted(str(row.reason or row.outcome) for row in rows) == ["recorded"] * 3 + ["recorder_away"]
            for call, seconds in talked:
                assert whole(await talk_of(on, call), seconds) == []
            await recorder.until(lambda: not on.staged(), "the spool to be empty", timeout=90)
            verified = recorder.command("verify", check=False)
            assert verified.returncode == 0, verified.stdout


@ENGINES
async def test_a_schema_that_moves_under_a_running_daemon_costs_no_talk_and_is_not_written_into(
    release: str, engine: str, newer: Path, tmp_path: Path
) -> None:
    with kept_in(engine, tmp_path / "recorder") as recorder:
        async with stage(release, recorder=recorder) as on:
            call = await on.calls.incoming("support", STAYS, (Say(AGENT),))
            await until_talking(on, call, "given")

            recorder.code = newer
            recorder.command("db", "upgrade")
            await recorder.until(lambda: recorder.get("/readyz")[0] == 503, "the daemon to see the schema", timeout=90)
            assert f"at revision more now, and this recorder speaks {catalogue.newest()}" in str(
                recorder.get("/readyz")[1]["reasons"]
            )
            passing = await on.calls.incoming("sales", WAITS, (Say(AGENT),), agent_name="agent2")
            placed, _ = await passing.until_ended()
            assert placed.was_bridged

            recorder.command("db", "downgrade", "--to", catalogue.newest())
            recorder.code = REPOSITORY
            await recorder.until(lambda: recorder.get("/readyz")[0] == 200, "the daemon to be ready again", timeout=90)
            seconds = await ended(on, call)
            rows = await on.closed(2)

            assert sorted(str(row.reason or row.outcome) for row in rows) == ["catalogue_away", "recorded"]
            assert whole(await talk_of(on, call), seconds) == []
            verified = recorder.command("verify", check=False)
            assert verified.returncode == 0, verified.stdout


@ENGINES
async def test_a_daemon_that_meets_another_schema_at_its_start_says_so_and_captures_go_on_until_it_is_right(
    release: str, engine: str, newer: Path, tmp_path: Path
) -> None:
    with kept_in(engine, tmp_path / "recorder") as recorder:
        async with stage(release, recorder=recorder) as on:
            call = await on.calls.incoming("support", STAYS, (Say(AGENT),))
            await until_talking(on, call, "given")
            await recorder.stop()
            recorder.command("db", "downgrade", "--to", "0002")

            recorder.launch()
            await recorder.until(
                lambda: recorder.exit_code is not None, "the daemon to refuse the older schema", timeout=90
            )
            assert recorder.exit_code == 78
            assert f"is at 0002, older than {catalogue.newest()}: run `recorder db upgrade`" in recorder.log_tail()

            recorder.code = newer
            recorder.command("db", "upgrade")
            recorder.code = REPOSITORY
            recorder.launch()
            await recorder.until(
                lambda: recorder.exit_code is not None, "the daemon to refuse the newer schema", timeout=90
            )
            assert recorder.exit_code == 78
            assert "is at more, which this program" in recorder.log_tail()

            recorder.code = newer
            recorder.command("db", "downgrade", "--to", catalogue.newest())
            recorder.code = REPOSITORY
            await recorder.start()
            seconds = await ended(on, call)
            await on.closed(1)
            assert whole(await talk_of(on, call), seconds) == []
