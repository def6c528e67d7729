# SPDX-License-Identifier: MIT
"""The examples of a rule, judged by the checker that judges runs."""

from __future__ import annotations

from typing import NamedTuple

from harness.contract.checker import judge
from harness.contract.notation import trace
from harness.contract.rules.rule import Rule
from harness.contract.verdict import Finding, RuleVerdict
from harness.history.record import Record


class Example(NamedTuple):
    """One example: its trace, the records that the trace stands for, the rule's verdict on them, and its findings."""

    text: str
    records: list[Record]
    said: RuleVerdict
    findings: list[Finding]


def examples(rule: Rule) -> list[Example]:
    """Return the example in which the rule holds, then the one in which it is violated, if it has one."""
    found = []
    for text in filter(None, (rule.holds, rule.violates)):
        records = trace(text)
        verdict = judge(records)
        said = next(one for one in verdict.rules if one.rule == rule.id)
        found.append(Example(text, records, said, [one for one in verdict.findings if one.rule == rule.id]))
    return found
