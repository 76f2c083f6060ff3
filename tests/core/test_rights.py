"""Who may override, on which line, from which telephone (OV-01): pure."""

from __future__ import annotations

from uuid import UUID

import pytest

from recorder.rights import (
    ANYBODY,
    EVERY_LINE,
    Denied,
    Permission,
    Right,
    Role,
    User,
    UserAct,
    UserAction,
    at_telephone,
    refusal,
    users,
)
from tests.facts import NOON

ALICE, BOB = "PJSIP/alice", "PJSIP/bob"
ADDED, SEATED, GRANTED, REVOKED, DISABLED, ENABLED = UserAction


def did(action: UserAction, user: str = "alice", interface: str | None = None, line: str | None = None) -> UserAct:
    role = Role.OVERRIDER if action in (GRANTED, REVOKED) else None
    return UserAct(
        id=UUID(int=1), at=NOON, actor="root", user=user, action=action, interface=interface, role=role, line=line
    )


ALICE_IS = [did(ADDED, interface=ALICE)]
MAY = [*ALICE_IS, did(GRANTED, line="support")]
ANYBODY_MAY = did(GRANTED, ANYBODY, line="support")


def asked(acts: list[UserAct], *interfaces: str, line: str = "support") -> Permission:
    return at_telephone(users(acts).values(), Right.OVERRIDE, line, interfaces or (ALICE,))


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
    "one of two taken back": (
        [*MAY, did(GRANTED, line=EVERY_LINE), did(REVOKED, line=EVERY_LINE)],
        allowed("alice"),
    ),
    "disabled": ([*MAY, did(DISABLED)], denied(Denied.DISABLED)),
    "enabled again": ([*MAY, did(DISABLED), did(ENABLED)], allowed("alice")),
    "at another telephone now": ([*MAY, did(SEATED, interface=BOB)], denied(Denied.UNKNOWN)),
    "without a telephone": ([*MAY, did(SEATED)], denied(Denied.UNKNOWN)),
    "granted before they were entered": (
        [did(GRANTED, line="support"), *ALICE_IS],
        denied(Denied.NOT_GRANTED, "alice"),
    ),
    "entered twice": ([*MAY, did(ADDED, interface=BOB)], allowed("alice")),
    "another's right": (
        [*ALICE_IS, did(ADDED, "bob", BOB), did(GRANTED, "bob", line="support")],
        denied(Denied.NOT_GRANTED, "alice"),
    ),
    "two at one telephone": ([*MAY, did(ADDED, "bob", ALICE)], denied(Denied.AMBIGUOUS)),
    "in place of one who is disabled": (
        [*MAY, did(DISABLED), did(ADDED, "bob", ALICE), did(GRANTED, "bob", line="support")],
        allowed("bob"),
    ),
    "anybody may, and nobody is entered": ([ANYBODY_MAY], allowed(None)),
    "anybody may, and somebody is": ([*ALICE_IS, ANYBODY_MAY], allowed("alice")),
    "anybody may on another line": ([did(GRANTED, ANYBODY, line="sales")], denied(Denied.UNKNOWN)),
    "anybody may, but who is disabled": ([*MAY, ANYBODY_MAY, did(DISABLED)], denied(Denied.DISABLED)),
    "anybody may, and two are entered": ([*MAY, did(ADDED, "bob", ALICE), ANYBODY_MAY], allowed(None)),
    "anybody may no more": ([ANYBODY_MAY, did(REVOKED, ANYBODY, line="support")], denied(Denied.UNKNOWN)),
}


@pytest.mark.parametrize(("acts", "answer"), WHO.values(), ids=WHO)
def test_who_may_override_is_who_was_granted_it_on_that_line(acts: list[UserAct], answer: Permission) -> None:
    assert asked(acts) == answer


def test_a_telephone_that_is_known_by_two_names_is_one() -> None:
    local = "Local/101@agents"
    assert asked([*ALICE_IS, did(GRANTED, line="support")], local, ALICE) == allowed("alice")
    assert asked([*MAY, did(ADDED, "bob", local)], local, ALICE) == denied(Denied.AMBIGUOUS)


def test_people_without_a_telephone_sit_nowhere() -> None:
    assert asked([did(ADDED), did(ADDED, "bob")]) == denied(Denied.UNKNOWN)


@pytest.mark.parametrize(
    ("before", "act", "why"),
    [
        (ALICE_IS, did(ADDED), "alice is entered already"),
        ([*ALICE_IS, did(DISABLED)], did(ADDED), "alice is entered already, and disabled"),
        ([], did(ADDED, ANYBODY), "anybody stands for whoever is at a telephone, and has roles alone"),
        ([], did(ADDED, "Alice B."), "'Alice B.' is no name"),
        ([], did(ADDED, "a"), "'a' is no name"),
        (ALICE_IS, did(ADDED, "bob", ALICE), "PJSIP/alice is alice's"),
        ([*ALICE_IS, did(ADDED, "bob")], did(SEATED, "bob", ALICE), "PJSIP/alice is alice's"),
        ([*ALICE_IS, did(DISABLED), did(ADDED, "bob", ALICE)], did(ENABLED), "PJSIP/alice is bob's"),
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
        ([], did(ADDED, interface=ALICE)),
        (ALICE_IS, did(ADDED, "bob", BOB)),
        (ALICE_IS, did(SEATED, interface=ALICE)),
        ([*ALICE_IS, did(DISABLED)], did(ADDED, "bob", ALICE)),
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
        name="alice", interface=ALICE, grants=users(MAY)["alice"].grants, enabled=False
    )
