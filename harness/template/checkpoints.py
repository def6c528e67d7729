# SPDX-License-Identifier: MIT
"""The checkpoints of a build: a stack of disk layers, each frozen when the guest restarted.

A checkpoint is a cut at which the guest itself had let go of its disk: it asked for a restart, QEMU stopped it there,
wrote all it held back and ended (QEMU flushes every disk when the machine stops: do_vm_stop). Its disk layer is never
written again, the next one is put on top; the firmware's variables of that moment are kept beside it. So disk and
variables are always of the same moment, a checkpoint costs no copy of the disk, and going back is throwing away one
layer. Layers and checkpoints count from 1; layer 1 is the empty disk of checkpoint 0, with new variables.

``state.json`` is replaced in one step and says which checkpoint counts: a build that dies between two steps finds the
former one. The working layer is made anew on every start.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from harness.deadline import Deadline
from harness.errors import InfrastructureError
from harness.history.json_file import read_json
from harness.machine import disk_image
from harness.template.progress import BuildPosition

FORMAT = 1

ONE_STEP = 120.0
"""Seconds for one call of qemu-img that moves no data."""


class CheckpointState(msgspec.Struct, frozen=True, kw_only=True):
    """What a resumed build needs to know. ``inputs`` is a digest of all that the build is made from.

    ``shutdown`` is when the guest turned itself off last, in UTC, "" until it does.
    """

    format: int = FORMAT
    inputs: str
    checkpoint: int = 0
    reached: BuildPosition = BuildPosition()
    facts: dict[str, str] = {}
    attempts: int = 0
    seconds: dict[str, float] = {}
    shutdown: str = ""


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turn what the file system refuses into an error that names ``folder``."""
    try:
        yield
    except OSError as error:
        raise InfrastructureError(
            f"cannot write in {folder}: {error.strerror or error}",
            hint="Free some space there, or set HOTPLUG_HARNESS_TEMPLATES to a directory on another disk.",
        ) from error


def _settle(path: Path) -> None:
    """Write a file or a folder out to the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class CheckpointStack:
    """The checkpoints in ``folder``. ``variables`` is the firmware's empty variable store, ``size`` that of the disk in bytes."""

    def __init__(self, folder: Path, *, inputs: str, variables: Path, size: int) -> None:
        self.folder = folder
        self._fresh = variables
        self._size = size
        self.state = self.read(folder) or CheckpointState(inputs=inputs)

    @staticmethod
    def read(folder: Path) -> CheckpointState | None:
        """Return the state of the build in ``folder``, None if there is none of this format."""
        state = read_json(folder / "state.json", CheckpointState)
        return state if state is not None and state.format == FORMAT else None

    @property
    def variables(self) -> Path:
        """The firmware's variables that the machine writes to."""
        return self.folder / "variables.fd"

    @property
    def disk(self) -> Path:
        """The layer that the machine writes to."""
        return self._layer(self.state.checkpoint + 1)

    def _layer(self, number: int) -> Path:
        return self.folder / f"layer-{number}.qcow2"

    def _kept(self, number: int) -> Path:
        return self.folder / f"variables-{number}.fd"

    def rewind(self) -> None:
        """Go back to the last checkpoint: a new working layer and that moment's variables. Raises InfrastructureError."""
        number = self.state.checkpoint
        with disk_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            for stray in self.folder.glob("layer-*.qcow2"):
                if stray not in [self._layer(each) for each in range(1, number + 1)]:
                    stray.unlink()
            shutil.copyfile(self._kept(number) if number else self._fresh, self.variables)
        self._new_layer()

    def _new_layer(self) -> None:
        deadline = Deadline(ONE_STEP, "make the disk")
        if self.state.checkpoint:
            disk_image.make_overlay(self.disk, self._layer(self.state.checkpoint), deadline)
        else:
            disk_image.create(self.disk, self._size, deadline)

    def checkpoint(self, reached: BuildPosition, facts: dict[str, str]) -> None:
        """Freeze the working layer, which no machine may have open, and put a new one on top."""
        number = self.state.checkpoint + 1
        with disk_errors(self.folder):
            draft = self.folder / "variables.new"
            shutil.copyfile(self.variables, draft)
            draft.replace(self._kept(number))
            self._layer(number).chmod(0o400)
            # On the disk before the state says so: a power cut must not leave a checkpoint that is none.
            for file in (self._layer(number), self._kept(number)):
                _settle(file)
        self.note(checkpoint=number, reached=reached, facts=facts)
        self._new_layer()

    def note(self, **changes: object) -> None:
        """Change the state and write it in one step."""
        self.state = msgspec.structs.replace(self.state, **changes)
        draft = self.folder / "state.new"
        with disk_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            draft.write_bytes(msgspec.json.encode(self.state))
            _settle(draft)
            draft.replace(self.folder / "state.json")
            _settle(self.folder)

    def log_folder(self) -> Path:
        """Count an attempt and return a new folder for its logs."""
        self.note(attempts=self.state.attempts + 1)
        folder = self.folder / "log" / f"{self.state.attempts:02}"
        with disk_errors(folder):
            folder.mkdir(parents=True)
        return folder

    def remove(self) -> None:
        """Throw everything away."""
        with disk_errors(self.folder):
            if self.folder.exists():
                shutil.rmtree(self.folder)
