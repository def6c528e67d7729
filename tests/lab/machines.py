# SPDX-License-Identifier: MIT
"""Machines for the registry: a process that does nothing stands for QEMU, one that has ended for a harness."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec

from harness.deadline import Deadline
from harness.host.registry import MachineEntry, ProcessName, Registry


@contextlib.contextmanager
def idle(word: str, *, stubborn: bool = False) -> Iterator[subprocess.Popen[bytes]]:
    """A process that waits until it is ended, with ``word`` in its command; a stubborn one takes no SIGTERM."""
    deaf = "trap '' TERM; " if stubborn else ""
    script = f"{deaf}echo; while :; do read line || exit; done"
    with subprocess.Popen(
        ["sh", "-c", script, word], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        # Once it speaks it bears its command, and has set its trap.
        process.stdout.readline()
        try:
            yield process
        finally:
            process.kill()


def name_of(process: subprocess.Popen[bytes]) -> ProcessName:
    """Return the name of a process that lives."""
    return Deadline(10, "a process").poll(lambda: ProcessName.of(process.pid))


def dead_harness() -> ProcessName:
    """Return the name of a process that has ended."""
    with idle("harness") as process:
        return name_of(process)


def noted(
    registry: Registry, host: Path, harness: ProcessName, qemu: ProcessName | None, **changes: object
) -> MachineEntry:
    """Write an entry whose runtime directory exists, and return it."""
    number = len(registry.entries())
    runtime = host / "runtime" / f"hotplug-{number:016x}"
    runtime.mkdir()
    (host / "run").mkdir(exist_ok=True)
    entry = MachineEntry(
        name=f"vm{number}",
        harness=harness,
        qemu=qemu,
        directory=str(host / "run"),
        runtime=str(runtime),
        command=["qemu-system-x86_64", "-smp", "cpus=2,maxcpus=6"],
    )
    return registry.write(msgspec.structs.replace(entry, **changes))
