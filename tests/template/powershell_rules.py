# SPDX-License-Identifier: MIT
"""Rules that every provisioning script keeps to, looked at in its syntax tree: the grammar is not ours."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

COMMANDS = {
    "Add-Content": "management Encoding LiteralPath Value",
    "Add-WindowsCapability": "dism LimitAccess Name Online Source",
    "Add-WindowsPackage": "dism NoRestart Online PackagePath",
    "ConvertFrom-Json": "utility",
    "Copy-Item": "management Destination Force LiteralPath Path Recurse",
    "Disable-ScheduledTask": "scheduledtasks",
    "Expand-Archive": "archive DestinationPath Force LiteralPath",
    "Export-ModuleMember": "core Function",
    "ForEach-Object": "core Process",
    "Get-Acl": "security LiteralPath",
    "Get-ChildItem": "management Depth ErrorAction File Filter LiteralPath Path Recurse",
    "Get-CimInstance": "cimcmdlets ClassName Filter",
    "Get-Command": "core ErrorAction Name",
    "Get-Content": "management LiteralPath Raw TotalCount",
    "Get-Date": "utility",
    "Get-ItemProperty": "management LiteralPath",
    "Get-LocalUser": "localaccounts",
    "Get-MpComputerStatus": "defender",
    "Get-NetConnectionProfile": "netconnection",
    "Get-NetFirewallRule": "netsecurity",
    "Get-PnpDevice": "pnpdevice",
    "Get-PSDrive": "management PSProvider",
    "Get-ScheduledTask": "scheduledtasks TaskPath",
    "Get-Service": "management",
    "Get-WinEvent": "diagnostics LogName MaxEvents",
    "Get-WindowsFeature": "servermanager Name",
    "Import-Certificate": "pki CertStoreLocation FilePath",
    "Import-Module": "core Force Name",
    "Join-Path": "management ChildPath Path",
    "New-Item": "management Address CertificateThumbPrint Force ItemType Path Transport",
    "New-ItemProperty": "management Force LiteralPath Name PropertyType Value",
    "New-NetFirewallRule": "netsecurity Action Direction DisplayName LocalPort Name Profile Protocol",
    "New-Object": "utility ArgumentList TypeName",
    "New-SelfSignedCertificate": "pki CertStoreLocation DnsName NotAfter",
    "Out-Null": "core",
    "Out-String": "utility",
    "Remove-Item": "management Force LiteralPath Recurse",
    "Remove-ItemProperty": "management ErrorAction LiteralPath Name",
    "Rename-LocalUser": "localaccounts NewName SID",
    "Restart-Service": "management Name",
    "Select-Object": "utility First",
    "Set-Content": "management Encoding LiteralPath Value",
    "Set-ExecutionPolicy": "security ExecutionPolicy Force Scope",
    "Set-Item": "management Force Path Value",
    "Set-ItemProperty": "management LiteralPath Name Value",
    "Set-LocalUser": "localaccounts PasswordNeverExpires SID",
    "Set-MpPreference": "defender DisableRealtimeMonitoring",
    "Set-NetConnectionProfile": "netconnection ErrorAction NetworkCategory",
    "Set-Service": "management Name StartupType",
    "Set-StrictMode": "core Version",
    "Sort-Object": "utility Property Unique",
    "Set-TimeZone": "management Id",
    "Start-Service": "management Name",
    "Start-Sleep": "utility Seconds",
    "Stop-Service": "management Force Name",
    "Test-Path": "management LiteralPath",
    "Uninstall-WindowsFeature": "servermanager Name",
    "Where-Object": "core FilterScript",
}
"""Cmdlets that the scripts may use: their module on Microsoft Learn, and their parameters. None asks a person anything."""

OWN = {
    "Invoke-Comfort": "provision Action What",
    "Send-AllLogs": "provision",
    "Send-EventLog": "provision Log Name",
    "Send-Log": "provision Limit Name Path Whole",
    "Write-Journal": "provision Text",
    "Get-ServiceTrouble": "provision Folder Log Name Test",
    "Write-Marker": "provision Text",
    "Write-Fact": "provision Name Value",
    "Invoke-Native": "provision Arguments Success Tool",
    "Set-ServiceStart": "provision Name",
    "Get-SharedFlag": "provision",
    "Get-Binding": "provision Device",
    "Set-RegistryValue": "provision Key Kind Name Value",
}
TOOLS = {
    "bcdedit.exe",
    "icacls.exe",
    "msiexec.exe",
    "powercfg.exe",
    "powershell.exe",
    "sc.exe",
    "schtasks.exe",
    "shutdown.exe",
    "wevtutil.exe",
}


CALLED = {
    "start.ps1": ["$step.FullName"],
    "Provision.psm1": ["$Action", "$Tool"],
    "launch.ps1": ["$Tool"],
    "begin.ps1": ["$launcher"],
}
"""What ``&`` may run: steps and their parts, and native tools whose exit code is looked at."""

SECRET = re.compile(
    r"(?i)AsPlainText|SecureString|-Credential|Invoke-Expression|Invoke-WebRequest|https?://|password\s*="
)


def tree_of(source: bytes) -> Any:
    """The root of a script's syntax tree."""
    tree_sitter = pytest.importorskip("tree_sitter", reason="tree-sitter is not installed")
    grammar = pytest.importorskip("tree_sitter_powershell", reason="tree-sitter-powershell is not installed")
    return tree_sitter.Parser(tree_sitter.Language(grammar.language())).parse(source).root_node


def nodes(node: Any, kind: str) -> Iterator[Any]:
    """All nodes of a kind, in order."""
    if node.type == kind:
        yield node
    for child in node.children:
        yield from nodes(child, kind)


def words(node: Any) -> str:
    """What stands there."""
    return str(node.text.decode("utf-8", "replace"))


def commands(source: bytes) -> set[str]:
    """The names of all commands of a script."""
    return {words(each) for each in nodes(tree_of(source), "command_name")}


def it_parses(source: bytes, name: str) -> bool:
    """As PowerShell, without a part that is not understood."""
    return not tree_of(source).has_error


def errors_stop_it(source: bytes, name: str) -> bool:
    """The first two statements make it strict and stop at errors."""
    statements = [
        words(each)
        for part in tree_of(source).children
        if part.type == "statement_list"
        for each in part.children
        if each.type != "comment"
    ]
    return statements[:2] == ["Set-StrictMode -Version Latest", "$ErrorActionPreference = 'Stop'"]


def only_known_commands(source: bytes, name: str) -> bool:
    """Cmdlets by their full names, from a list of those that ask nothing; no alias, no native tool by itself."""
    return commands(source) <= set(COMMANDS) | set(OWN)


def only_known_parameters(source: bytes, name: str) -> bool:
    """By their full names; a switch or value that a cmdlet does not have would end the step in Windows only."""
    for command in nodes(tree_of(source), "command"):
        known = {**COMMANDS, **OWN}.get(
            " ".join(words(each) for each in command.children if each.type == "command_name")
        )
        parts = [
            part for each in command.children if each.type == "command_elements" for part in each.children
        ]
        given = {words(part).lstrip("-").rstrip(":") for part in parts if part.type == "command_parameter"}
        if known is not None and not given <= set(known.split()[1:]):
            return False
    return True


def little_is_called_by_value(source: bytes, name: str) -> bool:
    """``&`` and ``.`` run what they must, and nothing else."""
    return [words(each) for each in nodes(tree_of(source), "command_name_expr")] == CALLED.get(name, [])


def exit_codes_count(source: bytes, name: str) -> bool:
    """Native tools are those we know, and are run by the function that looks at their exit codes."""
    for command in nodes(tree_of(source), "command"):
        said = words(command)
        if re.search(r"\w\.(exe|cmd|com|bat)\b", said) and not re.match(
            r"Invoke-Native |Invoke-Comfort |Where-Object |ForEach-Object ", said
        ):
            return False
    return set(re.findall(r"-Tool '([^']*)'", source.decode("utf-8", "replace"))) <= TOOLS


def no_secret_and_no_way_out(source: bytes, name: str) -> bool:
    """No password, nothing made into code, nothing fetched."""
    return SECRET.search(source.decode("utf-8", "replace")) is None


def nothing_is_kept_quiet(source: bytes, name: str) -> bool:
    """Errors are passed over only where something may be missing."""
    quiet = re.findall(r"^.*SilentlyContinue.*$", source.decode("utf-8", "replace"), re.MULTILINE)
    return all(re.search(r"Remove-ItemProperty|Get-Command|Get-ChildItem", line) for line in quiet)


def ascii_with_its_licence(source: bytes, name: str) -> bool:
    """PowerShell 5.1 would read anything else in the code page of the guest."""
    return (
        source.isascii() and source.startswith(b"# SPDX-License-Identifier: MIT\n") and source.endswith(b"\n")
    )


RULES: list[Callable[[bytes, str], bool]] = [
    it_parses, errors_stop_it, only_known_commands, only_known_parameters, little_is_called_by_value,
    exit_codes_count,
    no_secret_and_no_way_out, nothing_is_kept_quiet, ascii_with_its_licence,
]  # fmt: skip


def broken(source: bytes, name: str = "35-mine.ps1") -> list[str]:
    """The rules that a script breaks."""
    return [rule.__name__ for rule in RULES if not rule(source, name)]
