"""A set of a million names in a few megabytes: what the join remembers of Asterisk's uniqueids and linkedids.

Pure. Keeps eight bytes of each name's digest: that two of a million names share them has a chance of 1 in 10^7.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray


class Names:
    """Names are added, then asked for; to ask after more were added is right, and dearer."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._new = array("Q")
        self._sorted: NDArray[np.uint64] = np.empty(0, np.uint64)
        self.update(names)

    def add(self, name: str) -> None:
        self._new.append(_digest(name))

    def update(self, names: Iterable[str]) -> None:
        self._new.extend(_digest(name) for name in names)

    def __contains__(self, name: str) -> bool:
        known, digest = self._known(), np.uint64(_digest(name))
        place = int(np.searchsorted(known, digest))
        return place < len(known) and bool(known[place] == digest)

    def any_of(self, names: Iterable[str]) -> bool:
        return any(name in self for name in names)

    def __len__(self) -> int:
        return len(self._known())

    def __sub__(self, other: Names) -> Names:
        left = Names()
        left._sorted = np.setdiff1d(self._known(), other._known(), assume_unique=True)
        return left

    def _known(self) -> NDArray[np.uint64]:
        if self._new:
            self._sorted = np.union1d(self._sorted, np.frombuffer(self._new, np.uint64))
            self._new = array("Q")
        return self._sorted


def _digest(name: str) -> int:
    return int.from_bytes(blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest())
