# SPDX-License-Identifier: MIT
"""Modules of the distribution's kernel for devices that a twin has only on a plan's request."""

from __future__ import annotations

import lzma
from collections.abc import Iterator

from harness.guest.twin.kernel_package import UnpackedKernel
from harness.machine.machine import MachineSpec

VIRTIO = ("virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci")

MODULES = (*VIRTIO, "virtio_mem", "virtio_balloon", "libnvdimm", "nfit")
"""All modules that :func:`wanted_modules` can return."""


def wanted_modules(spec: MachineSpec) -> list[str]:
    """Return the modules that the machine's devices need, in the order in which they are inserted.

    The agent skips a module that is built into the kernel, or that does not exist.
    """
    wanted = [*VIRTIO] if spec.virtio_mem or spec.balloon else []
    wanted += ["virtio_mem"] if spec.virtio_mem else []
    wanted += ["virtio_balloon"] if spec.balloon else []
    wanted += ["libnvdimm", "nfit"] if spec.nvdimm else []
    return wanted


def module_files(kernel: UnpackedKernel) -> Iterator[tuple[str, bytes]]:
    """Yield the :data:`MODULES` that the kernel's package has.

    Debian 13 compresses them and has them in ``/usr/lib``. Ubuntu has another package for them.
    """
    folders = [kernel.root / place / "modules" / kernel.release / "kernel" for place in ("lib", "usr/lib")]
    files = sorted(path for folder in folders for path in folder.rglob("*.ko*"))
    found = {path.name.partition(".")[0]: path for path in files}
    for name in MODULES:
        path = found.get(name)
        if path is not None and path.suffix in (".ko", ".xz"):
            data = path.read_bytes()
            yield name, lzma.decompress(data) if path.suffix == ".xz" else data
