"""Telephone keys as RTP (RFC 4733), in pcap files that SIPp plays.

SIPp's own play_dtmf sends a payload type of its own choosing and half a second of padding before each key; Asterisk
ignores the former where it made the offer itself. So the packets are made here. Every press gets its own timestamps:
Asterisk takes the same ones again for a retransmission.
"""

from __future__ import annotations

import itertools
import struct
from pathlib import Path

PAYLOAD = 101  # what Asterisk offers for telephone-event
KEYS = "0123456789*#"
KEY_MS, GAP_MS, FRAME_MS = 120, 80, 20
SSRC = 0xCA110000  # of SIPp's own stream: Asterisk takes another one for a new sender and forgets the key half-way
ETHERNET = bytes(12) + b"\x08\x00"

_presses = itertools.count(1)


def milliseconds(keys: str) -> int:
    """How long pressing them takes."""
    return len(keys) * (KEY_MS + GAP_MS)


def write_pcap(path: Path, keys: str) -> None:
    """The packets of pressing `keys` one after the other; ValueError for what is no key."""
    base = next(_presses) * 1_000_000 & 0xFFFFFFFF
    sequence = itertools.count(base & 0x7FFF)
    records = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)]  # pcap 2.4, Ethernet
    for place, key in enumerate(keys):
        began = place * (KEY_MS + GAP_MS)
        for at, event in _events(KEYS.index(key)):
            header = struct.pack(
                ">BBHII", 0x80, PAYLOAD | (0x80 if at == 0 else 0), next(sequence) & 0xFFFF, base + began * 8, SSRC
            )
            records.append(_record(began + at, header + event))
    path.write_bytes(b"".join(records))


def _events(code: int) -> list[tuple[int, bytes]]:
    """(ms since the key went down, event): one a frame while it is down, and its end (once: nothing is lost here)."""
    down = [(at, struct.pack(">BBH", code, 10, (at + FRAME_MS) * 8)) for at in range(0, KEY_MS, FRAME_MS)]
    up = [(KEY_MS, struct.pack(">BBH", code, 0x80 | 10, KEY_MS * 8))]
    return down + up


def _record(at: int, rtp: bytes) -> bytes:
    udp = struct.pack(">HHHH", 4000, 4000, 8 + len(rtp), 0) + rtp  # SIPp puts its own addresses in
    ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, bytes(4), bytes(4))
    frame = ETHERNET + ip + udp
    return struct.pack("<IIII", at // 1000, at % 1000 * 1000, len(frame), len(frame)) + frame
