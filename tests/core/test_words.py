"""The pages' words: the same in every language, and every one that a page asks for is there (TA-06)."""

from __future__ import annotations

import re
from pathlib import Path
from string import Formatter

import pytest

from recorder.alarms import AlarmKind
from recorder.call import Phase
from recorder.commands.status import MENDS
from recorder.http.door import Unlet
from recorder.http.pages import SAID
from recorder.http.words import LANGUAGES, _read, language_of
from recorder.listens import ListenKind, Medium, Unheard
from recorder.live import Heard
from recorder.model import (
    ConsentMode,
    ConsentState,
    Direction,
    KeyAct,
    LostReason,
    Outcome,
    OverrideReason,
    RecordingStatus,
    RivalKind,
)
from recorder.quality import Finding
from recorder.releases import Ground
from recorder.rights import Role
from recorder.settings import Line, Origin
from recorder.signing_in import Weak
from recorder.status import Mend, State
from recorder.waveform import RegionKind

TEMPLATES = Path(__file__).parents[2] / "recorder" / "http" / "templates"
EVERY = {language: _read(language) for language in LANGUAGES}


def asked(text: str) -> frozenset[str]:
    """The names that a sentence has places for."""
    return frozenset(name for _, name, _, _ in Formatter().parse(text) if name is not None)


def test_every_language_has_the_same_keys_and_places() -> None:
    first, *others = EVERY.values()
    assert len(first) > 50
    for other in others:
        assert sorted(other) == sorted(first)
        assert {key: asked(text) for key, text in other.items()} == {key: asked(text) for key, text in first.items()}


def test_no_language_has_anothers_sentences() -> None:
    named = {"product", "other_language", "other_language_code"}
    same = [key for key, text in EVERY["en"].items() if text == EVERY["fr"][key] and " " in text and key not in named]
    assert same == []


def test_every_word_that_a_page_asks_for_is_there_and_the_other_way_round() -> None:
    text = "\n".join(file.read_text("utf-8") for file in TEMPLATES.glob("*.html"))
    asked_for = re.findall(r"""\bt\(["']([a-z_.]+)["']""", text)
    named = {key for key in asked_for if not key.endswith(".")}  # the others end in a word of ours
    by_word = {
        *(f"phase.{word}" for word in Phase),
        *(f"heard.{word}" for word in Heard),
        *(f"act.{word}" for word in KeyAct),
        *(f"live.{word}" for word in Direction),
        *(f"sign_in.{word}" for word in Unlet),
        *(f"password.{word}" for word in Weak),
        *SAID,
        *("password.differ", "password.wrong"),
        *(f"outcome.{word}" for word in Outcome),
        *(f"consent.{word}" for word in ConsentState),
        *(f"lost.{word}" for word in LostReason),
        *(f"override.{word}" for word in OverrideReason),
        *(f"finding.{word}" for word in Finding),
        *(f"listen.{word}" for word in ListenKind),
        *(f"region.{word}" for word in RegionKind),
        *(f"medium.{word}" for word in Medium),
        *(f"unheard.{word}" for word in Unheard),
        *(f"lost.{word}" for word in LostReason),
        *(f"recording.{word}" for word in RecordingStatus),
        *(f"state.{word}" for word in State),
        *(f"mend.{word}" for word in Mend),
        *(f"mode.{word}" for word in ConsentMode),
        *(f"ground.{word}" for word in Ground),
        *(f"alarm.{word}" for word in AlarmKind),
        *(f"rival.{word}" for word in RivalKind),
        *(f"origin.{word}" for word in Origin),
        *(f"role.{word}" for word in Role),
        *(f"purpose.{word}" for word in Line.model_fields["purposes"].default),
    }
    assert named | by_word == set(EVERY["en"])


def test_a_page_says_the_same_mend_as_the_command() -> None:
    assert {mend: EVERY["en"][f"mend.{mend}"] for mend in Mend} == MENDS


@pytest.mark.parametrize(
    ("chosen", "accepted", "language"),
    [
        (None, "", "en"),
        (None, "fr-CA,fr;q=0.9,en;q=0.8", "fr"),
        (None, "de, en;q=0.3, fr;q=0.5", "fr"),
        (None, "fr;q=0, de", "en"),
        (None, "fr;q=much", "en"),
        (None, "en; q=0.2, fr ; q=0.9", "fr"),
        ("fr", "en", "fr"),
        ("de", "fr", "fr"),
    ],
)
def test_a_page_speaks_as_was_chosen_or_as_the_browser_would_rather_have_it(
    chosen: str | None, accepted: str, language: str
) -> None:
    assert language_of(chosen, accepted) == language
