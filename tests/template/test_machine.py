# SPDX-License-Identifier: MIT
"""Every template's machine is started on real QEMU and through real libvirt: what it promises is there, and it boots."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from part_markers import needs
from private_libvirtd import PrivateLibvirtd

from harness.deadline import Deadline
from harness.errors import InfrastructureError
from harness.history.writer import HistoryWriter
from harness.host import qemu_build
from harness.host.firmware import find_ovmf
from harness.host.processor_vendor import AMD, INTEL
from harness.host.registry import Registry
from harness.machine.attachments import Network, RealTimeClock
from harness.machine.devices import ChannelFiles, arguments
from harness.machine.forwards import forwarded_ports
from harness.machine.libvirt.connection import load
from harness.machine.libvirt.domain import ABSOLUTE_CLOCK, Files, QemuUser, domain_xml
from harness.machine.libvirt.machine import LibvirtMachine
from harness.machine.machine import Machine, MachineSpec
from harness.machine.qemu.machine import QemuMachine
from harness.template.manifest import seconds_of
from harness.template.medium import write_medium
from harness.template.template import SSH_PORT, WINRM_PORT, Template, find_templates

GIB = 1 << 30

TEMPLATES = list(find_templates().values())
SHAPES = [template for template in TEMPLATES if template.name in ("windows-11", "windows-server-2025")]
"""One template of each shape: processors as sockets, and as cores of sockets."""


def by_name(template: Template) -> str:
    """How a template is called in a test's name."""
    return template.name


@pytest.fixture
def deadline() -> Deadline:
    """More than any of these tests takes on a busy host."""
    return Deadline(180, "test")


@pytest.fixture
def spec_of(tmp_path: Path) -> Callable[..., MachineSpec]:
    """A template's machine under TCG, with an empty disk, variables of its own, and an answer medium."""

    def spec(template: Template, **changes: Any) -> MachineSpec:
        firmware = find_ovmf()
        disk, variables, medium = tmp_path / "disk, one", tmp_path / "variables", tmp_path / "answers.iso"
        subprocess.run(
            ["qemu-img", "create", "-q", "-f", "qcow2", disk, str(int(template.devices.disk_size))],
            check=True,
        )
        shutil.copyfile(firmware.variables, variables)
        write_medium(medium, {"autounattend.xml": b"<unattend/>"})
        found = template.machine_spec(
            accelerator="tcg",
            qemu=qemu_build.find_program(),
            firmware=firmware,
            variables=variables,
            disk=disk,
            cdroms=[medium, medium],
        )
        return msgspec.structs.replace(found, **changes)

    return spec


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[HistoryWriter]:
    """The history of the test."""
    with HistoryWriter(tmp_path / "history.jsonl") as writer:
        yield writer


@pytest.fixture
@needs("qemu")
def run_in_qemu(
    tmp_path: Path, writer: HistoryWriter, deadline: Deadline
) -> Iterator[Callable[..., QemuMachine]]:
    """Start machines paused, and close them when the test ends."""
    machines: list[QemuMachine] = []

    def run(spec: MachineSpec) -> QemuMachine:
        machine = QemuMachine(
            spec, tmp_path / "run", writer, name="windows", registry=Registry(tmp_path / "registry")
        )
        machines.append(machine)
        machine.start(deadline)
        return machine

    yield run
    for machine in machines:
        machine.close()


def devices_of(machine: Machine, deadline: Deadline) -> set[str]:
    """The names of the devices that we named."""
    listed = machine.execute("qom-list", deadline, path="/machine/peripheral")
    return {each["name"] for each in listed if each["type"].startswith("child")}


def keeps_its_promises(machine: Machine, template: Template, deadline: Deadline) -> None:
    """Slots for processors and DIMMs are as many and as empty as promised, and take both while the machine is paused."""
    slots = machine.cpu_slots(deadline)
    assert template.topology.max_processors == len(slots)
    assert template.topology.processors == sum(1 for slot in slots if slot.qom)
    assert template.topology.max_processors // template.topology.cores == len(
        {slot.props["socket-id"] for slot in slots}
    )
    assert template.cpu.model in slots[0].type
    summary = machine.execute("query-memory-size-summary", deadline)
    assert (template.memory.size, 0) == (summary["base-memory"], summary["plugged-memory"])
    dimms = [
        each for each in machine.execute("query-acpi-ospm-status", deadline) if each["slot-type"] == "DIMM"
    ]
    assert template.memory.slots == len(dimms)
    machine.add_cpu("cpu-last", slots[-1], deadline)
    machine.add_dimm("dimm-first", GIB, deadline)
    assert machine.cpu_slots(deadline)[-1].qom
    (dimm,) = machine.memory_devices(deadline)
    assert (GIB, 0) == (dimm.size, dimm.node)


@pytest.mark.qemu
@pytest.mark.parametrize("template", TEMPLATES, ids=by_name)
def test_on_qemu(
    template: Template,
    spec_of: Callable[..., MachineSpec],
    run_in_qemu: Callable[..., QemuMachine],
    deadline: Deadline,
) -> None:
    """Devices are there, slots are empty and take what is added before the first instruction, ports are forwarded."""
    machine = run_in_qemu(spec_of(template))
    assert {
        "disk0-device",
        "cdrom1-device",
        "cdrom2-device",
        "net0-device",
        "screen",
        "generation",
    } <= devices_of(machine, deadline)
    nodes = {each["node-name"] for each in machine.execute("query-named-block-nodes", deadline)}
    assert {"flash0", "flash1", "disk0", "cdrom1", "cdrom2"} <= nodes
    keeps_its_promises(machine, template, deadline)
    ports = forwarded_ports(machine, deadline)
    assert {WINRM_PORT, SSH_PORT} == set(ports)
    for port in ports.values():
        with socket.create_connection(("127.0.0.1", port), timeout=deadline.remaining()):
            pass


@pytest.mark.qemu
def test_machines_differ_in_their_processors_alone() -> None:
    """What one template's firmware was seen to do on its devices holds for all templates."""
    place = Path("/run/x")
    files = ChannelFiles(console=place, debugcon=place, control=place, human=place, kd=place)
    specs = [
        each.machine_spec(
            accelerator="tcg",
            qemu=place,
            firmware=find_ovmf(),
            variables=place,
            disk=place,
            cdroms=[place, place],
        )
        for each in TEMPLATES
    ]
    words = [arguments(spec, name="windows", files=files, qmp=place) for spec in specs]
    assert ["-smp"] * len(TEMPLATES) == [each.pop(each.index("-smp")) for each in words]
    changed = [[word for word, first in zip(each, words[0], strict=True) if word != first] for each in words]
    assert [] == [word for each in changed for word in each if not word.startswith("cpus=")]


@pytest.mark.qemu
def test_firmware_boots(
    spec_of: Callable[..., MachineSpec],
    run_in_qemu: Callable[..., QemuMachine],
    deadline: Deadline,
    tmp_path: Path,
) -> None:
    """The firmware comes up with what was added before it ran, tries disk and medium in their order, and finds no system.

    On processors as cores of sockets; on sockets of one core it boots the twin in ``tests/twin/test_template_machine.py``.
    """
    template = find_templates()["windows-11"]
    machine = run_in_qemu(spec_of(template))
    keeps_its_promises(machine, template, deadline)
    before = screen(machine, tmp_path / "before.ppm", deadline)
    machine.resume(deadline)
    deadline.poll(lambda: b"BdsDxe: failed to load Boot" in machine.console.read_bytes())
    deadline.poll(lambda: b"Shell" in machine.console.read_bytes())
    said = machine.console.read_bytes()
    assert said.index(b"Sata(0x0,") < said.index(b"Sata(0x1,")
    assert before != screen(machine, tmp_path / "after.ppm", deadline)
    # The firmware wrote its variables to this machine's own file.
    assert find_ovmf().variables.read_bytes() != machine.spec.flash.variables.read_bytes()  # type: ignore[union-attr]


def screen(machine: Machine, file: Path, deadline: Deadline) -> bytes:
    """What the machine shows."""
    machine.execute("screendump", deadline, filename=str(file))
    return file.read_bytes()


@pytest.mark.qemu
def test_names_of_enlightenments(
    spec_of: Callable[..., MachineSpec], run_in_qemu: Callable[..., QemuMachine], deadline: Deadline
) -> None:
    """QEMU knows every processor feature that a template names for KVM; a misspelt one would fail on hosts with KVM only."""
    machine = run_in_qemu(spec_of(TEMPLATES[0]))
    for template in TEMPLATES:
        for vendor in (INTEL, AMD):
            model, *changes = template.processor("kvm", vendor).split(",")
            listed = machine.execute("device-list-properties", deadline, typename=f"{model}-x86_64-cpu")
            known = {each["name"] for each in listed}
            named = [word.partition("=")[0].lstrip("+-") for word in changes]
            assert len(named) >= 6
            assert [] == [word for word in named if word not in known]


@pytest.mark.qemu
def test_the_processor_for_hosts_of_amd_s(
    spec_of: Callable[..., MachineSpec], run_in_qemu: Callable[..., QemuMachine], deadline: Deadline
) -> None:
    """QEMU builds the machine with it, and plugs another into the last slot."""
    template = find_templates()["windows-server-2025"]
    model, *changes = template.processor("kvm", AMD).split(",")
    plain = [word for word in changes if not word.startswith("hv-")]
    machine = run_in_qemu(spec_of(template, cpu=",".join([model, *plain])))
    slots = machine.cpu_slots(deadline)
    assert f"{model}-x86_64-cpu" == slots[-1].type
    machine.add_cpu("cpu-last", slots[-1], deadline)
    assert machine.cpu_slots(deadline)[-1].qom


@pytest.mark.qemu
def test_nvme_and_variables_in_qcow2(
    spec_of: Callable[..., MachineSpec], run_in_qemu: Callable[..., QemuMachine], deadline: Deadline
) -> None:
    """A disk may be on NVMe, where Windows has a driver for it too, and the variables in a format that can be saved."""
    template = find_templates()["windows-server-2025"]
    spec = spec_of(
        msgspec.structs.replace(template, devices=msgspec.structs.replace(template.devices, disk="nvme"))
    )
    # Variables in qcow2 are what a machine that is to be saved needs.
    raw, packed = spec.flash.variables, spec.flash.variables.with_suffix(".qcow2")  # type: ignore[union-attr]
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", raw, packed], check=True)
    flash = msgspec.structs.replace(spec.flash, variables=packed, variables_format="qcow2")
    machine = run_in_qemu(msgspec.structs.replace(spec, flash=flash))
    formats = {
        each["node-name"]: each["drv"] for each in machine.execute("query-named-block-nodes", deadline)
    }
    assert ("raw", "qcow2", "qcow2") == (formats["flash0"], formats["flash1"], formats["disk0"])
    (found,) = (
        each
        for each in machine.execute("query-block", deadline)
        if each.get("qdev", "").startswith("disk0-device")
    )
    assert "disk0" == found["inserted"]["node-name"]


@pytest.mark.qemu
def test_ports_that_are_not_forwarded(
    spec_of: Callable[..., MachineSpec], run_in_qemu: Callable[..., QemuMachine], deadline: Deadline
) -> None:
    """A machine without a network forwards nothing, and one that should is told of."""
    machine = run_in_qemu(spec_of(TEMPLATES[0], network=None))
    assert {} == forwarded_ports(machine, deadline)
    machine.spec = msgspec.structs.replace(machine.spec, network=Network(forwards=(WINRM_PORT,)))
    with pytest.raises(InfrastructureError, match="forwards no port to the guest's port 5986"):
        forwarded_ports(machine, deadline)


@pytest.mark.libvirt
@pytest.mark.parametrize("template", SHAPES, ids=by_name)
def test_through_libvirt(
    template: Template,
    spec_of: Callable[..., MachineSpec],
    private_libvirtd: PrivateLibvirtd,
    writer: HistoryWriter,
    tmp_path: Path,
    deadline: Deadline,
) -> None:
    """The domain is valid by libvirt's schema, is made, and keeps the same promises."""
    with LibvirtMachine(
        spec_of(template),
        tmp_path / "run",
        writer,
        connect=private_libvirtd.uri,
        name="windows",
        registry=Registry(tmp_path / "registry"),
    ) as machine:
        machine.start(deadline)
        assert_valid(machine.xml, private_libvirtd.uri)
        keeps_its_promises(machine, template, deadline)
        assert {WINRM_PORT, SSH_PORT} == set(forwarded_ports(machine, deadline))
        assert {"ide-hd", "ide-cd", "VGA", "vmgenid", "e1000e"} <= {
            word.partition(",")[0].removeprefix('{"driver":"').rstrip('"') for word in machine.argv
        }


def assert_valid(xml: str, uri: str) -> None:
    """libvirt itself checks the domain against its schema (libvirt: VIR_DOMAIN_DEFINE_VALIDATE)."""
    import libvirt

    connection = libvirt.open(uri)
    try:
        other = xml.replace("<name>", "<name>defined-").replace(
            _uuid(xml), "6f1b0e52-9c3d-4e57-8a64-2d5c8a1e7b90"
        )
        domain = connection.defineXMLFlags(other, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
        domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM)
    finally:
        connection.close()


def _uuid(xml: str) -> str:
    return xml.partition("<uuid>")[2].partition("</uuid>")[0]


@pytest.mark.libvirt
@pytest.mark.parametrize("template", TEMPLATES, ids=by_name)
def test_defined_in_libvirt(
    template: Template, spec_of: Callable[..., MachineSpec], private_libvirtd: PrivateLibvirtd
) -> None:
    """Every template's domain is valid, with the enlightenments that KVM alone can give, though nothing here runs them."""
    tcg = spec_of(template)
    kvm = template.machine_spec(
        accelerator="kvm", qemu=tcg.qemu, firmware=find_ovmf(), variables=Path("/run/v"), disk=Path("/run/d")
    )
    xml = domain_xml(
        msgspec.structs.replace(kvm, accelerator="tcg"),
        name="windows",
        title="t",
        uuid="6f1b0e52-9c3d-4e57-8a64-2d5c8a1e7b91",
        files=Files(**dict.fromkeys(Files.__struct_fields__, Path("/run/x"))),
        owner=QemuUser(uid=os.getuid(), gid=os.getgid()),
        version=ABSOLUTE_CLOCK,
    )
    assert '<stimer state="on" />' in xml
    assert_valid(xml, private_libvirtd.uri)


@pytest.mark.libvirt
@pytest.mark.parametrize(
    ("version", "offset"), [(ABSOLUTE_CLOCK, "absolute"), (ABSOLUTE_CLOCK - 1, "variable")]
)
def test_a_clock_of_its_own_in_libvirt(
    spec_of: Callable[..., MachineSpec], private_libvirtd: PrivateLibvirtd, version: int, offset: str
) -> None:
    """Both ways to say it are valid, and libvirt gives QEMU the time that was meant, in UTC."""
    start = 1_772_359_260
    spec = spec_of(find_templates()["windows-server-2025"], clock=RealTimeClock(start=start))
    xml = domain_xml(
        spec,
        name="windows",
        title="t",
        uuid="6f1b0e52-9c3d-4e57-8a64-2d5c8a1e7b91",
        files=Files(**dict.fromkeys(Files.__struct_fields__, Path("/run/x"))),
        owner=QemuUser(uid=os.getuid(), gid=os.getgid()),
        version=version,
    )
    assert f'offset="{offset}"' in xml
    assert_valid(xml, private_libvirtd.uri)
    connection = load().open(private_libvirtd.uri)
    try:
        command = connection.domainXMLToNative("qemu-argv", xml)
    finally:
        connection.close()
    (base,) = re.findall(r"-rtc base=([0-9T:-]+),clock=vm,driftfix=slew", command)
    assert abs(seconds_of(f"{base}Z") - start) < 60
