"""Passwords, locks, sessions and tokens: when each counts (AC-01)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.rights import EVERY_LINE, HALVES, RIGHTS, Grant, Right, Role, User
from recorder.signing_in import (
    FAILURES_MOST,
    FAILURES_WITHIN,
    IDLE_MOST,
    LOCKED_FOR,
    SESSION_LONGEST,
    TOKEN_LONGEST,
    Asker,
    Password,
    Session,
    SignInAct,
    SignInAction,
    Token,
    Weak,
    locked_until,
    session_stands,
    token_refusal,
    token_stands,
    weakness,
)
from tests.facts import NOON

SECOND = timedelta(seconds=1)
ALICE = User(name="alice", grants=frozenset({Grant(role=Role.SUPERVISOR, line="support")}))
SESSION = Session(digest="d" * 64, user="alice", began_at=NOON, seen_at=NOON, address="192.0.2.7")
PASSWORD = Password(user="alice", kept="$argon2id$", set_at=NOON - SECOND, must_change=False)
TOKEN = Token(
    id=uuid4(),
    digest="d" * 64,
    user="alice",
    label="board",
    issued_at=NOON,
    issued_by="root",
    until=NOON + timedelta(days=1),
)


def act(action: SignInAction, seconds: float) -> SignInAct:
    return SignInAct(id=uuid4(), at=NOON + timedelta(seconds=seconds), user="alice", action=action, actor=None)


def tries(count: int, *, apart: float = 1, since: float = 0) -> list[SignInAct]:
    return [act(SignInAction.REFUSED, since + number * apart) for number in range(count)]


# --------------------------------------------------------------------------- passwords


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("correct horse", None),
        ("correct hors", None),
        ("correct hor", Weak.SHORT),
        ("x" * 257, Weak.LONG),
        ("abcdabcdabcd", Weak.ALIKE),
        ("aBcDAbCdabcd", Weak.ALIKE),
        ("it is ALICE again", Weak.NAMED),
        ("the one before this", Weak.SAME),
    ],
)
def test_what_can_be_a_password(password: str, why: Weak | None) -> None:
    assert weakness("alice", password, "the one before this") is why


# --------------------------------------------------------------------------- locks


@pytest.mark.parametrize(
    ("acts", "seconds", "locked"),
    [
        ([], 0, False),
        (tries(FAILURES_MOST - 1), 10, False),
        (tries(FAILURES_MOST), 10, True),
        (tries(FAILURES_MOST), 4 + LOCKED_FOR.total_seconds() - 1, True),
        (tries(FAILURES_MOST), 4 + LOCKED_FOR.total_seconds(), False),
        (tries(FAILURES_MOST, apart=FAILURES_WITHIN.total_seconds() / 3), 3601, False),
        ([*tries(4), act(SignInAction.SIGNED_IN, 5), *tries(4, since=6)], 20, False),
        ([*tries(5), act(SignInAction.PASSWORD_SET, 5)], 20, False),
        ([*tries(5), act(SignInAction.SIGNED_OUT, 5)], 20, True),
        ([*tries(5), act(SignInAction.PASSWORD_SET, 5), *tries(5, since=6)], 20, True),
    ],
)
def test_a_name_is_locked_by_wrong_passwords_in_a_row_for_a_while(
    acts: list[SignInAct], seconds: float, locked: bool
) -> None:
    assert (locked_until(acts, NOON + timedelta(seconds=seconds)) is not None) is locked


def test_a_clock_that_is_set_back_does_not_keep_a_name_locked_that_was_unlocked() -> None:
    acts = [*tries(5, since=3600), act(SignInAction.PASSWORD_SET, 0)]
    assert locked_until(acts, NOON + SECOND) is None


# --------------------------------------------------------------------------- sessions and tokens


@pytest.mark.parametrize(
    ("session", "password", "user", "after", "stands"),
    [
        (SESSION, PASSWORD, ALICE, SECOND, True),
        (SESSION, PASSWORD, ALICE, IDLE_MOST, True),
        (SESSION, PASSWORD, ALICE, IDLE_MOST + SECOND, False),
        (replace(SESSION, seen_at=NOON + SESSION_LONGEST), PASSWORD, ALICE, SESSION_LONGEST, True),
        (replace(SESSION, seen_at=NOON + SESSION_LONGEST), PASSWORD, ALICE, SESSION_LONGEST + SECOND, False),
        (replace(SESSION, ended_at=NOON), PASSWORD, ALICE, SECOND, False),
        (SESSION, PASSWORD, replace(ALICE, enabled=False), SECOND, False),
        (SESSION, PASSWORD, None, SECOND, False),
        (SESSION, None, ALICE, SECOND, False),
        (replace(SESSION, user="bob"), PASSWORD, ALICE, SECOND, False),
        (SESSION, replace(PASSWORD, user="bob"), ALICE, SECOND, False),
        (replace(SESSION, seen_at=NOON + timedelta(hours=1)), PASSWORD, ALICE, SECOND, False),
    ],
)
def test_when_a_session_stands(
    session: Session, password: Password | None, user: User | None, after: timedelta, stands: bool
) -> None:
    assert session_stands(session, password, user, NOON + after) is stands


@pytest.mark.parametrize(
    ("token", "user", "after", "stands"),
    [
        (TOKEN, ALICE, SECOND, True),
        (TOKEN, ALICE, timedelta(days=1), False),
        (TOKEN, ALICE, timedelta(hours=-1), False),
        (replace(TOKEN, withdrawn_at=NOON), ALICE, SECOND, False),
        (TOKEN, replace(ALICE, enabled=False), SECOND, False),
        (TOKEN, replace(ALICE, name="bob"), SECOND, False),
        (TOKEN, None, SECOND, False),
    ],
)
def test_when_a_token_counts(token: Token, user: User | None, after: timedelta, stands: bool) -> None:
    assert token_stands(token, user, NOON + after) is stands


@pytest.mark.parametrize(
    ("token", "user", "why"),
    [
        (TOKEN, ALICE, None),
        (replace(TOKEN, rights=frozenset({Right.WATCH})), ALICE, None),
        (TOKEN, None, "nobody is entered"),
        (TOKEN, replace(ALICE, enabled=False), "is disabled"),
        (replace(TOKEN, label="x"), ALICE, "is no label"),
        (replace(TOKEN, label="Ann's <b>"), ALICE, "is no label"),
        (replace(TOKEN, until=NOON), ALICE, "later than now"),
        (replace(TOKEN, until=NOON + TOKEN_LONGEST + SECOND), ALICE, "366 days"),
        (replace(TOKEN, rights=frozenset({Right.CONTROL})), ALICE, "no right call.control"),
    ],
)
def test_which_token_can_be_issued(token: Token, user: User | None, why: str | None) -> None:
    said = token_refusal(token, user)
    assert said is None if why is None else why in str(said)


# --------------------------------------------------------------------------- what somebody may


@pytest.mark.parametrize(
    ("asker", "right", "line", "may"),
    [
        (Asker(user=ALICE), Right.WATCH, "support", True),
        (Asker(user=ALICE), Right.WATCH, "sales", False),
        (Asker(user=ALICE), Right.CONTROL, "support", False),
        (Asker(user=ALICE, must_change=True), Right.WATCH, "support", False),
        (Asker(user=replace(ALICE, enabled=False)), Right.WATCH, "support", False),
        (Asker(user=ALICE, token=TOKEN), Right.WATCH, "support", True),
        (Asker(user=ALICE, token=replace(TOKEN, rights=frozenset())), Right.WATCH, "support", False),
        (Asker(user=ALICE, token=replace(TOKEN, rights=frozenset(Right))), Right.CONTROL, "support", False),
        (Asker(user=ALICE, token=replace(TOKEN, lines=frozenset({"sales"}))), Right.WATCH, "support", False),
        (Asker(user=ALICE, token=replace(TOKEN, lines=frozenset({"sales"}))), Right.WATCH, "sales", False),
    ],
)
def test_a_token_narrows_and_never_widens(asker: Asker, right: Right, line: str, may: bool) -> None:
    assert asker.may(right, line) is may


@given(
    st.frozensets(st.sampled_from(Role)),
    st.one_of(st.none(), st.frozensets(st.sampled_from(Right))),
    st.one_of(st.none(), st.frozensets(st.sampled_from(["support", "sales"]))),
    st.sampled_from(Right),
    st.sampled_from(["support", "sales"]),
)
def test_whatever_a_token_says_it_permits_only_what_its_person_may(
    roles: frozenset[Role],
    rights: frozenset[Right] | None,
    lines: frozenset[str] | None,
    right: Right,
    line: str,
) -> None:
    user = User(name="alice", grants=frozenset(Grant(role=role, line=EVERY_LINE) for role in roles))
    by_token = Asker(user=user, token=replace(TOKEN, rights=rights, lines=lines))
    assert not by_token.may(right, line) or Asker(user=user).may(right, line)


def test_no_role_has_both_halves_of_an_act_that_takes_two() -> None:
    for halves in HALVES:
        assert len(halves) == 2
        assert not [role for role, rights in RIGHTS.items() if halves <= rights]
