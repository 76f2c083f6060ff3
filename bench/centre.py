"""A call centre for the benches: test PBX, daemon, and parties that lead themselves in Asterisk's own dialplan.

Owns how calls are placed. Nothing of ours hears Asterisk's events unless a bench asks for them, so that the only client
of AMI is the daemon under measurement.
"""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.pbx import tones
from tests.pbx.admin import Admin
from tests.pbx.calls import LINES, OWN_QUEUES
from tests.pbx.server import PbxServer
from tests.recorder_process import Recorder

PARTIES = Path(__file__).with_name("parties.conf")
THREADS = Path(__file__).with_name("threads")
HEARING = 3.0
"""Seconds of the prompt that a caller hears before the key: more than its min_played_ms."""
MOMENT = 0.5
"""Seconds from the key to the hang-up of a call that is only there to agree."""


@dataclass(slots=True)
class Centre:
    """What stands while a bench runs. `admin` hears no event."""

    pbx: PbxServer
    recorder: Recorder
    admin: Admin
    placed: int = 0
    _queues: itertools.cycle[int] = field(default_factory=lambda: itertools.cycle(range(1, OWN_QUEUES + 1)))

    async def call(self, seconds: float, *, speaks: str = "tone-440", witnessed: bool = False) -> None:
        """A caller dials the line support and agrees; the call ends `seconds` after its answer.

        `witnessed`: each phone keeps what it hears, in the folder `heard` under the uniqueid of the caller's leg.
        """
        self.placed += 1
        phone, leg = (f"bench-{self.placed}.{half}" for half in (1, 2))
        await self.admin.action(
            "Originate",
            {
                "Channel": f"Local/{LINES['support']}@from-outside/n",
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
                "_HOUSE_QUEUE": f"own{next(self._queues)}",
                "BENCH_SECONDS": f"{seconds:g}",
                "BENCH_SPEAKS": speaks,
                "__BENCH_HEARD": leg if witnessed else "",
            },
        )

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
        """Until every call is over and closed, and nothing is staged."""
        await self.recorder.until_closed(self.placed, timeout=timeout)
        await self.recorder.until(lambda: not any(self.pbx.captures.iterdir()), "the spool to be empty", timeout=60)


@asynccontextmanager
async def centre(release: str = "22") -> AsyncIterator[Centre]:
    """Everything up and ready; everything removed at the end."""
    with tempfile.TemporaryDirectory(prefix="recorder-bench-") as home:
        recorder = Recorder(Path(home))
        async with PbxServer(release=release, agi=recorder.agi, progress=print) as pbx, recorder:
            recorder.configure(pbx)
            await asyncio.to_thread(recorder.command, "db", "upgrade")
            recorder.launch(environment={"PYTHONPATH": str(THREADS)})
            await recorder.until(lambda: recorder.get("/readyz")[0] == 200, "the daemon to be ready")
            async with await pbx.admin() as admin:
                await admin.action("Events", {"EventMask": "off"})
                await _furnish(pbx, admin)
                yield Centre(pbx, recorder, admin)


async def _furnish(pbx: PbxServer, admin: Admin) -> None:
    extensions = pbx.base / "etc" / "extensions.conf"
    extensions.write_text(extensions.read_text() + "\n" + PARTIES.read_text())
    await admin.command("dialplan reload")
    for number in range(1, OWN_QUEUES + 1):
        await admin.action("QueueAdd", {"Queue": f"own{number}", "Interface": "Local/agent@bench-agent/n"})
    for hz in (440, 800):
        pbx.tone(hz)
    tones.write_sln(pbx.base / "sounds" / "hearing.sln", 0, HEARING)
    tones.write_sln(pbx.base / "sounds" / "moment.sln", 0, MOMENT)
