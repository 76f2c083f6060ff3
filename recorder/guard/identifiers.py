"""What is no number of a person's, though it is made of digits: identifiers of Asterisk's and ours (SG-04).

Must not hide what could be a number of a person's: digits count as an identifier by their whole form alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from recorder.guard.plain import Span, hide

# Each begins with the character that the search runs on: a look-behind first would be tried at every character.
_UNIQUEID: Final = re.compile(r"1(?<![0-9]1)[0-9]{9}(?:\.[0-9]{1,10}|[0-9]{3})(?![0-9])")
_UUID: Final = re.compile(r"-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}(?![0-9a-z])")
_SYSTEM_NAME: Final = re.compile(r"(?<![a-z0-9_.-])[a-z][a-z0-9_.-]{0,62}-$")
_FIRST_OF_UUID: Final = re.compile(r"(?<![0-9a-z])[0-9a-f]{8}$")


def without_identifiers(text: str) -> str:
    """The text with them out of sight."""
    return hide(text, [*_uniqueids(text), *_uuids(text)])


def _uniqueids(text: str) -> Iterator[Span]:
    """Ten digits from 1, a dot and a sequence, with the system's name; thirteen, a time, only behind a name."""
    for found in _UNIQUEID.finditer(text):
        start = max(0, found.start() - 65)
        named = (
            _SYSTEM_NAME.search(text[start : found.start()]) if text[found.start() - 1 : found.start()] == "-" else None
        )
        if named is not None:
            yield Span(start + named.start(), found.end())
        elif "." in found[0]:
            yield Span(*found.span())


def _uuids(text: str) -> Iterator[Span]:
    for found in _UUID.finditer(text):
        if _FIRST_OF_UUID.search(text, max(0, found.start() - 9), found.start()):
            yield Span(found.start() - 8, found.end())
