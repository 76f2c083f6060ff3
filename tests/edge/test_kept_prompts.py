"""The prompts that were played are kept as they were heard, once each, and are nobody's recording."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from recorder.storage import KeptPrompts, Spool, Storage, StorageError
from tests.edge.centre import PROMPTS, Centre
from tests.fakes.pbx import FakePbx

pytestmark = pytest.mark.usefixtures("no_task_left")


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    for name in ("store", "spool"):
        (tmp_path / name).mkdir(mode=0o700)
    return Storage(tmp_path / "store", Spool(tmp_path / "spool"))


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_prompt_is_kept_once_under_its_digest_and_closed(storage: Storage, tmp_path: Path) -> None:
    source = tmp_path / "question.wav"
    source.write_bytes(b"first version")
    kept, first = KeptPrompts(storage), digest(source)
    assert [kept.keep(source, first), kept.keep(source, first)] == [True, False]
    assert kept.path(first).read_bytes() == b"first version"
    assert kept.path(first).stat().st_mode & 0o777 == 0o400


def test_another_version_is_kept_beside_the_first(storage: Storage, tmp_path: Path) -> None:
    source, kept = tmp_path / "question.wav", KeptPrompts(storage)
    source.write_bytes(b"first version")
    first = digest(source)
    kept.keep(source, first)
    source.write_bytes(b"second version")
    kept.keep(source, digest(source))
    assert kept.path(first).read_bytes() == b"first version"
    assert len(list(kept.path(first).parent.iterdir())) == 2


def test_other_bytes_than_were_digested_are_not_kept(storage: Storage, tmp_path: Path) -> None:
    source, kept = tmp_path / "question.wav", KeptPrompts(storage)
    source.write_bytes(b"changed meanwhile")
    with pytest.raises(StorageError, match="changed"):
        kept.keep(source, "a" * 64)
    assert not kept.path("a" * 64).exists()


def test_a_kept_prompt_is_no_file_of_the_books(storage: Storage, tmp_path: Path) -> None:
    source = tmp_path / "question.wav"
    source.write_bytes(b"a prompt")
    KeptPrompts(storage).keep(source, digest(source))
    assert list(storage.walk()) == []


@pytest.fixture
def engine_name() -> str:
    return "sqlite"


@pytest.fixture
async def centre(catalogue_url: str, tmp_path: Path) -> AsyncIterator[Centre]:
    async with AsyncExitStack() as closing:
        pbx = await closing.enter_async_context(FakePbx())
        made = Centre(pbx, tmp_path, catalogue_url)
        closing.push_async_callback(made.kill)
        yield made


async def test_a_daemon_keeps_every_prompt_that_it_may_play_and_a_consent_event_leads_to_it(centre: Centre) -> None:
    await centre.start()
    kept = {path.name for path in (centre.recordings / "prompts").iterdir()}
    assert kept == {digest(path) for path in PROMPTS.rglob("*.wav")}
    await centre.asks(keys="2")
    assert {row.sha256 for row in (await centre.whole()).prompts} <= kept
