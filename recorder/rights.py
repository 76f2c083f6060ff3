"""Who may do what, and where: people, the roles that they hold on lines, and what each role permits.

Pure. Must not know what is done with a permission, nor where the acts are kept. The invariants: what nobody granted is
denied; people are what the acts say that were done to them, in order, so that who might do what can be told of any
moment; in doubt who somebody is, nothing is permitted.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final
from uuid import UUID


class Right(StrEnum):
    """What may be permitted."""

    OVERRIDE = "recording.override"  # to capture without consent, for a reason that the line lists (OV-01)


class Role(StrEnum):
    """What a person is, on a line or on all of them."""

    OVERRIDER = "overrider"


RIGHTS: Final[Mapping[Role, frozenset[Right]]] = MappingProxyType({Role.OVERRIDER: frozenset({Right.OVERRIDE})})

EVERY_LINE: Final = "*"
"""In place of a line's name; no line can bear it."""
ANYBODY: Final = "anybody"
"""In place of a person: whoever is at a telephone, entered or not, but who is disabled."""
NAME: Final = re.compile(r"[a-z][a-z0-9._-]{0,62}[a-z0-9]")
"""A person's name to the recorder, as they will sign in with it: no free text."""


class UserAction(StrEnum):
    """What is done to a person's account."""

    ADDED = "added"
    SEATED = "seated"  # their telephone is another one now, or none
    GRANTED = "granted"
    REVOKED = "revoked"
    DISABLED = "disabled"
    ENABLED = "enabled"


@dataclass(frozen=True, slots=True, kw_only=True)
class UserAct:
    """One act on an account. `interface` goes with `added` and `seated`; `role` and `line` with the grants' two."""

    id: UUID
    at: datetime
    actor: str  # who did it
    user: str
    action: UserAction
    interface: str | None = None  # as the queue names its member: do_not_record.interface_of
    role: Role | None = None
    line: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    role: Role
    line: str

    def permits(self, right: Right, line: str) -> bool:
        return self.line in (line, EVERY_LINE) and right in RIGHTS[self.role]


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A person as the acts have left them."""

    name: str
    interface: str | None = None
    grants: frozenset[Grant] = field(default_factory=frozenset)
    enabled: bool = True


def users(acts: Iterable[UserAct]) -> dict[str, User]:
    """Everybody there is, by name, and ANYBODY, after these acts in their order. An act on nobody says nothing."""
    found = {ANYBODY: User(name=ANYBODY)}
    for act in acts:
        known = found.get(act.user)
        if act.action is UserAction.ADDED:
            found.setdefault(act.user, User(name=act.user, interface=act.interface))
        elif known is not None:
            found[act.user] = _after(known, act)
    return found


def _after(user: User, act: UserAct) -> User:
    match act.action:
        case UserAction.SEATED:
            return replace(user, interface=act.interface)
        case UserAction.GRANTED | UserAction.REVOKED if act.role is not None and act.line is not None:
            grant = {Grant(role=act.role, line=act.line)}
            granted = act.action is UserAction.GRANTED
            return replace(user, grants=user.grants | grant if granted else user.grants - grant)
        case UserAction.DISABLED:
            return replace(user, enabled=False)
        case UserAction.ENABLED:
            return replace(user, enabled=True)
    return user


def refusal(known: Mapping[str, User], act: UserAct) -> str | None:
    """Why this act is not to be done to these people, as a sentence; None where it may be."""
    user = known.get(act.user)
    if act.user == ANYBODY and act.action not in (UserAction.GRANTED, UserAction.REVOKED):
        return f"{ANYBODY} stands for whoever is at a telephone, and has roles alone"
    if act.action is UserAction.ADDED:
        if user is not None:
            return f"{user.name} is entered already{'' if user.enabled else ', and disabled'}"
        if not NAME.fullmatch(act.user):
            return f"{act.user!r} is no name: small letters, digits, dots, - and _, from 2 to 64, a letter first"
        return _taken(known, act.user, act.interface)
    if user is None:
        return f"nobody is entered as {act.user}"
    grants = {(grant.role, grant.line) for grant in user.grants}
    match act.action:
        case UserAction.SEATED:
            return _taken(known, user.name, act.interface)
        case UserAction.GRANTED if (act.role, act.line) in grants:
            return f"{user.name} is {act.role} on {_named(act.line)} already"
        case UserAction.REVOKED if (act.role, act.line) not in grants:
            return f"{user.name} is not {act.role} on {_named(act.line)} by a grant of its own"
        case UserAction.DISABLED if not user.enabled:
            return f"{user.name} is disabled already"
        case UserAction.ENABLED if user.enabled:
            return f"{user.name} is not disabled"
        case UserAction.ENABLED:
            return _taken(known, user.name, user.interface)
    return None


def _taken(known: Mapping[str, User], name: str, interface: str | None) -> str | None:
    sitting = (user for user in known.values() if user.enabled and _sits_at(user, {interface}))
    holder = next((user for user in sitting if user.name != name), None)
    return None if holder is None else f"{interface} is {holder.name}'s"


def _named(line: str | None) -> str:
    return "every line" if line == EVERY_LINE else f"line {line}"


def _sits_at(user: User, interfaces: Collection[str | None]) -> bool:
    return user.interface is not None and user.interface in interfaces


class Denied(StrEnum):
    """Why somebody at a telephone may not."""

    UNKNOWN = "nobody_sits_there"
    DISABLED = "disabled"
    AMBIGUOUS = "several_sit_there"  # two who added people at once
    NOT_GRANTED = "not_granted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """Whose it is, and why it is denied; None where it is not."""

    user: str | None = None
    denied: Denied | None = None


def at_telephone(known: Iterable[User], right: Right, line: str, interfaces: Collection[str]) -> Permission:
    """What the person at a telephone may do on a line; `interfaces` are all that name this one telephone.

    `known` are those whose telephone it ever was, and ANYBODY.
    """
    everybody = tuple(known)
    there = [user for user in everybody if _sits_at(user, interfaces)]
    here = [user for user in there if user.enabled]
    name = here[0].name if len(here) == 1 else None
    if there and not here:
        return Permission(denied=Denied.DISABLED)
    holders = [user for user in everybody if user.name in (name, ANYBODY)]
    if any(grant.permits(right, line) for user in holders for grant in user.grants):
        return Permission(user=name)
    if name is None:
        return Permission(denied=Denied.AMBIGUOUS if here else Denied.UNKNOWN)
    return Permission(user=name, denied=Denied.NOT_GRANTED)
