# SPDX-License-Identifier: MIT
"""The domain: the XML for libvirt of the same machine that :mod:`harness.machine.devices` describes for QEMU.

Where libvirt has an equivalent element, it is used, so that libvirt knows of the device. The rest goes to QEMU
unchanged, by ``<qemu:commandline>`` (libvirt: drvqemu.html#pass-through-of-arbitrary-qemu-commands). The reasons are:

- **COM1 and the debug port.** libvirt has both. But virtlogd runs by default, and then a chardev of type ``file`` is a
  pipe to it. virtlogd writes the file later and begins a new one every 2 MiB (libvirt: drvqemu.html,
  ``stdio_handler``; virtlogd.conf). The guest's output before a reply must be in the file before the
  reply, and stay there: QEMU itself has to open them.
- **Options of the machine type**, for which libvirt has no element.
- **NVMe disks and the network's forwarded ports**, for which libvirt 9 has no elements.
- **hv-crash** is left out. After a bug check libvirt has ``destroy``, ``restart`` and ``preserve``, which all stop the
  guest. With none of them Windows can continue and write its dump (libvirt: formatdomain.html#events-configuration).
- **A file with QEMU's process number** in the harness's own runtime directory, **the human monitor**, and the user's
  own arguments.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

import msgspec

from harness.errors import UsageError
from harness.machine import devices, enlightenments
from harness.machine.attachments import SCREEN_SLOT
from harness.machine.libvirt import drives
from harness.machine.machine import MachineSpec
from harness.machine.memory_backend import RAM, MemoryBackend, not_of_one_dimm
from harness.machine.other_memory import VIRTIO_MEM, VIRTIO_MEM_BLOCK

QEMU_NAMESPACE = "http://libvirt.org/schemas/domain/qemu/1.0"

ElementTree.register_namespace("qemu", QEMU_NAMESPACE)

ABSOLUTE_CLOCK = 8_004_000
"""Since libvirt 8.4.0 a clock can begin at a given time. Before, it could only have an offset from the host's clock
(libvirt: formatdomain.html#time-keeping, ``absolute``, ``variable``)."""


class QemuUser(msgspec.Struct, frozen=True, kw_only=True):
    """QEMU's user, and the host's security drivers (``secmodel`` of libvirt's capabilities) that support users.

    A privileged libvirtd runs QEMU as a user of its own, who can neither read a private run directory nor make sockets
    in it. With ``dac`` among ``models`` QEMU runs as the harness's user instead, and no file changes its owner. Profiles of
    AppArmor and SELinux are made from the XML alone and do not cover files that QEMU opens itself: the domain has none.
    QEMU then has the same rights as when the harness starts it directly, in QEMU's own seccomp sandbox.
    """

    uid: int
    gid: int
    models: tuple[str, ...] = ()


class Files(devices.ChannelFiles, frozen=True, kw_only=True):
    """The places of a machine's channels, and of the file with QEMU's process number."""

    pid: Path


def domain_xml(
    spec: MachineSpec, *, name: str, title: str, uuid: str, files: Files, owner: QemuUser, version: int
) -> str:
    """Return the domain that ``spec`` describes; ``title`` is for people. Raises UsageError for parts that cannot be built.

    ``version`` is libvirt's, as ``virConnectGetLibVersion`` returns it.
    """
    # The typed devices refuse parts that cannot be built.
    processors = devices.Processors(
        devices.processor_model(spec), spec.processors, spec.max_processors, spec.cores
    )
    memory = devices.Memory(spec.memory, spec.max_memory, spec.dimm_slots, spec.nodes, processors.sockets)
    domain = Element("domain", type="kvm" if spec.accelerator == "kvm" else "qemu")
    _text(domain, "name", name)
    _text(domain, "uuid", uuid)
    if spec.generation_id:
        SubElement(domain, "genid")
    _text(domain, "title", title.replace("\n", " "))
    if spec.dimm_slots:
        _text(domain, "maxMemory", spec.max_memory >> 10, slots=spec.dimm_slots, unit="KiB")
    # Memory that may be plugged at power-on counts as memory at power-on.
    _text(domain, "memory", (spec.memory + spec.virtio_mem) >> 10, unit="KiB")
    _text(domain, "vcpu", spec.max_processors, placement="static", current=spec.processors)
    machine, _, options = spec.machine.partition(",")
    domain.append(_boot(spec, machine))
    features = SubElement(domain, "features")
    SubElement(features, "acpi")
    SubElement(features, "apic")
    if devices.splits_irqchip(spec):
        SubElement(features, "ioapic", driver="qemu")
    model, changes, hyperv = _model(processors.model)
    if hyperv:
        features.append(enlightenments.features(hyperv))
    domain.append(_processor(spec, processors, memory, model, changes))
    _clock(domain, spec, hyperv, version)
    # No end of the guest ends QEMU where libvirt allows that. It always ends a guest that powers off.
    _text(domain, "on_poweroff", "destroy")
    _text(domain, "on_reboot", "restart")
    _text(domain, "on_crash", "preserve")
    domain.append(_devices(spec, files))
    for model in owner.models:
        if model == "dac":
            label = SubElement(domain, "seclabel", type="static", model="dac", relabel="no")
            _text(label, "label", f"+{owner.uid}:+{owner.gid}")
        elif model != "none":
            SubElement(domain, "seclabel", type="none", model=model)
    direct = [
        "-machine", f"smm=off{',nvdimm=on' if spec.nvdimm else ''}{',' if options else ''}{options}",
        *devices.serial_to_file(files.console),
        *devices.debug_port(spec.debug_port, files.debugcon),
        "-pidfile", str(files.pid),
    ]  # fmt: skip
    for disk in spec.disks:
        if disk.bus == "nvme":
            direct += disk.arguments()
    if spec.network is not None:
        direct += spec.network.arguments()
    if spec.monitor:
        direct += devices.human_monitor(files.human)
    if spec.kd:
        direct += devices.debugger_port(files.kd)
    domain.append(_direct([*direct, *spec.extra]))
    ElementTree.indent(domain)
    return _document(domain)


def dimm_xml(alias: str, size: int, node: int, backend: MemoryBackend = RAM) -> str:
    """Return a DIMM to attach: ``size`` in bytes, ``alias`` begins with ``ua-`` (libvirt: formatdomain.html#devices).

    Its memory is part of a dump of the guest; libvirt's default is to leave it out. A ``file`` has an access mode,
    which informs libvirt that this one DIMM is a file. It is in libvirt's own directory, memory_backing_dir of qemu.conf,
    and libvirt removes it. Raises UsageError for options that libvirt has only for a whole domain.
    """
    if lacking := not_of_one_dimm(backend):
        raise UsageError(
            f"libvirt cannot be given {lacking[1]} for one DIMM", hint="Use --backend qemu for it."
        )
    memory = Element("memory", model="dimm")
    if backend.kind == "file":
        memory.set("access", "shared" if backend.share else "private")
    if backend.hugepages or backend.host_nodes:
        source = SubElement(memory, "source")
        if backend.hugepages:
            _text(source, "pagesize", backend.hugepages >> 10, unit="KiB")
        if backend.host_nodes:
            _text(source, "nodemask", ",".join(map(str, backend.host_nodes)))
    target = SubElement(memory, "target")
    _text(target, "size", size >> 10, unit="KiB")
    _text(target, "node", node)
    SubElement(memory, "alias", name=alias)
    return _document(memory)


def nvdimm_xml(alias: str, size: int, node: int, file: Path) -> str:
    """Return an NVDIMM to attach. Its bytes are a shared ``file``: an NVDIMM keeps what is written to it."""
    memory = Element("memory", model="nvdimm", access="shared")
    source = SubElement(memory, "source")
    _text(source, "path", file)
    target = SubElement(memory, "target")
    _text(target, "size", size >> 10, unit="KiB")
    _text(target, "node", node)
    SubElement(memory, "alias", name=alias)
    return _document(memory)


def virtio_mem_xml(domain: str, requested: int) -> str:
    """Return the virtio-mem device of a running ``domain`` as libvirt describes it, with another requested size, in bytes.

    libvirt finds the device by the address that it gave it. Raises UsageError if there is none.
    """
    # libvirt writes this text anew from its input, without declarations of its own.
    memory = ElementTree.fromstring(domain).find(  # noqa: S314
        "devices/memory[@model='virtio-mem']"
    )
    target = None if memory is None else memory.find("target/requested")
    if memory is None or target is None:
        raise UsageError(
            "the domain has no virtio-mem device", hint='[machine] virtio_mem = "1 GiB" adds one.'
        )
    target.text = str(requested >> 10)
    target.set("unit", "KiB")
    return _document(memory)


def virtio_mem(size: int) -> Element:
    """Return a virtio-mem device of up to ``size`` bytes on node 0, with none requested."""
    memory = Element("memory", model="virtio-mem")
    target = SubElement(memory, "target")
    _text(target, "size", size >> 10, unit="KiB")
    _text(target, "node", 0)
    _text(target, "block", VIRTIO_MEM_BLOCK >> 10, unit="KiB")
    _text(target, "requested", 0, unit="KiB")
    SubElement(memory, "alias", name=f"ua-{VIRTIO_MEM}")
    return memory


def _boot(spec: MachineSpec, machine: str) -> Element:
    boot = Element("os")
    _text(boot, "type", "hvm", arch="x86_64", machine=machine)
    if spec.firmware is not None:
        _text(boot, "loader", spec.firmware, type="rom")
    if spec.flash is not None:
        _text(boot, "loader", spec.flash.code, readonly="yes", secure="no", type="pflash")
        # libvirt before 9.2 has no format attribute for it, and assumes raw.
        raw = spec.flash.variables_format == "raw"
        _text(boot, "nvram", spec.flash.variables, **({} if raw else {"format": spec.flash.variables_format}))
    if spec.kernel is not None:
        _text(boot, "kernel", spec.kernel)
        if spec.initrd is not None:
            _text(boot, "initrd", spec.initrd)
        if spec.append:
            _text(boot, "cmdline", spec.append)
    elif spec.initrd is not None or spec.append:
        raise UsageError(
            "an initrd or a kernel command line was given without a kernel", hint="Give the kernel too."
        )
    return boot


def _model(text: str) -> tuple[str, list[str], list[str]]:
    """Return a processor's model, its changes, and the Hyper-V enlightenments, which libvirt keeps elsewhere."""
    model, *changes = text.split(",")
    hyperv = [change for change in changes if change.startswith("hv-")]
    told = [change for change in hyperv if change.partition("=")[0] != devices.CRASH_REGISTERS]
    return model, [change for change in changes if change not in hyperv], told


def _clock(domain: Element, spec: MachineSpec, hyperv: Sequence[str], version: int) -> None:
    """Add the real-time clock, if it differs from libvirt's default, and Hyper-V's, which is a timer to libvirt."""
    clock = Element("clock", offset="utc")
    if spec.clock is not None:
        timer = SubElement(clock, "timer", name="rtc", tickpolicy="catchup")
        if spec.clock.start:
            timer.set("track", "guest")
            if version >= ABSOLUTE_CLOCK:
                clock.set("offset", "absolute")
                clock.set("start", str(spec.clock.start))
            else:
                clock.set("offset", "variable")
                clock.set("basis", "utc")
                clock.set("adjustment", str(spec.clock.start - round(time.time())))
    if enlightenments.CLOCK in hyperv:
        SubElement(clock, "timer", name="hypervclock", present="yes")
    if len(clock):
        domain.append(clock)


def _processor(
    spec: MachineSpec,
    processors: devices.Processors,
    memory: devices.Memory,
    model: str,
    changes: Sequence[str],
) -> Element:
    """Return the sockets and their cores, the model, and the nodes."""
    if model in ("max", "host"):
        processor = Element("cpu", mode={"max": "maximum", "host": "host-passthrough"}[model], check="none")
    else:
        processor = Element("cpu", mode="custom", match="exact", check="none")
        _text(processor, "model", model, fallback="forbid")
    SubElement(
        processor, "topology", sockets=str(processors.sockets), cores=str(processors.cores), threads="1"
    )
    for change in changes:
        policy, feature = _feature(change)
        SubElement(processor, "feature", policy=policy, name=feature)
    numa = SubElement(processor, "numa")
    for node, size in enumerate(memory.node_sizes()):
        members = [
            str(place)
            for place in range(spec.max_processors)
            if place // processors.cores * spec.nodes // processors.sockets == node
        ]
        SubElement(numa, "cell", id=str(node), cpus=",".join(members), memory=str(size >> 10), unit="KiB")
    return processor


def _feature(change: str) -> tuple[str, str]:
    """Return the policy and the name of a change to a processor model, as QEMU writes it: ``-vmx``, ``x2apic=on``."""
    found = re.fullmatch(r"(?:([+-])([\w.-]+)|([\w.-]+)(?:=(on|off))?)", change)
    if found is None:
        raise UsageError(
            f"libvirt cannot be given the processor option {change!r}",
            hint="It takes features only: '-vmx', '+x2apic', 'hle=off'. Or use --backend qemu.",
        )
    sign, signed, plain, switch = found.groups()
    off = sign == "-" or switch == "off"
    return "disable" if off else "require", signed or plain


def _devices(spec: MachineSpec, files: Files) -> Element:
    """Return the devices for which libvirt has elements. Those that it would add by itself are refused."""
    found = Element("devices")
    _text(found, "emulator", spec.qemu)
    for disk in spec.disks:
        if disk.bus == "ahci":
            found.append(drives.disk(disk))
    for cdrom in spec.cdroms:
        found.append(drives.cdrom(cdrom))
    SubElement(found, "controller", type="usb", model="none")
    if devices.needs_x2apic(spec):
        iommu = SubElement(found, "iommu", model="intel")
        SubElement(iommu, "driver", intremap="on", eim="on")
    SubElement(found, "memballoon", model="virtio" if spec.balloon else "none")
    if spec.virtio_mem:
        found.append(virtio_mem(spec.virtio_mem))
    serial = SubElement(found, "serial", type="unix")
    SubElement(serial, "source", mode="bind", path=str(files.control))
    SubElement(serial, "target", type="isa-serial", port="1")
    if spec.screen:
        video = SubElement(found, "video")
        SubElement(video, "model", type="vga")
        slot = f"{SCREEN_SLOT:#04x}"
        SubElement(video, "address", type="pci", domain="0x0000", bus="0x00", slot=slot, function="0x0")
    panic = SubElement(found, "panic", model="isa")
    SubElement(panic, "address", type="isa", iobase=f"{devices.panic_port(spec):#x}")
    return found


def _direct(words: Sequence[str]) -> Element:
    line = Element(f"{{{QEMU_NAMESPACE}}}commandline")
    for word in words:
        SubElement(line, f"{{{QEMU_NAMESPACE}}}arg", value=word)
    return line


def _text(parent: Element, tag: str, text: object, **attributes: object) -> None:
    child = SubElement(parent, tag, {key: str(value) for key, value in attributes.items()})
    child.text = str(text)


def _document(root: Element) -> str:
    """Return the XML as text. Raises UsageError for a character that XML cannot hold (XML 1.0, 2.2)."""
    text = ElementTree.tostring(root, encoding="unicode")
    bad = re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]", text)
    if bad is not None:
        raise UsageError(
            f"libvirt's XML cannot hold the character {bad.group()!r} of a path or an argument",
            hint="Use another name, or --backend qemu.",
        )
    return text
