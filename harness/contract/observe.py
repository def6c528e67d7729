# SPDX-License-Identifier: MIT
"""The observed answers to questions that the documents leave open: questions, values, and how often each was seen.

A question is a rule that observes. Where only answers to one part can be compared (the value at Start, at Complete),
each part is a question of its own, written ``RULE/part``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from harness.contract.rules.catalogue import find
from harness.contract.verdict import RunVerdict


def question_id(rule: str, part: str = "") -> str:
    """Return the name under which answers are counted: ``STATUS-NONFAIL/Start``, or the rule's id alone."""
    return f"{rule}/{part}" if part else rule


def rule_and_part(question: str) -> tuple[str, str]:
    """Return the rule and the part ("" for the whole rule) that a question's name stands for."""
    rule, _, part = question.partition("/")
    return rule, part


def question(name: str) -> str:
    """Return the text of a question, its part first; the name itself for a rule that this version does not know."""
    rule, part = rule_and_part(name)
    known = find(rule)
    text = known.says if known is not None else name
    if part and known is not None:
        return f"{part}: {text}"
    return text[:1].upper() + text[1:]


def collect(verdicts: Iterable[RunVerdict]) -> dict[str, Counter[str]]:
    """Return how often each value was seen for each question, over all runs.

    Observations in a form that this version does not know are left out.
    """
    seen: dict[str, Counter[str]] = {}
    for verdict in verdicts:
        for question, values in verdict.observations.items():
            if isinstance(values, dict):
                counter = seen.setdefault(question, Counter())
                counter.update(
                    {str(value): times for value, times in values.items() if isinstance(times, int)}
                )
    return seen
