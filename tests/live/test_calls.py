"""The ways of a call that the first release promises, on a real Asterisk: outcome, files, and the tones in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.facts import override_for
from tests.live.stage import Performance, perform
from tests.pbx.calls import Calls
from tests.pbx.party import HangUp, Press, Say, Script, UntilBridged, UntilPrompt, Wait
from tests.stories import (
    AGENT,
    AGREED,
    AGREED_OVER_SIP,
    CALLER,
    HEARD,
    OUTGOING,
    OVERRIDDEN,
    PERSONAL,
    REFUSED,
    SILENT,
    Story,
    agrees,
    both_from_the_bridge_on,
    overrides,
    refuses,
)

pytestmark = [pytest.mark.live, pytest.mark.asterisk16]

LINES: Mapping[str, Mapping[str, object]] = {
    "support": {
        "consent": "opt_in",
        "languages": ["en", "fr"],
        "override": override_for("emergency", "legal"),
        "answer_seconds": 2,
        "retries": 1,
    },
    "sales": {"consent": "opt_in"},
    "announced": {"consent": "notice", "queues": []},
    "objectable": {"consent": "opt_out", "queues": [], "answer_seconds": 2},
    "lawful": {"consent": "not_required", "legal_basis": "MiFID II art. 16(7)", "queues": []},
    "closed": {"consent": "never", "queues": [], "override": override_for("emergency", "legal", "business")},
}
TALK: Script = (Say(CALLER), UntilBridged(), Wait(3), HangUp())


def call(caller: Script, agent: Script | None, named: str, /, **also: Any) -> Callable[[Calls], object]:
    """A placer of a call to the line support, in a queue of its own."""
    return lambda calls: calls.incoming("support", caller, agent, agent_name=named, own_queue=True, **also)


def on_line(line: str, caller: Script, agent: Script | None, name: str) -> Callable[[Calls], object]:
    """A placer of such a call under the rules of another line."""
    return call(caller, agent, name, variables={"HOUSE_NAMED": line})


HANGS_UP_IN_PROMPT = Story(
    name="hangs up in the prompt",
    outcome="abandoned",
    place=call((Say(CALLER), UntilPrompt(), Wait(1), HangUp()), None, "prompt"),
)
GIVES_UP_WAITING = Story(
    name="agrees and gives up waiting",
    outcome="abandoned",
    place=call((Say(CALLER), UntilPrompt(), Wait(HEARD), Press("1"), Wait(3), HangUp()), None, "waiting"),
)
PRESSES_TOO_EARLY = Story(
    name="presses before the prompt has said it",
    outcome="declined",
    place=call(
        (Say(CALLER), UntilPrompt(), Wait(0.5), Press("1"), UntilPrompt(), Wait(0.5), Press("1"), *TALK),
        (Say(AGENT),),
        "early",
    ),
)
WRONG_KEYS_THEN_AGREES = Story(
    name="presses 9, then 1",
    outcome="recorded",
    place=call(
        (Say(CALLER), UntilPrompt(), Wait(HEARD), Press("9"), UntilPrompt(), Wait(HEARD), Press("1"), *TALK[1:]),
        (Say(AGENT),),
        "nine",
    ),
    proof=both_from_the_bridge_on,
)
AGENT_HANGS_UP = Story(
    name="the agent hangs up first",
    outcome="recorded",
    place=call(
        agrees(then=30),
        (Say(AGENT), UntilBridged(), Wait(3), HangUp()),
        "first",
    ),
    proof=both_from_the_bridge_on,
)
ANNOUNCED = Story(
    name="a notice line",
    outcome="recorded",
    place=on_line("announced", TALK, (Say(AGENT),), "announced"),
    proof=both_from_the_bridge_on,
)
OBJECTS = Story(
    name="objects on an opt-out line",
    outcome="declined",
    place=on_line("objectable", refuses(then=3), (Say(AGENT),), "objects"),
)
OBJECTS_NOT = Story(
    name="is silent on an opt-out line",
    outcome="recorded",
    place=on_line("objectable", TALK, (Say(AGENT),), "objectsnot"),
    proof=both_from_the_bridge_on,
)
LAWFUL = Story(
    name="a line with a legal basis",
    outcome="recorded",
    place=on_line("lawful", TALK, (Say(AGENT),), "lawful"),
    proof=both_from_the_bridge_on,
)
NEVER = Story(
    name="a line that is never recorded, with a business override tried",
    outcome="excluded",
    place=on_line("closed", (Say(CALLER), UntilBridged(), Wait(6), HangUp()), overrides("*73"), "never"),
)
UNKNOWN_LINE = Story(
    name="a line that the settings do not know",
    outcome="excluded",
    place=on_line("nosuchline", TALK, (Say(AGENT),), "unknown"),
)
CALLER_PRESSES_OVERRIDE = Story(
    name="the caller presses *71",
    outcome="declined",
    place=call(
        (*refuses()[:-2], Wait(1), Press("*71"), Wait(3), HangUp()),
        (Say(AGENT),),
        "presses",
    ),
)
UNLISTED_REASON = Story(
    name="the agent presses a key that the line does not list",
    outcome="declined",
    place=call(refuses(then=6), overrides("*73"), "unlisted"),
)
PRESSED_TWICE = Story(
    name="the agent presses the override twice",
    outcome="recorded",
    place=call(
        refuses(then=9),
        (*overrides("*72"), Wait(2), Press("*72")),
        "twice",
    ),
    proof=lambda _: [],
    sealed=True,
)
FRENCH = Story(
    name="a caller whose channel speaks French",
    outcome="recorded",
    place=call(agrees(), (Say(AGENT),), "french", variables={"HOUSE_LANGUAGE": "fr"}),
    proof=both_from_the_bridge_on,
)
NOBODY_ANSWERS_OUTSIDE = Story(
    name="outgoing, nobody answers",
    outcome="abandoned",
    place=lambda calls: calls.outgoing((Say(AGENT),), None, number="4165550199", variables={"HOUSE_RING": "4"}),
)
CALLEE_REFUSES = Story(
    name="outgoing, the callee refuses",
    outcome="declined",
    place=lambda calls: calls.outgoing(
        (Say(AGENT),),
        (Say(CALLER), UntilPrompt(), Wait(HEARD), Press("2"), UntilBridged(), Wait(3), HangUp()),
        number="4165550198",
    ),
)
HOSTILE_NUMBER = Story(
    name="a CallerID made to be run",
    outcome="recorded",
    place=call(
        agrees(),
        (Say(AGENT),),
        "hostile",
        number=";$(touch /tmp/recorder-was-here),x",
        name="a,b(c)|d",
    ),
    proof=both_from_the_bridge_on,
)
LONG_NAME = Story(
    name="a CallerID name of ten thousand characters",
    outcome="recorded",
    place=call(agrees(), (Say(AGENT),), "longname", name="x" * 160, variables={"HOUSE_DOUBLINGS": "6"}),
    proof=both_from_the_bridge_on,
)

CAST = (
    AGREED_OVER_SIP,
    AGREED,
    REFUSED,
    SILENT,
    OVERRIDDEN,
    PERSONAL,
    OUTGOING,
    HANGS_UP_IN_PROMPT,
    GIVES_UP_WAITING,
    PRESSES_TOO_EARLY,
    WRONG_KEYS_THEN_AGREES,
    AGENT_HANGS_UP,
    ANNOUNCED,
    OBJECTS,
    OBJECTS_NOT,
    LAWFUL,
    NEVER,
    UNKNOWN_LINE,
    CALLER_PRESSES_OVERRIDE,
    UNLISTED_REASON,
    PRESSED_TWICE,
    FRENCH,
    NOBODY_ANSWERS_OUTSIDE,
    CALLEE_REFUSES,
    HOSTILE_NUMBER,
    LONG_NAME,
)

_performances: dict[str, Performance | Exception] = {}


@pytest.fixture
def performance(release: str) -> Performance:
    """The whole cast, played once a release."""
    if release not in _performances:
        try:
            _performances[release] = perform(release, CAST, lines=LINES)
        except Exception as error:
            _performances[release] = error
            raise
    played = _performances[release]
    if isinstance(played, Exception):
        pytest.fail(f"the cast could not be played: {type(played).__name__}: {str(played)[:300]}", pytrace=False)
    return played


@pytest.mark.parametrize("story", CAST, ids=lambda story: story.name)
def test_the_call_ends_as_it_should_by_outcome_files_and_tones(performance: Performance, story: Story) -> None:
    assert performance[story].wrong == [], performance.said(story)


def test_the_spool_is_empty_and_every_settled_file_has_its_call(performance: Performance) -> None:
    assert performance.staged == []
    assert performance.settled_files == sum(story.proof is not None for story in CAST)


def test_the_books_balance(performance: Performance) -> None:
    code, said = performance.verify
    assert code == 0, said


def test_an_override_keeps_the_refusal_and_names_who_and_why(performance: Performance) -> None:
    ended = performance[OVERRIDDEN]
    assert ended.whole is not None
    last = ended.whole.consents[-1]
    assert ended.states == ["asked", "refused", "overridden"]
    assert (last.before, last.reason, last.actor) == ("refused", "emergency", "Local/agent4@phones/n")
    (audit,) = ended.whole.audit
    (recording,) = ended.recordings
    assert (audit.action, audit.recording, audit.details["prior_state"]) == ("override", recording.id, "refused")
    assert recording.armed_at is not None
    assert audit.at <= recording.armed_at


def test_a_second_press_changes_nothing(performance: Performance) -> None:
    ended = performance[PRESSED_TWICE]
    assert ended.whole is not None
    assert (len(ended.recordings), len(ended.whole.audit)) == (1, 1)


def test_an_unlisted_reason_leaves_no_recording_and_the_refusal_stands(performance: Performance) -> None:
    assert performance[UNLISTED_REASON].states == ["asked", "refused"]
    assert performance[UNLISTED_REASON].recordings == ()


def test_a_consent_event_holds_the_evidence(performance: Performance) -> None:
    ended = performance[AGREED]
    assert ended.whole is not None
    given = ended.whole.consents[-1]
    prompt = next(row for row in ended.whole.prompts if row.number == given.prompt)
    assert (given.after, given.key, given.language, prompt.language) == ("given", "1", "en", "en")
    assert given.played_ms is not None
    assert given.played_ms >= prompt.min_played_ms
    assert (len(prompt.sha256), prompt.version, bool(given.policy)) == (64, "1", True)


def test_only_an_accepted_key_is_kept(performance: Performance) -> None:
    for story in (WRONG_KEYS_THEN_AGREES, PRESSES_TOO_EARLY, SILENT, HANGS_UP_IN_PROMPT):
        whole = performance[story].whole
        assert whole is not None
        assert {row.key for row in whole.consents} <= {None, "1"}
        assert all(row.key is None for row in whole.consents if row.after != "given")


def test_a_channel_that_speaks_french_is_asked_in_french(performance: Performance) -> None:
    ended = performance[FRENCH]
    assert ended.whole is not None
    assert {row.language for row in ended.whole.prompts} == {"fr"}


def test_what_a_caller_calls_itself_is_in_no_path_argument_or_log(performance: Performance) -> None:
    assert not Path("/tmp/recorder-was-here").exists()
    for text in (performance.log, *performance.commands):
        assert "recorder-was-here" not in text
        assert "x" * 100 not in text


def test_a_legal_basis_stands_in_the_consent_event(performance: Performance) -> None:
    ended = performance[LAWFUL]
    assert ended.whole is not None
    assert [(row.after, row.basis) for row in ended.whole.consents] == [("not_required", "MiFID II art. 16(7)")]


def test_the_stereo_recording_lasts_as_long_as_the_bridge(performance: Performance) -> None:
    for story in (AGREED, AGREED_OVER_SIP, OUTGOING, AGENT_HANGS_UP):
        (recording,) = performance[story].recordings
        assert recording.samples is not None
        assert recording.bridged_seconds is not None
        assert abs(recording.samples / 8000 - recording.bridged_seconds) < 0.15, story.name
        assert recording.findings == (), story.name
