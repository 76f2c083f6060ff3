"""What the product's AMI side relies on, said once and run on every PBX there is: the fake one and a real Asterisk.

A test module takes it in with `from tests.edge.ami_contract import *` and adds a fixture `pbx`, a PbxUnderTest.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Protocol

import pytest

from recorder.ami import Ami, AmiAddress, AmiRefused, AmiUnsendable, PbxFacts
from recorder.model import BridgeId, ChannelHungUp, PbxEvent, UserEventRaised

__all__ = [
    "PbxUnderTest",
    "Session",
    "session",
    "test_a_channel_is_listed_with_the_variables_asked_for_and_without_the_unset",
    "test_a_hangup_arrives_with_the_channel_it_was",
    "test_a_login_tells_the_version_and_the_start_time",
    "test_a_ping_is_answered",
    "test_a_user_event_of_ours_arrives_with_its_fields_and_a_strangers_does_not",
    "test_a_value_that_would_break_out_of_its_header_is_never_sent",
    "test_a_variable_reads_as_it_was_set",
    "test_a_wrong_secret_is_refused_by_name",
    "test_an_unknown_bridge_is_refused",
    "test_an_unknown_channel_is_refused",
    "test_an_unset_variable_reads_as_none",
    "test_queues_can_be_asked_for",
]


class PbxUnderTest(Protocol):
    """Any PBX that the contract can be held against."""

    host: str
    port: int
    username: str
    secret: str

    async def start_channel(self) -> str:
        """Start a channel that stays until hung up; its name."""

    async def hang_up(self, name: str) -> None: ...

    async def raise_user_event(self, channel: str, name: str, fields: Mapping[str, str]) -> None:
        """Have the channel's dialplan raise a UserEvent."""


class Session:
    """A connected Ami with what it told."""

    def __init__(self, ami: Ami, events: asyncio.Queue[PbxEvent], facts: PbxFacts) -> None:
        self.ami = ami
        self.events = events
        self.facts = facts

    async def next(self, kind: type[PbxEvent]) -> PbxEvent:
        """The next event of this kind; those of other kinds before it are passed over."""
        async with asyncio.timeout(10):
            while not isinstance(event := await self.events.get(), kind):
                pass
            return event


def _address(pbx: PbxUnderTest, secret: str | None = None) -> AmiAddress:
    return AmiAddress(host=pbx.host, port=pbx.port, username=pbx.username, secret=secret or pbx.secret)


@pytest.fixture
async def session(pbx: PbxUnderTest) -> AsyncIterator[Session]:
    events: asyncio.Queue[PbxEvent] = asyncio.Queue()
    up: asyncio.Queue[PbxFacts] = asyncio.Queue()
    async with Ami(_address(pbx), events.put_nowait, connected=up.put_nowait) as ami:
        async with asyncio.timeout(10):
            facts = await up.get()
        yield Session(ami, events, facts)


async def test_a_login_tells_the_version_and_the_start_time(session: Session) -> None:
    core = session.facts.core
    assert core is not None
    assert session.facts.banner.count(".") == 2
    assert core.version.split(".")[0].isdecimal()
    assert len(core.started) == len("2026-11-21 08:00:00")
    assert await session.ami.core_status() == core
    assert not session.facts.restarted


async def test_a_wrong_secret_is_refused_by_name(pbx: PbxUnderTest) -> None:
    reasons: asyncio.Queue[str] = asyncio.Queue()
    async with Ami(_address(pbx, "wrong"), lambda _: None, disconnected=reasons.put_nowait) as ami:
        async with asyncio.timeout(10):
            assert await reasons.get() == "ami_login_refused: Authentication failed"
        assert not ami.state.connected


async def test_a_ping_is_answered(session: Session) -> None:
    await session.ami.ping()


async def test_an_unset_variable_reads_as_none(pbx: PbxUnderTest, session: Session) -> None:
    assert await session.ami.getvar(await pbx.start_channel(), "RECORDER_NOTHING") is None


async def test_a_variable_reads_as_it_was_set(pbx: PbxUnderTest, session: Session) -> None:
    channel = await pbx.start_channel()
    await session.ami.setvar(channel, "RECORDER_NOTE", "a: b, c=d")
    assert await session.ami.getvar(channel, "RECORDER_NOTE") == "a: b, c=d"


async def test_a_channel_is_listed_with_the_variables_asked_for_and_without_the_unset(
    pbx: PbxUnderTest, session: Session
) -> None:
    name = await pbx.start_channel()
    await session.ami.setvar(name, "RECORDER_NOTE", "kept=whole")
    listed = await session.ami.channels(["RECORDER_NOTE", "RECORDER_NOTHING"])
    (found,) = [snapshot for snapshot in listed if snapshot.channel.name == name]
    assert found.variables == {"RECORDER_NOTE": "kept=whole"}
    assert found.channel.uniqueid
    assert found.channel.linkedid
    assert found.application
    assert found.context
    assert found.bridge is None


async def test_an_unknown_channel_is_refused(session: Session) -> None:
    with pytest.raises(AmiRefused):
        await session.ami.stop_mixmonitor("Local/nobody@nowhere-1;1", "0x1")
    with pytest.raises(AmiRefused):
        await session.ami.mute_mixmonitor("Local/nobody@nowhere-1;1", "0x1", muted=True)
    with pytest.raises(AmiRefused):
        await session.ami.getvar("Local/nobody@nowhere-1;1", "RECORDER_NOTE")


async def test_an_unknown_bridge_is_refused(session: Session) -> None:
    with pytest.raises(AmiRefused):
        await session.ami.bridge_members(BridgeId("no-such-bridge"))


async def test_queues_can_be_asked_for(session: Session) -> None:
    status = await session.ami.queue_status()
    assert all(caller.queue for caller in status.callers)
    assert all(member.interface for member in status.members)


async def test_a_user_event_of_ours_arrives_with_its_fields_and_a_strangers_does_not(
    pbx: PbxUnderTest, session: Session
) -> None:
    channel = await pbx.start_channel()
    await pbx.raise_user_event(channel, "SomebodyElse", {"Answer": "41"})
    await pbx.raise_user_event(channel, "RecorderProbe", {"Answer": "42", "Line": "support"})
    event = await session.next(UserEventRaised)
    assert isinstance(event, UserEventRaised)
    assert (event.name, event.channel.name) == ("RecorderProbe", channel)
    assert event.fields == {"Answer": "42", "Line": "support"}


async def test_a_hangup_arrives_with_the_channel_it_was(pbx: PbxUnderTest, session: Session) -> None:
    name = await pbx.start_channel()
    (before,) = [one.channel for one in await session.ami.channels() if one.channel.name == name]
    await pbx.hang_up(name)
    while True:
        event = await session.next(ChannelHungUp)
        assert isinstance(event, ChannelHungUp)
        if event.channel == before:
            break


async def test_a_value_that_would_break_out_of_its_header_is_never_sent(pbx: PbxUnderTest, session: Session) -> None:
    channel = await pbx.start_channel()
    with pytest.raises(AmiUnsendable):
        await session.ami.setvar(channel, "RECORDER_NOTE", "x\r\n\r\nAction: Hangup\r\nChannel: /.*/")
    assert await session.ami.getvar(channel, "RECORDER_NOTE") is None
