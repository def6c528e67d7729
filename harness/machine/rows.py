# SPDX-License-Identifier: MIT
"""Rows of QEMU's lists of slots and DIMMs, as the machine protocol has them."""

from __future__ import annotations

from typing import Any

from harness.machine.machine import CpuSlot, MemoryDevice

TOPOLOGY = ("socket-id", "die-id", "cluster-id", "module-id", "core-id", "thread-id")
"""The keys of a processor slot from the outermost inwards; QEMU leaves out those that a machine does not have."""


def cpu_slots(rows: list[dict[str, Any]]) -> list[CpuSlot]:
    """Return the rows of ``query-hotpluggable-cpus``, which QEMU lists last first, in ascending order."""
    rows = sorted(rows, key=lambda row: [row["props"].get(key, 0) for key in TOPOLOGY])
    return [
        CpuSlot(index=index, type=row["type"], props=row["props"], qom=row.get("qom-path", ""))
        for index, row in enumerate(rows)
    ]


def dimms(rows: list[dict[str, Any]]) -> list[MemoryDevice]:
    """Return the DIMMs of ``query-memory-devices``."""
    return [
        MemoryDevice(
            id=row["data"].get("id", ""),
            size=row["data"]["size"],
            slot=row["data"]["slot"],
            node=row["data"]["node"],
            address=row["data"]["addr"],
        )
        for row in rows
        if row["type"] == "dimm"
    ]
