# SPDX-License-Identifier: MIT
"""Loading, on both databases: idempotent, with what a nightly run says, and safe from what a run may hold."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest
from sqlalchemy import func, select
from store.made_runs import make_night, make_run, outcome

from harness.contract.verdict import Verdict
from harness.errors import UsageError
from harness.store.address import StoreAddress
from harness.store.database import Database
from harness.store.loader import LoadReport, load
from harness.store.models import (
    Base,
    StoredArtifact,
    StoredFailure,
    StoredHost,
    StoredIncident,
    StoredNightly,
    StoredObservation,
    StoredPoint,
    StoredRun,
    StoredVerdict,
)
from harness.store.source import sources

RECORDED = Path(__file__).parents[1] / "recorded" / "runs"


def loaded(store: Database, *paths: Path) -> tuple[int, int, int, int]:
    """Load paths and return how many runs were added, changed, there already and unreadable."""
    report: LoadReport = load(store, sources(paths))
    return report.added, report.changed, report.same, len(report.unreadable)


def counts(store: Database) -> dict[str, int]:
    """Return how many rows each table has."""
    with store.reading() as connection:
        return {
            name: connection.scalar(select(func.count()).select_from(table)) or 0
            for name, table in Base.metadata.tables.items()
        }


def words(store: Database) -> dict[str, tuple[str, bool, str]]:
    """Return of each run what became of it, whether it counts, and its point."""
    with store.reading() as connection:
        rows = connection.execute(
            select(StoredRun.name, StoredRun.word, StoredRun.counted, StoredPoint.name.label("point")).join(
                StoredPoint
            )
        )
        return {row.name: (row.word, row.counted, row.point) for row in rows}


def test_loading_twice_is_loading_once(store: Database) -> None:
    """Every recorded run of former revisions is loaded, and the second time nothing changes."""
    runs = len(list(RECORDED.glob("*/*/run.json")))
    first = loaded(store, RECORDED)
    before = counts(store)
    again = loaded(store, RECORDED, RECORDED / "be6fca0")
    assert [(runs, 0, 0, 0), (0, 0, runs, 0), before] == [first, again, counts(store)]
    assert [runs, 5] == [before["run"], before["incident"]]


def placed(store: Database) -> dict[str, tuple[str, bool, str]]:
    """Return of each run its host, whether it counts, and its result."""
    with store.reading() as connection:
        rows = connection.execute(
            select(StoredRun.name, StoredHost.name.label("host"), StoredRun.counted, StoredRun.word).join(
                StoredHost, StoredHost.id == StoredRun.host_id
            )
        )
        return {row.name: (row.host, row.counted, row.word) for row in rows}


def test_each_attempt_is_stored_under_its_own_host(store: Database, tmp_path: Path) -> None:
    """A state of an earlier revision has only that of the last attempt: those of the others are unknown, not that one.

    Attempts without a host were made on the nightly run's own host.
    """
    for name in ("a1", "a2", "b1", "b2", "c1", "c2"):
        make_run(tmp_path / "n" / "runs", name)
    night = make_night(
        tmp_path, "n",
        outcome("twin.q.t.new.1", "a1", "a2", host="lab2", hosts={"a1": "lab1", "a2": "lab2"}),
        outcome("twin.q.t.old.1", "b1", "b2", host="lab2"),
        outcome("twin.q.t.own.1", "c1", "c2"),
    )  # fmt: skip
    loaded(store, night)
    assert {"a1": "lab1", "a2": "lab2", "b1": "", "b2": "lab2", "c1": "here", "c2": "here"} == {
        name: host for name, (host, _, _) in placed(store).items()
    }


def test_a_lost_attempt_does_not_take_the_run_of_the_one_before(store: Database, tmp_path: Path) -> None:
    """It left no directory: the cell has a row of its own, and the earlier run keeps its host and its result."""
    make_run(tmp_path / "n" / "runs", "a1")
    lost = {
        "verdict": "unknown",
        "code": 69,
        "failure_class": "infrastructure",
        "reason": "host lab2 was lost",
    }
    cell = outcome("twin.q.t.veto.1", "a1", host="lab2", hosts={"a1": "lab1"}, **lost)
    night = make_night(tmp_path, "n", cell)
    loaded(store, night)
    (row,) = {name for name in placed(store) if name != "a1"}
    assert row.endswith("/twin.q.t.veto.1")
    assert {"a1": ("lab1", False, "holds"), row: ("lab2", True, "infrastructure")} == placed(store)


def test_a_late_result_replaces_the_row_of_its_cell(store: Database, tmp_path: Path) -> None:
    """A cell without a run directory gets one: it counts once."""
    lost = {
        "verdict": "unknown",
        "code": 69,
        "failure_class": "infrastructure",
        "reason": "host lab1 was lost",
    }
    loaded(store, make_night(tmp_path, "n", outcome("twin.q.t.veto.1", host="lab1", **lost)))
    before = placed(store)
    make_run(tmp_path / "n" / "runs", "late")
    loaded(store, make_night(tmp_path, "n", outcome("twin.q.t.veto.1", "late", host="lab1", **lost)))
    expected = ("lab1", True, "infrastructure")
    assert [[expected], {"late": expected}] == [list(before.values()), placed(store)]


def test_only_rules_that_said_something_are_rows(store: Database, tmp_path: Path) -> None:
    """The others are counted."""
    loaded(store, make_run(tmp_path, "a", verdict=Verdict.VIOLATED))
    with store.reading() as connection:
        (row,) = connection.execute(
            select(StoredVerdict.verdict, StoredVerdict.exercised, StoredVerdict.times)
        ).all()
        run = connection.execute(
            select(StoredRun.violated, StoredRun.not_applicable, StoredRun.seconds, StoredRun.harness)
        ).one()
        observed = connection.execute(
            select(StoredObservation.name, StoredObservation.value, StoredObservation.times)
        ).one()
        artifact = connection.execute(select(StoredArtifact.name, StoredArtifact.sha256)).one()
    assert [("violated", 1, 1), (1, 1, 20.0, "0.1.0"), ("ADDEX-THREAD", "yes", 2), ("hpnotify.ko", "a" * 64)] == [
        tuple(row), tuple(run), tuple(observed), tuple(artifact),
    ]  # fmt: skip


def test_a_directory_that_changed_replaces_what_was_there(store: Database, tmp_path: Path) -> None:
    """A run that was under way when it was loaded is loaded again when it is over; no row of the old one stays."""
    make_run(tmp_path / "runs", "a", judged=False, verdict=Verdict.UNKNOWN, finished="")
    first = loaded(store, tmp_path / "runs")
    shutil.rmtree(tmp_path / "runs" / "a")
    make_run(tmp_path / "runs", "a")
    assert [(1, 0, 0, 0), (0, 1, 0, 0), "holds", 0] == [
        first, loaded(store, tmp_path / "runs"), words(store)["a"][0], counts(store)["failure"],
    ]  # fmt: skip


def test_a_run_that_was_moved_or_copied_is_one_run(store: Database, tmp_path: Path) -> None:
    """It is known by its name, not by its place."""
    path = make_run(tmp_path, "a")
    shutil.copytree(path, tmp_path / "b")
    assert (1, 0, 1, 0) == loaded(store, path, tmp_path / "b")


def test_a_nightly_run_tells_what_its_runs_do_not(store: Database, tmp_path: Path) -> None:
    """Its points, its first attempts, which do not count, its skipped cells, and cells that left no directory."""
    night = make_night(
        tmp_path, "20261129",
        outcome("twin.default.small.veto.1", "old/place/runs/a"),
        outcome("twin.default.small.veto.2", "b", "c", verdict="unknown", code=69, failure_class="infrastructure", reason="no disk"),
        outcome("twin.default.small.reset.1", verdict="unknown", code=69, failure_class="infrastructure", reason="killed by signal 9"),
        outcome("twin.bad.small.veto.1", verdict="unknown", code=3, state="skipped", reason="did not boot before"),
    )  # fmt: skip
    make_run(night / "runs", "a")
    make_run(night / "runs", "b", verdict=Verdict.UNKNOWN, judged=False)
    make_run(night / "runs", "c", verdict=Verdict.UNKNOWN, judged=False, retry_of="b")
    make_run(night / "runs", "interrupted", judged=False)
    first = loaded(store, tmp_path)
    point = "twin.default.small.veto"
    named = {name.rpartition("/")[2]: said for name, said in words(store).items()}
    assert {
        "a": ("holds", True, point),
        "b": ("unknown", False, point),
        "c": ("infrastructure", True, point),
        "twin.default.small.reset.1": ("infrastructure", True, "twin.default.small.reset"),
        "twin.bad.small.veto.1": ("skipped", True, "twin.bad.small.veto"),
    } == named
    again = loaded(store, night / "runs" / "a", night / "runs", night)
    assert [(5, 0, 0, 0), (0, 0, 5, 0)] == [first, again]
    with store.reading() as connection:
        said = connection.execute(
            select(StoredIncident.failure_class, StoredIncident.witness).order_by(StoredIncident.witness)
        ).all()
        hosts = connection.execute(select(StoredNightly.name, StoredNightly.lab, StoredNightly.cells)).one()
    assert [
        [("infrastructure", "killed by signal #"), ("infrastructure", "no disk")],
        ("20261129", "lab", 4),
    ] == [
        [tuple(row) for row in said],
        tuple(hosts),
    ]


def test_the_first_attempt_is_told_by_the_second(store: Database, tmp_path: Path) -> None:
    """Outside of nightly runs too, in whichever order they are loaded."""
    make_run(tmp_path, "b", retry_of="a", attempt=2)
    make_run(tmp_path, "a")
    loaded(store, tmp_path / "b")
    loaded(store, tmp_path / "a")
    make_run(tmp_path / "more", "c")
    make_run(tmp_path / "more", "d", retry_of="c")
    loaded(store, tmp_path / "more" / "c")
    loaded(store, tmp_path / "more" / "d")
    assert {"a": False, "b": True, "c": False, "d": True} == {
        name: said[1] for name, said in words(store).items()
    }


def test_what_is_known_of_a_removed_directory_stays(store: Database, tmp_path: Path) -> None:
    """Retention takes run directories away, and the store keeps what they said."""
    night = make_night(tmp_path, "n", outcome("twin.q.t.veto.1", "runs/a", verdict="violated", code=1))
    make_run(night / "runs", "a", verdict=Verdict.VIOLATED)
    loaded(store, night)
    before = counts(store)
    shutil.rmtree(night / "runs" / "a")
    assert [(0, 0, 1, 0), before] == [loaded(store, night), counts(store)]


def test_hostile_texts_are_stored_bounded(store: Database, tmp_path: Path) -> None:
    """Null characters and very long texts come from a guest: both databases take the row, and other runs are not touched."""
    make_run(
        tmp_path, "a", verdict=Verdict.VIOLATED, reason="\0\x1b[2J" + "x" * 100_000, image="\0" + "i" * 10_000,
        plan={"name": "a.b.c\0'; DROP TABLE run; --"}, content={"n\0": "\0" * 500}, seed=1 << 62, error="\0",
    )  # fmt: skip
    make_run(tmp_path, "b")
    assert (2, 0, 0, 0) == loaded(store, tmp_path)
    with store.reading() as connection:
        reason = connection.scalar(select(StoredFailure.reason)) or ""
    assert [1000, False] == [len(reason), "\0" in reason]


def test_a_run_that_cannot_be_read_does_not_keep_the_others_out(store: Database, tmp_path: Path) -> None:
    """It is named with the reason."""
    make_run(tmp_path, "a")
    (make_run(tmp_path, "b") / "verdict.json").write_bytes(b"{")
    report = load(store, sources([tmp_path]))
    assert [(1, [str(tmp_path / "b")]), True] == [
        (report.added, [one.path for one in report.unreadable]),
        "cannot be read" in report.unreadable[0].why,
    ]


def test_two_loads_at_once_make_one_run_each(address: StoreAddress, tmp_path: Path) -> None:
    """The second waits for the first and finds what it wrote."""
    for number in range(12):
        make_run(
            tmp_path / "runs", f"run-{number}", verdict=Verdict.VIOLATED, reason=f"kind {'x' * (number % 3)}"
        )
    with Database.open(address, make=True):
        pass
    reports: list[LoadReport] = []

    def go() -> None:
        with Database.open(address, make=True) as store:
            reports.append(load(store, sources([tmp_path / "runs"])))

    threads = [threading.Thread(target=go, name=f"load-{number}") for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    with Database.open(address) as store:
        rows = counts(store)
    assert [4, 12, 0, 12, 3, 12] == [
        len(reports), sum(report.added for report in reports), sum(report.changed for report in reports),
        rows["run"], rows["incident"], rows["failure"],
    ]  # fmt: skip


def test_what_holds_no_run_is_refused(tmp_path: Path) -> None:
    """A path that is missing, and a directory with nothing in it, are mistakes of whoever typed them."""
    for path, said in (
        (tmp_path / "nosuch", "is not a directory"),
        (tmp_path, "has no run and no nightly run"),
    ):
        with pytest.raises(UsageError, match=said):
            list(sources([path]))


def test_a_state_that_is_none_is_refused(tmp_path: Path) -> None:
    """It is named, so that it can be moved away."""
    (tmp_path / "state.jsonl").write_bytes(b"nonsense\n")
    with pytest.raises(UsageError, match=r"state\.jsonl is not the state of a nightly run"):
        list(sources([tmp_path]))
