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
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, TypeVar
from uuid import uuid4

import structlog
from fastapi import Request

from recorder import passwords
from recorder.catalogue import Catalogue, CatalogueError, CatalogueRefused, Known
from recorder.priority import step_back
from recorder.rights import NAME, User
from recorder.signing_in import (
    FAILURES_MOST,
    FAILURES_WITHIN,
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
REMEMBERED_MOST: Final = 10_000
SEEN_WITHIN: Final = timedelta(milliseconds=300)
NOBODY: Final = Known(user=None, password=None)
Tries = OrderedDict[str, deque[datetime]]
FORWARDING_HEADERS: Final = (
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
    "via",
)


class Unlet(StrEnum):
    """Why somebody was not signed in."""

    WRONG = "wrong"  # the name or the password
    LOCKED = "locked"
    BUSY = "busy"
    UNCHANGED = "unchanged"  # it is right, and whoever set it knows it too: it proves nothing yet
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
        self._tries: Tries = OrderedDict()  # by address
        self._strangers: Tries = OrderedDict()  # by the digest of a name that nobody has

    def close(self) -> None:
        self._hashing.shutdown(wait=False, cancel_futures=True)

    # ---- who asks

    async def asker(self, request: Request, *, sees: bool = True) -> Asker | None:
        """Who asks, by a token or by the browser's secret; None for nobody. `sees`: it is a use of their session."""
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        if scheme.casefold() == "bearer" and bearer.strip().startswith(TOKEN_MARK):
            return await self._by_token(bearer.strip())
        secret = request.cookies.get(COOKIE)
        return await self.by_secret(secret, sees=sees) if secret else None

    async def by_secret(self, secret: str, *, sees: bool = True) -> Asker | None:
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
        if sees and now - session.seen_at >= SEEN_AGAIN_AFTER:
            with suppress(CatalogueError):  # what they ask for is worth more than that they were here
                await self._catalogue.see_session(session.digest, now, SEEN_WITHIN)
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

        async def work() -> Entered | Unlet:
            known = await self._proved(name, password, address)
            return known if isinstance(known, Unlet) else await self._enter(*known, address)

        return await self._in_turn(work)

    async def prove(self, name: str, password: str, address: str) -> User | Unlet:
        """Whether it is they, without letting them in; counts what was wrong, as signing in does."""

        async def work() -> User | Unlet:
            known = await self._proved(name, password, address)
            if isinstance(known, Unlet):
                return known
            return Unlet.UNCHANGED if known[1].must_change else known[0]

        return await self._in_turn(work)

    async def _proved(self, name: str, password: str, address: str) -> tuple[User, Password] | Unlet:
        now = self._now()
        is_name = NAME.fullmatch(name) is not None
        known = await self._catalogue.who_signs_in(name, now, ASKED_WITHIN) if is_name else NOBODY
        is_locked = self._is_lockeds_name(name) if known.user is None else locked_until(known.acts, now) is not None
        if is_locked:
            return Unlet.LOCKED
        kept = known.password.kept if known.password is not None else None
        is_right = await self._hashed(lambda: passwords.is_right(kept, password))
        if not is_right or known.user is None or not known.user.enabled or known.password is None:
            await self._refuse(name, known.user, address)
            return Unlet.WRONG
        if not passwords.is_outdated(known.password.kept):
            return known.user, known.password
        return known.user, await self._renewed(known.password, password)

    async def _enter(self, user: User, password: Password, address: str) -> Entered | Unlet:
        now, secret, name = self._now(), secrets.token_urlsafe(32), user.name
        session = Session(digest=digest_of(secret), user=name, began_at=now, seen_at=now, address=address)
        act = self._act(name, SignInAction.SIGNED_IN, address)
        try:
            await self._catalogue.begin_session(session, password.kept, act, ASKED_WITHIN)
        except CatalogueRefused:  # the password was changed, or they were disabled, since we read it
            return Unlet.WRONG
        return Entered(asker=Asker(user=user, session=session, must_change=password.must_change), secret=secret)

    async def _refuse(self, name: str, user: User | None, address: str) -> None:
        """The row comes before the answer: whoever tries many finds the name locked, and the tries in the log.

        A name that nobody has is locked as any other, or it would be seen by that: it is remembered here alone.
        """
        log.warning("sign_in_refused", known=user is not None, address=address)
        _count(self._tries, address, TRIES_MOST, self._now())
        if user is None:
            _count(self._strangers, digest_of(name), FAILURES_MOST, self._now())
        act = SignInAct(
            id=uuid4(),
            at=self._now(),
            user=user.name if user is not None else None,
            action=SignInAction.REFUSED,
            actor=None,
            address=address,
        )
        await self._catalogue.write_sign_in(act, ASKED_WITHIN)

    async def _renewed(self, known: Password, password: str) -> Password:
        kept = await self._hashed(lambda: passwords.kept(password))
        await self._catalogue.keep_hash(known.user, known.kept, kept, ASKED_WITHIN)
        return replace(known, kept=kept)

    async def sign_out(self, asker: Asker, address: str) -> None:
        if asker.session is not None:
            act = self._act(asker.user.name, SignInAction.SIGNED_OUT, address)
            await self._catalogue.end_session(asker.session.digest, act, ASKED_WITHIN)

    async def change_password(self, asker: Asker, old: str, new: str, address: str) -> Entered | Unlet | Weak:
        """Another password in place of the old one, which is asked for again.

        Every session of theirs ends by it, and a new one begins.
        """
        return await self._in_turn(lambda: self._change_password(asker, old, new, address))

    async def give_password(self, asker: Asker, name: str, address: str) -> str | Unlet:
        """A password for somebody else, made here, which they change when they first sign in; their sessions end.

        CatalogueRefused where there is nobody of that name, CatalogueUnfit where it is not for who asks.
        """

        async def work() -> str:
            made = passwords.generated()
            while weakness(name, made) is not None:  # it may hold a short name
                made = passwords.generated()
            kept = await self._hashed(lambda: passwords.kept(made))
            act = replace(self._act(name, SignInAction.PASSWORD_SET, address), actor=asker.name)
            given = Password(user=name, kept=kept, set_at=act.at, must_change=True)
            await self._catalogue.set_password(given, act, ASKED_WITHIN, by=asker.user.name)
            return made

        return await self._in_turn(work)

    async def _change_password(self, asker: Asker, old: str, new: str, address: str) -> Entered | Unlet | Weak:
        known = await self._catalogue.who_signs_in(asker.user.name, self._now(), ASKED_WITHIN)
        if known.password is None:
            return Unlet.WRONG
        if locked_until(known.acts, self._now()) is not None:
            return Unlet.LOCKED
        kept = known.password.kept
        if not await self._hashed(lambda: passwords.is_right(kept, old)):
            await self._refuse(asker.user.name, asker.user, address)
            return Unlet.WRONG
        weak = weakness(asker.user.name, new, old)
        if weak is not None:
            return weak
        made = await self._hashed(lambda: passwords.kept(new))
        changed = Password(user=asker.user.name, kept=made, set_at=self._now(), must_change=False)
        act = self._act(asker.user.name, SignInAction.PASSWORD_CHANGED, address)
        try:
            await self._catalogue.set_password(changed, act, ASKED_WITHIN, was=kept)
        except CatalogueRefused:  # somebody else has changed it meanwhile
            return Unlet.WRONG
        return await self._enter(asker.user, changed, address)

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

    def _is_lockeds_name(self, name: str) -> bool:
        """Whether a name that nobody has would be locked, were it somebody's."""
        tries = self._strangers.get(digest_of(name), deque())
        return sum(self._now() - at <= FAILURES_WITHIN for at in tries) >= FAILURES_MOST


def _count(tries: Tries, key: str, most: int, now: datetime) -> None:
    tries.setdefault(key, deque(maxlen=most)).append(now)
    tries.move_to_end(key)
    if len(tries) > REMEMBERED_MOST:
        tries.popitem(last=False)


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
    is_from_a_proxy = any(header in request.headers for header in FORWARDING_HEADERS)
    return request.url.scheme == "https" or (host in ("127.0.0.1", "::1") and not is_from_a_proxy)
