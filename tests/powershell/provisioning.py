# SPDX-License-Identifier: MIT
"""A Windows Server that has just been installed, and the provisioning that is run in it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from powershell.server import Server, Shown, World

from harness.template import provision
from harness.template.serial_markers import PREFIX, DoneMarker, FailMarker, SerialMarker, parse
from harness.template.template import find_templates

TEMPLATE = find_templates()["windows-server-2022"]
VERSION = "HKLM:\\SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion"
CONTROL = "HKLM:\\SYSTEM\\CurrentControlSet\\Control"
KINDS = ("inbox", "msi", "zip", "cab", "iso", "none")


def furnish(world: World, kind: provision.OpenSsh = "inbox", only: str = "") -> Path:
    """Fill ``world`` as Setup leaves it, with the answer medium's folder of scripts: all, or one step ``only``. Return that."""
    world.registry = {
        VERSION: {"UBR": 2340, "EditionID": "ServerStandardEval", "InstallationType": "Server"},
        f"{VERSION}\\Winlogon": {"AutoAdminLogon": "1", "DefaultPassword": "", "AutoLogonCount": 1},
        CONTROL: {"SystemStartOptions": ""},
        f"{CONTROL}\\CrashControl": {"CrashDumpEnabled": 7, "AutoReboot": 1},
    }
    world.returned = {
        "Get-LocalUser": [{"Name": "Administrateur", "SID": {"Value": "S-1-5-21-1-2-3-500"}}],
        "Get-ScheduledTask": [{"TaskName": "ScheduledDefrag", "TaskPath": "\\Microsoft\\Windows\\Defrag\\"}],
        "Get-WindowsFeature": [
            {"Name": "Windows-Defender", "Installed": True, "InstallState": "UninstallPending"}
        ],
        "Get-MpComputerStatus": [{"RealTimeProtectionEnabled": True}],
        "Get-PnpDevice": [
            {"InstanceId": "ACPI\\ACPI0010\\1", "Status": "OK", "FriendlyName": "Generic Bus"},
            {"InstanceId": "PCI\\X", "Status": "OK", "FriendlyName": "x"},
        ],
        "Get-NetConnectionProfile": [{"Name": "Network", "InterfaceIndex": 3, "NetworkCategory": "Private"}],
        "Get-PSDrive": [{"Name": "C", "Root": "C:\\"}, {"Name": "E", "Root": "E:\\"}],
    }
    world.returned["Get-TimeZone"] = [{"Id": "UTC"}]
    world.cim = {
        "Win32_OperatingSystem": [{"BuildNumber": "20348", "Caption": "Windows"}],
        "Win32_ComputerSystem": [{"NumberOfLogicalProcessors": 2}],
        "SoftwareLicensingProduct": [
            {
                "Name": "Windows(R), ServerStandardEval edition",
                "LicenseStatus": 1,
                "GracePeriodRemaining": 14400,
            }
        ],
        "SoftwareLicensingService": [{"RemainingWindowsReArmCount": 5}],
        "Win32_DeviceGuard": [{"VirtualizationBasedSecurityStatus": 0}],
        "Win32_Service": [
            {
                "Name": "sshd",
                "ExitCode": 1067,
                "ServiceSpecificExitCode": 255,
                "PathName": f"{world.link}/bin/sshd.exe",
                "State": "Running",
                "StartMode": "Auto",
                "DelayedAutoStart": True,
            },
            {
                "Name": "WinRM",
                "PathName": "svchost.exe",
                "State": "Running",
                "StartMode": "Auto",
                "DelayedAutoStart": True,
            },
        ],
        "Win32_PnPEntity": [
            {
                "DeviceID": "ACPI\\ACPI0010\\1",
                "ClassGuid": "",
                "Service": "",
                "ConfigManagerErrorCode": 0,
                "Name": "Generic Bus",
            }
        ],
        "Win32_NetworkAdapterConfiguration": [
            {
                "DHCPServer": "10.0.2.2",
                "IPAddress": ["10.0.2.15"],
                "DefaultIPGateway": ["10.0.2.2"],
                "DNSServerSearchOrder": [],
            }
        ],
    }
    world.file("C:\\Windows\\Panther\\unattend.xml", b"<unattend/>")
    world.file("E:\\OpenSSH-Server-Package~31bf3856ad364e35~amd64~~.cab")
    folder = world.folder / "provision"
    folder.mkdir()
    for name, content in provision.scripts(TEMPLATE).items():
        if not only or name in (*provision.RUNNER, only):
            (folder / name).write_bytes(content)
    (folder / "settings.json").write_bytes(provision.settings(TEMPLATE, kind))
    (folder / "authorized_keys").write_text("ssh-ed25519 AAAA harness\n")
    (folder / "test.cer").write_bytes(b"certificate")
    (folder / f"openssh.{kind}").write_bytes(b"")
    return folder


class Provisioned(NamedTuple):
    """What ``start.ps1`` told the host, and how it ended."""

    shown: Shown
    markers: list[SerialMarker | None]

    @property
    def done(self) -> bool:
        """True if it said so."""
        return DoneMarker() in self.markers

    @property
    def failure(self) -> FailMarker | None:
        """Its fail marker."""
        return next((each for each in self.markers if isinstance(each, FailMarker)), None)


def start(server: Server, world: World, times: int = 1) -> Provisioned:
    """Run ``start.ps1`` as the answer file does, so many times in a row, and return what it said in all."""
    line = f"& '{world.link}/provision/start.ps1'; \"exit $LASTEXITCODE\""
    shown = server.run(world, *[line] * times)[-1]
    prefix = PREFIX.decode()
    return Provisioned(
        shown, [parse(text.removeprefix(prefix)) for text in world.lines("com1") if text.strip()]
    )
