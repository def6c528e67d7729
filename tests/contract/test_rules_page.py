# SPDX-License-Identifier: MIT
"""docs/rules.md: its worked example is a rule that works, and what it says of verdicts and levels is complete."""

from __future__ import annotations

import re
from typing import Any

from contract.mutations import DOCUMENT

from harness.contract.checker import Checker
from harness.contract.notation import trace
from harness.contract.verdict import Level, Verdict


def said(rules: list[Any], text: str) -> list[Verdict]:
    checker = Checker(rules)
    for record in trace(text):
        checker.feed(record)
    return [rule.verdict for rule in checker.finish().rules]


def test_the_worked_example_is_a_rule() -> None:
    """The code block of the page, executed as it stands, gives a rule whose two examples come out as promised."""
    block = re.search(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert block is not None
    names: dict[str, Any] = {}
    exec(compile(block[1], "docs/rules.md", "exec"), names)
    rules = names["SECTION"].rules
    assert [(["START-IS-QUICK"], [Verdict.HOLDS], [Verdict.VIOLATED])] == [
        ([rule.id for rule in rules], said(rules, rules[0].holds), said(rules, rules[0].violates))
    ]


def test_every_verdict_and_level_is_explained() -> None:
    """The page has a row for each."""
    explained = DOCUMENT.read_text().split("## A run's verdict")[0]
    rows = set(re.findall(r"^\| ([a-z() ]+) \|", explained, re.MULTILINE)) - {"verdict", "level"}
    assert {*map(str, Verdict), *map(str, Level)} == rows
