"""The container image of the test PBX: Debian's own Asterisk packages, nothing else.

Owns the recipe and the image's name, which carries a digest of the recipe: what stands under that name was built
from this text. Pulls nothing from an image registry. Must not know how a server is configured or started.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

Progress = Callable[[str], None]

SUITES = {"22": "forky", "16": "bullseye"}  # which Debian carries which Asterisk
PACKAGES = ("asterisk", "asterisk-core-sounds-en-wav")
PUBLIC_MIRROR = "http://deb.debian.org/debian"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
OPTIONS = (
    "--variant=minbase",
    f"--include={','.join(PACKAGES)}",
    '--aptopt=Acquire::Check-Valid-Until "false"',  # a mirror's snapshot of forky may be past its date
    '--aptopt=APT::Install-Recommends "false"',
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    # the machine's proxy, which may carry a password, does not stay in the image
    '--customize-hook=rm -f "$1"/etc/apt/apt.conf.d/99mmdebstrap "$1"/etc/apt/sources.list',
)


class ImageError(Exception):
    """The image cannot be built here; the text says what is missing."""


def name(release: str) -> str:
    """Name of the image for an Asterisk release ("22" or "16"); other releases raise ImageError."""
    if release not in SUITES:
        raise ImageError(f"no Debian suite is known for Asterisk {release}; known: {', '.join(SUITES)}")
    recipe = "\n".join((SUITES[release], *OPTIONS))
    return f"localhost/recorder-test-asterisk:{release}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"


def exists(release: str) -> bool:
    found = subprocess.run(["podman", "image", "exists", name(release)], capture_output=True, check=False)
    return found.returncode == 0


def ensure(release: str, progress: Progress = lambda _: None) -> str:
    """Return the image's name; build it first where it is not there yet (about 50 s and 350 MB, once)."""
    require_programs()
    if not exists(release):
        with _alone(release):
            if not exists(release):  # another process may have built it while this one waited
                _build(release, progress)
    return name(release)


def require_programs() -> None:
    """Raise ImageError with the list of what must be installed first."""
    missing = [program for program in ("podman", "mmdebstrap") if shutil.which(program) is None]
    if not KEYRING.exists():
        missing.append("debian-archive-keyring")
    if missing:
        raise ImageError(f"the test PBX needs {', '.join(missing)}: apt-get install {' '.join(missing)}")


@contextmanager
def _alone(release: str) -> Iterator[None]:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "recorder-test-pbx"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"{release}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(release: str, progress: Progress) -> None:
    mirror = debian_mirror()
    progress(f"Asterisk {release}: building the image from {mirror} ({SUITES[release]}), about a minute, once")
    with tempfile.TemporaryDirectory(prefix="recorder-image-") as folder:
        tree = Path(folder) / "root.tar"
        source = f"deb [signed-by={KEYRING}] {mirror} {SUITES[release]} main"
        proxies = [f"--aptopt={line}" for line in apt_proxies()]
        _run(["mmdebstrap", *OPTIONS, *proxies, SUITES[release], str(tree), source], release, progress)
        progress(f"Asterisk {release}: handing the image to podman")
        _run(["podman", "import", "--quiet", str(tree), name(release)], release, progress)
    progress(f"Asterisk {release}: image ready")


def _run(command: list[str], release: str, progress: Progress) -> None:
    """Run one build step; its information lines are progress, its last lines are the error."""
    said: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace") as p:
        assert p.stdout is not None
        for line in p.stdout:
            said.append(line.rstrip())
            if line.startswith("I: "):
                progress(f"Asterisk {release}: {line[3:].rstrip()}")
    if p.returncode != 0:
        raise ImageError(f"{command[0]} failed ({p.returncode}):\n" + "\n".join(said[-15:]))


# ---------------------------------------------------------------- where Debian's packages come from


def debian_mirror(etc: Path = Path("/etc")) -> str:
    """RECORDER_DEBIAN_MIRROR, else this Debian machine's own mirror, else Debian's public one."""
    chosen = os.environ.get("RECORDER_DEBIAN_MIRROR")
    if chosen:
        return chosen.rstrip("/")
    release = _os_release(etc)
    if release.get("ID") == "debian":
        for uri, suites in _sources(etc / "apt"):
            if release.get("VERSION_CODENAME", "") in suites and uri.startswith(("http://", "https://")):
                return uri.rstrip("/")
    return PUBLIC_MIRROR


def apt_proxies() -> list[str]:
    """The machine's apt settings for proxies, as apt.conf lines; empty where apt has none."""
    dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=False).stdout
    return [line for line in dump.splitlines() if re.match(r"Acquire::(https?::)?Proxy\S* \"[^\"]+\";", line, re.I)]


def _os_release(etc: Path) -> dict[str, str]:
    pairs = (line.partition("=") for line in (etc / "os-release").read_text().splitlines())
    return {key: value.strip('"') for key, _, value in pairs}


def _sources(apt: Path) -> Iterator[tuple[str, set[str]]]:
    """Every (URI, suites) that apt is told of, in both of its notations."""
    for path in [apt / "sources.list", *sorted(apt.glob("sources.list.d/*.list"))]:
        if path.is_file():
            for line in path.read_text().splitlines():
                if found := re.match(r"deb\s+(?:\[[^]]*\]\s+)?(\S+)\s+(\S+)", line.strip()):
                    yield found[1], {found[2]}
    for path in sorted(apt.glob("sources.list.d/*.sources")):
        for stanza in re.split(r"\n\s*\n", path.read_text()):
            fields = dict(re.findall(r"^([A-Za-z-]+):[ \t]*(.*)$", stanza, re.M))
            if fields.get("Enabled", "yes").lower() != "no" and "deb" in fields.get("Types", "").split():
                for uri in fields.get("URIs", "").split():
                    yield uri, set(fields.get("Suites", "").split())
