"""The tests' own AMI connection, on plain asyncio streams and independent of the product's.

Owns one session of the account `admin`: actions, every event since login, and waiting for what is still to come.
Decides nothing about calls.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Self

HEADER_END = b"\r\n\r\n"


class AdminError(Exception):
    """Asterisk answered an action with an error, or ended the session."""


class Event(dict[str, str]):
    """One AMI packet, header by header (the last of a repeated one); `lines` has them all, `at` is time.monotonic()."""

    def __init__(self, lines: list[str], at: float) -> None:
        super().__init__((key, value.strip()) for key, _, value in (line.partition(":") for line in lines))
        self.lines = lines
        self.at = at

    @property
    def name(self) -> str:
        """The event's name, of a UserEvent its own; empty for a response."""
        return self.get("UserEvent") or self.get("Event", "")

    def is_(self, name: str, **headers: str) -> bool:
        return self.name == name and all(self.get(key) == value for key, value in headers.items())


Matcher = Callable[[Event], bool]

NOISE = tuple(
    f"Event: {name}".encode()
    for name in ("RTCP", "TestEvent", "NewConnectedLine", "NewCallerid", "NewAccountCode", "DeviceState", "VarSet")
)
"""Two thirds of all events, and nothing that anybody waits for: a test that leads many calls would fall behind."""


class Admin:
    """Connect with `await Admin.connect(...)`; close when done. `events` is everything seen, in order."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.events: list[Event] = []
        self.closed = False
        self._closing = False
        self._reader, self._writer = reader, writer
        self._ids = itertools.count(1)
        self._answers: dict[str, asyncio.Future[Event]] = {}
        self._waiting: list[tuple[Matcher, asyncio.Future[Event]]] = []
        self._tasks: list[asyncio.Task[None]] = []

    @classmethod
    async def connect(cls, host: str, port: int, username: str, secret: str) -> Self:
        """Log in; AdminError where Asterisk refuses, OSError where nobody listens."""
        reader, writer = await asyncio.open_connection(host, port, limit=1 << 22)
        admin = cls(reader, writer)
        try:
            banner = await reader.readline()
            if not banner.startswith(b"Asterisk Call Manager"):
                raise AdminError(f"no AMI at {host}:{port}: {banner!r}")
            admin._tasks.append(asyncio.create_task(admin._read(), name="admin-read"))
            await admin.action("Login", {"Username": username, "Secret": secret})
        except BaseException:  # an Asterisk that dies now leaves nothing of ours open
            await admin.close()
            raise
        admin._tasks.append(asyncio.create_task(admin._ping(), name="admin-ping"))
        return admin

    async def close(self) -> None:
        self._closing = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # ---------------------------------------------------------------- actions

    async def action(
        self,
        action: str,
        headers: Mapping[str, str] | None = None,
        *,
        variables: Mapping[str, str] | None = None,
        timeout: float = 10,
    ) -> Event:
        """Send one action and return its response; AdminError where that is an error."""
        headers = headers or {}
        given = itertools.chain(headers.items(), (("Variable", f"{k}={v}") for k, v in (variables or {}).items()))
        answer = await self._send(action, given, timeout)
        if answer.get("Response") == "Error":
            raise AdminError(f"{action} {headers}: {answer.get('Message')}")
        return answer

    async def command(self, text: str) -> list[str]:
        """The output lines of a command of Asterisk's command line."""
        answer = await self._send("Command", [("Command", text)], 10)
        return [line.partition(":")[2].removeprefix(" ") for line in answer.lines if line.startswith("Output:")]

    async def variable(self, name: str, channel: str = "") -> str:
        """A variable or function, of a channel or global; "" where it is unset."""
        given = {"Channel": channel} if channel else {}
        return (await self.action("Getvar", {"Variable": name, **given})).get("Value", "")

    async def channels(self) -> list[str]:
        """Names of all channels that exist now."""
        return [line.partition("!")[0] for line in await self.command("core show channels concise") if "!" in line]

    async def _send(self, action: str, headers: Iterable[tuple[str, str]], timeout: float) -> Event:
        key = f"admin-{next(self._ids)}"
        lines = [f"Action: {action}", f"ActionID: {key}", *(f"{name}: {value}" for name, value in headers)]
        if any("\r" in line or "\n" in line for line in lines):
            raise ValueError(f"a line break inside an AMI header: {lines}")
        answer = self._answers[key] = asyncio.get_running_loop().create_future()
        try:
            self._writer.write("\r\n".join(lines).encode() + HEADER_END)
            await self._writer.drain()
            async with asyncio.timeout(timeout):
                response: Event = await answer
                return response
        finally:
            del self._answers[key]

    # ---------------------------------------------------------------- events

    async def until(self, wanted: str | Matcher, *, since: int = 0, timeout: float = 10, **headers: str) -> Event:
        """The first event from `events[since]` on, past or to come, that fits; TimeoutError after `timeout` s.

        `wanted` is an event's (or UserEvent's) name together with headers that must be equal, or a predicate.
        """
        fits = wanted if callable(wanted) else lambda event: event.is_(wanted, **headers)
        past = next((event for event in itertools.islice(self.events, since, None) if fits(event)), None)
        if past is not None:
            return past
        if self.closed:
            raise AdminError("Asterisk ended the session")
        waiting = (fits, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        try:
            async with asyncio.timeout(timeout):
                event: Event = await waiting[1]
                return event
        except TimeoutError:
            last = ", ".join(event.name for event in self.events[-12:])
            raise TimeoutError(f"no {wanted} {headers} within {timeout} s; last events: {last}") from None
        finally:
            self._waiting.remove(waiting)

    def seen(self, name: str, *, since: int = 0, **headers: str) -> list[Event]:
        """All events of a name so far, with the given headers."""
        return [event for event in self.events[since:] if event.is_(name, **headers)]

    def mark(self) -> int:
        """A place in `events` to wait or look from."""
        return len(self.events)

    async def _read(self) -> None:
        try:
            while True:
                packet = await self._reader.readuntil(HEADER_END)
                if not packet.startswith(NOISE):
                    self._take(Event(packet.decode(errors="replace").rstrip("\r\n").split("\r\n"), time.monotonic()))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.closed = True
            for answer in self._answers.values():
                if not answer.done():
                    answer.set_exception(AdminError("Asterisk ended the session"))
            for _, future in self._waiting:
                if not future.done():
                    future.set_exception(AdminError("Asterisk ended the session"))

    def _take(self, packet: Event) -> None:
        answer = self._answers.get(packet.get("ActionID", ""))
        if "Response" in packet and "Event" not in packet and answer and not answer.done():
            answer.set_result(packet)
        elif "Event" in packet:
            self.events.append(packet)
            for fits, future in self._waiting:
                if not future.done() and fits(packet):
                    future.set_result(packet)

    async def _ping(self) -> None:
        """Input wakes Asterisk's session: without it events may lie there for seconds (asterisk issue 2145)."""
        with contextlib.suppress(AdminError, OSError):
            while not self._closing:  # a cancellation that meets an answer may be lost (wait_for of Python 3.11)
                await asyncio.sleep(0.5)
                with contextlib.suppress(TimeoutError):
                    await self._send("Ping", (), 10)


async def until(condition: Callable[[], Awaitable[bool] | bool], *, timeout: float = 10, every: float = 0.02) -> None:
    """Return as soon as `condition()` holds; TimeoutError after `timeout` seconds. For what no event tells of."""
    end = time.monotonic() + timeout
    while True:
        held = condition()
        if held if isinstance(held, bool) else await held:
            return
        if time.monotonic() > end:
            raise TimeoutError(f"{getattr(condition, '__name__', condition)} did not hold within {timeout} s")
        await asyncio.sleep(every)
