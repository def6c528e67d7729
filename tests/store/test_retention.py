# SPDX-License-Identifier: MIT
"""What is removed from the disk stays in the store with its verdict, on both databases."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import select
from store.made_runs import make_night, make_run, outcome

from harness.cli.main import main
from harness.contract.verdict import Verdict
from harness.lab.lab_document import KeepRow
from harness.size import Size
from harness.store.database import Database
from harness.store.loader import load
from harness.store.models import StoredRun
from harness.store.retention import retain
from harness.store.source import sources
from harness.store.upkeep import check

DAY = 86_400
NOW = 1_790_000_000


@pytest.fixture(autouse=True)
def own_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The registry of whoever runs the tests is not theirs."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def nights(tmp_path: Path) -> Path:
    """Make an old nightly run of a run that holds and one that is violated, and a new one."""
    into = tmp_path / "nightly"
    for name, at in (("old", NOW - 100 * DAY), ("new", NOW)):
        made = []
        for number, verdict in enumerate((Verdict.HOLDS, Verdict.VIOLATED), 1):
            run = make_run(into / name / "runs", f"{name}-{number}", at=at, verdict=verdict)
            code = int(verdict is Verdict.VIOLATED)
            made.append(outcome(f"twin.q.t.veto.{number}", str(run), verdict=str(verdict), code=code))
        make_night(into, name, *made, at=at)
    return into


def stored(store: Database) -> dict[str, tuple[str, bool]]:
    """Return what became of each run, and whether its directory was removed."""
    with store.reading() as connection:
        asked = select(StoredRun.name, StoredRun.word, StoredRun.removed)
        return {row.name: (row.word, row.removed > 0) for row in connection.execute(asked)}


def left(into: Path) -> list[str]:
    """Return the run directories that are there."""
    return sorted(path.parent.name for path in into.glob("*/runs/*/run.json"))


def test_what_was_removed_stays_in_the_store(tmp_path: Path, store: Database) -> None:
    """It is marked, is no difference for a check, and loading again forgets nothing."""
    into = nights(tmp_path)
    load(store, sources([into]))
    report = retain(store, into, KeepRow(days=30, failed_days=365), now=NOW)
    again = load(store, sources([into]))
    checked = check(store)
    assert (1, 0, ["new-1", "new-2", "old-2"], (0, 0), (1, 0, 0)) == (
        report.removed, report.unknown, left(into), (again.added, again.changed),
        (checked.removed, checked.gone_count, checked.changed_count),
    )  # fmt: skip
    assert {
        "new-1": ("holds", False), "new-2": ("violated", False), "old-1": ("holds", True), "old-2": ("violated", False),
    } == stored(store)  # fmt: skip


def test_what_the_store_does_not_have_stays(tmp_path: Path, store: Database) -> None:
    """Its verdict would be nowhere; it is counted. An attempt that was interrupted has none, and goes."""
    into = nights(tmp_path)
    make_run(into / "old" / "runs", "interrupted", at=NOW - 100 * DAY)
    report = retain(store, into, KeepRow(days=30, failed_days=30), now=NOW)
    assert (1, 2, ["new-1", "new-2", "old-1", "old-2"]) == (report.removed, report.unknown, left(into))


def test_a_dry_run_changes_nothing(tmp_path: Path, store: Database) -> None:
    """It says how many would go, and how large they are."""
    into = nights(tmp_path)
    load(store, sources([into]))
    report = retain(store, into, KeepRow(total=Size("0 B")), now=NOW, dry=True)
    assert (4, True, 0, 4, False) == (
        report.removed, report.freed > 0, report.left, len(left(into)), any(gone for _, gone in stored(store).values()),
    )  # fmt: skip


@pytest.mark.root
def test_what_cannot_be_removed_is_told_and_is_not_marked(tmp_path: Path, store: Database) -> None:
    """A directory that is the root of another file system, which no rename moves."""
    into = nights(tmp_path)
    load(store, sources([into]))
    busy = into / "old" / "runs" / "old-1"
    os.system(f"mount --bind {busy} {busy}")
    try:
        report = retain(store, into, KeepRow(days=30), now=NOW)
    finally:
        os.system(f"umount {busy}")
    assert (0, ["old-1"], True, ("holds", False)) == (
        report.removed, list(report.failed), busy.exists(), stored(store)["old-1"],
    )  # fmt: skip


def test_a_directory_in_a_nightly_run_that_has_changed_is_noticed(tmp_path: Path, store: Database) -> None:
    """Its verdict, or what the nightly run says of it; what is as it was is no difference."""
    into = nights(tmp_path)
    load(store, sources([into]))
    before = check(store).changed
    file = into / "new" / "runs" / "new-1" / "verdict.json"
    file.write_bytes(msgspec.json.encode(json.loads(file.read_bytes()) | {"failure_class": "host"}))
    one = check(store).changed
    shutil.copy(into / "new" / "state.jsonl", into / "old" / "state.jsonl")
    assert ([], ["new-1"], ["new-1", "old-1", "old-2"]) == (before, one, sorted(check(store).changed))


def test_prune_removes_directories_when_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the lab's own table; without one that is said. The real clock says how old they are."""
    into = nights(tmp_path)
    monkeypatch.chdir(tmp_path)
    lab = tmp_path / "lab.toml"
    lab.write_text('[[plan]]\nplan = "veto"\n')
    codes = [main(["store", "load"]), main(["store", "prune", "--directories"]), main(["store", "prune"])]
    err = capsys.readouterr().err
    lab.write_text('[[plan]]\nplan = "veto"\n[keep]\ntotal = "0 B"\n')
    codes += [
        main(["store", "prune", "--directories", "--dry-run"]),
        main(["store", "prune", "--directories"]),
    ]
    said = capsys.readouterr().out
    assert ([0, 64, 64, 0, 0], True, True, True, []) == (
        codes, "--directories needs a table [keep]" in err, "4 run directories would be removed" in said,
        "4 run directories were removed" in said, left(into),
    )  # fmt: skip
    assert 0 == main(["store", "prune", "--directories", "--json"])
    assert 0 == json.loads(capsys.readouterr().out)["directories"]["removed"]
