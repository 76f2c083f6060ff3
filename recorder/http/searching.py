"""The page on which calls are found: by what is said in its address, or by a number, which never stands in one.

Must not touch a table, nor keep a number: finding makes of it what is looked for.
"""

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import ValidationError

from recorder.catalogue import CallRow, Catalogue, Sought
from recorder.http.door import ASKED_WITHIN, Door
from recorder.http.exporting import Exports, Format
from recorder.http.finding import ByNumber, SearchView, exported, sought_by
from recorder.http.hearing import cursor_of, day_of, lines_of
from recorder.http.pages import READ, Pages, handed_back, words_for
from recorder.http.problems import MEANINGS, Code, NotDone
from recorder.http.rules import STAMP_FIELD, Who, fields_of, signed_in
from recorder.http.saving import LONGEST_NAME, fields_of_search, removed, save, saved_of, saved_one
from recorder.model import ConsentState, Direction, LostReason, Outcome, OverrideReason
from recorder.numbers import NumberKey
from recorder.quality import Finding
from recorder.rights import Right
from recorder.signing_in import Asker

PAGE: Final = 50
FIELDS: Final = (*SearchView.model_fields, *ByNumber.model_fields)
DAYS: Final = ("since", "until")
CHOICES: Final = {
    "direction": tuple(Direction),
    "outcome": tuple(Outcome),
    "reason": tuple(LostReason),
    "override": tuple(OverrideReason),
    "consent": tuple(ConsentState),
    "finding": tuple(Finding),
}


def searching_routes(
    door: Door,
    catalogue: Catalogue,
    pages: Pages,
    lines: tuple[str, ...],
    key: NumberKey | None,
    exports: Exports,
) -> APIRouter:
    """`lines` are those of the settings, in their order; `key` is theirs too, of the digests of numbers."""
    routes = APIRouter(include_in_schema=False)
    here = Depends(signed_in(door, Who.IN_PERSON))

    async def shown(
        request: Request,
        asker: Asker,
        given: dict[str, str],
        *,
        by_number: bool,
        unsaved: str = "",
        refused: Code | None = None,
    ) -> Response:
        """`unsaved` and `refused`: the name of a search that they would have saved, and why it was not."""
        before, why, status = given.pop("before", None), "", 200
        rows: tuple[CallRow, ...] = ()
        try:
            sought = _sought(asker, given, key, before, by_number=by_number)
            rows = await catalogue.search_calls(sought, PAGE, ASKED_WITHIN)
        except NotDone as error:
            if error.code is Code.NO_RIGHT:
                return pages.refused(request, asker, error.code)
            why, status = words_for(request)(f"problem.{error.code}"), int(MEANINGS[error.code][0])
        if refused is not None:
            why, status = words_for(request)(f"problem.{refused}"), int(MEANINGS[refused][0])
        mine = lines_of(asker, Right.SEARCH)
        return pages.page(
            "calls.html",
            request,
            status,
            asker=asker,
            here="calls",
            calls=rows,
            why=why,
            given={name: given.get(name, "") for name in FIELDS},
            said={name: text for name, text in given.items() if text},
            choices=CHOICES,
            lines=[known for known in lines if mine is None or known in mine],
            knows_numbers=key is not None,
            older=_older(rows),
            searches=await saved_of(catalogue, asker),
            unsaved=unsaved,
            longest_name=LONGEST_NAME,
        )

    async def file(request: Request, asker: Asker, given: dict[str, str], *, by_number: bool) -> Response:
        form = given.pop("format", Format.CSV)
        try:
            sought = _sought(asker, given, key, None, by_number=by_number)
            if form not in tuple(Format):
                raise NotDone(Code.INVALID)
            return await exported(door, catalogue, exports, request, sought, Format(form))
        except NotDone as error:
            return pages.refused(request, asker, error.code)

    @routes.api_route("/calls", methods=READ)
    async def calls(request: Request, asker: Asker = here) -> Response:
        return await shown(request, asker, dict(request.query_params), by_number=False)

    @routes.post("/calls")
    async def calls_by_number(request: Request, asker: Asker = here) -> Response:
        return await shown(request, asker, await _fields(request), by_number=True)

    @routes.get("/calls/export")
    async def calls_file(request: Request, asker: Asker = here) -> Response:
        return await file(request, asker, dict(request.query_params), by_number=False)

    @routes.post("/calls/export")
    async def calls_file_by_number(request: Request, asker: Asker = here) -> Response:
        return await file(request, asker, await _fields(request), by_number=True)

    @routes.post("/searches")
    async def save_it(request: Request, asker: Asker = here) -> Response:
        given = await _fields(request)
        name = given.pop("name", "")
        given.pop("before", None)
        try:
            if "number" in given:
                raise NotDone(Code.NUMBER_IN_IT)
            saved = await save(catalogue, asker, name, _search_of(given))
        except NotDone as error:
            given.pop("number", None)
            return await shown(
                request, asker, given, by_number=False, unsaved=handed_back(name, error.code), refused=error.code
            )
        return RedirectResponse(f"/searches/{saved.id}", 303)

    @routes.api_route("/searches/{search}", methods=READ)
    async def saved_search(request: Request, search: UUID, asker: Asker = here) -> Response:
        """Opened as if it were typed anew: what they may search is asked of the page behind it."""
        try:
            fields = fields_of_search(await saved_one(catalogue, asker, search))
        except NotDone as error:
            return pages.refused(request, asker, error.code)
        return RedirectResponse(f"/calls?{urlencode(fields)}", 303)

    @routes.post("/searches/{search}/remove")
    async def remove_it(request: Request, search: UUID, asker: Asker = here) -> Response:
        try:
            await removed(catalogue, asker, search)
        except NotDone as error:
            return pages.refused(request, asker, error.code)
        return RedirectResponse("/calls#searches", 303)

    return routes


async def _fields(request: Request) -> dict[str, str]:
    given = await fields_of(request)
    given.pop(STAMP_FIELD, None)
    return given


def _sought(
    asker: Asker, given: Mapping[str, str], key: NumberKey | None, before: str | None, *, by_number: bool
) -> Sought:
    """What the page's fields say; NotDone where they say nothing that can be understood, or a number in an address."""
    said = dict(given)
    number = (said.pop("number", "") or None) if by_number else None
    return sought_by(asker, _search_of(said), key, before=before or None, number=number)


def _search_of(given: Mapping[str, str]) -> SearchView:
    """The same, without a number."""
    said: dict[str, object] = {name: text for name, text in given.items() if text}
    for day in DAYS:
        if day in said:
            said[day] = day_of(given[day])
    try:
        return SearchView.model_validate(said)
    except ValidationError:
        raise NotDone(Code.INVALID) from None


def _older(rows: tuple[CallRow, ...]) -> str | None:
    """What the page before goes on behind."""
    return cursor_of(rows[-1].started_at, rows[-1].id) if len(rows) == PAGE else None
