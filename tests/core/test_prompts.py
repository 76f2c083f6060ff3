"""The shipped prompts: what Asterisk can play, what people can hear, and the proof of which WAV says which text."""

from __future__ import annotations

import re
import shutil
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from dialplan.prompts import make
from recorder.model import PromptKind
from recorder.prompts import ELEMENTS

FOLDER = Path(make.__file__).parent
TEXTS = make.read_texts(FOLDER)
KEYS_OF = {
    PromptKind.LANGUAGE: {"choose"},
    PromptKind.QUESTION: {"accept", "refuse"},
    PromptKind.OBJECTION: {"refuse"},
    PromptKind.NOTICE: set(),
    PromptKind.STOPPED: set(),
    PromptKind.ERASED: set(),
    PromptKind.RECORDED: set(),
    PromptKind.UNRECORDED: set(),
    PromptKind.OVERRIDDEN: set(),
}
TO_THE_AGENT = (PromptKind.RECORDED, PromptKind.UNRECORDED)
WITHDRAWN = (PromptKind.STOPPED, PromptKind.ERASED)
IN_THE_TALK = (*WITHDRAWN, PromptKind.OVERRIDDEN)
each_prompt = pytest.mark.parametrize("text", TEXTS, ids=lambda text: text.name)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the shipped prompts to spoil."""
    return Path(shutil.copytree(FOLDER, tmp_path / "prompts"))


def rewrite(folder: Path, old: str, new: str) -> None:
    """Replace the one place where prompts.toml says `old`."""
    file = folder / "prompts.toml"
    assert file.read_text().count(old) == 1
    file.write_text(file.read_text().replace(old, new))


def test_every_shipped_text_agrees_with_its_wav() -> None:
    assert make.mistakes(FOLDER) == []


def test_no_shipped_wav_is_without_its_text() -> None:
    assert {wav.relative_to(FOLDER).with_suffix("").as_posix() for wav in FOLDER.rglob("*.wav")} == {
        text.name for text in TEXTS
    }


def test_every_language_has_every_kind_of_prompt_in_the_same_version() -> None:
    by_language = defaultdict(set)
    for text in TEXTS:
        by_language[text.language].add((text.id, text.kind, text.version))
    assert set(by_language) == {"en", "fr"}
    assert by_language["en"] == by_language["fr"]
    assert {kind for _, kind, _ in by_language["en"]} == set(PromptKind)


@each_prompt
def test_a_prompt_is_loud_enough_and_not_clipped(text: make.Text) -> None:
    samples, rate = make.read_wav(FOLDER / f"{text.name}.wav")
    peak_db = 20 * np.log10(np.abs(samples).max())
    level_db = 20 * np.log10(np.sqrt(np.mean(samples**2)))
    assert rate == make.RATE
    assert -6.1 < peak_db < -5.9
    assert -28 < level_db < -20


@each_prompt
def test_a_prompt_begins_and_ends_with_its_voice(text: make.Text) -> None:
    samples, rate = make.read_wav(FOLDER / f"{text.name}.wav")
    begin, end = make.voiced(samples)
    assert begin / rate <= 0.06
    assert (len(samples) - end) / rate <= 0.11


@each_prompt
def test_a_prompt_is_short_enough_to_be_listened_to(text: make.Text) -> None:
    samples, rate = make.read_wav(FOLDER / f"{text.name}.wav")
    assert len(samples) / rate < (3 if text.kind == PromptKind.LANGUAGE else 12)


@each_prompt
def test_a_prompt_names_exactly_the_keys_it_declares(text: make.Text) -> None:
    assert text.keys.keys() == KEYS_OF[PromptKind(text.kind)]
    assert re.findall(r"\d+", text.text) == list(text.keys.values())


@each_prompt
def test_a_prompt_counts_only_after_it_has_said_what_matters(text: make.Text) -> None:
    if text.kind in (PromptKind.LANGUAGE, *IN_THE_TALK, *TO_THE_AGENT):
        assert text.min_played_ms == 0
        return
    assert re.match("This call may be recorded to |Cet appel peut être enregistré pour ", text.heard)
    if text.kind == PromptKind.NOTICE:
        assert re.search("tell the agent|dites-le à l'agent", text.heard)
        assert 8000 <= text.min_played_ms <= 9000
    else:
        assert 2000 <= text.min_played_ms <= 3000


def test_who_withdraws_is_told_what_becomes_of_what_was_recorded() -> None:
    said = {(text.kind, text.language): text.text for text in TEXTS if text.kind in WITHDRAWN}
    assert {language for _, language in said} == {"en", "fr"}
    for (kind, _), words in said.items():
        assert bool(re.search("erased|effacé", words)) == (kind == PromptKind.ERASED)
        assert re.search("no longer being recorded|arrêté", words)


def test_who_is_captured_by_override_is_told_so_and_from_when_in_a_breath() -> None:
    said = {text.language: text for text in TEXTS if text.kind == PromptKind.OVERRIDDEN}
    assert set(said) == {"en", "fr"}
    for text in said.values():
        assert re.search("is being recorded from now on|À partir de maintenant, cet appel est enregistré", text.text)
        samples, rate = make.read_wav(FOLDER / f"{text.name}.wav")
        assert len(samples) / rate < 3, "the agent hears nothing for so long"


def test_an_agent_is_told_in_a_word_or_two_whether_the_call_is_captured() -> None:
    said = {(text.kind, text.language): text for text in TEXTS if text.kind in TO_THE_AGENT}
    assert len(said) == 4
    for (kind, _), text in said.items():
        assert bool(re.search("^(Not|Pas) ", text.text)) == (kind == PromptKind.UNRECORDED)
        samples, rate = make.read_wav(FOLDER / f"{text.name}.wav")
        assert len(samples) / rate < 1, "the caller waits for so long"


SAYS = {
    "recorded": "may be recorded|peut être enregistré",
    "refuse": "to refuse|rather it were not|pour refuser|ne le soit pas",
    "same_service": "served the same|le service est le même",
    "more": "privacy notice|avis de confidentialité",
    "training": "train staff|former le personnel",
    "service_standard": "service standards|normes de service",
}


@each_prompt
def test_a_prompt_says_exactly_what_it_declares(text: make.Text) -> None:
    said = {name for name, words in SAYS.items() if re.search(words, text.text)}
    asks = text.kind in (PromptKind.QUESTION, PromptKind.OBJECTION, PromptKind.NOTICE)
    assert {*text.elements, *text.purposes} == (set(SAYS) if asks else set())
    assert {*text.elements, *text.purposes} <= said
    assert not asks or set(text.elements) == set(ELEMENTS)


def test_the_menu_offers_each_language_its_own_key() -> None:
    keys = [text.keys["choose"] for text in TEXTS if text.kind == PromptKind.LANGUAGE]
    assert sorted(keys) == ["1", "2"]


def test_a_text_changed_without_its_wav_is_named(folder: Path) -> None:
    rewrite(folder, "For service in English, press 1.", "For English, press 1.")
    assert make.mistakes(folder) == ["en/language: the text has changed since its WAV was made"]


def test_a_wav_changed_without_its_text_is_named(folder: Path) -> None:
    shutil.copy(folder / "en/question.wav", folder / "fr/question.wav")
    assert make.mistakes(folder) == ["fr/question: the WAV is not the one that was made for this text"]


def test_a_missing_wav_is_named(folder: Path) -> None:
    (folder / "en/notice.wav").unlink()
    first, second = make.mistakes(folder)
    assert "en/notice.wav" in first
    assert second == "en/notice: the WAV is not the one that was made for this text"


def test_a_wav_that_asterisk_could_not_play_is_named(folder: Path) -> None:
    (folder / "en/notice.wav").write_bytes(b"RIFF\0\0\0\0WAVE")
    assert make.mistakes(folder)[0].startswith("en/notice: ")


def test_a_key_that_counts_only_after_the_end_of_its_prompt_is_named(folder: Path) -> None:
    file = folder / "prompts.toml"
    file.write_text(file.read_text().replace("min_played_ms = 2250", "min_played_ms = 20000", 1))
    assert make.mistakes(folder) == ["en/question: min_played_ms is longer than the WAV"]


def test_a_prompt_that_is_no_longer_in_the_texts_is_named(folder: Path) -> None:
    with (folder / "prompts.lock").open("a") as lock:
        lock.write('\n["en/gone"]\ntext = ""\nwav = ""\n')
    assert make.mistakes(folder) == ["en/gone: in prompts.lock, but in prompts.toml no more"]


def test_a_house_voice_is_left_as_it_is_and_entered_in_the_lock(folder: Path) -> None:
    voice = 'text = "For service in English, press 1."'
    rewrite(folder, voice, f'voice = "own"\n{voice}')
    shutil.copy(folder / "fr/language.wav", folder / "en/language.wav")
    assert make.main(["en/language"], folder) == 0
    assert (folder / "en/language.wav").read_bytes() == (folder / "fr/language.wav").read_bytes()


@pytest.mark.parametrize(("hertz", "level"), [(440, 1.0), (3000, 1.0), (5000, 0.0)])
def test_resampling_keeps_the_telephone_band_and_nothing_above_it(hertz: int, level: float) -> None:
    tone = np.sin(2 * np.pi * hertz * np.arange(22050) / 22050)
    spoken = make.resample(tone, 22050)
    assert len(spoken) == make.RATE
    assert np.abs(spoken[500:-500]).max() == pytest.approx(level, abs=0.02)


def test_silence_is_neither_amplified_nor_kept() -> None:
    assert len(make.trim(make.normalise(np.zeros(800)))) <= make.TAIL_MS * make.RATE // 1000
