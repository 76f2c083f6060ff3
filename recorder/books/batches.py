"""A blocking iterator taken in batches on a thread: neither the loop nor the memory has to hold all of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from itertools import islice
from typing import Final, TypeVar

T = TypeVar("T")
AT_ONCE: Final = 500


async def batches(items: Iterable[T], at_once: int = AT_ONCE) -> AsyncIterator[list[T]]:
    """The items, `at_once` at a time, the last batch shorter."""
    source = iter(items)
    while batch := await asyncio.to_thread(lambda: list(islice(source, at_once))):
        yield batch
