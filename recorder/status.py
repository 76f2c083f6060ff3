"""Health and metrics: what an administrator, a monitor and `recorder status` are shown. A read-only view.

Must not touch the PBX, a disk or a table: it is told. The invariants: no phone number and no name is in anything here;
what is cut down to somebody's lines names no other line, and no call of one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from pydantic import BaseModel, ConfigDict

from recorder.alarms import Alarm, AlarmKind, Standing
from recorder.model import ConsentMode, RivalKind
from recorder.releases import Ground


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


class LineView(View):
    """A line as it stands now. `asks` is the mode that is in force, `until` when a release of it ends."""

    line: str
    asks: ConsentMode
    ground: Ground
    until: datetime | None
    ready: bool  # whether a caller who comes now could be captured, given that they permit it
    calls: int  # in progress


class AlarmView(View):
    """An alarm that stands, of which somebody was told. `counts` is what has happened, by word."""

    kind: AlarmKind
    since: datetime
    urgent: bool
    counts: dict[str, int]
    reasons: list[str]


class RivalsView(View):
    """Recorders that are not ours: how many capture or hear now, and how many were met since the start."""

    at_large: int
    met: dict[RivalKind, int]


class SystemView(Status):
    """The report for people: the same, with what stands of lines and alarms. `untold` is how many reasons are not
    shown, since they name what is not the asker's."""

    node: str
    lines: list[LineView]
    alarms: list[AlarmView]
    rivals: RivalsView
    untold: int = 0


A_COMMAND: Final = re.compile(r"`[^`]*`")
NAMES_A_LINE: Final = re.compile(r"\bline ([\w-]+)")
NAMES_AN_ID: Final = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")


def seen_on(view: SystemView, lines: Collection[str]) -> SystemView:
    """The report for somebody who may see these lines alone. In doubt whose a reason is, it is not shown."""
    calls = [call for call in view.calls if call.line in lines]
    others = {line.line for line in view.lines} - set(lines)
    ours = {str(call.call) for call in calls}

    def told(reasons: Sequence[str]) -> list[str]:
        return [reason for reason in reasons if _is_theirs(reason, lines, others, ours)]

    return view.model_copy(
        update={
            "calls": calls,
            "lines": [line for line in view.lines if line.line in lines],
            "reasons": told(view.reasons),
            "alarms": [alarm.model_copy(update={"reasons": told(alarm.reasons)}) for alarm in view.alarms],
            "untold": view.untold + len(view.reasons) - len(told(view.reasons)),
        }
    )


def _is_theirs(reason: str, lines: Collection[str], others: Collection[str], calls: Collection[str]) -> bool:
    """Whether it names no line but these, and nothing by its id but these calls."""
    named = {*NAMES_A_LINE.findall(A_COMMAND.sub("", reason))} - {*lines}
    known = any(re.search(rf"(?<![\w-]){re.escape(line)}(?![\w-])", reason) for line in others)
    return not named and not known and {*NAMES_AN_ID.findall(reason)} <= {*calls}


def alarm_views(alarms: Mapping[AlarmKind, Alarm]) -> list[AlarmView]:
    """Those that stand, the longest first."""
    return sorted(
        (
            AlarmView(
                kind=kind,
                since=alarm.since,
                urgent=alarm.urgent,
                counts=dict(alarm.counts),
                reasons=list(alarm.reasons),
            )
            for kind, alarm in alarms.items()
            if alarm.standing is Standing.RAISED and alarm.since is not None
        ),
        key=lambda view: view.since,
    )


class Mend(StrEnum):
    """What a person can do about a reason."""

    PBX = "pbx"
    STARTING = "starting"
    CATALOGUE = "catalogue"
    FOLDER = "folder"


MENDS: Final = (
    ("Asterisk is not connected", Mend.PBX),
    ("not connected", Mend.STARTING),
    ("the catalogue", Mend.CATALOGUE),
    ("/", Mend.FOLDER),
)
"""By what a reason begins with; the first that fits."""


def mend_of(reason: str) -> Mend | None:
    return next((mend for begins, mend in MENDS if reason.startswith(begins)), None)


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
