"""Who may do what, and where: people, the roles that they hold on lines, and what each role permits.

Pure. Must not know what is done with a permission, nor where what was done to people is kept. The invariants: what
nobody granted is denied; people are what the acts say was done to them, in order, so that who might do what can be told
of any moment; in doubt who somebody is, nothing is permitted to them.
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
    CONTROL_OWN = "call.control.own"  # to pause, resume, stop or take out the call at one's own telephone
    OWN_CALLS = "call.own"  # to see the calls that one has had, and who has heard them (TA-01)
    CONTROL = "call.control"  # the same of every call of the line: for a page on which callers pay (PR-01)
    WATCH = "call.watch"  # to see the line's calls in progress
    SEARCH = "call.search"  # to find the line's calls, and see how they went
    LISTEN = "recording.listen"
    DOWNLOAD = "recording.download"  # to take it away
    PROVE = "consent.prove"  # to take away the proof of a call's consent, for whoever asks what is known of them
    VIEW_LOG = "log.view"  # to see who listened to what
    ANSWER_CONTEST = "contest.answer"  # to answer what agents say against their calls (TA-04)
    ASK_RELEASE = "line.release.ask"  # to ask that a line which is never recorded may be recorded (MS-01)
    APPROVE_RELEASE = "line.release.approve"  # the other half of it
    VIEW_SYSTEM = "system.view"  # to see how the recorder stands; of lines, those on which one has it
    VIEW_SETTINGS = "settings.view"  # to see the settings, without a secret: on every line, or not at all
    VIEW_USERS = "user.view"  # to see who there is and what they may: on every line, or not at all
    EDIT_USERS = "user.edit"  # to say, on pages, who there is and what others may: on every line, or not at all


class Role(StrEnum):
    """What a person is, on a line or on all of them."""

    OVERRIDER = "overrider"
    AGENT = "agent"
    SUPERVISOR = "supervisor"
    QUALITY = "quality"
    DOWNLOADER = "downloader"
    AUDITOR = "auditor"
    PAYMENT = "payment"  # a program of the house's that pauses while a caller pays
    PRIVACY_OFFICER = "privacy_officer"
    ADMINISTRATOR = "administrator"


RIGHTS: Final[Mapping[Role, frozenset[Right]]] = MappingProxyType(
    {
        Role.OVERRIDER: frozenset({Right.OVERRIDE}),
        Role.AGENT: frozenset({Right.CONTROL_OWN, Right.OWN_CALLS}),
        Role.SUPERVISOR: frozenset({Right.WATCH, Right.SEARCH, Right.LISTEN, Right.ANSWER_CONTEST, Right.VIEW_SYSTEM}),
        Role.QUALITY: frozenset({Right.SEARCH, Right.LISTEN}),
        Role.DOWNLOADER: frozenset({Right.SEARCH, Right.LISTEN, Right.DOWNLOAD}),
        Role.AUDITOR: frozenset({Right.VIEW_LOG}),
        Role.PAYMENT: frozenset({Right.CONTROL}),
        Role.PRIVACY_OFFICER: frozenset(
            {Right.APPROVE_RELEASE, Right.VIEW_LOG, Right.SEARCH, Right.PROVE, Right.ANSWER_CONTEST}
        ),
        Role.ADMINISTRATOR: frozenset(
            {Right.ASK_RELEASE, Right.VIEW_SYSTEM, Right.VIEW_SETTINGS, Right.VIEW_USERS, Right.EDIT_USERS}
        ),
    }
)
HALVES: Final[tuple[frozenset[Right], ...]] = (frozenset({Right.ASK_RELEASE, Right.APPROVE_RELEASE}),)
"""Acts that take two persons: no role has both rights of one."""
AT_TELEPHONES: Final = frozenset({Role.OVERRIDER})
"""What whoever is at a telephone may be. The others are for people who have shown who they are."""

EVERY_LINE: Final = "*"
"""In place of a line's name; no line can bear it."""
ANYBODY: Final = "anybody"
"""In place of a person: whoever is at a telephone, entered or not, but who is disabled."""
NAME: Final = re.compile(r"[a-z][a-z0-9._-]{0,62}[a-z0-9]")
"""A person's name to the recorder, as they will sign in with it: no free text."""


class UserAction(StrEnum):
    """What is done to a user."""

    ADDED = "added"
    SEATED = "seated"  # their telephone on a node is this one now, or none
    GRANTED = "granted"
    REVOKED = "revoked"
    DISABLED = "disabled"
    ENABLED = "enabled"


@dataclass(frozen=True, slots=True, kw_only=True)
class UserAct:
    """One thing done to a user. `node` and `interface` go with `seated`, `role` and `line` with the grants' two."""

    id: UUID
    at: datetime
    actor: str  # who did it
    user: str
    action: UserAction
    node: str | None = None
    interface: str | None = None  # do_not_record.checked_telephone
    role: Role | None = None
    line: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    role: Role
    line: str

    def permits(self, right: Right, line: str) -> bool:
        return self.line in (line, EVERY_LINE) and right in RIGHTS[self.role]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """A telephone: an interface of one node's PBX."""

    node: str
    interface: str


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A person as what was done to them has left them. On each node they have one seat at the most."""

    name: str
    seats: frozenset[Seat] = field(default_factory=frozenset)
    grants: frozenset[Grant] = field(default_factory=frozenset)
    enabled: bool = True


def users(acts: Iterable[UserAct]) -> dict[str, User]:
    """Everybody there is, by name, and ANYBODY, after these acts in their order. An act on nobody says nothing."""
    found = {ANYBODY: User(name=ANYBODY)}
    for act in acts:
        known = found.get(act.user)
        if act.action is UserAction.ADDED:
            found.setdefault(act.user, User(name=act.user))
        elif known is not None:
            found[act.user] = _after(known, act)
    return found


def _after(user: User, act: UserAct) -> User:
    match act.action:
        case UserAction.SEATED if act.node is not None:
            elsewhere = frozenset(seat for seat in user.seats if seat.node != act.node)
            return replace(user, seats=elsewhere | _seats(act))
        case UserAction.GRANTED:
            return replace(user, grants=user.grants | _granted(act))
        case UserAction.REVOKED:
            return replace(user, grants=user.grants - _granted(act))
        case UserAction.DISABLED:
            return replace(user, enabled=False)
        case UserAction.ENABLED:
            return replace(user, enabled=True)
    return user


def _seats(act: UserAct) -> frozenset[Seat]:
    """The seat that somebody was given: none where it was taken from them."""
    if act.node is None or act.interface is None:
        return frozenset()
    return frozenset({Seat(node=act.node, interface=act.interface)})


def _granted(act: UserAct) -> frozenset[Grant]:
    """What was granted or taken back."""
    if act.role is None or act.line is None:
        return frozenset()
    return frozenset({Grant(role=act.role, line=act.line)})


def refusal(known: Mapping[str, User], act: UserAct) -> str | None:
    """Why this is not to be done to these people, as a sentence; None where it may be."""
    user = known.get(act.user)
    if act.user == ANYBODY and act.action not in (UserAction.GRANTED, UserAction.REVOKED):
        return f"{ANYBODY} stands for whoever is at a telephone, and has roles alone"
    if act.action is UserAction.ADDED:
        if user is not None:
            return f"{user.name} is entered already{'' if user.enabled else ', and disabled'}"
        if not NAME.fullmatch(act.user):
            return f"{act.user!r} is no name: small letters, digits, dots, - and _, from 2 to 64, a letter first"
        return None
    if user is None:
        return f"nobody is entered as {act.user}"
    if act.user == ANYBODY and act.action is UserAction.GRANTED and act.role not in AT_TELEPHONES:
        return f"{ANYBODY} cannot be {act.role}: who that is must have shown who they are"
    match act.action:
        case UserAction.SEATED if user.enabled:
            return _taken(known, user.name, _seats(act))
        case UserAction.GRANTED if _granted(act) <= user.grants:
            return f"{user.name} is {act.role} on {_named(act.line)} already"
        case UserAction.REVOKED if not _granted(act) <= user.grants:
            return f"{user.name} is not {act.role} on {_named(act.line)} by a grant of its own"
        case UserAction.DISABLED if not user.enabled:
            return f"{user.name} is disabled already"
        case UserAction.ENABLED if user.enabled:
            return f"{user.name} is not disabled"
        case UserAction.ENABLED:
            return _taken(known, user.name, user.seats)
    return None


def _taken(known: Mapping[str, User], name: str, seats: Collection[Seat]) -> str | None:
    others = (user for user in known.values() if user.enabled and user.name != name)
    return next((f"{seat.interface} is {user.name}'s" for user in others for seat in user.seats if seat in seats), None)


def _named(line: str | None) -> str:
    return "every line" if line == EVERY_LINE else f"line {line}"


class Unfit(StrEnum):
    """Why somebody who is signed in may not do this to this person, whatever else speaks for it."""

    NO_RIGHT = "no_right"
    SELF = "oneself"
    HALF = "other_half"  # they could then do both halves of an act that takes two persons


def unfit(known: Mapping[str, User], by: str, name: str, gives: Collection[Right] = ()) -> Unfit | None:
    """Why `by` may not do something to `name` that gives them these rights, or their way in; None where they may.

    Nobody changes what they themselves may. So somebody always remains who may, who is whoever did it last.
    """
    actor = known.get(by)
    if actor is None or not permits(actor, Right.EDIT_USERS, EVERY_LINE):
        return Unfit.NO_RIGHT
    if name == by:
        return Unfit.SELF
    theirs = rights_of(actor)
    is_other_half = any((half - {right}) & theirs for right in gives for half in HALVES if right in half)
    return Unfit.HALF if is_other_half else None


def gives(known: Mapping[str, User], act: UserAct) -> frozenset[Right]:
    """What somebody may by this act that they did not, or could not use."""
    if act.action is UserAction.GRANTED and act.role is not None:
        return RIGHTS[act.role]
    user = known.get(act.user)
    return rights_of(user) if user is not None and act.action is UserAction.ENABLED else frozenset()


def rights_of(user: User) -> frozenset[Right]:
    """What somebody was granted, on whichever line."""
    return frozenset(right for grant in user.grants for right in RIGHTS[grant.role])


def permits(user: User, right: Right, line: str) -> bool:
    """Whether somebody who has shown who they are may, on this line. Who is disabled may nothing."""
    return user.enabled and any(grant.permits(right, line) for grant in user.grants)


def sits_at(known: Iterable[User], name: str, telephone: Seat, member: Seat | None) -> bool:
    """Whether this person, enabled and nobody else, is who sits there; `known` and `member` as for at_telephone."""
    there = _there(tuple(known), telephone, member)
    return [user.name for user in there if user.enabled] == [name]


class Denied(StrEnum):
    """Why somebody at a telephone may not."""

    UNKNOWN = "nobody_sits_there"
    DISABLED = "disabled"
    NOT_GRANTED = "not_granted"
    NOT_READ = "not_read"  # the catalogue could not tell in time


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """Whose it is, where one person sits there, and why it is denied; None where it is not."""

    user: str | None = None
    denied: Denied | None = None


def at_telephone(known: Iterable[User], right: Right, line: str, telephone: Seat, member: Seat | None) -> Permission:
    """What the person at a telephone may do on a line.

    `member` is the queue's, behind whose Local channel the telephone stands: it says who sits there where nobody is
    entered for the telephone itself. `known` are those who have, or had, one of the two seats, and ANYBODY.
    """
    everybody = tuple(known)
    there = _there(everybody, telephone, member)
    enabled = [user for user in there if user.enabled]
    who = enabled or there
    name = who[0].name if len(who) == 1 else None
    if there and not enabled:
        return Permission(user=name, denied=Denied.DISABLED)
    holders = [user for user in everybody if user.name in (name, ANYBODY)]
    if any(grant.permits(right, line) for user in holders for grant in user.grants):
        return Permission(user=name)
    return Permission(user=name, denied=Denied.UNKNOWN if name is None else Denied.NOT_GRANTED)


def _there(everybody: Iterable[User], telephone: Seat, member: Seat | None) -> list[User]:
    """Who is entered for the telephone itself; where nobody is, for the member behind which it stands."""
    people = tuple(everybody)
    return [user for user in people if telephone in user.seats] or [
        user for user in people if member is not None and member in user.seats
    ]
