"""A call's journal in words, and why policy decided as it did. Pure: rows in, sentences out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Final

from recorder.call import (
    AgentListed,
    CallAdmitted,
    CallEvent,
    CallResynchronised,
    CallState,
    CaptureLost,
    ChannelOffered,
    ClockSet,
    ConsentAnswered,
    DialogueBroke,
    LineConsulted,
    LineReached,
    OverridePressed,
    PromptPlayed,
    RecordingMade,
    RecordingUnmade,
    RivalMet,
    event_from_fields,
    replay,
    unrecorded,
)
from recorder.catalogue import JournalRow, WholeCall
from recorder.model import (
    AgentConnected,
    BridgeEntered,
    BridgeLeft,
    CallerJoinedQueue,
    CallerLeftQueue,
    ChannelHungUp,
    RivalFate,
    TransferAttended,
    Unrecorded,
)
from recorder.policy import Circumstances, decide
from recorder.rights import Denied

PLAIN: dict[str, str] = {
    "CallerAbandonedQueue": "the caller gave up waiting",
    "HoldBegan": "put on hold",
    "HoldEnded": "taken off hold",
    "MixMonitorStopped": "Asterisk stopped the capture",
    "CaptureArmed": "Asterisk is armed: it writes from the bridge on",
    "CaptureClosed": "nobody writes the staged files any more",
    "RecordingEmptied": "there was nothing to keep; the staged files are removed",
    "ChannelRenamed": "a channel got another name",
}


PLUMBING = frozenset({"DialBegan", "LocalBridged"})
"""Steps that come by the dozen while a queue rings its members: one line stands for a run of them."""


def story(journal: Sequence[JournalRow]) -> Iterator[tuple[datetime, str, str]]:
    """The journal as lines: when, the phase after it, what happened."""
    for is_plumbing, run in groupby(journal, key=lambda row: row.name in PLUMBING):
        rows = list(run)
        if is_plumbing:
            legs = sum(row.name == "DialBegan" for row in rows)
            yield rows[0].at, rows[-1].new_phase, f"phones rang ({legs} dialled)"
        else:
            yield from ((row.at, row.new_phase, in_words(row)) for row in rows)


def in_words(row: JournalRow) -> str:
    """What happened in this step; an event of another version is named as it is."""
    try:
        event = event_from_fields(row.name, row.fields)
    except (KeyError, ValueError, TypeError):
        return f"{row.name} (not known to this version)"
    return _words(event) or PLAIN.get(row.name, row.name)


def _words(event: CallEvent) -> str | None:
    match event:
        case RivalMet(fate=RivalFate.ENDED_OURS):
            return "somebody else stopped our capture"
        case RivalMet():
            return f"another recorder ({event.kind}) was met: {event.fate}"
        case CallAdmitted():
            return f"the call entered line {event.line} ({event.mode})"
        case LineConsulted():
            line = event.admitted
            return f"an agent consulted line {line.line} ({line.mode}){_hindered(event.hindrance)}"
        case TransferAttended():
            return "the agent handed the caller over" if event.joined else "an attended transfer handed nobody over"
        case LineReached():
            line = event.admitted
            return f"{event.by.name} joined the caller with an agent of line {line.line} ({line.mode})"
        case ChannelOffered():
            return f"that talk may be captured{_hindered(event.hindrance)}"
        case PromptPlayed():
            return f"prompt {event.prompt.id} ({event.prompt.language}) was played for {event.played_ms / 1000:.1f} s"
        case ConsentAnswered():
            return f"answer: {event.answer}{_hindered(event.hindrance)}"
        case DialogueBroke():
            return f"the dialogue ended without an answer: {event.reason}"
        case OverridePressed():
            telephone = event.telephone or event.agent
            whose = telephone if event.user is None else f"{event.user} at {telephone}"
            denied = f", {BARRED[event.denied]}" if event.denied is not None else ""
            return f"{whose} pressed the override key for {event.reason}{denied}{_hindered(event.hindrance)}"
        case CaptureLost() | RecordingUnmade():
            return f"there is no audio: {event.reason}"
        case RecordingMade():
            return f"settled: {event.samples / event.rate:.1f} s of audio"
        case CallResynchronised():
            return f"we had not seen anything since {event.blind_from:%H:%M:%S}; this is what stands now"
        case ClockSet():
            way = "back" if event.by.total_seconds() < 0 else "forward"
            return f"our clock was set {way} by {abs(event.by.total_seconds()):.1f} s"
        case CallerJoinedQueue() | CallerLeftQueue():
            return f"the caller {'joined' if isinstance(event, CallerJoinedQueue) else 'left'} queue {event.queue}"
        case AgentListed():
            return f"{event.agent.name} must not be recorded"
        case AgentConnected():
            return f"{event.interface or event.agent.name} took the call"
        case BridgeEntered() | BridgeLeft():
            did = "entered" if isinstance(event, BridgeEntered) else "left"
            return f"{event.channel.name} {did} a bridge, now of {event.channels}"
        case ChannelHungUp():
            return f"{event.channel.name} hung up"
    return None


def _hindered(reason: object) -> str:
    return f", yet nothing could be captured: {reason}" if reason else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One moment at which policy was asked, and its printed trace."""

    at: datetime
    asked: str
    permitted: bool
    rule: str
    trace: tuple[str, ...]


def decisions(whole: WholeCall) -> tuple[Decision, ...]:
    """Every decision of the call, made again from its journal; the rows' own where the journal cannot be replayed."""
    try:
        made = tuple(_decisions(whole.journal))
    except (KeyError, ValueError, TypeError):
        made = ()
    return made or (_standing(whole),)


def _decisions(journal: tuple[JournalRow, ...]) -> Iterator[Decision]:
    events = [event_from_fields(row.name, row.fields) for row in journal]
    before: CallState | None = None
    for event, step in zip(events, replay(events), strict=True):
        if before is not None and step.expected and isinstance(event, ConsentAnswered):
            named = unrecorded(before)
            now = Circumstances(mode=before.mode, consent=event.answer, listed=before.listed, unrecorded=named)
            yield _decision(event.at, f"at the answer {event.answer}", now)
        elif before is not None and step.facts and isinstance(event, LineConsulted):
            now = Circumstances(mode=event.admitted.mode, consent=before.consent, unrecorded=unrecorded(before))
            yield _decision(event.at, f"at the consultation of line {event.admitted.line}", now)
        elif before is not None and step.facts and isinstance(event, ChannelOffered):
            now = Circumstances(mode=before.mode, consent=before.consent, unrecorded=unrecorded(before))
            yield _decision(event.at, f"when the caller was joined with line {before.line}", now)
        elif before is not None and isinstance(event, OverridePressed):
            now = Circumstances(
                mode=before.mode,
                consent=before.consent,
                override=event.reason,
                listed=before.listed,
                barred=_barred(event),
                unrecorded=unrecorded(before),
            )
            yield _decision(event.at, f"at the override key for {event.reason}", now)
        elif before is not None and isinstance(event, AgentConnected) and step.state.excluded:
            now = Circumstances(mode=before.mode, consent=before.consent, unrecorded=Unrecorded.AGENT)
            yield _decision(event.at, f"when {event.interface} took the call", now)
        before = step.state


BARRED: Final = {
    Denied.UNKNOWN: "for which nobody is entered at that telephone",
    Denied.DISABLED: "which whoever is entered at that telephone may not, being disabled",
    Denied.NOT_GRANTED: "which the agent has no right to on this line",
    Denied.NOT_READ: "of which the catalogue could not tell who may",
}


def _barred(event: OverridePressed) -> str:
    if event.unfounded:
        return "of which the settings say no more on what it rests"
    return BARRED[event.denied] if event.denied is not None else ""


def _standing(whole: WholeCall) -> Decision:
    call = whole.call
    return _decision(
        call.ended_at or call.started_at, "nobody answered", Circumstances(mode=call.mode, consent=call.consent)
    )


def _decision(when: datetime, asked: str, now: Circumstances) -> Decision:
    verdict = decide(now)
    return Decision(at=when, asked=asked, permitted=verdict.permitted, rule=verdict.rule, trace=verdict.trace)
