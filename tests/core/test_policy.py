"""The one question, may this call be captured, over everything that can be asked of it."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from itertools import chain, combinations, product

import pytest

from recorder.model import ConsentMode, ConsentState, OverrideReason, Unrecorded
from recorder.policy import (
    PRECEDENCE,
    STRICTNESS,
    Circumstances,
    LinePolicy,
    carried,
    changes,
    decide,
    may_override,
    stricter,
)

LISTS = [frozenset(some) for some in chain.from_iterable(combinations(OverrideReason, size) for size in range(4))]
EVERYTHING = [
    Circumstances(mode=mode, consent=consent, override=override, listed=listed, unrecorded=unrecorded, barred=barred)
    for mode, consent, override, listed, unrecorded, barred in product(
        (None, *ConsentMode), ConsentState, (None, *OverrideReason), LISTS, (None, *Unrecorded), ("", "no right")
    )
]

# mode -> the answers that permit, as the requirements name them; nothing else permits without an override
BY_ANSWER = {
    "opt_in": "given",
    "opt_out": "given unanswered",
    "notice": "given noticed",
    "not_required": "given not_required",
    "never": "",
}


def expected(now: Circumstances) -> bool:
    """Written from the requirements, from the weakest ground to the strongest, which has the last word."""
    if now.mode is None or now.unrecorded is not None:
        return False
    answer = now.consent.value in BY_ANSWER[now.mode.value].split()
    allowed = now.override is not None and now.override in now.listed and not now.barred
    if now.mode.value == "never":
        return allowed and now.override is not OverrideReason.BUSINESS
    return answer or allowed


def test_every_combination_is_decided_as_the_requirements_say() -> None:
    assert len(EVERYTHING) == 6 * 10 * 4 * 8 * 4 * 2
    wrong = [now for now in EVERYTHING if decide(now).permitted != expected(now)]
    assert wrong == []


def test_every_row_of_the_table_decides_something() -> None:
    assert {decide(now).rule for now in EVERYTHING} == {rule.name for rule in PRECEDENCE}


def test_the_rows_stand_in_the_order_that_was_agreed() -> None:
    assert [rule.name for rule in PRECEDENCE] == [
        "not an ACD call",
        "do not record",
        "override for a duty",
        "line never recorded",
        "override for business",
        "caller objected",
        "line's policy",
    ]


def test_a_trace_has_a_printable_line_for_each_row_up_to_the_one_that_decides() -> None:
    for now in EVERYTHING:
        verdict = decide(now)
        rows = [rule.name for rule in PRECEDENCE]
        assert [line.partition(":")[0] for line in verdict.trace] == rows[: rows.index(verdict.rule) + 1]
        assert all(line.isprintable() for line in verdict.trace)
        assert ("no capture" not in verdict.trace[-1]) == verdict.permitted
        assert now.consent in verdict.trace[-1]


def test_a_trace_says_that_the_line_does_not_list_the_override() -> None:
    now = Circumstances(mode=ConsentMode.OPT_IN, consent=ConsentState.REFUSED, override=OverrideReason.LEGAL)
    assert decide(now).trace[-1] == (
        "caller objected: no capture (mode opt_in, consent refused, override legal, which the line does not list)"
    )


@pytest.mark.parametrize("mode", [None, *ConsentMode])
def test_no_refusal_withdrawal_or_prohibition_permits_without_an_override(mode: ConsentMode | None) -> None:
    for consent in (ConsentState.REFUSED, ConsentState.WITHDRAWN, ConsentState.PROHIBITED, ConsentState.NONE):
        assert not decide(Circumstances(mode=mode, consent=consent, listed=frozenset(OverrideReason))).permitted


def test_a_line_without_a_mode_of_its_own_is_never_recorded() -> None:
    assert not decide(Circumstances(mode=ConsentMode.NEVER, consent=ConsentState.GIVEN)).permitted


@pytest.mark.parametrize(("mode", "reason"), list(product(ConsentMode, OverrideReason)))
def test_a_key_is_worth_what_the_line_lists_whatever_the_caller_answered(
    mode: ConsentMode, reason: OverrideReason
) -> None:
    outranked = mode is ConsentMode.NEVER and reason is OverrideReason.BUSINESS
    assert may_override(mode, reason, frozenset({reason})) is not outranked
    assert not may_override(mode, reason, frozenset(OverrideReason) - {reason})
    assert not may_override(None, reason, frozenset({reason}))
    assert not any(may_override(mode, reason, frozenset({reason}), named) for named in Unrecorded)


WORTH: dict[tuple[ConsentState, ConsentMode], ConsentState | None] = {
    (consent, mode): None for consent, mode in product(ConsentState, ConsentMode) if mode is not ConsentMode.NEVER
}
WORTH |= {(consent, ConsentMode.NEVER): ConsentState.PROHIBITED for consent in ConsentState}
for asked in (ConsentMode.OPT_IN, ConsentMode.OPT_OUT, ConsentMode.NOTICE, ConsentMode.NOT_REQUIRED):
    WORTH[ConsentState.GIVEN, asked] = ConsentState.GIVEN
    WORTH[ConsentState.REFUSED, asked] = ConsentState.REFUSED
    WORTH[ConsentState.WITHDRAWN, asked] = ConsentState.REFUSED


@pytest.mark.parametrize(("pair", "worth"), list(WORTH.items()), ids=lambda value: "-".join(value) if value else "ask")
def test_an_answer_is_carried_to_another_line_for_what_it_is_worth_there(
    pair: tuple[ConsentState, ConsentMode], worth: ConsentState | None
) -> None:
    assert carried(*pair) is worth


def test_nothing_that_is_carried_permits_more_than_it_did() -> None:
    for consent, mode in product(ConsentState, ConsentMode):
        worth = carried(consent, mode)
        if worth is not None and decide(Circumstances(mode=mode, consent=worth)).permitted:
            assert consent is ConsentState.GIVEN


BETWEEN_LINES = """
from \\ to    | opt_in | opt_out | notice  | not_required | never
opt_in       | opt_in | opt_in  | opt_in  | opt_in       | never
opt_out      | opt_in | opt_out | opt_out | opt_out      | never
notice       | opt_in | opt_out | notice  | notice       | never
not_required | opt_in | opt_out | notice  | not_required | never
never        | opt_in | opt_in  | opt_in  | opt_in       | never
"""
"""How a caller of one line is asked on the next: by the stricter of the two, and after `never` by an express yes."""


def between_lines() -> dict[tuple[ConsentMode, ConsentMode], ConsentMode]:
    heading, *rows = ([cell.strip() for cell in line.split("|")] for line in BETWEEN_LINES.strip().splitlines())
    return {
        (ConsentMode(origin), ConsentMode(destination)): ConsentMode(mode)
        for origin, *modes in rows
        for destination, mode in zip(heading[1:], modes, strict=True)
    }


ALL_PAIRS = list(product(ConsentMode, ConsentMode))


def test_every_pair_of_lines_is_in_the_table_and_applied_as_it_says() -> None:
    table = between_lines()
    assert list(table) == sorted(table, key=lambda pair: ALL_PAIRS.index(pair))
    assert {pair: stricter(*pair) for pair in ALL_PAIRS} == table


def test_no_line_is_asked_more_loosely_for_where_the_call_came_from() -> None:
    for origin, destination in ALL_PAIRS:
        assert STRICTNESS.index(stricter(origin, destination)) >= STRICTNESS.index(destination)
    assert set(STRICTNESS) == set(ConsentMode)


@pytest.mark.parametrize("consent", ConsentState)
def test_what_goes_along_permits_at_once_only_after_a_yes_and_only_for_what_it_was_given(consent: ConsentState) -> None:
    """Over every pair of lines: captured unasked after nothing but a yes, stopped by `never`, silent after a no."""
    for (origin, destination), covers in product(ALL_PAIRS, (True, False)):
        mode = stricter(origin, destination)
        worth = carried(consent, mode, covers=covers)
        permitted = worth is not None and decide(Circumstances(mode=mode, consent=worth)).permitted
        assert permitted == (consent is ConsentState.GIVEN and covers and destination is not ConsentMode.NEVER)
        assert permitted == (carried(consent, destination, covers=covers) is ConsentState.GIVEN)
        if destination is ConsentMode.NEVER:
            assert worth is ConsentState.PROHIBITED
        elif consent in (ConsentState.REFUSED, ConsentState.WITHDRAWN):
            assert worth is ConsentState.REFUSED
        elif not permitted:
            assert worth is None


# --------------------------------------------------------------------------- settings by version


def policy(**settings: object) -> LinePolicy:
    return LinePolicy(line="support", settings=json.dumps(settings))


def test_what_changed_between_two_versions_of_a_line_is_told_setting_by_setting() -> None:
    older = policy(consent="opt_in", retries=2, override={}, languages=["en"])
    newer = policy(consent="notice", retries=2, override={"legal": {"legal_basis": "s. 1"}}, beep_seconds=None)
    assert changes(older, newer) == (
        ("consent", '"opt_in"', '"notice"'),
        ("languages", '["en"]', "not set"),
        ("override.legal.legal_basis", "not set", '"s. 1"'),
    )
    assert changes(older, older) == ()


def test_the_digest_of_settings_is_of_the_lines_name_and_the_text_to_the_letter() -> None:
    same = LinePolicy(line="support", settings="{}")
    assert same.digest == sha256(b"support {}").hexdigest()
    assert len({same.digest, replace(same, line="sales").digest, replace(same, settings="{ }").digest}) == 3


def test_a_digest_is_of_a_text_in_whole_or_as_older_recorders_wrote_it_and_no_other_part_of_it_is() -> None:
    same = LinePolicy(line="support", settings="{}")
    assert [length for length in range(65) if same.gives(same.digest[:length])] == [16, 64]
    assert not same.gives(replace(same, line="sales").digest)
    assert not same.gives(same.digest[:16] + "0" * 48)


@pytest.mark.parametrize(("text", "words"), [("", "Expecting value"), ("[]", "no object"), ("{", "Expecting property")])
def test_what_is_no_settings_is_told_as_none(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        LinePolicy(line="support", settings=text).told()
