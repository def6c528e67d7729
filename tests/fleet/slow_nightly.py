# SPDX-License-Identifier: MIT
"""SlowNightly: a nightly run whose QEMU hangs until it is released, and fails from then on."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
from collections.abc import Sequence

from harness.deadline import Deadline
from tests.fleet.conftest import PATIENCE, Fleet
from tests.processes_of import processes_of, words_of

QEMU = (
    '#!/bin/sh\ntest "$1" = --version && echo QEMU emulator version 7.2.22 && exit\n'
    "exec flock --shared {gate} sh -c 'exit 7'\n"
)
"""A QEMU that waits for the lock of the file ``gate``, which the test holds, and then ends with 7."""
FAILS = "start: QEMU died, exit status 7"
"""What is said of a run whose QEMU was released."""


class SlowNightly:
    """The nightly run n of one cell for each of ``machines``, on a fleet; ``parallel`` at once on a host, and none for
    ``hold`` seconds after it refused one.

    :meth:`begin` starts it. Then each run that has begun hangs until :meth:`release`.
    """

    def __init__(self, fleet: Fleet, *, machines: int = 1, parallel: int = 3, hold: float = 15) -> None:
        self.fleet = fleet
        self.machines = machines
        self.worker: subprocess.Popen[bytes]
        self.process: subprocess.Popen[bytes]
        self._gate = fleet.place / "gate"
        self._lock = self._gate.open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        program = fleet.place / "qemu-slow"
        program.write_text(QEMU.format(gate=self._gate))
        program.chmod(0o755)
        # A guest that did not boot on one machine is not booted on it again.
        names = range(4, 4 + machines)
        topologies = "".join(f'[[topology]]\nname = "{n}"\nmax_processors = {n}\n' for n in names)
        fleet.lab(
            f'parallel = {parallel}\naccel = "tcg"\n[fleet]\nhold = {hold}\n[[qemu]]\nname = "slow"\npath = "{program}"\n'
            f'[[plan]]\nplan = "veto"\n{topologies}'
        )

    def begin(self, *names: str, heartbeat: float = 60.0) -> None:
        """Start a scheduler, workers of these names and the nightly run, and wait until all its runs hang on the first."""
        self.fleet.scheduler(heartbeat=heartbeat)
        self.worker, *_ = [self.fleet.worker(name) for name in names]
        self.fleet.hosts(*names)
        self.process = self.fleet.nightly()
        self.wait_begun(names[0], self.machines)

    def wait_begun(self, name: str, count: int) -> None:
        """Wait until a worker has begun so many runs, and no run of the nightly run is without its QEMU."""

        def there() -> bool:
            assert self.process.poll() is None, self.fleet.said("nightly")
            return self.fleet.said(name).count(": begins") == count and len(self.guests()) >= self.machines

        Deadline(PATIENCE, f"{count} runs on {name}").poll(there, interval=0.1)

    def guests(self) -> list[int]:
        """Return the processes of the QEMU that hangs."""
        gate = str(self._gate)
        return [pid for pid in processes_of(gate) if words_of(pid)[:1] == ["flock"] and gate in words_of(pid)]

    def release(self) -> None:
        """Let QEMU fail, also that of all later runs."""
        self._lock.close()

    def ended(self) -> int:
        """Release it, and return its exit code."""
        self.release()
        return self.process.wait(PATIENCE)


def terminate(processes: Sequence[int]) -> None:
    """Send SIGTERM to processes, one after the other, as a batch system does to those of a job."""
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGTERM)
