"""Rules that hold for the repository as a whole: its words, what the core may import, how modules begin."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = {path.relative_to(ROOT).as_posix(): path for path in sorted((ROOT / "recorder").rglob("*.py"))}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in MODULES.items()}
DIALPLAN = sorted((ROOT / "dialplan").glob("*.conf"))
CORE = (
    *("model", "alarms", "call", "chain", "consent", "do_not_record", "policy", "proof", "retention", "quality"),
    *("contests", "guard", "numbers", "listens", "own_calls", "releases", "rights", "settings", "signing_in"),
    *("silences", "waveform", "comments"),
)
LIBRARIES_OF_THE_CORE = {"do_not_record": {"phonenumbers"}, "quality": {"numpy"}, "settings": {"pydantic"}}
GIVEN_BY_LIBRARIES = {"add_message"}  # panoramisk calls it so
COLUMN_OR_METRIC = {"Column", "mapped_column", "Counter", "Gauge", "Histogram", "Summary", "Info", "Enum"}


def refused_words(vocabulary: str) -> set[str]:
    """Return the words in `code` in the last column of the tables."""
    rows = [line.strip().strip("|").split("|") for line in vocabulary.splitlines() if line.startswith("|")]
    return {word for row in rows for word in re.findall(r"`(\w+)`", row[-1])}


def refused_in(name: str, words: set[str]) -> set[str]:
    """Return those of `words` that `name` is made of, in whatever case and number it is written."""
    parts = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|\W+", "_", name).lower()
    return {word for word in words if re.search(rf"(^|_){word}s?(_|$)", parts)}


def names_defined_by(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.arg(arg=name) | ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield name
            case ast.alias(asname=str(name)):
                yield name
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), args=[ast.Constant(value=str(first)), *_]):
                if name in COLUMN_OR_METRIC:
                    yield first
            case ast.Constant(value=str(text)) if re.fullmatch(r"(?i:recorder)_\w+", text):
                yield text


def names_defined_in_dialplan(text: str) -> Iterator[str]:
    """Yield contexts, our variables and our user events."""
    code = re.sub(r"(?m)(^|\s);.*$", "", text)
    yield from re.findall(r"(?m)^\[([\w-]+)\]", code)
    yield from re.findall(r"\bRECORDER_\w+", code)
    yield from re.findall(r"UserEvent\((\w+)", code)


def imports_of(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(module), names=names, level=0):
                yield from (f"{module}.{alias.name}" for alias in names)


WORDS = refused_words((ROOT / "docs" / "vocabulary.md").read_text(encoding="utf-8"))


def test_the_vocabulary_refuses_few_enough_words_to_be_remembered() -> None:
    assert 10 <= len(WORDS) <= 20


@pytest.mark.parametrize("module", MODULES)
def test_a_module_uses_the_words_of_the_vocabulary(module: str) -> None:
    names = {*names_defined_by(TREES[module]), *Path(module).with_suffix("").parts} - GIVEN_BY_LIBRARIES
    assert {name: refused for name in names if (refused := refused_in(name, WORDS))} == {}


@pytest.mark.parametrize("file", DIALPLAN, ids=lambda file: file.name)
def test_the_dialplan_uses_the_words_of_the_vocabulary(file: Path) -> None:
    names = {file.stem, *names_defined_in_dialplan(file.read_text(encoding="utf-8"))}
    assert {name: refused for name in names if (refused := refused_in(name, WORDS))} == {}


@pytest.mark.parametrize(
    "source",
    [
        "def purge(): ...",
        "async def heal_all(): ...",
        "class CallManager: ...",
        "def play(message): ...",
        "forced = force = 1",
        "class Call:\n    unique_id: str",
        "self.temp_path = 1",
        "import json as utils",
        "Column('customer', String)",
        "Counter('recorder_purges_total', 'text')",
        "name = 'RECORDER_BYPASS'",
    ],
)
def test_a_refused_word_is_found_wherever_a_name_is_given(source: str) -> None:
    assert any(refused_in(name, WORDS) for name in names_defined_by(ast.parse(source)))


def test_a_refused_word_is_found_in_dialplan_and_not_in_its_comments() -> None:
    text = "[recorder-bypass]\nsame => n,Set(RECORDER_FORCE=1) ; RECORDER_TTL\n;RECORDER_TEMP\n"
    names = set(names_defined_in_dialplan(text))
    assert names == {"recorder-bypass", "RECORDER_FORCE"}
    assert all(refused_in(name, WORDS) for name in names)


def test_a_library_may_use_any_word() -> None:
    tree = ast.parse("from panoramisk.manager import Manager\nManager(force=1).purge(data.message)\n'purge'")
    assert not any(refused_in(name, WORDS) for name in names_defined_by(tree))


@pytest.mark.parametrize("name", ["temporal", "enforced", "inside", "messenger", "MixMonitorStarted", "uniqueid"])
def test_a_word_within_another_word_is_not_refused(name: str) -> None:
    assert refused_in(name, WORDS) == set()


@pytest.mark.parametrize("module", [name for name in MODULES if Path(name).with_suffix("").parts[1] in CORE])
def test_the_core_imports_nothing_but_the_core_and_the_standard_library(module: str) -> None:
    room = Path(module).with_suffix("").parts[1]
    imports = set(imports_of(TREES[module]))
    ours = {name.split(".")[1] for name in imports if name.startswith("recorder.")}
    others = {name.split(".")[0] for name in imports if name.split(".")[0] != "recorder"}
    assert ours <= set(CORE)
    assert others - sys.stdlib_module_names <= LIBRARIES_OF_THE_CORE.get(room, set())


@pytest.mark.parametrize("module", MODULES)
def test_a_module_begins_with_what_it_is_for(module: str) -> None:
    assert ast.get_docstring(TREES[module])
