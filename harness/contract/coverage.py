# SPDX-License-Identifier: MIT
"""What a set of runs shows about the rules themselves: which were armed, exercised, violated, and never exercised.

A rule is *armed* in a run whose history contains its subject, and *exercised* if it then had something to judge.
A rule that was never exercised proves nothing, even if all runs are green.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from harness.contract.rules.catalogue import all_rules
from harness.contract.verdict import Level, RunVerdict, Verdict


class RuleCoverage(msgspec.Struct, kw_only=True):
    """One rule over a set of runs: in how many it was armed, exercised, violated, unknown; how often it judged."""

    rule: str
    level: Level
    runs: int
    armed: int
    exercised: int
    violated: int
    unknown: int
    times: int

    @property
    def idle(self) -> bool:
        """Whether the rule never had anything to judge."""
        return self.exercised == 0


def coverage(verdicts: Iterable[RunVerdict]) -> list[RuleCoverage]:
    """Return one row per rule, in the catalogue's order; rules that this version does not know come last."""
    rows = {rule.id: _unseen(rule.id, rule.level) for rule in all_rules()}
    runs = 0
    for verdict in verdicts:
        runs += 1
        for said in verdict.rules:
            row = rows.setdefault(said.rule, _unseen(said.rule, said.level))
            row.armed += said.armed
            row.exercised += said.exercised > 0
            row.violated += said.verdict is Verdict.VIOLATED
            row.unknown += said.verdict is Verdict.UNKNOWN
            row.times += said.exercised
    for row in rows.values():
        row.runs = runs
    return list(rows.values())


def _unseen(rule: str, level: Level) -> RuleCoverage:
    return RuleCoverage(rule=rule, level=level, runs=0, armed=0, exercised=0, violated=0, unknown=0, times=0)
