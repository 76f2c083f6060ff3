"""Recorders that we did not authorise on our calls: seen, stopped where the policy says so, written down, shown.

Must not decide: recorder.rivals does. The invariants: a start is taken for a rival's only after ours has claimed its
own; whatever is done about one is done in its call's own turn, so that no capture of ours is armed meanwhile; every
rival leaves an audit row with what became of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final
from uuid import uuid4

import structlog

from recorder.ami import Ami, AmiError, AmiRefused
from recorder.call import Phase, RivalMet
from recorder.daemon.calls import CallBook
from recorder.daemon.runner import CallRunner
from recorder.model import (
    BridgeEntered,
    BridgeId,
    CallId,
    Channel,
    ChannelHungUp,
    ConferenceRecorded,
    ConferenceUnrecorded,
    MixMonitorStarted,
    MixMonitorStopped,
    MonitorStarted,
    MonitorStopped,
    PbxEvent,
    RivalFate,
    RivalKind,
    RivalPolicy,
    SpyBegan,
    SpyEnded,
    Uniqueid,
)
from recorder.rivals import (
    AT_LARGE,
    FATES,
    Act,
    Sighting,
    decide,
    is_beep,
    is_paused,
    kind_of_spy,
    mutes_by_id,
    ours_on,
    snooped_upon,
    without_numbers,
)

log = structlog.get_logger(__name__)

FILE_VARIABLE: Final = "MIXMONITOR_FILENAME"
SHOWN_FOR: Final = timedelta(hours=1)
MOST_AT_ONCE: Final = 20
"""MixMonitors that are stopped one after another on one channel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rival:
    """One rival. `place` is what it is known by beside its kind: a spy's channel, or a conference's bridge."""

    kind: RivalKind
    channel: Channel
    place: str = ""
    file: str = ""  # where it writes, without numbers; "" where Asterisk does not say
    since: datetime
    fate: RivalFate = RivalFate.RUNS_ON
    unsure: bool = False  # it began while we could not see, and may be over

    def is_same(self, kind: RivalKind, channel: Channel, place: str) -> bool:
        return (self.kind, self.channel.uniqueid, self.place) == (kind, channel.uniqueid, place)


@dataclass(slots=True)
class _Spying:
    """Who hears a channel, of whatever call; `told`: the call of ours that was told of it."""

    began: SpyBegan
    told: CallId | None


@dataclass(slots=True)
class RivalCounters:
    """Counted since the start, by kind and by what became of them."""

    met: Counter[str] = field(default_factory=Counter)
    fates: Counter[str] = field(default_factory=Counter)


class RivalWatch:
    """What runs on our calls and is not ours. Implements what a call's runner asks of it."""

    def __init__(
        self, ami: Ami, rivals: RivalPolicy, listeners: RivalPolicy, alarm: Callable[[str], None] = lambda _: None
    ) -> None:
        self._alarm = alarm
        self.counters = RivalCounters()
        self._ami = ami
        self._policies = dict.fromkeys(RivalKind, rivals) | {RivalKind.LISTENER: listeners}
        self._others: Counter[Uniqueid] = Counter()  # MixMonitors of others that are thought to run, by channel
        self._conferences: set[BridgeId] = set()  # that record themselves
        self._files: dict[Uniqueid, str] = {}  # the last that a rival was met with
        self._spying: dict[Uniqueid, dict[str, _Spying]] = {}  # by the channel that is heard, and the spy's name
        self._at_large: dict[CallId, list[Rival]] = {}
        self._ended: list[tuple[datetime, CallId]] = []

    # ---- what is heard, of any call

    def hear(self, event: PbxEvent, book: CallBook) -> None:
        """Keep count of what Asterisk says; called for each event before its call gets it."""
        match event:
            case MixMonitorStarted():
                self._others[event.channel.uniqueid] += 1
            case MixMonitorStopped():
                self._recount(event.channel, -1)
            case SpyBegan():
                self._spied(event, book.of_channel(event.channel))
            case SpyEnded():
                self._unspied(event)
            case ChannelHungUp():
                self._forget(event.channel.uniqueid)
            case ConferenceRecorded():
                self._conferences.add(event.bridge)
                runner = book.of_bridge(event.bridge)
                if runner is not None:
                    runner.put(event)
            case ConferenceUnrecorded():
                self._conferences.discard(event.bridge)
                runner = book.of_bridge(event.bridge)
                if runner is not None:
                    runner.put(event)
            case BridgeEntered():
                self._entered(event, book)

    def _entered(self, event: BridgeEntered, book: CallBook) -> None:
        """A call of ours enters a conference that records itself; or who is spied upon comes to a call of ours."""
        runner = book.of_channel(event.channel)
        if runner is not None and event.bridge in self._conferences:
            runner.put(ConferenceRecorded(at=event.at, bridge=event.bridge))
        runner = runner or book.of_bridge(event.bridge)
        if runner is not None:
            self._tell_of_spies(runner, event.channel)

    def _spied(self, event: SpyBegan, runner: CallRunner | None) -> None:
        spies = self._spying.setdefault(event.channel.uniqueid, {})
        spies[event.spy.name] = _Spying(event, runner.state.call if runner is not None else None)

    def _unspied(self, event: SpyEnded) -> None:
        spies = self._spying.get(event.channel.uniqueid, {})
        spies.pop(event.spy.name, None)
        if not spies:
            self._spying.pop(event.channel.uniqueid, None)

    def _tell_of_spies(self, runner: CallRunner, channel: Channel) -> None:
        """Of those that began before the channel was one of this call's."""
        for spying in self._spying.get(channel.uniqueid, {}).values():
            if spying.told != runner.state.call:
                spying.told = runner.state.call
                runner.put(spying.began)

    def _forget(self, leg: Uniqueid) -> None:
        self._others.pop(leg, None)
        self._files.pop(leg, None)
        self._spying.pop(leg, None)

    # ---- what a call's runner asks, in the call's own turn

    def claim(self, channel: Channel) -> None:
        """The start that was heard on this channel is that of a capture of ours."""
        self._recount(channel, -1)

    def disown(self, channel: Channel) -> None:
        """The stop that was heard on this channel is that of a capture of ours."""
        self._recount(channel, 1)

    def _recount(self, channel: Channel, by: int) -> None:
        """Only where a start was heard: a channel that is gone meanwhile is not remembered again."""
        if channel.uniqueid in self._others:
            self._others[channel.uniqueid] += by

    def adopt(self, runner: CallRunner, channels: Iterable[Channel], at: datetime) -> None:
        """A call begins: what runs on its channels already was nobody's affair until now."""
        for channel in channels:
            for _ in range(self._others[channel.uniqueid]):
                runner.put(MixMonitorStarted(at=at, channel=channel))
            self._tell_of_spies(runner, channel)

    async def meet(self, runner: CallRunner, event: PbxEvent) -> None:
        """Something on the call is not ours: find out what it is, do what the policy says, and write it down."""
        rival = await self._known(runner, event)
        if rival is None or any(rival.is_same(row.kind, row.channel, row.place) for row in self._of_one(runner, rival)):
            return
        policy = self._policies[rival.kind]
        if policy is RivalPolicy.PERMIT:
            return
        self.counters.met[rival.kind] += 1
        await self._act(runner, rival)

    def _of_one(self, runner: CallRunner, rival: Rival) -> list[Rival]:
        """Those at large that this might be again; two MixMonitors on one channel are two."""
        return [] if rival.kind is RivalKind.MIXMONITOR else self._at_large.get(runner.state.call, [])

    def over(self, runner: CallRunner, event: PbxEvent) -> None:
        """Something that is not ours has ended."""
        kinds = {
            MixMonitorStopped: (RivalKind.MIXMONITOR,),
            MonitorStopped: (RivalKind.MONITOR,),
            SpyEnded: (RivalKind.SPY, RivalKind.LISTENER, RivalKind.SNOOP),
            ConferenceUnrecorded: (RivalKind.CONFERENCE,),
        }[type(event)]
        place = _place(event)
        channel: Channel | None = getattr(event, "channel", None)
        leg = channel.uniqueid if channel is not None else None  # its linkedid may be another by now
        left = self._at_large.get(runner.state.call, [])
        for rival in left:
            if rival.kind in kinds and rival.place == place and leg in (None, rival.channel.uniqueid):
                left.remove(rival)
                break

    async def ended_ours(self, runner: CallRunner, channel: Channel, at: datetime) -> None:
        """Somebody stopped a capture of ours in the middle of the talk: a feature key of the house's, a dialplan."""
        log.error("capture_ended_by_another", call=str(runner.state.call))
        self.counters.fates[RivalFate.ENDED_OURS] += 1
        self._remember(at, runner.state.call)
        await runner.note(
            RivalMet(at=at, audit=uuid4(), kind=RivalKind.MIXMONITOR, fate=RivalFate.ENDED_OURS, channel=channel)
        )
        self.adopt(runner, [channel], at)  # what was thought to have ended may run on in its place

    async def silence(self, runner: CallRunner) -> None:
        """A pause begins: what was only reported until now is stopped or muted. In the call's own turn."""
        for rival in list(self._at_large.get(runner.state.call, [])):
            await self._act(runner, rival, paused=True)

    # ---- what is found out and done

    async def _known(self, runner: CallRunner, event: PbxEvent) -> Rival | None:
        match event:
            case MixMonitorStarted():
                return await self._mixmonitor(event)
            case MonitorStarted():
                return Rival(kind=RivalKind.MONITOR, channel=event.channel, since=event.at)
            case SpyBegan():
                return await self._spy(event)
            case ConferenceRecorded():
                channel = runner.state.caller
                if channel is None:
                    return None
                return Rival(kind=RivalKind.CONFERENCE, channel=channel, place=event.bridge, since=event.at)
        return None

    async def _mixmonitor(self, event: MixMonitorStarted) -> Rival:
        file = await self._file(event.channel) or ""
        if event.channel.uniqueid in self._others:  # else it is gone
            self._files[event.channel.uniqueid] = file
        return Rival(kind=RivalKind.MIXMONITOR, channel=event.channel, file=without_numbers(file), since=event.at)

    async def _spy(self, event: SpyBegan) -> Rival | None:
        if is_beep(event.spy.name):
            return None
        if snooped_upon(event.spy.name) is not None:
            return Rival(kind=RivalKind.SNOOP, channel=event.channel, place=event.spy.name, since=event.at)
        try:
            _, arguments = await self._ami.running(event.spy.name)
        except AmiError:  # gone, or nobody to ask: taken for the graver kind
            arguments = ",r"
        kind = kind_of_spy(arguments)
        return Rival(kind=kind, channel=event.channel, place=event.spy.name, since=event.at)

    async def _file(self, channel: Channel) -> str | None:
        try:
            return await self._ami.getvar(channel.name, FILE_VARIABLE)
        except AmiError:
            return None

    async def _act(self, runner: CallRunner, rival: Rival, *, paused: bool = False) -> None:
        act = decide(await self._sighting(runner, rival, paused=paused))
        fate = await self._carry_out(act, rival)
        if fate is rival.fate and rival in self._at_large.get(runner.state.call, []):
            return
        await self._write_down(runner, replace(rival, fate=fate), paused=paused or is_paused(runner.state))

    async def _sighting(self, runner: CallRunner, rival: Rival, *, paused: bool) -> Sighting:
        leg = rival.channel.uniqueid
        file = await self._file(rival.channel) if rival.kind is RivalKind.MIXMONITOR else None
        others = 0 if rival.unsure else self._others[leg]
        facts = self._ami.state.facts
        return Sighting(
            kind=rival.kind,
            ours=ours_on(runner.state, leg, file=file, others=others),
            policy=self._policies[rival.kind],
            paused=paused or is_paused(runner.state),
            mutes_by_id=mutes_by_id(facts.core.version if facts and facts.core else ""),
            by_a_party=rival.place in runner.names,
            is_over=rival.kind is RivalKind.MIXMONITOR and not rival.unsure and others <= 0,
        )

    async def _carry_out(self, act: Act, rival: Rival) -> RivalFate:
        name = rival.channel.name
        try:
            match act:
                case Act.STOP_NEWEST:
                    await self._ami.stop_newest_mixmonitor(name)
                case Act.STOP_EVERY:
                    await self._stop_every(rival.channel)
                case Act.MUTE_EVERY:
                    await self._ami.mute_every_mixmonitor(name)
                case Act.STOP_MONITOR:
                    await self._ami.stop_monitor(name)
                case Act.HANG_UP_SPY | Act.HANG_UP_SNOOP:
                    await self._ami.hang_up(rival.place)
        except AmiRefused:
            return RivalFate.OVER
        except AmiError as error:
            log.warning("rival_not_stopped", kind=rival.kind, why=str(error))
            return RivalFate.RUNS_ON
        return FATES[act]

    async def _stop_every(self, channel: Channel) -> None:
        """AmiRefused where there is none from the start."""
        await self._ami.stop_newest_mixmonitor(channel.name)
        with suppress(AmiRefused):
            for _ in range(MOST_AT_ONCE):
                await self._ami.stop_newest_mixmonitor(channel.name)

    async def _write_down(self, runner: CallRunner, rival: Rival, *, paused: bool) -> None:
        call, now = runner.state.call, runner.now()
        told = {"call": str(call), "kind": str(rival.kind), "fate": str(rival.fate), "file": rival.file}
        if rival.fate in AT_LARGE:
            log.error("rival_met", **told)
        else:
            log.warning("rival_met", **told)
        self._alarm(rival.kind)
        self.counters.fates[rival.fate] += 1
        self._remember(now, call)
        known = (rival.since, rival.place)
        left = [row for row in self._at_large.get(call, []) if row is not rival and (row.since, row.place) != known]
        self._at_large[call] = [*left, rival] if rival.fate in AT_LARGE else left
        await runner.note(
            RivalMet(
                at=now,
                audit=uuid4(),
                kind=rival.kind,
                fate=rival.fate,
                channel=rival.channel,
                file=rival.file,
                paused=paused,
            )
        )

    def _remember(self, at: datetime, call: CallId) -> None:
        self._ended.append((at, call))
        del self._ended[:-1000]

    # ---- again, and after we could not see

    def look(self, book: CallBook) -> bool:
        """Forget what ended with its call; try again what could not be stopped."""
        for call in list(self._at_large):
            runner = book.find(call)
            if runner is None or runner.state.phase in (Phase.OVER, Phase.CLOSED) or not self._at_large[call]:
                del self._at_large[call]
            elif any(rival.fate is RivalFate.RUNS_ON for rival in self._at_large[call]):
                runner.ask(self._again)
        return False

    async def _again(self, runner: CallRunner) -> None:
        for rival in list(self._at_large.get(runner.state.call, [])):
            if rival.fate is RivalFate.RUNS_ON:
                await self._act(runner, rival)

    async def after_blindness(self, book: CallBook) -> None:
        """What began while nobody looked: a MixMonitor leaves its file's name on its channel, a snoop stands beside it.

        AmiError: not asked to the end.
        """
        self._others.clear()
        self._spying.clear()
        rows = await self._ami.channels((FILE_VARIABLE,))
        for row in rows:
            file = row.variables.get(FILE_VARIABLE, "")
            runner = book.of_channel(row.channel) if file else None
            if runner is not None and self._files.get(row.channel.uniqueid) != file:
                self._files[row.channel.uniqueid] = file
                runner.ask(self._trace(row.channel, file))
        self._find_snoops([row.channel for row in rows], book)

    def _find_snoops(self, channels: Sequence[Channel], book: CallBook) -> None:
        legs = {channel.uniqueid: channel for channel in channels}
        for spy in channels:
            leg = snooped_upon(spy.name)
            heard = legs.get(leg) if leg is not None else None
            if heard is None or spy.name in self._spying.get(heard.uniqueid, {}):
                continue
            self._spied(SpyBegan(at=book.now(), channel=heard, spy=spy), None)
            runner = book.of_channel(heard)
            if runner is not None:
                self._tell_of_spies(runner, heard)

    async def traced(self, runner: CallRunner, rival: Rival) -> None:
        """A rival of which only the file's name was found."""
        self.counters.met[rival.kind] += 1
        await self._act(runner, rival)

    def _trace(self, channel: Channel, file: str) -> _Tracing:
        return _Tracing(self, channel, file)

    # ---- what is shown

    def reasons(self, now: datetime) -> list[str]:
        """For /status: what captures our calls now, and what was dealt with lately."""
        shown = [
            f"another recorder ({rival.kind}) {_does(rival)} call {call}: {rival.fate}"
            for call, rivals in self._at_large.items()
            for rival in rivals
        ]
        large = {call for call, rivals in self._at_large.items() if rivals}
        lately = [(at, call) for at, call in self._ended if now - at < SHOWN_FOR and call not in large]
        if lately:
            shown.append(
                f"another recorder was met on {len({call for _, call in lately})} calls within the hour, the last on"
                f" call {lately[-1][1]}: `recorder calls show` tells what was done"
            )
        return shown

    @property
    def at_large(self) -> int:
        return sum(len(rivals) for rivals in self._at_large.values())


@dataclass(frozen=True, slots=True)
class _Tracing:
    """The question about one channel, asked in its call's turn."""

    watch: RivalWatch
    channel: Channel
    file: str

    async def __call__(self, runner: CallRunner) -> None:
        rival = Rival(
            kind=RivalKind.MIXMONITOR,
            channel=self.channel,
            file=without_numbers(self.file),
            since=runner.now(),
            unsure=True,
        )
        await self.watch.traced(runner, rival)


def _does(rival: Rival) -> str:
    hears = {RivalKind.LISTENER: "hears", RivalKind.SNOOP: "hears, and may capture,"}
    return hears.get(rival.kind, "captures")


def _place(event: PbxEvent) -> str:
    match event:
        case SpyEnded():
            return event.spy.name
        case ConferenceUnrecorded():
            return event.bridge
    return ""
