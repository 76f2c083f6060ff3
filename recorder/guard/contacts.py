"""E-mail addresses and telephone numbers: what is warned of and mostly kept.

Must not decide whether a telephone number exists: its form is all that counts, and ten digits by themselves only
beside a word that says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from recorder.guard.plain import Found, Span, before
from recorder.guard.verdict import Detector

_LOCAL: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789._%+-'")
_LONGEST_LOCAL: Final = 64
_DOMAIN: Final = re.compile(r"(?:[a-z0-9-]{1,63}\.){1,5}[a-z]{2,24}(?![a-z0-9])")
_FORMS: Final = re.compile(
    r"\+[1-9](?:[ .\-/()]{0,2}[0-9]){6,14}(?![0-9])"
    r"|(?<![0-9a-z.\-/])00[1-9](?:[ .\-]?[0-9]){8,13}(?![0-9])"
    r"|(?<![0-9a-z.\-/])(?:1[ .\-])?\(?[2-9][0-9]{2}(?:\)|[ .\-]|\) )[2-9][0-9]{2}[ .\-][0-9]{4}(?![0-9a-z])"
    r"|(?<![0-9a-z.\-/])0[1-9](?:[ .\-]?[0-9]{2}){4}(?![0-9a-z])"
)
_TEN_DIGITS: Final = re.compile(r"(?<![0-9a-z.\-/])1?[2-9][0-9]{2}[2-9][0-9]{6}(?![0-9a-z])")
_TELEPHONE_WORD: Final = re.compile(
    r"\b(?:tel|telephone|phone|cell|cellular|cellulaire|mobile|portable|call(?: back)?|reach|rappeler|joindre|fax)\b"
)


def found_emails(text: str) -> Iterator[Found]:
    at = text.find("@")
    while at >= 0:
        start = at
        while start > 0 and at - start < _LONGEST_LOCAL and text[start - 1] in _LOCAL:
            start -= 1
        if start < at and (domain := _DOMAIN.match(text, at + 1)) is not None:
            yield Detector.EMAIL, Span(start, domain.end())
        at = text.find("@", at + 1)


def found_phones(text: str) -> Iterator[Found]:
    for found in _FORMS.finditer(text):
        yield Detector.PHONE, Span(*found.span())
    for found in _TEN_DIGITS.finditer(text):
        if _TELEPHONE_WORD.search(before(text, found.start(), 24)):
            yield Detector.PHONE, Span(*found.span())
