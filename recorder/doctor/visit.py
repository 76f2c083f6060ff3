"""Stands in for the daemon on its FastAGI port for the time of one check, so that the dialplan has somebody to call.

Owns that port only while the daemon does not; answers every visitor with one word and serves nobody.
"""

from __future__ import annotations

import asyncio
import errno
import secrets
from contextlib import suppress
from types import TracebackType
from typing import Self

LONGEST = 5.0
"""Seconds that a visitor may take."""


class PortTaken(Exception):
    """Somebody listens there already: the daemon, it may be hoped."""


class StandIn:
    """`async with StandIn(host, port) as stand_in:`; PortTaken or OSError where it cannot listen."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._server: asyncio.Server | None = None
        self.word = f"doctor-{secrets.token_hex(4)}"
        self.peer: str | None = None

    async def __aenter__(self) -> Self:
        try:
            self._server = await asyncio.start_server(self._serve, self._host, self._port)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PortTaken from error
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.peer = (writer.get_extra_info("peername") or ("",))[0]
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
            async with asyncio.timeout(LONGEST):
                await reader.readuntil(b"\n\n")
                writer.write(f'SET VARIABLE RECORDER_RESULT "{self.word}"\n'.encode())
                await reader.readline()
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
