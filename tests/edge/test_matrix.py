"""Every role at every route (AC-01): what each route takes is said here once, and a route that is not here fails."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID, uuid4

import httpx2
import pytest

from recorder.http.rules import Who
from recorder.listens import Medium
from recorder.rights import RIGHTS, Right, Role, UserAction
from tests.edge.centre import NUMBER_KEY, Centre
from tests.edge.test_http import MATRIX
from tests.edge.test_listening import WHY, recorded
from tests.edge.test_live_calls import SCRIPT, talks
from tests.edge.visitors import enters, opens, program, signed_in, token_of
from tests.facts import contest_act, user_act

pytestmark = pytest.mark.usefixtures("no_task_left")
NUMBER: Final = "+1 555 123 4567"
EVERYBODY: Final = frozenset(Right)
"""What takes no more than to have signed in."""


@pytest.fixture
def centre(numbered_centre: Centre) -> Centre:
    return numbered_centre


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """What there is to come to: a call that is over, its recording, one in progress, another's listening, contests."""

    over: UUID
    recording: UUID
    live: UUID
    anothers: UUID
    contest: UUID
    contest_too: UUID  # each is answered once
    comment: UUID  # somebody else's


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    client: httpx2.AsyncClient
    places: Places
    stamp: str = ""

    async def finds(self, path: str, what: UUID, **params: str) -> bool:
        """Whether they are shown it there."""
        answer = await self.client.get(path, params=params)
        assert answer.status_code in (200, 403, 404), (path, answer.status_code, answer.text)
        return answer.status_code == 200 and str(what) in answer.text

    async def hears_of(self, path: str, what: UUID) -> bool:
        """The same of what is sent again and again: by the first that is sent."""
        said = ""
        async with self.client.stream("GET", path) as answer:
            async for line in answer.aiter_lines():
                if not line and "data:" in said:
                    break
                said += line
        return str(what) in said

    async def sends(self, path: str, **said: str) -> bool:
        """Whether it is done for them."""
        bare = self.client.headers.get("Authorization") is not None
        asked = {"json": said} if bare else {"data": said | {"stamp": self.stamp}}
        answer = await self.client.post(path, headers=SCRIPT, **asked)  # type: ignore[arg-type]
        assert answer.status_code in (200, 201, 204, 303, 403, 404), (path, answer.status_code, answer.text)
        return answer.status_code < 400

    async def opened(self) -> UUID:
        """A listening of their own, where they may; else another's."""
        answer = await self.client.post(f"/api/v1/recordings/{self.places.recording}/listens", json=WHY)
        return UUID(answer.json()["listen"]) if answer.status_code == 201 else self.places.anothers


Asks = Callable[[Visitor], Awaitable[bool]]
HEARS: Final = frozenset({Right.LISTEN})
FINDS: Final = frozenset({Right.SEARCH})
PROVES: Final = frozenset({Right.PROVE})
HAD: Final = frozenset({Right.OWN_CALLS})
ANSWERS: Final = frozenset({Right.ANSWER_CONTEST})
SEES: Final = frozenset({Right.WATCH, Right.CONTROL})
OVERSEES: Final = frozenset({Right.VIEW_SYSTEM})
AT_TELEPHONES: Final[frozenset[Right]] = frozenset()
"""What no right opens to who does not stand in the call (tests/edge/test_page_override.py)."""
ON_EVERY_LINE: Final[frozenset[Right]] = frozenset()
"""What no right on one line opens (tests/edge/test_house.py)."""


async def _presses(visitor: Visitor, prefix: str) -> bool:
    done = await visitor.sends(f"{prefix}/live/{visitor.places.live}/pause")
    return done and await visitor.sends(f"{prefix}/live/{visitor.places.live}/resume")


async def _plays(visitor: Visitor) -> bool:
    said = {"spans": [[0, 1000]]}
    answer = await visitor.client.post(f"/api/v1/listens/{await visitor.opened()}/played", json=said)
    assert answer.status_code in (204, 404)
    return answer.status_code == 204


async def _hears(visitor: Visitor) -> bool:
    answer = await visitor.client.get(f"/api/v1/listens/{await visitor.opened()}/audio")
    assert answer.status_code in (200, 404)
    return answer.status_code == 200 and len(answer.content) > 44


async def _looks(visitor: Visitor) -> bool:
    return await _is_shown(visitor, f"/api/v1/listens/{await visitor.opened()}/waveform")


async def _reads_comments(visitor: Visitor) -> bool:
    await visitor.opened()
    return await visitor.finds(f"/api/v1/recordings/{visitor.places.recording}/comments", visitor.places.comment)


async def _comments(visitor: Visitor) -> bool:
    await visitor.opened()
    said = {"text": "well said", "moment_ms": "2000"}
    return await visitor.sends(f"/api/v1/recordings/{visitor.places.recording}/comments", **said)


async def _withdraws(visitor: Visitor) -> bool:
    """What they have said themselves, where they may say anything; else another's."""
    await visitor.opened()
    said = {"text": "well said", "moment_ms": 2000}
    path = f"/api/v1/recordings/{visitor.places.recording}/comments"
    answer = await visitor.client.post(path, json=said)
    theirs = answer.json()["id"] if answer.status_code == 201 else visitor.places.comment
    return await visitor.sends(f"/api/v1/comments/{theirs}/withdraw")


async def _comments_on_a_page(visitor: Visitor) -> bool:
    """Whoever may listen has opened it by then: by a program of theirs, or by the form above."""
    await visitor.sends(f"/recordings/{visitor.places.recording}/listen", **WHY)
    return await visitor.sends(f"/recordings/{visitor.places.recording}/comment", text="well said", moment="0:02")


async def _withdraws_on_a_page(visitor: Visitor) -> bool:
    await _comments_on_a_page(visitor)
    page = (await visitor.client.get(f"/calls/{visitor.places.over}")).text
    theirs = re.search(r'action="/comments/([0-9a-f-]{36})/withdraw"', page)
    return await visitor.sends(f"/comments/{visitor.places.comment if theirs is None else theirs[1]}/withdraw")


async def _saves(visitor: Visitor, name: str) -> str:
    """A search of theirs, by a program or by a page's form: its id."""
    if visitor.stamp:
        form = {"name": f"{name} on a page", "line": "support", "stamp": visitor.stamp}
        answer = await visitor.client.post("/searches", data=form)
        return answer.headers["location"].rpartition("/")[2]
    answer = await visitor.client.post("/api/v1/searches", json={"name": name, "search": {"line": "support"}})
    return str(answer.json()["id"])


async def _finds_what_was_saved(visitor: Visitor) -> bool:
    """What is saved says nothing of what may be found by it."""
    search = await _saves(visitor, "to be opened")
    if visitor.stamp:
        answer = await visitor.client.get(f"/searches/{search}", follow_redirects=True)
        return answer.status_code == 200 and str(visitor.places.over) in answer.text
    return await visitor.finds(f"/api/v1/searches/{search}/calls", visitor.places.over)


async def _removes_what_was_saved(visitor: Visitor) -> bool:
    search = await _saves(visitor, "to be removed")
    if visitor.stamp:
        return await visitor.sends(f"/searches/{search}/remove")
    return (await visitor.client.delete(f"/api/v1/searches/{search}")).status_code == 204


async def _asks_for_all(visitor: Visitor) -> bool:
    return await visitor.finds("/api/v1/listens", visitor.places.recording, all="true")


async def _finds_by_number(visitor: Visitor, path: str) -> bool:
    """By the body of a program's request, and by a page's form."""
    asked = {"number": NUMBER, "format": "json"} if path.endswith("/export") else {"number": NUMBER}
    bare = visitor.client.headers.get("Authorization") is not None
    said = {"json": asked} if bare else {"data": asked | {"stamp": visitor.stamp}}
    answer = await visitor.client.post(path, **said)  # type: ignore[arg-type]
    assert answer.status_code in (200, 403), (path, answer.status_code, answer.text)
    return answer.status_code == 200 and str(visitor.places.over) in answer.text


async def _takes_the_log(visitor: Visitor) -> bool:
    return await visitor.finds("/api/v1/listens/export", visitor.places.recording, all="true")


async def _is_shown(visitor: Visitor, path: str) -> bool:
    return (await visitor.client.get(path)).status_code == 200


async def _is_told_of_the_line(visitor: Visitor, path: str) -> bool:
    answer = await visitor.client.get(path)
    assert answer.status_code in (200, 403), (path, answer.status_code, answer.text)
    return answer.status_code == 200 and "support" in answer.text


BY_PROGRAM: Final[dict[str, tuple[frozenset[Right], Asks]]] = {
    "GET /api/v1/me": (EVERYBODY, lambda one: _is_shown(one, "/api/v1/me")),
    "GET /api/v1/openapi.json": (EVERYBODY, lambda one: _is_shown(one, "/api/v1/openapi.json")),
    "GET /api/v1/live": (SEES, lambda one: one.finds("/api/v1/live", one.places.live)),
    "GET /api/v1/live/changes": (SEES, lambda one: one.hears_of("/api/v1/live/changes", one.places.live)),
    "GET /api/v1/live/{call}": (SEES, lambda one: one.finds(f"/api/v1/live/{one.places.live}", one.places.live)),
    "POST /api/v1/live/{call}/{act}": (frozenset({Right.CONTROL}), lambda one: _presses(one, "/api/v1")),
    "POST /api/v1/live/{call}/override/{reason}": (
        AT_TELEPHONES,
        lambda one: one.sends(f"/api/v1/live/{one.places.live}/override/legal"),
    ),
    "GET /api/v1/calls": (FINDS, lambda one: one.finds("/api/v1/calls", one.places.over)),
    "POST /api/v1/calls/search": (FINDS, lambda one: _finds_by_number(one, "/api/v1/calls/search")),
    "GET /api/v1/calls/export": (FINDS, lambda one: one.finds("/api/v1/calls/export", one.places.over)),
    "POST /api/v1/calls/export": (FINDS, lambda one: _finds_by_number(one, "/api/v1/calls/export")),
    "GET /api/v1/calls/{call}": (FINDS, lambda one: one.finds(f"/api/v1/calls/{one.places.over}", one.places.over)),
    "GET /api/v1/calls/{call}/proof": (
        PROVES,
        lambda one: one.finds(f"/api/v1/calls/{one.places.over}/proof", one.places.over),
    ),
    "GET /api/v1/figures": (FINDS, lambda one: _is_told_of_the_line(one, "/api/v1/figures")),
    "GET /api/v1/status": (OVERSEES, lambda one: _is_told_of_the_line(one, "/api/v1/status")),
    "GET /api/v1/recordings/{recording}": (
        frozenset({Right.SEARCH, Right.LISTEN, Right.DOWNLOAD}),
        lambda one: one.finds(f"/api/v1/recordings/{one.places.recording}", one.places.recording),
    ),
    "POST /api/v1/recordings/{recording}/listens": (
        HEARS,
        lambda one: one.sends(f"/api/v1/recordings/{one.places.recording}/listens", **WHY),
    ),
    "GET /api/v1/recordings/{recording}/comments": (HEARS, _reads_comments),
    "POST /api/v1/recordings/{recording}/comments": (HEARS, _comments),
    "POST /api/v1/comments/{comment}/withdraw": (HEARS, _withdraws),
    "GET /api/v1/searches": (EVERYBODY, lambda one: _is_shown(one, "/api/v1/searches")),
    "POST /api/v1/searches": (EVERYBODY, lambda one: one.sends("/api/v1/searches", name="mine, by a program")),
    "DELETE /api/v1/searches/{search}": (EVERYBODY, _removes_what_was_saved),
    "GET /api/v1/searches/{search}/calls": (FINDS, _finds_what_was_saved),
    "GET /api/v1/listens": (frozenset({Right.VIEW_LOG}), _asks_for_all),
    "GET /api/v1/listens/export": (frozenset({Right.VIEW_LOG}), _takes_the_log),
    "GET /api/v1/listens/{listen}/audio": (HEARS, _hears),
    "GET /api/v1/listens/{listen}/waveform": (HEARS, _looks),
    "POST /api/v1/listens/{listen}/played": (HEARS, _plays),
    "GET /api/v1/own/calls": (HAD, lambda one: one.finds("/api/v1/own/calls", one.places.over)),
    "GET /api/v1/own/calls/{call}": (
        HAD,
        lambda one: one.finds(f"/api/v1/own/calls/{one.places.over}", one.places.over),
    ),
    "POST /api/v1/own/calls/{call}/contests": (
        HAD,
        lambda one: one.sends(f"/api/v1/own/calls/{one.places.over}/contests", text="it was personal"),
    ),
    "GET /api/v1/contests": (ANSWERS, lambda one: one.finds("/api/v1/contests", one.places.contest)),
    "GET /api/v1/users": (ON_EVERY_LINE, lambda one: _is_shown(one, "/api/v1/users")),
    "GET /api/v1/users/{name}": (ON_EVERY_LINE, lambda one: _is_shown(one, "/api/v1/users/somebody")),
    "POST /api/v1/users": (ON_EVERY_LINE, lambda one: one.sends("/api/v1/users", name="new")),
    "POST /api/v1/users/{name}/{deed}": (
        ON_EVERY_LINE,
        lambda one: one.sends("/api/v1/users/somebody/grant", role="auditor", line="support"),
    ),
    "POST /api/v1/contests/{contest}/answer": (
        ANSWERS,
        lambda one: one.sends(f"/api/v1/contests/{one.places.contest}/answer", text="it is taken out"),
    ),
}
IN_PERSON: Final[dict[str, tuple[frozenset[Right], Asks]]] = {
    "GET /live": (SEES, lambda one: one.finds("/live", one.places.live)),
    "GET /live/changes": (SEES, lambda one: one.hears_of("/live/changes", one.places.live)),
    "POST /live/{call}/{act}": (frozenset({Right.CONTROL}), lambda one: _presses(one, "")),
    "GET /live/{call}/override/{reason}": (
        AT_TELEPHONES,
        lambda one: _is_shown(one, f"/live/{one.places.live}/override/legal"),
    ),
    "POST /live/{call}/override/{reason}": (
        AT_TELEPHONES,
        lambda one: one.sends(f"/live/{one.places.live}/override/legal"),
    ),
    "GET /calls": (FINDS, lambda one: one.finds("/calls", one.places.over)),
    "POST /calls": (FINDS, lambda one: _finds_by_number(one, "/calls")),
    "GET /calls/export": (FINDS, lambda one: one.finds("/calls/export", one.places.over)),
    "POST /calls/export": (FINDS, lambda one: _finds_by_number(one, "/calls/export")),
    "GET /calls/{call}": (FINDS, lambda one: one.finds(f"/calls/{one.places.over}", one.places.over)),
    "GET /calls/{call}/proof": (PROVES, lambda one: one.finds(f"/calls/{one.places.over}/proof", one.places.over)),
    "POST /recordings/{recording}/listen": (
        HEARS,
        lambda one: one.sends(f"/recordings/{one.places.recording}/listen", **WHY),
    ),
    "POST /recordings/{recording}/comment": (HEARS, _comments_on_a_page),
    "POST /comments/{comment}/withdraw": (HEARS, _withdraws_on_a_page),
    "POST /searches": (EVERYBODY, lambda one: one.sends("/searches", name="mine, on a page")),
    "GET /searches/{search}": (FINDS, _finds_what_was_saved),
    "POST /searches/{search}/remove": (EVERYBODY, _removes_what_was_saved),
    "GET /figures": (FINDS, lambda one: _is_told_of_the_line(one, "/figures")),
    "GET /system": (OVERSEES, lambda one: _is_told_of_the_line(one, "/system")),
    "GET /settings": (ON_EVERY_LINE, lambda one: _is_shown(one, "/settings")),
    "GET /users": (ON_EVERY_LINE, lambda one: _is_shown(one, "/users")),
    "GET /users/{name}": (ON_EVERY_LINE, lambda one: _is_shown(one, "/users/somebody")),
    "POST /users": (ON_EVERY_LINE, lambda one: one.sends("/users", name="new")),
    "POST /users/{name}/{deed}": (
        ON_EVERY_LINE,
        lambda one: one.sends("/users/somebody/grant", role="auditor", line="support"),
    ),
    "GET /listening": (EVERYBODY, lambda one: _is_shown(one, "/listening")),
    "GET /own": (HAD, lambda one: one.finds("/own", one.places.over)),
    "GET /own/{call}": (HAD, lambda one: one.finds(f"/own/{one.places.over}", one.places.over)),
    "POST /own/{call}/contest": (
        HAD,
        lambda one: one.sends(f"/own/{one.places.over}/contest", text="it was personal"),
    ),
    "GET /contests": (ANSWERS, lambda one: one.finds("/contests", one.places.contest_too)),
    "POST /contests/{contest}/answer": (
        ANSWERS,
        lambda one: one.sends(f"/contests/{one.places.contest_too}/answer", text="it is taken out"),
    ),
}
"""By route: the rights of which each opens it on the call's own line, and how one sees whether it did."""


def test_each_route_for_people_and_programs_says_which_rights_open_it() -> None:
    assert sorted(BY_PROGRAM) == sorted(MATRIX[Who.SIGNED_IN])
    assert sorted(IN_PERSON) == sorted(MATRIX[Who.IN_PERSON])


def test_who_runs_the_machine_reads_the_log_or_answers_for_it_hears_nothing() -> None:
    """AC-02; whoever is given a role that hears is given it by name."""
    hearing = {role for role, rights in RIGHTS.items() if rights & {Right.LISTEN, Right.DOWNLOAD}}
    assert hearing == {Role.SUPERVISOR, Role.QUALITY, Role.DOWNLOADER}
    assert {role for role, rights in RIGHTS.items() if Right.DOWNLOAD in rights} == {Role.DOWNLOADER}


async def places(centre: Centre) -> Places:
    recording = await recorded(centre)
    over = (await centre.call()).id
    await centre.catalogue.write_numbers([(over, str(NUMBER_KEY.digest(NUMBER)))])
    await enters(centre, "somebody", Role.QUALITY)
    async with program(centre, (await token_of(centre, "somebody"))[1]) as client:
        opened = await client.post(f"/api/v1/recordings/{recording}/listens", json=WHY | {"medium": Medium.STREAM})
        remark = {"text": "the greeting is missing", "moment_ms": 1000}
        said_of_it = await client.post(f"/api/v1/recordings/{recording}/comments", json=remark)
    comment = UUID(said_of_it.json()["id"])
    await talks(centre)
    said = [contest_act(key=uuid4(), call=over) for _ in range(2)]
    for act in said:
        await centre.catalogue.write_contest(act)
    return Places(
        over=UUID(str(over)),
        recording=recording,
        live=UUID(str(centre.runner.state.call)),
        anothers=UUID(opened.json()["listen"]),
        contest=said[0].id,
        contest_too=said[1].id,
        comment=comment,
    )


async def sat_there(centre: Centre, name: str) -> None:
    """They were at the agent's telephone while the call that is over lasted, and are no more."""
    left = replace(user_act(UserAction.SEATED, name), at=centre.assembly.now())
    await centre.catalogue.write_user_acts([user_act(UserAction.SEATED, name, at="PJSIP/alice"), left])


@pytest.mark.parametrize("role", [None, *Role], ids=str)
async def test_a_role_opens_on_its_own_line_what_its_rights_say_and_on_another_nothing(
    centre: Centre, role: Role | None
) -> None:
    there = await places(centre)
    rights = RIGHTS[role] if role is not None else frozenset()
    for name, line in (("here", "support"), ("elsewhere", "sales")):
        await enters(centre, name, *([role] if role is not None else []), line=line)
        await sat_there(centre, name)
        expected = {
            route: takes == EVERYBODY or bool(line == "support" and takes & rights)
            for route, (takes, _) in (BY_PROGRAM | IN_PERSON).items()
        }
        async with program(centre, (await token_of(centre, name))[1]) as client:
            visitor = Visitor(client=client, places=there)
            found = {route: await asks(visitor) for route, (_, asks) in BY_PROGRAM.items()}
        async with signed_in(centre, name) as client:
            visitor = Visitor(client=client, places=there, stamp=(await opens(client, "/password")).stamp)
            found |= {route: await asks(visitor) for route, (_, asks) in IN_PERSON.items()}
        assert found == expected
