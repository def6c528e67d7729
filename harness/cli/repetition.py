# SPDX-License-Identifier: MIT
"""``harness repro RUN --repeat K``: does a run many times, and prints how often it was reproduced."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.cli.output import complain, say_result
from harness.errors import UsageError
from harness.interrupts import interrupted_by, interruption, uninterrupted
from harness.invocation import invocation
from harness.report.escape import printable
from harness.report.stage_view import StageView
from harness.repro.differences import Differences, compare_machine
from harness.repro.recorded_run import RepeatableRun, Signature
from harness.repro.repetition import Repetition, Repetitions, repeat, repetitions
from harness.run.options import options_at
from harness.run.request import RunRequest

MOST = 10_000
"""Repetitions of one command."""


def perform_repetitions(
    recorded: RepeatableRun,
    request: RunRequest,
    options: Mapping[str, Any],
    *,
    count: int,
    jobs: int | None,
    anyway: bool,
    json: bool,
) -> int:
    """Do the run ``count`` times, print the result, and return the exit code of the worst.

    Raises UsageError before the first of them if the machine would differ, unless ``anyway``.

    After Ctrl-C the runs under way are ended, and the result is that of the others.
    """
    if not 1 <= count <= MOST:
        raise UsageError(f"--repeat: expected a whole number from 1 to {MOST}, got {count}")
    words = ["repro", str(recorded.directory), "--json", *_words(options, request)]
    words += ["--anyway"] if anyway else []
    before = Signature.of(recorded.verdict)
    at_once = min(count, jobs or len(os.sched_getaffinity(0)))
    ended: list[Repetition] = []
    code = 0
    differences = Differences(recorded.facts, anyway=anyway)
    with StageView(quiet=json) as view:
        compare_machine(request, differences, listeners=(view,))

        def done(one: Repetition) -> None:
            # At once, so that an interrupt loses none.
            with uninterrupted():
                ended.append(one)
            view.say(f"{len(ended)} of {count}: {printable(str(one), 300)}  {one.directory}")

        try:
            found = repeat(words, before, count=count, at_once=at_once, done=done)
        except KeyboardInterrupt:
            code = 128 + interruption()
            found = repetitions(before, ended)
    say_result(
        {
            "repro_of": str(recorded.directory),
            "before": before,
            "reproduced": found.reproduced,
            "runs": found.runs,
            "contrast": found.contrast,
            "differences": differences.notes,
            "exit_code": code or found.exit_code,
        },
        [*differences.lines(), *_lines(found, recorded.verdict.reasons)],
        json=json,
    )
    if code:
        complain(interrupted_by(code - 128))
    return code or found.exit_code


def _words(options: Mapping[str, Any], request: RunRequest) -> list[str]:
    """Return the options that were given; where the guest begins is decided once for all repetitions."""
    words = ["--restore" if request.restore else "--cold"]
    for one in options_at("repro"):
        if one.field in options and one.field != "restore" and options[one.field] is not None:
            value = options[one.field]
            words += one.arguments(value) if value != one.default or not one.flags else []
    return words


def _lines(found: Repetitions, reasons: Sequence[str]) -> Iterator[str]:
    kinds = Counter((run.same, str(run.now) if run.counts else str(run)) for run in found.runs)
    for (same, what), times in sorted(kinds.items(), key=lambda pair: (not pair[0][0], -pair[1])):
        yield f"{times:>5}  {'as recorded: ' if same else ''}{printable(what, 300)}"
    if any(run.counts for run in found.runs) and not any(run.same for run in found.runs):
        because = f": {reasons[0]}" if reasons else ""
        yield f"    0  as recorded: {printable(f'{found.before}{because}', 300)}"
    between = found.contrast
    if between is not None:
        yield f"Reproduced:     {between.reproduced}"
        yield f"Not reproduced: {between.other}"
        if between.first is not None:
            yield f"First difference, step {between.first.step} of {printable(between.first.story, 200)}:"
            for name, said in zip(("reproduced", "not"), between.first.said, strict=True):
                yield f"  {name + ':':<12}{printable(said, 300) if said is not None else 'it does not tell this'}"
        else:
            yield f"They tell the same steps: {printable(between.verdict, 200)}"
        yield f"All of them: {invocation('diff', between.reproduced, between.other)}"
    yield f"reproduced {found.reproduced}"
