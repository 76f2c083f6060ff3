"""The tests' own AMI session leaves nothing open, however Asterisk ends: what it left would fail some later test."""

from __future__ import annotations

import asyncio
import gc

import pytest

from tests.pbx.admin import Admin


async def test_a_session_that_is_given_up_before_its_greeting_leaves_nothing_open() -> None:
    done = asyncio.Event()

    async def says_nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await done.wait()
        writer.close()

    async with await asyncio.start_server(says_nothing, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await Admin.connect("127.0.0.1", port, "admin", "secret")
        gc.collect()  # a transport that is still open warns here, and warnings are errors
        done.set()
