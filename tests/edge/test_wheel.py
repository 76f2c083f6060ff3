"""What an administrator gets: one package that carries all it needs, without the repository at hand."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel as built from this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=60)
    (file,) = folder.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def wheel(built: Path) -> set[str]:
    """The names of everything in it."""
    return set(zipfile.ZipFile(built).namelist())


def carried_as(folder: str, name: str) -> set[str]:
    """What git would hold of `folder`, under the name it has in the wheel."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", folder],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return {name + line.removeprefix(folder) for line in listed.stdout.splitlines() if (ROOT / line).exists()}


def test_the_wheel_installs_one_top_level_package(wheel: set[str]) -> None:
    tops = {name.split("/")[0] for name in wheel}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"recorder"}


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("recorder", "recorder"),
        ("db", "recorder/migrations"),
        ("dialplan", "recorder/dialplan"),
        ("deploy", "recorder/deploy"),
    ],
)
def test_the_wheel_carries_the_whole_folder(wheel: set[str], folder: str, name: str) -> None:
    expected = carried_as(folder, name)
    assert expected
    assert expected <= wheel


def test_the_wheel_carries_the_licence(wheel: set[str]) -> None:
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in wheel)


def test_the_installed_wheel_migrates_a_database_without_the_repository(built: Path, tmp_path: Path) -> None:
    installed, home = tmp_path / "installed", tmp_path / "home"
    home.mkdir()
    with zipfile.ZipFile(built) as archive:
        archive.extractall(installed)
    settings = home / "recorder.toml"
    settings.write_text(
        f'[ami]\nusername = "recorder"\nsecret = "none"\n[catalogue]\nurl = "sqlite:///{home}/catalogue.db"\n', "utf-8"
    )
    environment = {"PYTHONPATH": str(installed), "PATH": "/usr/bin:/bin"}
    where = "import recorder; print(recorder.__file__)"
    for words in (["-c", where], ["-m", "recorder", "--config", str(settings), "db", "upgrade"]):
        done = subprocess.run(
            [sys.executable, *words], cwd=home, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        if words[0] == "-c":
            assert done.stdout.startswith(str(installed)), "the checkout was imported, not the wheel"
    assert (home / "catalogue.db").stat().st_mode & 0o777 == 0o600
