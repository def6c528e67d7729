# SPDX-License-Identifier: MIT
"""A rule whose evidence is incomplete says violated or unknown, whichever record is missing: a seeded share.

``tox -e loss`` takes every record of every example, and compares the whole table.
"""

from __future__ import annotations

import os
import random

import pytest
from effort import VARIABLE, examples

from harness.contract.notation import trace
from harness.contract.rules.rule import Rule
from harness.contract.verdict import Level, Verdict
from harness.history.driver import DriverRecord
from harness.history.record import Channel
from tests.contract.missing import (
    BEGIN,
    DOCUMENT,
    END,
    NEEDED,
    RULES,
    WithoutRecord,
    embedded,
    places,
    row,
    taken,
    violations,
    without,
    without_each,
)

VIOLATED = [pytest.param(rule, text, id=f"{rule.id}: {text}") for rule in RULES for text in violations(rule)]


SEED = 20261130 if VARIABLE not in os.environ else random.randrange(1 << 30)
"""The same in every run of the suite, another in each long form."""

TAKEN, ROWS = 4, 10
"""Records that are taken of each example, and rows of the table that are compared."""


@pytest.mark.parametrize(("rule", "text"), VIOLATED)
def test_no_missing_record_hides_a_violation(rule: Rule, text: str) -> None:
    """Without any one of the records that the seed draws the rule says violated or unknown, and the run does not hold."""
    records = trace(text)
    every = places(records)
    drawn = random.Random(f"{SEED} {rule.id} {text}").sample(every, min(len(every), examples(TAKEN)))
    wrong = [str(one) for one in (without(rule, records, place) for place in drawn) if one.wrong]
    assert 0 == len(wrong), (SEED, *wrong)


def test_each_kind_of_record_is_taken() -> None:
    """A rule's example loses each record of its driver and each kind that the host wrote."""
    (rule,) = [rule for rule in RULES if rule.id == "SYNC-EXACTLY-TWO"]
    records = trace(rule.violates)
    expected = [one for one in records if isinstance(one, (DriverRecord, *NEEDED))]
    assert len(expected) == len(without_each(rule, rule.violates))
    assert set(NEEDED) <= {type(one) for one in expected}


def test_a_taken_record_of_a_driver_is_a_loss() -> None:
    """Its number is missing, the account counts one record less and one lost."""
    records = trace("S2 C2 V")
    place = next(at for at, one in enumerate(records) if isinstance(one, DriverRecord) and one.seq == 5)
    left = taken(records, place)
    numbers = [one.seq for one in left if isinstance(one, DriverRecord)]
    (account,) = [one for one in left if isinstance(one, Channel)]
    assert (False, len(numbers), 1) == (5 in numbers, account.records, account.lost)
    assert list(range(1, len(records))) == [one.n for one in left]


def test_rules_that_can_accuse_are_all_asked() -> None:
    """Each rule of the levels error and error(driver) has a history that violates it."""
    assert {Level.ERROR, Level.ERROR_DRIVER} == {rule.level for rule in RULES}
    assert [] == [rule.id for rule in RULES if not violations(rule)]


@pytest.mark.parametrize(
    ("rule", "run", "wrong"),
    [
        (Verdict.VIOLATED, Verdict.VIOLATED, False),
        (Verdict.UNKNOWN, Verdict.UNKNOWN, False),
        (Verdict.UNKNOWN, Verdict.VIOLATED, False),
        (Verdict.HOLDS, Verdict.UNKNOWN, True),
        (Verdict.NOT_APPLICABLE, Verdict.UNKNOWN, True),
        (Verdict.UNKNOWN, Verdict.HOLDS, True),
    ],
)
def test_what_hides_a_violation(rule: Verdict, run: Verdict, wrong: bool) -> None:
    """Missing evidence neither excuses the rule nor makes it not applicable, and the run never holds."""
    assert wrong == WithoutRecord("a record", rule, run).wrong


def test_the_table_in_the_documents_is_this_one() -> None:
    """docs/rules.md has a row for each rule, and those that the seed draws are as it is; ``python -m tests.contract.missing``."""
    shown = DOCUMENT.read_text().split(BEGIN)[1].split(END)[0].strip().splitlines()[2:]
    assert [rule.id for rule in RULES] == [line.split(" | ")[0].removeprefix("| ") for line in shown]
    drawn = random.Random(SEED).sample(RULES, min(len(RULES), examples(ROWS)))
    assert set() == {row(rule) for rule in drawn} - set(shown)


def test_the_row_of_a_named_rule_is_made_anew() -> None:
    """Also where there is none yet. No other rule is judged."""
    document = DOCUMENT.read_text()
    here, there = RULES[0].id, RULES[1].id
    before, rest = document.split(BEGIN)
    lines = rest.splitlines(keepends=True)
    changed = [f"| {there} | as it was |\n" if line.startswith(f"| {there} |") else line for line in lines]
    without = [line for line in changed if not line.startswith(f"| {here} |")]
    assert len(lines) == len(without) + 1
    assert f"{before}{BEGIN}{''.join(changed)}" == embedded(f"{before}{BEGIN}{''.join(without)}", [here])
