# SPDX-License-Identifier: MIT
"""Both databases: a test that uses ``address`` is done once on SQLite and once on PostgreSQL."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.store.address import VARIABLE, StoreAddress, read_address
from harness.store.database import Database


@pytest.fixture(autouse=True)
def no_store_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store of whoever runs the tests is not theirs."""
    monkeypatch.delenv(VARIABLE, raising=False)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> StoreAddress:
    """The address of a database with nothing in it."""
    if request.param == "sqlite":
        return read_address(f"sqlite:///{tmp_path}/store/results.sqlite", what="test")
    return read_address(request.getfixturevalue("postgres_server").database(), what="test")


@pytest.fixture(scope="session")
def empty_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of SQLite with nothing in it, which is closed. All migrations have made it."""
    path = tmp_path_factory.mktemp("empty") / "results.sqlite"
    with Database.open(read_address(f"sqlite:///{path}", what="test"), make=True):
        pass
    return path


@pytest.fixture
def store(address: StoreAddress, request: pytest.FixtureRequest) -> Iterator[Database]:
    """A store with nothing in it. One of SQLite is a copy, since to migrate costs more than most tests do."""
    if address.file is not None:
        address.file.parent.mkdir()
        shutil.copy(request.getfixturevalue("empty_file"), address.file)
    with Database.open(address, make=True) as opened:
        yield opened
