# SPDX-License-Identifier: MIT
"""Both databases: a test that uses ``address`` is done once on SQLite and once on PostgreSQL."""

from __future__ import annotations

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


@pytest.fixture
def store(address: StoreAddress) -> Iterator[Database]:
    """A store with nothing in it."""
    with Database.open(address, make=True) as opened:
        yield opened
