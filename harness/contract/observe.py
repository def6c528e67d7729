# SPDX-License-Identifier: MIT
"""What the documents leave open, as runs showed it: questions, values, and how often each was seen.

A question is a rule that observes. Where only answers to one part of it can be compared (what is found at Start, what at
Complete), each part is a question of its own, written ``RULE/part``.
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
    """Return a question in words, the part of it first; its name for a rule that this version does not know."""
    rule, part = rule_and_part(name)
    known = find(rule)
    text = known.says if known is not None else name
    if part and known is not None:
        return f"{part}: {text}"
    return text[:1].upper() + text[1:]


def collect(verdicts: Iterable[RunVerdict]) -> dict[str, Counter[str]]:
    """Return, for every question, how often each value was seen over all runs.

    Observations of a form this version does not know are left out.
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
