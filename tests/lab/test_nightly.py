# SPDX-License-Identifier: MIT
"""Nightly runs of real processes of the harness, on a false QEMU: how runs fail, and how a nightly run continues.

They take seconds, and so they run with those that boot guests.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from report.junit_schema import checked
from twin.running import CACHE

from harness.cli.main import main
from harness.deadline import Deadline
from harness.host.reservations import Reservations
from tests.processes_of import processes_of

BAD = "#!/bin/sh\nexit 7\n"
KILLER = "#!/bin/sh\nkill -{number} $PPID\n"
SLOW = "#!/bin/sh\ntest -e {gate} && exit 7\nexec sleep 600\n"


def lab(tmp_path: Path, *qemus: tuple[str, str], plans: tuple[str, ...] = ("veto",), head: str = "") -> Path:
    """Write a lab.toml of programs that are no QEMU."""
    text = f'accel = "tcg"\n{head}\n'
    for name, script in qemus:
        program = tmp_path / f"qemu-{name}"
        program.write_text(script)
        program.chmod(0o755)
        text += f'[[qemu]]\nname = "{name}"\npath = "./{program.name}"\n'
    text += "".join(f'[[plan]]\nplan = "{plan}"\n' for plan in plans)
    file = tmp_path / "lab.toml"
    file.write_text(text)
    return file


def nightly(file: Path, *options: str) -> list[str]:
    """Return the words of the command of a nightly run called n."""
    return [
        "nightly", "--once", "--lab", str(file), "--into", str(file.parent / "kept"), "--name", "n", *options,
    ]  # fmt: skip


def said(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Return the JSON document that was printed."""
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


@pytest.mark.qemu
def test_guest_that_does_not_boot_is_not_booted_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its infrastructure failure is tried twice, both kept; what else needs it is skipped and says why."""
    file = lab(tmp_path, ("bad", BAD), plans=("veto", "reset"))
    assert 69 == main(nightly(file, "--json"))
    document = said(capsys)
    done, skipped = document["runs"]
    assert ("done", 69, "infrastructure", 2) == (
        done["state"],
        done["exit_code"],
        done["failure_class"],
        len(done["runs"]),
    )
    facts = [json.loads((Path(run) / "run.json").read_text()) for run in done["runs"]]
    assert [("", 1), (facts[0]["run"], 2)] == [(f.get("retry_of", ""), f.get("attempt", 1)) for f in facts]
    assert skipped["state"] == "skipped"
    assert f"twin did not boot before (run {facts[1]['run']}, stage qemu)" in skipped["reason"]
    report = checked((tmp_path / "kept" / "n" / "junit.xml").read_bytes())
    (error,) = report.iter("error")
    assert ["infrastructure", done["reason"], f"{skipped['cell'].removesuffix('.1')}", skipped["reason"]] == [
        error.get("type"),
        error.get("message"),
        report[1].get("name"),
        report[1].findtext("testcase/skipped"),
    ]


TOO_MUCH = """#!/bin/sh
test "$1" = --version && echo "QEMU emulator version 8.2.0" && exit 0
echo "qemu: Invalid SMP CPUs 288. The max CPUs supported by machine 'pc' is 255" >&2
exit 1
"""


@pytest.mark.qemu
def test_what_one_plan_asks_for_in_vain_keeps_no_other_from_running(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is no failure of the host: 64, one attempt, and the other plans of the machine are run."""
    # This QEMU is asked only once the guest's image is there, and the image is that of all tests.
    (CACHE / "twin").mkdir(parents=True, exist_ok=True)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "twin").symlink_to(CACHE / "twin")
    assert 64 == main(nightly(lab(tmp_path, ("small", TOO_MUCH), plans=("veto", "reset")), "--json"))
    document = said(capsys)
    assert [("done", "plan", 64, 1)] * 2 == [
        (run["state"], run["word"], run["exit_code"], len(run["runs"])) for run in document["runs"]
    ]
    assert 2 == document["counts"]["plan"]
    lines = (tmp_path / "kept" / "n" / "morning.txt").read_text().splitlines()
    assert ["infrastructure 0: -", "plan 1"] == [
        line if "infra" in line else line.partition(":")[0] for line in lines if line.startswith(("infrastructure ", "plan "))
    ]  # fmt: skip


@pytest.mark.qemu
@pytest.mark.parametrize(
    ("number", "code", "reason"),
    [
        (signal.SIGKILL, 69, "the run was killed by signal 9"),
        (signal.SIGTERM, 143, "the run ended with status 143 and no result: interrupted by SIGTERM"),
    ],
)
def test_run_that_is_killed_does_not_end_the_nightly_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], number: signal.Signals, code: int, reason: str
) -> None:
    """It is repeated once, the second attempt names the first, and both are found; a signal that it heard is its code."""
    assert code == main(nightly(lab(tmp_path, ("killer", KILLER.format(number=int(number)))), "--json"))
    (run,) = said(capsys)["runs"]
    assert (code, True) == (run["exit_code"], reason in run["reason"])
    report = checked((tmp_path / "kept" / "n" / "junit.xml").read_bytes())
    assert [run["reason"]] == [error.get("message") for error in report.iter("error")]
    runs = [json.loads(file.read_text()) for file in sorted((tmp_path / "kept/n/runs").glob("2*/run.json"))]
    assert {1: "", 2: next(f["run"] for f in runs if f.get("attempt", 1) == 1)} == {
        f.get("attempt", 1): f.get("retry_of", "") for f in runs
    }


@pytest.mark.qemu
def test_the_end_of_the_process_that_forks_the_runs_is_a_run_that_died(tmp_path: Path) -> None:
    """The run ends with it and is repeated, forked by a new one; nothing is left."""
    gate = tmp_path / "gate"
    file = lab(tmp_path, ("slow", SLOW.format(gate=gate)))
    words = [sys.executable, "-m", "harness", *nightly(file, "--json")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        mine = psutil.Process(process.pid)
        Deadline(60, "a false QEMU").poll(lambda: any("sleep" in one.name() for one in family(mine)))
        (server,) = mine.children()
        before = family(mine)
        gate.touch()
        server.kill()
        out, _ = process.communicate(timeout=120)
    document = json.loads(out)
    assert (69, 1) == (process.returncode, len(document["runs"]))
    runs = [json.loads(one.read_text()) for one in sorted((tmp_path / "kept/n/runs").glob("2*/run.json"))]
    first, second = sorted(runs, key=lambda run: run.get("attempt", 1))[:2]
    assert (first["run"], 2) == (second["retry_of"], second["attempt"])
    assert [] == [one for one in before if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


def family(process: psutil.Process) -> list[psutil.Process]:
    """Return the processes that are descended from one, of those that have not ended meanwhile."""
    found = []
    for one in process.children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if one.name():
                found.append(one)
    return found


@pytest.mark.qemu
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_nightly_run_continues(
    tmp_path: Path, number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    """A signal ends the runs under way, leaves a readable state and its code; the same command does what is left."""
    gate = tmp_path / "gate"
    file = lab(tmp_path, ("bad", BAD), ("slow", SLOW.format(gate=gate)), head="parallel = 2")
    words = [sys.executable, "-m", "harness", *nightly(file)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    first = process.stderr.readline()
    assert "[1/2] infrastructure  twin.bad.default.veto.1" in first
    process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    summary = json.loads((tmp_path / "kept" / "n" / "summary.json").read_text())
    assert 128 + number == summary["exit_code"]
    assert (128 + number, True) == (
        process.returncode,
        "1 run is left; the same command continues with it." in out,
    )
    assert [pid for pid in processes_of(str(tmp_path)) if pid != os.getpid()] == []
    gate.touch()
    assert 69 == main(nightly(file))
    again = capsys.readouterr()
    assert "2 of 2 runs" in again.out
    assert "1 of 2 runs have ended" in again.err
    assert "[2/2] infrastructure  twin.slow.default.veto.1" in again.err


@pytest.mark.qemu
def test_a_reserved_host_is_waited_for(tmp_path: Path) -> None:
    """No run starts until the reservation is given up; then the nightly run goes on by itself."""
    now = time.time()
    Reservations().make(until=now + 3000, why="a debugger is attached", now=now)
    words = [sys.executable, "-m", "harness", *nightly(lab(tmp_path, ("bad", BAD)))]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        first = process.stderr.readline()
        begun = list((tmp_path / "kept" / "n" / "output").iterdir())
        Reservations().release()
        out, rest = process.communicate(timeout=60)
    assert (True, [], 69, True, True) == (
        ": a debugger is attached" in first, begun, process.returncode, "no longer reserved" in rest, "1 of 1 runs" in out,
    )  # fmt: skip


@pytest.mark.qemu
def test_a_reserved_host_can_be_used_all_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """When that is asked for."""
    now = time.time()
    Reservations().make(until=now + 3000, why="a debugger is attached", now=now)
    assert 69 == main(nightly(lab(tmp_path, ("bad", BAD)), "--despite-reservations", "--json"))
    assert 1 == len(said(capsys)["runs"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nightly"], "a nightly run needs --once"),
        (["nightly", "--once", "--lab", "/nonexistent.toml"], "/nonexistent.toml: No such file"),
        (["nightly", "--dry-run", "--lab", "{lab}", "--name"], "requires an argument"),
    ],
)
def test_mistakes_end_with_64(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    """A nightly run without --once, no document, an option without its value."""
    file = lab(tmp_path, ("bad", BAD))
    assert 64 == main([word.format(lab=file) for word in words])
    assert message in capsys.readouterr().err


def test_dry_run_prints_the_matrix_and_runs_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each run with its seed, in its order."""
    file = lab(tmp_path, ("bad", BAD), plans=("veto", "reset"))
    assert 0 == main(["nightly", "--dry-run", "--lab", str(file)])
    out = capsys.readouterr().out
    assert ("2 runs, 1 at once", 2) == (out.splitlines()[-1], out.count("  seed "))
    assert not (tmp_path / "kept").exists()
