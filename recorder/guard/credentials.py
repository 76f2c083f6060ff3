"""Private keys, tokens by the forms of those who issue them, and passwords in URLs and behind their own word.

Must not guess: what is merely long and random is no secret here. The invariant: whoever is told so typed one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from recorder.guard.plain import FIELD, Found, Span
from recorder.guard.verdict import Detector

_KEY_BEGINS: Final = re.compile(r"-----begin [a-z0-9 ]{0,30}private key(?: block)?-----|putty-user-key-file-\d")
_KEY_ENDS: Final = re.compile(r"-----end [a-z0-9 ]{0,30}private key(?: block)?-----|private-mac: [0-9a-f]{1,64}|\x1f")
_TOKEN: Final = re.compile(
    r"(?<![a-z0-9_-])(?:"
    r"(?:akia|asia)[0-9a-z]{16}(?![0-9a-z])"
    r"|gh[pousr]_[0-9a-z]{36,255}|github_pat_[0-9a-z_]{22,255}|glpat-[0-9a-z_-]{20,64}"
    r"|xox[abeprs]-[0-9a-z-]{10,255}|[srp]k_(?:live|test)_[0-9a-z]{16,255}|sk-[0-9a-z_-]{20,255}"
    r"|aiza[0-9a-z_-]{35}|ya29\.[0-9a-z_-]{20,255}|npm_[0-9a-z]{36}|pypi-[0-9a-z_-]{40,255}"
    r"|eyj[0-9a-z_-]{8,4096}\.eyj[0-9a-z_-]{8,4096}\.[0-9a-z_-]{8,1024}"
    r"|age-secret-key-1[0-9a-z]{50,64}"
    r")"
)
_AFTER_SCHEME: Final = re.compile(r"[^\s/@:\x00]{0,64}:([^\s/@\x00]{1,256})@")
_IN_QUERY: Final = re.compile(
    r"[?&;](?:access_token|auth_token|refresh_token|api_?key|token|secret|sig|signature|password|passwd|pwd)="
    r"([^\s&#\"'<>\x00]{6,4096})"
)
_SAID: Final = re.compile(
    r"\b(?:bearer +([0-9a-z._~+/-]{20,4096})"
    r"|(?:password|passwd|passphrase|pwd|mot de passe|mdp)\b {0,2}[:=] {0,2}"
    r"((?=[^\s\x00]{0,32}[^a-z\s\x00])[^\s\x00]{6,128}))"
)


def found_secrets(text: str) -> Iterator[Found]:
    for span in sorted(_secrets(text)):
        yield Detector.SECRET, span


def _secrets(text: str) -> Iterator[Span]:
    yield from _keys(text)
    yield from (Span(*found.span()) for found in _TOKEN.finditer(text))
    yield from (Span(*found.span(1)) for found in _IN_QUERY.finditer(text))
    yield from (Span(*found.span(found.lastindex or 0)) for found in _SAID.finditer(text))
    at = text.find("://")
    while at >= 0:
        if (found := _AFTER_SCHEME.match(text, at + 3)) is not None:
            yield Span(*found.span(1))
        at = text.find("://", at + 3)


def _keys(text: str) -> Iterator[Span]:
    """From a key's first line to its last, else to the end of its field."""
    at = 0
    while (begun := _KEY_BEGINS.search(text, at)) is not None:
        ended = _KEY_ENDS.search(text, begun.end())
        at = len(text) if ended is None else ended.start() if ended[0] == FIELD else ended.end()
        yield Span(begun.start(), at)
