# SPDX-License-Identifier: MIT
"""Parts of a machine say their own arguments, and refuse what cannot be built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.machine import devices
from harness.machine.attachments import option_value
from harness.machine.machine import MachineSpec

MIB = 1 << 20
TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF), max_size=40)


def command(**fields: Any) -> list[str]:
    """The arguments of a whole machine."""
    spec = MachineSpec(**{"accelerator": "tcg", "qemu": Path("qemu"), **fields})
    place = Path("/run/x")
    names = devices.ChannelFiles.__struct_fields__
    files = devices.ChannelFiles(**{name: place / name for name in names})
    return devices.arguments(spec, name="vm", files=files, qmp=place / "qmp")


def option(words: list[str], name: str) -> list[str]:
    """The values of every option ``name``."""
    return [words[place + 1] for place, word in enumerate(words) if word == name]


@given(TEXT)
def test_commas_are_doubled_and_nothing_else_changes(text: str) -> None:
    """Splitting at single commas as QEMU does gives the text back."""
    escaped = option_value(text)
    assert "" == escaped.replace(",,", "").replace(",", "!").replace(text.replace(",", ""), "", 1)
    assert text == escaped.replace(",,", ",")


def test_nothing_by_default_and_no_network() -> None:
    """The machine has no default devices, no user configuration, no display and no network, and starts paused."""
    words = command()
    assert {"-nodefaults", "-no-user-config", "-S"} <= set(words)
    assert ["none"] == option(words, "-display")
    assert [] == [word for word in words if word.startswith(("-nic", "-net"))]
    assert ["on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"] == option(
        words, "-sandbox"
    )


def test_no_end_of_the_guest_ends_qemu() -> None:
    """Shutdown and panic pause, a reset resets."""
    assert ["reboot=reset,shutdown=pause,panic=pause,watchdog=none"] == option(command(), "-action")


@pytest.mark.parametrize("word", ["hv-crash", "hv-crash=on"])
def test_a_guest_that_tells_of_a_bug_check_goes_on(word: str) -> None:
    """It writes its dump after that; a guest that cannot tell, or tells pvpanic alone, is stopped as before."""
    goes_on = "reboot=reset,shutdown=pause,panic=none,watchdog=none"
    assert [goes_on] == option(command(cpu=f"Broadwell,-vmx,hv-time,{word}"), "-action")
    for other in ("Broadwell,hv-time", "Broadwell,hv-time,hv-crash=off"):
        assert [goes_on] != option(command(cpu=other), "-action")


def test_one_socket_per_processor() -> None:
    """Each processor has a slot of its own."""
    words = command(processors=2, max_processors=6)
    assert ["cpus=2,maxcpus=6,sockets=6,cores=1,threads=1"] == option(words, "-smp")


def test_one_explicit_node() -> None:
    """One NUMA node is written out, with all boot memory."""
    words = command(memory=512 * MIB, max_memory=4096 * MIB, dimm_slots=4)
    assert ["size=512M,slots=4,maxmem=4096M"] == option(words, "-m")
    assert ["memory-backend-ram,id=ram0,size=512M"] == option(words, "-object")
    assert ["node,nodeid=0,memdev=ram0"] == option(words, "-numa")


def test_two_nodes_share_memory_and_sockets() -> None:
    """Memory is split evenly, the last node takes the rest, sockets go in runs."""
    words = command(memory=511 * MIB, nodes=2, processors=1, max_processors=3)
    assert ["memory-backend-ram,id=ram0,size=255M", "memory-backend-ram,id=ram1,size=256M"] == option(
        words, "-object"
    )
    assert [
        "node,nodeid=0,memdev=ram0",
        "node,nodeid=1,memdev=ram1",
        "cpu,node-id=0,socket-id=0",
        "cpu,node-id=0,socket-id=1",
        "cpu,node-id=1,socket-id=2",
    ] == option(words, "-numa")


def test_without_dimm_slots_memory_cannot_grow() -> None:
    """No slots: neither slots nor maxmem is asked for."""
    assert ["size=512M"] == option(command(dimm_slots=0), "-m")


@given(
    memory=st.integers(1, 64).map(lambda count: count * 64 * MIB),
    nodes=st.integers(1, 8),
    processors=st.integers(8, 16),
)
def test_node_sizes_add_up(memory: int, nodes: int, processors: int) -> None:
    """However memory is shared out, nothing is lost, and each socket has one node."""
    part = devices.Memory(memory, memory, 0, nodes, processors)
    assert memory == sum(part.node_sizes())
    placed = [word for word in part.arguments() if word.startswith("cpu,")]
    assert (processors if nodes > 1 else 0) == len(placed)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"processors": 0}, "0 of at most 6 processors"),
        ({"processors": 7}, "7 of at most 6 processors"),
        ({"memory": MIB + 1}, "boot memory of 1048577 bytes"),
        ({"memory": 8192 * MIB}, "at most 4294967296"),
        ({"nodes": 0}, "0 NUMA nodes"),
        ({"nodes": 7}, "7 NUMA nodes"),
        ({"debug_port": 0}, "debug port 0x0"),
        ({"debug_port": 0x10000}, "debug port 0x10000"),
        ({"append": "quiet"}, "without a kernel"),
    ],
)
def test_what_cannot_be_built_is_refused(fields: dict[str, Any], words: str) -> None:
    """The message names the values, and QEMU never sees them."""
    with pytest.raises(UsageError, match=words):
        command(**fields)


def test_the_panic_port_gives_way() -> None:
    """A debug port on pvpanic's usual place moves pvpanic."""
    assert "pvpanic,ioport=0x505" in option(command(), "-device")
    assert "pvpanic,ioport=0x506" in option(command(debug_port=0x505), "-device")


def test_named_model_under_kvm_without_virtualisation() -> None:
    """KVM gets a named model, so that a guest sees the same on every host; a model asked for is taken as it is."""
    assert ["Westmere,-vmx"] == option(command(accelerator="kvm"), "-cpu")
    assert ["max"] == option(command(), "-cpu")
    assert ["EPYC,-svm"] == option(command(cpu="EPYC,-svm"), "-cpu")


def test_options_of_the_machine_type_win() -> None:
    """Options given with the type come after ours, and QEMU takes the last."""
    assert ["q35,smm=off"] == option(command(), "-machine")
    assert ["q35,smm=off,hpet=off,smm=on"] == option(command(machine="q35,hpet=off,smm=on"), "-machine")


def test_extra_comes_last() -> None:
    """The user's own arguments come last, where they can override."""
    assert ["-device", "x"] == command(extra=["-device", "x"])[-2:]


def test_more_processors_than_apic_ids() -> None:
    """From the 256th on interrupts are remapped, and KVM leaves the I/O APIC to QEMU."""
    remapped = "intel-iommu,intremap=on,eim=on"
    few = command(max_processors=255)
    assert (False, True) == (remapped in few, "-machine" in few)
    many = command(max_processors=256, accelerator="kvm")
    assert remapped in option(many, "-device")
    assert ["q35,smm=off,kernel-irqchip=split"] == option(many, "-machine")
    assert ["q35,smm=off"] == option(command(max_processors=256), "-machine")


def test_memory_without_an_acpi_device() -> None:
    """Each comes only if it is asked for, behind the devices that have a slot of their own."""
    assert not any("virtio" in word or "nvdimm" in word for word in command())
    words = command(virtio_mem=512 * MIB, balloon=True, nvdimm=True, screen=True)
    assert ["q35,smm=off,nvdimm=on"] == option(words, "-machine")
    assert "memory-backend-ram,id=virtiomem0-memory,size=536870912" in option(words, "-object")
    devices_in_order = option(words, "-device")
    assert ["VGA", "virtio-mem-pci", "virtio-balloon-pci"] == [
        word.partition(",")[0] for word in devices_in_order if word.startswith(("VGA", "virtio"))
    ]
