# SPDX-License-Identifier: MIT
"""A run's verdict as text: the headline, the reasons, each broken rule with the records that show it, and what was not checked."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from harness.contract import explanation
from harness.contract.observe import question, rule_and_part
from harness.contract.rules.catalogue import find
from harness.contract.verdict import Finding, Level, RuleVerdict, RunVerdict, Verdict
from harness.invocation import program
from harness.report.escape import printable
from harness.report.style import PLAIN, Style

Explain = Callable[[Finding], list[str]]

MOST_REASONS = 12
"""Reasons that are spelled out; the rest are counted."""

MOST_PER_RULE = 2
"""Findings of one rule that are explained; the rest are counted."""

MOST_UNCLEAR = 3
"""Reasons for "unknown" that are explained with their records."""

MINOR = frozenset({Level.WARN, Level.POLICY, Level.OBSERVE, Level.FINDING})
"""Levels whose findings never make a run violated."""

LONGEST_LINE = 600


def broken_rules(verdict: RunVerdict) -> list[str]:
    """Return the rules that make the run violated."""
    return [
        rule.rule for rule in verdict.rules if rule.verdict is Verdict.VIOLATED and rule.level not in MINOR
    ]


def guest_label(guest: str) -> str:
    """Return the guest's name with what a verdict from it is worth: only Windows says anything about Windows."""
    name = printable(guest, 60) or "an unnamed guest"
    return name if guest.startswith("windows") else f"{name}: says nothing about Windows itself"


def headline(verdict: RunVerdict, style: Style) -> str:
    """Return the one line that says it all: ``VIOLATED  run 2026-… on twin: says nothing about Windows itself``."""
    failure = (
        f", {printable(verdict.failure_class, 40)}" if verdict.failure_class not in ("", "unknown") else ""
    )
    run = f"run {printable(verdict.run, 80)} on " if verdict.run else ""
    return f"{verdict_word(verdict.verdict, style)}  {run}{guest_label(verdict.guest)}{failure}"


def verdict_word(verdict: Verdict, style: Style) -> str:
    """Return ``HOLDS``, ``VIOLATED`` or ``UNKNOWN`` in its colour."""
    return _painted(verdict.value.upper(), style)


def verdict_lines(
    verdict: RunVerdict,
    *,
    explain: Explain | None = None,
    style: Style = PLAIN,
) -> list[str]:
    """Return the whole verdict as lines, each harmless on a terminal.

    ``explain`` is :func:`harness.contract.explanation.explainer` of its history, which knows how it was recorded.
    """
    lines = [*_folded([headline(verdict, PLAIN)], style), *_reasons(verdict.reasons, style)]
    lines += _explained(verdict, explain or _explain, style)
    lines += _minor(verdict, style)
    lines += _observed(verdict.observations, style)
    lines += ["", *coverage_lines(verdict.rules, style)]
    return lines


def coverage_lines(rules: list[RuleVerdict], style: Style = PLAIN) -> list[str]:
    """Return how many rules were armed and exercised, and by name those that could break a run but judged nothing.

    A rule is armed if the history holds what it needs, and exercised if its clause then had something to say.
    """
    idle = [rule for rule in rules if not rule.exercised]
    never = [rule.rule for rule in idle if rule.level not in MINOR]
    armed = sum(rule.armed for rule in rules)
    lines = [f"Coverage: {len(rules)} rules, {armed} armed, {len(rules) - len(idle)} exercised"]
    others = f" and {len(idle) - len(never)} that only warn or observe" if len(idle) > len(never) else ""
    if never:
        names = ", ".join(printable(name, 60) for name in never)
        lines += style.fold(f"  Never exercised, so nothing is said of: {names}{others}")
    return lines


def _painted(text: str, style: Style) -> str:
    """Colour a line that begins with a verdict's word by that word."""
    word, _, rest = text.partition("  ")
    paint = {
        "HOLDS": style.good,
        "VIOLATED": style.bad,
        "UNKNOWN": style.doubtful,
        "WARNING": style.doubtful,
    }.get(word)
    return text if paint is None else paint(word) + text[len(word) :] if rest else paint(word)


def _folded(lines: Iterable[str], style: Style) -> list[str]:
    """Make lines harmless, fold them, and colour those that begin with a verdict."""
    return [
        piece if number else _painted(piece, style)
        for line in lines
        for number, piece in enumerate(_pieces(line, style))
    ]


def _pieces(line: str, style: Style) -> list[str]:
    # A command stays as it can be typed; what made it has made it harmless.
    command = line.startswith("Reproduce:") and f"{program()} " in line and line.isprintable()
    return [line] if command else style.fold(printable(line, LONGEST_LINE))


def _reasons(reasons: list[str], style: Style) -> list[str]:
    shown = [f"  {reason}" for reason in reasons[:MOST_REASONS]]
    if len(reasons) > MOST_REASONS:
        shown.append(f"  … and {len(reasons) - MOST_REASONS} more reasons: --json has them all")
    return _folded(shown, style)


def _explain(finding: Finding) -> list[str]:
    return explanation.explain(finding, find(finding.rule))


def _explained(verdict: RunVerdict, explain: Explain, style: Style) -> list[str]:
    """Explain what is broken; only if nothing is, what is unclear."""
    deciding = [finding for finding in verdict.findings if finding.level not in MINOR]
    broken = [finding for finding in deciding if finding.verdict is Verdict.VIOLATED]
    unclear = [f for f in deciding if f.verdict is Verdict.UNKNOWN and f.witnesses]
    times = {rule.rule: rule.times for rule in verdict.rules}
    lines: list[str] = []
    shown: dict[str, int] = {}
    for finding in broken or unclear[:MOST_UNCLEAR]:
        shown[finding.rule] = shown.get(finding.rule, 0) + 1
        if shown[finding.rule] <= MOST_PER_RULE:
            lines += ["", *_folded(explain(finding), style)]
    for rule, seen in shown.items():
        more = max(seen, times.get(rule, 0)) - MOST_PER_RULE
        if more > 0:
            lines += ["", f"… and {more} more of {printable(rule, 60)}"]
    return lines


def _minor(verdict: RunVerdict, style: Style) -> list[str]:
    """One line each for warnings and findings, which change no verdict."""
    lines: list[str] = []
    shown: dict[str, int] = {}
    for finding in verdict.findings:
        word = _minor_word(finding)
        if not word:
            continue
        shown[finding.rule] = shown.get(finding.rule, 0) + 1
        if shown[finding.rule] <= MOST_PER_RULE:
            attempt = f", {finding.attempt}" if finding.attempt else ""
            lines += _folded([f"{word}  {finding.rule}{attempt}: {finding.reason}"], style)
    lines += [
        f"  … and {count - MOST_PER_RULE} more of {printable(rule, 60)}"
        for rule, count in shown.items()
        if count > MOST_PER_RULE
    ]
    return ["", *lines] if lines else []


def _minor_word(finding: Finding) -> str:
    if finding.level in (Level.WARN, Level.POLICY):
        return "WARNING" if finding.verdict is Verdict.VIOLATED else ""
    return "FOUND" if finding.level in MINOR else ""


def _observed(observations: dict[str, Any], style: Style) -> list[str]:
    """Values of what the documents leave open: facts about this guest, right or wrong they cannot be."""
    if not observations:
        return []
    lines = []
    for name, seen in observations.items():
        asked = f"{question(name)}  " if find(rule_and_part(name)[0]) else ""
        lines.append(f"  {asked}{_values(seen)}   ({name})")
    return ["", "Observed, where the documents are silent:", *_folded(lines, style)]


def _values(seen: Any) -> str:
    if not isinstance(seen, dict):
        return str(seen)
    return "; ".join(f"{value} ({times}x)" if times != 1 else str(value) for value, times in seen.items())
