"""The dialplan's own dialogue: what is written for it, that it asks as ours does, and how its notes are read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder import shipped
from recorder.consent import Answer, Heard, Play, dialogue
from recorder.doctor.findings import Mark
from recorder.doctor.judge import FALLBACK_MODULES, MODULES, Steps, judge_fallback
from recorder.fallback import FallbackUnwritable, Means, NotedAnswer, context_text, note_from_text
from recorder.model import ConsentMode, ConsentState, LostReason, PromptKind
from recorder.policy import Circumstances, LineRules, decide
from recorder.prompts import load
from tests.core.dialplan_player import Entry, Player
from tests.core.test_doctor import PROVIDED

FOLDER = Path(__file__).parents[2] / "dialplan" / "prompts"
LOADED = load(FOLDER, Path("/usr/share/recorder/prompts"))
MEANS = Means(prompts=LOADED.prompts, sizes=LOADED.sizes, spool="/var/spool/recorder")
BY_PATH = {prompt.path: prompt for prompt in LOADED.prompts.values()}
SIZES = {f"{LOADED.prompts[key].path}.wav": size for key, size in LOADED.sizes.items()}
MIXMONITOR = ",br(/var/spool/recorder/${name}-caller.wav)t(/var/spool/recorder/${name}-agent.wav)i(RECORDER_ID)"
ASKING = (ConsentMode.OPT_IN, ConsentMode.OPT_OUT, ConsentMode.NOTICE)


def line(mode: ConsentMode, *languages: str) -> LineRules:
    return LineRules(
        name="support",
        mode=mode,
        languages=languages or ("en",),
        retries=1,
        digest="0123456789abcdef" * 4,
        asked_without_us=True,
    )


def played(rules: LineRules, script: Sequence[Entry], spoken: str = "", **changes: object) -> Player:
    player = Player(context_text(rules, MIXMONITOR, MEANS), BY_PATH, script, spoken, SIZES, **changes)  # type: ignore[arg-type]
    assert player.run() == "recorder-inbound,s,rest"
    return player


def noted(player: Player) -> NotedAnswer:
    begun, entry = player.notes
    assert begun.startswith("support,1700000000.7,NONE,RECORDERASKED,1|support|")
    said, queue, agent, name, words = entry.split(",")
    assert (said, queue, agent, name) == ("support", "1700000000.7", "NONE", "RECORDERANSWER")
    assert player.events == [f"RecorderAnswer,Note: {words}"]
    note = note_from_text(words)
    assert note is not None
    return note


def held(rules: LineRules, script: Sequence[Entry], spoken: str) -> Answer:
    """What our own dialogue makes of the same caller."""
    talk, left = dialogue(rules, MEANS.prompts, spoken or None), list(script)
    try:
        step = next(talk)
        while True:
            entry = left.pop(0) if left else None
            longest = round(step.longest.total_seconds() * 1000)
            if isinstance(step, Play) and entry == "broken":
                heard = Heard(played_ms=None)
            elif isinstance(step, Play):
                cut = isinstance(entry, tuple) and entry[1] < longest and entry[0] in (step.keys or ())
                heard = Heard(key=entry[0], played_ms=entry[1]) if cut else Heard(played_ms=longest)  # type: ignore[index,arg-type]
            else:
                heard = Heard(key=entry[0] if isinstance(entry, tuple) else None)
            step = talk.send(heard)
    except StopIteration as end:
        answer: Answer = end.value
        return answer


KEYS = st.tuples(st.sampled_from("12709*#"), st.sampled_from([50, 2200, 2300, 2700, 9000]))
ENTRIES = st.one_of(st.none(), KEYS, st.just("broken"))


@given(
    mode=st.sampled_from(ASKING),
    languages=st.sampled_from([("en",), ("en", "fr"), ("fr", "en")]),
    spoken=st.sampled_from(["", "en", "fr", "fr_CA", "en-US", "de"]),
    script=st.lists(ENTRIES, max_size=8),
)
def test_the_dialplan_comes_to_what_our_own_dialogue_comes_to(
    mode: ConsentMode, languages: tuple[str, ...], spoken: str, script: list[Entry]
) -> None:
    rules = line(mode, *languages)
    ours = held(rules, script, spoken)
    player = played(rules, script, spoken)
    note = noted(player)
    assert note.failed == ours.failed
    assert note.answer == (None if ours.failed else ours.consent)
    permitted = ours.failed is None and decide(Circumstances(mode=mode, consent=ours.consent)).permitted
    assert bool(player.captures) is permitted
    if ours.failed is None:
        assert note.prompt is not None
        assert ours.prompt == replace(note.prompt, path=ours.prompt.path, seconds=ours.prompt.seconds)  # type: ignore[union-attr]
        assert note.played_ms == ours.played_ms


def test_a_yes_starts_one_capture_whose_files_are_named_by_the_note() -> None:
    player = played(line(ConsentMode.OPT_IN), [("1", 3000)])
    note = noted(player)
    assert player.captures == [MIXMONITOR.replace("${name}", str(note.recording))]
    assert (note.answer, note.policy, note.linkedid) == (ConsentState.GIVEN, "0123456789abcdef" * 4, "1700000000.1")
    assert UUID(str(note.recording)).version == 5
    assert note.at - note.began_at == timedelta(seconds=3)
    assert player.variables["RECORDER_RESULT"] == "given"


def test_two_answers_of_one_channel_never_share_a_name() -> None:
    first = noted(played(line(ConsentMode.OPT_IN), [("1", 3000)]))
    second = noted(played(line(ConsentMode.OPT_IN), [("1", 3000)], clock=1_700_000_000_001))
    assert first.recording != second.recording


def test_a_law_needs_no_word_and_its_basis_stands_in_the_note() -> None:
    rules = replace(line(ConsentMode.NOT_REQUIRED), basis="Loi sur les services, art. 5(2)|; 'x'")
    player = played(rules, [])
    assert noted(player).basis == rules.basis
    assert noted(player).answer is ConsentState.NOT_REQUIRED
    assert len(player.captures) == 1


def test_a_prompt_that_is_another_file_is_not_played_and_permits_nothing() -> None:
    sizes = {path: size + 2 for path, size in SIZES.items()}
    for mode in ASKING:
        player = Player(context_text(line(mode), MIXMONITOR, MEANS), BY_PATH, [("1", 3000)], "", sizes)
        player.run()
        assert noted(player).failed is LostReason.PROMPT_FAILED
        assert player.captures == []


@pytest.mark.parametrize("mode", ["", "40755", "40777", "40701"])
def test_a_spool_that_is_away_or_open_to_others_asks_nobody(mode: str) -> None:
    player = played(line(ConsentMode.OPT_IN), [("1", 3000)], spool_mode=mode)
    assert (player.notes, player.captures, player.script) == ([], [], [("1", 3000)])


def test_each_step_has_a_limit_of_its_own_and_none_is_left() -> None:
    player = played(line(ConsentMode.OPT_IN, "en", "fr"), [None] * 12)
    assert player.limits[-1] == 0
    assert all(3 < limit < 20 for limit in player.limits[:-2])


def test_a_line_that_is_never_recorded_or_lacks_a_prompt_is_not_written() -> None:
    with pytest.raises(FallbackUnwritable, match="never recorded"):
        context_text(line(ConsentMode.NEVER), MIXMONITOR, MEANS)
    with pytest.raises(FallbackUnwritable, match="no prompt question in de"):
        context_text(line(ConsentMode.OPT_IN, "en", "de"), MIXMONITOR, MEANS)


@pytest.mark.parametrize("path", ["/a,b/x", "/a;b/x", "/a b/x", "/${x}", "/a|b", "relative/x", "/a\nb"])
def test_nothing_that_means_something_to_asterisk_is_written(path: str) -> None:
    prompts = {key: replace(prompt, path=path) for key, prompt in MEANS.prompts.items()}
    with pytest.raises(FallbackUnwritable):
        context_text(line(ConsentMode.OPT_IN), MIXMONITOR, replace(MEANS, prompts=prompts))
    with pytest.raises(FallbackUnwritable):
        context_text(line(ConsentMode.OPT_IN), MIXMONITOR, replace(MEANS, spool=path))


def test_every_change_of_a_setting_or_a_prompt_is_another_digest() -> None:
    rules = line(ConsentMode.OPT_IN, "en", "fr")
    question = (PromptKind.QUESTION, "en")
    other = {**MEANS.prompts, question: replace(MEANS.prompts[question], sha256="0" * 64)}
    texts = [
        context_text(rules, MIXMONITOR, MEANS),
        context_text(replace(rules, digest="f" * 16), MIXMONITOR, MEANS),
        context_text(rules, MIXMONITOR.replace("br(", "bSr("), MEANS),
        context_text(rules, MIXMONITOR, replace(MEANS, prompts=other)),
    ]
    assert len({re.findall(r"digest-(\w+)", text)[0] for text in texts}) == len(texts)
    assert texts[0] == context_text(rules, MIXMONITOR, MEANS)


@pytest.mark.parametrize("mode", ASKING)
@pytest.mark.parametrize("language", ["en", "fr"])
def test_a_note_of_the_longest_names_is_far_shorter_than_what_a_variable_of_asterisk_holds(
    mode: ConsentMode, language: str
) -> None:
    rules = replace(line(mode, language), name="x" * 40, basis="a law of forty words " * 10)
    said = [("1", 9000)] if mode is not ConsentMode.NOTICE else []
    player = played(rules, said, variables={"UNIQUEID": "9" * 149})
    assert len(player.notes) == 2
    assert all(len(note) + 2 * 150 < 2048 for note in player.notes), [len(note) for note in player.notes]  # of 4096


GOOD = noted(played(line(ConsentMode.OPT_IN), [("1", 3000)]))
WORDS = played(line(ConsentMode.OPT_IN), [("1", 3000)]).notes[1].split(",")[4]


@pytest.mark.parametrize("number", range(len(WORDS.split("|")) - 1))
def test_a_note_that_is_cut_is_none(number: int) -> None:
    assert note_from_text("|".join(WORDS.split("|")[: number + 1])) is None


@pytest.mark.parametrize(
    ("was", "now"),
    [
        ("1|support", "2|support"),
        ("|support|", "|../support|"),
        ("|opt_in|", "|perhaps|"),
        ("|given|", "|overridden|"),
        ("|given|", "|withdrawn|"),
        (str(GOOD.recording), "../../etc/passwd"),
    ],
)
def test_a_note_that_says_what_no_dialplan_of_ours_says_is_none(was: str, now: str) -> None:
    assert was in WORDS
    assert note_from_text(WORDS.replace(was, now, 1)) is None


@given(st.text())
def test_no_text_breaks_the_reading_of_notes(text: str) -> None:
    assert note_from_text(text) is None


# ---------------------------------------------------------------- doctor


def steps_of(rules: LineRules) -> Steps:
    (steps,) = shipped.contexts(context_text(rules, MIXMONITOR, MEANS)).values()
    return steps


RUNNING = frozenset(MODULES) | frozenset(FALLBACK_MODULES)
OPT_IN = steps_of(line(ConsentMode.OPT_IN))


@pytest.mark.parametrize(
    ("wanted", "loaded", "mark", "word"),
    [
        ({"support": OPT_IN}, {"support": OPT_IN}, Mark.FINE, "support"),
        ({"support": OPT_IN}, {"support": None}, Mark.WRONG, "is not asked"),
        ({"support": OPT_IN}, {"support": steps_of(line(ConsentMode.NOTICE))}, Mark.WRONG, "older"),
        ({}, {"support": OPT_IN}, Mark.WRONG, "against its settings"),
    ],
)
def test_what_asterisk_asks_without_us_is_compared_with_the_settings(
    wanted: dict[str, Steps], loaded: dict[str, Steps | None], mark: Mark, word: str
) -> None:
    (finding,) = judge_fallback(wanted, loaded, (), RUNNING)
    assert finding.mark is mark
    assert word in finding.what


def test_a_line_that_cannot_be_written_and_a_module_that_does_not_run_are_named() -> None:
    assert [finding.mark for finding in judge_fallback({}, {"support": None}, ("why",), RUNNING)] == [Mark.WRONG]
    found = judge_fallback({"support": OPT_IN}, {"support": OPT_IN}, (), RUNNING - {"func_sha1"})
    assert ["func_sha1" in finding.what for finding in found] == [True]
    assert judge_fallback({}, {"support": None}, (), frozenset()) == []


def test_every_application_and_function_that_is_written_has_its_module() -> None:
    provided = {
        **PROVIDED, "Background": "", "WaitExten": "", "NoOp": "", "STRFTIME": "func_strings", "LEN": "func_strings",
        "STAT": "func_env", "SHA1": "func_sha1",
    }  # fmt: skip
    for mode in (*ASKING, ConsentMode.NOT_REQUIRED):
        steps = [step for steps in steps_of(line(mode, "en", "fr")).values() for step in steps]
        used = {step.split("(")[0] for step in steps}
        used |= {name for step in steps for name in re.findall(r"\b([A-Z][A-Z_0-9]+)\(", step)}
        assert used <= set(provided)
        assert {provided[name] for name in used} - {""} <= RUNNING
