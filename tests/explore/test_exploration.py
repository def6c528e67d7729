# SPDX-License-Identifier: MIT
"""Explorations of the guest ``host``: faults that need particular operations are found, shrunk, and known again."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from harness.cli.main import main
from harness.deadline import Deadline
from harness.errors import ExitCode, UsageError
from harness.explore.exploration import Exploration, ExplorationReport
from harness.explore.finding import ExploredFinding, FindingFolder
from harness.run.options import RunOptions, Timeouts
from harness.setup.cache import cache_directory

pytestmark = pytest.mark.host

MINIMAL = {
    "second-start-after-memory": ("SYNC-EXACTLY-TWO", ["add-dimm", "add-cpu"], 150, 0),
    "no-complete-after-memory": ("SYNC-START-CLOSED", ["add-cpu", "add-dimm", "add-cpu"], 600, 3),
    "swapped-after-refusal": (
        "SYNC-START-BEFORE-COMPLETE", ["veto-next", "add-cpu", "add-dimm", "add-cpu"], 1500, 0,
    ),
}  # fmt: skip
"""The rule that each fault breaks, the operations that it needs, how many plans it may take to find it, and a seed that is quick."""

QUICK = Timeouts(quiet=0.03)
"""A process is asked whether it lives before its silence counts, so a short silence is enough."""

NEVER_TOLD = ["no-complete-after-memory"]
IN_VAIN = Timeouts(quiet=0.03, consequence=2.5)
"""A fault by which a record that an add is followed by never comes: a run waits its whole time for it, here half as long."""

JOBS = 6
"""The number of concurrent trials. Each process of the pool loads the harness anew, for 0.3 s of processor time."""


def explored(into: Path, *, most: int, fault: str = "", seed: int = 0) -> ExplorationReport:
    """Explore the guest host, and return the report."""
    budget = IN_VAIN if fault in NEVER_TOLD else QUICK
    options = RunOptions(guest="host", inject_fault=fault, seed=seed, budget=budget)
    exploration = Exploration(
        options, into, cache=cache_directory(os.environ), seconds=150, most=most, jobs=JOBS
    )
    return exploration.perform()


@pytest.mark.parametrize("fault", MINIMAL)
def test_fault_is_found_and_shrunk(fault: str, tmp_path: Path) -> None:
    """The operations that the fault needs are left, every time they break the rule, and the files are there."""
    rule, kinds, most, seed = MINIMAL[fault]
    report = explored(tmp_path, most=most, fault=fault, seed=seed)
    finding = report.findings[0]
    assert (finding.signature, finding.shrunk, report.ended) == (f"violated: {rule}", True, "found")
    assert [operation["op"] for operation in finding.operations] == kinds
    assert finding.reproduced is not None
    assert (finding.reproduced.seen, finding.reproduced.of) == (10, 10)
    assert all(Path(file).is_file() for file in (finding.plan, finding.test))
    assert (Path(finding.run) / "history.jsonl").is_file()


def test_known_finding_is_counted(tmp_path: Path) -> None:
    """The next exploration in the folder counts it and goes on; its corpus begins with the earlier one's."""
    fault = "second-start-after-memory"
    first = explored(tmp_path, most=150, fault=fault)
    corpus = (tmp_path / "corpus.jsonl").read_bytes()
    second = explored(tmp_path, most=60, fault=fault, seed=1)
    signature = first.findings[0].signature
    assert (second.findings, second.ended, [*second.known]) == ([], "plans", [signature])
    assert (tmp_path / "corpus.jsonl").read_bytes().startswith(corpus)
    written = json.loads((Path(first.findings[0].directory) / "finding.json").read_bytes())
    assert written["times"] == first.findings[0].times + second.known[signature]
    assert not [one for one in tmp_path.iterdir() if one.name.startswith("hotplug-explore-")]


def test_one_at_a_time(tmp_path: Path) -> None:
    """A second exploration in the same folder is refused while the first has it."""
    descriptor = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        with pytest.raises(UsageError, match=f"another exploration uses {tmp_path}"):
            explored(tmp_path, most=1)
    finally:
        os.close(descriptor)
    assert explored(tmp_path, most=1).plans == 1


def test_a_finding_whose_shrinking_did_not_end(tmp_path: Path) -> None:
    """It is new when it comes again, and its earlier plans still count."""
    report = ExploredFinding(signature="violated: SYNC-EXACTLY-TWO", times=4)
    FindingFolder(tmp_path, report).write()
    found = explored(tmp_path, most=150, fault="second-start-after-memory")
    assert found.known == {}
    assert [(one.shrunk, one.times >= 5) for one in found.findings[:1]] == [(True, True)]


def test_nothing_is_found_without_a_fault(tmp_path: Path) -> None:
    """No plan is violated, fails, or is refused, and each exercises rules."""
    report = explored(tmp_path, most=100)
    assert (report.findings, report.failed, report.unknown) == ([], 0, 0)
    assert (report.plans, report.rules > 60, report.orders > 50) == (100, True, True)


def harness(*words: str, cwd: Path) -> subprocess.Popen[str]:
    """Start ``harness explore``."""
    return subprocess.Popen(
        [sys.executable, "-m", "harness", "explore", *words],
        cwd=cwd, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def test_ctrl_c_keeps_what_was_found(tmp_path: Path) -> None:
    """The corpus and the report stay, no process and no scratch folder is left."""
    process = harness("--guest", "host", "--into", "kept", "--jobs", str(JOBS), "--json", cwd=tmp_path)
    try:
        Deadline(120, "a corpus").poll(lambda: (tmp_path / "kept" / "progress.jsonl").exists())
        children = {
            int(one) for one in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        }
    finally:
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    said = json.loads(out)
    assert (process.returncode, said["ended"], "Traceback" in err) == (
        ExitCode.INTERRUPTED,
        "interrupted",
        False,
    )
    assert (tmp_path / "kept" / "corpus.jsonl").read_bytes().count(b"\n") == said["corpus"] > 0
    assert (
        msgspec.json.decode((tmp_path / "kept" / "exploration.json").read_bytes())["ended"] == "interrupted"
    )
    assert children
    # One of them, multiprocessing's own, notices the end of its parent a moment later.
    Deadline(30, "the end of its processes").poll(
        lambda: not [pid for pid in children if Path("/proc", str(pid)).exists()]
    )
    left = [*tmp_path.rglob("hotplug-explore-*"), *Path("/dev/shm").glob(f"hotplug-explore-{process.pid}-*")]
    assert left == []


def test_no_plan_is_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A budget that is over before a plan has ended proves nothing: unknown, and what to give."""

    def too_late(self: Exploration) -> None:
        self.report.ended = "budget"

    monkeypatch.setattr(Exploration, "_explore", too_late)
    code = main(["explore", "--guest", "host", "--budget", "1s", "--into", str(tmp_path), "--jobs", "1"])
    assert code == ExitCode.UNKNOWN == 3
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "unknown: no plan ended within the budget: give more than --budget had"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--budget", "10"], "--budget: expected a time from 1s to 168h, got '10'"),
        (["--budget", "0m"], "--budget: expected a time"),
        (["--plans", "0"], "'--plans'"),
        (["--guest", "hots"], "Did you mean 'host'?"),
        (["--guest", "host", "--runs", "there"], "--into names the folder"),
        (["--guest", "host", "--inject-fault", "nosuch"], "nosuch"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_mistakes(
    words: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each is refused before a guest starts, with what to do."""
    monkeypatch.chdir(tmp_path)
    code = main(["explore", *words])
    err = capsys.readouterr().err
    assert (code, said in err) == (ExitCode.USAGE, True), err
