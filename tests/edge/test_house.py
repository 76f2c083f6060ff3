"""The pages of the house, settings and people: for who has the right on every line, and without a secret."""

from __future__ import annotations

import re
from datetime import timedelta
from uuid import uuid4

import pytest

from recorder.rights import EVERY_LINE, Right, Role, UserAction
from recorder.signing_in import SignInAct, SignInAction
from tests.edge.centre import Centre
from tests.edge.test_listening import WHY, recorded
from tests.edge.visitors import SECRET, enters, opens, program, signed_in, token_of
from tests.facts import NOON, user_act

pytestmark = pytest.mark.usefixtures("no_task_left")
PAGES = ("/settings", "/users")


@pytest.fixture
async def centre(sqlite_centre: Centre) -> Centre:
    await enters(sqlite_centre, "root", Role.ADMINISTRATOR, line=EVERY_LINE)
    return sqlite_centre


async def test_every_setting_stands_on_the_page_with_whose_word_it_is_and_no_secret(centre: Centre) -> None:
    async with signed_in(centre, "root") as client:
        page = await opens(client, "/settings")
    assert page.status == 200
    for words in ("ami.secret", "set, and not shown", "line.support.consent", "opt_in", "the file", "default"):
        assert words in page.text
    assert centre.pbx.secret not in page.text


async def test_everybody_stands_on_the_page_with_what_they_may_and_no_secret(centre: Centre) -> None:
    await enters(centre, "sam", Role.SUPERVISOR, at="PJSIP/sam")
    await enters(centre, "gone", Role.AGENT)
    await centre.catalogue.write_user_acts([user_act(UserAction.DISABLED, "gone")])
    token, secret = await token_of(centre, "sam", rights=frozenset({Right.WATCH}), lines=frozenset({"support"}))
    async with signed_in(centre, "root") as client:
        before = await opens(client, "/users")
        async with signed_in(centre, "sam"):
            pass
        page = await opens(client, "/users")
    assert before.text.count(">never<") == 2
    assert page.text.count(">never<") == 1  # gone's
    for words in ("PJSIP/sam of pbx1", "supervisor", "payment page", "call.watch", "disabled", "every line", "grant"):
        assert words in page.text
    for kept in (secret, token.digest, SECRET, "argon2"):
        assert kept not in page.text


async def test_a_token_says_until_when_it_counts_and_one_that_was_withdrawn_is_not_there(centre: Centre) -> None:
    await enters(centre, "sam", Role.SUPERVISOR)
    token, _ = await token_of(centre, "sam")
    async with signed_in(centre, "root") as client:
        standing = await opens(client, "/users")
    centre.clock_set_by = timedelta(days=2)
    async with signed_in(centre, "root") as client:
        expired = await opens(client, "/users")
        act = SignInAct(id=uuid4(), at=NOON, user="sam", action=SignInAction.TOKEN_WITHDRAWN, actor="root")
        await centre.catalogue.withdraw_token(token.id, act)
        assert "payment page" not in (await opens(client, "/users")).text
    assert ("(until " in standing.text, "(expired on " in standing.text) == (True, False)
    assert ("(until " in expired.text, "(expired on " in expired.text) == (False, True)


async def test_who_administers_everything_finds_no_call_and_hears_nothing(centre: Centre) -> None:
    recording = await recorded(centre)
    async with signed_in(centre, "root") as client:
        for path in ("/calls", "/figures"):
            assert (await client.get(path)).status_code == 403
        stamp = (await opens(client, "/settings")).stamp
        tried = await client.post(f"/recordings/{recording}/listen", data=WHY | {"stamp": stamp})
        assert tried.status_code == 404
    async with program(centre, (await token_of(centre, "root"))[1]) as client:
        assert (await client.get("/api/v1/calls")).status_code == 403
        assert (await client.get(f"/api/v1/recordings/{recording}")).status_code == 404


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize(
    ("role", "line"),
    [(Role.ADMINISTRATOR, "support"), (Role.SUPERVISOR, EVERY_LINE), (Role.AUDITOR, EVERY_LINE)],
)
async def test_they_are_open_to_who_administers_every_line_and_to_nobody_else(
    centre: Centre, path: str, role: Role, line: str
) -> None:
    await enters(centre, "sam", role, line=line)
    async with signed_in(centre, "sam") as client:
        page = await opens(client, path)
    assert (page.status, "This page is not open to you" in page.text) == (403, True)
    assert (f'href="{path}"' in page.text, "ami.username" in page.text, "root" in page.text) == (False, False, False)


async def test_the_pages_of_those_who_look_after_it_are_linked_where_they_are_open_and_load_nothing_but_ours(
    centre: Centre,
) -> None:
    async with signed_in(centre, "root") as client:
        for path in (*PAGES, "/system"):
            page = await opens(client, path)
            for other in (*PAGES, "/system"):
                assert f'href="{other}"' in page.text
            assert 'href="/figures"' not in page.text  # who administers finds no calls
            assert re.findall(r"<script|<style|\sstyle=|\son\w+=|https?://", page.text) == []


@pytest.mark.parametrize(("path", "words"), [("/settings", "présent, non montré"), ("/users", "toutes les lignes")])
async def test_they_speak_french_too(centre: Centre, path: str, words: str) -> None:
    async with signed_in(centre, "root") as client:
        client.headers["Accept-Language"] = "fr-CA"
        assert words in (await opens(client, path)).text
