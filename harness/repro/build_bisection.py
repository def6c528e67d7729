# SPDX-License-Identifier: MIT
"""Bisection of a recorded run over builds of QEMU or of the driver: each step repeats the run with one build."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import msgspec

from harness.errors import ExitCode, InfrastructureError, UsageError
from harness.forking.fork_server import ForkServer
from harness.interrupts import uninterrupted
from harness.repro.bisection import Bisection, BuildRuns
from harness.repro.recorded_run import Signature
from harness.repro.repetition import Repetition, repeat

BuildOption = Literal["qemu", "driver"]

MOST_FAILURES = 3
"""The number of consecutive runs of a build without a result after which it is left out."""


class BisectedBuild(msgspec.Struct, kw_only=True):
    """One build: the runs with the signature, the runs without it, and the probability that it is the first bad
    one. ``cannot_run`` is the reason why it was left out."""

    build: str
    shown: int
    clean: int
    probability: float
    cannot_run: str = ""


class BuildBisection(msgspec.Struct, kw_only=True):
    """The result. ``first_bad`` is the first bad build. It is None if no build is bad (``decided``), or if it is
    undecided. ``or_before`` are the builds directly before, which cannot run: each of them may be the first bad one.

    ``none_probability`` is the probability that no build is bad. ``runs`` are all runs, in order. ``interrupted`` is
    whether an interrupt ended the bisection.
    """

    signature: Signature
    builds: list[BisectedBuild]
    none_probability: float
    decided: bool
    first_bad: str | None = None
    or_before: list[str] = []
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
    KeyboardInterrupt the runs under way are ended, and the result is that of the others. A build whose runs have no
    result is left out. Raises InfrastructureError if runs fail with a build that ran before. If all were left out, raises
    InfrastructureError, or UsageError for drivers that do not compile.
    """
    bisection = Bisection(len(builds))
    runs: list[Repetition] = []
    failures: dict[int, list[Repetition]] = {}
    interrupted = False

    def note(at: int, one: Repetition) -> None:
        # At once, so that an interrupt loses none.
        with uninterrupted():
            runs.append(one)
            if one.counts:
                bisection.note(at, shown=one.same)
                failures.pop(at, None)
            else:
                failures.setdefault(at, []).append(one)
            done(builds[at], one)

    with ForkServer() as server:
        while bisection.answer is None and len(runs) < most:
            at = bisection.next_build()
            count = min(at_once, most - len(runs))
            try:
                repeat(
                    [*words, f"--{option}", builds[at]],
                    signature,
                    count=count,
                    at_once=count,
                    done=partial(note, at),
                    server=server,
                )
            except KeyboardInterrupt:
                interrupted = True
                break
            failed = failures.get(at, [])
            if len(failed) >= MOST_FAILURES:
                if bisection.runs[at] != BuildRuns():
                    raise InfrastructureError(
                        f"{len(failed)} runs in a row had no result with {builds[at]}, which ran before: {failed[-1].reason}",
                        hint="Repeat it when the host is well.",
                    )
                bisection.left_out.add(at)
            if len(bisection.left_out) == len(builds):
                kind = UsageError if failed[-1].exit_code == ExitCode.USAGE else InfrastructureError
                raise kind(
                    f"no build can run, the last one is {builds[at]}: {failed[-1].reason}",
                    hint="Give builds that can.",
                )
    posterior = bisection.posterior()
    answer = bisection.answer
    return BuildBisection(
        signature=signature,
        builds=[
            BisectedBuild(
                build=build,
                shown=run.shown,
                clean=run.clean,
                probability=round(chance, 4),
                cannot_run=failures[at][-1].reason if at in bisection.left_out else "",
            )
            for at, (build, run, chance) in enumerate(zip(builds, bisection.runs, posterior, strict=False))
        ],
        none_probability=round(posterior[-1], 4),
        decided=answer is not None,
        first_bad=builds[answer] if answer is not None and answer < len(builds) else None,
        or_before=[] if answer is None else [builds[at] for at in bisection.before(answer)],
        runs=[msgspec.structs.replace(one, number=number) for number, one in enumerate(runs, 1)],
        interrupted=interrupted,
    )
