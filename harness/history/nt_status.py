# SPDX-License-Identifier: MIT
"""NTSTATUS values and their names (MS-ERREF, section 2.3.1)."""

from __future__ import annotations

STATUS_NAMES = {
    0x00000000: "success",
    0xC0000001: "STATUS_UNSUCCESSFUL",
    0xC000000D: "STATUS_INVALID_PARAMETER",
    0xC0000017: "STATUS_NO_MEMORY",
    0xC000009A: "STATUS_INSUFFICIENT_RESOURCES",
    0xC00000BB: "STATUS_NOT_SUPPORTED",
}
"""NTSTATUS values that have a name here; others are shown as numbers."""


def status_name(status: int) -> str:
    """Return an NTSTATUS in words: ``success``, ``STATUS_INSUFFICIENT_RESOURCES``, or ``0xC0000022``."""
    return STATUS_NAMES.get(status, f"0x{status:08X}")
