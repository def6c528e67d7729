# SPDX-License-Identifier: MIT
"""Bisection of a recorded run over builds of QEMU or of the driver: each step repeats the run with one build."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import msgspec

from harness.errors import ExitCode, InfrastructureError, UsageError
from harness.interrupts import uninterrupted
from harness.repro.bisection import Bisection
from harness.repro.recorded_run import Signature
from harness.repro.repetition import Repetition, repeat

BuildOption = Literal["qemu", "driver"]

MOST_FAILURES = 3
"""The number of consecutive runs of one build without a result that ends the bisection."""


class BisectedBuild(msgspec.Struct, kw_only=True):
    """One build: the runs with the signature, the runs without it, and the probability that it is the first bad
    one."""

    build: str
    shown: int
    clean: int
    probability: float


class BuildBisection(msgspec.Struct, kw_only=True):
    """The result. ``first_bad`` is the first bad build. It is None if no build is bad (``decided``), or if it is
    undecided.

    ``none_probability`` is the probability that no build is bad. ``runs`` are all runs, in order. ``interrupted`` is
    whether an interrupt ended the bisection.
    """

    signature: Signature
    builds: list[BisectedBuild]
    none_probability: float
    decided: bool
    first_bad: str | None = None
    runs: list[Repetition] = []
    interrupted: bool = False


def bisect_builds(
    words: Sequence[str],
    signature: Signature,
    option: BuildOption,
    builds: Sequence[str],
    *,
    most: int,
    at_once: int,
    done: Callable[[str, Repetition], None],
) -> BuildBisection:
    """Repeat ``harness WORDS``, a ``repro`` with ``--json``, with different builds, until decided or ``most`` runs.

    ``at_once`` runs of the chosen build are concurrent. ``done`` is called with each build and its run. After
    KeyboardInterrupt the runs under way are ended, and the result is that of the others. Raises InfrastructureError for
    a build whose runs have no result, UsageError if it is the build's own defect: a driver that does not compile.
    """
    bisection = Bisection(len(builds))
    runs: list[Repetition] = []
    failures = 0
    interrupted = False

    def note(at: int, one: Repetition) -> None:
        # At once, so that an interrupt loses none.
        with uninterrupted():
            runs.append(one)
            if one.counts:
                bisection.note(at, shown=one.same)
            done(builds[at], one)

    while bisection.answer is None and len(runs) < most:
        at = bisection.next_build()
        count = min(at_once, most - len(runs))
        try:
            found = repeat(
                [*words, f"--{option}", builds[at]],
                signature,
                count=count,
                at_once=count,
                done=partial(note, at),
            )
        except KeyboardInterrupt:
            interrupted = True
            break
        for one in found.runs:
            failures = 0 if one.counts else failures + 1
        if failures >= MOST_FAILURES:
            kind = UsageError if runs[-1].exit_code == ExitCode.USAGE else InfrastructureError
            raise kind(
                f"{failures} runs in a row had no result, the last one with {builds[at]}: {runs[-1].reason}",
                hint="Leave out a build that cannot run.",
            )
    posterior = bisection.posterior()
    answer = bisection.answer
    return BuildBisection(
        signature=signature,
        builds=[
            BisectedBuild(build=build, shown=run.shown, clean=run.clean, probability=round(chance, 4))
            for build, run, chance in zip(builds, bisection.runs, posterior, strict=False)
        ],
        none_probability=round(posterior[-1], 4),
        decided=answer is not None,
        first_bad=builds[answer] if answer is not None and answer < len(builds) else None,
        runs=[msgspec.structs.replace(one, number=number) for number, one in enumerate(runs, 1)],
        interrupted=interrupted,
    )
