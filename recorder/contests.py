"""What agents say against a call of theirs or a listening to it, and who may answer (TA-04).

Pure. Must not look at what was said: the guard has, before it comes here. The invariants: a contest has one answer at
the most; nobody answers what they have said themselves, nor what is about a listening of their own; who cannot be told
to be uninvolved does not answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from recorder.model import CallId
from recorder.rights import Right
from recorder.signing_in import Asker

LONGEST_SAID: Final = 500
"""In characters, of a contest and of an answer."""
OPEN_MOST: Final = 20
"""Of one person's: so many may wait for an answer."""


class ContestAction(StrEnum):
    """What a row says."""

    CONTESTED = "contested"
    ANSWERED = "answered"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContestAct:
    """One thing said. All but `id`, `at`, `actor`, `token` and `said` is the same in a contest and in its answer."""

    id: UUID
    at: datetime
    actor: str
    token: str | None
    contest: UUID  # the id of the act that contested
    action: ContestAction
    node: str  # the call's
    call: CallId
    line: str
    agent: str  # who contested: so that the catalogue itself can refuse who answers what they have said
    listen: UUID | None  # what is contested, where it is not the whole call
    listener: str | None  # whose that was
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    at: datetime
    by: str
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """A contest as its acts have left it."""

    id: UUID
    at: datetime
    node: str
    call: CallId
    line: str
    agent: str
    listen: UUID | None
    listener: str | None
    said: str
    answer: Answer | None = None


def contests(acts: Iterable[ContestAct]) -> dict[UUID, Contest]:
    """Every contest there is, by its id, after these acts in their order. An answer to nothing says nothing."""
    found: dict[UUID, Contest] = {}
    for act in acts:
        known = found.get(act.contest)
        if act.action is ContestAction.CONTESTED:
            found.setdefault(act.contest, _begun(act))
        elif known is not None and known.answer is None:
            found[act.contest] = replace(known, answer=Answer(at=act.at, by=act.actor, said=act.said))
    return found


def _begun(act: ContestAct) -> Contest:
    return Contest(
        id=act.contest,
        at=act.at,
        node=act.node,
        call=act.call,
        line=act.line,
        agent=act.agent,
        listen=act.listen,
        listener=act.listener,
        said=act.said,
    )


def answering(contest: Contest, act: UUID, at: datetime, asker: Asker, said: str) -> ContestAct:
    """The act by which it is answered."""
    return ContestAct(
        id=act,
        at=at,
        actor=asker.user.name,
        token=asker.token.label if asker.token is not None else None,
        contest=contest.id,
        action=ContestAction.ANSWERED,
        node=contest.node,
        call=contest.call,
        line=contest.line,
        agent=contest.agent,
        listen=contest.listen,
        listener=contest.listener,
        said=said,
    )


class Unanswerable(StrEnum):
    """Why somebody does not answer a contest."""

    NOT_PERMITTED = "not_permitted"
    ANSWERED = "answered_already"
    INVOLVED = "not_by_you"  # they contested it, or it is about a listening of theirs


_REFUSALS: Final[tuple[tuple[Unanswerable, Callable[[Asker, Contest, datetime | None], bool]], ...]] = (
    (Unanswerable.NOT_PERMITTED, lambda asker, contest, _: not asker.may(Right.ANSWER_CONTEST, contest.line)),
    (Unanswerable.ANSWERED, lambda _, contest, __: contest.answer is not None),
    (Unanswerable.INVOLVED, lambda asker, contest, _: asker.user.name in (contest.agent, contest.listener)),
    (Unanswerable.INVOLVED, lambda _, contest, heard: contest.listen is None and _was_heard(contest, heard)),
)
"""The first that applies."""


def _was_heard(contest: Contest, heard: datetime | None) -> bool:
    """Whether it had been heard when the whole call was contested. Who listens later does so in order to answer."""
    return heard is not None and heard <= contest.at


def unanswerable(asker: Asker, contest: Contest, heard: datetime | None) -> Unanswerable | None:
    """Why they do not answer it; None where they may. `heard`: when they first opened a recording of its call."""
    return next((why for why, applies in _REFUSALS if applies(asker, contest, heard)), None)


def may_see(asker: Asker, contest: Contest) -> bool:
    """Who has contested, by a token that is for that, and whoever has the right to answer on its line."""
    is_own = asker.user.name == contest.agent and (asker.token is None or asker.may(Right.OWN_CALLS, contest.line))
    return is_own or asker.may(Right.ANSWER_CONTEST, contest.line)
