# SPDX-License-Identifier: MIT
"""Direct QEMU keeps the machine contract."""

from __future__ import annotations

import pytest

from tests.machine.contract import MachineContract


@pytest.mark.qemu
class TestQemuMachine(MachineContract):
    """The contract, on real QEMU under TCG."""
