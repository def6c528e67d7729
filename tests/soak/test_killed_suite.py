# SPDX-License-Identifier: MIT
"""The suite itself, killed halfway: its guests go with it, and after ``harness gc`` nothing is listed any more."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from left_over import machines_in

from harness.deadline import Deadline
from tests.soak.place import ROOT, Place

pytestmark = [pytest.mark.qemu, pytest.mark.timeout(400)]

TESTS = "tests/twin/test_plans.py"


@pytest.fixture
def place() -> Iterator[Place]:
    """A corner of the host, so that nobody else's machines are meant."""
    found = Place(libvirt=False)
    yield found
    found.close()


def listed(place: Place) -> list[object]:
    """Return what ``harness ps`` lists: machines and leases."""
    log = place.path / "ps.log"
    assert place.start("ps", "--json", log=log).wait(120) == 0
    said = json.loads(log.read_text())
    return [*said["machines"], *said["leases"]]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_suite_that_is_killed(place: Place, workers: int) -> None:
    """SIGKILL to pytest while its guests run, under pytest-xdist to its workers with it."""
    temporary = place.path / "pytest"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "-p",
        "no:cacheprovider",
        f"--basetemp={temporary}",
        TESTS,
    ]
    with (place.path / "pytest.log").open("wb") as log:
        suite = subprocess.Popen(
            [*command, *(["-n", str(workers)] if workers else [])],
            cwd=ROOT, env=place.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip

    def running() -> bool:
        assert suite.poll() is None, (place.path / "pytest.log").read_text()
        return any(entry.alive() for entry in place.registry.entries())

    try:
        Deadline(200, "a guest").poll(running)
    finally:
        os.killpg(suite.pid, signal.SIGKILL)
        suite.wait()
    assert listed(place)
    Deadline(60, "QEMU goes with its harness").poll(
        lambda: not any(entry.processes() for entry in place.registry.entries())
    )
    assert place.collect() == ""
    assert listed(place) == []
    assert [text for text in place.remains() if not text.startswith("temporary pytest")] == []


def test_a_machine_that_a_test_leaves_fails_the_session(pytester: pytest.Pytester) -> None:
    """Though every test of it passed."""
    pytester.makeconftest('pytest_plugins = ["left_over"]\n')
    pytester.makepyfile(
        """
        import os

        from harness.host.registry import MachineEntry, ProcessName, Registry

        def test_it(tmp_path):
            me = ProcessName.of(os.getpid())
            Registry().write(
                MachineEntry(
                    name="left", harness=me, qemu=None, directory=str(tmp_path / "run"), runtime="", command=["true"]
                )
            )
        """
    )
    state = pytester.path / "state"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q"],
        cwd=pytester.path,
        env={
            **os.environ,
            "XDG_STATE_HOME": str(state),
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout
    assert "1 passed" in done.stdout
    assert "left in the registry: left, " in done.stdout
    assert machines_in(Path("/nowhere")) == []
