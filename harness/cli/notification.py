# SPDX-License-Identifier: MIT
"""The end of a nightly run: its cells in the store, its morning summary in files, and the notification command.

A failure here is reported, and does not change the exit code.
"""

from __future__ import annotations

import shlex
import shutil
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec

from harness.choice import check_choice
from harness.cli.output import complain, complain_of
from harness.deadline import Deadline
from harness.errors import HarnessError, InfrastructureError, UsageError, system_errors
from harness.history.private import write_private
from harness.invocation import invocation
from harness.lab import summary
from harness.lab.matrix import Matrix
from harness.lab.nightly_state import NightlyState
from harness.program import run_program
from harness.store.database import Database
from harness.store.metrics import metrics, text, write_metrics
from harness.store.morning import Morning, morning, unkept
from harness.store.nightly_keeper import NightlyKeeper
from harness.store.questions.nightly_comparison import NightlyComparison, nightly_comparison

FORMS = ("text", "markdown", "html")
SUFFIXES = {"text": "txt", "markdown": "md", "html": "html"}

LONGEST_S = 60.0
"""Seconds that the command may take."""


def notification(command: str, form: str) -> list[str]:
    """Return the arguments of the notification command. Raises UsageError for one that a shell could not parse either.

    A program that is not there now is reported, because it is needed only after the last run.
    """
    check_choice("form of --notify-as", form, FORMS)
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UsageError(
            f"--notify: {command!r} is not a command: {error}", hint="Close its quotes."
        ) from error
    if words and shutil.which(words[0]) is None:
        complain(
            f"--notify: there is no program '{words[0]}' yet",
            "Without it, the morning summary is in the directory of the nightly run only. The runs do not need it.",
        )
    return words


def check_metrics(file: Path | None) -> None:
    """Raise UsageError for a file of metrics that node_exporter's textfile collector would not read."""
    if file is not None and not file.name.endswith(".prom"):
        raise UsageError(
            f"--metrics: the name of '{file}' does not end in .prom",
            hint="node_exporter's textfile collector reads no other files.",
        )


def tell_morning(
    keeper: NightlyKeeper,
    state: NightlyState,
    matrix: Matrix,
    *,
    command: list[str],
    form: str,
    metrics: Path | None,
) -> None:
    """Load what is not in the store yet, write summary and metrics, and pass the summary to the command."""
    compared = _compared(keeper, state)
    found = _morning(compared, state, matrix)
    steps: list[Callable[[], None]] = [partial(_write, state, found)]
    if metrics is not None:
        steps.append(partial(_measure, metrics, compared, state, matrix))
    if command:
        steps.append(partial(_notify, command, found, form))
    for step in steps:
        # A failure of one step does not prevent the others.
        try:
            step()
        except HarnessError as error:
            complain_of(error)
        except OSError as error:
            complain(f"cannot report the nightly run: {error.strerror or error}")


def _measure(file: Path, compared: NightlyComparison | None, state: NightlyState, matrix: Matrix) -> None:
    write_metrics(file, text(metrics(state, matrix, compared, now=time.time()), matrix.document.name))


def _morning(compared: NightlyComparison | None, state: NightlyState, matrix: Matrix) -> Morning:
    if compared is None:
        return unkept(summary.lines(state, matrix))
    explored = summary.exploring(state) if state.explored else ""
    found = morning(compared, matrix.document.known, left_out=state.out_of_time, explored=explored)
    if lost := summary.lost(state):
        first = msgspec.structs.replace(found.lines[0], said="; ".join([found.lines[0].said, *lost]))
        found = msgspec.structs.replace(found, lines=[first, *found.lines[1:]])
    return found


def _compared(keeper: NightlyKeeper, state: NightlyState) -> NightlyComparison | None:
    """Return the nightly run and the previous one; None, with a message, if it is not in the store."""
    error = keeper.finish()
    if error is None:
        try:
            with Database.open(keeper.address) as store, store.reading() as connection:
                return nightly_comparison(connection, lab=state.head.lab, name=state.head.name)
        except HarnessError as late:
            error = late
    later = f"To load it later: {invocation('store', 'load', state.directory)}"
    complain(
        f"this nightly run is not in the result store: {error.message}", f"{error.hint}\n{later}".strip()
    )
    return None


def _write(state: NightlyState, found: Morning) -> None:
    with system_errors(f"cannot write the morning summary in {state.directory}"):
        for form, suffix in SUFFIXES.items():
            write_private(state.directory / f"morning.{suffix}", _as(found, form))


def _as(found: Morning, form: str) -> str:
    return {"text": found.text, "markdown": found.markdown, "html": found.html}[form]()


def _notify(command: list[str], found: Morning, form: str) -> None:
    with tempfile.TemporaryFile() as data:
        data.write(_as(found, form).encode("utf-8", "replace"))
        data.seek(0)
        ended = run_program(
            command, Deadline(LONGEST_S, "reporting the nightly run"), data=data, supply="Check --notify."
        )
    if ended.status != 0:
        raise InfrastructureError(f"--notify: '{command[0]}' failed: {ended.failure()}")
