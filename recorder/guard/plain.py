"""The texts of all fields as one plain text: digits are 0 to 9, accents, case and what cannot be seen are gone (SG-06).

Owns where each character of it came from. Must not print: it holds the texts themselves.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final, NamedTuple

from recorder.guard.verdict import Detector

FIELD: Final = "\x1f"
"""Stands between two fields; in a text it is a space."""
HIDDEN: Final = "\x00"
"""Stands where something was found already; in a text it is nothing."""
MOST_KNOWN: Final = 10_000
LONGEST_LIGATURE: Final = 4
"""As long as a number in brackets, such as the sign for twenty."""
_UNSEEN: Final = frozenset("\u115f\u1160\u2800\u3164\uffa0")
_SLASHES: Final = frozenset("\u2044\u2215\u29f8")
_DASHES: Final = frozenset("\u2212\u2043")
_DOTS: Final = frozenset("\u00b7\u2022\u2027\u2219\u22c5\u3002\u30fb")


class Span(NamedTuple):
    """From one character of the plain text up to another that is no part of it."""

    start: int
    end: int


Found = tuple[Detector, Span]


class Place(NamedTuple):
    """A span in the text of one field as it came."""

    field: str
    offset: int
    length: int


class _Characters(dict[int, str]):
    """Each character in plain, worked out when it is first met. A text of every character there is fills no memory."""

    def __missing__(self, point: int) -> str:
        if len(self) >= MOST_KNOWN:
            self.clear()
        made = self[point] = _in_plain(chr(point))
        return made


def _in_plain(character: str) -> str:
    """A ligature of whole words stays one character: no text may grow much by being looked at."""
    taken_apart = unicodedata.normalize("NFKD", character)
    return "".join(map(_one, taken_apart)) if len(taken_apart) <= LONGEST_LIGATURE else _one(character)


def _one(character: str) -> str:
    category = unicodedata.category(character)
    if character.isspace():
        return " "
    if category in ("Mn", "Me", "Cf", "Cc") or character in _UNSEEN:
        return ""
    if (digit := unicodedata.digit(character, None)) is not None:
        return str(digit)
    if category == "Pd" or character in _DASHES:
        return "-"
    if character in _SLASHES:
        return "/"
    return "." if character in _DOTS else character.lower()


_CHARACTERS: Final = _Characters()


def in_plain(text: str) -> str:
    """The text in plain."""
    return text.translate(_CHARACTERS)


def _origins(text: str) -> Sequence[int]:
    """For each character of it in plain the index of the one that it came from, and one more for the end."""
    if text.isascii() and text.isprintable():
        return range(len(text) + 1)
    lengths = [len(_CHARACTERS[point]) for point in map(ord, text)]
    return [index for index, length in enumerate(lengths) for _ in range(length)] + [len(text)]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Plain:
    """`text` is all fields in their order, FIELD between them."""

    text: str
    names: tuple[str, ...]
    starts: tuple[int, ...]
    origins: tuple[Sequence[int], ...]

    def places(self, span: Span) -> Iterator[Place]:
        """Where the span lies in the texts as they came."""
        first, last = bisect_right(self.starts, span.start) - 1, bisect_right(self.starts, span.end - 1)
        for number in range(first, last):
            origins, begins = self.origins[number], self.starts[number]
            start, end = max(span.start - begins, 0), min(span.end - begins, len(origins) - 1)
            if start < end:
                offset = origins[start]
                yield Place(self.names[number], offset, origins[end - 1] + 1 - offset)


def plain_from(fields: Mapping[str, str]) -> Plain:
    """All fields in plain."""
    texts = [in_plain(text) for text in fields.values()]
    starts = accumulate((len(text) + 1 for text in texts[:-1]), initial=0) if texts else ()
    return Plain(
        text=FIELD.join(texts),
        names=tuple(fields),
        starts=tuple(starts),
        origins=tuple(_origins(text) for text in fields.values()),
    )


def hide(text: str, spans: Sequence[Span]) -> str:
    """The text with HIDDEN in place of the spans, FIELD left where it is. They may overlap, in any order."""
    pieces, at = [], 0
    for start, end in sorted(spans):
        if end > at:
            pieces += [text[at:start], _hidden(text[max(at, start) : end])]
            at = end
    return "".join([*pieces, text[at:]])


def _hidden(text: str) -> str:
    return FIELD.join(HIDDEN * len(piece) for piece in text.split(FIELD))


def before(text: str, at: int, length: int = 40) -> str:
    """What stands before `at`, not beyond what is hidden: a word is about the number that follows it, or another."""
    return text[max(0, at - length) : at].rpartition(HIDDEN)[2]


def after(text: str, at: int, length: int = 24) -> str:
    """The same behind it."""
    return text[at : at + length].partition(HIDDEN)[0]
