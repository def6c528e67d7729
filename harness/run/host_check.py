# SPDX-License-Identifier: MIT
"""What a plan's DIMMs require of the host, checked before anything boots."""

from __future__ import annotations

import shutil
from pathlib import Path

from harness.errors import MAKE_ROOM, UsageError
from harness.host.budget import size_text
from harness.host.host_memory import check_huge_pages, check_nodes
from harness.host.qemu_build import QemuBuild
from harness.machine.devices import LARGEST_APIC_ID, needs_x2apic
from harness.machine.machine import RUN_SIZE, MachineSpec
from harness.run.operation import AddDimm
from harness.run.plan import Plan

TCG_X2APIC = 9
"""The first major version of QEMU whose TCG emulates x2APIC."""


def check_host(plan: Plan, directory: Path, *, backend: str = "qemu") -> None:
    """Check that the host has what the plan's DIMMs need; ``directory`` will have their files.

    An add that is expected to be refused requires nothing. Raises UsageError for huge pages and nodes that
    the host does not have, and for preallocated files that do not fit. libvirt keeps files in its own
    directory.
    """
    dimms = [one for one in plan.do if isinstance(one, AddDimm) and one.expect != "refused"]
    pages: dict[int, int] = {}
    for dimm in dimms:
        if dimm.hugepages:
            pages[int(dimm.hugepages)] = pages.get(int(dimm.hugepages), 0) + int(dimm.size)
    check_huge_pages(pages)
    check_nodes(sorted({node for dimm in dimms for node in dimm.host_nodes or ()}))
    files = sum(int(dimm.size) for dimm in dimms if dimm.backend == "file" and dimm.prealloc)
    free = shutil.disk_usage(directory).free
    if files and backend == "qemu" and files + RUN_SIZE > free:
        raise UsageError(
            f"the plan's preallocated DIMMs are files of {size_text(files)} together, and {directory} has room for "
            f"{size_text(max(free - RUN_SIZE, 0))}",
            hint=f"{MAKE_ROOM} Without prealloc = true a file is sparse.",
        )


def check_apic_ids(spec: MachineSpec, qemu: QemuBuild) -> None:
    """Check that this QEMU can number so many processors without KVM. Raises UsageError.

    TCG has x2APIC since QEMU 9.0 (QEMU: hw/intc/apic.c, hw/i386/x86.c); before, the last processor's number is 254.
    """
    old = int(qemu.version.partition(".")[0]) < TCG_X2APIC
    if spec.accelerator == "tcg" and old and needs_x2apic(spec):
        raise UsageError(
            f"QEMU {qemu.version} runs at most {LARGEST_APIC_ID + 1} processors under TCG, and max_processors is "
            f"{spec.max_processors}",
            hint=f"More need KVM (--accel kvm), or QEMU {TCG_X2APIC}.0 or newer: --qemu PATH.",
        )


def asks_host(plan: Plan) -> bool:
    """Return whether the plan has DIMMs that need more than memory from the host."""
    return any(isinstance(one, AddDimm) and not one.made_of.plain for one in plan.do)
