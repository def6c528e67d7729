# SPDX-License-Identifier: MIT
"""``harness check``: judges recorded runs again, without a guest, and writes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.errors import ExitCode, HarnessError, InfrastructureError, worst

if TYPE_CHECKING:
    from harness.contract.verdict import RunVerdict
    from harness.history.reader import History


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("check")(check)


def check(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN", help="Run directories or history files, e.g. runs/latest."),
    ],
    timeline: Annotated[
        bool, typer.Option("--timeline", help="Print the merged timeline of each run too.")
    ] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="With --timeline: every record, one line each.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document for programs.")] = False,
) -> int:
    """Judge recorded runs again. Needs no guest, changes nothing.

    The exit code is that of the worst run. A run that cannot be read does not keep the others from being judged.
    """
    from harness.cli.output import complain_of, say, say_json

    judged: list[_Judged] = []
    for path in _distinct(runs):
        one = _Judged(path)
        judged.append(one)
        if json:
            continue
        if one.error is not None:
            complain_of(one.error)
            continue
        if len(judged) > 1:
            say("")
        if timeline:
            say(one.timeline(everything=everything))
        say(one.text())
    if json:
        say_json({"runs": [one.document() for one in judged], "exit_code": _code(judged)})
    elif len(judged) > 1:
        say(_table(judged))
    return _code(judged)


def _code(judged: list[_Judged]) -> ExitCode:
    return worst([one.exit_code for one in judged])


def _distinct(paths: list[Path]) -> list[Path]:
    """Leave out a run that was named before: ``runs/*`` names the newest twice, once as the link ``runs/latest``."""
    chosen: dict[Path, Path] = {}
    for path in paths:
        real = path.resolve()
        if real not in chosen or chosen[real].is_symlink():
            chosen[real] = path
    return list(chosen.values())


def _open(path: Path) -> History:
    """Open the history at ``path``. Raises BadHistory with what to give instead."""
    from harness.errors import BadHistory
    from harness.history.reader import History

    file = path / "history.jsonl" if path.is_dir() else path
    if path.is_dir() and not file.exists() and (inside := len(list(path.glob("*/history.jsonl")))):
        raise BadHistory(
            f"{path} is no run, but a directory with {inside} of them", hint=f"harness check {path}/*"
        )
    if file.exists() and not file.is_file():
        # Opening a named pipe would wait for a writer for ever.
        raise BadHistory(f"{file} is no regular file", hint="Give a run directory or a history.jsonl.")
    return History(path)


class _Judged:
    """One run of the command line: its verdict, or the error that kept it from having one."""

    def __init__(self, path: Path) -> None:
        from harness.contract.checker import judge_history

        self.path = path
        self.error: HarnessError | None = None
        self.verdict: RunVerdict | None = None
        try:
            self.history = _open(path)
            self.verdict = judge_history(self.history)
        except HarnessError as error:
            self.error = error
        except OSError as error:
            self.error = InfrastructureError(f"cannot read {path}: {error.strerror}")

    @property
    def exit_code(self) -> ExitCode:
        if self.verdict is not None:
            return self.verdict.exit_code
        return self.error.exit_code if self.error else ExitCode.INFRASTRUCTURE

    def timeline(self, *, everything: bool) -> Iterator[str]:
        import sys

        from harness.report.escape import printable
        from harness.report.style import style_for
        from harness.report.timeline import HEADING, timeline

        yield HEADING
        yield from timeline(self.history, everything=everything, style=style_for(sys.stdout))
        if self.history.damage:
            yield f"The history can be read up to here: {printable(self.history.damage, 300)}"
        yield ""

    def text(self) -> list[str]:
        import sys

        from harness.contract.explanation import explainer
        from harness.report.style import style_for
        from harness.report.verdict_text import verdict_lines

        assert self.verdict is not None
        return verdict_lines(
            self.verdict,
            evidence=self.path,
            explain=explainer(self.history),
            style=style_for(sys.stdout),
        )

    def document(self) -> dict[str, Any]:
        if self.verdict is not None:
            return {"path": str(self.path), "exit_code": self.exit_code, "verdict": self.verdict}
        assert self.error is not None
        return {
            "path": str(self.path),
            "exit_code": self.exit_code,
            "error": {"message": self.error.message, "hint": self.error.hint},
        }


def _table(judged: list[_Judged]) -> list[str]:
    from harness.report.escape import printable

    lines = ["", f"{'verdict':<10}{'exit':>4}  {'guest':<20}  run"]
    for one in judged:
        word, guest = (
            (one.verdict.verdict.value, one.verdict.guest) if one.verdict is not None else ("unreadable", "")
        )
        lines.append(
            f"{word:<10}{int(one.exit_code):>4}  {printable(guest, 20):<20}  {printable(str(one.path))}"
        )
    return lines
