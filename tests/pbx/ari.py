"""An ARI application of the house, which hears and records channels as such applications do.

Owns its registration with Asterisk and what it asks of it, in plain HTTP and apart from the product. The test PBX has
no ARI unless `additions` are given to it.
"""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Self
from urllib.parse import quote, urlencode

from tests.pbx.server import HOST, PbxServer

APPLICATION = "house"
SECRET = secrets.token_hex(12)
MODULES = (
    "res_http_websocket",
    "res_websocket_client",  # 22; what a release lacks it skips
    "res_stasis",
    "res_stasis_answer",
    "res_stasis_playback",
    "res_stasis_recording",
    "res_stasis_snoop",
    "res_ari",
    "app_stasis",  # 22 needs res_ari for it
    "res_ari_model",
    "res_ari_applications",
    "res_ari_events",
    "res_ari_channels",
    "res_ari_bridges",
    "res_ari_recordings",
)


class AriError(Exception):
    """Asterisk refused."""


def additions(port: int) -> dict[str, str]:
    """The files with which a test PBX serves ARI at this port, on loopback alone."""
    return {
        "http.conf": f"[general]\nenabled = yes\nbindaddr = {HOST}\nbindport = {port}\n",
        "ari.conf": f"[general]\nenabled = yes\n[{APPLICATION}]\ntype = user\nread_only = no\npassword = {SECRET}\n",
        "modules.conf": "".join(f"load = {name}.so\n" for name in MODULES),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Snoop:
    """The channel with which the application hears another."""

    id: str
    name: str


class Ari:
    """`async with Ari(pbx, port) as ari:`; registered until the end."""

    def __init__(self, pbx: PbxServer, port: int) -> None:
        self.recordings = pbx.base / "spool" / "recording"  # which Asterisk does not make
        self._port = port
        token = base64.b64encode(f"{APPLICATION}:{SECRET}".encode()).decode()
        self._headers = {"Authorization": f"Basic {token}"}
        self._listening: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self.recordings.mkdir(exist_ok=True)
        reader, writer = await asyncio.open_connection(HOST, self._port)
        wanted = {
            "Host": f"{HOST}:{self._port}",
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": base64.b64encode(secrets.token_bytes(16)).decode(),
            **self._headers,
        }
        lines = [f"GET /ari/events?app={APPLICATION} HTTP/1.1", *(f"{name}: {value}" for name, value in wanted.items())]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n")
        answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        if b" 101 " not in answer:
            writer.close()
            raise AriError(answer.decode(errors="replace"))
        self._listening = asyncio.create_task(_drain(reader, writer), name="ari")
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._listening is not None
        self._listening.cancel()
        with suppress(asyncio.CancelledError):
            await self._listening

    async def snoop(self, leg: str, *, spy: str = "both", whisper: str = "none") -> Snoop:
        """Hear the channel of this uniqueid, both ways."""
        wanted = {"spy": spy, "whisper": whisper, "app": APPLICATION}
        status, said = await self.ask("POST", f"channels/{quote(leg, safe='')}/snoop", wanted)
        if status != 200:
            raise AriError(f"{status} {said}")
        return Snoop(id=str(said["id"]), name=str(said["name"]))

    async def record(self, channel: str, name: str, *, within: float = 5) -> bool:
        """Write a channel of the application's into `recordings`, as soon as it is there; False where it is gone."""
        wanted = {"name": name, "format": "wav", "ifExists": "overwrite"}
        end = time.monotonic() + within
        while time.monotonic() < end:
            status, _ = await self.ask("POST", f"channels/{quote(channel, safe='')}/record", wanted)
            if status == 201:
                return True
            if (await self.ask("GET", f"channels/{quote(channel, safe='')}"))[0] == 404:
                return False
        raise AriError(f"{channel} was not recorded: {status}")

    async def hang_up(self, channel: str) -> None:
        await self.ask("DELETE", f"channels/{quote(channel, safe='')}")

    async def ask(
        self, method: str, path: str, query: Mapping[str, str] | None = None
    ) -> tuple[int, Mapping[str, object]]:
        """The status and what it says, {} for nothing."""
        return await asyncio.to_thread(self._ask, method, f"/ari/{path}?{urlencode(query or {})}")

    def _ask(self, method: str, path: str) -> tuple[int, Mapping[str, object]]:
        connection = http.client.HTTPConnection(HOST, self._port, timeout=10)
        try:
            connection.request(method, path, headers=self._headers)
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, json.loads(text) if text else {}
        finally:
            connection.close()


async def _drain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Take what Asterisk tells the application, which asks for what it wants to know."""
    try:
        while await reader.read(65536):
            pass
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
