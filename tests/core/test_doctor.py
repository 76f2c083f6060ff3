"""What doctor reads and concludes, on what Asterisk 16.28 and 22.10 really printed (pbx_texts/)."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from recorder import shipped
from recorder.cdr import Columns
from recorder.doctor import Finding, Mark, is_well, lines, summary
from recorder.doctor.access import ENTER, READ, WRITE, Facts, Person, judge_access, may
from recorder.doctor.findings import fine, note, unchecked, wrong
from recorder.doctor.judge import (
    MODULES,
    AgiTrial,
    SpoolTrial,
    Steps,
    judge_account,
    judge_agi,
    judge_ami_failure,
    judge_catalogue_failure,
    judge_cdr,
    judge_contexts,
    judge_features,
    judge_journal,
    judge_lines,
    judge_modules,
    judge_overriders,
    judge_preroll,
    judge_prompts,
    judge_prompts_at_pbx,
    judge_queues,
    judge_spool,
    judge_stamps,
    prompts_needed,
)
from recorder.doctor.releases import DEFECTS, judge_release
from recorder.model import ConsentMode, OverrideReason, Prompt, PromptKind
from recorder.pbx_cli import (
    Account,
    CliFailed,
    ami_account,
    core_settings,
    dialplan_globals,
    dialplan_steps,
    evaluated,
    feature_keys,
    queue_names,
    release,
    running_modules,
    worded,
)
from recorder.policy import LineRules, OverrideTerms
from recorder.prompts import PromptSet
from recorder.rights import ANYBODY, EVERY_LINE, Grant, Role, Seat, User
from recorder.storage import Problem, ProblemKind

TEXTS = Path(__file__).parent / "pbx_texts"
NEEDED = Account(read=frozenset({"call", "agent", "user"}), write=frozenset({"call", "reporting"}))


@pytest.fixture(params=["16", "22"])
def printed(request: pytest.FixtureRequest) -> Path:
    """The folder of what one release printed."""
    return TEXTS / str(request.param)


def read(folder: Path, name: str) -> str:
    return (folder / f"{name}.txt").read_text(encoding="utf-8")


def marks(findings: list[Finding]) -> list[Mark]:
    return [finding.mark for finding in findings]


def only(findings: list[Finding]) -> Finding:
    (finding,) = findings
    return finding


# ---------------------------------------------------------------- reading


def test_the_release_is_read_from_the_version() -> None:
    assert release(read(TEXTS / "16", "core_show_version")) == (16, 28, 0)
    assert release(read(TEXTS / "22", "core_show_version")) == (22, 10, 1)


@pytest.mark.parametrize("text", ["Asterisk GIT-master-abc123 built by", "Asterisk certified/18.9-cert4 built", ""])
def test_a_version_without_a_plain_number_is_not_guessed_at(text: str) -> None:
    assert release(text) is None
    assert only(judge_release(text)).mark is Mark.UNCHECKED


def test_core_settings_name_the_folders(printed: Path) -> None:
    settings = core_settings(read(printed, "core_show_settings"))
    assert settings["Configuration directory"] == "/srv/pbx/etc"
    assert settings["Log directory"] == "/srv/pbx/log"


def test_ami_settings_keep_the_port_of_their_address(printed: Path) -> None:
    settings = core_settings(read(printed, "manager_show_settings"))
    assert settings["Manager (AMI)"] == "Yes"
    assert re.fullmatch(r"127\.0\.0\.1:\d+", settings["TCP Bindaddress"])


def test_an_account_is_read_with_its_classes(printed: Path) -> None:
    assert ami_account(read(printed, "manager_show_user_recorder")) == NEEDED
    assert ami_account(read(printed, "manager_show_user_nobody")) is None


def test_only_modules_that_run_are_read(printed: Path) -> None:
    text = read(printed, "module_show")
    assert set(MODULES) <= running_modules(text)
    stopped = re.sub(r"(app_queue\.so.*)Running", r"\1Not Running", text)
    assert "app_queue" not in running_modules(stopped)


def test_a_context_is_read_as_this_program_ships_it(printed: Path) -> None:
    ours = shipped.contexts((TEXTS / "extensions.conf").read_text(encoding="utf-8"))
    assert set(ours) == {"recorder-inbound", "recorder-transfer"}
    for name, steps in ours.items():
        assert dialplan_steps(read(printed, f"dialplan_show_{name}")) == steps


def test_a_context_that_is_not_there_is_none(printed: Path) -> None:
    assert dialplan_steps(read(printed, "dialplan_show_recorder-nope")) is None


def test_globals_are_read(printed: Path) -> None:
    assert dialplan_globals(read(printed, "dialplan_show_globals"))["RECORDER_AGI"].startswith("127.0.0.1:")


def test_feature_keys_are_read_with_the_built_in_ones(printed: Path) -> None:
    keys = feature_keys(read(printed, "features_show"))
    assert (keys["recorder-legal"], keys["Attended Transfer"], keys["Park Call"]) == ("*72", "*2", "")
    assert (keys["Pickup"], keys["house-note"]) == ("*8", "*55")


def test_queues_are_read(printed: Path) -> None:
    assert sorted(queue_names(read(printed, "queue_show"))) == ["sales", "support"]
    assert queue_names(read(printed, "queue_show_nope")) == ()


def test_an_evaluated_function_tells_its_value_or_that_there_is_none(printed: Path) -> None:
    assert evaluated(read(printed, "evaluated_size")) == "2"
    assert evaluated(read(printed, "evaluated_absent")) == "0"
    assert evaluated(read(printed, "evaluated_unknown")) is None
    assert evaluated("No such command 'dialplan eval function' (type 'core show help' ...)") is None


@pytest.mark.parametrize("text", ["", "a b", "a;b", "$(id)", "a\nb", "a,b", "`id`", "a'b"])
def test_nothing_that_a_shell_could_read_becomes_a_word_of_a_command(text: str) -> None:
    with pytest.raises(CliFailed):
        worded(text)


# ---------------------------------------------------------------- releases


@pytest.mark.parametrize(
    ("version", "issue", "mark"),
    [
        ("18.17.1", "233", None),
        ("18.18.0", "233", Mark.WRONG),
        ("18.19.0", "233", Mark.WRONG),
        ("18.20.0", "233", None),
        ("20.2.1", "233", None),
        ("20.3.0", "233", Mark.WRONG),
        ("20.4.0", "233", Mark.WRONG),
        ("20.5.0", "233", None),
        ("20.5", "233", None),
        ("20.14.1", "1276", Mark.WRONG),
        ("20.15.0", "1276", None),
        ("21.9.1", "1276", Mark.WRONG),
        ("21.10.0", "1276", None),
        ("22.4.1", "1276", Mark.WRONG),
        ("22.5.0", "1276", None),
        ("22.2.0", "1153", Mark.WRONG),
        ("20.19.0", "1907", Mark.WRONG),
        ("20.20.1", "1907", None),
        ("16.28.0", "1673", Mark.NOTE),
        ("20.17.0", "1673", Mark.NOTE),
        ("20.18.0", "1673", None),
        ("21.12.3", "1673", Mark.NOTE),
        ("22.7.0", "1673", Mark.NOTE),
        ("22.8.0", "1673", None),
        ("23.1.0", "1673", Mark.NOTE),
        ("23.2.0", "1673", None),
        ("16.28.0", "without an id", Mark.NOTE),
        ("18.17.0", "without an id", Mark.NOTE),
        ("18.18.0", "without an id", None),
        ("20.2.0", "without an id", Mark.NOTE),
        ("20.3.0", "without an id", None),
    ],
)
def test_a_defect_is_named_for_the_releases_that_have_it(version: str, issue: str, mark: Mark | None) -> None:
    found = [finding for finding in judge_release(f"Asterisk {version} built by x") if issue in finding.what]
    assert marks(found) == ([mark] if mark else [])
    assert all(finding.mend for finding in found)


def test_a_defect_of_one_channel_storage_is_named_only_with_it() -> None:
    assert is_well(judge_release("Asterisk 20.19.1 built", "ao2_legacy")) is False  # 1907
    assert not any("1609" in finding.what for finding in judge_release("Asterisk 22.10.1 built", "ao2_legacy"))
    assert any("1609" in finding.what for finding in judge_release("Asterisk 22.10.1 built", "cpp_map_name_id"))


def test_a_release_without_defects_is_fine_and_one_outside_the_table_is_said_to_be() -> None:
    assert marks(judge_release("Asterisk 22.10.1 built by x")) == [Mark.FINE]
    assert marks(judge_release("Asterisk 13.38.3 built by x")) == [Mark.WRONG]
    assert marks(judge_release("Asterisk 24.0.0 built by x")) == [Mark.FINE, Mark.NOTE]


def test_every_row_of_the_table_has_ranges_in_order() -> None:
    for defect in DEFECTS:
        assert all(first < end for first, end in defect.ranges), defect.issue


# ---------------------------------------------------------------- AMI


def test_the_documented_account_is_fine() -> None:
    assert marks(judge_account("recorder", NEEDED)) == [Mark.FINE]


@pytest.mark.parametrize("name", ["system", "command", "originate", "config", "dtmf", "dialplan", "agi", "cdr"])
def test_a_class_that_is_not_needed_is_named(name: str) -> None:
    finding = only(judge_account("recorder", replace(NEEDED, write=NEEDED.write | {name})))
    assert finding.mark is Mark.WRONG
    assert name in finding.what
    assert "write = call,reporting" in finding.mend


def test_reporting_in_read_is_not_needed_and_in_write_it_is() -> None:
    account = Account(read=NEEDED.read | {"reporting"}, write=frozenset({"call"}))
    spare, missing = judge_account("recorder", account)
    assert "read = reporting" in spare.what
    assert "lacks write = reporting" in missing.what


def test_an_account_that_may_do_everything_is_wrong_and_lacks_nothing(printed: Path) -> None:
    findings = judge_account("admin", ami_account(read(printed, "manager_show_user_admin")))
    assert marks(findings) == [Mark.WRONG, Mark.WRONG]
    assert not any("lacks" in finding.what for finding in findings)


def test_an_unknown_account_is_wrong() -> None:
    assert only(judge_account("recorder", None)).mark is Mark.WRONG


def test_a_refusal_points_at_the_secret_and_silence_at_the_address() -> None:
    refused = judge_ami_failure("h:5038", "recorder", "ami_login_refused: Authentication failed", {})
    assert "refuses recorder: Authentication failed" in refused.what
    assert "secret" in refused.mend
    down = judge_ami_failure("h:5038", "recorder", "ami_down: refused", {"TCP Bindaddress": "127.0.0.1:5039"})
    assert "127.0.0.1:5039" in down.mend
    off = judge_ami_failure("h:5038", "recorder", "ami_down: refused", {"Manager (AMI)": "No"})
    assert "enabled = yes" in off.mend


def test_events_without_asterisks_own_time_are_wrong_and_the_mend_is_named(printed: Path) -> None:
    ami = core_settings(read(printed, "manager_show_settings"))
    assert judge_stamps(ami).mark is Mark.FINE
    unstamped = judge_stamps({**ami, "Timestamp events": "No"})
    assert unstamped.mark is Mark.WRONG
    assert "timestampevents = yes" in unstamped.mend
    assert judge_stamps({}).mark is Mark.UNCHECKED


# ---------------------------------------------------------------- what must be loaded


def test_a_module_that_does_not_run_is_named_with_its_use() -> None:
    finding = only(judge_modules(frozenset(MODULES) - {"func_periodic_hook"}))
    assert "func_periodic_hook" in finding.what
    assert finding.mark is Mark.WRONG
    assert only(judge_modules(frozenset())).mark is Mark.UNCHECKED


PROVIDED = {
    "AGI": "res_agi", "Answer": "", "Dial": "app_dial", "ExecIf": "app_exec",
    "Goto": "", "GotoIf": "", "Gosub": "app_stack", "Hangup": "",
    "Log": "app_verbose", "MixMonitor": "app_mixmonitor", "Playback": "app_playback", "Playtones": "app_playtones",
    "QueueLog": "app_queue", "Return": "app_stack", "Set": "", "StopMixMonitor": "app_mixmonitor",
    "StopPlaytones": "app_playtones", "UserEvent": "app_userevent", "Wait": "",
    "CHANNEL": "func_channel", "FILTER": "func_strings", "DIALPLAN_EXISTS": "func_dialplan", "GLOBAL": "func_global",
    "IF": "func_logic", "IMPORT": "func_logic", "LOCAL": "app_stack", "REGEX": "func_strings", "SHARED": "func_global",
    "STACK_PEEK": "app_stack", "STRFTIME": "func_strings", "TIMEOUT": "func_timeout",
}  # fmt: skip
"""Which module provides what the dialplan uses; "" is in the core."""


def test_every_application_and_function_of_the_dialplan_has_its_module_in_the_list() -> None:
    contexts = shipped.contexts((shipped.dialplan() / shipped.EXTENSIONS).read_text(encoding="utf-8"))
    steps = [step for extensions in contexts.values() for lines in extensions.values() for step in lines]
    used = {step.split("(")[0] for step in steps}
    used |= {name for step in steps for name in re.findall(r"\b([A-Z_]{2,})\(", step)}
    assert used - {"U"} <= set(PROVIDED), "an application or function without a module"
    assert {PROVIDED[name] for name in used if name in PROVIDED} - {""} <= set(MODULES)


OURS: dict[str, Steps] = {"recorder-a": {"s": ("Return()",)}, "recorder-b": {"s": ("Set(x=1)", "Return()")}}


def test_contexts_are_compared_with_what_is_shipped() -> None:
    assert marks(judge_contexts(OURS, dict(OURS))) == [Mark.FINE]
    missing = only(judge_contexts(OURS, {"recorder-a": OURS["recorder-a"], "recorder-b": None}))
    assert "recorder-b is missing" in missing.what
    old = only(judge_contexts(OURS, {**OURS, "recorder-b": {"s": ("Return()",)}}))
    assert "recorder-b is not as this version ships it" in old.what


def test_no_context_at_all_is_one_finding() -> None:
    assert "#include" in only(judge_contexts(OURS, dict.fromkeys(OURS))).mend


KEYS = {"recorder-emergency": "*71", "recorder-legal": "*72"}


def test_features_may_have_other_digits_but_not_somebody_elses() -> None:
    assert marks(judge_features(KEYS, {**KEYS, "recorder-legal": "*44", "Pickup": "*8"})) == [Mark.FINE]
    assert (
        "not in the application map: recorder-legal" in only(judge_features(KEYS, {"recorder-emergency": "*71"})).what
    )
    shared = only(judge_features(KEYS, {**KEYS, "house-note": "*72"}))
    assert "share the digits *72" in shared.what
    assert "share the digits *71" in only(judge_features(KEYS, dict.fromkeys(KEYS, "*71"))).what


SUPPORT = LineRules(name="support", mode=ConsentMode.OPT_IN, queues=("support",), languages=("en", "fr"))


def test_a_queue_must_be_known_to_asterisk() -> None:
    assert marks(judge_queues([SUPPORT], {"support": True})) == [Mark.FINE]
    assert marks(judge_queues([SUPPORT], {"support": False})) == [Mark.WRONG]
    assert marks(judge_queues([SUPPORT], {"support": None})) == [Mark.UNCHECKED]


def test_an_installation_that_records_nothing_is_noted_and_not_wrong() -> None:
    assert judge_lines([]).mark is Mark.NOTE
    assert judge_lines([replace(SUPPORT, mode=ConsentMode.NEVER)]).mark is Mark.NOTE
    assert judge_lines([SUPPORT]).mark is Mark.FINE


# ---------------------------------------------------------------- prompts


def prompts(*kinds: PromptKind, languages: tuple[str, ...] = ("en", "fr"), problem: str = "") -> PromptSet:
    made = {
        (kind, language): Prompt(
            id=str(kind),
            kind=kind,
            language=language,
            version="1",
            sha256="",
            seconds=5,
            min_played_ms=0,
            path="",
            text="",
        )
        for kind in kinds
        for language in languages
    }
    keys = {key: {"accept": "1", "refuse": "2"} for key in made}
    return PromptSet(prompts=made, keys=keys, problems=(problem,) if problem else ())


def test_a_line_needs_its_kind_in_every_language_and_a_menu_for_several() -> None:
    assert len(prompts_needed(SUPPORT)) == 4
    assert prompts_needed(replace(SUPPORT, mode=ConsentMode.NOTICE, languages=("en",))) == [(PromptKind.NOTICE, "en")]
    assert prompts_needed(replace(SUPPORT, mode=ConsentMode.NEVER)) == []


def test_prompts_that_a_line_plays_must_be_there() -> None:
    assert marks(judge_prompts([SUPPORT], prompts(PromptKind.QUESTION, PromptKind.LANGUAGE))) == [Mark.FINE]
    assert marks(judge_prompts([SUPPORT], prompts(PromptKind.QUESTION))) == [Mark.NOTE, Mark.NOTE]
    assert (
        "no question in fr"
        in only(
            judge_prompts([replace(SUPPORT, languages=("fr",))], prompts(PromptKind.QUESTION, languages=("en",)))
        ).what
    )


def test_a_prompt_that_cannot_be_read_is_wrong_even_if_no_line_plays_it() -> None:
    assert "no sound" in only(judge_prompts([], prompts(problem="notice: no sound"))).what


def test_a_prompt_must_name_the_keys_that_its_line_takes() -> None:
    line = replace(SUPPORT, languages=("en",), accept="3")
    finding = only(judge_prompts([line], prompts(PromptKind.QUESTION, languages=("en",))))
    assert "says 1 to accept" in finding.what
    assert "takes 3" in finding.what


@pytest.mark.parametrize(
    ("there", "mark"),
    [("160", Mark.FINE), ("0", Mark.WRONG), ("", Mark.WRONG), ("161", Mark.WRONG), (None, Mark.UNCHECKED)],
)
def test_asterisk_must_see_the_very_files(there: str | None, mark: Mark) -> None:
    assert only(judge_prompts_at_pbx({"/p/en/question.wav": (160, there)})).mark is mark


# ---------------------------------------------------------------- spool, FastAGI


@pytest.mark.parametrize(
    ("trial", "mark", "word"),
    [
        (SpoolTrial(path="/s", appeared=True, readable=True, writable=True), Mark.FINE, "we read it"),
        (SpoolTrial(path="/s", appeared=True, readable=True), Mark.NOTE, "may not overwrite it"),
        (SpoolTrial(path="/s", appeared=True), Mark.WRONG, "cannot be read here"),
        (SpoolTrial(path="/s", appeared=False, seen="1"), Mark.WRONG, "cannot write"),
        (SpoolTrial(path="/s", appeared=False, seen="0"), Mark.WRONG, "not the same folder"),
        (SpoolTrial(path="/s", appeared=False, seen=None), Mark.WRONG, "wrote nothing"),
    ],
)
def test_the_spool_is_judged_by_what_was_written_and_seen(trial: SpoolTrial, mark: Mark, word: str) -> None:
    finding = judge_spool(trial)
    assert finding.mark is mark
    assert word in finding.what


RUNNING = AgiTrial(
    bind="127.0.0.1:4573", called="127.0.0.1:4573", answer="SUCCESS recorder", expected="recorder", stood_in=False
)
STOOD_IN = replace(
    RUNNING,
    answer="SUCCESS doctor-1",
    expected="doctor-1",
    stood_in=True,
    peer="127.0.0.1",
    served=frozenset({"127.0.0.1"}),
)


@pytest.mark.parametrize(
    ("trial", "expected", "word"),
    [
        (RUNNING, [Mark.FINE], "reaches"),
        (STOOD_IN, [Mark.FINE, Mark.NOTE], "reaches"),
        (replace(RUNNING, answer="FAILURE"), [Mark.WRONG], "does not reach"),
        (replace(STOOD_IN, answer="FAILURE", peer=None, called="127.0.0.1:4574"), [Mark.WRONG], "they differ"),
        (replace(RUNNING, answer="SUCCESS"), [Mark.WRONG], "something else"),
        (replace(STOOD_IN, answer="SUCCESS", peer=None), [Mark.WRONG], "something else"),
        (replace(STOOD_IN, peer="10.0.0.9"), [Mark.WRONG], "10.0.0.9"),
        (replace(RUNNING, answer=None), [Mark.UNCHECKED], "no answer"),
    ],
)
def test_the_way_from_the_dialplan_to_the_daemon_is_judged(trial: AgiTrial, expected: list[Mark], word: str) -> None:
    findings = judge_agi(trial)
    assert marks(findings) == expected
    assert word in findings[0].what


# ---------------------------------------------------------------- the daemon's user

DAEMON = Person(name="recorder", uid=990, groups=frozenset({990}))
SPOOL = Path("/var/spool/recorder")
OPEN_FOLDER = Facts(uid=0, gid=0, mode=0o755)


@pytest.mark.parametrize(
    ("facts", "wanted", "granted"),
    [
        (Facts(uid=990, gid=0, mode=0o600), READ | WRITE, True),
        (Facts(uid=100, gid=990, mode=0o2770), ENTER | READ | WRITE, True),
        (Facts(uid=100, gid=100, mode=0o770), ENTER, False),
        (Facts(uid=100, gid=100, mode=0o644), READ, True),
        (Facts(uid=100, gid=990, mode=0o604), READ, False),
    ],
)
def test_rights_are_read_from_owner_group_and_mode(facts: Facts, wanted: int, granted: bool) -> None:
    assert may(DAEMON, facts, wanted) is granted
    assert may(Person(name="root", uid=0, groups=frozenset()), facts, wanted)


def test_a_folder_that_is_closed_to_the_daemons_user_is_named() -> None:
    wanted = [(SPOOL, ENTER | READ | WRITE)]
    above = {Path("/"): OPEN_FOLDER, Path("/var"): OPEN_FOLDER, Path("/var/spool"): OPEN_FOLDER}
    spool = Facts(uid=100, gid=990, mode=0o2770)
    assert marks(judge_access(DAEMON, wanted, {**above, SPOOL: spool})) == [Mark.FINE]
    assert "may not write to" in only(judge_access(DAEMON, wanted, {**above, SPOOL: replace(spool, gid=100)})).what
    shut = {**above, Path("/var/spool"): replace(OPEN_FOLDER, mode=0o700), SPOOL: spool}
    assert "/var/spool is closed" in only(judge_access(DAEMON, wanted, shut)).what


# ---------------------------------------------------------------- words

FINDINGS = [
    fine("ami", "it answers"),
    note("daemon", "it is not running"),
    wrong("spool", "it is open to every user of this machine", "chmod o-rwx /var/spool/recorder"),
    unchecked("fastagi", "whether it is reached", "load res_clioriginate"),
]


def test_a_finding_is_one_line_where_nothing_wraps_it() -> None:
    shown = lines(FINDINGS, width=None, colour=False)
    assert len(shown) == len(FINDINGS)
    assert shown[2].startswith("WRONG        spool    it is open")
    assert shown[2].endswith("Mend: chmod o-rwx /var/spool/recorder")
    assert shown[3].startswith("not checked  fastagi  ")


def test_a_terminal_gets_no_line_wider_than_itself_and_the_same_words() -> None:
    shown = lines(FINDINGS, width=70, colour=False)
    assert max(map(len, shown)) <= 70
    assert " ".join(" ".join(shown).split()) == " ".join(" ".join(lines(FINDINGS, width=None, colour=False)).split())


def test_colour_marks_the_mark_alone() -> None:
    assert lines(FINDINGS, width=None, colour=True)[2].startswith("\x1b[1;31mWRONG      \x1b[0m  spool")


def test_only_what_is_fine_or_noted_is_well() -> None:
    assert is_well(FINDINGS[:2])
    assert not is_well(FINDINGS[:3])
    assert not is_well([FINDINGS[3]])
    assert summary(FINDINGS).startswith("1 ok, 1 wrong, 1 not checked. Begin with")
    assert "not everything could be looked at" in summary([FINDINGS[3]])
    assert summary(FINDINGS[:2]).endswith("All is well.")


# --------------------------------------------------------------------------- CDR

MASTER = Path("/var/log/asterisk/cdr-csv/Master.csv")
WHOLE = Columns(uniqueid=True, linkedid=True)


@pytest.mark.parametrize(
    ("path", "columns", "trouble", "has_module", "mark", "said"),
    [
        (MASTER, WHOLE, "", True, Mark.FINE, "has the columns"),
        (MASTER, WHOLE, "", None, Mark.FINE, "has the columns"),
        (MASTER, Columns(uniqueid=True, linkedid=False), "", True, Mark.WRONG, "have no linkedid"),
        (MASTER, Columns(uniqueid=False, linkedid=False), "", True, Mark.WRONG, "no uniqueid and no linkedid"),
        (MASTER, None, "", True, Mark.NOTE, "no row yet"),
        (MASTER, None, "Permission denied", True, Mark.WRONG, "cannot be read: Permission denied"),
        (MASTER, WHOLE, "", False, Mark.WRONG, "cdr_csv does not run"),
        (None, None, "", True, Mark.NOTE, "personal calls are not counted"),
    ],
)
def test_the_cdr_is_judged_by_what_is_written_there(
    path: Path | None, columns: Columns | None, trouble: str, has_module: bool | None, mark: Mark, said: str
) -> None:
    finding = judge_cdr(path, columns, trouble=trouble, has_module=has_module)
    assert (finding.mark, finding.about) == (mark, "cdr")
    assert said in finding.what
    assert finding.mend or mark is Mark.FINE


# --------------------------------------------------------------------------- the spool's disk, and the local journal


def test_a_pre_roll_on_a_disk_is_worth_a_word_with_its_mend() -> None:
    spool = Path("/var/spool/recorder")
    lines = [replace(SUPPORT, preroll=timedelta(seconds=3)), replace(SUPPORT, name="sales")]
    (found,) = judge_preroll(lines, spool, "ext4")
    assert found.mark is Mark.NOTE
    assert "support has preroll_seconds" in found.what
    assert "tmpfs" in found.mend
    assert judge_preroll(lines, spool, None) != []  # what cannot be told is not taken for memory


@pytest.mark.parametrize(("seconds", "kind"), [(3, "tmpfs"), (3, "ramfs"), (0, "ext4")])
def test_a_pre_roll_in_memory_or_none_is_fine(seconds: int, kind: str) -> None:
    lines = [replace(SUPPORT, preroll=timedelta(seconds=seconds))]
    assert judge_preroll(lines, Path("/run/spool"), kind) == []


def test_a_line_that_is_never_recorded_has_no_pre_roll() -> None:
    lines = [replace(SUPPORT, preroll=timedelta(seconds=3), mode=ConsentMode.NEVER)]
    assert judge_preroll(lines, Path("/spool"), "ext4") == []


def test_a_journal_that_was_set_aside_or_has_no_folder_is_wrong_and_one_in_memory_worth_a_word() -> None:
    folder = Path("/var/lib/recorder")
    missing = Problem(kind=ProblemKind.MISSING, path=folder, what="cannot be reached", mend="Create it.")
    aside = folder / "journal-pbx1.damaged-20261122T120000.0"
    assert [found.mark for found in judge_journal(folder, [missing], [], None)] == [Mark.WRONG]
    assert [found.mark for found in judge_journal(folder, [], [aside], "ext4")] == [Mark.WRONG]
    assert [found.mark for found in judge_journal(folder, [], [], "tmpfs")] == [Mark.NOTE]
    assert [found.mark for found in judge_journal(folder, [], [], "ext4")] == [Mark.FINE]


def test_the_catalogues_refusals_say_their_mend() -> None:
    assert judge_catalogue_failure("it is empty; `recorder db upgrade` makes").mend == "`recorder db upgrade`"
    assert "url is right" in judge_catalogue_failure("no answer").mend
    assert "grants.sql" in judge_catalogue_failure("permission denied for table user_acts").mend


def a_line(name: str, *reasons: OverrideReason) -> LineRules:
    terms = tuple(OverrideTerms(reason=reason, basis="the law") for reason in reasons)
    return LineRules(name=name, mode=ConsentMode.OPT_IN, override=terms)


def overrider(name: str, line: str, *, enabled: bool = True, node: str = "pbx1") -> User:
    seats = frozenset() if name == ANYBODY else frozenset({Seat(node=node, interface="PJSIP/1")})
    return User(name=name, seats=seats, grants=frozenset({Grant(role=Role.OVERRIDER, line=line)}), enabled=enabled)


@pytest.mark.parametrize(
    ("known", "without"),
    [
        ([], ["support", "sales"]),
        ([User(name="alice")], ["support", "sales"]),
        ([overrider("alice", "support")], ["sales"]),
        ([overrider("alice", "support", node="pbx2")], ["support", "sales"]),
        ([replace(overrider("alice", "support"), seats=frozenset())], ["support", "sales"]),
        ([overrider("alice", "support", enabled=False)], ["support", "sales"]),
        ([overrider("alice", "support"), overrider(ANYBODY, "sales")], []),
        ([overrider("alice", EVERY_LINE)], []),
    ],
)
def test_a_line_that_lists_reasons_for_nobody_is_named(known: list[User], without: list[str]) -> None:
    lines = [a_line("support", OverrideReason.LEGAL), a_line("sales", OverrideReason.EMERGENCY), a_line("quiet")]
    found = judge_overriders(lines, known, "pbx1")
    assert [finding.mark for finding in found] == [Mark.NOTE] * bool(without)
    for finding in found:
        assert finding.what.startswith(", ".join(without) + ":")
        assert " ".join(f"--line {line}" for line in without) in finding.mend
