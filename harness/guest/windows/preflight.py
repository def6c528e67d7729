# SPDX-License-Identifier: MIT
"""The conditions under which Windows accepts a processor or a DIMM while it runs, each judged separately, without a guest.

If the driver gets no notification, a condition that does not hold is the reason, and the verdict names it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import msgspec

from harness.guest.windows.answer import MachineView
from harness.guest.windows.facts import Facts, MemoryRange, NetworkAdapter, PnpDevice, srat_memory
from harness.machine.machine import MachineSpec

CheckState = Literal["ok", "broken", "doubtful", "unknown"]

CLIENT = 1
LEAST_MEMORY = 4 << 30
DYNAMIC_PARTITIONING = 1 << 3
CREATE_PARTITIONS = 1 << 0
MOST_SOCKETS = 64
LICENSE_STATES = (
    "Unlicensed",
    "Licensed",
    "OOBGrace",
    "OOTGrace",
    "NonGenuineGrace",
    "Notification",
    "ExtendedGrace",
)
"""LicenseStatus from 0 on (Microsoft Learn: "SoftwareLicensingProduct class")."""

ENDED = ("Unlicensed", "Notification")
"""In all other states, the grace periods included, Windows works as if licensed."""

REBALANCE_HANGS = ("viostor", "vioscsi", "vioser", "netkvm", "balloon")
"""Services of virtio-win's drivers."""

LICENCE, VIRTUAL_LICENCE = "Kernel-DynamicPartitioningSupported", "Kernel-VirtualDynamicPartitioningSupported"
"""The licence values that the kernel reads, on a machine and under a hypervisor. No page of Microsoft's has these names."""

BROKEN_BUILD = "14393"
"""Windows Server 2016."""


class GuestCheck(msgspec.Struct, frozen=True, kw_only=True):
    """One condition: whether it holds, what was found, and the page that says why it matters.

    ``for_`` is what it is a condition of. ``the way in`` is WinRM and SSH, and does not concern hardware. ``doubtful`` means that
    hardware may be refused, ``broken`` that it is.
    """

    name: str
    state: CheckState
    found: str
    source: str
    for_: Literal["processors", "memory", "both", "the way in"] = "both"

    def __str__(self) -> str:
        return f"{self.name}: {self.state}: {self.found} ({self.source})"


def judge(facts: Facts, view: MachineView, spec: MachineSpec) -> list[GuestCheck]:
    """Return every check, the most important first."""
    return [check for look in LOOKS for check in look(facts, view, spec)]


def findings(checks: list[GuestCheck]) -> list[GuestCheck]:
    """Return the checks that explain missing notifications."""
    return [check for check in checks if check.state in ("broken", "doubtful")]


Look = Callable[[Facts, MachineView, MachineSpec], Iterator[GuestCheck]]


def _decision(_facts: Facts, view: MachineView, _spec: MachineSpec) -> Iterator[GuestCheck]:
    licence = view.licence.get(VIRTUAL_LICENCE if view.hypervisor else LICENCE)
    allows = {None: "its licence does not say", 0: "its licence does not allow it"}.get(
        licence, "its licence allows it"
    )
    words: dict[bool | None, tuple[CheckState, str]] = {
        True: ("ok", "this edition takes processors while it runs"),
        False: ("broken", f"this edition refuses processors while it runs ({allows})"),
        None: ("unknown", "hpnctl did not report what Windows decided at its start"),
    }
    state, found = words[view.takes_processors]
    yield GuestCheck(
        name="dynamic processors",
        state=state,
        found=found,
        source="DDI: ntddk/ns-ntddk-kuser_shared_data.md, DbgDynProcessorEnabled",
        for_="processors",
    )


def _edition(facts: Facts, _view: MachineView, _spec: MachineSpec) -> Iterator[GuestCheck]:
    client = facts.product_type == CLIENT
    yield GuestCheck(
        name="edition",
        state="broken" if client else "ok",
        found=f"{facts.caption}, a client: it takes a processor at its next start"
        if client
        else facts.caption,
        source="WD: kernel/dynamic-hardware-partitioning-architecture.md; gos-validation cpu_hot_add_basic",
        for_="processors",
    )


def _known_bugs(facts: Facts, _view: MachineView, _spec: MachineSpec) -> Iterator[GuestCheck]:
    for one in facts.containers:
        taken = bool(one.service) or one.problem != 0
        yield GuestCheck(
            name="processor container",
            state="broken" if taken else "ok",
            found=f"{one.device} is {one.name!r}, driver {one.service or 'none'}, problem {one.problem}",
            source="tp-qemu provider/win_wora.py, pull request 2594",
            for_="processors",
        )
    if not facts.containers:
        yield GuestCheck(
            name="processor container",
            state="unknown",
            found="no device ACPI0010 is listed",
            source="tp-qemu provider/win_wora.py",
            for_="processors",
        )
    if facts.build == BROKEN_BUILD:
        yield GuestCheck(
            name="release",
            state="doubtful",
            found="Windows Server 2016 may restart when a processor is added",
            source="tp-qemu pull request 3861",
            for_="processors",
        )


def _devices(facts: Facts, _view: MachineView, _spec: MachineSpec) -> Iterator[GuestCheck]:
    kinds: tuple[tuple[str, list[PnpDevice], Literal["processors", "memory"]], ...] = (
        ("processor devices", facts.processors, "processors"),
        ("memory devices", facts.memory_devices, "memory"),
    )
    for name, devices, what in kinds:
        ill = [f"{one.device} has problem {one.problem}" for one in devices if one.problem]
        bound = sorted({one.service or "no driver" for one in devices})
        well = f"{len(devices)}, none with a problem, driver {', '.join(bound[:4])}"
        yield GuestCheck(
            name=name,
            state="doubtful" if ill else "ok" if devices else "unknown",
            found="; ".join(ill[:4]) or (well if devices else "none is listed"),
            source="WD: install/device-manager-error-messages.md",
            for_=what,
        )


def _virtualisation(facts: Facts, view: MachineView, _spec: MachineSpec) -> Iterator[GuestCheck]:
    words = {-1: "not known to this Windows", 0: "off", 1: "configured, not running", 2: "running"}
    yield GuestCheck(
        name="virtualization-based security",
        state={-1: "ok", 0: "ok", 1: "doubtful"}.get(facts.vbs, "broken"),  # type: ignore[arg-type]
        found=words.get(facts.vbs, f"status {facts.vbs}"),
        source="gos-validation (KB 334922); virtio-win issue 1607",
    )
    own = view.privileges is not None and bool(view.privileges & CREATE_PARTITIONS)
    yield GuestCheck(
        name="Windows hypervisor",
        state="unknown" if view.privileges is None else "broken" if own else "ok",
        found="Windows runs on its own hypervisor" if own else "Windows' own hypervisor does not run"
        if view.privileges is not None else "no hypervisor reports its privileges",
        source="virtio-win issue 1607; Hypervisor Top Level Functional Specification, 2.4.4 (CreatePartitions)",
    )  # fmt: skip


def _announcement(_facts: Facts, view: MachineView, spec: MachineSpec) -> Iterator[GuestCheck]:
    source = "QEMU docs/system/i386/hyperv.rst; cloud-hypervisor issue 1799"
    if spec.accelerator != "kvm":
        state: CheckState = "unknown"
        found = "without KVM there are no enlightenments"
    elif view.features is None:
        state, found = "ok", "the hypervisor has no leaf 0x40000003, so Windows does not use it"
    elif view.features & DYNAMIC_PARTITIONING:
        state, found = "ok", "CPUID 0x40000003 says that processors may come"
    else:
        state, found = "broken", "CPUID 0x40000003 says that no processors come: they show and never run"
    yield GuestCheck(name="hypervisor bit", state=state, found=found, source=source, for_="processors")


def _topology(facts: Facts, view: MachineView, spec: MachineSpec) -> Iterator[GuestCheck]:
    room = view.maximum
    yield GuestCheck(
        name="room for processors",
        state="ok" if room >= spec.max_processors else "broken",
        found=f"Windows has room for {room}, the machine for {spec.max_processors}",
        source="DDI: ntddk/nf-ntddk-kequerymaximumprocessorcountex.md",
        for_="processors",
    )
    sockets = spec.max_processors // spec.cores
    yield GuestCheck(
        name="sockets",
        state="doubtful" if sockets > MOST_SOCKETS else "ok",
        found=f"the machine has {sockets} sockets, {facts.sockets} in use",
        source="Microsoft Learn: Windows Server, comparison of editions (64 sockets)",
        for_="processors",
    )
    sizes = ", ".join(f"{group.active} of {group.maximum}" for group in view.groups)
    whole = sum(group.active for group in view.groups) == view.processors
    yield GuestCheck(
        name="processor groups",
        state="ok" if whole else "doubtful",
        found=f"{len(view.groups)}: {sizes}",
        source="WD: kernel/processor-groups (W32: procthread/processor-groups.md)",
        for_="processors",
    )


def _memory(_facts: Facts, view: MachineView, spec: MachineSpec) -> Iterator[GuestCheck]:
    yield GuestCheck(
        name="boot memory",
        state="ok" if spec.memory >= LEAST_MEMORY else "doubtful",
        found=f"{spec.memory >> 20} MiB at power-on, {view.memory >> 20} MiB counted",
        source="tp-qemu pull requests 430, 1390, 4199",
        for_="memory",
    )
    ranges = srat_memory(bytes.fromhex(view.srat))
    source = "QEMU hw/i386/acpi-build.c (build_srat)"
    if ranges is None:
        missing = "the firmware has no SRAT" if not view.srat else "the firmware's SRAT is damaged"
        yield GuestCheck(name="SRAT", state="broken", found=missing, source=source, for_="memory")
        return
    hot = [one for one in ranges if one.hot]
    room = spec.max_memory - spec.memory
    enough = sum(one.size for one in hot) >= room
    state: CheckState = "ok" if enough else "broken"
    yield GuestCheck(
        name="SRAT",
        state=state if spec.dimm_slots else "unknown",
        found=_shown(hot) if spec.dimm_slots else "the machine has no slots for DIMMs",
        source=source,
        for_="memory",
    )
    if spec.nodes > 1:
        yield GuestCheck(
            name="nodes",
            state="doubtful",
            found=f"{spec.nodes} nodes: a first DIMM on another than node 0 was not recognised",
            source="openEuler: memory hot-plug of virtual machines",
            for_="memory",
        )


def _shown(hot: list[MemoryRange]) -> str:
    if not hot:
        return "no range is for memory that comes later"
    return ", ".join(f"{one.size >> 20} MiB at {one.base:#x}, node {one.node}" for one in hot)


def _surroundings(facts: Facts, _view: MachineView, _spec: MachineSpec) -> Iterator[GuestCheck]:
    running = sorted({name for name in facts.drivers if name.lower() in REBALANCE_HANGS})
    yield GuestCheck(
        name="virtio drivers",
        state="doubtful" if running else "ok",
        found=f"{', '.join(running)} run, and are stopped by a rebalance" if running else "none runs",
        source="virtio-win issues 904 and 195",
        for_="processors",
    )
    known = 0 <= facts.license < len(LICENSE_STATES)
    status = LICENSE_STATES[facts.license] if known else "no product with a key"
    left = f", {facts.grace_minutes // 1440} days left" if facts.grace_minutes > 0 else ""
    yield GuestCheck(
        name="licence",
        state="unknown" if not known else "doubtful" if status in ENDED else "ok",
        found=f"status {facts.license}, {status}{left}",
        source="Microsoft Learn: SoftwareLicensingProduct class",
    )


def _network(facts: Facts, _view: MachineView, _spec: MachineSpec) -> Iterator[GuestCheck]:
    public = [each for each in facts.networks if each.lower() == "public"]
    state: CheckState = "doubtful" if public else "ok" if facts.networks else "unknown"
    given = "; ".join(_given(one) for one in facts.adapters[:4]) or "no adapter has an address"
    yield GuestCheck(
        name="network",
        state=state,
        found=f"category {' '.join(facts.networks[:8]) or 'not told'}; {given}",
        source="Microsoft Learn: Installation and configuration for Windows Remote Management",
        for_="the way in",
    )


def _given(adapter: NetworkAdapter) -> str:
    """Describe DHCP's answer to an adapter. QEMU's restricted network offers neither router nor name server (QEMU: net/slirp.c)."""
    router = " ".join(adapter.gateways[:2]) or "none"
    names = " ".join(adapter.dns[:2]) or "none"
    return f"{' '.join(adapter.addresses[:2]) or 'no address'} from {adapter.dhcp or 'no DHCP server'}, router {router}, DNS {names}"


LOOKS: tuple[Look, ...] = (
    _decision,
    _edition,
    _known_bugs,
    _devices,
    _virtualisation,
    _announcement,
    _topology,
    _memory,
    _surroundings,
    _network,
)
