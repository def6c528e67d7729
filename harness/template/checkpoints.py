# SPDX-License-Identifier: MIT
"""The checkpoints of a build: a stack of disk layers, each frozen when the guest restarted.

A checkpoint is a cut at which the guest no longer used its disk. It requested a restart, QEMU stopped it there, wrote all
buffered data and ended (QEMU flushes every disk when the machine stops: do_vm_stop). Its disk layer is never written
again; the next layer is put on top. The firmware's variables of that moment are stored beside it. So disk and variables
are always of the same moment, a checkpoint needs no copy of the disk, and going back means removing layers. Layers and
checkpoints count from 1. Layer 1 is the empty disk of checkpoint 0, with new variables.

A checkpoint's dependencies are stored as names and digests, in two parts. All checkpoints depend on the inputs of the
installation. Those after *installed* also depend on the inputs of provisioning. So a changed script invalidates only the
work of provisioning, and the build goes back to *installed*.

``state.json`` is replaced atomically and names the valid checkpoint: a build that dies between two steps finds the
previous one. The working layer is recreated on every start.
"""

from __future__ import annotations

import os
import shutil
from contextlib import AbstractContextManager
from pathlib import Path

import msgspec

from harness.deadline import Deadline
from harness.errors import system_errors
from harness.history.json_file import read_json
from harness.history.private import write_private
from harness.machine import disk_image
from harness.template.adopted_disk import AdoptedDisk
from harness.template.progress import BuildPosition, StepWarning
from harness.template.stage import BuildStage

FORMAT = 2

ONE_STEP = 120.0
"""Seconds for one call of qemu-img that moves no data."""


class BuildInputs(msgspec.Struct, frozen=True, kw_only=True):
    """What a build is made from: names, each with a digest, for the installation and for provisioning."""

    installation: dict[str, str]
    provisioning: dict[str, str] = {}


def differences(before: dict[str, str], now: dict[str, str]) -> list[str]:
    """Return the names of the inputs that differ, with new and removed ones, sorted."""
    return sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A moment that a build can go back to. ``facts`` and ``warnings`` are what the guest had reported by then.

    ``seconds`` is the time of each stage. ``shutdown`` is when the guest turned itself off, in UTC, "" if it did not.
    """

    reached: BuildPosition = BuildPosition()
    facts: dict[str, str] = {}
    warnings: tuple[StepWarning, ...] = ()
    seconds: dict[str, float] = {}
    shutdown: str = ""


class CheckpointState(msgspec.Struct, frozen=True, kw_only=True):
    """The state that a resumed build needs. The checkpoint of layer n is ``checkpoints[n - 1]``.

    ``finished`` means that the template was built and that *installed* is kept for the next build.
    """

    format: int = FORMAT
    inputs: BuildInputs
    checkpoints: tuple[Checkpoint, ...] = ()
    attempts: int = 0
    finished: bool = False

    @property
    def checkpoint(self) -> int:
        """The number of the last checkpoint, 0 for none."""
        return len(self.checkpoints)

    @property
    def last(self) -> Checkpoint:
        """The last checkpoint. Without one, the build's beginning."""
        return self.checkpoints[-1] if self.checkpoints else Checkpoint()

    @property
    def installed(self) -> int:
        """The number of the checkpoint *installed*, 0 if the build has not reached it."""
        stages = [each.reached.stage for each in self.checkpoints]
        return stages.index(BuildStage.INSTALLED) + 1 if BuildStage.INSTALLED in stages else 0


def disk_errors(folder: Path) -> AbstractContextManager[None]:
    """Turn the file system's errors into one that names ``folder``."""
    return system_errors(
        f"cannot write in {folder}",
        hint="Free some space there, or set HOTPLUG_HARNESS_TEMPLATES to a directory on another disk.",
    )


def _settle(path: Path) -> None:
    """Flush a file or a folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class CheckpointStack:
    """The checkpoints in ``folder``. ``variables`` is the firmware's empty variable store, ``size`` that of the disk in bytes.

    With ``source`` the first layer is based on that disk, which is never written to, instead of an empty one.
    """

    def __init__(
        self,
        folder: Path,
        *,
        inputs: BuildInputs,
        variables: Path,
        size: int,
        source: AdoptedDisk | None = None,
    ) -> None:
        self.folder = folder
        self._fresh = variables
        self._size = size
        self._source = source
        self.state = self.read(folder) or CheckpointState(inputs=inputs)

    @staticmethod
    def read(folder: Path) -> CheckpointState | None:
        """Return the state of the build in ``folder``, None if there is no state in this format."""
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
        elif self._source is not None:
            disk_image.make_overlay(self.disk, self._source.file, deadline, format=self._source.format)
        else:
            disk_image.create(self.disk, self._size, deadline)

    def checkpoint(self, moment: Checkpoint) -> None:
        """Freeze the working layer, which no machine may be using, and put a new one on top."""
        number = self.state.checkpoint + 1
        with disk_errors(self.folder):
            draft = self.folder / "variables.new"
            shutil.copyfile(self.variables, draft)
            draft.replace(self._kept(number))
            self._layer(number).chmod(0o400)
            # On the disk before the state says so: a power cut must not leave an incomplete checkpoint.
            for file in (self._layer(number), self._kept(number)):
                _settle(file)
        self.note(checkpoints=(*self.state.checkpoints, moment))
        self._new_layer()

    def go_back(self, number: int, inputs: BuildInputs) -> None:
        """Forget the checkpoints after ``number``, and set new inputs for the rest. :meth:`rewind` removes the layers."""
        self.note(checkpoints=self.state.checkpoints[:number], inputs=inputs, finished=False)

    def finish(self) -> None:
        """After a successful build keep only the layers up to *installed*. Remove everything if there is no such checkpoint."""
        number = self.state.installed
        if not number:
            self.remove()
            return
        self.note(checkpoints=self.state.checkpoints[:number], attempts=0, finished=True)
        kept = {each.name for n in range(1, number + 1) for each in (self._layer(n), self._kept(n))}
        kept |= {"state.json", "secrets.json"}
        with disk_errors(self.folder):
            for stray in self.folder.iterdir():
                if stray.name in kept:
                    continue
                if stray.is_dir():
                    shutil.rmtree(stray)
                else:
                    stray.unlink()

    def size(self) -> int:
        """Return the checkpoints' size on the host's disk in bytes."""
        with disk_errors(self.folder):
            return sum(file.stat().st_blocks * 512 for file in self.folder.rglob("*") if file.is_file())

    def note(self, **changes: object) -> None:
        """Change the state and write it atomically."""
        self.state = msgspec.structs.replace(self.state, **changes)
        with disk_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_private(self.folder / "state.json", msgspec.json.encode(self.state), durable=True)
            _settle(self.folder)

    def log_folder(self) -> Path:
        """Count an attempt and return a new folder for its logs."""
        self.note(attempts=self.state.attempts + 1)
        folder = self.folder / "log" / f"{self.state.attempts:02}"
        with disk_errors(folder):
            folder.mkdir(parents=True)
        return folder

    def remove(self) -> None:
        """Remove all checkpoints."""
        with disk_errors(self.folder):
            if self.folder.exists():
                shutil.rmtree(self.folder)
