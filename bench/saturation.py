"""At how many calls at once Asterisk itself is at its end; and there, the consent key and the daemon's share.

    python -m bench saturation [--keys 1000] [--rate 2] [--step 20] [--from 100] [--most 1000]

Callers agree at a steady rate throughout, and recorded talks are added to them step by step. Saturated is the first
number at which Asterisk keeps time no more: a second of sound that it plays takes over a frame longer for one in ten of
the players that do nothing else, in two steps that follow one another; or at which the processors have nothing left
(idle below 2 %). Measured is at the most at which it keeps time for half a minute, looked for from there downwards: as
full as it can be and still be a telephone exchange. From key to armed as in `consent`; CPU as the kernel counts it.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from dataclasses import dataclass, field

from bench.centre import HEARING, MOMENT, Centre, centre
from bench.consent import waits
from bench.machine import Aim, Figure, cpu_ms, idle_and_all_ms, judged, machine, percentile, tabled, weighted
from tests.pbx.admin import Admin, Event

TALK_SECONDS = 1500.0
WINDOW = 4.0
KEPT_FOR = 30.0
CLOCKS = 10
FRAME_MS = 20.0
IDLE_LEAST = 0.02
KEY_TO_ARMED_MS, SHARE_MOST = 100.0, 10.0
CALL_SECONDS = 30.0
CAPTURED_WITHIN = 5.0
KEY_CALL = HEARING + MOMENT + 0.5
"""Seconds for which a call that is only there to agree is in progress."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What a number of calls costs."""

    calls: int  # in progress, those that only come to agree too
    talks: int
    asterisk: float  # processors
    daemon: float
    idle: float  # share of all
    late: float  # ms that a second of sound takes longer, for one player in ten

    @property
    def is_too_much(self) -> bool:
        return self.late > FRAME_MS

    def __str__(self) -> str:
        return (
            f"{self.calls:>7}{100 * self.asterisk:>14.0f} %{100 * self.daemon:>13.1f} %"
            f"{100 * self.daemon / self.asterisk:>13.1f} %{100 * self.idle:>9.1f} %{self.late:>11.1f} ms"
        )


@dataclass(slots=True)
class Found:
    """The steps, and what was measured at the last of them at which Asterisk kept time."""

    steps: list[Step] = field(default_factory=list)
    saturated: int | None = None
    carried: int = 0
    keys: list[float] = field(default_factory=list)
    in_vain: int = 0
    there: Step | None = None


async def measure(keys: int, rate: float, start: int, step: int, most: int) -> Found:
    async with centre() as on, await on.pbx.admin() as ears:
        with weighted(on.recorder.pid):
            found = await _saturate(on, ears, keys, rate, start, step, most)
        await on.admin.action("Hangup", {"Channel": "/.*/"})
        await on.until_quiet(timeout=900)  # some gigabytes are settled
        await on.accounted()
        await asyncio.to_thread(on.verified)
    return found


async def _saturate(on: Centre, ears: Admin, keys: int, rate: float, start: int, step: int, most: int) -> Found:
    found = Found()
    await ears.action("Filter", {"Operation": "Add", "Filter": "Event: (DTMFEnd|MixMonitorStart)"})
    await ears.action("Filter", {"Operation": "Add", "Filter": "UserEvent: BenchClock"})
    for _ in range(CLOCKS):
        await on.admin.action(
            "Originate",
            {"Channel": "Local/clock@bench-clock/n", "Application": "Wait", "Data": "3600", "Async": "true"},
        )
    print(HEAD, flush=True)
    arriving = asyncio.create_task(on.every(1 / rate, sys.maxsize, CALL_SECONDS, speaks=""))
    talks = await _add(on, start)
    while found.saturated is None and len(talks) < most:
        talks += await _add(on, step)
        taken = await _window(on, ears, WINDOW, len(talks), rate)
        found.steps.append(taken)
        print(taken, flush=True)
        if is_saturated(found.steps):
            found.saturated = taken.calls
    if found.saturated is not None:
        await _agree(on, ears, found, talks, keys, rate)
    arriving.cancel()
    return found


HEAD = f"\n{'calls':>7}{'Asterisk':>16}{'the daemon':>15}{'of Asterisk':>15}{'idle':>11}{'a second late':>14}"


def is_saturated(steps: list[Step]) -> bool:
    """Two steps too late in a row, or nothing left of the processors."""
    return steps[-1].idle < IDLE_LEAST or (len(steps) > 1 and all(step.is_too_much for step in steps[-2:]))


async def _add(on: Centre, calls: int) -> list[str]:
    """So many talks more, by the uniqueids of their callers."""
    legs = []
    for _ in range(calls):
        legs.append(await on.call(TALK_SECONDS))
        await asyncio.sleep(0.15)
    await asyncio.sleep(HEARING + 1.5)  # until they talk
    return legs


async def _window(on: Centre, ears: Admin, seconds: float, talks: int, rate: float) -> Step:
    since = ears.mark()
    before = idle_and_all_ms(), cpu_ms(on.pbx.pid), cpu_ms(on.recorder.pid)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await asyncio.sleep(seconds)
    took = 1000 * (loop.time() - began)
    idle, every = (now - then for now, then in zip(idle_and_all_ms(), before[0], strict=True))
    return Step(
        calls=talks + round(rate * KEY_CALL),
        talks=talks,
        asterisk=(cpu_ms(on.pbx.pid) - before[1]) / took,
        daemon=(cpu_ms(on.recorder.pid) - before[2]) / took,
        idle=idle / every,
        late=percentile(late(ears.events[since:]), 0.9),
    )


def late(events: list[Event]) -> list[float]:
    """By how many milliseconds each second of sound took longer, from mark to mark of each player."""
    last: dict[str, float] = {}
    found = []
    for event in events:
        if event.name != "BenchClock":
            continue
        at = 1000 * float(event["Timestamp"])
        if event["Uniqueid"] in last:
            found.append(at - last[event["Uniqueid"]] - 1000)
        last[event["Uniqueid"]] = at
    return found or [float("inf")]


def carried(steps: list[Step]) -> Step:
    """The last step at which Asterisk kept time before it did so no more; the first, where it never did."""
    good = [step for step in steps if not step.is_too_much and step.idle >= IDLE_LEAST]
    return good[-1] if good else steps[0]


async def _agree(on: Centre, ears: Admin, found: Found, talks: list[str], keys: int, rate: float) -> None:
    """So many callers agree while as many talks go on as Asterisk carries."""
    at = carried(found.steps)
    while True:
        for leg in talks[at.talks :]:
            await on.admin.action("Hangup", {"Channel": leg})
        del talks[at.talks :]
        await asyncio.sleep(HEARING + 5)
        kept = await _window(on, ears, KEPT_FOR, at.talks, rate)
        fewer = [step for step in found.steps if step.talks < at.talks]
        if not kept.is_too_much or not fewer:
            break
        print(f"{at.calls:>7} for half a minute: a second late by {kept.late:.1f} ms; fewer", flush=True)
        at = fewer[-1]
    found.carried = at.calls
    since = ears.mark()
    found.there = await _window(on, ears, 1.02 * keys / rate, at.talks, rate)
    before = len(ears.events)
    await asyncio.sleep(CAPTURED_WITHIN)  # who agreed just now
    found.keys = waits(ears.events[since:])
    found.in_vain = in_vain(ears.events[since:], ears.events[since:before])


def in_vain(events: list[Event], asked: list[Event]) -> int:
    """How many agreed in `asked`, and no capture of them began in `events`."""
    captured = {event["Uniqueid"] for event in events if event.is_("MixMonitorStart")}
    return len({event["Uniqueid"] for event in asked if event.is_("DTMFEnd", Direction="Received")} - captured)


def report(found: Found, keys: int) -> bool:
    if found.saturated is None or found.there is None:
        print(f"\nnot saturated at {found.steps[-1].calls} calls: --most is too little for this machine")
        return False
    print(f"\nAsterisk saturates at {found.saturated} calls at once, {4 * found.saturated} channels.")
    print(f"At {found.carried} it keeps time: a second late by {found.there.late:.1f} ms. There:")
    good = tabled("ms", [Figure(what="consent key to armed", values=found.keys, most=KEY_TO_ARMED_MS)])
    print(f"{found.in_vain} callers agreed and were not captured")
    share = 100 * found.there.daemon / found.there.asterisk
    aims = [
        Aim(what="the daemon, settling and analysis too, of Asterisk's CPU", found=share, most=SHARE_MOST, unit="%")
    ]
    return judged(aims) and good and not found.in_vain and len(found.keys) >= keys


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=1000, help="callers who agree there (1000)")
    parser.add_argument("--rate", type=float, default=2, help="of them a second (2)")
    parser.add_argument("--from", dest="start", type=int, default=100, help="calls to begin with (100)")
    parser.add_argument("--step", type=int, default=20, help="calls that each step adds (20)")
    parser.add_argument("--most", type=int, default=1000, help="calls beyond which it is not looked for (1000)")
    asked = parser.parse_args()
    print(machine())
    found = asyncio.run(measure(asked.keys, asked.rate, asked.start, asked.step, asked.most))
    return 0 if report(found, asked.keys) else 1


if __name__ == "__main__":
    sys.exit(main())
