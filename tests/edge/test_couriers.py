"""How alarms leave the house: to real programs, and over real sockets to a receiver that checks what it gets."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import ssl
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest

from recorder.alarms import AlarmKind, Notice, Occasion, fields, trial_notice
from recorder.couriers import WAITING_AT_MOST, Courier, Hook, NotDelivered, Webhook, signature
from tests.edge.centre import until
from tests.edge.test_commands import Cli
from tests.facts import NOON

pytestmark = pytest.mark.usefixtures("no_task_left")

KEY = b"between us"
TRIAL = trial_notice("pbx1", NOON)


def lost(times: int, alarm: int = 1) -> Notice:
    return replace(
        TRIAL, alarm=UUID(int=alarm), kind=AlarmKind.LOST, occasion=Occasion.RAISED, counts={"pbx_away": times}
    )


# --------------------------------------------------------------------------- a receiver


@dataclass(slots=True)
class Receiver:
    """Answers each POST with the next of `statuses`, then with 204; keeps what it got."""

    statuses: list[int] = field(default_factory=list)
    got: list[tuple[Mapping[str, str], bytes]] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/alarms"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
            self.got.append((headers, await reader.readexactly(int(headers["content-length"]))))
            status = self.statuses.pop(0) if self.statuses else 204
            where = f"Location: {self.url}\r\n" if 300 <= status < 400 else ""
            writer.write(f"HTTP/1.1 {status} So\r\n{where}Content-Length: 0\r\nConnection: close\r\n\r\n".encode())
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def kinds(self) -> list[dict[str, object]]:
        return [json.loads(body) for _, body in self.got]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    made = Receiver()
    async with await asyncio.start_server(made.serve, "127.0.0.1", 0) as server:
        made.port = server.sockets[0].getsockname()[1]
        yield made


def is_ours(key: bytes, headers: Mapping[str, str], body: bytes, now: float) -> bool:
    """As docs/operating.md tells a receiver to check."""
    timestamp = headers["recorder-timestamp"]
    right = "v1=" + hmac.new(key, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return abs(now - int(timestamp)) <= 300 and hmac.compare_digest(right, headers["recorder-signature"])


# --------------------------------------------------------------------------- the webhook


async def test_a_receiver_can_tell_that_it_was_us_and_nobody_else(receiver: Receiver) -> None:
    await Webhook(receiver.url, KEY, clock=lambda: 1_000_000.0).deliver(lost(3))
    ((headers, body),) = receiver.got
    assert json.loads(body) == fields(lost(3))
    assert headers["content-type"] == "application/json"
    assert is_ours(KEY, headers, body, 1_000_001)
    assert not is_ours(b"another", headers, body, 1_000_001)
    assert not is_ours(KEY, headers, body.replace(b"3", b"4"), 1_000_001)
    assert not is_ours(KEY, {**headers, "recorder-timestamp": "1000200"}, body, 1_000_201)
    assert not is_ours(KEY, headers, body, 1_000_400)  # an old one, sent again
    assert KEY.decode() not in str(headers)


def test_the_signature_is_the_documented_one() -> None:
    said = signature(b"key", "1700000000", b'{"a":1}')
    whole = subprocess.run(
        ["openssl", "dgst", "-sha256", "-hmac", "key", "-r"],
        input=b'1700000000.{"a":1}',
        capture_output=True,
        check=True,
    ).stdout
    assert said == f"v1={whole.split()[0].decode()}"


@pytest.mark.parametrize("status", [301, 308, 400, 401, 404, 429, 500, 503])
async def test_what_is_not_a_success_is_not_delivered_and_a_redirect_is_not_followed(
    receiver: Receiver, status: int
) -> None:
    receiver.statuses = [status]
    with pytest.raises(NotDelivered, match=str(status)):
        await Webhook(receiver.url, KEY).deliver(TRIAL)
    assert len(receiver.got) == 1


async def test_nobody_at_the_other_end_is_said_in_one_line() -> None:
    async with await asyncio.start_server(lambda *_: None, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
    with pytest.raises(NotDelivered) as raised:
        await Webhook(f"http://127.0.0.1:{port}/", KEY).deliver(TRIAL)
    assert "\n" not in str(raised.value)


async def test_a_receiver_that_hangs_is_given_up_in_time() -> None:
    held: list[asyncio.StreamWriter] = []
    async with await asyncio.start_server(lambda _, writer: held.append(writer), "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        with pytest.raises(NotDelivered, match="no answer within"):
            await Webhook(url, KEY, within=timedelta(seconds=0.5)).deliver(TRIAL)
        for writer in held:
            writer.close()


@pytest.fixture
def certificate(tmp_path: Path) -> ssl.SSLContext:
    """Signed by nobody whom the system trusts."""
    made = f"-keyout {tmp_path / 'key'} -out {tmp_path / 'cert'} -addext subjectAltName=DNS:localhost"
    asked = f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost {made}"
    subprocess.run(asked.split(), capture_output=True, check=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert", tmp_path / "key")
    return context


async def test_a_certificate_that_nobody_trusts_gets_no_notice(
    certificate: ssl.SSLContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver = Receiver()
    async with await asyncio.start_server(receiver.serve, "127.0.0.1", 0, ssl=certificate) as server:
        hook = Webhook(f"https://localhost:{server.sockets[0].getsockname()[1]}/", KEY)
        with pytest.raises(NotDelivered, match=r"(?i)certificate"):
            await hook.deliver(TRIAL)
        assert receiver.got == []
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert"))  # now the system trusts it
        await hook.deliver(TRIAL)
    assert len(receiver.got) == 1


# --------------------------------------------------------------------------- the hook


def program(tmp_path: Path, body: str) -> str:
    path = tmp_path / "hook"
    path.write_text(f"#!{sys.executable}\nimport os, sys, time, json, subprocess\n{body}\n", encoding="utf-8")
    path.chmod(0o700)
    return str(path)


async def test_a_hook_gets_the_notice_on_standard_input_its_arguments_as_they_stand_and_nothing_else_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECORDER_AMI__SECRET", "hunter2")
    kept = tmp_path / "kept.json"
    body = f"json.dump([json.load(sys.stdin), sys.argv[1:], dict(os.environ)], open({str(kept)!r}, 'w'))"
    await Hook([program(tmp_path, body), "$(id); `id`", "a b"], timedelta(seconds=20)).deliver(lost(2))
    told, arguments, environment = json.loads(kept.read_text("utf-8"))
    assert told == fields(lost(2))
    assert arguments == ["$(id); `id`", "a b"]
    assert environment["RECORDER_ALARM_KIND"] == "lost"
    assert environment["RECORDER_ALARM_URGENT"] == "0"
    assert "2 pbx_away" in environment["RECORDER_ALARM_TEXT"]
    assert {name for name in environment if name.startswith("RECORDER_") and "ALARM" not in name} == set()
    assert "hunter2" not in str(environment)


async def test_a_hook_that_fails_is_not_delivered_and_says_with_what(tmp_path: Path) -> None:
    with pytest.raises(NotDelivered, match="ended with 3"):
        await Hook([program(tmp_path, "sys.exit(3)")], timedelta(seconds=20)).deliver(TRIAL)


@pytest.mark.parametrize("what", ["missing", "not a program"])
async def test_a_hook_that_cannot_be_run_is_not_delivered(tmp_path: Path, what: str) -> None:
    path = tmp_path / "hook"
    if what != "missing":
        path.write_text("no program", encoding="utf-8")
        path.chmod(stat.S_IRUSR)
    with pytest.raises(NotDelivered, match="cannot be run"):
        await Hook([str(path)], timedelta(seconds=20)).deliver(TRIAL)


async def test_a_hook_that_reads_nothing_and_prints_much_is_delivered_all_the_same(tmp_path: Path) -> None:
    body = "os.close(0); print('x' * 1_000_000); sys.stderr.write('x' * 1_000_000)"
    await Hook([program(tmp_path, body)], timedelta(seconds=20)).deliver(TRIAL)


async def test_a_hook_that_does_not_end_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    child = tmp_path / "child"
    body = f"p = subprocess.Popen(['sleep', '600']); open({str(child)!r}, 'w').write(str(p.pid)); p.wait()"
    delivering = asyncio.create_task(Hook([program(tmp_path, body)], timedelta(seconds=3)).deliver(TRIAL))
    await until(lambda: child.exists() and child.read_text("utf-8"), "the hook's child")
    with pytest.raises(NotDelivered, match="did not end"):
        await delivering
    number = int(child.read_text("utf-8"))
    await until(lambda: not runs(number), "the child to be gone")


def runs(number: int) -> bool:
    """Whether the process lives; one that nobody has waited for does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{number}/status").read_text("utf-8")
    except OSError:
        return False


# --------------------------------------------------------------------------- the courier


class Route:
    """Fails so often, and keeps what it delivered."""

    name = "webhook"

    def __init__(self, failures: int = 0, attempts: int = 1000, refuses: Notice | None = None) -> None:
        self.attempts = attempts
        self.failures = failures
        self.refuses = refuses
        self.tried: list[Notice] = []
        self.delivered: list[Notice] = []
        self.at_try: Callable[[], None] = lambda: None

    async def deliver(self, notice: Notice) -> None:
        self.tried.append(notice)
        self.at_try()
        if self.failures or notice == self.refuses:
            self.failures = max(0, self.failures - 1)
            raise NotDelivered("no")
        self.delivered.append(notice)


class Carrying:
    """A courier at work, whose waits take no time and are kept."""

    def __init__(self, route: Route) -> None:
        self.route = route
        self.waits: list[float] = []
        self.told: list[Notice] = []
        self.courier = Courier(route, delivered=self._told, sleep=self._sleep)

    async def _sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        await asyncio.sleep(0)

    async def _told(self, notice: Notice) -> None:
        self.told.append(notice)

    async def until(self, true: Callable[[], object]) -> None:
        running = asyncio.create_task(self.courier.run())
        try:
            await until(true)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def test_a_notice_that_fails_is_tried_again_ever_later_and_never_in_step() -> None:
    carrying = Carrying(Route(failures=30))
    carrying.courier.put(lost(1))
    await carrying.until(lambda: carrying.told)
    assert carrying.route.delivered == [lost(1)]
    assert (carrying.courier.failed, carrying.courier.delivered, carrying.courier.waiting) == (30, 1, 0)
    assert len(carrying.waits) == 30
    assert 1 <= carrying.waits[0] <= 3
    assert max(carrying.waits) <= 300
    assert carrying.waits[20:] == [300] * 10
    again = Carrying(Route(failures=5))
    again.courier.put(lost(1))
    await again.until(lambda: again.told)
    assert again.waits != carrying.waits[:5]  # jitter


async def test_of_one_alarm_only_the_newest_notice_is_told() -> None:
    route = Route(failures=3)
    carrying = Carrying(route)
    route.at_try = lambda: carrying.courier.put(lost(9)) if len(route.tried) == 2 else None
    carrying.courier.put(lost(1))
    await carrying.until(lambda: carrying.courier.delivered)
    assert route.tried == [lost(1), lost(1), lost(9), lost(9)]
    assert carrying.courier.waiting == 0


async def test_a_newer_notice_that_comes_while_one_is_being_delivered_is_told_as_well() -> None:
    route = Route()
    carrying = Carrying(route)
    route.at_try = lambda: carrying.courier.put(lost(2)) if len(route.tried) == 1 else None
    carrying.courier.put(lost(1))
    await carrying.until(lambda: len(route.delivered) == 2)
    assert route.delivered == [lost(1), lost(2)]


async def test_a_notice_that_is_refused_holds_up_no_other() -> None:
    route = Route(refuses=lost(1, alarm=1))
    carrying = Carrying(route)
    for number in (1, 2, 3):
        carrying.courier.put(lost(1, alarm=number))
    await carrying.until(lambda: len(route.tried) >= 5)
    assert carrying.told == [lost(1, alarm=2), lost(1, alarm=3)]
    assert route.tried[:5] == [lost(1, alarm=number) for number in (1, 2, 3, 1, 1)]


async def test_a_new_notice_waits_for_no_other_that_is_to_be_tried_again() -> None:
    route = Route(refuses=lost(1, alarm=1))
    carrying = Carrying(route)
    carrying.courier = Courier(route, delivered=carrying._told)  # its waits are by the clock, a second at least
    carrying.courier.put(lost(1, alarm=1))
    await carrying.until(lambda: route.tried)
    assert carrying.courier.waiting == 1
    carrying.courier.put(lost(1, alarm=2))
    await carrying.until(lambda: carrying.told)
    assert route.tried == [lost(1, alarm=1), lost(1, alarm=2)]


async def test_a_route_that_may_not_be_tried_again_is_tried_once() -> None:
    route = Route(failures=1, attempts=1)
    carrying = Carrying(route)
    carrying.courier.put(lost(1, alarm=1))
    carrying.courier.put(lost(2, alarm=2))
    await carrying.until(lambda: carrying.told)
    assert route.tried == [lost(1, alarm=1), lost(2, alarm=2)]
    assert carrying.told == [lost(2, alarm=2)]


async def test_more_alarms_than_may_wait_push_out_the_oldest_and_are_counted() -> None:
    carrying = Carrying(Route())
    for number in range(WAITING_AT_MOST + 3):
        carrying.courier.put(lost(1, alarm=number))
    assert (carrying.courier.waiting, carrying.courier.failed) == (WAITING_AT_MOST, 3)
    await carrying.until(lambda: carrying.courier.waiting == 0)
    assert carrying.route.delivered[0].alarm == UUID(int=3)


# --------------------------------------------------------------------------- `recorder alarm test`


def configured(tmp_path: Path, text: str) -> Cli:
    cli = Cli(tmp_path)
    cli.configure()
    with cli.config.open("a", encoding="utf-8") as config:
        config.write(f"\n[alarm]\n{text}\n")
    return cli


async def test_the_trial_reaches_both_and_says_so(tmp_path: Path, receiver: Receiver) -> None:
    kept = tmp_path / "kept"
    path = program(tmp_path, f"open({str(kept)!r}, 'w').write(os.environ['RECORDER_ALARM_KIND'])")
    cli = configured(tmp_path, f'hook = ["{path}"]\nwebhook = "{receiver.url}"\nsecret = "{KEY.decode()}"')
    done = await asyncio.to_thread(cli.process, "alarm", "test", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [
        {"route": "hook", "delivered": True, "why": None},
        {"route": "webhook", "delivered": True, "why": None},
    ]
    assert kept.read_text("utf-8") == "test"
    assert [told["kind"] for told in receiver.kinds()] == ["test"]


async def test_a_trial_that_fails_says_which_and_why_and_exits_1(tmp_path: Path, receiver: Receiver) -> None:
    receiver.statuses = [401]
    cli = configured(tmp_path, f'hook = ["/no/such"]\nwebhook = "{receiver.url}"\nsecret = "{KEY.decode()}"')
    done = await asyncio.to_thread(cli.process, "alarm", "test")
    assert done.returncode == 1
    assert "hook     NOT delivered: /no/such cannot be run" in done.stdout
    assert "webhook  NOT delivered: the receiver answered 401" in done.stdout


async def test_a_trial_without_anybody_to_tell_says_what_to_set(tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    cli.configure()
    done = await asyncio.to_thread(cli.process, "alarm", "test")
    assert (done.returncode, "[alarm]" in done.stderr) == (1, True)
