# SPDX-License-Identifier: MIT
"""The store's database: opens it, migrates it to the current format, and explains its errors.

One transaction writes at a time: SQLite's by ``BEGIN IMMEDIATE``, PostgreSQL's by an advisory lock. A transaction is
written as a whole or not at all. An interrupted one loses nothing, because the run directories are the primary data.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Self

from harness.errors import HarnessError, InfrastructureError, UsageError, system_errors
from harness.history.private import keep_private
from harness.invocation import invocation
from harness.package import missing_extra
from harness.store.address import LOGIN_HINT, StoreAddress

if TYPE_CHECKING:
    from sqlalchemy import Connection as Connection
    from sqlalchemy import Engine

WAIT_S = 20
"""Seconds to wait for a locked database, or for a server."""

STATEMENT_S = 600
"""Seconds after which PostgreSQL cancels a statement of this program."""

LOCK = 0x68_70_68_73
"""The writer's advisory lock in PostgreSQL."""

KEPT = "Nothing is lost: the run directories have it all, and"


class Database:
    """One open store. ``with Database.open(address) as store: with store.reading() as connection: …``."""

    def __init__(self, address: StoreAddress, engine: Engine) -> None:
        self.address = address
        self._engine = engine

    @classmethod
    def open(cls, address: StoreAddress, *, make: bool = False, wait: float = 0) -> Self:
        """Open a store. With ``make``, create it and migrate it to the current format; otherwise only read it.

        Wait ``wait`` seconds for a locked database, or for a server: :data:`WAIT_S` if that is 0.

        Raises MissingPart without the extra. Raises UsageError if there is no store, or if it belongs to a newer
        harness or another program. Raises InfrastructureError for an error of the machine or the server.
        """
        try:
            import alembic  # noqa: F401
            import sqlalchemy  # noqa: F401
        except ImportError as error:
            raise missing_extra("the result store needs SQLAlchemy and Alembic", "lab") from error
        if address.file is not None and not address.file.exists():
            if not make:
                raise UsageError(
                    f"there is no result store at {address}",
                    hint=f"Nightly runs make it. To load earlier ones: {invocation('store', 'load', 'nightly')}",
                )
            with system_errors(f"cannot make the result store {address}"):
                address.file.parent.mkdir(parents=True, exist_ok=True)
                keep_private(address.file)
        opened = cls(address, _engine(address, make=make, wait=wait or WAIT_S))
        try:
            with opened.writing() if make else opened.reading() as connection:
                _check(connection, address, make=make)
            if make:
                opened._keep_log()
        except BaseException:
            opened.close()
            raise
        return opened

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._engine.dispose()

    def _keep_log(self) -> None:
        """Switch to write-ahead logging, so that readers do not wait. It changes the file, so only a store of the
        current format is switched."""
        if self.address.file is None:
            return
        with told(self.address), self._engine.connect() as connection:
            raw = connection.connection.driver_connection
            assert isinstance(raw, sqlite3.Connection)
            # While another process uses the file, the mode stays: readers then wait, and nothing is lost.
            with contextlib.suppress(sqlite3.OperationalError):
                raw.execute("PRAGMA journal_mode = WAL")

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a connection that reads the store's current contents. Raises InfrastructureError."""
        with told(self.address), self._engine.connect() as connection:
            yield connection

    def release_memory(self) -> None:
        """Free SQLite's cache of pages, which would grow with the store to 64 MiB (SQLite: PRAGMA shrink_memory)."""
        if self.address.file is not None:
            with told(self.address), self._engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA shrink_memory")

    @contextlib.contextmanager
    def writing(self) -> Iterator[Connection]:
        """Give a connection whose writes are committed together, or rolled back if the block raises. Raises
        InfrastructureError."""
        from sqlalchemy import text

        with told(self.address), self._engine.connect() as connection:
            if self.address.file is None:
                with connection.begin():
                    connection.execute(text(f"SELECT pg_advisory_xact_lock({LOCK})"))
                    yield connection
            else:
                connection.info["write"] = True
                with connection.begin():
                    connection.info["write"] = False
                    yield connection


def _engine(address: StoreAddress, *, make: bool, wait: float) -> Engine:
    from sqlalchemy import create_engine, event, pool

    if address.file is None:
        try:
            import psycopg  # noqa: F401
        except ImportError as error:
            raise missing_extra("a result store in PostgreSQL needs psycopg", "lab") from error
        options = f"-c statement_timeout={STATEMENT_S * 1000} -c lock_timeout={int(wait * 1000)}"
        return create_engine(
            address.url,
            hide_parameters=True,
            poolclass=pool.QueuePool,
            pool_size=1,
            pool_pre_ping=True,
            connect_args={
                "connect_timeout": max(2, int(wait)), "tcp_user_timeout": int(wait * 1000), "application_name": "harness",
                "options": options,
            },
        )  # fmt: skip
    file = address.file
    engine = create_engine(
        "sqlite://",
        creator=lambda: _connect(file, make=make, wait=wait),
        hide_parameters=True,
        poolclass=pool.QueuePool,
        pool_size=1,
    )

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.info.get("write") else "BEGIN")

    return engine


def _connect(file: Path, *, make: bool, wait: float) -> sqlite3.Connection:
    """Open SQLite's file. A file that is only read can be on a read-only file system."""
    name = file.absolute().as_uri()
    modes = ["rw"] if make else ["ro", "ro&immutable=1"]
    for mode in modes:
        opened: sqlite3.Connection | None = None
        try:
            opened = sqlite3.connect(
                f"{name}?mode={mode}", uri=True, timeout=wait, isolation_level=None, check_same_thread=False
            )
            opened.execute("SELECT count(*) FROM sqlite_master")
            if make:
                opened.execute("PRAGMA synchronous = NORMAL")
                opened.execute("PRAGMA foreign_keys = ON")
        except sqlite3.Error as error:
            if opened is not None:
                opened.close()
            # A log beside the file means that the file alone is not the whole store.
            beside = file.with_name(f"{file.name}-wal")
            if mode == modes[-1] or not _cannot_open(error) or beside.exists():
                raise
        else:
            opened.execute("PRAGMA cache_size = -65536")
            return opened
    raise AssertionError("one of the modes has raised")


def _cannot_open(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorname", "").startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY"))


def _check(connection: Connection, address: StoreAddress, *, make: bool) -> None:
    """Migrate the store to the current format. Refuse a database that is not a store, or one of a newer harness."""
    from sqlalchemy import inspect, text

    from harness.store.models import FORMAT, PROGRAM

    tables = set(inspect(connection).get_table_names())
    said: dict[str, str] = {}
    if {"meta", "alembic_version"} <= tables and {
        column["name"] for column in inspect(connection).get_columns("meta")
    } == {"key", "value"}:
        said = {row.key: row.value for row in connection.execute(text("SELECT key, value FROM meta"))}
    if tables and said.get("program") != PROGRAM:
        raise UsageError(
            f"{address} is a database of another program: it has the table {min(tables)!r} and is not a result store",
            hint="Give the store a file, or a database, of its own.",
        )
    if tables and (not said["format"].isdigit() or int(said["format"]) > int(FORMAT)):
        raise UsageError(
            f"{address} is a result store of a newer harness: its format is {said['format']!r}, this harness knows {FORMAT}",
            hint="Use the newer harness, or another store; run directories can be loaded into any number of stores.",
        )
    if make:
        _migrate(connection)
    elif not tables:
        raise UsageError(
            f"there is no result store at {address}: the database is empty",
            hint=f"Load earlier nightly runs: {invocation('store', 'load', 'nightly')}",
        )
    elif said["format"] != FORMAT:
        raise UsageError(
            f"{address} is a result store of an older harness",
            hint=f"Migrate it: {invocation('store', 'load', 'nightly')}",
        )


def _migrate(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


@contextlib.contextmanager
def told(address: StoreAddress) -> Iterator[None]:
    """Raise an error of the database as an InfrastructureError with a hint."""
    from sqlalchemy.exc import DBAPIError, SQLAlchemyError

    try:
        yield
    except HarnessError:
        raise
    except DBAPIError as error:
        raise _told(address, error.orig) from error
    except sqlite3.Error as error:
        raise _told(address, error) from error
    except SQLAlchemyError as error:
        raise InfrastructureError(f"the result store {address}: {str(error).splitlines()[0]}") from error


SQLITE = {
    "SQLITE_BUSY": ("is locked by another process", "Wait for it, and try again."),
    "SQLITE_LOCKED": ("is locked by another process", "Wait for it, and try again."),
    "SQLITE_FULL": ("has no room: its disk is full", f"Free some disk space. {KEPT} can be loaded then."),
    "SQLITE_READONLY": (
        "cannot be written",
        "Give a writable file. 'harness history' can still read this one.",
    ),
    "SQLITE_CANTOPEN": (
        "cannot be opened",
        "Check the owner of the file and the permissions of its directory.",
    ),
    "SQLITE_NOTADB": ("is not a database of SQLite", "Give the store a file of its own."),
    "SQLITE_CORRUPT": ("is damaged", f"Move the file away. {KEPT} can be loaded into a new one."),
    "SQLITE_IOERR": ("cannot be read or written: the disk failed", f"{KEPT} can be loaded again."),
}

POSTGRESQL = {
    "53100": ("has no room: the server's disk is full", f"{KEPT} can be loaded later."),
    "28": ("refuses this user", LOGIN_HINT),
    "3D": ("does not exist", "Make the database first: createdb NAME"),
    "42501": ("does not permit this user to do that", "The database's owner must grant the right."),
    "25006": (
        "cannot be written",
        "The server is a standby, or this user can only read. Give the address of the primary.",
    ),
    "55P03": ("is locked by another process", "Wait for it, and try again."),
    "57014": ("took too long to answer", f"A statement is ended after {STATEMENT_S} s."),
}
"""The meaning of SQLSTATEs, by their first characters (PostgreSQL: appendix A, error codes)."""


CONNECTING = (
    ('database "', "3D"),
    ("authentication failed", "28"),
    ("no password supplied", "28"),
    ('role "', "28"),
    ("pg_hba.conf", "28"),
)
"""Parts of a server's English messages to a connection that it refuses. libpq reports no SQLSTATE for those."""


def _told(address: StoreAddress, error: object) -> InfrastructureError:
    words = " ".join(str(error).split())[:400]
    if isinstance(error, sqlite3.Error):
        name = getattr(error, "sqlite_errorname", "")
        for prefix, (said, hint) in SQLITE.items():
            if name.startswith(prefix):
                return InfrastructureError(f"the result store {address} {said} ({words})", hint=hint)
        return InfrastructureError(f"the result store {address}: {words}")
    state = getattr(error, "sqlstate", None) or ""
    if not state and "FATAL:" in words:
        state = next((code for sign, code in CONNECTING if sign in words), "")
    for prefix, (said, hint) in POSTGRESQL.items():
        if state.startswith(prefix):
            return InfrastructureError(f"the result store {address} {said} ({words})", hint=hint)
    return InfrastructureError(
        f"the result store {address} does not answer: {words}" if not state or state[:2] in ("08", "57")
        else f"the result store {address}: {words}",
        hint=f"Is the server up? {KEPT} can be loaded later.",
    )  # fmt: skip
