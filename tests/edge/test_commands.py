"""The commands that tell, as an operator and as a program meet them: what is printed where, and the exit code."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from typer.testing import CliRunner

from recorder import catalogue
from recorder.__main__ import app
from recorder.books import Code
from recorder.commands.asking import moment
from recorder.commands.display import amount, lasting, plain, text
from recorder.model import CallId
from recorder.storage import Storage
from tests import books, facts
from tests.books import Story
from tests.facts import NOON
from tests.pbx.server import free_port
from tests.recorder_process import REPOSITORY

CALL_KEYS = {
    "id",
    "node",
    "line",
    "direction",
    "mode",
    "phase",
    "consent",
    "started_at",
    "ended_at",
    "outcome",
    "reason",
}
RECORDING_KEYS = {
    "id",
    "call",
    "line",
    "status",
    "sealed",
    "authorised_at",
    "bridged_at",
    "settled_at",
    "bridged_seconds",
    "samples",
    "rate",
    "sha256",
    "size",
    "findings",
    "path",
    "authorising_state",
    "reason",
}
ALIKE = ("5e0fd3a6-1f4b-4d0c-9d0a-5f3f4f1f2c11", "5e0fd3a6-1f4b-4d0c-9d0a-5f3f4f1f2c12")
LISTINGS = ("calls", "recordings", "consents")


class Cli:
    """`recorder` beside a catalogue of a few calls."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.config = home / "recorder.toml"
        self.stories: dict[str, Story] = {}
        self.storage: Storage = books.folders(home)

    def run(self, *words: str, columns: int | None = None) -> subprocess.CompletedProcess[str]:
        """In this process, its output piped; `columns` is what a terminal of that width would make of it."""
        environment = {"COLUMNS": None if columns is None else str(columns)}
        done = CliRunner().invoke(app, ["--config", str(self.config), *words], env=environment)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return subprocess.CompletedProcess(words, done.exit_code, done.stdout, done.stderr)

    def process(self, *words: str) -> subprocess.CompletedProcess[str]:
        """As a process of its own."""
        return subprocess.run(
            [sys.executable, "-m", "recorder", "--config", str(self.config), *words],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def json(self, *words: str) -> Any:
        done = self.run(*words, "--json")
        assert done.stderr == ""
        return json.loads(done.stdout)

    def configure(self, url: str | None = None, **http: object) -> None:
        sections: Mapping[str, Mapping[str, object]] = {
            "ami": {"username": "recorder", "secret": "not used"},
            "pbx": {"queue_log": str(self.home / "queue_log")},
            "catalogue": {"url": url or f"sqlite:///{self.home / 'catalogue.db'}"},
            "storage": {"path": str(self.storage.root)},
            "capture": {"spool": str(self.storage.spool.here)},
            "http": {"bind": f"127.0.0.1:{free_port()}"} | http,
        }
        lines = [
            f"[{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())
            for name, keys in sections.items()
        ]
        self.config.write_text("".join(lines), encoding="utf-8")
        (self.home / "queue_log").write_text("1772452800|NONE|NONE|NONE|QUEUESTART|\n", encoding="utf-8")


@pytest.fixture(scope="module")
def cli(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """Six calls of every kind; tests of this module only look."""
    made = Cli(tmp_path_factory.mktemp("cli"))
    shutil.copyfile(sqlite_template, made.home / "catalogue.db")
    made.configure()
    made.stories = {
        "agreed": books.agreed(made.storage),
        "override": books.by_override(made.storage),
        "refused": books.refused(),
        "excluded": books.excluded(),
        "failed": Story(call=CallId(UUID(ALIKE[0]))).admitted().answered().lost().talking().hung_up(),
        "open": Story(call=CallId(UUID(ALIKE[1]))).admitted(),
    }

    async def write() -> None:
        store = await catalogue.open_catalogue(f"sqlite:///{made.home / 'catalogue.db'}")
        for story in made.stories.values():
            await story.write(store)
        await store.close()

    asyncio.run(write())
    return made


@pytest.fixture
def broken(cli: Cli, tmp_path: Path) -> Cli:
    """The same calls, and one settled file is gone."""
    shutil.copytree(cli.home, tmp_path / "home", symlinks=True, ignore=shutil.ignore_patterns("recordings", "spool"))
    made = Cli(tmp_path / "home")
    shutil.copytree(cli.storage.root, made.storage.root, dirs_exist_ok=True)
    made.stories = cli.stories
    made.configure()
    path_of(made, "agreed").unlink()
    return made


def path_of(cli: Cli, kind: str) -> Path:
    story = cli.stories[kind]
    return cli.storage.path(story.recording, story.authorised_at)


# --------------------------------------------------------------------------- for programs


def test_calls_are_listed_with_their_stable_keys(cli: Cli) -> None:
    rows = cli.json("calls")
    assert [set(row) for row in rows] == [CALL_KEYS] * 6
    assert {row["id"] for row in rows} == {str(story.call) for story in cli.stories.values()}
    by_id = {row["id"]: row for row in rows}
    assert by_id[str(cli.stories["failed"].call)] | {"id": ""} == {
        "id": "",
        "node": "pbx1",
        "line": "support",
        "direction": "incoming",
        "mode": "opt_in",
        "phase": "closed",
        "consent": "given",
        "started_at": "2026-03-02T12:00:00+00:00",
        "ended_at": "2026-03-02T12:00:12+00:00",
        "outcome": "lost",
        "reason": "capture_failed",
    }


@pytest.mark.parametrize(
    ("words", "count"),
    [
        (("--limit", "2"), 2),
        (("--outcome", "lost"), 1),
        (("--line", "support"), 6),
        (("--line", "sales"), 0),
        (("--since", "2026-03-02T11:59"), 6),
        (("--since", "2026-03-02T12:00:01Z"), 0),
    ],
)
def test_calls_are_chosen(cli: Cli, words: tuple[str, ...], count: int) -> None:
    assert len(cli.json("calls", *words)) == count


def test_recordings_are_listed_with_their_stable_keys_and_where_each_settled_one_lies(cli: Cli) -> None:
    rows = cli.json("recordings")
    assert [set(row) for row in rows] == [RECORDING_KEYS] * 3
    by_call = {row["call"]: row for row in rows}
    agreed = by_call[str(cli.stories["agreed"].call)]
    assert agreed["path"] == str(path_of(cli, "agreed"))
    assert Path(agreed["path"]).stat().st_size == agreed["size"]
    assert (agreed["samples"], agreed["rate"], agreed["sealed"], agreed["findings"]) == (16_000, 8000, False, [])
    assert by_call[str(cli.stories["override"].call)]["sealed"] is True
    failed = by_call[str(cli.stories["failed"].call)]
    assert (failed["status"], failed["path"], failed["reason"]) == ("failed", None, "capture_failed")


def test_consents_are_listed_by_their_columns(cli: Cli) -> None:
    rows = cli.json("consents", "--to", "overridden")
    assert [(row["call"], row["before"], row["actor"], row["reason"]) for row in rows] == [
        (str(cli.stories["override"].call), "refused", "PJSIP/alice", "emergency")
    ]


def test_verify_says_ok_and_counts(cli: Cli) -> None:
    found = cli.json("verify")
    assert set(found) == {"ok", "counts", "mismatches", "remarks"}
    assert (found["ok"], found["mismatches"]) == (True, [])
    assert found["counts"]["outcomes"] == {"excluded": 1, "abandoned": 0, "recorded": 2, "declined": 1, "lost": 1}
    assert (found["counts"]["files_of_excluded"], found["counts"]["files_of_declined"]) == (0, 0)
    assert (found["counts"]["personal_calls"], found["counts"]["cdr"]) == (None, None)
    assert found["counts"]["queue_log"]["passages"] == 0
    assert cli.run("verify").returncode == 0


def test_verify_reads_only_what_came_since(cli: Cli) -> None:
    counts = cli.json("verify", "--since", "2026-03-02T12:00:01")["counts"]
    assert (counts["calls"], counts["since"]) == (0, "2026-03-02T12:00:01+00:00")
    assert cli.json("verify", "--since", "2026-03-02T12:00")["counts"]["calls"] == 6


def test_a_ledger_that_cannot_be_read_is_named_and_not_passed_over(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECORDER_PBX__CDR", "/nowhere/Master.csv")
    (item,) = cli.json("verify")["mismatches"]
    assert (item["code"], item["path"]) == (Code.LEDGER_UNREADABLE, "/nowhere/Master.csv")
    assert cli.run("verify").returncode == 1


# --------------------------------------------------------------------------- orphans


@pytest.fixture
def littered(broken: Cli) -> Cli:
    """A file that nothing authorises lies in the spool."""
    (broken.storage.spool.here / "in-1772452900.7.wav").write_bytes(b"RIFF")
    return broken


def test_adopt_lists_what_waits_for_a_hand_and_does_nothing(littered: Cli) -> None:
    done = littered.run("adopt", "--json")
    (one,) = json.loads(done.stdout)
    assert done.returncode == 1
    assert set(one) == {"orphan", "recording", "call", "paths", "fate", "why", "mend"}
    assert (one["fate"], one["paths"]) == ("unauthorised", [str(littered.storage.spool.here / "in-1772452900.7.wav")])
    assert Path(one["orphan"]).exists()
    assert "--quarantine (or --erase)" in littered.run("adopt", columns=80).stdout


def test_what_nothing_authorises_is_not_adopted_and_leaves_on_a_word_only(littered: Cli) -> None:
    name = str(littered.storage.spool.here / "in-1772452900.7.wav")
    refused = littered.run("adopt", name, "--reason", "why not")
    assert (refused.returncode, Path(name).exists()) == (1, True)
    assert "becomes no recording" in refused.stdout
    done = littered.run("adopt", name, "--erase", "--reason", "nobody agreed", "--by", "ada", "--json")
    assert (done.returncode, json.loads(done.stdout)[0]["done"], Path(name).exists()) == (0, "erased", False)
    database = sqlite3.connect(littered.home / "catalogue.db")
    rows = database.execute("SELECT actor, action, reason FROM file_acts ORDER BY seq").fetchall()
    database.close()
    assert rows == [("ada", "erasing", "nobody agreed"), ("ada", "erased", "nobody agreed")]
    assert littered.run("adopt").returncode == 0


@pytest.mark.parametrize(
    "words",
    [
        ("x",),
        ("x", "--reason", " "),
        ("--erase",),
        ("--reason", "why"),
        ("x", "--all", "--reason", "why"),
        ("--all", "--erase", "--reason", "why"),
        ("x", "--erase", "--quarantine", "--reason", "why"),
    ],
)
def test_half_a_word_is_none(littered: Cli, words: tuple[str, ...]) -> None:
    assert littered.run("adopt", *words).returncode == 2


def test_an_orphan_that_there_is_not_stops_everything_that_was_asked(littered: Cli) -> None:
    name = littered.storage.spool.here / "in-1772452900.7.wav"
    done = littered.run("adopt", str(name), "/nowhere.wav", "--quarantine", "--reason", "why")
    assert (done.returncode, name.exists()) == (1, True)
    assert "/nowhere.wav" in done.stderr


# --------------------------------------------------------------------------- of a copy


ENDED = 1_772_453_000  # some minutes after the calls of NOON


@pytest.fixture
def copied(cli: Cli, tmp_path: Path) -> Path:
    """The books in a folder, as an auditor is given them; no daemon, no PBX, no secret."""
    copy = tmp_path / "copy"
    shutil.copytree(cli.storage.root, copy / "recordings")
    shutil.copy(cli.home / "catalogue.db", copy)
    lines = '[ami]\nusername = "recorder"\nsecret_file = "/nowhere"\n[line.support]\nconsent = "opt_in"\n'
    (copy / "recorder.toml").write_text(lines, encoding="utf-8")
    entries = [f"{ENDED}|NONE|NONE|NONE|QUEUESTART|"]
    for story in cli.stories.values():
        name = facts.caller(story.call).uniqueid
        entries += [f"1772452800|{name}|support|NONE|ENTERQUEUE||1|1", f"1772452801|{name}|support|P|CONNECT|1|x.2|1"]
    (copy / "queue_log").write_text("\n".join(entries) + "\n", encoding="utf-8")
    row = ["", "1", "2001", "personal", "", "P-1", "P-2", "Dial", "P/1", *["2026-03-02 12:00:00"] * 3, "60", "60"]
    row += ["ANSWERED", "3", "1772452900.7", "", "1772452900.7", "7"]
    (copy / "Master.csv").write_text(",".join(f'"{column}"' for column in row) + "\n", encoding="utf-8")
    return copy


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_copy_is_verified_with_nothing_but_itself_and_stays_as_it_is(copied: Path, tmp_path: Path) -> None:
    before = contents(copied)
    done = CliRunner().invoke(app, ["--config", str(tmp_path / "none.toml"), "verify", "--copy", str(copied), "--json"])
    found = json.loads(done.stdout)
    assert (done.exit_code, found["mismatches"]) == (0, [])
    assert found["counts"]["outcomes"]["recorded"] == 2
    assert (found["counts"]["personal_calls"], found["counts"]["files_of_personal"]) == (1, 0)
    assert found["counts"]["queue_log"]["passages"] == 6
    assert contents(copied) == before


def _append(line: str) -> Callable[[Path], None]:
    def act(copy: Path) -> None:
        with (copy / "queue_log").open("a", encoding="utf-8") as log:
            log.write(line)

    return act


def _change_digest(copy: Path) -> None:
    database = sqlite3.connect(copy / "catalogue.db")
    database.execute("UPDATE recordings SET sha256 = replace(sha256, substr(sha256, 1, 1), 'x') WHERE sha256 NOTNULL")
    database.commit()
    database.close()


def _personal_file(copy: Path) -> None:
    (copy / "spool").mkdir()
    (copy / "spool" / "monitor-1772452900.7.wav").write_bytes(b"RIFF")


SEEN_BY_NOBODY = "1772452850|9.9|support|NONE|ENTERQUEUE||1|1\n1772452860|9.9|support|NONE|ABANDON|1|1|9\n"
DOCTORED: list[tuple[str, Callable[[Path], object], set[Code]]] = [
    ("a file removed", lambda copy: next(copy.rglob("*.wav")).unlink(), {Code.FILE_MISSING}),
    (
        "a file added",
        lambda copy: (copy / "recordings/2026/03/02/5e0fd3a6-1f4b-4d0c-9d0a-5f3f4f1f2c11.wav").write_bytes(b"RIFF"),
        {Code.FILE_WITHOUT_ROW},
    ),
    (
        "a file renamed",
        lambda copy: (it := next(copy.rglob("*.wav"))).rename(it.with_name("x.wav")),
        {Code.FILE_MISSING, Code.FILE_NOT_OURS},
    ),
    ("a file cut", lambda copy: os.truncate(next(copy.rglob("*.wav")), 100), {Code.FILE_SIZE_DIFFERS}),
    ("a digest changed by SQL", _change_digest, {Code.FILE_DIGEST_DIFFERS}),
    ("a call in the queue log that nobody saw", _append(SEEN_BY_NOBODY), {Code.CALL_UNKNOWN}),
    ("a file of a personal call", _personal_file, {Code.PERSONAL_AUDIO}),
]


@pytest.mark.parametrize(("what", "doctor", "expected"), DOCTORED, ids=[what for what, *_ in DOCTORED])
def test_what_was_done_to_a_copy_is_named(
    copied: Path, what: str, doctor: Callable[[Path], object], expected: set[Code]
) -> None:
    doctor(copied)
    done = CliRunner().invoke(app, ["verify", "--copy", str(copied), "--json"])
    found = json.loads(done.stdout)
    assert done.exit_code == 1, what
    assert {item["code"] for item in found["mismatches"]} == expected
    assert found["counts"]["files_of_personal"] == (Code.PERSONAL_AUDIO in expected)


def test_a_folder_that_is_no_copy_is_said_to_be_none(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["verify", "--copy", str(tmp_path)])
    assert done.exit_code == 1
    assert "holds no catalogue.db" in done.stderr


def test_verify_names_what_does_not_fit_and_exits_1(broken: Cli) -> None:
    done = broken.run("verify", "--json")
    (item,) = json.loads(done.stdout)["mismatches"]
    assert done.returncode == 1
    assert set(item) == {"code", "call", "recording", "path", "what", "mend"}
    assert (item["code"], item["path"]) == (Code.FILE_MISSING, str(path_of(broken, "agreed")))


def test_a_calls_story_has_all_its_parts(cli: Cli) -> None:
    call = str(cli.stories["override"].call)
    story = cli.json("calls", "show", call, "--why")
    assert set(story) == {"call", "legs", "consents", "prompts", "recordings", "journal", "audit", "why"}
    assert set(story["call"]) == CALL_KEYS
    assert [(made["permitted"], made["rule"]) for made in story["why"]] == [
        (False, "caller objected"),
        (True, "override for a duty"),
    ]


def test_a_process_of_its_own_prints_the_same_and_exits_with_the_same_codes(cli: Cli, broken: Cli) -> None:
    listed = cli.process("calls", "--json")
    assert (listed.returncode, listed.stderr, json.loads(listed.stdout)) == (0, "", cli.json("calls"))
    assert broken.process("verify").returncode == 1
    assert cli.process("calls", "show", "xyz").returncode == 2


# --------------------------------------------------------------------------- for people


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("words", ["calls", "consents", "verify"])
def test_a_terminal_of_this_width_shows_every_line_whole(cli: Cli, words: str, columns: int) -> None:
    done = cli.run(words, columns=columns)
    assert done.returncode == 0
    assert max(len(line) for line in done.stdout.splitlines()) <= columns
    assert "…" not in done.stdout


def test_a_narrow_list_shortens_ids_to_what_show_takes(cli: Cli) -> None:
    shown = [line.split()[0] for line in cli.run("calls", columns=80).stdout.splitlines()[1:]]
    first = next(short for short in shown if not ALIKE[0].startswith(short))
    assert len(first) == 8
    assert f"Call {first}" in cli.run("calls", "show", first, columns=80).stdout


def test_a_piped_list_has_one_line_a_row_with_whole_ids_and_paths(cli: Cli) -> None:
    lines = cli.run("recordings").stdout.splitlines()
    assert len(lines) == 4
    assert sum(str(path_of(cli, "agreed")) in line and str(cli.stories["agreed"].call) in line for line in lines) == 1
    assert not any("\x1b" in line for line in lines)


def test_a_narrow_list_of_recordings_gives_each_path_a_line_of_its_own(cli: Cli) -> None:
    assert str(path_of(cli, "agreed")) in cli.run("recordings", columns=80).stdout.splitlines()


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("agreed", ["answer: given", "PJSIP/alice took the call", "settled: 2.0 s of audio", "outcome recorded"]),
        ("override", ["PJSIP/alice pressed the override key for emergency", "settled, sealed", "capture, by the rule"]),
        ("refused", ['no capture, by the rule "caller objected"', "outcome declined"]),
        ("excluded", ["line never recorded: no capture", "outcome excluded"]),
        ("failed", ["there is no audio: capture_failed", "outcome lost: capture_failed"]),
        ("open", ["in progress: asking", "line's policy: no capture (mode opt_in, consent none)"]),
    ],
)
def test_a_calls_story_reads_as_what_happened_and_why(cli: Cli, kind: str, said: list[str]) -> None:
    shown = cli.run("calls", "show", str(cli.stories[kind].call), "--why").stdout
    assert [words for words in said if words not in shown] == []


def test_what_is_cut_off_by_the_limit_is_said(cli: Cli) -> None:
    assert "--limit" in cli.run("calls", "--limit", "2").stderr
    assert cli.run("calls").stderr == ""


def test_a_list_without_rows_says_so_and_exits_0(cli: Cli) -> None:
    done = cli.run("calls", "--line", "sales")
    assert (done.returncode, done.stdout, done.stderr.strip()) == (0, "", "No calls match.")


def test_verify_tells_a_person_what_is_wrong_and_how_to_mend_it(broken: Cli) -> None:
    done = broken.run("verify", columns=80)
    assert done.returncode == 1
    assert "file_missing" in done.stdout
    assert "Restore the file from a backup" in done.stdout
    assert done.stdout.splitlines()[-1] == "The books of node pbx1 do not balance: 1 item does not fit."


def test_verify_draws_its_progress_on_a_terminal_only(cli: Cli) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "recorder", "--config", str(cli.config), "verify", "--json"]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=theirs) as process:
        os.close(theirs)
        stdout = process.communicate(timeout=60)[0]
    drawn = os.read(ours, 65536)
    os.close(ours)
    assert json.loads(stdout)["ok"] is True
    assert b"settled recordings" in drawn
    assert cli.run("verify").stderr == ""


# --------------------------------------------------------------------------- what is wrong


@pytest.mark.parametrize(
    "words", [*((listing,) for listing in LISTINGS), ("verify",), ("calls", "show", "0"), ("calls", "--json")]
)
def test_a_catalogue_that_is_not_there_is_one_sentence_and_exit_1(tmp_path: Path, words: tuple[str, ...]) -> None:
    cli = Cli(tmp_path)
    cli.configure()
    done = cli.run(*words)
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert "recorder db upgrade" in done.stderr


def test_the_way_back_is_taken_whole_and_no_further_than_the_program_knows(
    sqlite_template: Path, tmp_path: Path
) -> None:
    cli = Cli(tmp_path)
    cli.configure()
    shutil.copyfile(sqlite_template, tmp_path / "catalogue.db")
    assert cli.run("db", "downgrade", "--to", "0002").stdout == "catalogue at revision 0002\n"

    too_old = cli.run("calls")
    assert (too_old.returncode, len(too_old.stderr.splitlines())) == (1, 1)
    assert "is at 0002, older than" in too_old.stderr

    unknown = cli.run("db", "downgrade", "--to", "0000")
    assert (unknown.returncode, unknown.stdout, len(unknown.stderr.splitlines())) == (1, "", 1)
    assert cli.run("db", "upgrade").stdout == f"catalogue at revision {catalogue.newest()}\n"


def test_a_catalogue_of_another_revision_is_one_sentence_and_exit_1(tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    cli.configure()
    (tmp_path / "catalogue.db").touch()
    done = cli.run("calls")
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "recorder db upgrade" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("calls", "--outcome", "fine"),
        ("calls", "--since", "yesterday"),
        ("calls", "--limit", "0"),
        ("calls", "show"),
        ("calls", "show", "xyz"),
        ("recordings", "--status", "fine"),
        ("consents", "--to", "maybe"),
        ("verify", "--fast"),
    ],
)
def test_wrong_usage_exits_2(cli: Cli, words: tuple[str, ...]) -> None:
    done = cli.run(*words)
    assert (done.returncode, done.stdout) == (2, "")


@pytest.mark.parametrize("words", [*LISTINGS, "verify", "status"])
def test_mistaken_settings_exit_78(words: str, tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    cli.config.write_text("[ami]\nsecret = 1\n", encoding="utf-8")
    done = cli.run(words)
    assert (done.returncode, done.stdout) == (78, "")
    assert "ami.username" in done.stderr


def test_a_call_that_is_not_there_is_said_with_exit_1(cli: Cli) -> None:
    done = cli.run("calls", "show", "0" * 31)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("There is no call")


def test_the_beginning_of_an_id_that_fits_several_calls_names_them(cli: Cli) -> None:
    done = cli.run("calls", "show", "5e0fd3a6")
    assert (done.returncode, done.stdout) == (1, "")
    assert [name in done.stderr for name in ALIKE] == [True, True]
    assert f"Call {ALIKE[1]}" in cli.run("calls", "show", "5e0fd3a6-1f4b-4d0c-9d0a-5f3f4f1f2c12").stdout


def test_a_store_that_is_not_there_is_one_sentence_and_exit_1(broken: Cli) -> None:
    shutil.rmtree(broken.storage.root)
    done = broken.run("verify")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)


# --------------------------------------------------------------------------- the small parts


def test_a_moment_is_an_age_or_a_date_in_utc() -> None:
    assert moment("2h", NOON).isoformat() == "2026-03-02T10:00:00+00:00"  # type: ignore[union-attr]
    assert moment("2026-03-01", NOON).isoformat() == "2026-03-01T00:00:00+00:00"  # type: ignore[union-attr]
    assert moment("2026-03-01T12:00+02:00", NOON).isoformat() == "2026-03-01T12:00:00+02:00"  # type: ignore[union-attr]
    assert moment(None, NOON) is None


def test_lengths_and_amounts_read_at_a_glance() -> None:
    assert [lasting(seconds) for seconds in (None, 0.4, 59.6, 3787)] == ["", "0:00", "1:00", "1:03:07"]
    assert [amount(size) for size in (44, 1_600_044, 2e12)] == ["44 bytes", "1.6 MB", "2.0 TB"]


def test_a_terminals_control_codes_are_never_printed() -> None:
    assert text("PJSIP/\x1b]0;owned\x07a\r\nb").plain == "PJSIP/?]0;owned?a??b"


def test_rows_become_json_by_their_columns() -> None:
    assert plain({"at": NOON, "paths": (Path("/a"),), "none": None}) == {
        "at": "2026-03-02T12:00:00+00:00",
        "paths": ["/a"],
        "none": None,
    }
