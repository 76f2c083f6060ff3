"""`./dev faults [NAME...]`: break things beside a steady load of real calls, count what it cost, print the table.

A run of all of them keeps the table in docs/reliability.md; so does --keep.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from bench.machine import machine
from tests.faults.faults import BY_NAME, FAULTS
from tests.faults.judge import Row, Verdict
from tests.faults.page import PAGE, Line, cells, merged, replaced, table
from tests.faults.scene import CI, Fault, Pace, Played, play
from tests.pbx.server import remove_leftovers

BEGAN = time.monotonic()


async def play_all(faults: Sequence[Fault], pace: Pace, jobs: int, *, keeps: bool) -> list[Played]:
    """`jobs` runs side by side, in the order of the table; each says what it does, and is kept when it is over."""
    await remove_leftovers()
    room = asyncio.Semaphore(jobs)
    done = 0

    async def one(fault: Fault) -> Played:
        nonlocal done
        async with room:
            played = await _played(fault, pace)
            done += 1
            held = "held" if not played.verdict.wrong else "FAILED"
            say(f"{fault.name}: {held}, {played.seconds:.0f} s ({done} of {len(faults)})")
            for sentence in played.verdict.wrong:
                print(f"      {sentence}", flush=True)
            if keeps:
                keep([line_of(played)], pace.seed)
            return played

    return list(await asyncio.gather(*(one(fault) for fault in faults)))


async def _played(fault: Fault, pace: Pace) -> Played:
    began = time.monotonic()
    try:
        return await play(fault, pace, lambda what: say(f"{fault.name}: {what}"))
    except Exception as error:  # a run that comes to no end is a failed one; the others go on
        wrong = f"{type(error).__name__}: {error}"
        return Played(fault=fault, verdict=Verdict(row=Row(), wrong=(wrong,)), seconds=time.monotonic() - began, log="")


def keep(lines: Sequence[Line], seed: int) -> None:
    """Put these rows into the page; the others stay."""
    text = PAGE.read_text(encoding="utf-8")
    rows = table(merged(text, lines, [fault.what for fault in FAULTS]))
    PAGE.write_text(replaced(text, f"Asterisk 22; seed {seed}; {machine()}.\n\n{rows}"), encoding="utf-8")


def line_of(played: Played) -> Line:
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    return Line(what=played.fault.what, row=played.verdict.row, on=today, wrong=played.verdict.wrong)


def say(what: str) -> None:
    print(f"{time.monotonic() - BEGAN:6.0f} s  {what}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev faults", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="these faults only; --list names them")
    parser.add_argument("--list", action="store_true", help="name the faults and stop")
    parser.add_argument("--short", action="store_true", help="with the fewer calls and seconds of CI")
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side (1)")
    parser.add_argument("--seed", type=int, default=1, help="of the load, and of what falls at random (1)")
    parser.add_argument(
        "--keep", action="store_true", help="keep the rows in docs/reliability.md although only some were played"
    )
    asked = parser.parse_args()
    if asked.list:
        print("\n".join(f"{fault.name:34}{fault.what}{', in CI' if fault.in_ci else ''}" for fault in FAULTS))
        return 0
    unknown = set(asked.names) - set(BY_NAME)
    if unknown:
        parser.error(f"no fault is named {', '.join(sorted(unknown))}; --list names them")
    chosen = [BY_NAME[name] for name in asked.names] or list(FAULTS)
    pace = replace(CI if asked.short else Pace(), seed=asked.seed)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # nothing may be left behind
    keeps = asked.keep or len(chosen) == len(FAULTS)
    played = asyncio.run(play_all(chosen, pace, asked.jobs, keeps=keeps))
    print(f"\n{table([cells(line_of(one)) for one in played])}")
    if keeps:
        print(f"\nkept in {PAGE}")
    failed = [one.fault.name for one in played if one.verdict.wrong]
    print(
        f"\n{len(played) - len(failed)} of {len(played)} faults held"
        + (f"; failed: {', '.join(failed)}" if failed else "")
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
