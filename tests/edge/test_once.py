"""Whoever asks the API the same again under the same Idempotency-Key is answered the same, and it is done once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import httpx2
import pytest

from recorder.catalogue import Asking
from recorder.http.api import PREFIX
from recorder.http.once import ROUTES, asking_of
from recorder.rights import EVERY_LINE, Right, Role, User, UserAction
from recorder.signing_in import Asker
from tests.edge.centre import Centre, until
from tests.edge.test_live_calls import talks
from tests.edge.test_page_override import ALICE, at_desk, details_of
from tests.edge.visitors import enters, opens, program, signed_in, signs_in, token_of
from tests.facts import contest_act, user_act
from tests.fakes.pbx import FakePbx

pytestmark = pytest.mark.usefixtures("no_task_left")

KEY = {"Idempotency-Key": "8e03978e-40d5-43dd-bc93-6894a57f9324"}
SAFE_POSTS = {"/calls/search", "/calls/export", "/listens/{listen}/played"}
"""What finds, and what adds nothing when it is said again."""


@pytest.fixture
async def centre(catalogue_url: str, tmp_path: Path) -> AsyncIterator[Centre]:
    async with AsyncExitStack() as closing:
        made = Centre(await closing.enter_async_context(FakePbx()), tmp_path, catalogue_url)
        closing.push_async_callback(made.kill)
        await made.start()
        await enters(made, "root", Role.ADMINISTRATOR, line=EVERY_LINE)
        yield made


@pytest.fixture
async def secret(centre: Centre) -> str:
    return (await token_of(centre, "root"))[1]


def same(*answers: httpx2.Response) -> bool:
    first, *others = [(answer.status_code, answer.json()) for answer in answers]
    return all(other == first for other in others)


async def adds(client: httpx2.AsyncClient, name: str = "sam", **headers: str) -> httpx2.Response:
    return await client.post("/api/v1/users", json={"name": name}, headers=KEY | headers)


async def test_the_same_again_is_answered_the_same_and_done_once_also_by_the_next_daemon(
    centre: Centre, secret: str
) -> None:
    async with program(centre, secret) as client:
        first, again = await adds(client), await adds(client)
    await centre.stop()
    await centre.start()
    async with program(centre, secret) as client:
        later, anew = await adds(client), await client.post("/api/v1/users", json={"name": "sam"})
    assert (first.status_code, same(first, again, later), anew.status_code) == (201, True, 409)
    assert len(await centre.catalogue.user_acts("sam")) == 1


async def test_a_key_that_came_with_another_body_is_refused_and_nothing_is_done(centre: Centre, secret: str) -> None:
    async with program(centre, secret) as client:
        await adds(client)
        other = await adds(client, "bob")
    assert (other.status_code, other.json()["code"]) == (422, "key_reused")
    assert await centre.catalogue.user_acts("bob") == ()


async def test_a_key_is_its_persons_and_its_routes_own(centre: Centre, secret: str) -> None:
    await enters(centre, "olga", Role.ADMINISTRATOR, line=EVERY_LINE)
    async with program(centre, secret) as client, program(centre, (await token_of(centre, "olga"))[1]) as olga:
        assert (await adds(client)).status_code == 201
        assert (await adds(olga)).json()["code"] == "already_so"  # asked for the first time, and it is so
        done = [await client.post(f"/api/v1/users/sam/{deed}", headers=KEY) for deed in ("disable", "enable")]
    assert [answer.json()["person"]["enabled"] for answer in done] == [False, True]


async def test_of_two_at_once_one_is_done_and_the_other_is_told_that_it_is_in_work(centre: Centre) -> None:
    await enters(centre, "alice", Role.OVERRIDER, at=ALICE)
    _, secret = await token_of(centre, "alice")
    desk = await at_desk(centre)
    async with program(centre, secret) as client:

        async def asks() -> httpx2.Response:
            return await client.post(f"/api/v1{desk.way}", headers=KEY)

        first = asyncio.create_task(asks())
        await until(lambda: desk.pressed, "the key for the caller's channel")
        beside = await asks()
        await desk.brings()
        assert ((await first).status_code, beside.status_code, beside.json()["code"]) == (200, 409, "in_work")
        assert same(await first, await asks())
    assert (len(centre.mixes), [action for action, _ in await details_of(centre)]) == (1, ["override"])


async def test_of_many_at_once_one_is_done(centre: Centre, secret: str) -> None:
    async with program(centre, secret) as client:
        answers = await asyncio.gather(*(adds(client) for _ in range(6)))
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} <= {"in_work"}
    assert len(await centre.catalogue.user_acts("sam")) == 1


async def test_what_was_refused_by_the_call_is_answered_so_again_and_leaves_one_row(centre: Centre) -> None:
    await enters(centre, "alice", Role.OVERRIDER, at=ALICE)
    _, secret = await token_of(centre, "alice")
    desk = await at_desk(centre, keys="1")
    await centre.until_capture("running")
    async with program(centre, secret) as client:
        answers = [await client.post(f"/api/v1{desk.way}", headers=KEY) for _ in range(2)]
    assert (answers[0].json()["code"], same(*answers)) == ("refused", True)
    assert answers[1].headers["content-type"] == "application/problem+json"
    assert [action for action, _ in await details_of(centre)] == ["override refused"]


async def test_a_pause_that_is_asked_for_twice_does_not_come_back_after_a_resume(centre: Centre) -> None:
    await enters(centre, "payments", Role.PAYMENT)
    _, secret = await token_of(centre, "payments")
    await talks(centre)
    way = f"/api/v1/live/{centre.runner.state.call}"
    async with program(centre, secret) as client:
        first = await client.post(f"{way}/pause", headers=KEY)
        assert (await client.post(f"{way}/resume")).status_code == 200
        again = await client.post(f"{way}/pause", headers=KEY)
    assert (same(first, again), first.json()["answer"]) == (True, "paused")
    assert [mix.muted for mix in centre.mixes] == [False]


async def test_where_a_daemon_died_in_between_nothing_is_done_again_and_that_is_said(
    centre: Centre, secret: str
) -> None:
    scope, asker = {"path": "/api/v1/users"}, Asker(user=User(name="root"))
    async with program(centre, secret) as client:
        request = client.build_request("POST", "/api/v1/users", json={"name": "sam"}, headers=KEY)
        begun = asking_of(asker, scope, KEY["Idempotency-Key"], request.read(), centre.assembly.now())
        assert await centre.catalogue.begin_asking(begun) is None
        answer = await client.send(request)
    assert (answer.status_code, answer.json()["code"]) == (409, "in_work")
    assert await centre.catalogue.user_acts("sam") == ()


async def test_a_password_is_kept_in_no_answer_and_not_made_again(centre: Centre, secret: str) -> None:
    await enters(centre, "sam")
    async with program(centre, secret) as client:
        first, again = [await client.post("/api/v1/users/sam/password", headers=KEY) for _ in range(2)]
        assert (again.status_code, again.json()["code"]) == (409, "answer_not_kept")
        assert (await signs_in(client, "sam", first.json()["password"])).status_code == 303
    assert first.json()["password"] not in str(centre.rows("SELECT digest, body, answer FROM kept_answers"))
    assert centre.rows("SELECT status, answer FROM kept_answers") == [(200, None)]


async def test_what_was_typed_is_kept_in_its_own_table_alone(centre: Centre) -> None:
    await enters(centre, "pat", Role.PRIVACY_OFFICER)
    _, secret = await token_of(centre, "pat")
    talk = await talks(centre)
    centre.hangs_up(talk)
    await centre.until_closed()
    said = contest_act(key=uuid4(), call=(await centre.call()).id)
    await centre.catalogue.write_contest(said)
    async with program(centre, secret) as client:
        way, reply = f"/api/v1/contests/{said.id}/answer", {"text": "it is taken out"}
        answers = [await client.post(way, json=reply, headers=KEY) for _ in range(2)]
    assert (answers[0].status_code, same(*answers)) == (200, True)
    assert answers[1].json()["answer"]["said"] == "it is taken out"
    assert centre.rows("SELECT answer FROM kept_answers") == [(str(said.id),)]


async def test_what_was_not_understood_or_not_theirs_can_be_asked_for_again_under_its_key(
    centre: Centre, secret: str
) -> None:
    _, narrow = await token_of(centre, "root", rights=frozenset({Right.VIEW_USERS}))
    async with program(centre, narrow) as client:
        assert (await adds(client)).status_code == 403
    async with program(centre, secret) as client:
        assert (await adds(client, "No Name")).status_code == 422
        assert (await adds(client)).status_code == 201


async def test_after_a_day_a_key_is_a_new_one_and_nothing_older_is_left(centre: Centre, secret: str) -> None:
    async with program(centre, secret) as client:
        await adds(client)
    centre.clock_set_by = timedelta(hours=23)
    async with program(centre, secret) as client:
        assert (await adds(client)).status_code == 201
        centre.clock_set_by = timedelta(days=1, minutes=1)
    async with signed_in(centre, "root") as client:
        stamp = {"X-Recorder-Stamp": (await opens(client, "/password")).stamp}
        assert (await adds(client, **stamp)).json()["code"] == "already_so"
    assert centre.rows("SELECT count(*) FROM kept_answers") == [(1,)]


@pytest.mark.parametrize("key", ["", "x" * 65, "caf\u00e9"])
async def test_a_key_that_is_none_is_refused(centre: Centre, secret: str, key: str) -> None:
    async with program(centre, secret) as client:
        answer = await client.post(
            "/api/v1/users", json={"name": "sam"}, headers={b"Idempotency-Key": key.encode("latin-1")}
        )
    assert (answer.status_code, answer.json()["code"]) == (422, "not_understood")
    assert await centre.catalogue.user_acts("sam") == ()


async def test_whoever_shows_nothing_is_told_so_and_leaves_nothing(centre: Centre) -> None:
    async with program(centre, "rec_nothing") as client:
        assert (await adds(client)).status_code == 401
    await centre.catalogue.write_user_acts([user_act(UserAction.ADDED, "bob")])
    async with program(centre, (await token_of(centre, "bob"))[1]) as client:
        assert (await adds(client)).status_code == 403
    assert centre.rows("SELECT count(*) FROM kept_answers") == [(0,)]


async def test_every_post_that_makes_something_says_in_the_document_that_it_takes_a_key(
    centre: Centre, secret: str
) -> None:
    async with program(centre, secret) as client:
        document = (await client.get("/api/v1/openapi.json")).json()
        assert (await client.get("/api/v1/openapi.json")).json() == document
    posts = {path.removeprefix(PREFIX): each["post"] for path, each in document["paths"].items() if "post" in each}
    taking = {
        path for path, post in posts.items() if "Idempotency-Key" in [one["name"] for one in post.get("parameters", [])]
    }
    assert taking == set(ROUTES) - {"/users/{name}/password"}  # which is a deed of its own
    assert set(posts) == taking | SAFE_POSTS
    assert all({"409", "422"} <= set(posts[path]["responses"]) for path in taking)


async def test_a_write_that_is_tried_twice_is_its_own(centre: Centre) -> None:
    asking = Asking(id=uuid4(), digest="a" * 64, body="b" * 64, at=centre.assembly.now())
    assert [await centre.catalogue.begin_asking(asking) for _ in range(2)] == [None, None]
