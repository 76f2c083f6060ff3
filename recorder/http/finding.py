"""/api/v1/calls: finding calls, and how one of them went. What is not on a line of the asker's is not there.

Must not keep, log or answer a number that was looked for: it becomes digests, and goes no further.
"""

from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any, Final, Self
from uuid import UUID

import structlog
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import Field

from recorder.catalogue import CallRow, Catalogue, FoundCall, Sought
from recorder.http import exporting
from recorder.http.api import PREFIX, PROBLEMS, View
from recorder.http.door import ASKED_WITHIN, Door
from recorder.http.exporting import FILE, Exports, Format, Place, paged
from recorder.http.hearing import AT_MOST, aware, before_of, cursor_of, lines_of, may_still
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
from recorder.numbers import NumberKey
from recorder.proving import NothingToProve, NotProvable, Proofs
from recorder.quality import Finding
from recorder.rights import Right
from recorder.signing_in import Asker
from recorder.storage import StorageError

log = structlog.get_logger(__name__)

A_LONG_TIME: Final = 10**6
"""Seconds, than which no call is longer."""
NO_KEY: Final[dict[int | str, dict[str, Any]]] = {409: PROBLEMS[404]}
"""What a search by number is answered besides, where the settings have no key."""
OTHERWISE: Final = frozenset({"line", "since", "until"})
"""What is not looked for just as it was said."""


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


class SearchView(View):
    """What is looked for. Where several things are said, all of them hold."""

    line: Annotated[str | None, Field(max_length=64, description="Only this line's.")] = None
    outcome: Annotated[Outcome | None, Field(description="Only calls that ended so.")] = None
    direction: Direction | None = None
    consent: Annotated[ConsentState | None, Field(description="Only where the caller's agreement stands so.")] = None
    reason: Annotated[LostReason | None, Field(description="Only calls that were lost for it.")] = None
    override: Annotated[OverrideReason | None, Field(description="Only calls that were overridden for it.")] = None
    agent: Annotated[str | None, Field(max_length=255, description="Only with this telephone: PJSIP/alice.")] = None
    shortest: Annotated[float | None, Field(ge=0, le=A_LONG_TIME, description="In seconds, of the whole call.")] = None
    longest: Annotated[float | None, Field(ge=0, le=A_LONG_TIME, description="The same, at most.")] = None
    finding: Annotated[Finding | None, Field(description="Only where analysis said so of a recording.")] = None
    settled: Annotated[bool | None, Field(description="Whether there is a settled recording of it.")] = None
    since: Annotated[datetime | None, Field(description="Only those that started then or later.")] = None
    until: Annotated[datetime | None, Field(description="Only those that started before.")] = None


class PageView(SearchView):
    """A page of what is looked for."""

    before: Annotated[str | None, Field(max_length=100, description="`next` of the page before.")] = None
    limit: Annotated[int, Field(ge=1, le=AT_MOST)] = 50


class ExportView(SearchView):
    """All of it, as a file."""

    format: Format = Format.CSV


class ByNumber(View):
    """The number never stands in an address, which programs on the way and browsers keep."""

    number: Annotated[str, Field(min_length=1, max_length=40, description="Of the other side, in any written form.")]


class PageByNumberView(ByNumber, PageView):
    """A page of the calls with a number."""


class ExportByNumberView(ByNumber, ExportView):
    """All of them, as a file."""


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


async def _whole_call(catalogue: Catalogue, asker: Asker, call: UUID) -> FoundCall:
    """The call with all that was recorded of it, where it is on a line that they may search; else NotDone."""
    found = await catalogue.found_call(CallId(call), ASKED_WITHIN)
    if found is None or not asker.may(Right.SEARCH, found.call.line):
        raise NotDone(Code.NOT_FOUND)
    return found


async def one_call(catalogue: Catalogue, asker: Asker, call: UUID) -> FoundCall:
    """The call as they may see it: with what was recorded on lines of theirs. NotDone where there is none for them."""
    found = await _whole_call(catalogue, asker, call)
    return replace(found, recordings=tuple(row for row in found.recordings if asker.may(Right.SEARCH, row.line)))


async def proof_of(catalogue: Catalogue, proofs: Proofs, asker: Asker, call: UUID) -> Response:
    """The proof of a call's consent, as one file to take away; NotDone where there is none for them."""
    found = await _whole_call(catalogue, asker, call)
    if not all(asker.may(Right.PROVE, line) for line in {found.call.line, *(row.line for row in found.recordings)}):
        raise NotDone(Code.NOT_PERMITTED)
    try:
        made = await proofs.of(found.call.id, ASKED_WITHIN)
    except NothingToProve:
        raise NotDone(Code.NOT_FOUND) from None
    except (NotProvable, StorageError) as error:
        log.error("proof_not_made", call=str(call), why=str(error))
        raise NotDone(Code.NOT_PROVABLE) from None
    log.info("proof_given", call=str(call), to=asker.user.name)
    name = f'attachment; filename="proof-{call}.json"'
    return Response(made.text, media_type="application/json", headers={"content-disposition": name})


def digests_of(key: NumberKey | None, number: str) -> frozenset[str]:
    """The digests that a call with this number may have; the number goes no further. NotDone where there are none."""
    if key is None:
        raise NotDone(Code.NUMBERS_NOT_KEPT)
    digests = frozenset(key.digests(number))
    if not digests:
        raise NotDone(Code.NO_NUMBER)
    return digests


def sought_by(
    asker: Asker,
    search: SearchView,
    key: NumberKey | None = None,
    *,
    before: str | None = None,
    number: str | None = None,
) -> Sought:
    """What they look for, on the lines that they may search; NotDone where there is none."""
    lines = lines_of(asker, Right.SEARCH)
    if lines is not None and not lines:
        raise NotDone(Code.NO_RIGHT)
    if search.line is not None:
        lines = frozenset({search.line}) if lines is None or search.line in lines else frozenset()
    return Sought(
        **{name: getattr(search, name) for name in SearchView.model_fields if name not in OTHERWISE},
        lines=lines,
        numbers=None if number is None else digests_of(key, number),
        since=aware(search.since),
        until=aware(search.until),
        before=before_of(before),
    )


async def exported(
    door: Door, catalogue: Catalogue, exports: Exports, request: Request, sought: Sought, form: Format
) -> StreamingResponse:
    """All that is found, as a file that is written while it goes out."""

    async def page(before: Place | None) -> tuple[CallRow, ...]:
        return await catalogue.search_calls(replace(sought, before=before), exporting.PAGE, ASKED_WITHIN)

    async def may_go_on() -> bool:
        return may_still(await door.asker(request, sees=False), Right.SEARCH, sought.lines)

    pages = paged(page, lambda row: (row.started_at, row.id), CallView.of, may_go_on)
    return await exports.begin("calls", form, CallView, pages)


def finding_routes(
    door: Door, catalogue: Catalogue, proofs: Proofs, key: NumberKey | None, exports: Exports
) -> APIRouter:
    """`key` is that of the settings, of the digests of numbers."""
    routes = APIRouter(prefix=PREFIX, responses=PROBLEMS)
    somebody = Depends(signed_in(door))

    async def page(asker: Asker, wanted: PageView, number: str | None = None) -> CallsView:
        sought = sought_by(asker, wanted, key, before=wanted.before, number=number)
        rows = await catalogue.search_calls(sought, wanted.limit, ASKED_WITHIN)
        more = cursor_of(rows[-1].started_at, rows[-1].id) if len(rows) == wanted.limit else None
        return CallsView(calls=[CallView.of(row) for row in rows], next=more)

    async def export(request: Request, asker: Asker, wanted: ExportView, number: str | None = None) -> Response:
        sought = sought_by(asker, wanted, key, number=number)
        return await exported(door, catalogue, exports, request, sought, wanted.format)

    @routes.get("/calls", summary="Calls on the lines that you may search")
    async def calls(wanted: Annotated[PageView, Query()], asker: Asker = somebody) -> CallsView:
        return await page(asker, wanted)

    @routes.post("/calls/search", summary="The same, by the number of the other side", responses=NO_KEY)
    async def calls_by_number(wanted: PageByNumberView, asker: Asker = somebody) -> CallsView:
        return await page(asker, wanted, wanted.number)

    @routes.get("/calls/export", summary="All that are found, as a file", response_class=Response, responses=FILE)
    async def calls_file(request: Request, wanted: Annotated[ExportView, Query()], asker: Asker = somebody) -> Response:
        return await export(request, asker, wanted)

    @routes.post(
        "/calls/export",
        summary="The same, by the number of the other side",
        response_class=Response,
        responses=FILE | NO_KEY,
    )
    async def calls_file_by_number(request: Request, wanted: ExportByNumberView, asker: Asker = somebody) -> Response:
        return await export(request, asker, wanted, wanted.number)

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
        return await proof_of(catalogue, proofs, asker, call)

    return routes
