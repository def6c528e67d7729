# SPDX-License-Identifier: MIT
"""QEMU 7.2 under TCG dies of the first change of the machine after a processor was taken out of it.

Measured with Debian 12's 7.2.22: a processor in the same slot or another, a DIMM, the end of one, a reset; each time glibc ends QEMU with
"double free or corruption". Requests for further processors, and all else that does not change the machine, it survives.
"""

from __future__ import annotations

from harness.errors import InfrastructureError

FATAL = "QEMU 7.2 under TCG dies of do[{}], since do[{}] takes a processor out: there it is refused before the boot."
"""What is said of a plan where nobody knows yet which QEMU is to execute it."""


def dies_of_change(version: str, accelerator: str) -> bool:
    """Return whether QEMU ``version``, as in "7.2.22", is one of which that was measured."""
    return accelerator == "tcg" and version.split(".")[:2] == ["7", "2"]


def fatal_change(version: str, what: str, removal: str) -> InfrastructureError:
    """Return the error that says so of ``what``, which would follow ``removal``."""
    return InfrastructureError(
        f"QEMU {version} under TCG dies of {what} after a processor was taken out ({removal}): a slot is not filled again",
        hint="Use KVM (--accel kvm) or another QEMU (--qemu PATH); or take the processor out last.",
    )
