"""The only one that knows which phones are the queues' own members: who calls a line from one of these is no caller.

Must not decide what becomes of the call. The invariant: nobody waits for Asterisk longer than ASKED_WITHIN, and one
whose phone is not known to be a member's is a caller.
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from recorder.ami import Actions, AmiError
from recorder.model import Channel

log = structlog.get_logger(__name__)

KNOWN_FOR: Final = 5.0
"""Seconds for which an answer is believed: a large house is not asked for all its queues at each call."""
ASKED_WITHIN: Final = 0.5


class Members:
    """Asked when somebody comes to a line."""

    def __init__(self, ami: Actions) -> None:
        self._ami = ami
        self._members: frozenset[str] = frozenset()
        self._asked_at = float("-inf")
        self._asking = asyncio.Lock()

    async def is_member(self, channel: Channel) -> bool:
        """Whether the channel is of a phone that some queue rings, or whose state it watches."""
        phone = channel.name.rpartition("-")[0]
        async with self._asking:
            if asyncio.get_running_loop().time() - self._asked_at > KNOWN_FOR:
                await self._ask()
        return phone in self._members

    async def _ask(self) -> None:
        try:
            async with asyncio.timeout(ASKED_WITHIN):
                told = await self._ami.queue_status()
        except (AmiError, TimeoutError) as error:
            log.warning("members_not_known", why=str(error) or type(error).__name__)
        else:
            self._members = frozenset(name for member in told.members for name in (member.interface, member.watched))
        self._asked_at = asyncio.get_running_loop().time()
