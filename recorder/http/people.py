"""Who there is and what they may, as somebody who is signed in changes it: on /users, and over /api/v1/users.

Must not decide: recorder.rights says what makes no sense, and what is not for who asks, where it is written. The
invariants: whatever is changed is a row in the name of who asked; a password is made here, shown once, and kept nowhere
but as a hash.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Final, Self
from uuid import UUID, uuid4

import structlog
from fastapi import APIRouter, Depends, Request
from pydantic import Field

from recorder.catalogue import Catalogue, CatalogueRefused, CatalogueUnfit
from recorder.do_not_record import checked_telephone
from recorder.http.api import PREFIX, PROBLEMS, View
from recorder.http.door import ASKED_WITHIN, Door, Unlet
from recorder.http.hearing import address_of
from recorder.http.house import Person, people_in
from recorder.http.problems import Code, NotDone
from recorder.http.rules import signed_in
from recorder.rights import ANYBODY, EVERY_LINE, NAME, Right, Role, Seat, Unfit, User, UserAct, UserAction, users
from recorder.signing_in import Asker, SignInAct, SignInAction

log = structlog.get_logger(__name__)

UNFIT: Final = {
    Unfit.NO_RIGHT: Code.NO_RIGHT,
    Unfit.SELF: Code.ON_ONESELF,
    Unfit.HALF: Code.OTHER_HALF,
}


class Deed(StrEnum):
    """What is done to a person, in an address."""

    SEAT = "seat"
    GRANT = "grant"
    REVOKE = "revoke"
    DISABLE = "disable"
    ENABLE = "enable"
    PASSWORD = "password"
    SIGN_OUT = "sign-out"
    WITHDRAW = "withdraw"


ROLES: Final = {Deed.GRANT: UserAction.GRANTED, Deed.REVOKE: UserAction.REVOKED}
STATES: Final = {Deed.DISABLE: UserAction.DISABLED, Deed.ENABLE: UserAction.ENABLED}


class DetailsView(View):
    """What a deed needs: `telephone` of `seat` (null: none here), `role` and `line` (null: every line) of `grant` and
    `revoke`, `token` of `withdraw`. The others need nothing."""

    telephone: Annotated[str | None, Field(max_length=255)] = None
    role: Role | None = None
    line: Annotated[str | None, Field(max_length=64)] = None
    token: UUID | None = None


class EntryView(View):
    """Somebody who is to be entered, and holds no role until one is granted."""

    name: Annotated[str, Field(max_length=64)]
    telephone: Annotated[str | None, Field(max_length=255)] = None


class SeatView(View):
    node: str
    telephone: str


class GrantView(View):
    """`line` is null for every line."""

    role: Role
    line: str | None


class TokenView(View):
    """A token by its label, never what it is. `rights` and `lines` are null where they are as its person's."""

    id: UUID
    label: str
    until: datetime
    rights: list[Right] | None
    lines: list[str] | None


class PersonView(View):
    name: str
    enabled: bool
    telephones: list[SeatView]
    grants: list[GrantView]
    signed_in_at: datetime | None
    tokens: list[TokenView]

    @classmethod
    def of(cls, person: Person) -> Self:
        return cls(
            name=person.name,
            enabled=person.enabled,
            telephones=[SeatView(node=seat.node, telephone=seat.interface) for seat in person.seats],
            grants=[
                GrantView(role=role, line=None if line == EVERY_LINE else line)
                for role, lines in person.roles
                for line in lines
            ],
            signed_in_at=person.signed_in_at,
            tokens=[
                TokenView(
                    id=token.id,
                    label=token.label,
                    until=token.until,
                    rights=None if token.rights is None else sorted(token.rights),
                    lines=None if token.lines is None else sorted(token.lines),
                )
                for token in person.tokens
            ],
        )


class DoneView(View):
    """How the person stands after it. `password` is what was made, of `password` alone, and is shown this once."""

    person: PersonView
    password: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class People:
    """Does to people what somebody asks; NotDone where it is not theirs to do, makes no sense, or is so already."""

    door: Door
    catalogue: Catalogue
    node: str
    lines: Collection[str]
    now: Callable[[], datetime]

    async def everybody(self, asker: Asker) -> list[Person]:
        if not asker.may(Right.VIEW_USERS, EVERY_LINE):
            raise NotDone(Code.NO_RIGHT)
        return await people_in(self.catalogue)

    async def one(self, asker: Asker, name: str) -> Person:
        found = next((person for person in await self.everybody(asker) if person.name == name), None)
        if found is None:
            raise NotDone(Code.NOT_FOUND)
        return found

    async def enter(self, asker: Asker, entry: EntryView) -> None:
        self._let(asker)
        if NAME.fullmatch(entry.name) is None or entry.name == ANYBODY:
            raise NotDone(Code.INVALID)
        seated = [self._seated(entry.telephone)] if entry.telephone else []
        await self._write(asker, entry.name, [{"action": UserAction.ADDED}, *seated])

    async def do(self, asker: Asker, name: str, deed: Deed, details: DetailsView, address: str) -> str | None:
        """The password, where that is what was asked for."""
        self._let(asker)
        if name == ANYBODY and deed not in ROLES:
            raise NotDone(Code.INVALID)
        if deed is Deed.PASSWORD:
            return await self._give_password(asker, name, address)
        if deed is Deed.SIGN_OUT:
            await self._sign_out(asker, name, address)
        elif deed is Deed.WITHDRAW:
            await self._withdraw(asker, name, details.token, address)
        else:
            await self._write(asker, name, [self._act_of(deed, details)])
        return None

    def _let(self, asker: Asker) -> None:
        """A token's limits too; that it is still so is asked again in the transaction."""
        if not asker.may(Right.EDIT_USERS, EVERY_LINE):
            raise NotDone(Code.NO_RIGHT)

    def _act_of(self, deed: Deed, details: DetailsView) -> dict[str, Any]:
        if deed is Deed.SEAT:
            return self._seated(details.telephone or None)
        if deed in STATES:
            return {"action": STATES[deed]}
        line = EVERY_LINE if details.line is None else details.line
        is_known = deed is Deed.REVOKE or line == EVERY_LINE or line in self.lines
        if details.role is None or not is_known:
            raise NotDone(Code.INVALID)
        return {"action": ROLES[deed], "role": details.role, "line": line}

    def _seated(self, telephone: str | None) -> dict[str, Any]:
        try:
            interface = None if telephone is None else checked_telephone(telephone)
        except ValueError:
            raise NotDone(Code.INVALID) from None
        return {"action": UserAction.SEATED, "node": self.node, "interface": interface}

    async def _write(self, asker: Asker, name: str, wanted: Collection[dict[str, Any]]) -> None:
        """All of it, or none."""
        now = self.now()
        acts = [UserAct(id=uuid4(), at=now, actor=asker.name, user=name, **one) for one in wanted]
        try:
            await self.catalogue.write_user_acts(acts, ASKED_WITHIN, by=asker.user.name)
        except CatalogueUnfit as error:
            raise NotDone(UNFIT[error.why]) from None
        except CatalogueRefused:
            known = users(await self.catalogue.user_acts(within=ASKED_WITHIN))
            raise NotDone(why_refused(known, acts)) from None
        log.info("people_changed", acts=[str(act.action) for act in acts])

    async def _give_password(self, asker: Asker, name: str, address: str) -> str:
        try:
            made = await self.door.give_password(asker, name, address)
        except CatalogueUnfit as error:
            raise NotDone(UNFIT[error.why]) from None
        except CatalogueRefused:
            raise NotDone(Code.NOT_FOUND) from None
        if isinstance(made, Unlet):
            raise NotDone(Code.TOO_MANY)
        log.info("people_changed", acts=[str(SignInAction.PASSWORD_SET)])
        return made

    async def _sign_out(self, asker: Asker, name: str, address: str) -> None:
        act = self._sign_in_act(asker, name, SignInAction.SIGNED_OUT, address)
        try:
            await self.catalogue.end_sessions_of(act, asker.user.name, ASKED_WITHIN)
        except CatalogueUnfit as error:
            raise NotDone(UNFIT[error.why]) from None
        except CatalogueRefused:
            raise NotDone(Code.ALREADY_SO) from None
        log.info("people_changed", acts=[str(act.action)])

    async def _withdraw(self, asker: Asker, name: str, token: UUID | None, address: str) -> None:
        if token is None:
            raise NotDone(Code.INVALID)
        act = self._sign_in_act(asker, name, SignInAction.TOKEN_WITHDRAWN, address, token)
        try:
            await self.catalogue.withdraw_token(token, act, ASKED_WITHIN, by=asker.user.name)
        except CatalogueUnfit as error:
            raise NotDone(UNFIT[error.why]) from None
        except CatalogueRefused:
            raise NotDone(Code.ALREADY_SO) from None
        log.info("people_changed", acts=[str(act.action)])

    def _sign_in_act(
        self, asker: Asker, name: str, action: SignInAction, address: str, token: UUID | None = None
    ) -> SignInAct:
        return SignInAct(
            id=uuid4(), at=self.now(), user=name, action=action, actor=asker.name, address=address, token=token
        )


def why_refused(known: dict[str, User], acts: Collection[UserAct]) -> Code:
    """What stood against it, by how people stand now."""
    act = next(iter(acts))
    if act.user not in known and act.action is not UserAction.ADDED:
        return Code.NOT_FOUND
    if act.user == ANYBODY:
        return Code.INVALID if act.action is UserAction.GRANTED and not _holds(known, act) else Code.ALREADY_SO
    wanted = {Seat(node=one.node, interface=one.interface) for one in acts if one.node and one.interface}
    wanted |= known[act.user].seats if act.action is UserAction.ENABLED else frozenset()
    others = (user for user in known.values() if user.enabled and user.name != act.user)
    return Code.TELEPHONE_TAKEN if any(user.seats & wanted for user in others) else Code.ALREADY_SO


def _holds(known: dict[str, User], act: UserAct) -> bool:
    return any((grant.role, grant.line) == (act.role, act.line) for grant in known[act.user].grants)


def people_routes(door: Door, people: People) -> APIRouter:
    routes = APIRouter(prefix=f"{PREFIX}/users", responses=PROBLEMS)
    somebody = Depends(signed_in(door))

    @routes.get("", summary="Who there is, and what they may")
    async def everybody(asker: Asker = somebody) -> list[PersonView]:
        return [PersonView.of(person) for person in await people.everybody(asker)]

    @routes.get("/{name}", summary="One of them")
    async def one(name: str, asker: Asker = somebody) -> PersonView:
        return PersonView.of(await people.one(asker, name))

    @routes.post("", summary="Enter somebody", status_code=201, responses={409: PROBLEMS[404]})
    async def enter(entry: EntryView, asker: Asker = somebody) -> PersonView:
        await people.enter(asker, entry)
        return PersonView.of(await _after(people, entry.name))

    @routes.post(
        "/{name}/{deed}",
        summary="Do this to them: a telephone, a role, a password, whether they are let in",
        responses={409: PROBLEMS[404]},
    )
    async def do(
        request: Request, name: str, deed: Deed, details: DetailsView | None = None, asker: Asker = somebody
    ) -> DoneView:
        made = await people.do(asker, name, deed, details or DetailsView(), address_of(request))
        return DoneView(person=PersonView.of(await _after(people, name)), password=made)

    return routes


async def _after(people: People, name: str) -> Person:
    """How somebody stands whom one has just changed: also where a token may change people and not look at them."""
    found = next((one for one in await people_in(people.catalogue) if one.name == name), None)
    return found or Person(name=name, enabled=True, seats=(), roles=(), signed_in_at=None, tokens=())
