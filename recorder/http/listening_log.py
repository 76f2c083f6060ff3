"""/api/v1/listens: who has heard what. Everybody sees their own rows; who sees others' leaves a row by it.

Must not remove or change a row. The invariant: the row of a look at what others have heard comes before what is seen.
"""

from dataclasses import replace
from datetime import datetime
from typing import Annotated, Final, Self
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import Field

from recorder.catalogue import Catalogue, LogSought
from recorder.http import exporting
from recorder.http.api import PREFIX, PROBLEMS, View
from recorder.http.door import ASKED_WITHIN, Door
from recorder.http.exporting import FILE, Exports, Format, Place, paged
from recorder.http.hearing import (
    AT_MOST,
    address_of,
    aware,
    before_of,
    cursor_of,
    is_for,
    lines_of,
    lines_of_token,
    may_still,
)
from recorder.http.problems import Code, NotDone
from recorder.http.rules import signed_in
from recorder.listening import Listening
from recorder.listens import ListenAct, ListenKind, Medium, Unheard
from recorder.model import CallId, RecordingId
from recorder.rights import Right
from recorder.signing_in import Asker

HEARD_BY: Final = frozenset({Right.LISTEN, Right.DOWNLOAD, Right.VIEW_LOG})


class ListenActView(View):
    """A row of the listening log."""

    id: UUID
    listen: UUID
    at: datetime
    kind: ListenKind
    listener: str
    token: str | None
    roles: list[str]
    recording: UUID | None
    call: UUID | None
    line: str | None
    agents: list[str]
    medium: Medium | None
    purpose: str | None
    explanation: str | None
    address: str | None
    policy: str | None
    why: Unheard | None
    began_ms: int | None
    ended_ms: int | None

    @classmethod
    def of(cls, act: ListenAct) -> Self:
        return cls(**{name: getattr(act, name) for name in cls.model_fields})


class ListenActsView(View):
    """The newest first; `next` asks for those before, as `?before=`."""

    rows: list[ListenActView]
    next: str | None


class LogView(View):
    """What is looked for in the log. Where several things are said, all of them hold."""

    all_of_them: Annotated[bool, Field(alias="all", description="Everybody's, on your lines.")] = False
    listener: Annotated[str | None, Field(max_length=64, description="Only this person's.")] = None
    recording: UUID | None = None
    call: UUID | None = None
    agent: Annotated[str | None, Field(max_length=255, description="Whose talk was heard: PJSIP/alice.")] = None
    purpose: Annotated[str | None, Field(max_length=64, description="Only what was heard for it.")] = None
    since: datetime | None = None
    until: Annotated[datetime | None, Field(description="Exclusive.")] = None


class LogPageView(LogView):
    """A page of it."""

    before: Annotated[str | None, Field(max_length=100, description="`next` of the page before.")] = None
    limit: Annotated[int, Field(ge=1, le=AT_MOST)] = 50


class LogExportView(LogView):
    """All of it, as a file."""

    format: Format = Format.CSV


def log_routes(door: Door, listening: Listening, catalogue: Catalogue, exports: Exports) -> APIRouter:
    routes = APIRouter(prefix=PREFIX, responses=PROBLEMS)
    somebody = Depends(signed_in(door))

    @routes.get("/listens", summary="The listening log: yours, or all of it where you have the right to it")
    async def listening_log(
        request: Request, wanted: Annotated[LogPageView, Query()], asker: Asker = somebody
    ) -> ListenActsView:
        sought = replace(log_sought_by(asker, wanted), before=before_of(wanted.before))
        if wanted.all_of_them:
            await listening.view_log(asker, address_of(request))
        rows = await catalogue.listens(sought, wanted.limit, ASKED_WITHIN)
        more = cursor_of(rows[-1].at, rows[-1].id) if len(rows) == wanted.limit else None
        return ListenActsView(rows=[ListenActView.of(row) for row in rows], next=more)

    @routes.get(
        "/listens/export", summary="All that are found there, as a file", response_class=Response, responses=FILE
    )
    async def log_file(
        request: Request, wanted: Annotated[LogExportView, Query()], asker: Asker = somebody
    ) -> Response:
        sought = log_sought_by(asker, wanted)
        if wanted.all_of_them:
            await listening.view_log(asker, address_of(request))

        async def page(before: Place | None) -> tuple[ListenAct, ...]:
            return await catalogue.listens(replace(sought, before=before), exporting.PAGE, ASKED_WITHIN)

        async def may_go_on() -> bool:
            again = await door.asker(request, sees=False)
            if not wanted.all_of_them:
                return again is not None and not again.must_change
            return may_still(again, Right.VIEW_LOG, sought.lines)

        pages = paged(page, lambda row: (row.at, row.id), ListenActView.of, may_go_on)
        return await exports.begin("listens", wanted.format, ListenActView, pages)

    return routes


def log_sought_by(asker: Asker, wanted: LogView) -> LogSought:
    """What they look for, among their own rows or on the lines whose log they may see; NotDone where there is none."""
    lines = lines_of(asker, Right.VIEW_LOG)
    if wanted.all_of_them and lines is not None and not lines:
        raise NotDone(Code.NOT_PERMITTED)
    if not wanted.all_of_them and not is_for(asker, HEARD_BY):
        raise NotDone(Code.NO_RIGHT)
    return LogSought(
        listener=wanted.listener if wanted.all_of_them else asker.user.name,
        lines=lines if wanted.all_of_them else lines_of_token(asker),
        recording=None if wanted.recording is None else RecordingId(wanted.recording),
        call=None if wanted.call is None else CallId(wanted.call),
        agent=wanted.agent,
        purpose=wanted.purpose,
        since=aware(wanted.since),
        until=aware(wanted.until),
    )
