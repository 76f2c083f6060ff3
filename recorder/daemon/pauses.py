"""Is a pause forgotten? The one look that tells a card number from an agent who never resumed (PR-07).

Must not end a pause: what is silent stays silent until somebody presses the key. The invariant: a pause longer than its
line allows is said once in the log, and stands in the status for as long as it lasts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta

import structlog

from recorder.daemon.runner import CallRunner
from recorder.model import CallId
from recorder.policy import LineRules

log = structlog.get_logger(__name__)


class PauseWatch:
    """`long` are the calls whose pause has lasted too long, with when it began."""

    def __init__(
        self, calls: Iterable[CallRunner], lines: Mapping[str, LineRules], now: Callable[[], datetime]
    ) -> None:
        self._calls = calls
        self._lines = lines
        self._now = now
        self.long: dict[CallId, datetime] = {}

    @property
    def warnings(self) -> list[str]:
        """Sentences for /status."""
        return [f"call {call} is paused since {at:%H:%M:%S} UTC: was it forgotten?" for call, at in self.long.items()]

    async def look(self) -> bool:
        """Look at every call once."""
        now, before = self._now(), self.long
        self.long = {
            runner.state.call: paused.at
            for runner in self._calls
            if (paused := runner.state.paused) is not None and now - paused.at >= self._longest(runner.state.line)
        }
        for call, since in self.long.items():
            if call not in before:
                log.warning("pause_long", call=str(call), seconds=round((now - since).total_seconds()))
        return False

    def _longest(self, line: str) -> timedelta:
        return self._lines.get(line, LineRules(name=line)).pause_longest
