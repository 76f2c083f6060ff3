"""Health and metrics: what an administrator, a monitor and `recorder status` are shown. A read-only view.

Must not touch the PBX, a disk or a table: it is told. The invariant: no phone number and no name is in anything here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from pydantic import BaseModel, ConfigDict


class State(StrEnum):
    OK = "ok"
    DEGRADED = "degraded"  # calls are captured, and something needs a hand
    UNREADY = "unready"  # nothing new can be captured


class View(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PbxView(View):
    connected: bool
    version: str | None
    since: datetime
    last_event_at: datetime | None


class CallView(View):
    call: UUID
    line: str
    state: str  # phase and capture: "talking, running"
    since: datetime


class FolderView(View):
    free_bytes: int | None  # None: cannot be asked
    free_share: float | None
    used_share: float | None  # of the room, or of the file names where they are scarcer


class BacklogView(View):
    settle: int
    analyse: int


class LostView(View):
    last_24h: int
    by_reason: dict[str, int]


class SweepView(View):
    last_ok_at: datetime | None


class Status(View):
    """What /status answers; its shape is relied on (docs/operating.md)."""

    state: State
    reasons: list[str]
    pbx: PbxView
    calls: list[CallView]
    spool: FolderView
    storage: FolderView
    backlog: BacklogView
    lost: LostView
    sweeps: dict[str, SweepView]
    versions: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the daemon last saw, as far as it bears on the state."""

    hindrances: Sequence[str]
    warnings: Sequence[str]


def state_of(seen: Seen) -> tuple[State, list[str]]:
    """The state and its reasons, the gravest first."""
    if seen.hindrances:
        return State.UNREADY, [*seen.hindrances, *seen.warnings]
    return (State.DEGRADED, list(seen.warnings)) if seen.warnings else (State.OK, [])


class Figures(Collector):
    """Prometheus' view: families made at each scrape from one mapping of figures."""

    def __init__(self, ask: Callable[[], Mapping[str, Figure]]) -> None:
        self._ask = ask

    def collect(self) -> list[Metric]:
        return [figure.family(name) for name, figure in self._ask().items()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One metric: its help, its values by label (empty label: the value itself), counter or gauge."""

    about: str
    values: Mapping[str, float]
    label: str | None = None
    counts: bool = False

    def family(self, name: str) -> Metric:
        labels = [self.label] if self.label else []
        kind = CounterMetricFamily if self.counts else GaugeMetricFamily
        family = kind(name, self.about, labels=labels)
        for value_of, value in self.values.items():
            family.add_metric([value_of] if self.label else [], value)
        return family


def registry(ask: Callable[[], Mapping[str, Figure]]) -> CollectorRegistry:
    """A registry of our own figures alone."""
    made = CollectorRegistry(auto_describe=False)
    made.register(Figures(ask))
    return made
