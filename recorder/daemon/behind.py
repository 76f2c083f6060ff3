"""The only one that looks behind a caller that is a Local channel: who stands there, and whether they consult.

Must not decide what becomes of the call. The invariant: nobody waits for Asterisk longer than ASKED_WITHIN, and what
could not be seen is said to be unknown.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Final

import structlog

from recorder.ami import Actions, AmiError, AmiRefused, ChannelSnapshot
from recorder.model import BridgeId, Channel, Uniqueid

log = structlog.get_logger(__name__)

CONSULTING: Final = "TRANSFERERNAME"
"""Asterisk's mark on the leg of a consultation by the featuremap's key (main/bridge_basic.c, 16 and 22)."""
ASKED_WITHIN: Final = 0.5
JOINED_WITHIN: Final = 0.2
LOOK_EVERY: Final = 0.02
DIALLED: Final = frozenset({"", "AppDial", "AppDial2", "AppQueue", "Dial"})
"""What a half runs that was dialled and answered, and is about to be joined with whoever dialled; or the other way
round, where an outgoing call is dialled through it."""
MOST: Final = 16
"""Legs behind one caller; a longer chain is nobody whom we know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Behind:
    """`legs` says where each leg behind the caller stands; None where the caller is no Local channel.

    `known` is False where Asterisk did not tell.
    """

    legs: dict[Uniqueid, BridgeId | None] | None = None
    consults: bool = False
    known: bool = True


NOBODY: Final = Behind()


class Lookout:
    """Asked when a caller comes to a line."""

    def __init__(self, ami: Actions) -> None:
        self._ami = ami

    async def behind(self, caller: Channel) -> Behind:
        """Who stands behind the caller's channel now."""
        if _other_half(caller.name) is None:
            return NOBODY
        try:
            async with asyncio.timeout(ASKED_WITHIN):
                return await _Walk(self._ami).from_(caller)
        except (AmiError, TimeoutError) as error:
            log.warning("behind_not_known", why=str(error) or type(error).__name__)
            return Behind(known=False)


@dataclass(slots=True)
class _Walk:
    ami: Actions
    legs: dict[Uniqueid, BridgeId | None] = field(default_factory=dict)
    consults: bool = False

    async def from_(self, caller: Channel) -> Behind:
        halves = [_other_half(caller.name)]
        while halves:
            half = halves.pop()
            row = await self._joined(half) if half is not None else None
            if row is None or row.channel.uniqueid in self.legs:
                continue
            self.consults = self.consults or CONSULTING in row.variables
            self.legs[row.channel.uniqueid] = row.bridge
            halves += [_other_half(member.name) for member in await self._beside(row)]
            if len(self.legs) > MOST:
                return Behind(known=False)
        if not self.legs:  # no other half by this name, or Asterisk does not say: nobody could be told from another
            return Behind(known=False, consults=self.consults)
        return Behind(legs=self.legs, consults=self.consults)

    async def _joined(self, name: str) -> ChannelSnapshot | None:
        """A half, in its bridge where it is about to come there: its caller answers a moment before it is joined."""
        deadline = asyncio.get_running_loop().time() + JOINED_WITHIN
        while True:
            row = await self.ami.channel(name, (CONSULTING,))
            waits = row is not None and row.bridge is None and row.application in DIALLED
            if not waits or asyncio.get_running_loop().time() > deadline:
                return row
            await asyncio.sleep(LOOK_EVERY)

    async def _beside(self, row: ChannelSnapshot) -> list[Channel]:
        """The others in its bridge, who are noted; the second to be joined comes there a moment after the first."""
        if row.bridge is None:
            return []
        deadline = asyncio.get_running_loop().time() + JOINED_WITHIN
        members = await self._members(row.bridge)
        while len(members) == 1 and asyncio.get_running_loop().time() <= deadline:
            await asyncio.sleep(LOOK_EVERY)
            members = await self._members(row.bridge)
        others = [member for member in members if member.uniqueid not in self.legs]
        self.legs |= {member.uniqueid: row.bridge for member in others}
        return others

    async def _members(self, bridge: BridgeId) -> list[Channel]:
        try:
            return await self.ami.bridge_members(bridge)
        except AmiRefused:  # it ended meanwhile
            return []


def _other_half(name: str) -> str | None:
    """The other half of a Local channel, by its name; None for any other channel."""
    if not name.startswith("Local/") or name[-2:] not in (";1", ";2"):
        return None
    return name[:-1] + ("2" if name.endswith("1") else "1")
