"""Who overrides much more than the others: pure."""

from __future__ import annotations

import pytest

from recorder.model import OverrideReason
from recorder.overrides import FEWEST, Overrides, told

EMERGENCY, LEGAL = OverrideReason.EMERGENCY, OverrideReason.LEGAL


def alice(count: int, calls: int, *, others: int = 0, others_calls: int = 400) -> Overrides:
    """What is told of her, beside two who share the others' overrides and calls."""
    pressed = {("support", "alice", EMERGENCY): count}
    if others:
        pressed["support", "bob", EMERGENCY] = others
    taken = {("support", "alice"): calls, ("support", "bob"): others_calls // 2, ("support", "eve"): others_calls // 2}
    return next(row for row in told(pressed, taken) if row.agent == "alice")


@pytest.mark.parametrize(
    ("row", "stands_out"),
    [
        (alice(5, 40), True),
        (alice(5, 40, others=49), False),  # as often as they do
        (alice(FEWEST - 1, 2, others_calls=100_000), False),
        (alice(5, 5, others_calls=0), False),  # nobody to be compared with
        (alice(12, 100, others=8), True),
        (alice(6, 100, others=8), False),
    ],
    ids=["they do not", "as the others", "few", "alone", "much more", "more"],
)
def test_somebody_stands_out_who_overrides_much_more_than_the_others(row: Overrides, stands_out: bool) -> None:
    assert row.stands_out is stands_out


def test_each_is_compared_with_the_others_of_that_line_for_that_reason() -> None:
    pressed = {
        ("support", "alice", EMERGENCY): 4,
        ("support", "alice", LEGAL): 1,
        ("support", "bob", LEGAL): 9,
        ("sales", "carol", EMERGENCY): 2,
    }
    taken = {("support", "alice"): 10, ("support", "bob"): 90, ("sales", "carol"): 7, ("sales", "dave"): 3}
    rows = {(row.agent, row.reason): row for row in told(pressed, taken)}
    of_alice = rows["alice", EMERGENCY]
    assert (of_alice.calls, of_alice.others, of_alice.others_calls) == (10, 0, 90)
    assert of_alice.expected == pytest.approx(10 / 90)
    assert (rows["alice", LEGAL].others, rows["bob", LEGAL].others) == (9, 1)
    assert (rows["carol", EMERGENCY].others, rows["carol", EMERGENCY].others_calls) == (0, 3)


def test_who_stands_out_comes_first_and_then_who_overrides_most() -> None:
    pressed = {("support", "bob", LEGAL): 8, ("support", "alice", EMERGENCY): 4, ("support", "eve", LEGAL): 9}
    taken = {("support", "bob"): 100, ("support", "alice"): 10, ("support", "eve"): 100}
    assert [(row.agent, row.stands_out) for row in told(pressed, taken)] == [
        ("alice", True),
        ("eve", False),
        ("bob", False),
    ]


def test_an_override_whose_agent_was_seen_in_no_call_counts_as_one_of_theirs() -> None:
    (row,) = told({("support", "alice", LEGAL): 3}, {("support", "bob"): 30})
    assert (row.calls, row.others_calls) == (3, 30)
