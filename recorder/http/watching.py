"""The calls in progress as one person may see them: once, or whenever they change.

Must not decide who may see what: recorder.live does. The invariants: who may no longer see a call is shown it no more
within RECHECKED_EVERY; a watcher costs no more than WATCHED_EVERY allows, and there are WATCHERS_MOST at most.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from recorder.catalogue import Catalogue
from recorder.http.door import ASKED_WITHIN
from recorder.live import Live, LiveCall, is_theirs, may_press, may_see, seats_of
from recorder.model import CallId, KeyAct
from recorder.rights import Seat, User
from recorder.signing_in import Asker

WATCHED_EVERY: Final = 0.25  # seconds
RECHECKED_EVERY: Final = 5.0  # seconds
SPEAKS_AFTER: Final = 15.0  # seconds without a change; a proxy on the way ends what is silent for long
WATCHERS_MOST: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A call, and what this person may do with it."""

    call: LiveCall
    yours: bool
    acts: tuple[KeyAct, ...]


class Watching:
    """CatalogueError passes: nothing is shown then."""

    def __init__(self, live: Live, catalogue: Catalogue) -> None:
        self._live = live
        self._catalogue = catalogue
        self._watchers = 0

    async def shown(self, asker: Asker) -> list[Shown]:
        """The calls that they may see now, the oldest first."""
        calls = self._live.calls()
        return seen_by(asker, calls, await self.people(seats_of(calls)))

    async def one(self, asker: Asker, call: CallId) -> Shown | None:
        """One of them; None where there is none that they may see."""
        found = self._live.find(call)
        calls = [] if found is None else [found]
        return next(iter(seen_by(asker, calls, await self.people(seats_of(calls)))), None)

    async def people(self, seats: frozenset[Seat]) -> tuple[User, ...]:
        return await self._catalogue.who_sat_at(seats, ASKED_WITHIN) if seats else ()

    @property
    def is_full(self) -> bool:
        return self._watchers >= WATCHERS_MOST

    async def changes(self, again: Callable[[], Awaitable[Asker | None]]) -> AsyncIterator[list[Shown] | None]:
        """What they may see, whenever it has changed; None where nothing did for long. Ends once nobody asks any more.

        `again` says who asks, by what they came with.
        """
        loop = asyncio.get_running_loop()
        self._watchers += 1
        try:
            seats: frozenset[Seat] = frozenset()
            people: tuple[User, ...] = ()
            asker, last, asked_at, told_at = None, None, float("-inf"), loop.time()
            while True:
                calls = self._live.calls()
                if loop.time() - asked_at >= RECHECKED_EVERY or seats_of(calls) != seats:
                    asker, seats, asked_at = await again(), seats_of(calls), loop.time()
                    people = await self.people(seats)
                if asker is None:
                    return
                shown = seen_by(asker, calls, people)
                if shown != last or loop.time() - told_at >= SPEAKS_AFTER:
                    yield shown if shown != last else None
                    last, told_at = shown, loop.time()
                await asyncio.sleep(WATCHED_EVERY)
        finally:
            self._watchers -= 1


def seen_by(asker: Asker, calls: Sequence[LiveCall], people: Sequence[User]) -> list[Shown]:
    return [
        Shown(
            call=call,
            yours=is_theirs(asker, call, people),
            acts=tuple(act for act in KeyAct if may_press(asker, act, call, people)),
        )
        for call in calls
        if may_see(asker, call, people)
    ]
