"""Numbers with letters or a key of their own: IBAN, the French NIR and the British NINO.

Must not count what only looks alike: an IBAN by its country's form and its check digits, a NIR by its form and its key.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from recorder.guard.plain import Found, Span
from recorder.guard.verdict import Detector

# What follows country and check digits, from the registry of ISO 13616: n digits, a letters, c either.
_REGISTRY: Final = """
    ad:8n12c ae:19n al:8n16c at:16n az:4a20c ba:16n be:12n bg:4a6n8c bh:4a14c bi:23n br:23n1a1c by:4c4n16c ch:5n12c
    cr:18n cy:8n16c cz:20n de:18n dj:23n dk:14n do:4c20n ee:16n eg:25n es:20n fi:14n fk:2a12n fo:14n fr:10n11c2n
    gb:4a14n ge:2a16n gi:4a15c gl:14n gr:7n16c gt:24c hn:4a20n hr:17n hu:24n ie:4a14n il:19n iq:4a15n is:22n
    it:1a10n12c jo:4a4n18c kw:4a22c kz:3n13c lb:4n20c lc:4a24c li:5n12c lt:16n lu:3n13c lv:4a13c ly:21n mc:10n11c2n
    md:20c me:18n mk:3n10c2n mn:16n mr:23n mt:4a5n18c mu:4a19n3a ni:4a20n nl:4a10n no:11n om:3n16c pk:4a16c pl:24n
    ps:4a21c pt:21n qa:4a21c ro:4a16c rs:18n ru:14n15c sa:2n18c sc:4a20n3a sd:14n se:20n si:15n sk:20n sm:1a10n12c
    so:19n st:21n sv:4a20n tl:19n tn:20n tr:6n16c ua:6n19c va:18n vg:4a16n xk:16n ye:4a4n18c
"""
_KINDS: Final = {"n": "[0-9]", "a": "[a-z]", "c": "[0-9a-z]"}


def _form(written: str) -> re.Pattern[str]:
    return re.compile("".join(f"{_KINDS[kind]}{{{length}}}" for length, kind in re.findall(r"(\d+)([nac])", written)))


FORMS: Final = {country: _form(form) for country, form in (entry.split(":") for entry in _REGISTRY.split())}
_SIZES: Final = {country: sum(map(int, re.findall(r"\{(\d+)\}", form.pattern))) for country, form in FORMS.items()}
_IBAN: Final = re.compile(r"(?<![0-9a-z])([a-z]{2})[ \-.]?([0-9]{2})[ \-.\x1f]{0,2}")
_NEXT: Final = re.compile(r"[ \-.\x1f]{0,2}([0-9a-z]{1,40})")  # longer than any IBAN
_NIR: Final = re.compile(
    r"(?<![0-9a-z])([1-478])[ \-\x1f]?([0-9]{2})[ \-\x1f]?(0[1-9]|1[0-2]|20|3[0-9]|4[0-2])[ \-\x1f]?([0-9]{2}|2[ab])"
    r"[ \-\x1f]?([0-9]{3})[ \-\x1f]?([0-9]{3})[ \-\x1f]?([0-9]{2})(?![0-9])"
)
_NINO: Final = re.compile(
    r"(?<![0-9a-z])(?!bg|gb|nk|kn|tn|nt|zz)[abceghj-prstw-z][abceghj-nprstw-z][ \-\x1f]?[0-9]{2}[ \-\x1f]?[0-9]{2}"
    r"[ \-\x1f]?[0-9]{2}[ \-\x1f]?[a-d](?![0-9a-z])"
)


def found_ibans(text: str) -> Iterator[Found]:
    for head in _IBAN.finditer(text):
        country, check = head[1], head[2]
        if country not in FORMS:
            continue
        end, body = _gathered(text, head.end(), _SIZES[country])
        if FORMS[country].fullmatch(body) and _passes_97(body + country + check):
            yield Detector.IBAN, Span(head.start(), end)


def _gathered(text: str, at: int, size: int) -> tuple[int, str]:
    """The next `size` letters and digits, group by group, and where they end."""
    pieces: list[str] = []
    gathered = 0
    while gathered < size and (group := _NEXT.match(text, at)) is not None and len(group[1]) + gathered <= size:
        pieces.append(group[1])
        gathered += len(group[1])
        at = group.end()
    return at, "".join(pieces)


def _passes_97(rearranged: str) -> bool:
    """ISO 7064, modulus 97 and radix 10, each letter as 10 to 35."""
    return int("".join(str(int(character, 36)) for character in rearranged)) % 97 == 1


def found_nirs(text: str) -> Iterator[Found]:
    for found in _NIR.finditer(text):
        *born, key = found.groups()
        digits = "".join(born).replace("2a", "19").replace("2b", "18")  # Corsica
        if len(digits) == 13 and 97 - int(digits) % 97 == int(key):
            yield Detector.NIR, Span(*found.span())


def found_ninos(text: str) -> Iterator[Found]:
    yield from ((Detector.NINO, Span(*found.span())) for found in _NINO.finditer(text))
