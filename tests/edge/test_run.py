"""`recorder run` as a process beside a fake PBX: what it refuses, what it says, and how it ends."""

from __future__ import annotations

import asyncio
import shutil
import signal
import socket
import sqlite3
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from recorder import catalogue
from tests.fakes.agi import FakeAgi
from tests.fakes.pbx import FakePbx
from tests.pbx.server import PbxServer
from tests.recorder_process import REPOSITORY, Recorder


@pytest.fixture
async def pbx() -> AsyncIterator[FakePbx]:
    async with FakePbx() as running:
        yield running


@pytest.fixture
async def recorder(pbx: FakePbx, tmp_path: Path, sqlite_template: Path) -> AsyncIterator[Recorder]:
    """Configured beside the fake PBX, its catalogue made, not started."""
    async with Recorder(tmp_path / "recorder") as made:
        (tmp_path / "spool").mkdir(mode=0o700)
        configure(made, pbx)
        shutil.copyfile(sqlite_template, made.home / "catalogue.db")
        yield made


def configure(recorder: Recorder, pbx: FakePbx, **changes: Mapping[str, object]) -> None:
    spool = recorder.home.parent / "spool"
    server = SimpleNamespace(
        host=pbx.host,
        ports=SimpleNamespace(ami=pbx.port),
        recorder_user=pbx.username,
        recorder_secret=pbx.secret,
        cli=("false",),
        queue_log=recorder.home / "queue_log",
        cdr=recorder.home / "Master.csv",
        prompts=str(REPOSITORY / "dialplan" / "prompts"),
        captures=spool,
    )
    recorder.configure(cast(PbxServer, server), **changes)


async def ended(recorder: Recorder, seconds: float = 20) -> tuple[int | None, list[str]]:
    """The exit code and what was said, once the process has ended."""
    await recorder.until(lambda: recorder.exit_code is not None, "the process to end", timeout=seconds)
    return recorder.exit_code, recorder.log.read_text("utf-8").splitlines()


async def refused(recorder: Recorder) -> tuple[int | None, list[str]]:
    recorder.launch()
    code, said = await ended(recorder)
    assert not is_listening(recorder.http_port)
    assert not is_listening(recorder.agi_port)
    assert not any("Traceback" in line for line in said)
    return code, said


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def until_ready(recorder: Recorder) -> None:
    await recorder.until(lambda: recorder.get("/readyz")[0] == 200, "the daemon to be ready")


# --------------------------------------------------------------------------- what it refuses


async def test_every_mistaken_folder_is_said_at_once_and_nothing_listens(
    recorder: Recorder, pbx: FakePbx, tmp_path: Path
) -> None:
    recorder.recordings.chmod(0o755)
    wrong: dict[str, dict[str, object]] = {
        "capture": {"spool": str(tmp_path / "no_spool")},
        "prompts": {"path": str(tmp_path / "no_prompts"), "path_here": str(tmp_path / "no_prompts")},
        "ami": {"host": "no-such-host.invalid"},
    }
    configure(recorder, pbx, **wrong)
    code, said = await refused(recorder)
    assert code == 78
    for named in ("no_spool", "no_prompts", "no-such-host.invalid", str(recorder.recordings)):
        assert sum(named in line for line in said) == 1, named
    assert pbx.accepted == 0


async def test_a_catalogue_that_is_not_there_is_refused_in_one_sentence(recorder: Recorder) -> None:
    (recorder.home / "catalogue.db").unlink()
    code, said = await refused(recorder)
    assert (code, len(said)) == (78, 1)
    assert "`recorder db upgrade` creates one" in said[0]
    assert not (recorder.home / "catalogue.db").exists()


async def test_an_empty_catalogue_is_refused_in_one_sentence(recorder: Recorder) -> None:
    (recorder.home / "catalogue.db").write_bytes(b"")
    code, said = await refused(recorder)
    assert (code, len(said)) == (78, 1)
    assert "`recorder db upgrade` makes a catalogue of it" in said[0]


async def test_a_catalogue_of_another_revision_is_refused_in_one_sentence(recorder: Recorder) -> None:
    with closing(sqlite3.connect(recorder.home / "catalogue.db")) as database, database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    code, said = await refused(recorder)
    assert (code, len(said)) == (78, 1)
    assert f"is at 9999, which this program (at {catalogue.newest()}) does not know" in said[0]


@contextmanager
def taken(port: int) -> Iterator[None]:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", port))
        holder.listen()
        yield


@pytest.mark.parametrize("setting", ["http", "agi"])
async def test_a_port_that_somebody_else_has_is_refused_in_one_sentence(recorder: Recorder, setting: str) -> None:
    port = {"http": recorder.http_port, "agi": recorder.agi_port}[setting]
    with taken(port):
        recorder.launch()
        code, said = await ended(recorder)
    assert code == 1
    assert said == [
        f"recorder cannot start: {setting}.bind: 127.0.0.1:{port} cannot be listened on: Address already in use"
    ]


# --------------------------------------------------------------------------- what it lives with


async def test_a_wrong_secret_leaves_it_up_and_not_ready_and_says_so(recorder: Recorder, pbx: FakePbx) -> None:
    configure(recorder, pbx, ami={"secret": "another"})
    recorder.launch()
    await recorder.until(lambda: "refused" in str(recorder.get("/readyz")[1]), "the refusal to be told")
    status, body = recorder.get("/readyz")
    assert status == 503
    assert "another" not in str(body)
    assert recorder.get("/healthz")[0] == 200
    assert "another" not in recorder.log.read_text("utf-8")


async def test_a_pbx_that_is_not_there_yet_is_waited_for(recorder: Recorder, pbx: FakePbx) -> None:
    await pbx.stop()
    recorder.launch()
    await recorder.until(lambda: recorder.get("/readyz")[0] == 503, "the daemon to be up")
    await pbx.start_again()
    await until_ready(recorder)


# --------------------------------------------------------------------------- how it ends


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_in_order_within_five_seconds(recorder: Recorder, number: signal.Signals) -> None:
    recorder.launch()
    await until_ready(recorder)
    recorder.send(number)
    code, said = await ended(recorder, seconds=5)
    assert code == 0
    assert not any("Traceback" in line or "level=error" in line for line in said)


async def test_a_signal_in_mid_dialogue_ends_it_in_order_too(recorder: Recorder, pbx: FakePbx) -> None:
    recorder.launch()
    await until_ready(recorder)
    async with FakeAgi(recorder.agi_port) as caller, FakeAgi(recorder.agi_port, b"agi_network: yes\n"):
        caller.answers["STREAM FILE"] = lambda _: None
        await caller.until_command("STREAM FILE")
        pbx.freeze()
        recorder.send(signal.SIGTERM)
        code, said = await ended(recorder, seconds=5)
        await caller.until_over()
    assert code == 0
    assert not any("Traceback" in line for line in said), said


async def test_a_signal_before_the_pbx_is_reached_ends_it_in_order_too(recorder: Recorder, pbx: FakePbx) -> None:
    pbx.freeze()
    recorder.launch()
    await pbx.until(lambda: pbx.accepted > 0)
    recorder.send(signal.SIGTERM)
    code, said = await ended(recorder, seconds=5)
    assert code == 0
    assert not any("Traceback" in line for line in said), said


# --------------------------------------------------------------------------- systemd


async def test_systemd_is_told_when_it_is_ready_that_it_lives_and_when_it_stops(
    recorder: Recorder, tmp_path: Path
) -> None:
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(address))
        systemd.settimeout(20)

        async def until_told(word: str, told: set[str]) -> None:
            while word not in told:
                told.add((await asyncio.to_thread(systemd.recv, 1024)).decode())

        told: set[str] = set()
        recorder.launch(environment={"NOTIFY_SOCKET": str(address)})
        await until_told("READY=1", told)
        assert is_listening(recorder.agi_port)
        await until_told("WATCHDOG=1", told)
        told.clear()
        await until_told("WATCHDOG=1", told)  # again and again
        recorder.send(signal.SIGTERM)
        await until_told("STOPPING=1", told)
        assert (await ended(recorder))[0] == 0
