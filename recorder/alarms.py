"""What is an alarm, when is it raised, told again and over: one alarm an outage, not one a call.

Must not look at anything and must not tell anybody: it is given what was seen and answers with notices. The invariants:
a kind has at most one alarm at a time; whoever heard that one was raised hears that it is over; no notice holds a
number, a name or anything else of a caller's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import NAMESPACE_OID, UUID, uuid5


class AlarmKind(StrEnum):
    """What somebody is told of."""

    LOST = "lost"  # a call that should have been recorded was not
    UNREADY = "unready"  # nothing new can be captured
    DISK = "disk"  # a file system of ours fills up
    RIVAL = "rival"  # a capture that we did not authorise was seen
    PAUSE = "pause"  # a call is paused for longer than its line allows
    LISTENING = "listening"  # somebody heard very many recordings, or a call of their own


class Occasion(StrEnum):
    """Why somebody is told now."""

    RAISED = "raised"
    WORSE = "worse"  # it has become urgent
    AGAIN = "again"  # it goes on, or more has happened
    OVER = "over"
    TEST = "test"  # `recorder alarm test`


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One look at what a kind is about: what is so now, in words, and what has happened since the last look."""

    stands: tuple[str, ...] = ()
    happened: Mapping[str, int] = field(default_factory=dict)
    urgent: bool = True

    @property
    def is_so(self) -> bool:
        return bool(self.stands) or any(self.happened.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What is told. `counts` and `reasons` are of the whole alarm, so that the last notice says everything."""

    alarm: UUID
    kind: AlarmKind | None  # None: a test
    occasion: Occasion
    urgent: bool
    node: str
    since: datetime
    at: datetime
    counts: Mapping[str, int] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """When a kind is raised, said again, and over."""

    after: timedelta  # so long must it be so
    over_after: timedelta  # so long must nothing of it be seen
    again: timedelta  # not sooner than this after the last notice
    only_news: bool  # again only where something has happened since; else as a reminder that it stands
    held_open_by: AlarmKind | None = None  # not over while that is so: the same outage


def rules(*, unready: timedelta, digest: timedelta, over: timedelta) -> Mapping[AlarmKind, Rule]:
    """The table. A lost call is told at once; the rest of its outage in digests."""
    at_once = timedelta(0)
    return {
        AlarmKind.LOST: Rule(
            after=at_once, over_after=over, again=digest, only_news=True, held_open_by=AlarmKind.UNREADY
        ),
        AlarmKind.UNREADY: Rule(after=unready, over_after=unready, again=timedelta(hours=1), only_news=False),
        AlarmKind.DISK: Rule(after=timedelta(minutes=1), over_after=over, again=timedelta(days=1), only_news=False),
        AlarmKind.RIVAL: Rule(after=at_once, over_after=over, again=digest, only_news=True),
        # How long is too long the line has said, and whoever is on the way to the agent should hear that it is mended.
        # Over at the next look: two that begin in one moment would be one alarm by its id.
        AlarmKind.PAUSE: Rule(after=at_once, over_after=timedelta(seconds=1), again=digest, only_news=True),
        AlarmKind.LISTENING: Rule(after=at_once, over_after=over, again=digest, only_news=True),
    }


class Standing(StrEnum):
    """Where the alarm of a kind stands."""

    QUIET = "quiet"
    WAITING = "waiting"  # it is so, and not yet for long enough
    RAISED = "raised"


class Sign(StrEnum):
    """What a look means for an alarm."""

    NOTHING = "nothing"  # not so, and if raised, not for long enough to be over
    SO = "so"
    LONG = "long"  # so for long enough to be raised
    URGENT = "urgent"  # raised, and has become urgent
    NEWS = "news"  # raised, and to be said again
    PAST = "past"  # raised, and nothing of it was seen for long enough


S, G, O = Standing, Sign, Occasion  # noqa: E741

TRANSITIONS: Final[Mapping[Standing, Mapping[Sign, tuple[Standing, Occasion | None]]]] = {
    S.QUIET: {G.NOTHING: (S.QUIET, None), G.SO: (S.WAITING, None), G.LONG: (S.RAISED, O.RAISED)},
    S.WAITING: {G.NOTHING: (S.QUIET, None), G.SO: (S.WAITING, None), G.LONG: (S.RAISED, O.RAISED)},
    S.RAISED: {
        G.NOTHING: (S.RAISED, None),
        G.SO: (S.RAISED, None),
        G.URGENT: (S.RAISED, O.WORSE),
        G.NEWS: (S.RAISED, O.AGAIN),
        G.PAST: (S.QUIET, O.OVER),
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """The alarm of one kind. Times are None while it is quiet."""

    standing: Standing = Standing.QUIET
    since: datetime | None = None  # when it was first so
    so_at: datetime | None = None  # when it was last so
    told_at: datetime | None = None
    urgent: bool = False  # stays so until it is over: nobody is called up twice for one outage
    counts: Mapping[str, int] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()
    untold: bool = False  # something has happened since the last notice


def look(alarm: Alarm, seen: Seen, rule: Rule, *, held_open: bool, at: datetime) -> tuple[Alarm, Occasion | None]:
    """The alarm after a look, and why somebody is to be told now, if at all."""
    sign = _sign(alarm, seen, rule, held_open=held_open, at=at)
    standing, occasion = TRANSITIONS[alarm.standing][sign]
    if standing is Standing.QUIET:
        return Alarm(), occasion
    grown = replace(
        alarm,
        standing=standing,
        since=alarm.since or at,
        so_at=at if seen.is_so or held_open else alarm.so_at,
        urgent=alarm.urgent or (seen.is_so and seen.urgent),
        counts=_sum(alarm.counts, seen.happened),
        reasons=seen.stands or alarm.reasons,
        untold=alarm.untold or any(seen.happened.values()),
    )
    return (grown, None) if occasion is None else (replace(grown, told_at=at, untold=False), occasion)


def _sign(alarm: Alarm, seen: Seen, rule: Rule, *, held_open: bool, at: datetime) -> Sign:
    if alarm.standing is not Standing.RAISED:
        if not seen.is_so:
            return Sign.NOTHING
        return Sign.LONG if at - (alarm.since or at) >= rule.after else Sign.SO
    if seen.is_so and seen.urgent and not alarm.urgent:
        return Sign.URGENT
    is_so = seen.is_so or held_open
    if not is_so and alarm.so_at is not None and at - alarm.so_at >= rule.over_after:
        return Sign.PAST  # its notice says what is news as well
    news = alarm.untold or any(seen.happened.values()) if rule.only_news else seen.is_so
    if news and alarm.told_at is not None and at - alarm.told_at >= rule.again:
        return Sign.NEWS
    return Sign.SO if is_so else Sign.NOTHING


def _sum(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {word: one.get(word, 0) + other.get(word, 0) for word in (*one, *(w for w in other if w not in one))}


class Alarms:
    """The alarms of one node. `look` is given all kinds at once, since one may hold another open."""

    def __init__(self, node: str, rules: Mapping[AlarmKind, Rule]) -> None:
        self._node = node
        self._rules = rules
        self.now: dict[AlarmKind, Alarm] = {kind: Alarm() for kind in AlarmKind}

    def look(self, seen: Mapping[AlarmKind, Seen], at: datetime) -> list[Notice]:
        """Take what was seen at `at`; return what is to be told, the kinds in their order."""
        notices = []
        for kind, rule in self._rules.items():
            before = self.now[kind]
            holder = seen.get(rule.held_open_by) if rule.held_open_by is not None else None
            held_open = holder is not None and holder.is_so
            after, occasion = look(before, seen.get(kind, Seen()), rule, held_open=held_open, at=at)
            self.now[kind] = after
            if occasion is not None:
                # What is over is told as it last stood.
                notices.append(self._notice(kind, before if occasion is Occasion.OVER else after, occasion, at))
        return notices

    def _notice(self, kind: AlarmKind, alarm: Alarm, occasion: Occasion, at: datetime) -> Notice:
        since = alarm.since or at
        return Notice(
            alarm=uuid5(NAMESPACE_OID, f"{self._node} {kind} {since.isoformat()}"),
            kind=kind,
            occasion=occasion,
            urgent=alarm.urgent,
            node=self._node,
            since=since,
            at=at,
            counts=dict(alarm.counts),
            reasons=alarm.reasons,
        )


WHAT: Final[Mapping[AlarmKind | None, str]] = {
    AlarmKind.LOST: "calls were lost that should have been recorded",
    AlarmKind.UNREADY: "nothing new can be captured",
    AlarmKind.DISK: "a disk fills up",
    AlarmKind.RIVAL: "captures were seen that the recorder did not authorise",
    AlarmKind.PAUSE: "calls are paused for longer than their line allows",
    AlarmKind.LISTENING: "somebody listened to very many recordings within an hour, or to a call of their own",
    None: "this is a test; nothing is wrong",
}
HOW: Final[Mapping[Occasion, str]] = {
    Occasion.RAISED: "",
    Occasion.WORSE: "now urgent: ",
    Occasion.AGAIN: "still: ",
    Occasion.OVER: "over: ",
    Occasion.TEST: "",
}


def sentence(notice: Notice) -> str:
    """A notice in one line, for a telephone's screen."""
    told = [f"{count} {word}" for word, count in notice.counts.items()] + list(notice.reasons)
    since = f"since {notice.since:%Y-%m-%d %H:%M} UTC"
    facts = f": {'; '.join(told)}" if told else ""
    return f"recorder {notice.node}: {HOW[notice.occasion]}{WHAT[notice.kind]}, {since}{facts}"


def fields(notice: Notice) -> dict[str, object]:
    """A notice as a hook and a webhook receive it, in JSON; docs/operating.md lists the keys, which stay."""
    return {
        "version": 1,
        "alarm": str(notice.alarm),
        "kind": str(notice.kind) if notice.kind is not None else "test",
        "occasion": str(notice.occasion),
        "urgent": notice.urgent,
        "node": notice.node,
        "since": notice.since.isoformat(),
        "at": notice.at.isoformat(),
        "counts": dict(notice.counts),
        "reasons": list(notice.reasons),
        "text": sentence(notice),
    }


def trial_notice(node: str, at: datetime) -> Notice:
    """What `recorder alarm test` sends: an alarm of its own, which nothing is the matter with."""
    made = uuid5(NAMESPACE_OID, f"{node} test {at.isoformat()}")
    return Notice(alarm=made, kind=None, occasion=Occasion.TEST, urgent=False, node=node, since=at, at=at)
