# SPDX-License-Identifier: MIT
"""One nightly run on disk: its completed runs, so that an interrupted one continues where it stopped.

::

    nightly/20261121/
        state.jsonl      the header, then one line for every run that has ended
        plans/           the plan of each point of the matrix
        runs/            the run directories
        output/          what each 'harness run' printed
        now.json         what it is doing, while it is under way
        summary.txt  summary.json  junit.xml

The state is only appended to. A last line that a crash cut off is ignored, and its run is repeated. The file is locked
while the nightly run is under way.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

import msgspec

from harness.errors import ExitCode, InfrastructureError, UsageError, system_errors
from harness.history.json_file import decoded
from harness.history.private import write_private
from harness.host.file_lock import locked_or_refused
from harness.lab.matrix import Cell, Matrix
from harness.run.failure import BootFailure

if TYPE_CHECKING:
    from harness.explore.exploration import ExplorationReport

FORMAT = 1
STATE = "state.jsonl"
LONGEST_LINE = 1 << 20
LARGEST_STATE = 1 << 30
"""The most bytes of a nightly run's state that are read. A state of 100,000 cells has about 50 MB."""
MOST_RUNS = 1000
"""The most nightly runs of one name (``20261121``, ``20261121-2``, …)."""


class NightlyHeader(msgspec.Struct, frozen=True, kw_only=True):
    """The first line of a state: the nightly run's identity. ``started`` is UTC, ISO 8601. ``host`` is the host where
    it began."""

    format: int
    name: str = msgspec.field(name="night")
    lab: str
    digest: str
    seed: int
    cells: int
    started: str
    host: str = ""


class CellOutcome(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The result of one cell: ``runs`` are its run directories, the last one counts. Times in seconds.

    ``reason`` says why the cell does not hold, ``boot`` what it implies for the next boot of its guest. A ``skipped``
    cell was not run, because its guest had failed to boot. ``host`` is where its last attempt ran, "" for the nightly
    run's own host. ``hosts`` are the hosts of its run directories, by their names.
    """

    cell: str
    state: Literal["done", "skipped"]
    exit_code: int = 0
    verdict: str = ""
    failure_class: str = ""
    reason: str = ""
    runs: list[str] = []
    seconds: float = 0.0
    boot: BootFailure | None = None
    host: str = ""
    hosts: dict[str, str] = {}

    @property
    def lost(self) -> bool:
        """Whether the last attempt left no run directory: the last directory is of an earlier attempt, on another
        host."""
        return not self.runs or self.hosts.get(Path(self.runs[-1]).name, self.host) != self.host

    def host_of(self, run: str) -> str | None:
        """Return the host of one of ``runs``, "" for the nightly run's own host, None if it is unknown.

        States of earlier revisions name only the host of the last attempt.
        """
        own = not self.host or run == self.runs[-1]
        return self.hosts.get(Path(run).name, self.host if own else None)

    @property
    def code(self) -> ExitCode:
        """The exit code; INFRASTRUCTURE if the number is not one of the harness's."""
        try:
            return ExitCode(self.exit_code)
        except ValueError:
            return ExitCode.INFRASTRUCTURE


class ExploredGuest(msgspec.Struct, kw_only=True):
    """A guest that was explored after the runs. ``name`` is the guest and a QEMU build. ``error`` says why exploring
    failed, "" if it did not.

    ``report`` is None if it never started.
    """

    name: str
    error: str = ""
    report: ExplorationReport | None = None


class NightlyState:
    """The state of one nightly run, open and locked. ``outcomes`` are the known ones, by cell.

    ``out_of_time`` says why cells were left out, "" if none was left out for lack of time. ``failed`` is the exit code of
    the error that ended this pass, None if none did. It is not on disk. ``explored`` are the guests that this process
    explored. ``lost_workers`` says which workers of a fleet were lost in this pass, a line for each.
    """

    def __init__(
        self, directory: Path, head: NightlyHeader, outcomes: dict[str, CellOutcome], descriptor: int
    ) -> None:
        self.directory = directory
        self.head = head
        self.outcomes = outcomes
        self.out_of_time = ""
        self.failed: ExitCode | None = None
        self.explored: list[ExploredGuest] = []
        self.lost_workers: list[str] = []
        self._descriptor = descriptor

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def record(self, outcome: CellOutcome) -> None:
        """Append an outcome. Raises InfrastructureError if it cannot be written."""
        line = msgspec.json.encode(outcome) + b"\n"
        with system_errors(
            f"cannot write the state of the nightly run, {self.directory / STATE}",
            hint="Free some disk space; the same command then continues from here.",
        ):
            if os.write(self._descriptor, line) != len(line):
                raise OSError(28, "No space left on device")
            os.fsync(self._descriptor)
        self.outcomes[outcome.cell] = outcome

    def todo(self, matrix: Matrix) -> list[Cell]:
        """Return the cells that have not ended, in their order."""
        return [cell for cell in matrix.cells if cell.id not in self.outcomes]

    def close(self) -> None:
        """Release the state's lock."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def open_nightly_run(into: Path, matrix: Matrix, *, name: str = "") -> NightlyState:
    """Open the nightly run called ``name``, or today's: continue an unfinished one, or begin a new one.

    A nightly run continues if it has the same matrix and is unfinished. Without a name, a finished one or one of
    another matrix is followed by a second one of the day. Raises UsageError if the named nightly run has another
    matrix, is finished, or is in use by another process. Raises InfrastructureError if it cannot be made.
    """
    if name and not all(sign.isascii() and (sign.isalnum() or sign in "._-") for sign in name):
        raise UsageError(f"invalid --name {name!r}", hint="Use letters, digits, '.', '_' and '-' only.")
    today = name or time.strftime("%Y%m%d")
    for number in range(1, MOST_RUNS):
        directory = into / (today if number == 1 else f"{today}-{number}")
        if not (directory / STATE).exists():
            return _begin(directory, matrix)
        if not name and _is_other(directory, matrix):
            # Another process may be running it.
            continue
        state = _reopen(directory)
        if state.head.digest == matrix.digest and state.todo(matrix):
            return state
        state.close()
        if name:
            over = state.head.digest == matrix.digest
            raise UsageError(
                f"the nightly run {name!r} {'has ended' if over else 'belongs to another lab.toml'}",
                hint=f"Its results are in {directory / 'summary.txt'}. Leave out --name for a new one.",
            )
    raise UsageError(f"{into} has {MOST_RUNS} nightly runs called {today}", hint="Remove some.")


def _is_other(directory: Path, matrix: Matrix) -> bool:
    try:
        return read_state((directory / STATE).read_bytes())[0].digest != matrix.digest
    except (OSError, ValueError):
        return False


def _begin(directory: Path, matrix: Matrix) -> NightlyState:
    head = NightlyHeader(
        format=FORMAT,
        name=directory.name,
        lab=matrix.document.name,
        digest=matrix.digest,
        seed=matrix.document.seed,
        cells=len(matrix.cells),
        started=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        host=os.uname().nodename[:200],
    )
    try:
        for folder in ("plans", "runs", "output"):
            (directory / folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        for point, asked in matrix.requests.items():
            write_private(directory / "plans" / f"{point}.toml", asked.text)
        # The state is written last: without one, the nightly run never began.
        descriptor = os.open(
            directory / STATE, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600
        )
    except FileExistsError:
        return _reopen(directory)
    except OSError as error:
        raise InfrastructureError(
            f"cannot make the nightly run's directory {directory}: {error.strerror}",
            hint="Give a writable place with --into DIR.",
        ) from error
    _lock(descriptor, directory)
    os.write(descriptor, msgspec.json.encode(head) + b"\n")
    return NightlyState(directory, head, {}, descriptor)


def _reopen(directory: Path) -> NightlyState:
    file = directory / STATE
    with system_errors(f"cannot continue {file}"):
        descriptor = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
    _lock(descriptor, directory)
    try:
        head, outcomes, whole = read_state(file.read_bytes())
    except ValueError as error:
        os.close(descriptor)
        raise UsageError(
            f"{file} is not the state of a nightly run: {error}",
            hint=f"Move {directory} away, or name another with --name.",
        ) from error
    # A new line must not continue the one that was cut off.
    os.ftruncate(descriptor, whole)
    return NightlyState(directory, head, outcomes, descriptor)


def _lock(descriptor: int, directory: Path) -> None:
    locked_or_refused(
        descriptor,
        f"another process uses the nightly run in {directory}",
        hint="Wait for it, or name another with --name.",
    )


def read_state(data: bytes) -> tuple[NightlyHeader, dict[str, CellOutcome], int]:
    """Return the header and the outcomes of a state, and the length in bytes of its valid lines.

    Raises ValueError if it does not begin with a header. Everything after a damaged line is ignored.
    """
    first, newline, _ = data.partition(b"\n")
    if not newline:
        raise ValueError("it has no complete line")
    try:
        head = msgspec.json.decode(first[:LONGEST_LINE], type=NightlyHeader)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(str(error)) from error
    if head.format != FORMAT:
        raise ValueError(f"its format is {head.format}, and this harness knows {FORMAT}")
    begin = len(first) + 1
    outcomes, length = read_outcomes(data[begin:])
    return head, {outcome.cell: outcome for outcome in outcomes}, begin + length


def read_outcomes(data: bytes) -> tuple[list[CellOutcome], int]:
    """Return the outcomes at the beginning of ``data``, and their length in bytes. A damaged line ends them."""
    outcomes: list[CellOutcome] = []
    whole = 0
    for line in data.splitlines(keepends=True):
        if not line.endswith(b"\n") or len(line) > LONGEST_LINE:
            break
        if (outcome := decoded(line, CellOutcome)) is None:
            break
        outcomes.append(outcome)
        whole += len(line)
    return outcomes, whole


def read_nightly(directory: Path, *, hint: str = "") -> tuple[NightlyHeader, dict[str, CellOutcome]]:
    """Return the header and the outcomes of the nightly run at ``directory``. Raises UsageError.

    ``hint`` is what to do if its state cannot be read.
    """
    file = directory / STATE
    with system_errors(str(file), hint=hint, kind=UsageError), file.open("rb") as opened:
        data = opened.read(LARGEST_STATE)
    try:
        header, outcomes, _ = read_state(data)
    except ValueError as error:
        raise UsageError(f"{file} is not the state of a nightly run: {error}") from error
    return header, outcomes
