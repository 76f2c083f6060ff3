"""The calls that show what the recorder does: who says what when, how the call must end, and what the tones must prove.

Used by the demo and by the live tests, so that what a newcomer is shown is what the suite checks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from tests.pbx import tones
from tests.pbx.calls import Call, Calls
from tests.pbx.party import HangUp, Press, Say, Script, UntilBridged, UntilPrompt, Wait

CALLER, CALLER_BEFORE = 440, 1200  # Hz: in the talk, and before consent
AGENT, AGENT_BEFORE = 800, 700  # Hz: in the talk, and before the override key
MUSIC = 2000  # Hz: music on hold
LEFT, RIGHT = 0, 1  # the caller's and the agent's channel of a settled WAV

HEARD = 3.0
"""Seconds into the prompt at which our callers press: later than any prompt's min_played_ms."""
KEY_TAKES = 0.6
"""Seconds that three keys last, in which the presser's own tone is cut up."""
FRAME = 0.02

Proof = Callable[[Path], list[str]]
"""Listens to the one settled WAV of a call with numbers; every sentence returned is something wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """One call to place. `outcome` None: the recorder must know nothing of it. `proof` None: there must be no file.

    `more` are the proofs of the recordings after the first, in the order in which they were authorised.
    """

    name: str
    outcome: str | None
    place: Callable[[Calls], object]
    proof: Proof | None = None
    more: tuple[Proof, ...] = ()
    sealed: bool = False
    also: Callable[[Call, list[Path]], list[str]] = lambda _call, _settled: []  # what needs the call's own events, too
    on_16: bool = False  # also played on Asterisk 16, where not the whole cast is

    @property
    def proofs(self) -> tuple[Proof, ...]:
        return () if self.proof is None else (self.proof, *self.more)


def agrees(*, then: float = 4) -> Script:
    """A caller who agrees, and speaks another tone from just before the key on."""
    return (
        Say(CALLER_BEFORE),
        UntilPrompt(),
        Wait(HEARD),
        Say(CALLER),
        Wait(0.2),
        Press("1"),
        UntilBridged(),
        Wait(then),
        HangUp(),
    )


def refuses(*, then: float = 4) -> Script:
    return (Say(CALLER_BEFORE), UntilPrompt(), Wait(HEARD), Press("2"), UntilBridged(), Wait(then), HangUp())


def stays_silent(*, then: float = 3) -> Script:
    return (Say(0), UntilBridged(), Wait(then), HangUp())


def agreed_over_sip() -> Script:
    """The tone turns just before the key: the bridge may follow it within milliseconds."""
    return (Say(CALLER_BEFORE), Wait(HEARD + 0.5), Say(CALLER), Wait(0.2), Press("1"), Wait(5), HangUp())


def overrides(reason_key: str, *, after: float = 2) -> Script:
    """An agent who presses an override key in the talk, and speaks another tone from then on."""
    return (Say(AGENT_BEFORE), UntilBridged(), Wait(after), Press(reason_key), Say(AGENT))


def both_from_the_bridge_on(path: Path) -> list[str]:
    """Both tones from the first frames to the end, each on its own channel, and nothing that was said before."""
    sound = tones.read(path)
    wrong = _absent(path, (LEFT, CALLER_BEFORE), (RIGHT, CALLER_BEFORE), (LEFT, AGENT), (RIGHT, CALLER))
    for name, channel, hz in (("caller", LEFT, CALLER), ("agent", RIGHT, AGENT)):
        heard = tones.stretches(path, channel, hz)
        if not heard or heard[0][0] > 0.2:
            wrong.append(f"the {name}'s {hz} Hz is not there from the bridge on: {heard[:3]}")
        elif tones.seconds_of(heard) < sound.seconds - 0.4:
            wrong.append(f"the {name}'s {hz} Hz fills {tones.seconds_of(heard):.2f} s of {sound.seconds:.2f} s")
    return wrong


def nothing_before_the_key(path: Path) -> list[str]:
    """The agent's tone of after the key, none of before it beyond the key itself, and the caller all along."""
    sound = tones.read(path)
    wrong = []
    before = tones.seconds_of(tones.stretches(path, RIGHT, AGENT_BEFORE))
    if before > KEY_TAKES:
        wrong.append(f"{before:.2f} s of the agent's tone of before the key")
    if tones.seconds_of(tones.stretches(path, RIGHT, AGENT)) < sound.seconds - KEY_TAKES - 0.2:
        wrong.append("the agent's tone of after the key does not fill the rest")
    if tones.seconds_of(tones.stretches(path, LEFT, CALLER_BEFORE)) < sound.seconds - 0.3:
        wrong.append("the caller's tone does not fill the recording")
    return wrong


def _absent(path: Path, *what: tuple[int, int]) -> list[str]:
    """Nothing of these tones beyond one frame, which may hold the turn from one to another."""
    found = [(channel, hz, tones.seconds_of(tones.stretches(path, channel, hz))) for channel, hz in what]
    return [
        f"{seconds:.2f} s of {hz} Hz on channel {channel}" for channel, hz, seconds in found if seconds > FRAME + 1e-6
    ]


AGREED_OVER_SIP = Story(
    name="the caller agrees (SIP)",
    outcome="recorded",
    place=lambda calls: calls.incoming("sales", agreed_over_sip(), (Say(AGENT),), sip=True),
    proof=both_from_the_bridge_on,
)
AGREED = Story(
    name="the caller agrees",
    outcome="recorded",
    place=lambda calls: calls.incoming("support", agrees(), (Say(AGENT),), agent_name="agent1", own_queue=True),
    proof=both_from_the_bridge_on,
)
REFUSED = Story(
    name="the caller refuses",
    outcome="declined",
    place=lambda calls: calls.incoming("support", refuses(), (Say(AGENT),), agent_name="agent2", own_queue=True),
)
SILENT = Story(
    name="the caller stays silent",
    outcome="declined",
    place=lambda calls: calls.incoming("support", stays_silent(), (Say(AGENT),), agent_name="agent3", own_queue=True),
)
OVERRIDDEN = Story(
    name="refused, the agent presses *71",
    outcome="recorded",
    place=lambda calls: calls.incoming(
        "support", refuses(then=7), overrides("*71"), agent_name="agent4", own_queue=True
    ),
    proof=nothing_before_the_key,
    sealed=True,
)
PERSONAL = Story(
    name="personal, to the agent's extension",
    outcome=None,
    place=lambda calls: calls.personal((Say(CALLER), UntilBridged(), Wait(4), HangUp()), (Say(AGENT),)),
)
OUTGOING = Story(
    name="outgoing, the callee agrees",
    outcome="recorded",
    place=lambda calls: calls.outgoing(
        (Say(AGENT),),
        (
            Say(CALLER_BEFORE),
            UntilPrompt(),
            Wait(HEARD),
            Say(CALLER),
            Wait(0.2),
            Press("1"),
            UntilBridged(),
            Wait(4),
            HangUp(),
        ),
    ),
    proof=both_from_the_bridge_on,
)

DEMONSTRATION = (AGREED_OVER_SIP, REFUSED, SILENT, OVERRIDDEN, PERSONAL, OUTGOING)


@dataclass(slots=True)
class Placed:
    """A story under way."""

    story: Story
    call: Call | None = None
    error: str | None = None
    ended: bool = False


async def play(placed: Placed, calls: Calls) -> None:
    """Place the call and see it to its end; what goes wrong stands in `error`."""
    try:
        playing: Awaitable[Call] = placed.story.place(calls)  # type: ignore[assignment]  # each place() is a coroutine
        placed.call = await asyncio.wait_for(playing, 90)
        await placed.call.until_ended(timeout=120)
    except Exception as error:  # a party's script failed: the story says so, the others go on
        placed.error = f"{type(error).__name__}: {error}"
        if placed.call is not None:
            await calls.hang_up(placed.call)
    placed.ended = True


def judge(story: Story, outcome: str | None, settled: list[Path], *, sealed: bool) -> list[str]:
    """Whether the call ended as it should, by outcome, files (oldest first) and tones; every sentence is wrong."""
    wrong = [] if outcome == story.outcome else [f"outcome {outcome or 'none'}, not {story.outcome or 'none'}"]
    if not story.proofs:
        return wrong + [f"there is a file: {path.name}" for path in settled]
    if len(settled) != len(story.proofs):
        return [*wrong, f"{len(settled)} settled files, not {len(story.proofs)}"]
    if sealed != story.sealed:
        wrong.append("is sealed" if sealed else "is not sealed")
    for number, (proof, path) in enumerate(zip(story.proofs, settled, strict=True), 1):
        wrong += [f"recording {number}: {what}" if story.more else what for what in proof(path)]
    return wrong
