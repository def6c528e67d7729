# SPDX-License-Identifier: MIT
"""The open questions are those of docs/contract.md, and the rules that answer them exist."""

from __future__ import annotations

import re
from pathlib import Path

from harness.acceptance.open_questions import ALSO, EDITIONS, OPEN_QUESTIONS, REPORTED, answering
from harness.contract.rules.catalogue import all_rules
from harness.contract.verdict import Level

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "contract.md").read_text(encoding="utf-8")


def test_they_are_those_of_the_page() -> None:
    """Contradictions first, in the page's words."""
    contradictions = re.findall(r"^\| (X\d+) \| ([^|]+) \|", PAGE, re.MULTILINE)
    silences = re.findall(r"^\| (U\d+) \| UNDOC \| ([^|]+) \|", PAGE, re.MULTILINE)
    assert (8, 34) == (len(contradictions), len(silences))
    assert [*contradictions, *silences] == [(name, f"{text}") for name, text in OPEN_QUESTIONS.items()]


def test_a_rule_that_names_an_open_question_answers_it() -> None:
    """Each rule that observes one, and those that answer it from another section; no name is of a question that is none."""
    named = {
        (clause, rule.id)
        for rule in all_rules()
        if rule.level in (Level.OBSERVE, Level.WARN)
        for clause in rule.clauses.split(", ")
        if clause in OPEN_QUESTIONS
    }
    found = {(name, rule.id) for name in OPEN_QUESTIONS for rule in answering(name)}
    also = {(name, rule) for name, rules in ALSO.items() for rule in rules}
    assert named | also == found
    assert {*EDITIONS, REPORTED} <= OPEN_QUESTIONS.keys()
