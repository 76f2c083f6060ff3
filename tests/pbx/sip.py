"""Parties over SIP: a script becomes a SIPp scenario with real RTP tones and RFC 4733 keys.

Owns the scenario's text and the SIPp process. SIPp knows no AMI, so a script here goes by the clock from the answer
on; a rung party is in the bridge some milliseconds after it answers. SIPp sends keys through a raw socket: root.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.pbx import tones
from tests.pbx.admin import until
from tests.pbx.keys import milliseconds, write_pcap
from tests.pbx.party import HangUp, Leg, Press, Say, Script, Step, Wait
from tests.pbx.server import PbxServer, free_media_port, free_port, free_udp

OUTSIDE, AGENT = "127.0.0.2", "127.0.0.3"  # who Asterisk takes a sender for, by address (pjsip.conf)

SDP = """v=0
o=- 1 1 IN IP4 [local_ip]
s=-
c=IN IP4 [media_ip]
t=0 0
m=audio [media_port] RTP/AVP 0 101
a=rtpmap:0 PCMU/8000
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-16
a=ptime:20"""

_serial = itertools.count(1)


class SipError(Exception):
    """SIPp is missing, did not start, or was asked for something that it cannot do."""


@dataclass(slots=True, kw_only=True)
class SipParty(Leg):
    """A leg whose phone is SIPp."""

    phone: Phone
    script: Script

    async def run(self) -> None:
        """Until the scenario has ended: by its own HangUp, or by the call's end."""
        code = await self.phone.wait()
        self.hung_up = code == 0 and HangUp() in self.script


class Phone:
    """One SIPp process, for one call."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def dialling(cls, pbx: PbxServer, host: str, exten: str, script: Script, *, number: str, name: str) -> Phone:
        """Call an extension of the house, as from `host`."""
        text = dialling_scenario(await asyncio.to_thread(_steps, pbx, script), number=number, name=name)
        return await cls._started(pbx, host, free_port(), text, ["-s", exten])

    @classmethod
    async def rung(
        cls,
        pbx: PbxServer,
        host: str,
        port: int,
        script: Script,
        *,
        rings_for: float = 0,
        forwards_to: str = "",
    ) -> Phone:
        """Wait for a call at host:port and answer it; returns as soon as it listens. One at a time on a port.

        `forwards_to`: it answers nobody and sends every call on to that extension.
        """
        await until(lambda: free_udp(port, host), timeout=5)
        text = rung_scenario(await asyncio.to_thread(_steps, pbx, script), rings_for=rings_for)
        if forwards_to:
            text = forwarding_scenario(forwards_to)
        return await cls._started(pbx, host, port, text, [])

    @classmethod
    async def _started(cls, pbx: PbxServer, host: str, port: int, text: str, options: list[str]) -> Phone:
        for _ in range(4):  # somebody else may take a port between our look and its start
            ports = port, free_media_port(host)
            phone = cls(await _sipp(pbx, host, ports, text, [f"{pbx.host}:{pbx.ports.sip}", *options]))
            await until(lambda: phone._process.returncode is not None or _sockets(phone) >= SOCKETS, timeout=15)  # noqa: B023
            if phone._process.returncode is None:
                return phone
        raise SipError(f"sipp ended at once:\n{await asyncio.to_thread(_complaints, pbx.base / 'sipp')}")

    async def wait(self) -> int:
        """SIPp's exit code: 0 where the scenario went to its end, 1 where the other party hung up before."""
        return await self._process.wait()

    async def stop(self) -> None:
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        await self._process.wait()


SOCKETS = 4
"""SIPp opens them in this order, and ends where it cannot bind one of the first three: SIP, audio, video, control."""


def _sockets(phone: Phone) -> int:
    with contextlib.suppress(FileNotFoundError):  # it has ended
        return sum(str(fd.readlink()).startswith("socket:") for fd in Path(f"/proc/{phone._process.pid}/fd").iterdir())
    return 0


async def _sipp(
    pbx: PbxServer, host: str, ports: tuple[int, int], text: str, target: list[str]
) -> asyncio.subprocess.Process:
    """`ports`: of SIP, and the first of its media."""
    if shutil.which("sipp") is None:
        raise SipError("sipp is missing: apt-get install sip-tester")
    folder = pbx.base / "sipp"
    scenario = folder / f"{next(_serial)}.xml"
    await asyncio.to_thread(scenario.write_text, text)
    once = ["-m", "1", "-timeout", "300s", "-deadcall_wait", "0"]
    options = [*once, "-nostdin", "-aa", "-trace_err", "-sf", str(scenario)]
    addresses = ["-i", host, "-p", str(ports[0]), "-mi", host, "-mp", str(ports[1])]
    quiet = asyncio.subprocess.DEVNULL
    return await asyncio.create_subprocess_exec(
        "sipp", *target, *options, *addresses, cwd=folder, stdin=quiet, stdout=quiet, stderr=quiet
    )


def _complaints(folder: Path) -> str:
    return "\n".join(path.read_text(errors="replace") for path in sorted(folder.glob("*_errors.log")))


# ---------------------------------------------------------------- scenarios


def _steps(pbx: PbxServer, script: Script) -> str:
    """The script as SIPp's XML, with the files it plays; SipError for a step that SIPp cannot do."""
    (pbx.base / "sipp").mkdir(exist_ok=True)
    for hz in {step.hz for step in script if isinstance(step, Say)} | {0}:
        if not _tone(pbx, hz).exists():
            made = _tone(pbx, hz).with_suffix(f".{next(_serial)}")  # another phone may be about to read it
            tones.write_ulaw(made, hz)
            made.replace(_tone(pbx, hz))
    last = "" if HangUp() in script else '<recv request="BYE"/>' + _message(OK, SAME)
    return "\n".join([_speak(_tone(pbx, 0)), *(_step(pbx, step) for step in script), last])


def _step(pbx: PbxServer, step: Step) -> str:
    match step:
        case Say(hz):
            return _speak(_tone(pbx, hz))
        case Wait(seconds):
            return f'<pause milliseconds="{round(seconds * 1000)}"/>'
        case Press(pressed):
            path = pbx.base / "sipp" / f"keys-{next(_serial)}.pcap"
            write_pcap(path, pressed)
            pause = f'<pause milliseconds="{milliseconds(pressed)}"/>'
            return f'<nop><action><exec play_pcap_audio="{path}"/></action></nop>{pause}'
        case HangUp():
            return _message("BYE [next_url] SIP/2.0", ENDING, retrans=True) + '<recv response="200"/>'
        case _:
            raise SipError(f"SIPp cannot do {step}: a script over SIP goes by the clock")


def _tone(pbx: PbxServer, hz: int) -> Path:
    return pbx.base / "sounds" / f"tone-{hz}.ulaw"


def _speak(path: Path) -> str:
    return f'<nop><action><exec rtp_stream="{path},-1,0,PCMU/8000"/></action></nop>'


def _message(first: str, headers: str, body: str = "", *, retrans: bool = False) -> str:
    kind = "Content-Type: application/sdp\n" if body else ""
    text = f"{first}\n{headers}\n{kind}Content-Length: [len]\n\n{body}"
    again = ' retrans="500"' if retrans else ""
    return f"<send{again}><![CDATA[\n{text}\n]]></send>"


def _scenario(name: str, *parts: str) -> str:
    inside = "\n".join(parts)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<scenario name="{name}">\n{inside}\n{USED}</scenario>\n'


USED = '<Reference variables="mine,theirs"/>\n'  # SIPp refuses a variable that a short script does not use
OK = "SIP/2.0 200 OK"
SAME = "[last_Via:]\n[last_From:]\n[last_To:]\n[last_Call-ID:]\n[last_CSeq:]\nContact: <sip:[local_ip]:[local_port]>"
TAGGED = SAME.replace("[last_To:]", "[last_To:];tag=[pid]-[call_number]")
VIA = "Via: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch]\nMax-Forwards: 70\nCall-ID: [call_id]"
ENDING = f"{VIA}\nFrom: [$mine]\nTo: [$theirs]\nCSeq: 9 BYE"


def dialling_scenario(steps: str, *, number: str, name: str) -> str:
    """INVITE, answered, steps."""
    if set("[]\r\n") & set(number + name):
        raise SipError("SIPp reads square brackets as its own words")
    shown = name.replace("\\", "\\\\").replace('"', '\\"')
    mine = f'"{shown}" <sip:{number}@[local_ip]:[local_port]>;tag=[pid]-[call_number]'
    there = "sip:[service]@[remote_ip]:[remote_port]"
    contact = f"Contact: <sip:{number}@[local_ip]:[local_port]>"
    invite = f"{VIA}\nFrom: {mine}\nTo: <{there}>\nCSeq: 1 INVITE\n{contact}"
    ack = f"{VIA}\nFrom: {mine}\nTo: <{there}>[peer_tag_param]\nCSeq: 1 ACK"
    return _scenario(
        "dialling",
        _message(f"INVITE {there} SIP/2.0", invite, SDP, retrans=True),
        *(f'<recv response="{code}" optional="true"/>' for code in (100, 180, 183)),
        f'<recv response="200" rrs="true"><action>{_keep("From:", "mine")}{_keep("To:", "theirs")}</action></recv>',
        _message("ACK [next_url] SIP/2.0", ack),
        steps,
    )


def rung_scenario(steps: str, *, rings_for: float = 0) -> str:
    """INVITE comes, ringing, answered, steps."""
    return _scenario(
        "rung",
        '<recv request="INVITE" rrs="true"/>',
        _message("SIP/2.0 180 Ringing", TAGGED),
        f'<pause milliseconds="{round(rings_for * 1000)}"/>',
        _message(OK, TAGGED, SDP, retrans=True),
        f'<recv request="ACK"><action>{_keep("To:", "mine")}{_keep("From:", "theirs")}</action></recv>',
        steps,
    )


def forwarding_scenario(exten: str) -> str:
    """INVITE comes and is sent on elsewhere (302)."""
    moved = TAGGED.rpartition("\n")[0] + f"\nContact: <sip:{exten}@[remote_ip]:[remote_port]>"
    return _scenario(
        "forwarding",
        f'<recv request="INVITE"><action>{_keep("To:", "mine")}{_keep("From:", "theirs")}</action></recv>',
        _message("SIP/2.0 302 Moved Temporarily", moved, retrans=True),
        '<recv request="ACK"/>',
    )


def _keep(header: str, name: str) -> str:
    return f'<ereg regexp="[^ ].*" search_in="hdr" header="{header}" assign_to="{name}"/>'
