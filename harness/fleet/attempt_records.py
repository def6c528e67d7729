# SPDX-License-Identifier: MIT
"""The run directories that hosts of a fleet sent, moved from the exchange into a nightly run's directory."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from harness.deadline import Deadline
from harness.errors import InfrastructureError, system_errors
from harness.fleet.order import NAME
from harness.fleet.placement import SayHint
from harness.fleet.results_place import DamagedAttempt, Note, ResultsPlace
from harness.history.run_directory import FACTS
from harness.lab.nightly_state import CellOutcome

T = TypeVar("T")

AGAIN_S = 5.0
"""Seconds between two attempts to use the exchange."""
OUTPUT = (".json", ".log")
"""The endings of the files of a run's output."""
INCOMING = ".incoming"
"""The folder of a nightly run that receives attempts."""


class AttemptRecords:
    """What the attempts of the nightly run ``nightly`` left in the exchange ``results``, for ``directory``.

    An exchange that cannot be reached is tried again for ``wait`` seconds, which ``say`` is told once; ``tick`` is called before each
    try. ``hosts`` has the host of each run directory that was moved.
    """

    def __init__(
        self,
        results: str,
        nightly: str,
        directory: Path,
        *,
        wait: float,
        say: SayHint,
        tick: Callable[[], None],
    ) -> None:
        self._results = results
        self._nightly = nightly
        self._directory = directory
        self._wait = wait
        self._say = say
        self._tick = tick
        self._exchange = ResultsPlace(results)
        self.hosts: dict[str, str] = {}

    def check(self) -> None:
        """Check that the exchange can be used; once, without waiting. Raises InfrastructureError."""
        self._exchange.check()

    def close(self) -> None:
        """Remove what the nightly run has in the exchange."""
        self._exchange.close(self._nightly)

    def attempts(self) -> list[str]:
        """Return the attempts that are there."""
        return self._patiently(lambda: self._exchange.attempts(self._nightly))

    def note(self, attempt: str) -> Note:
        """Return what a host says of an attempt. Raises DamagedAttempt, InfrastructureError."""
        return self._patiently(lambda: self._exchange.note(self._nightly, attempt))

    def received(self, note: Note, outcome: CellOutcome) -> CellOutcome:
        """Fetch an attempt's run directories. Return its outcome with their new paths."""
        moved = self.fetch(note, outcome.host)
        runs = [str(moved.get(name, self._directory / "runs" / name)) for name in map(run_name, outcome.runs)]
        return msgspec.structs.replace(outcome, runs=runs, hosts={})

    def fetch(self, note: Note, host: str) -> dict[str, Path]:
        """Fetch an attempt of ``host`` and move its files into place. Return its runs' paths by name.

        Raises DamagedAttempt, InfrastructureError.
        """
        attempt = note.report.attempt
        directory = self._directory
        arrived = self._patiently(lambda: self._exchange.receive(self._nightly, note, directory / INCOMING))
        moved: dict[str, Path] = {}
        with system_errors(f"cannot move {attempt} into {directory}"):
            for run in sorted(file.parent for file in arrived.glob(f"runs/*/{FACTS}")):
                if not NAME.fullmatch(run.name):
                    # No run is called so, and this name would stand in commands.
                    continue
                target = directory / "runs" / run.name
                if target.exists():
                    # Two hosts gave two runs the same name.
                    target = target.with_name(f"{run.name}-{secrets.token_hex(3)}")
                run.rename(target)
                moved[run.name] = target
                self.hosts[target.name] = host
            for file in sorted(arrived.glob("output/*")):
                if file.suffix in OUTPUT:
                    file.rename(directory / "output" / f"{attempt}{file.suffix}")
        shutil.rmtree(arrived, ignore_errors=True)
        self._exchange.forget(self._nightly, attempt)
        return moved

    def _patiently(self, use: Callable[[], T]) -> T:
        """Use the exchange. One that cannot be used is connected anew and tried again for as long as a host is waited for.

        Raises DamagedAttempt at once, InfrastructureError in the end.
        """
        last: list[InfrastructureError] = []

        def attempt() -> tuple[T] | None:
            try:
                if last:
                    self._tick()
                    self._exchange = ResultsPlace(self._results)
                found = use()
            except DamagedAttempt:
                raise
            except InfrastructureError as error:
                if not last:
                    self._say(error.message, f"Nothing is lost. It is tried again for {self._wait:g} s.")
                last[:] = [error]
                return None
            return (found,)

        return Deadline(self._wait, "use the exchange").poll(
            attempt, interval=AGAIN_S, error=lambda: last[0]
        )[0]


def run_name(run: str) -> str:
    """Return the name of a run directory."""
    return Path(run).name
