"""How long the daemon needs to see again after its AMI connection was cut, with 150 calls in progress.

    python -m bench resync [--calls 150] [--cuts 20]

The connection is cut for a second, again and again, while every call is recorded; at each cut a few calls end unseen,
and others begin. By Asterisk's own word: from the Timestamp of the daemon's login (SuccessfulAuth) to that of the last
MixMonitorMute, by which the daemon asks each capture whether it lives. And by the daemon's log, to `synchronised`.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
from dataclasses import dataclass, field
from datetime import datetime

from bench.centre import Centre, centre
from bench.machine import Figure, machine, tabled
from tests.pbx.admin import Admin, Event

TALK_SECONDS = 1500.0
CUT_FOR = 1.0
SETTLED_AFTER = 4.0
"""Seconds from one resynchronisation to the next cut."""
END_UNSEEN = 2
RESYNCHRONISED_MS, CUTS = 1000.0, 20
SYNCHRONISED = re.compile(r"timestamp=(\S+) .*event=synchronised")


@dataclass(slots=True)
class Seen:
    """Milliseconds."""

    by_asterisk: list[float] = field(default_factory=list)
    by_our_log: list[float] = field(default_factory=list)
    to_login: list[float] = field(default_factory=list)  # from the mended wire; how long we wait before trying again
    looked_at: list[int] = field(default_factory=list)  # captures that were asked for


async def measure(calls: int, cuts: int) -> Seen:
    seen = Seen()
    async with centre(wired=True) as on, await on.pbx.admin() as ears:
        await ears.action("Filter", {"Operation": "Add", "Filter": "Event: (SuccessfulAuth|MixMonitorMute)"})
        await on.every(0.25, calls, TALK_SECONDS)
        await on.recorder.until(lambda: on.open_calls() >= calls and not _asking(on), "every call to talk", timeout=60)
        for number in range(cuts):
            await _cut(on, ears, seen, number)
        print(f"  {await on.channels()} channels at the end; captures asked for: {min(seen.looked_at)} at least")
        await on.admin.action("Hangup", {"Channel": "/.*/"})
        await on.until_quiet(timeout=180)
        await on.accounted()
        await asyncio.to_thread(on.verified)
    return seen


def _asking(on: Centre) -> int:
    return sum(call["state"].startswith(("asking", "waiting")) for call in on.recorder.get("/status")[1]["calls"])


async def _cut(on: Centre, ears: Admin, seen: Seen, number: int) -> None:
    mark, known = ears.mark(), len(synchronised(on))
    on.wire.cut()
    for ends in range(number * END_UNSEEN + 1, (number + 1) * END_UNSEEN + 1):
        await on.admin.action("Hangup", {"Channel": f"bench-{ends}.2"})
    await asyncio.sleep(CUT_FOR)
    loop = asyncio.get_running_loop()
    on.wire.mend()
    mended = loop.time()
    login = await ears.until("SuccessfulAuth", since=mark, timeout=60, AccountID=on.pbx.recorder_user)
    seen.to_login.append(1000 * (login.at - mended))
    await on.recorder.until(lambda: len(synchronised(on)) > known, "the daemon to see again", timeout=60)
    await asyncio.sleep(SETTLED_AFTER)
    began = float(login["Timestamp"])
    asked = muted(ears.events[mark:], began)
    seen.looked_at.append(len(asked))
    seen.by_asterisk.append(1000 * (max(asked, default=began) - began))
    seen.by_our_log.append(1000 * (synchronised(on)[known].timestamp() - began))
    await on.recorder.until(lambda: not _asking(on), "every call to talk", timeout=60)
    for _ in range(END_UNSEEN):
        await on.call(TALK_SECONDS)


def muted(events: list[Event], began: float) -> list[float]:
    """When each capture was first asked for."""
    first: dict[str, float] = {}
    for event in events:
        if event.name == "MixMonitorMute" and float(event["Timestamp"]) >= began:
            first.setdefault(event["Uniqueid"], float(event["Timestamp"]))
    return list(first.values())


def synchronised(on: Centre) -> list[datetime]:
    """When the daemon has said so."""
    return [datetime.fromisoformat(at) for at in SYNCHRONISED.findall(on.recorder.log.read_text("utf-8"))]


def report(seen: Seen, calls: int) -> bool:
    return tabled(
        f"seeing again with {calls} calls in progress, ms",
        [
            Figure(
                what="login to the last capture asked for",
                values=seen.by_asterisk,
                most=RESYNCHRONISED_MS,
                least=CUTS,
                of="max",
            ),
            Figure(
                what="login to the daemon's own word",
                values=seen.by_our_log,
                most=RESYNCHRONISED_MS,
                least=CUTS,
                of="max",
            ),
            Figure(what="(the wire mended to the login)", values=seen.to_login),
        ],
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=150, help="in progress (150)")
    parser.add_argument("--cuts", type=int, default=20, help="of the connection (20)")
    asked = parser.parse_args()
    print(f"{asked.calls} calls in progress, {asked.cuts} cuts; {machine()}")
    return 0 if report(asyncio.run(measure(asked.calls, asked.cuts)), asked.calls) else 1


if __name__ == "__main__":
    sys.exit(main())
