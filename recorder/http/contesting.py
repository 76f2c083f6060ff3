"""/api/v1/contests: what agents say against their calls, for who said it and for who answers (TA-04).

Must not decide who may: recorder.contests does. The invariants: no text is kept before the guard has looked at it; a
contest that somebody may not see is not there for them.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Final, Self
from uuid import UUID, uuid4

import structlog
from fastapi import APIRouter, Depends, Query
from pydantic import Field

from recorder.catalogue import Catalogue, CatalogueRefused
from recorder.contests import LONGEST_SAID, Contest, Unanswerable, answering, may_see, unanswerable
from recorder.guard import Action, examine, redacted
from recorder.http.api import PREFIX, PROBLEMS, View
from recorder.http.door import ASKED_WITHIN, Door
from recorder.http.hearing import AT_MOST, before_of, cursor_of, lines_of
from recorder.http.problems import Code, NotDone
from recorder.http.rules import signed_in
from recorder.rights import Right
from recorder.signing_in import Asker

log = structlog.get_logger(__name__)

REFUSED: Final[dict[Unanswerable, Code]] = {
    Unanswerable.NOT_PERMITTED: Code.NOT_PERMITTED,
    Unanswerable.ANSWERED: Code.ANSWERED,
    Unanswerable.INVOLVED: Code.NOT_BY_YOU,
}
Said = Annotated[str, Field(min_length=1, max_length=LONGEST_SAID)]


class AnswerView(View):
    at: datetime
    by: str
    said: str


class ContestView(View):
    """What an agent has said against a call, or against one listening to it, and what was answered.

    `answerable` is whether you may answer it, now.
    """

    id: UUID
    at: datetime
    call: UUID
    line: str
    agent: str
    listen: UUID | None
    listener: str | None
    said: str
    answer: AnswerView | None
    answerable: bool

    @classmethod
    def of(cls, contest: Contest, *, answerable: bool = False) -> Self:
        given = contest.answer
        return cls(
            id=contest.id,
            at=contest.at,
            call=contest.call,
            line=contest.line,
            agent=contest.agent,
            listen=contest.listen,
            listener=contest.listener,
            said=contest.said,
            answer=None if given is None else AnswerView(at=given.at, by=given.by, said=given.said),
            answerable=answerable,
        )


class ContestsView(View):
    """The newest first; `next` asks for those before, as `?before=`."""

    contests: list[ContestView]
    next: str | None


class ReplyView(View):
    """What is answered."""

    text: Said


def guarded(text: str, longest: int = LONGEST_SAID) -> str:
    """What somebody typed, as it may be kept; NotDone where none of it may be, or nothing is left (SG-08)."""
    said = text.replace("\r\n", "\n").strip()  # as a form sends the ends of lines, and a browser does not count them
    if not 0 < len(said) <= longest:
        raise NotDone(Code.INVALID)
    verdict = examine({"text": said})
    if verdict.action is Action.REJECT:
        raise NotDone(Code.SENSITIVE)
    return redacted({"text": said}, verdict)["text"]


async def contests_of(catalogue: Catalogue, asker: Asker, before: str | None, limit: int) -> ContestsView:
    """A page of those that they may see: their own, and those on the lines on which they may answer."""
    found = await catalogue.contests(
        limit,
        agent=asker.user.name,
        lines=lines_of(asker, Right.ANSWER_CONTEST),
        before=before_of(before),
        within=ASKED_WITHIN,
    )
    heard = await catalogue.first_heard(asker.user.name, {contest.call for contest in found}, ASKED_WITHIN)
    shown = [
        ContestView.of(contest, answerable=unanswerable(asker, contest, heard.get(contest.call)) is None)
        for contest in found
        if may_see(asker, contest)
    ]
    last = found[-1] if len(found) == limit else None
    return ContestsView(contests=shown, next=None if last is None else cursor_of(last.at, last.id))


async def answer(catalogue: Catalogue, asker: Asker, contest: UUID, text: str, now: datetime) -> Contest:
    """Answer it in their name; NotDone where there is none for them, or it is not theirs to answer."""
    found = await catalogue.contest(contest, ASKED_WITHIN)
    if found is None or not may_see(asker, found):
        raise NotDone(Code.NOT_FOUND)
    heard = await catalogue.first_heard(asker.user.name, [found.call], ASKED_WITHIN)
    why_not = unanswerable(asker, found, heard.get(found.call))
    if why_not is not None:
        raise NotDone(REFUSED[why_not])
    act = answering(found, uuid4(), now, asker, guarded(text))
    try:
        await catalogue.write_contest(act, ASKED_WITHIN)
    except CatalogueRefused:  # somebody else has answered it meanwhile
        raise NotDone(Code.ANSWERED) from None
    log.info("contest_answered", contest=str(contest), call=str(found.call), line=found.line)
    return await catalogue.contest(contest, ASKED_WITHIN) or found


def contest_routes(door: Door, catalogue: Catalogue, now: Callable[[], datetime]) -> APIRouter:
    routes = APIRouter(prefix=f"{PREFIX}/contests", responses=PROBLEMS)
    somebody = Depends(signed_in(door))

    @routes.get("", summary="What you have contested, and what was on the lines on which you may answer")
    async def contests(
        before: Annotated[str | None, Query(max_length=100, description="`next` of the page before.")] = None,
        limit: Annotated[int, Query(ge=1, le=AT_MOST)] = 50,
        asker: Asker = somebody,
    ) -> ContestsView:
        return await contests_of(catalogue, asker, before, limit)

    @routes.post("/{contest}/answer", summary="Answer it, once", responses={409: PROBLEMS[404]})
    async def answer_it(reply: ReplyView, contest: UUID, asker: Asker = somebody) -> ContestView:
        return ContestView.of(await answer(catalogue, asker, contest, reply.text, now()))

    return routes
