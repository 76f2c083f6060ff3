"""/users, on which those who administer the whole house see who there is, and change it by forms.

Must not decide who may, nor what makes sense: recorder.http.people asks. The invariant: what is shown of a secret is a
password that was just made, to who made it, once.
"""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse

from recorder.http.door import ASKED_WITHIN, Door
from recorder.http.hearing import address_of
from recorder.http.pages import READ, Pages, words_for
from recorder.http.people import Deed, DetailsView, EntryView, People
from recorder.http.problems import MEANINGS, Code, NotDone
from recorder.http.rules import Who, fields_of, signed_in
from recorder.rights import AT_TELEPHONES, EVERY_LINE, NAME, Role
from recorder.signing_in import Asker


def people_page_routes(door: Door, pages: Pages, people: People) -> APIRouter:
    routes = APIRouter(include_in_schema=False)
    here = Depends(signed_in(door, Who.IN_PERSON))

    async def listed(request: Request, asker: Asker, code: Code | None = None) -> Response:
        """Everybody, and why something was not done."""
        try:
            there = await people.everybody(asker)
        except NotDone as error:
            return pages.refused(request, asker, error.code)
        status = 200 if code is None else int(MEANINGS[code][0])
        why = "" if code is None else words_for(request)(f"problem.{code}")
        return pages.page(
            "users.html", request, status, asker=asker, here="users", people=there, now=people.now(), why=why
        )

    async def shown(
        request: Request, asker: Asker, name: str, code: Code | None = None, *, made: str = "", done: bool = False
    ) -> Response:
        """One person, what was done to them, and what can be."""
        try:
            person = await people.one(asker, name)
        except NotDone as error:
            return pages.refused(request, asker, error.code)
        return pages.page(
            "user.html",
            request,
            200 if code is None else int(MEANINGS[code][0]),
            asker=asker,
            here="users",
            person=person,
            acts=reversed(await people.catalogue.user_acts(name, ASKED_WITHIN)),
            roles=sorted(AT_TELEPHONES if person.is_anybody else Role),
            lines=sorted(people.lines),
            node=people.node,
            every=EVERY_LINE,
            now=people.now(),
            made=made,
            done=done,
            why="" if code is None else words_for(request)(f"problem.{code}"),
        )

    @routes.api_route("/users", methods=READ)
    async def users_page(request: Request, asker: Asker = here) -> Response:
        return await listed(request, asker)

    @routes.post("/users")
    async def enter(request: Request, asker: Asker = here) -> Response:
        given = await fields_of(request)
        name = given.get("name", "").strip()
        try:
            if NAME.fullmatch(name) is None:
                raise NotDone(Code.INVALID)
            await people.enter(asker, EntryView(name=name, telephone=given.get("telephone", "").strip() or None))
        except NotDone as error:
            return await listed(request, asker, error.code)
        return RedirectResponse(f"/users/{name}?done=true", 303)

    @routes.api_route("/users/{name}", methods=READ)
    async def user_page(request: Request, name: str, done: bool = False, asker: Asker = here) -> Response:
        return await shown(request, asker, name, done=done)

    @routes.post("/users/{name}/{deed}")
    async def do(request: Request, name: str, deed: Deed, asker: Asker = here) -> Response:
        try:
            made = await people.do(asker, name, deed, _details(await fields_of(request)), address_of(request))
        except NotDone as error:
            return await shown(request, asker, name, error.code)
        if made is not None:
            return await shown(request, asker, name, made=made)
        return RedirectResponse(f"/users/{name}?done=true", 303)

    return routes


def _details(given: dict[str, str]) -> DetailsView:
    """What a form says; NotDone where a field holds what no form of ours sends."""
    line = given.get("line", EVERY_LINE)
    try:
        return DetailsView(
            telephone=given.get("telephone", "").strip() or None,
            role=Role(given["role"]) if "role" in given else None,
            line=None if line == EVERY_LINE else line,
            token=UUID(given["token"]) if "token" in given else None,
        )
    except ValueError:
        raise NotDone(Code.INVALID) from None
