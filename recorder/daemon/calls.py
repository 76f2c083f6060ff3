"""Every call in progress, found by what Asterisk names, and its one queue.

Must not take a step itself: runner.py does. The invariants: an event goes to the call that its channels belong to, and
to the one whose bridge they enter; a call that entered no line of ours is nobody's; what is over is not opened again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import takewhile
from typing import TypeVar

import structlog

from recorder.call import (
    READ_EVENTS,
    AgentListed,
    CallAdmitted,
    CallState,
    ClockSet,
    Phase,
    Step,
    begin,
    outcome,
)
from recorder.capture import CaptureDesk
from recorder.catalogue import Catalogue, CatalogueAway
from recorder.daemon.owed import CallCounters, Ledgers, OwedStep
from recorder.daemon.runner import Bells, CallRunner, Rivals, Surroundings
from recorder.do_not_record import NOBODY, DoNotRecord
from recorder.local_journal import Journal
from recorder.model import (
    AgentConnected,
    AgentRung,
    BridgeEntered,
    BridgeId,
    BridgeLeft,
    CallId,
    Channel,
    DialBegan,
    Linkedid,
    LocalBridged,
    LocalOptimised,
    MixMonitorStarted,
    PbxEvent,
    Uniqueid,
)
from recorder.rivals import BEGINNINGS, ENDINGS

log = structlog.get_logger(__name__)

Key = TypeVar("Key")

REMEMBERED_FOR = timedelta(minutes=10)
COMINGS_REMEMBERED = 4096
"""Of all bridges. Longer than any look behind a caller takes (behind.py), also in a house of thousands of channels."""


class CallBook:
    """Every call in progress, found by what Asterisk names."""

    def __init__(
        self,
        *,
        node: str,
        catalogue: Catalogue,
        local: Journal,
        capture: CaptureDesk,
        rivals: Rivals,
        bells: Bells,
        now: Callable[[], datetime],
        catalogue_failed: Callable[[CatalogueAway], None],
        lists: DoNotRecord = NOBODY,
    ) -> None:
        self.node = node
        self.now = now
        self.counters = CallCounters()
        self._bells = bells
        self._around = Surroundings(
            ledgers=Ledgers(
                catalogue=catalogue,
                local=local,
                counters=self.counters,
                catalogue_failed=catalogue_failed,
                settle_now=bells.settle_now,
            ),
            capture=capture,
            rivals=rivals,
            bells=bells,
            counters=self.counters,
            now=now,
            lists=lists,
        )
        self._calls: dict[CallId, CallRunner] = {}
        self._by_uniqueid: dict[Uniqueid, CallRunner] = {}
        self._by_linkedid: dict[Linkedid, CallRunner] = {}
        self._by_bridge: dict[BridgeId, CallRunner] = {}
        self._past: dict[Uniqueid, datetime] = {}  # legs of closed calls, the oldest first
        self._comings: deque[tuple[int, BridgeEntered]] = deque(maxlen=COMINGS_REMEMBERED)
        self._came = 0

    @property
    def lists(self) -> DoNotRecord:
        return self._around.lists

    def __iter__(self) -> Iterator[CallRunner]:
        return iter(tuple(self._calls.values()))

    def __len__(self) -> int:
        return len(self._calls)

    def find(self, call: CallId) -> CallRunner | None:
        return self._calls.get(call)

    def of_channel(self, channel: Channel) -> CallRunner | None:
        """The open call that the channel belongs to."""
        runner = self._by_uniqueid.get(channel.uniqueid) or self._by_linkedid.get(channel.linkedid)
        return runner if runner is not None and runner.state.phase not in (Phase.OVER, Phase.CLOSED) else None

    def of_caller(self, uniqueid: Uniqueid) -> CallRunner | None:
        """The call that this channel belongs to, also one that is over and not settled yet."""
        return self._by_uniqueid.get(uniqueid)

    def has_leg(self, leg: Uniqueid) -> bool:
        """Whether a call in the book has, or had, this leg."""
        return leg in self._by_uniqueid

    def of_bridge(self, bridge: BridgeId) -> CallRunner | None:
        """The open call whose legs stand in the bridge."""
        return self._by_bridge.get(bridge)

    def is_past(self, channel: Channel) -> bool:
        """Whether the channel's call is over already: its visit comes out of a time that we slept through."""
        owner = self._by_uniqueid.get(channel.uniqueid)
        is_over = owner is not None and owner.state.phase in (Phase.OVER, Phase.CLOSED)
        return is_over or channel.uniqueid in self._past

    def open(self, event: CallAdmitted, *, begun: bool = False) -> CallRunner:
        """Begin a call; `begun`: a capture of ours was heard to begin on the caller's channel, by the dialplan."""
        self.counters.opened += 1
        runner = CallRunner(self._around, begin(event), event=event)
        channels = [channel for channel in (event.caller, event.agent) if channel is not None]
        for channel in channels:  # an agent's channel may have carried a call before, which is still being settled
            self._by_uniqueid[channel.uniqueid] = self._by_linkedid[channel.linkedid] = runner
        self._enter(runner, channels)
        self.watch(runner, event)
        if begun and event.caller is not None:
            self._around.rivals.claim(event.caller)
        self._around.rivals.adopt(runner, channels, event.at)
        return runner

    @property
    def is_blind(self) -> bool:
        """Whether something may have passed that nobody has compared yet."""
        return self._around.bells.unseen_since() is not None

    def watch(self, runner: CallRunner, event: CallAdmitted) -> None:
        """From now on the call hears who comes to those that stand behind its caller, whoever that is."""
        for leg, bridge in (event.behind or {}).items():
            self._by_uniqueid.setdefault(leg, runner)
            if bridge is not None:
                self._by_bridge.setdefault(bridge, runner)

    @property
    def moment(self) -> int:
        """What `tell_since` takes: who comes to a bridge from now on."""
        return self._came

    def tell_since(self, runner: CallRunner, moment: int) -> None:
        """Tell the call who came behind its caller since then: while that was looked at, nobody heard them for it."""
        behind = runner.state.behind
        since = takewhile(lambda one: one[0] > moment, reversed(self._comings)) if behind else ()
        for _, coming in reversed(tuple(since)):
            if coming.channel.uniqueid in behind or coming.bridge in behind.values():
                runner.put(coming)

    def restore(
        self,
        state: CallState,
        seq: int,
        linkedid: Linkedid,
        legs: Iterable[Uniqueid],
        owed: Sequence[OwedStep] = (),
    ) -> CallRunner:
        """Take up a call of an earlier daemon, which the catalogue holds open or is owed."""
        runner = CallRunner(self._around, Step(state=state), event=None, seq=seq, owed=owed)
        self._enter(runner, [])
        self._by_linkedid[linkedid] = runner
        for leg in legs:
            self._by_uniqueid[leg] = runner
        for bridge in state.bridges.values():
            self._by_bridge[bridge] = runner
        for beside in state.behind.values():
            if beside is not None:
                self._by_bridge.setdefault(beside, runner)
        return runner

    def pass_on(self, legs: Iterable[Uniqueid], beside: CallRunner, runner: CallRunner) -> None:
        """From now on the call hears of these legs, which belonged to the other, and who comes to where they stand."""
        known = {leg: name for name, leg in beside.names.items()}
        for leg in legs:
            self._by_uniqueid[leg] = runner
            if leg in known:
                runner.names[known[leg]] = leg
            bridge = beside.state.bridges.get(leg)
            if bridge is not None:
                self._by_bridge[bridge] = runner

    def clock_set(self, event: ClockSet) -> None:
        """Tell every call, ahead of whatever it is told from now on."""
        self._past = {leg: at + event.by for leg, at in self._past.items()}
        for runner in self:
            runner.clock_set(event)

    def deliver(self, event: PbxEvent) -> None:
        """Route an event of Asterisk's to its call; one of a call that entered no line of ours is not our affair."""
        if isinstance(event, BridgeEntered):
            self._came += 1
            self._comings.append((self._came, event))
        channels = _channels(event)
        runner = next((found for channel in channels if (found := self._owner(channel)) is not None), None)
        if runner is None and isinstance(event, BridgeEntered):
            runner = self._by_bridge.get(event.bridge)  # a stranger who joins one of our calls
        if runner is None:
            return
        self._know(runner, channels)
        self._tell_of_listed(runner, event)
        if isinstance(event, BridgeEntered | BridgeLeft):
            owner = self._by_bridge.setdefault(event.bridge, runner)
            if owner is not runner:
                owner.put(event)  # somebody of another call of ours joins this one, or leaves it
        if type(event) in READ_EVENTS or isinstance(event, (MixMonitorStarted, *BEGINNINGS, *ENDINGS)):
            runner.put(event)

    def _tell_of_listed(self, runner: CallRunner, event: PbxEvent) -> None:
        """Before an event that brings a leg into the call: whether its agent must not be recorded."""
        match event:
            case AgentConnected():
                agent, listed = event.agent, self.lists.names_agent(event.interface or event.agent.name)
            case BridgeEntered():
                agent, listed = event.channel, self.lists.names_agent(event.channel.name)
            case _:
                return
        if listed and agent.uniqueid not in runner.state.listed_legs:
            runner.put(AgentListed(at=event.at, agent=agent))

    def _owner(self, channel: Channel) -> CallRunner | None:
        return self._by_uniqueid.get(channel.uniqueid) or self._by_linkedid.get(channel.linkedid)

    def _enter(self, runner: CallRunner, channels: list[Channel]) -> None:
        self._calls[runner.state.call] = runner
        self._know(runner, channels)
        self._bells.spawn(self._live(runner), f"call {runner.state.call}")

    def _know(self, runner: CallRunner, channels: list[Channel]) -> None:
        for channel in channels:
            if channel.name:
                runner.names[channel.name] = channel.uniqueid
            self._by_uniqueid.setdefault(channel.uniqueid, runner)
            if channel.linkedid:
                self._by_linkedid.setdefault(channel.linkedid, runner)

    async def _live(self, runner: CallRunner) -> None:
        await runner.run()
        self._forget(runner)

    def _forget(self, runner: CallRunner) -> None:
        self._calls.pop(runner.state.call, None)
        for leg in _drop(self._by_uniqueid, runner):
            self._past[leg] = self.now()
        while self._past and self.now() - next(iter(self._past.values())) > REMEMBERED_FOR:
            del self._past[next(iter(self._past))]
        _drop(self._by_linkedid, runner)
        _drop(self._by_bridge, runner)
        verdict, reason = outcome(runner.state)
        self.counters.closed[verdict] = self.counters.closed.get(verdict, 0) + 1
        if reason is not None:
            self.counters.lost[reason] = self.counters.lost.get(reason, 0) + 1


def _drop(index: dict[Key, CallRunner], runner: CallRunner) -> list[Key]:
    keys = [key for key, owner in index.items() if owner is runner]
    for key in keys:
        del index[key]
    return keys


def _channels(event: PbxEvent) -> list[Channel]:
    """The channels an event names, the one it is about first."""
    match event:
        case AgentConnected() | AgentRung():
            return [event.channel, event.agent]
        case DialBegan():
            return [event.dialled] if event.channel is None else [event.channel, event.dialled]
        case LocalBridged() | LocalOptimised():
            return [event.one, event.two]
    channel = getattr(event, "channel", None)
    return [channel] if isinstance(channel, Channel) else []
