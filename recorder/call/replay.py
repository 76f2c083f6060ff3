"""The machine run again over events that are kept: the same events give the same steps, always."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from recorder.call.draft import Step
from recorder.call.events import CallAdmitted, CallEvent
from recorder.call.machine import advance, begin


def replay(events: Iterable[CallEvent]) -> Iterator[Step]:
    """Yield the step that each event was. ValueError where the first does not open a call."""
    step: Step | None = None
    for event in events:
        if step is not None:
            step = advance(step.state, event)
        elif isinstance(event, CallAdmitted):
            step = begin(event)
        else:
            raise ValueError(f"a call does not begin with {type(event).__name__}")
        yield step
