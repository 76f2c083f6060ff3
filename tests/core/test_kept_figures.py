"""What a bench prints is put into the page that states it, and nothing else of the page changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.__main__ import KEPT, NAMES
from bench.machine import Figure
from bench.pages import has, kept

PAGE = (
    "# Figures\n\nBefore.\n\n<!-- bench keys -->\nold\n<!-- end -->\n\nAfter.\n<!-- bench load -->\nl\n<!-- end -->\n"
)
ROOT = Path(__file__).parents[2]


def test_what_was_printed_stands_between_the_markers_and_the_rest_stays() -> None:
    page = kept(PAGE, "keys", "\n50 talks; r\\1\n\nrow  1.0\n", "2026-11-22")

    assert page == PAGE.replace("old", "```\n2026-11-22: 50 talks; r\\1\n\nrow  1.0\n```")
    assert kept(page, "keys", "50 talks; r\\1\n\nrow  1.0", "2026-11-22") == page


@pytest.mark.parametrize("name", ["consent", "key"])
def test_a_page_without_a_place_for_it_is_an_error(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        kept(PAGE, name, "printed", "2026-11-22")


@pytest.mark.parametrize("name", NAMES)
def test_every_bench_has_its_place_in_one_page(name: str) -> None:
    assert sum(has((ROOT / page).read_text("utf-8"), name) for page in KEPT) == 1


def test_a_bound_is_met_by_enough_measurements_that_keep_to_it() -> None:
    met = Figure(what="a", values=[1.0] * 989 + [9.0] * 11, most=9, least=1000)

    assert met.verdict == "met"
    assert met.judged_by == 9.0
    assert Figure(what="a", values=[1.0] * 991 + [99.0] * 9, most=9, least=1000).verdict == "met"
    assert Figure(what="a", values=[1.0] * 991 + [99.0] * 9, most=9, least=1000, of="max").verdict == "NOT MET"
    assert Figure(what="a", values=[1.0] * 989 + [9.5] * 11, most=9, least=1000).verdict == "NOT MET"
    assert Figure(what="a", values=[1.0] * 999, most=9, least=1000).verdict == "TOO FEW, 1000 asked for"
    assert Figure(what="a", values=[], most=9).verdict == "NOT MET"
    assert Figure(what="a", values=[100.0]).verdict == ""
