# SPDX-License-Identifier: MIT
"""Judges the runs of a command line, with a progress bar on standard error if it takes long and that is a
terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from harness.cli.output import progress_bar
from harness.contract.verdict import Judged
from harness.report.style import is_terminal
from harness.run.judging import Opened, history_size, judge_runs, open_history

LONG = 4 << 20
"""Minimum bytes of histories for a progress bar."""


@contextmanager
def judged(paths: Sequence[Path], *, quiet: bool, opened: Opened | None = None) -> Iterator[Iterator[Judged]]:
    """Yield the results of all runs, in the given order, as they become available. Leaving the block ends all processes.

    ``opened`` opens a history that is judged in this process.

    ``quiet`` shows no bar; set it if the caller prints before the block is left.
    """
    with (
        _bar(paths, quiet=quiet) as (begun, done),
        closing(judge_runs(paths, begun=begun, done=done, opened=opened or open_history)) as results,
    ):
        yield results


@contextmanager
def _bar(
    paths: Sequence[Path], *, quiet: bool
) -> Iterator[tuple[Callable[[], None] | None, Callable[[Path], None] | None]]:
    """Return the bar's context, and the function to call for each run."""
    sizes = {path: history_size(path) for path in paths}
    if quiet or not is_terminal(sys.stderr) or sum(sizes.values()) < LONG:
        yield None, None
        return
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn

    counted = TextColumn("{task.fields[runs]} of " + f"{len(paths)} runs")
    bar = progress_bar(TextColumn("judging"), BarColumn(), counted, TimeElapsedColumn())
    task = bar.add_task("judging", total=sum(sizes.values()), runs=0)
    ended: list[Path] = []

    def done(path: Path) -> None:
        ended.append(path)
        bar.update(task, advance=sizes[path], runs=len(ended))

    try:
        yield bar.start, done
    finally:
        bar.stop()
