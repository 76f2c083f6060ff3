"""A pause that was forgotten is said once and shown while it lasts; it is never ended by us."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

from structlog.testing import capture_logs

from recorder.daemon import PauseWatch
from recorder.model import KeyAct
from recorder.policy import LineRules
from tests.core.call_cast import AGENT, CALL, CALLER, admitted, answered, armed, connected, entered, key
from tests.core.test_keys import after
from tests.facts import NOON


async def test_a_forgotten_pause_is_said_once_and_stands_until_somebody_ends_it() -> None:
    talk = (admitted(), answered(), armed(), connected(), entered(AGENT, 1), entered(CALLER, 2), key(KeyAct.PAUSE))
    runner: Any = SimpleNamespace(state=after(*talk))
    at = NOON
    lines = {"support": LineRules(name="support", pause_longest=timedelta(seconds=60))}
    watch = PauseWatch([runner], lines, lambda: at)
    with capture_logs() as said:
        await watch.look()
        assert watch.warnings == []
        at = NOON + timedelta(seconds=61)
        await watch.look()
        await watch.look()
    assert [line["event"] for line in said] == ["pause_long"]
    assert watch.warnings == [f"call {CALL} is paused since 12:00:00 UTC: was it forgotten?"]
    assert runner.state.paused is not None

    runner.state = after(*talk, key(KeyAct.RESUME))
    await watch.look()
    assert watch.warnings == []
