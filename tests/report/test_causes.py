# SPDX-License-Identifier: MIT
"""The order of broken rules: the cause first, then what may follow from it, and no finding is left out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harness.contract.rules.catalogue import all_rules, find
from harness.contract.verdict import Finding, Level, Verdict, Witness
from harness.report.causes import CALLED_OTHERWISE, FOLLOWS, causes, following, ordered


def finding(rule: str, *records: int, verdict: Verdict = Verdict.VIOLATED) -> Finding:
    """Return a finding of a rule, with its level, that these records show."""
    known = find(rule)
    assert known is not None
    shown = [Witness(name=f"E{place}", record=number, text="") for place, number in enumerate(records, 1)]
    return Finding(rule=rule, level=known.level, verdict=verdict, reason="", witnesses=shown)


def rules(findings: list[Finding]) -> list[str]:
    """Return their rules, in their order."""
    return [one.rule for one in findings]


def test_the_violation_that_is_certain_first_comes_first() -> None:
    """Not the one that an earlier record belongs to: a registration is a record of many violations."""
    found = [finding("ADDEX-ONE-START-EACH", 20, 26), finding("OB-VETO-SELF-CLEAN", 24)]
    assert ["OB-VETO-SELF-CLEAN", "ADDEX-ONE-START-EACH"] == rules(causes(found))
    assert set() == following(found)


def test_a_consequence_comes_after_its_cause_even_if_it_is_certain_before() -> None:
    """A driver's books cannot balance where Windows did not call it as documented."""
    found = [finding("OB-ALLOC-FREE", 75), finding("NUM-UNIQUE", 68, 76)]
    assert ["NUM-UNIQUE", "OB-ALLOC-FREE"] == rules(causes(found))
    assert {"OB-ALLOC-FREE"} == following(found)
    early = [finding("OB-THREAD-AFTER-COMPLETE", 24), finding("ADDEX-ONE-START-EACH", 20, 23, 26)]
    assert ["ADDEX-ONE-START-EACH", "OB-THREAD-AFTER-COMPLETE"] == rules(causes(early))
    assert set() == following(found[:1])


def test_what_sums_up_comes_last() -> None:
    """An unmet expectation says less than the rule that explains it, and is the cause if it is alone."""
    found = [finding("EXPECT", 10), finding("SYNC-EXACTLY-TWO", 20, 30), finding("OB-ALLOC-FREE", 25)]
    assert ["SYNC-EXACTLY-TWO", "OB-ALLOC-FREE", "EXPECT"] == rules(causes(found))
    assert set() == following([finding("EXPECT", 10)])


def test_lost_evidence_comes_before_what_it_makes_unknown() -> None:
    """And the end of the run, which says nothing about evidence, explains nothing."""
    unknown = [
        finding("SYNC-START-CLOSED", 40, verdict=Verdict.UNKNOWN),
        finding("CAP-NO-LOSS", 52, verdict=Verdict.UNKNOWN),
    ]
    assert ["CAP-NO-LOSS", "SYNC-START-CLOSED"] == rules(ordered(unknown))
    alone = [unknown[0], finding("RUN-COMPLETE", 60, verdict=Verdict.UNKNOWN)]
    assert set() == following(alone)


def test_only_what_decides_is_a_cause() -> None:
    """Neither a warning nor what is not known."""
    warned = Finding(rule="COUNT-STEP", level=Level.WARN, verdict=Verdict.VIOLATED, reason="")
    assert [] == causes([warned, finding("SYNC-AGREE", 1, verdict=Verdict.UNKNOWN)])


def test_the_table_names_rules() -> None:
    """Each rule in it exists, and none follows from itself, whichever way it is followed."""
    ids = {rule.id for rule in all_rules()}
    named = {rule for of in FOLLOWS.values() for rule in of} - {CALLED_OTHERWISE}
    assert set() == (set(FOLLOWS) | named) - ids
    for rule in FOLLOWS:
        reached, left = set[str](), list(FOLLOWS[rule])
        while left:
            if (one := left.pop()) not in reached:
                reached.add(one)
                left += FOLLOWS.get(one, ())
        assert rule not in reached


@given(st.lists(st.tuples(st.sampled_from(all_rules()), st.integers(0, 99)), max_size=30))
def test_no_finding_is_left_out(drawn: list[tuple[object, int]]) -> None:
    """Ordering changes the order only, and something always comes first that follows from nothing."""
    found = [finding(rule.id, number) for rule, number in drawn]  # type: ignore[attr-defined]
    shown = ordered(found)
    assert sorted(map(id, found)) == sorted(map(id, shown))
    assert (
        not found
        or set(rules(found)) - following(found)
        or all(one.level is Level.ERROR_HARNESS for one in found)
    )
