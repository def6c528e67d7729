# SPDX-License-Identifier: MIT
"""The template: one folder of ``vm_templates`` with a ``template.toml``, which holds all that is specific to one guest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from harness.choice import check_choice, suggest
from harness.config import decode_toml, line_of, read_document
from harness.errors import BadDocument, UsageError
from harness.host.firmware import Ovmf
from harness.host.processor_vendor import AMD, INTEL, host_vendor
from harness.machine.attachments import Cdrom, Disk, Flash, Format, Network, RealTimeClock
from harness.machine.machine import MachineSpec
from harness.package import data_folder
from harness.size import Size

DOCUMENT = "template.toml"

WINRM_PORT = 5986
"""WinRM over HTTPS (Microsoft Learn: "Installation and configuration for Windows Remote Management")."""

SSH_PORT = 22

MEMORY_BLOCK = 128 << 20
"""Bytes; guests use hot-added memory in whole blocks of this size."""

HOST_CLOCK = RealTimeClock()
"""The host's clock, in UTC."""

TemplateId = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,40}$")]
TemplateText = Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]


class TemplateBoard(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The machine: a versioned machine type of QEMU, so that a guest sees the same board under every QEMU, and the firmware."""

    type: Annotated[str, msgspec.Meta(pattern=r"^pc-q35-[0-9]+\.[0-9]+$")] = "pc-q35-7.2"
    firmware: Literal["ovmf"] = "ovmf"
    generation_id: bool = True


class AmdCpu(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The processor under KVM on an AMD host: ``model``, and changes to its ``features`` (``-svm``)."""

    model: TemplateText
    features: list[str] = []


class Cpu(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The processor: ``model``, changes to its ``features`` (``-vmx``), and under KVM the ``hyperv`` enlightenments.

    ``model`` and ``features`` are for an Intel host, ``amd`` has those for an AMD host.
    """

    model: TemplateText
    features: list[str] = []
    hyperv: list[str] = []
    amd: AmdCpu | None = None


class Topology(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Processors at power-on, all slots, cores of a socket. ``group_size`` 0 leaves processor groups to Windows.

    More than 255 processors would need an IOMMU that remaps interrupts, which no template's machine has (QEMU:
    hw/i386/pc_q35.c; "-device intel-iommu,intremap=on,eim=on").
    """

    processors: Annotated[int, msgspec.Meta(ge=1, le=255)] = 2
    max_processors: Annotated[int, msgspec.Meta(ge=1, le=255)] = 8
    cores: Annotated[int, msgspec.Meta(ge=1, le=255)] = 1
    nodes: Annotated[int, msgspec.Meta(ge=1, le=8)] = 1
    group_size: Annotated[int, msgspec.Meta(ge=0, le=64)] = 0


class TemplateMemory(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sizes with their units: the size at power-on, the maximum, and the number of DIMM slots."""

    size: Size = Size("4 GiB")
    maximum: Size = Size("32 GiB")
    slots: Annotated[int, msgspec.Meta(ge=0, le=256)] = 8


class Support(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``status`` with its ``reason``, the ``link`` that describes it, and a ``workaround`` if one is known.

    supported: hot-add is documented to work. known-broken: it is documented or reported not to work, and ``reason`` says
    why. client-negative: the guest is a contrast, since it must *not* accept a processor while it runs.
    """

    status: Literal["supported", "known-broken", "client-negative"]
    reason: str = ""
    link: str = ""
    workaround: str = ""


class HotAddSupport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The effect of a hot-add in this guest: ``in-place``, only ``after-restart``, or ``unknown`` (no source says).

    ``source`` is the page that says so.
    """

    processor: Literal["in-place", "after-restart", "unknown"]
    memory: Literal["in-place", "after-restart", "unknown"]
    source: str


class Devices(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The devices: only those for which Windows' own medium has a driver."""

    disk: Literal["ahci", "nvme"] = "ahci"
    disk_size: Size = Size("64 GiB")
    network: Literal["e1000e", "e1000"] = "e1000e"


class Edition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One image of the installation medium, identified by the medium's own description of its images.

    ``ids`` are values of EDITIONID, ``installation`` that of INSTALLATIONTYPE in the WIM's XML (Microsoft Learn:
    "Windows Setup Edition Configuration and Product ID Files"; [MS-WIM] 2.1). Evaluation media have ids of their own.
    ``generic_key`` is Microsoft's public key of the edition for clients of a KMS host, "" for none (Microsoft Learn: "Key
    Management Services (KMS) client activation and product keys").
    """

    name: TemplateId
    title: TemplateText
    ids: Annotated[list[str], msgspec.Meta(min_length=1)]
    installation: Literal["Server", "Server Core", "Client"]
    generic_key: Annotated[str, msgspec.Meta(pattern=r"^([A-Z0-9]{5}(-[A-Z0-9]{5}){4})?$")] = ""


class Template(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A guest that can be built. ``editions`` begins with the default.

    ``builds`` are the build numbers of its Windows. ``openssh`` says whether the OpenSSH server is on the medium (``inbox``) or
    must be given as a file. ``evaluation_days`` is the length of an evaluation. ``directory`` is where the template was read from.
    """

    name: TemplateId
    title: TemplateText
    support: Support
    expect: HotAddSupport
    cpu: Cpu
    editions: Annotated[list[Edition], msgspec.Meta(min_length=1)]
    machine: TemplateBoard = TemplateBoard()
    topology: Topology = Topology()
    memory: TemplateMemory = TemplateMemory()
    devices: Devices = Devices()
    builds: list[int] = []
    openssh: Literal["inbox", "file"] = "file"
    evaluation_days: Annotated[int, msgspec.Meta(ge=1, le=3650)] = 180
    directory: str = ""

    def edition(self, wanted: str = "") -> Edition:
        """Return the edition called ``wanted``, "" for the first. Raises UsageError, which lists those that exist."""
        if not wanted:
            return self.editions[0]
        names = [edition.name for edition in self.editions]
        if wanted in names:
            return self.editions[names.index(wanted)]
        raise UsageError(f"{self.name} has no edition called {wanted!r}", hint=suggest(wanted, names))

    def processor(self, accelerator: Literal["kvm", "tcg"], vendor: str | None = None) -> str:
        """Return QEMU's processor with its changes. Raises UsageError if there is none for a host processor of ``vendor``.

        Under KVM a model has the host's vendor, not its own (QEMU: target/i386/kvm/kvm-cpu.c). An Intel family, model and
        feature set with AMD's name would be a processor that does not exist. ``vendor`` None is this host's, "" an unknown
        one, for which the first model is used. Under TCG the enlightenments are left out, since only KVM has them.
        """
        cpu = self.cpu
        if accelerator == "tcg":
            return ",".join([cpu.model, *cpu.features])
        vendor = host_vendor() if vendor is None else vendor
        if vendor in ("", INTEL):
            return ",".join([cpu.model, *cpu.features, *cpu.hyperv])
        if vendor == AMD and cpu.amd is not None:
            return ",".join([cpu.amd.model, *cpu.amd.features, *cpu.hyperv])
        raise UsageError(
            f"{self.name} has no processor model for this host, whose processor is {vendor!r}",
            hint="Its template.toml has one for Intel, and in [cpu.amd] one for AMD; a template that an earlier harness built "
            "has none for AMD: build it again. Without KVM the host's processor does not matter: --accel tcg.",
        )

    def machine_spec(
        self,
        *,
        accelerator: Literal["kvm", "tcg"],
        qemu: Path,
        firmware: Ovmf,
        variables: Path,
        disk: Path,
        variables_format: Format = "raw",
        disk_format: Format = "qcow2",
        cdroms: Sequence[Path] = (),
        network: bool = True,
        clock: RealTimeClock = HOST_CLOCK,
        vendor: str | None = None,
    ) -> MachineSpec:
        """Return the machine: ``disk`` and ``variables`` are this run's own, ``cdroms`` are ISOs, the first bootable.

        The disk boots before a CD-ROM: the firmware skips an empty disk, and does not ask for a key after the first restart of
        Setup. ``vendor`` is that of the processor under KVM, by default this host's. Raises UsageError if
        the template has no model for it.
        """
        return MachineSpec(
            accelerator=accelerator,
            qemu=qemu,
            machine=self.machine.type,
            cpu=self.processor(accelerator, vendor),
            processors=self.topology.processors,
            max_processors=self.topology.max_processors,
            cores=self.topology.cores,
            nodes=self.topology.nodes,
            memory=int(self.memory.size),
            max_memory=int(self.memory.maximum),
            dimm_slots=self.memory.slots,
            flash=Flash(code=firmware.code, variables=variables, variables_format=variables_format),
            disks=(Disk(file=disk, format=disk_format, bus=self.devices.disk, port=0, boot=0),),
            cdroms=tuple(Cdrom(file=iso, port=port, boot=port) for port, iso in enumerate(cdroms, 1)),
            network=Network(forwards=(WINRM_PORT, SSH_PORT), model=self.devices.network) if network else None,
            screen=True,
            clock=clock,
            generation_id=self.machine.generation_id,
        )


def decode_template(text: str, *, name: str, directory: str = "") -> Template:
    """Decode a template. Raises BadDocument with file:line, and "Did you mean" for a similar name."""
    template = decode_toml(text, Template, name=name)

    def bad(steps: list[str], words: str, hint: str = "") -> BadDocument:
        return BadDocument(f"{name}:{line_of(text, list(steps))}: {words}", hint=hint)

    if template.directory:
        raise bad(
            ["directory"], "unknown key 'directory'", "A template's directory is the one it is read from."
        )
    for steps, size in (
        (["memory", "size"], template.memory.size),
        (["memory", "maximum"], template.memory.maximum),
        (["devices", "disk_size"], template.devices.disk_size),
    ):
        if size == 0 or size % MEMORY_BLOCK:
            raise bad(steps, f"{'.'.join(steps)} = {size.text!r} is not a multiple of 128 MiB")
    if template.memory.maximum < template.memory.size:
        raise bad(
            ["memory", "maximum"],
            f"memory.maximum = {template.memory.maximum.text!r} is less than memory.size",
        )
    topology = template.topology
    if topology.processors > topology.max_processors:
        raise bad(
            ["topology", "processors"],
            f"topology.processors = {topology.processors} is more than max_processors = {topology.max_processors}",
        )
    if topology.max_processors % topology.cores:
        raise bad(
            ["topology", "cores"],
            f"topology.max_processors = {topology.max_processors} is not a multiple of cores = {topology.cores}",
        )
    if topology.nodes > topology.max_processors // topology.cores:
        raise bad(["topology", "nodes"], f"topology.nodes = {topology.nodes} is more than there are sockets")
    names = [edition.name for edition in template.editions]
    if len(set(names)) < len(names):
        raise bad(["editions"], "two editions have the same name")
    if template.support.status != "supported" and not (template.support.reason and template.support.link):
        raise bad(
            ["support", "status"],
            f"support.status = {template.support.status!r} needs a reason and a link",
            hint="Say why, and which page says so.",
        )
    return msgspec.structs.replace(template, directory=directory)


def templates_directory() -> Path:
    """Return ``vm_templates``. Raises MissingPart if the package has no data."""
    return data_folder("vm_templates")


def find_templates(directory: Path | None = None) -> dict[str, Template]:
    """Return the templates in ``directory`` (default: those of the harness), by name, in order of name.

    Raises BadDocument for one that does not decode, or whose name differs from its folder's.
    """
    found: dict[str, Template] = {}
    for document in sorted((directory or templates_directory()).glob(f"*/{DOCUMENT}")):
        folder = document.parent
        template = decode_template(
            read_document(document), name=f"{folder.name}/{DOCUMENT}", directory=str(folder)
        )
        if template.name != folder.name:
            raise BadDocument(
                f"{folder.name}/{DOCUMENT}: the template in folder {folder.name!r} calls itself {template.name!r}",
                hint="Both must be the same: rename one.",
            )
        found[template.name] = template
    return found


def find_template(wanted: str, directory: Path | None = None) -> Template:
    """Return the template called ``wanted``. Raises UsageError, which lists those that exist."""
    templates = find_templates(directory)
    check_choice("template", wanted, templates)
    return templates[wanted]
