# SPDX-License-Identifier: MIT
"""A run's verdict as text: the headline, the reasons, each broken rule with the records that show it, and what was not checked."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

from harness.contract.verdict import Finding, Level, RuleVerdict, RunVerdict, Verdict
from harness.report.escape import printable
from harness.report.style import Style

Explain = Callable[[Finding], list[str]]
"""Turns a finding into the lines that prove it; see :mod:`harness.contract.explanation`."""

MOST_PER_RULE = 3
"""Findings of one rule that are spelled out; the rest are counted."""

WARNINGS = frozenset({Level.WARN, Level.FINDING, Level.POLICY})


def guest_label(guest: str) -> str:
    """Return the guest's name with what a verdict from it is worth: only Windows says anything about Windows."""
    name = printable(guest, 60)
    return name if guest.startswith("windows") else f"{name}: says nothing about Windows itself"


def headline(verdict: RunVerdict, style: Style) -> str:
    """Return the one line that says it all: ``VIOLATED  run 2026-… on twin: says nothing about Windows itself``."""
    failure = f", {printable(verdict.failure_class, 40)}" if verdict.failure_class else ""
    run = f"run {printable(verdict.run, 80)} on " if verdict.run else ""
    return f"{verdict_word(verdict.verdict, style)}  {run}{guest_label(verdict.guest)}{failure}"


def verdict_word(verdict: Verdict, style: Style) -> str:
    """Return ``HOLDS``, ``VIOLATED`` or ``UNKNOWN`` in its colour."""
    paint = {Verdict.HOLDS: style.good, Verdict.VIOLATED: style.bad}.get(verdict, style.doubtful)
    return paint(verdict.value.upper())


def verdict_lines(
    verdict: RunVerdict,
    *,
    evidence: Path | None = None,
    explain: Explain | None = None,
    style: Style | None = None,
) -> list[str]:
    """Return the whole verdict as lines.

    ``evidence`` is the run directory or the history file, named at the end with the commands that judge it again.
    ``explain`` supplies the lines under a violated or undecidable rule; without it the finding's own witnesses are shown.
    """
    style = style or Style(colour=False)
    sources = {rule.rule: rule.source for rule in verdict.rules}
    lines = [headline(verdict, style)]
    lines += [f"  {printable(reason, 300)}" for reason in verdict.reasons]
    broken = [f for f in verdict.findings if f.verdict is Verdict.VIOLATED and f.level not in WARNINGS]
    doubtful = [f for f in verdict.findings if f.verdict is Verdict.UNKNOWN and f.witnesses]
    for finding, left_out in _first_of_each_rule([*broken, *doubtful]):
        lines += ["", *_finding(finding, sources.get(finding.rule, ""), explain, style)]
        if left_out:
            lines.append(f"  … and {left_out} more of {printable(finding.rule, 60)}: --json has them all")
    lines += _warnings(verdict, style)
    lines += ["", *coverage_lines(verdict.rules)]
    lines += [
        style.faint(f"Observed, {printable(name, 60)}: {printable(str(value), 200)}")
        for name, value in verdict.observations.items()
    ]
    if evidence is not None:
        path = shlex.quote(printable(str(evidence), 1000))
        lines += [
            f"Evidence: {path}",
            f"Judge again: harness check {path}   (with every event: --timeline --all)",
        ]
    return lines


def coverage_lines(rules: list[RuleVerdict]) -> list[str]:
    """Return how many rules were armed and exercised, and by name those that never had anything to judge."""
    idle = [rule.rule for rule in rules if not rule.exercised]
    lines = [
        f"Coverage: {len(rules)} rules armed, {len(rules) - len(idle)} exercised, {len(idle)} never exercised"
    ]
    row = ""
    for name in idle:
        if len(row) + len(name) > 92:
            lines.append(f"  {row.rstrip()}")
            row = ""
        row += f"{printable(name, 60)} "
    return [*lines, f"  {row.rstrip()}"] if row else lines


def _first_of_each_rule(findings: list[Finding]) -> list[tuple[Finding, int]]:
    """Return at most MOST_PER_RULE findings per rule; with the last kept of each rule, how many were left out."""
    per_rule: dict[str, list[Finding]] = {}
    for finding in findings:
        per_rule.setdefault(finding.rule, []).append(finding)
    chosen: list[tuple[Finding, int]] = []
    for group in per_rule.values():
        kept = group[:MOST_PER_RULE]
        chosen += [(finding, 0) for finding in kept[:-1]]
        chosen.append((kept[-1], len(group) - len(kept)))
    return chosen


def _finding(finding: Finding, source: str, explain: Explain | None, style: Style) -> list[str]:
    if explain:
        return [printable(line, 400) for line in explain(finding)]
    attempt = f", {printable(finding.attempt, 60)}" if finding.attempt else ""
    head = f"{verdict_word(finding.verdict, style)}  {style.strong(printable(finding.rule, 60))}{attempt}"
    lines = [f"{head}   ({printable(source)})" if source else head]
    lines += [f"  {printable(finding.reason, 300)}"]
    lines += [
        f"  {printable(witness.name, 8)} = record {witness.record}: {printable(witness.text, 300)}"
        for witness in finding.witnesses
    ]
    return lines


def _warnings(verdict: RunVerdict, style: Style) -> list[str]:
    warnings = [f for f in verdict.findings if f.level in WARNINGS and f.verdict is not Verdict.HOLDS]
    lines: list[str] = []
    for finding, left_out in _first_of_each_rule(warnings):
        attempt = f" ({printable(finding.attempt, 60)})" if finding.attempt else ""
        lines.append(
            f"{style.doubtful(finding.level.value)}  {printable(finding.rule, 60)}{attempt}: {printable(finding.reason, 300)}"
        )
        if left_out:
            lines.append(f"  … and {left_out} more of {printable(finding.rule, 60)}")
    return ["", *lines] if lines else []
