# SPDX-License-Identifier: MIT
"""Every rule's own examples: what holds, what violates, and that every id of the contract exists."""

from __future__ import annotations

import pytest
from contract.state.test_merge import merge

from harness.contract.checker import Checker, judge
from harness.contract.notation import trace
from harness.contract.rules.catalogue import ALIASES, all_rules, find
from harness.contract.rules.rule import Rule
from harness.contract.verdict import Level, Verdict

RULES = all_rules()


def said(rule: Rule, text: str) -> Verdict:
    return next(item.verdict for item in judge(trace(text)).rules if item.rule == rule.id)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_the_example_that_holds_holds(rule: Rule) -> None:
    """The first example exercises the rule and the rule is kept, or observes something."""
    assert Verdict.HOLDS is said(rule, rule.holds)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_rule_that_speaks_has_what_it_needs(rule: Rule) -> None:
    """The fact that a rule needs has occurred where it is kept; so its absence can be given as the reason elsewhere."""
    checker = Checker()
    for record in merge(trace(rule.holds)):
        checker.feed(record)
    assert rule.needs in checker.model.facts


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.violates], ids=lambda rule: rule.id)
def test_the_example_that_violates_violates(rule: Rule) -> None:
    """The second example violates the rule; gates and awaited consequences become unknown instead."""
    expected = Verdict.UNKNOWN if rule.level is Level.GATE or rule.awaited else Verdict.VIOLATED
    assert expected is said(rule, rule.violates)


def test_only_observations_have_no_second_example() -> None:
    """Every rule that can be broken shows how."""
    assert [] == [rule.id for rule in RULES if not rule.violates and rule.level is not Level.OBSERVE]


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.decides], ids=lambda rule: rule.id)
def test_the_example_that_holds_violates_nothing_else(rule: Rule) -> None:
    """What is shown as legal is legal to every other rule that can fail a run, too."""
    verdict = judge(trace(rule.holds))
    assert [] == [
        item.rule for item in verdict.rules
        if item.verdict is Verdict.VIOLATED and item.level in (Level.ERROR, Level.ERROR_DRIVER, Level.ERROR_HARNESS)
    ]  # fmt: skip


IDS = """
CAP-NO-LOSS CAP-BRACKETED CAP-ORDER CAP-EPOCH CAP-HOTCPU-BUFFERS OB-ETW-BRACKET
SYNC-STATE-VALID SYNC-CONTEXT-IDENTITY SYNC-IRQL-PASSIVE REG-IRQL-PASSIVE SYNC-START-BEFORE-COMPLETE
SYNC-START-BEFORE-FAILURE SYNC-EXACTLY-TWO SYNC-TERMINAL-EXCLUSIVE SYNC-START-CLOSED SYNC-ALL-REGISTERED SYNC-AGREE
SYNC-BARRIER SYNC-SAME-IDENTITY NO-RUN-BEFORE-START-DONE RUN-BEFORE-COMPLETE COMPLETE-COUNTED START-NOT-COUNTED
COUNT-STEP SYNC-FIRST SERIAL-ADDS CALL-ORDER SYNC-CPU-THREAD LATE-REG STATUS-NONFAIL
FAIL-STATUS-ERROR FAIL-NOT-COUNTED VETO-NO-COMPLETE VETO-FAILURE-DELIVERED VETO-SELF-FAILURE VETO-LATER-STARTS
VETO-STATUS-ECHO FAIL-WITHOUT-VETO FAIL-RETRY NUM-REUSE OB-OPSTATUS-DISCIPLINE OB-NO-OVERWRITE OPSTATUS-IN
OB-CTX-IMMUTABLE OB-ALLOC-FREE OB-THREAD-AFTER-COMPLETE
ADDEX-WITHIN-REGISTER ADDEX-ONE-START-EACH ADDEX-STARTS-THEN-COMPLETES ADDEX-ONE-COMPLETE-EACH ADDEX-VETO-STOPS
ADDEX-VETO-FAILURES ADDEX-VETO-NULL NULL-NO-CALLBACKS OB-NULL-FAILS-ENTRY OB-VETO-SELF-CLEAN NOFLAG-SILENT
ADDEX-OTHERS-SILENT ADDEX-ORDER ADDEX-THREAD ADDEX-RACE OB-DEREG-BEFORE-UNLOAD DEREG-QUIET DEREG-MIDFLIGHT
NUM-INDEX-AGREES NUM-INDEX-AT-START NUM-RANGE NUM-GROUP0 NUM-IS-OLD-COUNT NUM-UNIQUE COUNT-MONOTONIC MAX-CONSTANT
COUNT-LEGACY-IS-GROUP0 GROUPS-MONOTONIC
ASYNC-IRQL-PASSIVE ASYNC-STRUCT ASYNC-CLASS-ROUTE ASYNC-AFTER-SCHEDULABLE ASYNC-AFTER-START ASYNC-AFTER-COMPLETE
ASYNC-EVENTUALLY ASYNC-NOT-ON-FAILURE ASYNC-EXISTING-DUP ASYNC-NEW-DUP ASYNC-NOFLAG-FUTURE-ONLY
ASYNC-EXISTING-PRE-RETURN ASYNC-REMOVAL-UNEXPECTED ASYNC-UNREG-EX-QUIET ASYNC-UNREG-LEGACY-LATE ASYNC-IFACE-COUNT
OB-ASYNC-RETURN-SUCCESS OB-ASYNC-NONBLOCK OB-ASYNC-UNREG-BEFORE-UNLOAD OB-KMDF-REG-ONCE
MEM-NO-SYNC MEM-ARRIVAL-EVENTUALLY MEM-CPU-SILENT MEM-NO-REBALANCE MEM-TOTAL-AT-ARRIVAL REBAL-ON-CPU-ADD REBAL-ORDER
REBAL-KMDF-ORDER REBAL-OPTOUT REBAL-NO-RESOURCES OB-NO-QUERYSTOP-VETO REBAL-VS-NOTIFY
HOST-CAUSE HOST-ADD-NOT-PROOF HOST-NO-NOTIFY HOST-ONE-AT-A-TIME
"""

CONTRACT = set(IDS.split())
"""The rules that the contract began with. A new rule needs no entry: its own declaration is checked instead."""


def test_every_id_of_the_contract_exists() -> None:
    """No rule of R.1 to R.8 is missing."""
    assert set() == CONTRACT - {rule.id for rule in RULES} - set(ALIASES)


def test_a_rule_is_found_by_any_spelling() -> None:
    """Case does not matter, and an alias leads to the rule that judges it."""
    found = [find("sync-first"), find("ASYNC-AFTER-START"), find("nosuch")]
    assert ["SYNC-FIRST", "SYNC-FIRST", None] == [rule.id if rule else None for rule in found]
