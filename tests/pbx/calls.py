"""Places real calls on the test PBX and lets both parties go through their scripts.

Owns who calls whom: incoming calls to a line, personal calls, outgoing calls; over Local channels or SIP. What a
party does is in party.py, how SIPp is led in sip.py. Several calls may run side by side: an agent's phone answers only
the call it was meant for (over SIP: the first that rings).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from tests.pbx.admin import Admin, AdminError, Event
from tests.pbx.party import Gone, HangUp, Lived, Party, Say, Script, UntilBridged, Wait
from tests.pbx.server import PbxServer, free_port
from tests.pbx.sip import AGENT, OUTSIDE, Phone, SipParty

LINES = {"support": "18005550100", "sales": "18005550101"}
NUMBERED = ("support", "sales", "announced", "lawful", "closed")  # extensions.conf: HOUSE_LINES
OWN_QUEUES = 60  # queues.conf: own1 to own60
CALLER_TONE, AGENT_TONE = 440, 800


def talking(hz: int, seconds: float) -> Script:
    """Wait for the bridge, speak so long, hang up."""
    return (UntilBridged(), Say(hz), Wait(seconds), HangUp())


def staying(hz: int) -> Script:
    """Speak from the start until the other party hangs up."""
    return (Say(hz),)


@dataclass(slots=True, kw_only=True)
class Call:
    """One placed call. `placed` is who dialled, `answering` who was rung (None until somebody was).

    For an incoming call `placed` is the caller, for an outgoing one the agent.
    """

    placed: Party | SipParty
    answering: Party | SipParty | None = None
    rung: asyncio.Event = field(default_factory=asyncio.Event)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    sent_on: int = 0  # place in admin.events where the agent last began to send the caller on; before, it was in vain

    @property
    def linkedid(self) -> str:
        return self.placed.linkedid

    def linkedids(self, admin: Admin) -> set[str]:
        """Every linkedid that the caller's leg has had: Asterisk changes it where calls meet."""
        seen = admin.events[self.placed.since :]
        mine = {event["Linkedid"] for event in seen if event.get("Uniqueid") == self.placed.leg and "Linkedid" in event}
        return mine | {self.placed.linkedid}

    async def until_rung(self, *, timeout: float = 30) -> Party | SipParty:
        """The party that is rung, once it is."""
        await asyncio.wait_for(self.rung.wait(), timeout)
        assert self.answering is not None
        return self.answering

    async def until_ended(self, *, timeout: float = 60) -> tuple[Lived, Lived | None]:
        """What (who dialled, who was rung or None) lived through; raises what a script raised."""
        placed = await self.placed.until_ended(timeout=timeout)
        answering = await self.answering.until_ended(timeout=timeout) if self.answering else None
        await self.close()
        return placed, answering

    async def close(self) -> None:
        """End the scripts, whatever they wait for, and the phones; an error of a script is raised."""
        for task in self.tasks:
            if not task.done():
                task.cancel()
        for result in await asyncio.gather(*self.tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result
        for party in (self.placed, self.answering):
            if isinstance(party, SipParty):
                await party.phone.stop()
            elif party is not None:
                await party.drop()


@dataclass(frozen=True, slots=True)
class Listener:
    """A SIP phone that waits to be rung."""

    phone: Phone
    script: Script
    prefix: str
    port: int
    since: int


class Calls:
    """`async with Calls(pbx) as calls:`; at the end every call is hung up and no agent sits any more."""

    _serial = itertools.count(1)
    _queues = itertools.count()

    def __init__(self, pbx: PbxServer) -> None:
        self.pbx = pbx
        self.admin: Admin
        self._sessions: list[Admin] = []
        self._open: list[Call] = []
        self._phones: list[Phone] = []
        self._sitting: set[tuple[str, str]] = set()

    async def __aenter__(self) -> Self:
        self.admin = await self.pbx.admin()
        return self

    async def __aexit__(self, *_: object) -> None:
        for call in self._open:
            with contextlib.suppress(Exception):
                await call.close()
        with contextlib.suppress(AdminError, OSError, TimeoutError):
            await self.leave_all()
            await self.admin.action("Hangup", {"Channel": "/.*/"})
        for phone in self._phones:
            await phone.stop()
        for session in (*self._sessions, self.admin):
            await session.close()

    # ---------------------------------------------------------------- agents

    async def sit(self, line: str, interface: str) -> None:
        """An agent becomes a member of a line's queue; for one who sits there already, nothing happens."""
        if (line, interface) not in self._sitting:
            await self.admin.action("QueueAdd", {"Queue": line, "Interface": interface})
            self._sitting.add((line, interface))

    async def leave_all(self) -> None:
        for line, interface in sorted(self._sitting):
            await self.admin.action("QueueRemove", {"Queue": line, "Interface": interface})
        self._sitting.clear()

    # ---------------------------------------------------------------- calls

    async def incoming(
        self,
        line: str,
        caller: Script,
        agent: Script | None,
        *,
        agent_name: str = "agent1",
        number: str = "15550100",
        name: str = "",
        rings_for: float = 0,
        sip: bool = False,
        own_queue: bool = False,
        variables: dict[str, str] | None = None,
    ) -> Call:
        """A caller (`number`, `name`: its CallerID) dials a line. `agent` None: nobody answers.

        `own_queue`: the call waits in a queue that no other call is in, so that many may be placed at once.

        `sip`: both parties are SIPp. Over Local channels the agent is the member Local/AGENT_NAME@phones/n.
        `rings_for` are the seconds before the agent answers; `variables` are set on the caller's channel.
        """
        if sip:
            if agent is not None:
                await self.sit(line, "PJSIP/agent")
            return await self._by_sip(
                LINES[line], caller, agent, inside=False, number=number, name=name, rings_for=rings_for
            )
        queue = f"own{next(self._queues) % OWN_QUEUES + 1}" if own_queue else line
        if agent is not None:
            await self.sit(queue, f"Local/{agent_name}@phones/n")
        placed = LINES[line]
        variables = {**(variables or {}), "HOUSE_QUEUE": queue}
        return await self._by_local(
            placed,
            "from-outside",
            caller,
            agent,
            rings=agent_name,
            number=number,
            name=name,
            rings_for=rings_for,
            variables=variables,
        )

    async def personal(
        self,
        caller: Script,
        agent: Script | None,
        *,
        extension: str = "2001",
        number: str = "15550100",
        sip: bool = False,
        variables: dict[str, str] | None = None,
    ) -> Call:
        """A caller dials an agent's own extension (2001 to 2009; over SIP 2100)."""
        if sip:
            return await self._by_sip("2100", caller, agent, inside=False, number=number)
        return await self._by_local(
            extension, "from-outside", caller, agent, rings=extension, number=number, variables=variables
        )

    async def outgoing(
        self,
        agent: Script,
        callee: Script | None,
        *,
        number: str = "4165550123",
        sip: bool = False,
        variables: dict[str, str] | None = None,
    ) -> Call:
        """An agent dials 9 and a number for the line support. Over SIP the number begins with 555."""
        if sip:
            return await self._by_sip(f"9{number}", agent, callee, inside=True, number="2100")
        return await self._by_local(
            f"9{number}", "from-agents", agent, callee, rings=number, number="2001", variables=variables
        )

    # ---------------------------------------------------------------- calls that go on to somebody else

    def own_queue(self) -> str:
        """The number of a queue that no other call is in, three digits; its name is own and the number."""
        return f"{next(self._queues) % OWN_QUEUES + 1:03}"

    async def at_line(
        self,
        line: str,
        caller: Script,
        agent: Script | None,
        *,
        queue: str,
        member: str = "",
        sip: bool = False,
        variables: dict[str, str] | None = None,
    ) -> Call:
        """A caller dials `line` and waits in the queue own`queue`, where the member `member` answers.

        Over Local channels `member` is the phone's name; over SIP the member is a phone of its own.
        """
        dialled = line_number(line, queue)
        if not sip:
            if agent is not None:
                await self.sit(f"own{int(queue)}", f"Local/{member}@phones/n")
            return await self._by_local(
                dialled, "from-outside", caller, agent, rings=member, number="15550100", variables=variables
            )
        port = await self.sit_at_phone(f"own{int(queue)}") if agent is not None else 0
        return await self._by_sip(dialled, caller, agent, inside=False, number=f"1555{port or 1:06}", desk=port)

    async def sit_at_phone(self, queue: str) -> int:
        """A SIP phone of its own becomes a member of a queue; the port where it will be rung."""
        port = free_port()
        interface = f"PJSIP/agent/sip:desk@{AGENT}:{port}"
        # Its state is that of the endpoint, which all these phones share: the queues ring who is in use, too.
        given = {"Queue": queue, "Interface": interface, "StateInterface": "PJSIP/agent"}
        await self.admin.action("QueueAdd", given)
        self._sitting.add((queue, interface))
        return port

    async def dial(
        self, dialled: str, script: Script, *, inside: bool = True, sip: bool = False, **variables: str
    ) -> Call:
        """Somebody in the house (or `inside` False: outside) dials an extension; `joins` says who answers."""
        if sip:
            return await self._by_sip(dialled, script, None, inside=inside, number="2100")
        context = "from-agents" if inside else "from-outside"
        return await self._by_local(
            dialled, context, script, None, rings="", number="2009", variables=variables or None
        )

    def joins(self, call: Call, script: Script, *, rings: str, rings_for: float = 0) -> asyncio.Task[Party]:
        """Who answers the phone `rings` when this call comes to it, once rung; its script runs to the call's end."""
        found: asyncio.Future[Party] = asyncio.get_running_loop().create_future()
        ring = self._ring(call, rings, script, call.placed.since, rings_for, joined=found)
        call.tasks.append(asyncio.create_task(ring))
        return asyncio.create_task(_result(found))

    async def phone_listens(
        self, script: Script, *, port: int, host: str = AGENT, rings_for: float = 0, forwards_to: str = ""
    ) -> Listener:
        """A SIP phone at host:port that answers the next call, or forwards it. It listens when this returns."""
        phone = await Phone.rung(self.pbx, host, port, script, rings_for=rings_for, forwards_to=forwards_to)
        self._phones.append(phone)
        prefix = "PJSIP/outside-" if host == OUTSIDE else "PJSIP/agent-"
        return Listener(phone, script, prefix, port, self.admin.mark())

    async def rung(self, listener: Listener) -> SipParty:
        """The phone as the party that it is, once it is rung."""

        def its_own(event: Event) -> bool:
            dialled = event.get("DialString", "").endswith(f":{listener.port}")
            return event.name == "DialBegin" and dialled and event["DestChannel"].startswith(listener.prefix)

        made = await self.admin.until(its_own, since=listener.since, timeout=60)
        ids = {"Uniqueid": made["DestUniqueid"], "Linkedid": made["DestLinkedid"]}
        return self._sip_party(ids, listener.phone, listener.script, listener.since)

    async def hang_up(self, call: Call) -> None:
        """End a call from outside, with every channel that belongs to it."""
        with contextlib.suppress(AdminError, OSError, TimeoutError):
            await self.admin.action("Hangup", {"Channel": call.placed.channel})

    def answer(self, call: Call, script: Script, *, rings: str) -> None:
        """An agent who came later answers the call; `sit` has made its phone `rings` a member."""
        assert isinstance(call.placed, Party)
        call.tasks.append(asyncio.create_task(self._ring(call, rings, script, call.placed.since)))

    # ---------------------------------------------------------------- how

    async def _by_local(
        self,
        dialled: str,
        context: str,
        first: Script,
        second: Script | None,
        *,
        rings: str,
        number: str,
        name: str = "",
        rings_for: float = 0,
        variables: dict[str, str] | None = None,
    ) -> Call:
        phone, leg = (f"{int(time.time())}.{900000 + next(self._serial)}" for _ in range(2))
        # The first tone is where the call is answered into: said afterwards, it would come late on a busy machine.
        tone, first = (first[0].hz, first[1:]) if first and isinstance(first[0], Say) else (0, first)
        await asyncio.to_thread(self.pbx.tone, tone)
        since = self.admin.mark()
        given = {f"_{key}": value for key, value in (variables or {}).items()}
        await self.admin.action(
            "Originate",
            {
                "Channel": f"Local/{dialled}@{context}/n",
                "Context": "party",
                "Exten": str(tone),
                "Priority": "1",
                "CallerID": f'"{name}" <{number}>',
                "ChannelId": phone,
                "OtherChannelId": leg,
                "Async": "true",
                "Timeout": "60000",
            },
            variables=given,
        )
        made = await self.admin.until("LocalBridge", since=since, LocalOneUniqueid=phone)
        party = self._party(made["LocalOneChannel"], leg, made["LocalTwoLinkedid"], since)
        call = Call(placed=party)
        call.tasks.append(asyncio.create_task(self._answered_then(party, first)))
        if second is not None:
            call.tasks.append(asyncio.create_task(self._ring(call, rings, second, since, rings_for)))
        self._open.append(call)
        return call

    async def _answered_then(self, party: Party, script: Script) -> None:
        """Who dialled begins when the call is answered (Asterisk then starts its half of the Local channel)."""
        with contextlib.suppress(Gone):
            await party.until_answered()
            await party.run(script)

    async def _ring(
        self,
        call: Call,
        rings: str,
        script: Script,
        since: int,
        rings_for: float = 0,
        joined: asyncio.Future[Party] | None = None,
    ) -> None:
        """Find the leg that rings for this very call, answer it, go through the script.

        With `joined` it is told there; else it is the one who answers the call.
        """

        def mine(event: Event) -> bool:
            local = event.is_("LocalBridge", Context="phones", Exten=rings)
            return local and event.get("LocalOneLinkedid") in call.linkedids(self.admin)

        # Answering and the first tone are one act: said afterwards, it would come late on a busy machine.
        first, rest = (script[0].hz, script[1:]) if script and isinstance(script[0], Say) else (0, script)
        while True:
            made = await self.admin.until(mine, since=since, timeout=300)
            party = self._party(made["LocalTwoChannel"], made["LocalOneUniqueid"], call.linkedid, since)
            await self.admin.until("Newexten", since=since, Uniqueid=made["LocalTwoUniqueid"], Application="Wait")
            await asyncio.sleep(rings_for)
            try:
                await party.say(first)
                break
            except AdminError:  # the queue took this ring back, and rings anew
                since = self.admin.events.index(made) + 1
        if joined is not None:
            joined.set_result(party)
        else:
            call.answering = party
            call.rung.set()
        await party.run(rest)

    def _party(self, phone: str, leg: str, linkedid: str, since: int) -> Party:
        return Party(
            pbx=self.pbx,
            admin=self.admin,
            sessions=self._sessions,
            leg=leg,
            phone=phone,
            linkedid=linkedid,
            since=since,
        )

    # ---------------------------------------------------------------- over SIP

    async def _by_sip(
        self,
        dialled: str,
        first: Script,
        second: Script | None,
        *,
        inside: bool,
        number: str,
        name: str = "",
        rings_for: float = 0,
        desk: int = 0,
    ) -> Call:
        """`inside`: an agent dials the outside world; else the outside world dials, and the agent is rung.

        `desk` is the port of the phone that is rung, where it is not the usual one.
        """
        from_host, to_host = (AGENT, OUTSIDE) if inside else (OUTSIDE, AGENT)
        port = desk or (self.pbx.ports.outside if inside else self.pbx.ports.agent)
        since = self.admin.mark()
        listening = (
            await Phone.rung(self.pbx, to_host, port, second, rings_for=rings_for) if second is not None else None
        )
        phone = await Phone.dialling(self.pbx, from_host, dialled, first, number=number, name=name)
        self._phones += [phone, *([listening] if listening else [])]
        prefix = "PJSIP/agent-" if inside else "PJSIP/outside-"
        made = await self.admin.until(lambda e: _new(e, prefix) and e.get("Exten") == dialled, since=since)
        party = self._sip_party(made, phone, first, since)
        call = Call(placed=party, tasks=[asyncio.create_task(party.run())])
        if listening is not None and second is not None:
            other = "PJSIP/outside-" if inside else "PJSIP/agent-"
            call.tasks.append(asyncio.create_task(self._rung_by_sip(call, other, listening, second, since)))
        self._open.append(call)
        return call

    async def _rung_by_sip(self, call: Call, prefix: str, phone: Phone, script: Script, since: int) -> None:
        def mine(event: Event) -> bool:
            return _new(event, prefix) and event.get("Linkedid") == call.linkedid

        party = self._sip_party(await self.admin.until(mine, since=since, timeout=300), phone, script, since)
        call.answering = party
        call.rung.set()
        await party.run()

    def _sip_party(self, made: Mapping[str, str], phone: Phone, script: Script, since: int) -> SipParty:
        return SipParty(
            admin=self.admin,
            leg=made["Uniqueid"],
            linkedid=made["Linkedid"],
            since=since,
            phone=phone,
            script=script,
        )


def line_number(line: str, queue: str) -> str:
    """What to dial for a line with a queue of one's own (extensions.conf)."""
    return f"180{NUMBERED.index(line) + 1}5550{queue}"


def short_number(line: str, queue: str, *, behind: bool = False) -> str:
    """The same from a phone of the house; `behind` a further Dial() of a Local channel, also from outside."""
    return f"{5 if behind else 6}{NUMBERED.index(line) + 1}{int(queue):02}"


async def _result(found: asyncio.Future[Party]) -> Party:
    return await found


def _new(event: Event, prefix: str) -> bool:
    return event.name == "Newchannel" and event["Channel"].startswith(prefix)


__all__ = ["AGENT_TONE", "CALLER_TONE", "LINES", "Call", "Calls", "line_number", "short_number", "staying", "talking"]
