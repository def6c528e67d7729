# SPDX-License-Identifier: MIT
"""Observations: counted per value and per run, and two sets told apart by values first, then by shares."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report.records import ANY_TEXT

from harness.contract.verdict import Judged, RunVerdict, Verdict
from harness.errors import ExitCode
from harness.report.observations import (
    ComparisonResult,
    QuestionAnswer,
    RunSet,
    SeenValue,
    compare,
    comparison_lines,
    show_lines,
)
from harness.report.style import Style

VETO = "VETO-SELF-FAILURE"


def run(observed: dict[str, object], *, build: str = "twin 6.1") -> Judged:
    """A run that observed these values."""
    verdict = RunVerdict(
        run="r", guest="twin", verdict=Verdict.HOLDS, reasons=[], rules=[], observations=observed
    )
    return Judged(path=Path("r"), exit_code=ExitCode.HOLDS, verdict=verdict, build=build)


def runs(*observed: dict[str, object], name: str = "set", build: str = "twin 6.1") -> RunSet:
    """A set of such runs."""
    made = RunSet(name)
    for one in observed:
        made.add(run(one, build=build))
    return made


def test_times_and_runs_are_both_counted() -> None:
    """How often a value was seen, in how many runs, and how many runs had an answer at all."""
    answer = runs({VETO: {"yes": 3}}, {VETO: {"yes": 1, "no": 9}}, {}).answer(VETO)
    assert (
        QuestionAnswer(runs=2, values={"no": SeenValue(times=9, runs=1), "yes": SeenValue(times=4, runs=2)})
        == answer
    )
    assert ["no", "yes"] == list(answer.values)


def test_what_could_not_be_read_and_forms_that_are_not_known_count_for_nothing() -> None:
    """An unreadable run is no run, and an observation of another form is left out."""
    made = runs({VETO: "yes", "X": {"a": "b"}})
    made.add(Judged(path=Path("r"), exit_code=ExitCode.USAGE, error="no"))
    assert [1, {}] == [made.runs, made.answer(VETO).values]


@pytest.mark.parametrize(
    ("a", "b", "result"),
    [
        ({"yes": 5}, {"yes": 1}, ComparisonResult.SAME),
        ({"yes": 5}, {"no": 5}, ComparisonResult.VALUES),
        ({"yes": 5}, {"yes": 5, "no": 1}, ComparisonResult.VALUES),
        ({"yes": 5}, {}, ComparisonResult.ONLY_A),
        ({}, {"yes": 5}, ComparisonResult.ONLY_B),
        ({"yes": 50, "no": 50}, {"yes": 5, "no": 5}, ComparisonResult.SAME),
        ({"yes": 52, "no": 48}, {"yes": 48, "no": 52}, ComparisonResult.SAME),
        ({"yes": 90, "no": 10}, {"yes": 10, "no": 90}, ComparisonResult.SHARES),
        ({"yes": 3, "no": 1}, {"yes": 1, "no": 1}, ComparisonResult.SAME),
    ],
)
def test_results(a: dict[str, int], b: dict[str, int], result: ComparisonResult) -> None:
    """A new value is different, a share only if chance does not explain it, silence of one set is a result of its own."""
    first, second = runs({VETO: a} if a else {}), runs({VETO: b} if b else {})
    assert [result] == [one.result for one in compare(first, second)]


def test_the_most_telling_questions_come_first() -> None:
    """Different values, then shares, then one-sided, then the same; in the catalogue's order within each."""
    a = runs({"SERIAL-ADDS": {"x": 1}, VETO: {"yes": 1}, "NUM-REUSE": {"yes": 1}, "Z-UNKNOWN": {"1": 1}})
    b = runs({"SERIAL-ADDS": {"x": 1}, VETO: {"no": 1}, "NUM-REUSE": {"no": 1}, "ADDEX-ORDER": {"up": 1}})
    assert [
        (VETO, ComparisonResult.VALUES),
        ("NUM-REUSE", ComparisonResult.VALUES),
        ("Z-UNKNOWN", ComparisonResult.ONLY_A),
        ("ADDEX-ORDER", ComparisonResult.ONLY_B),
        ("SERIAL-ADDS", ComparisonResult.SAME),
    ] == [(one.rule, one.result) for one in compare(a, b)]


def test_the_comparison_in_full() -> None:
    """Sets with their builds, the totals, then each question with every value, its counts and its runs."""
    a = runs({VETO: {"yes": 3, "no": 1}}, {VETO: {"yes": 1}}, name="old", build="windows-server-2022 20348")
    b = runs({VETO: {"no": 2}, "SERIAL-ADDS": {"one at a time": 1}}, name="new")
    assert comparison_lines(a, b, compare(a, b)) == [
        "A  old: 2 runs, 2 of windows-server-2022 20348",
        "B  new: 1 run, 1 of twin 6.1",
        "   twin: says nothing about Windows itself",
        "",
        "2 questions answered: 1 different, 1 only in B",
        "",
        "DIFFERENT  Does the vetoing callback get its own Failure?   (VETO-SELF-FAILURE)",
        "    yes            A 4x 80% (2 runs)       B -                     only A",
        "    no             A 1x 20% (1 of 2 runs)  B 2x (1 run)",
        "",
        "ONLY IN B  Do attempts of different processors overlap?   (SERIAL-ADDS)",
        "    one at a time  A -                     B 1x (1 run)            only B",
    ]


def test_builds_side_by_side() -> None:
    """Each build's answer stands below the question, labelled where there are several."""
    sets = [
        runs({VETO: {"no": 2}}, name="windows-server-2022"),
        runs({VETO: {"yes": 1}}, name="windows-server-2025 26100"),
    ]
    assert show_lines(sets) == [
        "windows-server-2022: 1 run",
        "windows-server-2025 26100: 1 run",
        "",
        "Does the vetoing callback get its own Failure?   (VETO-SELF-FAILURE)",
        "  windows-server-2022        no  2x (1 run)",
        "  windows-server-2025 26100  yes  1x (1 run)",
    ]
    assert "Nothing was observed where the documents are silent." == show_lines([runs({})])[-1]


@given(
    st.lists(st.dictionaries(ANY_TEXT, st.dictionaries(ANY_TEXT, st.integers(1, 9), min_size=1, max_size=3), max_size=3)),
    st.lists(st.dictionaries(ANY_TEXT, st.dictionaries(ANY_TEXT, st.integers(1, 9), min_size=1, max_size=3), max_size=3)),
    ANY_TEXT,
)  # fmt: skip
def test_hostile_values_are_escaped_and_every_question_is_answered(
    first: list[dict[str, object]], second: list[dict[str, object]], name: str
) -> None:
    """No control character reaches a terminal, whatever rules, values and builds are called."""
    a, b = runs(*first, name=name, build=name), runs(*second, name=name, build=name)
    compared = compare(a, b)
    assert sorted({*a.questions(), *b.questions()}) == sorted(one.rule for one in compared)
    style = Style(colour=False, width=80)
    lines = [*comparison_lines(a, b, compared, style), *show_lines([a, b], style)]
    assert [] == [line for line in lines if not line.isprintable()]
