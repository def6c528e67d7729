# SPDX-License-Identifier: MIT
"""A real operating system enables the events of processors and memory, and the machine shows it before the guest says so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from twin.running import OVMF, plan_of

from harness.deadline import Deadline
from harness.machine.ospm import listening
from harness.run.request import RunRequest
from harness.run.run import Run

pytestmark = pytest.mark.qemu


@pytest.mark.parametrize("firmware", ["", OVMF], ids=["seabios", "ovmf"])
def test_linux_listens_and_after_a_reset_nobody_does(
    request_run: Callable[..., RunRequest], firmware: str
) -> None:
    """Whichever firmware has placed the registers: enabled by the booted guest, not enabled once the machine is reset."""
    if firmware and not Path(firmware).exists():
        pytest.skip(f"there is no {firmware}; the Debian package ovmf supplies it")
    # The ready snapshot is of a guest that this firmware has booted.
    run = Run(request_run(plan_of('[[do]]\nop = "quiesce"\n'), firmware=firmware, restore=True))
    with run.live() as live:
        within = Deadline(60, "ask QEMU")
        assert listening(live.machine, within)
        live.watch.expect_reset()
        live.machine.pause(within)
        live.machine.reset(within)
        assert not listening(live.machine, within)
