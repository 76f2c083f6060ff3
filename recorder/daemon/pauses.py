"""Is a pause forgotten? The one look that tells a card number from an agent who never resumed (PR-07).

Must not end a pause: what is silent stays silent until somebody presses the key. The invariant: a pause longer than its
line allows is said once in the log, once to the agent and once to whoever hears the alarms, and stands in the status
for as long as it lasts.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime, timedelta

import structlog

from recorder.ami import AmiError
from recorder.call import CallState, shifted, standing_with
from recorder.daemon.runner import CallRunner
from recorder.model import CallId, Channel, Linkedid, Uniqueid
from recorder.policy import LineRules

log = structlog.get_logger(__name__)


class PauseWatch:
    """`long` are the calls whose pause has lasted too long, with when it began."""

    def __init__(
        self,
        calls: Iterable[CallRunner],
        lines: Mapping[str, LineRules],
        now: Callable[[], datetime],
        remind: Callable[[Channel], Awaitable[None]],
        alarm: Callable[[], None] = lambda: None,
    ) -> None:
        self._calls = calls
        self._lines = lines
        self._now = now
        self._remind = remind
        self._alarm = alarm
        self.long: dict[CallId, datetime] = {}
        self._reminded: dict[CallId, datetime] = {}

    @property
    def warnings(self) -> list[str]:
        """Sentences for /status."""
        return [f"call {call} is paused since {at:%H:%M:%S} UTC: was it forgotten?" for call, at in self.long.items()]

    def clock_set(self, by: timedelta) -> None:
        """What was said already is not said again because it lies elsewhere now."""
        self.long, self._reminded = shifted(self.long, by), shifted(self._reminded, by)

    async def look(self) -> bool:
        """Look at every call once."""
        before = self.long
        self.long = {
            runner.state.call: paused.at
            for runner in self._calls
            if (paused := runner.state.paused) is not None
            and runner.now() - paused.at >= self._longest(runner.state.line)
        }
        for call, since in self.long.items():
            if before.get(call) != since:
                log.warning("pause_long", call=str(call), seconds=round((self._now() - since).total_seconds()))
                self._alarm()
        await self._remind_agents()
        return False

    async def _remind_agents(self) -> None:
        """Once in a pause, whoever of the agents stands with the caller; on hold that is nobody yet."""
        self._reminded = {call: at for call, at in self._reminded.items() if self.long.get(call) == at}
        for runner in self._calls:
            call = runner.state.call
            agents = _agents(runner.state, runner.names) if call in self.long and call not in self._reminded else []
            for agent in agents:
                self._reminded[call] = self.long[call]
                try:
                    await self._remind(agent)
                except AmiError as error:
                    log.warning("pause_not_reminded", call=str(call), why=str(error))

    def _longest(self, line: str) -> timedelta:
        return self._lines.get(line, LineRules(name=line)).pause_longest


def _agents(state: CallState, names: Mapping[str, Uniqueid]) -> list[Channel]:
    """The agents' channels beside the caller, each by its newest name."""
    newest = {leg: name for name, leg in names.items() if standing_with(state, leg)}
    return [Channel(name=name, uniqueid=leg, linkedid=Linkedid("")) for leg, name in newest.items()]
