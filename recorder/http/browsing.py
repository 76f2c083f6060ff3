"""The pages on which a call is told and heard, and what one has listened to.

Must not open audio or touch a table: finding, hearing and recorder.listening do, and decide.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse

from recorder.catalogue import Catalogue, FoundCall, LogSought, RecordingRow
from recorder.comments import LONGEST_COMMENT
from recorder.http.commenting import comments_of, length_ms
from recorder.http.door import ASKED_WITHIN, Door
from recorder.http.finding import one_call, proof_of
from recorder.http.hearing import WishView, opened
from recorder.http.pages import READ, Pages, words_for
from recorder.http.places import Place
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
        place = Place.of(call, request.query_params)
        is_wrong = place.at_ms is None and "at" in request.query_params
        shown = Shown(found=found, playing=playing, place=place, code=Code.NO_MOMENT if is_wrong else None)
        return await call_shown(pages, request, asker, listening, catalogue, shown)

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
            place = Place.of(audible.call, given | {"recording": str(recording)})
            shown = Shown(found=found, place=place, code=code, status=int(MEANINGS[code][0]))
            return await call_shown(pages, request, asker, listening, catalogue, shown)
        moment = Place.of(audible.call, given).moment
        fields = {"listen": str(begun.id)} | ({"recording": str(recording)} | moment if moment else {})
        return RedirectResponse(f"/calls/{audible.call}?{urlencode(fields)}", 303)

    @routes.api_route("/listening", methods=READ)
    async def own_log(request: Request, asker: Asker = here) -> Response:
        acts = await catalogue.listens(LogSought(listener=asker.user.name), OWN_ROWS, ASKED_WITHIN)
        return pages.page("log.html", request, asker=asker, here="listening", acts=acts)

    return routes


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A call's page: what plays on it, at which place, what was not done, and the comment that was typed for that."""

    found: FoundCall
    playing: Listen | None = None
    place: Place
    code: Code | None = None
    typed: Mapping[str, str] = field(default_factory=dict)
    status: int = 200


async def call_shown(
    pages: Pages, request: Request, asker: Asker, listening: Listening, catalogue: Catalogue, shown: Shown
) -> Response:
    """The page of a call, with what may be heard and read of its recordings."""
    shown = _placed(shown)
    heard = [await _hearable(listening, catalogue, asker, row) for row in shown.found.recordings]
    return pages.page(
        "call.html",
        request,
        shown.status,
        asker=asker,
        here="calls",
        path=shown.place.address,
        found=shown.found,
        heard=heard,
        listen=shown.playing,
        place=shown.place,
        typed=shown.typed,
        kinds=tuple(RegionKind),
        why="" if shown.code is None else words_for(request)(f"problem.{shown.code}"),
        longest=LONGEST_COMMENT,
        may_prove=asker.may(Right.PROVE, shown.found.call.line),
    )


def _placed(shown: Shown) -> Shown:
    """The place in a recording of this call; a moment that none of it has is said, and passed over."""
    rows = {row.id: row for row in shown.found.recordings}
    named = shown.place.recording if shown.playing is None else shown.playing.opened.recording
    row = rows.get(RecordingId(named)) if named is not None else next(iter(rows.values()), None)
    if row is None:
        return replace(shown, place=Place(call=shown.place.call))
    place, length = replace(shown.place, recording=row.id), length_ms(row)
    if row.status is not RecordingStatus.SETTLED or place.at_ms is None or place.at_ms <= length:
        return replace(shown, place=place)
    bare = Place(call=place.call, recording=row.id)
    return replace(shown, place=bare, code=shown.code or Code.NO_MOMENT)


async def _hearable(listening: Listening, catalogue: Catalogue, asker: Asker, row: RecordingRow) -> dict[str, Any]:
    """A recording, and what it takes to hear it; no purposes where it cannot be heard by them.

    `comments` is None where what was said of it is not for them.
    """
    audible = await listening.audible(asker, row.id)
    can = (
        audible is not None
        and row.status is RecordingStatus.SETTLED
        and not row.sealed
        and asker.may(Right.LISTEN, row.line)
    )
    purposes = sorted(audible.purposes) if can and audible is not None else []
    rules = [listening.rule_for(asker, row.line, purpose) for purpose in purposes]
    try:
        comments = await comments_of(catalogue, asker, row.id)
    except NotDone:
        comments = None
    rule = max(rules, key=lambda rule: rule.rank[1:], default=None)
    return {"row": row, "purposes": purposes, "rule": rule, "comments": comments}
