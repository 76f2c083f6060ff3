"""Comments at a moment of a recording, and addresses that lead to one."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode
from uuid import UUID, uuid4

import httpx2
import pytest
from sqlalchemy import Connection
from structlog.testing import capture_logs

from recorder import catalogue
from recorder.catalogue import Catalogue, CatalogueRefused, commenting, open_catalogue
from recorder.comments import EACH_MOST, MOST, CommentAction
from recorder.listens import ListenKind, Unheard
from recorder.model import RecordingId
from recorder.rights import Role, UserAction
from tests.core.test_listens import ACT
from tests.edge.centre import Centre, look, until
from tests.edge.test_listening import WHY, passes, recorded
from tests.edge.test_listening import opens as wishes
from tests.edge.visitors import browser, enters, opens, program, signed_in, token_of
from tests.facts import COMMENT, COMMENTED, comment_act, later, user_act

pytestmark = pytest.mark.usefixtures("no_task_left")
WRITTEN, WITHDRAWN = CommentAction
T = TypeVar("T")
CARD = "her card is 4111-1111-1111-1111"


@pytest.fixture
def centre(sqlite_centre: Centre) -> Centre:
    return sqlite_centre


async def secret(centre: Centre, name: str, *roles: Role, line: str = "support") -> str:
    await enters(centre, name, *roles, line=line)
    return (await token_of(centre, name))[1]


async def says(
    client: httpx2.AsyncClient, recording: UUID, moment_ms: object = 5000, text: str = "the greeting is missing"
) -> httpx2.Response:
    said = {"text": text, "moment_ms": moment_ms}
    return await client.post(f"/api/v1/recordings/{recording}/comments", json=said)


async def read(client: httpx2.AsyncClient, recording: UUID) -> httpx2.Response:
    return await client.get(f"/api/v1/recordings/{recording}/comments")


def withdraws(client: httpx2.AsyncClient, comment: object) -> Any:
    return client.post(f"/api/v1/comments/{comment}/withdraw")


# --------------------------------------------------------------------------- over the API


async def test_who_has_heard_a_recording_says_something_of_a_moment_and_who_has_too_reads_it(centre: Centre) -> None:
    recording = await recorded(centre)
    lena, bob = await secret(centre, "lena", Role.SUPERVISOR), await secret(centre, "bob", Role.QUALITY)
    with capture_logs() as logged:
        async with program(centre, lena) as client:
            assert (await says(client, recording)).json()["code"] == "not_heard"
            assert (await read(client, recording)).json()["code"] == "not_heard"
            assert (await wishes(client, recording)).status_code == 201
            made = await says(client, recording)
            assert (made.status_code, made.json()["yours"]) == (201, True)
            assert (await says(client, recording, 60_000, "a good end")).status_code == 201
            assert (await says(client, recording, 0, "a slow start")).status_code == 201
    async with program(centre, bob) as client:
        assert (await read(client, recording)).json()["code"] == "not_heard"
        assert (await wishes(client, recording)).status_code == 201
        found = (await read(client, recording)).json()["comments"]
        assert [(one["moment_ms"], one["said"], one["author"], one["yours"]) for one in found] == [
            (0, "a slow start", "lena", False),
            (5000, "the greeting is missing", "lena", False),
            (60_000, "a good end", "lena", False),
        ]
    told_of = [row for row in logged if row["event"] == "commented"]
    assert len(told_of) == 3
    assert not any(word in str(told_of) for word in ("lena", "greeting", "slow", "good"))


async def test_a_listening_that_is_over_still_lets_one_say_what_was_heard(centre: Centre) -> None:
    recording = await recorded(centre)
    async with program(centre, await secret(centre, "lena", Role.SUPERVISOR)) as client:
        audio = (await wishes(client, recording)).json()["audio"]
        passes(centre, timedelta(hours=1))
        assert (await client.get(audio)).status_code == 404
        assert (await says(client, recording)).status_code == 201


async def test_a_comment_is_said_once_under_one_key_and_its_text_lies_nowhere_beside_it(centre: Centre) -> None:
    recording = await recorded(centre)
    async with program(centre, await secret(centre, "lena", Role.SUPERVISOR)) as client:
        await wishes(client, recording)
        path, said = f"/api/v1/recordings/{recording}/comments", {"text": "greeting", "moment_ms": 1000}
        once, again = [await client.post(path, json=said, headers={"Idempotency-Key": "k1"}) for _ in range(2)]
    assert (once.status_code, again.status_code, again.json()["code"]) == (201, 409, "answer_not_kept")
    assert len(await centre.catalogue.comments(RecordingId(recording))) == 1
    assert centre.rows("SELECT status, answer FROM kept_answers") == [(201, None)]


async def test_who_may_not_listen_there_neither_sees_nor_says_anything(centre: Centre) -> None:
    """Agents of the call, who runs the machine, who reads the log: whatever they have opened before."""
    recording = await recorded(centre)
    async with program(centre, await secret(centre, "lena", Role.SUPERVISOR)) as client:
        await wishes(client, recording)
        comment = (await says(client, recording)).json()["id"]
    others = [(role, "support") for role in (Role.AGENT, Role.AUDITOR, Role.PRIVACY_OFFICER, Role.ADMINISTRATOR)]
    for role, line in [*others, (Role.SUPERVISOR, "sales")]:
        mine = await secret(centre, f"{role}-{line}".replace("_", "-"), role, line=line)
        opened = replace(ACT, id=uuid4(), listener=f"{role}-{line}".replace("_", "-"), recording=RecordingId(recording))
        await centre.catalogue.write_listens([opened])
        async with program(centre, mine) as client:
            for answer in (await read(client, recording), await says(client, recording)):
                assert (answer.status_code, "greeting" in answer.text) in ((403, False), (404, False)), role
            assert (await withdraws(client, comment)).status_code == 404
    (one,) = await centre.catalogue.comments(RecordingId(recording))
    assert one.said == "the greeting is missing"


async def test_agents_are_shown_no_comment_on_a_call_of_theirs(centre: Centre) -> None:
    recording = await recorded(centre)
    call = (await centre.call()).id
    async with program(centre, await secret(centre, "lena", Role.SUPERVISOR)) as client:
        await wishes(client, recording)
        await says(client, recording)
    await enters(centre, "alice", Role.AGENT, at="PJSIP/alice")
    async with program(centre, (await token_of(centre, "alice"))[1]) as client:
        own = await client.get(f"/api/v1/own/calls/{call}")
    async with signed_in(centre, "alice") as client:
        page = await opens(client, f"/own/{call}")
    for text in (own.text, page.text):
        assert ("support" in text, "greeting" in text) == (True, False)


async def test_a_right_that_is_taken_back_ends_reading_too(centre: Centre) -> None:
    recording = await recorded(centre)
    async with program(centre, await secret(centre, "lena", Role.SUPERVISOR)) as client:
        await wishes(client, recording)
        assert (await says(client, recording)).status_code == 201
        revoked = user_act(UserAction.REVOKED, "lena", line="support", role=Role.SUPERVISOR)
        await centre.catalogue.write_user_acts([revoked])
        assert (await read(client, recording)).status_code == 404
        assert (await says(client, recording)).status_code == 404


async def test_of_a_sealed_recording_nobody_reads_or_says_anything(centre: Centre) -> None:
    recording = await recorded(centre, keys="2")
    mine = await secret(centre, "lena", Role.SUPERVISOR)
    opened = replace(ACT, id=uuid4(), listener="lena", recording=RecordingId(recording))
    await centre.catalogue.write_listens([opened])
    async with program(centre, mine) as client:
        for answer in (await read(client, recording), await says(client, recording)):
            assert (answer.status_code, answer.json()["code"]) == (423, "sealed")
    async with signed_in(centre, "lena") as client:
        page = await opens(client, f"/calls/{(await centre.call()).id}?at=5")
        assert ("sealed" in page.text, "/comment" in page.text) == (True, False)
    assert centre.rows("SELECT count(*) FROM comments") == [(0,)]


@pytest.mark.parametrize(
    ("moment_ms", "code"),
    [
        (-1, "not_understood"),
        (60_001, "no_such_moment"),
        (10**10, "not_understood"),
        ("NaN", "not_understood"),
        (1.5, "not_understood"),
        (None, "not_understood"),
    ],
)
async def test_a_moment_lies_in_the_recording(centre: Centre, moment_ms: object, code: str) -> None:
    recording = await recorded(centre)
    async with program(centre, await secret(centre, "lena", Role.SUPERVISOR)) as client:
        await wishes(client, recording)
        answer = await says(client, recording, moment_ms)
        assert (answer.status_code, answer.json()["code"]) == (422, code)
        bare = '{"text": "x", "moment_ms": NaN}'
        headers = {"content-type": "application/json"}
        answer = await client.post(f"/api/v1/recordings/{recording}/comments", content=bare, headers=headers)
        assert answer.status_code == 422
    assert await centre.catalogue.comments(RecordingId(recording)) == ()


@pytest.mark.parametrize(
    ("text", "code"),
    [("", "not_understood"), ("   ", "not_understood"), ("x" * 501, "not_understood"), (CARD, "sensitive")],
)
async def test_what_may_not_be_kept_of_a_comment_is_kept_nowhere(centre: Centre, text: str, code: str) -> None:
    recording = await recorded(centre)
    with capture_logs() as logged:
        async with program(centre, await secret(centre, "lena", Role.SUPERVISOR)) as client:
            await wishes(client, recording)
            refused = await says(client, recording, text=text)
            assert (refused.status_code, refused.json()["code"]) == (422, code)
            assert await centre.catalogue.comments(RecordingId(recording)) == ()
            kept = await says(client, recording, text="of DE89 3704 0044 0532 0130 00")
            assert kept.json()["said"] == "of [bank account number removed]"
    database = Path(centre.url.removeprefix("sqlite:///")).parent.glob("catalogue.db*")
    written = b"".join(file.read_bytes() for file in database)
    assert [typed for typed in (b"4111-1111", b"41111111", b"DE89") if typed in written] == []
    assert [typed for typed in ("4111", "DE89") if typed in str(logged)] == []


async def test_its_author_withdraws_a_comment_and_its_text_is_shown_no_more(centre: Centre) -> None:
    recording = await recorded(centre)
    lena, bob = await secret(centre, "lena", Role.SUPERVISOR), await secret(centre, "bob", Role.SUPERVISOR)
    async with program(centre, lena) as client, program(centre, bob) as other:
        await wishes(client, recording)
        await wishes(other, recording)
        comment = (await says(client, recording)).json()["id"]
        assert (await withdraws(other, comment)).status_code == 404
        assert (await withdraws(client, uuid4())).status_code == 404
        for _ in range(2):
            done = await withdraws(client, comment)
            assert (done.status_code, done.json()["said"]) == (200, None)
        (seen,) = (await read(other, recording)).json()["comments"]
        assert (seen["said"], seen["author"], seen["moment_ms"]) == (None, "lena", 5000)
        assert seen["withdrawn_at"] is not None
    assert centre.rows("SELECT count(*) FROM comments") == [(2,)]


async def test_who_has_said_much_of_a_recording_says_no_more_of_it(centre: Centre) -> None:
    recording = await recorded(centre)
    for _ in range(EACH_MOST):
        act = comment_act(key=uuid4(), recording=RecordingId(recording))
        await centre.catalogue.write_comment(act)
    await centre.catalogue.write_comment(comment_act(WITHDRAWN, key=act.id, recording=RecordingId(recording)))
    async with program(centre, await secret(centre, "lena", Role.SUPERVISOR)) as client:
        await wishes(client, recording)
        answer = await says(client, recording)
        assert (answer.status_code, answer.json()["code"]) == (409, "no_more_of_these")


# --------------------------------------------------------------------------- on pages


async def test_one_comments_beside_the_player_and_withdraws_there(centre: Centre) -> None:
    recording = await recorded(centre)
    call = (await centre.call()).id
    await enters(centre, "lena", Role.SUPERVISOR)
    async with signed_in(centre, "lena") as client:
        page = await opens(client, f"/calls/{call}")
        assert "/comment" not in page.text
        begun = await client.post(f"/recordings/{recording}/listen", data=WHY | {"stamp": page.stamp})
        playing = await opens(client, begun.headers["location"])
        (listen,) = set(re.findall(r'name="listen" value="([0-9a-f-]{36})"', playing.text))
        form = {"stamp": page.stamp, "listen": listen, "text": "why <this>?", "moment": "0:12.5"}
        done = await client.post(f"/recordings/{recording}/comment", data=form)
        assert done.status_code == 303
        shown = await opens(client, done.headers["location"])
        for words in ("why &lt;this&gt;?", 'data-moment="12500"', ">0:12</a>", "<audio controls", "lena, <time"):
            assert words in shown.text, words
        assert 'data-start="12500"' in shown.text
        (withdraw,) = re.findall(r'action="(/comments/[0-9a-f-]{36}/withdraw)"', shown.text)
        gone = await client.post(withdraw, data={"stamp": page.stamp, "listen": listen})
        again = await opens(client, gone.headers["location"])
        assert ("why &lt;this" in again.text, "withdrawn by its author" in again.text) == (False, True)
        assert ("data-moment" in again.text, "<audio controls" in again.text) == (False, True)
        assert (await client.post(f"/comments/{uuid4()}/withdraw", data={"stamp": page.stamp})).status_code == 404


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ({"text": CARD}, "Nothing of it was kept"),
        ({"text": "x" * 501}, "That could not be understood"),
        ({"moment": "-1"}, "This recording has no such moment"),
        ({"moment": "1:01"}, "This recording has no such moment"),
        ({"moment": "NaN"}, "This recording has no such moment"),
    ],
)
async def test_what_is_refused_of_a_comment_is_said_and_handed_back_to_its_form(
    centre: Centre, typed: dict[str, str], words: str
) -> None:
    recording = await recorded(centre)
    call = (await centre.call()).id
    await enters(centre, "lena", Role.SUPERVISOR)
    async with signed_in(centre, "lena") as client:
        page = await opens(client, f"/calls/{call}")
        begun = await client.post(f"/recordings/{recording}/listen", data=WHY | {"stamp": page.stamp})
        (listen,) = re.findall(r"listen=([0-9a-f-]{36})", begun.headers["location"])
        form = {"stamp": page.stamp, "listen": listen, "text": "rude", "moment": "0:12"} | typed
        with capture_logs() as logged:
            refused = await client.post(f"/recordings/{recording}/comment", data=form)
        assert (refused.status_code, words in refused.text) == (422, True)
        back_in_it = "" if form["text"] == CARD else form["text"]  # what the guard refused is never said again (SG-07)
        assert CARD not in refused.text
        for back in (f">{back_in_it}</textarea>", f'value="{form["moment"]}"', "<audio controls"):
            assert back in refused.text, back
        assert form["text"] not in str(logged)
        assert form["text"] not in (await opens(client, f"/calls/{call}")).text
    assert await centre.catalogue.comments(RecordingId(recording)) == ()


async def test_on_a_page_who_may_find_and_not_listen_sees_no_comment(centre: Centre) -> None:
    recording = await recorded(centre)
    call = (await centre.call()).id
    await centre.catalogue.write_comment(comment_act(recording=RecordingId(recording)))
    await enters(centre, "olga", Role.PRIVACY_OFFICER)
    opened = replace(ACT, id=uuid4(), listener="olga", recording=RecordingId(recording))
    await centre.catalogue.write_listens([opened])
    async with signed_in(centre, "olga") as client:
        page = await opens(client, f"/calls/{call}")
        assert ("Recordings" in page.text, "greeting" in page.text, "/comment" in page.text) == (True, False, False)
        form = {"stamp": page.stamp, "text": "x", "moment": "1"}
        refused = await client.post(f"/recordings/{recording}/comment", data=form)
        assert (refused.status_code, "greeting" in refused.text) == (403, False)


# --------------------------------------------------------------------------- addresses of a moment


async def test_a_moment_survives_signing_in_and_the_purpose_and_the_player_stands_there(centre: Centre) -> None:
    recording = await recorded(centre)
    call = (await centre.call()).id
    await enters(centre, "lena", Role.SUPERVISOR)
    asked = f"/calls/{call}?recording={recording}&at=12.5&until=20"
    async with browser(centre) as client:
        sent_away = await client.get(asked)
        assert sent_away.headers["location"] == f"/sign-in?{urlencode({'back': asked})}"
        way_in = await opens(client, sent_away.headers["location"])
        (back,) = re.findall(r'name="back" value="([^"]+)"', way_in.text)
        wrong = await client.post("/sign-in", data={"name": "lena", "password": "no", "back": asked})
        assert (wrong.status_code, back in wrong.text) == (401, True)
        given = {"name": "lena", "password": "correct horse battery", "back": back.replace("&amp;", "&")}
        entered = await client.post("/sign-in", data=given)
        assert (entered.status_code, entered.headers["location"]) == (303, asked)
        page = await opens(client, asked)
        assert "You will stand at 0:12 once you listen." in page.text
        carried = dict(re.findall(r'name="(at|until)" value="([^"]+)"', page.text))
        assert carried == {"at": "12.5", "until": "20"}
        form = WHY | {"stamp": page.stamp} | carried
        unexplained = await client.post(f"/recordings/{recording}/listen", data=form | {"explanation": ""})
        assert dict(re.findall(r'name="(at|until)" value="([^"]+)"', unexplained.text)) == carried
        begun = await client.post(f"/recordings/{recording}/listen", data=form)
        playing = await opens(client, begun.headers["location"])
        for words in ('data-start="12500"', 'data-until="20000"', "/audio#t=12.5"):
            assert words in playing.text
        (link,) = re.findall(r'id="moment-link" href="([^"]+)"', playing.text)
        assert link.replace("&amp;", "&") == asked
        (bare,) = re.findall(r'data-page="([^"]+)"', playing.text)
        assert bare == f"/calls/{call}?recording={recording}"


@pytest.mark.parametrize("at", ["-1", "NaN", "1e2", "60.001", "61", "inf", ""])
async def test_a_moment_that_the_recording_has_not_is_said_and_the_page_is_there(centre: Centre, at: str) -> None:
    recording = await recorded(centre)
    await enters(centre, "lena", Role.SUPERVISOR)
    async with signed_in(centre, "lena") as client:
        page = await opens(client, f"/calls/{(await centre.call()).id}?{urlencode({'recording': recording, 'at': at})}")
        assert (page.status, "This recording has no such moment." in page.text) == (200, True)
        assert ("/listen" in page.text, 'name="at"' in page.text) == (True, False)


@pytest.mark.parametrize("back", ["https://elsewhere.example/calls", "//elsewhere.example", "/live?at=5", "/settings"])
async def test_signing_in_leads_nowhere_but_to_a_moment_of_a_recording(centre: Centre, back: str) -> None:
    await enters(centre, "lena", Role.SUPERVISOR)
    async with browser(centre) as client:
        assert "elsewhere" not in (await opens(client, f"/sign-in?{urlencode({'back': back})}")).text
        given = {"name": "lena", "password": "correct horse battery", "back": back}
        assert (await client.post("/sign-in", data=given)).headers["location"] == "/live"


async def test_who_may_not_see_a_call_is_not_shown_it_by_its_address(centre: Centre) -> None:
    recording = await recorded(centre)
    await enters(centre, "olga", Role.SUPERVISOR, line="sales")
    async with signed_in(centre, "olga") as client:
        page = await opens(client, f"/calls/{(await centre.call()).id}?recording={recording}&at=5")
        assert (page.status, "0:05" in page.text) == (404, False)


# --------------------------------------------------------------------------- the rows, on both engines


async def test_a_comment_comes_back_as_it_was_said_and_once(store: Catalogue) -> None:
    for act in (first := comment_act(), first, comment_act(key=uuid4(), moment_ms=10, by="bob")):
        await store.write_comment(act)
    other, found = await store.comments(COMMENTED)
    assert (found.id, found.author, found.moment_ms, found.said, found.withdrawn_at) == (
        COMMENT,
        "lena",
        5000,
        "the greeting is missing",
        None,
    )
    assert (other.author, other.moment_ms) == ("bob", 10)
    await store.write_comment(comment_act(WITHDRAWN, at=later(3)))
    gone = await store.comment(COMMENT)
    assert gone == replace(found, said=None, withdrawn_at=later(3))
    assert await store.comment(uuid4()) is None
    assert await store.comments(RecordingId(uuid4())) == ()


@pytest.mark.parametrize(
    "act",
    [
        comment_act(WITHDRAWN, by="bob"),
        comment_act(WITHDRAWN, key=uuid4()),
        comment_act(WITHDRAWN, recording=RecordingId(uuid4())),
        replace(comment_act(WITHDRAWN), said="or not"),
        replace(comment_act(WITHDRAWN), moment_ms=1),
        comment_act(key=uuid4(), moment_ms=-1),
        comment_act(key=uuid4(), said=""),
        replace(comment_act(key=uuid4()), said=None),
        replace(comment_act(key=uuid4()), moment_ms=None),
        replace(comment_act(key=uuid4()), comment=COMMENT),
    ],
    ids=[
        "withdrawn by another",
        "nothing withdrawn",
        "of another recording",
        "withdrawn with a text",
        "withdrawn with a moment",
        "before the beginning",
        "nothing",
        "no text",
        "no moment",
        "in another's place",
    ],
)
async def test_the_catalogue_itself_refuses_what_cannot_be_said(store: Catalogue, act: Any) -> None:
    await store.write_comment(comment_act())
    with pytest.raises(CatalogueRefused):
        await store.write_comment(act)
    assert [one.said for one in await store.comments(COMMENTED)] == ["the greeting is missing"]


async def test_a_second_withdrawal_is_refused(store: Catalogue) -> None:
    await store.write_comment(comment_act())
    await store.write_comment(comment_act(WITHDRAWN))
    with pytest.raises(CatalogueRefused):
        await store.write_comment(comment_act(WITHDRAWN))


async def test_of_two_who_would_both_say_the_last_thing_one_does(store: Catalogue, catalogue_url: str) -> None:
    """Two daemons at one catalogue, each with a thread that writes."""
    for _ in range(EACH_MOST - 1):
        await store.write_comment(comment_act(key=uuid4()))
    other = await open_catalogue(catalogue_url)
    writes = [one.write_comment(comment_act(key=uuid4())) for _ in range(4) for one in (store, other)]
    done = await asyncio.gather(*writes, return_exceptions=True)
    await other.close()
    assert [type(one) for one in done].count(CatalogueRefused) == 7
    assert len(await store.comments(COMMENTED)) == EACH_MOST
    await store.write_comment(comment_act(key=uuid4(), by="bob"))


async def while_one_writes(
    catalogue_url: str, first: Callable[[Connection], T], other: Callable[[Connection], T]
) -> tuple[T | BaseException, T | BaseException]:
    """What comes of both, where the other daemon's write begins between the first one's row and its commit."""
    stores = [await open_catalogue(catalogue_url) for _ in range(2)]
    is_in, may_commit = threading.Event(), threading.Event()

    def held(connection: Connection) -> T:
        done = first(connection)
        is_in.set()
        may_commit.wait(20)
        return done

    writing = asyncio.create_task(stores[0].write(held, timedelta(seconds=20)))
    await until(is_in.is_set)
    waiting = asyncio.create_task(stores[1].write(other, timedelta(seconds=20)))
    blocked = "SELECT 1 FROM pg_locks WHERE NOT granted AND locktype = 'advisory'"
    await until(lambda: waiting.done() or bool(look(catalogue_url, blocked)))
    may_commit.set()
    one, two = await asyncio.gather(writing, waiting, return_exceptions=True)
    for store in stores:
        await store.close()
    return one, two


@pytest.mark.postgres
@pytest.mark.parametrize("engine_name", ["postgres"])
async def test_who_says_the_last_thing_while_another_does_waits_and_is_refused(
    store: Catalogue, catalogue_url: str
) -> None:
    for _ in range(EACH_MOST - 1):
        await store.write_comment(comment_act(key=uuid4()))
    acts = [comment_act(key=uuid4()) for _ in range(2)]
    one, two = await while_one_writes(
        catalogue_url, lambda on: commenting.add(on, acts[0]), lambda on: commenting.add(on, acts[1])
    )
    assert (one, type(two)) == (None, CatalogueRefused)
    assert len(await store.comments(COMMENTED)) == EACH_MOST


async def test_of_one_recording_no_more_is_said_than_so_much_by_everybody(store: Catalogue, catalogue_url: str) -> None:
    await store.write_comment(comment_act())
    recording = f"'{COMMENTED.hex if catalogue_url.startswith('sqlite') else COMMENTED}'"
    ids = [uuid4().hex if catalogue_url.startswith("sqlite") else str(uuid4()) for _ in range(MOST - 1)]
    rows = ", ".join(
        f"({seq}, '{key}', '{key}', 'written', 'who{seq}', {recording}, {recording}, 'support', 1, 'x', '2026-05-04')"
        for seq, key in enumerate(ids, 100)
    )
    names = "seq, id, of_comment, action, actor, recording, call, line, moment_ms, said, at"
    look(catalogue_url, f"INSERT INTO comments ({names}) VALUES {rows}")
    with pytest.raises(CatalogueRefused):
        await store.write_comment(comment_act(key=uuid4(), by="bob"))
    await store.write_comment(comment_act(key=uuid4(), by="bob", recording=RecordingId(uuid4())))


async def test_who_has_opened_a_recording_is_who_was_not_refused(store: Catalogue) -> None:
    assert ACT.recording is not None
    opened = replace(ACT, id=uuid4(), listener="lena")
    refused = replace(ACT, id=uuid4(), listener="eve", kind=ListenKind.REFUSED, why=Unheard.SEALED)
    await store.write_listens([opened, refused])
    found = [await store.has_opened(name, ACT.recording) for name in ("lena", "eve", "bob")]
    assert found == [True, False, False]
    assert await store.has_opened("lena", RecordingId(uuid4())) is False


async def test_what_was_said_stays_on_the_way_back(store: Catalogue, catalogue_url: str) -> None:
    await store.write_comment(comment_act())
    await store.close()
    catalogue.downgrade(catalogue_url, "0014")
    assert catalogue.upgrade(catalogue_url) == catalogue.newest()
    again = await open_catalogue(catalogue_url)
    found = await again.comments(COMMENTED)
    await again.close()
    assert [one.said for one in found] == ["the greeting is missing"]
