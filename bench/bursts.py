"""From the hang-up to the settled recording that can be played, with 50 calls ending in the same second.

    python -m bench bursts [--bursts 20] [--calls 50] [--seconds 6]

Each burst is placed over some seconds and ends at once. From the Timestamp of Asterisk's Hangup of the caller's leg to
the moment at which a reader of its own has found the recording settled in the catalogue, opened the WAV and read its
samples; it looks ten times a second.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

from bench.centre import HEARING, Centre, centre
from bench.machine import Figure, machine, tabled
from recorder.catalogue import Catalogue, RecordingRow, open_catalogue
from recorder.model import RecordingStatus
from tests.pbx import tones
from tests.pbx.admin import Admin

PLAYABLE_MS = 5000.0
PLACED_EVERY = 0.08
LOOK_EVERY = 0.1
GIVEN_UP_AFTER = 60.0


@dataclass(slots=True)
class Ended:
    """When each call ended and when its recording could be played, by the uniqueid of the caller's leg."""

    hung_up: dict[str, float] = field(default_factory=dict)
    playable: dict[str, float] = field(default_factory=dict)
    spread: list[float] = field(default_factory=list)  # milliseconds in which a burst ended

    @property
    def waits(self) -> list[float]:
        return [1000 * (at - self.hung_up[leg]) for leg, at in self.playable.items() if leg in self.hung_up]


async def measure(bursts: int, calls: int, seconds: float) -> Ended:
    ended = Ended()
    async with centre() as on, await on.pbx.admin() as ears:
        await ears.action("Filter", {"Operation": "Add", "Filter": "Event: Hangup"})
        books = await open_catalogue(on.recorder.catalogue)
        try:
            for _ in range(bursts):
                await _burst(on, ears, books, ended, calls, seconds)
        finally:
            await books.close()
        await on.until_quiet(timeout=60)
        await on.accounted()
        await asyncio.to_thread(on.verified)
    return ended


async def _burst(on: Centre, ears: Admin, books: Catalogue, ended: Ended, calls: int, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    mark, began = ears.mark(), datetime.now(UTC)
    end = loop.time() + calls * PLACED_EVERY + HEARING + seconds
    legs = set()
    for _ in range(calls):
        legs.add(await on.call(end - loop.time()))
        await asyncio.sleep(PLACED_EVERY)
    await asyncio.sleep(end - loop.time() - 1)
    while len(legs - ended.playable.keys()) and loop.time() < end + GIVEN_UP_AFTER:
        rows = await books.list_recordings(calls, status=RecordingStatus.SETTLED, since=began)
        for row in rows:
            if row.uniqueid not in ended.playable and await asyncio.to_thread(_plays, on, row):
                ended.playable[row.uniqueid] = time.time()
        await asyncio.sleep(LOOK_EVERY)
    found = {event["Uniqueid"]: float(event["Timestamp"]) for event in ears.seen("Hangup", since=mark)}
    ended.hung_up |= {leg: at for leg, at in found.items() if leg in legs}
    ends = [found[leg] for leg in legs if leg in found]
    ended.spread.append(1000 * (max(ends) - min(ends)))


def _plays(on: Centre, row: RecordingRow) -> bool:
    return bool(tones.read(on.recorder.path_of(row)).samples.any())


def report(ended: Ended, wanted: int) -> bool:
    good = tabled(
        "from the hang-up to settled and playable, ms",
        [
            Figure(what="all calls of all bursts", values=ended.waits, most=PLAYABLE_MS),
            Figure(what="(a burst: its first to its last hang-up)", values=ended.spread),
        ],
    )
    if len(ended.waits) < wanted:
        print(f"{wanted - len(ended.waits)} calls of {wanted} have no recording")
    return good and len(ended.waits) == wanted


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bursts", type=int, default=20, help="one after the other (20)")
    parser.add_argument("--calls", type=int, default=50, help="that end together (50)")
    parser.add_argument("--seconds", type=float, default=6, help="of talk in the last call that is placed (6)")
    asked = parser.parse_args()
    print(f"{asked.bursts} bursts of {asked.calls} calls; {machine()}")
    return (
        0 if report(asyncio.run(measure(asked.bursts, asked.calls, asked.seconds)), asked.bursts * asked.calls) else 1
    )


if __name__ == "__main__":
    sys.exit(main())
