"""The tables turn: triggers become new states, and new states have consequences, facts and commands.

Must not read an event beyond its time and, of a settled recording, its figures.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Final

from recorder.call.draft import (
    Draft,
    Quiet,
    Settle,
    Step,
    prove_until,
    send_stop,
)
from recorder.call.events import (
    RecordingMade,
)
from recorder.call.outcome import outcome
from recorder.call.state import (
    Capture,
    Standing,
    standing,
)
from recorder.call.tables import (
    CAPTURE_TRANSITIONS,
    FINISHED,
    PHASE_TRANSITIONS,
    UNCLOSED,
    CaptureState,
    Phase,
    Trigger,
)
from recorder.model import (
    CallEnded,
    LostReason,
    RecordingChanged,
    RecordingId,
    RecordingSettled,
    RecordingStatus,
)

CONFIRMED_WITHIN: Final = timedelta(seconds=1)
"""A stop confirmed later than this left Asterisk writing what nobody permitted: it is not kept."""
TRIGGER_BY_STANDING: Final[dict[Standing, Trigger]] = {
    Standing.NOWHERE: Trigger.PARTED,
    Standing.FOREIGN: Trigger.PARTED,
    Standing.ALONE: Trigger.HELD,
    Standing.HELD: Trigger.HELD,
    Standing.TOGETHER: Trigger.TOGETHER,
}


def finished(draft: Draft) -> Step:
    for trigger, recording in draft.triggers:
        _move(draft, trigger, recording)
    if draft.state.phase is Phase.OVER and all(capture.state in FINISHED for capture in draft.state.captures):
        _move(draft, Trigger.BALANCED)
    return Step(state=draft.state, facts=tuple(draft.facts), commands=tuple(draft.commands), expected=draft.expected)


def _move(draft: Draft, trigger: Trigger, recording: RecordingId | None = None) -> None:
    """Let the tables turn: the call's own unless the trigger is about one capture, and every capture it is about."""
    if recording is None:
        _move_call(draft, PHASE_TRANSITIONS[draft.state.phase, trigger])
    for capture in draft.state.captures:
        after = CAPTURE_TRANSITIONS[capture.state, trigger]
        if recording in (None, capture.id) and after is not capture.state:
            _move_capture(draft, capture, after)


def _move_call(draft: Draft, after: Phase) -> None:
    if after is draft.state.phase:
        return
    draft.know(phase=after, talked=draft.state.talked or after is Phase.TALKING)
    if after is Phase.CLOSED:
        _close(draft)


def _move_capture(draft: Draft, before: Capture, after: CaptureState) -> None:
    draft.know_capture(before.id, state=after)
    if after is CaptureState.RUNNING and before.bridged_at is None:
        draft.know_capture(before.id, bridged_at=draft.event.at)
    if after in (CaptureState.STOPPING, CaptureState.STOPPED, CaptureState.FAILED):
        prove_until(draft, draft.event.at)
    if after is CaptureState.STOPPED and before.bridged_until is not None:
        late = draft.event.at - before.bridged_until > CONFIRMED_WITHIN
        draft.know_capture(before.id, unproved=before.unproved or late)  # it ran on, beside whomever
    if CaptureState.STOPPING in (before.state, after) and standing(draft.state) is not Standing.NOWHERE:
        draft.know_capture(before.id, unproved=True)  # in a bridge it writes until the stop is confirmed
    _CONSEQUENCES[after](draft, before)
    now = standing(draft.state)
    if after is CaptureState.ARMED and now in (Standing.TOGETHER, Standing.FOREIGN, Standing.HELD):
        _move(draft, TRIGGER_BY_STANDING[now], before.id)  # armed in mid-talk, by a key


def _armed(draft: Draft, before: Capture) -> None:
    _change(draft, before, {RecordingStatus.AUTHORISED}, RecordingStatus.ARMED)


def _running(draft: Draft, before: Capture) -> None:
    if before.state is CaptureState.QUIET:
        _quiet(draft, before, quiet=False)


def _quiet(draft: Draft, before: Capture, *, quiet: bool = True) -> None:
    draft.commands.append(Quiet(recording=before.id, channel=before.channel, mixmonitor=before.mixmonitor, quiet=quiet))


def _stopped(draft: Draft, before: Capture) -> None:
    _change(draft, before, {RecordingStatus.AUTHORISED, RecordingStatus.ARMED}, RecordingStatus.STOPPED)
    draft.commands.append(Settle(recording=before.id))


def _settled(draft: Draft, before: Capture) -> None:
    event = draft.event
    assert isinstance(event, RecordingMade)
    draft.know(recorded=True)
    draft.facts.append(
        RecordingSettled(
            id=before.id,
            call=draft.state.call,
            at=event.at,
            samples=event.samples,
            rate=event.rate,
            sha256=event.sha256,
            size=event.size,
            findings=event.findings,
        )
    )


def _empty(draft: Draft, before: Capture) -> None:
    _change(draft, before, {RecordingStatus.STOPPED}, RecordingStatus.EMPTY)


def _failed(draft: Draft, before: Capture) -> None:
    expected = {RecordingStatus.AUTHORISED, RecordingStatus.ARMED, RecordingStatus.STOPPED}
    _change(draft, before, expected, RecordingStatus.FAILED, draft.state.lost)
    if before.state in UNCLOSED:
        send_stop(draft, before)


def _nothing(_draft: Draft, _before: Capture) -> None:
    return


_CONSEQUENCES: Final[dict[CaptureState, Callable[[Draft, Capture], None]]] = {
    CaptureState.ARMING: _nothing,
    CaptureState.ARMED: _armed,
    CaptureState.RUNNING: _running,
    CaptureState.QUIET: _quiet,
    CaptureState.STOPPING: send_stop,
    CaptureState.STOPPED: _stopped,
    CaptureState.SETTLED: _settled,
    CaptureState.EMPTY: _empty,
    CaptureState.FAILED: _failed,
}


def _change(
    draft: Draft,
    before: Capture,
    expected: set[RecordingStatus],
    status: RecordingStatus,
    reason: LostReason | None = None,
) -> None:
    capture = next(capture for capture in draft.state.captures if capture.id == before.id)
    seconds = None
    if capture.bridged_at is not None and capture.bridged_until is not None:
        seconds = (capture.bridged_until - capture.bridged_at).total_seconds()
    draft.facts.append(
        RecordingChanged(
            id=capture.id,
            call=draft.state.call,
            at=draft.event.at,
            expected=frozenset(expected),
            status=status,
            mixmonitor=capture.mixmonitor,
            bridged_at=capture.bridged_at,
            bridged_seconds=seconds,
            keep_seconds=seconds if capture.unproved else None,
            reason=reason,
        )
    )


def _close(draft: Draft) -> None:
    verdict, reason = outcome(draft.state)
    draft.facts.append(
        CallEnded(
            call=draft.state.call,
            ended_at=draft.state.ended_at or draft.event.at,
            outcome=verdict,
            reason=reason,
        )
    )
