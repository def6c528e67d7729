# SPDX-License-Identifier: MIT
"""The golden traces of the contract's section R.9, each with the verdict it must get."""

from __future__ import annotations

import pytest

from harness.contract.checker import judge
from harness.contract.notation import trace
from harness.contract.verdict import RunVerdict, Verdict


def judged(text: str) -> RunVerdict:
    return judge(trace(text))


def violated(verdict: RunVerdict) -> set[str]:
    """Identifiers of the rules that make the run violated."""
    decisive = {"error", "error(driver)", "error(harness)"}
    return {
        rule.rule for rule in verdict.rules if rule.verdict is Verdict.VIOLATED and rule.level in decisive
    }


LEGAL = [
    "a:S2 a:C2 V",
    "a:S2 V a:C2",
    "a:S2 b:S2 b:C2 a:C2 a:V b:V",
    "+cpu S2 C2 =cpu +cpu S3 C3 =cpu V V",
    "[S0 S1 S2 S3 C0 C1 C2 C3]",
    "[S3 S1 S0 S2 C2 C0 C1 C3]",
    "entry [S0 S1 S2! F1 F0]0 entry!",
    "entry [S0!]0 entry!",
    "a:S2 b:S2! a:F2 b:F2",
    "a:S2 b:S2! a:F2",
    "with b a:S2!",
    "{ V0 V1 V0 }",
    "S2 work{cpu=2,nt=2} C2 V",
]


@pytest.mark.parametrize("text", LEGAL)
def test_a_legal_trace_violates_nothing(text: str) -> None:
    """A trace of R.9's first list violates no rule that could fail a run."""
    assert set() == violated(judged(text))


@pytest.mark.parametrize("text", [text for text in LEGAL if text[0] not in "[{e"])
def test_a_whole_legal_run_holds(text: str) -> None:
    """A legal trace with its baseline, its agreement and its end holds."""
    verdict = judged(text)
    assert (Verdict.HOLDS, []) == (verdict.verdict, verdict.reasons)


ILLEGAL = [
    ("a:C2", "SYNC-START-BEFORE-COMPLETE"),
    ("a:S2 a:C2 a:F2", "SYNC-TERMINAL-EXCLUSIVE"),
    ("a:S2 a:S2 a:C2", "SYNC-EXACTLY-TWO"),
    ("a:S2 a:C2 b:S2 b:C2", "SYNC-BARRIER"),
    ("a:S2 b:S2 a:C2 b:F2", "SYNC-AGREE"),
    ("a:S2! b:S2 b:C2", "VETO-NO-COMPLETE"),
    ("a:S2 b:S2!", "VETO-FAILURE-DELIVERED"),
    ("[S0 C0 S1 C1]", "ADDEX-STARTS-THEN-COMPLETES"),
    ("[S0 S1! S2 F0]", "ADDEX-VETO-STOPS"),
    ("[S0 S1! F0 F1]", "ADDEX-VETO-FAILURES"),
    ("[S0 S1!]", "ADDEX-VETO-FAILURES"),
    ("S2 C2{active=2}", "COMPLETE-COUNTED"),
    ("S2 F2{status=0}", "FAIL-STATUS-ERROR"),
    ("V S2 C2", "SYNC-FIRST"),
    ("S2 C2 V{active=2}", "ASYNC-AFTER-SCHEDULABLE"),
    ("S2{irql=1} C2", "SYNC-IRQL-PASSIVE"),
    ("S2 C2 V{irql=2}", "ASYNC-IRQL-PASSIVE"),
    ("S2 C2 unreg V", "ASYNC-UNREG-EX-QUIET"),
    ("S2{active=4} C2{active=3}", "COUNT-MONOTONIC"),
    ("{ V0 V0 V0 }", "ASYNC-EXISTING-DUP"),
    ("S2{cpu=2} C2", "NO-RUN-BEFORE-START-DONE"),
]


@pytest.mark.parametrize(("text", "rule"), ILLEGAL)
def test_an_illegal_trace_violates_its_rule(text: str, rule: str) -> None:
    """A trace of R.9's second list makes the run violated, by the rule named there."""
    verdict = judged(text)
    assert (Verdict.VIOLATED, True) == (verdict.verdict, rule in violated(verdict))


ODD = [
    ("S2{active=3} C2 V", "START-NOT-COUNTED", Verdict.VIOLATED),
    ("+cpu S2 C2 V =cpu Q dereg +cpu S3", "DEREG-QUIET", Verdict.HOLDS),
    ("S2 V C2", "ASYNC-AFTER-COMPLETE", Verdict.HOLDS),
    ("[S0 S1! F0]", "ADDEX-VETO-NULL", Verdict.VIOLATED),
    ("S2 C2", "ASYNC-EVENTUALLY", Verdict.UNKNOWN),
    ("S2 lose Q", "CAP-NO-LOSS", Verdict.UNKNOWN),
    ("+cpu S2 reset", "CAP-EPOCH", Verdict.UNKNOWN),
    ("S2 C2 V V2{event=removal}", "ASYNC-REMOVAL-UNEXPECTED", Verdict.VIOLATED),
]


@pytest.mark.parametrize(("text", "rule", "said"), ODD)
def test_an_odd_trace_is_no_violation(text: str, rule: str, said: Verdict) -> None:
    """A trace of R.9's third list is noticed by its rule and does not make the run violated."""
    verdict = judged(text)
    assert (said, set()) == (next(r.verdict for r in verdict.rules if r.rule == rule), violated(verdict))


FAULTS = [
    ("C2 S2", "SYNC-START-BEFORE-COMPLETE"),
    ("S2 S2 C2 V", "SYNC-EXACTLY-TWO"),
    ("S2 V", "SYNC-START-CLOSED"),
    ("S2{irql=1} C2{irql=1} V", "SYNC-IRQL-PASSIVE"),
    ("S2 C2{active=2,mask=3} V", "COMPLETE-COUNTED"),
    ("V{active=2} S2 C2", "SYNC-FIRST"),
    ("[S0 C0 S1 C1]", "ADDEX-STARTS-THEN-COMPLETES"),
]


@pytest.mark.parametrize(("text", "rule"), FAULTS)
def test_an_injected_fault_is_caught(text: str, rule: str) -> None:
    """Each misbehaviour that the twin can be told to show is violated by its rule."""
    verdict = judged(text)
    assert (Verdict.VIOLATED, True) == (verdict.verdict, rule in violated(verdict))


@pytest.mark.parametrize(("text", "rule"), [("S2 lose V", "CAP-NO-LOSS"), ("+cpu S2 reset", "CAP-EPOCH")])
def test_what_cannot_be_known_is_unknown(text: str, rule: str) -> None:
    """A lost line and a reset inside an attempt make the run unknown, with the gate named first."""
    verdict = judged(text)
    assert Verdict.UNKNOWN is verdict.verdict
    assert any(reason.startswith(rule) for reason in verdict.reasons), verdict.reasons


SILENCES = [
    ("S2 V Q unload", Verdict.VIOLATED),
    ("S2 unload", Verdict.UNKNOWN),
    ("S2 lose C2> V Q unload", Verdict.UNKNOWN),
    ("S2 reset", Verdict.UNKNOWN),
    ("S2 cut", Verdict.UNKNOWN),
    ("S2 Q C2 V", Verdict.HOLDS),
]


@pytest.mark.parametrize(("text", "said"), SILENCES)
def test_silence_counts_only_when_it_was_listened_to(text: str, said: Verdict) -> None:
    """A missing end is a violation after a quiesced point, and unknown where it may have been lost or cut off."""
    assert said is next(r.verdict for r in judged(text).rules if r.rule == "SYNC-START-CLOSED")
