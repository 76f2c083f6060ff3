"""/api/v1/own: the calls that somebody has had, whether they were recorded and why, who has heard them, and against it.

Must not decide whose a call was: recorder.own_calls does. The invariants: a call that is not theirs is not there for
them; no audio, no other agent and nothing that a listener typed is part of an answer (TA-01, TA-04).
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, Self
from uuid import UUID, uuid4

import structlog
from fastapi import APIRouter, Depends, Query

from recorder.catalogue import CallRow, Candidates, Catalogue, CatalogueRefused, OwnSought, ToldCall, ToldRecording
from recorder.contests import Contest, ContestAct, ContestAction, contests
from recorder.http.api import PREFIX, PROBLEMS, View
from recorder.http.contesting import ContestView, Said, guarded
from recorder.http.door import ASKED_WITHIN, Door
from recorder.http.finding import CallView
from recorder.http.hearing import AT_MOST, aware, before_of, cursor_of, lines_of
from recorder.http.problems import Code, NotDone
from recorder.http.rules import signed_in
from recorder.listens import Medium, Unheard
from recorder.model import CallId, RecordingStatus
from recorder.own_calls import Hearing, hearings, is_theirs
from recorder.rights import Right
from recorder.signing_in import Asker

log = structlog.get_logger(__name__)

BEFORE_ANY: Final = UUID(int=0)
"""In place of a call's id: the page goes on with every call of that moment."""
LOOKS_BACK: Final = timedelta(days=31)
"""So far, where nobody says since when: whose a call was is told of each by itself."""


class OwnCallView(CallView):
    """A call that you have had. `heard` is how often one of its recordings was opened."""

    heard: int


class OwnCallsView(View):
    """The newest first; `next` asks for those before, as `?before=`. A page may hold fewer than were asked for."""

    calls: list[OwnCallView]
    next: str | None


class HearingView(View):
    """Who listened, or was refused, when and for what; `sent` and `played` are the parts in milliseconds."""

    listen: UUID
    at: datetime
    listener: str
    roles: list[str]
    medium: Medium | None
    purpose: str | None
    refused: Unheard | None
    sent: list[tuple[int, int]]
    played: list[tuple[int, int]]

    @classmethod
    def of(cls, hearing: Hearing) -> Self:
        return cls(**{name: getattr(hearing, name) for name in cls.model_fields})


class OwnRecordingView(View):
    """A recording of the call; there is no way from here to its sound."""

    id: UUID
    status: RecordingStatus
    sealed: bool
    seconds: float | None
    purposes: list[str]
    heard: list[HearingView]

    @classmethod
    def of(cls, told: ToldRecording, heard: tuple[Hearing, ...]) -> Self:
        row = told.row
        return cls(
            id=row.id,
            status=row.status,
            sealed=row.sealed,
            seconds=None if row.samples is None or not row.rate else row.samples / row.rate,
            purposes=list(told.purposes),
            heard=[HearingView.of(one) for one in heard if one.recording == row.id],
        )


class OwnOneCallView(CallView):
    """`contests` are what you have said against it, the newest first."""

    recordings: list[OwnRecordingView]
    contests: list[ContestView]

    @classmethod
    def from_told(cls, told: ToldCall, contests: Iterable[Contest]) -> Self:
        heard = hearings(told.listens)
        return cls(
            **CallView.of(told.call).model_dump(),
            recordings=[OwnRecordingView.of(one, heard) for one in told.recordings],
            contests=[ContestView.of(contest) for contest in contests],
        )


class ObjectionView(View):
    """What you say against the call, or against one listening to it."""

    text: Said
    listen: UUID | None = None


async def own_call(catalogue: Catalogue, asker: Asker, call: UUID, now: datetime) -> ToldCall:
    """The call, where it was theirs on a line on which they may see theirs; NotDone where there is none for them."""
    whose = await catalogue.whose_call(CallId(call), ASKED_WITHIN)
    if whose is None or not asker.may(Right.OWN_CALLS, whose.call.line):
        raise NotDone(Code.NOT_FOUND)
    if not is_theirs(asker.user.name, whose.legs, whose.acts, whose.call.ended_at or now):
        raise NotDone(Code.NOT_FOUND)
    told = await catalogue.told_call(CallId(call), ASKED_WITHIN)
    if told is None:
        raise NotDone(Code.NOT_FOUND)
    seen = tuple(one for one in told.recordings if asker.may(Right.OWN_CALLS, one.row.line))
    ids = {one.row.id for one in seen}
    return replace(told, recordings=seen, listens=tuple(act for act in told.listens if act.recording in ids))


async def own_calls(
    catalogue: Catalogue,
    asker: Asker,
    now: datetime,
    limit: int,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    before: str | None = None,
) -> OwnCallsView:
    """A page of the calls that were theirs; NotDone where they may see them on no line."""
    lines = lines_of(asker, Right.OWN_CALLS)
    if lines is not None and not lines:
        raise NotDone(Code.NO_RIGHT)
    since, until = aware(since), aware(until)
    sought = OwnSought(
        user=asker.user.name,
        lines=lines,
        since=_looked_back(until or now) if since is None else since,
        until=until,
        before=before_of(before),
    )
    found = await catalogue.own_calls(sought, limit, ASKED_WITHIN)
    theirs = _theirs(asker.user.name, found, now)
    last = found.calls[-1].call if len(found.calls) == limit else None
    return OwnCallsView(calls=theirs, next=None if last is None else _place(last, theirs))


def _place(last: CallRow, theirs: Iterable[OwnCallView]) -> str:
    """What the next page goes on behind. Which call that is they are told of their own alone."""
    is_theirs = any(shown.id == last.id for shown in theirs)
    return cursor_of(last.started_at, last.id if is_theirs else BEFORE_ANY)


def _looked_back(until: datetime) -> datetime:
    try:
        return until - LOOKS_BACK
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC)


async def told_of(catalogue: Catalogue, asker: Asker, told: ToldCall) -> OwnOneCallView:
    """What they see of a call of theirs."""
    said = await catalogue.contests(AT_MOST, agent=asker.user.name, call=told.call.id, within=ASKED_WITHIN)
    return OwnOneCallView.from_told(told, said)


async def contested(
    catalogue: Catalogue, asker: Asker, told: ToldCall, text: str, listen: UUID | None, now: datetime
) -> Contest:
    """Say this against a call of theirs, or against that listening to it; NotDone where it cannot be said."""
    heard = next((one for one in hearings(told.listens) if one.listen == listen), None)
    if listen is not None and heard is None:
        raise NotDone(Code.NOT_FOUND)
    act = contesting(told.call, uuid4(), now, asker, guarded(text), heard)
    try:
        await catalogue.write_contest(act, ASKED_WITHIN)
    except CatalogueRefused:
        raise NotDone(Code.TOO_MANY_OPEN) from None
    log.info("contested", contest=str(act.id), call=str(act.call), line=act.line)
    return await catalogue.contest(act.id, ASKED_WITHIN) or contests((act,))[act.id]


def contesting(call: CallRow, act: UUID, now: datetime, asker: Asker, said: str, heard: Hearing | None) -> ContestAct:
    """The act by which it is contested."""
    return ContestAct(
        id=act,
        at=now,
        actor=asker.user.name,
        token=asker.token.label if asker.token is not None else None,
        contest=act,
        action=ContestAction.CONTESTED,
        node=call.node,
        call=call.id,
        line=call.line,
        agent=asker.user.name,
        listen=None if heard is None else heard.listen,
        listener=None if heard is None else heard.listener,
        said=said,
    )


def _theirs(name: str, found: Candidates, now: datetime) -> list[OwnCallView]:
    return [
        OwnCallView(**CallView.of(one.call).model_dump(), heard=one.heard)
        for one in found.calls
        if is_theirs(name, one.legs, found.acts, one.call.ended_at or now)
    ]


def own_routes(door: Door, catalogue: Catalogue, now: Callable[[], datetime]) -> APIRouter:
    routes = APIRouter(prefix=f"{PREFIX}/own", responses=PROBLEMS)
    somebody = Depends(signed_in(door))

    @routes.get("/calls", summary="The calls that you have had")
    async def calls(
        since: Annotated[datetime | None, Query(description="Only those that started then or later.")] = None,
        until: Annotated[datetime | None, Query(description="Only those that started before.")] = None,
        before: Annotated[str | None, Query(max_length=100, description="`next` of the page before.")] = None,
        limit: Annotated[int, Query(ge=1, le=AT_MOST)] = 50,
        asker: Asker = somebody,
    ) -> OwnCallsView:
        return await own_calls(catalogue, asker, now(), limit, since=since, until=until, before=before)

    @routes.get("/calls/{call}", summary="One of them: whether it was recorded, for what, and who has heard it")
    async def call_view(call: UUID, asker: Asker = somebody) -> OwnOneCallView:
        return await told_of(catalogue, asker, await own_call(catalogue, asker, call, now()))

    @routes.post("/calls/{call}/contests", summary="Say something against it, or against a listening", status_code=201)
    async def contest_it(objection: ObjectionView, call: UUID, asker: Asker = somebody) -> ContestView:
        told = await own_call(catalogue, asker, call, now())
        return ContestView.of(await contested(catalogue, asker, told, objection.text, objection.listen, now()))

    return routes
