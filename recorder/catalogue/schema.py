"""The schema's revisions: which one a database has, and the way from one to the next.

Owns Alembic; must not read or write rows. The invariants: only `upgrade` and `downgrade` create or change a schema, and
do so whole or not at all; a program writes at its own revision alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import URL, Connection, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from recorder.catalogue.engine import connect_engine, translated, url_of
from recorder.catalogue.errors import CatalogueAway, CatalogueSchema

UPGRADE_LOCK = 7_283_105  # any number, the same in every daemon: two upgrades of one PostgreSQL database take turns

SHARE = text("SELECT pg_try_advisory_xact_lock_shared(:key)")
REVISION = text("SELECT version_num FROM alembic_version")


def scripts_path() -> Path:
    """Return the folder of the migrations: inside the installed package, else at the source tree's top."""
    package = Path(__file__).parent.parent
    for folder in (package / "migrations", package.parent / "db"):
        if (folder / "env.py").is_file():
            return folder
    raise CatalogueSchema("the migrations are missing from this installation")


def newest() -> str:
    """Return the revision that this program speaks."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    if head is None:
        raise CatalogueSchema("the migrations are missing from this installation")
    return head


def upgrade(address: str, revision: str = "head") -> str:
    """Bring the database to `revision` and return it; an SQLite file that does not exist is created, mode 0600."""
    url = url_of(address)
    if url.drivername == "sqlite":
        _create_file(Path(url.database or ""))
    with _changing(url) as connection:
        try:
            command.upgrade(_config(connection), revision)
        except CommandError as error:
            raise CatalogueSchema(f"the catalogue at {address_shown(url)} cannot be upgraded: {error}") from error
    return current(address) or ""


def downgrade(address: str, revision: str, *, discard: bool = False) -> str | None:
    """Go back to `revision` ("base" removes everything) and return it; tables that have rows go only with `discard`."""
    url = url_of(address)
    require_file(url)
    with _changing(url) as connection:
        before = _tables_with_rows(connection)
        try:
            command.downgrade(_config(connection), revision)
        except (CommandError, RuntimeError) as error:  # a revision that cannot go back says why by RuntimeError
            raise CatalogueSchema(f"the catalogue at {address_shown(url)} cannot go back: {error}") from error
        lost = sorted(before - set(inspect(connection).get_table_names()))
        if lost and not discard:
            raise CatalogueSchema(f"revision {revision} has no place for what is in {', '.join(lost)}")
    return current(address)


def _tables_with_rows(connection: Connection) -> set[str]:
    names = inspect(connection).get_table_names()
    return {name for name in names if connection.execute(text(f'SELECT 1 FROM "{name}" LIMIT 1')).first()}


def current(address: str) -> str | None:
    """Return the database's revision; None where it is empty. CatalogueSchema where there is no database."""
    url = url_of(address)
    require_file(url)
    engine = connect_engine(url, writes=False)
    try:
        with engine.connect() as connection:
            return revision_of(connection)
    except SQLAlchemyError as error:
        raise translated(error) from error
    finally:
        engine.dispose()


def require_file(url: URL) -> None:
    """Raise CatalogueSchema where an SQLite address names no file."""
    if url.drivername == "sqlite" and not Path(url.database or "").is_file():
        raise CatalogueSchema(f"there is no catalogue at {address_shown(url)}; `recorder db upgrade` creates one")


def revision_of(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def writes_only_at(revision: str) -> Callable[[Connection], None]:
    """What raises CatalogueAway where a transaction that is to write meets another revision, or a change under way.

    The schema may move under a running program. What that one does not know it must not write into; what it has to say
    waits, as when the database is away, until the schema is back or a program that knows it takes over.
    """

    def look(connection: Connection) -> None:
        # SQLite: whoever writes holds the only lock there is. PostgreSQL: a change waits for those who share its lock.
        if connection.dialect.name != "sqlite" and not connection.execute(SHARE, {"key": UPGRADE_LOCK}).scalar():
            raise CatalogueAway("the catalogue's schema is being changed")
        found = connection.execute(REVISION).scalar()
        if found != revision:
            raise CatalogueAway(f"the catalogue is at revision {found} now, and this recorder speaks {revision}")

    return look


def require_newest(found: str | None, url: URL) -> None:
    """Raise CatalogueSchema, with what to do, unless `found` is the revision that this program speaks."""
    wanted, shown = newest(), address_shown(url)
    if found == wanted:
        return
    if found is None:
        raise CatalogueSchema(f"the database at {shown} is empty; `recorder db upgrade` makes a catalogue of it")
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    if found in known:
        raise CatalogueSchema(f"the catalogue at {shown} is at {found}, older than {wanted}: run `recorder db upgrade`")
    raise CatalogueSchema(
        f"the catalogue at {shown} is at {found}, which this program (at {wanted}) does not know: it was upgraded by a"
        f" newer one. Install that and run `recorder db upgrade`, or let that one go back: `recorder db downgrade --to"
        f" {wanted}`"
    )


def address_shown(url: URL) -> str:
    """Return the address without its password."""
    return url.render_as_string(hide_password=True)


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(scripts_path()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    if connection is not None:
        config.attributes["connection"] = connection
    return config


def _create_file(file: Path) -> None:
    try:
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        return
    except OSError as error:
        raise CatalogueAway(f"cannot create {file}: {error.strerror}") from error


@contextmanager
def _changing(url: URL) -> Iterator[Connection]:
    """One transaction for the whole change. SQLite's foreign keys are off in it, and checked as a whole at its end."""
    engine = connect_engine(url, writes=True, migrates=True)
    try:
        with engine.begin() as connection:
            if url.drivername != "sqlite":
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": UPGRADE_LOCK})
            yield connection
            _check_references(connection)
    except SQLAlchemyError as error:
        raise translated(error) from error
    finally:
        engine.dispose()


def _check_references(connection: Connection) -> None:
    if connection.dialect.name != "sqlite":
        return
    broken = sorted({row[0] for row in connection.exec_driver_sql("PRAGMA foreign_key_check")})
    if broken:
        raise CatalogueSchema(f"the change would break references from {', '.join(broken)}; nothing was changed")
