"""Finding calls and hearing their recordings on pages and over the API: on one's own lines, nothing else (AC-03)."""

from __future__ import annotations

import asyncio
import re
import threading
from datetime import timedelta
from uuid import uuid4

import pytest

from recorder.catalogue import Catalogue, CatalogueAway, Sought
from recorder.listens import ListenKind
from recorder.model import CallId, ConsentState, Outcome
from recorder.proof import check
from recorder.rights import Right, Role, UserAction
from tests.books import Story
from tests.edge.centre import Centre
from tests.edge.test_chain import owner
from tests.edge.test_listening import WHY, passes, recorded, rows
from tests.edge.visitors import enters, opens, program, signed_in, token_of
from tests.facts import later, user_act

pytestmark = pytest.mark.usefixtures("no_task_left")


@pytest.fixture
def centre(sqlite_centre: Centre) -> Centre:
    return sqlite_centre


# --------------------------------------------------------------------------- over the API


async def test_calls_are_found_on_ones_own_lines_with_all_that_was_asked_and_recorded(centre: Centre) -> None:
    recording = await recorded(centre)
    await enters(centre, "lena", Role.QUALITY)
    await enters(centre, "olga", Role.QUALITY, line="sales")
    await enters(centre, "alba", Role.AUDITOR)
    async with program(centre, (await token_of(centre, "lena"))[1]) as client:
        (call,) = (await client.get("/api/v1/calls", params={"outcome": "recorded", "line": "support"})).json()["calls"]
        assert (await client.get("/api/v1/calls", params={"outcome": "lost"})).json()["calls"] == []
        assert (await client.get("/api/v1/calls", params={"line": "sales"})).json()["calls"] == []
        found = (await client.get(f"/api/v1/calls/{call['id']}")).json()
        assert [step["after"] for step in found["consents"]] == ["asked", "given"]
        assert (found["agents"], [one["id"] for one in found["recordings"]]) == (["PJSIP/alice"], [str(recording)])
        assert found["recordings"][0]["seconds"] == 60
        assert (await client.get(f"/api/v1/calls/{uuid4()}")).status_code == 404
    async with program(centre, (await token_of(centre, "olga"))[1]) as client:
        assert (await client.get("/api/v1/calls")).json()["calls"] == []
        assert (await client.get(f"/api/v1/calls/{call['id']}")).status_code == 404
    async with program(centre, (await token_of(centre, "alba"))[1]) as client:
        assert (await client.get("/api/v1/calls")).status_code == 403


async def test_pages_of_calls_are_whole_and_each_is_on_one(store: Catalogue) -> None:
    """Several began in the same moment, and one comes in between."""
    stories = [Story().admitted().answered(ConsentState.REFUSED).talking().hung_up() for _ in range(7)]
    for story in stories:
        await story.write(store)
    seen: list[CallId] = []
    before = None
    while page := await store.search_calls(Sought(lines=frozenset({"support"}), before=before), 3):
        seen += [row.id for row in page]
        before = (page[-1].started_at, page[-1].id)
        if len(seen) == 3:
            await Story().admitted().write(store)
    assert len(seen) == len(set(seen))
    assert {story.call for story in stories} <= set(seen)


@pytest.mark.parametrize(
    ("sought", "count"),
    [
        ({"lines": None}, 2),
        ({"lines": frozenset()}, 0),
        ({"lines": frozenset({"sales"})}, 0),
        ({"lines": None, "outcome": Outcome.DECLINED}, 1),
        ({"lines": None, "since": later(3600)}, 0),
        ({"lines": None, "until": later(-1)}, 0),
    ],
)
async def test_what_is_looked_for_is_what_is_found(store: Catalogue, sought: dict[str, object], count: int) -> None:
    await Story().admitted().answered(ConsentState.REFUSED).talking().hung_up().write(store)
    await Story().admitted().write(store)
    assert len(await store.search_calls(Sought(**sought), 9)) == count  # type: ignore[arg-type]


# --------------------------------------------------------------------------- on pages


async def test_a_recording_is_found_explained_heard_and_stands_in_ones_own_log(centre: Centre) -> None:
    recording = await recorded(centre)
    await enters(centre, "sam", Role.SUPERVISOR)
    async with signed_in(centre, "sam") as client:
        listed = await opens(client, "/calls?line=support&outcome=recorded")
        (call,) = re.findall(r'href="(/calls/[0-9a-f-]{36})"', listed.text)
        page = await opens(client, call)
        for words in ("was asked", "agreed", "by key 1", "PJSIP/alice", "1:00", "required, at least 10 characters"):
            assert words in page.text
        form = WHY | {"stamp": page.stamp}
        begun = await client.post(f"/recordings/{recording}/listen", data=form)
        assert begun.status_code == 303
        playing = await opens(client, begun.headers["location"])
        (audio,) = re.findall(r'<audio [^>]*src="([^"]+)"', playing.text)
        assert "You are listening to this recording for: training." in playing.text
        assert len((await client.get(audio)).content) > 44
        log = await opens(client, "/listening")
        assert "coaching of the week" in log.text
    assert [row.kind for row in await rows(centre)][:1] == [ListenKind.OPENED]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"explanation": ""}, "Say why you listen"),
        ({"explanation": "her card 4111 1111 1111 1111"}, "Nothing of it was kept"),
        ({"purpose": "marketing"}, "The caller was not told of that purpose"),
        ({"purpose": ""}, "That could not be understood"),
    ],
)
async def test_what_is_refused_is_said_on_the_calls_own_page_and_nothing_plays(
    centre: Centre, said: dict[str, str], words: str
) -> None:
    recording = await recorded(centre)
    await enters(centre, "sam", Role.SUPERVISOR)
    async with signed_in(centre, "sam") as client:
        stamp = (await opens(client, "/calls")).stamp
        answer = await client.post(f"/recordings/{recording}/listen", data=WHY | {"stamp": stamp} | said)
        assert (answer.status_code >= 400, words in answer.text) == (True, True)
        assert "<audio" not in answer.text
        assert "4111 1111" not in answer.text


async def test_a_sealed_recording_says_so_and_has_no_way_to_be_heard(centre: Centre) -> None:
    await recorded(centre, keys="2")
    await enters(centre, "sam", Role.SUPERVISOR)
    async with signed_in(centre, "sam") as client:
        (call,) = re.findall(r'href="(/calls/[0-9a-f-]{36})"', (await opens(client, "/calls")).text)
        page = await opens(client, call)
    assert "sealed: captured by override" in page.text
    assert "captured without consent, by override" in page.text
    assert "/listen" not in page.text.replace('href="/listening"', "")


async def test_anothers_address_plays_nothing(centre: Centre) -> None:
    recording = await recorded(centre)
    for name in ("sam", "sue"):
        await enters(centre, name, Role.SUPERVISOR)
    async with signed_in(centre, "sam") as mine, signed_in(centre, "sue") as another:
        stamp = (await opens(mine, "/calls")).stamp
        begun = await mine.post(f"/recordings/{recording}/listen", data=WHY | {"stamp": stamp})
        assert "<audio" not in (await opens(another, begun.headers["location"])).text
        passes(centre, timedelta(minutes=2))
        assert "<audio" not in (await opens(mine, begun.headers["location"])).text


async def test_who_has_no_right_to_search_is_told_so_and_sees_no_call(centre: Centre) -> None:
    recording = await recorded(centre)
    call = (await centre.call()).id
    await enters(centre, "alice", Role.AGENT)
    await enters(centre, "olga", Role.SUPERVISOR, line="sales")
    async with signed_in(centre, "alice") as client:
        page = await opens(client, "/calls")
        assert (page.status, str(call) in page.text) == (403, False)
        assert (await client.get(f"/calls/{call}")).status_code == 404
    async with signed_in(centre, "olga") as client:
        page = await opens(client, "/calls")
        assert (page.status, str(call) in page.text) == (200, False)
        tried = await client.post(f"/recordings/{recording}/listen", data=WHY | {"stamp": page.stamp})
        assert tried.status_code == 404
    assert await rows(centre) == []


@pytest.mark.parametrize(
    ("role", "ways"),
    [
        (Role.AGENT, {"/own", "/contests"}),
        (Role.SUPERVISOR, {"/calls", "/contests", "/figures", "/system"}),
        (Role.QUALITY, {"/calls", "/figures"}),
        (Role.AUDITOR, set()),
        (Role.PRIVACY_OFFICER, {"/calls", "/contests", "/figures"}),
    ],
)
async def test_a_page_leads_where_one_may_go_and_nowhere_else(centre: Centre, role: Role, ways: set[str]) -> None:
    await enters(centre, "somebody", role)
    async with signed_in(centre, "somebody") as client:
        way_about = (await opens(client, "/live")).text.partition("<nav")[2].partition("</nav>")[0]
    assert set(re.findall(r'href="([^"]+)"', way_about)) == ways | {"/live", "/listening", "/password"}


async def test_the_pages_speak_french_too(centre: Centre) -> None:
    await recorded(centre)
    await enters(centre, "sam", Role.SUPERVISOR)
    async with signed_in(centre, "sam") as client:
        client.headers["Accept-Language"] = "fr-CA"
        listed = await opens(client, "/calls")
        (call,) = re.findall(r'href="(/calls/[0-9a-f-]{36})"', listed.text)
        page = await opens(client, call)
        assert "Ce qui a été demandé et répondu" in page.text
        assert "formation" in page.text


# --------------------------------------------------------------------------- what is given out of a call


async def test_what_is_given_out_of_an_overridden_call_discloses_its_override_and_nothing_of_its_sound(
    centre: Centre,
) -> None:
    recording = await recorded(centre, keys="2")
    call = (await centre.call()).id
    await enters(centre, "paul", Role.PRIVACY_OFFICER)
    await enters(centre, "dora", Role.DOWNLOADER)
    async with program(centre, (await token_of(centre, "paul"))[1]) as client:
        given = await client.get(f"/api/v1/calls/{call}/proof")
    assert (given.status_code, given.headers["content-disposition"]) == (
        200,
        f'attachment; filename="proof-{call}.json"',
    )
    checked = check(given.text)
    assert checked.wrong == []
    assert checked.proof is not None
    refused, overridden = [act.body for act in checked.proof.consents][-2:]
    assert (refused["after"], overridden["before"], overridden["after"]) == ("refused", "refused", "overridden")
    assert (overridden["reason"], overridden["actor"]) == ("emergency", "PJSIP/alice")
    assert overridden["basis"]
    async with program(centre, (await token_of(centre, "dora"))[1]) as client:
        sealed = await client.post(f"/api/v1/recordings/{recording}/listens", json=WHY | {"medium": "download"})
        assert (sealed.status_code, sealed.json()["code"]) == (423, "sealed")
        assert (await client.get(f"/api/v1/calls/{call}/proof")).status_code == 403
    async with signed_in(centre, "paul") as page:
        shown = await opens(page, f"/calls/{call}")
        assert f'href="/calls/{call}/proof"' in shown.text
        assert (await page.get(f"/calls/{call}/proof")).text == given.text


async def test_a_proof_is_given_to_nobody_elses_line_and_of_no_call_that_is_not_there(centre: Centre) -> None:
    await recorded(centre)
    call = (await centre.call()).id
    await enters(centre, "olga", Role.PRIVACY_OFFICER, line="sales")
    await enters(centre, "sam", Role.SUPERVISOR)
    async with signed_in(centre, "olga") as client:
        for asked in (call, uuid4()):
            assert (await client.get(f"/api/v1/calls/{asked}/proof")).status_code == 404
    async with signed_in(centre, "sam") as client:
        assert "/proof" not in (await opens(client, f"/calls/{call}")).text
        refused = await client.get(f"/calls/{call}/proof")
        assert (refused.status_code, "may not do that" in refused.text) == (403, True)


async def test_what_the_books_do_not_bear_out_is_not_given_as_a_proof(centre: Centre) -> None:
    await recorded(centre)
    call = (await centre.call()).id
    await enters(centre, "paul", Role.PRIVACY_OFFICER)
    with owner(centre.url) as database:
        database.exec_driver_sql("UPDATE chain SET salt = 'changed'")
    async with signed_in(centre, "paul") as client:
        told = await client.get(f"/api/v1/calls/{call}/proof")
        assert (told.status_code, told.json()["code"]) == (409, "not_provable")
        assert "The books do not bear it out" in (await client.get(f"/calls/{call}/proof")).text


async def test_what_was_recorded_on_another_line_is_shown_and_proved_to_who_has_the_right_there_too(
    centre: Centre,
) -> None:
    recording = await recorded(centre)
    call = (await centre.call()).id
    with owner(centre.url) as database:  # as a caller who was passed on leaves it
        database.exec_driver_sql("UPDATE recordings SET line = 'sales'")
    await enters(centre, "paul", Role.PRIVACY_OFFICER)
    await enters(centre, "alice", Role.AGENT, at="PJSIP/alice")
    both = (await token_of(centre, "paul"))[1]
    async with program(centre, both) as client, program(centre, (await token_of(centre, "alice"))[1]) as agent:
        assert (await client.get(f"/api/v1/calls/{call}")).json()["recordings"] == []
        assert (await client.get(f"/api/v1/calls/{call}/proof")).status_code == 403
        assert (await agent.get(f"/api/v1/own/calls/{call}")).json()["recordings"] == []
    acts = [user_act(UserAction.GRANTED, "paul", line="sales", role=Role.PRIVACY_OFFICER)]
    await centre.catalogue.write_user_acts(
        [*acts, user_act(UserAction.GRANTED, "alice", line="sales", role=Role.AGENT)]
    )
    async with program(centre, both) as client, program(centre, (await token_of(centre, "alice"))[1]) as agent:
        (shown,) = (await client.get(f"/api/v1/calls/{call}")).json()["recordings"]
        assert shown["id"] == str(recording)
        assert (await client.get(f"/api/v1/calls/{call}/proof")).status_code == 200
        assert len((await agent.get(f"/api/v1/own/calls/{call}")).json()["recordings"]) == 1


async def test_however_many_look_something_up_who_has_a_caller_on_the_line_is_answered(centre: Centre) -> None:
    """What people ask takes two of the three reading threads at most."""
    people, begun, over = centre.assembly.people, threading.Semaphore(0), threading.Event()

    def long(_: object) -> None:
        begun.release()
        assert over.wait(20)

    asked = [asyncio.ensure_future(people.read(long, timedelta(seconds=20))) for _ in range(4)]
    try:
        for _ in range(2):
            assert await asyncio.to_thread(begun.acquire, timeout=10)
        assert await centre.catalogue.who_sat_at([], timedelta(milliseconds=400)) is not None
        assert not begun.acquire(blocking=False)
        with pytest.raises(CatalogueAway, match="others"):
            await people.read(long, timedelta(milliseconds=50))
    finally:
        over.set()
        await asyncio.gather(*asked)


async def test_a_token_for_other_things_does_not_tell_what_its_person_has_heard(centre: Centre) -> None:
    recording = await recorded(centre)
    await enters(centre, "sam", Role.SUPERVISOR)
    async with program(centre, (await token_of(centre, "sam"))[1]) as client:
        assert (await client.post(f"/api/v1/recordings/{recording}/listens", json=WHY)).status_code == 201
        assert len((await client.get("/api/v1/listens")).json()["rows"]) == 1
    wallboard = (await token_of(centre, "sam", rights=frozenset({Right.WATCH})))[1]
    elsewhere = (await token_of(centre, "sam", lines=frozenset({"sales"})))[1]
    async with program(centre, wallboard) as client:
        for path in ("/api/v1/listens", "/api/v1/listens/export"):
            assert (await client.get(path)).status_code == 403
    async with program(centre, elsewhere) as client:
        assert (await client.get("/api/v1/listens")).json()["rows"] == []


@pytest.mark.parametrize("edge", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
async def test_a_time_at_the_edge_of_the_calendar_is_not_understood_and_nothing_breaks(
    centre: Centre, edge: str
) -> None:
    await enters(centre, "quentin", Role.QUALITY, Role.AGENT)
    async with program(centre, (await token_of(centre, "quentin"))[1]) as client:
        for path in ("calls", "own/calls", "listens"):
            assert (await client.get(f"/api/v1/{path}", params={"since": edge})).status_code == 422
