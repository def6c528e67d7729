# SPDX-License-Identifier: MIT
"""The sources to load: nightly runs, and run directories outside of them, found below the paths of a command line."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from harness.errors import UsageError
from harness.lab.nightly_state import STATE, CellOutcome, NightlyHeader, read_nightly
from harness.lab.summary import word
from harness.store.recorded_run import is_run, seconds_of

DEEPEST = 5
"""The depth of directories searched below a path."""


class NightlySource(msgspec.Struct, frozen=True, kw_only=True):
    """A nightly run to load. ``at`` is its start in seconds since the epoch."""

    directory: Path
    header: NightlyHeader
    at: int


class RunSource(msgspec.Struct, frozen=True, kw_only=True):
    """A run to load. ``path`` is its directory, None for a cell that left none.

    ``night`` and ``outcome`` belong to the nightly run that made it. ``counted`` is false for an attempt that was
    repeated. ``host`` is the host of a nightly run's run, "" if it is unknown.
    """

    path: Path | None
    night: NightlySource | None = None
    outcome: CellOutcome | None = None
    counted: bool = True
    host: str = ""

    @property
    def name(self) -> str:
        """The name that the store most likely uses: that of its directory, existing or removed, or of its cell."""
        if self.path is not None:
            return self.path.name
        assert self.night is not None
        assert self.outcome is not None
        return self.cell_name if self.outcome.lost else Path(self.outcome.runs[-1]).name

    @property
    def cell_name(self) -> str:
        """The store's name of its cell while it has no run directory, "" outside of nightly runs."""
        if self.night is None or self.outcome is None:
            return ""
        header = self.night.header
        return f"{header.lab}/{header.name}/{header.started}/{self.outcome.cell}"

    @property
    def told(self) -> bytes:
        """The nightly run's entry for the run, as bytes for its digest."""
        if self.outcome is None:
            return b""
        assert self.night is not None
        header = self.night.header
        told = msgspec.json.encode([header, self.outcome, self.counted])
        # Earlier revisions stored each attempt under its cell's host. Only those that were wrong are stored again.
        return told if self.host == (self.outcome.host or header.host) else told + self.host.encode()

    @property
    def point(self) -> str:
        """The matrix point of its cell."""
        return self.outcome.cell.rpartition(".")[0] if self.outcome is not None else ""

    @property
    def repetition(self) -> int:
        """The number of its repetition at its point, 1 outside of nightly runs."""
        last = self.outcome.cell.rpartition(".")[2] if self.outcome is not None else ""
        return int(last) if last.isdigit() and len(last) < 6 else 1

    @property
    def word(self) -> str:
        """The result in the nightly run's state, "" outside of one."""
        return word(self.outcome) if self.outcome is not None else ""


def sources(paths: Iterable[Path]) -> Iterator[RunSource]:
    """Yield every run below the paths once. Runs of a nightly run have its entry for them.

    Raises UsageError for a path with nothing to load, or with a nightly run whose state cannot be read.
    """
    seen: set[str] = set()
    for path in paths:
        if not os.path.isdir(path):  # noqa: PTH112 - Path's raises for too long a name
            raise UsageError(
                f"{path} is not a directory",
                hint="Give a run directory, or a directory above run directories.",
            )
        empty = True
        for found in _below(path, DEEPEST):
            empty = False
            real = os.path.realpath(found)
            if real in seen:
                continue
            seen.add(real)
            yield from night_sources(found) if _is_night(found) else [RunSource(path=found)]
        if empty:
            raise UsageError(
                f"{path} has no run and no nightly run below it",
                hint="Give nightly runs, for example nightly, or run directories, for example runs.",
            )


def _below(path: Path, depth: int) -> Iterator[Path]:
    if _is_night(path):
        yield path
    elif is_run(path):
        # A run of a nightly run is loaded together with it, so that its nightly run is always known.
        night = path.resolve().parent.parent
        yield night if path.resolve().parent.name == "runs" and _is_night(night) else path
    elif path.name == "runs" and _is_night(path.resolve().parent):
        yield path.resolve().parent
    elif depth:
        try:
            names = sorted(os.listdir(path))  # noqa: PTH208
        except OSError:
            return
        for name in names:
            inner = path / name
            if os.path.isdir(inner) and not os.path.islink(inner):  # noqa: PTH112, PTH114
                yield from _below(inner, depth - 1)


def _is_night(path: Path) -> bool:
    return os.path.isfile(path / STATE)  # noqa: PTH113


def night_sources(directory: Path) -> Iterator[RunSource]:
    """Yield the runs of one nightly run. Raises UsageError if its state cannot be read."""
    header, outcomes = read_nightly(directory)
    for outcome in outcomes.values():
        yield from cell_sources(directory, header, outcome)


def cell_sources(directory: Path, header: NightlyHeader, outcome: CellOutcome) -> Iterator[RunSource]:
    """Yield the runs of one cell of a nightly run, its last attempt last."""
    night = NightlySource(directory=directory, header=header, at=int(seconds_of(header.started)))
    # The nightly run may have been moved: look for its runs inside it.
    found = [
        (directory / "runs" / Path(run).name, _host(outcome.host_of(run), header)) for run in outcome.runs
    ]
    last = None if outcome.lost else found.pop()
    for path, host in found:
        if is_run(path):
            yield RunSource(path=path, night=night, outcome=outcome, counted=False, host=host)
    path, host = last or (directory, _host(outcome.host, header))
    yield RunSource(path=path if last and is_run(path) else None, night=night, outcome=outcome, host=host)


def _host(host: str | None, header: NightlyHeader) -> str:
    return "" if host is None else host or header.host
