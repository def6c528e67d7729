# SPDX-License-Identifier: MIT
"""Disks and CD-ROM drives as libvirt writes them (libvirt: formatdomain.html#hard-drives-floppy-disks-cdroms)."""

from __future__ import annotations

from xml.etree.ElementTree import Element, SubElement

from harness.machine.attachments import Cdrom, Disk


def disk(wanted: Disk) -> Element:
    """Return a disk on the board's AHCI controller."""
    found = Element("disk", type="file", device="disk")
    SubElement(found, "driver", name="qemu", type=wanted.format, discard="unmap")
    SubElement(found, "source", file=str(wanted.file))
    _place(found, wanted.port, wanted.boot, wanted.node)
    return found


def cdrom(wanted: Cdrom) -> Element:
    """Return a CD-ROM drive on the board's AHCI controller, empty if it has no file."""
    found = Element("disk", type="file", device="cdrom")
    SubElement(found, "driver", name="qemu", type="raw")
    if wanted.file is not None:
        SubElement(found, "source", file=str(wanted.file))
    _place(found, wanted.port, wanted.boot, "")
    return found


def _place(found: Element, port: int, boot: int | None, serial: str) -> None:
    SubElement(found, "target", dev=f"sd{chr(ord('a') + port)}", bus="sata")
    if found.get("device") == "cdrom":
        SubElement(found, "readonly")
    if serial:
        SubElement(found, "serial").text = serial
    if boot is not None:
        # libvirt counts from 1.
        SubElement(found, "boot", order=str(boot + 1))
    SubElement(found, "address", type="drive", controller="0", bus="0", target="0", unit=str(port))
