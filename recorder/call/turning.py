"""The tables turn: triggers become new states, and new states have consequences, facts and commands.

Must not read an event beyond its time and, of a settled recording, its figures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Final

from recorder.call.draft import (
    Acknowledge,
    Draft,
    Erase,
    Settle,
    Step,
    Summon,
    lose,
    prove_until,
    send_stop,
    silence,
)
from recorder.call.events import (
    CallResynchronised,
    RecordingMade,
)
from recorder.call.outcome import outcome
from recorder.call.state import (
    CallState,
    Capture,
    KeyAnswer,
    OwedAnswer,
    Silence,
    Standing,
    capture_in_hand,
    is_bridged,
    is_rung_beside,
    prepared,
    standing,
    unrecorded,
)
from recorder.call.tables import (
    BESIDE,
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
    ConsentState,
    LostReason,
    RecordingChanged,
    RecordingId,
    RecordingSettled,
    RecordingStatus,
    SilenceCause,
    Silenced,
)
from recorder.silences import SILENCE_TAIL

CONFIRMED_WITHIN: Final = timedelta(seconds=1)
"""A stop confirmed later than this left Asterisk writing what nobody permitted: it is not kept."""
CLOSED: Final = frozenset({CaptureState.STOPPED, CaptureState.FAILED})
WITH_LEDGER: Final = frozenset({RecordingStatus.STOPPED, RecordingStatus.FAILED})
BRIDGEABLE: Final = frozenset({CaptureState.ARMED, CaptureState.RUNNING, CaptureState.QUIET, CaptureState.PAUSED})
"""In these the first permitted bridge is where the recording's time line begins, also where silence is written."""
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
    _take_over(draft)
    _summon(draft)
    if draft.state.ended_at is not None and capture_in_hand(draft.state) is None:
        _move(draft, Trigger.GONE)  # the caller was gone before what captured them
    if draft.state.phase is Phase.OVER and all(capture.state in FINISHED for capture in draft.state.captures):
        _move(draft, Trigger.BALANCED)
    _answer_keys(draft)
    return Step(state=draft.state, facts=tuple(draft.facts), commands=tuple(draft.commands), expected=draft.expected)


def _move(draft: Draft, trigger: Trigger, recording: RecordingId | None = None) -> None:
    """Let the tables turn: the call's own unless the trigger is about one capture, and every capture it is about."""
    if recording is None:
        _move_call(draft, PHASE_TRANSITIONS[draft.state.phase, trigger])
    for capture in draft.state.captures:
        if recording not in (None, capture.id):
            continue
        if trigger is Trigger.TOGETHER and capture.state in BRIDGEABLE and capture.bridged_at is None:
            draft.know_capture(capture.id, bridged_at=draft.event.at)
        after = CAPTURE_TRANSITIONS[capture.state, trigger]
        if after is not capture.state:
            _move_capture(draft, capture, after)


def _take_over(draft: Draft) -> None:
    """The caller stands where an agent consulted: what was prepared there becomes the capture of their talk.

    Its files begin with the consultation, in silence: for the caller that was a hold, and the ledger says so.
    """
    state, beside = draft.state, prepared(draft.state)
    consulted = state.consulted
    if beside is None or consulted is None or consulted.bridged_at is None or not beside.silent:
        return
    may = state.consent is ConsentState.GIVEN and not state.personal and unrecorded(state) is None
    is_free = beside.state is CaptureState.PREPARED and capture_in_hand(state) is None
    if state.relay is None or standing(state) is not Standing.TOGETHER or not (may and is_free):
        return
    silences: tuple[Silence, ...] = ()
    joined_at = max(draft.event.at, state.relay.since)  # a stop counts from its answer, which is older than its event
    if joined_at > consulted.bridged_at:
        silences = (Silence(cause=SilenceCause.HOLD, began_at=consulted.bridged_at, ended_at=joined_at),)
    draft.know_capture(beside.id, bridged_at=consulted.bridged_at, silences=silences)
    _move(draft, Trigger.JOINED, beside.id)
    _catch_up(draft, beside.id)


def _summon(draft: Draft) -> None:
    """Once what the first line captured is closed, the dialplan is to bring the caller's channel for the second's."""
    state, reached = draft.state, draft.state.reached
    if (
        reached is None
        or state.caller is None
        or reached.summoned
        or capture_in_hand(state) is not None
        or prepared(state) is not None
    ):
        return
    may = state.consent is ConsentState.GIVEN and not state.personal and unrecorded(state) is None
    if may and state.phase is Phase.TALKING and standing(state) is Standing.TOGETHER:
        draft.commands.append(Summon(channel=state.caller))
        draft.know(reached=replace(reached, summoned=True))


def _move_call(draft: Draft, after: Phase) -> None:
    if after is draft.state.phase:
        return
    draft.know(phase=after, talked=draft.state.talked or after is Phase.TALKING)
    if after is Phase.CLOSED:
        _close(draft)


def _move_capture(draft: Draft, before: Capture, after: CaptureState) -> None:
    if after in CLOSED and before.to_tell is not None:  # nobody knows that the caller heard of it
        before = replace(before, disowned=True)
        draft.know_capture(before.id, disowned=True)
        lose(draft, LostReason.PROMPT_FAILED)
    draft.know_capture(before.id, state=after)
    if after in (CaptureState.STOPPING, CaptureState.STOPPED, CaptureState.FAILED):
        prove_until(draft, draft.event.at, recording=before.id)
    if after is CaptureState.STOPPED and before.bridged_until is not None:
        late = draft.event.at - before.bridged_until > CONFIRMED_WITHIN
        draft.know_capture(before.id, unproved=before.unproved or late)  # it ran on, beside whomever
    _keep_ledger(draft, before.id, after)
    if CaptureState.STOPPING in (before.state, after) and is_bridged(draft.state, before):
        draft.know_capture(before.id, unproved=True)  # it writes until the stop is confirmed, whoever is there
    _CONSEQUENCES[after](draft, before)
    if after is CaptureState.ARMED:
        _catch_up(draft, before.id)
    if after is CaptureState.QUIET and before.state is CaptureState.PAUSED:
        _move_as_they_stand(draft, before.id, Standing.TOGETHER)
    if after in CLOSED and before.disowned:
        _move(draft, Trigger.DISOWNED, before.id)


def _catch_up(draft: Draft, recording: RecordingId) -> None:
    """Armed in mid-talk by a key, or on another line while the call is paused."""
    if draft.state.paused is not None:
        _move(draft, Trigger.PAUSED, recording)
    _move_as_they_stand(draft, recording, Standing.TOGETHER, Standing.FOREIGN, Standing.HELD)


def _move_as_they_stand(draft: Draft, recording: RecordingId, *among: Standing) -> None:
    now = standing(draft.state)
    if now in among:
        _move(draft, TRIGGER_BY_STANDING[now], recording)


def _keep_ledger(draft: Draft, recording: RecordingId, after: CaptureState) -> None:
    """Note where silence begins and ends: from the moment that asks for it, and before a pause from its pre-roll on."""
    capture = _now(draft, recording)
    state, at = draft.state, draft.event.at
    silences = capture.silences
    if silences and silences[-1].ended_at is None:
        *others, last = silences
        # What is only out of sight may yet be proved: then this silence must stand for itself.
        ended = at if capture.unproved else min(at, capture.bridged_until or at)
        closed = replace(last, ended_at=ended, written=capture.silent)
        silences = (*others, closed) if ended > last.began_at else tuple(others)
    if after is CaptureState.PAUSED and state.paused is not None:
        began = state.paused.at - state.preroll
        silences = (*silences, Silence(cause=SilenceCause.PAUSE, began_at=began, actor=state.paused.actor))
    elif after is CaptureState.QUIET and standing(state) is not Standing.TOGETHER:
        # A hold that began unseen may have begun at once.
        began = draft.event.blind_from if isinstance(draft.event, CallResynchronised) else at
        silences = (*silences, Silence(cause=SilenceCause.HOLD, began_at=began))
    draft.know_capture(recording, silences=silences)


def _now(draft: Draft, recording: RecordingId) -> Capture:
    return next(capture for capture in draft.state.captures if capture.id == recording)


def _armed(draft: Draft, before: Capture) -> None:
    _change(draft, before, {RecordingStatus.AUTHORISED}, RecordingStatus.ARMED)


def _prepared(draft: Draft, before: Capture) -> None:
    _armed(draft, before)
    silence(draft, before, quiet=True)  # before anybody is rung, let alone bridged


def _running(draft: Draft, before: Capture) -> None:
    if before.state is CaptureState.QUIET:
        silence(draft, before, quiet=False)


def _quiet(draft: Draft, before: Capture) -> None:
    if before.state not in (CaptureState.PAUSED, CaptureState.PREPARED):  # it is silent already
        silence(draft, before, quiet=True)


def _paused(draft: Draft, before: Capture) -> None:
    silence(draft, before, quiet=True)  # also where it is on hold: a pause is confirmed by a word of its own


def _stopped(draft: Draft, before: Capture) -> None:
    _change(draft, before, {RecordingStatus.AUTHORISED, RecordingStatus.ARMED}, RecordingStatus.STOPPED)
    if not before.disowned:
        draft.commands.append(Settle(recording=before.id))


def _ledger(draft: Draft, capture: Capture) -> tuple[Silenced, ...]:
    """The silences as the catalogue keeps them; what lies before the first permitted bridge is in no file."""
    if capture.bridged_at is None:
        return ()
    told = []
    for each in capture.silences:
        began = max((each.began_at - capture.bridged_at).total_seconds(), 0.0)
        until = each.ended_at or draft.event.at
        until = min(until, capture.bridged_until or until)
        ended = (until - capture.bridged_at).total_seconds()
        if ended > began:
            ended += 0.0 if each.written else SILENCE_TAIL  # where it silences nothing, nothing is left to it
            told.append(Silenced(cause=each.cause, from_seconds=began, to_seconds=ended, actor=each.actor))
    return tuple(told)


def _settled(draft: Draft, before: Capture) -> None:
    event = draft.event
    assert isinstance(event, RecordingMade)
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
    _change(draft, before, expected, RecordingStatus.FAILED, draft.lost)
    if before.state in UNCLOSED | BESIDE:
        send_stop(draft, before)


def _erasing(draft: Draft, before: Capture) -> None:
    kept = {RecordingStatus.STOPPED, RecordingStatus.SETTLED, RecordingStatus.FAILED}
    _change(draft, before, kept, RecordingStatus.ERASING)
    draft.commands.append(Erase(recording=before.id))


def _erased(draft: Draft, before: Capture) -> None:
    _change(draft, before, {RecordingStatus.ERASING}, RecordingStatus.ERASED)


def _answer_keys(draft: Draft) -> None:
    """Tell those whose key has come true; the others wait on."""
    owed = draft.state.owed
    if not owed:
        return
    hand = capture_in_hand(draft.state)
    still = []
    for key in owed:
        if key.answer is KeyAnswer.CAPTURED and hand is None:  # nothing is captured after all
            if key.asked is not None:  # at a telephone silence says so
                draft.commands.append(Acknowledge(presser=key.presser, answer=KeyAnswer.REFUSED, asked=key.asked))
            continue
        if _has_come_true(key.answer, _awaited(draft.state, key)):
            draft.commands.append(Acknowledge(presser=key.presser, answer=key.answer, asked=key.asked))
        else:
            still.append(key)
    draft.know(owed=tuple(still))


def _awaited(state: CallState, key: OwedAnswer) -> Capture | None:
    """The capture of which the answer speaks. A listed agent waits for every one that could hear them now."""
    if key.answer is not KeyAnswer.EXCLUDED:
        return capture_in_hand(state)
    beside = is_rung_beside(state, key.presser.uniqueid)
    return prepared(state) if beside else capture_in_hand(state) or prepared(state)


def _has_come_true(answer: KeyAnswer, hand: Capture | None) -> bool:
    if answer is KeyAnswer.REFUSED or hand is None:
        return True
    if answer is KeyAnswer.CAPTURED:
        return hand.state is CaptureState.RUNNING
    if answer is KeyAnswer.PAUSED:
        return hand.state is CaptureState.PAUSED and hand.silent
    if answer is KeyAnswer.RESUMED:
        return hand.state in (CaptureState.RUNNING, CaptureState.QUIET) and hand.silent is (
            hand.state is CaptureState.QUIET
        )
    return False  # told once nobody writes any more


def _nothing(_draft: Draft, _before: Capture) -> None:
    return


_CONSEQUENCES: Final[dict[CaptureState, Callable[[Draft, Capture], None]]] = {
    CaptureState.ARMING: _nothing,
    CaptureState.ARMED: _armed,
    CaptureState.RUNNING: _running,
    CaptureState.QUIET: _quiet,
    CaptureState.PAUSED: _paused,
    CaptureState.STOPPING: send_stop,
    CaptureState.STOPPED: _stopped,
    CaptureState.SETTLED: _settled,
    CaptureState.EMPTY: _empty,
    CaptureState.FAILED: _failed,
    CaptureState.ERASING: _erasing,
    CaptureState.ERASED: _erased,
    CaptureState.PREPARING: _nothing,
    CaptureState.PREPARED: _prepared,
    CaptureState.FORSAKEN: send_stop,
}


def _change(
    draft: Draft,
    before: Capture,
    expected: set[RecordingStatus],
    status: RecordingStatus,
    reason: LostReason | None = None,
) -> None:
    capture = _now(draft, before.id)
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
            silences=_ledger(draft, capture) if status in WITH_LEDGER else (),
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
