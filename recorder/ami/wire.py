"""The only one that speaks AMI's bytes, on panoramisk: frames in, actions out, each reply to the action that asked.

Owns one TCP connection and the replies awaited on it. It must not reconnect, log in or decide anything.
Built by subclassing panoramisk 1.4: Manager opens the connection, AMIProtocol holds the transport, Action numbers,
serialises and awaits. What is overridden, and why, stands beside each override.
Invariants: events leave in the order Asterisk wrote them; nothing a peer sends raises out of `data_received`; when the
connection ends every action still awaited ends with AmiDown, and none is ever sent twice.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from panoramisk.actions import Action
from panoramisk.ami_protocol import AMIProtocol
from panoramisk.manager import Manager

from recorder.ami.events import EOL, EVENTS, Headers, Translator, headers_from_frame
from recorder.ami.stamps import Stamps, stamp_from_frame, stamp_from_pong
from recorder.model import PbxEvent, RecorderError

FRAME_LIMIT = 1 << 20  # bytes; Asterisk's longest frames are some kilobytes
LINE_LIMIT = 1024  # bytes; Asterisk refuses longer lines (manager.c, inbuf[1025])

_END = EOL + EOL
_EVENT = b"Event: "
_ACTION_ID = EOL + b"ActionID: "
_BANNER = b"Asterisk Call Manager/"

log = structlog.get_logger(__name__)


class AmiError(RecorderError):
    """Something between us and the PBX."""

    code = "ami_error"


class AmiDown(AmiError):
    """There is no connection, or it ended before the answer came. Whether Asterisk acted is then unknown."""

    code = "ami_down"


class AmiTimeout(AmiError):
    """Asterisk did not answer in time. Whether it acted is unknown."""

    code = "ami_timeout"


class AmiRefused(AmiError):
    """Asterisk answered with an error; the text is its own."""

    code = "ami_refused"


class AmiUnsendable(AmiError):
    """A value that would break out of its header, or that Asterisk would cut. Nothing was sent."""

    code = "ami_unsendable"


@dataclass(slots=True, kw_only=True)
class AmiCounters:
    """What happened since the program started; only ever grows."""

    events: int = 0  # delivered
    ignored: int = 0  # events that nobody here needs
    malformed: int = 0  # frames that were no event and no response, or lacked a header
    callback_errors: int = 0  # events that the owner's callback raised on
    unmatched: int = 0  # responses nobody awaits any more
    connections: int = 0  # logins that succeeded
    reconnects: int = 0  # of these, after the first
    late_pings: int = 0  # not answered when the next one was due
    last_event_at: datetime | None = None  # any event, needed here or not
    stamped: bool | None = None  # whether the last event that was needed here bore Asterisk's own time


class PbxAction(Action):  # type: ignore[misc]
    """One action and its answer.

    Replaces panoramisk's reading of answers, which mistakes "successfully queued" and "Added ... to queue" for lists,
    any event named *Complete for a list's end, and never hands an error to who asked for a list.
    """

    def __init__(self, name: str, fields: Mapping[str, str], *, listing: bool = False) -> None:
        for key, value in {"Action": name, **fields}.items():
            _refuse_unsendable(key, value)
        super().__init__({"Action": name, **fields})
        self.listing = listing
        self.sent_at: datetime | None = None
        self.replies: list[Headers] = []

    def __repr__(self) -> str:
        """Its name only: panoramisk's own shows every header, the secret of a login too."""
        return f"<{self['Action']} {self.id}>"

    @property
    def answered(self) -> bool:
        """Its Response came; what follows under its ActionID are the items of the list it asked for."""
        return bool(self.replies)

    def add_message(self, reply: Headers) -> bool:
        """Take a reply; True when the answer is complete."""
        self.replies.append(reply)
        end = reply.get("eventlist", [""])[0].lower()
        if reply.get("response", ["Success"])[0] in ("Error", "Fail", "Failure") or end in ("cancelled", "canceled"):
            return self._end(AmiRefused(reply.get("message", ["no reason given"])[0]))
        if not self.listing or end == "complete":
            return self._end(None)
        return False

    def _end(self, error: AmiError | None) -> bool:
        if not self.future.done():
            if error is None:
                self.future.set_result(self.replies)
            else:
                self.future.set_exception(error)
        return True


def _refuse_unsendable(key: str, value: str) -> None:
    line = f"{key}: {value}"
    try:
        size = len(line.encode())
    except UnicodeEncodeError as error:
        raise AmiUnsendable(f"{key} is not valid text") from error
    if ":" in key or any(mark in line for mark in "\r\n\0"):
        raise AmiUnsendable(f"{key!r} or its value would break out of the header")
    if size >= LINE_LIMIT:
        raise AmiUnsendable(f"{key} is longer than Asterisk's {LINE_LIMIT} bytes")


class Wire(AMIProtocol):  # type: ignore[misc]
    """One connection's bytes. `lost` ends with the reason when the connection does."""

    def __init__(
        self,
        deliver: Callable[[PbxEvent], None],
        counters: AmiCounters,
        clock: Callable[[], datetime],
        tap: Callable[[bytes], None] | None = None,
        table: Mapping[bytes, Translator] = EVENTS,
    ) -> None:
        self.banner: str | None = None
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._deliver = deliver
        self._counters = counters
        self._clock = clock
        self._tap = tap
        self._table = table
        self.reads = 0  # how often anything came
        self._rest = b""
        self._stamps = Stamps()

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        _keep_alive(transport.get_extra_info("socket"))

    def data_received(self, data: bytes) -> None:
        """Cut frames out of the bytes: panoramisk decodes each read by itself and tears characters apart."""
        self.reads += 1
        if self._tap is not None:
            self._tap(data)
        frames = (self._rest + data).split(_END)
        self._rest = frames.pop()
        if frames:
            at = self._clock()
            if self.banner is None:
                frames[0] = self._greet(frames[0])
            for frame in frames:
                self._take(frame, at)
        if len(self._rest) > FRAME_LIMIT:
            self._counters.malformed += 1
            self.lose("oversized frame")

    def _greet(self, frame: bytes) -> bytes:
        """The banner is a line, not a frame; a peer without one is heard all the same."""
        first, _, rest = frame.partition(EOL)
        if not first.startswith(_BANNER):
            self.banner = ""
            return frame
        self.banner = first.removeprefix(_BANNER).decode("utf-8", "replace").strip()
        return rest

    def _take(self, frame: bytes, at: datetime) -> None:
        if not frame.startswith(_EVENT):
            frame = frame.lstrip()
            if not frame.startswith(_EVENT):
                self._take_response(frame, at)
                return
        if self.responses and _ACTION_ID in frame and self._take_item(frame):
            return
        self._counters.last_event_at = at
        name = frame[len(_EVENT) : frame.find(EOL)]
        translate = self._table.get(name)
        if translate is not None:
            self._tell(translate, frame, at)
            return
        self._counters.ignored += 1
        if name == b"Shutdown":
            self.lose("Asterisk is shutting down")

    def _tell(self, translate: Translator, frame: bytes, at: datetime) -> None:
        try:
            stamp = stamp_from_frame(frame)
            event = translate(frame, self._stamps.time_of(stamp, at))
        except ValueError:
            self._malformed()
            return
        if event is None:
            self._counters.ignored += 1
            return
        try:
            self._deliver(event)
        except Exception:  # the owner's fault must not cost the connection: asyncio would close it
            self._counters.callback_errors += 1
            if self._counters.callback_errors.bit_count() == 1:  # 1st, 2nd, 4th ...: a flood stays readable
                log.exception("ami_callback_failed", failures=self._counters.callback_errors)
        else:
            self._counters.events += 1
            self._counters.stamped = stamp is not None

    def _take_item(self, frame: bytes) -> bool:
        """An event under an awaited ActionID is an item of its list only after the Response; before, it is an event."""
        headers = headers_from_frame(frame)
        action = self.responses.get(headers["actionid"][0])
        if action is None or not action.answered:
            return False
        self._answer(action, headers)
        return True

    def _take_response(self, frame: bytes, at: datetime) -> None:
        if not frame:
            return
        headers = headers_from_frame(frame)
        action = self.responses.get(headers.get("actionid", [""])[0])
        if "response" not in headers:
            self._malformed()
        elif action is None:
            self._counters.unmatched += 1
        else:
            self._compare_clocks(action, headers, at)
            self._answer(action, headers)

    def _compare_clocks(self, action: PbxAction, headers: Headers, at: datetime) -> None:
        """Asterisk tells its time with every answer to a Ping."""
        if "ping" in headers and action.sent_at is not None:
            stamp = stamp_from_pong(headers.get("timestamp", [""])[0])
            if stamp is not None:
                self._stamps.pong(action.sent_at, stamp, at)

    def _answer(self, action: PbxAction, headers: Headers) -> None:
        if action.add_message(headers):
            self.responses.pop(action.id, None)

    def _malformed(self) -> None:
        self._counters.malformed += 1
        if self._counters.malformed.bit_count() == 1:
            log.warning("ami_frame_malformed", malformed=self._counters.malformed)

    def send(self, action: PbxAction) -> asyncio.Future[list[Headers]]:
        """Write an action; AmiDown where nobody would read it.

        panoramisk's own drops it silently on a closed transport, and logs a failure with the text, secret and all.
        """
        if self.lost.done() or self.transport.is_closing():
            raise AmiDown("the connection to the PBX is gone")
        self.responses[action.id] = action
        action.sent_at = self._clock()
        self.transport.write(str(action).encode())
        future: asyncio.Future[list[Headers]] = action.future
        return future

    def forget(self, action: PbxAction) -> None:
        """Whoever stops waiting says so; a late answer is then counted as unmatched."""
        self.responses.pop(action.id, None)

    def lose(self, reason: str) -> None:
        """End this connection at once, for `reason`. Does nothing the second time."""
        if not self.lost.done():
            self.lost.set_result(reason)
            self._fail_awaited(reason)
        self.transport.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        if not self.lost.done():
            reason = "closed by the PBX" if exc is None else f"{type(exc).__name__}: {exc}"
            self.lost.set_result(reason)
            self._fail_awaited(reason)

    def close(self) -> None:
        """panoramisk's own keeps unanswered actions and sends them again after a reconnect: Asterisk may act twice."""
        self.lose("closed by us")

    def _fail_awaited(self, reason: str) -> None:
        for action in self.responses.values():
            if not action.future.done():
                action.future.set_exception(AmiDown(f"unanswered: {reason}"))


def _keep_alive(sock: socket.socket | None) -> None:
    """Let the kernel notice a dead peer too: it is what frees unsent bytes when a cable is pulled."""
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 5_000)


class _Everything:
    """Holds every action: panoramisk sends again, after a reconnect, those that are not in its collection of these."""

    def __contains__(self, _: object) -> bool:
        return True


class Connection(Manager):  # type: ignore[misc]
    """panoramisk's Manager for exactly one connection: it never retries, pings or logs in by itself.

    A new one is made for each attempt, so nothing (queued actions, `authenticated`, timers) outlives a connection.
    """

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None, wire: Callable[[], Wire]) -> None:
        super().__init__(
            host=host,
            port=port,
            ssl=tls,
            loop=asyncio.get_running_loop(),
            protocol_factory=wire,
            forgetable_actions=_Everything(),
        )

    async def open(self, limit: float) -> Wire:
        """Connect within `limit` seconds, or OSError, UnicodeError (an impossible host name) or AmiTimeout."""
        try:
            async with asyncio.timeout(limit):
                opened: tuple[asyncio.Transport, Wire] = await self.connect()
        except TimeoutError as error:
            raise AmiTimeout("connect unanswered") from error
        return opened[1]

    def connection_made(self, f: asyncio.Task[Any]) -> None:
        """panoramisk's own would clear what was already read, start its pinger, and schedule a retry of its own."""
        if not f.cancelled() and f.exception() is None:
            self.protocol = f.result()[1]
