# SPDX-License-Identifier: MIT
"""The file limit: RLIMIT_FSIZE of a machine's process, the last protection against a guest that fills the host's disk.

The budgets (:mod:`harness.capture.live.budget`) keep the guest's output small. In addition the kernel ends a process that
makes a file larger than this limit (setrlimit(2): SIGXFSZ). The limit is at least the largest file that a run may write.
"""

from __future__ import annotations

import contextlib
import resource
from pathlib import Path

from harness.machine.attachments import Disk
from harness.machine.machine import MachineSpec

SLACK = 1 << 30
"""Bytes in addition to the counted ones: headers, firmware, video memory, the state of devices."""

PER_PAGE = 64
"""A migration state has a few bytes for each page of 4 KiB, and a qcow2 image 8 bytes and more for each cluster: less
than this part of the whole (QEMU: docs/devel/migration, docs/interop/qcow2)."""

BLOCK = 512
"""Bytes of a block of the shell's ``ulimit -f`` (POSIX)."""


def largest_file(spec: MachineSpec, *, channel: int = 0) -> int:
    """Return the size in bytes of the largest file that QEMU may write for a machine.

    The candidates are a disk's overlay as large as the disk, the guest's memory (a dump, a migration state, the file behind
    a DIMM), and the guest's output on a channel. ``channel`` bytes of that output are kept.
    """
    memory = max(spec.memory, spec.max_memory)
    disks = [virtual_size(disk) for disk in spec.disks]
    whole = max([memory, channel, *disks])
    return whole + whole // PER_PAGE + SLACK


def virtual_size(disk: Disk) -> int:
    """Return the bytes that the guest sees of a disk: the file's own size if it is not a qcow2 image, 0 if it is missing."""
    with contextlib.suppress(OSError), Path(disk.file).open("rb") as file:
        header = file.read(32)
        if header[:4] == b"QFI\xfb":
            # Magic, version, backing file's offset and length, cluster bits, size (QEMU: docs/interop/qcow2).
            return int.from_bytes(header[24:32], "big")
        return file.seek(0, 2)
    return 0


def blocks(most: int) -> int:
    """Return a limit of ``most`` bytes for ``ulimit -f``, or less if this process has a lower limit."""
    own = [one for one in resource.getrlimit(resource.RLIMIT_FSIZE) if one != resource.RLIM_INFINITY]
    return min([-(-most // BLOCK), *(one // BLOCK for one in own)])
