# SPDX-License-Identifier: MIT
"""harness show: everything that is known of a run, which may be called latest or by its id."""

import json
from pathlib import Path

import msgspec
import pytest
from cli.test_check import record
from report.records import hot_add

from harness.cli.main import main
from harness.contract.checker import judge_history
from harness.contract.explanation import explainer
from harness.errors import ExitCode
from harness.history.reader import History
from harness.report.run_summary import summary_lines
from harness.report.timeline import HEADING, timeline
from harness.report.timing import HEADING as TIMING_HEADING
from harness.report.timing import stages
from harness.report.verdict_text import verdict_lines

Caught = pytest.CaptureFixture[str]

ID = "20261129-100006-cpu-and-dimm-e8de"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The newest of two runs in runs/, of a working directory of the test's own."""
    monkeypatch.chdir(tmp_path)
    Path("runs").mkdir()
    record(Path("runs/20261128-100006-veto-0000"), hot_add().records)
    made = record(Path("runs") / ID, hot_add(start=False).records)
    Path("runs/latest").symlink_to(ID)
    return made


def test_everything_is_shown_and_the_verdict_is_last(run: Path, capsys: Caught) -> None:
    """The timeline, the whole verdict and the summary, and 0 although a rule is broken."""
    assert ExitCode.HOLDS == main(["show", str(run)])
    history = History(run)
    verdict = judge_history(history)
    assert [
        HEADING,
        *timeline(history),
        "",
        *verdict_lines(verdict, explain=explainer(history)),
        "",
        *summary_lines(verdict, history, path=run, detailed=True),
    ] == capsys.readouterr().out.splitlines()


def test_all_has_a_line_for_each_record(run: Path, capsys: Caught) -> None:
    """--all leaves no record out."""
    main(["show", "--all", str(run)])
    lines = capsys.readouterr().out.splitlines()
    assert len(hot_add(start=False).records) + 1 == lines.index("")


@pytest.mark.parametrize(
    "word", ["latest", "runs/latest", ID, "e8de", f"runs/{ID}", f"runs/{ID}/history.jsonl"]
)
@pytest.mark.parametrize("command", [["show"], ["check"], ["check", "--full"]])
def test_a_run_has_several_names(run: Path, word: str, command: list[str], capsys: Caught) -> None:
    """A path, latest, the id, the end of an id: the same run, and the printed commands hold its lasting name."""
    main([*command, word])
    out = capsys.readouterr().out
    assert [True, False] == [
        f"\nRun directory: {run}\n" in out or f"\nHistory: {run}/" in out,
        "latest" in out,
    ]


@pytest.mark.parametrize("word", ["nosuch", "0", "", "e8d"])
def test_a_name_that_means_nothing_is_64(run: Path, word: str, capsys: Caught) -> None:
    """The end of an id counts from a dash on."""
    assert run.is_dir()
    assert ExitCode.USAGE == main(["show", word])
    assert f"harness: {word}" in capsys.readouterr().err


def test_a_directory_of_runs_is_for_check(run: Path, capsys: Caught) -> None:
    """One run is shown; the message has the command that judges several."""
    assert ExitCode.USAGE == main(["show", str(run.parent)])
    assert capsys.readouterr().err.endswith(": harness check runs\n")


def test_json_has_what_is_shown(run: Path, capsys: Caught) -> None:
    """One document: the verdict, the operations, the timeline."""
    assert ExitCode.HOLDS == main(["show", "--json", str(run)])
    document = json.loads(capsys.readouterr().out)
    assert {
        "version": 1,
        "path": str(run),
        "verdict": "violated",
        "operations": [],
        "timeline": [*timeline(History(run))],
    } == {**document, "verdict": document["verdict"]["verdict"]}


def test_timing_is_the_stages_alone(run: Path, capsys: Caught) -> None:
    """--timing prints one line per stage; with --json the same stages are one document."""
    expected = stages(History(run))
    assert ExitCode.HOLDS == main(["show", "--timing", str(run)])
    assert [TIMING_HEADING, *(one.line for one in expected)] == capsys.readouterr().out.splitlines()
    assert ExitCode.HOLDS == main(["show", "--timing", "--json", str(run)])
    document = json.loads(capsys.readouterr().out)
    assert [msgspec.to_builtins(one) for one in expected] == document["stages"]
    assert expected
