"""Which lines are kept unrecorded, and what was done to their releases: the rows, and the one way to add another.

Owns the SQL of release_acts; must not decide: recorder.releases does. The invariant: an act is added to what all the
acts before it have left, and to the rights that there are at that moment, or refused with the sentence that says why.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from dataclasses import asdict, fields

from sqlalchemy import Connection, select

from recorder.catalogue import users
from recorder.catalogue.errors import CatalogueRefused
from recorder.catalogue.tables import policies, release_acts
from recorder.policy import KEPT_IN_TEXT
from recorder.releases import ReleaseAct, ReleaseAction, refusal, releases
from recorder.rights import users as users_after

_ACTS = select(*(release_acts.c[field.name].label(field.name) for field in fields(ReleaseAct))).order_by(
    release_acts.c.seq
)


def kept_unrecorded(connection: Connection, among: Collection[str]) -> frozenset[str]:
    """Return those of these lines of which settings have said `never` in so many words, at any time, on any node."""
    said = policies.c.settings.contains(KEPT_IN_TEXT, autoescape=True)
    found = connection.execute(select(policies.c.line).where(policies.c.line.in_(among), said).distinct())
    return frozenset(found.scalars())


def acts(connection: Connection, lines: Collection[str] | None = None) -> tuple[ReleaseAct, ...]:
    """Return what was done to every release, or to those of some lines, oldest first."""
    wanted = _ACTS if lines is None else _ACTS.where(release_acts.c.line.in_(lines))
    found = []
    for row in connection.execute(wanted):
        with suppress(ValueError):  # a newer recorder's action, which this one cannot know
            found.append(ReleaseAct(**row._asdict() | {"action": ReleaseAction(row.action)}))
    return tuple(found)


def add(connection: Connection, act: ReleaseAct) -> None:
    """Do this to a release; CatalogueRefused where it makes no sense. What is in already changes nothing."""
    users.take_turns(connection)  # with whoever takes a right back, too
    if connection.execute(select(release_acts.c.seq).where(release_acts.c.id == act.id)).first() is not None:
        return
    known = users_after(users.acts(connection))
    found, kept = releases(acts(connection)), kept_unrecorded(connection, [act.line])
    why_not = refusal(known, found, kept, act)
    if why_not is not None:
        raise CatalogueRefused(why_not)
    connection.execute(release_acts.insert(), asdict(act))
