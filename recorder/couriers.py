"""Takes alarms out of the house: to a program of the operator's, and to a URL. The only one that speaks HTTP outwards.

Must not decide what is an alarm. The invariants: nothing that a receiver does or fails to do reaches the daemon but as
a count and a line in the log; of one alarm only the newest notice waits; no secret of ours is in a program's
environment, and none leaves but as a signature.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import signal
import ssl
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Protocol
from uuid import UUID, uuid4

import httpx2
import structlog
from tenacity import AsyncRetrying, RetryCallState, wait_exponential_jitter
from tenacity.wait import wait_base

from recorder.alarms import Notice, fields
from recorder.model import RecorderError
from recorder.settings import Alarming

log = structlog.get_logger(__name__)

WAITING_AT_MOST: Final = 32
ANSWER_WITHIN: Final = timedelta(seconds=10)
ATTEMPTS: Final = 200
"""With waits of at most MOST_BETWEEN, the better part of a day."""
MOST_BETWEEN: Final = timedelta(minutes=5)
PASSED_ON: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TZ")
"""Of our environment: the rest of it may hold secrets."""


class NotDelivered(RecorderError):
    """One attempt came to nothing; the text says why."""

    code = "not_delivered"


class Route(Protocol):
    """One way out of the house."""

    name: str
    attempts: int

    async def deliver(self, notice: Notice) -> None:
        """Deliver, within a time limit of its own; NotDelivered where that was not confirmed."""


class Hook:
    """A program that is run for each notice: once, never through a shell, its time limited."""

    name = "hook"
    attempts = 1  # what it did before it failed is not known: it is not done twice

    def __init__(self, argv: Sequence[str], limit: timedelta) -> None:
        self._argv = tuple(argv)
        self._limit = limit

    async def deliver(self, notice: Notice) -> None:
        told = fields(notice)
        try:
            process = await asyncio.create_subprocess_exec(
                *self._argv,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                env=_environment(told),
                start_new_session=True,  # so that what it has started ends with it
            )
        except (OSError, ValueError) as error:
            raise NotDelivered(f"{self._argv[0]} cannot be run: {error}") from error
        try:
            async with asyncio.timeout(self._limit.total_seconds()):
                await process.communicate(json.dumps(told).encode() + b"\n")
        except TimeoutError:
            raise NotDelivered(f"{self._argv[0]} did not end within {self._limit.total_seconds():g} s") from None
        finally:
            if process.returncode is None:  # its number is its own until it is waited for
                _end(process.pid)
                await process.wait()
        if process.returncode != 0:
            raise NotDelivered(f"{self._argv[0]} ended with {process.returncode}")


def _environment(told: Mapping[str, object]) -> dict[str, str]:
    kept = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    named = ("alarm", "kind", "occasion", "node", "text")
    ours = {f"RECORDER_ALARM_{name.upper()}": str(told[name]) for name in named}
    return {**kept, **ours, "RECORDER_ALARM_URGENT": "1" if told["urgent"] else "0"}


def _end(group: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def signature(key: bytes, timestamp: str, body: bytes) -> str:
    """`v1=` and HMAC-SHA256, in hex, of the timestamp, a full stop and the body as it is sent."""
    return "v1=" + hmac.new(key, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


class Webhook:
    """A POST of the notice in JSON, signed. An answer of 2xx delivers it; no redirect is followed."""

    name = "webhook"
    attempts = ATTEMPTS

    def __init__(
        self, url: str, key: bytes, *, clock: Callable[[], float] = time.time, within: timedelta = ANSWER_WITHIN
    ) -> None:
        self._url = url
        self._key = key
        self._clock = clock
        self._within = within.total_seconds()

    async def deliver(self, notice: Notice) -> None:
        body = json.dumps(fields(notice), separators=(",", ":")).encode()
        timestamp = str(int(self._clock()))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "recorder",
            "Recorder-Delivery": str(uuid4()),
            "Recorder-Timestamp": timestamp,
            "Recorder-Signature": signature(self._key, timestamp, body),
        }
        try:
            async with asyncio.timeout(self._within):
                status = await self._post(body, headers)
        except TimeoutError:
            raise NotDelivered(f"no answer within {self._within:g} s") from None
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            raise NotDelivered(str(error) or type(error).__name__) from error
        if not 200 <= status < 300:
            raise NotDelivered(f"the receiver answered {status}")

    async def _post(self, body: bytes, headers: Mapping[str, str]) -> int:
        """The status of the answer; its body is not read, however long it is."""
        trusted = await asyncio.to_thread(ssl.create_default_context)  # reads every authority that the system trusts
        async with (
            httpx2.AsyncClient(verify=trusted, follow_redirects=False, timeout=None) as client,
            client.stream("POST", self._url, content=body, headers=dict(headers)) as answer,
        ):
            return answer.status_code


def routes_of(told: Alarming) -> list[Route]:
    """The ways out that the settings name."""
    routes: list[Route] = []
    if told.hook is not None:
        routes.append(Hook(told.hook, timedelta(seconds=told.hook_seconds)))
    if told.webhook is not None:
        routes.append(Webhook(told.webhook, told.key()))
    return routes


@dataclass(slots=True)
class _Waiting:
    """The newest notice of an alarm, how often it was tried in vain, and the seconds until it may be tried again."""

    notice: Notice
    tried: int = 0
    rest: float = 0.0


class Courier:
    """Carries notices by one route, the newest of each alarm alone; one that is refused holds up no other."""

    def __init__(
        self,
        route: Route,
        *,
        delivered: Callable[[Notice], Awaitable[None]],
        wait: wait_base | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.route = route
        self.delivered = 0
        self.failed = 0
        self._say_delivered = delivered
        self._wait = wait or wait_exponential_jitter(initial=1, max=MOST_BETWEEN.total_seconds(), jitter=2)
        self._sleep = sleep
        self._outbox: OrderedDict[UUID, _Waiting] = OrderedDict()
        self._bell = asyncio.Event()

    @property
    def waiting(self) -> int:
        return len(self._outbox)

    def owes(self, alarm: UUID) -> bool:
        return alarm in self._outbox

    def put(self, notice: Notice) -> None:
        """Take a notice. An older one of the same alarm is not told any more: the newer one says all that it said."""
        if (waiting := self._outbox.get(notice.alarm)) is not None:
            waiting.notice = notice
        else:
            self._outbox[notice.alarm] = _Waiting(notice)
        while len(self._outbox) > WAITING_AT_MOST:
            alarm, dropped = self._outbox.popitem(last=False)
            kind = dropped.notice.kind
            self.failed += 1
            log.error("notice_given_up", route=self.route.name, alarm=str(alarm), kind=kind, why="too many wait")
        self._bell.set()

    async def run(self) -> None:
        """Deliver until cancelled. One that was refused waits behind the others."""
        while True:
            self._bell.clear()
            alarm = min(self._outbox, key=lambda alarm: self._outbox[alarm].rest, default=None)
            if alarm is None:
                await self._bell.wait()
            elif (rest := self._outbox[alarm].rest) > 0:
                await self._rest(rest)
            else:
                await self._carry(alarm)

    async def _rest(self, seconds: float) -> None:
        """Until the next one may be tried again, or a new one comes."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        sleeping, ringing = asyncio.ensure_future(self._sleep(seconds)), asyncio.ensure_future(self._bell.wait())
        try:
            await asyncio.wait({sleeping, ringing}, return_when=asyncio.FIRST_COMPLETED)
            passed = seconds if sleeping.done() else loop.time() - began
        finally:
            sleeping.cancel()
            ringing.cancel()
            await asyncio.gather(sleeping, ringing, return_exceptions=True)
        for waiting in self._outbox.values():
            waiting.rest = max(0.0, waiting.rest - passed)

    async def _carry(self, alarm: UUID) -> None:
        """Try once; the newest notice of this alarm."""
        waiting = self._outbox[alarm]
        notice = waiting.notice
        try:
            await self.route.deliver(notice)
        except NotDelivered as error:
            self.failed += 1
            log.warning("notice_not_delivered", route=self.route.name, kind=notice.kind, why=str(error))
            if self._outbox.get(alarm) is waiting:  # else it gave way to newer alarms meanwhile
                self._put_behind(alarm, waiting, error)
            return
        self.delivered += 1
        waiting.tried = 0
        if self._outbox.get(alarm) is waiting and waiting.notice is notice:
            del self._outbox[alarm]
        await self._say_delivered(notice)

    def _put_behind(self, alarm: UUID, waiting: _Waiting, error: NotDelivered) -> None:
        """To be tried again, ever later; or given up, where nobody could be told for too long."""
        waiting.tried += 1
        if waiting.tried >= self.route.attempts:
            del self._outbox[alarm]
            log.error("notice_given_up", route=self.route.name, alarm=str(alarm), why=str(error))
            return
        tried = RetryCallState(AsyncRetrying(), None, (), {})
        tried.attempt_number = waiting.tried
        waiting.rest = self._wait(tried)
        self._outbox.move_to_end(alarm)
