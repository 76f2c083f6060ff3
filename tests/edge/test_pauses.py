"""A pause that was forgotten is said once and shown while it lasts; it is never ended by us."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

from structlog.testing import capture_logs

from recorder.ami import AmiDown
from recorder.daemon import PauseWatch
from recorder.model import Channel, KeyAct
from recorder.policy import LineRules
from tests.core.call_cast import (
    AGENT,
    CALL,
    CALLER,
    FAR,
    NEAR,
    SECOND,
    admitted,
    answered,
    armed,
    connected,
    entered,
    key,
    left,
)
from tests.core.test_consulted import OVER_THERE
from tests.core.test_keys import after
from tests.facts import NOON


async def test_a_forgotten_pause_is_said_once_and_stands_until_somebody_ends_it() -> None:
    at = NOON
    talk = (admitted(), answered(), armed(), connected(), entered(AGENT, 1), entered(CALLER, 2), key(KeyAct.PAUSE))
    runner: Any = SimpleNamespace(
        state=after(*talk),
        names={"PJSIP/alice-old": AGENT.uniqueid, AGENT.name: AGENT.uniqueid},
        now=lambda: at,
    )
    reminded: list[str] = []

    async def remind(channel: Channel) -> None:
        reminded.append(channel.name)

    lines = {"support": LineRules(name="support", pause_longest=timedelta(seconds=60))}
    told: list[int] = []
    watch = PauseWatch([runner], lines, lambda: at, remind, alarm=lambda: told.append(len(watch.long)))
    with capture_logs() as said:
        await watch.look()
        assert (watch.warnings, told) == ([], [])
        at = NOON + timedelta(seconds=61)
        await watch.look()
        await watch.look()
    assert [line["event"] for line in said] == ["pause_long"]
    assert reminded == [AGENT.name]
    assert told == [1]
    assert watch.warnings == [f"call {CALL} is paused since 12:00:00 UTC: was it forgotten?"]
    assert runner.state.paused is not None

    runner.state = after(*talk, key(KeyAct.RESUME))
    await watch.look()
    assert watch.warnings == []


async def test_who_speaks_with_a_caller_that_was_handed_over_is_reminded() -> None:
    state = after(*OVER_THERE, key(KeyAct.PAUSE, SECOND))
    assert state.paused is not None
    runner: Any = SimpleNamespace(
        state=state,
        names={who.name: who.uniqueid for who in (AGENT, SECOND, NEAR, FAR, CALLER)},
        now=lambda: NOON + timedelta(hours=1),
    )
    reminded: list[str] = []

    async def remind(channel: Channel) -> None:
        reminded.append(channel.name)

    await PauseWatch([runner], {}, lambda: NOON + timedelta(hours=1), remind).look()
    assert reminded == [SECOND.name]


async def test_an_agent_who_has_the_caller_on_hold_is_reminded_when_they_are_back_and_an_error_is_said() -> None:
    talk = (admitted(), answered(), armed(), connected(), entered(AGENT, 1), entered(CALLER, 2), key(KeyAct.PAUSE))
    apart = (*talk, left(AGENT, 1))
    runner: Any = SimpleNamespace(
        state=after(*apart), names={AGENT.name: AGENT.uniqueid}, now=lambda: NOON + timedelta(hours=1)
    )
    tried: list[str] = []

    async def remind(channel: Channel) -> None:
        tried.append(channel.name)
        raise AmiDown("away")

    watch = PauseWatch([runner], {}, lambda: NOON + timedelta(hours=1), remind)
    await watch.look()
    assert tried == []
    runner.state = after(*talk)
    with capture_logs() as said:
        await watch.look()
        await watch.look()
    assert tried == [AGENT.name]
    assert [line["event"] for line in said] == ["pause_not_reminded"]
