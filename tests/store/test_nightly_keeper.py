# SPDX-License-Identifier: MIT
"""Cells are loaded as they end; a store that is in the way is tried again, and nothing is missing in the end."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import select
from store.made_runs import make_run, outcome

from harness.lab.matrix import decode_matrix
from harness.lab.nightly_state import NightlyState, open_nightly_run
from harness.store import database, nightly_keeper
from harness.store.address import StoreAddress, read_address
from harness.store.database import Database
from harness.store.models import StoredNightly, StoredRun
from harness.store.nightly_keeper import NightlyKeeper

LAB = 'repeat = 3\n[[guest]]\nname = "host"\n[[plan]]\nplan = "veto"\n'


@pytest.fixture
def state(tmp_path: Path) -> Iterator[NightlyState]:
    """A nightly run that has just begun."""
    with open_nightly_run(
        tmp_path / "nightly", decode_matrix(LAB, name="lab.toml", base=tmp_path), name="n"
    ) as opened:
        yield opened


def end_cell(state: NightlyState, number: int) -> None:
    """Let a cell of the nightly run end."""
    run = make_run(state.directory / "runs", f"run-{number}")
    state.record(outcome(f"host.process.default.veto.{number}", str(run)))


def stored(address: StoreAddress) -> list[str]:
    """Return the runs that the store has of the nightly run."""
    with Database.open(address) as store, store.reading() as connection:
        asked = select(StoredRun.name).join(StoredNightly, StoredNightly.id == StoredRun.nightly_id)
        return sorted(connection.scalars(asked.where(StoredNightly.name == "n")))


def test_each_cell_is_there_when_it_has_ended(state: NightlyState, address: StoreAddress) -> None:
    """One after the other, on both databases."""
    keeper = NightlyKeeper(address, state)
    seen = []
    for number in (1, 2):
        end_cell(state, number)
        assert keeper.note(state.outcomes[f"host.process.default.veto.{number}"]) is None
        seen.append(stored(address))
    assert [["run-1"], ["run-1", "run-2"], None] == [*seen, keeper.finish()]


def test_a_nightly_run_that_goes_on_loads_what_was_over_before(
    state: NightlyState, address: StoreAddress
) -> None:
    """The process that ran the first cell may have been killed before it was loaded."""
    end_cell(state, 1)
    keeper = NightlyKeeper(address, state)
    end_cell(state, 2)
    keeper.note(state.outcomes["host.process.default.veto.2"])
    assert [None, ["run-1", "run-2"]] == [keeper.finish(), stored(address)]


def test_a_locked_store_is_told_once_and_loaded_at_the_end(
    state: NightlyState, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cells that ended meanwhile are not waited for again and again, and are there in the end."""
    monkeypatch.setattr(nightly_keeper, "SHORT_S", 0.1)
    monkeypatch.setattr(database, "WAIT_S", 0.1)
    address = read_address(f"sqlite:///{tmp_path}/x.sqlite", what="test")
    with Database.open(address, make=True):
        pass
    keeper = NightlyKeeper(address, state)
    told = []
    assert address.file is not None
    with closing(sqlite3.connect(address.file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for number in (1, 2, 3):
            end_cell(state, number)
            told.append(keeper.note(state.outcomes[f"host.process.default.veto.{number}"]))
        late = keeper.finish()
        other.execute("ROLLBACK")
    assert [True, None, None, True] == [
        "is locked" in str(told[0]), *told[1:], "is locked" in str(late),
    ]  # fmt: skip
    assert [None, ["run-1", "run-2", "run-3"]] == [keeper.finish(), stored(address)]
