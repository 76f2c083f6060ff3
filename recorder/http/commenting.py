"""/api/v1/recordings/{recording}/comments: what people say at a moment of a recording that they have heard.

Must not decide who may: recorder.comments does. The invariants: no text is kept before the guard has looked at it; who
may not hear a recording, or has never opened it, is told nothing of what was said of it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, Self
from uuid import UUID, uuid4

import structlog
from fastapi import APIRouter, Depends
from pydantic import Field

from recorder.catalogue import Catalogue, CatalogueRefused, RecordingRow
from recorder.comments import LONGEST_COMMENT, Comment, CommentAct, CommentAction, Unread, comments, unread, withdrawing
from recorder.comments import may_withdraw as is_theirs_to_withdraw
from recorder.http.api import PREFIX, PROBLEMS, View
from recorder.http.contesting import guarded
from recorder.http.door import ASKED_WITHIN, Door
from recorder.http.problems import Code, NotDone
from recorder.http.rules import signed_in
from recorder.listening import may_know
from recorder.listens import Audible
from recorder.model import RecordingId
from recorder.signing_in import Asker

log = structlog.get_logger(__name__)

LAST_MS: Final = 10**9
"""A week and more, than which no recording is longer."""
REFUSED: Final[dict[Unread, Code]] = {
    Unread.NOT_PERMITTED: Code.NOT_PERMITTED,
    Unread.SEALED: Code.SEALED,
    Unread.NOT_SETTLED: Code.NOT_SETTLED,
    Unread.UNHEARD: Code.UNHEARD,
}


class CommentView(View):
    """What somebody has said at a moment of the recording. `said` is null where they have withdrawn it.

    `yours` is whether you have said it, and may withdraw it.
    """

    id: UUID
    at: datetime
    author: str
    moment_ms: int
    said: str | None
    withdrawn_at: datetime | None
    yours: bool

    @classmethod
    def of(cls, comment: Comment, asker: Asker) -> Self:
        return cls(
            id=comment.id,
            at=comment.at,
            author=comment.author,
            moment_ms=comment.moment_ms,
            said=comment.said,
            withdrawn_at=comment.withdrawn_at,
            yours=comment.author == asker.user.name,
        )


class CommentsView(View):
    """All of a recording, in the order of their moment."""

    comments: list[CommentView]


class RemarkView(View):
    """What you say, and at which moment of the recording, in milliseconds from its beginning."""

    text: Annotated[str, Field(min_length=1, max_length=LONGEST_COMMENT)]
    moment_ms: Annotated[int, Field(ge=0, le=LAST_MS)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """A recording of which they may read and write comments."""

    audible: Audible
    row: RecordingRow


def length_ms(row: RecordingRow) -> int:
    return (row.samples or 0) * 1000 // (row.rate or 8000)


async def readable(catalogue: Catalogue, asker: Asker, recording: UUID) -> Heard:
    """The recording, where what was said of it is for them; NotDone where it is not."""
    found = await catalogue.audible(RecordingId(recording), ASKED_WITHIN)
    if found is None or not may_know(asker, found[0].line):
        raise NotDone(Code.NOT_FOUND)
    audible, row = found
    has_opened = await catalogue.has_opened(asker.user.name, audible.recording, ASKED_WITHIN)
    why_not = unread(asker, audible, has_opened=has_opened)
    if why_not is not None:
        raise NotDone(REFUSED[why_not])
    return Heard(audible=audible, row=row)


async def comments_of(catalogue: Catalogue, asker: Asker, recording: UUID) -> list[CommentView]:
    """What was said of it; NotDone where it is not for them."""
    heard = await readable(catalogue, asker, recording)
    return [CommentView.of(one, asker) for one in await catalogue.comments(heard.audible.recording, ASKED_WITHIN)]


async def comment_on(
    catalogue: Catalogue, asker: Asker, recording: UUID, text: str, moment_ms: int | None, now: datetime
) -> Comment:
    """Say this in their name; NotDone where it is not for them, or cannot be said."""
    heard = await readable(catalogue, asker, recording)
    if moment_ms is None or not 0 <= moment_ms <= length_ms(heard.row):
        raise NotDone(Code.NO_MOMENT)
    act = commenting(heard.audible, uuid4(), now, asker, guarded(text, LONGEST_COMMENT), moment_ms)
    try:
        await catalogue.write_comment(act, ASKED_WITHIN)
    except CatalogueRefused:
        raise NotDone(Code.NO_MORE) from None
    log.info("commented", comment=str(act.id), recording=str(recording), line=act.line)
    return comments((act,))[0]


def commenting(audible: Audible, act: UUID, now: datetime, asker: Asker, said: str, moment_ms: int) -> CommentAct:
    """The act by which it is said."""
    return CommentAct(
        id=act,
        at=now,
        actor=asker.user.name,
        token=asker.token.label if asker.token is not None else None,
        comment=act,
        action=CommentAction.WRITTEN,
        recording=audible.recording,
        call=audible.call,
        line=audible.line,
        moment_ms=moment_ms,
        said=said,
    )


async def withdrawn(catalogue: Catalogue, asker: Asker, comment: UUID, now: datetime) -> Comment:
    """Withdraw it, once; NotDone where it is none of theirs, as if there were none."""
    found = await catalogue.comment(comment, ASKED_WITHIN)
    if found is None or not is_theirs_to_withdraw(asker, found):
        raise NotDone(Code.NOT_FOUND)
    if found.withdrawn_at is None:
        try:
            await catalogue.write_comment(withdrawing(found, uuid4(), now, asker), ASKED_WITHIN)
        except CatalogueRefused:  # they have withdrawn it elsewhere meanwhile: it is as they want it
            log.info("comment_withdrawn_already", comment=str(comment))
        log.info("comment_withdrawn", comment=str(comment), recording=str(found.recording), line=found.line)
    return await catalogue.comment(comment, ASKED_WITHIN) or found


def comment_routes(door: Door, catalogue: Catalogue, now: Callable[[], datetime]) -> APIRouter:
    routes = APIRouter(prefix=PREFIX, responses=PROBLEMS)
    somebody = Depends(signed_in(door))
    refusals: dict[int | str, dict[str, Any]] = {409: PROBLEMS[404], 423: PROBLEMS[404]}

    @routes.get(
        "/recordings/{recording}/comments",
        summary="What was said at moments of a recording that you have heard",
        responses=refusals,
    )
    async def comments_view(recording: UUID, asker: Asker = somebody) -> CommentsView:
        return CommentsView(comments=await comments_of(catalogue, asker, recording))

    @routes.post(
        "/recordings/{recording}/comments",
        summary="Say something at a moment of it",
        status_code=201,
        responses=refusals,
    )
    async def comment_it(remark: RemarkView, recording: UUID, asker: Asker = somebody) -> CommentView:
        said = await comment_on(catalogue, asker, recording, remark.text, remark.moment_ms, now())
        return CommentView.of(said, asker)

    @routes.post("/comments/{comment}/withdraw", summary="Withdraw what you have said: its text is shown no more")
    async def withdraw(comment: UUID, asker: Asker = somebody) -> CommentView:
        return CommentView.of(await withdrawn(catalogue, asker, comment, now()), asker)

    return routes
