# SPDX-License-Identifier: MIT
"""pytest fixtures: a booted guest, hot-add operations, the history so far, and the verdict.

::

    def test_my_driver_hears_of_a_processor(hotplug, verdict):
        hotplug.add_cpu()
        assert verdict().verdict == "holds"

A test that uses any of them gets a guest of its own, whose run directory lies under ``--hotplug-runs``. The run is
always judged: a violated contract fails the test even if it never asked for the verdict.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from harness.contract.verdict import RunVerdict
    from harness.guest.guest import Guest
    from harness.history.record import Record
    from harness.hotplug.boot import Live
    from harness.hotplug.run import Run


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options; each has a default that works on any machine with QEMU."""
    group = parser.getgroup("hotplug harness")
    group.addoption("--hotplug-accel", default="auto", help="accelerator of the guests: auto, kvm or tcg")
    group.addoption(
        "--hotplug-runs", default="", help="where run directories are made (default: pytest's own)"
    )
    group.addoption("--hotplug-guest", default="twin", help="the guest that tests run on")
    group.addoption("--hotplug-qemu", default="", help="the QEMU binary to use")


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers."""
    config.addinivalue_line("markers", "plant(name): make the twin's NT layer misbehave in a known way")
    config.addinivalue_line("markers", "machine(**wishes): what the plan's [machine] table would say")


class RunUnderTest:
    """One test's run: begun on first use, ended and judged once."""

    def __init__(self, run: Run, *, stack: contextlib.ExitStack) -> None:
        self.run = run
        self.asked = False
        self._stack = stack
        self._verdict: RunVerdict | None = None
        self.live: Live = stack.enter_context(run.live())

    def verdict(self) -> RunVerdict:
        """End the run if it goes on, judge it, and return the verdict, the same one from then on."""
        from harness.errors import HarnessError

        if self._verdict is None:
            with contextlib.suppress(HarnessError):  # it is in the history as a Fault, and so in the verdict
                self.live.executor.execute([])
            with contextlib.suppress(HarnessError):
                self._stack.close()
            self._verdict = self.run.judge()
        return self._verdict


class Hotplug:
    """Hot-add operations on the test's guest; each waits for its consequences and records them.

    The arguments are those of a plan's operations (:mod:`harness.hotplug.operation`).
    """

    def __init__(self, live: Live) -> None:
        self._live = live

    def add_cpu(self, **arguments: Any) -> None:
        """Add one processor: ``slot``, ``id``, ``expect``, ``saying``, ``settle``, ``timeout``."""
        from harness.hotplug.operation import AddCpu

        self.do(AddCpu(**arguments))

    def add_dimm(self, size: str = "256 MiB", **arguments: Any) -> None:
        """Add one DIMM: ``size``, ``node``, ``id``, ``expect``, ``saying``, ``settle``, ``unaligned``, ``timeout``."""
        from harness.hotplug.operation import AddDimm

        self.do(AddDimm(size=size, **arguments))

    def do(self, *operations: Any) -> None:
        """Execute operations of :mod:`harness.hotplug.operation` in order."""
        for operation in operations:
            self._live.executor.step(operation)

    def plan(self, name: str) -> None:
        """Execute the operations of a built-in plan or a plan file."""
        from harness.hotplug.plan import find_plan

        self.do(*find_plan(name).do)


@pytest.fixture
def guest_name(request: pytest.FixtureRequest) -> str:
    """The guest a test runs on: ``--hotplug-guest``. A suite overrides it to run on several guests."""
    return str(request.config.option.hotplug_guest)


@pytest.fixture
def run_under_test(request: pytest.FixtureRequest, guest_name: str, tmp_path: Path) -> Iterator[RunUnderTest]:
    """The test's run, with everything about it; most tests need only the fixtures below."""
    from harness.contract.verdict import Verdict
    from harness.hotplug.operation import Quiesce
    from harness.hotplug.plan import MachineWishes, Plan
    from harness.hotplug.request import RunRequest
    from harness.hotplug.run import Run
    from harness.setup.cache import cache_directory

    plant = request.node.get_closest_marker("plant")
    machine = request.node.get_closest_marker("machine")
    options = request.config.option
    wishes = MachineWishes(**(machine.kwargs if machine else {}))
    run_request = RunRequest(
        plan=Plan(name=request.node.name, machine=wishes, do=[Quiesce()]),
        runs=Path(options.hotplug_runs) if options.hotplug_runs else tmp_path / "runs",
        cache=cache_directory(os.environ),
        argv=["pytest", request.node.nodeid],
        guest=guest_name,
        accelerator=options.hotplug_accel,
        qemu=options.hotplug_qemu,
        plant=plant.args[0] if plant else "",
    )
    with contextlib.ExitStack() as stack:
        under_test = RunUnderTest(Run(run_request), stack=stack)
        yield under_test
        verdict = under_test.verdict()
    if verdict.verdict is Verdict.VIOLATED and not under_test.asked:
        pytest.fail(
            "\n".join(
                ["the contract is violated:", *verdict.reasons, f"evidence: {under_test.run.directory.path}"]
            )
        )


@pytest.fixture
def guest(run_under_test: RunUnderTest) -> Guest:
    """The booted guest with the driver loaded."""
    return run_under_test.live.guest


@pytest.fixture
def hotplug(run_under_test: RunUnderTest) -> Hotplug:
    """Hot-add operations on the test's guest."""
    return Hotplug(run_under_test.live)


@pytest.fixture
def history(run_under_test: RunUnderTest) -> Callable[[], list[Record]]:
    """A function that returns everything recorded so far, the driver's last line included."""
    from harness.history.reader import History

    def records() -> list[Record]:
        with contextlib.suppress(ValueError):
            run_under_test.live.capture.drain()
        return list(History(run_under_test.run.directory.path))

    return records


@pytest.fixture
def verdict(run_under_test: RunUnderTest) -> Callable[[], RunVerdict]:
    """A function that ends the run, judges it and returns the verdict; whoever asks may find a violation and pass."""

    def judged() -> RunVerdict:
        run_under_test.asked = True
        return run_under_test.verdict()

    return judged
