"""How a call ended: chosen once, at the end, the first row that fits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from recorder.call.state import CallState
from recorder.model import ConsentMode, ConsentState, LostReason, Outcome

DECLINED_BY: Final = frozenset({ConsentState.REFUSED, ConsentState.WITHDRAWN, ConsentState.UNANSWERED})


def _declined(state: CallState) -> bool:
    permits_silence = state.mode is ConsentMode.OPT_OUT and state.consent is ConsentState.UNANSWERED
    return state.consent in DECLINED_BY and not permits_silence


def _excluded(state: CallState) -> bool:
    return (state.consent is ConsentState.PROHIBITED or state.excluded) and not state.recorded


OUTCOMES: Final[tuple[tuple[Outcome, Callable[[CallState], bool]], ...]] = (
    (Outcome.EXCLUDED, _excluded),
    (Outcome.ABANDONED, lambda state: not state.talked),
    (Outcome.RECORDED, lambda state: state.recorded),
    (Outcome.DECLINED, _declined),
    (Outcome.LOST, lambda _: True),
)


def outcome(state: CallState) -> tuple[Outcome, LostReason | None]:
    """The one outcome of an ended call, with the reason exactly where it is lost."""
    verdict = next(name for name, fits in OUTCOMES if fits(state))
    if verdict is not Outcome.LOST:
        return verdict, None
    unexplained = LostReason.CAPTURE_FAILED if state.captures else LostReason.DIALOGUE_FAILED
    return verdict, state.lost or unexplained
