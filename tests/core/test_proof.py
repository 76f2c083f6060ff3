"""The proof of one call's consent: whole as it is made, and found out in whatever way it is changed, by both checks."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest

from recorder.chain import Head, head_from
from recorder.policy import LinePolicy
from recorder.proof import check, document
from tests.proofs import (
    HEARD,
    POLICY,
    UNKEPT,
    WAV,
    a_proof,
    another,
    at,
    bodies_of,
    chained,
    ended,
    leaves,
    said_by_the_lines,
)

PROOF = a_proof()
Change = Callable[[dict[str, Any]], None]


def wrong_with(proof: object) -> list[str]:
    return check(json.dumps(proof)).wrong


def test_a_proof_that_nobody_touched_is_whole_to_both_checks() -> None:
    assert wrong_with(PROOF) == []
    assert said_by_the_lines(PROOF) == (0, [])


@pytest.mark.parametrize("path", list(leaves(PROOF)), ids=lambda path: ".".join(map(str, path)))
def test_every_value_in_a_proof_that_is_changed_is_found(path: tuple[str | int, ...]) -> None:
    proof = copy.deepcopy(PROOF)
    value = at(proof, path)
    if path[-1] == "wav":
        sound = base64.b64decode(value)
        at(proof, path[:-1])[path[-1]] = base64.b64encode(sound[:-1] + b"!").decode()
    else:
        at(proof, path[:-1])[path[-1]] = another(value)
    assert wrong_with(proof)
    code, said = said_by_the_lines(proof)
    assert (code, bool(said)) == (1, True)


@pytest.mark.parametrize("path", [path for path in leaves(PROOF) if isinstance(path[-1], str)], ids=str)
def test_a_value_that_is_gone_or_has_another_name_is_found(path: tuple[str | int, ...]) -> None:
    proof = copy.deepcopy(PROOF)
    holder = at(proof, path[:-1])
    holder["elsewhere"] = holder.pop(path[-1])
    assert wrong_with(proof)


@pytest.mark.parametrize("path", [(), ("head",), ("links", 0), ("acts", 0), ("prompts", 0)], ids=str)
def test_something_that_no_proof_holds_is_found(path: tuple[str | int, ...]) -> None:
    proof = copy.deepcopy(PROOF)
    at(proof, path)["remark"] = "all is well"
    assert any("holds remark, which no proof does" in what for what in wrong_with(proof))


def removes(number: int) -> Change:
    def change(proof: dict[str, Any]) -> None:
        del proof["acts"][number]

    return change


def swaps_two_acts(proof: dict[str, Any]) -> None:
    proof["acts"][0], proof["acts"][1] = proof["acts"][1], proof["acts"][0]


def swaps_two_bodies(proof: dict[str, Any]) -> None:
    first, second = proof["acts"][:2]
    first["body"], second["body"] = second["body"], first["body"]


def doubles_an_act(proof: dict[str, Any]) -> None:
    proof["acts"].insert(1, proof["acts"][0])


def leaves_out_the_last_event_and_the_end(proof: dict[str, Any]) -> None:
    del proof["acts"][2:]


def cuts_a_link(proof: dict[str, Any]) -> None:
    del proof["links"][3]


def cuts_the_newest_link(proof: dict[str, Any]) -> None:
    del proof["links"][-1]


def changes_the_head(proof: dict[str, Any]) -> None:
    proof["head"]["digest"] = "ab" * 32


def changes_a_key_and_its_commitment(proof: dict[str, Any]) -> None:
    """As somebody would who knows how it is made, and stops there."""
    act = proof["acts"][1]
    act["body"]["key"], act["body"]["after"] = "1", "given"
    (link,) = [link for link in proof["links"] if link["seq"] == act["seq"]]
    _, (anew,) = chained([act["body"]])
    act["salt"] = anew.salt
    (other,), _ = chained([act["body"]])
    link["commitment"] = other.commitment


def changes_a_byte_of_the_sound(proof: dict[str, Any]) -> None:
    proof["prompts"][0]["wav"] = base64.b64encode(WAV[:-1] + b"!").decode()


def changes_a_byte_of_the_sound_and_its_digest(proof: dict[str, Any]) -> None:
    changes_a_byte_of_the_sound(proof)
    proof["prompts"][0]["sha256"] = "cd" * 32


def takes_the_sound_away(proof: dict[str, Any]) -> None:
    proof["prompts"].clear()


def brings_another_sound(proof: dict[str, Any]) -> None:
    proof["prompts"].append({"sha256": "cd" * 32, "wav": ""})


def changes_the_settings(proof: dict[str, Any]) -> None:
    proof["policies"][0]["settings"] = proof["policies"][0]["settings"].replace("2", "3")


def changes_the_settings_and_their_digest(proof: dict[str, Any]) -> None:
    changes_the_settings(proof)
    anew = LinePolicy(line="support", settings=proof["policies"][0]["settings"])
    proof["policies"][0]["digest"] = anew.digest


def says_another_call(proof: dict[str, Any]) -> None:
    proof["call"] = str(UUID(int=8))


@pytest.mark.parametrize(
    ("change", "ours", "theirs"),
    [
        (removes(0), "consent event 1 of the call is missing", "a consent event of the call is missing"),
        (removes(1), "consent event 2 of the call is missing", "a consent event of the call is missing"),
        (removes(2), "consent event 3 of the call is missing", "had another number of consent events"),
        (swaps_two_acts, "consent event 1 (none -> asked) in link 6 stands behind", "not in their order"),
        (swaps_two_bodies, "is not what was chained", "is not what was chained"),
        (doubles_an_act, "a consent event stands in the proof twice", "not in their order"),
        (cuts_a_link, "the chain is cut between link", "the chain is cut between link"),
        (cuts_the_newest_link, "the last link is", "the head is not the last link"),
        (changes_the_head, "the head's digest is not that of the last link", "the head is not the last link"),
        (changes_a_key_and_its_commitment, "the chain is cut between link 7", "the chain is cut between link 7"),
        (changes_a_byte_of_the_sound, "the sound of prompt question en version 1 is not", "the sound of prompt"),
        (changes_a_byte_of_the_sound_and_its_digest, "what was heard of prompt question", "the sound of prompt"),
        (takes_the_sound_away, "what was heard of prompt question en version 1", "a prompt that was heard is missing"),
        (brings_another_sound, "and no consent event names it", "or one is there that was not"),
        (changes_the_settings, "the settings of line support in the file are not those of", "the settings of policy"),
        (changes_the_settings_and_their_digest, "and no consent event names them", "that no consent event names"),
        (says_another_call, "belongs to call", "is of another call"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_was_done_to_a_proof_is_found_and_named_by_both_checks(change: Change, ours: str, theirs: str) -> None:
    proof = copy.deepcopy(PROOF)
    change(proof)
    assert [what for what in wrong_with(proof) if ours in what], wrong_with(proof)
    code, said = said_by_the_lines(proof)
    assert code == 1
    assert [what for what in said if theirs in what], said


def without(*parts: str, version: int) -> dict[str, Any]:
    return {name: part for name, part in PROOF.items() if name not in parts} | {"version": version}


def test_a_proof_of_before_the_settings_were_kept_is_whole_without_them() -> None:
    older = without("policies", "policies_missing", version=1)
    assert wrong_with(older) == []
    assert said_by_the_lines(older)[0] == 0
    assert wrong_with(older | {"policies": PROOF["policies"]}) == ["the proof holds policies, which no proof does"]


def test_settings_that_were_not_kept_are_no_fault_of_a_proof_that_names_them_as_missing() -> None:
    missing = [{"digest": digest, "why": why} for digest, why in ((POLICY.digest, "changed"), (UNKEPT, "not_kept"))]
    named = PROOF | {"policies": [], "policies_missing": missing}
    assert wrong_with(named) == []
    assert said_by_the_lines(named)[0] == 0
    older = without("policies_missing", version=2)
    assert wrong_with(older | {"policies": []}) == wrong_with(older) == []
    assert said_by_the_lines(older | {"policies": []})[0] == 0


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ([], f"the settings of policy {UNKEPT} are not in the file, which does not name them as missing"),
        ([UNKEPT, POLICY.digest], f"policy {POLICY.digest} are named as missing, and they are in the file"),
        ([UNKEPT, "d" * 64], f"policy {'d' * 64} are named as missing, and no consent event names them"),
        ([UNKEPT, UNKEPT], f"the settings of policy {UNKEPT} stand in the file twice"),
    ],
    ids=["not named", "there", "nobody's", "twice"],
)
def test_settings_that_are_named_as_missing_wrongly_are_found(missing: list[str], words: str) -> None:
    told = PROOF | {"policies_missing": [{"digest": digest, "why": "not_kept"} for digest in missing]}
    assert any(words in what for what in wrong_with(told)), wrong_with(told)
    if len(set(missing)) == len(missing):
        assert said_by_the_lines(told)[0] == 1


def test_settings_that_stand_in_a_proof_twice_are_named() -> None:
    twice = PROOF | {"policies": PROOF["policies"] * 2}
    assert wrong_with(twice) == [f"the settings of policy {POLICY.digest} stand in the file twice"]


def test_a_proof_without_the_calls_end_says_that_there_may_be_more() -> None:
    proof = copy.deepcopy(PROOF)
    leaves_out_the_last_event_and_the_end(proof)
    proof["policies_missing"] = []  # the settings of the last event
    checked = check(json.dumps(proof))
    assert checked.proof is not None
    assert (checked.wrong, checked.proof.end) == ([], None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the file is not JSON"),
        ("[" * 100_000, "the file is not JSON"),
        ('{"proof": 1, "proof": 2}', "a name stands twice"),
        ('{"proof": "\\ud800"}', "the file is not JSON"),
        ("[]", "the file is no proof"),
        ('{"proof": "recorder consent proof", "version": 4}', "is of version 4"),
        ('{"proof": "recorder consent proof", "version": true}', "is of version True"),
        ('{"proof": "recorder consent proof", "version": 3}', "lacks policies_missing"),
        ('{"proof": "recorder consent proof", "version": 2}', "lacks policies"),
        ('{"proof": "recorder consent proof", "version": 1}', "lacks acts"),
    ],
)
def test_what_is_no_proof_is_said_to_be_none(text: str, words: str) -> None:
    checked = check(text)
    assert checked.proof is None
    assert any(words in what for what in checked.wrong), checked.wrong


def test_a_head_that_was_noted_elsewhere_is_met_or_shows_that_the_chain_was_written_anew() -> None:
    head = head_from("{node}:{seq}:{digest}".format(**PROOF["head"]))
    assert head is not None
    unmet = Head(node=head.node, seq=head.seq + 1, digest=head.digest)
    elsewhere = Head(node="pbx2", seq=head.seq, digest="ab" * 32)
    checked = check(json.dumps(PROOF), [head, unmet, elsewhere])
    assert (checked.heads_met, checked.wrong) == (1, [])
    rewritten = check(json.dumps(PROOF), [Head(node=head.node, seq=head.seq, digest="ab" * 32)])
    assert rewritten.heads_met == 0
    assert "the chain was written anew" in rewritten.wrong[0]


def test_of_an_act_that_was_chained_behind_every_noted_head_these_say_nothing() -> None:
    """Whoever wrote the chain anew from that head on shows it among the links all the same."""
    links, acts = chained([*(ended(uuid4(), 0) for _ in range(3)), *bodies_of(UUID(int=7))])
    noted = Head(node=links[2].node, seq=3, digest=links[2].digest)
    proof = document(str(UUID(int=7)), links, acts[3:], HEARD)
    checked = check(json.dumps(proof), [noted])
    assert (checked.wrong, checked.heads_met, len(checked.later_acts)) == ([], 1, 4)
    last = Head(node=links[-1].node, seq=links[-1].seq, digest=links[-1].digest)
    assert check(json.dumps(proof), [noted, last]).later_acts == []


@pytest.mark.parametrize(
    "told",
    [{"number": 2}, {"number": []}, {"number": "3"}, {"number": True}, {"number": 10**12}, {"consents": 2}],
    ids=str,
)
def test_consent_events_that_are_counted_otherwise_than_they_are_there_are_found(told: dict[str, Any]) -> None:
    """Chained so: nothing but the count is wrong with them."""
    bodies = bodies_of(UUID(int=7))
    bodies[3 if "consents" in told else 2] |= told
    links, acts = chained(bodies)
    assert check(json.dumps(document(str(UUID(int=7)), links, acts, HEARD))).wrong
