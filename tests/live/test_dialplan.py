"""The shipped dialplan alone, against real Asterisks, with a scripted stand-in where the daemon would listen.

Whatever happens at the other end of the AGI socket, the call goes on; how long it may take is measured here.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.pbx import tones
from tests.pbx.admin import Admin, Event
from tests.pbx.calls import Call, Calls
from tests.pbx.party import HangUp, Press, Say, Script, UntilBridged, UntilPrompt, Wait
from tests.pbx.server import PbxServer

pytestmark = pytest.mark.live

LEASH = 3.0  # seconds that a frozen daemon may cost before the talk
KEY_LEASH = 2.0  # and in the talk
SLACK = 0.4  # scheduling on a busy machine; the leash itself ends on whole seconds
STAYING: Script = (Say(440),)
AGENT: Script = (Say(800),)


# ---------------------------------------------------------------- the stand-in


class Channel:
    """One AGI connection as the stand-in sees it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.variables: dict[str, str] = {}

    async def begin(self) -> None:
        while line := (await self._reader.readline()).decode().strip():
            key, _, value = line.partition(": ")
            self.variables[key] = value

    @property
    def entry(self) -> str:
        return self.variables["agi_network_script"]

    @property
    def arguments(self) -> list[str]:
        return [self.variables[f"agi_arg_{n}"] for n in range(1, 10) if f"agi_arg_{n}" in self.variables]

    async def command(self, text: str) -> str:
        self._writer.write(text.encode() + b"\n")
        await self._writer.drain()
        return (await self._reader.readline()).decode().strip()

    async def until_closed(self) -> None:
        while await self._reader.read(1000):
            pass


Behaviour = Callable[[Channel], Awaitable[None]]


class StandIn:
    """Listens where the dialplan looks for the daemon. `seen` are the connections, in order."""

    def __init__(self, **behaviours: Behaviour) -> None:
        self.seen: list[Channel] = []
        self._behaviours = behaviours
        self._tasks: set[asyncio.Task[None]] = set()

    def entries(self) -> list[str]:
        return [channel.entry for channel in self.seen]

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        channel = Channel(reader, writer)
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            await channel.begin()
            self.seen.append(channel)
            await self._behaviours.get(channel.entry, refuses)(channel)
        writer.close()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def listening(house: PbxServer, **behaviours: Behaviour) -> AsyncIterator[StandIn]:
    """The stand-in, with what it does at each entry; an entry not named ends at once without a word."""
    host, _, port = house.agi.partition(":")
    stand_in = StandIn(**behaviours)
    server = await asyncio.start_server(stand_in.accept, host, int(port))
    try:
        yield stand_in
    finally:
        server.close()
        await stand_in.close()


async def refuses(channel: Channel) -> None:
    """Ends without having permitted anything: also what a daemon that dies looks like."""


async def hangs(channel: Channel) -> None:
    await channel.until_closed()


async def asks_then_hangs(channel: Channel) -> None:
    await channel.command("SET VARIABLE TIMEOUT(absolute) 3")
    await channel.command('STREAM FILE beep "12"')
    await channel.until_closed()


def options(house: PbxServer, name: str) -> str:
    """The whole argument of MixMonitor() as the daemon would give it."""
    sync = "S" if house.release == "16" else ""
    spool = house.captures
    return f",b{sync}r({spool}/{name}-caller.wav)t({spool}/{name}-agent.wav)i(RECORDER_ID)"


def permits(house: PbxServer, name: str) -> Behaviour:
    """Asks for one key, then arms the capture: inbound by itself, else through SHARED(RECORDER_ARM)."""

    async def behave(channel: Channel) -> None:
        if channel.entry != "key":
            await channel.command("SET VARIABLE TIMEOUT(absolute) 10")
            await channel.command('STREAM FILE beep "1"')
        if channel.entry == "inbound":
            await channel.command(f'EXEC MixMonitor "{options(house, name)}"')
            await channel.command("SET VARIABLE RECORDER_RESULT given")
        else:
            await channel.command(f'SET VARIABLE SHARED(RECORDER_ARM,{channel.arguments[0]}) "{options(house, name)}"')

    return behave


def captured(house: PbxServer, name: str) -> tuple[Path, Path]:
    return house.captures / f"{name}-caller.wav", house.captures / f"{name}-agent.wav"


async def reached(calls: Calls, call: Call, where: str, timeout: float = 10) -> Event:
    """The house's dialplan says that the call came to a place of its own."""
    return await calls.admin.until(
        "HouseReached", since=call.placed.since, timeout=timeout, Where=where, Linkedid=call.linkedid
    )


async def began(calls: Calls, call: Call, application: str, context: str) -> Event:
    """An application of the shipped dialplan starts."""
    return await calls.admin.until(
        "Newexten", since=call.placed.since, Application=application, Context=context, Linkedid=call.linkedid
    )


async def inbound_seconds(calls: Calls, call: Call) -> float:
    """From the question to the daemon until the house's Queue()."""
    start = await began(calls, call, "AGI", "recorder-inbound")
    return (await reached(calls, call, "queue")).at - start.at


# ---------------------------------------------------------------- incoming


@pytest.mark.asterisk16
async def test_a_daemon_that_is_not_there_costs_the_caller_nothing(calls: Calls) -> None:
    call = await calls.incoming("support", STAYING, None)
    assert await inbound_seconds(calls, call) < SLACK
    await calls.admin.until("QueueCallerJoin", Linkedid=call.linkedid)


@pytest.mark.asterisk16
async def test_a_frozen_daemon_costs_the_caller_three_seconds_once(house: PbxServer, calls: Calls) -> None:
    async with listening(house, inbound=hangs):
        call = await calls.incoming("support", STAYING, None)
        assert LEASH - 0.1 <= await inbound_seconds(calls, call) <= LEASH + SLACK
        await calls.admin.until("QueueCallerJoin", Linkedid=call.linkedid)


async def test_a_daemon_that_freezes_after_a_prompt_costs_what_it_set_itself(house: PbxServer, calls: Calls) -> None:
    async with listening(house, inbound=asks_then_hangs):
        call = await calls.incoming("support", STAYING, None)
        assert LEASH - 0.1 <= await inbound_seconds(calls, call) <= LEASH + SLACK


async def test_a_daemon_that_dies_in_the_dialogue_leaves_no_result_and_no_delay(house: PbxServer, calls: Calls) -> None:
    async with listening(house, inbound=refuses):
        call = await calls.incoming("support", STAYING, None)
        assert await inbound_seconds(calls, call) < SLACK
        assert (await reached(calls, call, "queue"))["Result"] == ""


def begins(house: PbxServer, word: str, then: Behaviour) -> Behaviour:
    """Starts a capture on the leg of a consultation, and says `word` of it."""

    async def behave(channel: Channel) -> None:
        await channel.command(f'EXEC MixMonitor "{options(house, "consulted")}"')
        if word:
            await channel.command(f"SET VARIABLE RECORDER_RESULT {word}")
        await then(channel)

    return behave


@pytest.mark.asterisk16
@pytest.mark.parametrize(
    ("word", "then", "stops"),
    [("", refuses, True), ("", hangs, True), ("lost", refuses, True), ("given", refuses, False)],
    ids=["no word, and dead", "no word, and frozen", "another word", "its word"],
)
async def test_what_begins_on_a_consultations_leg_runs_on_only_with_the_daemons_word_that_it_is_muted(
    house: PbxServer, calls: Calls, word: str, then: Behaviour, *, stops: bool
) -> None:
    async with listening(house, inbound=begins(house, word, then)):
        call = await calls.incoming("support", STAYING, None, variables={"TRANSFERERNAME": "PJSIP/desk-00000001"})
        queued = await calls.admin.until("QueueCallerJoin", Linkedid=call.linkedid)
        await calls.admin.until("MixMonitorStart", since=call.placed.since, Linkedid=call.linkedid)
        ended = [event for event in calls.admin.events if event.is_("MixMonitorStop", Linkedid=call.linkedid)]
        assert [event.at <= queued.at for event in ended] == ([True] if stops else [])


@pytest.mark.asterisk16
async def test_a_permitted_call_is_captured_from_the_bridge_on_by_direction(house: PbxServer, calls: Calls) -> None:
    agrees = (
        Say(1200),
        UntilPrompt(),
        Say(440),
        Wait(0.3),
        Press("1"),
        UntilBridged(),
        Wait(2),
        HangUp(),
    )
    async with listening(house, inbound=permits(house, "agreed")):
        call = await calls.incoming("support", agrees, AGENT, rings_for=0.3)
        caller, _ = await call.until_ended()
    from_caller, from_agent = captured(house, "agreed")
    assert tones.seconds_of(tones.stretches(from_caller, 0, 440)) >= caller.bridged_seconds - 0.15
    assert tones.seconds_of(tones.stretches(from_agent, 0, 800)) >= caller.bridged_seconds - 0.4
    assert not tones.stretches(from_caller, 0, 1200)
    assert not tones.stretches(from_caller, 0, 800)
    assert not tones.stretches(from_agent, 0, 440)


@pytest.mark.parametrize("behaviour", [refuses, hangs], ids=["gone", "frozen"])
async def test_the_limits_that_the_house_had_set_are_found_again(
    house: PbxServer, calls: Calls, behaviour: Behaviour
) -> None:
    async with listening(house, inbound=behaviour):
        call = await calls.incoming("support", STAYING, None, variables={"HOUSE_LIMIT": "20", "AGIEXITONHANGUP": "no"})
        spent = await inbound_seconds(calls, call)
        at_queue = await reached(calls, call, "queue")
    assert 20 - spent - 1.5 <= float(at_queue["Limit"]) <= 20 - spent + 1.1  # EPOCH has whole seconds
    assert at_queue["Exits"] == "no"


async def test_the_house_without_limits_has_none_afterwards(house: PbxServer, calls: Calls) -> None:
    async with listening(house, inbound=hangs):
        call = await calls.incoming("support", STAYING, None)
        await inbound_seconds(calls, call)
        at_queue = await reached(calls, call, "queue")
    assert (at_queue["Limit"], at_queue["Exits"]) == ("0", "")


@pytest.mark.asterisk16
async def test_the_houses_own_limit_still_ends_in_the_houses_own_t(calls: Calls) -> None:
    call = await calls.incoming("support", STAYING, None, variables={"HOUSE_LIMIT": "2"})
    start = await began(calls, call, "AGI", "recorder-inbound")
    assert 1.5 <= (await reached(calls, call, "T")).at - start.at <= 2 + SLACK


@pytest.mark.asterisk16
async def test_a_caller_who_hangs_up_in_the_dialogue_comes_to_the_houses_own_h(house: PbxServer, calls: Calls) -> None:
    async with listening(house, inbound=asks_then_hangs):
        call = await calls.incoming("support", (UntilPrompt(), HangUp()), None, variables={"AGIEXITONHANGUP": "no"})
        assert (await reached(calls, call, "h"))["Exits"] == "no"


@pytest.mark.parametrize("line", ["sup port", "sup/port", "support;x", "${EXTEN}$"])
async def test_a_name_that_no_line_can_have_goes_on_unasked(house: PbxServer, calls: Calls, line: str) -> None:
    async with listening(house, inbound=hangs) as daemon:
        call = await calls.incoming("support", STAYING, None, variables={"HOUSE_NAMED": line})
        await reached(calls, call, "queue")
        assert daemon.seen == []


@pytest.mark.parametrize("line", ["support", "Support-2_b", "7"])
async def test_the_daemon_is_told_the_lines_name(house: PbxServer, calls: Calls, line: str) -> None:
    async with listening(house) as daemon:
        call = await calls.incoming("support", STAYING, None, variables={"HOUSE_NAMED": line})
        await reached(calls, call, "queue")
        (visitor,) = daemon.seen
        assert visitor.arguments == [line, call.linkedid, "no", "stops"]  # no consultation


@pytest.mark.asterisk16
async def test_after_the_queue_our_capture_ends_and_the_houses_own_goes_on(house: PbxServer, calls: Calls) -> None:
    theirs = house.captures / "theirs.wav"

    async def permits_beside_theirs(channel: Channel) -> None:
        await channel.command(f'EXEC MixMonitor "{theirs}"')
        await permits(house, "done")(channel)

    agrees = (Say(440), UntilPrompt(), Press("1"))
    async with listening(house, inbound=permits_beside_theirs):
        call = await calls.incoming("support", agrees, None, variables={"HOUSE_WAIT": "1"})
        after = await reached(calls, call, "after-queue", timeout=20)
        listed = "\n".join(await calls.admin.command(f"mixmonitor list {call.placed.channel}"))
    stopped = calls.admin.seen("MixMonitorStop", since=call.placed.since, Uniqueid=call.placed.leg)
    assert (len(stopped), after["Id"]) == (1, "")
    assert str(theirs.with_suffix("")) in listed
    assert "done-caller" not in listed


# ---------------------------------------------------------------- keys


async def talking(calls: Calls, agent: Script = AGENT, caller: Script = STAYING, **given: str) -> Call:
    call = await calls.incoming("support", caller, agent, variables=given)
    await call.placed.until_bridged()
    return call


@pytest.mark.asterisk16
@pytest.mark.parametrize(("keys", "reason"), [("*71", "emergency"), ("*72", "legal"), ("*73", "business")])
async def test_an_agents_key_asks_the_daemon_and_starts_the_capture_on_the_caller(
    house: PbxServer, calls: Calls, keys: str, reason: str
) -> None:
    async with listening(house, key=permits(house, f"key-{reason}")) as daemon:
        call = await talking(calls, (Say(800), UntilBridged(), Wait(0.2), Press(keys), Wait(1), HangUp()))
        agent = await call.until_rung()
        started = await calls.admin.until("MixMonitorStart", since=call.placed.since)
        await call.until_ended()
    far = [call.placed.leg, call.linkedid]
    assert daemon.seen[-1].arguments == [call.placed.channel, agent.channel, reason, *far, "tells"]
    assert started["Uniqueid"] == call.placed.leg
    from_caller, from_agent = captured(house, f"key-{reason}")
    assert tones.seconds_of(tones.stretches(from_caller, 0, 440)) > 0.7
    assert tones.seconds_of(tones.stretches(from_agent, 0, 800)) > 0.7


@pytest.mark.asterisk16
async def test_what_an_earlier_press_has_left_to_tell_is_not_told_after_this_one(
    house: PbxServer, calls: Calls
) -> None:
    agent: Script = (Say(800), UntilBridged(), Wait(0.2), Press("*71"), Wait(3), HangUp())
    prompt, recording = f"{house.prompts}/en/overridden", "0b9f2b44-6d7c-4c53-9a55-3f1f6e2a9d01"
    async with listening(house, key=permits(house, "stale")):
        call = await talking(calls, agent, RECORDER_TELL=prompt, RECORDER_TELL_OF=recording)
        await calls.admin.until("MixMonitorStart", since=call.placed.since)
        await call.until_ended()
    assert not calls.admin.seen("Newexten", since=call.placed.since, Context="recorder-tell")
    assert not calls.admin.seen("RecorderTold", since=call.placed.since)
    assert tones.seconds_of(tones.stretches(captured(house, "stale")[1], 0, 800)) > 2  # the agent was heard all along


@pytest.mark.asterisk16
async def test_a_frozen_daemon_behind_a_key_silences_two_seconds_and_no_more(house: PbxServer, calls: Calls) -> None:
    async with listening(house, inbound=permits(house, "frozen-key"), key=hangs):
        call = await calls.incoming(
            "support", STAYING, (Say(800), UntilBridged(), Wait(1), Press("*71"), Wait(4), HangUp())
        )
        await call.placed.until_bridged()
        asked = await began(calls, call, "Dial", "recorder-key")
        went_on = await began(calls, call, "Gosub", "recorder-key")
        await call.until_ended()
    assert KEY_LEASH - 0.1 <= went_on.at - asked.at <= KEY_LEASH + SLACK
    from_caller, from_agent = captured(house, "frozen-key")
    heard = tones.stretches(from_agent, 0, 800)
    silent = max(after[0] - before[1] for before, after in itertools.pairwise(heard))
    assert KEY_LEASH - 0.1 <= silent <= KEY_LEASH + SLACK
    assert heard[-1][1] - heard[-1][0] > 1.5  # the talk went on
    assert len(tones.stretches(from_caller, 0, 440, gap=0.1)) == 1  # what the caller said meanwhile is captured


@pytest.mark.parametrize("entry", ["absent", "dies"])
async def test_a_key_without_a_daemon_changes_nothing(house: PbxServer, calls: Calls, entry: str) -> None:
    async with contextlib.AsyncExitStack() as stack:
        if entry == "dies":
            await stack.enter_async_context(listening(house))
        call = await talking(calls, (Say(800), UntilBridged(), Wait(0.2), Press("*71"), Wait(1), HangUp()))
        asked = await began(calls, call, "Dial", "recorder-key")
        went_on = await began(calls, call, "Gosub", "recorder-key")
        caller, _ = await call.until_ended()
    assert went_on.at - asked.at < SLACK
    assert caller.bridged_seconds > 1
    assert not calls.admin.seen("MixMonitorStart", since=call.placed.since)


@pytest.mark.asterisk16
async def test_the_callers_same_keys_do_nothing(house: PbxServer, calls: Calls) -> None:
    async with listening(house) as daemon:
        call = await talking(
            calls, caller=(Say(440), UntilBridged(), Wait(0.2), Press("*71*72*73"), Wait(1.2), HangUp())
        )
        await call.until_ended()
        assert daemon.entries() == ["inbound"]


async def test_the_houses_own_keys_work_beside_ours(house: PbxServer, calls: Calls) -> None:
    async with listening(house) as daemon:
        call = await talking(
            calls,
            (Say(800), UntilBridged(), Wait(0.2), Press("*55"), Press("*71"), Wait(0.5), HangUp()),
            DYNAMIC_FEATURES="house-note",
        )
        await calls.admin.until("HouseNote", since=call.placed.since)
        await call.until_ended()
        assert daemon.entries() == ["inbound", "key"]


async def test_a_personal_call_has_no_keys(house: PbxServer, calls: Calls) -> None:
    async with listening(house) as daemon:
        call = await calls.personal(STAYING, (Say(800), UntilBridged(), Wait(0.2), Press("*71"), Wait(1.2), HangUp()))
        await call.until_ended()
        assert daemon.seen == []


async def test_a_second_comma_would_be_a_command_and_is_not_carried_out(house: PbxServer, calls: Calls) -> None:
    made = house.captures / "made-by-a-command"

    async def hostile(channel: Channel) -> None:
        text = f"{options(house, 'hostile')},touch {made}"
        await channel.command(f'SET VARIABLE SHARED(RECORDER_ARM,{channel.arguments[0]}) "{text}"')

    async with listening(house, key=hostile):
        call = await talking(calls, (Say(800), UntilBridged(), Wait(0.2), Press("*71"), Wait(0.5), HangUp()))
        await call.until_ended()
    assert not calls.admin.seen("MixMonitorStart", since=call.placed.since)
    assert not made.exists()


# ---------------------------------------------------------------- transfers


@pytest.mark.asterisk16
async def test_a_caller_sent_to_the_voice_mail_is_no_longer_captured(house: PbxServer, calls: Calls) -> None:
    async with listening(house, inbound=permits(house, "away")):
        call = await calls.incoming(
            "support",
            STAYING,
            (Say(800), UntilBridged(), Wait(1), Press("#2999")),
            variables={"TRANSFER_CONTEXT": "from-agents"},
        )
        there = await reached(calls, call, "voicemail", timeout=20)
    assert there["Id"] == ""
    stopped = calls.admin.seen("MixMonitorStop", since=call.placed.since, Uniqueid=call.placed.leg)
    assert len(stopped) == 1
    assert not tones.stretches(captured(house, "away")[0].with_name("away-agent.wav"), 0, 2600)


async def test_a_caller_sent_to_another_line_is_asked_there_with_no_capture_running(
    house: PbxServer, calls: Calls
) -> None:
    async with listening(house, inbound=permits(house, "first-line")) as daemon:
        call = await calls.incoming(
            "support",
            (Say(440), UntilPrompt(), Press("1")),
            (Say(800), UntilBridged(), Wait(0.2), Press("#18005550101")),
            variables={"TRANSFER_CONTEXT": "from-agents"},
        )
        stopped = await calls.admin.until("MixMonitorStop", since=call.placed.since, timeout=20)
        asked = await calls.admin.until(
            lambda event: event.name == "AGIExecStart" and event.at > stopped.at, since=call.placed.since
        )
    assert asked["Uniqueid"] == call.placed.leg
    assert [channel.arguments[0] for channel in daemon.seen] == ["support", "sales"]


async def test_a_caller_sent_to_an_extension_that_is_none_comes_to_the_houses_i(house: PbxServer, calls: Calls) -> None:
    async with listening(house):
        call = await calls.incoming(
            "support",
            STAYING,
            (Say(800), UntilBridged(), Wait(0.2), Press("#7777")),
            variables={"TRANSFER_CONTEXT": "from-agents"},
        )
        await reached(calls, call, "i", timeout=20)


# ---------------------------------------------------------------- outgoing


async def bridged_after(calls: Calls, call: Call) -> float:
    """From the called party's answer until the two can talk."""
    dial = await began(calls, call, "Dial", "recorder-callee")
    return (await call.placed.until_bridged()).at - dial.at


@pytest.mark.asterisk16
async def test_an_outgoing_call_without_a_daemon_goes_through_at_once(calls: Calls) -> None:
    call = await calls.outgoing(AGENT, STAYING)
    assert await bridged_after(calls, call) < SLACK


@pytest.mark.asterisk16
async def test_a_frozen_daemon_costs_an_outgoing_call_three_seconds(house: PbxServer, calls: Calls) -> None:
    async with listening(house, outbound=hangs):
        call = await calls.outgoing(AGENT, STAYING)
        assert LEASH - 0.1 <= await bridged_after(calls, call) <= LEASH + SLACK


async def test_a_daemon_that_dies_asking_the_called_party_delays_nothing(house: PbxServer, calls: Calls) -> None:
    async with listening(house, outbound=refuses) as daemon:
        call = await calls.outgoing(AGENT, STAYING)
        assert await bridged_after(calls, call) < SLACK
        assert daemon.entries() == ["outbound"]


@pytest.mark.asterisk16
async def test_a_called_party_who_agrees_is_captured_and_the_capture_can_be_stopped(
    house: PbxServer, calls: Calls
) -> None:
    agrees = (Say(1200), UntilPrompt(), Press("1"), Wait(0.3), Say(440))
    async with listening(house, outbound=permits(house, "out")) as daemon:
        call = await calls.outgoing((UntilBridged(), Say(800)), agrees)
        await call.placed.until_bridged()
        callee = await call.until_rung()
        raised = await calls.admin.until("RecorderOutbound", since=call.placed.since)
        async with await recorder_account(house) as account:
            mixmonitor = await account.variable("RECORDER_ID", callee.channel)
            await asyncio.wait_for(grown(captured(house, "out")[0]), 10)
            await account.action("StopMixMonitor", {"Channel": callee.channel, "MixMonitorID": mixmonitor})
        await calls.admin.until("MixMonitorStop", since=call.placed.since, Uniqueid=callee.leg)
    assert (raised["Line"], raised["Uniqueid"]) == ("support", call.placed.leg)
    who = [callee.channel, "support", callee.leg, call.linkedid]
    assert daemon.seen[0].arguments == [*who, "4165550123", call.placed.channel, call.placed.leg]
    assert tones.stretches(captured(house, "out")[0], 0, 440)
    assert tones.stretches(captured(house, "out")[1], 0, 800)


async def test_on_an_outgoing_call_the_agent_has_the_keys_and_the_called_party_none(
    house: PbxServer, calls: Calls
) -> None:
    callee = (Say(440), UntilBridged(), Wait(0.2), Press("*72"), Wait(4))
    agent = (Say(800), UntilBridged(), Wait(2.5), Press("*71"), Wait(0.5), HangUp())
    async with listening(house, key=permits(house, "out-key")) as daemon:
        call = await calls.outgoing(agent, callee)
        _, called = await call.until_ended()
    assert called is not None
    assert [c.arguments[:3] for c in daemon.seen if c.entry == "key"] == [
        [called.channel, call.placed.channel, "emergency"]
    ]
    assert tones.stretches(captured(house, "out-key")[0], 0, 440)


@pytest.mark.parametrize("who", ["agent", "callee"])
async def test_whoever_hangs_up_in_the_outgoing_prompt_ends_the_call_without_a_capture(
    house: PbxServer, calls: Calls, who: str
) -> None:
    leaves: Script = (UntilPrompt(), HangUp())
    async with listening(house, outbound=asks_then_hangs):
        call = await calls.outgoing(AGENT, leaves if who == "callee" else STAYING)
        callee = await call.until_rung()
        if who == "agent":
            await calls.admin.until("AGIExecStart", since=call.placed.since, Linkedid=call.linkedid)
            await calls.admin.action("Hangup", {"Channel": call.placed.channel})
        agent = await call.placed.until_ended(timeout=10)
        await callee.until_ended(timeout=10)
    assert agent.bridged_seconds < 0.1  # Asterisk may join them for the moment in which it notices
    assert not calls.admin.seen("MixMonitorStart", since=call.placed.since)


async def recorder_account(house: PbxServer) -> Admin:
    return await Admin.connect(house.host, house.ports.ami, house.recorder_user, house.recorder_secret)


async def grown(path: Path) -> None:
    """Asterisk writes 32 KiB at a time."""
    while (await asyncio.to_thread(path.stat)).st_size <= 44:
        await asyncio.sleep(0.05)


# ---------------------------------------------------------------- over SIP


@pytest.mark.asterisk16
async def test_over_sip_the_callers_key_and_the_agents_key_arrive_by_rtp(house: PbxServer, calls: Calls) -> None:
    caller = (Say(1200), Wait(0.5), Press("1"), Say(440), Wait(5), HangUp())
    agent = (Say(800), Wait(1), Press("*72"))
    async with listening(house, inbound=permits(house, "sip"), key=permits(house, "sip-key")) as daemon:
        call = await calls.incoming("support", caller, agent, rings_for=0.5, name="Anna", sip=True)
        await call.until_ended()
    assert daemon.entries() == ["inbound", "key"]
    assert daemon.seen[0].variables["agi_calleridname"] == "Anna"
    assert daemon.seen[1].arguments[2] == "legal"
    for name in ("sip", "sip-key"):
        from_caller, from_agent = captured(house, name)
        assert tones.seconds_of(tones.stretches(from_caller, 0, 440)) > 2
        assert tones.seconds_of(tones.stretches(from_agent, 0, 800)) > 1.5
        assert not tones.stretches(from_caller, 0, 1200)
