"""A caller who is captured by an agent's override: the only one that lets an agent's key begin a capture.

On what it rests is kept, and whether the caller was told. Must not turn a table. The invariants: a do-not-record list
outranks it, and so does the want of a basis or a right, and that it was tried all the same is kept; what the caller was
to be told of and was not is not kept.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from recorder.call.draft import Draft, authorise, lose, owe, record_consent
from recorder.call.events import CallerTold, OverridePressed
from recorder.call.state import CallState, KeyAnswer, applying_mode, capture_in_hand, is_caller, unrecorded
from recorder.call.tables import Phase, Trigger
from recorder.model import AuditEntry, ConsentState, LostReason, OverrideReason, Prompt
from recorder.policy import may_override

PLAYED: Final = "SUCCESS"
"""PLAYBACKSTATUS of a file that Asterisk could open and that nothing cut (apps/app_playback.c)."""
CUT_AT_MOST: Final = timedelta(milliseconds=250)
"""Playing ends with the last frame that is sent and not with its sound; and two looks at the clock lie beside it."""


def override_pressed(draft: Draft, event: OverridePressed) -> None:
    """Permit by reason, once per call: a second press while a capture is open changes nothing."""
    state = draft.state
    on_list = unrecorded(state)
    if on_list is not None:
        _refuse_override(draft, event, do_not_record=on_list)
        return
    if event.unfounded:
        _refuse_override(draft, event, hindrance="without_basis")
        return
    if event.reason not in overridable(state) or not is_caller(state, event.far):
        draft.expected = False
        if event.by is not None:  # a page has shown that it could be: that it was tried is kept
            _refuse_override(draft, event, hindrance="not_now")
        return
    if event.denied is not None:
        _refuse_override(draft, event, hindrance="without_right", denied=event.denied)
        return
    if event.unbrought:
        _refuse_override(draft, event, hindrance="not_brought")
        return
    audit = event.audit if event.hindrance is None else None
    draft.facts.append(
        AuditEntry(
            id=event.audit,
            at=event.at,
            actor=event.agent,
            action="override" if audit else "override refused",
            call=state.call,
            recording=event.recording if audit else None,
            details={"reason": event.reason, "prior_state": state.consent, "hindrance": event.hindrance or ""}
            | _terms(event),
        )
    )
    if event.hindrance is not None:
        lose(draft, event.hindrance)
        _answer(draft, event, KeyAnswer.REFUSED)
        return
    far, key = event.far.uniqueid, event.reason
    record_consent(
        draft,
        event.consent,
        ConsentState.OVERRIDDEN,
        far,
        event=event,
        reason=key,
        actor=event.agent,
        policy=event.policy,
    )
    authorise(draft, event.recording, event.consent, event.far, None, audit=event)
    if event.presser is not None:
        owe(draft, event.presser, KeyAnswer.CAPTURED, event.audit if event.by is not None else None)


def overridable(state: CallState) -> frozenset[OverrideReason]:
    """The reasons for which an override would begin a capture now, whoever asks for it."""
    is_free = state.phase is Phase.TALKING and capture_in_hand(state) is None and unrecorded(state) is None
    if not is_free or state.relay is not None:  # beyond a Local channel no agent's key acts on the caller's own
        return frozenset()
    mode = applying_mode(state)
    return frozenset(reason for reason in OverrideReason if may_override(mode, reason, state.listed))


def _answer(draft: Draft, event: OverridePressed, answer: KeyAnswer) -> None:
    """Tell whoever asked on a page or by a program; at a telephone silence says that nothing is captured."""
    if event.by is not None and event.presser is not None:
        owe(draft, event.presser, answer, event.audit)


def _terms(event: OverridePressed) -> dict[str, str]:
    """What the reason rests on and what follows from it; an older journal, whose audit row is written, has none."""
    given = {"retention": event.retention, "policy": event.policy, "telephone": event.telephone, "user": event.user}
    given |= {"by": event.by, "way": event.way}
    said = {name: value for name, value in given.items() if value is not None}
    if event.basis is None:
        return said
    return {"basis": event.basis, "tells_caller": "yes" if event.tells_caller else "no", **said}


def _refuse_override(draft: Draft, event: OverridePressed, **why: str) -> None:
    """Nothing outranks a do-not-record list, nor the want of a basis or a right; and that it was tried is kept."""
    draft.expected = False
    draft.facts.append(
        AuditEntry(
            id=event.audit,
            at=event.at,
            actor=event.agent,
            action="override refused",
            call=draft.state.call,
            recording=None,
            details={"reason": event.reason, "prior_state": draft.state.consent, **why, **_terms(event)},
        )
    )
    _answer(draft, event, KeyAnswer.REFUSED)


def caller_told(draft: Draft, event: CallerTold) -> None:
    """Told, as a fact of the call; or not, and then nothing of what was captured is kept."""
    capture = next((row for row in draft.state.captures if row.id == event.recording), None)
    prompt = capture.to_tell if capture is not None else None
    if capture is None or prompt is None:
        draft.expected = False
        return
    was_told = event.status == PLAYED and _was_heard(prompt, event.played_ms)
    played = {} if event.played_ms is None else {"played_ms": str(event.played_ms)}
    draft.facts.append(
        AuditEntry(
            id=event.audit,
            at=event.at,
            actor="recorder",
            action="override told" if was_told else "override not told",
            call=draft.state.call,
            recording=capture.id,
            details={
                "prompt": prompt.id,
                "language": prompt.language,
                "version": prompt.version,
                "sha256": prompt.sha256,
                "status": event.status or "no word",
                **played,
            },
        )
    )
    draft.know_capture(capture.id, to_tell=None, disowned=capture.disowned or not was_told)
    if not was_told:
        lose(draft, LostReason.PROMPT_FAILED)
        draft.raise_trigger(Trigger.DISOWNED, capture.id)
        draft.raise_trigger(Trigger.PARTED, capture.id)


def _was_heard(prompt: Prompt, played_ms: int | None) -> bool:
    """An announcement is one to its end. Asterisk calls it a success too where the file holds less than ours."""
    whole = timedelta(seconds=prompt.seconds) - CUT_AT_MOST
    least = max(timedelta(milliseconds=prompt.min_played_ms), whole)
    return played_ms is not None and timedelta(milliseconds=played_ms) >= least
