"""Who may be believed to be whom: passwords, sessions and tokens, when each counts, and when a name is locked.

Pure. Must not keep anything, nor make a secret: what is secret comes as its digest. The invariants: in doubt nobody is
signed in; what a person typed in place of a name is kept nowhere; a token permits at most what its person may.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from recorder.rights import Right, User, permits

SHORTEST_PASSWORD: Final = 12
LONGEST_PASSWORD: Final = 256
"""In characters. Rules on which kinds they are make worse passwords (NIST SP 800-63B, 3.1.1.2)."""
FEWEST_DIFFERENT: Final = 5
FAILURES_MOST: Final = 5
FAILURES_WITHIN: Final = timedelta(minutes=15)
LOCKED_FOR: Final = timedelta(minutes=15)
IDLE_MOST: Final = timedelta(minutes=30)
SESSION_LONGEST: Final = timedelta(hours=12)
SEEN_AGAIN_AFTER: Final = timedelta(minutes=1)
"""So much later a session's use is written down again, and not at each page."""
CLOCK_DOUBT: Final = timedelta(minutes=1)
"""A session that was last seen so far in the future is none: somebody's clock was set."""
TOKEN_LONGEST: Final = timedelta(days=366)
LABEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,62}[A-Za-z0-9]")
"""What a token is called: for lists and audits, and no free text."""
TOKEN_MARK: Final = "rec_"  # by which scanners of repositories and logs can find one


class SignInAction(StrEnum):
    """What happened to somebody's ways in."""

    PASSWORD_SET = "password_set"  # by somebody else: it is to be changed at the first signing in
    PASSWORD_CHANGED = "password_changed"
    SIGNED_IN = "signed_in"
    REFUSED = "refused"
    SIGNED_OUT = "signed_out"
    TOKEN_ISSUED = "token_issued"
    TOKEN_WITHDRAWN = "token_withdrawn"


@dataclass(frozen=True, slots=True, kw_only=True)
class SignInAct:
    """One of them. `user` is None where the name that was typed is nobody's: it may have been a password."""

    id: UUID
    at: datetime
    user: str | None
    action: SignInAction
    actor: str | None  # None: nobody has shown who it was
    address: str | None = None
    token: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Password:
    """`kept` is what the password hasher makes of it, salt and all."""

    user: str
    kept: str
    set_at: datetime
    must_change: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """`digest` is of the secret that the browser holds."""

    digest: str
    user: str
    began_at: datetime
    seen_at: datetime
    address: str
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A program's way in, in a person's name. `rights` and `lines` narrow what that person may; None: as they are."""

    id: UUID
    digest: str
    user: str
    label: str
    issued_at: datetime
    issued_by: str
    until: datetime
    rights: frozenset[Right] | None = None
    lines: frozenset[str] | None = None
    withdrawn_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """Who asks, as they have shown it. The one place that says what they may, whatever they ask for."""

    user: User
    token: Token | None = None
    session: Session | None = None
    must_change: bool = False

    @property
    def name(self) -> str:
        """As audits have it."""
        return self.user.name if self.token is None else f"{self.user.name} by token {self.token.label}"

    @property
    def is_in_person(self) -> bool:
        """Whether it is the person, at a page, and no program in their name."""
        return self.session is not None and self.user.enabled and not self.must_change

    def may(self, right: Right, line: str) -> bool:
        """Whether they may, on this line. Who has to change their password may nothing before."""
        narrowed = self.token is not None and not (
            (self.token.rights is None or right in self.token.rights)
            and (self.token.lines is None or line in self.token.lines)
        )
        return not self.must_change and not narrowed and permits(self.user, right, line)


def digest_of(secret: str) -> str:
    """What is kept of a secret of ours that has 256 random bits: nobody finds it again by trying."""
    return hashlib.sha256(secret.encode()).hexdigest()


class Weak(StrEnum):
    """Why something cannot be somebody's password."""

    SHORT = "short"
    LONG = "long"
    ALIKE = "alike"
    NAMED = "named"
    SAME = "same"


WEAKNESSES: Final[dict[Weak, str]] = {
    Weak.SHORT: f"a password has at least {SHORTEST_PASSWORD} characters",
    Weak.LONG: f"a password has at most {LONGEST_PASSWORD} characters",
    Weak.ALIKE: f"a password has at least {FEWEST_DIFFERENT} different characters",
    Weak.NAMED: "a password does not hold its person's name",
    Weak.SAME: "it is the password that they have",
}


def weakness(name: str, password: str, before: str | None = None) -> Weak | None:
    """Why this cannot be somebody's password, in place of `before`; None where it can."""
    if len(password) < SHORTEST_PASSWORD:
        return Weak.SHORT
    if len(password) > LONGEST_PASSWORD:
        return Weak.LONG
    if len(set(password.casefold())) < FEWEST_DIFFERENT:
        return Weak.ALIKE
    if name.casefold() in password.casefold():
        return Weak.NAMED
    return Weak.SAME if password == before else None


def locked_until(acts: Iterable[SignInAct], now: datetime) -> datetime | None:
    """Until when a name is locked; None: it is not. `acts` are that name's, as they were written: clocks are set.

    A right password, or one that an administrator sets, ends the count.
    """
    failures: list[datetime] = []
    for act in acts:
        if act.action in (SignInAction.SIGNED_IN, SignInAction.PASSWORD_SET):
            failures = []
        elif act.action is SignInAction.REFUSED:
            failures = [at for at in failures if act.at - at <= FAILURES_WITHIN] + [act.at]
    if len(failures) < FAILURES_MOST:
        return None
    until = failures[-1] + LOCKED_FOR
    return until if now < until else None


def session_stands(session: Session, password: Password | None, user: User | None, now: datetime) -> bool:
    """Whether somebody is still signed in by it. That a new password or being disabled ended it, its row says."""
    if user is None or not user.enabled or password is None or session.ended_at is not None:
        return False
    if session.user != user.name or password.user != user.name:
        return False
    if session.seen_at - now > CLOCK_DOUBT:
        return False
    return now - session.seen_at <= IDLE_MOST and now - session.began_at <= SESSION_LONGEST


def token_stands(token: Token, user: User | None, now: datetime) -> bool:
    """Whether a token counts."""
    is_theirs = user is not None and user.enabled and user.name == token.user
    return is_theirs and token.withdrawn_at is None and token.issued_at - CLOCK_DOUBT <= now < token.until


def token_refusal(token: Token, user: User | None) -> str | None:
    """Why such a token cannot be issued, as a sentence; None where it can."""
    if user is None:
        return f"nobody is entered as {token.user}"
    if not user.enabled:
        return f"{user.name} is disabled"
    if not LABEL.fullmatch(token.label):
        return f"{token.label!r} is no label: letters, digits, blanks, dots, - and _, from 2 to 64"
    if not timedelta(0) < token.until - token.issued_at <= TOKEN_LONGEST:
        return f"a token ends later than now, and at most {TOKEN_LONGEST.days} days from now"
    held = {right for right in Right if any(grant.permits(right, grant.line) for grant in user.grants)}
    beyond = sorted((token.rights or frozenset()) - held)
    return f"{user.name} has no right {', '.join(beyond)} that a token could have" if beyond else None
