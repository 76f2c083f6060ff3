"""The pages on which a call is told and heard, and what one has listened to.

Must not open audio or touch a table: finding, hearing and recorder.listening do, and decide.
"""

from typing import Any, Final
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse

from recorder.catalogue import Catalogue, FoundCall, LogSought, RecordingRow
from recorder.http.door import ASKED_WITHIN, Door
from recorder.http.finding import one_call, proof_of
from recorder.http.hearing import WishView, opened
from recorder.http.pages import READ, Pages, words_for
from recorder.http.problems import MEANINGS, Code, NotDone
from recorder.http.rules import Who, fields_of, signed_in
from recorder.listening import Listen, Listening
from recorder.model import RecordingId, RecordingStatus
from recorder.proving import Proofs
from recorder.rights import Right
from recorder.signing_in import Asker
from recorder.waveform import RegionKind

OWN_ROWS: Final = 200


def browsing_routes(door: Door, listening: Listening, catalogue: Catalogue, proofs: Proofs, pages: Pages) -> APIRouter:
    routes = APIRouter(include_in_schema=False)
    here = Depends(signed_in(door, Who.IN_PERSON))

    @routes.api_route("/calls/{call}", methods=READ)
    async def call_page(request: Request, call: UUID, listen: UUID | None = None, asker: Asker = here) -> Response:
        try:
            found = await one_call(catalogue, asker, call)
        except NotDone as error:
            return pages.refused(request, asker, error.code)
        playing = None if listen is None else listening.find(asker, listen)
        return await _call(pages, request, asker, listening, found, playing)

    @routes.api_route("/calls/{call}/proof", methods=READ)
    async def proof(request: Request, call: UUID, asker: Asker = here) -> Response:
        try:
            return await proof_of(catalogue, proofs, asker, call)
        except NotDone as error:
            return pages.refused(request, asker, error.code)

    @routes.post("/recordings/{recording}/listen")
    async def listen_to(request: Request, recording: UUID, asker: Asker = here) -> Response:
        given = await fields_of(request)
        audible = await listening.audible(asker, RecordingId(recording))
        if audible is None:
            return pages.refused(request, asker, Code.NOT_FOUND)
        try:
            wish = WishView(purpose=given.get("purpose", ""), explanation=given.get("explanation", "")[:500])
            begun = await opened(listening, request, asker, RecordingId(recording), wish)
        except (NotDone, ValueError) as error:
            code = error.code if isinstance(error, NotDone) else Code.INVALID
            found = await one_call(catalogue, asker, audible.call)
            said = words_for(request)(f"problem.{code}")
            return await _call(pages, request, asker, listening, found, None, said, int(MEANINGS[code][0]))
        return RedirectResponse(f"/calls/{audible.call}?listen={begun.id}", 303)

    @routes.api_route("/listening", methods=READ)
    async def own_log(request: Request, asker: Asker = here) -> Response:
        acts = await catalogue.listens(LogSought(listener=asker.user.name), OWN_ROWS, ASKED_WITHIN)
        return pages.page("log.html", request, asker=asker, here="listening", acts=acts)

    return routes


async def _call(
    pages: Pages,
    request: Request,
    asker: Asker,
    listening: Listening,
    found: FoundCall,
    playing: Listen | None,
    why: str = "",
    status: int = 200,
) -> Response:
    heard = [await _hearable(listening, asker, row) for row in found.recordings]
    return pages.page(
        "call.html",
        request,
        status,
        asker=asker,
        here="calls",
        found=found,
        heard=heard,
        listen=playing,
        kinds=tuple(RegionKind),
        why=why,
        may_prove=asker.may(Right.PROVE, found.call.line),
    )


async def _hearable(listening: Listening, asker: Asker, row: RecordingRow) -> dict[str, Any]:
    """A recording, and what it takes to hear it; no purposes where it cannot be heard by them."""
    audible = await listening.audible(asker, row.id)
    can = (
        audible is not None
        and row.status is RecordingStatus.SETTLED
        and not row.sealed
        and asker.may(Right.LISTEN, row.line)
    )
    purposes = sorted(audible.purposes) if can and audible is not None else []
    rules = [listening.rule_for(asker, row.line, purpose) for purpose in purposes]
    return {"row": row, "purposes": purposes, "rule": max(rules, key=lambda rule: rule.rank[1:], default=None)}
