"""The dialogue, played by a caller made of a table: what each step is, and what comes of every way to answer it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from recorder.consent import MENU_PAUSE, Answer, Dialogue, Heard, Listen, Play, Prompts, dialogue, settled
from recorder.model import ConsentMode, ConsentState, LostReason, Prompt, PromptKind
from recorder.policy import LineRules
from tests.facts import QUESTION

ENOUGH = QUESTION.min_played_ms
CUT = ENOUGH - 1
WHOLE = 6500
NOTHING = Heard(key=None, played_ms=0)  # a Listen in which no key came
MISSING = Heard(key=None, played_ms=None)
KEYS_OF_MENU = {"en": "1", "fr": "2"}


def prompt(kind: PromptKind, language: str) -> Prompt:
    choose = KEYS_OF_MENU[language] if kind is PromptKind.LANGUAGE else None
    return replace(QUESTION, id=kind.value, kind=kind, language=language, choose=choose)


PROMPTS: Prompts = {(kind, language): prompt(kind, language) for kind in PromptKind for language in KEYS_OF_MENU}


def rules(mode: ConsentMode = ConsentMode.OPT_IN, *languages: str, retries: int = 2) -> LineRules:
    return LineRules(name="support", mode=mode, languages=languages or ("en",), retries=retries, basis="a law")


def played(played_ms: int = WHOLE, key: str | None = None) -> Heard:
    return Heard(key=key, played_ms=played_ms)


def key(pressed: str) -> Heard:
    """In the pause after the prompt."""
    return Heard(key=pressed, played_ms=0)


def run(talk: Dialogue, heard: Sequence[Heard]) -> tuple[list[Play | Listen], Answer]:
    """The steps of a dialogue and its answer; it must take exactly what is heard."""
    steps: list[Play | Listen] = []
    waiting = list(heard)
    try:
        steps.append(next(talk))
        while True:
            steps.append(talk.send(waiting.pop(0)))
    except StopIteration as end:
        assert not waiting, f"ended with {waiting} unheard"
        answer = end.value
        assert isinstance(answer, Answer)
        return steps, answer


def said(steps: Sequence[Play | Listen]) -> list[str]:
    return [f"{step.prompt.kind}/{step.prompt.language}" if isinstance(step, Play) else "listen" for step in steps]


GIVEN, REFUSED, UNANSWERED = ConsentState.GIVEN, ConsentState.REFUSED, ConsentState.UNANSWERED
SILENT = [played(), NOTHING]

ANSWERS: dict[str, tuple[ConsentMode, list[Heard], ConsentState, str | None]] = {
    "yes in the prompt": (ConsentMode.OPT_IN, [played(ENOUGH, "1")], GIVEN, "1"),
    "no in the prompt": (ConsentMode.OPT_IN, [played(ENOUGH, "2")], REFUSED, "2"),
    "yes in the pause": (ConsentMode.OPT_IN, [played(), key("1")], GIVEN, "1"),
    "no in the pause": (ConsentMode.OPT_IN, [played(), key("2")], REFUSED, "2"),
    "yes too early, then silence": (ConsentMode.OPT_IN, [played(CUT, "1"), *SILENT, *SILENT], UNANSWERED, None),
    "yes too early, then yes": (ConsentMode.OPT_IN, [played(CUT, "1"), played(ENOUGH, "1")], GIVEN, "1"),
    "no too early, then yes": (ConsentMode.OPT_IN, [played(50, "2"), played(), key("1")], GIVEN, "1"),
    "another key, then no": (ConsentMode.OPT_IN, [played(ENOUGH, "9"), played(), key("2")], REFUSED, "2"),
    "another key, to the end": (
        ConsentMode.OPT_IN,
        [played(ENOUGH, "9"), played(), key("*"), played(), key("#")],
        UNANSWERED,
        None,
    ),
    "silence": (ConsentMode.OPT_IN, SILENT * 3, UNANSWERED, None),
    "silence, then yes at the last": (ConsentMode.OPT_IN, [*SILENT, *SILENT, played(), key("1")], GIVEN, "1"),
    "yes after a prompt that was cut without a key": (
        ConsentMode.OPT_IN,
        [played(CUT), key("1"), *SILENT, *SILENT],
        UNANSWERED,
        None,
    ),
    "opt-out, silence": (ConsentMode.OPT_OUT, SILENT, UNANSWERED, None),
    "opt-out, no": (ConsentMode.OPT_OUT, [played(ENOUGH, "2")], REFUSED, "2"),
    "opt-out, yes": (ConsentMode.OPT_OUT, [played(), key("1")], GIVEN, "1"),
    "opt-out, keys nobody can read": (ConsentMode.OPT_OUT, [played(ENOUGH, "9")] * 3, REFUSED, None),
    "opt-out, no however early": (ConsentMode.OPT_OUT, [played(50, "2")], REFUSED, "2"),
    "opt-out, yes too early, then no": (ConsentMode.OPT_OUT, [played(CUT, "1"), played(), key("2")], REFUSED, "2"),
    "notice": (ConsentMode.NOTICE, [played(ENOUGH)], ConsentState.NOTICED, None),
}


@pytest.mark.parametrize(("mode", "heard", "consent", "kept"), ANSWERS.values(), ids=ANSWERS)
def test_what_was_pressed_and_when_makes_the_answer(
    mode: ConsentMode, heard: list[Heard], consent: ConsentState, kept: str | None
) -> None:
    _, answer = run(dialogue(rules(mode), PROMPTS, "en"), heard)
    assert (answer.consent, answer.key, answer.failed) == (consent, kept, None)


@pytest.mark.parametrize("mode", [ConsentMode.OPT_IN, ConsentMode.OPT_OUT, ConsentMode.NOTICE])
@pytest.mark.parametrize("mute", [False, True], ids=["not in the set", "cannot be played"])
def test_a_prompt_that_is_missing_is_no_answer(mode: ConsentMode, mute: bool) -> None:
    steps, answer = run(dialogue(rules(mode), PROMPTS if mute else {}, "en"), [MISSING] if mute else [])
    assert (answer.consent, answer.failed) == (ConsentState.NONE, LostReason.PROMPT_FAILED)
    assert len(steps) == mute


def test_a_prompt_that_cannot_be_played_at_the_second_time_is_no_answer_either() -> None:
    _, answer = run(dialogue(rules(), PROMPTS, "en"), [*SILENT, MISSING])
    assert answer.failed is LostReason.PROMPT_FAILED


def test_a_line_whose_prompts_lack_a_language_asks_nobody() -> None:
    some = {place: prompt for place, prompt in PROMPTS.items() if place != (PromptKind.QUESTION, "fr")}
    steps, answer = run(dialogue(rules(ConsentMode.OPT_IN, "en", "fr"), some, "en"), [])
    assert (steps, answer.failed) == ([], LostReason.PROMPT_FAILED)


@pytest.mark.parametrize("played_ms", [0, CUT])
def test_a_notice_that_was_cut_short_is_no_notice(played_ms: int) -> None:
    _, answer = run(dialogue(rules(ConsentMode.NOTICE), PROMPTS, "en"), [played(played_ms)])
    assert (answer.consent, answer.failed) == (ConsentState.NONE, LostReason.PROMPT_FAILED)


def test_no_key_ends_a_notice_and_every_key_ends_a_question() -> None:
    ((notice,), _) = run(dialogue(rules(ConsentMode.NOTICE), PROMPTS, "en"), [played()])
    ((question,), _) = run(dialogue(rules(), PROMPTS, "en"), [played(ENOUGH, "1")])
    assert isinstance(notice, Play)
    assert isinstance(question, Play)
    assert (notice.keys, question.keys) == ("", "0123456789*#")


@pytest.mark.parametrize(
    ("mode", "consent"),
    [(ConsentMode.NEVER, ConsentState.PROHIBITED), (ConsentMode.NOT_REQUIRED, ConsentState.NOT_REQUIRED)],
)
def test_where_nothing_is_asked_nothing_is_played(mode: ConsentMode, consent: ConsentState) -> None:
    assert run(dialogue(rules(mode), {}, None), []) == ([], Answer(consent=consent))


@pytest.mark.parametrize("retries", [0, 1, 4])
def test_the_question_is_put_once_and_then_as_often_as_the_line_says(retries: int) -> None:
    steps, answer = run(dialogue(rules(retries=retries), PROMPTS, "en"), SILENT * (1 + retries))
    assert said(steps) == ["question/en", "listen"] * (1 + retries)
    assert answer.consent is UNANSWERED


def test_the_caller_has_the_lines_time_to_answer_and_the_lines_own_keys() -> None:
    line = replace(rules(), accept="5", refuse="6", answer=timedelta(seconds=9))
    steps, answer = run(dialogue(line, PROMPTS, "en"), [played(), key("5")])
    assert steps[1] == Listen(longest=timedelta(seconds=9))
    assert answer.consent is GIVEN
    assert run(dialogue(line, PROMPTS, "en"), [played(ENOUGH, "6")])[1].consent is REFUSED
    assert run(dialogue(line, PROMPTS, "en"), [played(ENOUGH, "1"), *SILENT, *SILENT])[1].consent is UNANSWERED


def test_the_answer_says_which_prompt_it_answers_and_how_much_of_it_was_heard() -> None:
    _, answer = run(dialogue(rules(), PROMPTS, "en"), [played(5000, "1")])
    assert answer.prompt == PROMPTS[PromptKind.QUESTION, "en"]
    assert (answer.played_ms, answer.language) == (5000, "en")


# --------------------------------------------------------------------------- language

BOTH = rules(ConsentMode.OPT_IN, "en", "fr")
MENU = ["language/en", "language/fr", "listen"]

LANGUAGES: dict[str, tuple[LineRules, str | None, list[Heard], list[str], str | None]] = {
    "known": (BOTH, "fr", [played(ENOUGH, "1")], ["question/fr"], "fr"),
    "known by its stem": (BOTH, "fr_CA", [played(ENOUGH, "1")], ["question/fr"], "fr"),
    "known by its stem, with a hyphen": (BOTH, "fr-CA", [played(ENOUGH, "1")], ["question/fr"], "fr"),
    "only one to choose from": (rules(), None, [played(ENOUGH, "1")], ["question/en"], "en"),
    "only one, and the caller speaks another": (rules(), "de", [played(ENOUGH, "1")], ["question/en"], "en"),
    "chosen in the menu": (BOTH, None, [played(900, "2"), played(ENOUGH, "1")], ["language/en", "question/fr"], "fr"),
    "chosen in the menu's last sentence": (
        BOTH,
        None,
        [played(), played(900, "2"), played(ENOUGH, "1")],
        [*MENU[:2], "question/fr"],
        "fr",
    ),
    "chosen in the menu's pause": (
        BOTH,
        "de",
        [played(), played(), key("1"), played(ENOUGH, "1")],
        [*MENU, "question/en"],
        "en",
    ),
    "not chosen": (
        BOTH,
        None,
        [played(), played(), NOTHING, played(), played(ENOUGH, "1")],
        [*MENU, "question/en", "question/fr"],
        "fr",
    ),
    "not chosen, and answered in the first": (
        BOTH,
        None,
        [played(), played(), NOTHING, played(ENOUGH, "1")],
        [*MENU, "question/en"],
        "en",
    ),
    "a key that is in no menu": (
        BOTH,
        None,
        [played(900, "7"), played(), played(), key("1")],
        ["language/en", "question/en", "question/fr", "listen"],
        "fr",
    ),
}


@pytest.mark.parametrize(("line", "spoken", "heard", "steps", "language"), LANGUAGES.values(), ids=LANGUAGES)
def test_the_language_is_settled_before_the_question_or_the_question_is_put_in_all(
    line: LineRules, spoken: str | None, heard: list[Heard], steps: list[str], language: str
) -> None:
    taken, answer = run(dialogue(line, PROMPTS, spoken), heard)
    assert said(taken) == steps
    assert (answer.consent, answer.language) == (GIVEN, language)


def test_a_key_in_the_language_menu_is_never_the_answer() -> None:
    _, answer = run(dialogue(BOTH, PROMPTS, None), [played(WHOLE, "1"), *SILENT * 3])
    assert (answer.consent, answer.key) == (UNANSWERED, None)


def test_the_menu_waits_a_little_for_its_key() -> None:
    steps, _ = run(dialogue(BOTH, PROMPTS, None), [played(), played(), key("1"), played(ENOUGH, "1")])
    assert steps[2] == Listen(longest=MENU_PAUSE)


def test_without_a_sentence_for_every_language_the_menu_is_left_out() -> None:
    some = {place: prompt for place, prompt in PROMPTS.items() if place != (PromptKind.LANGUAGE, "fr")}
    steps, _ = run(dialogue(BOTH, some, None), [played(), played(ENOUGH, "1")])
    assert said(steps) == ["question/en", "question/fr"]


def test_a_notice_to_a_caller_of_unknown_language_is_played_to_its_end_in_all() -> None:
    line = rules(ConsentMode.NOTICE, "en", "fr")
    menu = [played(), played(), NOTHING]
    steps, answer = run(dialogue(line, PROMPTS, None), [*menu, played(), played()])
    assert (said(steps[3:]), answer.consent) == (["notice/en", "notice/fr"], ConsentState.NOTICED)
    assert run(dialogue(line, PROMPTS, None), [*menu, played(CUT)])[1].failed is LostReason.PROMPT_FAILED


def test_a_yes_to_the_second_language_before_enough_of_it_was_heard_does_not_count() -> None:
    """The key may mean the sentence before, but that is not for us to guess."""
    menu = [played(), played(), NOTHING]
    line = replace(BOTH, retries=0)
    _, answer = run(dialogue(line, PROMPTS, None), [*menu, played(), played(CUT, "1")])
    assert answer.consent is UNANSWERED


def test_a_refuser_hears_nothing_more_than_a_yes_sayer() -> None:
    yes, _ = run(dialogue(rules(), PROMPTS, "en"), [played(ENOUGH, "1")])
    no, _ = run(dialogue(rules(), PROMPTS, "en"), [played(ENOUGH, "2")])
    assert yes == no


def test_an_answer_that_stands_is_not_asked_for() -> None:
    assert run(settled(Answer(consent=GIVEN)), []) == ([], Answer(consent=GIVEN))
