"""`recorder init` on a folder that stands for /etc/asterisk, with a scripted command line of Asterisk."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from recorder import shipped
from recorder.catalogue import open_catalogue
from recorder.model import ConsentMode
from recorder.policy import LinePolicy
from recorder.settings import load
from tests.facts import NOON

ROOT = Path(__file__).parents[2]
TEXTS = ROOT / "tests" / "core" / "pbx_texts" / "22"

ASTERISK = """\
#!{python}
import sys
from pathlib import Path
answers = {{
    "core show settings": Path("{texts}/core_show_settings.txt").read_text().replace("/srv/pbx/etc", "{etc}"),
    "manager show settings": Path("{texts}/manager_show_settings.txt").read_text(),
    "module show": Path("{texts}/module_show.txt").read_text(),
    "queue show": Path("{texts}/queue_show.txt").read_text(),
    "manager show user recorder": Path("{texts}/manager_show_user_nobody.txt").read_text(),
    "manager show user taken": Path("{texts}/manager_show_user_recorder.txt").read_text(),
}}
Path("{asked}").open("a").write(sys.argv[2] + chr(10))
print(answers[sys.argv[2]], end="")
"""

EXTENSIONS = "[general]\nstatic=yes\n\n[from-outside]\nexten => 100,1,Queue(support)\n"
FEATURES = "[general]\n[applicationmap]\nhouse-note => *55,self,NoOp"
MANAGER = "[general]\nenabled = yes\n; façade, in an old encoding\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """A machine with an Asterisk, as far as init sees it."""

    base: Path

    @property
    def etc(self) -> Path:
        return self.base / "asterisk"

    @property
    def config(self) -> Path:
        return self.base / "recorder" / "recorder.toml"

    @property
    def asked(self) -> list[str]:
        file = self.base / "asked"
        return file.read_text().splitlines() if file.exists() else []

    def init(self, *words: str, umask: int = 0o022) -> subprocess.CompletedProcess[str]:
        cli = f"{self.base / 'asterisk-cli'} -rx"
        command = [sys.executable, "-m", "recorder", "--config", str(self.config), "init", "--cli", cli]
        command += ["--prompts", str(self.base / "prompts"), *words]
        return subprocess.run(
            command,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, "COLUMNS": "100"},
            umask=umask,
        )

    def snapshot(self) -> dict[str, tuple[int, bytes]]:
        files = (path for path in self.base.rglob("*") if path.is_file() and path.name != "asked")
        return {str(path.relative_to(self.base)): (path.stat().st_mode, path.read_bytes()) for path in files}


@pytest.fixture
def house(tmp_path: Path) -> House:
    house = House(base=tmp_path)
    house.etc.mkdir()
    (house.etc / "extensions.conf").write_text(EXTENSIONS)
    (house.etc / "features.conf").write_text(FEATURES)
    (house.etc / "manager.conf").write_bytes(MANAGER.encode("latin-1"))
    (house.etc / "manager.conf").chmod(0o640)
    program = tmp_path / "asterisk-cli"
    program.write_text(ASTERISK.format(python=sys.executable, texts=TEXTS, etc=house.etc, asked=house.base / "asked"))
    program.chmod(0o755)
    return house


def applied(house: House, *words: str, umask: int = 0o022) -> str:
    done = house.init("--apply", *words, umask=umask)
    assert done.returncode == 0, done.stderr
    return done.stdout


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_without_apply_nothing_is_changed_and_the_difference_is_shown(house: House) -> None:
    before = house.snapshot()
    done = house.init()
    assert done.returncode == 0, done.stderr
    assert house.snapshot() == before
    assert f"+++ {house.config}" in done.stdout
    assert "+#include extensions_recorder.conf" in done.stdout
    assert "Nothing was changed" in done.stdout


def test_a_second_run_finds_nothing_to_change(house: House) -> None:
    applied(house)
    after = house.snapshot()
    again = applied(house)
    assert "nothing to change" in again
    assert house.snapshot() == after


def test_what_was_there_is_kept_beside_what_is_new(house: House) -> None:
    applied(house)
    assert (house.etc / "extensions.conf.bak").read_text() == EXTENSIONS
    assert (house.etc / "extensions.conf").read_text().startswith(EXTENSIONS)
    assert (house.etc / "features.conf").read_text().startswith(f"{FEATURES}\n")
    assert (house.etc / "manager.conf").read_bytes().startswith(MANAGER.encode("latin-1"))
    assert mode(house.etc / "manager.conf") == mode(house.etc / "manager.conf.bak") == 0o640


def test_how_events_get_asterisks_own_time_is_told_where_they_have_it_not(house: House) -> None:
    assert "timestampevents" not in house.init().stdout
    program = house.base / "asterisk-cli"
    said = 'Path("' + str(TEXTS / "manager_show_settings.txt") + '").read_text()'
    program.write_text(program.read_text().replace(said, f'{said}.replace("events:          Yes", "events: No")'))
    assert "set timestampevents = yes" in house.init().stdout


def test_an_older_bak_is_not_overwritten(house: House) -> None:
    (house.etc / "extensions.conf.bak").write_text("older")
    applied(house)
    assert (house.etc / "extensions.conf.bak").read_text() == "older"
    assert (house.etc / "extensions.conf.bak1").read_text() == EXTENSIONS


def test_a_fresh_installation_has_a_line_for_each_queue_and_records_nothing(house: House) -> None:
    applied(house)
    settings = load(house.config, {})
    assert set(settings.line) == {"support", "sales"}
    assert {rules.mode for rules in settings.rules().values()} == {ConsentMode.NEVER}
    assert settings.pbx.queue_log == Path("/srv/pbx/log/queue_log")
    assert settings.pbx.cdr == Path("/srv/pbx/log/cdr-csv/Master.csv")
    assert settings.ami.port == int(TEXTS.joinpath("manager_show_settings.txt").read_text().split("127.0.0.1:")[1][:5])


def test_what_cdr_conf_lacks_is_said_and_not_changed(house: House) -> None:
    cdr = house.etc / "cdr.conf"
    cdr.write_text("[general]\nenable = yes\n[csv]\nloguniqueid => yes\n;newcdrcolumns = yes\n")
    assert "set newcdrcolumns = yes;" in applied(house)
    assert "newcdrcolumns" in cdr.read_text().splitlines()[-1]
    cdr.write_text("[csv]\nloguniqueid=yes\nnewcdrcolumns=yes\n")
    assert "cdr.conf" not in applied(house)


def test_the_lines_may_be_chosen(house: House) -> None:
    applied(house, "--line", "support", "--line", "night.shift")
    settings = load(house.config, {})
    assert {name: rules.queues for name, rules in settings.rules().items()} == {
        "support": ("support",),
        "night-shift": ("night.shift",),
    }


def test_the_secret_is_the_same_in_both_files_and_is_never_shown(house: House) -> None:
    shown = house.init().stdout + applied(house) + applied(house)
    secret = (house.config.parent / "ami.secret").read_text().strip()
    assert len(secret) > 30
    assert f"secret = {secret}\n" in (house.etc / "manager_recorder.conf").read_text()
    assert load(house.config, {}).ami.password() == secret
    assert secret not in shown
    assert "secret = ********" in shown


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_modes_do_not_depend_on_the_umask(house: House, umask: int) -> None:
    applied(house, umask=umask)
    assert mode(house.config) == mode(house.config.parent / "ami.secret") == 0o640
    assert mode(house.config.parent) == 0o750
    assert mode(house.etc / "manager_recorder.conf") == 0o640
    assert mode(house.etc / "extensions_recorder.conf") == 0o644
    assert mode(house.base / "prompts" / "en") == 0o755
    assert mode(house.base / "prompts" / "en" / "question.wav") == 0o644


def test_the_dialplan_and_the_prompts_are_those_that_are_shipped(house: House) -> None:
    applied(house)
    for name in (shipped.EXTENSIONS, shipped.FEATURES):
        assert (house.etc / name).read_bytes() == (shipped.dialplan() / name).read_bytes()
    wavs = sorted((shipped.dialplan() / "prompts").glob("*/*.wav"))
    assert wavs
    for wav in wavs:
        assert (house.base / "prompts" / wav.parent.name / wav.name).read_bytes() == wav.read_bytes()


def test_an_older_dialplan_is_replaced_and_the_houses_digits_and_prompts_stay(house: House) -> None:
    applied(house)
    features, prompt = house.etc / shipped.FEATURES, house.base / "prompts" / "en" / "question.wav"
    features.write_text(features.read_text().replace("*71,", "*41,"))
    prompt.write_bytes(b"the house's own voice")
    (house.etc / shipped.EXTENSIONS).write_text("; an older version\n")
    applied(house)
    assert "recorder-emergency => *41," in features.read_text()
    assert prompt.read_bytes() == b"the house's own voice"
    assert (house.etc / shipped.EXTENSIONS).read_bytes() == (shipped.dialplan() / shipped.EXTENSIONS).read_bytes()
    assert (house.etc / f"{shipped.EXTENSIONS}.bak").read_text() == "; an older version\n"


FALLBACK = "extensions_recorder_fallback.conf"


def choose(house: House, *lines: str) -> None:
    """As a person would: the line `support` asks, also without the recorder."""
    text = house.config.read_text()
    head, _, _ = text.partition("[line.")
    house.config.write_text("\n".join((head, "[line.support]", *lines, "")))


def test_a_line_that_asks_without_us_is_written_as_dialplan_of_its_own(house: House) -> None:
    applied(house)
    assert not (house.etc / FALLBACK).exists()
    choose(house, 'consent = "opt_in"', 'fallback = "dialplan"')
    assert f"+#include {FALLBACK}" in house.init().stdout
    applied(house)
    text = (house.etc / FALLBACK).read_text()
    assert list(shipped.contexts(text)) == ["recorder-fallback-support"]
    assert f"{house.base / 'prompts'}/en/question" in text
    assert ",br(/var/spool/recorder/${name}-caller.wav)" in text
    assert "nothing to change" in applied(house)


def test_a_changed_setting_or_prompt_is_written_anew_and_a_line_that_asks_no_more_is_taken_out(house: House) -> None:
    applied(house)
    choose(house, 'consent = "opt_in"', 'fallback = "dialplan"')
    applied(house)
    before = (house.etc / FALLBACK).read_text()
    choose(house, 'consent = "opt_in"', 'fallback = "dialplan"', "retries = 0")
    applied(house)
    assert (house.etc / FALLBACK).read_text() != before
    (house.base / "prompts" / "en" / "question.wav").unlink()
    assert "nobody is asked: line support: there is no prompt question in en" in applied(house)
    choose(house, 'consent = "never"', 'fallback = "dialplan"')
    applied(house)
    assert shipped.contexts((house.etc / FALLBACK).read_text()) == {}
    assert (house.etc / "extensions.conf").read_text().count(FALLBACK) == 1


async def kept_unrecorded(url: str) -> None:
    """Settings of some time said never of line support."""
    store = await open_catalogue(url)
    said = LinePolicy(line="support", settings='{"kept_unrecorded":true}')
    await store.write_policies("pbx1", NOON, "1.0", [said])
    await store.close()


def test_a_line_that_is_kept_unrecorded_is_taken_out_of_what_asks_without_us(
    house: House, sqlite_template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{house.base / 'catalogue.db'}"
    monkeypatch.setenv("RECORDER_CATALOGUE__URL", url)
    applied(house)
    choose(house, 'consent = "opt_in"', 'fallback = "dialplan"')
    shutil.copyfile(sqlite_template, house.base / "catalogue.db")
    applied(house)
    assert "recorder-fallback-support" in shipped.contexts((house.etc / FALLBACK).read_text())
    asyncio.run(kept_unrecorded(url))
    assert "Line support is not asked while the recorder is away: it is kept unrecorded" in applied(house)
    assert shipped.contexts((house.etc / FALLBACK).read_text()) == {}


def test_what_asks_without_us_stays_as_it_is_where_nobody_can_tell_which_lines_are_kept_unrecorded(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    applied(house)
    choose(house, 'consent = "opt_in"', 'fallback = "dialplan"')
    applied(house)
    before = (house.etc / FALLBACK).read_text()
    choose(house, 'consent = "opt_in"', 'fallback = "dialplan"', "retries = 0")
    monkeypatch.setenv("RECORDER_CATALOGUE__URL", "postgresql://nobody@127.0.0.1:1/none")
    assert f"{FALLBACK} stays as it is: only the catalogue tells" in applied(house)
    assert (house.etc / FALLBACK).read_text() == before


def test_settings_that_are_there_are_kept_and_a_new_queue_is_named(house: House) -> None:
    applied(house, "--line", "support")
    before = house.config.read_bytes()
    assert "The queue sales belongs to no line" in applied(house)
    assert house.config.read_bytes() == before


def test_a_folder_of_accounts_is_used_where_manager_conf_includes_one(house: House) -> None:
    (house.etc / "manager.d").mkdir()
    (house.etc / "manager.conf").write_text('[general]\nenabled = yes\n#include "manager.d/*.conf"\n')
    applied(house)
    assert (house.etc / "manager.d" / "recorder.conf").exists()
    assert not (house.etc / "manager.conf.bak").exists()


def test_a_file_that_a_distribution_writes_itself_is_left_alone_for_the_houses_own(house: House) -> None:
    (house.etc / "extensions.conf").write_text("; written by the web interface\n#include extensions_custom.conf\n")
    (house.etc / "extensions_custom.conf").write_text("")
    applied(house)
    assert "extensions_recorder" not in (house.etc / "extensions.conf").read_text()
    assert "#include extensions_recorder.conf" in (house.etc / "extensions_custom.conf").read_text()


def test_an_account_of_somebody_elses_is_not_taken_over(house: House) -> None:
    before = house.snapshot()
    done = house.init("--apply", "--ami-user", "taken")
    assert done.returncode == 1
    assert "already has an AMI account taken" in done.stderr
    assert house.snapshot() == before


def test_the_dialplan_lines_and_the_reload_commands_are_told_and_nothing_is_reloaded(house: House) -> None:
    told = applied(house)
    assert "same => n,Gosub(recorder-inbound,s,1(support))" in told
    assert "same => n,Queue(support,b(recorder-agent^s^1(support)))" in told
    assert "same => n,Gosub(recorder-done,s,1)" in told
    assert '"dialplan reload"' in told
    assert all(" show " in f"{command} " for command in house.asked)


def test_a_secret_that_is_there_is_used_again(house: House) -> None:
    house.config.parent.mkdir()
    (house.config.parent / "ami.secret").write_text("chosen-by-the-house\n")
    applied(house)
    assert "secret = chosen-by-the-house\n" in (house.etc / "manager_recorder.conf").read_text()


def test_an_asterisk_that_cannot_be_asked_needs_its_folder_named(house: House) -> None:
    (house.base / "asterisk-cli").unlink()
    assert "--asterisk-etc" in house.init().stderr
    told = applied(house, "--asterisk-etc", str(house.etc), "--line", "support")
    assert "could not be asked" in told
    assert set(load(house.config, {}).line) == {"support"}


def test_a_folder_that_is_not_asterisks_is_refused(house: House, tmp_path: Path) -> None:
    done = house.init("--apply", "--asterisk-etc", str(tmp_path))
    assert done.returncode == 1
    assert "holds no extensions.conf" in done.stderr


def test_mistaken_settings_are_listed_and_nothing_is_written(house: House) -> None:
    applied(house)
    house.config.write_text(house.config.read_text() + "\n[no]\nsuch = 1\n")
    before = house.snapshot()
    done = house.init("--apply")
    assert done.returncode == 78
    assert "no such setting" in done.stderr
    assert house.snapshot() == before


def test_a_symbolic_link_stays_one(house: House) -> None:
    elsewhere = house.base / "kept-in-git.conf"
    shutil.move(house.etc / "extensions.conf", elsewhere)
    (house.etc / "extensions.conf").symlink_to(elsewhere)
    applied(house)
    assert (house.etc / "extensions.conf").is_symlink()
    assert "#include extensions_recorder.conf" in elsewhere.read_text()


def test_sixty_queues_do_not_bury_what_is_left_to_do(house: House) -> None:
    queues = [f"queue{number}" for number in range(60)]
    told = applied(house, *(word for queue in queues for word in ("--line", queue)))
    assert told.count("Gosub(recorder-inbound") == 3
    assert "queue59" in told.partition("likewise for")[2]
    assert set(load(house.config, {}).line) == set(queues)
