"""advance(state, event) -> Step. Reads the event, lets the tables turn, and says what follows.

The order inside a step: the event changes what is known and raises triggers (reading.py and its rooms), the tables turn
triggers into new states (turning.py), and the new states have consequences, facts and commands. An event that means
nothing here leaves the state alone; it can never start a capture.
"""

from __future__ import annotations

from datetime import timedelta

from recorder.call.draft import (
    Draft,
    Step,
    doubt_what_still_stops,
    forsake,
)
from recorder.call.events import (
    CallAdmitted,
    CallEvent,
)
from recorder.call.reading import READERS, take_parties, unasked
from recorder.call.state import (
    CallState,
    Standing,
    standing,
)
from recorder.call.tables import (
    Phase,
)
from recorder.call.turning import TRIGGER_BY_STANDING, finished
from recorder.model import (
    CallOpened,
    Linkedid,
)


def begin(event: CallAdmitted) -> Step:
    """The first step of a call."""
    state = CallState(
        call=event.call,
        node=event.node,
        line=event.line,
        mode=event.mode,
        direction=event.direction,
        policy=event.policy,
        started_at=event.at,
        listed=event.listed,
        preroll=timedelta(seconds=event.preroll_seconds),
        withdrawal_erases=event.withdrawal_erases,
        beep=event.beep_seconds,
        unrecorded=event.unrecorded,
        purposes=event.purposes,
        consent=unasked(event.mode, event.unrecorded),
        behind=event.behind or {},
    )
    draft = Draft(state, event, [], [], [])
    draft.facts.append(
        CallOpened(
            call=event.call,
            node=event.node,
            line=event.line,
            direction=event.direction,
            mode=event.mode,
            linkedid=Linkedid(event.linkedid),
            started_at=event.at,
        )
    )
    take_parties(draft, event)
    return finished(draft)


def advance(state: CallState, event: CallEvent) -> Step:
    """What `event` makes of `state`. Pure; never raises for an event out of place."""
    draft = Draft(state, event, [], [], [])
    reader = READERS.get(type(event))
    if reader is None or state.phase is Phase.CLOSED:
        return Step(state=state)  # not ours to read, or the last words of legs that outlive the call
    before = standing(state)
    reader(draft, event)
    after = standing(draft.state)
    waits = before is Standing.NOWHERE and after is Standing.ALONE  # first into the bridge: the agent follows
    if after is not before and not waits and draft.state.phase is not Phase.OVER:
        draft.raise_trigger(TRIGGER_BY_STANDING[after])
    if draft.state.relay is not None and after is Standing.FOREIGN:
        forsake(draft)
    doubt_what_still_stops(draft)
    return finished(draft)
