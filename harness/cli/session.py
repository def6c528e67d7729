# SPDX-License-Identifier: MIT
"""A session on the command line: its lines come from the terminal or standard input. Prints the result of its last
run."""

from __future__ import annotations

import sys

from harness.cli.output import complain_of, say_json
from harness.cli.run import result_document, show_interrupted, show_result
from harness.errors import ExitCode, UsageError
from harness.history.reader import History
from harness.invocation import program
from harness.report.stage_view import StageView
from harness.report.style import style_for
from harness.repro.attachment import is_command
from harness.repro.differences import Differences
from harness.repro.interactive_run import InteractiveRun, SessionOpening
from harness.repro.prompt import lines_for
from harness.repro.recorded_run import RepeatableRun
from harness.run.request import RunRequest
from harness.run.run import RunInterrupted


def perform_session(
    request: RunRequest,
    *,
    recorded: RepeatableRun | None = None,
    steps: int = 0,
    opening: SessionOpening = "prompt",
    differences: Differences | None = None,
    json: bool,
    verbose: bool,
) -> int:
    """Run a session and print the result of its last run. Return the exit code: 64 for a script with a refused line.

    With ``json`` the session writes to standard error, so that standard output has only the document.
    """
    style = style_for(sys.stderr if json else sys.stdout)

    def say(line: str) -> None:
        # Looked up for each line, because an open prompt replaces the stream.
        stream = sys.stderr if json else sys.stdout
        # One write: the stream of an open prompt has no writelines.
        whole = is_command(line) or f"{program()} " in line
        stream.write("".join(f"{piece}\n" for piece in ([line] if whole else style.fold(line))))
        stream.flush()

    # A missing prompt package is reported before a guest boots.
    lines = lines_for(request.cache / "repro-history", say)
    view = StageView(quiet=json)
    runs = InteractiveRun(
        request,
        lambda: lines,
        say,
        opening=opening,
        steps=steps,
        recorded=None if recorded is None else History(recorded.directory),
        listeners=(view,),
        learnt=differences or (lambda _: None),
        ready=view.close,
    )
    try:
        with view:
            done = runs.perform()
    except RunInterrupted as stop:
        return show_interrupted(stop, json=json, verbose=verbose)
    result = done.results[-1]
    if isinstance(result.error, UsageError):
        raise result.error
    notes = [] if differences is None else differences.lines()
    notes += [f"An earlier run of the session: {one.directory}" for one in done.results[:-1]]
    if json:
        document = result_document(result)
        if earlier := [str(one.directory) for one in done.results[:-1]]:
            document["earlier"] = earlier
        if recorded is not None and differences is not None:
            document |= {"repro_of": str(recorded.directory), "differences": differences.notes}
        say_json(document)
    else:
        show_result(result, json=False, verbose=verbose, notes=notes)
    if done.refused is not None:
        complain_of(done.refused)
        return ExitCode.USAGE
    return result.exit_code
