"""The only way to the database: two engines, one writing thread, a few reading ones, a time limit on each request.

Owns connections and threads and translates every error of SQLAlchemy and the drivers; knows no table. The invariants:
one transaction writes at a time, in the order of asking; nobody waits longer than their limit; work whose time is up
before its commit began is rolled back.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError, SQLAlchemyError

from recorder.catalogue.errors import CatalogueAway, CatalogueError, CatalogueRefused, CatalogueSchema

READERS = 3
WAITING_MOST = 2000
LATE_SAID_EVERY = 10.0  # seconds
CALLER_WAITS = timedelta(seconds=1)  # the longest that a caller may wait for the catalogue (docs/decisions)

T = TypeVar("T")

_log = logging.getLogger(__name__)


def url_of(address: str) -> URL:
    """Return the address of an SQLite file or a PostgreSQL database; CatalogueSchema for any other."""
    try:
        url = make_url(address)
    except ArgumentError as error:
        raise CatalogueSchema("catalogue.url cannot be read as an address") from error
    if url.drivername == "sqlite" and url.database and url.database != ":memory:":
        return url
    if url.drivername in ("postgresql", "postgresql+psycopg"):
        return url.set(drivername="postgresql+psycopg")
    raise CatalogueSchema(f"catalogue.url must be sqlite:////a/file or postgresql://..., not {url.drivername}")


def connect_engine(url: URL, *, writes: bool, connections: int = 1, migrates: bool = False) -> Engine:
    """Make an engine; nothing connects yet. For one that migrates no limit holds, and SQLite's references wait."""
    if url.drivername == "sqlite":
        return _sqlite_engine(url, writes=writes, connections=connections, migrates=migrates)
    return _postgres_engine(url, writes=writes, connections=connections, migrates=migrates)


def _sqlite_engine(url: URL, *, writes: bool, connections: int, migrates: bool) -> Engine:
    # mode=rw never creates a file: an absent catalogue is an error here, not a fresh one.
    file = "file:" + quote(str(Path(url.database or "").absolute()))
    patience = 10.0 if migrates else 0.9
    engine = create_engine(
        url.set(database=file, query={"mode": "rw", "uri": "true"}),
        pool_size=connections,
        max_overflow=0,
        hide_parameters=True,
        connect_args={"timeout": patience},
    )

    @event.listens_for(engine, "connect")
    def prepare(raw: sqlite3.Connection, _record: object) -> None:
        raw.isolation_level = None  # the driver's own idea of when to BEGIN is off; `begin` below says it
        if writes:
            require_wal(_turn_to_wal(raw, patience))
        else:
            raw.execute("PRAGMA query_only=ON")
        raw.execute("PRAGMA synchronous=FULL")
        raw.execute(f"PRAGMA foreign_keys={'OFF' if migrates else 'ON'}")
        raw.execute("PRAGMA recursive_triggers=ON")  # or REPLACE would delete past the triggers

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _turn_to_wal(raw: sqlite3.Connection, patience: float) -> tuple[str]:
    """The journal's mode once it is set. SQLite's own patience does not hold for two who turn a file to WAL at once."""
    deadline = time.monotonic() + patience
    while True:
        try:
            mode: tuple[str] = raw.execute("PRAGMA journal_mode=WAL").fetchone()
            return mode
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(0.01)


def require_wal(mode: tuple[str]) -> None:
    """Raise CatalogueAway where SQLite keeps to another journal, as it does on a network filesystem."""
    if mode != ("wal",):
        raise CatalogueAway(f"the catalogue's filesystem does not carry SQLite's WAL (it offers {mode[0]})")


def _postgres_engine(url: URL, *, writes: bool, connections: int, migrates: bool) -> Engine:
    seconds = 0 if migrates else 5 if writes else 30  # what our own limit gave up ends in the server too; 0: no limit
    options = f"-c statement_timeout={seconds}s -c idle_in_transaction_session_timeout=30s"
    if not writes:
        options += " -c default_transaction_read_only=on"
    defaults: dict[str, Any] = {"connect_timeout": 2, "application_name": "recorder", "tcp_user_timeout": 5000}
    given = {name: value for name, value in defaults.items() if name not in url.query}
    if "options" in url.query:
        options = f"{url.query['options']} {options}"
        url = url.difference_update_query(["options"])
    try:
        import psycopg  # noqa: F401
    except ModuleNotFoundError as error:
        raise CatalogueSchema("PostgreSQL needs psycopg: install recorder-for-asterisk[postgres]") from error
    engine = create_engine(
        url,
        pool_size=connections,
        max_overflow=0,
        hide_parameters=True,
        isolation_level="READ COMMITTED" if writes else "REPEATABLE READ",  # readers see one moment
        connect_args=given | {"options": options},
    )

    @event.listens_for(engine, "do_connect")
    def connect(dialect: Any, _record: object, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        raw = dialect.connect(*args, **options)
        try:
            require_utf8(raw.info.parameter_status("server_encoding") or "", raw.info.dbname)
        except CatalogueSchema:
            raw.close()
            raise
        return raw

    return engine


def require_utf8(encoding: str, database: str) -> None:
    """Raise CatalogueSchema where a PostgreSQL database cannot keep every text; nothing changes that later."""
    if encoding != "UTF8":
        what = f"the database {database} keeps text as {encoding}, and the catalogue needs UTF8"
        mend = "`createdb --encoding=UTF8 --template=template0 NAME` makes one that [catalogue] url can name"
        raise CatalogueSchema(f"{what}; {mend}")


class Ticket:
    """One request: its time limit, shared by the task that waits and the thread that works.

    Every change is made under the lock, so that exactly one of "given up" and "commits" comes first.
    """

    def __init__(self, within: timedelta) -> None:
        self.within = within.total_seconds()
        self.ends = time.monotonic() + self.within
        self.given_up = False
        self.commits = False
        self._abort: Callable[[], None] | None = None
        self._lock = threading.Lock()

    def left(self) -> float:
        """Seconds until the limit, never below 0."""
        return max(0.0, self.ends - time.monotonic())

    def give_up(self) -> bool:
        """Stop the work; returns whether it may still land."""
        with self._lock:
            self.given_up = True
            if self._abort:
                self._abort()
            return self.commits

    def hold(self, abort: Callable[[], None] | None) -> None:
        """The thread has (or, with None, no longer has) a connection that `abort` would break off."""
        with self._lock:
            self._abort = abort
            if abort and self.given_up:
                raise CatalogueAway("its time was up before the database answered")

    def before_commit(self) -> None:
        with self._lock:
            if self.given_up:
                raise CatalogueAway("its time was up before the commit")
            self.commits = True


class Pace:
    """How long requests take of late. Whoever comes too late to be done in time is sent away without being begun.

    Requests are served in the order of asking. Where more is asked than can be done, all of them wait until their time
    is nearly up; each would be begun, and rolled back just before its end, and nothing would ever be written again.
    """

    def __init__(self) -> None:
        self._seconds = 0.0

    def allows(self, ticket: Ticket) -> bool:
        """Whether the time that is left is likely to be enough. Who has waited for less than half of it is begun in any
        case: one long stall says nothing about the next request."""
        return ticket.left() >= min(self._seconds, ticket.within / 2)

    @contextmanager
    def measured(self) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            self._seconds += 0.2 * (time.monotonic() - began - self._seconds)


class Rooms:
    """The writing thread, the reading threads, and their connections.

    `may_write` looks at each transaction that writes before anything is written in it, and raises where it must not.
    """

    def __init__(
        self,
        url: URL,
        waiting_most: int = WAITING_MOST,
        may_write: Callable[[Connection], None] = lambda _: None,
    ) -> None:
        self._may_write = may_write
        self._file = Path(url.database or "") if url.drivername == "sqlite" else None
        self._identity = _identity(self._file)
        self._waiting_most = waiting_most
        self._engines = {
            True: connect_engine(url, writes=True),
            False: connect_engine(url, writes=False, connections=READERS),
        }
        self._threads = {
            True: ThreadPoolExecutor(1, thread_name_prefix="catalogue-write"),
            False: ThreadPoolExecutor(READERS, thread_name_prefix="catalogue-read"),
        }
        self._waiting = {True: 0, False: 0}
        self._paces = {True: Pace(), False: Pace()}
        self._late, self._late_said = 0, -LATE_SAID_EVERY

    @property
    def waiting(self) -> int:
        """Writes that were asked for and are not done: the gauge of the writing thread's queue."""
        return self._waiting[True]

    async def ask(self, work: Callable[[Connection], T], within: timedelta, *, writes: bool) -> T:
        """Run `work` in one transaction on its thread; CatalogueAway where that took longer than `within`.

        A task that is cancelled while it waits does not take its write back.
        """
        if self._waiting[writes] >= self._waiting_most:
            raise CatalogueAway(f"{self._waiting_most} requests are waiting for the catalogue already")
        ticket = Ticket(within)
        loop = asyncio.get_running_loop()
        self._waiting[writes] += 1
        answer = loop.run_in_executor(self._threads[writes], self._run, work, ticket, writes)
        answer.add_done_callback(lambda done: self._count_off(done, ticket, writes))
        await asyncio.wait({answer}, timeout=ticket.left())
        if answer.done():
            return answer.result()
        may_land = ticket.give_up()
        raise CatalogueAway(f"the catalogue did not answer within {within.total_seconds():g} s", may_land=may_land)

    async def close(self, within: timedelta) -> None:
        """Let what was asked for finish and close every connection; what takes longer than `within` ends by itself."""
        loop = asyncio.get_running_loop()
        ends = [loop.run_in_executor(None, self._end, writes) for writes in self._threads]
        await asyncio.wait(ends, timeout=within.total_seconds())

    def _end(self, writes: bool) -> None:
        self._threads[writes].shutdown()
        self._engines[writes].dispose()

    def _count_off(self, done: asyncio.Future[T], ticket: Ticket, writes: bool) -> None:
        self._waiting[writes] -= 1
        late = None if done.cancelled() else done.exception()
        if not ticket.given_up:
            return
        self._late += 1
        if time.monotonic() - self._late_said >= LATE_SAID_EVERY:
            landed = late is None and writes
            _log.warning("catalogue answered after its time limit", extra={"times": self._late, "landed": landed})
            self._late, self._late_said = 0, time.monotonic()

    def _run(self, work: Callable[[Connection], T], ticket: Ticket, writes: bool) -> T:
        try:
            return self._attempt(work, ticket, writes)
        except IntegrityError as error:
            if not _is_double(error):
                raise translated(error) from error
        except SQLAlchemyError as error:
            raise translated(error, may_land=ticket.commits) from error
        # A write of ours that was cut off in its commit has landed after we had looked: look again, once.
        try:
            return self._attempt(work, ticket, writes)
        except SQLAlchemyError as error:
            raise translated(error, may_land=ticket.commits) from error

    def _attempt(self, work: Callable[[Connection], T], ticket: Ticket, writes: bool) -> T:
        if not self._paces[writes].allows(ticket):
            raise CatalogueAway("too little of its time was left when its turn came")
        with self._paces[writes].measured(), self._held(ticket, writes) as connection:
            if writes:
                self._may_write(connection)
            answer = work(connection)
            if writes:
                ticket.before_commit()
            connection.commit()
            return answer

    @contextmanager
    def _held(self, ticket: Ticket, writes: bool) -> Iterator[Connection]:
        if ticket.given_up:
            raise CatalogueAway("its time was up before its turn came")
        if _identity(self._file) != self._identity:
            raise CatalogueAway("the catalogue's file was removed or replaced while it was open")
        with self._greeted(ticket, writes) as connection:
            try:
                yield connection
            finally:
                # Here, not when the pool gets it back: a server that hangs now must still be cut off.
                try:
                    connection.rollback()
                finally:
                    ticket.hold(None)

    def _greeted(self, ticket: Ticket, writes: bool) -> Connection:
        """Return a connection that has just answered; a pooled one that died meanwhile is replaced once."""
        try:
            return self._greet(self._engines[writes].connect(), ticket)
        except DBAPIError as error:
            if not error.connection_invalidated or ticket.given_up:
                raise
        return self._greet(self._engines[writes].connect(), ticket)

    def _greet(self, connection: Connection, ticket: Ticket) -> Connection:
        raw = connection.connection.driver_connection
        try:
            ticket.hold(lambda: break_off(raw))
            if isinstance(raw, sqlite3.Connection):
                raw.execute(f"PRAGMA busy_timeout={int(ticket.left() * 900)}")  # a tenth is left to say so in time
            else:
                connection.exec_driver_sql("SELECT 1")
        except BaseException:
            ticket.hold(None)
            connection.close()
            raise
        return connection


def _identity(file: Path | None) -> tuple[int, int] | None:
    """Return which file this is: a removed one would go on taking writes that nobody ever finds."""
    if file is None:
        return None
    try:
        found = file.stat()
    except OSError as error:
        raise CatalogueAway(f"cannot look at the catalogue's file: {error.strerror}") from error
    return found.st_dev, found.st_ino


def _is_double(error: IntegrityError) -> bool:
    """Whether a row was there already (PostgreSQL's unique_violation; SQLite's writers cannot overlap)."""
    return getattr(error.orig, "sqlstate", None) == "23505"


def break_off(raw: object) -> None:
    """End whatever `raw` waits for, from another thread: its thread gets an error at once.

    A PostgreSQL server that hangs answers no cancel request, and its kernel goes on acknowledging packets, so that no
    timeout of libpq's fires; closing our end of the socket is what always works.
    """
    if isinstance(raw, sqlite3.Connection):
        with suppress(sqlite3.Error):
            raw.interrupt()
        return
    import psycopg  # an extra of the package: there wherever a PostgreSQL connection is

    if isinstance(raw, psycopg.Connection):
        with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(raw.fileno())) as twin:
            twin.shutdown(socket.SHUT_RDWR)


def translated(error: SQLAlchemyError, *, may_land: bool = False) -> CatalogueError:
    """Say a library's error in our words; parameters, which may be personal, stay out."""
    said = str(error.orig).partition("\n")[0] if isinstance(error, DBAPIError) else str(error)
    if isinstance(error, IntegrityError | DataError):
        return CatalogueRefused(said)
    return CatalogueAway(said, may_land=may_land)
