# SPDX-License-Identifier: MIT
"""Prints the end of a run: on request everything that is known about it, then a screen of the main results,
last the verdict."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.cli.output import complain, say
from harness.contract.explanation import explainer
from harness.contract.verdict import RunVerdict, Verdict
from harness.errors import HarnessError
from harness.history.reader import History
from harness.invocation import program
from harness.report.escape import printable
from harness.report.run_summary import LINES, WIDTH, Failure, shortened, summary_lines
from harness.report.style import is_terminal, style_for
from harness.report.timeline import HEADING, timeline
from harness.report.verdict_text import verdict_lines

FEWEST_LINES = 8
"""Minimum number of lines of the summary, however long an error's message is."""

MOST_MESSAGE, MOST_HINT = 6, 3
"""Maximum rows of an error's message and of its hint; ``--verbose`` prints all."""


def say_details(
    verdict: RunVerdict, history: History, *, timeline: bool = True, everything: bool = False
) -> None:
    """Print the timeline, if requested, and the whole verdict: every finding, observation and rule not exercised.

    With ``everything``, each record has a line in the timeline.
    """
    style = style_for(sys.stdout)
    if timeline:
        say(timeline_lines(history, everything=everything))
    say([*verdict_lines(verdict, explain=explainer(history), style=style), ""])


def timeline_lines(history: History, *, everything: bool) -> Iterator[str]:
    """Yield the timeline with its heading, the place where a damaged history stops, and an empty line."""
    yield HEADING
    yield from timeline(history, everything=everything, style=style_for(sys.stdout))
    if history.damage:
        yield f"The history can be read up to here: {printable(history.damage, 300)}"
    yield ""


def say_summary(
    verdict: RunVerdict,
    history: History,
    *,
    path: Path,
    error: HarnessError | None = None,
    failure: Failure | None = None,
    notes: Sequence[str] = (),
    detailed: bool = False,
) -> None:
    """Print the error that ended the run, if any, on standard error, then the summary, whose last line is the verdict.

    ``detailed`` says that everything else was already printed; the error is then printed completely, else in
    a few rows.
    """
    left = LINES
    if error is not None:
        rows = complaint(error.message, None if detailed else MOST_MESSAGE)
        hints = complaint(error.hint, None if detailed else MOST_HINT)
        complain("\n".join(rows), "\n".join(hints))
        left = max(FEWEST_LINES, LINES - len(rows) - len(hints))
    say(
        summary_lines(
            verdict,
            history,
            path=path,
            failure=failure,
            notes=[*notes, *fault_note(verdict, history.path.parent)],
            lines=left,
            detailed=detailed,
            style=style_for(sys.stdout),
        )
    )


def fault_note(verdict: RunVerdict, directory: Path) -> list[str]:
    """Return a sentence about the injected fault of the run in ``directory``, if it had one and no rule was broken."""
    from harness.guest.fault_injection import ALL_FAULTS
    from harness.history.run_directory import RunDirectory

    if verdict.verdict is Verdict.VIOLATED:
        return []
    try:
        facts = RunDirectory(directory).facts()
    except HarnessError:
        # A history alone has no facts.
        return []
    if not facts.fault:
        return []
    if verdict.verdict is not Verdict.HOLDS:
        return [f"Injected fault: {facts.fault}"]
    plan = ALL_FAULTS[facts.fault].plan if facts.fault in ALL_FAULTS else ""
    where = f"; it shows in {plan}" if plan and plan != facts.plan.get("name") else ""
    return [f"The injected fault {facts.fault} did not show in this plan{where}."]


def complaint(text: str, most: int | None) -> list[str]:
    """Return an error's text in rows: wrapped on a terminal, and if there are more than ``most``, the first and last ones."""
    width = WIDTH - len("harness: ")

    def rows(line: str) -> list[str]:
        if f"{program()} " in line:
            # A command is never wrapped.
            return [line]
        line = line if most is None else shortened(line, most * width)
        if not is_terminal(sys.stderr):
            return [line]
        return textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False) or [""]

    lines = [row for line in text.splitlines() for row in rows(line)]
    if most is None or len(lines) <= most:
        return lines
    head = most // 2
    return [*lines[:head], f"… {len(lines) - most + 1} lines left out …", *lines[head + 1 - most :]]
