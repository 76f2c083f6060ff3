"""Who may override is asked at the key; people are entered and granted by a command (OV-01)."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, text
from structlog.testing import capture_logs
from typer.testing import CliRunner, Result

from recorder.__main__ import app
from recorder.call import standing_with
from recorder.catalogue import Catalogue, CatalogueAway, CatalogueError, CatalogueRefused, open_catalogue, users
from recorder.commands.words import decisions
from recorder.daemon import reception
from recorder.model import Uniqueid
from recorder.rights import ANYBODY, EVERY_LINE, Denied, Seat, User, UserAct, UserAction
from tests.edge.centre import LINES, Centre, Talk, until
from tests.edge.test_catalogue import say
from tests.edge.test_catalogue_limits import grant
from tests.facts import NODE, override_for, user_act
from tests.fakes.pbx import FakePbx

pytestmark = pytest.mark.usefixtures("no_task_left")

ALICE = "PJSIP/alice"
ADDED, SEATED, GRANTED, REVOKED, DISABLED, ENABLED = UserAction
NOBODY_MAY = user_act(REVOKED, ANYBODY, line=EVERY_LINE)
IS_ENTERED = (user_act(ADDED), user_act(SEATED, at=ALICE))
MAY = user_act(GRANTED, line="support")


@pytest.fixture
async def centre(catalogue_url: str, tmp_path: Path) -> AsyncIterator[Centre]:
    async with AsyncExitStack() as closing:
        made = Centre(await closing.enter_async_context(FakePbx()), tmp_path, catalogue_url)
        closing.push_async_callback(made.kill)
        await made.start()
        yield made


async def refused(centre: Centre) -> Talk:
    """Somebody who refused talks with alice."""
    talk = await centre.asks(keys="2")
    centre.connects(talk)
    await centre.until_talking()
    return talk


# --------------------------------------------------------------------------- at the key


@pytest.mark.parametrize(
    ("acts", "user", "why"),
    [
        ([], None, Denied.UNKNOWN),
        ([*IS_ENTERED], "alice", Denied.NOT_GRANTED),
        ([*IS_ENTERED, user_act(GRANTED, line="sales")], "alice", Denied.NOT_GRANTED),
        ([*IS_ENTERED, MAY, user_act(DISABLED)], "alice", Denied.DISABLED),
    ],
)
async def test_who_has_no_right_to_override_captures_nothing_and_that_it_was_tried_is_audited(
    centre: Centre, acts: list[UserAct], user: str | None, why: Denied
) -> None:
    await centre.catalogue.write_user_acts([NOBODY_MAY, *acts])
    talk = await refused(centre)
    with capture_logs() as said:
        await centre.presses(talk)
    centre.hangs_up(talk)
    assert await centre.outcome() == ("declined", None)
    assert centre.mixes == []
    whole = await centre.whole()
    (row,) = whole.audit
    assert (row.action, row.actor, row.recording) == ("override refused", ALICE, None)
    assert (row.details["hindrance"], row.details["denied"]) == ("without_right", why)
    assert row.details.get("user") == user
    assert row.details["telephone"] == ALICE
    assert [(line["line"], line["telephone"], line["why"]) for line in said if line["event"] == "override_denied"] == [
        ("support", ALICE, why)
    ]
    at_the_key = next(one for one in decisions(whole) if "override key" in one.asked)
    assert not at_the_key.permitted


async def test_who_has_the_right_captures_and_is_named_in_the_audit(centre: Centre) -> None:
    await centre.catalogue.write_user_acts([NOBODY_MAY, *IS_ENTERED, MAY])
    talk = await refused(centre)
    await centre.presses(talk)
    await centre.until_capture("running")
    centre.hangs_up(talk)
    assert await centre.outcome() == ("recorded", None)
    (row,) = (await centre.whole()).audit
    assert (row.action, row.actor, row.details["user"]) == ("override", ALICE, "alice")


async def test_a_right_that_is_granted_or_taken_back_in_mid_call_counts_at_the_next_key(centre: Centre) -> None:
    await centre.catalogue.write_user_acts([NOBODY_MAY, *IS_ENTERED, MAY, user_act(REVOKED, line="support")])
    talk = await refused(centre)
    await centre.presses(talk)
    await centre.catalogue.write_user_acts([user_act(GRANTED, line="support")])
    await centre.presses(talk)
    await centre.until_capture("running")
    assert [row.action for row in (await centre.whole()).audit] == ["override refused", "override"]


async def test_where_nobody_can_tell_who_may_nothing_is_captured(centre: Centre) -> None:
    talk = await refused(centre)

    async def away(_: Collection[Seat], within: timedelta) -> tuple[User, ...]:
        assert within == reception.RIGHT_READ_WITHIN  # the catalogue's own limit: it frees whoever reads
        raise CatalogueAway("it does not answer")

    centre.assembly.daemon.parts.front._who_sat_at = away
    with capture_logs() as said:
        await centre.presses(talk)
    centre.hangs_up(talk)
    assert await centre.outcome() == ("declined", None)
    assert centre.mixes == []
    whole = await centre.whole()
    (row,) = whole.audit
    assert (row.action, row.details["hindrance"], row.details["denied"]) == (
        "override refused",
        "without_right",
        "not_read",
    )
    assert "rights_not_read" in [line["event"] for line in said]
    assert not any(one.permitted for one in decisions(whole) if "override key" in one.asked)


async def test_who_is_denied_leaves_nothing_for_the_caller_to_hear(catalogue_url: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as closing:
        centre = Centre(await closing.enter_async_context(FakePbx()), tmp_path, catalogue_url)
        closing.push_async_callback(centre.kill)
        tells = {**LINES["support"], "override": override_for("emergency", tells_caller=True)}
        centre.change("line", support=tells)
        await centre.start()
        await centre.catalogue.write_user_acts([NOBODY_MAY])
        talk = await refused(centre)
        await centre.presses(talk)
        assert not {"RECORDER_TELL", "RECORDER_TELL_OF"} & set(talk.caller.variables)
        assert [row.details["denied"] for row in (await centre.whole()).audit] == [Denied.UNKNOWN]


async def test_a_key_on_an_outgoing_call_is_whose_telephone_dialled(centre: Centre) -> None:
    await centre.catalogue.write_user_acts([NOBODY_MAY, *IS_ENTERED, MAY])
    talk = centre.new_talk()
    centre.dials_out(talk)
    centre.say("DialBegin", talk.agent, dest=talk.caller)
    await until(lambda: centre.runners)
    await centre.answers_call(talk, keys="2")
    centre.bridges(talk)
    await centre.until_talking()
    await centre.presses(talk)
    await centre.until_capture("running")
    (row,) = (await centre.whole()).audit
    assert (row.action, row.details["user"]) == ("override", "alice")


async def test_a_key_during_a_capture_does_nothing_whoever_presses_it(centre: Centre) -> None:
    await centre.catalogue.write_user_acts([NOBODY_MAY])
    talk = await centre.asks(keys="1")
    centre.connects(talk)
    await centre.until_capture("running")
    with capture_logs() as said:
        await centre.presses(talk)
    assert (await centre.whole()).audit == ()
    assert "override_denied" not in [line["event"] for line in said]


async def test_who_has_no_right_has_none_where_nothing_could_be_captured_either(centre: Centre) -> None:
    await centre.catalogue.write_user_acts([NOBODY_MAY])
    talk = await refused(centre)
    centre.assembly.daemon.parts.readiness.disk(["full"])
    await centre.presses(talk)
    centre.hangs_up(talk)
    assert await centre.outcome() == ("declined", None)
    whole = await centre.whole()
    assert [row.details["denied"] for row in whole.audit] == [Denied.UNKNOWN]
    assert not any(one.permitted for one in decisions(whole) if "override key" in one.asked)


async def test_a_members_right_is_not_a_strangers_at_another_telephone(centre: Centre) -> None:
    """A leg that stands in for the member's, by a pickup or a forwarding, is its own telephone."""
    await centre.catalogue.write_user_acts([NOBODY_MAY, *IS_ENTERED, MAY])
    talk = await centre.asks(keys="2")
    talk.agent.name = "PJSIP/bob-00000001"
    centre.connects(talk)  # Interface: PJSIP/alice
    await centre.until_talking()
    await centre.presses(talk)
    assert centre.mixes == []
    (row,) = (await centre.whole()).audit
    assert (row.details["denied"], row.details["telephone"]) == (Denied.UNKNOWN, "PJSIP/bob")


async def test_an_agent_who_left_while_their_right_was_looked_up_captures_nothing(centre: Centre) -> None:
    talk = await refused(centre)
    front = centre.assembly.daemon.parts.front
    look_up = front._who_sat_at

    async def slowly(seats: Collection[Seat], within: timedelta) -> tuple[User, ...]:
        found = await look_up(seats, within)
        centre.leaves(talk.agent, 1)
        gone = Uniqueid(talk.agent.uniqueid)
        await until(lambda: not standing_with(centre.runner.state, gone), "her to be gone")
        return found

    front._who_sat_at = slowly
    with capture_logs() as said:
        await centre.presses(talk)
    assert "key_not_of_the_agent" in [line["event"] for line in said]
    assert centre.mixes == []
    assert (await centre.whole()).audit == ()


# --------------------------------------------------------------------------- in the catalogue


async def test_what_is_done_together_is_done_whole_or_not_at_all(store: Catalogue) -> None:
    with pytest.raises(CatalogueRefused, match="alice is overrider on line support already"):
        await store.write_user_acts([*IS_ENTERED, MAY, user_act(GRANTED, line="support")])
    assert await store.user_acts() == ()


async def test_an_act_that_is_in_already_is_applied_once(store: Catalogue) -> None:
    for _ in range(2):
        await store.write_user_acts([*IS_ENTERED, MAY])
    assert [act.action for act in await store.user_acts()] == [ADDED, SEATED, GRANTED]
    assert await store.user_acts() == (*IS_ENTERED, MAY)


async def test_who_ever_sat_at_a_telephone_is_told_as_they_are_now(store: Catalogue) -> None:
    bob = (user_act(ADDED, "bob"), user_act(SEATED, "bob", at="PJSIP/bob"))
    elsewhere = (user_act(ADDED, "carol"), replace(user_act(SEATED, "carol", at=ALICE), node="pbx2"))
    await store.write_user_acts([*IS_ENTERED, *bob, *elsewhere, user_act(SEATED, at="PJSIP/new")])
    assert {(user.name, user.seats) for user in await store.who_sat_at([Seat(node=NODE, interface=ALICE)])} == {
        (ANYBODY, frozenset()),
        ("alice", frozenset({Seat(node=NODE, interface="PJSIP/new")})),
    }


@pytest.mark.postgres
@pytest.mark.parametrize("engine_name", ["postgres"])
async def test_two_who_add_at_once_take_turns(catalogue_url: str) -> None:
    one, two = [await open_catalogue(catalogue_url) for _ in range(2)]
    added = threading.Event()

    def slowly(connection: Connection) -> None:
        users.add(connection, [user_act(ADDED)])
        added.set()
        connection.exec_driver_sql("SELECT pg_sleep(0.5)")  # not committed yet

    try:
        first = asyncio.create_task(one.write(slowly))
        assert await asyncio.to_thread(added.wait, 5)
        with pytest.raises(CatalogueRefused, match="alice is entered already"):
            await two.write_user_acts([user_act(ADDED)])
        await first
    finally:
        for store in (one, two):
            await store.close()


@pytest.mark.postgres
@pytest.mark.parametrize("engine_name", ["postgres"])
async def test_the_daemons_own_account_may_add_users_and_change_nothing_of_them(catalogue_url: str) -> None:
    grant(catalogue_url, "recorder_app")
    store = await open_catalogue(catalogue_url.replace("postgres@", "recorder_app@"))
    try:
        await store.write_user_acts(IS_ENTERED)
        assert len(await store.user_acts()) == 2
        for statement in ("UPDATE user_acts SET actor = 'x'", "DELETE FROM user_acts"):
            with pytest.raises(CatalogueError, match="permission denied"):
                await say(store, statement)
    finally:
        await store.close()


@pytest.mark.parametrize(("action", "role"), [("granted", "sovereign"), ("knighted", "overrider")])
async def test_a_word_of_a_newer_recorder_permits_nothing_and_hides_nothing_else(
    store: Catalogue, action: str, role: str
) -> None:
    await store.write_user_acts([*IS_ENTERED, MAY])

    def newer(connection: Connection) -> None:
        is_sqlite = connection.dialect.name == "sqlite"
        drop = "PRAGMA ignore_check_constraints = 1" if is_sqlite else "ALTER TABLE user_acts DROP CONSTRAINT {}"
        for name in ("ck_user_acts_action", "ck_user_acts_role_and_line"):
            connection.exec_driver_sql(drop.format(name))
        connection.execute(
            text(
                "INSERT INTO user_acts (id, at, actor, of_user, action, role, line) VALUES"
                " (:id, '2026-03-02 12:00:00+00:00', 'root', 'alice', :action, :role, 'support')"
            ),
            {"id": UUID(int=3).hex if is_sqlite else UUID(int=3), "action": action, "role": role},
        )

    await store.write(newer)
    assert [act.action for act in await store.user_acts("alice")] == [ADDED, SEATED, GRANTED]


# --------------------------------------------------------------------------- the command


class Cli:
    def __init__(self, home: Path, url: str) -> None:
        self.config = home / "recorder.toml"
        self.config.write_text(
            '[ami]\nusername = "recorder"\nsecret = "not used"\n'
            f'[node]\nname = "pbx1"\n[catalogue]\nurl = "{url}"\n[line.support]\n[line.sales]\n',
            encoding="utf-8",
        )

    def run(self, *words: str, exit_code: int = 0) -> Result:
        done = CliRunner().invoke(app, ["--config", str(self.config), "user", *words])
        assert done.exit_code == exit_code, (done.stdout, done.stderr)
        return done

    def json(self, *words: str) -> Any:
        return json.loads(self.run(*words, "--json").stdout)


@pytest.fixture
def cli(catalogue_url: str, tmp_path: Path) -> Cli:
    return Cli(tmp_path, catalogue_url)


def test_somebody_is_entered_and_granted_and_all_of_it_is_told(cli: Cli) -> None:
    assert cli.json("list") == []
    assert (
        "holds no role yet" in cli.run("add", "alice", "--telephone", "Local/101@agents/n", "--by", "the house").stdout
    )
    for _ in range(2):  # saying it again is no mistake, and nothing is written twice
        cli.run("grant", "alice", "overrider", "--line", "support", "--line", "sales", "--by", "root")
    cli.run("revoke", "alice", "overrider", "--line", "sales", "--by", "root")
    cli.run("grant", "anybody", "overrider", "--every-line")
    assert cli.json("list") == [
        {"user": "anybody", "telephones": [], "enabled": True, "grants": [{"role": "overrider", "line": None}]},
        {
            "user": "alice",
            "telephones": [{"node": "pbx1", "interface": "Local/101@agents"}],
            "enabled": True,
            "grants": [{"role": "overrider", "line": "support"}],
        },
    ]
    acts = cli.json("show", "alice")["acts"]
    assert [(act["by"], act["action"], act["node"], act["line"]) for act in acts] == [
        ("the house", "added", None, None),
        ("the house", "seated", "pbx1", None),
        ("root", "granted", None, "support"),
        ("root", "granted", None, "sales"),
        ("root", "revoked", None, "sales"),
    ]
    shown = cli.run("show", "alice").stdout
    assert "alice at Local/101@agents: overrider on support" in shown
    assert "seated at Local/101@agents of pbx1" in shown
    assert "granted overrider on sales" in shown
    assert "overrider on every line" in cli.run("list").stdout


def test_who_is_disabled_is_told_and_comes_back_whole(cli: Cli) -> None:
    cli.run("add", "alice", "--telephone", ALICE)
    cli.run("disable", "alice")
    assert "once enabled again" in cli.run("grant", "alice", "overrider", "--every-line").stdout
    assert "disabled" in cli.run("list").stdout
    cli.run("add", "bob", "--telephone", ALICE)
    assert cli.run("enable", "alice", exit_code=1).stderr == f"{ALICE} is bob's\n"
    cli.run("seat", "bob", "--none")
    cli.run("enable", "alice")
    assert [(user["user"], user["enabled"]) for user in cli.json("list")] == [("alice", True), ("bob", True)]


def test_a_telephone_whose_name_ends_as_a_channels_does_is_one(cli: Cli) -> None:
    cli.run("add", "alice", "--telephone", "PJSIP/polycom-0004f2ab")
    assert cli.json("list")[0]["telephones"][0]["interface"] == "PJSIP/polycom-0004f2ab"


@pytest.mark.parametrize(
    ("words", "exit_code", "why"),
    [
        (("add", "Alice B."), 1, "is no name"),
        (("add", "alice", "--telephone", "SCCP/101"), 2, "PJSIP/NAME"),
        (("add", "alice", "--telephone", "PJSIP/01511234@trunk"), 2, "dialled through a trunk"),
        (("add", "alice", "--telephone", "SIP/trunk/01511234"), 2, "dialled through a trunk"),
        (("grant", "alice", "overrider", "--line", "support"), 1, "nobody is entered as alice"),
        (("grant", "anybody", "overrider", "--line", "suport"), 2, "there is no line suport"),
        (("grant", "anybody", "overrider"), 2, "either --line NAME, or --every-line"),
        (("grant", "anybody", "overrider", "--line", "*"), 2, "either --line NAME, or --every-line"),
        (
            ("grant", "anybody", "overrider", "--line", "sales", "--every-line"),
            2,
            "either --line NAME, or --every-line",
        ),
        (("grant", "anybody", "king", "--every-line"), 2, "overrider"),
        (("revoke", "anybody", "overrider", "--line", "gone"), 1, "anybody is not overrider on line gone"),
        (("revoke", "anybody", "overrider", "--line", "*"), 2, "either --line NAME, or --every-line"),
        (("show", "alice"), 1, "nobody is entered as alice"),
        (("disable", "anybody"), 1, "has roles alone"),
        (("seat", "alice"), 2, "either --telephone, or --none"),
    ],
)
def test_what_makes_no_sense_is_a_sentence_and_changes_nothing(
    cli: Cli, words: tuple[str, ...], exit_code: int, why: str
) -> None:
    done = cli.run(*words, exit_code=exit_code)
    assert why in " ".join(done.stderr.replace("│", " ").split())
    assert cli.json("list") == []


def test_an_empty_list_says_how_to_enter_somebody(cli: Cli) -> None:
    assert "recorder user add NAME" in cli.run("list").stderr
