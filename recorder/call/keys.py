"""The keys that need no new permission: pause, resume, stop, personal. What each asks for, and who may ask it.

Must not turn a table. The invariant: a key never begins a capture, and takes nothing from a capture by override but
silence and, from the agent, its end: what a duty had captured is for a second person to judge.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from recorder.call.draft import Draft, end_capture, owe, record_consent
from recorder.call.events import KeyPressed
from recorder.call.state import CallState, Capture, KeyAnswer, Pause, capture_in_hand, is_agent
from recorder.call.tables import CaptureState, Trigger
from recorder.model import AuditEntry, ConsentState, KeyAct, PartyKind, Uniqueid
from recorder.policy import OBJECTIONS, PERMITTED_BY_MODE

KEYS_OF: Final[dict[PartyKind, frozenset[KeyAct]]] = {
    PartyKind.CALLER: frozenset({KeyAct.STOP}),
    PartyKind.AGENT: frozenset(KeyAct),
    PartyKind.OTHER: frozenset(),
}
BY_CONSENT: Final = frozenset({ConsentState.GIVEN, ConsentState.NOTICED, ConsentState.UNANSWERED})
"""What was captured on these rests on the caller's will alone, and falls with it (WD-02)."""


def key_pressed(draft: Draft, event: KeyPressed) -> None:
    presser = who(draft.state, event)
    if event.act not in KEYS_OF[presser]:
        draft.expected = False
        _answer(draft, event, KeyAnswer.REFUSED)
        return
    _ACTS[event.act](draft, event, presser)


def who(state: CallState, event: KeyPressed) -> PartyKind:
    """Whose key it was; OTHER may press what they like."""
    return party_of(state, event.presser.uniqueid)


def party_of(state: CallState, leg: Uniqueid) -> PartyKind:
    """Whose leg it is."""
    handed_over = state.relay is not None and state.relay.far == leg  # who presses there is the caller, two legs away
    if handed_over or (state.caller is not None and state.caller.uniqueid == leg):
        return PartyKind.CALLER
    return PartyKind.AGENT if is_agent(state, leg) else PartyKind.OTHER


def actor(state: CallState, event: KeyPressed) -> str:
    """Who asked, else the agent as the books name them: the queue's member, or the telephone."""
    return event.by or state.interface or event.presser.name.rpartition("-")[0] or event.presser.name


def _pause(draft: Draft, event: KeyPressed, _presser: PartyKind) -> None:
    paused = draft.state.paused
    if paused is None:
        draft.know(paused=Pause(at=event.at, actor=actor(draft.state, event)))
        draft.raise_trigger(Trigger.PAUSED)
    elif event.at < paused.at:  # heard late: the queue log knows when it was pressed
        draft.know(paused=replace(paused, at=event.at))
        for capture in draft.state.captures:
            if capture.silences and capture.silences[-1].ended_at is None and capture.state is CaptureState.PAUSED:
                *others, last = capture.silences
                began = min(last.began_at, event.at - draft.state.preroll)
                draft.know_capture(capture.id, silences=(*others, replace(last, began_at=began)))
    _answer(draft, event, KeyAnswer.PAUSED)


def _resume(draft: Draft, event: KeyPressed, _presser: PartyKind) -> None:
    if draft.state.paused is not None:
        draft.know(paused=None)
        draft.raise_trigger(Trigger.RESUMED)
    _answer(draft, event, KeyAnswer.RESUMED)


def _stop(draft: Draft, event: KeyPressed, presser: PartyKind) -> None:
    state = draft.state
    if presser is PartyKind.CALLER and _overridden(state):
        _audit(draft, event, "objection", "caller", state.consent)  # kept, though the override outranks it
        draft.know(objected=True)
        _answer(draft, event, KeyAnswer.REFUSED)
        return
    by = None if presser is PartyKind.CALLER else actor(state, event)
    if state.consent not in OBJECTIONS | {ConsentState.PROHIBITED}:
        agreed = state.consent in PERMITTED_BY_MODE[state.mode] | {ConsentState.OVERRIDDEN}
        after = ConsentState.WITHDRAWN if agreed else ConsentState.REFUSED
        _record(draft, event, after, by)
    elif not state.objected and not state.personal:  # nothing is captured here, and nothing may be on another line
        _audit(draft, event, "objection", by or "caller", state.consent)
        draft.know(objected=True)
    disowned = state.withdrawal_erases and _disown(draft, lambda capture: capture.authority in BY_CONSENT)
    end_capture(draft)
    _answer(draft, event, KeyAnswer.ERASED if disowned else KeyAnswer.STOPPED)


def _personal(draft: Draft, event: KeyPressed, _presser: PartyKind) -> None:
    state = draft.state
    if _overridden(state):
        draft.expected = False  # an agent's choice ranks below a duty
        _answer(draft, event, KeyAnswer.REFUSED)
        return
    if not state.personal:
        _record(draft, event, ConsentState.PROHIBITED, actor(state, event))
        draft.know(personal=True)
        _disown(draft, lambda capture: capture.authority is not ConsentState.OVERRIDDEN)
        _audit(draft, event, "personal", actor(state, event), state.consent, seconds=_captured_seconds(draft))
        end_capture(draft)
    _answer(draft, event, KeyAnswer.PERSONAL)


_ACTS: Final[dict[KeyAct, Callable[[Draft, KeyPressed, PartyKind], None]]] = {
    KeyAct.PAUSE: _pause,
    KeyAct.RESUME: _resume,
    KeyAct.STOP: _stop,
    KeyAct.PERSONAL: _personal,
}


def _overridden(state: CallState) -> bool:
    """Whether what is being captured now is captured by override."""
    hand = capture_in_hand(state)
    return hand is not None and hand.authority is ConsentState.OVERRIDDEN


def _disown(draft: Draft, reached: Callable[[Capture], bool]) -> bool:
    """What was captured and is reached may not be kept; whether there is any."""
    captures = [capture for capture in draft.state.captures if reached(capture)]
    for capture in captures:
        draft.know_capture(capture.id, disowned=True)
        draft.raise_trigger(Trigger.DISOWNED, capture.id)
    return bool(captures)


def _record(draft: Draft, event: KeyPressed, after: ConsentState, by: str | None) -> None:
    channel = draft.state.caller or event.presser
    record_consent(draft, event.consent, after, channel.uniqueid, event=event, actor=by)


def _audit(draft: Draft, event: KeyPressed, action: str, by: str, prior: ConsentState, **details: str) -> None:
    draft.facts.append(
        AuditEntry(
            id=event.audit,
            at=event.at,
            actor=by,
            action=action,
            call=draft.state.call,
            recording=None,
            details={"prior_state": prior, **details},
        )
    )


def _captured_seconds(draft: Draft) -> str:
    """The stub for abuse review (SC-03): how long was captured before the call was called personal."""
    now = draft.event.at
    spans = [
        ((capture.bridged_until or now) - capture.bridged_at).total_seconds()
        for capture in draft.state.captures
        if capture.bridged_at is not None
    ]
    return f"{sum(spans):.1f}"


def _answer(draft: Draft, event: KeyPressed, answer: KeyAnswer) -> None:
    if event.heard:
        owe(draft, event.presser, answer, event.audit if event.by is not None else None)
