# SPDX-License-Identifier: MIT
"""Each condition of a hot-add, judged for itself; and a real machine's table of memory."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import msgspec
import pytest
from effort import examples
from guest.windows.conftest import MakeGuest, ScriptedWindows
from guest.windows.scripted_windows import FACTS
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.deadline import Deadline
from harness.errors import GuestRefused
from harness.guest.windows.answer import MachineView, ProcessorGroup, decode
from harness.guest.windows.facts import Facts, MemoryRange, srat_memory
from harness.guest.windows.preflight import findings, judge
from harness.history.writer import HistoryWriter
from harness.host import qemu_build
from harness.machine.machine import MachineSpec
from harness.machine.qemu.machine import QemuMachine

GIB = 1 << 30
SPEC = MachineSpec(
    accelerator="kvm", qemu=Path("qemu"), memory=4 * GIB, max_memory=32 * GIB, dimm_slots=8, max_processors=8
)


def srat(*ranges: MemoryRange) -> bytes:
    """A table with these ranges, and a processor in front."""
    body = bytes([0, 16]) + bytes(14)
    for one in ranges:
        body += struct.pack("<BBI2xQQ4xI8x", 1, 40, one.node, one.base, one.size, 3 if one.hot else 1)
    return b"SRAT" + struct.pack("<I", 48 + len(body)) + bytes(40) + body


TABLE = srat(
    MemoryRange(node=0, base=0, size=4 * GIB, hot=False),
    MemoryRange(node=0, base=8 * GIB, size=36 * GIB, hot=True),
)
VIEW = MachineView(
    processors=2,
    maximum=8,
    memory=4 * GIB,
    groups=[ProcessorGroup(active=2, maximum=8)],
    hypervisor=1,
    leaves=0x40000005,
    privileges=0,
    features=8,
    flags=0x20,
    srat=TABLE.hex(),
)


def states(facts: dict[str, Any], view: MachineView = VIEW, spec: MachineSpec = SPEC) -> dict[str, str]:
    """The state of each check by its name."""
    decoded = decode(json.dumps(facts), Facts, what="preflight")
    return {check.name: check.state for check in judge(decoded, view, spec)}


def test_a_guest_that_has_everything_has_no_findings() -> None:
    """And every check was made. Of memory devices nothing is known before there is one."""
    found = states(FACTS)
    assert "unknown" == found.pop("memory devices")
    assert {"ok"} == set(found.values())
    assert 15 == len(found)
    dimm = {"device": "ACPI\\PNP0C80\\0", "name": "Memory", "service": "pnpmem", "problem": 0}
    assert "ok" == states({**FACTS, "memory_devices": [dimm]})["memory devices"]
    assert "ok" == states(FACTS, msgspec.structs.replace(VIEW, features=None))["hypervisor bit"]


@pytest.mark.parametrize(
    ("change", "name", "state"),
    [
        ({"product_type": 1, "caption": "Microsoft Windows 11 Pro"}, "edition", "broken"),
        ({"license": 0, "grace_minutes": 0}, "licence", "doubtful"),
        ({"license": 5, "grace_minutes": 0}, "licence", "doubtful"),
        ({"license": -1, "grace_minutes": -1}, "licence", "unknown"),
        ({"license": 7}, "licence", "unknown"),
        ({"vbs": 2}, "virtualization-based security", "broken"),
        ({"vbs": 1}, "virtualization-based security", "doubtful"),
        ({"vbs": 7}, "virtualization-based security", "broken"),
        ({"containers": []}, "processor container", "unknown"),
        (
            {
                "containers": [
                    {"device": "d", "name": "HID Button over Interrupt Driver", "service": "h", "problem": 0}
                ]
            },
            "processor container",
            "broken",
        ),
        (
            {"containers": [{"device": "d", "name": "n", "service": "", "problem": 28}]},
            "processor container",
            "broken",
        ),
        ({"build": "14393"}, "release", "doubtful"),
        ({"drivers": ["VioStor"]}, "virtio drivers", "doubtful"),
        (
            {"processors": [{"device": "d", "name": "n", "service": "", "problem": 10}]},
            "processor devices",
            "doubtful",
        ),
        ({"processors": []}, "processor devices", "unknown"),
        (
            {"memory_devices": [{"device": "d", "name": "n", "service": "", "problem": 28}]},
            "memory devices",
            "doubtful",
        ),
        ({"networks": ["Private", "Public"]}, "network", "doubtful"),
        ({"networks": []}, "network", "unknown"),
    ],
)
def test_each_fact_has_its_finding(change: dict[str, Any], name: str, state: str) -> None:
    """One fact is otherwise, and one check says so."""
    found = states({**FACTS, **change})
    assert state == found[name]
    assert {name, "memory devices"} == {each for each, seen in found.items() if seen != "ok"}


@pytest.mark.parametrize(
    ("change", "name", "state"),
    [
        ({"flags": 0x5F}, "dynamic processors", "broken"),
        ({"flags": None}, "dynamic processors", "unknown"),
        ({"features": 0}, "hypervisor bit", "broken"),
        ({"privileges": 1}, "Windows hypervisor", "broken"),
        ({"privileges": None}, "Windows hypervisor", "unknown"),
        ({"maximum": 4}, "room for processors", "broken"),
        ({"processors": 3}, "processor groups", "doubtful"),
        ({"srat": ""}, "SRAT", "broken"),
        ({"srat": TABLE.hex()[:-2]}, "SRAT", "broken"),
        ({"srat": srat(MemoryRange(node=0, base=0, size=4 * GIB, hot=False)).hex()}, "SRAT", "broken"),
    ],
)
def test_each_look_at_the_machine_has_its_finding(change: dict[str, Any], name: str, state: str) -> None:
    """What hpnctl saw, instead of what PowerShell says."""
    found = states(FACTS, msgspec.structs.replace(VIEW, **change))
    assert state == found[name]
    assert {name, "memory devices"} == {each for each, seen in found.items() if seen != "ok"}


@pytest.mark.parametrize(
    ("change", "name", "state"),
    [
        ({"memory": 2 * GIB}, "boot memory", "doubtful"),
        ({"max_processors": 128, "cores": 1}, "sockets", "doubtful"),
        ({"nodes": 2}, "nodes", "doubtful"),
        ({"accelerator": "tcg"}, "hypervisor bit", "unknown"),
        ({"dimm_slots": 0}, "SRAT", "unknown"),
    ],
)
def test_each_wish_of_the_run_has_its_finding(change: dict[str, Any], name: str, state: str) -> None:
    """The machine that was asked for, against what Windows needs."""
    spec = msgspec.structs.replace(SPEC, **change)
    view = msgspec.structs.replace(VIEW, maximum=256)
    assert state == states(FACTS, view, spec)[name]


@settings(max_examples=examples(60), deadline=None)
@given(st.binary(max_size=200), st.integers(0, len(TABLE)), st.booleans())
def test_any_bytes_are_a_table_or_none(damage: bytes, at: int, real: bool) -> None:
    """What a guest hands over as its firmware's table never breaks the reader."""
    table = TABLE[:at] + damage + TABLE[at + len(damage) :] if real else damage
    found = srat_memory(table)
    assert found is None or all(0 <= one.size < 1 << 64 for one in found)


@settings(max_examples=examples(40), deadline=None)
@given(
    st.sampled_from(sorted(FACTS)), st.one_of(st.none(), st.integers(), st.text(), st.lists(st.integers()))
)
def test_facts_of_another_form_are_refused_or_judged(key: str, value: Any) -> None:
    """A guest may say anything."""
    try:
        facts = decode(json.dumps({**FACTS, key: value}), Facts, what="preflight")
    except GuestRefused:
        return
    assert judge(facts, VIEW, SPEC)


@pytest.mark.qemu
def test_a_real_machine_has_the_table_that_windows_needs(tmp_path: Path) -> None:
    """QEMU's own SRAT, out of the memory that the firmware put it into: the range for DIMMs is in it, on node 0."""
    spec = MachineSpec(
        accelerator="tcg", qemu=qemu_build.find_program(), memory=128 << 20, max_memory=4 * GIB
    )
    within = Deadline(60, "the firmware's tables")
    with (
        HistoryWriter(tmp_path / "history.jsonl") as writer,
        QemuMachine(spec, tmp_path / "run", writer) as machine,
    ):
        machine.start(within)
        machine.resume(within)
        file = tmp_path / "memory"

        def table() -> bytes | None:
            machine.execute("pmemsave", within, val=0, size=128 << 20, filename=str(file))
            memory = file.read_bytes()
            at = memory.find(b"SRAT")
            while at >= 0:
                found = memory[at : at + struct.unpack_from("<I", memory, at + 4)[0]]
                if srat_memory(found):
                    return found
                at = memory.find(b"SRAT", at + 1)
            return None

        ranges = srat_memory(within.poll(table, interval=0.5))
    assert ranges is not None
    hot = [one for one in ranges if one.hot]
    # All but the hole below 1 MiB.
    assert (128 << 20) - (384 << 10) == sum(one.size for one in ranges if not one.hot)
    assert [0] == [one.node for one in hot]
    assert hot[0].size >= 4 * GIB - (128 << 20)


@pytest.mark.parametrize("status", [1, 2, 3, 4, 6])
def test_a_grace_period_is_no_finding(status: int) -> None:
    """Windows works in it as a licensed one does (Microsoft Learn: "SoftwareLicensingProduct class", LicenseStatus)."""
    found = states({**FACTS, "license": status, "grace_minutes": 14400})
    assert "ok" == found["licence"]
    assert states(FACTS) == found


@pytest.mark.remote
@pytest.mark.qemu
def test_what_speaks_against_a_guest_is_in_the_history(
    make_guest: MakeGuest, windows: ScriptedWindows, tmp_path: Path, within: Deadline
) -> None:
    """By name and with its source, before the first plan; and a guest that cannot be asked says that."""
    windows.change(facts={**FACTS, "vbs": 2})
    guest = make_guest(look=True)
    guest.wait_ready(within)
    history = (tmp_path / "history.jsonl").read_text()
    assert (
        "virtualization-based security: broken: running (gos-validation (KB 334922); virtio-win issue 1607)"
        in history
    )
    assert "conditions hold" in history
    assert (
        '"edition","detail":"takes processors: Microsoft Windows Server 2025 Standard Evaluation, SKU 79"'
        in history
    )
    windows.change(
        view={"flags": 0, "licence": {"Kernel-VirtualDynamicPartitioningSupported": 0}},
        facts={**FACTS, "networks": ["Public"]},
    )
    checks = guest.preflight(within)
    history = (tmp_path / "history.jsonl").read_text()
    refuses = "dynamic processors: broken: this edition refuses processors while it runs (its licence does not allow it)"
    named = {check.name: str(check) for check in findings(checks)}
    assert named["dynamic processors"].startswith(refuses)
    assert named["network"].startswith("network: doubtful: category Public")
    assert f'"event":"preflight","detail":"{refuses}' in history
    assert (
        '"event":"way in","detail":"network: doubtful: category Public; 10.0.2.15 from 10.0.2.2, router none, DNS none'
        in history
    )
    assert "refuses processors: Microsoft Windows Server 2025" in history
    windows.change(exit={"preflight": 1})
    assert [] == guest.preflight(within)
    assert '"unknown: script preflight: exit code 1' in (tmp_path / "history.jsonl").read_text()


def test_findings_are_what_explains() -> None:
    """Neither what holds nor what is not known."""
    facts = decode(json.dumps({**FACTS, "vbs": 2, "containers": []}), Facts, what="preflight")
    assert ["virtualization-based security"] == [check.name for check in findings(judge(facts, VIEW, SPEC))]


def test_a_refusal_says_what_the_licence_allows() -> None:
    """On a machine of its own another value counts than under a hypervisor; a missing one is not a 0."""
    facts = decode(json.dumps(FACTS), Facts, what="preflight")

    def found(**change: Any) -> str:
        return judge(facts, msgspec.structs.replace(VIEW, flags=0, **change), SPEC)[0].found

    refuses = "this edition refuses processors while it runs"
    assert f"{refuses} (its licence does not say)" == found()
    licence = {"Kernel-VirtualDynamicPartitioningSupported": 1, "Kernel-DynamicPartitioningSupported": 0}
    assert f"{refuses} (its licence allows it)" == found(licence=licence)
    assert f"{refuses} (its licence does not allow it)" == found(licence=licence, hypervisor=0)
