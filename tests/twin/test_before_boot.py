# SPDX-License-Identifier: MIT
"""Adds to a guest that has not booted: it finds them at boot, and nobody is told of a hot-add."""

from __future__ import annotations

from pathlib import Path

import pytest
from twin.running import OVMF, Perform, found_at_boot, records_of

from harness.contract.verdict import Verdict
from harness.errors import UsageError
from harness.run.options import Timeouts

pytestmark = pytest.mark.qemu


@pytest.mark.parametrize(
    ("firmware", "name"),
    [("", "found-at-boot"), ("", "found-in-firmware"), (OVMF, "found-in-firmware")],
    ids=["seabios-found-at-boot", "seabios-found-in-firmware", "ovmf-found-in-firmware"],
)
def test_what_is_there_at_boot_is_found(perform_plan: Perform, name: str, firmware: str) -> None:
    """QEMU lists it, no _OST answers for it, the guest counts it, and the driver hears of it as an existing one.

    With UEFI firmware what is there before it starts is found in test_template_machine.py, where QEMU refuses an add, too.
    """
    if firmware and not Path(firmware).exists():
        pytest.skip(f"there is no {firmware}; the Debian package ovmf supplies it")
    # The boot is an operation here, and UEFI firmware takes its time on a busy host.
    result = perform_plan(name, firmware=firmware, budget=Timeouts(operation=90.0))
    assert (result.error, result.verdict.verdict, result.verdict.reasons) == (None, Verdict.HOLDS, [])
    assert found_at_boot(records_of(result)) == [0, 1, 2]


def test_a_boot_cannot_be_restored(perform_plan: Perform) -> None:
    """The snapshot is of a guest that has booted."""
    with pytest.raises(UsageError, match="--restore begins where a boot ended, and the plan before one"):
        perform_plan("found-at-boot", restore=True)
