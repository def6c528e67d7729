# SPDX-License-Identifier: MIT
"""Runs that earlier revisions recorded are still read by everything that reads runs, and are judged as they were.

All are judged, read and imported. Four readers are asked about a seeded share of them, and about all by ``tox -e properties``.
"""

from __future__ import annotations

import json
import random
import shlex
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest
from effort import examples
from report.junit_schema import checked

from harness.capture.offline.joined import JoinedHistory
from harness.cli.main import main
from harness.contract.explanation import reproduction
from harness.contract.verdict import Judged, RunVerdict
from harness.errors import worst
from harness.history.run_directory import RunDirectory
from harness.host.registry import MachineEntry, ProcessName, Registry
from harness.lab.inventory import listed
from harness.repro.differences import Differences, normal
from harness.repro.recorded_run import RepeatableRun, Signature
from harness.run.judging import judge_run, open_history
from tests.recorded.kept import RUNS, Kept, differences, kept_runs, listed_differences, read_index
from tests.recorded.placeholders import ROOT, of_machine

F = TypeVar("F", bound=Callable[..., Any])
KEPT = list(kept_runs())
SETS = sorted({run.revision for run in KEPT})
each_run = pytest.mark.parametrize("run", KEPT, ids=str)
DRAWN = sorted(random.Random(20261130).sample(KEPT, min(len(KEPT), examples(12))), key=str)


def drawn_run(test: F) -> F:
    """Do a test with a seeded share of the runs; ``tox -e properties`` does it with all."""
    return pytest.mark.hypothesis(pytest.mark.parametrize("run", DRAWN, ids=str)(test))


each_set = pytest.mark.parametrize("revision", SETS)


def stored(run: Kept) -> RunVerdict:
    """Return the verdict that the recording revision stored with a run."""
    return msgspec.json.decode((run.directory / "verdict.json").read_bytes(), type=RunVerdict)


_judged = cache(judge_run)


def today(run: Kept) -> Judged:
    """Return what is said of a run now. It is judged once for all tests."""
    return _judged(run.directory)


def left_evidence(run: Kept) -> bool:
    """Return whether evidence was collected: a stage failed, or a rule is violated (docs/evidence.md)."""
    facts = json.loads((run.directory / "run.json").read_bytes())
    return "failed_stage" in facts or run.expected.verdict == "violated"


def test_there_is_a_set_of_each_kind_of_run() -> None:
    """The set of the first revision has every guest, both backends, and each verdict."""
    runs = [run for run in KEPT if run.revision == "be6fca0"]
    assert {"holds", "violated", "unknown"} == {run.expected.verdict for run in runs}
    facts = [json.loads((run.directory / "run.json").read_bytes()) for run in runs]
    assert {("host", "process"), ("wine", "process"), ("twin", "qemu"), ("twin", "libvirt")} == {
        (one["guest"], one["backend"]) for one in facts
    }


@each_set
def test_the_index_names_what_is_kept(revision: str) -> None:
    """A set's index has its own revision and exactly the runs beside it."""
    index = read_index(RUNS / revision)
    assert (revision, True) == (index.revision, index.commit.startswith(revision))
    assert sorted(index.runs) == sorted(path.name for path in (RUNS / revision).iterdir() if path.is_dir())


@each_run
def test_the_verdicts_are_those_of_the_recording_revision(run: Kept) -> None:
    """Verdict, exit code, failure class and each rule's verdict are as before, but for listed differences."""
    known = listed_differences()
    found = differences(run, today(run))
    assert [] == [one for one in found if not any(each.explains(run, *one) for each in known)]


def test_every_listed_difference_occurs() -> None:
    """A difference that is listed and that no run shows is a mistake of the list."""
    found = [(run, one) for run in KEPT for one in differences(run, today(run))]
    assert [] == [
        each for each in listed_differences() if not any(each.explains(run, *one) for run, one in found)
    ]


@each_run
def test_every_record_of_the_history_is_read(run: Kept) -> None:
    """The history is read to its last line, joined with whatever was judged with it."""
    history = open_history(run.directory)
    records = list(history)
    lines = (run.directory / "history.jsonl").read_bytes().count(b"\n")
    assert (True, "") == (len(records) >= lines > 10, history.damage)


@each_run
def test_recordings_beside_a_history_are_imported(run: Kept, tmp_path: Path) -> None:
    """``harness import`` takes what lies beside a history, if anything does; the copy is judged as the run is."""
    copy = tmp_path / "copy"
    beside = isinstance(open_history(run.directory), JoinedHistory)
    assert (0 if beside else 64) == main(["import", str(run.directory), "--into", str(copy)])
    if beside:
        assert today(run).verdict == judge_run(copy).verdict


@each_run
def test_the_stored_verdict_is_read(run: Kept) -> None:
    """``verdict.json`` decodes, and is what the index says."""
    verdict = stored(run)
    rules = {rule.rule: rule.verdict.value for rule in verdict.rules}
    expected = run.expected
    assert (expected.verdict, expected.exit_code, expected.failure_class) == (
        verdict.verdict.value,
        int(verdict.exit_code),
        verdict.failure_class,
    )
    assert expected.rules == rules


@each_run
def test_plan_and_build_are_known(run: Kept) -> None:
    """The table of many runs finds plan and guest's build in ``run.json``."""
    judged = today(run)
    words = shlex.split(run.expected.command)
    plan = Path(words[2]).stem if words[1] == "run" else "cpu-and-dimm"
    assert (plan, True) == (judged.plan, judged.build.startswith(f"{stored(run).guest} "))


@each_run
def test_the_command_is_known(run: Kept) -> None:
    """The command that recorded a run, and the one that does it again, are found in ``run.json``."""
    again = f"harness repro {shlex.quote(str(run.directory))} --step 2"
    argv = RunDirectory(run.directory).brief().argv
    recorded = shlex.join([Path(argv[0]).name, *argv[1:]])
    assert (run.expected.command, again) == (recorded, reproduction(run.directory, step=2))


@drawn_run
def test_a_run_can_be_asked_for_again(run: Kept, tmp_path: Path) -> None:
    """``harness repro`` makes its request of each run: guest, backend, injected fault and start are those of the command."""
    expected = run.expected
    recorded = RepeatableRun.read(in_this_clone(run, tmp_path))
    request = recorded.request({"runs": tmp_path}, cache=tmp_path, argv=[], anyway=True)
    words = shlex.split(expected.command)
    assert (
        expected.option("--guest") or "twin",
        expected.option("--backend") or "qemu",
        expected.option("--plant"),
        expected.option("--connect"),
        "--restore" in words,
        bool(expected.option("--driver-map")),
    ) == (
        request.guest,
        request.backend,
        request.inject_fault,
        request.connect,
        request.restore,
        request.mapped() is not None,
    )
    assert (recorded.facts.run, recorded.plan, 90.0) == (request.repro_of, request.plan, request.budget.boot)
    judged = today(run).verdict
    assert judged is not None
    assert Signature.of(judged) == Signature.of(recorded.verdict)


@drawn_run
def test_a_run_does_not_differ_from_itself(run: Kept) -> None:
    """The comparison of two machines takes the old facts; nothing that is new for every run is left in the arguments."""
    facts = RepeatableRun.read(run.directory).facts
    compared = Differences(facts, anyway=False)
    compared(facts)
    assert [] == compared.notes
    assert [] == [word for word in normal(facts) if "/RUNS" in word or facts.run in word]


@drawn_run
def test_the_inventory_knows_the_guest(run: Kept, tmp_path: Path) -> None:
    """``harness ps`` finds the guest of a machine in its run directory."""
    registry = Registry(tmp_path / "machines")
    process = ProcessName(pid=1, started=0, boot="of another host")
    registry.write(
        MachineEntry(
            name=run.name,
            harness=process,
            qemu=None,
            directory=str(run.directory),
            runtime=str(tmp_path / "hotplug-0123456789abcdef"),
            command=[],
        )
    )
    assert [run.expected.option("--guest") or "twin"] == [machine.guest for machine in listed(registry)]


@each_run
def test_evidence_is_read(run: Kept) -> None:
    """The index of evidence decodes and is of this run; a run in which nothing went wrong has none."""
    index = RunDirectory(run.directory).evidence()
    assert left_evidence(run) == (index is not None)
    if index is not None:
        assert (stored(run).run, True, True) == (index.run, bool(index.why), len(index.items) > 5)


@drawn_run
def test_evidence_is_shown_and_packed(run: Kept, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``harness evidence`` shows the index of a run that has one, and packs any run."""
    archive = tmp_path / "run.tar.gz"
    assert [0 if left_evidence(run) else 64, 0] == [
        main(["evidence", "show", str(run.directory)]),
        main(["evidence", "pack", str(run.directory), "--out", str(archive), "--json"]),
    ]
    said = capsys.readouterr().out
    packed = json.loads(said[said.index("{") :])["manifest"]["files"]
    assert {"run.json", "history.jsonl", "verdict.json"} <= {file["name"] for file in packed}


@each_set
def test_a_set_is_judged_by_one_command(
    revision: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """``harness check`` takes the whole set: text with timelines, JSON, JUnit.

    Of the JUnit, the first run of each outcome is compared with the schema; all have the same cases.
    """
    runs = [run for run in KEPT if run.revision == revision]
    paths = [str(run.directory) for run in runs]
    judged = [today(run) for run in runs]
    code = worst([one.exit_code for one in judged])
    junit = tmp_path / "junit.xml"
    assert code == main(["check", *paths, "--timeline", "--all", "--junit", str(junit)])
    text = capsys.readouterr().out
    assert [] == [run.name for run in runs if stored(run).run not in text]
    assert code == main(["check", *paths, "--json"])
    document = json.loads(capsys.readouterr().out)
    assert [(one.exit_code, msgspec.to_builtins(one.verdict)) for one in judged] == [
        (one["exit_code"], one["verdict"]) for one in document["runs"]
    ]
    outcomes = [(run.expected.verdict, run.expected.exit_code, run.expected.failure_class) for run in runs]
    shown = {outcomes.index(outcome) for outcome in outcomes}
    assert len(runs) == len(checked(junit.read_bytes(), shown))


@each_set
def test_what_the_runs_observed_is_counted(revision: str, capsys: pytest.CaptureFixture[str]) -> None:
    """``harness observe show`` takes the whole set and counts each of its runs."""
    assert 0 == main(["observe", "show", str(RUNS / revision), "--json"])
    builds = json.loads(capsys.readouterr().out)["builds"]
    guests = Counter(stored(run).guest for run in KEPT if run.revision == revision)
    counted: Counter[str] = Counter()
    for build in builds:
        counted[build["build"].split()[0]] += build["runs"]
    assert guests == counted


@pytest.mark.parametrize(
    "names",
    [
        ["twin-demo", "twin-restored", "twin-libvirt", "host-cpu-and-dimm"],
        ["twin-veto", "host-veto", "wine-veto"],
    ],
)
@each_set
def test_runs_of_one_plan_tell_the_same(revision: str, names: list[str]) -> None:
    """``harness diff`` finds that a plan is told alike on every guest and through both backends."""
    assert 0 == main(["diff", *(str(RUNS / revision / name) for name in names)])


@each_run
def test_no_kept_file_names_a_machine(run: Kept) -> None:
    """No file has a home directory, a temporary one, this machine's paths, its name or its user's."""
    placeholders = of_machine()
    files = [file for file in run.directory.rglob("*") if file.is_file()]
    leaks = {file.name: placeholders.leaks(file.read_text()) for file in files}
    assert {} == {name: found for name, found in leaks.items() if found}


@each_set
def test_no_index_names_a_machine(revision: str) -> None:
    """The commands in an index have placeholders too."""
    assert [] == of_machine().leaks((RUNS / revision / "expected.json").read_text())


@each_run
def test_the_host_s_facts_are_not_kept(run: Kept) -> None:
    """What ``run.json`` says of the recording host are placeholders."""
    facts = json.loads((run.directory / "run.json").read_bytes())
    assert {"system": "SYSTEM", "python": "PYTHON", "cpus": "CPUS"} == facts["host"]


def test_the_sets_stay_small() -> None:
    """A set has less than 1.5 MB, or a clone would grow with every revision that changes the format."""
    sizes = {
        revision: sum(file.stat().st_size for file in (RUNS / revision).rglob("*") if file.is_file())
        for revision in SETS
    }
    assert {} == {revision: size for revision, size in sizes.items() if size > 1_500_000}


def in_this_clone(run: Kept, place: Path) -> Path:
    """Return a copy of a run with this clone in the place of its placeholder: a driver's sources must exist."""
    copy = place / "copy"
    copy.mkdir()
    for file in run.directory.iterdir():
        (copy / file.name).symlink_to(file)
    facts = copy / "run.json"
    text = facts.read_text()
    facts.unlink()
    facts.write_text(text.replace('"/CLONE', f'"{ROOT}'))
    return copy
