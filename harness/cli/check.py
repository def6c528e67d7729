# SPDX-License-Identifier: MIT
"""``harness check``: judges recorded runs again, without a guest and without changing them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.output import complain, say, say_json_list
from harness.cli.parameters import Json, JUnitAll, RunPaths
from harness.errors import ExitCode, UsageError, system_errors, worst
from harness.invocation import quoted
from harness.report.escape import printable
from harness.report.style import style_for

if TYPE_CHECKING:
    from harness.contract.coverage import RuleCoverage
    from harness.contract.verdict import Judged, RunVerdict
    from harness.run.judging import Opened


def check(
    runs: RunPaths,
    timeline: Annotated[
        bool,
        typer.Option(
            "--timeline", "--verbose", "-v", help="Also print the timeline and the whole verdict of each run."
        ),
    ] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="With --timeline: every record, one line each.")
    ] = False,
    full: Annotated[bool, typer.Option("--full", help="Also print the whole verdict of each run.")] = False,
    junit: Annotated[
        Path | None, typer.Option("--junit", metavar="FILE", help="Also write the verdicts as JUnit XML.")
    ] = None,
    junit_all: JUnitAll = False,
    json: Json = False,
) -> int:
    """Judge recorded runs again, several at once, without a guest and without changing them.

    The exit code is that of the worst run. An unreadable run does not prevent judging the others.
    """
    from harness.cli.judged import judged
    from harness.cli.run_set import runs_named
    from harness.contract.coverage import coverage
    from harness.run.judging import open_history

    paths = runs_named(runs)
    # A run that is judged in this process is shown from its already decoded records.
    opened = lru_cache(maxsize=1)(open_history)
    if junit is not None and not junit.parent.is_dir():
        raise UsageError(f"--junit: there is no directory {junit.parent}", hint=f"mkdir -p {junit.parent}")
    if junit_all and junit is None:
        raise UsageError("--junit-all needs --junit", hint="Name the file: --junit FILE --junit-all.")
    codes: list[ExitCode] = []
    several = len(paths) > 1
    text = _Text(opened, timeline=timeline, everything=everything, whole=full or timeline, several=several)
    views = _views(text, several=several, json=json)
    if junit is not None:
        views.append(_JUnit(junit, everything=junit_all))
    with judged(paths, quiet=json or full or timeline, opened=opened) as results:

        def verdicts() -> Iterator[RunVerdict]:
            for run in results:
                codes.append(run.exit_code)
                for view in views:
                    view.add(run)
                if run.verdict is not None:
                    yield run.verdict

        rules = coverage(verdicts())
    for view in views:
        view.end(rules, worst(codes))
    return worst(codes)


def _views(text: _Text, *, several: bool, json: bool) -> list[_View]:
    views: list[_View] = [_Json() if json else text]
    if several and not json:
        views.append(_Table(after_verdicts=text.whole))
    return views


class _View:
    """An output of the results: called for each run, then for the set."""

    def add(self, run: Judged) -> None:
        raise NotImplementedError

    def end(self, rules: list[RuleCoverage], code: ExitCode, /) -> None:
        """Finish: all runs are judged."""


class _Json(_View):
    """One JSON document. Each run is kept as encoded bytes and printed run by run: there may be thousands."""

    def __init__(self) -> None:
        self._runs: list[bytes] = []

    def add(self, run: Judged) -> None:
        import msgspec

        # A path need not be UTF-8 text, but a document must.
        path, error = (text.encode(errors="backslashreplace").decode() for text in (str(run.path), run.error))
        document: dict[str, Any] = {"path": path, "exit_code": run.exit_code}
        if run.verdict is not None:
            document["verdict"] = run.verdict
            if run.joined:
                document["joined"] = run.joined
        else:
            document["error"] = {"message": error, "hint": run.hint}
        self._runs.append(msgspec.json.encode(document))

    def end(self, rules: list[RuleCoverage], code: ExitCode, /) -> None:
        say_json_list("runs", self._runs, {"coverage": rules, "exit_code": code})


class _Text(_View):
    """Text for each run: its whole verdict if requested, and its summary if it is the only one."""

    def __init__(
        self, opened: Opened, *, timeline: bool, everything: bool, whole: bool, several: bool
    ) -> None:
        self._timeline = timeline
        self._everything = everything
        self._several = several
        self.whole = whole
        self._first = True
        self._errors: list[tuple[str, str]] = []
        self._opened = opened

    def add(self, run: Judged) -> None:
        from harness.cli.conclusion import say_details, say_summary

        if self._several and not self.whole:
            # Printed at the end: the progress bar is on the screen.
            if run.verdict is None:
                self._errors.append((run.error, run.hint))
            return
        if run.verdict is None:
            complain(run.error, run.hint)
            return
        if not self._first:
            say("")
        self._first = False
        history = self._opened(run.path)
        if self.whole:
            say_details(run.verdict, history, timeline=self._timeline, everything=self._everything)
        if not self._several:
            notes = [run.joined] if run.joined else []
            say_summary(run.verdict, history, path=run.path, notes=notes, detailed=self.whole)
            return
        say([f"Run directory: {quoted(run.path)}", *([printable(run.joined, 500)] if run.joined else [])])

    def end(self, _rules: list[RuleCoverage], _code: ExitCode, /) -> None:
        for message, hint in self._errors:
            complain(message, hint)


class _Table(_View):
    def __init__(self, *, after_verdicts: bool) -> None:
        from harness.report.run_table import RunTable

        self._after_verdicts = after_verdicts
        self._table = RunTable(style_for(sys.stdout))

    def add(self, run: Judged) -> None:
        self._table.add(run)

    def end(self, rules: list[RuleCoverage], code: ExitCode, /) -> None:
        if self._after_verdicts:
            say("")
        say(self._table.lines(rules, code))


class _JUnit(_View):
    def __init__(self, path: Path, *, everything: bool) -> None:
        from harness.report.junit import JUnit

        self._path = path
        self._junit = JUnit(everything=everything)

    def add(self, run: Judged) -> None:
        self._junit.add(run)

    def end(self, _rules: list[RuleCoverage], _code: ExitCode, /) -> None:
        from harness.report.junit import write

        with system_errors(f"cannot write {self._path}"):
            write(self._path, self._junit.document())
