"""From a key in the talk to silence or to the end, while other talks are recorded.

    python -m bench keys [--pauses 250] [--withdrawals 1000] [--talks 50]

Agents pause and resume; callers and agents press the key that withdraws. By Asterisk's own word: from the Timestamp of
the last digit's DTMFEnd to that of MixMonitorMute or MixMonitorStop. By the samples of what Asterisk wrote: from the
place of the key, reckoned from where the presser fell silent to press it, to the first exact zero of who speaks on. A
frame is 20 ms, so the second may be that much out, and below zero.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from bench.centre import CARD, SAYING, SAYS_HZ, Centre, centre, leg_of
from bench.machine import Figure, machine, tabled
from bench.raw import Raw, first_silence, recordings_by_leg
from tests.pbx import tones
from tests.pbx.admin import Event

EVENTS = "DTMFBegin|DTMFEnd|MixMonitorMute|MixMonitorStop"
TALK_SECONDS = 900.0
ROUNDS = 5
ROUND_SECONDS = 2 * SAYING + CARD + 1.2
PAUSE_MS, STOP_MS, PAUSES = 150.0, 500.0, 200
PAUSING, WITHDRAWING = 12, 40
"""Calls at a time in which such a key is pressed."""
QUIET_BEFORE = 0.1
"""Seconds for which SendDTMF() is silent before its first digit (main/app.c, ast_dtmf_stream)."""


@dataclass(slots=True)
class Waits:
    """Milliseconds by Asterisk's word, and by its samples."""

    paused: list[float] = field(default_factory=list)
    resumed: list[float] = field(default_factory=list)
    in_samples: list[float] = field(default_factory=list)
    withdrawn: dict[str, list[float]] = field(default_factory=lambda: {"caller": [], "agent": []})


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key of several digits, as Asterisk heard it on one channel."""

    digits: str
    began: float  # Timestamp, of the first digit
    ended: float
    by: str  # uniqueid
    call: str  # linkedid


def keys(events: list[Event]) -> Iterator[Key | Event]:
    """The keys that begin with a star, each once its last digit ended, among the other events."""
    begun: dict[str, tuple[str, float]] = {}
    for event in events:
        if event.is_("DTMFBegin", Direction="Received", Digit="*"):
            begun[event["Uniqueid"]] = ("", float(event["Timestamp"]))
        elif event.is_("DTMFEnd", Direction="Received") and event["Uniqueid"] in begun:
            digits, began = begun[event["Uniqueid"]]
            begun[event["Uniqueid"]] = (digits + event["Digit"], began)
            if digits + event["Digit"] in ("*81", "*82", "*9"):
                del begun[event["Uniqueid"]]
                yield Key(
                    digits=digits + event["Digit"],
                    began=began,
                    ended=float(event["Timestamp"]),
                    by=event["Uniqueid"],
                    call=event["Linkedid"],
                )
        elif event.name.startswith("MixMonitor"):
            yield event


def by_asterisks_word(events: list[Event], waits: Waits) -> dict[str, list[float]]:
    """Fill in what the events tell; returns, by call, how long each pause key took to press, in seconds."""
    waiting: dict[str, Key] = {}
    pressed: dict[str, list[float]] = {}
    for event in keys(events):
        if isinstance(event, Key):
            waiting[event.call] = event
            if event.digits == "*81":
                pressed.setdefault(event.call, []).append(event.ended - event.began)
            continue
        key = waiting.get(event["Linkedid"])
        if key is None or not _answers(key, event):
            continue
        del waiting[event["Linkedid"]]
        took = 1000 * (float(event["Timestamp"]) - key.ended)
        if key.digits == "*9":
            waits.withdrawn["caller" if key.by == event["Uniqueid"] else "agent"].append(took)
        else:
            (waits.paused if key.digits == "*81" else waits.resumed).append(took)
    return pressed


def _answers(key: Key, event: Event) -> bool:
    wanted = {"*81": ("MixMonitorMute", "1"), "*82": ("MixMonitorMute", "0"), "*9": ("MixMonitorStop", None)}
    name, state = wanted[key.digits]
    return event.name == name and event.get("State") == state


def by_samples(raw: Raw, recordings: Mapping[str, list[object]], pressed: Mapping[str, list[float]]) -> list[float]:
    """Milliseconds from each pause key to the first exact zero of the caller, on the one time line of both files."""
    found = []
    for call, durations in pressed.items():
        (recording,) = recordings[leg_of(call)]
        caller = raw.leg(recording, "caller")
        said = tones.stretches(raw.path(recording, "agent"), 0, SAYS_HZ)
        for end, pressing in zip(_ends_before_a_pause(said), durations, strict=False):
            place = round((end + QUIET_BEFORE + pressing) * tones.RATE)
            silent = first_silence(caller, place - 2 * tones.RATE // 10, tones.RATE // 5)
            if silent is not None:
                found.append(1000 * (silent - place) / tones.RATE)
    return found


def _ends_before_a_pause(said: list[tuple[float, float]]) -> list[float]:
    """The ends of what was said before silences as long as a pause makes."""
    starts = [start for start, _ in said[1:]]
    return [end for (_, end), start in zip(said, starts, strict=False) if start - end > CARD]


async def measure(pauses: int, withdrawals: int, talks: int) -> Waits:
    waits = Waits()
    async with centre(raw=True) as on, await on.pbx.admin() as ears:
        raw = Raw(on)
        await ears.action("Filter", {"Operation": "Add", "Filter": f"Event: ({EVENTS})"})
        await on.every(0.2, talks, TALK_SECONDS)
        since = ears.mark()
        seconds = 6 + ROUNDS * ROUND_SECONDS
        pausing = {"__BENCH_AGENT": "pauses", "__BENCH_ROUNDS": str(ROUNDS)}
        await _together(on, -(-pauses // ROUNDS), seconds, [pausing], PAUSING)
        pressed = by_asterisks_word(ears.events[since:], waits)
        print(f"  {await on.channels()} channels; {len(waits.paused)} pauses")
        since = ears.mark()
        stopping: list[Mapping[str, str]] = [{"BENCH_STOPS": "1"}, {"__BENCH_AGENT": "stops"}]
        await _together(on, withdrawals, 10, stopping, WITHDRAWING)
        by_asterisks_word(ears.events[since:], waits)
        await on.admin.action("Hangup", {"Channel": "/.*/"})
        await on.until_quiet(timeout=120)
        waits.in_samples = by_samples(raw, await recordings_by_leg(on), pressed)
        await on.accounted()
        await asyncio.to_thread(on.verified)
    return waits


async def _together(on: Centre, calls: int, seconds: float, does: list[Mapping[str, str]], at_once: int) -> None:
    """So many calls, each of so many seconds, `at_once` at a time; returns when the last is over."""
    gap = seconds / at_once
    loop = asyncio.get_running_loop()
    began = loop.time()
    for number in range(calls):
        await asyncio.sleep(max(0.0, began + number * gap - loop.time()))
        await on.call(seconds + 20, does=does[number % len(does)])
    await asyncio.sleep(seconds + 3)


def report(waits: Waits) -> bool:
    return tabled(
        "from the key's last digit, ms",
        [
            Figure(what="pause: to Asterisk's word", values=waits.paused, most=PAUSE_MS, least=PAUSES),
            Figure(what="pause: to exact zeros, in the samples", values=waits.in_samples, most=PAUSE_MS, least=PAUSES),
            Figure(what="resume: to Asterisk's word", values=waits.resumed),
            Figure(what="the caller withdraws: to the stop", values=waits.withdrawn["caller"], most=STOP_MS, least=500),
            Figure(what="the agent stops: to the stop", values=waits.withdrawn["agent"], most=STOP_MS, least=500),
        ],
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pauses", type=int, default=250, help="pause keys (250)")
    parser.add_argument("--withdrawals", type=int, default=1000, help="keys that withdraw or stop (1000)")
    parser.add_argument("--talks", type=int, default=50, help="recorded talks in progress meanwhile (50)")
    asked = parser.parse_args()
    print(f"{asked.talks} talks in progress; {machine()}")
    return 0 if report(asyncio.run(measure(asked.pauses, asked.withdrawals, asked.talks))) else 1


if __name__ == "__main__":
    sys.exit(main())
