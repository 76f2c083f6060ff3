"""A wire that can be cut, frozen, slowed and soiled: a TCP relay on loopback between two real programs."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Self


class Wire:
    """Relays every connection to `host:port`. `cut()` ends all and refuses new ones until `mend()`.

    `freeze()` keeps every connection, takes new ones, and passes nothing on until `thaw()`; `delay` is how many seconds
    each block lies on the way.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._whole = True
        self._flows = asyncio.Event()
        self._flows.set()
        self._near: set[asyncio.StreamWriter] = set()  # towards whoever connected to us
        self._halves = False
        self.delay = 0.0
        self.port = 0
        self.connections = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.cut()
        self.thaw()
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    def cut(self) -> None:
        self._whole = False
        for writer in self._open:
            writer.transport.abort()

    def mend(self) -> None:
        self._whole = True

    def freeze(self) -> None:
        self._flows.clear()

    def thaw(self) -> None:
        self._flows.set()

    def soil(self, what: bytes) -> None:
        """Say this to whoever is connected, as if it came from the other end."""
        for writer in self._near:
            writer.write(what)

    def halve(self) -> None:
        """Pass on half of the next block from the other end, and cut every connection there."""
        self._halves = True

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._whole:
            writer.transport.abort()
            return
        self.connections += 1
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        self._open |= {writer, far_writer}
        self._near.add(writer)
        try:
            await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
        finally:
            self._open -= {writer, far_writer}
            self._near.discard(writer)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while block := await reader.read(65536):
                await self._flows.wait()
                if self.delay:
                    await asyncio.sleep(self.delay)
                if self._halves and writer in self._near:
                    self._halves = False
                    writer.write(block[: max(1, len(block) // 2)])
                    await writer.drain()
                    for open_writer in (*self._near, *self._open):
                        open_writer.close()
                    return
                writer.write(block)
                await writer.drain()
        writer.close()
