# SPDX-License-Identifier: MIT
"""Bisection of builds by a failure that may be flaky: the first bad build, with its probability.

The hypotheses are that each build is the first bad one, and that none is. The prior over them is uniform. A good build
never shows the signature. Bad builds show it at one unknown rate, whose prior is uniform from 0 to 1. Let s be the
number of runs that showed it among the bad builds of a hypothesis, and f the number of those that did not. The
likelihood of all runs is then the Beta function B(s + 1, f + 1), or 0 if a good build showed the signature. So the
posterior has a closed form.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate

import msgspec

DECIDED = 0.95
"""The posterior at which a hypothesis is accepted."""


class BuildRuns(msgspec.Struct, kw_only=True):
    """The runs of a build: ``shown`` with the signature, ``clean`` without it."""

    shown: int = 0
    clean: int = 0


class Bisection:
    """The state of a bisection of ``count`` builds, in order. Hypothesis i is that build i is the first bad one.

    The hypothesis ``count`` is that none is bad. A build that cannot run is left out: nothing distinguishes it from the next
    one that can, so both are one answer.
    """

    def __init__(self, count: int) -> None:
        if count < 1:
            raise ValueError("a bisection needs at least one build")
        self.count = count
        self.runs = [BuildRuns() for _ in range(count)]
        self.left_out: set[int] = set()
        self._posterior: list[float] = []

    def note(self, build: int, *, shown: bool) -> None:
        """Count one run of a build."""
        self._posterior.clear()
        if shown:
            self.runs[build].shown += 1
        else:
            self.runs[build].clean += 1

    def posterior(self) -> list[float]:
        """Return the posterior of each hypothesis."""
        if not self._posterior:
            self._posterior = _normal(_likelihoods(self.runs))
        return self._posterior.copy()

    @property
    def answer(self) -> int | None:
        """The hypothesis whose posterior is at least :data:`DECIDED`, None if there is none yet.

        The posteriors of the builds before it that were left out (:meth:`before`) count as its own.
        """
        posterior = self.posterior()
        for one in range(self.count + 1):
            if (
                one not in self.left_out
                and posterior[one] + sum(map(posterior.__getitem__, self.before(one))) >= DECIDED
            ):
                return one
        return None

    def before(self, hypothesis: int) -> list[int]:
        """Return the builds directly before ``hypothesis`` that were left out."""
        first = hypothesis
        while first - 1 in self.left_out:
            first -= 1
        return [*range(first, hypothesis)]

    def next_build(self) -> int:
        """Return the build whose next run has the largest mutual information with the hypotheses.

        Raises ValueError if all were left out.
        """
        posterior = self.posterior()
        now = _entropy(posterior)
        # The expected rate of bad builds, by the first of them: the mean of the Beta distribution.
        rates = [(shown + 1) / (shown + clean + 2) for shown, clean in _of_bad_builds(self.runs)]
        gains = {
            build: now - _expected_entropy(build, posterior, rates)
            for build in range(self.count)
            if build not in self.left_out
        }
        return max(gains, key=lambda build: round(gains[build], 12))


def _expected_entropy(build: int, posterior: Sequence[float], rates: Sequence[float]) -> float:
    """Return the expected entropy after a run of ``build``; ``rates`` are those of bad builds, by the first of them."""
    seen = [weight * rate for weight, rate in zip(posterior[: build + 1], rates[: build + 1], strict=True)]
    chance = sum(seen)
    clean = [
        weight * (1 - rate) for weight, rate in zip(posterior[: build + 1], rates[: build + 1], strict=True)
    ]
    expected = 0.0
    for probability, after in ((chance, seen), (1 - chance, [*clean, *posterior[build + 1 :]])):
        if probability > 0:
            expected += probability * _entropy(_normal_weights(after))
    return expected


def _of_bad_builds(runs: Sequence[BuildRuns]) -> list[tuple[int, int]]:
    """Return how many runs of the bad builds showed the signature and how many did not, by the first bad build."""
    shown = [*accumulate((run.shown for run in reversed(runs)), initial=0)]
    clean = [*accumulate((run.clean for run in reversed(runs)), initial=0)]
    return [*zip(reversed(shown), reversed(clean), strict=True)]


def _likelihoods(runs: Sequence[BuildRuns]) -> list[float]:
    """Return the logarithm of the likelihood of all runs, by the first bad build."""
    first_shown = next((build for build, run in enumerate(runs) if run.shown), len(runs))
    return [
        math.lgamma(shown + 1) + math.lgamma(clean + 1) - math.lgamma(shown + clean + 2)
        if first <= first_shown
        else -math.inf
        for first, (shown, clean) in enumerate(_of_bad_builds(runs))
    ]


def _normal(logarithms: Sequence[float]) -> list[float]:
    largest = max(logarithms)
    return _normal_weights([math.exp(one - largest) for one in logarithms])


def _normal_weights(weights: Sequence[float]) -> list[float]:
    whole = sum(weights)
    return [weight / whole for weight in weights]


def _entropy(probabilities: Sequence[float]) -> float:
    return -sum(one * math.log2(one) for one in probabilities if one > 0)
