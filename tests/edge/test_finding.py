"""Calls are found by what people know of them, on their own lines alone, and taken away as a file that is whole."""

from __future__ import annotations

import asyncio
import csv
import io
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from fastapi import APIRouter, Request, Response
from structlog.testing import capture_logs

from recorder.catalogue import Catalogue, CatalogueAway, LogSought, Sought
from recorder.http import Door, Exports, HttpServer, exporting, make_app, searching
from recorder.http.api import View
from recorder.http.exporting import Cut, Format, Place, cell, paged
from recorder.http.finding import CallView, exported
from recorder.listens import ListenKind
from recorder.model import CallId, ConsentState, Direction, LostReason, Outcome, OverrideReason
from recorder.rights import Role, UserAction
from tests.books import Story, agreed, by_override, failed, folders, refused
from tests.core.test_listens import ACT
from tests.edge.centre import NUMBER_KEY, Centre
from tests.edge.test_http import answers
from tests.edge.test_listening import by_sql, many
from tests.edge.visitors import Page, enters, opens, program, signed_in, token_of
from tests.facts import later, user_act

pytestmark = pytest.mark.usefixtures("no_task_left")

NUMBER = "+1 555 123 4567"
DIGEST = str(NUMBER_KEY.digest(NUMBER))


async def five_calls(store: Catalogue, home: Path) -> dict[str, CallId]:
    """One that went well and was noticed, one overridden, one lost, one refused, one in progress."""
    storage = folders(home)
    stories = {
        "agreed": agreed(storage),
        "overridden": by_override(storage),
        "lost": failed(),
        "refused": refused(),
        "open": Story().admitted(),
    }
    for story in stories.values():
        await story.write(store)
    noticed = stories["agreed"].recording
    await store.write_analysis(noticed, later(20), {}, ("clipped", "silent"))
    await store.write_numbers([(stories["refused"].call, DIGEST), (stories["lost"].call, "another")])
    return {name: story.call for name, story in stories.items()}


# --------------------------------------------------------------------------- in the catalogue, on both engines


@pytest.mark.parametrize(
    ("sought", "found"),
    [
        ({}, {"agreed", "overridden", "lost", "refused", "open"}),
        ({"agent": "PJSIP/alice"}, {"agreed", "overridden", "lost", "refused"}),
        ({"agent": "PJSIP/alic"}, set()),
        ({"reason": LostReason.CAPTURE_FAILED}, {"lost"}),
        ({"reason": LostReason.BUSY}, set()),
        ({"outcome": Outcome.LOST}, {"lost"}),
        ({"override": OverrideReason.EMERGENCY}, {"overridden"}),
        ({"override": OverrideReason.LEGAL}, set()),
        ({"consent": ConsentState.OVERRIDDEN}, {"overridden"}),
        ({"consent": ConsentState.REFUSED}, {"refused"}),
        ({"direction": Direction.OUTGOING}, set()),
        ({"shortest": 12.0}, {"agreed", "overridden", "lost", "refused"}),
        ({"shortest": 12.001}, set()),
        ({"longest": 12.0}, {"agreed", "overridden", "lost", "refused"}),
        ({"longest": 11.999}, set()),
        ({"finding": "clipped"}, {"agreed"}),
        ({"finding": "silent"}, {"agreed"}),
        ({"finding": "clip"}, set()),
        ({"settled": True}, {"agreed", "overridden"}),
        ({"settled": False}, {"lost", "refused", "open"}),
        ({"numbers": frozenset({DIGEST, "none"})}, {"refused"}),
        ({"numbers": frozenset({"none"})}, set()),
        ({"settled": True, "consent": ConsentState.GIVEN, "agent": "PJSIP/alice", "shortest": 1}, {"agreed"}),
    ],
)
async def test_a_call_is_found_by_each_thing_that_is_known_of_it_and_by_several_together(
    store: Catalogue, tmp_path: Path, sought: dict[str, Any], found: set[str]
) -> None:
    made = await five_calls(store, tmp_path)
    rows = await store.search_calls(Sought(lines=None, **sought), 9)
    assert {row.id for row in rows} == {made[name] for name in found}
    assert await store.search_calls(Sought(lines=frozenset({"sales"}), **sought), 9) == ()


@pytest.mark.parametrize("engine_name", ["sqlite"])  # PostgreSQL keeps it out by its type
async def test_what_cannot_be_read_of_a_listening_is_of_no_agent_and_hides_no_other(
    store: Catalogue, catalogue_url: str
) -> None:
    await many(store)
    by_sql(catalogue_url, "UPDATE listens SET agents = '{' WHERE seq = 2")
    assert len(await store.listens(LogSought(agent="PJSIP/alice"), 9)) == 5


@pytest.mark.parametrize(
    ("sought", "count"),
    [
        ({}, 4),
        ({"agent": "PJSIP/alice"}, 3),
        ({"agent": "PJSIP/bob"}, 1),
        ({"agent": "PJSIP/ali"}, 0),
        ({"purpose": "training"}, 3),
        ({"purpose": "training", "agent": "PJSIP/bob"}, 1),
        ({"purpose": "train"}, 0),
        ({"agent": 'PJSIP/alice", "PJSIP/bob'}, 0),
        ({"agent": "PJSIP/alice", "lines": frozenset({"sales"})}, 0),
    ],
)
async def test_the_log_is_looked_through_by_agent_and_by_purpose(
    store: Catalogue, sought: dict[str, Any], count: int
) -> None:
    both, nobody = ("PJSIP/alice", "PJSIP/bob"), {"recording": None, "call": None, "line": None}
    said: list[dict[str, Any]] = [
        {},
        {"agents": both},
        {"purpose": "service_standard"},
        {"kind": ListenKind.LOG_VIEWED, "agents": (), "purpose": "training", **nobody},
    ]
    await store.write_listens([replace(ACT, id=uuid4(), **other) for other in said])
    assert len(await store.listens(LogSought(**sought), 9)) == count


# --------------------------------------------------------------------------- a daemon that knows numbers


@pytest.fixture
def centre(numbered_centre: Centre) -> Centre:
    return numbered_centre


async def called(centre: Centre, home: Path) -> dict[str, CallId]:
    """The five calls, who may search for them (sam), and who may elsewhere (olga)."""
    (home / "before").mkdir()
    made = await five_calls(centre.catalogue, home / "before")
    await enters(centre, "sam", Role.SUPERVISOR)
    await enters(centre, "olga", Role.SUPERVISOR, line="sales")
    await enters(centre, "alba", Role.AUDITOR)
    return made


async def secret(centre: Centre, name: str) -> str:
    return (await token_of(centre, name))[1]


def ids(answer: httpx2.Response) -> set[str]:
    assert answer.status_code == 200, answer.text
    return {row["id"] for row in answer.json()["calls"]}


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"agent": "PJSIP/alice", "settled": "true"}, {"agreed", "overridden"}),
        ({"reason": "capture_failed"}, {"lost"}),
        ({"override": "emergency"}, {"overridden"}),
        ({"consent": "given", "finding": "clipped"}, {"agreed"}),
        ({"shortest": "5", "longest": "600", "settled": "false"}, {"lost", "refused"}),
    ],
)
async def test_a_program_finds_calls_by_what_it_says_in_the_address(
    centre: Centre, tmp_path: Path, asked: Mapping[str, str], found: set[str]
) -> None:
    made = await called(centre, tmp_path)
    async with program(centre, await secret(centre, "sam")) as client:
        assert ids(await client.get("/api/v1/calls", params=asked)) == {str(made[name]) for name in found}
    async with program(centre, await secret(centre, "olga")) as client:
        assert ids(await client.get("/api/v1/calls", params=asked)) == set()


@pytest.mark.parametrize(
    "asked",
    [{"number": "5551234567"}, {"reason": "rain"}, {"shortest": "-1"}, {"longest": "nan"}, {"colour": "red"}],
)
async def test_what_is_not_understood_in_an_address_is_refused_and_not_passed_over(
    centre: Centre, tmp_path: Path, asked: Mapping[str, str]
) -> None:
    await called(centre, tmp_path)
    async with program(centre, await secret(centre, "sam")) as client:
        for path in ("/api/v1/calls", "/api/v1/calls/export"):
            answer = await client.get(path, params=asked)
            assert (answer.status_code, answer.json()["code"]) == (422, "not_understood")
            assert "5551234567" not in answer.text


@pytest.mark.parametrize("written", ["+1 (555) 123-4567", "15551234567", "555.123.4567"])
async def test_a_program_finds_calls_by_a_number_in_any_written_form_on_its_own_lines(
    centre: Centre, tmp_path: Path, written: str, capfd: pytest.CaptureFixture[str]
) -> None:
    made = await called(centre, tmp_path)
    expected = {str(made["refused"])}
    async with program(centre, await secret(centre, "sam")) as client:
        assert ids(await client.post("/api/v1/calls/search", json={"number": written})) == expected
        lost = {"number": written, "outcome": "lost"}
        assert ids(await client.post("/api/v1/calls/search", json=lost)) == set()
        rows = (await client.post("/api/v1/calls/export", json={"number": written, "format": "json"})).json()
        assert {row["id"] for row in rows} == expected
    async with program(centre, await secret(centre, "olga")) as client:
        assert ids(await client.post("/api/v1/calls/search", json={"number": written})) == set()
    said = capfd.readouterr()
    assert "4567" not in said.out + said.err


async def test_what_is_no_number_is_said_to_be_none_and_without_the_right_nothing_is_said(
    centre: Centre, tmp_path: Path
) -> None:
    await called(centre, tmp_path)
    for name, number, code in (
        ("sam", "alice", "no_telephone_number"),
        ("sam", "", "not_understood"),
        ("alba", "alice", "no_right"),
    ):
        async with program(centre, await secret(centre, name)) as client:
            for path in ("/api/v1/calls/search", "/api/v1/calls/export"):
                assert (await client.post(path, json={"number": number})).json()["code"] == code


async def test_where_no_key_is_set_the_api_and_the_page_say_so_in_words(sqlite_centre: Centre) -> None:
    await enters(sqlite_centre, "sam", Role.SUPERVISOR)
    async with program(sqlite_centre, await secret(sqlite_centre, "sam")) as client:
        answer = await client.post("/api/v1/calls/search", json={"number": NUMBER})
        assert (answer.status_code, answer.json()["code"]) == (409, "numbers_not_kept")
        assert "numbers.key_file" in answer.json()["detail"]
    async with signed_in(sqlite_centre, "sam") as client:
        page = await opens(client, "/calls")
        assert "the settings name no key for that (numbers.key_file)" in page.text
        assert 'name="number"' not in page.text


# --------------------------------------------------------------------------- the page


def listed(page: Page) -> set[str]:
    return set(re.findall(r'href="/calls/([0-9a-f-]{36})"', page.text))


async def test_on_the_page_calls_are_found_by_each_field_and_it_shows_what_was_asked(
    centre: Centre, tmp_path: Path
) -> None:
    made = await called(centre, tmp_path)
    async with signed_in(centre, "sam") as client:
        for asked, found in (
            ("line=support&direction=incoming&agent=PJSIP/alice&settled=false", {"lost", "refused"}),
            ("reason=capture_failed&outcome=", {"lost"}),
            ("consent=given&finding=clipped&shortest=1&longest=", {"agreed"}),
            ("override=emergency&since=2026-01-01", {"overridden"}),
            ("override=emergency&until=2026-01-01", set()),
        ):
            page = await opens(client, f"/calls?{asked}")
            assert (page.status, listed(page)) == (200, {str(made[name]) for name in found})
        assert '<option value="emergency" selected>' in page.text
        assert "the telephone system wrote nothing" in (await opens(client, "/calls?reason=capture_failed")).text
        wrong = await opens(client, "/calls?since=someday")
        assert (wrong.status, listed(wrong)) == (422, set())
        assert "That could not be understood." in wrong.text


async def test_on_the_page_a_number_is_sent_by_a_form_and_stands_in_no_address(
    centre: Centre, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await called(centre, tmp_path)
    monkeypatch.setattr(searching, "PAGE", 1)
    await centre.catalogue.write_numbers([(made["lost"], DIGEST)])
    async with signed_in(centre, "sam") as client:
        stamp = (await opens(client, "/calls")).stamp
        form = {"stamp": stamp, "number": NUMBER, "agent": "PJSIP/alice"}
        first = await client.post("/calls", data=form)
        older = first.text.partition('name="before"')[0].rpartition("<form")[2]
        carried = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]+)"', older))
        assert carried == form
        behind = re.search(r'name="before" value="([^"]+)"', first.text)
        assert behind is not None
        second = await client.post("/calls", data=carried | {"before": behind[1]})
        found = [listed(Page(answer.status_code, answer.text)) for answer in (first, second)]
        assert found[0] | found[1] == {str(made["refused"]), str(made["lost"])}
        assert not re.search(r'(href|action)="[^"]*555', first.text + second.text)
        assert 'name="number" value="+1 555 123 4567"' in first.text  # carried by the forms
        taken = await client.post("/calls/export", data=form | {"format": "json"})
        assert {row["id"] for row in taken.json()} == {str(made["refused"]), str(made["lost"])}
        for data, status, words in (
            ({"number": "alice"}, 422, "That is no telephone number."),
            ({"stamp": "0" * 64}, 403, "Open the page again"),
        ):
            answer = await client.post("/calls", data=form | data)
            assert (answer.status_code, words in answer.text) == (status, True)
        in_address = await opens(client, "/calls?number=5551234567")
        assert (in_address.status, listed(in_address)) == (422, set())


async def test_the_page_hands_on_what_was_asked_to_older_calls_and_to_the_file(
    centre: Centre, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await called(centre, tmp_path)
    monkeypatch.setattr(searching, "PAGE", 1)
    async with signed_in(centre, "sam") as client:
        seen: set[str] = set()
        address: str | None = "/calls?agent=PJSIP%2Falice&settled=true&outcome="
        while address is not None:
            assert ("settled=true" in address, "agent=" in address) == (True, True)
            page = await opens(client, address)
            seen |= listed(page)
            link = re.search(r'href="(/calls\?[^"]+)"', page.text)
            address = None if link is None else link[1].replace("&amp;", "&")
        assert seen == {str(made["agreed"]), str(made["overridden"])}
        page = await opens(client, "/calls?settled=true")
        fields = re.findall(
            r'type="hidden" name="(\w+)" value="(\w+)"', page.text.partition('action="/calls/export"')[2]
        )
        taken = await client.get("/calls/export", params={**dict(fields), "format": "csv"})
        assert {row["id"] for row in csv.DictReader(io.StringIO(taken.text))} == seen
        assert (await client.get("/calls/export", params={"format": "pdf"})).status_code == 422


# --------------------------------------------------------------------------- files


async def test_a_file_holds_all_that_is_found_and_no_more_however_many_pages_it_takes(
    centre: Centre, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await called(centre, tmp_path)
    monkeypatch.setattr(exporting, "PAGE", 2)
    everything = {str(call) for call in made.values()}
    async with program(centre, await secret(centre, "sam")) as client:
        table = await client.get("/api/v1/calls/export")
        assert table.headers["content-type"] == "text/csv; charset=utf-8"
        assert table.headers["content-disposition"] == 'attachment; filename="calls.csv"'
        rows = list(csv.DictReader(io.StringIO(table.text)))
        assert len(rows) == 5
        assert {row["id"] for row in rows} == everything
        told = (await client.get("/api/v1/calls", params={"limit": 200})).json()["calls"]
        assert (await client.get("/api/v1/calls/export", params={"format": "json"})).json() == told
        assert [{name: value or "" for name, value in call.items()} for call in told] == rows
        few = await client.get("/api/v1/calls/export", params={"agent": "PJSIP/alice", "settled": True})
        assert len(few.text.splitlines()) == 3
        none = {"agent": "nobody", "format": "json"}
        assert (await client.get("/api/v1/calls/export", params=none)).json() == []
    async with program(centre, await secret(centre, "olga")) as client:
        assert len((await client.get("/api/v1/calls/export")).text.splitlines()) == 1
    async with program(centre, await secret(centre, "alba")) as client:
        assert (await client.get("/api/v1/calls/export")).status_code == 403


async def test_the_log_as_a_file_is_ones_own_or_all_of_it_and_that_look_is_a_row(
    centre: Centre, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await called(centre, tmp_path)
    monkeypatch.setattr(exporting, "PAGE", 2)
    said = [replace(ACT, id=uuid4(), at=later(at), explanation="=1+1") for at in range(5)]
    await centre.catalogue.write_listens([*said, replace(ACT, id=uuid4(), listener="olga", purpose="other")])
    async with program(centre, await secret(centre, "sam")) as client:
        rows = list(csv.DictReader(io.StringIO((await client.get("/api/v1/listens/export")).text)))
        assert [row["id"] for row in rows] == [str(act.id) for act in reversed(said)]
        assert {row["explanation"] for row in rows} == {"'=1+1"}
        assert (await client.get("/api/v1/listens/export", params={"all": True})).status_code == 403
    looks = LogSought(listener="alba")
    async with program(centre, await secret(centre, "alba")) as client:
        assert await centre.catalogue.listens(looks, 9) == ()
        params: dict[str, str | bool] = {"all": True, "format": "json", "agent": "PJSIP/alice", "purpose": "training"}
        assert len((await client.get("/api/v1/listens/export", params=params)).json()) == 5
        assert [row.kind for row in await centre.catalogue.listens(looks, 9)] == [ListenKind.LOG_VIEWED]
        one = (await client.get("/api/v1/listens", params={"all": True, "purpose": "other"})).json()["rows"]
        assert [row["listener"] for row in one] == ["olga"]


async def test_who_may_no_longer_gets_no_further_page(
    centre: Centre, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await called(centre, tmp_path)
    monkeypatch.setattr(exporting, "PAGE", 2)
    door = Door(centre.catalogue, centre.assembly.now)
    bearer = f"Bearer {await secret(centre, 'sam')}".encode()
    request = Request({"type": "http", "headers": [(b"authorization", bearer)]})
    sought = Sought(lines=frozenset({"support"}))
    file = await exported(door, centre.catalogue, Exports(), request, sought, Format.JSON)
    parts = aiter(file.body_iterator)
    first, second = await anext(parts), await anext(parts)
    assert str(first).count('"id"') + str(second).count('"id"') == 4
    await centre.catalogue.write_user_acts([user_act(UserAction.REVOKED, "sam", line="support", role=Role.SUPERVISOR)])
    with pytest.raises(Cut):
        await anext(parts)
    door.close()


class RowView(View):
    number: int
    said: str


@asynccontextmanager
async def serving(second_page: Callable[[], Awaitable[list[int]]], **how: bool) -> AsyncIterator[str]:
    """A server whose `/rows` has a page of two, and then whatever `second_page` comes to."""
    routes, exports = APIRouter(), Exports()

    async def ask(before: Place | None) -> list[int]:
        if before is None and how.get("first", True):
            return [1, 2]
        return await second_page()

    async def may_go_on() -> bool:
        return how.get("may", True)

    @routes.get("/rows")
    async def rows(form: Format = Format.JSON) -> Response:
        pages = paged(ask, lambda row: (later(row), uuid4()), lambda row: RowView(number=row, said="é"), may_go_on)
        return await exports.begin("rows", form, RowView, pages)

    server = HttpServer(make_app(answers(), routes), "127.0.0.1", 0)
    running = asyncio.create_task(server.run())
    try:
        yield f"http://127.0.0.1:{server.port}/rows"
    finally:
        server.stop()
        await running


async def away() -> list[int]:
    raise CatalogueAway("the catalogue did not answer")


async def last() -> list[int]:
    return [3]


async def test_a_file_that_is_whole_ends_and_one_that_is_not_is_broken_off(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(exporting, "PAGE", 2)
    async with serving(last) as address, httpx2.AsyncClient() as client:
        assert [row["number"] for row in (await client.get(address)).json()] == [1, 2, 3]
        table = (await client.get(address, params={"form": "csv"})).text
        assert table == "number,said\r\n1,é\r\n2,é\r\n3,é\r\n"
    for second, how in ((away, {}), (last, {"may": False})):
        for form in Format:
            async with serving(second, **how) as address, httpx2.AsyncClient() as client:
                with pytest.raises(httpx2.RemoteProtocolError):
                    await client.get(address, params={"form": form})
        assert "export_not_finished" in (capfd.readouterr().out)


async def test_a_file_of_which_there_is_no_first_page_is_a_problem_and_leaves_its_place_to_another() -> None:
    async with serving(away, first=False) as address, httpx2.AsyncClient() as client:
        for _ in range(exporting.AT_ONCE + 1):
            answer = await client.get(address)
            assert (answer.status_code, "content-disposition" in answer.headers) == (503, False)


async def test_few_files_are_written_at_once_and_one_that_nobody_reads_on_makes_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(exporting, "PAGE", 2)
    going_on = asyncio.Event()

    async def waits() -> list[int]:
        await going_on.wait()
        return [3]

    async with serving(waits) as address, httpx2.AsyncClient() as client, AsyncExitStack() as reading:
        for _ in range(exporting.AT_ONCE):
            await reading.enter_async_context(client.stream("GET", address))
        assert (await client.get(address)).status_code == 429
        await reading.aclose()
        async with asyncio.timeout(5):
            while True:
                async with client.stream("GET", address) as again:
                    if again.status_code == 200:
                        break
        going_on.set()


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(1)", "'@SUM(1)"),
        ("\t=1", "'\t'=1"),
        ("\r=1", "'\r'=1"),
        (["=1", "b"], "'=1 b"),
        (["a", "=b"], "a =b"),
        ('next week;=HYPERLINK("x")', 'next week;\'=HYPERLINK("x")'),
        ("a; +1|-1", "a; '+1|'-1"),
        ("two\n=1", "two\n'=1"),
        ("'=1", "'=1"),
        ("a=1", "a=1"),
        ("", ""),
        (None, ""),
        (0, "0"),
    ],
)
def test_no_cell_of_a_table_is_a_formula(value: object, shown: str) -> None:
    assert cell(value) == shown


async def test_who_takes_nothing_of_a_file_leaves_the_place_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "TAKEN_WITHIN", 0.05)
    exports = exporting.Exports()

    async def pages() -> AsyncIterator[list[CallView]]:
        yield []

    async def never(*_: object) -> Any:
        await asyncio.sleep(60)

    async def takes_the_head(part: Any) -> None:
        if part["type"] == "http.response.body":
            await never()

    for _ in range(exporting.AT_ONCE + 1):
        answer = await exports.begin("calls", exporting.Format.CSV, CallView, pages())
        with capture_logs() as logged:
            await answer({"type": "http", "asgi": {"spec_version": "2.4"}}, never, takes_the_head)
        assert [(row["event"], row["why"]) for row in logged] == [
            ("export_not_finished", "whoever asked for it does not take it")
        ]
