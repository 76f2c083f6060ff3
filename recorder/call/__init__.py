"""The per-call machine: pure, replayable, the one place that says what happens to a call and its capture next.

`begin` makes a state from the event that opened the call; `advance(state, event)` returns a `Step`: the new state, the
facts to write down, and the commands to carry out after they are written. Nothing in this folder does I/O or reads a
clock; the same events always give the same outcome.
"""

from recorder.call.draft import Acknowledge, Arm, Command, Erase, Quiet, Seek, Settle, Step, Stop
from recorder.call.events import (
    AgentListed,
    CallAdmitted,
    CallerTold,
    CallEvent,
    CallResynchronised,
    CaptureArmed,
    CaptureClosed,
    CaptureLost,
    ConsentAnswered,
    ConsultationPassed,
    DialogueBroke,
    KeyPressed,
    LineConsulted,
    OverridePressed,
    PromptPlayed,
    RecordingEmptied,
    RecordingErased,
    RecordingMade,
    RecordingUnmade,
    RivalMet,
    SightLost,
    SilenceFailed,
)
from recorder.call.journal import event_from_fields, fields_from_event
from recorder.call.machine import advance, begin
from recorder.call.outcome import outcome
from recorder.call.reading import READ_EVENTS
from recorder.call.replay import replay
from recorder.call.state import (
    CallState,
    Capture,
    KeyAnswer,
    Standing,
    capture_in_hand,
    prepared,
    running_on,
    standing,
    standing_with,
    unrecorded,
    worth_on,
)
from recorder.call.tables import CAPTURE_TRANSITIONS, PHASE_TRANSITIONS, CaptureState, Phase, Trigger

__all__ = [
    "CAPTURE_TRANSITIONS",
    "PHASE_TRANSITIONS",
    "READ_EVENTS",
    "Acknowledge",
    "AgentListed",
    "Arm",
    "CallAdmitted",
    "CallEvent",
    "CallResynchronised",
    "CallState",
    "CallerTold",
    "Capture",
    "CaptureArmed",
    "CaptureClosed",
    "CaptureLost",
    "CaptureState",
    "Command",
    "ConsentAnswered",
    "ConsultationPassed",
    "DialogueBroke",
    "Erase",
    "KeyAnswer",
    "KeyPressed",
    "LineConsulted",
    "OverridePressed",
    "Phase",
    "PromptPlayed",
    "Quiet",
    "RecordingEmptied",
    "RecordingErased",
    "RecordingMade",
    "RecordingUnmade",
    "RivalMet",
    "Seek",
    "Settle",
    "SightLost",
    "SilenceFailed",
    "Standing",
    "Step",
    "Stop",
    "Trigger",
    "advance",
    "begin",
    "capture_in_hand",
    "event_from_fields",
    "fields_from_event",
    "outcome",
    "prepared",
    "replay",
    "running_on",
    "standing",
    "standing_with",
    "unrecorded",
    "worth_on",
]
