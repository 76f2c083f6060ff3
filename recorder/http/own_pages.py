"""The pages of one's own calls: the list, and one of them with who has heard it.

Must not touch a table, and knows of no sound: recorder.http.own says what there is to show.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Final
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response

from recorder.catalogue import Catalogue
from recorder.http.browsing import day, refused
from recorder.http.door import Door
from recorder.http.own import OwnOneCallView, own_call, own_calls
from recorder.http.pages import READ, Pages
from recorder.http.problems import NotDone
from recorder.http.rules import Who, signed_in
from recorder.signing_in import Asker

PAGE: Final = 50


def own_page_routes(door: Door, catalogue: Catalogue, pages: Pages, now: Callable[[], datetime]) -> APIRouter:
    routes = APIRouter(include_in_schema=False)
    here = Depends(signed_in(door, Who.IN_PERSON))

    @routes.api_route("/own", methods=READ)
    async def calls(
        request: Request, since: str = "", until: str = "", before: str = "", asker: Asker = here
    ) -> Response:
        try:
            page = await own_calls(
                catalogue, asker, now(), PAGE, since=day(since), until=day(until), before=before or None
            )
        except NotDone as error:
            return refused(pages, request, asker, error.code)
        given = {"since": since, "until": until}
        older = None if page.next is None else f"/own?{urlencode({**given, 'before': page.next})}"
        return pages.page("own.html", request, asker=asker, here="own", calls=page.calls, given=given, older=older)

    @routes.api_route("/own/{call}", methods=READ)
    async def call_page(request: Request, call: UUID, asker: Asker = here) -> Response:
        try:
            told = OwnOneCallView.from_told(await own_call(catalogue, asker, call, now()))
        except NotDone as error:
            return refused(pages, request, asker, error.code)
        return pages.page("own_call.html", request, asker=asker, here="own", call=told)

    return routes
