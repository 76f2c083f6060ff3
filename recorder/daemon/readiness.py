"""Can a call be captured now, and if not, why: what the daemon last saw of the PBX, the catalogue and the disks.

Owns no probe: the sweeps look and tell. The invariant: what was not seen to be well is a hindrance.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from recorder.model import LostReason

LINES_NOT_READ: Final = "which lines are kept unrecorded was not read yet"


class Readiness:
    """The last look at everything a capture needs. Starts with nothing seen, so not ready."""

    def __init__(self) -> None:
        self._pbx: str | None = "not connected to Asterisk yet"
        self._catalogue: str | None = "the catalogue was not reached yet"
        self._lines: str | None = LINES_NOT_READ
        self._disk: tuple[str, ...] = ("the spool was not looked at yet",)

    def pbx(self, reason: str | None) -> None:
        """None: connected and resynchronised."""
        self._pbx = reason

    def catalogue(self, reason: str | None) -> None:
        """None: a write was committed just now."""
        self._catalogue = reason

    def lines(self, reason: str | None) -> None:
        """None: it is known which lines are kept unrecorded, and which of them are released."""
        self._lines = reason

    def disk(self, problems: Sequence[str]) -> None:
        """Empty: the spool and the storage can be written and have room."""
        self._disk = tuple(problems)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why nothing can be captured now, in words; empty when it can."""
        return tuple(reason for reason in (self._pbx, self._catalogue, self._lines, *self._disk) if reason is not None)

    @property
    def hindrance(self) -> LostReason | None:
        """The first reason as a call's books name it; None when calls can be captured."""
        if self._pbx is not None:
            return LostReason.PBX_AWAY
        if self._catalogue is not None or self._lines is not None:
            return LostReason.CATALOGUE_AWAY
        return LostReason.SPOOL_UNREADY if self._disk else None
