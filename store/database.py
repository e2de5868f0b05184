"""The connection to SQLite or PostgreSQL: transactions that are safe among threads and processes, and migrations."""

import sqlite3
import threading
import time
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TypeVar

from alembic import command
from alembic.config import Config
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session

T = TypeVar("T")
BUSY_SECONDS = 10
ATTEMPTS = 6
_HERE = Path(__file__).parent
_MIGRATING = threading.Lock()
_RETRIED = frozenset({"40001", "40P01"})
"""SQLSTATE of a serialization failure and of a deadlock: nothing happened, the transaction may run again."""


class Database:
    """One database: `read` and `write` run a piece of work in one transaction each.

    Raises ValueError for a database that is neither a SQLite file nor PostgreSQL.
    """

    def __init__(self, url: str) -> None:
        self.engine = _engine(_known(url))
        self._writer = self.engine.execution_options(writes=True)
        # SQLite has one writer at a time and a lock that is not fair: the threads of one process queue here instead.
        self._turn: AbstractContextManager[object] = (
            threading.Lock() if self.engine.dialect.name == "sqlite" else nullcontext()
        )

    def read(self, work: Callable[[Session], T]) -> T:
        """Return what `work` reads, from one consistent session."""
        with Session(self.engine) as session:
            return work(session)

    def write(self, order_numbers: str | Collection[str] | None, work: Callable[[Session], T]) -> T:
        """Run `work` in one transaction, alone on its orders, and return its answer; an error leaves nothing changed."""
        alone_on = [order_numbers] if isinstance(order_numbers, str) else sorted(order_numbers or ())
        for attempt in range(ATTEMPTS):
            try:
                with self._turn, Session(self._writer, expire_on_commit=False) as session, session.begin():
                    for number in alone_on:
                        _lock(session.connection(), f"order {number}")
                    return work(session)
            except DBAPIError as error:
                if attempt == ATTEMPTS - 1 or not _may_run_again(error):
                    raise
                time.sleep(0.02 * 2**attempt)
        raise AssertionError("unreachable")

    def migrate(self) -> None:
        """Bring the tables to the newest revision; several processes may do so at once, one of them does the work."""
        config = Config()
        config.set_main_option("script_location", str(_HERE).replace("%", "%%"))
        config.set_main_option("version_locations", str(_HERE / "migrations").replace("%", "%%"))
        config.set_main_option("path_separator", "newline")
        # alembic keeps its context in module globals, so threads take turns even on different databases.
        with _MIGRATING, self._turn, self._writer.begin() as connection:
            _lock(connection, "migrations")
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()


def _known(url: str) -> URL:
    parsed = make_url(url)
    if parsed.drivername in ("postgres", "postgresql", "postgresql+psycopg"):
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in ("sqlite", "sqlite+pysqlite"):
        raise ValueError(
            f"database {parsed.drivername!r} is not supported; use sqlite:///FILE or postgresql://HOST/NAME"
        )
    if not parsed.database or parsed.database == ":memory:":
        raise ValueError("an SQLite database in memory is not shared between threads; name a file: sqlite:///orders.db")
    Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    return parsed


def _engine(url: URL) -> Engine:
    if url.drivername == "postgresql+psycopg":
        # Under READ COMMITTED a row lock answers the newest row; a stricter default would fail instead.
        options = {
            "connect_timeout": BUSY_SECONDS,
            "options": f"-c statement_timeout={BUSY_SECONDS * 1000}",
            "keepalives_idle": BUSY_SECONDS,
            "keepalives_interval": BUSY_SECONDS,
            "keepalives_count": 3,
        }
        return create_engine(
            url, isolation_level="READ COMMITTED", pool_pre_ping=True, hide_parameters=True, connect_args=options
        )
    # An error that repeats its parameters would carry the buyer's data into logs and Temporal's failures.
    engine = create_engine(url, hide_parameters=True, connect_args={"timeout": BUSY_SECONDS, "isolation_level": None})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.execute("PRAGMA foreign_keys = ON")
    give_up = time.monotonic() + BUSY_SECONDS
    # The change to WAL needs the file alone and does not wait for it, so processes that start at once must try again.
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if not _is_busy(error) or time.monotonic() > give_up:
                raise
            time.sleep(0.01)


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads first and writes later fails at once, without waiting, when another has written between.
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _lock(connection: Connection, name: str) -> None:
    """Wait until no other transaction holds `name`, and hold it until this one ends; SQLite has one writer anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": name})


def _may_run_again(error: DBAPIError) -> bool:
    state = getattr(error.orig, "sqlstate", None)
    return state in _RETRIED or _is_busy(error.orig)


def _is_busy(error: BaseException | None) -> bool:
    return getattr(error, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))
