"""How the recorder stands, for those who look after it: the page, and the same over the API.

Must not ask a part of the daemon: it is handed the report. The invariant: of lines nobody is told but those on which
they may see it.
"""

from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Depends, Request, Response

from recorder.http.api import PREFIX, PROBLEMS
from recorder.http.door import Door
from recorder.http.hearing import lines_of
from recorder.http.pages import READ, Pages
from recorder.http.problems import Code, NotDone
from recorder.http.rules import Who, signed_in
from recorder.rights import Right
from recorder.signing_in import Asker
from recorder.status import SystemView, mend_of, seen_on


def system_routes(door: Door, pages: Pages, look: Callable[[], Awaitable[SystemView]]) -> APIRouter:
    """`look` makes the whole report."""
    routes = APIRouter()
    here, somebody = Depends(signed_in(door, Who.IN_PERSON)), Depends(signed_in(door))

    async def seen(asker: Asker) -> SystemView:
        """What of the report is theirs to see; NotDone where nothing is."""
        lines = lines_of(asker, Right.VIEW_SYSTEM)
        if lines is not None and not lines:
            raise NotDone(Code.NO_RIGHT)
        view = await look()
        return view if lines is None else seen_on(view, lines)

    @routes.api_route("/system", methods=READ, include_in_schema=False)
    async def system_page(request: Request, asker: Asker = here) -> Response:
        try:
            view = await seen(asker)
        except NotDone as error:
            return pages.refused(request, asker, error.code)
        reasons = [(reason, mend_of(reason)) for reason in view.reasons]
        return pages.page("system.html", request, asker=asker, here="system", view=view, reasons=reasons)

    @routes.get(f"{PREFIX}/status", summary="How the recorder stands, as far as your lines go", responses=PROBLEMS)
    async def system(asker: Asker = somebody) -> SystemView:
        return await seen(asker)

    return routes
