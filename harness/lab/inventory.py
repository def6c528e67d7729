# SPDX-License-Identifier: MIT
"""The inventory: this user's machines in the registry, and the state of each."""

from __future__ import annotations

import contextlib
import os
import re
import time
from itertools import pairwise
from pathlib import Path
from typing import Literal

import msgspec

from harness.history.run_directory import RunDirectory
from harness.host.registry import MachineEntry, ProcessName, Registry
from harness.machine.libvirt.connection import is_remote

MachineCondition = Literal["running", "starting", "ending", "orphaned", "gone"]
"""``running``, ``starting`` and ``ending`` have a live harness. ``orphaned`` has none, and its QEMU still runs, as far
as is known. ``gone`` has left only files. ``harness gc`` removes the last two."""

_PROCESSORS = re.compile(r"(?:cpus=)?(\d{1,4})(?:,|$)")


class ListedMachine(msgspec.Struct, frozen=True, kw_only=True):
    """One machine. ``age`` is in seconds since its harness noted it. ``vcpus`` are those at power-on, 0 if unknown.

    ``qemu`` and ``harness`` are process numbers: 0 if there is no such process, or none on this host.
    """

    name: str
    state: MachineCondition
    guest: str
    vcpus: int
    age: int
    qemu: int
    harness: int
    directory: str
    uri: str = ""
    domain: str = ""


def state_of(entry: MachineEntry) -> MachineCondition:
    """Return the machine's state."""
    if entry.harness.alive():
        if entry.qemu is None:
            return "running" if is_remote(entry.uri) and len(entry.command) > 1 else "starting"
        return "running" if entry.qemu.alive() else "ending"
    here = ProcessName.of(os.getpid())
    if entry.domain and entry.qemu is None and (is_remote(entry.uri) or _same_boot(entry, here)):
        # Only libvirt can report this.
        return "orphaned"
    return "orphaned" if entry.processes() else "gone"


def _same_boot(entry: MachineEntry, here: ProcessName | None) -> bool:
    return here is not None and here.boot == entry.harness.boot


def listed(registry: Registry) -> list[ListedMachine]:
    """Return all machines in the registry, oldest first."""
    return [_listed(entry) for entry in registry.entries()]


def _listed(entry: MachineEntry) -> ListedMachine:
    age = 0.0
    with contextlib.suppress(OSError):
        age = time.time() - Path(entry.file).stat().st_mtime
    return ListedMachine(
        name=entry.name,
        state=state_of(entry),
        guest=RunDirectory(Path(entry.directory)).brief().guest,
        vcpus=_processors(entry.command),
        age=max(0, int(age)),
        qemu=entry.qemu.pid if entry.qemu is not None and entry.qemu.alive() else 0,
        harness=entry.harness.pid if entry.harness.alive() else 0,
        directory=entry.directory,
        uri=entry.uri,
        domain=entry.domain,
    )


def _processors(command: list[str]) -> int:
    """Return the number of processors in ``-smp``: the harness writes ``cpus=2,…``, libvirt ``2,…``."""
    for word, following in pairwise(command):
        if word == "-smp" and (found := _PROCESSORS.match(following)):
            return int(found[1])
    return 0
