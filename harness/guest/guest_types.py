# SPDX-License-Identifier: MIT
"""Guest types: the twin's, and a table of all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import msgspec

from harness.deadline import Deadline
from harness.errors import MissingPart, UsageError
from harness.guest.bootable import Bootable, GuestOptions, GuestType, OutsideSigns
from harness.guest.guest import Guest
from harness.guest.process.host import HostType
from harness.guest.process.wine import WineType
from harness.guest.twin.guest import (
    Twin,
    counter_argument,
    kernel_arguments,
    machine_arguments,
)
from harness.guest.twin.image import build
from harness.guest.twin.kernel_modules import wanted_modules
from harness.history.writer import HistoryWriter
from harness.machine.machine import Machine
from harness.package import data_folder
from harness.setup.parts import HOST, TWIN, all_missing
from harness.transport.link import WireTransport


def _cpuinfo() -> str:
    try:
        return Path("/proc/cpuinfo").read_text("ascii", "replace")
    except OSError:
        return ""


class TwinType:
    """The twin."""

    def prepare(self, options: GuestOptions, deadline: Deadline, progress: Callable[[str], None]) -> Bootable:
        """Build the twin's image, or take it from the cache. Raises UsageError for a driver's file."""
        if options.driver is not None and not options.driver.is_dir():
            raise UsageError(
                f"--driver {options.driver}: the twin runs the driver's source, not a driver file",
                hint="Give the folder of its sources; a driver's file is executed by --guest wine.",
            )
        image = build(options.cache, deadline, driver=options.driver, progress=progress)
        spec = options.spec
        arguments = kernel_arguments(
            spec.max_processors,
            options.group_size,
            kd=spec.kd,
            trace_port=spec.debug_port if options.mapped is not None else 0,
        )
        if modules := wanted_modules(spec):
            arguments += f" agent.drivers={','.join(modules)}"
        spec = msgspec.structs.replace(
            options.spec,
            kernel=image.kernel,
            initrd=image.initrd,
            append=f"{image.append} {arguments}{counter_argument(_cpuinfo()) if options.here else ''}",
            extra=[*options.spec.extra, *machine_arguments(image.kernel_release)],
        )
        return Bootable(
            spec=spec,
            digest=image.digest,
            description=f"Linux {image.kernel_release}",
            content=image.content,
            driver=f"the sources in {options.driver}" if options.driver is not None else "",
            probe=image,
        )

    def attach(
        self, machine: Machine, writer: HistoryWriter, signs: OutsideSigns, options: GuestOptions
    ) -> Twin:
        """Connect to the agent's control port."""
        return Twin(machine, writer, signs, fault=options.fault)


class TemplateGuestType:
    """A Windows guest by its template's name. Its modules are loaded on first use."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._guest_type: GuestType | None = None

    def prepare(self, options: GuestOptions, deadline: Deadline, progress: Callable[[str], None]) -> Bootable:
        """See WindowsType."""
        return self._loaded().prepare(options, deadline, progress)

    def attach(
        self, machine: Machine, writer: HistoryWriter, signs: OutsideSigns, options: GuestOptions
    ) -> Guest:
        """See WindowsType."""
        return self._loaded().attach(machine, writer, signs, options)

    def build_vm(
        self, medium: Path, cache: Path, deadline: Deadline, progress: Callable[[str], None]
    ) -> AbstractContextManager[WireTransport]:
        """Start the guest with ``medium`` in its drive, for ``harness driver build --wdk``, and shut it down at the end."""
        from harness.guest.windows.build_vm import build_vm

        return build_vm(self, medium, cache, deadline, progress)

    def _loaded(self) -> GuestType:
        if self._guest_type is None:
            from harness.guest.windows.guest_type import WindowsType

            self._guest_type = WindowsType(self._name)
        return self._guest_type


def template_guest_types() -> dict[str, GuestType]:
    """Return a guest type for each Windows template of the package, built or not, without reading them."""
    try:
        folder = data_folder("vm_templates")
    except MissingPart:
        # Commands that need no guest still work; the twin reports what is wrong.
        return {}
    names = sorted(document.parent.name for document in folder.glob("windows-*/template.toml"))
    return {name: TemplateGuestType(name) for name in names}


GUEST_TYPES: dict[str, GuestType] = {
    "twin": TwinType(),
    "host": HostType(),
    "wine": WineType(),
    **template_guest_types(),
}
"""The guest types by name."""


@contextmanager
def all_missing_named(guest: str, *, qemu: str | Path = "") -> Iterator[None]:
    """List everything that the host lacks for a guest when one program is missing: a MissingPart alone names one part.

    ``qemu`` is the path of the QEMU to use, "" for the one on PATH. A Windows guest and Wine report themselves what they lack.
    """
    try:
        yield
    except MissingPart as error:
        part = {each.name: each for each in (TWIN, HOST)}.get(guest)
        if part is None:
            raise
        raise all_missing(part, error, without="qemu-system-x86" if str(qemu) else "") from error
