# SPDX-License-Identifier: MIT
"""Which cells come first when time is short, and that no cell starts for which there is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from store.made_runs import make_night, make_run, outcome

from harness.cli.main import main
from harness.contract.verdict import Verdict
from harness.lab.matrix import Cell
from harness.store.database import Database
from harness.store.loader import load
from harness.store.questions.telling import KnownBuild, telling
from harness.store.source import sources

DAY = 86_400
NOW = 1_790_000_000
NIGHTS = 6


def cell(plan: str, repetition: int = 1) -> Cell:
    """A cell of the matrix."""
    return Cell(guest="twin", qemu="q", topology="t", plan=plan, repetition=repetition, seed=0)


def night(folder: Path, number: int, runs: dict[str, Verdict], **facts: Any) -> None:
    """Make a nightly run in which each plan's run came to its verdict."""
    at, name = NOW + number * DAY, f"n{number}"
    made = []
    for place, (plan, verdict) in enumerate(runs.items()):
        run = make_run(folder / name / "runs", f"{name}-{plan}", at=at + place, verdict=verdict, **facts)
        made.append(
            outcome(
                cell(plan).id,
                str(run),
                verdict=str(verdict),
                code={"holds": 0, "violated": 1}.get(str(verdict), 3),
            )
        )
    make_night(folder, name, *made, at=at)


@pytest.fixture
def nights(tmp_path: Path, store: Database) -> Database:
    """Nights in which one plan is flaky, one was left out last, and one has met an old build alone."""
    folder = tmp_path / "nightly"
    good, bad = Verdict.HOLDS, Verdict.VIOLATED
    night(folder, 0, {"old": good}, image="Linux 6.0")
    for number in range(1, NIGHTS):
        night(
            folder,
            number,
            {"flaky": bad if number % 2 else good, "steady": good, "left": good, "recent": good},
        )
    night(folder, NIGHTS, {"recent": good, "flaky": good, "steady": good})
    load(store, sources([folder]))
    return store


def order(
    store: Database, *cells: Cell, builds: dict[str, KnownBuild] | None = None
) -> list[tuple[str, str]]:
    """Return the plans in their order, and why."""
    with store.reading() as connection:
        found = telling(connection, cells, lab="lab", without="now", builds=builds or {}, beginning=NOW)
    return [(one.cell.plan, one.why) for one in found]


def test_what_tells_most_comes_first(nights: Database) -> None:
    """What never ran and what has not met the guest's build; what was left out; what is flaky; what was not seen for longest."""
    plans = ("steady", "recent", "flaky", "left", "old", "never")
    assert [
        ("never", "new"), ("old", "new build"), ("left", "left out"), ("flaky", "flaky"), ("recent", "seen"), ("steady", "seen"),
    ] == order(nights, *map(cell, plans))  # fmt: skip


@pytest.mark.parametrize("build", [KnownBuild(qemu="9.9.9"), KnownBuild(driver="b" * 16)])
def test_another_qemu_or_driver_makes_a_new_build(nights: Database, build: KnownBuild) -> None:
    """Known before anything runs; what has the same build comes later."""
    same = KnownBuild(qemu="7.2.22", driver="a" * 16)
    found = [order(nights, cell("steady"), builds={"twin.q.t": each}) for each in (build, same)]
    assert [[("steady", "new build")], [("steady", "seen")]] == found


def test_no_repetition_comes_before_all_had_their_turn(nights: Database) -> None:
    """However telling its point is."""
    found = order(nights, cell("never", 2), cell("never"), cell("steady"))
    assert ["never", "steady", "never"] == [plan for plan, _ in found]


def test_an_empty_store_knows_no_order(store: Database) -> None:
    """All are new, in the order in which they were given."""
    assert [("b", "new"), ("a", "new")] == order(store, cell("b"), cell("a"))


BAD = "#!/bin/sh\nexit 7\n"


def lab(tmp_path: Path) -> list[str]:
    """Write a lab of a program that is no QEMU, and a store that knows what its plans take; return the words of a command."""
    (tmp_path / "qemu").write_text(BAD)
    (tmp_path / "qemu").chmod(0o755)
    file = tmp_path / "lab.toml"
    file.write_text(
        'accel = "tcg"\n[[qemu]]\nname = "bad"\npath = "./qemu"\n[[plan]]\nplan = "veto"\n[[plan]]\nplan = "reset"\n'
    )
    return ["nightly", "--lab", str(file), "--into", str(tmp_path / "kept"), "--json"]


def known(tmp_path: Path) -> None:
    """Make a nightly run of the past, in which one plan took very long, and load it."""
    seconds = {"veto": 20.0, "reset": 50_000.0}
    outcomes = [
        outcome(f"twin.bad.default.{plan}.1", state="skipped" if took < 0 else "done", seconds=took)
        for plan, took in seconds.items()
    ]
    import time

    make_night(tmp_path / "kept", "before", *outcomes, at=int(time.time()) - DAY)
    assert 0 == main(["store", "load", str(tmp_path / "kept"), "--into", str(tmp_path / "kept")])


@pytest.mark.qemu
def test_a_cell_that_would_not_end_in_time_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store tells how long it takes; it is said, and the next nightly run begins with it."""
    monkeypatch.setenv("HOTPLUG_HARNESS_LEASES", str(tmp_path / "leases"))
    words = lab(tmp_path)
    known(tmp_path)
    capsys.readouterr()
    assert 69 == main([*words, "--once", "--until", "2h", "--name", "n"])
    document = json.loads(capsys.readouterr().out)
    text = (tmp_path / "kept/n/summary.txt").read_text()
    morning = (tmp_path / "kept/n/morning.txt").read_text()
    assert (["twin.bad.default.veto.1"], ["twin.bad.default.reset.1"], True, True, True) == (
        [run["cell"] for run in document["runs"]],
        document["left_out"],
        document["out_of_time"].startswith("not enough time before "),
        "1 runs were left out: not enough time before" in text,
        "1 left out: not enough time before" in morning,
    )
    assert 0 == main([*words, "--dry-run", "--until", "23h"])
    planned = json.loads(capsys.readouterr().out)["cells"]
    assert [("twin.bad.default.reset.1", True), ("twin.bad.default.veto.1", True)] == [
        (one["id"], one["in_time"]) for one in planned
    ]


@pytest.mark.qemu
def test_without_time_for_anything_nothing_is_proved(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a store the plans' own estimate counts. It ends with 3 and not with 0."""
    words = lab(tmp_path)
    assert 3 == main([*words, "--once", "--until", "1m", "--name", "n"])
    document = json.loads(capsys.readouterr().out)
    assert ([], 2, 3) == (document["runs"], len(document["left_out"]), document["exit_code"])


@pytest.mark.parametrize("until", ["06:61", "never", "2020-01-01T00:00"])
def test_an_end_that_is_none_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str], until: str) -> None:
    """On the command line and in the file, with its line."""
    words = lab(tmp_path)
    assert 64 == main([*words, "--once", "--until", until])
    file = tmp_path / "lab.toml"
    file.write_text(f'until = "{until}"\n{file.read_text()}')
    assert 64 == main([*words, "--once"])
    said = capsys.readouterr().out
    assert ["--until: " in said, "lab.toml:1: " in said] == [True, True]
