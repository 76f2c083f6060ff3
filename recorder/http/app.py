"""The routes. /healthz answers anyone; what tells more answers loopback or a token, and nobody else.

A request that came through a proxy looks like loopback: where a forwarding header says so, it needs the token too.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from ipaddress import ip_address

from fastapi import Depends, FastAPI, HTTPException, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from recorder.status import Status

FORWARDING_HEADERS = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "via")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """Where the answers come from. `hindrances` must be cheap: monitors ask every second.

    `count` is awaited before the figures are read: what they tell of the catalogue is then at most seconds old.
    """

    status: Callable[[], Awaitable[Status]]
    hindrances: Callable[[], tuple[str, ...]]
    count: Callable[[], Awaitable[None]]
    figures: CollectorRegistry
    token: str | None


def make_app(answers: Answers) -> FastAPI:
    """The application, without a page of its own documentation."""
    app = FastAPI(title="recorder", docs_url=None, redoc_url=None, openapi_url=None)

    def admitted(request: Request) -> None:
        if not may_ask(request, answers.token):
            raise HTTPException(401, "from this machine, or with a token", {"WWW-Authenticate": "Bearer"})

    @app.api_route("/healthz", methods=["GET", "HEAD"])
    async def healthz() -> dict[str, str]:
        return {"state": "alive"}

    @app.api_route("/readyz", methods=["GET", "HEAD"], dependencies=[Depends(admitted)])
    async def readyz(response: Response) -> dict[str, object]:
        reasons = answers.hindrances()
        response.status_code = 503 if reasons else 200
        return {"ready": not reasons, "reasons": list(reasons)}

    @app.api_route("/status", methods=["GET", "HEAD"], dependencies=[Depends(admitted)])
    async def status() -> Status:
        return await answers.status()

    @app.api_route("/metrics", methods=["GET", "HEAD"], dependencies=[Depends(admitted)])
    async def metrics() -> Response:
        await answers.count()
        return Response(generate_latest(answers.figures), media_type=CONTENT_TYPE_LATEST)

    return app


def may_ask(request: Request, token: str | None) -> bool:
    """Whether the request comes from this machine itself, or bears the token."""
    bearer = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
    if token is not None and hmac.compare_digest(bearer.encode(), token.encode()):
        return True
    forwarded = any(header in request.headers for header in FORWARDING_HEADERS)
    return not forwarded and request.client is not None and _is_loopback(request.client.host)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
