"""What happens by itself at night: alarms of the whole daemon, full disks, and who yields to whom."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from recorder.alarms import AlarmKind
from recorder.priority import STEP_BACK, keep_pace, step_back
from recorder.storage import Spool, StorageError, free_space
from tests.edge.centre import LINES, Centre, until
from tests.edge.test_alert_rules import fill, ring
from tests.fakes.pbx import FakePbx
from tests.small_disk import small_disk

pytestmark = pytest.mark.usefixtures("no_task_left")


@pytest.fixture
def engine_name() -> str:
    return "sqlite"


class Told:
    """A hook that keeps what it is told, one line each; while `fails` exists it fails instead."""

    def __init__(self, folder: Path) -> None:
        self.fails = folder / "fails"
        self._kept = folder / "told.jsonl"
        self._program = folder / "hook"
        self._program.write_text(
            f"#!{sys.executable}\nimport sys, os\n"
            f"if os.path.exists({str(self.fails)!r}): sys.exit(1)\n"
            f"open({str(self._kept)!r}, 'a').write(sys.stdin.read())\n",
            encoding="utf-8",
        )
        self._program.chmod(0o700)

    @property
    def settings(self) -> dict[str, Any]:
        return {"hook": [str(self._program)], "unready_seconds": 1, "hook_seconds": 30}

    def __call__(self, kind: str | None = None) -> list[dict[str, Any]]:
        lines = self._kept.read_text("utf-8").splitlines() if self._kept.exists() else []
        return [told for told in map(json.loads, lines) if kind in (None, told["kind"])]


@pytest.fixture
def told(tmp_path: Path) -> Told:
    return Told(tmp_path)


Opens = Callable[..., Any]


@pytest.fixture
def opened(catalogue_url: str, tmp_path: Path, told: Told) -> Opens:
    @asynccontextmanager
    async def make(started: bool = True, **sections: Mapping[str, Any]) -> AsyncIterator[Centre]:
        async with FakePbx() as pbx:
            alarm = {**told.settings, **sections.pop("alarm", {})}
            centre = Centre(pbx, tmp_path, catalogue_url, alarm=alarm, **sections)
            try:
                if started:
                    await centre.start()
                yield centre
            finally:
                await centre.kill()

    return make


async def lose_a_call(centre: Centre) -> None:
    centre.writes_files = False
    talk = await centre.asks()
    centre.connects(talk)
    await centre.until_talking()
    centre.hangs_up(talk)
    await until(lambda: sum(centre.counters.lost.values()), "a lost call")


# --------------------------------------------------------------------------- alarms of the whole daemon


async def test_a_lost_call_runs_the_hook_once_with_its_reason_and_nothing_of_the_caller(
    opened: Opens, told: Told
) -> None:
    async with opened() as centre:
        await lose_a_call(centre)
        await until(lambda: told("lost"), "the hook")
        (notice,) = told("lost")
        assert (notice["occasion"], notice["urgent"], sum(notice["counts"].values())) == ("raised", True, 1)
        (call,) = await centre.catalogue.list_calls(10)
        assert str(call.id) not in str(notice)
        assert call.linkedid not in str(notice)


async def test_many_lost_calls_of_one_outage_wake_nobody_a_second_time(opened: Opens, told: Told) -> None:
    async with opened() as centre:
        await lose_a_call(centre)
        await until(lambda: told("lost"), "the hook")
        for _ in range(3):
            talk = await centre.asks()
            centre.connects(talk)
            await until(lambda: any(row.state.phase == "talking" for row in centre.runners))
            centre.hangs_up(talk)
        await centre.until_closed(4)
        await until(lambda: sum(_lost_alarm(centre).values()) == 4, "all four")
        assert len(told("lost")) == 1


def _lost_alarm(centre: Centre) -> Mapping[str, int]:
    return centre.assembly.daemon.parts.alarms.alarms.now[AlarmKind.LOST].counts


async def test_an_asterisk_that_goes_and_comes_back_is_an_alarm_and_its_end(opened: Opens, told: Told) -> None:
    async with opened() as centre:
        await centre.pbx.stop()
        await until(lambda: "Asterisk is not connected" in str(told("unready")[-1:]), "the alarm")
        await centre.pbx.start_again()
        await until(lambda: told("unready")[-1]["occasion"] == "over", "its end", seconds=20)
        assert told("unready")[-2]["alarm"] == told("unready")[-1]["alarm"]


async def test_lost_calls_of_which_nobody_could_be_told_are_told_by_the_next_daemon(opened: Opens, told: Told) -> None:
    async with opened() as centre:
        told.fails.touch()
        await lose_a_call(centre)
        (courier,) = centre.assembly.daemon.parts.alarms.couriers
        await until(lambda: courier.failed, "the hook to fail")
        await centre.kill()
        told.fails.unlink()
        await centre.start()
        await until(lambda: told("lost"), "the hook")
        assert sum(told("lost")[0]["counts"].values()) == 1
        (courier,) = centre.assembly.daemon.parts.alarms.couriers
        await until(lambda: not courier.waiting, "the notice to be told")
        await centre.kill()
        await centre.start()
        ring(centre, "alarms")
        await until(lambda: centre.assembly.daemon.sweeps["alarms"].last_ok_at, "a look")
        assert len(told("lost")) == 1  # and by no further one


async def test_a_kind_that_nobody_wants_to_hear_of_runs_no_hook_and_stands_in_the_figures(
    opened: Opens, told: Told
) -> None:
    async with opened(alarm={"kinds": ["disk"]}) as centre:
        await lose_a_call(centre)
        await until(lambda: sum(_lost_alarm(centre).values()), "the alarm")
        (courier,) = centre.assembly.daemon.parts.alarms.couriers
        assert (courier.waiting, told()) == (0, [])


async def pass_of(centre: Centre, name: str) -> None:
    """A pass of a sweep that begins from now on has come to its end."""
    sweep = centre.assembly.daemon.sweeps[name]
    for _ in range(2):  # one may be on its way
        before = sweep.last_ok_at
        sweep.bell.set()
        async with asyncio.timeout(10):
            while sweep.last_ok_at == before:
                await asyncio.sleep(0.01)


async def looks_for_pauses(centre: Centre) -> None:
    await pass_of(centre, "pauses")
    await pass_of(centre, "alarms")


async def until_paused(centre: Centre, calls: int) -> None:
    await until(lambda: sum(row.state.paused is not None for row in centre.runners) == calls, f"{calls} paused calls")


@pytest.mark.slow
async def test_a_pause_beyond_its_lines_limit_runs_the_hook_once_and_once_more_when_it_is_over(
    opened: Opens, told: Told
) -> None:
    async with opened(line={"support": {**LINES["support"], "pause_longest_seconds": 10}}) as centre:
        patient, talk = (
            await centre.asks(line="sales"),
            await centre.asks(),
        )  # a line of five minutes, one of ten seconds
        centre.connects(patient, queue="sales")
        centre.connects(talk)
        await centre.until_talking(2)
        centre.marks(patient, "pause")
        centre.marks(talk, "pause")
        await until_paused(centre, 2)
        await looks_for_pauses(centre)
        centre.marks(talk, "resume")
        await until_paused(centre, 1)
        await looks_for_pauses(centre)
        assert told() == []  # of short ones
        centre.marks(talk, "pause")
        await until(lambda: told("pause"), "the hook", seconds=30)
        await looks_for_pauses(centre)
        (courier,) = centre.assembly.daemon.parts.alarms.couriers
        assert (courier.waiting, len(told())) == (0, 1)
        centre.marks(talk, "resume")
        await until(lambda: len(told("pause")) == 2, "its end", seconds=20)
        raised, over = told("pause")
        assert (raised["occasion"], raised["urgent"], raised["counts"]) == ("raised", False, {"paused": 1})
        assert raised["reasons"] == ["1 of them is so now"]
        assert (over["occasion"], over["alarm"], over["counts"]) == ("over", raised["alarm"], {"paused": 1})
        for call in await centre.catalogue.list_calls(10):
            assert str(call.id) not in str((raised, over))
            assert call.linkedid not in str((raised, over))


async def test_what_is_kept_about_alarms_is_one_time_and_nothing_else(opened: Opens, told: Told) -> None:
    async with opened() as centre:
        await lose_a_call(centre)
        await until(lambda: told("lost"), "the hook")
        kept = centre.rows("SELECT value FROM bookmarks WHERE name = 'lost_told'")
        assert set(json.loads(str(kept[0][0]))) == {"at"}


async def test_a_hook_that_hangs_holds_up_no_call(opened: Opens, tmp_path: Path) -> None:
    slow = tmp_path / "slow"
    slow.write_text("#!/bin/sh\nsleep 600\n", encoding="utf-8")
    slow.chmod(0o700)
    async with opened(alarm={"hook": [str(slow)]}) as centre:
        await centre.pbx.stop()
        (courier,) = centre.assembly.daemon.parts.alarms.couriers
        await until(lambda: courier.waiting, "the alarm")
        await centre.pbx.start_again()
        await centre.until_ready()
        talk = await centre.asks()
        centre.connects(talk)
        await centre.until_talking()
        centre.hangs_up(talk)
        assert await centre.outcome() == ("recorded", None)
        assert courier.waiting


# --------------------------------------------------------------------------- disks


async def test_a_disk_beyond_80_percent_makes_us_degraded_and_captures_all_the_same(opened: Opens) -> None:
    async with opened(started=False) as centre:
        with small_disk(centre.spool, "40m"):
            await centre.start()
            await until(lambda: centre.assembly.daemon.sweeps["books"].last_ok_at, "the books")
            fill(centre.spool, 33)
            ring(centre, "fullness")
            await until(lambda: centre.assembly.daemon.parts.fullness.warnings, "the look")
            await centre.until_ready()
            report = await centre.assembly.status()
            assert report.state == "degraded"
            assert len(report.reasons) == 1, report.reasons
            assert "the disk of spool is 8" in report.reasons[0]
            assert report.spool.used_share is not None
            assert report.spool.used_share > 0.8
            talk = await centre.asks()
            centre.connects(talk)
            await centre.until_talking()
            centre.hangs_up(talk)
            assert await centre.outcome() == ("recorded", None)
            await centre.kill()


async def test_folders_on_one_file_system_are_one_disk_and_one_reason(opened: Opens) -> None:
    async with opened(capture={"warn_percent": 0.001}) as centre:
        await until(lambda: centre.assembly.daemon.parts.fullness.warnings, "the look")
        report = await centre.assembly.status()
        assert len(report.reasons) == 1
        assert "the disk of spool and storage is" in report.reasons[0]


def test_a_file_system_without_file_names_left_is_full_however_much_room_it_has(tmp_path: Path) -> None:
    with small_disk(tmp_path, "40m", names=50):
        before = free_space(tmp_path)
        for number in range(40):
            (tmp_path / str(number)).touch()
        after = free_space(tmp_path)
    assert (before.used < 0.3, after.used > 0.8, after.share > 0.9) == (True, True, True)


def test_a_folder_that_cannot_be_asked_has_no_fullness(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        Spool(tmp_path / "gone").free()


# --------------------------------------------------------------------------- who yields


def nice_of_this_thread() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def test_a_thread_that_steps_back_does_so_alone() -> None:
    before = nice_of_this_thread()
    with ThreadPoolExecutor(1, initializer=step_back) as audio:
        assert audio.submit(nice_of_this_thread).result() == min(19, before + STEP_BACK)
    assert nice_of_this_thread() == before


async def test_a_program_that_is_kept_to_a_pace_takes_a_third_of_a_processor_in_whatever_thread() -> None:
    program = (
        "import sys, threading, time\n"
        "def work():\n"
        "    until = time.monotonic() + 1.5\n"
        "    while time.monotonic() < until: pass\n"
        "threads = [threading.Thread(target=work) for _ in range(2)]\n"
        "[thread.start() for thread in threads]; [thread.join() for thread in threads]\n"
        "print(time.process_time())"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE)
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        group.create_task(keep_pace(process, 0))
        out, _ = await process.communicate()
    assert float(out) < 0.9
    assert process.returncode == 0


async def test_a_program_that_ends_with_its_parent_does_so_also_where_it_stands_still() -> None:
    child = "import os, signal; from recorder.priority import end_with_parent; end_with_parent(); "
    child += "print(os.getpid(), flush=True); os.kill(os.getpid(), signal.SIGSTOP)"
    parent = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {child!r}]); time.sleep(60)"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", parent, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    pid = int(await asyncio.wait_for(process.stdout.readline(), 20))
    await until(lambda: _state(pid) == "T")
    process.kill()
    await process.wait()
    await until(lambda: _state(pid) in (None, "Z"))


def _state(pid: int) -> str | None:
    """What the kernel says of a process; None where it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    except OSError:
        return None


async def test_the_daemon_joins_and_measures_behind_everything_else_it_does(opened: Opens) -> None:
    async with opened() as centre:
        talk = await centre.asks()
        centre.connects(talk)
        await centre.until_talking()
        centre.hangs_up(talk)
        assert await centre.outcome() == ("recorded", None)
        nices = {
            thread.name.partition("_")[0]: os.getpriority(os.PRIO_PROCESS, thread.native_id)
            for thread in threading.enumerate()
            if thread.native_id is not None
        }
        assert nices["audio"] == min(19, nices["disk"] + STEP_BACK)
        assert nices["disk"] == nices["MainThread"]
