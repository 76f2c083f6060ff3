"""From the consent key to the armed capture, with 50 recorded talks in progress.

    python -m bench consent [--keys 600] [--rate 3] [--talks 50]

Callers agree and hang up at a steady rate while the talks go on. Both moments are Asterisk's own: the Timestamp of the
key's DTMFEnd on the caller's channel and of the MixMonitorStart of that channel. Between them lie the AGI reply, the
committed intention (SQLite, synchronous=FULL) and the command. A second row lets ten keys fall at the same moment.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
from collections.abc import Sequence

from bench.centre import HEARING, MOMENT, Centre, centre
from bench.machine import Aim, judged, machine, percentile
from tests.pbx.admin import Admin, Event

TALK_SECONDS = 600.0
CALL_SECONDS = 30.0
TOGETHER = 10
KEY_TO_ARMED_MS = 50.0

Figures = dict[str, list[float]]


async def measure(keys: int, rate: float, talks: int, bursts: int) -> Figures:
    """Milliseconds from key to armed capture: at a steady rate, and where keys fall together."""
    async with centre() as on, await on.pbx.admin() as ears:
        await ears.action("Filter", {"Operation": "Add", "Filter": "Event: (DTMFEnd|MixMonitorStart)"})
        await on.every(0.2, talks, TALK_SECONDS)
        await _until_started(ears, talks)
        print(f"  {talks} talks in progress, {await on.channels()} channels")
        steady = await _agree(on, ears, keys, 1 / rate, 1)
        together = await _agree(on, ears, bursts * TOGETHER, HEARING / 2, TOGETHER)
        print(f"  {await on.channels()} channels at the end of {on.placed} calls")
        return {f"{rate:g} keys a second": steady, f"{TOGETHER} keys at once": together}


async def _agree(on: Centre, ears: Admin, keys: int, gap: float, together: int) -> list[float]:
    """Let so many callers agree, `together` at a time."""
    since = ears.mark()
    loop = asyncio.get_running_loop()
    began = loop.time()
    for number in range(keys // together):
        await asyncio.sleep(max(0.0, began + number * gap - loop.time()))
        await asyncio.gather(*(on.call(CALL_SECONDS, speaks="") for _ in range(together)))
    await _until_started(ears, keys, since)
    await asyncio.sleep(MOMENT * 2)
    return waits(ears.events[since:])


async def _until_started(ears: Admin, captures: int, since: int = 0) -> None:
    """Until so many captures began; what is missing a while after the last is reported by its number."""
    for _ in range(100 + captures):
        if len(ears.seen("MixMonitorStart", since=since)) >= captures:
            return
        await asyncio.sleep(0.2)


def waits(events: Sequence[Event]) -> list[float]:
    """Milliseconds from each caller's last key before its capture to that capture."""
    keys: dict[str, float] = {}
    found: list[float] = []
    for event in events:
        moment = 1000 * float(event.get("Timestamp", "0"))
        if event.is_("DTMFEnd", Direction="Received"):
            keys[event["Uniqueid"]] = moment
        elif event.is_("MixMonitorStart") and event["Uniqueid"] in keys:
            found.append(moment - keys[event["Uniqueid"]])
    return found


def report(figures: Figures, keys: int) -> bool:
    print(f"\n{'key to armed capture, ms':28}{'n':>8}{'p50':>9}{'p90':>9}{'p99':>9}{'max':>9}")
    for name, found in figures.items():
        print(f"{name:28}{len(found):>8}" + "".join(f"{value:>9.1f}" for value in _row(found)))
    steady = next(iter(figures.values()))
    if len(steady) < keys:
        print(f"{keys - len(steady)} callers of {keys} agreed and were not captured")
    aims = [Aim(what="key to armed capture, p99", found=percentile(steady, 0.99), most=KEY_TO_ARMED_MS, unit="ms")]
    return judged(aims) and len(steady) == keys


def _row(found: Sequence[float]) -> list[float]:
    return [statistics.median(found), percentile(found, 0.9), percentile(found, 0.99), max(found)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=600, help="callers who agree (600)")
    parser.add_argument("--rate", type=float, default=3, help="of them a second (3)")
    parser.add_argument("--talks", type=int, default=50, help="recorded talks in progress meanwhile (50)")
    parser.add_argument("--bursts", type=int, default=10, help=f"of {TOGETHER} keys at once (10)")
    asked = parser.parse_args()
    print(f"{asked.talks} talks in progress; {machine()}")
    figures = asyncio.run(measure(asked.keys, asked.rate, asked.talks, asked.bursts))
    return 0 if report(figures, asked.keys) else 1


if __name__ == "__main__":
    sys.exit(main())
