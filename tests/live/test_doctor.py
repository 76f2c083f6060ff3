"""`recorder doctor` and `recorder init` beside a real Asterisk: a good one, and each fault made for real."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from recorder import catalogue
from tests.pbx.server import Mount, PbxServer
from tests.recorder_process import REPOSITORY, Recorder

pytestmark = pytest.mark.live

READ_ONLY = "/srv/read-only-spool"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What one run of doctor came to."""

    exit_code: int
    findings: list[dict[str, str]]

    def of(self, mark: str) -> list[dict[str, str]]:
        return [finding for finding in self.findings if finding["mark"] == mark]

    def has(self, mark: str, about: str, *words: str) -> bool:
        """Whether there is such a finding with all of `words` in what it says; what is not fine has a mend."""
        return any(
            finding["about"] == about and all(word in finding["what"] for word in words)
            for finding in self.of(mark)
            if finding["mend"] or mark in ("ok", "note")
        )


class Site:
    """A PBX, our settings for it, and doctor."""

    def __init__(self, pbx: PbxServer, recorder: Recorder) -> None:
        self.pbx = pbx
        self.recorder = recorder

    async def asterisk(self, *commands: str) -> str:
        async def ask(command: str) -> str:
            process = await asyncio.create_subprocess_exec(*self.pbx.cli, command, stdout=asyncio.subprocess.PIPE)
            return (await process.communicate())[0].decode()

        return "".join([await ask(command) for command in commands])

    def edit(self, name: str, pattern: str, by: str) -> None:
        """Change a file of Asterisk's configuration; the pattern must be there."""
        path = self.pbx.base / "etc" / name
        text, number = re.subn(pattern, by, path.read_text(), flags=re.MULTILINE)
        assert number, f"{pattern} is not in {name}"
        path.write_text(text)

    async def doctor(self) -> Found:
        done = await asyncio.to_thread(self.recorder.command, "doctor", "--json", check=False)
        assert done.stdout, done.stderr
        return Found(exit_code=done.returncode, findings=json.loads(done.stdout))


@pytest.fixture
async def site(release: str, tmp_path: Path) -> AsyncIterator[Site]:
    """A PBX of the test's own, configured as the product documents it; the daemon does not run."""
    recorder = Recorder(tmp_path / "recorder")
    spool = tmp_path / "read-only"
    spool.mkdir(mode=0o700)
    mounts = (Mount(here=spool, inside=READ_ONLY, readonly=True),)
    async with PbxServer(release=release, agi=recorder.agi, mounts=mounts) as pbx, recorder:
        recorder.configure(pbx)
        await asyncio.to_thread(catalogue.upgrade, recorder.catalogue)
        yield Site(pbx, recorder)


@pytest.mark.asterisk16
async def test_a_well_configured_pbx_is_found_well_and_left_as_it_was(site: Site) -> None:
    found = await site.doctor()
    assert (found.of("WRONG"), found.of("not checked"), found.exit_code) == ([], [], 0)
    assert found.has("ok", "spool", "Asterisk writes to")
    assert found.has("ok", "fastagi", "reaches")
    assert found.has("note", "daemon", "not running")
    assert list(site.pbx.captures.iterdir()) == []
    globals_left = await site.asterisk("dialplan show globals")
    assert re.search(r"RECORDER_DOCTOR=$", globals_left, re.MULTILINE)
    assert "0 active channels" in await site.asterisk("core show channels")


async def test_a_running_daemon_is_recognised_on_its_port(site: Site) -> None:
    await site.recorder.start()
    found = await site.doctor()
    assert found.exit_code == 0, found.findings
    assert found.has("ok", "fastagi", "reaches")
    assert found.has("ok", "daemon", "it runs")


@pytest.mark.asterisk16
async def test_every_mistake_on_our_own_end_is_found_in_one_run(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    line = {"consent": "opt_in", "languages": ["en", "de"], "accept": "3", "queues": ["nights"]}
    site.recorder = Recorder(site.recorder.home, agi_port=site.recorder.agi_port, lines={"support": line})
    site.recorder.configure(
        site.pbx,
        ami={"secret": "wrong"},
        prompts={"path": "/nowhere"},
        catalogue={"url": "sqlite:////nowhere/catalogue.db"},
        capture={"spool": "/usr", "spool_here": str(site.pbx.captures), "min_free_mb": 10**9},
    )
    monkeypatch.setenv("RECORDER_PBX__QUEUE_LOG", "/nowhere/queue_log")
    site.recorder.recordings.chmod(0o755)
    found = await site.doctor()
    assert found.exit_code == 1
    assert found.has("WRONG", "ami", "refuses recorder")
    assert found.has("WRONG", "queues", "no queue nights")
    assert found.has("WRONG", "prompts", "has no question in de")
    assert found.has("WRONG", "prompts", "says 1 to accept", "takes 3")
    assert found.has("WRONG", "prompts", "Asterisk does not see /nowhere/en/question.wav")
    assert found.has("WRONG", "queue log", "/nowhere/queue_log")
    assert found.has("WRONG", "catalogue", "there is no catalogue")
    assert found.has("WRONG", "storage", "open to every user")
    assert found.has("WRONG", "spool", "less than")
    assert found.has("WRONG", "spool", "not the same folder")


@pytest.mark.asterisk16
async def test_every_mistake_on_asterisks_end_is_found_in_one_run(site: Site) -> None:
    site.edit("manager.conf", r"^read = call,agent,user$", "read = call,user,cdr")
    site.edit("manager.conf", r"^write = call,reporting$", "write = call,system,originate")
    site.edit("features.conf", r"^#include features_recorder.conf$", "recorder-legal => *55,peer,NoOp()")
    site.edit("extensions.conf", r"^RECORDER_AGI=.*$", "RECORDER_AGI=127.0.0.1:1")
    site.edit("extensions_recorder.conf", r"^\[recorder-transfer\]$", "[recorder-renamed]")
    site.edit("extensions_recorder.conf", r"^ same => n,MixMonitor\(.*$", " same => n,NoOp()")
    reloads = ("manager reload", "module reload features", "dialplan reload", "module unload app_userevent.so")
    await site.asterisk(*reloads)
    found = await site.doctor()
    assert found.exit_code == 1
    assert found.has("WRONG", "ami", "refused an action of write = reporting") is False, "system may do it too"
    assert found.has("WRONG", "ami account", "lacks read = agent")
    assert found.has("WRONG", "ami account", "holds read = cdr")
    assert found.has("WRONG", "ami account", "lacks write = reporting")
    assert found.has("WRONG", "ami account", "holds write = system (a shell", "originate")
    assert found.has("WRONG", "modules", "app_userevent does not run")
    assert found.has("WRONG", "dialplan", "recorder-transfer is missing")
    assert found.has("WRONG", "dialplan", "recorder-arm is not as this version ships it")
    assert found.has("WRONG", "keys", "not in the application map: recorder-emergency, recorder-business")
    assert found.has("WRONG", "keys", "share the digits *55")
    assert found.has("WRONG", "fastagi", "does not reach 127.0.0.1:1", "differ")


@pytest.mark.asterisk16
async def test_everything_that_would_record_beside_us_is_found_in_one_run(site: Site) -> None:
    site.edit("queues.conf", r"^\[support\]\(line\)$", "[support](line)\nmonitor-format = wav")
    site.edit("features.conf", r"^\[featuremap\]$", "[featuremap]\nautomixmon = *3")
    site.edit("extensions.conf", r"Queue\(\$\{HOUSE_QUEUE\},t", "Queue(${HOUSE_QUEUE},tx")
    site.edit("extensions.conf", r"^exten => 2100,1,Dial.*$", "exten => 2100,1,MixMonitor(a.wav)")
    site.edit("pjsip.conf", r"^\[agent\]\(phone\)$", "[agent](phone)\none_touch_recording = yes")
    (site.pbx.base / "etc" / "ari.conf").write_text(
        "[general]\nenabled = yes\n[house]\ntype = user\npassword = secret\n"
    )
    await site.asterisk("module reload app_queue.so", "module reload features", "dialplan reload")
    needed = ("res_http_websocket", "res_websocket_client", "res_stasis", "res_ari")  # 16 has no second, and needs none
    await site.asterisk("module reload res_pjsip.so", *(f"module load {name}.so" for name in needed))
    found = await site.doctor()
    assert found.exit_code == 1
    assert found.has("WRONG", "rivals", "the queue support records every call by itself", "wav")
    assert found.has("WRONG", "rivals", "One Touch MixMonitor *3", "line,_[a-z].")
    assert found.has("note", "rivals", "personal,2100 runs MixMonitor()")
    assert found.has("WRONG", "rivals", "a key of the phone", "agent")
    assert found.has("note", "rivals", "the ARI user house can snoop")
    assert found.of("not checked") == []


async def test_what_the_look_at_the_house_finds_stands_in_the_daemons_status(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECORDER_PBX__RIVALS_NOTE", str(site.recorder.home / "rivals.json"))
    await site.recorder.start()

    async def looks() -> tuple[int, str]:
        before = len(await site.asterisk("core show channels concise"))
        done = await asyncio.to_thread(site.recorder.command, "doctor", "--rivals", check=False)
        assert len(await site.asterisk("core show channels concise")) == before  # it calls nobody
        return done.returncode, done.stdout + done.stderr

    def reasons() -> list[str]:
        return [reason for reason in site.recorder.get("/status")[1]["reasons"] if "record" in reason]

    site.edit("queues.conf", r"^\[support\]\(line\)$", "[support](line)\nmonitor-format = wav")
    await site.asterisk("module reload app_queue.so")
    assert (await looks())[0] == 1
    said = await site.recorder.until(reasons, "the daemon to tell of it", timeout=40)
    assert "the queue support records every call by itself" in said[0]
    assert "take monitor-format out of [support]" in said[0]
    site.edit("queues.conf", r"^monitor-format = wav$", "")
    await site.asterisk("module reload app_queue.so")
    code, printed = await looks()
    assert code == 0, printed
    await site.recorder.until(lambda: not reasons(), "the daemon to tell of it no more", timeout=40)
    assert site.recorder.get("/status")[1]["state"] == "ok"


async def test_an_account_without_reporting_is_found_by_trying(site: Site) -> None:
    site.edit("manager.conf", r"^write = call,reporting$", "write = agent")
    await site.asterisk("manager reload")
    found = await site.doctor()
    assert found.has("WRONG", "ami", "refused an action of write = reporting")
    assert found.has("WRONG", "ami", "refused an action of write = call")


async def test_a_spool_that_asterisk_sees_but_may_not_write_to_is_told_from_another_folder(site: Site) -> None:
    here = site.recorder.home.parent / "read-only"
    site.recorder.configure(site.pbx, capture={"spool": READ_ONLY, "spool_here": str(here), "min_free_mb": 5})
    found = await site.doctor()
    assert found.has("WRONG", "spool", "cannot write there")
    assert list(here.iterdir()) == []


async def test_a_port_that_something_else_holds_is_not_taken_for_the_daemon(site: Site) -> None:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", site.recorder.agi_port):
        found = await site.doctor()
    assert found.has("WRONG", "fastagi", "something else")
    assert found.has("WRONG", "daemon", "no daemon answers")


async def test_a_pbx_without_our_dialplan_says_so_and_says_what_could_not_be_checked(site: Site) -> None:
    site.edit("extensions.conf", r"^#include extensions_recorder.conf$", "")
    await site.asterisk("dialplan reload")
    found = await site.doctor()
    assert found.exit_code == 1
    assert found.has("WRONG", "dialplan", "none of the recorder's contexts")
    assert found.has("not checked", "spool", "recorder-doctor is missing")
    assert found.has("not checked", "fastagi", "recorder-doctor is missing")


async def test_a_pbx_that_is_not_there_is_one_fault_and_the_rest_is_not_checked(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.recorder.configure(site.pbx, ami={"port": 1})
    monkeypatch.setenv("RECORDER_PBX__CLI", '["/nowhere/asterisk", "-rx"]')
    found = await site.doctor()
    assert found.exit_code == 1
    assert found.has("WRONG", "pbx cli")
    assert found.has("WRONG", "ami", "127.0.0.1:1 cannot be reached")
    unchecked = {finding["about"] for finding in found.of("not checked")}
    assert unchecked == {
        "ami account",
        "modules",
        "dialplan",
        "keys",
        "queues",
        "rivals",
        "prompts",
        "spool",
        "fastagi",
    }
    assert found.has("ok", "catalogue")


async def test_a_frozen_pbx_is_given_up_on_in_time(site: Site) -> None:
    site.pbx.freeze()
    try:
        found = await asyncio.wait_for(site.doctor(), 60)
    finally:
        site.pbx.thaw()
    assert found.exit_code == 1
    assert found.has("WRONG", "pbx cli", "no answer")
    assert found.has("WRONG", "ami", "cannot be reached")


async def test_mistaken_settings_exit_78_before_anything_is_asked(site: Site) -> None:
    site.recorder.configure(site.pbx, capture={"no_such": 1})
    done = await asyncio.to_thread(site.recorder.command, "doctor", check=False)
    assert done.returncode == 78
    assert "capture.no_such: no such setting" in done.stderr


@pytest.mark.asterisk16
async def test_doctor_is_content_with_what_init_wrote(site: Site, tmp_path: Path) -> None:
    for shipped in (site.pbx.base / "etc").glob("*_recorder.conf"):
        shipped.unlink()
    site.edit("extensions.conf", r"^#include extensions_recorder.conf$", "")
    site.edit("extensions.conf", r"^RECORDER_AGI=.*$", "")
    site.edit("features.conf", r"^#include features_recorder.conf$", "")
    site.edit("manager.conf", r"(?s)^; The recorder's account.*", "")
    reloads = ("manager reload", "dialplan reload", "module reload features")
    await site.asterisk(*reloads)

    config = tmp_path / "etc" / "recorder.toml"
    recordings = tmp_path / "recordings"
    recordings.mkdir(mode=0o700)
    environment = {
        **os.environ,
        "RECORDER_CAPTURE__SPOOL": str(site.pbx.captures),
        "RECORDER_STORAGE__PATH": str(recordings),
        "RECORDER_CATALOGUE__URL": site.recorder.catalogue,
        "RECORDER_AGI__BIND": site.recorder.agi,
    }

    def command(*words: str) -> subprocess.CompletedProcess[str]:
        whole = [sys.executable, "-m", "recorder", "--config", str(config), *words]
        return subprocess.run(
            whole, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=120, check=False
        )

    init = ("init", "--cli", " ".join(site.pbx.cli), "--prompts", str(site.pbx.base / "prompts"))
    done = await asyncio.to_thread(command, *init, "--apply")
    assert done.returncode == 0, done.stderr
    assert "none of the recorder's contexts" in (await asyncio.to_thread(command, "doctor")).stdout  # not reloaded
    await site.asterisk(*reloads, f"dialplan set global RECORDER_AGI {site.recorder.agi}")
    doctor = await asyncio.to_thread(command, "doctor")
    assert doctor.returncode == 0, doctor.stdout
    assert "nothing will be recorded" in doctor.stdout
    again = await asyncio.to_thread(command, *init)
    assert "nothing to change" in again.stdout
