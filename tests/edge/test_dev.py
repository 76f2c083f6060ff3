"""./dev as a newcomer meets it: on a machine that lacks everything, and when one only asks what it can do."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with what ./dev reads, and bin/ that comes first on its PATH."""
    for name in ("dev", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "bin").mkdir()
    return tmp_path


@pytest.fixture
def run(checkout: Path) -> Run:
    def run_dev(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        env = {"PATH": f"{checkout / 'bin'}:{os.environ['PATH']}", "HOME": str(checkout), **environment}
        command = ["bash", "dev", *arguments]
        return subprocess.run(
            command, cwd=checkout, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30
        )

    return run_dev


def stand_in(checkout: Path, name: str, script: str) -> None:
    """Put a program of this name first on ./dev's PATH."""
    program = checkout / "bin" / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def test_without_a_command_it_lists_every_command_it_has(run: Run) -> None:
    cases = re.findall(r"(?m)^([a-z][a-z |]+)\)$", (ROOT / "dev").read_text())
    commands = {name.strip() for case in cases for name in case.split("|")}
    listed = run()
    assert listed.returncode == 0
    assert set(re.findall(r"(?m)^  \./dev (\w+)", listed.stdout)) == commands | {"help"}
    assert run("help").stdout == listed.stdout


def test_an_unknown_command_is_a_usage_error_and_sets_nothing_up(run: Run, checkout: Path) -> None:
    answer = run("bnech")
    assert answer.returncode == 2
    assert "no command bnech" in answer.stderr
    assert not list(checkout.glob(".venv*"))


def test_without_root_or_sudo_it_names_the_packages_and_stops(run: Run, checkout: Path) -> None:
    stand_in(checkout, "dpkg-query", 'case "$3" in git) printf installed ;; *) exit 1 ;; esac')
    stand_in(checkout, "id", "echo 1000")
    stand_in(checkout, "sudo", "exit 1")
    answer = run("setup")
    assert answer.returncode == 1
    (line,) = re.findall(r"(?m)^  (apt-get install .*)$", answer.stderr)
    assert {"podman", "runc", "mmdebstrap", "sip-tester", "postgresql", "python3-venv"} <= set(line.split())
    assert "git" not in line.split()
    assert not list(checkout.glob(".venv*"))


@pytest.mark.parametrize(
    ("named", "code", "words"),
    [(None, 0, ("NOT TRIED: the pages in a browser", "RECORDER_BROWSER=")), ("/no/browser", 4, ("is no program",))],
)
def test_where_there_is_no_chromium_the_browser_tier_says_so_and_how_to_mend_it(
    tmp_path: Path, named: str | None, code: int, words: tuple[str, ...]
) -> None:
    """Never silently: neither where nobody named one, nor where what is named is not there."""
    env = {"PATH": str(tmp_path), "HOME": str(tmp_path)} | ({} if named is None else {"RECORDER_BROWSER": named})
    command = [sys.executable, "-m", "pytest", "-p", "no:xdist", "tests/browser", "-k", "sign-in"]
    answer = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=120)
    assert answer.returncode == code, answer.stdout + answer.stderr
    assert [word for word in words if word not in answer.stdout + answer.stderr] == []
    assert "passed" not in answer.stdout


def test_a_failing_installation_shows_the_end_of_its_log_and_stops(run: Run, checkout: Path) -> None:
    stand_in(checkout, "dpkg-query", 'case "$3" in runc) exit 1 ;; *) printf installed ;; esac')
    stand_in(checkout, "id", "echo 1000")
    stand_in(checkout, "sudo", '[ "$1" = -n ] && exit 0; echo "E: Unable to locate package runc" >&2; exit 100')
    answer = run("setup")
    assert answer.returncode == 1
    assert "[1/2] system packages (runc) ... failed" in answer.stdout
    assert "E: Unable to locate package runc" in answer.stderr
    assert not list(checkout.glob(".venv*"))


def test_an_interpreter_that_is_too_old_is_refused_before_anything_is_made(run: Run, checkout: Path) -> None:
    stand_in(checkout, "python3.9", "exit 1")
    answer = run("setup", RECORDER_PYTHON="python3.9", RECORDER_PACKAGES="skip")
    assert answer.returncode == 1
    assert "python3.9 is not Python 3.11, 3.12 or 3.13" in answer.stderr
    assert not list(checkout.glob(".venv*"))


def test_a_set_up_that_is_there_is_not_made_again(run: Run, checkout: Path) -> None:
    journal = checkout / "calls"
    stand_in(checkout, "python3.12", f'echo "$*" >>{journal}; case "$1" in -V*) echo Python 3.12.1 ;; esac')
    (checkout / ".venv-python3.12/bin").mkdir(parents=True)
    shutil.copy(checkout / "bin/python3.12", checkout / ".venv-python3.12/bin/python")
    setup = {"RECORDER_PYTHON": "python3.12", "RECORDER_PACKAGES": "skip"}
    assert "[2/2]" in run("setup", **setup).stdout
    assert "-m venv" in journal.read_text()
    journal.write_text("")
    assert "[2/2]" not in run("setup", **setup).stdout
    assert "-m venv" not in journal.read_text()
    (checkout / "constraints.txt").write_text("numpy==1\n")
    assert "[2/2]" in run("setup", **setup).stdout


@pytest.fixture
def ready(checkout: Path, run: Run) -> dict[str, str]:
    """The environment of a checkout that is set up, whose tools only say how they were called."""
    stand_in(checkout, "python3.12", 'case "$1" in -V*) echo Python 3.12.1 ;; esac')
    tools = checkout / ".venv-python3.12" / "bin"
    tools.mkdir(parents=True)
    shutil.copy(checkout / "bin" / "python3.12", tools / "python")
    setup = {"RECORDER_PYTHON": "python3.12", "RECORDER_PACKAGES": "skip"}
    assert run("setup", **setup).returncode == 0
    for tool in ("ruff", "mypy", "lint-imports", "pytest"):
        stand_in(checkout, tool, f'echo "called: {tool} $*"; case "{tool} $*" in $FAILING) exit 1 ;; esac')
        shutil.move(checkout / "bin" / tool, tools / tool)
    return setup


def test_the_whole_suite_ends_with_the_words_of_its_last_tier(run: Run, ready: dict[str, str]) -> None:
    answer = run("test", **ready)
    tiers = [line for line in answer.stdout.splitlines() if line.startswith("called: pytest")]
    assert answer.returncode == 0
    played = (" tests/core tests/edge", " tests/browser", " tests/live", " tests/faults")
    assert [those in tier for those, tier in zip(played, tiers, strict=True)] == [True] * 4
    assert answer.stdout.splitlines()[-1] == tiers[-1]
    assert answer.stderr == ""


def test_after_a_tier_that_failed_the_others_run_and_the_end_names_it(run: Run, ready: dict[str, str]) -> None:
    answer = run("test", **ready, FAILING="mypy*")
    assert answer.returncode == 1
    assert answer.stdout.count("called: pytest") == 4
    assert answer.stderr.splitlines()[-1] == "failed: lint"


def test_every_check_of_lint_runs_even_after_one_failed(run: Run, ready: dict[str, str]) -> None:
    answer = run("lint", **ready, FAILING="ruff*")
    assert answer.returncode == 1
    assert [tool in answer.stdout for tool in ("ruff format", "ruff check", "mypy", "lint-imports")] == [True] * 4


def test_arguments_reach_pytest(run: Run, ready: dict[str, str]) -> None:
    assert "called: pytest tests/core -k retry" in run("core", "-k", "retry", **ready).stdout


@pytest.mark.skipif("ID=debian" not in Path("/etc/os-release").read_text(), reason="Debian alone has the package")
def test_who_wants_the_browser_tier_is_given_chromium_and_nobody_else(
    run: Run, ready: dict[str, str], checkout: Path
) -> None:
    stand_in(checkout, "dpkg-query", 'case "$3" in chromium) exit 1 ;; *) printf installed ;; esac')
    stand_in(checkout, "id", "echo 1000")
    stand_in(checkout, "sudo", "exit 1")
    python = {"RECORDER_PYTHON": ready["RECORDER_PYTHON"]}
    refused = run("browser", **python)
    assert "apt-get install --no-install-recommends chromium\n" in refused.stderr
    assert "called: pytest" not in refused.stdout
    for another in (run("core", **python), run("browser", **ready), run("browser", RECORDER_BROWSER="/a", **python)):
        assert ("called: pytest" in another.stdout, another.stderr) == (True, "")
