"""A call centre for the benches: test PBX, daemon, and parties that lead themselves in Asterisk's own dialplan.

Owns how calls are placed. Nothing of ours hears Asterisk's events unless a bench asks for them, so that the only client
of AMI is the daemon under measurement.
"""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests import as_written
from tests.fakes.wire import Wire
from tests.pbx import tones
from tests.pbx.admin import Admin
from tests.pbx.calls import LINES, NUMBERED, OWN_QUEUES
from tests.pbx.server import PbxServer
from tests.recorder_process import LINES as RULES
from tests.recorder_process import Recorder

PARTIES = Path(__file__).with_name("parties.conf")
THREADS = Path(__file__).with_name("threads")
QUEUES = {"support": range(1, 41), "announced": range(41, 51), "lawful": range(51, OWN_QUEUES + 1)}
"""Which of the house's queues are whose, so that Asterisk's queue log is one of the ledgers."""
MODES: Mapping[str, Mapping[str, object]] = {
    "support": RULES["support"],
    "announced": {"consent": "notice"},
    "lawful": {"consent": "not_required", "legal_basis": "MiFID II art. 16(7)"},
}
TOLD = "told.json"
RAW = "raw"
"""What the daemon writes of itself at SIGUSR1."""
MANY = 100_000
"""More calls than a bench makes."""
HEARING = 3.0
"""Seconds of the prompt that a caller hears before the key: more than its min_played_ms."""
SAYS_HZ, SAYING = 800, 1.5
"""What is said before a key, and after one that ended something; its seconds."""
CARD_HZ, CARD = 1000, 2.0
"""What is said after a key that silences, and must not be heard."""
MOMENT = 0.5
"""Seconds from the key to the hang-up of a call that is only there to agree."""


def leg_of(linkedid: str) -> str:
    """The uniqueid of the caller's leg in a bench's call, whose linkedid is that of the caller's phone."""
    return linkedid.removesuffix(".1") + ".2"


@dataclass(slots=True)
class Centre:
    """What stands while a bench runs. `admin` hears no event."""

    pbx: PbxServer
    recorder: Recorder
    admin: Admin
    wire: Wire
    placed: int = 0
    _queues: dict[str, itertools.cycle[int]] = field(
        default_factory=lambda: {line: itertools.cycle(numbers) for line, numbers in QUEUES.items()}
    )

    @property
    def raw(self) -> Path:
        """Where a daemon that was told to has what Asterisk wrote, by the names of the staged files."""
        return self.recorder.home / RAW

    async def call(
        self,
        seconds: float,
        *,
        speaks: str = "tone-440",
        witnessed: bool = False,
        does: Mapping[str, str] | None = None,
        line: str = "support",
    ) -> str:
        """A caller dials the line and agrees; the call ends `seconds` after its answer. Returns the leg's uniqueid.

        `witnessed`: each phone keeps what it hears, in the folder `heard` under the uniqueid of the caller's leg.
        `does`: variables of parties.conf that say what else the parties do.
        """
        self.placed += 1
        phone, leg = (f"bench-{self.placed}.{half}" for half in (1, 2))
        queue = next(self._queues[line])
        number = LINES.get(line) or f"180{NUMBERED.index(line) + 1}5550{queue:03d}"
        await self.admin.action(
            "Originate",
            {
                "Channel": f"Local/{number}@from-outside/n",
                "Context": "bench-caller",
                "Exten": "s",
                "Priority": "1",
                "CallerID": f"<1555{self.placed:07d}>",
                "ChannelId": phone,
                "OtherChannelId": leg,
                "Async": "true",
                "Timeout": "30000",
            },
            variables={
                "_HOUSE_QUEUE": f"own{queue}",
                "BENCH_SECONDS": f"{seconds:g}",
                "BENCH_SPEAKS": speaks,
                "__BENCH_HEARD": leg if witnessed else "",
                **(does or {}),
            },
        )
        return leg

    async def every(
        self, gap: float, calls: int, seconds: float, *, speaks: str = "tone-440", witnessed: bool = False
    ) -> None:
        """Place calls at a steady rate, by the clock: one that is late does not make the next ones late."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        for number in range(calls):
            await asyncio.sleep(max(0.0, began + number * gap - loop.time()))
            await self.call(seconds, speaks=speaks, witnessed=witnessed)

    async def channels(self) -> int:
        """How many channels there are now."""
        return int((await self.admin.command("core show channels count"))[0].split()[0])

    async def until_quiet(self, *, timeout: float) -> None:
        """Until every call is over and closed, and nothing is staged. What a pass of settling had to leave waits half a
        minute, and what it had to leave undone in the spool a minute more: two looks at each."""
        await self.recorder.until(lambda: not self.open_calls(), "every call to be closed", timeout=timeout)
        try:
            await self.recorder.until(lambda: not self.staged(), "the spool to be empty", timeout=max(timeout, 180))
        except TimeoutError as error:
            left = "\n".join(self.staged())
            raise TimeoutError(f"{error}\nleft in the spool:\n{left}\n{self.told_of(self.staged())}") from error

    def staged(self) -> list[str]:
        """The names of the files in the spool."""
        return sorted(path.name for path in self.pbx.captures.iterdir())

    def told_of(self, names: list[str]) -> str:
        """Every line of the daemon's log about the recordings of these staged files, and every one of no recording."""
        ids = {name[:36] for name in names}
        lines = self.recorder.log.read_text("utf-8").splitlines()
        return "\n".join(line for line in lines if "recording=" not in line or any(one in line for one in ids))

    def open_calls(self) -> int:
        """How many calls the daemon holds open, without those just dialled; all, where it does not say. Blocks."""
        status, said = self.recorder.get("/status")
        return len(said["calls"]) if status == 200 else self.placed

    def verified(self) -> bool:
        """Print the last word of `recorder verify`, or all of them where the books do not balance. Blocks."""
        done = self.recorder.command("verify", check=False)
        said = (done.stdout + done.stderr).strip()
        print(f"  recorder verify: {said.splitlines()[-1] if done.returncode == 0 else said}")
        return done.returncode == 0

    async def accounted(self) -> Counter[str]:
        """A load that was not recorded would be no load: say what became of it; why of what was lost."""
        rows = await self.recorder.calls(MANY)
        print(f"  {self.placed} calls: {dict(Counter(str(row.reason or row.outcome) for row in rows))}")
        return Counter(str(row.outcome) for row in rows)


def lines() -> dict[str, Mapping[str, object]]:
    """The settings of every line that a bench may dial."""
    return {line: {**rules, "queues": [f"own{number}" for number in QUEUES[line]]} for line, rules in MODES.items()}


@asynccontextmanager
async def centre(release: str = "22", *, wired: bool = False, raw: bool = False) -> AsyncIterator[Centre]:
    """Everything up and ready; everything removed at the end.

    `wired`: the daemon's AMI connection can be cut. `raw`: what Asterisk wrote is copied before it is overwritten.
    """
    with tempfile.TemporaryDirectory(prefix="recorder-bench-") as home:
        recorder = Recorder(Path(home), lines=lines())
        server = PbxServer(release=release, agi=recorder.agi, progress=print)
        async with server as pbx, recorder, Wire(pbx.host, pbx.ports.ami) as wire:
            recorder.configure(pbx, **({"ami": {"port": wire.port}} if wired else {}))
            await asyncio.to_thread(recorder.command, "db", "upgrade")
            (Path(home) / RAW).mkdir()
            told = as_written.told(THREADS, Path(home) / RAW if raw else None)
            recorder.launch(environment=told | {"BENCH_TOLD": str(Path(home) / TOLD)})
            await recorder.until(lambda: recorder.get("/readyz")[0] == 200, "the daemon to be ready", timeout=120)
            async with await pbx.admin() as admin:
                await admin.action("Events", {"EventMask": "off"})
                await _furnish(pbx, admin)
                yield Centre(pbx, recorder, admin, wire)


async def _furnish(pbx: PbxServer, admin: Admin) -> None:
    extensions = pbx.base / "etc" / "extensions.conf"
    extensions.write_text(extensions.read_text() + "\n" + PARTIES.read_text())
    await admin.command("dialplan reload")
    for number in range(1, OWN_QUEUES + 1):
        await admin.action("QueueAdd", {"Queue": f"own{number}", "Interface": "Local/agent@bench-agent/n"})
    for hz in (440, 800, 1400):
        pbx.tone(hz)
    tones.write_sln(pbx.base / "sounds" / "hearing.sln", 0, HEARING)
    tones.write_sln(pbx.base / "sounds" / "moment.sln", 0, MOMENT)
    tones.write_sln(pbx.base / "sounds" / "second.sln", 0, 1)
    tones.write_sln(pbx.base / "sounds" / "says.sln", SAYS_HZ, SAYING)
    tones.write_sln(pbx.base / "sounds" / "card.sln", CARD_HZ, CARD)
