"""Plays a context of ours as Asterisk would, for tests: only the applications and functions that it uses.

The clock moves by what is played and waited for. Keys and broken prompts come from a script, one entry a step.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from recorder.model import Prompt

Entry = tuple[str, int] | str | None
"""A key and the milliseconds into its step; "broken", a prompt that cannot be played; or silence."""

_INNERMOST = re.compile(r"\$\{((?:[^{}$]|\$(?!\{))*)\}")


@dataclass
class Player:
    """One call in one context. `notes` and `captures` are what QueueLog and MixMonitor were told."""

    text: str
    prompts: Mapping[str, Prompt]  # by path
    script: Sequence[Entry]
    language: str = ""
    sizes: Mapping[str, int] = field(default_factory=dict)  # by path with .wav
    spool_mode: str = "40700"
    clock: int = 1_700_000_000_000
    variables: dict[str, str] = field(default_factory=lambda: {"UNIQUEID": "1700000000.7"})
    notes: list[str] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    captures: list[str] = field(default_factory=list)
    limits: list[int] = field(default_factory=list)
    steps: int = 0

    def __post_init__(self) -> None:
        self.extensions: dict[str, list[tuple[str, str]]] = {}
        name = ""
        for line in self.text.splitlines():
            if first := re.fullmatch(r"exten => ([^,]+),1,(.*)", line):
                name = first[1]
                self.extensions[name] = [("", first[2])]
            elif step := re.fullmatch(r" same => n(?:\((\w+)\))?,(.*)", line):
                self.extensions[name].append((step[1] or "", step[2]))

    def run(self) -> str:
        """Until the dialplan leaves the context; where to."""
        place: tuple[str, int] | str = ("s", 0)
        while isinstance(place, tuple):
            self.steps += 1
            assert self.steps < 2000, "the dialogue has no end"
            name, number = place
            _, step = self.extensions[name][number]
            place = self._do(step) or (name, number + 1)
        return place

    def _do(self, step: str) -> tuple[str, int] | str | None:
        app, _, rest = step.partition("(")
        argument = self._worth(rest.removesuffix(")"))
        match app:
            case "Set":
                name, _, value = argument.partition("=")
                if name == "TIMEOUT(absolute)":
                    self.limits.append(int(value))
                self.variables[name.removeprefix("LOCAL(").removesuffix(")")] = value
            case "Goto":
                return self._place(argument)
            case "GotoIf":
                condition, _, target = argument.rpartition("?")
                return self._place(target) if condition not in ("", "0") else None
            case "Background" | "Playback":
                return self._play(app, argument.split(",")[0])
            case "WaitExten":
                return self._wait(round(float(argument) * 1000))
            case "QueueLog":
                self.notes.append(argument)
            case "UserEvent":
                self.events.append(argument)
            case "MixMonitor":
                self.captures.append(argument)
            case "NoOp":
                pass
            case other:
                raise AssertionError(f"no such application: {other}")
        return None

    def _play(self, app: str, path: str) -> tuple[str, int] | None:
        entry = self._next()
        status = "BACKGROUNDSTATUS" if app == "Background" else "PLAYBACKSTATUS"
        if entry == "broken":
            self.variables[status] = "FAILED"
            return None
        whole = round(self.prompts[path].seconds * 1000)
        self.variables[status] = "SUCCESS"
        if app == "Background" and isinstance(entry, tuple) and entry[1] < whole:
            return self._pressed(entry)
        self.clock += whole
        return None

    def _wait(self, whole: int) -> tuple[str, int] | None:
        entry = self._next()
        if isinstance(entry, tuple):
            return self._pressed((entry[0], min(entry[1], whole)))
        self.clock += whole
        return None

    def _pressed(self, entry: tuple[str, int]) -> tuple[str, int]:
        self.clock += entry[1]
        self.variables["EXTEN"] = entry[0]
        (name,) = [name for name in self.extensions if name.startswith("_")]
        assert re.fullmatch(name.removeprefix("_"), entry[0]), "a key that would lead nowhere"
        return (name, 0)

    def _next(self) -> Entry:
        first, *self.script = self.script or (None,)
        return first

    def _place(self, target: str) -> tuple[str, int] | str:
        if target.startswith("recorder-inbound"):
            return target
        name, label = target.split(",") if "," in target else ("s", target)
        return name, next(n for n, step in enumerate(self.extensions[name]) if step[0] == label)

    # ---- values

    def _worth(self, text: str) -> str:
        while found := _INNERMOST.search(text):
            text = text[: found.start()] + self._value(found[1]) + text[found.end() :]
        return re.sub(r"\$\[([^\]]*)\]", lambda found: _expression(found[1]), text)

    def _value(self, name: str) -> str:
        if name.startswith("STRFTIME"):
            return str(self.clock) if "%3q" in name else str(self.clock * 1000)
        if name.startswith("SHA1("):
            return hashlib.sha1(name[5:-1].encode(), usedforsecurity=False).hexdigest()
        if name.startswith("LEN("):
            return str(len(name[4:-1]))
        if name.startswith("STAT(m,"):
            return self.spool_mode
        if name.startswith("STAT(s,"):
            return str(self.sizes.get(name[7:-1], ""))
        if pattern := re.fullmatch(r'REGEX\("(.*)" (.*)\)', name):
            return "1" if re.search(pattern[1], pattern[2]) else "0"
        if name == "CHANNEL(language)":
            return self.language
        if name == "CHANNEL(linkedid)":
            return "1700000000.1"
        variable, _, cut = name.partition(":")
        value = self.variables.get(variable, "")
        if cut:
            start, length = map(int, cut.split(":"))
            return value[start : start + length]
        return value


def _expression(text: str) -> str:
    if " & " in text:
        return "1" if all(_expression(part) == "1" for part in text.split(" & ")) else "0"
    left, operator, right = re.fullmatch(r"(\S*|\".*?\") (=|!=|<|>|-) (\S*|\".*?\")", text).groups()  # type: ignore[union-attr]
    match operator:
        case "=":
            return "1" if left == right else "0"
        case "!=":
            return "1" if left != right else "0"
        case "<":
            return "1" if float(left) < float(right) else "0"
        case ">":
            return "1" if float(left) > float(right) else "0"
        case _:
            return str(int(left) - int(right))
