"""The only one that reads Asterisk's queue log: what passed through the queues while nobody of ours looked.

Must not write anything, and must not decide what a passage means for the books. The invariant: a line that makes no
sense is passed over and counted.
Source of the format: Asterisk, main/logger.c ast_queue_log and apps/app_queue.c
(`epoch|uniqueid|queue|agent|event|data...`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from sys import intern
from uuid import UUID

from recorder.fallback import (
    ASKED_ENTRY,
    NOTE_ENTRY,
    NotedAnswer,
    NotedQuestion,
    note_from_text,
    question_from_text,
)
from recorder.model import KeyAct, RecordingId, Uniqueid
from recorder.rotated import Line, Place, Rotated, in_turns

LEFT_UNSERVED = frozenset({"ABANDON", "EXITWITHTIMEOUT", "EXITWITHKEY", "EXITEMPTY"})
TALK_ENDED = frozenset({"COMPLETEAGENT", "COMPLETECALLER"})
CALLER_GONE = frozenset({"ABANDON", "COMPLETECALLER"})
KEY = "RECORDERKEY"
LISTED = "RECORDERLISTED"
TOLD = "RECORDERTOLD"
TALK = "RECORDERTALK"
"""Our dialplan's own, about an outgoing call: what Queue() would say of an incoming one."""
OURS = frozenset({KEY, TOLD, TALK, NOTE_ENTRY, ASKED_ENTRY})
LOG_PRECISION = timedelta(seconds=1)
STATUS_LONGEST = 20
TALK_MOVED = frozenset({"TRANSFER", "BLINDTRANSFER", "ATTENDEDTRANSFER"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line. `at` has a second's precision; `offset` is where the line begins."""

    at: datetime
    uniqueid: Uniqueid
    queue: str
    agent: str
    event: str
    data: tuple[str, ...]
    offset: int
    inode: int = field(default=0, compare=False)  # of the file it stands in

    @property
    def place(self) -> Place:
        """Where the line begins."""
        return Place(inode=self.inode, offset=self.offset)


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A caller's way through one queue, or an outgoing talk with a callee, as far as the log tells it.

    Outgoing, `queue` is the line, and the talk is believed only where both legs hung up in it, together.
    """

    uniqueid: Uniqueid
    queue: str
    entered_at: datetime
    offset: int
    inode: int = field(default=0, compare=False)
    connected_at: datetime | None = None
    interface: str | None = None
    agent: Uniqueid | None = None
    listed_agent: Uniqueid | None = None  # a leg of which the dialplan said that it must not be recorded
    talked_until: datetime | None = None  # talk with the agent ended here, by hang-up of either
    ended_at: datetime | None = None
    caller_gone: bool = False  # it ended because the caller hung up
    is_outgoing: bool = False
    agent_gone_at: datetime | None = None  # outgoing: the agent's leg hung up
    moved_at: datetime | None = None  # outgoing: the callee was sent elsewhere
    ended_elsewhere: bool = False  # outgoing: so was found when the callee's leg hung up

    @property
    def place(self) -> Place:
        """Of the line that tells of its beginning."""
        return Place(inode=self.inode, offset=self.offset)

    @property
    def is_over(self) -> bool:
        return self.ended_at is not None

    @property
    def is_listed(self) -> bool:
        """Whether an agent who must not be recorded took the call."""
        return self.listed_agent is not None and self.listed_agent == self.agent


@dataclass(frozen=True, slots=True, kw_only=True)
class NotedKey:
    """A key that our dialplan noted (recorder-mark). `at` has a second's precision, `presser` is the leg's uniqueid.

    `caller` is the channel in whose name it stands in the log: on an outgoing call, who dialled.
    """

    at: datetime
    act: KeyAct
    presser: Uniqueid
    caller: Uniqueid
    place: Place = field(default=Place(inode=0, offset=0), compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """What our dialplan says of telling a caller of an override (recorder-tell), here and in an event alike.

    `status` is Asterisk's word for the playing; `played_ms` None where the length makes no sense.
    """

    recording: RecordingId
    status: str
    played_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NotedTelling:
    """`at` has a second's precision, `caller` is who was to be told."""

    at: datetime
    caller: Uniqueid
    telling: Telling
    place: Place = field(default=Place(inode=0, offset=0), compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unseen:
    """What the log tells of a time in which we could not see."""

    passages: Mapping[Uniqueid, Passage] = field(default_factory=dict)
    keys: tuple[NotedKey, ...] = ()
    tellings: tuple[NotedTelling, ...] = ()
    asked: Mapping[Uniqueid, tuple[Entry, ...]] = field(default_factory=dict)  # all of whom the dialplan has asked


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What lines tell of calls that the books may lack, and of what calls in progress may still need."""

    legs: frozenset[Uniqueid]  # in whose names the lines stand
    ways: tuple[Passage, ...]
    asked: Mapping[Uniqueid, tuple[Entry, ...]]
    keys: tuple[NotedKey, ...]
    tellings: tuple[NotedTelling, ...]
    talks: tuple[Entry, ...]


class QueueLog:
    """The log file at `path`, read forwards."""

    def __init__(self, path: Path) -> None:
        self._log = Rotated(path)
        self._senseless = 0

    @property
    def senseless(self) -> int:
        """How many lines were passed over."""
        return self._senseless + self._log.overlong

    def end(self) -> Place | None:
        """Where the log ends now; None while there is no log."""
        return self._log.end()

    def read(self, since: Place) -> tuple[list[Entry], Place]:
        """What a block of whole lines after `since` says, and where it ends; as Rotated.read. OSError passes."""
        lines, place = self._log.read(since)
        return [entry for line in in_turns(lines) if (entry := self._told(line)) is not None], place

    def every(self, since: datetime | None = None) -> Iterator[Entry]:
        """All that is still there, rotated files too, oldest first; as Rotated.every."""
        for text in self._log.every(since):
            entry = self._told(Line(text=text, offset=0, inode=0))
            if entry is not None:
                yield entry

    def _told(self, line: Line) -> Entry | None:
        entry = _entry(line.text, line.offset, line.inode)
        self._senseless += entry is None
        return entry


def _entry(line: bytes, offset: int, inode: int) -> Entry | None:
    parts = line.decode("utf-8", "replace").split("|")
    if len(parts) < 5:
        return None
    try:
        at = datetime.fromtimestamp(float(parts[0]), UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return Entry(
        at=at,
        uniqueid=Uniqueid(parts[1]),
        queue=intern(parts[2]),  # the same few words in all lines, which may be remembered by the thousand
        agent=intern(parts[3]),
        event=intern(parts[4]),
        data=tuple(parts[5:]),
        offset=offset,
        inode=inode,
    )


def of_calls(entries: Iterable[Entry], queues: Collection[str], followed: Iterable[Uniqueid] = ()) -> list[Entry]:
    """These lines without those that tell nothing of any call of ours: all of `followed` legs, and all of a leg's from
    the first on by which it enters one of `queues`, or that our dialplan wrote in its name.
    """
    legs = set(followed)
    told = []
    for entry in entries:
        if entry.uniqueid in legs or entry.event in OURS or (entry.event == "ENTERQUEUE" and entry.queue in queues):
            legs.add(entry.uniqueid)
            told.append(entry)
    return told


def passages(entries: Iterable[Entry], known: Mapping[Uniqueid, Passage] | None = None) -> dict[Uniqueid, Passage]:
    """The passages that these lines tell of, over those `known` from earlier lines; the last of a caller counts."""
    told = dict(known or {})
    for entry in entries:
        if entry.event == TALK:
            talk = _talk(told.get(entry.uniqueid), entry)
            if talk is not None:
                told[entry.uniqueid] = talk
        elif entry.event == "ENTERQUEUE":
            told[entry.uniqueid] = Passage(
                uniqueid=entry.uniqueid,
                queue=entry.queue,
                entered_at=entry.at,
                offset=entry.offset,
                inode=entry.inode,
            )
        elif (passage := told.get(entry.uniqueid)) is not None:
            told[entry.uniqueid] = _moved(passage, entry)
    return told


def _talk(known: Passage | None, entry: Entry) -> Passage | None:
    """The outgoing talk after this line; None for a line that makes no sense."""
    word, leg = (*entry.data, "", "")[:2]
    if word == "began" and leg:
        return Passage(
            uniqueid=entry.uniqueid,
            queue=entry.queue,
            entered_at=entry.at,
            offset=entry.offset,
            inode=entry.inode,
            connected_at=entry.at,
            agent=Uniqueid(leg),
            is_outgoing=True,
        )
    if known is None or not known.is_outgoing:
        return known
    if word == "moved" and known.moved_at is None:
        return _parted(replace(known, moved_at=entry.at))
    if word == "ended" and leg == known.agent and known.agent_gone_at is None:
        return _parted(replace(known, agent_gone_at=entry.at))
    if word in ("ended", "elsewhere") and leg == entry.uniqueid:
        return _parted(replace(known, ended_at=entry.at, ended_elsewhere=word == "elsewhere"))
    return known


def _parted(talk: Passage) -> Passage:
    """They talked until both legs were gone from it, in the same second or the next; one leg's end alone is no proof.

    Of a callee who was moved, the last second is left out: the new party may be there in it.
    """
    agent, left = talk.agent_gone_at, talk.moved_at or (None if talk.ended_elsewhere else talk.ended_at)
    if agent is None or left is None or abs(agent - left) > LOG_PRECISION:
        return talk
    return replace(talk, talked_until=min(agent, left) - (LOG_PRECISION if talk.moved_at else timedelta()))


def talks_noted(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """The lines about outgoing talks among these."""
    return tuple(entry for entry in entries if entry.event == TALK)


def keys_noted(entries: Iterable[Entry]) -> tuple[NotedKey, ...]:
    """The keys among these lines, in their order; one that asks for something unknown is passed over."""
    acts = {str(act): act for act in KeyAct}
    return tuple(
        NotedKey(
            at=entry.at,
            act=acts[entry.data[0]],
            presser=presser(entry),
            caller=entry.uniqueid,
            place=entry.place,
        )
        for entry in entries
        if entry.event == KEY and len(entry.data) > 1 and entry.data[0] in acts
    )


def presser(entry: Entry) -> Uniqueid:
    """The leg whose key this line notes; of any other line, in whose name it stands."""
    return Uniqueid(entry.data[1]) if entry.event == KEY and len(entry.data) > 1 else entry.uniqueid


def tellings_noted(entries: Iterable[Entry]) -> tuple[NotedTelling, ...]:
    """The lines about callers who were told of an override, or were not; one that makes no sense is passed over."""
    return tuple(
        NotedTelling(
            at=entry.at,
            caller=entry.uniqueid,
            telling=telling,
            place=entry.place,
        )
        for entry in entries
        if entry.event == TOLD and (telling := telling_from_text("|".join(entry.data))) is not None
    )


def telling_from_text(text: str) -> Telling | None:
    """The telling that our dialplan wrote; None where the text is none, or not whole."""
    recording, status, played, *more = (*text.strip().split("|"), "", "", "")
    if any(more):
        return None
    try:
        return Telling(
            recording=RecordingId(UUID(recording)), status=status[:STATUS_LONGEST], played_ms=_length(played)
        )
    except ValueError:
        return None


def _length(text: str) -> int | None:
    """Milliseconds; None where it is no length, as when the clock was set back in it."""
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else None


def answer_noted(entry: Entry) -> NotedAnswer | None:
    """The dialogue that the dialplan held by itself and wrote down here; None for any other line."""
    return note_from_text("|".join(entry.data)) if entry.event == NOTE_ENTRY else None


def question_noted(entry: Entry) -> NotedQuestion | None:
    """The dialogue that the dialplan began by itself, by this line; None for any other."""
    return question_from_text("|".join(entry.data)) if entry.event == ASKED_ENTRY else None


def asked_without_us(entries: Iterable[Entry]) -> dict[Uniqueid, tuple[Entry, ...]]:
    """Every line, in order, about callers whom the dialplan has asked by itself, from the question on."""
    told: dict[Uniqueid, list[Entry]] = {}
    for entry in entries:
        if entry.uniqueid in told:
            told[entry.uniqueid].append(entry)
        elif answer_noted(entry) is not None or question_noted(entry) is not None:
            told[entry.uniqueid] = [entry]
    return {caller: tuple(lines) for caller, lines in told.items()}


def each_passage(entries: Iterable[Entry]) -> Iterator[Passage]:
    """Every passage through a queue once, as soon as it is over or its caller enters anew; at the end those under way.

    Outgoing talks are none: the CDR is their ledger. Holds no more than what is under way, so that a log of any length
    can be read.
    """
    under_way: dict[Uniqueid, Passage] = {}
    for entry in entries:
        if entry.event == TALK:
            continue
        if entry.event == "ENTERQUEUE" and entry.uniqueid in under_way:
            yield under_way.pop(entry.uniqueid)
        under_way |= passages(
            (entry,), {entry.uniqueid: under_way[entry.uniqueid]} if entry.uniqueid in under_way else None
        )
        passage = under_way.get(entry.uniqueid)
        if passage is not None and passage.is_over:
            yield under_way.pop(entry.uniqueid)
    yield from under_way.values()


def whole_ways(entries: Iterable[Entry], queues: Collection[str]) -> list[Passage]:
    """Each caller's whole way through these queues as one passage: of the first, connected if any was, over if all are.

    `talked_until` and `ended_at` are the last one's.
    """
    ways: dict[Uniqueid, Passage] = {}
    for passage in each_passage(entries):
        if passage.queue in queues:
            before = ways.get(passage.uniqueid)
            ways[passage.uniqueid] = passage if before is None else _followed(before, passage)
    return list(ways.values())


def told_by(entries: Collection[Entry], queues: Collection[str]) -> Told:
    """All that these lines tell of calls through these queues. For a thread: they may be many."""
    return Told(
        legs=frozenset(entry.uniqueid for entry in entries),
        ways=tuple(whole_ways(in_turns(entries), queues)),
        asked=asked_without_us(in_turns(entries)),
        keys=keys_noted(entries),
        tellings=tellings_noted(entries),
        talks=talks_noted(entries),
    )


def unseen_by(entries: Collection[Entry], queues: Collection[str]) -> Unseen:
    """What these lines tell of a time in which we could not see. For a thread: they may be many."""
    told = passages(in_turns(entries))
    return Unseen(
        passages={leg: way for leg, way in told.items() if way.is_outgoing or way.queue in queues},
        keys=keys_noted(entries),
        tellings=tellings_noted(entries),
        asked=asked_without_us(in_turns(entries)),
    )


def _followed(before: Passage, after: Passage) -> Passage:
    connected = before if before.connected_at is not None else after
    return replace(
        before,
        connected_at=connected.connected_at,
        interface=connected.interface,
        agent=connected.agent,
        listed_agent=connected.listed_agent,
        talked_until=after.talked_until,
        ended_at=after.ended_at,
        caller_gone=after.caller_gone,
    )


def _moved(passage: Passage, entry: Entry) -> Passage:
    if entry.event == "CONNECT":
        agent = Uniqueid(entry.data[1]) if len(entry.data) > 1 else None
        return replace(passage, connected_at=entry.at, interface=entry.agent, agent=agent)
    if entry.event == LISTED and entry.data:
        return replace(passage, listed_agent=Uniqueid(entry.data[0]))
    if entry.event in TALK_ENDED:
        gone = entry.event in CALLER_GONE
        return replace(passage, talked_until=entry.at, ended_at=entry.at, caller_gone=gone)
    if entry.event in TALK_MOVED or entry.event in LEFT_UNSERVED:
        return replace(passage, ended_at=entry.at, caller_gone=entry.event in CALLER_GONE)
    return passage
