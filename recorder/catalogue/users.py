"""What was done to users: the rows, and the one way in which another is added.

Owns the SQL of user_acts; must not decide: recorder.rights does. The invariant: an act is added to what all the acts
before it have left, or refused with the sentence that says why.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, fields
from datetime import datetime

from sqlalchemy import Connection, Select, func, select, tuple_

from recorder.catalogue.errors import CatalogueRefused, CatalogueUnfit
from recorder.catalogue.tables import sessions, user_acts
from recorder.catalogue.writing import clean_text
from recorder.rights import (
    ANYBODY,
    Right,
    Role,
    Seat,
    User,
    UserAct,
    UserAction,
    gives,
    refusal,
    unfit,
    users,
)

ADDING_LOCK = 7_283_106  # any number, the same in every program: two additions take turns
_ACTS = select(*(user_acts.c[field.name].label(field.name) for field in fields(UserAct))).order_by(user_acts.c.seq)


def acts(connection: Connection, user: str | None = None) -> tuple[UserAct, ...]:
    """Return what was done to everybody, or to one, oldest first."""
    return _read(connection, _ACTS if user is None else _ACTS.where(user_acts.c.user == user))


def who_sat_at(connection: Connection, seats: Collection[Seat]) -> tuple[User, ...]:
    """Return those whose telephone was ever one of these, and ANYBODY, as they are now."""
    return tuple(users(acts_on_who_sat_at(connection, seats)).values())


def acts_on_who_sat_at(connection: Connection, seats: Collection[Seat]) -> tuple[UserAct, ...]:
    """Return what was done, oldest first, to those whose telephone was ever one of these, and to ANYBODY."""
    these = tuple_(user_acts.c.node, user_acts.c.interface).in_([(seat.node, seat.interface) for seat in seats])
    named = select(user_acts.c.user).where(these)
    wanted = _ACTS.where(user_acts.c.user.in_(named) | (user_acts.c.user == ANYBODY))
    return _read(connection, wanted)


def seats_ever(connection: Connection, user: str) -> frozenset[Seat]:
    """Return every telephone that was ever this person's."""
    given = [act for act in acts(connection, user) if act.action is UserAction.SEATED]
    return frozenset(Seat(node=act.node, interface=act.interface) for act in given if act.node and act.interface)


def take_turns(connection: Connection) -> None:
    """Wait for whoever else is adding what depends on who may do what."""
    if connection.dialect.name == "postgresql":  # SQLite has one writer at a time anyway
        connection.execute(select(func.pg_advisory_xact_lock(ADDING_LOCK)))


def add(connection: Connection, new: Iterable[UserAct], by: str | None = None) -> None:
    """Do these to the users; CatalogueRefused where one makes no sense. What is in already changes nothing.

    `by` is who is signed in and asks: CatalogueUnfit where it is not for them. None: who owns the machine.
    """
    take_turns(connection)
    for act in new:
        if connection.execute(select(user_acts.c.seq).where(user_acts.c.id == act.id)).first() is not None:
            continue
        known = users(acts(connection))
        refuse_unfit(known, by, act.user, gives(known, act))
        why_not = refusal(known, act)
        if why_not is not None:
            raise CatalogueRefused(why_not)
        connection.execute(user_acts.insert(), asdict(act) | {"actor": clean_text(act.actor)})
        if act.action is UserAction.DISABLED:
            end_sessions(connection, act.user, act.at)


def refuse_unfit(known: Mapping[str, User], by: str | None, name: str, given: Collection[Right] = ()) -> None:
    """CatalogueUnfit where it is not for `by`, who is signed in, to do this to `name`."""
    why = unfit(known, by, name, given) if by is not None else None
    if why is not None:
        raise CatalogueUnfit(why)


def end_sessions(connection: Connection, user: str, at: datetime) -> int:
    """Whatever somebody is signed in by counts no more; how many that were."""
    theirs = sessions.update().where(sessions.c.user == user, sessions.c.ended_at.is_(None))
    return connection.execute(theirs.values(ended_at=at)).rowcount


def _read(connection: Connection, wanted: Select[tuple[object, ...]]) -> tuple[UserAct, ...]:
    found = []
    for row in connection.execute(wanted):
        with suppress(ValueError):  # a newer recorder's role or action, which this one cannot know
            role = None if row.role is None else Role(row.role)
            found.append(UserAct(**row._asdict() | {"role": role, "action": UserAction(row.action)}))
    return tuple(found)
