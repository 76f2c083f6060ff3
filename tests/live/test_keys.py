"""The keys of a talk on a real Asterisk: pause, resume, stop, personal, and the caller's own withdrawal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from tests.facts import override_for
from tests.live.stage import Performance, perform
from tests.pbx import tones
from tests.pbx.calls import Calls
from tests.pbx.party import HangUp, Press, Say, Script, Until, UntilBridged, UntilPrompt, Wait
from tests.stories import AGENT, CALLER, HEARD, LEFT, RIGHT, Story

pytestmark = [pytest.mark.live, pytest.mark.asterisk16]

CARD, REPEATED = 1500, 1800  # Hz: the caller's card number, and the agent who repeats it
LINES: Mapping[str, Mapping[str, object]] = {
    "support": {
        "consent": "opt_in",
        "languages": ["en", "fr"],
        "override": override_for("emergency"),
        "answer_seconds": 2,
        "retries": 1,
    },
    "keeping": {"consent": "notice", "withdrawal": "keep"},
    "scrubbing": {"consent": "notice", "preroll_seconds": 3},
    "sales": {"consent": "notice"},
}
AGREES: Script = (Say(CALLER), UntilPrompt(), Wait(HEARD), Press("1"), UntilBridged())
HEARS: Script = (Say(CALLER), UntilBridged())
REFUSES: Script = (Say(CALLER), UntilPrompt(), Wait(HEARD), Press("2"), UntilBridged())


def call(caller: Script, agent: Script, named: str, line: str = "support") -> Callable[[Calls], object]:
    variables = {} if line == "support" else {"HOUSE_NAMED": line}
    return lambda calls: calls.incoming("support", caller, agent, agent_name=named, own_queue=True, variables=variables)


def both_silent(path: Path) -> list[tones.Stretch]:
    """Where both directions are exactly zero for longer than a lost frame."""
    sound = tones.read(path)
    zero = np.concatenate(([False], ~sound.samples.any(axis=1), [False]))
    edges = np.flatnonzero(np.diff(zero.astype(np.int8)))
    spans = [(start / sound.rate, end / sound.rate) for start, end in zip(edges[::2], edges[1::2], strict=True)]
    return [span for span in spans if span[1] - span[0] > 0.1]


def nothing_of_the_card(path: Path) -> list[str]:
    found = [
        (channel, hz) for channel in (LEFT, RIGHT) for hz in (CARD, REPEATED) if tones.stretches(path, channel, hz)
    ]
    return [f"{hz} Hz of the pause on channel {channel}" for channel, hz in found]


def paused_once(longest: float, shortest: float) -> Callable[[Path], list[str]]:
    """One silence of such a length, nothing of the card, and the talk before and after it."""

    def proof(path: Path) -> list[str]:
        wrong = nothing_of_the_card(path)
        silent = both_silent(path)
        if len(silent) != 1 or not shortest <= silent[0][1] - silent[0][0] <= longest:
            wrong.append(f"silent in {silent}, not once for {shortest} to {longest} s")
        heard = tones.stretches(path, LEFT, CALLER)
        if not heard or heard[0][0] > 0.2 or heard[-1][1] < tones.read(path).seconds - 0.4:
            wrong.append(f"the caller's talk is not there from beginning to end: {heard}")
        return wrong

    return proof


def silent_from(least: float) -> Callable[[Path], list[str]]:
    """Silence of at least so long up to the end."""

    def proof(path: Path) -> list[str]:
        wrong, silent, seconds = nothing_of_the_card(path), both_silent(path), tones.read(path).seconds
        if not silent or silent[-1][1] < seconds - 0.03 or silent[-1][1] - silent[-1][0] < least:
            wrong.append(f"silent in {silent} of {seconds:.2f} s, not for the last {least} s")
        return wrong

    return proof


def lasts(least: float, most: float) -> Callable[[Path], list[str]]:
    def proof(path: Path) -> list[str]:
        seconds = tones.read(path).seconds
        return [] if least <= seconds <= most else [f"lasts {seconds:.2f} s, not {least} to {most} s"]

    return proof


def ends_before_the_card(*, at_least: float) -> Callable[[Path], list[str]]:
    return lambda path: nothing_of_the_card(path) + lasts(at_least, 60)(path)


MUTED = Until("MixMonitorMute")  # Asterisk says that the capture is silent: nobody speaks of the card before that
PAUSES: Script = (
    Say(AGENT), UntilBridged(), Wait(2), Press("*81"), MUTED, Say(REPEATED), Wait(4), Say(AGENT), Press("*82")
)  # fmt: skip
SAYS_A_CARD: Script = (MUTED, Wait(0.5), Say(CARD), Wait(1.5), Say(CALLER))
PAUSED = Story(
    name="paused for a card number, and resumed",
    outcome="recorded",
    place=call((*AGREES, *SAYS_A_CARD, Wait(6), HangUp()), PAUSES, "pauses"),
    proof=paused_once(longest=8, shortest=3.5),
)
PAUSED_TO_THE_END = Story(
    name="paused, and hung up while it is",
    outcome="recorded",
    place=call((*AGREES, *SAYS_A_CARD[:4], HangUp()), PAUSES[:6], "forgets"),
    proof=silent_from(1.5),
)
PAUSED_TWICE_OVER = Story(
    name="pause pressed twice, resumed once",
    outcome="recorded",
    place=call(
        (*AGREES, *SAYS_A_CARD, Wait(6), HangUp()),
        (*PAUSES[:5], Press("*81"), *PAUSES[5:]),
        "doubles",
    ),
    proof=paused_once(longest=9, shortest=3.5),
)
SCRUBBED = Story(
    name="what was said before the pause is silenced with it",
    outcome="recorded",
    place=call(
        (*HEARS, Wait(2), Say(CARD), MUTED, Wait(1), Say(CALLER), Wait(6), HangUp()),
        (Say(AGENT), UntilBridged(), Wait(3), Press("*81"), MUTED, Wait(4), Press("*82")),
        "scrubs",
        "scrubbing",
    ),
    proof=paused_once(longest=11, shortest=6),
)
PAUSED_UNDER_OVERRIDE = Story(
    name="paused under an override",
    outcome="recorded",
    place=call(
        (*REFUSES, *SAYS_A_CARD, Wait(6), HangUp()),
        (Say(AGENT), UntilBridged(), Wait(1), Press("*71"), Until("MixMonitorStart"), Wait(2), *PAUSES[2:]),
        "overrides",
    ),
    proof=paused_once(longest=8, shortest=3.5),
    sealed=True,
)
CALLER_PAUSES = Story(
    name="the caller presses the pause key",
    outcome="recorded",
    place=call((*AGREES, Wait(1), Press("*81"), Wait(4), HangUp()), (Say(AGENT),), "callerpauses"),
    proof=lasts(4, 12),
)
CALLER_WITHDRAWS = Story(
    name="the caller withdraws",
    outcome="declined",
    place=call((*AGREES, Wait(2), Press("*9"), Wait(6), HangUp()), (Say(AGENT),), "withdraws"),
)
CALLER_WITHDRAWS_IN_FRENCH = Story(
    name="the caller withdraws in French",
    outcome="declined",
    place=lambda calls: calls.incoming(
        "support",
        (*AGREES, Wait(2), Press("*9"), Wait(5), HangUp()),
        (Say(AGENT),),
        agent_name="retire",
        own_queue=True,
        variables={"HOUSE_LANGUAGE": "fr"},
    ),
)
AGENT_STOPS = Story(
    name="the agent stops for the caller",
    outcome="declined",
    place=call((*AGREES, Wait(6), HangUp()), (Say(AGENT), UntilBridged(), Wait(2), Press("*9")), "stops"),
)
STOPPED_AND_KEPT = Story(
    name="stopped on a line that keeps what there was",
    outcome="recorded",
    place=call(
        (*HEARS, Wait(7), HangUp()),
        (Say(AGENT), UntilBridged(), Wait(3), Press("*9"), Wait(1), Say(REPEATED)),
        "keeps",
        "keeping",
    ),
    proof=ends_before_the_card(at_least=2),
)
PERSONAL_AFTER_ALL = Story(
    name="the agent calls it personal",
    outcome="excluded",
    place=call((*AGREES, Wait(6), HangUp()), (Say(AGENT), UntilBridged(), Wait(2), Press("*0")), "private"),
)
OVERRIDE_AFTER_PERSONAL = Story(
    name="personal, and then an override is tried",
    outcome="excluded",
    place=call(
        (*AGREES, Wait(8), HangUp()),
        (Say(AGENT), UntilBridged(), Wait(1), Press("*0"), Wait(2), Press("*71")),
        "tries",
    ),
)
OVERRIDE_AFTER_WITHDRAWAL = Story(
    name="withdrawn, then overridden",
    outcome="recorded",
    place=call(
        (*AGREES, Wait(2), Press("*9"), Wait(9), HangUp()),
        (Say(AGENT), UntilBridged(), Wait(7), Press("*71")),
        "emergency",
    ),
    proof=lasts(1, 6),
    sealed=True,
)
OUTGOING_PAUSED = Story(
    name="an outgoing call is paused",
    outcome="recorded",
    place=lambda calls: calls.outgoing(PAUSES, (*AGREES, *SAYS_A_CARD, Wait(6), HangUp()), number="4165550199"),
    proof=paused_once(longest=8, shortest=3.5),
)
CALLEE_WITHDRAWS = Story(
    name="the called party withdraws",
    outcome="declined",
    place=lambda calls: calls.outgoing(
        (Say(AGENT),), (*AGREES, Wait(2), Press("*9"), Wait(6), HangUp()), number="4165550198"
    ),
)
CAST = (
    PAUSED,
    PAUSED_TO_THE_END,
    PAUSED_TWICE_OVER,
    SCRUBBED,
    PAUSED_UNDER_OVERRIDE,
    CALLER_PAUSES,
    CALLER_WITHDRAWS,
    CALLER_WITHDRAWS_IN_FRENCH,
    AGENT_STOPS,
    STOPPED_AND_KEPT,
    PERSONAL_AFTER_ALL,
    OVERRIDE_AFTER_PERSONAL,
    OVERRIDE_AFTER_WITHDRAWAL,
    OUTGOING_PAUSED,
    CALLEE_WITHDRAWS,
)
_performances: dict[str, Performance] = {}


@pytest.fixture
def performance(release: str) -> Performance:
    if release not in _performances:
        _performances[release] = perform(release, CAST, lines=LINES)
    return _performances[release]


@pytest.mark.parametrize("story", CAST, ids=lambda story: story.name)
def test_a_key_does_what_it_says_and_the_tones_prove_it(performance: Performance, story: Story) -> None:
    assert performance[story].wrong == [], performance.said(story)
