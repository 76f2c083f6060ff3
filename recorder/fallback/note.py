"""The record of a dialogue that the dialplan held: one line of text, in the queue log and in an event alike.

Owns its shape, both ways. The invariant: a note that is not whole is none; no digit and no number of a caller is in it.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from recorder.consent import QUESTION_BY_MODE
from recorder.model import ConsentMode, ConsentState, LostReason, Prompt, PromptKind, RecordingId

ANSWER_EVENT: Final = "RecorderAnswer"
"""The UserEvent that carries a note to a daemon that is there by then."""
NOTE_ENTRY: Final = "RECORDERANSWER"
"""The queue log's event of the same."""
ASKED_ENTRY: Final = "RECORDERASKED"
"""The queue log's event of a dialogue that begins: a caller who hangs up in it leaves no answer."""
SHAPE: Final = "1"
ASKED_FIELDS: Final = 7
FIELDS: Final = 4 + ASKED_FIELDS + 7
SETTLED_BY_NOBODY: Final = "||||||"
"""In place of a prompt, where none was played."""
ANSWERS: Final = frozenset(
    {
        ConsentState.GIVEN,
        ConsentState.REFUSED,
        ConsentState.UNANSWERED,
        ConsentState.NOTICED,
        ConsentState.NOT_REQUIRED,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NotedAnswer:
    """What the dialplan asked and was told. `answer` None: the prompt could not be played (`failed` says so).

    `recording` names the staged files where the answer permitted a capture, and this note where it did not.
    `policy` is the digest of the line's settings of which the dialplan was made.
    """

    line: str
    mode: ConsentMode
    answer: ConsentState | None
    began_at: datetime
    at: datetime
    policy: str
    recording: RecordingId
    linkedid: str
    prompt: Prompt | None = None
    played_ms: int | None = None
    basis: str | None = None

    @property
    def failed(self) -> LostReason | None:
        return LostReason.PROMPT_FAILED if self.answer is None else None


@dataclass(frozen=True, slots=True, kw_only=True)
class NotedQuestion:
    """That the dialplan began to ask, of which line and how."""

    line: str
    mode: ConsentMode
    began_at: datetime
    policy: str
    linkedid: str


def question_from_text(text: str) -> NotedQuestion | None:
    """The question that was begun; None where the text is none, or not whole."""
    shape, line, mode, began, policy, linkedid, *more = (*text.split("|"), *[""] * 6)
    if shape != SHAPE or any(more) or not re.fullmatch(r"[A-Za-z0-9_-]{1,40}", line):
        return None
    try:
        return NotedQuestion(
            line=line, mode=ConsentMode(mode), began_at=_moment(began), policy=policy, linkedid=linkedid
        )
    except (ValueError, OverflowError):
        return None


def asked_words(prompt: Prompt) -> str:
    """What of a prompt stands in a note: id, version, digest, language, least and whole length in ms, its text."""
    whole = round(prompt.seconds * 1000)
    words = (prompt.id, prompt.version, prompt.sha256, prompt.language, str(prompt.min_played_ms), str(whole))
    return "|".join((*words, packed(prompt.text)))


def packed(text: str) -> str:
    """Text as letters that mean nothing to Asterisk."""
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def note_from_text(text: str) -> NotedAnswer | None:
    """The note again; None where it is none, or not whole."""
    words = text.split("|")
    if len(words) != FIELDS or words[0] != SHAPE:
        return None
    try:
        return _note(words)
    except (ValueError, OverflowError, UnicodeDecodeError):
        return None


def _note(words: list[str]) -> NotedAnswer | None:
    _, line, mode_word, answer_word, *rest = words
    asked, (played, began, at, policy, recording, linkedid, basis) = rest[:ASKED_FIELDS], rest[ASKED_FIELDS:]
    mode = ConsentMode(mode_word)
    answer = None if answer_word == LostReason.PROMPT_FAILED else ConsentState(answer_word)
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,40}", line) or (answer is not None and answer not in ANSWERS):
        return None
    return NotedAnswer(
        line=line,
        mode=mode,
        answer=answer,
        began_at=_moment(began),
        at=_moment(at),
        policy=policy,
        recording=RecordingId(UUID(recording)),
        linkedid=linkedid,
        prompt=_prompt(asked, mode),
        played_ms=round(float(played)) if played else None,
        basis=_unpacked(basis) or None,
    )


def _moment(milliseconds: str) -> datetime:
    return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=int(milliseconds))


def _prompt(asked: list[str], mode: ConsentMode) -> Prompt | None:
    name, version, sha256, language, least, whole, text = asked
    if not name:
        return None
    return Prompt(
        id=name,
        kind=QUESTION_BY_MODE.get(mode, PromptKind.NOTICE),
        language=language,
        version=version,
        sha256=sha256,
        seconds=int(whole) / 1000,
        min_played_ms=int(least),
        path="",
        text=_unpacked(text),
    )


def _unpacked(word: str) -> str:
    return urlsafe_b64decode(word + "=" * (-len(word) % 4)).decode()
