# SPDX-License-Identifier: MIT
"""harness report: where the page lies, who may read it, and what is refused; --report on a run."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
from pathlib import Path

import msgspec
import pytest
from cli.test_check import record
from report.records import hot_add
from store.made_runs import make_night, outcome

from harness.cli.main import main
from harness.contract.checker import judge_history
from harness.errors import ExitCode
from harness.history.reader import History
from harness.history.record import End
from harness.report.page.writing import link_to, run_report
from tests.recorded.kept import RUNS

Caught = pytest.CaptureFixture[str]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A violated run that was recorded on the twin, as the newest in runs/."""
    monkeypatch.chdir(tmp_path)
    made = Path("runs/20261129-144855-cpu-and-dimm-9e48")
    shutil.copytree(RUNS / "03691fe" / "twin-violated", made)
    Path("runs/latest").symlink_to(made.name)
    return made


@pytest.mark.parametrize("word", ["latest", "runs/latest", "9e48", "runs/latest/history.jsonl"])
def test_a_report_lies_beside_its_history(run: Path, capsys: Caught, word: str) -> None:
    """The exit code is 0 though the run is violated; the file is its owner's, and stands alone."""
    assert ExitCode.HOLDS == main(["report", word])
    report = run / "report.html"
    assert 0o600 == stat.S_IMODE(report.stat().st_mode)
    assert f"report.html: {report.stat().st_size} bytes, violated" in capsys.readouterr().out
    assert ["report.html"] == [file.name for file in run.iterdir() if "report" in file.name]


def test_a_report_replaces_the_last_one_whole(run: Path, capsys: Caught) -> None:
    """Nobody sees half of it: the old file stays what it was for who has it open."""
    report = run / "report.html"
    report.write_text("the last one")
    with report.open() as before:
        assert ExitCode.HOLDS == main(["report", str(run)])
        assert "the last one" == before.read()
    assert report.read_bytes().startswith(b"<!doctype html>")


def test_another_place_and_a_document_for_programs(run: Path, capsys: Caught) -> None:
    """-o names the file, --json says what was written."""
    assert ExitCode.HOLDS == main(["report", "latest", "-o", "mine.html", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert ["mine.html", Path("mine.html").stat().st_size, "violated"] == [
        told[key] for key in ("report", "bytes", "verdict")
    ]
    assert not (run / "report.html").exists()


def test_a_run_that_goes_on_is_refused(tmp_path: Path, capsys: Caught) -> None:
    """It has neither an end nor a time of its end; what shows it so far is named."""
    cut = [one for one in hot_add().records if not isinstance(one, End)]
    place = record(tmp_path / "run", cut)
    assert ExitCode.USAGE == main(["report", str(place)])
    said = capsys.readouterr().err
    assert ["has not ended" in said, f"show {place}" in said] == [True, True]
    assert not (place / "report.html").exists()


def test_a_run_that_ended_but_whose_history_is_cut_has_one(run: Path, capsys: Caught) -> None:
    """A disk that was full took the last records; run.json says that it ended."""
    history = run / "history.jsonl"
    history.write_bytes(b"".join(history.read_bytes().splitlines(keepends=True)[:-1]))
    assert ExitCode.HOLDS == main(["report", str(run)])


def test_no_run_and_a_newer_one_are_refused(tmp_path: Path, capsys: Caught) -> None:
    """Both end with 64, with what to do."""
    first, *rest = hot_add().records
    newer = record(tmp_path / "newer", [msgspec.structs.replace(first, format=99), *rest])  # type: ignore[call-arg]
    assert [ExitCode.USAGE, ExitCode.USAGE] == [
        main(["report", str(newer)]),
        main(["report", str(tmp_path / "none")]),
    ]
    said = capsys.readouterr().err
    assert ["history format 99 is newer" in said, "No such file or directory" in said] == [True, True]


def test_what_cannot_be_written_says_so(run: Path, capsys: Caught) -> None:
    """A directory is a mistake, a place that is not there is the host's."""
    assert ExitCode.USAGE == main(["report", "latest", "-o", "runs"])
    assert ExitCode.INFRASTRUCTURE == main(["report", "latest", "-o", "nowhere/report.html"])
    said = capsys.readouterr().err
    assert ["runs is a directory" in said, "cannot write the report nowhere/report.html" in said] == [
        True,
        True,
    ]


@pytest.mark.host
@pytest.mark.parametrize(
    ("words", "written"),
    [
        (["--report"], True),
        (["--report-failed"], False),
        (["--report-failed", "--inject-fault", "duplicate-start"], True),
        ([], False),
    ],
)
def test_a_run_writes_its_own(tmp_path: Path, capsys: Caught, words: list[str], written: bool) -> None:
    """Always, or only if it does not hold; where it is stands in the summary."""
    main(["run", "cpu-and-dimm", "--guest", "host", "--runs", str(tmp_path / "runs"), *words])
    report = tmp_path / "runs" / "latest" / "report.html"
    assert [written, written] == [report.is_file(), "Report:" in capsys.readouterr().out]


def test_two_runs_side_by_side(run: Path, capsys: Caught) -> None:
    """The page lies beside the second run, and both get reports of their own."""
    shutil.copytree(RUNS / "03691fe" / "host-cpu-and-dimm", "runs/good")
    assert ExitCode.HOLDS == main(["report", "--compare", "runs/good", "9e48", "--json"])
    told = json.loads(capsys.readouterr().out)
    page = run / "comparison.html"
    assert [str(page), page.stat().st_size, "differ", 2] == [
        told[key] for key in ("report", "bytes", "verdict", "runs")
    ]
    assert [True, True] == [Path("runs/good/report.html").is_file(), (run / "report.html").is_file()]
    assert 0o600 == stat.S_IMODE(page.stat().st_mode)


def test_a_set_has_its_page_and_keeps_reports_that_are_newer(run: Path, capsys: Caught) -> None:
    """What lies beside a run already is not made again; a run that cannot be read is a cell."""
    shutil.copytree(RUNS / "03691fe" / "host-veto", "runs/good")
    Path("runs/broken").mkdir()
    Path("runs/broken/history.jsonl").write_text("no history\n")
    (run / "report.html").write_text("mine")
    assert ExitCode.HOLDS == main(["report", "--set", "runs"])
    assert "runs/report.html: " in (said := capsys.readouterr().out)
    assert "3 runs, violated" in said
    assert ["mine", True] == [(run / "report.html").read_text(), Path("runs/good/report.html").is_file()]
    assert "unreadable" in Path("runs/report.html").read_text()


def test_a_directory_that_may_not_be_written_keeps_no_report(tmp_path: Path) -> None:
    """The page of the set is made all the same, where it is asked for; that run has no link."""
    place = record(tmp_path / "run", hot_add().records)
    (place / "report.html").mkdir()
    os.utime(place / "report.html", (1, 1))
    history = History(place)
    assert run_report(history, judge_history(history)) is None
    assert "" == link_to(None, tmp_path / "page.html")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "name a run, or two with --compare"),
        (["latest", "--set", "runs"], "only one of these"),
        (["--set", "nowhere"], "nowhere: no such directory"),
        (["--set", "runs/*"], "is not a directory in which a page could lie"),
        (["--set", "runs", "--perfetto", "x"], "--perfetto is of one run"),
        (["--compare", "latest", "nowhere"], "nowhere"),
    ],
)
def test_what_makes_no_sense_is_refused(run: Path, capsys: Caught, words: list[str], said: str) -> None:
    """64, with what to do instead; nothing is written."""
    assert ExitCode.USAGE == main(["report", *words])
    assert said in capsys.readouterr().err
    assert [] == list(Path().rglob("*.html"))


def test_the_runs_of_a_nightly_run_stand_at_their_points(tmp_path: Path, capsys: Caught) -> None:
    """Points and repetitions are the matrix' own; a first attempt is not counted, and a cell that left no run is there."""
    night = make_night(
        tmp_path, "20261129",
        outcome("twin.default.small.veto.1", "a"),
        outcome("twin.default.small.veto.2", "b", "c", verdict="violated", code=1),
        outcome("twin.default.small.reset.1", verdict="unknown", code=69, failure_class="infrastructure"),
    )  # fmt: skip
    for name, recorded in (("a", "twin-veto"), ("b", "twin-hangs"), ("c", "twin-violated")):
        shutil.copytree(RUNS / "03691fe" / recorded, night / "runs" / name)
    assert ExitCode.HOLDS == main(["report", "--set", str(night)])
    assert "3 runs, violated" in capsys.readouterr().out
    found = re.search(r'id="document">(.*?)</script>', (night / "report.html").read_text())
    assert found is not None
    assert [
        ["twin.default.small.reset", [[1, "missing", ""]]],
        [
            "twin.default.small.veto",
            [[1, "holds", "./runs/a/report.html"], [2, "violated", "./runs/c/report.html"]],
        ],
    ] == [
        [one["name"], [[cell["repetition"], cell["word"], cell["link"]] for cell in one["cells"]]]
        for one in json.loads(found[1])["points"]
    ]
