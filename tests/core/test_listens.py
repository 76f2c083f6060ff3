"""Who may hear a recording, for what, and what they have to say first (AC-01, AC-08, PU-02, LL-03, LL-11)."""

from __future__ import annotations

import itertools
from dataclasses import fields, replace
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.chain import canonical, commitment
from recorder.listens import (
    LONGEST_EXPLANATION,
    PRIVATE,
    Audible,
    Conspicuous,
    Explaining,
    ExplanationRule,
    ListenAct,
    ListenKind,
    Medium,
    Unheard,
    Wish,
    body_of,
    conspicuous,
    covering,
    explanation_rule,
    merged,
    unheard,
)
from recorder.model import CallId, RecordingId
from recorder.rights import Grant, Role, User
from recorder.signing_in import Asker
from tests.facts import NOON, later

AUDIBLE = Audible(
    recording=RecordingId(uuid4()),
    call=CallId(uuid4()),
    node="pbx1",
    line="support",
    settled=True,
    sealed=False,
    purposes=frozenset({"training"}),
)
SHORT = ExplanationRule(explaining=Explaining.REQUIRED, shortest=5)


def asker(*roles: Role, line: str = "support") -> Asker:
    return Asker(user=User(name="sam", grants=frozenset(Grant(role=role, line=line) for role in roles)))


def wish(*roles: Role, line: str = "support", **said: Any) -> Wish:
    given_so: dict[str, Any] = {
        "asker": asker(*roles, line=line),
        "medium": Medium.STREAM,
        "purpose": "training",
        "explanation": "coaching",
        "rule": SHORT,
    }
    return Wish(**given_so | said)


# --------------------------------------------------------------------------- may they


@pytest.mark.parametrize(
    ("wanted", "known", "why"),
    [
        (wish(Role.SUPERVISOR), {}, None),
        (wish(Role.QUALITY), {}, None),
        (wish(Role.DOWNLOADER, medium=Medium.DOWNLOAD), {}, None),
        (wish(), {}, Unheard.NOT_PERMITTED),
        (wish(Role.SUPERVISOR, line="sales"), {}, Unheard.NOT_PERMITTED),
        (wish(Role.SUPERVISOR, medium=Medium.DOWNLOAD), {}, Unheard.NOT_PERMITTED),
        (wish(Role.ADMINISTRATOR, Role.AUDITOR, Role.AGENT, Role.PRIVACY_OFFICER), {}, Unheard.NOT_PERMITTED),
        (wish(Role.SUPERVISOR), {"sealed": True}, Unheard.SEALED),
        (wish(Role.SUPERVISOR), {"settled": False}, Unheard.NOT_SETTLED),
        (wish(Role.SUPERVISOR, purpose="marketing"), {}, Unheard.ANOTHER_PURPOSE),
        (wish(Role.SUPERVISOR), {"purposes": frozenset()}, Unheard.ANOTHER_PURPOSE),
        (wish(Role.SUPERVISOR, explanation=""), {}, Unheard.UNEXPLAINED),
        (wish(Role.SUPERVISOR, explanation="  why  "), {}, Unheard.UNEXPLAINED),
        (wish(Role.SUPERVISOR, explanation="x" * (LONGEST_EXPLANATION + 1)), {}, Unheard.TOO_LONG),
        (wish(Role.SUPERVISOR, explanation="", rule=replace(SHORT, explaining=Explaining.OPTIONAL)), {}, None),
        (wish(Role.SUPERVISOR, explanation="", rule=replace(SHORT, explaining=Explaining.OFF)), {}, None),
    ],
)
def test_what_is_heard_and_what_is_not(wanted: Wish, known: dict[str, Any], why: Unheard | None) -> None:
    assert unheard(wanted, replace(AUDIBLE, **known)) is why


@given(
    st.sampled_from(Role), st.booleans(), st.booleans(), st.sampled_from(["training", "other"]), st.text(max_size=20)
)
def test_nothing_sealed_unsettled_or_for_another_purpose_is_heard_by_anybody(
    role: Role, sealed: bool, settled: bool, purpose: str, explanation: str
) -> None:
    audible = replace(AUDIBLE, sealed=sealed, settled=settled)
    if unheard(wish(role, purpose=purpose, explanation=explanation), audible) is None:
        assert not sealed
        assert settled
        assert purpose == "training"
        assert len(explanation.strip()) >= SHORT.shortest


# --------------------------------------------------------------------------- what they have to say


def rule(explaining: Explaining, shortest: int = 1, **named: Any) -> ExplanationRule:
    return ExplanationRule(explaining=explaining, shortest=shortest, **named)


OFF, OPTIONAL, REQUIRED = Explaining


@pytest.mark.parametrize(
    ("rules", "counts"),
    [
        ((), PRIVATE),
        ((rule(OFF),), rule(OFF)),
        ((rule(REQUIRED), rule(OFF, line="support")), rule(OFF, line="support")),
        ((rule(OFF), rule(REQUIRED, line="sales")), rule(OFF)),
        ((rule(REQUIRED, line="support"), rule(OFF, role=Role.SUPERVISOR)), rule(REQUIRED, line="support")),
        (
            (rule(REQUIRED, line="support"), rule(OPTIONAL, role=Role.SUPERVISOR, line="support")),
            rule(OPTIONAL, role=Role.SUPERVISOR, line="support"),
        ),
        ((rule(REQUIRED, 5), rule(REQUIRED, 20)), rule(REQUIRED, 20)),
        ((rule(REQUIRED), rule(OFF, purpose="service_standard")), rule(REQUIRED)),
        ((rule(REQUIRED), rule(OFF, role=Role.QUALITY)), rule(REQUIRED)),
    ],
)
def test_the_rule_that_names_most_counts_and_among_equals_the_stricter(
    rules: tuple[ExplanationRule, ...], counts: ExplanationRule
) -> None:
    for ordered in itertools.permutations(rules):
        assert explanation_rule(ordered, {Role.SUPERVISOR}, "support", "training") == counts


# --------------------------------------------------------------------------- what is kept of it


@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 3_000)).map(lambda at: (at[0], at[0] + at[1]))))
def test_merged_spans_cover_what_was_heard_and_nothing_more(spans: list[tuple[int, int]]) -> None:
    whole = merged(spans, apart=0)
    assert {ms for began, ended in spans for ms in range(began, ended)} == {
        ms for began, ended in whole for ms in range(began, ended)
    }
    assert all(one[1] < other[0] for one, other in itertools.pairwise(whole))


@given(st.lists(st.tuples(st.integers(0, 9000), st.integers(1, 300)), min_size=1), st.integers(1, 5))
def test_however_many_spans_there_are_none_is_dropped(parts: list[tuple[int, int]], most: int) -> None:
    spans = [(began, began + length) for began, length in parts]
    told = covering(spans, most)
    assert len(told) <= most
    assert all(any(began <= span[0] and span[1] <= ended for began, ended in told) for span in spans)
    assert covering(spans, len(spans)) == merged(spans)


ACT = ListenAct(
    id=uuid4(),
    listen=uuid4(),
    at=NOON,
    kind=ListenKind.OPENED,
    listener="sam",
    node="pbx1",
    recording=RecordingId(uuid4()),
    call=CallId(uuid4()),
    line="support",
    roles=("supervisor",),
    token="board",
    agents=("PJSIP/alice",),
    medium=Medium.STREAM,
    purpose="training",
    explanation="coaching",
    address="192.0.2.7",
    policy="d" * 64,
    why=None,
    began_ms=None,
    ended_ms=None,
)
OTHERWISE: dict[str, object] = {
    "id": uuid4(),
    "listen": uuid4(),
    "at": later(1),
    "kind": ListenKind.CLOSED,
    "listener": "olga",
    "node": "pbx2",
    "recording": RecordingId(uuid4()),
    "call": CallId(uuid4()),
    "line": "sales",
    "roles": ("quality",),
    "token": None,
    "agents": (),
    "medium": Medium.DOWNLOAD,
    "purpose": "service_standard",
    "explanation": None,
    "address": "192.0.2.8",
    "policy": None,
    "why": Unheard.SEALED,
    "began_ms": 0,
    "ended_ms": 1,
}


def test_whatever_is_changed_in_a_row_changes_what_is_chained_of_it() -> None:
    salt = "00" * 32
    assert sorted(OTHERWISE) == sorted(field.name for field in fields(ListenAct))
    said = commitment(salt, canonical(body_of(ACT)))
    for name, value in OTHERWISE.items():
        changed: ListenAct = replace(ACT, **{name: value})  # type: ignore[arg-type]
        assert commitment(salt, canonical(body_of(changed))) != said, name


@pytest.mark.parametrize(
    ("opened", "own", "found"),
    [
        (60, False, ()),
        (61, False, (Conspicuous.BEYOND,)),
        (1, True, (Conspicuous.OWN_CALL,)),
        (61, True, (Conspicuous.BEYOND, Conspicuous.OWN_CALL)),
    ],
)
def test_a_listening_stands_out_beyond_the_hours_limit_and_in_ones_own_call(
    opened: int, own: bool, found: tuple[Conspicuous, ...]
) -> None:
    assert conspicuous(opened=opened, above=60, own=own) == found
