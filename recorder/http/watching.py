"""The calls in progress as one person may see them: once, or whenever they change.

Must not decide who may see what: recorder.live does. The invariants: who may no longer see a call is shown it no more
within RECHECKED_EVERY; however many watch, the calls are looked at once in WATCHED_EVERY, and judged for each of them
only where something has changed.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

import structlog

from recorder.catalogue import Catalogue, CatalogueError
from recorder.http.door import ASKED_WITHIN
from recorder.live import Live, LiveCall, may_override, may_press, may_see, own_telephone, seats_of
from recorder.model import CallId, KeyAct, OverrideReason
from recorder.rights import Seat, User
from recorder.signing_in import Asker

log = structlog.get_logger(__name__)

WATCHED_EVERY: Final = 0.25  # seconds
RECHECKED_EVERY: Final = 5.0  # seconds
SPEAKS_AFTER: Final = 15.0  # seconds without a change; a proxy on the way ends what is silent for long
WATCHERS_MOST: Final = 100
WATCHERS_MOST_EACH: Final = 10
"""Of one person's, pages and programs together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A call, and what this person may do with it. `telephone` is their own in it; None where they are not there.

    `may_override` is whether they have the right to; `reasons` are those for which it could be done now.
    """

    call: LiveCall
    telephone: str | None
    acts: tuple[KeyAct, ...]
    may_override: bool = False

    @property
    def reasons(self) -> tuple[OverrideReason, ...]:
        return tuple(one for one in OverrideReason if self.may_override and one in self.call.overridable)

    @property
    def yours(self) -> bool:
        return self.telephone is not None


class Told(Enum):
    """What else than the calls a watcher is told."""

    NOTHING_NEW = auto()
    OVER = auto()  # nobody is signed in by this any more


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """What was seen last, by everybody who watches. `number` goes up where it differs from what was seen before."""

    number: int = 0
    calls: tuple[LiveCall, ...] = ()
    people: tuple[User, ...] = ()
    at: float = float("-inf")
    people_at: float = float("-inf")


class Watching:
    """CatalogueError passes: nothing is shown then. `ends` is set once the daemon is to end."""

    def __init__(self, live: Live, catalogue: Catalogue, ends: asyncio.Event) -> None:
        self._live = live
        self._catalogue = catalogue
        self._ends = ends
        self._watchers: Counter[str] = Counter()
        self._look = _Look()
        self._looking = asyncio.Lock()

    async def shown(self, asker: Asker) -> list[Shown]:
        """The calls that they may see now, the oldest first."""
        calls = self._live.calls()
        return seen_by(asker, calls, await self._people(seats_of(calls)))

    async def one(self, asker: Asker, call: CallId) -> Shown | None:
        """One of them; None where there is none that they may see."""
        found = self._live.find(call)
        calls = [] if found is None else [found]
        return next(iter(seen_by(asker, calls, await self._people(seats_of(calls)))), None)

    async def _people(self, seats: frozenset[Seat]) -> tuple[User, ...]:
        return await self._catalogue.who_sat_at(seats, ASKED_WITHIN) if seats else ()

    def has_room(self, asker: Asker) -> bool:
        """Whether they may watch too."""
        return self._watchers.total() < WATCHERS_MOST and self._watchers[asker.user.name] < WATCHERS_MOST_EACH

    async def changes(
        self, asker: Asker, again: Callable[[], Awaitable[Asker | None]]
    ) -> AsyncIterator[list[Shown] | Told]:
        """What they may see, whenever it has changed; ends with OVER, with the daemon, or where nothing can be read.

        `again` says who asks, by what they came with.
        """
        loop, name = asyncio.get_running_loop(), asker.user.name
        self._watchers[name] += 1
        try:
            seen, last, asked_at, told_at = -1, None, loop.time(), loop.time()
            while not self._ends.is_set():
                if loop.time() - asked_at >= RECHECKED_EVERY:
                    now, asked_at = await again(), loop.time()
                    if now is None:
                        yield Told.OVER
                        return
                    seen, asker = seen if now == asker else -1, now
                look = await self._looked()
                if look.number != seen:
                    seen, shown = look.number, seen_by(asker, look.calls, look.people)
                    if shown != last:
                        last, told_at = shown, loop.time()
                        yield shown
                if loop.time() - told_at >= SPEAKS_AFTER:
                    told_at = loop.time()
                    yield Told.NOTHING_NEW
                await asyncio.sleep(WATCHED_EVERY)
        except CatalogueError as error:  # whoever watches comes again
            log.warning("page_not_answered", path="changes", why=str(error))
        finally:
            self._watchers[name] -= 1

    async def _looked(self) -> _Look:
        """What there is to see, looked at once for everybody."""
        async with self._looking:
            now, last = asyncio.get_running_loop().time(), self._look
            if now - last.at < WATCHED_EVERY:
                return last
            calls, people, people_at = tuple(self._live.calls()), last.people, last.people_at
            if now - people_at >= RECHECKED_EVERY or seats_of(calls) != seats_of(last.calls):
                people, people_at = await self._people(seats_of(calls)), now
            number = last.number + ((calls, people) != (last.calls, last.people))
            self._look = _Look(number=number, calls=calls, people=people, at=now, people_at=people_at)
            return self._look


def seen_by(asker: Asker, calls: Sequence[LiveCall], people: Sequence[User]) -> list[Shown]:
    return [
        Shown(
            call=call,
            telephone=own_telephone(asker, call, people),
            acts=tuple(act for act in KeyAct if may_press(asker, act, call, people)),
            may_override=may_override(asker, call, people),
        )
        for call in calls
        if may_see(asker, call, people)
    ]
