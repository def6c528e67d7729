# SPDX-License-Identifier: MIT
"""Signatures: one cause in two runs has one, two causes have two."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.contract.verdict import Finding, Level, RunVerdict, Verdict
from harness.store.signature import LONGEST_WITNESS, failure, failures, normalised


@pytest.mark.parametrize(
    ("said", "witness"),
    [
        ("registration 1 of driver hpnotify got 2 Starts", "registration # of driver hpnotify got # Starts"),
        ("ctx=0xff1100001f3bf548 at 12.5 ms", "ctx=# at # ms"),
        ("twin did not boot before (run 20261129-144526-cpu-and-dimm-e8a8, stage qemu)", "twin did not boot before (run RUN, stage qemu)"),
        ("cannot open /tmp/x-1/run.json: No such file", "cannot open PATH: No such file"),
        ("image d01c8ac7da89 is gone", "image # is gone"),
        ("deadbeef and decade", "deadbeef and decade"),
        ("two\n  lines", "two lines"),
    ],
)  # fmt: skip
def test_what_differs_between_runs_is_left_out(said: str, witness: str) -> None:
    """Numbers, addresses, digests, runs and paths go; words stay."""
    assert witness == normalised(said)


@given(st.text(max_size=3000))
def test_any_text_is_normalised_to_a_bounded_line(said: str) -> None:
    """Whatever a guest said: one line, and no digit that could differ."""
    found = normalised(said)
    assert (True, False, False) == (
        len(found) <= LONGEST_WITNESS,
        "\n" in found,
        any(sign in "0123456789" for sign in found),
    )


@given(st.integers(0, 10**12), st.integers(0, 10**12))
def test_numbers_make_no_other_incident(one: int, other: int) -> None:
    """Two runs that differ in a number have one signature."""
    assert (
        failure("R", "contract", f"got {one}").signature == failure("R", "contract", f"got {other}").signature
    )


def verdict(*findings: Finding, reasons: tuple[str, ...] = ("R: x",)) -> RunVerdict:
    """Return a violated run with these findings."""
    return RunVerdict(
        run="r",
        guest="twin",
        verdict=Verdict.VIOLATED,
        reasons=list(reasons),
        rules=[],
        findings=list(findings),
    )


def finding(rule: str, level: Level) -> Finding:
    """Return a violated finding."""
    return Finding(rule=rule, level=level, verdict=Verdict.VIOLATED, reason="broken")


def test_what_repeats_a_broken_rule_is_no_second_failure() -> None:
    """An expectation that fails with a rule of the contract is not counted; alone, it is. Warnings never are."""
    both = verdict(
        finding("SYNC-AGREE", Level.ERROR), finding("EXPECT", Level.ERROR_HARNESS), finding("P", Level.POLICY)
    )
    alone = verdict(finding("EXPECT", Level.ERROR_HARNESS))
    assert [[("SYNC-AGREE", "contract")], [("EXPECT", "contract")]] == [
        [(one.rule, one.failure_class) for one in failures(each, "contract", "")] for each in (both, alone)
    ]


def test_two_broken_rules_are_two_failures() -> None:
    """The driver's and the contract's each have a signature of their own."""
    found = failures(verdict(finding("A", Level.ERROR), finding("B", Level.ERROR_DRIVER)), "contract", "")
    assert [("A", "contract"), ("B", "driver"), 2] == [
        *((one.rule, one.failure_class) for one in found),
        len({one.signature for one in found}),
    ]


def test_a_run_without_a_verdict_has_its_reason() -> None:
    """A run that was killed is a failure, with what the nightly run says of it."""
    (found,) = failures(None, "infrastructure", "the run was killed by signal 9")
    assert ("", "infrastructure", "the run was killed by signal #") == (
        found.rule,
        found.failure_class,
        found.witness,
    )
