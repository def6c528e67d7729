# SPDX-License-Identifier: MIT
"""The inventory: the machines of this user that the registry knows, and how each of them is."""

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
"""``running``, ``starting`` and ``ending`` have a live harness. ``orphaned`` has none, and QEMU goes on, as far as is
known; of ``gone`` nothing is left but files. The last two are for ``harness gc``."""

_PROCESSORS = re.compile(r"(?:cpus=)?(\d{1,4})(?:,|$)")


class ListedMachine(msgspec.Struct, frozen=True, kw_only=True):
    """One machine. ``age`` in seconds since its harness noted it; ``vcpus`` at power-on, 0 if that is not known.

    ``qemu`` and ``harness`` are process numbers, 0 if there is none, or none on this host.
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
    """Return how a machine is."""
    if entry.harness.alive():
        if entry.qemu is None:
            return "running" if is_remote(entry.uri) and len(entry.command) > 1 else "starting"
        return "running" if entry.qemu.alive() else "ending"
    here = ProcessName.of(os.getpid())
    if entry.domain and entry.qemu is None and (is_remote(entry.uri) or _same_boot(entry, here)):
        # Only libvirt knows.
        return "orphaned"
    return "orphaned" if entry.processes() else "gone"


def _same_boot(entry: MachineEntry, here: ProcessName | None) -> bool:
    return here is not None and here.boot == entry.harness.boot


def listed(registry: Registry) -> list[ListedMachine]:
    """Return all machines that the registry knows, oldest first."""
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
    """Return what ``-smp`` says: QEMU is given ``cpus=2,…`` by us and ``2,…`` by libvirt."""
    for word, following in pairwise(command):
        if word == "-smp" and (found := _PROCESSORS.match(following)):
            return int(found[1])
    return 0
