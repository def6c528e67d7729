# SPDX-License-Identifier: MIT
"""Leftovers: what killed runs left on this host, and how each kind is removed.

A leftover belongs to this user and is proved to be unused. A machine is proved by the identity of the process that
started it. A directory or a lease is proved by a lock, which the kernel took from its owner. Age proves nothing.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import msgspec

from harness.errors import system_errors
from harness.host import runtime
from harness.host.file_lock import taken
from harness.host.lease import Leases
from harness.host.registry import MachineEntry, Registry
from harness.lab.inventory import state_of
from harness.machine.orphan import end_orphan

IMAGES_KEPT = 5
"""The number of twin images to keep: those used last. Each is rebuilt in seconds if its sources are needed again."""


class Leftover(msgspec.Struct, frozen=True, kw_only=True):
    """Something to remove. ``text`` says what it is and how it is removed.

    ``remove`` removes it. It raises HarnessError if it is still there. A leftover that is already gone raises nothing.
    """

    text: str
    remove: Callable[[], object]


def leftovers(registry: Registry, leases: Leases | None, cache: Path) -> list[Leftover]:
    """Return what can be removed, machines first. ``leases`` is None where leases cannot be read."""
    entries = registry.entries()
    found = [_dead_machine(registry, entry) for entry in entries if not entry.harness.alive()]
    named = {entry.runtime for entry in entries}
    # The runtime directories of machines that were never entered into the registry.
    found += [
        Leftover(text=f"remove runtime directory {path}", remove=partial(runtime.remove, path))
        for path in runtime.abandoned()
        if str(path) not in named
    ]
    # Their writers were killed before they were complete.
    found += [
        Leftover(text=f"remove half-written entry {path}", remove=partial(_unlink, path))
        for path in registry.half_written()
    ]
    if leases is not None and (count := leases.sweep(dry=True).removed):
        # Their holders have died; for root, all files that are not live leases. They no longer count.
        text = f"remove {count} files of dead leases in {leases.directory}"
        found.append(Leftover(text=text, remove=leases.sweep))
    # An image, or a snapshot with a guest's whole memory, whose maker was killed.
    for path in (cache / "twin" / "image.new", cache / "states" / "new"):
        with _makers_lock(path.parent) as free:
            if free and path.is_dir():
                found.append(Leftover(text=f"remove half-built {path}", remove=partial(_remove_made, path)))
    found += [
        Leftover(text=f"remove image {path}", remove=partial(_remove_made, path))
        for path in old_images(cache, entries)
    ]
    return found


def _dead_machine(registry: Registry, entry: MachineEntry) -> Leftover:
    """Return a machine whose harness has died, by its name and its run directory."""
    what = "end" if state_of(entry) == "orphaned" else "forget"
    where = f"domain {entry.domain} at {entry.uri}" if entry.domain else "QEMU"
    number = f" (process {entry.qemu.pid})" if entry.qemu is not None and entry.qemu.alive() else ""
    return Leftover(
        text=f"{what} machine {entry.name}, {where}{number}, of {entry.directory}",
        remove=partial(end_orphan, registry, entry),
    )


def _remove_made(path: Path) -> None:
    """Remove what a process made in the cache, unless one makes or looks up something there now."""
    with _makers_lock(path.parent) as held:
        if held:
            shutil.rmtree(path, ignore_errors=True)


def old_images(cache: Path, entries: list[MachineEntry]) -> list[Path]:
    """Return the twin's images except those used last and those that a machine in the registry boots from."""
    place = cache / "twin"
    used = " ".join(word for entry in entries for word in entry.command)
    images = []
    for path in place.glob("image-*"):
        with contextlib.suppress(OSError):
            images.append((path.stat().st_mtime_ns, path))
    return [path for _, path in sorted(images, reverse=True)[IMAGES_KEPT:] if str(path) not in used]


@contextlib.contextmanager
def _makers_lock(place: Path) -> Iterator[bool]:
    """Hold the makers' lock of ``place``, unless another process holds it."""
    try:
        descriptor = os.open(place / "lock", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        yield False
        return
    try:
        yield taken(descriptor)
    finally:
        os.close(descriptor)


def _unlink(path: Path) -> None:
    with system_errors(f"cannot remove {path}"):
        path.unlink(missing_ok=True)
