# SPDX-License-Identifier: MIT
"""The request: what one run is asked to be, checked before anything is started."""

from __future__ import annotations

from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from harness.capture.mapping.driver_map import DriverMap
from harness.capture.mapping.driver_map import load as load_map
from harness.choice import check_choice
from harness.errors import UsageError
from harness.guest.fault_injection import INJECTED_FAULTS
from harness.guest.guest_types import GUEST_TYPES
from harness.guest.process.guest import ProcessType
from harness.machine.backend import BACKENDS
from harness.run.executor import Timeouts
from harness.run.plan import Plan

ACCELERATORS = ("auto", "kvm", "tcg")
DEBUGGERS = ("listen", "debugger")


class RunRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What to run.

    ``backend`` is one of :data:`harness.machine.backend.BACKENDS`, ``connect`` libvirt's URI, "" for its own choice.
    ``runs`` is where run directories are made, ``cache`` where built things lie. ``qemu``, ``firmware``,
    ``plant`` and ``driver`` (a file or folder to install) are "" for none. ``seed`` feeds the nonces; ``monitor`` opens a second monitor for humans;
    ``vnc`` gives the machine a screen that QEMU can be told to show.
    ``driver_map`` is a file that says which of the driver's own trace events are which records
    (:mod:`harness.capture.mapping.driver_map`), "" for a driver that speaks the harness's own language.
    ``restore`` begins from the guest's saved ready state, which is made on first use, instead of booting it.
    ``kd`` gives the guest a kernel debugger's port: ``listen`` records what drivers print there, ``debugger`` hands it to
    a debugger over TCP. ``dump`` is how many bytes a dump of a failed guest's memory may have, 0 for no dump. ``attempt`` is
    2 for the repetition of ``retry_of``, a run whose infrastructure failed; ``repro_of`` is the run that this one repeats.
    Raises UsageError for a name that does not exist, with those that do.
    """

    plan: Plan
    runs: Path
    cache: Path
    argv: list[str]
    guest: str = "twin"
    accelerator: Literal["auto", "kvm", "tcg"] = "auto"
    qemu: str = ""
    backend: str = "qemu"
    connect: str = ""
    machine: str = "q35"
    firmware: str = ""
    monitor: bool = False
    vnc: bool = False
    restore: bool = False
    plant: str = ""
    driver: str = ""
    driver_map: str = ""
    kd: str = ""
    seed: int = 0
    budget: Timeouts = Timeouts()
    dump: int = 0
    attempt: int = 1
    retry_of: str = ""
    repro_of: str = ""

    def __post_init__(self) -> None:
        check_choice("guest", self.guest, GUEST_TYPES)
        check_choice("accelerator", self.accelerator, ACCELERATORS)
        check_choice("backend", self.backend, BACKENDS)
        if self.connect and self.backend != "libvirt":
            raise UsageError(
                f"--connect {self.connect} is libvirt's, and the backend is {self.backend!r}",
                hint="Say --backend libvirt too.",
            )
        if self.restore:
            self._check_restore()
        if self.kd:
            check_choice("use of the kernel debugger's port", self.kd, DEBUGGERS)
        kind = GUEST_TYPES[self.guest]
        if isinstance(kind, ProcessType):
            kind.refuse(
                {
                    "--accel": self.accelerator != "auto",
                    "--qemu": bool(self.qemu),
                    "--backend": self.backend != "qemu",
                    "--machine": self.machine != "q35",
                    "--firmware": bool(self.firmware),
                    "--monitor": self.monitor,
                    "--kd": bool(self.kd),
                    "--restore": self.restore,
                    "--dump": bool(self.dump),
                    "--driver-map": bool(self.driver_map),
                }
            )
        if urlsplit(self.connect).password is not None:
            raise UsageError(
                "the URI of --connect holds a password, which would be in the history and on command lines",
                hint="ssh is called without a question: give it a key, qemu+ssh://USER@HOST/system?keyfile=PATH.",
            )
        self.mapped()
        if self.plant:
            check_choice("plant", self.plant, INJECTED_FAULTS)
        if self.firmware and not Path(self.firmware).is_file():
            raise UsageError(f"there is no firmware file {self.firmware!r}")
        if self.driver and not Path(self.driver).exists():
            raise UsageError(
                f"there is no driver file or folder {self.driver!r}",
                hint="`harness driver build --out DIR` makes one.",
            )

    def mapped(self) -> DriverMap | None:
        """Return the decoded driver map, None without one. Raises BadDocument."""
        return load_map(Path(self.driver_map)) if self.driver_map else None

    def _check_restore(self) -> None:
        if self.backend != "qemu":
            raise UsageError(
                f"a saved state cannot be restored through the backend {self.backend!r}",
                hint="Leave out --restore, or --backend.",
            )
        if self.kd:
            raise UsageError(
                "a guest that was saved has no conversation with a debugger to go on with",
                hint="Leave out --restore to boot it with the debugger's port.",
            )
