# SPDX-License-Identifier: MIT
"""The messages between a nightly run and a host: plain data as JSON, orders one way and answers the other.

The engine carries the name of one function, :data:`ENTRY`, and one text. No object of the harness is pickled.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec

from harness.contract.verdict import Verdict
from harness.errors import FailureClass, InfrastructureError
from harness.lab.matrix import Cell
from harness.lab.nightly_state import CellOutcome

ENTRY = "harness.fleet.entry:perform"
"""The only function that hosts execute."""

FILES = ("--qemu", "--driver", "--firmware", "--driver-map")
"""Options of a run that name a file of the host."""

LARGEST = 16 << 20
"""The most bytes of an order or an answer that are read."""

LONGEST_REASON = 1000
"""The most characters of a reason that are recorded."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,199}")
"""The names of attempts, nightly runs and run directories in a fleet."""


class MachineNeed(msgspec.Struct, frozen=True, kw_only=True):
    """What the cells of one machine need of their host: the guest, the options, and the maximum of processors and
    bytes."""

    guest: str
    options: list[str]
    vcpus: int
    memory: int


class HostQuestion(msgspec.Struct, frozen=True, kw_only=True, tag="question"):
    """Ask a host which machines it can run, and whether it can reach ``results``."""

    machines: dict[str, MachineNeed]
    results: str


class HostAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A host's answer: the reason why it cannot run a machine, by machine, "" for one that it can run. ``time`` is its
    clock in seconds since the epoch."""

    host: str
    time: float
    vcpus: int
    memory: int
    cannot: dict[str, str]
    trouble: str = ""


class CellOrder(msgspec.Struct, frozen=True, kw_only=True, tag="cell"):
    """Run one cell once. ``attempt`` is the attempt's unique name. ``session`` is the start of the worker that it is
    for.

    ``nightly`` is the folder below ``results`` for its run directories. ``seconds`` is the time limit of the run.
    """

    attempt: str
    nightly: str
    digest: str
    session: str
    cell: Cell
    plan: str
    options: list[str]
    seconds: float
    results: str
    number: int = 1
    retry_of: str = ""


class AttemptReport(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The result of an attempt on a host.

    ``outcome`` is None if it was not started, because of ``refused``, or was ended early, because of ``ended``.
    ``interrupted`` is whether the end of its worker, or a signal from outside, ended it: the end of a batch job does both,
    in any order. ``again`` says whether it left no result. ``unsent`` says why its run directories are still on the host, "" if they
    were sent.
    """

    attempt: str
    cell: str
    digest: str
    host: str
    outcome: CellOutcome | None = None
    again: bool = False
    ended: str = ""
    interrupted: bool = False
    refused: str = ""
    unsent: str = ""


class PlacedCell(msgspec.Struct, frozen=True):
    """A cell that a host has, ``sent`` until the host has begun it, then ``under way``."""

    cell: str
    host: str
    stage: str = "under way"


class WaitingCell(msgspec.Struct, frozen=True):
    """A cell that waits, and why."""

    cell: str
    why: str


class NightlyNote(msgspec.Struct, frozen=True, kw_only=True):
    """What a nightly run lets all see at the scheduler. ``time`` is when it said so, by its host's clock.

    ``waiting`` are the first that wait. ``aside`` is why a host is set aside, by its name.
    """

    name: str
    lab: str
    host: str
    left: int
    under_way: list[PlacedCell]
    waiting: list[WaitingCell]
    aside: dict[str, str]
    time: float


SILENT_S = 60.0
"""Seconds without a note after which a nightly run may have ended."""

Order = HostQuestion | CellOrder
MOST_RUNS = 8
"""The most run directories of one attempt that a host names."""


def check_report(report: AttemptReport, attempt: str, cell: Cell) -> None:
    """Check that a report is of an attempt at a cell and can be recorded. Raises InfrastructureError.

    What a report says of another cell would be counted there, a line of the state that is too long would hide those behind it,
    and a run directory's name that leads elsewhere would be followed.
    """
    outcome = report.outcome
    if report.attempt != attempt or report.cell != cell.id or (outcome and outcome.cell != cell.id):
        raise InfrastructureError(f"the report about {attempt} is of another attempt or cell")
    if outcome is None:
        return
    boot = outcome.boot
    fit = (
        len(outcome.runs) <= MOST_RUNS
        and all(NAME.fullmatch(Path(run).name) for run in outcome.runs)
        and outcome.verdict in ("", *Verdict)
        and outcome.failure_class in ("", *FailureClass)
        and len(outcome.reason) <= LONGEST_REASON
        and abs(outcome.exit_code) < 1000
        and 0 <= outcome.seconds < 1e9
    )
    if boot is not None:
        fit = (
            fit
            and (boot.guest, boot.machine) == (cell.guest, cell.machine)
            and max(map(len, (boot.stage, boot.message, boot.failure_class))) <= LONGEST_REASON
            and NAME.fullmatch(boot.run) is not None
        )
    if not fit:
        raise InfrastructureError(f"the report about {attempt} has values that no run has")


def encode(message: msgspec.Struct) -> str:
    """Return a message as text."""
    return msgspec.json.encode(message).decode()


def decode(text: object, kind: Any, *, whose: str) -> Any:
    """Parse a message of a ``kind`` from ``whose``. Raises InfrastructureError for anything else."""
    try:
        if not isinstance(text, str) or len(text) > LARGEST:
            raise ValueError("it is not a text of at most 16 MiB")
        return msgspec.json.decode(text, type=kind)
    except (ValueError, RecursionError) as error:
        raise InfrastructureError(
            f"{whose} sent an invalid message: {str(error)[:200]}",
            hint="Check that all hosts have the same version of the harness.",
        ) from error
