# SPDX-License-Identifier: MIT
"""Leftovers: what killed runs left on this host, and how each kind is removed.

A leftover belongs to this user and is proved to be unused. A machine is proved by the identity of the process that
started it. A directory or a lease is proved by a lock, which the kernel took from its owner. Age proves nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import msgspec

from harness.errors import system_errors
from harness.host import runtime
from harness.host.lease import Leases
from harness.host.registry import MachineEntry, Registry
from harness.lab.inventory import state_of
from harness.machine.orphan import end_orphan

IMAGES_KEPT = 5
"""The number of twin images to keep: those used last. Each is rebuilt in seconds if its sources are needed again."""


class Leftover(Protocol):
    """Something to remove. ``text`` says what it is and how it is removed."""

    @property
    def text(self) -> str: ...  # noqa: D102

    def remove(self) -> None:
        """Remove it. Raises HarnessError if it is still there. A leftover that is already gone raises nothing."""


class DeadMachine(msgspec.Struct, frozen=True):
    """A machine whose harness has died."""

    registry: Registry
    entry: MachineEntry

    @property
    def text(self) -> str:
        """The machine by its name and its run directory."""
        entry = self.entry
        what = "end" if state_of(entry) == "orphaned" else "forget"
        where = f"domain {entry.domain} at {entry.uri}" if entry.domain else "QEMU"
        number = f" (process {entry.qemu.pid})" if entry.qemu is not None and entry.qemu.alive() else ""
        return f"{what} machine {entry.name}, {where}{number}, of {entry.directory}"

    def remove(self) -> None:
        """End the machine."""
        end_orphan(self.registry, self.entry)


class LooseDirectory(msgspec.Struct, frozen=True):
    """The runtime directory of a machine that was never entered into the registry."""

    path: Path

    @property
    def text(self) -> str:
        """Its path."""
        return f"remove runtime directory {self.path}"

    def remove(self) -> None:
        """Remove it with its sockets."""
        runtime.remove(self.path)


class HalfEntry(msgspec.Struct, frozen=True):
    """A registry entry whose writer was killed before it was complete."""

    path: Path

    @property
    def text(self) -> str:
        """Its path."""
        return f"remove half-written entry {self.path}"

    def remove(self) -> None:
        """Remove the file."""
        _unlink(self.path)


class DeadLeases(msgspec.Struct, frozen=True):
    """Lease files whose holders have died; for root, all files that are not live leases. They no longer count."""

    leases: Leases
    count: int

    @property
    def text(self) -> str:
        """The number of files."""
        return f"remove {self.count} files of dead leases in {self.leases.directory}"

    def remove(self) -> None:
        """Remove the files."""
        self.leases.sweep()


class HalfBuilt(msgspec.Struct, frozen=True):
    """An image, or a snapshot with a guest's whole memory, whose maker was killed. A living maker holds the lock
    beside it."""

    path: Path

    @property
    def text(self) -> str:
        """Its path."""
        return f"remove half-built {self.path}"

    def remove(self) -> None:
        """Remove it, unless another process is making one there now."""
        with _makers_lock(self.path.parent) as held:
            if held:
                shutil.rmtree(self.path, ignore_errors=True)


class OldImage(msgspec.Struct, frozen=True):
    """An image of the twin that was not used recently."""

    path: Path

    @property
    def text(self) -> str:
        """Its path."""
        return f"remove image {self.path}"

    def remove(self) -> None:
        """Remove the image, unless one is being built or looked up now."""
        with _makers_lock(self.path.parent) as held:
            if held:
                shutil.rmtree(self.path, ignore_errors=True)


def leftovers(registry: Registry, leases: Leases | None, cache: Path) -> list[Leftover]:
    """Return what can be removed, machines first. ``leases`` is None where leases cannot be read."""
    entries = registry.entries()
    found: list[Leftover] = [DeadMachine(registry, entry) for entry in entries if not entry.harness.alive()]
    named = {entry.runtime for entry in entries}
    found += [LooseDirectory(path) for path in runtime.abandoned() if str(path) not in named]
    found += [HalfEntry(path) for path in registry.half_written()]
    if leases is not None and (count := leases.sweep(dry=True).removed):
        found.append(DeadLeases(leases, count))
    for path in (cache / "twin" / "image.new", cache / "states" / "new"):
        with _makers_lock(path.parent) as free:
            if free and path.is_dir():
                found.append(HalfBuilt(path))
    found += [OldImage(path) for path in old_images(cache, entries)]
    return found


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
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
    else:
        yield True
    finally:
        os.close(descriptor)


def _unlink(path: Path) -> None:
    with system_errors(f"cannot remove {path}"):
        path.unlink(missing_ok=True)
