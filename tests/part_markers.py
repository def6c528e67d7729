# SPDX-License-Identifier: MIT
"""What the markers of this suite ask of the machine, and what becomes of a test whose part is missing.

A test with the marker of a missing part is skipped, and its reason names the thing and the command that supplies it.
A fixture says by ``needs`` which parts it uses, and a test without their markers is refused on every machine.
``--require PARTS`` turns that round: with it a skipped test of such a part fails, and so does a run in which no test
of the part ran at all. With :data:`VARIABLE` ``=parts``, as in CI, a test that is skipped for anything but a missing
part fails: no machine would run it. ``hardware`` tests need a real Windows guest, ``kvm`` tests a KVM under which guests run: they are
left out unless ``-m`` names them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from typing import Any, TypeVar

import pytest

from harness.errors import HarnessError, UsageError
from harness.machine.accelerator import KVM
from harness.setup.parts import REQUIRABLE, TESTED, Part, part, powershell
from harness.template.store import Store, store_directory
from tests.given_data import SHARED

VARIABLE = "HOTPLUG_HARNESS_SKIPS"
"""Environment variable: ``parts`` fails what is skipped for anything else, except in the files of :data:`ELSEWHERE`."""

ELSEWHERE = {
    "tests/cli/test_many_runs.py": "a second processor",
    "tests/fleet/test_s3.py": "s3fs and moto, which tox -e s3 installs",
    "tests/guest_drivers/test_cross_build.py": "Microsoft's headers, which no archive has",
    "tests/hardware/test_cases.py": "cases of Windows alone",
    "tests/machine/test_accelerator.py": "/dev/kvm, which a machine of CI may lack",
    "tests/twin/test_unplug.py": "QEMU 7.2, for what is true of that version alone",
}
"""What the skipped tests of a file lack that no part supplies."""

BY_NAME = ("hardware", "kvm")
"""Markers of tests that run only where ``-m`` names the marker."""

HARDWARE_GUEST = "HOTPLUG_HARNESS_WINDOWS"
"""Names the Windows guest that ``hardware`` tests use: a template that is built here."""

POWERSHELL = powershell(os.environ)
"""Used by tests alone. No package of a distribution supplies it, so ``./lab`` requires it and never installs it."""

PARTS = {each.name: each for each in (*TESTED, POWERSHELL)}
"""Every part that a marker stands for, by its name."""

Missing = Callable[[], str]
"""Says what is missing and how to get it, "" when nothing is."""

Function = TypeVar("Function", bound=Callable[..., object])


def needs(*parts: str) -> Callable[[Function], Function]:
    """Declare which parts a fixture needs. It stands below ``pytest.fixture``; each test that uses it has their markers."""

    def declare(function: Function) -> Function:
        function.__dict__["needed_parts"] = tuple(PARTS[name].name for name in parts)
        return function

    return declare


def unmarked(item: pytest.Item, fixture: pytest.FixtureDef[Any]) -> list[str]:
    """Return the parts that a fixture needs and whose markers a test lacks."""
    needed = getattr(fixture.func, "needed_parts", ())
    return [name for name in needed if item.get_closest_marker(name) is None]


def complaint(item: pytest.Item, fixture: pytest.FixtureDef[Any]) -> str:
    """Say which markers a test lacks that uses a fixture, "" if none."""
    lacking = " and ".join(unmarked(item, fixture))
    return (
        f"{item.nodeid} uses the fixture {fixture.argname!r} but lacks its marker {lacking}"
        if lacking
        else ""
    )


def used_fixtures(item: pytest.Item) -> Iterator[pytest.FixtureDef[Any]]:
    """Yield the fixtures that a test uses by name, directly and through others; none if it is marked ``skip``."""
    known = getattr(item, "_fixtureinfo", None)
    if known is None or item.get_closest_marker("skip") is not None:
        return
    for name, definitions in known.name2fixturedefs.items():
        for definition in reversed(definitions):
            yield definition
            # One that overrides another uses that one only if it asks for its name.
            if name not in definition.argnames:
                break


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--require`` and ``--strict-hardware``."""
    parser.addoption(
        "--require",
        action="append",
        default=[],
        metavar="PARTS",
        help="parts, separated by commas, whose tests must run: a skip is a failure, and so is none of them running",
    )
    parser.addoption(
        "--strict-hardware",
        action="store_true",
        help="with -m hardware: a test that real Windows cannot be had for fails instead of being skipped",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the object that watches this run. A name that is no part ends the run as wrong usage."""
    given = ",".join(config.getoption("--require"))
    names = [name.strip() for name in given.split(",") if name.strip()]
    markers = {**{name: part_missing(each) for name, each in PARTS.items()}, "root": root_missing}
    try:
        for name in names:
            if name not in markers:
                part(name)
    except UsageError as error:
        raise pytest.UsageError(str(error)) from error
    if config.getoption("--strict-hardware"):
        names.append("hardware")
    watch = PartWatch({**markers, "hardware": hardware_missing, "kvm": kvm_missing}, names)
    config.pluginmanager.register(watch, "part-watch")


def part_missing(part: Part) -> Missing:
    """Return what says that ``part`` is missing, and the command or the place that supplies it."""

    def missing() -> str:
        lacking = part.missing()
        if not lacking:
            return ""
        what = " and ".join(f"{need.evidence[0]} ({need.why})" for need in lacking)
        if not all(need.package for need in lacking):
            return f"this machine lacks {what}; no package supplies it: {part.elsewhere}"
        command = f"./lab test --require {part.name}" if part.name in REQUIRABLE else "./lab test"
        return f"this machine lacks {what}; {command} supplies it"

    return missing


def root_missing() -> str:
    """Say that this user is not root, "" for root."""
    return "" if os.geteuid() == 0 else "this user is not root; sudo ./lab test runs it"


def hardware_missing() -> str:
    """Say what keeps a ``hardware`` test from running, and the command that supplies it."""
    name = os.environ.get(HARDWARE_GUEST, "")
    if not name:
        return (
            f"no Windows guest is chosen: build one with harness template build windows-server-2025 --iso PATH, "
            f"and set {HARDWARE_GUEST}=windows-server-2025"
        )
    try:
        Store(store_directory(os.environ)).find(name)
    except HarnessError as error:
        return f"{HARDWARE_GUEST}={name}: {error.message}; {error.hint}"
    return ""


def kvm_missing() -> str:
    """Say that this user has no KVM, "" if it can be opened; whether guests run under it, QEMU alone can tell."""
    if not os.access(KVM, os.R_OK | os.W_OK):
        return f"this user cannot open {KVM}; harness doctor says why"
    return ""


class PartWatch:
    """Skips what cannot run, fails what had to, and counts what did. ``required`` are names of markers."""

    def __init__(self, markers: dict[str, Missing], required: list[str]) -> None:
        self._markers = markers
        self._required = required
        self._known: dict[str, str] = {}
        self._ran: set[str] = set()
        self._strict = os.environ.get(VARIABLE) == "parts"
        self._lacking: set[str] = set()
        self._absent: list[str] = []

    def _missing(self, marker: str) -> str:
        if marker not in self._known:
            self._known[marker] = self._markers[marker]()
        return self._known[marker]

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Refuse tests without their fixtures' markers. Leave out those of :data:`BY_NAME`, unless ``-m`` names them."""
        complaints = [
            text for item in items for fixture in used_fixtures(item) if (text := complaint(item, fixture))
        ]
        if complaints:
            raise pytest.UsageError("\n".join(complaints))
        unnamed = [name for name in BY_NAME if name not in (config.option.markexpr or "")]
        left = [item for item in items if any(item.get_closest_marker(name) for name in unnamed)]
        if left:
            config.hook.pytest_deselected(items=left)
            items[:] = [item for item in items if item not in left]

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Skip a test whose part is missing, before any of its fixtures is made."""
        marked = {mark.name for mark in item.iter_markers()}
        for marker in self._markers if marked else ():
            if marker in marked and (reason := self._missing(marker)):
                self._lacking.add(item.nodeid)
                pytest.skip(f"{marker}: {reason}")

    @pytest.hookimpl(tryfirst=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
    ) -> None:
        """Fail a test that asks for a fixture by ``getfixturevalue`` and lacks its markers."""
        if text := complaint(request._pyfuncitem, fixturedef):
            pytest.fail(text, pytrace=False)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Turn the skip of a required test into a failure, whoever skipped it; note on the report what really ran."""
        report = yield
        marked = [name for name in self._required if item.get_closest_marker(name) is not None]
        skipped = report.skipped and not hasattr(report, "wasxfail")
        if marked and skipped:
            _fail(report, f"--require {','.join(marked)}: this test must run, but was skipped")
        elif skipped and self._strict and item.nodeid not in self._lacking:
            _fail_stray(report)
        elif marked and report.when == "call":
            report.__dict__["tested_parts"] = marked
        return report

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(self) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        """Turn the skip of a whole file that no part explains into a failure, if such skips are failures."""
        report = yield
        if report.skipped and self._strict:
            _fail_stray(report)
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count what really ran, in this process or in a worker of it."""
        self._ran.update(getattr(report, "tested_parts", ()))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Fail the run when a required part was not tested at all; one that was broken off has failed anyway."""
        if hasattr(session.config, "workerinput"):
            return
        over = (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED, pytest.ExitCode.TESTS_FAILED)
        if exitstatus in over and not session.config.option.collectonly:
            self._absent = [name for name in self._required if name not in self._ran]
        if self._absent:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Name the required parts of which no test ran."""
        for name in self._absent:
            terminalreporter.section("required part not tested", red=True)
            terminalreporter.line(f"--require {name}: no test marked {name!r} ran")


def _fail_stray(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Fail what was skipped, unless its file is known to lack what no part supplies, or the given data is not here."""
    reason = _reason(report)
    if report.nodeid.partition("::")[0] not in ELSEWHERE and (SHARED.is_dir() or str(SHARED) not in reason):
        _fail(report, f"{VARIABLE}=parts: no part supplies what this lacks, so no machine runs it: skipped")


def _fail(report: pytest.TestReport | pytest.CollectReport, why: str) -> None:
    """Turn a skip into a failure that says why."""
    reason = _reason(report)
    report.outcome = "failed"
    report.longrepr = f"{why}: {reason}"


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Return why something was skipped."""
    return str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
