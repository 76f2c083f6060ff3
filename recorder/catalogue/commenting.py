"""What people said at moments of recordings: one way in which a row is added, and none to change one.

Owns the SQL of comments; must not decide who may: recorder.comments does. The invariants: what is in already changes
nothing; of one recording there are never more than so many, whoever writes at the same time.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, fields
from typing import Final
from uuid import UUID

from sqlalchemy import Connection, Select, func, select

from recorder.catalogue.errors import CatalogueRefused
from recorder.catalogue.tables import comments, listens
from recorder.catalogue.writing import clean_text
from recorder.comments import EACH_MOST, MOST, Comment, CommentAct, CommentAction
from recorder.comments import comments as comments_after
from recorder.listens import ListenKind
from recorder.model import RecordingId

TURN_LOCK: Final = 7_283_108
"""As listening.TURN_LOCK, with the recording's own number: two that would both be the last take turns."""
_ACTS: Final = select(*(comments.c[field.name].label(field.name) for field in fields(CommentAct)))


def add(connection: Connection, act: CommentAct) -> None:
    """Say this; a rule of the table refuses what cannot be said, and CatalogueRefused says that there are too many."""
    if connection.dialect.name == "postgresql":  # SQLite has one writer at a time anyway
        connection.execute(select(func.pg_advisory_xact_lock(TURN_LOCK, func.hashtext(str(act.recording)))))
    if connection.execute(select(comments.c.seq).where(comments.c.id == act.id)).first() is not None:
        return
    if act.action is CommentAction.WRITTEN:
        _leave_room(connection, act)
    connection.execute(comments.insert(), asdict(act) | {"said": None if act.said is None else clean_text(act.said)})


def _leave_room(connection: Connection, act: CommentAct) -> None:
    written = select(func.count()).select_from(comments).where(comments.c.action == CommentAction.WRITTEN)
    of_it = written.where(comments.c.recording == act.recording)
    if connection.execute(of_it.where(comments.c.actor == act.actor)).scalar_one() >= EACH_MOST:
        raise CatalogueRefused(f"they have said {EACH_MOST} things of this recording already")
    if connection.execute(of_it).scalar_one() >= MOST:
        raise CatalogueRefused(f"{MOST} things are said of this recording already")


def of(connection: Connection, recording: RecordingId) -> tuple[Comment, ...]:
    """Return what was said of a recording, in the order of its moment."""
    return _read(connection, _ACTS.where(comments.c.recording == recording))


def one(connection: Connection, comment: UUID) -> Comment | None:
    """Return one of them; None where there is none."""
    found = _read(connection, _ACTS.where(comments.c.comment == comment))
    return found[0] if found else None


def has_opened(connection: Connection, listener: str, recording: RecordingId) -> bool:
    """Return whether somebody has ever opened this recording."""
    opened = select(listens.c.seq).where(
        listens.c.recording == recording, listens.c.listener == listener, listens.c.kind == ListenKind.OPENED
    )
    return connection.execute(opened.limit(1)).first() is not None


def _read(connection: Connection, wanted: Select[tuple[object, ...]]) -> tuple[Comment, ...]:
    acts = []
    for row in connection.execute(wanted.order_by(comments.c.seq)):
        with suppress(ValueError):  # a newer recorder's action, which this one cannot know
            acts.append(CommentAct(**row._asdict() | {"action": CommentAction(row.action)}))
    return comments_after(acts)
