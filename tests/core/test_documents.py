"""The documents say what the program has, and the other way round: settings, words, dialplan, commands, tests, links.

Routes, metrics, the status and the codes of the books are compared in tests/edge/test_http.py.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic_core import PydanticUndefined
from typer.core import TyperGroup
from typer.main import get_command

from recorder import shipped
from recorder.__main__ import app
from recorder.books.adoption import Fate
from recorder.call import CaptureState, Phase
from recorder.daemon.readiness import Readiness
from recorder.doctor.releases import DEFECTS
from recorder.fallback import ANSWER_EVENT
from recorder.model import ConsentMode, ConsentState, LostReason, Outcome
from recorder.quality import Finding
from recorder.settings import ENVIRONMENT_PREFIX, LINE_NAME, Explained, Line, Override, Section, Settings, settings_from

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/**/*.md", "dialplan/**/*.md", "deploy/*.md", "bench/*.md")
    for path in ROOT.glob(pattern)
)
DECISIONS = [name for name in DOCUMENTS if name.startswith("docs/decisions/")]
SOURCES = {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in ROOT.glob("recorder/**/*.py")}
FUNCTION = r"^\s*(?:async )?def {name}\("
ITS_OWN_OPTIONS = {"--help", "--json", "--no-debug"}


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def tables(document: str, heading: str) -> list[list[str]]:
    """The rows of the tables below a heading, cell by cell, up to the next heading."""
    section = re.split(r"(?m)^#+ ", text_of(document).split(f"# {heading}\n", 1)[1])[0]
    rows = re.findall(r"(?m)^\| (`.*) \|$", section)
    return [re.split(r" \| ", row) for row in rows]


def named(document: str, heading: str) -> list[str]:
    """Every name in `code` in the first column below a heading."""
    return [name for row in tables(document, heading) for name in re.findall(r"`([^`]+)`", row[0])]


# --------------------------------------------------------------------------- settings


def settings() -> dict[str, str]:
    """Every setting with its default as the page shows it."""
    found: dict[str, str] = {}
    for section, field in Settings.model_fields.items():
        model: type[Section] = Line if section == "line" else field.annotation  # type: ignore[assignment]
        prefix = "line.NAME" if section == "line" else section
        found |= {f"{prefix}.{key}": shown(value.default) for key, value in model.model_fields.items()}
    del found["line.NAME.override"]  # a table for each reason
    del found["listening.rule"]  # and one for each exception
    found |= {f"listening.rule.NAME.{key}": shown(value.default) for key, value in Explained.model_fields.items()}
    of_reason = Override.model_fields.items()
    found |= {f"line.NAME.override.REASON.{key}": shown(value.default) for key, value in of_reason}
    return found


def shown(default: Any) -> str:
    if default is PydanticUndefined:
        return "none: required"
    if default is None:
        return "unset"
    return f"`{json.dumps(default if isinstance(default, bool | int | float | tuple) else str(default))}`"


def test_every_setting_is_documented_with_its_default_and_the_other_way_round() -> None:
    assert {row[0].strip("`"): row[3] for row in tables("docs/operating.md", "Settings")} == settings()


def test_every_setting_has_its_type_and_its_meaning() -> None:
    assert all(len(row) == 5 and all(cell.strip() for cell in row) for row in tables("docs/operating.md", "Settings"))


def test_every_setting_is_documented_with_the_variable_that_sets_it() -> None:
    for row in tables("docs/operating.md", "Settings"):
        assert row[1] == f"`{ENVIRONMENT_PREFIX}{row[0].strip('`').replace('.', '__').upper()}`"


# --------------------------------------------------------------------------- words that people meet


@pytest.mark.parametrize(
    ("heading", "words"),
    [
        ("Words for the state of a call", [*Phase, *CaptureState]),
        ("Findings", [*Finding]),
        ("Orphans", [*Fate]),
    ],
)
def test_every_word_of_a_closed_list_is_explained(heading: str, words: list[str]) -> None:
    assert sorted(named("docs/operating.md", heading)) == sorted(words)


def test_every_reason_for_a_lost_call_is_explained_and_every_outcome_named() -> None:
    assert [row[0].strip("`") for row in tables("docs/operating.md", "Lost calls")] == list(LostReason)
    section = text_of("docs/operating.md").split("# Lost calls\n", 1)[1].split("\n## ")[0]
    assert [outcome for outcome in Outcome if f"`{outcome}`" not in section and outcome is not Outcome.LOST] == []


def test_every_state_and_mode_of_consent_is_in_the_vocabulary() -> None:
    rows = [line for line in text_of("docs/vocabulary.md").splitlines() if re.match(r"\| (consent|mode) \|", line)]
    words = set(re.findall(r"\w+", " ".join(rows)))
    assert {*ConsentState, *ConsentMode} <= words


def test_every_reason_why_nothing_can_be_captured_is_one_that_the_program_gives() -> None:
    reasons = named("docs/operating.md", "Not ready")
    assert [reason for reason in reasons if not any(reason in source for source in SOURCES.values())] == []
    assert set(Readiness().reasons) <= set(reasons)


def warnings_logged() -> Iterator[str]:
    """The first words of every line that is logged at warning or above."""
    for source in SOURCES.values():
        for node in ast.walk(ast.parse(source)):
            match node:
                case ast.Call(
                    func=ast.Attribute(value=ast.Name(id="log" | "_log"), attr="warning" | "error" | "exception"),
                    args=[ast.Constant(value=str(event)), *_],
                ):
                    yield event


def test_every_warning_in_the_log_is_explained_and_the_other_way_round() -> None:
    assert sorted(named("docs/operating.md", "Log")) == sorted(set(warnings_logged()))


def test_every_defect_that_doctor_knows_is_listed() -> None:
    page = text_of("docs/operating.md")
    section = page.split("# Releases of Asterisk with a known defect\n", 1)[1]
    rows = re.findall(r"(?m)^\| ([^-].+) \|$", section)[1:]
    assert [(row.split(" | ")[0], row.split(" | ")[2]) for row in rows] == [
        (defect.issue, defect.consequence) for defect in DEFECTS
    ]


# --------------------------------------------------------------------------- the command line


def commands(group: TyperGroup, prefix: str = "recorder") -> Iterator[tuple[str, set[str]]]:
    """Every command that does something by itself, with its options."""
    for name, command in group.commands.items():
        if not isinstance(command, TyperGroup) or command.invoke_without_command:
            yield (
                f"{prefix} {name}",
                {option for param in command.params for option in param.opts if option[:2] == "--"},
            )
        if isinstance(command, TyperGroup):
            yield from commands(command, f"{prefix} {name}")


def test_every_command_and_option_is_documented_and_the_other_way_round() -> None:
    program = get_command(app)
    assert isinstance(program, TyperGroup)
    told = {
        re.sub(r"( [A-Z]+)+$", "", row[0].strip("`")): set(re.findall(r"`(--[a-z-]+)`", " ".join(row[1:])))
        for row in tables("docs/operating.md", "Commands")
    }
    assert told == {name: options - ITS_OWN_OPTIONS for name, options in commands(program)}


def test_every_dev_command_in_the_documents_exists_and_ci_runs_one_of_the_readmes_two() -> None:
    known = set(re.findall(r"(?m)^([a-z]+)\(\) \{ #:", text_of("dev")))
    told = {command for name in DOCUMENTS for command in re.findall(r"\./dev ([a-z]+)", text_of(name))}
    assert told <= known
    assert re.findall(r"(?m)^\./dev (\w+)", text_of("README.md"))[:2] == ["demo", "test"]
    assert "./dev test" in text_of(".ci/run")


# --------------------------------------------------------------------------- the dialplan

EXTENSIONS = text_of(f"dialplan/{shipped.EXTENSIONS}")
CODE = re.sub(r"(?m)(^|\s);.*$", "", EXTENSIONS)
REFERENCE = "dialplan/VARIABLES.md"


def test_every_context_is_documented_and_the_other_way_round() -> None:
    told = [name.split("(")[0] for name in named(REFERENCE, "Contexts")]
    assert sorted(told) == sorted(shipped.contexts(EXTENSIONS))


def test_a_context_is_documented_with_its_argument_where_it_takes_one() -> None:
    told = {name.split("(")[0] for name in named(REFERENCE, "Contexts") if "(" in name}
    steps = {name: extensions.get("s", ()) for name, extensions in shipped.contexts(EXTENSIONS).items()}
    takes = {name for name in steps if any("ARG1" in step for step in steps[name])}
    assert told == takes | {"recorder-agent"}  # which is given the line, and needs it for nothing yet


def test_every_variable_is_documented_and_the_other_way_round() -> None:
    told = {re.sub(r"^SHARED\((\w+)\)$", r"\1", name) for name in named(REFERENCE, "Variables")}
    ours = {name for name in told if name.startswith("RECORDER_")}
    assert ours == set(re.findall(r"\bRECORDER_\w+", CODE))
    asterisks = told - ours - {*ConsentState, *Outcome}
    assert asterisks == {"DYNAMIC_FEATURES", "TRANSFER_CONTEXT", "TIMEOUT(absolute)", "AGIEXITONHANGUP"}
    assert asterisks == set(re.findall(r"Set\(_{0,2}([A-Z_]+(?:\(absolute\))?)=", CODE)) - ours


def test_every_key_is_documented_with_its_feature_and_its_reason() -> None:
    features = shipped.features(text_of(f"dialplan/{shipped.FEATURES}"))
    told = {row[1].strip("`"): row[0].strip("`") for row in tables(REFERENCE, "Keys")}
    assert told == features


def test_every_question_to_the_daemon_is_documented_with_all_its_arguments() -> None:
    asked = {
        route: 0 if not arguments else arguments.count(",") + ("FAR_IDS" in arguments)
        for route, arguments in re.findall(r"AGI\(agi://\$\{[^}]+\}/(\w+)((?:,[^)]*)?)\)", CODE)
    }
    told = {
        row[0].strip("`").rpartition("/")[2]: row[1] for row in tables(REFERENCE, "Questions to the daemon (FastAGI)")
    }
    assert set(told) == set(asked)
    assert set(told) - {"doctor"} == set(routes())
    for route, arguments in told.items():
        counted = 0 if arguments == "none" else len(re.split(r", | and ", arguments))
        assert counted == asked[route], route


def routes() -> Iterator[str]:
    """The scripts that the AGI port serves."""
    tree = ast.parse(SOURCES["recorder/consent_ivr.py"])
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[ast.Attribute(attr="_routes")], value=ast.Dict(keys=keys)):
                yield from (str(key.value) for key in keys if isinstance(key, ast.Constant))


def test_every_event_of_ours_is_documented_and_the_other_way_round() -> None:
    assert set(named(REFERENCE, "Events (AMI class `user`)")) == {ANSWER_EVENT, *re.findall(r"UserEvent\((\w+)", CODE)}


def test_the_examples_call_nothing_that_is_not_shipped() -> None:
    known = {*shipped.contexts(EXTENSIONS), *shipped.features(text_of(f"dialplan/{shipped.FEATURES}"))}
    for name in ("docs/dialplan.md", "README.md", "deploy/README.md"):
        for block in re.findall(r"(?s)```\w*\n(.*?)```", text_of(name)):
            used = set(re.findall(r"\b(recorder-[a-z-]+)(?=[,^ ](?:s\b|=>))", block))
            assert used <= known, name


def test_the_examples_of_settings_are_settings() -> None:
    for name in ("docs/dialplan.md", "README.md"):
        for block in re.findall(r"(?s)```toml\n(.*?)```", text_of(name)):
            told = {"RECORDER_AMI__USERNAME": "u", "RECORDER_AMI__SECRET": "s"}
            assert all(LINE_NAME.fullmatch(line) for line in settings_from(block, told, source=name).line)


# --------------------------------------------------------------------------- requirements, decisions, links

STORIES = text_of("tests/live/test_calls.py") + text_of("tests/stories.py")
NAMED_TESTS = sorted(
    {
        (name, file, test)
        for name in DOCUMENTS
        for file, test in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text_of(name))
    }
    | {
        (
            "docs/operating.md",
            f"tests/{'edge' if file in ('unattended', 'owed_steps') else 'live'}/test_{file}.py",
            f"test_{test}",
        )
        for file, test in re.findall(r"\[(\w+): (\w+)\]", text_of("docs/operating.md"))
    }
)


@pytest.mark.parametrize(("document", "file", "test"), NAMED_TESTS)
def test_a_test_that_a_document_names_exists(document: str, file: str, test: str) -> None:
    assert re.search(FUNCTION.format(name=test), text_of(file), re.MULTILINE), document


def test_a_story_that_the_requirements_name_is_played() -> None:
    told = re.findall(r"`CALL\[([^`]+)\]`", text_of("docs/requirements.md"))
    assert len(told) > 10
    assert [story for story in told if f'name="{story}"' not in STORIES] == []


def test_every_requirement_has_its_own_row_and_a_test() -> None:
    rows = re.findall(r"(?m)^\| ([A-Z]{2}-\d\d) \| (met|partly) \| (.+) \|$", text_of("docs/requirements.md"))
    ids = [row[0] for row in rows]
    assert len(ids) > 20
    assert len(set(ids)) == len(ids)
    assert [row[0] for row in rows if "::test_" not in row[2] and "`CALL[" not in row[2]] == []
    assert [row[0] for row in rows if row[1] == "partly" and "Not yet" not in row[2]] == []


@pytest.mark.parametrize("name", DECISIONS)
def test_a_decision_says_why_what_and_what_follows(name: str) -> None:
    headings = re.findall(r"(?m)^#+ (.+)$", text_of(name))
    assert headings[0].startswith(Path(name).name[:4])
    assert headings[1:] == ["Context", "Decision", "Consequences"]


def test_decisions_are_numbered_without_a_gap_and_listed_nowhere_twice() -> None:
    numbers = [int(Path(name).name[:4]) for name in DECISIONS if Path(name).name != "README.md"]
    assert numbers == list(range(1, len(numbers) + 1))


def anchors(document: Path) -> set[str]:
    """What a link may name after #, as the usual renderers make it from a heading."""
    headings = re.findall(r"(?m)^#+ (.+)$", document.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_link_leads_somewhere(name: str) -> None:
    prose = re.sub(r"(?s)```.*?```|`[^`]*`", "", text_of(name))
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        page = (ROOT / name).parent / path if path else ROOT / name
        assert page.exists(), target
        assert not anchor or anchor in anchors(page), target


def test_every_picture_that_the_pages_document_shows_is_there_once_and_the_other_way_round() -> None:
    shown = re.findall(r"!\[[^]]+\]\(pages/([^)]+)\)\n\n[A-Z]", text_of("docs/pages.md"))
    assert sorted(shown) == sorted(path.name for path in (ROOT / "docs" / "pages").iterdir())


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_names_no_place_of_the_machine_it_was_written_on(name: str) -> None:
    assert re.findall(r"/work\b|/tmp/[\w.-]+|recorder-demo-\w{8}", text_of(name)) == []


def test_contributing_begins_with_five_lines() -> None:
    assert re.match(r"# Contributing\n\n(\d\. .+\n){5}\n", text_of("CONTRIBUTING.md"))
