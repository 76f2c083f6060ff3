"""Scenarios: calls as tables of events, read for the tests, and cut from a catalogue's journal by a command.

    python -m tests.scenarios cut catalogue.db CALL >tests/scenarios/name.txt

A file has `#` lines that say what happened, one line an event (`at | event | channel | uniqueid | linkedid | ...`, the
rest as `field=JSON`), and `expect` lines. `at` and `@` count seconds from the first event, `#7` stands for the seventh
UUID of the call, and a prompt is named by its kind and language: nothing of the house that it was cut from remains.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from recorder.call import CallAdmitted, CallEvent, Step, advance, begin, event_from_fields, outcome
from recorder.catalogue import JournalRow, open_catalogue
from recorder.model import CallId, PromptKind
from tests.facts import NOON, QUESTION

FOLDER = Path(__file__).parent
A_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
A_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?\+00:00")
A_UNIQUEID = re.compile(r"[\w-]*?(\d{9,})\.(\d+)")
A_DIGEST = re.compile(r'"(?:[0-9a-f]{16}|[0-9a-f]{64})"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One call: what happened, and what must have come of it."""

    name: str
    events: tuple[CallEvent, ...]
    expected: Mapping[str, str]


def play(events: Sequence[CallEvent]) -> list[Step]:
    """The steps of a call from its admission on."""
    first, *others = events
    assert isinstance(first, CallAdmitted)
    steps = [begin(first)]
    for event in others:
        steps.append(advance(steps[-1].state, event))
    return steps


def ends(steps: Sequence[Step]) -> dict[str, str]:
    """What came of a call, in the words of the `expect` lines."""
    state = steps[-1].state
    verdict, reason = outcome(state)
    commands = [_command(command) for step in steps for command in step.commands]
    return {
        "phase": str(state.phase),
        "consent": str(state.consent),
        "outcome": f"{verdict} {reason}" if reason else str(verdict),
        "captures": " ".join(str(capture.state) for capture in state.captures) or "none",
        "commands": " ".join(commands) or "none",
        "unexpected": str(sum(not step.expected for step in steps)),
    }


def _command(command: Any) -> str:
    name = type(command).__name__
    return name if getattr(command, "quiet", True) else "Loud"


# --------------------------------------------------------------------------- reading


def scenarios() -> list[Scenario]:
    return [read(path) for path in sorted(FOLDER.glob("*.txt"))]


def read(path: Path) -> Scenario:
    """ValueError with the line where a file makes no sense."""
    events: list[CallEvent] = []
    expected: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            if line.startswith("expect "):
                _, word, value = line.split(maxsplit=2)
                expected[word] = value
            else:
                events.append(_event(line))
        except (KeyError, ValueError, TypeError) as error:
            raise ValueError(f"{path.name}:{number}: {error!r}") from error
    return Scenario(name=path.stem, events=tuple(events), expected=expected)


def _event(line: str) -> CallEvent:
    at, name, channel, uniqueid, linkedid, *others = [cell.strip() for cell in re.split(r"\s\|(?=\s|$)", line)]
    fields = {"at": json.dumps(_time(at))}
    if channel:
        fields["channel"] = json.dumps({"name": channel, "uniqueid": uniqueid, "linkedid": linkedid})
    for cell in others:
        key, _, text = cell.partition("=")
        value = json.loads(text)
        fields[key] = json.dumps(_prompt(value) if key == "prompt" else _real(value))
    return event_from_fields(name, fields)


def _time(seconds: str) -> str:
    return (NOON + timedelta(seconds=float(seconds))).isoformat()


def _real(value: Any) -> Any:
    """The value that a file's shorthand stands for."""
    if isinstance(value, dict):
        return {key: _real(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_real(inner) for inner in value]
    if isinstance(value, str) and re.fullmatch(r"#\d+", value):
        return str(UUID(int=int(value[1:])))
    if isinstance(value, str) and re.fullmatch(r"@-?[\d.]+", value):
        return _time(value[1:])
    return value


def _prompt(name: str) -> dict[str, Any]:
    kind, _, language = name.partition("/")
    prompt = replace(QUESTION, id=kind, kind=PromptKind(kind), language=language)
    return {key: getattr(prompt, key) for key in prompt.__dataclass_fields__}


# --------------------------------------------------------------------------- cutting


async def cut(database: str, call: CallId) -> str:
    """The call's table, with what comes of it as its expectation. LookupError where there is no such call."""
    catalogue = await open_catalogue(f"sqlite:///{database}")
    try:
        whole = await catalogue.one_call(call)
    finally:
        await catalogue.close()
    if whole is None:
        raise LookupError(f"no call {call} in {database}")
    return table(whole.journal)


def table(journal: Sequence[JournalRow]) -> str:
    events = [event_from_fields(row.name, row.fields) for row in journal]
    shorthand = _Shorthand(journal[0].at)
    lines = ["# at | event | channel | uniqueid | linkedid | field=JSON ..."]
    lines += [shorthand.line(row.name, row.fields) for row in journal]
    return "\n".join([*lines, *expectations(events), ""])


def expectations(events: Sequence[CallEvent]) -> Iterable[str]:
    return (f"expect {word} {value}" for word, value in ends(play(events)).items())


class _Shorthand:
    """Replaces what is long or somebody's own by what is short and nobody's."""

    def __init__(self, start: datetime) -> None:
        self._start = start
        self._uuids: dict[str, int] = {}
        self._epochs: dict[str, int] = {}

    def line(self, name: str, fields: Mapping[str, str]) -> str:
        plain = {key: json.loads(text) for key, text in fields.items()}
        at = self._seconds(plain.pop("at"))
        channel = plain.pop("channel", None)
        shown = [channel["name"], channel["uniqueid"], channel["linkedid"]] if channel else ["", "", ""]
        if isinstance(plain.get("prompt"), dict):
            plain["prompt"] = f"{plain['prompt']['kind']}/{plain['prompt']['language']}"
        others = [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in plain.items()]
        return f"{at} | {name} | " + self._short(" | ".join([*shown, *others])).rstrip()

    def _seconds(self, text: str) -> str:
        return f"{(datetime.fromisoformat(text) - self._start).total_seconds():.3f}"

    def _short(self, text: str) -> str:
        text = A_UUID.sub(lambda found: f"#{self._uuids.setdefault(found[0], len(self._uuids) + 1)}", text)
        text = A_TIME.sub(lambda found: f"@{self._seconds(found[0])}", text)
        text = A_DIGEST.sub('"digest"', text)
        return A_UNIQUEID.sub(self._uniqueid, text)

    def _uniqueid(self, found: re.Match[str]) -> str:
        return f"{self._epochs.setdefault(found[1], len(self._epochs) + 1)}.{found[2]}"
