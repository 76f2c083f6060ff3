"""Who may override, on which line, from which telephone (OV-01): pure."""

from __future__ import annotations

from dataclasses import replace

import pytest

from recorder.rights import (
    ANYBODY,
    EVERY_LINE,
    Denied,
    Permission,
    Right,
    Seat,
    User,
    UserAct,
    UserAction,
    at_telephone,
    refusal,
    users,
)
from tests.facts import NODE, user_act

ALICE, BOB, MEMBER = "PJSIP/alice", "PJSIP/bob", "Local/101@agents"
ADDED, SEATED, GRANTED, REVOKED, DISABLED, ENABLED = UserAction


def did(
    action: UserAction, user: str = "alice", at: str | None = None, line: str | None = None, node: str = NODE
) -> UserAct:
    return replace(user_act(action, user, at=at, line=line), node=node if action is SEATED else None)


def entered(user: str, at: str | None = None) -> list[UserAct]:
    return [did(ADDED, user), *([did(SEATED, user, at)] if at else [])]


ALICE_IS = entered("alice", ALICE)
MAY = [*ALICE_IS, did(GRANTED, line="support")]
BOB_MAY = [*entered("bob", BOB), did(GRANTED, "bob", line="support")]
ANYBODY_MAY = did(GRANTED, ANYBODY, line="support")


def asked(acts: list[UserAct], telephone: str = ALICE, member: str | None = None) -> Permission:
    """On line support, from a telephone of NODE."""
    seats = [Seat(node=NODE, interface=at) for at in (telephone, member) if at]
    return at_telephone(users(acts).values(), Right.OVERRIDE, "support", seats[0], seats[1] if member else None)


def allowed(user: str | None) -> Permission:
    return Permission(user=user)


def denied(why: Denied, user: str | None = None) -> Permission:
    return Permission(user=user, denied=why)


WHO: dict[str, tuple[list[UserAct], Permission]] = {
    "nobody is entered": ([], denied(Denied.UNKNOWN)),
    "somebody without a right": (ALICE_IS, denied(Denied.NOT_GRANTED, "alice")),
    "granted": (MAY, allowed("alice")),
    "granted on another line": ([*ALICE_IS, did(GRANTED, line="sales")], denied(Denied.NOT_GRANTED, "alice")),
    "granted on every line": ([*ALICE_IS, did(GRANTED, line=EVERY_LINE)], allowed("alice")),
    "taken back": ([*MAY, did(REVOKED, line="support")], denied(Denied.NOT_GRANTED, "alice")),
    "one of two taken back": ([*MAY, did(GRANTED, line=EVERY_LINE), did(REVOKED, line=EVERY_LINE)], allowed("alice")),
    "disabled": ([*MAY, did(DISABLED)], denied(Denied.DISABLED, "alice")),
    "enabled again": ([*MAY, did(DISABLED), did(ENABLED)], allowed("alice")),
    "at another telephone now": ([*MAY, did(SEATED, at=BOB)], denied(Denied.UNKNOWN)),
    "without a telephone": ([*MAY, did(SEATED)], denied(Denied.UNKNOWN)),
    "on another node": ([*entered("alice"), did(SEATED, at=ALICE, node="pbx2"), *MAY[2:]], denied(Denied.UNKNOWN)),
    "on two nodes": ([*MAY, did(SEATED, at=BOB, node="pbx2")], allowed("alice")),
    "granted before they were entered": (
        [did(GRANTED, line="support"), *ALICE_IS],
        denied(Denied.NOT_GRANTED, "alice"),
    ),
    "entered twice": ([*MAY, did(ADDED)], allowed("alice")),
    "another's right": ([*ALICE_IS, *BOB_MAY], denied(Denied.NOT_GRANTED, "alice")),
    "two at one telephone": ([*MAY, *entered("bob", ALICE)], denied(Denied.UNKNOWN)),
    "in place of one who is disabled": ([*MAY, did(DISABLED), *BOB_MAY, did(SEATED, "bob", ALICE)], allowed("bob")),
    "anybody may, and nobody is entered": ([ANYBODY_MAY], allowed(None)),
    "anybody may, and somebody is": ([*ALICE_IS, ANYBODY_MAY], allowed("alice")),
    "anybody may on another line": ([did(GRANTED, ANYBODY, line="sales")], denied(Denied.UNKNOWN)),
    "anybody may, but who is disabled": ([*MAY, ANYBODY_MAY, did(DISABLED)], denied(Denied.DISABLED, "alice")),
    "anybody may, and two are entered": ([*MAY, *entered("bob", ALICE), ANYBODY_MAY], allowed(None)),
    "anybody may no more": ([ANYBODY_MAY, did(REVOKED, ANYBODY, line="support")], denied(Denied.UNKNOWN)),
}


@pytest.mark.parametrize(("acts", "answer"), WHO.values(), ids=WHO)
def test_who_may_override_is_who_was_granted_it_on_that_line(acts: list[UserAct], answer: Permission) -> None:
    assert asked(acts) == answer


@pytest.mark.parametrize(
    ("acts", "answer"),
    [
        ([*entered("alice", MEMBER), did(GRANTED, line="support")], allowed("alice")),
        (
            [*entered("alice", MEMBER), did(GRANTED, line="support"), *entered("bob", BOB)],
            denied(Denied.NOT_GRANTED, "bob"),
        ),
        (
            [*entered("alice", MEMBER), did(GRANTED, line="support"), *BOB_MAY, did(DISABLED, "bob")],
            denied(Denied.DISABLED, "bob"),
        ),
        ([*entered("alice", MEMBER), *BOB_MAY], allowed("bob")),
    ],
    ids=["the member's", "who is entered there has none", "who is entered there is disabled", "who is entered there"],
)
def test_the_member_says_who_sits_there_only_where_nobody_is_entered_for_the_telephone_itself(
    acts: list[UserAct], answer: Permission
) -> None:
    assert asked(acts, BOB, MEMBER) == answer


def test_people_without_a_telephone_sit_nowhere() -> None:
    assert asked([*entered("alice"), *entered("bob")]) == denied(Denied.UNKNOWN)


@pytest.mark.parametrize(
    ("before", "act", "why"),
    [
        (ALICE_IS, did(ADDED), "alice is entered already"),
        ([*ALICE_IS, did(DISABLED)], did(ADDED), "alice is entered already, and disabled"),
        ([], did(ADDED, ANYBODY), "anybody stands for whoever is at a telephone, and has roles alone"),
        ([], did(ADDED, "Alice B."), "'Alice B.' is no name"),
        ([], did(ADDED, "a"), "'a' is no name"),
        ([*ALICE_IS, *entered("bob")], did(SEATED, "bob", ALICE), "PJSIP/alice is alice's"),
        ([*ALICE_IS, did(DISABLED), *entered("bob", ALICE)], did(ENABLED), "PJSIP/alice is bob's"),
        ([], did(GRANTED, line="support"), "nobody is entered as alice"),
        (MAY, did(GRANTED, line="support"), "alice is overrider on line support already"),
        (MAY, did(REVOKED, line=EVERY_LINE), "alice is not overrider on every line by a grant of its own"),
        ([*ALICE_IS, did(DISABLED)], did(DISABLED), "alice is disabled already"),
        (ALICE_IS, did(ENABLED), "alice is not disabled"),
        ([], did(DISABLED, ANYBODY), "anybody stands for whoever is at a telephone, and has roles alone"),
        ([], did(SEATED, ANYBODY, ALICE), "anybody stands for whoever is at a telephone, and has roles alone"),
    ],
)
def test_what_makes_no_sense_is_refused_with_why(before: list[UserAct], act: UserAct, why: str) -> None:
    assert (refusal(users(before), act) or "").startswith(why)


@pytest.mark.parametrize(
    ("before", "act"),
    [
        ([], did(ADDED)),
        (ALICE_IS, did(ADDED, "bob")),
        (ALICE_IS, did(SEATED, at=ALICE)),
        ([*ALICE_IS, *entered("bob")], did(SEATED, "bob", ALICE, node="pbx2")),
        ([*ALICE_IS, did(DISABLED), *entered("bob")], did(SEATED, "bob", ALICE)),
        ([*ALICE_IS, did(DISABLED), *entered("bob", ALICE)], did(SEATED, at=ALICE)),
        (MAY, did(GRANTED, line=EVERY_LINE)),
        (MAY, did(REVOKED, line="support")),
        ([*MAY, did(DISABLED)], did(ENABLED)),
        ([*MAY, did(DISABLED)], did(REVOKED, line="support")),
        ([], did(GRANTED, ANYBODY, line="support")),
    ],
)
def test_what_makes_sense_is_not(before: list[UserAct], act: UserAct) -> None:
    assert refusal(users(before), act) is None


def test_who_was_disabled_keeps_what_they_had_for_the_day_they_are_enabled() -> None:
    assert users([*MAY, did(DISABLED)])["alice"] == User(
        name="alice",
        seats=frozenset({Seat(node=NODE, interface=ALICE)}),
        grants=users(MAY)["alice"].grants,
        enabled=False,
    )
