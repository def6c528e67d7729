# SPDX-License-Identifier: MIT
"""Snapshots of machines: a ready guest, kept in files, so that a run begins where its boot ended.

A snapshot is identified by all its dependencies: the machine, the guest's image, QEMU, the accelerator. The first
process that needs it makes it, and others wait. A restored machine writes to overlays of its own: the snapshot itself
never changes.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec

from harness.deadline import Deadline
from harness.errors import system_errors
from harness.history.json_file import read_json
from harness.host.file_lock import locked
from harness.host.processor_vendor import host_processor
from harness.machine.attachments import Disk
from harness.machine.disk_image import make_overlay
from harness.machine.machine import MachineSpec
from harness.machine.migration_state import Added, Incoming
from harness.setup.content import ContentDigests, ContentError

KEPT = 8
"""Snapshots that are kept whatever they take. Each holds a guest's memory."""

ROOM = 3 << 30
"""Bytes that all snapshots together may take before a new one removes those used longest ago, down to :data:`KEPT`."""

MEMORY = "memory"
DESCRIPTION = "state.json"


class MachineSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """One snapshot. ``mapped`` is the form of its memory, ``added`` what had been hot-added, ``said`` the guest's events
    (name, detail).

    ``digest`` identifies its dependencies, ``directory`` is its place, ``content`` has the SHA-256 of its files.
    """

    digest: str
    directory: str = ""
    mapped: bool = False
    added: list[Added] = []
    said: list[tuple[str, str]] = []
    content: dict[str, str] = {}

    @property
    def memory(self) -> Path:
        """The file that QEMU reads."""
        return Path(self.directory) / MEMORY


def digest_of(spec: MachineSpec, image: str, qemu: str) -> str:
    """Return the identity of the snapshot of a guest made from ``image`` on a machine under a QEMU, 64 hex digits.

    The places of its own files do not matter, nor do devices that only people look at.
    """
    plain = msgspec.structs.replace(
        spec,
        qemu=Path(),
        monitor=False,
        clients=1,
        incoming=None,
        flash=None,
        disks=tuple(msgspec.structs.replace(disk, file=Path(), below=None) for disk in spec.disks),
    )
    facts = [msgspec.json.encode(plain, enc_hook=str).decode(), image, qemu]
    if spec.flash is not None:
        facts.append(str(spec.flash.code))
    if spec.firmware is not None:
        facts.append(hashlib.sha256(spec.firmware.read_bytes()).hexdigest())
    if spec.accelerator == "kvm":
        # The guest may have seen the type of the host's processor.
        facts.append(host_processor())
    return hashlib.sha256("\0".join(facts).encode()).hexdigest()


class SnapshotStore:
    """The snapshots in a cache directory, shared by all runs of the user. ``room`` is in bytes."""

    def __init__(self, cache: Path, *, room: int = ROOM) -> None:
        self._room = room
        self._place = cache / "states"
        self._content = ContentDigests(cache)

    def find(self, digest: str, say: Callable[[str], None] = lambda _: None) -> MachineSnapshot | None:
        """Return the snapshot if it is there, complete and unchanged, and note its use; ``say`` reports damage."""
        directory = self._place / digest[:16]
        snapshot = read_json(directory / DESCRIPTION, MachineSnapshot)
        if snapshot is None or snapshot.digest != digest:
            return None
        try:
            content = self._content.check(directory)
        except ContentError as error:
            say(f"the snapshot in {directory} is damaged and is made anew: {error}")
            return None
        with contextlib.suppress(OSError):  # a read-only cache works too
            os.utime(directory)
        snapshot = msgspec.structs.replace(snapshot, directory=str(directory), content=content)
        return snapshot if snapshot.memory.is_file() else None

    def discard(self, snapshot: MachineSnapshot) -> None:
        """Remove a snapshot that QEMU cannot read. It is made anew when it is needed again."""
        shutil.rmtree(snapshot.directory, ignore_errors=True)

    def provide(
        self,
        digest: str,
        make: Callable[[Path], MachineSnapshot],
        deadline: Deadline,
        say: Callable[[str], None],
    ) -> MachineSnapshot:
        """Return the snapshot. If there is none, make it first, in an empty directory that is then kept.

        ``make`` writes :data:`MEMORY` and the files that belong to it there and returns the description. Raises what
        ``make`` raises, and InfrastructureError if it cannot be kept.
        """
        if (snapshot := self.find(digest, say)) is not None:
            return snapshot
        with system_errors(
            f"cannot keep a snapshot in {self._place}",
            hint="Free some disk space, or start from power-on: leave out --restore.",
        ):
            self._place.mkdir(parents=True, exist_ok=True, mode=0o700)
            with locked(self._place / "lock", "saving a snapshot", deadline, say):
                if (snapshot := self.find(digest)) is not None:
                    return snapshot
                return self._make(digest, make)

    def _make(self, digest: str, make: Callable[[Path], MachineSnapshot]) -> MachineSnapshot:
        work = self._place / "new"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(mode=0o700)
        try:
            snapshot = make(work)
            (work / DESCRIPTION).write_bytes(msgspec.json.encode(snapshot))
            content = self._content.seal(work)
            directory = self._place / digest[:16]
            shutil.rmtree(directory, ignore_errors=True)
            work.rename(directory)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        self._prune()
        return msgspec.structs.replace(snapshot, directory=str(directory), content=content)

    def _prune(self) -> None:
        """Remove snapshots beyond those kept. A machine can still read one that it has open."""
        snapshots = [path for path in self._place.iterdir() if (path / DESCRIPTION).is_file()]
        snapshots.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        taken = 0
        for number, path in enumerate(snapshots, 1):
            with contextlib.suppress(FileNotFoundError):  # discarded by another process meanwhile
                taken += sum(file.lstat().st_blocks * 512 for file in path.iterdir())
            if number > KEPT and taken > self._room:
                shutil.rmtree(path, ignore_errors=True)


def restored(spec: MachineSpec, snapshot: MachineSnapshot, into: Path, deadline: Deadline) -> MachineSpec:
    """Return the machine that continues ``snapshot``: its disks and variables are overlays of the saved ones.

    They are made in ``into``; ``spec`` is the machine as it would be started.
    """
    saved = Path(snapshot.directory)
    disks = []
    for number, disk in enumerate(spec.disks):
        file = into / f"restored-{disk.node}.qcow2"
        make_overlay(file, saved / disk_name(number, disk), deadline)
        disks.append(msgspec.structs.replace(disk, file=file, format="qcow2"))
    flash = spec.flash
    if flash is not None:
        variables = into / "restored-variables.qcow2"
        make_overlay(variables, saved / "variables.qcow2", deadline)
        flash = msgspec.structs.replace(flash, variables=variables, variables_format="qcow2")
    return msgspec.structs.replace(
        spec,
        incoming=Incoming(file=snapshot.memory, mapped=snapshot.mapped),
        added=tuple(snapshot.added),
        disks=tuple(disks),
        flash=flash,
    )


def disk_name(number: int, disk: Disk) -> str:
    """Return the name of a saved disk in its snapshot's directory."""
    return f"disk-{number}.{disk.format}"
