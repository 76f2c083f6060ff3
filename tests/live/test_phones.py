"""The tests' own SIP phones: where a port of theirs is taken, another is tried, and what SIPp says is passed on."""

from __future__ import annotations

import socket
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from tests.pbx import sip
from tests.pbx.party import Wait
from tests.pbx.server import HOST, PbxServer, free_media_port, free_port
from tests.pbx.sip import OUTSIDE, Phone, SipError

pytestmark = pytest.mark.live


def nowhere(base: Path) -> PbxServer:
    """Where a phone dials into the void."""
    (base / "sounds").mkdir()
    return cast(PbxServer, SimpleNamespace(base=base, host=HOST, ports=SimpleNamespace(sip=free_port())))


@pytest.mark.parametrize("taken", [0, 2], ids=["audio", "video"])
async def test_a_phone_whose_media_port_is_taken_starts_on_another(
    taken: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports = [free_media_port(OUTSIDE) for _ in range(2)]
    with socket.socket(type=socket.SOCK_DGRAM) as other:
        other.bind((OUTSIDE, ports[0] + taken))
        given = iter(ports)
        monkeypatch.setattr(sip, "free_media_port", lambda _host: next(given))
        phone = await Phone.dialling(nowhere(tmp_path), OUTSIDE, "1", (Wait(1),), number="1", name="")
    try:
        assert phone._process.returncode is None
        assert list(given) == []
    finally:
        await phone.stop()


async def test_a_phone_that_finds_no_port_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_media_port(OUTSIDE)
    monkeypatch.setattr(sip, "free_media_port", lambda _host: port)
    with socket.socket(type=socket.SOCK_DGRAM) as other:
        other.bind((OUTSIDE, port))
        with pytest.raises(SipError, match="Unable to bind audio RTP socket"):
            await Phone.dialling(nowhere(tmp_path), OUTSIDE, "1", (Wait(1),), number="1", name="")
