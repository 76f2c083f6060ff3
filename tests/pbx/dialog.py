"""What a SIP phone asks in the middle of a call: transfer it (REFER), put it on hold or take it back (re-INVITE).

SIPp goes by the clock and cannot be told when; so the request is sent from here in the phone's name. Asterisk knows a
dialog by its Call-ID and tags (RFC 3261, 12.2), which it tells us itself, and takes the request from any port of the
phone's address. The phone's media go on from SIPp.
"""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass
from urllib.parse import quote

from tests.pbx.admin import Admin
from tests.pbx.server import PbxServer

ANSWER_WITHIN = 5.0
_serial = itertools.count(900)  # far above what SIPp uses as CSeq in the same dialog


class DialogError(Exception):
    """Asterisk refused the request or did not answer it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialog:
    """One phone's dialog with Asterisk, as Asterisk knew it when asked: keep it, on hold the media are not told."""

    pbx: PbxServer
    call_id: str
    ours: str  # the phone's tag
    theirs: str  # Asterisk's tag
    contact: str  # where Asterisk reaches the phone, a SIP URI
    media: str  # where it sends the phone's RTP, HOST:PORT

    @classmethod
    async def of(cls, pbx: PbxServer, admin: Admin, channel: str) -> Dialog:
        """The dialog behind a PJSIP channel."""

        async def ask(what: str) -> str:
            return await admin.variable(f"CHANNEL({what})", channel)

        return cls(
            pbx=pbx,
            call_id=await ask("pjsip,call-id"),
            ours=await ask("pjsip,remote_tag"),
            theirs=await ask("pjsip,local_tag"),
            contact=(await ask("pjsip,target_uri")).strip("<>"),
            media=await ask("rtp,dest"),
        )

    async def refer(self, exten: str, *, into: Dialog | None = None) -> None:
        """Transfer the call: to an extension, or `into` the phone's other call. Asterisk hangs up this leg then."""
        replaced = f"{into.call_id};to-tag={into.theirs};from-tag={into.ours}" if into else ""  # RFC 3891
        other = f"?Replaces={quote(replaced, safe='')}" if replaced else ""
        there = f"sip:{quote(exten, safe='*')}@{self.pbx.host}:{self.pbx.ports.sip}{other}"
        await _ask(self, "REFER", f"Refer-To: <{there}>")

    async def hold(self) -> None:
        """The phone sends only, and hears nothing: Asterisk plays its music to the other party."""
        await _ask(self, "INVITE", body=self._offer("sendonly"))

    async def unhold(self) -> None:
        await _ask(self, "INVITE", body=self._offer("sendrecv"))

    def _offer(self, direction: str) -> str:
        host, _, port = self.media.rpartition(":")
        lines = [
            "v=0",
            f"o=- 1 {next(_serial)} IN IP4 {host}",
            "s=-",
            f"c=IN IP4 {host}",
            "t=0 0",
            f"m=audio {port} RTP/AVP 0 101",
            "a=rtpmap:0 PCMU/8000",
            "a=rtpmap:101 telephone-event/8000",
            "a=fmtp:101 0-16",
            "a=ptime:20",
            f"a={direction}",
        ]
        return "".join(f"{line}\r\n" for line in lines)


class _Answers(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.final: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, _addr: object) -> None:
        status = data.split(b"\r\n", 1)[0].decode(errors="replace")
        if status.startswith("SIP/2.0") and not status.startswith("SIP/2.0 1") and not self.final.done():
            self.final.set_result(status)


async def _ask(dialog: Dialog, method: str, *headers: str, body: str = "") -> None:
    """Send one request of the dialog from the phone's address and wait for its end; DialogError where that is no."""
    pbx, host = dialog.pbx, dialog.contact.partition("@")[2] or dialog.contact.removeprefix("sip:")
    host = host.partition(":")[0]
    loop = asyncio.get_running_loop()
    transport, answers = await loop.create_datagram_endpoint(
        _Answers, local_addr=(host, 0), remote_addr=(pbx.host, pbx.ports.sip)
    )
    number = next(_serial)
    port = transport.get_extra_info("sockname")[1]
    try:
        transport.sendto(_request(dialog, method, host, port, number, headers, body))
        status = await asyncio.wait_for(answers.final, ANSWER_WITHIN)
        if method == "INVITE":
            transport.sendto(_request(dialog, "ACK", host, port, number, (), ""))
        if not status.startswith("SIP/2.0 2"):
            raise DialogError(f"{method}: {status}")
    except TimeoutError:
        raise DialogError(f"{method}: not answered within {ANSWER_WITHIN:g} s") from None
    finally:
        transport.close()


def _request(
    dialog: Dialog, method: str, host: str, port: int, number: int, headers: tuple[str, ...], body: str
) -> bytes:
    pbx = dialog.pbx
    kind = ["Content-Type: application/sdp"] if body else []
    lines = [
        f"{method} sip:{pbx.host}:{pbx.ports.sip} SIP/2.0",
        f"Via: SIP/2.0/UDP {host}:{port};rport;branch=z9hG4bK-{method}-{number}",
        "Max-Forwards: 70",
        f"From: <{dialog.contact}>;tag={dialog.ours}",
        f"To: <sip:{pbx.host}:{pbx.ports.sip}>;tag={dialog.theirs}",
        f"Call-ID: {dialog.call_id}",
        f"CSeq: {number} {method}",
        f"Contact: <{dialog.contact}>",
        *headers,
        *kind,
        f"Content-Length: {len(body)}",
        "",
        body,
    ]
    return "\r\n".join(lines).encode()
