"""The pages of the whole house: the settings, to be read; and who there is, as it is shown there and by people.py.

Must not hold a secret: recorder.settings says what of a setting may be shown, and of a token its label is. The
invariant: they are open to who has the right on every line, and to nobody else.
"""

from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from fastapi import APIRouter, Depends, Request, Response

from recorder.catalogue import Catalogue
from recorder.http.door import ASKED_WITHIN, Door
from recorder.http.pages import READ, Pages
from recorder.http.problems import Code
from recorder.http.rules import Who, signed_in
from recorder.rights import ANYBODY, EVERY_LINE, Right, Role, Seat, User, users
from recorder.settings import Settings, Told, told
from recorder.signing_in import Asker, Token


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody as the page has them. A token that was withdrawn is none."""

    name: str
    enabled: bool
    seats: tuple[Seat, ...]
    roles: tuple[tuple[Role, tuple[str, ...]], ...]
    signed_in_at: datetime | None
    tokens: tuple[Token, ...]

    @property
    def is_anybody(self) -> bool:
        """Whoever is at a telephone: they do not sign in."""
        return self.name == ANYBODY


def house_routes(door: Door, pages: Pages, settings: Settings) -> APIRouter:
    routes = APIRouter(include_in_schema=False)
    here = Depends(signed_in(door, Who.IN_PERSON))

    @routes.api_route("/settings", methods=READ)
    async def settings_page(request: Request, asker: Asker = here) -> Response:
        if not asker.may(Right.VIEW_SETTINGS, EVERY_LINE):
            return pages.refused(request, asker, Code.NO_RIGHT)
        sections = by_section(told(settings))
        return pages.page(
            "settings.html", request, asker=asker, here="settings", sections=sections, source=settings.source
        )

    return routes


def by_section(rows: tuple[Told, ...]) -> list[tuple[str, list[Told]]]:
    return [(section, list(those)) for section, those in groupby(rows, key=lambda row: row.section)]


async def people_in(catalogue: Catalogue) -> list[Person]:
    """Everybody, those who are disabled last."""
    everybody = users(await catalogue.user_acts(within=ASKED_WITHIN))
    signed_in_at = await catalogue.last_signed_in(ASKED_WITHIN)
    tokens = [token for token in await catalogue.tokens_of(within=ASKED_WITHIN) if token.withdrawn_at is None]
    there = [user for user in everybody.values() if user.name != ANYBODY or user.grants]
    there.sort(key=lambda user: (not user.enabled, user.name != ANYBODY, user.name))
    return [
        Person(
            name=user.name,
            enabled=user.enabled,
            seats=tuple(sorted(user.seats, key=lambda seat: (seat.node, seat.interface))),
            roles=roles_of(user),
            signed_in_at=signed_in_at.get(user.name),
            tokens=tuple(token for token in tokens if token.user == user.name),
        )
        for user in there
    ]


def roles_of(user: User) -> tuple[tuple[Role, tuple[str, ...]], ...]:
    """Each role with the lines on which they hold it."""
    held = sorted((grant.role, grant.line) for grant in user.grants)
    return tuple((role, tuple(line for _, line in those)) for role, those in groupby(held, key=lambda one: one[0]))
