"""What agents say against their calls, and what was answered: one way in which a row is added, and none to change one.

Owns the SQL of contests; must not decide who may: recorder.contests does. The invariant: what is in already changes
nothing, and a second answer is refused.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from dataclasses import asdict, fields
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import Connection, Row, Select, and_, exists, func, or_, select

from recorder.catalogue.errors import CatalogueRefused
from recorder.catalogue.tables import contests, listens
from recorder.catalogue.writing import clean_text
from recorder.contests import OPEN_MOST, Contest, ContestAct, ContestAction
from recorder.contests import contests as contests_after
from recorder.listens import ListenKind
from recorder.model import CallId

_ACTS: Final = select(*(contests.c[field.name].label(field.name) for field in fields(ContestAct)))


def add(connection: Connection, act: ContestAct) -> None:
    """Say this; a rule of the table refuses what cannot be said, and CatalogueRefused says that too much is open."""
    if connection.execute(select(contests.c.seq).where(contests.c.id == act.id)).first() is not None:
        return
    if act.action is ContestAction.CONTESTED and count_open(connection, agent=act.agent) >= OPEN_MOST:
        raise CatalogueRefused(f"{OPEN_MOST} of what they contested wait for an answer already")
    connection.execute(contests.insert(), asdict(act) | {"said": clean_text(act.said)})


def found(
    connection: Connection,
    limit: int,
    *,
    agent: str | None = None,
    lines: Collection[str] | None = (),
    call: CallId | None = None,
    before: tuple[datetime, UUID] | None = None,
) -> tuple[Contest, ...]:
    """Return the newest contests of this agent, or on these lines (None: every one); of one call where it is named."""
    wanted = _ACTS.where(contests.c.action == ContestAction.CONTESTED)
    wanted = wanted.order_by(contests.c.at.desc(), contests.c.id.desc()).limit(limit)
    if lines is not None:
        wanted = wanted.where(or_(contests.c.agent == agent, contests.c.line.in_(sorted(lines))))
    if call is not None:
        wanted = wanted.where(contests.c.call == call)
    if before is not None:
        at, id_ = before
        wanted = wanted.where(or_(contests.c.at < at, and_(contests.c.at == at, contests.c.id < id_)))
    begun = _read(connection, wanted)
    answers = _ACTS.where(contests.c.contest.in_([act.id for act in begun]))
    answers = answers.where(contests.c.action == ContestAction.ANSWERED)
    return tuple(contests_after((*begun, *_read(connection, answers))).values())


def one(connection: Connection, contest: UUID) -> Contest | None:
    """Return one of them; None where there is none."""
    rows = _read(connection, _ACTS.where(contests.c.contest == contest).order_by(contests.c.seq))
    return contests_after(rows).get(contest)


def count_open(connection: Connection, *, node: str | None = None, agent: str | None = None) -> int:
    """Return how many nobody has answered, of one node's calls or of one agent's."""
    answer = contests.alias("answer")
    is_answered = exists().where(answer.c.contest == contests.c.id, answer.c.action == ContestAction.ANSWERED)
    wanted = (
        select(func.count()).select_from(contests).where(contests.c.action == ContestAction.CONTESTED, ~is_answered)
    )
    if node is not None:
        wanted = wanted.where(contests.c.node == node)
    if agent is not None:
        wanted = wanted.where(contests.c.agent == agent)
    return int(connection.execute(wanted).scalar_one())


def first_heard(connection: Connection, listener: str, of: Collection[CallId]) -> dict[CallId, datetime]:
    """Return when somebody first opened a recording of each of these calls; one that they never heard is not there."""
    wanted = select(listens.c.call, func.min(listens.c.at).label("at")).where(
        listens.c.listener == listener, listens.c.kind == ListenKind.OPENED, listens.c.call.in_(of)
    )
    return {CallId(row.call): row.at for row in connection.execute(wanted.group_by(listens.c.call))}


def _read(connection: Connection, wanted: Select[tuple[object, ...]]) -> tuple[ContestAct, ...]:
    read = []
    for row in connection.execute(wanted):
        with suppress(ValueError):  # a newer recorder's action, which this one cannot know
            read.append(_act(row))
    return tuple(read)


def _act(row: Row[tuple[object, ...]]) -> ContestAct:
    return ContestAct(**row._asdict() | {"action": ContestAction(row.action)})
