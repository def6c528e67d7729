# SPDX-License-Identifier: MIT
"""The budget: how much of this host all machines together may hold, and how much one machine needs.

A deadline that passes because the host was overloaded looks like a hung guest, and memory that the host does not
have gets a QEMU killed. Both make a run unknown that would have held. So the machines of all users share one budget:

- **Processors**: eight per processor of the host. They can be overcommitted: an idle one costs nothing, and a busy one
  under TCG is a thread. At eight per processor a guest that is busy on all of them runs at an eighth of its speed, and
  the shortest deadline of a run allows for more. A machine with more processors than that still runs, alone.
- **Memory**: three quarters of the host's. It cannot be overcommitted, so a machine that needs more is refused.
- **Disk**: nine tenths of the free space where the run directories are made. A machine may use less than it could. So one
  that could use more than the budget runs too, alone. A disk that does fill up ends a run with that message.

``[budget]`` of the host's ``lab.toml`` and the environment set other values. The environment takes precedence.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec

from harness.config import decode_toml, read_document
from harness.errors import UsageError
from harness.size import Size

PROCESSORS_PER_CORE = 8
MEMORY_SHARE = 0.75
DISK_SHARE = 0.9

HOST_DOCUMENT = Path("/etc/hotplug-harness/lab.toml")
"""The administrator's settings for all users of this host; ``HOTPLUG_HARNESS_LAB`` names another file."""

VARIABLE = "HOTPLUG_HARNESS_BUDGET_"
"""The prefix of the environment variables: ``…VCPUS``, ``…MEMORY``, ``…DISK``, ``…WAIT``."""


class ResourceRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The needs of one machine: processors, and bytes of memory and of disk."""

    vcpus: int
    memory: int
    disk: int = 0


class BudgetWishes(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The table ``[budget]``: ``vcpus``; ``memory`` and ``disk`` as sizes; ``wait``, the most seconds that a machine queues."""

    vcpus: Annotated[int, msgspec.Meta(ge=1)] | None = None
    memory: Size | None = None
    disk: Size | None = None
    wait: Annotated[float, msgspec.Meta(gt=0)] | None = None


class _Lab(msgspec.Struct, frozen=True):
    """The budget's part of a lab.toml. Other modules read the other tables."""

    budget: BudgetWishes = BudgetWishes()


class HostBudget(msgspec.Struct, frozen=True, kw_only=True):
    """The share of this host for all machines: processors, bytes of memory, bytes of disk where ``place`` is.

    ``fixed_vcpus`` and ``fixed_disk`` are true if they were set explicitly: then nothing larger runs, not even alone.
    ``wait`` is how many seconds a machine may queue.
    """

    vcpus: int
    memory: int
    disk: int
    fixed_vcpus: bool = False
    fixed_disk: bool = False
    wait: float = 3600.0

    def fitting(self, request: ResourceRequest) -> ResourceRequest:
        """Return what ``request`` counts as. Raises UsageError with the numbers if it can never be satisfied."""
        lacking = [
            f"{_amount(what, wanted)}, and the host's budget is {_amount(what, have)}"
            for what, wanted, have in (
                ("processors", request.vcpus, self.vcpus if self.fixed_vcpus else request.vcpus),
                ("memory", request.memory, self.memory),
                ("disk", request.disk, self.disk if self.fixed_disk else request.disk),
            )
            if wanted > have
        ]
        if lacking:
            raise UsageError(
                f"this machine can never run here: it needs {'; it needs '.join(lacking)}",
                hint=f"Ask for a smaller machine, or raise the host's budget: {VARIABLE}VCPUS, …MEMORY, …DISK, or "
                f"[budget] in {HOST_DOCUMENT}.",
            )
        return msgspec.structs.replace(
            request, vcpus=min(request.vcpus, self.vcpus), disk=min(request.disk, self.disk)
        )


def _amount(what: str, number: int) -> str:
    return f"{number} processors" if what == "processors" else f"{size_text(number)} of {what}"


def size_text(size: int) -> str:
    """Return a number of bytes as text for people: *4.5 GiB*."""
    if size < 1 << 30:
        return f"{size >> 20} MiB"
    return f"{size / (1 << 30):.1f}".removesuffix(".0") + " GiB"


def host_budget(environment: Mapping[str, str], place: Path) -> HostBudget:
    """Return the budget of this host; ``place`` is where run directories are made.

    Raises UsageError for an invalid variable, BadDocument for a lab.toml that cannot be read.
    """
    document = environment.get("HOTPLUG_HARNESS_LAB", "")
    wishes = _read(Path(document) if document else HOST_DOCUMENT, needed=bool(document))
    vcpus = _number(environment, "VCPUS") or wishes.vcpus
    disk = _size(environment, "DISK", wishes.disk)
    budget = HostBudget(
        vcpus=vcpus or PROCESSORS_PER_CORE * (os.cpu_count() or 1),
        memory=_size(environment, "MEMORY", wishes.memory) or int(_memory() * MEMORY_SHARE),
        disk=disk or int(_free(place) * DISK_SHARE),
        fixed_vcpus=vcpus is not None,
        fixed_disk=disk is not None,
    )
    wait = _number(environment, "WAIT") or wishes.wait
    return msgspec.structs.replace(budget, wait=float(wait)) if wait else budget


def _read(path: Path, *, needed: bool) -> BudgetWishes:
    if not needed and not path.exists():
        return BudgetWishes()
    return decode_toml(read_document(path), _Lab, name=str(path)).budget


def _number(environment: Mapping[str, str], name: str) -> int | None:
    text = environment.get(VARIABLE + name, "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and int(text[:10]) > 0 and len(text) <= 9):
        raise UsageError(f"{VARIABLE}{name} is {text!r}", hint="Write a whole number of at least 1.")
    return int(text)


def _size(environment: Mapping[str, str], name: str, wished: Size | None) -> int | None:
    text = environment.get(VARIABLE + name, "")
    try:
        found = Size(text) if text else wished
        return None if found is None else int(found)
    except ValueError as error:
        raise UsageError(f"{VARIABLE}{name}: {error}") from error


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _free(place: Path) -> int:
    """Return the free bytes on the disk where ``place`` is, or will be made."""
    for path in (place, *place.absolute().parents):
        try:
            return shutil.disk_usage(path).free
        except OSError:
            continue
    return 0
