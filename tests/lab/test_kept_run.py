# SPDX-License-Identifier: MIT
"""Which run directories are kept, and that nothing else is ever removed: no link, nothing in use, nothing outside."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest
from store.made_runs import make_night, make_run, outcome

from harness.host.registry import MachineEntry, ProcessName, Registry
from harness.lab.kept_run import KeptRun, doomed, kept_runs, remove_runs
from harness.lab.lab_document import KeepRow
from harness.lab.matrix import decode_matrix
from harness.size import Size

DAY = 86_400
NOW = 1_790_000_000


def night(into: Path, days: int, *, held: bool = True) -> Path:
    """Make a nightly run with one run, so many days before now; return the run's directory."""
    name = f"{days}-{'held' if held else 'failed'}"
    run = make_run(into / name / "runs", f"run-{name}", at=NOW - days * DAY)
    verdict, code = ("holds", 0) if held else ("violated", 1)
    make_night(
        into, name, outcome("twin.q.t.veto.1", str(run), verdict=verdict, code=code), at=NOW - days * DAY
    )
    return run


def gone(into: Path, keep: KeepRow) -> list[str]:
    """Return the names of what would be removed."""
    with kept_runs(into) as runs:
        return [run.name for run in doomed(runs, keep, now=NOW)]


def test_runs_that_failed_are_kept_longer(tmp_path: Path) -> None:
    """Each by the days of its kind; without days it is kept for ever."""
    for days in (1, 40, 100):
        for held in (True, False):
            night(tmp_path, days, held=held)
    assert (
        ["run-100-failed", "run-100-held", "run-40-held"], ["run-100-held", "run-40-held"], [],
    ) == (
        gone(tmp_path, KeepRow(days=30, failed_days=90)), gone(tmp_path, KeepRow(days=30)), gone(tmp_path, KeepRow()),
    )  # fmt: skip


def test_what_does_not_fit_goes_oldest_first_and_failures_last() -> None:
    """As much as is over the total, and no more."""
    runs = [
        KeptRun(night=Path("n"), name=name, at=at, told=True, held=held, size=100)
        for name, at, held in (("a", 1, False), ("b", 2, True), ("c", 3, True), ("d", 4, False))
    ]
    found = [
        [run.name for run in doomed(runs, KeepRow(total=Size(f"{total} B")), now=NOW)]
        for total in (400, 399, 250, 150, 0)
    ]
    assert [[], ["b"], ["b", "c"], ["b", "c", "a"], ["b", "c", "a", "d"]] == found


def test_a_nightly_run_under_way_is_left_alone(tmp_path: Path) -> None:
    """Its lock says so; while runs are looked at, none can go on."""
    run = night(tmp_path, 100)
    state = run.parents[1] / "state.jsonl"
    with state.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        locked = gone(tmp_path, KeepRow(days=1))
    with kept_runs(tmp_path) as runs, state.open("rb") as other:
        count = len(runs)
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert ([], 1) == (locked, count)


def test_a_run_whose_machine_runs_is_left_alone(tmp_path: Path) -> None:
    """By the registry; when its harness is gone it is not in use."""
    into = tmp_path / "nightly"
    run = night(into, 100)
    me = ProcessName.of(os.getpid())
    assert me is not None
    entry = Registry().write(
        MachineEntry(name="m", harness=me, qemu=None, directory=str(run), runtime=str(tmp_path / "m"), command=["qemu"])
    )  # fmt: skip
    used = gone(into, KeepRow(days=1))
    Registry().remove(entry)
    assert ([], [run.name]) == (used, gone(into, KeepRow(days=1)))


def test_links_lead_nowhere(tmp_path: Path) -> None:
    """A link in the place of a nightly run, of its runs or of a run; what links inside of a run lead to stays."""
    into, other = tmp_path / "nightly", tmp_path / "other"
    real = night(other, 100)
    into.mkdir()
    (into / "linked").symlink_to(real.parents[1])
    half = night(into, 100)
    half.rename(tmp_path / "away")
    (half.parent / "linked").symlink_to(tmp_path / "away")
    third = night(into, 101)
    (third.parents[1] / "runs").rename(tmp_path / "moved")
    (third.parents[1] / "runs").symlink_to(tmp_path / "moved")
    last = night(into, 102)
    (last / "evidence").symlink_to(tmp_path / "away")
    (last.parent / "note.txt").write_text("no run")
    (last.parent / "no-run").mkdir()
    with kept_runs(into) as runs:
        assert [last.name] == [run.name for run in runs]
        assert {} == remove_runs(runs)
    assert [False, True, True, True, ["no-run", "note.txt"]] == [
        last.exists(), (tmp_path / "away/run.json").exists(), (tmp_path / "moved" / third.name).exists(), real.exists(),
        sorted(path.name for path in last.parent.iterdir()),
    ]  # fmt: skip


def test_what_was_left_half_removed_goes_the_next_time(tmp_path: Path) -> None:
    """Nobody takes it for a run meanwhile; how old it is means nothing."""
    run = night(tmp_path, 1)
    run.rename(run.with_name(f".{run.name}.removed"))
    (run.with_name(f".{run.name}.removed") / "run.json").unlink()
    with kept_runs(tmp_path) as runs:
        assert {} == remove_runs(doomed(runs, KeepRow(), now=NOW))
    assert [] == list(run.parent.iterdir())


def test_bad_values_are_refused_by_their_line(tmp_path: Path) -> None:
    """A negative number of days, a size without a unit that means something, a key that is none."""
    plan = '[[plan]]\nplan = "veto"\n'
    for keep in ("days = -1", 'total = "5 parsecs"', "day = 1"):
        with pytest.raises(Exception, match=r"lab.toml:\d"):
            decode_matrix(f"{plan}[keep]\n{keep}\n", name="lab.toml", base=tmp_path)
