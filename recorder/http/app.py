"""The application: the routes for monitors, whatever else is handed in, and what every answer bears.

/healthz answers anyone; what tells more answers loopback or a token, and nobody else. A request that came through a
proxy looks like loopback: where a forwarding header says so, it needs the token too.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

import structlog
from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from recorder import __version__
from recorder.catalogue import CatalogueError
from recorder.http.api import PREFIX
from recorder.http.once import describe
from recorder.http.pages import TELLABLE, problem_page, problem_words, wants_words
from recorder.http.places import place_of
from recorder.http.problems import Code, NotDone, answered
from recorder.http.rules import Forged, MustChange, MustSignIn, anyone, monitor
from recorder.status import Status

log = structlog.get_logger(__name__)

HEADERS: Final = {
    # Nothing of another's runs, frames or is loaded on a page of ours, and no form of ours goes elsewhere.
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; connect-src 'self';"
        " form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "cache-control": "no-store",
}
ENCRYPTED: Final = {"strict-transport-security": "max-age=31536000"}
BODY_LONGEST: Final = 64 * 1024
"""In bytes, of a request: it is read before anybody is asked who they are."""
MONITORS: Final = ("/healthz", "/readyz", "/status", "/metrics")
CODES: Final = {401: Code.NOT_SIGNED_IN, 403: Code.NOT_PERMITTED, 404: Code.NOT_FOUND, 405: Code.NOT_ALLOWED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """Where the answers to monitors come from. `hindrances` must be cheap: monitors ask every second.

    `count` is awaited before the figures are read: what they tell of the catalogue is then at most seconds old.
    """

    status: Callable[[], Awaitable[Status]]
    hindrances: Callable[[], tuple[str, ...]]
    count: Callable[[], Awaitable[None]]
    figures: CollectorRegistry
    token: str | None


def make_app(answers: Answers, *rooms: APIRouter, once: Callable[[ASGIApp], ASGIApp] | None = None) -> FastAPI:
    """The application, without a page of its own documentation; `rooms` are the routes for people and programs.

    `once` stands before them, for who may ask the same again (once.py).
    """
    app = FastAPI(
        title="recorder",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        max_body_size=BODY_LONGEST,
    )
    app.include_router(_for_monitors(answers))
    for room in rooms:
        app.include_router(room)
    _explain(app)
    if once is not None:
        app.add_middleware(once)
    describe(app)
    app.add_middleware(Headers)
    return app


def _for_monitors(answers: Answers) -> APIRouter:
    routes = APIRouter(include_in_schema=False)
    guarded = [Depends(monitor(answers.token))]

    @routes.api_route("/healthz", methods=["GET", "HEAD"], dependencies=[Depends(anyone())])
    async def healthz() -> dict[str, str]:
        return {"state": "alive"}

    @routes.api_route("/readyz", methods=["GET", "HEAD"], dependencies=guarded)
    async def readyz(response: Response) -> dict[str, object]:
        reasons = answers.hindrances()
        response.status_code = 503 if reasons else 200
        return {"ready": not reasons, "reasons": list(reasons)}

    @routes.api_route("/status", methods=["GET", "HEAD"], dependencies=guarded)
    async def status() -> Status:
        return await answers.status()

    @routes.api_route("/metrics", methods=["GET", "HEAD"], dependencies=guarded)
    async def metrics() -> Response:
        await answers.count()
        return Response(generate_latest(answers.figures), media_type=CONTENT_TYPE_LATEST)

    return routes


def _explain(app: FastAPI) -> None:
    """What is not done is answered as a problem; a page that nobody signed in asked for, by the way to sign in."""

    @app.exception_handler(NotDone)
    async def not_done(_: Request, error: NotDone) -> Response:
        return answered(error.code)

    @app.exception_handler(MustSignIn)
    async def must_sign_in(request: Request, _: MustSignIn) -> Response:
        if wants_words(request):
            return problem_words(request, Code.NOT_SIGNED_IN)
        if _is_page(request):
            return Response(status_code=303, headers={"location": f"/sign-in{_back_to(request)}"})
        return answered(Code.NOT_SIGNED_IN)

    @app.exception_handler(MustChange)
    async def must_change(request: Request, _: MustChange) -> Response:
        if _is_page(request):
            return Response(status_code=303, headers={"location": "/password"})
        return answered(Code.MUST_CHANGE)

    @app.exception_handler(Forged)
    async def forged(request: Request, _: Forged) -> Response:
        return _said(request, Code.FORGED)

    @app.exception_handler(CatalogueError)
    async def away(request: Request, error: CatalogueError) -> Response:
        log.warning("page_not_answered", path=request.scope["route"].path, why=str(error))
        return _said(request, Code.CATALOGUE_AWAY)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, __: RequestValidationError) -> Response:
        return answered(Code.INVALID)

    @app.exception_handler(HTTPException)
    async def failed(request: Request, error: HTTPException) -> Response:
        code = CODES.get(error.status_code)
        if code in TELLABLE and request.url.path not in MONITORS:
            return _said(request, code)
        return JSONResponse({"detail": error.detail}, error.status_code, error.headers)


def _back_to(request: Request) -> str:
    """What the way in carries along, so that it leads to the moment of a recording that was asked for."""
    place = place_of(f"{request.url.path}?{request.url.query}") if request.method == "GET" else None
    return "" if place is None else f"?{urlencode({'back': place.address})}"


def _said(request: Request, code: Code) -> Response:
    """To a program as a problem, to a person as a page, to the pages' own script as words."""
    if not _is_page(request):
        return answered(code)
    return problem_words(request, code) if wants_words(request) else problem_page(request, code)


def _is_page(request: Request) -> bool:
    return not request.url.path.startswith(PREFIX)


class Headers:
    """What every answer bears, a problem too."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(part: Message) -> None:
            if part["type"] == "http.response.start":
                headers = MutableHeaders(scope=part)
                for name, value in (HEADERS | (ENCRYPTED if scope["scheme"] == "https" else {})).items():
                    headers.setdefault(name, value)
            await send(part)

        await self._app(scope, receive, with_headers)
