"""A call in progress as it is shown, who may see it, and who may do what to it.

Pure, but for the Protocol that the daemon keeps. Must not touch a call. The invariants: no number and no name of the
caller's is part of what is shown; whose call it is not, and who has no right on its line, does not learn of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from recorder.call import CallState, CaptureState, KeyAnswer, Phase, capture_in_hand
from recorder.model import CallId, ConsentState, Direction, KeyAct, OverrideReason
from recorder.policy import OverrideTerms
from recorder.rights import ANYBODY, Right, Seat, User, permits, sits_at
from recorder.signing_in import Asker


class Heard(StrEnum):
    """Whether the talk is being captured now."""

    NOT = "not_captured"
    READY = "ready"  # armed: captured as soon as caller and agent stand together
    CAPTURED = "captured"
    HELD = "on_hold"  # exact silence is written
    PAUSED = "paused"  # so it is here, by somebody's asking
    PAUSING = "pausing"  # asked for, and speech is written until Asterisk says otherwise
    ENDING = "ending"


_HEARD = {
    CaptureState.ARMING: Heard.READY,
    CaptureState.ARMED: Heard.READY,
    CaptureState.RUNNING: Heard.CAPTURED,
}
_SILENT = {CaptureState.QUIET: (Heard.HELD, Heard.CAPTURED), CaptureState.PAUSED: (Heard.PAUSED, Heard.PAUSING)}
"""Once Asterisk has said that it is, and before (PR-04)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveCall:
    """`telephones` are the agents' own interfaces that stand in the call now, `member` is the queue's who took it.

    `paused_at` is since when somebody wants silence, whether or not anything is captured that it could silence.
    `overridable` are the reasons for which an override would begin a capture now, whoever asks for it.
    """

    call: CallId
    node: str
    line: str
    direction: Direction
    phase: Phase
    consent: ConsentState
    heard: Heard
    began_at: datetime
    paused_at: datetime | None = None
    paused_long: bool = False  # longer than its line has it: was it forgotten?
    telephones: frozenset[str] = frozenset()
    member: str | None = None
    overridable: frozenset[OverrideReason] = frozenset()


def heard(state: CallState) -> Heard:
    """What becomes of what is said in the call at this moment."""
    hand = capture_in_hand(state)
    if hand is None:
        return Heard.NOT
    if hand.state in _SILENT:
        silent, before = _SILENT[hand.state]
        return silent if hand.silent else before
    return _HEARD.get(hand.state, Heard.ENDING)


def seats_of(calls: Iterable[LiveCall]) -> frozenset[Seat]:
    """Every seat by which one of these calls could be somebody's."""
    return frozenset(seat for call in calls for seat in (*_telephones(call), *_member(call)))


def is_theirs(asker: Asker, call: LiveCall, people: Collection[User]) -> bool:
    """Whether they stand in it, at their own telephone; `people` are those who ever had one of its seats."""
    member = next(iter(_member(call)), None)
    return any(sits_at(people, asker.user.name, telephone, member) for telephone in _telephones(call))


def may_see(asker: Asker, call: LiveCall, people: Collection[User]) -> bool:
    """Whoever has the right on its line; and whether their own talk is captured everybody may know."""
    has_right = asker.may(Right.WATCH, call.line) or asker.may(Right.CONTROL, call.line)
    if has_right or _is_own(asker, call, people) or _is_here(asker, call, people):
        return True
    return asker.may(Right.OVERRIDE, call.line) and is_theirs(asker, call, people)


def may_press(asker: Asker, act: KeyAct, call: LiveCall, people: Collection[User]) -> bool:
    """A program that sees to payments pauses and resumes; the rest is the agent's. To stop needs no right (WD-01)."""
    by_program = act in (KeyAct.PAUSE, KeyAct.RESUME) and asker.may(Right.CONTROL, call.line)
    stops = act is KeyAct.STOP and _is_here(asker, call, people)
    return by_program or stops or _is_own(asker, call, people)


def may_override(asker: Asker, call: LiveCall, people: Collection[User]) -> bool:
    """At their own telephone alone, as by its key: also where whoever is at a telephone may, if it is they (OV-01)."""
    anybody = any(user.name == ANYBODY and permits(user, Right.OVERRIDE, call.line) for user in people)
    has_right = asker.may(Right.OVERRIDE, call.line) or (anybody and asker.is_in_person)
    return has_right and is_theirs(asker, call, people)


def own_telephone(asker: Asker, call: LiveCall, people: Collection[User]) -> str | None:
    """The telephone at which they stand in the call; None where they do not."""
    member = next(iter(_member(call)), None)
    theirs = (seat.interface for seat in _telephones(call) if sits_at(people, asker.user.name, seat, member))
    return next(iter(sorted(theirs)), None)


def _is_here(asker: Asker, call: LiveCall, people: Collection[User]) -> bool:
    return asker.is_in_person and is_theirs(asker, call, people)


def _is_own(asker: Asker, call: LiveCall, people: Collection[User]) -> bool:
    return asker.may(Right.CONTROL_OWN, call.line) and is_theirs(asker, call, people)


def _telephones(call: LiveCall) -> Iterator[Seat]:
    return (Seat(node=call.node, interface=interface) for interface in call.telephones)


def _member(call: LiveCall) -> tuple[Seat, ...]:
    """The queue's member, where it is a Local channel: else it is the telephone, or another's."""
    is_local = call.member is not None and call.member.startswith("Local/")
    return (Seat(node=call.node, interface=call.member),) if is_local and call.member is not None else ()


class NotDone(StrEnum):
    """Why what was asked of a call has not been done."""

    OVER = "call_is_over"
    NOBODY = "no_agent_in_the_call"
    UNCONFIRMED = "not_confirmed_in_time"  # it was asked of the PBX, and what became of it nobody can tell


@dataclass(frozen=True, slots=True, kw_only=True)
class Hand:
    """Who asks for an override in place of a key: `user` at their own telephone, `name` as audits have them.

    `may` is whether what they came with permits it; that it is still so is asked again before anything is captured.
    """

    user: str
    name: str
    may: bool
    by_program: bool


class Live(Protocol):
    """The calls in progress of one node."""

    @property
    def node(self) -> str: ...

    def calls(self) -> Sequence[LiveCall]:
        """The oldest first."""
        ...

    def find(self, call: CallId) -> LiveCall | None: ...

    async def press(self, call: CallId, act: KeyAct, by: str, telephone: str | None) -> KeyAnswer | NotDone:
        """Do to the call what its agent's key would do, in the name of `by`; answered once Asterisk has confirmed it.

        `telephone` is the agent's whose key it stands for; None: whoever of them stands there.
        """
        ...

    async def override(self, call: CallId, reason: OverrideReason, hand: Hand, telephone: str) -> KeyAnswer | NotDone:
        """Capture the call without consent, as the key of that telephone would; answered once it is captured.

        That it was tried is kept also where it is refused.
        """
        ...

    def terms(self, call: CallId, reason: OverrideReason) -> OverrideTerms | None:
        """On what this reason rests on the call's line, and what follows from it; None where neither is there."""
        ...
