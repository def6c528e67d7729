# SPDX-License-Identifier: MIT
"""A verdict as text says what it is worth, why, what shows it and what was not checked."""

import re

import msgspec
import pytest
from report.records import hot_add

from harness.contract.checker import judge
from harness.contract.explanation import explain
from harness.contract.rules.catalogue import find
from harness.contract.verdict import Finding, Level, RuleVerdict, RunVerdict, Verdict, Witness
from harness.report.style import Style
from harness.report.verdict_text import coverage_lines, headline, verdict_lines

BROKEN = Finding(
    rule="SYNC-START-BEFORE-COMPLETE",
    level=Level.ERROR,
    verdict=Verdict.VIOLATED,
    reason="Complete came without Start",
    witnesses=[Witness(name="E1", record=14, text="driver  Complete NtNumber=2")],
    attempt="processor 2",
)
PLAIN = Style(colour=False)


def rule(name: str, exercised: int, verdict: Verdict = Verdict.HOLDS, **fields: object) -> RuleVerdict:
    """One rule's verdict."""
    given = RuleVerdict(
        rule=name, level=Level.ERROR, verdict=verdict, source="page", exercised=exercised, armed=exercised > 0
    )
    return msgspec.structs.replace(given, **fields)


def run_verdict(verdict: Verdict = Verdict.VIOLATED, *findings: Finding, **fields: object) -> RunVerdict:
    """A run's verdict with two rules, one of them never exercised."""
    given = RunVerdict(
        run="r1",
        guest="twin",
        verdict=verdict,
        reasons=["SYNC-START-BEFORE-COMPLETE: Complete came without Start"],
        rules=[rule("SYNC-START-BEFORE-COMPLETE", 1, verdict, times=len(findings)), rule("NUM-UNIQUE", 0)],
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
    """Headline, reason, the contract's explanation and coverage."""
    expected = [
        "VIOLATED  run r1 on twin: says nothing about Windows itself",
        "  SYNC-START-BEFORE-COMPLETE: Complete came without Start",
        "",
        *explain(BROKEN, find("SYNC-START-BEFORE-COMPLETE")),
        "",
        "Coverage: 2 rules, 1 armed, 1 exercised",
        "  Never exercised, so nothing is said of: NUM-UNIQUE",
    ]
    assert expected == verdict_lines(run_verdict(Verdict.VIOLATED, BROKEN))


def test_the_records_that_show_a_violation_are_in_the_text() -> None:
    """A violation names its rule, its source page and each of its witnesses."""
    text = "\n".join(verdict_lines(judge(hot_add(start=False).records)))
    assert text.startswith("VIOLATED  run r1 on twin: says nothing about Windows itself, contract\n")
    assert "\nVIOLATED  SYNC-START-BEFORE-COMPLETE  processor 2   (source: WD:kernel/" in text
    assert re.search(
        r"^  E1 = record \d+  driver hpnotify  Complete entered  NtNumber=2 ", text, re.MULTILINE
    )


def test_a_run_that_holds_says_what_it_did_not_check() -> None:
    """A clean run has its headline, what was observed, and the rules it says nothing of."""
    text = "\n".join(verdict_lines(judge(hot_add().records)))
    assert text.startswith("HOLDS  run r1 on twin: says nothing about Windows itself\n\nObserved,")
    assert "  Is the index of an added processor the old active count?  yes   (NUM-IS-OLD-COUNT)\n" in text
    assert re.search(r"  Never exercised, so nothing is said of: .*VETO-NO-COMPLETE", text)


def test_an_explainer_of_the_run_takes_the_place_of_the_plain_one() -> None:
    """What it says is shown, made harmless."""
    lines = verdict_lines(
        run_verdict(Verdict.VIOLATED, BROKEN), explain=lambda finding: [f"Let:\x07 {finding.rule}"]
    )
    assert "Let:\\x07 SYNC-START-BEFORE-COMPLETE" in lines


def test_many_findings_of_one_rule_are_counted_after_the_second() -> None:
    """The text stays readable when one cause shows a hundred times, and the rule's own count is believed."""
    verdict = run_verdict(Verdict.VIOLATED, *[BROKEN] * 5)
    busy = msgspec.structs.replace(verdict, rules=[rule("SYNC-START-BEFORE-COMPLETE", 100, times=100)])
    lines = verdict_lines(busy, explain=lambda finding: ["explained"])
    assert [2, 1] == [lines.count("explained"), lines.count("… and 98 more of SYNC-START-BEFORE-COMPLETE")]


def test_many_reasons_are_counted_after_the_twelfth() -> None:
    """A run in which everything is unclear still fits on a screen."""
    lines = verdict_lines(run_verdict(Verdict.UNKNOWN, reasons=[f"reason {n}" for n in range(40)]))
    assert lines[12:14] == ["  reason 11", "  … and 28 more reasons: --json has them all"]


def test_unclear_rules_are_explained_only_where_nothing_is_broken() -> None:
    """A violation is not buried under what could not be told."""
    unclear = msgspec.structs.replace(BROKEN, rule="NUM-UNIQUE", verdict=Verdict.UNKNOWN)
    both = verdict_lines(
        run_verdict(Verdict.VIOLATED, unclear, BROKEN), explain=lambda finding: [finding.rule]
    )
    alone = verdict_lines(run_verdict(Verdict.UNKNOWN, unclear), explain=lambda finding: [finding.rule])
    assert ["NUM-UNIQUE" in both, "NUM-UNIQUE" in alone] == [False, True]


@pytest.mark.parametrize(
    ("level", "verdict", "expected"),
    [
        (Level.WARN, Verdict.VIOLATED, "WARNING  COUNT-STEP, processor 2: Complete came without Start"),
        (Level.POLICY, Verdict.VIOLATED, "WARNING  COUNT-STEP, processor 2: Complete came without Start"),
        (Level.FINDING, Verdict.HOLDS, "FOUND  COUNT-STEP, processor 2: Complete came without Start"),
        (Level.OBSERVE, Verdict.HOLDS, "FOUND  COUNT-STEP, processor 2: Complete came without Start"),
    ],
)
def test_what_changes_no_verdict_takes_one_line(level: Level, verdict: Verdict, expected: str) -> None:
    """A warning or a finding is one line, not a violated rule."""
    minor = msgspec.structs.replace(BROKEN, rule="COUNT-STEP", level=level, verdict=verdict)
    lines = verdict_lines(run_verdict(Verdict.HOLDS, minor))
    assert [1, False] == [lines.count(expected), any(line.startswith("VIOLATED") for line in lines)]


def test_only_rules_that_could_break_a_run_are_named_as_never_exercised() -> None:
    """Idle warnings and observations are counted, not named."""
    rules = [rule("A", 0), rule("B", 3), rule("C", 0, level=Level.WARN), rule("D", 0, level=Level.OBSERVE)]
    expected = [
        "Coverage: 4 rules, 1 armed, 1 exercised",
        "  Never exercised, so nothing is said of: A and 2 that only warn or observe",
    ]
    assert expected == coverage_lines(rules)


def test_lines_are_folded_at_the_terminal_s_width() -> None:
    """On a terminal of 60 columns only a single long word makes a longer line, and no word is lost."""
    verdict = judge(hot_add(start=False).records)
    narrow = verdict_lines(verdict, style=Style(colour=False, width=60))
    assert [] == [line for line in narrow if len(line) > 60 and len(line.split()) > 1]
    assert " ".join(verdict_lines(verdict)).split() == " ".join(narrow).split()


def test_hostile_text_in_a_verdict_does_not_reach_the_terminal() -> None:
    """Reasons, witnesses, observations and names are all escaped."""
    evil = "\x1b]0;owned\x07\u202e"
    finding = Finding(
        rule=evil, level=Level.ERROR, verdict=Verdict.VIOLATED, reason=evil, attempt=evil,
        witnesses=[Witness(name=evil, record=1, text=evil)],
    )  # fmt: skip
    warning = msgspec.structs.replace(finding, level=Level.WARN)
    verdict = run_verdict(
        Verdict.VIOLATED, *[finding] * 4, *[warning] * 4,
        run=evil, guest=evil, reasons=[evil], observations={evil: {evil: 2}}, failure_class=evil, rules=[rule(evil, 0)],
    )  # fmt: skip
    lines = verdict_lines(verdict, style=Style(colour=False, width=80))
    assert [] == [line for line in lines if not line.isprintable()]


def test_a_command_is_not_folded() -> None:
    """The command that repeats a run stands on one line, however narrow the terminal is."""
    command = "Reproduce:  harness repro runs/20261129-094858-cpu-and-dimm-f1f2 --step 12"
    lines = verdict_lines(
        run_verdict(Verdict.VIOLATED, BROKEN),
        explain=lambda _: [command],
        style=Style(colour=False, width=40),
    )
    assert command in lines


def test_colour_is_the_only_difference_on_a_terminal() -> None:
    """Without its colour codes the coloured text is the plain text."""
    verdict = run_verdict(Verdict.VIOLATED, BROKEN)
    coloured = verdict_lines(verdict, style=Style(colour=True))
    assert any("\x1b[1;31m" in line for line in coloured)
    assert verdict_lines(verdict) == [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in coloured]
