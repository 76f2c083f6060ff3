"""The systemd unit, read by systemd itself: no mistake in it, and little that it may do."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from recorder.house_note import LOOKED_WITHIN

UNIT = Path(__file__).parents[2] / "deploy" / "recorder.service"
EXPOSURE = 1.5  # of 10; below 2 is what systemd calls OK
OURS_BY_NATURE = {
    "RootDirectoryOrRootImage",  # Python and the folders are the machine's
    "SupplementaryGroups",  # adm, for the queue log
    "DeviceAllow",  # ProtectClock lets the clock be read
    "SystemCallFilter_resources",  # of which setpriority alone is allowed
    "MemoryDenyWriteExecute",  # libffi, under soundfile
    "PrivateUsers",  # the spool belongs to Asterisk's user
    "PrivateNetwork",
    "RestrictAddressFamilies_AF_INET_INET6",
    "RestrictAddressFamilies_AF_UNIX",
    "IPAddressDeny",  # the PBX and the database may be elsewhere
}

pytestmark = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed here")


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with a program that is there."""
    text = re.sub(r"(?m)^ExecStart=\S+", f"ExecStart={shutil.which('true')}", UNIT.read_text("utf-8"))
    copy = tmp_path / "recorder.service"
    copy.write_text(text, encoding="utf-8")
    return copy


def analyse(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, check=False, timeout=60)


def test_systemd_finds_no_mistake_in_the_unit(unit: Path) -> None:
    done = analyse("verify", "--man=no", str(unit))
    about_us = [line for line in (done.stdout + done.stderr).splitlines() if "recorder.service" in line]
    assert (done.returncode, about_us) == (0, [])


def test_the_unit_may_do_little_and_each_thing_it_may_do_is_known(unit: Path) -> None:
    done = analyse("security", "--offline=true", "--json=short", f"--threshold={round(EXPOSURE * 10)}", str(unit))
    assert done.returncode == 0, done.stderr
    open_still = {row["json_field"] for row in json.loads(done.stdout) if row["set"] is False}
    assert open_still <= OURS_BY_NATURE


def test_systemd_finds_no_mistake_in_the_look_at_the_house(tmp_path: Path) -> None:
    there = shutil.which("true")
    for name in ("recorder.service", "recorder-rivals.service", "recorder-rivals.timer", "recorder-rivals.path"):
        text = re.sub(r"(?m)^ExecStart=\S+", f"ExecStart={there}", (UNIT.parent / name).read_text("utf-8"))
        (tmp_path / name).write_text(text, encoding="utf-8")
    for name in ("recorder-rivals.service", "recorder-rivals.timer", "recorder-rivals.path"):
        done = analyse("verify", "--man=no", str(tmp_path / name))
        about_us = [line for line in (done.stdout + done.stderr).splitlines() if "recorder" in line]
        assert (done.returncode, about_us) == (0, [])


def test_the_look_is_made_at_each_start_of_the_daemon_and_more_often_than_it_may_be_old() -> None:
    texts = {name: (UNIT.parent / name).read_text("utf-8") for name in ("recorder.service", "recorder-rivals.timer")}
    assert "\nWants=recorder-rivals.service\n" in texts["recorder.service"]
    found = re.search(r"(?m)^OnUnitActiveSec=(\d+)min$", texts["recorder-rivals.timer"])
    assert found is not None
    assert timedelta(minutes=int(found[1])) * 3 <= LOOKED_WITHIN


def test_the_look_of_a_start_is_made_behind_it_and_no_number_of_looks_ends_them() -> None:
    """The daemon believes no look of before its own start; a start limit would end the path unit with the service."""
    text = (UNIT.parent / "recorder-rivals.service").read_text("utf-8")
    assert re.search(r"(?m)^After=.*\brecorder\.service\b", text)
    assert "\nStartLimitIntervalSec=0\n" in text


def test_the_sandbox_lets_analysis_step_back_behind_the_calls() -> None:
    """The class @resources, which it refuses, holds setpriority; the last word on a call counts."""
    filters = re.findall(r"(?m)^SystemCallFilter=(.+)$", UNIT.read_text("utf-8"))
    assert filters[-1] == "setpriority"
