"""The pages' own words, in each language that they speak; a test holds the languages to the same keys.

Must not hold a word itself: words/*.toml do.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any, Final

LANGUAGES: Final = ("en", "fr")
"""The first where a browser asks for none of them."""


class Words:
    """One language's words by their dotted keys. A key that is not there is a KeyError: no page goes out without it."""

    def __init__(self, language: str) -> None:
        self.language = language
        self._words = _read(language)

    def __call__(self, key: str, /, **said: object) -> str:
        return self._words[key].format(**said)

    def get(self, key: str) -> str | None:
        """The word, where there is one: for what a house names by itself."""
        return self._words.get(key)


@cache
def _read(language: str) -> Mapping[str, str]:
    text = resources.files("recorder.http").joinpath("words", f"{language}.toml").read_text("utf-8")
    return dict(_flat(tomllib.loads(text)))


def _flat(table: Mapping[str, Any], before: str = "") -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for key, value in table.items():
        pairs += _flat(value, f"{before}{key}.") if isinstance(value, dict) else [(f"{before}{key}", value)]
    return pairs


def language_of(chosen: str | None, accepted: str) -> str:
    """The language that was chosen, else the one of ours that the browser would rather have (RFC 9110, 12.5.4)."""
    if chosen in LANGUAGES:
        return chosen
    wanted: list[tuple[float, str]] = []
    for part in accepted.split(","):
        name, _, weight = part.partition(";")
        try:
            quality = float(weight.strip().removeprefix("q=") or 1)
            wanted.append((quality, name.strip().partition("-")[0].casefold()))
        except ValueError:
            continue
    ours = [(quality, name) for quality, name in wanted if name in LANGUAGES and quality > 0]
    return max(ours, key=lambda one: one[0])[1] if ours else LANGUAGES[0]
