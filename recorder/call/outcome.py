"""How a call ended: chosen once, at the end, the first row that fits."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Final

from recorder.call.state import CallState
from recorder.call.tables import CaptureState
from recorder.model import ConsentMode, ConsentState, LostReason, Outcome

AUDIBLE: Final = timedelta(milliseconds=500)
"""A bridge shorter than this may leave no audio and still be right: Asterisk's first frame comes up to 60 ms after it
(decision 0041), and on a busy machine later."""
DECLINED_BY: Final = frozenset({ConsentState.REFUSED, ConsentState.WITHDRAWN, ConsentState.UNANSWERED})


def _declined(state: CallState) -> bool:
    permits_silence = state.mode is ConsentMode.OPT_OUT and state.consent is ConsentState.UNANSWERED
    return state.consent in DECLINED_BY and not permits_silence


def _excluded(state: CallState) -> bool:
    return (state.consent is ConsentState.PROHIBITED or state.excluded) and not state.recorded


def _too_brief(state: CallState) -> bool:
    """The one talk there was had no room for a word, and left no audio: nobody has been recorded, nor lost.

    To the end of the call, and not of the capture: the caller may have been given another agent since.
    """
    if state.lost is not None or len(state.captures) != 1:
        return False
    (capture,) = state.captures
    if capture.state is not CaptureState.EMPTY or capture.unproved or capture.authority is ConsentState.OVERRIDDEN:
        return False  # before an override they may have talked for long
    since = capture.bridged_at
    return since is not None and state.ended_at is not None and state.ended_at - since < AUDIBLE


OUTCOMES: Final[tuple[tuple[Outcome, Callable[[CallState], bool]], ...]] = (
    (Outcome.EXCLUDED, _excluded),
    (Outcome.ABANDONED, lambda state: not state.talked),
    (Outcome.RECORDED, lambda state: state.recorded),
    (Outcome.DECLINED, _declined),
    (Outcome.ABANDONED, _too_brief),
    (Outcome.LOST, lambda _: True),
)


def outcome(state: CallState) -> tuple[Outcome, LostReason | None]:
    """The one outcome of an ended call, with the reason exactly where it is lost."""
    verdict = next(name for name, fits in OUTCOMES if fits(state))
    if verdict is not Outcome.LOST:
        return verdict, None
    unexplained = LostReason.CAPTURE_FAILED if state.captures else LostReason.DIALOGUE_FAILED
    return verdict, state.lost or unexplained
