# SPDX-License-Identifier: MIT
"""What the WDK is given, as far as it can be checked without Windows: the INF file, the project, the script."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from guest_drivers.inf import check, parse
from hypothesis import given
from hypothesis import strategies as st

DRIVER = Path(__file__).parents[2] / "guest_drivers" / "hpnotify"
WDK = DRIVER / "wdk"
INF = (WDK / "hpnotify.inf").read_text()
FILES = {"hpnotify.sys"}
MSBUILD = "{http://schemas.microsoft.com/developer/msbuild/2003}"


def project() -> ElementTree.Element:
    return ElementTree.parse(WDK / "hpnotify.vcxproj").getroot()


def included(kind: str) -> list[str]:
    """The files of one kind that the project names."""
    return [item.attrib["Include"] for item in project().iter(MSBUILD + kind) if "Include" in item.attrib]


def test_inf_is_right() -> None:
    """The INF file has every section and directive that it needs, no other, and everything it names is there."""
    assert [] == check(INF, FILES)


@pytest.mark.parametrize(
    ("right", "wrong", "complaint"),
    [
        ("PnpLockdown", "PnpLockDwn", "[version]: pnplockdwn is no directive of this section"),
        ("PnpLockdown = 1", "", "[version]: pnplockdown is missing"),
        ("$Windows NT$", "$Windows XP$", '[version]: signature is not "$Windows NT$"'),
        ("[Strings]", "[Strings", "line 69: [Strings is no section"),
        ("[Device.Wdf]", "[Device.Wdff]", "[Device.NT.Wdf]: there is no section Device.Wdf"),
        ("[Device.Wdf]", "[Device.NT]", "line 66: section Device.NT is there twice"),
        ("%Disk%", "%Disc%", "[strings]: %disc% is not there"),
        ("%Disk%", "x", "[strings]: disk is used nowhere"),
        ("hpnotify.sys = 1", "hpnotify.sys = 2", "[sourcedisksfiles]: hpnotify.sys is on disk 2, which [sourcedisksnames] lacks"),
        ("hpnotify.sys = 1", "hpnotif.sys = 1", "[sourcedisksfiles]: the package holds no hpnotif.sys"),
        ("%12%", "%13%", "[Device.Service]: servicebinary %13%\\hpnotify.sys is not where the file is copied to (%12%\\hpnotify.sys)"),
        ("DEV_0005", "DEV_5", "[Models.NTamd64.10.0]: 'PCI\\\\VEN_1B36&DEV_5' is no hardware ID"),
        ("0x00000002", "0x00000000", "[Device.NT.Services]: the service is not made the device's function driver (0x00000002)"),
        ("KmdfService = hpnotifypnp", "KmdfService = hpnotify", "[Device.NT.Wdf]: KmdfService names 'hpnotify', AddService 'hpnotifypnp'"),
        ("StartType     = 3", "StartType     = 2", "[Device.Service]: starttype is 2, not 3"),
        ("HKR,Parameters", "HKLM,Parameters", "[Device.Parameters]: HKLM,Parameters,PlugAndPlay,0x00010001,1 is no HKR,subkey,name,flags,value"),
        ("NTamd64.10.0\n", "NTx86\n", "[manufacturer]: NTx86 is no decoration for x64 from Windows 10 on"),
        ("01/01/2026", "1/1/26", "[version]: driverver is no MM/DD/YYYY,w.x.y.z"),
        ('"Hotplug Harness"', '"Hotplug Harness', "line 70: a quotation mark is not closed"),
    ],
)  # fmt: skip
def test_wrong_inf_is_refused(right: str, wrong: str, complaint: str) -> None:
    """Each kind of slip is found, and named."""
    assert right in INF
    assert complaint in check(INF.replace(right, wrong, 1), FILES)


@given(lines=st.lists(st.sampled_from(INF.splitlines()) | st.text(max_size=30), max_size=60))
def test_any_lines_are_taken(lines: list[str]) -> None:
    """Lines of an INF file in any order, and any others, are refused without an exception."""
    assert check("\n".join(lines), FILES)


def test_inf_and_driver_agree() -> None:
    """The parameter that the INF file sets is the one that the driver reads; the framework's version is the project's."""
    sections, _ = parse(INF)
    (parameter,) = sections["device.parameters"]
    assert ("", ["HKR", "Parameters", "PlugAndPlay", "0x00010001", "1"]) == parameter
    assert 'L"PlugAndPlay"' in (DRIVER / "src" / "parameters.c").read_text()
    major, minor = (
        {item.text for item in project().iter(MSBUILD + f"KMDF_VERSION_{part}")}
        for part in ("MAJOR", "MINOR")
    )
    assert ({"1"}, {"15"}) == (major, minor)
    assert [("kmdflibraryversion", ["1.15"])] == sections["device.wdf"]


def test_project_names_exactly_the_sources() -> None:
    """The project is well-formed XML and compiles what lies in src, nothing more and nothing less."""
    for kind, pattern in (("ClCompile", "*.c"), ("ClInclude", "*.h")):
        named = [name.replace("\\", "/") for name in included(kind)]
        assert sorted(f"../src/{path.name}" for path in (DRIVER / "src").glob(pattern)) == sorted(named)
    assert ["hpnotify.inf"] == included("Inf")


def test_configurations_differ_in_debug_libraries_only() -> None:
    """Both have the properties that make a KMDF driver of the project; one property has a condition, which names Debug."""
    (group,) = (
        group for group in project().iter(MSBUILD + "PropertyGroup") if group.get("Label") == "Configuration"
    )
    assert group.get("Condition") is None
    always = {item.tag.removeprefix(MSBUILD): item.text for item in group if item.get("Condition") is None}
    assert ("Driver", "KMDF", "WindowsKernelModeDriver10.0", "false") == (
        always["ConfigurationType"], always["DriverType"], always["PlatformToolset"], always["UseDebugLibraries"],
    )  # fmt: skip
    assert [("UseDebugLibraries", "'$(Configuration)' == 'Debug'", "true")] == [
        (item.tag.removeprefix(MSBUILD), item.get("Condition"), item.text)
        for item in group
        if item.get("Condition") is not None
    ]
    named = {item.get("Include") for item in project().iter(MSBUILD + "ProjectConfiguration")}
    assert {"Debug|x64", "Release|x64"} == named


@pytest.mark.parametrize("name", ["hpnotify.inf", "build.cmd"])
def test_windows_can_read_it(name: str) -> None:
    """What Windows reads line by line is ASCII, with the ends of lines that it expects."""
    data = (WDK / name).read_bytes()
    assert data.isascii()
    assert data.count(b"\r\n") == data.count(b"\n") == data.count(b"\r")


def test_script_builds_the_project() -> None:
    """The script names the project, both of its configurations' platform, and jumps to no label."""
    script = (WDK / "build.cmd").read_text()
    assert 'set "PROJECT=%~dp0hpnotify.vcxproj"' in script
    builds = [line for line in script.splitlines() if "msbuild" in line and not line.startswith("rem")]
    assert ["/t:sdv", "/t:Rebuild", "/t:dvl"] == [
        word for line in builds for word in line.split() if word[:3] == "/t:"
    ]
    assert [] == [line for line in builds if '"%PROJECT%"' not in line or "/p:Platform=x64" not in line]
    assert [] == re.findall(r"(?im)^\s*(?::\w|goto\b)", script)
