"""Settings: every mistake is named at once, no secret is ever shown, and what we do not know yet is refused."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from recorder.alarms import AlarmKind
from recorder.model import ConsentMode, OverrideReason
from recorder.policy import OverrideTerms
from recorder.settings import (
    Line,
    Origin,
    Settings,
    SettingsMistaken,
    _without_secrets,
    host_and_port,
    load,
    settings_from,
    told,
)

ROOT = Path(__file__).parents[2]
SECRET = "hunter2-and-more"
LEAST = f'[ami]\nusername = "recorder"\nsecret = "{SECRET}"\n'
SUPPORT = LEAST + "[line.support]\n"
LEGAL = 'override.legal = { legal_basis = "s. 2", retention = "dispute" }\n'
ALONE = {"RECORDER_AMI__USERNAME": "recorder", "RECORDER_AMI__SECRET": SECRET}


def read(text: str = LEAST, **environment: str) -> Settings:
    return settings_from(text, environment, source="recorder.toml")


def mistakes(text: str = LEAST, **environment: str) -> tuple[str, ...]:
    with pytest.raises(SettingsMistaken) as raised:
        read(text, **environment)
    return raised.value.mistakes


def test_an_account_is_all_that_must_be_said() -> None:
    settings = read()
    assert (settings.ami.host, settings.ami.port, settings.http.bind) == ("127.0.0.1", 5038, "127.0.0.1:8089")
    assert settings.line == {}
    assert settings.ami.password() == SECRET


def test_a_line_that_says_nothing_is_never_recorded_and_serves_the_queue_of_its_name() -> None:
    rules = read(SUPPORT).rules()["support"]
    assert (rules.mode, rules.queues, rules.override) == (ConsentMode.NEVER, ("support",), ())
    assert (rules.accept, rules.refuse, rules.answer, rules.retries) == ("1", "2", timedelta(seconds=5), 2)


def test_a_line_is_read_as_it_is_written() -> None:
    line = SUPPORT + 'consent = "opt_in"\nqueues = ["a", "b"]\nlanguages = ["en", "fr_CA"]\nanswer_seconds = 2.5\n'
    rules = read(line + LEGAL + 'numbers = ["18005550100"]\n').rules()["support"]
    assert (rules.mode, rules.queues, rules.languages) == (ConsentMode.OPT_IN, ("a", "b"), ("en", "fr_CA"))
    assert (rules.answer, rules.listed) == (timedelta(seconds=2.5), frozenset({OverrideReason.LEGAL}))


def test_each_reason_to_override_has_its_basis_its_retention_rule_and_whether_the_caller_is_told() -> None:
    emergency = 'override.emergency = { legal_basis = "s. 1", retention = "ten-years", tells_caller = true }\n'
    rules = read(SUPPORT + emergency + LEGAL).rules()["support"]
    assert rules.terms(OverrideReason.EMERGENCY) == OverrideTerms(
        reason=OverrideReason.EMERGENCY, basis="s. 1", retention="ten-years", tells_caller=True
    )
    assert rules.terms(OverrideReason.LEGAL) == OverrideTerms(
        reason=OverrideReason.LEGAL, basis="s. 2", retention="dispute"
    )
    assert rules.terms(OverrideReason.BUSINESS) is None
    assert rules.listed == {OverrideReason.EMERGENCY, OverrideReason.LEGAL}
    variables = {
        "RECORDER_LINE__SUPPORT__OVERRIDE__LEGAL__LEGAL_BASIS": "s. 2",
        "RECORDER_LINE__SUPPORT__OVERRIDE__LEGAL__RETENTION": "dispute",
    }
    assert read("", **ALONE, **variables).rules()["support"].listed == {OverrideReason.LEGAL}


def test_settings_that_list_reasons_alone_say_to_the_letter_what_to_write() -> None:
    found = mistakes(SUPPORT + 'retries = -1\noverride = ["legal", "emergency"]\n')
    assert len(found) == 2
    (told,) = [mistake for mistake in found if "override" in mistake]
    written = told.split("a line each: ")[1].split("; ")
    assert [line.split(" = ")[0] for line in written] == ["override.emergency", "override.legal"]
    rules = read(SUPPORT + "\n".join(written).replace("...", "x")).rules()["support"]
    assert rules.listed == {OverrideReason.LEGAL, OverrideReason.EMERGENCY}


def test_settings_that_listed_no_reason_still_list_none() -> None:
    assert read(SUPPORT + "override = []\n").rules()["support"].override == ()


def test_the_digest_of_a_line_changes_with_its_settings_and_with_nothing_else() -> None:
    digest = read(SUPPORT).rules()["support"].digest
    assert read(SUPPORT + "[line.sales]\n", RECORDER_HTTP__BIND="127.0.0.1:1").rules()["support"].digest == digest
    assert read(SUPPORT + "retries = 3\n").rules()["support"].digest != digest


def test_the_settings_of_a_line_are_kept_as_the_text_of_which_the_digest_is_taken_and_hold_no_secret() -> None:
    settings = read(SUPPORT + 'consent = "opt_in"\nlanguages = ["en", "fr"]\n')
    policy = settings.said()["support"].policy
    taken = hashlib.sha256(f"support {policy.settings}".encode()).hexdigest()
    assert (policy.line, policy.digest, settings.rules()["support"].digest) == ("support", taken, taken)
    kept = json.loads(policy.settings)
    assert set(kept) == set(Line.model_fields)
    assert (kept["consent"], kept["languages"], kept["retries"]) == ("opt_in", ["en", "fr"], 2)
    assert SECRET not in policy.settings


@pytest.mark.parametrize(
    ("text", "environment", "keeps"),
    [
        ('consent = "never"\n', {}, True),
        ("", {"RECORDER_LINE__SUPPORT__CONSENT": "never"}, True),
        ("", {}, False),
        ('consent = "opt_in"\n', {}, False),
        ('consent = "opt_in"\npurposes = ["\\"kept_unrecorded\\":true"]\n', {}, False),
    ],
    ids=["said", "said by the environment", "left out", "another", "a purpose that reads so"],
)
def test_a_line_is_kept_unrecorded_by_never_in_so_many_words_and_by_nothing_else(
    text: str, environment: dict[str, str], keeps: bool
) -> None:
    said = read(SUPPORT + text, **environment).said()["support"]
    assert said.policy.keeps_unrecorded is keeps
    assert said.rules.digest == said.policy.digest
    assert json.loads(said.policy.settings).get("kept_unrecorded", False) is keeps


MISTAKEN = """
[node]
name = "no such/name"
[ami]
port = 0
username = "recorder"
secret = "hunter2-and-more"
secret_file = "/nonexistent/secret"
tsl = true
[capture]
spool = "here, or (there)"
[catalogue]
url = "mysql://host/recorder"
[line.support]
consent = "perhaps"
languages = ["en", "en"]
accept = "2"
answer_seconds = 0.5
[line.sales]
legal_basis = "contract"
[retention]
days = 90
"""


def test_every_mistake_is_named_at_once_by_where_it_stands() -> None:
    places = {mistake.split(": ")[1] for mistake in mistakes(MISTAKEN)}
    assert places == {
        "node.name",
        "ami.port",
        "ami.secret_file",
        "ami.tsl",
        "capture.spool",
        "catalogue.url",
        "line.support.consent",
        "line.support.languages",
        "line.support.refuse",
        "line.support.answer_seconds",
        "line.sales.legal_basis",
        "retention",
    }


def test_no_mistake_and_no_settings_ever_show_a_secret() -> None:
    told = "\n".join(mistakes(MISTAKEN)) + repr(read()) + str(read()) + read().model_dump_json()
    assert SECRET not in told
    assert SECRET not in "\n".join(mistakes(f'[ami]\nusername = "a"\nsecret = ["{SECRET}"]'))
    assert SECRET not in "\n".join(mistakes(f'[ami]\nusername = "a"\nsecret = "{SECRET}" oops'))
    assert SECRET not in "\n".join(mistakes('[ami]\nusername = "a"\nport = "x"', RECORDER_AMI__SECRET=SECRET))


def test_the_error_that_is_raised_hides_what_it_came_from() -> None:
    """A traceback prints causes, and those of the library print what was put in."""
    with pytest.raises(SettingsMistaken) as raised:
        read(MISTAKEN)
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__


LATER = [
    "beep = true",
    "retention_days = 90",
    "pause_max_seconds = 300",
]


@pytest.mark.parametrize("line", LATER)
def test_a_key_of_a_later_version_is_refused_and_not_ignored(line: str) -> None:
    (mistake,) = mistakes(SUPPORT + line)
    assert f"line.support.{line.split()[0]}: " in mistake


def test_asking_without_us_needs_the_queue_log() -> None:
    asked = f'{LEAST}[pbx]\nqueue_log = ""\n[line.support]\nfallback = "dialplan"\n'
    (mistake,) = mistakes(asked)
    assert "needs pbx.queue_log" in mistake
    assert settings_from(asked.replace('queue_log = ""', ""), {}, source="x").rules()["support"].asked_without_us


@pytest.mark.parametrize("section", ["retention", "hold", "audit", "users", "lines"])
def test_a_section_of_a_later_version_is_refused_and_not_ignored(section: str) -> None:
    assert mistakes(f"{LEAST}[{section}]\na = 1\n") == (f"recorder.toml: {section}: no such setting",)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('[ami]\nsecret = "a"\n', "ami.username"),
        ('[ami]\nusername = "a"\n', "ami.secret_file"),
        ("", "ami"),
        (SUPPORT + 'consent = "not_required"\n', "line.support.legal_basis"),
        (SUPPORT + "languages = []\n", "line.support.languages"),
        (SUPPORT + 'languages = ["../en"]\n', "line.support.languages.0"),
        (SUPPORT + 'accept = "12"\n', "line.support.accept"),
        (SUPPORT + "retries = -1\n", "line.support.retries"),
        (SUPPORT + 'override = ["whim"]\n', "line.support.override"),
        (SUPPORT + 'override.whim = { legal_basis = "s. 1", retention = "x" }\n', "line.support.override.whim.[key]"),
        (SUPPORT + 'override.legal.retention = "x"\n', "line.support.override.legal.legal_basis"),
        (SUPPORT + 'override.legal.legal_basis = "s. 1"\n', "line.support.override.legal.retention"),
        (
            SUPPORT + 'override.legal = { legal_basis = " ", retention = "x" }\n',
            "line.support.override.legal.legal_basis",
        ),
        (
            SUPPORT + 'override.legal = { legal_basis = "s. 1", retention = "ten years" }\n',
            "line.support.override.legal.retention",
        ),
        (
            SUPPORT + 'override.legal = { legal_basis = "s. 1", retention = "x", tells_caller = "perhaps" }\n',
            "line.support.override.legal.tells_caller",
        ),
        (LEAST + '[line."a b"]\n', "line"),
        (LEAST + '[line.a]\nnumbers = ["1"]\n[line.b]\nnumbers = ["1"]\n', "line"),
        (LEAST + '[capture]\nspool = "/var/spool/$(touch x)"\n', "capture.spool"),
        (LEAST + '[capture]\nspool = "spool"\n', "capture.spool"),
        (LEAST + '[prompts]\npath = "/a,b"\n', "prompts.path"),
        (LEAST + '[http]\nbind = "127.0.0.1"\n', "http.bind"),
        (LEAST + '[http]\ntoken_file = "/nonexistent/token"\n', "http.token_file"),
        (LEAST + "[agi]\ndialogues = 0\n", "agi.dialogues"),
    ],
)
def test_each_mistake_is_named_by_its_place(text: str, place: str) -> None:
    (mistake,) = mistakes(text)
    assert mistake.startswith(f"recorder.toml: {place}: ")


def test_what_is_no_toml_is_named_by_its_line() -> None:
    (mistake,) = mistakes("[ami\n")
    assert mistake.startswith("recorder.toml: not TOML: ")
    assert "line 1" in mistake


# --------------------------------------------------------------------------- environment


def test_the_environment_lies_over_the_file() -> None:
    settings = read(
        SUPPORT + 'consent = "never"\n', RECORDER_LINE__SUPPORT__CONSENT="opt_in", RECORDER_AMI__PORT="5039"
    )
    assert (settings.line["support"].consent, settings.ami.port) == (ConsentMode.OPT_IN, 5039)


def test_the_environment_alone_is_enough_and_lists_are_written_as_in_toml() -> None:
    settings = read(
        "",
        RECORDER_AMI__USERNAME="recorder",
        RECORDER_AMI__SECRET=SECRET,
        RECORDER_LINE__SUPPORT__LANGUAGES='["en", "fr"]',
    )
    assert settings.line["support"].languages == ("en", "fr")


def test_a_mistake_of_the_environment_is_named_by_its_variable() -> None:
    found = mistakes(RECORDER_AMI__PORT="many", RECORDER_AMI__TSL="true", RECORDER_RETENTION__DAYS="90")
    assert {mistake.split(":")[0] for mistake in found[:2]} == {"RECORDER_AMI__PORT", "RECORDER_AMI__TSL"}
    assert len(found) == 3


def test_variables_that_mean_something_else_are_no_settings() -> None:
    assert read(LEAST, RECORDER_CONFIG="/x", RECORDER_PYTHON="python3.12", PATH="/bin") == read()


def test_a_variable_that_reaches_into_a_value_is_a_mistake() -> None:
    assert mistakes(RECORDER_AMI__PORT__X="1")


# --------------------------------------------------------------------------- files


def test_a_secret_may_lie_in_a_file_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n")
    settings = read(f'[ami]\nusername = "recorder"\nsecret_file = "{file}"\n')
    assert settings.ami.password() == SECRET
    assert SECRET not in repr(settings)


@pytest.mark.parametrize("content", [None, b"", b" \n", b"\xff\xfe"])
def test_a_secret_file_that_holds_none_is_a_mistake(content: bytes | None, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
    (mistake,) = mistakes(f'[ami]\nusername = "recorder"\nsecret_file = "{file}"\n')
    assert str(file) in mistake


def test_a_settings_file_that_cannot_be_read_is_a_mistake_like_any_other(tmp_path: Path) -> None:
    with pytest.raises(SettingsMistaken, match="cannot be read"):
        load(tmp_path / "absent.toml", {})
    (tmp_path / "latin1.toml").write_bytes(b"# \xe9\n")
    with pytest.raises(SettingsMistaken, match="not UTF-8"):
        load(tmp_path / "latin1.toml", {})


@pytest.mark.parametrize(
    ("address", "parts"), [("127.0.0.1:4573", ("127.0.0.1", 4573)), ("[::1]:80", ("::1", 80)), ("pbx:1", ("pbx", 1))]
)
def test_an_address_is_a_host_and_a_port(address: str, parts: tuple[str, int]) -> None:
    assert host_and_port(address) == parts


@pytest.mark.parametrize("bind", ["127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:99999"])
def test_a_port_that_no_machine_has_is_a_mistake(bind: str) -> None:
    assert mistakes(f'{LEAST}[agi]\nbind = "{bind}"\n')


# --------------------------------------------------------------------------- the command line


def test_the_command_line_prints_every_mistake_exits_78_and_starts_nothing(tmp_path: Path) -> None:
    config = tmp_path / "bad.toml"
    config.write_text(MISTAKEN + f'[storage]\npath = "{tmp_path / "recordings"}"\n')
    done = subprocess.run(
        [sys.executable, "-m", "recorder", "--config", str(config), "run"],
        cwd=ROOT,
        env={name: text for name, text in os.environ.items() if not name.startswith("RECORDER_")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (78, "")
    told = done.stderr.splitlines()
    assert [f"{config}: {line.partition(': ')[2]}" for line in mistakes(MISTAKEN)] == told[:-1]
    assert told[-1] == "12 mistake(s) in the settings; nothing was started."
    assert SECRET not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["bad.toml"]


def test_a_ledger_that_there_is_not_is_unset_by_an_empty_text() -> None:
    text = '[ami]\nusername = "recorder"\nsecret = "s"\n[pbx]\nqueue_log = ""\n'
    settings = settings_from(text, {"RECORDER_PBX__CDR": ""}, source="test")
    assert (settings.pbx.queue_log, settings.pbx.cdr) == (None, None)


# --------------------------------------------------------------------------- alarms, disks, logs

ALARM = LEAST + "[alarm]\n"


def test_nobody_is_told_of_alarms_until_somebody_is_named() -> None:
    alarm = read().alarm
    assert (alarm.hook, alarm.webhook, alarm.key()) == (None, None, b"")


def test_who_names_no_kinds_is_told_of_every_alarm_and_who_names_some_of_those_alone() -> None:
    assert read(ALARM).alarm.kinds == tuple(AlarmKind)
    assert read(ALARM + 'kinds = ["lost", "unready", "disk", "rival"]').alarm.kinds == tuple(AlarmKind)[:4]
    assert read(ALARM + 'kinds = ["pause"]').alarm.kinds == (AlarmKind.PAUSE,)


def test_a_webhook_is_signed_with_one_secret_or_is_a_mistake(tmp_path: Path) -> None:
    url = 'webhook = "https://alarms.example/recorder"\n'
    (tmp_path / "secret").write_text("from a file\n", encoding="utf-8")
    from_file = f'secret_file = "{tmp_path / "secret"}"\n'
    assert read(ALARM + url + from_file).alarm.key() == b"from a file"
    assert read(ALARM + url + 'secret = "here"').alarm.key() == b"here"
    for wrong in (url, url + from_file + 'secret = "here"\n', from_file, 'secret = "here"\n'):
        (mistake,) = mistakes(ALARM + wrong)
        assert "alarm.secret_file: with a webhook give exactly one" in mistake


@pytest.mark.parametrize(
    "url",
    [
        "http://alarms.example/",
        "ftp://alarms.example/",
        "https://",
        "alarms.example",
        "https://user:pass@alarms.example/",
        "http://127.0.0.1.alarms.example/",
    ],
)
def test_a_webhook_goes_over_tls_or_to_this_machine_and_holds_no_password(url: str) -> None:
    (mistake,) = mistakes(f'{ALARM}webhook = "{url}"\nsecret = "{SECRET}"')
    assert mistake.startswith("recorder.toml: alarm.webhook: ")
    assert "pass@" not in mistake


@pytest.mark.parametrize("hook", ["[]", '["notify"]', '["./notify"]'])
def test_a_hook_is_named_by_its_whole_path(hook: str) -> None:
    (mistake,) = mistakes(f"{ALARM}hook = {hook}")
    assert "alarm.hook: the program by its whole path" in mistake


def test_a_hook_is_a_list_in_the_environment_too() -> None:
    told = read(RECORDER_ALARM__HOOK='["/usr/bin/notify", "a b"]').alarm
    assert told.hook == ("/usr/bin/notify", "a b")


@pytest.mark.parametrize("section", ["capture", "storage"])
def test_disks_are_worth_a_word_at_80_and_urgent_at_90_and_never_the_other_way_round(section: str) -> None:
    marks = getattr(read(), section)
    assert (marks.warn_percent, marks.alarm_percent) == (80, 90)
    (mistake,) = mistakes(f"{LEAST}[{section}]\nwarn_percent = 95\n")
    assert mistake == f"recorder.toml: {section}.alarm_percent: is below warn_percent"
    assert mistakes(f"{LEAST}[{section}]\nwarn_percent = 0\nalarm_percent = 101\n") != ()


def test_the_log_is_text_or_json_and_nothing_else() -> None:
    assert read().log.format == "text"
    assert read(RECORDER_LOG__FORMAT="json").log.format == "json"
    assert mistakes(RECORDER_LOG__FORMAT="xml") == ("RECORDER_LOG__FORMAT: Input should be 'text' or 'json'",)


# --------------------------------------------------------------------------- what they are, for people

SAID = f"""
[ami]
username = "recorder"
secret = "{SECRET}"

[catalogue]
url = "postgresql://app:{SECRET}@db.example/recorder?sslpassword={SECRET}"

[alarm]
hook = ["/usr/local/bin/tell", "--key", "{SECRET}"]
webhook = "https://alarms.example/{SECRET}?key={SECRET}"
secret = "{SECRET}"

[do_not_record]
region = "CA"
numbers = ["+1 514 555 0100"]
dialled = ["+1 514 555 0199"]

[line.support]
consent = "opt_in"
override.legal.legal_basis = "s. 1"
override.legal.retention = "dispute"
"""


def test_each_setting_is_told_with_its_value_and_whose_word_it_is() -> None:
    found = {
        one.name: one
        for one in told(read(SAID, RECORDER_AMI__PORT="5039", RECORDER_LINE__SALES='{ consent = "notice" }'))
    }
    assert (found["node.name"].value, found["node.name"].origin) == ("pbx1", Origin.DEFAULT)
    assert (found["ami.username"].value, found["ami.username"].origin) == ("recorder", Origin.FILE)
    port = found["ami.port"]
    assert (port.value, port.origin, port.variable) == ("5039", Origin.VARIABLE, "RECORDER_AMI__PORT")
    whole = found["line.sales.consent"]  # a variable that says a whole table
    assert (whole.value, whole.origin, whole.variable) == ("notice", Origin.VARIABLE, "RECORDER_LINE__SALES")
    assert found["line.sales.retries"].origin is Origin.DEFAULT
    assert (found["line.support.override.legal.legal_basis"].value, found["line.support.accept"].value) == ("s. 1", "1")
    assert (found["ami.secret_file"].value, found["ami.secret_file"].withheld) == (None, False)
    assert read(SAID).source == "recorder.toml"
    assert (found["storage.warn_percent"].value, found["ami.tls"].value) == ("80", "false")
    assert [found[name].section for name in ("ami.port", "line.sales.consent")] == ["ami", "line.sales"]


def test_what_is_told_of_the_settings_holds_no_secret_and_no_number_of_a_person() -> None:
    found = {one.name: one for one in told(read(SAID))}
    said = " ".join(str(one.value) for one in found.values())
    assert SECRET not in said
    assert "555" not in said
    assert [name for name, one in found.items() if one.withheld] == [
        "ami.secret",
        "do_not_record.dialled",
        "do_not_record.numbers",
        "alarm.secret",
    ]
    assert found["catalogue.url"].value == "postgresql://app:…@db.example/recorder?…"
    assert found["alarm.webhook"].value == "https://alarms.example/…?…"
    assert found["alarm.hook"].value == '["/usr/local/bin/tell", "…"]'
    assert {one.name: one for one in told(read())}["catalogue.url"].value == "sqlite:////var/lib/recorder/catalogue.db"


def test_every_setting_there_is_is_told() -> None:
    names = {one.name for one in told(read(SAID))}
    for section, field in Settings.model_fields.items():
        model = Line if section == "line" else field.annotation
        assert isinstance(model, type)
        place = "line.support" if section == "line" else section
        tables = {"line.support.override", "listening.rule"}
        assert {f"{place}.{key}" for key in model.model_fields} - tables <= names


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("sqlite:////var/lib/recorder/catalogue.db", "sqlite:////var/lib/recorder/catalogue.db"),
        ("postgresql://recorder:s/ecret@db/recorder", "postgresql://recorder:…@db/recorder"),
        ("postgresql://recorder:s@ecret@db/recorder", "postgresql://recorder:…@db/recorder"),
        ("postgresql://recorder:s?ecret@db/recorder", "postgresql://…"),
        ("postgresql://recorder:s#ecret@db/recorder", "postgresql://…"),
        ("postgresql:///recorder?host=db&user=u&password=secret", "postgresql:///recorder?…"),
        ("postgresql:///recorder?password=se@ecret", "postgresql://…"),
        ("postgresql://db/recorder#secret", "postgresql://db/recorder"),
        ("https://hooks.example/T0/secret?ecret", "https://hooks.example/…?…"),
        ("https://hooks.example/", "https://hooks.example/"),
    ],
)
def test_of_an_address_nothing_is_shown_that_may_be_a_secret(address: str, shown: str) -> None:
    assert _without_secrets(address) == shown
    assert "ecret" not in shown
