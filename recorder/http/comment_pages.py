"""Where the forms beside the player go: a comment at a moment of a recording, and its withdrawal.

Must not touch a table, nor decide: recorder.http.commenting does. The invariant: what is not kept is handed back to the
form that it came from, and to nobody else; what the guard refused not even there (SG-07).
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse

from recorder.catalogue import Catalogue
from recorder.comments import Comment
from recorder.http.browsing import Shown, call_shown
from recorder.http.commenting import comment_on, readable, withdrawn
from recorder.http.door import Door
from recorder.http.finding import one_call
from recorder.http.pages import Pages, handed_back
from recorder.http.places import Place, moment_of
from recorder.http.problems import MEANINGS, Code, NotDone
from recorder.http.rules import Who, fields_of, signed_in
from recorder.listening import Listen, Listening
from recorder.signing_in import Asker


def comment_page_routes(
    door: Door, listening: Listening, catalogue: Catalogue, pages: Pages, now: Callable[[], datetime]
) -> APIRouter:
    routes = APIRouter(include_in_schema=False)
    here = Depends(signed_in(door, Who.IN_PERSON))

    @routes.post("/recordings/{recording}/comment")
    async def comment_it(request: Request, recording: UUID, asker: Asker = here) -> Response:
        given = await fields_of(request)
        moment_ms = moment_of(given.get("moment", ""))
        try:
            said = await comment_on(catalogue, asker, recording, given.get("text", ""), moment_ms, now())
        except NotDone as error:
            return await _handed_back(request, asker, recording, given, error.code)
        return _back(asker, said, given)

    async def _handed_back(
        request: Request, asker: Asker, recording: UUID, given: Mapping[str, str], code: Code
    ) -> Response:
        """The page again, with what was typed; where the recording is not for them, no more than that."""
        try:
            heard = await readable(catalogue, asker, recording)
            found = await one_call(catalogue, asker, heard.audible.call)
        except NotDone as error:
            return pages.refused(request, asker, error.code)
        place = Place(call=found.call.id, recording=recording, at_ms=moment_of(given.get("moment", "")))
        status, typed = int(MEANINGS[code][0]), {**given, "text": handed_back(given.get("text", ""), code)}
        playing = _playing(asker, given)
        shown = Shown(found=found, playing=playing, place=place, code=code, typed=typed, status=status)
        return await call_shown(pages, request, asker, listening, catalogue, shown)

    @routes.post("/comments/{comment}/withdraw")
    async def withdraw(request: Request, comment: UUID, asker: Asker = here) -> Response:
        given = await fields_of(request)
        try:
            return _back(asker, await withdrawn(catalogue, asker, comment, now()), given)
        except NotDone as error:
            return pages.refused(request, asker, error.code)

    def _playing(asker: Asker, given: Mapping[str, str]) -> Listen | None:
        try:
            return listening.find(asker, UUID(given.get("listen", "")))
        except ValueError:
            return None

    def _back(asker: Asker, comment: Comment, given: Mapping[str, str]) -> Response:
        """To the recording at the comment's moment, with the player where it is open still."""
        playing = _playing(asker, given)
        place = Place(call=comment.call, recording=comment.recording, at_ms=comment.moment_ms)
        fields = {"recording": str(comment.recording)} | place.moment
        fields |= {} if playing is None else {"listen": str(playing.id)}
        return RedirectResponse(f"/calls/{comment.call}?{urlencode(fields)}#comments-{comment.recording}", 303)

    return routes
