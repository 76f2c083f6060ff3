"""The pages of one's own calls, who has heard them and what one says against it, and of who answers that.

Must not touch a table, and knows of no sound: recorder.http.own and recorder.http.contesting say what there is to show.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse

from recorder.catalogue import Catalogue, ToldCall
from recorder.http.contesting import answer, contests_of
from recorder.http.door import Door
from recorder.http.hearing import day_of
from recorder.http.own import contested, own_call, own_calls, told_of
from recorder.http.pages import READ, Pages, handed_back, words_for
from recorder.http.problems import MEANINGS, Code, NotDone
from recorder.http.rules import Who, fields_of, signed_in
from recorder.signing_in import Asker

PAGE: Final = 50
NOTHING: Final[Mapping[str, str]] = {}
NOT_TYPED: Final[Mapping[str, object]] = {"contest": None, "text": ""}


def own_page_routes(door: Door, catalogue: Catalogue, pages: Pages, now: Callable[[], datetime]) -> APIRouter:
    routes = APIRouter(include_in_schema=False)
    here = Depends(signed_in(door, Who.IN_PERSON))

    @routes.api_route("/own", methods=READ)
    async def calls(
        request: Request, since: str = "", until: str = "", before: str = "", asker: Asker = here
    ) -> Response:
        try:
            page = await own_calls(
                catalogue, asker, now(), PAGE, since=day_of(since), until=day_of(until), before=before or None
            )
        except NotDone as error:
            return pages.refused(request, asker, error.code)
        given = {"since": since, "until": until}
        older = None if page.next is None else f"/own?{urlencode({**given, 'before': page.next})}"
        return pages.page("own.html", request, asker=asker, here="own", calls=page.calls, given=given, older=older)

    @routes.api_route("/own/{call}", methods=READ)
    async def call_page(request: Request, call: UUID, asker: Asker = here) -> Response:
        try:
            told = await own_call(catalogue, asker, call, now())
        except NotDone as error:
            return pages.refused(request, asker, error.code)
        return await _call(request, asker, told)

    @routes.post("/own/{call}/contest")
    async def contest(request: Request, call: UUID, asker: Asker = here) -> Response:
        given = await fields_of(request)
        try:
            told = await own_call(catalogue, asker, call, now())
        except NotDone as error:
            return pages.refused(request, asker, error.code)
        try:
            listen = UUID(given["listen"]) if given.get("listen") else None
            await contested(catalogue, asker, told, given.get("text", ""), listen, now())
        except (NotDone, ValueError) as error:
            code = error.code if isinstance(error, NotDone) else Code.INVALID
            return await _call(request, asker, told, code, given)
        return RedirectResponse(f"/own/{call}#contests", 303)

    async def _call(
        request: Request, asker: Asker, told: ToldCall, code: Code | None = None, given: Mapping[str, str] = NOTHING
    ) -> Response:
        shown = await told_of(catalogue, asker, told)
        why, status = _why(request, code)
        typed = {"text": handed_back(given.get("text", ""), code), "listen": given.get("listen", "")}
        return pages.page("own_call.html", request, status, asker=asker, here="own", call=shown, why=why, typed=typed)

    return routes


def contest_page_routes(door: Door, catalogue: Catalogue, pages: Pages, now: Callable[[], datetime]) -> APIRouter:
    routes = APIRouter(include_in_schema=False)
    here = Depends(signed_in(door, Who.IN_PERSON))

    @routes.api_route("/contests", methods=READ)
    async def contests(request: Request, before: str = "", asker: Asker = here) -> Response:
        try:
            return await _contests(request, asker, before or None)
        except NotDone as error:
            return pages.refused(request, asker, error.code)

    @routes.post("/contests/{contest}/answer")
    async def answer_it(request: Request, contest: UUID, asker: Asker = here) -> Response:
        given = await fields_of(request)
        try:
            await answer(catalogue, asker, contest, given.get("text", ""), now())
        except NotDone as error:
            typed = {"contest": contest, "text": handed_back(given.get("text", ""), error.code)}
            return await _contests(request, asker, None, error.code, typed)
        return RedirectResponse(f"/contests#{contest}", 303)

    async def _contests(
        request: Request,
        asker: Asker,
        before: str | None,
        code: Code | None = None,
        typed: Mapping[str, object] = NOT_TYPED,
    ) -> Response:
        """What was typed and not kept is handed back to the form that it came from, but for what the guard refused."""
        page = await contests_of(catalogue, asker, before, PAGE)
        why, status = _why(request, code)
        older = None if page.next is None else f"/contests?{urlencode({'before': page.next})}"
        return pages.page(
            "contests.html",
            request,
            status,
            asker=asker,
            here="contests",
            contests=page.contests,
            older=older,
            why=why,
            typed=typed,
        )

    return routes


def _why(request: Request, code: Code | None) -> tuple[str, int]:
    """What a page says of what was not done, and its status."""
    return ("", 200) if code is None else (words_for(request)(f"problem.{code}"), int(MEANINGS[code][0]))
