# SPDX-License-Identifier: MIT
"""Many runs as one table: a row each, why it does not hold, what broke over the set, and what nobody exercised."""

import re
from pathlib import Path

import msgspec

from harness.contract.checker import judge
from harness.contract.coverage import coverage
from harness.contract.notation import trace
from harness.contract.verdict import Judged, Level, RuleVerdict, RunVerdict, Verdict
from harness.errors import ExitCode
from harness.report.run_table import RunTable
from harness.report.style import PLAIN, Style


def run(name: str, text: str, *, guest: str = "twin") -> Judged:
    """A judged trace."""
    verdict = judge(trace(text, guest=guest))
    return Judged(path=Path(name), exit_code=verdict.exit_code, verdict=verdict)


def lines(*runs: Judged, style: Style = PLAIN) -> list[str]:
    """The table of these runs, with the coverage of those that were read."""
    table = RunTable(style)
    for each in runs:
        table.add(each)
    return table.lines(coverage(each.verdict for each in runs if each.verdict), ExitCode.VIOLATED)


UNREADABLE = Judged(path=Path("d"), exit_code=ExitCode.USAGE, error="d: No such file or directory")


def test_the_whole_table() -> None:
    """Rows in the order given, reasons below, the broken rules with their runs, one run to look at; last the verdict in sum."""
    unknown = judge(trace("S2 lose C2")).reasons
    two = lines(
        run("a", "S2 C2 V"),
        run("b", "S2{irql=2} C2 V"),
        run("c", "S2 lose C2"),
        UNREADABLE,
        run("e", "S2{irql=2} C2 V"),
    )
    assert two[:15] == [
        "verdict     exit  guest                 run",
        "holds          0  twin                  a",
        "violated       1  twin                  b",
        "                  SYNC-IRQL-PASSIVE",
        "unknown        3  twin                  c",
        f"                  {unknown[0]} (and {len(unknown) - 1} more)",
        "unreadable    64                        d",
        "                  No such file or directory",
        "violated       1  twin                  e",
        "                  SYNC-IRQL-PASSIVE",
        "",
        "Runs of twin say nothing about Windows itself.",
        "",
        "Violated:",
        "  SYNC-IRQL-PASSIVE  in 2 runs, first b",
    ]
    assert [
        "Why, for one of them (--full for all): harness check b",
        "",
        "VIOLATED: 5 runs: 1 hold, 2 violated, 1 unknown, 1 unreadable; exit code 1",
    ] == two[-3:]


def test_coverage_is_over_all_runs() -> None:
    """A rule that one run exercised is not called never exercised, whatever the other runs did."""
    alone = "\n".join(lines(run("a", "S2 C2 V")))
    both = "\n".join(lines(run("a", "S2 C2 V"), run("b", "S2! F2")))
    assert [True, False] == ["FAIL-STATUS-ERROR" in alone, "FAIL-STATUS-ERROR" in both]
    assert "Never exercised by any run, so nothing is said of: " in both


def test_windows_runs_need_no_caveat() -> None:
    """Only guests that are not Windows are said to say nothing about it."""
    text = "\n".join(
        lines(run("a", "S2 C2 V", guest="windows-server-2025"), run("b", "S2 C2 V", guest="wine"))
    )
    assert "Runs of wine say nothing about Windows itself." in text


def test_nothing_readable_has_no_coverage() -> None:
    """Where no run was judged, no rule is reproached with it."""
    assert [] == [line for line in lines(UNREADABLE) if "Coverage" in line]


def test_many_broken_rules_are_counted() -> None:
    """A run in which everything broke takes one line, and the list of the set stays short."""
    rules = [
        RuleVerdict(rule=f"R-{n}", level=Level.ERROR, verdict=Verdict.VIOLATED, source="", exercised=1)
        for n in range(30)
    ]
    verdict = RunVerdict(run="r", guest="twin", verdict=Verdict.VIOLATED, reasons=["x"], rules=rules)
    table = lines(Judged(path=Path("a"), exit_code=ExitCode.VIOLATED, verdict=verdict))
    assert "                  R-0, R-1, R-2, R-3 and 26 more" == table[2]
    assert "  … and 10 more rules: --json has them all" in table


def test_hostile_names_do_not_reach_the_terminal() -> None:
    """Guests, reasons, rules and paths are escaped, and colour is the only thing added on a terminal."""
    evil = "\x1b[2J\u202e"
    rule = RuleVerdict(rule=evil, level=Level.ERROR, verdict=Verdict.VIOLATED, source=evil, exercised=1)
    verdict = RunVerdict(run=evil, guest=evil, verdict=Verdict.VIOLATED, reasons=[evil], rules=[rule])
    bad = Judged(path=Path(evil), exit_code=ExitCode.VIOLATED, verdict=verdict)
    unknown = msgspec.structs.replace(
        bad, verdict=msgspec.structs.replace(verdict, verdict=Verdict.UNKNOWN, rules=[])
    )
    runs = [bad, unknown, msgspec.structs.replace(UNREADABLE, error=evil)]
    plain = lines(*runs)
    assert [] == [line for line in plain if not line.isprintable()]
    coloured = lines(*runs, style=Style(colour=True))
    assert plain == [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in coloured]
