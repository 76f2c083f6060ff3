"""What the daemon makes of a folder of prompts: a whole one, and every way in which a house's own can be wrong."""

from __future__ import annotations

import hashlib
import shutil
import wave
from dataclasses import replace
from pathlib import Path

import pytest

from recorder.model import ConsentMode, OverrideReason, PromptKind
from recorder.policy import LineRules, OverrideTerms
from recorder.prompts import PromptsUnreadable, load
from recorder.settings import Line

ENTRY = """
[[prompt]]
id = "question"
kind = "question"
language = "en"
version = "3"
text = "May we record this call? Press 1."
min_played_ms = 500
keys = { accept = "1", refuse = "2" }
"""
PROMPTS = Path(__file__).parents[2] / "dialplan" / "prompts"
AT_PBX = Path("/usr/share/recorder/prompts")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "prompts.toml").write_text(ENTRY, "utf-8")
    (tmp_path / "en").mkdir()
    speak(tmp_path / "en" / "question.wav")
    return tmp_path


def speak(path: Path, *, rate: int = 8000, width: int = 2, channels: int = 1, seconds: float = 1.5) -> None:
    with wave.open(str(path), "wb") as sound:
        sound.setparams((channels, width, rate, 0, "NONE", ""))
        sound.writeframes(b"\x01" * (width * channels) * round(rate * seconds))


def problem(folder: Path) -> str:
    """The one thing that is wrong with the one prompt, which therefore is not there."""
    loaded = load(folder, AT_PBX)
    assert loaded.prompts == {}
    (line,) = loaded.problems
    return line


def test_a_prompt_is_what_its_file_holds_under_the_path_that_asterisk_sees(folder: Path) -> None:
    loaded = load(folder, AT_PBX)
    prompt = loaded.prompts[PromptKind.QUESTION, "en"]
    assert (prompt.seconds, prompt.version, prompt.min_played_ms) == (1.5, "3", 500)
    assert prompt.path == "/usr/share/recorder/prompts/en/question"
    assert prompt.sha256 == hashlib.sha256((folder / "en" / "question.wav").read_bytes()).hexdigest()
    assert loaded.keys == {(PromptKind.QUESTION, "en"): {"accept": "1", "refuse": "2"}}
    assert loaded.problems == ()


def test_a_prompt_without_its_wav_is_named_and_the_others_are_there(folder: Path) -> None:
    with (folder / "prompts.toml").open("a") as listed:
        listed.write(ENTRY.replace('"en"', '"fr"'))
    loaded = load(folder, AT_PBX)
    assert list(loaded.prompts) == [(PromptKind.QUESTION, "en")]
    assert [line.partition(":")[0] for line in loaded.problems] == ["prompt question (fr)"]


@pytest.mark.parametrize(
    "wrong", [{"rate": 16_000}, {"width": 1}, {"channels": 2}], ids=["16 kHz", "8 bit", "two channels"]
)
def test_a_wav_that_asterisk_would_play_wrongly_is_not_there(folder: Path, wrong: dict[str, int]) -> None:
    speak(folder / "en" / "question.wav", **wrong)
    assert "not 8 kHz, 16 bit, one channel" in problem(folder)


def test_a_wav_without_sound_is_not_there(folder: Path) -> None:
    speak(folder / "en" / "question.wav", seconds=0)
    assert "holds no sound" in problem(folder)


def test_a_wav_that_is_cut_short_is_not_there(folder: Path) -> None:
    path = folder / "en" / "question.wav"
    path.write_bytes(path.read_bytes()[:-1000])
    assert "is cut short" in problem(folder)


@pytest.mark.parametrize("content", [b"", b"RIFF", b"OggS" + bytes(100)], ids=["empty", "a head alone", "no WAV"])
def test_a_file_that_is_no_wav_is_not_there(folder: Path, content: bytes) -> None:
    (folder / "en" / "question.wav").write_bytes(content)
    assert problem(folder).startswith("prompt question (en): ")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('kind = "question"', 'kind = "song"'),
        ('kind = "question"\n', ""),
        ('language = "en"\n', ""),
        ('language = "en"', "language = 7"),
        ('id = "question"', "id = 7"),
        ("min_played_ms = 500", 'min_played_ms = "soon"'),
        ('keys = { accept = "1", refuse = "2" }', 'keys = "1"'),
        ('keys = { accept = "1", refuse = "2" }\n', ""),
    ],
)
def test_an_entry_that_makes_no_sense_is_named_and_ends_nothing(folder: Path, old: str, new: str) -> None:
    (folder / "prompts.toml").write_text(ENTRY.replace(old, new), "utf-8")
    assert problem(folder).startswith("prompt ")


@pytest.mark.parametrize(
    "listed",
    ["prompt = 1", "prompt = ['question']", ENTRY.replace("[[prompt]]", "[prompt]"), "[voice]", "not = [toml", "\x00"],
    ids=["a number", "names", "one table", "no prompts", "not TOML", "NUL"],
)
def test_a_list_that_is_none_is_said_with_its_path(folder: Path, listed: str) -> None:
    (folder / "prompts.toml").write_text(listed, "utf-8")
    with pytest.raises(PromptsUnreadable, match=r"prompts\.toml"):
        load(folder, AT_PBX)


def test_a_folder_without_a_list_is_said_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(PromptsUnreadable, match=r"prompts\.toml"):
        load(tmp_path, AT_PBX)


def test_a_list_that_is_not_utf_8_is_said_with_its_path(folder: Path) -> None:
    (folder / "prompts.toml").write_bytes(ENTRY.replace("?", "\xe9").encode("latin-1"))
    with pytest.raises(PromptsUnreadable, match=r"prompts\.toml"):
        load(folder, AT_PBX)


# --------------------------------------------------------------------------- what a prompt must say

OPT_IN = LineRules(name="support", mode=ConsentMode.OPT_IN, purposes=("training", "disputes"))


def test_a_prompt_that_does_not_declare_all_it_must_say_is_named_for_each_element_and_purpose(folder: Path) -> None:
    with (folder / "prompts.toml").open("a") as listed:
        listed.write('elements = ["recorded", "more"]\npurposes = ["training"]\n')
    assert load(folder, AT_PBX).unsaid(OPT_IN) == [
        "line support: the question in en does not say how to refuse",
        "line support: the question in en does not say that the service is the same",
        "line support: the question in en does not announce the purpose disputes",
    ]


@pytest.mark.parametrize("mode", [ConsentMode.NEVER, ConsentMode.NOT_REQUIRED, ConsentMode.NOTICE])
def test_a_line_that_does_not_play_the_prompt_needs_nothing_of_it(folder: Path, mode: ConsentMode) -> None:
    assert load(folder, AT_PBX).unsaid(replace(OPT_IN, mode=mode)) == []


def test_the_shipped_prompts_say_what_the_default_lines_must() -> None:
    shipped = load(PROMPTS, AT_PBX)
    for mode in ConsentMode:
        assert shipped.unsaid(LineRules(name="x", mode=mode, languages=("en", "fr"), purposes=Line().purposes)) == []


def test_a_line_that_is_to_tell_of_an_override_needs_the_announcement_in_each_language(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(PROMPTS, tmp_path / "prompts"))
    told = OverrideTerms(reason=OverrideReason.LEGAL, basis="s. 1", tells_caller=True)
    untold = OverrideTerms(reason=OverrideReason.EMERGENCY, basis="s. 2")
    rules = LineRules(name="x", mode=ConsentMode.NEVER, languages=("en", "fr"), override=(untold, told))
    assert load(folder, AT_PBX).unsaid(rules) == []
    (folder / "fr" / "overridden.wav").unlink()
    assert load(folder, AT_PBX).unsaid(rules) == [
        "line x: no announcement in fr tells a caller of an override (kind overridden), which"
        " override.legal.tells_caller asks for"
    ]
    assert load(folder, AT_PBX).unsaid(replace(rules, override=(untold,))) == []
