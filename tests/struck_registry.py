# SPDX-License-Identifier: MIT
"""A registry that a signal interrupts when the entry's file has just appeared: the worst moment for whoever writes one."""

from __future__ import annotations

import signal

from harness.host.registry import MachineEntry, Registry
from harness.interrupts import Interrupted


class StruckRegistry(Registry):
    """A registry in a directory of its own. Set ``strike`` to the number of the write after which the signal comes."""

    strike = 0

    def write(self, entry: MachineEntry) -> MachineEntry:
        """Write the entry, and raise what a handler raises before the caller has anything in its hands."""
        written = super().write(entry)
        self.strike -= 1
        if not self.strike:
            raise Interrupted(signal.SIGTERM)
        return written
