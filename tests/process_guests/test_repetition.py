# SPDX-License-Identifier: MIT
"""A run many times on the guest ``host``: how often it is the same, and what a run that is not tells otherwise."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from forked_command import Forked
from process_guests.conftest import Perform
from twin.running import run_here

from harness.deadline import Deadline
from harness.errors import ExitCode
from harness.interval import wilson
from harness.repro.recorded_run import Signature
from harness.repro.repetition import Repetition, contrast

pytestmark = pytest.mark.host


def test_how_often_it_is_reproduced(
    run_forked: Callable[..., tuple[int, str, str]], perform_on: Perform, tmp_path: Path
) -> None:
    """Each repetition is a run of its own, judged as the recorded one; the rate has Wilson's interval."""
    first = perform_on("cpu-and-dimm", "host", inject_fault="complete-before-start")
    runs = tmp_path / "again"
    repro = "repro", str(first.directory)
    code, out, err = run_forked(*repro, "--repeat", "3", "--jobs", "2", "--json", "--runs", str(runs))
    said = json.loads(out)
    assert (code, len(said["runs"])) == (ExitCode.VIOLATED, 3), err
    assert said["reproduced"] == {"seen": 3, "of": 3, "rate": 1.0, "low": wilson(3, 3).low, "high": 1.0}
    assert {run["directory"] for run in said["runs"]} == {
        str(one) for one in runs.iterdir() if not one.is_symlink()
    }
    assert said["contrast"] is None
    _, out, _ = run_forked(*repro, "--repeat", "1", "--runs", str(runs))
    assert out.splitlines()[-1] == "reproduced 1 of 1 (95 % between 21 and 100 %)"


def test_what_has_no_result_does_not_count(
    run_forked: Callable[..., tuple[int, str, str]], perform_on: Perform, tmp_path: Path
) -> None:
    """A run that cannot be made says nothing about the rate, and the exit code is the infrastructure's."""
    first = perform_on("cpu-and-dimm", "host")
    blocked = tmp_path / "file"
    blocked.write_text("")
    code, out, _ = run_forked("repro", str(first.directory), "--repeat", "2", "--runs", str(blocked))
    assert (code, "reproduced 0 of 0" in out, "no result: cannot make the run directory" in out) == (
        ExitCode.INFRASTRUCTURE, True, True,
    )  # fmt: skip


def test_what_was_recorded_is_said_if_no_run_is_like_it(
    run_forked: Callable[..., tuple[int, str, str]], perform_on: Perform, tmp_path: Path
) -> None:
    """A damaged history is unknown: it is not the repetitions' fault that none is as recorded."""
    first = perform_on("cpu-and-dimm", "host", inject_fault="complete-before-start")
    history = first.directory / "history.jsonl"
    history.write_bytes(history.read_bytes()[:5000])
    _, out, err = run_forked(
        "repro", str(first.directory), "--repeat", "1", "--runs", str(tmp_path / "again")
    )
    assert "0  as recorded: unknown (unknown): the history is damaged: line " in out, err
    assert out.splitlines()[-1] == "reproduced 0 of 1 (95 % between 0 and 79 %)"


def test_a_good_and_a_bad_run_are_compared(perform_on: Perform) -> None:
    """The first step that they tell differently is named, with what each says of it."""
    bad = perform_on("cpu-and-dimm", "host", inject_fault="complete-before-start")
    good = perform_on("cpu-and-dimm", "host")
    runs = [
        Repetition(
            number=number, exit_code=int(one.exit_code), directory=str(one.directory), now=Signature.of(one.verdict),
            same=one is bad, counts=True,
        )
        for number, one in enumerate((good, bad), 1)
    ]  # fmt: skip
    found = contrast(runs)
    assert found is not None
    assert (found.reproduced, found.other, found.verdict) == (
        str(bad.directory),
        str(good.directory),
        "differ",
    )
    assert found.first is not None
    assert ["Complete" in str(said) for said in found.first.said] == [True, False]
    assert contrast(runs[:1]) is None


def test_ctrl_c_ends_every_repetition(
    start_forked: Callable[..., Forked], perform_on: Perform, tmp_path: Path
) -> None:
    """No process is left, and each history that was begun is closed."""
    first = perform_on("cpu-and-dimm", "host")
    runs = tmp_path / "again"
    process = start_forked(
        "repro", str(first.directory), "--repeat", "1000", "--jobs", "2", "--runs", str(runs)
    )
    try:
        # Two at once: where four have begun, the results of two are known.
        Deadline(60, "repetitions").poll(lambda: len([*runs.glob("2*/history.jsonl")]) >= 4)
    finally:
        process.send_signal(signal.SIGINT)
        out, err = (text.decode() for text in process.communicate(timeout=120))
    assert (process.returncode, "Traceback" in err) == (ExitCode.INTERRUPTED, False)
    ended = int(out.splitlines()[-1].removeprefix("reproduced ").split(" of ")[0])
    assert ended >= 2
    assert f"reproduced {ended} of {ended} (95 % between " in out
    for file in runs.glob("2*/history.jsonl"):
        # One that was ended before it began has its end alone.
        assert '"k":"end"' in file.read_text().splitlines()[-1]
    mine = [one for one in Path("/proc").glob("[0-9]*/cmdline") if str(runs).encode() in read(one)]
    assert mine == []


def read(file: Path) -> bytes:
    """Return what a file of /proc says, b"" if its process is gone."""
    try:
        return file.read_bytes()
    except OSError:
        return b""


def test_another_machine_is_refused_once(perform_on: Perform, tmp_path: Path) -> None:
    """As by ``repro`` alone: the whole list, the hint and the exit code, and no run directory. ``--anyway`` says it too."""
    first = perform_on("cpu-and-dimm", "host")
    facts = first.directory / "run.json"
    recorded = json.loads(facts.read_text())
    recorded["driver"] = "0" * 64
    recorded["host"] |= {"system": "Linux of another host", "cpus": "1024"}
    facts.write_text(json.dumps(recorded))
    repro = "repro", str(first.directory), "--runs"
    alone = run_here(*repro, str(tmp_path / "alone"))
    often = run_here(*repro, str(tmp_path / "often"), "--repeat", "3")
    said = [err[err.index("harness: ") :] for _, _, err in (alone, often)]
    assert said[0] == said[1]
    for word in ("the driver differs", "the host's system differs", "processors differs", "--anyway"):
        assert word in said[1]
    assert (alone[0], often[0], often[1]) == (ExitCode.USAGE, ExitCode.USAGE, "")
    assert not (tmp_path / "often").exists()
    code, out, err = run_here(*repro, str(tmp_path / "often"), "--repeat", "2", "--anyway")
    assert (code, out.count("Different from the recorded run: ")) == (ExitCode.HOLDS, 3), err
    assert out.splitlines()[-1].startswith("reproduced 2 of 2")


def test_what_cannot_be_repeated(perform_on: Perform) -> None:
    """Refused before anything starts."""
    first = perform_on("cpu-and-dimm", "host")
    for words, said in (
        (("--repeat", "0"), "'--repeat'"),
        (("--jobs", "2"), "--jobs needs --repeat"),
        (("--repeat", "2", "--step", "1"), "--repeat and --step exclude each other"),
        (("--repeat", "2", "--interactive"), "--repeat and --interactive exclude each other"),
        (("--repeat", "20000"), "expected a whole number from 1 to 10000"),
    ):
        code, _, err = run_here("repro", str(first.directory), *words)
        assert (code, said in err) == (ExitCode.USAGE, True), err
    assert [first.directory.name] == [
        one.name for one in first.directory.parent.iterdir() if not one.is_symlink()
    ]
