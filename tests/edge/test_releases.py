"""A line of which settings once said `never` stays so, whatever they say later, until two people release it (MS-01)."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, text
from structlog.testing import capture_logs
from typer.testing import CliRunner, Result

from recorder import catalogue
from recorder.__main__ import app
from recorder.catalogue import Catalogue, CatalogueError, CatalogueRefused, open_catalogue, tables
from recorder.catalogue import users as people
from recorder.daemon import LineWatch
from recorder.daemon.readiness import LINES_NOT_READ, Readiness
from recorder.doctor import Examination
from recorder.fallback import context_name
from recorder.fallback_file import written
from recorder.model import ConsentMode
from recorder.policy import LinePolicy
from recorder.releases import ReleaseAct, ReleaseAction
from recorder.releases import releases as releases_after
from recorder.rights import ANYBODY, Role, UserAct, UserAction
from recorder.settings import load, settings_from
from recorder.signing_in import FAILURES_MOST
from tests.edge.centre import Centre, look, until
from tests.edge.test_catalogue import say
from tests.edge.test_catalogue_limits import grant
from tests.edge.test_fallback import LINES as ASKED_WITHOUT_US
from tests.edge.test_fallback import Asterisk
from tests.edge.visitors import SECRET, set_password
from tests.facts import NODE, NOON, RELEASE, UNTIL, later, release_act, user_act
from tests.fakes.pbx import FakePbx

pytestmark = pytest.mark.usefixtures("no_task_left")

ASKED, APPROVED, REFUSED, ENDED = ReleaseAction
KEPT = LinePolicy(line="support", settings='{"consent":"never","kept_unrecorded":true}')
OLDER = LinePolicy(line="support", settings='{"consent":"never"}')


def granted(name: str, role: Role, line: str = "support") -> list[UserAct]:
    """Somebody who is entered, and is that on the line."""
    return [user_act(UserAction.ADDED, name), replace(user_act(UserAction.GRANTED, name, line=line), role=role)]


PEOPLE = [*granted("alice", Role.ADMINISTRATOR), *granted("bob", Role.PRIVACY_OFFICER)]


async def kept(store: Catalogue, *acts: ReleaseAct) -> None:
    """Settings of some time said never of line support; then came these acts."""
    await store.write_policies(NODE, NOON, "1.0", [KEPT])
    await store.write_user_acts(PEOPLE)
    for act in acts:
        await store.write_release_act(act)


# --------------------------------------------------------------------------- the daemon


def soon(action: ReleaseAction = ASKED, **said: Any) -> ReleaseAct:
    """Done now, by the clock of the machine."""
    now = datetime.now(UTC)
    return release_act(action, at=now, until=now + timedelta(days=1), **said)


@pytest.fixture
async def centre(catalogue_url: str, tmp_path: Path) -> AsyncIterator[Centre]:
    """Its line support is kept unrecorded from before, and its settings say opt_in; line sales was always asked."""
    store = await open_catalogue(catalogue_url)
    await kept(store)
    await store.close()
    async with AsyncExitStack() as closing:
        made = Centre(await closing.enter_async_context(FakePbx()), tmp_path, catalogue_url)
        closing.push_async_callback(made.kill)
        yield made


async def talks(centre: Centre, line: str = "support") -> tuple[str, str | None, str]:
    """A caller who would agree talks with an agent: outcome, reason, and the text that was in force."""
    before = {row.id for row in await centre.catalogue.list_calls(100)}
    talk = await centre.asks(line=line)
    centre.connects(talk, queue=line)
    await centre.until_talking()
    centre.hangs_up(talk)
    await centre.until_closed(len(before) + 1)
    (row,) = [row for row in await centre.catalogue.list_calls(100) if row.id not in before]
    event = (await centre.catalogue.list_consents(1, call=row.id))[0]
    (policy,) = await centre.catalogue.policies_named([event.policy])
    return str(row.outcome), row.reason, policy.settings


async def until_mode(centre: Centre, mode: ConsentMode, line: str = "support") -> None:
    """The daemon's own next look, which comes at once."""
    parts = centre.assembly.daemon.parts
    centre.assembly.daemon.sweeps["policies"].bell.set()
    await until(lambda: parts.lines[line].mode is mode, f"the line to be {mode}")


@pytest.mark.parametrize("said", [{"consent": "opt_in"}, {"consent": "notice"}, {}], ids=["opt_in", "notice", "unset"])
async def test_a_line_that_was_never_recorded_stays_so_under_other_settings(
    catalogue_url: str, tmp_path: Path, said: dict[str, str]
) -> None:
    async with AsyncExitStack() as closing:
        centre = Centre(await closing.enter_async_context(FakePbx()), tmp_path, catalogue_url)
        closing.push_async_callback(centre.kill)
        await centre.start()  # its line private says never
        await centre.kill()
        centre.change("line", private=said)
        await centre.start()
        outcome, reason, policy = await talks(centre, "private")
        assert (outcome, reason, centre.mixes) == ("excluded", None, [])
        assert json.loads(policy).get("applies", {}).get("consent", "never") == "never"


async def test_a_line_that_never_said_so_in_so_many_words_is_opened_by_its_settings(
    catalogue_url: str, tmp_path: Path
) -> None:
    async with AsyncExitStack() as closing:
        centre = Centre(await closing.enter_async_context(FakePbx()), tmp_path, catalogue_url)
        closing.push_async_callback(centre.kill)
        centre.change("line", private={})
        await centre.start()
        assert (await talks(centre, "private"))[0] == "excluded"
        await centre.kill()
        centre.change("line", private={"consent": "opt_in", "answer_seconds": 1, "retries": 0})
        await centre.start()
        assert (await talks(centre, "private"))[0] == "recorded"


async def test_on_a_line_that_is_held_nobody_is_asked_and_the_text_in_force_says_so(centre: Centre) -> None:
    with capture_logs() as logged:
        await centre.start()
    held = [row for row in logged if row["event"] == "line_held" and row["log_level"] == "warning"]
    assert [(row["line"], row["settings"]) for row in held] == [("support", "opt_in")]
    talk = await centre.asks()
    assert talk.visit is not None
    assert talk.visit.received("STREAM FILE") == []
    centre.connects(talk)
    centre.hangs_up(talk)
    assert await centre.outcome() == ("excluded", None)
    assert centre.mixes == []
    (event,) = await centre.catalogue.list_consents(10)
    (policy,) = await centre.catalogue.policies_named([event.policy])
    assert json.loads(policy.settings)["applies"] == {
        "consent": "never",
        "why": "kept unrecorded, and not released",
    }
    assert (await talks(centre, "sales"))[0] == "recorded"


async def test_a_line_that_is_held_stands_in_the_status_and_the_recorder_is_ready(centre: Centre) -> None:
    await centre.start()
    status = await centre.assembly.status()
    assert centre.reasons == ()
    (told,) = [reason for reason in status.reasons if "kept unrecorded" in reason]
    assert told.startswith("line support stays never recorded: its settings say opt_in")
    assert "recorder line release" in told


async def test_a_release_counts_without_a_restart_and_each_consent_event_tells_on_what_it_stands(
    centre: Centre,
) -> None:
    await centre.start()
    asked = soon(reference="Act 12, s. 3")
    await centre.catalogue.write_release_act(asked)
    await centre.assembly.daemon.parts.lines.look()
    assert (await talks(centre))[0] == "excluded"  # one person's word is not enough
    await centre.catalogue.write_release_act(soon(APPROVED))
    await until_mode(centre, ConsentMode.OPT_IN)
    outcome, _, policy = await talks(centre)
    assert outcome == "recorded"
    assert asked.until is not None
    assert json.loads(policy)["applies"]["release"] == {
        "id": str(RELEASE),
        "reference": "Act 12, s. 3",
        "until": asked.until.isoformat(),
        "asked_by": "alice",
        "approved_by": "bob",
    }
    assert not any("kept unrecorded" in reason for reason in (await centre.assembly.status()).reasons)


async def test_a_release_that_is_ended_counts_no_more_without_a_restart(centre: Centre) -> None:
    await centre.start()
    for act in (soon(), soon(APPROVED)):
        await centre.catalogue.write_release_act(act)
    await until_mode(centre, ConsentMode.OPT_IN)
    await centre.catalogue.write_release_act(soon(ENDED, by="alice"))
    await until_mode(centre, ConsentMode.NEVER)
    assert (await talks(centre))[0] == "excluded"


async def test_a_release_ends_with_its_time_though_nothing_is_read_and_who_was_asked_before_is_captured_on(
    centre: Centre,
) -> None:
    await centre.start()
    for act in (soon(), soon(APPROVED)):
        await centre.catalogue.write_release_act(act)
    await until_mode(centre, ConsentMode.OPT_IN)
    before = await centre.asks()
    centre.connects(before)
    await centre.until_capture("running")
    lines = centre.assembly.daemon.parts.lines
    with unreadable(centre.url):
        lines._now = lambda: datetime.now(UTC) + timedelta(days=2)
        assert lines["support"].mode is ConsentMode.NEVER
    centre.hangs_up(before)
    assert await centre.outcome() == ("recorded", None)
    assert (await talks(centre))[0] == "excluded"


@contextmanager
def unreadable(url: str) -> Iterator[None]:
    """Nobody can tell which lines are kept unrecorded; all else of the catalogue can be read and written."""
    look(url, "ALTER TABLE policies RENAME TO elsewhere")
    try:
        yield
    finally:
        look(url, "ALTER TABLE elsewhere RENAME TO policies")


async def test_until_it_was_read_which_lines_are_kept_nothing_is_captured_and_nobody_waits(centre: Centre) -> None:
    with unreadable(centre.url), capture_logs() as logged:
        await centre.start(ready=False)
        await until(lambda: centre.reasons == (LINES_NOT_READ,), "all else to be ready")
        talk = await centre.asks()
        assert talk.visit is not None
        assert talk.visit.received("STREAM FILE") == []
        centre.connects(talk)
        centre.hangs_up(talk)
        assert await centre.outcome() == ("lost", "catalogue_away")
        assert centre.mixes == []
    assert "lines_not_read" in [row["event"] for row in logged]
    centre.assembly.daemon.sweeps["policies"].bell.set()
    await centre.until_ready()
    assert (await talks(centre))[0] == "excluded"
    assert (await talks(centre, "sales"))[0] == "recorded"


async def test_before_it_was_read_no_text_of_a_line_that_is_asked_counts_as_the_one_in_force(store: Catalogue) -> None:
    await kept(store)
    text = (
        '[ami]\nusername = "u"\nsecret = "s"\n[line.support]\nconsent = "opt_in"\n[line.private]\nconsent = "never"\n'
    )
    watch = LineWatch(store, settings_from(text, {}, source="x").said(), Readiness(), lambda: NOON)
    assert [policy.line for policy in watch.policies] == ["private"]
    await watch.look()
    assert [(policy.line, "applies" in policy.settings) for policy in watch.policies] == [
        ("support", True),
        ("private", False),
    ]


async def test_what_another_node_keeps_unrecorded_is_so_on_this_one_within_a_look(centre: Centre) -> None:
    await centre.start()
    assert (await talks(centre, "sales"))[0] == "recorded"
    there = LinePolicy(line="sales", settings=KEPT.settings)
    await centre.catalogue.write_policies("pbx2", later(5), "1.0", [there])
    await until_mode(centre, ConsentMode.NEVER, "sales")
    assert (await talks(centre, "sales"))[0] == "excluded"


async def test_a_line_goes_back_to_never_though_settings_that_it_had_before_are_kept_already(centre: Centre) -> None:
    """Texts are kept once: which of them was the last to be in force does not tell what a line is."""
    await centre.start()
    for act in (soon(), soon(APPROVED)):
        await centre.catalogue.write_release_act(act)
    await until_mode(centre, ConsentMode.OPT_IN)
    await centre.kill()
    centre.change("line", support={"consent": "never"})
    await centre.start()
    await centre.catalogue.write_release_act(soon(ENDED))
    await centre.kill()
    centre.change("line", support={"consent": "opt_in"})
    await centre.start()
    assert (await talks(centre))[0] == "excluded"


async def test_where_no_line_is_asked_nothing_is_waited_for(catalogue_url: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as closing:
        centre = Centre(await closing.enter_async_context(FakePbx()), tmp_path, catalogue_url)
        closing.push_async_callback(centre.kill)
        centre.change("line", support={}, sales={}, private={"consent": "never"})
        with unreadable(catalogue_url):
            await centre.start(ready=False)
            await centre.until_ready()


# --------------------------------------------------------------------------- asked by the dialplan


@pytest.fixture
async def asterisk(catalogue_url: str, tmp_path: Path) -> AsyncIterator[Asterisk]:
    """The daemon has run before and is gone; the dialplan asks the callers of line support."""
    async with AsyncExitStack() as closing:
        pbx = await closing.enter_async_context(FakePbx())
        centre = Centre(pbx, tmp_path, catalogue_url, line=ASKED_WITHOUT_US)
        closing.push_async_callback(centre.kill)
        centre.queue_log.write_text("1|NONE|NONE|NONE|QUEUESTART|\n")
        await centre.start()
        await centre.stop()
        yield Asterisk(centre, int(time.time()) - 60)


async def from_now_on(centre: Centre, *acts: ReleaseAct) -> None:
    """Line support is kept unrecorded, and this was done to a release of it."""
    store = await open_catalogue(centre.url)
    await kept(store, *acts)
    await store.close()


@pytest.mark.parametrize("is_released", [False, True], ids=["held", "released"])
async def test_what_the_dialplan_asked_on_a_line_that_is_kept_unrecorded_is_erased(
    asterisk: Asterisk, is_released: bool
) -> None:
    centre = asterisk.centre
    await from_now_on(centre, *((soon(), soon(APPROVED)) if is_released else ()))
    asterisk.note()
    asterisk.connects()
    asterisk.ends()
    asterisk.hangs_up()
    await centre.start()
    assert await centre.outcome() == ("excluded", None)
    await until(lambda: not centre.staged(), "the spool to be empty")
    assert centre.settled() == []
    assert centre.assembly.daemon.parts.lines["support"].mode == ("opt_in" if is_released else "never")


@pytest.mark.parametrize("is_kept", [False, True], ids=["asked", "kept unrecorded"])
async def test_what_the_dialplan_asked_is_judged_once_it_is_known_which_lines_are_kept(
    asterisk: Asterisk, is_kept: bool
) -> None:
    centre = asterisk.centre
    if is_kept:
        await from_now_on(centre)
    asterisk.at = int(time.time()) - 4
    with unreadable(centre.url), capture_logs() as logged:
        await centre.start(ready=False)
        await until(lambda: centre.reasons == (LINES_NOT_READ,), "all else to be ready")
        asterisk.note(told=True)
        asterisk.connects()
        await until(lambda: "resynchronise_failed" in [row["event"] for row in logged], "the queue log to be read")
        assert await centre.catalogue.list_calls(10) == ()
    centre.assembly.daemon.sweeps["policies"].bell.set()
    await centre.until_ready()
    await until(lambda: centre.runners, "the call")
    assert asterisk.mix is not None
    if is_kept:
        await until(lambda: asterisk.mix is not None and not asterisk.mix.open, "the end of the capture")
    asterisk.mix.seconds = 60
    centre.hangs_up(asterisk.talk)
    assert await centre.outcome() == (("excluded", None) if is_kept else ("recorded", None))
    await until(lambda: not centre.staged(), "the spool to be empty")


async def test_a_call_that_nobody_saw_is_judged_once_it_is_known_which_lines_are_kept(asterisk: Asterisk) -> None:
    """By its settings it would be lost, and wake somebody."""
    centre = asterisk.centre
    await from_now_on(centre)
    asterisk.connects()
    asterisk.ends()
    asterisk.hangs_up()
    with unreadable(centre.url):
        await centre.start(ready=False)
        await until(lambda: centre.reasons == (LINES_NOT_READ,), "all else to be ready")
        reconcile = centre.assembly.daemon.sweeps["reconcile"]
        failed = reconcile.failures
        reconcile.bell.set()
        await until(lambda: reconcile.failures > failed, "the sweep to wait for it")
        assert await centre.catalogue.list_calls(10) == ()
    centre.assembly.daemon.sweeps["policies"].bell.set()
    await centre.until_ready()
    reconcile.bell.set()
    assert await centre.outcome() == ("excluded", None)


async def test_a_line_that_asterisk_would_ask_though_it_is_kept_unrecorded_stands_in_the_status(
    asterisk: Asterisk,
) -> None:
    centre = asterisk.centre
    await from_now_on(centre, soon(), soon(APPROVED))
    assert written(centre.assembly.settings, "22.10.1").left_out == ()
    made = written(centre.assembly.settings, "22.10.1", {"support"})
    assert (made.left_out, set(made.contexts)) == (("support",), {"announced"})
    centre.pbx.functions[f"DIALPLAN_EXISTS({context_name('support')},s,1)"] = "1"
    await centre.start()
    watch = centre.assembly.daemon.parts.fallback
    await until(lambda: watch.warnings, "the look")
    told = [warning for warning in watch.warnings if "line support" in warning]
    assert [warning.partition(":")[0] for warning in told] == [
        "line support is kept unrecorded, and asked while the recorder is away"
    ]
    centre.pbx.functions.clear()
    await watch.look()
    assert not any("line support" in warning for warning in watch.warnings)


# --------------------------------------------------------------------------- in the catalogue


async def test_never_in_so_many_words_keeps_a_line_and_nothing_else_does(store: Catalogue) -> None:
    lines = ("support", "sales", "private")
    await store.write_policies(NODE, NOON, "0.9", [OLDER])
    await store.write_policies(NODE, NOON, "1.0", [LinePolicy(line="sales", settings='{"keptXunrecorded":true}')])
    assert await store.kept_unrecorded(lines) == frozenset()
    await store.write_policies("pbx2", later(5), "1.0", [KEPT])
    await store.write_policies(NODE, later(9), "1.0", [LinePolicy(line="support", settings='{"consent":"opt_in"}')])
    assert await store.kept_unrecorded(lines) == {"support"}
    assert await store.kept_unrecorded(["sales"]) == frozenset()


async def test_what_is_done_to_a_release_is_kept_once_and_read_as_it_was(store: Catalogue) -> None:
    acts = [release_act(), release_act(APPROVED), release_act(ENDED)]
    await kept(store, *acts)
    for act in acts:
        await store.write_release_act(act)  # saying it again is right
    assert await store.release_acts() == tuple(acts)
    assert await store.release_acts(["support"]) == tuple(acts)
    assert await store.release_acts(["sales"]) == ()


@pytest.mark.parametrize(
    ("act", "why"),
    [
        (release_act(by="mallory", key=uuid4()), "nobody is entered as mallory"),
        (release_act(by="bob", key=uuid4()), "bob may not ask"),
        (release_act(key=uuid4(), line="sales"), "may not ask"),
        (release_act(APPROVED, by="alice"), "takes a privacy officer"),
        (release_act(APPROVED, at=UNTIL), "that time has passed"),
        (release_act(REFUSED, key=uuid4()), "there is no release"),
    ],
    ids=["nobody", "no administrator", "another line", "no officer", "too late", "no release"],
)
async def test_what_makes_no_sense_or_is_not_theirs_is_refused_and_nothing_written(
    store: Catalogue, act: ReleaseAct, why: str
) -> None:
    await kept(store, release_act())
    with pytest.raises(CatalogueRefused, match=why):
        await store.write_release_act(act)
    assert len(await store.release_acts()) == 1


async def test_a_line_that_nothing_keeps_is_not_released(store: Catalogue) -> None:
    await store.write_policies(NODE, NOON, "0.9", [OLDER])
    await store.write_user_acts(PEOPLE)
    with pytest.raises(CatalogueRefused, match="line support is not kept unrecorded"):
        await store.write_release_act(release_act())


async def past_the_rules(store: Catalogue, act: ReleaseAct) -> None:
    """Written by somebody who asks nobody."""
    await store.write(lambda connection: connection.execute(tables.release_acts.insert(), _values(act)))


REFUSAL = release_act(REFUSED)


def _values(act: ReleaseAct) -> dict[str, object]:
    return {name: getattr(act, name) for name in ReleaseAct.__slots__}


@pytest.mark.parametrize(
    "act",
    [
        release_act(APPROVED, by="alice"),
        replace(release_act(APPROVED, by="alice"), asker="carol"),
        replace(release_act(APPROVED), line="sales"),
        release_act(APPROVED, key=uuid4()),
        replace(release_act(APPROVED), reference="Act 12", until=UNTIL),
        replace(release_act(), id=uuid4()),
        replace(release_act(by="bob"), id=uuid4(), release=REFUSAL.id),
        replace(release_act(ENDED, by="alice"), id=UUID(int=5), release=UUID(int=5)),
        replace(release_act(key=uuid4()), reference=None),
        replace(release_act(key=uuid4()), until=None),
        replace(release_act(key=uuid4()), until=NOON),
        replace(release_act(key=uuid4()), asker="bob"),
    ],
    ids=[
        "by who asked",
        "by who asked, as if another had",
        "of another line",
        "of nothing that was asked for",
        "with terms of its own",
        "asked for twice",
        "asked for by another act",
        "of itself",
        "without a reference",
        "without an end",
        "over when it begins",
        "asked for as another",
    ],
)
async def test_the_database_itself_refuses_a_release_that_no_second_person_or_nobody_asked_for(
    store: Catalogue, act: ReleaseAct
) -> None:
    await kept(store, release_act(), REFUSAL)
    with pytest.raises(CatalogueRefused):
        await past_the_rules(store, act)


@pytest.mark.parametrize("action", [APPROVED, REFUSED, ENDED])
async def test_nothing_is_done_twice_to_a_release(store: Catalogue, action: ReleaseAction) -> None:
    await kept(store, release_act())
    await past_the_rules(store, release_act(action))
    with pytest.raises(CatalogueRefused):
        await past_the_rules(store, release_act(action, by="carol"))


@pytest.mark.parametrize("engine_name", ["sqlite"])
@pytest.mark.parametrize(
    ("place", "action"),
    [("seq + 1, id", "'ended'"), (f"seq, '{'0' * 32}'", "'ended'"), (f"seq + 1, '{'0' * 32}'", "action")],
    ids=["its id", "its number", "what was done"],
)
async def test_another_program_cannot_put_an_act_in_anothers_place(
    store: Catalogue, catalogue_url: str, place: str, action: str
) -> None:
    """Its connection has not what ours sets: that REPLACE runs the triggers of DELETE."""
    await kept(store, release_act(), release_act(APPROVED))
    act = f"at, 'carol', of_release, line, asker, {action}, reference, until FROM release_acts"
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        look(catalogue_url, f"REPLACE INTO release_acts SELECT {place}, {act} WHERE action = 'approved'")


async def test_a_word_of_a_newer_recorder_releases_nothing_and_hides_nothing_else(store: Catalogue) -> None:
    await kept(store, release_act())

    def newer(connection: Connection) -> None:
        is_sqlite = connection.dialect.name == "sqlite"
        if is_sqlite:
            connection.exec_driver_sql("PRAGMA ignore_check_constraints = 1")
        else:
            connection.exec_driver_sql("ALTER TABLE release_acts DROP CONSTRAINT ck_release_acts_action")
        connection.execute(
            text(
                "INSERT INTO release_acts (id, at, actor, of_release, line, asker, action) VALUES"
                " (:id, '2026-03-02 12:00:00+00:00', 'bob', :release, 'support', 'alice', 'waved through')"
            ),
            {"id": _key(UUID(int=3), is_sqlite), "release": _key(RELEASE, is_sqlite)},
        )

    await store.write(newer)
    (found,) = releases_after(await store.release_acts()).values()
    assert found.action is ASKED


def _key(key: UUID, is_sqlite: bool) -> object:
    return key.hex if is_sqlite else key


@pytest.mark.postgres
@pytest.mark.parametrize("engine_name", ["postgres"])
async def test_who_loses_a_right_at_the_same_moment_takes_turns_with_what_rests_on_it(catalogue_url: str) -> None:
    one, two = [await open_catalogue(catalogue_url) for _ in range(2)]
    disabled = threading.Event()

    def slowly(connection: Connection) -> None:
        people.add(connection, [user_act(UserAction.DISABLED, "bob")])
        disabled.set()
        connection.exec_driver_sql("SELECT pg_sleep(0.5)")  # not committed yet

    try:
        await kept(one, release_act())
        first = asyncio.create_task(one.write(slowly))
        assert await asyncio.to_thread(disabled.wait, 5)
        with pytest.raises(CatalogueRefused, match="bob is disabled"):
            await two.write_release_act(release_act(APPROVED))
        await first
    finally:
        for store in (one, two):
            await store.close()


@pytest.mark.postgres
@pytest.mark.parametrize("engine_name", ["postgres"])
async def test_the_daemons_own_account_may_add_to_a_release_and_change_nothing_of_it(catalogue_url: str) -> None:
    grant(catalogue_url, "recorder_app")
    store = await open_catalogue(catalogue_url.replace("postgres@", "recorder_app@"))
    try:
        await kept(store, release_act(), release_act(APPROVED))
        assert len(await store.release_acts()) == 2
        for statement in ("UPDATE release_acts SET actor = 'x'", "DELETE FROM release_acts"):
            with pytest.raises(CatalogueError, match="permission denied"):
                await say(store, statement)
    finally:
        await store.close()


async def test_what_was_done_stays_on_the_way_back_and_counts_again(catalogue_url: str) -> None:
    store = await open_catalogue(catalogue_url)
    await kept(store, release_act(), release_act(APPROVED))
    await store.close()
    assert catalogue.downgrade(catalogue_url, "0008") == "0008"
    assert catalogue.upgrade(catalogue_url) == catalogue.newest()
    store = await open_catalogue(catalogue_url)
    try:
        (found,) = releases_after(await store.release_acts()).values()
        assert (found.action, found.approver) == (APPROVED, "bob")
        assert await store.kept_unrecorded(["support"]) == {"support"}
        await store.write_release_act(release_act(ENDED))
    finally:
        await store.close()


# --------------------------------------------------------------------------- the command

TOMORROW = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=2)


class Cli:
    """`recorder` beside a catalogue: of its lines, support is kept unrecorded and says opt_in."""

    def __init__(self, home: Path, url: str) -> None:
        self.password = SECRET
        self.config = home / "recorder.toml"
        self.config.write_text(
            '[ami]\nusername = "recorder"\nsecret = "not used"\n[pbx]\ncli = ["false"]\n'
            f'[node]\nname = "pbx1"\n[catalogue]\nurl = "{url}"\n'
            '[line.support]\nconsent = "opt_in"\n[line.sales]\nconsent = "notice"\n'
            '[line.private]\nconsent = "never"\n[line.fresh]\n',
            encoding="utf-8",
        )

    def run(self, *words: str, exit_code: int = 0) -> Result:
        done = CliRunner().invoke(app, ["--config", str(self.config), *words], input=f"{self.password}\n")
        assert done.exit_code == exit_code, (done.stdout, done.stderr)
        return done

    def set_for(self, name: str) -> None:
        """An administrator gives them SECRET, which they have not changed yet."""
        self.run("user", "password", name, "--stdin")

    def line(self, *words: str, exit_code: int = 0) -> Result:
        return self.run("line", *words, exit_code=exit_code)

    def asks(self, *words: str) -> str:
        """The id of the release."""
        done = self.line("release", "support", "--reference", "Act 12, s. 3", "--until", f"{TOMORROW:%Y-%m-%d}", *words)
        return done.stdout.split()[0]

    def told(self) -> dict[str, Any]:
        return {row["line"]: row for row in json.loads(self.line("list", "--json").stdout)}


@pytest.fixture
def cli(catalogue_url: str, tmp_path: Path) -> Cli:
    async def begin() -> None:
        store = await open_catalogue(catalogue_url)
        await kept(store)
        for name in sorted({act.user for act in await store.user_acts()} - {ANYBODY}):
            await set_password(store, name, SECRET, datetime.now(UTC))
        await store.close()

    asyncio.run(begin())
    return Cli(tmp_path, catalogue_url)


def test_a_line_is_released_by_two_people_and_all_of_it_is_told(cli: Cli) -> None:
    before = cli.told()
    assert {line: (row["settings"], row["applies"], row["why"]) for line, row in before.items()} == {
        "support": ("opt_in", "never", "held"),
        "sales": ("notice", "notice", "settings"),
        "private": ("never", "never", "kept"),
        "fresh": ("never", "never", "settings"),
    }
    key = cli.asks("--by", "alice")
    assert [release["state"] for release in cli.told()["support"]["releases"]] == ["asked"]
    assert cli.told()["support"]["applies"] == "never"
    assert f"Line support is released until {TOMORROW:%Y-%m-%d} 00:00:00 UTC" in (
        cli.line("approve", key[:8], "--by", "bob").stdout
    )
    row = cli.told()["support"]
    assert (row["applies"], row["why"], row["release"]) == ("opt_in", "released", key)
    assert row["policy"] != before["support"]["policy"]
    (release,) = row["releases"]
    assert (release["asked_by"], release["approved_by"], release["reference"]) == ("alice", "bob", "Act 12, s. 3")
    shown = cli.line("list").stdout
    assert f"released until {TOMORROW:%Y-%m-%d} 00:00:00 UTC" in shown
    words = f"approved; asked for by alice, approved by bob, until {TOMORROW:%Y-%m-%d} 00:00:00 UTC; Act 12, s. 3"
    assert f"release {key[:8]} of line support: {words}" in " ".join(shown.split()).replace(key, key[:8])
    cli.line("end", key, "--by", "alice")
    assert (cli.told()["support"]["why"], cli.told()["support"]["releases"][0]["state"]) == ("held", "ended")
    assert "kept unrecorded, and not released" in cli.line("list").stdout


def test_whoever_releases_shows_by_their_password_who_they_are(cli: Cli) -> None:
    key = cli.asks("--by", "alice")
    cli.password = "what alice would guess"
    done = cli.line("approve", key, "--by", "bob", exit_code=1)
    assert "that is not the password of bob" in done.stderr
    cli.password = SECRET
    cli.set_for("bob")
    assert "somebody else has set the password of bob" in cli.line("approve", key, "--by", "bob", exit_code=1).stderr
    cli.password = "what alice would guess"
    for _ in range(FAILURES_MOST):
        cli.line("approve", key, "--by", "bob", exit_code=1)
    cli.password = SECRET
    assert "too many wrong passwords for bob" in cli.line("approve", key, "--by", "bob", exit_code=1).stderr
    assert cli.told()["support"]["why"] == "held"


@pytest.mark.parametrize("typed", ["4111 1111 1111 1111", "SIN 046 454 286"])
def test_a_reference_that_holds_what_may_not_be_kept_is_refused_before_anything_is_written(
    cli: Cli, catalogue_url: str, typed: str
) -> None:
    words = ("release", "support", "--reference", f"Act 12, {typed}", "--until", f"{TOMORROW:%Y-%m-%d}")
    done = cli.line(*words, "--by", "alice", exit_code=1)
    assert "nothing of it was kept" in done.stderr
    assert typed not in done.stderr
    assert cli.told()["support"]["releases"] == []
    assert look(catalogue_url, "SELECT count(*) FROM release_acts") == [(0,)]


def test_a_release_that_is_refused_or_taken_back_opens_nothing(cli: Cli) -> None:
    cli.line("refuse", cli.asks("--by", "alice"), "--by", "bob")
    cli.line("end", cli.asks("--by", "alice"), "--by", "alice")
    assert [release["state"] for release in cli.told()["support"]["releases"]] == ["ended", "refused"]
    assert cli.told()["support"]["why"] == "held"


def test_nobody_approves_what_they_have_asked_for_though_they_have_both_rights(cli: Cli, catalogue_url: str) -> None:
    async def both() -> None:
        store = await open_catalogue(catalogue_url)
        await store.write_user_acts(granted("alice", Role.PRIVACY_OFFICER)[1:])
        await store.close()

    asyncio.run(both())
    key = cli.asks("--by", "alice")
    assert "somebody else must approve" in cli.line("approve", key, "--by", "alice", exit_code=1).stderr
    assert cli.told()["support"]["applies"] == "never"


HALF: tuple[str, ...] = ("release", "support", "--reference", "Act 12")


@pytest.mark.parametrize(
    ("words", "exit_code", "why"),
    [
        ((*HALF, "--until", "2099-01-01", "--by", "alice"), 1, "a release lasts 366 days at the most"),
        ((*HALF, "--until", "2020-01-01", "--by", "alice"), 1, "that time has passed"),
        ((*HALF, "--until", "soon", "--by", "alice"), 2, "neither 2026-03-02 nor"),
        ((*HALF, "--by", "alice"), 2, "--until"),
        ((*HALF, "--until", f"{TOMORROW:%Y-%m-%d}", "--by", "mallory"), 1, "mallory: say who you are by --by"),
        ((*HALF, "--until", f"{TOMORROW:%Y-%m-%d}", "--by", "anybody"), 1, "anybody: say who you are by --by"),
        ((*HALF, "--until", f"{TOMORROW:%Y-%m-%d}", "--by", "bob"), 1, "that takes an administrator of it"),
        (("release", "gone", *HALF[2:], "--until", "2099-01-01"), 2, "there is no line gone"),
        (("approve", "0000", "--by", "bob"), 1, "There is no release 0000"),
        (("approve", "", "--by", "bob"), 1, "There is no release"),
    ],
)
def test_what_makes_no_sense_is_a_sentence_and_changes_nothing(
    cli: Cli, words: Sequence[str], exit_code: int, why: str
) -> None:
    done = cli.line(*words, exit_code=exit_code)
    assert why in " ".join(done.stderr.replace("│", " ").split())
    assert cli.told()["support"]["releases"] == []


def test_the_beginning_of_an_id_that_two_releases_have_is_not_enough(cli: Cli, catalogue_url: str) -> None:
    async def two() -> None:
        store = await open_catalogue(catalogue_url)
        for key in (UUID(int=1), UUID(int=2)):
            await store.write_release_act(release_act(key=key))
        await store.close()

    asyncio.run(two())
    assert "More than one release begins with 00" in cli.line("approve", "00", "--by", "bob", exit_code=1).stderr


def test_a_release_whose_time_is_over_is_told_as_over(cli: Cli, catalogue_url: str) -> None:
    async def long_ago() -> None:
        store = await open_catalogue(catalogue_url)
        for action in (ASKED, APPROVED):
            await store.write_release_act(
                release_act(action, at=NOON - timedelta(days=900), until=NOON - timedelta(days=890))
            )
        await store.close()

    asyncio.run(long_ago())
    (release,) = cli.told()["support"]["releases"]
    assert (release["state"], cli.told()["support"]["why"]) == ("over", "held")


def test_doctor_names_a_line_that_is_held_with_its_mend_and_one_that_is_released(cli: Cli) -> None:
    def lines() -> list[tuple[str, str]]:
        found = asyncio.run(Examination(load(cli.config, {})).run())
        return [(one.mark, one.what) for one in found if one.about == "lines"]

    held = "line support stays never recorded: its settings say opt_in, and it is kept unrecorded"
    assert ("note", held) in lines()
    assert ("ok", "support never, sales notice, private never, fresh never") in lines()
    cli.line("approve", cli.asks("--by", "alice"), "--by", "bob")
    assert ("ok", f"line support is released until {TOMORROW:%Y-%m-%d} 00:00 UTC") in lines()
    assert ("ok", "support opt_in, sales notice, private never, fresh never") in lines()
