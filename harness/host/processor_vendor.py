# SPDX-License-Identifier: MIT
"""Who made the host's processor, as CPUID leaf 0 names it."""

from __future__ import annotations

from pathlib import Path

INTEL, AMD = "GenuineIntel", "AuthenticAMD"

CPUINFO = Path("/proc/cpuinfo")

LONGEST = 1 << 16
"""Bytes that are read: the first processor is described in less."""


def host_vendor(cpuinfo: Path = CPUINFO) -> str:
    """Return the vendor of the first processor, twelve characters, "" if it is not told (proc(5): /proc/cpuinfo)."""
    try:
        with cpuinfo.open("rb") as source:
            text = source.read(LONGEST).decode("ascii", "replace")
    except OSError:
        return ""
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "vendor_id":
            return value.strip()
    return ""
