"""The only one that composes actions and reads their answers: typed values in, typed values out.

Owns Asterisk's spelling of actions and replies. It must not keep a connection: whoever inherits says which wire serves.
Invariant: nothing that could break out of its header is sent, and every action ends within its limit: with its answer,
or with AmiDown, AmiTimeout (both leave open whether Asterisk acted), AmiRefused or AmiUnsendable (nothing was done).

Sources: main/manager.c (Status, Getvar, Setvar, CoreStatus, CoreSettings), main/manager_bridges.c (BridgeInfo),
apps/app_queue.c (QueueStatus), apps/app_mixmonitor.c, res/res_monitor.c; the same from 16.28 to 22.10.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from recorder.ami.events import Headers
from recorder.ami.wire import AmiRefused, AmiTimeout, AmiUnsendable, PbxAction, Wire
from recorder.model import BridgeId, Channel, Linkedid, Uniqueid


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreStatus:
    """`started` is Asterisk's own clock without a zone, "2026-11-21 22:35:01": to compare, not to reckon with."""

    started: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelSnapshot:
    """One channel as it is now. An unset variable is absent."""

    channel: Channel
    bridge: BridgeId | None
    application: str
    context: str
    variables: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedCaller:
    """A caller waiting now; Asterisk names no linkedid here (app_queue.c, QueueEntry)."""

    queue: str
    channel: str
    uniqueid: Uniqueid
    waited: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueMember:
    """`interface` is what the queue rings, `watched` whose state it looks at: of a Local member the phone behind it."""

    queue: str
    interface: str
    watched: str
    name: str
    paused: bool
    in_call: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueStatus:
    callers: tuple[QueuedCaller, ...]
    members: tuple[QueueMember, ...]


class Actions:
    """What the PBX can be asked to do. `action_limit` is the longest wait for one answer."""

    action_limit: timedelta

    def _usable(self) -> Wire:
        """The wire to speak on, or AmiDown."""
        raise NotImplementedError

    async def ping(self) -> None:
        await self._act("Ping", {})

    async def stop_mixmonitor(self, channel: str, mixmonitor: str) -> None:
        """Stop the one MixMonitor `mixmonitor` of `channel`; its files are closed when this returns (16 and later)."""
        await self._act("StopMixMonitor", {"Channel": _named(channel), "MixMonitorID": _named(mixmonitor)})

    async def stop_newest_mixmonitor(self, channel: str) -> None:
        """Stop whichever MixMonitor of `channel` was started last (16 and 22); AmiRefused where there is none."""
        await self._act("StopMixMonitor", {"Channel": _named(channel)})

    async def mute_every_mixmonitor(self, channel: str) -> None:
        """Have all of them write silence, from 18.18 and 20.3 on; before that only the one that was started first."""
        await self._act("MixMonitorMute", {"Channel": _named(channel), "Direction": "both", "State": "1"})

    async def stop_monitor(self, channel: str) -> None:
        """End the old Monitor(); AmiRefused where there is none, or no such thing any more (21 and later)."""
        await self._act("StopMonitor", {"Channel": _named(channel)})

    async def hang_up(self, channel: str) -> None:
        """Hang up exactly this channel; AmiUnsendable for what Asterisk would read as a pattern of names."""
        if channel.startswith("/"):
            raise AmiUnsendable("a channel is hung up by its name, not by a pattern")
        await self._act("Hangup", {"Channel": _named(channel)})

    async def running(self, channel: str) -> tuple[str, str]:
        """The application that the channel runs now, and its arguments. AmiRefused where there is no such channel."""
        items = await self._act("Status", {"Channel": _named(channel)}, listing=True)
        status = next((item for item in items if first(item, "event") == "Status"), {})
        return _text(first(status, "application")), _text(first(status, "data"))

    async def mute_mixmonitor(self, channel: str, mixmonitor: str, *, muted: bool) -> None:
        """Write silence, or sound again, for both directions. Asterisk 16 ignores the id: the first attached counts."""
        state = "1" if muted else "0"
        fields = {"Channel": _named(channel), "MixMonitorID": mixmonitor, "Direction": "both", "State": state}
        await self._act("MixMonitorMute", fields)

    async def press(self, channel: str, digit: str) -> None:
        """Let Asterisk take `digit` as one that was pressed on the telephone of this channel (16 and 22)."""
        fields = {"Channel": _named(channel), "Digit": digit, "Duration": "80", "Receive": "true"}
        await self._act("PlayDTMF", fields)

    async def getvar(self, channel: str, variable: str) -> str | None:
        """A channel's variable or function; None where it is unset or empty, which Asterisk does not tell apart."""
        replies = await self._act("Getvar", {"Channel": _named(channel), "Variable": variable})
        return first(replies[0], "value") or None

    async def evaluate(self, function: str) -> str | None:
        """A dialplan function without any channel; None where it is empty. What Asterisk calls dangerous it refuses."""
        replies = await self._act("Getvar", {"Variable": _named(function)})
        return first(replies[0], "value") or None

    async def setvar(self, channel: str, variable: str, value: str) -> None:
        await self._act("Setvar", {"Channel": _named(channel), "Variable": _named(variable), "Value": value})

    async def play_key(self, channel: str, key: str) -> None:
        """Send the tone of a key to who is at `channel`; nobody else in the bridge hears it."""
        await self._act("PlayDTMF", {"Channel": _named(channel), "Digit": key, "Duration": "200"})

    async def set_global(self, variable: str, value: str) -> None:
        """A global variable of the dialplan; it lives as long as Asterisk does."""
        await self._act("Setvar", {"Variable": _named(variable), "Value": value})

    async def channels(self, variables: Sequence[str] = ()) -> list[ChannelSnapshot]:
        """Every channel now, with these variables of each.

        Status, not CoreShowChannels: one round trip brings the variables too, and write=call is enough for it.
        """
        fields = {"Variables": ",".join(variables)} if variables else {}
        items = await self._act("Status", fields, listing=True)
        return [_snapshot_from_status(item) for item in items if first(item, "event") == "Status"]

    async def channel(self, name: str, variables: Sequence[str] = ()) -> ChannelSnapshot | None:
        """One channel now, with these variables; None where there is no such channel."""
        fields = {"Channel": _named(name)} | ({"Variables": ",".join(variables)} if variables else {})
        try:
            items = await self._act("Status", fields, listing=True)
        except AmiRefused:
            return None
        rows = (_snapshot_from_status(item) for item in items if first(item, "event") == "Status")
        return next(rows, None)

    async def bridge_members(self, bridge: BridgeId) -> list[Channel]:
        """Who is in the bridge now. AmiRefused where there is no such bridge."""
        items = await self._act("BridgeInfo", {"BridgeUniqueid": _named(bridge)}, listing=True)
        return [_channel_from_headers(item) for item in items if first(item, "event") == "BridgeInfoChannel"]

    async def queue_status(self) -> QueueStatus:
        """Who waits and who serves, in every queue. Calls already with an agent are not among the callers."""
        items = await self._act("QueueStatus", {}, listing=True)
        return QueueStatus(
            callers=tuple(_caller_from_entry(item) for item in items if first(item, "event") == "QueueEntry"),
            members=tuple(_member_from_item(item) for item in items if first(item, "event") == "QueueMember"),
        )

    async def core_status(self) -> CoreStatus:
        """Asterisk's start time and version. AmiRefused where the account lacks write=reporting."""
        return await self._core_status(self._usable())

    async def _core_status(self, wire: Wire) -> CoreStatus:
        (status,) = await self._ask(wire, "CoreStatus", {})
        (settings,) = await self._ask(wire, "CoreSettings", {})
        started = f"{first(status, 'corestartupdate')} {first(status, 'corestartuptime')}"
        return CoreStatus(started=started, version=first(settings, "asteriskversion"))

    async def _act(self, name: str, fields: Mapping[str, str], *, listing: bool = False) -> list[Headers]:
        return await self._ask(self._usable(), name, fields, listing=listing)

    async def _ask(
        self,
        wire: Wire,
        name: str,
        fields: Mapping[str, str],
        *,
        listing: bool = False,
        limit: timedelta | None = None,
    ) -> list[Headers]:
        """Send an action and wait for its whole answer: the Response, then the items of its list."""
        action = PbxAction(name, fields, listing=listing)
        answer = wire.send(action)
        try:
            async with asyncio.timeout((limit or self.action_limit).total_seconds()):
                return await answer
        except TimeoutError as error:
            raise AmiTimeout(f"{name} unanswered") from error
        finally:
            wire.forget(action)


def _named(value: str) -> str:
    """Refuse an empty name: Asterisk takes it for "global", "all" or "any"."""
    if not value:
        raise AmiUnsendable("a channel, variable, bridge or MixMonitor must be named")
    return value


def first(headers: Headers, name: str) -> str:
    values = headers.get(name)
    return values[0] if values else ""


def _channel_from_headers(headers: Headers) -> Channel:
    return Channel(
        name=first(headers, "channel"),
        uniqueid=Uniqueid(first(headers, "uniqueid")),
        linkedid=Linkedid(first(headers, "linkedid")),
    )


def _snapshot_from_status(headers: Headers) -> ChannelSnapshot:
    pairs = [line.partition("=") for line in headers.get("variable", [])]
    return ChannelSnapshot(
        channel=_channel_from_headers(headers),
        bridge=BridgeId(first(headers, "bridgeid")) or None,
        application=_text(first(headers, "application")),
        context=first(headers, "context"),
        variables={name: value for name, _, value in pairs if _text(value)},
    )


def _text(value: str) -> str:
    """Asterisk prints "(null)" for what is unset in a Status (16 and 22)."""
    return "" if value == "(null)" else value


def _caller_from_entry(headers: Headers) -> QueuedCaller:
    return QueuedCaller(
        queue=first(headers, "queue"),
        channel=first(headers, "channel"),
        uniqueid=Uniqueid(first(headers, "uniqueid")),
        waited=timedelta(seconds=int(first(headers, "wait") or 0)),
    )


def _member_from_item(headers: Headers) -> QueueMember:
    return QueueMember(
        queue=first(headers, "queue"),
        interface=first(headers, "location"),
        watched=first(headers, "stateinterface"),
        name=first(headers, "name"),
        paused=first(headers, "paused") == "1",
        in_call=first(headers, "incall") == "1",
    )
