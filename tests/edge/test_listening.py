"""Hearing a recording over HTTP: the row comes first, what went out is kept, nobody removes a row (LL-01 to LL-07)."""

from __future__ import annotations

import asyncio
import io
import shutil
import wave
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import httpx2
import pytest

from recorder.books import Code, verify
from recorder.catalogue import Catalogue, CatalogueAway, CatalogueRefused, LogSought, open_catalogue
from recorder.listens import ListenAct, ListenKind, Medium, Unheard
from recorder.rights import Role, UserAction
from tests.books import folders
from tests.core.test_listens import ACT
from tests.edge.centre import Centre, look
from tests.edge.visitors import enters, program, token_of
from tests.facts import NODE, later, user_act
from tests.fakes.pbx import FakePbx

pytestmark = pytest.mark.usefixtures("no_task_left")
WHY = {"purpose": "training", "explanation": "coaching of the week"}
OPENED, REFUSED, SENT, PLAYED, CLOSED, LOG_VIEWED = ListenKind


@pytest.fixture
def centre(sqlite_centre: Centre) -> Centre:
    return sqlite_centre


async def recorded(centre: Centre, keys: str = "1") -> UUID:
    """A settled recording of a minute."""
    talk = await centre.asks(keys=keys)
    centre.connects(talk)
    await centre.until_talking()
    if keys == "1":
        await centre.until_capture("running")
    else:
        await centre.presses(talk)
        await centre.until_capture("running")
    centre.mixes[-1].seconds = 60
    centre.hangs_up(talk)
    assert await centre.outcome() == ("recorded", None)
    return UUID(str((await centre.recording()).id))


async def listener(centre: Centre, *roles: Role, name: str = "lena", line: str = "support") -> str:
    await enters(centre, name, *roles, line=line)
    return (await token_of(centre, name))[1]


async def opens(client: httpx2.AsyncClient, recording: UUID, **said: object) -> httpx2.Response:
    return await client.post(f"/api/v1/recordings/{recording}/listens", json=WHY | said)


async def rows(centre: Centre) -> list[ListenAct]:
    """The whole log, the oldest first."""
    return list(reversed(await centre.catalogue.listens(LogSought(), 1000)))


def passes(centre: Centre, time: timedelta) -> None:
    """So much time, for those who listen."""
    centre.assembly.daemon.parts.listening.clock_set(-time)


async def noted(centre: Centre) -> list[ListenAct]:
    """The same, once what is owed is written."""
    passes(centre, timedelta(seconds=6))
    await centre.assembly.daemon.parts.listening.look()
    return await rows(centre)


# --------------------------------------------------------------------------- hearing


async def test_whoever_hears_leaves_a_row_first_and_what_went_out_after(centre: Centre) -> None:
    recording = await recorded(centre)
    async with program(centre, await listener(centre, Role.SUPERVISOR)) as client:
        seen = (await client.get(f"/api/v1/recordings/{recording}")).json()
        assert (seen["purposes"], seen["explaining"]) == (
            ["service_standard", "training"],
            {"service_standard": "required", "training": "required"},
        )
        opened = await opens(client, recording)
        assert opened.status_code == 201
        (row,) = await rows(centre)
        assert (row.kind, row.listener, row.token, row.purpose, row.explanation) == (
            OPENED,
            "lena",
            "payment page",
            "training",
            "coaching of the week",
        )
        assert (row.roles, row.agents, row.medium) == (("supervisor",), ("PJSIP/alice",), Medium.STREAM)
        sound = await client.get(opened.json()["audio"])
        assert (sound.status_code, sound.headers["content-type"]) == (200, "audio/wav")
        with wave.open(io.BytesIO(sound.content)) as read:
            assert (read.getnchannels(), read.getnframes() / read.getframerate()) == (2, opened.json()["seconds"])
    _, sent = await noted(centre)
    assert (sent.kind, sent.listen, sent.began_ms, sent.ended_ms) == (SENT, row.listen, 0, 60_000)


@pytest.mark.parametrize(
    ("asked", "status", "span"),
    [
        ("bytes=0-320043", 206, (0, 10_000)),
        ("bytes=640044-960043", 206, (20_000, 30_000)),
        ("bytes=1600044-", 206, (50_000, 60_000)),
        ("bytes=-320000", 206, (50_000, 60_000)),
        ("bytes=0-43", 206, None),
        ("bytes=9999999-", 416, None),
        ("bytes=abc", 200, (0, 60_000)),
        ("bytes=0-1,5-6", 200, (0, 60_000)),
        ("pages=1-2", 200, (0, 60_000)),
    ],
)
async def test_of_a_range_only_what_went_out_is_kept(
    centre: Centre, asked: str, status: int, span: tuple[int, int] | None
) -> None:
    recording = await recorded(centre)
    async with program(centre, await listener(centre, Role.SUPERVISOR)) as client:
        audio = (await opens(client, recording)).json()["audio"]
        answer = await client.get(audio, headers={"Range": asked})
    assert answer.status_code == status
    sent = [(row.began_ms, row.ended_ms) for row in await noted(centre) if row.kind is SENT]
    assert sent == ([] if span is None else [span])


async def test_ranges_and_what_the_player_says_it_played_are_merged_and_none_is_dropped(centre: Centre) -> None:
    recording = await recorded(centre)
    async with program(centre, await listener(centre, Role.SUPERVISOR)) as client:
        opened = (await opens(client, recording)).json()
        for asked in ("bytes=0-160043", "bytes=160044-320043", "bytes=640044-800043"):
            await client.get(opened["audio"], headers={"Range": asked})
        told = await client.post(
            f"/api/v1/listens/{opened['listen']}/played", json={"spans": [[0, 4000], [4000, 9000], [55000, 99000]]}
        )
        assert told.status_code == 204
    spans = {(row.kind, row.began_ms, row.ended_ms) for row in (await noted(centre))[1:]}
    assert spans == {(SENT, 0, 10_000), (SENT, 20_000, 25_000), (PLAYED, 0, 9000), (PLAYED, 55_000, 60_000)}


async def test_whoever_opens_and_hears_nothing_leaves_that_too(centre: Centre) -> None:
    recording = await recorded(centre)
    async with program(centre, await listener(centre, Role.SUPERVISOR)) as client:
        audio = (await opens(client, recording)).json()["audio"]
        passes(centre, timedelta(seconds=61))
        assert (await client.get(audio)).status_code == 404
    assert [row.kind for row in await noted(centre)] == [OPENED, CLOSED]


async def test_what_was_opened_is_for_who_opened_it_alone(centre: Centre) -> None:
    recording = await recorded(centre)
    mine, another = [await listener(centre, Role.SUPERVISOR, name=name) for name in ("lena", "otto")]
    async with program(centre, mine) as client, program(centre, another) as stranger:
        opened = (await opens(client, recording)).json()
        assert (await stranger.get(opened["audio"])).status_code == 404
        played = await stranger.post(f"/api/v1/listens/{opened['listen']}/played", json={"spans": [[0, 1]]})
        assert played.status_code == 404
        assert (await client.get(opened["audio"])).status_code == 200


async def test_what_was_opened_is_for_that_token_alone_and_while_they_may(centre: Centre) -> None:
    recording = await recorded(centre)
    secret = await listener(centre, Role.SUPERVISOR)
    another = (await token_of(centre, "lena"))[1]  # with the same label
    async with program(centre, secret) as client, program(centre, another) as other:
        opened = (await opens(client, recording)).json()
        assert (await other.get(opened["audio"])).status_code == 404
        assert (await client.get(opened["audio"], headers={"Range": "bytes=0-99"})).status_code == 206
        taken = replace(user_act(UserAction.REVOKED, "lena", line="support"), role=Role.SUPERVISOR)
        await centre.catalogue.write_user_acts([taken])
        assert (await client.get(opened["audio"])).status_code == 403


async def test_the_player_keeps_a_listening_open_and_not_for_ever(centre: Centre) -> None:
    recording = await recorded(centre)
    secret = await listener(centre, Role.SUPERVISOR)
    async with program(centre, secret) as client:
        opened = (await opens(client, recording)).json()
        await client.get(opened["audio"])
        played = []
        for _ in range(19):
            passes(centre, timedelta(minutes=14))
            answer = await client.post(f"/api/v1/listens/{opened['listen']}/played", json={"spans": [[0, 500]]})
            played.append(answer.status_code)
    assert played == [204] * 17 + [404] * 2  # four hours


async def test_a_clock_that_is_set_neither_ends_nor_prolongs_a_listening(centre: Centre) -> None:
    recording = await recorded(centre)
    async with program(centre, await listener(centre, Role.SUPERVISOR)) as client:
        opened = (await opens(client, recording)).json()
        for by in (timedelta(hours=2), timedelta(hours=-1)):
            centre.clock_set_by += by
            assert (await client.get(opened["audio"], headers={"Range": "bytes=0-99"})).status_code == 206
        passes(centre, timedelta(minutes=16))
        assert (await client.get(opened["audio"])).status_code == 404


async def test_a_body_that_is_no_request_of_ours_is_not_read(centre: Centre) -> None:
    async with program(centre, "rec_nothing") as client:
        answer = await client.post(f"/api/v1/listens/{uuid4()}/played", content=b"[" * 100_000)
    assert answer.status_code == 413


async def test_rows_are_written_a_few_at_a_time_and_what_a_player_says_is_merged(centre: Centre) -> None:
    recording = await recorded(centre)
    async with program(centre, await listener(centre, Role.SUPERVISOR)) as client:
        opened = (await opens(client, recording)).json()
        spans = [[at, at + 10] for at in range(0, 20_000, 100)]
        await client.post(f"/api/v1/listens/{opened['listen']}/played", json={"spans": spans})
        await client.post(f"/api/v1/listens/{opened['listen']}/played", json={"spans": spans})
    assert sum(row.kind is PLAYED for row in await noted(centre)) == 200


async def test_a_byte_that_went_out_is_never_without_a_row(centre: Centre) -> None:
    recording = await recorded(centre)
    async with program(centre, await listener(centre, Role.SUPERVISOR)) as client:
        audio = (await opens(client, recording)).json()["audio"]
        for at in (44, 76):
            await client.get(audio, headers={"Range": f"bytes={at}-{at + 30}"})
    sent = [(row.began_ms, row.ended_ms) for row in await noted(centre) if row.kind is SENT]
    assert sent == [(0, 2)]


async def test_a_download_is_a_right_of_its_own_and_says_so(centre: Centre) -> None:
    recording = await recorded(centre)
    async with program(centre, await listener(centre, Role.DOWNLOADER)) as client:
        opened = await opens(client, recording, medium="download")
        answer = await client.get(opened.json()["audio"])
        assert answer.headers["content-disposition"] == f'attachment; filename="{recording}.wav"'
    assert {row.medium for row in await noted(centre)} == {Medium.DOWNLOAD}


# --------------------------------------------------------------------------- not hearing


@pytest.mark.parametrize(
    ("roles", "said", "status", "why"),
    [
        ((Role.SUPERVISOR,), {"purpose": "marketing"}, 403, Unheard.ANOTHER_PURPOSE),
        ((Role.SUPERVISOR,), {"explanation": ""}, 422, Unheard.UNEXPLAINED),
        ((Role.SUPERVISOR,), {"explanation": " short   "}, 422, Unheard.UNEXPLAINED),
        ((Role.SUPERVISOR,), {"medium": "download"}, 403, Unheard.NOT_PERMITTED),
        ((Role.SUPERVISOR,), {"explanation": "paid with 4111 1111 1111 1111"}, 422, Unheard.SENSITIVE),
    ],
)
async def test_what_is_refused_leaves_a_row_and_no_sound(
    centre: Centre, roles: tuple[Role, ...], said: dict[str, object], status: int, why: Unheard
) -> None:
    recording = await recorded(centre)
    async with program(centre, await listener(centre, *roles)) as client:
        answer = await opens(client, recording, **said)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    (row,) = await rows(centre)
    assert (row.kind, row.why, row.listener) == (REFUSED, why, "lena")


async def test_what_may_not_be_kept_of_an_explanation_is_kept_nowhere(centre: Centre) -> None:
    recording = await recorded(centre)
    async with program(centre, await listener(centre, Role.SUPERVISOR)) as client:
        refused = await opens(client, recording, explanation="the card was 4111-1111-1111-1111, she said")
        assert (refused.status_code, refused.json()["code"]) == (422, "sensitive")
        assert "4111" not in refused.text
        heard = await opens(client, recording, explanation="about the account DE89 3704 0044 0532 0130 00")
        assert heard.status_code == 201
    assert [row.explanation for row in await rows(centre)] == [None, "about the account [bank account number removed]"]
    database = Path(centre.url.removeprefix("sqlite:///")).parent.glob("catalogue.db*")
    written = b"".join(file.read_bytes() for file in database)
    for typed in (b"4111-1111", b"41111111", b"DE89", b"3704 0044"):
        assert typed not in written


async def test_what_an_override_captured_is_sealed(centre: Centre) -> None:
    recording = await recorded(centre, keys="2")
    async with program(centre, await listener(centre, Role.SUPERVISOR)) as client:
        answer = await opens(client, recording)
    assert (answer.status_code, answer.json()["code"]) == (423, "sealed")
    assert [row.why for row in await rows(centre)] == [Unheard.SEALED]


@pytest.mark.parametrize("role", [Role.AGENT, Role.ADMINISTRATOR, Role.AUDITOR, Role.PAYMENT, Role.OVERRIDER])
async def test_who_has_no_right_to_a_lines_recordings_does_not_learn_of_one(centre: Centre, role: Role) -> None:
    recording = await recorded(centre)
    for secret in (await listener(centre, role), await listener(centre, Role.SUPERVISOR, name="olga", line="sales")):
        async with program(centre, secret) as client:
            assert (await client.get(f"/api/v1/recordings/{recording}")).status_code == 404
            refused, unknown = await opens(client, recording), await opens(client, uuid4())
            assert (refused.status_code, refused.content) == (404, unknown.content)
    assert await rows(centre) == []


async def test_where_the_row_cannot_be_written_there_is_no_sound(centre: Centre) -> None:
    recording = await recorded(centre)
    async with program(centre, await listener(centre, Role.SUPERVISOR)) as client:
        look(centre.url, "CREATE TRIGGER full BEFORE INSERT ON listens BEGIN SELECT RAISE(ABORT, 'disk full'); END")
        answer = await opens(client, recording)
        assert (answer.status_code, answer.json()["code"]) == (503, "catalogue_away")
        assert centre.assembly.daemon.parts.listening._open == {}
        look(centre.url, "DROP TRIGGER full")
        assert (await opens(client, recording)).status_code == 201


async def test_a_file_that_is_not_there_is_said_so(centre: Centre) -> None:
    recording = await recorded(centre)
    async with program(centre, await listener(centre, Role.SUPERVISOR)) as client:
        audio = (await opens(client, recording)).json()["audio"]
        centre.settled()[0].unlink()
        answer = await client.get(audio)
        assert (answer.status_code, answer.json()["code"]) == (410, "sound_not_there")
        assert (await opens(client, recording)).json()["code"] == "sound_not_there"
    assert [row.kind for row in await rows(centre)] == [OPENED]  # of the first alone


async def test_what_went_out_is_written_down_once_the_catalogue_takes_it(centre: Centre) -> None:
    recording = await recorded(centre)
    async with program(centre, await listener(centre, Role.SUPERVISOR)) as client:
        await client.get((await opens(client, recording)).json()["audio"])
        look(centre.url, "CREATE TRIGGER full BEFORE INSERT ON listens BEGIN SELECT RAISE(ABORT, 'disk full'); END")
        with pytest.raises((CatalogueAway, CatalogueRefused)):
            await noted(centre)
        look(centre.url, "DROP TRIGGER full")
        assert [row.kind for row in await noted(centre)] == [OPENED, SENT]


async def test_a_daemon_that_ends_writes_down_what_went_out(centre: Centre) -> None:
    recording = await recorded(centre)
    async with program(centre, await listener(centre, Role.SUPERVISOR)) as client:
        await client.get((await opens(client, recording)).json()["audio"])
    await centre.stop()
    kinds = look(centre.url, "SELECT kind FROM listens ORDER BY seq")
    assert kinds == [("opened",), ("sent",), ("closed",)]


# --------------------------------------------------------------------------- the settings


async def test_which_explanation_it_takes_the_settings_say(sqlite_template: Path, tmp_path: Path) -> None:
    file = shutil.copyfile(sqlite_template, tmp_path / "catalogue.db")
    rule = {"quality": {"role": "quality", "purpose": "training", "explanation": "off"}}
    async with AsyncExitStack() as closing:
        made = Centre(
            await closing.enter_async_context(FakePbx()),
            tmp_path,
            f"sqlite:///{file}",
            listening={"explanation": "required", "shortest": 4, "rule": rule},
        )
        closing.push_async_callback(made.kill)
        await made.start()
        recording = await recorded(made)
        secrets = [await listener(made, role, name=str(role)) for role in (Role.QUALITY, Role.SUPERVISOR)]
        for secret, explanation, status in (
            (secrets[0], "", 201),
            (secrets[1], "", 422),
            (secrets[1], "why", 422),
            (secrets[1], "why?", 201),
        ):
            async with program(made, secret) as client:
                assert (await opens(client, recording, explanation=explanation)).status_code == status


# --------------------------------------------------------------------------- the log


async def test_everybody_sees_their_own_rows_and_who_may_see_all_leaves_a_row_by_looking(centre: Centre) -> None:
    recording = await recorded(centre)
    mine, others = await listener(centre, Role.SUPERVISOR), await listener(centre, Role.QUALITY, name="otto")
    for secret in (mine, others):
        async with program(centre, secret) as client:
            await opens(client, recording)
            own = (await client.get("/api/v1/listens")).json()["rows"]
            assert len(own) == 1
            assert (await client.get("/api/v1/listens", params={"all": True})).status_code == 403
            sly = (await client.get("/api/v1/listens", params={"listener": "lena"})).json()["rows"]
            assert sly == own
    async with program(centre, await listener(centre, Role.AUDITOR, name="alba")) as client:
        every = (await client.get("/api/v1/listens", params={"all": True, "recording": str(recording)})).json()["rows"]
        assert [row["listener"] for row in every] == ["otto", "lena"]
        one = (await client.get("/api/v1/listens", params={"all": True, "listener": "lena"})).json()["rows"]
        assert [row["listener"] for row in one] == ["lena"]
        assert (await client.delete("/api/v1/listens")).status_code == 405
    assert [(row.kind, row.listener) for row in (await rows(centre))[2:]] == [(LOG_VIEWED, "alba")] * 2


async def test_the_log_is_read_page_by_page_without_losing_or_repeating_a_row(centre: Centre) -> None:
    same = [replace(ACT, id=uuid4(), at=later(number // 3), listener="lena") for number in range(10)]
    await centre.catalogue.write_listens(same)
    async with program(centre, await listener(centre, Role.AGENT)) as client:
        found, before = [], None
        while True:
            params = {"limit": 3} | ({"before": before} if before else {})
            answer = (await client.get("/api/v1/listens", params=params)).json()
            found += [row["id"] for row in answer["rows"]]
            before = answer["next"]
            if before is None:
                break
        assert len(found) == 10
        assert set(found) == {str(act.id) for act in same}
        assert (await client.get("/api/v1/listens", params={"before": "yesterday"})).status_code == 422


# --------------------------------------------------------------------------- the rows, on both engines


async def test_rows_come_back_as_they_were_written_and_once(store: Catalogue) -> None:
    acts = (ACT, replace(ACT, id=uuid4(), at=later(1), kind=SENT, began_ms=0, ended_ms=7, explanation=None))
    await store.write_listens(acts)
    await store.write_listens(acts)
    assert tuple(reversed(await store.listens(LogSought(), 9))) == acts
    logged = await store.logged_after(NODE, 0, 9)
    assert [(one.act, one.seq, one.link.digest == one.digest) for one in logged] == [
        (acts[0], 1, True),
        (acts[1], 2, True),
    ]
    (head,) = await store.listening_heads(NODE)
    assert str(head) == f"{NODE}.listens:2:{logged[1].digest}"
    assert await store.listening_digest(NODE, 2) == logged[1].digest


@pytest.mark.parametrize(
    "bad",
    [
        {"kind": SENT},
        {"kind": REFUSED},
        {"began_ms": 1},
        {"kind": LOG_VIEWED},
        {"recording": None},
        {"purpose": None},
        {"why": Unheard.SEALED},
    ],
)
async def test_a_row_that_makes_no_sense_is_refused(store: Catalogue, bad: dict[str, object]) -> None:
    with pytest.raises(CatalogueRefused):
        await store.write_listens([replace(ACT, **bad)])  # type: ignore[arg-type]


async def test_two_who_write_at_once_leave_no_gap_and_no_fork(store: Catalogue, catalogue_url: str) -> None:
    acts = [replace(ACT, id=uuid4()) for _ in range(20)]
    another = await open_catalogue(catalogue_url)
    try:
        await asyncio.gather(*((store, another)[at % 2].write_listens([act]) for at, act in enumerate(acts)))
    finally:
        await another.close()
    logged = await store.logged_after(NODE, 0, 99)
    assert [one.seq for one in logged] == list(range(1, 21))
    assert all(one.link.digest == one.digest for one in logged)


# --------------------------------------------------------------------------- what SQL did to it


SECOND_ROW = f"node = '{NODE}' AND seq = 2"


async def many(store: Catalogue, count: int = 6) -> None:
    await store.write_listens([replace(ACT, id=uuid4(), at=later(number)) for number in range(count)])


def by_sql(url: str, statement: str) -> None:
    """As whoever owns the database can: the triggers are put aside."""
    if url.startswith("sqlite"):
        triggers = look(url, "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'listens'")
        for name, _ in triggers:
            look(url, f"DROP TRIGGER {name}")
        look(url, statement)
        for _, made in triggers:
            look(url, made)
        return
    look(url, "ALTER TABLE listens DISABLE TRIGGER ALL")
    look(url, statement)
    look(url, "ALTER TABLE listens ENABLE TRIGGER ALL")


@pytest.mark.parametrize(
    ("statement", "codes", "words"),
    [
        (
            f"DELETE FROM listens WHERE {SECOND_ROW}",
            {Code.LISTENING_REMOVED},
            "row 2 of the listening log was removed",
        ),
        ("DELETE FROM listens WHERE seq IN (2, 3)", {Code.LISTENING_REMOVED}, "rows 2 to 3"),
        ("DELETE FROM listens WHERE seq = 1", {Code.LISTENING_REMOVED}, "row 1"),
        (f"UPDATE listens SET listener = 'nobody' WHERE {SECOND_ROW}", {Code.LISTENING_CHANGED}, "row 2"),
        (f"UPDATE listens SET explanation = 'x' WHERE {SECOND_ROW}", {Code.LISTENING_CHANGED}, "says otherwise"),
        (f"UPDATE listens SET purpose = 'other' WHERE {SECOND_ROW}", {Code.LISTENING_CHANGED}, "says otherwise"),
        (f"UPDATE listens SET digest = '{'0' * 64}' WHERE {SECOND_ROW}", {Code.LISTENING_CHANGED}, "does not follow"),
        ("UPDATE listens SET seq = 9 WHERE seq = 6", {Code.LISTENING_REMOVED}, "rows 6 to 8"),
    ],
)
async def test_what_was_removed_or_changed_by_sql_is_named(
    store: Catalogue, catalogue_url: str, tmp_path: Path, statement: str, codes: set[Code], words: str
) -> None:
    await many(store)
    storage = folders(tmp_path)
    assert (await verify(store, storage, node=NODE, now=later(60))).mismatches == []
    by_sql(catalogue_url, statement)
    books = await verify(store, storage, node=NODE, now=later(60))
    assert {item.code for item in books.mismatches} == codes
    assert any(words in item.what for item in books.mismatches)


async def test_what_stood_before_the_days_that_are_looked_at_is_missed_too(
    store: Catalogue, catalogue_url: str, tmp_path: Path
) -> None:
    await many(store)
    by_sql(catalogue_url, "DELETE FROM listens WHERE seq = 4")
    books = await verify(store, folders(tmp_path), node=NODE, now=later(60), since=later(3))
    assert [item.code for item in books.mismatches] == [Code.LISTENING_REMOVED]


@pytest.mark.parametrize("engine_name", ["sqlite"])  # PostgreSQL keeps it out by its type
async def test_a_row_that_cannot_be_read_is_named_and_hides_no_other(
    store: Catalogue, catalogue_url: str, tmp_path: Path
) -> None:
    await many(store)
    by_sql(catalogue_url, "UPDATE listens SET agents = '{' WHERE seq = 2")
    books = await verify(store, folders(tmp_path), node=NODE, now=later(60))
    assert ["row 2 of the listening log was removed" in item.what for item in books.mismatches] == [True]
    assert len(await store.listens(LogSought(), 9)) == 5


async def test_a_log_that_was_cut_at_its_end_is_named_by_a_head_that_was_noted(
    store: Catalogue, catalogue_url: str, tmp_path: Path
) -> None:
    await many(store)
    storage, heads = folders(tmp_path), await store.listening_heads()
    books = await verify(store, storage, node=NODE, now=later(60), heads=heads)
    assert (books.mismatches, books.heads_compared, books.listening_rows) == ([], 1, 6)
    by_sql(catalogue_url, "DELETE FROM listens WHERE seq = 6")
    books = await verify(store, storage, node=NODE, now=later(60), heads=heads)
    assert [item.code for item in books.mismatches] == [Code.HEAD_UNKNOWN]
    await many(store, 1)  # and another put in its place
    books = await verify(store, storage, node=NODE, now=later(60), heads=heads)
    assert [item.code for item in books.mismatches] == [Code.HEAD_UNKNOWN]


async def test_of_the_last_days_only_their_rows_are_read(store: Catalogue, tmp_path: Path) -> None:
    await many(store)
    books = await verify(store, folders(tmp_path), node=NODE, now=later(60), since=later(3))
    assert (books.mismatches, books.listening_rows) == ([], 3)
