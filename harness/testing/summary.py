# SPDX-License-Identifier: MIT
"""The plugin's summary after the tests: a verdict per run, where its evidence is, and how to repeat it.

A run's row is attached to the report of its test, as plain values, so that it also arrives from pytest-xdist
workers.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from harness.invocation import invocation

if TYPE_CHECKING:
    import pytest

    from harness.history.run_directory import RunFacts
    from harness.run.run import RunResult

ATTRIBUTE, ISSUE = "hotplug_rows", "hotplug_known_issue"
"""The attributes of a report with its rows and with the known issue of its test."""

MOST_RULES = 4
"""Maximum number of failing rules named per run; the rest are counted."""

LONGEST = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One run. ``rules`` are those that failed; ``why`` is the first reason, or the error that ended the run."""

    test: str
    guest: str
    verdict: str
    attempt: int = 1
    failure_class: str = ""
    stage: str = ""
    why: str = ""
    rules: list[str] = field(default_factory=list)
    more: int = 0
    path: str = ""
    machine: str = ""


def row_of(test: str, facts: RunFacts, result: RunResult) -> Row:
    """Return the row of a finished run."""
    from harness.contract.verdict import Verdict

    verdict = result.verdict
    wrong = Verdict.VIOLATED if verdict.verdict is Verdict.VIOLATED else Verdict.UNKNOWN
    failing = [rule.rule for rule in verdict.rules if rule.verdict is wrong]
    named = [line.partition(":")[0] for line in verdict.reasons]
    rules = [name for name in named if name in failing] or failing
    why = result.error.message if result.error is not None else (verdict.reasons or [""])[0]
    return Row(
        test=test,
        guest=verdict.guest,
        verdict=verdict.verdict.value,
        attempt=facts.attempt,
        failure_class=str(result.failure_class or ""),
        stage=result.stage,
        why=why[:LONGEST],
        rules=[] if verdict.verdict is Verdict.HOLDS else rules[:MOST_RULES],
        more=0 if verdict.verdict is Verdict.HOLDS else max(0, len(rules) - MOST_RULES),
        path=str(result.directory),
        machine=_machine(facts),
    )


def _machine(facts: RunFacts) -> str:
    """Return what ran the guest, in a few words."""
    image = f"{facts.guest} {facts.image_digest[:12]}".strip()
    words = (image, facts.qemu_version, facts.accelerator, "restored" if facts.state else "")
    return ", ".join(filter(None, words))


class Summary:
    """A pytest plugin that collects rows from reports and writes the section."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.gone: list[tuple[str, str]] = []
        self._failed: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Collect the rows of a report; under pytest-xdist it comes from a worker."""
        for values in getattr(report, ATTRIBUTE, None) or []:
            self.rows.append(Row(**values))
        if report.failed or hasattr(report, "wasxfail"):
            self._failed.add(report.nodeid)
        issue = getattr(report, ISSUE, "")
        if issue and report.when == "teardown" and report.nodeid not in self._failed:
            self.gone.append((report.nodeid, issue))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Write the section, if it is not empty."""
        if not self.rows and not self.gone:
            return
        from harness.report.escape import printable

        terminal = terminalreporter
        terminal.section("hotplug verdicts", cyan=True)
        for machine in sorted({row.machine for row in self.rows if row.machine}):
            terminal.write_line(printable(machine, LONGEST))
        for row in sorted(self.rows, key=lambda row: (row.test, row.attempt)):
            self._row(terminal, row)
        for test, issue in self.gone:
            terminal.write_line(
                f"passed: {printable(test, LONGEST)}, although an issue is known of it", yellow=True
            )
            terminal.write_line(f"    it seems gone: {printable(issue, LONGEST)}")

    def _row(self, terminal: pytest.TerminalReporter, row: Row) -> None:
        from harness.report.escape import printable

        colour = {"holds": "green", "violated": "red"}.get(row.verdict, "yellow")
        terminal.write(f"{row.verdict:<9}", **{colour: True})
        again = f" (attempt {row.attempt})" if row.attempt > 1 else ""
        terminal.write_line(f" {printable(row.test, LONGEST)}{again}")
        if row.verdict == "holds":
            return
        rules = ", ".join(row.rules) + (f" and {row.more} more" if row.more else "")
        blamed = row.failure_class + (f", in stage {row.stage}" if row.stage else "")
        for word, said in (("rules", rules), ("class", blamed), ("why", row.why)):
            if said:
                terminal.write_line(f"    {word + ':':<10}{printable(said, LONGEST)}")
        if row.path:
            terminal.write_line(f"    evidence: {printable(row.path, 1000)}")
            terminal.write_line(f"    again:    {invocation('repro', Path(row.path))}")


def attach(report: pytest.TestReport, rows: list[Row], issue: str) -> None:
    """Attach rows and the known issue of the test to a report, as plain values."""
    setattr(report, ATTRIBUTE, [asdict(row) for row in rows])
    if issue:
        setattr(report, ISSUE, issue)
