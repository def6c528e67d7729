# SPDX-License-Identifier: MIT
"""The functions generated from the rules do what asking every rule about every subject would do."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import cache
from typing import Any

import msgspec
import pytest
from contract.legal import histories
from contract.state.test_merge import merge
from effort import examples
from hypothesis import given, settings

from harness.contract.checker import Checker
from harness.contract.dispatch import RECORDS, source, subjects
from harness.contract.notation import trace
from harness.contract.rules.catalogue import all_rules
from harness.contract.rules.rule import Rule
from harness.contract.state.entities import Sample
from harness.contract.state.model import Model
from harness.history.driver import COMPLETE, START, SyncEnter
from harness.history.record import Record

PLAIN = [replace(rule, given=("",) * len(rule.on), same=()) for rule in all_rules()]
"""The rules without what spares them a call."""


def verdict(records: list[Record], rules: list[Rule] | None = None) -> Any:
    """Return what a checker with these rules says."""
    checker = Checker(rules)
    for record in merge(records):
        checker.feed(record)
    return msgspec.to_builtins(checker.finish())


SEED = 20261130


@pytest.mark.hypothesis
@pytest.mark.parametrize("rule", all_rules(), ids=lambda rule: rule.id)
def test_a_spared_call_would_have_said_nothing(rule: Rule) -> None:
    """Without conditions and without fields that must change, an example that is drawn gets the same verdict.

    ``tox -e properties`` tries both examples of each rule.
    """
    texts = [text for text in (rule.holds, rule.violates) if text]
    for text in random.Random(f"{SEED} {rule.id}").sample(texts, min(len(texts), examples(1))):
        plain, spared = both(text)
        assert plain == spared


@cache
def both(text: str) -> tuple[Any, Any]:
    """Return what is said of a trace without what spares calls, and with it. Many rules have the same example."""
    records = trace(text)
    return verdict(records, PLAIN), verdict(records)


@settings(max_examples=examples(15))
@given(histories())
def test_legal_histories_get_the_same_verdict_without_what_spares_calls(text: str) -> None:
    """Also histories of several drivers, adds and loads."""
    records = trace(text)
    assert verdict(records, PLAIN) == verdict(records)


def test_a_rule_is_called_for_no_other_subjects() -> None:
    """A rule on Complete is called with each Complete, and with no Start."""
    called: list[int] = []

    def note(subject: Any, model: Any) -> None:
        called.append(subject.enter.state)

    rules = [replace(rule, check=note) for rule in all_rules() if rule.id == "COMPLETE-COUNTED"]
    records = trace("S2 C2 V")
    verdict(records, rules)
    states = [record.state for record in records if isinstance(record, SyncEnter)]
    assert ([COMPLETE] * states.count(COMPLETE), True) == (called, START in states)


def test_a_sample_in_which_nothing_changes_asks_no_rule() -> None:
    """Of the records of a driver, only those with another count reach the rule on the count; all of them were judged."""
    called: list[int] = []

    def note(subject: Any, model: Any) -> bool:
        called.append(subject.active)
        return True

    rules = [replace(rule, check=note) for rule in all_rules() if rule.id == "COUNT-MONOTONIC"]
    records = trace("S2 C2{active=3} V{active=3} mark{active=3}")
    said = verdict(records, rules)
    samples = [record.active for record in records if hasattr(record, "active")]
    assert (len(samples), True) == (said["rules"][0]["exercised"], len(called) < len(samples))
    assert {2, 3} == set(called)


def test_the_text_of_every_function_names_the_rules_of_its_kind() -> None:
    """What is generated can be read: each kind's text is one function that calls each of its rules once."""
    rules, taken_in = all_rules(), Model(lambda _kind, _subject: None).update
    for kind in (*RECORDS, *subjects(rules)):
        text = source(kind, rules, taken_in)
        assert text.startswith(f"def {kind.__name__}("), text
        asked = [rule.id for rule in rules if kind in rule.on and Sample not in rule.on]
        assert asked == [name for name in asked if text.count(f"ask_{name.replace('-', '_')}(") == 1]
