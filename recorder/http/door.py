"""Who asks, and whether they are let in: the one place where a password, a session or a token is believed.

Must not say what somebody may do there: recorder.signing_in's Asker does. The invariants: who cannot be told is nobody;
an answer never tells whether it was the name or the password that was wrong; nothing that was typed is logged or kept.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, TypeVar
from uuid import uuid4

import structlog
from fastapi import Request

from recorder import passwords
from recorder.catalogue import Catalogue
from recorder.priority import step_back
from recorder.rights import NAME
from recorder.signing_in import (
    SEEN_AGAIN_AFTER,
    TOKEN_MARK,
    Asker,
    Password,
    Session,
    SignInAct,
    SignInAction,
    Weak,
    digest_of,
    locked_until,
    session_stands,
    token_stands,
    weakness,
)

log = structlog.get_logger(__name__)

T = TypeVar("T")
COOKIE: Final = "recorder_session"
ASKED_WITHIN: Final = timedelta(seconds=2)
"""Of the catalogue, for one request."""
WAIT_AT_MOST: Final = 20
"""So many wait for their password to be looked at; who comes beyond that is asked to try again."""
TRIES_MOST: Final = 30
TRIES_WITHIN: Final = timedelta(minutes=15)
"""From one address, under whatever names: a centre behind one address forgets fewer passwords than that."""
ADDRESSES_MOST: Final = 10_000


class Unlet(StrEnum):
    """Why somebody was not signed in."""

    WRONG = "wrong"  # the name or the password
    LOCKED = "locked"
    BUSY = "busy"
    NOT_HERE = "not_here"  # a password does not go over a line on which others can read it


@dataclass(frozen=True, slots=True, kw_only=True)
class Entered:
    """Somebody who has just signed in. `secret` is for their browser alone."""

    asker: Asker
    secret: str


class Door:
    """CatalogueError passes from every method: without the catalogue nobody is let in."""

    def __init__(self, catalogue: Catalogue, now: Callable[[], datetime]) -> None:
        self._catalogue = catalogue
        self._now = now
        self._hashing = ThreadPoolExecutor(1, thread_name_prefix="passwords", initializer=step_back)
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._tries: OrderedDict[str, deque[datetime]] = OrderedDict()

    def close(self) -> None:
        self._hashing.shutdown(wait=False, cancel_futures=True)

    # ---- who asks

    async def asker(self, request: Request) -> Asker | None:
        """Who asks, by a token or by the browser's secret; None for nobody."""
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        if scheme.casefold() == "bearer" and bearer.strip().startswith(TOKEN_MARK):
            return await self._by_token(bearer.strip())
        secret = request.cookies.get(COOKIE)
        return await self.by_secret(secret) if secret else None

    async def by_secret(self, secret: str) -> Asker | None:
        """Whose session it is that this secret stands for, if it still stands."""
        found = await self._catalogue.session_of(digest_of(secret), ASKED_WITHIN)
        if found is None:
            return None
        session, known = found
        now = self._now()
        if known.user is None or known.password is None:
            return None
        if not session_stands(session, known.password, known.user, now):
            return None
        if now - session.seen_at >= SEEN_AGAIN_AFTER:
            await self._catalogue.see_session(session.digest, now, ASKED_WITHIN)
        return Asker(user=known.user, session=session, must_change=known.password.must_change)

    async def _by_token(self, secret: str) -> Asker | None:
        found = await self._catalogue.token_of(digest_of(secret), ASKED_WITHIN)
        if found is None:
            return None
        token, user = found
        return Asker(user=user, token=token) if user is not None and token_stands(token, user, self._now()) else None

    # ---- in and out

    async def sign_in(self, name: str, password: str, address: str) -> Entered | Unlet:
        """Let somebody in who knows the password, or count that they did not."""
        if self._has_tried_enough(address):
            return Unlet.LOCKED
        return await self._in_turn(lambda: self._sign_in(name, password, address))

    async def _sign_in(self, name: str, password: str, address: str) -> Entered | Unlet:
        now = self._now()
        is_name = NAME.fullmatch(name) is not None
        known = await self._catalogue.who_signs_in(name, now, ASKED_WITHIN) if is_name else None
        if known is not None and locked_until(known.acts, now) is not None:
            return Unlet.LOCKED
        kept = known.password.kept if known is not None and known.password is not None else None
        is_right = await self._hashed(lambda: passwords.is_right(kept, password))
        user = known.user if known is not None else None
        if not is_right or user is None or not user.enabled or known is None or known.password is None:
            await self._refuse(user.name if user is not None else None, address)
            return Unlet.WRONG
        if passwords.is_outdated(known.password.kept):
            await self._renew(known.password, password)
        return await self._enter(Asker(user=user, must_change=known.password.must_change), address)

    async def _enter(self, asker: Asker, address: str) -> Entered:
        now, secret, name = self._now(), secrets.token_urlsafe(32), asker.user.name
        session = Session(digest=digest_of(secret), user=name, began_at=now, seen_at=now, address=address)
        await self._catalogue.begin_session(session, self._act(name, SignInAction.SIGNED_IN, address), ASKED_WITHIN)
        asker = Asker(user=asker.user, session=session, must_change=asker.must_change)
        return Entered(asker=asker, secret=secret)

    async def _refuse(self, name: str | None, address: str) -> None:
        """The row comes before the answer: whoever tries many finds the name locked, and the tries in the log."""
        log.warning("sign_in_refused", known=name is not None, address=address)
        self._count_try(address)
        act = SignInAct(id=uuid4(), at=self._now(), user=name, action=SignInAction.REFUSED, actor=None, address=address)
        await self._catalogue.write_sign_in(act, ASKED_WITHIN)

    async def _renew(self, known: Password, password: str) -> None:
        kept = await self._hashed(lambda: passwords.kept(password))
        await self._catalogue.keep_hash(known.user, known.kept, kept, ASKED_WITHIN)

    async def sign_out(self, asker: Asker, address: str) -> None:
        if asker.session is not None:
            act = self._act(asker.user.name, SignInAction.SIGNED_OUT, address)
            await self._catalogue.end_session(asker.session.digest, act, ASKED_WITHIN)

    async def change_password(self, asker: Asker, old: str, new: str, address: str) -> Entered | Unlet | Weak:
        """Another password in place of the old one, which is asked for again.

        Every session of theirs ends by it, and a new one begins.
        """
        return await self._in_turn(lambda: self._change_password(asker, old, new, address))

    async def _change_password(self, asker: Asker, old: str, new: str, address: str) -> Entered | Unlet | Weak:
        known = await self._catalogue.who_signs_in(asker.user.name, self._now(), ASKED_WITHIN)
        if known.password is None:
            return Unlet.WRONG
        if locked_until(known.acts, self._now()) is not None:
            return Unlet.LOCKED
        kept = known.password.kept
        if not await self._hashed(lambda: passwords.is_right(kept, old)):
            await self._refuse(asker.user.name, address)
            return Unlet.WRONG
        weak = weakness(asker.user.name, new, old)
        if weak is not None:
            return weak
        made = await self._hashed(lambda: passwords.kept(new))
        changed = Password(user=asker.user.name, kept=made, set_at=self._now(), must_change=False)
        act = self._act(asker.user.name, SignInAction.PASSWORD_CHANGED, address)
        await self._catalogue.set_password(changed, act, ASKED_WITHIN)
        return await self._enter(Asker(user=asker.user), address)

    def _act(self, name: str, action: SignInAction, address: str) -> SignInAct:
        return SignInAct(id=uuid4(), at=self._now(), user=name, action=action, actor=name, address=address)

    async def _in_turn(self, work: Callable[[], Awaitable[T]]) -> T | Unlet:
        """One after the other, so that each counts the tries of all before it; BUSY where too many wait already."""
        if self._waiting >= WAIT_AT_MOST:
            return Unlet.BUSY
        self._waiting += 1
        try:
            async with self._turn:
                return await work()
        finally:
            self._waiting -= 1

    async def _hashed(self, work: Callable[[], T]) -> T:
        """In a thread that steps back behind all that callers need."""
        return await asyncio.get_running_loop().run_in_executor(self._hashing, work)

    def _has_tried_enough(self, address: str) -> bool:
        """Whether too much came in vain from there, under whatever names: it leaves no more rows."""
        tries = self._tries.get(address, deque())
        return sum(self._now() - at <= TRIES_WITHIN for at in tries) >= TRIES_MOST

    def _count_try(self, address: str) -> None:
        self._tries.setdefault(address, deque(maxlen=TRIES_MOST)).append(self._now())
        self._tries.move_to_end(address)
        if len(self._tries) > ADDRESSES_MOST:
            self._tries.popitem(last=False)


def stamp_of(secret: str) -> str:
    """What a page of this session puts into its forms: whoever cannot read the page cannot send the form."""
    return hmac.new(secret.encode(), b"form", hashlib.sha256).hexdigest()


def is_stamped(secret: str, stamp: str) -> bool:
    return hmac.compare_digest(stamp_of(secret).encode(), stamp.encode())


def is_from_here(request: Request) -> bool:
    """Whether a browser sends this from a page of ours, as far as it says; a program says nothing."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = request.headers.get("origin")
    return origin is None or origin == f"{request.url.scheme}://{request.headers.get('host', '')}"


def is_private(request: Request) -> bool:
    """Whether nobody on the way can read it: it is encrypted, or never leaves this machine."""
    host = request.client.host if request.client is not None else ""
    return request.url.scheme == "https" or host in ("127.0.0.1", "::1")
