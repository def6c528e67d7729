# SPDX-License-Identifier: MIT
"""Rules that every provisioning script keeps to, looked at in its syntax tree: the grammar is not ours."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

COMMANDS = {
    "Add-WindowsCapability": "dism", "Add-WindowsPackage": "dism",
    "ConvertFrom-Json": "utility", "Copy-Item": "management", "Disable-ScheduledTask": "scheduledtasks", "Expand-Archive": "archive",
    "Export-ModuleMember": "core", "ForEach-Object": "core", "Get-ChildItem": "management", "Get-CimInstance": "cimcmdlets",
    "Get-Command": "core", "Get-Content": "management", "Get-Date": "utility", "Get-ItemProperty": "management",
    "Get-LocalUser": "localaccounts", "Get-MpComputerStatus": "defender", "Get-NetConnectionProfile": "netconnection",
    "Get-PSDrive": "management", "Get-ScheduledTask": "scheduledtasks", "Get-WindowsFeature": "servermanager",
    "Import-Certificate": "pki", "Import-Module": "core", "Join-Path": "management", "New-Item": "management",
    "New-ItemProperty": "management", "New-NetFirewallRule": "netsecurity", "New-Object": "utility",
    "New-SelfSignedCertificate": "pki", "Out-Null": "core", "Out-String": "utility", "Remove-Item": "management",
    "Remove-ItemProperty": "management",
    "Rename-LocalUser": "localaccounts", "Restart-Service": "management", "Select-Object": "utility",
    "Set-Content": "management", "Set-Item": "management", "Set-ItemProperty": "management", "Set-LocalUser": "localaccounts",
    "Set-MpPreference": "defender", "Set-NetConnectionProfile": "netconnection", "Set-Service": "management",
    "Set-StrictMode": "core", "Sort-Object": "utility", "Start-Service": "management", "Stop-Service": "management",
    "Test-Path": "management", "Uninstall-WindowsFeature": "servermanager", "Where-Object": "core",
}  # fmt: skip
"""Cmdlets that the scripts may use, with their module on Microsoft Learn. None of them asks a person anything."""

OWN = {"Write-Mark", "Write-Fact", "Invoke-Native", "Set-RegistryValue"}
TOOLS = {"bcdedit.exe", "icacls.exe", "msiexec.exe", "powercfg.exe", "shutdown.exe"}


CALLED = {
    "start.ps1": ["$step.FullName"],
    "Provision.psm1": ["$Tool"],
    "70-openssh.ps1": ["(Join-Path -Path $folder -ChildPath 'install-sshd.ps1')"],
}
"""What ``&`` may run: steps, native tools whose exit code is looked at, and the installer of OpenSSH."""

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
    return commands(source) <= set(COMMANDS) | OWN


def little_is_called_by_value(source: bytes, name: str) -> bool:
    """``&`` and ``.`` run what they must, and nothing else."""
    return [words(each) for each in nodes(tree_of(source), "command_name_expr")] == CALLED.get(name, [])


def exit_codes_count(source: bytes, name: str) -> bool:
    """Native tools are those we know, and are run by the function that looks at their exit codes."""
    for command in nodes(tree_of(source), "command"):
        said = words(command)
        if re.search(r"\w\.(exe|cmd|com|bat)\b", said) and not re.match(
            r"Invoke-Native |Where-Object |ForEach-Object ", said
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
    it_parses, errors_stop_it, only_known_commands, little_is_called_by_value, exit_codes_count,
    no_secret_and_no_way_out, nothing_is_kept_quiet, ascii_with_its_licence,
]  # fmt: skip


def broken(source: bytes, name: str = "35-mine.ps1") -> list[str]:
    """The rules that a script breaks."""
    return [rule.__name__ for rule in RULES if not rule(source, name)]
