"""The only one that knows where the files lie that come with the program, and what the dialplan among them says.

Changes nothing. What it reads is our own text, so what it does not expect there is a bug and raises.
"""

from __future__ import annotations

import re
from pathlib import Path

EXTENSIONS = "extensions_recorder.conf"
FEATURES = "features_recorder.conf"
PROMPTS = "prompts"


def dialplan() -> Path:
    """Return the folder of dialplan and prompts: inside the installed package, else at the source tree's top."""
    package = Path(__file__).parent
    for folder in (package / "dialplan", package.parent / "dialplan"):
        if (folder / EXTENSIONS).is_file():
            return folder
    raise FileNotFoundError("the dialplan is missing from this installation")


def contexts(text: str) -> dict[str, dict[str, tuple[str, ...]]]:
    """Our extensions file -> by context and extension the applications in order."""
    found: dict[str, dict[str, list[str]]] = {}
    extension = ""
    for line in _lines(text):
        if heading := re.fullmatch(r"\[([\w-]+)\]", line):
            extensions: dict[str, list[str]] = found.setdefault(heading[1], {})
        elif step := re.fullmatch(r"exten => ([^,]+),1,(.*)", line):
            extension = step[1]
            extensions[extension] = [step[2]]
        elif step := re.fullmatch(r"same => n(?:\(\w+\))?,(.*)", line):
            extensions[extension].append(step[1])
        else:
            raise ValueError(f"{EXTENSIONS}: {line!r}")
    return {
        context: {name: tuple(steps) for name, steps in extensions.items()} for context, extensions in found.items()
    }


def features(text: str) -> dict[str, str]:
    """Our features file -> by the name of each entry of the application map its digits."""
    return dict(re.findall(r"^([\w-]+) => ([0-9*#A-D]+),", text, re.MULTILINE))


def _lines(text: str) -> list[str]:
    """What Asterisk reads: without comments, and an escaped semicolon is one."""
    stripped = (re.sub(r"(^|\s);.*$", "", line).strip() for line in text.splitlines())
    return [line.replace(r"\;", ";") for line in stripped if line]
