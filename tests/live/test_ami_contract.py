"""The AMI contract, held against a real Asterisk under the account that the product documents."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

import pytest

from tests.edge.ami_contract import *  # noqa: F403
from tests.pbx.admin import Admin
from tests.pbx.server import PbxServer

pytestmark = pytest.mark.live

CONTEXT = "ami-contract"


class RealPbx:
    """An Asterisk with an administrator who starts channels and has their dialplan raise events."""

    def __init__(self, server: PbxServer, admin: Admin) -> None:
        self.host = server.host
        self.port = server.ports.ami
        self.username = server.recorder_user
        self.secret = server.recorder_secret
        self._admin = admin

    async def prepare(self) -> None:
        await self._line("far", 1, "Answer", "")
        await self._line("far", 2, "Wait", "60")

    async def _line(self, extension: str, priority: int, application: str, data: str) -> None:
        line = {"Context": CONTEXT, "Extension": extension, "Priority": str(priority), "Replace": "yes"}
        await self._admin.action("DialplanExtensionAdd", {**line, "Application": application, "ApplicationData": data})

    async def start_channel(self) -> str:
        since = self._admin.mark()
        asked = {"Channel": f"Local/far@{CONTEXT}/n", "Application": "Wait", "Data": "60", "Async": "true"}
        await self._admin.action("Originate", asked)
        waiting = await self._admin.until("Newexten", since=since, Application="Wait", AppData="60")
        there = await self._admin.until(
            lambda event: event.name == "Newchannel" and event["Linkedid"] == waiting["Linkedid"], since=since
        )
        return there["Channel"]

    async def hang_up(self, name: str) -> None:
        await self._admin.action("Hangup", {"Channel": name})

    async def raise_user_event(self, channel: str, name: str, fields: Mapping[str, str]) -> None:
        since = self._admin.mark()
        told = ",".join([name, *(f"{key}: {value}" for key, value in fields.items())])
        await self._line(name, 1, "UserEvent", told)
        await self._line(name, 2, "Wait", "60")
        there = {"Channel": channel, "Context": CONTEXT, "Exten": name, "Priority": "1"}
        await self._admin.action("Redirect", there)
        await self._admin.until(name, since=since)


@pytest.fixture
async def pbx() -> AsyncIterator[RealPbx]:
    async with PbxServer() as server, await server.admin() as admin:
        real = RealPbx(server, admin)
        await real.prepare()
        yield real
