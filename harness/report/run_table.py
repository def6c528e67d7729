# SPDX-License-Identifier: MIT
"""Many runs as one table, with what can be said of the set: which rules broke where, and which were never exercised."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import msgspec

from harness.contract.coverage import RuleCoverage
from harness.contract.verdict import Judged, RunVerdict, Verdict
from harness.errors import ExitCode
from harness.invocation import invocation
from harness.report.escape import cell, padded, printable
from harness.report.style import PLAIN, Style
from harness.report.verdict_text import MINOR, broken_rules

MOST_RULES = 4
"""Broken rules that are named for one run; the rest are counted."""

MOST_LISTED = 20
"""Rules that are listed as broken over the set; the rest are counted."""

LONGEST_REASON = 200

_WORDS = {"holds": "hold", "violated": "violated", "unknown": "unknown", "unreadable": "unreadable"}


_WORST = ("unreadable", "violated", "unknown")
"""What a set of runs is called after if one of them is that; else they hold."""


class _Broken(msgspec.Struct):
    first: Path
    runs: int = 0


class RunTable:
    """Takes the runs one by one and keeps of each no more than its row."""

    def __init__(self, style: Style = PLAIN) -> None:
        self._style = style
        self._rows: list[str] = []
        self._counts: Counter[str] = Counter()
        self._broken: dict[str, _Broken] = {}
        self._guests: set[str] = set()
        self._explain: Path | None = None

    def add(self, run: Judged) -> None:
        """Take one run."""
        word = "unreadable" if run.verdict is None else run.verdict.verdict.value
        guest = "" if run.verdict is None else run.verdict.guest
        paint = {"holds": self._style.good, "violated": self._style.bad}.get(word, self._style.doubtful)
        self._counts[word] += 1
        self._rows.append(
            f"{paint(word)}{'':<{12 - len(word)}}{int(run.exit_code):>4}  {padded(cell(guest, 20), 20)}  "
            f"{printable(str(run.path), 1000)}"
        )
        if run.verdict is None:
            self._why(run.error.removeprefix(f"{run.path}: "))
            return
        if not run.verdict.guest.startswith("windows"):
            self._guests.add(run.verdict.guest)
        if run.verdict.verdict is not Verdict.HOLDS:
            self._explain = self._explain or run.path
            self._why(self._reason(run.verdict))
        for rule in broken_rules(run.verdict):
            self._broken.setdefault(rule, _Broken(run.path)).runs += 1

    def lines(self, rules: Iterable[RuleCoverage], exit_code: ExitCode) -> list[str]:
        """Return the table, the set's totals, the broken rules, and the coverage of all runs together."""
        heading = f"{'verdict':<12}{'exit':>4}  {'guest':<20}  run"
        total = self._counts.total()
        counts = ", ".join(f"{self._counts[word]} {_WORDS[word]}" for word in _WORDS if self._counts[word])
        lines = [heading, *self._rows]
        if self._guests:
            names = ", ".join(
                printable(guest, 60) or "an unnamed guest" for guest in sorted(self._guests)[:8]
            )
            lines += ["", *self._style.fold(f"Runs of {names} say nothing about Windows itself.")]
        lines += self._broken_lines()
        lines += self._coverage(list(rules))
        if self._explain is not None:
            lines += ["", f"Why, for one of them (--full for all): {invocation('check', self._explain)}"]
        worst = next((one for one in _WORST if self._counts[one]), "holds")
        word = ("violated" if exit_code is ExitCode.VIOLATED else worst).upper()
        paint = {"HOLDS": self._style.good, "VIOLATED": self._style.bad}.get(word, self._style.doubtful)
        return [*lines, "", f"{paint(word)}: {total} runs: {counts}; exit code {int(exit_code)}"]

    def _why(self, reason: str) -> None:
        self._rows += self._style.fold(f"{'':<18}{printable(reason, LONGEST_REASON)}")

    def _reason(self, verdict: RunVerdict) -> str:
        if broken := broken_rules(verdict):
            more = len(broken) - MOST_RULES
            return ", ".join(broken[:MOST_RULES]) + (f" and {more} more" if more > 0 else "")
        more = len(verdict.reasons) - 1
        return "".join(verdict.reasons[:1]) + (f" (and {more} more)" if more > 0 else "")

    def _broken_lines(self) -> list[str]:
        if not self._broken:
            return []
        often = sorted(self._broken.items(), key=lambda item: -item[1].runs)
        width = max(len(printable(rule, 60)) for rule, _ in often[:MOST_LISTED])
        lines = ["", "Violated:"]
        for rule, broken in often[:MOST_LISTED]:
            first = "" if broken.runs == 1 else "first "
            lines.append(
                f"  {printable(rule, 60):<{width}}  in {broken.runs} run{'s' if broken.runs > 1 else ''}, "
                f"{first}{printable(str(broken.first), 1000)}"
            )
        if len(often) > MOST_LISTED:
            lines.append(f"  … and {len(often) - MOST_LISTED} more rules: --json has them all")
        return lines

    def _coverage(self, rules: list[RuleCoverage]) -> list[str]:
        if not any(rule.runs for rule in rules):
            return []
        armed, exercised = sum(rule.armed > 0 for rule in rules), sum(not rule.idle for rule in rules)
        idle = [rule for rule in rules if rule.idle]
        never = [printable(rule.rule, 60) for rule in idle if rule.level not in MINOR]
        lines = ["", f"Coverage of all runs: {len(rules)} rules, {armed} armed, {exercised} exercised"]
        others = f" and {len(idle) - len(never)} that only warn or observe" if len(idle) > len(never) else ""
        if never:
            lines += self._style.fold(
                f"  Never exercised by any run, so nothing is said of: {', '.join(never)}{others}"
            )
        return lines
