"""Draws docs/states.md from the machine's tables: `./dev states`.

With --check it writes nothing and exits 1 where the page is not up to date.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from recorder.call.tables import CAPTURE_TRANSITIONS, FINISHED, PHASE_TRANSITIONS, CaptureState, Phase, Trigger

S = TypeVar("S", bound=StrEnum)

PAGE = Path(__file__).with_name("states.md")
HEAD = """\
# States of a call

Drawn by `./dev states` from `recorder/call/tables.py`; a test compares. A trigger that is not drawn at a state leaves
it as it is: both tables answer every trigger in every state.

"""
ABOUT_PHASES = """\
## Where the call stands

One for each call. An event of Asterisk's or of ours is read for what it teaches (who stands in which bridge, who holds,
who is gone); only then do these triggers follow from it.

"""
ABOUT_CAPTURES = """\
## Where a capture stands

There is none before it is authorised, and at most one that Asterisk may still be writing. No state from which one has
been stopped leads back: who was stopped for good reason is captured again only by a new authority.

One more may be prepared, in silence, on the leg on which an agent consults another line: `joined` is the only way from
there to a capture of the caller ([decision 0037](decisions/0037-a-caller-who-is-handed-over.md)).

"""


def diagram(table: Mapping[tuple[S, Trigger], S], first: Iterable[S], last: Iterable[S]) -> str:
    """A Mermaid state diagram; triggers between the same two states share an arrow."""
    arrows: dict[tuple[S, S], list[Trigger]] = {}
    for (before, trigger), after in table.items():
        if before is not after:
            arrows.setdefault((before, after), []).append(trigger)
    lines = [f"    {before} --> {after}: {', '.join(triggers)}" for (before, after), triggers in arrows.items()]
    begins = [f"    [*] --> {state}" for state in first]
    ends = [f"    {state} --> [*]" for state in last]
    return "\n".join(["```mermaid", "stateDiagram-v2", *begins, *lines, *ends, "```", ""])


def page() -> str:
    phases = diagram(PHASE_TRANSITIONS, [Phase.ASKING], [Phase.CLOSED])
    begun = [CaptureState.ARMING, CaptureState.PREPARING]
    captures = diagram(CAPTURE_TRANSITIONS, begun, (state for state in CaptureState if state in FINISHED))
    return f"{HEAD}{ABOUT_PHASES}{phases}\n{ABOUT_CAPTURES}{captures}"


def main(arguments: list[str]) -> int:
    if arguments == ["--check"]:
        return int(not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != page())
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
