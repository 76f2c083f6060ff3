"""A PBX that speaks AMI's bytes on a loopback socket and does what a test tells it: right, wrong, late, or not at all.

It knows nothing of the product: it was written from Asterisk's sources (main/manager.c and others, 16.28 and 22.10), so
that a mistake of the product about AMI is not repeated here. The contract in tests/edge/ami_contract.py holds for this
and for a real Asterisk.
"""

from __future__ import annotations

import asyncio
import hashlib
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

EOL = b"\r\n"

Action = Mapping[str, str]
Answer = Callable[[Action], bytes | None]  # None: no answer at all


def frame(*headers: tuple[str, object]) -> bytes:
    """Headers as Asterisk writes them, blank line included."""
    return b"".join(f"{name}: {value}\r\n".encode() for name, value in headers) + EOL


def snapshot(name: str, uniqueid: str, linkedid: str, prefix: str = "") -> list[tuple[str, object]]:
    """A channel as manager_channels.c shows it in every event."""
    headers: dict[str, object] = {
        "Channel": name,
        "ChannelState": 6,
        "ChannelStateDesc": "Up",
        "CallerIDNum": "<unknown>",
        "CallerIDName": "<unknown>",
        "ConnectedLineNum": "<unknown>",
        "ConnectedLineName": "<unknown>",
        "Language": "en",
        "AccountCode": "",
        "Context": "inbound",
        "Exten": "s",
        "Priority": 1,
        "Uniqueid": uniqueid,
        "Linkedid": linkedid,
    }
    return [(prefix + key, value) for key, value in headers.items()]


def event(name: str, *headers: tuple[str, object], privilege: str = "call,all") -> bytes:
    return frame(("Event", name), ("Privilege", privilege), *headers)


def response(action: Action, kind: str, message: str | None = None, *headers: tuple[str, object]) -> bytes:
    said = [("Message", message)] if message is not None else []
    return frame(("Response", kind), ("ActionID", action.get("ActionID", "")), *said, *headers)


def listing(action: Action, items: Sequence[tuple[str, list[tuple[str, object]]]], complete: str) -> bytes:
    """A whole list: the acknowledgement, the items, the end."""
    token = ("ActionID", action.get("ActionID", ""))
    start = response(action, "Success", "List will follow", ("EventList", "start"))
    body = b"".join(frame(("Event", name), *headers, token) for name, headers in items)
    return start + body + frame(("Event", complete), token, ("EventList", "Complete"), ("ListItems", len(items)))


@dataclass(kw_only=True)
class FakeChannel:
    name: str
    uniqueid: str
    linkedid: str
    bridge: str = ""
    application: str = "Wait"
    data: str = ""
    variables: dict[str, str] = field(default_factory=dict)

    def headers(self) -> list[tuple[str, object]]:
        return snapshot(self.name, self.uniqueid, self.linkedid)


class FakePbx:
    """Change an attribute and it behaves so from then on.

    `answers` overrides what an action is answered with, by its name; `actions` is everything received, in order.
    """

    username = "recorder"

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.host = "127.0.0.1"
        self.port = 0
        self.secret = "correct horse"
        self.banner = b"Asterisk Call Manager/11.0.0\r\n"
        self.started = ("2026-11-21", "08:00:00")
        self.channels: list[FakeChannel] = []
        self.answers: dict[str, Answer] = {}
        self.globals: dict[str, str] = {}
        self.functions: dict[str, str] = {}  # what a dialplan function comes to, without a channel
        self.actions: list[dict[str, str]] = []
        self.accepted = 0  # TCP connections ever
        self.logins = 0  # that succeeded
        self._frozen = False
        self._writers: list[asyncio.StreamWriter] = []  # of those logged in
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Condition()
        self._server: asyncio.Server | None = None
        self._tls = tls

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, self.host, self.port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Refuse new connections and cut the open ones, as a PBX that goes away does."""
        if self._server is not None:
            self._server.close()
        self.cut()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def start_again(self) -> None:
        """Listen on the same port as before."""
        self._server = await asyncio.start_server(self._serve, self.host, self.port, ssl=self._tls)

    # ------------------------------------------------------------------ what a test says

    def say(self, data: bytes) -> None:
        """Bytes to everybody logged in, as they are."""
        for writer in self._writers:
            writer.write(data)

    def cut(self) -> None:
        """The connection is gone, with whatever was not delivered."""
        for writer in tuple(self._open):
            writer.transport.abort()

    def freeze(self) -> None:
        """Take everything, answer nothing, close nothing."""
        self._frozen = True

    def thaw(self) -> None:
        self._frozen = False

    def received(self, name: str) -> list[dict[str, str]]:
        return [action for action in self.actions if action.get("Action") == name]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until what this PBX saw makes `condition` true; ten seconds at most."""
        async with asyncio.timeout(10), self._changed:
            await self._changed.wait_for(condition)

    async def until_received(self, name: str, times: int = 1) -> None:
        await self.until(lambda: len(self.received(name)) >= times)

    async def until_logins(self, times: int) -> None:
        await self.until(lambda: self.logins >= times)

    # ------------------------------------------------------------------ what the contract asks of any PBX

    async def start_channel(self) -> str:
        number = len(self.channels) + 1
        uniqueid = f"1795298000.{number}"
        channel = FakeChannel(name=f"Local/caller@test-{number:08x};1", uniqueid=uniqueid, linkedid=uniqueid)
        self.channels.append(channel)
        return channel.name

    async def hang_up(self, name: str) -> None:
        channel = self._find(name)
        assert channel is not None
        self.channels.remove(channel)
        self.say(event("Hangup", *channel.headers(), ("Cause", 16), ("Cause-txt", "Normal Clearing")))

    async def raise_user_event(self, channel: str, name: str, fields: Mapping[str, str]) -> None:
        found = self._find(channel)
        assert found is not None
        headers = [*found.headers(), ("UserEvent", name), *fields.items()]
        self.say(event("UserEvent", *headers, privilege="user,all"))

    # ------------------------------------------------------------------ the protocol

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._open.add(writer)
        self.accepted += 1
        await self._notify()
        try:
            writer.write(self.banner)
            while True:
                action = _action_from_lines(await reader.readuntil(EOL + EOL))
                self.actions.append(action)
                await self._notify()
                if not self._frozen:
                    await self._answer(action, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._open.discard(writer)
            if writer in self._writers:
                self._writers.remove(writer)
            writer.transport.abort()
            self._tasks.discard(task)

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _answer(self, action: Action, writer: asyncio.StreamWriter) -> None:
        name = action.get("Action", "")
        if name in self.answers:
            said = self.answers[name](action)
        elif name == "Login":
            said = self._log_in(action, writer)
        else:
            said = self._usual(name, action)
        if said is not None:
            writer.write(said)
        if name == "Login" and writer in self._writers:
            self.logins += 1
            await self._notify()

    def _log_in(self, action: Action, writer: asyncio.StreamWriter) -> bytes:
        key = hashlib.md5(f"314159{self.secret}".encode()).hexdigest()
        proved = action.get("Key") == key or action.get("Secret") == self.secret
        if action.get("Username") != self.username or not proved:
            return response(action, "Error", "Authentication failed")
        self._writers.append(writer)
        return response(action, "Success", "Authentication accepted")

    def usually(self, name: str) -> Callable[[Action], bytes]:
        """What an action is answered with where `answers` says nothing, for an answer of a test's own to build on."""
        return lambda action: self._usual(name, action)

    def _usual(self, name: str, action: Action) -> bytes:
        answers: dict[str, Answer] = {
            "Challenge": lambda a: response(a, "Success", None, ("Challenge", "314159")),
            "Ping": lambda a: response(a, "Success", None, ("Ping", "Pong"), ("Timestamp", f"{time.time():.6f}")),
            "CoreStatus": self._core_status,
            "CoreSettings": lambda a: response(
                a, "Success", None, ("AMIversion", "11.0.0"), ("AsteriskVersion", "22.10.1")
            ),
            "Status": self._status,
            "Getvar": self._getvar,
            "Setvar": self._setvar,
            "StopMixMonitor": self._on_channel,
            "MixMonitorMute": self._on_channel,
            "BridgeInfo": self._bridge_info,
            "QueueStatus": self._queue_status,
        }
        known = answers.get(name)
        return known(action) if known else response(action, "Error", "Permission denied")  # type: ignore[return-value]

    def _core_status(self, action: Action) -> bytes:
        date, time = self.started
        return response(action, "Success", None, ("CoreStartupDate", date), ("CoreStartupTime", time))

    def _find(self, name: str) -> FakeChannel | None:
        return next((channel for channel in self.channels if channel.name == name), None)

    def _status(self, action: Action) -> bytes:
        wanted = [name for name in action.get("Variables", "").split(",") if name]
        items = []
        for channel in self.channels:
            if action.get("Channel", channel.name) != channel.name:
                continue
            known = {"CHANNEL(onhold)": "0"} | channel.variables
            variables = [("Variable", f"{name}={known.get(name, '(null)')}") for name in wanted]
            headers = [
                *channel.headers(),
                ("BridgeID", channel.bridge),
                ("Application", channel.application),
                ("Data", channel.data),
                *variables,
            ]
            items.append(("Status", headers))
        return listing(action, items, "StatusComplete")

    def _getvar(self, action: Action) -> bytes:
        if "Channel" not in action:  # a dialplan function by itself
            worth = self.functions.get(action["Variable"], "0")
            return response(action, "Success", None, ("Variable", action["Variable"]), ("Value", worth))
        channel = self._find(action["Channel"])
        if channel is None:
            return response(action, "Error", "No such channel")
        variable = action["Variable"]
        return response(action, "Success", None, ("Variable", variable), ("Value", channel.variables.get(variable, "")))

    def _setvar(self, action: Action) -> bytes:
        if "Channel" not in action:
            self.globals[action["Variable"]] = action["Value"]
            return response(action, "Success", "Variable Set")
        channel = self._find(action["Channel"])
        if channel is None:
            return response(action, "Error", "No such channel")
        channel.variables[action["Variable"]] = action["Value"]
        return response(action, "Success", "Variable Set")

    def _on_channel(self, action: Action) -> bytes:
        if self._find(action["Channel"]) is None:
            return response(action, "Error", "No such channel")
        return response(action, "Success")

    def _bridge_info(self, action: Action) -> bytes:
        members = [channel for channel in self.channels if channel.bridge == action["BridgeUniqueid"]]
        if not members:
            return response(action, "Error", "Specified BridgeUniqueid not found")
        return listing(action, [("BridgeInfoChannel", channel.headers()) for channel in members], "BridgeInfoComplete")

    def _queue_status(self, action: Action) -> bytes:
        member: list[tuple[str, object]] = [
            ("Queue", "support"),
            ("Name", "Ada"),
            ("Location", "Local/agent@agents/n"),
            ("InCall", 0),
            ("Paused", 0),
        ]
        caller: list[tuple[str, object]] = [
            ("Queue", "support"),
            ("Position", 1),
            ("Channel", "PJSIP/caller-00000001"),
            ("Uniqueid", "1795298000.9"),
            ("Wait", 7),
        ]
        queue: list[tuple[str, object]] = [("Queue", "support"), ("Max", 0)]
        items = [("QueueParams", queue), ("QueueMember", member), ("QueueEntry", caller)]
        return listing(action, items, "QueueStatusComplete")


def _action_from_lines(data: bytes) -> dict[str, str]:
    pairs = (line.partition(": ") for line in data.decode().split("\r\n") if line)
    return {name: value for name, _, value in pairs}
