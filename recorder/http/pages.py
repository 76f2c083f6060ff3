"""The pages: signing in and out, the password, and the calls in progress. Rendered here, with a little script.

Must not touch the PBX or a table. The invariants: every word is in every language; what a script does a form does too.
"""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from functools import cache
from importlib import resources
from typing import Any, Final
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from jinja2 import Environment, PackageLoader, StrictUndefined

from recorder.http.api import TOLD, held, one_more, override, press
from recorder.http.door import COOKIE, Door, Entered, Unlet, is_from_here, is_private, stamp_of
from recorder.http.places import place_of, seconds_of
from recorder.http.problems import MEANINGS, Code, NotDone
from recorder.http.rules import Forged, Who, anyone, fields_of, signed_in
from recorder.http.watching import Told, Watching
from recorder.http.words import LANGUAGES, Words, language_of
from recorder.live import Heard, Live
from recorder.model import CallId, KeyAct, OverrideReason
from recorder.rights import EVERY_LINE, Right
from recorder.signing_in import FEWEST_DIFFERENT, LONGEST_PASSWORD, SHORTEST_PASSWORD, Asker

LANGUAGE_COOKIE: Final = "recorder_language"
A_YEAR: Final = 365 * 24 * 3600
SCRIPT_HEADER: Final = "x-recorder-script"
READ: Final = ["GET", "HEAD"]
TELLABLE: Final = (
    Code.NOT_PERMITTED,
    Code.NO_RIGHT,
    Code.CALL_OVER,
    Code.NO_AGENT,
    Code.REFUSED,
    Code.STOPPED,
    Code.UNCONFIRMED,
    Code.FORGED,
    Code.CATALOGUE_AWAY,
    Code.NOT_SIGNED_IN,
    Code.NOT_FOUND,
    Code.NOT_ALLOWED,
    Code.SEALED,
    Code.NOT_SETTLED,
    Code.ANOTHER_PURPOSE,
    Code.UNEXPLAINED,
    Code.SENSITIVE,
    Code.NO_SOUND,
    Code.NOT_PROVABLE,
    Code.TOO_MANY,
    Code.TOO_MANY_OPEN,
    Code.ANSWERED,
    Code.NOT_BY_YOU,
    Code.INVALID,
    Code.NUMBERS_NOT_KEPT,
    Code.NO_NUMBER,
    Code.ON_ONESELF,
    Code.OTHER_HALF,
    Code.TELEPHONE_TAKEN,
    Code.ALREADY_SO,
    Code.UNHEARD,
    Code.NO_MOMENT,
    Code.NO_MORE,
    Code.NAMED,
    Code.NUMBER_IN_IT,
)
"""What a page can say in words; nothing else happens on one."""
ANSWERS: Final = ("paused", "resumed", "resumed_unheard", "stopped", "erased", "personal", "captured")
SAID: Final = frozenset((*(f"answer.{word}" for word in ANSWERS), *(f"problem.{code}" for code in TELLABLE)))
STATIC: Final = {
    "recorder.css": "text/css",
    "live.js": "text/javascript",
    "listen.js": "text/javascript",
    "player.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
WAYS: Final = {
    "calls": frozenset({Right.SEARCH}),
    "own": frozenset({Right.OWN_CALLS}),
    "contests": frozenset({Right.OWN_CALLS, Right.ANSWER_CONTEST}),
    "figures": frozenset({Right.SEARCH}),
    "system": frozenset({Right.VIEW_SYSTEM}),
}
"""The pages that are open to who has one of these rights on some line."""
WAYS_OF_THE_HOUSE: Final = {"settings": Right.VIEW_SETTINGS, "users": Right.VIEW_USERS}
"""And those that take it on every line."""
LIMITS: Final = {"shortest": SHORTEST_PASSWORD, "longest": LONGEST_PASSWORD, "different": FEWEST_DIFFERENT}


class Pages:
    """Renders a page for a request, in its language."""

    def __init__(self) -> None:
        self._made = Environment(
            loader=PackageLoader("recorder.http"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._made.filters |= {
            "clock": _clock,
            "day_and_clock": _day_and_clock,
            "lasting": _lasting,
            "seconds": _seconds,
            "in_words": _purpose,
            "gigabytes": _gigabytes,
            "percent": _percent,
            "moment": _moment,
            "in_seconds": seconds_of,
        }

    def page(self, name: str, request: Request, status: int = 200, **said: Any) -> HTMLResponse:
        return HTMLResponse(self.text(name, request, **said), status)

    def refused(self, request: Request, asker: Asker, code: Code) -> HTMLResponse:
        return self.page("problem.html", request, int(MEANINGS[code][0]), asker=asker, code=code)

    def text(self, name: str, request: Request, **said: Any) -> str:
        secret = request.cookies.get(COOKIE, "")
        given = {
            "asker": None,
            "here": "",
            "why": "",
            "said": "",
            "is_wrong": False,
            "stamp": stamp_of(secret),
            "path": request.url.path,
            "ways": ways_of(said.get("asker")),
        }
        return self._made.get_template(name).render(t=words_for(request), **given | said)


def ways_of(asker: Asker | None) -> frozenset[str]:
    """Which of the pages that not everybody has are open to somebody: their names, as they stand in an address."""
    if asker is None:
        return frozenset()
    rights = {right for right, _ in held(asker)}
    on_some = {way for way, open_to in WAYS.items() if open_to & rights}
    return frozenset(on_some | {way for way, right in WAYS_OF_THE_HOUSE.items() if asker.may(right, EVERY_LINE)})


def words_for(request: Request) -> Words:
    chosen, accepted = request.cookies.get(LANGUAGE_COOKIE), request.headers.get("accept-language", "")
    return Words(language_of(chosen, accepted))


def page_routes(door: Door, live: Live, watching: Watching, pages: Pages) -> APIRouter:
    """Signing in, the calls in progress, and what the pages are made with."""
    routes = APIRouter(include_in_schema=False)
    _signing_in(routes, door, pages)
    _calls(routes, door, live, watching, pages)

    @routes.api_route("/", methods=READ, dependencies=[Depends(anyone())])
    async def first() -> Response:
        return RedirectResponse("/live", 303)

    @routes.api_route("/language/{language}", methods=READ, dependencies=[Depends(anyone())])
    async def speak(language: str, back: str = "/") -> Response:
        is_ours = back.startswith("/") and not back.startswith(("//", "/\\"))
        answer = RedirectResponse(back if is_ours else "/", 303)
        if language in LANGUAGES:
            answer.set_cookie(LANGUAGE_COOKIE, language, max_age=A_YEAR, httponly=True, samesite="lax")
        return answer

    @routes.api_route("/static/{name}", methods=READ, dependencies=[Depends(anyone())])
    async def static(name: str) -> Response:
        kind = STATIC.get(name)
        if kind is None:
            return Response(status_code=404)
        return Response(_static(name), media_type=kind, headers={"cache-control": "max-age=300"})

    return routes


def _signing_in(routes: APIRouter, door: Door, pages: Pages) -> None:
    """The ways in and out. What they change comes from a page of ours, as far as a browser says."""
    here = Depends(signed_in(door, Who.CHANGING))

    @routes.api_route("/sign-in", methods=READ, dependencies=[Depends(anyone())])
    async def sign_in_page(request: Request, back: str = "") -> Response:
        why = "" if is_private(request) else Unlet.NOT_HERE
        leading = _leading_back(back)
        return pages.page("sign_in.html", request, 200, why=why, **leading)

    @routes.post("/sign-in", dependencies=[Depends(anyone())])
    async def sign_in(request: Request) -> Response:
        if not is_from_here(request):
            raise Forged
        if not is_private(request):
            return pages.page("sign_in.html", request, 403, why=Unlet.NOT_HERE, back="")
        given = await fields_of(request)
        leading = _leading_back(given.get("back", ""))
        entered = await door.sign_in(given.get("name", "").strip(), given.get("password", ""), _address(request))
        if isinstance(entered, Unlet):
            return pages.page("sign_in.html", request, STATUS[entered], why=entered, **leading)
        return _let_in(request, entered, "/password" if entered.asker.must_change else leading["back"] or "/live")

    @routes.post("/sign-out")
    async def sign_out(request: Request, asker: Asker = here) -> Response:
        await door.sign_out(asker, _address(request))
        answer = RedirectResponse("/sign-in", 303)
        answer.delete_cookie(COOKIE)
        return answer

    @routes.api_route("/password", methods=READ)
    async def password_page(request: Request, saved: bool = False, asker: Asker = here) -> Response:
        return pages.page("password.html", request, asker=asker, here="password", saved=saved, **LIMITS)

    @routes.post("/password")
    async def change_password(request: Request, asker: Asker = here) -> Response:
        changed = await _changed(request, door, asker)
        if isinstance(changed, Entered):
            return _let_in(request, changed, "/password?saved=true")
        why = words_for(request)(changed, **LIMITS)
        return pages.page("password.html", request, 422, asker=asker, here="password", saved=False, why=why, **LIMITS)


def _leading_back(address: str) -> dict[str, str]:
    """Where signing in leads, and the sign-in page's own address with that: nowhere but to a moment of a recording."""
    place = place_of(address)
    back = "" if place is None else place.address
    return {"back": back, "path": f"/sign-in?{urlencode({'back': back})}" if back else "/sign-in"}


async def _changed(request: Request, door: Door, asker: Asker) -> Entered | str:
    """Somebody signed in with their new password, or the words' key for why it is not theirs."""
    given = await fields_of(request)
    new = given.get("new", "")
    if new != given.get("again", ""):
        return "password.differ"
    changed = await door.change_password(asker, given.get("old", ""), new, _address(request))
    if isinstance(changed, Entered):
        return changed
    return f"sign_in.{changed}" if changed in (Unlet.LOCKED, Unlet.BUSY) else f"password.{changed}"


STATUS: Final = {Unlet.WRONG: 401, Unlet.LOCKED: 429, Unlet.BUSY: 503, Unlet.NOT_HERE: 403, Unlet.UNCHANGED: 403}


def _let_in(request: Request, entered: Entered, to: str) -> Response:
    answer = RedirectResponse(to, 303)
    is_encrypted = request.url.scheme == "https"
    answer.set_cookie(COOKIE, entered.secret, httponly=True, samesite="lax", secure=is_encrypted)
    return answer


def _calls(routes: APIRouter, door: Door, live: Live, watching: Watching, pages: Pages) -> None:
    """The calls in progress, and the buttons on them."""
    rule = signed_in(door, Who.IN_PERSON)
    here, watcher = Depends(rule), Depends(one_more(watching, rule))

    @routes.api_route("/live", methods=READ)
    async def calls(request: Request, said: str = "", asker: Asker = here) -> Response:
        done = said if said in SAID else ""
        return pages.page(
            "live.html",
            request,
            asker=asker,
            here="live",
            shown=await watching.shown(asker),
            said=words_for(request)(done) if done else "",
            is_wrong=done.startswith("problem."),
        )

    @routes.get("/live/changes", response_class=EventSourceResponse)
    async def changes(request: Request, asker: Asker = watcher) -> AsyncIterator[ServerSentEvent]:
        async for told in watching.changes(asker, lambda: door.asker(request, sees=False)):
            if isinstance(told, Told):
                yield TOLD[told]
            else:
                yield ServerSentEvent(event="calls", raw_data=pages.text("_calls.html", request, shown=told))

    @routes.post("/live/{call}/{act}")
    async def press_it(request: Request, call: UUID, act: KeyAct, asker: Asker = here) -> Response:
        try:
            answer, heard = await press(live, watching, asker, CallId(call), act)
        except NotDone as error:
            status, said = int(MEANINGS[error.code][0]), f"problem.{error.code}"
        else:
            status, said = 200, f"answer.{answer}"
            if act is KeyAct.RESUME and heard is not Heard.CAPTURED:
                said = "answer.resumed_unheard"  # no pause keeps it silent any more, and something else does
        if SCRIPT_HEADER in request.headers:
            return Response(words_for(request)(said), status, media_type="text/plain")
        return RedirectResponse(f"/live?said={said}", 303)

    @routes.api_route("/live/{call}/override/{reason}", methods=READ)
    async def override_page(request: Request, call: UUID, reason: OverrideReason, asker: Asker = here) -> Response:
        shown = await watching.one(asker, CallId(call))
        if shown is None:
            return pages.refused(request, asker, Code.CALL_OVER)
        if not shown.may_override:
            return pages.refused(request, asker, Code.NOT_PERMITTED)
        terms = live.terms(CallId(call), reason)
        if terms is None or reason not in shown.reasons:
            return pages.refused(request, asker, Code.REFUSED)
        return pages.page("override.html", request, asker=asker, here="live", one=shown, terms=terms)

    @routes.post("/live/{call}/override/{reason}")
    async def override_it(request: Request, call: UUID, reason: OverrideReason, asker: Asker = here) -> Response:
        try:
            await override(live, watching, asker, CallId(call), reason)
        except NotDone as error:
            if wants_words(request):
                return problem_words(request, error.code)
            return RedirectResponse(f"/live?said=problem.{error.code}", 303)
        return RedirectResponse("/live?said=answer.captured", 303)


def handed_back(text: str, code: Code | None) -> str:
    """What a form has again of a text that was not kept: nothing where the guard refused it (SG-07)."""
    return "" if code is Code.SENSITIVE else text


def wants_words(request: Request) -> bool:
    """Whether it is the pages' own script that asks: it shows what it is answered."""
    return SCRIPT_HEADER in request.headers


def problem_words(request: Request, code: Code) -> Response:
    """What the script shows in place of what was asked for."""
    return Response(words_for(request)(f"problem.{code}"), int(MEANINGS[code][0]), media_type="text/plain")


def problem_page(request: Request, code: Code) -> Response:
    """What a person reads in place of a page that cannot be had."""
    return Pages().page("problem.html", request, int(MEANINGS[code][0]), code=code)


def _address(request: Request) -> str:
    return request.client.host[:64] if request.client is not None else ""


@cache
def _static(name: str) -> bytes:
    return resources.files("recorder.http").joinpath("static", name).read_bytes()


def _clock(at: datetime) -> str:
    """As the recorder's own machine has it."""
    return f"{at.astimezone():%H:%M:%S}"


def _day_and_clock(at: datetime) -> str:
    return f"{at.astimezone():%Y-%m-%d %H:%M:%S}"


def _lasting(time: timedelta) -> str:
    return _seconds(time.total_seconds())


def _seconds(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole // 60}:{whole % 60:02}"


def _moment(milliseconds: int) -> str:
    """As a player's clock has it: the second in which it lies."""
    return f"{milliseconds // 60_000}:{milliseconds // 1000 % 60:02}"


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f}"


def _percent(share: float) -> int:
    return round(100 * share)


def _purpose(purpose: str, words: Words) -> str:
    """A house may have purposes of its own, which have no words of ours."""
    return words.get(f"purpose.{purpose}") or purpose.replace("_", " ")
