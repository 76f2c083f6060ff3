"""Who may come to which route at all: each route has exactly one of these rules, and a test finds one that has none.

Must not know what lies behind a route. The invariants: what a browser changes it was asked to by a page of ours; a rule
that is not met says so before anything else is done.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from typing import Final
from urllib.parse import parse_qs

from fastapi import HTTPException, Request

from recorder.http.door import COOKIE, FORWARDING_HEADERS, Door, is_from_here, is_private, is_stamped
from recorder.http.problems import Code, NotDone
from recorder.signing_in import Asker

SAFE: Final = frozenset({"GET", "HEAD"})
STAMP_HEADER: Final = "x-recorder-stamp"
STAMP_FIELD: Final = "stamp"
FORM: Final = "application/x-www-form-urlencoded"
FORM_LONGEST: Final = 8192  # bytes


class Who(StrEnum):
    """For whom a route is."""

    ANYONE = "anyone"
    MONITOR = "monitor"  # this machine, or whoever has the token of the settings
    SIGNED_IN = "signed in"  # also by a token; what they may there is asked for each call, line or recording
    IN_PERSON = "signed in by a password"
    CHANGING = "signed in by a password, also by one that is to be changed"


class MustSignIn(Exception):
    """Nobody has shown who asks. A page answers with the way to sign in."""


class MustChange(Exception):
    """They have to change their password first."""


class Forged(Exception):
    """A browser sent it, and no page of ours asked it to."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A route's dependency: raises one of the above, or HTTPException, or lets in and says who asks."""

    who: Who
    lets_in: Callable[[Request], Awaitable[Asker | None]]

    async def __call__(self, request: Request) -> Asker | None:
        return await self.lets_in(request)


def anyone() -> Rule:
    async def lets_in(_: Request) -> None:
        return None

    return Rule(Who.ANYONE, lets_in)


def monitor(token: str | None) -> Rule:
    async def lets_in(request: Request) -> None:
        if not may_monitor(request, token):
            raise HTTPException(401, "from this machine, or with a token", {"WWW-Authenticate": "Bearer"})

    return Rule(Who.MONITOR, lets_in)


def signed_in(door: Door, who: Who = Who.SIGNED_IN) -> Rule:
    async def lets_in(request: Request) -> Asker:
        asker = await door.asker(request)
        if asker is None or (asker.session is None and who is not Who.SIGNED_IN):
            raise MustSignIn
        if asker.token is not None and not is_private(request):
            raise NotDone(Code.NOT_ENCRYPTED)
        if request.method not in SAFE and asker.session is not None and not await _is_ours(request):
            raise Forged
        if asker.must_change and who is not Who.CHANGING:
            raise MustChange
        return asker

    return Rule(who, lets_in)


async def _is_ours(request: Request) -> bool:
    """A browser sends its secret along with whatever a page makes it send: the page must be ours."""
    stamp = request.headers.get(STAMP_HEADER)
    if stamp is None:
        stamp = (await fields_of(request)).get(STAMP_FIELD)
    return stamp is not None and is_stamped(request.cookies.get(COOKIE, ""), stamp) and is_from_here(request)


async def fields_of(request: Request) -> dict[str, str]:
    """The fields of a form, each once; nothing where it is no form, or too long to be one of ours."""
    if not request.headers.get("content-type", "").startswith(FORM):
        return {}
    length = request.headers.get("content-length", "")
    if not length.isascii() or not length.isdecimal() or int(length) > FORM_LONGEST:
        return {}
    try:
        read = parse_qs((await request.body()).decode(), keep_blank_values=True, max_num_fields=20)
    except ValueError:
        return {}
    return {name: values[0] for name, values in read.items()}


def may_monitor(request: Request, token: str | None) -> bool:
    """Whether the request comes from this machine itself, or bears the token of the settings."""
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
