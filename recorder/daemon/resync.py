"""After we could not see: compare the calls in progress with what stands now.

Must not decide what is kept: the machine does, from the proofs gathered here. The invariant: events flow again before
the snapshot is taken, so that nothing falls between the two.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import structlog

from recorder.ami import Ami, ChannelSnapshot
from recorder.call import (
    AgentListed,
    CallerTold,
    CallResynchronised,
    CallState,
    KeyPressed,
    Phase,
    capture_in_hand,
    is_captured_beyond,
)
from recorder.capture import CaptureDesk
from recorder.daemon.runner import SILENT, CallRunner
from recorder.model import AgentConnected, AgentRung, BridgeId, Channel, ConsentEventId, KeyAct, Linkedid, Uniqueid
from recorder.queue_log import NotedKey, NotedTelling, Passage, Unseen

log = structlog.get_logger(__name__)

CLOCKS_DIFFER_BY = timedelta(seconds=2)
"""The queue log counts whole seconds: a line may look older than it is."""
ON_HOLD = "CHANNEL(onhold)"
"""A "1" on the channel that waits, "0" on every other."""
JOINED = "RECORDER_JOINED"
"""When the queue joined this agent's leg with the caller, as `recorder-answered` noted it."""
RESUMED_BY = timedelta(seconds=1.2)
"""After the second that the log names: by then the key was pressed, and what is left to Asterisk's mute is over too."""

READ_AGAIN_AT_MOST = 3
LATER_ATTEMPTS = 3
JOINED_WITHIN = 0.1
"""Seconds."""
ENDS_FOLLOW = 0.1
"""Seconds; a caller who was killed together with Asterisk has no end in the log, and none is waited for longer."""


async def resynchronise(
    calls: Iterable[CallRunner],
    ami: Ami,
    capture: CaptureDesk,
    unseen: Unseen,
    blind_from: datetime | None,
    clock: Callable[[], datetime],
    *,
    read_again: Callable[[Unseen], Awaitable[Unseen]],
    attempts: int = 5,
) -> None:
    """Tell each of these calls what stands now. Raises AmiError where the PBX cannot be asked to the end.

    Where `blind_from` is None, each of them was unseen from its own beginning on.

    A call that is told something while we ask is asked about again, at most `attempts` times, the last ones a moment
    later. One that is over is told so ahead of what it has yet to read: its hang-up may wait there, of which nobody
    knows any more when it was, and the queue log does. Where the hang-up fell between the reading of `unseen` and the
    snapshot, it is read again. One that stands reads its events first: somebody may have come and gone.
    """
    heard = {runner: runner.heard for runner in calls}
    now = clock()
    snapshot = await ami.channels((ON_HOLD, JOINED))
    sizes = Counter(row.bridge for row in snapshot if row.bridge is not None)
    ended = await _with_their_ends(heard, snapshot, unseen, read_again)
    moved = []
    for runner in heard:
        if runner.state.phase is Phase.CLOSED:
            continue
        before = runner.heard
        since = blind_from or runner.started_at
        over = _is_over(runner.state, snapshot)
        told = ended if over else unseen
        _connect(runner, told.passages, snapshot, since, ahead=over)
        heard[runner] += runner.heard - before
        _press(runner, told.keys, snapshot, since, now, ahead=over)
        _tell(runner, told.tellings, now, ahead=over)
        legs = legs_of(runner.state)
        for row in snapshot:
            if row.channel.uniqueid in legs:
                runner.names[row.channel.name] = row.channel.uniqueid  # a daemon that was just started heard no name
        found = await _found(runner, capture, snapshot, sizes, told.passages, since, now)
        if runner.heard == heard[runner] or attempts <= 1:
            runner.put(found, ahead=over)
        else:
            moved.append(runner)  # the snapshot is older than what this call has heard since
    if moved:
        if attempts <= LATER_ATTEMPTS:  # a call that is just being joined tells of much at once, and then of nothing
            await asyncio.sleep(JOINED_WITHIN)
        await resynchronise(
            moved, ami, capture, unseen, blind_from, clock, read_again=read_again, attempts=attempts - 1
        )


async def _with_their_ends(
    calls: Iterable[CallRunner],
    snapshot: Sequence[ChannelSnapshot],
    unseen: Unseen,
    read_again: Callable[[Unseen], Awaitable[Unseen]],
) -> Unseen:
    """`unseen`, or what the queue log tells once it has the ends of those who are over: they are written behind."""
    states = [runner.state for runner in calls if runner.state.phase is not Phase.CLOSED]
    gone = [state.caller.uniqueid for state in states if state.caller is not None and _is_over(state, snapshot)]
    for _ in range(READ_AGAIN_AT_MOST):
        if all(_has_end(unseen.passages[caller]) for caller in gone if caller in unseen.passages):
            break
        await asyncio.sleep(ENDS_FOLLOW)
        unseen = await read_again(unseen)
    return unseen


def _has_end(talk: Passage) -> bool:
    """Whether the log has all that it will have of the end; of an outgoing talk both legs write theirs."""
    return talk.is_over and (not talk.is_outgoing or talk.agent_gone_at is not None)


async def conclude(
    runner: CallRunner,
    capture: CaptureDesk,
    unseen: Unseen,
    blind_from: datetime,
    hung_up_at: datetime,
    now: datetime,
) -> None:
    """Tell a call whose hang-up is at hand, ahead of it, what the queue log has of the time that nobody saw.

    A call that is captured beyond the caller's own channel is told of keys alone: the log has the caller's talk on the
    first line, which proves nothing of that one, and the capture may outlive them.
    """
    since = min(blind_from, now)
    if is_captured_beyond(runner.state):
        _press(runner, unseen.keys, (), since, now, ahead=True)
        return
    _connect(runner, unseen.passages, (), since, ahead=True)
    _press(runner, unseen.keys, (), since, now, ahead=True)
    _tell(runner, unseen.tellings, now, ahead=True)
    found = await _found(runner, capture, (), {}, unseen.passages, since, now)
    runner.put(replace(found, hung_up_at=hung_up_at), ahead=True)


def _is_over(state: CallState, snapshot: Sequence[ChannelSnapshot]) -> bool:
    """Whether the caller's channel is there no more."""
    return state.caller is not None and all(row.channel.uniqueid != state.caller.uniqueid for row in snapshot)


def _connect(
    runner: CallRunner,
    passages: Mapping[Uniqueid, Passage],
    snapshot: Sequence[ChannelSnapshot],
    blind_from: datetime,
    *,
    ahead: bool,
) -> None:
    """An agent who was connected while we could not see: the queue log names the leg, and the event is made up."""
    caller = runner.state.caller
    passage = passages.get(caller.uniqueid) if caller else None
    if caller is None or passage is None or passage.agent is None or passage.connected_at is None:
        return
    if passage.connected_at < blind_from - CLOCKS_DIFFER_BY or passage.agent in runner.state.agents:
        return
    name = next((row.channel.name for row in snapshot if row.channel.uniqueid == passage.agent), "")
    agent = Channel(name=name, uniqueid=passage.agent, linkedid=Linkedid(caller.linkedid))
    if passage.is_listed or runner.lists.names_agent(passage.interface or ""):
        runner.put(AgentListed(at=passage.connected_at, agent=agent), ahead=ahead)
    rung = AgentRung(at=passage.connected_at, channel=caller, agent=agent)  # whoever saw it: the queue rang this leg
    runner.put(rung, ahead=ahead)
    runner.put(
        AgentConnected(
            at=passage.connected_at,
            channel=caller,
            agent=agent,
            queue=passage.queue,
            interface=passage.interface or "",
        ),
        ahead=ahead,
    )


def _press(
    runner: CallRunner,
    keys: Sequence[NotedKey],
    snapshot: Sequence[ChannelSnapshot],
    blind_from: datetime,
    now: datetime,
    *,
    ahead: bool,
) -> None:
    """Keys that nobody heard: the queue log has them. What it says to the second is silenced from its beginning on."""
    legs = legs_of(runner.state)
    for key in keys:
        ours = key.presser in legs or key.caller in legs
        if not ours or key.at < blind_from - CLOCKS_DIFFER_BY or runner.has_heard(key.act, key.presser, key.at):
            continue
        name = next((row.channel.name for row in snapshot if row.channel.uniqueid == key.presser), "")
        late = RESUMED_BY if key.act is KeyAct.RESUME else timedelta()
        runner.press(
            KeyPressed(
                at=min(now, key.at + late),
                act=key.act,
                presser=Channel(name=name, uniqueid=key.presser, linkedid=Linkedid(key.caller)),
                consent=ConsentEventId(uuid4()),
                audit=uuid4(),
                heard=False,
            ),
            ahead=ahead,
        )


def _tell(runner: CallRunner, tellings: Sequence[NotedTelling], now: datetime, *, ahead: bool) -> None:
    """What became of telling the caller of an override while nobody heard it; and where nothing did, it is waited for.

    The log names the recording, so what we have heard all the same is not told again.
    """
    to_tell = {capture.id for capture in runner.state.captures if capture.to_tell is not None}
    for noted in tellings:
        told = noted.telling
        if told.recording in to_tell:
            to_tell.remove(told.recording)
            runner.put(
                CallerTold(
                    at=min(now, noted.at),
                    recording=told.recording,
                    audit=uuid4(),
                    status=told.status,
                    played_ms=told.played_ms,
                ),
                ahead=ahead,
            )
    runner.expect_told()


async def _found(
    runner: CallRunner,
    capture: CaptureDesk,
    snapshot: Sequence[ChannelSnapshot],
    sizes: Mapping[BridgeId, int],
    passages: Mapping[Uniqueid, Passage],
    blind_from: datetime,
    now: datetime,
) -> CallResynchronised:
    state = runner.state
    ours = legs_of(state)
    standing = {row.channel.uniqueid: row.bridge for row in snapshot}
    ends = [state.caller.uniqueid] if state.caller else []
    ends += [state.relay.far] if state.relay else []
    bridges = {standing.get(leg) for leg in ends} - {None}
    beyond = {standing.get(two) for two in _twins(state, standing, snapshot).values()} - {None}
    living = {leg: bridge for leg, bridge in standing.items() if leg in ours or bridge in bridges | beyond}
    passage = passages.get(state.caller.uniqueid) if state.caller else None
    if passage is not None and (passage.is_listed or runner.lists.names_agent(passage.interface or "")):
        passage = None  # a talk that must not be recorded proves nothing for any capture
    return CallResynchronised(
        at=now,
        blind_from=min(max(blind_from, runner.known_at or blind_from), now),
        living=living,
        sizes={bridge: size for bridge, size in sizes.items() if bridge in living.values()},
        capture_lives=await _capture_lives(state, capture, living),
        talk_began_at=_talk_began_at(passage, snapshot) if passage else None,
        talk_proved_until=passage.talked_until if passage else None,
        held=_held_in(bridges, snapshot),
        twins=_twins(state, living, snapshot) or None,
    )


def _twins(
    state: CallState, living: Mapping[Uniqueid, BridgeId | None], snapshot: Sequence[ChannelSnapshot]
) -> dict[Uniqueid, Uniqueid]:
    """The other halves of the Local channels through which agents stand with the caller: their names tell."""
    by_name = {row.channel.name: row.channel.uniqueid for row in snapshot}
    agents = [row.channel for row in snapshot if row.channel.uniqueid in state.agents & living.keys()]
    ones = [one for one in agents if one.name.startswith("Local/") and one.name.endswith(";1")]
    pairs = {one.uniqueid: by_name.get(f"{one.name[:-1]}2") for one in ones}
    return {one: two for one, two in pairs.items() if two is not None}


def _talk_began_at(passage: Passage, snapshot: Sequence[ChannelSnapshot]) -> datetime | None:
    """To the millisecond where the agent's leg tells and the queue log agrees, else the second that the log names."""
    said = next((row.variables.get(JOINED, "") for row in snapshot if row.channel.uniqueid == passage.agent), "")
    if passage.connected_at is None or not re.fullmatch(r"[0-9]{1,11}\.[0-9]{3}", said):
        return passage.connected_at
    joined = datetime.fromtimestamp(float(said), UTC)
    return joined if abs(joined - passage.connected_at) < CLOCKS_DIFFER_BY else passage.connected_at


def _held_in(bridges: Iterable[BridgeId | None], snapshot: Sequence[ChannelSnapshot]) -> frozenset[Uniqueid] | None:
    """Who holds in any of these; None where they are none, or where Asterisk does not tell."""
    told = [_held([row for row in snapshot if row.bridge == bridge]) for bridge in bridges]
    known = [holders for holders in told if holders is not None]
    return frozenset[Uniqueid]().union(*known) if told and len(known) == len(told) else None


def _held(bridged: Sequence[ChannelSnapshot]) -> frozenset[Uniqueid] | None:
    """Who of these holds the other. Asterisk tells it of the one who waits; of a Local channel it tells no end."""
    waits = {row.channel.uniqueid for row in bridged if row.variables.get(ON_HOLD) == "1"}
    if not all(ON_HOLD in row.variables for row in bridged):
        return None
    phones = (row.channel for row in bridged if not row.channel.name.startswith("Local/"))
    return frozenset(phone.uniqueid for phone in phones if waits - {phone.uniqueid})


async def _capture_lives(state: CallState, capture: CaptureDesk, living: Mapping[Uniqueid, BridgeId | None]) -> bool:
    hand = capture_in_hand(state)
    if hand is None or hand.channel.uniqueid not in living:
        return False
    return await capture.running(hand.channel, hand.mixmonitor, quiet=hand.state in SILENT) is not None


def legs_of(state: CallState) -> frozenset[Uniqueid]:
    """Every channel that the call knows as its own."""
    caller = frozenset({state.caller.uniqueid}) if state.caller else frozenset()
    captured = frozenset(capture.channel.uniqueid for capture in state.captures)
    known = frozenset(state.parents) | frozenset(state.bridges) | frozenset(state.behind)
    relay = frozenset({state.relay.near, state.relay.far}) if state.relay else frozenset()
    return caller | captured | state.agents | known | relay
