# SPDX-License-Identifier: MIT
"""The guest types ``windows-…``: a built template, booted on an overlay of its disk and a copy of its firmware's variables."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec

from harness.capture.mapping.mapper import CHANNEL
from harness.deadline import Deadline
from harness.driver import manifest
from harness.driver.symbols import windbg_options
from harness.errors import InfrastructureError, UsageError, system_errors
from harness.guest.bootable import Bootable, GuestOptions, OutsideSigns
from harness.guest.twin.image import build as build_twin
from harness.guest.windows.boot_options import BootOptions
from harness.guest.windows.clock import not_yet_valid
from harness.guest.windows.driver_files import DriverFiles, find_driver, find_mapped
from harness.guest.windows.guest import WindowsGuest
from harness.guest.windows.image import WindowsImage, image_of
from harness.guest.windows.transports import transports_into
from harness.history.writer import HistoryWriter
from harness.host.firmware import find_ovmf
from harness.invocation import invocation
from harness.machine.attachments import RealTimeClock
from harness.machine.disk_image import make_overlay
from harness.machine.machine import Machine, MachineSpec
from harness.setup.content import ContentDigests, ContentError
from harness.template.clock import clock_start
from harness.template.manifest import WARN_DAYS, TemplateManifest, utc
from harness.template.store import DISK, VARIABLES, BuiltTemplate, Store, store_directory
from harness.template.template import HOST_CLOCK, Template, find_template

REBALANCED = ["-device", "edu,bus=pcie.0,addr=0x18,id=rebalanced"]
"""A PCI device with resources, which Windows stops and starts when it rebalances: the INF file of the driver's Plug and Play
variant installs on it (QEMU: docs/specs/edu.rst). Without that driver nothing uses the device. QEMU saves none of its state,
not even the addresses of its registers (QEMU: hw/misc/edu.c, no vmsd). It has its own slot, which neither QEMU nor libvirt
gives to another device."""

PACE = 6.0
"""The factor by which a Windows guest may be slower than the twin. It is not documented how long it takes: tp-qemu waits
30 s after a processor, and a boot under KVM may take minutes."""


class WindowsType:
    """The guest type of one template. ``store`` is the store of built templates, None for the user's own."""

    def __init__(self, name: str, *, store: Store | None = None) -> None:
        self._name = name
        self._store = store
        self._image: WindowsImage | None = None
        self._files: DriverFiles | None = None

    def prepare(self, options: GuestOptions, deadline: Deadline, progress: Callable[[str], None]) -> Bootable:
        """Make the run's own disk and variables. For a missing template UsageError names the command that builds it."""
        template = find_template(self._name)
        _refuse(options, self._name)
        store = self._store or Store(store_directory(os.environ))
        stack = contextlib.ExitStack()
        with contextlib.ExitStack() as undo:
            undo.callback(stack.close)
            built = stack.enter_context(store.using(self._name))
            self._image = image = image_of(built, template)
            content = _content(built, options.cache, progress)
            start = clock_start(built.manifest, real_time=options.real_time)
            for warning in _warnings(template, built.manifest, real_time=not start.clock.start):
                progress(warning)
            for warning in told_at_build(self._name, built.manifest.facts):
                progress(warning)
            progress(f"its clock begins at {utc(start.clock.start or time.time())}, {start.why}")
            self._files = files = (
                find_driver(options.driver, options.cache, deadline, progress)
                if options.mapped is None
                else find_mapped(options.driver, options.mapped, options.cache, deadline, progress)
            )
            if options.driver is not None:
                progress(f"driver {files.description}")
            if warning := not_yet_valid(files.certificate, start.clock.start):
                progress(warning)
            disk, variables = own_drives(image, options.directory, deadline, savable=options.savable)
            spec = machine_of(template, options.spec, disk, variables, start.clock, moves=options.moves)
            below = {"below": image.base, "content": content.get(DISK, "")}
            disks = tuple(msgspec.structs.replace(one, **below) for one in spec.disks)
            spec = msgspec.structs.replace(spec, disks=disks)
            probe = build_twin(options.cache, deadline, progress=progress)
            undo.pop_all()
        return Bootable(
            spec=spec,
            digest=image.digest,
            description=image.description,
            content={**content, files.driver.name: files.sha256} if files.driver is not None else content,
            driver=files.description,
            symbols=windbg_options(files.driver) if files.driver is not None else "",
            probe=probe,
            hands_over_events=options.mapped is not None,
            saved_with=manifest.digest(files.tool),
            adapt=partial(adapted, template),
            release=stack.close,
            pace=PACE,
        )

    def attach(
        self, machine: Machine, writer: HistoryWriter, signs: OutsideSigns, options: GuestOptions
    ) -> WindowsGuest:
        """Make the transports without connecting yet: the ports are known, and the guest proves its identity on connection."""
        if self._image is None:
            raise InfrastructureError(f"the guest {self._name} was not prepared")
        transports = transports_into(machine, self._image, Deadline(30, "ask which ports lead to the guest"))
        return WindowsGuest(
            machine,
            writer,
            self._image,
            transports,
            directory=options.directory,
            files=self._files,
            boot=BootOptions(group_size=options.group_size or None, debug=True if options.spec.kd else None),
            expect_reset=signs.expect_reset,
            mapped=options.mapped,
            budget=signs.budget(CHANNEL) if options.mapped is not None else None,
            most=options.limits.channel_limit,
            prints=options.prints,
        )


def told_at_build(name: str, facts: dict[str, str]) -> list[str]:
    """Return what the guest reported at its template's build that speaks against hot-adds. What it did not report is unknown."""
    if facts.get("dynamic-processors") == "no":
        return [f"{name} reported at its build that it refuses processors while it runs; each run asks again"]
    return []


def machine_of(
    template: Template,
    wanted: MachineSpec,
    disk: Path,
    variables: Path,
    clock: RealTimeClock = HOST_CLOCK,
    *,
    moves: bool = False,
) -> MachineSpec:
    """Return the template's machine with the changes that a run wants. With ``moves`` it has no device that cannot be saved.

    A plan's numbers of processors, slots and nodes win where they differ from the harness's defaults. Memory is never less
    than the template's: Windows accepts more of it.
    """
    spec = template.machine_spec(
        accelerator="tcg",
        qemu=wanted.qemu,
        firmware=find_ovmf(),
        variables=variables,
        variables_format="qcow2" if variables.suffix == ".qcow2" else "raw",
        disk=disk,
        clock=clock,
    )
    usual = MachineSpec(accelerator="tcg", qemu=wanted.qemu)
    changes = {
        name: getattr(wanted, name)
        for name in ("machine", "cpu", "processors", "max_processors", "dimm_slots", "nodes")
        if getattr(wanted, name) != getattr(usual, name)
    }
    for name in ("memory", "max_memory"):
        if getattr(wanted, name) != getattr(usual, name):
            changes[name] = max(getattr(wanted, name), getattr(spec, name))
    return msgspec.structs.replace(
        spec,
        debug_port=wanted.debug_port,
        monitor=wanted.monitor,
        kd=wanted.kd,
        extra=[*wanted.extra, *([] if moves else REBALANCED)],
        **changes,
    )


def adapted(template: Template, spec: MachineSpec, vendor: str | None = None) -> MachineSpec:
    """Return the machine with its processor under KVM: enlightenments, and a model of the host's ``vendor``.

    Raises UsageError if the template has no such model.
    """
    if spec.accelerator != "kvm" or spec.cpu != template.processor("tcg"):
        return spec
    return msgspec.structs.replace(spec, cpu=template.processor("kvm", vendor))


def own_drives(
    image: WindowsImage, directory: Path, deadline: Deadline, *, savable: bool = False
) -> tuple[Path, Path]:
    """Make an overlay of the disk, never a copy, and a copy of the variables, which are small and writable.

    For a ``savable`` machine the variables are an overlay too: QEMU does not save a machine whose flash is a raw file.
    """
    disk, variables = directory / DISK, directory / VARIABLES
    make_overlay(disk, image.base, deadline)
    if savable:
        variables = variables.with_suffix(".qcow2")
        make_overlay(variables, image.variables, deadline, format="raw")
        return disk, variables
    with system_errors(
        f"cannot copy {image.variables} to {variables}",
        hint="Is there room on the disk of the run directory?",
    ):
        shutil.copyfile(image.variables, variables)
        variables.chmod(0o600)
    return disk, variables


def _content(built: BuiltTemplate, cache: Path, progress: Callable[[str], None]) -> dict[str, str]:
    """Return the SHA-256 of the template's disk and variables. Raises InfrastructureError if the build's were different."""
    digests = ContentDigests(cache)
    sealed = {name: built.manifest.files[name] for name in (DISK, VARIABLES) if name in built.manifest.files}
    if not digests.remembers(built.disk):
        progress("reading the template's disk, to compare it with what was built")
    try:
        digests.compare(built.folder, sealed)
    except ContentError as error:
        raise InfrastructureError(
            f"the template {built.manifest.template} in {built.folder} is damaged: {error}",
            hint="Build it again: "
            + invocation("template", "build", built.manifest.template, "--iso", "PATH", "--force"),
        ) from error
    return sealed


def _refuse(options: GuestOptions, name: str) -> None:
    if options.spec.firmware is not None:
        raise UsageError(
            f"{name} boots by the UEFI firmware that its template was built with, not by {options.spec.firmware}",
            hint="Leave out --firmware.",
        )
    if options.fault:
        raise UsageError(
            f"no fault can be injected into {name}: Windows itself delivers its callbacks",
            hint="Use --guest twin.",
        )


def _warnings(template: Template, manifest: TemplateManifest, *, real_time: bool) -> list[str]:
    found = []
    support = template.support
    if support.status != "supported":
        found.append(f"{template.name} is {support.status}: {support.reason} ({support.link})")
    days_left = manifest.days_left(time.time()) if real_time else manifest.run_days
    if not real_time and days_left is not None:
        if days_left <= 0:
            found.append(
                f"the evaluation of {template.name} had ended when it was built: it shuts itself down"
            )
    elif days_left is not None and days_left <= 0:
        found.append(f"the evaluation of {template.name} ended {-days_left} days ago: it shuts itself down")
    elif days_left is not None and days_left < WARN_DAYS:
        found.append(f"the evaluation of {template.name} ends in {days_left} days: build it again")
    return found
