# SPDX-License-Identifier: MIT
"""Rebuilding, pruning and checking a store, on both databases."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from store.made_runs import make_night, make_run, outcome

from harness.contract.verdict import Verdict
from harness.errors import UsageError
from harness.store.database import Database
from harness.store.loader import load
from harness.store.models import Base, StoredRun
from harness.store.source import sources
from harness.store.upkeep import check, prune, rebuild

RECORDED = Path(__file__).parents[1] / "recorded" / "runs"


def content(store: Database) -> dict[str, list[Any]]:
    """Return what the store says of runs, without the numbers that it gives them."""
    with store.reading() as connection:
        found: dict[str, list[Any]] = {}
        for name, table in Base.metadata.tables.items():
            columns = [
                column for column in table.columns if column.name != "id" and not column.name.endswith("_id")
            ]
            rows = [tuple(map(str, row)) for row in connection.execute(select(*columns))] if columns else []
            found[name] = sorted(rows)
        return found


def test_a_rebuilt_store_is_the_same_store(store: Database) -> None:
    """Everything in it comes from the run directories."""
    load(store, sources([RECORDED]))
    before = content(store)
    report = rebuild(store, sources([RECORDED]))
    assert [len(before["run"]), before] == [report.added, content(store)]


def test_runs_whose_directories_are_gone_are_not_forgotten_by_mistake(
    store: Database, tmp_path: Path
) -> None:
    """A rebuild that would lose them is refused, and does it when told to."""
    for name in "ab":
        make_run(tmp_path, name)
    load(store, sources([tmp_path]))
    shutil.rmtree(tmp_path / "a")
    with pytest.raises(UsageError, match="1 runs of the store have no run directory any more, for example a"):
        rebuild(store, sources([tmp_path]))
    before = len(content(store)["run"])
    rebuild(store, sources([tmp_path]), forget=True)
    assert [2, 1] == [before, len(content(store)["run"])]


def test_a_rebuild_that_fails_leaves_the_old_store(store: Database, tmp_path: Path) -> None:
    """It is one transaction."""
    make_run(tmp_path, "a")
    load(store, sources([tmp_path]))
    before = content(store)

    def broken() -> Any:
        yield from sources([tmp_path])
        raise OSError("the disk failed")

    with pytest.raises(OSError, match="the disk failed"):
        rebuild(store, broken())
    assert before == content(store)


def test_pruning_takes_what_is_old_with_all_its_rows(store: Database, tmp_path: Path) -> None:
    """Nightly runs and incidents of which nothing is left go too; run directories stay."""
    old = make_night(tmp_path, "old", outcome("twin.q.t.veto.1", "a", verdict="violated", code=1), at=1000)
    make_run(old / "runs", "a", at=1000, verdict=Verdict.VIOLATED, reason="old")
    make_run(tmp_path / "runs", "b", at=9000, verdict=Verdict.VIOLATED, reason="new")
    load(store, sources([tmp_path]))
    dry = prune(store, before=5000, dry=True)
    kept = len(content(store)["run"])
    removed = prune(store, before=5000)
    found = content(store)
    with store.reading() as connection:
        names = list(connection.scalars(select(StoredRun.name)))
    assert [1, 2, 1, ["b"], 0, 1, 1, 1, True] == [
        dry, kept, removed, names, len(found["nightly"]), len(found["incident"]), len(found["failure"]),
        len(found["rule_verdict"]), (old / "runs" / "a").is_dir(),
    ]  # fmt: skip


def test_a_check_names_what_differs(store: Database, tmp_path: Path) -> None:
    """A directory that is gone, and one that says something else by now."""
    for name in "abc":
        make_run(tmp_path, name)
    load(store, sources([tmp_path]))
    whole = check(store)
    shutil.rmtree(tmp_path / "a")
    (tmp_path / "b" / "verdict.json").unlink()
    report = check(store)
    assert [("", [], []), ("", ["a"], ["b"]), 3] == [
        (whole.damage, whole.gone, whole.changed), (report.damage, report.gone, report.changed), report.runs,
    ]  # fmt: skip
