"""The AGI port: what a peer may do to it, and what a caller meets on a channel of the fake PBX."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from asterisk.agi import AGIHangup, AGIUsageError

from recorder.consent import Answer, dialogue
from recorder.consent_ivr import (
    Admission,
    AgiConnection,
    BridgeAGI,
    ConsentIvr,
    HandedOver,
    HeldChannel,
    OpenChannel,
    Visit,
)
from recorder.model import CallId, Channel, ConsentMode, ConsentState, Direction, LostReason, Prompt, PromptKind
from recorder.policy import LineRules
from tests.facts import QUESTION
from tests.fakes.agi import DEAD, FAILED, USAGE, FakeAgi, environment

pytestmark = pytest.mark.usefixtures("no_task_left")

RULES = LineRules(name="support", mode=ConsentMode.OPT_IN, answer=timedelta(seconds=4), retries=1)
MIXMONITOR = ",br(/spool/x-caller.wav)t(/spool/x-agent.wav)i(RECORDER_ID)"


SHORTENED = 'SET VARIABLE "TIMEOUT(absolute)" "3"'
"""What is sent with the answer: from now on there are three seconds."""


class Desk:
    """The daemon's side as the dialogue sees it: admits everybody, remembers everything."""

    def __init__(self) -> None:
        self.visits: list[Visit] = []
        self.busy: list[Visit] = []
        self.keys: list[Visit] = []
        self.consultations: list[Visit] = []
        self.prompts: list[int] = []
        self.answers: list[Answer] = []
        self.cut_off: list[CallId] = []
        self.admits = True
        self.concluding: Callable[[OpenChannel], Awaitable[object]] | None = None
        self.mixmonitor: object = None
        self.changed = asyncio.Condition()

    async def admit_incoming(self, visit: Visit) -> Admission | None:
        self.visits.append(visit)
        if not self.admits:
            return None
        talk = dialogue(RULES, {(PromptKind.QUESTION, "en"): QUESTION}, visit.language)
        return Admission(call=CallId(uuid4()), dialogue=talk)

    async def admit_outgoing(self, visit: Visit) -> Admission | None:
        return await self.admit_incoming(visit)

    async def refuse_busy(self, visit: Visit) -> None:
        self.busy.append(visit)

    def played(self, call: CallId, channel: Channel, prompt: Prompt, played_ms: int) -> None:  # noqa: ARG002
        self.prompts.append(played_ms)

    def ended(self, call: CallId) -> None:
        self.cut_off.append(call)

    def announcement(self, call: CallId) -> dict[str, str]:  # noqa: ARG002
        return {}

    async def consulted(self, visit: Visit, lent: OpenChannel) -> dict[str, str]:
        self.consultations.append(visit)
        self.mixmonitor = await lent.mixmonitor(MIXMONITOR)
        return {"RECORDER_ANNOUNCE": "/prompts/recorded", "RECORDER_RESULT": "given"}

    async def conclude(self, call: CallId, channel: Channel, answer: Answer, lent: OpenChannel) -> str:  # noqa: ARG002
        self.answers.append(answer)
        if self.concluding is not None:
            self.mixmonitor = await self.concluding(lent)
        return answer.failed or answer.consent

    async def key(self, visit: Visit, lent: OpenChannel) -> None:
        self.keys.append(visit)
        self.mixmonitor = await lent.mixmonitor(MIXMONITOR)


async def opened(desk: Desk, closing: AsyncExitStack, **settings: Any) -> ConsentIvr:
    defaults: dict[str, Any] = {"host": "127.0.0.1", "port": 0, "peers": frozenset({"127.0.0.1"}), "dialogues": 50}
    ivr = ConsentIvr(desk, **defaults | settings)
    await ivr.open()
    await ivr.serve()
    closing.push_async_callback(ivr.close)
    return ivr


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
async def closing() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
async def ivr(desk: Desk, closing: AsyncExitStack) -> ConsentIvr:
    return await opened(desk, closing)


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.005)


async def agrees(ivr: ConsentIvr) -> FakeAgi:
    """A whole healthy dialogue, to its end."""
    async with FakeAgi(ivr.port) as caller:
        await caller.until_over()
    assert caller.variables["RECORDER_RESULT"] == "given"
    return caller


# --------------------------------------------------------------------------- a dialogue


async def test_a_caller_who_presses_the_accept_key_has_given_consent(ivr: ConsentIvr, desk: Desk) -> None:
    caller = await agrees(ivr)
    assert caller.received("STREAM FILE") == [f'STREAM FILE "{QUESTION.path}" "0123456789*#" 0']
    assert [(answer.consent, answer.played_ms, answer.key) for answer in desk.answers] == [
        (ConsentState.GIVEN, 10_000, "1")
    ]
    assert desk.prompts == [10_000]


async def test_the_leash_is_set_before_every_step_to_its_longest_time_and_three_seconds(ivr: ConsentIvr) -> None:
    async with FakeAgi(ivr.port, keys="  ") as silent:
        await silent.until_over()
    steps = [line for line in silent.commands if "RECORDER" not in line]
    limit = 'SET VARIABLE "TIMEOUT(absolute)" "{}"'.format
    play, listen = f'STREAM FILE "{QUESTION.path}" "0123456789*#" 0', "WAIT FOR DIGIT 4000"
    # 6.5 s of prompt and 4 s of waiting, each with 3 s and whole seconds; then what concluding may take
    assert steps == [limit(10), play, limit(7), listen] * 2 + [limit(3)]


async def test_an_answer_is_taken_while_the_leash_is_shortened_and_nothing_begins_before_it_is(
    ivr: ConsentIvr, desk: Desk
) -> None:
    desk.concluding = lambda lent: lent.mixmonitor(MIXMONITOR)
    async with FakeAgi(ivr.port) as caller:
        caller.variables["RECORDER_ID"] = "0x1"
        caller.answers["SET VARIABLE"] = lambda line: None if line == SHORTENED else b"200 result=1\n"
        await until(lambda: desk.answers)
        assert caller.commands[-1] == SHORTENED
        caller.say(b"200 result=1\n")
        await caller.until_over()
    assert caller.received("EXEC MixMonitor")
    assert desk.mixmonitor == "0x1"


async def test_an_answer_of_a_caller_who_is_gone_by_then_is_taken_and_their_call_looked_for(
    ivr: ConsentIvr, desk: Desk
) -> None:
    async with FakeAgi(ivr.port) as caller:
        caller.answers["SET VARIABLE"] = lambda line: None if line == SHORTENED else b"200 result=1\n"
        await caller.until_command("STREAM FILE")
        await until(lambda: caller.commands[-1] == SHORTENED)
    await until(lambda: desk.cut_off)
    assert [answer.consent for answer in desk.answers] == [ConsentState.GIVEN]


async def test_an_answer_on_a_channel_that_is_dead_by_then_tells_it_nothing_more(ivr: ConsentIvr, desk: Desk) -> None:
    async with FakeAgi(ivr.port) as caller:
        caller.answers["SET VARIABLE"] = lambda line: b"511 dead\n" if line == SHORTENED else b"200 result=1\n"
        await caller.until_over()
    assert len(desk.cut_off) == len(desk.answers) == 1
    assert caller.commands[-1] == SHORTENED


async def test_a_key_that_nobody_offered_is_no_answer_and_the_question_comes_again(ivr: ConsentIvr, desk: Desk) -> None:
    async with FakeAgi(ivr.port, keys="71") as caller:
        await caller.until_over()
    assert len(caller.received("STREAM FILE")) == 2
    assert [answer.key for answer in desk.answers] == ["1"]


async def test_an_answer_beyond_any_key_is_a_dialogue_that_failed(ivr: ConsentIvr, desk: Desk) -> None:
    async with FakeAgi(ivr.port) as caller:
        caller.answers["STREAM FILE"] = lambda _: b"200 result=99999999 endpos=80000\n"
        await caller.until_over()
    assert caller.variables["RECORDER_RESULT"] == LostReason.DIALOGUE_FAILED
    assert [answer.failed for answer in desk.answers] == [LostReason.DIALOGUE_FAILED]


@pytest.mark.parametrize(
    "reply",
    [
        b"200 result=49 endpos=lots\n",
        b"200 hello\n",
        b"junk\n",
        b"\x00\xff\xfe\n",
        b"510 Invalid or unknown command\n",
        USAGE,
    ],
    ids=["no position", "no result", "junk", "not text", "unknown command", "usage over several lines"],
)
async def test_a_reply_that_makes_no_sense_is_a_dialogue_that_failed_and_never_an_answer(
    ivr: ConsentIvr, desk: Desk, reply: bytes
) -> None:
    desk.concluding = lambda lent: lent.mixmonitor(MIXMONITOR)
    async with FakeAgi(ivr.port) as caller:
        caller.variables["RECORDER_ID"] = "0x1"
        caller.answers["STREAM FILE"] = lambda _: reply
        await caller.until_over()
    assert [(answer.consent, answer.failed) for answer in desk.answers] == [
        (ConsentState.NONE, LostReason.DIALOGUE_FAILED)
    ]
    assert caller.variables["RECORDER_RESULT"] == LostReason.DIALOGUE_FAILED
    assert desk.mixmonitor == "0x1"  # the stream is still in step
    assert ivr.broken == 0


@pytest.mark.parametrize(("consults", "word"), [("yes", "given"), ("no", "lost")])
async def test_only_on_a_consultations_leg_may_something_be_prepared_for_a_visitor_who_is_passed_on(
    ivr: ConsentIvr, desk: Desk, consults: str, word: str
) -> None:
    desk.admits = False
    async with FakeAgi(ivr.port, environment(arguments=("support", "1.1", "", consults))) as leg:
        await leg.until_over()
    assert leg.variables["RECORDER_RESULT"] == word
    assert len(desk.consultations) == len(leg.received("EXEC MixMonitor")) == (word == "given")
    assert ("RECORDER_ANNOUNCE" in leg.variables) == (word == "given")


async def test_after_a_command_for_whose_reply_nobody_waits_any_more_none_is_read_for_another_ones(
    ivr: ConsentIvr, desk: Desk
) -> None:
    async def gives_up(lent: OpenChannel) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(lent.mixmonitor(MIXMONITOR), 0.1)

    desk.concluding = gives_up
    async with FakeAgi(ivr.port) as caller:
        caller.answers["EXEC MixMonitor"] = lambda _: None
        await caller.until_over()
    assert caller.received("EXEC MixMonitor")
    assert "RECORDER_RESULT" not in caller.variables


async def test_progress_and_hangup_out_of_band_are_no_replies(ivr: ConsentIvr) -> None:
    async with FakeAgi(ivr.port) as caller:
        caller.answers["STREAM FILE"] = lambda _: b"HANGUP\n100 Trying...\nHANGUP\n200 result=49 endpos=80000\n"
        await caller.until_over()
    assert caller.variables["RECORDER_RESULT"] == "given"


async def test_a_peer_that_sends_byte_by_byte_is_understood(ivr: ConsentIvr) -> None:
    async with FakeAgi(ivr.port) as caller:
        caller.slow = True
        await caller.until_over()
    assert caller.variables["RECORDER_RESULT"] == "given"


async def test_a_prompt_that_is_missing_on_a_living_channel_is_a_prompt_that_failed(
    ivr: ConsentIvr, desk: Desk
) -> None:
    async with FakeAgi(ivr.port) as caller:
        caller.answers["STREAM FILE"] = lambda _: FAILED
        await caller.until_over()
    assert caller.variables["RECORDER_RESULT"] == LostReason.PROMPT_FAILED
    assert desk.cut_off == []


@pytest.mark.parametrize("status", [DEAD, b"200 result=-1\n"], ids=["511", "no such channel"])
async def test_a_prompt_that_ended_with_its_channel_is_a_caller_who_is_gone(
    ivr: ConsentIvr, desk: Desk, status: bytes
) -> None:
    async with FakeAgi(ivr.port) as caller:
        caller.answers["STREAM FILE"] = lambda _: FAILED
        caller.answers["CHANNEL STATUS"] = lambda _: status
        await caller.until_over()
    assert (desk.answers, len(desk.cut_off)) == ([], 1)
    assert "RECORDER_RESULT" not in caller.variables


@pytest.mark.parametrize("words", ["SET VARIABLE", "STREAM FILE", "WAIT FOR DIGIT"])
@pytest.mark.parametrize("how", ["end", "reset", "511"])
async def test_a_caller_who_hangs_up_in_any_step_ends_the_dialogue_without_an_answer(
    ivr: ConsentIvr, desk: Desk, words: str, how: str
) -> None:
    async with FakeAgi(ivr.port, keys=" ") as caller:

        def gone(_: str) -> bytes | None:
            if how == "511":
                return DEAD
            (caller.hang_up if how == "end" else caller.abort)()
            return None

        caller.answers[words] = gone
        await until(lambda: desk.cut_off)
    await until(lambda: ivr.in_progress == 0)
    assert (len(desk.cut_off), desk.answers) == (1, [])
    assert ivr.broken == 0


# --------------------------------------------------------------------------- what comes to a port


SCANS: dict[str, bytes] = {
    "a port scan": b"",
    "an HTTP health check": b"GET /healthz HTTP/1.1\r\nHost: recorder\r\n\r\n",
    "garbage": bytes(range(256)) * 8,
    "an environment of nothing": b"\n",
    "an environment without a channel": b"agi_network: yes\nagi_network_script: inbound\n\n",
    "an environment cut short": environment()[:200],
    "an oversized environment": environment(caller_name="x" * 200_000),
    "an unknown script": environment(script="wherever"),
    "no script": environment(script=""),
    "too few arguments": environment(arguments=("support",)),
    "a call without a linkedid": environment(arguments=("support", "")),
    "a channel without a uniqueid": environment(uniqueid=""),
}


@pytest.mark.parametrize("scan", SCANS)
async def test_a_visitor_who_is_no_call_is_shown_out_and_nobody_is_the_worse_for_it(
    ivr: ConsentIvr, desk: Desk, scan: str
) -> None:
    async with FakeAgi(ivr.port, SCANS[scan]) as visitor:
        if scan in ("a port scan", "an environment cut short", "garbage"):
            visitor.hang_up()
        await visitor.until_over()
    assert (visitor.commands, desk.visits, ivr.broken) == ([], [], 0)
    await agrees(ivr)


@pytest.mark.parametrize(
    "name",
    ["x" * 2040, "x" * 10_240, b"\xff\xfe\xe9 non-UTF-8 \x80", "Ёлка", ";$(touch /tmp/x), a, b", '"\\'],
    ids=["2040 characters", "10 kB", "not UTF-8", "Cyrillic", "a shell's words", "quotes"],
)
async def test_a_strange_callers_name_changes_nothing_and_goes_nowhere(
    ivr: ConsentIvr, desk: Desk, name: str | bytes
) -> None:
    async with FakeAgi(ivr.port, environment(caller_name=name)) as caller:
        await caller.until_over()
    assert caller.variables["RECORDER_RESULT"] == "given"
    assert [visit.line for visit in desk.visits] == ["support"]
    assert max(len(line) for line in caller.commands) < 200


@pytest.mark.parametrize("separator", ["\u2028", "\u0085", "\x0b", "\x1e", "\r"])
async def test_a_line_separator_in_a_callers_name_begins_no_line(ivr: ConsentIvr, desk: Desk, separator: str) -> None:
    name = f"x{separator}agi_uniqueid: 9.9{separator}agi_arg_1: sales"
    async with FakeAgi(ivr.port, environment(caller_name=name)) as caller:
        await caller.until_over()
    assert [(visit.line, visit.channel.uniqueid) for visit in desk.visits] == [("support", "1795298000.1")]


async def test_an_environment_that_says_a_thing_twice_is_not_believed(ivr: ConsentIvr, desk: Desk) -> None:
    async with FakeAgi(ivr.port, environment(caller_name="x\nagi_channel: PJSIP/boss-1")) as caller:
        await caller.until_over()
    assert (desk.visits, caller.commands) == ([], [])


async def test_only_the_pbx_is_served(desk: Desk, closing: AsyncExitStack) -> None:
    ivr = await opened(desk, closing, peers=frozenset({"192.0.2.7"}))
    async with FakeAgi(ivr.port) as outsider:
        await outsider.until_over()
    assert (outsider.commands, desk.visits, ivr.refused_peers) == ([], [], 1)


async def test_silent_slow_and_garbling_peers_do_not_disturb_a_healthy_dialogue(ivr: ConsentIvr) -> None:
    def stalls(peer: FakeAgi) -> FakeAgi:
        peer.answers["STREAM FILE"] = lambda _: None
        return peer

    peers = [FakeAgi(ivr.port, b"agi_network: yes\n") for _ in range(40)]
    peers += [stalls(FakeAgi(ivr.port)) for _ in range(40)]
    peers += [FakeAgi(ivr.port, bytes(range(128)) * 400) for _ in range(20)]
    async with AsyncExitStack() as disturbance:
        for peer in peers:
            await disturbance.enter_async_context(peer)
        async with asyncio.timeout(5):
            await agrees(ivr)
        assert ivr.in_progress == 40


async def test_a_peer_that_never_replies_is_given_up_and_its_place_is_free_again(ivr: ConsentIvr) -> None:
    async with FakeAgi(ivr.port) as frozen:
        frozen.answers["SET VARIABLE"] = lambda line: b"200 result=1\n" if "TIMEOUT" in line else None
        await frozen.until_over()
    assert ivr.in_progress == 0


async def test_a_channel_that_does_not_answer_a_command_is_gone_and_nothing_waits_behind_it(
    desk: Desk, ivr: ConsentIvr
) -> None:
    refusals: list[BaseException] = []

    async def arms(lent: OpenChannel) -> None:
        try:
            await lent.mixmonitor(MIXMONITOR)
        except AGIHangup as error:
            refusals.append(error)
            raise

    desk.concluding = arms
    async with FakeAgi(ivr.port) as frozen:
        frozen.answers["EXEC MixMonitor"] = lambda _: None
        await frozen.until_over()
    assert [str(error) for error in refusals] == ["no reply within the step's time"]
    assert frozen.commands[-1].startswith("EXEC MixMonitor")


# --------------------------------------------------------------------------- how many


async def test_five_hundred_dialogues_are_held_at_once_and_the_next_caller_goes_on_at_once(
    desk: Desk, closing: AsyncExitStack
) -> None:
    ivr = await opened(desk, closing, dialogues=500)
    async with AsyncExitStack() as centre:
        callers = [FakeAgi(ivr.port, environment(uniqueid=f"1.{number}")) for number in range(500)]
        for caller in callers:
            caller.answers["STREAM FILE"] = lambda _: None
            await centre.enter_async_context(caller)
        await asyncio.gather(*(caller.until_command("STREAM FILE") for caller in callers))
        assert ivr.in_progress == 500
        async with FakeAgi(ivr.port, environment(uniqueid="1.501")) as late:
            await late.until_over()
        assert [visit.channel.uniqueid for visit in desk.busy] == ["1.501"]
        assert late.commands == []
        for caller in callers:
            caller.say(b"200 result=49 endpos=80000\n")
        await asyncio.gather(*(caller.until_over() for caller in callers))
        assert {caller.variables["RECORDER_RESULT"] for caller in callers} == {"given"}


async def test_a_callee_beyond_the_last_place_is_told_of_as_an_outgoing_call(
    desk: Desk, closing: AsyncExitStack
) -> None:
    ivr = await opened(desk, closing, dialogues=1)
    async with FakeAgi(ivr.port) as first:
        first.answers["STREAM FILE"] = lambda _: None
        await first.until_command("STREAM FILE")
        leg = environment(script="outbound", arguments=("PJSIP/far-1", "support", "2.2", "2.1"))
        async with FakeAgi(ivr.port, leg) as second:
            await second.until_over()
    assert [(visit.direction, visit.channel.uniqueid) for visit in desk.busy] == [(Direction.OUTGOING, "2.2")]


async def test_a_key_is_served_when_every_dialogue_is_taken(desk: Desk, closing: AsyncExitStack) -> None:
    ivr = await opened(desk, closing, dialogues=1)
    arguments = ("PJSIP/trunk-1", "PJSIP/alice-2", "emergency", "1.1", "1.1")
    async with FakeAgi(ivr.port) as first:
        first.answers["STREAM FILE"] = lambda _: None
        await first.until_command("STREAM FILE")
        async with FakeAgi(ivr.port, environment(script="key", arguments=arguments)) as key:
            await key.until_over()
    assert [(visit.channel.name, visit.agent, visit.reason) for visit in desk.keys] == [arguments[:3]]
    assert key.variables == {"SHARED(RECORDER_ARM,PJSIP/trunk-1)": MIXMONITOR}


async def test_a_server_that_closes_ends_its_dialogues_and_leaves_no_thread_waiting(
    desk: Desk, ivr: ConsentIvr
) -> None:
    async with FakeAgi(ivr.port) as caller:
        caller.answers["STREAM FILE"] = lambda _: None
        await caller.until_command("STREAM FILE")
        await ivr.close()
        assert (len(desk.cut_off), desk.answers, ivr.in_progress) == (1, [], 0)
        await caller.until_over()


async def test_nobody_is_let_in_before_the_daemon_serves(desk: Desk) -> None:
    ivr = ConsentIvr(desk, host="127.0.0.1", port=0, peers=frozenset({"127.0.0.1"}), dialogues=1)
    await ivr.open()
    with pytest.raises(ConnectionRefusedError):
        await FakeAgi(ivr.port).start()
    await ivr.close()


# --------------------------------------------------------------------------- lending a channel


async def test_a_held_channel_runs_the_mixmonitor_and_tells_its_id(desk: Desk, ivr: ConsentIvr) -> None:
    desk.concluding = lambda lent: lent.mixmonitor(MIXMONITOR)
    async with FakeAgi(ivr.port) as caller:
        caller.variables["RECORDER_ID"] = "0x7f00"
        await caller.until_over()
    assert caller.received("EXEC MixMonitor") == [f'EXEC MixMonitor "{MIXMONITOR}"']
    assert desk.mixmonitor == "0x7f00"


@pytest.mark.parametrize("name", ['PJSIP/a"1', "PJSIP/a,1", "PJSIP/a)1", "PJSIP/a\\1", "PJSIP/a\x071", "PJSIP/a\r1"])
async def test_a_channel_name_that_would_end_its_argument_is_never_sent(ivr: ConsentIvr, desk: Desk, name: str) -> None:
    arguments = (name, "PJSIP/alice-2", "emergency", "1.1", "1.1")
    async with FakeAgi(ivr.port, environment(script="key", arguments=arguments)) as key:
        await key.until_over()
    assert (len(desk.keys), key.commands, desk.mixmonitor) == (1, [], None)


async def connected(closing: AsyncExitStack) -> tuple[BridgeAGI, AgiConnection, list[bytes]]:
    """BridgeAGI over a connection of its own, and what arrives at the other end."""
    arrived: list[bytes] = []
    served: asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Future()
    server = await asyncio.start_server(lambda reader, writer: served.set_result((reader, writer)), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
    _, far = await served
    far.write(b"200 result=1\n" * 10)
    closing.callback(server.close)
    closing.push_async_callback(writer.wait_closed)
    closing.callback(writer.close)
    closing.callback(far.close)
    connection = AgiConnection(reader, writer)
    return BridgeAGI(connection, asyncio.get_running_loop()), connection, arrived


@pytest.mark.parametrize("bad", ['a" "b', "a\nEXEC System x", "a\rb", "a\x00b", "a\\"])
async def test_what_would_break_out_of_an_argument_is_refused_before_anything_is_sent(
    closing: AsyncExitStack, bad: str
) -> None:
    agi, connection, _ = await connected(closing)
    with pytest.raises(AGIUsageError):
        await asyncio.to_thread(agi.set_variable, "RECORDER_RESULT", bad)
    with pytest.raises(AGIUsageError):
        await asyncio.to_thread(agi.set_variable, bad, "1")
    with pytest.raises(AGIUsageError):
        await asyncio.to_thread(agi.stream_file, "prompt", bad)
    lent = (HeldChannel(connection), HandedOver(connection, "PJSIP/a-1"))
    for channel in lent:
        with pytest.raises(AGIUsageError):
            await channel.mixmonitor(bad)


async def test_a_file_name_of_two_lines_is_refused_although_pyst2_quotes_none(closing: AsyncExitStack) -> None:
    agi, _, _ = await connected(closing)
    with pytest.raises(AGIUsageError):
        await asyncio.to_thread(agi.stream_file, "prompt\nEXEC System x", "1")
