# SPDX-License-Identifier: MIT
"""The bisection of builds by a flaky failure: its posterior, its choice, and how often its answers are right."""

from __future__ import annotations

import math
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.repro.bisection import DECIDED, Bisection

HISTORIES, SHARE = 1000, 120
"""Histories of a row of the page's table, and those that the test simulates."""
BUILDS = 8
MOST = 400
REPEATS = 20
"""How often plain bisection runs a build that does not fail."""


def bisected(first: int, rate: float, chance: random.Random) -> tuple[int | None, int]:
    """Return the answer and the number of runs, with a first bad build and the rate of bad ones."""
    bisection = Bisection(BUILDS)
    for runs in range(MOST):
        if (answer := bisection.answer) is not None:
            return answer, runs
        build = bisection.next_build()
        bisection.note(build, shown=build >= first and chance.random() < rate)
    return bisection.answer, MOST


def plainly_bisected(first: int, rate: float, chance: random.Random) -> tuple[int, int]:
    """Return the same of plain bisection with repeats."""
    low, high, runs = 0, BUILDS, 0
    while low < high:
        middle = (low + high) // 2
        for _ in range(REPEATS):
            runs += 1
            if bad := middle >= first and chance.random() < rate:
                break
        low, high = (low, middle) if bad else (middle + 1, high)
    return low, runs


def simulated(rate: float | None, histories: int) -> str:
    """Return a row of the page's table: decided, right and median runs, of it and of plain bisection."""
    right = decided = plainly = 0
    runs, plain_runs = [], []
    chance = random.Random(1)
    for _ in range(histories):
        first = chance.randrange(BUILDS + 1)
        drawn = chance.uniform(0.05, 1) if rate is None else rate
        answer, count = bisected(first, drawn, chance)
        decided += answer is not None
        right += answer == first
        runs.append(count)
        answer, count = plainly_bisected(first, drawn, chance)
        plainly += answer == first
        plain_runs.append(count)
    name = "drawn, 0.05 to 1" if rate is None else f"{rate:g}"
    return (
        f"| {name} | {histories} | {decided} | {100 * right / decided:.1f} % | {statistics.median(runs):.0f} "
        f"| {100 * plainly / histories:.1f} % | {statistics.median(plain_runs):.0f} |"
    )


def test_answers_are_right() -> None:
    """Of histories at rates from 0.05 to 1 at least 95 % of the decided answers are right, in fewer runs than plainly."""
    cells = [cell.strip() for cell in simulated(None, SHARE).split("|")[1:-1]]
    assert int(cells[2]) >= 0.98 * SHARE
    assert float(cells[3].rstrip(" %")) >= 95
    assert float(cells[4]) < float(cells[6])


def test_builds_that_cannot_run() -> None:
    """They are never chosen, and the first bad build is the answer or one of those before it that cannot run."""
    chance, right, decided, histories = random.Random(2), 0, 0, 60
    for _ in range(histories):
        first, rate = chance.randrange(BUILDS + 1), chance.uniform(0.2, 1)
        bisection = Bisection(BUILDS)
        broken = set(chance.sample(range(BUILDS), 3))
        for _ in range(MOST):
            if bisection.answer is not None:
                break
            build = bisection.next_build()
            assert build not in bisection.left_out
            if build in broken:
                bisection.left_out.add(build)
            else:
                bisection.note(build, shown=build >= first and chance.random() < rate)
        answer = bisection.answer
        decided += answer is not None
        right += answer is not None and first in {answer, *bisection.before(answer)}
    assert decided >= 0.98 * histories
    assert right / decided >= 0.95


def test_what_is_before_an_answer() -> None:
    """Only builds directly before it that were left out; none before a build that can run."""
    bisection = Bisection(5)
    bisection.left_out = {0, 2, 3}
    assert [bisection.before(one) for one in (0, 1, 2, 4, 5)] == [[], [0], [], [2, 3], []]


@pytest.mark.parametrize("shown", [0, 1, 3])
@pytest.mark.parametrize("clean", [0, 2])
def test_posterior_of_one_build(shown: int, clean: int) -> None:
    """It is that of the Beta function: B(s + 1, f + 1) against 1 if the build is good and never failed."""
    bisection = Bisection(1)
    for _ in range(shown):
        bisection.note(0, shown=True)
    for _ in range(clean):
        bisection.note(0, shown=False)
    bad = math.factorial(shown) * math.factorial(clean) / math.factorial(shown + clean + 1)
    good = 0.0 if shown else 1.0
    assert bisection.posterior() == pytest.approx([bad / (bad + good), good / (bad + good)])


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=40))
def test_posterior_is_one(notes: list[tuple[int, bool]]) -> None:
    """The probabilities add up to one, and a build after one that failed is not the first bad one."""
    bisection = Bisection(5)
    for build, shown in notes:
        bisection.note(build, shown=shown)
    posterior = bisection.posterior()
    assert sum(posterior) == pytest.approx(1)
    failed = [build for build, shown in notes if shown]
    assert all(chance == 0 for chance in posterior[min(failed) + 1 :]) if failed else True
    assert 0 <= bisection.next_build() < 5
    assert bisection.answer is None or posterior[bisection.answer] >= DECIDED


def test_no_builds() -> None:
    """A bisection of nothing is an error of the caller."""
    with pytest.raises(ValueError, match="needs at least one build"):
        Bisection(0)


if __name__ == "__main__":
    for each in (None, 0.05, 0.1, 0.2, 0.5, 1.0):
        print(simulated(each, HISTORIES), flush=True)
