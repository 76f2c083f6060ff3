"""People are entered, changed and let in by who administers the whole house: on /users and over the API (AC-01)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest

from recorder.rights import ANYBODY, EVERY_LINE, Grant, Right, Role, Seat, User, UserAction, users
from recorder.signing_in import SignInAction
from tests.edge.centre import Centre
from tests.edge.visitors import SECRET, browser, enters, opens, program, signed_in, signs_in, token_of
from tests.facts import NODE, user_act
from tests.fakes.pbx import FakePbx

pytestmark = pytest.mark.usefixtures("no_task_left")

SAM = "PJSIP/sam"


@pytest.fixture
async def centre(catalogue_url: str, tmp_path: Path) -> AsyncIterator[Centre]:
    async with AsyncExitStack() as closing:
        made = Centre(await closing.enter_async_context(FakePbx()), tmp_path, catalogue_url)
        closing.push_async_callback(made.kill)
        await made.start()
        await enters(made, "root", Role.ADMINISTRATOR, line=EVERY_LINE)
        yield made


async def people(centre: Centre) -> dict[str, User]:
    return users(await centre.catalogue.user_acts())


async def does(client: httpx2.AsyncClient, name: str, deed: str, **details: Any) -> httpx2.Response:
    return await client.post(f"/api/v1/users/{name}/{deed}", json=details)


@pytest.fixture
async def root(centre: Centre) -> AsyncIterator[httpx2.AsyncClient]:
    """Over the API, in root's name."""
    async with program(centre, (await token_of(centre, "root"))[1]) as client:
        yield client


# --------------------------------------------------------------------------- by forms


async def test_by_forms_somebody_is_entered_seated_made_a_supervisor_and_let_in(centre: Centre) -> None:
    async with signed_in(centre, "root") as client:
        stamp = (await opens(client, "/users")).stamp
        entered = await client.post("/users", data={"stamp": stamp, "name": "sam", "telephone": SAM})
        assert (entered.status_code, entered.headers["location"]) == (303, "/users/sam?done=true")
        page = await opens(client, "/users/sam?done=true")
        assert "Done, and kept with your name." in page.text
        for role, line in (("supervisor", "support"), ("overrider", EVERY_LINE), ("agent", "sales")):
            done = await client.post("/users/sam/grant", data={"stamp": stamp, "role": role, "line": line})
            assert done.status_code == 303
        done = await client.post("/users/sam/revoke", data={"stamp": stamp, "role": "agent", "line": "sales"})
        assert done.status_code == 303
        given = await client.post("/users/sam/password", data={"stamp": stamp})
        found = re.search(r"<code>([\w-]{20})</code>", given.text)
        assert found is not None
        page = await opens(client, "/users/sam")
        for words in (f"{SAM} of {NODE}", "supervisor", "every line", "taken back: agent, sales", "root"):
            assert words in page.text
        assert found[1] not in page.text  # it was shown that once
    sam = (await people(centre))["sam"]
    assert sam.grants == {Grant(role=Role.SUPERVISOR, line="support"), Grant(role=Role.OVERRIDER, line=EVERY_LINE)}
    assert sam.seats == {Seat(node=NODE, interface=SAM)}
    async with browser(centre) as client:
        answer = await signs_in(client, "sam", found[1])
        assert (answer.status_code, answer.headers["location"]) == (303, "/password")  # it opens its own change alone
        assert (await client.get("/live")).headers["location"] == "/password"
    assert {act.actor for act in await centre.catalogue.user_acts("sam")} == {"root"}
    (given_act, *_) = await centre.catalogue.sign_ins_of("sam")
    assert (given_act.action, given_act.actor) == (SignInAction.PASSWORD_SET, "root")
    assert found[1] not in str(centre.rows("SELECT kept FROM passwords"))


async def test_what_makes_no_sense_is_said_on_the_page_that_it_came_from(centre: Centre) -> None:
    await enters(centre, "sam", at=SAM)
    async with signed_in(centre, "root") as client:
        stamp = (await opens(client, "/users")).stamp
        for path, said, status, words in (
            ("/users", {"name": "sam"}, 409, "It is so already"),
            ("/users", {"name": "Sam Smith"}, 422, "could not be understood"),
            ("/users", {"name": "bob", "telephone": SAM}, 409, "somebody else"),
            ("/users", {"name": "bob", "telephone": "a trunk"}, 422, "could not be understood"),
            ("/users/sam/grant", {"role": "emperor", "line": "support"}, 422, "could not be understood"),
            ("/users/sam/grant", {"role": "agent", "line": "no-line"}, 422, "could not be understood"),
            ("/users/sam/enable", {}, 409, "It is so already"),
            ("/users/nobody/disable", {}, 404, "There is no such page"),
        ):
            answer = await client.post(path, data=said | {"stamp": stamp})
            assert (answer.status_code, words in answer.text) == (status, True), (path, said, answer.text)
    assert sorted(await people(centre)) == [ANYBODY, "root", "sam"]


async def test_a_form_that_no_page_of_ours_has_made_changes_nobody(centre: Centre) -> None:
    await enters(centre, "sam")
    async with signed_in(centre, "root") as client:
        for path, said in (("/users", {"name": "bob"}), ("/users/sam/disable", {}), ("/users/sam/password", {})):
            assert (await client.post(path, data=said | {"stamp": "0" * 64})).status_code == 403
            assert (await client.post(f"/api/v1{path}", json=said)).status_code == 403
    known = await people(centre)
    assert (sorted(known), known["sam"].enabled) == ([ANYBODY, "root", "sam"], True)


async def test_the_forms_speak_french_too_and_can_be_told_apart_without_sight(centre: Centre) -> None:
    await enters(centre, "sam", Role.SUPERVISOR, at=SAM)
    await token_of(centre, "sam")
    async with signed_in(centre, "root") as client:
        client.headers["Accept-Language"] = "fr-CA"
        page = (await opens(client, "/users/sam")).text
    for words in ("Retirer\u00a0: supervision, support", "Retirer le jeton payment page", "Désactiver", "Accorder"):
        assert words in page
    fields = set(re.findall(r'<(?:input|select) id="([a-z-]+)"', page))
    assert fields == set(re.findall(r'<label for="([a-z-]+)"', page)) == {"role", "line", "telephone"}
    assert "<script" not in page


# --------------------------------------------------------------------------- over the API


async def test_over_the_api_the_same_is_done_and_answered_by_how_they_stand(
    centre: Centre, root: httpx2.AsyncClient
) -> None:
    entered = await root.post("/api/v1/users", json={"name": "sam", "telephone": SAM})
    assert (entered.status_code, entered.json()["telephones"]) == (201, [{"node": NODE, "telephone": SAM}])
    granted = await does(root, "sam", "grant", role="supervisor", line="support")
    assert (granted.status_code, granted.json()["password"]) == (200, None)
    assert granted.json()["person"]["grants"] == [{"role": "supervisor", "line": "support"}]
    assert (await does(root, "sam", "seat")).json()["person"]["telephones"] == []
    assert (await does(root, "sam", "disable")).json()["person"]["enabled"] is False
    assert (await does(root, "sam", "enable")).json()["person"]["enabled"] is True
    password = (await does(root, "sam", "password")).json()["password"]
    async with browser(centre) as client:
        assert (await signs_in(client, "sam", password)).headers["location"] == "/password"
    assert (await root.get("/api/v1/users/sam")).json()["signed_in_at"] is not None
    assert [person["name"] for person in (await root.get("/api/v1/users")).json()] == [ANYBODY, "root", "sam"]
    assert {act.actor for act in await centre.catalogue.user_acts("sam")} == {"root by token payment page"}


async def test_sessions_and_tokens_end_at_once_and_in_the_name_of_who_ended_them(
    centre: Centre, root: httpx2.AsyncClient
) -> None:
    await enters(centre, "sam", Role.SUPERVISOR)
    token, secret = await token_of(centre, "sam")
    async with signed_in(centre, "sam") as client, program(centre, secret) as bearing:
        assert ((await client.get("/live")).status_code, (await bearing.get("/api/v1/me")).status_code) == (200, 200)
        assert (await does(root, "sam", "sign-out")).status_code == 200
        assert (await client.get("/live")).headers["location"] == "/sign-in"
        assert (await bearing.get("/api/v1/me")).status_code == 200
        assert (await does(root, "sam", "withdraw", token=str(token.id))).json()["person"]["tokens"] == []
        assert (await bearing.get("/api/v1/me")).status_code == 401
    for deed, said in (("sign-out", {}), ("withdraw", {"token": str(token.id)})):
        assert (await does(root, "sam", deed, **said)).json()["code"] == "already_so"
    ended = [act for act in await centre.catalogue.sign_ins_of("sam") if act.actor not in ("root", "sam")]
    assert [(act.action, act.actor) for act in ended] == [
        (SignInAction.SIGNED_OUT, "root by token payment page"),
        (SignInAction.TOKEN_WITHDRAWN, "root by token payment page"),
    ]


async def test_a_token_of_another_is_not_withdrawn_under_a_name_that_is_not_its_persons(
    centre: Centre, root: httpx2.AsyncClient
) -> None:
    await enters(centre, "sam")
    await enters(centre, "pat", Role.PRIVACY_OFFICER)
    token, secret = await token_of(centre, "pat")
    assert (await does(root, "sam", "withdraw", token=str(token.id))).status_code == 409
    async with program(centre, secret) as client:
        assert (await client.get("/api/v1/me")).status_code == 200


async def test_a_new_password_ends_the_sessions_and_the_old_one(centre: Centre, root: httpx2.AsyncClient) -> None:
    await enters(centre, "sam", Role.SUPERVISOR)
    async with signed_in(centre, "sam") as client:
        assert (await does(root, "sam", "password")).status_code == 200
        assert (await client.get("/live")).headers["location"] == "/sign-in"
        assert (await signs_in(client, "sam", SECRET)).status_code == 401


async def test_whoever_is_at_a_telephone_has_roles_of_telephones_alone(root: httpx2.AsyncClient) -> None:
    assert (await does(root, ANYBODY, "revoke", role="overrider")).status_code == 200
    assert (await does(root, ANYBODY, "grant", role="overrider", line="support")).status_code == 200
    for deed, said in (
        ("grant", {"role": "supervisor", "line": "support"}),
        ("password", {}),
        ("disable", {}),
        ("seat", {"telephone": SAM}),
        ("sign-out", {}),
    ):
        assert (await does(root, ANYBODY, deed, **said)).status_code == 422, deed


# --------------------------------------------------------------------------- who may not


@pytest.mark.parametrize(
    ("role", "line"),
    [(Role.ADMINISTRATOR, "support"), (Role.SUPERVISOR, EVERY_LINE), (Role.PRIVACY_OFFICER, EVERY_LINE)],
)
async def test_who_does_not_administer_every_line_changes_nobody(centre: Centre, role: Role, line: str) -> None:
    await enters(centre, "sam")
    await enters(centre, "olga", role, line=line)
    before = await centre.catalogue.user_acts()
    async with program(centre, (await token_of(centre, "olga"))[1]) as client:
        for deed in ("grant", "revoke", "seat", "disable", "enable", "password", "sign-out", "withdraw"):
            said = {"role": "auditor", "line": "support"} if deed in ("grant", "revoke") else {}
            assert (await does(client, "sam", deed, **said)).json()["code"] == "no_right", deed
        assert (await client.post("/api/v1/users", json={"name": "bob"})).status_code == 403
        assert (await client.get("/api/v1/users/sam")).status_code == 403
    assert await centre.catalogue.user_acts() == before


async def test_a_token_that_only_looks_at_people_changes_none(centre: Centre) -> None:
    await enters(centre, "sam")
    _, secret = await token_of(centre, "root", rights=frozenset({Right.VIEW_USERS}))
    async with program(centre, secret) as client:
        assert (await client.get("/api/v1/users")).status_code == 200
        assert (await does(client, "sam", "disable")).json()["code"] == "no_right"


async def test_nobody_changes_what_they_themselves_may(centre: Centre, root: httpx2.AsyncClient) -> None:
    """So the last who administers everything can neither be disabled nor lose the role here."""
    before = await centre.catalogue.user_acts()
    for deed, said in (
        ("grant", {"role": "supervisor"}),
        ("revoke", {"role": "administrator"}),
        ("seat", {"telephone": SAM}),
        ("disable", {}),
        ("password", {}),
        ("sign-out", {}),
    ):
        answer = await does(root, "root", deed, **said)
        assert (answer.status_code, answer.json()["code"]) == (403, "on_oneself"), deed
    assert await centre.catalogue.user_acts() == before
    async with signed_in(centre, "root") as client:
        page = await opens(client, "/users/root")
        assert "This is you." in page.text
        assert 'action="/users/root/' not in page.text


async def test_of_two_who_disable_each_other_at_once_one_remains(centre: Centre, root: httpx2.AsyncClient) -> None:
    await enters(centre, "olga", Role.ADMINISTRATOR, line=EVERY_LINE)
    async with program(centre, (await token_of(centre, "olga"))[1]) as olga:
        answers = await asyncio.gather(
            does(root, "olga", "disable"), does(olga, "root", "revoke", role="administrator")
        )
    assert sorted(answer.status_code for answer in answers)[0] == 200
    known = await people(centre)
    administers = [name for name in ("root", "olga") if known[name].enabled and known[name].grants]
    assert len(administers) == 1, [answer.text for answer in answers]


async def test_who_may_ask_for_a_release_appoints_nobody_who_approves_it_nor_lets_one_in(
    centre: Centre, root: httpx2.AsyncClient
) -> None:
    """MS-01 takes two persons: whoever could be both by a password of their own making would be one."""
    await enters(centre, "sam")
    await enters(centre, "pat", Role.PRIVACY_OFFICER, line=EVERY_LINE)
    for name, deed, said in (
        ("sam", "grant", {"role": "privacy_officer", "line": "support"}),
        ("pat", "password", {}),
    ):
        answer = await does(root, name, deed, **said)
        assert (answer.status_code, answer.json()["code"]) == (403, "other_half"), deed
    assert (await does(root, "pat", "disable")).status_code == 200  # it only makes stricter
    assert (await does(root, "pat", "enable")).json()["code"] == "other_half"
    assert (await people(centre))["sam"].grants == frozenset()


async def test_a_right_that_is_gone_when_it_is_written_counts_no_more(centre: Centre) -> None:
    """What the request was let in by is asked again in the transaction."""
    await enters(centre, "sam")
    await centre.catalogue.write_user_acts(
        [user_act(UserAction.REVOKED, "root", line=EVERY_LINE, role=Role.ADMINISTRATOR)]
    )
    disabling = user_act(UserAction.DISABLED, "sam")
    with pytest.raises(Exception, match="no_right"):
        await centre.catalogue.write_user_acts([disabling], by="root")
    assert (await people(centre))["sam"].enabled
