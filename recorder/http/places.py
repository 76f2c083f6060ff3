"""The address of a recording on a page, and of a moment in it: made and read here alone.

Must not hold more than ids and times: no secret, no number, and nothing as it came. The invariant: what is read back
from an address is made anew from its parts, so that it leads to no page but a call's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import parse_qs, urlencode, urlsplit
from uuid import UUID

_MOMENT: Final = re.compile(r"(?:([0-9]{1,4}):(?=[0-5]?[0-9](?:[.,]|$)))?([0-9]{1,6})(?:[.,]([0-9]{1,3}))?")
_PAGE: Final = re.compile(r"/calls/([0-9a-f-]{36})")


def moment_of(text: str) -> int | None:
    """Milliseconds, of seconds ("75", "75.5") or of a player's clock ("1:15"); None where it is no moment."""
    found = _MOMENT.fullmatch(text.strip())
    if found is None:
        return None
    minutes, seconds, part = found.groups(default="")
    return (int(minutes or 0) * 60 + int(seconds)) * 1000 + int(part.ljust(3, "0"))


def seconds_of(moment_ms: int) -> str:
    """As it stands in an address: with no more places than it takes."""
    whole, part = divmod(moment_ms, 1000)
    return f"{whole}.{part:03}".rstrip("0").rstrip(".") if part else str(whole)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A recording on its call's page, with a moment in it, and with the end of the stretch that is repeated."""

    call: UUID
    recording: UUID | None = None
    at_ms: int | None = None
    until_ms: int | None = None

    @classmethod
    def of(cls, call: UUID, given: Mapping[str, str]) -> Self:
        """What an address or a form says; what is no moment, or no end behind one, is passed over."""
        at_ms, until_ms = moment_of(given.get("at", "")), moment_of(given.get("until", ""))
        is_behind = at_ms is not None and until_ms is not None and until_ms > at_ms
        recording = _id_of(given.get("recording", ""))
        return cls(call=call, recording=recording, at_ms=at_ms, until_ms=until_ms if is_behind else None)

    @property
    def page(self) -> str:
        """The address without a moment."""
        return self._with({})

    @property
    def address(self) -> str:
        return self._with(self.moment)

    @property
    def moment(self) -> dict[str, str]:
        """The fields of the moment, as a form carries them on."""
        named = {"at": self.at_ms, "until": self.until_ms}
        return {name: seconds_of(value) for name, value in named.items() if value is not None}

    def _with(self, more: Mapping[str, str]) -> str:
        fields = ({} if self.recording is None else {"recording": str(self.recording)}) | dict(more)
        return f"/calls/{self.call}" + (f"?{urlencode(fields)}" if fields else "")


def place_of(address: str) -> Place | None:
    """The place to which an address of a page of ours leads; None where it names no moment, or is anything else."""
    try:
        parts = urlsplit(address)
        fields = parse_qs(parts.query, max_num_fields=20)
    except ValueError:
        return None
    found = _PAGE.fullmatch(parts.path)
    call = _id_of(found[1]) if found is not None else None
    if call is None or parts.scheme or parts.netloc:
        return None
    place = Place.of(call, {name: values[0] for name, values in fields.items()})
    return None if place.at_ms is None else place


def _id_of(text: str) -> UUID | None:
    try:
        return UUID(text) if len(text) == 36 else None
    except ValueError:
        return None
