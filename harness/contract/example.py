# SPDX-License-Identifier: MIT
"""The examples of a rule, judged by the checker that judges runs."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from harness.contract.checker import judge
from harness.contract.notation import trace
from harness.contract.rules.rule import Rule
from harness.contract.verdict import Finding, RuleVerdict
from harness.history.record import Record


class Example(msgspec.Struct, frozen=True, kw_only=True):
    """One example: its trace, the records that the trace stands for, what the rule says of them, and its findings."""

    text: str
    records: Sequence[Record]
    said: RuleVerdict
    findings: list[Finding]


def examples(rule: Rule) -> list[Example]:
    """Return the example in which the rule holds, then the one in which it is violated, if it has one."""
    return [_judged(rule, text) for text in (rule.holds, rule.violates) if text]


def _judged(rule: Rule, text: str) -> Example:
    records = trace(text)
    verdict = judge(records)
    return Example(
        text=text,
        records=records,
        said=next(said for said in verdict.rules if said.rule == rule.id),
        findings=[finding for finding in verdict.findings if finding.rule == rule.id],
    )
