"""A settled file as an answer, and the count of what of it really went out.

Must not be made without a listening that has its row (recorder.listening). Ranges, conditions and reading ahead are
starlette's; only a single range is passed on to it, which is all that players ask for.
"""

from __future__ import annotations

import os
import re
from collections.abc import MutableMapping
from typing import Any, Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import FileResponse
from starlette.types import Message, Receive, Scope, Send

from recorder.listening import Listen, Listening
from recorder.listens import ListenKind, Medium

SINGLE_RANGE: Final = re.compile(r"bytes=(\d+-\d*|-\d+)")
SENT_RANGE: Final = re.compile(r"bytes (\d+)-")
WAV_HEADER: Final = 44  # bytes, of the file that storage settles
FRAME: Final = 4  # bytes: two directions of two bytes each


class Sound(FileResponse):
    """`size` is the file's own, as it was asked of the disk."""

    def __init__(self, listening: Listening, listen: Listen, size: os.stat_result) -> None:
        is_download = listen.opened.medium is Medium.DOWNLOAD
        super().__init__(
            listen.path,
            media_type="audio/wav",
            filename=f"{listen.opened.recording}.wav" if is_download else None,
            stat_result=size,
            headers={"cache-control": "no-store"},
        )
        self._listening = listening
        self._listen = listen

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        counted = _Counted(self._listening, self._listen, send)
        self._listening.use(self._listen)
        try:
            await super().__call__(_with_single_range(scope), receive, counted)
        finally:
            self._listening.used(self._listen)


class _Counted:
    """Passes an answer on and notes which part of the recording each piece holds."""

    def __init__(self, listening: Listening, listen: Listen, send: Send) -> None:
        self._listening = listening
        self._listen = listen
        self._send = send
        self._at = 0
        self._is_sound = False

    async def __call__(self, part: Message) -> None:
        if part["type"] == "http.response.start":
            self._begin(part)
        await self._send(part)
        if part["type"] == "http.response.body" and self._is_sound:
            began, self._at = self._at, self._at + len(part.get("body", b""))
            self._listening.heard(self._listen, ListenKind.SENT, self._ms(began), -self._ms(-self._at))

    def _begin(self, part: MutableMapping[str, Any]) -> None:
        self._is_sound = part["status"] in (200, 206)
        found = SENT_RANGE.match(Headers(raw=part["headers"]).get("content-range", ""))
        self._at = int(found[1]) if found is not None else 0

    def _ms(self, byte: int) -> int:
        """The millisecond in which this byte lies; of a negative one, the negative of the next: what went out in part
        went out.
        """
        rate = self._listen.whole.rate or 8000
        beyond = max(0, abs(byte) - WAV_HEADER)
        return (beyond if byte >= 0 else -beyond) * 1000 // (FRAME * rate)


def _with_single_range(scope: Scope) -> Scope:
    """Several ranges at once, and what is none, may be passed over (RFC 9110, 14.2): the whole is sent then."""
    headers = MutableHeaders(raw=list(scope["headers"]))
    if not SINGLE_RANGE.fullmatch(headers.get("range", "")):
        del headers["range"]
    return {**scope, "headers": headers.raw}
