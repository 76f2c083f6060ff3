"""Whether the daemon stays the size it is: thousands of short calls at full machine load, and the books at the end.

    ./dev soak [--calls 18000] [--at-once 110] [--warm-up 12500]

As soon as a call ends the next is placed, so that always as many are in progress and the machine has nothing to spare.
Most are asked and agree and talk for one to three seconds; some refuse, some hang up in the queue, some pause, some
come over lines that do not ask. Memory, open files, threads and tasks of the daemon are sampled throughout; growth is
what a line through the medians of ten windows after the warm-up says (bench/growth.py). The warm-up is longer than the
ten minutes for which the daemon knows the legs of a closed call again (REMEMBERED_FOR in recorder/daemon/calls.py).
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import random
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from bench.centre import HEARING, TOLD, Centre, centre
from bench.growth import WINDOWS, growth, medians
from bench.machine import cpu_ms, idle_and_all_ms, machine, open_files, proportional_kb, resident_kb, threads
from tests.pbx.admin import Admin

SAMPLE_EVERY = 2.0
TOLD_EVERY = 5
"""Samples to one telling of the process itself."""
GROWTH_MOST = 0.05
CALL_SECONDS = 30.0
EXPLAINED: Mapping[str, str] = {
    "recording_findings": "talks of one to three seconds in which a party says nothing: one_legged, silent",
}
"""Warnings that these calls are to bring about, and why. Any other fails the run."""
WARNING = re.compile(r'level=(?:warning|error|critical) event=("[^"]+"|\S+)')
KINDS_OF_TASKS = 12
"""How many of them the report names, the most numerous first."""
TOLD_IN_FULL = 3
"""Lines of each unexplained warning that are printed whole, with what they say of a traceback."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """How a call goes, and how often of a hundred."""

    share: int
    line: str = "support"
    asked: bool = True
    does: Mapping[str, str] = field(default_factory=dict)
    speaks: str = "tone-440"


KINDS = {
    "agrees and talks": Kind(share=72),
    "is not asked and talks": Kind(share=10, line="lawful", asked=False, does={"BENCH_KEY": "none"}),
    "is told and talks": Kind(share=8, line="announced", asked=False, does={"BENCH_KEY": "none"}),
    "refuses": Kind(share=4, does={"BENCH_KEY": "2"}),
    "agrees and hangs up at once": Kind(share=3, speaks=""),
    "agrees, and the agent pauses": Kind(share=3, does={"__BENCH_AGENT": "pauses", "__BENCH_ROUNDS": "1"}),
}
ANNOUNCED = 3.0
"""Seconds, about, until who is only told is with an agent."""


@dataclass(slots=True)
class Samples:
    """Series of the same length, by what they count."""

    series: dict[str, list[float]] = field(default_factory=dict)
    calls: list[int] = field(default_factory=list)  # that had ended at each sample
    tasks: list[Mapping[str, int]] = field(default_factory=list)  # at each sample, by what they do

    def add(self, calls: int, found: Mapping[str, float], tasks: Mapping[str, int]) -> None:
        self.calls.append(calls)
        self.tasks.append(tasks)
        for name, value in found.items():
            self.series.setdefault(name, []).append(value)

    def after(self, calls: int) -> dict[str, list[float]]:
        start = self._start(calls)
        return {name: values[start:] for name, values in self.series.items()}

    def tasks_after(self, calls: int) -> dict[str, list[int]]:
        """How many of each kind at each sample, the kinds with the most first."""
        counted = self.tasks[self._start(calls) :]
        most = sum((Counter(kinds) for kinds in counted), Counter[str]())
        return {kind: [kinds.get(kind, 0) for kinds in counted] for kind, _ in most.most_common()}

    def _start(self, calls: int) -> int:
        return next((place for place, ended in enumerate(self.calls) if ended >= calls), len(self.calls))


@dataclass(slots=True)
class Soaked:
    """What a run came to."""

    samples: Samples = field(default_factory=Samples)
    outcomes: Counter[str] = field(default_factory=Counter)
    warnings: Counter[str] = field(default_factory=Counter)
    in_full: list[str] = field(default_factory=list)  # of warnings that nobody explained
    seconds: float = 0.0
    idle: float = 0.0  # share of the machine's processors
    daemon_ms: float = 0.0
    asterisk_ms: float = 0.0
    balanced: bool = False
    left: int = 0  # files in the spool


async def measure(calls: int, at_once: int) -> Soaked:
    soaked = Soaked()
    async with centre() as on, await on.pbx.admin() as ears:
        await ears.action("Filter", {"Operation": "Add", "Filter": "Event: Hangup"})
        ended = Ended(ears)
        sampling = asyncio.create_task(_sample(on, ended, soaked.samples))
        began, before = time.monotonic(), (idle_and_all_ms(), cpu_ms(on.recorder.pid), cpu_ms(on.pbx.pid))
        await _keep_busy(on, ended, calls, at_once)
        idle, every = (now - then for now, then in zip(idle_and_all_ms(), before[0], strict=True))
        soaked.seconds, soaked.idle = time.monotonic() - began, idle / every
        soaked.daemon_ms, soaked.asterisk_ms = cpu_ms(on.recorder.pid) - before[1], cpu_ms(on.pbx.pid) - before[2]
        sampling.cancel()
        await asyncio.gather(sampling, return_exceptions=True)
        await on.until_quiet(timeout=120)
        soaked.left = len(list(on.pbx.captures.iterdir()))
        soaked.outcomes = await on.accounted()
        soaked.balanced = await asyncio.to_thread(on.verified)
        lines = on.recorder.log.read_text("utf-8").splitlines()
        warned = [(found[1], line) for line in lines if (found := WARNING.search(line))]
        soaked.warnings = Counter(event for event, _ in warned)
        for event in soaked.warnings.keys() - EXPLAINED.keys():
            soaked.in_full += [line for name, line in warned if name == event][:TOLD_IN_FULL]
    return soaked


async def _keep_busy(on: Centre, ended: Ended, calls: int, at_once: int) -> None:
    """Place calls so that `at_once` are always in progress, and wait for the last."""
    chance = random.Random(1)
    kinds = chance.choices(list(KINDS.values()), [kind.share for kind in KINDS.values()], k=calls)
    for kind in kinds:
        while on.placed - ended.count() >= at_once:
            await asyncio.sleep(0.02)
        await _place(on, kind, chance.uniform(1, 3))
        if on.placed <= at_once:
            await asyncio.sleep(0.05)  # not all of them in step
        if on.placed % 1000 == 0:
            print(f"  {on.placed} calls placed", flush=True)
    while ended.count() < on.placed:
        await asyncio.sleep(0.2)


async def _place(on: Centre, kind: Kind, talks: float) -> None:
    if "__BENCH_AGENT" in kind.does:
        seconds = CALL_SECONDS  # the agent ends it
    elif kind.line == "announced":
        seconds = ANNOUNCED + talks
    else:
        seconds = (HEARING + 1 if kind.asked else 1) + talks
    await on.call(seconds, line=kind.line, does=kind.does, speaks=kind.speaks)


@dataclass(slots=True)
class Ended:
    """How many calls are over, as Asterisk says."""

    ears: Admin
    calls: int = 0

    def count(self) -> int:
        """How many callers' phones have hung up. What was counted is forgotten: the bench itself must not grow."""
        # The filter lets HangupRequest through as well, of the same leg.
        legs = [event.get("Uniqueid", "") for event in self.ears.events if event.name == "Hangup"]
        self.ears.events.clear()
        self.calls += sum(leg.startswith("bench-") and leg.endswith(".1") for leg in legs)
        return self.calls


async def _sample(on: Centre, ended: Ended, samples: Samples) -> None:
    pid, told = on.recorder.pid, on.recorder.home / TOLD
    for number in itertools.count():
        if number % TOLD_EVERY == 0:
            os.kill(pid, signal.SIGUSR1)
        await asyncio.sleep(SAMPLE_EVERY)
        own = json.loads(told.read_text())
        samples.add(ended.calls, await asyncio.to_thread(_look, pid, own, on.recorder.catalogue), own["kinds"])


def _look(pid: int, own: Mapping[str, int], catalogue: str) -> dict[str, float]:
    files = open_files(pid)
    database = catalogue.removeprefix("sqlite:///")
    return {
        "resident memory, MB": resident_kb(pid) / 1024,
        "proportional memory, MB": proportional_kb(pid) / 1024,
        "open files": len(files),
        "of them the catalogue's": sum(file.startswith(database) for file in files),
        "threads": threads(pid),
        "tasks": own["tasks"],
        "blocks of Python, thousands": own["blocks"] / 1000,
    }


def report(soaked: Soaked, calls: int, warm_up: int) -> bool:
    rate, share = calls / soaked.seconds, 100 * soaked.daemon_ms / soaked.asterisk_ms
    print(f"\n{calls} calls in {soaked.seconds:,.0f} s, {rate:.1f} a second; processors idle {100 * soaked.idle:.0f} %")
    print(f"the daemon's CPU time {share:.1f} % of Asterisk's")
    print(f"\n{f'after {warm_up} calls':32}{'first':>9}{'middle':>9}{'last':>9}{'growth':>9}  bound")
    good = True
    for name, values in soaked.samples.after(warm_up).items():
        if len(values) < WINDOWS:
            print(f"{name:32}only {len(values)} samples")
            good = False
            continue
        level, grew = medians(values), growth(values)
        met = grew <= GROWTH_MOST
        good &= met
        print(
            f"{name:32}{level[0]:>9.1f}{level[WINDOWS // 2]:>9.1f}{level[-1]:>9.1f}{100 * grew:>8.1f}%"
            f"  {100 * GROWTH_MOST:g}%  {'met' if met else 'NOT MET'}"
        )
    print("\nof the tasks")
    for kind, counts in list(soaked.samples.tasks_after(warm_up).items())[:KINDS_OF_TASKS]:
        level = medians(counts) if len(counts) >= WINDOWS else []
        print(f"{'  ' + kind:47}" + "".join(f"{level[place]:>9.1f}" for place in (0, WINDOWS // 2, -1) if level))
    print(f"\nbooks balance: {'yes' if soaked.balanced else 'NO'}; files left in the spool: {soaked.left}")
    for event, times in sorted(soaked.warnings.items()):
        print(f"warning {event}, {times} times: {EXPLAINED.get(event, 'NOT EXPLAINED')}")
    unexplained = soaked.warnings.keys() - EXPLAINED.keys()
    for line in soaked.in_full:
        print(line.replace("\\n", "\n"))
    print(f"warnings not explained: {len(unexplained)}; calls lost: {soaked.outcomes['lost']}")
    return good and soaked.balanced and not soaked.left and not unexplained and not soaked.outcomes["lost"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=18000, help="in all (18000)")
    parser.add_argument("--at-once", type=int, default=110, help="in progress at any time (110)")
    parser.add_argument("--warm-up", type=int, default=12500, help="calls before growth is looked for (12500)")
    asked = parser.parse_args()
    print(f"{asked.calls} calls, {asked.at_once} at once; {machine()}")
    soaked = asyncio.run(measure(asked.calls, asked.at_once))
    return 0 if report(soaked, asked.calls, asked.warm_up) else 1


if __name__ == "__main__":
    sys.exit(main())
