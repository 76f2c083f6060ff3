"""The only one that says when an event happened: by Asterisk's own stamp, brought to our clock, or by its arrival.

Asterisk stamps its events where manager.conf [general] says `timestampevents = yes`, and every answer to a Ping always.
The two clocks may be of two machines, drift, and be set at any time; each answered Ping bounds how far they are apart.
Invariants: an event is never said to be later than its arrival, nor earlier than the event before it on the same
connection; a clock that was set moves nothing: until the next Ping is answered, events happened when they arrived.

Sources: main/manager.c (append_event, action_ping), the same from 16.28 to 22.10.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

LATEST: Final = timedelta(seconds=2)
"""An event this much older than its arrival is one that we slept through, or its stamp is wrong: arrival counts."""
DRIFT: Final = 0.001
"""By how much of a time two clocks may run apart in it: twice what the kernel slews a clock at most."""
OUT_OF_ORDER: Final = timedelta(milliseconds=20)
"""Asterisk stamps in the order in which it writes; a stamp further back than this is of a clock that was set back."""
OVERTAKEN: Final = timedelta(milliseconds=250)
"""An answer to a Ping may be written before events that were stamped earlier: by less than this."""
GRAIN: Final = timedelta(milliseconds=1)

log = structlog.get_logger(__name__)

_STAMPED = re.compile(rb"Event: [^\r]*\r\nPrivilege: [^\r]*\r\nTimestamp: (\d{1,11})\.(\d{6})\r\n")
_STAMP = re.compile(r"(\d{1,11})\.(\d{6})")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def stamp_from_frame(frame: bytes) -> datetime | None:
    """When Asterisk made the event, by its clock. Only in its own third line: what follows may hold anybody's words."""
    found = _STAMPED.match(frame)
    return _time(int(found[1]), int(found[2])) if found else None


def stamp_from_pong(text: str) -> datetime | None:
    found = _STAMP.fullmatch(text)
    return _time(int(found[1]), int(found[2])) if found else None


def _time(seconds: int, micros: int) -> datetime:
    return _EPOCH + timedelta(seconds=seconds, microseconds=micros)


class Stamps:
    """What one connection knows of the PBX's clock. The distance is what must be added to a stamp to have our time."""

    def __init__(self) -> None:
        self.set_clocks = 0  # how often one of the two was found to have been set
        self._least = self._most = timedelta.max  # the distance lies between; of no worth while `_known_at` is None
        self._known_at: datetime | None = None
        self._last = _EPOCH  # no event is stamped earlier any more
        self._told = _EPOCH

    def pong(self, asked_at: datetime, stamp: datetime, answered_at: datetime) -> None:
        """A Ping that we sent at `asked_at` was stamped by Asterisk before `answered_at`."""
        least, most = asked_at - stamp, answered_at - stamp
        self._last = max(self._last, stamp - OVERTAKEN)
        if least > most:
            self._forget()  # our own clock was set back meanwhile
            return
        if self._known_at is not None:
            apart = max(answered_at - self._known_at, timedelta()) * DRIFT
            kept = max(least, self._least - apart), min(most, self._most + apart)
            if kept[0] > kept[1] + GRAIN:
                self._forget()
                self._last = stamp - OVERTAKEN
            else:
                least, most = min(kept), max(kept)
        self._least, self._most, self._known_at = least, most, answered_at

    def time_of(self, stamp: datetime | None, arrived: datetime) -> datetime:
        """When the event happened, by our clock."""
        if stamp is None:
            return arrived
        distance = arrived - stamp  # at most, as it took no time to arrive
        set_back = stamp + OUT_OF_ORDER < self._last
        if set_back or (self._known_at is not None and distance < self._least - GRAIN):
            self._forget()
            self._last = stamp
        self._last = max(self._last, stamp)
        at = arrived if self._known_at is None else stamp + min(self._most, distance)
        if arrived - at > LATEST:
            at = arrived
        self._told = min(arrived, max(at, self._told))
        return self._told

    def _forget(self) -> None:
        self.set_clocks += 1
        log.warning("clock_set", times=self.set_clocks)
        self._known_at = None
