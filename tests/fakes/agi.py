"""A channel that runs AGI() as Asterisk does over TCP: sends its environment, answers commands by what a test says.

It knows nothing of the product: it was written from Asterisk's res/res_agi.c (16.28 and 22.10), so that a mistake of
the product about AGI is not repeated here. Right, wrong, late, byte by byte, or not at all.
"""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

Answer = bytes | None  # None: no answer at all
Answerer = Callable[[str], Answer]

OK = b"200 result=0\n"
DONE = b"200 result=1\n"
DEAD = b"511 Command Not Permitted on a dead channel or intercept routine\n"
USAGE = (
    b"520-Invalid command syntax.  Proper usage follows:\n"
    b" Usage: STREAM FILE <filename> <escape digits> [sample offset]\n"
    b"   200 result=1 stands in no answer of this kind, but a client may be confused by it\n"
    b"520 End of proper usage.\n"
)
FAILED = b"200 result=-1 endpos=0\n"
SAMPLES = 80_000
"""Where a prompt that was heard to its end stops: ten seconds at 8 kHz."""


def environment(
    *,
    script: str = "inbound",
    channel: str = "PJSIP/trunk-00000001",
    uniqueid: str = "1795298000.1",
    arguments: tuple[str, ...] = ("support", "1795298000.1"),
    caller_name: str | bytes = "unknown",
    language: str = "en",
) -> bytes:
    """What setup_env() sends, in its order, blank line included."""
    name = caller_name if isinstance(caller_name, bytes) else caller_name.encode()
    lines = {
        "network": "yes",
        "network_script": script,
        "request": f"agi://127.0.0.1:4573/{script}",
        "channel": channel,
        "language": language,
        "type": channel.partition("/")[0],
        "uniqueid": uniqueid,
        "version": "22.10.1",
        "callerid": "15551234567",
        "calleridname": "",
        "callingpres": "0",
        "callingani2": "0",
        "callington": "0",
        "callingtns": "0",
        "dnid": "18005550100",
        "rdnis": "unknown",
        "context": "recorder-inbound",
        "extension": "s",
        "priority": "12",
        "enhanced": "0.0",
        "accountcode": "",
        "threadid": "140228164839104",
    }
    lines |= {f"arg_{number}": value for number, value in enumerate(arguments, 1)}
    head, tail = "".join(f"agi_{key}: {value}\n" for key, value in lines.items()).encode().split(b"calleridname: \n")
    return head + b"calleridname: " + name + b"\n" + tail + b"\n"


def command_of(line: str) -> str:
    """The command's own words: `STREAM FILE` of `STREAM FILE /a/prompt "12" 0`."""
    words = [word for word in line.split(" ") if word]
    whole = {"ANSWER": 1, "HANGUP": 1, "EXEC": 2, "WAIT": 3}
    return " ".join(words[: whole.get(words[0], 2)])


class FakeAgi:
    """One visit. Change an attribute and it behaves so from then on.

    `keys` are what the caller presses, one for each prompt and each wait, "" for none. `answers` overrides what a
    command is answered with, by its words; `commands` is everything received, in order; `variables` is what was set.
    """

    def __init__(self, port: int, opening: bytes | None = None, *, host: str = "127.0.0.1", keys: str | None = "1"):
        self.opening = environment() if opening is None else opening
        self.keys = list(keys or "")
        self.played = SAMPLES  # how far the next prompts are heard
        self.answers: dict[str, Answerer] = {}
        self.commands: list[str] = []
        self.variables: dict[str, str] = {}
        self.slow = False  # every byte alone
        self._address = (host, port)
        self._changed = asyncio.Condition()
        self._over = asyncio.Event()
        self._writer: asyncio.StreamWriter | None = None
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def start(self) -> None:
        """Connect, send the environment, and answer from now on."""
        reader, self._writer = await asyncio.open_connection(*self._address)
        self._task = asyncio.create_task(self._run(reader, self._writer), name="fake agi")

    async def close(self) -> None:
        """Go away, as a channel that ended does."""
        self.hang_up()
        if self._task is not None:
            await self._task
        if self._writer is not None:
            await asyncio.wait({asyncio.ensure_future(_closed(self._writer))})

    def hang_up(self) -> None:
        """The connection ends at once: what Asterisk does at a hang-up under AGIEXITONHANGUP."""
        if self._writer is not None:
            self._writer.close()

    def abort(self) -> None:
        """The connection is reset."""
        assert self._writer is not None
        self._writer.transport.abort()

    def say(self, data: bytes) -> None:
        """Bytes as they are, out of turn: `HANGUP`, junk."""
        assert self._writer is not None
        self._writer.write(data)

    async def until_over(self) -> None:
        """Wait until the other side has ended the visit; ten seconds at most."""
        async with asyncio.timeout(10):
            await self._over.wait()

    async def until_command(self, words: str, times: int = 1) -> str:
        """Wait until this command has come so many times; returns its last line."""
        async with asyncio.timeout(10), self._changed:
            await self._changed.wait_for(lambda: len(self.received(words)) >= times)
        return self.received(words)[-1]

    def received(self, words: str) -> list[str]:
        return [line for line in self.commands if line.startswith(words)]

    @property
    def is_over(self) -> bool:
        return self._over.is_set()

    # ------------------------------------------------------------------ the protocol

    async def _run(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._send(self.opening, writer)
            while line := await reader.readline():
                await self._serve(line.decode().rstrip("\n"), writer)
        except ConnectionError:
            pass  # the other side ended it while we spoke
        finally:
            self._over.set()
            async with self._changed:
                self._changed.notify_all()

    async def _serve(self, line: str, writer: asyncio.StreamWriter) -> None:
        self.commands.append(line)
        async with self._changed:
            self._changed.notify_all()
        words = command_of(line)
        answer = self.answers[words](line) if words in self.answers else self._usual(words, line)
        if answer is not None:
            await self._send(answer, writer)

    async def _send(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        for start in range(0, len(data), 1 if self.slow else len(data) or 1):
            writer.write(data[start:] if not self.slow else data[start : start + 1])
            await writer.drain()
            if self.slow:
                await asyncio.sleep(0)

    def _usual(self, words: str, line: str) -> Answer:
        usual: Mapping[str, Answerer] = {
            "SET VARIABLE": self._set,
            "GET VARIABLE": self._get,
            "STREAM FILE": self._stream,
            "WAIT FOR DIGIT": lambda _: f"200 result={self._key()}\n".encode(),
            "CHANNEL STATUS": lambda _: b"200 result=6\n",
            "EXEC MixMonitor": lambda _: OK,
        }
        return usual[words](line) if words in usual else b"510 Invalid or unknown command\n"

    def _key(self) -> int:
        key = self.keys.pop(0) if self.keys else ""
        return ord(key) if key.strip() else 0

    def _stream(self, _: str) -> Answer:
        return f"200 result={self._key()} endpos={self.played}\n".encode()

    def _set(self, line: str) -> Answer:
        _, _, name, value = shlex.split(line)
        self.variables[name] = value
        return DONE

    def _get(self, line: str) -> Answer:
        value = self.variables.get(line.removeprefix("GET VARIABLE "))
        return f"200 result=1 ({value})\n".encode() if value is not None else b"200 result=0\n"


async def _closed(writer: asyncio.StreamWriter) -> None:
    try:
        await writer.wait_closed()
    except OSError:
        return
