"""What the stories of tests/live share that tell where a recorded call may go: who speaks which tone, and the judges.

Every party has a tone of its own, so that a recording shows who was captured and for how long. What counts as beyond
the line's own talk is reckoned from Asterisk's own stamps of who entered and left the caller's bridge.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.live.stage import Performance, perform
from tests.pbx import tones
from tests.pbx.admin import Event, Matcher
from tests.pbx.calls import Call, Calls
from tests.pbx.party import Gone, Party, Say, Script
from tests.pbx.sip import SipParty
from tests.stories import AGENT, CALLER, LEFT, MUSIC, RIGHT, Story

LINES: Mapping[str, Mapping[str, object]] = {
    "support": {"consent": "opt_in", "answer_seconds": 5, "retries": 1},
    "sales": {"consent": "opt_in", "answer_seconds": 5, "retries": 1},
    "announced": {"consent": "notice", "queues": []},
    "lawful": {"consent": "not_required", "legal_basis": "MiFID II art. 16(7)", "queues": []},
    "closed": {"consent": "never", "queues": []},
}
SECOND, THIRD = 1000, 1400  # Hz: the next line's agent; anybody else whom the caller comes to speak with
CONSULTING, LATER = 1600, 1750  # Hz: the agent beside the caller's back; the caller out of the line
STRANGE = (SECOND, THIRD, CONSULTING, LATER)
CALLER_SPEAKS: Script = (Say(CALLER),)
AGENT_SPEAKS: Script = (Say(AGENT),)
TALKED = 2.0
"""Seconds of talk before anything happens, and with whoever comes after: longer than any stop may take."""
JITTER = 0.06
"""Seconds by which a file's clock and Asterisk's stamps may differ: three frames."""
CLOSED_WITHIN = 1.0
"""Seconds from the end of the line's own talk to Asterisk's word that the capture's files are closed (SC-06)."""


async def talk(
    calls: Calls,
    *,
    line: str = "lawful",
    sip: bool = False,
    caller: Script = CALLER_SPEAKS,
    agent: Script = AGENT_SPEAKS,
    queue: str = "",
    variables: Mapping[str, str] | None = None,
) -> Call:
    """A talk at a line of the house, TALKED seconds after it began; who speaks, speaks until the call is over."""
    queue = queue or calls.own_queue()
    given = {"TRANSFER_CONTEXT": "from-agents", **(variables or {})}
    call = await calls.at_line(
        line, caller, agent, queue=queue, member=f"desk{queue}", sip=sip, variables=None if sip else given
    )
    await call.until_rung()
    await call.placed.until_bridged()
    await asyncio.sleep(TALKED)
    return call


async def speaks_on(calls: Calls, call: Call, other: Awaitable[Party | SipParty]) -> Call:
    """The caller and whoever was rung talk for a while; then the caller hangs up."""
    party = await asyncio.wait_for(other, 30)
    await party.until_bridged()
    if isinstance(call.placed, Party):
        await call.placed.say(LATER)
    await asyncio.sleep(TALKED)
    await calls.hang_up(call)
    return call


async def keys(calls: Calls, call: Call, feature: str, exten: str) -> None:
    """The agent presses a feature's key and the extension, and all of it again where Asterisk did not take it."""
    agent = await call.until_rung()
    assert isinstance(agent, Party)

    def taken(event: Event) -> bool:
        blind = event.is_("BlindTransfer", TransfereeUniqueid=call.placed.leg)
        consults = event.name == "Newchannel" and event["Channel"].startswith(f"Local/{exten}@")
        return blind or consults

    async def heard(wanted: str | Matcher, seconds: float, **headers: str) -> bool:
        with suppress(TimeoutError):
            await calls.admin.until(wanted, since=since, timeout=seconds, **headers)
            return True
        return False

    for _ in range(3):
        since = call.sent_on = calls.admin.mark()
        await agent.press(feature)
        if not await heard("MusicOnHoldStart", 4, Uniqueid=call.placed.leg):
            continue
        await asyncio.sleep(0.5)  # Asterisk begins to ask for the number only after the music has begun
        await agent.press(exten)
        if await heard(taken, 8):
            return
        await heard("MusicOnHoldStop", 10, Uniqueid=call.placed.leg)
    raise TimeoutError(f"Asterisk did not take {feature} and {exten}")


async def hangs_up_if_there(party: Party | SipParty) -> None:
    """Whom the caller has left may talk on with somebody else, or be gone."""
    if isinstance(party, Party):
        with suppress(Gone):
            await party.hang_up()


# ---------------------------------------------------------------- judges


def talked(path: Path, agent: int = AGENT) -> list[str]:
    """Caller and agent are both there for most of the talk, each on their own channel."""
    heard = {hz: tones.seconds_of(tones.stretches(path, side, hz)) for side, hz in ((LEFT, CALLER), (RIGHT, agent))}
    return [f"{seconds:.2f} s of {hz} Hz" for hz, seconds in heard.items() if seconds < TALKED / 2]


def nobody_else(path: Path, strange: Sequence[int] = STRANGE) -> list[str]:
    """Not one frame of anybody who does not belong to the talk, at any level."""
    found = [(side, hz, tones.stretches(path, side, hz, level=50)) for side in (LEFT, RIGHT) for hz in strange]
    return [f"{hz} Hz on channel {side} at {what}" for side, hz, what in found if what]


def only_the_talk(path: Path) -> list[str]:
    return talked(path) + nobody_else(path)


def only_the_second_talk(path: Path) -> list[str]:
    return talked(path, SECOND) + nobody_else(path, (AGENT, THIRD, CONSULTING, LATER))


def stamp(event: Event) -> float:
    return float(event["Timestamp"])


def scope(call: Call) -> tuple[float, float]:
    """When the caller and the first agent came together, and when they were no longer alone so.

    That is the transfer where there was a blind one: a Local channel that Asterisk takes out of the path leaves, too.
    """
    placed = call.placed
    events = placed.admin.events[placed.since :]
    in_vain = call.sent_on - placed.since  # the agent leaves and comes back where Asterisk does not take the number
    sent = [stamp(event) for event in events if event.is_("BlindTransfer", TransfereeUniqueid=placed.leg)]
    bridges = {event["BridgeUniqueid"] for event in events if event.is_("BridgeEnter", Uniqueid=placed.leg)}
    began = None
    for place, event in enumerate(events):
        if event.get("BridgeUniqueid") not in bridges:
            continue
        company = int(event.get("BridgeNumChannels", "0"))
        if began is None and event.name == "BridgeEnter" and company == 2:
            began = stamp(event)
        elif began is not None and place >= in_vain and (event.name == "BridgeLeave" or company > 2):
            return began, sent[0] if sent else stamp(event)
    raise AssertionError("they were never together, or never parted")


def beyond(path: Path, call: Call) -> float:
    """Seconds of the recording that hold any sound after the line's own talk had ended."""
    began, ended = scope(call)
    loud = np.flatnonzero(np.abs(tones.read(path).samples).max(axis=1, initial=0) > 0)
    return max(0.0, (int(loud[-1]) + 1) / tones.RATE - (ended - began)) if len(loud) else 0.0


def lags(call: Call) -> list[float]:
    """Seconds from each hold or departure to Asterisk's word that it writes silence, or nothing any more."""
    ids = call.linkedids(call.placed.admin)
    events = [event for event in call.placed.admin.events[call.placed.since :] if event.get("Linkedid") in ids]
    found = []
    asked: float | None = None
    for event in events:
        quiet = event.is_("MixMonitorMute", State="1") or event.name == "MixMonitorStop"
        if asked is not None and quiet:
            found.append(stamp(event) - asked)
            asked = None
        elif asked is None and event.name in ("Hold", "BridgeLeave"):
            asked = stamp(event)
        elif event.name == "Unhold":
            asked = None
    return found


def music(call: Call, settled: list[Path]) -> list[str]:
    """Not one frame of music, neither where a talk begins nor where a hold does."""
    found = [(side, tones.stretches(path, side, MUSIC, level=50)) for path in settled for side in (LEFT, RIGHT)]
    print(f"silent after {[round(1000 * lag) for lag in lags(call)]} ms")
    return [f"music on channel {side} at {what}" for side, what in found if what]


def parted(call: Call) -> float:
    """When caller and agent were parted for good, by Asterisk's stamp: an agent who goes aside may still come back."""
    agent = call.answering
    handed_over = [
        stamp(event)
        for event in call.placed.admin.events[call.placed.since :]
        if agent is not None and event.is_("AttendedTransfer", OrigTransfererUniqueid=agent.leg)
    ]
    return handed_over[0] if handed_over else scope(call)[1]


def closing(call: Call) -> float | None:
    """Seconds from there to MixMonitorStop on the caller's leg; None where Asterisk never said so."""
    stops = call.placed.admin.seen("MixMonitorStop", since=call.placed.since, Uniqueid=call.placed.leg)
    return stamp(stops[0]) - parted(call) if stops else None


def closed_in_time(call: Call) -> list[str]:
    took = closing(call)
    print(f"closed after the line's own talk: {'never' if took is None else f'{1000 * took:.0f} ms'}")
    if took is None:
        return ["Asterisk never said that the capture had stopped"]
    return [f"the files were closed {took:.2f} s after the line's own talk"] if took > CLOSED_WITHIN else []


def ends_with_the_line(call: Call, settled: list[Path]) -> list[str]:
    """The first recording holds no sound of after the caller left the line's own talk, however late we heard of it.

    A telephone that a busy machine lets speak late, or be heard late, sends what it owes at once: more sound than time.
    Where Asterisk had closed the files by then, none of it is of after the talk.
    """
    over, took = beyond(settled[0], call), closing(call)
    print(f"captured beyond the line's own talk: {1000 * over:.0f} ms")
    closed = took is not None and 0 <= took <= JITTER
    late = over > JITTER and not closed
    return music(call, settled) + ([f"{1000 * over:.0f} ms of sound after the line's own talk"] if late else [])


def is_closed_with_the_line(call: Call, settled: list[Path]) -> list[str]:
    """The same, and Asterisk had closed the capture's files within a second."""
    return ends_with_the_line(call, settled) + closed_in_time(call)


# ---------------------------------------------------------------- the performance


@dataclass(slots=True)
class Theatre:
    """A cast that is played once a release, by the first test that asks."""

    cast: Sequence[Story]
    lines: Mapping[str, Mapping[str, object]]
    _played: dict[str, Performance | Exception]

    @classmethod
    def of(cls, cast: Sequence[Story], lines: Mapping[str, Mapping[str, object]] = LINES) -> Theatre:
        return cls(cast, lines, {})

    def on(self, release: str) -> Performance:
        if release not in self._played:
            try:
                self._played[release] = perform(release, self.cast_on(release), lines=self.lines, at_once=4)
            except Exception as error:
                self._played[release] = error
                raise
        played = self._played[release]
        if isinstance(played, Exception):
            pytest.fail(f"the cast could not be played: {type(played).__name__}: {str(played)[:300]}", pytrace=False)
        return played

    def cast_on(self, release: str) -> list[Story]:
        """All of it on 22; on 16 those that are marked."""
        return [story for story in self.cast if release == "22" or story.on_16]
