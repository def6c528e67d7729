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


class RuleCoverage(msgspec.Struct, frozen=True, kw_only=True):
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
    order = {rule.id: place for place, rule in enumerate(all_rules())}
    counts: dict[str, list[int]] = {rule.id: [0, 0, 0, 0, 0] for rule in all_rules()}
    levels: dict[str, Level] = {rule.id: rule.level for rule in all_rules()}
    runs = 0
    for verdict in verdicts:
        runs += 1
        for said in verdict.rules:
            row = counts.setdefault(said.rule, [0, 0, 0, 0, 0])
            levels.setdefault(said.rule, said.level)
            row[0] += said.armed
            row[1] += said.exercised > 0
            row[2] += said.verdict is Verdict.VIOLATED
            row[3] += said.verdict is Verdict.UNKNOWN
            row[4] += said.exercised
    return [
        RuleCoverage(
            rule=rule, level=levels[rule], runs=runs, armed=row[0], exercised=row[1], violated=row[2], unknown=row[3],
            times=row[4],
        )
        for rule, row in sorted(counts.items(), key=lambda item: order.get(item[0], len(order)))
    ]  # fmt: skip
