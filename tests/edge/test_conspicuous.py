"""Very many listenings within an hour, and one to a call of one's own, raise an alarm that names nobody (AC-07)."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from structlog.testing import capture_logs

from recorder.alarms import Alarm, AlarmKind, Standing
from recorder.catalogue import Catalogue, CatalogueError, LogSought
from recorder.listening import Listen, Listening
from recorder.listens import Conspicuous, ListenAct, ListenKind, Medium, Unheard
from recorder.model import RecordingId
from recorder.rights import Role, Seat, UserAction
from recorder.signing_in import Asker
from tests.core.test_listens import ACT
from tests.edge.centre import Centre, look
from tests.edge.test_listening import opens, recorded
from tests.edge.visitors import enters, program, token_of
from tests.facts import NODE, NOON, later, user_act
from tests.fakes.pbx import FakePbx

pytestmark = pytest.mark.usefixtures("no_task_left")
ALICE, BOB = "PJSIP/alice", "PJSIP/bob"
SEAT = Seat(node=NODE, interface=ALICE)


@pytest.fixture
async def centre(sqlite_template: Path, tmp_path: Path) -> AsyncIterator[Centre]:
    """In which nobody should open more than two recordings within an hour."""
    file = shutil.copyfile(sqlite_template, tmp_path / "catalogue.db")
    async with AsyncExitStack() as closing:
        pbx = await closing.enter_async_context(FakePbx())
        made = Centre(pbx, tmp_path, f"sqlite:///{file}", listening={"alarm_above": 2})
        closing.push_async_callback(made.kill)
        await made.start()
        yield made


async def hears(centre: Centre, recording: UUID, name: str = "lena", at: str | None = None, **said: object) -> int:
    """A supervisor wants to hear it; the status of the answer."""
    if not await centre.catalogue.user_acts(name):
        await enters(centre, name, Role.SUPERVISOR, at=at)
    async with program(centre, (await token_of(centre, name))[1]) as client:
        return (await opens(client, recording, **said)).status_code


async def alarm(centre: Centre) -> Alarm:
    """The alarm once all that was opened has been looked at."""
    parts = centre.assembly.daemon.parts
    await parts.listening.look()
    await parts.alarms.look()
    return parts.alarms.alarms.now[AlarmKind.LISTENING]


def opened(at: datetime, recording: UUID | None = None) -> ListenAct:
    """Lena has opened a recording, of another call."""
    return replace(ACT, id=uuid4(), listen=uuid4(), at=at, listener="lena", recording=RecordingId(recording or uuid4()))


async def test_more_recordings_within_an_hour_than_the_settings_allow_raise_the_alarm(centre: Centre) -> None:
    recording = await recorded(centre)
    now = centre.assembly.now()
    await centre.catalogue.write_listens([opened(now - timedelta(minutes=minutes)) for minutes in (2, 58)])
    with capture_logs() as logged:
        assert await hears(centre, recording) == 201
        raised = await alarm(centre)
        await hears(centre, recording)  # the same again, which is one of three still
        await alarm(centre)
    assert (raised.standing, raised.urgent) == (Standing.RAISED, False)
    rows = [row for row in logged if row["event"] == "listening_conspicuous"]
    assert [row["why"] for row in rows] == ["over_the_hours_limit"] * 2
    assert {row["listen"] for row in rows} <= {
        str(act.listen) for act in await centre.catalogue.listens(LogSought(), 9)
    }
    told = [row["text"] for row in logged if row["event"] == "alarm"]
    assert len(told) == 1
    assert "1 over_the_hours_limit" in told[0]
    assert "lena" not in str([row for row in logged if row["log_level"] != "debug"])


async def test_as_many_as_the_settings_allow_and_those_of_before_raise_none(centre: Centre) -> None:
    recording = await recorded(centre)
    now = centre.assembly.now()
    before = [now - timedelta(minutes=minutes) for minutes in (2, 61, 90)]
    await centre.catalogue.write_listens([opened(at) for at in before])
    await centre.catalogue.write_listens([replace(opened(now), listener="otto") for _ in range(5)])
    for _ in range(3):
        assert await hears(centre, recording) == 201
    assert await hears(centre, recording, explanation="") == 422  # a refusal is none
    assert (await alarm(centre)).standing is Standing.QUIET


async def test_whoever_hears_a_call_of_their_own_raises_the_alarm(centre: Centre) -> None:
    recording = await recorded(centre)
    assert await hears(centre, recording, "bob", BOB) == 201
    assert (await alarm(centre)).standing is Standing.QUIET
    assert await hears(centre, recording, "alice", ALICE) == 201
    raised = await alarm(centre)
    assert (raised.standing, dict(raised.counts)) == (Standing.RAISED, {"own_call": 1})


async def test_whoever_sits_at_its_telephone_only_now_raises_none(centre: Centre) -> None:
    recording = await recorded(centre)
    await enters(centre, "alice", Role.SUPERVISOR)
    seated = replace(user_act(UserAction.SEATED, "alice", at=ALICE), at=centre.assembly.now())
    await centre.catalogue.write_user_acts([seated])
    assert await hears(centre, recording, "alice") == 201
    assert (await alarm(centre)).standing is Standing.QUIET


async def test_what_could_not_be_looked_at_is_looked_at_once_the_catalogue_answers(centre: Centre) -> None:
    recording = RecordingId(await recorded(centre))
    await enters(centre, "alice", Role.SUPERVISOR, at=ALICE)
    (alice,) = [user for user in await centre.catalogue.who_sat_at([SEAT]) if user.name == "alice"]
    found: list[Conspicuous] = []
    made = centre.assembly
    mine = Listening(made.catalogue, made.storage, (), made.now, node=NODE, alarm_above=2, alarm=found.append)
    listen = await mine.open(Asker(user=alice), recording, Medium.STREAM, "training", "coaching of the week", "")
    assert isinstance(listen, Listen)
    look(centre.url, "ALTER TABLE legs RENAME TO gone")
    with pytest.raises(CatalogueError):
        await mine.look()
    assert found == []
    look(centre.url, "ALTER TABLE gone RENAME TO legs")
    for _ in range(2):
        await mine.look()
    assert found == [Conspicuous.OWN_CALL]
    await mine.close()


# --------------------------------------------------------------------------- the count, on both engines


async def test_recordings_that_somebody_opened_are_counted_each_once_within_the_time(store: Catalogue) -> None:
    same = uuid4()
    acts = [opened(later(minute * 60), same if minute in (3, 4) else None) for minute in range(6)]
    refused = replace(opened(later(60)), kind=ListenKind.REFUSED, why=Unheard.SEALED)
    sent = replace(opened(later(60)), kind=ListenKind.SENT, began_ms=0, ended_ms=9)
    await store.write_listens([*acts, refused, sent, replace(opened(later(60)), listener="otto")])
    assert await store.recordings_opened("lena", NOON, later(300)) == 4
    assert await store.recordings_opened("lena", later(-1), later(299)) == 4
    assert await store.recordings_opened("otto", NOON, later(300)) == 1
    assert await store.recordings_opened("eve", NOON, later(300)) == 0
