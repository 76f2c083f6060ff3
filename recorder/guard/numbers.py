"""Card numbers, social insurance and social security numbers: what is told by digits alone (SG-03, SG-05).

Must not read words but those that stand beside the digits. The invariant: a number counts by its issuer and its check
digit, or by its form and its own word; identifiers of Asterisk's and ours never do (SG-04).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

from recorder.guard.plain import FIELD, Found, Span, after, before
from recorder.guard.runs import Piece, beginnings, is_telephone, runs
from recorder.guard.verdict import Detector

SHORTEST: Final = 13
LONGEST: Final = 19

ISSUERS: Final = (  # first digits from, to; lengths
    ("4", "4", (13, 16, 19)),  # Visa
    ("51", "55", (16,)),  # Mastercard
    ("2221", "2720", (16,)),
    ("34", "34", (15,)),  # American Express
    ("37", "37", (15,)),
    ("300", "305", (14, 16, 17, 18, 19)),  # Diners Club
    ("3095", "3095", (14, 16, 17, 18, 19)),
    ("36", "36", (14, 15, 16, 17, 18, 19)),
    ("38", "39", (14, 16, 17, 18, 19)),
    ("6011", "6011", (16, 17, 18, 19)),  # Discover
    ("644", "649", (16, 17, 18, 19)),
    ("65", "65", (16, 17, 18, 19)),
    ("3528", "3589", (16, 17, 18, 19)),  # JCB
    ("62", "62", (16, 17, 18, 19)),  # UnionPay
    ("8110", "8171", (16, 17, 18, 19)),
    ("50", "50", (13, 14, 15, 16, 17, 18, 19)),  # Maestro
    ("56", "58", (13, 14, 15, 16, 17, 18, 19)),
    ("63", "63", (13, 14, 15, 16, 17, 18, 19)),
    ("67", "67", (13, 14, 15, 16, 17, 18, 19)),
    ("2200", "2204", (16, 17, 18, 19)),  # Mir
)
_TELEPHONES_OF_13: Final = ("43", "49")  # Austria and Germany; Visa issues no numbers of 13 digits any more


def _lengths_by_prefix() -> dict[str, frozenset[int]]:
    found: dict[str, frozenset[int]] = {}
    for low, high, lengths in ISSUERS:
        for first in range(int(low.ljust(4, "0")), int(high.ljust(4, "9")) + 1):
            prefix = str(first)
            kept = {length for length in lengths if length != 13 or prefix[:2] not in _TELEPHONES_OF_13}
            found[prefix] = found.get(prefix, frozenset()) | kept
    return found


_LENGTHS: Final = _lengths_by_prefix()
_SINGLE: Final = bytes.maketrans(b"0123456789", bytes(range(10)))
_DOUBLE: Final = bytes.maketrans(b"0123456789", bytes((0, 2, 4, 6, 8, 1, 3, 5, 7, 9)))
_NONE: Final[frozenset[int]] = frozenset()


def passes_luhn(digits: str) -> bool:
    """ISO/IEC 7812-1, annex B."""
    backwards = digits.encode("ascii")[::-1]
    return (sum(backwards[::2].translate(_SINGLE)) + sum(backwards[1::2].translate(_DOUBLE))) % 10 == 0


def is_card(digits: str) -> bool:
    """By its issuer and its check digit, and not by the check digit alone, which one of ten numbers passes."""
    return len(digits) in _LENGTHS.get(digits[:4], _NONE) and passes_luhn(digits)


_NINE: Final = 9
_HEXADECIMAL: Final = re.compile(r"[0-9a-f]{32,128}(?![0-9a-z])")
_ANOTHER_NUMBER: Final = re.compile(
    r"(?:\b(?:siren|siret|rcs|tva|ean|gtin|upc|isbn|imei|iccid)\b\W{0,4}(?:n[o°]?\b|num(?:ero|ber)?\b)?\W{0,4})$"
)
_MONEY_BEFORE: Final = re.compile(r"(?:[$\u20ac\u00a3]|\b(?:cad|usd|eur)) ?$")
_MONEY_AFTER: Final = re.compile(r" ?(?:[$\u20ac\u00a3]|(?:cad|usd|eur|euros?|dollars?)\b)")
_BUSINESS_NUMBER: Final = re.compile(r" ?(?:r[cmprtz]|t[qp]) ?[0-9]{4}\b")  # of the CRA: the same check digit
_SIN_WORD: Final = re.compile(
    r"\b(?:s\.?i\.?n|n\.?a\.?s|social insurance|assurance sociale|i\.?t\.?n|t\.?t\.?n|individual tax|taxation number"
    r"|identification-impot|temporaire d.imposition)\b"
)
_SSN_WORDS: Final = ("ssn", "social security")


def found_in_runs(text: str) -> Iterator[Found]:
    """What the digits of each run are. One run may be said to be several things; the whole piece is the span."""
    for pieces in runs(text, at_least=_NINE):
        for piece in pieces:
            for detector in _kinds(text, piece):
                yield detector, piece.span


def found_split(text: str) -> Iterator[Found]:
    """The same, split over adjacent fields; what is written as a telephone number is no part of another."""
    if FIELD not in text:
        return
    for pieces in runs(text, at_least=_NINE):
        for is_tel, some in groupby(pieces, key=lambda piece: is_telephone(text, piece)):
            adjacent = [] if is_tel else list(some)
            for first in range(len(adjacent) - 1):
                yield from _split_anywhere(text, adjacent[first : first + LONGEST])
                yield from _split_between_groups(adjacent[first : first + 5])


def _kinds(text: str, piece: Piece) -> Iterator[Detector]:
    digits = piece.digits
    if len(digits) >= SHORTEST and _has_card(text, piece) and not _is_another_number(text, piece.span):
        yield Detector.CARD
    if len(digits) == _NINE:
        yield from _nine_digits(text, piece.span, [piece.groups])
    elif len(piece.groups) > 1:
        together = [groups for groups in piece.uniform if sum(map(len, groups)) == _NINE]
        yield from _nine_digits(text, piece.span, together) if together else ()


def _has_card(text: str, piece: Piece) -> bool:
    """By all of its digits in whatever groups, else by some of them that are written as cards show them."""
    plus = text[max(0, piece.span.start - 1) : piece.span.start] == "+"
    if len(piece.groups) == 1:
        return not plus and is_card(piece.groups[0])
    if not plus and is_card(piece.digits):
        return True
    return any(map(is_card, _as_cards_are_written(piece.groups[plus:])))


def _as_cards_are_written(groups: Sequence[str]) -> Iterator[str]:
    """In one, by fours, or 4-6-5 and 4-6-4: so a card number is seen among other numbers too."""
    sizes = [len(group) for group in groups]
    for index, size in enumerate(sizes):
        if SHORTEST <= size <= LONGEST:
            yield groups[index]
        elif size == 4:
            match sizes[index + 1 : index + 5]:
                case [4, 4, 4, last] if last <= 3:
                    yield "".join(groups[index : index + 4])
                    yield "".join(groups[index : index + 5])
                case [4, 4, last, *_] if last <= 4:
                    yield "".join(groups[index : index + 4])
                case [6, 4 | 5, *_]:
                    yield "".join(groups[index : index + 3])


def _is_another_number(text: str, span: Span) -> bool:
    """One that its own word names, or digits within a digest."""
    if _ANOTHER_NUMBER.search(before(text, span.start)):
        return True
    start = span.start
    while start > 0 and span.start - start < 128 and text[start - 1] in "0123456789abcdef":
        start -= 1
    return _HEXADECIMAL.match(text, start) is not None and not text[start : start + 32].isdecimal()


def _nine_digits(text: str, span: Span, written: Sequence[tuple[str, ...]]) -> Iterator[Detector]:
    """A social insurance number by its form and its check digit, a social security number by its form.

    Not in their forms they count with their own word beside them alone: one of ten numbers passes the check.
    """
    beside = f"{before(text, span.start)}\n{after(text, span.end)}"
    for groups in written:
        digits, form = "".join(groups), tuple(map(len, groups))
        if passes_luhn(digits) and digits.strip("0") and _is_said_to_be_sin(text, span, beside, form):
            yield Detector.SIN
        elif (form == (3, 2, 4) or any(word in beside for word in _SSN_WORDS)) and _is_ssn(digits):
            yield Detector.SSN


def _is_said_to_be_sin(text: str, span: Span, beside: str, form: tuple[int, ...]) -> bool:
    """By its own word, or by its form and no other word: a French SIREN has the same form and the same check digit."""
    if _SIN_WORD.search(beside):
        return True
    return form == (3, 3, 3) and not _is_another_number(text, span) and not _is_amount_or_business(text, span)


def _is_amount_or_business(text: str, span: Span) -> bool:
    behind = after(text, span.end)
    is_amount = _MONEY_BEFORE.search(before(text, span.start)) or _MONEY_AFTER.match(behind)
    return bool(is_amount or _BUSINESS_NUMBER.match(behind))


def _is_ssn(digits: str) -> bool:
    """20 CFR 422.103: no number was ever given out with one of these."""
    return digits[:3] not in ("000", "666") and digits[0] != "9" and digits[3:5] != "00" and digits[5:] != "0000"


def _split_anywhere(text: str, pieces: Sequence[Piece]) -> Iterator[Found]:
    """Whole pieces from the first on, in whatever groups, the longest first."""
    for some in reversed(beginnings(pieces, _NINE, LONGEST)):
        span = Span(some[0].span.start, some[-1].span.end)
        digits = "".join(piece.digits for piece in some)
        if is_card(digits):
            yield Detector.CARD, span
        elif len(digits) == _NINE:
            groups = tuple(group for piece in some for group in piece.groups)
            for detector in _nine_digits(text, span, [groups]):
                yield detector, span


def _split_between_groups(pieces: Sequence[Piece]) -> Iterator[Found]:
    """A card number as cards show it that goes on in the next fields, among others: 12 4111, 1111 1111 and 1111 7."""
    groups = pieces[0].groups[-3:]
    in_one = set(_as_cards_are_written(groups))
    for last in pieces[1:]:
        groups += last.groups[:4]
        in_one.update(_as_cards_are_written(last.groups))
        if any(is_card(written) for written in _as_cards_are_written(groups) if written not in in_one):
            yield Detector.CARD, Span(pieces[0].span.start, last.span.end)
            return
        if len(last.groups) > 3:
            return  # no card number is shown in more than five groups
