"""The calls of the load: what happens in each kind, in what proportion they come, and which tone says what.

Pure. The invariant: the same seed deals the same calls in the same order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from random import Random

from tests.facts import override_for

CALLER, AGENT = 440, 800  # Hz: the talk that may be captured
BEFORE, AGENT_BEFORE = 1200, 700  # before any consent, or without one; before the override key
LATER, ELSEWHERE = 1750, 2600  # the caller after the transfer, and who speaks there
ASIDE = 1400  # whom the agent asks while the caller waits
CARD = 1000  # what the agent reads out while the capture is paused
MUSIC = 2000
TALK = (CALLER, AGENT)
UNCONSENTED = (BEFORE, AGENT_BEFORE)
BEYOND = (LATER, ELSEWHERE, ASIDE, CARD)
ALL = (*TALK, *UNCONSENTED, *BEYOND, MUSIC)

HEARS = 3.0
"""Seconds of the prompt that a caller hears before the key: more than its min_played_ms."""
SOUNDS = {  # what the parties say for a while, by the file's name: Hz, seconds
    "load-before": (BEFORE, HEARS),
    "load-turn": (CALLER, 0.3),
    "load-agent-before": (AGENT_BEFORE, 2.5),
    "load-agent-turn": (AGENT, 0.3),
    "load-agent-talks": (AGENT, 3.0),
    "load-gap": (0, 0.8),
    "load-card": (CARD, 2.0),
    "load-asked": (ASIDE, 2.5),
}


class Kind(StrEnum):
    """What happens in a call; the value is what the table calls it."""

    AGREED = "agreed"
    LAWFUL = "lawful"  # nobody need be asked
    REFUSED = "refused"
    SILENT = "silent"
    NEVER = "never"
    PERSONAL = "personal"
    OUTGOING = "outgoing"
    OVERRIDDEN = "overridden"
    TRANSFERRED = "transferred"  # out of scope
    HELD = "held"  # the agent asks somebody, and comes back
    PAUSED = "paused"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How a kind is placed. `line` None: through no line of ours."""

    line: str | None
    phone: str  # what the phone that dials does: an extension of load-phone
    agent: str = "talks"  # and who is rung: of load-does
    share: int = 1  # of a deck
    least: float = 5  # seconds in all, at least


WAYS = {
    Kind.AGREED: Way(line="support", phone="agrees", share=8, least=7),
    Kind.LAWFUL: Way(line="lawful", phone="speaks", share=4, least=5),
    Kind.REFUSED: Way(line="support", phone="refuses", share=2, least=7),
    Kind.SILENT: Way(line="support", phone="silent", least=12),
    Kind.NEVER: Way(line="closed", phone="silent"),
    Kind.PERSONAL: Way(line=None, phone="silent"),
    Kind.OUTGOING: Way(line=None, phone="agent", share=2, least=9),
    Kind.OVERRIDDEN: Way(line="support", phone="refuses", agent="overrides", least=12),
    Kind.TRANSFERRED: Way(line="lawful", phone="speaks", share=2, least=12),
    Kind.HELD: Way(line="lawful", phone="speaks", least=14),
    Kind.PAUSED: Way(line="lawful", phone="speaks", agent="pauses", least=13),
    Kind.WITHDRAWN: Way(line="support", phone="agrees", agent="withdraws", least=12),
}
LONGER = 12.0
"""Seconds by which a call may be longer than its kind's least."""

QUEUES = {"support": range(1, 36), "lawful": range(36, 53), "closed": range(53, 61)}
"""The queues own1 to own60 by line: each call waits in one of its own."""

ASKED = frozenset({Kind.AGREED, Kind.REFUSED, Kind.SILENT, Kind.OVERRIDDEN, Kind.OUTGOING, Kind.WITHDRAWN})
WILLING = frozenset({Kind.AGREED, Kind.LAWFUL, Kind.OUTGOING, Kind.TRANSFERRED, Kind.HELD, Kind.PAUSED})
"""Whose talk may be captured, and stays."""


def deal(seed: int, longer: float = LONGER) -> Iterator[tuple[Kind, float]]:
    """Kinds without end, each with the call's seconds: every deck holds each kind in its share."""
    random = Random(seed)
    while True:
        deck = [kind for kind, way in WAYS.items() for _ in range(way.share)]
        random.shuffle(deck)
        for kind in deck:
            yield kind, round(WAYS[kind].least + random.uniform(0, longer), 1)


def lines(*, fallback: str = "skip") -> dict[str, dict[str, object]]:
    """The recorder's lines for the load; `fallback` is who asks while the daemon is away."""
    own = {line: [f"own{number}" for number in numbers] for line, numbers in QUEUES.items()}
    return {
        "support": {
            "consent": "opt_in",
            "languages": ["en"],
            "override": override_for("emergency", "legal", "business"),
            "answer_seconds": 2,
            "retries": 0,
            "queues": ["support", *own["support"]],
            "fallback": fallback,
        },
        "lawful": {
            "consent": "not_required",
            "legal_basis": "MiFID II art. 16(7)",
            "queues": own["lawful"],
            "fallback": fallback,
        },
        "closed": {"consent": "never", "queues": own["closed"]},
    }


def members() -> str:
    """What goes behind queues.conf: who answers in each queue, also after a restart."""
    numbers = [number for line in QUEUES.values() for number in line]
    return "\n" + "".join(f"[own{number}](+)\nmember => Local/agent@load-agent/n\n" for number in numbers)
