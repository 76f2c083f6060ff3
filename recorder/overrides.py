"""Who overrides how often, and who does so much more than the others: a question for a person, never a verdict.

Pure. Must not know where the numbers come from. The invariant: nobody stands out by few overrides, nor without
somebody to be compared with.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import exp
from typing import Final

from recorder.model import OverrideReason

FEWEST: Final = 3
"""Overrides of one reason below which nobody stands out: emergencies come as they come."""
UNLIKELY: Final = 0.001
"""How seldom so many would come about if the agent overrode as often as the line's others do. With a hundred agents and
three reasons that is one false question in three looks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """One agent's overrides of one reason on one line, of so many calls that they took there.

    `others` are the overrides of that reason of all the others on that line, `others_calls` the calls these took.
    """

    line: str
    agent: str
    reason: OverrideReason
    count: int
    calls: int
    others: int
    others_calls: int

    @property
    def expected(self) -> float | None:
        """How many it would be at the others' rate; None without others. One more of theirs is reckoned than was."""
        return self.calls * (self.others + 1) / self.others_calls if self.others_calls else None

    @property
    def stands_out(self) -> bool:
        expected = self.expected
        return expected is not None and self.count >= FEWEST and _at_least(self.count, expected) < UNLIKELY


def told(
    overridden: Mapping[tuple[str, str, OverrideReason], int], taken: Mapping[tuple[str, str], int]
) -> tuple[Overrides, ...]:
    """Overrides by line, agent and reason, with the calls by line and agent: who stands out first, then the most."""
    of_line = _summed((line, count) for (line, _), count in taken.items())
    of_reason = _summed(((line, reason), count) for (line, _, reason), count in overridden.items())
    found = []
    for (line, agent, reason), count in overridden.items():
        calls = max(taken.get((line, agent), 0), count)
        others_calls = of_line[line] - taken.get((line, agent), 0)
        found.append(
            Overrides(
                line=line,
                agent=agent,
                reason=reason,
                count=count,
                calls=calls,
                others=of_reason[line, reason] - count,
                others_calls=others_calls,
            )
        )
    return tuple(sorted(found, key=lambda row: (not row.stands_out, -row.count, row.line, row.agent, row.reason)))


def _summed(counts: Iterable[tuple[object, int]]) -> Counter[object]:
    together: Counter[object] = Counter()
    for key, count in counts:
        together[key] += count
    return together


def _at_least(count: int, expected: float) -> float:
    """The chance of so many or more, where `expected` are to be expected (Poisson)."""
    term = below = exp(-expected)
    for number in range(1, count):
        term *= expected / number
        below += term
    return max(0.0, 1.0 - below)
