"""HTTP: who may ask, what is answered, and that docs/operating.md says the same."""

from __future__ import annotations

import ast
import asyncio
import http.client
import json
import re
import socket
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from types import GenericAlias
from typing import Any, get_args, get_origin
from uuid import UUID

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from recorder.books import Code
from recorder.commands.status import EVERYWHERE, StatusUnknown, status_from
from recorder.http import (
    Answers,
    Door,
    Exports,
    HttpServer,
    Pages,
    api_routes,
    browsing_routes,
    comment_page_routes,
    comment_routes,
    contest_page_routes,
    contest_routes,
    counting_routes,
    finding_routes,
    hearing_routes,
    house_routes,
    log_routes,
    make_app,
    own_page_routes,
    own_routes,
    page_routes,
    people_page_routes,
    people_routes,
    saved_routes,
    searching_routes,
    system_routes,
)
from recorder.http import server as http_server
from recorder.http.door import FORWARDING_HEADERS
from recorder.http.rules import Rule, Who
from recorder.status import (
    BacklogView,
    CallView,
    Figure,
    FolderView,
    LostView,
    PbxView,
    Seen,
    State,
    Status,
    SweepView,
    View,
    registry,
    state_of,
)
from tests.edge.test_commands import Cli
from tests.facts import NOON

ROOT = Path(__file__).parents[2]
TOKEN = "open sesame"
GUARDED = ("/readyz", "/status", "/metrics")
REMOTE = ("192.0.2.7", 4711)
LOOPBACK = ("127.0.0.1", 4711)


def report(state: State = State.OK, reasons: tuple[str, ...] = ()) -> Status:
    folder = FolderView(free_bytes=12_000_000_000, free_share=0.42, used_share=0.58)
    return Status(
        state=state,
        reasons=list(reasons),
        pbx=PbxView(connected=True, version="22.10.1", since=NOON, last_event_at=None),
        calls=[CallView(call=UUID(int=1), line="support", state="talking, capturing", since=NOON)],
        spool=folder,
        storage=folder,
        backlog=BacklogView(settle=0, analyse=1),
        lost=LostView(last_24h=2, by_reason={"recorder_away": 2}),
        sweeps={"settle": SweepView(last_ok_at=NOON + timedelta(seconds=1))},
        versions={"recorder": "0.1.0", "python": "3.13.0"},
    )


def answers(token: str | None = TOKEN, hindrances: tuple[str, ...] = (), found: Status | None = None) -> Answers:
    async def status() -> Status:
        return found or report()

    async def count() -> None: ...

    figures = registry(lambda: {"recorder_ready": Figure(about="ready", values={"": 1.0})})
    return Answers(status=status, hindrances=lambda: hindrances, count=count, figures=figures, token=token)


async def ask(
    path: str, client: tuple[str, int], headers: Mapping[str, str] | None = None, token: str | None = TOKEN
) -> httpx2.Response:
    transport = httpx2.ASGITransport(app=make_app(answers(token)), client=client)
    async with httpx2.AsyncClient(transport=transport, base_url="http://recorder") as asking:
        said = [(name.encode(), value.encode("latin-1")) for name, value in (headers or {}).items()]
        return await asking.get(path, headers=said)


# --------------------------------------------------------------------------- who may ask


@pytest.mark.parametrize("client", [LOOPBACK, REMOTE])
async def test_anyone_may_ask_whether_we_live(client: tuple[str, int]) -> None:
    answer = await ask("/healthz", client)
    assert (answer.status_code, answer.json()) == (200, {"state": "alive"})


@pytest.mark.parametrize("path", GUARDED)
@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1"])
async def test_this_machine_may_ask(path: str, host: str) -> None:
    assert (await ask(path, (host, 1))).status_code == 200


@pytest.mark.parametrize("path", GUARDED)
@pytest.mark.parametrize("host", ["192.0.2.7", "2001:db8::7", "not an address", "127.0.0.1.example"])
async def test_elsewhere_nobody_may_ask_without_the_token(path: str, host: str) -> None:
    answer = await ask(path, (host, 1))
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "state" not in answer.json()


@pytest.mark.parametrize("path", GUARDED)
async def test_the_token_opens_from_anywhere(path: str) -> None:
    assert (await ask(path, REMOTE, {"Authorization": f"Bearer {TOKEN}"})).status_code == 200


@pytest.mark.parametrize(
    "said", ["Bearer", "Bearer ", "Bearer wrong", "Basic b3BlbjpzZXNhbWU=", "Bearer open sesam", "Bearer \u00fc"]
)
async def test_another_token_does_not_open(said: str) -> None:
    assert (await ask("/status", REMOTE, {"Authorization": said})).status_code == 401


@pytest.mark.parametrize("said", ["Bearer ", "Bearer None", ""])
async def test_without_a_token_in_the_settings_none_opens(said: str) -> None:
    assert (await ask("/status", REMOTE, {"Authorization": said}, token=None)).status_code == 401


@pytest.mark.parametrize("header", FORWARDING_HEADERS)
async def test_a_forwarded_request_is_not_from_this_machine(header: str) -> None:
    assert (await ask("/status", LOOPBACK, {header: "for=192.0.2.7"})).status_code == 401
    opened = {header: "for=192.0.2.7", "Authorization": f"Bearer {TOKEN}"}
    assert (await ask("/status", LOOPBACK, opened)).status_code == 200


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/api/v1/calls"])
async def test_there_is_nothing_else(path: str) -> None:
    assert (await ask(path, LOOPBACK)).status_code == 404


# --------------------------------------------------------------------------- what is answered


async def test_readiness_says_why_not() -> None:
    app = make_app(answers(hindrances=("the spool is full",)))
    transport = httpx2.ASGITransport(app=app, client=LOOPBACK)
    async with httpx2.AsyncClient(transport=transport, base_url="http://recorder") as asking:
        answer = await asking.get("/readyz")
    assert (answer.status_code, answer.json()) == (503, {"ready": False, "reasons": ["the spool is full"]})


async def test_the_status_is_what_its_own_schema_reads() -> None:
    answer = await ask("/status", LOOPBACK)
    assert Status.model_validate(answer.json()) == report()


async def test_metrics_are_in_prometheus_own_format() -> None:
    answer = await ask("/metrics", LOOPBACK)
    assert answer.headers["content-type"].startswith("text/plain")
    assert "recorder_ready 1.0" in answer.text


@pytest.mark.parametrize(
    ("hindrances", "warnings", "expected"),
    [
        ([], [], (State.OK, [])),
        ([], ["a prompt is missing"], (State.DEGRADED, ["a prompt is missing"])),
        (["no PBX"], ["a prompt is missing"], (State.UNREADY, ["no PBX", "a prompt is missing"])),
    ],
)
def test_the_state_is_the_gravest(
    hindrances: list[str], warnings: list[str], expected: tuple[State, list[str]]
) -> None:
    assert state_of(Seen(hindrances=hindrances, warnings=warnings)) == expected


# --------------------------------------------------------------------------- `recorder status`, over a real socket


@pytest.fixture
async def served(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Cli]:
    """A command line beside a server that answers with the report that the test names."""
    server = HttpServer(make_app(answers(found=request.param)), "127.0.0.1", 0)
    running = asyncio.create_task(server.run())
    cli = Cli(tmp_path)
    cli.configure(bind=f"127.0.0.1:{server.port}")
    yield cli
    server.stop()
    await running


@pytest.mark.parametrize(
    ("served", "code"),
    [(report(), 0), (report(State.DEGRADED, ("a prompt is missing",)), 0), (report(State.UNREADY, ("no",)), 1)],
    indirect=["served"],
)
async def test_status_exits_1_where_nothing_can_be_captured(served: Cli, code: int) -> None:
    done = await asyncio.to_thread(served.process, "status", "--json")
    assert done.returncode == code
    assert Status.model_validate_json(done.stdout).calls[0].line == "support"


@pytest.mark.parametrize(
    "served", [report(State.UNREADY, ("Asterisk is not connected: refused",))], indirect=["served"]
)
async def test_status_tells_a_person_what_is_wrong_and_how_to_mend_it(served: Cli) -> None:
    shown = (await asyncio.to_thread(served.process, "status")).stdout
    for words in ("UNREADY:", "Asterisk is not connected: refused", "-> Is Asterisk running", "2 recorder_away", "42%"):
        assert words in shown


async def test_status_of_a_recorder_that_does_not_run_says_how_to_start_it(tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    cli.configure()
    done = await asyncio.to_thread(cli.run, "status")
    assert (done.returncode, done.stdout) == (1, "")
    assert "systemctl start recorder" in done.stderr
    told = json.loads((await asyncio.to_thread(cli.run, "status", "--json")).stdout)
    assert told["state"] == "unknown"


async def test_status_of_a_recorder_that_hangs_says_so_after_five_seconds(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        cli = Cli(tmp_path)
        cli.configure(bind=f"127.0.0.1:{deaf.getsockname()[1]}")
        done = await asyncio.to_thread(cli.run, "status")
    assert (done.returncode, done.stdout) == (1, "")
    assert "it hangs" in done.stderr


async def test_status_of_something_else_on_the_port_says_so(tmp_path: Path) -> None:
    async def hello(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
        writer.close()

    async with await asyncio.start_server(hello, "127.0.0.1", 0) as server:
        cli = Cli(tmp_path)
        cli.configure(bind=f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
        done = await asyncio.to_thread(cli.run, "status")
    assert (done.returncode, done.stdout) == (1, "")
    assert "[http] bind" in done.stderr


def test_a_report_of_another_version_is_not_guessed_at() -> None:
    with pytest.raises(StatusUnknown):
        status_from({"state": "ok", "mood": "good"})


def test_an_address_for_everyone_is_asked_on_loopback() -> None:
    assert {EVERYWHERE["0.0.0.0"], EVERYWHERE["::"]} == {"127.0.0.1", "::1"}


@pytest.mark.parametrize("served", [report()], indirect=["served"])
async def test_the_server_answers_on_a_real_socket_and_names_no_software(served: Cli) -> None:
    port = int(served.config.read_text().split("bind")[1].split(":")[1].split('"')[0])
    answer = await asyncio.to_thread(get, port, "/healthz")
    assert answer.status == 200
    assert answer.getheader("server") is None


def get(port: int, path: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        return answer
    finally:
        connection.close()


# --------------------------------------------------------------------------- connections that bring nothing


@pytest.fixture
async def bare(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[HttpServer]:
    """A server with little patience."""
    monkeypatch.setattr(http_server, "WHOLE_WITHIN", 0.3)
    monkeypatch.setattr(http_server, "CONNECTIONS_MOST", 3)
    server = HttpServer(make_app(answers()), "127.0.0.1", 0)
    running = asyncio.create_task(server.run())
    yield server
    server.stop()
    await running


@pytest.mark.parametrize(
    "half",
    [b"", b"GET /healthz HTTP/1.1\r\nHost: x\r\n", b"POST /sign-in HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nn"],
    ids=["nothing", "half a head", "half a body"],
)
async def test_a_connection_that_brings_no_whole_request_is_ended(bare: HttpServer, half: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", bare.port)
    writer.write(half)
    async with asyncio.timeout(5):
        assert b"200 OK" not in await _rest(reader)  # and it has ended
    writer.close()


async def test_who_comes_beyond_what_is_served_is_sent_away_and_the_others_are_answered(bare: HttpServer) -> None:
    opened = [await asyncio.open_connection("127.0.0.1", bare.port) for _ in range(5)]
    ended = 0
    for reader, writer in opened:
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        async with asyncio.timeout(5):
            ended += b"alive" not in await _rest(reader)
        writer.close()
    assert ended == 2


async def _rest(reader: asyncio.StreamReader) -> bytes:
    """What comes until the end, however that comes."""
    try:
        return await reader.read()
    except ConnectionError:
        return b""


# --------------------------------------------------------------------------- the documents


def documented(heading: str) -> list[str]:
    """The first column of the table below a heading of docs/operating.md."""
    text = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
    section = re.split(r"(?m)^#+ ", text.split(f"# {heading}\n", 1)[1])[0]
    return re.findall(r"(?m)^\| `([^`]+)` \|", section)


def fields_of(view: type[View], prefix: str = "") -> Iterator[str]:
    for name, field in view.model_fields.items():
        yield from _named(field.annotation, f"{prefix}{name}")


def _named(annotation: Any, name: str) -> Iterator[str]:
    inside = get_args(annotation)
    if isinstance(annotation, type) and not isinstance(annotation, GenericAlias) and issubclass(annotation, View):
        yield from fields_of(annotation, f"{name}.")
    elif get_origin(annotation) is list and inside[0] is not str:
        yield from fields_of(inside[0], f"{name}[].")
    elif get_origin(annotation) is dict and issubclass(inside[1], View):
        yield from fields_of(inside[1], f"{name}.NAME.")
    else:
        yield name


def metrics_made() -> Iterator[str]:
    """The metrics that the daemon makes, as Prometheus is shown them."""
    rooms = [ROOT / "recorder" / name for name in ("assembly.py", "figures.py")]
    for node in (node for room in rooms for node in ast.walk(ast.parse(room.read_text(encoding="utf-8")))):
        for key, value in zip(node.keys, node.values, strict=True) if isinstance(node, ast.Dict) else ():
            match key, value:
                case ast.Constant(value=str(name)), ast.Call(func=ast.Name(id="Figure"), keywords=keywords):
                    yield f"{name}_total" if any(word.arg == "counts" for word in keywords) else name


def test_every_field_of_the_status_is_documented_and_the_other_way_round() -> None:
    assert sorted(documented("Status")) == sorted(fields_of(Status))


def test_every_metric_is_documented_and_the_other_way_round() -> None:
    made = list(metrics_made())
    assert len(made) > 10
    assert sorted(documented("Metrics")) == sorted(made)


def whole_app() -> FastAPI:
    """With every route; what they would ask is not there."""
    nothing: Any = None
    door = Door(nothing, lambda: NOON)
    door.close()
    pages, exports = Pages(), Exports()
    return make_app(
        answers(),
        api_routes(door, nothing, nothing),
        finding_routes(door, nothing, nothing, None, exports),
        hearing_routes(door, nothing),
        log_routes(door, nothing, nothing, exports),
        page_routes(door, nothing, nothing, pages),
        searching_routes(door, nothing, pages, (), None, exports),
        browsing_routes(door, nothing, nothing, nothing, pages),
        own_routes(door, nothing, nothing),
        own_page_routes(door, nothing, pages, nothing),
        contest_routes(door, nothing, nothing),
        contest_page_routes(door, nothing, pages, nothing),
        comment_routes(door, nothing, nothing),
        comment_page_routes(door, nothing, nothing, pages, nothing),
        saved_routes(door, nothing),
        system_routes(door, pages, nothing),
        house_routes(door, pages, nothing),
        people_routes(door, nothing),
        people_page_routes(door, pages, nothing),
        counting_routes(door, pages, nothing, (), lambda: NOON),
    )


def routes_of(routes: Iterable[BaseRoute]) -> Iterator[APIRoute]:
    for route in routes:
        if isinstance(route, APIRoute):
            yield route
        else:
            yield from routes_of(route.original_router.routes)  # type: ignore[attr-defined]


def test_every_route_is_documented_and_the_other_way_round() -> None:
    assert set(documented("HTTP")) == {route.path for route in routes_of(whole_app().routes)}


MATRIX = {
    Who.ANYONE: [
        "GET /",
        "GET /healthz",
        "GET /language/{language}",
        "GET /sign-in",
        "GET /static/{name}",
        "POST /sign-in",
    ],
    Who.MONITOR: ["GET /metrics", "GET /readyz", "GET /status"],
    Who.SIGNED_IN: [
        "GET /api/v1/live",
        "GET /api/v1/live/changes",
        "GET /api/v1/live/{call}",
        "GET /api/v1/calls",
        "GET /api/v1/calls/export",
        "POST /api/v1/calls/export",
        "POST /api/v1/calls/search",
        "GET /api/v1/calls/{call}",
        "GET /api/v1/calls/{call}/proof",
        "GET /api/v1/figures",
        "GET /api/v1/listens",
        "GET /api/v1/listens/export",
        "GET /api/v1/listens/{listen}/audio",
        "GET /api/v1/listens/{listen}/waveform",
        "GET /api/v1/me",
        "GET /api/v1/openapi.json",
        "GET /api/v1/contests",
        "GET /api/v1/own/calls",
        "GET /api/v1/own/calls/{call}",
        "GET /api/v1/recordings/{recording}",
        "POST /api/v1/contests/{contest}/answer",
        "GET /api/v1/status",
        "GET /api/v1/users",
        "GET /api/v1/users/{name}",
        "POST /api/v1/users",
        "POST /api/v1/users/{name}/{deed}",
        "POST /api/v1/listens/{listen}/played",
        "POST /api/v1/own/calls/{call}/contests",
        "POST /api/v1/live/{call}/{act}",
        "POST /api/v1/live/{call}/override/{reason}",
        "POST /api/v1/recordings/{recording}/listens",
        "GET /api/v1/recordings/{recording}/comments",
        "POST /api/v1/recordings/{recording}/comments",
        "POST /api/v1/comments/{comment}/withdraw",
        "GET /api/v1/searches",
        "POST /api/v1/searches",
        "DELETE /api/v1/searches/{search}",
        "GET /api/v1/searches/{search}/calls",
    ],
    Who.IN_PERSON: [
        "GET /calls",
        "POST /calls",
        "GET /calls/export",
        "POST /calls/export",
        "GET /calls/{call}",
        "GET /calls/{call}/proof",
        "GET /figures",
        "GET /listening",
        "GET /own",
        "GET /own/{call}",
        "POST /own/{call}/contest",
        "GET /contests",
        "POST /contests/{contest}/answer",
        "POST /recordings/{recording}/listen",
        "POST /recordings/{recording}/comment",
        "POST /comments/{comment}/withdraw",
        "POST /searches",
        "GET /searches/{search}",
        "POST /searches/{search}/remove",
        "GET /live",
        "GET /live/changes",
        "POST /live/{call}/{act}",
        "GET /live/{call}/override/{reason}",
        "POST /live/{call}/override/{reason}",
        "GET /settings",
        "GET /system",
        "GET /users",
        "GET /users/{name}",
        "POST /users",
        "POST /users/{name}/{deed}",
    ],
    Who.CHANGING: ["GET /password", "POST /password", "POST /sign-out"],
}
"""Who may come to what. A new route stands here, or the next test fails."""


def rules_of(part: Dependant) -> Iterator[Rule]:
    for dependency in part.dependencies:
        if isinstance(dependency.call, Rule):
            yield dependency.call
        yield from rules_of(dependency)


def test_each_route_has_exactly_one_rule_and_is_for_whom_the_matrix_says() -> None:
    found: dict[Who, list[str]] = {who: [] for who in Who}
    for route in routes_of(whole_app().routes):
        (rule,) = rules_of(route.dependant)
        found[rule.who] += [f"{method} {route.path}" for method in (route.methods or set()) - {"HEAD"}]
    assert {who: sorted(routes) for who, routes in found.items()} == {
        who: sorted(routes) for who, routes in MATRIX.items()
    }


async def test_a_route_that_is_not_for_anyone_lets_nobody_in_who_shows_nothing() -> None:
    """From elsewhere, without a token or a session, whatever the path is."""
    transport = httpx2.ASGITransport(app=whole_app(), client=REMOTE)
    async with httpx2.AsyncClient(transport=transport, base_url="http://recorder") as asking:
        for who, routes in MATRIX.items():
            for method, path in (route.split() for route in routes if who is not Who.ANYONE):
                answer = await asking.request(
                    method,
                    path.format(
                        call=UUID(int=1),
                        act="pause",
                        reason="legal",
                        name="sam",
                        deed="disable",
                        listen=UUID(int=1),
                        recording=UUID(int=1),
                        contest=UUID(int=1),
                        comment=UUID(int=1),
                        search=UUID(int=1),
                    ),
                )
                sent_away = answer.status_code == 303 and answer.headers["location"] == "/sign-in"
                assert answer.status_code == 401 or sent_away, f"{method} {path}: {answer.status_code}"


def test_every_code_of_the_books_is_documented_and_the_other_way_round() -> None:
    assert documented("Books") == list(Code)
