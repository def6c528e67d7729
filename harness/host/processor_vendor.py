# SPDX-License-Identifier: MIT
"""The host's processor: its vendor, as CPUID leaf 0 names it, and its model name."""

from __future__ import annotations

from pathlib import Path

INTEL, AMD = "GenuineIntel", "AuthenticAMD"

CPUINFO = Path("/proc/cpuinfo")

LONGEST = 1 << 16
"""Bytes that are read. The first processor's description is shorter."""


def host_vendor(cpuinfo: Path = CPUINFO) -> str:
    """Return the vendor of the first processor, twelve characters, "" if it is missing (proc(5): /proc/cpuinfo)."""
    return _told("vendor_id", cpuinfo)


def host_processor(cpuinfo: Path = CPUINFO) -> str:
    """Return the model name of the first processor, "" if it is missing."""
    return _told("model name", cpuinfo)


def _told(wanted: str, cpuinfo: Path) -> str:
    try:
        with cpuinfo.open("rb") as source:
            text = source.read(LONGEST).decode("ascii", "replace")
    except OSError:
        return ""
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == wanted:
            return value.strip()
    return ""
