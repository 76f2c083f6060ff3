"""`./dev faults [NAME...]`: break things beside a steady load of real calls, count what it cost, print the table.

A run of all of them keeps the table in docs/reliability.md; so does --keep.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from bench.machine import machine
from tests.faults.faults import BY_NAME, FAULTS
from tests.faults.judge import Row, Verdict
from tests.faults.page import PAGE, Line, replaced, table
from tests.faults.scene import CI, Fault, Pace, Played, play

BEGAN = time.monotonic()


async def play_all(faults: Sequence[Fault], pace: Pace, jobs: int) -> list[Played]:
    """`jobs` runs side by side, in the order of the table; each says what it does."""
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
            return played

    return list(await asyncio.gather(*(one(fault) for fault in faults)))


async def _played(fault: Fault, pace: Pace) -> Played:
    began = time.monotonic()
    try:
        return await play(fault, pace, lambda what: say(f"{fault.name}: {what}"))
    except Exception as error:  # a run that comes to no end is a failed one; the others go on
        wrong = f"{type(error).__name__}: {error}"
        return Played(fault=fault, verdict=Verdict(row=Row(), wrong=(wrong,)), seconds=time.monotonic() - began, log="")


def say(what: str) -> None:
    print(f"{time.monotonic() - BEGAN:6.0f} s  {what}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev faults", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="these faults only; --list names them")
    parser.add_argument("--list", action="store_true", help="name the faults and stop")
    parser.add_argument("--short", action="store_true", help="with the fewer calls and seconds of CI")
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side (1)")
    parser.add_argument("--seed", type=int, default=1, help="of the load, and of what falls at random (1)")
    parser.add_argument("--keep", action="store_true", help="keep the table even where only some were played")
    asked = parser.parse_args()
    if asked.list:
        print("\n".join(f"{fault.name:34}{fault.what}{', in CI' if fault.in_ci else ''}" for fault in FAULTS))
        return 0
    unknown = set(asked.names) - set(BY_NAME)
    if unknown:
        parser.error(f"no fault is named {', '.join(sorted(unknown))}; --list names them")
    chosen = [BY_NAME[name] for name in asked.names] or list(FAULTS)
    base = CI if asked.short else Pace()
    pace = Pace(at_once=base.at_once, before=base.before, lasts=base.lasts, after=base.after, seed=asked.seed)
    played = asyncio.run(play_all(chosen, pace, asked.jobs))
    lines = [Line(what=one.fault.what, row=one.verdict.row, wrong=one.verdict.wrong) for one in played]
    print(f"\n{table(lines)}")
    if asked.keep or len(chosen) == len(FAULTS):
        block = f"{datetime.now(UTC):%Y-%m-%d}, {machine()}, Asterisk 22, seed {asked.seed}.\n\n{table(lines)}"
        PAGE.write_text(replaced(PAGE.read_text(encoding="utf-8"), block), encoding="utf-8")
        print(f"\nkept in {PAGE}")
    failed = [one.fault.name for one in played if one.verdict.wrong]
    print(
        f"\n{len(played) - len(failed)} of {len(played)} faults held"
        + (f"; failed: {', '.join(failed)}" if failed else "")
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
