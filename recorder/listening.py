"""The only way in which a person hears audio, or takes it away: authorise, write the row, then open.

Must not decide (recorder.listens does) and must not change a recording. The invariants: no byte goes out before the row
that says so is committed; whoever cannot be written down hears nothing; what went out is written down too, however the
listening ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final
from uuid import UUID, uuid4

import structlog

from recorder.catalogue import Catalogue, CatalogueError, RecordingRow
from recorder.guard import Action, examine, redacted
from recorder.listens import (
    RIGHT_FOR,
    UNKNOWN,
    Audible,
    Conspicuous,
    ExplanationRule,
    ListenAct,
    ListenKind,
    Medium,
    Unheard,
    Wish,
    conspicuous,
    covering,
    explanation_rule,
    merged,
    roles_on,
    unheard,
)
from recorder.model import RecordingId
from recorder.own_calls import is_theirs
from recorder.rights import Right
from recorder.signing_in import Asker
from recorder.storage import Storage
from recorder.waveform import Region, Waveform, regions

log = structlog.get_logger(__name__)

WRITTEN_WITHIN: Final = timedelta(seconds=2)
BEGUN_WITHIN: Final = timedelta(seconds=60)
"""So long after the row the first byte may be asked for (AC-05)."""
IDLE_MOST: Final = timedelta(minutes=15)
"""So long nothing may be asked for before a listening is over, and another row is needed."""
LONGEST: Final = timedelta(hours=4)
"""So long one opening may last altogether."""
NOTED_EVERY: Final = timedelta(seconds=5)
"""What went out is written down in so large steps, while it goes."""
COUNTED_OVER: Final = timedelta(hours=1)
"""So long back the recordings are counted that somebody has opened."""
OPEN_MOST: Final = 500
OPEN_MOST_EACH: Final = 20
"""Of one person's."""
SPANS_MOST: Final = 500
"""Of one listening between two notes, and merged as they come: of more than these the nearest are told as one."""
ROWS_AT_ONCE: Final = 50
"""In one transaction: the thread that writes it is the one that callers' consents wait for."""


class SoundMissing(Exception):
    """The recording is settled, and its file is not there: it is another node's, or was taken away."""


@dataclass(slots=True, kw_only=True)
class Listen:
    """A listening in progress. `spans` are milliseconds that went out, or were played, and stand in no row yet.

    `key` is what it was opened with: that session, or that token, and no other of the same person's.
    """

    id: UUID
    key: str
    opened: ListenAct
    path: Path
    whole: RecordingRow
    begun_at: datetime
    used_at: datetime
    until: datetime
    in_use: int = 0
    noted_at: datetime
    spans: dict[ListenKind, list[tuple[int, int]]] = field(default_factory=dict)

    @property
    def duration_ms(self) -> int:
        samples, rate = self.whole.samples or 0, self.whole.rate or 8000
        return samples * 1000 // rate


class Listening:
    """CatalogueError passes from `open`: without the row nobody hears."""

    def __init__(
        self,
        catalogue: Catalogue,
        storage: Storage,
        rules: Iterable[ExplanationRule],
        now: Callable[[], datetime],
        *,
        node: str,
        alarm_above: int,
        alarm: Callable[[Conspicuous], None],
    ) -> None:
        self._node = node  # whose log it is: the one on which it was heard
        self._catalogue = catalogue
        self._storage = storage
        self._rules = tuple(rules)
        self._now = now
        self._open: dict[UUID, Listen] = {}
        self._owed: list[ListenAct] = []  # what the catalogue would not take yet
        self._alarm_above = alarm_above  # recordings of one person's, within COUNTED_OVER
        self._alarm = alarm
        self._unjudged: list[ListenAct] = []  # opened, and not looked at yet whether it stands out
        self._is_closed = False

    def has_room(self, asker: Asker) -> bool:
        """Whether they may open another."""
        theirs = sum(listen.opened.listener == asker.user.name for listen in self._open.values())
        return not self._is_closed and len(self._open) < OPEN_MOST and theirs < OPEN_MOST_EACH

    def clock_set(self, by: timedelta) -> None:
        """Our clock was set: how long nobody used a listening is not changed by that."""
        for listen in self._open.values():
            listen.used_at, listen.until = listen.used_at + by, listen.until + by
            listen.noted_at, listen.begun_at = listen.noted_at + by, listen.begun_at + by

    def rule_for(self, asker: Asker, line: str, purpose: str) -> ExplanationRule:
        """Whether this person has to say why, there and for that."""
        return explanation_rule(self._rules, roles_on(asker, line), line, purpose)

    async def audible(self, asker: Asker, recording: RecordingId) -> Audible | None:
        """What they may know of a recording; None where there is none on a line of theirs."""
        found = await self._catalogue.audible(recording, WRITTEN_WITHIN)
        if found is None or not may_know(asker, found[0].line):
            return None
        return found[0]

    async def open(
        self, asker: Asker, recording: RecordingId, medium: Medium, purpose: str, explanation: str, address: str
    ) -> Listen | Unheard | None:
        """Let somebody hear, once the row is in; a refusal leaves its row too. None where there is no such thing.

        SoundMissing where there is nothing to hear, of which then no row says that it was opened.
        """
        found = await self._catalogue.audible(recording, WRITTEN_WITHIN)
        if found is None or not may_know(asker, found[0].line):
            return None
        audible, row = found
        rule = self.rule_for(asker, audible.line, purpose)
        said, is_sensitive = _guarded(explanation)
        wish = Wish(asker=asker, medium=medium, purpose=purpose, explanation=said, rule=rule, is_sensitive=is_sensitive)
        why = unheard(wish, audible)
        path = self._storage.path(row.id, row.authorised_at)
        if why is None and not await asyncio.to_thread(path.is_file):
            log.error("sound_not_there", recording=str(recording), node=audible.node)
            raise SoundMissing
        now = self._now()
        act = _row(wish, audible, why, now, address, self._node)
        await self._catalogue.write_listens([act], WRITTEN_WITHIN)
        if why is not None:
            log.warning("listening_refused", recording=str(recording), why=why)
            return why
        listen = Listen(
            id=act.listen,
            key=_key(asker),
            opened=act,
            path=path,
            whole=row,
            begun_at=now,
            used_at=now,
            until=now + BEGUN_WITHIN,
            noted_at=now,
        )
        self._open[listen.id] = listen
        self._unjudged.append(act)
        return listen

    def find(self, asker: Asker, listen: UUID) -> Listen | None:
        """What was opened with this session or token, where it is still open; nobody else's."""
        found = self._open.get(listen)
        if found is None or self._is_closed or found.key != _key(asker):
            return None
        return found if found.in_use or self._now() <= found.until else None

    async def still_may(self, asker: Asker, listen: Listen) -> bool:
        """Whether they may hear it now: what was granted may have been taken back, or the recording sealed, since."""
        opened = listen.opened
        found = await self._catalogue.audible(listen.whole.id, WRITTEN_WITHIN)
        if found is None or opened.medium is None:
            return False
        audible, _ = found
        may = asker.may(RIGHT_FOR[opened.medium], audible.line)
        return may and audible.settled and not audible.sealed and opened.purpose in audible.purposes

    async def drawn(self, listen: Listen) -> tuple[Waveform | None, tuple[Region, ...]]:
        """What a player shows beside the sound of an open listening; no peaks where analysis drew none."""
        row = listen.whole
        waveform = await self._catalogue.waveform(row.id, WRITTEN_WITHIN)
        return waveform, regions(waveform, row.silences, row.keep_seconds, listen.duration_ms)

    def use(self, listen: Listen) -> None:
        """Bytes of it are about to go out."""
        listen.in_use += 1
        listen.used_at = self._now()

    def used(self, listen: Listen) -> None:
        """They have gone out, or whoever asked for them is gone."""
        listen.in_use -= 1
        self._renew(listen)

    def _renew(self, listen: Listen) -> None:
        listen.used_at = self._now()
        listen.until = min(listen.used_at + IDLE_MOST, listen.begun_at + LONGEST)

    def played(self, listen: Listen, spans: Iterable[tuple[int, int]]) -> None:
        """The player says that it has played these."""
        for began, ended in spans:
            self.heard(listen, ListenKind.PLAYED, began, ended)
        self._renew(listen)

    def heard(self, listen: Listen, kind: ListenKind, began_ms: int, ended_ms: int) -> None:
        """So much of it went out, or was played; written down by `look`."""
        began, ended = max(0, began_ms), min(ended_ms, listen.duration_ms)
        if began < ended:
            known = listen.spans.get(kind, [])
            listen.spans[kind] = [*covering([*known, (began, ended)], SPANS_MOST)]

    async def view_log(self, asker: Asker, address: str) -> None:
        """Somebody is about to see what others have heard: that is a row too, and comes before what they see."""
        act = ListenAct(
            id=uuid4(),
            listen=uuid4(),
            at=self._now(),
            kind=ListenKind.LOG_VIEWED,
            listener=asker.user.name,
            token=asker.token.label if asker.token is not None else None,
            node=self._node,
            roles=tuple(sorted({grant.role for grant in asker.user.grants})),
            address=address,
        )
        await self._catalogue.write_listens([act], WRITTEN_WITHIN)

    async def look(self) -> bool:
        """Write down what went out since the last look, end what nobody uses, see whether what was opened stands out.

        CatalogueError passes: what could not be written stays owed, what could not be judged is judged later.
        """
        now = self._now()
        for listen in list(self._open.values()):
            is_over = not listen.in_use and now > listen.until
            if is_over or now - listen.noted_at >= NOTED_EVERY:
                self._note(listen, now)
            if is_over:
                self._owed.append(_later(listen, ListenKind.CLOSED, now))
                del self._open[listen.id]
        await self._pay()
        await self._judge()
        return False

    async def close(self) -> None:
        """The daemon ends: whatever is still to be written down is written now, where that can be."""
        now = self._now()
        self._is_closed = True
        for listen in self._open.values():
            self._note(listen, now)
            self._owed.append(_later(listen, ListenKind.CLOSED, now))
        self._open.clear()
        try:
            await self._pay()
        except CatalogueError as error:
            log.error("listening_not_noted", rows=len(self._owed), why=str(error))

    async def _judge(self) -> None:
        """Whoever listens waits for none of it."""
        while self._unjudged:
            act = self._unjudged.pop(0)
            try:
                found = await self._conspicuous(act)
            except CatalogueError:
                self._unjudged.insert(0, act)
                raise
            for why in found:
                log.warning("listening_conspicuous", listen=str(act.listen), why=why)
                self._alarm(why)

    async def _conspicuous(self, act: ListenAct) -> tuple[Conspicuous, ...]:
        opened = await self._catalogue.recordings_opened(act.listener, act.at - COUNTED_OVER, act.at)
        whose = None if act.call is None else await self._catalogue.whose_call(act.call)
        own = whose is not None and is_theirs(act.listener, whose.legs, whose.acts, whose.call.ended_at or act.at)
        return conspicuous(opened=opened, above=self._alarm_above, own=own)

    def _note(self, listen: Listen, now: datetime) -> None:
        listen.noted_at = now
        for kind, spans in listen.spans.items():
            for began, ended in merged(spans):
                self._owed.append(_later(listen, kind, now, began, ended))
        listen.spans = {}

    async def _pay(self) -> None:
        """A few at a time, that no consent waits for them. Each row has its id: written twice it is there once."""
        while owed := tuple(self._owed[:ROWS_AT_ONCE]):
            await asyncio.shield(self._catalogue.write_listens(owed))
            self._owed = self._owed[len(owed) :]


def _guarded(explanation: str) -> tuple[str, bool]:
    """The explanation as it may be kept, and whether none of it may be (SG-08: before anything is written)."""
    verdict = examine({"explanation": explanation})
    if verdict.action is Action.REJECT:
        return "", True
    return redacted({"explanation": explanation}, verdict)["explanation"], False


def _key(asker: Asker) -> str:
    """What somebody shows: their session's digest, or their token's id."""
    if asker.token is not None:
        return str(asker.token.id)
    return asker.session.digest if asker.session is not None else ""


def may_know(asker: Asker, line: str) -> bool:
    """Whether that there is a recording is theirs to know."""
    return any(asker.may(right, line) for right in (Right.SEARCH, Right.LISTEN, Right.DOWNLOAD))


def _row(wish: Wish, audible: Audible, why: Unheard | None, now: datetime, address: str, node: str) -> ListenAct:
    """The row that comes before the first byte, or says that there is none."""
    said = wish.explanation.strip()
    return ListenAct(
        id=uuid4(),
        listen=uuid4(),
        at=now,
        kind=ListenKind.OPENED if why is None else ListenKind.REFUSED,
        listener=wish.asker.user.name,
        token=wish.asker.token.label if wish.asker.token is not None else None,
        recording=audible.recording,
        call=audible.call,
        node=node,
        line=audible.line,
        roles=tuple(sorted(roles_on(wish.asker, audible.line))),
        agents=audible.agents,
        medium=wish.medium,
        purpose=wish.purpose if wish.purpose in audible.purposes else UNKNOWN,
        explanation=said[:500] if said else None,
        address=address,
        policy=audible.policy,
        why=why,
    )


def _later(
    listen: Listen, kind: ListenKind, now: datetime, began_ms: int | None = None, ended_ms: int | None = None
) -> ListenAct:
    """A later row of the same listening; what its first row says of why is not said again."""
    return replace(
        listen.opened,
        id=uuid4(),
        at=now,
        kind=kind,
        explanation=None,
        began_ms=began_ms,
        ended_ms=ended_ms,
    )
