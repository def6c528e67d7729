# SPDX-License-Identifier: MIT
"""Whether this host has the room for a run: memory, disk, and a cache in which to build."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from harness.errors import UsageError
from harness.host.host_part import HostPart, PartState
from harness.setup.cache import cache_directory

LEAST_DISK = 1 << 30
"""Bytes that the twin's image, its build and a run's evidence may take, with room to spare."""

LEAST_MEMORY = 1 << 30
"""Bytes of available memory for one twin (512 MiB at power-on, plus a hot-added DIMM and QEMU itself)."""


def examine_cache(environment: Mapping[str, str]) -> tuple[Path | None, list[HostPart]]:
    """Return the cache, or None and the part that says why there is no cache."""
    try:
        return cache_directory(environment), []
    except UsageError as error:
        return None, [_broken_cache(error.message, error.hint)]


def _broken_cache(found: str, supply: str) -> HostPart:
    return HostPart(
        name="cache",
        state=PartState.BROKEN,
        found=found,
        serves="the twin's image and everything else that is built",
        needed=True,
        supply=supply,
    )


def unwritable_cache(cache: Path) -> list[HostPart]:
    """Return the part only if nothing can be built there, and the twin has not been built there before."""
    if any(cache.glob("twin/image-*/image.json")):
        return []
    place = _nearest(cache)
    if place.is_dir() and os.access(place, os.W_OK | os.X_OK):
        return []
    return [
        _broken_cache(
            f"{cache} cannot be made: {place} cannot be written to",
            "Set HOTPLUG_HARNESS_CACHE to a directory that you may write to.",
        )
    ]


def _nearest(path: Path) -> Path:
    """Return the path, or the nearest of its parents that exists."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def disk(directory: Path | None) -> HostPart:
    """Examine the disk for runs, by default that of the working directory."""
    part = partial(HostPart, name="disk", serves="the twin's image and the evidence of runs", needed=True)
    try:
        directory = directory or Path.cwd()
    except OSError as error:
        found = f"the working directory is gone: {error.strerror}"
        return part(state=PartState.BROKEN, found=found, supply="cd")
    directory = _nearest(directory)
    free = shutil.disk_usage(directory).free
    found = f"{free / (1 << 30):.1f} GiB free at {directory}"
    if free < LEAST_DISK:
        supply = "Free some space, or give another place with --runs DIR."
        return part(state=PartState.BROKEN, found=found, supply=supply)
    if not os.access(directory, os.W_OK | os.X_OK):
        supply = "Go to a directory you may write to, or give one with --runs DIR."
        return part(state=PartState.BROKEN, found=f"{directory} cannot be written to", supply=supply)
    return part(state=PartState.OK, found=found)


def memory() -> HostPart:
    """Examine the memory that a guest could have."""
    free = _available_memory()
    enough = free >= LEAST_MEMORY
    return HostPart(
        name="memory",
        state=PartState.OK if enough else PartState.BROKEN,
        found=f"{free / (1 << 30):.1f} GiB available",
        serves="the guest",
        needed=True,
        supply="" if enough else "End something that takes memory: a guest needs 1 GiB.",
    )


def _available_memory() -> int:
    """Return the kernel's own estimate of what can be allocated without swapping, in bytes (proc(5), MemAvailable)."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
