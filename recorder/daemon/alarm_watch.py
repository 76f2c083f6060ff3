"""Looks at what somebody must be told of, and hands the notices to the couriers.

Must not decide what is an alarm (`alarms` does) and must not wait for a receiver. The invariant: a lost call of which
nobody was told is told by the next daemon; docs/decisions/0017 says what else survives a restart, and why nothing more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

import structlog

from recorder.alarms import AlarmKind, Alarms, Notice, Occasion, Seen, sentence
from recorder.catalogue import Catalogue, CatalogueError
from recorder.couriers import Courier, Route
from recorder.storage import Disk, DiskLevel

log = structlog.get_logger(__name__)

BOOKMARK = "lost_told"


class AlarmWatch:
    """One look every two seconds. `happened` is for what is seen once and does not stand."""

    def __init__(
        self,
        alarms: Alarms,
        *,
        node: str,
        catalogue: Catalogue,
        routes: Sequence[Route],
        kinds: frozenset[AlarmKind],
        lost: Callable[[], Mapping[str, int]],
        hindrances: Callable[[], Sequence[str]],
        disks: Callable[[], Sequence[Disk]],
        at_large: Callable[[], int],
        paused_long: Callable[[], int],
        now: Callable[[], datetime],
    ) -> None:
        self.alarms = alarms
        self.couriers = tuple(Courier(route, delivered=self._delivered) for route in routes)
        self._node = node
        self._catalogue = catalogue
        self._kinds = kinds
        self._lost = lost
        self._hindrances = hindrances
        self._disks = disks
        self._at_large = at_large  # captures of others that run on
        self._paused_long = paused_long  # calls
        self._now = now
        self._counted: dict[str, int] = {}
        self._news: dict[AlarmKind, dict[str, int]] = {}

    def happened(self, kind: AlarmKind, word: str, times: int = 1) -> None:
        """Something of this kind was seen; `word` says which of a closed list, and nothing of a caller's."""
        news = self._news.setdefault(kind, {})
        news[word] = news.get(word, 0) + times

    async def begin(self) -> None:
        """Take up the lost calls of an earlier daemon of which nobody was told. Before anything else is counted."""
        try:
            kept = await self._catalogue.bookmark(self._node, BOOKMARK)
            if kept is None:  # what was lost before we could tell anybody is history
                await self._keep(self._now())
                return
            counts = await self._catalogue.counts(datetime.fromisoformat(str(kept["at"])), self._node)
        except CatalogueError as error:
            log.warning("alarms_not_taken_up", why=str(error))
            return
        for reason, times in counts.lost.items():
            if times:
                self.happened(AlarmKind.LOST, str(reason), times)

    async def look(self) -> bool:
        """Look once; a step of a sweep."""
        self._count_lost()
        news, self._news = self._news, {}
        seen = {kind: Seen(happened=counted) for kind, counted in news.items()}
        seen[AlarmKind.UNREADY] = Seen(stands=tuple(self._hindrances()))
        if at_large := self._at_large():
            running = f"{at_large} of them {'runs' if at_large == 1 else 'run'} on"
            seen[AlarmKind.RIVAL] = Seen(happened=news.get(AlarmKind.RIVAL, {}), stands=(running,))
        seen[AlarmKind.PAUSE] = _pauses_seen(news.get(AlarmKind.PAUSE, {}), self._paused_long())
        # By day somebody should ask why: nothing is lost, and each listening has its row.
        seen[AlarmKind.LISTENING] = Seen(happened=news.get(AlarmKind.LISTENING, {}), urgent=False)
        seen[AlarmKind.DISK] = _disks_seen(self._disks())
        for notice in self.alarms.look(seen, self._now()):
            await self._tell(notice)
        return False

    def _count_lost(self) -> None:
        """Those since the last look. A counter that has never been seen counts from 0."""
        for reason, total in self._lost().items():
            if total > self._counted.get(reason, 0):
                self.happened(AlarmKind.LOST, str(reason), total - self._counted.get(reason, 0))
            self._counted[reason] = total

    async def _tell(self, notice: Notice) -> None:
        if notice.occasion is Occasion.OVER:
            log.info("alarm_over", kind=notice.kind, alarm=str(notice.alarm))
        else:
            log.error(
                "alarm", kind=notice.kind, alarm=str(notice.alarm), occasion=notice.occasion, text=sentence(notice)
            )
        told = self.couriers if notice.kind in self._kinds else ()
        for courier in told:
            courier.put(notice)
        if not told:
            await self._delivered(notice)  # the log is all that is told, and now it is

    async def _delivered(self, notice: Notice) -> None:
        """By one route; lost calls count as told once no route owes a notice of them."""
        if notice.kind is not AlarmKind.LOST or any(courier.owes(notice.alarm) for courier in self.couriers):
            return
        try:
            await self._keep(notice.at)
        except CatalogueError as error:  # they are told twice then, which is better than never
            log.warning("alarms_not_taken_up", why=str(error))

    async def _keep(self, at: datetime) -> None:
        await self._catalogue.write_bookmark(self._node, BOOKMARK, {"at": at.isoformat()})


def _disks_seen(disks: Sequence[Disk]) -> Seen:
    full = [disk for disk in disks if disk.level > DiskLevel.ROOM]
    return Seen(stands=tuple(disk.words for disk in full), urgent=any(disk.level is DiskLevel.ALARM for disk in full))


def _pauses_seen(news: Mapping[str, int], now: int) -> Seen:
    """Nobody need be woken: nothing is lost, and what should not be heard is not."""
    standing = (f"{now} of them {'is' if now == 1 else 'are'} so now",) if now else ()
    return Seen(happened=news, stands=standing, urgent=False)
