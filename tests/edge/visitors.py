"""People and programs that come to the daemon over HTTP, as browsers and clients do."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from uuid import uuid4

import httpx2

from recorder import passwords
from recorder.catalogue import Catalogue
from recorder.rights import Right, Role, UserAction
from recorder.signing_in import Password, SignInAct, SignInAction, Token, digest_of
from tests.edge.centre import Centre
from tests.facts import user_act

SECRET = "correct horse battery"


@cache
def kept(password: str) -> str:
    """A hash takes its time: each password's is made once."""
    return passwords.kept(password)


async def enters(
    centre: Centre, name: str, *roles: Role, at: str | None = None, line: str = "support", must_change: bool = False
) -> None:
    """Somebody is entered, with these roles on the line, a telephone and SECRET for a password."""
    now = centre.assembly.now()
    await enters_in(centre.catalogue, name, *roles, at=at, line=line, must_change=must_change, now=now)


async def enters_in(
    books: Catalogue,
    name: str,
    *roles: Role,
    at: str | None = None,
    line: str = "support",
    must_change: bool = False,
    now: datetime | None = None,
) -> None:
    """The same in a catalogue whose daemon runs by itself."""
    acts = [user_act(user=name)]
    acts += [user_act(UserAction.SEATED, name, at=at)] if at is not None else []
    acts += [user_act(UserAction.GRANTED, name, line=line, role=role) for role in roles]
    await books.write_user_acts(acts)
    await set_password(books, name, SECRET, now or datetime.now(UTC), must_change=must_change)


async def sets_password(centre: Centre, name: str, password: str) -> None:
    await set_password(centre.catalogue, name, password, centre.assembly.now())


async def set_password(books: Catalogue, name: str, password: str, now: datetime, *, must_change: bool = False) -> None:
    act = SignInAct(id=uuid4(), at=now, user=name, action=SignInAction.PASSWORD_SET, actor="root")
    await books.set_password(Password(user=name, kept=kept(password), set_at=now, must_change=must_change), act)


async def token_of(
    centre: Centre,
    name: str,
    *,
    rights: frozenset[Right] | None = None,
    lines: frozenset[str] | None = None,
) -> tuple[Token, str]:
    """A token in somebody's name, and its secret."""
    return await token_in(centre.catalogue, name, rights=rights, lines=lines)


async def token_in(
    books: Catalogue,
    name: str,
    *,
    rights: frozenset[Right] | None = None,
    lines: frozenset[str] | None = None,
) -> tuple[Token, str]:
    secret, now = f"rec_{uuid4().hex}{uuid4().hex}", datetime.now(UTC)
    token = Token(
        id=uuid4(),
        digest=digest_of(secret),
        user=name,
        label="payment page",
        issued_at=now,
        issued_by="root",
        until=now + timedelta(days=1),
        rights=rights,
        lines=lines,
    )
    act = SignInAct(id=uuid4(), at=now, user=name, action=SignInAction.TOKEN_ISSUED, actor="root", token=token.id)
    await books.issue_token(token, act)
    return token, secret


@asynccontextmanager
async def browser(centre: Centre, **headers: str) -> AsyncIterator[httpx2.AsyncClient]:
    """One that nobody has signed in with."""
    at = f"http://127.0.0.1:{centre.assembly.http.port}"
    async with httpx2.AsyncClient(base_url=at, headers=headers, timeout=20) as client:
        yield client


async def signs_in(client: httpx2.AsyncClient, name: str, password: str = SECRET) -> httpx2.Response:
    return await client.post("/sign-in", data={"name": name, "password": password})


@asynccontextmanager
async def signed_in(centre: Centre, name: str) -> AsyncIterator[httpx2.AsyncClient]:
    async with browser(centre) as client:
        answer = await signs_in(client, name)
        assert answer.status_code == 303, answer.text
        yield client


@asynccontextmanager
async def program(centre: Centre, secret: str) -> AsyncIterator[httpx2.AsyncClient]:
    async with browser(centre, Authorization=f"Bearer {secret}") as client:
        yield client


@dataclass(frozen=True, slots=True)
class Page:
    """A page as it was served."""

    status: int
    text: str

    @property
    def stamp(self) -> str:
        """What its forms send along."""
        found = re.search(r'name="stamp" value="([0-9a-f]{64})"', self.text)
        assert found is not None, self.text
        return found[1]


async def opens(client: httpx2.AsyncClient, path: str) -> Page:
    answer = await client.get(path)
    return Page(answer.status_code, answer.text)
