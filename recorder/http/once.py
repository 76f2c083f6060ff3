"""Idempotency-Key: whoever does not know whether their request was taken sends it again, and nothing is done twice.

The only one that reads that header, and says on which routes it counts. Must not do what is asked, nor keep a secret or
anything that somebody typed. The invariants: with one key one asking is begun, whatever dies meanwhile; in doubt what
became of it is said to be unknown, and nothing is done again.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from datetime import datetime
from enum import Enum, auto
from functools import partial
from typing import Any, Final
from uuid import UUID, uuid4

import structlog
from fastapi import FastAPI, Request, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from recorder.catalogue import Asking, Catalogue, CatalogueError, KeptAnswer
from recorder.http.api import PREFIX
from recorder.http.contesting import ContestView
from recorder.http.door import ASKED_WITHIN, Door, is_private
from recorder.http.problems import Code, answered
from recorder.signing_in import Asker

log = structlog.get_logger(__name__)

HEADER: Final = "Idempotency-Key"
KEY: Final = re.compile(r"[!-~](?:[ -~]{0,62}[!-~])?")
LONGEST: Final = 64 * 1024
"""In bytes, of what is read before it is passed on: as for every request (app.py)."""


class Keeps(Enum):
    """What is kept of an answer."""

    ANSWER = auto()
    CONTEST = auto()  # its id alone: what was typed stands in its own table
    NOTHING = auto()  # but that it was done


_ONE: Final = "[^/]+"
ROUTES: Final[dict[str, Keeps]] = {
    "/live/{call}/{act}": Keeps.ANSWER,
    "/live/{call}/override/{reason}": Keeps.ANSWER,
    "/recordings/{recording}/listens": Keeps.ANSWER,
    "/own/calls/{call}/contests": Keeps.CONTEST,
    "/contests/{contest}/answer": Keeps.CONTEST,
    "/recordings/{recording}/comments": Keeps.NOTHING,  # a comment may be withdrawn, and its text with it
    "/comments/{comment}/withdraw": Keeps.NOTHING,
    "/searches": Keeps.NOTHING,  # whoever removes one removes it for good
    "/users": Keeps.ANSWER,
    "/users/{name}/password": Keeps.NOTHING,
    "/users/{name}/{deed}": Keeps.ANSWER,
}
"""Every POST that makes or changes something. The first that fits; /users/{name}/password is a deed of the last."""
_PATTERNS: Final = [(re.compile(PREFIX + re.sub(r"{\w+}", _ONE, path)), keeps) for path, keeps in ROUTES.items()]
KEPT: Final = frozenset({200, 201, 409, 504})
"""What something may have been done by. A 5xx that is none of ours to give leaves it unknown."""


def describe(app: FastAPI) -> None:
    """Have the document say on which routes the header counts."""
    made = app.openapi
    described = {PREFIX + path for path in ROUTES}
    parameter = {
        "name": HEADER,
        "in": "header",
        "required": False,
        "description": "With the same key, within a day, the same is answered and nothing is done again.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 64},
    }

    def openapi() -> dict[str, Any]:
        is_new = app.openapi_schema is None
        document = made()
        for path, operations in document["paths"].items() if is_new else ():
            if path in described and "post" in operations:
                operation = operations["post"]
                operation.setdefault("parameters", []).append(parameter)
                operation["responses"].setdefault("409", operation["responses"]["404"])
        return document

    app.openapi = openapi  # type: ignore[method-assign]


class Once:
    """Stands before the routes; passes on whatever has no such header, and whatever no route of ROUTES is for."""

    def __init__(self, app: ASGIApp, door: Door, catalogue: Catalogue, now: Callable[[], datetime]) -> None:
        self._app = app
        self._door = door
        self._catalogue = catalogue
        self._now = now

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        keeps = _keeps(scope)
        request = Request(scope)
        key = request.headers.get(HEADER) if keeps is not None else None
        if keeps is None or key is None:
            await self._app(scope, receive, send)
            return
        if KEY.fullmatch(key) is None:
            await answered(Code.INVALID)(scope, receive, send)
            return
        try:
            asker = await self._door.asker(request, sees=False)
            if asker is None or asker.must_change or (asker.token is not None and not is_private(request)):
                await self._app(scope, receive, send)  # the route's own rule refuses them
                return
            body = await _whole(receive)
            if body is None:
                await answered(Code.INVALID)(scope, receive, send)
                return
            asking = asking_of(asker, scope, key, body, self._now())
            before = await self._catalogue.begin_asking(asking, ASKED_WITHIN)
        except CatalogueError as error:
            log.warning("page_not_answered", path=PREFIX, why=str(error))
            await answered(Code.CATALOGUE_AWAY)(scope, receive, send)
            return
        if before is not None:
            await (await self._again(asking, before, keeps))(scope, receive, send)
            return
        await self._begin(asking, keeps, scope, body, receive, send)

    async def _begin(
        self, asking: Asking, keeps: Keeps, scope: Scope, body: bytes, receive: Receive, send: Send
    ) -> None:
        """Have it done, and keep what it is answered before whoever asked hears it."""
        parts: list[Message] = []

        async def keep(part: Message) -> None:
            parts.append(part)

        await self._app(scope, partial(_again_from, [body], receive), keep)
        status = next(int(part["status"]) for part in parts if part["type"] == "http.response.start")
        said = b"".join(part.get("body", b"") for part in parts if part["type"] == "http.response.body")
        try:
            if status in KEPT:
                await self._catalogue.finish_asking(asking.digest, status, kept_of(status, said, keeps), ASKED_WITHIN)
            elif status < 500:
                await self._catalogue.forget_asking(asking.digest, ASKED_WITHIN)
        except CatalogueError as error:  # it is done, and whoever asks again is told that nobody knows
            log.warning("answer_not_kept", why=str(error))
        for part in parts:
            await send(part)

    async def _again(self, asking: Asking, before: KeptAnswer, keeps: Keeps) -> Response:
        """What was answered to the same asking, nothing being done."""
        if before.body != asking.body:
            return answered(Code.KEY_REUSED)
        if before.status is None:
            return answered(Code.IN_WORK)
        if before.answer is None:
            return answered(Code.ANSWER_NOT_KEPT)
        if before.status >= 400:
            return answered(Code(json.loads(before.answer)["code"]))
        said = before.answer
        if keeps is Keeps.CONTEST:
            try:
                contest = await self._catalogue.contest(UUID(before.answer), ASKED_WITHIN)
            except CatalogueError:
                return answered(Code.CATALOGUE_AWAY)
            if contest is None:
                return answered(Code.ANSWER_NOT_KEPT)
            said = ContestView.of(contest).model_dump_json()
        return Response(said, before.status, media_type="application/json")


def kept_of(status: int, said: bytes, keeps: Keeps) -> str | None:
    """What of an answer may lie in the catalogue for a day. A problem holds nothing that somebody sent."""
    if status >= 400:
        return said.decode()
    if keeps is Keeps.CONTEST:
        return str(json.loads(said)["id"])
    return said.decode() if keeps is Keeps.ANSWER else None


def asking_of(asker: Asker, scope: Scope, key: str, body: bytes, at: datetime) -> Asking:
    """By digests: the key is as good as secret, and so is what a short body says only together with it."""
    whose = json.dumps([asker.user.name, scope["path"], key]).encode()
    digest = hashlib.sha256(whose).hexdigest()
    return Asking(id=uuid4(), digest=digest, body=hashlib.sha256(whose + b"\0" + body).hexdigest(), at=at)


def _keeps(scope: Scope) -> Keeps | None:
    if scope["type"] != "http" or scope["method"] != "POST":
        return None
    return next((keeps for pattern, keeps in _PATTERNS if pattern.fullmatch(scope["path"])), None)


async def _whole(receive: Receive) -> bytes | None:
    """All that is sent; None where it is longer than a request may be, or breaks off."""
    body = b""
    while True:
        part = await receive()
        if part["type"] != "http.request":
            return None
        body += bytes(part.get("body", b""))
        if len(body) > LONGEST:
            return None
        if not part.get("more_body", False):
            return body


async def _again_from(left: list[bytes], receive: Receive) -> Message:
    """What was read already, once, and then whatever else comes."""
    if left:
        return {"type": "http.request", "body": left.pop(), "more_body": False}
    return await receive()
