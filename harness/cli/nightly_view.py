# SPDX-License-Identifier: MIT
"""The live view of a nightly run: each result as it comes. On a terminal, the runs under way are shown below.

Other streams get plain lines: one for each result, and one a minute without a result.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TextIO

import msgspec

from harness.cli.output import complain, complaint
from harness.host.end_time import shown
from harness.lab.live_nightly import LiveNightly, LiveRun
from harness.lab.nightly_state import CellOutcome
from harness.lab.summary import WORDS, word
from harness.report.duration import duration
from harness.report.escape import printable
from harness.report.live_block import LiveBlock
from harness.report.style import Style, columns, rows

QUIET_S = 60.0
"""Seconds without a line after which a stream that is not a terminal gets one."""

AHEAD_S = 5.0
"""Seconds for which the times of runs go on without a new state. On a busy host it comes late, and a run may have ended meanwhile."""

MOST_SAID = 3
"""The most runs under way that such a line names."""

WHAT_W, TIME_W = 20, 16
"""Columns for the stage, and for the time, of a run."""

BAR_W = 30

SHORTEST_NAME = 8
"""Columns below which the first line has no name at all."""

ENDING = "ending the runs under way; the same signal again ends them at once"


class NightlyView(LiveBlock):
    """The live view of a nightly run: each result, and the runs under way. Use it in a ``with`` statement, whose end
    stops it.

    ``quiet`` shows only complaints. Other parameters are those of :class:`LiveBlock`.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        *,
        quiet: bool = False,
        terminal: bool | None = None,
        style: Style | None = None,
    ) -> None:
        super().__init__(stream, quiet=quiet, terminal=terminal, style=style)
        self._quiet = quiet
        self._live: LiveNightly | None = None
        self._seen = self._last = time.monotonic()
        self._said_ending = False

    def over(self, outcome: CellOutcome, *, number: int, planned: int) -> None:
        """Show the result of a run, the ``number``-th of ``planned``."""
        name = word(outcome)
        paint = {"holds": self._style.good, "violated": self._style.bad}.get(name, self._style.doubtful)
        why = "" if name == "holds" else f"  {printable(outcome.reason, 160)}"
        count = "" if self._terminal else f"[{number}/{planned}] "
        with self._changed:
            # The next state may come late. Until then the block must not contradict the line above it.
            if self._live is not None:
                self._live = _without(self._live, outcome, number)
        self._lines([f"{count}{paint(name)}  {outcome.cell}  {outcome.seconds:.0f} s{why}"])

    def complain(self, message: str, hint: str = "") -> None:
        """Print a message of the command, above the runs under way."""
        if self._quiet:
            complain(message, hint)
        else:
            self._lines(complaint(message, hint))

    def say(self, line: str) -> None:
        """Print a line of progress, above what runs now."""
        if not self._quiet:
            self._lines([printable(line, 300)])

    def now(self, live: LiveNightly) -> None:
        """Show the current state."""
        with self._changed:
            first = self._live is None
            # The file of another process may be older than the results that were read after it.
            if self._live is None or live.over >= self._live.over:
                self._live, self._seen = live, time.monotonic()
            if self._terminal:
                if first:
                    self._show([])
                return
            silent = time.monotonic() - self._last >= QUIET_S
        if live.ending and not self._said_ending:
            self._said_ending = True
            self._lines([ENDING])
        elif silent:
            self._lines([still(live)])

    def _lines(self, lines: list[str]) -> None:
        with self._changed:
            self._last = time.monotonic()
            self._show(lines)

    def _block(self) -> list[str]:
        if self._live is None:
            return []
        return block(
            self._live,
            width=columns(self._stream) - 1,
            height=rows(self._stream) - 2,
            later=min(time.monotonic() - self._seen, AHEAD_S),
        )


def _without(live: LiveNightly, outcome: CellOutcome, number: int) -> LiveNightly:
    """Return the state after a run has ended, the ``number``-th."""
    if live.over >= number:
        return live
    counts = Counter(live.counts)
    counts[word(outcome)] += 1
    return msgspec.structs.replace(
        live, over=number, counts={name: counts[name] for name in WORDS if counts[name]},
        running=[run for run in live.running if run.cell != outcome.cell],
    )  # fmt: skip


def block(live: LiveNightly, *, width: int, height: int, later: float = 0.0) -> list[str]:
    """Return the current state in at most ``height`` lines of ``width`` columns, ``later`` seconds after it was
    read."""
    done = live.over * BAR_W // max(1, live.planned)
    counts = ", ".join(f"{name} {number}" for name, number in live.counts.items()) or "no result yet"
    lines = [
        _head(live, width),
        f"[{'#' * done}{'.' * (BAR_W - done)}] {100 * live.over // max(1, live.planned)} %  {counts}",
    ]
    if live.ending:
        lines.append(ENDING)
    elif live.exploring:
        lines.append(f"exploring {live.exploring}")
        if live.held:
            lines.append(f"no plan starts: this host is {printable(live.held, 300)}")
    elif live.held:
        lines.append(f"no run starts: this host is {printable(live.held, 300)}")
    elif live.until is not None:
        lines.append(f"no run starts that is expected to end after {shown(live.until)}")
    after = [_next(live.next, width)] if live.next and not live.ending else []
    room = max(1, height - len(lines) - len(after))
    several = len({run.host for run in live.running}) > 1
    runs = [_row(run, width, later, several=several) for run in live.running]
    if len(runs) > room:
        runs = [*runs[: room - 1], f"  … and {len(runs) - room + 1} more"]
    return [_cut(line, width) for line in [*lines, *runs, *after]][:height]


def _head(live: LiveNightly, width: int) -> str:
    """Return the first line. If it is too long, the names are cut, never the numbers."""
    numbers = _summary(live)
    room = width - len(numbers) - 2
    name = f"{live.night} of {live.lab}"
    whole = f"Nightly run {name}"
    if len(whole) <= room:
        return f"{whole}: {numbers}"
    return f"{_cut(name, room)}: {numbers}" if room >= SHORTEST_NAME else numbers


def still(live: LiveNightly) -> str:
    """Return the current state as one line."""
    runs = [f"{run.cell} {doing(run)} {duration(run.seconds)}" for run in live.running[:MOST_SAID]]
    more = f", and {len(live.running) - MOST_SAID} more" if len(live.running) > MOST_SAID else ""
    held = f"; no run starts: this host is {printable(live.held, 300)}" if live.held else ""
    named = f": {', '.join(runs)}{more}" if runs else ""
    explored = f"; exploring {live.exploring}" if live.exploring else ""
    return f"[{live.over}/{live.planned}] {_summary(live)}{named}{explored}{held}"


def doing(run: LiveRun) -> str:
    """Return what a run is doing, in a few words: its plan operation, or else its stage."""
    again = "again: " if run.attempt > 1 else ""
    if run.doing:
        return f"{again}{run.operation}/{run.operations} {printable(run.doing, 40)}"
    if run.stage:
        return f"{again}{printable(run.stage, 40)}"
    if run.operation == 0:
        return f"{again}starting"
    return f"{again}ending" if run.operation >= run.operations else f"{again}{run.operation}/{run.operations}"


def _next(cells: list[str], width: int) -> str:
    """Return the cells that come next, as many as fit."""
    text = f"next: {cells[0]}"
    for cell in cells[1:]:
        if len(text) + len(cell) + 2 > width:
            break
        text += f", {cell}"
    return text


def _summary(live: LiveNightly) -> str:
    left = "" if live.left is None else f", about {duration(live.left)} left"
    return f"{live.over} of {live.planned} runs ended, {len(live.running)} under way{left}"


def _row(run: LiveRun, width: int, later: float, *, several: bool) -> str:
    host = f"{run.host}: " if several else ""
    space = max(10, width - WHAT_W - TIME_W - 6)
    took = f"{_short(run.seconds + later)} of {_short(run.expected)}"
    return f"  {_cut(host + run.cell, space):<{space}}  {_cut(doing(run), WHAT_W):<{WHAT_W}}  {took}"


def _short(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"


def _cut(text: str, width: int) -> str:
    """Return ``text`` in at most ``width`` columns. A longer text loses its middle."""
    if len(text) <= width:
        return text
    keep = max(1, width - 1)
    return f"{text[: keep - keep // 2]}…{text[len(text) - keep // 2 :]}"
