# SPDX-License-Identifier: MIT
"""``harness nightly --watch``: shows a nightly run of another process, and changes nothing."""

from __future__ import annotations

from pathlib import Path

from harness.cli.nightly_view import NightlyView
from harness.cli.output import say, say_json
from harness.deadline import Deadline
from harness.errors import ExitCode, UsageError
from harness.invocation import invocation
from harness.lab.live_nightly import LiveNightly, read_now, under_way
from harness.lab.nightly_state import STATE, CellOutcome, read_outcomes, read_state

LOOK_S = 0.5
"""Seconds between two reads of its file."""

LONGEST_S = 30 * 86_400.0
"""Seconds without an update after which the watch ends."""


def watch_nightly(into: Path, name: str, *, json: bool) -> int:
    """Show the nightly run called ``name`` in ``into``, or the newest, until it ends. Raises UsageError if there is
    none.

    With ``json``, print its current state once.
    """
    live = _chosen(into, name)
    if json:
        say_json(live)
        return ExitCode.HOLDS
    directory = Path(live.directory) if Path(live.directory).is_dir() else into / live.night
    results = _Results(directory)
    with NightlyView() as view:

        def ended() -> bool:
            now = read_now(directory)
            for outcome in results.fresh():
                view.over(outcome, number=results.count, planned=live.planned)
            if now is not None:
                view.now(now)
            return now is None

        Deadline(LONGEST_S, "watch a nightly run").poll(ended, interval=LOOK_S)
    say(_last_words(directory))
    return ExitCode.HOLDS


def _chosen(into: Path, name: str) -> LiveNightly:
    found = under_way(into)
    if name:
        now = read_now(into / name)
        found = [now] if now is not None else []
    if not found:
        what = (
            f"the nightly run {name!r} is not under way in {into}"
            if name
            else f"no nightly run is under way in {into}"
        )
        raise UsageError(
            what,
            hint=f"Start one: {invocation('nightly', '--once')}. For another directory of nightly runs, give --into DIR.",
        )
    return found[0]


class _Results:
    """The new results in a nightly run's state, from the first look on."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / STATE
        try:
            _, outcomes, self._at = read_state(self._file.read_bytes())
        except (OSError, ValueError):
            outcomes, self._at = {}, 0
        self.count = len(outcomes)

    def fresh(self) -> list[CellOutcome]:
        """Return the results since the last look."""
        try:
            with self._file.open("rb") as file:
                file.seek(self._at)
                found, length = read_outcomes(file.read())
        except OSError:
            return []
        self._at += length
        self.count += len(found)
        return found


def _last_words(directory: Path) -> list[str]:
    """Return the first lines of the summary of a nightly run that has ended."""
    try:
        lines = (directory / "summary.txt").read_text("utf-8", "replace").splitlines()[:2]
    except OSError:
        lines = []
    return [*lines, f"The nightly run has ended: {directory}"]
