"""The only one that keeps a session with the PBX: connects, logs in, stays awake, comes back.

Owns the supervised loop and its state. It must not know what a call is, and repeats nothing by itself: an action that
a disconnect left unanswered ends with AmiDown, and its owner decides. Events missed while away are lost by Asterisk's
design: whoever listens asks `channels` and `bridge_members` after each `connected`, when the events flow already.
Invariants: at most one connection at a time; one retry chain; no secret in a log line.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog

from recorder.ami.actions import Actions, CoreStatus, first
from recorder.ami.events import Headers
from recorder.ami.wire import AmiCounters, AmiDown, AmiError, AmiRefused, Connection, PbxAction, Wire
from recorder.model import PbxEvent

log = structlog.get_logger(__name__)


class AmiLoginRefused(AmiRefused):
    """The PBX knows us and says no: account, secret or address. Asking again soon only gets us banned."""

    code = "ami_login_refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class AmiAddress:
    """Where the PBX is and who we are there. `tls_ca` is for a certificate that the system does not trust by itself."""

    host: str
    port: int
    username: str
    secret: str = field(repr=False)
    tls: bool = False
    tls_ca: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AmiLimits:
    """How long we wait for what."""

    connect: timedelta = timedelta(seconds=5)
    login: timedelta = timedelta(seconds=10)  # Asterisk itself sleeps 1 s before it refuses
    action: timedelta = timedelta(seconds=5)
    ping_every: timedelta = timedelta(seconds=1)  # also what wakes a sleeping AMI session (asterisk issue 2145)
    pings_unanswered: int = 3  # of a PBX that says nothing else
    pings_in_vain: int = 10  # of one that says something: it is late, and a new connection would be later
    retry_first: timedelta = timedelta(milliseconds=250)
    retry_longest: timedelta = timedelta(seconds=5)  # while we are blind calls go by unrecorded
    retry_refused: timedelta = timedelta(seconds=30)  # after a login that the PBX refused
    steady: timedelta = timedelta(seconds=10)  # a connection that lasted this long starts the back-off anew


@dataclass(frozen=True, slots=True, kw_only=True)
class PbxFacts:
    """What a new connection found. `core` is None where the account may not ask (write=reporting is missing).

    `restarted`: Asterisk is not the process we last spoke to, so every capture of before has ended.
    """

    at: datetime
    banner: str
    core: CoreStatus | None
    restarted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AmiState:
    """`since` is when it came up or went down; `reason` is why it is down; `facts` are the latest known."""

    connected: bool
    since: datetime
    facts: PbxFacts | None
    reason: str | None


def backoff(attempt: int, limits: AmiLimits, spread: float) -> float:
    """Seconds to wait before trying again, for the `attempt`-th time from 0: doubling, capped; `spread` 0 halves it."""
    longest = limits.retry_longest.total_seconds()
    doubled = limits.retry_first.total_seconds() * 2.0 ** min(attempt, 30)
    return min(longest, doubled) * (0.5 + spread / 2)


def _nothing(_: object) -> None:
    """The hook of an owner who does not care."""


class Ami(Actions):
    """The PBX, as far as AMI shows it.

    `deliver` gets every event, in order, from inside the read: it may only put it somewhere. `connected` is called when
    the login is through and the facts are known, `disconnected` when that ends and once for each new reason while it
    stays so; neither may block. `tap` gets the raw bytes as read, for writing scenarios down; they hold phone numbers.
    """

    def __init__(
        self,
        address: AmiAddress,
        deliver: Callable[[PbxEvent], None],
        *,
        connected: Callable[[PbxFacts], None] = _nothing,
        disconnected: Callable[[str], None] = _nothing,
        limits: AmiLimits | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        pause: Callable[[float], Awaitable[object]] = asyncio.sleep,
        spread: Callable[[], float] = random.random,
        tap: Callable[[bytes], None] | None = None,
    ) -> None:
        self.counters = AmiCounters()
        self._address = address
        self._deliver = deliver
        self._connected = connected
        self._disconnected = disconnected
        self._limits = limits or AmiLimits()
        self.action_limit = self._limits.action
        self._clock = clock
        self._pause = pause
        self._spread = spread
        self._tap = tap
        self._state = AmiState(connected=False, since=clock(), facts=None, reason=None)
        self._wire: Wire | None = None
        self._unanswered_pings = 0
        self.heard_at = clock()  # the last sign of life: a login or an answered ping
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def state(self) -> AmiState:
        return self._state

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self.run(), name="ami")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Stop for good; no retry survives. A bug that ended `run` is raised here."""
        self._closed = True
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            task.result()

    async def run(self) -> None:
        """Keep a session until cancelled or closed. Only bugs are raised."""
        self._task = asyncio.current_task()
        attempt = 0
        while not self._closed:
            before = self.counters.connections
            try:
                await self._session()
            except AmiLoginRefused as error:
                self._down(error)
                await self._pause(self._limits.retry_refused.total_seconds())
                continue
            except (AmiError, OSError, UnicodeError) as error:
                self._down(error)
            except asyncio.CancelledError:
                if self._state.connected:
                    self._down(AmiDown("closed by us"))
                raise
            if self.counters.connections > before and self._was_steady:
                attempt = 0
            await self._pause(backoff(attempt, self._limits, self._spread()))
            attempt += 1

    async def _session(self) -> None:
        """One connection, from open to lost; always ends by raising."""
        tls = ssl.create_default_context(cafile=self._address.tls_ca) if self._address.tls else None
        connection = Connection(self._address.host, self._address.port, tls, self._new_wire)
        try:
            wire = await connection.open(self._limits.connect.total_seconds())
            await self._log_in(wire)
            self._up(await self._find_facts(wire), wire)
            await self._stay_awake(wire)
        finally:
            connection.close()
            self._wire = None

    def _new_wire(self) -> Wire:
        return Wire(self._deliver, self.counters, self._clock, self._tap)

    async def _log_in(self, wire: Wire) -> None:
        """The secret itself crosses only an encrypted connection, and nothing talks us out of that."""
        credentials = {"Secret": self._address.secret} if self._address.tls else await self._meet_challenge(wire)
        login = {"Username": self._address.username, "Events": "on", **credentials}
        try:
            await self._ask(wire, "Login", login, limit=self._limits.login)
        except AmiRefused as error:
            if "shutting down" in str(error):
                raise
            raise AmiLoginRefused(str(error)) from error

    async def _meet_challenge(self, wire: Wire) -> dict[str, str]:
        (reply,) = await self._ask(wire, "Challenge", {"AuthType": "MD5"}, limit=self._limits.login)
        proof = first(reply, "challenge") + self._address.secret
        key = hashlib.md5(proof.encode(), usedforsecurity=False).hexdigest()  # AMI knows no other digest
        return {"AuthType": "MD5", "Key": key}

    async def _find_facts(self, wire: Wire) -> PbxFacts:
        try:
            core = await self._core_status(wire)
        except AmiRefused:
            core = None
        known = self._state.facts.core if self._state.facts else None
        return PbxFacts(
            at=self._clock(),
            banner=wire.banner or "",
            core=core,
            restarted=known is not None and core is not None and core.started != known.started,
        )

    async def _stay_awake(self, wire: Wire) -> None:
        """A ping each second, whether or not the last was answered: any input wakes a session that Asterisk forgot."""
        self._unanswered_pings = silent = 0
        while not wire.lost.done():
            is_silent = silent >= self._limits.pings_unanswered
            most = self._limits.pings_unanswered if is_silent else self._limits.pings_in_vain
            if self._unanswered_pings >= most:
                wire.lose(f"{self._unanswered_pings} pings unanswered")
                break
            if self._unanswered_pings:
                self.counters.late_pings += 1
            self._unanswered_pings += 1
            reads = wire.reads
            wire.send(PbxAction("Ping", {})).add_done_callback(self._pong)
            await asyncio.wait({wire.lost}, timeout=self._limits.ping_every.total_seconds())
            silent = silent + 1 if wire.reads == reads else 0
        raise AmiDown(wire.lost.result())

    def _pong(self, answer: asyncio.Future[list[Headers]]) -> None:
        if not answer.cancelled() and answer.exception() is None:
            self._unanswered_pings = 0
            self.heard_at = self._clock()

    @property
    def _was_steady(self) -> bool:
        facts = self._state.facts
        return facts is not None and self._clock() - facts.at >= self._limits.steady

    def clock_set(self, by: timedelta) -> None:
        """Our clock was set: the last sign of life came so long ago as before."""
        self.heard_at += by

    def _up(self, facts: PbxFacts, wire: Wire) -> None:
        self.counters.connections += 1
        self.counters.reconnects = self.counters.connections - 1
        self._state = AmiState(connected=True, since=facts.at, facts=facts, reason=None)
        self.heard_at = facts.at
        self._wire = wire
        version = facts.core.version if facts.core else None
        log.info("pbx_connected", banner=facts.banner, version=version, restarted=facts.restarted)
        self._connected(facts)

    def _down(self, error: Exception) -> None:
        reason = f"{getattr(error, 'code', type(error).__name__)}: {error}"
        if not self._state.connected and self._state.reason == reason:
            return
        since = self._clock() if self._state.connected else self._state.since
        self._state = AmiState(connected=False, since=since, facts=self._state.facts, reason=reason)
        log.warning("pbx_disconnected", reason=reason)
        self._disconnected(reason)

    def _usable(self) -> Wire:
        if self._wire is None:
            raise AmiDown(self._state.reason or "not connected yet")
        return self._wire
