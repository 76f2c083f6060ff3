"""Who may hear a recording, for what, and what they have to say first; and the acts that the listening log is made of.

Pure. Must not open audio, nor keep an act. The invariants: nobody hears what is sealed, erased or not settled; nobody
hears for a purpose that the recording was not announced for; what is not known of a recording forbids it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from recorder.chain import Body, canonical, moment
from recorder.model import CallId, RecordingId
from recorder.rights import EVERY_LINE, Right, Role
from recorder.signing_in import Asker

UNKNOWN: Final = "unknown"
"""In a row, for a purpose that the recording has not: what was typed is not kept."""
_MARK: Final = re.compile(r"\[[^\]]*\]")
LONGEST_EXPLANATION: Final = 500
"""In characters."""


class Medium(StrEnum):
    """How somebody hears or takes it away."""

    STREAM = "stream"
    DOWNLOAD = "download"


class ListenKind(StrEnum):
    """What a row of the listening log says."""

    OPENED = "opened"  # before the first byte
    REFUSED = "refused"
    SENT = "sent"  # so much of it went out
    PLAYED = "played"  # so much of it was heard, as the player says
    CLOSED = "closed"
    LOG_VIEWED = "log_viewed"  # somebody looked at what others have heard (LL-07)


class Explaining(StrEnum):
    """Whether whoever listens says why."""

    OFF = "off"
    OPTIONAL = "optional"
    REQUIRED = "required"


STRICTNESS: Final = (Explaining.OFF, Explaining.OPTIONAL, Explaining.REQUIRED)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplanationRule:
    """What holds for a role, a line and a purpose; None stands for each of them. `shortest` is in characters."""

    explaining: Explaining
    shortest: int = 1
    role: Role | None = None
    line: str | None = None
    purpose: str | None = None

    def holds(self, roles: Collection[Role], line: str, purpose: str) -> bool:
        is_role = self.role is None or self.role in roles
        return is_role and self.line in (None, line) and self.purpose in (None, purpose)

    @property
    def rank(self) -> tuple[int, int, int]:
        """The more it names the more it counts; among equals the stricter does (LL-03)."""
        named = sum(each is not None for each in (self.role, self.line, self.purpose))
        return named, STRICTNESS.index(self.explaining), self.shortest


PRIVATE: Final = ExplanationRule(explaining=Explaining.REQUIRED, shortest=10)
"""Where nobody has settled anything (GV-03)."""


def explanation_rule(
    rules: Iterable[ExplanationRule], roles: Collection[Role], line: str, purpose: str
) -> ExplanationRule:
    """The one rule that counts."""
    holding = [rule for rule in rules if rule.holds(roles, line, purpose)]
    return max(holding, key=lambda rule: rule.rank, default=PRIVATE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Audible:
    """What is known of a recording that somebody would hear. `purposes` are those it was announced for (PU-01)."""

    recording: RecordingId
    call: CallId
    node: str
    line: str
    settled: bool
    sealed: bool
    purposes: frozenset[str]
    agents: tuple[str, ...] = ()
    policy: str = ""


class Unheard(StrEnum):
    """Why somebody does not hear it."""

    NOT_PERMITTED = "not_permitted"
    SEALED = "sealed"  # until a second person has decided on its override
    NOT_SETTLED = "not_settled"
    ANOTHER_PURPOSE = "another_purpose"
    UNEXPLAINED = "unexplained"
    TOO_LONG = "explanation_too_long"
    SENSITIVE = "sensitive"  # what was typed holds what may not be kept (LL-08)


RIGHT_FOR: Final = {Medium.STREAM: Right.LISTEN, Medium.DOWNLOAD: Right.DOWNLOAD}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """Somebody wants to hear a recording, for this purpose, in this way, and says why."""

    asker: Asker
    medium: Medium
    purpose: str
    explanation: str
    rule: ExplanationRule
    is_sensitive: bool = False  # the guard refuses the explanation

    @property
    def is_explained(self) -> bool:
        said = len(_MARK.sub("", self.explanation).strip())  # what the guard took out is no word of theirs
        return self.rule.explaining is not Explaining.REQUIRED or said >= max(1, self.rule.shortest)


_REFUSALS: Final[tuple[tuple[Unheard, Callable[[Wish, Audible], bool]], ...]] = (
    (Unheard.NOT_PERMITTED, lambda wish, audible: not wish.asker.may(RIGHT_FOR[wish.medium], audible.line)),
    (Unheard.SEALED, lambda _, audible: audible.sealed),
    (Unheard.NOT_SETTLED, lambda _, audible: not audible.settled),
    (Unheard.ANOTHER_PURPOSE, lambda wish, audible: wish.purpose not in audible.purposes),
    (Unheard.TOO_LONG, lambda wish, _: len(wish.explanation) > LONGEST_EXPLANATION),
    (Unheard.SENSITIVE, lambda wish, _: wish.is_sensitive),
    (Unheard.UNEXPLAINED, lambda wish, _: not wish.is_explained),
)
"""The first that applies."""


def unheard(wish: Wish, audible: Audible) -> Unheard | None:
    """Why this is not heard; None where it may be."""
    return next((why for why, applies in _REFUSALS if applies(wish, audible)), None)


class Conspicuous(StrEnum):
    """Why somebody else should look at a listening that was allowed (AC-07)."""

    BEYOND = "over_the_hours_limit"
    OWN_CALL = "own_call"


def conspicuous(*, opened: int, above: int, own: bool) -> tuple[Conspicuous, ...]:
    """What stands out of an opening. `opened`: recordings of theirs within the hour, with this; `own`: they had it."""
    found = ((Conspicuous.BEYOND, opened > above), (Conspicuous.OWN_CALL, own))
    return tuple(why for why, is_so in found if is_so)


def roles_on(asker: Asker, line: str) -> frozenset[Role]:
    """What somebody is on a line."""
    return frozenset(grant.role for grant in asker.user.grants if grant.line in (line, EVERY_LINE))


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenAct:
    """A row of the listening log. `began_ms` and `ended_ms` are of the recording, with `sent` and `played` alone.

    Only `log_viewed` is of no recording.
    """

    id: UUID
    listen: UUID  # the same for all of one opening
    at: datetime
    kind: ListenKind
    listener: str
    node: str
    recording: RecordingId | None = None
    call: CallId | None = None
    line: str | None = None
    roles: tuple[str, ...] = ()
    token: str | None = None
    agents: tuple[str, ...] = ()
    medium: Medium | None = None
    purpose: str | None = None
    explanation: str | None = None
    address: str | None = None
    policy: str | None = None
    why: Unheard | None = None
    began_ms: int | None = None
    ended_ms: int | None = None


def body_of(act: ListenAct) -> Body:
    """What is chained of a row: all of it, in what chained bodies hold."""
    return {
        "kind": "listen",
        **{name: _plain(getattr(act, name)) for name in sorted(field.name for field in fields(act)) if name != "kind"},
        "said": str(act.kind),
    }


def _plain(value: object) -> str | int | None:
    if isinstance(value, datetime):
        return moment(value)
    if isinstance(value, tuple):
        return canonical(list(value))
    return value if value is None or isinstance(value, int) else str(value)


def merged(spans: Iterable[tuple[int, int]], apart: int = 50) -> tuple[tuple[int, int], ...]:
    """The spans as they cover the recording, in order; those at most `apart` milliseconds apart are one (LL-11)."""
    found: list[tuple[int, int]] = []
    for began, ended in sorted(spans):
        if found and began - found[-1][1] <= apart:
            found[-1] = (found[-1][0], max(found[-1][1], ended))
        else:
            found.append((began, ended))
    return tuple(found)


def covering(spans: Iterable[tuple[int, int]], most: int) -> tuple[tuple[int, int], ...]:
    """The same in so many spans at the most: what lies apart is joined, the nearest first, and none is dropped."""
    apart = 50
    found = merged(spans, apart)
    while len(found) > most:
        apart *= 2
        found = merged(found, apart)
    return found
