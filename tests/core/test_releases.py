"""A line that is kept unrecorded, and what it takes that it may be recorded for a while (MS-01): pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import permutations, product
from uuid import UUID

import pytest

from recorder.model import ConsentMode
from recorder.policy import KEPT_UNRECORDED, LinePolicy, LineRules
from recorder.releases import (
    LONGEST,
    Ground,
    Release,
    ReleaseAct,
    ReleaseAction,
    Said,
    Standing,
    refusal,
    releases,
    standing_of,
)
from recorder.rights import ANYBODY, EVERY_LINE, Grant, Role, User
from tests.facts import NOON, RELEASE, UNTIL, later, release_act

ASKED, APPROVED, REFUSED, ENDED = ReleaseAction
SECOND = timedelta(seconds=1)

# --------------------------------------------------------------------------- what is in force


def said(mode: ConsentMode, *, in_words: bool = True, line: str = "support") -> Said:
    """As settings have it; `never` in so many words, or left out."""
    text = {"consent": str(mode)} | ({KEPT_UNRECORDED: True} if mode is ConsentMode.NEVER and in_words else {})
    policy = LinePolicy(line=line, settings=json.dumps(text, sort_keys=True, separators=(",", ":")))
    return Said(rules=LineRules(name=line, mode=mode, basis="s. 1", digest=policy.digest), policy=policy)


HISTORIES: dict[str, list[ReleaseAct]] = {
    "none": [],
    "asked": [release_act()],
    "refused": [release_act(), release_act(REFUSED)],
    "approved": [release_act(), release_act(APPROVED)],
    "ended": [release_act(), release_act(APPROVED), release_act(ENDED)],
    "taken back": [release_act(), release_act(ENDED)],
    "of another line": [replace(act, line="sales") for act in (release_act(), release_act(APPROVED))],
    "approved by who asked": [release_act(), release_act(APPROVED, by="alice")],
    "approved after a refusal": [release_act(), release_act(REFUSED), release_act(APPROVED)],
    "approved after its end": [release_act(), release_act(ENDED), release_act(APPROVED)],
    "approved, and never asked for": [release_act(APPROVED)],
}
TIMES = (NOON, UNTIL - SECOND, UNTIL, UNTIL + SECOND)


def expected(
    mode: ConsentMode, *, in_words: bool, kept: bool, history: str, now: datetime
) -> tuple[Ground, ConsentMode]:
    """Written from the requirement."""
    if mode is ConsentMode.NEVER:
        return (Ground.KEPT if kept or in_words else Ground.SETTINGS), mode
    if not kept:
        return Ground.SETTINGS, mode
    is_open = history == "approved" and now < UNTIL
    return (Ground.RELEASED, mode) if is_open else (Ground.HELD, ConsentMode.NEVER)


def test_what_is_in_force_is_what_the_requirement_says_whatever_was_said_done_and_when() -> None:
    wrong = []
    cases = list(product(ConsentMode, (True, False), (True, False), HISTORIES, TIMES))
    for mode, in_words, kept, history, now in cases:
        found = releases(HISTORIES[history]).values()
        standing = standing_of(said(mode, in_words=in_words), kept=kept, found=found, now=now)
        wanted = expected(mode, in_words=in_words, kept=kept, history=history, now=now)
        if (standing.ground, standing.rules.mode) != wanted:
            wrong.append((mode, in_words, kept, history, now, standing))
    assert len(cases) == 5 * 2 * 2 * 11 * 4
    assert wrong == []


def of_support(mode: ConsentMode, *acts: ReleaseAct, kept: bool = True, now: datetime = NOON) -> Standing:
    return standing_of(said(mode), kept=kept, found=releases(acts).values(), now=now)


def test_of_several_releases_the_one_that_lasts_longest_is_in_force() -> None:
    first, second = UUID(int=1), UUID(int=2)
    acts = [
        *(release_act(action, key=first, until=later(60)) for action in (ASKED, APPROVED)),
        *(release_act(action, key=second, until=later(90)) for action in (ASKED, APPROVED)),
    ]
    for order in (acts, [*acts[2:], *acts[:2]]):
        named = [of_support(ConsentMode.OPT_IN, *order, now=later(at)).release for at in (0, 60, 90)]
        assert [release and release.id for release in named] == [second, second, None]


def test_what_the_settings_say_beside_the_mode_stays_and_only_the_mode_and_the_digest_are_others() -> None:
    settings = said(ConsentMode.OPT_IN)
    held = standing_of(settings, kept=True, found=(), now=NOON)
    assert replace(held.rules, mode=settings.rules.mode, digest=settings.rules.digest) == settings.rules


def test_a_text_of_its_own_says_that_a_line_is_held_and_another_on_what_it_is_released() -> None:
    free = of_support(ConsentMode.OPT_IN, kept=False)
    held = of_support(ConsentMode.OPT_IN)
    released = of_support(ConsentMode.OPT_IN, release_act(), release_act(APPROVED))
    assert all(one.rules.digest == one.policy.digest for one in (free, held, released))
    assert len({one.policy.digest for one in (free, held, released)}) == 3
    assert held.policy.told() == {
        "consent": '"opt_in"',
        "applies.consent": '"never"',
        "applies.why": '"kept unrecorded, and not released"',
    }
    assert released.policy.told() == {
        "consent": '"opt_in"',
        "applies.consent": '"opt_in"',
        "applies.why": '"kept unrecorded, and released"',
        "applies.release.id": f'"{RELEASE}"',
        "applies.release.reference": '"Act 12, s. 3"',
        "applies.release.until": f'"{UNTIL.isoformat()}"',
        "applies.release.asked_by": '"alice"',
        "applies.release.approved_by": '"bob"',
    }


def test_a_text_that_tells_of_a_line_kept_unrecorded_keeps_it_only_where_the_settings_said_never() -> None:
    """What was in force of them is no word of theirs."""
    assert of_support(ConsentMode.NEVER).policy.keeps_unrecorded
    assert not of_support(ConsentMode.OPT_IN).policy.keeps_unrecorded
    assert not of_support(ConsentMode.OPT_IN, release_act(), release_act(APPROVED)).policy.keeps_unrecorded


# --------------------------------------------------------------------------- whose word counts

EVERY_ORDER = [list(order) for order in permutations((APPROVED, REFUSED, ENDED))]


@pytest.mark.parametrize("order", EVERY_ORDER, ids=lambda order: " ".join(order))
def test_what_comes_out_of_turn_changes_nothing(order: list[ReleaseAction]) -> None:
    """Approved may end; refused and ended are the last."""
    (found,) = releases([release_act(), *(release_act(action) for action in order)]).values()
    first, second = order[:2]
    assert found.action is (ENDED if first is APPROVED and ENDED in (second, order[2]) else first)


def user(name: str, *roles: Role, line: str = "support", enabled: bool = True) -> User:
    return User(name=name, grants=frozenset(Grant(role=role, line=line) for role in roles), enabled=enabled)


ADMINISTRATOR, OFFICER = Role.ADMINISTRATOR, Role.PRIVACY_OFFICER
ALICE, BOB = user("alice", ADMINISTRATOR), user("bob", OFFICER)
BOTH = user("alice", ADMINISTRATOR, OFFICER)
NOBODY = User(name=ANYBODY, grants=frozenset({Grant(role=ADMINISTRATOR, line=EVERY_LINE)}))


def why_not(
    act: ReleaseAct, *people: User, before: Sequence[ReleaseAct] = (), kept: tuple[str, ...] = ("support",)
) -> str:
    known = {one.name: one for one in (NOBODY, *people)}
    return refusal(known, releases(before), kept, act) or ""


IS_ASKED = (release_act(),)
IS_APPROVED = (release_act(), release_act(APPROVED))
ALLOWED: dict[str, tuple[ReleaseAct, User, Sequence[ReleaseAct]]] = {
    "an administrator asks": (release_act(), ALICE, ()),
    "of every line": (release_act(), user("alice", ADMINISTRATOR, line=EVERY_LINE), ()),
    "for the longest time": (release_act(until=NOON + LONGEST), ALICE, ()),
    "a privacy officer approves": (release_act(APPROVED), BOB, IS_ASKED),
    "a privacy officer who might have asked, too": (release_act(APPROVED), replace(BOTH, name="bob"), IS_ASKED),
    "a privacy officer refuses": (release_act(REFUSED), BOB, IS_ASKED),
    "a privacy officer ends it": (release_act(ENDED), BOB, IS_APPROVED),
    "who asked ends it": (release_act(ENDED, by="alice"), ALICE, IS_APPROVED),
    "who asked takes it back": (release_act(ENDED, by="alice"), ALICE, IS_ASKED),
    "another administrator ends it": (release_act(ENDED, by="carol"), user("carol", ADMINISTRATOR), IS_APPROVED),
}
DENIED: dict[str, tuple[ReleaseAct, User, Sequence[ReleaseAct], str]] = {
    "nobody": (release_act(by="mallory"), ALICE, (), "nobody is entered as mallory"),
    "anybody": (release_act(by=ANYBODY), ALICE, (), "nobody is entered as anybody"),
    "disabled": (release_act(), replace(ALICE, enabled=False), (), "alice is disabled"),
    "no administrator": (release_act(), user("alice", OFFICER), (), "may not ask for a release of line support"),
    "of another line": (release_act(), user("alice", ADMINISTRATOR, line="sales"), (), "may not ask"),
    "a reference that is none": (release_act(reference="x"), ALICE, (), "the reference is one line"),
    "one that is too long": (release_act(reference="x" * 201), ALICE, (), "the reference is one line"),
    "one of two lines": (release_act(reference="Act 12\ns. 3"), ALICE, (), "the reference is one line"),
    "one that hides something": (release_act(reference="Act \u202e12"), ALICE, (), "the reference is one line"),
    "one that is blank": (release_act(reference="    "), ALICE, (), "the reference is one line"),
    "over already": (release_act(until=NOON), ALICE, (), "that time has passed"),
    "too long": (release_act(until=NOON + LONGEST + SECOND), ALICE, (), "366 days at the most"),
    "a release that is not there": (release_act(APPROVED), BOB, (), "there is no release"),
    "approved by who asked": (release_act(APPROVED, by="alice"), BOTH, IS_ASKED, "somebody else must approve"),
    "approved by no officer": (release_act(APPROVED), user("bob", ADMINISTRATOR), IS_ASKED, "takes a privacy"),
    "of another line's officer": (
        release_act(APPROVED),
        user("bob", OFFICER, line="sales"),
        IS_ASKED,
        "takes a privacy",
    ),
    "a disabled officer": (release_act(APPROVED), replace(BOB, enabled=False), IS_ASKED, "bob is disabled"),
    "approved twice": (release_act(APPROVED), BOB, IS_APPROVED, "that release is approved already"),
    "refused too late": (release_act(REFUSED), BOB, IS_APPROVED, "that release is approved already"),
    "approved after the end": (release_act(APPROVED), BOB, HISTORIES["ended"], "that release is ended already"),
    "approved too late": (release_act(APPROVED, at=UNTIL), BOB, IS_ASKED, "that time has passed"),
    "refused by who asked": (release_act(REFUSED, by="alice"), ALICE, IS_ASKED, "takes a privacy"),
    "ended by somebody": (release_act(ENDED, by="eve"), user("eve", Role.SUPERVISOR), IS_APPROVED, "is neither"),
    "ended by nobody": (release_act(ENDED, by="eve"), BOB, IS_APPROVED, "nobody is entered as eve"),
    "ended twice": (release_act(ENDED), BOB, HISTORIES["ended"], "that release is ended already"),
}


@pytest.mark.parametrize(("act", "who", "before"), ALLOWED.values(), ids=ALLOWED)
def test_who_has_the_right_may(act: ReleaseAct, who: User, before: Sequence[ReleaseAct]) -> None:
    assert why_not(act, who, before=before) == ""


@pytest.mark.parametrize(("act", "who", "before", "why"), DENIED.values(), ids=DENIED)
def test_what_is_not_theirs_or_makes_no_sense_is_a_sentence(
    act: ReleaseAct, who: User, before: Sequence[ReleaseAct], why: str
) -> None:
    told = why_not(act, who, before=before)
    assert why in told
    assert bool(told) is bool(why)


def test_a_line_that_is_not_kept_unrecorded_needs_no_release() -> None:
    assert "its settings alone say" in why_not(release_act(), ALICE, kept=())
    assert "its settings alone say" in why_not(release_act(), ALICE, kept=("sales",))


def test_what_was_approved_is_known_with_both_persons_and_opens_until_its_end() -> None:
    (found,) = releases(IS_APPROVED).values()
    assert found == Release(
        id=RELEASE,
        line="support",
        reference="Act 12, s. 3",
        until=UNTIL,
        asker="alice",
        asked_at=NOON,
        action=APPROVED,
        approver="bob",
    )
    assert [found.opens(now) for now in TIMES] == [True, True, False, False]
