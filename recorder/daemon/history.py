"""What Asterisk's queue log tells of a call that the dialplan asked by itself, as the events that we did not hear.

Pure. Must not decide what may be kept: the machine does. The queue log counts whole seconds, and the recording's time
line begins with a bridge that is known no better: where that leaves a doubt, more becomes silence and less is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final
from uuid import NAMESPACE_OID, UUID, uuid5

from recorder.call import (
    AgentListed,
    CallAdmitted,
    CallEvent,
    CaptureArmed,
    CaptureClosed,
    ConsentAnswered,
    DialogueBroke,
    KeyPressed,
    PromptPlayed,
)
from recorder.do_not_record import NOBODY, DoNotRecord
from recorder.fallback import NotedAnswer, NotedQuestion
from recorder.model import (
    AgentConnected,
    BridgeEntered,
    BridgeId,
    BridgeLeft,
    CallId,
    Channel,
    ConsentEventId,
    ConsentMode,
    ConsentState,
    DialBegan,
    Direction,
    KeyAct,
    Linkedid,
    RecordingId,
    Uniqueid,
)
from recorder.policy import PERMITTED_BY_MODE, LineRules, stricter
from recorder.queue_log import LISTED, TALK_ENDED, TALK_MOVED, Entry, answer_noted, keys_noted, question_noted

LOG_PRECISION: Final = timedelta(seconds=1)
CLOSED_AFTER: Final = timedelta(seconds=2)
"""Longer than a stop that is confirmed in time: what a file holds behind the talk's end is not kept."""
RESUMED_BY: Final = timedelta(seconds=1.2)
"""After the second that the log names: by then the key was pressed, and what is left to Asterisk's mute is over too."""
NO_BRIDGE_NOW: Final = BridgeId("queue-log")
"""A bridge that has gone, or in which they do not stand any more."""


Before = tuple[ConsentMode, ConsentState]
"""How a line asked, and what it was told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What is known beside the log: who the caller is, what stands now, and the settings."""

    node: str
    call: CallId
    caller: Channel
    lines: Mapping[str, LineRules]
    standing: Mapping[Uniqueid, BridgeId | None]  # every living channel
    names: Mapping[Uniqueid, str]
    mixmonitor: str | None = None  # the id that stands on the caller's channel now
    before: Before | None = None  # of the line that the call is known to come from
    lists: DoNotRecord = NOBODY


def rules_of(
    note: NotedAnswer | NotedQuestion, lines: Mapping[str, LineRules], before: Before | None = None
) -> LineRules:
    """The line as it was asked, by its own settings and not by today's; one that is never recorded now is `never`.

    After another line the stricter applies (CN-09): the dialplan asks in its own line's way, and what it captured on an
    answer that is not enough then is not kept. Who said yes before is told enough by whatever this line asks.
    """
    known = lines.get(note.line)
    if known is None or known.mode is ConsentMode.NEVER:
        return LineRules(name=note.line)
    purposes = known.purposes if known.digest == note.policy else ()  # which they were when it was asked, nobody knows
    said_yes = before is None or before[1] is ConsentState.GIVEN
    mode = note.mode if said_yes or before is None else stricter(before[0], note.mode)
    return replace(known, mode=mode, digest=note.policy, purposes=purposes)


def permits_capture(note: NotedAnswer) -> bool:
    """Whether the dialplan that wrote this note has started a capture."""
    return note.answer in PERMITTED_BY_MODE[note.mode]


def admitted(
    note: NotedAnswer | NotedQuestion, channel: Channel, *, node: str, call: CallId, rules: LineRules
) -> CallAdmitted:
    """The call enters the line."""
    return CallAdmitted.under(
        rules,
        at=note.began_at,
        call=call,
        node=node,
        direction=Direction.INCOMING,
        policy=note.policy,
        caller=channel,
    )


def answered(note: NotedAnswer, channel: Channel, *, node: str, call: CallId, rules: LineRules) -> list[CallEvent]:
    """The dialogue of a note as the events that our own would have been."""
    events: list[CallEvent] = [admitted(note, channel, node=node, call=call, rules=rules)]
    if note.prompt is not None and note.failed is None:
        events.append(
            PromptPlayed(
                at=note.at,
                consent=ConsentEventId(_id(note, "asked")),
                channel=channel,
                prompt=note.prompt,
                played_ms=note.played_ms or 0,
            )
        )
    if note.answer is None or note.failed is not None:
        return [*events, DialogueBroke(at=note.at, reason=note.failed, noted=note.recording)] if note.failed else events
    events.append(
        ConsentAnswered(
            at=note.at,
            consent=ConsentEventId(_id(note, "answered")),
            channel=channel,
            answer=note.answer,
            recording=note.recording,
            prompt=note.prompt,
            played_ms=note.played_ms,
            language=note.prompt.language if note.prompt else None,
            basis=note.basis,
            noted=note.recording,
        )
    )
    return events


def _id(note: NotedAnswer, what: str) -> UUID:
    return uuid5(NAMESPACE_OID, f"{note.recording} {what}")


def history(entries: Sequence[Entry], scene: Scene) -> list[CallEvent]:
    """The events of one caller's lines, from an answer on; the first of them opens the call, or takes it on."""
    told: list[CallEvent] = []
    for event in _events(entries, scene):
        at = max(event.at, told[-1].at) if told else event.at
        told.append(replace(event, at=at))
    return told


def notes_of(entries: Sequence[Entry]) -> list[NotedAnswer]:
    return [note for entry in entries if (note := answer_noted(entry)) is not None]


def since_news(entries: Sequence[Entry], taken: frozenset[RecordingId]) -> Sequence[Entry]:
    """The lines from the first answer on that was not taken in yet; none where all were."""
    for number, entry in enumerate(entries):
        note = answer_noted(entry)
        if note is not None and note.recording not in taken:
            return entries[number:]
    return ()


def _events(entries: Sequence[Entry], scene: Scene) -> Iterator[CallEvent]:
    notes = notes_of(entries)
    bridge = NO_BRIDGE_NOW
    begun: RecordingId | None = None
    asking: NotedQuestion | None = None
    before = scene.before
    listed: set[Uniqueid] = set()
    for number, entry in enumerate(entries):
        note = answer_noted(entry)
        if note is not None:
            rules = rules_of(note, scene.lines, before)
            before = rules.mode, note.answer or ConsentState.NONE
            events = answered(note, scene.caller, node=scene.node, call=scene.call, rules=rules)
            yield from events if asking is None else events[1:]
            asking = None
            begun = note.recording if permits_capture(note) else None
            if begun is not None:
                mixmonitor = scene.mixmonitor if note is notes[-1] or note == notes[-1] else None
                yield CaptureArmed(at=note.at, recording=note.recording, mixmonitor=mixmonitor)
        elif (question := question_noted(entry)) is not None:
            asking, rules = question, rules_of(question, scene.lines, before)
            yield admitted(question, scene.caller, node=scene.node, call=scene.call, rules=rules)
        elif entry.event == "CONNECT" and len(entry.data) > 1:
            agent = Uniqueid(entry.data[1])
            bridge = _bridge(scene, agent)
            if agent in listed or scene.lists.names_agent(entry.agent):
                yield AgentListed(at=entry.at, agent=_channel(scene, agent))
            yield from _connected(entry, agent, bridge, entries[number + 1 :], scene)
        elif entry.event == LISTED and entry.data:
            listed.add(Uniqueid(entry.data[0]))
        elif entry.event in TALK_ENDED:
            # The log drops what is less than a second: the talk ended within the one that it names.
            yield from _parted(entry.at + LOG_PRECISION, begun, bridge, scene)
        elif entry.event in TALK_MOVED:
            # By then the new party may have been there for as long as the log's second and the bridge's are unknown.
            yield from _parted(entry.at - LOG_PRECISION, begun, bridge, scene)
        else:
            yield from _keys(entry, scene)


def _parted(at: datetime, begun: RecordingId | None, bridge: BridgeId, scene: Scene) -> Iterator[CallEvent]:
    """The talk's end. Of a caller who is gone Asterisk closed the files, who knows how long after: no more is kept."""
    yield BridgeLeft(at=at, channel=scene.caller, bridge=bridge, channels=0)
    if begun is not None and scene.caller.uniqueid not in scene.standing:
        yield CaptureClosed(at=at + CLOSED_AFTER, recording=begun)


def _bridge(scene: Scene, agent: Uniqueid) -> BridgeId:
    """The bridge in which caller and agent stand now, if they do."""
    here = scene.standing.get(scene.caller.uniqueid)
    return here if here is not None and scene.standing.get(agent) == here else NO_BRIDGE_NOW


def _channel(scene: Scene, uniqueid: Uniqueid) -> Channel:
    name = scene.names.get(uniqueid, "")
    return Channel(name=name, uniqueid=uniqueid, linkedid=Linkedid(scene.caller.linkedid))


def _connected(
    entry: Entry, agent: Uniqueid, bridge: BridgeId, later: Sequence[Entry], scene: Scene
) -> Iterator[CallEvent]:
    leg = _channel(scene, agent)
    yield AgentConnected(at=entry.at, channel=scene.caller, agent=leg, queue=entry.queue, interface=entry.agent)
    for presser in _pressers(later):
        if presser not in (agent, scene.caller.uniqueid):
            # A key stands under the caller's id only where recorder-agent gave it to the leg, or to one behind it.
            yield DialBegan(at=entry.at, channel=leg, dialled=_channel(scene, presser))
    yield BridgeEntered(at=entry.at, channel=leg, bridge=bridge, bridge_type="basic", channels=1)
    yield BridgeEntered(at=entry.at, channel=scene.caller, bridge=bridge, bridge_type="basic", channels=2)


def _pressers(later: Sequence[Entry]) -> Iterator[Uniqueid]:
    """Who pressed a key in this talk: before the caller waits in a queue again."""
    for entry in later:
        if entry.event == "ENTERQUEUE":
            return
        yield from (key.presser for key in keys_noted((entry,)))


def _keys(entry: Entry, scene: Scene) -> Iterator[CallEvent]:
    """A silence begins a second early and ends a second late: neither the key nor the bridge is known better."""
    for key in keys_noted((entry,)):
        yield KeyPressed(
            at=key.at + RESUMED_BY if key.act is KeyAct.RESUME else key.at - LOG_PRECISION,
            act=key.act,
            presser=_channel(scene, key.presser),
            consent=ConsentEventId(uuid5(NAMESPACE_OID, f"{scene.call} {key.presser} {key.act} {key.at}")),
            audit=uuid5(NAMESPACE_OID, f"audit {scene.call} {key.presser} {key.act} {key.at}"),
            heard=False,
        )
