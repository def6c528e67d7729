# SPDX-License-Identifier: MIT
"""The Windows boot options that runs change: checked here, set by ``bcdedit``, in force from the next boot."""

from __future__ import annotations

import msgspec

from harness.deadline import Deadline
from harness.errors import GuestRefused, UsageError
from harness.guest.windows import answer
from harness.guest.windows.shell import PowerShellSession

CURRENT = "{current}"
MOST_IN_A_GROUP = 64


class BootOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options to change; None leaves an option as it is.

    ``group_size`` is the number of processors in a group: a power of two up to 64, 0 for Windows' own choice (WD:
    devtest/bcdedit--set.md, groupsize). ``test_signing`` lets test-signed drivers load (WD: install/the-testsigning-boot-
    configuration-option.md). ``debug`` turns the kernel debugger on, on serial port ``debug_port`` (WD:
    devtest/bcdedit--dbgsettings.md).
    """

    group_size: int | None = None
    test_signing: bool | None = None
    debug: bool | None = None
    debug_port: int = 3

    def __post_init__(self) -> None:
        size = self.group_size
        if size and (not 1 <= size <= MOST_IN_A_GROUP or size & (size - 1)):
            raise UsageError(
                f"Windows cannot have {size} processors in a group",
                hint="groupsize is a power of two from 1 to 64.",
            )

    def lines(self) -> list[str]:
        """Return the arguments of each call of ``bcdedit``."""
        found = []
        if self.group_size is not None:
            # Windows reports groups to a driver only if the driver is aware of them, or if groupaware is on.
            found += (
                [f"/set {CURRENT} groupsize {self.group_size}", f"/set {CURRENT} groupaware on"]
                if self.group_size
                else [f"/deletevalue {CURRENT} groupsize", f"/deletevalue {CURRENT} groupaware"]
            )
        if self.test_signing is not None:
            found.append(f"/set {CURRENT} testsigning {_switch(self.test_signing)}")
        if self.debug is not None:
            if self.debug:
                found.append(f"/dbgsettings serial debugport:{self.debug_port} baudrate:115200")
            found.append(f"/debug {CURRENT} {_switch(self.debug)}")
        return found


def set_boot_options(shell: PowerShellSession, options: BootOptions, deadline: Deadline) -> None:
    """Set the options; the guest must be restarted afterwards. Raises GuestRefused with the line that failed."""
    lines = options.lines()
    if not lines:
        return
    step = shell.once("boot-options", deadline, answer.ChangeStep, Lines=lines)
    if step.code:
        raise GuestRefused(
            f"bcdedit {step.step}: exit code {step.code}: {step.said[:300]}",
            hint="Options that Secure Boot protects cannot be changed while it is on.",
        )


def _switch(value: bool) -> str:
    return "on" if value else "off"
