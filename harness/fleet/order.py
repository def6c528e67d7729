# SPDX-License-Identifier: MIT
"""The messages between a nightly run and a host: plain data as JSON, orders one way and answers the other.

The engine carries the name of one function, :data:`ENTRY`, and one text. No object of the harness is pickled.
"""

from __future__ import annotations

from typing import Any

import msgspec

from harness.errors import InfrastructureError
from harness.lab.matrix import Cell
from harness.lab.nightly_state import CellOutcome

ENTRY = "harness.fleet.entry:perform"
"""The only function that hosts execute."""

FILES = ("--qemu", "--driver", "--firmware", "--driver-map")
"""Options of a run that name a file of the host."""

LARGEST = 16 << 20
"""The most bytes of an order or an answer that are read."""


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
    ``again`` says whether it left no result. ``unsent`` says why its run directories are still on the host, "" if they
    were sent.
    """

    attempt: str
    cell: str
    digest: str
    host: str
    outcome: CellOutcome | None = None
    again: bool = False
    ended: str = ""
    refused: str = ""
    unsent: str = ""


Order = HostQuestion | CellOrder


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
