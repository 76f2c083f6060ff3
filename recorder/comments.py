"""What people say at a moment of a recording that they have heard, and who may read it.

Pure. Must not look at what was said: the guard has, before it comes here. The invariants: nobody reads or writes of
what they may not hear, or have never opened; only its author withdraws a comment, and what is withdrawn has no text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from recorder.listens import Audible
from recorder.model import CallId, RecordingId
from recorder.rights import Right
from recorder.signing_in import Asker

LONGEST_COMMENT: Final = 500
"""In characters."""
EACH_MOST: Final = 50
"""Of one recording, by one person; what they have withdrawn counts too, since its row stays."""
MOST: Final = 300
"""Of one recording, by everybody."""


class CommentAction(StrEnum):
    """What a row says."""

    WRITTEN = "written"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True, kw_only=True)
class CommentAct:
    """One row. `moment_ms`, from the recording's first sample, and `said` are of what is written alone."""

    id: UUID
    at: datetime
    actor: str
    token: str | None
    comment: UUID  # the id of the act that wrote it
    action: CommentAction
    recording: RecordingId
    call: CallId
    line: str
    moment_ms: int | None = None
    said: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comment:
    """A comment as its acts have left it. `said` is None once it is withdrawn."""

    id: UUID
    at: datetime
    author: str
    recording: RecordingId
    call: CallId
    line: str
    moment_ms: int
    said: str | None
    withdrawn_at: datetime | None = None


def comments(acts: Iterable[CommentAct]) -> tuple[Comment, ...]:
    """Every comment that these acts leave, in the order of its moment. A withdrawal of nothing says nothing."""
    found: dict[UUID, Comment] = {}
    for act in acts:
        known = found.get(act.comment)
        if known is None and act.moment_ms is not None:
            found[act.comment] = _written(act, act.moment_ms)
        elif known is not None and act.action is CommentAction.WITHDRAWN and act.actor == known.author:
            found[act.comment] = replace(known, said=None, withdrawn_at=act.at)
    return tuple(sorted(found.values(), key=lambda one: (one.moment_ms, one.at, one.id)))


def _written(act: CommentAct, moment_ms: int) -> Comment:
    return Comment(
        id=act.comment,
        at=act.at,
        author=act.actor,
        recording=act.recording,
        call=act.call,
        line=act.line,
        moment_ms=moment_ms,
        said=act.said,
    )


def withdrawing(comment: Comment, act: UUID, at: datetime, asker: Asker) -> CommentAct:
    """The act by which it is withdrawn."""
    return CommentAct(
        id=act,
        at=at,
        actor=asker.user.name,
        token=asker.token.label if asker.token is not None else None,
        comment=comment.id,
        action=CommentAction.WITHDRAWN,
        recording=comment.recording,
        call=comment.call,
        line=comment.line,
    )


class Unread(StrEnum):
    """Why somebody neither reads nor writes comments on a recording."""

    NOT_PERMITTED = "not_permitted"
    SEALED = "sealed"
    NOT_SETTLED = "not_settled"
    UNHEARD = "unheard"  # they have never opened it


_REFUSALS: Final[tuple[tuple[Unread, Callable[[Asker, Audible, bool], bool]], ...]] = (
    (Unread.NOT_PERMITTED, lambda asker, audible, _: not asker.may(Right.LISTEN, audible.line)),
    (Unread.SEALED, lambda _, audible, __: audible.sealed),
    (Unread.NOT_SETTLED, lambda _, audible, __: not audible.settled),
    (Unread.UNHEARD, lambda _, __, has_opened: not has_opened),
)
"""The first that applies."""


def unread(asker: Asker, audible: Audible, *, has_opened: bool) -> Unread | None:
    """Why they do not; None where they may. `has_opened`: a listening of theirs to this recording, at any time."""
    return next((why for why, applies in _REFUSALS if applies(asker, audible, has_opened)), None)


def may_withdraw(asker: Asker, comment: Comment) -> bool:
    """Their own, also where nobody hears the recording any more."""
    return asker.user.name == comment.author and asker.may(Right.LISTEN, comment.line)
