"""The only one that reads the prompts that callers hear: prompts.toml and the WAVs beside it.

Must not play anything. The invariant: a prompt handed out has been read, measured and digested from the very file that
Asterisk will play; one that is missing or cannot be read is not there, and a dialogue that needs it fails closed.
"""

from __future__ import annotations

import hashlib
import tomllib
import wave
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from recorder.consent import kind_of
from recorder.model import Prompt, PromptKind, RecorderError
from recorder.policy import LineRules


class PromptsUnreadable(RecorderError):
    """The list of prompts itself cannot be read."""

    code = "prompts_unreadable"


ELEMENTS: Final = {
    "recorded": "that the call may be recorded",
    "refuse": "how to refuse",
    "same_service": "that the service is the same",
    "more": "where more is said",
}
"""What whoever asks or announces must say, besides every purpose; the names stand in prompts.toml."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What the text of a prompt says, as prompts.toml declares it."""

    elements: frozenset[str]
    purposes: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptSet:
    """The prompts at hand by kind and language, and what is wrong with the others, a line each."""

    prompts: dict[tuple[PromptKind, str], Prompt]
    keys: dict[tuple[PromptKind, str], dict[str, str]]  # the keys that each text names
    sizes: dict[tuple[PromptKind, str], int] = field(default_factory=dict)  # of each file, in bytes
    problems: tuple[str, ...]
    said: dict[tuple[PromptKind, str], Said] = field(default_factory=dict)  # what each text declares to say

    def unsaid(self, rules: LineRules) -> list[str]:
        """What the line's prompts ought to say and do not, a line each (CN-04, CN-05, OV-02).

        Who asks or announces and is not there says nothing; what is to tell of an override must be there.
        """
        kind = kind_of(rules.mode)
        wanting = [
            f"line {rules.name}: no announcement in {language} tells a caller of an override (kind"
            f" {PromptKind.OVERRIDDEN}), which override.{terms.reason}.tells_caller asks for"
            for terms in rules.override
            for language in rules.languages
            if terms.tells_caller and (PromptKind.OVERRIDDEN, language) not in self.prompts
        ]
        for language in rules.languages:
            said = self.said.get((kind, language)) if kind is not None else None
            if said is None:
                continue
            where = f"line {rules.name}: the {kind} in {language}"
            wanting += [
                f"{where} does not say {words}" for name, words in ELEMENTS.items() if name not in said.elements
            ]
            wanting += [
                f"{where} does not announce the purpose {purpose}"
                for purpose in rules.purposes
                if purpose not in said.purposes
            ]
        return wanting


def load(here: Path, at_pbx: Path) -> PromptSet:
    """Read the prompts in `here`, which Asterisk sees as `at_pbx`. Raises PromptsUnreadable without a list."""
    listed = _listed(here / "prompts.toml")
    prompts: dict[tuple[PromptKind, str], Prompt] = {}
    keys: dict[tuple[PromptKind, str], dict[str, str]] = {}
    sizes: dict[tuple[PromptKind, str], int] = {}
    said: dict[tuple[PromptKind, str], Said] = {}
    problems: list[str] = []
    for entry in listed:
        try:
            prompt, size = _prompt(entry, here, at_pbx)
        except (OSError, EOFError, wave.Error, KeyError, ValueError, TypeError, AttributeError) as error:
            problems.append(f"prompt {entry.get('id', '?')} ({entry.get('language', '?')}): {error}")
            continue
        prompts[prompt.kind, prompt.language] = prompt
        keys[prompt.kind, prompt.language] = dict(entry["keys"])
        sizes[prompt.kind, prompt.language] = size
        said[prompt.kind, prompt.language] = Said(
            elements=frozenset(map(str, entry.get("elements", ()))),
            purposes=frozenset(map(str, entry.get("purposes", ()))),
        )
    return PromptSet(prompts=prompts, keys=keys, sizes=sizes, problems=tuple(problems), said=said)


def _listed(path: Path) -> list[dict[str, Any]]:
    try:
        listed = tomllib.loads(path.read_text("utf-8"))["prompt"]
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, KeyError) as error:
        raise PromptsUnreadable(f"{path}: {error}") from error
    if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
        raise PromptsUnreadable(f"{path}: each prompt is a table of its own, [[prompt]]")
    return listed


def _prompt(entry: dict[str, Any], here: Path, at_pbx: Path) -> tuple[Prompt, int]:
    """The prompt, and how many bytes its file holds."""
    place = Path(entry["language"]) / entry["id"]
    path = here / place.with_suffix(".wav")
    content = path.read_bytes()
    prompt = Prompt(
        id=entry["id"],
        kind=PromptKind(entry["kind"]),
        language=entry["language"],
        version=str(entry["version"]),
        sha256=hashlib.sha256(content).hexdigest(),
        seconds=_seconds(content, path),
        min_played_ms=int(entry["min_played_ms"]),
        path=str(at_pbx / place),
        text=entry["text"],
        choose=entry["keys"].get("choose"),
    )
    return prompt, len(content)


def _seconds(content: bytes, path: Path) -> float:
    with wave.open(BytesIO(content), "rb") as sound:
        if (sound.getframerate(), sound.getsampwidth(), sound.getnchannels()) != (8000, 2, 1):
            raise ValueError(f"{path}: not 8 kHz, 16 bit, one channel")
        if not sound.getnframes():
            raise ValueError(f"{path}: holds no sound")
        if len(sound.readframes(sound.getnframes())) != 2 * sound.getnframes():
            raise ValueError(f"{path}: is cut short")
        return sound.getnframes() / sound.getframerate()
