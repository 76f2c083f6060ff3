"""Who reads and writes what was said at a moment of a recording, and what a withdrawal leaves of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from recorder.comments import CommentAction, Unread, comments, may_withdraw, unread, withdrawing
from recorder.listens import Audible
from recorder.model import CallId, RecordingId
from recorder.rights import RIGHTS, Grant, Right, Role, User
from recorder.signing_in import Asker, Token
from tests.facts import COMMENT, comment_act, later

AUDIBLE = Audible(
    recording=RecordingId(UUID(int=1)),
    call=CallId(UUID(int=2)),
    node="pbx",
    line="support",
    settled=True,
    sealed=False,
    purposes=frozenset({"training"}),
)
WRITTEN, WITHDRAWN = CommentAction
HEARING = [role for role in Role if Right.LISTEN in RIGHTS[role]]


def asker(*roles: Role, name: str = "lena", line: str = "support", rights: frozenset[Right] | None = None) -> Asker:
    user = User(name=name, grants=frozenset(Grant(role=role, line=line) for role in roles))
    now = datetime(2026, 5, 4, tzinfo=UTC)
    token = Token(
        id=uuid4(),
        digest="0" * 64,
        user=name,
        label="a program",
        issued_at=now,
        issued_by="root",
        until=now + timedelta(days=1),
        rights=rights,
        lines=None,
    )
    return Asker(user=user, token=None if rights is None else token)


@pytest.mark.parametrize("role", list(Role), ids=str)
def test_only_who_may_listen_on_the_line_and_has_done_so_reads_and_writes(role: Role) -> None:
    hears = role in HEARING
    assert unread(asker(role), AUDIBLE, has_opened=True) == (None if hears else Unread.NOT_PERMITTED)
    assert unread(asker(role), AUDIBLE, has_opened=False) == (Unread.UNHEARD if hears else Unread.NOT_PERMITTED)
    assert unread(asker(role, line="sales"), AUDIBLE, has_opened=True) is Unread.NOT_PERMITTED


@pytest.mark.parametrize(
    ("change", "why"), [({"sealed": True}, Unread.SEALED), ({"settled": False}, Unread.NOT_SETTLED)], ids=str
)
def test_of_what_nobody_hears_nobody_reads(change: dict[str, Any], why: Unread) -> None:
    assert unread(asker(Role.SUPERVISOR), replace(AUDIBLE, **change), has_opened=True) is why


def test_a_program_reads_only_with_the_right_to_listen() -> None:
    for rights, why in ((frozenset({Right.LISTEN}), None), (frozenset({Right.SEARCH}), Unread.NOT_PERMITTED)):
        assert unread(asker(Role.SUPERVISOR, rights=rights), AUDIBLE, has_opened=True) is why


def test_comments_stand_in_the_order_of_their_moment_and_what_is_withdrawn_has_no_text() -> None:
    late, early = comment_act(key=uuid4(), moment_ms=9000), comment_act(key=uuid4(), moment_ms=100, at=later(5))
    found = comments([late, early, comment_act(WITHDRAWN, key=late.id, at=later(9))])
    assert [(one.moment_ms, one.said) for one in found] == [(100, "the greeting is missing"), (9000, None)]
    assert found[1].withdrawn_at == later(9)


def test_a_withdrawal_of_nothing_or_by_another_says_nothing() -> None:
    assert comments([comment_act(WITHDRAWN)]) == ()
    (one,) = comments([comment_act(), comment_act(WITHDRAWN, by="bob")])
    assert (one.said, one.withdrawn_at) == ("the greeting is missing", None)


def test_only_its_author_withdraws_a_comment_and_only_on_a_line_that_they_may_hear() -> None:
    (one,) = comments([comment_act()])
    assert may_withdraw(asker(Role.QUALITY), one)
    for other in (asker(Role.QUALITY, name="bob"), asker(Role.QUALITY, line="sales"), asker(Role.AGENT)):
        assert not may_withdraw(other, one)
    act = withdrawing(one, uuid4(), later(9), asker(Role.QUALITY))
    assert (act.comment, act.action, act.actor, act.said, act.moment_ms) == (COMMENT, WITHDRAWN, "lena", None, None)
