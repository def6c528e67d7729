# SPDX-License-Identifier: MIT
"""The results of a nightly run: as text, JSON and JUnit XML, rewritten whenever it stops."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import msgspec

from harness.contract.verdict import Judged, Verdict
from harness.errors import ExitCode, system_errors, worst
from harness.history.json_file import indented
from harness.history.private import write_private
from harness.interrupts import interruption
from harness.invocation import invocation
from harness.lab.matrix import Cell, Matrix
from harness.lab.nightly_state import CellOutcome, ExploredGuest, NightlyState
from harness.report.escape import printable
from harness.report.junit import JUnit
from harness.report.junit import write as write_junit
from harness.run.judging import judge_run

LONGEST_REASON = 300

MOST_NAMED = 20
"""The most left-out runs that the text names. The document names all."""

WORDS = ("holds", "violated", "unknown", "plan", "infrastructure", "skipped")
"""The result of a cell in one word, in the order of the counts."""


BLAMED = {ExitCode.USAGE: "plan", ExitCode.INFRASTRUCTURE: "infrastructure"}
"""The cause of a cell without a verdict, by its exit code."""


def word(outcome: CellOutcome) -> str:
    """Return the result of a cell, one word of :data:`WORDS`."""
    if outcome.state == "skipped":
        return "skipped"
    if outcome.verdict != "violated" and outcome.code in BLAMED:
        return BLAMED[outcome.code]
    return outcome.verdict if outcome.verdict in WORDS else "unknown"


def exit_code(state: NightlyState, *, left: int) -> ExitCode:
    """Return the worst exit code of the runs. If an error ended the nightly run, return the code of that error. While runs
    are left, return the code of the signal that interrupted the nightly run.

    Findings of exploring affect the code, known or new. An exploration without findings that failed, or whose plans had no
    result, does not. Runs left out for lack of time do not affect the code. It is UNKNOWN if none had enough time.
    """
    if state.failed is not None:
        return state.failed
    reports = [one.report for one in state.explored if one.report is not None]
    found = [report.exit_code for report in reports if not report.nothing_explored]
    if any(report.ended == "interrupted" for report in reports):
        return ExitCode(128 + interruption())
    if not state.outcomes and state.out_of_time:
        return ExitCode.UNKNOWN
    if left and not state.out_of_time:
        return ExitCode(128 + interruption())
    return worst([*(outcome.code for outcome in state.outcomes.values()), *found])


def unsteady(state: NightlyState, matrix: Matrix) -> dict[str, Counter[str]]:
    """Return the points of the matrix whose repetitions had different results."""
    found: dict[str, Counter[str]] = {}
    for cell in matrix.cells:
        outcome = state.outcomes.get(cell.id)
        if outcome is not None and outcome.state == "done":
            found.setdefault(cell.point, Counter())[word(outcome)] += 1
    return {point: seen for point, seen in found.items() if len(seen) > 1}


def lines(state: NightlyState, matrix: Matrix) -> list[str]:
    """Return the summary for people: the counts, each cell that does not hold, and the command that reproduces it."""
    outcomes = [state.outcomes[cell.id] for cell in matrix.cells if cell.id in state.outcomes]
    left = len(matrix.cells) - len(outcomes)
    counts = Counter(word(outcome) for outcome in outcomes)
    spent = sum(outcome.seconds for outcome in outcomes)
    said = ", ".join(f"{name} {counts[name]}" for name in WORDS if counts[name]) or "nothing yet"
    code = int(exit_code(state, left=left))
    runs = f"{len(outcomes)} of {len(matrix.cells)} runs, {spent / 60:.1f} minutes of runs"
    text = [
        f"Nightly run {state.head.name} of {state.head.lab}: {runs}; exit code {code}",
        f"  {said}",
        *([f"  exploring: {exploring(state)}"] if state.explored else []),
        *(f"  {line}" for line in lost(state)),
    ]
    for outcome in outcomes:
        name = word(outcome)
        if name == "holds":
            continue
        label = f"{name}, {outcome.failure_class}" if outcome.failure_class not in ("", name) else name
        text += ["", f"{outcome.cell}: {label}"]
        if outcome.reason:
            text.append(f"  {printable(outcome.reason, LONGEST_REASON)}")
        if len(outcome.runs) > 1:
            text.append(f"  First attempt: {printable(outcome.runs[0], 1000)}")
        if outcome.runs:
            text.append(f"  Reproduce: {invocation('repro', Path(outcome.runs[-1]))}")
    text += _found(state)
    if flaky := unsteady(state, matrix):
        text += ["", "Different results of one point:"]
        text += [
            f"  {point}: {', '.join(f'{name} {seen[name]}' for name in WORDS if seen[name])}"
            for point, seen in sorted(flaky.items())
        ]
    if left and state.out_of_time:
        out = [cell.id for cell in matrix.cells if cell.id not in state.outcomes]
        more = f", and {left - MOST_NAMED} more" if left > MOST_NAMED else ""
        text += ["", f"{left} runs were left out: {state.out_of_time}. The next nightly run prefers them."]
        text += [f"  {', '.join(out[:MOST_NAMED])}{more}"]
    elif left:
        are, them = ("s are", "them") if left != 1 else (" is", "it")
        text += ["", f"{left} run{are} left; the same command continues with {them}."]
    return text


def lost(state: NightlyState) -> list[str]:
    """Return the first lost workers of a fleet, a line for each, and the number of the others."""
    more = len(state.lost_workers) - MOST_FOUND
    first = [printable(line, LONGEST_REASON) for line in state.lost_workers[:MOST_FOUND]]
    return [*first, *([f"and {more} more lost workers"] if more > 0 else [])]


def _unexplored(one: ExploredGuest) -> str:
    """Return why the exploration of a guest says nothing, or "" if it does."""
    if one.error:
        return one.error
    return "no plan had a result" if one.report is None or one.report.nothing_explored else ""


def exploring(state: NightlyState) -> str:
    """Return in one line what exploring found: the new findings by their names, and how often known ones came again."""
    reports = [one.report for one in state.explored if one.report is not None]
    new = [finding.signature for report in reports for finding in report.findings]
    known = [times for report in reports for times in report.known.values()]
    parts = [f"{sum(report.plans for report in reports)} plans"]
    parts += [
        f"new {len(new)}: {', '.join(printable(one, 80) for one in new[:MOST_FOUND])}"
        if new
        else "nothing new"
    ]
    parts += [f"and {len(new) - MOST_FOUND} more"] if len(new) > MOST_FOUND else []
    parts += [f"known {len(known)} ({sum(known)} times)"] if known else []
    failed = [f"{one.name}: {printable(why, 80)}" for one in state.explored if (why := _unexplored(one))]
    parts += (
        [f"not explored: {failed[0]}" if len(failed) == 1 else f"{len(failed)} guests not explored"]
        if failed
        else []
    )
    return "; ".join(parts)


def _found(state: NightlyState) -> list[str]:
    """Return the new findings of exploring, each with how to get at it."""
    text: list[str] = []
    for one in state.explored:
        for finding in one.report.findings if one.report is not None else ():
            text += ["", f"{one.name}, explored: {printable(finding.signature, LONGEST_REASON)}"]
            text.append(f"  {printable(finding.reason, LONGEST_REASON)}")
            if finding.test:
                text.append(f"  Test: {printable(finding.test, 1000)}")
            if finding.run:
                text.append(f"  Reproduce: {invocation('repro', Path(finding.run))}")
    return text


MOST_FOUND = 3
"""New findings that are named in one line, and lost workers that are named."""

VERSION = 1
"""The version of the JSON document: that of all documents that commands print (docs/cli.md, JSON)."""


def document(state: NightlyState, matrix: Matrix) -> dict[str, Any]:
    """Return the summary as a JSON document."""
    outcomes = [state.outcomes[cell.id] for cell in matrix.cells if cell.id in state.outcomes]
    left = len(matrix.cells) - len(outcomes)
    return {
        "night": state.head.name,
        "directory": str(state.directory),
        "lab": state.head.lab,
        "digest": state.head.digest,
        "seed": state.head.seed,
        "planned": len(matrix.cells),
        "left": left,
        "out_of_time": state.out_of_time,
        "left_out": [cell.id for cell in matrix.cells if cell.id not in state.outcomes]
        if state.out_of_time
        else [],
        "exit_code": exit_code(state, left=left),
        "counts": {name: sum(word(outcome) == name for outcome in outcomes) for name in WORDS},
        "unsteady": unsteady(state, matrix),
        "explored": [msgspec.to_builtins(one) for one in state.explored],
        "lost_workers": state.lost_workers,
        "runs": [{**msgspec.to_builtins(outcome), "word": word(outcome)} for outcome in outcomes],
    }


def junit(state: NightlyState, matrix: Matrix, *, everything: bool = False) -> bytes:
    """Return the nightly run as JUnit XML: each run's verdict, and each cell that was not run as skipped.

    The root has the lab's name, each suite the name of a matrix point. ``everything`` adds the rules that had nothing
    to judge.
    """
    report = JUnit(matrix.document.name, everything=everything)
    for cell in matrix.cells:
        outcome = state.outcomes.get(cell.id)
        if outcome is None:
            report.skip(cell.point, state.out_of_time or "the nightly run was interrupted before this run")
        elif outcome.state == "skipped":
            report.skip(cell.point, outcome.reason)
        else:
            report.add(_judged(cell, outcome), cell.point)
    for skipped in matrix.skipped:
        report.skip(skipped.point, skipped.why)
    return report.document()


def _judged(cell: Cell, outcome: CellOutcome) -> Judged:
    """Judge the run of a cell that has ended. A killed run does not record its end itself, so the nightly run's reason
    is added."""
    path = Path(outcome.runs[-1]) if outcome.runs else Path(cell.id)
    judged = judge_run(path) if outcome.runs else None
    if judged is None or judged.verdict is None:
        return Judged(
            path=path,
            exit_code=outcome.code,
            error=outcome.reason or "it left no result",
            guest=cell.guest,
            plan=cell.plan,
            seconds=outcome.seconds,
        )
    if judged.verdict.verdict is not Verdict.UNKNOWN or not outcome.reason:
        return judged
    return msgspec.structs.replace(
        judged,
        ended=outcome.reason,
        verdict=msgspec.structs.replace(judged.verdict, failure_class=outcome.failure_class),
    )


def write(state: NightlyState, matrix: Matrix, *, everything: bool = False) -> None:
    """Write all three beside the state. Raises InfrastructureError if one cannot be written.

    ``everything`` is a parameter of :func:`junit`.
    """
    with system_errors(f"cannot write the summary in {state.directory}"):
        write_private(state.directory / "summary.txt", "".join(f"{line}\n" for line in lines(state, matrix)))
        told = {"version": VERSION, **document(state, matrix)}
        write_private(state.directory / "summary.json", indented(told))
        write_junit(state.directory / "junit.xml", junit(state, matrix, everything=everything))
