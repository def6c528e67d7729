# SPDX-License-Identifier: MIT
"""Why a guest is silent: QEMU and the host's scheduler are checked before the guest counts as hung.

A guest whose QEMU is stopped, starved or does not answer, or that another client paused, did not hang. Its
silence is an infrastructure failure, and the run may be retried.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from harness.deadline import Deadline
from harness.errors import (
    CommandRefused,
    GuestHang,
    GuestUnreachable,
    HarnessError,
    InfrastructureError,
    UsageError,
)
from harness.history.reserve import check_room
from harness.host.scheduling import is_stopped, waiting_share
from harness.machine.inspection import Inspectable
from harness.machine.machine import Machine
from harness.machine.qmp_schema import StatusInfo

ASK = 5.0
"""Seconds for QEMU to report the guest's state; normally it takes milliseconds."""

SAMPLE = 0.5
"""Seconds for which a running guest is observed for waiting."""

STARVED = 0.9
"""From this share of runnable time spent waiting for a processor on, a guest counts as starved, not
silent."""

STATES = {
    "io-error": "QEMU stopped the guest at an I/O error of its disk: is the host's disk full?",
    "internal-error": "QEMU stopped the guest at an error of its own (internal-error)",
    "inmigrate": "QEMU still reads the state that it is to take over",
    "postmigrate": "QEMU stopped the guest after it migrated",
    "finish-migrate": "QEMU stopped the guest to end a migration",
    "save-vm": "QEMU stopped the guest to save its state",
    "restore-vm": "QEMU stopped the guest to restore its state",
    "debug": "a debugger at QEMU's gdb port stopped the guest",
    "watchdog": "the watchdog device stopped the guest",
    "prelaunch": "QEMU never let the guest run",
}
"""The meanings of the states in which a guest does not run and has not crashed (QEMU: qapi/run-state.json,
RunState)."""


@runtime_checkable
class _HasProcess(Protocol):
    """A machine that is a process of this host, unless ``pid`` is 0."""

    @property
    def pid(self) -> int: ...


@runtime_checkable
class _Stateful(Protocol):
    """A machine whose QEMU can be queried."""

    paused_here: bool

    def run_state(self, deadline: Deadline) -> StatusInfo: ...


def blame(machine: Machine | None, error: HarnessError) -> HarnessError:
    """Return ``error``, or for a silent guest the cause of its silence outside the guest.

    GuestHang and GuestUnreachable count as silence. Returns InfrastructureError for a cause in QEMU or the
    host, UsageError for a guest that this run itself paused.
    """
    if machine is None or not isinstance(error, GuestHang | GuestUnreachable) or not machine.alive():
        return error
    try:
        check_room(machine.directory)
    except InfrastructureError as full:
        return _infrastructure(error, full.message, full.hint)
    pid = machine.pid if isinstance(machine, _HasProcess) else 0
    if pid and is_stopped(pid):
        return _infrastructure(
            error, f"process {pid}, which runs the guest, is stopped", f"Continue it with: kill -CONT {pid}"
        )
    if isinstance(machine, _Stateful):
        try:
            state = machine.run_state(Deadline(ASK, "ask QEMU for the guest's state"))
        except (CommandRefused, InfrastructureError) as refused:
            # A starved QEMU may be too slow to answer.
            return _starved(pid, error) or _infrastructure(
                error, f"QEMU does not tell the guest's state: {refused.message}", refused.hint
            )
        if not state.running:
            return _not_running(machine, error, state.status)
    return _starved(pid, error) or error


def _starved(pid: int, error: GuestHang | GuestUnreachable) -> HarnessError | None:
    if not pid or (share := waiting_share(pid, SAMPLE)) < STARVED:
        return None
    return _infrastructure(
        error,
        f"the guest is starved: process {pid}, which runs it, waits {share:.0%} of the time for a processor",
        "The host is overloaded: run less beside it.",
    )


def _not_running(machine: _Stateful, error: GuestHang | GuestUnreachable, status: str) -> HarnessError:
    if status in ("guest-panicked", "shutdown", "suspended"):
        return error  # caused by the guest itself, and recorded in the history
    if status != "paused":
        return _infrastructure(error, STATES.get(status, f"the guest does not run: QEMU says {status!r}"), "")
    if machine.paused_here:
        return UsageError(
            f"{error.message}; this run has paused the guest and not resumed it", hint="Resume it first."
        )
    reason = ""
    if isinstance(machine, Inspectable):
        try:
            reason = machine.inspector().pause_reason(Deadline(ASK, "ask who paused the guest"))
        except (CommandRefused, InfrastructureError) as refused:
            reason = f"libvirt does not say why: {refused.message}"
    return _infrastructure(
        error,
        f"the guest is paused, and not by this run{f'; {reason}' if reason else ''}",
        "Another client of QEMU or libvirt paused it. Keep others from this machine.",
    )


def _infrastructure(error: HarnessError, cause: str, hint: str) -> InfrastructureError:
    return InfrastructureError(f"{error.message}; {cause}", hint=hint or error.hint)
