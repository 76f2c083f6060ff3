"""From the start of a recorder that nobody authorised to its end, while other talks are recorded.

    python -m bench rivals [--rivals 1000] [--talks 40]

A MixMonitor is started on the caller's leg of each talk in turn, as a one-touch key or the command line would. By
Asterisk's own word: from the Timestamp of its MixMonitorStart to that of its MixMonitorStop. And by what it caught: the
audio in the rival's own file.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import sys
from dataclasses import dataclass, field

from bench.centre import Centre, centre
from bench.machine import Figure, machine, tabled
from tests.pbx import tones
from tests.pbx.admin import Admin

EVENTS = "BridgeEnter|MixMonitorStart|MixMonitorStop"
TALK_SECONDS = 900.0
GAP = 0.15
"""Seconds from one rival to the next, on another talk."""
STOPPED_WITHIN_MS = 500.0


@dataclass(slots=True)
class Met:
    """Milliseconds by Asterisk's word, and of audio in the rivals' files."""

    to_stop: list[float] = field(default_factory=list)
    caught: list[float] = field(default_factory=list)
    survived: int = 0


async def measure(rivals: int, talks: int) -> Met:
    met = Met()
    async with centre() as on, await on.pbx.admin() as ears:
        await ears.action("Filter", {"Operation": "Add", "Filter": f"Event: ({EVENTS})"})
        legs = [await _talk(on) for _ in range(talks)]
        for leg in legs:
            await ears.until("BridgeEnter", timeout=60, Uniqueid=leg)
        async with asyncio.TaskGroup() as group:
            for number, leg in enumerate(itertools.islice(itertools.cycle(legs), rivals)):
                group.create_task(_one(on, ears, leg, number, met))
                await asyncio.sleep(GAP)
        print(f"  {await on.channels()} channels; {met.survived} rivals survived")
        await on.admin.action("Hangup", {"Channel": "/.*/"})
        await on.until_quiet(timeout=120)
        files = [on.pbx.base / "spool" / f"rival-{number}.wav" for number in range(rivals)]
        met.caught = [1000 * tones.read(file).seconds for file in files if file.exists()]
        await on.accounted()
        await asyncio.to_thread(on.verified)
    return met


async def _talk(on: Centre) -> str:
    await asyncio.sleep(0.2)
    return await on.call(TALK_SECONDS)


async def _one(on: Centre, ears: Admin, leg: str, number: int, met: Met) -> None:
    mark = ears.mark()
    file = on.pbx.base / "spool" / f"rival-{number}.wav"
    await on.admin.action("MixMonitor", {"Channel": leg, "File": str(file)})
    started = await ears.until("MixMonitorStart", since=mark, timeout=10, Uniqueid=leg)
    try:
        stopped = await ears.until("MixMonitorStop", since=mark, timeout=10, Uniqueid=leg)
    except TimeoutError:
        met.survived += 1
    else:
        met.to_stop.append(1000 * (float(stopped["Timestamp"]) - float(started["Timestamp"])))


def report(met: Met) -> bool:
    good = tabled(
        "a recorder that nobody authorised, ms",
        [
            Figure(what="from its start to its stop", values=met.to_stop, most=STOPPED_WITHIN_MS),
            Figure(what="audio in its file", values=met.caught, most=STOPPED_WITHIN_MS),
        ],
    )
    return good and not met.survived


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rivals", type=int, default=1000, help="that are started (1000)")
    parser.add_argument("--talks", type=int, default=40, help="recorded talks in progress (40)")
    asked = parser.parse_args()
    print(f"{asked.talks} talks in progress; {machine()}")
    return 0 if report(asyncio.run(measure(asked.rivals, asked.talks))) else 1


if __name__ == "__main__":
    sys.exit(main())
