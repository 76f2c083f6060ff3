"""The two tables of the machine: where a call stands, and where its capture stands.

Both are total: every state has an entry for every trigger, so that nothing is left to chance or to an exception.
docs/states.md is drawn from here by `./dev states`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Phase(StrEnum):
    """Where the call stands."""

    ASKING = "asking"  # our dialogue runs, or has not begun
    WAITING = "waiting"  # the dialogue is over; no agent yet
    TALKING = "talking"  # caller and agent, nobody else, one bridge, not on hold
    APART = "apart"  # has talked; now on hold, alone, or with somebody we cannot place
    OVER = "over"  # the caller's channel is gone; the capture may still be closing
    CLOSED = "closed"  # the outcome is known


class CaptureState(StrEnum):
    """Where a capture stands. There is none before it is authorised."""

    ARMING = "arming"  # intention written, command under way
    ARMED = "armed"  # MixMonitor runs, bridged-only; nothing written yet
    RUNNING = "running"  # in a permitted bridge
    QUIET = "quiet"  # on hold: muted, exact silence is written
    PAUSED = "paused"  # by a key: muted until the key that resumes
    STOPPING = "stopping"  # a stop was sent
    STOPPED = "stopped"  # closed by Asterisk
    SETTLED = "settled"
    EMPTY = "empty"
    FAILED = "failed"
    ERASING = "erasing"  # may not be kept; its files are being removed
    ERASED = "erased"
    PREPARING = "preparing"  # for a caller who may be handed over: intention written, command under way
    PREPARED = "prepared"  # runs on the leg of a consultation, muted; the caller is no part of that yet
    FORSAKEN = "forsaken"  # nobody was handed over, or not as permitted: a stop was sent


class Trigger(StrEnum):
    """What can happen, seen from the tables. One event may be several of them, in order."""

    CONCLUDED = "concluded"  # the dialogue is over
    ASKED_AGAIN = "asked again"  # the call passes another line
    TOGETHER = "together"  # caller and agent stand in a permitted bridge
    HELD = "held"  # still bridged, but on hold or alone
    PARTED = "parted"  # left the bridge, or somebody else is in it
    PAUSED = "paused"  # a key asks for silence
    RESUMED = "resumed"  # a key ends it
    DISOWNED = "disowned"  # what was captured may not be kept
    GONE = "gone"  # the caller's channel is hung up
    CONFIRMED = "confirmed"  # Asterisk runs the MixMonitor
    CLOSED = "closed"  # Asterisk closed the files
    MADE = "made"  # the recording is settled
    EMPTIED = "emptied"  # there was nothing to keep, and nothing is left
    ERASED = "erased"  # no file of it is left
    LOST = "lost"  # there should be audio and there is none
    JOINED = "joined"  # the caller has taken the place of the agent who consulted
    FORSAKEN = "forsaken"  # nothing of a consultation may become the caller's talk any more
    BALANCED = "balanced"  # the call is over and no capture is open


P, C, T = Phase, CaptureState, Trigger

_PHASES: Final[dict[Phase, dict[Trigger, Phase]]] = {
    P.ASKING: {T.CONCLUDED: P.WAITING, T.TOGETHER: P.TALKING, T.GONE: P.OVER},
    P.WAITING: {T.ASKED_AGAIN: P.ASKING, T.TOGETHER: P.TALKING, T.GONE: P.OVER},
    P.TALKING: {T.ASKED_AGAIN: P.ASKING, T.HELD: P.APART, T.PARTED: P.APART, T.GONE: P.OVER},
    P.APART: {T.ASKED_AGAIN: P.ASKING, T.TOGETHER: P.TALKING, T.GONE: P.OVER},
    P.OVER: {T.BALANCED: P.CLOSED},
    P.CLOSED: {},
}

_CAPTURES: Final[dict[CaptureState, dict[Trigger, CaptureState]]] = {
    C.ARMING: {
        T.CONFIRMED: C.ARMED,
        T.ASKED_AGAIN: C.STOPPING,
        T.PARTED: C.STOPPING,
        T.GONE: C.STOPPED,
        T.CLOSED: C.STOPPED,
        T.LOST: C.FAILED,
    },
    C.ARMED: {
        T.TOGETHER: C.RUNNING,
        T.HELD: C.QUIET,
        T.PAUSED: C.PAUSED,
        T.ASKED_AGAIN: C.STOPPING,
        T.PARTED: C.STOPPING,
        T.GONE: C.STOPPED,
        T.CLOSED: C.STOPPED,
        T.LOST: C.FAILED,
    },
    C.RUNNING: {
        T.HELD: C.QUIET,
        T.PAUSED: C.PAUSED,
        T.ASKED_AGAIN: C.STOPPING,
        T.PARTED: C.STOPPING,
        T.GONE: C.STOPPED,
        T.CLOSED: C.STOPPED,
        T.LOST: C.FAILED,
    },
    C.QUIET: {
        T.TOGETHER: C.RUNNING,
        T.PAUSED: C.PAUSED,
        T.ASKED_AGAIN: C.STOPPING,
        T.PARTED: C.STOPPING,
        T.GONE: C.STOPPED,
        T.CLOSED: C.STOPPED,
        T.LOST: C.FAILED,
    },
    C.PAUSED: {
        T.RESUMED: C.QUIET,
        T.ASKED_AGAIN: C.STOPPING,
        T.PARTED: C.STOPPING,
        T.GONE: C.STOPPED,
        T.CLOSED: C.STOPPED,
        T.LOST: C.FAILED,
    },
    C.STOPPING: {T.GONE: C.STOPPED, T.CLOSED: C.STOPPED, T.LOST: C.FAILED},
    C.STOPPED: {T.MADE: C.SETTLED, T.EMPTIED: C.EMPTY, T.LOST: C.FAILED, T.DISOWNED: C.ERASING},
    C.SETTLED: {T.DISOWNED: C.ERASING},
    C.EMPTY: {},
    C.FAILED: {T.DISOWNED: C.ERASING},  # what could not be settled may still lie in the spool
    C.ERASING: {T.ERASED: C.ERASED},
    C.ERASED: {},
    C.PREPARING: {
        T.CONFIRMED: C.PREPARED,
        T.FORSAKEN: C.FORSAKEN,
        T.GONE: C.FORSAKEN,
        T.CLOSED: C.STOPPED,
        T.LOST: C.FAILED,
    },
    C.PREPARED: {
        T.JOINED: C.QUIET,
        T.FORSAKEN: C.FORSAKEN,
        T.GONE: C.FORSAKEN,  # the two agents may talk on
        T.CLOSED: C.STOPPED,
        T.LOST: C.FAILED,
    },
    C.FORSAKEN: {T.CLOSED: C.STOPPED, T.LOST: C.FAILED},
}

PHASE_TRANSITIONS: Final[dict[tuple[Phase, Trigger], Phase]] = {
    (phase, trigger): _PHASES[phase].get(trigger, phase) for phase in Phase for trigger in Trigger
}
CAPTURE_TRANSITIONS: Final[dict[tuple[CaptureState, Trigger], CaptureState]] = {
    (capture, trigger): _CAPTURES[capture].get(trigger, capture) for capture in CaptureState for trigger in Trigger
}

FINISHED: Final = frozenset({C.SETTLED, C.EMPTY, C.FAILED, C.ERASED})
"""A capture in one of these needs nothing more; only a withdrawal can still reach it."""

UNCLOSED: Final = frozenset({C.ARMING, C.ARMED, C.RUNNING, C.QUIET, C.PAUSED, C.STOPPING})
"""In these Asterisk may hold the staged files open on our behalf; never two of them in one call."""

BESIDE: Final = frozenset({C.PREPARING, C.PREPARED, C.FORSAKEN})
"""The same of a capture on the leg of a consultation, where the caller is not: muted, and never two of them either."""
