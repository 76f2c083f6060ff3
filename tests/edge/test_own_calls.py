"""An agent sees the calls that were theirs, and who has heard them, over the API and on pages; no others (TA-01)."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import pytest

from recorder.catalogue import Catalogue, OwnSought
from recorder.model import CallId
from recorder.rights import Role, UserAction
from tests.books import Story
from tests.core.test_listens import ACT
from tests.edge.centre import Centre, until
from tests.edge.test_listening import listener, noted, passes, recorded
from tests.edge.test_listening import opens as wishes
from tests.edge.visitors import enters, opens, program, signed_in, token_of
from tests.facts import NOON, later, user_act

pytestmark = pytest.mark.usefixtures("no_task_left")
ALICE, BOB = "PJSIP/alice", "PJSIP/bob"


@pytest.fixture
def centre(sqlite_centre: Centre) -> Centre:
    return sqlite_centre


async def agent(centre: Centre, name: str = "alice", at: str | None = ALICE, line: str = "support") -> str:
    """An agent at that telephone from long ago on, and a token in their name."""
    await enters(centre, name, Role.AGENT, at=at, line=line)
    return (await token_of(centre, name))[1]


async def heard(centre: Centre, recording: UUID) -> None:
    """A supervisor listens to ten seconds of it, and is refused to take it away."""
    async with program(centre, await listener(centre, Role.SUPERVISOR)) as client:
        audio = (await wishes(client, recording, explanation="she was rude to Ms Roe")).json()["audio"]
        for asked in ("bytes=0-160043", "bytes=160044-320043"):
            await client.get(audio, headers={"Range": asked})
        assert (await wishes(client, recording, medium="download")).status_code == 403
    await noted(centre)


# --------------------------------------------------------------------------- over the API


async def test_an_agent_sees_whether_their_call_was_recorded_why_for_what_and_who_heard_which_part(
    centre: Centre,
) -> None:
    recording = await recorded(centre)
    await heard(centre, recording)
    async with program(centre, await agent(centre)) as client:
        (call,) = (await client.get("/api/v1/own/calls")).json()["calls"]
        assert (call["line"], call["outcome"], call["consent"], call["heard"]) == ("support", "recorded", "given", 1)
        answer = await client.get(f"/api/v1/own/calls/{call['id']}")
        (one,) = answer.json()["recordings"]
    assert (one["id"], one["status"], one["seconds"]) == (str(recording), "settled", 60)
    assert one["purposes"] == ["service_standard", "training"]
    refused, listened = one["heard"]
    assert (refused["listener"], refused["medium"], refused["refused"]) == ("lena", "download", "not_permitted")
    assert (listened["listener"], listened["roles"], listened["medium"]) == ("lena", ["supervisor"], "stream")
    assert (listened["purpose"], listened["refused"], listened["sent"]) == ("training", None, [[0, 10_000]])
    for untold in ("rude", "explanation", "address", "127.0.0.1", "audio", ALICE):
        assert untold not in answer.text


async def test_an_agent_sees_nothing_of_calls_that_were_not_theirs(centre: Centre) -> None:
    recording = await recorded(centre)
    call = (await centre.call()).id
    strangers = (
        await agent(centre, "bob", BOB),
        await agent(centre, "olga", ALICE, line="sales"),  # who sits there by now, and is an agent of another line
        (await token_of(centre, "olga"))[1],
    )
    for secret in strangers:
        async with program(centre, secret) as client:
            assert (await client.get("/api/v1/own/calls")).json()["calls"] == []
            tried, unknown = [await client.get(f"/api/v1/own/calls/{which}") for which in (call, uuid4())]
            assert (tried.status_code, tried.content) == (404, unknown.content)
            assert (await wishes(client, recording)).status_code == 404


async def test_who_has_not_the_right_sees_no_own_calls_wherever_they_sit(centre: Centre) -> None:
    await recorded(centre)
    call = (await centre.call()).id
    await enters(centre, "sam", Role.SUPERVISOR, at=ALICE)
    async with program(centre, (await token_of(centre, "sam"))[1]) as client:
        assert (await client.get("/api/v1/own/calls")).status_code == 403
        assert (await client.get(f"/api/v1/own/calls/{call}")).status_code == 404


async def test_whoever_takes_over_a_telephone_does_not_see_the_calls_from_before(centre: Centre) -> None:
    await recorded(centre)
    call = (await centre.call()).id
    before = await agent(centre)
    moved = centre.assembly.now()
    acts = [
        replace(user_act(UserAction.SEATED, "alice", at=BOB), at=moved),
        replace(user_act(UserAction.ADDED, "zoe"), at=moved),
        replace(user_act(UserAction.SEATED, "zoe", at=ALICE), at=moved),
        replace(user_act(UserAction.GRANTED, "zoe", line="support", role=Role.AGENT), at=moved),
    ]
    await centre.catalogue.write_user_acts(acts)
    for secret, status, count in ((before, 200, 1), ((await token_of(centre, "zoe"))[1], 404, 0)):
        async with program(centre, secret) as client:
            assert (await client.get(f"/api/v1/own/calls/{call}")).status_code == status
            assert len((await client.get("/api/v1/own/calls")).json()["calls"]) == count


async def test_a_call_in_progress_is_theirs_too(centre: Centre) -> None:
    talk = await centre.asks()
    centre.connects(talk)
    await centre.until_capture("running")
    written = "SELECT 1 FROM recordings WHERE status = 'armed' AND EXISTS (SELECT 1 FROM legs WHERE kind = 'agent')"
    await until(lambda: centre.rows(written), "the agent's leg in the catalogue")
    async with program(centre, await agent(centre)) as client:
        (call,) = (await client.get("/api/v1/own/calls")).json()["calls"]
        assert (call["outcome"], call["ended_at"]) == (None, None)
        (one,) = (await client.get(f"/api/v1/own/calls/{call['id']}")).json()["recordings"]
        assert (one["status"], one["seconds"], one["heard"]) == ("armed", None, [])
    centre.hangs_up(talk)
    await centre.outcome()


# --------------------------------------------------------------------------- on pages


async def test_the_pages_show_the_same_and_play_nothing(centre: Centre) -> None:
    recording = await recorded(centre)
    await heard(centre, recording)
    call = (await centre.call()).id
    await agent(centre)
    async with signed_in(centre, "alice") as client:
        listed = await opens(client, "/own")
        assert f'href="/own/{call}"' in listed.text
        for words in ("support", "recorded", "agreed"):
            assert words in listed.text
        page = await opens(client, f"/own/{call}")
        for words in ("1:00", "service standard, training", "lena", "listened", "0:00 – 0:10", "without the right"):
            assert words in page.text
        for untold in ("rude", "<audio", "/recordings/", ALICE):
            assert untold not in page.text
        client.headers["Accept-Language"] = "fr-CA"
        assert "Qui a écouté ou essayé" in (await opens(client, f"/own/{call}")).text
        unknown = await opens(client, f"/own/{uuid4()}")
        assert (unknown.status, "Cette page n’existe pas" in unknown.text) == (404, True)


async def test_who_is_no_agent_is_told_so_on_the_page(centre: Centre) -> None:
    await enters(centre, "sam", Role.SUPERVISOR)
    async with signed_in(centre, "sam") as client:
        assert (await opens(client, "/own")).status == 403
        assert (await opens(client, "/own?before=yesterday")).status == 403


async def test_a_listening_that_goes_on_is_told_once_its_rows_are_there(centre: Centre) -> None:
    recording = await recorded(centre)
    async with program(centre, await listener(centre, Role.SUPERVISOR)) as client:
        await wishes(client, recording)
    passes(centre, timedelta(seconds=61))
    await noted(centre)
    async with program(centre, await agent(centre)) as client:
        call = (await centre.call()).id
        (one,) = (await client.get(f"/api/v1/own/calls/{call}")).json()["recordings"]
    assert [(row["sent"], row["played"]) for row in one["heard"]] == [([], [])]


# --------------------------------------------------------------------------- the catalogue, on both engines


async def found(store: Catalogue, sought: dict[str, object], limit: int = 9) -> list[CallId]:
    wanted = OwnSought(**{"user": "alice", "lines": None, "since": NOON} | sought)  # type: ignore[arg-type]
    return [one.call.id for one in (await store.own_calls(wanted, limit)).calls]


async def seated(store: Catalogue, name: str = "alice", at: str = ALICE) -> None:
    await store.write_user_acts([user_act(user=name), user_act(UserAction.SEATED, name, at=at)])


async def test_the_calls_at_ones_telephones_are_found_with_all_who_ever_sat_there(store: Catalogue) -> None:
    await seated(store)
    await store.write_user_acts([user_act(UserAction.SEATED, "alice", at=BOB)])
    await seated(store, "zoe")
    story = Story().admitted().answered().talking()
    await story.write(store)
    await store.write_listens(
        [replace(ACT, call=story.call), replace(ACT, id=uuid4(), listen=uuid4(), call=story.call)]
    )
    candidates = await store.own_calls(OwnSought(user="alice", lines=None, since=NOON), 9)
    (one,) = candidates.calls
    assert (one.call.id, one.heard, [leg.telephone.interface for leg in one.legs]) == (story.call, 2, [ALICE])
    assert [act.user for act in candidates.acts] == ["alice"] * 3 + ["zoe"] * 2
    told = await store.told_call(story.call)
    assert told is not None
    assert (told.legs, told.acts, len(told.listens)) == (one.legs, candidates.acts, 2)
    assert await store.told_call(CallId(uuid4())) is None


@pytest.mark.parametrize(
    ("at", "sought", "count"),
    [
        (ALICE, {}, 1),
        ("PJSIP/alic", {}, 0),
        ("PJSIP/alic_", {}, 0),
        ("PJSIP/trunk", {}, 0),
        (BOB, {}, 0),
        (ALICE, {"user": "zoe"}, 0),
        (ALICE, {"lines": frozenset({"support", "sales"})}, 1),
        (ALICE, {"lines": frozenset({"sales"})}, 0),
        (ALICE, {"since": later(3600)}, 0),
        (ALICE, {"until": NOON}, 0),
    ],
)
async def test_only_calls_of_the_telephone_the_lines_and_the_time_are_looked_at(
    store: Catalogue, at: str, sought: dict[str, object], count: int
) -> None:
    await seated(store, at=at)
    await Story().admitted().answered().talking().write(store)
    await Story().admitted().write(store)  # nobody took it
    assert len(await found(store, sought)) == count


async def test_pages_of_own_calls_are_whole_and_each_is_on_one(store: Catalogue) -> None:
    await seated(store)
    stories = [Story().admitted().answered().talking() for _ in range(5)]
    for story in stories:
        await story.write(store)
    seen: list[CallId] = []
    before: tuple[datetime, UUID] | None = None
    while page := await found(store, {"before": before}, 2):
        seen += page
        before = (NOON, page[-1])
    assert sorted(seen) == sorted(story.call for story in stories)


async def test_the_place_of_the_next_page_names_no_call_of_anothers(centre: Centre) -> None:
    await recorded(centre)
    call = (await centre.call()).id
    theirs, moved = await agent(centre), centre.assembly.now()
    acts = [
        replace(user_act(UserAction.SEATED, "alice", at=BOB), at=moved),
        replace(user_act(UserAction.ADDED, "zoe"), at=moved),
        replace(user_act(UserAction.SEATED, "zoe", at=ALICE), at=moved),
        replace(user_act(UserAction.GRANTED, "zoe", line="support", role=Role.AGENT), at=moved),
    ]
    await centre.catalogue.write_user_acts(acts)
    async with program(centre, (await token_of(centre, "zoe"))[1]) as client:
        page = (await client.get("/api/v1/own/calls", params={"limit": 1})).json()
    assert (page["calls"], str(call) in str(page["next"])) == ([], False)
    async with program(centre, theirs) as client:
        page = (await client.get("/api/v1/own/calls", params={"limit": 1})).json()
        assert [one["id"] for one in page["calls"]] == [str(call)]
        assert (await client.get("/api/v1/own/calls", params={"before": page["next"]})).json()["calls"] == []
