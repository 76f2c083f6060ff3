"""The ledger of pauses and holds against a settled file's samples: WAVs that were doctored, and what verify says."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from recorder.books import REMARKS, Books, Code, RemarkCode, verify
from recorder.catalogue import Catalogue
from recorder.storage import Storage
from recorder.storage.header import build_header
from tests import books
from tests.edge.test_books import LONG_AFTER, change
from tests.facts import NODE

RATE = 8000
SECONDS = 30
Samples = npt.NDArray[np.int16]


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return books.folders(tmp_path)


@pytest.fixture
def engine_name() -> str:
    return "sqlite"


def talk() -> Samples:
    """Both talk all the time."""
    return np.full((SECONDS * RATE, 2), 700, np.int16)


def pause(begin: float, end: float, cause: str = "pause") -> dict[str, Any]:
    return {"cause": cause, "from_seconds": begin, "to_seconds": end, "actor": "PJSIP/alice"}


async def looked_at(
    store: Catalogue, url: str, storage: Storage, samples: Samples, *silences: dict[str, Any], keep: float | None = None
) -> Books:
    """The books of one recording with these samples and this ledger; its digest and length are right."""
    story = books.agreed(storage)
    await story.write(store)
    data = build_header(rate=RATE, channels=2, samples=len(samples)) + samples.tobytes()
    storage.path(story.recording, story.authorised_at).write_bytes(data)
    await asyncio.to_thread(
        change,
        url,
        "UPDATE recordings SET sha256 = :sha256, size = :size, samples = :samples, silences = :silences,"
        " keep_seconds = :keep",
        sha256=hashlib.sha256(data).hexdigest(),
        size=len(data),
        samples=len(samples),
        silences=json.dumps(silences),
        keep=keep,
    )
    return await verify(store, storage, node=NODE, now=LONG_AFTER)


def quiet(samples: Samples, begin: float, end: float) -> Samples:
    samples[round(begin * RATE) : round(end * RATE)] = 0
    return samples


async def test_silence_that_the_ledger_tells_of_is_as_it_should_be(
    store: Catalogue, catalogue_url: str, storage: Storage
) -> None:
    samples = quiet(quiet(talk(), 9.9, 20.02), 25, 30)
    found = await looked_at(store, catalogue_url, storage, samples, pause(10, 20), keep=25.0)
    assert (found.mismatches, found.remarks) == ([], [])


@pytest.mark.parametrize("at", [9.95, 15.0, 19.7])
async def test_one_sample_inside_a_pause_is_named(
    store: Catalogue, catalogue_url: str, storage: Storage, at: float
) -> None:
    samples = quiet(talk(), 9.9, 20.0)
    samples[round(at * RATE), 1] = -1
    found = await looked_at(store, catalogue_url, storage, samples, pause(10, 20))
    (item,) = found.mismatches
    assert item.code is Code.SILENCE_BROKEN
    assert item.what == (f"there is sound from {at:.2f} to {at:.2f} s, where a pause lasted from 10.00 to 20.00 s")
    assert not found.ok


async def test_the_last_moments_of_a_pause_are_asterisks_own(
    store: Catalogue, catalogue_url: str, storage: Storage
) -> None:
    samples = quiet(talk(), 9.9, 19.85)
    assert (await looked_at(store, catalogue_url, storage, samples, pause(10, 20))).ok


async def test_sound_beyond_what_is_proved_is_named(store: Catalogue, catalogue_url: str, storage: Storage) -> None:
    samples = quiet(talk(), 12, 30)
    samples[14 * RATE] = 9
    (item,) = (await looked_at(store, catalogue_url, storage, samples, keep=12.0)).mismatches
    assert "only the first 12.00 s may be heard" in item.what


async def test_long_exact_silence_that_no_ledger_tells_of_is_a_remark_and_the_books_balance(
    store: Catalogue, catalogue_url: str, storage: Storage
) -> None:
    samples = quiet(quiet(talk(), 5, 8), 9.9, 20)
    found = await looked_at(store, catalogue_url, storage, samples, pause(10, 20))
    (remark,) = found.remarks
    assert remark.code is RemarkCode.SILENCE_UNTOLD
    assert "from 5.0 to 8.0 s" in remark.what
    assert found.ok


@pytest.mark.parametrize(
    "samples",
    [
        pytest.param(quiet(talk(), 5, 6.9), id="less than two seconds"),
        pytest.param(np.column_stack((talk()[:, 0], np.zeros(SECONDS * RATE, np.int16))), id="one is muted"),
        pytest.param(np.where(quiet(talk(), 5, 15) == 0, np.int16(8), np.int16(700)), id="A-law has no zero"),
    ],
)
async def test_what_telephones_do_every_day_is_no_remark(
    store: Catalogue, catalogue_url: str, storage: Storage, samples: Samples
) -> None:
    found = await looked_at(store, catalogue_url, storage, samples)
    assert (found.mismatches, found.remarks) == ([], [])


async def test_without_digests_no_samples_are_read(store: Catalogue, catalogue_url: str, storage: Storage) -> None:
    await looked_at(store, catalogue_url, storage, quiet(talk(), 5, 8))
    found = await verify(store, storage, node=NODE, now=LONG_AFTER, read_digests=False)
    assert found.remarks == []


def test_every_remark_says_what_to_look_at() -> None:
    assert set(REMARKS) == set(RemarkCode)
