# SPDX-License-Identifier: MIT
"""The one public exception tree.

::

    HarnessError
    +-- UsageError                 exit 64   the user's request is invalid or impossible.
    |   +-- BadDocument            exit 64   a plan, lab.toml or template does not decode.
    |   +-- BadHistory             exit 64   a recorded history cannot be read at all.
    +-- InfrastructureError        exit 69   the host, QEMU or the set-up failed; no statement about the driver.
    |   +-- MissingPart            exit 69   a program, package or extra is not installed.
    |   +-- MachineFailed          exit 69   QEMU did not start, or died.
    |   +-- MonitorLost            exit 69   the QMP connection is lost and could not be restored.
    |   +-- TemplateFailed         exit 69   a template's build failed in Setup or a provisioning step.
    +-- CommandRefused             exit 69   QEMU answered a command with an error (a plan may expect it).
    +-- GuestError                 exit 3    the guest failed, or the cause is unknown.
        +-- GuestHang              exit 3    nothing came from the guest within its deadline.
        +-- GuestCrash             exit 3    the guest panicked, bug checked or reset itself.
        +-- GuestRefused           exit 3    the guest's control channel answered with an error.
        +-- GuestUnreachable       exit 3    the connection to the guest cannot be made, or broke.

If QEMU refuses what the plan requests, the plan is the cause: :meth:`HarnessError.of_plan` makes any of these exit 64.

A verdict is a value (:class:`harness.contract.verdict.Verdict`), never an exception.
Every message says who, what, which value or state, and (as ``hint``) what to do next.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable, Iterator
from enum import IntEnum, StrEnum
from typing import Self


class ExitCode(IntEnum):
    """Exit codes of every command. A signal's is 128 + its number; over many runs :func:`worst` chooses."""

    HOLDS = 0
    VIOLATED = 1
    UNKNOWN = 3
    USAGE = 64
    INFRASTRUCTURE = 69
    HUNG_UP = 129
    INTERRUPTED = 130
    QUIT = 131
    TERMINATED = 143


class FailureClass(StrEnum):
    """Who is to blame for a run without a clean verdict."""

    PLAN = "plan"
    INFRASTRUCTURE = "infrastructure"
    GUEST_HANG = "guest hang"
    BUG_CHECK = "bug check"
    DRIVER = "driver"
    CONTRACT = "contract"
    UNKNOWN = "unknown"


MAKE_ROOM = "Free some disk space, or give another place with --runs DIR."
"""What to do about a full disk."""

SHORTAGES = {
    errno.EMFILE: "Allow more open files, for instance: ulimit -n 1024",
    errno.ENFILE: "The whole host has too many open files: sysctl fs.file-max",
    errno.EAGAIN: "Allow more processes and threads, for instance: ulimit -u 4096; in a container its pids limit counts too.",
    errno.ENOMEM: "Run less beside it, or give it more memory.",
    errno.ENOSPC: MAKE_ROOM,
    errno.EDQUOT: "Your quota is used up: free some disk space, or give another place with --runs DIR.",
}
"""The resources that a host may run out of, by errno number, each with what to do (errno(3))."""


class HarnessError(Exception):
    """The root of the tree. ``hint`` says what to do, in one or more lines that are shown under the message."""

    exit_code: ExitCode = ExitCode.INFRASTRUCTURE
    failure_class: FailureClass = FailureClass.INFRASTRUCTURE

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def of_plan(self) -> Self:
        """Blame the plan, which requested what was refused: return the same error with exit code 64, never to be retried."""
        self.exit_code = ExitCode.USAGE
        self.failure_class = FailureClass.PLAN
        return self

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message


class UsageError(HarnessError):
    """``harness run nosuch``: *no plan is called 'nosuch'*, with the names that exist."""

    exit_code = ExitCode.USAGE
    failure_class = FailureClass.PLAN


class BadDocument(UsageError):
    """A TOML document does not decode: *plan.toml:7: unknown key 'slto'*, hint *Did you mean 'slot'?*."""


class BadHistory(UsageError):
    """``harness check DIR`` on something that is not a history, or one of a newer format."""


class InfrastructureError(HarnessError):
    """The host or the set-up failed: disk full, directory unwritable, port taken."""


class MissingPart(InfrastructureError):
    """A part is not installed; the hint is the command that supplies it."""


class HostExhausted(InfrastructureError):
    """*the disk has no room to preallocate 1 GiB for the DIMM 'dimm-1'*: QEMU refused a device that the host cannot back."""


class MachineFailed(InfrastructureError):
    """QEMU did not start or died. The error has the full command, the exit status and QEMU's last output."""

    def __init__(self, message: str, *, output: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.output = output


class MonitorLost(InfrastructureError):
    """The QMP socket closed, and reconnecting within the deadline failed."""


class TemplateFailed(InfrastructureError):
    """*provisioning step 3 of 12 (winrm) failed: Access is denied*. ``reached`` is the stage that the build reached."""

    def __init__(self, message: str, *, reached: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reached = reached


def of_shortage(error: BaseException) -> InfrastructureError | None:
    """Return the error for a host that ran out of files, threads, memory or disk space. Return None for another ``error``.

    Python raises RuntimeError when it cannot start a thread (CPython: Modules/_threadmodule.c).
    """
    if isinstance(error, MemoryError):
        return InfrastructureError("the host has no memory left", hint=SHORTAGES[errno.ENOMEM])
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        return InfrastructureError("the system starts no more threads", hint=SHORTAGES[errno.EAGAIN])
    if not isinstance(error, OSError) or error.errno not in SHORTAGES or isinstance(error, BlockingIOError):
        return None
    where = f"{error.filename}: " if error.filename is not None else ""
    return InfrastructureError(f"{where}{os.strerror(error.errno)}", hint=SHORTAGES[error.errno])


def shortage_hint(error: BaseException, otherwise: str = "") -> str:
    """Return what to do about a system error: the hint for a shortage, or ``otherwise``."""
    return SHORTAGES.get(getattr(error, "errno", None) or 0, otherwise)


@contextlib.contextmanager
def system_errors(
    what: str, *, hint: str = "", shortage: bool = False, kind: type[HarnessError] = InfrastructureError
) -> Iterator[None]:
    """Raise a system error of the block as ``kind``: ``what`` failed, for instance "cannot write FILE", and the reason.

    ``hint`` is what to do. With ``shortage`` a host that ran out of something gets the hint for that instead.
    """
    try:
        yield
    except OSError as error:
        way_out = shortage_hint(error, hint) if shortage else hint
        raise kind(f"{what}: {error.strerror or error}", hint=way_out) from error


def told_shortage(words: str) -> tuple[str, str]:
    """Return the line in which a program reports that the host ran out of something, and the hint; "" twice for none."""
    ways = {os.strerror(number): hint for number, hint in SHORTAGES.items()}
    told = ((line, hint) for line in words.splitlines() for sign, hint in ways.items() if sign in line)
    return next(told, ("", ""))


class CommandRefused(HarnessError):
    """QEMU answered a command with an error, e.g. *CPU[0] with APIC ID 0 exists*."""

    def __init__(
        self, message: str, *, command: str, error_class: str, description: str, hint: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.command = command
        self.error_class = error_class
        self.description = description


class GuestError(HarnessError):
    """The guest failed, or the cause is unknown. The run is unknown."""

    exit_code = ExitCode.UNKNOWN
    failure_class = FailureClass.UNKNOWN


class GuestHang(GuestError):
    """*the twin was not ready within 60 s: last stage reached 'kernel'*."""

    failure_class = FailureClass.GUEST_HANG


class GuestCrash(GuestError):
    """*the guest panicked: 'Kernel panic - not syncing: …'*."""

    failure_class = FailureClass.BUG_CHECK


class GuestRefused(GuestError):
    """The guest's control channel answered a command with an error, e.g. *insmod: File exists*."""


class GuestUnreachable(GuestError):
    """*WinRM to 127.0.0.1:5986: connection reset*. ``sent`` is false if the command cannot have reached the guest."""

    def __init__(self, message: str, *, sent: bool, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.sent = sent


WORST_FIRST = (
    ExitCode.TERMINATED,
    ExitCode.QUIT,
    ExitCode.INTERRUPTED,
    ExitCode.HUNG_UP,
    ExitCode.USAGE,
    ExitCode.INFRASTRUCTURE,
    ExitCode.VIOLATED,
    ExitCode.UNKNOWN,
    ExitCode.HOLDS,
)


def worst(codes: Iterable[ExitCode]) -> ExitCode:
    """Return the worst of several exit codes: a signal's > 64 > 69 > 1 > 3 > 0. HOLDS for none."""
    return min(codes, key=WORST_FIRST.index, default=ExitCode.HOLDS)
