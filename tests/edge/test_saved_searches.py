"""Searches that somebody has named for themselves: without a number, theirs alone, and with the rights of now."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from structlog.testing import capture_logs

from recorder import catalogue
from recorder.catalogue import SAVED_MOST, Catalogue, SavedSearch, Unsaved, open_catalogue, saving
from recorder.http.finding import SearchView
from recorder.http.saving import fields_of_search, kept_of, understood
from recorder.model import Outcome
from recorder.rights import Right, Role, UserAction
from tests.edge.centre import Centre, look
from tests.edge.test_comments import while_one_writes
from tests.edge.test_listening import recorded
from tests.edge.visitors import enters, opens, program, signed_in, token_of
from tests.facts import user_act

pytestmark = pytest.mark.usefixtures("no_task_left")


@pytest.fixture
def centre(numbered_centre: Centre) -> Centre:
    return numbered_centre


async def secret(centre: Centre, name: str, *roles: Role, line: str = "support") -> str:
    await enters(centre, name, *roles, line=line)
    return (await token_of(centre, name))[1]


async def saves(client: httpx2.AsyncClient, name: str = "kept", **search: object) -> httpx2.Response:
    return await client.post("/api/v1/searches", json={"name": name, "search": search})


async def listed(client: httpx2.AsyncClient) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await client.get("/api/v1/searches")).json()["searches"]
    return found


def kept_text(centre: Centre) -> str:
    """All that the catalogue's files hold."""
    files = Path(centre.url.removeprefix("sqlite:///")).parent.glob("catalogue.db*")
    return b"".join(file.read_bytes() for file in files).decode("latin-1")


# --------------------------------------------------------------------------- over the API


async def test_a_search_is_saved_opened_and_really_removed_by_whose_it_is_alone(centre: Centre) -> None:
    await recorded(centre)
    call = str((await centre.call()).id)
    lena, bob = await secret(centre, "lena", Role.SUPERVISOR), await secret(centre, "bob", Role.SUPERVISOR)
    async with program(centre, lena) as client, program(centre, bob) as other:
        made = await saves(client, "recorded ones", outcome="recorded", line="support", longest=99)
        assert made.status_code == 201
        (one,) = await listed(client)
        assert (one, one["search"]["outcome"]) == (made.json(), "recorded")
        found = await client.get(f"/api/v1/searches/{one['id']}/calls")
        assert [row["id"] for row in found.json()["calls"]] == [call]
        none = (await saves(client, "lost ones", outcome="lost")).json()["id"]
        assert (await client.get(f"/api/v1/searches/{none}/calls")).json()["calls"] == []
        assert await listed(other) == []
        for answer in (
            await other.get(f"/api/v1/searches/{one['id']}/calls"),
            await other.delete(f"/api/v1/searches/{one['id']}"),
        ):
            assert answer.status_code == 404
        assert len(await listed(client)) == 2
        assert (await client.delete(f"/api/v1/searches/{one['id']}")).status_code == 204
        assert (await client.delete(f"/api/v1/searches/{one['id']}")).status_code == 404
        assert [left["name"] for left in await listed(client)] == ["lost ones"]
    assert centre.rows("SELECT name FROM saved_searches") == [("lost ones",)]


async def test_what_may_be_searched_counts_anew_whenever_it_is_opened(centre: Centre) -> None:
    await recorded(centre)
    call = str((await centre.call()).id)
    async with program(centre, await secret(centre, "lena", Role.SUPERVISOR)) as client:
        search = (await saves(client, line="support")).json()["id"]
        assert call in (await client.get(f"/api/v1/searches/{search}/calls")).text
        acts = [
            user_act(UserAction.GRANTED, "lena", line="sales", role=Role.SUPERVISOR),
            user_act(UserAction.REVOKED, "lena", line="support", role=Role.SUPERVISOR),
        ]
        await centre.catalogue.write_user_acts(acts)
        assert (await client.get(f"/api/v1/searches/{search}/calls")).json()["calls"] == []
        await centre.catalogue.write_user_acts(
            [user_act(UserAction.REVOKED, "lena", line="sales", role=Role.SUPERVISOR)]
        )
        assert (await client.get(f"/api/v1/searches/{search}/calls")).json()["code"] == "no_right"


async def test_a_program_that_is_for_other_things_has_no_searches(centre: Centre) -> None:
    await enters(centre, "lena", Role.SUPERVISOR)
    token, mine = await token_of(centre, "lena", rights=frozenset({Right.WATCH}))
    assert token.rights == frozenset({Right.WATCH})
    async with program(centre, mine) as client:
        for answer in (await client.get("/api/v1/searches"), await saves(client)):
            assert answer.json()["code"] == "no_right"
        assert (await client.delete(f"/api/v1/searches/{uuid4()}")).json()["code"] == "no_right"


@pytest.mark.parametrize(
    ("saving", "code"),
    [
        ({"name": "", "search": {}}, "not_understood"),
        ({"name": "   ", "search": {}}, "not_understood"),
        ({"name": "x" * 61, "search": {}}, "not_understood"),
        ({"name": "x", "search": {"number": "+15551234567"}}, "not_understood"),
        ({"name": "x", "search": {"outcome": "perhaps"}}, "not_understood"),
        ({"name": "x", "search": {"shortest": "NaN"}}, "not_understood"),
        ({"name": "x", "search": {"since": "0001-01-01T00:00:00+14:00"}}, "not_understood"),
        ({"name": "card 4111-1111-1111-1111", "search": {}}, "sensitive"),
        ({"name": "of DE89 3704 0044 0532 0130 00", "search": {}}, "sensitive"),
        ({"name": "x", "search": {"agent": "4111 1111 1111 1111"}}, "sensitive"),
        ({"name": "Mr +1 555 123 4567", "search": {}}, "number_in_it"),
        ({"name": "5551234567", "search": {}}, "number_in_it"),
        ({"name": "x", "search": {"agent": "+15551234567"}}, "number_in_it"),
        ({"name": "x", "search": {"line": "+15551234567"}}, "number_in_it"),
    ],
    ids=str,
)
async def test_what_may_not_be_kept_of_a_search_is_kept_nowhere(
    centre: Centre, saving: dict[str, Any], code: str
) -> None:
    with capture_logs() as logged:
        async with program(centre, await secret(centre, "lena", Role.SUPERVISOR)) as client:
            answer = await client.post("/api/v1/searches", json=saving)
            assert (answer.status_code, answer.json()["code"]) == (422, code)
            assert await listed(client) == []
    for typed in ("4111", "DE89", "5551234567", "555 123"):
        assert (typed in kept_text(centre), typed in str(logged), typed in answer.text) == (False, False, False)


async def test_a_name_is_given_once_and_so_many_are_kept(centre: Centre) -> None:
    mine = await secret(centre, "lena", Role.SUPERVISOR)
    async with program(centre, mine) as client:
        for number in range(SAVED_MOST):
            assert (await saves(client, f"number {number}")).status_code == 201
            if number == 0:
                again = await saves(client, " number 0 ")
                assert (again.status_code, again.json()["code"]) == (409, "named_already")
        assert (await saves(client, "one more")).json()["code"] == "no_more_of_these"
        (first, *_) = await listed(client)
        assert (await client.delete(f"/api/v1/searches/{first['id']}")).status_code == 204
        assert (await saves(client, "one more")).status_code == 201
    async with program(centre, await secret(centre, "bob", Role.SUPERVISOR)) as client:
        assert (await saves(client, "number 1")).status_code == 201


# --------------------------------------------------------------------------- on the page


async def test_what_was_looked_for_is_saved_on_the_page_opened_there_and_removed(centre: Centre) -> None:
    await recorded(centre)
    call = str((await centre.call()).id)
    await enters(centre, "lena", Role.SUPERVISOR)
    async with signed_in(centre, "lena") as client:
        page = await opens(client, "/calls?outcome=recorded&since=2026-01-02&settled=true&longest=99.5&agent=")
        form = page.text.split('action="/searches"')[1].split("</form>")[0]
        carried = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', form))
        assert set(carried) == {"stamp", "outcome", "since", "settled", "longest"}
        done = await client.post("/searches", data=carried | {"name": "the <long> ones"})
        assert (done.status_code, done.headers["location"].rpartition("/")[0]) == (303, "/searches")
        opened = await client.get(done.headers["location"])
        assert opened.headers["location"] == "/calls?outcome=recorded&longest=99.5&settled=true&since=2026-01-02"
        shown = await opens(client, opened.headers["location"])
        assert ("the &lt;long&gt; ones" in shown.text, call in shown.text) == (True, True)
        search = done.headers["location"]
        gone = await client.post(f"{search}/remove", data={"stamp": page.stamp})
        assert (gone.status_code, gone.headers["location"]) == (303, "/calls#searches")
        assert "the &lt;long" not in (await opens(client, "/calls")).text
        assert (await client.get(search)).status_code == 404
        assert (await client.post(f"{search}/remove", data={"stamp": page.stamp})).status_code == 404


async def test_a_search_by_number_has_no_form_and_is_refused_where_it_is_sent(centre: Centre) -> None:
    await recorded(centre)
    await enters(centre, "lena", Role.SUPERVISOR)
    async with signed_in(centre, "lena") as client:
        stamp = (await opens(client, "/calls")).stamp
        by_number = await client.post("/calls", data={"stamp": stamp, "number": "+15551239999"})
        assert ("A search by number is not saved" in by_number.text, 'action="/searches"' in by_number.text) == (
            True,
            False,
        )
        given = {"stamp": stamp, "number": "+15551239999", "name": "hers", "outcome": "recorded"}
        refused = await client.post("/searches", data=given)
        assert (refused.status_code, "No telephone number is kept" in refused.text) == (422, True)
    assert centre.rows("SELECT count(*) FROM saved_searches") == [(0,)]
    assert "5551239999" not in kept_text(centre)


@pytest.mark.parametrize(
    ("name", "words", "back"),
    [
        ("4111 1111 1111 1111", "Nothing of it was kept", ""),  # what the guard refused is never said again (SG-07)
        ("Ms 555-123-4567", "No telephone number is kept", "Ms 555-123-4567"),
    ],
)
async def test_a_name_that_is_refused_is_handed_back_with_what_was_looked_for(
    centre: Centre, name: str, words: str, back: str
) -> None:
    await enters(centre, "lena", Role.SUPERVISOR)
    async with signed_in(centre, "lena") as client:
        stamp = (await opens(client, "/calls")).stamp
        refused = await client.post("/searches", data={"stamp": stamp, "name": name, "outcome": "declined"})
        assert (refused.status_code, words in refused.text) == (422, True)
        assert f'name="name" value="{back}"' in refused.text
        assert '<input type="hidden" name="outcome" value="declined">' in refused.text


# --------------------------------------------------------------------------- what is kept


@pytest.mark.parametrize(
    ("search", "fields"),
    [
        (SearchView(), {}),
        (SearchView(outcome=Outcome.LOST, settled=False), {"outcome": "lost", "settled": "false"}),
        (SearchView(shortest=90, longest=1234567.25 / 10), {"shortest": "90", "longest": "123456.725"}),
        (SearchView(since=datetime.fromisoformat("2026-01-02").astimezone()), {"since": "2026-01-02"}),
        (SearchView(line="support", agent="PJSIP/alice"), {"line": "support", "agent": "PJSIP/alice"}),
    ],
    ids=str,
)
def test_what_is_kept_of_a_search_says_the_same_when_it_is_read(search: SearchView, fields: dict[str, str]) -> None:
    read = understood(kept_of(search))
    assert read is not None
    assert (read.model_dump(exclude={"since"}), fields_of_search(read)) == (
        search.model_dump(exclude={"since"}),
        fields,
    )


def test_a_moment_within_a_day_is_kept_to_the_moment_and_one_without_a_zone_in_utc() -> None:
    read = understood(kept_of(SearchView(since=datetime(2026, 1, 2, 3, 4, 5))))  # noqa: DTZ001 as it comes in
    assert read is not None
    assert read.since == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert datetime.fromisoformat(fields_of_search(read)["since"]) == read.since


def test_what_another_version_has_kept_is_listed_and_not_opened() -> None:
    assert understood({"outcome": "teleported"}) is None
    assert understood({"number": "+15551234567"}) is None


# --------------------------------------------------------------------------- the rows, on both engines


def saved(name: str = "kept", user: str = "lena") -> SavedSearch:
    return SavedSearch(id=uuid4(), user=user, name=name, sought={"outcome": "lost", "shortest": 1.5, "settled": True})


async def test_a_saved_search_comes_back_as_it_was_to_whose_it_is(store: Catalogue) -> None:
    one, other = saved("b"), saved("A")
    for search in (one, other, one, saved(user="bob")):
        assert await store.save_search(search) is None
    assert await store.saved_searches("lena") == (other, one)
    assert await store.save_search(saved("b")) is Unsaved.NAMED
    assert await store.remove_search("bob", one.id) is False
    assert [await store.remove_search("lena", one.id) for _ in range(2)] == [True, False]
    assert await store.saved_searches("lena") == (other,)


async def test_of_many_who_would_save_the_last_search_one_does(store: Catalogue, catalogue_url: str) -> None:
    """Two daemons at one catalogue, each with a thread that writes."""
    for number in range(SAVED_MOST - 1):
        await store.save_search(saved(f"{number}"))
    other = await open_catalogue(catalogue_url)
    writes = [one.save_search(saved(f"last {uuid4()}")) for _ in range(4) for one in (store, other)]
    done = await asyncio.gather(*writes)
    await other.close()
    assert sorted(str(one) for one in done) == ["None", *["too_many"] * 7]
    assert len(await store.saved_searches("lena")) == SAVED_MOST


@pytest.mark.postgres
@pytest.mark.parametrize("engine_name", ["postgres"])
async def test_who_saves_the_last_search_while_they_do_elsewhere_waits_and_is_refused(
    store: Catalogue, catalogue_url: str
) -> None:
    for number in range(SAVED_MOST - 1):
        await store.save_search(saved(f"{number}"))
    done = await while_one_writes(
        catalogue_url, lambda on: saving.add(on, saved("here")), lambda on: saving.add(on, saved("there"))
    )
    assert done == (None, Unsaved.TOO_MANY)


async def test_of_two_who_give_the_same_name_at_once_one_does(store: Catalogue, catalogue_url: str) -> None:
    other = await open_catalogue(catalogue_url)
    done = await asyncio.gather(*(one.save_search(saved()) for _ in range(3) for one in (store, other)))
    await other.close()
    assert sorted(str(one) for one in done) == ["None", *["named"] * 5]


async def test_saved_searches_stay_on_the_way_back(store: Catalogue, catalogue_url: str) -> None:
    await store.save_search(one := saved())
    await store.close()
    catalogue.downgrade(catalogue_url, "0017")
    assert catalogue.upgrade(catalogue_url) == catalogue.newest()
    assert look(catalogue_url, "SELECT count(*) FROM saved_searches") == [(1,)]
    again = await open_catalogue(catalogue_url)
    assert await again.saved_searches("lena") == (one,)
    await again.close()
