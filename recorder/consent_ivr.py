"""The FastAGI side of the dialogue that recorder.consent describes: plays it, hears keys, lends open channels.

Owns the AGI port and nothing that is decided. The invariants: the leash is reset before every step, so that a daemon
that dies or freezes holds a caller 3 s at most; every exit is an answer or a named failure; nobody but the PBX is
served; one peer's slowness or garbage touches no other dialogue.

asyncio owns the sockets. The dialogue itself runs in a thread of its own, in the words of pyst2's AGI class: it spends
its life waiting for a human, and pyst2 has the vocabulary and the errors. `recorder.consent_ivr` alone imports it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from math import ceil
from typing import Protocol

import structlog
from asterisk.agi import AGI, AGIAppError, AGIException, AGIHangup, AGIUnknownError, AGIUsageError

from recorder.consent import Answer, Dialogue, Heard, Listen, Play
from recorder.do_not_record import NOBODY, DoNotRecord
from recorder.model import (
    CallId,
    Channel,
    ConsentState,
    Direction,
    Linkedid,
    LostReason,
    Outcome,
    Prompt,
    Uniqueid,
    Unrecorded,
)
from recorder.numbers import NumberKey

log = structlog.get_logger(__name__)

LEASH = timedelta(seconds=3)
"""What a step may take beyond its own longest time; also the dialplan's limit before our first command."""
ENVIRONMENT_LIMIT = 64 * 1024
"""Bytes of AGI environment and of any reply line: room for a number and a name of 10 kB each, and no more."""
CLOSED_WITHIN = timedelta(seconds=3)
"""How long closing waits for the visitors: as long as the longest thing that the daemon does for one."""
REFUSED_CHARACTERS = re.compile(r"[\x00-\x1f\x7f\"\\]")
"""What would end an AGI line or a quoted argument early; pyst2 escapes nothing."""
RESULT_VARIABLE = "RECORDER_RESULT"
MIXMONITOR_VARIABLE = "RECORDER_ID"
STOPS = "stops"
"""What a dialplan of this version says of itself on each call: an older one would let run what the daemon began on the
leg of a consultation and could not mute."""
TELLS = "tells"
"""What a dialplan of this version says of itself with an override key: an older one would capture and tell nobody."""


class OpenChannel(Protocol):
    """A channel that can run a MixMonitor now, lent by whoever holds it."""

    async def mixmonitor(self, arguments: str) -> str | None:
        """Run it; return the MixMonitor's id where it is known at once."""


async def _waits() -> bool:
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """A channel that came to our door, and what the dialplan said of it.

    `channel` is the caller's: of an outgoing call the callee's, of a key the far channel of the bridge.
    """

    channel: Channel
    line: str = ""
    direction: Direction = Direction.INCOMING
    language: str | None = None
    agent: str = ""  # name of the channel whose key was pressed
    reason: str = ""  # of an override, as the dialplan gives it
    waits: Callable[[], Awaitable[bool]] = field(default=_waits, repr=False, compare=False)  # whether it still does
    dialler: Channel | None = None  # who dials an outgoing call; None of a dialplan that does not say
    unrecorded: Unrecorded | None = None  # the do-not-record list that names it; the number itself goes no further
    consults: bool = False  # the leg of a consultation by the featuremap's key: who is there now will leave it
    stops: bool = False  # whether this dialplan stops on a consultation's leg what it has no word for
    tells: bool = False  # of a key: whether this dialplan tells the caller of a capture, and says what became of it
    number: str | None = field(default=None, repr=False)  # the other side's, as a keyed digest; None: withheld, no key


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """What to do for a visitor: the call it belongs to, and the dialogue to hold."""

    call: CallId
    dialogue: Dialogue


class Reception(Protocol):
    """What the daemon does for the dialogue. Every method keeps its own time limits and never raises for ours."""

    async def admit_incoming(self, visit: Visit) -> Admission | None: ...

    async def admit_outgoing(self, visit: Visit) -> Admission | None: ...

    async def refuse_busy(self, visit: Visit) -> None: ...

    def played(self, call: CallId, channel: Channel, prompt: Prompt, played_ms: int) -> None: ...

    def ended(self, call: CallId) -> None: ...

    async def conclude(self, call: CallId, channel: Channel, answer: Answer, lent: OpenChannel) -> str: ...

    def announcement(self, call: CallId) -> Mapping[str, str]: ...

    async def consulted(self, visit: Visit, lent: OpenChannel) -> Mapping[str, str]: ...

    async def key(self, visit: Visit, lent: OpenChannel) -> None: ...


# --------------------------------------------------------------------------- the wire


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    code: int
    results: Mapping[str, tuple[str, str]]  # name -> (value, what stood in brackets)


RESULT = re.compile(r"(?P<name>\w+)=(?P<value>[^\s(]*)(?:\s*\((?P<data>.*)\))?")


class AgiConnection:
    """One FastAGI connection: commands out, replies in, in step."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._turn = asyncio.Lock()

    async def environment(self) -> dict[str, str]:
        """The `agi_*` lines that Asterisk opens with. AGIHangup where the peer sends something else or nothing."""
        environment: dict[str, str] = {}
        try:
            block = await self._reader.readuntil(b"\n\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError) as error:
            raise AGIHangup("no AGI environment") from error
        for line in block.decode("utf-8", "replace").split("\n"):  # not splitlines: a name may hold U+2028 and others
            name, colon, value = line.partition(":")
            if colon and name.startswith("agi_"):
                if name in environment:
                    raise AGIHangup("an AGI environment that says a thing twice")  # a line break in a caller's name
                environment[name] = value.strip()
        if "agi_uniqueid" not in environment or "agi_channel" not in environment:
            raise AGIHangup("not an AGI environment")
        return environment

    async def command(self, line: str, within: timedelta = LEASH) -> Reply:
        """Send one command and wait for its reply. AGIHangup when the channel or the connection is gone.

        A peer that does not reply `within` its time is gone too, and one for which nobody waits any more: what it says
        later would be out of step.
        """
        if "\n" in line or "\r" in line:
            raise AGIUsageError("a command is one line")
        try:
            async with asyncio.timeout(within.total_seconds()), self._turn:
                self._writer.write(line.encode() + b"\n")
                await self._writer.drain()
                return await self._reply()
        except TimeoutError as error:
            self._writer.close()
            raise AGIHangup("no reply within the step's time") from error
        except asyncio.CancelledError:
            self._writer.close()
            raise
        except (OSError, asyncio.LimitOverrunError, ValueError) as error:
            raise AGIHangup(str(error)) from error

    async def is_there(self) -> bool:
        """Whether the dialplan still waits for us: it may have gone on long ago, while we stood still."""
        try:
            await self.command(f"GET VARIABLE {RESULT_VARIABLE}", timedelta(seconds=1))
        except AGIException:
            return False
        return True

    async def _reply(self) -> Reply:
        while True:
            line = await self._line()
            if line == "HANGUP" or line.startswith("100"):
                continue  # out of band, and progress: the reply itself is still to come
            match = re.match(r"(\d{3})([ -])(.*)", line)
            if match is None:
                raise AGIUnknownError(f"not a reply: {line[:40]!r}")
            code, more, text = int(match[1]), match[2] == "-", match[3]
            while more and code == 520:
                more = not (await self._line()).startswith("520 ")
            results = {found["name"]: (found["value"], found["data"] or "") for found in RESULT.finditer(text)}
            return Reply(code=code, results=results)

    async def _line(self) -> str:
        line = await self._reader.readline()
        if not line.endswith(b"\n"):
            raise AGIHangup("the connection ended")
        return line.decode("utf-8", "replace").strip()


def quoted(argument: str) -> str:
    """The argument in quotes; AGIUsageError where it could end them."""
    if REFUSED_CHARACTERS.search(argument):
        raise AGIUsageError("an argument holds a character that would end it early")
    return f'"{argument}"'


class BridgeAGI(AGI):  # type: ignore[misc]  # pyst2 has no types
    """pyst2's AGI over an AgiConnection of the event loop, for use in a thread.

    Overrides the three places where pyst2 0.5.1 is bound to stdin, escapes nothing and loses its place in the stream.
    """

    def __init__(self, connection: AgiConnection, loop: asyncio.AbstractEventLoop) -> None:
        # Deliberately without super().__init__, which installs a signal handler and reads the environment from stdin.
        self._connection = connection
        self._loop = loop
        self.last: Mapping[str, tuple[str, str]] = {}
        self.longest = LEASH

    def _quote(self, string: object) -> str:
        return quoted(str(string))

    def execute(self, command: str, *args: object) -> Mapping[str, tuple[str, str]]:
        """One command, within the present step's longest time and the leash."""
        line = " ".join((command, *map(str, args)))
        within = self.longest + LEASH
        future = asyncio.run_coroutine_threadsafe(self._connection.command(line, within), self._loop)
        try:
            reply = future.result((within + LEASH).total_seconds())  # a loop that has ended keeps no time
        except (TimeoutError, CancelledError) as error:
            future.cancel()
            raise AGIHangup("no reply within the step's time") from error
        if reply.code == 511:
            raise AGIHangup("the channel is dead")
        if reply.code != 200 or "result" not in reply.results:
            raise AGIUnknownError(reply.code, command)
        self.last = reply.results
        if reply.results.get("result", ("", ""))[0] == "-1":
            raise AGIAppError("error, or hangup")
        return reply.results


# --------------------------------------------------------------------------- the dialogue on a channel


def converse(agi: BridgeAGI, talk: Dialogue, played: Callable[[Prompt, int], None]) -> Answer:
    """Hold the dialogue on the channel (in a thread); AGIHangup when the caller is gone."""
    try:
        step = next(talk)
        while True:
            agi.longest = step.longest
            agi.set_variable("TIMEOUT(absolute)", ceil((step.longest + LEASH).total_seconds()))
            heard = _play(agi, step) if isinstance(step, Play) else _listen(agi, step)
            if isinstance(step, Play) and heard.played_ms is not None:
                played(step.prompt, heard.played_ms)
            step = talk.send(heard)
    except StopIteration as end:
        answer: Answer = end.value
    return answer


def _play(agi: BridgeAGI, step: Play) -> Heard:
    try:
        key = agi.stream_file(quoted(step.prompt.path), step.keys)  # pyst2 quotes the keys alone
    except AGIHangup:
        raise
    except AGIAppError:
        # A missing file and a caller who hung up look the same (result=-1): a living channel tells them apart.
        if agi.channel_status() < 0:
            raise AGIHangup("the channel is gone") from None
        return Heard(played_ms=None)
    endpos = agi.last.get("endpos", ("0", ""))[0]
    if not endpos.isdecimal():
        raise AGIUnknownError(f"not a position: {endpos[:20]!r}")
    samples = int(endpos)
    return Heard(key=key or None, played_ms=samples // 8)  # 8 samples a millisecond


def _listen(agi: BridgeAGI, step: Listen) -> Heard:
    return Heard(key=agi.wait_for_digit(round(step.longest.total_seconds() * 1000)) or None)


@dataclass(frozen=True, slots=True)
class HeldChannel:
    """The channel that the AGI itself runs on."""

    connection: AgiConnection

    async def mixmonitor(self, arguments: str) -> str | None:
        reply = await self.connection.command(f"EXEC MixMonitor {quoted(arguments)}")
        if reply.code != 200 or reply.results.get("result", ("-1", ""))[0] not in ("0", "1"):
            raise AGIAppError("MixMonitor did not start")
        found = await self.connection.command(f"GET VARIABLE {MIXMONITOR_VARIABLE}")
        return found.results.get("result", ("", ""))[1] or None


@dataclass(frozen=True, slots=True)
class HandedOver:
    """Another channel, whose own dialplan runs the MixMonitor with what we leave it in SHARED(RECORDER_ARM)."""

    connection: AgiConnection
    far: str

    async def mixmonitor(self, arguments: str) -> str | None:
        if "," in self.far or ")" in self.far:
            raise AGIUsageError("a channel name that would end an argument early")
        variable = quoted(f"SHARED(RECORDER_ARM,{self.far})")
        reply = await self.connection.command(f"SET VARIABLE {variable} {quoted(arguments)}")
        if reply.code != 200:
            raise AGIAppError("the arguments could not be handed over")
        return None


# --------------------------------------------------------------------------- the server


class ConsentIvr:
    """The AGI port: routes a visitor to its dialogue. `peers` are the only addresses that are served."""

    def __init__(
        self,
        reception: Reception,
        *,
        host: str,
        port: int,
        peers: frozenset[str],
        dialogues: int,
        lists: DoNotRecord = NOBODY,
        number_key: NumberKey | None = None,
    ) -> None:
        self._reception = reception
        self._host, self._port = host, port
        self._peers = peers
        self._lists = lists
        self._number_key = number_key
        self._places = dialogues
        self._threads = ThreadPoolExecutor(dialogues, thread_name_prefix="dialogue")
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._visits: set[asyncio.Task[None]] = set()
        self.in_progress = 0
        self.refused_peers = 0
        self.broken = 0
        self._routes = {"inbound": self._inbound, "outbound": self._outbound, "key": self._key}

    async def open(self) -> None:
        """Take the address, and nobody in yet; OSError where it cannot be had."""
        self._server = await asyncio.start_server(
            self._visit, self._host, self._port, limit=ENVIRONMENT_LIMIT, start_serving=False
        )

    async def serve(self) -> None:
        """Listen."""
        assert self._server is not None
        await self._server.start_serving()

    @property
    def port(self) -> int:
        """The port that is really listened on."""
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def close(self) -> None:
        """Take no more visitors, and end the dialogues: the dialplan goes on without a result."""
        if self._server is not None:
            self._server.close()
            for writer in self._open:
                writer.close()
            if self._visits:
                await asyncio.wait(self._visits, timeout=CLOSED_WITHIN.total_seconds())
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _visit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = (writer.get_extra_info("peername") or ("",))[0]
        task = asyncio.current_task()
        assert task is not None
        self._visits.add(task)
        self._open.add(writer)
        try:
            if peer not in self._peers:
                self.refused_peers += 1
                log.warning("agi_peer_refused", peer=peer)
                return
            await self._receive(AgiConnection(reader, writer))
        except (AGIException, TimeoutError, OSError) as error:
            log.info("agi_visit_ended", why=str(error) or type(error).__name__)
        except Exception:  # the guard of one visitor: whatever its dialogue met, the others go on
            self.broken += 1
            log.exception("agi_visit_broke")
        finally:
            self._open.discard(writer)
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
            self._visits.discard(task)

    async def _receive(self, connection: AgiConnection) -> None:
        async with asyncio.timeout(LEASH.total_seconds()):
            environment = await connection.environment()
        script = environment.get("agi_network_script", "").split("?")[0].strip("/")
        if script == "doctor":  # `recorder doctor` asks whether it is we who listen where the dialplan calls
            await connection.command(f'SET VARIABLE {RESULT_VARIABLE} "recorder"')
            return
        visit = _visit(environment, script, self._lists, self._number_key)
        if self.in_progress >= self._places and script != "key":
            await self._reception.refuse_busy(visit)
            return
        self.in_progress += 1
        try:
            await self._routes[script](connection, visit)
        finally:
            self.in_progress -= 1

    async def _inbound(self, connection: AgiConnection, visit: Visit) -> None:
        admission = await self._reception.admit_incoming(replace(visit, waits=connection.is_there))
        if admission is None:
            told = {RESULT_VARIABLE: str(Outcome.LOST)}
            if visit.consults:
                told |= await self._reception.consulted(visit, HeldChannel(connection))
            for name, value in told.items():
                await connection.command(f"SET VARIABLE {name} {quoted(value)}")
            return
        result = await self._dialogue(connection, visit.channel, admission, HeldChannel(connection))
        for name, value in self._reception.announcement(admission.call).items():
            await connection.command(f"SET VARIABLE {name} {quoted(value)}")
        await connection.command(f'SET VARIABLE {RESULT_VARIABLE} "{result}"')

    async def _outbound(self, connection: AgiConnection, visit: Visit) -> None:
        admission = await self._reception.admit_outgoing(visit)
        if admission is not None:
            await self._dialogue(connection, visit.channel, admission, HandedOver(connection, visit.channel.name))

    async def _key(self, connection: AgiConnection, visit: Visit) -> None:
        await self._reception.key(visit, HandedOver(connection, visit.channel.name))

    async def _dialogue(
        self, connection: AgiConnection, channel: Channel, admission: Admission, lent: OpenChannel
    ) -> str:
        loop = asyncio.get_running_loop()

        def played(prompt: Prompt, played_ms: int) -> None:
            loop.call_soon_threadsafe(self._reception.played, admission.call, channel, prompt, played_ms)

        agi = BridgeAGI(connection, loop)
        try:
            answer = await loop.run_in_executor(self._threads, converse, agi, admission.dialogue, played)
        except AGIHangup:
            self._reception.ended(admission.call)  # the caller is gone, or the leash has taken the channel away
            raise
        except AGIException as error:
            log.warning("dialogue_failed", call=str(admission.call), why=str(error))
            answer = Answer(consent=ConsentState.NONE, failed=LostReason.DIALOGUE_FAILED)
            return await self._reception.conclude(admission.call, channel, answer, lent)
        return await self._conclude(connection, admission.call, channel, answer, lent)

    async def _conclude(
        self, connection: AgiConnection, call: CallId, channel: Channel, answer: Answer, lent: OpenChannel
    ) -> str:
        """Take the answer; Asterisk shortens the leash meanwhile, which was sent first and is replied to first."""
        shorten = f'SET VARIABLE "TIMEOUT(absolute)" "{ceil(LEASH.total_seconds())}"'
        shortened, result = await asyncio.gather(
            connection.command(shorten),
            self._reception.conclude(call, channel, answer, lent),
            return_exceptions=True,
        )
        if isinstance(result, BaseException):
            raise result
        if isinstance(shortened, BaseException) or shortened.code != 200:  # gone just then; the answer is kept
            self._reception.ended(call)
            raise shortened if isinstance(shortened, BaseException) else AGIHangup("the channel is dead")
        return result


def _visit(
    environment: Mapping[str, str], script: str, lists: DoNotRecord, number_key: NumberKey | None = None
) -> Visit:
    """Read what recorder-inbound, recorder-outbound-leg and recorder-key-leg send; AGIHangup for anything else.

    The AGI environment names no linkedid and, on a Local leg, not the channel that matters: arguments do.
    """
    given = dict(enumerate(_arguments(environment)))
    try:
        match script:
            case "inbound":
                caller = _channel(environment["agi_channel"], environment["agi_uniqueid"], given[1])
                dialled = given.get(2) or environment.get("agi_dnid", "")
                number, presentation = environment.get("agi_callerid", ""), environment.get("agi_callingpres", "")
                return Visit(
                    channel=caller,
                    line=given[0],
                    language=environment.get("agi_language") or None,
                    unrecorded=_list_of(lists, dialled=dialled, far=number),
                    consults=given.get(3) == "yes",
                    stops=given.get(4) == STOPS,
                    number=number_key.digest(number, presentation) if number_key else None,
                )
            case "outbound":
                callee = _channel(given[0], given[2], given[3])
                name, uniqueid = given.get(5, ""), given.get(6, "")
                return Visit(
                    channel=callee,
                    line=given[1],
                    direction=Direction.OUTGOING,
                    language=environment.get("agi_language") or None,
                    dialler=_channel(name, uniqueid, callee.linkedid) if name and uniqueid else None,
                    unrecorded=_list_of(lists, far=given.get(4, ""), agent=name),
                    number=number_key.digest(given.get(4, "")) if number_key else None,
                )
            case "key":
                far = _channel(given[0], given[3], given[4])
                return Visit(channel=far, agent=given[1], reason=given[2], tells=given.get(5) == TELLS)
    except KeyError as missing:
        raise AGIHangup(f"not our dialplan: no argument {missing}") from missing
    raise AGIHangup(f"no such script: {script[:40]!r}")


def _list_of(lists: DoNotRecord, *, dialled: str = "", far: str = "", agent: str = "") -> Unrecorded | None:
    """The do-not-record list that names one of them; what was compared is forgotten here."""
    if lists.names_agent(agent):
        return Unrecorded.AGENT
    if lists.names_dialled(dialled):
        return Unrecorded.DIALLED
    return Unrecorded.NUMBER if lists.names_number(far) else None


def _arguments(environment: Mapping[str, str]) -> Iterator[str]:
    number = 1
    while (argument := environment.get(f"agi_arg_{number}")) is not None:
        yield argument
        number += 1


def _channel(name: str, uniqueid: str, linkedid: str) -> Channel:
    if not (name and uniqueid and linkedid):
        raise AGIHangup("not our dialplan: a channel without a name or an id")
    return Channel(name=name, uniqueid=Uniqueid(uniqueid), linkedid=Linkedid(linkedid))
