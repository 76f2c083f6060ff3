"""Whose agreement is needed, what counts as an answer: the dialogue as data, played by whoever holds a channel.

`dialogue` is a pure generator: it yields steps (`Play`, `Listen`), is sent what was `Heard`, and returns an `Answer`.
It never touches a channel. The invariant: nothing but an accepted key, pressed after enough of a prompt that was
really played in the language the caller chose, is ever an answer (CN-06, CN-07, CN-16, LG-02, LG-03).
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from recorder.model import ConsentMode, ConsentState, LostReason, Prompt, PromptKind
from recorder.policy import LineRules

DTMF = "0123456789*#"
MENU_PAUSE = timedelta(seconds=2)
"""How long the language menu waits after its last sentence before the question is put in every language."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Play:
    """Play `prompt` to the caller; any of `keys` ends it."""

    prompt: Prompt
    keys: str = DTMF

    @property
    def longest(self) -> timedelta:
        return timedelta(seconds=self.prompt.seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """Wait in silence for one key."""

    longest: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What came of a step: a key or none; `played_ms` of a prompt, None where it could not be played at all."""

    key: str | None = None
    played_ms: int | None = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """How the dialogue ended. `failed` is set where no answer can count, whatever was pressed."""

    consent: ConsentState
    prompt: Prompt | None = None
    played_ms: int | None = None
    key: str | None = None
    language: str | None = None
    failed: LostReason | None = None


Dialogue = Generator[Play | Listen, Heard, Answer]
Prompts = Mapping[tuple[PromptKind, str], Prompt]
"""The prompts at hand, by kind and language."""

QUESTION_BY_MODE = {ConsentMode.OPT_IN: PromptKind.QUESTION, ConsentMode.OPT_OUT: PromptKind.OBJECTION}


ANNOUNCING = frozenset({ConsentMode.OPT_IN, ConsentMode.OPT_OUT, ConsentMode.NOTICE})


def kind_of(mode: ConsentMode) -> PromptKind | None:
    """The prompt that asks or announces on a line of this mode; None where nothing is said."""
    return QUESTION_BY_MODE.get(mode, PromptKind.NOTICE) if mode in ANNOUNCING else None


def dialogue(rules: LineRules, prompts: Prompts, spoken: str | None) -> Dialogue:
    """The whole dialogue for one caller on one line. `spoken` is the channel's language, None where unknown."""
    if rules.mode is ConsentMode.NEVER:
        return Answer(consent=ConsentState.PROHIBITED)
    if rules.mode is ConsentMode.NOT_REQUIRED:
        return Answer(consent=ConsentState.NOT_REQUIRED)
    kind = QUESTION_BY_MODE.get(rules.mode, PromptKind.NOTICE)
    missing = [language for language in rules.languages if (kind, language) not in prompts]
    if missing:
        return _failed(None)
    languages = yield from _settle_language(rules, prompts, spoken)
    said = [prompts[kind, language] for language in languages]
    if kind is PromptKind.NOTICE:
        return (yield from _announce(said))
    return (yield from _ask(rules, said))


def _settle_language(
    rules: LineRules, prompts: Prompts, spoken: str | None
) -> Generator[Play | Listen, Heard, Sequence[str]]:
    """The languages to speak in: one once it is settled, all of the line's where the caller chose none (LG-02)."""
    known = _language_listed(spoken, rules.languages)
    if known is not None:
        return (known,)
    menu = [prompts[PromptKind.LANGUAGE, code] for code in rules.languages if (PromptKind.LANGUAGE, code) in prompts]
    if len(rules.languages) == 1 or len(menu) != len(rules.languages):
        return rules.languages
    by_key = {prompt.choose: prompt.language for prompt in menu}
    heard = Heard()
    for prompt in menu:
        heard = yield Play(prompt=prompt)
        if heard.key is not None:
            break
    if heard.key is None:
        heard = yield Listen(longest=MENU_PAUSE)
    return (by_key[heard.key],) if heard.key in by_key else rules.languages


def _language_listed(spoken: str | None, languages: Sequence[str]) -> str | None:
    """The line's language that the channel speaks: `fr_CA` is served in `fr` where the line lists no `fr_CA`."""
    if spoken in languages:
        return spoken
    stem = (spoken or "").replace("-", "_").split("_")[0]
    return stem if stem in languages else None


def _announce(said: Sequence[Prompt]) -> Dialogue:
    """Play every notice to its end; no key ends it, and one that was cut is no notice."""
    for prompt in said:
        heard = yield Play(prompt=prompt, keys="")
        if heard.played_ms is None or heard.played_ms < prompt.min_played_ms:
            return _failed(prompt)
    last = said[-1]
    return Answer(consent=ConsentState.NOTICED, prompt=last, played_ms=heard.played_ms, language=last.language)


def _ask(rules: LineRules, said: Sequence[Prompt]) -> Dialogue:
    """Put the question until a key counts, once and then `retries` times more (CN-06)."""
    answer = Answer(consent=ConsentState.UNANSWERED)
    for _ in range(1 + rules.retries):
        answer = yield from _ask_once(rules, said)
        silent = answer.key is None and answer.consent is ConsentState.UNANSWERED
        settled = answer.consent is not ConsentState.UNANSWERED or answer.failed is not None
        if settled or (silent and rules.mode is ConsentMode.OPT_OUT):
            return answer
    if answer.key is not None and rules.mode is ConsentMode.OPT_OUT:
        # keys we cannot read, every time, where silence would permit: an objection that we failed to understand
        return replace(answer, consent=ConsentState.REFUSED, key=None)
    return replace(answer, key=None)


def _ask_once(rules: LineRules, said: Sequence[Prompt]) -> Dialogue:
    """One attempt. The key of an unanswered result only says that some key came; it is never kept."""
    heard, prompt = Heard(), said[0]
    for prompt in said:
        heard = yield Play(prompt=prompt)
        if heard.played_ms is None:
            return _failed(prompt)
        if heard.key is not None:
            break
    played_ms = heard.played_ms
    if heard.key is None:
        heard = yield Listen(longest=rules.answer)
    counts = played_ms is not None and played_ms >= prompt.min_played_ms
    if rules.mode is ConsentMode.OPT_OUT and heard.key == rules.refuse:
        counts = True  # where silence permits, nobody objects too early
    consent = _meaning(heard.key, rules) if counts else ConsentState.UNANSWERED
    return Answer(consent=consent, prompt=prompt, played_ms=played_ms, key=heard.key, language=prompt.language)


def _meaning(key: str | None, rules: LineRules) -> ConsentState:
    return {rules.accept: ConsentState.GIVEN, rules.refuse: ConsentState.REFUSED}.get(
        key or "", ConsentState.UNANSWERED
    )


def _failed(prompt: Prompt | None) -> Answer:
    return Answer(consent=ConsentState.NONE, prompt=prompt, failed=LostReason.PROMPT_FAILED)


def settled(answer: Answer) -> Dialogue:
    """A dialogue that asks nothing, because the answer stands already."""
    return answer
    yield  # makes this a generator like any other dialogue
