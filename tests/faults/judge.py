"""What a fault may cost, and whether it cost more: pure, over what Asterisk told, the books say, and the files hold.

The invariants that no fault may break: of a talk whose capture ran nothing is missing; nothing that was said before
consent, or without it, is in any file; nothing of after the talk's scope is in a settled one; each call of a line has
its one outcome.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from recorder.model import LostReason, Outcome
from tests.faults.kinds import AGENT, AGENT_BEFORE, BEFORE, BEYOND, CALLER, CARD, MUSIC, WILLING, Kind

RATE = 8000
TAIL = 32 * 1024 / 2 / RATE
"""Seconds: Asterisk writes a direction in steps of 32 KiB, and what it holds back dies with it."""
LOST = 0.2
"""Seconds of talk that Asterisk wrote and the recording has not: more is talk lost, less is the edges of the tones."""
NEAR = 0.5
"""Seconds by which a WAV and Asterisk's stamps may differ, as for the recorder's own finding shorter_than_bridge."""
UNWRITTEN = 0.03
"""Of a talk: frames that Asterisk itself neither passes on nor writes on a machine that has no time for it."""
UNWRITTEN_TWICE = 0.05  # of a talk that begins again after a hold, and loses the first ones each time
UNSETTLED = 0.3
"""Seconds of after the talk that may lie in the spool while the daemon lives."""
HELD_EDGE = 0.4  # seconds at both ends of a hold: silence is begun early, and left late
KEY_EDGE = 1.4  # seconds at both ends of a pause: three digits are dialled, and nobody speaks beside it
KEY_UNSEEN = 2.8  # of a key in a blind time, which is found in the queue log: that counts whole seconds
HEARD = 1.0
"""A talk shorter than this may leave no audio and still be right."""
SETTLES_DOWN = 2.0
"""Seconds after the daemon is ready again, from which on nothing may be lost any more."""
FRAME = 0.02
"""Seconds: the first frame from Asterisk to the caller may be the last of the queue's music."""


@dataclass(frozen=True, slots=True)
class Span:
    """From when to when; Asterisk's seconds since the epoch."""

    begin: float
    end: float

    @property
    def seconds(self) -> float:
        return max(0.0, self.end - self.begin)

    def without(self, other: Span) -> tuple[Span, ...]:
        left = Span(self.begin, min(self.end, other.begin)), Span(max(self.begin, other.end), self.end)
        return tuple(span for span in left if span.seconds > 0)

    def meets(self, other: Span) -> bool:
        return self.begin < other.end and other.begin < self.end


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What Asterisk's own events tell of a call. `leg` is the uniqueid of the channel that a capture would be on."""

    number: int
    kind: Kind
    leg: str
    also: str = ""  # the other leg's, where the call has one of the house's own
    placed_at: float
    entered: bool  # it came into a context of ours
    queued_at: float | None
    armed_at: float | None
    talks: tuple[Span, ...]  # in a bridge with somebody
    music: tuple[Span, ...]
    acts: Mapping[str, float] = field(default_factory=dict)
    left_at: float | None = None  # sent elsewhere
    ended_at: float | None = None
    cut: bool = False  # by Asterisk's death


@dataclass(frozen=True, slots=True, kw_only=True)
class Sound:
    """One file: seconds of each tone by side (0 is the caller's), whoever's it is."""

    seconds: float
    tones: Mapping[tuple[int, int], float]

    def of(self, hz: int) -> float:
        return sum(seconds for (_, tone), seconds in self.tones.items() if tone == hz)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A recording in the books, with what its settled file and its staged ones held; None where there was no file."""

    status: str
    findings: tuple[str, ...] = ()
    settled: Sound | None = None
    staged: Sound | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Booked:
    """A call in the books, by the uniqueids of its legs."""

    legs: frozenset[str]
    outcome: Outcome | None
    reason: LostReason | None
    kept: tuple[Kept, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a fault may cost, said beforehand. Everything else is wrong."""

    lost: frozenset[LostReason] = frozenset()  # of calls that meet it before their capture runs
    tail: float = 0.0  # seconds of each direction of a talk that Asterisk's death cuts


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that is known when a run is over."""

    calls: tuple[Told, ...]
    booked: tuple[Booked, ...]
    unclaimed: Mapping[str, Sound]  # files, by name, that belong to no recording
    blind: tuple[Span, ...]  # when the daemon was dead, frozen, or could not hear Asterisk
    fault: Span  # from the fault's beginning until the daemon was ready again
    ready_after: float | None  # seconds after the fault's end; None: never
    verify: tuple[int, str]
    at_once: int  # calls, at the least
    unmet: tuple[str, ...] = ()  # what was to break and did not


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A line of the table."""

    calls: int = 0
    at_once: int = 0
    met: int = 0  # calls in progress while the fault lasted
    captured: int = 0  # calls whose capture ran
    owed: float = 0.0  # seconds of consented talk, a direction
    kept: float = 0.0
    unshown: float = 0.0  # seconds that were silenced because nothing shows that they were in scope
    music: float = 0.0  # seconds of holds that nobody saw, kept as they sounded
    tails: int = 0  # recordings that Asterisk's death cut, each with its finding
    before: int = 0  # samples of before consent, in any file
    beyond: int = 0  # samples of after the talk, in settled files
    staged: float = 0.0  # worst milliseconds of that in the spool while the daemon lived
    staged_blind: float = 0.0  # and while it did not
    outcomes: Mapping[str, int] = field(default_factory=dict)
    lost: Mapping[str, int] = field(default_factory=dict)
    without: int = 0  # calls without an outcome
    ready_after: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Every sentence is something wrong."""

    row: Row
    wrong: tuple[str, ...]


# ---------------------------------------------------------------- what is owed


def consented(call: Told) -> tuple[Span, ...]:
    """The talk that belongs into the recording: from the running capture on, in scope, neither held nor paused."""
    if call.armed_at is None or call.kind is Kind.WITHDRAWN:
        return ()
    ends = call.left_at if call.left_at is not None else float("inf")
    spans = [Span(max(talk.begin, call.armed_at), min(talk.end, ends)) for talk in call.talks]
    quiet = [Span(music.begin - HELD_EDGE, music.end + HELD_EDGE) for music in call.music]
    if "pause" in call.acts:
        quiet.append(Span(call.acts["pause"] - KEY_EDGE, call.acts.get("resume", float("inf")) + KEY_EDGE))
    for gap in quiet:
        spans = [part for span in spans for part in span.without(gap)]
    return tuple(span for span in spans if span.seconds > 0)


def shown(call: Told, blind: Sequence[Span]) -> tuple[Span, ...]:
    """Of that, what can be shown to be in scope: all, unless the talk changed hands while nobody saw it.

    Asterisk's queue log proves an unseen talk to its end, an outgoing one by the lines that our dialplan writes there.
    It does not know how long a talk went on before a transfer or a consultation: there the proof ends where the
    blindness began, and nothing follows it until the same talk is seen standing.
    """
    spans = consented(call)
    turns = [music.begin for music in call.music] + [music.end for music in call.music]
    turns += [at for one, other in pairwise(call.talks) for at in (one.end, other.begin)]
    turns += [call.left_at] if call.left_at is not None else []
    for gap in blind:
        if any(gap.begin <= turn <= gap.end for turn in turns):
            spans = tuple(part for span in spans for part in span.without(gap))
        for key in (call.acts[act] for act in ("pause", "resume") if act in call.acts):
            if gap.begin <= key <= gap.end:
                edge = Span(key - KEY_UNSEEN, key + KEY_UNSEEN)
                spans = tuple(part for span in spans for part in span.without(edge))
        if gap.begin <= call.acts.get("resume", -1) <= gap.end:  # nobody was there to lift Asterisk's silence
            paused = Span(call.acts.get("pause", gap.begin), gap.end + KEY_UNSEEN)
            spans = tuple(part for span in spans for part in span.without(paused))
    return spans


def seconds(spans: Iterable[Span]) -> float:
    return sum(span.seconds for span in spans)


# ---------------------------------------------------------------- the judge


@dataclass(slots=True)
class _Tally:
    """What the judge has found so far."""

    facts: Facts
    cost: Cost
    wrong: list[str] = field(default_factory=list)
    owed: float = 0.0
    kept: float = 0.0
    unshown: float = 0.0
    music: float = 0.0
    tails: int = 0
    captured: int = 0
    before: float = 0.0
    beyond: float = 0.0
    staged: float = 0.0
    staged_blind: float = 0.0
    without: int = 0

    def says(self, call: Told, what: str) -> None:
        self.wrong.append(f"call {call.number} ({call.kind}, {call.leg}): {what}")


def judge(facts: Facts, cost: Cost) -> Verdict:
    """All that is wrong after a fault, and the line of the table."""
    tally = _Tally(facts, cost)
    by_leg = {leg: booked for booked in facts.booked for leg in booked.legs}
    for call in facts.calls:
        _judge_call(tally, call, by_leg.get(call.leg) or by_leg.get(call.also))
    for name, sound in facts.unclaimed.items():
        if sound.seconds > 0:
            tally.wrong.append(f"the file {name} belongs to no recording and holds {sound.seconds:.2f} s")
        tally.before += sound.of(BEFORE) + sound.of(AGENT_BEFORE)
    _judge_whole(tally)
    outcomes = Counter(str(booked.outcome) for booked in facts.booked if booked.outcome)
    lost = Counter(str(booked.reason) for booked in facts.booked if booked.reason)
    row = Row(
        calls=len(facts.calls),
        at_once=facts.at_once,
        met=sum(Span(call.placed_at, call.ended_at or float("inf")).meets(facts.fault) for call in facts.calls),
        captured=tally.captured,
        owed=tally.owed,
        kept=tally.kept,
        unshown=tally.unshown,
        music=tally.music,
        tails=tally.tails,
        before=round(tally.before * RATE),
        beyond=round(tally.beyond * RATE),
        staged=tally.staged * 1000,
        staged_blind=tally.staged_blind * 1000,
        outcomes=dict(outcomes),
        lost=dict(lost),
        without=tally.without,
        ready_after=facts.ready_after,
    )
    return Verdict(row=row, wrong=tuple(tally.wrong))


def _judge_whole(tally: _Tally) -> None:
    facts = tally.facts
    tally.wrong += facts.unmet
    if facts.ready_after is None:
        tally.wrong.append("the daemon did not come to be ready again by itself")
    if facts.verify[0] != 0:
        tally.wrong.append(f"recorder verify: exit {facts.verify[0]}: {facts.verify[1]}")
    if tally.before > 0:
        tally.wrong.append(f"{tally.before:.2f} s of what was said before consent, or without it")
    for booked in facts.booked:
        if booked.outcome is None:
            tally.without += 1
            tally.wrong.append(f"a call without an outcome: {sorted(booked.legs)}")


def is_to_be_booked(call: Told) -> bool:
    """What no ledger holds cannot be booked: a call that Asterisk took along before it had reached a queue."""
    took_along = call.cut and call.queued_at is None and call.armed_at is None
    return call.kind is not Kind.PERSONAL and call.entered and not took_along


def _judge_call(tally: _Tally, call: Told, booked: Booked | None) -> None:
    if booked is None:
        _judge_unbooked(tally, call)
        return
    if call.kind is Kind.PERSONAL:
        tally.says(call, "a personal call is in the books")
    _judge_outcome(tally, call, booked)
    _judge_files(tally, call, booked)
    if call.armed_at is not None and seconds(call.talks) > 0:
        tally.captured += 1
        _judge_talk(tally, call, booked)


def _judge_unbooked(tally: _Tally, call: Told) -> None:
    if not is_to_be_booked(call):
        return
    tally.without += 1
    tally.says(call, "is not in the books")


def _judge_outcome(tally: _Tally, call: Told, booked: Booked) -> None:
    if booked.reason is not None and booked.reason not in tally.cost.lost:
        tally.says(call, f"lost({booked.reason}), which this fault may not cost")
    met = _meets_fault(tally.facts, call)
    if booked.outcome is Outcome.LOST and not met:
        tally.says(call, f"lost({booked.reason}) away from the fault")
    if met or not call.talks:
        return
    if call.kind in WILLING and seconds(consented(call)) < HEARD:
        return
    if booked.outcome is not expected(call.kind):
        tally.says(call, f"{booked.outcome} away from the fault, not {expected(call.kind)}")


def _meets_fault(facts: Facts, call: Told) -> bool:
    """Whether the fault lasted while it was being decided if this call may be captured, or took Asterisk along."""
    if call.cut:
        return True
    decided = [call.armed_at, call.queued_at, call.ended_at, *(talk.begin for talk in call.talks)]
    deciding = Span(call.placed_at, min((at for at in decided if at is not None), default=float("inf")))
    if call.kind is Kind.OVERRIDDEN:  # decided once more, by a key in the talk
        deciding = Span(call.placed_at, call.armed_at or call.ended_at or float("inf"))
    return deciding.meets(Span(facts.fault.begin - FRAME, facts.fault.end + SETTLES_DOWN))


def expected(kind: Kind) -> Outcome | None:
    """How a call ends that nothing disturbs, once it has talked."""
    if kind in WILLING or kind is Kind.OVERRIDDEN:
        return Outcome.RECORDED
    return {Kind.NEVER: Outcome.EXCLUDED, Kind.PERSONAL: None}.get(kind, Outcome.DECLINED)


def _judge_files(tally: _Tally, call: Told, booked: Booked) -> None:
    """Nothing of before consent anywhere, nothing beyond the talk in what is settled, little of it in the spool."""
    unseen = _is_unseen(call, tally.facts.blind)
    for kept in booked.kept:
        for sound in (kept.settled, kept.staged):
            # An override authorises from its key on; the caller has spoken one tone all along, and is judged by length.
            unconsented = AGENT_BEFORE if call.kind is Kind.OVERRIDDEN else BEFORE
            if sound is not None and sound.of(unconsented) > 0:
                tally.before += sound.of(unconsented)
                tally.says(call, f"{sound.of(unconsented):.2f} s of {unconsented} Hz, said without consent")
        if kept.settled is not None:
            _judge_beyond(tally, call, kept.settled, unseen=unseen)
        if kept.staged is not None:
            worst = max(kept.staged.of(hz) for hz in BEYOND)
            if unseen:
                tally.staged_blind = max(tally.staged_blind, worst)
            else:
                tally.staged = max(tally.staged, worst)
                if worst > UNSETTLED + 1e-6:
                    tally.says(call, f"{worst * 1000:.0f} ms of after the talk in the spool")
    if call.kind in (Kind.REFUSED, Kind.SILENT, Kind.NEVER, Kind.PERSONAL) and any(
        kept.settled or kept.staged for kept in booked.kept
    ):
        tally.says(call, "has a file")
    if call.kind is Kind.WITHDRAWN and "withdraw" in call.acts and any(kept.settled for kept in booked.kept):
        tally.says(call, "was withdrawn and is kept")


def _is_unseen(call: Told, blind: Sequence[Span]) -> bool:
    """Whether the talk ended, was held or paused, while nobody saw it."""
    turns = [at for at in (call.left_at, call.acts.get("pause"), *(span.begin for span in call.music)) if at]
    turns += [span.end for span in call.music]
    return any(gap.begin <= turn <= gap.end for turn in turns for gap in blind)


def _unseen_aside(call: Told, blind: Sequence[Span]) -> float:
    """Seconds that the caller waited, in a hold of which nobody saw the beginning or the end (decision 0022)."""
    if call.kind is not Kind.HELD or call.music:  # what sounded as music is counted by its tone
        return 0.0
    gone = [Span(one.end, other.begin) for one, other in pairwise(call.talks)]
    return seconds(
        each for each in gone if any(gap.begin <= at <= gap.end for at in (each.begin, each.end) for gap in blind)
    )


def _judge_beyond(tally: _Tally, call: Told, settled: Sound, *, unseen: bool) -> None:
    """A hold that nobody saw leaves no trace to find it by: the same two are in the same bridge after it."""
    frames = FRAME * len(call.talks) + 1e-6
    found = {hz: settled.of(hz) for hz in BEYOND if settled.of(hz) > 0}
    music = settled.of(MUSIC)
    if call.music and unseen:
        tally.music += music
    elif call.music and music > frames:  # else it is the queue's, a frame or two of it
        found[MUSIC] = music
    tally.beyond += sum(found.values())
    for hz, length in found.items():
        tally.says(call, f"{length:.2f} s of {hz} Hz in a settled recording{' (card)' if hz == CARD else ''}")
    if call.kind is Kind.OVERRIDDEN and "override" in call.acts and call.ended_at is not None:
        most = call.ended_at - call.acts["override"]
        if settled.seconds > most + NEAR:
            tally.before += settled.seconds - most
            tally.says(call, f"{settled.seconds:.2f} s kept of {most:.2f} s after the override")


def _judge_talk(tally: _Tally, call: Told, booked: Booked) -> None:
    """The talk that is owed, against what the settled files hold of both parties."""
    whole, owed = seconds(consented(call)), seconds(shown(call, tally.facts.blind))
    files = [kept for kept in booked.kept if kept.settled is not None]
    callers = BEFORE if call.kind is Kind.OVERRIDDEN else CALLER  # who had refused speaks on in the same tone
    heard = {
        side: sum(kept.settled.tones.get((side, hz), 0.0) for kept in files if kept.settled)
        for side, hz in ((0, callers), (1, AGENT))
    }
    written = {
        side: sum(kept.staged.tones.get((side, hz), 0.0) for kept in booked.kept if kept.staged)
        for side, hz in ((0, callers), (1, AGENT))
    }
    tail = tally.cost.tail if call.cut else 0.0
    tally.owed += owed
    tally.kept += min(owed, min(heard.values()))
    tally.unshown += max(0.0, whole - max(owed, min(heard.values())))
    held_unseen = bool(call.music) and _is_unseen(call, tally.facts.blind)
    aside = _unseen_aside(call, tally.facts.blind)
    tally.music += max(0.0, min(aside, max(heard.values()) - whole))
    if (
        whole > 0
        and not held_unseen
        and max(heard.values()) > whole + 2 * KEY_EDGE * ("pause" in call.acts) + NEAR + len(call.music) + aside
    ):
        tally.says(call, f"{max(heard.values()):.2f} s kept, and only {whole:.2f} s were talked in scope")
    missing = owed - min(heard.values())
    if tail and missing > NEAR / 2:
        if files and not any("header_repaired" in kept.findings or "tail_lost" in kept.findings for kept in files):
            tally.says(call, f"{missing:.2f} s are missing and no finding says so")
        tally.tails += bool(files)
    unkept = max(min(owed, written[side]) - heard[side] for side in heard)
    if unkept > LOST * (1 + len(call.music)) + tail:  # a hold has edges of its own
        tally.says(call, f"{unkept:.2f} s of {owed:.2f} s of consented talk were written and are not in the recording")
    elif missing > NEAR + (UNWRITTEN if len(call.talks) < 2 else UNWRITTEN_TWICE) * owed + tail:
        tally.says(
            call,
            f"{missing:.2f} s of {owed:.2f} s of consented talk are missing"
            f" (caller {heard[0]:.2f}, agent {heard[1]:.2f}; {booked.outcome} {booked.reason or ''})",
        )
