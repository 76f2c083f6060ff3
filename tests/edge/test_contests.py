"""Agents contest a call of theirs or a listening to it, and somebody who is not part of it answers (TA-04)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest
from structlog.testing import capture_logs

from recorder.catalogue import Catalogue, CatalogueRefused, LogSought
from recorder.contests import OPEN_MOST, ContestAction
from recorder.listens import ListenKind, Unheard
from recorder.model import CallId
from recorder.rights import Role
from tests.core.test_listens import ACT
from tests.edge.centre import Centre
from tests.edge.test_listening import opens as wishes
from tests.edge.test_listening import recorded
from tests.edge.visitors import enters, opens, program, signed_in, token_of
from tests.facts import CONTEST, CONTESTED_CALL, NODE, NOON, contest_act, later

pytestmark = pytest.mark.usefixtures("no_task_left")
CONTESTED, ANSWERED = ContestAction
ALICE = "PJSIP/alice"
LISTEN = UUID(int=12)


@pytest.fixture
def centre(sqlite_centre: Centre) -> Centre:
    return sqlite_centre


async def secret(centre: Centre, name: str, *roles: Role, at: str | None = None, line: str = "support") -> str:
    await enters(centre, name, *roles, at=at, line=line)
    return (await token_of(centre, name))[1]


async def heard_by(centre: Centre, recording: UUID, name: str = "lena") -> str:
    """Somebody opens it, and is not refused."""
    mine = await secret(centre, name, Role.SUPERVISOR)
    async with program(centre, mine) as client:
        assert (await wishes(client, recording)).status_code == 201
    return mine


async def contests(client: httpx2.AsyncClient, call: object, **said: object) -> httpx2.Response:
    return await client.post(f"/api/v1/own/calls/{call}/contests", json={"text": "she was not asked to"} | said)


async def answers(client: httpx2.AsyncClient, contest: str, text: str = "we have looked into it") -> httpx2.Response:
    return await client.post(f"/api/v1/contests/{contest}/answer", json={"text": text})


async def figure(centre: Centre) -> str:
    centre.assembly._counts = None
    async with httpx2.AsyncClient() as client:
        text = (await client.get(f"http://127.0.0.1:{centre.assembly.http.port}/metrics")).text
    return next(line for line in text.splitlines() if line.startswith("recorder_contests_open"))


# --------------------------------------------------------------------------- over the API


async def test_an_agent_contests_a_listening_and_somebody_else_answers_and_both_see_it(centre: Centre) -> None:
    recording = await recorded(centre)
    call = (await centre.call()).id
    lena = await heard_by(centre, recording)
    alice, bob = await secret(centre, "alice", Role.AGENT, at=ALICE), await secret(centre, "bob", Role.PRIVACY_OFFICER)
    with capture_logs() as logged:
        async with program(centre, alice) as client:
            (one,) = (await client.get(f"/api/v1/own/calls/{call}")).json()["recordings"]
            made = await contests(client, call, listen=one["heard"][0]["listen"])
            assert made.status_code == 201
            contest = made.json()
            assert (contest["agent"], contest["listener"], contest["answer"]) == ("alice", "lena", None)
            assert (await answers(client, contest["id"])).json()["code"] == "not_permitted"
        assert await figure(centre) == "recorder_contests_open 1.0"
        async with program(centre, lena) as client:
            (seen,) = (await client.get("/api/v1/contests")).json()["contests"]
            assert (seen["said"], seen["answerable"]) == ("she was not asked to", False)
            assert (await answers(client, contest["id"])).json()["code"] == "not_by_you"
        async with program(centre, bob) as client:
            (seen,) = (await client.get("/api/v1/contests")).json()["contests"]
            assert seen["answerable"] is True
            given = (await answers(client, contest["id"])).json()["answer"]
            assert (given["by"], given["said"]) == ("bob", "we have looked into it")
            again = await answers(client, contest["id"], "or not")
            assert (again.status_code, again.json()["code"]) == (409, "answered_already")
    async with program(centre, alice) as client:
        (told,) = (await client.get(f"/api/v1/own/calls/{call}")).json()["contests"]
        assert (told["said"], told["answer"]) == ("she was not asked to", given)
        assert (await client.get("/api/v1/contests")).json()["contests"] == [told]
    assert await figure(centre) == "recorder_contests_open 0.0"
    told_of = [row for row in logged if row["event"] in ("contested", "contest_answered")]
    assert [row["event"] for row in told_of] == ["contested", "contest_answered"]
    assert not any(name in str(told_of) for name in ("alice", "bob", "lena", "asked to"))


async def test_of_the_whole_call_nobody_answers_who_had_heard_it_and_who_listens_later_does(centre: Centre) -> None:
    recording = await recorded(centre)
    call = (await centre.call()).id
    lena, bob = await heard_by(centre, recording), await secret(centre, "bob", Role.SUPERVISOR)
    async with program(centre, await secret(centre, "alice", Role.AGENT, at=ALICE)) as client:
        contest = (await contests(client, call)).json()["id"]
    async with program(centre, bob) as client:
        assert (await wishes(client, recording)).status_code == 201
    for mine, status in ((lena, 403), (bob, 200)):
        async with program(centre, mine) as client:
            assert (await answers(client, contest)).status_code == status


async def test_who_is_agent_and_supervisor_does_not_answer_what_they_have_contested(centre: Centre) -> None:
    await recorded(centre)
    async with program(centre, await secret(centre, "alice", Role.AGENT, Role.SUPERVISOR, at=ALICE)) as client:
        contest = (await contests(client, (await centre.call()).id)).json()["id"]
        assert (await answers(client, contest)).json()["code"] == "not_by_you"


async def test_what_is_not_theirs_cannot_be_contested_seen_or_answered(centre: Centre) -> None:
    await recorded(centre)
    call = (await centre.call()).id
    alice = await secret(centre, "alice", Role.AGENT, at=ALICE)
    async with program(centre, alice) as client:
        contest = (await contests(client, call)).json()["id"]
        assert (await contests(client, uuid4())).status_code == 404
        assert (await contests(client, call, listen=str(uuid4()))).status_code == 404
    for name, role, line in (("zoe", Role.AGENT, "support"), ("olga", Role.SUPERVISOR, "sales")):
        async with program(centre, await secret(centre, name, role, line=line)) as client:
            assert (await contests(client, call)).status_code == 404
            assert (await client.get("/api/v1/contests")).json()["contests"] == []
            tried, unknown = await answers(client, contest), await answers(client, str(uuid4()))
            assert (tried.status_code, tried.content) == (404, unknown.content)
    assert await centre.catalogue.contests_open() == 1


@pytest.mark.parametrize(
    ("text", "status", "code"),
    [
        ("", 422, "not_understood"),
        ("   ", 422, "not_understood"),
        ("x" * 501, 422, "not_understood"),
        ("her card was 4111-1111-1111-1111", 422, "sensitive"),
    ],
)
async def test_what_may_not_be_kept_of_a_contest_or_an_answer_is_kept_nowhere(
    centre: Centre, text: str, status: int, code: str
) -> None:
    await recorded(centre)
    call = (await centre.call()).id
    async with program(centre, await secret(centre, "alice", Role.AGENT, at=ALICE)) as client:
        refused = await contests(client, call, text=text)
        assert (refused.status_code, refused.json()["code"]) == (status, code)
        assert await centre.catalogue.contests_open() == 0
        contest = (await contests(client, call, text="of DE89 3704 0044 0532 0130 00")).json()
        assert contest["said"] == "of [bank account number removed]"
    async with program(centre, await secret(centre, "bob", Role.SUPERVISOR)) as client:
        refused = await answers(client, contest["id"], text)
        assert (refused.status_code, refused.json()["code"]) == (status, code)
    assert await centre.catalogue.contests_open() == 1
    database = Path(centre.url.removeprefix("sqlite:///")).parent.glob("catalogue.db*")
    written = b"".join(file.read_bytes() for file in database)
    assert [typed for typed in (b"4111-1111", b"41111111", b"DE89") if typed in written] == []


async def test_who_has_much_that_waits_for_an_answer_waits_too(centre: Centre) -> None:
    await recorded(centre)
    call = (await centre.call()).id
    for _ in range(OPEN_MOST):
        await centre.catalogue.write_contest(contest_act(key=uuid4(), call=CallId(uuid4())))
    async with program(centre, await secret(centre, "alice", Role.AGENT, at=ALICE)) as client:
        assert (await contests(client, call)).json()["code"] == "too_many_open"
        (waits, *_) = await centre.catalogue.contests(1, agent="alice")
        await centre.catalogue.write_contest(contest_act(ANSWERED, key=waits.id, call=waits.call))
        assert (await contests(client, call)).status_code == 201


async def test_contests_are_read_page_by_page(centre: Centre) -> None:
    ids = [uuid4() for _ in range(5)]
    for number, key in enumerate(ids):
        await centre.catalogue.write_contest(contest_act(key=key, at=later(number // 2)))
    async with program(centre, await secret(centre, "bob", Role.SUPERVISOR)) as client:
        found, before = list[str](), None
        while True:
            params: dict[str, Any] = {"limit": 2} | ({"before": before} if before else {})
            page = (await client.get("/api/v1/contests", params=params)).json()
            found += [one["id"] for one in page["contests"]]
            before = page["next"]
            if before is None:
                break
    assert (len(found), set(found)) == (5, {str(key) for key in ids})


# --------------------------------------------------------------------------- on pages


async def test_it_is_contested_and_answered_on_pages_too(centre: Centre) -> None:
    recording = await recorded(centre)
    call = (await centre.call()).id
    await heard_by(centre, recording)
    await enters(centre, "alice", Role.AGENT, at=ALICE)
    await enters(centre, "bob", Role.SUPERVISOR)
    (row,) = await centre.catalogue.listens(LogSought(), 9)
    async with signed_in(centre, "alice") as agent, signed_in(centre, "bob") as supervisor:
        page = await opens(agent, f"/own/{call}")
        assert f'value="{row.listen}"' in page.text
        form = {"stamp": page.stamp, "listen": str(row.listen), "text": "why <her>?"}
        refused = await agent.post(f"/own/{call}/contest", data=form | {"text": "4111 1111 1111 1111"})
        assert (refused.status_code, "Nothing of it was kept" in refused.text) == (422, True)
        assert "4111 1111" not in refused.text  # what the guard refused is never said again (SG-07)
        assert f'value="{row.listen}" selected' in refused.text
        other = await agent.post(f"/own/{call}/contest", data=form | {"listen": "x"})
        assert (other.status_code, ">why &lt;her&gt;?</textarea>" in other.text) == (422, True)
        assert (await agent.post(f"/own/{uuid4()}/contest", data=form)).status_code == 404
        done = await agent.post(f"/own/{call}/contest", data=form)
        assert (done.status_code, done.headers["location"]) == (303, f"/own/{call}#contests")
        waits = await opens(agent, f"/own/{call}")
        assert ("why &lt;her&gt;?" in waits.text, "not answered yet" in waits.text) == (True, True)
        (contest,) = await centre.catalogue.contests(9, lines=None)
        assert f"/contests/{contest.id}/answer" not in (await opens(agent, "/contests")).text
        page = await opens(supervisor, "/contests")
        assert ("Said by alice" in page.text, "that lena listened" in page.text) == (True, True)
        assert f'href="/calls/{call}"' in page.text
        sensitive = {"stamp": page.stamp, "text": "4111 1111 1111 1111"}
        refused = await supervisor.post(f"/contests/{contest.id}/answer", data=sensitive)
        assert (refused.status_code, "Nothing of it was kept" in refused.text) == (422, True)
        assert "4111 1111" not in refused.text
        longer = {"stamp": page.stamp, "text": "y" * 501}
        refused = await supervisor.post(f"/contests/{contest.id}/answer", data=longer)
        assert (refused.status_code, refused.text.count(f">{longer['text']}</textarea>")) == (422, 1)
        reply = {"stamp": page.stamp, "text": "it was a spot check"}
        assert (await supervisor.post(f"/contests/{contest.id}/answer", data=reply)).status_code == 303
        again = await supervisor.post(f"/contests/{contest.id}/answer", data=reply)
        assert (again.status_code, "It has its answer" in again.text) == (409, True)
        answered = await opens(agent, f"/own/{call}")
        assert ("it was a spot check" in answered.text, "not answered yet" in answered.text) == (True, False)


# --------------------------------------------------------------------------- the rows, on both engines


async def test_a_contest_comes_back_as_it_was_said_and_once(store: Catalogue) -> None:
    for act in (first := contest_act(listen=LISTEN), first, contest_act(ANSWERED, at=later(1), listen=LISTEN)):
        await store.write_contest(act)
    found = await store.contest(CONTEST)
    assert found is not None
    assert (found.at, found.agent, found.listener, found.said) == (NOON, "alice", "lena", "it was personal")
    assert found.answer is not None
    assert (found.answer.by, found.answer.at) == ("bob", later(1))
    assert await store.contests(9, agent="alice") == await store.contests(9, lines=["support"]) == (found,)
    assert await store.contests(9, agent="alice", call=CallId(uuid4())) == await store.contests(9, agent="bob") == ()
    assert await store.contest(uuid4()) is None


@pytest.mark.parametrize(
    "act",
    [
        contest_act(ANSWERED, by="alice"),
        contest_act(ANSWERED, by="lena", listen=LISTEN),
        contest_act(ANSWERED, key=uuid4()),
        replace(contest_act(ANSWERED), agent="zoe"),
        replace(contest_act(ANSWERED), line="sales"),
        replace(contest_act(ANSWERED), call=CallId(uuid4())),
        contest_act(ANSWERED, listen=uuid4()),
        contest_act(key=uuid4(), by="bob"),
        replace(contest_act(key=uuid4()), said=""),
    ],
    ids=[
        "by who contested",
        "by who listened",
        "to nothing",
        "of another agent",
        "of another line",
        "of another call",
        "of another listening",
        "in another's name",
        "nothing",
    ],
)
async def test_the_catalogue_itself_refuses_what_cannot_be_said(store: Catalogue, act: Any) -> None:
    await store.write_contest(contest_act(listen=LISTEN))
    with pytest.raises(CatalogueRefused):
        await store.write_contest(act)


async def test_a_second_answer_is_refused(store: Catalogue) -> None:
    await store.write_contest(contest_act())
    await store.write_contest(contest_act(ANSWERED))
    with pytest.raises(CatalogueRefused):
        await store.write_contest(contest_act(ANSWERED, by="eve"))


async def test_those_without_an_answer_are_counted_by_node_and_agent(store: Catalogue) -> None:
    await store.write_contest(contest_act())
    await store.write_contest(replace(contest_act(key=uuid4()), node="pbx2"))
    await store.write_contest(replace(contest_act(key=(other := uuid4())), agent="zoe", actor="zoe"))
    assert (await store.contests_open(), await store.contests_open(node=NODE)) == (3, 2)
    assert await store.contests_open(agent="alice") == 2
    await store.write_contest(replace(contest_act(ANSWERED, key=other), agent="zoe"))
    assert (await store.contests_open(), await store.contests_open(agent="zoe")) == (2, 0)


async def test_when_somebody_first_heard_a_call_is_when_they_first_opened_a_recording_of_it(store: Catalogue) -> None:
    opened = replace(ACT, call=CONTESTED_CALL)
    await store.write_listens([replace(opened, id=uuid4(), at=later(number)) for number in (9, 5, 7)])
    await store.write_listens([replace(opened, id=uuid4(), at=later(1), listener="eve")])
    await store.write_listens([replace(opened, id=uuid4(), at=later(2), kind=ListenKind.REFUSED, why=Unheard.SEALED)])
    assert await store.first_heard("sam", [CONTESTED_CALL, CallId(uuid4())]) == {CONTESTED_CALL: later(5)}
    assert await store.first_heard("bob", [CONTESTED_CALL]) == {}
