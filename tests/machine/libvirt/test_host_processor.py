# SPDX-License-Identifier: MIT
"""The vendor of the processor of libvirt's host."""

from __future__ import annotations

import pytest
from private_libvirtd import PrivateLibvirtd

from harness.deadline import Deadline
from harness.errors import InfrastructureError
from harness.host.processor_vendor import host_vendor
from harness.machine.libvirt.host_processor import read_vendor, vendor_there

CAPABILITIES = """
<capabilities>
  <host>
    <uuid>4c4c4544-0000-1010-8020-000000000000</uuid>
    <cpu>
      <arch>x86_64</arch>
      <model>EPYC-Rome</model>
      {vendor}
      <microcode version='137367679'/>
      <topology sockets='1' dies='1' cores='8' threads='2'/>
    </cpu>
    <secmodel><model>apparmor</model><doi>0</doi></secmodel>
  </host>
  <guest><os_type>hvm</os_type><arch name='x86_64'><cpu><vendor>VIA</vendor></cpu></arch></guest>
</capabilities>
"""


@pytest.mark.parametrize(
    ("element", "vendor"),
    [
        ("<vendor>AMD</vendor>", "AuthenticAMD"),
        ("<vendor>Intel</vendor>", "GenuineIntel"),
        ("<vendor>Hygon</vendor>", "Hygon"),
        ("", ""),
    ],
)
def test_libvirts_names_are_those_of_cpuid(element: str, vendor: str) -> None:
    """The vendor is the host's (formatcaps.html), never that of a guest; one that is not known stays as libvirt says it."""
    assert vendor == read_vendor(CAPABILITIES.format(vendor=element))


@pytest.mark.libvirt
def test_a_real_libvirt_tells_what_its_host_says(private_libvirtd: PrivateLibvirtd) -> None:
    """libvirt knows the two vendors that this host's processor may have."""
    assert host_vendor() == vendor_there(private_libvirtd.uri, Deadline(120, "ask"))


def test_a_host_that_cannot_be_reached_is_named() -> None:
    """As in any other start of a machine there."""
    pytest.importorskip("libvirt", reason="libvirt-python is missing: pip install hotplug-harness[libvirt]")
    uri = "qemu+unix:///system?socket=/nowhere"
    with pytest.raises(InfrastructureError, match=r"cannot connect to libvirt at qemu\+unix"):
        vendor_there(uri, Deadline(30, "ask"))
