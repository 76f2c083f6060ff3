"""One line's dialogue as dialplan: consent.dialogue, worded for Asterisk. Pure.

Must not decide what an answer permits: policy's table does. MixMonitor's argument is handed in by `capture`. The
invariant: what is written into the text is checked to be plain; a prompt that is not the very file (by its size) that
was digested is not played, and a key before enough of it was heard counts for nothing.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final

from recorder.consent import MENU_PAUSE, QUESTION_BY_MODE, Prompts
from recorder.fallback.note import ANSWER_EVENT, ASKED_ENTRY, NOTE_ENTRY, SETTLED_BY_NOBODY, SHAPE, asked_words, packed
from recorder.model import ConsentMode, ConsentState, LostReason, Prompt, PromptKind, RecorderError
from recorder.policy import PERMITTED_BY_MODE, LineRules

NOW: Final = "${STRFTIME(,,%s%3q)}"  # milliseconds since the epoch
SPARE_SECONDS: Final = 3
"""What a step may take beyond its own longest time, as with the daemon."""
PLAIN_PATH: Final = re.compile(r"/[\w./@+=~-]*", re.ASCII)
PLAIN_WORD: Final = re.compile(r"[\w.+-]+", re.ASCII)
FAILED: Final = str(LostReason.PROMPT_FAILED)


class FallbackUnwritable(RecorderError):
    """This line's dialogue cannot be written as dialplan; the sentence says why."""

    code = "fallback_unwritable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What the dialplan works with. `sizes` are the prompts' bytes; `spool` is the folder as Asterisk sees it."""

    prompts: Prompts
    sizes: Mapping[tuple[PromptKind, str], int]
    spool: str


def context_name(line: str) -> str:
    return f"recorder-fallback-{line}"


HEAD: Final = """\
; Written by `recorder init`: how callers are asked while the recorder is away, a context for each line with
; fallback = "dialplan". Do not change it by hand: `recorder init --apply` writes it anew from the recorder's settings
; and prompts, and `recorder doctor` says when it is stale.
"""


def fallback_text(lines: Mapping[str, tuple[LineRules, str]], means: Means) -> str:
    """The whole file for these lines, each with its MixMonitor argument. FallbackUnwritable where one cannot be."""
    return HEAD + "".join(f"\n{context_text(rules, mixmonitor, means)}" for rules, mixmonitor in lines.values())


def _digest(body: str) -> str:
    """What names exactly this dialogue; stands in it as an extension of its own, which nobody calls."""
    return hashlib.sha256(body.encode()).hexdigest()[:16]


def digest_of_written(context: str) -> str:
    """The digest that stands in a written context."""
    found = re.search(r"^exten => digest-(\w+),1,NoOp\(\)$", context, re.MULTILINE)
    assert found is not None
    return found[1]


def context_text(rules: LineRules, mixmonitor: str, means: Means) -> str:
    """The context of one line. `mixmonitor` is the argument of MixMonitor(), with ${name} for the recording's id."""
    steps = "".join(f"{step}\n" for step in _extensions(rules, mixmonitor, means))
    body = f"[{context_name(rules.name)}]\n{steps}"
    return f"{body}exten => digest-{_digest(body)},1,NoOp()\n"


def _extensions(rules: LineRules, mixmonitor: str, means: Means) -> Iterator[str]:
    yield from _extension("s", _dialogue(rules, mixmonitor, means))
    if rules.mode is not ConsentMode.NOT_REQUIRED:
        # A key is an extension, whatever it is; one that led nowhere would end the call.
        yield from _extension("_[0-9A-D*#]", ("Set(LOCAL(key)=${EXTEN})", "Goto(s,${step})"))
        yield from _extension("i", ("Goto(s,out)",))
        yield from _extension("t", ("Goto(s,out)",))
    yield from _extension("T", ("Goto(s,out)",))
    yield from _extension("h", ("Goto(recorder-inbound,h,1)",))


def _extension(name: str, steps: Sequence[str] | Iterator[str]) -> Iterator[str]:
    """A step may begin with its label: `label: App(...)`."""
    for number, step in enumerate(steps):
        label, _, rest = step.partition(": ") if re.match(r"\w+: ", step) else ("", "", step)
        mark = f"({label})" if label else ""
        yield f"exten => {name},1,{rest}" if number == 0 else f" same => n{mark},{rest}"


def _dialogue(rules: LineRules, mixmonitor: str, means: Means) -> Iterator[str]:
    _require_plain(PLAIN_PATH, means.spool, "capture.spool")
    # A spool that is not there Asterisk would make itself, open to everybody.
    yield f'GotoIf(${{REGEX("0$" ${{STAT(m,{means.spool})}})}}?ready)'
    yield "Goto(recorder-inbound,s,rest)"
    yield f"ready: Set(LOCAL(began)={NOW})"
    yield f"Set(LOCAL(asked)={SETTLED_BY_NOBODY})"
    yield "Set(LOCAL(played)=)"
    begun = f"{SHAPE}|{rules.name}|{rules.mode}|${{began}}|{rules.digest}|${{CHANNEL(linkedid)}}"
    yield f"QueueLog({rules.name},${{UNIQUEID}},NONE,{ASKED_ENTRY},{begun})"
    yield from _conversation(rules, means)
    yield from _conclusion(rules, mixmonitor)


def _conversation(rules: LineRules, means: Means) -> Iterator[str]:
    """Ends at the label `record` with the answer set."""
    if rules.mode is ConsentMode.NEVER:
        raise FallbackUnwritable(f"line {rules.name} is never recorded")
    if rules.mode is ConsentMode.NOT_REQUIRED:
        yield f"Set(LOCAL(answer)={ConsentState.NOT_REQUIRED})"
        yield "Goto(record)"
        return
    kind = QUESTION_BY_MODE.get(rules.mode, PromptKind.NOTICE)
    said = [_prompt_of(rules, means, kind, language) for language in rules.languages]
    yield from _language(rules, means)
    if kind is PromptKind.NOTICE:
        yield from _announcement(said, means)
    else:
        yield from _question(rules, said, means)
    yield f"failed: Set(LOCAL(answer)={FAILED})"


def _prompt_of(rules: LineRules, means: Means, kind: PromptKind, language: str) -> Prompt:
    prompt = means.prompts.get((kind, language))
    if prompt is None:
        raise FallbackUnwritable(f"line {rules.name}: there is no prompt {kind} in {language}")
    for word in (prompt.id, prompt.version, prompt.language):
        _require_plain(PLAIN_WORD, word, f"prompt {prompt.id}")
    _require_plain(PLAIN_PATH, prompt.path, f"prompt {prompt.id}")
    return prompt


def _require_plain(pattern: re.Pattern[str], word: str, where: str) -> None:
    if not pattern.fullmatch(word):
        raise FallbackUnwritable(f"{where}: {word!r} holds a character that means something to Asterisk")


# ---------------------------------------------------------------- the language


def _language(rules: LineRules, means: Means) -> Iterator[str]:
    """`tongue` is the language to speak, empty for all of the line's."""
    yield "Set(LOCAL(tongue)=)"
    for language in rules.languages:
        yield f'GotoIf($["${{CHANNEL(language)}}" = "{language}"]?in_{language})'
    for language in rules.languages:
        if "_" not in language:
            yield f'GotoIf(${{REGEX("^{language}[-_]" ${{CHANNEL(language)}})}}?in_{language})'
    menu = [means.prompts.get((PromptKind.LANGUAGE, language)) for language in rules.languages]
    if len(rules.languages) > 1 and all(menu):
        yield from _menu([_prompt_of(rules, means, PromptKind.LANGUAGE, code) for code in rules.languages])
    yield "Goto(ask)"
    for language in rules.languages:
        yield f"in_{language}: Set(LOCAL(tongue)={language})"
        yield "Goto(ask)"


def _menu(menu: Sequence[Prompt]) -> Iterator[str]:
    """A key here only chooses a language; the last of two prompts that name one key is the one that it chooses."""
    yield "Set(LOCAL(step)=chosen)"
    for prompt in menu:
        yield f"Set(TIMEOUT(absolute)={_longest(prompt.seconds)})"
        yield f"Background({prompt.path},n)"
    pause = MENU_PAUSE.total_seconds()
    yield f"Set(TIMEOUT(absolute)={_longest(pause)})"
    yield f"WaitExten({pause:g})"
    yield "Goto(ask)"
    first, *others = list({prompt.choose: prompt.language for prompt in menu}.items())
    yield f'chosen: GotoIf($["${{key}}" = "{first[0]}"]?in_{first[1]})'
    for key, language in others:
        yield f'GotoIf($["${{key}}" = "{key}"]?in_{language})'


def _longest(seconds: float) -> int:
    return ceil(seconds + SPARE_SECONDS)


# ---------------------------------------------------------------- what is said


def _announcement(said: Sequence[Prompt], means: Means) -> Iterator[str]:
    """Every notice to its end; no key ends it, and one that was cut is no notice."""
    yield "ask: NoOp()"
    for prompt in said:
        yield from _prepared(prompt, means)
        yield f"Playback({prompt.path},noanswer)"
        yield f"Set(LOCAL(played)=$[{NOW} - ${{from}}])"
        yield 'GotoIf($["${PLAYBACKSTATUS}" != "SUCCESS"]?failed)'
        yield "GotoIf($[${played} < ${least}]?failed)"
        yield f"past_{prompt.language}: NoOp()"
    yield f"Set(LOCAL(answer)={ConsentState.NOTICED})"
    yield "Goto(record)"


def _prepared(prompt: Prompt, means: Means) -> Iterator[str]:
    size = means.sizes[prompt.kind, prompt.language]
    yield f'GotoIf($["${{tongue}}" != "" & "${{tongue}}" != "{prompt.language}"]?past_{prompt.language})'
    yield f'GotoIf($["${{STAT(s,{prompt.path}.wav)}}" != "{size}"]?failed)'  # not the file that was digested
    yield f"Set(LOCAL(asked)={asked_words(prompt)})"
    yield f"Set(LOCAL(least)={prompt.min_played_ms})"
    yield f"Set(TIMEOUT(absolute)={_longest(prompt.seconds)})"
    yield f"Set(LOCAL(from)={NOW})"


def _question(rules: LineRules, said: Sequence[Prompt], means: Means) -> Iterator[str]:
    """The question until a key counts, once and then `retries` times more (CN-06)."""
    silence_permits = ConsentState.UNANSWERED in PERMITTED_BY_MODE[rules.mode]
    yield f"ask: Set(LOCAL(tries)={1 + rules.retries})"
    yield "again: Set(LOCAL(step)=cut)"
    for prompt in said:
        yield from _prepared(prompt, means)
        yield f"Background({prompt.path},n)"
        yield f"Set(LOCAL(played)=$[{NOW} - ${{from}}])"
        yield 'GotoIf($["${BACKGROUNDSTATUS}" != "SUCCESS"]?failed)'
        yield f"past_{prompt.language}: NoOp()"
    answer = rules.answer.total_seconds()
    yield "Set(LOCAL(step)=pressed)"
    yield f"Set(TIMEOUT(absolute)={_longest(answer)})"
    yield f"WaitExten({answer:g})"
    yield "Goto(silent)"
    yield f"cut: Set(LOCAL(played)=$[{NOW} - ${{from}}])"
    if silence_permits:  # there nobody objects too early
        yield f'pressed: GotoIf($["${{key}}" = "{rules.refuse}"]?refused)'
        yield "GotoIf($[${played} < ${least}]?wrong)"
    else:
        yield "pressed: GotoIf($[${played} < ${least}]?wrong)"
    yield f'GotoIf($["${{key}}" = "{rules.accept}"]?given)'
    yield f'GotoIf($["${{key}}" = "{rules.refuse}"]?refused)'
    yield "wrong: Set(LOCAL(tries)=$[${tries} - 1])"
    yield "GotoIf($[${tries} > 0]?again)"
    # Keys that we cannot read, every time, where silence would permit: an objection that we failed to understand.
    yield f"Set(LOCAL(answer)={ConsentState.REFUSED if silence_permits else ConsentState.UNANSWERED})"
    yield "Goto(record)"
    if silence_permits:
        yield "silent: GotoIf($[${played} < ${least}]?failed)"  # it never said how to object
    else:
        yield "silent: Set(LOCAL(tries)=$[${tries} - 1])"
        yield "GotoIf($[${tries} > 0]?again)"
    yield f"Set(LOCAL(answer)={ConsentState.UNANSWERED})"
    yield "Goto(record)"
    yield f"given: Set(LOCAL(answer)={ConsentState.GIVEN})"
    yield "Goto(record)"
    yield f"refused: Set(LOCAL(answer)={ConsentState.REFUSED})"
    yield "Goto(record)"


# ---------------------------------------------------------------- what comes of it


def _conclusion(rules: LineRules, mixmonitor: str) -> Iterator[str]:
    """The note first, then the capture: nothing is written that nobody could account for.

    The staged files have a name made of the channel's uniqueid and the time, by a digest: a channel's uniqueid may be
    chosen by who originates it, and so it is that the name is a recording's id.
    """
    basis = packed(rules.basis or "")
    yield "record: Set(TIMEOUT(absolute)=0)"
    yield f"Set(LOCAL(at)={NOW})"
    yield "Set(LOCAL(hash)=${SHA1(${UNIQUEID} ${STRFTIME(,,%s%6q)})})"
    yield "Set(LOCAL(name)=${hash:0:8}-${hash:8:4}-5${hash:13:3}-a${hash:17:3}-${hash:20:12})"
    yield 'GotoIf($["${LEN(${name})}" != "36"]?out)'
    said = "${asked}|${played}|${began}|${at}"
    ids = f"{rules.digest}|${{name}}|${{CHANNEL(linkedid)}}"
    yield f"Set(LOCAL(note)={SHAPE}|{rules.name}|{rules.mode}|${{answer}}|{said}|{ids}|{basis})"
    yield f"QueueLog({rules.name},${{UNIQUEID}},NONE,{NOTE_ENTRY},${{note}})"
    yield f"UserEvent({ANSWER_EVENT},Note: ${{note}})"
    yield "Set(RECORDER_RESULT=${answer})"
    for state in sorted(PERMITTED_BY_MODE[rules.mode]):
        yield f'GotoIf($["${{answer}}" = "{state}"]?permitted)'
    yield "Goto(out)"
    yield f"permitted: MixMonitor({mixmonitor})"
    yield "out: Set(TIMEOUT(absolute)=0)"
    yield "Goto(recorder-inbound,s,rest)"
