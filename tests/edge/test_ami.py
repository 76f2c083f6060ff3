"""The session with the PBX over a real socket: log in, ask, stay awake, lose it, come back."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from recorder.ami import (
    Ami,
    AmiAddress,
    AmiDown,
    AmiLimits,
    AmiRefused,
    AmiTimeout,
    AmiUnsendable,
    PbxFacts,
)
from recorder.ami.session import backoff
from recorder.ami.wire import FRAME_LIMIT
from recorder.model import PbxEvent
from tests.edge.ami_cast import AGENT, BANNER, BRIDGE, CALLER, NOW, hangup, numbers, shown
from tests.fakes.pbx import Action, FakeChannel, FakePbx, event, frame, listing, response


class Gate:
    """Stands where the product would wait before it tries again: tells for how long, and waits until let through."""

    def __init__(self) -> None:
        self.asked: asyncio.Queue[float] = asyncio.Queue()
        self._passes = asyncio.Semaphore(0)

    async def __call__(self, seconds: float) -> None:
        self.asked.put_nowait(seconds)
        await self._passes.acquire()

    async def pass_one(self) -> float:
        """How long it would have waited."""
        async with asyncio.timeout(10):
            seconds = await self.asked.get()
        self._passes.release()
        return seconds


@dataclass
class Probe:
    """An Ami and all it told."""

    ami: Ami
    events: asyncio.Queue[PbxEvent] = field(default_factory=asyncio.Queue)
    ups: asyncio.Queue[PbxFacts] = field(default_factory=asyncio.Queue)
    downs: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    gate: Gate = field(default_factory=Gate)

    async def up(self) -> PbxFacts:
        async with asyncio.timeout(10):
            return await self.ups.get()

    async def down(self) -> str:
        async with asyncio.timeout(10):
            return await self.downs.get()

    async def hangups(self, count: int) -> list[int]:
        async with asyncio.timeout(10):
            return numbers([await self.events.get() for _ in range(count)])


@asynccontextmanager
async def probing(
    pbx: FakePbx,
    *,
    secret: str | None = None,
    host: str = "",
    tls: bool = False,
    tls_ca: Path | None = None,
    **options: Any,
) -> AsyncIterator[Probe]:
    address = AmiAddress(
        host=host or pbx.host,
        port=pbx.port,
        username=pbx.username,
        secret=secret or pbx.secret,
        tls=tls,
        tls_ca=tls_ca,
    )
    events: asyncio.Queue[PbxEvent] = asyncio.Queue()
    ups: asyncio.Queue[PbxFacts] = asyncio.Queue()
    downs: asyncio.Queue[str] = asyncio.Queue()
    gate = Gate()
    usual: dict[str, Any] = {"deliver": events.put_nowait, "pause": gate, "spread": lambda: 1.0}
    ami = Ami(address, connected=ups.put_nowait, disconnected=downs.put_nowait, **usual | options)
    async with ami:
        yield Probe(ami, events, ups, downs, gate)


@pytest.fixture
async def pbx() -> AsyncIterator[FakePbx]:
    async with FakePbx() as fake:
        yield fake


@pytest.fixture
async def probe(pbx: FakePbx) -> AsyncIterator[Probe]:
    async with probing(pbx) as connected:
        await connected.up()
        yield connected


def milliseconds(number: int) -> timedelta:
    return timedelta(milliseconds=number)


@pytest.mark.parametrize(("attempt", "seconds"), [(0, 0.25), (1, 0.5), (2, 1.0), (4, 4.0), (5, 5.0), (10_000, 5.0)])
def test_the_back_off_doubles_up_to_its_longest_and_jitter_at_most_halves_it(attempt: int, seconds: float) -> None:
    assert backoff(attempt, AmiLimits(), 1.0) == seconds
    assert backoff(attempt, AmiLimits(), 0.0) == seconds / 2


async def test_a_burst_of_five_thousand_events_keeps_its_order_and_makes_no_task(pbx: FakePbx, probe: Probe) -> None:
    tasks = len(asyncio.all_tasks())
    pbx.say(b"".join(hangup(number) for number in range(5_000)))
    assert await probe.hangups(5_000) == list(range(5_000))
    assert len(asyncio.all_tasks()) == tasks
    assert probe.ami.counters.events == 5_000


async def test_a_callback_that_fails_does_not_cost_the_connection(pbx: FakePbx) -> None:
    def always_full(_: PbxEvent) -> None:
        raise asyncio.QueueFull

    async with probing(pbx, deliver=always_full) as probe:
        await probe.up()
        pbx.say(b"".join(hangup(number) for number in range(10)))
        await probe.ami.ping()
        assert probe.ami.counters.callback_errors == 10
        assert probe.ami.state.connected
    assert pbx.accepted == 1


@pytest.mark.parametrize(
    "message", ["Originate successfully queued", "Added interface to queue", "Command output will follow"]
)
async def test_an_answer_that_only_sounds_like_a_list_is_complete(pbx: FakePbx, probe: Probe, message: str) -> None:
    pbx.answers["Setvar"] = lambda action: response(action, "Success", message)
    await probe.ami.setvar("x", "RECORDER_NOTE", "1")


async def test_an_error_to_who_asked_for_a_list_is_told(pbx: FakePbx, probe: Probe) -> None:
    pbx.answers["Status"] = lambda action: response(action, "Error", "Permission denied")
    with pytest.raises(AmiRefused, match="Permission denied"):
        await probe.ami.channels()


async def test_a_list_that_asterisk_cancels_is_refused(pbx: FakePbx, probe: Probe) -> None:
    def cancelled(action: Action) -> bytes:
        start = response(action, "Success", None, ("EventList", "start"))
        token = ("ActionID", action["ActionID"])
        return start + frame(("Event", "StatusComplete"), token, ("EventList", "Cancelled"))

    pbx.answers["Status"] = cancelled
    with pytest.raises(AmiRefused):
        await probe.ami.channels()


async def test_an_item_whose_name_ends_in_complete_does_not_end_its_list(pbx: FakePbx, probe: Probe) -> None:
    items = [("AgentComplete", shown(AGENT)), ("Status", shown(CALLER))]
    pbx.answers["Status"] = lambda action: listing(action, items, "StatusComplete")
    assert [one.channel for one in await probe.ami.channels()] == [CALLER]


async def test_a_list_mixed_with_events_gives_each_what_is_theirs(pbx: FakePbx, probe: Probe) -> None:
    def mixed(action: Action) -> bytes:
        whole = listing(action, [("Status", shown(CALLER)), ("Status", shown(AGENT))], "StatusComplete")
        return b"".join(
            part + b"\r\n\r\n" + hangup(number) for number, part in enumerate(whole.split(b"\r\n\r\n")[:-1])
        )

    pbx.answers["Status"] = mixed
    assert [one.channel for one in await probe.ami.channels()] == [CALLER, AGENT]
    assert await probe.hangups(4) == [0, 1, 2, 3]


async def test_members_of_a_bridge_and_queues_are_read(pbx: FakePbx, probe: Probe) -> None:
    pbx.channels = [
        FakeChannel(name=one.name, uniqueid=one.uniqueid, linkedid=one.linkedid, bridge=BRIDGE)
        for one in (CALLER, AGENT)
    ]
    assert await probe.ami.bridge_members(BRIDGE) == [CALLER, AGENT]
    assert {one.bridge for one in await probe.ami.channels()} == {BRIDGE}
    status = await probe.ami.queue_status()
    assert [(one.queue, one.channel, one.waited) for one in status.callers] == [
        ("support", "PJSIP/caller-00000001", timedelta(seconds=7))
    ]
    assert [(one.interface, one.paused, one.in_call) for one in status.members] == [
        ("Local/agent@agents/n", False, False)
    ]


async def test_stop_and_silence_name_the_channel_the_id_and_both_directions(pbx: FakePbx, probe: Probe) -> None:
    name = await pbx.start_channel()
    await probe.ami.stop_mixmonitor(name, "0x7f00")
    await probe.ami.mute_mixmonitor(name, "0x7f00", muted=True)
    await probe.ami.mute_mixmonitor(name, "0x7f00", muted=False)
    (stop,) = pbx.received("StopMixMonitor")
    assert (stop["Channel"], stop["MixMonitorID"]) == (name, "0x7f00")
    assert [(one["Direction"], one["State"], one["MixMonitorID"]) for one in pbx.received("MixMonitorMute")] == [
        ("both", "1", "0x7f00"),
        ("both", "0", "0x7f00"),
    ]


async def test_an_action_on_no_named_channel_is_never_sent(pbx: FakePbx, probe: Probe) -> None:
    with pytest.raises(AmiUnsendable):
        await probe.ami.setvar("", "RECORDER_NOTE", "global")
    with pytest.raises(AmiUnsendable):
        await probe.ami.stop_mixmonitor("x", "")
    await probe.ami.ping()
    assert pbx.received("Setvar") == pbx.received("StopMixMonitor") == []


async def test_an_unanswered_action_ends_in_time_and_its_late_answer_disturbs_nobody(pbx: FakePbx) -> None:
    async with probing(pbx, limits=AmiLimits(action=milliseconds(200))) as probe:
        await probe.up()
        pbx.answers["Getvar"] = lambda _: None
        async with asyncio.timeout(5):
            for _ in range(3):
                with pytest.raises(AmiTimeout):
                    await probe.ami.getvar("x", "RECORDER_NOTE")
        for late in pbx.received("Getvar"):
            pbx.say(response(late, "Success", None, ("Value", "late")))
        del pbx.answers["Getvar"]
        await pbx.start_channel()
        assert await probe.ami.getvar(pbx.channels[0].name, "RECORDER_NOTE") is None
        assert probe.ami.counters.unmatched == 3


async def test_an_action_before_the_first_connection_says_so(pbx: FakePbx) -> None:
    await pbx.stop()
    async with probing(pbx) as probe:
        with pytest.raises(AmiDown):
            await probe.ami.ping()


async def test_an_action_unanswered_at_a_cut_fails_and_is_never_sent_again(pbx: FakePbx, probe: Probe) -> None:
    pbx.answers["Setvar"] = lambda _: None
    asking = asyncio.create_task(probe.ami.setvar("x", "RECORDER_NOTE", "1"))
    await pbx.until_received("Setvar")
    pbx.cut()
    with pytest.raises(AmiDown):
        await asking
    await probe.gate.pass_one()
    await probe.up()
    await probe.ami.ping()
    assert len(pbx.received("Setvar")) == 1


async def test_a_frozen_pbx_is_noticed_by_its_pings_and_left(pbx: FakePbx) -> None:
    limits = AmiLimits(ping_every=milliseconds(30), action=milliseconds(300), login=milliseconds(300))
    async with probing(pbx, limits=limits) as probe:
        await probe.up()
        pbx.freeze()
        assert await probe.down() == "ami_down: 3 pings unanswered"
        assert probe.ami.counters.late_pings >= 2
        assert not probe.ami.state.connected
        pbx.thaw()
        await probe.gate.pass_one()
        await probe.up()


async def test_a_pbx_that_answers_its_pings_is_kept(pbx: FakePbx) -> None:
    async with probing(pbx, limits=AmiLimits(ping_every=milliseconds(20))) as probe:
        await probe.up()
        await pbx.until_received("Ping", 10)
        assert probe.ami.state.connected
    assert pbx.accepted == 1


async def test_a_pbx_that_is_late_with_its_pongs_and_tells_of_events_is_kept_for_longer(pbx: FakePbx) -> None:
    async with probing(pbx, limits=AmiLimits(ping_every=milliseconds(100))) as probe:
        await probe.up()
        pbx.answers["Ping"] = lambda _: None
        for _ in range(20):
            pbx.say(event("Hold", *FakeChannel(name="PJSIP/a-1", uniqueid="1.1", linkedid="1.1").headers()))
            await asyncio.sleep(0.03)
        assert probe.ami.state.connected
        telling = asyncio.create_task(_tell_for_ever(pbx))
        assert await probe.down() == "ami_down: 10 pings unanswered"
        telling.cancel()


async def _tell_for_ever(pbx: FakePbx) -> None:
    while True:
        pbx.say(event("Hold", *FakeChannel(name="PJSIP/a-1", uniqueid="1.1", linkedid="1.1").headers()))
        await asyncio.sleep(0.03)


async def test_a_ping_goes_out_again_though_the_last_is_unanswered(pbx: FakePbx) -> None:
    limits = AmiLimits(ping_every=milliseconds(20), pings_unanswered=1_000, pings_in_vain=1_000)
    async with probing(pbx, limits=limits) as probe:
        await probe.up()
        pbx.answers["Ping"] = lambda _: None
        await pbx.until_received("Ping", 5)
        assert probe.ami.state.connected


async def test_a_cut_connection_comes_back_once_and_events_flow_again(pbx: FakePbx, probe: Probe) -> None:
    pbx.cut()
    reason = await probe.down()
    assert reason.startswith("ami_down: ")
    assert not probe.ami.state.connected
    with pytest.raises(AmiDown, match=reason.partition("(")[0]):
        await probe.ami.ping()
    await probe.gate.pass_one()
    await probe.up()
    pbx.say(hangup(5))
    assert await probe.hangups(1) == [5]
    assert (pbx.accepted, pbx.logins) == (2, 2)
    assert (probe.ami.counters.connections, probe.ami.counters.reconnects) == (2, 1)


async def test_a_pbx_that_is_away_is_tried_by_one_chain_with_growing_pauses(pbx: FakePbx, probe: Probe) -> None:
    await pbx.stop()
    pauses = [await probe.gate.pass_one() for _ in range(4)]
    assert pauses == [0.25, 0.5, 1.0, 2.0]
    await pbx.start_again()
    await probe.gate.pass_one()
    await probe.up()
    await probe.ami.ping()
    assert (pbx.accepted, pbx.logins, probe.gate.asked.qsize()) == (2, 2, 0)


async def test_a_connection_that_keeps_breaking_backs_off_and_one_that_held_starts_anew(pbx: FakePbx) -> None:
    now = [NOW]
    async with probing(pbx, clock=lambda: now[0]) as probe:
        pauses = []
        for held in (0, 0, 0, 11, 0):
            await probe.up()
            now[0] += timedelta(seconds=held)
            pbx.cut()
            pauses.append(await probe.gate.pass_one())
        assert pauses == [0.25, 0.5, 1.0, 0.25, 0.5]


async def test_an_outage_is_told_once_for_each_reason(pbx: FakePbx, probe: Probe) -> None:
    await pbx.stop()
    for _ in range(4):
        await probe.gate.pass_one()
    first, second = await probe.down(), await probe.down()
    assert first.startswith("ami_down: ")
    assert second.startswith("ConnectionRefusedError: ")
    assert probe.downs.empty()
    assert probe.ami.state.reason == second


async def test_a_refused_login_waits_the_longest_pause_at_once_and_is_told(pbx: FakePbx) -> None:
    async with probing(pbx, secret="wrong") as probe:
        assert await probe.down() == "ami_login_refused: Authentication failed"
        assert [await probe.gate.pass_one(), await probe.gate.pass_one()] == [30.0, 30.0]
        assert probe.ups.empty()


async def test_a_pbx_that_shuts_down_while_we_log_in_is_not_a_refusal(pbx: FakePbx) -> None:
    pbx.answers["Login"] = lambda action: response(action, "Error", "Asterisk is shutting down")
    async with probing(pbx) as probe:
        assert await probe.gate.pass_one() == 0.25


async def test_a_login_that_is_never_answered_is_given_up(pbx: FakePbx) -> None:
    pbx.answers["Login"] = lambda _: None
    async with probing(pbx, limits=AmiLimits(login=milliseconds(100))) as probe:
        assert await probe.down() == "ami_timeout: Login unanswered"
        del pbx.answers["Login"]
        await probe.gate.pass_one()
        await probe.up()


async def test_a_connect_that_never_ends_is_given_up(pbx: FakePbx) -> None:
    pbx.banner = b""
    async with probing(pbx, tls=True, limits=AmiLimits(connect=milliseconds(100))) as probe:
        assert await probe.down() == "ami_timeout: connect unanswered"


async def test_an_impossible_host_name_is_told_and_tried_again(pbx: FakePbx) -> None:
    async with probing(pbx, host="x" * 64 + ".example") as probe:
        assert (await probe.down()).startswith(("UnicodeError: ", "UnicodeEncodeError: "))
        assert [await probe.gate.pass_one(), await probe.gate.pass_one()] == [0.25, 0.5]


@pytest.mark.usefixtures("probe")
async def test_the_secret_itself_never_crosses_a_connection_in_the_clear(pbx: FakePbx) -> None:
    (login,) = pbx.received("Login")
    assert "Secret" not in login
    assert login["AuthType"] == "MD5"
    assert login["Events"] == "on"


async def test_a_refused_challenge_does_not_talk_us_into_plain_text(pbx: FakePbx) -> None:
    pbx.answers["Challenge"] = lambda action: response(action, "Error", "Must specify AuthType")
    async with probing(pbx) as probe:
        await probe.down()
        assert pbx.received("Login") == []


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate for 127.0.0.1 that vouches for itself, in one file."""
    made = tmp_path_factory.mktemp("tls") / "pbx.pem"
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "-", "-out", "-"]
    name = ["-days", "2", "-subj", "/CN=pbx", "-addext", "subjectAltName=IP:127.0.0.1"]
    pem = subprocess.run(["openssl", "req", "-x509", *key, *name], check=True, capture_output=True)
    made.write_bytes(pem.stdout)
    return made


@pytest.fixture
async def tls_pbx(certificate: Path) -> AsyncIterator[FakePbx]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    async with FakePbx(context) as fake:
        yield fake


async def test_over_tls_the_login_goes_out_once_the_certificate_is_proved(tls_pbx: FakePbx, certificate: Path) -> None:
    async with probing(tls_pbx, tls=True, tls_ca=certificate) as probe:
        await probe.up()
        tls_pbx.say(hangup(1))
        assert await probe.hangups(1) == [1]
    assert [login["Secret"] for login in tls_pbx.received("Login")] == [tls_pbx.secret]


async def test_a_certificate_that_nobody_vouches_for_gets_no_secret(tls_pbx: FakePbx) -> None:
    async with probing(tls_pbx, tls=True) as probe:
        assert (await probe.down()).startswith("SSLCertVerificationError: ")
    assert tls_pbx.actions == []


async def test_a_close_ends_the_owners_task_and_not_its_group(pbx: FakePbx) -> None:
    up = asyncio.Event()
    address = AmiAddress(host=pbx.host, port=pbx.port, username=pbx.username, secret=pbx.secret)
    ami = Ami(address, lambda _: None, connected=lambda _: up.set())
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        running = group.create_task(ami.run())
        await up.wait()
        await ami.close()
    assert running.cancelled()


async def test_closing_ends_the_retries_for_good(pbx: FakePbx, probe: Probe) -> None:
    pbx.cut()
    await probe.down()
    await probe.ami.close()
    assert [task for task in asyncio.all_tasks() if task.get_name() == "ami"] == []
    with pytest.raises(AmiDown):
        await probe.ami.ping()
    assert pbx.accepted == 1


async def test_closing_tells_that_the_connection_is_down(probe: Probe) -> None:
    await probe.ami.close()
    assert await probe.down() == "ami_down: closed by us"
    assert not probe.ami.state.connected


async def test_a_shutdown_event_ends_the_connection_with_its_reason(pbx: FakePbx, probe: Probe) -> None:
    pbx.say(event("Shutdown", ("Shutdown", "Cleanly"), ("Restart", "False"), privilege="system,all"))
    assert await probe.down() == "ami_down: Asterisk is shutting down"


async def test_an_endless_frame_ends_the_connection_and_not_the_daemon(pbx: FakePbx, probe: Probe) -> None:
    pbx.say(b"x" * (FRAME_LIMIT * 2))
    assert await probe.down() == "ami_down: oversized frame"
    await probe.gate.pass_one()
    await probe.up()


async def test_half_a_frame_at_a_cut_does_not_leak_into_the_next_connection(pbx: FakePbx, probe: Probe) -> None:
    pbx.say(hangup(1) + hangup(2)[:60])
    assert await probe.hangups(1) == [1]
    pbx.cut()
    await probe.gate.pass_one()
    await probe.up()
    pbx.say(hangup(3))
    assert await probe.hangups(1) == [3]
    assert probe.ami.counters.malformed == 0


async def test_a_restarted_asterisk_is_told_from_a_mere_cut(pbx: FakePbx, probe: Probe) -> None:
    pbx.cut()
    await probe.gate.pass_one()
    assert not (await probe.up()).restarted
    pbx.started = ("2026-11-21", "08:00:07")
    pbx.cut()
    await probe.gate.pass_one()
    facts = await probe.up()
    assert facts.restarted
    assert probe.ami.state.facts == facts


async def test_an_account_that_may_not_report_connects_without_those_facts(pbx: FakePbx) -> None:
    pbx.answers["CoreStatus"] = lambda action: response(action, "Error", "Permission denied")
    async with probing(pbx) as probe:
        facts = await probe.up()
        assert (facts.core, facts.banner, facts.restarted) == (None, "11.0.0", False)


async def test_events_flow_before_the_owner_is_told_so_that_a_snapshot_misses_none(pbx: FakePbx) -> None:
    def slow_status(action: Action) -> bytes:
        return hangup(1) + response(action, "Success", None, ("CoreStartupDate", "d"), ("CoreStartupTime", "t"))

    pbx.answers["CoreStatus"] = slow_status
    order: list[str] = []
    told = asyncio.Event()

    def connected(_: PbxFacts) -> None:
        order.append("connected")
        told.set()

    address = AmiAddress(host=pbx.host, port=pbx.port, username=pbx.username, secret=pbx.secret)
    async with Ami(address, lambda _: order.append("event"), connected=connected) as ami:
        async with asyncio.timeout(10):
            await told.wait()
        assert order == ["event", "connected"]
        assert await ami.channels() == []


async def test_the_owner_may_listen_to_the_bytes_as_they_were_read(pbx: FakePbx) -> None:
    heard = bytearray()
    async with probing(pbx, tap=heard.extend) as probe:
        await probe.up()
        pbx.say(hangup(1))
        await probe.hangups(1)
    assert heard.startswith(BANNER)
    assert hangup(1) in heard


async def test_no_log_line_holds_the_secret_or_a_number(pbx: FakePbx) -> None:
    def always_full(_: PbxEvent) -> None:
        raise asyncio.QueueFull

    with capture_logs() as lines:
        async with probing(pbx, deliver=always_full) as probe:
            await probe.up()
            number = b"CallerIDNum: 18005550100"
            pbx.say(
                (hangup(1) + b"Event: Hangup\r\n" + number + b"\r\n\r\n").replace(b"CallerIDNum: <unknown>", number)
            )
            await probe.ami.ping()
            pbx.secret = "another"
            pbx.cut()
            await probe.gate.pass_one()
            await probe.down()
            await probe.down()
    said = repr(lines)
    assert [line["event"] for line in lines] == [
        "pbx_connected",
        "ami_callback_failed",
        "ami_frame_malformed",
        "pbx_disconnected",
        "pbx_disconnected",
    ]
    assert "18005550100" not in said
    assert "correct horse" not in said
    assert "correct horse" not in repr(AmiAddress(host="h", port=1, username="u", secret="correct horse"))
