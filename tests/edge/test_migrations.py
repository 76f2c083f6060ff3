"""The migrations make the schema that the program speaks, whole or not at all, and never by surprise."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect, text
from typer.testing import CliRunner

from recorder import catalogue
from recorder.__main__ import app
from recorder.catalogue import CatalogueAway, CatalogueError, CatalogueSchema, open_catalogue, schema, tables
from recorder.catalogue.engine import connect_engine, url_of
from recorder.doctor.judge import judge_catalogue_failure
from tests import postgres

ONLY_SQLITE = pytest.mark.parametrize("engine_name", ["sqlite"])
TOP = Path(__file__).parents[2]


@contextmanager
def connected(url: str) -> Iterator[Connection]:
    engine = connect_engine(url_of(url), writes=True)
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


def schema_shown(connection: Connection) -> dict[str, Any]:
    """Return what the engine itself says of every table: columns, keys, constraints with their SQL, indexes."""
    looked = inspect(connection)
    return {
        table: {
            "columns": [
                (column["name"], str(column["type"]), column["nullable"]) for column in looked.get_columns(table)
            ],
            "key": looked.get_pk_constraint(table),
            "checks": sorted((check["name"] or "", check["sqltext"]) for check in looked.get_check_constraints(table)),
            "references": sorted(json.dumps(key, sort_keys=True) for key in looked.get_foreign_keys(table)),
            "uniques": sorted(json.dumps(unique, sort_keys=True) for unique in looked.get_unique_constraints(table)),
            "indexes": sorted(json.dumps(index, sort_keys=True, default=str) for index in looked.get_indexes(table)),
        }
        for table in sorted(looked.get_table_names())
        if table != "alembic_version"
    }


def file_of(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))


def exists(url: str) -> bool:
    return file_of(url).exists()


def touched(url: str) -> str:
    """Return the address, where need be with an empty file at it."""
    if url.startswith("sqlite"):
        file_of(url).touch()
    return url


def tables_of(url: str) -> list[str]:
    with connected(url) as connection:
        return sorted(inspect(connection).get_table_names())


def test_alembic_finds_nothing_to_add_to_the_migrations(catalogue_url: str) -> None:
    with connected(catalogue_url) as connection:
        differences = compare_metadata(
            MigrationContext.configure(connection, opts={"compare_type": True}), tables.metadata
        )

    assert differences == []


def test_the_tables_and_the_migrations_make_the_same_schema_to_the_last_check(
    catalogue_url: str, empty_url: str
) -> None:
    with connected(touched(empty_url)) as connection:
        tables.metadata.create_all(connection)
        wanted = schema_shown(connection)
    with connected(catalogue_url) as connection:
        found = schema_shown(connection)

    assert found == wanted
    assert sum(len(table["checks"]) for table in found.values()) > 20


def test_an_upgrade_makes_an_empty_database_a_catalogue(empty_url: str) -> None:
    assert catalogue.upgrade(empty_url) == catalogue.newest() == catalogue.current(empty_url)
    assert tables_of(empty_url) == sorted([*tables.metadata.tables, "alembic_version"])


def test_an_upgrade_of_what_is_new_already_changes_nothing(catalogue_url: str) -> None:
    before = tables_of(catalogue_url)

    assert catalogue.upgrade(catalogue_url) == catalogue.newest()
    assert tables_of(catalogue_url) == before


def test_the_way_back_leaves_nothing_and_the_way_up_is_open_again(catalogue_url: str) -> None:
    catalogue.downgrade(catalogue_url, "base")

    assert tables_of(catalogue_url) == ["alembic_version"]
    assert catalogue.upgrade(catalogue_url) == catalogue.newest()


def test_an_upgrade_that_fails_half_way_leaves_nothing_of_it(empty_url: str) -> None:
    with connected(touched(empty_url)) as connection:
        connection.execute(text("CREATE TABLE sweeps (somebody_elses INTEGER)"))

    with pytest.raises(CatalogueError, match="sweeps"):
        catalogue.upgrade(empty_url)

    assert tables_of(empty_url) == ["sweeps"]
    assert catalogue.current(empty_url) is None


def test_two_upgrades_at_once_take_turns(empty_url: str) -> None:
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(catalogue.upgrade, [empty_url, empty_url]))

    assert done == [catalogue.newest()] * 2


def test_two_who_open_a_new_file_at_once_both_turn_it_to_wal(tmp_path: Path) -> None:
    def open_it(url: str) -> str:
        start.wait(10)
        with connected(url) as connection:
            return str(connection.exec_driver_sql("PRAGMA journal_mode").scalar())

    start = Barrier(2)
    with ThreadPoolExecutor(2) as pool:
        for number in range(100):  # without patience of our own, one in twelve fails
            url = f"sqlite:///{tmp_path / str(number)}.db"
            touched(url)
            assert list(pool.map(open_it, [url, url])) == ["wal", "wal"]


# --------------------------------------------------------------------------- never by surprise


async def test_an_empty_database_is_not_opened(empty_url: str) -> None:
    with pytest.raises(CatalogueSchema, match="is empty; `recorder db upgrade`"):
        await open_catalogue(touched(empty_url))
    assert tables_of(empty_url) == []


@ONLY_SQLITE
async def test_a_missing_file_is_not_created_by_opening_it(empty_url: str) -> None:
    with pytest.raises(CatalogueSchema, match=r"there is no catalogue at .* `recorder db upgrade` creates one"):
        await open_catalogue(empty_url)
    with pytest.raises(CatalogueSchema):
        catalogue.current(empty_url)

    assert not exists(empty_url)


async def test_a_catalogue_of_a_newer_program_is_neither_opened_nor_upgraded(catalogue_url: str) -> None:
    with connected(catalogue_url) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(CatalogueSchema, match=r"is at 9999.*newer"):
        await open_catalogue(catalogue_url)
    with pytest.raises(CatalogueSchema, match="9999"):
        catalogue.upgrade(catalogue_url)


@pytest.mark.parametrize("address", ["mysql://h/d", "sqlite://", "sqlite:///:memory:", "not an address", ""])
def test_an_address_of_another_kind_is_refused(address: str) -> None:
    with pytest.raises(CatalogueSchema, match=r"catalogue\.url"):
        url_of(address)


def test_an_address_is_shown_without_its_password() -> None:
    shown = schema.address_shown(url_of("postgresql://recorder:swordfish@db.example/recorder"))

    assert "swordfish" not in shown
    assert "db.example" in shown


@ONLY_SQLITE
def test_a_new_file_is_closed_to_other_accounts(empty_url: str) -> None:
    catalogue.upgrade(empty_url)

    assert stat.S_IMODE(file_of(empty_url).stat().st_mode) == 0o600


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(CatalogueAway, match="no-such-folder"):
        catalogue.upgrade(f"sqlite:///{tmp_path}/no-such-folder/catalogue.db")


# --------------------------------------------------------------------------- installed, and one revision further


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """The package as the wheel lays it out, with no repository near it."""
    place = tmp_path / "site"
    shutil.copytree(TOP / "recorder", place / "recorder", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(TOP / "db", place / "recorder" / "migrations", ignore=shutil.ignore_patterns("__pycache__"))
    return place


def said_by(site: Path, script: str, url: str) -> str:
    """Return what the package at `site` prints when it runs `script` with the address as `url`."""
    preamble = "import asyncio, sys; from recorder import catalogue; url = sys.argv[1]\n"
    done = subprocess.run(
        [sys.executable, "-c", preamble + script, url],
        check=True,
        capture_output=True,
        text=True,
        cwd=site,
        env=os.environ | {"PYTHONPATH": str(site)},
    )
    return done.stdout.strip()


def test_an_installed_package_migrates_without_the_repository(site: Path, empty_url: str) -> None:
    place = site / "recorder" / "catalogue" / "__init__.py"

    assert (
        said_by(site, "print(catalogue.upgrade(url), catalogue.__file__)", empty_url) == f"{catalogue.newest()} {place}"
    )


NEXT = """
from alembic import op
import sqlalchemy as sa

revision, down_revision, branch_labels, depends_on = "next", "{before}", None, None


def upgrade():
    with op.batch_alter_table("calls") as batch:
        batch.add_column(sa.Column("note", sa.Text))


def downgrade():
    raise NotImplementedError
"""
TRY_TO_OPEN = """
try:
    asyncio.run(catalogue.open_catalogue(url))
except catalogue.CatalogueSchema as error:
    print(error)
"""


def test_a_catalogue_of_an_older_revision_is_not_opened_until_it_is_upgraded(site: Path, catalogue_url: str) -> None:
    before = catalogue.newest()
    (site / "recorder" / "migrations" / "versions" / "next.py").write_text(NEXT.format(before=before))

    assert f"is at {before}, older than next: run `recorder db upgrade`" in said_by(site, TRY_TO_OPEN, catalogue_url)
    assert said_by(site, "print(catalogue.upgrade(url))", catalogue_url) == "next"
    assert said_by(site, TRY_TO_OPEN, catalogue_url) == ""


# --------------------------------------------------------------------------- while a program runs, and the way back


def moved_to(url: str, revision: str) -> None:
    with connected(url) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :to"), {"to": revision})


async def test_a_program_whose_schema_was_moved_writes_nothing_until_it_is_back(catalogue_url: str) -> None:
    store = await open_catalogue(catalogue_url)
    try:
        await store.ping("pbx1", datetime(2026, 1, 1, tzinfo=UTC))
        moved_to(catalogue_url, "9999")
        with pytest.raises(CatalogueAway, match=f"at revision 9999 now, and this recorder speaks {catalogue.newest()}"):
            await store.ping("pbx1", datetime(2026, 1, 2, tzinfo=UTC))
        assert await store.bookmark("pbx1", "ready") == {"at": "2026-01-01T00:00:00+00:00"}

        moved_to(catalogue_url, catalogue.newest())
        await store.ping("pbx1", datetime(2026, 1, 3, tzinfo=UTC))
        assert await store.bookmark("pbx1", "ready") == {"at": "2026-01-03T00:00:00+00:00"}
    finally:
        await store.close()


async def test_nothing_is_written_while_the_schema_changes(catalogue_url: str) -> None:
    store = await open_catalogue(catalogue_url)
    try:
        with schema._changing(url_of(catalogue_url)) as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
            with pytest.raises(CatalogueAway):
                await store.ping("pbx1", datetime(2026, 1, 1, tzinfo=UTC))
        assert await store.bookmark("pbx1", "ready") is None
    finally:
        await store.close()


def test_the_way_back_refuses_to_lose_whole_tables_unless_it_is_told_to(catalogue_url: str) -> None:
    with connected(catalogue_url) as connection:
        connection.execute(text("INSERT INTO sweeps VALUES ('pbx1', 'settle', '2026-01-01 00:00:00+00')"))

    with pytest.raises(CatalogueSchema, match="revision base has no place for what is in sweeps"):
        catalogue.downgrade(catalogue_url, "base")
    assert catalogue.current(catalogue_url) == catalogue.newest()

    assert catalogue.downgrade(catalogue_url, "base", discard=True) is None


def test_a_revision_that_nobody_knows_is_no_way_back(catalogue_url: str) -> None:
    with pytest.raises(CatalogueSchema, match="cannot go back"):
        catalogue.downgrade(catalogue_url, "0000")
    assert catalogue.current(catalogue_url) == catalogue.newest()


# --------------------------------------------------------------------------- PostgreSQL's encodings


@pytest.mark.postgres
@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
async def test_a_database_that_cannot_keep_every_text_is_refused_in_a_sentence_that_says_the_mend(
    postgres_server: postgres.Server, tmp_path: Path, encoding: str
) -> None:
    name = postgres_server.create(encoding=encoding)
    url = postgres_server.url(name)
    try:
        config = tmp_path / "recorder.toml"
        config.write_text(f'[ami]\nusername = "recorder"\nsecret = "s"\n[catalogue]\nurl = "{url}"\n')
        done = CliRunner().invoke(app, ["--config", str(config), "db", "upgrade"])
        assert done.exit_code == 1
        assert done.output == (
            f"the catalogue was not upgraded: the database {name} keeps text as {encoding},"
            " and the catalogue needs UTF8;"
            " `createdb --encoding=UTF8 --template=template0 NAME` makes one that [catalogue] url can name\n"
        )
        with pytest.raises(CatalogueSchema, match=encoding) as refused:
            await open_catalogue(url)
        finding = judge_catalogue_failure(str(refused.value))
        assert finding.what == f"the database {name} keeps text as {encoding}, and the catalogue needs UTF8"
        assert finding.mend.startswith("`createdb --encoding=UTF8")
    finally:
        postgres_server.drop(name)
