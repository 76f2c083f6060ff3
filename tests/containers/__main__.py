"""`./dev container`: build the images of deploy/, start its compose file, place three calls, and judge them.

Changed for the trial are ports and what the parties say, in a second compose file; nothing else.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.containers.images import ROOT, BuildFailed, ensure_all, podman, run
from tests.facts import override_for
from tests.pbx.calls import Calls
from tests.pbx.server import PbxServer, free_port
from tests.recorder_process import _table
from tests.stories import AGREED, OVERRIDDEN, REFUSED, Placed, judge, play

DIRECTORIES = "[directories]\nastetcdir => /etc/asterisk\n"
STORIES = (AGREED, REFUSED, OVERRIDDEN)
LINES: Mapping[str, Mapping[str, object]] = {
    "support": {"consent": "opt_in", "override": override_for("emergency", "legal", "business"), "retries": 0}
}


def say(words: str) -> None:
    print(words, flush=True)


@dataclass(slots=True)
class House(PbxServer):
    """The configuration of the test PBX, with Debian's own folders: Asterisk itself is the compose file's."""

    prompts: str = "/usr/share/recorder/prompts"

    def lay_out(self) -> None:
        self._prepare()
        etc = self.base / "etc"
        (etc / "asterisk.conf").write_text(DIRECTORIES, encoding="utf-8")
        etc.rename(self.base / "asterisk")
        for path in (self.base, *self.base.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)


class Compose:
    """One project of podman-compose: deploy/compose.yaml, and over it what the trial changes."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.project = f"recorder-trial-{secrets.token_hex(3)}"
        self.agi, self.http = free_port(), free_port()

    def lay_out(self) -> None:
        home, owners = self.house.base, {"ami": 4573, "pgpass": 4573, "postgres": 999}
        shutil.copy(ROOT / "deploy" / "compose.yaml", home)
        password = secrets.token_hex(12)
        texts = {"ami": self.house.recorder_secret, "pgpass": f"*:*:*:recorder:{password}", "postgres": password}
        (home / "secrets").mkdir()
        for name, text in texts.items():
            path = home / "secrets" / name
            path.write_text(text, encoding="utf-8")
            path.chmod(0o400)
            os.chown(path, owners[name], owners[name])
        settings = "".join(_table(f"line.{name}", line) for name, line in LINES.items())
        settings += _table("capture", {"min_free_mb": 5}) + _table("storage", {"min_free_mb": 5})
        (home / "recorder.toml").write_text(settings, encoding="utf-8")
        (home / "trial.yaml").write_text(json.dumps(self._changes(), indent=1), encoding="utf-8")  # JSON is YAML

    def _changes(self) -> Mapping[str, Any]:
        ports = {
            "RECORDER_AMI__PORT": str(self.house.ports.ami),
            "RECORDER_AGI__BIND": f"127.0.0.1:{self.agi}",
            "RECORDER_HTTP__BIND": f"127.0.0.1:{self.http}",
        }
        base = str(self.house.base)
        return {
            "services": {
                "asterisk": {"volumes": [f"{base}/sounds:{base}/sounds:ro", f"{base}/music:{base}/music:ro"]},
                "recorder": {"environment": ports},
            }
        }

    def __call__(self, *words: str) -> str:
        program = [sys.executable, "-m", "podman_compose", "--podman-args=--runtime=runc", f"-p={self.project}"]
        return run([*program, "-f=compose.yaml", "-f=trial.yaml", *words], cwd=self.house.base)

    def inside(self, service: str, *words: str) -> str:
        return podman("exec", f"{self.project}_{service}_1", *words)

    def said(self, service: str) -> str:
        try:
            return podman("logs", "--tail=12", f"{self.project}_{service}_1")
        except BuildFailed as error:
            return str(error)

    def facts(self, service: str) -> dict[str, Any]:
        (found,) = json.loads(podman("inspect", f"{self.project}_{service}_1"))
        return dict(found)

    def folder(self, volume: str) -> Path:
        return Path(podman("volume", "inspect", "--format={{.Mountpoint}}", f"{self.project}_{volume}"))


async def until(true: Any, what: str, seconds: float = 90) -> None:
    async with asyncio.timeout(seconds):
        while not await asyncio.to_thread(_answers, true):
            await asyncio.sleep(0.5)
    say(f"  {what}")


def _answers(true: Any) -> bool:
    try:
        return bool(true())
    except (BuildFailed, OSError, ValueError):
        return False


async def trial(house: House, compose: Compose) -> list[str]:
    """Everything that went wrong, a line each."""
    say("starting PostgreSQL and Asterisk")
    compose("up", "--detach", "postgres", "asterisk")
    await until(lambda: compose.inside("postgres", "pg_isready", "--username=recorder"), "PostgreSQL answers")
    await until(lambda: compose.inside("asterisk", "asterisk", "-rx", "core waitfullybooted"), "Asterisk is booted")
    say(compose("run", "--rm", "-T", "--no-deps", "recorder", "db", "upgrade").splitlines()[-1])
    everywhere = ("user", "grant", "anybody", "overrider", "--every-line")
    say(compose("run", "--rm", "-T", "--no-deps", "recorder", *everywhere).splitlines()[-1])
    compose("up", "--detach", "--no-deps", "recorder")
    await until(lambda: _told(compose)["state"] in ("ok", "degraded"), "the recorder is ready")
    say(f"{len(STORIES)} calls")
    placed = [Placed(story) for story in STORIES]
    async with Calls(house) as calls:
        for one in placed:  # one after another: the recorder's list is in the same order then
            await play(one, calls)
    await until(lambda: len(_closed(compose)) == len(STORIES), "every call has its outcome")
    wrong = await asyncio.to_thread(judged, compose, placed)
    return wrong + await asyncio.to_thread(confined, compose)


def _told(compose: Compose) -> dict[str, Any]:
    return dict(json.loads(compose.inside("recorder", "recorder", "status", "--json")))


def _closed(compose: Compose) -> list[dict[str, Any]]:
    rows = json.loads(compose.inside("recorder", "recorder", "calls", "--json"))
    return [row for row in rows if row["outcome"]]


def judged(compose: Compose, placed: list[Placed]) -> list[str]:
    """Every call by its row and its files, which are listened to on this machine."""
    recordings = json.loads(compose.inside("recorder", "recorder", "recordings", "--json"))
    kept = compose.folder("recordings")
    wrong = []
    for one, row in zip(placed, reversed(_closed(compose)), strict=True):
        settled = [it for it in recordings if it["call"] == row["id"] and it["status"] == "settled"]
        paths = [kept / Path(it["path"]).relative_to("/var/lib/recorder") for it in settled]
        found = judge(one.story, row["outcome"], paths, sealed=any(it["sealed"] for it in settled))
        found += [one.error] if one.error else []
        say(f"  {one.story.name}: {row['outcome']}, {len(paths)} file(s){'' if found else ', as it should be'}")
        wrong += [f"{one.story.name}: {sentence}" for sentence in found]
    return wrong


def confined(compose: Compose) -> list[str]:
    """What the containers may do, asked of podman and tried."""
    wrong = []
    for service, user in (("postgres", "999:999"), ("asterisk", "5060:4573"), ("recorder", "4573:4573")):
        facts = compose.facts(service)
        host = facts["HostConfig"]
        is_so = {
            f"runs as {user}": facts["Config"]["User"] == user,
            "its root is read-only": host["ReadonlyRootfs"],
            "has no capability": not facts["EffectiveCaps"],
            "may gain no privilege": any("no-new-privileges" in option for option in host["SecurityOpt"]),
            "cannot write its own image": _fails(compose, service, "touch", "/usr/bin/written"),
        }
        wrong += [f"{service}: it is not so that it {words}" for words, true in is_so.items() if not true]
        say(f"  {service}: {', '.join(words for words, true in is_so.items() if true)}")
    spool = compose.folder("spool").stat()
    if (spool.st_uid, spool.st_gid, spool.st_mode & 0o777) != (5060, 4573, 0o770):
        wrong.append(f"the spool belongs to {spool.st_uid}:{spool.st_gid}, mode {spool.st_mode & 0o7777:o}")
    if compose.facts("postgres")["HostConfig"]["NetworkMode"] != "none":
        wrong.append("PostgreSQL has a network")
    podman("healthcheck", "run", f"{compose.project}_recorder_1")
    say("  the recorder is healthy; the spool is Asterisk's and the group's 4573, mode 770")
    say("\n".join(f"  {line}" for line in compose.inside("recorder", "recorder", "verify").splitlines()))
    if secret := [name for name in ("recorder", "asterisk") if "PIP_" in json.dumps(compose.facts(name)["Config"])]:
        wrong.append(f"the build's package index is in the image of {secret}")
    return wrong


def _fails(compose: Compose, service: str, *words: str) -> bool:
    try:
        compose.inside(service, *words)
    except BuildFailed:
        return True
    return False


def main() -> int:
    ensure_all(say)
    base = Path(tempfile.mkdtemp(prefix="recorder-trial-"))
    house = House(base=base)
    compose = Compose(house)
    house.agi = f"127.0.0.1:{compose.agi}"
    try:
        house.lay_out()
        compose.lay_out()
        wrong = asyncio.run(trial(house, compose))
    except (BuildFailed, TimeoutError):
        for service in ("postgres", "asterisk", "recorder"):
            say(f"the end of what {service} said:\n{compose.said(service)}")
        raise
    finally:
        compose("down", "--volumes")
        shutil.rmtree(base, ignore_errors=True)
    for sentence in wrong:
        say(f"WRONG {sentence}")
    say("the compose file does what it says" if not wrong else f"{len(wrong)} things are wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
