"""The only one that knows how Asterisk spells its events: AMI frame -> frozen event of recorder.model, or nothing.

Owns the table EVENTS. Pure: bytes in, a value out, no state. It must not touch a socket. It reads only the headers that
an event needs, by search in the bytes: that is why one event costs microseconds.
Invariant: a frame that lacks a header its event needs raises ValueError and never becomes a half-true event.

Header names: main/{manager_channels,manager_bridges,core_local,stasis,channel}.c, res/res_monitor.c, apps/app_queue.c
and apps/confbridge/confbridge_manager.c of Asterisk, the same from 16.28 to 22.10. Of a repeated header the first
counts: a snapshot's own come before what a dialplan may add.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

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

EOL = b"\r\n"

Headers = Mapping[str, list[str]]
Translator = Callable[[bytes, datetime], PbxEvent | None]


def headers_from_frame(frame: bytes) -> dict[str, list[str]]:
    """Every header of a frame: lower-cased name -> its values in order. An empty value stays, as ""."""
    headers: dict[str, list[str]] = {}
    for line in frame.decode("utf-8", "replace").split("\r\n"):
        name, colon, value = line.partition(":")
        if colon:
            headers.setdefault(name.strip().lower(), []).append(value.removeprefix(" "))
    return headers


def _key(name: str) -> bytes:
    return f"\r\n{name}: ".encode()


def _value(frame: bytes, key: bytes) -> str:
    start = frame.index(key) + len(key)
    end = frame.find(EOL, start)
    return str(frame[start:] if end < 0 else frame[start:end], "utf-8", "replace")


def _channel(prefix: str = "") -> Callable[[bytes], Channel]:
    """A reader of the channel snapshot whose headers all begin with `prefix`."""
    name, uniqueid, linkedid = _key(f"{prefix}Channel"), _key(f"{prefix}Uniqueid"), _key(f"{prefix}Linkedid")

    def read(frame: bytes) -> Channel:
        return Channel(
            name=_value(frame, name),
            uniqueid=Uniqueid(_value(frame, uniqueid)),
            linkedid=Linkedid(_value(frame, linkedid)),
        )

    return read


_CHANNEL = _key("Channel")
_NEW_NAME = _key("Newname")
_UNIQUEID = _key("Uniqueid")
_QUEUE = _key("Queue")
_INTERFACE = _key("Interface")
_BRIDGE = _key("BridgeUniqueid")
_BRIDGE_TYPE = _key("BridgeType")
_BRIDGE_CHANNELS = _key("BridgeNumChannels")
_SWAPPED = _key("SwapUniqueid")
_DIRECTION = _key("Direction")
_STATE = _key("State")
_USER_EVENT = _key("UserEvent")
_SPIED = _key("SpyeeChannel")
_TRANSFEREE = _key("TransfereeUniqueid")
_RESULT = _key("Result")
_DESTINATION = _key("DestType")
_OURS = _USER_EVENT + b"Recorder"

_subject = _channel()
_dialled = _channel("Dest")
_half_one = _channel("LocalOne")
_half_two = _channel("LocalTwo")
_transferee = _channel("Transferee")
_transferer = _channel("OrigTransferer")
_second_leg = _channel("SecondTransferer")
_spy = _channel("Spyer")
_spied = _channel("Spyee")


def _joined(frame: bytes, at: datetime) -> PbxEvent:
    return CallerJoinedQueue(at=at, channel=_subject(frame), queue=_value(frame, _QUEUE))


def _left_queue(frame: bytes, at: datetime) -> PbxEvent:
    return CallerLeftQueue(at=at, channel=_subject(frame), queue=_value(frame, _QUEUE))


def _abandoned(frame: bytes, at: datetime) -> PbxEvent:
    return CallerAbandonedQueue(at=at, channel=_subject(frame), queue=_value(frame, _QUEUE))


def _agent_rung(frame: bytes, at: datetime) -> PbxEvent:
    return AgentRung(at=at, channel=_subject(frame), agent=_dialled(frame))


def _agent_connected(frame: bytes, at: datetime) -> PbxEvent:
    return AgentConnected(
        at=at,
        channel=_subject(frame),
        agent=_dialled(frame),
        queue=_value(frame, _QUEUE),
        interface=_value(frame, _INTERFACE),
    )


def _dial_began(frame: bytes, at: datetime) -> PbxEvent:
    caller = _subject(frame) if _CHANNEL in frame else None
    return DialBegan(at=at, channel=caller, dialled=_dialled(frame))


def _local_bridged(frame: bytes, at: datetime) -> PbxEvent:
    return LocalBridged(at=at, one=_half_one(frame), two=_half_two(frame))


def _local_optimised(frame: bytes, at: datetime) -> PbxEvent:
    return LocalOptimised(at=at, one=_half_one(frame), two=_half_two(frame))


def _link(frame: bytes) -> Link:
    return Link(second=_second_leg(frame), one=_half_one(frame), two=_half_two(frame))


def _transfer_attended(frame: bytes, at: datetime) -> PbxEvent | None:
    """One of a whole bridge names nobody who was transferred (main/stasis_bridges.c)."""
    if _TRANSFEREE not in frame:
        return None
    result, destination = _value(frame, _RESULT), _value(frame, _DESTINATION)
    joined = (result, destination) == ("Success", "Bridge")
    return TransferAttended(
        at=at,
        channel=_transferee(frame),
        transferer=_transferer(frame),
        joined=joined,
        link=_link(frame) if (result, destination) == ("Success", "Link") else None,
    )


def _bridge_entered(frame: bytes, at: datetime) -> PbxEvent:
    return BridgeEntered(
        at=at,
        channel=_subject(frame),
        bridge=BridgeId(_value(frame, _BRIDGE)),
        bridge_type=_value(frame, _BRIDGE_TYPE),
        channels=int(_value(frame, _BRIDGE_CHANNELS)),
        swapped=Uniqueid(_value(frame, _SWAPPED)) if _SWAPPED in frame else None,
    )


def _bridge_left(frame: bytes, at: datetime) -> PbxEvent:
    return BridgeLeft(
        at=at,
        channel=_subject(frame),
        bridge=BridgeId(_value(frame, _BRIDGE)),
        channels=int(_value(frame, _BRIDGE_CHANNELS)),
    )


def _hold_began(frame: bytes, at: datetime) -> PbxEvent:
    return HoldBegan(at=at, channel=_subject(frame))


def _hold_ended(frame: bytes, at: datetime) -> PbxEvent:
    return HoldEnded(at=at, channel=_subject(frame))


def _mixmonitor_started(frame: bytes, at: datetime) -> PbxEvent:
    return MixMonitorStarted(at=at, channel=_subject(frame))


def _mixmonitor_stopped(frame: bytes, at: datetime) -> PbxEvent:
    return MixMonitorStopped(at=at, channel=_subject(frame))


def _mixmonitor_muted(frame: bytes, at: datetime) -> PbxEvent:
    return MixMonitorMuted(
        at=at,
        channel=_subject(frame),
        direction=_value(frame, _DIRECTION),
        muted=int(_value(frame, _STATE)) != 0,
    )


def _monitor_started(frame: bytes, at: datetime) -> PbxEvent:
    return MonitorStarted(at=at, channel=_subject(frame))


def _monitor_stopped(frame: bytes, at: datetime) -> PbxEvent:
    return MonitorStopped(at=at, channel=_subject(frame))


def _spy_began(frame: bytes, at: datetime) -> PbxEvent:
    return SpyBegan(at=at, channel=_spied(frame), spy=_spy(frame))


def _spy_ended(frame: bytes, at: datetime) -> PbxEvent | None:
    """One that never heard anybody names nobody (main/manager_channels.c)."""
    return SpyEnded(at=at, channel=_spied(frame), spy=_spy(frame)) if _SPIED in frame else None


def _conference_recorded(frame: bytes, at: datetime) -> PbxEvent:
    return ConferenceRecorded(at=at, bridge=BridgeId(_value(frame, _BRIDGE)))


def _conference_unrecorded(frame: bytes, at: datetime) -> PbxEvent:
    return ConferenceUnrecorded(at=at, bridge=BridgeId(_value(frame, _BRIDGE)))


def _renamed(frame: bytes, at: datetime) -> PbxEvent:
    # Rename carries Channel (the old name), Newname and Uniqueid, and no Linkedid (main/channel.c).
    channel = Channel(name=_value(frame, _NEW_NAME), uniqueid=Uniqueid(_value(frame, _UNIQUEID)), linkedid=Linkedid(""))
    return ChannelRenamed(at=at, channel=channel)


def _hung_up(frame: bytes, at: datetime) -> PbxEvent:
    return ChannelHungUp(at=at, channel=_subject(frame))


def _user_event(frame: bytes, at: datetime) -> PbxEvent | None:
    """Ours only. The body follows the UserEvent header (main/stasis.c), after everything Asterisk says by itself."""
    if _OURS not in frame or not (name := _value(frame, _USER_EVENT)).startswith("Recorder"):
        return None
    body = frame[frame.index(_USER_EVENT) :].partition(EOL)[2].partition(EOL)[2]
    fields: dict[str, str] = {}
    for line in body.decode("utf-8", "replace").split("\r\n"):
        key, colon, value = line.partition(":")
        if colon and not key.startswith("ChanVariable"):
            fields.setdefault(key.strip(), value.removeprefix(" "))
    return UserEventRaised(at=at, channel=_subject(frame), name=name, fields=fields)


EVENTS: Mapping[bytes, Translator] = {
    b"QueueCallerJoin": _joined,
    b"QueueCallerLeave": _left_queue,
    b"QueueCallerAbandon": _abandoned,
    b"AgentCalled": _agent_rung,
    b"AgentConnect": _agent_connected,
    b"DialBegin": _dial_began,
    b"LocalBridge": _local_bridged,
    b"LocalOptimizationBegin": _local_optimised,
    b"AttendedTransfer": _transfer_attended,
    b"BridgeEnter": _bridge_entered,
    b"BridgeLeave": _bridge_left,
    b"Hold": _hold_began,
    b"Unhold": _hold_ended,
    b"MixMonitorStart": _mixmonitor_started,
    b"MixMonitorStop": _mixmonitor_stopped,
    b"MixMonitorMute": _mixmonitor_muted,
    b"MonitorStart": _monitor_started,
    b"MonitorStop": _monitor_stopped,
    b"ChanSpyStart": _spy_began,
    b"ChanSpyStop": _spy_ended,
    b"ConfbridgeRecord": _conference_recorded,
    b"ConfbridgeStopRecord": _conference_unrecorded,
    b"ConfbridgeEnd": _conference_unrecorded,
    b"Rename": _renamed,
    b"Hangup": _hung_up,
    b"UserEvent": _user_event,
}
