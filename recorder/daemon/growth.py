"""Do the captures grow? The one look that tells a MixMonitor that writes from one that only says so.

Must not stop anything: it tells the call, whose machine decides. The invariant: a running capture that has written
nothing within capture.FIRST_BYTES_WITHIN is reported lost; one that has stopped growing is counted and named.
Asterisk writes in steps of 32 KiB, 2.05 s of 8 kHz, so a look is worth something only over several seconds.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta

import structlog

from recorder.call import CaptureLost, CaptureState, capture_in_hand
from recorder.capture import FIRST_BYTES_WITHIN, CaptureDesk
from recorder.daemon.calls import CallBook
from recorder.daemon.runner import CallRunner
from recorder.model import LostReason, RecordingId

log = structlog.get_logger(__name__)

HEADERS = 2 * 44
"""Bytes of two staged files that hold no audio."""
STALLED_AFTER = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class _Look:
    size: int
    at: float  # seconds of the loop's own clock, when it had this size first


class GrowthWatch:
    """Remembers the last sizes. `stalled` are the recordings that had audio and grow no more."""

    def __init__(self, book: CallBook, capture: CaptureDesk) -> None:
        self._book = book
        self._capture = capture
        self._looks: dict[RecordingId, _Look] = {}
        self.stalled: frozenset[RecordingId] = frozenset()

    async def look(self) -> bool:
        """Look at every running capture once."""
        now = asyncio.get_running_loop().time()
        running = {
            capture.id: (runner, runner.now() - (capture.bridged_at or runner.now()))
            for runner in self._book
            if (capture := capture_in_hand(runner.state)) is not None and capture.state is CaptureState.RUNNING
        }
        if not running and not self._looks:
            return False
        sizes = await self._capture.sizes(running)
        seen = {
            recording: self._look_at(runner, recording, sizes[recording], bridged_for, now)
            for recording, (runner, bridged_for) in running.items()
        }
        self._looks = seen
        stalled = frozenset(recording for recording, look in seen.items() if look.size > HEADERS and _is_old(look, now))
        for recording in stalled - self.stalled:
            log.error("capture_stalled", recording=str(recording))
        self.stalled = stalled
        return False

    def _look_at(
        self, runner: CallRunner, recording: RecordingId, size: int, bridged_for: timedelta, now: float
    ) -> _Look:
        if size <= HEADERS and bridged_for >= FIRST_BYTES_WITHIN:
            runner.put(CaptureLost(at=self._book.now(), recording=recording, reason=LostReason.CAPTURE_FAILED))
        before = self._looks.get(recording)
        return before if before is not None and before.size == size else _Look(size, now)


def _is_old(look: _Look, now: float) -> bool:
    return now - look.at >= STALLED_AFTER.total_seconds()
