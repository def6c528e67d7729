# SPDX-License-Identifier: MIT
"""Hyper-V enlightenments: as options of QEMU's processor (``hv-*``), and as libvirt writes them."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree.ElementTree import Element, SubElement

from harness.errors import UsageError

CLOCK = "hv-time"
"""To libvirt the reference clock is a timer, ``hypervclock``, not a feature (libvirt: formatdomain.html#time-keeping)."""

_SWITCHES = {
    f"hv-{name}": name
    for name in ("relaxed", "vapic", "vpindex", "runtime", "synic", "stimer", "reset", "frequencies")
}

_SPINLOCKS = "hv-spinlocks="


def features(enlightenments: Sequence[str]) -> Element:
    """Return ``<hyperv>`` (libvirt: formatdomain.html#hypervisor-features; QEMU: docs/system/i386/hyperv.rst).

    Raises UsageError for one that libvirt does not support.
    """
    found = Element("hyperv", mode="custom")
    for each in enlightenments:
        if each in _SWITCHES:
            SubElement(found, _SWITCHES[each], state="on")
        elif each.startswith(_SPINLOCKS) and _number(each.removeprefix(_SPINLOCKS)) is not None:
            retries = _number(each.removeprefix(_SPINLOCKS))
            SubElement(found, "spinlocks", state="on", retries=str(retries))
        elif each != CLOCK:
            raise UsageError(
                f"libvirt cannot be given the enlightenment {each!r}",
                hint=f"It takes {', '.join([*_SWITCHES, CLOCK])} and hv-spinlocks=N. Or use --backend qemu.",
            )
    return found


def _number(text: str) -> int | None:
    try:
        return int(text, 0)
    except ValueError:
        return None
