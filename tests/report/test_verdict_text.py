# SPDX-License-Identifier: MIT
"""A verdict as text says what it is worth, why, what shows it and what was not checked."""

from pathlib import Path

import msgspec
import pytest

from harness.contract.verdict import Finding, Level, RuleVerdict, RunVerdict, Verdict, Witness
from harness.report.style import Style
from harness.report.verdict_text import coverage_lines, headline, verdict_lines

SOURCE = "WD:kernel/processing-a-synchronous-driver-notification.md"

BROKEN = Finding(
    rule="SYNC-START-BEFORE-COMPLETE",
    level=Level.ERROR,
    verdict=Verdict.VIOLATED,
    reason="Complete came without Start",
    witnesses=[Witness(name="E1", record=14, text="driver  Complete NtNumber=2")],
    attempt="cpu-1",
)


def rule(name: str, exercised: int, verdict: Verdict = Verdict.HOLDS) -> RuleVerdict:
    """One rule's verdict."""
    return RuleVerdict(rule=name, level=Level.ERROR, verdict=verdict, source=SOURCE, exercised=exercised)


def run_verdict(verdict: Verdict = Verdict.VIOLATED, *findings: Finding, **fields: object) -> RunVerdict:
    """A run's verdict with two rules, one of them never exercised."""
    given = RunVerdict(
        run="r1",
        guest="twin",
        verdict=verdict,
        reasons=["SYNC-START-BEFORE-COMPLETE is violated"],
        rules=[rule("SYNC-START-BEFORE-COMPLETE", 1, verdict), rule("NUM-UNIQUE", 0)],
        findings=list(findings),
    )
    return msgspec.structs.replace(given, **fields)


@pytest.mark.parametrize(
    ("guest", "expected"),
    [
        ("twin", "HOLDS  run r1 on twin: says nothing about Windows itself"),
        ("wine", "HOLDS  run r1 on wine: says nothing about Windows itself"),
        ("windows-server-2025", "HOLDS  run r1 on windows-server-2025"),
        ("windows\x1b[2J", "HOLDS  run r1 on windows\\x1b[2J"),
    ],
)
def test_the_headline_says_what_a_verdict_from_this_guest_is_worth(guest: str, expected: str) -> None:
    """Only a Windows guest's verdict is about Windows."""
    assert expected == headline(run_verdict(Verdict.HOLDS, guest=guest), Style(colour=False))


def test_the_failure_class_is_part_of_the_headline() -> None:
    """A hang is told apart from other unknowns."""
    line = headline(run_verdict(Verdict.UNKNOWN, failure_class="guest hang"), Style(colour=False))
    assert line == "UNKNOWN  run r1 on twin: says nothing about Windows itself, guest hang"


def test_a_violated_run_in_full() -> None:
    """Headline, reason, the broken rule with its witness, coverage, evidence and the way to judge again."""
    expected = [
        "VIOLATED  run r1 on twin: says nothing about Windows itself",
        "  SYNC-START-BEFORE-COMPLETE is violated",
        "",
        f"VIOLATED  SYNC-START-BEFORE-COMPLETE, cpu-1   ({SOURCE})",
        "  Complete came without Start",
        "  E1 = record 14: driver  Complete NtNumber=2",
        "",
        "Coverage: 2 rules armed, 1 exercised, 1 never exercised",
        "  NUM-UNIQUE",
        "Evidence: 'runs/r 1'",
        "Judge again: harness check 'runs/r 1'   (with every event: --timeline --all)",
    ]
    assert expected == verdict_lines(run_verdict(Verdict.VIOLATED, BROKEN), evidence=Path("runs/r 1"))


def test_an_explanation_takes_the_place_of_the_bare_witnesses() -> None:
    """What the contract's explainer says is shown, made harmless."""
    lines = verdict_lines(
        run_verdict(Verdict.VIOLATED, BROKEN), explain=lambda finding: [f"Let:\x07 {finding.rule}"]
    )
    assert "Let:\\x07 SYNC-START-BEFORE-COMPLETE" in lines
    assert "  E1 = record 14: driver  Complete NtNumber=2" not in lines


def test_many_findings_of_one_rule_are_counted_after_the_third() -> None:
    """The text stays readable when one cause shows a hundred times."""
    lines = verdict_lines(run_verdict(Verdict.VIOLATED, *[BROKEN] * 100))
    assert sum(line == "  Complete came without Start" for line in lines) == 3
    assert "  … and 97 more of SYNC-START-BEFORE-COMPLETE: --json has them all" in lines


def test_warnings_stand_apart_from_violations() -> None:
    """A warning is one line with its level, not a violated rule."""
    warning = msgspec.structs.replace(BROKEN, rule="COUNT-STEP", level=Level.WARN)
    lines = verdict_lines(run_verdict(Verdict.HOLDS, warning))
    assert "warn  COUNT-STEP (cpu-1): Complete came without Start" in lines
    assert not any(line.startswith("VIOLATED") for line in lines)


def test_rules_that_had_nothing_to_judge_are_named() -> None:
    """Names of idle rules are wrapped, none is lost."""
    rules = [rule(f"RULE-WITH-A-LONG-NAME-{n}", 0) for n in range(12)] + [rule("BUSY", 3)]
    first, *names = coverage_lines(rules)
    assert first == "Coverage: 13 rules armed, 1 exercised, 12 never exercised"
    assert [f"RULE-WITH-A-LONG-NAME-{n}" for n in range(12)] == " ".join(names).split()
    assert max(len(line) for line in names) <= 100


def test_hostile_text_in_a_verdict_does_not_reach_the_terminal() -> None:
    """Reasons, witnesses, observations and names are all escaped."""
    evil = "\x1b]0;owned\x07\u202e"
    finding = Finding(
        rule=evil, level=Level.ERROR, verdict=Verdict.VIOLATED, reason=evil, attempt=evil,
        witnesses=[Witness(name=evil, record=1, text=evil)],
    )  # fmt: skip
    warning = msgspec.structs.replace(finding, level=Level.WARN)
    verdict = run_verdict(
        Verdict.VIOLATED, finding, warning,
        run=evil, guest=evil, reasons=[evil], observations={evil: evil}, failure_class=evil, rules=[rule(evil, 0)],
    )  # fmt: skip
    lines = verdict_lines(verdict, evidence=Path(evil))
    assert [] == [line for line in lines if not line.isprintable()]


def test_colour_is_the_only_difference_on_a_terminal() -> None:
    """Without its colour codes the coloured text is the plain text."""
    import re

    verdict = run_verdict(Verdict.VIOLATED, BROKEN)
    coloured = verdict_lines(verdict, style=Style(colour=True))
    assert any("\x1b[1;31m" in line for line in coloured)
    assert verdict_lines(verdict) == [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in coloured]
