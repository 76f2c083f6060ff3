"""Where the test PBX's packages come from, on each of the systems that ./dev serves."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pbx.image import PUBLIC_MIRROR, debian_mirror

OWN = "http://mirror.example/debian"


@pytest.fixture
def etc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine's /etc with no word of its system or its packages yet."""
    monkeypatch.delenv("RECORDER_DEBIAN_MIRROR", raising=False)
    (tmp_path / "apt/sources.list.d").mkdir(parents=True)
    return tmp_path


def system(etc: Path, identity: str, codename: str) -> None:
    (etc / "os-release").write_text(f'NAME="x"\nID={identity}\nVERSION_CODENAME={codename}\n')


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("sources.list", f"# comment\ndeb [signed-by=/k.gpg] {OWN} trixie main\n"),
        (
            "sources.list.d/debian.sources",
            f"Types: deb\nURIs: {OWN}/\nSuites: trixie trixie-updates\nComponents: main\n",
        ),
    ],
)
def test_a_debian_machines_own_mirror_is_used_in_either_notation(etc: Path, file: str, text: str) -> None:
    system(etc, "debian", "trixie")
    (etc / "apt" / file).write_text(text)
    assert debian_mirror(etc) == OWN


def test_ubuntus_mirror_is_not_taken_for_debians(etc: Path) -> None:
    system(etc, "ubuntu", "noble")
    sources = "Types: deb\nURIs: http://archive.example/ubuntu/\nSuites: noble noble-updates\nComponents: main\n"
    (etc / "apt/sources.list.d/ubuntu.sources").write_text(sources)
    assert debian_mirror(etc) == PUBLIC_MIRROR


def test_a_mirror_that_is_named_is_used_everywhere(etc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system(etc, "ubuntu", "noble")
    monkeypatch.setenv("RECORDER_DEBIAN_MIRROR", f"{OWN}/")
    assert debian_mirror(etc) == OWN
