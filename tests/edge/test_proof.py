"""The proof of one call's consent as people meet it: made here, checked elsewhere without anything of ours."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from recorder.__main__ import app
from recorder.call import CallAdmitted, ConsentAnswered, PromptPlayed
from recorder.catalogue import open_catalogue
from recorder.model import ConsentState
from recorder.storage import KeptPrompts, Storage
from tests import books
from tests.books import Story
from tests.edge.test_chain import owner
from tests.facts import NODE, NOON, caller
from tests.proofs import POLICY, WAV, auditors_lines, prompt_of, said_by_the_lines
from tests.small_disk import small_disk

NOBODY = 65534


class House:
    """A recorder's own machine, with a call that agreed, one that refused, and one that goes on."""

    def __init__(self, home: Path, url: str) -> None:
        self.home = home
        self.storage: Storage = books.folders(home)
        self.config = home / "recorder.toml"
        sections = {
            "ami": {"username": "recorder", "secret": "not used"},
            "pbx": {"queue_log": ""},
            "catalogue": {"url": url},
            "storage": {"path": str(self.storage.root)},
            "capture": {"spool": str(self.storage.spool.here)},
        }
        self.config.write_text(
            "".join(
                f"[{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())
                for name, keys in sections.items()
            )
        )
        self.stories = {"agreed": books.agreed(self.storage), "refused": books.refused(), "open": Story().admitted()}
        self.stories["open"].answered()
        self.stories["overridden"] = Story().admitted().answered(ConsentState.REFUSED).talking().overridden("Act, s. 1")
        for story in self.stories.values():
            story.events = [
                replace(event, prompt=prompt_of(WAV)) if isinstance(event, PromptPlayed | ConsentAnswered) else event
                for event in story.events
            ]
        agreed = self.stories["agreed"]
        agreed.events = [
            replace(event, policy=POLICY.digest) if isinstance(event, CallAdmitted) else event
            for event in agreed.events
        ]

    async def write(self, url: str) -> None:
        store = await open_catalogue(url)
        for story in self.stories.values():
            await story.write(store)
        await store.write_policies(NODE, NOON, "1.0", [POLICY])
        await store.close()

    def run(self, *words: str) -> Result:
        return CliRunner().invoke(app, ["--config", str(self.config), *words])

    def call(self, kind: str) -> str:
        return str(self.stories[kind].call)

    def proof(self, kind: str, *words: str) -> dict[str, Any]:
        done = self.run("consents", "proof", self.call(kind), *words)
        assert done.exit_code == 0, done.output
        proof: dict[str, Any] = json.loads(done.stdout)
        return proof


def unwrapped(said: str) -> str:
    """Whatever the width of who reads it."""
    return " ".join(said.split())


@pytest.fixture
def house(tmp_path: Path, catalogue_url: str) -> House:
    (tmp_path / "house").mkdir()
    made = House(tmp_path / "house", catalogue_url)
    asyncio.run(made.write(catalogue_url))
    sound = tmp_path / "question.wav"
    sound.write_bytes(WAV)
    KeptPrompts(made.storage).keep(sound, prompt_of(WAV).sha256)
    return made


# --------------------------------------------------------------------------- elsewhere


@cache
def become() -> list[str]:
    """How to be nobody; we stay who we are where a nobody may not read this checkout (below /root, say)."""
    other = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--"]
    if os.geteuid() != 0:
        return []
    able = subprocess.run([*other, sys.executable, "-c", "import recorder"], cwd="/", capture_output=True, check=False)
    return other if able.returncode == 0 else []


class Elsewhere:
    """A clean folder of another user, with nothing of ours in it: no catalogue, no settings, no environment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def bring(self, name: str, content: str) -> None:
        file = self.folder / name
        file.write_text(content, encoding="utf-8")
        if os.geteuid() == 0:
            os.chown(file, NOBODY, NOBODY)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*become(), *command],
            cwd=self.folder,
            env={"PATH": "/usr/bin:/bin", "HOME": str(self.folder), "COLUMNS": "200"},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def by_ours(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "-m", "recorder", "consents", "check", "proof.json", *words)

    def by_the_lines(self) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "-I", "-S", "check.py", "proof.json")


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    with tempfile.TemporaryDirectory(prefix="elsewhere-") as folder:
        if os.geteuid() == 0:
            os.chown(folder, NOBODY, NOBODY)
        made = Elsewhere(Path(folder))
        made.bring("check.py", auditors_lines())
        yield made


def test_a_proof_is_whole_elsewhere_as_another_user_and_without_us(house: House, elsewhere: Elsewhere) -> None:
    heads = house.run("consents", "head").stdout
    elsewhere.bring("heads", heads)
    for kind, end in (("agreed", "the call ended: recorded"), ("refused", "the call ended: declined")):
        elsewhere.bring("proof.json", json.dumps(house.proof(kind)))
        ours = elsewhere.by_ours("--heads", "heads")
        assert (ours.returncode, ours.stderr) == (0, ""), ours.stdout
        assert end in ours.stdout
        assert "asked -> " in ours.stdout
        assert "It stands on 1 head that you noted" in ours.stdout
        theirs = elsewhere.by_the_lines()
        assert (theirs.returncode, theirs.stderr) == (0, ""), theirs.stdout
        assert theirs.stdout.endswith("nothing is wrong\n")
        assert heads.split()[0] in theirs.stdout
    if become():
        assert elsewhere.run("id", "-u").stdout == f"{NOBODY}\n"
        assert elsewhere.run("cat", str(house.config)).returncode == 1


def test_what_was_changed_on_the_way_is_named_elsewhere(house: House, elsewhere: Elsewhere) -> None:
    proof = house.proof("refused")
    proof["acts"][1]["body"]["after"] = "given"
    elsewhere.bring("proof.json", json.dumps(proof))
    ours, theirs = elsewhere.by_ours(), elsewhere.by_the_lines()
    seq = proof["acts"][1]["seq"]
    assert (ours.returncode, theirs.returncode) == (1, 1)
    assert f"wrong: consent event 2 (asked -> given) in link {seq} is not what was chained" in ours.stdout
    assert "This proves nothing: 1 thing is wrong." in ours.stdout
    assert f"what stands as link {seq} is not what was chained" in theirs.stdout
    told = json.loads(elsewhere.by_ours("--json").stdout)
    assert (told["ok"], len(told["wrong"])) == (False, 1)


def test_a_head_that_was_noted_before_the_chain_was_written_anew_is_named(house: House, elsewhere: Elsewhere) -> None:
    proof = house.proof("agreed")
    elsewhere.bring("proof.json", json.dumps(proof))
    elsewhere.bring("heads", f"pbx1:{proof['head']['seq']}:{'ab' * 32}  2026-03-02T12:00:00+00:00\n")
    done = elsewhere.by_ours("--heads", "heads")
    assert (done.returncode, "since it was noted the chain was written anew" in done.stdout) == (1, True)
    elsewhere.bring("heads", f"pbx1:9999:{'ab' * 32}\n")
    unmet = elsewhere.by_ours("--heads", "heads")
    assert (unmet.returncode, "None of the 1 heads that you noted is among its links" in unmet.stdout) == (0, True)
    elsewhere.bring("heads", "nothing of the kind\n")
    assert elsewhere.by_ours("--heads", "heads").returncode == 2


# --------------------------------------------------------------------------- at the recorder


def test_a_proof_holds_what_was_heard_and_everything_that_was_kept_of_the_consent(house: House) -> None:
    proof = house.proof("agreed")
    asked, given, end = (act["body"] for act in proof["acts"])
    assert (asked["after"], asked["played_ms"], asked["prompt"]["id"], asked["prompt"]["version"]) == (
        ("asked", 4000, "question", "1")
    )
    assert (given["after"], given["key"], given["language"], given["line"], given["mode"]) == (
        ("given", "1", "en", "support", "opt_in")
    )
    uniqueid = caller(house.stories["agreed"].call).uniqueid
    assert (given["policy"], given["channel"], given["node"]) == (POLICY.digest, uniqueid, "pbx1")
    assert proof["policies"] == [{"digest": POLICY.digest, "line": "support", "settings": POLICY.settings}]
    assert (end["outcome"], end["consents"]) == ("recorded", 2)
    assert [prompt["sha256"] for prompt in proof["prompts"]] == [asked["prompt"]["sha256"]]


def test_an_override_is_disclosed_with_the_refusal_before_it_its_reason_its_basis_and_whose_it_was(
    house: House, tmp_path: Path
) -> None:
    proof = house.proof("overridden")
    _, refused, overridden = (act["body"] for act in proof["acts"])
    assert (refused["after"], overridden["before"], overridden["after"]) == ("refused", "refused", "overridden")
    assert (overridden["reason"], overridden["basis"], overridden["actor"]) == ("emergency", "Act, s. 1", "PJSIP/alice")
    file = tmp_path / "proof.json"
    file.write_text(json.dumps(proof))
    checked = house.run("consents", "check", str(file))
    assert checked.exit_code == 0
    assert "overridden" in unwrapped(checked.stdout)


def test_of_settings_that_were_not_kept_a_proof_has_the_digest_alone_and_says_so(house: House, tmp_path: Path) -> None:
    proof = house.proof("refused")
    assert (proof["policies"], proof["policies_missing"]) == ([], [{"digest": "f" * 16, "why": "not_kept"}])
    (tmp_path / "proof.json").write_text(json.dumps(proof), encoding="utf-8")
    done = house.run("consents", "check", str(tmp_path / "proof.json"))
    assert done.exit_code == 0
    assert f"Under policy {'f' * 16}, whose settings are not in the file: they were not kept" in unwrapped(done.stdout)


def test_a_row_that_was_changed_is_left_out_of_a_proof_by_name_and_no_other_call_suffers(
    house: House, catalogue_url: str, tmp_path: Path
) -> None:
    with owner(catalogue_url) as connection:
        connection.exec_driver_sql("UPDATE policies SET settings = '{}'")
    file = tmp_path / "proof.json"
    done = house.run("consents", "proof", house.call("agreed"), "-o", str(file))
    assert done.exit_code == 1
    assert f"Note: policy {POLICY.digest}: see `recorder verify`" in unwrapped(done.stdout)
    proof = json.loads(file.read_text())
    assert (proof["policies"], proof["policies_missing"]) == ([], [{"digest": POLICY.digest, "why": "changed"}])
    checked = house.run("consents", "check", str(file))
    said = unwrapped(checked.stdout)
    assert (checked.exit_code, "are kept in a text that does not give this digest" in said) == (0, True)
    assert house.run("consents", "proof", house.call("refused")).exit_code == 0


@pytest.mark.parametrize("changed", [NODE, "pbx0", "pbx2"])
def test_one_nodes_changed_row_does_not_take_the_settings_from_a_proof_where_another_kept_them_too(
    house: House, catalogue_url: str, changed: str
) -> None:
    async def write() -> None:
        store = await open_catalogue(catalogue_url)
        for node in ("pbx0", "pbx2"):
            await store.write_policies(node, NOON, "1.0", [POLICY])
        await store.close()

    asyncio.run(write())
    with owner(catalogue_url) as connection:
        connection.exec_driver_sql(f"UPDATE policies SET settings = '{{}}' WHERE node = '{changed}'")
    kept = {"digest": POLICY.digest, "line": "support", "settings": POLICY.settings}
    assert house.proof("agreed")["policies"] == [kept]


def test_settings_of_an_older_recorder_stand_in_a_proof_under_the_digest_that_its_events_name(
    house: House, catalogue_url: str, tmp_path: Path
) -> None:
    story = Story().admitted().answered(ConsentState.REFUSED)
    story.events = [
        replace(event, prompt=prompt_of(WAV)) if isinstance(event, PromptPlayed | ConsentAnswered) else event
        for event in story.events
    ]
    story.events = [
        replace(event, policy=POLICY.digest[:16]) if isinstance(event, CallAdmitted) else event
        for event in story.events
    ]
    house.stories["older"] = story

    async def write() -> None:
        store = await open_catalogue(catalogue_url)
        await story.write(store)
        await store.close()

    asyncio.run(write())
    with owner(catalogue_url) as connection:
        connection.exec_driver_sql(f"UPDATE policies SET digest = '{POLICY.digest[:16]}'")
    proof = house.proof("older")
    kept = {"digest": POLICY.digest[:16], "line": "support", "settings": POLICY.settings}
    assert (proof["policies"], proof["policies_missing"]) == ([kept], [])
    assert said_by_the_lines(proof)[0] == 0
    file = tmp_path / "proof.json"
    file.write_text(json.dumps(proof), encoding="utf-8")
    checked = house.run("consents", "check", str(file))
    assert (checked.exit_code, "its digest taken again, line support" in checked.stdout) == (0, True)


def test_a_proof_is_written_closed_and_replaces_nothing(house: House, tmp_path: Path) -> None:
    file = tmp_path / "proof.json"
    words = ("consents", "proof", house.call("agreed")[:8], "--output", str(file))
    done = house.run(*words)
    assert (done.exit_code, file.stat().st_mode & 0o777) == (0, 0o600), done.output
    assert "asked -> given, prompt question en version 1, heard 4.0 s, key 1" in " ".join(done.stdout.split())
    assert json.loads(file.read_text())["call"] == house.call("agreed")
    again = house.run(*words)
    assert (again.exit_code, "Nothing was written" in again.stderr) == (1, True)


def test_a_disk_that_fills_up_keeps_no_half_of_a_proof(house: House, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "4k") as disk:
        done = house.run("consents", "proof", house.call("agreed"), "--output", str(disk / "proof.json"))
        assert (done.exit_code, "Nothing was written" in done.stderr, list(disk.iterdir())) == (1, True, [])


def test_a_proof_up_to_an_older_head_says_that_there_may_be_more(house: House, tmp_path: Path) -> None:
    whole = house.proof("agreed")
    until = whole["acts"][1]["seq"]
    part = house.proof("agreed", "--until", str(until))
    assert (part["head"]["seq"], [act["body"]["kind"] for act in part["acts"]]) == (until, ["consent"] * 2)
    file = tmp_path / "part.json"
    file.write_text(json.dumps(part))
    assert "The call's end is not in it" in house.run("consents", "check", str(file)).stdout
    told = json.loads(house.run("consents", "check", str(file), "--json").stdout)
    assert (told["ok"], told["ended"]) == (True, False)
    beyond = house.run("consents", "proof", house.call("agreed"), "--until", "99999")
    assert (beyond.exit_code, "the newest of its node is" in beyond.stderr) == (1, True)


def test_a_call_that_goes_on_is_proved_as_far_as_it_went(house: House) -> None:
    assert [act["body"]["after"] for act in house.proof("open")["acts"]] == ["asked", "given"]


def test_a_sound_that_the_store_no_longer_has_is_said_and_the_rest_is_proved(house: House) -> None:
    KeptPrompts(house.storage).path(prompt_of(WAV).sha256).unlink()
    done = house.run("consents", "proof", house.call("agreed"))
    assert done.exit_code == 1
    assert "what was heard of prompt question en version 1 is not in the file" in done.stderr
    assert len(json.loads(done.stdout)["acts"]) == 3


@pytest.mark.parametrize("engine_name", ["sqlite"])
def test_a_call_whose_chain_was_tampered_with_gets_no_proof(house: House) -> None:
    with tampering(house.home.parent / "catalogue.db") as database:
        database.execute("UPDATE chain SET body = replace(body, 'refused', 'given') WHERE body LIKE '%refused%'")
    done = house.run("consents", "proof", house.call("refused"))
    assert (done.exit_code, done.stdout) == (1, "")
    assert "is not what was chained" in done.stderr
    assert "see `recorder verify`" in done.stderr


def test_a_call_without_consent_events_has_nothing_to_prove(house: House, catalogue_url: str) -> None:
    story = Story().admitted()

    async def write() -> None:
        store = await open_catalogue(catalogue_url)
        await story.write(store)
        await store.close()

    asyncio.run(write())
    done = house.run("consents", "proof", str(story.call))
    assert (done.exit_code, "there is nothing to prove" in done.stderr) == (1, True)


def test_a_head_is_a_line_that_verify_takes_back(house: House, tmp_path: Path) -> None:
    heads = tmp_path / "heads"
    heads.write_text(house.run("consents", "head").stdout)
    (told,) = json.loads(house.run("consents", "head", "--json").stdout)
    assert heads.read_text().startswith(f"pbx1:{told['seq']}:{told['digest']}  20")
    verified = house.run("verify", "--heads", str(heads), "--json")
    assert verified.exit_code == 0, verified.output
    assert json.loads(verified.stdout)["counts"]["head"] == heads.read_text().split()[0]
    heads.write_text(f"pbx1:{told['seq']}:{'ab' * 32}\n")
    assert house.run("verify", "--heads", str(heads)).exit_code == 1


def test_heads_of_other_nodes_alone_are_no_comparison_and_how_many_were_compared_is_said(
    house: House, tmp_path: Path
) -> None:
    heads = tmp_path / "heads"
    heads.write_text(f"pbx2:1:{'ab' * 32}\n")
    done = house.run("verify", "--heads", str(heads))
    assert (done.exit_code, "this node is pbx1" in done.stderr) == (2, True)
    heads.write_text(heads.read_text() + house.run("consents", "head").stdout)
    done = house.run("verify", "--heads", str(heads))
    assert (done.exit_code, "1 of 2 noted heads compared" in " ".join(done.stdout.split())) == (0, True)


# --------------------------------------------------------------------------- offline, of a copy


@contextmanager
def tampering(file: Path) -> Iterator[sqlite3.Connection]:
    """An SQLite file whose owner stops at nothing."""
    with closing(sqlite3.connect(file)) as database:
        for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            database.execute(f"DROP TRIGGER {name}")
        yield database
        database.commit()


@pytest.mark.parametrize("engine_name", ["sqlite"])
@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("UPDATE consent_events SET played_ms = 9 WHERE after = 'refused'", "chained_act_changed"),
        ("DELETE FROM chain WHERE seq = 2", "chain_gap"),
        ("DELETE FROM consent_events WHERE after = 'refused'", "chained_act_removed"),
        ("UPDATE chain SET salt = commitment WHERE seq = 2", "chain_broken"),
    ],
)
def test_a_copy_that_was_changed_by_sql_is_named_offline(
    house: House, tmp_path: Path, statement: str, code: str
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(house.storage.root, copy / "recordings")
    for file in house.home.parent.glob("catalogue.db*"):  # what a busy machine has not written back yet, too
        shutil.copy(file, copy)
    (copy / "recorder.toml").write_text('[ami]\nusername = "recorder"\nsecret_file = "/nowhere"\n')
    words = ["--config", str(tmp_path / "none.toml"), "verify", "--copy", str(copy), "--json"]
    before = json.loads(CliRunner().invoke(app, words).stdout)
    assert "chain" not in str(before["mismatches"])
    with tampering(copy / "catalogue.db") as database:
        assert database.execute(statement).rowcount > 0
    done = CliRunner().invoke(app, words)
    assert (done.exit_code, code in {item["code"] for item in json.loads(done.stdout)["mismatches"]}) == (1, True)
