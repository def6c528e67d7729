# SPDX-License-Identifier: MIT
"""The memory backend of a DIMM: the host memory that holds its bytes (QEMU: qapi/qom.json, memory-backend-*).

A file is made here, in the run directory, under a name of the harness's own and readable by its owner only. Its name is
removed as soon as QEMU has opened it, so that its space is freed when QEMU ends for any reason.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from harness.errors import MAKE_ROOM, CommandRefused, HostExhausted, InfrastructureError
from harness.host.budget import size_text

BackendKind = Literal["ram", "file", "memfd"]

EXHAUSTED = re.compile(
    "preallocating memory failed|os_mem_prealloc|Insufficient free host memory|Cannot allocate memory|No space left"
)
"""QEMU's words when the host lacks memory or disk space (QEMU: util/oslib-posix.c, softmmu/physmem.c)."""


class MemoryBackend(msgspec.Struct, frozen=True, kw_only=True):
    """The backing of a DIMM. Sizes in bytes.

    ``kind``: ``ram`` is anonymous memory, ``file`` a file in the run directory, ``memfd`` anonymous memory that has a
    descriptor. ``share`` None is QEMU's default: it shares only a memfd. ``prealloc`` allocates every page at
    once; without it a file is sparse. ``hugepages`` is the size of the host's pages, 0 for its usual ones. ``host_nodes``
    binds the memory to nodes of the host. ``file_size`` is the length of the file, None for that of the DIMM.
    """

    kind: BackendKind = "ram"
    share: bool | None = None
    prealloc: bool = False
    hugepages: int = 0
    host_nodes: tuple[int, ...] = ()
    file_size: int | None = None

    @property
    def plain(self) -> bool:
        """Whether it is the default backing of a DIMM."""
        return self == MemoryBackend()

    def properties(self, name: str, size: int, file: Path | None) -> dict[str, Any]:
        """Return the arguments of ``object-add``; ``file`` is that of a ``file``."""
        found: dict[str, Any] = {"qom-type": f"memory-backend-{self.kind}", "id": name, "size": size}
        if file is not None:
            found["mem-path"] = str(file)
        if self.share is not None:
            found["share"] = self.share
        if self.prealloc:
            found["prealloc"] = True
        if self.hugepages:
            found |= {"hugetlb": True, "hugetlbsize": self.hugepages}
        if self.host_nodes:
            found |= {"host-nodes": list(self.host_nodes), "policy": "bind"}
        return found

    @contextlib.contextmanager
    def made_file(self, directory: Path, size: int) -> Iterator[Path | None]:
        """Make the file of a ``file`` backend while QEMU opens it. Raises InfrastructureError."""
        if self.kind != "file":
            yield None
            return
        try:
            descriptor, name = tempfile.mkstemp(prefix="dimm-memory-", dir=directory)
        except OSError as error:
            raise _no_file(directory, error) from error
        file = Path(name)
        try:
            try:
                os.ftruncate(descriptor, size if self.file_size is None else self.file_size)
            except OSError as error:
                raise _no_file(directory, error) from error
            finally:
                os.close(descriptor)
            yield file
        finally:
            with contextlib.suppress(OSError):
                file.unlink()


def _no_file(directory: Path, error: OSError) -> InfrastructureError:
    return InfrastructureError(
        f"cannot make the file for a DIMM's memory in {directory}: {error.strerror}",
        hint="Give another place with --runs DIR.",
    )


RAM = MemoryBackend()


def not_of_one_dimm(backend: MemoryBackend) -> tuple[str, str] | None:
    """Return what libvirt sets only for a whole domain and not for one DIMM: the option, and its words; None if nothing.

    For all memory of a domain, ``memoryBacking`` sets whether it is a memfd and allocated at once. Pages of another
    size are always allocated at once (libvirt: formatdomain.html). The file of a DIMM is libvirt's own.
    """
    if backend.file_size is not None:
        return "file_size", "the size of a file"
    if backend.hugepages:
        return None
    if backend.kind == "memfd":
        return "backend", "a memfd"
    if backend.prealloc:
        return "prealloc", "preallocation"
    return (
        ("share", "the sharing of memory that is not a file")
        if backend.share and backend.kind == "ram"
        else None
    )


@contextlib.contextmanager
def exhaustion(device: str, size: int, backend: MemoryBackend, place: Path | None) -> Iterator[None]:
    """Turn a refusal for lack of memory or disk space into HostExhausted; ``place`` is the file's directory, if known."""
    try:
        yield
    except CommandRefused as error:
        if EXHAUSTED.search(error.description) is None:
            raise
        wanted = f"{size_text(size)} for the DIMM {device!r}"
        if backend.kind == "file" and not backend.hugepages:
            free = f", where {size_text(shutil.disk_usage(place).free)} are free" if place is not None else ""
            said = f"the disk has no room to preallocate {wanted}: its file is in {place or 'a directory of libvirt'}{free}"
            hint = f"{MAKE_ROOM} Without prealloc = true the file is sparse."
        elif backend.hugepages:
            said = f"the host has too few free pages of {size_text(backend.hugepages)} for {wanted}"
            hint = "Another program took them since they were counted. Reserve more, or run the plan alone."
        else:
            said = f"the host has too little free memory for {wanted}"
            hint = "End something that takes memory, or ask for a smaller DIMM."
        raise HostExhausted(f"{said}. QEMU says: {error.description}", hint=hint) from error
