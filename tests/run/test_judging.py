# SPDX-License-Identifier: MIT
"""Many runs are judged as one by one, in order, whatever happens to one of them or to the process that judges it."""

import multiprocessing
import os
import signal
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from report.records import hot_add

from harness.contract.verdict import Judged
from harness.deadline import Deadline
from harness.errors import ExitCode
from harness.history.record import Record
from harness.history.writer import HistoryWriter
from harness.run import judging
from harness.run.judging import history_size, judge_run, judge_runs

PROCESSES = [1, 2]


def recorded(directory: Path, records: list[Record]) -> Path:
    """Write a run directory with these records and return it."""
    directory.mkdir()
    with HistoryWriter(directory / "history.jsonl") as writer:
        for each in records:
            writer.write(each, host_ns=each.host_ns)
    return directory


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Twenty runs, every fourth of them violated: more than the window of two processes. No test changes them."""
    place = tmp_path_factory.mktemp("runs")
    paths = [place / f"{n:02}" for n in range(20)]
    recorded(paths[0], hot_add().records)
    recorded(paths[3], hot_add(start=False).records)
    for n, path in enumerate(paths):
        if not path.exists():
            path.mkdir()
            os.link(paths[3 if n % 4 == 3 else 0] / "history.jsonl", path / "history.jsonl")
    return paths


@pytest.fixture(scope="module")
def alone(runs: list[Path]) -> list[Judged]:
    """What is said of each of them when it is judged alone."""
    return [judge_run(path) for path in runs]


def judged(paths: list[Path], processes: int) -> list[Judged]:
    """All results."""
    return list(judge_runs(paths, processes=processes))


@pytest.mark.parametrize("processes", PROCESSES)
def test_every_run_is_judged_as_alone_and_in_order(
    runs: list[Path], alone: list[Judged], processes: int
) -> None:
    """More runs than the window holds come back in the order given, with the verdicts of single judging."""
    assert alone == judged(runs, processes)


@pytest.mark.parametrize("processes", PROCESSES)
def test_what_cannot_be_read_is_that_run_s_result_only(
    runs: list[Path], tmp_path: Path, processes: int
) -> None:
    """Nothing there, a pipe, binary and a file without a header stand between runs that are judged."""
    (tmp_path / "binary").write_bytes(b"\xff\x00" * 100)
    (tmp_path / "pipe").mkdir()
    os.mkfifo(tmp_path / "pipe" / "history.jsonl")
    paths = [runs[0], tmp_path / "nothing", tmp_path / "binary", tmp_path / "pipe", runs[3]]
    results = judged(paths, processes)
    assert [0, 64, 64, 64, 1] == [run.exit_code for run in results]
    assert [True, False, False, False, True] == [run.verdict is not None for run in results]
    assert [run.error != "" for run in results] == [run.verdict is None for run in results]


@pytest.mark.parametrize("processes", PROCESSES)
def test_each_run_is_told_of_once(runs: list[Path], processes: int) -> None:
    """Whoever shows progress hears once that it began, before any result, and then of every run, in any order."""
    told: list[Path] = []
    begun: list[int] = []
    results = []
    for run in judge_runs(
        runs, processes=processes, begun=lambda: begun.append(len(results)), done=told.append
    ):
        results.append(run)
    assert [runs, len(runs), [0]] == [sorted(told), len(results), begun]


def test_a_process_that_is_killed_costs_no_verdict(runs: list[Path], alone: list[Judged]) -> None:
    """When the kernel ends a process in the middle, its runs are judged again."""
    before = set(multiprocessing.active_children())
    results = []
    with closing(judge_runs(runs, processes=2)) as stream:
        results.append(next(stream))
        os.kill((set(multiprocessing.active_children()) - before).pop().pid or 0, signal.SIGKILL)
        results += stream
    assert alone == results


def die_of_the_fifth(path: Path) -> Judged:
    """Judge, but end the process suddenly at the run called 05."""
    if path.name == "05":
        os.kill(os.getpid(), signal.SIGKILL)
    return judge_run(path)


def test_a_run_that_ends_every_process_is_told_apart_from_the_others(
    runs: list[Path], alone: list[Judged], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It alone has no verdict, and says what happened."""
    expected = [one.exit_code for one in alone]
    expected[5] = ExitCode.INFRASTRUCTURE
    monkeypatch.setattr(judging, "judge_run", die_of_the_fifth)
    told: list[Path] = []
    results = list(judge_runs(runs, processes=2, done=told.append))
    assert expected == [run.exit_code for run in results]
    assert f"{runs[5]}: the process that judged it ended suddenly" == results[5].error
    assert set(runs) == set(told)


def test_leaving_early_ends_the_processes(runs: list[Path]) -> None:
    """A closed iterator leaves no process behind."""
    before = set(multiprocessing.active_children())
    with closing(judge_runs(runs, processes=2)) as stream:
        next(stream)
        assert len(set(multiprocessing.active_children()) - before) == 2
    gone = Deadline(60, "ending the processes").poll(
        lambda: not set(multiprocessing.active_children()) - before, interval=0.01
    )
    assert gone


def test_few_bytes_start_no_process(runs: list[Path]) -> None:
    """A handful of short runs is judged sooner than processes start."""
    before = set(multiprocessing.active_children())
    with closing(judge_runs(runs)) as stream:
        next(stream)
        assert before == set(multiprocessing.active_children())


@pytest.mark.parametrize(
    ("facts", "plan", "build"),
    [
        ({"run": "r1", "plan": {"name": "veto"}, "kernel_release": "6.1.0"}, "veto", "twin 6.1.0"),
        ({"run": "r1", "image_digest": "0123456789abcdef"}, "", "twin 0123456789ab"),
        ({"run": "another", "plan": {"name": "veto"}, "kernel_release": "6.1.0"}, "", "twin"),
        ({"run": 7}, "", "twin"),
        ([], "", "twin"),
    ],
)
def test_plan_and_build_come_from_the_run_s_own_facts(
    tmp_path: Path, facts: object, plan: str, build: str
) -> None:
    """A run.json of another run, or one that does not decode, says nothing and harms nothing."""
    directory = recorded(tmp_path / "run", hot_add().records)
    (directory / "run.json").write_bytes(msgspec.json.encode(facts))
    for path in (directory, directory / "history.jsonl"):
        run = judge_run(path)
        assert [plan, build] == [run.plan, run.build]


def test_the_size_of_a_history(runs: list[Path], tmp_path: Path) -> None:
    """A run directory's, a file's, and that of nothing."""
    file = runs[0] / "history.jsonl"
    size = file.stat().st_size
    assert [size, size, 0] == [history_size(path) for path in (runs[0], file, tmp_path / "nothing")]
