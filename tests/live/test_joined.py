"""An agent joins the caller with another line's agent by their telephone's second line (SIP REFER, CN-13).

Every party has a tone of its own: what the two agents say to each other is in no recording, and what caller and second
agent say is.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.live.ways import (
    CONSULTING,
    LINES,
    SECOND,
    STRANGE,
    TALKED,
    Theatre,
    ends_with_the_line,
    nobody_else,
    only_the_second_talk,
    only_the_talk,
    talk,
)
from tests.pbx import tones
from tests.pbx.admin import Event
from tests.pbx.calls import Call, Calls, short_number
from tests.pbx.dialog import Dialog
from tests.pbx.party import Party, Press, Say, Script, Wait
from tests.stories import CALLER, HEARD, LEFT, RIGHT, Story

pytestmark = [pytest.mark.live]

AGREES: Script = (Say(CALLER), Wait(HEARD + 0.5), Press("1"))
REFUSES: Script = (Say(CALLER), Wait(HEARD + 0.5), Press("2"))
AGREES_AND_WITHDRAWS: Script = (*AGREES, Wait(18), Press("*9"))
CAPTURED_WITHIN = 1.0
"""Seconds of the second talk that may be missing: the first capture's end, a key, a question, a start."""


async def _consults(calls: Calls, call: Call, line: str, *, sip: bool = False) -> tuple[Dialog, Dialog, Party | None]:
    """On the telephone's second line the agent speaks CONSULTING with that line's agent, who speaks SECOND.

    Returns both dialogs of the telephone, and that agent where their phone is none of SIP's.
    """
    agent = await call.until_rung()
    first = await Dialog.of(calls.pbx, calls.admin, agent.channel)
    await first.hold()
    queue, party = calls.own_queue(), None
    if sip:
        port = await calls.sit_at_phone(f"own{int(queue)}")
        phone = await calls.phone_listens((Say(SECOND),), port=port)
        beside = await calls.dial(short_number(line, queue), (Say(CONSULTING),), sip=True)
        await (await calls.rung(phone)).until_bridged()
    else:
        await calls.sit(f"own{int(queue)}", f"Local/desk{queue}@phones/n")
        beside = await calls.dial(short_number(line, queue), (Say(CONSULTING),), sip=True)
        party = await asyncio.wait_for(calls.joins(beside, (Say(SECOND),), rings=f"desk{queue}"), 60)
        await party.until_bridged()
    await asyncio.sleep(TALKED)
    return first, await Dialog.of(calls.pbx, calls.admin, beside.placed.channel), party


async def _refers(calls: Calls, call: Call, one: Dialog, into: Dialog) -> None:
    call.sent_on = calls.admin.mark()
    await one.refer("desk", into=into)

    def is_its_own(event: Event) -> bool:
        joined = (event.get("TransfereeChannel"), event.get("TransferTargetChannel"))
        return event.name == "AttendedTransfer" and call.placed.channel in joined

    await calls.admin.until(is_its_own, since=call.sent_on)


async def _joins(
    calls: Calls, line: str, *, caller: Script = AGREES, by_second: bool = False, sip: bool = False
) -> Call:
    call = await talk(calls, line="support", sip=True, caller=caller)
    first, second, _ = await _consults(calls, call, line, sip=sip)
    await _refers(calls, call, *((second, first) if by_second else (first, second)))
    await asyncio.sleep(TALKED + 1)
    await calls.hang_up(call)
    return call


async def to_a_line_that_the_yes_covers(calls: Calls) -> Call:
    return await _joins(calls, "sales")


async def from_the_second_line(calls: Calls) -> Call:
    return await _joins(calls, "sales", by_second=True)


async def to_a_sip_telephone(calls: Calls) -> Call:
    return await _joins(calls, "sales", sip=True)


async def after_a_refusal(calls: Calls) -> Call:
    return await _joins(calls, "sales", caller=REFUSES)


async def to_a_line_that_is_never_recorded(calls: Calls) -> Call:
    return await _joins(calls, "closed")


async def and_its_agent_pauses(calls: Calls) -> Call:
    call = await talk(calls, line="support", sip=True, caller=AGREES)
    first, second, party = await _consults(calls, call, "sales")
    assert party is not None
    await _refers(calls, call, first, second)
    await asyncio.sleep(TALKED)
    await party.press("*81")
    await calls.admin.until("RecorderKey", since=call.sent_on, timeout=20, Uniqueid=party.leg)
    await asyncio.sleep(TALKED)
    await calls.hang_up(call)
    return call


async def and_the_caller_withdraws_there(calls: Calls) -> Call:
    call = await talk(calls, line="support", sip=True, caller=AGREES_AND_WITHDRAWS)
    first, second, _ = await _consults(calls, call, "sales")
    await _refers(calls, call, first, second)
    await calls.admin.until("RecorderKey", since=call.sent_on, timeout=40, Uniqueid=call.placed.leg)
    await asyncio.sleep(TALKED)
    await calls.hang_up(call)
    return call


# ---------------------------------------------------------------- judges


def from_the_join_on(path: Path) -> list[str]:
    """The second talk, from its first word on but for what the start costs; speech in both directions to the end."""
    seconds = tones.read(path).seconds
    heard = {side: tones.seconds_of(tones.stretches(path, side, hz)) for side, hz in ((LEFT, CALLER), (RIGHT, SECOND))}
    print(f"captured {seconds:.2f} s, heard {heard}")
    short = [] if seconds >= TALKED + 1 - CAPTURED_WITHIN else [f"{seconds:.2f} s only"]
    return short + only_the_second_talk(path)


def silent_since_the_pause(path: Path) -> list[str]:
    quiet = tones.silence(path, LEFT, level=0), tones.silence(path, RIGHT, level=0)
    last = [spans[-1] if spans else (0.0, 0.0) for spans in quiet]
    wrong = [f"silent {span}" for span in last if span[1] - span[0] < TALKED - 0.5]
    return wrong + nobody_else(path, STRANGE[1:])


CAST = (
    Story(
        name="to a line that the yes covers",
        outcome="recorded",
        place=to_a_line_that_the_yes_covers,
        proof=only_the_talk,
        more=(from_the_join_on,),
        also=ends_with_the_line,
        on_16=True,
    ),
    Story(
        name="from the second line",
        outcome="recorded",
        place=from_the_second_line,
        proof=only_the_talk,
        more=(from_the_join_on,),
        also=ends_with_the_line,
    ),
    Story(
        name="to a SIP telephone",
        outcome="recorded",
        place=to_a_sip_telephone,
        proof=only_the_talk,
        more=(from_the_join_on,),
        also=ends_with_the_line,
        on_16=True,
    ),
    Story(name="after a refusal", outcome="declined", place=after_a_refusal),
    Story(
        name="to a line that is never recorded",
        outcome="recorded",
        place=to_a_line_that_is_never_recorded,
        proof=only_the_talk,
        also=ends_with_the_line,
    ),
    Story(
        name="and its agent pauses",
        outcome="recorded",
        place=and_its_agent_pauses,
        proof=only_the_talk,
        more=(silent_since_the_pause,),
    ),
    Story(name="and the caller withdraws there", outcome="declined", place=and_the_caller_withdraws_there),
)
THEATRE = Theatre.of(CAST, LINES)


def test_the_talk_with_who_was_consulted_by_telephone_is_captured_and_the_consultation_is_not(
    release: str, story: Story
) -> None:
    performance = THEATRE.on(release)
    assert performance[story].wrong == [], performance.said(story)


@pytest.mark.asterisk16
def test_the_books_balance_when_all_of_it_is_over(release: str) -> None:
    code, printed = THEATRE.on(release).verify
    assert code == 0, printed
