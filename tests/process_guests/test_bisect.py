# SPDX-License-Identifier: MIT
"""Builds of the driver on the guest ``host`` are bisected: good ones, and ones whose NT layer was changed."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from forked_command import Forked
from process_guests.conftest import Perform
from twin.running import run_here

from harness.deadline import Deadline
from harness.driver.source import driver_folder
from harness.errors import ExitCode

pytestmark = pytest.mark.host

Bisect = Callable[..., tuple[int, str, str]]

DOCUMENTED = """
    processor_activate(n);
    for (each = processor_registrations(); each != NULL; each = each->next) {
        if (each->started[n]) {
            processor_deliver(each, KeProcessorAddCompleteNotify, n, STATUS_SUCCESS, NULL);
        }
    }
"""
COUNTED_LATE = DOCUMENTED.replace("    processor_activate(n);\n", "") + "    processor_activate(n);\n"


def built(place: Path, *, bad: bool) -> Path:
    """Return a copy of the driver's sources, in which a processor is counted after its Complete if ``bad``."""
    shutil.copytree(driver_folder(), place)
    file = place / "nt" / "core" / "documented.c"
    text = file.read_text()
    assert text.count(DOCUMENTED) == 1
    file.write_text(text.replace(DOCUMENTED, COUNTED_LATE) if bad else text)
    return place


@pytest.fixture
def bisect(run_forked: Callable[..., tuple[int, str, str]]) -> Bisect:
    """A function that runs ``harness bisect``, and returns its exit code, standard output and standard error."""
    return lambda *words: run_forked("bisect", *map(str, words))


def test_first_bad_build(bisect: Bisect, perform_on: Perform, tmp_path: Path) -> None:
    """The first of two bad builds is named, with the runs that say so, and too few runs leave it undecided."""
    builds = [built(tmp_path / str(number), bad=number >= 2) for number in range(4)]
    failed = perform_on("cpu-and-dimm", "host", driver=str(builds[3]))
    code, out, err = bisect(failed.directory, "--driver", *builds, "--json", "--runs", tmp_path / "again")
    assert code == ExitCode.HOLDS, err
    said = json.loads(out)
    assert "COMPLETE-COUNTED" in said["signature"]["violated"]
    assert (said["decided"], said["first_bad"]) == (True, str(builds[2]))
    assert [one["shown"] > 0 for one in said["builds"][:2]] == [False, False]
    assert said["builds"][2]["probability"] >= 0.95
    assert len(said["runs"]) == sum(one["shown"] + one["clean"] for one in said["builds"])
    few, out, _ = bisect(
        failed.directory, "--driver", *builds, "--max-runs", "1", "--runs", tmp_path / "again"
    )
    assert (few, out.splitlines()[-1]) == (ExitCode.UNKNOWN, "undecided after 1 run")


def test_a_build_that_does_not_compile(bisect: Bisect, perform_on: Perform, tmp_path: Path) -> None:
    """It is left out, with the compiler's message. Alone it is an error with the exit code of ``harness run``."""
    good, broken, bad = (built(tmp_path / name, bad=name == "bad") for name in ("good", "broken", "bad"))
    failed = perform_on("cpu-and-dimm", "host", driver=str(bad))
    with (broken / "src" / "driver.c").open("a") as file:
        file.write("int broken = ;\n")
    code, out, err = bisect(failed.directory, "--driver", broken, "--runs", tmp_path / "again")
    assert code == ExitCode.USAGE, err
    assert f"no build can run, the last one is {broken}: the given driver does not compile" in err
    code, out, err = bisect(failed.directory, "--driver", good, broken, bad, "--runs", tmp_path / "again")
    assert code == ExitCode.HOLDS, err
    text = out.splitlines()
    first, untested = text[-2:]
    assert first.startswith(f"first bad build: {bad} (")
    assert untested == f"or one before it that cannot run: {broken}"
    at = next(at for at, line in enumerate(text) if line.endswith(f"  cannot run         {broken}"))
    assert text[at + 1].strip().startswith("the given driver does not compile")
    assert text[at + 2].endswith(str(bad))


def test_nothing_older_was_tried(bisect: Bisect, perform_on: Perform, tmp_path: Path) -> None:
    """The oldest given build is bad: it is the first of those given, and the output says that an older one may be bad."""
    build = built(tmp_path / "bad", bad=True)
    failed = perform_on("cpu-and-dimm", "host", driver=str(build))
    code, out, err = bisect(failed.directory, "--driver", build, "--runs", tmp_path / "again")
    assert code == ExitCode.HOLDS, err
    first, older = out.splitlines()[-2:]
    assert first.startswith(f"first bad build: {build} (")
    assert older == "the oldest given build is already bad: an older one may be, too"


def test_ctrl_c_keeps_what_is_known(
    start_forked: Callable[..., Forked], perform_on: Perform, tmp_path: Path
) -> None:
    """The runs that are over are counted and listed, and the exit code is the signal's."""
    builds = [built(tmp_path / str(number), bad=number == 2) for number in range(3)]
    failed = perform_on("cpu-and-dimm", "host", driver=str(builds[2]))
    words = [
        "bisect",
        str(failed.directory),
        "--driver",
        *map(str, builds[:2]),
        "--json",
        "--runs",
        str(tmp_path / "again"),
    ]
    process = start_forked(*words)
    over = tmp_path / "again"
    # Resolved, because "latest" is a link to one of them. The second begins when the result of the first is known.
    Deadline(120, "two runs").poll(lambda: len({file.resolve() for file in over.glob("*/verdict.json")}) > 1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    said = json.loads(out)
    assert (process.returncode, said["interrupted"], said["decided"]) == (
        ExitCode.INTERRUPTED,
        True,
        False,
    ), err
    assert len(said["runs"]) >= 1
    assert sum(one["clean"] for one in said["builds"]) == len([one for one in said["runs"] if one["counts"]])


def test_what_cannot_be_bisected(perform_on: Perform, tmp_path: Path) -> None:
    """Refused before a run starts, with what to give."""
    good = perform_on("cpu-and-dimm", "host")
    fault = perform_on("cpu-and-dimm", "host", inject_fault="complete-before-start")
    for words, said in (
        ((good.directory, tmp_path), "give --qemu or --driver, one of the two"),
        ((good.directory, "--driver", tmp_path / "nosuch"), "there is no build"),
        ((good.directory, "--driver", tmp_path), "holds: it has no failure to look for"),
        ((good.directory, "--driver", tmp_path, tmp_path), "is given twice"),
        ((fault.directory, "--driver", tmp_path), "has the injected fault complete-before-start"),
        ((tmp_path / "nosuch", "--driver", tmp_path), "nosuch"),
    ):
        code, _, err = run_here("bisect", *map(str, words))
        assert (code, said in err) == (ExitCode.USAGE, True), err


def test_driver_without_sources(perform_on: Perform, tmp_path: Path) -> None:
    """The guest says which folder is missing."""
    result = perform_on("cpu-and-dimm", "host", driver=str(tmp_path))
    assert result.error is not None
    assert "there is no folder 'src' in it" in result.error.message
