# SPDX-License-Identifier: MIT
"""The spare time of a nightly run: guests are explored after the runs, and what is found is in every summary."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from harness.deadline import Deadline
from harness.errors import BadDocument, ExitCode
from harness.explore.exploration import ExplorationReport
from harness.explore.finding import ExploredFinding
from harness.lab import summary
from harness.lab.matrix import Matrix, decode_matrix
from harness.lab.nightly_state import CellOutcome, ExploredGuest, NightlyState, open_nightly_run
from harness.lab.spare_time import FOLDER, LEAST_S, SpareTime
from harness.setup.cache import cache_directory

HEAD = 'explore = "until 06:00"\n'
LAB = '[[guest]]\nname = "host"\n[[plan]]\nplan = "veto"\n'
FAULT = "second-start-after-memory"
SIGNATURE = "violated: SYNC-EXACTLY-TWO"
JOBS = 4
"""Guests that are explored at once: more than one. The usual number is 24 for each processor, which takes seconds to start."""

PROGRAM = f"""
import sys, harness.explore.exploration as exploration
from harness.cli.main import main
exploration.usual_jobs = lambda guest: {JOBS}
sys.exit(main(sys.argv[1:]))
"""


def matrix(base: Path, *, fault: str = "") -> Matrix:
    """Return a matrix of the guest host that is explored, with a fault in what is explored."""
    found = decode_matrix(HEAD + LAB, name="lab.toml", base=base)
    explored = {
        name: dataclasses.replace(options, inject_fault=fault) for name, options in found.explored.items()
    }
    return msgspec.structs.replace(found, explored=explored)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[NightlyState]:
    """A nightly run whose one cell holds."""
    with open_nightly_run(tmp_path / "nightly", matrix(tmp_path), name="n") as opened:
        opened.record(CellOutcome(cell="host.process.default.veto.1", state="done", verdict="holds"))
        yield opened


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Explore few guests at once."""
    monkeypatch.setattr("harness.explore.exploration.usual_jobs", lambda guest: JOBS)


def spend(state: NightlyState, matrix: Matrix, *, seconds: float, **more: object) -> SpareTime:
    """Spend so many seconds."""
    place = state.directory.parent
    spare = SpareTime(
        matrix, state, place, cache=cache_directory(os.environ), ends=time.time() + seconds, **more  # type: ignore[arg-type]
    )  # fmt: skip
    spare.spend()
    return spare


@pytest.mark.host
@pytest.mark.usefixtures("compiled", "few")
def test_a_finding(state: NightlyState, tmp_path: Path) -> None:
    """It is found, shrunk and kept beside the nightly runs; Ctrl-C keeps it."""

    def enough() -> None:
        report = state.explored[-1].report
        if report is not None and any(finding.shrunk for finding in report.findings):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        spend(state, matrix(tmp_path, fault=FAULT), seconds=600, tick=enough)
    (explored,) = state.explored
    assert explored.report is not None
    (finding,) = [one for one in explored.report.findings if one.signature == SIGNATURE]
    assert [operation["op"] for operation in finding.operations] == ["add-dimm", "add-cpu"]
    assert Path(finding.directory).is_relative_to(state.directory.parent / FOLDER / "host.process")
    assert (Path(finding.run) / "history.jsonl").is_file()
    assert (explored.name, explored.report.ended) == ("host.process", "interrupted")


@pytest.mark.host
@pytest.mark.usefixtures("compiled", "few")
def test_a_reserved_host(state: NightlyState, tmp_path: Path) -> None:
    """No plan begins while the host is reserved, and the time is kept all the same."""
    begun = time.monotonic()
    spend(state, matrix(tmp_path), seconds=LEAST_S + 2, hold=lambda: "reserved")
    (explored,) = state.explored
    assert explored.report is not None
    assert (explored.report.plans, explored.report.ended) == (0, "budget")
    assert time.monotonic() - begun >= LEAST_S + 1
    assert (
        summary.exploring(state) == "0 plans; nothing new; not explored: host.process: no plan had a result"
    )
    assert summary.exit_code(state, left=0) == ExitCode.HOLDS


def test_no_time(state: NightlyState, tmp_path: Path) -> None:
    """It is said of each guest."""
    spend(state, matrix(tmp_path), seconds=0)
    assert [(one.name, one.error) for one in state.explored] == [("host.process", "no time was left for it")]
    assert (
        summary.exploring(state)
        == "0 plans; nothing new; not explored: host.process: no time was left for it"
    )


def test_a_guest_that_cannot_be_explored(state: NightlyState, tmp_path: Path) -> None:
    """The reason is kept, and the exit code stays that of the runs."""
    used = state.directory.parent / FOLDER / "host.process"
    used.parent.mkdir()
    used.write_text("")
    spend(state, matrix(tmp_path), seconds=60)
    (explored,) = state.explored
    assert (explored.report, f"cannot make {used}: " in explored.error) == (None, True)
    assert summary.exit_code(state, left=0) == ExitCode.HOLDS


@pytest.mark.parametrize(
    ("found", "known", "code"),
    [
        ([], {}, ExitCode.HOLDS),
        ([SIGNATURE], {}, ExitCode.VIOLATED),
        ([], {SIGNATURE: 3}, ExitCode.VIOLATED),
        (["guest: it hangs"], {}, ExitCode.UNKNOWN),
    ],
)
def test_exit_code(found: list[str], known: dict[str, int], code: ExitCode, state: NightlyState) -> None:
    """A broken rule counts, also one that is known; another finding makes a run that holds unknown."""
    findings = [ExploredFinding(signature=one) for one in found]
    report = ExplorationReport(directory="d", guest="host", seed=0, plans=9, findings=findings, known=known)
    state.explored.append(ExploredGuest(name="host.process", report=report))
    assert summary.exit_code(state, left=0) == code


def test_no_plan_with_a_result(state: NightlyState) -> None:
    """It is said as of a failed exploration, and the exit code stays that of the runs."""
    report = ExplorationReport(directory="d", guest="host", seed=0, plans=4, failed=4)
    state.explored.append(ExploredGuest(name="host.process", report=report))
    assert (
        summary.exploring(state) == "4 plans; nothing new; not explored: host.process: no plan had a result"
    )
    assert summary.exit_code(state, left=0) == ExitCode.HOLDS


def test_summaries(state: NightlyState, tmp_path: Path) -> None:
    """New findings are named with how to repeat them, known ones are counted; the document has it all."""
    new = ExploredFinding(signature=SIGNATURE, reason="why\x1b[31m", test="/f/test_x.py", run="/f/run")
    report = ExplorationReport(
        directory="d",
        guest="host",
        seed=0,
        plans=90,
        findings=[new],
        known={"violated: A": 2, "violated: B": 3},
    )
    state.explored.append(ExploredGuest(name="host.process", report=report))
    of = matrix(tmp_path)
    assert summary.exploring(state) == f"90 plans; new 1: {SIGNATURE}; known 2 (5 times)"
    text = "\n".join(summary.lines(state, of))
    assert f"host.process, explored: {SIGNATURE}\n  why\\x1b[31m\n  Test: /f/test_x.py\n  Reproduce: " in text
    document = summary.document(state, of)
    assert [one["report"]["findings"][0]["signature"] for one in document["explored"]] == [SIGNATURE]
    assert document["exit_code"] == ExitCode.VIOLATED


def test_in_the_matrix(tmp_path: Path) -> None:
    """The key adds the options of what is explored, and makes no other nightly run."""
    without = decode_matrix(LAB, name="lab.toml", base=tmp_path)
    found = matrix(tmp_path)
    assert (without.explored, [*found.explored], found.digest) == ({}, ["host.process"], without.digest)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("06:00", "explore = '06:00' does not say until when"),
        ("until", "explore = 'until' does not say until when"),
        ("until 25:00", "explore: '25:00' is not an end time"),
        ("until noon", "explore: 'noon' is not an end time"),
        ("until 0m", "explore: '0m' has already passed"),
        ("until " + "1" * 100, "explore: "),
    ],
)
def test_mistakes(value: str, said: str, tmp_path: Path) -> None:
    """A value that is not such a time is refused by its line."""
    with pytest.raises(BadDocument, match=rf"lab.toml:1: {said}"):
        decode_matrix(f'explore = "{value}"\n{LAB}', name="lab.toml", base=tmp_path)


@pytest.mark.host
@pytest.mark.usefixtures("compiled")
def test_ctrl_c_while_exploring(tmp_path: Path) -> None:
    """The nightly run has its summary, which says that exploring was interrupted; the runs are over."""
    (tmp_path / "lab.toml").write_text(f'explore = "until 9h"\n{LAB}')
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "nightly", "--once", "--name", "n"],
        cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ,
    )  # fmt: skip
    try:
        corpus = tmp_path / "nightly" / FOLDER / "host.process" / "corpus.jsonl"
        Deadline(120, "a corpus").poll(corpus.exists)
    finally:
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    document = json.loads((tmp_path / "nightly" / "n" / "summary.json").read_bytes())
    (explored,) = document["explored"]
    assert (process.returncode, document["exit_code"], document["left"]) == (130, 130, 0), err
    assert (explored["name"], explored["report"]["ended"]) == ("host.process", "interrupted")
    assert explored["report"]["plans"] > 0
    assert "exploring: " in out
