# SPDX-License-Identifier: MIT
"""What runs showed where Windows' documentation is silent: per guest build, and two sets of runs side by side.

A question is a rule that observes, or the part of one that can be compared (``STATUS-NONFAIL/Start``). Its answer is how often each value was seen, and in how many runs. No answer is
wrong; two builds of Windows that answer differently are news.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from enum import StrEnum

import msgspec

from harness.contract.observe import collect, question, rule_and_part
from harness.contract.rules.catalogue import all_rules
from harness.contract.verdict import Judged
from harness.report.escape import printable
from harness.report.style import PLAIN, Style
from harness.report.verdict_text import guest_label

LONGEST_VALUE = 100
"""Characters of one value that are shown."""

SPREAD = 2.0
"""Standard errors by which a value's shares must differ to be called different; chance alone does it once in 20."""

MOST_BUILDS = 8
"""Guest builds of one set that are named; the rest are counted."""


class ComparisonResult(StrEnum):
    """How two sets of runs answer one question, the most telling first."""

    VALUES = "different"
    SHARES = "different shares"
    ONLY_A = "only in A"
    ONLY_B = "only in B"
    SAME = "same"


class SeenValue(msgspec.Struct):
    """How often a value was seen, and in how many runs."""

    times: int = 0
    runs: int = 0


class QuestionAnswer(msgspec.Struct):
    """Everything that was seen to one question: ``runs`` had something to say; value by value, the most frequent first."""

    runs: int = 0
    values: dict[str, SeenValue] = {}

    @property
    def times(self) -> int:
        """How often anything was seen."""
        return sum(seen.times for seen in self.values.values())


class RunSet:
    """The observations of a set of runs, taken one by one."""

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.runs = 0
        self.builds: Counter[str] = Counter()
        self._answers: dict[str, QuestionAnswer] = {}

    def add(self, run: Judged) -> None:
        """Take one run; one that could not be read shows nothing."""
        if run.verdict is None:
            return
        self.runs += 1
        self.builds[run.build] += 1
        for rule, values in collect([run.verdict]).items():
            answer = self._answers.setdefault(rule, QuestionAnswer(values={}))
            answer.runs += 1
            for value, times in values.items():
                seen = answer.values.setdefault(value, SeenValue())
                seen.times += times
                seen.runs += 1

    def answer(self, rule: str) -> QuestionAnswer:
        """Return what was seen to one question, the most frequent value first; an empty answer if nothing was."""
        answer = self._answers.get(rule, QuestionAnswer(values={}))
        often = sorted(answer.values.items(), key=lambda item: (-item[1].times, item[0]))
        return QuestionAnswer(runs=answer.runs, values=dict(often))

    def questions(self) -> list[str]:
        """Return the questions to which something was seen, in the catalogue's order."""
        return in_order(self._answers)


def in_order(questions: Iterable[str]) -> list[str]:
    """Return each question once, in the catalogue's order; those of rules that this version does not know come last."""
    order = {rule.id: place for place, rule in enumerate(all_rules())}
    return sorted({*questions}, key=lambda name: (order.get(rule_and_part(name)[0], len(order)), name))


class AnswerComparison(msgspec.Struct, frozen=True, kw_only=True):
    """How two sets of runs answer one question."""

    rule: str
    question: str
    result: ComparisonResult = msgspec.field(name="mark")
    a: QuestionAnswer
    b: QuestionAnswer


def compare(first: RunSet, second: RunSet) -> list[AnswerComparison]:
    """Return one comparison per question that either set answers: different ones first, the same ones last."""
    found = []
    for rule in in_order([*first.questions(), *second.questions()]):
        a, b = first.answer(rule), second.answer(rule)
        found.append(AnswerComparison(rule=rule, question=question(rule), result=_result(a, b), a=a, b=b))
    return sorted(found, key=lambda comparison: list(ComparisonResult).index(comparison.result))


def _result(a: QuestionAnswer, b: QuestionAnswer) -> ComparisonResult:
    if not b.values:
        return ComparisonResult.ONLY_A
    if not a.values:
        return ComparisonResult.ONLY_B
    if a.values.keys() != b.values.keys():
        return ComparisonResult.VALUES
    return (
        ComparisonResult.SHARES if any(_apart(value, a, b) for value in a.values) else ComparisonResult.SAME
    )


def _apart(value: str, a: QuestionAnswer, b: QuestionAnswer) -> bool:
    """True if the value's shares in A and B differ by more than SPREAD times what chance makes of one common share.

    The standard error of the difference of two proportions, with the share in A and B together for the common one.
    """
    in_a, in_b = a.values[value].times, b.values[value].times
    share = (in_a + in_b) / (a.times + b.times)
    spread = math.sqrt(share * (1 - share) * (1 / a.times + 1 / b.times))
    return abs(in_a / a.times - in_b / b.times) > SPREAD * spread


def comparison_lines(
    first: RunSet, second: RunSet, compared: Sequence[AnswerComparison], style: Style = PLAIN
) -> list[str]:
    """Return the two sets side by side: each question, and each value with its counts in A and in B."""
    lines = [*_set_lines("A", first, style), *_set_lines("B", second, style)]
    counts = Counter(comparison.result for comparison in compared)
    told = ", ".join(f"{counts[result]} {result.value}" for result in ComparisonResult if counts[result])
    lines += ["", f"{len(compared)} questions answered: {told or 'none'}"]
    width = max(
        (len(_value(value)) for one in compared for value in (*one.a.values, *one.b.values)), default=0
    )
    width = min(width, max(20, (style.width or 100) - 62))
    for one in compared:
        paint = style.faint if one.result is ComparisonResult.SAME else style.doubtful
        head = f"{one.result.value.upper()}  {printable(one.question, 200)}   ({printable(one.rule, 60)})"
        first_line, *rest = style.fold(head, indent=4)
        lines += ["", first_line.replace(one.result.value.upper(), paint(one.result.value.upper()), 1), *rest]
        values = dict.fromkeys([*one.a.values, *one.b.values])
        for value in values:
            lines += _row(value, one, width, style)
    return lines


def _row(value: str, one: AnswerComparison, width: int, style: Style) -> list[str]:
    in_a, in_b = one.a.values.get(value), one.b.values.get(value)
    where = "only A" if in_b is None else "only B" if in_a is None else ""
    counts = f"A {_count(in_a, one.a):<20}  B {_count(in_b, one.b):<20}  {where}".rstrip()
    shown = _value(value)
    if len(shown) > width:
        return [*style.fold(f"    {shown}"), f"    {'':<{width}}  {counts}"]
    return [f"    {shown:<{width}}  {counts}"]


def _count(seen: SeenValue | None, answer: QuestionAnswer) -> str:
    if seen is None:
        return "-"
    share = "" if len(answer.values) < 2 else f" {100 * seen.times / answer.times:.0f}%"
    return f"{seen.times}x{share} ({_runs(seen.runs, answer.runs)})"


def _runs(some: int, all_: int) -> str:
    return f"{all_} run{'s' if all_ != 1 else ''}" if some == all_ else f"{some} of {all_} runs"


def _value(value: str) -> str:
    return printable(value, LONGEST_VALUE) or "(empty)"


def _set_lines(letter: str, runs: RunSet, style: Style) -> list[str]:
    builds = [
        f"{count} of {printable(build, 80) or 'an unnamed guest'}"
        for build, count in runs.builds.most_common(MOST_BUILDS)
    ]
    more = len(runs.builds) - MOST_BUILDS
    named = ", ".join(builds) + (f" and {more} builds more" if more > 0 else "")
    plural = "" if runs.runs == 1 else "s"
    lines = style.fold(f"{letter}  {printable(runs.name, 1000)}: {runs.runs} run{plural}, {named}", indent=3)
    return lines + _worth(runs.builds, style)


def _worth(builds: Iterable[str], style: Style) -> list[str]:
    others = sorted({build.partition(" ")[0] for build in builds if not build.startswith("windows")})
    return [
        line for guest in others[:MOST_BUILDS] for line in style.fold(f"   {guest_label(guest)}", indent=3)
    ]


def show_lines(sets: Sequence[RunSet], style: Style = PLAIN) -> list[str]:
    """Return the answers of each set, one set per guest build, question by question."""
    lines = [
        line
        for runs in sets
        for line in [
            *style.fold(
                f"{printable(runs.name, 80) or 'an unnamed guest'}: {runs.runs} run{'' if runs.runs == 1 else 's'}"
            ),
            *_worth([runs.name], style),
        ]
    ]
    asked = in_order(rule for one in sets for rule in one.questions())
    several = len(sets) > 1
    width = max((len(printable(one.name, 80)) for one in sets), default=0) if several else 0
    for rule in asked:
        lines += [
            "",
            *style.fold(f"{style.strong(printable(question(rule), 200))}   ({printable(rule, 60)})"),
        ]
        for runs in sets:
            answer = runs.answer(rule)
            if not answer.values:
                continue
            for place, (value, seen) in enumerate(answer.values.items()):
                label = printable(runs.name, 80) if several and not place else ""
                lines += style.fold(
                    f"  {label:<{width}}  {_value(value)}  {_count(seen, answer)}", indent=width + 8
                )
    return lines if asked else [*lines, "", "Nothing was observed where the documents are silent."]
