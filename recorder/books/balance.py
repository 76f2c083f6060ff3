"""One call's books: does what the catalogue says of it agree with itself, with its journal and with policy?

Pure: told everything, asks nothing. The invariant: a call that is still open is not a mismatch for being so.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from recorder.books.mismatch import Code, Mismatch
from recorder.call import CallState, Phase, Step, event_from_fields, outcome, replay
from recorder.catalogue import ConsentRow, RecordingRow, WholeCall
from recorder.model import (
    ConsentMode,
    ConsentRecorded,
    ConsentState,
    LostReason,
    Outcome,
    RecordingAuthorised,
    RecordingChanged,
    RecordingId,
    RecordingSettled,
    RecordingStatus,
)
from recorder.policy import Circumstances, decide

UNFINISHED: Final = frozenset(
    {RecordingStatus.AUTHORISED, RecordingStatus.ARMED, RecordingStatus.STOPPED, RecordingStatus.ERASING}
)
UNWITNESSED: Final = frozenset({Outcome.EXCLUDED, Outcome.ABANDONED, Outcome.LOST})
"""Outcomes of a call that only the queue log told of: it has no journal."""
EXPLAINS_FAILURE: Final = frozenset({Outcome.LOST, Outcome.ABANDONED})
OVERRIDE: Final = "override"
ADOPT: Final = "adopt"


def balance(whole: WholeCall) -> list[Mismatch]:
    """Everything about the call that does not fit, files apart."""
    mismatches = [*_ending(whole), *_recordings(whole), *_acts(whole)]
    try:
        steps = list(replay(event_from_fields(row.name, row.fields) for row in whole.journal))
    except (KeyError, ValueError, TypeError) as error:
        steps = []
        what = f"the journal cannot be replayed: {_said(error)}"
        mismatches.append(_mismatch(whole, Code.JOURNAL_UNREADABLE, what))
    return [*mismatches, *_authorities(whole, steps), *_journal(whole, steps)]


def _mismatch(whole: WholeCall, code: Code, what: str, recording: RecordingId | None = None) -> Mismatch:
    return Mismatch(code=code, what=what, call=whole.call.id, recording=recording)


# --------------------------------------------------------------------------- how it ended


def _ending(whole: WholeCall) -> Iterator[Mismatch]:
    call = whole.call
    is_closed = call.phase == Phase.CLOSED
    if is_closed and call.outcome is None:
        yield _mismatch(whole, Code.CALL_WITHOUT_OUTCOME, "the call is closed and has no outcome")
    if call.outcome is not None and not is_closed:
        yield _mismatch(
            whole, Code.CALL_ENDED_OPEN, f"the outcome is {call.outcome}, yet the call is {call.phase or 'unbegun'}"
        )


def _recordings(whole: WholeCall) -> Iterator[Mismatch]:
    ended = whole.call.outcome
    if ended is None:
        return
    settled = [row for row in whole.recordings if row.status is RecordingStatus.SETTLED]
    if ended is Outcome.RECORDED and not settled:
        yield _mismatch(
            whole, Code.RECORDED_WITHOUT_RECORDING, "the outcome is recorded and no recording of the call is settled"
        )
    if ended is not Outcome.RECORDED:
        for row in settled:
            if _is_adopted(whole, row.id):
                continue  # the outcome is how the call ended; what was saved of it afterwards is audited
            yield _mismatch(
                whole, Code.RECORDING_AGAINST_OUTCOME, f"a recording is settled, yet the outcome is {ended}", row.id
            )
    for row in whole.recordings:
        if row.status in UNFINISHED:
            yield _mismatch(
                whole, Code.RECORDING_STUCK, f"the recording is {row.status} and its call has ended", row.id
            )
        if row.status is RecordingStatus.FAILED and not _is_accounted(whole):
            yield _mismatch(
                whole,
                Code.FAILURE_UNACCOUNTED,
                f"the capture failed ({row.reason}), the outcome is {ended} and there was no override",
                row.id,
            )


def _is_adopted(whole: WholeCall, recording: RecordingId) -> bool:
    """Whether a person settled it after it had failed (`recorder adopt`)."""
    return any(act.action == ADOPT and act.recording == recording for act in whole.audit)


def _is_accounted(whole: WholeCall) -> bool:
    """Whether the books say why there is no audio: the outcome, or an override that captured all the same."""
    return whole.call.outcome in EXPLAINS_FAILURE or any(act.action == OVERRIDE for act in whole.audit)


# --------------------------------------------------------------------------- what permits each recording


def _authorities(whole: WholeCall, steps: list[Step]) -> Iterator[Mismatch]:
    events = {event.id: event for event in whole.consents}
    modes = _modes_of_further_lines(steps)
    for row in whole.recordings:
        event = events.get(row.authorised_by)
        if event is None or event.after is not row.authorising_state:
            said = "is not among the call's" if event is None else f"says {event.after}, not {row.authorising_state}"
            yield _mismatch(whole, Code.AUTHORITY_MISSING, f"the consent event that authorised it {said}", row.id)
        elif not decide(_circumstances(event, mode := modes.get(row.id, row.mode))).permitted:
            yield _mismatch(
                whole, Code.NOT_PERMITTED, f"{event.after} does not permit capture where the mode is {mode}", row.id
            )
        if row.authorising_state is ConsentState.OVERRIDDEN:
            yield from _override(whole, row)


def _circumstances(event: ConsentRow, mode: ConsentMode) -> Circumstances:
    """What policy is to judge. What the line listed then is not kept: an override that was carried out was listed."""
    listed = frozenset({event.reason}) if event.reason else frozenset()
    return Circumstances(mode=mode, consent=event.after, override=event.reason, listed=listed)


def _modes_of_further_lines(steps: list[Step]) -> dict[RecordingId, ConsentMode]:
    """The mode each recording was authorised in, where the call passed several lines: its row has the first line's."""
    if len({step.state.line for step in steps}) < 2:
        return {}
    return {fact.id: step.state.mode for step in steps for fact in step.facts if isinstance(fact, RecordingAuthorised)}


def _override(whole: WholeCall, row: RecordingRow) -> Iterator[Mismatch]:
    if not any(act.id == row.audit and act.recording == row.id and act.action == OVERRIDE for act in whole.audit):
        yield _mismatch(whole, Code.OVERRIDE_UNAUDITED, "captured by override, and no audit entry says so", row.id)
    if not row.sealed:
        yield _mismatch(whole, Code.OVERRIDE_UNSEALED, "captured by override, and not sealed", row.id)


def _acts(whole: WholeCall) -> Iterator[Mismatch]:
    known = {row.id for row in whole.recordings}
    for act in whole.audit:
        if act.action == OVERRIDE and act.recording not in known:
            yield _mismatch(
                whole,
                Code.OVERRIDE_WITHOUT_RECORDING,
                f"an override by {act.actor} is audited, and its recording is not in the catalogue",
                act.recording,
            )


# --------------------------------------------------------------------------- what the journal says


def _journal(whole: WholeCall, steps: list[Step]) -> Iterator[Mismatch]:
    if not whole.journal and not _was_unwitnessed(whole):
        yield _mismatch(whole, Code.JOURNAL_MISSING, "the call has no journal")
    yield from _gaps(whole)
    if steps:
        yield from _state(whole, steps[-1].state)
        yield from _consents(whole, steps)
        yield from _statuses(whole, steps)


def _said(error: Exception) -> str:
    return f"{error.args[0]} is unknown" if isinstance(error, KeyError) else str(error)


def _was_unwitnessed(whole: WholeCall) -> bool:
    return whole.call.outcome in UNWITNESSED and not whole.consents and not whole.recordings


def _gaps(whole: WholeCall) -> Iterator[Mismatch]:
    for expected, row in enumerate(whole.journal, start=1):
        if row.seq != expected:
            yield _mismatch(whole, Code.JOURNAL_GAP, f"step {expected} is missing from the journal")
            return


def _state(whole: WholeCall, state: CallState) -> Iterator[Mismatch]:
    call = whole.call
    if call.phase != state.phase:
        yield _mismatch(
            whole, Code.PHASE_DIFFERS, f"the journal leads to {state.phase}, the call is {call.phase or 'unbegun'}"
        )
    if call.consent is not state.consent:
        yield _mismatch(
            whole, Code.CONSENT_DIFFERS, f"the journal leads to consent {state.consent}, the call has {call.consent}"
        )
    booked = (call.outcome, call.reason)
    if state.phase is Phase.CLOSED and call.outcome is not None and booked not in _outcomes(state):
        told, row = (_worded(*outcome(state)), _worded(call.outcome, call.reason))
        yield _mismatch(whole, Code.OUTCOME_DIFFERS, f"the journal leads to {told}, the call has {row}")


def _outcomes(state: CallState) -> tuple[tuple[Outcome, LostReason | None], ...]:
    """What the journal leads to; a talk too brief for a word was lost to the recorders before decision 0041."""
    now = outcome(state)
    return (now, (Outcome.LOST, LostReason.CAPTURE_FAILED)) if now[0] is Outcome.ABANDONED and state.talked else (now,)


def _worded(ended: Outcome, reason: object) -> str:
    return f"{ended} ({reason})" if reason else str(ended)


def _consents(whole: WholeCall, steps: list[Step]) -> Iterator[Mismatch]:
    told = {fact.id: fact for step in steps for fact in step.facts if isinstance(fact, ConsentRecorded)}
    kept = {event.id: event for event in whole.consents}
    for key, fact in told.items():
        if key not in kept:
            yield _mismatch(
                whole, Code.CONSENT_EVENT_MISSING, f"the journal tells of consent {fact.after} and there is no event"
            )
    for key, event in kept.items():
        if key not in told or told[key].after is not event.after:
            yield _mismatch(
                whole, Code.CONSENT_EVENT_STRANGE, f"consent event {event.id} ({event.after}) is not in the journal"
            )


def _statuses(whole: WholeCall, steps: list[Step]) -> Iterator[Mismatch]:
    told = _status_told(steps)
    kept = {row.id: row.status for row in whole.recordings}
    for key, status in told.items():
        if key not in kept:
            yield _mismatch(whole, Code.RECORDING_MISSING, "the journal tells of it and there is no row", key)
        elif kept[key] is not status and not _was_saved(whole, key, status, kept[key]):
            yield _mismatch(
                whole, Code.STATUS_DIFFERS, f"the journal leads to {status}, the recording is {kept[key]}", key
            )
    for key in kept.keys() - told.keys():
        yield _mismatch(whole, Code.RECORDING_STRANGE, "the journal never authorised this recording", key)


def _was_saved(whole: WholeCall, key: RecordingId, told: RecordingStatus, kept: RecordingStatus) -> bool:
    failed_to_settled = (told, kept) == (RecordingStatus.FAILED, RecordingStatus.SETTLED)
    return failed_to_settled and _is_adopted(whole, key)


def _status_told(steps: list[Step]) -> dict[RecordingId, RecordingStatus]:
    told: dict[RecordingId, RecordingStatus] = {}
    for fact in (fact for step in steps for fact in step.facts):
        match fact:
            case RecordingAuthorised():
                told[fact.id] = RecordingStatus.AUTHORISED
            case RecordingChanged():
                told[fact.id] = fact.status
            case RecordingSettled():
                told[fact.id] = RecordingStatus.SETTLED
    return told
