"""What a line's settings were is known afterwards: kept once by the daemon's start, told by the command (CE-01)."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from typer.testing import CliRunner, Result

from recorder import __version__, catalogue
from recorder.__main__ import app
from recorder.catalogue import Catalogue, CatalogueAway, CatalogueRefused, CatalogueSchema, newest, open_catalogue
from recorder.daemon import Parts, PolicyWatch
from recorder.model import ConsentState
from recorder.policy import LinePolicy
from tests.books import Story
from tests.edge.centre import Centre, until
from tests.edge.test_chain import owner
from tests.edge.test_migrations import moved_to
from tests.facts import NODE, NOON, later
from tests.fakes.pbx import FakePbx

pytestmark = pytest.mark.usefixtures("no_task_left")

FIRST = LinePolicy(line="support", settings='{"consent":"opt_in","retries":2}')
SECOND = LinePolicy(line="support", settings='{"consent":"opt_in","retries":3}')
SALES = LinePolicy(line="sales", settings='{"consent":"never"}')


@pytest.fixture
async def centre(catalogue_url: str, tmp_path: Path) -> AsyncIterator[Centre]:
    async with AsyncExitStack() as closing:
        made = Centre(await closing.enter_async_context(FakePbx()), tmp_path, catalogue_url)
        closing.push_async_callback(made.kill)
        yield made


# --------------------------------------------------------------------------- kept by the daemon


async def test_a_consent_event_leads_to_the_settings_under_which_was_asked(centre: Centre) -> None:
    await centre.start()
    talk = await centre.asks(keys="1")
    centre.connects(talk)
    centre.hangs_up(talk)
    await centre.outcome()
    events = await centre.catalogue.list_consents(10)
    (kept,) = await centre.catalogue.policies_named({event.policy for event in events})
    assert events
    assert (kept.line, kept.node, kept.version) == ("support", "pbx1", __version__)
    assert LinePolicy(line=kept.line, settings=kept.settings).digest == kept.digest
    assert json.loads(kept.settings)["consent"] == "opt_in"


async def test_the_settings_are_kept_once_and_others_from_the_next_start_on(centre: Centre) -> None:
    for retries in (0, 1, 0):
        centre.change("line", sales={"consent": "opt_in", "retries": retries})
        await centre.start()
        await until(lambda: centre.assembly.daemon.sweeps["policies"].last_ok_at is not None)
        await centre.kill()
    store = await open_catalogue(centre.url)
    try:
        kept = [(row.line, json.loads(row.settings)["retries"]) for row in await store.policies()]
        assert sorted(kept) == [("private", 2), ("sales", 0), ("sales", 1), ("support", 0)]
    finally:
        await store.close()


async def test_the_settings_are_kept_before_anybody_is_asked(centre: Centre) -> None:
    await centre.start(ready=False)  # the door opens after that; nobody looked at a sweep
    assert {row.line for row in await centre.catalogue.policies()} == {"support", "sales", "private"}


async def test_the_settings_are_kept_before_the_door_opens(centre: Centre) -> None:
    class Looks:
        """In place of the watch: whether anybody could come in when it began, and when it was done."""

        def __init__(self, watch: PolicyWatch, port: int) -> None:
            self.watch, self.port = watch, port
            self.was_open: list[bool] = []

        async def begin(self) -> None:
            self.was_open.append(await is_open(self.port))
            await self.watch.begin()
            self.was_open.append(await is_open(self.port))

        async def look(self) -> bool:
            return await self.watch.look()

    looks: list[Looks] = []

    def put(parts: Parts) -> None:
        looks.append(Looks(parts.policies, parts.ivr.port))
        parts.policies = looks[0]  # type: ignore[assignment]

    centre.before_it_runs = put
    await centre.start(ready=False)
    assert looks[0].was_open == [False, False]
    assert await is_open(centre.agi_port)


async def is_open(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


async def test_what_the_catalogue_cannot_take_at_the_start_is_owed_and_stops_nobody(
    store: Catalogue, catalogue_url: str
) -> None:
    watch = PolicyWatch(store, lambda: (FIRST, SALES), node=NODE, version="1.0", now=lambda: NOON)
    moved_to(catalogue_url, "9999")
    with capture_logs() as said:
        await watch.begin()
    assert [line["event"] for line in said] == ["policies_owed"]
    with pytest.raises(CatalogueAway):
        await watch.look()
    moved_to(catalogue_url, newest())
    assert await store.policies() == ()
    assert await watch.look() is False
    kept = [(row.digest, row.first_at) for row in await store.policies()]
    assert kept == [(SALES.digest, NOON), (FIRST.digest, NOON)]


async def test_who_has_written_them_does_not_write_again(store: Catalogue, catalogue_url: str) -> None:
    watch = PolicyWatch(store, lambda: (FIRST,), node=NODE, version="1.0", now=lambda: NOON)
    await watch.begin()
    moved_to(catalogue_url, "9999")
    assert await watch.look() is False
    moved_to(catalogue_url, newest())


async def test_one_line_whose_kept_settings_were_changed_keeps_no_other_from_being_kept(
    store: Catalogue, catalogue_url: str
) -> None:
    await store.write_policies(NODE, NOON, "1.0", [FIRST])
    with owner(catalogue_url) as connection:
        connection.exec_driver_sql("UPDATE policies SET settings = '{}'")
    watch = PolicyWatch(store, lambda: (FIRST, SALES), node=NODE, version="1.0", now=lambda: NOON)
    with capture_logs() as said:
        await watch.begin()
        assert await watch.look() is False
    assert [(line["event"], line["policy"]) for line in said] == [("policy_refused", FIRST.digest)]
    assert {row.digest for row in await store.policies()} == {FIRST.digest, SALES.digest}


# --------------------------------------------------------------------------- in the catalogue


async def test_settings_that_are_kept_stay_as_they_first_were_on_each_node(store: Catalogue) -> None:
    await store.write_policies(NODE, NOON, "1.0", [FIRST])
    await store.write_policies(NODE, later(5), "1.1", [FIRST, SECOND])
    await store.write_policies("pbx2", later(9), "1.1", [FIRST])
    kept = [(row.digest, row.node, row.version, row.first_at) for row in await store.policies("support")]
    assert kept == [
        (FIRST.digest, NODE, "1.0", NOON),
        (SECOND.digest, NODE, "1.1", later(5)),
        (FIRST.digest, "pbx2", "1.1", later(9)),
    ]
    assert [row.node for row in await store.policies_named([FIRST.digest, "0" * 16])] == [NODE, "pbx2"]


async def test_other_settings_under_a_digest_that_is_taken_are_refused(store: Catalogue, catalogue_url: str) -> None:
    await store.write_policies(NODE, NOON, "1.0", [FIRST])
    with owner(catalogue_url) as connection:
        connection.exec_driver_sql("UPDATE policies SET settings = '{}'")
    with pytest.raises(
        CatalogueRefused, match=f"policy {FIRST.digest} is in the catalogue already, with another settings"
    ):
        await store.write_policies(NODE, NOON, "1.0", [FIRST])


async def test_the_way_back_keeps_the_settings_and_the_next_upgrade_goes_on(catalogue_url: str) -> None:
    store = await open_catalogue(catalogue_url)
    await store.write_policies(NODE, NOON, "1.0", [FIRST])
    await store.close()
    assert catalogue.downgrade(catalogue_url, "0005") == "0005"
    assert catalogue.upgrade(catalogue_url) == newest()
    store = await open_catalogue(catalogue_url)
    try:
        await store.write_policies(NODE, later(5), "1.0", [FIRST, SECOND])
        assert [row.digest for row in await store.policies()] == [FIRST.digest, SECOND.digest]
    finally:
        await store.close()


async def stood(url: str, story: Story) -> None:
    store = await open_catalogue(url)
    await story.write(store)
    await store.close()


def talking() -> Story:
    return Story().admitted().answered(ConsentState.REFUSED).talking()


async def test_the_way_back_waits_for_a_call_whose_override_an_older_recorder_cannot_read(catalogue_url: str) -> None:
    story = talking().overridden(basis="the law on emergency")
    await stood(catalogue_url, story)
    with pytest.raises(CatalogueSchema, match=rf"on what that rests: {story.call}\. Start this recorder again"):
        catalogue.downgrade(catalogue_url, "0005")
    assert catalogue.current(catalogue_url) == newest()


@pytest.mark.parametrize(
    "story",
    [talking().overridden(), talking().overridden(basis="the law on emergency").lost().hung_up()],
    ids=["an older recorder's", "over"],
)
async def test_the_way_back_is_open_to_calls_whose_override_an_older_recorder_can_read_or_that_are_over(
    catalogue_url: str, story: Story
) -> None:
    await stood(catalogue_url, story)
    assert catalogue.downgrade(catalogue_url, "0005") == "0005"


# --------------------------------------------------------------------------- for people


@pytest.fixture
async def config(sqlite_template: Path, tmp_path: Path) -> Path:
    url = f"sqlite:///{tmp_path / 'catalogue.db'}"
    shutil.copyfile(sqlite_template, tmp_path / "catalogue.db")
    store = await open_catalogue(url)
    await store.write_policies(NODE, NOON, "1.0", [FIRST, SALES])
    await store.write_policies(NODE, later(60), "1.1", [SECOND])
    await store.write_policies("pbx2", later(90), "1.1", [SECOND])
    await store.close()
    file = tmp_path / "recorder.toml"
    file.write_text(f'[ami]\nusername = "recorder"\nsecret = "s"\n[catalogue]\nurl = "{url}"\n')
    return file


async def kept(url: str, *rows: tuple[str, float, LinePolicy]) -> None:
    """By node, seconds after noon, and text."""
    store = await open_catalogue(url)
    for node, after, policy in rows:
        await store.write_policies(node, later(after), "1.2", [policy])
    await store.close()


def policies(config: Path, *words: str) -> Result:
    return CliRunner().invoke(app, ["--config", str(config), "policies", *words])


def test_the_settings_of_a_line_are_listed_as_they_came_into_force(config: Path) -> None:
    listed = policies(config, "--line", "support").stdout.splitlines()
    assert "first in force (UTC)" in listed[0]
    assert [line.split()[:2] for line in listed[1:]] == [
        [FIRST.digest[:16], "support"],
        [SECOND.digest[:16], "support"],
        [SECOND.digest[:16], "support"],
    ]
    told = json.loads(policies(config, "--json").stdout)
    assert [(row["policy"], row["settings"], row["ok"]) for row in told] == [
        (SALES.digest, SALES.settings, True),
        (FIRST.digest, FIRST.settings, True),
        (SECOND.digest, SECOND.settings, True),
        (SECOND.digest, SECOND.settings, True),
    ]


def test_what_a_line_had_is_shown_with_what_had_changed_since_before(config: Path) -> None:
    shown = policies(config, "show", SECOND.digest[:8])
    assert shown.exit_code == 0
    assert shown.stdout.splitlines() == [
        f"Policy {SECOND.digest}",
        "  line support, node pbx1, first in force 2026-03-02 12:01:00 UTC, recorder 1.1",
        "  line support, node pbx2, first in force 2026-03-02 12:01:30 UTC, recorder 1.1",
        "",
        '  consent = "opt_in"',
        "  retries = 3",
        "",
        f"Against {FIRST.digest}",
        "  line support, node pbx1, first in force 2026-03-02 12:00:00 UTC",
        "  retries: 2 -> 3",
    ]
    assert "Against" not in policies(config, "show", FIRST.digest).stdout
    told = json.loads(policies(config, "show", FIRST.digest, "--against", SECOND.digest, "--json").stdout)
    assert (told["before"], told["changes"]) == (SECOND.digest, [{"setting": "retries", "was": "3", "now": "2"}])
    assert told["since"] == [{"node": NODE, "first_at": NOON.isoformat(), "before": None}]


def test_what_each_of_several_nodes_had_before_is_told_with_what_changed_there(config: Path) -> None:
    other = LinePolicy(line="support", settings='{"consent":"notice","retries":3}')
    url = f"sqlite:///{config.parent / 'catalogue.db'}"
    asyncio.run(kept(url, ("pbx3", 10, other), ("pbx4", 20, other), ("pbx3", 100, SECOND), ("pbx4", 100, SECOND)))
    shown = policies(config, "show", SECOND.digest).stdout
    assert shown[shown.index("Against") :].splitlines() == [
        f"Against {FIRST.digest}",
        "  line support, node pbx1, first in force 2026-03-02 12:00:00 UTC",
        "  retries: 2 -> 3",
        "",
        f"Against {other.digest}",
        "  line support, node pbx3, first in force 2026-03-02 12:00:10 UTC",
        "  line support, node pbx4, first in force 2026-03-02 12:00:20 UTC",
        '  consent: "notice" -> "opt_in"',
    ]
    told = json.loads(policies(config, "show", SECOND.digest, "--json").stdout)
    befores = {row["node"]: row["before"] for row in told["since"]}
    assert befores == {"pbx1": FIRST.digest, "pbx2": None, "pbx3": other.digest, "pbx4": other.digest}
    assert policies(config, "show", SECOND.digest, "--against", FIRST.digest).stdout.count("Against") == 1


def test_settings_that_an_older_recorder_kept_by_the_beginning_of_their_digest_are_found_and_whole(
    config: Path,
) -> None:
    url = f"sqlite:///{config.parent / 'catalogue.db'}"
    with owner(url) as connection:
        connection.exec_driver_sql(
            f"UPDATE policies SET digest = '{FIRST.digest[:16]}' WHERE digest = '{FIRST.digest}'"
        )
    asyncio.run(kept(url, (NODE, 120, FIRST)))
    told = {
        words: json.loads(policies(config, "show", words, "--json").stdout)
        for words in (FIRST.digest[:16], FIRST.digest[:8], FIRST.digest)
    }
    assert [(row["policy"], row["ok"]) for row in told.values()] == [
        (FIRST.digest[:16], True),
        (FIRST.digest, True),
        (FIRST.digest, True),
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("show", "0000"), "No settings '0000' are in the catalogue"),
        (("show", ""), "No settings"),
        (("show", FIRST.digest, "--against", "ffff"), "No settings 'ffff'"),
    ],
)
def test_settings_that_are_not_kept_are_said_to_be_none(config: Path, words: tuple[str, ...], said: str) -> None:
    done = policies(config, *words)
    assert (done.exit_code, done.stdout) == (1, "")
    assert said in done.stderr


@pytest.mark.parametrize("changed", ["{}", "no JSON"])
def test_settings_that_were_changed_past_the_recorder_are_shown_as_wrong(config: Path, changed: str) -> None:
    with owner(f"sqlite:///{config.parent / 'catalogue.db'}") as connection:
        connection.exec_driver_sql(f"UPDATE policies SET settings = '{changed}' WHERE digest = '{SECOND.digest}'")
    done = policies(config, "show", SECOND.digest)
    assert done.exit_code == 1
    assert "wrong: this is not the text that the digest was taken of" in done.stdout
    told = policies(config, "show", SECOND.digest, "--json")
    assert (told.exit_code, json.loads(told.stdout)["ok"]) == (1, False)


def test_settings_that_one_of_two_nodes_has_otherwise_are_shown_by_the_others_text_and_the_node_is_named(
    config: Path,
) -> None:
    with owner(f"sqlite:///{config.parent / 'catalogue.db'}") as connection:
        connection.exec_driver_sql(
            f"UPDATE policies SET settings = '{{}}' WHERE digest = '{SECOND.digest}' AND node = '{NODE}'"
        )
    done = policies(config, "show", SECOND.digest)
    shown = done.stdout.splitlines()
    assert done.exit_code == 1
    assert "node pbx1" in shown[1]
    assert shown[2] == "  wrong: this node's is not the text that the digest was taken of"
    assert "node pbx2" in shown[3]
    assert "  retries = 3" in shown
    assert json.loads(policies(config, "show", SECOND.digest, "--json").stdout)["ok"] is False
