"""Digits that stand together: runs of groups with at most three separators between them, field by field.

Owns nothing but their shape. The invariant: reading all runs of a text takes time in proportion to its length.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby
from typing import Final

from recorder.guard.plain import FIELD, Span

_RUN: Final = re.compile(r"[0-9]+(?:[ \-./\x1f]{1,3}[0-9]+)*")
_GROUP: Final = re.compile(r"[0-9]+")
_BETWEEN: Final = re.compile(r"[^0-9]+")
SEPARATORS: Final = " -./"
_TELEPHONE: Final = re.compile(r"(?:1[ \-.])?[2-9]\d\d[ \-.][2-9]\d\d[ \-.]\d{4}|0[1-9](?:[ \-.]\d\d){4}")


@dataclass(frozen=True, slots=True, repr=False)
class Piece:
    """The digits of one run in one field: groups, and the separators between them."""

    span: Span
    groups: tuple[str, ...]
    separators: tuple[str, ...]

    @property
    def digits(self) -> str:
        return "".join(self.groups)

    @property
    def uniform(self) -> Iterator[tuple[str, ...]]:
        """The longest stretches of groups with one and the same separator: 1-2-3 and 3 4 of 1-2-3 4."""
        if not self.separators:
            yield self.groups
            return
        for _, same in groupby(range(len(self.separators)), key=self.separators.__getitem__):
            between = list(same)
            yield self.groups[between[0] : between[-1] + 2]


def runs(text: str, at_least: int) -> Iterator[Sequence[Piece]]:
    """Every run of so many characters, in pieces as it is spread over fields."""
    for run in _RUN.finditer(text):
        start, end = run.span()
        if end - start >= at_least:
            yield [_piece(run[0], start)] if FIELD not in run[0] else _pieces(run[0], start)


def _pieces(run: str, start: int) -> list[Piece]:
    """One for each field; one of nothing but separators has none."""
    parts = run.split(FIELD)
    starts = accumulate((len(part) + 1 for part in parts[:-1]), initial=start)
    return [_piece(part, at) for part, at in zip(parts, starts, strict=True) if part.strip(SEPARATORS)]


def _piece(part: str, start: int) -> Piece:
    written = part.strip(SEPARATORS)
    begin = start + part.index(written[0])
    span = Span(begin, begin + len(written))
    if written.isdecimal():
        return Piece(span, (written,), ())
    return Piece(span, tuple(_GROUP.findall(written)), tuple(_BETWEEN.findall(written)))


def is_telephone(text: str, piece: Piece) -> bool:
    """Whether it is written as one."""
    begin, end = piece.span
    return text[max(0, begin - 1) : begin] == "+" or _TELEPHONE.fullmatch(text, begin, end) is not None


def beginnings(pieces: Sequence[Piece], shortest: int, longest: int) -> list[Sequence[Piece]]:
    """The first pieces, two or more of adjacent fields, that have so many digits together."""
    found: list[Sequence[Piece]] = []
    total = 0
    for last, piece in enumerate(pieces):
        total += len(piece.digits)
        if total > longest:
            break
        if total >= shortest and last > 0:
            found.append(pieces[: last + 1])
    return found
