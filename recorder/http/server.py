"""uvicorn as a task of the daemon: our signals, our socket, our end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Final

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The daemon handles signals itself; uvicorn's own handlers would end the process on their own terms."""
        yield


CONNECTIONS_MOST: Final = 400
"""Of the daemon's file descriptors, the rest of which belongs to callers."""
WHOLE_WITHIN: Final = 10.0
"""Seconds in which a connection must have brought a whole request's headers, its first one or its next."""


class _Connection(H11Protocol):
    """Ends by itself where too many are open, or where nothing whole comes."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._looked_at: object = None
        self._look_again()
        if len(self.connections) > CONNECTIONS_MOST:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        super().connection_lost(exc)

    def _look_again(self) -> None:
        self._timer = self.loop.call_later(WHOLE_WITHIN, self._look)

    def _look(self) -> None:
        """`cycle` is the request that came last: the same one, answered, as at the last look is no life.

        What is still being read from us goes out first.
        """
        is_served = self.cycle is not None and not (self.cycle.response_complete or self.cycle.more_body)
        is_written = self.transport.get_write_buffer_size() == 0
        if not is_served and is_written and self.cycle is self._looked_at:
            self.transport.abort()
            return
        self._looked_at = self.cycle
        self._look_again()


class HttpServer:
    """Serves `app` on a socket that is bound before anything else starts. OSError where it cannot be had."""

    def __init__(self, app: FastAPI, host: str, port: int) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((host, port))
        except OSError:
            self._socket.close()
            raise
        config = uvicorn.Config(
            app,
            http=_Connection,
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=2,
        )
        self._server = _Server(config)

    @property
    def port(self) -> int:
        port: int = self._socket.getsockname()[1]
        return port

    async def run(self) -> None:
        """Serve until `stop`."""
        await self._server.serve(sockets=[self._socket])

    def stop(self) -> None:
        self._server.should_exit = True
