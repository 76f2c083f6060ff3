"""A session under the daemon's own AMI account, and what it is let do: found out by trying.

Must not change anything: it stops a MixMonitor of a channel that does not exist.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from recorder.ami import Ami, AmiAddress, AmiError, AmiRefused

LOGIN_LIMIT = 8.0
"""Seconds; Asterisk itself waits one before it refuses."""


@asynccontextmanager
async def connected_ami(address: AmiAddress, reasons: list[str]) -> AsyncIterator[Ami | None]:
    """A session under the daemon's own account, None where there is none in time; `reasons` gets why."""
    up = asyncio.Event()

    def down(reason: str) -> None:
        reasons.append(reason)
        up.set()

    ami = Ami(address, lambda _: None, connected=lambda _: up.set(), disconnected=down)
    async with ami:
        with suppress(TimeoutError):
            await asyncio.wait_for(up.wait(), LOGIN_LIMIT)
        yield ami if ami.state.connected else None


async def may_stop(ami: Ami) -> bool:
    """Try what a pause and a stop need: of a channel that does not exist, which only who may is told."""
    try:
        await ami.stop_mixmonitor("Local/recorder-doctor", "0x0")
    except AmiRefused as error:
        return "permission" not in str(error).lower()
    except AmiError:
        return False
    return True


async def may_report(ami: Ami) -> bool:
    try:
        await ami.core_status()
    except AmiError:
        return False
    return True
