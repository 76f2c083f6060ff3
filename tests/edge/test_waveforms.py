"""What is drawn of a recording: silent where it is (PR-11), kept beside it, and shown to who hears it (LL-01)."""

from __future__ import annotations

import wave
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import httpx2
import numpy as np
import pytest

from recorder import catalogue
from recorder.catalogue import Catalogue, open_catalogue
from recorder.model import RecordingAuthorised, RecordingId, RecordingStatus, SilenceCause, Silenced
from recorder.quality import waveform_of
from recorder.rights import Role, UserAction
from recorder.silences import SILENCE_TAIL, spans_to_keep
from recorder.storage import LegFile, Spool, Storage
from recorder.waveform import Waveform
from tests import facts
from tests.edge.centre import Centre, look, until
from tests.edge.test_catalogue import opened_call, settled_recording
from tests.edge.test_listening import WHY, listener, opens, passes, recorded, rows
from tests.edge.visitors import enters, program, signed_in, token_of
from tests.edge.visitors import opens as page_of
from tests.facts import later, user_act

DRAWN = Waveform(window_ms=300, caller=bytes(range(129)), agent=b"\0" * 129, silences=((0, 2500),), talk_overs=())
RATE = 8000


@pytest.fixture
def centre(sqlite_centre: Centre) -> Centre:
    return sqlite_centre


# --------------------------------------------------------------------------- of the sound (PR-11)


@pytest.mark.parametrize("cause", list(SilenceCause))
def test_of_what_was_paused_or_held_no_peak_is_drawn(tmp_path: Path, cause: SilenceCause) -> None:
    """Asterisk wrote on: what the caller read out is in the spool, and in nothing that is made of it."""
    for name in ("spool", "recordings"):
        (tmp_path / name).mkdir(mode=0o700)
    spool = Spool(tmp_path / "spool")
    storage, recording, at = Storage(tmp_path / "recordings", spool), RecordingId(uuid4()), later(0)
    for leg in LegFile:
        with wave.open(str(spool.path(recording, leg)), "wb") as staged:
            staged.setparams((1, 2, RATE, 0, "NONE", ""))
            staged.writeframes(np.tile(np.array([9000, -9000], "<i2"), 30 * RATE // 2).tobytes())
    ledger = (Silenced(cause=cause, from_seconds=10, to_seconds=20),)
    storage.settle(recording, at, spans=spans_to_keep(ledger, None))
    found = waveform_of(storage.measure(recording, at))
    silent = slice(10_000 // found.window_ms, round((20 - SILENCE_TAIL) * 1000) // found.window_ms)
    for peaks in (found.caller, found.agent):
        assert (len(peaks), set(peaks[silent])) == (300, {0})
        assert min(peaks[: silent.start - 1] + peaks[silent.stop + 3 :]) > 30
    assert found.talk_overs[0][1] <= 10_000
    assert found.talk_overs[1][0] >= round((20 - SILENCE_TAIL) * 1000)


# --------------------------------------------------------------------------- kept, on both engines


async def analysed(store: Catalogue) -> RecordingAuthorised:
    recording = await settled_recording(store, await opened_call(store))
    await store.write_analysis(recording.id, later(70), {}, [], DRAWN)
    return recording


async def test_what_was_drawn_is_read_as_it_was_written_and_the_last_counts(store: Catalogue) -> None:
    recording = await analysed(store)
    assert await store.waveform(recording.id) == DRAWN
    again = replace(DRAWN, window_ms=100, caller=b"\5", agent=b"\6", silences=(), talk_overs=((1, 2), (3, 4)))
    await store.write_analysis(recording.id, later(80), {}, [], again)
    assert await store.waveform(recording.id) == again


async def test_of_what_was_not_analysed_nothing_is_drawn(store: Catalogue) -> None:
    recording = await settled_recording(store, await opened_call(store))
    assert await store.waveform(recording.id) is None
    await store.write_analysis(recording.id, later(70), {}, [])
    assert await store.waveform(recording.id) is None


async def test_of_what_is_erased_no_peak_is_left(store: Catalogue, catalogue_url: str) -> None:
    recording = await analysed(store)
    status = RecordingStatus
    erasing = facts.changed(recording, status.SETTLED, status.ERASING, 80)
    await store.write_facts([erasing, facts.changed(recording, status.ERASING, status.ERASED, 81)])
    assert await store.waveform(recording.id) is None
    ((caller, agent, silences),) = look(
        catalogue_url, "SELECT length(caller), length(agent), CAST(silences AS TEXT) FROM waveforms"
    )
    assert (caller, agent, silences) == (0, 0, "[]")


async def test_what_was_drawn_stays_on_the_way_back_and_of_what_was_erased_meanwhile_it_goes(
    store: Catalogue, catalogue_url: str
) -> None:
    kept, erased = await analysed(store), await analysed(store)
    await store.close()
    catalogue.downgrade(catalogue_url, "0011")
    text = f"'{erased.id.hex}'" if catalogue_url.startswith("sqlite") else f"'{erased.id}'"
    look(catalogue_url, f"UPDATE recordings SET status = 'erased', erased_at = settled_at WHERE id = {text}")
    assert catalogue.upgrade(catalogue_url) == catalogue.newest()
    again = await open_catalogue(catalogue_url)
    found = [await again.waveform(one.id) for one in (kept, erased)]
    await again.close()
    assert found == [DRAWN, None]


# --------------------------------------------------------------------------- shown


async def drawn(centre: Centre, keys: str = "1") -> UUID:
    """A recording of a minute with a pause in it, once it was analysed."""
    if keys != "1":
        return await recorded(centre, keys)
    talk = await centre.asks()
    centre.connects(talk)
    await centre.until_talking()
    await centre.until_capture("running")
    for act, muted in (("pause", True), ("resume", False)):
        centre.marks(talk, act)
        await until(lambda muted=muted: centre.mixes[-1].muted is muted)  # type: ignore[misc]
    centre.mixes[-1].seconds = 60
    centre.hangs_up(talk)
    assert await centre.outcome() == ("recorded", None)
    await until(lambda: centre.rows("SELECT 1 FROM waveforms"), "the analysis")
    return UUID(str((await centre.recording()).id))


def at(opened: httpx2.Response) -> str:
    return f"/api/v1/listens/{opened.json()['listen']}/waveform"


async def test_who_has_opened_a_listening_sees_how_loud_it_is_and_what_is_marked(centre: Centre) -> None:
    recording = await drawn(centre)
    async with program(centre, await listener(centre, Role.SUPERVISOR)) as client:
        opened = await opens(client, recording)
        answer = await client.get(at(opened))
        sound = await client.get(opened.json()["audio"])
    found = answer.json()
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert (found["duration_ms"], found["window_ms"], len(found["caller"]), len(found["agent"])) == (
        60_000,
        100,
        600,
        600,
    )
    assert (found["caller"][-1], found["agent"][-1]) == (1000 >> 8, 2000 >> 8)
    (silence,) = (await centre.recording()).silences
    (pause,) = (region for region in found["regions"] if region["kind"] == "pause")
    assert (pause["from_ms"], pause["to_ms"]) == (
        round(silence.from_seconds * 1000),
        round(silence.to_seconds * 1000),
    )
    assert sound.status_code == 200


async def test_nobody_sees_it_before_the_row_or_without_one(centre: Centre) -> None:
    recording = await drawn(centre)
    async with program(centre, await listener(centre, Role.SUPERVISOR)) as client:
        for unknown in (recording, uuid4()):
            assert (await client.get(f"/api/v1/listens/{unknown}/waveform")).status_code == 404
        seen = (await client.get(f"/api/v1/recordings/{recording}")).json()
        call = (await client.get(f"/api/v1/calls/{seen['call']}")).json()
        assert not {"caller", "agent", "regions", "waveform"} & {*seen, *call, *call["recordings"][0]}
        look(centre.url, "CREATE TRIGGER full BEFORE INSERT ON listens BEGIN SELECT RAISE(ABORT, 'disk full'); END")
        refused = await opens(client, recording)
        assert (refused.status_code, "listen" in refused.json()) == (503, False)
        assert centre.assembly.daemon.parts.listening._open == {}
    assert await rows(centre) == []


async def test_it_is_for_who_opened_it_alone_while_they_may_and_it_is_open(centre: Centre) -> None:
    recording = await drawn(centre)
    mine, another = [await listener(centre, Role.SUPERVISOR, name=name) for name in ("lena", "otto")]
    second = (await token_of(centre, "lena"))[1]
    async with program(centre, mine) as client, program(centre, another) as stranger, program(centre, second) as other:
        path = at(await opens(client, recording))
        answers = [(await one.get(path)).status_code for one in (stranger, other, client)]
        assert answers == [404, 404, 200]
        taken = replace(user_act(UserAction.REVOKED, "lena", line="support"), role=Role.SUPERVISOR)
        await centre.catalogue.write_user_acts([taken])
        assert (await client.get(path)).status_code == 403
        passes(centre, timedelta(seconds=61))
        assert (await client.get(path)).status_code == 404


async def test_to_look_at_it_prolongs_nothing(centre: Centre) -> None:
    recording = await drawn(centre)
    async with program(centre, await listener(centre, Role.SUPERVISOR)) as client:
        opened = await opens(client, recording)
        passes(centre, timedelta(seconds=50))
        assert (await client.get(at(opened))).status_code == 200
        passes(centre, timedelta(seconds=11))
        assert (await client.get(opened.json()["audio"])).status_code == 404


async def test_what_is_sealed_since_is_not_shown(centre: Centre) -> None:
    recording = await drawn(centre)
    async with program(centre, await listener(centre, Role.SUPERVISOR)) as client:
        path = at(await opens(client, recording))
        look(centre.url, "UPDATE recordings SET sealed = 1")
        assert (await client.get(path)).status_code == 403


async def test_of_what_was_not_drawn_the_books_marks_are_shown_all_the_same(centre: Centre) -> None:
    recording = await drawn(centre)
    look(centre.url, "DELETE FROM waveforms")
    async with program(centre, await listener(centre, Role.SUPERVISOR)) as client:
        found = (await client.get(at(await opens(client, recording)))).json()
    assert (found["caller"], found["agent"], found["window_ms"]) == ([], [], 0)
    assert [region["kind"] for region in found["regions"]] == ["pause"]


# --------------------------------------------------------------------------- on the page


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", ("Skip silence", "Repeat from here", "nobody speaks", "both speak", "on hold", "1.25×", "{at} of")),
        ("fr", ("Sauter les silences", "Répéter à partir d’ici", "personne ne parle", "1,25×", "{at} sur")),
    ],
)
async def test_the_page_has_all_that_the_player_says_and_plays_without_it(
    centre: Centre, language: str, words: tuple[str, ...]
) -> None:
    recording = await drawn(centre)
    await enters(centre, "sam", Role.SUPERVISOR)
    async with signed_in(centre, "sam") as client:
        client.headers["Accept-Language"] = language
        before = await page_of(client, "/calls")
        begun = await client.post(f"/recordings/{recording}/listen", data=WHY | {"stamp": before.stamp})
        call, _, listen = begun.headers["location"].partition("?listen=")
        idle, playing = await page_of(client, call), await page_of(client, begun.headers["location"])
        script = await client.get("/static/player.js")
        found = await client.get(f"/api/v1/listens/{listen}/waveform")
    assert ("waveform" in idle.text, "player.js" in idle.text) == (False, False)
    assert f'data-from="/api/v1/listens/{listen}/waveform"' in playing.text
    assert all(word in playing.text for word in words)
    assert (script.status_code, script.headers["content-type"].partition(";")[0]) == (200, "text/javascript")
    assert found.status_code == 200
    opening = playing.text[playing.text.index('<div class="player"') :].partition(">")[0]
    assert " hidden " in opening  # until the script shows it
    assert "<audio controls" in playing.text
    assert [part for part in ("style=", "<style", "onclick=") if part in playing.text] == []
