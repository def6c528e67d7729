# SPDX-License-Identifier: MIT
"""pytest fixtures: a booted guest, hot-add operations, the history so far, and the verdict.

::

    def test_my_driver_hears_of_a_processor(hotplug, verdict):
        hotplug.add_cpu()
        assert verdict().verdict == "holds"

Each test that uses any of them gets its own guest, whose run directory is under ``--hotplug-runs``. The run
is always judged: a violated contract fails the test even if it never requested the verdict.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from _pytest.runner import runtestprotocol

from harness.testing import marks
from harness.testing.session import AGAIN, CLASS, NO_BUG, ROWS, RUN, Guests
from harness.testing.settings import Settings, add_settings, spoken
from harness.testing.summary import Summary, attach
from harness.testing.timer import RUN_SO_FAR, TIMER, TimeLimit, TimeoutSettings
from harness.testing.under_test import Hotplug, JudgeNow, ReadRecords, RunUnderTest

if TYPE_CHECKING:
    from harness.contract.verdict import RunVerdict
    from harness.guest.guest import Guest
    from harness.history.record import Record
    from harness.run.run import Run

__all__ = ["Hotplug", "JudgeNow", "ReadRecords", "RunUnderTest"]

FIXTURE = "run_under_test"
"""The fixture that every test with a guest uses, directly or indirectly."""

GUESTS = pytest.StashKey[Guests]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options and their ini keys; each has a default that works on any machine with QEMU."""
    add_settings(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers, and refuse invalid settings."""
    for text in (*marks.MARKERS.values(), marks.FORMER):
        config.addinivalue_line("markers", text)
    settings = Settings(config)
    settings.check()
    # The prompt needs the guest's monitor, which must exist from the guest's start.
    prompts = bool(config.getoption("usepdb", False) or config.getoption("trace", False))
    guests = config.stash[GUESTS] = Guests(settings, prompts=prompts)
    config.pluginmanager.register(guests, "hotplug_harness_guests")
    config.pluginmanager.register(Summary(), "hotplug_harness_summary")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Check the markers, and deselect tests that need real Windows unless the selection names the marker."""
    for item in items:
        marks.known_issue(item)
        marks.guest_of(item)
    if "hardware" in (config.option.markexpr or ""):
        return
    left = [item for item in items if item.get_closest_marker("hardware") is not None]
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item.get_closest_marker("hardware") is None]


def pytest_report_collectionfinish(config: pytest.Config, items: list[pytest.Item]) -> list[str]:
    """Print what the tests will run on, if any needs a guest."""
    named = [marks.guest_of(item) for item in items if FIXTURE in getattr(item, "fixturenames", ())]
    if not named:
        return []
    from harness.testing.header import header_lines

    settings = config.stash[GUESTS].settings
    guests = dict.fromkeys(settings["guest"] if one is None else one[0] for one in named)
    return header_lines(settings, list(guests))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Rerun a test with a guest once if its infrastructure failed; only the last attempt counts."""
    if FIXTURE not in getattr(item, "fixturenames", ()):
        return None
    hook = item.ihook
    hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    try:
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        if item.stash.get(AGAIN, False):
            item.stash[AGAIN] = False
            if TIMER in item.stash:
                item.stash[TIMER] = item.stash[TIMER].again()
            reports = runtestprotocol(item, nextitem=nextitem, log=False)
    finally:
        if (timer := item.stash.get(TIMER, None)) is not None:
            del item.stash[TIMER]
            timer.end()
    for report in reports:
        hook.pytest_runtest_logreport(report=report)
    hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: TimeoutSettings) -> bool | None:
    """Replace pytest-timeout's timer for a test with a guest, so that the guest ends in order."""
    if (
        FIXTURE not in getattr(item, "fixturenames", ())
        or threading.current_thread() is not threading.main_thread()
    ):
        return None
    if TIMER in item.stash:
        item.stash[TIMER].end()
    timer = item.stash[TIMER] = TimeLimit(item, settings)
    item.cancel_timeout = timer.stop  # type: ignore[attr-defined]
    timer.start()
    return True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Pass the failure to the run; turn the failure of a known bug, unless the infrastructure failed, into an xfail."""
    report = yield
    error = call.excinfo.value if call.excinfo is not None else None
    run = item.stash.get(RUN, None)
    if report.failed and report.when == "call":
        item.stash[CLASS] = str(getattr(error, "failure_class", ""))
        if run is not None:
            run.error = error
    issue = marks.known_issue(item)
    if issue is not None and report.failed and item.stash.get(CLASS, "") not in NO_BUG:
        report.outcome = "skipped"
        report.wasxfail = str(issue)
    # The rows of a first attempt are reported with those of the second.
    if report.when == "teardown" and not item.stash.get(AGAIN, False):
        attach(report, item.stash.get(ROWS, []), str(issue or ""))
        item.stash[ROWS] = []
    return report


def pytest_enter_pdb(config: pytest.Config, pdb: Any) -> None:
    """Print how to inspect the live guests while the prompt is open, and add the command ``repro`` to it."""
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    live = [run for run in config.stash[GUESTS].live if not run.over]
    if terminal is None:
        return

    # A command of pdb is a method called do_NAME (Python: cmd).
    def refuse(_arguments: str) -> None:
        terminal.write_line("No guest is alive here: the test's run has ended, and was judged.")

    pdb.do_repro = refuse
    if not live:
        return
    for run in live:
        for line in run.how_to_attach():
            terminal.write_line(line)

    def converse(_arguments: str) -> None:
        live[-1].converse(terminal.write_line)

    pdb.do_repro = converse
    terminal.write_line("Type 'repro' for a session on the guest; its 'quit' comes back here.")


def _hold(config: pytest.Config, run: RunUnderTest) -> None:
    """Hold a session on a guest whose run is violated, before it is ended: what --pdb asks for."""
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    capture = config.pluginmanager.get_plugin("capturemanager")
    if terminal is None:
        return
    if capture is not None:
        capture.suspend(in_=True)
    try:
        terminal.write_line("")
        for line in run.how_to_attach():
            terminal.write_line(line)
        run.converse(terminal.write_line)
    finally:
        if capture is not None:
            capture.resume()


@pytest.fixture
def guest_name(request: pytest.FixtureRequest) -> str:
    """The guest a test runs on: its marker's, else ``--hotplug-guest``. Override it to run a suite on several guests."""
    named = marks.guest_of(request.node)
    return named[0] if named is not None else request.config.stash[GUESTS].settings["guest"]


@pytest.fixture
def run_under_test(request: pytest.FixtureRequest, guest_name: str, tmp_path: Path) -> Iterator[RunUnderTest]:
    """The test's run, with everything about it; most tests need only the fixtures below."""
    from harness.contract.verdict import Verdict
    from harness.errors import InfrastructureError, UsageError
    from harness.interrupts import interruptible
    from harness.run.run import Run

    item, guests = request.node, request.config.stash[GUESTS]
    try:
        asked = guests.request(item, guest_name, tmp_path / "runs")
    except UsageError as error:
        item.stash[CLASS] = "usage"
        raise pytest.fail.Exception(str(error), pytrace=False) from None
    guests.refuse_known_failure(asked)
    try:
        run = item.stash[RUN_SO_FAR] = Run(asked)
    except InfrastructureError as error:
        item.stash[CLASS] = str(error.failure_class)
        raise pytest.fail.Exception(spoken(str(error)), pytrace=False) from None
    # SIGTERM, SIGHUP and SIGQUIT end the run like Ctrl-C, while there is one. One block for all: a signal between the end
    # of the guest and the verdict leaves a verdict, too.
    try:
        with interruptible(), contextlib.ExitStack() as stack:
            under_test = _booted(run, item, guests, stack)
            if guests.prompts:
                under_test.on_violation = functools.partial(_hold, request.config)
            guests.live.append(under_test)
            item.stash[RUN] = under_test
            try:
                if item.get_closest_marker("plan") is not None:
                    under_test.begin(asked.plan.do)
                yield under_test
            finally:
                item.stash[RUN] = None
                try:
                    under_test.verdict()
                finally:
                    guests.live.remove(under_test)
                result = under_test.result()
                guests.ended(item, run, result)
    except KeyboardInterrupt as stop:
        raise run.interruption() from stop
    if result.verdict.verdict is Verdict.VIOLATED and not under_test.asked:
        item.stash[CLASS] = str(result.failure_class or "")
        pytest.fail(
            "\n".join(
                ["the contract is violated:", *result.verdict.reasons, f"evidence: {result.directory}"]
            ),
            pytrace=False,
        )


def _booted(run: Run, item: pytest.Item, guests: Guests, stack: contextlib.ExitStack) -> RunUnderTest:
    """Boot the guest of a test. A run that does not get so far is judged, and fails the test."""
    from harness.errors import HarnessError

    try:
        return RunUnderTest(run, stack=stack)
    except HarnessError as error:
        run.error = run.error or error
        guests.ended(item, run, run.result(run.judge()))
        said = f"{spoken(str(error))}\nevidence: {run.directory.path}"
        raise pytest.fail.Exception(said, pytrace=False) from None
    except pytest.fail.Exception as error:
        # The time for the test was over while the guest booted.
        with contextlib.suppress(HarnessError):
            guests.ended(item, run, run.result(run.judge()))
        error.msg = f"{error.msg}\nevidence: {run.directory.path}"
        raise


@pytest.fixture
def guest(run_under_test: RunUnderTest) -> Guest:
    """The booted guest with the driver loaded."""
    return run_under_test.live.guest


@pytest.fixture
def hotplug(run_under_test: RunUnderTest) -> Hotplug:
    """Hot-add operations on the test's guest."""
    return Hotplug(run_under_test.live)


@pytest.fixture
def history(run_under_test: RunUnderTest) -> ReadRecords:
    """A function that returns everything recorded so far, the driver's last line included."""
    from harness.history.reader import History as Reader

    def records() -> list[Record]:
        with contextlib.suppress(ValueError):
            run_under_test.live.capture.drain()
        return list(Reader(run_under_test.run.directory.path))

    return records


@pytest.fixture
def verdict(run_under_test: RunUnderTest) -> JudgeNow:
    """A function that ends the run, judges it and returns the verdict; a test that calls it may find a violation and pass."""

    def judged() -> RunVerdict:
        run_under_test.asked = True
        return run_under_test.verdict()

    return judged
