"""A steady load: always so many calls at once, of every kind, each replaced when it ends.

Owns how calls are placed, and the two acts that a phone cannot do by itself: the transfer and the consultation. What
became of a call is account.py's.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time

from tests.faults.account import Account, Watched
from tests.faults.kinds import ALL, QUEUES, SOUNDS, WAYS, Kind, deal
from tests.pbx import tones
from tests.pbx.admin import Admin, AdminError, Event
from tests.pbx.calls import line_number
from tests.pbx.server import PbxServer

GAP = 0.12
"""Seconds between two calls, at least: not all of the load may begin at once."""
TALKED = 3.0
"""Seconds after the agent's answer at which a call is transferred, or its caller made to wait."""
OVER_WITHIN = 60.0


class Load:
    """`run` until `stop`; then `drained` waits for the last call's end."""

    def __init__(self, pbx: PbxServer, account: Account, *, at_once: int, seed: int, longer: float) -> None:
        self.at_once = at_once
        self.least: int | None = None  # calls in progress, since the load was first whole, while Asterisk lived
        self.placing = True
        self.whole = False
        self._pbx = pbx
        self._account = account
        self._deck = deal(seed, longer)
        self._serial = itertools.count(1)
        self._queues = {line: itertools.cycle(numbers) for line, numbers in QUEUES.items()}
        self._admin: Admin | None = None
        self._opening = asyncio.Lock()
        self._stopping = self._closed = False
        account.connected = self._agent_answered

    def furnish(self) -> None:
        """The sounds that the parties speak with."""
        for hz in ALL:
            self._pbx.tone(hz)
        for name, (hz, seconds) in SOUNDS.items():
            tones.write_sln(self._pbx.base / "sounds" / f"{name}.sln", hz, seconds)

    async def run(self) -> None:
        while not self._stopping:
            if self.placing and len(self._account.open) < self.at_once:
                await self._place()
                await asyncio.sleep(GAP)
            else:
                await asyncio.sleep(0.05)

    def stop(self) -> None:
        self._stopping = True

    async def close(self) -> None:
        """When the last call is over: a transfer that is still to come finds nobody to ask for it."""
        async with self._opening:
            self._closed = True
            if self._admin is not None:
                await self._admin.close()

    def resume(self) -> None:
        """After Asterisk was away: the load comes up anew, and is not short until it has."""
        self.placing, self.whole = True, False

    async def until_whole(self) -> None:
        """Until there are so many calls at once."""
        async with asyncio.timeout(OVER_WITHIN):
            while len(self._account.open) < self.at_once:
                await asyncio.sleep(0.1)
        self.whole = True

    async def drained(self) -> None:
        async with asyncio.timeout(OVER_WITHIN):
            while self._account.open:
                await asyncio.sleep(0.1)

    async def _place(self) -> None:
        kind, seconds = next(self._deck)
        way, number = WAYS[kind], next(self._serial)
        phone, leg = (f"{int(time.time())}.{800000 + 2 * number + half}" for half in (0, 1))
        call = Watched(number=number, kind=kind, leg=leg, phone=phone, placed_at=time.time())
        self._account.expect(call)
        try:
            await (await self._hands()).action(
                "Originate",
                {
                    "Channel": f"Local/{self._dialled(kind)}/n",
                    "Context": "load-phone",
                    "Exten": way.phone,
                    "Priority": "1",
                    "CallerID": f"<1555{number:07d}>",
                    "ChannelId": phone,
                    "OtherChannelId": leg,
                    "Async": "true",
                    "Timeout": "60000",
                },
                variables={"LOAD_SECONDS": f"{seconds:g}", "__LOAD_DOES": way.agent, "__LOAD_CALL": str(number)},
            )
        except (AdminError, OSError, TimeoutError):
            self._account.forget(call)
            await asyncio.sleep(0.2)

    def _dialled(self, kind: Kind) -> str:
        line = WAYS[kind].line
        if line is not None:
            return f"{_dialled(line, next(self._queues[line]))}@from-outside"
        return "4165550123@load-outgoing" if kind is Kind.OUTGOING else "2001@load-personal"

    async def _hands(self) -> Admin:
        """A session of its own, without events; a new one after Asterisk's death."""
        async with self._opening:
            if self._closed:
                raise AdminError("the load is over")
            if self._admin is None or self._admin.closed:
                if self._admin is not None:
                    await self._admin.close()
                self._admin = await self._pbx.admin()
                await self._admin.action("Events", {"EventMask": "off"})
            return self._admin

    async def _agent_answered(self, call: Watched, event: Event) -> None:
        """Who is to be transferred, or to wait, is so after a while."""
        if call.kind not in (Kind.TRANSFERRED, Kind.HELD):
            return
        await asyncio.sleep(TALKED)
        hands, agent = await self._hands(), event["DestChannel"]
        to = {"Channel": agent, "Context": "load-third"}
        if call.kind is Kind.HELD:
            await hands.action("Atxfer", to | {"Exten": "3001"})
            return
        await hands.action("BlindTransfer", to | {"Exten": "3002"})
        leaves = {"Context": "load-phone", "Exten": "leaves", "Priority": "1"}
        with contextlib.suppress(AdminError):
            await hands.action("Redirect", {"Channel": call.phone_channel} | leaves)


def _dialled(line: str, queue: int) -> str:
    return line_number(line, f"{queue:03}")
