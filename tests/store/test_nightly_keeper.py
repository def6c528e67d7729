# SPDX-License-Identifier: MIT
"""Cells are loaded as they end; a store that is in the way is tried again, and nothing is missing in the end."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from private_postgres import PrivatePostgres
from small_disk import small_disk
from sqlalchemy import select
from store.made_runs import make_run, outcome

from harness.contract.verdict import Verdict
from harness.explore.exploration import ExplorationReport
from harness.explore.finding import ExploredFinding
from harness.lab.matrix import decode_matrix
from harness.lab.nightly_state import ExploredGuest, NightlyState, open_nightly_run
from harness.store import database, nightly_keeper
from harness.store.address import StoreAddress, read_address
from harness.store.database import Database
from harness.store.models import StoredHost, StoredNightly, StoredRun
from harness.store.nightly_keeper import NightlyKeeper
from harness.store.upkeep import check

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


def test_what_exploring_found_is_there(state: NightlyState, address: StoreAddress) -> None:
    """Its run is in the store under its own name, and is not one of the nightly run's cells."""
    run = make_run(state.directory.parent / "exploration", "run-of-a-finding", verdict=Verdict.VIOLATED)
    gone = ExploredFinding(signature="gone", run=str(run.with_name("gone")))
    report = ExplorationReport(
        directory="d", guest="host", seed=0, findings=[ExploredFinding(signature="x", run=str(run)), gone]
    )
    end_cell(state, 1)
    keeper = NightlyKeeper(address, state)
    keeper.note(state.outcomes["host.process.default.veto.1"])
    state.explored.append(ExploredGuest(name="host.process", report=report))
    assert (keeper.finish(), stored(address)) == (None, ["run-1"])
    with Database.open(address) as store, store.reading() as connection:
        assert sorted(connection.scalars(select(StoredRun.name))) == ["run-1", "run-of-a-finding"]


def test_a_nightly_run_that_goes_on_loads_what_was_over_before(
    state: NightlyState, address: StoreAddress
) -> None:
    """The process that ran the first cell may have been killed before it was loaded."""
    end_cell(state, 1)
    keeper = NightlyKeeper(address, state)
    end_cell(state, 2)
    keeper.note(state.outcomes["host.process.default.veto.2"])
    assert [None, ["run-1", "run-2"]] == [keeper.finish(), stored(address)]


def test_a_late_result_is_loaded_at_the_end(state: NightlyState, address: StoreAddress) -> None:
    """Its cell was loaded before it came; the store then agrees with the directories, and knows the hosts."""
    cell = "host.process.default.veto.1"
    run = make_run(state.directory / "runs", "run-1")
    state.record(outcome(cell, str(run), host="b"))
    end_cell(state, 2)
    keeper = NightlyKeeper(address, state)
    for known in state.outcomes.values():
        assert keeper.note(known) is None
    late = make_run(state.directory / "runs", "late")
    state.record(outcome(cell, str(late), str(run), host="b", hosts={"late": "a", "run-1": "b"}))
    assert [None, ["late", "run-1", "run-2"]] == [keeper.finish(), stored(address)]
    with Database.open(address) as store:
        assert check(store).changed == []
        with store.reading() as connection:
            asked = select(StoredRun.name, StoredHost.name, StoredRun.counted).join(
                StoredHost, StoredHost.id == StoredRun.host_id
            )
            hosts = {name: (host, counted) for name, host, counted in connection.execute(asked)}
    assert {"late": ("a", False), "run-1": ("b", True), "run-2": (os.uname().nodename[:200], True)} == hosts


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


def _newer(file: Path) -> None:
    with Database.open(read_address(f"sqlite:///{file}", what="test"), make=True):
        pass
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("UPDATE meta SET value = '999' WHERE key = 'format'")


def _another_program(file: Path) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("CREATE TABLE songs (name TEXT)")


def _text(file: Path) -> None:
    file.write_text("this is not a database\n" * 100)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (_newer, "is a result store of a newer harness"),
        (_another_program, "is a database of another program"),
        (_text, "is not a database of SQLite"),
    ],
)
def test_a_bad_store_is_reported_once_and_loaded_after_it_was_replaced(
    state: NightlyState, tmp_path: Path, make: Callable[[Path], None], said: str
) -> None:
    """The file stays as it was. When another store takes its place, every cell is loaded."""
    file = tmp_path / "results.sqlite"
    make(file)
    before = file.read_bytes()
    address = read_address(f"sqlite:///{file}", what="test")
    keeper = NightlyKeeper(address, state)
    told = []
    for number in (1, 2):
        end_cell(state, number)
        told.append(keeper.note(state.outcomes[f"host.process.default.veto.{number}"]))
    assert [True, None, True, before] == [
        said in str(told[0]), told[1], said in str(keeper.finish()), file.read_bytes(),
    ]  # fmt: skip
    file.unlink()
    assert [None, ["run-1", "run-2"]] == [keeper.finish(), stored(address)]


@pytest.mark.root
def test_cells_that_found_the_disk_full_are_loaded_when_there_is_room(
    state: NightlyState, tmp_path: Path
) -> None:
    """The disk of the store alone is full; the run directories are on another."""
    with small_disk(tmp_path / "disk", "600k") as disk:
        address = read_address(f"sqlite:///{disk}/results.sqlite", what="test")
        keeper = NightlyKeeper(address, state)
        filler = disk / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while file.write(b"x" * 4096):
                pass
        for number in (1, 2, 3):
            end_cell(state, number)
            keeper.note(state.outcomes[f"host.process.default.veto.{number}"])
        full = keeper.finish()
        filler.unlink()
        assert [True, None, ["run-1", "run-2", "run-3"]] == [
            "its disk is full" in str(full) or "the disk failed" in str(full), keeper.finish(), stored(address),
        ]  # fmt: skip


@pytest.mark.postgres
def test_cells_that_ended_while_the_server_was_gone_are_loaded_when_it_is_back(
    state: NightlyState, postgres_server: PrivatePostgres
) -> None:
    """The server is killed between two cells; the nightly run goes on."""
    address = read_address(postgres_server.database(), what="test")
    keeper = NightlyKeeper(address, state)
    told = []
    try:
        for number in (1, 2, 3):
            end_cell(state, number)
            told.append(keeper.note(state.outcomes[f"host.process.default.veto.{number}"]))
            if number == 1:
                postgres_server.stop()
        gone = keeper.finish()
    finally:
        postgres_server.restart()
    assert [None, True, None, True] == [
        told[0],
        "does not answer" in str(told[1]),
        told[2],
        "does not answer" in str(gone),
    ]
    assert [None, ["run-1", "run-2", "run-3"]] == [keeper.finish(), stored(address)]
