"""What the daemon costs beside Asterisk: 100 calls at once, 60 s each, arriving steadily, every one recorded.

    python -m bench load [--calls 100] [--seconds 60] [--window 90]

Every call is asked, agrees, waits in a queue, talks and is settled and analysed. All legs are Local channels (four a
call), the parties are dialplan. After the first calls have ended, CPU time is taken over the same window for both
processes, as the kernel counts it; the daemon's by thread. Memory is taken with 10 and with all calls in progress.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import Counter
from dataclasses import dataclass

from bench.centre import Centre, centre
from bench.machine import Aim, cpu_ms, cpu_ms_by_thread, judged, machine, resident_kb

FEW = 10
WARM_UP = 4
AUDIO = ("disk", "audio")
"""Threads that look at, settle and analyse files; the rest counts as events, dialogue and catalogue, although the main
thread and the catalogue work for the settling too."""
PARTS = {
    "events, calls (main thread)": ("MainThread",),
    "dialogue": ("dialogue",),
    "catalogue": ("catalogue-write", "catalogue-read"),
    "settling and analysis": ("audio",),
    "looks at files": ("disk",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """CPU milliseconds of one window."""

    seconds: float
    calls: float
    asterisk: float
    daemon: Counter[str]
    total: float

    def share(self, milliseconds: float) -> float:
        """In per cent of Asterisk's."""
        return 100 * milliseconds / self.asterisk

    def of(self, threads: tuple[str, ...]) -> float:
        return float(sum(self.daemon[name] for name in threads))


async def measure(calls: int, seconds: float, window: float) -> tuple[Spent, dict[str, float]]:
    """Run the load; CPU of the window, and memory in MB by moment."""
    async with centre() as on:
        await on.every(1, WARM_UP, 8)
        await on.until_quiet(timeout=60)
        memory = {"idle": resident_kb(on.recorder.pid) / 1024}
        gap = seconds / calls
        rounds = int((seconds + 5 + window) / gap)
        placing = asyncio.create_task(on.every(gap, rounds, seconds))
        await _until_channels(on, FEW * 4)
        await asyncio.sleep(0.5)
        memory[f"{FEW} calls"] = resident_kb(on.recorder.pid) / 1024
        await asyncio.sleep(seconds + 5 - FEW * gap)
        print(f"  {await on.channels()} channels; measuring for {window:g} s")
        memory[f"{calls} calls"] = resident_kb(on.recorder.pid) / 1024
        spent = await _spent(on, window, window / gap)
        memory[f"{calls} calls, at the end"] = resident_kb(on.recorder.pid) / 1024
        await placing
        await on.until_quiet(timeout=seconds + 60)
        await on.accounted()
        await asyncio.to_thread(on.verified)
        return spent, memory


async def _until_channels(on: Centre, number: int) -> None:
    while await on.channels() < number:
        await asyncio.sleep(0.1)


async def _spent(on: Centre, window: float, calls: float) -> Spent:
    ours, asterisk = on.recorder.pid, on.pbx.pid
    before = cpu_ms(asterisk), cpu_ms(ours), cpu_ms_by_thread(ours)
    await asyncio.sleep(window)
    after = cpu_ms(asterisk), cpu_ms(ours), cpu_ms_by_thread(ours)
    return Spent(
        seconds=window,
        calls=calls,
        asterisk=after[0] - before[0],
        total=after[1] - before[1],
        daemon=after[2] - before[2],
    )


def report(spent: Spent, memory: dict[str, float], calls: int) -> bool:
    window = f"in {spent.seconds:g} s"
    print(f"\n{window:32}{'CPU ms':>10}{'ms a call':>12}{'of a core':>12}{'Asterisk = 100':>17}")
    rows = {"Asterisk": spent.asterisk, "the daemon": spent.total}
    rows |= {f"  {part}": spent.of(threads) for part, threads in PARTS.items()}
    rest = {name: took for name, took in spent.daemon.items() if not any(name in part for part in PARTS.values())}
    rows |= {f"  {name}": float(took) for name, took in rest.items()}
    for name, took in rows.items():
        print(
            f"{name:32}{took:>10,.0f}{took / spent.calls:>12.1f}"
            f"{took / spent.seconds / 10:>11.1f}%{spent.share(took):>17.1f}"
        )
    print(f"\n{'resident memory':32}" + "".join(f"{moment:>24}" for moment in memory))
    print(f"{'':32}" + "".join(f"{megabytes:>21.1f} MB" for megabytes in memory.values()))
    return judged(
        [
            Aim(
                what="events, dialogue, catalogue, of Asterisk's CPU",
                found=spent.share(spent.total - spent.of(AUDIO)),
                most=10,
                unit="%",
            ),
            Aim(what="with settling and analysis", found=spent.share(spent.total), most=15, unit="%"),
            Aim(what="resident memory", found=max(memory.values()), most=180, unit="MB"),
            Aim(
                what=f"growth from {FEW} to {calls} calls",
                found=(memory[f"{calls} calls"] - memory[f"{FEW} calls"]) * 1024 / (calls - FEW),
                most=200,
                unit="kB a call",
            ),
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=100, help="at once (100)")
    parser.add_argument("--seconds", type=float, default=60, help="length of a call (60)")
    parser.add_argument("--window", type=float, default=90, help="seconds of measuring (90)")
    asked = parser.parse_args()
    print(f"{asked.calls} calls at once, {asked.seconds:g} s each; {machine()}")
    spent, memory = asyncio.run(measure(asked.calls, asked.seconds, asked.window))
    return 0 if report(spent, memory, asked.calls) else 1


if __name__ == "__main__":
    sys.exit(main())
