"""The images of deploy/Containerfile, built on this machine.

Base images come from their registry where it can be reached, else they are made with mmdebstrap from the machine's own
mirror and imported under the same name: what is built on them is built from the same text.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.pbx.image import KEYRING, apt_proxies, debian_mirror

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
BASES = {"docker.io/library/debian:trixie-slim": "trixie", "docker.io/library/debian:forky-slim": "forky"}
POSTGRES = "docker.io/library/postgres:17"
TARGETS = {"recorder": "localhost/recorder", "asterisk": "localhost/recorder-asterisk"}
CERTIFICATES = Path("/etc/ssl/certs")
PULL_WITHIN = 300

Say = Callable[[str], None]


class BuildFailed(Exception):
    """The text is the end of what the command said."""


def podman(*words: str, within: float = 900) -> str:
    """Run podman and return what it printed; BuildFailed where it failed."""
    return run(["podman", "--runtime", "runc", *words], within=within)


def run(command: Sequence[str], within: float = 900, cwd: Path | None = None) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=within, cwd=cwd)
    if done.returncode != 0:
        end = "\n".join((done.stdout + done.stderr).splitlines()[-25:])
        raise BuildFailed(f"{' '.join(command[:5])} ... failed ({done.returncode}):\n{end}")
    return (done.stdout if done.stdout else done.stderr).strip()  # what a container says may come by either


def ensure_all(say: Say) -> None:
    """Build both images anew, and see to their bases and to PostgreSQL."""
    for name, suite in BASES.items():
        if not _is_here(name) and not _pulled(name):
            say(f"{name}: made from {debian_mirror()}")
            _import(name, suite)
    if not _is_here(POSTGRES) and not _pulled(POSTGRES):
        say(f"{POSTGRES}: a stand-in made of Debian's packages")
        podman("build", "--network=host", f"--tag={POSTGRES}", f"--file={HERE}/postgres.Containerfile", str(HERE))
    for target, tag in TARGETS.items():
        say(f"{tag}: building")
        podman(
            "build", "--network=host", f"--file={ROOT}/deploy/Containerfile", f"--target={target}", f"--tag={tag}",
            *_index(), str(ROOT),
        )  # fmt: skip


def _index() -> list[str]:
    """This machine's own way to a package index and its certificates, for the stage that is thrown away."""
    names = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_CERT")
    given = [f"--build-arg={name}={os.environ[name]}" for name in names if name in os.environ]
    return [*given, f"--volume={CERTIFICATES}:{CERTIFICATES}:ro"] if "PIP_CERT" in os.environ else given


def _is_here(name: str) -> bool:
    return subprocess.run(["podman", "image", "exists", name], check=False).returncode == 0


def _pulled(name: str) -> bool:
    try:
        podman("pull", "--quiet", name, within=PULL_WITHIN)
    except (BuildFailed, subprocess.TimeoutExpired):
        return False
    return True


def _import(name: str, suite: str) -> None:
    with tempfile.TemporaryDirectory(prefix="recorder-base-") as folder:
        tree = Path(folder) / "root.tar"
        options = ['--aptopt=Acquire::Check-Valid-Until "false"', *(f"--aptopt={line}" for line in apt_proxies())]
        source = f"deb [signed-by={KEYRING}] {debian_mirror()} {suite} main"
        run(["mmdebstrap", "--variant=minbase", "--include=ca-certificates", *options, suite, str(tree), source])
        podman("import", "--quiet", str(tree), name)
