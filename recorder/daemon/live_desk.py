"""The daemon's side of recorder.live: shows the calls in progress, and carries in what a page or a program asks of one.

Must not decide who may ask. The invariant: what is asked goes the way of an agent's key, in the call's own turn, and is
answered by what Asterisk confirmed, never by our having asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Sequence
from datetime import datetime, timedelta
from typing import Final, Protocol
from uuid import UUID, uuid4

from recorder.call import CallState, KeyAnswer, KeyPressed, Phase, overridable, party_of, standing_with
from recorder.daemon.calls import CallBook
from recorder.daemon.runner import CallRunner
from recorder.do_not_record import interface_of, member_of
from recorder.live import Hand, LiveCall, NotDone, heard
from recorder.model import (
    CallId,
    Channel,
    ConsentEventId,
    Direction,
    KeyAct,
    Linkedid,
    OverrideReason,
    PartyKind,
    Uniqueid,
)
from recorder.policy import OverrideTerms

ANSWERED_WITHIN: Final = timedelta(seconds=3)
"""A pause that is not confirmed in 0.3 s ends the capture, and speech that is not in 2 s (runner.py): to each of them
there is an answer by then."""

OVERRIDDEN_WITHIN: Final = timedelta(seconds=5)
"""The caller's channel is brought in two seconds, or the call says that it was not; and Asterisk opens a file."""


class Overrides(Protocol):
    """How an override begins without a key (daemon/reception.py)."""

    def terms(self, line: str, reason: OverrideReason) -> OverrideTerms | None: ...

    async def override(
        self, runner: CallRunner, presser: Channel, reason: OverrideReason, hand: Hand, audit: UUID
    ) -> None: ...


class LiveDesk:
    """See recorder.live.Live."""

    def __init__(
        self,
        book: CallBook,
        now: Callable[[], datetime],
        long: Callable[[], Collection[CallId]],
        overrides: Overrides,
    ) -> None:
        self._book = book
        self._now = now
        self._long = long
        self._overrides = overrides
        self._asked: dict[UUID, asyncio.Future[KeyAnswer]] = {}

    @property
    def node(self) -> str:
        return self._book.node

    def calls(self) -> Sequence[LiveCall]:
        return sorted((self._view(runner) for runner in self._book if _is_on(runner)), key=lambda call: call.began_at)

    def find(self, call: CallId) -> LiveCall | None:
        runner = self._book.find(call)
        return self._view(runner) if runner is not None and _is_on(runner) else None

    async def press(self, call: CallId, act: KeyAct, by: str, telephone: str | None) -> KeyAnswer | NotDone:
        runner = self._book.find(call)
        if runner is None or not _is_on(runner):
            return NotDone.OVER
        presser = _agents_leg(runner, telephone)
        if presser is None:
            return NotDone.NOBODY
        asked = uuid4()
        event = KeyPressed(
            at=self._now(), act=act, presser=presser, consent=ConsentEventId(uuid4()), audit=asked, by=by
        )

        async def put() -> None:
            runner.put(event)

        return await self._answer(asked, put(), ANSWERED_WITHIN)

    async def override(self, call: CallId, reason: OverrideReason, hand: Hand, telephone: str) -> KeyAnswer | NotDone:
        runner = self._book.find(call)
        if runner is None or not _is_on(runner):
            return NotDone.OVER
        presser = _agents_leg(runner, telephone)
        if presser is None or runner.state.caller is None:
            return NotDone.NOBODY
        asked = uuid4()
        asking = self._overrides.override(runner, presser, reason, hand, asked)
        return await self._answer(asked, asking, OVERRIDDEN_WITHIN)

    def terms(self, call: CallId, reason: OverrideReason) -> OverrideTerms | None:
        runner = self._book.find(call)
        return self._overrides.terms(runner.state.line, reason) if runner is not None else None

    async def _answer(
        self, asked: UUID, asking: Coroutine[object, object, None], within: timedelta
    ) -> KeyAnswer | NotDone:
        """What the call says to this, once it is asked."""
        answer: asyncio.Future[KeyAnswer] = asyncio.get_running_loop().create_future()
        self._asked[asked] = answer
        try:
            async with asyncio.timeout(within.total_seconds()):
                await asking
                return await answer
        except TimeoutError:
            return NotDone.UNCONFIRMED
        finally:
            del self._asked[asked]

    def answered(self, asked: UUID, answer: KeyAnswer) -> None:
        """The call says what became of it. Whoever asked an earlier daemon waits no more."""
        waiting = self._asked.get(asked)
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)

    def _view(self, runner: CallRunner) -> LiveCall:
        state = runner.state
        return LiveCall(
            call=state.call,
            node=state.node,
            line=state.line,
            direction=state.direction,
            phase=state.phase,
            consent=state.consent,
            heard=heard(state),
            began_at=runner.started_at,
            paused_at=state.paused.at if state.paused is not None else None,
            paused_long=state.call in self._long(),
            telephones=frozenset(interface_of(leg.name) for leg in _agents_legs(runner)),
            member=member_of(state.interface) if state.interface else None,
            overridable=overridable(state),
        )


def _is_on(runner: CallRunner) -> bool:
    return runner.state.phase not in (Phase.OVER, Phase.CLOSED)


def _agents_legs(runner: CallRunner) -> list[Channel]:
    """The agents' channels that stand in a bridge, each by its newest name; first who stands with the caller.

    Whom the agent of an outgoing call rang is made by their leg, and no agent for that. The halves of a Local channel
    are left out where the telephone behind them is known: whose it is that telephone says.
    """
    state = runner.state
    newest = {leg: name for name, leg in runner.names.items() if leg in state.bridges and _is_agents(state, leg)}
    linkedid = state.caller.linkedid if state.caller is not None else Linkedid("")
    legs = [Channel(name=name, uniqueid=leg, linkedid=linkedid) for leg, name in newest.items()]
    telephones = [leg for leg in legs if not leg.name.startswith("Local/")]
    return sorted(telephones or legs, key=lambda leg: not standing_with(state, leg.uniqueid))


def _is_agents(state: CallState, leg: Uniqueid) -> bool:
    rung_in = state.direction is Direction.INCOMING and standing_with(state, leg)
    return party_of(state, leg) is PartyKind.AGENT and (leg in state.agents or rung_in)


def _agents_leg(runner: CallRunner, telephone: str | None) -> Channel | None:
    legs = _agents_legs(runner)
    return next((leg for leg in legs if telephone in (None, interface_of(leg.name))), None)
