# SPDX-License-Identifier: MIT
"""The processor of the host that libvirt runs machines on, which may be another host."""

from __future__ import annotations

import re

from harness.deadline import Deadline
from harness.host.processor_vendor import AMD, INTEL
from harness.machine.libvirt.connection import Connection

VENDORS = {"Intel": INTEL, "AMD": AMD}
"""libvirt's names of vendors, and CPUID's (libvirt: src/cpu_map/x86_vendors.xml)."""

VENDOR = re.compile(r"<host>.*?<cpu>.*?<vendor>([^<]+)</vendor>.*?</cpu>.*?</host>", re.DOTALL)


def read_vendor(capabilities: str) -> str:
    """Return the vendor of a host's processor as CPUID names it, "" if libvirt does not tell it.

    ``capabilities`` is the document of the connection (libvirt: formatcaps.html, ``host``). Other vendors are returned as
    libvirt names them.
    """
    found = VENDOR.search(capabilities)
    return VENDORS.get(found[1], found[1]) if found else ""


def vendor_there(uri: str, deadline: Deadline) -> str:
    """Return :func:`read_vendor` of the host at libvirt's ``uri``. Raises MissingPart, InfrastructureError."""
    connection = Connection(uri, joined=lambda _: None, check=lambda _: None)
    try:
        link = connection.open(deadline)
        return read_vendor(connection.ask(link, lambda: str(link.connection.getCapabilities()), deadline))
    finally:
        connection.close(2.0)
