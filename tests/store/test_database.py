# SPDX-License-Identifier: MIT
"""What can be wrong with a store: each is said in words with a way out, and what was written before stays."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from private_postgres import PrivatePostgres
from small_disk import small_disk
from sqlalchemy import func, select
from store.made_runs import make_run

from harness.contract.verdict import Verdict
from harness.errors import HarnessError, InfrastructureError, UsageError
from harness.store import database
from harness.store.address import StoreAddress, read_address
from harness.store.database import Database
from harness.store.loader import load
from harness.store.models import StoredRun
from harness.store.source import RunSource, sources


def refusal(address: StoreAddress, *, make: bool = True) -> HarnessError:
    """Return the error with which a store is not opened."""
    with pytest.raises(HarnessError) as caught:
        Database.open(address, make=make)
    return caught.value


def runs_of(store: Database) -> int:
    """Return how many runs a store has."""
    with store.reading() as connection:
        return connection.scalar(select(func.count()).select_from(StoredRun)) or 0


def at(file: Path) -> StoreAddress:
    """Return the address of a file."""
    return read_address(f"sqlite:///{file}", what="test")


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """The file of a store with one run."""
    file = tmp_path / "filled" / "results.sqlite"
    with Database.open(at(file), make=True) as store:
        load(store, sources([make_run(tmp_path / "runs", "a")]))
    return file


def test_a_store_that_is_not_there_is_not_made_by_asking(tmp_path: Path) -> None:
    """The message says what makes it."""
    error = refusal(at(tmp_path / "x.sqlite"), make=False)
    assert (UsageError, True, False) == (
        type(error),
        "harness store load nightly" in error.hint,
        (tmp_path / "x.sqlite").exists(),
    )


def test_an_empty_database_is_no_store_yet(address: StoreAddress) -> None:
    """Asked, it is refused; loaded into, it becomes one."""
    if address.file is not None:
        address.file.parent.mkdir()
        address.file.touch()
    assert "is empty" in refusal(address, make=False).message
    with Database.open(address, make=True) as store:
        assert 0 == runs_of(store)


@pytest.mark.parametrize("make", [True, False])
def test_the_database_of_another_program_is_refused(address: StoreAddress, make: bool) -> None:
    """Its tables are not touched."""
    execute(address, "CREATE TABLE bookmarks (n integer)")
    error = refusal(address, make=make)
    assert (UsageError, True) == (
        type(error),
        "another program: it has the table 'bookmarks'" in error.message,
    )


@pytest.mark.parametrize("make", [True, False])
def test_a_table_called_meta_makes_no_store(address: StoreAddress, make: bool) -> None:
    """Nor do Alembic's tables of another program."""
    execute(
        address,
        "CREATE TABLE meta (key text, value text)",
        "CREATE TABLE alembic_version (version_num text)",
        "INSERT INTO meta VALUES ('program', 'other')",
    )
    assert "is a database of another program" in refusal(address, make=make).message


@pytest.mark.parametrize("make", [True, False])
def test_a_store_of_a_newer_harness_is_refused(store: Database, address: StoreAddress, make: bool) -> None:
    """It says both formats."""
    with store.writing() as connection:
        connection.exec_driver_sql("UPDATE meta SET value = '3' WHERE key = 'format'")
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0002'")
    assert (
        "is a result store of a newer harness: its format is '3', this harness knows 2"
        in refusal(address, make=make).message
    )


def execute(address: StoreAddress, *statements: str) -> None:
    """Execute statements in a database that is no store."""
    if address.file is not None:
        address.file.parent.mkdir(exist_ok=True)
        with closing(sqlite3.connect(address.file)) as connection:
            for statement in statements:
                connection.execute(statement)
            connection.commit()
        return
    import psycopg

    with psycopg.connect(address.url.replace("+psycopg", ""), autocommit=True) as server:
        for statement in statements:
            server.execute(statement)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    """It stays as it is."""
    file = tmp_path / "notes.sqlite"
    file.write_text("not a database\n" * 100)
    error = refusal(at(file))
    assert ("is not a database of SQLite", "not a database\n" * 100) == (
        "is not a database of SQLite" if "is not a database of SQLite" in error.message else error.message,
        file.read_text(),
    )


def test_a_damaged_store_is_refused(filled: Path) -> None:
    """The message says to move it away."""
    data = bytearray(filled.read_bytes())
    data[4096 : 4096 + 3000] = b"\xaa" * 3000
    filled.write_bytes(data)
    error = refusal(at(filled))
    assert (True, True) == ("is damaged" in error.message, "Move the file away" in error.hint)


def test_a_locked_store_is_waited_for_and_then_given_up(
    filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process writes and does not end: 69 after the wait, and reading goes on."""
    monkeypatch.setattr(database, "WAIT_S", 0.3)
    with closing(sqlite3.connect(filled, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        error = refusal(at(filled))
        with Database.open(at(filled)) as store:
            seen = runs_of(store)
        other.execute("ROLLBACK")
    assert (InfrastructureError, True, 1) == (
        type(error),
        "is locked by another process" in error.message,
        seen,
    )


@pytest.mark.root
def test_a_read_only_disk_can_be_asked_and_not_written(tmp_path: Path) -> None:
    """A store on a disk that was mounted read-only answers; loading says why it cannot."""
    with small_disk(tmp_path / "disk", "8m") as disk:
        file = disk / "results.sqlite"
        with Database.open(at(file), make=True) as store:
            load(store, sources([make_run(tmp_path / "runs", "a")]))
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        with Database.open(at(file)) as store:
            seen = runs_of(store)
        error = refusal(at(file))
        nowhere = refusal(at(disk / "deeper" / "x.sqlite"))
    assert (1, True, True) == (seen, "cannot be" in error.message, "Read-only file system" in nowhere.message)


@pytest.mark.root
def test_a_full_disk_loses_nothing_that_was_written(tmp_path: Path) -> None:
    """The load says that the disk is full; what was there before it is whole."""
    for number in range(300):
        make_run(tmp_path / "runs", f"run-{number}", verdict=Verdict.VIOLATED, reason="x" * 900)
    with small_disk(tmp_path / "disk", "400k") as disk:
        file = disk / "results.sqlite"
        with Database.open(at(file), make=True) as store:
            load(store, sources([make_run(tmp_path / "one", "first")]))
            with pytest.raises(InfrastructureError, match=r"its disk is full|the disk failed") as caught:
                load(store, sources([tmp_path / "runs"]))
        with Database.open(at(file)) as store, store.reading() as connection:
            names = set(connection.scalars(select(StoredRun.name)))
            check = connection.exec_driver_sql("PRAGMA integrity_check").scalar()
    assert ("ok", True, True) == (check, "first" in names, "run directories" in caught.value.hint)


@pytest.fixture
def own_postgres(request: pytest.FixtureRequest) -> Iterator[PrivatePostgres]:
    """The server of the session, which is up again at the end."""
    server: PrivatePostgres = request.getfixturevalue("postgres_server")
    try:
        yield server
    finally:
        server.restart()


@pytest.mark.postgres
def test_a_server_that_goes_away_in_the_middle_loses_nothing(
    own_postgres: PrivatePostgres, tmp_path: Path
) -> None:
    """The load says so; when the server is back the same load finishes, and each run is there once."""
    for number in range(250):
        make_run(tmp_path / "runs", f"run-{number:03}")
    address = read_address(own_postgres.database(), what="test")
    seen: list[int] = []

    def told(looked: int) -> None:
        seen.append(looked)
        if looked == 100:
            own_postgres.stop()

    with Database.open(address, make=True) as store:
        with pytest.raises(InfrastructureError, match="does not answer") as caught:
            load(store, sources([tmp_path / "runs"]), told=told)
        own_postgres.start()
        again = load(store, sources([tmp_path / "runs"]))
        assert [[100], (150, 100), 250, True] == [
            seen, (again.added, again.same), runs_of(store), "Is the server up?" in caught.value.hint,
        ]  # fmt: skip


@pytest.mark.postgres
def test_a_server_that_is_down_is_said(own_postgres: PrivatePostgres) -> None:
    """No traceback, no hang; the address is named, and it has no password in it."""
    address = read_address(own_postgres.database(), what="test")
    own_postgres.stop()
    error = refusal(address)
    assert (True, True) == (
        f"the result store {address} does not answer" in error.message,
        "Is the server up?" in error.hint,
    )


@pytest.mark.postgres
def test_a_server_that_hangs_is_given_up(
    own_postgres: PrivatePostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its processes are stopped: connecting ends after the wait."""
    monkeypatch.setattr(database, "WAIT_S", 2)
    address = read_address(own_postgres.database(), what="test")
    own_postgres.pause()
    try:
        error = refusal(address)
    finally:
        own_postgres.proceed()
    assert "does not answer" in error.message


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("name", "user", "said", "hint"),
    [
        ("nosuch", "lab", "does not exist", "createdb"),
        ("postgres", "stranger", "refuses this user", "pgpass"),
    ],
)
def test_what_the_server_refuses_is_said(
    postgres_server: PrivatePostgres, name: str, user: str, said: str, hint: str
) -> None:
    """The way out is createdb, or a login without a password in the address."""
    error = refusal(read_address(postgres_server.address(name, user), what="test"))
    assert (InfrastructureError, True, True) == (type(error), said in error.message, hint in error.hint)


@pytest.mark.postgres
def test_a_user_who_only_reads_can_ask(postgres_server: PrivatePostgres, tmp_path: Path) -> None:
    """Loading is refused in words."""
    address = read_address(postgres_server.database(), what="test")
    with Database.open(address, make=True) as store:
        load(store, sources([make_run(tmp_path, "a")]))
    name = address.url.rpartition("/")[0] and address.url.split("/")[3].partition("?")[0]
    postgres_server.ask(name, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    with Database.open(address) as store:
        seen = runs_of(store)
    with (
        pytest.raises(InfrastructureError, match="cannot be written"),
        Database.open(address, make=True) as store,
    ):
        load(store, [RunSource(path=make_run(tmp_path, "b"))])
    assert 1 == seen


def test_without_the_extra_it_is_named(tmp_path: Path) -> None:
    """The rest of the harness works without SQLAlchemy; the store says how to get it."""
    program = (
        "import sys; sys.modules['sqlalchemy'] = None\n"
        "from harness.cli.main import main\n"
        "sys.exit(main(['store', 'load', sys.argv[1]]))"
    )
    make_run(tmp_path, "a")
    ended = subprocess.run(
        [sys.executable, "-c", program, tmp_path], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
        env=os.environ,
    )  # fmt: skip
    assert (69, True) == (
        ended.returncode,
        "hotplug-harness[lab]" in ended.stderr or "pipx inject" in ended.stderr,
    )
