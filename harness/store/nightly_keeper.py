# SPDX-License-Identifier: MIT
"""The nightly keeper: loads each cell of a nightly run into the store as it ends. Its errors never stop the nightly
run.

A cell that cannot be loaded is loaded later: with a cell that ends a minute later, at the end of the nightly run, or
by ``harness store load``. A cell whose entry has changed since, by the late result of an earlier attempt, is loaded again at
the end. The run directories and the nightly run's state keep it meanwhile.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import HarnessError, MissingPart
from harness.lab.nightly_state import CellOutcome, NightlyState
from harness.store.address import StoreAddress
from harness.store.recorded_run import is_run
from harness.store.source import RunSource, cell_sources, night_sources

if TYPE_CHECKING:
    from harness.store.database import Database

SHORT_S = 3.0
"""Seconds to wait for the store while runs are under way."""

PAUSE_S = 60.0
"""Seconds from a failure to the next attempt."""


class NightlyKeeper:
    """Keeps one nightly run in the store at ``address``. ``failure`` is the error of the last attempt, None if it
    succeeded."""

    def __init__(self, address: StoreAddress, state: NightlyState) -> None:
        self.address = address
        self.failure: HarnessError | None = None
        self._state = state
        # Cells that ended before this process began may not have been loaded.
        self._all = bool(state.outcomes)
        self._waiting: list[CellOutcome] = []
        self._loaded: dict[str, CellOutcome] = {}
        self._not_before = 0.0
        self._store: Database | None = None

    def note(self, outcome: CellOutcome) -> HarnessError | None:
        """Load a cell that has ended. Return the error if this is the first failed attempt, None otherwise.

        A missing package is reported only at the end, because it fails for every cell.
        """
        self._waiting.append(outcome)
        if isinstance(self.failure, MissingPart) or time.monotonic() < self._not_before:
            return None
        first = self.failure is None
        self._try(SHORT_S)
        return self.failure if first and not isinstance(self.failure, MissingPart) else None

    def finish(self) -> HarnessError | None:
        """Load the cells that are not loaded as they are now, and close the store. Return the error if that fails."""
        outcomes = self._state.outcomes
        self._waiting = [one for one in outcomes.values() if self._loaded.get(one.cell) is not one]
        if self._waiting or self._all or self._found():
            self._try(0)
        self.close()
        return self.failure

    def close(self) -> None:
        """Close the store."""
        if self._store is not None:
            self._store.close()
            self._store = None

    def _try(self, wait: float) -> None:
        from harness.store.database import Database
        from harness.store.loader import load

        try:
            if self._store is None:
                self._store = Database.open(self.address, make=True, wait=wait)
            load(self._store, self._sources())
            self._store.release_memory()
        except HarnessError as error:
            self.failure = error
            self._not_before = time.monotonic() + PAUSE_S
            self.close()
        else:
            self.failure = None
            done = self._state.outcomes.values() if self._all else self._waiting
            self._loaded |= {one.cell: one for one in done}
            self._all = False
            self._waiting.clear()

    def _sources(self) -> list[RunSource]:
        state = self._state
        if self._all:
            return [*night_sources(state.directory), *self._found()]
        cells = [
            source
            for outcome in self._waiting
            for source in cell_sources(state.directory, state.head, outcome)
        ]
        return [*cells, *self._found()]

    def _found(self) -> list[RunSource]:
        """Return the runs of what exploring found; they are not runs of the nightly run's cells."""
        reports = [one.report for one in self._state.explored if one.report is not None]
        runs = [Path(finding.run) for report in reports for finding in report.findings if finding.run]
        return [RunSource(path=run) for run in runs if is_run(run)]
