"""The judge of the demo and of the live tests: it must find each thing wrong that it is there to find."""

from __future__ import annotations

from pathlib import Path

import numpy
import pytest

from tests.pbx import tones
from tests.stories import (
    AGENT,
    AGENT_BEFORE,
    AGREED,
    CALLER,
    CALLER_BEFORE,
    OVERRIDDEN,
    REFUSED,
    both_from_the_bridge_on,
    judge,
    nothing_before_the_key,
)


def said(*parts: tuple[int, float]) -> numpy.ndarray:
    """Tones one after the other; 0 Hz is silence."""
    return numpy.concatenate([tones.tone(hz, seconds) for hz, seconds in parts])


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    return tmp_path / "one.wav"


def test_both_parties_from_the_first_frame_on_are_right(wav: Path) -> None:
    tones.write_wav(wav, [said((CALLER, 4)), said((AGENT, 4))])
    assert both_from_the_bridge_on(wav) == []
    assert judge(AGREED, "recorded", [wav], sealed=False) == []


@pytest.mark.parametrize(
    ("caller", "agent"),
    [
        (((CALLER_BEFORE, 0.2), (CALLER, 3.8)), ((AGENT, 4.0),)),
        (((CALLER, 4.0),), ((0, 1.0), (AGENT, 3.0))),
        (((CALLER, 4.0),), ((CALLER, 4.0),)),
        (((AGENT, 4.0),), ((CALLER, 4.0),)),
        (((0, 4.0),), ((AGENT, 4.0),)),
        (((CALLER, 1.0), (0, 3.0)), ((AGENT, 4.0),)),
    ],
    ids=["said before consent", "agent late", "agent's leg missing", "legs exchanged", "caller silent", "torn"],
)
def test_what_is_wrong_with_an_agreed_recording_is_found(
    wav: Path, caller: tuple[tuple[int, float], ...], agent: tuple[tuple[int, float], ...]
) -> None:
    tones.write_wav(wav, [said(*caller), said(*agent)])
    assert both_from_the_bridge_on(wav) != []


def test_what_an_agent_said_before_the_key_is_found(wav: Path) -> None:
    tones.write_wav(wav, [said((CALLER_BEFORE, 5)), said((AGENT_BEFORE, 1.5), (AGENT, 3.5))])
    assert nothing_before_the_key(wav) != []
    tones.write_wav(wav, [said((CALLER_BEFORE, 5)), said((AGENT, 5))])
    assert nothing_before_the_key(wav) == []
    assert judge(OVERRIDDEN, "recorded", [wav], sealed=False) == ["is not sealed"]


def test_a_file_of_who_refused_and_a_wrong_outcome_are_found(wav: Path) -> None:
    assert judge(REFUSED, "declined", [], sealed=False) == []
    assert len(judge(REFUSED, "recorded", [wav], sealed=False)) == 2
    assert judge(AGREED, "recorded", [], sealed=False) == ["0 settled files, not 1"]
