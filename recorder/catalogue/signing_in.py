"""How people show who they are: passwords, sessions, tokens, and the row that each use of them leaves.

Owns the SQL of passwords, sessions, tokens and sign_ins; must not decide: recorder.signing_in does. The invariant: what
is changed here and the act that tells of it are in one transaction.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, Table, select

from recorder.catalogue.errors import CatalogueRefused
from recorder.catalogue.tables import passwords, sessions, sign_ins, tokens, user_acts
from recorder.catalogue.users import acts, end_sessions, refuse_unfit, take_turns
from recorder.catalogue.writing import clean_text
from recorder.rights import ANYBODY, Right, User, UserAction, rights_of, users
from recorder.signing_in import (
    FAILURES_WITHIN,
    LOCKED_FOR,
    Password,
    Session,
    SignInAct,
    SignInAction,
    Token,
    token_refusal,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A person and their password, as they are now; `acts` are of as long ago as a lock can matter."""

    user: User | None
    password: Password | None
    acts: tuple[SignInAct, ...] = ()


def known(connection: Connection, name: str, now: datetime) -> Known:
    """Return what there is of somebody who wants to sign in; of a name that nobody has, nothing."""
    if name == ANYBODY:
        return Known(user=None, password=None)
    since = now - FAILURES_WITHIN - LOCKED_FOR
    wanted = select(sign_ins).where(sign_ins.c.user == name, sign_ins.c.at >= since).order_by(sign_ins.c.seq)
    return Known(
        user=_user(connection, name),
        password=_password(connection, name),
        acts=_acts(connection.execute(wanted)),
    )


def set_password(
    connection: Connection, password: Password, act: SignInAct, was: str | None = None, by: str | None = None
) -> None:
    """Give somebody this password in place of the one they had, and end every session of theirs.

    CatalogueRefused where there is nobody of that name, or where it is not in place of what it `was`; CatalogueUnfit
    where it is not for `by`, who is signed in, to give them one.
    """
    _refuse_unfit(connection, by, password.user, is_way_in=True)
    if password.user == ANYBODY or _user(connection, password.user) is None:
        raise CatalogueRefused(f"nobody is entered as {password.user}")
    before = _password(connection, password.user)
    if was is not None and (before is None or before.kept != was):
        raise CatalogueRefused(f"the password of {password.user} was changed meanwhile")
    end_sessions(connection, password.user, act.at)
    _put(connection, passwords, "user", asdict(password))
    _add(connection, act)


def _refuse_unfit(connection: Connection, by: str | None, name: str, *, is_way_in: bool = False) -> None:
    """Whoever is given a way in by somebody has what its person may at that somebody's hands."""
    if by is None:
        return
    take_turns(connection)
    known = users(acts(connection))
    user = known.get(name)
    refuse_unfit(known, by, name, rights_of(user) if is_way_in and user is not None else ())


def end_sessions_of(connection: Connection, act: SignInAct, by: str) -> None:
    """End every session of the act's person; CatalogueRefused where they have none, CatalogueUnfit as above."""
    if act.user is None:
        return
    _refuse_unfit(connection, by, act.user)
    if not end_sessions(connection, act.user, act.at):
        raise CatalogueRefused(f"{act.user} is signed in nowhere")
    _add(connection, act)


def keep_hash(connection: Connection, user: str, was: str, kept: str) -> None:
    """Keep the same password in another form, unless it was changed meanwhile."""
    connection.execute(passwords.update().where(passwords.c.user == user, passwords.c.kept == was).values(kept=kept))


def begin_session(connection: Connection, session: Session, kept: str, act: SignInAct) -> None:
    """Begin a session by the password that is kept so; CatalogueRefused where it is another by now."""
    password, user = _password(connection, session.user), _user(connection, session.user)
    if password is None or password.kept != kept or user is None or not user.enabled:
        raise CatalogueRefused(f"the password of {session.user} was changed meanwhile")
    _put(connection, sessions, "digest", asdict(session))
    _add(connection, act)


def see_session(connection: Connection, digest: str, at: datetime) -> None:
    """Note that a session was used."""
    connection.execute(sessions.update().where(sessions.c.digest == digest, sessions.c.seen_at < at).values(seen_at=at))


def end_session(connection: Connection, digest: str, act: SignInAct) -> None:
    """End a session; one that is over stays as it ended."""
    ended = connection.execute(
        sessions.update().where(sessions.c.digest == digest, sessions.c.ended_at.is_(None)).values(ended_at=act.at)
    )
    if ended.rowcount:
        _add(connection, act)


def add_act(connection: Connection, act: SignInAct) -> None:
    """Note what happened where nothing else changes by it."""
    _add(connection, act)


def session_of(connection: Connection, digest: str) -> tuple[Session, Known] | None:
    """Return the session of this secret, whether it stands or not, with whose it is."""
    row = connection.execute(select(sessions).where(sessions.c.digest == digest)).one_or_none()
    if row is None:
        return None
    session = Session(**_values(row, Session))
    return session, Known(user=_user(connection, session.user), password=_password(connection, session.user))


def issue_token(connection: Connection, token: Token, act: SignInAct) -> None:
    """Keep a token; CatalogueRefused, with why, where it makes no sense. What is in already changes nothing."""
    if connection.execute(select(tokens.c.id).where(tokens.c.id == token.id)).first() is not None:
        return
    why_not = token_refusal(token, _user(connection, token.user))
    if why_not is not None:
        raise CatalogueRefused(why_not)
    values = asdict(token) | {
        "issued_by": clean_text(token.issued_by),
        "rights": None if token.rights is None else sorted(token.rights),
        "lines": None if token.lines is None else sorted(token.lines),
    }
    connection.execute(tokens.insert(), values)
    _add(connection, act)


def withdraw_token(connection: Connection, token: UUID, act: SignInAct, by: str | None = None) -> None:
    """Let a token count no more; CatalogueRefused where there is none of theirs, or it was withdrawn already."""
    whose = connection.execute(select(tokens.c.user).where(tokens.c.id == token)).scalar()
    if whose is None or whose != act.user:
        raise CatalogueRefused(f"there is no token {token} of that person")
    _refuse_unfit(connection, by, whose)
    ended = connection.execute(
        tokens.update().where(tokens.c.id == token, tokens.c.withdrawn_at.is_(None)).values(withdrawn_at=act.at)
    )
    if not ended.rowcount:
        raise CatalogueRefused(f"there is no token {token} that could be withdrawn")
    _add(connection, act)


def token_of(connection: Connection, digest: str) -> tuple[Token, User | None] | None:
    """Return the token of this secret, whether it counts or not, with whose it is."""
    row = connection.execute(select(tokens).where(tokens.c.digest == digest)).one_or_none()
    return None if row is None else (_token(row), _user(connection, row._mapping[tokens.c.user]))


def tokens_of(connection: Connection, user: str | None = None) -> tuple[Token, ...]:
    """Return everybody's tokens, or one person's, the oldest first; those that count no more too."""
    wanted = select(tokens).order_by(tokens.c.issued_at, tokens.c.id)
    found = connection.execute(wanted if user is None else wanted.where(tokens.c.user == user))
    return tuple(_token(row) for row in found)


def acts_of(connection: Connection, user: str) -> tuple[SignInAct, ...]:
    """Return what happened to somebody's ways in, the oldest first."""
    wanted = select(sign_ins).where(sign_ins.c.user == user).order_by(sign_ins.c.seq)
    return _acts(connection.execute(wanted))


def last_signed_in(connection: Connection) -> dict[str, datetime]:
    """Return when each of those who ever signed in did so last."""
    names = select(user_acts.c.user).where(user_acts.c.action == UserAction.ADDED).distinct().subquery()
    own = select(sign_ins.c.at).where(sign_ins.c.user == names.c.user, sign_ins.c.action == SignInAction.SIGNED_IN)
    last = own.order_by(sign_ins.c.at.desc()).limit(1).scalar_subquery()
    return {name: at for name, at in connection.execute(select(names.c.user, last)) if at is not None}


def _user(connection: Connection, name: str) -> User | None:
    return users(acts(connection, name)).get(name)


def _password(connection: Connection, name: str) -> Password | None:
    row = connection.execute(select(passwords).where(passwords.c.user == name)).one_or_none()
    return None if row is None else Password(**_values(row, Password))


def _token(row: Row[Any]) -> Token:
    values = _values(row, Token)
    # A right of a newer recorder's is none that this one could give.
    rights = None if values["rights"] is None else frozenset(Right) & frozenset(values["rights"])
    lines = None if values["lines"] is None else frozenset(values["lines"])
    return Token(**values | {"rights": rights, "lines": lines})


def _acts(rows: Iterable[Row[Any]]) -> tuple[SignInAct, ...]:
    found = []
    for row in rows:
        with suppress(ValueError):  # a newer recorder's word, which this one cannot know
            found.append(SignInAct(**_values(row, SignInAct) | {"action": SignInAction(row.action)}))
    return tuple(found)


def _values(row: Row[Any], kind: Any) -> dict[str, Any]:
    """The row's columns by the names of this dataclass' fields."""
    found = dict(row._mapping) | {"user": row._mapping["of_user"]}
    return {field.name: found[field.name] for field in fields(kind)}


def _put(connection: Connection, table: Table, key: str, values: dict[str, Any]) -> None:
    """Add the row, or have it be this from now on."""
    there = table.c[key] == values[key]
    if not connection.execute(table.update().where(there).values(values)).rowcount:
        connection.execute(table.insert(), values)


def _add(connection: Connection, act: SignInAct) -> None:
    if connection.execute(select(sign_ins.c.seq).where(sign_ins.c.id == act.id)).first() is not None:
        return
    actor = None if act.actor is None else clean_text(act.actor)
    connection.execute(sign_ins.insert(), asdict(act) | {"actor": actor})
