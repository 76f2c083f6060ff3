"""The address of a moment of a recording: what is read in it, and that it leads nowhere else."""

from __future__ import annotations

from uuid import UUID

import pytest

from recorder.http.places import Place, moment_of, place_of, seconds_of

CALL, RECORDING = UUID(int=1), UUID(int=2)


@pytest.mark.parametrize(
    ("text", "moment_ms"),
    [
        ("0", 0),
        ("75", 75_000),
        ("75.5", 75_500),
        ("75,05", 75_050),
        ("1:15", 75_000),
        (" 1:05.25 ", 65_250),
        ("90:00", 5_400_000),
        ("", None),
        ("-1", None),
        ("-0:05", None),
        ("NaN", None),
        ("inf", None),
        ("1e3", None),
        ("0x10", None),
        ("1:75", None),
        ("1:2:3", None),
        ("\u0667\u0665", None),
        ("1.2345", None),
        ("1" * 7, None),
    ],
)
def test_a_moment_is_seconds_or_what_a_clock_shows_and_nothing_else(text: str, moment_ms: int | None) -> None:
    assert moment_of(text) == moment_ms


@pytest.mark.parametrize("moment_ms", [0, 1, 100, 1500, 75_000, 75_050, 600_000])
def test_a_moment_is_read_from_an_address_as_it_was_written(moment_ms: int) -> None:
    assert moment_of(seconds_of(moment_ms)) == moment_ms


@pytest.mark.parametrize(
    ("given", "moment"),
    [
        ({"at": "5"}, {"at": "5"}),
        ({"at": "5", "until": "9.5"}, {"at": "5", "until": "9.5"}),
        ({"at": "5", "until": "5"}, {"at": "5"}),
        ({"at": "5", "until": "NaN"}, {"at": "5"}),
        ({"at": "NaN", "until": "9"}, {}),
        ({"until": "9"}, {}),
    ],
)
def test_a_stretch_has_its_end_behind_its_beginning(given: dict[str, str], moment: dict[str, str]) -> None:
    assert Place.of(CALL, given).moment == moment


def test_an_address_is_made_anew_from_its_parts_and_holds_no_listening() -> None:
    place = place_of(f"/calls/{CALL}?listen={UUID(int=9)}&recording={RECORDING}&at=1:15&until=90&number=%2B15551234567")
    assert place is not None
    assert place.address == f"/calls/{CALL}?recording={RECORDING}&at=75&until=90"
    assert place.page == f"/calls/{CALL}?recording={RECORDING}"


@pytest.mark.parametrize(
    "address",
    [
        "",
        "/live",
        f"/calls/{CALL}",
        f"/calls/{CALL}?at=NaN",
        f"//elsewhere.example/calls/{CALL}?at=5",
        f"https://elsewhere.example/calls/{CALL}?at=5",
        f"/\\elsewhere.example/calls/{CALL}?at=5",
        f"javascript:/calls/{CALL}?at=5",
        f"/calls/{CALL}/proof?at=5",
        "/calls/nothing?at=5",
        "//[?at=5",
        f"/calls/{CALL}?at=5" + "&x=1" * 30,
    ],
)
def test_what_is_no_moment_of_a_recording_leads_nowhere(address: str) -> None:
    assert place_of(address) is None
