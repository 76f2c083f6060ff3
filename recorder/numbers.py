"""The other side's number as the catalogue may know it: a keyed digest, of which nobody without the key comes back.

The only one that makes such digests. Must not keep or log a number. The invariant: the same number gives the same
digest in whatever form it was written, as far as the country is known; a number that was withheld gives none.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from recorder.do_not_record import international

SHORTEST_KEY: Final = 32
"""Bytes. `recorder init` writes 43 characters, which hold 256 bits."""
WITHHELD: Final = 0x60
"""Asterisk's CALLERID(pres): 0x20 is restricted, 0x40 unavailable."""
_WRITTEN: Final = re.compile(r"[0-9+().\-/\s]{1,40}")
OUTSIDE_LINE: Final = ("", *(str(digit) for digit in range(10)), *(f"{both:02}" for both in range(100)))
"""What a house may dial before a number: it stands before it in what the dialplan says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberKey:
    """The key, and the country of numbers that are written without one."""

    secret: bytes = field(repr=False)
    region: str | None = None

    @property
    def name(self) -> str:
        """Eight hex digits that tell this key from another and nothing about it; each digest begins with them."""
        return hmac.new(self.secret, b"the name of this key", hashlib.sha256).hexdigest()[:8]

    def digest(self, number: str, presentation: str = "") -> str | None:
        """`KEY:DIGEST`, or None where there is no number to speak of, or it was withheld (`presentation`)."""
        if presentation.isdecimal() and int(presentation) & WITHHELD:
            return None
        form = normal(number, self.region)
        return None if form is None else self._digest(form)

    def digests(self, number: str) -> tuple[str, ...]:
        """All digests under which a call with this number may be kept; none where it is no number."""
        return tuple(dict.fromkeys(self._digest(form) for form in forms(number, self.region)))

    def _digest(self, form: str) -> str:
        return f"{self.name}:{hmac.new(self.secret, form.encode(), hashlib.sha256).hexdigest()}"


def normal(number: str, region: str | None) -> str | None:
    """The number in the one form that is digested: E.164 where its country is known, else its digits."""
    if not _WRITTEN.fullmatch(number.strip()):
        return None
    return international(number, region) or re.sub(r"\D", "", number) or None


def forms(number: str, region: str | None) -> Iterator[str]:
    """The forms in which a number may have come: as above, and as digits with and without country or outside line."""
    form = normal(number, region)
    if form is None:
        return
    yield form
    if not form.startswith("+"):
        return
    for digits in (form[1:], international(number, region, without_country=True) or form[1:]):
        yield from (before + digits for before in OUTSIDE_LINE)
