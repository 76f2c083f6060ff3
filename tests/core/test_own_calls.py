"""Whose a past call was, and what its agent is told of who has heard it (TA-01): pure."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

import pytest

from recorder.listens import ListenAct, ListenKind, Unheard
from recorder.own_calls import AgentLeg, agent_leg, hearings, is_theirs, seats_of
from recorder.rights import Seat, UserAct, UserAction
from tests.core.test_listens import ACT
from tests.facts import NODE, later, user_act

ALICE, BOB, MEMBER = "PJSIP/alice", "PJSIP/bob", "Local/101@agents"
ADDED, SEATED, _, _, DISABLED, ENABLED = UserAction
BEGAN, ENDED = 100.0, 200.0
"""Seconds after noon: when the agent was joined to the caller, and when the call ended."""


def did(
    action: UserAction, user: str = "alice", at: float = 0, seat: str | None = None, node: str | None = NODE
) -> UserAct:
    return replace(user_act(action, user, at=seat), at=later(at), node=node if action is SEATED else None)


def entered(user: str, seat: str, at: float = 0) -> list[UserAct]:
    return [did(ADDED, user, at), did(SEATED, user, at, seat)]


ALICE_IS, BOB_IS = entered("alice", ALICE), entered("bob", BOB)

WHOSE: dict[str, tuple[list[UserAct], bool]] = {
    "hers": (ALICE_IS, True),
    "nobody is entered": ([], False),
    "another's telephone": (BOB_IS, False),
    "hers then, and another's now": ([*ALICE_IS, did(SEATED, at=300, seat=None), *entered("bob", ALICE, 301)], True),
    "another's then, and hers now": (
        [*entered("bob", ALICE), did(SEATED, "bob", 300, None), *entered("alice", ALICE, 301)],
        False,
    ),
    "hers since after the call": (entered("alice", ALICE, 201), False),
    "hers since within the call": (entered("alice", ALICE, 150), False),
    "hers until within the call": ([*ALICE_IS, did(SEATED, at=150, seat=BOB)], False),
    "hers until the moment after": ([*ALICE_IS, did(SEATED, at=201, seat=BOB)], True),
    "taken from her and given back within the call": (
        [*ALICE_IS, did(SEATED, at=120, seat=None), did(SEATED, at=130, seat=ALICE)],
        False,
    ),
    "two sat there": ([*ALICE_IS, *entered("bob", ALICE)], False),
    "another sat there for a moment of it": (
        [*ALICE_IS, *entered("bob", ALICE, 120), did(SEATED, "bob", 130, None)],
        False,
    ),
    "she was disabled then": ([*ALICE_IS, did(DISABLED, at=50), did(ENABLED, at=300)], False),
    "she is disabled now": ([*ALICE_IS, did(DISABLED, at=300)], True),
    "on another node": ([did(ADDED), did(SEATED, seat=ALICE, node="pbx2")], False),
    "something else was done to her meanwhile": ([*ALICE_IS, did(SEATED, at=150, seat=BOB, node="pbx2")], True),
}


def leg(channel: str = f"{ALICE}-00000002", interface: str | None = ALICE) -> AgentLeg:
    return agent_leg(NODE, channel, interface, later(BEGAN))


def hers(acts: list[UserAct], *legs: AgentLeg) -> bool:
    return is_theirs("alice", legs or (leg(),), acts, later(ENDED))


@pytest.mark.parametrize(("acts", "is_hers"), WHOSE.values(), ids=WHOSE)
def test_a_call_is_theirs_who_alone_sat_there_as_long_as_it_lasted(acts: list[UserAct], is_hers: bool) -> None:
    assert hers(acts) is is_hers


@pytest.mark.parametrize(
    ("acts", "channel", "interface", "is_hers"),
    [
        (entered("alice", MEMBER), f"{BOB}-00000002", f"{MEMBER}/n", True),
        (entered("alice", MEMBER), f"{MEMBER}-00000002;1", f"{MEMBER}/n", True),
        ([*entered("alice", MEMBER), *BOB_IS], f"{BOB}-00000002", MEMBER, False),
        (ALICE_IS, f"{BOB}-00000002", ALICE, False),
        (ALICE_IS, "PJSIP/trunk-00000002", ALICE, False),
        (ALICE_IS, "PJSIP/alice2-00000002", None, False),
        (ALICE_IS, f"{ALICE}-00000002", None, True),
        (ALICE_IS, f"{ALICE}-00000002", BOB, True),
    ],
    ids=[
        "the member's, at whatever telephone",
        "the member's own leg",
        "the telephone's person comes before the member's",
        "somebody else's telephone picked it up",
        "forwarded to the outside",
        "a name that begins alike",
        "a call that she placed",
        "she picked it up for another",
    ],
)
def test_the_telephone_says_whose_it_was_and_the_local_member_where_nobody_is_entered_for_it(
    acts: list[UserAct], channel: str, interface: str | None, is_hers: bool
) -> None:
    assert hers(acts, leg(channel, interface)) is is_hers


def test_one_of_several_agents_is_enough_and_a_call_without_one_is_nobodys() -> None:
    assert hers([*ALICE_IS, *BOB_IS], leg(f"{BOB}-00000001", BOB), leg())
    assert not hers([*ALICE_IS, *BOB_IS], leg(f"{BOB}-00000001", BOB))
    assert not is_theirs("alice", (), ALICE_IS, later(ENDED))


def test_the_seats_of_a_call_are_those_that_decide() -> None:
    assert seats_of([leg(), leg(f"{BOB}-00000002", f"{MEMBER}/n")]) == {
        Seat(node=NODE, interface=interface) for interface in (ALICE, BOB, MEMBER)
    }


# --------------------------------------------------------------------------- who has heard it


def row(kind: ListenKind, first: ListenAct = ACT, seconds: float = 1, **said: object) -> ListenAct:
    """A later row of the same listening."""
    return replace(first, id=uuid4(), at=later(seconds), kind=kind, explanation=None, **said)  # type: ignore[arg-type]


def test_the_rows_of_a_listening_are_one_with_its_parts_merged_in_each_kind() -> None:
    spans = [(5000, 9000), (0, 5000), (20_000, 21_000)]
    rows = [row(ListenKind.SENT, seconds=n, began_ms=a, ended_ms=b) for n, (a, b) in enumerate(spans, 1)]
    rows += [row(ListenKind.PLAYED, began_ms=0, ended_ms=100), row(ListenKind.CLOSED, seconds=99)]
    (told,) = hearings([*reversed(rows), ACT])
    assert (told.at, told.listener, told.roles, told.purpose) == (ACT.at, "sam", ("supervisor",), "training")
    assert (told.sent, told.played, told.refused) == (((0, 9000), (20_000, 21_000)), ((0, 100),), None)


def test_each_listening_and_each_attempt_is_told_by_itself_the_newest_first() -> None:
    again = replace(ACT, id=uuid4(), listen=uuid4(), at=later(60))
    tried = replace(again, listen=uuid4(), at=later(30), kind=ListenKind.REFUSED, why=Unheard.UNEXPLAINED)
    told = hearings([ACT, again, tried])
    assert [(one.listen, one.refused) for one in told] == [
        (again.listen, None),
        (tried.listen, Unheard.UNEXPLAINED),
        (ACT.listen, None),
    ]


def test_a_listening_whose_first_row_is_not_to_be_read_is_told_all_the_same() -> None:
    (told,) = hearings([row(ListenKind.SENT, began_ms=0, ended_ms=7)])
    assert (told.listener, told.sent) == ("sam", ((0, 7),))


def test_who_looked_at_the_log_is_no_listener() -> None:
    looked = replace(ACT, kind=ListenKind.LOG_VIEWED, recording=None, call=None, line=None)
    assert hearings([looked]) == ()
