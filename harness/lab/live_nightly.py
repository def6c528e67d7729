# SPDX-License-Identifier: MIT
"""The state of a nightly run under way: its runs, their stages, and the time that is left.

The process of the nightly run writes the state to :data:`NOW` in its directory, for other processes to show. Nothing
depends on the file: a continued nightly run writes a new one.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import Counter
from pathlib import Path

import msgspec

from harness.history.json_file import read_json
from harness.history.private import write_private
from harness.host.registry import ProcessName
from harness.lab.matrix import Matrix
from harness.lab.nightly_pass import NightlyPass, UnderWay
from harness.lab.nightly_state import NightlyState
from harness.lab.run_progress import FollowedRuns, RunProgress
from harness.lab.summary import WORDS, word

NOW = "now.json"
"""The name of the file in the directory of a nightly run that is under way."""

PAUSE_S = 1.0
"""Seconds between two versions of the file."""

SILENT_S = 60.0
"""Seconds without a change of the file after which a nightly run of another host counts as ended."""

MOST_NEXT = 5
"""The number of next cells that are named."""


class LiveRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run that is under way. ``seconds`` since its start, ``expected`` seconds in all.

    ``stage`` is "" until its run directory, ``run``, is known; on another host it is that of
    :class:`harness.fleet.nightly.FleetAttempt`. ``operation`` is the number of the plan operation, 0 before the
    first of ``operations``, and ``doing`` is its name, "" between operations. ``attempt`` is 2 for a repetition.
    """

    cell: str
    host: str
    attempt: int
    run: str
    stage: str
    operation: int
    operations: int
    doing: str
    seconds: float
    expected: float


class LiveNightly(msgspec.Struct, frozen=True, kw_only=True):
    """A nightly run that is under way, ``at`` seconds since the epoch.

    ``over`` of ``planned`` runs have ended; ``counts`` are their results. ``left`` is the expected time of the rest in
    seconds, None if unknown. ``until`` is the end time in seconds since the epoch, None without one. ``held`` says why
    no run can start now, "" if runs can. ``ending``: the runs under way are being ended. ``next`` are the cells that
    come next. ``exploring`` says what is explored after the runs have ended, "" before that.
    """

    night: str
    lab: str
    directory: str
    host: str
    process: ProcessName | None
    at: float
    planned: int
    over: int
    counts: dict[str, int]
    parallel: int
    running: list[LiveRun]
    next: list[str]
    left: float | None
    until: float | None
    held: str
    ending: bool
    exploring: str = ""

    @property
    def under_way(self) -> bool:
        """Whether its process still runs, as far as this host knows."""
        if self.host != os.uname().nodename:
            return abs(time.time() - self.at) < SILENT_S
        return self.process is not None and self.process.alive()


class NightlyWatch:
    """Observes a nightly run of this process. :meth:`look` can be called at any rate."""

    def __init__(self, nightly: NightlyPass, state: NightlyState, matrix: Matrix) -> None:
        self._nightly = nightly
        self._state = state
        self._matrix = matrix
        self._runs = FollowedRuns(state.directory / "runs")
        self._operations: dict[str, int] = {}
        self._process = ProcessName.of(os.getpid())
        self._host = os.uname().nodename
        self._written = 0.0
        self._counts: Counter[str] = Counter()
        self._counted: set[str] = set()

    def look(self) -> LiveNightly:
        """Return the current state. Also write it to the file if the file is old."""
        nightly, state = self._nightly, self._state
        found = self._runs.look(tuple(child.words) for child in nightly.running)
        now = time.monotonic()
        for name in [name for name in state.outcomes if name not in self._counted]:
            self._counted.add(name)
            self._counts[word(state.outcomes[name])] += 1
        live = LiveNightly(
            night=state.head.name,
            lab=state.head.lab,
            directory=str(state.directory),
            host=self._host,
            process=self._process,
            at=time.time(),
            planned=len(self._matrix.cells),
            over=len(state.outcomes),
            counts={name: self._counts[name] for name in WORDS if self._counts[name]},
            parallel=nightly.parallel,
            running=[
                self._run(child, found.get(tuple(child.words)), seconds=now - child.began)
                for child in nightly.running
            ],
            next=nightly.coming(MOST_NEXT),
            left=nightly.estimate(),
            until=nightly.until,
            held=nightly.held,
            ending=nightly.ending,
            exploring=_exploring(state),
        )  # fmt: skip
        if now - self._written >= PAUSE_S:
            self._written = now
            # The disk may be full. An error of the display must not end the nightly run.
            with contextlib.suppress(OSError):
                write_private(state.directory / NOW, msgspec.json.encode(live))
        return live

    def close(self) -> None:
        """Remove the file."""
        with contextlib.suppress(OSError):
            (self._state.directory / NOW).unlink()

    def _run(self, child: UnderWay, found: RunProgress | None, *, seconds: float) -> LiveRun:
        point = child.cell.point
        if point not in self._operations:
            self._operations[point] = len(self._matrix.requests[point].plan.do)
        return LiveRun(
            cell=child.cell.id,
            host=getattr(child, "where", self._host),
            attempt=child.number,
            run=found.directory.name if found is not None else "",
            stage=found.stage if found is not None else getattr(child, "stage", ""),
            operation=found.operation if found is not None else 0,
            operations=self._operations[point],
            doing=found.doing if found is not None else "",
            seconds=round(seconds, 1),
            expected=round(self._nightly.expected.of(child.cell), 1),
        )


def _exploring(state: NightlyState) -> str:
    """Return what is explored: the guest, and how far that is."""
    if not state.explored or (report := state.explored[-1].report) is None:
        return ""
    new = len(report.findings)
    return f"{state.explored[-1].name}: {report.plans} plans, {new} new finding{'s' if new != 1 else ''}"


def read_now(directory: Path) -> LiveNightly | None:
    """Return the state of the nightly run at ``directory``, None if it is not under way."""
    live = read_json(directory / NOW, LiveNightly)
    return live if live is not None and live.under_way else None


def under_way(into: Path) -> list[LiveNightly]:
    """Return the nightly runs in ``into`` that are under way, the newest first."""
    try:
        names = [path for path in into.iterdir() if not path.is_symlink()]
    except OSError:
        return []
    found = [live for path in names if (live := read_now(path)) is not None]
    return sorted(found, key=lambda live: live.directory, reverse=True)
