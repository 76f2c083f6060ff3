"""Links and heads: how two of them hang together, how few are needed, and how a body is written down."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from datetime import UTC, datetime
from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.books.links import judge_links
from recorder.books.mismatch import Code
from recorder.catalogue import Chained, ChainRow
from recorder.chain import (
    Head,
    Link,
    canonical,
    commitment,
    differing,
    further_back,
    head_from,
    heads_noted,
    is_committed,
    way_back,
)
from recorder.model import CallId, ConsentEventId
from tests.proofs import another, bodies_of, chained

LINKS, ACTS = chained([body for number in range(30) for body in bodies_of(UUID(int=number))])


def test_a_link_stands_on_the_one_before_it_and_on_one_further_back_and_on_no_other() -> None:
    for newer in LINKS:
        stands_on = {older.seq for older in LINKS if newer.follows(older)}
        assert stands_on == {newer.seq - 1, further_back(newer.seq)} - {0}


def test_a_link_does_not_stand_on_one_that_was_changed_near_or_far() -> None:
    changed = [Link(**(asdict(link) | {"commitment": "ab" * 32})) for link in LINKS]
    assert [newer.seq for newer in LINKS for older in changed if newer.follows(older)] == []


@pytest.mark.parametrize("name", ["node", "seq", "at", "commitment", "previous", "further"])
def test_everything_that_a_link_says_is_in_its_digest(name: str) -> None:
    link = LINKS[11]
    said = asdict(link)
    changed = Link(**(said | {name: another(said[name])}))
    assert changed.digest != link.digest


def test_a_digest_is_what_anybody_would_make_of_the_link() -> None:
    link = LINKS[5]
    text = json.dumps(asdict(link), sort_keys=True, separators=(",", ":"))
    assert link.digest == hashlib.sha256(text.encode()).hexdigest()


@given(st.integers(1, 10**9).flatmap(lambda newest: st.tuples(st.just(newest), st.integers(1, newest))))
def test_any_link_is_reached_from_any_later_one_in_few_steps_each_of_which_a_link_names(ends: tuple[int, int]) -> None:
    newest, oldest = ends
    way = [newest, *way_back(newest, oldest)]
    assert way[-1] == oldest
    for newer, older in pairwise(way):
        assert older in (newer - 1, further_back(newer))
    assert len(way) < 500


def test_a_year_of_a_large_centre_is_crossed_in_some_hundred_links() -> None:
    year = 15_000_000
    assert max(len(list(way_back(year, oldest))) for oldest in range(1, year, 9973)) < 320


def test_a_salt_hides_the_body_and_is_written_in_one_way() -> None:
    body = canonical(ACTS[0].body)
    salt = "ab" * 32
    assert commitment(salt, body) != commitment("ac" * 32, body)
    assert is_committed(salt, body, commitment(salt, body))
    for other in (salt.upper(), f" {salt}", salt[:-2], ""):
        assert not is_committed(other, body, commitment(salt, body))


def test_a_body_is_written_as_any_other_program_would_write_it() -> None:
    assert canonical({"b": "é\n", "a": [1, None]}) == '{"a":[1,null],"b":"é\\n"}'


def test_what_differs_is_named_and_what_was_not_chained_is_not_asked_for() -> None:
    assert differing({"key": "1", "line": "support"}, {"key": "2"}) == ["key"]
    assert differing({"key": None}, {"key": None}) == []
    assert differing({}, {"key": None}) == ["key"]


def test_a_head_is_read_as_it_is_printed() -> None:
    head = Head(node="pbx1", seq=17, digest="ab" * 32)
    assert head_from(str(head)) == head
    assert heads_noted(f"{head}  2026-03-02T12:00:00+00:00\n\n{head}\n") == (head, head)
    for text in ("pbx1:17", f"pbx1:0:{'ab' * 32}", f"pbx1:17:{'AB' * 32}", "nothing"):
        assert head_from(text) is None
    with pytest.raises(ValueError, match="line 2"):
        heads_noted(f"{head}\nsomething else\n")


@pytest.mark.parametrize("body", ["[]", "null", "what is this", '{"after":"given"}', "[" * 100_000])
def test_a_link_that_commits_to_no_act_of_ours_is_named_and_stops_nobody(body: str) -> None:
    """Somebody who owns the database can write such a one, with all that must fit it."""
    salt = "5a" * 32
    row = ChainRow(
        node="pbx1",
        seq=1,
        at=datetime(2026, 3, 2, tzinfo=UTC),
        call=CallId(UUID(int=1)),
        consent=ConsentEventId(UUID(int=2)),
        salt=salt,
        body=body,
        commitment=commitment(salt, body),
        digest="",
        previous=None,
        further=None,
    )
    row = replace(row, digest=row.link.digest)
    (found,) = judge_links([Chained(link=row)], 0)
    assert (found.code, "names another act than it committed to" in found.what) == (Code.CHAIN_BROKEN, True)
