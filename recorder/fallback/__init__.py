"""The dialogue without us: what the dialplan asks while the daemon is away, and how it writes down what came of it.

`text` words one line's context (pure), `note` is the one shape of the record that such a dialogue leaves in Asterisk's
queue log. The invariant: what the dialplan may permit is what consent.py and policy.py permit, and less where it cannot
tell; nothing that a caller has supplied is part of a path.
"""

from recorder.fallback.note import (
    ANSWER_EVENT,
    ASKED_ENTRY,
    NOTE_ENTRY,
    NotedAnswer,
    NotedQuestion,
    asked_words,
    note_from_text,
    question_from_text,
)
from recorder.fallback.text import (
    FallbackUnwritable,
    Means,
    context_name,
    context_text,
    digest_of_written,
    fallback_text,
)

__all__ = [
    "ANSWER_EVENT",
    "ASKED_ENTRY",
    "NOTE_ENTRY",
    "FallbackUnwritable",
    "Means",
    "NotedAnswer",
    "NotedQuestion",
    "asked_words",
    "context_name",
    "context_text",
    "digest_of_written",
    "fallback_text",
    "note_from_text",
    "question_from_text",
]
