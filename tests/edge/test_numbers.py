"""Calls are found by a number of which the catalogue holds nothing but a keyed digest, refusals too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from recorder.__main__ import app
from recorder.catalogue import CatalogueAway, newest
from recorder.numbers import NumberKey
from recorder.settings import SettingsMistaken, settings_from
from tests import facts
from tests.edge.centre import Centre, until
from tests.edge.test_migrations import moved_to
from tests.fakes.pbx import FakePbx

pytestmark = pytest.mark.usefixtures("no_task_left")

SECRET = "s" * 43
NUMBER = b"15551234567"  # of every caller of the fakes
KEY = NumberKey(secret=SECRET.encode())


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    file = tmp_path / "number.key"
    file.write_text(f"{SECRET}\n")
    file.chmod(0o600)
    return file


@pytest.fixture
async def centre(catalogue_url: str, tmp_path: Path) -> AsyncIterator[Centre]:
    async with AsyncExitStack() as closing:
        made = Centre(await closing.enter_async_context(FakePbx()), tmp_path, catalogue_url)
        closing.push_async_callback(made.kill)
        yield made


def files_with(what: bytes, folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and what in path.read_bytes()]


async def written(centre: Centre) -> list[tuple[str, ...]]:
    """The digests in the catalogue, once the sweep has had its turn."""
    while await centre.assembly.daemon.parts.numbers.look():
        pass
    return centre.rows("SELECT digest FROM numbers")


async def test_of_a_refusal_a_keyed_digest_is_kept_and_the_number_nowhere(
    centre: Centre, key_file: Path, tmp_path: Path
) -> None:
    centre.change("numbers", key_file=key_file)
    await centre.start()
    talk = await centre.asks(keys="2")
    assert await written(centre) == [(KEY.digest(NUMBER.decode()),)]
    await until(lambda: centre.rows("SELECT id FROM calls"), "the call to be written")
    found = await centre.catalogue.list_calls(10, numbers=KEY.digests("+1 555 123 4567"))
    assert [row.id for row in found] == [(await centre.call()).id]
    assert await centre.catalogue.list_calls(10, numbers=KEY.digests("+1 555 123 4568")) == ()
    centre.hangs_up(talk)
    assert await centre.outcome() == ("abandoned", None)
    assert files_with(NUMBER, tmp_path) == []
    assert [row for row in centre.rows("SELECT fields FROM call_events") if KEY.name in str(row)] == []


async def test_without_a_key_the_calls_go_on_and_no_digest_is_kept(centre: Centre) -> None:
    await centre.start()
    talk = await centre.asks(keys="1")
    assert await written(centre) == []
    centre.connects(talk)
    centre.hangs_up(talk)
    assert await centre.outcome() == ("recorded", None)


async def test_of_a_number_that_was_withheld_and_of_a_line_that_is_never_recorded_no_digest_is_kept(
    centre: Centre, key_file: Path
) -> None:
    centre.change("numbers", key_file=key_file)
    centre.change("line", quiet={"consent": "never"})
    await centre.start()
    for opening, line in ((b"callingpres: 35\n", "support"), (b"callingpres: 0\n", "quiet")):
        talk = centre.new_talk()
        visit = centre.visit(talk, line=line, keys="2")
        visit.opening = visit.opening.replace(b"callingpres: 0\n", opening)
        async with visit:
            await visit.until_over()
    assert await written(centre) == []


async def test_what_the_catalogue_cannot_take_waits_and_is_written_once(
    centre: Centre, key_file: Path, catalogue_url: str
) -> None:
    centre.change("numbers", key_file=key_file)
    await centre.start()
    numbers = centre.assembly.daemon.parts.numbers
    numbers.note(facts.new_call(), "first")
    assert await numbers.look() is False
    moved_to(catalogue_url, "9999")
    call = facts.new_call()
    for digest in ("second", "third", "third"):
        numbers.note(call, digest)
    with pytest.raises(CatalogueAway):
        await numbers.look()
    moved_to(catalogue_url, newest())
    assert sorted(await written(centre)) == [("first",), ("second",), ("third",)]


# --------------------------------------------------------------------------- the key, and the command


def settings_text(key_file: Path, url: str = "sqlite:////nowhere.db") -> str:
    return (
        '[ami]\nusername = "recorder"\nsecret = "s"\n'
        f'[catalogue]\nurl = "{url}"\n[numbers]\nkey_file = "{key_file}"\nregion = "US"\n'
    )


@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [
        (SECRET, 0o640, "is open to others than its owner: chmod 600 it"),
        (SECRET, 0o604, "is open to others than its owner"),
        ("short", 0o600, "is too short for a key: 32 characters at least"),
        ("", 0o600, "is empty"),
        (None, 0, "cannot be read: No such file or directory"),
    ],
)
def test_a_key_that_is_none_is_a_mistake_of_the_settings_in_a_sentence(
    tmp_path: Path, content: str | None, mode: int, words: str
) -> None:
    file = tmp_path / "number.key"
    if content is not None:
        file.write_text(content)
        file.chmod(mode)
    with pytest.raises(SettingsMistaken) as mistaken:
        settings_from(settings_text(file), {}, source="recorder.toml")
    assert [mistake for mistake in mistaken.value.mistakes if "numbers.key_file" in mistake and words in mistake]
    assert SECRET not in str(mistaken.value)


async def test_calls_are_found_by_number_at_the_command_line(
    centre: Centre, key_file: Path, catalogue_url: str, tmp_path: Path
) -> None:
    centre.change("numbers", key_file=key_file)
    await centre.start()
    await centre.asks(keys="2")
    await written(centre)
    await until(lambda: centre.rows("SELECT id FROM calls"), "the call to be written")
    call = str((await centre.call()).id)
    await centre.stop()  # its log would stand in what the commands print
    (tmp_path / "recorder.toml").write_text(settings_text(key_file, catalogue_url))
    (tmp_path / "keyless.toml").write_text(settings_text(key_file, catalogue_url).partition("[numbers]")[0])

    def run(config: str, number: str) -> Result:
        return CliRunner().invoke(app, ["--config", str(tmp_path / config), "calls", "--number", number, "--json"])

    assert call in (await asyncio.to_thread(run, "recorder.toml", "(555) 123-4567")).stdout
    assert (await asyncio.to_thread(run, "recorder.toml", "555 123 4568")).stdout == "[]\n"
    keyless = await asyncio.to_thread(run, "keyless.toml", "555 123 4567")
    assert (keyless.exit_code, "no [numbers] key_file" in keyless.stderr) == (1, True)
    assert (await asyncio.to_thread(run, "recorder.toml", "alice")).exit_code == 2
