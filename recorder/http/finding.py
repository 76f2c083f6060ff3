"""/api/v1/calls: finding calls, and how one of them went. What is not on a line of the asker's is not there."""

from datetime import datetime
from typing import Annotated, Self
from uuid import UUID

import structlog
from fastapi import APIRouter, Depends, Query, Response

from recorder.catalogue import CallRow, Catalogue, FoundCall, Sought
from recorder.http.api import PREFIX, PROBLEMS, View
from recorder.http.door import ASKED_WITHIN, Door
from recorder.http.hearing import AT_MOST, aware, before_of, cursor_of, lines_of
from recorder.http.problems import Code, NotDone
from recorder.http.rules import signed_in
from recorder.model import (
    CallId,
    ConsentMode,
    ConsentState,
    Direction,
    LostReason,
    Outcome,
    OverrideReason,
    RecordingStatus,
)
from recorder.proving import NothingToProve, NotProvable, prove
from recorder.rights import Right
from recorder.signing_in import Asker
from recorder.storage import KeptPrompts, StorageError

log = structlog.get_logger(__name__)


class CallView(View):
    """A call. `outcome` is null while it is in progress, `reason` says why it was lost."""

    id: UUID
    node: str
    line: str
    direction: Direction
    mode: ConsentMode
    consent: ConsentState
    started_at: datetime
    ended_at: datetime | None
    outcome: Outcome | None
    reason: LostReason | None

    @classmethod
    def of(cls, row: CallRow) -> Self:
        return cls(**{name: getattr(row, name) for name in cls.model_fields})


class CallsView(View):
    """The newest first; `next` asks for those before, as `?before=`."""

    calls: list[CallView]
    next: str | None


class ConsentView(View):
    """A step of consent: from what to what, when, by which key or by whom, and for an override why."""

    at: datetime
    before: ConsentState
    after: ConsentState
    language: str | None
    key: str | None
    actor: str | None
    reason: OverrideReason | None
    policy: str


class RecordingView(View):
    """A recording of the call. What it takes to hear it, /api/v1/recordings/{recording} says."""

    id: UUID
    line: str
    status: RecordingStatus
    sealed: bool
    seconds: float | None
    findings: list[str]


class OneCallView(CallView):
    agents: list[str]
    consents: list[ConsentView]
    recordings: list[RecordingView]

    @classmethod
    def from_found(cls, found: FoundCall) -> Self:
        consents = [
            ConsentView(**{name: getattr(row, name) for name in ConsentView.model_fields}) for row in found.consents
        ]
        kept = [
            RecordingView(
                id=row.id,
                line=row.line,
                status=row.status,
                sealed=row.sealed,
                seconds=None if row.samples is None or not row.rate else row.samples / row.rate,
                findings=list(row.findings),
            )
            for row in found.recordings
        ]
        said = CallView.of(found.call).model_dump()
        return cls(**said, agents=list(found.agents), consents=consents, recordings=kept)


async def one_call(catalogue: Catalogue, asker: Asker, call: UUID) -> FoundCall:
    """The call, where it is on a line that they may search; NotDone where there is none for them."""
    found = await catalogue.found_call(CallId(call), ASKED_WITHIN)
    if found is None or not asker.may(Right.SEARCH, found.call.line):
        raise NotDone(Code.NOT_FOUND)
    return found


async def proof_of(catalogue: Catalogue, kept: KeptPrompts, asker: Asker, call: UUID) -> Response:
    """The proof of a call's consent, as one file to take away; NotDone where there is none for them."""
    found = await one_call(catalogue, asker, call)
    if not asker.may(Right.PROVE, found.call.line):
        raise NotDone(Code.NOT_PERMITTED)
    try:
        made = await prove(catalogue, kept, found.call.id, within=ASKED_WITHIN)
    except NothingToProve:
        raise NotDone(Code.NOT_FOUND) from None
    except (NotProvable, StorageError) as error:
        log.error("proof_not_made", call=str(call), why=str(error))
        raise NotDone(Code.NOT_PROVABLE) from None
    log.info("proof_given", call=str(call), to=asker.user.name)
    name = f'attachment; filename="proof-{call}.json"'
    return Response(made.text, media_type="application/json", headers={"content-disposition": name})


def sought_by(
    asker: Asker,
    line: str | None,
    outcome: Outcome | None,
    direction: Direction | None,
    since: datetime | None,
    until: datetime | None,
    before: str | None,
) -> Sought:
    """What they look for, on the lines that they may search; NotDone where there is none."""
    lines = lines_of(asker, Right.SEARCH)
    if lines is not None and not lines:
        raise NotDone(Code.NOT_PERMITTED)
    if line is not None:
        lines = frozenset({line}) if lines is None or line in lines else frozenset()
    return Sought(
        lines=lines,
        outcome=outcome,
        direction=direction,
        since=aware(since),
        until=aware(until),
        before=before_of(before),
    )


def finding_routes(door: Door, catalogue: Catalogue, kept: KeptPrompts) -> APIRouter:
    routes = APIRouter(prefix=PREFIX, responses=PROBLEMS)
    somebody = Depends(signed_in(door))

    @routes.get("/calls", summary="Calls on the lines that you may search")
    async def calls(
        line: Annotated[str | None, Query(max_length=64, description="Only this line's.")] = None,
        outcome: Annotated[Outcome | None, Query(description="Only calls that ended so.")] = None,
        direction: Direction | None = None,
        since: Annotated[datetime | None, Query(description="Only those that started then or later.")] = None,
        until: Annotated[datetime | None, Query(description="Only those that started before.")] = None,
        before: Annotated[str | None, Query(max_length=100, description="`next` of the page before.")] = None,
        limit: Annotated[int, Query(ge=1, le=AT_MOST)] = 50,
        asker: Asker = somebody,
    ) -> CallsView:
        sought = sought_by(asker, line, outcome, direction, since, until, before)
        rows = await catalogue.search_calls(sought, limit, ASKED_WITHIN)
        more = cursor_of(rows[-1].started_at, rows[-1].id) if len(rows) == limit else None
        return CallsView(calls=[CallView.of(row) for row in rows], next=more)

    @routes.get("/calls/{call}", summary="How one of them went")
    async def call_view(call: UUID, asker: Asker = somebody) -> OneCallView:
        return OneCallView.from_found(await one_call(catalogue, asker, call))

    @routes.get(
        "/calls/{call}/proof",
        summary="The proof of its consent, with its override where there was one: one file for whoever asks for it",
        response_class=Response,
        responses={409: PROBLEMS[404]},
    )
    async def proof(call: UUID, asker: Asker = somebody) -> Response:
        return await proof_of(catalogue, kept, asker, call)

    return routes
