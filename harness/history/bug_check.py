# SPDX-License-Identifier: MIT
"""A bug check: its code, its four parameters, and how QEMU reports one that the guest announces.

A Windows with Hyper-V's crash registers writes code and parameters there (QEMU: docs/system/i386/hyperv.rst, hv-crash), and
QEMU reports them in GUEST_PANICKED (QEMU: qapi/run-state.json, GuestPanicInformationHyperV: arg1 is the code, arg2 to arg5
are the parameters). pvpanic, by which Linux reports its panic, has neither.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

PANICKED = "GUEST_PANICKED"
"""QEMU's event when a guest reports a panic, by pvpanic or by the crash registers (QEMU: qapi/run-state.json)."""

PAGE = "WD: debugger/bug-check-code-reference2.md"

NAMES = {
    0x0A: "IRQL_NOT_LESS_OR_EQUAL",
    0x18: "REFERENCE_BY_POINTER",
    0x19: "BAD_POOL_HEADER",
    0x1A: "MEMORY_MANAGEMENT",
    0x1E: "KMODE_EXCEPTION_NOT_HANDLED",
    0x24: "NTFS_FILE_SYSTEM",
    0x3B: "SYSTEM_SERVICE_EXCEPTION",
    0x3E: "MULTIPROCESSOR_CONFIGURATION_NOT_SUPPORTED",
    0x4E: "PFN_LIST_CORRUPT",
    0x50: "PAGE_FAULT_IN_NONPAGED_AREA",
    0x76: "PROCESS_HAS_LOCKED_PAGES",
    0x77: "KERNEL_STACK_INPAGE_ERROR",
    0x7A: "KERNEL_DATA_INPAGE_ERROR",
    0x7B: "INACCESSIBLE_BOOT_DEVICE",
    0x7E: "SYSTEM_THREAD_EXCEPTION_NOT_HANDLED",
    0x7F: "UNEXPECTED_KERNEL_MODE_TRAP",
    0x80: "NMI_HARDWARE_FAILURE",
    0x8E: "KERNEL_MODE_EXCEPTION_NOT_HANDLED",
    0x98: "END_OF_NT_EVALUATION_PERIOD",
    0x9A: "SYSTEM_LICENSE_VIOLATION",
    0x9C: "MACHINE_CHECK_EXCEPTION",
    0x9F: "DRIVER_POWER_STATE_FAILURE",
    0xA0: "INTERNAL_POWER_ERROR",
    0xA5: "ACPI_BIOS_ERROR",
    0xBE: "ATTEMPTED_WRITE_TO_READONLY_MEMORY",
    0xC1: "SPECIAL_POOL_DETECTED_MEMORY_CORRUPTION",
    0xC2: "BAD_POOL_CALLER",
    0xC4: "DRIVER_VERIFIER_DETECTED_VIOLATION",
    0xC5: "DRIVER_CORRUPTED_EXPOOL",
    0xC9: "DRIVER_VERIFIER_IOMANAGER_VIOLATION",
    0xCA: "PNP_DETECTED_FATAL_ERROR",
    0xCE: "DRIVER_UNLOADED_WITHOUT_CANCELLING_PENDING_OPERATIONS",
    0xD1: "DRIVER_IRQL_NOT_LESS_OR_EQUAL",
    0xD3: "DRIVER_PORTION_MUST_BE_NONPAGED",
    0xD5: "DRIVER_PAGE_FAULT_IN_FREED_SPECIAL_POOL",
    0xE2: "MANUALLY_INITIATED_CRASH",
    0xEF: "CRITICAL_PROCESS_DIED",
    0xF4: "CRITICAL_OBJECT_TERMINATION",
    0xF7: "DRIVER_OVERRAN_STACK_BUFFER",
    0xFC: "ATTEMPTED_EXECUTE_OF_NOEXECUTE_MEMORY",
    0x101: "CLOCK_WATCHDOG_TIMEOUT",
    0x109: "CRITICAL_STRUCTURE_CORRUPTION",
    0x10D: "WDF_VIOLATION",
    0x11D: "EVENT_TRACING_FATAL_ERROR",
    0x124: "WHEA_UNCORRECTABLE_ERROR",
    0x130: "DYNAMIC_ADD_PROCESSOR_MISMATCH",
    0x131: "INVALID_EXTENDED_PROCESSOR_STATE",
    0x133: "DPC_WATCHDOG_VIOLATION",
    0x139: "KERNEL_SECURITY_CHECK_FAILURE",
    0x13A: "KERNEL_MODE_HEAP_CORRUPTION",
    0x1CA: "SYNTHETIC_WATCHDOG_TIMEOUT",
    0x1DB: "IPI_WATCHDOG_TIMEOUT",
    0x20001: "HYPERVISOR_ERROR",
    0xC000021A: "STATUS_SYSTEM_PROCESS_TERMINATED",
    0xDEADDEAD: "MANUALLY_INITIATED_CRASH1",
}
"""Names of the bug checks that a driver, an added processor or a virtual machine is likely to cause (:data:`PAGE`)."""

LARGEST = (1 << 64) - 1
"""The largest code or parameter."""


class BugCheck(msgspec.Struct, frozen=True):
    """The reason why Windows stopped. ``name`` is "" for a code that is not in the table."""

    code: int
    parameters: tuple[int, int, int, int]

    @property
    def name(self) -> str:
        """The name that Microsoft's page gives the code."""
        return NAMES.get(self.code, "")

    def __str__(self) -> str:
        name = f" {self.name}" if self.name else ""
        return f"bug check {self.code:#x}{name} ({', '.join(f'{each:#x}' for each in self.parameters)})"


class _HyperV(msgspec.Struct, frozen=True, tag_field="type", tag="hyper-v"):
    """GuestPanicInformationHyperV."""

    arg1: int
    arg2: int
    arg3: int
    arg4: int
    arg5: int


class _Panicked(msgspec.Struct, frozen=True):
    info: _HyperV


def bug_check_of(data: Mapping[str, Any]) -> BugCheck | None:
    """Return the bug check in the data of a GUEST_PANICKED, or None if it has none. Raises nothing."""
    try:
        info = msgspec.convert(data, _Panicked).info
    except (msgspec.ValidationError, RecursionError):
        return None
    words = (info.arg1, info.arg2, info.arg3, info.arg4, info.arg5)
    if not all(0 <= word <= LARGEST for word in words):
        return None
    return BugCheck(info.arg1, (info.arg2, info.arg3, info.arg4, info.arg5))


def panic_words(message: Mapping[str, Any]) -> str:
    """Return what a GUEST_PANICKED message reports of the guest's end, "" for other messages. Raises nothing."""
    if message.get("event") != PANICKED:
        return ""
    data = message.get("data")
    found = bug_check_of(data) if isinstance(data, Mapping) else None
    return str(found) if found is not None else "it reported a panic to QEMU (pvpanic)"
