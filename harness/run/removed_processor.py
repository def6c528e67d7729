# SPDX-License-Identifier: MIT
"""QEMU 7.2 under TCG crashes at the first change of the machine after a processor was removed.

Measured with Debian 12's 7.2.22: a processor in the same slot or another, a DIMM, the removal of one, a
reset; each time glibc aborts QEMU with "double free or corruption". It survives further unplug requests for
processors, and everything else that does not change the machine.
"""

from __future__ import annotations

from harness.errors import InfrastructureError

FATAL = "QEMU 7.2 under TCG dies of do[{}], since do[{}] takes a processor out: there it is refused before the boot."
"""The remark on a plan while its QEMU is not known yet."""


def dies_of_change(version: str, accelerator: str) -> bool:
    """Return whether QEMU ``version``, such as "7.2.22", is one with this measured defect."""
    return accelerator == "tcg" and version.split(".")[:2] == ["7", "2"]


def fatal_change(version: str, what: str, removal: str) -> InfrastructureError:
    """Return the error for the change ``what`` after ``removal``."""
    return InfrastructureError(
        f"QEMU {version} under TCG dies of {what} after a processor was taken out ({removal}): a slot is not filled again",
        hint="Use KVM (--accel kvm) or another QEMU (--qemu PATH); or take the processor out last.",
    )
