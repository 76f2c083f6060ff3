"""A few events as Asterisk writes them, and what each means to the product: the cast of the AMI tests."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime

from recorder.model import (
    AgentConnected,
    AgentRung,
    BridgeEntered,
    BridgeId,
    BridgeLeft,
    CallerAbandonedQueue,
    CallerJoinedQueue,
    CallerLeftQueue,
    Channel,
    ChannelHungUp,
    ChannelRenamed,
    ConferenceRecorded,
    ConferenceUnrecorded,
    DialBegan,
    HoldBegan,
    HoldEnded,
    Link,
    Linkedid,
    LocalBridged,
    LocalOptimised,
    MixMonitorMuted,
    MixMonitorStarted,
    MixMonitorStopped,
    MonitorStarted,
    MonitorStopped,
    PbxEvent,
    SpyBegan,
    SpyEnded,
    TransferAttended,
    Uniqueid,
    UserEventRaised,
)
from tests.fakes.pbx import event, snapshot

NOW = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
CALLER = Channel(name="PJSIP/caller-00000001", uniqueid=Uniqueid("1795298000.1"), linkedid=Linkedid("1795298000.1"))
SECOND_LEG = Channel(name="PJSIP/agent-00000003", uniqueid=Uniqueid("1795298000.3"), linkedid=Linkedid("1795298000.3"))
AGENT = Channel(name="PJSIP/agent-00000002", uniqueid=Uniqueid("1795298000.2"), linkedid=Linkedid("1795298000.1"))
BRIDGE = BridgeId("7d0c9a52-0000-4000-8000-000000000001")


def shown(channel: Channel, prefix: str = "") -> list[tuple[str, object]]:
    return snapshot(channel.name, channel.uniqueid, channel.linkedid, prefix)


def bridged(kind: str, channel: Channel, count: int, *more: tuple[str, object]) -> bytes:
    bridge: list[tuple[str, object]] = [
        ("BridgeUniqueid", BRIDGE),
        ("BridgeType", "basic"),
        ("BridgeTechnology", "simple_bridge"),
        ("BridgeCreator", "<unknown>"),
        ("BridgeName", "<unknown>"),
        ("BridgeNumChannels", count),
        ("BridgeVideoSourceMode", "none"),
    ]
    return event(kind, *bridge, *shown(channel), *more)


def hangup(number: int) -> bytes:
    uniqueid = f"1795298000.{number}"
    return event("Hangup", *snapshot(f"PJSIP/x-{number:08x}", uniqueid, uniqueid), ("Cause", 16))


def numbers(events: Iterable[PbxEvent]) -> list[int]:
    """Which hangups arrived, in order."""
    return [int(one.channel.uniqueid.partition(".")[2]) for one in events if isinstance(one, ChannelHungUp)]


EVERY_EVENT: list[tuple[bytes, PbxEvent]] = [
    (
        event("QueueCallerJoin", *shown(CALLER), ("Queue", "support"), ("Position", 1), ("Count", 1)),
        CallerJoinedQueue(at=NOW, channel=CALLER, queue="support"),
    ),
    (
        event("QueueCallerLeave", *shown(CALLER), ("Queue", "support"), ("Count", 0), ("Position", 1)),
        CallerLeftQueue(at=NOW, channel=CALLER, queue="support"),
    ),
    (
        event("QueueCallerAbandon", *shown(CALLER), ("Queue", "support"), ("HoldTime", 3)),
        CallerAbandonedQueue(at=NOW, channel=CALLER, queue="support"),
    ),
    (
        event(
            "AgentCalled",
            *shown(CALLER),
            *shown(AGENT, "Dest"),
            ("Queue", "support"),
            ("MemberName", "Ada"),
            ("Interface", "PJSIP/agent"),
            privilege="agent,all",
        ),
        AgentRung(at=NOW, channel=CALLER, agent=AGENT),
    ),
    (
        event(
            "AgentConnect",
            *shown(CALLER),
            *shown(AGENT, "Dest"),
            ("Queue", "support"),
            ("MemberName", "Ada"),
            ("Interface", "PJSIP/agent"),
            ("RingTime", 1),
            privilege="agent,all",
        ),
        AgentConnected(at=NOW, channel=CALLER, agent=AGENT, queue="support", interface="PJSIP/agent"),
    ),
    (
        event("DialBegin", *shown(CALLER), *shown(AGENT, "Dest"), ("DialString", "agent")),
        DialBegan(at=NOW, channel=CALLER, dialled=AGENT),
    ),
    (
        event("DialBegin", *shown(AGENT, "Dest"), ("DialString", "agent")),
        DialBegan(at=NOW, channel=None, dialled=AGENT),
    ),
    (
        event("LocalBridge", *shown(CALLER, "LocalOne"), *shown(AGENT, "LocalTwo"), ("LocalOptimization", "No")),
        LocalBridged(at=NOW, one=CALLER, two=AGENT),
    ),
    (
        event("LocalOptimizationBegin", *shown(CALLER, "LocalOne"), *shown(AGENT, "LocalTwo"), ("Id", 3)),
        LocalOptimised(at=NOW, one=CALLER, two=AGENT),
    ),
    (
        bridged("BridgeEnter", CALLER, 2),
        BridgeEntered(at=NOW, channel=CALLER, bridge=BRIDGE, bridge_type="basic", channels=2),
    ),
    (
        bridged("BridgeEnter", AGENT, 2, ("SwapUniqueid", "1795298000.7")),
        BridgeEntered(
            at=NOW,
            channel=AGENT,
            bridge=BRIDGE,
            bridge_type="basic",
            channels=2,
            swapped=Uniqueid("1795298000.7"),
        ),
    ),
    (bridged("BridgeLeave", AGENT, 1), BridgeLeft(at=NOW, channel=AGENT, bridge=BRIDGE, channels=1)),
    (
        event(
            "AttendedTransfer",
            ("Result", "Success"),
            *shown(AGENT, "OrigTransferer"),
            *shown(AGENT, "SecondTransferer"),
            *shown(CALLER, "Transferee"),
            ("IsExternal", "No"),
            ("DestType", "Bridge"),
            ("DestBridgeUniqueid", BRIDGE),
        ),
        TransferAttended(at=NOW, channel=CALLER, transferer=AGENT, joined=True),
    ),
    (
        event(
            "AttendedTransfer",
            ("Result", "Success"),
            *shown(AGENT, "OrigTransferer"),
            *shown(CALLER, "Transferee"),
            ("DestType", "Threeway"),
            ("DestBridgeUniqueid", BRIDGE),
        ),
        TransferAttended(at=NOW, channel=CALLER, transferer=AGENT, joined=False),
    ),
    (
        event(
            "AttendedTransfer",
            ("Result", "Success"),
            *shown(AGENT, "OrigTransferer"),
            *shown(SECOND_LEG, "SecondTransferer"),
            *shown(CALLER, "Transferee"),
            ("DestType", "Link"),
            *shown(AGENT, "LocalOne"),
            *shown(SECOND_LEG, "LocalTwo"),
        ),
        TransferAttended(
            at=NOW,
            channel=CALLER,
            transferer=AGENT,
            joined=False,
            link=Link(second=SECOND_LEG, one=AGENT, two=SECOND_LEG),
        ),
    ),
    (event("Hold", *shown(AGENT), ("MusicClass", "default")), HoldBegan(at=NOW, channel=AGENT)),
    (event("Unhold", *shown(AGENT)), HoldEnded(at=NOW, channel=AGENT)),
    (event("MixMonitorStart", *shown(CALLER)), MixMonitorStarted(at=NOW, channel=CALLER)),
    (event("MixMonitorStop", *shown(CALLER)), MixMonitorStopped(at=NOW, channel=CALLER)),
    (
        event("MixMonitorMute", *shown(CALLER), ("Direction", "both"), ("State", 1)),
        MixMonitorMuted(at=NOW, channel=CALLER, direction="both", muted=True),
    ),
    (
        event("MixMonitorMute", *shown(CALLER), ("Direction", "read"), ("State", 0)),
        MixMonitorMuted(at=NOW, channel=CALLER, direction="read", muted=False),
    ),
    (event("MonitorStart", *shown(CALLER)), MonitorStarted(at=NOW, channel=CALLER)),
    (event("MonitorStop", *shown(CALLER)), MonitorStopped(at=NOW, channel=CALLER)),
    (
        event("ChanSpyStart", *shown(AGENT, "Spyer"), *shown(CALLER, "Spyee")),
        SpyBegan(at=NOW, channel=CALLER, spy=AGENT),
    ),
    (
        event("ChanSpyStop", *shown(AGENT, "Spyer"), *shown(CALLER, "Spyee")),
        SpyEnded(at=NOW, channel=CALLER, spy=AGENT),
    ),
    (
        event("ConfbridgeRecord", ("Conference", "77"), ("BridgeUniqueid", BRIDGE), ("BridgeType", "base")),
        ConferenceRecorded(at=NOW, bridge=BRIDGE),
    ),
    (
        event("ConfbridgeStopRecord", ("Conference", "77"), ("BridgeUniqueid", BRIDGE), ("BridgeType", "base")),
        ConferenceUnrecorded(at=NOW, bridge=BRIDGE),
    ),
    (
        event("ConfbridgeEnd", ("Conference", "77"), ("BridgeUniqueid", BRIDGE), ("BridgeType", "base")),
        ConferenceUnrecorded(at=NOW, bridge=BRIDGE),
    ),
    (
        event("Rename", ("Channel", "PJSIP/old-1"), ("Newname", AGENT.name), ("Uniqueid", AGENT.uniqueid)),
        ChannelRenamed(at=NOW, channel=replace(AGENT, linkedid=Linkedid(""))),
    ),
    (event("Hangup", *shown(CALLER), ("Cause", 16)), ChannelHungUp(at=NOW, channel=CALLER)),
    (
        event("UserEvent", *shown(CALLER), ("UserEvent", "RecorderKey"), ("Key", "Ёлка"), ("Empty", "")),
        UserEventRaised(at=NOW, channel=CALLER, name="RecorderKey", fields={"Key": "Ёлка", "Empty": ""}),
    ),
]
NOT_OURS = event("Newexten", *shown(CALLER), ("Extension", "s"), ("Application", "Queue"), ("AppData", ""))
CALL = [bytes_ for bytes_, _ in EVERY_EVENT[:10]]
TRANSFER = [bytes_ for bytes_, _ in EVERY_EVENT[10:]]
BANNER = b"Asterisk Call Manager/11.0.0\r\n"
